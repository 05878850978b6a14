"""Room for the samples of long sounds: in memory, or in a nameless file that the system pages in and out.

An hour of stereo is 1.3 GB of floats, its four stems another 5. From `SPILL_BYTES` on they lie on disk,
mapped into memory; whoever reads them goes through `blocks`, which lets go of what was read, so that a
process holds a few MB of them at a time however long the sound is.

The files lie in `TMPDIR`, else in /var/tmp (which is a disk also where /tmp is memory).
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .errors import on_disk

SPILL_BYTES = 96 << 20  # four and a half minutes of stereo
BLOCK = 1 << 20  # samples at a time
_ALLOCATE: Callable[[int, int, int], None] | None = getattr(os, "posix_fallocate", None)  # macOS has none
_LET_GO = getattr(mmap, "MADV_DONTNEED", None)

Samples = NDArray[np.float32]


def zeros(shape: tuple[int, ...]) -> Samples:
    """Silence of a shape, to be written to. Raises RescoredError where the disk has no room for it."""
    size = 4 * int(np.prod(shape))
    if size < SPILL_BYTES:
        return np.zeros(shape, dtype=np.float32)
    with kept_aside(), tempfile.TemporaryFile(prefix="rescored", dir=folder()) as file:
        if _ALLOCATE:
            _ALLOCATE(file.fileno(), 0, size)  # else a full disk would kill the process at some later write
        else:
            file.truncate(size)
        return np.ndarray(shape, np.float32, mmap.mmap(file.fileno(), size))


def kept_aside() -> AbstractContextManager[None]:
    """What the folder of long sounds refuses is said in words."""
    return on_disk("the recording", "let TMPDIR name another folder")


def aside() -> IO[bytes]:
    """A nameless file for bytes on their way, in memory while they are few."""
    return tempfile.SpooledTemporaryFile(SPILL_BYTES, prefix="rescored", dir=folder())


def blocks(samples: Samples, size: int = 0) -> Iterator[tuple[int, Samples]]:
    """Yield (start, samples[..., start : start + size]) up to the end; each is let go of at the next. 0 = `BLOCK`."""
    for start in range(0, samples.shape[-1], size or BLOCK):
        yield start, samples[..., start : start + (size or BLOCK)]
        let_go(samples)


def let_go(samples: NDArray[Any]) -> None:
    """Samples on disk leave this process's memory until they are asked for again; others stay."""
    owner: Any = samples
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, mmap.mmap) and _LET_GO is not None:
        owner.madvise(_LET_GO)


def loudest(samples: Samples) -> float:
    """The highest absolute sample; 0 where there are none."""
    return max((max(float(b.max(initial=0.0)), -float(b.min(initial=0.0))) for _, b in blocks(samples)), default=0.0)


def folder() -> str | None:
    """Where the files lie; None = wherever `tempfile` puts them."""
    chosen = any(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    disk = Path("/var/tmp")
    return str(disk) if not chosen and os.access(disk, os.W_OK) and disk.is_dir() else None
