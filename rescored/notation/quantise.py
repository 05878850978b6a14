"""Performed onsets to places on the beat grid.

Every beat is divided in one way (2, 3, 4, ... slots). Within the beat a small Viterbi search puts the
clusters of notes on slots, judging where they fall and, above all, how much the deviation *changes*
from one cluster to the next: rubato within a beat costs little, a wrong division costs much. A
second Viterbi search over the beats chooses the divisions, where going from binary to ternary costs,
so triplets come in runs. After Cemgil & Kappen, "Monte Carlo methods for tempo tracking and rhythm
quantization", JAIR 18 (2003), and Raphael, "Automated rhythm transcription", ISMIR 2001.
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
from .ticks import PER_QUARTER, beat_ticks, to_ql

BINARY, TERNARY, OTHER, MIXED = 0, 1, 2, 3
EARLY_S = 0.04  # notes this much before a beat may still belong to it
GRACE_S = 0.12  # a note this close before another on its slot is an ornament if it is let go by then
GRACE_SEMITONES = 12  # ... and lies this near; what is farther is a chord that was not struck quite at once
UNREACHABLE = -1e9
MACHINE_S, MACHINE_ONSETS = 0.005, 4  # so near their slots lie so many onsets only if a program plays
SMOOTH = 0.5  # share of the smooth tempo in where a beat is divided; a beat's own place has its jitter, too
EXACTNESS = (0.15, 1.0)  # of a machine and of a pianist, as a share of the usual spread
WIDE_TRIPLET_GAIN = 0.35  # share of the squared deviations that may be left


@dataclass(frozen=True)
class Weights:
    """Of the search, in nats and seconds; chosen on scores performed with simulated timing."""

    deviation_s: float = 0.03  # spread of the deviation from the slot: constant part
    deviation_rel: float = 0.14  # and the part that grows with the beat
    drift_s: float = 0.028  # spread of its change between neighbours: constant part
    drift_rel: float = 0.19  # and the part that grows with the time between them
    worst: float = 6.0  # most that one deviation costs
    collide: float = 2.0  # two clusters on one slot
    repeat: float = 6.0  # ... that share a pitch
    ornament_s: float = 0.08  # ... and this far apart, as grace notes and rolled chords are
    switch: float = 5.0  # from binary to ternary and the like
    switch_one_hand: float = 2.0  # ... while the other hand goes on
    looseness: float = 3.0  # deviations that were read so are smaller than all that may come
    change: float = 0.9  # from one division to another
    habit: float = 12.0  # beats that weigh as much as what is known of the piece's own divisions
    beat_filled: float = 0.9  # chance that something is struck on a beat


# How often a beat is divided so that its slots are eighths (8), sixteenths (16) ..., nominally, and how
# often each inner slot is then struck: counted in quartets and piano pieces of music21's corpus, smoothed.
BINARY_BY_VALUE = {1: 0.02, 2: 0.10, 4: 0.25, 8: 0.38, 16: 0.28, 32: 0.05, 64: 0.003}
TERNARY_BY_VALUE = {4: 0.05, 8: 0.42, 16: 0.25, 32: 0.03}
ODD = {5: 0.01, 7: 0.005}
UNDIVIDED = 0.25
FILLED = {
    1: (), 2: (0.95,), 3: (0.88, 0.95), 4: (0.56, 0.74, 0.93), 5: (0.95,) * 4, 6: (0.55, 0.85, 0.6, 0.93, 0.9),
    7: (0.95,) * 6, 8: (0.5, 0.35, 0.4, 0.5, 0.5, 0.5, 0.75),
    12: (0.2, 0.2, 0.35, 0.8, 0.2, 0.4, 0.35, 0.75, 0.4, 0.4, 0.6), 16: (0.4,) * 14 + (0.8,),
}
CROSSED = {  # three against two, three against four: which slots are struck, and how rare it is beside others
    6: ((0.02, 0.9, 0.9, 0.9, 0.02), 0.5),
    12: ((0.02, 0.02, 0.9, 0.9, 0.02, 0.9, 0.02, 0.9, 0.9, 0.02, 0.02), 0.3),
}


@stage(version=8)
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
    notes = performance.notes
    if not notes:
        return Placed(())
    of_note = struck_together(performance, cluster(performance.onsets_s), grid)
    times_s = cluster_times(performance.onsets_s, of_note)
    beats_s, ticks = extended(grid, float(times_s[0]), float(times_s[-1]))
    if grid.stated and performance.stated:
        steady_s = _stated(times_s, beats_s, performance.stated)
    else:
        steady_s = _steadied(times_s, beats_s, ticks)
    place = _places(steady_s, _repeats(performance, of_note), beats_s, ticks, grid, settings)
    grace = _ornaments(performance, of_note, times_s, place)
    onset_ticks = place[of_note]
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
    return Placed(tuple(sorted(placed, key=_order)), Manner(tuple(ornaments), swing))


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
    times_s: Floats, repeats: NDArray[np.bool_], beats_s: Floats, ticks: Ints, grid: BeatGrid,
    settings: QuantiseSettings, weights: Weights = Weights(),
) -> Ints:
    """Ticks of every cluster."""
    divisions = [(s, BINARY) for s in (1, 2, 4, 8, 16)] + [(s, TERNARY) for s in (1, 3, 6, 12)]
    divisions += [(s, OTHER) for s in (5, 7)]
    plain = len(divisions)
    divisions += [(s, TERNARY) for s in CROSSED]
    slots, classes = np.ascontiguousarray(np.array(divisions, dtype=np.int64).T)
    classes[plain:] = MIXED
    strike = np.zeros((len(slots), slots.max()))  # log odds that a slot is struck rather than not
    silence = np.zeros(len(slots))  # log chance that none is
    for d, s in enumerate(slots.tolist()):
        chance = np.array(FILLED[s] if d < plain else CROSSED[s][0])
        strike[d, 1:s], silence[d] = np.log(chance / (1 - chance)), np.log(1 - chance).sum()
    prior = _priors(divisions, ticks, grid, settings)
    prior[:, plain:] = np.maximum(prior[:, plain:] + np.log([rare for _, rare in CROSSED.values()]), UNREACHABLE)
    edge_s = np.minimum(EARLY_S, 0.5 * np.gradient(beats_s))
    cut = np.searchsorted(times_s, beats_s - edge_s)
    cut[0], cut[-1] = 0, len(times_s)
    beat = np.repeat(np.arange(len(cut) - 1), np.diff(cut))
    row, length = np.arange(len(times_s)), np.diff(ticks)[beat]
    differs = (slots[:, None] != slots[None, :]) & (slots[:, None] > 1) & (slots[None, :] > 1)
    mixed = (classes[:, None] == MIXED) | (classes[None, :] == MIXED)
    switch = np.where(mixed, weights.switch_one_hand, weights.switch) * (classes[:, None] != classes[None, :])
    move = switch + weights.change * differs

    def read(exactness: float) -> tuple[Ints, Ints]:
        """Slots of every cluster and how many its beat has, if the player is so exact."""
        w = np.array([
            weights.deviation_s * exactness, weights.deviation_rel * exactness, weights.drift_s * exactness,
            weights.drift_rel * exactness, weights.worst, weights.collide, weights.repeat, weights.beat_filled,
            weights.ornament_s])
        fit, slot = _fit_all(times_s, repeats, beats_s, cut, slots, prior > UNREACHABLE, strike, silence, w)
        path = _habitual_path(fit, prior, move, weights.habit)
        return slot[row, path[beat]], slots[path[beat]]

    slot, of = read(EXACTNESS[0])
    if not _by_machine(times_s, beats_s, beat, slot / of):
        slot, of = read(EXACTNESS[1])  # a first reading tells how exact the player is
        slot, of = read(_exactness(times_s, beats_s, beat, slot / of, weights))
    place = np.asarray(ticks[beat] + slot * length // of)
    return place if settings.triplets == "no" else _wide_triplets(place, times_s, beats_s, ticks, cut)


def _wide_triplets(place: Ints, times_s: Floats, beats_s: Floats, ticks: Ints, cut: Ints) -> Ints:
    """The same places, with triplets that take two beats where onsets fit them far better than what they were
    taken for: each of the two beats has one inner onset, at two thirds and at one third."""
    place = place.copy()
    b = 0
    while b < len(cut) - 2:
        length = int(ticks[b + 1] - ticks[b])
        inside = [[i for i in range(cut[k], cut[k + 1]) if ticks[k] < place[i] < ticks[k + 1]] for k in (b, b + 1)]
        begins = any(place[i] == ticks[b] for i in range(cut[b], cut[b + 1]))
        if begins and len(inside[0]) == len(inside[1]) == 1 and ticks[b + 2] - ticks[b + 1] == length:
            wanted = int(ticks[b]) + 2 * length // 3, int(ticks[b]) + 4 * length // 3
            off, off_now = 0.0, 0.0
            for i, at, k in ((inside[0][0], wanted[0], b), (inside[1][0], wanted[1], b + 1)):
                period = beats_s[k + 1] - beats_s[k]
                off += (times_s[i] - beats_s[k] - (at - ticks[k]) / length * period) ** 2
                off_now += (times_s[i] - beats_s[k] - (place[i] - ticks[k]) / length * period) ** 2
            if off < WIDE_TRIPLET_GAIN * off_now:
                place[inside[0][0]], place[inside[1][0]] = wanted
                b += 1
        b += 1
    return place


def _off(times_s: Floats, beats_s: Floats, beat: Ints, part: Floats) -> tuple[Floats, Floats]:
    """How far onsets inside beats lie from their slots, in seconds, and how long these beats are."""
    within = (part > 0) & (part < 1)
    period_s = np.diff(beats_s)[beat]
    return np.abs(times_s - beats_s[beat] - part * period_s)[within], period_s[within]


def _by_machine(times_s: Floats, beats_s: Floats, beat: Ints, part: Floats) -> bool:
    """Whether onsets lie on their slots as no one plays them; taken so by chance they would lie anywhere
    between two, and slots are 35 ms apart or more."""
    deviation_s, _ = _off(times_s, beats_s, beat, part)
    return len(deviation_s) >= MACHINE_ONSETS and bool(np.quantile(deviation_s, 0.9) < MACHINE_S)


def _exactness(times_s: Floats, beats_s: Floats, beat: Ints, part: Floats, weights: Weights) -> float:
    """How far onsets inside beats lie from their slots, as a share of the usual spread. Three quarters of
    normal deviations are below 1.15 standard deviations."""
    deviation_s, period_s = _off(times_s, beats_s, beat, part)
    if len(deviation_s) < 4:
        return 0.7  # hardly any
    usual_s = np.hypot(weights.deviation_s, weights.deviation_rel * period_s)
    likely = np.quantile(deviation_s / usual_s, 0.75) / 1.15
    return float(np.clip(weights.looseness * likely, *EXACTNESS))


def _habitual_path(fit: Floats, prior: Floats, move: Floats, habit: float) -> Ints:
    """The best division of every beat. A piece keeps to its divisions: how likely they are in this one
    is learnt from a first reading."""
    path: Ints = _best_path(prior + fit, move)
    for _ in range(2):
        used = np.bincount(path, minlength=fit.shape[1])
        chance = (used + habit * np.exp(prior)) / (len(path) + habit)
        path = _best_path(np.where(prior > UNREACHABLE, np.log(chance + 1e-12), prior) + fit, move)
    return path


def _priors(
    divisions: list[tuple[int, int]], ticks: Ints, grid: BeatGrid, settings: QuantiseSettings
) -> Floats:
    """Log prior of every division of every beat, shape (beats, divisions)."""
    starts = [float(s.ql) for s in grid.time_signatures[1:]]
    of_beat = np.searchsorted(starts, ticks[:-1] / PER_QUARTER + 1e-6, side="right")
    rows: dict[tuple[int, bool], Floats] = {}
    result = np.empty((len(ticks) - 1, len(divisions)))
    for b, (length, k) in enumerate(zip(np.diff(ticks).tolist(), of_beat.tolist(), strict=True)):
        key = (length, grid.time_signatures[k].compound)
        if key not in rows:
            chances = [_prior(s, kind, length / PER_QUARTER, key[1], settings) for s, kind in divisions]
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
    return chance * (1.0 if natural else {"no": 0.0, "auto": 0.35, "yes": 2.0}[settings.triplets])


@njit(cache=True)
def _fit_all(
    times_s: Floats, repeats: NDArray[np.bool_], beats_s: Floats, cut: Ints, slots: Ints,
    allowed: NDArray[np.bool_], strike: Floats, silence: Floats, w: Floats,
) -> tuple[Floats, Ints]:
    """Log likelihood of every division of every beat, and the slots it gives the clusters."""
    score = np.full(allowed.shape, UNREACHABLE)
    slot = np.zeros((len(times_s), len(slots)), dtype=np.int64)
    for b in range(len(allowed)):
        period = beats_s[b + 1] - beats_s[b]
        i, j = cut[b], cut[b + 1]
        x = (times_s[i:j] - beats_s[b]) / period
        for d in range(len(slots)):
            s = slots[d]
            sensible = s == 1 or (period / s > 0.035 and s < 4 * len(x) + 4)
            if sensible and allowed[b, d]:
                score[b, d] = _fit(
                    x, repeats[i:j], period, s, strike[d], silence[d], w, slot[i:j, d])
    return score, slot


@njit(cache=True)
def _fit(
    x: Floats, repeats: NDArray[np.bool_], period: float, slots: int, strike: Floats, silence: float,
    w: Floats, out: Ints,
) -> float:
    """Log score of the best slots for the phases `x` in one beat; `out` gets the slots.

    The deviation is taken to be 0 at both beats. Slot number `slots` is the next beat, struck early.
    """
    on, off = np.log(w[7]), np.log(1.0 - w[7])
    n = len(x)
    if n == 0:
        return float(off + silence)
    worst = w[4]
    spread = np.sqrt(w[0] ** 2 + (w[1] * period) ** 2)
    best = np.full((n, slots + 1), -1e18)
    back = np.zeros((n, slots + 1), dtype=np.int64)
    for i in range(n):
        gap = (x[i] - x[i - 1] if i else max(x[0], 0.0)) * period
        drift = np.sqrt(w[2] ** 2 + (w[3] * gap) ** 2)
        norm = np.log(spread / 0.02) + np.log(drift / 0.02)
        for k in range(slots + 1):
            deviation = (x[i] - k / slots) * period
            if abs(deviation) > 4.0 * spread + 0.5 * period / slots:
                continue
            here = -min(0.5 * (deviation / spread) ** 2, worst) - norm
            struck = strike[k] if k < slots else 0.0
            if i == 0:
                v = here - min(0.5 * (deviation / drift) ** 2, worst)
                best[i, k] = v + silence + (on if k == 0 else off + struck)
                continue
            for k2 in range(k + 1):
                v = best[i - 1, k2] + here
                if k2 == k:
                    v -= (w[6] if repeats[i] else w[5]) + min(0.5 * (gap / w[8]) ** 2, worst)
                else:
                    change = deviation - (x[i - 1] - k2 / slots) * period
                    v += struck - min(0.5 * (change / drift) ** 2, worst)
                if v > best[i, k]:
                    best[i, k] = v
                    back[i, k] = k2
    gap = max(1.0 - x[n - 1], 0.0) * period
    drift = np.sqrt(w[2] ** 2 + (w[3] * gap) ** 2)
    top: float = -1e18
    arg = 0
    for k in range(slots + 1):
        deviation = (x[n - 1] - k / slots) * period
        v = best[n - 1, k] - min(0.5 * (deviation / drift) ** 2, worst)
        if v > top:
            top, arg = v, k
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
