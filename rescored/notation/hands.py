"""Which staff: what the left and the right hand of a piano play.

Notes that begin together are split between the hands at some pitch, the lower to the left. A small
network says of every note whose it is likely to be (hand_net.py); a beam search over the splits weighs
that against where each hand is and what it holds: hands reach only so far, avoid leaps that leave no
time and seldom cross. After Nakamura, Ono & Sagayama, "Merged-output HMM for piano fingering of both
hands", ISMIR 2014.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, fields, replace
from fractions import Fraction

import numpy as np
from numba import njit

from ..errors import SettingsError
from ..music import NO_WISHES, Floats, Ints, Performance, Placed, PlacedNote, StaffNote, Staved, Wishes
from ..settings import HandSettings
from ..stage import Report, silent, stage
from .hand_net import TOGETHER_S, left_odds
from .ticks import to_ticks

BEAM = 32  # hypotheses that are kept
MEMORY = 12  # clusters that are searched for keys still held
AROUND_S = 3.0
EASY_SPAN, EASY_NOTES = 12, 3  # of a chord in an easy score: semitones, notes
LEGATO_S = 0.15  # keys that are held for longer than this into the next are held on purpose


@dataclass(frozen=True)
class Weights:
    """Costs of the search; chosen on two-staff scores of music21's corpus, performed by expressive.py."""

    over_span: float = 2.0  # per semitone that a chord goes beyond the hand's span
    over_held: float = 0.155  # ... together with the keys that the hand still holds
    leap: float = 0.025  # per semitone that a hand moves at once
    leap_rate_hz: float = 2.0  # how fast leaps become easy with time
    register: float = 0.102  # per semitone and note on the wrong side of the middle
    middle: float = 63.0
    cross: float = 0.11  # per semitone that the hands overlap
    gap: float = 0.02  # gained per semitone between the hands' notes, up to an octave
    alone: float = 0.5  # a chord all in one hand
    shift: float = 0.1  # per semitone beyond what the hand reached without moving
    holding: float = 0.54  # to strike keys while it holds others
    local: float = 0.3  # how much the middle follows what is played around, against being fixed
    likely: float = 0.7  # per nat of log odds that the network gives against a note's hand


@stage(version=9)
def split_hands(
    placed: Placed, performance: Performance, wishes: Wishes = NO_WISHES, *, settings: HandSettings,
    report: Report = silent,
) -> Staved:
    """Staff 1 or 2 for every note of a part with two staves; staff 1 for all other notes.

    What a MIDI file's tracks tell of the hands holds, unless the split is the user's own.
    """
    curve = _curve(settings.split_curve)
    two_staves = {p.id for p in performance.parts if p.staves == 2}
    staff: dict[str, int] = {}
    for part in two_staves:
        notes = [n for n in placed.notes if n.part == part and not n.grace]
        if curve:
            onset_s = {n.id: n.onset_s for n in performance.notes}
            split = np.interp([onset_s[n.id] for n in notes], *np.array(curve).T)
            left = [n.pitch < at for n, at in zip(notes, split.tolist(), strict=True)]
        elif settings.split == "fixed":
            left = [n.pitch < settings.fixed_pitch for n in notes]
        else:
            left = _left(notes, performance, settings) if notes else []
        staff.update((n.id, 2 if is_left else 1) for n, is_left in zip(notes, left, strict=True))
        staff |= _of_graces([n for n in placed.notes if n.part == part and n.grace], notes, staff)
    if settings.file_tracks == "auto" and settings.split == "moving" and not curve:
        staff.update({id: hand for id, hand in performance.hands.items() if id in staff})
    staff.update({id: wish for id, wish in wishes.staff.items() if id in staff})
    staved = [_with_staff(n, staff.get(n.id, 1)) for n in placed.notes]
    if not settings.within_span:
        return Staved(tuple(staved), placed.manner)
    kept = tuple(n for hand in _by_chord(staved).values() for n in _within_span(hand))
    ids = {n.id for n in kept}
    ornaments = tuple(o for o in placed.manner.ornaments if ids.issuperset(
        (o.note, *o.members) if o.kind == "arpeggio" else (o.note,)))
    return Staved(tuple(sorted(kept, key=lambda n: (n.onset_ql, n.pitch))), replace(placed.manner, ornaments=ornaments))


def _curve(text: str) -> list[tuple[float, float]]:
    """(time_s, pitch) of `hands.split_curve`; raises SettingsError."""
    try:
        curve = sorted((float(time), float(pitch)) for time, pitch in (item.split(":") for item in text.split()))
    except ValueError:
        curve = [(math.nan, math.nan)]
    if not all(math.isfinite(time) and 0 <= pitch <= 127 for time, pitch in curve):
        raise SettingsError(
            f"hands.split_curve cannot be {text[:60]!r}.",
            "Give times in seconds and MIDI pitches, such as 0:60 30:55.")
    return curve


def _of_graces(graces: list[PlacedNote], notes: list[PlacedNote], staff: dict[str, int]) -> dict[str, int]:
    """Grace notes on the staff of the nearest note that they may adorn."""
    at: defaultdict[Fraction, list[PlacedNote]] = defaultdict(list)
    for n in notes:
        at[n.onset_ql].append(n)
    return {g.id: staff[min(at[g.onset_ql], key=lambda n: (abs(n.pitch - g.pitch), n.pitch)).id]
            for g in graces if at[g.onset_ql]}


def _by_chord(notes: list[StaffNote]) -> dict[tuple[str, int, Fraction, bool], list[StaffNote]]:
    chords: defaultdict[tuple[str, int, Fraction, bool], list[StaffNote]] = defaultdict(list)
    for n in notes:
        chords[n.part, n.staff, n.onset_ql, n.grace].append(n)
    return chords


def _within_span(chord: list[StaffNote]) -> list[StaffNote]:
    """The outermost note, the melody's or the bass's, and what an easy hand takes beside it."""
    upper = chord[0].staff == 1
    ordered = sorted(chord, key=lambda n: -n.pitch if upper else n.pitch)
    near = [n for n in ordered if abs(n.pitch - ordered[0].pitch) <= EASY_SPAN]
    return near if len(near) <= EASY_NOTES else [*near[:EASY_NOTES - 1], near[-1]]


def _with_staff(note: PlacedNote, staff: int) -> StaffNote:
    return StaffNote(**{f.name: getattr(note, f.name) for f in fields(PlacedNote)}, staff=staff)


def _left(
    notes: list[PlacedNote], performance: Performance, settings: HandSettings, weights: Weights = Weights()
) -> list[bool]:
    """Whether the left hand plays each note; notes are sorted by (onset_ql, pitch)."""
    played = {n.id: n for n in performance.notes}
    onset_s, offset_s = np.array([(played[n.id].onset_s, played[n.id].offset_s) for n in notes]).T.copy()
    pitch = np.array([n.pitch for n in notes], dtype=np.int64)
    ticks = np.array([to_ticks(n.onset_ql) for n in notes])
    starts = np.flatnonzero(np.append(np.diff(ticks, prepend=ticks[0] - 1) != 0, True))
    w = np.array([settings.span_semitones - 1, *(getattr(weights, f.name) for f in fields(weights))], dtype=np.float64)
    odds = _odds(onset_s, offset_s, pitch, starts)
    count = _search(onset_s, offset_s, pitch, starts, _middles(onset_s, pitch, starts, weights), odds, w)
    return [bool(i < starts[k] + count[k]) for k in range(len(count)) for i in range(starts[k], starts[k + 1])]


def _odds(onset_s: Floats, offset_s: Floats, pitch: Ints, starts: Ints) -> Floats:
    """Log odds that the left hand plays each note, by the network, for which chords are struck at once."""
    times_s = struck_at_once(onset_s, starts)
    return left_odds(times_s, np.maximum(offset_s, times_s + TOGETHER_S), pitch)


def struck_at_once(onset_s: Floats, starts: Ints) -> Floats:
    """Onsets, shape (n,), as if every chord were struck at once and in its turn, however they were played.

    `starts`: where each chord begins among the notes, and at last n.
    """
    size = np.diff(starts)
    times_s = np.add.reduceat(onset_s, starts[:-1]) / size
    step = 2 * TOGETHER_S * np.arange(len(times_s))
    return np.repeat(np.maximum.accumulate(times_s - step) + step, size)


def _middles(onset_s: Floats, pitch: Ints, starts: Ints, weights: Weights) -> Floats:
    """Where the hands meet, by what is played within some seconds, shape (clusters,)."""
    low, high = np.minimum.reduceat(pitch, starts[:-1]), np.maximum.reduceat(pitch, starts[:-1])
    times_s = onset_s[starts[:-1]]
    a, b = np.searchsorted(times_s, times_s - AROUND_S), np.searchsorted(times_s, times_s + AROUND_S, side="right")
    ends = np.concatenate([[0.0], np.cumsum(low + high)])
    around = (ends[b] - ends[a]) / (2.0 * (b - a))
    return np.asarray((1.0 - weights.local) * weights.middle + weights.local * around)


@njit(cache=True)
def _search(
    onset_s: Floats, offset_s: Floats, pitch: Ints, starts: Ints, middles: Floats, odds: Floats, w: Floats
) -> Ints:
    """How many notes of every cluster, from the lowest, the left hand plays; shape (clusters,)."""
    n = len(starts) - 1
    split = np.zeros((n, BEAM), dtype=np.int64)
    back = np.zeros((n, BEAM), dtype=np.int64)
    cost = np.zeros(BEAM)
    # of the left and right hand: lowest, highest note and time of its last chord, and its position, the
    # stretch of keys that it played lately without moving
    hand = np.zeros((BEAM, 2, 5))
    hand[0, 0] = np.array([48.0, 55.0, -10.0, 48.0, 55.0])
    hand[0, 1] = np.array([65.0, 72.0, -10.0, 65.0, 72.0])
    alive = 1
    reach, holds = np.empty((2, 2)), np.empty(2)
    for i in range(n):
        a, b = starts[i], starts[i + 1]
        size = b - a
        t = onset_s[a:b].mean()
        options = alive * (size + 1)
        new_cost = np.empty(options)
        for h in range(alive):
            reach[:, 0], reach[:, 1] = 127.0, 0.0  # of the keys that are held
            holds[:] = 0.0
            at = h
            for j in range(i - 1, max(i - 1 - MEMORY, -1), -1):
                for m in range(starts[j], starts[j + 1]):
                    if offset_s[m] > t + 0.03:
                        side = 0 if m < starts[j] + split[j, at] else 1
                        reach[side, 0] = min(reach[side, 0], pitch[m])
                        reach[side, 1] = max(reach[side, 1], pitch[m])
                        if offset_s[m] > t + LEGATO_S:
                            holds[side] = 1.0
                at = back[j, at]
            for k in range(size + 1):
                total = cost[h]
                extent = np.empty((2, 2))
                for side in range(2):
                    lo, hi = (a, a + k) if side == 0 else (a + k, b)
                    extent[side] = hand[h, side, :2]
                    if lo == hi:
                        continue
                    low, high = float(pitch[lo]), float(pitch[hi - 1])
                    extent[side, 0], extent[side, 1] = low, high
                    total += w[1] * max(high - low - w[0], 0.0)
                    total += w[11] * holds[side]
                    total += w[2] * max(max(high, reach[side, 1]) - min(low, reach[side, 0]) - w[0], 0.0)
                    moved = abs((low + high) - (hand[h, side, 0] + hand[h, side, 1])) / 2
                    beyond = max(high - hand[h, side, 3] - w[0], hand[h, side, 4] - w[0] - low, 0.0)
                    ease = 1.0 + w[4] * max(t - hand[h, side, 2], 0.0)
                    total += (w[3] * moved + w[10] * beyond) / ease
                    for m in range(lo, hi):
                        wrong = pitch[m] - middles[i] if side == 0 else middles[i] - pitch[m]
                        total += w[5] * max(wrong, 0.0)
                        total += w[13] * max(-odds[m] if side == 0 else odds[m], 0.0)
                total += w[7] * max(extent[0, 1] - extent[1, 0], 0.0)
                if 0 < k < size:
                    total -= w[8] * min(pitch[a + k] - pitch[a + k - 1], 12)
                elif size > 1:
                    total += w[9]
                new_cost[h * (size + 1) + k] = total
        order = np.argsort(new_cost)[:BEAM]
        new_hand = np.empty((len(order), 2, 5))
        for r in range(len(order)):
            h, k = order[r] // (size + 1), order[r] % (size + 1)
            split[i, r], back[i, r] = k, h
            new_hand[r] = hand[h]
            for side in range(2):
                lo, hi = (a, a + k) if side == 0 else (a + k, b)
                if lo < hi:
                    low, high = float(pitch[lo]), float(pitch[hi - 1])
                    lowest = max(min(low, hand[h, side, 3]), high - w[0])
                    highest = min(max(high, hand[h, side, 4]), low + w[0])
                    new_hand[r, side] = np.array([low, high, t, lowest, highest])
        alive = len(order)
        for r in range(alive):
            cost[r] = new_cost[order[r]] - new_cost[order[0]]
            hand[r] = new_hand[r]
    count = np.empty(n, dtype=np.int64)
    at = 0
    for i in range(n - 1, -1, -1):
        count[i] = split[i, at]
        at = back[i, at]
    return count
