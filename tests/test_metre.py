"""Beats, measures and metre: clear cases are right, the user is obeyed, any input gives a sound grid."""

from __future__ import annotations

import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st

from rescored.errors import SettingsError
from rescored.expressive import Style, perform
from rescored.music import PIANO, BeatGrid, Note, Part, Performance, Pulse
from rescored.notation.metre import find_metre
from rescored.settings import MetreSettings

HUMAN = Style(jitter_ms=12, spread_ms=6, drift=0.03, unsteadiness=0.01)


def performance(onsets, offsets, pitches, velocities, **more):
    notes = tuple(
        Note(f"n{k}", float(a), float(max(b, a + 0.01)), int(p), int(v))
        for k, (a, b, p, v) in enumerate(zip(onsets, offsets, pitches, velocities, strict=True))
    )
    return Performance(notes, (PIANO,), **more)


def piece(metre: str, measures: int = 16, bpm: float = 100.0, seed: int = 0, pickup: bool = False, **more):
    """A tune over an accompaniment that makes the metre plain, performed; also its beats and downbeats."""
    numerator, denominator = map(int, metre.split("/"))
    full = 4.0 * numerator / denominator
    beat = 1.5 if denominator == 8 else 4.0 / denominator
    roots, notes = [48, 53, 43, 48], []
    tune = [0, 4, 7, 5, 4, 2, 0, 2, 4, 5, 7, 9, 7, 5, 4, 2]
    if pickup:
        notes.append((-beat, beat, 67))
    for m in range(measures):
        at, root = m * full, roots[m % 4] if m < measures - 1 else 48
        notes += [(at, beat, root - 12), (at, full if m % 4 == 3 else beat, 72 + tune[m % 16])]
        for b in range(1, round(full / beat)):
            notes += [(at + b * beat, beat * 0.7, root + 4), (at + b * beat, beat * 0.7, root + 7)]
        if m % 4 != 3:
            steps = 3 if denominator == 8 else 2
            notes += [(at + k * beat / steps, beat / steps, 72 + tune[(m + k) % 16])
                      for k in range(1, round(full / beat) * steps)]
    onset, length, pitch = (np.array(x) for x in zip(*notes, strict=True))
    starts = np.arange(measures) * full
    played = perform(onset, length, pitch, bpm=bpm, beat_ql=beat, measures_ql=starts, style=HUMAN, seed=seed)
    beats = np.arange(-beat if pickup else 0.0, measures * full - 1e-6, beat)
    made = performance(played.onset_s, played.offset_s, pitch, played.velocity, **more)
    return made, played.seconds_at(beats), played.seconds_at(starts)


def f_measure(truth, found, window=0.07):
    hits = sum(np.abs(found - t).min() < window for t in truth)
    return 2 * hits / (len(truth) + len(found))


def check(grid: BeatGrid, onsets) -> None:
    """What every grid promises."""
    assert grid.times_s[0] <= min(onsets, default=np.inf) + 0.05
    assert grid.times_s[-1] >= max(onsets, default=-np.inf)
    assert len(grid.confidence) == len(grid.times_s)
    assert ((grid.confidence >= 0) & (grid.confidence <= 1)).all()
    assert grid.measure[0] in (0, 1)
    if grid.measure[0] == 0:
        assert grid.ql[0] < 0 and 0 < grid.pickup_ql < grid.time_signatures[0].measure_ql
    first = np.flatnonzero(grid.measure == 1)
    assert not len(first) or grid.ql[first[0]] == 0
    signatures = {s.measure: s for s in grid.time_signatures}
    now = grid.time_signatures[0]
    for number in np.unique(grid.measure):
        now = signatures.get(int(number), now)
        here = grid.measure == number
        whole = number > 0 and number < grid.measure[-1]
        assert set(np.diff(grid.ql)[here[:-1]]) <= {float(now.beat_ql)}
        if number > 0:
            assert grid.beat[here].tolist() == list(range(1, here.sum() + 1))
        if whole:
            assert here.sum() * now.beat_ql == now.measure_ql
        if now.measure == number:
            assert Fraction(float(grid.ql[here][0])) == now.ql


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("metre", "bpm"), [("2/4", 96), ("3/4", 120), ("4/4", 104), ("6/8", 72)])
def test_plain_pieces_are_barred_right(metre, bpm, seed):
    made, beats, downbeats = piece(metre, bpm=bpm, seed=seed)
    grid = find_metre(made, settings=MetreSettings())
    check(grid, made.onsets_s)
    same_beats = {"2/4": ("2/4", "4/4"), "4/4": ("4/4", "2/4")}.get(metre, (metre,))
    signature = grid.time_signatures[0]
    assert f"{signature.numerator}/{signature.denominator}" in same_beats
    assert f_measure(beats, grid.times_s) > 0.9
    if f"{signature.numerator}/{signature.denominator}" == metre:
        assert f_measure(downbeats, grid.times_s[grid.beat == 1]) > 0.9


def test_a_pickup_lies_before_the_first_measure():
    made, beats, downbeats = piece("3/4", bpm=110, pickup=True)
    grid = find_metre(made, settings=MetreSettings(time_signature="3/4"))
    check(grid, made.onsets_s)
    assert grid.measure[0] == 0 and grid.beat[0] == 3 and grid.pickup_ql == 1
    assert f_measure(beats, grid.times_s) > 0.9
    assert f_measure(downbeats, grid.times_s[grid.beat == 1]) > 0.9


@pytest.mark.parametrize("metre", ["2/4", "3/4", "4/4", "2/2", "3/8", "6/8", "9/8", "12/8", "5/4", "6/4", "7/4", "3/2"])
def test_the_user_sets_the_time_signature(metre):
    made, _, _ = piece("4/4", measures=8)
    grid = find_metre(made, settings=MetreSettings(time_signature=metre))
    check(grid, made.onsets_s)
    assert {s.denominator for s in grid.time_signatures} == {int(metre.split("/")[1])}
    assert f"{grid.time_signatures[-1].numerator}/{grid.time_signatures[-1].denominator}" == metre


@pytest.mark.parametrize(("metre", "bpm"), [("5/4", 120), ("5/4", 170), ("6/4", 110)])
def test_an_unusual_metre_is_barred_right_where_it_is_asked_for(metre, bpm):
    made, beats, downbeats = piece(metre, bpm=bpm)
    grid = find_metre(made, settings=MetreSettings(time_signature=metre))
    assert f_measure(beats, grid.times_s) > 0.9
    assert f_measure(downbeats, grid.times_s[grid.beat == 1]) > 0.9


def test_the_user_limits_the_tempo():
    made, _, _ = piece("4/4", bpm=100)
    for lo, hi in ((40, 70), (80, 130), (150, 260)):
        grid = find_metre(made, settings=MetreSettings(slowest_bpm=lo, fastest_bpm=hi))
        check(grid, made.onsets_s)
        assert lo * 0.99 <= 60 / np.median(np.diff(grid.times_s)) <= hi * 1.01


def test_the_user_doubles_or_halves_the_tempo():
    made, _, _ = piece("4/4", bpm=100)
    once = find_metre(made, settings=MetreSettings())
    twice = find_metre(made, settings=MetreSettings(tempo_factor="2"))
    half = find_metre(made, settings=MetreSettings(tempo_factor="1/2"))
    step = np.median(np.diff(once.times_s))
    assert np.median(np.diff(twice.times_s)) == pytest.approx(step / 2, rel=0.1)
    assert np.median(np.diff(half.times_s)) == pytest.approx(step * 2, rel=0.1)
    assert all(np.abs(twice.times_s - t).min() < 1e-9 for t in once.times_s[2:-2])
    assert all(np.abs(once.times_s - t).min() < 1e-9 for t in half.times_s[2:-2])
    for grid in (twice, half):
        check(grid, made.onsets_s)


@pytest.mark.parametrize("beat", [0, 1, 2, 3])
def test_the_user_says_where_beat_one_is(beat):
    made, beats, _ = piece("4/4")
    here = float(beats[8 + beat])
    grid = find_metre(made, settings=MetreSettings(beat_one_s=here, time_signature="4/4"))
    check(grid, made.onsets_s)
    assert np.abs(grid.times_s[grid.beat == 1] - here).min() < 0.07


def test_beat_one_may_lie_between_notes():
    made, beats, _ = piece("4/4")
    here = float(beats[8] * 0.6 + beats[9] * 0.4) + 0.03
    grid = find_metre(made, settings=MetreSettings(beat_one_s=here))
    check(grid, made.onsets_s)
    assert np.abs(grid.times_s[grid.beat == 1] - here).min() < 0.071


@pytest.mark.parametrize("step", [1, 2, 4])
def test_taps_along_a_few_measures_set_the_beats(step):
    made, beats, _ = piece("4/4", bpm=104)
    random = np.random.default_rng(0)
    taps = beats[8:24:step] + random.normal(0.0, 0.02, len(beats[8:24:step]))  # as exact as fingers are
    grid = find_metre(made, settings=MetreSettings(taps_s=" ".join(f"{t:.3f}" for t in taps)))
    check(grid, made.onsets_s)
    assert f_measure(beats[::step], grid.times_s) > 0.9
    assert all(np.abs(grid.times_s - t).min() < 0.07 for t in taps)


@pytest.mark.parametrize("text", ["one two", "1.0 -2", "nan", "1e999 2"])
def test_taps_that_are_no_times_are_refused(text):
    made, _, _ = piece("4/4")
    with pytest.raises(SettingsError, match="taps_s"):
        find_metre(made, settings=MetreSettings(taps_s=text))


@pytest.mark.parametrize("setting", [{"taps_s": "1 1e9"}, {"taps_s": "300"}, {"beat_one_s": 3600}])
def test_times_long_after_the_music_are_refused(setting):
    with pytest.raises(SettingsError, match="the music ends at"):
        find_metre(piece("4/4")[0], settings=MetreSettings(**setting))


def test_one_tap_is_a_beat():
    made, beats, _ = piece("4/4")
    here = (beats[9] + beats[10]) / 2
    grid = find_metre(made, settings=MetreSettings(taps_s=f"{here}"))
    check(grid, made.onsets_s)
    assert np.abs(grid.times_s - here).min() < 0.07


def test_the_sound_can_tip_the_scales():
    onsets = 0.5 + np.arange(64) * 0.5  # bare equal notes: nothing but the sound tells where measures begin
    rate = 100.0
    grids = []
    for phase in (0, 1, 2):
        curve = np.full(3400, 0.02)
        curve[np.round(onsets[phase::3] * rate).astype(int)] = 0.95
        pulse = Pulse(rate, np.maximum(curve, 0.3), curve, "beat-this")
        made = performance(onsets, onsets + 0.4, np.full(64, 60), np.full(64, 64), pulse=pulse)
        grid = find_metre(made, settings=MetreSettings(time_signature="3/4", sound_weight=4.0, slowest_bpm=80))
        check(grid, onsets)
        grids.append(f_measure(onsets[phase::3], grid.times_s[grid.beat == 1]))
    assert min(grids) > 0.8


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_notes_still_have_a_grid(count):
    onsets = np.arange(count) * 0.7 + 0.3
    made = performance(onsets, onsets + 0.5, 60 + np.arange(count), np.full(count, 70))
    check(find_metre(made, settings=MetreSettings()), onsets)


def test_no_note_gives_four_four_at_120():
    grid = find_metre(performance([], [], [], []), settings=MetreSettings())
    assert len(grid.times_s) == 2 and np.diff(grid.times_s)[0] == 0.5
    assert (grid.time_signatures[0].numerator, grid.time_signatures[0].denominator) == (4, 4)


def test_one_chord_long_silences_and_drums_alone():
    chord = performance(np.full(6, 1.0), np.full(6, 2.0), 48 + 4 * np.arange(6), np.full(6, 70))
    check(find_metre(chord, settings=MetreSettings()), [1.0])
    sparse = np.array([0.0, 0.4, 0.8, 60.0, 60.5, 61.0, 300.0])
    lonely = performance(sparse, sparse + 0.2, np.full(7, 60), np.full(7, 70))
    check(find_metre(lonely, settings=MetreSettings()), sparse)
    hits = np.arange(100) * 0.25
    drums = Part("drums", "Drums", percussion=True)
    notes = tuple(Note(f"d{k}", t, t + 0.1, 42 - 6 * (k % 4 == 0), 80, part="drums")
                  for k, t in enumerate(hits.tolist()))
    check(find_metre(Performance(notes, (drums,)), settings=MetreSettings()), hits)


@trying(max_examples=25, deadline=None)
@given(
    gaps=st.lists(st.floats(0.0, 3.0), min_size=1, max_size=60),
    metre=st.sampled_from(["auto", "3/4", "6/8", "3/8", "12/8", "5/4", "3/2"]),
    bpm=st.sampled_from([(20.0, 300.0), (60.0, 60.0), (200.0, 100.0)]),
    factor=st.sampled_from(["1", "2", "1/2"]),
    one=st.sampled_from([-1.0, 0.0, 2.0, 50.0]),
)
def test_any_notes_and_any_settings_give_a_sound_grid(gaps, metre, bpm, factor, one):
    onsets = np.cumsum(gaps)
    made = performance(onsets, onsets + 0.3, 40 + (np.arange(len(gaps)) * 7) % 50, np.full(len(gaps), 64))
    grid = find_metre(made, settings=MetreSettings(
        time_signature=metre, slowest_bpm=bpm[0], fastest_bpm=bpm[1], tempo_factor=factor, beat_one_s=one))
    check(grid, onsets)


def test_a_key_or_an_octave_does_not_move_the_beats():
    made, _, _ = piece("3/4", bpm=110)
    shifted = Performance(tuple(
        Note(n.id, n.onset_s + 10, n.offset_s + 10, n.pitch, n.velocity) for n in made.notes), made.parts)
    a, b = (find_metre(p, settings=MetreSettings()) for p in (made, shifted))
    assert np.allclose(a.times_s + 10, b.times_s) and (a.measure == b.measure).all()


@pytest.mark.slow
def test_cost_grows_linearly():
    seconds = []
    for count in (1000, 10000):
        onsets = np.cumsum(np.random.default_rng(0).choice([0.125, 0.25, 0.5], count))
        made = performance(onsets, onsets + 0.2, 40 + np.arange(count) * 7 % 45, np.full(count, 64))
        find_metre(made, settings=MetreSettings())
        began = time.process_time()
        check(find_metre(made, settings=MetreSettings()), onsets)
        seconds.append(time.process_time() - began)
    assert seconds[1] < 25 * seconds[0] + 1.0
