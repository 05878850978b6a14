"""Any pitched sound to notes with Basic Pitch (Spotify, Apache-2.0).

Bittner et al., "A Lightweight Instrument-Agnostic Model for Polyphonic Note Transcription and
Multipitch Estimation", ICASSP 2022. Only the package's ONNX file (230 kB) is used, so that neither
TensorFlow nor what else the package imports is needed; its output is read by note_odds.py.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelUnavailable
from ...models import load_once
from ...music import Audio, Heard, Note
from ...room import Samples, let_go, zeros
from ...settings import NoteSettings
from ...stage import Report
from ..audio import QUIETEST
from ..frames import cut
from ..resample import mono_at
from .note_odds import FRAME_S, HOP, KEYS, LOWEST, RATE_HZ, Begins, Posterior, Posteriors, begins, fades, held

WINDOW = 2 * RATE_HZ - HOP  # samples that the network takes at once
WINDOW_FRAMES = 172  # ... and the frames that it gives for them
KEPT = 140  # of these, in the middle; the edges lack context
BATCH = 16  # windows at a time

NEAR_MISS = 1 / 3  # of the least probability of a note: what is offered to the user
APART = 12  # frames (0.14 s): what is nearer to a note of the same key is offered no more
PITCHED = 2048  # samples over which a note's loudness is measured, 93 ms
_HANN = np.hanning(PITCHED)
FULL_DB = -6.0  # level of a note of velocity 127; a tenth of that velocity is 40 dB less
FAINTEST = 4  # velocity, about -66 dBFS: less is the hiss of a recording in which nothing plays


def hear_any(audio: Audio, settings: NoteSettings, report: Report) -> Heard:
    """The notes of any pitched sound, and near-misses. Ids are left empty."""
    samples = mono_at(audio, RATE_HZ)
    posterior = posteriors(samples, report)
    found = begins(posterior, samples)
    notes = found.taken(found.probability >= settings.onset_threshold)
    missed = found.taken((found.probability >= NEAR_MISS * settings.onset_threshold) & _apart(found, notes))
    return Heard(
        notes=tuple(_notes(notes, notes, posterior.frames, samples, settings)),
        candidates=tuple(_notes(missed, notes, posterior.frames, samples, settings)),
        transcriber="basic-pitch",
    )


def posteriors(samples: Samples, report: Report) -> Posteriors:
    """How likely each key sounds, and begins, in every frame.

    Frame i lies at i * FRAME_S. The windows advance by whole frames, so that this holds however
    long the recording is (the package's own frames drift, spotify/basic-pitch#190).
    """
    session = load_once("basic-pitch", load)
    edge = (WINDOW_FRAMES - KEPT) // 2
    count = len(samples) // HOP + 1
    starts = range(-edge, count - edge, KEPT)
    result = [zeros((len(starts), KEPT, keys)) for keys in (KEYS, KEYS, 3 * KEYS)]
    loud = [i for i, start in enumerate(starts) if np.abs(_window(samples, start)).max() > QUIETEST]
    for first in range(0, len(loud), BATCH):
        report(first / len(loud), "listening for notes")
        batch = loud[first : first + BATCH]
        outputs = session.run([f"StatefulPartitionedCall:{n}" for n in (1, 2, 0)],
                              {"serving_default_input_2:0": np.stack([_window(samples, starts[i]) for i in batch])})
        for whole, output in zip(result, outputs, strict=True):
            whole[batch] = output[:, edge : edge + KEPT]
            let_go(whole)
        let_go(samples)
    return Posteriors(*(whole.reshape(-1, whole.shape[2])[:count] for whole in result))


def _window(samples: Samples, start: int) -> Samples:
    """The samples of the window that begins at a frame, shape (n, 1); silence where it lies outside."""
    return cut(samples, start * HOP, WINDOW)[:, None]


def load() -> Any:
    """The network, in an ONNX session."""
    import onnxruntime

    package = importlib.util.find_spec("basic_pitch")  # found, not imported
    if package is None or package.submodule_search_locations is None:
        raise ModelUnavailable("Basic Pitch is not installed.", "Run `make setup`.")
    path = Path(package.submodule_search_locations[0]) / "saved_models" / "icassp_2022" / "nmp.onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # more gain nothing on a network this small
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _apart(found: Begins, notes: Begins) -> NDArray[np.bool_]:
    """Which are not at the begin of a note of their key."""
    return np.array([
        not (np.abs(notes.frame[notes.key == key] - frame) < APART).any()
        for frame, key in zip(found.frame, found.key, strict=True)
    ], dtype=bool)


def _notes(
    found: Begins, notes: Begins, frames: Posterior, samples: Samples, settings: NoteSettings
) -> list[Note]:
    """Notes that last until their key is let go or struck again, if that is long enough."""
    first = found.frame.astype(np.int64)
    end = held(frames, first, found.key, fades(frames, first, found.key, settings.frame_threshold))
    made = []
    for begin, release, key, probability in zip(found.frame, end, found.key, found.probability, strict=True):
        again = notes.frame[(notes.key == key) & (notes.frame > begin)]
        onset_s, offset_s = float(begin * FRAME_S), float(min([release, *again[:1]]) * FRAME_S)
        if (offset_s - onset_s) * 1000 >= settings.min_length_ms:
            pitch = int(key) + LOWEST
            velocity = velocity_of(samples, onset_s, pitch)
            if velocity >= FAINTEST:
                made.append(Note("", onset_s, offset_s, pitch, velocity, round(float(probability), 4)))
    return made


def velocity_of(samples: Samples, onset_s: float, pitch: int) -> int:
    """From the level of the pitch and its octave and twelfth just after the onset; 40 dB are a factor of ten."""
    begin = round(onset_s * RATE_HZ)
    tone = samples[begin : begin + PITCHED] * _HANN[: len(samples) - begin]
    hz = 440.0 * 2 ** ((pitch - 69) / 12) * np.arange(1, 4)
    wave = np.exp(-2j * np.pi * np.outer(hz, np.arange(len(tone))) / RATE_HZ)
    level = 2 * float(np.linalg.norm(wave @ tone)) / float(_HANN.sum())
    level_db = 20 * np.log10(max(level, 1e-6))
    return int(np.clip(np.rint(127 * 10 ** ((level_db - FULL_DB) / 40)), 1, 127))
