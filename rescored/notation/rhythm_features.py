"""What a musician hears in every onset: the input of the metre model.

An onset is a cluster of notes struck together. Its features are local (gaps, chord, register,
loudness, length, harmony) and periodic: whether something sounds again one lag later or earlier, and
how much the surrounding seconds repeat at that lag in rhythm, in the bass and in pitch (a tempogram
and a self-similarity; Foote & Uchihashi 2001, Grosche & Müller 2011). All times enter as logarithms
of seconds, so that the model can learn which tempi are written how.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..music import Floats, Ints
from .clusters import cluster, cluster_times

LAGS_S: Floats = 0.1 * 2.0 ** (np.arange(38) / 6.0)  # a sixth of an octave apart, 0.1 to 7.2 s
_WINDOW_S = 6.0  # half the window over which repetition is judged
LOCAL = 34
WIDTH = LOCAL + 6 * len(LAGS_S)


@dataclass(frozen=True, eq=False)
class Onsets:
    """Clusters of notes: `times_s` (n,), strictly increasing, and `features` (n, WIDTH)."""

    times_s: Floats
    features: NDArray[np.float32]


def hear_onsets(onsets_s: Floats, offsets_s: Floats, pitches: Ints, velocities: Ints) -> Onsets:
    """Clusters and their features; the notes must be sorted by onset. Shape (n,) each, n >= 1."""
    index = cluster(onsets_s)
    times = cluster_times(onsets_s, index)
    order = np.lexsort((pitches, index))
    local, bass, chroma, mask = _local(
        times, index[order], onsets_s[order], offsets_s[order], pitches[order], velocities[order].astype(np.float64)
    )
    periodic = _periodic(times, LAGS_S, bass, chroma, mask, np.log1p(np.bincount(index)), _WINDOW_S)
    return Onsets(times, np.concatenate([local, periodic], axis=1).astype(np.float32))


@njit(cache=True)
def _log_s(seconds: float) -> float:
    """A time as a number around 0: octaves from a quarter of a second."""
    return float(np.log2((max(seconds, 0.0) + 0.02) / 0.25))


@njit(cache=True)
def _local(times, of, begin, end, pitch, velocity):  # type: ignore[no-untyped-def]
    """Features of every cluster by itself and its neighbours; also bass flags, chroma and pitch sets."""
    n, notes = len(times), len(begin)
    size = np.zeros(n)
    low = np.full(n, 127.0)
    high = np.zeros(n)
    loud = np.zeros(n)
    bass_loud = np.zeros(n)
    top_loud = np.zeros(n)
    hold = np.zeros(n)
    bass_hold = np.zeros(n)
    top_hold = np.zeros(n)
    below = np.zeros(n)
    spread = np.zeros(n)
    chroma = np.zeros((n, 12))
    mask = np.zeros((n, 2), dtype=np.uint64)
    first = np.full(n, 1e18)
    last = np.full(n, -1e18)
    for i in range(notes):
        k, p, length = of[i], pitch[i], end[i] - begin[i]
        size[k] += 1.0
        if p < low[k]:
            low[k], bass_loud[k], bass_hold[k] = p, velocity[i], length
        if p >= high[k]:
            high[k], top_loud[k], top_hold[k] = p, velocity[i], length
        loud[k] = max(loud[k], velocity[i])
        hold[k] = max(hold[k], length)
        below[k] += 1.0 if p < 55 else 0.0
        first[k] = min(first[k], begin[i])
        last[k] = max(last[k], begin[i])
        spread[k] = last[k] - first[k]
        chroma[k, p % 12] += min(length, 1.0) + 0.1
        mask[k, 1 if p >= 64 else 0] |= np.uint64(1) << np.uint64(p % 64)
    bass = np.zeros(n)
    out = np.zeros((n, LOCAL))
    lo, hi, a, b, c, d = 0, 0, 0, 0, 0, 0
    total_loud, total_sq, total_low, total_high = 0.0, 0.0, 0.0, 0.0
    for k in range(n):
        t = times[k]
        # loudness and register against the eight seconds around
        while hi < n and times[hi] < t + 4.0:
            total_loud += loud[hi]
            total_sq += loud[hi] ** 2
            total_low += low[hi]
            total_high += high[hi]
            hi += 1
        while times[lo] < t - 4.0:
            total_loud -= loud[lo]
            total_sq -= loud[lo] ** 2
            total_low -= low[lo]
            total_high -= high[lo]
            lo += 1
        count = hi - lo
        mean = total_loud / count
        sd = np.sqrt(max(total_sq / count - mean**2, 0.0)) + 3.0
        while times[a] < t - 1.0:
            a += 1
        while b < n and times[b] < t + 1.0:
            b += 1
        x = out[k]
        x[0] = _log_s(t - times[k - 1]) if k > 0 else 3.0
        x[1] = _log_s(times[k + 1] - t) if k + 1 < n else 3.0
        x[2] = _log_s(times[k - 1] - times[k - 2]) if k > 1 else 3.0
        x[3] = _log_s(times[k + 2] - times[k + 1]) if k + 2 < n else 3.0
        x[4] = x[1] - x[0]
        x[5] = np.log2(size[k])
        x[6] = (low[k] - 50.0) / 15.0
        x[7] = (high[k] - 70.0) / 15.0
        x[8] = (low[k] - total_low / count) / 10.0
        x[9] = (high[k] - total_high / count) / 10.0
        x[10] = (loud[k] - mean) / sd
        x[11] = (bass_loud[k] - mean) / sd
        x[12] = (top_loud[k] - mean) / sd
        x[13] = _log_s(min(hold[k], 6.0))
        x[14] = _log_s(min(bass_hold[k], 6.0))
        x[15] = _log_s(min(top_hold[k], 6.0))
        x[16] = below[k] / 2.0
        x[17] = spread[k] / 0.03
        j = k + 1
        while j < n and times[j] - t < 5.0 and low[j] > low[k] + 2:
            j += 1
        x[18] = _log_s(min(times[j] - t if j < n else 5.0, 5.0))
        j = k - 1
        while j >= 0 and t - times[j] < 5.0 and low[j] > low[k] + 2:
            j -= 1
        x[19] = _log_s(min(t - times[j] if j >= 0 else 5.0, 5.0))
        j = k + 1
        while j < n and times[j] - t < 5.0 and high[j] < high[k] - 4:
            j += 1
        x[20] = _log_s(min(times[j] - t if j < n else 5.0, 5.0))
        j = k - 1
        while j >= 0 and t - times[j] < 5.0 and high[j] < high[k] - 4:
            j -= 1
        x[21] = _log_s(min(t - times[j] if j >= 0 else 5.0, 5.0))
        x[22] = min(max((low[k] - low[k - 1]) / 12.0, -2.0), 2.0) if k > 0 else 0.0
        x[23] = min(max((high[k] - high[k - 1]) / 12.0, -2.0), 2.0) if k > 0 else 0.0
        x[24] = min(max((low[k + 1] - low[k]) / 12.0, -2.0), 2.0) if k + 1 < n else 0.0
        x[25] = min(max((high[k + 1] - high[k]) / 12.0, -2.0), 2.0) if k + 1 < n else 0.0
        x[26] = np.log2((b - a) / 8.0)
        x[27] = np.log2(count / 32.0)
        lowest = 127.0
        for j in range(a, b):
            lowest = min(lowest, low[j])
        bass[k] = 1.0 if low[k] <= lowest + 2 else 0.0
        x[28] = bass[k]
        # how much the harmony changes here, in three widths
        for w in range(3):
            width = 0.35 * 2.0**w
            before, after, both = 0.0, 0.0, 0.0
            c, d = k, k
            while c > 0 and times[c - 1] > t - width:
                c -= 1
            while d < n and times[d] < t + width:
                d += 1
            for q in range(12):
                u, v = 0.0, 0.0
                for j in range(c, k):
                    u += chroma[j, q]
                for j in range(k, d):
                    v += chroma[j, q]
                before += u * u
                after += v * v
                both += u * v
            x[29 + w] = 1.0 - both / np.sqrt(before * after) if before > 0.0 else 1.0
        x[32] = 1.0 if k > 0 and mask[k, 0] == mask[k - 1, 0] and mask[k, 1] == mask[k - 1, 1] else 0.0
        x[33] = 1.0 if k > 0 and high[k] == high[k - 1] else 0.0
    return out, bass, chroma, mask


@njit(cache=True)
def _bits(x):  # type: ignore[no-untyped-def]
    """How many bits of a 64-bit number are set."""
    count = 0
    while x:
        x &= x - np.uint64(1)
        count += 1
    return count


@njit(cache=True)
def _periodic(times, lags, bass, chroma, mask, weight, window):  # type: ignore[no-untyped-def]
    """Per lag: an onset ahead, an onset behind, and repetition around in rhythm, bass, pitch, harmony."""
    n, m = len(times), len(lags)
    out = np.zeros((n, 6 * m))
    unit = np.zeros((n, 12))
    for k in range(n):
        norm = np.sqrt((chroma[k] ** 2).sum()) + 1e-9
        unit[k] = chroma[k] / norm
    here = np.zeros((n, 4))
    for q in range(m):
        lag = lags[q]
        sd = 0.04 * lag + 0.008
        j = 0
        for k in range(n):
            goal = times[k] + lag
            while j < n - 1 and abs(times[j + 1] - goal) <= abs(times[j] - goal):
                j += 1
            z = (times[j] - goal) / sd
            near = np.exp(-0.5 * z * z) if j != k else 0.0
            out[k, q] = near
            here[k, 0] = near * weight[j]
            here[k, 1] = near * bass[j]
            here[k, 2] = 0.0
            here[k, 3] = 0.0
            if near > 0.05:
                union = _bits(mask[k, 0] | mask[j, 0]) + _bits(mask[k, 1] | mask[j, 1])
                common = _bits(mask[k, 0] & mask[j, 0]) + _bits(mask[k, 1] & mask[j, 1])
                here[k, 2] = near * common / union
                here[k, 3] = near * (unit[k] * unit[j]).sum()
        j = 0
        for k in range(n):
            goal = times[k] - lag
            while j < n - 1 and abs(times[j + 1] - goal) <= abs(times[j] - goal):
                j += 1
            z = (times[j] - goal) / sd
            out[k, m + q] = np.exp(-0.5 * z * z) if j != k else 0.0
        lo, hi = 0, 0
        total = np.zeros(6)
        for k in range(n):
            while hi < n and times[hi] <= times[k] + window:
                total[0] += here[hi, 0] * weight[hi]
                total[1] += here[hi, 1] * bass[hi]
                total[2] += here[hi, 2]
                total[3] += here[hi, 3]
                total[4] += weight[hi]
                total[5] += bass[hi]
                hi += 1
            while times[lo] < times[k] - window:
                total[0] -= here[lo, 0] * weight[lo]
                total[1] -= here[lo, 1] * bass[lo]
                total[2] -= here[lo, 2]
                total[3] -= here[lo, 3]
                total[4] -= weight[lo]
                total[5] -= bass[lo]
                lo += 1
            out[k, 2 * m + q] = total[0] / (total[4] + 1e-6)
            out[k, 3 * m + q] = total[1] / (total[5] + 1e-6)
            out[k, 4 * m + q] = total[2] / (hi - lo)
            out[k, 5 * m + q] = total[3] / (hi - lo)
    return out
