"""Note values and voices.

A note mostly ends where a following note of its hand begins, or on a beat; how long its key was held
only helps to choose among these ends (note_values). The pedal is not length.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from ..music import (
    NO_WISHES,
    BeatGrid,
    Floats,
    Ints,
    Manner,
    Performance,
    StaffNote,
    Staved,
    Voiced,
    VoicedNote,
    Wishes,
)
from ..settings import VoiceSettings
from ..stage import Report, silent, stage
from .drums import voice_drums
from .measures import lay_measures, signature_at, signatures_at
from .note_values import NEVER, held_ends, likely_ends, metrical, struck_again
from .ornaments import sounding_until
from .ticks import PER_QUARTER, to_ql, to_ticks

MACHINE_SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75)  # of its written length for which a program holds a note
MACHINE_NOTES = 12  # fewer tell nothing
MACHINE_QL = 0.01  # so near is a length that no one measured with his fingers
EIGHTH_QL = 0.5
BRIEF_S = 0.2  # notes this short sound detached anyhow: a dot says nothing


@dataclass
class _Chord:
    """Notes that begin and end together in one voice; places in ticks."""

    onset: int
    end: int
    members: list[int]  # indices of notes, low to high
    voice: int = 1


@stage(version=11)
def find_voices(
    staved: Staved, grid: BeatGrid, performance: Performance, wishes: Wishes = NO_WISHES, *,
    settings: VoiceSettings, report: Report = silent,
) -> Voiced:
    """Length and voice for every note.

    Notes of one voice that begin together end together, and a voice never overlaps itself; a second
    voice is opened only where notes of different length sound at once. Grace notes have no length
    and take staff and voice of the note that they adorn. What is held on at the end of the music lasts
    until the end of the measure that the last note begins in.
    """
    result: list[VoicedNote] = []
    sounding_s = _sounding_s(performance, staved.manner)
    main = {p.id: [n for n in staved.notes if n.part == p.id and not n.grace] for p in performance.parts}
    exact = {p.id: _exact_ends(main[p.id], settings) for p in performance.parts if not p.percussion}
    close = _close(staved.notes, grid) if settings.fermata else NEVER
    if any((end > close).any() for end in exact.values()):
        close = NEVER
    for part in performance.parts:
        notes = [n for n in staved.notes if n.part == part.id]
        if part.percussion:
            result += voice_drums(notes, grid)
            continue
        voiced = _voiced(main[part.id], exact[part.id], grid, settings, sounding_s, wishes, close)
        result += voiced + _adorning([n for n in notes if n.grace], voiced)
    return Voiced(tuple(sorted(result, key=lambda n: (n.onset_ql, n.pitch))), staved.manner)


def _close(notes: Iterable[StaffNote], grid: BeatGrid) -> int:
    """Where the music ends, in ticks: with the measure of the last onset, if a beat or more is left of it."""
    onsets = [to_ticks(n.onset_ql) for n in notes if not n.grace]
    if not onsets:
        return NEVER
    last = max(onsets)
    measure = lay_measures(grid, min(onsets), last + 1)[-1]
    end = to_ticks(measure.ql + measure.length_ql)
    return end if end - last >= to_ticks(signature_at(grid, last).beat_ql) else NEVER


def _with_voice(note: StaffNote, **new: object) -> VoicedNote:
    known = {f.name: getattr(note, f.name) for f in fields(StaffNote)}
    return VoicedNote(**(known | new))


def _sounding_s(performance: Performance, manner: Manner) -> dict[str, float]:
    """How long every note is heard: until its key and the pedal are up; a main note for all of its ornament."""
    lengths = (sounding_until(performance) - performance.onsets_s).tolist()
    result = {n.id: length for n, length in zip(performance.notes, lengths, strict=True)}
    shaken = [o for o in manner.ornaments if o.kind != "arpeggio"]
    if shaken:
        onset_s = {n.id: n.onset_s for n in performance.notes}
        for o in shaken:
            begin = min(onset_s[m] for m in (o.note, *o.members))
            result[o.note] = max(onset_s[m] + result[m] for m in (o.note, *o.members)) - begin
    return result


def _voiced(
    notes: list[StaffNote], exact: Ints, grid: BeatGrid, settings: VoiceSettings, sounding_s: dict[str, float],
    wishes: Wishes, close: int,
) -> list[VoicedNote]:
    """The notes of one part, sorted by onset, with lengths and voices; none is held beyond `close`, in ticks."""
    if not notes:
        return []
    onset = np.array([to_ticks(n.onset_ql) for n in notes], dtype=np.int64)
    pitch = np.array([n.pitch for n in notes], dtype=np.int64)
    staff = np.array([n.staff for n in notes], dtype=np.int64)
    heard_s = np.array([sounding_s[n.id] for n in notes])
    held_s = grid.seconds_at(np.array([n.release_ql for n in notes])) - grid.seconds_at(onset / PER_QUARTER)
    end = np.minimum(_likely_ends(notes, onset, pitch, staff, heard_s, held_s, grid, settings), close)
    end = np.where(exact > 0, exact, end)
    for i, note in enumerate(notes):
        if note.id in wishes.duration_ql:
            end[i] = onset[i] + max(to_ticks(wishes.duration_ql[note.id]), 1)
    voice = np.ones(len(notes), dtype=np.int64)
    for s in (1, 2):
        own = np.flatnonzero(staff == s)
        for chord in _streams(_chords(own, onset, end, pitch), settings.max_voices, pitch):
            end[chord.members], voice[chord.members] = chord.end, chord.voice
    value_s = grid.seconds_at(end / PER_QUARTER) - grid.seconds_at(onset / PER_QUARTER)
    return [
        _with_voice(n, duration_ql=to_ql(length), voice=v,
                    staccato=settings.staccato and length <= PER_QUARTER and seconds > BRIEF_S
                    and sounding_s[n.id] < 0.5 * seconds)
        for n, length, v, seconds in zip(notes, (end - onset).tolist(), voice.tolist(), value_s.tolist(), strict=True)
    ]


def _adorning(graces: list[StaffNote], voiced: list[VoicedNote]) -> list[VoicedNote]:
    """Grace notes with the staff and voice of the nearest note at their onset."""
    at: defaultdict[object, list[VoicedNote]] = defaultdict(list)
    for n in voiced:
        at[n.onset_ql].append(n)
    result = []
    for grace in graces:
        near = sorted(at[grace.onset_ql], key=lambda h: (abs(h.pitch - grace.pitch), h.pitch))
        result.append(_with_voice(grace, staff=near[0].staff, voice=near[0].voice, duration_ql=to_ql(0)))
    return result


# ---------------------------------------------------------------- note values


def _likely_ends(
    notes: list[StaffNote], onset: Ints, pitch: Ints, staff: Ints, heard_s: Floats, held_s: Floats, grid: BeatGrid,
    settings: VoiceSettings,
) -> Ints:
    """Where every note is best taken to end, in ticks; where gaps are not to be filled, as its key was held.

    `heard_s` is how long every note sounds, `held_s` how long its key is down.
    """
    held: Floats = np.array([n.release_ql for n in notes], dtype=np.float64) * PER_QUARTER - onset
    beat, part, start, levels = _beats(onset, grid)
    if not settings.fill_gaps_ql:
        return held_ends(onset, pitch, staff, held, part, start)
    onset_s = grid.seconds_at(onset / PER_QUARTER)
    heard = np.maximum(grid.ql_at(onset_s + heard_s) * PER_QUARTER - onset, held)
    return likely_ends(onset, pitch, staff, held, heard, onset_s, held_s, beat, part, start, levels,
                       round(settings.fill_gaps_ql * PER_QUARTER))


def _exact_ends(notes: list[StaffNote], settings: VoiceSettings) -> Ints:
    """Where notes end, in ticks, that a program played: each held for one and the same share of what is written.
    0 for single notes that were held otherwise, and for all where a person played, or who reads wants longer rests
    filled. Sorted by onset."""
    onset = np.array([to_ticks(n.onset_ql) for n in notes], dtype=np.int64)
    held = np.array([n.release_ql for n in notes]) * PER_QUARTER - onset
    eighth, twelfth = PER_QUARTER // 8, PER_QUARTER // 12
    for share in MACHINE_SHARES if len(onset) >= MACHINE_NOTES and settings.fill_gaps_ql <= EIGHTH_QL else ():
        length = held / share
        near = np.stack([np.maximum(np.rint(length / step), 1) * step for step in (eighth, twelfth)])
        off = np.abs(near - length)
        exact = off.min(axis=0) < MACHINE_QL * PER_QUARTER
        end = onset + np.take_along_axis(near, off.argmin(axis=0)[None], axis=0)[0].astype(np.int64)
        met = np.isin(end, onset)
        if exact.mean() > 0.9 and met.mean() > 0.7:  # else all are shorter than they are
            exact &= met | (end % (PER_QUARTER // 4) == 0)  # long ones are near some place on a fine grid anyhow
            again = struck_again(onset, np.array([n.pitch for n in notes], dtype=np.int64))
            return np.where(exact, np.minimum(end, again), 0)
    return np.zeros(len(onset), dtype=np.int64)


def _beats(onset: Ints, grid: BeatGrid) -> tuple[Ints, Ints, Ints, Ints]:
    """For every onset, in ticks, shape (n,): the beat and its natural part by the time signature in force, where
    that begins, from which beats are counted; and its metrical levels, shape (n, levels)."""
    signatures = grid.time_signatures
    starts = np.array([to_ticks(s.ql) for s in signatures], dtype=np.int64)
    k = signatures_at(grid, onset)
    beat, part, levels = metrical(signatures)
    return beat[k], part[k], starts[k], levels[k]


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
