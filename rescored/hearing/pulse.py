"""Stage `track_pulse`: what the sound itself, apart from any notes, says about the beat."""

from __future__ import annotations

import numpy as np

from ..models import turn_at_gpu
from ..music import Audio, Floats, Pulse
from ..room import Samples
from ..settings import PulseSettings
from ..stage import Report, silent, stage
from . import beat_this
from .frames import frames
from .resample import mono_at

RATE_HZ = 22050
HOP = 256  # samples a frame: 86 frames a second
WINDOW = 1024  # samples that a frame's spectrum is taken of
BANDS = 48
LAG = 2  # frames over which a rise is measured
DIGITS = 4  # of an activation, as song.json has them: a saved transcription is notated from the very same
AROUND_S = 3.0  # a frame's strength is measured by the strongest this near, so that quiet passages count


@stage(version=1, kept=False)
def find_tracker(*, settings: PulseSettings, report: Report = silent) -> str:
    """The tracker that was asked for; auto = "beat-this" where its weights are, else "onset-strength"."""
    if settings.tracker != "auto":
        return settings.tracker
    return "beat-this" if beat_this.checkpoint() else "onset-strength"


@stage(version=2)
def track_pulse(
    audio: Audio, tracker: str = "", *, settings: PulseSettings, report: Report = silent
) -> Pulse:
    """Activations (0..1) of beats and downbeats, from the begin of `audio`.

    `tracker` is what `find_tracker` found ("" = ask it). Raises `ModelUnavailable` if "beat-this" was
    asked for and its weights are not here.
    """
    tracker = tracker or find_tracker(settings=settings)
    if tracker == "none":
        return Pulse(RATE_HZ / HOP, np.zeros(0), np.zeros(0), tracker)
    samples = mono_at(audio, RATE_HZ)
    if tracker == "beat-this":
        with turn_at_gpu(report):
            beat, downbeat = beat_this.activations(samples, report)
        return Pulse(beat_this.RATE_HZ / beat_this.HOP, beat.round(DIGITS), downbeat.round(DIGITS), tracker)
    beat = onset_strength(samples, report)
    return Pulse(RATE_HZ / HOP, beat.round(DIGITS), np.zeros(len(beat)), tracker)


def onset_strength(samples: Samples, report: Report) -> Floats:
    """How much the spectrum brightens, 0..1 of the strongest within `AROUND_S`; shape (n,) at 86 Hz.

    Spectral flux over mel bands, against a neighbourhood of bands two frames before (Böck & Widmer,
    "Maximum filter vibrato suppression for onset detection", DAFx 2013). Frame i lies at i / 86.13 s.
    """
    from librosa.filters import mel
    from scipy.ndimage import maximum_filter1d

    bands = mel(sr=RATE_HZ, n_fft=WINDOW, n_mels=BANDS, fmax=8000.0).T
    count = len(samples) // HOP + 1
    energy = np.empty((count, BANDS), dtype=np.float32)
    for first, some in frames(samples, WINDOW, HOP):
        report(first / count, "listening for the pulse")
        spectrum = np.fft.rfft(some * np.hanning(WINDOW).astype(np.float32))
        energy[first : first + len(some)] = np.square(np.abs(spectrum)) @ bands
    level_db = 10 * np.log10(np.maximum(energy, max(float(energy.max(initial=0.0)) * 1e-8, 1e-12)))
    rise_db = level_db[LAG:] - maximum_filter1d(level_db, 3, axis=1)[:-LAG]
    strength = np.zeros(count)
    strength[LAG:] = np.maximum(rise_db, 0).mean(axis=1)
    near = maximum_filter1d(strength, round(2 * AROUND_S * RATE_HZ / HOP) + 1)
    floor = max(float(strength.max(initial=0.0)) / 20, 1e-6)
    return np.asarray(strength / np.maximum(near, floor), dtype=np.float64)
