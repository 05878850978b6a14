"""One voice at a time: a sung melody, a bass line.

Basic Pitch says of every key how likely it sounds; the line is the likeliest way through the keys and
silence (Viterbi), where every change costs: vibrato and glides, which brush neighbouring keys for
moments, make no notes. A key that begins again within the line, as posteriors and the stem's level
tell, is a new note. After Mauch & Dixon, "pYIN",
ICASSP 2014, whose second step finds a melody's notes so.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from ...music import Audio, Floats, Heard, Ints, Note
from ...settings import NoteSettings
from ...stage import Report
from ..resample import resample
from .basic_pitch import FRAME_S, HOP, LOWEST, RATE_HZ, posteriors, velocity_of
from .note_odds import REPEAT, Begins, Posterior, begins

RANGES = {"vocals": (38, 88), "bass": (28, 67)}  # D2..E6, E1..G4
CHANGE = 5.0  # log odds that a step to another key, or to silence, must gain
SILENCE = 0.25  # posterior that as likely sounds as not
OVERTONES = ((12, 0.6), (19, 0.3), (24, 0.3))  # semitones above a key, and how much their sounding speaks for it
SHORTEST = 7  # frames (80 ms): what is shorter belongs to a glide
AGAIN, RISE_DB = 0.08, 2.0  # least probability, and rise of the level, where a key begins again
SUDDEN_DB = {"vocals": 10.0, "bass": 5.0}  # rise at which it does in any case; voices swell, strings do not
LEVEL = 1024  # samples over which the level is taken, 46 ms
SILENT_DB = 45.0  # below the loud passages


def hear_line(audio: Audio, stem: str, settings: NoteSettings, report: Report) -> Heard:
    """The one line of a stem, within the range of what plays it. Ids are left empty."""
    samples = resample(audio.mono, audio.rate_hz, RATE_HZ)
    frames, onsets = posteriors(samples, report)
    level_db = levels_db(samples)
    sounding = frames * (level_db > np.percentile(level_db, 95) - SILENT_DB)[:, None]
    low, high = (max(settings.lowest, RANGES[stem][0]), min(settings.highest, RANGES[stem][1]))
    line = likeliest_line(sounding, low - LOWEST, high - LOWEST)
    notes = [
        Note("", first * FRAME_S, last * FRAME_S, key + LOWEST,
             velocity_of(samples, first * FRAME_S, key + LOWEST), round(float(frames[first:last, key].mean()), 4))
        for first, last, key in segments(line, begins(frames, onsets), level_db, SUDDEN_DB[stem])
    ]
    return Heard(tuple(replace(n, confidence=min(n.confidence, 1.0)) for n in notes), transcriber="basic-pitch")


def likeliest_line(frames: Posterior, low: int, high: int) -> Ints:
    """The key (index into `frames`) that sounds in every frame, -1 for none; shape (frames,)."""
    padded = np.pad(frames, ((0, 0), (0, OVERTONES[-1][0])))
    keys = np.arange(low, high + 1)
    heard = padded[:, keys] + sum(w * padded[:, keys] ** 0.5 * padded[:, keys + up] for up, w in OVERTONES)
    gain = np.concatenate([np.zeros((len(frames), 1)), np.log((heard + 0.02) / SILENCE)], axis=1)
    back = np.zeros(gain.shape, dtype=np.int64)
    total = gain[0].copy() if len(gain) else np.zeros(0)
    for t in range(1, len(gain)):
        best = int(total.argmax())
        moves = total[best] - CHANGE > total
        back[t] = np.where(moves, best, np.arange(len(total)))
        total = np.where(moves, total[best] - CHANGE, total) + gain[t]
    path = [int(total.argmax())] if len(gain) else []
    for t in range(len(gain) - 1, 0, -1):
        path.append(int(back[t, path[-1]]))
    states = np.array(path[::-1], dtype=np.int64)
    return np.where(states > 0, states - 1 + low, -1)


def levels_db(samples: NDArray[np.float32]) -> Floats:
    """Level of the sound around every frame, shape (frames,)."""
    power = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
    centre = np.arange(len(samples) // HOP + 1) * HOP
    first, last = np.maximum(centre - LEVEL // 2, 0), np.minimum(centre + LEVEL // 2, len(samples))
    return np.asarray(10 * np.log10((power[last] - power[first]) / LEVEL + 1e-10))


def rises_db(level_db: Floats) -> Floats:
    """By how much the level is higher just after each frame than it was just before, shape (frames,)."""
    around = np.lib.stride_tricks.sliding_window_view(np.pad(level_db, (6, 4), "edge"), 11)
    return np.asarray(around[:, 7:].max(axis=1) - around[:, :7].min(axis=1))


def segments(line: Ints, rises: Begins, level_db: Floats, sudden_db: float) -> list[tuple[int, int, int]]:
    """Notes of the line as (first frame, end, key): a note begins with a key, or where it begins again.

    A moment between two notes that is too short for one, as a glide leaves, is given to the later note.
    """
    cuts: NDArray[np.bool_] = np.append(True, np.diff(line) != 0) if len(line) else np.zeros(0, bool)
    rise_db = rises_db(level_db)
    again = rises.frame[rises.probability >= AGAIN].astype(np.int64), rises.key[rises.probability >= AGAIN]
    sudden = np.flatnonzero((rise_db >= sudden_db) & (rise_db == maximum_filter1d(rise_db, 9)))
    for frame, key in [*zip(*again, strict=True), *((t, line[t]) for t in sudden)]:
        if line[frame] == key and rise_db[frame] >= RISE_DB and not cuts[max(frame - REPEAT, 0) : frame + REPEAT].any():
            cuts[frame] = True
    edges = [*np.flatnonzero(cuts).tolist(), len(line)]
    result: list[tuple[int, int, int]] = []
    waiting: int | None = None  # where a stretch began that is too short for a note
    for first, end in pairwise(edges):
        key = int(line[first])
        if key < 0:
            waiting = None
        elif end - first < SHORTEST:
            waiting = first if waiting is None else waiting
        else:
            result.append((first if waiting is None else waiting, end, key))
            waiting = None
    return result
