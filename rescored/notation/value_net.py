"""Two judges of where every note may end, whose opinions count alike.

The local one knows of a possible end what `note_values` tells of it. The other one hears the notes around, too: what
it thinks of the ends by themselves passes, note by note, through temporal convolutions of growing dilation (Bai,
Kolter & Koltun 2018), over all notes in order of time and over each hand's; with that it judges every end again. It
is right more often where players are like those it has learned from, the local one where they are not. About 370,000
weights, learned by `tools/train_note_values.py`. Plain NumPy.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..models import weights_in
from ..music import Floats, Ints
from .layers import Floats32, normed, shifted
from .ticks import PER_QUARTER

WEIGHTS = Path(__file__).with_name("note_values.npz")
HIDDEN = 96
TOGETHER, APART = (1, 2, 4, 8), (1, 2, 4, 8, 1, 2, 4)  # dilations over all notes, and over those of each hand
AROUND = 16  # notes to either side whose mean pitch a note's is seen from, so that keys are alike
WIDTH = 18  # of what is known of a note
LOCAL = (128, 64)  # widths inside the local judge
LEAST = 1e-12  # a probability
ROWS = 32768  # possible ends that are judged at once


def describe(
    onset: Ints, pitch: Ints, staff: Ints, held: Floats, heard: Floats, gap: Ints, beat: Ints, start: Ints,
    levels: Ints, order: Ints,
) -> Floats32:
    """What the network is told of every note, (n, WIDTH); arguments as of `note_values.likely_ends`, `gap` to the next
    onset of its hand (0 where nothing follows), `order` as from `by_hand`."""
    def octaves(ticks: Floats | Ints) -> Floats:
        return np.asarray(np.clip(np.log2(np.maximum(ticks, 1) / PER_QUARTER), -5.0, 4.0))

    own = np.empty(len(pitch))
    own[order] = _above(pitch[order])
    places, k = np.unique(onset, return_inverse=True)
    between = np.diff(places, prepend=places[0] - 4 * PER_QUARTER, append=places[-1] + 4 * PER_QUARTER)
    chord = np.searchsorted(onset, places)
    size = np.bincount(k)[k]
    rank = np.arange(len(onset)) - chord[k]
    phase = (onset - start) % levels[:, 0]
    level = (phase[:, None] % levels != 0).sum(1)
    turn = 2 * np.pi * (phase % beat) / beat
    known = [
        _above(pitch) / 12.0, own / 12.0, octaves(held), octaves(heard),
        octaves(np.where(gap > 0, gap, 8 * PER_QUARTER)), gap == 0, octaves(held) - octaves(gap),
        octaves(heard) - octaves(gap), staff - 1.0, octaves(between[k]), octaves(between[k + 1]), np.log2(size),
        rank / 4.0, (size - 1 - rank) / 4.0, level / 3.0, np.sin(turn), np.cos(turn), octaves(beat)]
    return np.stack(known, axis=1).astype(np.float32)


def _above(pitch: Ints) -> Floats:
    """How far every note lies above those around it, in semitones."""
    n = len(pitch)
    total = np.concatenate([[0], np.cumsum(pitch)])
    i = np.arange(n)
    a, b = np.maximum(i - AROUND, 0), np.minimum(i + AROUND + 1, n)
    return np.asarray(((b - a) * pitch - (total[b] - total[a])) / (b - a))


def by_hand(onset: Ints, pitch: Ints, staff: Ints) -> Ints:
    """The order in which each hand's notes follow one another, (n,)."""
    return np.lexsort((pitch, onset, staff))


def odds_of_ends(what: Floats32, first: Ints, notes: Floats32, order: Ints) -> Floats32:
    """Log probability, up to a constant a note, of every possible end, (m,): the mean of two judges'.

    `what` (m, ...) and `first` (n + 1,) as in `note_values.PossibleEnds`; `notes` as from `describe`, `order` as from
    `by_hand`.
    """
    w = _weights()
    note = np.repeat(np.arange(len(notes)), np.diff(first))
    x = (what - w["mean"]) / w["scale"]
    alone, heard = np.empty(len(x), dtype=np.float32), np.empty((len(notes), HIDDEN), dtype=np.float32)
    for i, j in _blocks(first):
        a, b, begin = first[i], first[j], first[i:j] - first[i]
        seen = np.maximum(x[a:b] @ w["first.weight"] + w["first.bias"], 0.0)
        alone[a:b] = (seen @ w["alone.weight"] + w["alone.bias"])[:, 0]
        heard[i:j] = np.add.reduceat(seen * _shares(alone[a:b], begin)[:, None], begin, axis=0)
    z = notes @ w["note.weight"] + w["note.bias"] + heard @ w["told.weight"] + w["told.bias"]
    for k, dilation in enumerate((*TOGETHER, *APART)):
        if k == len(TOGETHER):
            z = z[order]
        z = z + shifted(np.maximum(normed(z, w, f"norm{k}"), 0.0), dilation) @ w[f"conv{k}.weight"] + w[f"conv{k}.bias"]
    around = np.empty_like(z)
    around[order] = normed(z, w, "norm")
    around = around @ w["around.weight"] + w["around.bias"]
    odds = np.empty(len(x), dtype=np.float32)
    for i, j in _blocks(first):
        a, b, begin = first[i], first[j], first[i:j] - first[i]
        h = np.maximum(x[a:b] @ w["again.weight"] + w["again.bias"] + around[note[a:b]], 0.0)
        h = np.maximum(h @ w["inner.weight"] + w["inner.bias"], 0.0)
        judged = (h @ w["out.weight"] + w["out.bias"])[:, 0] + alone[a:b]
        local = x[a:b]
        for k in range(len(LOCAL) + 1):
            local = (np.maximum(local, 0.0) if k else local) @ w[f"local{k}.weight"] + w[f"local{k}.bias"]
        odds[a:b] = (np.log(_shares(judged, begin)) + np.log(_shares(local[:, 0], begin))) / 2
    return odds


def _shares(odds: Floats32, begin: Ints) -> Floats32:
    """Probabilities of the ends of every note; `begin`: where those of each are."""
    count = np.diff(begin, append=len(odds))
    share = np.exp(odds - np.repeat(np.maximum.reduceat(odds, begin), count))
    return np.asarray(np.maximum(share / np.repeat(np.add.reduceat(share, begin), count), LEAST))


def _blocks(first: Ints) -> Iterator[tuple[int, int]]:
    """Stretches of notes that have `ROWS` possible ends together, or a few more."""
    bounds = np.unique(np.append(np.searchsorted(first, np.arange(0, first[-1], ROWS)), len(first) - 1))
    yield from pairwise(bounds.tolist())


@lru_cache(maxsize=1)
def _weights() -> dict[str, Floats32]:
    return weights_in(WEIGHTS)
