"""Note values and voices.

A note mostly ends where a following note of its hand begins, or on a beat (Nakamura, Yoshii & Dixon,
"Note value recognition for piano transcription", IEEE/ACM TASLP 25, 2017); how long its key was held
only chooses among these ends. The pedal is not length.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from numba import njit

from ..music import BeatGrid, Floats, Ints, Performance, StaffNote, Staved, Voiced, VoicedNote
from ..settings import VoiceSettings
from ..stage import Report, silent, stage
from .ticks import PER_QUARTER, to_ql, to_ticks


@dataclass(frozen=True)
class Weights:
    """Costs of an end; `longer` and `shorter` per octave that the value differs from the held length."""

    longer: float = 1.33
    shorter: float = 1.65
    skip: float = 1.6  # per octave of the number of onsets of the hand until the end
    rest: float = 1.8  # ends before the next onset of the hand, so that a rest follows
    off_beat: float = 0.5  # ... and not on a beat
    legato: float = 1.14  # keys are let go this much early


@dataclass
class _Chord:
    """Notes that begin and end together in one voice; places in ticks."""

    onset: int
    end: int
    members: list[int]  # indices of notes, low to high
    voice: int = 1


@stage(version=1)
def find_voices(
    staved: Staved, grid: BeatGrid, performance: Performance, *, settings: VoiceSettings, report: Report = silent
) -> Voiced:
    """Length and voice for every note.

    Notes of one voice that begin together end together, and a voice never overlaps itself; a second
    voice is opened only where notes of different length sound at once. Grace notes have no length
    and take staff and voice of the note that they adorn.
    """
    result: list[VoicedNote] = []
    for part in performance.parts:
        notes = [n for n in staved.notes if n.part == part.id]
        main = [n for n in notes if not n.grace]
        voiced = _voiced(main, grid, settings, _sounding_s(performance)) if main else []
        result += voiced + _adorning([n for n in notes if n.grace], voiced)
    return Voiced(tuple(sorted(result, key=lambda n: (n.onset_ql, n.pitch))))


def _with_voice(note: StaffNote, **new: object) -> VoicedNote:
    known = {f.name: getattr(note, f.name) for f in fields(StaffNote)}
    return VoicedNote(**(known | new))


def _sounding_s(performance: Performance) -> dict[str, float]:
    """How long every note is heard: until its key and the pedal are up."""
    starts = np.array([p.start_s for p in performance.pedal])
    ends = np.array([p.end_s for p in performance.pedal])
    until = performance.offsets_s.copy()
    if len(starts):
        k = np.searchsorted(starts, until, side="right") - 1
        until = np.where(k >= 0, np.maximum(until, ends[np.maximum(k, 0)]), until)
    lengths = (until - performance.onsets_s).tolist()
    return {n.id: length for n, length in zip(performance.notes, lengths, strict=True)}


def _voiced(
    notes: list[StaffNote], grid: BeatGrid, settings: VoiceSettings, sounding_s: dict[str, float]
) -> list[VoicedNote]:
    """The notes of one part, sorted by onset, with lengths and voices."""
    onset = np.array([to_ticks(n.onset_ql) for n in notes], dtype=np.int64)
    pitch = np.array([n.pitch for n in notes], dtype=np.int64)
    staff = np.array([n.staff for n in notes], dtype=np.int64)
    end = _likely_ends(notes, onset, pitch, staff, grid, settings)
    voice = np.ones(len(notes), dtype=np.int64)
    for s in (1, 2):
        own = np.flatnonzero(staff == s)
        for chord in _streams(_chords(own, onset, end, pitch), settings.max_voices, pitch):
            end[chord.members], voice[chord.members] = chord.end, chord.voice
    value_s = grid.seconds_at(end / PER_QUARTER) - grid.seconds_at(onset / PER_QUARTER)
    return [
        _with_voice(n, duration_ql=to_ql(length), voice=v,
                    staccato=settings.staccato and length <= PER_QUARTER and sounding_s[n.id] < 0.5 * seconds)
        for n, length, v, seconds in zip(notes, (end - onset).tolist(), voice.tolist(), value_s.tolist(), strict=True)
    ]


def _adorning(graces: list[StaffNote], voiced: list[VoicedNote]) -> list[VoicedNote]:
    """Grace notes with the staff and voice of the nearest note at their onset."""
    at: defaultdict[object, list[VoicedNote]] = defaultdict(list)
    for n in voiced:
        at[n.onset_ql].append(n)
    result = []
    for grace in graces:
        near = sorted(at[grace.onset_ql], key=lambda h: (h.staff != grace.staff, abs(h.pitch - grace.pitch), h.pitch))
        result.append(_with_voice(grace, staff=near[0].staff, voice=near[0].voice, duration_ql=to_ql(0)))
    return result


# ---------------------------------------------------------------- note values


def _likely_ends(
    notes: list[StaffNote], onset: Ints, pitch: Ints, staff: Ints, grid: BeatGrid, settings: VoiceSettings,
    weights: Weights = Weights(),
) -> Ints:
    """Where every note is best taken to end, in ticks; notes that begin together mostly end together."""
    held = np.array([n.release_ql for n in notes]) * PER_QUARTER - onset
    beat, start = _beats(onset, grid)
    w = np.array([weights.longer, weights.shorter, weights.skip, weights.rest, weights.off_beat, weights.legato])
    fill = int(settings.fill_gaps_ql * PER_QUARTER)
    end: Ints = _choose_ends(onset, held, staff, pitch, beat[:, 0].copy(), beat[:, 1].copy(), start, fill, w)
    together: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for i, key in enumerate(zip(onset.tolist(), staff.tolist(), strict=True)):
        together[key].append(i)
    for (at, _), members in together.items():
        if len(members) > 2:
            middle = int(np.sort(end[members])[len(members) // 2])
            for i in members:
                if 0.5 < (end[i] - at) / (middle - at) < 2.0:
                    end[i] = middle
    return end


def _beats(onset: Ints, grid: BeatGrid) -> tuple[Ints, Ints]:
    """For every onset: ticks of a beat and of its natural part (half, or third if compound), shape
    (n, 2), and where the time signature in force begins, from which beats are counted."""
    signatures = grid.time_signatures
    starts = np.array([to_ticks(s.ql) for s in signatures], dtype=np.int64)
    k = np.maximum(np.searchsorted(starts, onset, side="right") - 1, 0)
    lengths = [(to_ticks(s.beat_ql), to_ticks(s.beat_ql / (3 if s.compound else 2))) for s in signatures]
    return np.array(lengths, dtype=np.int64)[k], starts[k]


@njit(cache=True)
def _choose_ends(
    onset: Ints, held: Floats, staff: Ints, pitch: Ints, beat: Ints, part: Ints, start: Ints, fill: int, w: Floats
) -> Ints:
    """The cheapest end of every note; never after the same key is struck again. Sorted by onset."""
    n = len(onset)
    quarter = 40320
    out = np.empty(n, dtype=np.int64)
    for i in range(n):
        length_held = max(held[i], 0.03 * quarter) * w[5]
        best, choice = 1e18, onset[i] + part[i]
        limit = np.int64(2**62)
        following = limit
        rank, last = 0, onset[i]
        for j in range(i + 1, n):
            if onset[j] == onset[i]:
                continue
            length = onset[j] - onset[i]
            if length > 4 * length_held + 8 * quarter or rank > 14:
                break
            if staff[j] == staff[i] and onset[j] > last:
                rank += 1
                last = onset[j]
                if rank == 1:
                    following = last
                octaves = np.log2(length / length_held)
                cost = w[0] * octaves if octaves > 0 else -w[1] * octaves
                cost += w[2] * np.log2(rank) + (0.5 * w[2] if rank > 1 else 0.0)
                if cost < best:
                    best, choice = cost, last
            if pitch[j] == pitch[i]:
                limit = onset[j]
                break
        e = onset[i] + part[i] - (onset[i] - start[i]) % part[i]
        while e - onset[i] <= 2 * length_held + beat[i]:
            octaves = np.log2((e - onset[i]) / length_held)
            cost = (w[0] * octaves if octaves > 0 else -w[1] * octaves) + w[3]
            if (e - start[i]) % beat[i] != 0:
                cost += w[4]
            if cost < best:
                best, choice = cost, e
                if e < following <= e + fill:
                    choice = following
            e += part[i]
        out[i] = min(choice, limit)
    return out


# ---------------------------------------------------------------- voices


def _chords(own: Ints, onset: Ints, end: Ints, pitch: Ints) -> list[_Chord]:
    """Notes of a staff with one onset and end, in order of onset."""
    groups: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for i in own.tolist():
        groups[int(onset[i]), int(end[i])].append(i)
    return [_chord(on, off, members, pitch) for (on, off), members in sorted(groups.items())]


def _chord(onset: int, end: int, members: Iterable[int], pitch: Ints) -> _Chord:
    return _Chord(onset, end, sorted(members, key=lambda i: int(pitch[i])))


def _streams(chords: list[_Chord], max_voices: int, pitch: Ints) -> list[_Chord]:
    """Chords of a staff in voices that do not overlap themselves; ends are cut where they would."""
    result: list[_Chord] = []
    passage: list[_Chord] = []  # since all voices were last silent
    busy_until = [0] * max_voices
    tail: list[_Chord | None] = [None] * max_voices
    by_onset: defaultdict[int, list[_Chord]] = defaultdict(list)
    for chord in chords:
        by_onset[chord.onset].append(chord)
    for onset, struck in by_onset.items():
        struck = _at_most(struck, max_voices, pitch)
        if passage and max(busy_until) <= onset:
            result += _upper_first(passage, pitch)
            passage, busy_until = [], [onset] * max_voices
        free = [v for v in range(max_voices) if busy_until[v] <= onset]
        if len(struck) == max_voices:
            plan = list(range(max_voices))
        else:
            plan = [free[0] if free else int(np.argmin(busy_until))]
        for v, chord in zip(plan, struck, strict=True):
            before = tail[v]
            if before and before.end > onset:
                before.end = onset
            chord.voice, tail[v], busy_until[v] = v + 1, chord, chord.end
            passage.append(chord)
    return result + _upper_first(passage, pitch)


def _at_most(struck: list[_Chord], count: int, pitch: Ints) -> list[_Chord]:
    """Chords of one onset, the higher first; where there are too many, all but the longest end together."""
    if len(struck) > count:
        longest = max(struck, key=lambda c: c.end)
        others = [c for c in struck if c is not longest] if count > 1 else struck
        members = [i for c in others for i in c.members]
        joined = _chord(struck[0].onset, min(c.end for c in others), members, pitch)
        struck = [longest, joined] if count > 1 else [joined]
    return sorted(struck, key=lambda c: -float(np.mean(pitch[c.members])))


def _upper_first(passage: list[_Chord], pitch: Ints) -> list[_Chord]:
    """The same chords with the upper stream as voice 1."""
    means = [np.mean([pitch[c.members].mean() for c in passage if c.voice == v] or [-1.0]) for v in (1, 2)]
    if means[1] > means[0]:
        for chord in passage:
            chord.voice = 3 - chord.voice
    return passage
