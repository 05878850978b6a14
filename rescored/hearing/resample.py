"""Sound at another rate."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray


def resample(samples: NDArray[np.float32], from_hz: int, to_hz: int) -> NDArray[np.float32]:
    """Samples, shape (channels, n) or (n,), band-limited by libsoxr; the same array if the rates are equal."""
    if from_hz == to_hz:
        return samples
    return np.asarray(soxr.resample(samples.T, from_hz, to_hz).T, dtype=np.float32)
