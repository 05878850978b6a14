"""A first look at what somebody has chosen, before it is transcribed: length, outline, and how long it will take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ..hearing.audio import duration_s, overview
from ..hearing.midi import read_midi
from ..hearing.sources import open_source
from ..settings import NoteSettings, Settings
from .history import History
from .progress import Progress

COLUMNS = 600  # of the outline: what a small panel can show, and little to send


@dataclass(frozen=True)
class Glance:
    """Length in seconds (None = not known yet), and the outline.

    `outline`: lowest sample, highest sample and root mean square of equal stretches, in 1/127 of the loudest
    sample; empty for a MIDI file, and until the sound has been read.
    """

    kind: Literal["audio", "midi"]
    duration_s: float | None
    outline: list[list[int]]


def first_glance(path: Path) -> Glance:
    """What the file says of itself, at once. Raises InputError for a file that cannot be used."""
    recording = open_source(path, max_minutes=0)
    if recording.kind == "midi":
        return Glance("midi", read_midi(recording, (0.0, 0.0), settings=NoteSettings()).duration_s, [])
    return Glance("audio", duration_s(path), [])


def second_glance(path: Path) -> Glance:
    """... and how a recording sounds, which takes a second for some minutes of it. Raises InputError."""
    length_s, columns = overview(path, columns=COLUMNS)
    scale = 127 / max(float(np.abs(columns[:, :2]).max()), 1e-6)
    return Glance("audio", length_s, np.rint(columns * scale).astype(int).tolist())


def pace(settings: Settings, kind: str, history: History) -> float:
    """Seconds that a minute of sound takes on this machine with these settings."""
    return Progress(settings, kind, history.pace()).pace
