"""Notes and rests as drawn: written values, dots, ties, tuplets, one voice of one measure at a time.

A stretch of time is drawn as the fewest symbols that keep the metre legible (Gould, "Behind Bars",
2011, pp. 165-181): a note starts at a metrical position at least as strong as any it sounds across,
save for plain syncopations (eighth - quarter - eighth, quarter - half - quarter) and notes that lead
up to a stronger position (eighth - dotted quarter); a rest stands for exactly one metrical unit.
Where the places of a voice do not fit halves, a tuplet is opened over as short a stretch as holds them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import gcd
from typing import Literal

from ..music import SYMBOL_TYPES, Measure, Ornament, Part, Symbol, TimeSignature, Tuplet, WrittenNote
from .ticks import PER_QUARTER, to_ql, to_ticks

SHORTEST = PER_QUARTER // 16  # a 64th
VALUES = {
    (8 * PER_QUARTER >> k) * (2 ** (dots + 1) - 1) // 2**dots: (name, dots)
    for k, name in enumerate(SYMBOL_TYPES) for dots in (2, 1, 0)
}
ROLLED_S = 0.045  # what is struck within this time is heard as one: the other hand was rolled
_Shake = Literal["trill", "mordent", "inverted-mordent", "turn"]


@dataclass(frozen=True)
class Ruler:
    """Metrical levels: `spans[i]` ticks apart lie the positions of level i, strongest first."""

    spans: tuple[int, ...]
    beat: int  # index of the beat in `spans`
    compound: bool

    def level(self, at: int) -> int:
        """The strongest level of a position, counted from the start of a full measure."""
        return next((i for i, span in enumerate(self.spans) if at % span == 0), len(self.spans))

    def level_inside(self, a: int, b: int) -> int:
        """The strongest level of all positions between `a` and `b`."""
        return next((i for i, span in enumerate(self.spans) if (b - 1) // span > a // span), len(self.spans))


@dataclass(frozen=True)
class _Stretch:
    """A chord (or a rest, without notes) between two places in ticks."""

    start: int
    stop: int
    notes: tuple[str, ...] = ()
    staccato: bool = False


def lay_out(
    notes: Sequence[WrittenNote], measures: Sequence[Measure], parts: Sequence[Part], onset_s: Mapping[str, float],
    accented: Container[str] = (), ornaments: Iterable[Ornament] = (), held: Container[str] = (),
) -> tuple[Symbol, ...]:
    """All symbols of the score, sorted by (part in the order of `parts`, staff, measure, voice, onset).

    `onset_s` gives every note's performed onset: grace notes are drawn in the order in which they
    were played. `accented`, `held`: ids of notes that carry an accent, a fermata.
    """
    by_voice: defaultdict[tuple[str, int, int], list[WrittenNote]] = defaultdict(list)
    for n in notes:
        by_voice[n.part, n.staff, n.voice].append(n)
    shaken = {o.note: o.kind for o in ornaments if o.kind != "arpeggio"}
    rolled = {id for o in ornaments if o.kind == "arpeggio" for id in (o.note, *o.members)}
    result: list[Symbol] = []
    for part in parts:
        for staff in range(1, part.staves + 1):
            drawn = [
                list(_draw_voice(by_voice[part.id, staff, voice], measures, Symbol(
                    measure=0, part=part.id, staff=staff, voice=voice, onset_ql=to_ql(0), duration_ql=to_ql(0),
                    type=""), onset_s))
                for voice in (1, 2)
            ]
            for of_measure in zip(*drawn, strict=True):
                for symbols in of_measure:
                    result += (_with_signs(s, accented, shaken, rolled, held, onset_s) for s in symbols)
    return tuple(result)


def _with_signs(
    symbol: Symbol, accented: Container[str], shaken: Mapping[str, _Shake], rolled: Container[str],
    held: Container[str], onset_s: Mapping[str, float],
) -> Symbol:
    """With what stands above a note or before a chord where it begins, and a fermata where it ends."""
    if not symbol.tie_to and any(n in held for n in symbol.notes):
        symbol = replace(symbol, fermata=True)
    if symbol.tie_from or not symbol.notes:
        return symbol
    accent = any(n in accented for n in symbol.notes)
    ornament: _Shake | Literal[""] = next((shaken[n] for n in symbol.notes if n in shaken), "")
    times_s = [onset_s[n] for n in symbol.notes]
    arpeggio = all(n in rolled for n in symbol.notes) and max(times_s) - min(times_s) >= ROLLED_S
    if not (accent or ornament or arpeggio):
        return symbol
    return replace(symbol, accent=accent, ornament=ornament, arpeggio=arpeggio)


def _draw_voice(
    notes: Sequence[WrittenNote], measures: Sequence[Measure], blank: Symbol, onset_s: Mapping[str, float]
) -> Iterator[list[Symbol]]:
    """The symbols of one voice, measure by measure; none for measures in which voice 2 is silent."""
    stretches = _stretches(notes)
    graces = sorted((n for n in notes if n.grace), key=lambda n: (to_ticks(n.onset_ql), onset_s[n.id]))
    first, g = 0, 0
    for index, measure in enumerate(measures):
        begin, end = to_ticks(measure.ql), to_ticks(measure.ql + measure.length_ql)
        while first < len(stretches) and stretches[first].stop <= begin:
            first += 1
        inside, k = [], first
        while k < len(stretches) and stretches[k].start < end:
            inside.append(stretches[k])
            k += 1
        adorning: defaultdict[int, list[WrittenNote]] = defaultdict(list)
        while g < len(graces) and to_ticks(graces[g].onset_ql) < end:
            adorning[to_ticks(graces[g].onset_ql)].append(graces[g])
            g += 1
        here = replace(blank, measure=measure.number)
        if inside:
            yield list(_draw_measure(inside, measure, begin, end, index == 0, here, adorning, onset_s))
        elif blank.voice == 1:
            yield [replace(here, onset_ql=measure.ql, duration_ql=measure.length_ql, type="whole",
                           whole_measure=True)]
        else:
            yield []


def _stretches(notes: Iterable[WrittenNote]) -> list[_Stretch]:
    """The chords of one voice in time; notes within a chord low to high."""
    chords: defaultdict[tuple[int, int], list[WrittenNote]] = defaultdict(list)
    for n in notes:
        if not n.grace:
            onset = to_ticks(n.onset_ql)
            chords[onset, onset + to_ticks(n.duration_ql)].append(n)
    return [
        _Stretch(a, b, tuple(n.id for n in sorted(chord, key=lambda n: n.pitch)),
                 2 * sum(n.staccato for n in chord) > len(chord))
        for (a, b), chord in sorted(chords.items())
    ]


def _draw_measure(
    inside: list[_Stretch], measure: Measure, begin: int, end: int, is_first: bool, blank: Symbol,
    adorning: Mapping[int, list[WrittenNote]], onset_s: Mapping[str, float],
) -> Iterator[Symbol]:
    ruler = ruler_of(measure)
    # a first measure that is short is the end of a full one
    zero = begin - (max(ruler.spans[0] - (end - begin), 0) if is_first else 0)
    filled = list(_with_rests(inside, begin, end))
    edges = [s.start - zero for s in filled] + [end - zero]
    cells = _merged(_cells(edges, ruler))
    for stretch in filled:
        if stretch.start >= begin:
            yield from _graces(adorning.get(stretch.start, []), blank, onset_s)
        for a, b, kind, dots, tuplet in _pieces(max(stretch.start, begin) - zero, min(stretch.stop, end) - zero,
                                                not stretch.notes, cells, ruler):
            yield replace(
                blank, onset_ql=to_ql(a + zero), duration_ql=to_ql(b - a), type=kind, dots=dots, tuplet=tuplet,
                notes=stretch.notes, staccato=stretch.staccato,
                tie_from=bool(stretch.notes) and a + zero > stretch.start,
                tie_to=bool(stretch.notes) and b + zero < stretch.stop,
                hidden=not stretch.notes and blank.voice == 2,
            )


def _with_rests(inside: list[_Stretch], begin: int, end: int) -> Iterator[_Stretch]:
    at = begin
    for stretch in inside:
        if stretch.start > at:
            yield _Stretch(at, stretch.start)
        yield stretch
        at = stretch.stop
    if at < end:
        yield _Stretch(at, end)


def _graces(notes: list[WrittenNote], blank: Symbol, onset_s: Mapping[str, float]) -> Iterator[Symbol]:
    """Grace notes before their host, in the order played; struck together they are a chord."""
    chords: list[list[WrittenNote]] = []
    for n in notes:
        if chords and onset_s[n.id] - onset_s[chords[-1][-1].id] < 0.030:
            chords[-1].append(n)
        else:
            chords.append([n])
    for chord in chords:
        yield replace(
            blank, onset_ql=chord[0].onset_ql, type="eighth" if len(chords) == 1 else "16th", grace=True,
            notes=tuple(n.id for n in sorted(chord, key=lambda n: n.pitch)))


# ---------------------------------------------------------------- metre


@lru_cache(maxsize=256)
def ruler(numerator: int, denominator: int) -> Ruler:
    """The metrical levels of a time signature."""
    signature = TimeSignature(1, to_ql(0), numerator, denominator)
    measure, beat = to_ticks(signature.measure_ql), to_ticks(signature.beat_ql)
    count = measure // beat
    spans = [measure]
    if count >= 4 and count % 2 == 0:  # 4/4, 12/8: the middle of the measure shows
        spans.append(measure // 2)
    if count > 1:
        spans.append(beat)
    index = len(spans) - 1
    below = beat // 3 if signature.compound else beat // 2
    while below >= SHORTEST // 2:
        spans.append(below)
        below //= 2
    return Ruler(tuple(spans), index, signature.compound)


def ruler_of(measure: Measure) -> Ruler:
    """The metrical levels of a measure."""
    return ruler(measure.numerator, measure.denominator)


# ---------------------------------------------------------------- tuplets

_Cell = tuple[int, int, tuple[int, int] | None]  # start, stop, (actual, normal)


def _cells(edges: list[int], ruler: Ruler) -> Iterator[_Cell]:
    """The measure from its first to its last edge, cut into plain stretches and tuplets."""
    inner = edges[1:-1]
    if all(at % SHORTEST == 0 for at in inner):
        yield edges[0], edges[-1], None
        return
    beat = ruler.spans[ruler.beat]
    a = edges[0]
    while a < edges[-1]:
        pair = a + 2 * beat
        aligned = not ruler.compound and beat <= PER_QUARTER and a % (2 * beat) == 0 and pair <= edges[-1]
        if aligned and ruler.spans[0] % (2 * beat) == 0 and _thirds(inner, a, pair):
            yield a, pair, (3, 2)
            a = pair
            continue
        b = min(a - a % beat + beat, edges[-1])
        yield from _beat_cells(a, b, inner, ruler.compound)
        a = b


def _thirds(inner: list[int], a: int, b: int) -> bool:
    """Whether the places between are thirds of the stretch, and some are."""
    places = [at - a for at in inner if a < at < b]
    return any(at % SHORTEST for at in places) and all(at * 3 % (b - a) == 0 for at in places)


def _beat_cells(a: int, b: int, inner: list[int], compound: bool) -> Iterator[_Cell]:
    """One beat, or a part of it, as plain stretches and tuplets."""
    places = [at - a for at in inner if a < at < b]
    length = b - a
    if all(at % SHORTEST == 0 for at in places):
        yield a, b, None
    elif compound and all(third in places for third in (length // 3, length * 2 // 3)):
        for k in range(3):
            yield from _beat_cells(a + k * length // 3, a + (k + 1) * length // 3, inner, False)
    elif not compound and length // 2 in places and not _thirds(inner, a, b):
        yield from _beat_cells(a, a + length // 2, inner, False)
        yield from _beat_cells(a + length // 2, b, inner, False)
    else:
        step = gcd(length, *places)
        actual = length // step
        if not compound and actual % 3 == 0 and (actual // 3) & (actual // 3 - 1) == 0:
            actual = 3  # sextuplets and the like are triplets of halved values
        normal = 3 if compound else 2
        while 2 * normal <= actual:
            normal *= 2
        yield a, b, (actual, normal)


def _merged(cells: Iterable[_Cell]) -> list[_Cell]:
    """Neighbouring plain stretches as one."""
    result: list[_Cell] = []
    for cell in cells:
        if result and cell[2] is None and result[-1][2] is None:
            result[-1] = (result[-1][0], cell[1], None)
        else:
            result.append(cell)
    return result


@lru_cache(maxsize=256)
def _tuplet_ruler(length: int, actual: int) -> Ruler:
    """Levels within a tuplet, in nominal ticks: its units, then their halves."""
    spans, below = [length], length // actual
    while below >= SHORTEST // 2:
        spans.append(below)
        below //= 2
    return Ruler(tuple(spans), 0, actual == 3)


_Piece = tuple[int, int, str, int, Tuplet | None]  # start, stop, type, dots, tuplet


def _pieces(a: int, b: int, rest: bool, cells: list[_Cell], ruler: Ruler) -> Iterator[_Piece]:
    """A chord or rest as symbols."""
    for start, stop, ratio in cells:
        lo, hi = max(a, start), min(b, stop)
        if lo >= hi:
            continue
        if ratio is None:
            for x, y in _split(lo, hi, rest, ruler):
                yield x, y, *_value(y - x), None
            continue
        actual, normal = ratio
        within = _tuplet_ruler((stop - start) * actual // normal, actual)
        for x, y in _split((lo - start) * actual // normal, (hi - start) * actual // normal, rest, within):
            p, q = start + x * normal // actual, start + y * normal // actual
            yield p, q, *_value(y - x), Tuplet(actual, normal, _edge(p == start, q == stop))


def _edge(first: bool, last: bool) -> Literal["start", "inside", "stop", "alone"]:
    if first:
        return "alone" if last else "start"
    return "stop" if last else "inside"


# ---------------------------------------------------------------- splitting


def _value(ticks: int) -> tuple[str, int]:
    """Type and dots of a written value; of the next shorter one where there is none."""
    return VALUES.get(ticks) or VALUES[max((v for v in VALUES if v <= ticks), default=SHORTEST)]


@lru_cache(maxsize=65536)
def _split(a: int, b: int, rest: bool, ruler: Ruler) -> tuple[tuple[int, int], ...]:
    """The stretch cut into written values; `a`, `b` count from the start of a full measure."""
    inside = ruler.level_inside(a, b)
    if inside == len(ruler.spans) or (b - a in VALUES and _legible(a, b, rest, inside, ruler)):
        return ((a, b),)
    span = ruler.spans[inside]
    cuts = range(a - a % span + span, b, span)
    options = [_split(a, cut, rest, ruler) + _split(cut, b, rest, ruler) for cut in (cuts[0], cuts[-1])]
    return min(options, key=len)


def _legible(a: int, b: int, rest: bool, inside: int, ruler: Ruler) -> bool:
    """Whether one symbol may stand for the stretch, whose strongest inner position has level `inside`."""
    dots = VALUES[b - a][1]
    first, last = ruler.level(a), ruler.level(b)
    crosses_beat = inside <= ruler.beat
    if rest:
        one_unit = any(b - a == span and a % span == 0 for span in ruler.spans)
        return one_unit or (not crosses_beat and first < inside and dots < 2)
    if ruler.compound and crosses_beat:
        return first <= ruler.beat and last <= ruler.beat and first <= inside
    if first <= inside:
        return dots < 2 or first <= ruler.beat
    if first > inside + 1:
        return False
    middle = (a + b) // 2
    syncopated = dots == 0 and (a + b) % 2 == 0 and ruler.level(middle) == inside
    return syncopated or (dots < 2 and last < inside)

