"""A sound cut into overlapping frames, some at a time, so that memory does not grow with its length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..room import Samples, let_go

BLOCK = 1024  # frames at a time


def frames(samples: Samples, window: int, hop: int) -> Iterator[tuple[int, Samples]]:
    """Yield (i, frames i, i + 1 ... of shape (some, window)) of samples (n,), n // hop + 1 in all.

    Frame i is centred on sample i * hop; what lies beyond the ends is silence.
    """
    count = len(samples) // hop + 1
    for first in range(0, count, BLOCK):
        begin = first * hop - window // 2
        inside = cut(samples, begin, (min(BLOCK, count - first) - 1) * hop + window)
        yield first, np.lib.stride_tricks.sliding_window_view(inside, window)[::hop]
        let_go(samples)


def cut(samples: Samples, begin: int, length: int) -> Samples:
    """`length` samples (..., n) from `begin` on, which may lie before the first; silence beyond the ends."""
    inside = samples[..., max(begin, 0) : max(begin + length, 0)]
    before = min(max(-begin, 0), length)
    return np.pad(inside, (*[(0, 0)] * (samples.ndim - 1), (before, length - before - inside.shape[-1])))
