"""Which staff: left and right hand of a piano by a split pitch that moves with the music.

Viterbi over the split, after Nakamura, Ono & Sagayama, "Merged-output HMM for piano fingering of
both hands", ISMIR 2014: a hand reaches only so far, the split keeps clear of notes and moves slowly.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..music import Floats, Ints, Note, Performance, Placed, PlacedNote, StaffNote, Staved
from ..settings import HandSettings
from ..stage import Report, silent, stage
from .clusters import cluster, cluster_times


@dataclass(frozen=True)
class Weights:
    """Costs of the search."""

    over_span: float = 0.9  # per semitone that a hand would have to reach beyond its span
    near_split: float = 0.65  # a note at the split, decaying over
    near_width: float = 1.3  # semitones
    register: float = 0.0026  # the split's distance from `middle`, per squared semitone
    middle: float = 58.0
    one_hand: float = 0.6  # nothing for one of the hands
    move: float = 0.8  # per semitone that the split moves at once; less over time
    window_s: float = 0.23  # notes this close count for a cluster


@stage(version=1)
def split_hands(
    placed: Placed, performance: Performance, *, settings: HandSettings, report: Report = silent
) -> Staved:
    """Staff 1 or 2 for every note of a part with two staves; staff 1 for all other notes."""
    staff = {n.id: 1 for n in placed.notes}
    for part in performance.parts:
        notes = [n for n in performance.notes if n.part == part.id]
        if part.staves == 2 and notes:
            lowest_right = settings.fixed_pitch if settings.split == "fixed" else _moving_split(notes, settings)
            left = np.array([n.pitch for n in notes]) < lowest_right
            staff.update((n.id, 2) for n, is_left in zip(notes, left, strict=True) if is_left)
    return Staved(tuple(_with_staff(n, staff[n.id]) for n in placed.notes))


def _with_staff(note: PlacedNote, staff: int) -> StaffNote:
    return StaffNote(**{f.name: getattr(note, f.name) for f in fields(note)}, staff=staff)


def _moving_split(notes: list[Note], settings: HandSettings, weights: Weights = Weights()) -> Floats:
    """The split pitch at every note: lower notes are the left hand's."""
    onset_s, offset_s = np.array([(n.onset_s, n.offset_s) for n in notes]).T.copy()
    pitch = np.array([n.pitch for n in notes], dtype=np.int64)
    of_note = cluster(onset_s)
    time_s = cluster_times(onset_s, of_note)
    split = np.arange(38, 81) - 0.5
    window = np.stack([np.searchsorted(of_note, np.arange(len(time_s) + 1))[:-1],
                       np.searchsorted(of_note, np.arange(len(time_s)), side="right"),
                       np.searchsorted(onset_s, time_s - weights.window_s),
                       np.searchsorted(onset_s, time_s + weights.window_s)])
    w = np.array([settings.span_semitones - 2, weights.over_span, weights.near_split, weights.near_width,
                  weights.register, weights.middle, weights.one_hand, weights.window_s])
    cost = _costs(onset_s, offset_s, pitch, time_s, window, split, w)
    rate = weights.move / (1.0 + 4.0 * np.diff(time_s))
    return np.asarray(split[_cheapest_path(cost, rate)][of_note])


@njit(cache=True)
def _costs(
    onset_s: Floats, offset_s: Floats, pitch: Ints, time_s: Floats, window: NDArray[np.int64],
    split: Floats, w: Floats,
) -> Floats:
    """Cost of every split at every cluster, shape (clusters, splits)."""
    cost = np.zeros((len(time_s), len(split)))
    extent = np.empty((4, 2))  # lowest, highest: left and right hand's own notes, then all that sound
    for i in range(len(time_s)):
        t = time_s[i]
        for s in range(len(split)):
            total = w[4] * (split[s] - w[5]) ** 2
            extent[:, 0], extent[:, 1] = 127.0, 0.0
            played = np.zeros(2)
            for j in range(window[2, i], window[3, i]):
                hand = 0 if pitch[j] < split[s] else 1
                played[hand] = 1
                near = max(1.0 - abs(onset_s[j] - t) / (w[7] * 1.2), 0.1) * (1.0 if offset_s[j] > t else 0.5)
                total += w[2] * near * np.exp(-abs(pitch[j] - split[s]) / w[3])
                if window[0, i] <= j < window[1, i]:
                    extent[hand, 0] = min(extent[hand, 0], pitch[j])
                    extent[hand, 1] = max(extent[hand, 1], pitch[j])
                if onset_s[j] <= t + 0.03 and offset_s[j] > t + 0.03:
                    extent[2 + hand, 0] = min(extent[2 + hand, 0], pitch[j])
                    extent[2 + hand, 1] = max(extent[2 + hand, 1], pitch[j])
            for e in range(4):
                total += w[1] * max(extent[e, 1] - extent[e, 0] - w[0], 0.0)
            cost[i, s] = total + (w[6] if played.sum() < 2 else 0.0)
    return cost


@njit(cache=True)
def _cheapest_path(cost: Floats, rate: Floats) -> Ints:
    """Viterbi over columns; moving by one column from row i to i + 1 costs rate[i]."""
    n, m = cost.shape
    back = np.zeros((n, m), dtype=np.int64)
    total = cost[0].copy()
    for i in range(1, n):
        # distance transform: the cheapest column to come from, by one sweep each way
        new, arg = total.copy(), np.arange(m)
        for j in range(1, m):
            if new[j - 1] + rate[i - 1] < new[j]:
                new[j], arg[j] = new[j - 1] + rate[i - 1], arg[j - 1]
        for j in range(m - 2, -1, -1):
            if new[j + 1] + rate[i - 1] < new[j]:
                new[j], arg[j] = new[j + 1] + rate[i - 1], arg[j + 1]
        back[i] = arg
        total = new + cost[i]
    path = np.zeros(n, dtype=np.int64)
    path[n - 1] = total.argmin()
    for i in range(n - 1, 0, -1):
        path[i - 1] = back[i, path[i]]
    return path
