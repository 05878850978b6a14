"""Tablature: on which string and fret each note is played, by the easiest path of the hand.

A Viterbi search after Sayegh, "Fingering for string instruments with the optimum path paradigm", Computer
Music Journal 13 (1989): the states of a chord are the ways to finger it, what moves cost depends on how
far the hand goes and how long it has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from ..music import Fret, Part, WrittenNote

FRETS = 20
SPAN = 4  # frets from the first to the last finger without stretching
WAYS = 24  # ways to finger a chord that are followed up
# costs
STRETCH = 4.0  # of every fret beyond the span
HEIGHT = 0.12  # of every fret that the hand is up the neck
PRESSED = 0.15  # of a finger
SKIPPED = 0.3  # of a string left out inside a chord
MOVE = 0.3  # of a fret that the hand moves within a quarter; slower moves cost less
CROSSED = 0.1  # of every string from one single note to the next
OPEN_BELOW = 0.4  # of an open string beside fingers that are up the neck
NUT = 5  # up to this fret the hand is near the open strings
HIGH = 12  # beyond this fret a note is hard to reach


@dataclass(frozen=True)
class _Way:
    """A way to finger a chord: (string, fret) of each note, strings counted from the lowest; `hand`: its first
    fret, None where all strings are open."""

    places: tuple[tuple[int, int], ...]
    hand: int | None
    cost: float


def find_frets(notes: Sequence[WrittenNote], part: Part) -> tuple[Fret, ...]:
    """String and fret of the notes of a part, in time order; notes that cannot be played together with the
    others of their chord, or not at all, have none."""
    chords = _chords([n for n in notes if n.part == part.id])
    ways = [_playable(tuple(n.pitch for n in chord), part.strings) for chord in chords]
    result = []
    for chord, way in zip(chords, _easiest(chords, ways), strict=True):
        sounding = sorted(_kept(tuple(n.pitch for n in chord), part.strings))
        notes_ = [chord[i] for i in sounding]
        for n, (string, fret) in zip(notes_, way.places, strict=True):
            result.append(Fret(n.id, len(part.strings) - string, fret))
    return tuple(result)


def _chords(notes: Sequence[WrittenNote]) -> list[list[WrittenNote]]:
    """Notes struck together, low to high; every grace note comes by itself."""
    struck: defaultdict[tuple[object, ...], list[WrittenNote]] = defaultdict(list)
    for n in notes:
        struck[(n.onset_ql, 0, n.id) if n.grace else (n.onset_ql, 1, "")].append(n)
    return [sorted(struck[at], key=lambda n: n.pitch) for at in sorted(struck)]


def _easiest(chords: Sequence[Sequence[WrittenNote]], ways: Sequence[tuple[_Way, ...]]) -> list[_Way]:
    """The path of least cost; where the hand was before open strings, it stays."""
    if not chords:
        return []
    totals = [way.cost for way in ways[0]]
    hands = [way.hand for way in ways[0]]
    back: list[list[int]] = []
    for (before, now), (old, new) in zip(pairwise(chords), pairwise(ways), strict=True):
        time_ql = max(float(now[0].onset_ql - before[0].onset_ql), 0.125)
        best, new_totals, new_hands = [], [], []
        for way in new:
            costs = [total + _move(a, hand, way, time_ql) for total, a, hand in zip(totals, old, hands, strict=True)]
            k = min(range(len(costs)), key=costs.__getitem__)
            best.append(k)
            new_totals.append(costs[k] + way.cost)
            new_hands.append(_moved(hands[k], way))
        back.append(best)
        totals, hands = new_totals, new_hands
    k = min(range(len(totals)), key=totals.__getitem__)
    path = [ways[-1][k]]
    for best, at in zip(reversed(back), reversed(ways[:-1]), strict=True):
        k = best[k]
        path.append(at[k])
    return path[::-1]


def _move(before: _Way, hand: int | None, way: _Way, time_ql: float) -> float:
    cost = 0.0
    after = _moved(hand, way)
    if hand is not None and after is not None:
        cost += MOVE * abs(after - hand) / max(time_ql, 0.25)
    if len(before.places) == len(way.places) == 1:
        cost += CROSSED * abs(before.places[0][0] - way.places[0][0])
    return cost


def _moved(hand: int | None, way: _Way) -> int | None:
    """Where the first finger is then: it stays while all fingers reach their frets, else moves as little as it can."""
    if hand is None or way.hand is None:
        return hand if way.hand is None else way.hand
    last = max(fret for _, fret in way.places)
    return min(way.hand, max(hand, last - SPAN + 1))


@lru_cache(maxsize=4096)
def _playable(pitches: tuple[int, ...], strings: tuple[int, ...]) -> tuple[_Way, ...]:
    """The easiest ways to finger those notes of a chord that can be played at once."""
    kept = [pitches[i] for i in sorted(_kept(pitches, strings))]
    ways = sorted((_way(places) for places in _assignments(kept, strings)), key=lambda way: way.cost)
    return tuple(ways[:WAYS]) or (_Way((), None, 0.0),)


@lru_cache(maxsize=4096)
def _kept(pitches: tuple[int, ...], strings: tuple[int, ...]) -> frozenset[int]:
    """Which notes have a string each, as many as can; the highest and the lowest go last."""
    order = sorted(range(len(pitches)), key=lambda i: (i != len(pitches) - 1, i != 0, i))  # top, bottom, then upwards
    chosen: list[int] = []
    for i in order:
        trial = sorted([*chosen, i])
        if len(trial) <= len(strings) and next(_assignments([pitches[k] for k in trial], strings), None) is not None:
            chosen.append(i)
    return frozenset(chosen)


def _assignments(
    pitches: Sequence[int], strings: tuple[int, ...], taken: frozenset[int] = frozenset()
) -> Iterator[tuple[tuple[int, int], ...]]:
    """Every way to give each note a string of its own, within a stretched hand."""
    if not pitches:
        yield ()
        return
    for string, open_pitch in enumerate(strings):
        fret = pitches[0] - open_pitch
        if string in taken or not 0 <= fret <= FRETS:
            continue
        for rest in _assignments(pitches[1:], strings, taken | {string}):
            pressed = [f for _, f in rest if f] + ([fret] if fret else [])
            if not pressed or max(pressed) - min(pressed) <= SPAN + 1:
                yield ((string, fret), *rest)


def _way(places: tuple[tuple[int, int], ...]) -> _Way:
    pressed = [fret for _, fret in places if fret]
    used = sorted(string for string, _ in places)
    hand = min(pressed) if pressed else None
    span = max(pressed) - min(pressed) + 1 if pressed else 0
    skipped = used[-1] - used[0] + 1 - len(used) if used else 0
    return _Way(places, hand, (
        PRESSED * len(pressed) + HEIGHT * (hand or 0) + STRETCH * max(span - SPAN, 0) + SKIPPED * skipped
        + sum(max(fret - HIGH, 0) for fret in pressed) * HEIGHT
        + OPEN_BELOW * (len(places) - len(pressed)) * (hand is not None and hand > NUT)))
