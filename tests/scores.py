"""Small scores written by hand, for the tests of what is made of a score.

`compose` reads one line of text a voice, measures parted by "|". A token is a note value (w h q e s
t = whole .. 32nd, g = grace) with dots, a colon, and pitches joined by "+", or "r" (rest), "x"
(hidden rest); "R" alone rests for the measure. "(" and ")" open and close a triplet, "~" ties to the
next token, "'" is staccato: "q:C4+E4~ | q.:C4+E4 e:r (e:F#5 e:G5 e:A5')".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from rescored.music import (
    PIANO,
    BeatGrid,
    ChordSymbol,
    Clef,
    KeySignature,
    Mark,
    Measure,
    Note,
    Part,
    Performance,
    Score,
    Source,
    Span,
    Symbol,
    TempoMark,
    TimeSignature,
    Transcription,
    Tuplet,
    WrittenNote,
)
from rescored.settings import Settings

TYPES = {"w": "whole", "h": "half", "q": "quarter", "e": "eighth", "s": "16th", "t": "32nd", "g": "eighth"}
LENGTHS = {"w": Fraction(4), "h": Fraction(2), "q": Fraction(1), "e": Fraction(1, 2), "s": Fraction(1, 4),
           "t": Fraction(1, 8), "g": Fraction(0)}
DRUMS = {("F", 4): 36, ("C", 5): 38, ("A", 5): 42}  # place on the staff -> General MIDI drum
TOKEN = re.compile(r"(\(?)([whqestg])(\.*):([^~')]+)('?)(\)?)(~?)")
PITCH = re.compile(r"([A-G])(#{0,2}|b{0,2})(-?\d)")
STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
MELODY = Part("melody", "Violin", program=40)

Line = tuple[str, int, int]  # part, staff, voice


def compose(
    lines: dict[Line, str],
    *,
    metre: str = "4/4",
    later: Mapping[int, str] | None = None,
    pickup: Fraction | int = 0,
    fifths: int = 0,
    keys: Sequence[KeySignature] = (),
    parts: Sequence[Part] = (PIANO,),
    title: str = "A Study",
    composer: str = "",
    bpm: float = 96.0,
    clefs: Sequence[Clef] = (),
    marks: Sequence[Mark] = (),
    chords: Sequence[ChordSymbol] = (),
) -> Score:
    """A score; see the module's text for `lines`. `later`: by measure number, the metre from there on."""
    count = max(len(text.split("|")) for text in lines.values())
    first = 0 if pickup else 1
    measures: list[Measure] = []
    signatures: list[TimeSignature] = []
    ql = -Fraction(pickup)
    for number in range(first, first + count):
        if number == first or number in (later or {}):
            numerator, denominator = map(int, (later or {}).get(number, metre).split("/"))
            signatures.append(TimeSignature(number, ql, numerator, denominator))
        length = Fraction(pickup) if number == 0 else signatures[-1].measure_ql
        measures.append(Measure(number, ql, length, signatures[-1].numerator, signatures[-1].denominator))
        ql += length
    symbols: list[Symbol] = []
    notes: dict[str, WrittenNote] = {}
    for (part, staff, voice), text in sorted(lines.items(), key=lambda x: x[0]):
        percussion = next(p.percussion for p in parts if p.id == part)
        _read_line(text, part, staff, voice, measures, symbols, notes, percussion=percussion)
    default_clefs = [
        Clef(p.id, s, measures[0].ql, "percussion", 3) if p.percussion
        else Clef(p.id, s, measures[0].ql, "F" if s == 2 else "G", 4 if s == 2 else 2)
        for p in parts for s in range(1, p.staves + 1)
        if not any((c.part, c.staff, c.ql) == (p.id, s, measures[0].ql) for c in clefs)
    ]
    return Score(
        title=title, composer=composer, parts=tuple(parts), measures=tuple(measures),
        notes=tuple(sorted(notes.values(), key=lambda n: (n.onset_ql, n.pitch, n.id))),
        symbols=tuple(sorted(symbols, key=lambda s: (s.part, s.staff, s.measure, s.voice, s.onset_ql))),
        time_signatures=tuple(signatures), keys=(KeySignature(first, measures[0].ql, fifths, "major"), *keys),
        clefs=(*default_clefs, *clefs), tempi=(TempoMark(measures[0].ql, bpm, signatures[0].beat_ql),),
        marks=tuple(marks), chords=tuple(chords),
    )


def _read_line(text: str, part: str, staff: int, voice: int, measures: Sequence[Measure],
               symbols: list[Symbol], notes: dict[str, WrittenNote], *, percussion: bool) -> None:
    tied: dict[tuple[str, int, int], str] = {}
    inside = False
    for measure, content in zip(measures, text.split("|"), strict=False):
        at = measure.ql
        for token in content.split():
            if token == "R":
                symbols.append(Symbol(measure.number, part, staff, voice, at, measure.length_ql, "whole",
                                      whole_measure=True))
                at += measure.length_ql
                continue
            match = TOKEN.fullmatch(token)
            assert match, token
            opens, value, dots, what, staccato, closes, ties = match.groups()
            length = LENGTHS[value] * (2 - Fraction(1, 2 ** len(dots)))
            inside = inside or bool(opens)
            length *= Fraction(2, 3) if inside else 1
            tuplet = None
            if inside:
                tuplet = Tuplet(3, 2, "start" if opens else "stop" if closes else "inside")
            inside = inside and not closes
            ids: list[str] = []
            named = {}
            for pitch in () if what in "rx" else what.split("+"):
                step, accidental, octave = PITCH.fullmatch(pitch).groups()
                name = (step, accidental.count("#") - accidental.count("b"), int(octave))
                note_id = tied.get(name)
                if note_id is None:
                    note_id = f"n{len(notes)}"
                    sound = DRUMS[step, name[2]] if percussion else 12 * (name[2] + 1) + STEPS[step] + name[1]
                    notes[note_id] = WrittenNote(
                        id=note_id, part=part, pitch=sound,
                        velocity=64 + len(notes) % 32, confidence=1.0, onset_ql=at, release_ql=float(at + length),
                        grace=value == "g", staff=staff, duration_ql=length, voice=voice, staccato=bool(staccato),
                        step=step, alter=name[1], octave=name[2])
                else:
                    known = notes[note_id]
                    notes[note_id] = WrittenNote(**{**vars(known), "duration_ql": known.duration_ql + length,
                                                    "release_ql": float(at + length)})
                ids.append(note_id)
                named[name] = note_id
            symbols.append(Symbol(
                measure.number, part, staff, voice, at, length, TYPES[value], len(dots), tuplet, tuple(ids),
                tie_from=bool(tied) and bool(ids), tie_to=bool(ties), grace=value == "g", hidden=what == "x",
                staccato=bool(staccato)))
            tied = named if ties else {}
            at += length
        assert at == measure.ql + measure.length_ql, (measure.number, content)


def transcription(score: Score, *, swing_s: float = 0.02) -> Transcription:
    """A transcription whose performance plays the score in its tempo, every other beat late by `swing_s`."""
    ql, measure, beat = [], [], []
    for m in score.measures:
        metre = TimeSignature(m.number, m.ql, m.numerator, m.denominator)
        missing = int((metre.measure_ql - m.length_ql) / metre.beat_ql)
        for k in range(int(m.length_ql / metre.beat_ql)):
            ql.append(float(m.ql + k * metre.beat_ql))
            measure.append(m.number)
            beat.append(missing + k + 1)
    seconds_a_quarter = 60.0 / (score.tempi[0].bpm * float(score.tempi[0].beat_ql))
    times = 0.5 + (np.array(ql) - ql[0]) * seconds_a_quarter + swing_s * (np.arange(len(ql)) % 2)
    grid = BeatGrid(times, ql, measure, beat, score.time_signatures, np.full(len(ql), 0.75))
    played = []
    for n in score.notes:
        onset = float(grid.seconds_at(np.array([float(n.onset_ql)]))[0]) - (0.05 if n.grace else 0.0)
        offset = float(grid.seconds_at(np.array([n.release_ql]))[0]) - 0.005
        played.append(Note(n.id, onset, max(offset, onset + 0.03), n.pitch, n.velocity, n.confidence, n.part))
    performance = Performance(
        tuple(played), score.parts, pedal=(Span(0.5, 1.2), Span(1.5, 2.25)), duration_s=float(times[-1]) + 1.0,
        candidates=(Note("c1", 0.5, 0.7, 61, 30, 0.2, score.parts[0].id),))
    return Transcription(
        Source(score.title, "audio", "0" * 64, performance.duration_s, transcribers=("transkun",)),
        Settings().as_dict(), performance, grid, score, warnings=("A part was hard to hear.",))


def scale() -> Score:
    """C major up and down a melody instrument."""
    return compose({("melody", 1, 1): "q:C4 q:D4 q:E4 q:F4 | e:G4 e:F4 e:E4 e:D4 h:C4"}, parts=(MELODY,))


def two_hands() -> Score:
    """D minor, both hands in two voices, chords, ties over the barline, accidentals and their reminders."""
    return compose({
        ("piano", 1, 1): "q:F5 q.:E5 e:D5 q:C#5~ | q:C#5 e:C5' e:Bb4' h:A4 | h:D5+F5+A5~ h:D5+F5+A5",
        ("piano", 1, 2): "h:A4 h:A4 | q:x h.:F4 | R",
        ("piano", 2, 1): "h:D3+A3 h:A2+E3 | h:F3 h:C#3 | w:D2+D3",
        ("piano", 2, 2): "q:x q:F3 q:x q:G3 | R | R",
    }, fifths=-1, title="Two Hands", composer="A. Nonymous", bpm=72, marks=(
        Mark("dynamic", "piano", 1, Fraction(0), "mf"), Mark("pedal", "piano", 2, Fraction(0), "", Fraction(4)),
        Mark("ottava", "piano", 1, Fraction(8), "8va", Fraction(12)), Mark("words", "piano", 1, Fraction(5), "dolce"),
    ))


def pickup() -> Score:
    """A one-beat pickup in 3/4 with a triplet, a grace note and chord symbols."""
    return compose({
        ("piano", 1, 1): "(e:D5 e:E5 e:F#5) | g:A5 q:G5 (q:F#5 e:E5) q:D5 | h.:G5",
        ("piano", 2, 1): "R | q:G2 q:B3+D4 q:B3+D4 | R",
    }, metre="3/4", pickup=1, fifths=1, bpm=120, title="Pickup",
        chords=(ChordSymbol(Fraction(0), "G"), ChordSymbol(Fraction(1), "D7/F#"), ChordSymbol(Fraction(3), "Em7b5")))


def compound() -> Score:
    """6/8 with dotted, sixteenth and tied rhythms."""
    return compose({
        ("melody", 1, 1): "q:E5 e:G5 e:G5 e:F5 e:E5 | e.:D5 s:E5 e:F5 q.:D5~ | e:D5 s:E5 s:F5 s:G5 s:A5 q.:r",
    }, metre="6/8", parts=(MELODY,), bpm=60, title="Compound")


def band() -> Score:
    """Three parts: a tenor-clef melody that sounds an octave lower, a piano, a drum kit."""
    guitar, drums = Part("guitar", "Guitar", program=24), Part("drums", "Drums", percussion=True)
    return compose({
        ("guitar", 1, 1): "e:E3 e:F3 e:G3 e:A3 h:B3 | w:C4",
        ("piano", 1, 1): "w:G4+C5+E5 | w:G4+C5+E5",
        ("piano", 2, 1): "h:C3 h:G2 | w:C3",
        ("drums", 1, 1): "e:F4 e:A5 e:C5 e:A5 e:F4 e:A5 e:C5 e:A5 | w:F4",
    }, parts=(guitar, PIANO, drums), title="Band", clefs=(Clef("guitar", 1, Fraction(0), "G", 2, -1),))


def changes() -> Score:
    """Metre, key and clefs that change, the last in the middle of a measure; tempo marks in words."""
    score = compose({
        ("piano", 1, 1): "q:C5 q:D5 q:E5 q:F5 | q:G5 q:A5 q:B5 | q.:C6 q.:B5 | w:Eb5",
        ("piano", 2, 1): "h:C3 h:C5 | h.:G4 | q.:C3 q.:G2 | w:Eb3",
    }, later={2: "3/4", 3: "6/8", 4: "4/4"}, title="Changes", keys=(KeySignature(4, Fraction(10), -3, "minor"),),
        clefs=(Clef("piano", 2, Fraction(2), "G", 2), Clef("piano", 2, Fraction(7), "F", 4)))
    slower = (
        TempoMark(Fraction(5), 80.0, Fraction(1), "rit."), TempoMark(Fraction(7), 50.0, Fraction(3, 2), "Andante"))
    return replace(score, tempi=(*score.tempi, *slower))


ALL = {f.__name__: f for f in (scale, two_hands, pickup, compound, changes, band)}
