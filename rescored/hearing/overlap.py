"""Long sounds through a network that hears a few seconds: cut, estimate in batches, cross-fade.

The cutting is Demucs' own (`demucs.apply.apply_model`: Défossez 2021; Rouard, Massa & Défossez 2023),
so the result is too; but blocks are given out as soon as they are finished, and nothing else is held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from ..room import Samples, blocks, let_go

Estimate = Callable[[Samples], Samples]  # (batch, channels, segment) -> (batch, stems, channels, segment)


@dataclass(frozen=True)
class Level:
    """Mean and deviation of the mono mix: networks hear sounds brought to 0 and 1."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, samples: Samples) -> Level:
        """Of samples (channels, n)."""
        n, total, squares = max(samples.shape[1], 1), 0.0, 0.0
        for _, block in blocks(samples):
            mono = block.mean(axis=0, dtype=np.float64)
            total, squares = total + float(mono.sum()), squares + float(mono @ mono)
        return cls(total / n, max(squares / n - (total / n) ** 2, 0.0) ** 0.5 + 1e-8)


def cut(samples: Samples, start: int, length: int, level: Level) -> Samples:
    """`length` samples from `start`, brought to the level; zeros beyond both ends."""
    window = np.zeros((samples.shape[0], length), dtype=np.float32)
    low, high = max(start, 0), min(start + length, samples.shape[1])
    window[:, low - start : high - start] = (samples[:, low:high] - level.mean) / level.deviation
    return window


def offsets(n: int, segment: int, overlap: float, origin: int = 0) -> range:
    """Where segments begin. `origin` <= 0 is the place of the first."""
    return range(origin, n, int((1 - overlap) * segment))


def overlap_add(
    estimate: Estimate, samples: Samples, level: Level, *, segment: int, overlap: float, batch: int = 1, origin: int = 0
) -> Iterator[tuple[int, Samples]]:
    """Yield (start, block) of the stems in order, blocks of shape (stems, channels, m), without gaps.

    Each segment counts with a triangular weight, so neighbours cross-fade over their overlap. The
    last segment, which is shorter, is estimated with what sounds before it, and zeros after it.
    """
    n, starts = samples.shape[1], iter(offsets(n := samples.shape[1], segment, overlap, origin))
    stride = int((1 - overlap) * segment)
    half = segment // 2
    ramp = np.concatenate([np.arange(1, half + 1), np.arange(segment - half, 0, -1)]).astype(np.float32)
    ramp /= ramp.max()
    weight = np.zeros(segment, dtype=np.float32)
    pending: Any = None
    while some := list(islice(starts, batch)):
        lengths = [min(segment, n - start) for start in some]
        skips = [(segment - length) // 2 for length in lengths]
        windows = [cut(samples, start - skip, segment, level) for start, skip in zip(some, skips, strict=True)]
        for start, length, skip, stems in zip(some, lengths, skips, estimate(np.stack(windows)), strict=True):
            if pending is None:
                pending = np.zeros_like(stems)
            pending[..., :length] += ramp[:length] * stems[..., skip : skip + length]
            weight[:length] += ramp[:length]
            done = min(stride, length)
            block = pending[..., :done] / weight[:done] * level.deviation + level.mean
            yield (start, block) if start >= 0 else (0, block[..., -start:])
            let_go(samples)
            for held in (pending, weight):
                held[..., : segment - stride] = held[..., stride:].copy()
                held[..., segment - stride :] = 0.0
