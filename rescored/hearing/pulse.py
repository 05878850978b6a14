"""Stage `track_pulse`: what the sound itself, apart from any notes, says about the beat."""

from __future__ import annotations

import numpy as np

from ..music import Audio, Floats, Pulse
from ..settings import PulseSettings
from ..stage import Report, silent, stage
from .resample import resample

RATE_HZ = 22050
HOP = 256  # samples a frame: 86 frames a second
WINDOW = 2048  # samples that a frame's spectrum is taken of
BLOCK = 4096  # frames at a time, 48 s, so that memory does not grow with length
AROUND_S = 3.0  # a frame's strength is measured by the strongest this near, so that quiet passages count


@stage(version=1)
def track_pulse(audio: Audio, *, settings: PulseSettings, report: Report = silent) -> Pulse:
    """Activations (0..1) of beats and downbeats, from the begin of `audio`."""
    if settings.tracker == "none":
        return Pulse(RATE_HZ / HOP, np.zeros(0), np.zeros(0), "none")
    beat = onset_strength(audio, report)
    return Pulse(RATE_HZ / HOP, beat, np.zeros(len(beat)), "onset-strength")


def onset_strength(audio: Audio, report: Report = silent) -> Floats:
    """How much the spectrum brightens, 0..1 of the strongest within `AROUND_S`; shape (n,) at 86 Hz.

    Spectral flux over mel bands (Böck & Widmer, "Maximum filter vibrato suppression for onset
    detection", DAFx 2013), computed by librosa. Frame i lies at i / 86.13 s.
    """
    import librosa
    from scipy.ndimage import maximum_filter1d

    samples = resample(audio.mono, audio.rate_hz, RATE_HZ)
    frames = len(samples) // HOP + 1
    padded = np.pad(samples, WINDOW // 2)
    mels = []
    for first in range(0, frames, BLOCK):
        report(first / frames, "listening for the pulse")
        block = padded[first * HOP : (min(first + BLOCK, frames) - 1) * HOP + WINDOW]
        mels.append(librosa.feature.melspectrogram(
            y=block, sr=RATE_HZ, n_fft=WINDOW, hop_length=HOP, center=False, n_mels=64, fmax=8000.0))
    spectrum = librosa.power_to_db(np.concatenate(mels, axis=1), ref=np.max, top_db=80.0)
    strength = librosa.onset.onset_strength(S=spectrum, sr=RATE_HZ, hop_length=HOP, max_size=3, lag=2, center=False)
    near = maximum_filter1d(strength, int(2 * AROUND_S * RATE_HZ / HOP) + 1)
    floor = max(float(strength.max(initial=0.0)) * 0.05, 1e-6)
    return np.asarray(strength / np.maximum(near, floor), dtype=np.float64)
