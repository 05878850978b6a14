"""Exact search for the beats, with tempo and place in the measure in its state.

Beats fall on onsets or, unheard, at even distances between two of them. A state is (onset, the step
that led there, metre, place in the measure); the score of a path is what the network's reading of the
onsets says of it, less the cost of tempo changes, silent beats, irregular measures and changes of
metre. Viterbi over all paths, as in metrical hidden Markov models (Nakamura, Yoshii & Sagayama 2017),
but with learned log probabilities for emissions. Cost grows linearly with the number of onsets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..music import Floats, Ints, TimeSignature
from .rhythm_net import METRES

# What the network does not know is only found where it is asked for, and read as the metres that it resembles.
ASKED = {"5/4": ("2/4", "3/4", "4/4"), "6/4": ("3/4",), "7/4": ("3/4", "4/4"), "3/2": ("3/4",)}
ALL_METRES = (*METRES, *ASKED)
SIGNATURES = [TimeSignature(1, Fraction(0), *map(int, m.split("/"))) for m in ALL_METRES]
BEATS = np.array([int(s.measure_ql / s.beat_ql) for s in SIGNATURES])  # in a measure of every metre
COMPOUND = np.array([s.compound for s in SIGNATURES])  # beats of these divide in three
STEPS = 24  # steps to an onset that are kept


@dataclass(frozen=True)
class SearchWeights:
    """Costs in nats, tuned on scores and songs that the network has not seen."""

    tempo: float = 0.6  # of the network's metre and beat length, per second
    steady: float = 0.15  # spread of the log ratio of neighbouring beats; beyond it costs grow in proportion only,
    # for who plays freely now and then plays very freely (Huber 1964)
    jump: float = 20.0  # most that a change of tempo costs
    silent: float = 1.3  # a beat without onset
    silent_most: float = 9.0  # a long rest
    silent_downbeat: float = 1.0  # in addition
    irregular: float = 20.0  # a measure that is cut short or goes on
    change: float = 21.0  # another metre
    pickup: float = 1.0  # not to begin on a downbeat
    uncovered: float = 6.0  # before the first or after the last beat, per second
    division: float = 0.5  # of how well the onsets between two beats divide them
    inner: float = 1.0  # what an onset between two beats costs where its timing is as usual
    unnatural: float = 2.0  # a beat that is divided against its metre: triplets, duplets


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of every onset, shape (n, ...): log probabilities as in `rhythm_net.Reading`."""

    times_s: Floats
    position: Floats  # (n, 3)
    tempo: Floats  # (n, metres, periods)


@dataclass(frozen=True, eq=False)
class Path:
    """The beats that were found."""

    times_s: Floats
    metre: Ints  # index into ALL_METRES
    place: Ints  # in the measure, 0 = downbeat
    onset: Ints  # index of the onset on the beat, -1 = silent
    score: float  # in nats, against the likeliest metre and beat length at every onset


def search(
    evidence: Evidence, metres: tuple[str, ...], shortest_s: float, longest_s: float,
    weights: SearchWeights = SearchWeights(), revised: Callable[[Path], Floats] | None = None,
) -> Path:
    """The best path among `metres`, with beats of the given length; needs two onsets or more.

    `revised`: the evidence's `position` as it is in the light of a first path, for a second one.
    """
    chosen = np.array([ALL_METRES.index(m) for m in metres])
    beats = BEATS[chosen]
    states = _States(
        beats, np.repeat(np.arange(len(beats)), beats), np.concatenate([np.arange(b) for b in beats]),
        np.concatenate([[0], np.cumsum(beats)[:-1]]), COMPOUND[chosen])
    w = weights
    par = np.array([
        w.tempo, w.steady, w.jump, w.silent, w.silent_most, w.silent_downbeat, w.irregular, w.change, w.pickup,
        w.uncovered, w.division, w.inner, w.unnatural,
    ])
    position = np.ascontiguousarray(evidence.position, dtype=np.float64)
    tempo = np.ascontiguousarray(read_as(evidence.tempo, metres))
    likeliest = tempo.max(axis=(1, 2))
    unlikely = evidence.tempo.max(axis=(1, 2)) - likeliest
    tempo -= likeliest[:, None, None]  # costs nothing, or beats would end where none of these metres is likely
    times = evidence.times_s
    source, count = _steps(times, position, tempo, shortest_s, longest_s, par)
    division = _divisions(times, source, count, par)

    def best(position: Floats) -> Path:
        state, step, score = _viterbi(times, position, tempo, states, source, count, division, par)
        path = _unfold(times, states, state, step, source, count, score)
        beat = path.onset[path.onset >= 0]
        score = path.score - w.tempo * float(np.diff(times[beat]) @ unlikely[beat[1:]])
        return replace(path, metre=chosen[path.metre], score=score)

    path = best(position)
    return best(np.ascontiguousarray(revised(path), dtype=np.float64)) if revised else path


def read_as(tempo: Floats, metres: tuple[str, ...]) -> Floats:
    """A reading's log probabilities, shape (n, METRES, periods), for these metres of ALL_METRES."""
    like = ([METRES.index(m) for m in ASKED.get(metre, (metre,))] for metre in metres)
    return np.stack([tempo[:, columns].max(axis=1) for columns in like], axis=1)


def nearest(times_s: Floats, at_s: Floats) -> Ints:
    """Indices of the onsets, two or more, that are closest to some times; of two as close the earlier."""
    k = np.clip(np.searchsorted(times_s, at_s), 1, len(times_s) - 1)
    return np.asarray(k - (np.abs(times_s[k - 1] - at_s) <= np.abs(times_s[k] - at_s)))


class _States(NamedTuple):
    """A state is a place in the measure of a metre. `metre`, `place`: of every state; of every metre its `beats`,
    the state of its downbeat (`first`), and whether its beats divide in three (`compound`)."""

    beats: Ints
    metre: Ints
    place: Ints
    first: Ints
    compound: NDArray[np.bool_]


@njit(cache=True)
def _at(row, period):  # type: ignore[no-untyped-def]
    """Log probability of a beat length in a row of the table, between its columns."""
    x = (np.log2(period) - np.log2(0.18)) * 4.0
    last = len(row) - 1.0
    beyond = max(-x, x - last, 0.0)
    x = min(max(x, 0.0), last - 1e-6)
    k = int(x)
    return row[k] + (x - k) * (row[k + 1] - row[k]) - 1.0 * beyond


@njit(cache=True)
def _silence(k, par):  # type: ignore[no-untyped-def]
    return -min((k - 1) * par[3], par[4])


@njit(cache=True)
def _steps(times, position, tempo, shortest, longest, par):  # type: ignore[no-untyped-def]
    """For every onset the most plausible onsets of the beat before (`source`) and beats between (`count`)."""
    n, metres, periods = tempo.shape
    source = np.full((n, STEPS), -1, dtype=np.int32)
    count = np.zeros((n, STEPS), dtype=np.int32)
    local = np.full((n, STEPS), -1e18)
    best_of = np.empty((n, periods))
    ideal = np.empty(n)
    usual = np.empty(n)
    for i in range(n):
        ideal[i] = max(position[i, 0], position[i, 1], position[i, 2])
        top, arg = -1e18, 0
        for p in range(periods):
            x = -1e18
            for s in range(metres):
                x = max(x, tempo[i, s, p])
            best_of[i, p] = x
            if x > top:
                top, arg = x, p
        usual[i] = min(max(0.18 * 2.0 ** (arg / 4.0), shortest), longest)
    for i in range(1, n):
        filled = 0
        inner = 0.0
        j = i - 1
        while j >= 0:
            span = times[i] - times[j]
            if (span > 8.0 * longest or span > 14.0 or inner < -35.0) and filled > 0:
                break
            k_low, k_high = max(int(np.ceil(span / longest - 1e-6)), 1), int(span / shortest + 1e-6)
            if k_high > 8:
                k_high = 8
            if k_low > k_high or k_low > 8:  # a long rest, or a gap outside the limits, between neighbours
                if j == i - 1 and k_low > 8:
                    k_low = max(round(span / usual[i]), k_low)
                    k_high = k_low
                else:
                    k_high = k_low - 1
            for k in range(k_low, k_high + 1):
                score = inner + _silence(k, par) + par[0] * span * _at(best_of[i], span / k)
                if filled < STEPS:
                    slot = filled
                    filled += 1
                else:
                    slot = 0
                    for e in range(1, STEPS):
                        if local[i, e] < local[i, slot]:
                            slot = e
                    if score <= local[i, slot]:
                        continue
                source[i, slot], count[i, slot], local[i, slot] = j, k, score
            inner += position[j, 0] - ideal[j]
            j -= 1
    return source, count


# Divisions of a beat: slots, whether ternary, how often (undivided beats count for both), and how often a
# slot inside is struck. Plain numbers from general knowledge of written music.
SLOTS = np.array([1, 2, 4, 8, 3, 6, 12])
TERNARY = np.array([False, False, False, False, True, True, True])
USUAL = np.log(np.array([0.30, 0.38, 0.26, 0.06, 0.45, 0.21, 0.04]))
STRUCK = np.array([0.5, 0.93, 0.70, 0.55, 0.82, 0.68, 0.5])
LEAST_SLOT_S = 0.035
WORST = 6.0  # most that one deviation costs, in nats


@njit(cache=True)
def _divisions(times, source, count, par):  # type: ignore[no-untyped-def]
    """How well every step's onsets divide its beats in two (column 0) and in three (1), shape (n, STEPS, 2)."""
    n = len(times)
    out = np.zeros((n, STEPS, 2))
    for i in range(n):
        for e in range(STEPS):
            if source[i, e] >= 0:
                two, three = _divided(times, source[i, e], i, count[i, e], par)
                out[i, e, 0] = par[10] * max(two, three - par[12])
                out[i, e, 1] = par[10] * max(three, two - par[12])
    return out


@njit(cache=True)
def _divided(times, j, i, beats, par):  # type: ignore[no-untyped-def]
    """Log likelihoods of the onsets between `j` and `i`, `beats` beats apart, in binary and in ternary slots.

    Each onset takes the slot before or after it and pays for its deviation and, above all, for the
    change of the deviation since the onset before (0 at both ends): rubato within a beat is cheap,
    another division is not.
    """
    start, period = times[j], (times[i] - times[j]) / beats
    inner = i - j - 1
    if inner == 0:
        return beats * USUAL[0], beats * USUAL[0]
    two, three = -1e9, -1e9
    for d in range(len(SLOTS)):
        slots = SLOTS[d]
        unit = period / slots
        if slots > 1 and (unit < LEAST_SLOT_S or slots > 4 * inner + 4):
            continue
        hit, miss = np.log(STRUCK[d]), np.log(1.0 - STRUCK[d])
        spread = 0.03 + 0.10 * period
        low, high = 0.0, -1e18  # best scores with the onset before on its lower or upper slot
        slot_before, low_dev, high_dev, before = 0, 0.0, 0.0, 0.0
        for m in range(j + 1, i):
            x = times[m] - start
            gap = x - before
            drift = 0.015 + 0.16 * gap
            slot = int(x / unit)
            new_low, new_high = -1e18, -1e18
            for up in range(2):
                at = slot + up
                dev = x - at * unit
                z = dev / spread
                here = par[11] - min(0.5 * z * z, WORST)
                if at % slots == 0:
                    here -= 3.0  # a beat that passes as silent
                else:
                    here += hit
                best = -1e18
                for up_before in range(2):
                    base = low if up_before == 0 else high
                    if base < -1e17:
                        continue
                    was = slot_before + up_before
                    if at < was:
                        continue
                    if at == was:
                        v = base - 3.0
                    else:
                        z = (dev - (low_dev if up_before == 0 else high_dev)) / drift
                        skipped = at - was - 1
                        beats_skipped = (at - 1) // slots - was // slots
                        v = base - min(0.5 * z * z, WORST) + (skipped - beats_skipped) * miss
                    best = max(best, v)
                if up == 0:
                    new_low = best + here
                else:
                    new_high = best + here
            low, high = new_low, new_high
            slot_before, low_dev, high_dev, before = slot, x - slot * unit, x - (slot + 1) * unit, x
        gap = times[i] - start - before
        drift = 0.015 + 0.16 * gap
        top = -1e18
        for up_before in range(2):
            base, dev = (low, low_dev) if up_before == 0 else (high, high_dev)
            z = dev / drift
            was = slot_before + up_before
            skipped = max(beats * slots - was - 1, 0)
            beats_skipped = (beats * slots - 1) // slots - min(was, beats * slots - 1) // slots
            top = max(top, base - min(0.5 * z * z, WORST) + (skipped - beats_skipped) * miss)
        top += beats * USUAL[d]
        if slots == 1 or not TERNARY[d]:
            two = max(two, top)
        if slots == 1 or TERNARY[d]:
            three = max(three, top)
    return two, three


@njit(cache=True)
def _viterbi(times, position, tempo, of, source, count, division, par):  # type: ignore[no-untyped-def]
    """Best state at the last beat, the pointers back, and the score."""
    n = len(times)
    states = len(of.metre)
    value = np.full((n, STEPS + 1, states), -1e18, dtype=np.float32)
    back_step = np.full((n, STEPS + 1, states), -1, dtype=np.int8)
    back_state = np.full((n, STEPS + 1, states), -1, dtype=np.int8)
    none = np.zeros(n + 1)
    for i in range(n):
        none[i + 1] = none[i] + position[i, 0]
    reach = np.empty(states)
    reach_step = np.empty(states, dtype=np.int64)
    for i in range(n):
        if none[i] > -60.0:
            for x in range(states):
                here = position[i, 2] if of.place[x] == 0 else position[i, 1] - par[8]
                value[i, STEPS, x] = none[i] + here - par[9] * (times[i] - times[0])
        for e in range(STEPS):
            j = source[i, e]
            if j < 0:
                continue
            k = count[i, e]
            span = times[i] - times[j]
            period = span / k
            base = none[i] - none[j + 1] + _silence(k, par)
            for x in range(states):
                reach[x] = -1e18
                reach_step[x] = -1
            for f in range(STEPS + 1):
                if f < STEPS:
                    h = source[j, f]
                    if h < 0:
                        continue
                    z = abs(np.log(period * count[j, f] / (times[j] - times[h]))) / par[1]
                    cost = min(0.5 * z * z if z < 1.0 else z - 0.5, par[2])
                else:
                    cost = 0.0
                for x in range(states):
                    v = value[j, f, x] - cost
                    if v > reach[x]:
                        reach[x] = v
                        reach_step[x] = f
            top_down, top_state = -1e18, -1
            for s in range(len(of.beats)):
                m = of.beats[s]
                emission = base + par[0] * span * _at(tempo[i, s], period) + division[i, e, 1 if of.compound[s] else 0]
                best_any, arg_any = -1e18, -1
                for b in range(m):
                    x = of.first[s] + b
                    v = reach[x]
                    if v < -1e17:
                        continue
                    crossed = (b + k - 1) // m
                    v -= crossed * par[5] if crossed < 4 else 4 * par[5]
                    to = (b + k) % m
                    y = of.first[s] + to
                    here = v + emission + (position[i, 2] if to == 0 else position[i, 1])
                    if here > value[i, e, y]:
                        value[i, e, y] = here
                        back_step[i, e, y] = reach_step[x]
                        back_state[i, e, y] = x
                    if v > best_any:
                        best_any, arg_any = v, x
                y = of.first[s]
                here = best_any + emission + position[i, 2] - par[6]
                if here > value[i, e, y]:
                    value[i, e, y] = here
                    back_step[i, e, y] = reach_step[arg_any]
                    back_state[i, e, y] = arg_any
                # a measure that ends here may be followed by one of another metre
                if value[i, e, y] > top_down:
                    top_down, top_state = value[i, e, y], y
            if top_state >= 0:
                for s in range(len(of.beats)):
                    y = of.first[s]
                    if top_down - par[7] > value[i, e, y]:
                        value[i, e, y] = top_down - par[7]
                        back_step[i, e, y] = back_step[i, e, top_state]
                        back_state[i, e, y] = back_state[i, e, top_state]
    top, ti, te, tx = -1e18, -1, 0, 0
    for i in range(n):
        rest = none[n] - none[i + 1] - par[9] * (times[n - 1] - times[i])
        if rest < -60.0 and i < n - 1:
            continue
        for e in range(STEPS + 1):
            if e == STEPS and n > 1 and i > 0:
                continue
            for x in range(states):
                if value[i, e, x] + rest > top:
                    top, ti, te, tx = value[i, e, x] + rest, i, e, x
    states_out = np.empty(n, dtype=np.int64)
    steps_out = np.empty(n, dtype=np.int64)
    onsets_out = np.empty(n, dtype=np.int64)
    length = 0
    i, e, x = ti, te, tx
    while i >= 0:
        onsets_out[length], steps_out[length], states_out[length] = i, e, x
        length += 1
        if e == STEPS:
            break
        e2, x2 = back_step[i, e, x], back_state[i, e, x]
        i = source[i, e]
        e, x = e2, x2
    path = np.stack((onsets_out[:length][::-1], states_out[:length][::-1]))
    return path, steps_out[:length][::-1].copy(), top


def _unfold(
    times: Floats, of: _States, path: Ints, step: Ints, source: Ints, count: Ints, score: float
) -> Path:
    """The path with its silent beats filled in."""
    onset, state = path
    out_t, out_m, out_p, out_o = [times[onset[0]]], [of.metre[state[0]]], [of.place[state[0]]], [onset[0]]
    for a, b, x, y, e in zip(onset[:-1], onset[1:], state[:-1], state[1:], step[1:], strict=True):
        k = int(count[b, e])
        metre, place = int(of.metre[x]), int(of.place[x])
        for n in range(1, k):
            out_t.append(times[a] + (times[b] - times[a]) * n / k)
            out_m.append(metre)
            out_p.append((place + n) % of.beats[metre])
            out_o.append(-1)
        out_t.append(times[b])
        out_m.append(of.metre[y])
        out_p.append(of.place[y])
        out_o.append(b)
    return Path(np.array(out_t), np.array(out_m), np.array(out_p), np.array(out_o), score)
