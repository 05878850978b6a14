"""From posteriors to notes: in every frame each key that may sound is weighed as the begin of a note.

Basic Pitch's own reading takes a note wherever its onset posterior passes a threshold. Here a small
network weighs the course of that posterior together with how the key and its neighbours, octaves and
twelfths sound before and after, how the level of its partials moves (a bow that turns on one tone
shows there, where the posteriors see nothing), and what else begins. Its probability is the note's
confidence. The weights in note_odds.npz come from tools/train_note_odds.py, which fits them on bowed,
blown, plucked and struck music that it performs and renders itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from ...music import Floats, Ints
from ...room import Samples, let_go
from ..frames import frames

RATE_HZ = 22050
HOP = 256  # samples a frame
FRAME_S = HOP / RATE_HZ  # 11.6 ms
KEYS, LOWEST = 88, 21  # of a piano, and the MIDI pitch of the first

SOUNDS, RISES = 0.2, 0.2  # posteriors (frame; onset) below which, for a while, no begin is looked for
PATIENCE = 11  # frames (0.13 s) for which a posterior may be less within a note
HELD = 0.7  # of its level, the posterior of a tone that is still held
SHORTEST = 4  # frames over which a level is taken
REPEAT = 6  # frames (70 ms): no key is struck again sooner
AROUND = 3  # frames before and after a peak, over which it is centred
FAINT = 0.05  # probability of what is not even a near miss

CLOSE = (*((-20, -14), (-14, -10), (-10, -6)), *((at, at + 1) for at in range(-6, 7)), *((7, 11), (11, 17), (17, 27)))
WIDE = ((-14, -6), (-6, -2), (-2, 3), (3, 7), (7, 15), (15, 27))  # spans of frames around a begin, end excluded
RELATED, RISING = (-24, -19, -12, 12, 19, 24), (-19, -12, 12)  # semitones to keys that are taken for one another
WINDOW, SHORT = 2048, 512  # samples: for the partials of a key, and for sudden noises
BANDS = (1, 14, 58, 257)  # bins of the short window: up to 600 Hz, 2.5 kHz, and above
PARTIALS, PARTIALS_HZ = 6, 9500.0
DB = 20.0  # that count as one
BLOCK, REACH = 4096, 50  # frames that are weighed at a time, and what is seen beside them

Posterior = NDArray[np.float32]  # shape (frames, 88), 0..1
Rows = NDArray[np.float32]
Levels = NDArray[np.float16]  # an hour's take 55 MB so


@dataclass(frozen=True)
class Posteriors:
    """What Basic Pitch says of every frame, 0..1: that a key sounds, that it begins, where the pitch lies."""

    frames: Posterior
    onsets: Posterior
    contours: NDArray[np.float32]  # shape (frames, 264), three to a semitone


@dataclass(frozen=True)
class Begins:
    """Notes that may begin, sorted by key, then time; arrays of shape (n,)."""

    frame: Floats
    key: Ints
    probability: Floats

    def taken(self, which: NDArray[np.bool_]) -> Begins:
        """Some of them."""
        return Begins(self.frame[which], self.key[which], self.probability[which])


def begins(heard: Posteriors, samples: Samples) -> Begins:
    """Every moment at which a key most likely begins, with how likely that is; samples at `RATE_HZ`."""
    level = levels(samples)
    found = []
    for first in range(0, len(heard.frames), BLOCK):  # the facts of a long recording at once would fill the memory
        part = slice(max(first - REACH, 0), first + BLOCK + REACH)
        near = Posteriors(heard.frames[part], heard.onsets[part], heard.contours[part])
        at = places(near)
        odds = np.zeros(near.frames.shape, dtype=np.float32)
        odds[at] = probabilities(facts(near, [x[part] for x in level], *at))
        some = peaks(odds)
        frame = some.frame + part.start
        here = (frame >= first - 0.5) & (frame < first + BLOCK - 0.5)
        found.append((frame[here], some.key[here], some.probability[here]))
        let_go(heard.contours)
    frame, key, probability = (np.concatenate(x) for x in zip(*found, strict=True))
    order = np.lexsort((frame, key))
    return Begins(frame[order], key[order], probability[order])


def peaks(odds: Posterior) -> Begins:
    """The likeliest frame of each key within `REPEAT`, placed at the centre of its peak."""
    padded = np.pad(odds, ((AROUND, AROUND), (0, 0)))
    smooth = padded[2:-4] / 4 + padded[3:-3] / 2 + padded[4:-2] / 4
    key, frame = np.nonzero(((smooth == maximum_filter1d(smooth, 2 * REPEAT - 1, axis=0)) & (smooth > FAINT)).T)
    near = np.arange(2 * AROUND + 1)
    course = padded[frame[:, None] + near, key[:, None]]
    middle = (course * near).sum(axis=1) / course.sum(axis=1) - AROUND
    return Begins(frame + middle.astype(np.float64), key, course[:, 2:5].max(axis=1).astype(np.float64))


def places(heard: Posteriors) -> tuple[Ints, Ints]:
    """Frames and keys at which a begin is looked for."""
    sounds = maximum_filter1d(heard.frames, 13, axis=0) >= SOUNDS
    rises = maximum_filter1d(heard.onsets, 7, axis=0) >= RISES
    frame, key = np.nonzero(sounds | rises)
    return frame, key


def facts(heard: Posteriors, level: Sequence[Levels], frame: Ints, key: Ints) -> Rows:
    """What is known of each place, shape (n, facts); `level` as from `levels`."""
    tone, bands = (x.astype(np.float32) for x in level)
    sounds, rises = (np.pad(p, ((0, 0), (24, 24)), mode="edge") for p in (heard.frames, heard.onsets))
    key_at = key + 24
    columns = [
        _course(rises, CLOSE, frame, key_at),
        _course(sounds, CLOSE, frame, key_at),
        _course(_beside(rises), CLOSE, frame, key_at),
        _course(_beside(sounds), CLOSE, frame, key_at),
        *_moves(_course(tone, CLOSE, frame, key)),
        *(x for band in range(bands.shape[1]) for x in _moves(_course(bands, CLOSE, frame, np.full_like(key, band)))),
        _course(np.maximum(heard.onsets - 0.1, 0).sum(axis=1, keepdims=True), CLOSE, frame, np.zeros_like(key)),
        *(_course(sounds, WIDE, frame, key_at + up) for up in RELATED),
        *(_course(rises, WIDE, frame, key_at + up) for up in RISING),
        _course(heard.frames.sum(axis=1, keepdims=True), WIDE, frame, np.zeros_like(key)),
        *(_course(heard.contours, WIDE, frame, np.minimum(3 * key + third, 263)) for third in range(3)),
        (key / KEYS)[:, None].astype(np.float32),
    ]
    return np.concatenate(columns, axis=1)


def _course(values: Rows, spans: tuple[tuple[int, int], ...], frame: Ints, column: Ints) -> Rows:
    """Means over spans of frames around each place, shape (n, spans); the ends go on for ever."""
    reach = max(-spans[0][0], spans[-1][1])  # less than REACH
    padded = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(padded, axis=0, dtype=np.float64)])
    flat, here = total.ravel(), (frame + reach) * values.shape[1] + column
    return np.stack([
        (flat[here + b * values.shape[1]] - flat[here + a * values.shape[1]]) / (b - a) for a, b in spans
    ], axis=1).astype(np.float32)


def _moves(course: Rows) -> tuple[Rows, Rows]:
    """A level's course about its mean, and the mean."""
    mean = course.mean(axis=1, keepdims=True)
    return 4 * (course - mean), mean


def _beside(values: Rows) -> Rows:
    """The greater of each column's neighbours."""
    return np.maximum(np.roll(values, 1, axis=1), np.roll(values, -1, axis=1))


def levels(samples: Samples) -> tuple[Levels, Levels]:
    """Level of every key's partials, shape (frames, 88), and of three bands; 0 is loud, -1 is `DB` less."""
    tone = [_decibels(power @ _partials()) for power in _powers(samples, WINDOW)]
    bands = [_decibels(np.stack([power[:, a:b].sum(axis=1) for a, b in pairwise(BANDS)], axis=1))
             for power in _powers(samples, SHORT)]
    return _below_the_loud(np.concatenate(tone)), _below_the_loud(np.concatenate(bands))


def _decibels(power: Rows) -> Levels:
    return np.asarray(10 * np.log10(power + 1e-9) / DB, dtype=np.float16)


def _below_the_loud(level: Levels) -> Levels:
    loud = np.percentile(level.max(axis=1).astype(np.float32), 95)
    return np.asarray(np.clip(level - np.float16(loud), -4, 1), dtype=np.float16)


def _powers(samples: Samples, window: int) -> Iterator[Rows]:
    """Spectrogram, some frames at a time, shape (some, window / 2 + 1)."""
    shape = np.hanning(window).astype(np.float32)
    for _, pieces in frames(samples, window, HOP):
        yield np.asarray(np.abs(np.fft.rfft(pieces * shape, axis=1)) ** 2 / window, dtype=np.float32)


@cache
def _partials() -> Rows:
    """How much each bin of the long window belongs to each key, shape (bins, 88)."""
    bin_hz = np.arange(WINDOW // 2 + 1)[:, None] * RATE_HZ / WINDOW
    share = np.zeros((WINDOW // 2 + 1, KEYS))
    for n in range(1, PARTIALS + 1):
        hz = n * 440.0 * 2 ** ((np.arange(KEYS) + LOWEST - 69) / 12)
        share += np.exp(-0.5 * ((bin_hz - hz) / np.maximum(0.025 * hz, 7.0)) ** 2) / n * (hz < PARTIALS_HZ)
    return np.asarray(share / share.sum(axis=0), dtype=np.float32)


def probabilities(rows: Rows) -> Rows:
    """The network: facts, shape (n, facts), to the probability that a note begins, shape (n,)."""
    *hidden, (last, bias) = _layers()
    for weights, offset in hidden:
        rows = np.maximum(rows @ weights + offset, 0)
    return np.asarray(1 / (1 + np.exp(-(rows @ last + bias)[:, 0])), dtype=np.float32)


@cache
def _layers() -> tuple[tuple[Rows, Rows], ...]:
    """Weights and biases, shapes (in, out) and (out,), from the first layer to the last."""
    with np.load(Path(__file__).with_name("note_odds.npz")) as file:
        return tuple((file[f"weights{i}"], file[f"biases{i}"]) for i in range(len(file.files) // 2))


def fades(frames: Posterior, frame: Ints, key: Ints, threshold: float) -> Ints:
    """For every (frame, key) the first frame after it from which the posterior stays low for `PATIENCE`."""
    end = np.empty_like(frame)
    for k in np.unique(key):
        low = np.concatenate([frames[:, k] < threshold, np.ones(PATIENCE, bool)])
        lows = np.concatenate([[0], np.cumsum(low)])
        silences = np.flatnonzero(lows[PATIENCE:] - lows[:-PATIENCE] == PATIENCE)
        here = key == k
        end[here] = np.append(silences, len(frames))[np.searchsorted(silences, frame[here] + 1)]
    return np.minimum(end, len(frames))


def held(frames: Posterior, frame: Ints, key: Ints, end: Ints) -> Ints:
    """For every note (first frame, key, end) the end of what is not just its resonance.

    A tone that is let go rings on in the string and in the room, and its posterior with it: it is
    held as long as the posterior comes near its level, the median of the note's first half.
    """
    let_go = end.copy()
    for i, (a, k, b) in enumerate(zip(frame, key, end, strict=True)):
        course = frames[a:b, k]
        if len(course) > SHORTEST:
            level = np.median(course[: max(SHORTEST, len(course) // 2)])
            let_go[i] = a + np.flatnonzero(course >= HELD * level)[-1] + 1
    return let_go
