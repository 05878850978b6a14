"""Where every note is best taken to end.

A note mostly ends where a following note of its hand begins, or on a beat (Nakamura, Yoshii & Dixon,
"Note value recognition for piano transcription", IEEE/ACM TASLP 25, 2017). How long its key was held
tells little by itself: pianists let go of keys at a fifth of a note's value under the pedal, and hold others
into the next. So a small network (`value_net`), learned by `tools/train_note_values.py` from two-hand pieces in very
different touches, weighs the possible ends by what is held around, what is struck meanwhile, and metre.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numba import njit

from ..music import Floats, Ints, TimeSignature
from . import value_net
from .layers import Floats32
from .layout import SHORTEST, ruler
from .ticks import PER_QUARTER, to_ticks

NEVER = 2**62  # ticks
FOLLOWING = 8  # onsets of the hand that may end a note
PLACES = 4  # parts of beats, then beats, then measures before the first of them that may
AROUND = 6  # onsets of the hand, to either side, that tell the touch
WIDTH = 45  # of what is known of a possible end
CHORD = 2.0  # notes struck together end together if their lengths differ by less than this factor
EIGHTH = PER_QUARTER // 2
SILENT = 2.0  # log odds against a note that lasts beyond its hand's next onset but is silent by then
EVEN = 1  # ticks by which a machine may hold a note too long


class PossibleEnds(NamedTuple):
    """Of n notes m possible ends; places and times in ticks."""

    end: Ints  # (m,)
    first: Ints  # (n + 1,): where those of each note begin
    what: Floats32  # (m, WIDTH): what is known of each
    gap: Ints  # (n,): to the next onset of the note's hand, 0 where nothing follows
    again: Ints  # (n,): where its key is struck anew


def likely_ends(
    onset: Ints, pitch: Ints, staff: Ints, held: Floats, heard: Floats, onset_s: Floats, held_s: Floats, beat: Ints,
    part: Ints, start: Ints, levels: Ints, fill: int,
) -> Ints:
    """Ends in ticks, shape (n,); notes that begin together mostly end together.

    Notes are sorted by `onset` (ticks). `held` and `heard`: for how many ticks the key is down and the note
    sounds; `onset_s`, `held_s` the same in seconds. `beat`, `part`: the beat at every onset and its half, or third;
    `start`: from where measures are counted; `levels`: metrical levels, the measure first, (n, levels). Gaps up to
    `fill` ticks before the next onset of the hand are filled.
    """
    end, first, what, gap, again = possible_ends(
        onset, pitch, staff, held, heard, onset_s, held_s, beat, part, start, levels)
    order = value_net.by_hand(onset, pitch, staff)
    known = value_net.describe(onset, pitch, staff, held, heard, gap, beat, start, levels, order)
    odds = value_net.odds_of_ends(what, first, known, order)
    note = np.repeat(np.arange(len(onset)), np.diff(first))
    silent = (gap[note] > 0) & (end > (onset + gap)[note]) & (np.maximum(held, heard) <= gap + EVEN)[note]
    odds -= SILENT * silent
    best: Ints = end[np.array([a + int(np.argmax(odds[a:b])) for a, b in pairwise(first.tolist())], dtype=np.int64)]
    following = np.minimum(onset + gap, again)
    best = np.where((gap > 0) & (best < following) & (following <= best + fill), following, best)
    together: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for i, key in enumerate(zip(onset.tolist(), staff.tolist(), strict=True)):
        together[key].append(i)
    for (at, _), members in together.items():
        if len(members) > 1:
            middle = int(np.sort(best[members])[len(members) // 2])
            for i in members:
                if 1 / CHORD < (best[i] - at) / (middle - at) < CHORD:
                    best[i] = min(middle, again[i])
    return best


def held_ends(onset: Ints, pitch: Ints, staff: Ints, held: Floats, part: Ints, start: Ints) -> Ints:
    """Ends in ticks, shape (n,), as if keys told them: the nearest half of a part of a beat, or onset of the hand.

    Arguments as of `likely_ends`.
    """
    unit = np.maximum(part // 2, 1)
    release = onset + held
    nearest = start + np.rint((release - start) / unit).astype(np.int64) * unit
    end = np.maximum(nearest, onset + unit - (onset - start) % unit)
    for s in np.unique(staff):
        own = np.flatnonzero(staff == s)
        places = np.unique(onset[own])
        k = np.searchsorted(places, release[own])
        before, after = (places[np.clip(j, 0, len(places) - 1)] for j in (k - 1, k))
        place = np.where(np.abs(before - release[own]) < np.abs(after - release[own]), before, after)
        nearer = np.abs(place - release[own]) <= np.abs(end[own] - release[own]) + unit[own] // 4
        end[own] = np.where((place > onset[own]) & nearer, place, end[own])
    return np.asarray(np.minimum(end, struck_again(onset, pitch)))


def metrical(signatures: Sequence[TimeSignature]) -> tuple[Ints, Ints, Ints]:
    """Of time signatures, in ticks: the beat and its natural part (half, or third if compound), shape (n,), and the
    metrical levels (`layout.Ruler.spans`), shape (n, levels)."""
    beat = np.array([to_ticks(s.beat_ql) for s in signatures], dtype=np.int64)
    part = beat // np.array([3 if s.compound else 2 for s in signatures], dtype=np.int64)
    spans = [ruler(s.numerator, s.denominator).spans for s in signatures]
    deepest = max(map(len, spans))
    return beat, part, np.array([(*s, *(s[-1],) * (deepest - len(s))) for s in spans], dtype=np.int64)


def struck_again(onset: Ints, pitch: Ints) -> Ints:
    """When every note's key is struck anew, in ticks; far away where it is not. Sorted by onset."""
    result = np.full(len(onset), NEVER, dtype=np.int64)
    upcoming: dict[int, tuple[int, int]] = {}  # of a pitch: its next onset, and the one after that is later
    for i in range(len(onset) - 1, -1, -1):
        at, beyond = upcoming.get(int(pitch[i]), (NEVER, NEVER))
        result[i] = at if at > onset[i] else beyond
        if at > onset[i]:
            upcoming[int(pitch[i])] = (int(onset[i]), at)
    return result


def possible_ends(
    onset: Ints, pitch: Ints, staff: Ints, held: Floats, heard: Floats, onset_s: Floats, held_s: Floats, beat: Ints,
    part: Ints, start: Ints, levels: Ints,
) -> PossibleEnds:
    """Every note has one at least, none beyond where its key is struck again.

    Arguments as of `likely_ends`. Ends are the next onsets of the hand and, before the first of these, parts of
    beats, beats, measures, and where key and sound end.
    """
    size = len(onset) * (FOLLOWING + 3 * PLACES + 5)
    end, what = np.empty(size, dtype=np.int64), np.zeros((size, WIDTH), dtype=np.float32)
    first = np.zeros(len(onset) + 1, dtype=np.int64)
    gap, again = _to_next(onset, staff), struck_again(onset, pitch)
    touch, pedal, spread, overlap = _touch(onset, staff, held, heard, gap)
    last = np.array([onset[staff == s].max(initial=-NEVER) for s in range(3)])
    m = _possible(
        onset, pitch, staff, np.maximum(held, 1.0), np.maximum(heard, 1.0), onset_s, held_s, beat, part, start, levels,
        again, touch, pedal, spread, overlap, gap, last, end, first, what)
    return PossibleEnds(end[:m], first, what[:m], gap, again)


def _to_next(onset: Ints, staff: Ints) -> Ints:
    """From every note to the next onset of its hand, in ticks; 0 where nothing follows."""
    gap = np.zeros(len(onset), dtype=np.int64)
    for s in np.unique(staff):
        own = np.flatnonzero(staff == s)
        places = np.unique(onset[own])
        gap[own] = np.append(np.diff(places), 0)[np.searchsorted(places, onset[own])]
    return gap


def _touch(onset: Ints, staff: Ints, held: Floats, heard: Floats, gap: Ints) -> Floats:
    """How the hand plays around every note, shape (4, n): medians of held and of heard against the time to the next
    onset, in octaves; the spread of the first; the share of keys that are down beyond it."""
    around = np.zeros((4, len(onset)))
    for s in np.unique(staff):
        own = np.flatnonzero(staff == s)
        k = np.searchsorted(np.unique(onset[own]), onset[own])
        ratio, sound = (np.log2(np.maximum(x[own], 1.0) / np.maximum(gap[own], 1.0)) for x in (held, heard))
        around[:, own] = _around(k, np.clip(ratio, -5, 5), np.clip(sound, -5, 5), gap[own] > 0)
    return around


@njit(cache=True)
def _around(k, ratio, sound, known):  # type: ignore[no-untyped-def]
    """Of the notes whose place is within AROUND: medians, half the spread of the first, the share held on."""
    n = len(k)
    out = np.zeros((4, n))
    a, b = 0, 0
    for i in range(n):
        if i > 0 and k[i] == k[i - 1]:
            out[:, i] = out[:, i - 1]
            continue
        while k[a] < k[i] - AROUND:
            a += 1
        while b < n and k[b] <= k[i] + AROUND:
            b += 1
        some = np.flatnonzero(known[a:b]) + a
        if len(some):
            out[0, i], out[1, i] = np.median(ratio[some]), np.median(sound[some])
            out[2, i] = np.median(np.abs(ratio[some] - out[0, i]))
            out[3, i] = (ratio[some] > 0.2).mean()
    return out


@njit(cache=True)
def takes_two(a: int, b: int, beat: int, compound: bool, spans: Ints) -> bool:
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
def _octaves(a, b):  # type: ignore[no-untyped-def]
    return min(max(np.log2(a / b), -6.0), 6.0)


@njit(cache=True)
def _level(place, spans):  # type: ignore[no-untyped-def]
    """The highest metrical level that begins at a place: 0 the measure."""
    for i in range(len(spans)):
        if place % spans[i] == 0:
            return float(i)
    return float(len(spans)) + (0.0 if place % SHORTEST == 0 else 1.0)


@njit(cache=True)
def _places(onset, before, part, beat, start, measure, gap, held, heard, end):  # type: ignore[no-untyped-def]
    """Places after an onset and before another one that a note may end on, into `end`; how many they are."""
    found = 0
    e = onset
    half = gap > 0 and gap <= 2 * part
    for step in (max(part // 2, 1) if half else part, beat, measure):
        for _ in range(PLACES):
            e += step - (e - start) % step
            if e >= before:
                break
            end[found] = e
            found += 1
    for length in (held, heard):  # long notes end anywhere
        e = start + np.int64(np.rint((onset + length - start) / beat)) * beat
        if found and end[found - 1] < e < before:
            end[found] = e
            found += 1
    if half and found == 0 and gap % 2 == 0 and onset + gap <= before:
        end[0] = onset + gap // 2
        found = 1
    return found


@njit(cache=True)
def _possible(  # type: ignore[no-untyped-def]
    onset, pitch, staff, held, heard, onset_s, held_s, beat, part, start, levels, again, touch, pedal, spread, overlap,
    gap, last, end, first, what,
):
    n = len(onset)
    m = 0
    before, length_before = np.full(3, -NEVER), np.zeros(3)  # of the chord before, by staff: onset, time until this one
    for i in range(n):
        first[i] = m
        base = m
        s = staff[i]
        limit = again[i]
        if onset[i] > before[s]:
            length_before[s] = onset[i] - before[s] if before[s] > -NEVER else 0.0
            before[s] = onset[i]
        # the chord it belongs to
        a = i
        while a > 0 and onset[a - 1] == onset[i]:
            a -= 1
        b = i
        while b < n and onset[b] == onset[i]:
            b += 1
        size, above, below, others, chord_held = 0.0, 0.0, 0.0, 0.0, 0.0
        for j in range(a, b):
            if staff[j] != s:
                others += 1.0
                continue
            size += 1.0
            chord_held += np.log2(held[j])
            above += pitch[j] > pitch[i]
            below += pitch[j] < pitch[i]
        chord_held /= size
        compound = 3 * part[i] == beat[i]
        phase = (onset[i] - start[i]) % levels[i, 0]
        following = onset[i] + gap[i] if gap[i] > 0 else np.int64(NEVER)
        m += _places(onset[i], min(following, limit), part[i], beat[i], start[i], levels[i, 0], gap[i], held[i],
                     min(heard[i], held[i] + 2.0 * levels[i, 0]), end[m:])
        what[base:m, 4] = 1.0
        # onsets that follow in this hand
        rank, inside = 0, 0
        under, over, nearest = 0.0, 0.0, 24.0
        j = b
        while j < n and rank < FOLLOWING and onset[j] <= limit and (
                onset[j] <= following or onset[j] - onset[i] <= 4 * levels[i, 0]):
            at = onset[j]
            stop = j
            near, signed, here, other, lowest, highest = 24, 0, 0.0, 0.0, 200, 0
            while stop < n and onset[stop] == at:
                if staff[stop] == s:
                    here += 1.0
                    lowest, highest = min(lowest, pitch[stop]), max(highest, pitch[stop])
                    if abs(pitch[stop] - pitch[i]) < near:
                        near, signed = abs(pitch[stop] - pitch[i]), pitch[stop] - pitch[i]
                else:
                    other += 1.0
                stop += 1
            if here > 0:
                rank += 1
                end[m] = at
                x = what[m]
                x[5] = np.log2(rank)
                x[6], x[7], x[8] = rank == 1, rank == 2, rank == 3
                x[9] = min(near, 24) / 12.0
                x[10] = min(max(signed, -24), 24) / 12.0
                x[11] = np.log2(here)
                x[12] = 1.0 if above == 0 and highest - pitch[i] == signed else 0.0
                x[13] = 1.0 if below == 0 and lowest - pitch[i] == signed else 0.0
                x[14] = np.log2(inside + 1.0)
                x[15] = under / max(inside, 1)
                x[16] = over / max(inside, 1)
                x[17] = nearest / 12.0 if inside else 0.0
                x[18] = other > 0
                x[19] = at == limit
                late_s = onset_s[i] + held_s[i] - onset_s[j]  # by which the key was let go after this onset
                x[20] = min(max(late_s / 0.1, -5.0), 5.0)
                x[21] = late_s > -0.02
                m += 1
                for q in range(j, stop):
                    if staff[q] == s:
                        inside += 1
                        under += pitch[q] < pitch[i]
                        over += pitch[q] > pitch[i]
                        nearest = min(nearest, abs(pitch[q] - pitch[i]))
            j = stop
        if rank > 0 and end[m - 1] == last[s] and end[m - 1] < limit:  # or with the measure that the hand ends in
            e = last[s] - (last[s] - start[i]) % levels[i, 0] + levels[i, 0]
            end[m] = min(e, limit)
            what[m, 4] = 1.0
            what[m, 5] = np.log2(rank + 1)
            what[m, 14] = np.log2(inside + 1.0)
            m += 1
        if m == base:
            end[m] = min(onset[i] + part[i], limit)
            what[m, 4] = 1.0
            m += 1
        count = m - base
        for c in range(base, m):
            x = what[c]
            length = end[c] - onset[i]
            place = (end[c] - start[i]) % levels[i, 0]
            x[0] = _octaves(length, held[i])
            x[1] = max(x[0], 0.0)
            x[2] = _octaves(length, heard[i])
            x[3] = min(max((length - heard[i]) / EIGHTH, 0.0), 8.0)
            x[22] = place % beat[i] == 0
            x[23] = place == 0
            x[24] = _level(place, levels[i]) / 3.0
            x[25] = _level(phase, levels[i]) / 3.0
            x[26] = takes_two(phase, phase + length, beat[i], compound, levels[i])
            x[27] = _octaves(length, PER_QUARTER)
            x[28] = _octaves(length, beat[i])
            x[29] = np.log2(size)
            x[30] = above == 0
            x[31] = below == 0
            x[32] = s - 1.0
            x[33] = touch[i]
            x[34] = pedal[i]
            x[35] = spread[i]
            x[36] = overlap[i]
            x[37] = np.log2(held[i]) - chord_held
            x[38] = np.log2(max(held_s[i], 0.02))
            x[39] = _octaves(length, length_before[s]) if length_before[s] > 0 else 0.0
            x[40] = compound
            x[41] = others > 0
            x[42] = np.log2(count)
            x[43] = _octaves(gap[i], held[i]) if gap[i] > 0 else 3.0
            x[44] = gap[i] == 0
    first[n] = m
    return m
