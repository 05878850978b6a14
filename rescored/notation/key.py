"""The key of a piece, from how long each pitch class sounds."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..music import Floats, Ints

# Albrecht & Shanahan, "The use of large corpora to train a new type of key-finding algorithm", Music
# Perception 31 (2013): how often each degree of the chromatic scale sounds, from the tonic up.
MAJOR = np.array([0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081])
MINOR = np.array([0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052])

Mode = Literal["major", "minor"]
KEYS: tuple[tuple[int, Mode], ...] = tuple((f, m) for f in range(-5, 7) for m in ("major", "minor"))
CLARITY = 6.0  # notes of a measure that speak for its key independently
FIFTHS_OF_MAJOR = {"C": 0, "G": 1, "D": 2, "A": 3, "E": 4, "B": 5, "F#": 6, "C#": 7,
                   "F": -1, "Bb": -2, "Eb": -3, "Ab": -4, "Db": -5, "Gb": -6, "Cb": -7}


def find_key(pitch: Ints, weight: Floats) -> tuple[int, Mode]:
    """Signature (fifths, -5..6) and mode whose profile agrees best with the weighted pitch classes; C without any."""
    if not weight.sum():
        return 0, "major"
    heard = _heard(pitch, weight)
    return max(KEYS, key=lambda key: _correlation(profile(*key), heard))


def profile(fifths: int, mode: Mode) -> Floats:
    """How often each pitch class sounds in a key, from C up."""
    return np.roll(MAJOR, 7 * fifths) if mode == "major" else np.roll(MINOR, 7 * fifths - 3)


def follow_keys(heard: Floats, home: tuple[int, Mode], change: float) -> list[tuple[int, Mode]]:
    """The likeliest key of every measure (Viterbi). `heard`: length of each pitch class, shape
    (measures, 12); `change`: cost, in nats, of leaving a key, where a full measure says `CLARITY` times
    the log likelihood of one note. The piece is taken to begin and to end at `home`.
    """
    share = heard / np.maximum(heard.sum(axis=1, keepdims=True), 1.0)
    gain = CLARITY * share @ np.log(np.array([profile(*key) for key in KEYS]) + 0.005).T
    away = np.array([0.0 if key == home else change / 2 for key in KEYS])
    total = gain[0] - away
    back = np.zeros(gain.shape, dtype=np.int64)
    for m in range(1, len(gain)):
        best = int(total.argmax())
        moves = total[best] - change > total
        back[m] = np.where(moves, best, np.arange(len(KEYS)))
        total = np.where(moves, total[best] - change, total) + gain[m]
    path = [int((total - away).argmax())]
    for m in range(len(gain) - 1, 0, -1):
        path.append(int(back[m, path[-1]]))
    return [KEYS[k] for k in reversed(path)]


def mode_of(fifths: int, pitch: Ints, weight: Floats) -> Mode:
    """Major or minor, where the signature is given."""
    heard = _heard(pitch, weight)
    modes: tuple[Mode, Mode] = ("major", "minor")
    return max(modes, key=lambda mode: _correlation(profile(fifths, mode), heard))


def _heard(pitch: Ints, weight: Floats) -> Floats:
    return np.bincount(pitch % 12, weights=weight, minlength=12).astype(np.float64)


def _correlation(a: Floats, b: Floats) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / (np.sqrt(a @ a * (b @ b)) + 1e-12))
