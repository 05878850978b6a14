"""What is known of the rhythm of a performance before beats are searched for.

Features of every onset (rhythm_features) and a small network's reading of them in several measures of context
(rhythm_net); drums (drum_beats) and the sound add what they know. Once there are beats, what is heard in them tells
more of the measures (measure_net). What the user points at is certain.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.ndimage import uniform_filter1d

from ..errors import SettingsError
from ..music import Floats, Ints, Performance, Pulse
from ..settings import MetreSettings
from ..stage import Report, silent
from .beat_search import Evidence, Path, nearest
from .drum_beats import NEAR_S as STROKE_S
from .drum_beats import DrumBeats, hear_drums
from .measure_net import hear_beats, likely_downbeats
from .rhythm_features import hear_onsets
from .rhythm_net import PERIODS_S, Reading, read_rhythm

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
FEWEST_ONSETS, SHORTEST_S = 2, 0.1  # of a performance that has beats at all
SURE = -1e3  # log probability of what the user has ruled out
NEAR_S = 0.07  # an onset this close to a place that the user points at is meant
TAPPED = 40.0  # per octave of the beat's length off the tapped one, beyond the first 0.3
LATE_S = 60.0  # no place that the user points at is later than this after the last note


@dataclass(frozen=True, eq=False)
class Rhythm:
    """What is known of a performance's onsets."""

    performance: Performance
    pitched: Ints  # indices of the notes that are no percussion
    evidence: Evidence
    in_beats: float  # weight of what is heard in beats

    def revised(self, evidence: Evidence, path: Path) -> Floats:
        """The `position` of this evidence in the light of a path's beats: what the music says in them of where
        measures begin."""
        if len(path.times_s) < 2 or len(self.pitched) < FEWEST_NOTES:
            return evidence.position
        p, those = self.performance, self.pitched
        odds = likely_downbeats(hear_beats(
            p.onsets_s[those], p.offsets_s[those], p.pitches[those], p.velocities[those], path.times_s))
        position = evidence.position.copy()
        struck = path.onset >= 0
        position[path.onset[struck], 2] += self.in_beats * np.clip(odds, -MOST_ODDS, MOST_ODDS)[struck]
        return position


def hear_rhythm(performance: Performance, settings: MetreSettings, report: Report = silent) -> Rhythm | None:
    """What is known of the rhythm; None where too little sounds to tell. Raises SettingsError for times that the user
    points at, if they are none or there is no music then."""
    pitched = _pitched(performance)
    sounding = pitched if len(pitched) >= FEWEST_NOTES else np.arange(len(performance.notes))
    onsets_s = performance.onsets_s[sounding]
    if len(onsets_s) < FEWEST_ONSETS or onsets_s[-1] - onsets_s[0] < SHORTEST_S:
        return None
    _check_times(performance, settings)
    report(0.0, "listening to the rhythm")
    onsets = hear_onsets(
        onsets_s, performance.offsets_s[sounding], performance.pitches[sounding], performance.velocities[sounding]
    )
    evidence = _evidence(onsets.times_s, read_rhythm(onsets.times_s, onsets.features))
    drums = hear_drums(performance)
    evidence = _with_drums(evidence, drums)
    if performance.pulse is not None and settings.sound_weight > 0:
        evidence = _with_sound(evidence, performance.pulse, settings.sound_weight)
    return Rhythm(performance, pitched, evidence, BESIDE_DRUMS if len(drums.times_s) else MEASURES)


def as_told(evidence: Evidence, settings: MetreSettings, near_s: float = NEAR_S) -> Evidence:
    """Evidence in which what the user points at is certain; an onset within `near_s` of beat one is meant."""
    if taps_s := _taps(settings.taps_s):
        evidence = _with_taps(evidence, taps_s)
    if settings.beat_one_s >= 0:
        evidence, k = _with_onset(evidence, settings.beat_one_s, near_s)
        evidence.position[k] = (SURE, SURE, 0.0)
    return evidence


def _pitched(performance: Performance) -> Ints:
    """Indices of the notes that are not percussion."""
    kits = {p.id for p in performance.parts if p.percussion}
    return np.array([k for k, n in enumerate(performance.notes) if n.part not in kits], dtype=np.int64)


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


def _check_times(performance: Performance, settings: MetreSettings) -> None:
    """Raises SettingsError for times at which there is no music: beats would be counted up to there."""
    end_s = float(performance.offsets_s.max())
    for name, last_s in (("taps_s", max(_taps(settings.taps_s), default=0.0)), ("beat_one_s", settings.beat_one_s)):
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
