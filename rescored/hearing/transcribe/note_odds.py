"""From posteriors to notes: every rise is weighed as the begin of a note, by a few plain facts.

Basic Pitch's own reading takes a note wherever its onset posterior passes a threshold. Here a
logistic regression weighs that posterior together with how long the key then sounds, how much it
sounded before, how suddenly it rose, and what else sounds; the probability is the note's confidence.
Rises of one key that follow each other at once are one note. The weights come from
tools/train_note_odds.py, which fits them on music that it performs and renders itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from ...music import Floats, Ints

FAINTEST = 0.15  # a rise below this is not weighed at all
SOUNDING = 0.3  # posterior of a key that sounds
PATIENCE = 11  # frames (0.13 s) for which it may be less within a note
AFTER, BEFORE = 8, (9, 3)  # frames after a rise, and from .. to frames before it, that means are taken over
HELD = 0.7  # of its level, the posterior of a tone that is still held
SHORTEST = 4  # frames over which a level is taken
COMPANY = 0.1  # onset posteriors above this are onsets of the same moment
BLOCK, AROUND = 8192, 16  # frames that are looked at together, and how many before and after they need
REPEAT = 12  # frames (0.14 s): no key is struck again sooner

FACTS = ("onset", "jump", "length", "before", "octave above", "share", "company")
WEIGHTS = np.array([2.541, 0.162, 0.587, -6.999, -0.808, 3.055, -0.211])
BIAS = -4.014

Posterior = NDArray[np.float32]  # shape (frames, 88), 0..1


@dataclass(frozen=True)
class Begins:
    """Notes that may begin, sorted by key, then time; arrays of shape (n,)."""

    frame: Floats
    key: Ints
    probability: Floats


def begins(frames: Posterior, onsets: Posterior) -> Begins:
    """Every rise of a key with the probability that it begins a note."""
    frame, key, facts = rises(frames, onsets)
    return Begins(frame.astype(np.float64), key, 1 / (1 + np.exp(-(facts @ WEIGHTS + BIAS))))


def rises(frames: Posterior, onsets: Posterior) -> tuple[Ints, Ints, Floats]:
    """Where the onset posterior, or the frame posterior's jump, peaks: frame, key and facts, shape (n, 7)."""
    found = []
    for first in range(0, max(len(frames), 1), BLOCK):  # with the frames around, as far as facts reach
        begin, end = max(first - AROUND, 0), first + BLOCK + AROUND
        frame, key, facts = _rises(frames[begin:end], onsets[begin:end])
        here = (frame + begin >= first) & (frame + begin < first + BLOCK)
        found.append((frame[here] + begin, key[here], facts[here]))
    frame, key, facts = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((frame, key))
    frame, key, facts = frame[order], key[order], facts[order]
    facts[:, FACTS.index("length")] = np.log1p(fades(frames, frame, key, SOUNDING) - frame)
    return frame, key, facts


def _rises(frames: Posterior, onsets: Posterior) -> tuple[Ints, Ints, Floats]:
    """The same in some frames, without the fact that may be told by far later ones only: the length."""
    jump = np.zeros_like(frames)
    jump[2:] = np.maximum(frames[2:] - frames[:-2], 0)
    strength = np.maximum(onsets, jump)
    peak = np.zeros(strength.shape, bool)
    peak[1:-1] = (strength[1:-1] > strength[:-2]) & (strength[1:-1] >= strength[2:])
    key, frame = np.nonzero((peak & (strength >= FAINTEST)).T)
    near = maximum_filter1d(onsets, 5, axis=0, mode="constant")
    company = np.maximum(near - COMPANY, 0).sum(axis=1)
    total = np.vstack([np.zeros(frames.shape[1]), np.cumsum(frames, axis=0, dtype=np.float64)])

    def mean(first: Ints, last: Ints) -> Floats:
        """Of every key over frames first .. last - 1, shape (n, 88)."""
        first, last = np.clip(first, 0, len(frames)), np.clip(last, 0, len(frames))
        return np.asarray((total[last] - total[first]) / np.maximum(last - first, 1)[:, None])

    rows = np.arange(len(key))
    after = mean(frame, frame + AFTER)
    facts = np.column_stack([
        _log_odds(near[frame, key]),
        _log_odds(jump[frame, key]),
        np.zeros(len(key)),
        mean(frame - BEFORE[0] + 1, frame - BEFORE[1] + 1)[rows, key],
        np.pad(after, ((0, 0), (0, 12)))[rows, key + 12],
        after[rows, key] / (after.max(axis=1, initial=0) + 1e-3),
        np.log(company[frame] + COMPANY),
    ])
    return frame, key, facts


def _log_odds(p: NDArray[np.float32]) -> NDArray[np.float32]:
    p = np.clip(p, 1e-3, 1 - 1e-3)
    return np.asarray(np.log(p / (1 - p)), dtype=np.float32)


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


def merged(found: Begins, chosen: NDArray[np.bool_]) -> Begins:
    """The chosen ones, those of a key within `REPEAT` frames as one: at their mean, as probable as the likeliest."""
    groups: list[list[int]] = []
    for i in np.flatnonzero(chosen):
        first = groups[-1][0] if groups else -1
        if groups and found.key[i] == found.key[first] and found.frame[i] - found.frame[first] < REPEAT:
            groups[-1].append(int(i))
        else:
            groups.append([int(i)])
    return Begins(
        np.array([np.average(found.frame[g], weights=found.probability[g]) for g in groups]),
        found.key[[g[0] for g in groups]],
        np.array([found.probability[g].max() for g in groups]),
    )
