"""One transcription as a function call, for machines rented by the second (deploy/modal_app.py, runpod_handler.py)."""

from __future__ import annotations

import base64
import binascii
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError, LinkError, RescoredError
from ..hearing.links import is_link
from ..hearing.sources import clean_title, open_source
from ..output.files import save
from ..pipeline import transcribe
from ..settings import Settings
from ..stage import Event, Listener, unheard
from ..store import Store
from .limits import Allowance
from .progress import WORDS
from .shelf import SONG


def transcribe_file(
    content: bytes, name: str = "", *, link: str = "", preset: str = "solo-piano",
    settings: Mapping[str, Any] | None = None, store: Store | None = None, listen: Listener = unheard,
) -> dict[str, bytes]:
    """The files of a recording's transcription, by name (`song.musicxml` ...).

    The recording is `content`, a file whose title comes from `name`, or what `link` leads to. `settings` are
    changes to the preset. Raises RescoredError for anything that the caller can put right.
    """
    wanted = Settings.preset(preset).changed(settings or {})
    allowed = Allowance.from_environment()
    if not content and not link:
        raise InputError("There is nothing to transcribe.", "Give a file or a link.")
    if allowed.max_mb and len(content) > allowed.max_mb * 1e6:
        raise InputError(f"The recording is larger than {allowed.max_mb:g} MB.", "Save it as FLAC or MP3.")
    if link and not is_link(link):  # else it would be read as the name of a file of this machine
        raise LinkError("This is no link.", "Give the address of a video, or the file itself.")
    with tempfile.TemporaryDirectory() as folder:
        source: str | Path = link
        if content:
            source = Path(folder) / "source"
            source.write_bytes(content)
        recording = open_source(source, max_minutes=wanted.audio.max_minutes, fetched=Path(folder) / "fetched",
                                title=clean_title(Path(name).stem) if name else "" if link else "Untitled")
        result = transcribe(recording, wanted, store=store, listen=listen)
        out = Path(folder) / "out"
        out.mkdir()
        save(result, out, SONG)
        return {path.name: path.read_bytes() for path in sorted(out.iterdir()) if path.is_file()}


def answer(request: Mapping[str, Any], *, store: Store | None = None,
           report: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """The same as JSON: `{"file": base64, "name": ...}` or `{"link": ...}`, with "preset" and "settings".

    Gives `{"files": {name: base64}}`, or `{"error": {"problem", "remedy"}}` for what the caller can put right.
    `report` hears what is being done, in a musician's words.
    """
    def listen(event: Event) -> None:
        if event.state == "running" and not event.fraction:
            report(WORDS.get(event.stage.partition(":")[0], event.stage))

    try:
        try:
            content = base64.b64decode(str(request.get("file") or ""), validate=True)
        except binascii.Error as error:
            raise InputError("The file is not encoded as base64.", "Encode its bytes as base64.") from error
        settings = request.get("settings") or {}
        if not isinstance(settings, Mapping):
            raise InputError("The settings are no object.", 'Write them as {"section.name": value}.')
        files = transcribe_file(
            content, str(request.get("name") or ""), link=str(request.get("link") or ""),
            preset=str(request.get("preset") or "solo-piano"), settings=settings, store=store, listen=listen)
    except RescoredError as error:
        return {"error": {"problem": error.problem, "remedy": error.remedy}}
    return {"files": {name: base64.b64encode(data).decode() for name, data in files.items()}}
