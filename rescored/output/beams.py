"""Which notes share a beam: by beat, so that a player sees the beats (Gould, Behind Bars, 2011, ch. 6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import groupby
from typing import Literal

from ..music import Measure, Symbol

Beam = Literal["start", "continue", "stop", "partial-left", "partial-right"]
_BEAMS = {"eighth": 1, "16th": 2, "32nd": 3, "64th": 4}
_EIGHTH = Fraction(1, 2)


def beam_groups(symbols: Sequence[Symbol], measure: Measure) -> list[list[int]]:
    """Indices of the symbols under one beam, for the symbols of one voice of one measure, in order.

    A beam covers a beat and stops at rests; a half measure in 4/4 and a whole one in 2/4 and 3/4
    where that holds nothing but eighths.
    """
    main = [i for i, s in enumerate(symbols) if not s.grace]
    spans = _spans([symbols[i] for i in main], measure)
    groups = []
    for (beamed, _), run in groupby(zip(main, spans, strict=True), lambda x: (_is_beamed(symbols[x[0]]), x[1])):
        if beamed:
            groups.append([i for i, _ in run])
    for grace, graces in groupby(range(len(symbols)), lambda i: symbols[i].grace and _is_beamed(symbols[i])):
        if grace:
            groups.append(list(graces))
    return [group for group in groups if len(group) > 1]


def beams(symbols: Sequence[Symbol]) -> list[list[Beam]]:
    """For each symbol of one group its beams, the outermost (eighths) first."""
    counts = [_BEAMS[s.type] for s in symbols]
    result: list[list[Beam]] = [[] for _ in symbols]
    for level in range(1, max(counts) + 1):
        reaching = [count >= level for count in counts]
        for reaches, run in groupby(range(len(symbols)), reaching.__getitem__):
            members = list(run)
            if reaches:
                for i, beam in zip(members, _level(members, symbols), strict=True):
                    result[i].append(beam)
    return result


def _level(members: list[int], symbols: Sequence[Symbol]) -> Iterator[Beam]:
    if len(members) > 1:
        yield "start"
        for _ in members[1:-1]:
            yield "continue"
        yield "stop"
        return
    i = members[0]
    symbol, first = symbols[i], symbols[0]
    opens_a_pair = symbol.duration_ql and (symbol.onset_ql - first.onset_ql) % (2 * symbol.duration_ql) == 0
    yield "partial-right" if i == 0 or (opens_a_pair and i < len(symbols) - 1) else "partial-left"


def _is_beamed(symbol: Symbol) -> bool:
    return bool(symbol.notes) and symbol.type in _BEAMS


def _spans(symbols: Sequence[Symbol], measure: Measure) -> list[tuple[str, int]]:
    """For each symbol the stretch of the measure that its beam may not leave."""
    metre = measure.signature
    beat = min(metre.beat_ql, Fraction(1)) if metre.beat_ql != Fraction(3, 2) else metre.beat_ql
    if measure.denominator == 8 and beat == _EIGHTH:
        beat = Fraction(1)  # 5/8, 7/8: pairs, the odd eighth last
    missing = metre.measure_ql - measure.length_ql if measure.number == 0 else 0  # a pickup ends with its bar
    places = [s.onset_ql - measure.ql + missing for s in symbols]
    wide = Fraction(2) if measure.numerator % 2 == 0 or measure.denominator == 2 else metre.measure_ql
    merged: set[int] = set()
    if beat == 1 and measure.denominator in (2, 4) and wide <= 3:
        for half, members in groupby(range(len(symbols)), lambda i: int(places[i] // wide)):
            inside = [symbols[i] for i in members]
            plain = all(s.notes and s.type == "eighth" and not s.dots and not s.tuplet for s in inside)
            if plain and len(inside) == wide / _EIGHTH:
                merged.add(half)
    return [
        ("wide", half) if (half := int(place // wide)) in merged else ("beat", int(place // beat)) for place in places
    ]
