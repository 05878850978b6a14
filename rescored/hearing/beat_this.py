"""Beats and downbeats in sound by Beat This!, where its weights are at hand.

Foscarin, Schlüter & Widmer, "Beat this! Accurate beat tracking without DBN postprocessing", ISMIR
2024. The network is the package's; its spectrogram is computed here, so that torchaudio is not needed.
"""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import ModelUnavailable
from ..models import device, load_once, weights_folder
from ..music import Floats
from ..room import Samples, let_go
from ..stage import Report

if TYPE_CHECKING:
    from torch import Tensor

RATE_HZ = 22050
HOP = 441  # samples a frame: 50 frames a second
WINDOW = 1024  # samples that a frame's spectrum is taken of
BANDS = 128
CHUNK = 1500  # frames at a time, 30 s: what the network was trained on
BORDER = 6  # frames at each end of a chunk that are not used
CHECKPOINTS = ("beat_this-final0.ckpt", "beat_this-small0.ckpt")  # the better first


def checkpoint() -> Path | None:
    """The weights, in the folder `RESCORED_MODELS` or where the package's own download puts them."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    torch_home = Path(os.environ.get("TORCH_HOME") or Path(caches) / "torch")
    folders = (weights_folder(), torch_home / "hub" / "checkpoints")
    return next((f / name for f in folders if f for name in CHECKPOINTS if (f / name).is_file()), None)


def activations(samples: Samples, report: Report) -> tuple[Floats, Floats]:
    """How likely a beat, and a downbeat, is in every frame (50 Hz); samples at `RATE_HZ`.

    Raises `ModelUnavailable` where the weights, or what they need, are missing.
    """
    import torch

    where = device()
    model = load_once("beat-this", load).to(where)
    count = len(samples) // HOP + 1
    edges: Literal["reflect", "constant"] = "reflect" if len(samples) > WINDOW else "constant"
    result = np.zeros((2, count))
    done = 0
    while done < count:
        report(done / count, "listening for beats")
        first = max(min(done, count - (CHUNK - 2 * BORDER)), 0)  # the last chunk is a whole one, too
        last = min(first + CHUNK - 2 * BORDER, count)
        begin, end = max(first - BORDER, 0), min(last + BORDER, count)
        spectrum = torch.zeros(1, last - first + 2 * BORDER, BANDS)
        sound = _around(samples, begin * HOP - WINDOW // 2, (end - 1 - begin) * HOP + WINDOW, edges)
        spectrum[0, begin - first + BORDER :][: end - begin] = log_mel(sound)
        let_go(samples)
        with torch.inference_mode():
            heard = model(spectrum.to(where))
        both = torch.stack([heard["beat"][0], heard["downbeat"][0]]).float().sigmoid().cpu().numpy()
        result[:, done:last] = both[:, BORDER + done - first : BORDER + last - first]
        done = last
    return result[0], result[1]


def _around(samples: Samples, begin: int, length: int, edges: Literal["reflect", "constant"]) -> Samples:
    """`length` samples from `begin` on; beyond the ends a reflection, or silence."""
    first, last = max(begin - WINDOW, 0), min(begin + length + WINDOW, len(samples))
    before, after = max(-begin, 0), max(begin + length - len(samples), 0)
    inside = np.pad(samples[first:last], (before, after), mode=edges)
    return inside[begin + before - first :][:length]


def log_mel(samples: Samples) -> Tensor:
    """The network's input, shape (frames, 128): log(1 + 1000 magnitude) in mel bands from 30 Hz to 11 kHz."""
    import torch
    from librosa.filters import mel

    bands = torch.from_numpy(mel(sr=RATE_HZ, n_fft=WINDOW, n_mels=BANDS, fmin=30, fmax=11000, norm=None))
    spectrum = torch.stft(torch.from_numpy(samples), WINDOW, HOP, window=torch.hann_window(WINDOW),
                          center=False, normalized=True, return_complex=True).abs()
    return torch.log1p(1000 * (bands @ spectrum)).T


def load() -> Any:
    """The network of the checkpoint, which names its own size."""
    path = checkpoint()
    if path is None:
        raise ModelUnavailable(
            "The weights of Beat This! are not on this machine.",
            f"Put {CHECKPOINTS[0]} into the folder that RESCORED_MODELS names, or choose another pulse.tracker.")
    try:
        import torch
        from beat_this.model.beat_tracker import BeatThis

        content = torch.load(path, map_location="cpu", weights_only=True)
        known = inspect.signature(BeatThis).parameters
        model = BeatThis(**{k: v for k, v in content["hyper_parameters"].items() if k in known})
        model.load_state_dict({k.removeprefix("model."): v for k, v in content["state_dict"].items()})
    except Exception as error:  # whatever a wrong or damaged file makes a loader do
        raise ModelUnavailable(f"{path.name} cannot be loaded ({error}).", "Copy it there again.") from error
    return model.eval().requires_grad_(False)
