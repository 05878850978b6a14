"""Reading MusicXML, MIDI and rescored's JSON into one small model of a piece, for comparing.

Everything is taken from the files as another program would see them, not through rescored's own
types, so that a figure also covers the writing. Tied notes are joined; repeats are not played out.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar
from xml.etree import ElementTree

import numpy as np

from ..errors import InputError
from ..music import Floats

T = TypeVar("T")

PITCH_CLASS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_SHARPS = "FCGDAEB"  # the order in which a key signature adds them; flats the other way round
_HARTE = {"": "maj", "m": "min", "7": "7", "maj7": "maj7", "m7": "min7", "dim": "dim", "dim7": "dim7",
          "m7b5": "hdim7", "aug": "aug", "sus4": "sus4", "sus2": "sus2", "6": "maj6", "m6": "min6"}
CLUTTER = ("ties", "rests", "dots", "tuplets", "accidentals")


@dataclass(frozen=True, slots=True)
class ScoreNote:
    """A written note with a length; `staff` counts through all parts; `step` is "" where unknown."""

    onset_ql: float
    duration_ql: float
    pitch: int
    step: str = ""
    alter: int = 0
    staff: int = 1
    voice: str = "1"

    @property
    def end_ql(self) -> float:
        """Where it ends."""
        return self.onset_ql + self.duration_ql


@dataclass(frozen=True)
class Measures:
    """Bar lines and metre: `measures` as (onset_ql, length_ql), `metres` as (onset_ql, numerator, denominator)."""

    measures: tuple[tuple[float, float], ...]
    metres: tuple[tuple[float, int, int], ...]


@dataclass(frozen=True)
class Printed:
    """How full the page is: `signs` counts `CLUTTER`, `voices` is the mean per staff of a measure with notes."""

    signs: Counter[str]
    voices: float


@dataclass(frozen=True)
class Written:
    """A score: notes sorted by (onset, pitch), bar lines, keys as (onset_ql, fifths).

    `printed` is None where the format does not say.
    """

    notes: tuple[ScoreNote, ...]
    measures: Measures
    keys: tuple[tuple[float, int], ...]
    printed: Printed | None = None

    @property
    def end_ql(self) -> float:
        """Where the last measure or note ends."""
        ends = [at + length for at, length in self.measures.measures[-1:]] + [n.end_ql for n in self.notes]
        return max(ends, default=0.0)

    @property
    def time_signature(self) -> tuple[int, int] | None:
        """The one in force for the longest."""
        return longest([(at, (n, d)) for at, n, d in self.measures.metres], self.end_ql)

    @property
    def key(self) -> int | None:
        """The signature (sharps positive) in force for the longest."""
        return longest(list(self.keys), self.end_ql)


@dataclass(frozen=True)
class Played:
    """Notes in seconds: `intervals_s`, shape (n, 2), and `pitches` (MIDI, may be fractional), shape (n,)."""

    intervals_s: Floats
    pitches: Floats


@dataclass(frozen=True)
class Beats:
    """Times of all beats and of the downbeats among them, in seconds."""

    beats_s: Floats
    downbeats_s: Floats


@dataclass(frozen=True)
class Harmony:
    """Chords that follow each other: `intervals_s`, shape (n, 2), and `labels` in Harte's syntax ("A:min7", "N")."""

    intervals_s: Floats
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Piece:
    """What is known of a piece; each aspect may be missing."""

    written: Written | None = None
    played: Played | None = None
    beats: Beats | None = None
    chords: Harmony | None = None

    def filled(self, other: Piece) -> Piece:
        """With what is missing here taken from `other`."""
        return replace(self, written=self.written or other.written, played=self.played or other.played,
                       beats=self.beats or other.beats, chords=self.chords or other.chords)


def read(source: str | Path | Iterable[str | Path]) -> Piece:
    """A piece from a file (.musicxml .xml .mxl, .mid .midi, .json), or from several files of one piece.

    Of several, the first that knows an aspect (written, played, beats) gives it. Raises InputError.
    """
    if isinstance(source, str | Path):
        return _read_one(Path(source))
    piece = Piece()
    for path in source:
        piece = piece.filled(_read_one(Path(path)))
    return piece


def _read_one(path: Path) -> Piece:
    readers = {".musicxml": read_musicxml, ".xml": read_musicxml, ".mxl": read_musicxml,
               ".mid": read_midi, ".midi": read_midi, ".json": read_json}
    if not path.is_file():
        raise InputError(f"There is no file {path.name}.", "Check the name and the folder.")
    if path.suffix.lower() not in readers:
        raise InputError(f"{path.name} cannot be compared.", "Give MusicXML, MIDI or rescored's JSON.")
    try:
        return readers[path.suffix.lower()](path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"There is no file {path.name}.", "Check its name.") from error
    except Exception as error:  # parsers of foreign files raise whatever they like
        remedy = "It may be damaged, or of another kind than its name says."
        raise InputError(f"{path.name} could not be read: {error}", remedy) from error


def longest(changes: list[tuple[float, T]], end_ql: float) -> T | None:
    """What is in force for the longest, of what changes at these places."""
    length: dict[T, float] = {}
    ends = [*(at for at, _ in changes[1:]), end_ql]
    for (at, value), until in zip(changes, ends, strict=False):  # without changes there is no end
        length[value] = length.get(value, 0.0) + max(until - at, 1e-6)
    return max(length, key=lambda value: length[value]) if length else None


# ---------------------------------------------------------------- MusicXML


def read_musicxml(data: bytes) -> Piece:
    """A partwise MusicXML document, plain or compressed (.mxl). Unpitched notes are left out."""
    root = _root(data)
    parts = root.findall("part")
    lengths = _measure_lengths(parts)
    starts = [sum(lengths[:i], Fraction(0)) for i in range(len(lengths))]
    reader = _ScoreReader(starts)
    for part in parts:
        reader.part(part)
    measures = Measures(
        tuple((float(at), float(length)) for at, length in zip(starts, lengths, strict=True)), tuple(reader.metres))
    printed = Printed(reader.signs, float(np.mean(reader.voice_counts)) if reader.voice_counts else 0.0)
    return Piece(written=Written(_sorted(reader.notes), measures, tuple(reader.keys), printed))


def _root(data: bytes) -> ElementTree.Element:
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            name = next(n for n in archive.namelist()
                        if n.lower().endswith((".xml", ".musicxml")) and not n.startswith("META-INF"))
            data = archive.read(name)
    root = ElementTree.fromstring(data)
    for node in root.iter():
        node.tag = node.tag.rpartition("}")[2]
    if root.tag != "score-partwise":
        raise ValueError(f"its root is <{root.tag}>, not <score-partwise>")
    return root


def _text(node: ElementTree.Element, path: str, default: str) -> str:
    return (node.findtext(path) or "").strip() or default


def _measure_lengths(parts: list[ElementTree.Element]) -> list[Fraction]:
    """Length of every measure in quarters, as filled by the part that fills it most."""
    lengths: list[Fraction] = []
    for part in parts:
        divisions = Fraction(1)
        for i, measure in enumerate(part.findall("measure")):
            at = furthest = Fraction(0)
            for node in measure:
                if node.tag == "attributes":
                    divisions = Fraction(_text(node, "divisions", str(divisions)))
                at += _advance(node, divisions)
                furthest = max(furthest, at)
            lengths += [Fraction(0)] * (i + 1 - len(lengths))
            lengths[i] = max(lengths[i], furthest)
    return lengths


def _advance(node: ElementTree.Element, divisions: Fraction) -> Fraction:
    """How far this element moves the cursor, in quarters."""
    moves = node.tag in ("backup", "forward") or (
        node.tag == "note" and node.find("chord") is None and node.find("grace") is None)
    if not moves:
        return Fraction(0)
    length = Fraction(_text(node, "duration", "0")) / divisions
    return -length if node.tag == "backup" else length


class _ScoreReader:
    """Walks through the parts and gathers what `Written` holds; keys and metre come from the first part."""

    def __init__(self, starts: list[Fraction]):
        self.starts = starts
        self.notes: list[ScoreNote] = []
        self.keys: list[tuple[float, int]] = []
        self.metres: list[tuple[float, int, int]] = []
        self.signs: Counter[str] = Counter(dict.fromkeys(CLUTTER, 0))
        self.voice_counts: list[int] = []
        self._staves_above = 0  # in the parts before this one
        self._parts = 0

    def part(self, part: ElementTree.Element) -> None:
        self._divisions, self._fifths, self._transpose = Fraction(1), 0, 0
        self._open_ties: dict[int, list[int]] = {}  # pitch -> indices of notes that a tie goes on from
        for start, measure in zip(self.starts, part.findall("measure"), strict=False):
            self._measure(start, measure)
        self._staves_above += max([1, *(int(node.text or 1) for node in part.iter("staves"))])
        self._parts += 1

    def _measure(self, start: Fraction, measure: ElementTree.Element) -> None:
        at, chord_at = start, start
        self._altered: dict[tuple[int, str, str], int] = {}  # accidentals in force
        voices: dict[int, set[str]] = {}
        for node in measure:
            if node.tag == "attributes":
                self._attributes(float(at), node)
            elif node.tag == "note":
                if node.find("chord") is None:
                    chord_at = at
                self._note(float(chord_at), node, voices)
            at += _advance(node, self._divisions)
        self.voice_counts += [len(names) for names in voices.values()]

    def _attributes(self, at: float, node: ElementTree.Element) -> None:
        self._divisions = Fraction(_text(node, "divisions", str(self._divisions)))
        if node.find("key/fifths") is not None:
            self._fifths = int(_text(node, "key/fifths", "0"))
            if self._parts == 0:
                self.keys.append((at, self._fifths))
        if node.find("time/beats") is not None and self._parts == 0:
            numerator = sum(int(n) for n in _text(node, "time/beats", "4").split("+"))
            self.metres.append((at, numerator, int(_text(node, "time/beat-type", "4"))))
        if node.find("transpose") is not None:
            self._transpose = (int(_text(node, "transpose/chromatic", "0"))
                               + 12 * int(_text(node, "transpose/octave-change", "0")))

    def _note(self, at: float, node: ElementTree.Element, voices: dict[int, set[str]]) -> None:
        in_chord = node.find("chord") is not None
        pitch_node = node.find("pitch")
        if node.find("rest") is not None:
            if node.get("print-object") != "no":
                self.signs["rests"] += 1
                self.signs["dots"] += len(node.findall("dot"))
            return
        if pitch_node is None:
            return
        step, octave = _text(pitch_node, "step", "C"), _text(pitch_node, "octave", "4")
        alter = round(float(_text(pitch_node, "alter", "0")))
        pitch = 12 * (int(octave) + 1) + PITCH_CLASS[step] + alter + self._transpose
        staff = self._staves_above + int(_text(node, "staff", "1"))
        voice = _text(node, "voice", "1")
        ties = {tie.get("type") for tie in node.findall("tie")}
        voices.setdefault(staff, set()).add(voice)
        self.signs["ties"] += "start" in ties
        if "stop" not in ties:
            self._accidental(staff, step, octave, alter)
        if not in_chord:
            self.signs["dots"] += len(node.findall("dot"))
            self.signs["tuplets"] += node.find("time-modification") is not None
        if node.find("grace") is not None:
            return
        duration = float(Fraction(_text(node, "duration", "0")) / self._divisions)
        waiting = self._open_ties.setdefault(pitch, [])
        tied = [i for i in waiting if abs(self.notes[i].end_ql - at) < 1e-6] if "stop" in ties else []
        if tied:
            i = next((i for i in tied if self.notes[i].staff == staff), tied[0])
            self.notes[i] = replace(self.notes[i], duration_ql=self.notes[i].duration_ql + duration)
            waiting.remove(i)
        else:
            i = len(self.notes)
            self.notes.append(ScoreNote(at, duration, pitch, step, alter, staff, voice))
        if "start" in ties:
            waiting.append(i)

    def _accidental(self, staff: int, step: str, octave: str, alter: int) -> None:
        """Count a sign where the letter is not altered as the key or the measure so far has it."""
        sharps, flats = _SHARPS[: max(self._fifths, 0)], _SHARPS[::-1][: max(-self._fifths, 0)]
        of_key = (step in sharps) - (step in flats)
        place = (staff, step, octave)
        self.signs["accidentals"] += self._altered.get(place, of_key) != alter
        self._altered[place] = alter


def _sorted(notes: Iterable[ScoreNote]) -> tuple[ScoreNote, ...]:
    return tuple(sorted(notes, key=lambda n: (n.onset_ql, n.pitch)))


# ---------------------------------------------------------------- rescored's JSON


def read_json(data: bytes) -> Piece:
    """rescored's JSON: notes with seconds and places in the score, beats, metre and keys."""
    content = json.loads(data)
    drums = {part["id"] for part in content.get("performance", {}).get("parts", ()) if part["percussion"]}
    notes = [n for n in content["notes"] if n.get("part") not in drums]
    unwritten = [n for n in content.get("unwritten", ()) if n["part"] not in drums]
    parts = {name: i for i, name in enumerate(dict.fromkeys(n.get("part") for n in notes))}
    beats = sorted(content["beats"], key=lambda b: float(b["time_s"]))
    written = _sorted(
        ScoreNote(
            _ql(n["onset_ql"]), _ql(n["duration_ql"]), round(n["pitch"]), n.get("step") or "", int(n.get("alter") or 0),
            staff=10 * parts[n.get("part")] + int(n.get("staff") or 1), voice=str(n.get("voice", 1)))
        for n in notes if n.get("onset_ql") is not None and _ql(n["duration_ql"]) > 0)
    metres = tuple(
        (_ql(t["ql"]), int(t["numerator"]), int(t["denominator"])) for t in content.get("time_signatures", ()))
    keys = tuple((_ql(k["ql"]), int(k["fifths"])) for k in content.get("keys", ()))
    end_ql = max([n.end_ql for n in written] + [_ql(b["ql"]) for b in beats], default=0.0)
    bars = {b.get("measure", b.get("bar")): _ql(b["ql"]) for b in reversed(beats)}  # first beat of each wins
    edges = [*sorted(bars.values()), end_ql]
    measures = tuple((a, b - a) for a, b in pairwise(edges) if b > a)
    rows = np.array([(n["onset_s"], n["offset_s"], n["pitch"]) for n in notes + unwritten], dtype=float).reshape(-1, 3)
    return Piece(
        Written(written, Measures(measures, metres), keys),
        played(rows),
        Beats(np.array([b["time_s"] for b in beats], dtype=float),
              np.array([b["time_s"] for b in beats if b["beat"] == 1], dtype=float)),
        _harmony(content.get("chords") or (), beats))


def _harmony(symbols: Sequence[Mapping[str, Any]], beats: Sequence[Mapping[str, Any]]) -> Harmony | None:
    """Chord symbols at the times of their beats, each until the next, the last until the last beat."""
    if not symbols or not beats:
        return None
    at = np.interp([_ql(s["ql"]) for s in symbols], [_ql(b["ql"]) for b in beats], [float(b["time_s"]) for b in beats])
    edges = np.append(at, max(float(beats[-1]["time_s"]), at[-1]))
    lasting = np.flatnonzero(np.diff(edges) > 0).tolist()
    return Harmony(np.column_stack([edges[:-1], edges[1:]])[lasting],
                   tuple(harte(str(symbols[k]["symbol"])) for k in lasting))


def harte(symbol: str) -> str:
    """A chord symbol in the syntax of Harte et al., "Symbolic representation of musical chords" (ISMIR 2005).

    The bass is left out; "N" where there is no chord, "X" for one that is not known.
    """
    match = re.fullmatch(r"([A-G][#b]*)([^/]*)(/.*)?", symbol)
    if not match:
        return "N"
    return f"{match[1]}:{_HARTE[match[2]]}" if match[2] in _HARTE else "X"


def _ql(value: Any) -> float:
    return float(Fraction(value)) if isinstance(value, str) else float(value)


def played(rows: Floats) -> Played:
    """Notes from rows of (onset_s, offset_s, pitch), shape (n, 3); none is shorter than 10 ms."""
    rows = rows[np.lexsort((rows[:, 2], rows[:, 0]))]
    return Played(np.column_stack([rows[:, 0], np.maximum(rows[:, 1], rows[:, 0] + 0.01)]), rows[:, 2])


# ---------------------------------------------------------------- MIDI


def read_midi(data: bytes) -> Piece:
    """A MIDI file, as played and as written on its own ticks; a track is a staff. Drums are left out.

    Where it states no metre it is in 4/4, as its standard has it.
    """
    import pretty_midi

    midi = pretty_midi.PrettyMIDI(io.BytesIO(data))

    def ql(seconds: float) -> float:
        return float(midi.time_to_tick(seconds) / midi.resolution)

    tracks = [track for track in midi.instruments if not track.is_drum]
    notes = _sorted(ScoreNote(ql(n.start), ql(n.end) - ql(n.start), n.pitch, staff=i + 1)
                    for i, track in enumerate(tracks) for n in track.notes if ql(n.end) > ql(n.start))
    rows = np.array([(n.start, n.end, n.pitch) for track in tracks for n in track.notes], dtype=float).reshape(-1, 3)
    metres = [(ql(t.time), int(t.numerator), int(t.denominator)) for t in midi.time_signature_changes]
    if not metres or metres[0][0] > 0:
        metres.insert(0, (0.0, 4, 4))
    keys = tuple((ql(k.time), _fifths(k.key_number)) for k in midi.key_signature_changes)
    end_ql = max((n.end_ql for n in notes), default=0.0)
    measures: list[tuple[float, float]] = []
    for (at, numerator, denominator), until in zip(metres, [*(m[0] for m in metres[1:]), end_ql], strict=True):
        length = 4.0 * numerator / denominator
        measures += [(edge, min(length, until - edge)) for edge in np.arange(at, until - 1e-6, length).tolist()]
    return Piece(Written(notes, Measures(tuple(measures), tuple(metres)), keys), played(rows),
                 Beats(midi.get_beats(), midi.get_downbeats()))


def _fifths(key_number: int) -> int:
    """Sharps (positive) of pretty_midi's key number: tonic 0..11 major, 12..23 minor."""
    major = (key_number + (3 if key_number >= 12 else 0)) % 12
    return (7 * major + 5) % 12 - 5
