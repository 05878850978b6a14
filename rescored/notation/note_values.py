"""Where every note is best taken to end.

A note mostly ends where a following note of its hand begins, or on a beat (Nakamura, Yoshii & Dixon,
"Note value recognition for piano transcription", IEEE/ACM TASLP 25, 2017). How long its key was held
tells little by itself: pianists let go of keys at a fifth of a note's value under the pedal, and hold others
into the next. So a small network, learned by `tools/train_note_values.py` from two-hand pieces in very
different touches, weighs the possible ends by what is held around, what is struck meanwhile, and metre.
"""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from numba import njit

from ..models import weights_in
from ..music import Floats, Ints
from .layers import Floats32
from .layout import SHORTEST
from .ticks import PER_QUARTER

WEIGHTS = Path(__file__).with_name("note_values.npz")
NEVER = 2**62  # ticks
FOLLOWING = 8  # onsets of the hand that may end a note
BETWEEN = 6  # places before the first of them that may
LAST = 14  # ... after which none follows
AROUND = 6  # onsets of the hand, to either side, that tell the touch
WIDTH = 50  # of what is known of a possible end
CHORD = 2.0  # notes struck together end together if their lengths differ by less than this factor
EIGHTH = PER_QUARTER // 2


def likely_ends(
    onset: Ints, pitch: Ints, staff: Ints, velocity: Ints, held: Floats, heard: Floats, onset_s: Floats,
    held_s: Floats, beat: Ints, part: Ints, start: Ints, levels: Ints, fill: int,
) -> Ints:
    """Ends in ticks, shape (n,); notes that begin together mostly end together.

    Notes are sorted by `onset` (ticks). `held` and `heard`: for how many ticks the key is down and the note
    sounds; `onset_s`, `held_s` the same in seconds. `beat`, `part`: the beat at every onset and its half, or third;
    `start`: from where measures are counted; `levels`: metrical levels, the measure first, (n, levels). Gaps up to
    `fill` ticks before the next onset of the hand are filled.
    """
    end, first, what = possible_ends(
        onset, pitch, staff, velocity, held, heard, onset_s, held_s, beat, part, start, levels)
    odds = _odds(what)
    of_note = list(pairwise(first.tolist()))
    best: Ints = end[np.array([a + int(np.argmax(odds[a:b])) for a, b in of_note], dtype=np.int64)]
    following = np.array([_following(end, what, a, b) for a, b in of_note], dtype=np.int64)
    best = np.where((best < following) & (following <= best + fill), following, best)
    together: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for i, key in enumerate(zip(onset.tolist(), staff.tolist(), strict=True)):
        together[key].append(i)
    for (at, _), members in together.items():
        if len(members) > 1:
            middle = int(np.sort(best[members])[len(members) // 2])
            for i in members:
                if 1 / CHORD < (best[i] - at) / (middle - at) < CHORD:
                    best[i] = middle
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
        for shift in (0, -1):
            place = places[np.clip(np.searchsorted(places, release[own]) + shift, 0, len(places) - 1)]
            nearer = np.abs(place - release[own]) <= np.abs(end[own] - release[own]) + unit[own] // 4
            end[own] = np.where((place > onset[own]) & nearer, place, end[own])
    return np.asarray(np.minimum(end, struck_again(onset, pitch)))


def _following(end: Ints, what: Floats32, a: int, b: int) -> int:
    """The next onset of the hand among the possible ends of a note, if any."""
    struck = np.flatnonzero(what[a:b, 4] == 0)
    return int(end[a + struck[0]]) if len(struck) else NEVER


def _odds(what: Floats32) -> Floats32:
    """How likely every possible end is, as log odds up to a constant a note."""
    w = _weights()
    x = (what - w["mean"]) / w["scale"]
    k = 0
    while f"layer{k}.weight" in w:
        x = x @ w[f"layer{k}.weight"] + w[f"layer{k}.bias"]
        if f"layer{k + 1}.weight" in w:
            x = np.maximum(x, 0.0)
        k += 1
    return np.asarray(x[:, 0])


@lru_cache(maxsize=1)
def _weights() -> dict[str, Floats32]:
    return weights_in(WEIGHTS)


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
    onset: Ints, pitch: Ints, staff: Ints, velocity: Ints, held: Floats, heard: Floats, onset_s: Floats,
    held_s: Floats, beat: Ints, part: Ints, start: Ints, levels: Ints,
) -> tuple[Ints, Ints, Floats32]:
    """Of all notes the possible ends, in ticks, shape (m,); where those of each note begin, (n + 1,); and what is
    known of each, (m, WIDTH). Every note has one at least, none beyond where its key is struck again."""
    size = len(onset) * (max(FOLLOWING + BETWEEN, LAST) + 2)
    end, what = np.empty(size, dtype=np.int64), np.zeros((size, WIDTH), dtype=np.float32)
    first = np.zeros(len(onset) + 1, dtype=np.int64)
    touch, pedal, spread, overlap, gap = _touch(onset, staff, held, heard)
    m = _possible(
        onset, pitch, staff, velocity.astype(np.float64), np.maximum(held, 1.0), np.maximum(heard, 1.0), onset_s,
        held_s, beat, part, start, levels, struck_again(onset, pitch), touch, pedal, spread, overlap, gap, end, first,
        what)
    return end[:m], first, what[:m]


def _touch(onset: Ints, staff: Ints, held: Floats, heard: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """How the hand plays around every note, shape (n,) each: medians of held and of heard against the time to the
    next onset, in octaves; the spread of the first; the share of keys that are down beyond it; and this time, in
    ticks, 0 where nothing follows."""
    around, gap = np.zeros((4, len(onset))), np.zeros(len(onset))
    for s in np.unique(staff):
        own = np.flatnonzero(staff == s)
        places = np.unique(onset[own])
        k = np.searchsorted(places, onset[own])
        step = np.append(np.diff(places), 0)[k].astype(np.float64)
        gap[own] = step
        known = step > 0
        ratio, sound = (np.log2(np.maximum(x[own], 1.0) / np.maximum(step, 1.0)) for x in (held, heard))
        around[:, own] = _around(k, np.clip(ratio, -5, 5), np.clip(sound, -5, 5), known)
    return around[0], around[1], around[2], around[3], gap


@njit(cache=True)
def _around(k, ratio, sound, known):  # type: ignore[no-untyped-def]
    """Of the notes whose place is within AROUND: medians, half the spread of the first, the share held on."""
    n = len(k)
    out = np.zeros((4, n))
    a, b = 0, 0
    for i in range(n):
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
def _possible(  # type: ignore[no-untyped-def]
    onset, pitch, staff, velocity, held, heard, onset_s, held_s, beat, part, start, levels, again, touch, pedal,
    spread, overlap, gap, end, first, what,
):
    n = len(onset)
    m = 0
    before, length_before = np.full(3, -NEVER), np.zeros(3)  # of the chord before, by staff: onset, time until this one
    for i in range(n):
        first[i] = m
        s = staff[i]
        limit = again[i]
        if i == 0 or onset[i] > before[s]:
            length_before[s] = onset[i] - before[s] if before[s] > -NEVER else 0.0
            before[s] = onset[i]
        # the chord it belongs to
        a = i
        while a > 0 and onset[a - 1] == onset[i]:
            a -= 1
        b = i
        while b < n and onset[b] == onset[i]:
            b += 1
        size, above, below, others = 0.0, 0.0, 0.0, 0.0
        chord_held, loudest = 0.0, 0.0
        for j in range(a, b):
            if staff[j] != s:
                others += 1.0
                continue
            size += 1.0
            chord_held += np.log2(held[j])
            loudest = max(loudest, velocity[j])
            if pitch[j] > pitch[i]:
                above += 1.0
            elif pitch[j] < pitch[i]:
                below += 1.0
        chord_held /= size
        compound = 3 * part[i] == beat[i]
        phase = (onset[i] - start[i]) % levels[i, 0]
        base = m
        # ends before anything follows in this hand, on parts of beats
        following = onset[i] + np.int64(gap[i]) if gap[i] > 0 else np.int64(NEVER)
        unit = part[i] if gap[i] == 0 or gap[i] > 2 * part[i] else max(part[i] // 2, 1)
        most, until = BETWEEN, onset[i] + 2 * levels[i, 0]
        if gap[i] == 0:
            most, until = LAST, onset[i] + np.int64(2 * heard[i]) + beat[i]
            while until - onset[i] > LAST * unit:
                unit *= 2
        e = onset[i] + unit - (onset[i] - start[i]) % unit
        found = 0
        while found < most and e < min(following, limit) and e <= until:
            end[m] = e
            what[m, 4] = 1.0
            m += 1
            found += 1
            e += unit
        if gap[i] > 0 and (gap[i] <= 2 * part[i]) and found == 0 and int(gap[i]) % 2 == 0 and following <= limit:
            end[m] = onset[i] + np.int64(gap[i]) // 2
            what[m, 4] = 1.0
            m += 1
        if gap[i] == 0:
            full = onset[i] - phase + levels[i, 0]
            if full <= limit and (m == base or end[m - 1] < full):
                end[m] = full
                what[m, 4] = 1.0
                what[m, 5] = 1.0
                m += 1
        # onsets that follow in this hand
        rank, inside = 0, 0
        under, over, nearest = 0.0, 0.0, 24.0
        j = b
        while j < n and rank < FOLLOWING and onset[j] <= limit and onset[j] - onset[i] <= 4 * levels[i, 0]:
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
                x[6] = np.log2(rank)
                x[7], x[8], x[9] = rank == 1, rank == 2, rank == 3
                x[10] = min(near, 24) / 12.0
                x[11] = min(max(signed, -24), 24) / 12.0
                x[12] = np.log2(here)
                x[13] = 1.0 if above == 0 and highest - pitch[i] == signed else 0.0
                x[14] = 1.0 if below == 0 and lowest - pitch[i] == signed else 0.0
                x[15] = np.log2(inside + 1.0)
                x[16] = under / max(inside, 1)
                x[17] = over / max(inside, 1)
                x[18] = nearest / 12.0 if inside else 0.0
                x[19] = other > 0
                x[20] = at == limit
                # how near to this onset the key was let go
                late_s = onset_s[i] + held_s[i] - onset_s[j]
                x[21] = min(max(late_s / 0.1, -5.0), 5.0)
                x[22] = 1.0 if late_s > -0.02 else 0.0
                m += 1
                for q in range(j, stop):
                    if staff[q] == s:
                        inside += 1
                        under += pitch[q] < pitch[i]
                        over += pitch[q] > pitch[i]
                        nearest = min(nearest, abs(pitch[q] - pitch[i]))
            j = stop
        if rank > 0 and j == n and limit == NEVER:  # or with the measure in which the hand strikes last
            end[m] = end[m - 1] - (end[m - 1] - start[i]) % levels[i, 0] + levels[i, 0]
            what[m, 4], what[m, 5] = 1.0, 1.0
            what[m, 6] = np.log2(rank + 1)
            what[m, 15] = np.log2(inside + 1.0)
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
            x[23] = place % beat[i] == 0
            x[24] = place == 0
            x[25] = _level(place, levels[i]) / 3.0
            x[26] = _level(phase, levels[i]) / 3.0
            x[27] = takes_two(phase, phase + length, beat[i], compound, levels[i])
            x[28] = _octaves(length, PER_QUARTER)
            x[29] = _octaves(length, beat[i])
            x[30] = np.log2(size)
            x[31] = above == 0
            x[32] = below == 0
            x[33] = s - 1.0
            x[34] = (velocity[i] - loudest) / 10.0
            x[35] = touch[i]
            x[36] = x[0] + touch[i]
            x[37] = pedal[i]
            x[38] = x[2] + pedal[i]
            x[39] = overlap[i]
            x[40] = np.log2(held[i]) - chord_held
            x[41] = _octaves(heard[i], held[i])
            x[42] = np.log2(max(held_s[i], 0.02))
            x[43] = _octaves(length, length_before[s]) if length_before[s] > 0 else 0.0
            x[44] = compound
            x[45] = others > 0
            x[46] = np.log2(count)
            x[47] = _octaves(gap[i], held[i]) if gap[i] > 0 else 3.0
            x[48] = spread[i]
            x[49] = gap[i] == 0
    first[n] = m
    return m
