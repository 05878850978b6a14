"""Sounds for the page, kept once for the same content: Ogg Vorbis and the outline of the waveform.

Jobs hold them by hard links, so a second run with another setting encodes nothing again, and what no
job holds any more is found by its link count.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..music import Audio

OUTLINE_HZ = 50
VORBIS_QUALITY = 0.5  # libsndfile's 0..1: "q5", about 160 kbit/s; 5.4 MB for four minutes of stereo

_lock = threading.Lock()  # nothing is dropped between being made and being held


@dataclass(frozen=True)
class Outline:
    """What the page draws of a sound: (lowest, highest) sample 50 times a second, in 1/127 of the loudest."""

    duration_s: float
    peaks: list[list[int]]


class Sounds:
    """The sounds in one folder, by key."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def hold(self, key: str, make: Callable[[], Audio], as_file: Path) -> Outline:
        """Link the sound of this key to `as_file`; it is made only if it is not kept yet."""
        with _lock:
            ogg, outline = self.folder / f"{key}.ogg", self.folder / f"{key}.json"
            if not outline.is_file() or not ogg.is_file():
                sound = make()
                write_vorbis(sound, aside := ogg.with_suffix(".part"))
                aside.replace(ogg)
                aside.write_text(json.dumps([sound.duration_s, peaks(sound)]))
                aside.replace(outline)
            _link(ogg, as_file)
            return Outline(*json.loads(outline.read_text()))

    def hold_bytes(self, name: str, make: Callable[[], bytes], as_file: Path) -> None:
        """The same for any file."""
        with _lock:
            kept = self.folder / name
            if not kept.is_file():
                (aside := kept.with_suffix(".part")).write_bytes(make())
                aside.replace(kept)
            _link(kept, as_file)

    def drop_unheld(self) -> None:
        """Remove the sounds that no job holds any more."""
        with _lock:
            for kept in [*self.folder.glob("*.ogg"), *self.folder.glob("*.zip")]:
                if kept.stat().st_nlink == 1:
                    kept.unlink()
                    kept.with_suffix(".json").unlink(missing_ok=True)


def _link(kept: Path, to: Path) -> None:
    """One file under two names; a copy where the disk has no links."""
    to.unlink(missing_ok=True)
    try:
        os.link(kept, to)
    except OSError:
        shutil.copyfile(kept, to)


def write_vorbis(sound: Audio, path: Path) -> None:
    """Write a sound as Ogg Vorbis, scaled down where it exceeds full scale."""
    import soundfile

    gain = 1 / max(1.0, float(np.abs(sound.samples).max(initial=0.0)))
    with soundfile.SoundFile(path, "w", sound.rate_hz, sound.samples.shape[0], format="OGG", subtype="VORBIS",
                             compression_level=1 - VORBIS_QUALITY) as file:
        for start in range(0, sound.samples.shape[1], sound.rate_hz):  # libsndfile's stack holds no whole song
            file.write(sound.samples[:, start : start + sound.rate_hz].T * gain)


def peaks(sound: Audio) -> list[list[int]]:
    """See `Outline`."""
    mono = sound.mono
    hop = max(sound.rate_hz // OUTLINE_HZ, 1)
    frames = np.pad(mono, (0, -len(mono) % hop)).reshape(-1, hop)
    scale = 127 / max(float(np.abs(mono).max(initial=0.0)), 1e-6)
    pairs = np.stack([frames.min(axis=1), frames.max(axis=1)], axis=1) * scale
    return np.rint(pairs).astype(int).tolist()  # type: ignore[no-any-return]
