"""Whole songs around grooves, taken apart by the separator that ships: what its drum stems sound like.

A band of our own (tools/band.py) plays bass, accompaniment and voice, most times in the groove's tempo.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import band
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import rescored.output.sound
from rescored.hearing.separate import separate
from rescored.hearing.weights import BUILT_IN
from rescored.music import Audio, Separator
from rescored.settings import SeparateSettings

SONG_S = 14.0
RATE_HZ = band.RATE_HZ
LEVELS_DB = (-17, -18, -16)  # root mean squares of bass, accompaniment and voice
DRUMS_DB = -16.0
Chance = np.random.Generator


@dataclass(frozen=True)
class Backing:
    """All of a song but its drums: `stems` (bass, accompaniment, voice), shape (3, 2, n), each at its own level."""

    beat_s: float
    bar_s: float
    stems: np.ndarray

    def cut(self, seconds: float, before_s: float, chance: Chance) -> np.ndarray:
        """A passage with its first measure at `before_s`; some of the stems rest."""
        last = int((SONG_S - seconds + before_s) / self.bar_s)
        begin = round((int(chance.integers(1, max(last, 1) + 1)) * self.bar_s - before_s) * RATE_HZ)
        begin = min(max(begin, 0), int((SONG_S - seconds) * RATE_HZ))
        gains = 10 ** (chance.normal(0, 3, 3) / 20) * (chance.random(3) > (0.15, 0.1, 0.25))
        some = self.stems[:, :, begin : begin + round(seconds * RATE_HZ)]
        return np.asarray(np.tensordot(gains, some, axes=1))


def backing(chance: Chance, soundfont: Path | None = None) -> Backing:
    """One song, played by a soundfont (None = the one in pretty_midi's wheel)."""
    ours = rescored.output.sound._soundfont
    if soundfont:
        rescored.output.sound._soundfont = lambda: soundfont
    try:
        song = band.compose(chance, SONG_S)
        voice = band.sing_in_choir if chance.random() < 0.15 else band.sing
        stems = [band.produce(play(song, chance, SONG_S), chance, place=place)
                 for play, place in ((band.play_bass, 0.02), (band.play_accompaniment, 0.35), (voice, 0.05))]
    finally:
        rescored.output.sound._soundfont = ours
    for stem, level in zip(stems, LEVELS_DB, strict=True):
        stem *= 10 ** (level / 20) / (np.sqrt((stem**2).mean()) + 1e-6)
    return Backing(song.beat_s, song.beat_s * song.beats_in_bar, np.stack(stems).astype(np.float32))


def mixed(groove: np.ndarray, others: np.ndarray, chance: Chance) -> np.ndarray:
    """The mix (2, n), mastered, of drums (n,) and what else plays (2, n)."""
    side = (chance.normal(0, 0.05) + 1) * np.pi / 4
    gain = 10 ** ((DRUMS_DB + chance.normal(0, 3)) / 20) / (np.sqrt((groove**2).mean()) + 1e-6)  # silence stays
    mix = others + gain * np.sqrt(2) * np.stack([np.cos(side) * groove, np.sin(side) * groove])
    mix /= np.abs(mix).max() + 1e-9
    if chance.random() < 0.5:
        drive = chance.uniform(1, 4)
        mix = np.tanh(drive * mix) / np.tanh(drive)
    return np.asarray(0.95 * mix, dtype=np.float32)


def drum_stem(mix: np.ndarray) -> np.ndarray:
    """What the separator that ships calls drums, mono (n,)."""
    stems = separate(Audio(mix, RATE_HZ), Separator(BUILT_IN), settings=SeparateSettings(stems="drums"))
    return np.asarray(stems.audio["drums"].samples.mean(axis=0))
