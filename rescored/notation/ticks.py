"""Exact places in the score as integers, for the inner loops of notation.

A quarter holds 40320 ticks (8!), so every division of a beat by 1 to 10, 12 or 16 is a whole number
of ticks in every metre; outside these loops the same places are `Fraction`s of a quarter.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

import numpy as np

from ..music import BeatGrid, Ints

PER_QUARTER = 40320
_GRID_STEP = PER_QUARTER // 96  # beats lie on 96ths of a quarter: absorbs the float error of `BeatGrid.ql`


def to_ticks(ql: Fraction) -> int:
    """The nearest whole tick."""
    ticks, left = divmod(ql.numerator * PER_QUARTER, ql.denominator)  # mostly there is nothing to round
    return round(ql * PER_QUARTER) if left else ticks


@lru_cache(maxsize=65536)
def to_ql(ticks: int) -> Fraction:
    """Ticks as quarter lengths."""
    return Fraction(ticks, PER_QUARTER)


def beat_ticks(grid: BeatGrid) -> Ints:
    """Where every beat of the grid lies, in ticks, shape (n,)."""
    return np.asarray(np.rint(grid.ql * 96) * _GRID_STEP, dtype=np.int64)
