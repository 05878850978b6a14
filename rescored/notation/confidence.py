"""How sure we are of every measure: what speaks against it, weighed by a logistic function.

The weights are what tools/fit_confidence.py finds on real performances whose scores are known; how surely
notes were heard, which those do not tell, has the weight of a doubtful place. They serve to rank the
measures that a person should look at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..music import BeatGrid, Floats, Ints, Measure, Performance, WrittenNote
from .ticks import PER_QUARTER, beat_ticks, to_ticks

NAMES = ("doubtful beats", "most doubtful beat", "notes off their places", "tempo jumps", "fine places",
         "empty downbeat", "notes hardly heard", "grace notes", "unlike its neighbours", "mixed divisions",
         "few notes")
WEIGHTS = np.array([0.0, 0.15, 2.1, 0.65, 3.6, 0.45, 1.0, 0.0, 1.0, 2.3, 8.25])
BIAS = -3.4
NEIGHBOURS = 6  # measures on either side
ASTRAY = 0.25  # beats


def evidence(
    measures: Sequence[Measure], notes: Sequence[WrittenNote], grid: BeatGrid, performance: Performance
) -> Floats:
    """What speaks against every measure, each about 0..1, shape (measures, len(NAMES))."""
    starts = np.array([to_ticks(m.ql) for m in measures])
    result = np.zeros((len(measures), len(NAMES)))

    def of(places: Ints) -> Ints:
        return np.clip(np.searchsorted(starts, places, side="right") - 1, 0, len(measures) - 1)

    def mean(k: Ints, values: Floats, otherwise: float = 0.0) -> Floats:
        count = np.bincount(k, minlength=len(measures))
        total = np.bincount(k, weights=values, minlength=len(measures))
        return np.where(count > 0, total / np.maximum(count, 1), otherwise)

    beats = of(beat_ticks(grid))
    if len(grid.confidence):
        result[:, 0] = mean(beats, 1.0 - grid.confidence)
        np.maximum.at(result[:, 1], beats, 1.0 - grid.confidence)
    pace = np.log(np.diff(grid.times_s) / np.diff(grid.ql))
    jumps = np.minimum(np.abs(np.diff(pace, prepend=pace[0], append=pace[-1])), 1.0)
    np.maximum.at(result[:, 3], beats, jumps)
    main = [n for n in notes if not n.grace]
    if main:
        onset_s = {n.id: n.onset_s for n in performance.notes}
        ticks = np.array([to_ticks(n.onset_ql) for n in main])
        k = of(ticks)
        beat_s = np.median(np.diff(grid.times_s))
        off = np.abs(grid.seconds_at(ticks / PER_QUARTER) - np.array([onset_s[n.id] for n in main])) / beat_s
        result[:, 2] = mean(k, np.minimum(off / ASTRAY, 1.0))
        within = ticks - starts[k]
        result[:, 4] = mean(k, ((within % (PER_QUARTER // 4) != 0) & (within % (PER_QUARTER // 3) != 0)).astype(float))
        struck = np.zeros(len(measures), dtype=bool)
        struck[k[within == 0]] = True
        sounding = np.bincount(k, minlength=len(measures)) > 0
        result[:, 5] = sounding & ~struck
        result[:, 10] = np.where(sounding, 1.0 / np.maximum(np.bincount(k, minlength=len(measures)), 1), 0.0)
        result[:, 6] = mean(k, 1.0 - np.array([n.confidence for n in main]))
        graces = of(np.array([to_ticks(n.onset_ql) for n in notes if n.grace], dtype=np.int64))
        result[:, 7] = np.minimum(np.bincount(graces, minlength=len(measures)) / np.maximum(
            np.bincount(k, minlength=len(measures)), 1), 1.0)
        rhythms: list[set[int]] = [set() for _ in measures]
        for measure, at in zip(k.tolist(), within.tolist(), strict=True):
            rhythms[measure].add(at)
        result[:, 8] = [_unlike(rhythms, i) for i in range(len(measures))]
        result[:, 9] = [_mixed(rhythm) for rhythm in rhythms]
    return result


def _unlike(rhythms: list[set[int]], i: int) -> float:
    """How far the rhythm of a measure is from the most similar one nearby (Jaccard distance)."""
    near = rhythms[max(i - NEIGHBOURS, 0):i] + rhythms[i + 1:i + 1 + NEIGHBOURS]
    return 1.0 - max((len(rhythms[i] & r) / len(rhythms[i] | r) for r in near if r and rhythms[i]), default=1.0)


def _mixed(rhythm: set[int]) -> float:
    """Whether places are halves of halves as well as thirds: the smaller share of the two."""
    halves = sum(at % (PER_QUARTER // 8) == 0 and at % PER_QUARTER != 0 for at in rhythm)
    thirds = sum(at % (PER_QUARTER // 8) != 0 for at in rhythm)
    return 2.0 * min(halves, thirds) / max(halves + thirds, 1)


def with_confidence(
    measures: tuple[Measure, ...], notes: Sequence[WrittenNote], grid: BeatGrid, performance: Performance
) -> tuple[Measure, ...]:
    """The measures with how likely each is right, 0..1."""
    against = evidence(measures, notes, grid, performance) @ WEIGHTS + BIAS
    sure = 1.0 / (1.0 + np.exp(against))
    return tuple(replace(m, confidence=round(float(c), 3)) for m, c in zip(measures, sure, strict=True))
