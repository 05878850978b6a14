"""Which accidentals are printed (Gould, Behind Bars, 2011, ch. 4)."""

from __future__ import annotations

from collections.abc import Iterable

from ..music import Symbol, WrittenNote

_SHARPS, _FLATS = "FCGDAEB", "BEADGCF"


class Accidentals:
    """What a reader of one staff remembers, measure by measure; symbols are shown to it in time order.

    Printed are the accidentals that the key signature and the measure so far do not say, and as a
    reminder those that cancel one of the measure before, or of another octave of this measure.
    """

    def __init__(self) -> None:
        self._here: dict[tuple[str, int], int] = {}
        self._before: dict[tuple[str, int], int] = {}
        self._key: dict[str, int] = {}

    def begin_measure(self, fifths: int) -> None:
        """Forget what the barline ends."""
        self._before, self._here = self._here, {}
        self._key = dict.fromkeys(_SHARPS[:fifths], 1) if fifths > 0 else dict.fromkeys(_FLATS[:-fifths], -1)

    def printed(self, symbol: Symbol, notes: Iterable[WrittenNote]) -> list[bool]:
        """For each note of the symbol, whether its accidental is printed."""
        return [self._printed(note, tied=symbol.tie_from) for note in notes]

    def _printed(self, note: WrittenNote, *, tied: bool) -> bool:
        place = (note.step, note.octave)
        if tied:
            self._before[place] = note.alter
            return False
        by_key = self._key.get(note.step, 0)
        if place in self._here:
            needed = self._here[place] != note.alter
        else:
            elsewhere = {alter for (step, _), alter in self._here.items() if step == note.step}
            reminders = elsewhere | {self._before.pop(place, note.alter)}
            needed = note.alter != by_key or bool(reminders - {note.alter})
        self._here[place] = note.alter
        return needed
