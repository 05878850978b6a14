"""Sound at another rate."""

from __future__ import annotations

import numpy as np
import soxr

from ..music import Audio
from ..room import Samples, blocks, zeros


def resample(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    """Samples, shape (channels, n) or (n,), band-limited by libsoxr; the same array if the rates are equal."""
    if from_hz == to_hz:
        return samples
    rows = np.atleast_2d(samples)
    return _streamed(rows, from_hz, to_hz).reshape(*samples.shape[:-1], -1)


def mono_at(audio: Audio, rate_hz: int) -> Samples:
    """The mean of the channels at a rate, shape (n,)."""
    return audio.mono if audio.rate_hz == rate_hz else _streamed(audio.samples, audio.rate_hz, rate_hz, mix=True)[0]


def _streamed(samples: Samples, from_hz: int, to_hz: int, *, mix: bool = False) -> Samples:
    """(channels, n) at another rate, one channel if they are to be mixed: what `soxr.resample` gives, to the bit."""
    channels = 1 if mix else len(samples)
    stream = soxr.ResampleStream(from_hz, to_hz, channels, dtype="float32", quality="HQ")
    result, end, n = zeros((channels, -(-samples.shape[1] * to_hz // from_hz) + 1)), 0, samples.shape[1]
    for start, block in blocks(samples):
        heard = block.mean(axis=0, keepdims=True) if mix else block
        made = stream.resample_chunk(np.ascontiguousarray(heard.T), last=start + block.shape[1] >= n).T
        result[:, end : end + made.shape[1]] = made
        end += made.shape[1]
    return result[:, :end]
