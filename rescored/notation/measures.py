"""The measures of a score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..music import BeatGrid, Ints, Measure, PlacedNote, TimeSignature
from .ticks import beat_ticks, to_ql, to_ticks


def signature_at(grid: BeatGrid, ticks: int) -> TimeSignature:
    """The time signature in force; before the first one, the first."""
    found = grid.time_signatures[0]
    for signature in grid.time_signatures[1:]:
        if to_ticks(signature.ql) <= ticks:
            found = signature
    return found


def signatures_at(grid: BeatGrid, ticks: Ints) -> Ints:
    """Index of the time signature in force at every place."""
    starts = [to_ticks(s.ql) for s in grid.time_signatures[1:]]
    return np.asarray(np.searchsorted(starts, ticks, side="right"), dtype=np.int64)


def lay_measures(grid: BeatGrid, begin: int, end: int) -> tuple[Measure, ...]:
    """Measures from the grid's first beat on, or `begin` if that is earlier, until `end` (ticks).

    They begin at the grid's downbeats and go on beyond them as the time signature says. The first
    may be short, a pickup that begins on a beat or where the grid does, and is left out where `begin`, the first
    note's place, comes after it; the last is full.
    """
    first = begin
    ticks = beat_ticks(grid)
    downbeats = {int(t): int(m) for t, m, b in zip(ticks, grid.measure, grid.beat, strict=True) if b == 1}
    starts, numbers = sorted(downbeats), sorted(downbeats.values())
    if not starts:
        starts, numbers = [0], [1]  # by definition
    while starts[-1] + _length(grid, starts[-1]) < end:
        starts.append(starts[-1] + _length(grid, starts[-1]))
        numbers.append(numbers[-1] + 1)
    begin = min(begin, int(ticks[0]))
    while starts[0] > begin:
        beat = to_ticks(signature_at(grid, begin).beat_ql)
        needed = starts[0] - begin if begin == ticks[0] else -(-(starts[0] - begin) // beat) * beat
        starts.insert(0, starts[0] - min(needed, _length(grid, begin)))
        numbers.insert(0, numbers[0] - 1)
    while len(starts) > 1 and numbers[0] < 1 and starts[1] <= first:
        del starts[0], numbers[0]
    while len(starts) > 1 and starts[-1] >= max(end, begin + 1):
        del starts[-1], numbers[-1]  # the grid went on after the last note
    stops = [*starts[1:], starts[-1] + _length(grid, starts[-1])]
    measures = []
    for number, start, stop in zip(numbers, starts, stops, strict=True):
        signature = signature_at(grid, start)
        measures.append(
            Measure(number, to_ql(start), to_ql(stop - start), signature.numerator, signature.denominator))
    return tuple(measures)


def measure_of(notes: Sequence[PlacedNote], measures: Sequence[Measure]) -> Ints:
    """Index of the measure in which every note begins, shape (notes,)."""
    starts = [float(m.ql) for m in measures]
    onsets = [float(n.onset_ql) + 1e-9 for n in notes]
    return np.clip(np.searchsorted(starts, onsets) - 1, 0, len(measures) - 1)


def _length(grid: BeatGrid, ticks: int) -> int:
    return to_ticks(signature_at(grid, ticks).measure_ql)
