"""Pedal marks as editors set them: in words where the pedal is in use throughout, and signs where it does more.

Where it is changed with every harmony the player does so unasked, and prints say "con pedale" once (Gould,
"Behind Bars", 2011, pp. 331-340). Signs stand where a player would not guess: where the pedal holds for a measure
or longer what the hands have left in a passage without pedal, or is not changed for measures in one with pedal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import groupby

import numpy as np

from ..music import BeatGrid, Floats, Mark, Measure, Part, Performance
from .clefs import cheapest_path

STEP_QL = Fraction(1, 2)  # to which signs are rounded
SHORTEST_QL = Fraction(1)
CHANGE = 3.0  # measures' worth of pedal that the words for it must explain
HELD_MEASURES = 1.0  # so long beyond the keys, where there is else no pedal
UNCHANGED_MEASURES = 2.0  # so long from down to up, where there is
BEGINS, ENDS = "con pedale", "senza pedale"
WITHOUT_MEASURES = 4  # fewer without pedal need no word


def pedal_marks(
    performance: Performance, grid: BeatGrid, measures: Sequence[Measure], *, every: bool = False
) -> list[Mark]:
    """Marks of the pedal under the lowest staff of the first keyboard part; `every`: wherever it goes down and up.

    Signs have an `end_ql` and no text, words a text and no end.
    """
    part = next((p for p in performance.parts if p.staves == 2), None)
    if part is None or not performance.pedal or not performance.notes:
        return []
    down_s, up_s = np.array([(s.start_s, s.end_s) for s in performance.pedal]).T
    if every:
        return _signs(grid.ql_at(down_s), grid.ql_at(up_s), part, measures)
    left_s = _left_s(performance, down_s, up_s)
    stretches = _stretches(left_s, up_s, grid, measures)
    edges = np.array([float(m.ql) for m in measures])
    down, left, up = grid.ql_at(down_s), grid.ql_at(left_s), grid.ql_at(up_s)
    at = np.clip(np.searchsorted(edges, down + float(STEP_QL) / 2, side="right") - 1, 0, len(measures) - 1)
    length = np.array([float(m.signature.measure_ql) for m in measures])[at]
    in_words = np.zeros(len(measures), dtype=np.bool_)
    for first, end in stretches:
        in_words[first:end] = True
    wanted = np.where(in_words[at], up - down >= UNCHANGED_MEASURES * length, up - left >= HELD_MEASURES * length)
    result = _signs(down[wanted], up[wanted], part, measures)
    return result + list(_words(stretches, performance, grid, part, measures))


def _left_s(performance: Performance, down_s: Floats, up_s: Floats) -> Floats:
    """When, each time that the pedal is down, it holds the first note whose key is let go; its end if it holds
    none. Shape (n,)."""
    offsets_s = np.append(np.sort(performance.offsets_s), np.inf)
    return np.asarray(np.minimum(offsets_s[np.searchsorted(offsets_s, down_s)], up_s))


def _stretches(left_s: Floats, up_s: Floats, grid: BeatGrid, measures: Sequence[Measure]) -> list[tuple[int, int]]:
    """Measures (from, until) in which the pedal holds notes most of the time."""
    edges_s = grid.seconds_at(np.array([float(m.ql) for m in measures]
                                       + [float(measures[-1].ql + measures[-1].length_ql)]))
    before_s = np.concatenate([[0.0], np.cumsum(up_s - left_s)])
    k = np.searchsorted(left_s, edges_s, side="right")
    last = np.maximum(k - 1, 0)
    within_s = np.clip(edges_s - left_s[last], 0.0, (up_s - left_s)[last])
    share = np.diff(np.where(k > 0, before_s[last] + within_s, 0.0)) / np.diff(edges_s)
    path = cheapest_path(np.stack([share, 1.0 - share], axis=1), CHANGE)
    runs = (list(g) for _, g in groupby(range(len(path)), key=lambda i: path[i]))
    return [(run[0], run[-1] + 1) for run in runs if path[run[0]]]


def _words(
    stretches: list[tuple[int, int]], performance: Performance, grid: BeatGrid, part: Part, measures: Sequence[Measure]
) -> Iterator[Mark]:
    begin = Fraction(round(float(grid.ql_at(performance.onsets_s[:1])[0]) / float(STEP_QL))) * STEP_QL
    for k, (first, end) in enumerate(stretches):
        yield Mark("pedal", part.id, part.staves, max(measures[first].ql, begin), BEGINS)
        following = stretches[k + 1][0] if k + 1 < len(stretches) else len(measures)
        if following - end >= WITHOUT_MEASURES:
            yield Mark("pedal", part.id, part.staves, measures[end].ql, ENDS)


def _signs(down: Floats, up: Floats, part: Part, measures: Sequence[Measure]) -> list[Mark]:
    """Signs to the eighth; short dabs are left out, and between two there is at least an eighth."""
    end = measures[-1].ql + measures[-1].length_ql
    edges = np.rint(np.stack([down, up], axis=1) / float(STEP_QL)).astype(int)
    spans: list[tuple[Fraction, Fraction]] = []
    for first, last in edges.tolist():
        a, b = max(first * STEP_QL, measures[0].ql), min(last * STEP_QL, end)
        if b - a < SHORTEST_QL:
            continue
        if spans and a - spans[-1][1] < STEP_QL:  # room for the sign of its release
            before, until = spans[-1][0], a - STEP_QL
            if until - before < SHORTEST_QL:
                spans[-1] = (before, b)
                continue
            spans[-1] = (before, until)
        spans.append((a, b))
    return [Mark("pedal", part.id, part.staves, a, "", b) for a, b in spans]
