"""Three short pieces in the public domain, written down here, that show what rescored does.

They are performed by `expressive` and sounded by `output.sound` at first use, so nothing heavy
ships, and their true scores are known. The notes are one line of text a voice: "G4e." is a G above
middle C, a dotted eighth (w h q e s: whole to sixteenth), "+" joins a chord, "R" is a rest, "|" a
bar line.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np

from . import codec
from .bucket import default_folder
from .expressive import Style, perform
from .music import PIANO, Audio, Note, Part, Performance, WrittenNote

_FLUTE = Part("flute", "Flute", program=73)
_VIOLIN = Part("violin", "Violin", program=40)
_BASS = Part("bass", "Bass", program=32)
_DRUMS = Part("drums", "Drums", percussion=True)


@dataclass(frozen=True)
class Example:
    """A piece that ships: what to say of it, how to play it, and its music.

    `voices`: (part id, staff, voice, notes as text). `bpm` counts beats of `beat_ql` quarters.
    """

    title: str
    composer: str
    preset: str
    description: str
    numerator: int
    denominator: int
    fifths: int  # key signature, sharps positive
    bpm: float
    parts: tuple[Part, ...]
    voices: tuple[tuple[str, int, int, str], ...]
    melody: str  # id of the part that stands out; "" = the highest notes
    style: Style
    beat_ql: float = 1.0
    pickup_ql: Fraction = Fraction(0)

    @property
    def measure_ql(self) -> Fraction:
        """Length of a full measure."""
        return Fraction(4 * self.numerator, self.denominator)


def _minuet() -> tuple[tuple[str, int, int, str], ...]:
    """Two-part writing, but for two measures in which the left hand has a second voice."""
    opening = """D5q G4e A4e B4e C5e | D5q G4q G4q | E5q C5e D5e E5e F#5e | G5q G4q G4q
        | C5q D5e C5e B4e A4e | B4q C5e B4e A4e G4e"""
    right = f"""{opening} | F#4q G4e A4e B4e G4e | A4h. | {opening} | A4q B4e A4e G4e F#4e | G4h.
        | B5q G5e A5e B5e G5e | A5q D5e E5e F#5e D5e | G5q E5e F#5e G5e D5e | C#5q B4e C#5e A4q
        | A4e B4e C#5e D5e E5e F#5e | G5q F#5q E5q | F#5q A4q C#5q | D5h. | D5q G4e F#4e G4q
        | E5q G4e F#4e G4q | D5q C5q B4q | A4e G4e F#4e G4e A4q | D4e E4e F#4e G4e A4e B4e
        | C5q B4q A4q | B4e D5e G4q F#4q | B3+D4+G4h."""
    left = """G3+B3+D4h A3q | B3h. | C4h. | B3h. | A3h. | G3h. | D4q B3q G3q | D4q D3e C4e B3e A3e
        | B3h A3q | G3q B3q G3q | C4h. | B3q C4e B3e A3e G3e | A3h F#3q | G3h B3q | C4q D4q D3q | G3h G2q
        | G3h. | F#3h. | E3q G3q E3q | A3h A2q | A3h. | B3q D4q C#4q | D4q F#3q A3q | D4q D3q C4q
        | B3h. | C4h. | B3q A3q G3q | D4h Rq | D3h F#3q | E3q G3q F#3q | G3q B2q D3q | G3q D3q G2q"""
    return ("piano", 1, 1, right), ("piano", 2, 1, left), ("piano", 2, 2, "Rh. | " * 24 + "Rq D4h | Rq E4h")


def _greensleeves() -> tuple[tuple[str, int, int, str], ...]:
    """The tune over its chords: broken in the piano's left hand, roots and fifths in the bass."""
    first = """C5q D5e E5e. F5s E5e | D5q B4e G4e. A4s B4e | {} | C5q D5e E5e. F5s E5e | D5q B4e G4e. A4s B4e
        | C5e. B4s A4e G#4e. F#4s G#4e | A4q. A4q."""
    second = "G5q. G5e. F#5s E5e | D5q B4e G4e. A4s B4e"
    turn, close = "C5q A4e A4e. G#4s A4e | B4q G#4e E4q", "C5e. B4s A4e G#4e. F#4s G#4e | A4q. A4q."
    flute = f"A4e | {first.format(turn + ' A4e')} | {second} | {turn}. | {second} | {close}"
    right = {"Am": "C4+E4", "G": "B3+D4", "E": "G#3+B3", "C": "E4+G4"}
    left = {"Am": ("A2", "E3", "A3"), "G": ("G2", "D3", "G3"), "E": ("E2", "B2", "E3"), "C": ("C3", "G3", "C4")}
    bass = {"Am": ("A1", "E2"), "G": ("G1", "D2"), "E": ("E1", "B1"), "C": ("C2", "G1")}
    close_chords = ["Am E", "Am"]
    measures = [(chords.split() * 2)[:2] for chords in (
        "Am", "G", "Am", "E", "Am", "G", *close_chords, "C", "G", "Am", "E", "C", "G", *close_chords)]
    beat = "C2+F#2e F#2e F#2e D2+F#2e F#2e F#2e"  # kick, snare, hi-hat, by their keys in General MIDI

    def each(measure: str) -> str:
        return "Re | " + " | ".join(
            measure.format(*(note for chord in pair for note in (right[chord], *left[chord], *bass[chord])))
            for pair in measures)

    return (
        ("flute", 1, 1, flute),
        ("piano", 1, 1, each("{0}q. {6}q.")),
        ("piano", 2, 1, each("{1}e {2}e {3}e {7}e {8}e {9}e")),
        ("bass", 1, 1, each("{4}q. {11}q.")),
        ("drums", 1, 1, "Re | " + " | ".join([beat] * len(measures))),
    )


_ODE = """F#4q F#4q G4q A4q | A4q G4q F#4q E4q | D4q D4q E4q F#4q | F#4q. E4e E4h
    | F#4q F#4q G4q A4q | A4q G4q F#4q E4q | D4q D4q E4q F#4q | E4q. D4e D4h"""

EXAMPLES: dict[str, Example] = {
    "minuet": Example(
        "Minuet in G", "Christian Petzold", "solo-piano", "Piano, two hands, 45 seconds", 3, 4, 1, 132,
        (PIANO,), _minuet(), "", Style(phrase_ql=24.0, ritardando=0.3)),
    "greensleeves": Example(
        "Greensleeves", "Traditional, 16th century", "full-band", "Flute, piano, bass and drums, 30 seconds",
        6, 8, 0, 66, (_FLUTE, PIANO, _BASS, _DRUMS), _greensleeves(), "flute",
        Style(drift=0.02, unsteadiness=0.008, phrase_ql=24.0, phrase_depth=0.03, ritardando=0.25),
        beat_ql=1.5, pickup_ql=Fraction(1, 2)),
    "ode": Example(
        "Ode to Joy", "Ludwig van Beethoven", "melody", "Solo violin, 17 seconds", 4, 4, 2, 132,
        (_VIOLIN,), (("violin", 1, 1, _ODE),), "violin", Style(drift=0.03, unsteadiness=0.01, ritardando=0.2)),
}

_LENGTHS_QL = {"w": Fraction(4), "h": Fraction(2), "q": Fraction(1), "e": Fraction(1, 2), "s": Fraction(1, 4)}
_PITCH_CLASS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_SYMBOL = re.compile(r"(R|[A-G][#b]?\d(?:\+[A-G][#b]?\d)*)([whqes])(\.?)$")


def score_notes(name: str) -> tuple[WrittenNote, ...]:
    """The true score of an example, sorted by (onset, pitch); drums by their keys in General MIDI.

    Ids are those of `performance(name)`. Raises KeyError for an unknown name.
    """
    return _made(name)[0]


def performance(name: str) -> Performance:
    """An example as played by the expressive model, the same every time. Raises KeyError."""
    return _made(name)[1]


def path(name: str, folder: Path | None = None) -> Path:
    """An example as a FLAC file named by its title; made in `folder` at first use, in about a second.

    `folder`: by default beside the stored results. The music's own digest is part of the path, so
    a newer rescored does not play an older one's file. Raises KeyError for an unknown name.
    """
    return sounded(performance(name), EXAMPLES[name].title, folder or default_folder() / "examples")


def sounded(played: Performance, title: str, folder: Path) -> Path:
    """The sound of a performance as a FLAC file of that title below `folder`, made at first use."""
    file = folder / codec.fingerprint(played)[:8] / f"{title}.flac"
    if not file.exists():
        import soundfile

        from .output.sound import render

        file.parent.mkdir(parents=True, exist_ok=True)
        audio = render(played)
        handle, aside = tempfile.mkstemp(dir=file.parent, suffix=".flac")
        os.close(handle)
        soundfile.write(aside, audio.samples.T, audio.rate_hz, subtype="PCM_16")
        Path(aside).replace(file)
    return file


def stems(name: str) -> dict[str, Audio]:
    """An example taken apart as it was put together: drums, bass and other (flute and piano), which add up to it."""
    from .output.sound import render

    played = performance(name)
    groups: dict[str, list[str]] = {}
    for part in played.parts:
        groups.setdefault(part.id if part.id in ("bass", "drums") else "other", []).append(part.id)
    sounds = {stem: render(replace(played, notes=tuple(n for n in played.notes if n.part in parts)))
              for stem, parts in groups.items()}
    n = min(sound.samples.shape[1] for sound in sounds.values())
    loudest = max(1.0, float(np.abs(sum(sound.samples[:, :n] for sound in sounds.values())).max()))
    return {stem: replace(sound, samples=sound.samples[:, :n] / loudest) for stem, sound in sounds.items()}


@lru_cache
def _made(name: str) -> tuple[tuple[WrittenNote, ...], Performance]:
    example = EXAMPLES[name]
    symbols = sorted(
        ((onset, pitch, length, part, staff, voice)
         for part, staff, voice, text in example.voices for onset, length, pitch in _read(text, example)),
        key=lambda n: (n[0], _midi(n[1]), n[3]))
    onsets, pitches, lengths, parts, _, _ = zip(*symbols, strict=True)
    midi = [_midi(pitch) for pitch in pitches]
    last = float(max(map(sum, zip(onsets, lengths, strict=True))))
    played = perform(
        [float(q) for q in onsets], [float(q) for q in lengths], midi, bpm=example.bpm, beat_ql=example.beat_ql,
        measures_ql=np.arange(-float(example.measure_ql), last, float(example.measure_ql)), style=example.style, seed=1,
        melody=[part == example.melody for part in parts] if example.melody else None)
    written = tuple(
        WrittenNote(
            id=f"n{i}", part=part, pitch=midi[i], velocity=int(played.velocity[i]), confidence=1.0, onset_ql=onset,
            release_ql=float(onset + length), staff=staff, duration_ql=length, voice=voice,
            step=pitch[0], alter=pitch.count("#") - pitch.count("b"), octave=int(pitch[-1]))
        for i, (onset, pitch, length, part, staff, voice) in enumerate(symbols))
    notes = tuple(
        Note(n.id, float(played.onset_s[i]), float(played.offset_s[i]), n.pitch, n.velocity, part=n.part)
        for i, n in enumerate(written))
    end_s = float(played.offset_s.max()) + 1.0
    return written, Performance(notes, example.parts, played.pedal, duration_s=end_s)


def _read(text: str, example: Example) -> Iterator[tuple[Fraction, Fraction, str]]:
    """(onset_ql, duration_ql, pitch name) of every note of a voice."""
    at = -example.pickup_ql
    for number, measure in enumerate(text.split("|")):
        for token in measure.split():
            match = _SYMBOL.match(token)
            if not match:
                raise ValueError(f"{token!r} in measure {number} is neither note nor rest")
            names, length, dot = match.groups()
            duration = _LENGTHS_QL[length] * (Fraction(3, 2) if dot else 1)
            if names != "R":
                yield from ((at, duration, name) for name in names.split("+"))
            at += duration
        if at % example.measure_ql:
            raise ValueError(f"measure {number} does not fill up: {measure.strip()}")


def _midi(name: str) -> int:
    return 12 * (int(name[-1]) + 1) + _PITCH_CLASS[name[0]] + name.count("#") - name.count("b")
