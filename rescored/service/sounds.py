"""Sounds for the page, kept once for the same content: Ogg Vorbis and the outline of the waveform.

They lie in the store by key, "stems" (what was recorded) apart from "sounds" (what rescored plays), since
they are not kept equally long. The history knows which jobs need which, so a second run with another
setting encodes nothing again, and what no job needs any more can go.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import numpy as np

from ..bucket import Bucket
from ..music import Audio
from ..room import blocks, loudest
from .history import History

Room = Literal["stems", "sounds"]

OUTLINE_HZ = 50
VORBIS_QUALITY = 0.5  # libsndfile's 0..1: "q5", about 160 kbit/s; 5.4 MB for four minutes of stereo


@dataclass(frozen=True)
class Outline:
    """What the page draws of a sound: (lowest, highest) sample 50 times a second, in 1/127 of the loudest."""

    duration_s: float
    peaks: list[list[int]]


class Sounds:
    """The sounds in a store; `history` keeps who needs them."""

    def __init__(self, bucket: Bucket, history: History):
        self.bucket, self.history = bucket, history

    def hold(self, job: str, room: Room, key: str, make: Callable[[], Audio]) -> tuple[str, Outline]:
        """The name and the outline of the sound of this key; it is made only if it is not kept yet."""
        ogg, outline = f"{room}/{key}.ogg", f"{room}/{key}.json"
        self.history.hold(job, ogg)
        try:
            known = Outline(*json.loads(self.bucket.read(outline)))
            if self.bucket.exists(ogg):
                self.bucket.touch(ogg)
                self.bucket.touch(outline)
                return ogg, known
        except FileNotFoundError:
            pass
        sound = make()
        with tempfile.TemporaryDirectory() as aside:
            write_vorbis(sound, made := Path(aside) / "sound.ogg")
            self.bucket.put(ogg, made)
        known = Outline(sound.duration_s, peaks(sound))
        self.bucket.write(outline, json.dumps([known.duration_s, known.peaks]).encode())
        return ogg, known

    def hold_file(self, job: str, name: str, write: Callable[[IO[bytes]], None]) -> None:
        """The same for any file, which `write` writes."""
        self.history.hold(job, name)
        if self.bucket.exists(name):
            self.bucket.touch(name)
        else:
            with self.bucket.writing(name) as file:
                write(file)

    def release(self, job: str) -> None:
        """Remove the sounds that this job alone needed."""
        for name in self.history.release(job):
            self.bucket.remove(name)
            if name.endswith(".ogg"):
                self.bucket.remove(f"{name.removesuffix('.ogg')}.json")


def write_vorbis(sound: Audio, path: Path) -> None:
    """Write a sound as Ogg Vorbis, scaled down where it exceeds full scale."""
    import soundfile

    gain = 1 / max(1.0, loudest(sound.samples))
    with soundfile.SoundFile(path, "w", sound.rate_hz, sound.samples.shape[0], format="OGG", subtype="VORBIS",
                             compression_level=1 - VORBIS_QUALITY) as file:
        for _, block in blocks(sound.samples, sound.rate_hz):  # libsndfile's stack holds no whole song
            file.write(block.T * gain)


def peaks(sound: Audio) -> list[list[int]]:
    """See `Outline`."""
    hop = max(sound.rate_hz // OUTLINE_HZ, 1)
    pairs = [np.empty((0, 2), np.float32)]
    for _, block in blocks(sound.samples, 1000 * hop):
        mono = block.mean(axis=0)
        frames = np.pad(mono, (0, -len(mono) % hop)).reshape(-1, hop)
        pairs.append(np.stack([frames.min(axis=1), frames.max(axis=1)], axis=1))
    outline = np.concatenate(pairs)
    scale = 127 / max(float(np.abs(outline).max(initial=0.0)), 1e-6)
    return np.rint(outline * scale).astype(int).tolist()  # type: ignore[no-any-return]
