"""A small network that says on which of given beats measures begin.

`rhythm_net` hears beats and measures at once, in seconds. This one hears in beats: what is struck in each of them, what
changes with it, and how like it is to those before and after. Rubato is out of the way there, and whole phrases are
near. Temporal convolutions of growing dilation (Bai, Kolter & Koltun 2018), learned by `tools/train_measures.py` from
scores performed by simulated players and from songs; inference is plain NumPy.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from ..models import weights_in
from ..music import Floats, Ints
from .chords import likely_changes
from .layers import Floats32, convolved

WEIGHTS = Path(__file__).with_name("measure_net.npz")
HIDDEN = 96
DILATIONS = (1, 2, 4, 8, 16, 32, 1, 2, 4, 8, 16, 1, 2, 4)
SLOTS = 12  # of a beat, in which is counted what is struck
LAGS = (1, 2, 3, 4, 5, 6, 8, 9, 12, 16)  # beats after which music may be like itself
LOW, HIGH = 0.35, 0.65  # shares of a piece's notes that are no higher, or no lower, than its low or high ones
EARLY_S = 0.03  # notes this early still belong to a beat
NEAR_S = 0.06  # what is struck with a beat comes no farther from it,
NEAR_BEATS = 0.15  # nor than this
SHORTEST_BEATS, LONGEST_BEATS = 0.02, 8.0  # that a note counts for
OVER_BEATS = 1.1  # what goes on for longer than this after its beat is held over the next one
AROUND = 17  # beats that are usual
NOTHING = 128  # the lowest pitch where there is none
USUAL = 0.5  # all of the mean makes measures too short by ear, none of it too long; chosen on held-out pieces
WIDTH = 3 * SLOTS + 2 * 12 + 2 * len(LAGS) * 5 + 17


def likely_downbeats(what: Floats32) -> Floats32:
    """How much likelier each of m beats, as from `hear_beats`, begins a measure than others do, (m,).

    Log odds, less `USUAL` of their mean; 0 for beats in which nothing is struck.
    """
    struck = what[:, :SLOTS].any(axis=1)
    odds = log_odds(what)
    return np.where(struck, odds - USUAL * odds[struck].mean(), 0.0) if struck.any() else np.zeros_like(odds)


def log_odds(what: Floats32) -> Floats32:
    """Those of the network alone."""
    return convolved(what, _weights(), DILATIONS)[:, 0]


@lru_cache(maxsize=1)
def _weights() -> dict[str, Floats32]:
    return weights_in(WEIGHTS)


class _Struck(NamedTuple):
    """n notes in m beats."""

    beat: Ints  # in which each is, (n,)
    slot: Ints  # where in it
    length: Floats  # in beats
    pitch: Ints
    velocity: Ints
    with_beat: NDArray[np.bool_]


def hear_beats(onset: Floats, offset: Floats, pitch: Ints, velocity: Ints, beats_s: Floats) -> Floats32:
    """What is known of m beats, two or more, in order, (m, WIDTH), from notes, each (n,); times in seconds."""
    edges = np.append(beats_s, 2 * beats_s[-1] - beats_s[-2])
    within = (offset + EARLY_S > edges[0]) & (onset + EARLY_S < edges[-1])
    onset, offset, pitch, velocity = (x[within] for x in (onset, offset, pitch, velocity))
    if not len(onset):
        return np.zeros((len(beats_s), WIDTH), dtype=np.float32)
    change = likely_changes(
        np.maximum(onset + EARLY_S, edges[0]), np.minimum(offset + EARLY_S, edges[-1]), pitch, edges)
    m, period = len(beats_s), np.diff(edges)
    count = np.arange(m + 1, dtype=float)
    at, until = np.clip(np.interp(onset + EARLY_S, edges, count), 0.0, m - 1e-6), np.interp(offset, edges, count)
    beat = at.astype(np.int64)
    after_s = onset - edges[beat]
    notes = _Struck(
        beat, np.clip(np.round(after_s / period[beat] * SLOTS), 0, SLOTS - 1).astype(np.int64),
        np.clip(until - at, SHORTEST_BEATS, LONGEST_BEATS), pitch, velocity,
        np.abs(after_s) < np.minimum(NEAR_S, NEAR_BEATS * period[beat]))
    held_over = np.bincount(beat + 1, until > beat + OVER_BEATS, minlength=m + 1)[:m].astype(float)
    tones, bass, struck = _in_beats(notes, m)
    log_period = np.log2(period)
    columns = [
        *struck.transpose(0, 2, 1).reshape(-1, m), *_likeness((tones, bass, *struck)), change,
        *_with_beats(notes, held_over), log_period, -np.diff(log_period, prepend=log_period[:1]),
        np.diff(log_period, append=log_period[-1:]), change - change.mean(),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _in_beats(notes: _Struck, m: int) -> tuple[Floats, Floats, Floats]:
    """Of every beat how long tones last, (m, 12), which is lowest, (m, 12), and how much is struck in its slots by all,
    by low and by high notes, (3, m, SLOTS)."""
    tones, bass, struck = np.zeros((m, 12)), np.zeros((m, 12)), np.zeros((3, m, SLOTS))
    np.add.at(tones, (notes.beat, notes.pitch % 12), np.sqrt(notes.length))
    deepest = np.full(m, NOTHING)
    np.minimum.at(deepest, notes.beat, notes.pitch)
    bass[np.arange(m), deepest % 12] = deepest < NOTHING
    low, high = np.quantile(notes.pitch, (LOW, HIGH))
    everything = np.full(len(notes.pitch), True)
    for group, some in zip(struck, (everything, notes.pitch <= low, notes.pitch >= high), strict=True):
        np.add.at(group, (notes.beat[some], notes.slot[some]), 1.0)
    return tones, bass, np.log2(1.0 + struck)


def _with_beats(notes: _Struck, held_over: Floats) -> list[Floats]:
    """What is struck with each of m beats, and what is held over it: columns, each (m,)."""
    m = len(held_over)
    beat, pitch, velocity = (x[notes.with_beat] for x in (notes.beat, notes.pitch, notes.velocity))
    length = notes.length[notes.with_beat]
    lowest, highest, loudest = np.full(m, float(NOTHING)), np.zeros(m), np.zeros(m)
    np.minimum.at(lowest, beat, pitch)
    np.maximum.at(highest, beat, pitch)
    np.maximum.at(loudest, beat, velocity)
    longest, longest_low, longest_high = np.zeros((3, m))
    np.maximum.at(longest, beat, length)
    for of_some, some in ((longest_low, pitch <= lowest[beat]), (longest_high, pitch >= highest[beat])):
        np.maximum.at(of_some, beat[some], length[some])
    count = np.bincount(beat, minlength=m).astype(float)
    silent = count == 0

    def against_usual(x: Floats) -> Floats:
        x = np.where(silent, x[~silent].mean() if len(beat) else 0.0, x)
        return np.asarray(x - uniform_filter1d(x, AROUND, mode="nearest"))

    rings, rings_low, rings_high = (np.log2(x + 0.1) for x in (longest, longest_low, longest_high))
    told = (against_usual(x) for x in (lowest, highest, loudest, count, held_over))
    return [silent.astype(float), count, held_over, *told, rings,
            *(against_usual(x) for x in (rings, rings_low, rings_high))]


def _likeness(kinds: tuple[Floats, ...]) -> Floats:
    """How beats of m are like each other, (columns, m), from rows that describe each, (m, width).

    The first two kinds are tones: by how many semitones they move from the beat before. All: how like they are to the
    beats `LAGS` before and after.
    """
    m = len(kinds[0])
    unit = [x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6) for x in kinds]
    motion, alike = np.zeros((2, 12, m)), np.zeros((len(unit), len(LAGS), 2, m))
    for x, moved in zip(unit[:2], motion, strict=True):
        for by in range(12):
            moved[by, 1:] = np.sum(x[:-1] * np.roll(x[1:], -by, axis=1), axis=1)
    for x, of_x in zip(unit, alike, strict=True):
        for lag, (before, after) in zip(LAGS, of_x, strict=True):
            after[: max(m - lag, 0)] = before[lag:] = np.sum(x[lag:] * x[: max(m - lag, 0)], axis=1)
    return np.concatenate([motion.reshape(-1, m), alike.reshape(-1, m)])
