"""What a job leaves in its folder for the page and for downloading, file by file as it is made.

`tracks.json`  the player's tracks and the outline of the waveform
`sounds.json`  where in the store the tracks (Ogg Vorbis) and `stems.zip` (the stems as FLAC) lie
`notes.json`   notes (and beats, once found) before the score is done, in the form of the contract
`song.*`       the files of the contract (output/files.py); `song.json` says all that notes.json does
`score/`       the engraved pages and their index; `score-narrow/` the same for phones, when asked for
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ..bucket import kept_here
from ..codec import fingerprint
from ..music import Audio, BeatGrid, Performance, Stems
from ..output.engraving import Engraving
from ..output.files import zip_stems
from ..output.ids import note_id_of
from .sounds import Room, Sounds

LAYOUTS: dict[str, dict[str, Any]] = {"score": {}, "score-narrow": {"pageWidth": 1000}}  # options of Verovio
SONG = "song"  # what a job's files are called on disk; only their download has the title

_NOTE = re.compile(r'<g\b[^>]*?\bid="([^"]+)" class="note[ "]')
_VIEW_BOX = re.compile(r'<svg viewBox="0 0 ([\d.]+) ([\d.]+)"')

Kind = Literal["original", "stem", "transcription", "part"]


class Shelf:
    """Writes into one job's folder, and its sounds into the store."""

    def __init__(self, folder: Path, job: str, sounds: Sounds):
        self.folder, self.job = folder, job
        self._sounds = sounds
        self._held: dict[str, str] = _read(folder / "sounds.json")  # what there is already, if the job goes on
        tracks = _read(folder / "tracks.json").get("tracks", [])
        self._tracks: dict[str, dict[str, Any]] = {track["id"]: track for track in tracks}
        self._peaks: list[list[int]] = []
        self._duration_s = 0.0
        self.begin_s = 0.0  # where all tracks begin in the recording: a passage's begin

    def put_sound(self, track: str, name: str, kind: Kind, key: str, make: Callable[[], Audio]) -> bool:
        """Keep a sound as a track of the player; whether that is new. `make` is only called if it is not kept yet."""
        room: Room = "stems" if kind in ("original", "stem") else "sounds"
        before = self._held.get(f"{track}.ogg")
        self._held[f"{track}.ogg"], outline = self._sounds.hold(self.job, room, key, make)
        self._tracks[track] = {"id": track, "name": name, "kind": kind, "file": f"{track}.ogg"}
        self._peaks = self._peaks or outline.peaks  # of the first: the original, where there is one
        self._duration_s = max(self._duration_s, outline.duration_s)
        _write(self.folder / "tracks.json", {
            "begin_s": self.begin_s, "duration_s": self._duration_s, "peaks": self._peaks,
            "tracks": list(self._tracks.values())})
        _write(self.folder / "sounds.json", self._held)
        return before != self._held[f"{track}.ogg"]

    @property
    def has_notes(self) -> bool:
        """Whether notes can be seen already."""
        return (self.folder / "notes.json").is_file()

    def put_notes(self, performance: Performance, grid: BeatGrid | None = None) -> None:
        """Keep the notes as they stand, before there is a score."""
        beats = [] if grid is None else [
            {"time_s": t, "ql": q, "measure": m, "beat": b}
            for t, q, m, b in zip(grid.times_s.tolist(), grid.ql.tolist(), grid.measure.tolist(),
                                  grid.beat.tolist(), strict=True)]
        _write(self.folder / "notes.json", {
            "notes": [asdict(note) for note in performance.notes], "beats": beats,
            "performance": {"parts": [asdict(part) for part in performance.parts]}})

    def put_stems(self, stems: Stems, title: str) -> None:
        """Keep the stems as one ZIP of FLAC files."""
        self._held["stems.zip"] = f"stems/{fingerprint(stems)}.flac.zip"
        self._sounds.hold_file(self.job, self._held["stems.zip"], partial(zip_stems, stems, title))
        _write(self.folder / "sounds.json", self._held)


def put_pages(folder: Path, layout: str) -> None:
    """Engrave the saved MusicXML; keep the pages, their sizes, and on which page each note stands first."""
    musicxml = (folder / f"{SONG}.musicxml").read_text(encoding="utf-8")
    engraving = Engraving(musicxml, adjustPageHeight=True, **LAYOUTS[layout])
    folder = folder / layout
    with kept_here():
        folder.mkdir(exist_ok=True)
    page_of: dict[str, int] = {}
    sizes: list[tuple[float, float]] = []
    for page in range(1, engraving.pages + 1):
        svg = engraving.svg(page)
        sizes += [(float(w), float(h)) for w, h in _VIEW_BOX.findall(svg[:400])]
        with kept_here():
            (folder / f"{page}.svg").write_text(svg, encoding="utf-8")
        for element in _NOTE.findall(svg):
            page_of.setdefault(note_id_of(element), page)
    _write(folder / "index.json", {"pages": sizes, "page_of": page_of})


def _read(path: Path) -> dict[str, Any]:
    """What `_write` wrote; nothing if it did not."""
    try:
        return dict(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return {}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Written aside and renamed: a page never reads half a file."""
    aside = path.with_suffix(".part")
    with kept_here():
        aside.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")
        aside.replace(path)
