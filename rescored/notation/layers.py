"""Layers that the small networks of this package share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats32 = NDArray[np.float32]


def normed(x: Floats32, weights: dict[str, Floats32], name: str) -> Floats32:
    """Layer normalisation of rows (n, width) with the weight and bias of this name (Ba, Kiros & Hinton 2016)."""
    centred = x - x.mean(axis=1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
    return np.asarray(scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"])


def shifted(x: Floats32, by: int) -> Floats32:
    """Every row beside the rows `by` before and after it, zeros beyond the ends: (n, 3 * width)."""
    n, width = x.shape
    out = np.zeros((n, 3 * width), dtype=np.float32)
    out[by:, :width] = x[: max(n - by, 0)]
    out[:, width : 2 * width] = x
    out[: max(n - by, 0), 2 * width :] = x[by:]
    return out


def convolved(what: Floats32, weights: dict[str, Floats32], dilations: tuple[int, ...]) -> Floats32:
    """What temporal convolutions of these dilations say of rows (n, width): (n, outputs)."""
    w = weights
    x = np.clip((what - w["mean"]) / w["scale"], -5.0, 5.0) @ w["in.weight"] + w["in.bias"]
    for k, dilation in enumerate(dilations):
        h = np.maximum(normed(x, w, f"norm{k}"), 0.0)
        x = x + shifted(h, dilation) @ w[f"conv{k}.weight"] + w[f"conv{k}.bias"]
    return np.asarray(np.maximum(normed(x, w, "norm"), 0.0) @ w["out.weight"] + w["out.bias"])
