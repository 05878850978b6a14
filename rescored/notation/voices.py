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
from .layout import SHORTEST, ruler
from .measures import lay_measures, signature_at
from .ornaments import sounding_until
from .ticks import PER_QUARTER, to_ql, to_ticks

MACHINE_SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75)  # of its written length for which a program holds a note
MACHINE_NOTES = 12  # fewer tell nothing
MACHINE_QL = 0.01  # so near is a length that no one measured with his fingers
NEVER = 2**62  # ticks
EIGHTH_QL = 0.5
EIGHTH = PER_QUARTER // 2  # ... in ticks
BRIEF_S = 0.2  # notes this short sound detached anyhow: a dot says nothing


@dataclass(frozen=True)
class Weights:
    """Costs of an end; chosen on two-staff scores of music21's corpus, performed by expressive.py."""

    longer: float = 1.5  # per octave that the value exceeds the held length
    longer_pedalled: float = 1.0  # ... where the pedal sustains what the key lets go
    shorter: float = 1.6  # per octave that it falls short
    skip: float = 0.9  # per octave of the number of onsets of the hand until the end
    skip_first: float = 0.5  # for not ending with the hand's next onset
    distance: float = 0.6  # per octave to the nearest note that begins at the end
    silence: float = 1.5  # per eighth of silence, of key and pedal, beyond the first that a value spans
    rest: float = 1.4  # ends before the next onset of the hand, so that a rest follows
    rest_as_played: float = 0.3  # ... where no gap is to be filled
    off_beat: float = 1.3  # ... and not on a beat
    legato: float = 1.2  # keys are let go this much early
    tie: float = 0.3  # the value takes two symbols
    tie_before_rest: float = 1.0  # ... although where it ends is free
    touch_s: float = 0.03  # lengths below this say nothing
    chord: float = 2.0  # notes struck together end together if their lengths differ by less than this factor


@dataclass
class _Chord:
    """Notes that begin and end together in one voice; places in ticks."""

    onset: int
    end: int
    members: list[int]  # indices of notes, low to high
    voice: int = 1


@stage(version=8)
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
    settings: VoiceSettings, weights: Weights = Weights(),
) -> Ints:
    """Where every note is best taken to end, in ticks; notes that begin together mostly end together.

    `heard_s` is how long every note sounds, `held_s` how long its key is down.
    """
    held = np.array([n.release_ql for n in notes]) * PER_QUARTER - onset
    onset_s = grid.seconds_at(onset / PER_QUARTER)
    touch = grid.ql_at(onset_s + weights.touch_s) * PER_QUARTER - onset
    sounding = np.maximum(grid.ql_at(onset_s + heard_s) * PER_QUARTER - onset, held)
    longer = np.where(heard_s > 1.2 * held_s + 0.1, weights.longer_pedalled, weights.longer)
    beat, part, start, levels = _beats(onset, grid)
    rest = weights.rest if settings.fill_gaps_ql else weights.rest_as_played
    w = np.array([weights.shorter, weights.skip, weights.skip_first, weights.distance, rest,
                  weights.off_beat, weights.legato, weights.tie, weights.silence,
                  weights.tie_before_rest])
    fill = round(settings.fill_gaps_ql * PER_QUARTER)
    end: Ints = _choose_ends(onset, held, sounding, touch, longer, staff, pitch, beat, part, start, levels, fill, w)
    together: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for i, key in enumerate(zip(onset.tolist(), staff.tolist(), strict=True)):
        together[key].append(i)
    for (at, _), members in together.items():
        if len(members) > 1:
            middle = int(np.sort(end[members])[len(members) // 2])
            for i in members:
                if 1 / weights.chord < (end[i] - at) / (middle - at) < weights.chord:
                    end[i] = middle
    return end


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
            again = _struck_again(onset, np.array([n.pitch for n in notes], dtype=np.int64))
            return np.where(exact, np.minimum(end, again), 0)
    return np.zeros(len(onset), dtype=np.int64)


def _struck_again(onset: Ints, pitch: Ints) -> Ints:
    """When every note's key is struck anew, in ticks; far away where it is not. Sorted by onset."""
    result = np.full(len(onset), NEVER, dtype=np.int64)
    upcoming: dict[int, tuple[int, int]] = {}  # of a pitch: its next onset, and the one after that is later
    for i in range(len(onset) - 1, -1, -1):
        at, beyond = upcoming.get(int(pitch[i]), (NEVER, NEVER))
        result[i] = at if at > onset[i] else beyond
        if at > onset[i]:
            upcoming[int(pitch[i])] = (int(onset[i]), at)
    return result


def _beats(onset: Ints, grid: BeatGrid) -> tuple[Ints, Ints, Ints, Ints]:
    """For every onset, in ticks, shape (n,): a beat, its natural part (half, or third if compound), and
    where the time signature in force begins, from which beats are counted; and the metrical levels of that
    time signature (layout.Ruler.spans), shape (n, levels)."""
    signatures = grid.time_signatures
    starts = np.array([to_ticks(s.ql) for s in signatures], dtype=np.int64)
    k = np.maximum(np.searchsorted(starts, onset, side="right") - 1, 0)
    beat = np.array([to_ticks(s.beat_ql) for s in signatures], dtype=np.int64)
    parts = np.array([3 if s.compound else 2 for s in signatures], dtype=np.int64)
    spans = [ruler(s.numerator, s.denominator).spans for s in signatures]
    levels = np.array([(*s, *(s[-1],) * (max(map(len, spans)) - len(s))) for s in spans], dtype=np.int64)
    return beat[k], (beat // parts)[k], starts[k], levels[k]


@njit(cache=True)
def _takes_two(a: int, b: int, beat: int, compound: bool, spans: Ints) -> bool:
    """Whether a note from `a` to `b`, counted from the start of a measure, cannot be one symbol.

    The rule is layout's; where a place belongs to a tuplet nothing is said.
    """
    if a % SHORTEST or b % SHORTEST:
        return False
    units = (b - a) // SHORTEST
    while units % 2 == 0:
        units //= 2
    if units not in (1, 3, 7) or a // spans[0] != (b - 1) // spans[0]:
        return True
    first, last, inside = len(spans), len(spans), len(spans)
    for i in range(len(spans) - 1, -1, -1):
        first = i if a % spans[i] == 0 else first
        last = i if b % spans[i] == 0 else last
        inside = i if (b - 1) // spans[i] > a // spans[i] else inside
    if inside == len(spans):
        return False
    if compound and spans[inside] >= beat:
        return not (first <= inside and a % beat == 0 and b % beat == 0)
    if first <= inside:
        return False
    return first > inside + 1 or not ((units == 1 and (a + b) // 2 % spans[inside] == 0) or last < inside)


@njit(cache=True)
def _choose_ends(
    onset: Ints, held: Floats, sounding: Floats, touch: Floats, longer: Floats, staff: Ints, pitch: Ints, beat: Ints,
    part: Ints, start: Ints, levels: Ints, fill: int, w: Floats,
) -> Ints:
    """The cheapest end of every note; never after the same key is struck again. Sorted by onset."""
    n = len(onset)
    far = np.int64(2**62)
    out = np.empty(n, dtype=np.int64)
    for i in range(n):
        released = max(held[i], 0.0) + touch[i]
        heard = max(sounding[i], 0.0) + touch[i]
        lasted = released + (w[6] - 1.0) * max(held[i], 0.0)
        best, choice = 1e18, onset[i] + part[i]
        compound = 3 * part[i] == beat[i]
        phase = (onset[i] - start[i]) % levels[i, 0]
        limit, following = far, far
        rank = 0
        j = i + 1
        while j < n and limit == far and rank < 15:
            at = onset[j]
            near = 128
            while j < n and onset[j] == at:
                if staff[j] == staff[i]:
                    near = min(near, abs(pitch[j] - pitch[i]))
                if pitch[j] == pitch[i] and at > onset[i]:
                    limit = at
                j += 1
            if near == 128 or at == onset[i]:
                continue
            rank += 1
            if rank == 1:
                following = at
            length = at - onset[i]
            if length > 4 * lasted + 8 * PER_QUARTER:
                break
            octaves = np.log2((length + touch[i]) / lasted)
            cost = longer[i] * octaves if octaves > 0 else -w[0] * octaves
            cost += w[8] * max((length - heard) / EIGHTH - 1.0, 0.0)
            if w[7] > 0 and _takes_two(phase, phase + length, beat[i], compound, levels[i]):
                cost += w[7]
            cost += w[1] * np.log2(rank) + (w[2] if rank > 1 else 0.0) + w[3] * min(near, 12) / 12
            if cost < best:
                best, choice = cost, at
        e = onset[i] + part[i] - (onset[i] - start[i]) % part[i]
        while e - onset[i] <= 2 * heard + beat[i]:
            octaves = np.log2((e - onset[i] + touch[i]) / (heard if e < following else released))
            cost = (longer[i] * octaves if octaves > 0 else -w[0] * octaves) + w[4]
            if (e - start[i]) % beat[i] != 0:
                cost += w[5]
            if w[7] > 0 and _takes_two(phase, phase + e - onset[i], beat[i], compound, levels[i]):
                cost += w[9]
            if cost < best:
                best, choice = cost, e
                if e < following <= e + fill:
                    choice = following
            e += part[i]
        if following == far:  # nothing follows in this hand: a sound that nearly fills the measure does
            full = onset[i] - phase + levels[i, 0]
            if 2 * released >= full - onset[i] and choice < full <= onset[i] + 2 * levels[i, 0]:
                choice = full
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
