"""Corrections: an ordered list that is replayed on what was heard, as often as hearing or notation change.

An edit names its notes by id, onset and pitch. Ids are new when something is heard anew, so a note is
then found again by its content: the same pitch, begun within `SAME_S`. An edit whose notes are gone is
left out with a warning. Edits never move bar lines: the metre is found from what was heard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TypeVar

from .music import (
    Accept,
    Add,
    Check,
    Delete,
    Edit,
    Edited,
    Merge,
    Move,
    Note,
    NoteRef,
    Performance,
    Resize,
    Respell,
    SetDuration,
    SetPart,
    SetStaff,
    Split,
    Wishes,
)
from .stage import Report, silent, stage

W = TypeVar("W")

SAME_S = 0.08  # how far a note's onset may be from where it was when it was corrected
SHORTEST_S = 0.02  # no edit makes a note shorter
LONGEST_QL = 64  # and written lengths are multiples of a 48th: 64ths and 32nd triplets
BEYOND_S = 10.0  # no note begins later than this after the end of what was heard
NATURAL = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_DESCRIPTIONS = {
    Add: "adding a note", Accept: "accepting a note", Delete: "deleting a note", Move: "moving a note",
    Resize: "the length of a note", Split: "splitting a note", Merge: "joining notes", SetPart: "the part of a note",
    SetStaff: "the hand of a note", Respell: "the name of a note", SetDuration: "the written length of a note",
}


@stage(version=1)
def replay(heard: Performance, edits: tuple[Edit, ...], *, report: Report = silent) -> Edited:
    """The performance with all edits made, in their order; warnings tell of those that could not be.

    Notes that were touched have confidence 1: a person was sure of them. Never raises.
    """
    state = _State({n.id: n for n in heard.notes}, {n.id: n for n in heard.candidates}, heard)
    lost = [edit for edit in edits if not isinstance(edit, Check) and not state.make(edit)]
    notes = tuple(state.notes.values())
    performance = replace(
        heard, notes=notes, candidates=tuple(state.candidates.values()),
        duration_s=max([heard.duration_s, *(n.offset_s for n in notes)]),
        warnings=(*heard.warnings, *_told(lost)))
    return Edited(performance, state.wishes())


def _fits(note: Note, ref: NoteRef) -> bool:
    return note.pitch == ref.pitch and abs(note.onset_s - ref.onset_s) <= SAME_S


def _told(lost: Sequence[Edit]) -> list[str]:
    if not lost:
        return []
    what = ", ".join(dict.fromkeys(_DESCRIPTIONS[type(edit)] for edit in lost))
    count = "One correction does" if len(lost) == 1 else f"{len(lost)} corrections do"
    return [f"{count} not fit what was heard any more and had to be left out ({what})."]


@dataclass
class _State:
    """The notes as they stand between two edits."""

    notes: dict[str, Note]
    candidates: dict[str, Note]
    heard: Performance
    known: dict[str, str] = field(default_factory=dict)  # ids that edits use -> ids of the notes they mean
    staff: dict[str, int] = field(default_factory=dict)
    spelling: dict[str, tuple[str, int]] = field(default_factory=dict)
    duration_ql: dict[str, Fraction] = field(default_factory=dict)

    @property
    def last_s(self) -> float:
        """No note may begin later."""
        return self.heard.duration_s + BEYOND_S

    def wishes(self) -> Wishes:
        return Wishes(self.there(self.staff), self.there(self.spelling), self.there(self.duration_ql))

    def there(self, wishes: Mapping[str, W]) -> dict[str, W]:
        """Those about notes that still are."""
        return {id: wish for id, wish in wishes.items() if id in self.notes}

    def make(self, edit: Edit) -> bool:
        """Make an edit on those of its notes that are still there; whether any was."""
        match edit:
            case Add(note):
                return self.add(note)
            case Accept(refs):
                accepted = [self.accept(ref) for ref in refs]
                return any(accepted)
            case Delete(refs):
                return self.each(refs, lambda note: bool(self.notes.pop(note.id)))
            case Move(refs, dt_s, semitones):
                return self.each(refs, lambda note: self.move(note, dt_s, semitones))
            case Resize(refs, dt_s):
                return self.each(refs, lambda note: self.resize(note, dt_s))
            case Split(ref, at_s, new_id):
                return self.each((ref,), lambda note: self.split(note, at_s, new_id))
            case Merge(refs):
                return self.merge([note for note in map(self.find, refs) if note])
            case SetPart(refs, part):
                return self.each(refs, lambda note: self.set_part(note, part))
            case SetStaff(refs, staff):
                return self.each(refs, lambda note: self.set_staff(note, staff))
            case Respell(ref, step, alter):
                return self.each((ref,), lambda note: self.respell(note, step, alter))
            case SetDuration(refs, duration_ql):
                drawable = 0 < duration_ql <= LONGEST_QL and (48 * duration_ql).denominator == 1
                return drawable and self.each(refs, lambda note: self.wish(self.duration_ql, note, duration_ql))
        return True

    # ------------------------------------------------------------ finding notes again

    def each(self, refs: Iterable[NoteRef], act: Callable[[Note], bool]) -> bool:
        """Act on every note that is found; whether it did anything."""
        acted = [act(note) for ref in refs if (note := self.find(ref)) is not None]
        return any(acted)

    def find(self, ref: NoteRef, among: dict[str, Note] | None = None) -> Note | None:
        """The note that is meant: the one an earlier edit meant by this id, else by id and content, else by content."""
        among = self.notes if among is None else among
        if among is self.notes and ref.id in self.known:
            return among.get(self.known[ref.id])
        found = among.get(ref.id)
        if found is None or not _fits(found, ref):
            near = [n for n in among.values() if _fits(n, ref)]
            found = min(near, default=None, key=lambda n: (
                bool(ref.part) and n.part != ref.part, abs(n.onset_s - ref.onset_s), n.id))
        if found is not None and among is self.notes:
            self.known[ref.id] = found.id
        return found

    def put(self, note: Note) -> str:
        """Add a note under its id, or one like it where that is taken; returns the id."""
        id, count = note.id, 1
        while id in self.notes or not id:
            count += 1
            id = f"{note.id or 'added'}.{count}"
        self.notes[id] = replace(note, id=id)
        return id

    # ------------------------------------------------------------ the edits, on one note each

    def add(self, note: Note) -> bool:
        if note.part not in {p.id for p in self.heard.parts} or not 0 <= note.onset_s <= self.last_s:
            return False
        made = self.put(replace(note, offset_s=min(note.offset_s, self.last_s + BEYOND_S), confidence=1.0))
        self.known.setdefault(note.id, made)
        return True

    def accept(self, ref: NoteRef) -> bool:
        note = self.find(ref, self.candidates)
        if note is None:
            return False
        del self.candidates[note.id]
        self.known.setdefault(ref.id, self.put(replace(note, confidence=1.0)))
        return True

    def move(self, note: Note, dt_s: float, semitones: int) -> bool:
        pitch = note.pitch + semitones
        dt_s = max(dt_s, -note.onset_s)
        if not 0 <= pitch <= 127 or note.onset_s + dt_s > self.last_s:
            return False
        self.notes[note.id] = replace(
            note, onset_s=note.onset_s + dt_s, offset_s=note.offset_s + dt_s, pitch=pitch, confidence=1.0)
        if semitones:
            self.spelling.pop(note.id, None)
        return True

    def resize(self, note: Note, dt_s: float) -> bool:
        offset_s = min(max(note.offset_s + dt_s, note.onset_s + SHORTEST_S), self.last_s + BEYOND_S)
        self.notes[note.id] = replace(note, offset_s=offset_s, confidence=1.0)
        self.duration_ql.pop(note.id, None)
        return True

    def split(self, note: Note, at_s: float, new_id: str) -> bool:
        if not note.onset_s + SHORTEST_S <= at_s <= note.offset_s - SHORTEST_S:
            return False
        self.notes[note.id] = replace(note, offset_s=at_s, confidence=1.0)
        second = self.put(replace(note, id=new_id, onset_s=at_s, confidence=1.0))
        self.known.setdefault(new_id, second)
        self.duration_ql.pop(note.id, None)
        if note.id in self.staff:
            self.staff[second] = self.staff[note.id]
        if note.id in self.spelling:
            self.spelling[second] = self.spelling[note.id]
        return True

    def merge(self, notes: list[Note]) -> bool:
        notes = list({n.id: n for n in notes}.values())
        if len(notes) < 2 or len({(n.pitch, n.part) for n in notes}) > 1:
            return False
        first = min(notes, key=lambda n: (n.onset_s, n.id))
        self.notes[first.id] = replace(first, offset_s=max(n.offset_s for n in notes), confidence=1.0)
        self.duration_ql.pop(first.id, None)
        for note in notes:
            if note is not first:
                del self.notes[note.id]
        return True

    def set_part(self, note: Note, part: str) -> bool:
        if part not in {p.id for p in self.heard.parts}:
            return False
        self.notes[note.id] = replace(note, part=part, confidence=1.0)
        self.staff.pop(note.id, None)
        return True

    def set_staff(self, note: Note, staff: int) -> bool:
        return staff in (1, 2) and self.wish(self.staff, note, staff)  # kept, even while its part has one staff

    def respell(self, note: Note, step: str, alter: int) -> bool:
        fits = step in NATURAL and abs(alter) <= 2 and (NATURAL[step] + alter - note.pitch) % 12 == 0
        return fits and self.wish(self.spelling, note, (step, alter))

    def wish(self, wishes: dict[str, W], note: Note, wish: W) -> bool:
        wishes[note.id] = wish
        return True
