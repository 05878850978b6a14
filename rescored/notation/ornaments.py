"""What a player adds to the written notes: trills, mordents, turns, grace notes, rolled chords, swing.

All are known by their speed: much faster than what surrounds them. Runs are not, so a chain of fast
notes counts as an ornament only where its neighbours on the keyboard move more slowly.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from ..music import BeatGrid, Floats, Ints, Note, Ornament, Performance
from .clusters import cluster, cluster_times

FASTEST_S, SLOWEST_S = 0.028, 0.125  # from note to note of a trill
MORDENT_S = 0.105  # ... of a mordent or turn
NEXT = 1.6  # how much the speed may change from note to note
LINGERS = 2.2  # how much longer the last note of a mordent or turn is
AROUND_S, AS_FAST, RUN = 1.2, 1.5, 3  # notes as fast as this within this time make it a run
GRACE_S, GRACE_BEATS = 0.095, 0.2  # a grace note comes no earlier than this before its note
GRACE_LASTS = 0.5  # of the length of its note, at most; what is longer is a chord that was not struck at once
GRACES = 3  # most in a row
ALONE = 2.0  # times this gap the gap before must be
ROLL_S = (0.10, 0.15)  # from note to note of a rolled chord, at most; ... of one whose keys are held
QUICK_ROLL_S, SLOW_ROLL_S = 0.45, 1.5  # from its first to its last note
STRUCK_TOGETHER_S, STRUCK_TOGETHER_BEATS = 0.16, 0.16  # hands apart
SWING = (0.56, 0.73)  # where swung off-beats fall
SWUNG_BEATS, SWUNG_SHARE = 12, 0.75

Kind = Literal["trill", "mordent", "inverted-mordent", "turn"]


def _pitched_parts(performance: Performance) -> Iterable[list[Note]]:
    """The notes of every part but percussion, in order."""
    kits = {p.id for p in performance.parts if p.percussion}
    by_part: defaultdict[str, list[Note]] = defaultdict(list)
    for n in performance.notes:
        if n.part not in kits:
            by_part[n.part].append(n)
    return by_part.values()


def find_ornaments(performance: Performance) -> list[Ornament]:
    """Trills, mordents and turns; every note belongs to one at most. The main note is its first that has the
    main pitch."""
    result: list[Ornament] = []
    for notes in _pitched_parts(performance):
        taken: set[str] = set()
        onsets = [n.onset_s for n in notes]
        for i, first in enumerate(notes):
            if first.id in taken:
                continue
            found = _ornament_from(notes, i, taken)
            if found is None or _in_a_run(notes, onsets, found[1]):
                continue
            kind, members = found
            taken |= {n.id for n in members}
            low = min(n.pitch for n in members)
            main_pitch = {"trill": low, "turn": members[-1].pitch}.get(kind, members[0].pitch)
            main = next(n for n in members if n.pitch == main_pitch)
            result.append(Ornament(kind, main.id, tuple(n.id for n in members if n is not main)))
    return result


def _chain(notes: list[Note], i: int, taken: set[str], longest: int = 400) -> list[Note]:
    """Fast neighbours from note to note: each the next within a tone or two of the one before."""
    chain = [notes[i]]
    gap, k = SLOWEST_S, i
    while len(chain) < longest:
        following = None
        for j in range(k + 1, len(notes)):
            apart = notes[j].onset_s - chain[-1].onset_s
            if apart > gap:
                break
            if apart >= FASTEST_S and 0 < abs(notes[j].pitch - chain[-1].pitch) <= 2 and notes[j].id not in taken:
                following = j
                break
        if following is None:
            return chain
        apart = notes[following].onset_s - chain[-1].onset_s
        gap = min(SLOWEST_S, NEXT * max(apart, 0.05))
        chain.append(notes[following])
        k = following
    return chain


def _ornament_from(notes: list[Note], i: int, taken: set[str]) -> tuple[Kind, list[Note]] | None:
    chain = _chain(notes, i, taken)
    if len(chain) < 3:
        return None
    a, b = chain[0].pitch, chain[1].pitch
    shakes = 2
    while shakes < len(chain) and chain[shakes].pitch == (a, b)[shakes % 2]:
        shakes += 1
    if shakes >= 5 or (shakes == 4 and chain[3].onset_s - chain[0].onset_s < 3 * 0.09):
        members = chain[:shakes]
        low = min(a, b)
        if len(chain) >= shakes + 2 and chain[shakes].pitch < low == chain[shakes + 1].pitch:
            members = chain[:shakes + 2]  # a closing turn
        return "trill", members
    pitches = [n.pitch for n in chain]
    for size, main, kind in ((5, 0, "turn"), (4, 1, "turn"), (3, 0, "mordent")):
        part = pitches[:size]
        if len(part) < size or chain[size - 1].onset_s - chain[0].onset_s > (size - 1) * MORDENT_S:
            continue
        if kind == "turn":
            shape = part[-4:]
            fits = shape[1] == shape[3] == part[main] and shape[0] > shape[1] > shape[2]
        else:
            fits = part[0] == part[2]
        fast = (chain[size - 1].onset_s - chain[0].onset_s) / (size - 1)
        if fits and _lingers(notes, chain[size - 1], fast):
            if kind == "mordent":
                return ("mordent" if part[1] < part[0] else "inverted-mordent"), chain[:size]
            return "turn", chain[:size]
    return None


def _lingers(notes: list[Note], last: Note, fast_s: float) -> bool:
    """Whether nothing near follows this note at the speed of the ornament."""
    if last.offset_s - last.onset_s < fast_s:
        return False
    at = bisect_right(notes, last.onset_s, key=lambda n: n.onset_s)
    for n in notes[at:]:
        if n.onset_s - last.onset_s >= LINGERS * fast_s:
            return True
        if abs(n.pitch - last.pitch) <= 7 and n.onset_s - last.onset_s > FASTEST_S:
            return False
    return True


def _in_a_run(notes: list[Note], onsets: list[float], members: list[Note]) -> bool:
    """Whether notes nearby on the keyboard are as fast, before or after."""
    own = {n.id for n in members}
    begin, end = members[0].onset_s, members[-1].onset_s
    fast = (end - begin) / (len(members) - 1)
    middle = members[0].pitch
    near = [n.onset_s for n in notes[bisect_left(onsets, begin - AROUND_S):bisect_right(onsets, end + AROUND_S)]
            if n.id not in own and abs(n.pitch - middle) <= 9]
    gaps = np.diff(near)
    between = np.array([begin <= t <= end for t in near[1:]], dtype=bool)
    return int(((gaps > FASTEST_S) & (gaps < AS_FAST * fast) & ~between).sum()) >= RUN


def find_grace_notes(performance: Performance, grid: BeatGrid) -> dict[str, str]:
    """Single short notes right before a longer one of their hand: grace note -> the note that it adorns."""
    notes = performance.notes
    kits = {p.id for p in performance.parts if p.percussion}
    of_note = cluster(performance.onsets_s)
    times_s = cluster_times(performance.onsets_s, of_note)
    members: list[list[Note]] = [[] for _ in times_s]
    for n, k in zip(notes, of_note.tolist(), strict=True):
        members[k].append(n)
    beat_s = _beat_length_s(grid, times_s)
    result: dict[str, str] = {}
    for k in range(len(times_s) - 1):
        if len(members[k]) > 2 or any(n.part in kits for n in members[k]):
            continue
        host = _host(members[k], members[k + 1], min(GRACE_S, GRACE_BEATS * beat_s[k]))
        if host is None:
            continue
        gap = host.onset_s - members[k][0].onset_s
        before = _time_since(members, k, members[k][0])
        in_row = sum(members[j][0].id in result for j in range(max(k - GRACES, 0), k))
        follows = in_row and in_row < GRACES and members[k - 1][0].id in result
        if not follows and before < max(ALONE * gap, 0.12):
            continue
        if _stays(members, k + 1, host, 2.5 * gap):
            result |= {n.id: host.id for n in members[k]}
    hosts = set(result.values())
    for grace in [g for g in result if result[g] in result]:  # grace notes in a row adorn the last one's note
        host_id = result[grace]
        while host_id in result:
            host_id = result[host_id]
        result[grace] = host_id
    return {g: h for g, h in result.items() if g not in hosts or g in result}


def _host(graces: list[Note], following: list[Note], within_s: float) -> Note | None:
    """The note that these adorn: the nearest of the next cluster, soon after, in reach, and of another pitch."""
    near = [h for h in following if h.part == graces[0].part and 0 < abs(h.pitch - graces[0].pitch) <= 12]
    if not near:
        return None
    host = min(near, key=lambda h: (abs(h.pitch - graces[0].pitch), h.pitch))
    gap = host.onset_s - graces[0].onset_s
    longest = min(gap + 0.09, GRACE_LASTS * (host.offset_s - host.onset_s))
    brief = all(n.offset_s - n.onset_s < longest for n in graces)
    fits = FASTEST_S < gap <= within_s and brief and host.offset_s - host.onset_s > 1.5 * gap
    return host if fits and all(n.pitch != host.pitch for n in graces) else None


def _time_since(members: list[list[Note]], k: int, note: Note) -> float:
    """Time since something was struck near a note on the keyboard."""
    for j in range(k - 1, max(k - 12, -1), -1):
        if any(abs(n.pitch - note.pitch) <= 12 for n in members[j]):
            return note.onset_s - members[j][-1].onset_s
    return 1e9


def _stays(members: list[list[Note]], k: int, host: Note, for_s: float) -> bool:
    """Whether nothing near is struck for so long after the host."""
    for j in range(k + 1, min(k + 12, len(members))):
        if members[j][0].onset_s - host.onset_s >= for_s:
            return True
        if any(abs(n.pitch - host.pitch) <= 7 for n in members[j]):
            return False
    return True


def _beat_length_s(grid: BeatGrid, times_s: Floats) -> Floats:
    lengths = np.diff(grid.times_s)
    return np.asarray(lengths[np.clip(np.searchsorted(grid.times_s, times_s, side="right") - 1, 0, len(lengths) - 1)])


def find_rolled(performance: Performance) -> list[Ornament]:
    """Chords of three notes and more that are broken upwards, quickly, or slowly while all keys are held.

    Fingers that strike together are one step of the way up; `note` is the highest of the last.
    """
    result: list[Ornament] = []
    sounding_s = dict(zip((n.id for n in performance.notes), sounding_until(performance).tolist(), strict=True))
    for notes in _pitched_parts(performance):
        steps = _steps(notes)
        i = 0
        while i < len(steps):
            j = i + 1
            while j < len(steps) and steps[j][0].pitch > steps[j - 1][-1].pitch \
                    and _start(steps[j]) - _start(steps[i]) <= SLOW_ROLL_S:
                j += 1
            j = max((k for k in range(i + 3, j + 1) if _is_rolled(steps, i, k, sounding_s)), default=i)
            if j > i:
                chord = [n for step in steps[i:j] for n in step]
                result.append(Ornament("arpeggio", chord[-1].id, tuple(n.id for n in chord[:-1])))
            i = max(j, i + 1)
    return result


def _steps(notes: list[Note]) -> list[list[Note]]:
    """Notes that are struck at once, low to high."""
    of_note = cluster(np.array([n.onset_s for n in notes]))
    steps: list[list[Note]] = [[] for _ in range(int(of_note[-1]) + 1)]
    for n, k in zip(notes, of_note.tolist(), strict=True):
        steps[k].append(n)
    return [sorted(step, key=lambda n: n.pitch) for step in steps]


def _start(step: list[Note]) -> float:
    return min(n.onset_s for n in step)


def _is_rolled(steps: list[list[Note]], i: int, j: int, sounding_s: Mapping[str, float]) -> bool:
    """Whether these steps are one chord: sounding together for long enough, with time before and after."""
    chord = [n for step in steps[i:j] for n in step]
    starts = [_start(step) for step in steps[i:j]]
    gaps, spread = np.diff(starts), starts[-1] - starts[0]
    if gaps.max() > 2.5 * max(float(np.median(gaps)), 0.04):
        return False
    released = min(n.offset_s for n in chord)
    if spread <= QUICK_ROLL_S:
        least = starts[-1] + max(0.08, 0.5 * spread)
        held, sounds = released > least, min(sounding_s[n.id] for n in chord) > least
        together = (held and gaps.max() <= ROLL_S[1]) or (sounds and gaps.max() <= ROLL_S[0])
    else:
        together = j - i >= 4 and released > starts[-1] + 0.8 * spread
    if not together:
        return False
    gap = spread / (j - i - 1)
    before = i == 0 or starts[0] - _start(steps[i - 1]) >= max(2.0 * gap, 0.1)
    after = j == len(steps) or _start(steps[j]) - starts[-1] >= max(2.5 * gap, 0.15)
    return before and after


def sounding_until(performance: Performance) -> Floats:
    """When every note's key and the pedal are up, shape (n,), seconds."""
    until = performance.offsets_s.copy()
    if performance.pedal:
        starts = np.array([p.start_s for p in performance.pedal])
        ends = np.array([p.end_s for p in performance.pedal])
        k = np.searchsorted(starts, until, side="right") - 1
        until = np.where(k >= 0, np.maximum(until, ends[np.maximum(k, 0)]), until)
    return np.asarray(until)


def written_performance(
    performance: Performance, grid: BeatGrid, ornaments: Sequence[Ornament], graces: Mapping[str, str]
) -> Performance:
    """The performance as it would be without ornaments: main notes in the place of trills, rolled chords
    struck at once, where they begin or where they end, whichever is nearer to a beat; no grace notes."""
    played = {n.id: n for n in performance.notes}
    changed: dict[str, Note | None] = dict.fromkeys(graces)
    for o in ornaments:
        main, others = played[o.note], [played[m] for m in o.members]
        begin = min(n.onset_s for n in (main, *others))
        if o.kind == "arpeggio":
            at = min((main.onset_s, begin), key=lambda t: float(np.abs(grid.times_s - t).min()))
            for n in (main, *others):
                changed[n.id] = replace(n, onset_s=at, offset_s=max(n.offset_s, at + 0.02))
        else:
            end = max(n.offset_s for n in (main, *others))
            changed |= dict.fromkeys(o.members)
            changed[o.note] = replace(main, onset_s=begin, offset_s=end)
    notes = [changed.get(n.id, n) for n in performance.notes]
    return replace(performance, notes=tuple(n for n in notes if n is not None))


def struck_together(performance: Performance, of_note: Ints, grid: BeatGrid) -> Ints:
    """The clusters (see `cluster`) with those joined that two hands meant to strike at once."""
    times_s = cluster_times(performance.onsets_s, of_note)
    gaps = np.diff(times_s, prepend=-1e9, append=1e9)
    limit = np.minimum(STRUCK_TOGETHER_S, STRUCK_TOGETHER_BEATS * _beat_length_s(grid, times_s))
    starts = np.concatenate([[0], np.flatnonzero(np.diff(of_note)) + 1, [len(of_note)]])
    joins = np.zeros(len(times_s), dtype=bool)
    until_s = sounding_until(performance)
    for k in range(1, len(times_s)):
        gap = gaps[k]
        if gap > limit[k] or min(gaps[k - 1], gaps[k + 1]) < 2.0 * gap or joins[k - 1]:
            continue
        a, b = slice(starts[k - 1], starts[k]), slice(starts[k], starts[k + 1])
        parts_differ = performance.notes[starts[k - 1]].part != performance.notes[starts[k]].part
        here, before = performance.pitches[b], performance.pitches[a]
        apart = here.min() > before.max() + 2 or before.min() > here.max() + 2
        overlap = until_s[a].min() > times_s[k] + 0.03
        joins[k] = parts_differ or (apart and overlap)
    return np.asarray(of_note - np.cumsum(joins)[of_note])


def find_swing(times_s: Floats, grid: BeatGrid, always: bool) -> float:
    """Where in the beat swung eighths fall; 0.5 where they do not swing. `always`: on less evidence."""
    plain = [t.denominator == 4 and not t.compound for t in grid.time_signatures]
    starts = np.array([float(t.ql) for t in grid.time_signatures])
    edges = np.searchsorted(times_s, grid.times_s[:-1]), np.searchsorted(times_s, grid.times_s[1:])
    swung: list[float] = []
    others = triplets = 0
    for b in range(len(grid.times_s) - 1):
        signature = max(int(np.searchsorted(starts, grid.ql[b] + 1e-6, side="right")) - 1, 0)
        period = grid.times_s[b + 1] - grid.times_s[b]
        if not plain[signature] or abs(grid.ql[b + 1] - grid.ql[b] - 1.0) > 1e-6:
            continue
        phase = (times_s[edges[0][b]:edges[1][b]] - grid.times_s[b]) / period
        inner = phase[(phase > 0.2) & (phase < 0.86)]
        if len(inner) == 1 and 0.53 < inner[0] < 0.78:
            swung.append(float(inner[0]))
        elif len(inner) == 2 and abs(inner[0] - 1 / 3) < 0.09:
            triplets += 1
        elif len(inner):
            others += 1
    enough = SWUNG_BEATS // 3 if always else SWUNG_BEATS
    if len(swung) < enough or (not always and len(swung) < SWUNG_SHARE * (len(swung) + others + 2 * triplets)):
        return 0.5
    middle = float(np.median(swung))
    steady = np.quantile(np.abs(np.array(swung) - middle), 0.75) < 0.07
    return middle if SWING[0] <= middle <= SWING[1] and (steady or always) else 0.5


def straightened(performance: Performance, grid: BeatGrid, swing: float) -> Performance:
    """The performance with off-beats in the middle of their beats."""
    middle_s = grid.times_s[:-1] + swing * np.diff(grid.times_s)
    times_s = np.sort(np.concatenate([grid.times_s, middle_s]))
    ql = np.sort(np.concatenate([grid.ql, (grid.ql[:-1] + grid.ql[1:]) / 2]))
    index = np.arange(len(ql))
    swung = BeatGrid(times_s, ql, index, index, grid.time_signatures)
    onset, offset = (grid.seconds_at(swung.ql_at(x)) for x in (performance.onsets_s, performance.offsets_s))
    return replace(performance, notes=tuple(
        replace(n, onset_s=max(a, 0.0), offset_s=max(b, a + 0.01, 0.01))
        for n, a, b in zip(performance.notes, onset.tolist(), offset.tolist(), strict=True)))
