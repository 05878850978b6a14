"""Small networks that read onsets as a musician does: where beats and downbeats fall, and in which metre.

Temporal convolutions of growing dilation over onset clusters (Bai, Kolter & Koltun 2018) alternate with layers that
work on every onset alone and with attention to the onsets around, whose rotary positions are times (after Su et al.
2021), so that it can look a beat or a measure back whatever is struck between. The larger of two such networks, of 4.9
million weights, has learned from players as free as the Romantic ones and needs much music around; the smaller one, of
1.8 million, from steadier players, and counts the more the shorter a piece is: beyond some 700 onsets it is not asked.
Both were learned by `tools/train_metre.py`; inference is plain NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..models import weights_in
from ..music import Floats
from .layers import Floats32, normed, shifted

METRES = ("2/4", "3/4", "4/4", "2/2", "3/8", "6/8", "9/8", "12/8")
PERIODS_S = 0.18 * 2.0 ** (np.arange(20) / 4.0)  # lengths of a beat that are told apart: 0.18 to 4.8 s
HIDDEN = 160
LOOK, THINK = 0, -1  # layers that attend, and those that work on every onset alone
LAYERS = (1, 2, 4, 8, THINK, LOOK, THINK, 1, 2, 4, 8, 16, THINK, LOOK, THINK, 1, 2, 4, 8, 16, 32, THINK, LOOK, THINK,
          1, 2, 4, THINK, LOOK, THINK, 1, 2, 4, 8, 16, THINK, LOOK, THINK, 1, 2, 4, THINK)  # others: dilations
THOUGHT = 640  # width inside the layers that work on every onset alone
HEADS = 5
REACH = 256  # onsets to either side that attention sees
BLOCK = 128  # onsets whose attention is computed at once
WAVES_S = 0.2 * 2.0 ** (np.arange(HIDDEN // HEADS // 2) / 2.0)  # of the rotary positions: 0.2 to 36 s
FREE, PLAIN = (Path(__file__).with_name(name) for name in ("rhythm_net.npz", "rhythm_net_plain.npz"))
EVEN = 160  # onsets of a piece for which both networks count alike; chosen on held-out pieces and the tests' plain ones
LEAST_SHARE = 0.05  # of a network that is asked at all
LEAST = 1e-12  # a probability


@dataclass(frozen=True, eq=False)
class Reading:
    """Log probabilities for every onset."""

    position: Floats32  # (n, 3): no beat, a beat that is no downbeat, a downbeat
    tempo: Floats32  # (n, metres, periods): the metre together with the length of its beat


def read_rhythm(times_s: Floats, features: Floats32) -> Reading:
    """What the networks make of onsets, as from `rhythm_features.hear_onsets`: (n,) and (n, WIDTH)."""
    plain = 1.0 / (1.0 + (len(times_s) / EVEN) ** 2)
    shares = {path: share for path, share in ((FREE, 1.0 - plain), (PLAIN, plain)) if share > LEAST_SHARE}
    read = [[share / sum(shares.values()) * p for p in _probabilities(times_s, features, _weights(path))]
            for path, share in shares.items()]
    position, tempo = (np.log(sum(parts) + LEAST) for parts in zip(*read, strict=True))
    return Reading(position, tempo.reshape(len(tempo), len(METRES), len(PERIODS_S)))


def _probabilities(times_s: Floats, features: Floats32, w: dict[str, Floats32]) -> tuple[Floats32, Floats32]:
    """Of a reading's positions and of its metres with beat lengths, by one network."""
    x = np.clip((features - w["mean"]) / w["scale"], -5.0, 5.0) @ w["in.weight"] + w["in.bias"]
    turn = np.exp(2j * np.pi * times_s[:, None] / WAVES_S).astype(np.complex64)
    for k, dilation in enumerate(LAYERS):
        if f"norm{k}.weight" not in w:
            continue  # one of fewer layers
        h = normed(x, w, f"norm{k}")
        if dilation == THINK:
            h = np.maximum(h @ w[f"think{k}.weight"] + w[f"think{k}.bias"], 0.0)
            x = x + h @ w[f"tell{k}.weight"] + w[f"tell{k}.bias"]
        elif dilation != LOOK:
            x = x + shifted(np.maximum(h, 0.0), dilation) @ w[f"conv{k}.weight"] + w[f"conv{k}.bias"]
        else:
            looked = _attended(np.asarray(h @ w[f"look{k}.weight"], dtype=np.float32), turn)
            x = x + looked @ w[f"mix{k}.weight"]
    y = np.maximum(normed(x, w, "norm"), 0.0) @ w["out.weight"] + w["out.bias"]
    return _softmax(y[:, :3]), _softmax(y[:, 3:])


@lru_cache(maxsize=2)
def _weights(path: Path) -> dict[str, Floats32]:
    return weights_in(path)


def _attended(qkv: Floats32, turn: NDArray[np.complex64]) -> Floats32:
    """Attention of every onset to those within `REACH`, block by block; `qkv` (n, 3 * HIDDEN)."""
    n, size = len(qkv), HIDDEN // HEADS
    query, key, value = (x.reshape(n, HEADS, size).transpose(1, 0, 2) for x in np.split(qkv, 3, axis=1))
    query, key = _turned(query, turn) / np.float32(np.sqrt(size)), _turned(key, turn)
    out = np.empty((n, HEADS, size), dtype=np.float32)
    for a in range(0, n, BLOCK):
        b, lo, hi = min(a + BLOCK, n), max(a - REACH, 0), min(a + BLOCK + REACH, n)
        far = np.abs(np.arange(a, b)[:, None] - np.arange(lo, hi)) > REACH
        score = query[:, a:b] @ key[:, lo:hi].transpose(0, 2, 1)
        score += np.where(far, np.float32(-np.inf), np.float32(0.0))
        score -= score.max(axis=2, keepdims=True)
        np.exp(score, out=score)
        out[a:b] = (score @ value[:, lo:hi] / score.sum(axis=2, keepdims=True)).transpose(1, 0, 2)
    return out.reshape(n, HIDDEN)


def _turned(x: Floats32, turn: NDArray[np.complex64]) -> Floats32:
    """Halves of the last axis as real and imaginary parts, turned by each onset's time."""
    half = x.shape[2] // 2
    z = (x[..., :half] + 1j * x[..., half:]) * turn
    return np.concatenate([z.real, z.imag], axis=2)


def _softmax(x: Floats32) -> Floats32:
    x = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(x / x.sum(axis=1, keepdims=True), dtype=np.float32)
