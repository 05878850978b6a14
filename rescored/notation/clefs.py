"""Clefs and octave lines: where a hand stays among ledger lines, the staff follows it.

For clefs a shortest path over the beats of a staff weighs ledger lines against the trouble of a
change (Gould, "Behind Bars", 2011, pp. 7-9); for octave lines one over its chords (pp. 28-31).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from itertools import groupby
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..music import Clef, Floats, Ints, Mark, Measure, Part, WrittenNote
from .layout import ruler_of
from .ticks import to_ql, to_ticks

LOWEST_IN_TREBLE = 55  # a staff whose median pitch is lower is written in the bass clef
TREBLE, BASS = ("G", 2), ("F", 4)
LOWEST_LINE = {TREBLE: 30, BASS: 18}  # as a place on the staff, 7 to the octave: E4, G2
CLEF_CHANGE = 9.0  # ledger lines that must be saved
LEGIBLE = 3  # ledger lines; more have to be counted, and weigh three times as much
WITHIN_MEASURE = 3.0  # ... in addition where the clef does not change with a measure
ODD_CLEF = 0.15  # a note, for the clef that the staff does not usually have
BEARABLE = 2  # ledger lines
OCTAVE_CHANGE = 7.0  # ledger lines beyond the bearable that an octave line must save at either end
OCTAVE_NOTE = 1.1  # for every chord under the line

Name = Literal["G", "F", "C", "percussion"]
CLEFS: dict[str, tuple[Name, int, int]] = {  # of `Part.clef`: sign, line, octaves higher
    "G2": ("G", 2, 0), "G2-8": ("G", 2, -1), "G2+8": ("G", 2, 1), "G2+15": ("G", 2, 2),
    "C3": ("C", 3, 0), "F4": ("F", 4, 0), "F4-8": ("F", 4, -1)}


def choose_clefs(
    notes: Sequence[WrittenNote], parts: Sequence[Part], measures: Sequence[Measure]
) -> tuple[Clef, ...]:
    """The clef of every staff, and where it changes: only in grand staves, with a measure or else with a beat
    across which nothing is held."""
    by_staff: defaultdict[tuple[str, int], list[WrittenNote]] = defaultdict(list)
    for n in notes:
        by_staff[n.part, n.staff].append(n)
    result: list[Clef] = []
    for part in parts:
        for staff in range(1, part.staves + 1):
            own = by_staff[part.id, staff]
            if part.staves == 2:
                usual = TREBLE if staff == 1 else BASS
                result += [Clef(part.id, staff, ql, *clef) for ql, clef in _grand(own, measures, usual)]
            else:
                result.append(Clef(part.id, staff, measures[0].ql, *_single(part, own)))
    return tuple(result)


def _single(part: Part, notes: Sequence[WrittenNote]) -> tuple[Name, int, int]:
    """Sign, line and octave: the instrument's own, else what fits the range."""
    if part.percussion:
        return "percussion", 2, 0
    if part.clef:
        return CLEFS[part.clef]
    low = bool(notes) and np.median([n.pitch for n in notes]) < LOWEST_IN_TREBLE
    if low and part.family == "voice":
        return "G", 2, -1
    return ("F", 4, 0) if low else ("G", 2, 0)


def places(notes: Sequence[WrittenNote]) -> Ints:
    """Where notes stand, 7 to the octave: C4 = 28, shape (n,)."""
    return np.array([7 * n.octave + "CDEFGAB".index(n.step) for n in notes], dtype=np.int64)


def ledger_lines(place: Ints, clef: tuple[str, int]) -> Ints:
    """Ledger lines of notes, shape of `place`."""
    lowest = LOWEST_LINE[clef]
    return np.maximum(np.maximum((lowest - place) // 2, (place - lowest - 8) // 2), 0)


def _grand(
    notes: Sequence[WrittenNote], measures: Sequence[Measure], usual: tuple[str, int]
) -> list[tuple[Fraction, tuple[Name, int]]]:
    """Where a clef stands, and which."""
    beats, first = _beats_of(measures)
    onset, end = (np.array([to_ticks(x) for x in column], dtype=np.int64) for column in (
        [n.onset_ql for n in notes], [n.onset_ql + n.duration_ql for n in notes]))
    place = places(notes)
    of_note = np.clip(np.searchsorted(beats, onset, side="right") - 1, 0, len(beats) - 1)
    cost = np.zeros((len(beats), 2))
    for c, clef in enumerate((TREBLE, BASS)):
        lines = ledger_lines(place, clef)
        each = np.maximum(lines - 1, 0) + 2.0 * np.maximum(lines - LEGIBLE, 0) + ODD_CLEF * (clef != usual)
        np.add.at(cost[:, c], of_note, each)
    begins = (TREBLE, BASS).index(usual)
    cost[0, 1 - begins] += CLEF_CHANGE  # a staff may begin in the odd clef, for a reason
    held = np.zeros(len(beats) + 1, dtype=np.int64)  # how many notes sound across the begin of every beat
    np.add.at(held, of_note + 1, 1)
    np.add.at(held, np.maximum(np.searchsorted(beats, end), of_note + 1), -1)
    change = np.where(first, CLEF_CHANGE, np.where(np.cumsum(held)[:-1] > 0, np.inf, CLEF_CHANGE + WITHIN_MEASURE))
    path = cheapest_path(cost, change)
    runs = [next(g) for _, g in groupby(range(len(path)), key=lambda k: path[k])]
    signs: tuple[tuple[Name, int], ...] = (("G", 2), ("F", 4))
    return [(to_ql(int(beats[k])), signs[path[k]]) for k in runs]


def _beats_of(measures: Sequence[Measure]) -> tuple[Ints, NDArray[np.bool_]]:
    """Where every beat begins, in ticks, and whether a measure does, too."""
    beats: list[int] = []
    first: list[bool] = []
    for m in measures:
        ruler, begin, end = ruler_of(m), to_ticks(m.ql), to_ticks(m.ql + m.length_ql)
        places = range(begin, end, ruler.spans[ruler.beat])
        beats += places
        first += [at == begin for at in places]
    return np.array(beats, dtype=np.int64), np.array(first)


def cheapest_path(cost: Floats, change: float | Floats) -> list[int]:
    """The column of every row with the least sum of `cost`, shape (n, states), and of `change` for every
    change of column; of shape (n,) where it depends on the row that is changed before, inf = never."""
    total = cost[0].copy()
    back = np.zeros(cost.shape, dtype=np.int64)
    own = np.arange(cost.shape[1])
    changes = np.broadcast_to(np.asarray(change, dtype=np.float64), len(cost))
    for k in range(1, len(cost)):
        best = int(total.argmin())
        moves = total[best] + changes[k] < total
        back[k] = np.where(moves, best, own)
        total = np.where(moves, total[best] + changes[k], total) + cost[k]
    path = [int(total.argmin())]
    for k in range(len(cost) - 1, 0, -1):
        path.append(int(back[k, path[-1]]))
    return path[::-1]


def octave_lines(notes: Sequence[WrittenNote], parts: Sequence[Part], clefs: Sequence[Clef]) -> list[Mark]:
    """8va above a treble staff and 8vb below a bass staff, where ledger lines pile up.

    A line begins and ends where no note of its staff is held across.
    """
    result: list[Mark] = []
    for part in parts:
        if part.percussion:
            continue
        for staff in range(1, part.staves + 1):
            own = sorted((n for n in notes if (n.part, n.staff) == (part.id, staff)), key=lambda n: n.onset_ql)
            changes = [c for c in clefs if (c.part, c.staff) == (part.id, staff)]
            if own and all(c.octave == 0 and (c.sign, c.line) in LOWEST_LINE for c in changes):
                result += _octave_lines(own, changes, part.id, staff)
    return result


def _octave_lines(notes: list[WrittenNote], clefs: list[Clef], part: str, staff: int) -> list[Mark]:
    chords = [list(g) for _, g in groupby(notes, key=lambda n: n.onset_ql)]
    of_note = np.repeat(np.arange(len(chords)), [len(chord) for chord in chords])
    treble = np.zeros(len(chords), dtype=bool)
    free, sounding = [], Fraction(-(10**6))
    for k, chord in enumerate(chords):
        at = chord[0].onset_ql
        free.append(sounding <= at)
        sounding = max(sounding, *(n.onset_ql + n.duration_ql for n in chord))
        treble[k] = next((c for c in reversed(clefs) if c.ql <= at), clefs[0]).sign == "G"
    place, high = places(notes), treble[of_note]
    cost = np.zeros((len(chords), 3))  # as it stands, 8va, 8vb
    for state, shift in enumerate((0, -7, 7)):
        lines = np.where(high, ledger_lines(place + shift, TREBLE), ledger_lines(place + shift, BASS))
        np.add.at(cost[:, state], of_note, np.maximum(lines - BEARABLE, 0))
        cost[:, state] += OCTAVE_NOTE if shift else 0.0
    middle = np.where(high, LOWEST_LINE[TREBLE], LOWEST_LINE[BASS]) + 4
    cost[~treble, 1] = cost[treble, 2] = 1e6
    cost[of_note[place < middle], 1] = 1e6  # would sink below the staff's middle
    cost[of_note[place > middle], 2] = 1e6
    cost[0, 1:] += OCTAVE_CHANGE
    path = cheapest_path(cost, np.where(free, OCTAVE_CHANGE, np.inf))
    result = []
    for state, run in groupby(range(len(chords)), key=lambda k: path[k]):
        if state:
            inside = [n for k in run for n in chords[k]]
            end = max(n.onset_ql + n.duration_ql for n in inside)
            result.append(Mark("ottava", part, staff, inside[0].onset_ql, ("8va", "8vb")[state - 1], end))
    return result
