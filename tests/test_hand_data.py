"""What the network of the hands learns from: labels stay with their notes, hands are where real hands are."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from hand_data import crossed, drawn_together, of_rows, of_study, passed, playable, shaken, slow
from metre_data.corpus import Bar, Sheet


def two_parts(gap: int):
    """A tune over chords that are so many semitones below it at the least."""
    tune = [(k / 2, 0.5, 72 + k % 5, False) for k in range(64)]
    chords = [(float(k), 1.0, 72 - gap - below, True) for k in range(32) for below in (0, 4, 7)]
    return of_rows(tune + chords)


def test_of_a_studys_voices_the_lower_two_are_the_left_hands():
    sheet = Sheet("study", "study", np.zeros(4), np.ones(4), np.array([72, 60, 60, 48]), np.array([0, 1, 2, 3]),
                  [Bar(0.0, 4, 4)], 4.0)
    hands = of_study(sheet)
    assert list(zip(hands.pitch, hands.left, strict=True)) == [(48, True), (60, False), (72, False)]


@pytest.mark.parametrize("seed", range(6))
def test_hands_far_apart_are_drawn_together_and_do_not_cross(seed):
    near = drawn_together(two_parts(30), np.random.default_rng(seed))
    gap = near.pitch[~near.left].min() - near.pitch[near.left].max()
    assert -8 < gap < 20 and crossed(near) < 0.5
    assert len(near) > 140 and abs(near.left.mean() - 0.6) < 0.05  # unisons are one note, all others whose they were


def test_hands_that_are_near_stay_where_they_are():
    hands = two_parts(1)
    moved = [drawn_together(hands, np.random.default_rng(seed)).pitch.sum() != hands.pitch.sum() for seed in range(40)]
    assert np.mean(moved) < 0.4


def test_what_is_reached_by_a_hand_stays_and_nothing_else():
    chord = of_rows([(0.0, 1.0, p, True) for p in (36, 48, 60)] + [(0.0, 1.0, p, False) for p in (64, 67, 76)])
    kept = playable(chord, np.random.default_rng(0))
    assert kept.pitch.tolist() == [36, 48, 64, 67, 76]


def test_shakes_are_played_by_the_hand_that_has_the_note():
    hands = of_rows([(float(k), 1.0, 76, False) for k in range(200)] + [(float(k), 1.0, 40, True) for k in range(200)])
    made = shaken(hands, np.random.default_rng(1))
    assert len(made) > len(hands)
    assert made.left[made.pitch < 60].all() and not made.left[made.pitch > 60].any()


def test_fast_notes_are_no_octaves_of_one_hand():
    hands = of_rows([(k / 4, 0.25, 72, False) for k in range(8)] + [(float(k), 1.0, 48, True) for k in range(2)])
    assert slow(hands)[hands.left].all() and not slow(hands)[~hands.left][:-1].any()


@pytest.mark.parametrize("seed", range(4))
def test_a_passage_that_hands_share_is_the_left_hands_where_it_is_low(seed):
    rows = passed(0.0, 16.0, np.random.default_rng(seed))
    left = [p for _, _, p, is_left in rows if is_left]
    right = [p for _, _, p, is_left in rows if not is_left]
    assert left and right and max(left) <= min(right)
