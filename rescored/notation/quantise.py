"""Performed onsets to places on the beat grid.

A small network (place_net) says how likely an onset is written where in its beat. Every beat is divided in one
way (2, 3, 4, ... slots): within the beat a Viterbi search puts the clusters of notes on slots, in order; a second one
over the beats chooses the divisions, where going from binary to ternary costs, so triplets come in runs. After
Raphael, "Automated rhythm transcription", ISMIR 2001, and Cemgil & Kappen, "Monte Carlo methods for tempo tracking
and rhythm quantization", JAIR 18 (2003).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..music import BeatGrid, Floats, Ints, Manner, Note, Ornament, Performance, Placed, PlacedNote, StatedMetre
from ..settings import QuantiseSettings
from ..stage import Report, silent, stage
from .clusters import cluster, cluster_times
from .ornaments import (
    find_grace_notes,
    find_ornaments,
    find_rolled,
    find_swing,
    straightened,
    struck_together,
    written_performance,
)
from .place_net import FINEST, PLACES, Laid, compound_beats, hear_places, likely_places
from .ticks import PER_QUARTER, beat_ticks, to_ql

BINARY, TERNARY, OTHER, MIXED = 0, 1, 2, 3
EARLY_S = 0.04  # notes this much before a beat may still belong to it
GRACE_S = 0.12  # a note this close before another on its slot is an ornament if it is let go by then
GRACE_SEMITONES = 2  # ... and lies this near; what is farther is a chord that was not struck quite at once
SHORTEST_S = 0.035  # a slot
UNREACHABLE = -1e9
MACHINE_S, MACHINE_ONSETS = 0.005, 4  # so near their slots lie so many onsets only if a program plays
SMOOTH = 0.5  # share of the smooth tempo in where a beat is divided; a beat's own place has its jitter, too


@dataclass(frozen=True)
class Weights:
    """Of the search, in nats and seconds; chosen on scores performed with simulated timing."""

    worst: float = 6.0  # most that one onset costs at a place of no likelihood
    far: float = 4.0  # ... and what a beat's distance to its place adds
    collide: float = 0.5  # two clusters on one slot
    repeat: float = 6.0  # ... that share a pitch
    ornament_s: float = 0.16  # ... and this far apart, as grace notes and rolled chords are
    known: float = 0.3  # share of what is known of divisions beforehand that counts beside the network
    switch: float = 2.0  # from binary to ternary and the like
    switch_one_hand: float = 1.0  # ... while the other hand goes on
    change: float = 0.2  # from one division to another
    wished: float = 5.0  # for triplets, where the user wants them
    habit: float = 12.0  # beats that weigh as much as what is known of the piece's own divisions


# How often a beat is divided so that its slots are eighths (8), sixteenths (16) ..., nominally: counted in quartets
# and piano pieces of music21's corpus, smoothed.
BINARY_BY_VALUE = {1: 0.02, 2: 0.10, 4: 0.25, 8: 0.38, 16: 0.28, 32: 0.05, 64: 0.003}
TERNARY_BY_VALUE = {4: 0.05, 8: 0.42, 16: 0.25, 32: 0.03}
ODD = {5: 0.01, 7: 0.005}
UNDIVIDED = 0.25
CROSSED = {  # three against two, three against four: which slots are struck, and how rare it is beside others
    6: ((0, 2, 3, 4, 6), 0.5),
    12: ((0, 3, 4, 6, 8, 9, 12), 0.3),
}


@stage(version=10)
def quantise(
    performance: Performance, grid: BeatGrid, *, settings: QuantiseSettings, report: Report = silent
) -> Placed:
    """Every performed note with its place; ornaments become grace notes before the note they adorn.

    `finest` and `triplets` limit the divisions; each beat of a compound metre is ternary by nature.
    Notes beyond the grid are placed as if its first and last beats went on. A key that is struck
    twice on one slot is written once, and once as a grace note, so that every note stays. What is
    recognised as an ornament is a sign at its main note instead (`Placed.manner`). Swung eighths are even.
    """
    as_played = performance
    performance, ornaments, graces, swing = unadorned(performance, grid, settings)
    notes = performance.notes
    if not notes:
        return Placed(())
    laid = lay(performance, grid)
    place = _places(performance, laid, grid, settings)
    grace = _ornaments(performance, laid.of_note, laid.times_s, place)
    onset_ticks = place[laid.of_note]
    held_ql = grid.ql_at(performance.offsets_s) - grid.ql_at(performance.onsets_s)
    placed = [
        PlacedNote(
            id=n.id, part=n.part, pitch=n.pitch, velocity=n.velocity, confidence=n.confidence,
            onset_ql=to_ql(int(at)), release_ql=float(at / PER_QUARTER + held), grace=bool(adorns),
        )
        for n, at, held, adorns in zip(notes, onset_ticks, held_ql, grace, strict=True)
    ]
    if settings.ornaments == "out":
        return Placed(tuple(sorted((n for n in placed if not n.grace), key=_order)), Manner((), swing))
    placed += _as_graces([n for n in as_played.notes if n.id in graces], graces, placed)
    return Placed(tuple(sorted(placed, key=_order)), Manner(ornaments, swing))


def unadorned(
    performance: Performance, grid: BeatGrid, settings: QuantiseSettings
) -> tuple[Performance, tuple[Ornament, ...], dict[str, str], float]:
    """What is left without ornaments and swing; the ornaments; which note every grace note adorns; and where swung
    eighths fell."""
    ornaments: list[Ornament] = []
    graces: dict[str, str] = {}
    swing = 0.5
    if settings.ornaments != "notes":
        ornaments = find_ornaments(performance) + find_rolled(performance)
        performance = written_performance(performance, grid, ornaments, {})
        graces = find_grace_notes(performance, grid)
        performance = written_performance(performance, grid, (), graces)
    if settings.swing != "no":
        swing = find_swing(performance.onsets_s, grid, always=settings.swing == "yes")
        performance = straightened(performance, grid, swing) if swing > 0.5 else performance
    return performance, tuple(ornaments), graces, swing


def lay(performance: Performance, grid: BeatGrid) -> Laid:
    """Clusters of one or more notes in their beats; what comes just before a beat belongs to it."""
    of_note = struck_together(performance, cluster(performance.onsets_s), grid)
    times_s = cluster_times(performance.onsets_s, of_note)
    beats_s, ticks = extended(grid, float(times_s[0]), float(times_s[-1]))
    edge_s = np.minimum(EARLY_S, 0.5 * np.gradient(beats_s))
    beat = np.clip(np.searchsorted(beats_s - edge_s, times_s, side="right") - 1, 0, len(beats_s) - 2)
    if grid.stated and performance.stated:
        steady_s = _stated(times_s, beats_s, performance.stated)
    else:
        steady_s = _steadied(times_s, beats_s, ticks)
    return Laid(of_note, times_s, steady_s, beat, beats_s, ticks)


def _order(note: PlacedNote) -> tuple[Fraction, int]:
    return note.onset_ql, note.pitch


def _as_graces(graces: Iterable[Note], host_of: Mapping[str, str], placed: Iterable[PlacedNote]) -> list[PlacedNote]:
    """Grace notes at the places of the notes that they adorn."""
    place = {n.id: n.onset_ql for n in placed}
    return [
        PlacedNote(id=n.id, part=n.part, pitch=n.pitch, velocity=n.velocity, confidence=n.confidence,
                   onset_ql=place[host_of[n.id]], release_ql=float(place[host_of[n.id]]), grace=True)
        for n in graces]


def extended(grid: BeatGrid, first_s: float, last_s: float) -> tuple[Floats, Ints]:
    """Times and ticks of the beats, with steady beats added until all onsets lie between two of them."""
    times_s, ticks = grid.times_s, beat_ticks(grid)
    head_s, tail_s = float(np.median(np.diff(times_s[:4]))), float(np.median(np.diff(times_s[-4:])))
    before = max(int(np.ceil((times_s[0] - first_s - EARLY_S) / head_s)), 0)
    after = max(int(np.floor((last_s + EARLY_S - times_s[-1]) / tail_s)) + 1, 0)
    steps_before, steps_after = np.arange(-before, 0), np.arange(1, after + 1)
    return (
        np.concatenate([times_s[0] + head_s * steps_before, times_s, times_s[-1] + tail_s * steps_after]),
        np.concatenate([ticks[0] + (ticks[1] - ticks[0]) * steps_before, ticks,
                        ticks[-1] + (ticks[-1] - ticks[-2]) * steps_after]),
    )


def _steadied(times_s: Floats, beats_s: Floats, ticks: Ints) -> Floats:
    """When onsets would have come if the tempo stayed as it is within every beat, instead of leading over from
    the beat before to the beat after: the place in the score is taken as a smooth and rising function of time,
    a monotone cubic through the beats (Fritsch & Butland, SIAM J. Sci. Stat. Comput. 5, 1984)."""
    length_s, length = np.diff(beats_s), np.diff(ticks).astype(np.float64)
    pace = length / length_s
    before, after = length_s[:-1] + 2 * length_s[1:], 2 * length_s[:-1] + length_s[1:]
    between = (before + after) / (before / pace[:-1] + after / pace[1:])
    pace_at = np.concatenate([pace[:1], between, pace[-1:]]) if len(pace) > 1 else np.repeat(pace, 2)
    k = np.clip(np.searchsorted(beats_s, times_s, side="right") - 1, 0, len(length_s) - 1)
    x = (times_s - beats_s[k]) / length_s[k]
    a, b = pace_at[k] / pace[k], pace_at[k + 1] / pace[k]  # of the curve at both ends of the beat, in beats a beat
    part = x * (a + x * ((3 - 2 * a - b) + x * (a + b - 2)))
    within = (x > 0) & (x < 1)
    return np.where(within, beats_s[k] + (SMOOTH * part + (1 - SMOOTH) * x) * length_s[k], times_s)


def _stated(times_s: Floats, beats_s: Floats, stated: StatedMetre) -> Floats:
    """The same, where a file states how the tempo changes within beats."""
    return np.interp(stated.ql_at(times_s), stated.ql_at(beats_s), beats_s)


def _repeats(performance: Performance, of_note: Ints) -> NDArray[np.bool_]:
    """Whether a cluster strikes a key that the cluster before it struck, shape (clusters,)."""
    result = np.zeros(of_note[-1] + 1, dtype=np.bool_)
    last: dict[tuple[str, int], int] = {}
    for note, k in zip(performance.notes, of_note.tolist(), strict=True):
        key = (note.part, note.pitch)
        result[k] |= last.get(key, -2) == k - 1
        last[key] = k
    return result


def _places(
    performance: Performance, laid: Laid, grid: BeatGrid, settings: QuantiseSettings, weights: Weights = Weights()
) -> Ints:
    """Ticks of every cluster."""
    steady_s, beat, beats_s, ticks = laid.steady_s, laid.beat, laid.beats_s, laid.ticks
    divisions = [(s, BINARY) for s in (1, 2, 4, 8, 16)] + [(s, TERNARY) for s in (1, 3, 6, 12)]
    divisions += [(s, OTHER) for s in (5, 7)]
    plain = len(divisions)
    divisions += [(s, TERNARY) for s in CROSSED]
    slots, classes = np.ascontiguousarray(np.array(divisions, dtype=np.int64).T)
    classes[plain:] = MIXED
    prior = _priors(divisions, ticks, grid, settings)
    prior[:, plain:] = np.maximum(prior[:, plain:] + np.log([rare for _, rare in CROSSED.values()]), UNREACHABLE)
    of_slot = np.full((len(slots), slots.max() + 1), -1, dtype=np.int64)  # which of the places it is; -1: never struck
    for d, s in enumerate(slots.tolist()):
        struck = np.array(range(s + 1) if d < plain else CROSSED[s][0])
        of_slot[d, struck] = np.searchsorted(PLACES, struck * FINEST // s)
    first = np.searchsorted(beat, np.arange(len(ticks)))
    row, length = np.arange(len(beat)), np.diff(ticks)[beat]
    differs = (slots[:, None] != slots[None, :]) & (slots[:, None] > 1) & (slots[None, :] > 1)
    mixed = (classes[:, None] == MIXED) | (classes[None, :] == MIXED)
    switch = np.where(mixed, weights.switch_one_hand, weights.switch) * (classes[:, None] != classes[None, :])
    move = switch + weights.change * differs
    w = np.array([weights.worst, weights.collide, weights.repeat, weights.ornament_s])
    long_enough = (np.diff(beats_s)[:, None] / slots > SHORTEST_S) | (slots == 1)
    allowed = (prior > UNREACHABLE) & long_enough & (slots <= 4 * np.diff(first)[:, None] + 4)
    repeats = _repeats(performance, laid.of_note)
    period_s = np.diff(beats_s)[beat]
    phase = (steady_s - beats_s[beat]) / period_s
    off = np.abs(phase[:, None] - PLACES / FINEST)

    def read(likely: Floats) -> tuple[Ints, Ints]:
        """Slots of every cluster and how many its beat has, if places are as likely as this."""
        likely = np.maximum(likely[:, : len(PLACES)], -weights.worst - weights.far * off)
        if settings.triplets == "yes":
            triplets = (6 * PLACES % FINEST == 0) & (2 * PLACES % FINEST > 0)
            likely = likely + weights.wished * (triplets & ~compound_beats(grid, ticks)[beat][:, None])
        fit, slot = _fit_all(likely, laid.times_s, repeats, first, slots, of_slot, allowed, w)
        path = _habitual_path(fit, prior, move, weights)
        return slot[row, path[beat]], slots[path[beat]]

    slot, of = read(-0.5 * (off * period_s[:, None] / MACHINE_S) ** 2)
    if not _by_machine(steady_s, beats_s, beat, slot / of):
        slot, of = read(likely_places(hear_places(performance, laid, grid)).astype(np.float64))
    return np.asarray(ticks[beat] + slot * length // of)


def _by_machine(times_s: Floats, beats_s: Floats, beat: Ints, part: Floats) -> bool:
    """Whether onsets lie on their slots as no one plays them; taken so by chance they would lie anywhere between
    two, and slots are 35 ms apart or more. A few onsets tell only where they are halves, thirds or quarters."""
    off_s = np.abs(times_s - beats_s[beat] - part * np.diff(beats_s)[beat])
    inside = (part > 0) & (part < 1)
    if inside.sum() < MACHINE_ONSETS:
        inside[:] = True
        if any(min(abs(s * p - round(s * p)) for s in (3, 4)) > 1e-6 for p in part.tolist()):
            return False
    return bool(np.quantile(off_s, 0.9) < MACHINE_S and np.quantile(off_s[inside], 0.9) < MACHINE_S)


def _habitual_path(fit: Floats, prior: Floats, move: Floats, weights: Weights) -> Ints:
    """The best division of every beat. A piece keeps to its divisions: how likely they are in this one
    is learnt from a first reading."""
    path: Ints = _best_path(weights.known * prior + fit, move)
    for _ in range(2):
        used = np.bincount(path, minlength=fit.shape[1])
        chance = (used + weights.habit * np.exp(prior)) / (len(path) + weights.habit)
        path = _best_path(weights.known * np.log(chance + 1e-12) + fit, move)
    return path


def _priors(
    divisions: list[tuple[int, int]], ticks: Ints, grid: BeatGrid, settings: QuantiseSettings
) -> Floats:
    """Log prior of every division of every beat, shape (beats, divisions)."""
    rows: dict[tuple[int, bool], Floats] = {}
    result = np.empty((len(ticks) - 1, len(divisions)))
    for b, key in enumerate(zip(np.diff(ticks).tolist(), compound_beats(grid, ticks).tolist(), strict=True)):
        if key not in rows:
            chances = [_prior(s, kind, key[0] / PER_QUARTER, key[1], settings) for s, kind in divisions]
            rows[key] = np.array([np.log(c) if c else UNREACHABLE for c in chances])
        result[b] = rows[key]
    return result


def _prior(slots: int, kind: int, beat_ql: float, compound: bool, settings: QuantiseSettings) -> float:
    """How likely a beat is to be divided so; 0 where the settings forbid it."""
    if slots == 1:
        return UNDIVIDED
    natural = kind == (TERNARY if compound else BINARY)
    nominal = slots if natural else slots * (1.5 if compound else 2 / 3)  # as written, tuplets apart
    value = 2 ** round(np.log2(4 * nominal / beat_ql))
    if value > settings.finest:
        return 0.0
    by_value = {BINARY: BINARY_BY_VALUE, TERNARY: TERNARY_BY_VALUE, OTHER: {value: ODD.get(slots, 0.0)}}[kind]
    chance = by_value.get(value, 0.003)
    return chance * (1.0 if natural else {"no": 0.0, "auto": 0.35, "yes": 1.0}[settings.triplets])


@njit(cache=True)
def _fit_all(
    likely: Floats, times_s: Floats, repeats: NDArray[np.bool_], first: Ints, slots: Ints, of_slot: Ints,
    allowed: NDArray[np.bool_], w: Floats,
) -> tuple[Floats, Ints]:
    """Log likelihood of every division of every beat, and the slots it gives the clusters."""
    score = np.full(allowed.shape, UNREACHABLE)
    slot = np.zeros((len(times_s), len(slots)), dtype=np.int64)
    for b in range(len(allowed)):
        i, j = first[b], first[b + 1]
        for d in range(len(slots)):
            if allowed[b, d]:
                score[b, d] = _fit(likely[i:j], times_s[i:j], repeats[i:j], slots[d], of_slot[d], w, slot[i:j, d])
    return score, slot


@njit(cache=True)
def _fit(
    likely: Floats, times_s: Floats, repeats: NDArray[np.bool_], slots: int, of_slot: Ints, w: Floats, out: Ints,
) -> float:
    """Log score of the best slots for the clusters of one beat, in order; `out` gets the slots. Slot number `slots`
    is the next beat, struck early."""
    n = len(likely)
    if n == 0:
        return 0.0
    best = np.full((n, slots + 1), -1e18)
    back = np.zeros((n, slots + 1), dtype=np.int64)
    for i in range(n):
        for k in range(slots + 1):
            if of_slot[k] < 0:
                continue
            here = likely[i, of_slot[k]]
            if i == 0:
                best[i, k] = here
                continue
            for k2 in range(k + 1):
                v = best[i - 1, k2] + here
                if k2 == k:
                    v -= (w[2] if repeats[i] else w[1]) + min(0.5 * ((times_s[i] - times_s[i - 1]) / w[3]) ** 2, w[0])
                if v > best[i, k]:
                    best[i, k] = v
                    back[i, k] = k2
    top, arg = -1e18, 0
    for k in range(slots + 1):
        if best[n - 1, k] > top:
            top, arg = best[n - 1, k], k
    for i in range(n - 1, -1, -1):
        out[i] = arg
        arg = back[i, arg]
    return top


@njit(cache=True)
def _best_path(score: Floats, move: Floats) -> Ints:
    """Viterbi: the column of every row with the highest sum of scores less the costs of moving."""
    n, d = score.shape
    back = np.zeros((n, d), dtype=np.int64)
    total = score[0].copy()
    for b in range(1, n):
        new = np.empty(d)
        for j in range(d):
            top, arg = -1e18, 0
            for i in range(d):
                v = total[i] - move[i, j]
                if v > top:
                    top, arg = v, i
            new[j] = top + score[b, j]
            back[b, j] = arg
        total = new
    path = np.zeros(n, dtype=np.int64)
    path[n - 1] = total.argmax()
    for b in range(n - 1, 0, -1):
        path[b - 1] = back[b, path[b]]
    return path


def _ornaments(performance: Performance, of_note: Ints, times_s: Floats, place: Ints) -> NDArray[np.bool_]:
    """Which notes are grace notes: let go by the time a later cluster of their part sounds on the same
    slot, in reach of one of its notes, or struck again there. A drum is adorned by itself only."""
    grace = np.zeros(len(of_note), dtype=np.bool_)
    shared = (np.diff(place) == 0) & (np.diff(times_s) < GRACE_S)
    late = of_note < len(shared)
    k = of_note[late]
    grace[late] = shared[k] & (performance.offsets_s[late] < times_s[k + 1] + 0.06)
    kits = {p.id for p in performance.parts if p.percussion}
    later: defaultdict[tuple[str, int], set[int]] = defaultdict(set)
    for i in range(len(of_note) - 1, -1, -1):
        note = performance.notes[i]
        struck = later[note.part, int(place[of_note[i]])]
        grace[i] &= note.part not in kits and any(abs(p - note.pitch) <= GRACE_SEMITONES for p in struck)
        grace[i] |= note.pitch in struck
        if not grace[i]:
            struck.add(note.pitch)
    return grace
