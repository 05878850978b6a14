"""The score: measures, symbols, clefs, tempo."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Literal

import numpy as np

from ..music import (
    BeatGrid,
    Chords,
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
    renamed,
)
from ..settings import ScoreSettings
from ..stage import Report, silent, stage
from .layout import lay_out
from .measures import lay_measures
from .ticks import PER_QUARTER, beat_ticks, to_ticks

LOWEST_IN_TREBLE = 55  # a staff whose median pitch is lower is written in the bass clef
NO_CHORDS = Chords(())
CLEFS: dict[str, tuple[Literal["G", "F", "C"], int, int]] = {  # of `Part.clef`: sign, line, octaves higher
    "G2": ("G", 2, 0), "G2-8": ("G", 2, -1), "G2+8": ("G", 2, 1), "G2+15": ("G", 2, 2),
    "C3": ("C", 3, 0), "F4": ("F", 4, 0), "F4-8": ("F", 4, -1)}
ASTRAY = 0.25  # beats that notes lie off their places where a measure is hardly to be trusted


@stage(version=2)
def write_score(
    spelled: Spelled, grid: BeatGrid, performance: Performance, title: str, chords: Chords = NO_CHORDS, *,
    settings: ScoreSettings, report: Report = silent,
) -> Score:
    """Everything that is drawn. The measures begin where the grid does and end with the last note."""
    notes = _as_read(spelled, performance.parts)
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
        chords=chords.symbols,
        unplayable=_unplayable(notes, performance.parts),
        shows_chords=_shows_chords(settings.chords, performance.parts),
    )


def _as_read(spelled: Spelled, parts: tuple[Part, ...]) -> tuple[WrittenNote, ...]:
    """The notes by the names that the players read: of transposing instruments other ones than sound."""
    transposing = {p.id: p for p in parts if p.transpose}
    if not transposing:
        return spelled.notes
    result = []
    for n in spelled.notes:
        if part := transposing.get(n.part):
            fifths = next((k.fifths for k in reversed(spelled.keys) if k.ql <= n.onset_ql), spelled.keys[0].fifths)
            step, alter = renamed(n.step, n.alter, part.key_of(fifths) - fifths)
            n = replace(n, step=step, alter=alter, octave=(n.pitch - part.transpose - alter) // 12 - 1)
        result.append(n)
    return tuple(result)


def _unplayable(notes: tuple[WrittenNote, ...], parts: tuple[Part, ...]) -> tuple[str, ...]:
    part = {p.id: p for p in parts}
    return tuple(n.id for n in notes if not part[n.part].lowest <= n.pitch <= part[n.part].highest)


def _shows_chords(asked: str, parts: tuple[Part, ...]) -> bool:
    """Unless asked for or refused, chord symbols help those who accompany: not a single piano or melody."""
    if asked != "auto":
        return asked == "yes"
    return len(parts) > 1 or any("guitar" in part.name.lower() for part in parts)


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


def _clef(part: Part, staff: int, pitches: list[int]) -> tuple[Literal["G", "F", "C", "percussion"], int, int]:
    """Sign, line and octave: treble above bass for two staves, else the instrument's own, else what fits the range."""
    if part.percussion:
        return "percussion", 2, 0
    if part.staves == 2:
        return ("G", 2, 0) if staff == 1 else ("F", 4, 0)
    if part.clef:
        return CLEFS[part.clef]
    low = bool(pitches) and np.median(pitches) < LOWEST_IN_TREBLE
    if low and part.family == "voice":
        return "G", 2, -1
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
