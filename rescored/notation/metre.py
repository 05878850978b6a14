"""Beats, measures and time signatures of a performance.

Three steps: features of every onset (rhythm_features), a small network's reading of them in several
measures of context (rhythm_net), and an exact search that makes one consistent grid of it
(beat_search); once there are beats, what is heard in them tells more of the measures (measure_net). Drums
(drum_beats) and the sound add what they know; what the user says about metre and tempo limits or steers
the search. Beats, and mostly measures, that a MIDI file states hold where its notes keep to them (own_beats).
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
from scipy.ndimage import uniform_filter1d

from ..errors import SettingsError
from ..music import BeatGrid, Floats, Ints, Performance, Pulse, TimeSignature
from ..settings import MetreSettings
from ..stage import Report, silent, stage
from .beat_search import ALL_METRES, BEATS, COMPOUND, Evidence, Path, SearchWeights, nearest, read_as, search
from .drum_beats import NEAR_S as STROKE_S
from .drum_beats import DrumBeats, hear_drums
from .measure_net import EARLY_S, hear_beats, likely_downbeats
from .own_beats import Own, holds, own_metre, says_nothing, with_keys
from .rhythm_features import hear_onsets
from .rhythm_net import METRES, PERIODS_S, Reading, read_rhythm

# How far the network is believed; players of real music take quicker beats than simulated ones. Chosen on held-out
# composers, songs and plain pieces.
PLACES = 1.5  # weight of where beats and downbeats fall
TEMPI = 0.6  # weight of metre and beat length
AROUND = 24  # onsets to either side
FASTER = 2.0  # per octave of the beat's length
MORE_BEATS = 0.5  # on the log odds of a beat
LONGER_MEASURES = 0.4  # off those of a downbeat: what fits two beats and four alike is written in four
MEASURES = 2.0  # weight of what is heard in beats of downbeats; chosen likewise
BESIDE_DRUMS = 0.5  # the same where a kit plays: nothing that this network learned from has one
MOST_ODDS = 6.0  # that it has
FEWEST_NOTES = 8  # fewer that are no percussion say nothing of the metre
TOLD = 0.5  # share of what the network says of downbeats that counts where beats are given
UNHEARD = np.log(1 / 3) + np.array([0.0, 0.0, -1.0])  # of a given beat on which nothing begins: seldom a downbeat
LONGEST_S = 60.0  # of a beat, where beats are given
SURE = -1e3  # log probability of what the user has ruled out
NEAR_S = 0.07  # an onset this close to a place that the user points at is meant
TAPPED = 40.0  # per octave of the beat's length off the tapped one, beyond the first 0.3
FIRM = 100.0  # cost of an irregular measure where the user has said where one begins
LATE_S = 60.0  # no place that the user points at is later than this after the last note
COUNTED = np.array([0.5, 1.0, 2.0, 3.0, 4.0])  # quarters of a beat, or of a measure in one
UNLIKE = 0.05  # share by which a beat is no such number


@stage(version=21)
def find_metre(performance: Performance, *, settings: MetreSettings, report: Report = silent) -> BeatGrid:
    """The beats of a performance with their measures; any performance has some.

    They are those that a MIDI file states, where its notes keep to them. Else `confidence` is the network's
    probability for each beat of the path that was chosen.
    """
    pitched = _pitched(performance)
    sounding = pitched if len(pitched) >= FEWEST_NOTES else np.arange(len(performance.notes))
    onsets_s = performance.onsets_s[sounding]
    if len(onsets_s) < 2 or onsets_s[-1] - onsets_s[0] < 0.1:
        return _steady_grid(performance, settings)
    taps_s = _taps(settings.taps_s)
    _check_times(performance, taps_s, settings)
    report(0.0, "listening to the rhythm")
    onsets = hear_onsets(
        onsets_s, performance.offsets_s[sounding], performance.pitches[sounding], performance.velocities[sounding]
    )
    reading = read_rhythm(onsets.times_s, onsets.features)
    evidence = _evidence(onsets.times_s, reading)
    drums = hear_drums(performance)
    evidence = _with_drums(evidence, drums)
    if performance.pulse is not None and settings.sound_weight > 0:
        evidence = _with_sound(evidence, performance.pulse, settings.sound_weight)
    longest = 60.0 / settings.slowest_bpm
    shortest = min(60.0 / settings.fastest_bpm, longest / 1.15)  # a range that leaves room for rubato
    near_s = NEAR_S
    own = own_metre(performance, evidence, settings)
    if own is not None and (own.grid is None or says_nothing(own.stated)):
        free = search(evidence, METRES, shortest, longest)
        own = None if _contradicts(free, own, settings) else own
    if own is not None and own.grid is not None and own.sure:
        return own.grid
    if own is not None:
        step_s = float(np.median(np.diff(own.times_s)))
        shortest, longest, near_s = 0.6 * step_s, LONGEST_S, 0.5 * step_s
        evidence = _at_beats(evidence, own.times_s)
    if taps_s:
        evidence = _with_taps(evidence, taps_s)
    if settings.beat_one_s >= 0:
        evidence, k = _with_onset(evidence, settings.beat_one_s, near_s)
        evidence.position[k] = (SURE, SURE, 0.0)
    report(0.5, "finding beats and measures")
    metres = own.metres if own else METRES
    if settings.time_signature != "auto":
        metres = (settings.time_signature,)
    # who says where one measure begins means all of them
    weights = SearchWeights(irregular=FIRM) if settings.beat_one_s >= 0 else SearchWeights()

    def in_beats(path: Path) -> Floats:
        weight = BESIDE_DRUMS if len(drums.times_s) else MEASURES
        return _with_measures(evidence, path, performance, pitched, weight)

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


def _pitched(performance: Performance) -> Ints:
    """Indices of the notes that are not percussion."""
    kits = {p.id for p in performance.parts if p.percussion}
    return np.array([k for k, n in enumerate(performance.notes) if n.part not in kits], dtype=np.int64)


# ---------------------------------------------------------------- evidence


def _evidence(times_s: Floats, reading: Reading) -> Evidence:
    """The network's reading, weighed."""
    prior = np.array([0.0, MORE_BEATS, MORE_BEATS - LONGER_MEASURES])
    position = PLACES * (reading.position.astype(np.float64) + prior)
    tempo = reading.tempo.astype(np.float64)  # half of it as read around, since beats do not halve and double
    tempo = 0.5 * (tempo + uniform_filter1d(tempo, 2 * AROUND + 1, axis=0, mode="nearest"))
    return Evidence(times_s, position, TEMPI * tempo - FASTER * np.log2(PERIODS_S))


def _with_drums(evidence: Evidence, drums: DrumBeats) -> Evidence:
    """The strokes of a drum kit as more log odds; where nothing else sounds they are onsets of their own."""
    if not len(drums.times_s):
        return evidence
    alone = np.array([np.abs(evidence.times_s - t).min() > STROKE_S for t in drums.times_s])
    at = np.searchsorted(evidence.times_s, drums.times_s[alone])
    times = np.insert(evidence.times_s, at, drums.times_s[alone])
    position = np.insert(evidence.position, at, 0.0, axis=0)
    tempo = np.insert(evidence.tempo, at, evidence.tempo[np.minimum(at, len(evidence.tempo) - 1)], axis=0)
    k = nearest(times, drums.times_s)
    np.add.at(position[:, 1], k, PLACES * drums.beat)
    np.add.at(position[:, 2], k, PLACES * drums.downbeat)
    return Evidence(times, position, tempo)


def _with_sound(evidence: Evidence, pulse: Pulse, weight: float) -> Evidence:
    """The pulse of the sound as more log odds for beats, against what is usual among the onsets."""
    position = evidence.position.copy()
    for curve, columns in ((pulse.beat, [1, 2]), (pulse.downbeat, [2])):
        if len(curve) == 0 or not curve.any():
            continue
        frame = np.round(evidence.times_s * pulse.rate_hz).astype(np.int64)
        reach = max(1, round(0.035 * pulse.rate_hz))
        around = np.clip(frame[:, None] + np.arange(-reach, reach + 1), 0, len(curve) - 1)
        active = np.clip(curve[around].max(axis=1), 0.02, 0.98)
        odds = np.log(active / (1.0 - active))
        position[:, columns] += 0.5 * weight * np.clip(odds - np.median(odds), -3.0, 3.0)[:, None]
    return replace(evidence, position=position)


def _with_onset(evidence: Evidence, at_s: float, near_s: float) -> tuple[Evidence, int]:
    """A copy, and the index of the onset that is meant by a time: one nearby, or a new one that is just there."""
    times, position, tempo = evidence.times_s, evidence.position.copy(), evidence.tempo
    k = int(np.argmin(np.abs(times - at_s)))
    if abs(times[k] - at_s) > near_s:
        after = int(np.searchsorted(times, at_s))
        times = np.insert(times, after, at_s)
        position = np.insert(position, after, 0.0, axis=0)
        tempo = np.insert(tempo, after, tempo[k], axis=0)
        k = after
    return Evidence(times, position, tempo), k


def _taps(text: str) -> list[float]:
    """Tapped times, in order; raises SettingsError for what are no times."""
    try:
        taps_s = sorted({float(word) for word in text.replace(",", " ").split()})
    except ValueError:
        taps_s = [-1.0]
    if taps_s and not (taps_s[0] >= 0.0 and np.isfinite(taps_s[-1])):
        raise SettingsError(f"metre.taps_s cannot be {text!r}.", "It takes times in seconds, separated by blanks.")
    return taps_s


def _check_times(performance: Performance, taps_s: list[float], settings: MetreSettings) -> None:
    """Raises SettingsError for times at which there is no music: beats would be counted up to there."""
    end_s = float(performance.offsets_s.max())
    for name, last_s in (("taps_s", max(taps_s, default=0.0)), ("beat_one_s", settings.beat_one_s)):
        if last_s > end_s + LATE_S:
            raise SettingsError(f"metre.{name} says {last_s:g} s, but the music ends at {end_s:.0f} s.",
                                "Choose a time within the music.")


def _with_taps(evidence: Evidence, taps_s: list[float]) -> Evidence:
    """Beats fall where they were tapped, none between neighbouring taps, and elsewhere beats last about as long."""
    step = float(np.median(np.diff(taps_s))) if len(taps_s) > 1 else 0.0
    near_s = max(NEAR_S, 0.2 * step)  # fingers are less exact than pianists
    for tap_s in taps_s:
        evidence, k = _with_onset(evidence, tap_s, near_s)
        evidence.position[k, 0] = SURE
    if not step:
        return evidence
    times, position = evidence.times_s, evidence.position
    for a, b in pairwise(taps_s):
        if b - a < 1.6 * step:
            between = (times > a + near_s) & (times < b - near_s)
            position[between, 1:] = SURE
    off = np.abs(np.log2(PERIODS_S / step))
    return replace(evidence, tempo=evidence.tempo - TAPPED * np.maximum(off - 0.3, 0.0))


def _at_beats(evidence: Evidence, times: Floats) -> Evidence:
    """Evidence at given beats, all of which count."""
    k = nearest(evidence.times_s, times)
    struck = np.abs(evidence.times_s[k] - times) < NEAR_S
    position = evidence.position[k]
    position[:, 2] = position[:, 1] + TOLD * (position[:, 2] - position[:, 1])
    position = np.where(struck[:, None], position, UNHEARD)
    position[:, 0] = SURE
    return Evidence(times, position, evidence.tempo[k])


def _with_measures(evidence: Evidence, path: Path, performance: Performance, pitched: Ints, weight: float) -> Floats:
    """The evidence's `position`, and what the music says in the beats of a path of where measures begin."""
    if len(path.times_s) < 2 or len(pitched) < FEWEST_NOTES:
        return evidence.position
    odds = likely_downbeats(hear_beats(
        performance.onsets_s[pitched], performance.offsets_s[pitched], performance.pitches[pitched],
        performance.velocities[pitched], path.times_s))
    position = evidence.position.copy()
    struck = path.onset >= 0
    position[path.onset[struck], 2] += weight * np.clip(odds, -MOST_ODDS, MOST_ODDS)[struck]
    return position


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
