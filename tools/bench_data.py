"""The sets that the benchmark knows: what goes in, and the reference to compare with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rescored.evaluate import Piece, read
from rescored.evaluate.reading import Beats, Harmony, played


@dataclass(frozen=True)
class Task:
    """One piece: the file that goes in, and how."""

    set: str
    name: str
    source: Path
    preset: str


@dataclass(frozen=True)
class Set:
    """`source`: file name within a piece's folder; `reference`: the folder -> what is known."""

    preset: str
    source: str
    names: Callable[[Path], list[str]]
    reference: Callable[[Path], Piece]

    def tasks(self, data: Path, name: str) -> list[Task]:
        """Every piece of this set in the data folder."""
        return [Task(name, piece, data / name / piece / self.source, self.preset) for piece in self.names(data / name)]


def _indexed(folder: Path) -> list[str]:
    return [piece["name"] for piece in json.loads((folder / "index.json").read_text())["pieces"]]


def _held_out_songs(_: Path) -> list[str]:
    """Songs that the metre model never learned from (see train_metre.py)."""
    return (Path(__file__).parent / "pop909_held_out.txt").read_text().split()


def _score_reference(folder: Path) -> Piece:
    known = read([folder / "score.musicxml", folder / "timed.json"])
    piece = replace(known, played=played(_notes(folder)))
    if not json.loads((folder.parent / "index.json").read_text())["key"] and piece.written:
        piece = replace(piece, written=replace(piece.written, keys=()))
    return piece


def _notes(folder: Path) -> np.ndarray:
    return np.loadtxt(folder / "notes.csv", delimiter=",", skiprows=1, ndmin=2)[:, :3]


def _beats(folder: Path) -> Beats:
    rows = np.loadtxt(folder / "beats.csv", delimiter=",", skiprows=1, ndmin=2)
    return Beats(rows[:, 0], rows[rows[:, 2] == 1, 0])


def _pop909_beats(folder: Path) -> Beats:
    """Third column: downbeats of fours; where a song has none, the second column's (twos or threes)."""
    rows = np.loadtxt(folder / "beat_midi.txt")
    down = rows[:, 2] > 0.5 if (rows[:, 2] > 0.5).sum() > 8 else rows[:, 1] > 0.5
    return Beats(rows[:, 0], rows[down, 0])


def _pop909_reference(folder: Path) -> Piece:
    rows = [line.split() for line in (folder / "chord_midi.txt").read_text().splitlines()]
    edges = np.array([(float(begin), float(end)) for begin, end, _ in rows])
    return Piece(beats=_pop909_beats(folder), chords=Harmony(edges, tuple(label for *_, label in rows)))


SETS = {
    "asap_dev": Set("solo-piano", "performance.mid", _indexed, _score_reference),
    "violin_dev": Set("melody", "audio.flac", _indexed, _score_reference),
    "guitarset": Set("guitar", "audio.flac", _indexed, lambda f: Piece(played=played(_notes(f)), beats=_beats(f))),
    "pop909": Set("solo-piano", "performance.mid", _held_out_songs, _pop909_reference),
    "mdb": Set("full-band", "mix.ogg", _indexed, lambda f: Piece(beats=_beats(f))),
}
