"""MV2H: one figure for a transcription's multi-pitch, voices, metre, values and harmony.

A. McLeod & M. Steedman, "Evaluating automatic polyphonic music transcription", ISMIR 2018; chords
within voices after the authors' note on homophony (their program, version 2.1). Written anew from
these; agrees with the examples in the authors' README. Times are integer milliseconds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from .reading import Measures, Written

T = TypeVar("T")

ONSET_MS = 50  # notes match within this
VALUE_MS = 100  # note values that differ by no more are equal
GROUPING_MS = 50  # both ends of a bar, beat or sub-beat within this
MS_PER_QL = 500.0  # where scores are compared that have no times of their own


@dataclass(frozen=True, slots=True, eq=False)
class Note:
    """`onset_ms` as played; `start_ms` and `end_ms` as written. Two equal notes are still two."""

    pitch: int
    onset_ms: int
    start_ms: int
    end_ms: int
    voice: int

    def matches(self, other: Note) -> bool:
        """The same pitch, begun at the same time."""
        return self.pitch == other.pitch and abs(self.onset_ms - other.onset_ms) <= ONSET_MS


@dataclass(frozen=True)
class Music:
    """What MV2H looks at.

    `groupings`: (start_ms, end_ms) of every bar, beat and sub-beat. `keys`: (ms, tonic 0..11,
    major?). `chords`: (ms, any name). Both sorted by time, each in force until the next.
    """

    notes: Sequence[Note]
    groupings: Sequence[tuple[int, int]]
    keys: Sequence[tuple[int, int, bool]] = ()
    chords: Sequence[tuple[int, str]] = ()

    @property
    def end_ms(self) -> int:
        """Where the last thing ends."""
        return max([n.end_ms for n in self.notes] + [end for _, end in self.groupings]
                   + [k[0] for k in self.keys] + [c[0] for c in self.chords], default=0)


def mv2h(estimate: Music, reference: Music) -> dict[str, float]:
    """The sub-scores and their mean ("mv2h"), each 0..1.

    Where the reference has neither key nor chords there is no "harmony", and the mean is over four.
    """
    pairs = _matched(estimate.notes, reference.notes)
    voice, checked = _voices(pairs, reference.notes)
    values = [_value_score(note, pairs[note]) for note in checked]
    unmatched = len(estimate.notes) - len(pairs), len(reference.notes) - len(pairs)
    scores = {
        "multi_pitch": _f1(len(pairs), *unmatched),
        "voice": voice,
        "metre": _metre(estimate.groupings, reference.groupings),
        "value": sum(values) / len(values) if values else 0.0,
    }
    harmony = _harmony(estimate, reference)
    if harmony is not None:
        scores["harmony"] = harmony
    return {**scores, "mv2h": sum(scores.values()) / len(scores)}


def _f1(hits: float, false_alarms: float, misses: float) -> float:
    return 2 * hits / (2 * hits + false_alarms + misses) if hits else 0.0


def _in_order(notes: Iterable[Note]) -> list[Note]:
    return sorted(notes, key=lambda n: (n.start_ms, n.pitch, n.onset_ms, n.voice, n.end_ms))


def _matched(estimate: Iterable[Note], reference: Iterable[Note]) -> dict[Note, Note]:
    """Estimate's note -> reference's; each takes the earliest that is still free."""
    free: dict[int, list[Note]] = defaultdict(list)
    for note in _in_order(reference):
        free[note.pitch].append(note)
    pairs = {}
    for note in _in_order(estimate):
        found = next((other for other in free[note.pitch] if note.matches(other)), None)
        if found is not None:
            free[note.pitch].remove(found)
            pairs[note] = found
    return pairs


def _voices(pairs: dict[Note, Note], reference: Sequence[Note]) -> tuple[float, list[Note]]:
    """F1 of the links from note to note within voices, and the notes whose value counts.

    A value counts where the voice goes on to a right note, or rightly ends.
    """
    links, matched_links, all_links = _links(pairs), _links(pairs.values()), _links(reference)
    size: dict[tuple[int, int, int], int] = defaultdict(int)
    for note in pairs:
        size[note.voice, note.start_ms, note.end_ms] += 1
    hits = false_alarms = misses = 0.0
    checked = []
    for note, true in pairs.items():
        following, true_following = links[note], matched_links[true]
        weight = (len(following) + len(true_following)) / 2 * size[note.voice, note.start_ms, note.end_ms]
        if weight:
            right = _count_matches(following, true_following)
            hits += right / weight
            false_alarms += (len(following) - right) / weight
            misses += (len(true_following) - right) / weight
        ends = not following and not all_links[true]
        if ends or any(a.matches(b) for a in following for b in all_links[true]):
            checked.append(note)
    return _f1(hits, false_alarms, misses), checked


def _links(notes: Iterable[Note]) -> dict[Note, list[Note]]:
    """For every note the notes that its voice goes on to: those that begin at its end, or else the next."""
    voices: dict[int, dict[int, list[Note]]] = defaultdict(lambda: defaultdict(list))
    for note in notes:
        voices[note.voice][note.start_ms].append(note)
    links = {}
    for at in voices.values():
        starts = sorted(at)
        for start in starts:
            for note in at[start]:
                k = bisect_left(starts, max(note.end_ms, start + 1))
                links[note] = at[starts[k]] if k < len(starts) else []
    return links


def _count_matches(some: Iterable[Note], others: Iterable[Note]) -> int:
    free, count = list(others), 0
    for note in some:
        found = next((other for other in free if note.matches(other)), None)
        if found is not None:
            free.remove(found)
            count += 1
    return count


def _value_score(note: Note, true: Note) -> float:
    length, true_length = note.end_ms - note.start_ms, true.end_ms - true.start_ms
    difference = abs(length - true_length)
    return 1.0 if difference <= VALUE_MS else max(0.0, 1 - difference / true_length)


def _metre(estimate: Iterable[tuple[int, int]], reference: Sequence[tuple[int, int]]) -> float:
    free, hits, count = sorted(reference), 0, 0
    for start, end in sorted(estimate):
        count += 1
        for k in range(bisect_left(free, (start - GROUPING_MS, -1)), len(free)):
            if free[k][0] > start + GROUPING_MS:
                break
            if abs(free[k][1] - end) <= GROUPING_MS:
                del free[k]
                hits += 1
                break
    return _f1(hits, count - hits, len(free))


def _harmony(estimate: Music, reference: Music) -> float | None:
    """Mean of the key score and the chord score, as far as the reference has keys and chords."""
    keys = _agreement([(k[0], k[1:]) for k in estimate.keys], [(k[0], k[1:]) for k in reference.keys],
                      reference.end_ms, _key_score)
    chords = _agreement(estimate.chords, reference.chords, reference.end_ms, lambda a, b: float(a == b))
    known = [score for score in (keys, chords) if score is not None]
    return sum(known) / len(known) if known else None


def _agreement(estimate: Sequence[tuple[int, T]], reference: Sequence[tuple[int, T]], end_ms: int,
               score: Callable[[T, T], float]) -> float | None:
    """Mean score over the time from the reference's first entry on; None where it has none."""
    if not reference or end_ms <= reference[0][0]:
        return None
    total = sum(score(a, b) * max(0, min(a_end, b_end) - max(a_start, b_start))
                for a_start, a_end, a in _spans(estimate, end_ms) for b_start, b_end, b in _spans(reference, end_ms))
    return total / (end_ms - reference[0][0])


def _spans(entries: Sequence[tuple[int, T]], end_ms: int) -> Iterator[tuple[int, int, T]]:
    for (start, value), end in zip(entries, [*(start for start, _ in entries[1:]), end_ms], strict=False):
        yield start, min(end, end_ms), value


def _key_score(estimate: tuple[int, bool], reference: tuple[int, bool]) -> float:
    """MIREX's: 1 for the key, .5 for a fifth away, .3 for the relative, .2 for the parallel key."""
    (tonic, major), (true_tonic, true_major) = estimate, reference
    up = (tonic - true_tonic) % 12
    if major == true_major:
        return {0: 1.0, 7: 0.5, 5: 0.5}.get(up, 0.0)
    return {0: 0.2, (3 if major else 9): 0.3}.get(up, 0.0)


def music_of(score: Written, place: Callable[[float], float] = float) -> Music:
    """A written score on a time line of 120 quarters a minute.

    `place` moves its quarter lengths onto another score's, so that the two can be compared though
    neither has times: the alignment that the authors added in arXiv:1906.00566. As in their
    converters, keys are taken as major and chord symbols are left out.
    """

    def ms(ql: float) -> int:
        return round(place(ql) * MS_PER_QL)

    voices = {key: i for i, key in enumerate(sorted({(n.staff, n.voice) for n in score.notes}))}
    notes = []
    for n in score.notes:
        start_ms = ms(n.onset_ql)
        notes.append(Note(n.pitch, start_ms, start_ms, max(ms(n.end_ql), start_ms + 1), voices[n.staff, n.voice]))
    groupings = [(ms(start), ms(end)) for start, end in _groupings(score.measures)]
    keys = [(ms(at), 7 * fifths % 12, True) for at, fifths in score.keys]
    return Music(notes, [g for g in groupings if g[1] > g[0]], keys)


def _groupings(bars: Measures) -> Iterator[tuple[float, float]]:
    """Every bar, beat and sub-beat, in quarters; of a pickup only its beats, counted from its end."""
    numerator, denominator, changes = 4, 4, list(bars.metres)
    for number, (start, length) in enumerate(bars.measures):
        while changes and changes[0][0] <= start + 1e-6:
            _, numerator, denominator = changes.pop(0)
        compound = numerator > 3 and numerator % 3 == 0
        full, sub_beats = 4 * numerator / denominator, 3 if compound else 2
        sub_beat = 4 / denominator / (1 if compound else 2)
        pickup = number == 0 and length < full - 1e-6
        if not pickup:
            yield start, start + length
        for unit in (sub_beat, sub_beat * sub_beats):
            count = int(length / unit + 1e-6)
            first = start + length - count * unit if pickup else start
            yield from ((first + k * unit, first + (k + 1) * unit) for k in range(count))
