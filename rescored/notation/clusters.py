"""Notes that were struck together."""

from __future__ import annotations

import numpy as np

from ..music import Floats, Ints


def cluster(onsets_s: Floats, *, gap_s: float = 0.030, span_s: float = 0.070) -> Ints:
    """Index of every note's cluster, shape (n,), counted from 0; `onsets_s` must be sorted.

    Onsets that follow within `gap_s` are one cluster, which lasts `span_s` at most: fingers of a
    chord spread over 30 ms or so (Goebl 2001), while a rolled chord stays apart.
    """
    index = np.zeros(len(onsets_s), dtype=np.int64)
    first = 0
    for i in range(1, len(onsets_s)):
        apart = onsets_s[i] - onsets_s[i - 1] > gap_s or onsets_s[i] - onsets_s[first] > span_s
        first = i if apart else first
        index[i] = index[i - 1] + apart
    return index


def cluster_times(onsets_s: Floats, index: Ints) -> Floats:
    """Mean onset of every cluster, shape (clusters,), seconds."""
    return np.asarray(np.bincount(index, weights=onsets_s) / np.bincount(index), dtype=np.float64)
