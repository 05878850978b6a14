"""The network that tells hands apart: music that a pianist reads at sight, whatever its key, octave or tempo."""

import numpy as np
import pytest

from rescored.notation.hand_net import left_odds

MELODY = [67, 69, 71, 72, 74, 72, 71, 69, 67, 65, 64, 65, 67, 64, 62, 60]
CHORDS = [(48, 55, 64), (43, 50, 59), (45, 52, 60), (41, 53, 57)]


def song(pace_s: float, semitones: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A melody over a broken chord: onsets, offsets, pitches, whether it is the left hand's."""
    rows = [(k * pace_s, pitch, False, pace_s) for k, pitch in enumerate(MELODY * 4)]
    for k in range(2 * len(rows)):
        low, middle, high = CHORDS[k // 8 % 4]
        rows.append((k * pace_s / 2, (low, high, middle, high)[k % 4] - 12 * ((low, high, middle, high)[k % 4] > 58),
                     True, pace_s / 2))
    rows.sort(key=lambda row: row[:2])
    onset, pitch, left, length = (np.array(column) for column in zip(*rows, strict=True))
    return onset, onset + 0.9 * length, pitch + semitones, left


@pytest.mark.parametrize("pace_s", [0.25, 0.5])
@pytest.mark.parametrize("semitones", [-5, 0, 6])
def test_a_melody_over_broken_chords(pace_s, semitones):
    onset, offset, pitch, left = song(pace_s, semitones)
    assert ((left_odds(onset, offset, pitch) > 0) == left).mean() > 0.97


def test_a_run_down_to_the_bass_stays_in_the_hand_that_plays_it():
    notes = np.arange(40)
    onset = 0.15 * notes
    pitch = np.where(notes < 20, 84 - 2 * notes, 46 + 2 * (notes - 20))
    chords = 0.6 * np.repeat(np.arange(10), 2)
    both = np.concatenate([onset, chords]), np.concatenate([pitch, np.tile([34, 41], 10)])
    order = np.lexsort((both[1], both[0]))
    left = (np.arange(60) >= 40)[order]
    onset, pitch = (column[order] for column in both)
    found = left_odds(onset, onset + np.where(left, 0.5, 0.14), pitch) > 0
    assert (found == left).mean() > 0.9


def test_octaves_too_fast_for_one_hand_take_both():
    steps = np.tile(np.concatenate([np.arange(8), np.arange(8, 0, -1)]), 3)
    line = 60 + np.array([0, 2, 4, 5, 7, 9, 11, 12, 14])[steps]
    onset = 0.09 * np.repeat(np.arange(len(line)), 2)
    pitch = np.stack([line - 12, line], axis=1).ravel()
    found = left_odds(onset, onset + 0.08, pitch) > 0
    assert (found == np.tile([True, False], len(line))).mean() > 0.95


@pytest.mark.parametrize("far", [3, 8])
def test_hands_that_are_near_each_other(far):
    k = np.arange(64)
    tune = [(0.3 * i, p, False, 0.28) for i, p in zip(k, 67 + np.array([0, 2, 4, 5, 4, 2, 0, -1])[k % 8], strict=True)]
    chords = [(0.3 * i, 67 - far - below, True, 0.25) for i in k[::2] for below in (0, 3, 8)]
    onset, pitch, left, length = (np.array(c) for c in zip(*sorted([*tune, *chords], key=lambda r: r[:2]), strict=True))
    assert ((left_odds(onset, onset + length, pitch) > 0) == left).mean() > 0.95


@pytest.mark.parametrize("count", [1, 2, 50, 200])
def test_any_number_of_notes_gets_finite_odds(count):
    random = np.random.default_rng(count)
    onset = np.sort(random.uniform(0.0, 5.0, count))
    odds = left_odds(onset, onset + 0.3, random.integers(0, 128, count))
    assert odds.shape == (count,) and np.isfinite(odds).all()


def test_what_is_far_away_does_not_matter():
    onset, offset, pitch, _ = song(0.25, 0)
    period = onset[-1] + 1.0
    many = 6
    onsets, offsets = (np.concatenate([x + k * period for k in range(many)]) for x in (onset, offset))
    copies = left_odds(onsets, offsets, np.tile(pitch, many)).reshape(many, len(onset))
    assert np.allclose(copies[2], copies[3], atol=1e-3)
