"""What is heard of bowed strings, whose notes swell, glide and waver: a physical model plays (tools/bowed.py)."""

from dataclasses import replace

import numpy as np
import pytest
from bowed import RATE_HZ, Hand, Tone, waveguide

from rescored.hearing.transcribe import detect_notes
from rescored.music import Audio
from rescored.settings import Settings

PLAIN = Hand(attack_s=0.04, release_s=0.08, turn_s=0.025, dip=0.3, glide_s=0.02, cents=0.0, vibrato_hz=5.5,
             delay_s=0.1, untuned=3.0)
NEAR_S = 0.06
pytestmark = pytest.mark.slow


def bowed(pitches, every_s, hand=PLAIN, slurred=False, seed=1):
    """One line without rests; every note in a bow of its own, or all in one. The seed draws the instrument."""
    tones = [Tone(0.5 + i * every_s, 0.5 + (i + 1) * every_s, p, 0.8, slurred and i > 0)
             for i, p in enumerate(pitches)]
    length_s = tones[-1].offset_s + 0.8
    samples = waveguide([tones], np.random.default_rng(seed), length_s, hand)
    audio = Audio((0.5 * samples / np.abs(samples).max())[None].astype(np.float32), RATE_HZ)
    heard = detect_notes(audio, "mix", settings=Settings.preset("melody").notes)
    return [t.onset_s for t in tones], [(n.onset_s, n.pitch) for n in heard.notes]


def assert_heard(played, pitches, heard):
    """Just these notes, at these times."""
    assert [p for _, p in heard] == list(pitches)
    assert [t for t, _ in heard] == pytest.approx(played, abs=NEAR_S)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("cents", [15, 45])
def test_vibrato_makes_no_notes(cents, seed):
    played, heard = bowed([69], 2.5, replace(PLAIN, cents=cents), seed=seed)
    assert_heard(played, [69], heard)


@pytest.mark.parametrize("pitches", [(62, 64, 66, 67, 69, 71, 73, 74), (69, 72, 76, 72, 69, 64, 69)])
def test_slurred_notes_are_notes_of_their_own(pitches):
    played, heard = bowed(pitches, 0.25, slurred=True)
    assert_heard(played, pitches, heard)


@pytest.mark.parametrize("every_s", [0.2, 0.4])
def test_each_bow_on_one_pitch_is_a_note(every_s):
    pitches = [64] * 6
    played, heard = bowed(pitches, every_s)
    assert_heard(played, pitches, heard)


def test_a_slide_touches_no_notes_on_its_way():
    pitches = (62, 69, 64)
    _, heard = bowed(pitches, 0.8, replace(PLAIN, glide_s=0.12), slurred=True)
    assert [p for _, p in heard] == list(pitches)


def test_a_swell_on_one_bow_is_one_note():
    played, heard = bowed([67], 2.0, replace(PLAIN, attack_s=0.15))
    assert_heard(played, [67], heard)
