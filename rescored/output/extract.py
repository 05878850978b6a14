"""One part of a score, for its player."""

from __future__ import annotations

from dataclasses import replace

from ..music import Part, Score


def extract(score: Score, part: Part) -> Score:
    """The score with this part alone; chord symbols stay, except over drums."""
    notes = tuple(n for n in score.notes if n.part == part.id)
    own = {n.id for n in notes}
    return replace(
        score, parts=(part,), notes=notes, unplayable=tuple(i for i in score.unplayable if i in own),
        symbols=tuple(s for s in score.symbols if s.part == part.id),
        frets=tuple(f for f in score.frets if f.note in own),
        clefs=tuple(c for c in score.clefs if c.part == part.id),
        marks=tuple(m for m in score.marks if m.part == part.id),
        shows_chords=score.shows_chords and not part.percussion)
