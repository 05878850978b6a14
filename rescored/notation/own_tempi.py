"""The tempo marks that a MIDI file states, where its beats hold: as it states them, not as they would be heard."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import groupby

import numpy as np

from ..music import BeatGrid, Floats, Measure, StatedMetre, TempoMark

SAME = 0.02  # share by which a tempo that comes back may differ
FIRM = 0.5  # share of the music that goes at tempi that stand
GRADUAL_QL = 2.0  # what changes for less is a fermata or a breath


def stated_tempi(stated: StatedMetre, grid: BeatGrid, measures: Sequence[Measure], *, swing: bool) -> list[TempoMark]:
    """A mark wherever a tempo begins that stands for a measure or more, "rit." or "accel." where many pass.

    None where no tempo stands for long: such maps follow a player.
    """
    begin, end = float(measures[0].ql), float(measures[-1].ql + measures[-1].length_ql)
    times_s, places = stated.knots
    of_beat = stated.ql_at(grid.times_s)
    scale = (grid.ql[-1] - grid.ql[0]) / (of_beat[-1] - of_beat[0])  # other than 1 where the user halves the tempo
    pace = 60.0 * scale * np.diff(places) / np.diff(times_s)
    beyond = np.maximum(places - of_beat[-1], 0.0) + np.minimum(places - of_beat[0], 0.0)
    steps = _merged(np.interp(places, of_beat, grid.ql) + scale * beyond, pace, begin, end)
    full_ql = float(min(m.signature.measure_ql for m in measures))
    standing = [b - a >= full_ql - 1e-3 for a, b, _ in steps]
    if sum(b - a for (a, b, _), firm in zip(steps, standing, strict=True) if firm) < FIRM * (end - begin):
        return []
    marks: list[TempoMark] = []
    now = 0.0
    for firm, run in groupby(range(len(steps)), key=lambda k: standing[k]):
        ks = list(run)
        if firm:
            for k in ks:
                a, _, pace = steps[k]
                gradual = bool(marks) and marks[-1].text in ("rit.", "accel.")
                if not now or abs(pace / now - 1.0) > SAME:
                    marks.append(_mark(grid, a, pace, "Swing" if swing and not marks else ""))
                elif gradual:
                    marks.append(_mark(grid, a, pace, "a tempo"))
                now = pace
        elif now and steps[ks[-1]][1] - steps[ks[0]][0] >= GRADUAL_QL:
            slowest = min(steps[k][2] for k in ks)
            fastest = max(steps[k][2] for k in ks)
            slower = now / slowest > fastest / now
            marks.append(_mark(grid, steps[ks[0]][0], slowest if slower else fastest, "rit." if slower else "accel."))
    if marks and marks[0].ql > measures[0].ql:
        marks.insert(0, _mark(grid, *steps[0][::2], ""))
    return marks


def _merged(at: Floats, pace: Floats, begin: float, end: float) -> list[tuple[float, float, float]]:
    """(from, until, quarters a minute) of the map between two places, equal neighbours in one; the last goes on."""
    result: list[tuple[float, float, float]] = []
    for k in range(len(pace)):
        a, b = max(float(at[k]), begin) if k else begin, min(float(at[k + 1]) if k + 1 < len(pace) else end, end)
        if a >= b:
            continue
        if result and abs(result[-1][2] / pace[k] - 1.0) < 1e-3:
            result[-1] = (result[-1][0], b, result[-1][2])
        else:
            result.append((a, b, float(pace[k])))
    return result


def _mark(grid: BeatGrid, ql: float, quarters_a_minute: float, text: str) -> TempoMark:
    place = Fraction(round(ql * 8), 8)
    beat_ql = next(t.beat_ql for t in reversed(grid.time_signatures) if t.ql <= place or t is grid.time_signatures[0])
    return TempoMark(place, round(quarters_a_minute / float(beat_ql), 1), beat_ql, text)
