"""The score: measures, symbols, clefs, tempo."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from ..music import BeatGrid, Clef, Measure, Part, Performance, Score, Spelled, TempoMark, WrittenNote
from ..settings import ScoreSettings
from ..stage import Report, silent, stage
from .layout import lay_out
from .measures import lay_measures
from .ticks import to_ticks

MIDDLE_C = 60
OCTAVE_LOWER = ("guitar", "bass")  # written an octave above their sound


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
    """One clef a staff: treble above bass for two staves, else the one that fits the range."""
    pitches: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for n in notes:
        pitches[n.part, n.staff].append(n.pitch)
    at = measures[0].ql
    result = []
    for part in parts:
        for staff in range(1, part.staves + 1):
            if part.percussion:
                result.append(Clef(part.id, staff, at, "percussion", 2))
            elif part.staves == 2:
                result.append(Clef(part.id, staff, at, "G", 2) if staff == 1 else Clef(part.id, staff, at, "F", 4))
            elif any(word in f"{part.id} {part.name}".lower() for word in ("guitar",)):
                result.append(Clef(part.id, staff, at, "G", 2, octave=-1))
            elif np.median(pitches[part.id, staff] or [MIDDLE_C]) < MIDDLE_C - 5:
                result.append(Clef(part.id, staff, at, "F", 4))
            else:
                result.append(Clef(part.id, staff, at, "G", 2))
    return tuple(result)


def _with_confidence(
    measures: tuple[Measure, ...], notes: tuple[WrittenNote, ...], grid: BeatGrid, performance: Performance
) -> tuple[Measure, ...]:
    return measures
