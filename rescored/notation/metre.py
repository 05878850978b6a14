"""Beats, measures and time signatures of a performance.

What is known of every onset (rhythm) goes into an exact search that makes one consistent grid of it (beat_search).
What the user says about metre and tempo limits or steers the search. Beats, and mostly measures, that a MIDI file
states hold where its notes keep to them (own_beats).
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np

from ..music import BeatGrid, Floats, Performance, TimeSignature
from ..settings import MetreSettings
from ..stage import Report, silent, stage
from .beat_search import ALL_METRES, BEATS, COMPOUND, Evidence, Path, SearchWeights, nearest, read_as, search
from .measure_net import EARLY_S
from .own_beats import Own, holds, own_metre, says_nothing, with_keys
from .rhythm import NEAR_S, SURE, as_told, hear_rhythm
from .rhythm_net import METRES

TOLD = 0.5  # share of what the network says of downbeats that counts where beats are given
UNHEARD = np.log(1 / 3) + np.array([0.0, 0.0, -1.0])  # of a given beat on which nothing begins: seldom a downbeat
LONGEST_S = 60.0  # of a beat, where beats are given
ABOUT = 1.6  # how many times as long as others beats may be where a tempo is given
FIRM = 100.0  # cost of an irregular measure where the user has said where one begins
COUNTED = np.array([0.5, 1.0, 2.0, 3.0, 4.0])  # quarters of a beat, or of a measure in one
UNLIKE = 0.05  # share by which a beat is no such number


@stage(version=21)
def find_metre(performance: Performance, *, settings: MetreSettings, report: Report = silent) -> BeatGrid:
    """The beats of a performance with their measures; any performance has some.

    They are those that a MIDI file states, where its notes keep to them. Else `confidence` is the network's
    probability for each beat of the path that was chosen.
    """
    rhythm = hear_rhythm(performance, settings, report)
    if rhythm is None:
        return _steady_grid(performance, settings)
    evidence, near_s = rhythm.evidence, NEAR_S
    shortest, longest = beat_range(settings)
    own = file_metre(performance, evidence, settings)
    if own is not None and own.grid is not None and own.sure:
        return own.grid
    if own is not None:
        step_s = float(np.median(np.diff(own.times_s)))
        shortest, longest, near_s = 0.6 * step_s, LONGEST_S, 0.5 * step_s
        evidence = _at_beats(evidence, own.times_s)
    evidence = as_told(evidence, settings, near_s)
    report(0.5, "finding beats and measures")
    metres = own.metres if own else METRES
    if settings.time_signature != "auto":
        metres = (settings.time_signature,)
    weights = search_weights(settings)

    def in_beats(path: Path) -> Floats:
        return rhythm.revised(evidence, path)

    path = search(evidence, metres, shortest, longest, weights, in_beats)
    if own is not None and own.grid is not None and holds(own.grid, replace(evidence, position=in_beats(path)), path):
        return own.grid
    if len(path.times_s) < 2:
        return _steady_grid(performance, settings)
    if settings.tempo_factor != "1":
        evidence = (_twice if settings.tempo_factor == "2" else _half)(path, evidence)
        shortest = 0.6 * float(np.median(np.diff(evidence.times_s)))
        path = search(evidence, metres, shortest, LONGEST_S, weights, in_beats)
    first, last = float(performance.onsets_s[0]), float(performance.onsets_s[-1])
    grid = _grid(path, _confidence(path, evidence), first, last)
    return grid if own is None else with_keys(grid, own.stated)


def beat_range(settings: MetreSettings) -> tuple[float, float]:
    """Shortest and longest beat that may be, in seconds; leaves room for rubato."""
    if settings.tempo_bpm:
        return 60.0 / settings.tempo_bpm / ABOUT, 60.0 / settings.tempo_bpm * ABOUT
    longest = 60.0 / settings.slowest_bpm
    return min(60.0 / settings.fastest_bpm, longest / 1.15), longest


def search_weights(settings: MetreSettings) -> SearchWeights:
    """Who says where one measure begins means all of them."""
    return SearchWeights(irregular=FIRM) if settings.beat_one_s >= 0 else SearchWeights()


def file_metre(performance: Performance, evidence: Evidence, settings: MetreSettings) -> Own | None:
    """What the file states, where the notes keep to it and the music does not contradict it."""
    own = own_metre(performance, evidence, settings)
    if own is not None and (own.grid is None or says_nothing(own.stated)):
        free = search(evidence, METRES, *beat_range(settings))
        own = None if _contradicts(free, own, settings) else own
    return own


def _contradicts(path: Path, own: Own, settings: MetreSettings) -> bool:
    """Whether the beats that the music suggests cannot be counted in the quarters of a file that no one has set, or
    are three eighths long where it has no measures."""
    if len(path.times_s) < 2:
        return False
    quarters = np.median(np.diff(own.stated.ql_at(path.times_s)))
    if says_nothing(own.stated) and np.abs(quarters / COUNTED - 1.0).min() > UNLIKE:
        return True
    in_eighths = COMPOUND[path.metre].mean() > 0.5 and abs(quarters / 1.5 - 1.0) < UNLIKE
    return bool(in_eighths and own.grid is None and own.metres == METRES and settings.time_signature == "auto")


# ---------------------------------------------------------------- on beats that are given


def _at_beats(evidence: Evidence, times: Floats) -> Evidence:
    """Evidence at given beats, all of which count."""
    k = nearest(evidence.times_s, times)
    struck = np.abs(evidence.times_s[k] - times) < NEAR_S
    position = evidence.position[k]
    position[:, 2] = position[:, 1] + TOLD * (position[:, 2] - position[:, 1])
    position = np.where(struck[:, None], position, UNHEARD)
    position[:, 0] = SURE
    return Evidence(times, position, evidence.tempo[k])


def _beats_only(path: Path, evidence: Evidence, times: Floats, octaves: int) -> Evidence:
    """Evidence at given beats, all of which count; the tempo is read `octaves` faster."""
    evidence = _at_beats(evidence, times)
    position, tempo = evidence.position, evidence.tempo
    was_down = np.isin(times, path.times_s[path.place == 0])
    position[was_down, 2] += 2.0
    tempo = np.roll(tempo, -4 * octaves, axis=2)  # four columns are an octave
    for column in METRES:  # the metre that was found stays likelier
        s = METRES.index(column)
        tempo[:, s] += 0.0 if s == np.bincount(path.metre).argmax() else -3.0
    return Evidence(times, position, tempo)


def _twice(path: Path, evidence: Evidence) -> Evidence:
    """A beat between each two that were found, on an onset if one is near the middle."""
    times = path.times_s
    middle, step = (times[1:] + times[:-1]) / 2.0, np.diff(times)
    k = nearest(evidence.times_s, middle)
    middle = np.where(np.abs(evidence.times_s[k] - middle) < 0.12 * step, evidence.times_s[k], middle)
    return _beats_only(path, evidence, np.sort(np.concatenate([times, middle])), 1)


def _half(path: Path, evidence: Evidence) -> Evidence:
    """Every other beat: those on which more measures begin."""
    down = path.place == 0
    phase = int(down[1::2].sum() > down[::2].sum())
    times = path.times_s[phase::2]
    return _beats_only(path, evidence, times if len(times) > 1 else path.times_s[[0, -1]], -1)


# ---------------------------------------------------------------- the grid


def _confidence(path: Path, evidence: Evidence) -> Floats:
    """How sure each beat is, 0..1: the probability that a beat falls there, in the metre that was chosen."""
    k = np.clip(np.searchsorted(evidence.times_s, path.times_s), 0, len(evidence.times_s) - 1)
    p = np.exp(evidence.position[k])
    total = p.sum(axis=1) + 1e-12
    beat = np.where(path.place == 0, p[:, 2], p[:, 1] + 0.5 * p[:, 2]) / total
    mass = np.exp(evidence.tempo[k]).sum(axis=2)
    own = np.exp(read_as(evidence.tempo[k], ALL_METRES)).sum(axis=2)[np.arange(len(k)), path.metre]
    metre = own / (mass.sum(axis=1) + 1e-12)
    sure = np.sqrt(np.clip(beat * metre, 0.0, 1.0))
    silent_beat = path.onset < 0
    if silent_beat.any() and not silent_beat.all():
        heard = np.flatnonzero(~silent_beat)
        sure[silent_beat] = 0.8 * np.interp(np.flatnonzero(silent_beat), heard, sure[heard])
    return np.asarray(sure)


def _grid(path: Path, confidence: Floats, first_s: float, last_s: float) -> BeatGrid:
    """Beats from the first onset to beyond the last one, numbered in measures."""
    times, metre, place, sure = (x.tolist() for x in (path.times_s, path.metre, path.place, confidence))
    step = max(times[1] - times[0], 0.05)
    while times[0] > first_s + EARLY_S:
        times.insert(0, times[0] - step)
        metre.insert(0, metre[0])
        place.insert(0, (place[0] - 1) % int(BEATS[metre[0]]))
        sure.insert(0, sure[0])
    step = max(times[-1] - times[-2], 0.05)
    while times[-1] <= last_s:
        times.append(times[-1] + step)
        metre.append(metre[-1])
        place.append((place[-1] + 1) % int(BEATS[metre[-1]]))
        sure.append(sure[-1])
    downs = [k for k, p in enumerate(place) if p == 0]
    starts = downs if downs and downs[0] == 0 else [0, *downs]
    starts = _without_stubs(starts, metre, place)
    pickup = place[0] != 0
    ql = np.zeros(len(times))
    measure = np.zeros(len(times), dtype=np.int64)
    beat = np.zeros(len(times), dtype=np.int64)
    signatures: list[TimeSignature] = []
    now = Fraction(0)
    for number, (a, b) in enumerate(zip(starts, [*starts[1:], len(times)], strict=True), start=0 if pickup else 1):
        numerator, denominator = map(int, ALL_METRES[metre[a]].split("/"))
        full = TimeSignature(number, now, numerator, denominator)
        short = number == 0
        if short:
            now = -full.beat_ql * (b - a)
        elif b < len(times) and b - a != BEATS[metre[a]]:
            numerator = numerator * (b - a) // int(BEATS[metre[a]])
        signature = TimeSignature(number, now, numerator, denominator)
        if not signatures or (signatures[-1].numerator, signatures[-1].denominator) != (numerator, denominator):
            signatures.append(signature)
        for k in range(a, b):
            ql[k], measure[k], beat[k] = float(now), number, k - a + 1 + (place[a] if short else 0)
            now += full.beat_ql
    return BeatGrid(
        times_s=np.array(times), ql=ql, measure=measure, beat=beat, time_signatures=tuple(signatures),
        confidence=np.round(sure, 4),  # beyond that it depends on how many threads multiply matrices
    )


def _without_stubs(starts: list[int], metre: list[int], place: list[int]) -> list[int]:
    """A measure of one beat where more are due belongs to the measure before, which is longer then."""
    kept = starts[:1]
    for a, b in pairwise(starts[1:]):
        due = int(BEATS[metre[a]])
        if b - a == 1 and due > 2 and metre[a] == metre[a - 1] and a - kept[-1] == due:
            continue
        kept.append(a)
    return kept + (starts[-1:] if len(starts) > 1 else [])


def _steady_grid(performance: Performance, settings: MetreSettings) -> BeatGrid:
    """Where too little sounds to tell: beats at 120 BPM, or the nearest tempo that is allowed."""
    metre = ALL_METRES.index("4/4" if settings.time_signature == "auto" else settings.time_signature)
    step = 60.0 / min(max(120.0, settings.slowest_bpm), max(settings.fastest_bpm, settings.slowest_bpm))
    onsets = performance.onsets_s
    first = float(onsets[0]) if len(onsets) else 0.0
    last = float(onsets[-1]) if len(onsets) else 0.0
    if settings.beat_one_s >= 0:
        first = min(settings.beat_one_s, first)
    count = np.arange(max(2, int((last - first) / step) + 2))
    times = np.asarray(first + step * count)
    silent_beats = np.full(len(count), -1)
    path = Path(times, np.full(len(count), metre), count % int(BEATS[metre]), silent_beats, 0.0)
    return _grid(path, np.zeros(len(count)), first, last)
