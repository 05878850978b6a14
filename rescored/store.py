"""Where stage results are kept: one file a result, named by its key, with an age and a size limit.

Files are written aside and renamed, so a killed process leaves no half result; a file that cannot
be read is treated as absent. A small memory of decoded values makes re-tuning instant.

`RESCORED_KEEP_STEMS_DAYS` (default 1) says how long uploads and whatever holds their sound is kept unused,
`RESCORED_KEEP_DAYS` (30) how long everything else, `RESCORED_STORE_GB` (10) how large the folder may grow.
A bucket has its own lifecycle rules instead (docs/service.md).
"""

from __future__ import annotations

import io
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from . import codec
from .bucket import Bucket, kept_here
from .environment import number
from .music import Audio, Stems

# Folders of the layout by how long they are kept; "results" are not here, as their jobs are what is kept or not.
SHORT_LIVED = ("uploads", "stems")
LONG_LIVED = ("stages", "sounds")
WITH_SOUND = (Audio, Stems)  # results that hold the recording's sound


@dataclass(frozen=True)
class Lifetimes:
    """How long and how much is kept."""

    stems_days: float = 1.0
    days: float = 30.0
    max_gb: float = 10.0

    @classmethod
    def of_environment(cls) -> Lifetimes:
        """As this module's first lines say."""
        return cls(number("RESCORED_KEEP_STEMS_DAYS", cls.stems_days), number("RESCORED_KEEP_DAYS", cls.days),
                   number("RESCORED_STORE_GB", cls.max_gb))


class Store:
    """Results by key in a bucket; safe for many threads and processes at once."""

    def __init__(self, bucket: Bucket | Path | None = None, lifetimes: Lifetimes | None = None, *,
                 memory_mb: float = 600.0):
        self.bucket = bucket if isinstance(bucket, Bucket) else Bucket(bucket)
        self.lifetimes = lifetimes or Lifetimes.of_environment()
        self._memory_bytes = int(memory_mb * 1e6)
        self._memory: OrderedDict[str, tuple[int, Any]] = OrderedDict()  # key -> (size, decoded value)
        self._lock = threading.Lock()
        self._puts = 0

    def get(self, key: str, kind: Any) -> Any | None:
        """The stored value, or None."""
        with self._lock:
            if key in self._memory:
                self._memory.move_to_end(key)
                return self._memory[key][1]
        name = name_of(key, kind)
        try:
            with kept_here(), self._open(name, kind) as file:
                self.bucket.touch(name)  # least recently used goes first
                value = codec.read(file, kind)
                size = file.seek(0, io.SEEK_END)
        except FileNotFoundError:
            return None
        except ValueError:
            self.bucket.remove(name)
            return None
        self._remember(key, value, size)
        return value

    def _open(self, name: str, kind: Any) -> IO[bytes]:
        """A stored result; sounds are read from a file, the others, which are small, at once."""
        return self.bucket.local(name).open("rb") if kind in WITH_SOUND else io.BytesIO(self.bucket.read(name))

    def put(self, key: str, value: Any, kind: Any) -> Any:
        """Keep a value; returns it as it will be read back, so that fresh and stored never differ."""
        with self.bucket.writing(name_of(key, kind)) as file:
            codec.write(value, file)
            size = file.seek(0, io.SEEK_END)
            value = codec.read(file, kind)
        self._remember(key, value, size)
        self._puts += 1
        if self._puts % 50 == 1:
            self.sweep()
        return value

    def _remember(self, key: str, value: Any, stored_bytes: int) -> None:
        with self._lock:
            self._memory[key] = (3 * stored_bytes, value)  # about what it takes once unpacked
            self._memory.move_to_end(key)
            while len(self._memory) > 1 and sum(size for size, _ in self._memory.values()) > self._memory_bytes:
                self._memory.popitem(last=False)

    def sweep(self) -> None:
        """Drop what is too old, then the least recently used until the folder fits its size.

        Uploads only go by age, results only with their jobs; both count as what is there.
        """
        if not self.bucket.folder:
            return
        now, total = time.time(), 0
        droppable: list[tuple[float, int, Path]] = []
        for room in (*SHORT_LIVED, *LONG_LIVED, "results"):
            days = self.lifetimes.stems_days if room in SHORT_LIVED else self.lifetimes.days
            for path in (self.bucket.folder / room).rglob("*"):
                try:
                    stat = path.stat()
                except FileNotFoundError:
                    continue
                if path.is_dir():
                    continue
                too_old = now - stat.st_mtime > (3600 if path.suffix == ".part" else days * 86400)
                if too_old and room != "results":
                    path.unlink(missing_ok=True)
                    continue
                total += stat.st_size
                if room not in ("uploads", "results"):
                    droppable.append((stat.st_mtime, stat.st_size, path))
        droppable.sort()
        for _, size, path in droppable:
            if total <= self.lifetimes.max_gb * 1e9:
                break
            path.unlink(missing_ok=True)
            total -= size


def name_of(key: str, kind: Any) -> str:
    """The name of a stage's result: those that hold the recording's sound lie apart, as they go sooner."""
    return f"{'stems' if kind in WITH_SOUND else 'stages'}/{key[:2]}/{key}.zip"
