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
FIFTHS_OF_MAJOR = {"C": 0, "G": 1, "D": 2, "A": 3, "E": 4, "B": 5, "F#": 6, "C#": 7,
                   "F": -1, "Bb": -2, "Eb": -3, "Ab": -4, "Db": -5, "Gb": -6, "Cb": -7}


def find_key(pitch: Ints, weight: Floats) -> tuple[int, Mode]:
    """Signature (fifths, -5..6) and mode whose profile agrees best with the weighted pitch classes."""
    heard = _heard(pitch, weight)
    agreement = {
        (tonic, mode): _correlation(np.roll(profile, tonic), heard)
        for tonic in range(12) for mode, profile in PROFILES.items()
    }
    tonic, mode = max(agreement, key=lambda key: agreement[key])
    return signature_of(tonic, mode), mode


def mode_of(fifths: int, pitch: Ints, weight: Floats) -> Mode:
    """Major or minor, where the signature is given."""
    heard = _heard(pitch, weight)
    major_tonic = 7 * fifths % 12
    major = _correlation(np.roll(MAJOR, major_tonic), heard)
    return "major" if major >= _correlation(np.roll(MINOR, major_tonic - 3), heard) else "minor"


def signature_of(tonic: int, mode: Mode) -> int:
    """Sharps (+) or flats (-) of the key on a pitch class, -5..6."""
    fifths = 7 * (tonic + (3 if mode == "minor" else 0)) % 12
    return fifths if fifths <= 6 else fifths - 12


PROFILES: dict[Mode, Floats] = {"major": MAJOR, "minor": MINOR}


def _heard(pitch: Ints, weight: Floats) -> Floats:
    return np.bincount(pitch % 12, weights=weight, minlength=12).astype(np.float64)


def _correlation(a: Floats, b: Floats) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / (np.sqrt(a @ a * (b @ b)) + 1e-12))
