"""A small network that says on which of given beats measures begin.

`rhythm_net` hears beats and measures at once, in seconds. This one hears in beats: what is struck in each of them, what
changes with it, and how like it is to those before and after. Rubato is out of the way there, and whole phrases are
near. Temporal convolutions of growing dilation (Bai, Kolter & Koltun 2018), learned by `tools/train_measures.py` from
scores performed by simulated players and from songs; inference is plain NumPy.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.ndimage import uniform_filter1d

from ..models import weights_in
from ..music import Floats, Ints
from .chords import likely_changes
from .layers import Floats32, normed, shifted

WEIGHTS = Path(__file__).with_name("measure_net.npz")
HIDDEN = 96
DILATIONS = (1, 2, 4, 8, 16, 32, 1, 2, 4, 8, 16, 1, 2, 4)
SLOTS = 12  # of a beat, in which is counted what is struck
LAGS = (1, 2, 3, 4, 5, 6, 8, 9, 12, 16)  # beats after which music may be like itself
LOW, HIGH = 0.35, 0.65  # shares of a piece's notes that are no higher, or no lower, than its low or high ones
EARLY_S = 0.03  # notes this early still belong to a beat
NEAR_S, NEAR = 0.06, 0.15  # what is struck with a beat: within so much of it, and of its length
LONGEST = 8.0  # beats that a note counts for
SHORTEST = 0.02
OVER = 1.1  # beats after which a note that goes on is held over the next beat
AROUND = 17  # beats that are usual
WIDTH = 3 * SLOTS + 2 * 12 + 2 * len(LAGS) * 5 + 18


def likely_downbeats(what: Floats32) -> Floats32:
    """Log odds of each of m beats, as from `hear_beats`, to begin a measure: (m,)."""
    w = _weights()
    x = np.clip((what - w["mean"]) / w["scale"], -5.0, 5.0) @ w["in.weight"] + w["in.bias"]
    for k, dilation in enumerate(DILATIONS):
        h = np.maximum(normed(x, w, f"norm{k}"), 0.0)
        x = x + shifted(h, dilation) @ w[f"conv{k}.weight"] + w[f"conv{k}.bias"]
    odds = np.maximum(normed(x, w, "norm"), 0.0) @ w["out.weight"] + w["out.bias"]
    return np.asarray(odds[:, 0])


@lru_cache(maxsize=1)
def _weights() -> dict[str, Floats32]:
    return weights_in(WEIGHTS)


def hear_beats(onset: Floats, offset: Floats, pitch: Ints, velocity: Ints, beats_s: Floats) -> Floats32:
    """What is known of m beats, two or more, (m, WIDTH), from notes, each (n,); times in seconds."""
    edges = np.append(beats_s, 2 * beats_s[-1] - beats_s[-2])
    within = (offset + EARLY_S > edges[0]) & (onset + EARLY_S < edges[-1])
    onset, offset, pitch, velocity = (x[within] for x in (onset, offset, pitch, velocity))
    if not len(onset):
        return np.zeros((len(beats_s), WIDTH), dtype=np.float32)
    change = likely_changes(
        np.maximum(onset + EARLY_S, edges[0]), np.minimum(offset + EARLY_S, edges[-1]), pitch, edges)
    m, period = len(beats_s), np.diff(edges)
    count = np.arange(m + 1, dtype=float)
    at, until = np.clip(np.interp(onset + EARLY_S, edges, count), 0.0, m - 1e-6), np.interp(offset, edges, count)
    beat = at.astype(np.int64)
    length = np.clip(until - at, SHORTEST, LONGEST)
    slot = np.clip(np.round((onset - edges[beat]) / period[beat] * SLOTS), 0, SLOTS - 1).astype(np.int64)
    struck = np.zeros((3, m, SLOTS))
    low, high = np.quantile(pitch, (LOW, HIGH))
    for group, some in zip(struck, (pitch >= 0, pitch <= low, pitch >= high), strict=True):
        np.add.at(group, (beat[some], slot[some]), 1.0)
    struck = np.log2(1.0 + struck)
    tones, bass, deepest = np.zeros((m, 12)), np.zeros((m, 12)), np.full(m, 127)
    np.add.at(tones, (beat, pitch % 12), np.sqrt(length))
    np.minimum.at(deepest, beat, pitch)
    bass[np.arange(m), deepest % 12] = deepest < 127

    first = np.abs(onset - edges[beat]) < np.minimum(NEAR_S, NEAR * period[beat])  # what is struck with its beat
    here, pitch, length, loud_one = beat[first], pitch[first], length[first], velocity[first]
    lowest, highest, loudest = np.full(m, 127.0), np.zeros(m), np.zeros(m)
    np.minimum.at(lowest, here, pitch)
    np.maximum.at(highest, here, pitch)
    np.maximum.at(loudest, here, loud_one)
    held = np.zeros((3, m))
    for longest, some in zip(held, (pitch >= 0, pitch <= lowest[here], pitch >= highest[here]), strict=True):
        np.maximum.at(longest, here[some], length[some])
    notes = np.bincount(here, minlength=m)
    silent = notes == 0
    held_over = np.bincount(beat + 1, until > beat + OVER, minlength=m + 1)[:m]

    def against_usual(x: Floats | Ints) -> Floats:
        """What is struck with each beat, against what is usual around."""
        x = np.where(silent, x[~silent].mean() if len(here) else 0.0, x)
        return np.asarray(x - uniform_filter1d(x, AROUND, mode="nearest"))

    unit = [x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6) for x in (tones, bass, *struck)]
    motion, alike = np.zeros((2, 12, m)), np.zeros((len(unit), len(LAGS), 2, m))
    for x, moved in zip(unit, motion, strict=False):
        for by in range(12):
            moved[by, 1:] = np.sum(x[:-1] * np.roll(x[1:], -by, axis=1), axis=1)
    for x, of_x in zip(unit, alike, strict=True):
        for lag, (before, after) in zip(LAGS, of_x, strict=True):
            after[: max(m - lag, 0)] = before[lag:] = np.sum(x[lag:] * x[: max(m - lag, 0)], axis=1)
    rings, rings_low, rings_high = np.log2(held + 0.1)
    columns = [
        *struck.transpose(0, 2, 1).reshape(-1, m), *motion.reshape(-1, m), *alike.reshape(-1, m), change, silent, notes,
        held_over, *(against_usual(x) for x in (lowest, highest, loudest, notes, held_over)), rings,
        *(against_usual(x) for x in (rings, rings_low, rings_high)), np.log2(period),
        *(np.log2(np.roll(period, -by) / period) for by in (-1, 1)), np.arange(m) == 0, change - change.mean(),
    ]
    return np.stack(columns, axis=1).astype(np.float32)
