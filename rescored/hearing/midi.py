"""Stage `read_midi`: a MIDI file as the performance that it records.

The file is read here, byte by byte (Standard MIDI Files 1.0, MIDI Manufacturers Association, 1996),
and not by a library, because those hold all events, or an array as long as the last tick, before
one can see that a file is absurd.
"""

from __future__ import annotations

import math
import re
import struct
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..music import (
    PIANO,
    Floats,
    KeySignature,
    Note,
    Part,
    Performance,
    Recording,
    Span,
    StatedMetre,
    TimeSignature,
)
from ..settings import NoteSettings
from ..stage import Report, silent, stage
from .sources import short_name

MAX_MB = 20
MAX_NOTES = 200_000
MAX_EVENTS = 2_000_000
MAX_HOURS = 4
MAX_TEMPI = 20_000  # a map of more changes is no metre that anyone set
MAX_QL = 200_000  # nor is one of more quarters
LONGEST_QL, MOST_BEATS = 32, 64  # of a measure that is read
_UNIT_QL = Fraction(1, 8)  # signatures change on 32nds: those that lie elsewhere are slips of the program
SHORTEST_S = 0.01  # also: no key is struck again sooner than this, so two such notes are one
APART, CROSSED = 5.0, 0.2  # semitones between the means of two hands; share of chords in which they may cross
FEWEST_OF_A_HAND, SHARE_OF_A_HAND = 4, 0.05  # notes of each
_DRUM_CHANNEL = 9
_SUSTAIN = 64  # number of the controller, and the value from which on the pedal is down
_KEYBOARDS = frozenset({*range(9), *range(16, 22), 46})  # pianos to celesta, organs, accordion, harp
_EXPORT = "Export the MIDI file again."


@stage(version=3)
def read_midi(
    recording: Recording, passage_s: tuple[float, float] = (0.0, 0.0), *,
    settings: NoteSettings, report: Report = silent,
) -> Performance:
    """The notes of a MIDI file at their own times, as they were played.

    With `settings.instruments == "piano"` all that is no drum becomes one piano; otherwise every
    track and program is a part, except that the tracks of one keyboard instrument are its two hands.
    Unless a whole "band" is wanted, or there is nothing else, drums are left out, with a warning.
    `passage_s` (begin, end; 0 = open) keeps the notes that begin in it, at their own times. Notes end where
    the key is let go; the sustain pedal is in `Performance.pedal`, and what the file says of its metre in
    `Performance.stated`; which hand plays what, where the two tracks of a keyboard are those of its hands, in
    `Performance.hands`. A key struck again while it sounds ends its first note; stuck notes end with their track. A
    file that is cut off is read as far as it goes, with a warning.

    Raises `InputError` for anything that is not MIDI, has no notes (in the range and passage asked
    for), or is beyond all reason: 20 MB, 200,000 notes, 4 hours.
    """
    name = short_name(recording.path)
    song = _parse(_contents(recording.path, name), name)
    report(0.5, "sorting the notes")
    if not song.tones:
        raise InputError(f"{name} has no notes.", _EXPORT)
    onsets_s = song.seconds(t.on for t in song.tones)
    offsets_s = song.seconds(t.off for t in song.tones)
    if offsets_s.max() > MAX_HOURS * 3600:
        raise InputError(f"{name} lasts longer than {MAX_HOURS} hours.", "Cut out the part that you want.")
    with_drums = settings.instruments == "band" or all(t.is_drum for t in song.tones)
    begin_s, end_s = passage_s[0], passage_s[1] or np.inf
    players: dict[Hashable, list[Note]] = defaultdict(list)
    for tone, on, off in zip(song.tones, onsets_s.tolist(), offsets_s.tolist(), strict=True):
        in_range = settings.lowest <= tone.pitch <= settings.highest
        if begin_s <= on < end_s and (with_drums if tone.is_drum else in_range):
            note = Note(f"{tone.track} {tone.channel}", on, max(off, on + SHORTEST_S), tone.pitch, tone.velocity)
            players[_player(tone, one_piano=settings.instruments == "piano")].append(note)
    if not players:
        raise InputError(f"{name} has no notes in the passage and range asked for.",
                         "Widen the passage (audio.start_s, audio.end_s) or notes.lowest and notes.highest.")
    parts = _parts(players)
    notes = sorted(
        (replace(note, part=part.id) for part, player in zip(parts, players, strict=True)
         for note in _apart(players[player])),
        key=lambda n: (n.onset_s, n.pitch, n.part))
    hands = _hands(notes) if all(t.program in _KEYBOARDS for t in song.tones if not t.is_drum) else {}
    duration_s = max(n.offset_s for n in notes)
    warnings = []
    if song.damaged:
        warnings.append("The MIDI file is damaged or cut off: what could be read of it was used.")
    if not with_drums and any(t.is_drum for t in song.tones):
        warnings.append("The drums of the MIDI file were left out.")
    return Performance(
        notes=tuple(replace(note, id=f"n{i}") for i, note in enumerate(notes, 1)), parts=parts,
        pedal=_pedal(song, begin_s, duration_s), duration_s=duration_s, warnings=tuple(warnings),
        stated=_stated(song), hands={f"n{i}": hand for i, hand in hands.items()})


# ---------------------------------------------------------------- players and their notes

_ONE_PIANO, _DRUMS = "one piano", "drums"


def _player(tone: _Tone, *, one_piano: bool) -> Hashable:
    """Tones of one player make one part; the tracks of one keyboard are one player's hands."""
    if tone.is_drum:
        return _DRUMS
    if one_piano:
        return _ONE_PIANO
    return (tone.program,) if tone.program in _KEYBOARDS else (tone.program, tone.track, tone.channel)


def _parts(players: dict[Hashable, list[Note]]) -> tuple[Part, ...]:
    """A part for every player, in order; those of one name are numbered."""
    if set(players) == {_ONE_PIANO}:
        return (PIANO,)
    from pretty_midi import program_to_instrument_name

    programs = [player[0] if isinstance(player, tuple) else None for player in players]
    names = ["Drums" if p is None else "Piano" if p == 0 else re.sub(r" *\(.*\)", "", program_to_instrument_name(p))
             for p in programs]
    parts = []
    for i, (program, name, notes) in enumerate(zip(programs, names, players.values(), strict=True)):
        if program is None:
            parts.append(Part("drums", name, percussion=True))
            continue
        if names.count(name) > 1:
            name = f"{name} {names[: i + 1].count(name)}"
        pitches = [n.pitch for n in notes]
        both_clefs = min(pitches) < 57 and max(pitches) > 64  # A3, E4: beyond a ledger line or two of one clef
        staves = 2 if program in _KEYBOARDS and both_clefs else 1
        parts.append(Part(re.sub(r"\W+", "-", name.lower()), name, program=program, staves=staves))
    return tuple(parts)


def _hands(notes: Sequence[Note]) -> dict[int, int]:
    """Staff of every note, by its number from 1, where the notes (whose ids tell their tracks) come from two tracks
    of one part of which one is the right hand's: higher on the whole, and nearly always where both strike at once."""
    tracks = sorted({n.id for n in notes})
    if len(tracks) != 2 or len({n.part for n in notes}) > 1:
        return {}
    pitches = [[n.pitch for n in notes if n.id == track] for track in tracks]
    if min(map(len, pitches)) < max(FEWEST_OF_A_HAND, SHARE_OF_A_HAND * len(notes)):
        return {}
    right = tracks[int(np.mean(pitches[1]) > np.mean(pitches[0]))]
    struck: dict[float, list[Note]] = defaultdict(list)
    for n in notes:
        struck[round(n.onset_s, 2)].append(n)
    both = [chord for chord in struck.values() if len({n.id for n in chord}) == 2]
    crossed = sum(min(n.pitch for n in chord if n.id == right) < max(n.pitch for n in chord if n.id != right)
                  for chord in both)
    if abs(float(np.mean(pitches[0]) - np.mean(pitches[1]))) < APART or crossed > CROSSED * len(both):
        return {}
    return {i: 1 if n.id == right else 2 for i, n in enumerate(notes, 1)}


def _apart(notes: list[Note]) -> list[Note]:
    """The notes of one player, those of one key made to follow each other; doubled ones are one."""
    keys: dict[int, list[Note]] = defaultdict(list)
    for note in sorted(notes, key=lambda n: n.onset_s):
        key = keys[note.pitch]
        last = key[-1] if key else None
        if last and note.onset_s < last.onset_s + SHORTEST_S:
            key[-1] = replace(last, offset_s=max(last.offset_s, note.offset_s),
                              velocity=max(last.velocity, note.velocity))
            continue
        if last and note.onset_s < last.offset_s:
            key[-1] = replace(last, offset_s=note.onset_s)
        key.append(note)
    return [note for key in keys.values() for note in key]


def _pedal(song: _Song, begin_s: float, end_s: float) -> tuple[Span, ...]:
    """When the sustain pedal of any channel is down, between two times."""
    down_since: dict[int, float] = {}
    spans: list[Span] = []

    def lift(channel: int, at_s: float) -> None:
        start_s, at_s = max(down_since.pop(channel, np.inf), begin_s), min(at_s, end_s)
        if start_s < at_s:
            spans.append(Span(start_s, at_s))

    pedals = sorted(song.pedals, key=lambda p: p[0])
    for (_, channel, down), at_s in zip(pedals, song.seconds(p[0] for p in pedals).tolist(), strict=True):
        if down:
            down_since.setdefault(channel, at_s)
        else:
            lift(channel, at_s)
    for channel in list(down_since):
        lift(channel, end_s)
    united: list[Span] = []
    for span in sorted(spans, key=lambda s: s.start_s):
        if united and span.start_s <= united[-1].end_s:
            united[-1] = replace(united[-1], end_s=max(united[-1].end_s, span.end_s))
        else:
            united.append(span)
    return tuple(united)


# ---------------------------------------------------------------- tempo map and signatures


def _stated(song: _Song) -> StatedMetre | None:
    """The file's tempo map and signatures as far as its notes go; None where they cannot be those of music."""
    end = max(t.off for t in song.tones) + 1
    if song.division < 0 or end > MAX_QL * song.division:
        return None
    changes = [(tick, tempo) for tick, tempo in song.tempo_changes if tick < end]
    changes = [c for before, c in pairwise([(0, -1), *changes]) if c[1] != before[1]]
    if len(changes) > MAX_TEMPI or not all(tempo for _, tempo in changes):
        return None
    ticks = [*(tick for tick, _ in changes), end]
    times_s = song.seconds(ticks)
    if (np.diff(times_s) <= 0).any():
        return None
    signatures = _time_signatures(song, end)
    return StatedMetre(
        tuple(times_s.tolist()), tuple(tick / song.division for tick in ticks), song.division, signatures,
        _keys(song, end, signatures))


def _place(song: _Song, tick: int) -> Fraction:
    return round(Fraction(tick, song.division) / _UNIT_QL) * _UNIT_QL


def _time_signatures(song: _Song, end: int) -> tuple[TimeSignature, ...]:
    """Those that can be written, where they differ from the one before."""
    stated: dict[Fraction, tuple[int, int]] = {}
    for tick, numerator, power in sorted(song.time_signatures, key=lambda s: s[0]):
        while power > 5 and numerator % 2 == 0 and numerator:
            numerator, power = numerator // 2, power - 1
        length_ql = Fraction(4 * numerator, 1 << min(power, 5))
        if tick < end and power <= 5 and 1 <= numerator <= MOST_BEATS and length_ql <= LONGEST_QL:
            stated[_place(song, tick)] = numerator, 1 << power
    result: list[TimeSignature] = []
    for ql, (numerator, denominator) in stated.items():
        last = result[-1] if result else None
        if last and (last.numerator, last.denominator) == (numerator, denominator):
            continue
        result.append(TimeSignature(_measure(result, ql), ql, numerator, denominator))
    return tuple(result)


def _keys(song: _Song, end: int, signatures: Sequence[TimeSignature]) -> tuple[KeySignature, ...]:
    stated = {_place(song, tick): (fifths, minor) for tick, fifths, minor in sorted(song.keys, key=lambda k: k[0])
              if tick < end and abs(fifths) <= 7}
    return tuple(KeySignature(_measure(signatures, ql), ql, fifths, "minor" if minor == 1 else "major")
                 for ql, (fifths, minor) in stated.items())


def _measure(signatures: Sequence[TimeSignature], ql: Fraction) -> int:
    """Number of the measure that begins at a place, or next after it, under the signatures up to there."""
    now = next((s for s in reversed(signatures) if s.ql <= ql), TimeSignature(1, Fraction(0), 4, 4))
    return now.measure + math.ceil((ql - now.ql) / now.measure_ql)


# ---------------------------------------------------------------- the file


@dataclass(frozen=True, slots=True)
class _Tone:
    """A note of the file; `on` and `off` in ticks."""

    on: int
    off: int
    pitch: int
    velocity: int
    track: int
    channel: int
    program: int

    @property
    def is_drum(self) -> bool:
        return self.channel == _DRUM_CHANNEL


@dataclass
class _Song:
    """What a file says, by ticks."""

    division: int
    tempi: list[tuple[int, int]] = field(default_factory=list)  # tick, microseconds a quarter
    time_signatures: list[tuple[int, int, int]] = field(default_factory=list)  # tick, numerator, power of 2 below it
    keys: list[tuple[int, int, int]] = field(default_factory=list)  # tick, fifths, 1 = minor
    tones: list[_Tone] = field(default_factory=list)
    pedals: list[tuple[int, int, bool]] = field(default_factory=list)  # tick, channel, down
    programs: dict[int, int] = field(default_factory=dict)  # channel -> the last one asked for
    damaged: bool = False
    events: int = 0

    @cached_property
    def tempo_changes(self) -> list[tuple[int, int]]:
        """Tick and microseconds a quarter from there on, in order, from tick 0."""
        return list(dict(sorted([(0, 500_000), *self.tempi], key=lambda t: t[0])).items())

    def seconds(self, ticks: Iterable[int]) -> Floats:
        """Times of ticks."""
        at = np.fromiter(ticks, dtype=np.float64)
        if self.division < 0:  # SMPTE: frames a second (29 stands for 29.97) and ticks a frame
            frames = -(self.division >> 8)
            return at / ((30000 / 1001 if frames == 29 else frames) * (self.division & 0xFF))
        starts, tempi = np.array(self.tempo_changes, dtype=np.float64).T
        tick_s = tempi / 1e6 / self.division
        starts_s = np.concatenate([[0.0], np.cumsum(np.diff(starts) * tick_s[:-1])])
        k = np.searchsorted(starts, at, side="right") - 1
        return np.asarray(starts_s[k] + (at - starts[k]) * tick_s[k], dtype=np.float64)


def _contents(path: str, name: str) -> bytes:
    try:
        if Path(path).stat().st_size > MAX_MB * 10**6:
            raise InputError(f"{name} is larger than {MAX_MB} MB.", "Give a MIDI file of a performance.")
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{name} cannot be opened.", "Give the file again.") from error


def _parse(data: bytes, name: str) -> _Song:
    if data[:4] != b"MThd" or len(data) < 14:
        raise InputError(f"{name} is not a MIDI file.", _EXPORT)
    header_size, _, _, division = struct.unpack(">IHHh", data[4:14])
    if division == 0 or (division < 0 and not division & 0xFF):
        raise InputError(f"{name} does not say how fast it is.", _EXPORT)
    song = _Song(division)
    at, track = 8 + header_size, 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(">4sI", data, at)
        if kind == b"MTrk":
            song.damaged |= at + 8 + size > len(data)
            song.damaged |= not _read_track(data[at + 8 : at + 8 + size], track, song, name)
            track += 1
        at += 8 + size
    song.tones.sort(key=lambda t: (t.track, t.channel, t.on))
    return song


def _read_track(data: bytes, track: int, song: _Song, name: str) -> bool:
    """Adds a track's events to the song; False if it breaks off."""
    sounding: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)  # on, velocity
    last_off: dict[tuple[int, int], int] = {}
    i = tick = running = 0
    whole = False

    def number() -> int:
        """A number of variable length, of four bytes at most."""
        nonlocal i
        value = 0
        for _ in range(4):
            byte = data[i]
            i += 1
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value
        raise IndexError

    def end(channel: int, pitch: int, off: int) -> None:
        on, velocity = sounding[channel, pitch].pop(0)
        song.tones.append(_Tone(on, off, pitch, velocity, track, channel, song.programs.get(channel, 0)))
        if len(song.tones) > MAX_NOTES:
            raise InputError(f"{name} has more than {MAX_NOTES:,} notes.", "Give a MIDI file of a performance.")

    try:
        while i < len(data):
            song.events += 1
            if song.events > MAX_EVENTS:
                raise InputError(f"{name} has more than {MAX_EVENTS:,} events.", "Give a MIDI file of a performance.")
            tick += number()
            status = data[i] if data[i] >= 0x80 else running
            i += data[i] >= 0x80
            if status == 0xFF:  # meta
                kind, i = data[i], i + 1
                size = number()
                if kind == 0x2F:
                    break
                if kind == 0x51 and size == 3:
                    song.tempi.append((tick, int.from_bytes(data[i : i + 3], "big")))
                elif kind == 0x58 and size >= 2:
                    song.time_signatures.append((tick, data[i], data[i + 1]))
                elif kind == 0x59 and size == 2:
                    song.keys.append((tick, (data[i] ^ 0x80) - 0x80, data[i + 1]))
                i += size
            elif status in (0xF0, 0xF7):  # system exclusive
                size = number()
                i += size
            elif 0x80 <= status < 0xF0:
                running, kind, channel = status, status >> 4, status & 0x0F
                first = data[i] & 0x7F
                second = 0 if kind in (0xC, 0xD) else data[i + 1] & 0x7F
                i += 1 if kind in (0xC, 0xD) else 2
                if kind == 0x9 and second:
                    sounding[channel, first].append((tick, second))
                elif kind in (0x8, 0x9):
                    last_off[channel, first] = tick
                    if sounding[channel, first]:
                        end(channel, first, tick)
                elif kind == 0xB and first == _SUSTAIN and channel != _DRUM_CHANNEL:
                    song.pedals.append((tick, channel, second >= _SUSTAIN))
                elif kind == 0xC:
                    song.programs[channel] = first
            else:
                raise IndexError
        whole = True
    except IndexError:  # the data end inside an event, or are none
        pass
    for (channel, pitch), stuck in sounding.items():  # struck more often than let go
        for on, *_ in list(stuck):
            off = last_off.get((channel, pitch), 0)
            end(channel, pitch, off if off > on else tick)
    return whole
