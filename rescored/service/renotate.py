"""A finished transcription corrected, or notated otherwise, at once: no model runs, one page is engraved.

What was heard stays in memory with its engraving for as long as somebody works at it. Everything else that is made
of a transcription (other pages, files, sounds) is removed when it changes and made when it is asked for; changes.py
says what outlives the process.
"""

from __future__ import annotations

import json
import tempfile
import threading
from bisect import bisect_right
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..codec import fingerprint
from ..errors import InputError, SettingsError
from ..music import Edit, Transcription
from ..notation.metre_choices import CHOSEN
from ..output.contract import from_json, to_json
from ..output.engraving import Engraving
from ..output.files import save
from ..output.ids import measure_id
from ..output.musicxml import to_musicxml
from ..pipeline import metre_choices, renotate, saved_settings
from ..settings import Settings, Value
from ..stage import Runner
from ..store import Store
from . import changes as kept
from .changes import Changes
from .jobs import BaseJobs
from .shelf import LAYOUTS, SONG
from .work import played

OF_NOTATION = ("metre", "quantise", "hands", "voices", "spelling", "score")  # sections that may be changed here
OPEN = 6  # transcriptions that stay in memory
AT_ONCE = 2  # are written at the same time
MAX_EDITS = 20_000
HEARD = "heard.json"
_RESULTS = 40  # of stages, that stay in memory


class Outdated(Exception):
    """The change was made to what is not there any more: somebody else changed it meanwhile."""


class _Recent(Store):
    """The last results of stages, in memory alone: what a click makes is not worth keeping for a month."""

    def __init__(self) -> None:
        self._results: OrderedDict[str, Any] = OrderedDict()

    def get(self, key: str, kind: Any) -> Any | None:
        """As there."""
        if key in self._results:
            self._results.move_to_end(key)
        return self._results.get(key)

    def put(self, key: str, value: Any, kind: Any) -> Any:
        """As there, but for the way through a file."""
        self._results[key] = value
        while len(self._results) > _RESULTS:
            self._results.popitem(last=False)
        return value


@dataclass
class _Piece:
    """A transcription as it stands, and what was made of it so far."""

    heard: Transcription  # as the job made it
    changes: Changes
    now: Transcription
    results: _Recent
    weighed: _Recent = field(default_factory=_Recent)  # metres, while the score changes
    engravings: dict[str, Engraving] = field(default_factory=dict)

    @cached_property
    def musicxml(self) -> str:
        """The score, written down."""
        return to_musicxml(self.now.score, self.now.settings)

    def engraving(self, layout: str) -> Engraving:
        """Its pages for this layout."""
        if layout not in self.engravings:
            self.engravings[layout] = Engraving(self.musicxml, adjustPageHeight=True, **LAYOUTS[layout])
        return self.engravings[layout]

    def index(self, layout: str) -> dict[str, Any]:
        """As `shelf.put_pages` has it, but that pages are taken to be full as long as they are not drawn."""
        engraving, measures = self.engraving(layout), self.now.score.measures
        page = [engraving.page_of(measure_id(m.number)) for m in measures]
        starts = [m.ql for m in measures]
        return {"pages": [engraving.size] * engraving.pages,
                "page_of": {n.id: page[max(bisect_right(starts, n.onset_ql) - 1, 0)] for n in self.now.score.notes}}


class Renotator:
    """Changes the finished transcriptions of these jobs."""

    def __init__(self, jobs: BaseJobs):
        self._jobs = jobs
        self._pieces: OrderedDict[str, _Piece] = OrderedDict()
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._weighing = threading.Lock()

    # ------------------------------------------------------------ what is asked of it

    def state(self, job: str) -> dict[str, Any]:
        """Revision, edits and settings (those before the changes, and the changed ones); gets ready for more."""
        with self._open(job) as piece:
            return {"revision": piece.changes.revision, "edits": to_json(piece.now)["edits"],
                    "base": dict(self._jobs.order(job).settings), "settings": dict(piece.changes.settings)}

    def change(self, job: str, revision: int, edits: tuple[Edit, ...], settings: Mapping[str, Value], *,
               layout: str = "score", page: int = 1) -> dict[str, Any]:
        """Take these edits and settings instead of those in force; what the page shows then, one page engraved.

        `revision`: that the change is based on; raises Outdated if it is not the latest. Raises SettingsError and
        InputError for what cannot be.
        """
        if len(edits) > MAX_EDITS:
            raise InputError(f"There are more than {MAX_EDITS} corrections.", "Save the song, and go on in the copy.")
        if other := [name for name in settings if name.split(".")[0] not in OF_NOTATION]:
            raise SettingsError(f"{other[0]} is no setting of notation.", "Transcribe again to change it.")
        chosen = Settings().changed(settings).as_dict()
        if layout not in LAYOUTS:
            raise InputError(f"There is no layout {layout!r}.", "Reload the page.")
        with self._open(job) as piece:
            if revision != piece.changes.revision:
                raise Outdated
            self._keep_heard(job)
            self._write(job, piece, Changes(revision + 1, edits, {name: chosen[name] for name in settings}))
            kept.write(self._jobs.bucket, job, piece.changes)
            self._drop_made(job)
            engraving = piece.engraving(layout)
            page = min(max(page, 1), engraving.pages)
            return {"revision": piece.changes.revision, "song": shown(piece.now), "score": piece.index(layout),
                    "page": page, "svg": engraving.svg(page)}

    def metres(self, job: str) -> list[dict[str, Any]]:
        """Ways to count it, the one that is found first, each with the settings that choose it."""
        with self._open(job) as piece:
            now, weighed = piece.now, piece.weighed
        settings = saved_settings(now)
        with self._weighing:  # no edit waits for this
            choices = metre_choices(now.heard or now.performance, settings, Runner(weighed))
        return [{**asdict(choice), "settings": {f"metre.{name}": getattr(chosen.metre, name) for name in CHOSEN}}
                for choice, chosen in choices]

    def make(self, job: str, path: str) -> Path:
        """A file of a changed transcription, when it is first asked for; raises FileNotFoundError if there is none."""
        if not self.changed(job):
            raise FileNotFoundError(path)
        with self._open(job) as piece:
            layout, _, name = path.rpartition("/")
            if layout in LAYOUTS and name == "index.json":
                self._jobs.add_file(job, path, json.dumps(piece.index(layout)).encode())
            elif layout in LAYOUTS and name.removesuffix(".svg").isdecimal():
                engraving, page = piece.engraving(layout), int(name.removesuffix(".svg"))
                if not 1 <= page <= engraving.pages:
                    raise FileNotFoundError(path)
                self._jobs.add_file(job, path, engraving.svg(page).encode())
            elif path.startswith(f"{SONG}."):
                with tempfile.TemporaryDirectory() as aside:
                    save(piece.now, aside, SONG)
                    for file in Path(aside).rglob("*"):
                        if file.is_file():
                            self._jobs.add_file(job, file.relative_to(aside).as_posix(), file.read_bytes())
            return self._jobs.file(job, path)

    def sound(self, job: str) -> dict[str, Any]:
        """How the transcription sounds now; the job's tracks, those that are new with a new version."""
        with self._open(job) as piece:
            now = piece.now
        begin_s = json.loads(self._jobs.file(job, "tracks.json").read_bytes())["begin_s"]
        own, held = [], {}
        length_s = 0.0
        for track, name, kind, performance, make in played(now.performance, saved_settings(now), begin_s):
            key = fingerprint(performance)
            held[f"{track}.ogg"], outline = self._jobs.sounds.hold(job, "sounds", key, make)
            length_s = max(length_s, outline.duration_s)
            own.append({"id": track, "name": name, "kind": kind, "file": f"{track}.ogg", "version": key[:12]})
        with self._locks[job]:
            tracks = json.loads(self._jobs.file(job, "tracks.json").read_bytes())
            sounds = json.loads(self._jobs.file(job, "sounds.json").read_bytes())
            tracks["tracks"] = [t for t in tracks["tracks"] if t["kind"] in ("original", "stem")] + own
            tracks["duration_s"] = max(tracks["duration_s"], length_s)
            self._jobs.add_file(job, "sounds.json", json.dumps({**sounds, **held}).encode())
            self._jobs.add_file(job, "tracks.json", json.dumps(tracks).encode())
            return dict(tracks)

    def changed(self, job: str) -> bool:
        """Whether anything was changed since the job was done."""
        return self._jobs.bucket.exists(f"results/{job}/{HEARD}")

    # ------------------------------------------------------------ inside

    @contextmanager
    def _open(self, job: str) -> Iterator[_Piece]:
        """The transcription as it stands, for one at a time; raises InputError if the job is not done."""
        if self._jobs.snapshot(job).state != "done":
            raise InputError("This transcription is not done.", "Wait until it is, then change it.")
        with self._locks[job], self._slots:
            changes = kept.read(self._jobs.bucket, job)
            piece = self._pieces.get(job)
            if piece is None or piece.changes.revision != changes.revision:
                name = HEARD if self.changed(job) else f"{SONG}.json"
                heard = from_json(json.loads(self._jobs.file(job, name).read_bytes()))
                piece = _Piece(heard, Changes(0, heard.edits), heard, _Recent())
                if changes.revision:
                    self._write(job, piece, changes)
                self._pieces[job] = piece
            self._pieces.move_to_end(job)
            while len(self._pieces) > OPEN:
                self._pieces.popitem(last=False)
            yield piece

    def _write(self, job: str, piece: _Piece, changes: Changes) -> None:
        settings = Settings().changed(_known(self._jobs.order(job).settings)).changed(_known(changes.settings))
        piece.now = renotate(piece.heard, settings, changes.edits or (), Runner(piece.results))
        piece.changes = changes
        piece.engravings.clear()
        piece.__dict__.pop("musicxml", None)

    def _keep_heard(self, job: str) -> None:
        if not self.changed(job):
            self._jobs.bucket.copy(f"results/{job}/{SONG}.json", f"results/{job}/{HEARD}")

    def _drop_made(self, job: str) -> None:
        for name in self._jobs.bucket.names(f"results/{job}"):
            first, _, _ = name.removeprefix(f"results/{job}/").partition("/")
            if first in LAYOUTS or first.startswith(f"{SONG}."):
                self._jobs.bucket.remove(name)


def _known(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those that still exist."""
    names = Settings().as_dict()
    return {name: value for name, value in settings.items() if name in names}


def shown(transcription: Transcription) -> dict[str, Any]:
    """song.json without what the page has no use for."""
    unshown: dict[str, Any] = {"pulse": None, "stated": None, "hands": {}}
    heard = transcription.heard and replace(transcription.heard, notes=(), candidates=(), **unshown)
    slim = replace(
        transcription, performance=replace(transcription.performance, **unshown), heard=heard,
        score=replace(transcription.score, symbols=()))
    return to_json(slim)
