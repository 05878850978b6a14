import numpy as np
import pytest

from rescored.expressive import STEADY, Style, metrical_strength, perform

SCALE = {"onset_ql": np.arange(32) / 2, "duration_ql": np.full(32, 0.5), "pitch": 60 + np.arange(32) % 12}


def test_a_steady_player_keeps_exact_time():
    played = perform(**SCALE, bpm=120, style=STEADY, start_s=1.0)
    assert np.allclose(played.onset_s, 1.0 + np.arange(32) * 0.25)
    assert np.allclose(played.seconds_at([16.0]), 9.0)


def test_beats_per_minute_count_beats_not_quarters():
    played = perform(**SCALE, bpm=60, beat_ql=1.5, style=STEADY, start_s=0.0)
    assert np.allclose(played.seconds_at([1.5, 3.0]), [1.0, 2.0])


def test_the_same_seed_plays_the_same_and_another_does_not():
    a, b, c = (perform(**SCALE, bpm=90, seed=s) for s in (1, 1, 2))
    assert (a.onset_s == b.onset_s).all() and (a.velocity == b.velocity).all()
    assert not np.allclose(a.onset_s, c.onset_s)


def test_a_ritardando_slows_the_end_and_a_fermata_holds():
    plain = perform(**SCALE, bpm=100, style=STEADY)
    slowed = perform(**SCALE, bpm=100, style=Style(**{**STEADY.__dict__, "ritardando": 0.5}))
    held = perform(**SCALE, bpm=100, style=STEADY, fermatas_ql=[8.0])
    assert np.diff(slowed.onset_s)[-1] > 1.3 * np.diff(slowed.onset_s)[0]
    assert np.isclose(held.onset_s[-1] - plain.onset_s[-1], 0.6)


def test_downbeats_are_louder_and_the_melody_comes_first():
    onset, pitch = np.repeat(np.arange(400.0), 3), np.tile([48, 52, 72], 400)
    played = perform(onset, np.ones(1200), pitch, bpm=100, measures_ql=np.arange(0, 400, 4))
    down = played.velocity[onset % 4 == 0].mean() - played.velocity[onset % 4 == 1].mean()
    assert down > 1.0
    late = (played.onset_s[pitch == 48] - played.onset_s[pitch == 72]).mean()
    assert 0.002 < late < 0.02


@pytest.mark.parametrize("seed", range(5))
def test_notes_stay_possible(seed):
    played = perform(np.repeat(np.arange(50.0), 4), np.full(200, 1.0), np.tile([40, 52, 60, 64], 50), bpm=140,
                     style=Style(jitter_ms=25, rolled=0.5, pedal=True), seed=seed, measures_ql=np.arange(0, 50, 3))
    assert (played.onset_s >= 0).all() and (played.offset_s > played.onset_s).all()
    assert ((played.velocity > 0) & (played.velocity < 128)).all()
    assert (np.diff(played.knots_s) > 0).all() and len(played.pedal) == 17


def test_metrical_strength_of_a_bar_of_6_8():
    places = metrical_strength(np.arange(12) / 2, [0.0, 3.0], 1.5)
    assert places.tolist() == [1, 0, 0, 0.6, 0, 0] * 2


def test_nothing_to_perform():
    with pytest.raises(ValueError):
        perform([], [], [], bpm=100)
