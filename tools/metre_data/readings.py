"""Performed pieces on beats that somebody might read in them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from rescored.music import BeatGrid, TimeSignature

from . import textures
from .simulate import Rendition, struck_at
from .textures import Piece

MISREAD = 0.3  # share of the performances that are read at another level of the metre
LOOSE = 0.4  # share of the readings whose beats are not quite where they are struck
Random = np.random.Generator


@dataclass(frozen=True)
class Level:
    """Beats as somebody might read them."""

    ql: np.ndarray  # where they are written
    scale: float  # what is read by what is written
    numerator: int
    denominator: int


def downbeats_ql(r: Rendition) -> np.ndarray:
    """Where measures begin; a pickup is none."""
    return r.beats_ql[np.isin(r.beats_s, r.downbeats_s)]


def level(piece: Piece, r: Rendition, random: Random) -> Level:
    """The written beats, or every second one, their halves or thirds, or whole measures."""
    bar = piece.bars[len(piece.bars) // 2]
    ql, compound = r.beats_ql, textures.is_compound(bar)
    if random.random() > MISREAD or len({(b.numerator, b.denominator) for b in piece.bars}) > 1:
        return Level(ql, 1.0, bar.numerator, bar.denominator)
    down = downbeats_ql(r)
    kind = random.random()
    if kind < 0.4:
        parts = 3 if compound else 2
        inner = ql[:-1, None] + np.diff(ql)[:, None] * np.arange(parts) / parts
        return Level(np.append(inner, ql[-1]), parts / textures.beat_ql(bar), 3 if parts == 3 else 4, 4)
    if bar.numerator == 3 and not compound:
        return Level(down, 1.5 / textures.bar_ql(bar), 12, 8)
    if bar.numerator in (2, 4) and kind < 0.8:
        first = int(np.argmax(np.isin(ql, down))) % 2
        return Level(ql[first::2], 0.5 / textures.beat_ql(bar), 4, 4)
    return Level(ql, 1.0, bar.numerator, bar.denominator)


def grid_of(r: Rendition, read: Level, random: Random) -> tuple[BeatGrid, np.ndarray] | None:
    """Beats where they are struck, and between these where they are not, or near there, as when they are tapped; and
    where they are written (ql)."""
    times_s = np.interp(read.ql, r.beats_ql, r.beats_s)
    struck, where = np.array(struck_at(read.ql, r.onset_ql, r.notes[0]), dtype=np.int64).reshape(-1, 2).T
    if len(struck) < 4:
        return None
    times_s += np.interp(np.arange(len(times_s)), struck, r.onsets.times_s[where] - times_s[struck])
    if random.random() < LOOSE:
        most_s = 0.1 * np.gradient(times_s)
        times_s += np.clip(random.normal(0.0, random.uniform(0.003, 0.03), len(times_s)), -most_s, most_s)
    times_s = np.maximum.accumulate(times_s)
    keep = np.diff(times_s, prepend=-1e9) > 0.02
    times_s, ql = times_s[keep], read.ql[keep]
    down = np.isin(np.round(ql, 4), np.round(downbeats_ql(r), 4))
    signature = TimeSignature(1, Fraction(0), read.numerator, read.denominator)
    grid = BeatGrid(times_s, (ql - ql[0]) * read.scale, np.arange(len(ql)), np.where(down, 1, 2), (signature,))
    return grid, ql
