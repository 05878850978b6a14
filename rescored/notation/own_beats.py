"""The beats and measures that a MIDI file states, where its notes keep to them.

A file from a notation program or a DAW carries its metre; a performance that was merely recorded carries
whatever the program was set to, mostly 120 beats a minute in 4/4. Two tests tell them apart. Notes that a
program placed lie to the tick on halves and thirds of quarters. Those that were played against a click gather
around them, everywhere in the file and in the same phase (Rayleigh's test: Fisher, Statistical Analysis of
Circular Data, 1993, ch. 4). That phase may be any, since what is cut out of a recording begins anywhere: the
tempo is the file's then, and where in it beats and measures fall is for the music to tell. What programs write
that were never told, 120 and 4/4, counts for less than what someone must have set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..music import BeatGrid, Floats, KeySignature, Performance, StatedMetre, TimeSignature
from ..settings import MetreSettings
from .beat_search import ALL_METRES, COMPOUND, Evidence, Path, nearest
from .rhythm_net import METRES

IN_EIGHTHS = tuple(m for m, compound in zip(ALL_METRES, COMPOUND, strict=True) if compound)
SUBDIVISIONS = (8, 12)  # of a quarter: a program's notes lie on some of these
ON_GRID = 0.7  # share of the onsets that lies there, of a program's
CERTAIN = 12.0  # nats by which that must beat chance
PARTS = (1, 2, 3, 4, 6)  # of a beat: a player's onsets gather around one of these
GATHERED, EVERYWHERE = 0.4, 0.1  # mean resultant length over the file; share of it in the worst tenth of its windows
CONCENTRATED = 20.0  # Rayleigh's statistic; what players of the click are not gives a few
NEARLY = 0.85  # share of the best resultant with which a coarser part will do
WINDOW, FEWEST = 16.0, 6  # beats of a window; onsets of one that tells anything
NEAR = 0.12  # of a beat from it
OFF_BEAT = 1.0  # nats an onset by which another phase must be likelier to be taken for that of a program's beats
MORE_CONTRAST = 0.5  # nats by which other downbeats must stand out more than those that a player's file states
BETTER, SURELY = 2.0, 60.0  # nats a measure, and over all, by which other measures must fit better than a program's
UPBEAT_QL = 0.25  # in steps of which pickups are tried
SILENT = -3.0  # log odds of a beat or a downbeat without onset
NEAR_S, SAME_S = 0.07, 0.03  # an onset this close to a beat tells of it; ... is on it
EARLY_S, EARLY_QL = 0.06, 0.1  # a note this early may still belong to a measure
ONE_QL = Fraction(1, 4)  # in steps of which the user moves measures
MAX_BEATS = 200_000
SHORTEST_S = 0.05  # of a quarter, in maps of music


class Own(NamedTuple):
    """The beats that a MIDI file states and its notes keep to, and its measures, where it states any."""

    stated: StatedMetre
    times_s: Floats
    grid: BeatGrid | None
    sure: bool  # whether the measures hold in any case
    metres: tuple[str, ...] = METRES  # that such beats can have


def own_metre(performance: Performance, evidence: Evidence, settings: MetreSettings) -> Own | None:
    """What the file states, where the user leaves it in force and the notes keep to it."""
    stated = _in_force(performance, settings)
    if stated is None:
        return None
    grid = None
    if any(s.numerator > 1 for s in stated.time_signatures) or settings.time_signature != "auto":  # no mere clicks
        grid = _stated_grid(stated, performance, settings)
    odds = np.logaddexp(evidence.position[:, 1], evidence.position[:, 2]) - evidence.position[:, 0]
    own = None
    if _placed_by_program(stated, np.unique(performance.onsets_s)):
        own = _written(stated, grid, performance, evidence, odds, settings)
    return own or _played(stated, grid, performance, evidence, odds, settings)


def _foreign(stated: StatedMetre) -> bool:
    """Whether there are time signatures such as 5/8, which are no program's default, and which the network does not
    know: it would take their beats for others."""
    return any(s.numerator > 1 and f"{s.numerator}/{s.denominator}" not in METRES for s in stated.time_signatures)


def _written(
    stated: StatedMetre, grid: BeatGrid | None, performance: Performance, evidence: Evidence, odds: Floats,
    settings: MetreSettings,
) -> Own | None:
    """What holds of a program's notes: all, unless something else fits them far better."""
    sure = _foreign(stated)
    if grid is not None and settings.beat_one_s >= 0:
        sure = True
    elif grid is not None and settings.time_signature == "auto" and not sure:
        grid = _corrected(grid, stated, performance, evidence, settings)
    beats_s = _beats(stated, performance.onsets_s) if grid is None else grid.times_s
    if sure or _on_beats(beats_s, evidence.times_s, odds):
        return Own(stated, beats_s, grid and with_keys(grid, stated), sure=True)
    return None


def _played(
    stated: StatedMetre, grid: BeatGrid | None, performance: Performance, evidence: Evidence, odds: Floats,
    settings: MetreSettings,
) -> Own | None:
    """What holds of notes that were played against a click: the tempo, and the measures where beats are the stated
    ones, all as late as the player is."""
    lengths_ql = {float(s.beat_ql) if s.compound else 1.0 for s in stated.time_signatures} or {1.0}
    clicked = {ql: c for ql in sorted(lengths_ql) if (c := _clicks(stated, evidence.times_s, odds, ql)) is not None}
    if not clicked:
        return None
    beat_ql = max(clicked, key=lambda ql: clicked[ql][1])
    clicks_s, metres = clicked[beat_ql][0], METRES if beat_ql == 1 else IN_EIGHTHS
    if metres == IN_EIGHTHS:  # these were set by someone; only where measures begin is open
        said = {f"{s.numerator}/{s.denominator}" for s in stated.time_signatures}
        metres = tuple(m for m in metres if m in said) or metres
    foreign, late_ql = _foreign(stated), None
    if grid is not None and settings.tempo_factor == "1":
        late_ql = _late_ql(stated, clicks_s, grid.times_s, NEAR if foreign else NEAR / 2)
    if grid is None or late_ql is None:
        return Own(stated, clicks_s, None, sure=False, metres=metres)
    late = replace(grid, times_s=stated.seconds_at(stated.ql_at(grid.times_s) + late_ql))
    begin = max(int(np.searchsorted(late.times_s, float(performance.onsets_s[0]) + EARLY_S)) - 1, 0)
    return Own(stated, late.times_s[begin:], with_keys(late, stated), sure=foreign, metres=metres)


def says_nothing(stated: StatedMetre) -> bool:
    """Whether a file says no more than what programs say that were never told: 120 quarters a minute, in 4/4."""
    fours = all((s.numerator, s.denominator) == (4, 4) for s in stated.time_signatures)
    return fours and len(stated.ql) == 2 and abs(np.diff(stated.ql)[0] / np.diff(stated.times_s)[0] - 2.0) < 1e-3


def holds(grid: BeatGrid, evidence: Evidence, found: Path) -> bool:
    """Whether the measures of a grid hold beside those that the music itself suggests on the same beats."""
    stated, other = (_contrast(evidence, times_s, down) for times_s, down in (
        (grid.times_s, grid.beat == 1), (found.times_s, found.place == 0)))
    return stated >= other - MORE_CONTRAST


def _in_force(performance: Performance, settings: MetreSettings) -> StatedMetre | None:
    """What the file states, unless the user overrules all of it: by tapped beats, a tempo, or a range of tempi that
    its quarters are beyond. What no one could play is not in force either."""
    stated, onsets_s = performance.stated, performance.onsets_s
    told = settings.file_beats == "never" or settings.taps_s or settings.tempo_bpm
    if stated is None or told or len(onsets_s) < 2:
        return None
    first, last = stated.ql_at(onsets_s[[0, -1]])
    times_s, places = stated.knots
    within = (places[1:] > first) & (places[:-1] < last)
    if not 0 < last - first < MAX_BEATS or (np.diff(times_s) < SHORTEST_S * np.diff(places))[within].any():
        return None
    bpm = 60.0 * (last - first) / float(onsets_s[-1] - onsets_s[0]) * float(Fraction(settings.tempo_factor))
    return stated if settings.slowest_bpm <= bpm <= max(settings.fastest_bpm, settings.slowest_bpm) else None


# ---------------------------------------------------------------- whether the notes keep to it


def _placed_by_program(stated: StatedMetre, times_s: Floats) -> bool:
    """Whether onsets lie to the tick on halves and thirds of the quarters, far more often than by chance."""
    division = stated.division
    ticks = np.rint(stated.ql_at(times_s) * division).astype(np.int64) % division
    allowed = np.unique([round(division * k / parts) % division for parts in SUBDIVISIONS for k in range(parts)])
    chance = len(allowed) / division
    share = min(float(np.isin(ticks, allowed).mean()), 1.0 - 1e-9)
    if share < ON_GRID or share <= chance:
        return False
    gain = share * np.log(share / chance) + (1.0 - share) * np.log((1.0 - share) / (1.0 - chance))
    return bool(len(ticks) * gain > CERTAIN)


def _on_beats(beats_s: Floats, times_s: Floats, odds: Floats) -> bool:
    """Whether stated beats are no far worse places for beats than those between them: a program puts notes on its
    grid, too, where the music begins anywhere on it."""
    places = np.interp(times_s, beats_s, np.arange(len(beats_s)))

    def told(phase: float) -> float:
        near = np.abs((places - phase + 0.5) % 1.0 - 0.5) < NEAR / 2
        silent = len(beats_s) - len(np.unique(np.rint(places[near] - phase)))
        return float(odds[near].sum() + SILENT * silent) / len(odds)

    return told(0.0) > max(told(phase) for phase in (1 / 6, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 5 / 6)) - OFF_BEAT


def _clicks(stated: StatedMetre, times_s: Floats, odds: Floats, beat_ql: float) -> tuple[Floats, float] | None:
    """Beats of this length of what was played at the stated tempo, and how well they fit; None where it was not.

    `times_s`: onsets, in order; `odds`: of each, the log odds that it is a beat, which decide on the phase.
    """
    places = stated.ql_at(times_s) / beat_ql
    waves = np.exp(2j * np.pi * np.outer(PARTS, places))
    gathered = np.abs(waves.mean(axis=1))
    if gathered.max() < GATHERED or len(places) * gathered.max() ** 2 < CONCENTRATED:
        return None
    k = int(np.argmax(gathered >= NEARLY * gathered.max()))
    parts, mean = PARTS[k], waves[k].mean()
    window = ((places - places[0]) // WINDOW).astype(np.int64)
    count = np.bincount(window)
    along = np.bincount(window, weights=(waves[k] * np.conj(mean / abs(mean))).real)[count >= FEWEST]
    if not len(along) or np.quantile(along / count[count >= FEWEST], 0.1) < EVERYWHERE * abs(mean):
        return None
    offset = np.angle(mean) / (2.0 * np.pi * parts)
    near = min(NEAR, 0.5 / parts)

    def told(phase: float) -> float:
        return float(odds[np.abs((places - phase + 0.5) % 1.0 - 0.5) < near].sum())

    phase = max((offset + k / parts for k in range(parts)), key=told)
    return _beats(stated, times_s, phase, beat_ql), told(phase)


def _late_ql(stated: StatedMetre, clicks_s: Floats, beats_s: Floats, near: float) -> float | None:
    """How much later than stated beats those lie that were played; None where they are others, so far off."""
    inside = clicks_s[(clicks_s > beats_s[0] - EARLY_S) & (clicks_s < beats_s[-1] + EARLY_S)]
    if not len(inside):
        return None
    late_ql = stated.ql_at(inside) - stated.ql_at(beats_s[nearest(beats_s, inside)])
    beat_ql = np.median(np.diff(stated.ql_at(clicks_s)))
    return float(np.median(late_ql)) if np.median(np.abs(late_ql)) < near * beat_ql else None


def _beats(stated: StatedMetre, times_s: Floats, phase: float = 0.0, beat_ql: float = 1.0) -> Floats:
    """Times of beats at the stated tempo, the first of the file by `phase` beats after its begin, from the first onset
    to beyond the last."""
    first, last = stated.ql_at(times_s[[0, -1]]) / beat_ql - phase
    return stated.seconds_at((np.arange(np.floor(first + EARLY_QL), np.ceil(last) + 1.0) + phase) * beat_ql)


# ---------------------------------------------------------------- measures


def _stated_grid(
    stated: StatedMetre, performance: Performance, settings: MetreSettings, earlier_ql: Fraction = Fraction(0)
) -> BeatGrid | None:
    """The measures that the file states, but for a time signature or a first beat that the user sets, and so much
    earlier; None where there are too many."""
    factor = Fraction(settings.tempo_factor)
    first_s, last_s = float(performance.onsets_s[0]), float(performance.onsets_s[-1])

    def place(seconds: float) -> float:
        return float(stated.ql_at(np.array([seconds]))[0]) * float(factor)

    signatures = [replace(s, ql=(s.ql - earlier_ql) * factor) for s in stated.time_signatures]
    if not signatures or signatures[0].ql > 0:
        signatures.insert(0, TimeSignature(1, Fraction(0), 4, 4))
    first_ql, last_ql = min(place(first_s + EARLY_S), place(first_s) + EARLY_QL), place(last_s)
    if settings.time_signature != "auto":
        begin, _, _ = next(_bars(signatures, first_ql))
        signatures = [TimeSignature(1, begin, *map(int, settings.time_signature.split("/")))]
    if settings.beat_one_s >= 0:
        k = nearest(performance.onsets_s, np.array([settings.beat_one_s]))
        onset_s = float(performance.onsets_s[k[0]])
        meant = abs(onset_s - settings.beat_one_s) < NEAR_S
        signatures = _moved(signatures, place(onset_s if meant else settings.beat_one_s), ONE_QL if meant else None)
    bars, beats = [], 0
    for bar in _bars(signatures, first_ql):
        bars.append(bar)
        beats += int(bar[2].measure_ql / bar[2].beat_ql)
        if beats > MAX_BEATS:
            return None
        if bar[1] > last_ql + EARLY_QL:
            break
    return _grid(stated, factor, bars, first_ql, last_s)


def _corrected(
    grid: BeatGrid, stated: StatedMetre, performance: Performance, evidence: Evidence, settings: MetreSettings
) -> BeatGrid | None:
    """The grid, unless others fit the music far better: one with a pickup, where the music begins with the file,
    since some programs leave out that it has one; none, where measures of three quarters do and the file says no
    more than 4/4, as a program does that knows of no metre."""
    first, last = stated.ql_at(performance.onsets_s[[0, -1]])
    downbeats = stated.ql_at(grid.times_s[grid.beat == 1])

    def fits(downbeats: Floats) -> float:
        times_s = stated.seconds_at(downbeats[(downbeats > first - EARLY_QL) & (downbeats < last + EARLY_QL)])
        k = nearest(evidence.times_s, times_s)
        odds = evidence.position[k, 2] - np.logaddexp(evidence.position[k, 0], evidence.position[k, 1])
        odds = np.where(np.abs(evidence.times_s[k] - times_s) < SAME_S, odds, SILENT)
        return float(odds.mean()) if len(odds) else SILENT

    def far_better(other: Floats) -> bool:
        gain = fits(other) - fits(downbeats)
        return gain > BETTER and gain * len(downbeats) > SURELY

    if all((s.numerator, s.denominator) == (4, 4) for s in stated.time_signatures):
        in_three = max((np.arange(first + k * UPBEAT_QL, last + 1.0, 3.0) for k in range(int(3 / UPBEAT_QL))), key=fits)
    else:
        in_three = downbeats
    earlier = [0.0]
    if first < EARLY_QL and grid.measure[0] == 1 and float(grid.times_s[0]) < EARLY_S:
        earlier += np.arange(UPBEAT_QL, float(grid.time_signatures[0].measure_ql), UPBEAT_QL).tolist()
    by = max(earlier, key=lambda by: fits(downbeats - by))
    if far_better(in_three) and fits(in_three) > fits(downbeats - by):
        return None
    return _stated_grid(stated, performance, settings, Fraction(by)) if far_better(downbeats - by) else grid


def _contrast(evidence: Evidence, times_s: Floats, is_down: NDArray[np.bool_]) -> float:
    """How much likelier, in nats, the downbeats among some beats are to be downbeats than the others are."""
    if is_down.all() or not is_down.any():
        return 0.0
    k = nearest(evidence.times_s, times_s)
    near = np.abs(evidence.times_s[k] - times_s) < NEAR_S
    odds = np.where(near, evidence.position[k, 2] - evidence.position[k, 1], 0.0)
    return float(odds[is_down].mean() - odds[~is_down].mean())


def with_keys(grid: BeatGrid, stated: StatedMetre) -> BeatGrid:
    """The grid, known to be the file's, with the keys that the file states: each from the measure on that begins
    there or next."""
    starts = np.flatnonzero(np.diff(grid.measure, prepend=grid.measure[0] - 1))
    keys_s = stated.seconds_at(np.array([float(key.ql) for key in stated.keys]))
    at = np.searchsorted(grid.times_s[starts] + EARLY_S, keys_s)
    found = {int(starts[i]): key for i, key in zip(at.tolist(), stated.keys, strict=True) if i < len(starts)}
    return replace(grid, stated=True, keys=tuple(
        KeySignature(int(grid.measure[k]), Fraction(float(grid.ql[k])).limit_denominator(96), key.fifths, key.mode)
        for k, key in found.items()))


Bar = tuple[Fraction, Fraction, TimeSignature]  # where it begins and ends, in quarters of the file; its metre


def _bars(signatures: Sequence[TimeSignature], from_ql: float) -> Iterator[Bar]:
    """Measures without end, from the one that a place lies in. A new signature begins one at once."""
    for k, signature in enumerate(signatures):
        until = signatures[k + 1].ql if k + 1 < len(signatures) else None
        if until is not None and until <= from_ql:
            continue
        start = signature.ql
        if from_ql > start or k == 0:
            start += (Fraction(from_ql) - start) // signature.measure_ql * signature.measure_ql
        while until is None or start < until:
            stop = start + signature.measure_ql
            if until is not None and stop > until:
                cut = TimeSignature.of_length(0, start, until - start)
                yield start, until, cut
                break
            yield start, stop, signature
            start = stop


def _moved(signatures: Sequence[TimeSignature], one_ql: float, step_ql: Fraction | None) -> list[TimeSignature]:
    """The signatures, moved by less than a measure so that one begins at a place, in such steps, or on the beat next
    to it."""
    start, _, signature = next(_bars(signatures, one_ql))
    step_ql = step_ql or signature.beat_ql
    by = round((Fraction(one_ql) - start) / step_ql) * step_ql
    if 2 * by > signature.measure_ql:
        by -= signature.measure_ql
    return [replace(s, ql=s.ql + by) for s in signatures]


def _grid(stated: StatedMetre, factor: Fraction, bars: Sequence[Bar], first_ql: float, last_s: float) -> BeatGrid:
    """Beats of the measures, from the first onset's on; a first measure that is short, that begins with rests for
    half its length or more, or before the file does, is a pickup."""
    start, stop, metre = bars[0]
    begin, numbered = start, 1
    following = bars[1][2] if len(bars) > 1 else metre
    late = max((Fraction(first_ql) - start) // metre.beat_ql, 0) * metre.beat_ql
    if stop - start < following.measure_ql and len({s for *_, s in bars[:2]}) == 2:
        metre, numbered = following, 0
    elif len(bars) > 1 and (2 * late >= stop - start or start < 0 < late):
        begin, numbered = max(start + late, Fraction(0)), 0
    origin = stop if numbered == 0 else start
    places: list[Fraction] = []
    measure: list[int] = []
    beat: list[int] = []
    signatures: list[TimeSignature] = []
    for number, (a, b, signature) in enumerate(bars, numbered):
        if number == 0:
            a, signature = begin, metre
        full = int(signature.measure_ql / signature.beat_ql)
        ats = [b - k * signature.beat_ql for k in range(int((b - a) / signature.beat_ql), 0, -1)]
        if not ats or ats[0] > a:
            ats.insert(0, a)
        now = TimeSignature(number, a - origin, signature.numerator, signature.denominator)
        if not signatures or (signatures[-1].numerator, signatures[-1].denominator) != (now.numerator, now.denominator):
            signatures.append(now)
        places += ats
        measure += [number] * len(ats)
        beat += range(full - len(ats) + 1, full + 1)
    times_s = stated.seconds_at(np.array(places, dtype=np.float64) / float(factor))
    if times_s[-1] <= last_s or len(places) < 2:
        places.append(bars[-1][1])
        measure.append(measure[-1] + 1)
        beat.append(1)
        times_s = stated.seconds_at(np.array(places, dtype=np.float64) / float(factor))
    return BeatGrid(
        times_s=times_s, ql=np.array([float(p - origin) for p in places]), measure=np.array(measure),
        beat=np.array(beat), time_signatures=tuple(signatures), confidence=np.ones(len(places)))
