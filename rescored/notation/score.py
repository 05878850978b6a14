"""The score: measures, symbols, clefs, tempo."""

from __future__ import annotations

from dataclasses import replace

from ..music import (
    BeatGrid,
    Chords,
    Clef,
    Mark,
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
from .clefs import choose_clefs, octave_lines
from .confidence import with_confidence
from .expression import accented, dynamics, held_on, tempo_marks
from .layout import lay_out
from .measures import lay_measures
from .own_tempi import stated_tempi
from .pedalling import pedal_marks
from .tablature import find_frets
from .ticks import to_ticks

NO_CHORDS = Chords(())


@stage(version=16)
def write_score(
    spelled: Spelled, grid: BeatGrid, performance: Performance, title: str, chords: Chords = NO_CHORDS, *,
    settings: ScoreSettings, report: Report = silent,
) -> Score:
    """Everything that is drawn. The measures begin where the grid does and end with the last note."""
    notes = _as_read(spelled, performance.parts)
    begin = min((to_ticks(n.onset_ql) for n in notes), default=0)
    end = max((to_ticks(n.onset_ql + n.duration_ql) for n in notes), default=begin)
    measures = with_confidence(lay_measures(grid, begin, end), notes, grid, performance)
    onset_s = {n.id: n.onset_s for n in performance.notes}
    clefs = choose_clefs(notes, performance.parts, measures)
    accents = accented(notes) if settings.dynamics else ()
    held = held_on(notes, performance, grid, measures)
    report(0.3, "drawing notes and rests")
    return Score(
        title=settings.title or title,
        composer=settings.composer,
        parts=performance.parts,
        measures=measures,
        notes=notes,
        symbols=lay_out(notes, measures, performance.parts, onset_s, accents, spelled.manner.ornaments, held),
        time_signatures=grid.time_signatures,
        keys=spelled.keys,
        clefs=clefs,
        tempi=_tempi(performance, grid, measures, swing=spelled.manner.swing > 0.5),
        marks=_marks(notes, performance, grid, measures, clefs, settings),
        ornaments=spelled.manner.ornaments,
        chords=chords.symbols,
        frets=tuple(f for part in performance.parts if part.strings for f in find_frets(notes, part)),
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


def _tempi(
    performance: Performance, grid: BeatGrid, measures: tuple[Measure, ...], *, swing: bool
) -> tuple[TempoMark, ...]:
    stated = stated_tempi(performance.stated, grid, measures, swing=swing) if grid.stated and performance.stated else []
    return tuple(stated) or tempo_marks(grid, measures, swing)


def _unplayable(notes: tuple[WrittenNote, ...], parts: tuple[Part, ...]) -> tuple[str, ...]:
    part = {p.id: p for p in parts}
    return tuple(n.id for n in notes if not part[n.part].lowest <= n.pitch <= part[n.part].highest)


def _shows_chords(asked: str, parts: tuple[Part, ...]) -> bool:
    """Unless asked for or refused, chord symbols help those who accompany: not a single piano or melody."""
    if asked != "auto":
        return asked == "yes"
    return len(parts) > 1 or any("guitar" in part.name.lower() for part in parts)


def _marks(
    notes: tuple[WrittenNote, ...], performance: Performance, grid: BeatGrid, measures: tuple[Measure, ...],
    clefs: tuple[Clef, ...], settings: ScoreSettings,
) -> tuple[Mark, ...]:
    """Everything beside the notes, in the order of the score."""
    marks = octave_lines(notes, performance.parts, clefs)
    marks += dynamics(notes, performance.parts, measures) if settings.dynamics else []
    marks += pedal_marks(performance, grid, measures, every=settings.every_pedal) if settings.pedal else []
    return tuple(sorted(marks, key=lambda m: (m.ql, m.part, m.staff, m.kind)))
