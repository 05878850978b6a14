"""What a job leaves in its folder for the page and for downloading, file by file as it is made.

`tracks.json`  the player's tracks and the outline of the waveform; each track an Ogg Vorbis file
`notes.json`   notes (and beats, once found) before the score is done, in the form of the contract
`song.*`       the files of the contract (output/files.py); `song.json` says all that notes.json does
`score/`       the engraved pages, and on which page each note stands

Sounds are kept once for the same content (`sounds/` beside the jobs), so a second run with another
setting encodes nothing again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..codec import fingerprint
from ..music import Audio, BeatGrid, Performance, Stems
from ..output.engraving import Engraving
from ..output.files import zip_stems
from ..output.ids import note_id_of
from .jobs import link_or_copy

PEAKS_A_SECOND = 50
VORBIS_QUALITY = 0.5  # libsndfile's 0..1: "q5", about 160 kbit/s; 5.4 MB for four minutes of stereo
SONG = "song"  # what a job's files are called on disk; only their download has the title

_NOTE = re.compile(r'<g\b[^>]*?\bid="([^"]+)" class="note[ "]')
_VIEW_BOX = re.compile(r'<svg viewBox="0 0 ([\d.]+) ([\d.]+)"')

Kind = Literal["original", "stem", "transcription", "part"]


class Shelf:
    """Writes into one job's folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._sounds = folder.parent / "sounds"
        self._sounds.mkdir(exist_ok=True)
        self._tracks: dict[str, dict[str, Any]] = {}
        self._peaks: list[list[int]] = []
        self._duration_s = 0.0

    def put_sound(self, track: str, name: str, kind: Kind, key: str, make: Callable[[], Audio]) -> None:
        """Keep a sound as a track of the player. `make` is only called if none is kept under `key`."""
        ogg, outline = self._sounds / f"{key}.ogg", self._sounds / f"{key}.json"
        if not outline.is_file():
            sound = make()
            write_vorbis(sound, aside := ogg.with_suffix(f".{self.folder.name}.part"))
            aside.replace(ogg)
            _write(outline, {"duration_s": sound.duration_s, "peaks": peaks(sound)})
        link_or_copy(ogg, self.folder / f"{track}.ogg")
        shape = json.loads(outline.read_text(encoding="utf-8"))
        self._tracks[track] = {"id": track, "name": name, "kind": kind, "file": f"{track}.ogg"}
        self._peaks = self._peaks or shape["peaks"]  # of the first: the original, where there is one
        self._duration_s = max(self._duration_s, shape["duration_s"])
        _write(self.folder / "tracks.json", {
            "duration_s": self._duration_s, "tracks": list(self._tracks.values()),
            "peaks_a_second": PEAKS_A_SECOND, "peaks": self._peaks})

    def put_notes(self, performance: Performance, grid: BeatGrid | None = None) -> None:
        """Keep the notes as they stand, before there is a score."""
        beats = [] if grid is None else [
            {"time_s": t, "ql": q, "measure": m, "beat": b}
            for t, q, m, b in zip(grid.times_s.tolist(), grid.ql.tolist(), grid.measure.tolist(),
                                  grid.beat.tolist(), strict=True)]
        _write(self.folder / "notes.json", {
            "notes": [asdict(note) for note in performance.notes], "beats": beats,
            "performance": {"parts": [asdict(part) for part in performance.parts]}})

    def put_pages(self, engraving: Engraving) -> None:
        """Keep the engraved pages, their widths and heights, and on which page each note stands first."""
        folder = self.folder / "score"
        folder.mkdir(exist_ok=True)
        page_of: dict[str, int] = {}
        sizes: list[tuple[float, float]] = []
        for page in range(1, engraving.pages + 1):
            svg = engraving.svg(page)
            sizes += [(float(w), float(h)) for w, h in _VIEW_BOX.findall(svg[:400])]
            (folder / f"{page}.svg").write_text(svg, encoding="utf-8")
            for element in _NOTE.findall(svg):
                page_of.setdefault(note_id_of(element), page)
        _write(folder / "index.json", {"pages": sizes, "page_of": page_of})

    def put_stems(self, stems: Stems, title: str) -> None:
        """Keep the stems as one ZIP of FLAC files."""
        kept = self._sounds / f"{fingerprint(stems)}.zip"
        if not kept.is_file():
            aside = kept.with_suffix(f".{self.folder.name}.part")
            aside.write_bytes(zip_stems(stems, title))
            aside.replace(kept)
        link_or_copy(kept, self.folder / "stems.zip")


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Written aside and renamed: a page never reads half a file."""
    aside = path.with_suffix(".part")
    aside.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")
    aside.replace(path)


def write_vorbis(sound: Audio, path: Path) -> None:
    """Write a sound as Ogg Vorbis, scaled down where it exceeds full scale."""
    import soundfile

    gain = 1 / max(1.0, float(np.abs(sound.samples).max(initial=0.0)))
    with soundfile.SoundFile(path, "w", sound.rate_hz, sound.samples.shape[0], format="OGG", subtype="VORBIS",
                             compression_level=1 - VORBIS_QUALITY) as file:
        for start in range(0, sound.samples.shape[1], sound.rate_hz):  # libsndfile's stack holds no whole song
            file.write(sound.samples[:, start : start + sound.rate_hz].T * gain)


def peaks(sound: Audio) -> list[list[int]]:
    """The outline of the waveform: lowest and highest sample, in 1/127 of the loudest, 50 a second."""
    mono = sound.mono
    hop = max(sound.rate_hz // PEAKS_A_SECOND, 1)
    frames = np.pad(mono, (0, -len(mono) % hop)).reshape(-1, hop)
    scale = 127 / max(float(np.abs(mono).max(initial=0.0)), 1e-6)
    pairs = np.stack([frames.min(axis=1), frames.max(axis=1)], axis=1) * scale
    return np.rint(pairs).astype(int).tolist()  # type: ignore[no-any-return]
