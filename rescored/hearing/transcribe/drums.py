"""A drum kit to notes: when it is struck, and which of its drums.

A small network of our own looks at the spectrum around every 10 ms, two thirds of a second to either
side, and says how likely each drum is struck there; peaks of that curve are notes. The weights come from
tools/train_drums.py, which fits them on grooves that it makes itself. After Vogl, Widmer & Knees,
"Towards multi-instrument drum transcription", DAFx 2018, with dilated convolutions (Davies & Böck,
"Temporal convolutional networks for musical audio beat tracking", EUSIPCO 2019) for recurrent layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...models import weights_in
from ...music import Audio, Floats, Heard, Note
from ...room import Samples
from ...stage import Report
from ..frames import BLOCK, frames
from ..resample import mono_at

RATE_HZ = 44100
HOP = 441  # samples a frame, 10 ms
BANDS = 44  # of the spectrum, equally wide in octaves
LOWEST_HZ, HIGHEST_HZ = 40.0, 16000.0
LOW_BANDS, LOW_WINDOW, WINDOW = 16, 4096, 1024  # the lowest bands need long windows, which blur time
WIDTH, DILATIONS = 64, (1, 2, 4, 8, 16, 32)  # of the network's layers
REACH = 2 + sum(DILATIONS)  # frames to either side that it looks at
PEAK = 98.5  # percentile of a band's levels that counts as its peak
FAINTEST = 1e-3  # of the loudest frames' level: what is as good as silent

DRUMS = (36, 37, 38, 42, 46, 45, 51, 49)  # what the network tells apart; toms are told apart by their pitch
KICK, STICK, SNARE, CLOSED, OPEN, MIDDLE_TOM, RIDE, CRASH = DRUMS
LOW_TOM, HIGH_TOM = 41, 48
TOMS = (LOW_TOM, MIDDLE_TOM, HIGH_TOM)
KEEPERS = (CLOSED, RIDE, OPEN)  # one hand keeps time on them: struck one at a time
APART = 5  # frames: no drum is struck again sooner, nor another of `KEEPERS`
SECTION_S = 3.0  # to either side of a stroke: drummers keep time on one cymbal for measures
FAVOUR = 0.2  # for the closed hi-hat, which keeps time more often than the ride cymbal
FULL_DB = 40.0  # below the loudest stroke: a tenth of its velocity
LASTS_S = 0.1
SOUNDS, BEFORE = slice(2, 12), slice(-4, -1)  # frames after a tom's stroke in which its pitch is heard, and before it
FUNDAMENTAL = 0.3  # of the strongest low band, the least level of a tom's lowest partial
WITHOUT_KICK = 4  # bands, up to 70 Hz, that are a kick's where both are struck
TOMS_APART = 0.22  # octaves, at least, between two toms of a kit
LOWER, UPPER = 6.6, 6.9  # log2 of 97 and 119 Hz: below is a floor tom, above the highest of the kit
WIRELESS = 7.65  # log2 of 200 Hz: no tom of a kit is higher, but a snare drum whose wires are off

Floats32 = NDArray[np.float32]
WORTH_WRITING = 0.65  # F1 of a drum, at least: below, a drummer would strike out more than is right
ALIKE = (OPEN, RIDE)  # written as a closed hi-hat by an ear that does not tell them from it
SURE, SURE_A_SECOND = 0.7, 0.3  # likeliness, and how many strokes have it where drums play at all


@dataclass(frozen=True)
class Ear:
    """Weights, and the onset F1 (50 ms) of every drum on kits and songs that were held out (tools/train_drums.py)."""

    weights: str
    f1: Mapping[int, float]

    def writes(self, drum: int) -> bool:
        """Whether the drum becomes notes."""
        return self.f1[drum] >= WORTH_WRITING


# Of the hi-hats both together; of a rough stem, where they are written alike, the ride cymbal, too
CLEAN = Ear("drums.npz", {
    KICK: 0.99, SNARE: 0.83, CLOSED: 0.80, OPEN: 0.29, LOW_TOM: 0.80, MIDDLE_TOM: 0.80, HIGH_TOM: 0.80, RIDE: 0.66,
    CRASH: 0.82, STICK: 0.30})
ROUGH = Ear("drums_in_mix.npz", {
    KICK: 0.90, SNARE: 0.65, CLOSED: 0.78, OPEN: 0.20, LOW_TOM: 0.60, MIDDLE_TOM: 0.60, HIGH_TOM: 0.60, RIDE: 0.54,
    CRASH: 0.70, STICK: 0.30})


def hear_drums(audio: Audio, mix: Audio | None, report: Report) -> Heard:
    """The strokes of a drum stem, as General MIDI percussion, on the drums that are heard well. Ids are left empty.

    `mix`: the whole recording, where its stem is too rough to be heard alone. There must be some strokes then that
    are beyond doubt, or no drums play.
    """
    ear = ROUGH if mix else CLEAN
    report(0.0, "listening for drums")
    spectrum = bands(mono_at(audio, RATE_HZ))
    if mix:
        report(0.3, "listening for drums")
        spectrum = np.concatenate([spectrum, bands(mono_at(mix, RATE_HZ))], axis=1)
    report(0.6, "listening for drums")
    found = strokes(spectrum, odds(spectrum, ear.weights), weights(ear.weights)["threshold"])
    found = [replace(n, pitch=CLOSED) if n.pitch in ALIKE and not ear.writes(n.pitch) else n for n in found]
    notes = tuple(n for n in found if ear.writes(n.pitch))
    if mix and sum(n.confidence >= SURE for n in notes) < SURE_A_SECOND * audio.duration_s:
        return Heard((), transcriber="drums")
    return Heard(notes, transcriber="drums", warnings=_left_out(ear) if mix and notes else ())


def _left_out(ear: Ear) -> tuple[str, ...]:
    """What to say of a rough stem's drums."""
    families = {"kick": KICK, "snare": SNARE, "hi-hat": CLOSED, "toms": MIDDLE_TOM, "crash cymbal": CRASH}
    there = ", ".join(name for name, drum in families.items() if ear.writes(drum))
    missing = ", ".join(name for name, drum in families.items() if not ear.writes(drum))
    return (f"The drums were heard in a rough stem: {there} are written, ride cymbal and open hi-hat as closed hi-hat"
            + (f", {missing} not at all." if missing else "."),)


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
    """Bands of a stem, or of it and the mix, as they are, and below where each peaks in this recording, which no room
    or tone control changes: shape (frames, 2 * columns of the spectrum).
    """
    peak = np.percentile(spectrum, PEAK, axis=0) if len(spectrum) else np.zeros(spectrum.shape[1])
    return np.concatenate([spectrum, spectrum - peak.astype(np.float32)], axis=1)


def odds(spectrum: Floats32, name: str) -> Floats32:
    """How likely each drum is struck in each frame, shape (frames, len(DRUMS)), by the weights of that name."""
    seen, w = facts(spectrum), weights(name)
    result = np.empty((len(spectrum), len(DRUMS)), dtype=np.float32)
    for first in range(0, len(spectrum), BLOCK):
        begin = max(first - REACH, 0)
        logits = _network(seen[begin : first + BLOCK + REACH], w)
        result[first : first + BLOCK] = 1 / (1 + np.exp(-logits[first - begin :][:BLOCK]))
    return result


def _network(x: Floats32, w: Mapping[str, Floats32]) -> Floats32:
    """Log-odds of every drum in some frames of `facts`."""
    x = np.maximum(_convolved(x, w["first.weight"], w["first.bias"]), 0)
    for k, dilation in enumerate(DILATIONS):
        x = x + np.maximum(_convolved(x, w[f"later.{k}.weight"], w[f"later.{k}.bias"], dilation), 0)
    x = np.maximum(_convolved(x, w["mix.weight"], w["mix.bias"]), 0)
    return _convolved(x, w["last.weight"], w["last.bias"])


def _convolved(x: Floats32, weight: Floats32, bias: Floats32, dilation: int = 1) -> Floats32:
    """Frames (n, inputs) through a layer of weights (taps, inputs, outputs)."""
    edge = len(weight) // 2 * dilation
    padded = np.pad(x, ((edge, edge), (0, 0)))
    taps = (padded[k * dilation :][: len(x)] @ weight[k] for k in range(len(weight)))
    return np.asarray(sum(taps, start=bias), dtype=np.float32)


@lru_cache(maxsize=2)
def weights(name: str) -> dict[str, Floats32]:
    """Of the network, and the threshold of every drum."""
    return weights_in(Path(__file__).with_name(name))


Stroke = tuple[int, int, float]  # frame, drum, how likely


def strokes(spectrum: Floats32, likely: Floats32, threshold: Floats32) -> list[Note]:
    """Peaks over each drum's threshold, a stroke a peak; of drums that exclude each other the likelier. That of the
    closed hi-hat holds for what keeps time, be it the ride cymbal or the hi-hat."""
    found = [(int(t), drum, float(likely[t, k])) for k, drum in enumerate(DRUMS) if drum not in (CLOSED, RIDE)
             for t in peaks(likely[:, k], float(threshold[k]))]
    found += _time_keeper(likely[:, DRUMS.index(CLOSED)], likely[:, DRUMS.index(RIDE)],
                          float(threshold[DRUMS.index(CLOSED)]))
    kept: list[Stroke] = []
    taken = np.zeros((len(DRUMS), len(likely) + APART), dtype=bool)
    for t, drum, p in sorted(found, key=lambda stroke: -stroke[2]):
        rivals = [DRUMS.index(rival) for rival in (KEEPERS if drum in KEEPERS else (drum,))]
        if not taken[rivals, t].any():
            taken[rivals, max(t - APART + 1, 0) : t + APART] = True
            kept.append((t, drum, p))
    kept = _by_pitch(kept, spectrum)
    loudest = max((_level(spectrum, t) for t, *_ in kept), default=0.0)
    return [
        Note("", t * HOP / RATE_HZ, t * HOP / RATE_HZ + LASTS_S, drum,
             int(np.clip(round(127 * 10 ** ((_level(spectrum, t) - loudest) * 20 / FULL_DB)), 1, 127)), round(p, 4))
        for t, drum, p in kept
    ]


def _time_keeper(closed: Floats32, ride: Floats32, threshold: float) -> list[Stroke]:
    """Strokes on the closed hi-hat or the ride cymbal: whichever the section around says they are."""
    either = any_of(np.stack([closed, ride], axis=1))
    at = peaks(either, threshold)
    says = np.array([closed[max(t - 1, 0) : t + 2].max() - ride[max(t - 1, 0) : t + 2].max() + FAVOUR for t in at])
    before = np.append(0.0, np.cumsum(says))
    reach = round(SECTION_S * RATE_HZ / HOP)
    section = before[np.searchsorted(at, at + reach, "right")] - before[np.searchsorted(at, at - reach)]
    return [(int(t), CLOSED if says_closed else RIDE, float(either[t]))
            for t, says_closed in zip(at, section >= 0, strict=True)]


def any_of(likely: Floats32) -> Floats32:
    """How likely one or more of some drums are struck, shape (frames,); how likely each is, shape (frames, drums)."""
    return np.asarray(1 - (1 - likely).prod(axis=1), dtype=np.float32)


def _by_pitch(found: list[Stroke], spectrum: Floats32) -> list[Stroke]:
    """The strokes, every tom as the one that it is by its pitch, or as a snare drum without its wires."""
    struck = {wanted: np.sort([t for t, drum, _ in found if drum == wanted]) for wanted in (KICK, SNARE)}

    def beside(frame: int, drum: int) -> bool:
        first, last = np.searchsorted(struck[drum], (frame - APART + 1, frame + APART))
        return bool(first < last)

    pitch = {t: _tom_pitch(spectrum, t, beside(t, KICK)) for t, drum, _ in found if drum == MIDDLE_TOM}
    toms = [t for t in pitch if pitch[t] < WIRELESS]
    named = dict(zip(toms, which_toms(np.array([pitch[t] for t in toms])), strict=True))
    return [(t, named.get(t, SNARE) if drum == MIDDLE_TOM else drum, p) for t, drum, p in found
            if drum != MIDDLE_TOM or t in named or not beside(t, SNARE)]


def _tom_pitch(spectrum: Floats32, frame: int, with_kick: bool) -> float:
    """log2 of the frequency in Hz of a tom's lowest partial: what sounds after the stroke and did not before."""
    low = spectrum[:, :LOW_BANDS]
    after = 10 ** low[frame + SOUNDS.start : frame + SOUNDS.stop] - 1
    before = 10 ** low[max(frame + BEFORE.start, 0) : max(frame + BEFORE.stop, 1)] - 1
    new = np.maximum((after.mean(axis=0) if len(after) else 0) - before.mean(axis=0), 0)
    new[: WITHOUT_KICK if with_kick else 2] = 0
    octaves = np.log2(np.geomspace(LOWEST_HZ, HIGHEST_HZ, BANDS + 2)[1 : LOW_BANDS + 1])
    inner = new[1:-1]
    peak = (inner >= new[:-2]) & (inner > new[2:]) & (inner >= FUNDAMENTAL * new.max())
    k = int(np.flatnonzero(peak)[0]) if peak.any() else int(new[1:-1].argmax())
    around = new[k : k + 3] ** 2 + 1e-12
    return float(around @ octaves[k : k + 3] / around.sum())


def which_toms(pitches: Floats) -> list[int]:
    """Which of the `TOMS` each stroke is: strokes of like pitches are one drum, three at most (k-means), in order."""
    for percentiles in ((10, 50, 90), (10, 90)):
        if len(pitches) >= (count := len(percentiles)):
            centre = np.percentile(pitches, percentiles)
            for _ in range(10):
                own = np.abs(pitches[:, None] - centre).argmin(axis=1)
                centre = np.array([pitches[own == k].mean() if (own == k).any() else centre[k] for k in range(count)])
            often = np.bincount(own, minlength=count) >= max(1, 0.1 * len(pitches))
            if often.all() and (np.diff(centre) >= TOMS_APART).all():
                names = TOMS if count == 3 else (_tom_at(min(centre[0], UPPER)), _tom_at(max(centre[1], LOWER)))
                return [names[k] for k in own]
    return [_tom_at(float(pitches.mean()))] * len(pitches) if len(pitches) else []


def _tom_at(octave: float) -> int:
    return LOW_TOM if octave < LOWER else HIGH_TOM if octave > UPPER else MIDDLE_TOM


def peaks(curve: Floats32, threshold: float) -> NDArray[np.int64]:
    """Frames at which a curve is highest within `APART` frames and above the threshold."""
    around = np.lib.stride_tricks.sliding_window_view(np.pad(curve, APART - 1), 2 * APART - 1)
    highest = around.argmax(axis=1) == APART - 1  # the first of equals
    return np.flatnonzero(highest & (curve >= threshold))


def _level(spectrum: Floats32, frame: int) -> float:
    """Decades above the faintest just after the stroke."""
    return float(spectrum[frame : frame + 3].max(initial=0.0))
