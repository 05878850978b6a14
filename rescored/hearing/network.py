"""A Demucs model at work: on a device, in batches that fit its memory, in 16 bits where that is as good."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from ..models import device, load_once
from ..stage import Report, silent
from .overlap import Samples
from .weights import load

SAME_DB = -50.0  # stems in 16 bits may differ from those in 32 by this much of their energy
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
        self._in_use = threading.Lock()
        self._device = "cpu"
        self._dtypes: dict[str, Any] = {}  # device -> 16-bit type to compute in, or None
        for member in self._members:
            for layer in (member.encoder[0], member.decoder[-1], *member.tencoder[:1], *member.tdecoder[-1:]):
                _keep_32_bits(layer)

    @contextmanager
    def at_work(self, report: Report = silent) -> Iterator[Network]:
        """Held by one job at a time, on the best device; other jobs wait and can be cancelled."""
        while not self._in_use.acquire(timeout=0.5):
            report(0.0, "waiting for another separation")
        try:
            self.warnings = ()
            self._move(device())
            yield self
        finally:
            self._in_use.release()

    def _move(self, to: str) -> None:
        import torch

        for member in self._members:
            member.to(to)
        self._device, self.batch = to, 1
        if to.startswith("cuda"):
            free, _ = torch.cuda.mem_get_info(to)
            self.batch = int(np.clip(0.6 * free / SEGMENT_BYTES, 1, LARGEST_BATCH))

    def __call__(self, windows: Samples) -> Samples:
        """Stems (batch, stems, channels, segment) of windows (batch, channels, segment)."""
        done: list[Samples] = []
        while len(windows):
            some = windows[: self.batch]
            if (stems := self._within_memory(some)) is not None:
                done.append(stems)
                windows = windows[len(some) :]
            elif self.batch > 1:
                self.batch //= 2
            else:
                self._move("cpu")
                self.warnings = ("The GPU's memory was too small for the separation, which ran on the CPU.",)
        return np.concatenate(done)

    def _within_memory(self, windows: Samples) -> Samples | None:
        """The stems, or None if the device ran out of memory."""
        import torch

        try:
            return self._run(windows, self._dtypes.get(self._device))
        except RuntimeError as error:
            if self._device == "cpu" or "out of memory" not in str(error):
                raise
        if self._device.startswith("cuda"):
            torch.cuda.empty_cache()
        return None

    def _run(self, windows: Samples, dtype: Any) -> Samples:
        import torch

        low = torch.autocast(self._device.split(":")[0], dtype) if dtype else nullcontext()
        with torch.inference_mode(), low:
            mix = torch.from_numpy(windows).to(self._device)
            stems = torch.zeros(len(windows), len(self.stems), *windows.shape[1:], device=self._device)
            for member, weights in zip(self._members, self._weights, strict=True):
                stems += member(mix).float() * torch.from_numpy(weights).to(self._device)[:, None, None]
            return stems.cpu().numpy()

    def choose_precision(self, window: Samples, report: Report = silent) -> None:
        """Compute in 16 bits from now on if that is faster on this device, and the same to `SAME_DB`.

        Asked of the loudest segment (channels, segment) of the first recording, since neither is
        known before: bfloat16 is slow on processors without it, and errors depend on the weights.
        """
        import torch

        kind = self._device.split(":")[0]
        low = {"cuda": torch.float16, "cpu": torch.bfloat16}.get(kind)
        if low is None or self._device in self._dtypes:
            return
        stems, seconds = [], []
        for dtype in (None, low):
            for _ in range(1 if kind == "cpu" else 2):  # a GPU's first run only warms it up
                report(0.0, "trying precisions")
                began = time.perf_counter()
                result = self._run(window[None], dtype)[0]
            stems.append(result)
            seconds.append(time.perf_counter() - began)
        error = ((stems[1] - stems[0]) ** 2).sum(axis=(1, 2)) / ((stems[0] ** 2).sum(axis=(1, 2)) + 1e-12)
        same = bool((error < 10 ** (SAME_DB / 10)).all())  # not-a-number is not the same
        self._dtypes[self._device] = low if same and seconds[1] < 0.9 * seconds[0] else None


def _keep_32_bits(layer: Any) -> None:
    """The outermost layers always compute in 32 bits: they make most of the error and little of the work."""
    import torch

    forward = layer.forward

    def in_32_bits(*inputs: Any) -> Any:
        with torch.autocast("cuda", enabled=False), torch.autocast("cpu", enabled=False):
            return forward(*(x.float() if isinstance(x, torch.Tensor) else x for x in inputs))

    layer.forward = in_32_bits
