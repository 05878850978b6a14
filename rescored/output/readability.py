"""How full the page is: printed signs a note. Fewer read more easily."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass

from ..music import Score, Symbol
from .accidentals import Accidentals


@dataclass(frozen=True, slots=True)
class Readability:
    """Signs a note that has a length, and voices a staff in a measure that has notes."""

    ties: float = 0.0
    rests: float = 0.0
    dots: float = 0.0
    tuplets: float = 0.0  # notes under a tuplet number
    accidentals: float = 0.0
    voices: float = 0.0

    @property
    def signs(self) -> float:
        """All of them together, voices apart."""
        return self.ties + self.rests + self.dots + self.tuplets + self.accidentals

    def as_dict(self) -> dict[str, float]:
        """By name, `signs` among them, rounded to three digits."""
        return {name: round(value, 3) for name, value in {"signs": self.signs, **asdict(self)}.items()}

    def __str__(self) -> str:
        return (f"{self.signs:.2f} signs a note (ties {self.ties:.2f}, rests {self.rests:.2f}, dots {self.dots:.2f}, "
                f"tuplets {self.tuplets:.2f}, accidentals {self.accidentals:.2f}), {self.voices:.2f} voices a staff")


def readability(score: Score) -> Readability:
    """Counted as they are printed; a score without notes has none."""
    notes = sum(not n.grace for n in score.notes)
    if not notes:
        return Readability()
    count = dict.fromkeys(("ties", "rests", "dots", "tuplets", "accidentals"), 0)
    by_staff: defaultdict[tuple[str, int], defaultdict[int, list[Symbol]]] = defaultdict(lambda: defaultdict(list))
    voices: defaultdict[tuple[str, int, int], set[int]] = defaultdict(set)
    for s in score.symbols:
        by_staff[s.part, s.staff][s.measure].append(s)
        if s.notes:
            voices[s.part, s.staff, s.measure].add(s.voice)
        if s.grace or s.hidden:
            continue
        count["ties"] += len(s.notes) * s.tie_to
        count["rests"] += not s.notes
        count["dots"] += s.dots
        count["tuplets"] += s.tuplet is not None and bool(s.notes)
    percussion = {p.id for p in score.parts if p.percussion}
    changes = {k.measure: k.fifths for k in score.keys}
    for (part, _), measures in by_staff.items():
        if part in percussion:
            continue
        reader, fifths = Accidentals(), 0
        for measure in score.measures:
            fifths = changes.get(measure.number, fifths)
            reader.begin_measure(fifths)
            for s in sorted(measures[measure.number], key=lambda s: (s.onset_ql, not s.grace)):
                count["accidentals"] += sum(reader.printed(s, [score.note[n] for n in s.notes]))
    return Readability(
        **{name: number / notes for name, number in count.items()},
        voices=sum(map(len, voices.values())) / max(len(voices), 1))
