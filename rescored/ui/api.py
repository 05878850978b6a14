"""What programs call: `gradio_client.Client(url).predict(..., api_name="/transcribe")`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.processing_utils import save_file_to_cache

from ..errors import RescoredError, SettingsError
from ..hearing.sources import clean_title
from ..service.history import SENT
from ..service.jobs import BaseJobs
from ..service.owners import Owners
from ..service.shelf import SONG
from ..settings import PRESETS, Settings, describe_range
from .source import nothing_chosen

CONCURRENCY_ID = "transcribe"  # all heavy work of the public API


def add_api(jobs: BaseJobs, owners: Owners, *, slots: int) -> None:
    """Add the public endpoints to the page that is being built."""
    recording = gr.File(label="Recording", visible=False)
    link = gr.Textbox("", label="Link", visible=False)
    preset = gr.Dropdown(list(PRESETS), value=next(iter(PRESETS)), label="Preset", visible=False)
    changes = gr.JSON({}, label="Settings", visible=False)
    status = gr.JSON(label="Status", visible=False)
    files = gr.File(label="Files", file_count="multiple", visible=False)

    def transcribe(
        recording: str | None, link: str, preset: str, settings: Any, request: gr.Request,
    ) -> Iterator[tuple[Any, Any]]:
        """Transcribe a recording (audio, video or MIDI file, or a link) and return its files.

        `preset` says what plays; `settings` changes single settings: {"section.name": value}. While it runs,
        the status says how the job stands; in the end it holds the summary of the score, and the files
        are MusicXML, MXL, MIDI as played and as written, PDF, and the JSON that holds everything.
        """
        try:
            wanted = Settings.preset(preset).changed(_object(settings)).as_dict()
            if not recording and not link:
                raise nothing_chosen()
            source = Path(recording) if recording else link
            title = clean_title(Path(recording).stem) if recording else ""
            job = jobs.submit(source, wanted, title=title, owner=owners.of(request.headers, request.cookies),
                              address=address_of(request), priority=SENT)
            for snapshot in jobs.watch(job):
                yield asdict(snapshot), None
            folder = jobs.result(job)
        except RescoredError as error:
            raise gr.Error(str(error), print_exception=False) from error
        made = [file for file in sorted(folder.glob(f"{SONG}.*")) if file.suffix != ".part"]
        cached = [save_file_to_cache(file, files.GRADIO_CACHE) for file in made]
        yield {**asdict(jobs.snapshot(job)), **summary(folder)}, cached

    gr.Button(visible=False).click(
        transcribe, [recording, link, preset, changes], [status, files], api_name="transcribe",
        concurrency_id=CONCURRENCY_ID, concurrency_limit=slots)
    gr.api(settings_tree, api_name="settings")


def _object(settings: Any) -> dict[str, Any]:
    """What is sent as settings, as JSON or as its text; raises SettingsError for what is no object."""
    try:
        settings = json.loads(settings) if isinstance(settings, str) and settings.strip() else settings or {}
    except (ValueError, RecursionError):
        settings = None
    if not isinstance(settings, dict):
        raise SettingsError("These are no settings.", 'They are an object: {"section.name": value, ...}.')
    return settings


def address_of(request: gr.Request) -> str:
    """The network address that a request comes from; through a proxy that `FORWARDED_ALLOW_IPS` names, its client's."""
    client = request.client
    return client.host if client else ""


def summary(folder: Path) -> dict[str, Any]:
    """What a finished transcription's JSON says of the music as a whole."""
    song = json.loads((folder / f"{SONG}.json").read_text(encoding="utf-8"))
    return {
        "keys": song["keys"], "time_signatures": song["time_signatures"], "tempi": song["tempi"],
        "measures": sum(m["number"] > 0 for m in song["score"]["measures"]), "notes": len(song["notes"]),
        "warnings": song["warnings"],
    }


def settings_tree() -> list[dict[str, Any]]:
    """All settings: name, default, meaning, and the values that each takes."""
    return [
        {"name": name, "default": value, "help": item.metadata["help"], "takes": describe_range(item)}
        for name, value, item in Settings().leaves()
    ]
