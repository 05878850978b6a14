"""Where stage results are kept: one file a result, named by its key, with an age and a size limit.

Files are written aside and renamed, so a killed process leaves no half result; a file that cannot
be read is treated as absent. A small memory of decoded values makes re-tuning instant.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

from . import codec


def default_folder() -> Path:
    """`RESCORED_STORE`, else the user's cache folder."""
    chosen = os.environ.get("RESCORED_STORE")
    if chosen:
        return Path(chosen)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "rescored"


class Store:
    """Results by key in a folder; safe for many threads and processes at once."""

    def __init__(
        self, folder: Path | None = None, *, max_gb: float = 10.0, max_days: float = 30.0, memory_mb: float = 600.0
    ):
        self.folder = folder or default_folder()
        self.max_bytes = int(max_gb * 1e9)
        self.max_seconds = max_days * 86400
        self._memory_bytes = int(memory_mb * 1e6)
        self._memory: OrderedDict[str, tuple[int, Any]] = OrderedDict()  # key -> (size, decoded value)
        self._lock = threading.Lock()
        self._puts = 0

    def path(self, key: str) -> Path:
        """The file of a key, whether it is there or not."""
        return self.folder / "stages" / key[:2] / f"{key}.zip"

    def get(self, key: str, kind: Any) -> Any | None:
        """The stored value, or None."""
        with self._lock:
            if key in self._memory:
                self._memory.move_to_end(key)
                return self._memory[key][1]
        path = self.path(key)
        try:
            data = path.read_bytes()
            os.utime(path)  # least recently used goes first
            value = codec.decode(data, kind)
        except FileNotFoundError:
            return None
        except (ValueError, OSError):
            path.unlink(missing_ok=True)
            return None
        self._remember(key, value, len(data))
        return value

    def put(self, key: str, value: Any, kind: Any) -> Any:
        """Keep a value; returns it as it will be read back, so that fresh and stored never differ."""
        data = codec.encode(value)
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(dir=path.parent, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(aside).replace(path)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise
        value = codec.decode(data, kind)
        self._remember(key, value, len(data))
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
        """Drop what is too old, then the least recently used until the store fits its size."""
        files = []
        for path in (self.folder / "stages").glob("*/*"):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            files.append((stat.st_mtime, stat.st_size, path))
        files.sort()
        total, now = sum(size for _, size, _ in files), time.time()
        for modified, size, path in files:
            abandoned = path.suffix == ".part" and now - modified > 3600
            if abandoned or now - modified > self.max_seconds or total > self.max_bytes:
                path.unlink(missing_ok=True)
                total -= size
