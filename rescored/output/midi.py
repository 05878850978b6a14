"""Standard MIDI files: the notes as they were played, and as they are written."""

from __future__ import annotations

import io
import itertools
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping
from fractions import Fraction

import mido
import numpy as np

from ..music import BeatGrid, Floats, KeySignature, Part, Performance, Score, TimeSignature

TICKS_PER_QUARTER = 1920  # 0.5 ms at 62 BPM; many readers refuse more than 10 million ticks
_LEAD_IN_UNIT = Fraction(1, 8)
_GRACE_QL = Fraction(1, 8)
_DRUMS = 9
_CHANNELS = (*range(9), *range(10, 16))

Event = tuple[int, int, mido.Message]  # tick, order within the tick, message


def performed_midi(performance: Performance, grid: BeatGrid) -> bytes:
    """The notes as played, pedal included, under a tempo map in which bars are the score's measures.

    Time 0 of the recording is tick 0; what lies before the first beat, and a pickup, are bars of
    their own. Onsets keep their seconds to less than a millisecond.
    """
    first = int(np.argmax(grid.times_s >= 0.0))
    times, ql = grid.times_s[first:], grid.ql[first:]
    period = float(np.diff(times[:5]).sum() / np.diff(ql[:5]).sum()) if len(times) > 1 else 0.5
    lead_ql = Fraction(0)
    if times[0] > 0:
        lead_ql = max(round(Fraction(float(times[0]) / period) / _LEAD_IN_UNIT), 1) * _LEAD_IN_UNIT
    ticks = np.rint((ql - ql[0] + float(lead_ql)) * TICKS_PER_QUARTER).astype(np.int64)
    if lead_ql:
        times, ticks = np.append(0.0, times), np.append(0, ticks)

    conductor: list[Event] = []
    marks_s = [0.0]  # when each tempo really begins, its whole microseconds considered
    for tick, after, until_s in zip(ticks, ticks[1:], times[1:], strict=False):
        quarters = (after - tick) / TICKS_PER_QUARTER
        tempo = min(max(round((until_s - marks_s[-1]) / quarters * 1e6), 1), 0xFFFFFF)
        conductor.append((int(tick), 1, mido.MetaMessage("set_tempo", tempo=tempo)))
        marks_s.append(marks_s[-1] + quarters * tempo / 1e6)
    conductor += _bars(grid, first, int(lead_ql * TICKS_PER_QUARTER))

    def tick_at(seconds: Floats) -> list[int]:
        within = np.interp(seconds, marks_s, ticks)
        beyond = (seconds - marks_s[-1]) * (ticks[-1] - ticks[-2]) / (marks_s[-1] - marks_s[-2])
        return [int(t) for t in np.rint(np.where(seconds > marks_s[-1], ticks[-1] + beyond, within))]

    played: dict[str, list[tuple[int, int, int, int]]] = defaultdict(list)
    for note, on, off in zip(performance.notes, tick_at(performance.onsets_s), tick_at(performance.offsets_s),
                             strict=True):
        played[note.part].append((on, off, note.pitch, note.velocity))
    pedal: list[tuple[int, int]] = []
    if performance.pedal:
        down, up = zip(*((span.start_s, span.end_s) for span in performance.pedal), strict=True)
        pedal = list(zip(tick_at(np.array(down)), tick_at(np.array(up)), strict=True))
    return _file(conductor, performance.parts, played, pedal)


def _bars(grid: BeatGrid, first: int, lead_ticks: int) -> list[Event]:
    """Time signatures: of what lies before the first beat, of an incomplete first bar, then the grid's own."""
    metre = grid.time_signatures[0]
    bars: list[tuple[int, int, int]] = []
    before = lead_ticks % int(metre.measure_ql * TICKS_PER_QUARTER)
    if before:
        bars.append((0, *_signature(Fraction(before, TICKS_PER_QUARTER))))
    if lead_ticks > before:
        bars.append((before, metre.numerator, metre.denominator))
    ql0 = Fraction(float(grid.ql[first])).limit_denominator(96)
    downbeats = np.flatnonzero(grid.beat[first:] == 1)
    begin = Fraction(float(grid.ql[first + downbeats[0]])).limit_denominator(96) if len(downbeats) else ql0
    if begin > ql0:
        bars.append((lead_ticks, *_signature(begin - ql0)))
    for now, after in zip(grid.time_signatures, [*grid.time_signatures[1:], None], strict=True):
        if after is None or after.ql > begin:
            tick = lead_ticks + int((max(now.ql, begin) - ql0) * TICKS_PER_QUARTER)
            bars.append((tick, now.numerator, now.denominator))
    return [(tick, 0, _time_signature(n, d)) for tick, n, d in bars]


def written_midi(score: Score) -> bytes:
    """The notes as written, at the score's tempi; tick 0 is where the first measure begins. Hands have a track each."""
    origin = score.measures[0].ql

    def tick(ql: Fraction) -> int:
        return max(round((ql - origin) * TICKS_PER_QUARTER), 0)

    conductor: list[Event] = [
        (tick(t.ql), 1, mido.MetaMessage("set_tempo", tempo=min(round(60e6 / (t.bpm * float(t.beat_ql))), 0xFFFFFF)))
        for t in score.tempi
    ]
    sounding: tuple[int, int] | None = None
    for measure in score.measures:
        signature = (measure.numerator, measure.denominator)
        if measure.number == 0:
            signature = _signature(measure.length_ql)
        if signature != sounding:
            conductor.append((tick(measure.ql), 0, _time_signature(*signature)))
            sounding = signature
    notes: dict[str, list[tuple[int, int, int, int]]] = defaultdict(list)
    lower: set[tuple[str, int, int]] = set()
    for note in score.notes:
        begin, length = note.onset_ql, note.duration_ql
        if note.grace:  # just before the note that it adorns
            begin, length = note.onset_ql - _GRACE_QL, _GRACE_QL
        elif note.staccato:
            length /= 2
        notes[note.part].append((tick(begin), tick(begin + length), note.pitch, note.velocity))
        if note.staff == 2:
            lower.add((note.part, tick(begin), note.pitch))
    conductor += [(tick(key.ql), 0, _key_signature(key)) for key in score.keys]
    return _file(conductor, score.parts, notes, [], lower)


def _signature(ql: Fraction) -> tuple[int, int]:
    """A time signature for a bar of this length."""
    signature = TimeSignature.of_length(0, Fraction(0), ql)
    return signature.numerator, signature.denominator


def _key_signature(key: KeySignature) -> mido.MetaMessage:
    """Its names are such as Bb and F#m."""
    name = key.name.translate({ord("♯"): "#", ord("♭"): "b"}).replace(" major", "").replace(" minor", "m")
    return mido.MetaMessage("key_signature", key=name)


def _time_signature(numerator: int, denominator: int) -> mido.MetaMessage:
    return mido.MetaMessage("time_signature", numerator=numerator, denominator=denominator)


def channels(parts: Iterable[Part]) -> list[int]:
    """The MIDI channel of each part, 0..15; past fifteen melodic parts they are shared."""
    melodic = itertools.cycle(_CHANNELS)
    return [_DRUMS if part.percussion else next(melodic) for part in parts]


def keyboards(parts: Iterable[Part]) -> set[str]:
    """Ids of the parts that the pedal belongs to: the keyboards, or all if there are none."""
    parts = tuple(parts)
    return {p.id for p in parts if p.program < 8 and not p.percussion} or {p.id for p in parts}


def key_presses(notes: Iterable[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """(on, off, pitch, velocity) of one part as keys go down and up: a key struck again was let go before."""
    held: dict[int, tuple[int, int, int, int]] = {}
    result = []
    for on, off, pitch, velocity in sorted(notes):
        before = held.get(pitch)
        held[pitch] = (on, max(off, on + 1), pitch, velocity)
        if before and before[0] < on:
            result.append((before[0], min(before[1], on), pitch, before[3]))
    return [*result, *held.values()]


def _file(conductor: Iterable[Event], parts: Iterable[Part],
          notes: Mapping[str, list[tuple[int, int, int, int]]], pedal: Iterable[tuple[int, int]],
          lower: Container[tuple[str, int, int]] = ()) -> bytes:
    """Notes are (tick on, tick off, pitch, velocity) by part; the pedal is the keyboards'. `lower`: (part, tick on,
    pitch) of the notes of left hands, which have tracks of their own after the right hands'."""
    parts = tuple(parts)
    file = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_QUARTER, charset="utf-8")
    file.tracks.append(_track("", conductor))
    pedalled = keyboards(parts)
    for part, channel in zip(parts, channels(parts), strict=True):
        events: list[Event] = [(0, 0, mido.Message("program_change", channel=channel, program=part.program))]
        if part.id in pedalled:
            for down, up in pedal:
                events += [(tick, 1, mido.Message("control_change", channel=channel, control=64, value=value))
                           for tick, value in ((down, 127), (max(up, down + 1), 0))]
        left: list[Event] = []
        presses = key_presses(notes.get(part.id, ()))
        struck = {(on, pitch) for on, _, pitch, _ in presses}
        for on, off, pitch, velocity in presses:
            by_left = (part.id, on, pitch) in lower
            hand = left if by_left else events
            if (off, pitch) in struck and ((part.id, off, pitch) in lower) != by_left:
                off = max(off - 1, on + 1)  # by the other hand, whose track may be read first
            hand.append((on, 3, mido.Message("note_on", channel=channel, note=pitch, velocity=velocity)))
            hand.append((off, 2, mido.Message("note_off", channel=channel, note=pitch, velocity=0)))
        file.tracks.append(_track(part.name, events))
        if left:
            file.tracks.append(_track(part.name, left))
    out = io.BytesIO()
    file.save(file=out)
    return out.getvalue()


def _track(name: str, events: Iterable[Event]) -> mido.MidiTrack:
    track, now = mido.MidiTrack(), 0
    if name:
        track.append(mido.MetaMessage("track_name", name=name))
    for tick, _, message in sorted(events, key=lambda e: e[:2]):
        track.append(message.copy(time=tick - now))
        now = tick
    return track
