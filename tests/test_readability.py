"""Readability: bundles of settings from "as played" to "easy", and the figure that tells them apart."""

import json
from itertools import groupby

import numpy as np
import pytest
from scores import MELODY, compose, transcription, two_hands
from test_notation import assert_consistent, grid_of, notate, play
from test_ornaments import adorned

from rescored import READABILITY, Settings, SettingsError
from rescored.evaluate.reading import read_musicxml
from rescored.music import PIANO
from rescored.output.contract import to_json
from rescored.output.musicxml import to_musicxml
from rescored.output.readability import readability


def test_signs_are_counted_as_they_are_printed():
    score = compose({("melody", 1, 1): "q.:C#5 e:C#5 q:r (e:D5 e:E5 e:F5) | h:C5~ q:C5 q:r"},
                    parts=(MELODY,))
    figure = readability(score)
    assert [round(x * 6) for x in (figure.ties, figure.rests, figure.dots, figure.tuplets)] == [1, 2, 1, 3]
    assert round(figure.accidentals * 6) == 2  # C sharp once, and the natural that reminds
    assert figure.voices == 1 and figure.signs == pytest.approx(9 / 6)


def test_the_figure_agrees_with_what_a_reader_of_the_file_counts():
    score = two_hands()
    printed = read_musicxml(to_musicxml(score).encode()).written.printed
    figure, notes = readability(score), sum(not n.grace for n in score.notes)
    for kind in ("ties", "rests", "dots", "tuplets"):
        assert round(getattr(figure, kind) * notes) == printed.signs[kind]
    assert figure.voices == pytest.approx(printed.voices)


def test_the_figure_is_in_the_json_and_in_words():
    score = two_hands()
    assert json.loads(json.dumps(to_json(transcription(score))))["readability"] == readability(score).as_dict()
    assert "signs a note" in str(readability(score))


@pytest.mark.parametrize("name", READABILITY)
def test_bundles_are_valid_settings(name):
    assert Settings().changed(READABILITY[name]).as_dict() | READABILITY[name] == \
        Settings().changed(READABILITY[name]).as_dict()


def test_easier_is_less_cluttered_and_easy_fits_the_hand():
    grid = grid_of("4/4", beats=33, bpm=80)
    random = np.random.default_rng(3)
    notes = []
    for k in range(32):
        notes += [(k, 0.45, 72 + int(random.integers(0, 9))), (k + 0.75, 0.2, 74), (k, 1.3, 40 + k % 5)]
        notes += [(k, 0.9, p) for p in (52, 55, 60, 64)] if k % 4 == 0 else []
    performance = play(notes, grid, PIANO, held=1.0)
    scores = {name: notate(performance, grid, READABILITY[name]) for name in READABILITY}
    figures = {name: readability(score) for name, score in scores.items()}
    assert figures["as-played"].signs > figures["clean"].signs
    assert figures["as-played"].voices > figures["clean"].voices > figures["easy"].voices == 1
    easy = scores["easy"]
    assert {n.voice for n in easy.notes} == {1} and not easy.marks
    for _, group in groupby(sorted(easy.notes, key=lambda n: (n.staff, n.onset_ql)), lambda n: (n.staff, n.onset_ql)):
        pitches = [n.pitch for n in group]
        assert len(pitches) <= 3 and max(pitches) - min(pitches) <= 12
    top = {k: max(p for a, _, p in notes if a == k) for k in range(32)}
    assert all(any(n.onset_ql == k and n.pitch == p for n in easy.notes) for k, p in top.items())  # the melody stays


def test_as_played_writes_every_note_of_an_ornament():
    grid = grid_of("4/4", beats=9)
    performance = adorned(grid, [67, 69] * 4 + [67], 0.07)
    score = notate(performance, grid, READABILITY["as-played"])
    assert_consistent(score, performance)
    assert len(score.notes) == len(performance.notes)


def test_hands_can_be_parted_by_a_curve():
    grid = grid_of("4/4", beats=9, bpm=60)
    performance = play([(k, 1, p) for k in range(8) for p in (50, 60, 70)], grid, PIANO)
    score = notate(performance, grid, {"hands.split_curve": "0:55 4.4:55 4.6:65 99:65"})
    assert {n.onset_ql: n.staff for n in score.notes if n.pitch == 60} == {k: 1 if k < 4 else 2 for k in range(8)}


@pytest.mark.parametrize("text", ["60", "0:60 x", "0:200", "nan:60"])
def test_a_curve_that_cannot_be_is_refused(text):
    grid = grid_of("4/4", beats=9)
    with pytest.raises(SettingsError, match="split_curve"):
        notate(play([(0, 1, 60)], grid, PIANO), grid, {"hands.split_curve": text})
