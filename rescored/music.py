"""The vocabulary: frozen types that pass between the stages.

Units are in the names: `_s` seconds, `_hz`, `_ql` quarter lengths (a quarter note = 1). Seconds and
quarter lengths never share a class, except in `BeatGrid`, which is the map between the two.
Arrays are read-only. `onset_ql` counts from the start of measure 1; a pickup lies before, negative.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .room import blocks, zeros

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# ---------------------------------------------------------------- what was heard (seconds)


def _read_only(array: NDArray[Any], dtype: Any) -> NDArray[Any]:
    array = np.ascontiguousarray(array, dtype=dtype)
    if array.flags.writeable:
        array = array.view()
        array.flags.writeable = False
    return array


@dataclass(frozen=True)
class Recording:
    """Where the sound came from: a file on this machine, named by the server, and what is known of it."""

    path: str
    title: str
    kind: Literal["audio", "midi", "saved"]
    sha256: str  # of the file's bytes: the recording's identity in the store
    url: str = ""


@dataclass(frozen=True, eq=False)
class Audio:
    """Sound: `samples`, shape (channels, n), float32, full scale = 1.

    Those of a long sound lie on disk: read them with `rescored.room.blocks`, and memory stays small.
    """

    samples: NDArray[np.float32]
    rate_hz: int
    offset_s: float = 0.0  # where these samples begin in the recording (a passage)
    warnings: tuple[str, ...] = ()  # of a file that could be read in part only

    def __post_init__(self) -> None:
        object.__setattr__(self, "samples", _read_only(self.samples, np.float32))
        if self.samples.ndim != 2 or not 1 <= self.samples.shape[0] <= 2:
            raise ValueError(f"samples must be (1 or 2 channels, n), not {self.samples.shape}")

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return float(self.samples.shape[1] / self.rate_hz)

    @property
    def mono(self) -> NDArray[np.float32]:
        """Mean of the channels, shape (n,)."""
        if len(self.samples) == 1:
            return self.samples.reshape(-1)
        mono = zeros(self.samples.shape[1:])
        for start, block in blocks(self.samples):
            mono[start : start + block.shape[1]] = block.mean(axis=0)
        return mono


@dataclass(frozen=True, eq=False)
class Stems:
    """The recording taken apart: stem name -> Audio, all of one length and rate."""

    audio: Mapping[str, Audio]
    separator: str  # "none", or what made them: "htdemucs" ...
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Separator:
    """What takes recordings apart on this machine: what was asked for, or what stands in for it."""

    name: str  # "none", "htdemucs" ...
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """One performed note. `offset_s` is where the key or the tone is let go, pedal apart."""

    id: str
    onset_s: float
    offset_s: float
    pitch: int  # MIDI number, 60 = middle C
    velocity: int  # 1..127
    confidence: float = 1.0  # 0..1; 1 for MIDI input
    part: str = "piano"

    def __post_init__(self) -> None:
        if not (self.offset_s > self.onset_s and 0 <= self.pitch <= 127 and 0 < self.velocity <= 127):
            raise ValueError(f"impossible note: {self}")


@dataclass(frozen=True, slots=True)
class Part:
    """An instrument of the score."""

    id: str
    name: str
    program: int = 0  # General MIDI, 0-based
    staves: int = 1  # 2 = a grand staff
    percussion: bool = False
    # how it is written; set by `arrange`
    abbreviation: str = ""
    family: str = ""  # "woodwind", "strings" ...
    clef: str = ""  # "G2", "F4-8" (sounds an octave lower) ...; "" = what fits the notes
    transpose: int = 0  # from the written to the sounding pitch, in semitones: -2 for one in B flat
    lowest: int = 0  # what can be played on it, as sounding pitches
    highest: int = 127
    strings: tuple[int, ...] = ()  # open strings from the lowest up, where it has tablature
    tablature_only: bool = False  # ... in place of notes, not below them

    def key_of(self, fifths: int) -> int:
        """The part's own key signature where the music's is `fifths`; of six or seven signs the simpler one."""
        own = fifths + (-7 * self.transpose + 5) % 12 - 5
        return own - 12 if own > 6 else own + 12 if own < -6 else own


def renamed(step: str, alter: int, fifths: int) -> tuple[str, int]:
    """A note's letter and alteration so many fifths further; beyond a double accidental its simpler name."""
    place = "FCGDAEB".index(step) + 7 * alter + fifths
    while abs(place // 7) > 2:
        place += 12 if place < 0 else -12
    return "FCGDAEB"[place % 7], place // 7


PIANO = Part("piano", "Piano", program=0, staves=2)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, as of a held pedal."""

    start_s: float
    end_s: float


@dataclass(frozen=True, eq=False)
class Pulse:
    """What the *sound* says about the beat: activations 0..1 at a steady rate from time 0."""

    rate_hz: float
    beat: Floats  # shape (n,): how likely a beat is here
    downbeat: Floats  # shape (n,), all zero where the tracker knows no downbeats
    tracker: str  # "onset-strength", "beat-this"

    def __post_init__(self) -> None:
        object.__setattr__(self, "beat", _read_only(self.beat, np.float64))
        object.__setattr__(self, "downbeat", _read_only(self.downbeat, np.float64))
        if self.beat.ndim != 1 or self.beat.shape != self.downbeat.shape:
            raise ValueError(f"shapes differ: {self.beat.shape} {self.downbeat.shape}")


@dataclass(frozen=True)
class Heard:
    """The notes that one listener found in one stem."""

    notes: tuple[Note, ...]
    pedal: tuple[Span, ...] = ()
    candidates: tuple[Note, ...] = ()  # near-misses that the user may accept
    transcriber: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TimeSignature:
    """From this measure on; `ql` is where the measure begins."""

    measure: int
    ql: Fraction
    numerator: int
    denominator: int

    def __post_init__(self) -> None:
        if self.numerator < 1 or self.denominator not in (1, 2, 4, 8, 16, 32):
            raise ValueError(f"{self.numerator}/{self.denominator} is no time signature")

    @property
    def measure_ql(self) -> Fraction:
        """Length of a full measure."""
        return Fraction(4 * self.numerator, self.denominator)

    @property
    def beat_ql(self) -> Fraction:
        """Length of a beat: three eighths in 6/8, 9/8, 12/8; else one over the denominator."""
        return Fraction(4, self.denominator) * (3 if self.compound else 1)

    @property
    def compound(self) -> bool:
        """Whether the beat is divided in three by nature: 3/8, 6/8, 9/8, 12/8, 6/16 ..."""
        return self.denominator >= 8 and self.numerator % 3 == 0

    @classmethod
    def of_length(cls, measure: int, ql: Fraction, length_ql: Fraction) -> TimeSignature:
        """One for a single measure of this length, in 32nds: 1 quarter -> 1/4, 3 eighths -> 3/8."""
        denominator = max(4, min(1 << ((length_ql / 4).denominator - 1).bit_length(), 32))
        return cls(measure, ql, max(round(length_ql / 4 * denominator), 1), denominator)


@dataclass(frozen=True, slots=True)
class KeySignature:
    """From this measure on: sharps (+) or flats (-)."""

    measure: int
    ql: Fraction
    fifths: int
    mode: Literal["major", "minor"]

    @property
    def name(self) -> str:
        """Such as "C major" or "B♭ minor"."""
        place = self.fifths + (1 if self.mode == "major" else 4)  # of the tonic in F C G D A E B
        accidental = "♯" * max(place // 7, 0) + "♭" * max(-(place // 7), 0)
        return f"{'FCGDAEB'[place % 7]}{accidental} {self.mode}"

    def transposed(self, semitones: int) -> KeySignature:
        """The key so much higher, with six signs at most."""
        return replace(self, fifths=(self.fifths + 7 * semitones + 5) % 12 - 5)


@dataclass(frozen=True)
class StatedMetre:
    """What a MIDI file says of its own metre; whether its notes keep to it is another question.

    `times_s` and `ql`, n >= 2 of each, increase strictly from 0: where the tempo changes, in seconds and in quarters
    from the begin of the file. Measures and places of the signatures, in order and on 32nds, count from there, too.
    """

    times_s: tuple[float, ...]
    ql: tuple[float, ...]
    division: int  # ticks a quarter: how fine the file's clock is
    time_signatures: tuple[TimeSignature, ...] = ()
    keys: tuple[KeySignature, ...] = ()

    def __post_init__(self) -> None:
        times_s, ql = self.knots
        if times_s.shape != ql.shape or len(ql) < 2 or (np.diff(times_s) <= 0).any() or (np.diff(ql) <= 0).any():
            raise ValueError("a tempo map must increase strictly")
        if times_s[0] or ql[0]:
            raise ValueError("a tempo map begins with the file")
        if not 1 <= self.division < 2**15:
            raise ValueError(f"{self.division} ticks a quarter")
        for places in ([s.ql for s in self.time_signatures], [k.ql for k in self.keys]):
            if any(a >= b for a, b in pairwise(places)) or any(8 % p.denominator or p < 0 for p in places):
                raise ValueError("signatures must be in order, and on 32nds")

    @cached_property
    def knots(self) -> tuple[Floats, Floats]:
        """`times_s` and `ql` as arrays."""
        return np.array(self.times_s, dtype=np.float64), np.array(self.ql, dtype=np.float64)

    def ql_at(self, seconds: Floats) -> Floats:
        """Quarters from the begin of the file at a time; on beyond the ends."""
        return _line(*self.knots, seconds)

    def seconds_at(self, ql: Floats) -> Floats:
        """Time at a place; inverse of `ql_at`."""
        times_s, places = self.knots
        return _line(places, times_s, ql)


@dataclass(frozen=True)
class Performance:
    """All that notation needs and nothing else; a MIDI file gives it too.

    `notes` are sorted by (onset_s, pitch); ids are unique; every note's part is in `parts`.
    """

    notes: tuple[Note, ...]
    parts: tuple[Part, ...]
    pedal: tuple[Span, ...] = ()
    pulse: Pulse | None = None
    candidates: tuple[Note, ...] = ()
    duration_s: float = 0.0
    warnings: tuple[str, ...] = ()
    stated: StatedMetre | None = None
    hands: Mapping[str, int] = field(default_factory=dict)  # staff by note id, where a file has tracks for the hands

    def __post_init__(self) -> None:
        if len({n.id for n in self.notes}) != len(self.notes):
            raise ValueError("note ids must be unique")
        if unknown := {n.part for n in self.notes} - {p.id for p in self.parts}:
            raise ValueError(f"notes of unknown parts: {unknown}")
        ordered = tuple(sorted(self.notes, key=lambda n: (n.onset_s, n.pitch, n.id)))
        object.__setattr__(self, "notes", ordered)

    @cached_property
    def onsets_s(self) -> Floats:
        """Onset of every note, shape (n,)."""
        return np.array([n.onset_s for n in self.notes], dtype=np.float64)

    @cached_property
    def offsets_s(self) -> Floats:
        """Offset of every note, shape (n,)."""
        return np.array([n.offset_s for n in self.notes], dtype=np.float64)

    @cached_property
    def pitches(self) -> Ints:
        """MIDI pitch of every note, shape (n,)."""
        return np.array([n.pitch for n in self.notes], dtype=np.int64)

    @cached_property
    def velocities(self) -> Ints:
        """Velocity of every note, shape (n,)."""
        return np.array([n.velocity for n in self.notes], dtype=np.int64)


# ---------------------------------------------------------------- what the user corrected (seconds)


@dataclass(frozen=True, slots=True)
class NoteRef:
    """A note that a correction is about: its id, and what it was then, to find it again once ids are new."""

    id: str
    onset_s: float
    pitch: int
    part: str = ""


@dataclass(frozen=True, slots=True)
class Add:
    """A note that was not heard."""

    note: Note


@dataclass(frozen=True, slots=True)
class Accept:
    """Candidates that are notes after all."""

    notes: tuple[NoteRef, ...]


@dataclass(frozen=True, slots=True)
class Delete:
    """Notes that are none."""

    notes: tuple[NoteRef, ...]


@dataclass(frozen=True, slots=True)
class Move:
    """Notes that begin earlier or later, higher or lower; their length stays."""

    notes: tuple[NoteRef, ...]
    dt_s: float = 0.0
    semitones: int = 0


@dataclass(frozen=True, slots=True)
class Resize:
    """Notes that end earlier or later."""

    notes: tuple[NoteRef, ...]
    dt_s: float


@dataclass(frozen=True, slots=True)
class Split:
    """A note that is two: the second begins at `at_s` and is called `new_id`."""

    note: NoteRef
    at_s: float
    new_id: str


@dataclass(frozen=True, slots=True)
class Merge:
    """Notes of one pitch that are one: the first, from the first onset to the last offset."""

    notes: tuple[NoteRef, ...]


@dataclass(frozen=True, slots=True)
class SetPart:
    """Notes that another part plays."""

    notes: tuple[NoteRef, ...]
    part: str


@dataclass(frozen=True, slots=True)
class SetStaff:
    """Notes that the other hand plays: 1 = the upper staff."""

    notes: tuple[NoteRef, ...]
    staff: int


@dataclass(frozen=True, slots=True)
class Respell:
    """A note that has another name: F sharp, not G flat."""

    note: NoteRef
    step: str
    alter: int


@dataclass(frozen=True, slots=True)
class SetDuration:
    """Notes that are written longer or shorter than they were taken to be."""

    notes: tuple[NoteRef, ...]
    duration_ql: Fraction


@dataclass(frozen=True, slots=True)
class Check:
    """A measure, by where it sounds, that was looked at and is fine."""

    start_s: float
    end_s: float


Edit = (
    Add | Accept | Delete | Move | Resize | Split | Merge | SetPart | SetStaff | Respell | SetDuration | Check
)


@dataclass(frozen=True)
class Wishes:
    """What the user decided about single written notes, by id; it overrules what a stage finds."""

    staff: Mapping[str, int] = field(default_factory=dict)
    spelling: Mapping[str, tuple[str, int]] = field(default_factory=dict)  # step, alter
    duration_ql: Mapping[str, Fraction] = field(default_factory=dict)


NO_WISHES = Wishes()


@dataclass(frozen=True)
class Edited:
    """Result of `replay`: the performance as corrected, and what notation has to heed."""

    performance: Performance
    wishes: Wishes


# ---------------------------------------------------------------- the map between the two


@dataclass(frozen=True)
class MetreChoice:
    """A way to count a performance: its time signatures as they first come, beats a minute, and whether it is the one
    that is found, which alone may have more than one."""

    time_signatures: tuple[str, ...]
    bpm: float
    found: bool


@dataclass(frozen=True, eq=False)
class BeatGrid:
    """Beats: times, places in the score, and the metre. Maps seconds <-> quarter lengths.

    All arrays have shape (n,), n >= 2. `times_s` and `ql` increase strictly. `measure` is the
    number of the measure (0 = pickup), `beat` the place in it (1 = downbeat, counted as in a full
    measure, so a one-beat pickup in 4/4 is beat 4).
    """

    times_s: Floats
    ql: Floats
    measure: Ints
    beat: Ints
    time_signatures: tuple[TimeSignature, ...]
    confidence: Floats = field(default_factory=lambda: np.zeros(0))  # per beat, 0..1; may be empty
    stated: bool = False  # whether these are the beats of `Performance.stated`
    keys: tuple[KeySignature, ...] = ()  # that are stated with them

    def __post_init__(self) -> None:
        for name, dtype in (("times_s", np.float64), ("ql", np.float64), ("measure", np.int64),
                            ("beat", np.int64), ("confidence", np.float64)):
            object.__setattr__(self, name, _read_only(getattr(self, name), dtype))
        shapes = {a.shape for a in (self.times_s, self.ql, self.measure, self.beat)}
        if len(shapes) != 1 or self.times_s.ndim != 1 or len(self.times_s) < 2:
            raise ValueError(f"a grid needs two beats or more, in arrays of one shape: {shapes}")
        if (np.diff(self.times_s) <= 0).any() or (np.diff(self.ql) <= 0).any():
            raise ValueError("beats must increase strictly")
        if not self.time_signatures:
            raise ValueError("a grid needs a time signature")

    @property
    def pickup_ql(self) -> Fraction:
        """Length of the incomplete measure before measure 1; 0 if there is none."""
        return Fraction(max(-self.ql[0], 0.0)).limit_denominator(96)

    def ql_at(self, seconds: Floats) -> Floats:
        """Place in the score at a time; linear between beats and on beyond the ends."""
        return _line(self.times_s, self.ql, seconds)

    def seconds_at(self, ql: Floats) -> Floats:
        """Time at a place in the score; inverse of `ql_at`."""
        return _line(self.ql, self.times_s, ql)


def _line(xs: Floats, ys: Floats, x: Floats) -> Floats:
    x = np.asarray(x, dtype=np.float64)
    k = np.clip(np.searchsorted(xs, x, side="right") - 1, 0, len(xs) - 2)
    return np.asarray(ys[k] + (x - xs[k]) * (ys[k + 1] - ys[k]) / (xs[k + 1] - xs[k]), dtype=np.float64)


# ---------------------------------------------------------------- what is written (quarter lengths)


@dataclass(frozen=True, kw_only=True)
class PlacedNote:
    """A note on the grid. `id` is the performed note's."""

    id: str
    part: str
    pitch: int
    velocity: int
    confidence: float
    onset_ql: Fraction
    release_ql: float  # where it was let go, unquantised
    grace: bool = False  # an ornament before the note at its onset: no length of its own


@dataclass(frozen=True, slots=True)
class Ornament:
    """A sign that stands for performed notes: at the written `note`, instead of all `members`.

    Of an arpeggio `note` is the highest of the chord and all `members` are written, too.
    """

    kind: Literal["trill", "mordent", "inverted-mordent", "turn", "arpeggio"]
    note: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class Manner:
    """What `quantise` recognised beside places: ornaments, and how far into the beat off-beat eighths swing."""

    ornaments: tuple[Ornament, ...] = ()
    swing: float = 0.5  # 0.5 = straight, 0.67 = as triplets


@dataclass(frozen=True)
class Placed:
    """Result of `quantise`: the notes that are written, sorted by (onset_ql, pitch)."""

    notes: tuple[PlacedNote, ...]
    manner: Manner = Manner()


@dataclass(frozen=True, kw_only=True)
class StaffNote(PlacedNote):
    """... with a staff: 1 = the upper."""

    staff: int


@dataclass(frozen=True)
class Staved:
    """Result of `split_hands`."""

    notes: tuple[StaffNote, ...]
    manner: Manner = Manner()


@dataclass(frozen=True, kw_only=True)
class VoicedNote(StaffNote):
    """... with a written length and a voice (1 or 2 within its staff)."""

    duration_ql: Fraction  # 0 for grace notes
    voice: int
    staccato: bool = False


@dataclass(frozen=True, kw_only=True)
class WrittenNote(VoicedNote):
    """... with a name: step "A".."G", alter -2..2, octave (4 = the one that begins with middle C)."""

    step: str  # as the part has it: of a transposing instrument not what sounds
    alter: int
    octave: int
    head: Literal["normal", "x", "circle-x", "diamond", "triangle"] = "normal"  # a drum's; step and octave: its place


@dataclass(frozen=True)
class Voiced:
    """Result of `find_voices`."""

    notes: tuple[VoicedNote, ...]
    manner: Manner = Manner()


@dataclass(frozen=True)
class Spelled:
    """Result of `spell`: named notes and the keys in whose light they were named."""

    notes: tuple[WrittenNote, ...]
    keys: tuple[KeySignature, ...]
    manner: Manner = Manner()


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure of the score, the same for all parts. `number` 0 is a pickup; should notes lie still
    earlier, numbers go on downwards."""

    number: int
    ql: Fraction  # where it begins
    length_ql: Fraction  # its actual length (a pickup's and a last measure's may be short)
    numerator: int  # the time signature in force
    denominator: int
    confidence: float = 1.0

    @property
    def signature(self) -> TimeSignature:
        """The time signature in force, as one that begins here."""
        return TimeSignature(self.number, self.ql, self.numerator, self.denominator)


@dataclass(frozen=True, slots=True)
class Tuplet:
    """`actual` notes in the time of `normal`; bracket edges at the first and last symbol."""

    actual: int
    normal: int
    edge: Literal["start", "inside", "stop", "alone"] = "inside"


SYMBOL_TYPES = ("breve", "whole", "half", "quarter", "eighth", "16th", "32nd", "64th")


@dataclass(frozen=True, slots=True)
class Symbol:
    """One thing that is drawn in one voice of one measure: a note, a chord or a rest.

    Symbols of a (part, staff, voice, measure) that has any fill the measure from its start to its
    end without gap or overlap; voice 1 has some in every measure, voice 2 only where it sounds, with
    its rests `hidden`. Grace notes stand before the symbol that they adorn, at its onset, staff and
    voice. A tuplet's symbols share `actual` and `normal`; `type` and `dots` are the nominal value.
    """

    measure: int  # Measure.number
    part: str
    staff: int
    voice: int
    onset_ql: Fraction
    duration_ql: Fraction  # 0 for grace notes
    type: str  # of SYMBOL_TYPES
    dots: int = 0
    tuplet: Tuplet | None = None
    notes: tuple[str, ...] = ()  # WrittenNote ids, low to high; empty = a rest
    tie_from: bool = False  # tied to the symbol before (all notes)
    tie_to: bool = False
    grace: bool = False
    whole_measure: bool = False  # a rest that stands for the measure, centred
    hidden: bool = False
    staccato: bool = False
    accent: bool = False
    fermata: bool = False
    ornament: Literal["", "trill", "mordent", "inverted-mordent", "turn"] = ""
    arpeggio: bool = False


@dataclass(frozen=True, slots=True)
class TempoMark:
    """From `ql` on: `bpm` beats of `beat_ql` a minute; `text` such as "Andante" or "rit."."""

    ql: Fraction
    bpm: float
    beat_ql: Fraction
    text: str = ""


@dataclass(frozen=True, slots=True)
class Clef:
    """From `ql` on, on this staff."""

    part: str
    staff: int
    ql: Fraction
    sign: Literal["G", "F", "C", "percussion"]
    line: int
    octave: int = 0  # -1 = sounds an octave lower (guitar, tenor)


@dataclass(frozen=True, slots=True)
class Mark:
    """Dynamics ("p", "mf" ...), hairpin ("crescendo", "diminuendo"), pedal (down and up, or in words: then it has no
    end), ottava: `kind`, what it says, where it ends."""

    kind: Literal["dynamic", "hairpin", "pedal", "ottava", "words"]
    part: str
    staff: int
    ql: Fraction
    text: str
    end_ql: Fraction | None = None


@dataclass(frozen=True, slots=True)
class ChordSymbol:
    """A lead-sheet symbol such as "C", "F#m7" or "Bb/D"."""

    ql: Fraction
    symbol: str


@dataclass(frozen=True, slots=True)
class Fret:
    """Where a note lies on a fingerboard: `string` counted from the highest, 1; `fret` 0 = open."""

    note: str
    string: int
    fret: int


@dataclass(frozen=True)
class Chords:
    """Result of `find_chords`: each holds until the next."""

    symbols: tuple[ChordSymbol, ...]


@dataclass(frozen=True)
class Score:
    """Everything that is drawn; every choice is made, so output only has to write it down."""

    title: str
    composer: str
    parts: tuple[Part, ...]
    measures: tuple[Measure, ...]
    notes: tuple[WrittenNote, ...]
    symbols: tuple[Symbol, ...]  # sorted by (part as in `parts`, staff, measure, voice, onset)
    time_signatures: tuple[TimeSignature, ...]
    keys: tuple[KeySignature, ...]
    clefs: tuple[Clef, ...]
    tempi: tuple[TempoMark, ...]
    marks: tuple[Mark, ...] = ()
    ornaments: tuple[Ornament, ...] = ()  # with the performed notes that are written as signs
    chords: tuple[ChordSymbol, ...] = ()
    unplayable: tuple[str, ...] = ()  # ids of notes beyond the range of their part
    frets: tuple[Fret, ...] = ()  # of the notes that stand in tablature
    shows_chords: bool = True  # whether the symbols are drawn

    @cached_property
    def note(self) -> dict[str, WrittenNote]:
        """The written notes by id."""
        return {n.id: n for n in self.notes}

    def fifths_moved(self, part: Part, ql: Fraction) -> int:
        """How many fifths from what sounds a part's written notes are, in the key at this place."""
        key = next((k for k in reversed(self.keys) if k.ql <= ql), self.keys[0])
        return part.key_of(key.fifths) - key.fifths


@dataclass(frozen=True)
class Source:
    """What the JSON and the page say of where a transcription came from (no paths)."""

    title: str
    kind: str
    sha256: str
    duration_s: float
    url: str = ""
    separator: str = "none"
    transcribers: tuple[str, ...] = ()
    tracker: str = ""


@dataclass(frozen=True)
class Transcription:
    """The result: what was heard, the grid, the score, and how it was made."""

    source: Source
    settings: Mapping[str, Any]  # Settings.as_dict()
    performance: Performance
    grid: BeatGrid
    score: Score
    warnings: tuple[str, ...] = ()
    stems: Stems | None = field(default=None, compare=False)
    edits: tuple[Edit, ...] = ()  # in the order they were made
    lead: Score | None = field(default=None, compare=False)  # the lead sheet, where one is wanted
    heard: Performance | None = None  # before the edits, where there are any; `performance` is after them

