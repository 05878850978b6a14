"""A small network that reads onsets as a musician does: where beats and downbeats fall, and in which metre.

A temporal convolution over onset clusters (Bai, Kolter & Koltun 2018) with residual blocks of growing
dilation and a mean over the surrounding minute, about 280,000 weights, learned by
`tools/train_metre.py`. Inference is plain NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

METRES = ("2/4", "3/4", "4/4", "2/2", "3/8", "6/8", "9/8", "12/8")
PERIODS_S = 0.18 * 2.0 ** (np.arange(20) / 4.0)  # lengths of a beat that are told apart: 0.18 to 4.8 s
HIDDEN = 80
DILATIONS = (1, 2, 4, 8, 16, 32, 64, 1, 2, 4, 8)
CONTEXT_AFTER = (3, 7)  # blocks that are followed by a look at the wider context
CONTEXT = 192  # onsets to either side
WEIGHTS = Path(__file__).with_name("rhythm_net.npz")

Floats32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Reading:
    """Log probabilities for every onset."""

    position: Floats32  # (n, 3): no beat, a beat that is no downbeat, a downbeat
    tempo: Floats32  # (n, metres, periods): the metre together with the length of its beat


def read_rhythm(features: Floats32) -> Reading:
    """What the network makes of onsets; `features` as from `rhythm_features.hear_onsets`, (n, WIDTH)."""
    w = _weights()
    x = np.clip((features - w["mean"]) / w["scale"], -5.0, 5.0) @ w["in.weight"] + w["in.bias"]
    contexts = iter(range(len(CONTEXT_AFTER)))
    for k, dilation in enumerate(DILATIONS):
        h = np.maximum(_normed(x) * w[f"norm{k}.weight"] + w[f"norm{k}.bias"], 0.0)
        x = x + _shifted(h, dilation) @ w[f"conv{k}.weight"] + w[f"conv{k}.bias"]
        if k in CONTEXT_AFTER:
            c = next(contexts)
            wide = np.maximum(_around(x) @ w[f"context{c}.weight"] + w[f"context{c}.bias"], 0.0)
            x = x + wide @ w[f"spread{c}.weight"]
    y = np.maximum(_normed(x) * w["norm.weight"] + w["norm.bias"], 0.0) @ w["out.weight"] + w["out.bias"]
    tempo = _log_softmax(y[:, 3:]).reshape(len(y), len(METRES), len(PERIODS_S))
    return Reading(_log_softmax(y[:, :3]), tempo)


@lru_cache(maxsize=1)
def _weights() -> dict[str, Floats32]:
    with np.load(WEIGHTS) as stored:
        return {name: stored[name].astype(np.float32) for name in stored.files}


def _normed(x: Floats32) -> Floats32:
    centred = x - x.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5))


def _shifted(x: Floats32, by: int) -> Floats32:
    """Every row beside the rows `by` before and after it, zeros beyond the ends: (n, 3 * width)."""
    n, width = x.shape
    out = np.zeros((n, 3 * width), dtype=np.float32)
    out[by:, :width] = x[: max(n - by, 0)]
    out[:, width : 2 * width] = x
    out[: max(n - by, 0), 2 * width :] = x[by:]
    return out


def _around(x: Floats32) -> Floats32:
    """Mean over up to `CONTEXT` rows to either side."""
    n = len(x)
    total = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(x, axis=0, dtype=np.float64)])
    lo, hi = np.maximum(np.arange(n) - CONTEXT, 0), np.minimum(np.arange(n) + CONTEXT + 1, n)
    return np.asarray((total[hi] - total[lo]) / (hi - lo)[:, None], dtype=np.float32)


def _log_softmax(x: Floats32) -> Floats32:
    x = x - x.max(axis=1, keepdims=True)
    return np.asarray(x - np.log(np.exp(x).sum(axis=1, keepdims=True)), dtype=np.float32)
