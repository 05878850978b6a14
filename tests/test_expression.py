"""Marks beside the notes: clefs, octave lines, dynamics, accents, fermatas, pedal, tempo; few, and where due."""

from dataclasses import replace
from fractions import Fraction as F
from xml.etree import ElementTree

import numpy as np
import pytest
from test_notation import MELODY, grid_of, notate, play

from rescored.music import NO_WISHES, PIANO, BeatGrid, Performance, Score, Span, Wishes
from rescored.output.musicxml import to_musicxml

MEASURES = 16


def two_hands(right: int = 72, left: int = 48, velocity=lambda k: 60 + 3 * (k % 2), beats: int = 4 * MEASURES,
              grid: BeatGrid | None = None, lifted=lambda k: (0, 0)) -> tuple[Performance, BeatGrid]:
    """Quarters in both hands; `velocity(beat)`, and `lifted(beat)`: semitones by which right and left move."""
    grid = grid or grid_of("4/4", beats=beats + 1)
    notes = []
    for k in range(beats):
        up = lifted(k)
        notes += [(k, 1, right + (0, 2, 4, 5)[k % 4] + up[0]), (k, 1, left + (0, 7, 4, 7)[k % 4] + up[1])]
    performance = play(notes, grid, PIANO)
    louder = {n.id: velocity(round(float(grid.ql_at(np.array([n.onset_s]))[0]))) for n in performance.notes}
    return replace(performance, notes=tuple(replace(n, velocity=louder[n.id]) for n in performance.notes)), grid


def marks(score: Score, kind: str) -> list[tuple[str, F, F | None]]:
    return [(m.text, m.ql, m.end_ql) for m in score.marks if m.kind == kind]


def test_a_hand_that_moves_up_for_long_gets_another_clef_and_back():
    score = notate(*two_hands(lifted=lambda k: (14, 19) if 16 <= k < 48 else (0, 0)))
    assert [(c.ql, c.sign) for c in score.clefs if c.staff == 2] == [(0, "F"), (16, "G"), (48, "F")]
    assert [(c.ql, c.sign) for c in score.clefs if c.staff == 1] == [(0, "G")]


def test_a_few_ledger_lines_change_no_clef():
    score = notate(*two_hands(lifted=lambda k: (0, 14) if k == 20 else (0, 0)))
    assert len(score.clefs) == 2 and not marks(score, "ottava")


def test_ledger_lines_that_pile_up_become_an_octave_line():
    score = notate(*two_hands(right=84, lifted=lambda k: (12, 0) if 16 <= k < 32 else (0, 0)))
    assert marks(score, "ottava") == [("8va", 16, 32)]
    root = ElementTree.fromstring(to_musicxml(score).split("\n", 2)[2])
    assert [e.get("type") for e in root.iter("octave-shift")] == ["down", "stop"]


def test_equal_velocities_tell_no_dynamics():
    score = notate(*two_hands(velocity=lambda k: 64))
    assert not marks(score, "dynamic") and not marks(score, "hairpin") and not any(s.accent for s in score.symbols)


def test_soft_and_loud_halves_get_two_dynamics():
    score = notate(*two_hands(velocity=lambda k: (40 if k < 32 else 82) + k % 3))
    assert [(text, at) for text, at, _ in marks(score, "dynamic")] == [("p", 0), ("f", 32)]


def test_a_passing_accent_is_no_dynamic():
    score = notate(*two_hands(velocity=lambda k: 105 if k == 21 else 62 + k % 3))
    assert len(marks(score, "dynamic")) == 1
    assert {s.onset_ql for s in score.symbols if s.accent} == {21}


def test_a_steady_rise_is_a_hairpin_to_the_louder_level():
    score = notate(*two_hands(velocity=lambda k: int(np.clip(42 + 3.2 * (k - 20), 42, 88)) + k % 2))
    (text, begin, end), = marks(score, "hairpin")
    assert text == "crescendo" and 16 <= begin < end <= 36
    assert end in [at for _, at, _ in marks(score, "dynamic")]
    root = ElementTree.fromstring(to_musicxml(score).split("\n", 2)[2])
    assert [e.get("type") for e in root.iter("wedge")] == ["crescendo", "stop"]


def pedalled(*spans: tuple[float, float]) -> tuple[Performance, BeatGrid]:
    """Quarters in both hands, with the pedal down in these stretches, in beats."""
    performance, grid = two_hands()
    down, up = grid.seconds_at(np.array(spans)).T.tolist()
    return replace(performance, pedal=tuple(Span(a, b) for a, b in zip(down, up, strict=True))), grid


def with_measures(first: int, last: int) -> list[tuple[float, float]]:
    """The pedal changed with every measure, shortly after the beat."""
    return [(4 * (m - 1) + 0.1, 4 * m + 0.05) for m in range(first, last + 1)]


def test_pedal_that_changes_with_the_measures_is_said_once():
    score = notate(*pedalled(*with_measures(1, MEASURES)))
    assert marks(score, "pedal") == [("con pedale", 0, None)]
    assert {m.staff for m in score.marks if m.kind == "pedal"} == {2}
    root = ElementTree.fromstring(to_musicxml(score).split("\n", 2)[2])
    assert not list(root.iter("pedal"))
    direction, = (d for d in root.iter("direction") if d.findtext("direction-type/words") == "con pedale")
    assert direction.get("placement") == "below" and direction.findtext("staff") == "2"


def test_pedal_that_is_left_out_for_long_is_said_too():
    score = notate(*pedalled(*with_measures(1, 8)))
    assert marks(score, "pedal") == [("con pedale", 0, None), ("senza pedale", 32, None)]


@pytest.mark.parametrize(("spans", "expected"), [
    ([(16, 24)], [("", 16, 24)]),
    ([(16, 17), (30.5, 32)], []),
    ([*with_measures(1, 7), (28.1, 39.9), *with_measures(11, MEASURES)], [("con pedale", 0, None), ("", 28, 40)]),
], ids=["holds what hands have left", "smooths a change", "is not changed for three measures"])
def test_a_pedal_that_no_one_would_guess_gets_signs(spans, expected):
    assert marks(notate(*pedalled(*spans)), "pedal") == expected


def test_every_pedal_on_request_with_room_for_the_release():
    performance, grid = pedalled(*((a, a + 3.95) for a in (0, 4, 8, 12)), (20.1, 20.3))
    assert [(begin, end) for _, begin, end in marks(notate(performance, grid, {"score.every_pedal": True}), "pedal")] \
        == [(0, 3.5), (4, 7.5), (8, 11.5), (12, 16)]


def test_a_melody_has_no_pedal():
    grid = grid_of("4/4", beats=9)
    played = play([(k, 1, 60 + k) for k in range(8)], grid, MELODY)
    assert not marks(notate(replace(played, pedal=(Span(1.0, 4.0),)), grid), "pedal")


def ending(last_ql: float, changes=None, right: int = 72, wishes: Wishes = NO_WISHES) -> Score:
    """Seven quarters over two halves a measure; the last notes, on the last beat but one of measure 2, are held."""
    grid = grid_of("4/4", beats=17)
    played = [(k, 1, right + (0, 2, 4, 5, 4, 2)[k]) for k in range(6)] + [(0, 2, 48), (2, 2, 43), (4, 2, 48)]
    performance = play([*played, (6, last_ql, right), (6, last_ql, 48)], grid, PIANO)
    return notate(performance, grid, changes, wishes)


@pytest.mark.parametrize(("last_ql", "expected"), [(1.9, 0), (4.2, 2), (9.3, 2)])
def test_a_last_chord_that_is_held_on_ends_with_its_measure_and_has_fermatas(last_ql, expected):
    score = ending(last_ql)
    assert [m.number for m in score.measures] == [1, 2]
    assert {n.duration_ql for n in score.notes if n.onset_ql == 6} == {2}
    held = [s for s in score.symbols if s.fermata]
    assert len(held) == expected and {s.onset_ql for s in held} <= {6}
    assert len({s.staff for s in held}) == expected
    root = ElementTree.fromstring(to_musicxml(score).split("\n", 2)[2])
    assert [e.get("type") for e in root.iter("fermata")] == expected * ["upright"]


def test_fermatas_of_all_staves_stand_over_what_begins_last():
    """A half in the left hand is still held when the last chord, a quarter in both hands, is struck."""
    grid = grid_of("4/4", beats=17)
    played = [(k, 0.95, 72 + (0, 2, 4, 5, 4, 2, 0)[k]) for k in range(7)] + [(0, 2, 48), (2, 2, 43), (4, 1, 48)]
    last = [(5, 6, 55), (7, 4, 71), (7, 4, 67), (7, 4, 43)]
    half = f"n{len(played)}"
    score = notate(play(played + last, grid, PIANO), grid, wishes=Wishes(duration_ql={half: F(3)}))
    held = [(s.staff, s.onset_ql) for s in score.symbols if s.fermata]
    assert held == [(1, 7), (2, 7)] and {s.onset_ql for s in score.symbols if s.voice == 2} >= {7}


def test_what_is_held_on_is_written_as_played_on_request():
    as_played = ending(9.3, {"voices.fermata": False})
    assert len(as_played.measures) == 4 and not any(s.fermata for s in as_played.symbols)
    wished = ending(9.3, wishes=Wishes(duration_ql={"n9": F(6), "n10": F(6)}))
    assert {n.duration_ql for n in wished.notes if n.onset_ql == 6} == {6} and len(wished.measures) == 3


@pytest.mark.parametrize(("held", "last_ql", "written", "fermata"), [
    (460 / 480, 8.0, 4, True), (1.0, 8.0, 8, False), (0.95, 7.6, 8, False)], ids=["a gap", "as written", "a share"])
def test_a_last_note_by_a_program_is_as_long_as_it_says_where_it_says_so(held, last_ql, written, fermata):
    """Programs end notes early by a share of their length, or all by the same: then 8 quarters are no 8.42."""
    notes = [*((k, held, 72 + k % 4) for k in range(16)), (16, last_ql, 72)]
    grid = grid_of("4/4", beats=26)
    score = notate(play(notes, grid, MELODY, held=1.0), grid)
    assert (score.notes[-1].duration_ql, any(s.fermata for s in score.symbols)) == (written, fermata)


def slowed(grid: BeatGrid, factor) -> BeatGrid:
    """The same beats, each `factor(beat)` times as long."""
    steps = np.diff(grid.times_s) * np.array([factor(k) for k in range(len(grid.ql) - 1)])
    return replace(grid, times_s=grid.times_s[0] + np.concatenate([[0.0], np.cumsum(steps)]))


@pytest.mark.parametrize(("factor", "expected"), [
    (lambda k: 1.0, [("", 0)]),
    (lambda k: 1.0 + 0.08 * np.sin(k / 3), [("", 0)]),
    (lambda k: 1.5 if k >= 56 else 1.0, [("", 0), ("rit.", 56)]),
    (lambda k: 1.5 if 28 <= k < 32 else 1.0, [("", 0), ("rit.", 28), ("a tempo", 32)]),
    (lambda k: 1.4 if k // 4 == 3 else 1.7 if k // 4 == 6 else 1.0, [("", 0), ("rit.", 24), ("a tempo", 28)]),
    (lambda k: 1.0 if k < 32 else 0.6, [("", 0), ("", 32)]),
], ids=["steady", "rubato", "ritardando at the end", "ritardando and back", "of two that are near",
        "a new tempo"])
def test_tempo_marks_say_what_the_beats_do(factor, expected):
    grid = slowed(grid_of("4/4", beats=4 * MEASURES + 1), factor)
    score = notate(*two_hands(grid=grid))
    assert [(t.text, t.ql) for t in score.tempi] == expected
    assert score.tempi[0].bpm == pytest.approx(90, rel=0.06)


def test_a_measure_whose_rhythm_went_astray_is_trusted_least():
    """A measure played out of time among regular ones; and one whose notes were hardly heard."""
    performance, grid = two_hands()
    random = np.random.default_rng(5)
    notes = tuple(
        replace(n, onset_s=max(n.onset_s + (random.uniform(-0.3, 0.3) if 9 <= k < 12 else 0.0), 0.0),
                offset_s=n.offset_s + 0.4, confidence=0.2 if 40 <= k < 44 else 1.0)
        for n in performance.notes for k in [round(float(grid.ql_at(np.array([n.onset_s]))[0]))])
    score = notate(replace(performance, notes=notes), grid)
    ranked = sorted(score.measures, key=lambda m: m.confidence)
    assert {m.number for m in ranked[:2]} == {3, 11}
    assert ranked[-1].confidence > 0.9 > ranked[1].confidence
