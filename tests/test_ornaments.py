"""What players add: every performed note is written once or belongs to a sign, and swung eighths are even."""

from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from rhythms import RHYTHMS, measures_right
from rhythms import play as play_as_a_person
from test_notation import as_written, assert_consistent, drawn, grid_of, notate, play

from rescored.music import PIANO, BeatGrid, Note, Performance, Span
from rescored.output.musicxml import to_musicxml
from rescored.pipeline import notate_on
from rescored.settings import Settings
from rescored.stage import Runner

TUNE = [60, 62, 64, 65, 67, 65, 64, 62]


def adorned(grid: BeatGrid, pitches: list[int], gap_s: float, beat: int = 4, first_s: float = 0.0) -> Performance:
    """Quarters, of which one is played as these quick notes instead; the last of them lasts until the next beat."""
    plain = play([(k, 1, p) for k, p in enumerate(TUNE)], grid)
    at, until = grid.seconds_at(np.array([beat, beat + 0.95]))
    times = at + first_s + gap_s * np.arange(len(pitches))
    ends = [*times[1:], until]
    quick = [Note(f"q{i}", a, b, p, 64, part="melody")
             for i, (a, b, p) in enumerate(zip(times, ends, pitches, strict=True))]
    return replace(plain, notes=(*(n for n in plain.notes if n.id != f"n{beat}"), *quick))


@pytest.mark.parametrize(("pitches", "gap_s", "kind", "element"), [
    ([67, 69] * 4 + [67], 0.07, "trill", "trill-mark"),
    ([69, 67] * 4, 0.075, "trill", "trill-mark"),
    ([67, 66, 67], 0.07, "mordent", "mordent"),
    ([67, 69, 67], 0.07, "inverted-mordent", "inverted-mordent"),
    ([69, 67, 65, 67], 0.08, "turn", "turn"),
])
def test_quick_notes_around_a_main_note_become_its_sign(pitches, gap_s, kind, element):
    grid = grid_of("4/4", beats=9)
    performance = adorned(grid, pitches, gap_s)
    score = notate(performance, grid)
    assert_consistent(score, performance)
    (ornament,) = score.ornaments
    assert ornament.kind == kind and len(ornament.members) == len(pitches) - 1
    assert as_written(score)[:-1] == [(k, 1, p) for k, p in enumerate(TUNE)][:-1]
    assert [s.onset_ql for s in score.symbols if s.ornament == kind] == [4]
    root = ElementTree.fromstring(to_musicxml(score).split("\n", 2)[2])
    assert len(list(root.iter(element))) == 1


def test_a_run_of_the_same_speed_is_no_ornament():
    grid = grid_of("4/4", beats=9, bpm=150)
    run = [(k / 4, 0.25, 60 + (k % 2)) if k < 8 else (k / 4, 0.25, 60 + (k * 5) % 13) for k in range(32)]
    score = notate(play(run, grid), grid)
    assert not score.ornaments and len(score.notes) == 32


@pytest.mark.parametrize(("ornaments", "written", "signs"), [("signs", 8, 1), ("out", 8, 0), ("notes", 16, 0)])
def test_ornaments_can_be_written_out_or_left_out(ornaments, written, signs):
    grid = grid_of("4/4", beats=9)
    score = notate(adorned(grid, [67, 69] * 4 + [67], 0.07), grid, {"quantise.ornaments": ornaments})
    assert (len(score.notes), len(score.ornaments)) == (written, signs)


def test_a_grace_note_belongs_to_the_note_after_it():
    grid = grid_of("4/4", beats=9)
    performance = adorned(grid, [69, 67], 0.07, first_s=-0.07)
    score = notate(performance, grid)
    assert_consistent(score, performance)
    assert [(n.pitch, n.onset_ql) for n in score.notes if n.grace] == [(69, 4)]
    assert drawn(score) == ["quarter"] * 4 + ["eighth"] + ["quarter"] * 4  # a grace note is drawn as an eighth


@pytest.mark.parametrize(("first", "gap_s", "overlap_s"), [
    (64, 0.05, 0.05), (72, 0.05, 0.05), (72, 0.07, 0.05), (64, 0.05, 0.02)])
def test_short_notes_that_are_not_struck_quite_at_once_are_a_chord(first, gap_s, overlap_s):
    grid = grid_of("4/4", beats=9)
    plain = play([(k, 1, p) for k, p in enumerate(TUNE)], grid)
    at = float(grid.seconds_at(np.array([4.0]))[0])
    pair = [Note("a", at - gap_s, at + overlap_s, first, 64, part="melody"),
            Note("b", at, at + 0.1, 67, 64, part="melody")]
    score = notate(replace(plain, notes=(*(n for n in plain.notes if n.id != "n4"), *pair)), grid)
    assert [(n.pitch, n.onset_ql, n.grace) for n in score.notes if n.id in ("a", "b")] == [
        (p, 4, False) for p in sorted((first, 67))]


def test_a_rolled_chord_is_one_chord_with_a_wavy_line():
    grid = grid_of("4/4", beats=9)
    plain = play([(k, 1, p) for k, p in enumerate(TUNE)], grid)
    at, until = grid.seconds_at(np.array([4.0, 4.95]))
    rolled = [Note(f"r{i}", at - 0.05 * (2 - i), until, p, 64, part="melody") for i, p in enumerate((60, 64, 67))]
    performance = replace(plain, notes=(*(n for n in plain.notes if n.id != "n4"), *rolled))
    score = notate(performance, grid)
    assert_consistent(score, performance)
    (symbol,) = [s for s in score.symbols if s.arpeggio]
    assert symbol.onset_ql == 4 and len(symbol.notes) == 3
    root = ElementTree.fromstring(to_musicxml(score).split("\n", 2)[2])
    assert len(list(root.iter("arpeggiate"))) == 3


@pytest.mark.parametrize(("held", "rolled"), [(True, 1), (False, 0)])
def test_a_slow_roll_is_a_chord_only_while_its_keys_are_held(held, rolled):
    grid = grid_of("4/4", beats=9, bpm=60)
    plain = play([(k, 1, p) for k, p in enumerate((72, 74, 76, 77))] + [(8, 1, 72)], grid, PIANO)
    at, until = grid.seconds_at(np.array([4.0, 7.9]))
    slow = [Note(f"r{i}", at + 0.2 * i, until if held else at + 0.2 * i + 0.18, p, 64)
            for i, p in enumerate((48, 52, 55, 60, 64))]
    score = notate(replace(plain, notes=(*plain.notes, *slow)), grid)
    assert len(score.ornaments) == rolled
    assert len({score.note[n.id].onset_ql for n in slow}) == (1 if held else 5)
    if held:
        assert {(score.note[n.id].onset_ql, score.note[n.id].duration_ql) for n in slow} == {(4, 4)}


@pytest.mark.parametrize("held", [0.9, 0.09])
def test_a_left_hand_that_comes_early_writes_no_short_notes(held):
    """Whether its keys are held or only the pedal holds what it strikes."""
    grid = grid_of("4/4", beats=17, bpm=60)
    right = [(k / 2, 0.5, 72 + (5 * k) % 8) for k in range(32)]
    left = [(k - 0.11, held, 43 + (7 * k) % 5) for k in range(1, 16)]
    pedal = tuple(Span(a - 0.1, b - 0.2) for a, b in pairwise(grid.times_s.tolist())) if held < 0.5 else ()
    score = notate(replace(play(right + left, grid, PIANO), pedal=pedal), grid)
    assert {n.onset_ql % 1 for n in score.notes if n.staff == 2} == {0}
    assert not score.ornaments and {s.type for s in score.symbols} <= {"eighth", "quarter", "half", "whole"}


def swung(ratio: float, measures: int = 8) -> tuple[Performance, BeatGrid, list[tuple[float, float, int]]]:
    """Eighths whose off-beats come late."""
    grid = grid_of("4/4", beats=4 * measures + 1, bpm=120)
    tune = [(k / 2, 0.5, 60 + (3 * k) % 11) for k in range(8 * measures)]
    late = [(a + (ratio - 0.5) * (a % 1 > 0), d, p) for a, d, p in tune]
    return play(late, grid), grid, tune


def test_swung_eighths_are_written_even_with_the_word():
    performance, grid, tune = swung(0.65)
    score = notate(performance, grid)
    assert as_written(score)[:-1] == tune[:-1]
    assert score.tempi[0].text == "Swing"
    assert "Swing" in to_musicxml(score)


@pytest.mark.parametrize("ratio", [0.5, 0.75], ids=["even", "dotted"])
def test_even_and_dotted_rhythms_do_not_swing(ratio):
    score = notate(*swung(ratio)[:2])
    assert score.tempi[0].text == ""
    assert {float(n.onset_ql % 1) for n in score.notes} == {0.0, ratio}


def test_swing_can_be_refused():
    score = notate(*swung(2 / 3)[:2], {"quantise.swing": "no"})
    assert score.tempi[0].text == "" and any(s.tuplet for s in score.symbols)


def test_three_against_two_across_beats_and_three_against_two_within_one():
    grid = grid_of("4/4", beats=17, bpm=66)
    left = [(k / 2, 0.5, 48 + k % 3) for k in range(32)]
    right = [(k / 3, 1 / 3, 72 + k % 5) for k in range(24)] + [(8 + 2 * k / 3, 2 / 3, 72 + k % 5) for k in range(12)]
    score = notate(play(left + right, grid, PIANO), grid)
    assert {float(n.onset_ql * 3 % 1) for n in score.notes if n.staff == 1} == {0.0}
    assert {float(n.onset_ql * 2 % 1) for n in score.notes if n.staff == 2} == {0.0}


def test_thirty_rhythms_come_back_where_the_beats_are_known():
    """Note for note in 90 % of the measures, onsets 15 to 25 ms off, the tempo wandering by 15 %."""
    right = []
    for rhythm in RHYTHMS.values():
        for seed in range(3):
            performance, grid = play_as_a_person(rhythm, seed)
            right.append(measures_right(notate_on(grid, performance, Settings(), Runner()), rhythm.score))
    assert np.mean(right) >= 0.9
