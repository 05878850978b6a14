"""A drum kit to notes: when it is struck, and which of its drums.

A small network of our own looks at a quarter of a second of the spectrum around every 10 ms and says
how likely each drum is struck there; peaks of that curve are notes. The weights come from
tools/train_drums.py, which fits them on grooves that it makes itself. After Vogl, Widmer & Knees,
"Towards multi-instrument drum transcription", DAFx 2018, with a network a hundred times smaller.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...music import Audio, Heard, Note
from ...stage import Report
from ..resample import resample

RATE_HZ = 44100
HOP = 441  # samples a frame, 10 ms
BANDS = 44  # of the spectrum, equally wide in octaves
LOWEST_HZ, HIGHEST_HZ = 40.0, 16000.0
LOW_BANDS, LOW_WINDOW, WINDOW = 16, 4096, 1024  # the lowest bands need long windows, which blur time
CONTEXT = (-6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 11, 15, 20)  # frames that are looked at together
PEAK = 98.5  # percentile of a band's levels that counts as its peak
FAINTEST = 1e-3  # of the loudest frames' level: what is as good as silent

DRUMS = (36, 37, 38, 42, 46, 41, 45, 48, 51, 49)
KICK, STICK, SNARE, CLOSED, OPEN, LOW_TOM, MIDDLE_TOM, HIGH_TOM, RIDE, CRASH = DRUMS
WRITTEN = (KICK, SNARE, CLOSED, OPEN)  # what becomes notes; most cross-sticks, toms and cymbals heard yet are false
EITHER = ((CLOSED, OPEN), (LOW_TOM, MIDDLE_TOM, HIGH_TOM))  # struck one at a time
APART = 5  # frames: no drum is struck again sooner, nor another of `EITHER`
FULL_DB = 40.0  # below the loudest stroke: a tenth of its velocity
LASTS_S = 0.1

WEIGHTS = Path(__file__).with_name("drums.npz")
Floats32 = NDArray[np.float32]


def hear_drums(audio: Audio, report: Report) -> Heard:
    """The strokes of a drum stem on the drums that are `WRITTEN`, as General MIDI percussion. Ids are left empty."""
    report(0.0, "listening for drums")
    spectrum = bands(resample(audio.mono, audio.rate_hz, RATE_HZ))
    report(0.5, "listening for drums")
    notes = strokes(spectrum, odds(spectrum), _weights()["threshold"])
    return Heard(tuple(n for n in notes if n.pitch in WRITTEN), transcriber="drums")


def bands(samples: Floats32) -> Floats32:
    """Level of every band, about 0..3 (decades above the faintest), shape (frames, BANDS); frame i lies at i * HOP."""
    count = len(samples) // HOP + 1
    low, high = (_spectrogram(samples, window, count) @ _filters(window) for window in (LOW_WINDOW, WINDOW))
    level = np.concatenate([low[:, :LOW_BANDS], high[:, LOW_BANDS:]], axis=1)
    loudest = np.percentile(level.max(axis=1), 98) + 1e-9
    return np.asarray(np.log10(level / (loudest * FAINTEST) + 1.0), dtype=np.float32)


def _spectrogram(samples: Floats32, window: int, count: int) -> Floats32:
    """Magnitudes, shape (count, window // 2 + 1)."""
    padded = np.pad(samples, (window // 2, window))
    shape = np.hanning(window).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::HOP][:count]
    result = np.empty((count, window // 2 + 1), dtype=np.float32)
    for first in range(0, count, 1024):  # so that memory does not grow with length
        result[first : first + 1024] = np.abs(np.fft.rfft(frames[first : first + 1024] * shape)) * (2 / shape.sum())
    return result


@lru_cache(maxsize=4)
def _filters(window: int) -> Floats32:
    """Triangles over the bins, shape (window // 2 + 1, BANDS), each the root of a sum of one."""
    hz = np.fft.rfftfreq(window, 1 / RATE_HZ)
    edges = np.geomspace(LOWEST_HZ, HIGHEST_HZ, BANDS + 2)
    widest = np.maximum(np.diff(edges), 1.2 * RATE_HZ / window)  # no triangle falls between two bins
    rise = 1 - (edges[1:-1] - hz[:, None]) / widest[:-1]
    fall = 1 - (hz[:, None] - edges[1:-1]) / widest[1:]
    triangle = np.clip(np.minimum(rise, fall), 0, None)
    return np.asarray(triangle / np.sqrt(triangle.sum(axis=0)), dtype=np.float32)


def facts(spectrum: Floats32) -> Floats32:
    """Bands as they are, and below where each peaks in this recording, which no room or tone control changes.

    Shape (frames, 2 * BANDS).
    """
    peak = np.percentile(spectrum, PEAK, axis=0) if len(spectrum) else np.zeros(BANDS)
    return np.concatenate([spectrum, spectrum - peak.astype(np.float32)], axis=1)


def in_context(seen: Floats32) -> Floats32:
    """Every frame of `facts` beside those around it, shape (frames, len(CONTEXT) * 2 * BANDS)."""
    before, after = -CONTEXT[0], CONTEXT[-1]
    padded = np.pad(seen, ((before, after), (0, 0)))
    return np.concatenate([padded[before + k : before + k + len(seen)] for k in CONTEXT], axis=1)


def odds(spectrum: Floats32) -> Floats32:
    """How likely each drum is struck in each frame, shape (frames, len(DRUMS))."""
    w = _weights()
    x = in_context(facts(spectrum))
    for layer in ("first", "second"):
        x = np.maximum(x @ w[f"{layer}.weight"] + w[f"{layer}.bias"], 0.0)
    return np.asarray(1 / (1 + np.exp(-(x @ w["last.weight"] + w["last.bias"]))), dtype=np.float32)


@lru_cache(maxsize=1)
def _weights() -> dict[str, Floats32]:
    with np.load(WEIGHTS) as stored:
        return {name: stored[name].astype(np.float32) for name in stored.files}


def strokes(spectrum: Floats32, likely: Floats32, threshold: Floats32) -> list[Note]:
    """Peaks over each drum's threshold, a stroke a peak; of drums that exclude each other the likelier."""
    found = [(int(t), drum, float(likely[t, k]))
             for k, drum in enumerate(DRUMS) for t in peaks(likely[:, k], float(threshold[k]))]
    kept: list[tuple[int, int, float]] = []
    for t, drum, p in sorted(found, key=lambda stroke: -stroke[2]):
        rivals = next((group for group in EITHER if drum in group), (drum,))
        if not any(other in rivals and abs(at - t) < APART for at, other, _ in kept):
            kept.append((t, drum, p))
    loudest = max((_level(spectrum, t) for t, *_ in kept), default=0.0)
    return [
        Note("", t * HOP / RATE_HZ, t * HOP / RATE_HZ + LASTS_S, drum,
             int(np.clip(round(127 * 10 ** ((_level(spectrum, t) - loudest) * 20 / FULL_DB)), 1, 127)), round(p, 4))
        for t, drum, p in kept
    ]


def peaks(curve: Floats32, threshold: float) -> NDArray[np.int64]:
    """Frames at which a curve is highest within `APART` frames and above the threshold."""
    around = np.lib.stride_tricks.sliding_window_view(np.pad(curve, APART - 1), 2 * APART - 1)
    highest = around.argmax(axis=1) == APART - 1  # the first of equals
    return np.flatnonzero(highest & (curve >= threshold))


def _level(spectrum: Floats32, frame: int) -> float:
    """Decades above the faintest just after the stroke."""
    return float(spectrum[frame : frame + 3].max(initial=0.0))
