"""Facts of this machine, and the models that it keeps: loaded once a process, let go when idle.

The environment says what is not a setting of the music:
`RESCORED_DEVICE`  cuda, cuda:1, mps or cpu; unset or auto = the best there is
`RESCORED_MODELS`  a folder of weights, for machines without a network
`RESCORED_IDLE_S`  how long an unused model stays in memory (default 900); 0 = for ever
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .environment import number
from .errors import ModelUnavailable, SettingsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")

RETRY_S = 300.0  # weights that could not be had are not asked for again before


def weights_in(path: Path) -> dict[str, NDArray[np.float32]]:
    """The arrays of a file of weights of our own, by name; they may be stored in half precision."""
    import numpy as np

    with np.load(path) as stored:
        return {name: stored[name].astype(np.float32) for name in stored.files}


def device() -> str:
    """Where models run: "cuda", "mps" or "cpu". Raises SettingsError if `RESCORED_DEVICE` is not there."""
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    chosen = os.environ.get("RESCORED_DEVICE", "").strip().lower()
    if chosen in ("", "auto"):
        return next(name for name, available in there.items() if available)
    if not there.get(chosen.split(":")[0]):
        raise SettingsError(f"RESCORED_DEVICE is {chosen!r}, which this machine has not.",
                            "Set it to cpu or unset it.")
    return chosen


def has_gpu() -> bool:
    """Whether models will run on a GPU of NVIDIA's; told without torch, which takes seconds to load."""
    import pynvml

    chosen = os.environ.get("RESCORED_DEVICE", "").strip().lower()
    if chosen not in ("", "auto") and not chosen.startswith("cuda"):
        return False
    try:
        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetCount()) > 0
    except pynvml.NVMLError:
        return False


def weights_folder() -> Path | None:
    """The folder that `RESCORED_MODELS` names, whether it is there or not; None if it names none."""
    chosen = os.environ.get("RESCORED_MODELS")
    return Path(chosen) if chosen else None


def _heap(function: str, *values: int) -> None:
    """Call glibc's heap; nothing on other systems."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another libc
            getattr(ctypes.CDLL(None), function)(*values)


_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # malloc.h
_heap("mallopt", _ARENA_MAX, 1)  # threads share one heap: in heaps of their own, large blocks cannot be kept


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep freed memory for the next large block, until the end.

    Else the system gives and takes every large array anew, page by page: a fifth of the time of a
    network that makes hundreds of them.
    """
    _heap("mallopt", _MMAP_THRESHOLD, 1 << 30)
    _heap("mallopt", _TRIM_THRESHOLD, (1 << 31) - 1)
    try:
        yield
    finally:
        _heap("mallopt", _MMAP_THRESHOLD, 32 << 20)  # the highest that glibc comes to by itself
        _heap("mallopt", _TRIM_THRESHOLD, 64 << 20)
        _heap("malloc_trim", 0)


_gpu = threading.Lock()
_gpu_s: ContextVar[float] = ContextVar("gpu_s", default=0.0)


@contextmanager
def turn_at_gpu(report: Callable[[float, str], None]) -> Iterator[None]:
    """For one job at a time, lest a GPU's memory be too small; nothing where models run on the CPU.

    Others wait; their `report` may raise.
    """
    if device() == "cpu":
        yield
        return
    while not _gpu.acquire(timeout=0.5):
        report(0.0, "waiting for the GPU")
    began = time.perf_counter()
    try:
        yield
    finally:
        _gpu.release()
        count_gpu_s(time.perf_counter() - began)


def count_gpu_s(seconds: float) -> None:
    """Count seconds for which a GPU worked for what this thread does."""
    _gpu_s.set(_gpu_s.get() + seconds)


def counted_gpu_s() -> float:
    """What this thread counted since it last asked."""
    seconds = _gpu_s.get()
    _gpu_s.set(0.0)
    return seconds


@dataclass
class _Place:
    """Where one model lives. The lock is held while it loads, so that it loads once."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    model: Any = None
    failure: ModelUnavailable | None = None
    retry_at: float = 0.0
    timer: threading.Timer | None = None


_places: dict[str, _Place] = {}
on_load: list[Callable[[str, float], None]] = []  # told of every load: the model's name, the seconds it took
_places_lock = threading.Lock()


def load_once(name: str, loader: Callable[[], T]) -> T:
    """The model of this name: resident if it was loaded before, else what `loader` returns.

    Safe for many threads; a model that loads does not hold up another. A loader that raised
    ModelUnavailable is not tried again for `RETRY_S`: the same error is raised at once.
    """
    with _places_lock:
        place = _places.setdefault(name, _Place())
    with place.lock:
        if place.failure is not None and time.monotonic() < place.retry_at:
            raise ModelUnavailable(*place.failure.args) from place.failure
        if place.model is None:
            began = time.monotonic()
            try:
                place.model = loader()
            except ModelUnavailable as error:
                place.failure, place.retry_at = error, time.monotonic() + RETRY_S
                raise
            for tell in on_load:
                tell(name, time.monotonic() - began)
        place.failure = None
        _restart_timer(place)
        model: T = place.model
        return model


def _restart_timer(place: _Place) -> None:
    if place.timer is not None:
        place.timer.cancel()
    idle_s = number("RESCORED_IDLE_S", 900)
    if idle_s > 0:
        place.timer = threading.Timer(idle_s, _let_go, [[place]])
        place.timer.daemon = True
        place.timer.start()


def _let_go(places: list[_Place]) -> None:
    """Forget the models; a job that still uses one keeps its own reference until it is done."""
    for place in places:
        with place.lock:
            place.model = place.failure = None
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def let_go_all() -> None:
    """Forget every resident model and every remembered failure."""
    with _places_lock:
        places = list(_places.values())
    _let_go(places)
