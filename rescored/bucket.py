"""Files under one address: a folder of this machine, or a bucket that several machines share (by fsspec).

`RESCORED_STORE` names it: a path, `file:`, `s3://bucket/prefix` (also R2 and MinIO, with
`AWS_ENDPOINT_URL`), `gs://bucket/prefix` or `hf://buckets/owner/name`; credentials are found where those
services' own tools look for them. docs/service.md has the layout.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from . import room
from .errors import SettingsError, on_disk

COPY_KEPT_S = 3600.0  # how long a machine keeps its copy of a bucket's file unread


def kept_here() -> AbstractContextManager[None]:
    """What the folder of results refuses is said in words."""
    return on_disk("the results", "let RESCORED_STORE name another folder")


def default_address() -> str:
    """`RESCORED_STORE`, else the user's cache folder."""
    return os.environ.get("RESCORED_STORE") or str(default_folder())


def default_folder() -> Path:
    """What this machine keeps for itself: `RESCORED_STORE` where that is a folder, else the user's cache folder."""
    chosen = os.environ.get("RESCORED_STORE", "")
    if chosen.startswith("file:"):
        chosen = _local_path(chosen)
    if chosen and "://" not in chosen:
        return Path(chosen).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "rescored"


class Bucket:
    """Files by name (`a/b.json`, always with slashes). Whoever reads one sees it whole or not at all.

    `folder` is where they lie, if that is on this machine, else None. Methods raise FileNotFoundError
    for a file that is not there and another OSError where the bucket cannot be reached; RescoredError where a
    folder cannot be written to.
    """

    def __init__(self, address: str | Path | None = None):
        text = str(address or default_address())
        self.folder: Path | None = None
        self._fs: Any = None
        if text.startswith("file:") or "://" not in text:
            self.folder = Path(_local_path(text)).expanduser()
            return
        import fsspec

        scheme = text.partition(":")[0]
        try:
            self._fs, self._root = fsspec.core.url_to_fs(text, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise SettingsError(f"RESCORED_STORE names a {scheme} store, which cannot be used here.",
                                "Install it with `pip install 'rescored[service]'`, or name a folder.") from error
        self._copies = Path(room.folder() or tempfile.gettempdir()) / f"rescored-copies-{os.getuid()}"
        self._copies.mkdir(mode=0o700, exist_ok=True)

    def read(self, name: str) -> bytes:
        """A file's content."""
        if self.folder:
            return (self.folder / name).read_bytes()
        with _reached():
            return bytes(self._fs.cat_file(self._there(name)))

    def write(self, name: str, content: bytes) -> None:
        """Make or replace a file."""
        if not self.folder:
            with _reached():
                self._fs.pipe_file(self._there(name), content)
            return
        with self.writing(name) as file:
            file.write(content)

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """A file on this machine, to be written (and read), which at the end is in the place of `name`."""
        path = self.folder / name if self.folder else None
        with kept_here():
            if path:
                path.parent.mkdir(parents=True, exist_ok=True)
            handle, aside = tempfile.mkstemp(dir=path.parent if path else self._copies, suffix=".part")
            try:
                with os.fdopen(handle, "w+b") as file:
                    yield file
                if path:
                    Path(aside).replace(path)
                else:
                    self.put(name, Path(aside))
            finally:
                Path(aside).unlink(missing_ok=True)

    def put(self, name: str, source: Path) -> None:
        """Make or replace a file with the content of one on this machine."""
        if not self.folder:
            with _reached():
                self._fs.put_file(str(source), self._there(name))
            return
        with self.writing(name) as file, source.open("rb") as content:  # under a name of its own: threads may race
            shutil.copyfileobj(content, file, room.BLOCK)

    def copy(self, name: str, to: str) -> None:
        """Make or replace a file with the content of another."""
        if self.folder:
            self.put(to, self.local(name))
        else:
            with _reached():
                self._fs.cp_file(self._there(name), self._there(to))

    def local(self, name: str) -> Path:
        """A file on this machine with this content, to be read only: the file itself, or an up-to-date copy."""
        if self.folder:
            if not (path := self.folder / name).is_file():
                raise FileNotFoundError(name)
            return path
        with _reached():
            there = self._there(name)
            version = hashlib.sha256(f"{there} {self._fs.ukey(there)}".encode()).hexdigest()
            copy = self._copies / f"{version[:32]}{Path(name).suffix}"
            if not copy.is_file():
                self._drop_old_copies()
                handle, aside = tempfile.mkstemp(dir=self._copies, suffix=".part")
                os.close(handle)
                self._fs.get_file(there, aside)
                Path(aside).replace(copy)
            os.utime(copy)
            return copy

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        if self.folder:
            return (self.folder / name).is_file()
        with _reached():
            return bool(self._fs.isfile(self._there(name)))

    def names(self, under: str) -> list[str]:
        """The files below `under`, without order."""
        if self.folder:
            top = self.folder / under
            return [path.relative_to(self.folder).as_posix() for path in top.rglob("*")
                    if path.is_file() and path.suffix != ".part"]
        with _reached():
            return [found[len(self._root) :].lstrip("/") for found in self._fs.find(self._there(under))]

    def touch(self, name: str) -> None:
        """Mark as used just now, where that can be: what was used least recently goes first."""
        if self.folder:
            with suppress(FileNotFoundError):
                os.utime(self.folder / name)

    def remove(self, name: str) -> None:
        """Remove a file; nothing if it is not there."""
        if self.folder:
            (self.folder / name).unlink(missing_ok=True)
            return
        with suppress(FileNotFoundError), _reached():
            self._fs.rm_file(self._there(name))

    def remove_all(self, under: str) -> None:
        """Remove everything below `under`."""
        if self.folder:
            shutil.rmtree(self.folder / under, ignore_errors=True)
            return
        with suppress(FileNotFoundError), _reached():
            self._fs.rm(self._there(under), recursive=True)

    def _there(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def _drop_old_copies(self) -> None:
        for copy in self._copies.iterdir():
            with suppress(FileNotFoundError):
                if time.time() - copy.stat().st_mtime > COPY_KEPT_S:
                    copy.unlink()


def _local_path(address: str) -> str:
    """The path in `file:///a`, `file:/a`, `file:a` or a plain path."""
    path = address.removeprefix("file:")
    return path.removeprefix("//") if address.startswith("file:") else path


@contextmanager
def _reached() -> Iterator[None]:
    """What the clients of buckets raise when they cannot reach one is made an OSError."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        if type(error).__module__.split(".")[0] in ("botocore", "aiobotocore", "aiohttp", "gcsfs", "google", "httpx"):
            raise ConnectionError(f"the store cannot be reached ({type(error).__name__})") from error
        raise
