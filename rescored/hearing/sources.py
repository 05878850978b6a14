"""Where the music comes from: a file on this machine, or a link, as a `Recording` with an identity."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Literal

from ..errors import InputError
from ..music import Recording
from ..stage import Report, silent
from .links import fetch, is_link

MAX_BYTES = 4 * 2**30  # what a WAV can hold; only to refuse absurd files before reading them
_MAX_TITLE = 120


def open_source(
    source: str | Path, *, max_minutes: float, title: str = "", fetched: Path | None = None, report: Report = silent,
) -> Recording:
    """A local audio, video or MIDI file, a saved transcription, or a YouTube link, as a `Recording`.

    What a file is goes by its content, never by its name. `title` replaces the one that is taken
    from the file's name or the video. The sound of a link is kept in the folder `fetched` (see
    `links.fetch`), where `Recording.path` then points; local files stay where they are, and nothing
    else is written. `max_minutes` limits what is downloaded; a local file's length is judged by
    `audio.decode`, where a passage of a long recording may still be taken. Raises `InputError` for a
    file and `LinkError` for a link that cannot be used.
    """
    text = str(source)
    if is_link(text):
        video = fetch(text, max_minutes=max_minutes, folder=fetched, report=report)
        return Recording(str(video.path), title or clean_title(video.title), "audio", _sha256(video.path), video.url)
    path = Path(source).expanduser().absolute()
    name = short_name(path)
    start = _first_bytes(path, name)
    is_midi = start == b"MThd"
    if path.suffix.lower() in {".mid", ".midi"} and not is_midi:
        raise InputError(f"{name} is not a MIDI file, whatever its name says.", "Export the MIDI file again.")
    kind: Literal["audio", "midi", "saved"] = "midi" if is_midi else "saved" if start.startswith(b"{") else "audio"
    return Recording(str(path), title or clean_title(path.stem), kind, _sha256(path))


def clean_title(text: str) -> str:
    """A title fit to print: no control characters, underscores or runs of blanks, at most 120 characters."""
    printable = "".join(c if c.isprintable() and c != "_" else " " for c in text)
    words = re.sub(r"\s+", " ", printable).strip()
    return words if len(words) <= _MAX_TITLE else words[: _MAX_TITLE - 1].rstrip() + "…"


def short_name(path: str | Path) -> str:
    """A file's name as messages show it: bounded, and printable."""
    name = "".join(c if c.isprintable() else "�" for c in Path(path).name or str(path))
    return name if len(name) <= 60 else f"{name[:40]}…{name[-15:]}"


def _first_bytes(path: Path, name: str) -> bytes:
    try:
        if path.is_dir():
            raise InputError(f"{name} is a folder.", "Name the files in it instead.")
        if not path.exists():
            raise InputError(f"There is no file {name}.", "Check the name and the folder.")
        if not path.is_file():
            raise InputError(f"{name} is not a regular file.", "Give an audio, video or MIDI file.")
        size = path.stat().st_size
        if size == 0:
            raise InputError(f"{name} is empty.", "Record, export or download it again.")
        if size > MAX_BYTES:
            remedy = "Cut out the passage that you want, or save it as FLAC or MP3."
            raise InputError(f"{name} is larger than {MAX_BYTES // 2**30} GB.", remedy)
        with path.open("rb") as file:
            return file.read(4)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"{name} cannot be opened.", "Check its name and that you may read it.") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
