"""Any pitched sound to notes with Basic Pitch (Spotify, Apache-2.0): the network, and reading its output.

Bittner et al., "A Lightweight Instrument-Agnostic Model for Polyphonic Note Transcription and
Multipitch Estimation", ICASSP 2022. Only the ONNX file of the package is used (230 kB), so that
neither TensorFlow nor the package's other imports are needed.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelUnavailable
from ...models import load_once
from ...music import Audio, Heard, Note
from ...settings import NoteSettings
from ...stage import Report
from ..resample import resample

RATE_HZ = 22050
HOP = 256  # samples a frame
FRAME_S = HOP / RATE_HZ  # 11.6 ms
WINDOW = 2 * RATE_HZ - HOP  # samples that the network takes at once
WINDOW_FRAMES = 172  # ... and what it gives: the last one begins beyond the window's end
KEPT = 140  # frames of every window's middle; the edges lack context
LOWEST = 21  # MIDI pitch of the first column
BATCH = 16  # windows at a time

Posterior = NDArray[np.float32]  # shape (frames, 88), 0..1


def hear_any(audio: Audio, settings: NoteSettings, report: Report) -> Heard:
    """The notes of any pitched sound, and near-misses. Ids are left empty."""
    frames, onsets = posteriors(resample(audio.mono, audio.rate_hz, RATE_HZ), report)
    notes = decode(frames, onsets, settings)
    return Heard(notes=tuple(notes), transcriber="basic-pitch")


def posteriors(samples: NDArray[np.float32], report: Report) -> tuple[Posterior, Posterior]:
    """How likely each key sounds, and begins, in every frame: two arrays, shape (frames, 88).

    Frame i lies at i * FRAME_S. The windows advance by whole frames, so that these times hold
    however long the recording is (those of the package drift, spotify/basic-pitch#190).
    """
    session = load_once("basic-pitch", load)
    edge = (WINDOW_FRAMES - KEPT) // 2
    count = len(samples) // HOP + 1
    begins = range(-edge, count - edge, KEPT)
    kept: list[list[Posterior]] = [[], []]
    for first in range(0, len(begins), BATCH):
        report(first / len(begins), "listening for notes")
        batch = np.stack([_window(samples, begin * HOP) for begin in begins[first : first + BATCH]])
        outputs = session.run(["StatefulPartitionedCall:1", "StatefulPartitionedCall:2"],
                              {"serving_default_input_2:0": batch[..., None]})
        for part, output in zip(kept, outputs, strict=True):
            part.append(output[:, edge : edge + KEPT].reshape(-1, output.shape[2]))
    frames, onsets = (np.concatenate(part)[:count] for part in kept)
    return frames, onsets


def _window(samples: NDArray[np.float32], begin: int) -> NDArray[np.float32]:
    inside = samples[max(begin, 0) : begin + WINDOW]
    return np.pad(inside, (max(-begin, 0), WINDOW - max(-begin, 0) - len(inside)))


def load() -> Any:
    """The network in an ONNX session."""
    import onnxruntime

    package = importlib.util.find_spec("basic_pitch")  # found, not imported
    if package is None or package.submodule_search_locations is None:
        raise ModelUnavailable("Basic Pitch is not installed.", "Run `make setup`.")
    path = Path(package.submodule_search_locations[0]) / "saved_models" / "icassp_2022" / "nmp.onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", 0))
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def decode(frames: Posterior, onsets: Posterior, settings: NoteSettings) -> list[Note]:
    """Notes: from every peak of the onsets to where the frames fade."""
    low, high = settings.lowest - LOWEST, settings.highest - LOWEST
    peak = np.zeros(onsets.shape, bool)
    peak[1:-1] = (onsets[1:-1] > onsets[:-2]) & (onsets[1:-1] >= onsets[2:])
    peak &= onsets >= settings.onset_threshold
    notes = []
    for key in range(max(low, 0), min(high, 87) + 1):
        begins = np.flatnonzero(peak[:, key])
        for begin, limit in zip(begins, np.append(begins[1:], len(frames)), strict=False):
            end = _fade(frames[begin:limit, key], settings.frame_threshold) + begin
            if (end - begin) * FRAME_S * 1000 < settings.min_length_ms:
                continue
            level = float(frames[begin:end, key].mean())
            notes.append(Note("", begin * FRAME_S, end * FRAME_S, key + LOWEST, max(1, round(127 * level)),
                              float(onsets[begin, key])))
    return notes


def _fade(level: Posterior, threshold: float, patience: int = 11) -> int:
    """How many frames until the level has stayed below the threshold for `patience` frames."""
    quiet = 0
    for i, value in enumerate(level):
        quiet = quiet + 1 if value < threshold else 0
        if quiet == patience:
            return max(i + 1 - patience, 1)
    return len(level) - quiet
