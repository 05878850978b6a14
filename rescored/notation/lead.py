"""The lead sheet: one line of melody under chord symbols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from statistics import median

from ..music import Clef, Part, Performance, Score, WrittenNote
from ..settings import ScoreSettings
from ..stage import Report, silent, stage
from .layout import lay_out
from .ticks import to_ticks

ACCOMPANISTS = frozenset({"bass", "drums"})  # families that never have the melody
FILLED_QL = Fraction(1, 2)  # rests up to this length are part of the note before
FAR = 12  # semitones below both neighbours: a tone of the accompaniment that shows between them


def wants_lead_sheet(score: Score, settings: ScoreSettings) -> bool:
    """Whether there is to be a lead sheet: auto = where chord symbols are shown and someone has a melody."""
    asked = settings.lead_sheet == "yes" or (settings.lead_sheet == "auto" and score.shows_chords)
    return asked and melody_part(score) is not None


def melody_part(score: Score) -> Part | None:
    """Who has the melody: the singer, else the highest single line, else the highest of those who play chords."""
    pitches: dict[str, list[int]] = {}
    for n in score.notes:
        pitches.setdefault(n.part, []).append(n.pitch)
    parts = [p for p in score.parts if p.id in pitches and not p.percussion and p.family not in ACCOMPANISTS]
    singers = [p for p in parts if p.family == "voice"]
    lines = [p for p in parts if p.staves == 1 and p.family not in ("keyboard", "plucked")]
    most = max((len(pitches[p.id]) for p in lines), default=0)
    lines = [p for p in lines if 4 * len(pitches[p.id]) >= most]  # not one that enters for a few notes
    return max(singers or lines or parts, key=lambda p: median(pitches[p.id]), default=None)


@stage(version=2)
def write_lead_sheet(score: Score, performance: Performance, *, report: Report = silent) -> Score:
    """The melody on one staff with the chord symbols above; of a part that plays chords, its highest notes.

    `score` has a part with a melody (`melody_part`).
    """
    part = melody_part(score)
    assert part is not None
    staff = replace(part, staves=1, strings=())
    own = [n for n in score.notes if n.part == part.id and n.staff == 1] or \
        [n for n in score.notes if n.part == part.id]
    notes = tuple(_as_melody(own))
    sign = next(c for c in score.clefs if (c.part, c.staff) == (part.id, 1))
    clef = sign if part.staves == 1 else Clef(part.id, 1, score.measures[0].ql, "G", 2)
    onset_s = {n.id: n.onset_s for n in performance.notes}
    held = {n for s in score.symbols if s.fermata for n in s.notes}
    return replace(
        score, parts=(staff,), notes=notes, clefs=(clef,), marks=(), shows_chords=True, unplayable=(), frets=(),
        symbols=lay_out(notes, score.measures, (staff,), onset_s, held=held))


def _as_melody(notes: Sequence[WrittenNote]) -> list[WrittenNote]:
    """The highest notes, one at a time, without what sounds under a longer note or far below its neighbours."""
    line: list[WrittenNote] = []
    for n in sorted((n for n in notes if not n.grace), key=lambda n: (n.onset_ql, -n.pitch)):
        if line and n.onset_ql == line[-1].onset_ql:
            continue
        if line and n.pitch < line[-1].pitch and n.onset_ql < line[-1].onset_ql + line[-1].duration_ql:
            continue
        line.append(n)
    kept = [n for before, n, after in zip([None, *line], line, [*line[1:], None], strict=False)
            if not (before and after and min(before.pitch, after.pitch) - n.pitch >= FAR)]
    result = []
    for n, after in zip(kept, [*kept[1:], None], strict=False):
        length = n.duration_ql
        if after:
            gap = after.onset_ql - n.onset_ql
            if length > gap or gap - length <= FILLED_QL:
                length = gap
        result.append(replace(n, staff=1, voice=1, duration_ql=length, staccato=False))
    return [n for n in result if to_ticks(n.duration_ql) > 0]
