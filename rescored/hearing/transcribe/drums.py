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
from ...room import Samples
from ...stage import Report
from ..frames import BLOCK, frames
from ..resample import mono_at

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
    spectrum = bands(mono_at(audio, RATE_HZ))
    report(0.5, "listening for drums")
    notes = strokes(spectrum, odds(spectrum), _weights()["threshold"])
    return Heard(tuple(n for n in notes if n.pitch in WRITTEN), transcriber="drums")


def bands(samples: Samples) -> Floats32:
    """Level of every band, about 0..3 (decades above the faintest), shape (frames, BANDS); frame i lies at i * HOP."""
    low, high = (_levels(samples, window) for window in (LOW_WINDOW, WINDOW))
    level = np.concatenate([low[:, :LOW_BANDS], high[:, LOW_BANDS:]], axis=1)
    loudest = np.percentile(level.max(axis=1), 98) + 1e-9
    return np.asarray(np.log10(level / (loudest * FAINTEST) + 1.0), dtype=np.float32)


def _levels(samples: Samples, window: int) -> Floats32:
    """Level of every band by windows of one length, shape (frames, BANDS)."""
    shape = np.hanning(window).astype(np.float32)
    result = np.empty((len(samples) // HOP + 1, BANDS), dtype=np.float32)
    for first, some in frames(samples, window, HOP):
        magnitude = np.abs(np.fft.rfft(some * shape)) * (2 / shape.sum())
        result[first : first + len(some)] = magnitude.astype(np.float32) @ _filters(window)
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
    """Every frame of `facts` beside those around it, but for those at the ends, which lack them.

    Shape (frames - what `CONTEXT` spans, len(CONTEXT) * 2 * BANDS).
    """
    before, after = -CONTEXT[0], CONTEXT[-1]
    return np.concatenate([seen[before + k : len(seen) - after + k] for k in CONTEXT], axis=1)


def odds(spectrum: Floats32) -> Floats32:
    """How likely each drum is struck in each frame, shape (frames, len(DRUMS))."""
    w, before, after = _weights(), -CONTEXT[0], CONTEXT[-1]
    seen = np.pad(facts(spectrum), ((before, after), (0, 0)))
    result = np.empty((len(spectrum), len(DRUMS)), dtype=np.float32)
    for first in range(0, len(spectrum), BLOCK):
        x = in_context(seen[first : first + before + BLOCK + after])
        for layer in ("first", "second"):
            x = np.maximum(x @ w[f"{layer}.weight"] + w[f"{layer}.bias"], 0.0)
        result[first : first + BLOCK] = 1 / (1 + np.exp(-(x @ w["last.weight"] + w["last.bias"])))
    return result


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
