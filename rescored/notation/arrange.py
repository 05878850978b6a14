"""Stage `arrange`: who plays what was heard, in score order, transposed and fitted to the instruments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..errors import SettingsError
from ..music import Note, Part, Performance
from ..settings import ScoreSettings
from ..stage import Report, silent, stage
from .instruments import FAMILIES, Instrument, abbreviation_of, family_of, find_instrument, instrument_of

WIDE = 28  # semitones: what is wider is written on two staves where the instrument has them
LOWEST, HIGHEST = 14, 129  # D0, A9: MusicXML numbers octaves 0..9, and C0 may be a B sharp of the one below
OCTAVES = (0, -1, 1, -2, 2, -3, 3)  # in the order in which they are tried


@stage(version=2)
def arrange(performance: Performance, *, settings: ScoreSettings, report: Report = silent) -> Performance:
    """The performance as it is to be written: the same notes at the same times.

    Pitches are moved by `settings.transpose` semitones, drums apart. A part that `settings.instruments`
    gives to another instrument is moved by the octaves that leave fewest notes beyond its range. What no score
    can show (below 18 Hz, where nobody hears a pitch) is written in another octave. Parts come in score order.
    Raises SettingsError for an instrument or a part that there is not.
    """
    players = _players(settings.instruments, performance.parts)
    pitches: dict[str, list[int]] = {part.id: [] for part in performance.parts}
    for note in performance.notes:
        pitches[note.part].append(note.pitch + settings.transpose)
    transposed = settings.pitch == "transposed"
    parts, octaves = [], {}
    for part in performance.parts:
        known = players.get(part.id) or instrument_of(part)
        octaves[part.id] = _octaves(players[part.id], pitches[part.id]) if part.id in players else 0
        moved = part.id in players or (settings.transpose and not part.percussion)
        written = _played_on(part, players[part.id], pitches[part.id]) if part.id in players else part
        parts.append(replace(
            written, family=family_of(written), abbreviation=abbreviation_of(written),
            clef=known.clef if known and (transposed or not known.transpose) else "",
            transpose=known.transpose if known and transposed else 0,
            strings=known.strings if known and written.staves == 1 and settings.tablature != "none" else (),
            tablature_only=settings.tablature == "only",
            lowest=known.lowest if known and moved else 0, highest=known.highest if known and moved else 127))
    drums = {part.id for part in parts if part.percussion}
    limits = {p.id: (LOWEST + max(p.transpose, 0), min(HIGHEST + p.transpose, 127)) for p in parts}

    def moved_by(notes: Sequence[Note]) -> tuple[Note, ...]:
        return tuple(
            n if n.part in drums else
            replace(n, pitch=_within(limits[n.part], n.pitch + settings.transpose + 12 * octaves[n.part]))
            for n in notes)

    order = sorted(parts, key=lambda part: FAMILIES.index(part.family))
    return replace(performance, parts=tuple(order), notes=moved_by(performance.notes),
                   candidates=moved_by(performance.candidates))


def _players(text: str, parts: Sequence[Part]) -> dict[str, Instrument]:
    """The instrument of every part that is given to another one: "vocals=flute, piano=clarinet"."""
    ids = {name.lower(): part.id for part in parts for name in (part.name, part.id)}
    result = {}
    for entry in filter(None, (entry.strip() for entry in text.split(","))):
        name, equals, instrument = entry.partition("=")
        if not equals or not instrument.strip():
            raise SettingsError(f"{entry!r} gives no part to an instrument.", 'Write "vocals=flute, bass=tuba".')
        if (part := ids.get(name.strip().lower())) is None:
            raise SettingsError(f"There is no part {name.strip()!r} here.",
                                "There are " + ", ".join(part.id for part in parts) + ".")
        if any(p.id == part and p.percussion for p in parts):
            raise SettingsError("Drums cannot be played on another instrument.", f"Leave {part} out.")
        result[part] = find_instrument(instrument)
    return result


def _octaves(instrument: Instrument, pitches: Sequence[int]) -> int:
    """The octaves, up or down, that leave fewest notes beyond the instrument's range."""
    return min(OCTAVES, key=lambda k: sum(not instrument.lowest <= p + 12 * k <= instrument.highest for p in pitches))


def _played_on(part: Part, instrument: Instrument, pitches: Sequence[int]) -> Part:
    wide = bool(pitches) and max(pitches) - min(pitches) > WIDE
    return Part(part.id, instrument.name, instrument.program, staves=2 if instrument.staves == 2 and wide else 1)


def _within(limits: tuple[int, int], pitch: int) -> int:
    """The pitch, in the nearest octave within these limits."""
    lowest, highest = limits
    return pitch + 12 * max(-((pitch - lowest) // 12), 0) - 12 * max(-((highest - pitch) // 12), 0)
