"""A small network that says where in its beat every onset is written.

Temporal convolutions of growing dilation (Bai, Kolter & Koltun 2018) over clusters of onsets whose beats are known:
how a pianist times a figure shows in the notes around and in the same figure a beat before and after. Learned by
`tools/train_places.py` from scores performed by simulated players; inference is plain NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..models import weights_in
from ..music import BeatGrid, Floats, Ints, Performance
from .layers import Floats32, convolved
from .measures import signatures_at
from .ticks import PER_QUARTER, beat_ticks

WEIGHTS = Path(__file__).with_name("place_net.npz")
HIDDEN = 128
DILATIONS = (1, 2, 4, 8, 16, 32, 1, 2, 4, 8, 16, 1, 2, 4)
FINEST = 1680  # parts of a beat in which places are counted: of 16, 12, 5 and 7
PLACES = np.array(sorted({k * FINEST // s for s in (16, 12, 5, 7) for k in range(s + 1)}), dtype=np.int64)
HARMONICS = np.array([1, 2, 3, 4, 6, 8, 12])
AROUND = (-4, -3, -2, -1, 1, 2, 3, 4)  # beats in which the same figure may be
WIDTH = 4 * len(HARMONICS) + len(AROUND) + 27
LEAST_S = 0.02  # added to how long keys are held, of which the logarithm is taken
MIDDLE = (60.0, 69.0)  # usual lowest and highest pitch of what is struck at once


@dataclass(frozen=True, eq=False)
class Laid:
    """n clusters of notes in m beats."""

    of_note: Ints  # the cluster of every note
    times_s: Floats  # (n,)
    steady_s: Floats  # (n,): when they would come if every beat kept its tempo
    beat: Ints  # (n,): in which one each is
    beats_s: Floats  # (m + 1,)
    ticks: Ints  # (m + 1,): places of the beats


def likely_places(what: Floats32) -> Floats32:
    """Log chance of every place (`PLACES`, the last is the next beat, and none) of onsets as from `hear_places`."""
    y = convolved(what, _weights(), DILATIONS)
    y = y - y.max(axis=1, keepdims=True)
    return np.asarray(y - np.log(np.exp(y).sum(axis=1, keepdims=True)), dtype=np.float32)


@lru_cache(maxsize=1)
def _weights() -> dict[str, Floats32]:
    return weights_in(WEIGHTS)


def compound_beats(grid: BeatGrid, ticks: Ints) -> NDArray[np.bool_]:
    """Whether beats, (m,), between places, (m + 1,), are of three parts by nature."""
    return np.array([s.compound for s in grid.time_signatures])[signatures_at(grid, ticks[:-1])]


def hear_places(performance: Performance, laid: Laid, grid: BeatGrid) -> Floats32:
    """What is known of n clusters of notes: (n, WIDTH)."""
    of_note, times_s, steady_s, beat, beats_s, ticks = (
        laid.of_note, laid.times_s, laid.steady_s, laid.beat, laid.beats_s, laid.ticks)
    n, last = len(times_s), len(beats_s) - 2
    period = np.diff(beats_s)
    here = period[beat]
    phase, steady = ((t - beats_s[beat]) / here for t in (times_s, steady_s))
    turns = 2 * np.pi * HARMONICS * np.stack([phase, steady])[..., None]
    gap = np.maximum(np.diff(times_s, prepend=times_s[0] - 2.0, append=times_s[-1] + 2.0), 1e-3)
    same = []
    for by in AROUND:
        there = np.clip(beat + by, 0, last)
        wanted = beats_s[there] + phase * period[there]
        k = np.clip(np.searchsorted(times_s, wanted), 1, max(n - 1, 1))
        near = np.where(wanted - times_s[k - 1] < times_s[np.minimum(k, n - 1)] - wanted, k - 1, np.minimum(k, n - 1))
        same.append(np.clip((times_s[near] - wanted) / period[there], -0.25, 0.25))
    count = np.bincount(beat, minlength=last + 1)
    first = np.searchsorted(beat, beat)
    length = np.diff(ticks)
    compound = compound_beats(grid, ticks)[beat]
    down = np.isin(ticks, beat_ticks(grid)[grid.beat == 1])
    low, high = np.full(n, 127), np.zeros(n)
    np.minimum.at(low, of_note, performance.pitches)
    np.maximum.at(high, of_note, performance.pitches)
    low, high = low - low.mean() + MIDDLE[0], high - high.mean() + MIDDLE[1]  # transposed, a piece is the same
    notes = np.bincount(of_note, minlength=n)
    loud = np.bincount(of_note, performance.velocities, minlength=n) / notes
    held = np.zeros(n)
    np.maximum.at(held, of_note, performance.offsets_s - performance.onsets_s)
    columns = [
        *np.sin(turns).transpose(0, 2, 1).reshape(-1, n), *np.cos(turns).transpose(0, 2, 1).reshape(-1, n), *same,
        phase, steady, phase * here, (1 - phase) * here, np.log2(here),
        *(np.log2(period[np.clip(beat + by, 0, last)] / here) for by in (-1, 1)),
        *(np.log2(g) for g in (gap[:-1], gap[1:])), *(np.minimum(g / here, 3.0) for g in (gap[:-1], gap[1:])),
        np.log2(length[beat] / PER_QUARTER), compound, down[beat], down[beat + 1], np.arange(n) - first,
        *(count[np.clip(beat + by, 0, last)] for by in (-1, 0, 1)), notes, low, high, np.diff(high, prepend=high[0]),
        np.diff(low, prepend=low[0]), loud - np.mean(loud), np.log2(held + LEAST_S), np.log2((held + LEAST_S) / here),
    ]
    return np.stack(columns, axis=1).astype(np.float32)
