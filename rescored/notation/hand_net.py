"""A small network that reads notes as a pianist does: which hand each is for.

Every note looks at the notes around it by how far they lie in pitch and time (attention with biases for
relative places, after Shaw et al. 2018, and a place to look at where nothing is there), after a count of
what lies above and below it. About 240,000 weights, learned by `tools/train_hands.py`. Plain NumPy.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..models import weights_in
from ..music import Floats, Ints
from .layers import Floats32, normed

HIDDEN, HEADS, LAYERS = 64, 8, 6
REACH = 40  # notes to either side that a note looks at
TOGETHER_S = 0.02  # notes this close are struck together
LAGS_S = np.array([0.02, 0.16, 0.32, 0.65, 1.3, 2.6])  # edges of the stretches of time that are told apart
FAR = 24  # semitones beyond which distances are alike
PITCHES, TIMES = 2 * FAR + 1, 2 * len(LAGS_S) + 1
COUNT_LAGS_S = np.array([0.02, 0.35, 1.2, 4.0])
COUNT_BINS = 17  # three semitones each
PLAIN = 9
WIDTH = PLAIN + COUNT_BINS * (2 * len(COUNT_LAGS_S) - 1)
WEIGHTS = Path(__file__).with_name("hand_net.npz")


def left_odds(onset_s: Floats, offset_s: Floats, pitch: Ints) -> Floats:
    """Log odds that the left hand plays each note; all (n,), sorted by (onset_s, pitch), chords struck at once."""
    w = _weights()
    x = describe(onset_s, offset_s, pitch) @ w["in.weight"] + w["in.bias"]
    near = _neighbours(onset_s, offset_s, pitch)
    for k in range(LAYERS):
        x = x + _attended(normed(x, w, f"norm{k}") @ w[f"look{k}.weight"], near, w[f"place{k}"], w[f"held{k}"],
                          w[f"nobody{k}"]) @ w[f"mix{k}.weight"]
        h = np.maximum(normed(x, w, f"inner{k}") @ w[f"up{k}.weight"] + w[f"up{k}.bias"], 0.0)
        x = x + h @ w[f"down{k}.weight"] + w[f"down{k}.bias"]
    return np.asarray((normed(x, w, "norm") @ w["out.weight"] + w["out.bias"])[:, 0], dtype=np.float64)


def describe(onset_s: Floats, offset_s: Floats, pitch: Ints) -> Floats32:
    """What the network is told of every note, shape (n, WIDTH)."""
    n = len(pitch)
    new = np.diff(onset_s, prepend=-np.inf) > TOGETHER_S
    chord = np.cumsum(new) - 1
    size = np.bincount(chord)[chord]
    first = np.flatnonzero(new)[chord]
    rank = np.arange(n) - first
    times_s = onset_s[new]
    gap = np.log2(np.clip(np.diff(times_s, prepend=times_s[0] - 2.0, append=times_s[-1] + 2.0), 0.03, 4.0))
    held = np.log2(np.clip(offset_s - onset_s, 0.03, 8.0))
    following = gap[1:][chord]
    plain = [(pitch - 60) / 12.0, np.abs(pitch - 60) / 12.0, gap[:-1][chord], following, held, held - following,
             np.minimum(size, 6) / 3.0, np.minimum(rank, 4) / 2.0, np.minimum(size - 1 - rank, 4) / 2.0]
    return np.concatenate([np.stack(plain, axis=1), _counts(onset_s, pitch)], axis=1).astype(np.float32)


def _counts(onset_s: Floats, pitch: Ints) -> Floats32:
    """How many notes lie so far above or below and before or after every note, shape (n, bins x stretches)."""
    n, zones = len(pitch), 2 * len(COUNT_LAGS_S) - 1
    near = _window(n)
    i = np.arange(n)[:, None]
    inside = (near >= 0) & (near < n) & (near != i)
    j = np.clip(near, 0, n - 1)
    lag = onset_s[j] - onset_s[:, None]
    zone = np.searchsorted(COUNT_LAGS_S, np.abs(lag))
    inside &= zone < len(COUNT_LAGS_S)
    zone = np.where(lag < 0, -zone, zone) + len(COUNT_LAGS_S) - 1
    far = np.clip((pitch[j] - pitch[:, None] + 3 * (COUNT_BINS // 2) + 1) // 3, 0, COUNT_BINS - 1)
    place = (i * zones + zone) * COUNT_BINS + far
    count = np.bincount(place[inside], minlength=n * zones * COUNT_BINS).reshape(n, zones * COUNT_BINS)
    return np.asarray(np.log1p(count), dtype=np.float32)


def _window(n: int) -> Ints:
    """The indices around every note, possibly beyond the ends, shape (n, 2 * REACH + 1)."""
    return np.arange(n)[:, None] + np.arange(-REACH, REACH + 1)


def relations(
    onset_s: Floats, offset_s: Floats, pitch: Ints, rows: Ints, columns: Ints
) -> tuple[Ints, NDArray[np.bool_]]:
    """For pairs of notes: where the second lies seen from the first (of PITCHES * TIMES places), and whether the
    earlier one still sounds when the later one begins."""
    lag = onset_s[columns] - onset_s[rows]
    zone = np.searchsorted(LAGS_S, np.abs(lag))
    time = np.where(lag < 0, -zone, zone) + len(LAGS_S)
    far = np.clip(pitch[columns] - pitch[rows], -FAR, FAR) + FAR
    sounds = np.where(lag < 0, offset_s[columns] > onset_s[rows] + TOGETHER_S,
                      offset_s[rows] > onset_s[columns] + TOGETHER_S)
    return far * TIMES + time, sounds


_Near = list[tuple[int, int, int, int, Ints, NDArray[np.bool_], Floats32]]


def _neighbours(onset_s: Floats, offset_s: Floats, pitch: Ints) -> _Near:
    """Blocks of notes and those that they look at: rows a..b, columns lo..hi, relations, -inf where too far."""
    n, result = len(pitch), []
    for a in range(0, n, REACH):
        b, lo, hi = min(a + REACH, n), max(a - REACH, 0), min(a + 2 * REACH, n)
        rows, columns = np.arange(a, b)[:, None], np.arange(lo, hi)[None, :]
        place, sounds = relations(onset_s, offset_s, pitch, rows, columns)
        far = np.where(np.abs(rows - columns) > REACH, np.float32(-np.inf), np.float32(0.0))
        result.append((a, b, lo, hi, place, sounds, far))
    return result


def _attended(qkv: Floats32, near: _Near, place_bias: Floats32, held: Floats32, nobody: Floats32) -> Floats32:
    n, size = len(qkv), HIDDEN // HEADS
    query, key, value = (x.reshape(n, HEADS, size).transpose(1, 0, 2) for x in np.split(qkv, 3, axis=1))
    query = query / np.float32(np.sqrt(size))
    out = np.empty((n, HEADS, size), dtype=np.float32)
    for a, b, lo, hi, place, sounds, far in near:
        score = query[:, a:b] @ key[:, lo:hi].transpose(0, 2, 1)
        score += place_bias[:, place]
        score += held[:, None, None] * sounds
        score += far
        top = np.maximum(score.max(axis=2, keepdims=True), nobody[:, None, None])
        share = np.exp(score - top)
        share /= share.sum(axis=2, keepdims=True) + np.exp(nobody[:, None, None] - top)
        out[a:b] = (share @ value[:, lo:hi]).transpose(1, 0, 2)
    return out.reshape(n, HIDDEN)


@lru_cache(maxsize=1)
def _weights() -> dict[str, Floats32]:
    return weights_in(WEIGHTS)
