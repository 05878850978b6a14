"""A Demucs model at work: on a device, in batches that fit its memory, in 16 bits where that is as good."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from ..models import device, load_once
from ..room import Samples
from ..stage import Report, silent
from .together import Batches, Song
from .weights import load

SAME_DB = -50.0  # stems in 16 bits may differ from those in 32 by this much of their energy
LOUD = 0.3  # of the mix's mean power: a segment that shows what a precision does
SEGMENT_BYTES = 1e9  # of memory that one segment of 7.8 s takes in htdemucs (measured: 0.75e9)
LARGEST_BATCH = 16


def network(name: str, report: Report = silent) -> Network:
    """The resident network of a Demucs model; raises ModelUnavailable where it has no weights."""
    return load_once(f"demucs {name}", lambda: Network(load(name, report)))


class Network:
    """One Demucs model or bag of models (`demucs.apply.BagOfModels`: a weighted mean, stem by stem)."""

    def __init__(self, model: Any):
        self.stems: tuple[str, ...] = tuple(model.sources)
        self.rate_hz, self.channels = int(model.samplerate), int(model.audio_channels)
        self._members = list(getattr(model, "models", [model]))
        weights = np.array(getattr(model, "weights", [[1.0] * len(self.stems)]), dtype=np.float32)
        self._weights = weights / weights.sum(axis=0)
        self.segment = int(min(member.segment for member in self._members) * self.rate_hz)
        self.warnings: tuple[str, ...] = ()
        self.batch = 1
        self._batches = Batches(self)
        self._device = "cpu"
        self._dtypes: dict[str, Any] = {}  # device -> 16-bit type to compute in, or None
        for member in self._members:
            for half, outermost in (("encoder", 0), ("tencoder", 0), ("decoder", -1), ("tdecoder", -1)):
                if layers := getattr(member, half, None):
                    _keep_32_bits(layers[outermost])

    def at_work(self, report: Report = silent, wanted: Sequence[str] = ()) -> AbstractContextManager[Song]:
        """A song's way through the network, on the best device; it may have to wait, and can be cancelled.

        Only the `wanted` stems are computed; none = all. Raises ValueError for one that the network has not.
        """
        return self._batches.song([self.stems.index(stem) for stem in wanted or self.stems], report)

    def begin(self) -> None:
        """As `Computing` has it."""
        self.warnings = ()
        self._move(device())

    @property
    def on_gpu(self) -> bool:
        """As `Computing` has it."""
        return self._device != "cpu"

    def _move(self, to: str) -> None:
        import torch

        for member in self._members:
            member.to(to)
        self._device, self.batch = to, 1
        if to.startswith("cuda"):
            free, _ = torch.cuda.mem_get_info(to)
            self.batch = int(np.clip(0.6 * free / SEGMENT_BYTES, 1, LARGEST_BATCH))

    def compute(self, windows: Samples, wanted: tuple[int, ...]) -> Samples | None:
        """Stems (batch, stems, channels, segment) of windows (batch, channels, segment), as `Computing` has it.

        Where the device's memory is too small for one window, the CPU computes from now on.
        """
        import torch

        try:
            return self._with_precision(windows, wanted)
        except RuntimeError as error:
            if self._device == "cpu" or "out of memory" not in str(error):
                raise
        if self._device.startswith("cuda"):
            torch.cuda.empty_cache()
        if len(windows) > 1:
            self.batch = len(windows) // 2
        else:
            self._move("cpu")
            self.warnings = ("The GPU's memory was too small for the separation, which ran on the CPU.",)
        return None

    def _run(self, windows: Samples, wanted: tuple[int, ...], dtype: Any) -> Samples:
        import torch

        low = torch.autocast(self._device.split(":")[0], dtype) if dtype else nullcontext()
        with torch.inference_mode(), low:
            mix = torch.from_numpy(windows).to(self._device)
            of_it = list(wanted)
            stems = torch.zeros(len(windows), len(wanted), *windows.shape[1:], device=self._device)
            for member, weights in zip(self._members, self._weights[:, of_it], strict=True):
                if weights.any():  # one that has no say in the wanted stems is not asked
                    stems += member(mix).float()[:, of_it] * torch.from_numpy(weights).to(self._device)[:, None, None]
            return stems.cpu().numpy()

    def _with_precision(self, windows: Samples, wanted: tuple[int, ...]) -> Samples:
        """The stems, in 16 bits where that is faster on this device and the same to `SAME_DB`.

        The first loud segment is computed both ways to know, since errors depend on the weights and
        speed on the processor: not every one has bfloat16.
        """
        if self._device not in self._dtypes and (windows[0] ** 2).mean() > LOUD:
            self._dtypes[self._device] = self._best_dtype(windows[:1], wanted)
        return self._run(windows, wanted, self._dtypes.get(self._device))

    def _best_dtype(self, window: Samples, wanted: tuple[int, ...]) -> Any:
        import torch

        kind = self._device.split(":")[0]
        low = {"cuda": torch.float16, "cpu": torch.bfloat16}.get(kind)
        if low is None:
            return None
        results = {}
        for dtype in (None, low):
            for _ in range(1 if kind == "cpu" else 2):  # a GPU's first run only warms it up
                began = time.perf_counter()
                results[dtype] = self._run(window, wanted, dtype)[0], time.perf_counter() - began
        (full, full_s), (half, half_s) = results.values()
        error = ((half - full) ** 2).sum(axis=(1, 2)) / ((full**2).sum(axis=(1, 2)) + 1e-12)
        same = bool((error < 10 ** (SAME_DB / 10)).all())  # not-a-number is not the same
        return low if same and half_s < 0.9 * full_s else None


def _keep_32_bits(layer: Any) -> None:
    """The outermost layers always compute in 32 bits: they make most of the error and little of the work."""
    import torch

    forward = layer.forward

    def in_32_bits(*inputs: Any) -> Any:
        with torch.autocast("cuda", enabled=False), torch.autocast("cpu", enabled=False):
            return forward(*(x.float() if isinstance(x, torch.Tensor) else x for x in inputs))

    layer.forward = in_32_bits
