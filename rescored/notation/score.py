"""The score: measures, symbols, clefs, tempo."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Literal

import numpy as np

from ..music import (
    BeatGrid,
    Clef,
    Floats,
    Ints,
    Measure,
    Part,
    Performance,
    Score,
    Spelled,
    TempoMark,
    WrittenNote,
)
from ..settings import ScoreSettings
from ..stage import Report, silent, stage
from .layout import lay_out
from .measures import lay_measures
from .ticks import PER_QUARTER, beat_ticks, to_ticks

LOWEST_IN_TREBLE = 55  # a staff whose median pitch is lower is written in the bass clef
ASTRAY = 0.25  # beats that notes lie off their places where a measure is hardly to be trusted


@stage(version=1)
def write_score(
    spelled: Spelled, grid: BeatGrid, performance: Performance, title: str, *, settings: ScoreSettings,
    report: Report = silent,
) -> Score:
    """Everything that is drawn. The measures begin where the grid does and end with the last note."""
    notes = spelled.notes
    begin = min((to_ticks(n.onset_ql) for n in notes), default=0)
    end = max((to_ticks(n.onset_ql + n.duration_ql) for n in notes), default=begin)
    measures = _with_confidence(lay_measures(grid, begin, end), notes, grid, performance)
    onset_s = {n.id: n.onset_s for n in performance.notes}
    report(0.3, "drawing notes and rests")
    return Score(
        title=settings.title or title,
        composer=settings.composer,
        parts=performance.parts,
        measures=measures,
        notes=notes,
        symbols=lay_out(notes, measures, performance.parts, onset_s),
        time_signatures=grid.time_signatures,
        keys=spelled.keys,
        clefs=_clefs(notes, performance.parts, measures),
        tempi=(_tempo(grid, measures),),
    )


def _tempo(grid: BeatGrid, measures: tuple[Measure, ...]) -> TempoMark:
    """The median tempo, in beats of the first time signature."""
    beat_ql = grid.time_signatures[0].beat_ql
    seconds_a_quarter = float(np.median(np.diff(grid.times_s) / np.diff(grid.ql)))
    return TempoMark(measures[0].ql, round(60.0 / (seconds_a_quarter * float(beat_ql)), 1), beat_ql)


def _clefs(
    notes: tuple[WrittenNote, ...], parts: tuple[Part, ...], measures: tuple[Measure, ...]
) -> tuple[Clef, ...]:
    """One clef a staff, for the whole piece."""
    pitches: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for n in notes:
        pitches[n.part, n.staff].append(n.pitch)
    return tuple(
        Clef(part.id, staff, measures[0].ql, *_clef(part, staff, pitches[part.id, staff]))
        for part in parts for staff in range(1, part.staves + 1))


def _clef(part: Part, staff: int, pitches: list[int]) -> tuple[Literal["G", "F", "percussion"], int, int]:
    """Sign, line and octave: treble above bass for two staves, else what fits the range."""
    name = f"{part.id} {part.name}".lower()
    if part.percussion:
        return "percussion", 2, 0
    if part.staves == 2:
        return ("G", 2, 0) if staff == 1 else ("F", 4, 0)
    if "bass" in name:
        return "F", 4, -1
    if "guitar" in name:
        return "G", 2, -1
    low = bool(pitches) and np.median(pitches) < LOWEST_IN_TREBLE
    return ("F", 4, 0) if low else ("G", 2, 0)


def _with_confidence(
    measures: tuple[Measure, ...], notes: tuple[WrittenNote, ...], grid: BeatGrid, performance: Performance
) -> tuple[Measure, ...]:
    """Measures with how sure we are of them: the grid's beats there, how surely their notes were heard,
    and how close to their places they were played. 1 where nothing speaks against a measure."""
    starts = np.array([to_ticks(m.ql) for m in measures])

    def mean(places: Ints, values: Floats) -> Floats:
        k = np.clip(np.searchsorted(starts, places, side="right") - 1, 0, len(measures) - 1)
        count = np.bincount(k, minlength=len(measures))
        total = np.bincount(k, weights=values, minlength=len(measures))
        return np.where(count > 0, total / np.maximum(count, 1), 1.0)

    sure = np.ones(len(measures))
    if len(grid.confidence):
        sure *= mean(beat_ticks(grid), grid.confidence)
    main = [n for n in notes if not n.grace]
    if main:
        onset_s = {n.id: n.onset_s for n in performance.notes}
        ql = np.array([float(n.onset_ql) for n in main])
        beat_s = np.median(np.diff(grid.times_s))
        astray = np.abs(grid.seconds_at(ql) - np.array([onset_s[n.id] for n in main])) / beat_s
        sure *= mean((ql * PER_QUARTER).astype(np.int64), np.array([n.confidence for n in main]))
        sure *= mean((ql * PER_QUARTER).astype(np.int64), np.exp(-((astray / ASTRAY) ** 2)))
    return tuple(
        replace(m, confidence=round(float(c), 3)) for m, c in zip(measures, np.clip(sure, 0.0, 1.0), strict=True))
