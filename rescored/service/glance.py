"""A first look at what somebody has chosen, before it is transcribed: length, outline, and how long it will take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..hearing.audio import duration_s, overview
from ..hearing.midi import read_midi
from ..hearing.sources import open_source
from ..music import Performance
from ..settings import NoteSettings, Settings
from .history import History
from .progress import Progress

COLUMNS = 600  # of the outline: what a small panel can show, and little to send
MIDDLE = 64  # key of a piano's middle
_FROM_MIDDLE = 127 / 44  # so that its outermost keys fill the panel


@dataclass(frozen=True)
class Glance:
    """Length in seconds (None = not known yet), and the outline.

    `outline`: lowest sample, highest sample and root mean square of equal stretches, in 1/127 of the loudest
    sample; empty until the sound has been read. Of a MIDI file the lowest and the highest key that sound, from
    the middle of the keyboard, and the power of all.
    """

    kind: Literal["audio", "midi"]
    duration_s: float | None
    outline: list[list[int]]


def first_glance(path: Path) -> Glance:
    """What the file says of itself, at once. Raises InputError for a file that cannot be used."""
    recording = open_source(path, max_minutes=0)
    if recording.kind == "midi":
        performance = read_midi(recording, (0.0, 0.0), settings=NoteSettings())
        return Glance("midi", performance.duration_s, _keys(performance))
    return Glance("audio", duration_s(path), [])


def _keys(performance: Performance) -> list[list[int]]:
    """The outline of a performance."""
    begins = (performance.onsets_s / performance.duration_s * COLUMNS).astype(int)
    ends = (performance.offsets_s / performance.duration_s * COLUMNS).astype(int)
    columns = np.zeros((COLUMNS, 3))
    for a, b, pitch, velocity in zip(begins, ends, performance.pitches, performance.velocities, strict=True):
        sounding = columns[a : b + 1]
        silent = sounding[:, 2] == 0
        height = np.clip(_FROM_MIDDLE * (pitch - MIDDLE), -127, 127)
        sounding[:, 0] = np.where(silent, height, np.minimum(sounding[:, 0], height))
        sounding[:, 1] = np.where(silent, height, np.maximum(sounding[:, 1], height))
        sounding[:, 2] += velocity**2
    power = np.sqrt(columns[:, 2])
    columns[:, 2] = 127 * power / max(float(power.max()), 1e-6)
    return _whole(columns)


def second_glance(path: Path) -> Glance:
    """... and how a recording sounds, which takes a second for some minutes of it. Raises InputError."""
    length_s, columns = overview(path, columns=COLUMNS)
    scale = 127 / max(float(np.abs(columns[:, :2]).max()), 1e-6)
    return Glance("audio", length_s, _whole(columns * scale))


def _whole(columns: NDArray[Any]) -> list[list[int]]:
    """As whole numbers, which are short to send."""
    return [[int(x) for x in row] for row in np.rint(columns)]


def pace(settings: Settings, kind: str, history: History) -> float:
    """Seconds that a minute of sound takes on this machine with these settings."""
    return Progress(settings, kind, history.pace()).pace
