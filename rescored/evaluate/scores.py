"""Figures on what is written: metre, key, rhythm, staves, names and clutter, and MV2H."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property

import numpy as np

from ..music import Floats, Ints
from .mv2h import music_of, mv2h
from .reading import CLUTTER, Printed, ScoreNote, Written

_TEMPO_FACTORS = (1.0, 0.5, 2.0, 0.25, 4.0)  # a score in other note values throughout is not wrong in every note
_EQUAL_QL = 0.03  # less than the gap between a 16th and a triplet quaver
_WINDOW_QL = 2.0  # how far apart two corresponding notes may lie once the scores are aligned


def score_figures(estimate: Written, reference: Written) -> dict[str, float]:
    """Everything that the two scores allow to compare; see `FIGURES` for what each means."""
    pairs = Alignment(estimate, reference)
    rhythm = _rhythm(pairs)
    parts = mv2h(music_of(estimate, pairs.to_reference), music_of(reference))
    figures = {
        "time_signature": float(estimate.time_signature == reference.time_signature),
        "key": float(estimate.key == reference.key),
        "measures": len(estimate.measures.measures) / max(len(reference.measures.measures), 1),
        "matched": len(pairs.notes) / max(len(reference.notes), 1),
        "matched_precision": len(pairs.notes) / max(len(estimate.notes), 1),
        **rhythm,
        **{name if name == "mv2h" else f"mv2h_{name}": value for name, value in parts.items()},
        "staff": _share(rank == true for rank, true in zip(*pairs.staff_ranks, strict=True)),
        "spelling": _share((e.step, e.alter) == (r.step, r.alter) for e, r in pairs.notes),
    }
    if estimate.printed and reference.printed:
        figures |= _readability(estimate.printed, reference.printed, len(estimate.notes), len(reference.notes))
    return figures


class Alignment:
    """Corresponding notes of two scores, whatever their tempo, and the map between their places.

    A longest common subsequence of pitches gives a first, rising, piecewise linear map; on it every
    note takes the nearest of its pitch within two quarters, nearest pairs first.
    """

    def __init__(self, estimate: Written, reference: Written):
        self.estimate, self.reference = estimate, reference
        self._knots = np.array([[0.0, 1.0], [0.0, 1.0]])  # rows: estimate's quarters, reference's
        common: dict[float, list[float]] = defaultdict(list)
        pitches = (np.array([n.pitch for n in score.notes], dtype=np.int64) for score in (reference, estimate))
        for i, j in _longest_common(*pitches):
            common[reference.notes[i].onset_ql].append(estimate.notes[j].onset_ql)
        places = sorted(common)
        rising = _rising(np.array([np.median(common[place]) for place in places]))
        if len(rising) >= 2:
            self._knots = np.array([[float(np.median(common[places[k]])) for k in rising], [places[k] for k in rising]])

    def to_reference(self, ql: float) -> float:
        """The reference's place for one of the estimate's; straight on beyond the ends."""
        xs, ys = self._knots
        k = min(max(int(np.searchsorted(xs, ql, side="right")) - 1, 0), len(xs) - 2)
        return float(ys[k] + (ql - xs[k]) * (ys[k + 1] - ys[k]) / (xs[k + 1] - xs[k]))

    @cached_property
    def notes(self) -> list[tuple[ScoreNote, ScoreNote]]:
        """(estimate's, reference's) corresponding notes, in the order of the reference."""
        by_pitch: dict[int, list[tuple[int, float]]] = defaultdict(list)
        for j, note in enumerate(self.estimate.notes):
            by_pitch[note.pitch].append((j, self.to_reference(note.onset_ql)))
        distances = sorted(
            (abs(place - note.onset_ql), i, j)
            for i, note in enumerate(self.reference.notes) for j, place in by_pitch[note.pitch]
            if abs(place - note.onset_ql) <= _WINDOW_QL)
        partner: dict[int, int] = {}
        taken: set[int] = set()
        for _, i, j in distances:
            if i not in partner and j not in taken:
                partner[i] = j
                taken.add(j)
        return [(self.estimate.notes[j], self.reference.notes[i]) for i, j in sorted(partner.items())]

    @property
    def staff_ranks(self) -> tuple[list[int], list[int]]:
        """Staves of the corresponding notes, counted from the top of those that have notes."""
        columns = []
        for side, score in enumerate((self.estimate, self.reference)):
            staves = sorted({n.staff for n in score.notes})
            columns.append([staves.index(pair[side].staff) for pair in self.notes])
        return columns[0], columns[1]


def _longest_common(a: Ints, b: Ints) -> list[tuple[int, int]]:
    """Longest common subsequence as index pairs; a row of the table at a time."""
    table = np.zeros((len(a) + 1, len(b) + 1), dtype=np.int16)
    for i, value in enumerate(a):
        table[i + 1, 1:] = np.maximum.accumulate(np.maximum(table[i, 1:], table[i, :-1] + (b == value)))
    pairs, i, j = [], len(a), len(b)
    while i and j:
        if a[i - 1] == b[j - 1] and table[i, j] == table[i - 1, j - 1] + 1:
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif table[i - 1, j] >= table[i, j - 1]:
            i -= 1
        else:
            j -= 1
    return pairs[::-1]


def _rising(values: Floats) -> list[int]:
    """Indices of a longest strictly rising subsequence (patience sorting)."""
    tails: list[float] = []
    last: list[int] = []
    before: list[int] = []
    for i, value in enumerate(values):
        k = int(np.searchsorted(tails, value))
        before.append(last[k - 1] if k else -1)
        tails[k:k + 1] = [float(value)]
        last[k:k + 1] = [i]
    chain, i = [], last[-1] if last else -1
    while i >= 0:
        chain.append(i)
        i = before[i]
    return chain[::-1]


def _rhythm(pairs: Alignment) -> dict[str, float]:
    """Intervals from onset to onset, and lengths, after the one tempo factor that suits the intervals best."""
    onset, true_onset = (np.array([pair[side].onset_ql for pair in pairs.notes]) for side in (0, 1))
    length, true_length = (np.array([pair[side].duration_ql for pair in pairs.notes]) for side in (0, 1))
    if len(onset) < 2:
        return {"ioi": 0.0, "duration": 0.0}
    right = {f: float((np.abs(f * np.diff(onset) - np.diff(true_onset)) <= _EQUAL_QL).mean()) for f in _TEMPO_FACTORS}
    factor = max(right, key=lambda f: right[f])
    return {"ioi": right[factor], "duration": float((np.abs(factor * length - true_length) <= _EQUAL_QL).mean())}


def _share(hits: Iterable[bool]) -> float:
    values = list(hits)
    return sum(values) / len(values) if values else 0.0


def _readability(printed: Printed, true: Printed, notes: int, true_notes: int) -> dict[str, float]:
    """Printed signs a note against the reference's: 1 is as readable, more is more cluttered.

    Of a single kind the reference may have none, so one is added to either count.
    """
    same = true_notes / max(notes, 1)  # as if there were as many notes
    return {
        "voices": printed.voices / max(true.voices, 1e-9),
        "clutter": same * printed.signs.total() / max(true.signs.total(), 1),
        **{kind: (same * printed.signs[kind] + 1) / (true.signs[kind] + 1) for kind in CLUTTER},
    }
