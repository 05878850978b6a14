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
from ...room import Samples, blocks
from ...settings import NoteSettings
from ...stage import Report
from ..resample import mono_at
from .basic_pitch import posteriors, velocity_of
from .note_odds import FRAME_S, HOP, LOWEST, RATE_HZ, Begins, Posterior, begins

Overtones = tuple[tuple[int, float], ...]
RANGES = {"vocals": (38, 88), "bass": (28, 67)}  # D2..E6, E1..G4
ROUGH_TOP = 54  # F sharp 3, 185 Hz
CHANGE = 5.0  # log odds that a step to another key, or to silence, must gain
SILENCE = 0.25  # posterior that as likely sounds as not
OVERTONES: Overtones = ((12, 0.6), (19, 0.3), (24, 0.3))  # semitones above a key; how much they speak for it
SHORTEST = 7  # frames (80 ms): what is shorter belongs to a glide
AGAIN, RISE_DB = 0.5, 2.0  # least probability, and rise of the level, where a key begins again
REPEAT = 12  # frames (0.14 s): no key does sooner
SUDDEN_DB = {"vocals": 10.0, "bass": 5.0}  # rise at which it does in any case; voices swell, strings do not
LEVEL = 4  # frames over which the level is taken, 46 ms
SILENT_DB = 45.0  # below the loud passages
BLOCK = 4096  # frames whose gains are held at once


def hear_line(audio: Audio, stem: str, settings: NoteSettings, report: Report, *, rough: bool = False) -> Heard:
    """The one line of a stem, within the range of what plays it. Ids are left empty.

    In a `rough` stem attacks, which went to the drums, say nothing of where a key begins again, what sounds an
    octave above a voice's key may be the voice, above an accompaniment that is left, and keys above `ROUGH_TOP`
    are of others than the bass, whose stem ends there.
    """
    samples = mono_at(audio, RATE_HZ)
    posterior = posteriors(samples, report)
    frames = posterior.frames
    level_db = levels_db(samples)
    silent = level_db <= np.percentile(level_db, 95) - SILENT_DB
    low, high = (max(settings.lowest, RANGES[stem][0]), min(settings.highest, RANGES[stem][1]))
    overtones = () if rough and stem == "vocals" else OVERTONES
    line = likeliest_line(frames, silent, low - LOWEST, high - LOWEST, overtones)
    sudden_db = np.inf if rough else SUDDEN_DB[stem]
    top = ROUGH_TOP if rough and stem == "bass" else high
    notes = [
        Note("", first * FRAME_S, last * FRAME_S, key + LOWEST,
             velocity_of(samples, first * FRAME_S, key + LOWEST), round(float(frames[first:last, key].mean()), 4))
        for first, last, key in segments(line, begins(posterior, samples), level_db, sudden_db)
        if key + LOWEST <= top
    ]
    return Heard(tuple(replace(n, confidence=min(n.confidence, 1.0)) for n in notes), transcriber="basic-pitch")


def likeliest_line(
    frames: Posterior, silent: NDArray[np.bool_], low: int, high: int, overtones: Overtones = OVERTONES
) -> Ints:
    """The key (index into `frames`) that sounds in every frame, -1 for none; shape (frames,). None does where
    it is `silent`."""
    back = np.zeros((len(frames), high - low + 2), dtype=np.uint8)  # the best state before each; 0 = no key
    total = np.zeros(high - low + 2)
    states = np.arange(high - low + 2)
    for t in range(len(frames)):
        if t % BLOCK == 0:
            gain = _gain(frames[t : t + BLOCK] * ~silent[t : t + BLOCK, None], low, high, overtones)
        if t:
            best = int(total.argmax())
            moves = total[best] - CHANGE > total
            back[t] = np.where(moves, best, states)
            total = np.where(moves, total[best] - CHANGE, total)
        total = total + gain[t % BLOCK]
    path = [int(total.argmax())] if len(frames) else []
    for t in range(len(frames) - 1, 0, -1):
        path.append(int(back[t, path[-1]]))
    line = np.array(path[::-1], dtype=np.int64)
    return np.where(line > 0, line - 1 + low, -1)


def _gain(frames: Posterior, low: int, high: int, overtones: Overtones) -> Floats:
    """What every state (none, then the keys from low to high) gains in some frames."""
    padded = np.pad(frames, ((0, 0), (0, max((up for up, _ in overtones), default=0))))
    keys = np.arange(low, high + 1)
    heard = padded[:, keys] + sum(w * padded[:, keys] ** 0.5 * padded[:, keys + up] for up, w in overtones)
    return np.concatenate([np.zeros((len(frames), 1)), np.log((heard + 0.02) / SILENCE)], axis=1)


def levels_db(samples: Samples) -> Floats:
    """Level of the sound around every frame, shape (frames,)."""
    power = np.zeros(len(samples) // HOP + LEVEL + 1)  # of every hop, with nothing before and after
    for start, block in blocks(samples):
        squares = np.pad(block.astype(np.float64) ** 2, (0, -len(block) % HOP)).reshape(-1, HOP)
        power[LEVEL // 2 + start // HOP :][: len(squares)] = squares.sum(axis=1)
    around = np.lib.stride_tricks.sliding_window_view(power, LEVEL)[: len(samples) // HOP + 1]
    return np.asarray(10 * np.log10(around.sum(axis=1) / (LEVEL * HOP) + 1e-10))


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
