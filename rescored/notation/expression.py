"""Dynamics, hairpins, accents, fermatas and tempo marks: few, and only where the performance is clear.

Loudness is read from key velocities as a curve over the measures; a mark stands where its level changes
for good. How loud a level is differs from recording to recording, so levels are counted from the
piece's own middle, within what is usual (Grachten & Widmer, "Linear basis models for prediction and
analysis of musical expression", JNMR 41, 2012).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import groupby, pairwise

import numpy as np

from ..music import BeatGrid, Floats, Mark, Measure, Part, Performance, TempoMark, WrittenNote
from .clefs import cheapest_path
from .measures import measure_of
from .ornaments import sounding_until

LEVELS = {"pp": 30.0, "p": 43.0, "mp": 55.0, "mf": 67.0, "f": 81.0, "ff": 97.0}  # velocity
FLAT = 2.5  # spread of velocities below which they tell nothing
LEVEL_CHANGE = 5.0  # measures' worth of a whole level that a new dynamic must explain
HAIRPIN_RISE = 11.0  # velocity
HAIRPIN_MEASURES = (2, 4)
ACCENT = 26.0  # velocity above the neighbours
SLOWING = 0.78  # of the tempo before
UNUSUAL = 2.0  # ... and so many times beyond what the tempo sways by anyhow
RIT_APART = 8  # measures; of two that are nearer the slower is marked
NEW_TEMPO, NEW_TEMPO_MEASURES = 1.28, 8


def loudness(notes: Sequence[WrittenNote], measures: Sequence[Measure]) -> Floats:
    """Mean velocity of every measure, the louder notes weighing more; nan where nothing is struck."""
    velocity = np.array([float(n.velocity) for n in notes])
    of_note = measure_of(notes, measures)
    count = np.bincount(of_note, minlength=len(measures))
    power = np.bincount(of_note, weights=velocity**2, minlength=len(measures))
    with np.errstate(invalid="ignore"):
        return np.asarray(np.sqrt(power / count))


def dynamics(notes: Sequence[WrittenNote], parts: Sequence[Part], measures: Sequence[Measure]) -> list[Mark]:
    """Dynamics and hairpins of every part whose velocities say something; they stand by its upper staff."""
    result: list[Mark] = []
    for part in parts:
        own = [n for n in notes if n.part == part.id and not n.grace]
        if part.percussion or len(own) < 8 or np.std([n.velocity for n in own]) < FLAT:
            continue
        result += _dynamics(own, part, measures)
    return result


def _dynamics(notes: list[WrittenNote], part: Part, measures: Sequence[Measure]) -> list[Mark]:
    loud = loudness(notes, measures)
    heard = np.flatnonzero(~np.isnan(loud))
    centres = np.array(list(LEVELS.values()))
    off = np.abs(loud[heard, None] - centres[None, :]) / 12.0
    path = cheapest_path(off, LEVEL_CHANGE)
    begins = min(n.onset_ql for n in notes)
    names = list(LEVELS)
    result = []
    changes = [0, *(i for i in range(1, len(path)) if path[i] != path[i - 1])]
    for i, following in zip(changes, [*changes[1:], len(path)], strict=True):
        k = int(heard[i])
        result.append(Mark("dynamic", part.id, 1, max(measures[k].ql, begins), names[path[i]]))
        if following < len(path) and (hairpin := _hairpin(loud, heard, i, following, path, measures)):
            a, b, text = hairpin
            result.append(Mark("hairpin", part.id, 1, a, text, b))
    return result


def _hairpin(
    loud: Floats, heard: np.ndarray, begin: int, end: int, path: list[int], measures: Sequence[Measure]
) -> tuple[Fraction, Fraction, str] | None:
    """A steady rise or fall over the measures that lead to a new level."""
    rising = path[end] > path[end - 1]
    shortest, longest = HAIRPIN_MEASURES
    best = None
    for length in range(shortest, min(longest, end - begin - 1) + 1):
        steps = loud[heard[end - length:end + 1]]
        changes = np.diff(steps) * (1 if rising else -1)
        if (changes > 0.5).all() and changes.sum() >= HAIRPIN_RISE:
            best = length
    if best is None:
        return None
    return measures[heard[end - best]].ql, measures[heard[end]].ql, "crescendo" if rising else "diminuendo"


def accented(notes: Sequence[WrittenNote]) -> frozenset[str]:
    """Ids of notes that are struck far louder than what is around them on their staff."""
    result = set()
    for _, group in groupby(sorted(notes, key=lambda n: (n.part, n.staff, n.onset_ql)),
                            key=lambda n: (n.part, n.staff)):
        chords = [list(g) for _, g in groupby(group, key=lambda n: n.onset_ql)]
        top = np.array([max(n.velocity for n in chord) for chord in chords], dtype=np.float64)
        for k, chord in enumerate(chords):
            around = np.concatenate([top[max(k - 6, 0):k], top[k + 1:k + 7]])
            if len(around) < 6:
                continue
            places = np.array([0.9, 0.5]) * (len(around) - 1)  # the upper tenth and the median
            high, middle = np.interp(places, np.arange(len(around)), np.sort(around))
            if top[k] > max(high + ACCENT / 2, middle + ACCENT):
                result |= {n.id for n in chord if n.velocity == top[k] and not n.grace}
    return frozenset(result)


def held_on(
    notes: Sequence[WrittenNote], performance: Performance, grid: BeatGrid, measures: Sequence[Measure]
) -> frozenset[str]:
    """Ids of the notes that end the music and have a fermata, where the last to begin sound for a beat or more beyond
    the end of the measure, which is as far as they are written: one chord a staff, one of the last if it has any."""
    drums = {p.id for p in performance.parts if p.percussion}
    main = [n for n in notes if not n.grace and n.part not in drums]
    last = max((n.onset_ql for n in main), default=Fraction(0))
    chord = {n.id for n in main if n.onset_ql == last}
    end = measures[-1].ql + measures[-1].length_ql
    if not any(n.onset_ql + n.duration_ql == end for n in main if n.id in chord):
        return frozenset()
    until_s = max(t for n, t in zip(performance.notes, sounding_until(performance), strict=True) if n.id in chord)
    if grid.ql_at(np.array([until_s]))[0] - float(end) < measures[-1].signature.beat_ql:
        return frozenset()
    sounding = [n for n in main if n.onset_ql + n.duration_ql > last]
    ends = {(n.part, n.staff): n.voice for n in sorted(sounding, key=lambda n: (n.onset_ql == last, -n.voice))}
    return frozenset(n.id for n in sounding if ends[n.part, n.staff] == n.voice)


def tempo_marks(grid: BeatGrid, measures: Sequence[Measure], swing: bool) -> tuple[TempoMark, ...]:
    """The tempo with its metronome number; new ones where it changes for good, "rit." and "a tempo" where
    it gives way and comes back, a last "rit." where it does not."""
    spans = np.array([float(m.ql) for m in measures] + [float(measures[-1].ql + measures[-1].length_ql)])
    seconds = np.diff(grid.seconds_at(spans))
    quarters = np.diff(spans)
    inside = (spans[:-1] >= grid.ql[0] - 1e-6) & (spans[1:] <= grid.ql[-1] + 1e-6)
    pace = 60.0 * quarters / np.maximum(seconds, 1e-6)  # quarters a minute
    sections = _sections(pace, inside)
    result = []
    for k, until in sections:
        beat_ql = next(t.beat_ql for t in reversed(grid.time_signatures)
                       if t.ql <= measures[k].ql or t is grid.time_signatures[0])
        middle = _median(pace, inside, k, until)
        if np.isnan(middle):
            middle = float(60.0 * np.median(np.diff(grid.ql) / np.diff(grid.times_s)))
        text = "Swing" if swing and k == 0 else ""
        result.append(TempoMark(measures[k].ql, round(middle / float(beat_ql), 1), beat_ql, text))
        result += _yielding(pace, inside, middle, k, until, measures, beat_ql, last=until == len(measures))
    return tuple(result)


def _median(pace: Floats, inside: np.ndarray, a: int, b: int) -> float:
    values = pace[a:b][inside[a:b]]
    return float(np.median(values)) if len(values) else float("nan")


def _sections(pace: Floats, inside: np.ndarray) -> list[tuple[int, int]]:
    """Stretches of measures of one tempo (from, until)."""
    if inside.sum() < 2 * NEW_TEMPO_MEASURES:
        return [(0, len(pace))]
    log = np.log(np.where(inside, pace, np.median(pace[inside])))
    levels = np.quantile(log, np.linspace(0.02, 0.98, 25))
    path = cheapest_path(np.minimum(np.abs(log[:, None] - levels[None, :]), 0.6), 2.5 * np.log(NEW_TEMPO) + 1.2)
    edges = [0, *(k for k in range(1, len(path)) if path[k] != path[k - 1]), len(path)]
    kept = [0]
    for a, b in pairwise(edges[1:]):
        enough = min(b - a, a - kept[-1]) >= NEW_TEMPO_MEASURES
        change = abs(_median(log, inside, a, b) - _median(log, inside, kept[-1], a))
        if enough and change > np.log(NEW_TEMPO):
            kept.append(a)
    return list(pairwise([*kept, len(pace)]))


def _yielding(
    pace: Floats, inside: np.ndarray, middle: float, begin: int, end: int, measures: Sequence[Measure],
    beat_ql: Fraction, *, last: bool,
) -> list[TempoMark]:
    """Ritardandi within a stretch of one tempo, where it gives way by more than it sways."""
    log = np.log(pace[begin:end][inside[begin:end]] / middle)
    sway = 1.48 * float(np.median(np.abs(log))) if len(log) else 0.0
    slow = (pace < middle * min(SLOWING, np.exp(-UNUSUAL * sway))) & inside
    found = []
    for is_slow, run in groupby(range(begin + 1, end), key=lambda k: bool(slow[k])):
        ks = list(run)
        returns = ks[-1] + 1 < end and inside[ks[-1] + 1] and pace[ks[-1] + 1] > 0.9 * middle
        if is_slow and len(ks) <= 4 and (returns or (last and ks[-1] >= end - 2)):
            found.append((_median(pace, inside, ks[0], ks[-1] + 1), ks[0], ks[-1] + 1, returns))
    kept: list[int] = []
    result = []
    for slowest, k, back, returns in sorted(found):
        if any(abs(k - other) < RIT_APART for other in kept):
            continue
        kept.append(k)
        result.append(TempoMark(measures[k].ql, round(slowest / float(beat_ql), 1), beat_ql, "rit."))
        if returns:
            result.append(TempoMark(measures[back].ql, round(middle / float(beat_ql), 1), beat_ql, "a tempo"))
    return sorted(result, key=lambda mark: mark.ql)
