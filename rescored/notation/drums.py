"""How a drum kit is written: places on the staff, noteheads, hands and feet, values.

Places and heads as the Percussive Arts Society recommends (Weinberg, "Guide to Standardized Drumset
Notation", 1998): skins on lines and spaces in the order of their height, cymbals crosses above, what
the feet play in a voice of its own with its stems down. A stroke has no length: it is written up to
the next stroke of its voice, or to the next beat.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, fields
from typing import Literal

from ..music import BeatGrid, StaffNote, VoicedNote, WrittenNote
from .measures import signature_at
from .ticks import to_ql, to_ticks

HANDS, FEET = 1, 2  # voices


@dataclass(frozen=True)
class Place:
    """Where a drum stands on the staff, as if it had a treble clef."""

    step: str
    octave: int
    head: Literal["normal", "x", "circle-x", "diamond", "triangle"] = "normal"
    voice: int = HANDS


_LOW_TOM, _MIDDLE_TOM, _HIGH_TOM, _SNARE = Place("A", 4), Place("D", 5), Place("E", 5), Place("C", 5)
_KICK, _RIDE, _CRASH = Place("F", 4, voice=FEET), Place("F", 5, "x"), Place("A", 5, "x")
PLACES = {  # by key in General MIDI
    35: _KICK, 36: _KICK, 37: Place("C", 5, "x"), 38: _SNARE, 40: _SNARE, 41: _LOW_TOM, 43: _LOW_TOM,
    42: Place("G", 5, "x"), 44: Place("D", 4, "x", FEET), 46: Place("G", 5, "circle-x"), 45: _MIDDLE_TOM,
    47: _MIDDLE_TOM, 48: _HIGH_TOM, 50: _HIGH_TOM, 49: _CRASH, 57: _CRASH, 52: Place("B", 5, "x"),
    55: Place("B", 5, "x"), 51: _RIDE, 59: _RIDE, 53: Place("F", 5, "diamond"), 56: Place("E", 5, "triangle"),
}
ELSEWHERE = Place("B", 4, "x")  # claps, shakers and the like


def voice_drums(notes: list[StaffNote], grid: BeatGrid) -> list[VoicedNote]:
    """Length and voice of every stroke, sorted by onset; a drum struck twice at one place keeps its grace note."""
    onsets: defaultdict[int, set[int]] = defaultdict(set)
    for n in notes:
        onsets[_place(n).voice].add(to_ticks(n.onset_ql))
    following = {voice: dict(zip(at := sorted(places), at[1:], strict=False)) for voice, places in onsets.items()}
    result = []
    for n in notes:
        voice, onset = _place(n).voice, to_ticks(n.onset_ql)
        signature = signature_at(grid, onset)
        beat = to_ticks(signature.beat_ql)
        end = onset + beat - (onset - to_ticks(signature.ql)) % beat
        length = 0 if n.grace else min(end, following[voice].get(onset, end)) - onset
        known = {f.name: getattr(n, f.name) for f in fields(StaffNote)}
        result.append(VoicedNote(**known, duration_ql=to_ql(length), voice=voice))
    return result


def name_drum(note: VoicedNote) -> WrittenNote:
    """The stroke with its place on the staff and its notehead."""
    place = _place(note)
    known = {f.name: getattr(note, f.name) for f in fields(VoicedNote)}
    return WrittenNote(**known, step=place.step, alter=0, octave=place.octave, head=place.head)


def _place(note: StaffNote) -> Place:
    return PLACES.get(note.pitch, ELSEWHERE)
