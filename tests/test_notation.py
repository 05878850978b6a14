"""Notation: what comes out is a complete, consistent score, and known music comes back note for note."""

from collections import defaultdict
from dataclasses import replace
from fractions import Fraction as F
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rescored.music import (
    NO_WISHES,
    PIANO,
    BeatGrid,
    Note,
    Part,
    Performance,
    Score,
    Span,
    TimeSignature,
    Wishes,
)
from rescored.notation.hands import split_hands
from rescored.notation.layout import VALUES
from rescored.notation.quantise import quantise
from rescored.notation.score import write_score
from rescored.notation.spelling import NATURAL, spell
from rescored.notation.ticks import to_ticks
from rescored.notation.voices import find_voices
from rescored.settings import Settings

MELODY = Part("melody", "Melody", program=40)


def grid_of(metre: str, *, beats: int, bpm: float = 90.0, pickup_beats: int = 0) -> BeatGrid:
    """Steady beats of one time signature."""
    signature = TimeSignature(1, F(0), *map(int, metre.split("/")))
    k = np.arange(-pickup_beats, beats)
    a_measure = int(signature.measure_ql / signature.beat_ql)
    return BeatGrid(
        times_s=1.0 + 60.0 / bpm * (k + pickup_beats), ql=k * float(signature.beat_ql),
        measure=k // a_measure + 1, beat=k % a_measure + 1, time_signatures=(signature,))


def play(
    written: list[tuple[float, float, int]], grid: BeatGrid, part: Part = MELODY, held: float = 0.95
) -> Performance:
    """(onset_ql, duration_ql, pitch) performed without deviation."""
    onset, length, pitch = (np.array(x, dtype=float) for x in zip(*written, strict=True))
    begin, end = grid.seconds_at(onset), grid.seconds_at(onset + held * length)
    notes = tuple(
        Note(f"n{i}", float(a), float(b), int(p), 64, part=part.id)
        for i, (a, b, p) in enumerate(zip(begin, end, pitch, strict=True)))
    return Performance(notes, (part,), duration_s=float(end.max()))


def notate(
    performance: Performance, grid: BeatGrid, changes: dict[str, object] | None = None, wishes: Wishes = NO_WISHES
) -> Score:
    chosen = Settings().changed(changes or {})
    placed = quantise(performance, grid, settings=chosen.quantise)
    staved = split_hands(placed, performance, wishes, settings=chosen.hands)
    voiced = find_voices(staved, grid, performance, wishes, settings=chosen.voices)
    spelled = spell(voiced, grid, performance.parts, wishes, settings=chosen.spelling)
    return write_score(spelled, grid, performance, "", settings=chosen.score)


def as_written(score: Score) -> list[tuple[float, float, int]]:
    return [(float(n.onset_ql), float(n.duration_ql), n.pitch) for n in score.notes if not n.grace]


def drawn(score: Score, staff: int = 1) -> list[str]:
    """Symbols of voice 1 in short: "quarter", "eighth.", "rest half", "(eighth" with a tie back ..."""
    result = []
    for s in score.symbols:
        if s.staff == staff and s.voice == 1:
            text = ("rest " if not s.notes else "(" if s.tie_from else "") + s.type + "." * s.dots
            result.append(text + (f" {s.tuplet.actual}:{s.tuplet.normal} {s.tuplet.edge}" if s.tuplet else ""))
    return result


def assert_consistent(score: Score, performance: Performance) -> None:
    """What music.py promises of a Score."""
    signs = [m for o in score.ornaments if o.kind != "arpeggio" for m in o.members]
    assert sorted([*(n.id for n in score.notes), *signs]) == sorted(n.id for n in performance.notes)
    assert {o.note for o in score.ornaments} <= score.note.keys()
    for a, b in pairwise(score.measures):
        assert a.ql + a.length_ql == b.ql and b.number == a.number + 1
    place = {m.number: m for m in score.measures}
    voices, lengths, ties = defaultdict(list), defaultdict(F), defaultdict(list)
    for s in score.symbols:
        voices[s.part, s.staff, s.voice, s.measure].append(s)
        for note in s.notes:
            lengths[note] += s.duration_ql
            ties[note].append((s.tie_from, s.tie_to))
            assert s.grace == score.note[note].grace
            assert (s.staff, s.voice) == (score.note[note].staff, score.note[note].voice)
    for key, symbols in voices.items():
        at = place[key[-1]].ql
        for s in symbols:
            assert s.onset_ql == at
            at += s.duration_ql
        assert at == place[key[-1]].ql + place[key[-1]].length_ql
        open_tuplet = False
        for s in symbols:
            if s.tuplet and not s.grace:
                assert open_tuplet == (s.tuplet.edge in ("inside", "stop"))
                open_tuplet = s.tuplet.edge in ("start", "inside")
            if not s.grace and not s.whole_measure:
                shown = s.duration_ql * (F(s.tuplet.actual, s.tuplet.normal) if s.tuplet else 1)
                assert VALUES[to_ticks(shown)] == (s.type, s.dots)
        assert not open_tuplet
    for part in performance.parts:
        for staff in range(1, part.staves + 1):
            assert all((part.id, staff, 1, m.number) in voices for m in score.measures)
    for n in score.notes:
        assert lengths[n.id] == n.duration_ql and (n.duration_ql > 0) != n.grace
        chain = ties[n.id]
        assert not chain[0][0] and not chain[-1][1] and all(a[1] and b[0] for a, b in pairwise(chain))
    in_voice = defaultdict(list)
    for n in score.notes:
        if not n.grace:
            in_voice[n.part, n.staff, n.voice].append((n.onset_ql, n.onset_ql + n.duration_ql))
    for spans in in_voice.values():
        assert all(a == b or a[1] <= b[0] for a, b in pairwise(sorted(spans)))


# ---------------------------------------------------------------- properties

performed_notes = st.lists(
    st.tuples(st.floats(0.0, 30.0), st.floats(0.03, 4.0), st.integers(30, 96)), min_size=1, max_size=40)
metres = st.sampled_from(["2/4", "3/4", "4/4", "2/2", "3/8", "6/8", "9/8", "12/8", "5/4", "6/4", "7/4", "3/2"])


@settings(max_examples=60, deadline=None)
@given(performed_notes, metres, st.integers(0, 2), st.sampled_from([PIANO, MELODY]), st.sampled_from([1, 2]))
def test_any_performance_becomes_a_consistent_score(notes, metre, pickup_beats, part, max_voices):
    grid = grid_of(metre, beats=40, pickup_beats=min(pickup_beats, 1))
    performance = Performance(
        tuple(Note(f"n{i}", a, a + d, p, 64, part=part.id) for i, (a, d, p) in enumerate(notes)), (part,))
    score = notate(performance, grid, {"voices.max_voices": max_voices})
    assert_consistent(score, performance)
    assert {n.voice for n in score.notes} <= set(range(1, max_voices + 1))
    assert {n.pitch: n.id for n in score.notes}.keys() == {n.pitch for n in performance.notes}
    for n in score.notes:
        assert 12 * (n.octave + 1) + NATURAL["CDEFGAB".index(n.step)] + n.alter == n.pitch


@settings(max_examples=25, deadline=None)
@given(performed_notes, st.sampled_from([-12, 12]))
def test_an_octave_up_or_down_changes_only_octaves(notes, by):
    grid = grid_of("4/4", beats=40)
    played = tuple(Note(f"n{i}", a, a + d, p, 64, part="melody") for i, (a, d, p) in enumerate(notes))
    here = Performance(played, (MELODY,))
    there = replace(here, notes=tuple(replace(n, pitch=n.pitch + by) for n in here.notes))
    a, b = notate(here, grid), notate(there, grid)
    assert a.symbols == b.symbols and a.measures == b.measures and a.keys == b.keys
    shifted = tuple(replace(n, pitch=n.pitch + by, octave=n.octave + by // 12) for n in a.notes)
    assert sorted(shifted, key=lambda n: n.id) == sorted(b.notes, key=lambda n: n.id)


rhythms = st.lists(st.sampled_from([F(1, 4), F(1, 2), F(3, 4), F(1), F(3, 2), F(2)]), min_size=8, max_size=40)


@settings(max_examples=40, deadline=None)
@given(rhythms, st.data(), st.sampled_from(["2/4", "3/4", "4/4"]))
def test_a_melody_played_without_deviation_comes_back(lengths, data, metre):
    onsets = np.cumsum([0, *(float(x) for x in lengths)])
    pitches = data.draw(st.lists(st.integers(60, 80), min_size=len(lengths), max_size=len(lengths)))
    melody = [(float(a), float(d), p) for a, d, p in zip(onsets, lengths, pitches, strict=False)]
    grid = grid_of(metre, beats=int(onsets[-1]) + 2)
    score = notate(play(melody, grid), grid)
    assert [(a, p) for a, _, p in as_written(score)] == [(a, p) for a, _, p in melody]
    assert as_written(score)[:-1] == melody[:-1]  # nothing follows the last note that tells its length


@st.composite
def voices(draw, low, high, most, values, length):
    """A voice without rests: chords of up to `most` notes within an octave."""
    at, notes = F(0), []
    while at < length:
        value = draw(st.sampled_from([v for v in values if at + v <= length] or [length - at]))
        bottom = draw(st.integers(low, high - 12 * (most > 1)))
        above = draw(st.sets(st.integers(3, 12), max_size=most - 1))
        notes += [(float(at), float(value), bottom + k) for k in (0, *above)]
        at += value
    return notes


@st.composite
def for_two_hands(draw):
    """Voices of the right hand, one in chords or two, and the left hand's."""
    length = draw(st.sampled_from([8, 12]))
    short, long = [F(1, 4), F(1, 2), F(3, 4), F(1), F(3, 2), F(2)], [F(1, 2), F(1), F(3, 2), F(2), F(3)]
    if draw(st.booleans()):
        right = [draw(voices(66, 88, 3, short, length))]
    else:
        right = [draw(voices(74, 80, 1, short, length)), draw(voices(66, 72, 1, [F(1), F(2), F(4)], length))]
    return right, draw(voices(34, 54, 3, long, length))


@settings(max_examples=50, deadline=None)
@given(for_two_hands(), st.sampled_from(["2/4", "3/4", "4/4", "6/8"]), st.sampled_from([0.95, 1.0]))
def test_two_hands_played_without_deviation_come_back(hands, metre, held):
    right, left = hands
    grid = grid_of(metre, beats=14)
    written = [note for voice in right for note in voice] + left
    performance = play(written, grid, PIANO, held)
    score = notate(performance, grid)
    assert_consistent(score, performance)
    upper = sum(map(len, right))
    ends = [max(a for a, _, _ in voice) for voice in (*right, left)]
    for k, (onset, length, pitch) in enumerate(written):
        note = score.note[f"n{k}"]
        assert (note.onset_ql, note.pitch, note.staff, note.grace) == (onset, pitch, 1 + (k >= upper), False)
        assert note.duration_ql == length or onset >= min(ends)  # at its end a voice may be held longer


# ---------------------------------------------------------------- known examples

SCALE = [60, 62, 64, 65, 67, 69, 71, 72]


def test_a_c_major_scale():
    grid = grid_of("4/4", beats=8)
    score = notate(play([(k, 1, p) for k, p in enumerate(SCALE)], grid), grid)
    assert drawn(score) == ["quarter"] * 8
    assert "".join(n.step for n in score.notes) == "CDEFGABC"
    assert (score.keys[0].fifths, score.keys[0].mode) == (0, "major")
    assert [m.number for m in score.measures] == [1, 2]


def test_notes_held_for_long_do_not_make_the_key():
    """A tune in A major over fifths on E that sound through."""
    grid = grid_of("4/4", beats=68, bpm=120)
    tune = [(k / 2, 0.5, (69, 71, 73, 74, 76, 74, 73, 71)[k % 8]) for k in range(128)]
    drone = [(4 * m, 4, p) for m in range(16) for p in (40, 47)]
    assert [k.fifths for k in notate(play(tune + drone, grid, PIANO), grid).keys] == [3]


def test_three_four_with_a_pickup():
    grid = grid_of("3/4", beats=9, pickup_beats=1)
    score = notate(play([(k - 1, 1, 60 + k) for k in range(10)], grid), grid)
    first, second = score.measures[:2]
    assert (first.number, first.length_ql, second.number, second.ql) == (0, 1, 1, 0)
    assert drawn(score) == ["quarter"] * 10


def test_a_pickup_in_which_nothing_sounds_is_left_out():
    grid = grid_of("4/4", beats=9, pickup_beats=1)
    score = notate(play([(k, 1, 60 + k) for k in range(8)], grid), grid)
    assert [m.number for m in score.measures] == [1, 2] and drawn(score) == ["quarter"] * 8


def test_triplets_against_eighths():
    grid = grid_of("2/4", beats=8, bpm=60)
    right = [(k / 3, 1 / 3, 72 + k % 5) for k in range(24)]
    left = [(k / 2, 1 / 2, 48 + k % 3) for k in range(16)]
    score = notate(play(right + left, grid, PIANO), grid)
    assert drawn(score, 1) == ["eighth 3:2 start", "eighth 3:2 inside", "eighth 3:2 stop"] * 8
    assert drawn(score, 2) == ["eighth"] * 16


def test_a_dotted_rhythm():
    grid = grid_of("2/4", beats=8)
    long_short = [note for k in range(8) for note in ((k, 0.75, 67), (k + 0.75, 0.25, 69))]
    assert drawn(notate(play(long_short, grid), grid)) == ["eighth.", "16th"] * 8


def test_a_tie_across_the_bar_line_and_one_across_the_middle():
    grid = grid_of("4/4", beats=8)
    melody = [(0, 1.5, 60), (1.5, 1, 62), (2.5, 0.5, 64), (3, 2, 65), (5, 3, 64)]
    score = notate(play(melody, grid, held=1.0), grid)
    assert drawn(score) == ["quarter.", "eighth", "(eighth", "eighth", "quarter", "(quarter", "half."]


def test_a_strong_ritardando_makes_sixteenths_longer_not_other():
    at = 1.0 + np.concatenate([[0.0], np.cumsum(0.15 * np.exp(0.23 * np.maximum(np.arange(64) - 56, 0)))])
    grid = replace(grid_of("4/4", beats=17), times_s=at[::4])
    played_s = (at + np.random.default_rng(1).normal(0.0, 0.01, len(at))).tolist()
    notes = tuple(Note(f"n{k}", a, b, 60 + (5 * k) % 13, 64, part="melody")
                  for k, (a, b) in enumerate(pairwise(played_s)))
    score = notate(Performance(notes, (MELODY,)), grid)
    assert [(n.onset_ql, n.grace) for n in score.notes] == [(F(k, 4), False) for k in range(64)]


def test_syncopation_is_not_cut():
    grid = grid_of("4/4", beats=8)
    melody = [(0, 0.5, 60), (0.5, 1, 62), (1.5, 0.5, 64), (2, 2, 65), (4, 1, 60), (5, 2, 62), (7, 1, 64)]
    score = notate(play(melody, grid), grid)
    assert drawn(score) == ["eighth", "quarter", "eighth", "half", "quarter", "half", "quarter"]


def test_six_eight():
    grid = grid_of("6/8", beats=8, bpm=60)
    melody = [note for k in range(4) for note in ((3 * k, 1, 67), (3 * k + 1, 0.5, 69), (3 * k + 1.5, 1.5, 71))]
    assert drawn(notate(play(melody, grid), grid)) == ["quarter", "eighth", "quarter."] * 4


def test_rests_show_the_metre():
    grid = grid_of("4/4", beats=8)
    score = notate(play([(0, 1, 60), (4, 1, 62), (7, 1, 64)], grid), grid, {"voices.fill_gaps_ql": 0})
    first, second = ["quarter", "rest quarter", "rest half"], ["quarter", "rest quarter", "rest quarter", "quarter"]
    assert drawn(score) == first + second


def test_hands_are_told_apart_where_they_move_together():
    grid = grid_of("4/4", beats=16)
    right = [(k, 1, 60 + p - 48) for k, p in enumerate([72, 71, 69, 67, 65, 64, 62, 60] * 2)]
    left = [(k, 1, p) for k, p in enumerate([48, 47, 45, 43, 41, 40, 38, 36] * 2)]
    score = notate(play(right + left, grid, PIANO), grid)
    assert [n.staff for n in sorted(score.notes, key=lambda n: int(n.id[1:]))] == [1] * 16 + [2] * 16


def test_a_melody_over_a_held_chord_needs_two_voices():
    grid = grid_of("4/4", beats=8)
    melody = [(k, 1, p) for k, p in enumerate([76, 77, 79, 77])] + [(0, 4, 72)]
    score = notate(play(melody, grid, MELODY), grid)
    held = next(n for n in score.notes if n.pitch == 72)
    assert held.duration_ql == 4 and held.voice == 2
    assert all(n.voice == 1 for n in score.notes if n.pitch != 72)


def test_an_ornament_becomes_a_grace_note():
    grid = grid_of("4/4", beats=8)
    plain = play([(k, 1, p) for k, p in enumerate([60, 62, 64, 65, 67, 65, 64, 62])], grid)
    at = grid.seconds_at(np.array([4.0]))[0]
    adorned = replace(plain, notes=(*plain.notes, Note("g", at - 0.05, at + 0.01, 69, 60, part="melody")))
    score = notate(adorned, grid)
    symbol = next(s for s in score.symbols if s.grace)
    assert symbol.notes == ("g",) and symbol.onset_ql == 4 and symbol.duration_ql == 0
    assert drawn(score) == ["quarter"] * 4 + ["eighth"] + ["quarter"] * 4


def test_a_note_far_from_all_others_is_no_grace_note():
    grid = grid_of("4/4", beats=8)
    plain = play([(k, 1, p) for k, p in enumerate([72, 74, 76, 77, 79, 77, 76, 74])], grid, PIANO)
    at = grid.seconds_at(np.array([4.0]))[0]
    bass = replace(plain, notes=(*plain.notes, Note("bass", at - 0.045, at - 0.005, 43, 60)))
    note = notate(bass, grid).note["bass"]
    assert (note.onset_ql, note.grace, note.staff) == (4, False, 2)


@pytest.mark.parametrize("pedalled", [False, True])
def test_a_long_silence_is_a_rest_unless_the_pedal_sounds(pedalled):
    grid = grid_of("4/4", beats=16, bpm=80)
    written = [(2 * k + at, 0.85, p) for k in range(8) for at, p in ((0, 60 + k % 3), (0, 64 + k % 3))]
    performance = play(written, grid, PIANO, held=1.0)
    if pedalled:
        times = grid.seconds_at(np.arange(0, 17, 2, dtype=float))
        performance = replace(performance, pedal=tuple(Span(a + 0.1, b) for a, b in pairwise(times.tolist())))
    a_half = ["half"] if pedalled else ["quarter", "rest quarter"]
    assert drawn(notate(performance, grid))[:7 * len(a_half)] == 7 * a_half


def test_fast_notes_carry_no_dots():
    grid = grid_of("4/4", beats=8)
    run = [(k / 4, 0.25, 60 + k % 7) for k in range(28)]
    score = notate(play(run, grid, held=0.4), grid)
    assert drawn(score)[:28] == ["16th"] * 28
    assert not any(s.staccato for s in score.symbols)


def test_a_clef_changes_within_a_measure_where_nothing_is_held():
    grid = grid_of("4/4", beats=16)
    low = [(k, 1, 36 + k % 5) for k in (*range(5), *range(12, 16))]
    high = [(5 + k / 2, 0.5, p) for k, p in enumerate([76, 79, 83, 81, 79, 83, 86, 84, 83, 79, 76, 79, 83, 81])]
    melody = [(k, 1, 91) for k in range(16)]
    performance = play(low + high + melody, grid, PIANO)
    wishes = Wishes(staff={f"n{k}": 2 for k in range(len(low + high))})
    placed = quantise(performance, grid, settings=Settings().quantise)
    staved = split_hands(placed, performance, wishes, settings=Settings().hands)
    voiced = find_voices(staved, grid, performance, settings=Settings().voices)
    spelled = spell(voiced, grid, performance.parts, settings=Settings().spelling)
    score = write_score(spelled, grid, performance, "", settings=Settings().score)
    assert [(c.ql, c.sign) for c in score.clefs if c.staff == 2] == [(0, "F"), (5, "G"), (12, "F")]


def test_a_key_struck_twice_on_one_slot_is_kept_as_a_grace_note():
    grid = grid_of("4/4", beats=8)
    notes = [Note("a", 1.0, 1.02, 60, 64, part="melody"), Note("b", 1.025, 1.6, 60, 64, part="melody")]
    performance = Performance(tuple(notes), (MELODY,))
    score = notate(performance, grid)
    assert_consistent(score, performance)
    assert [n.grace for n in sorted(score.notes, key=lambda n: n.id)] == [True, False]


@pytest.mark.parametrize(("key", "fifths", "name"), [("Gb", -6, ("G", -1)), ("F#", 6, ("F", 1))])
def test_the_key_can_be_chosen(key, fifths, name):
    grid = grid_of("4/4", beats=8)
    score = notate(play([(k, 1, p + 6) for k, p in enumerate(SCALE)], grid), grid, {"spelling.key": key})
    assert score.keys[0].fifths == fifths
    assert (score.notes[0].step, score.notes[0].alter) == name
    assert len({n.step for n in score.notes}) == 7


def test_short_notes_are_staccato_unless_the_pedal_holds_them():
    grid = grid_of("4/4", beats=8)
    played = play([(k, 1, p) for k, p in enumerate(SCALE)], grid, held=0.3)
    dry = notate(played, grid, {"voices.fill_gaps_ql": 1})
    assert drawn(dry)[:7] == ["quarter"] * 7
    assert [s.staccato for s in dry.symbols[:7]] == [True] * 7  # nothing follows the last note
    wet = notate(replace(played, pedal=(Span(0.0, played.duration_s + 1.0),)), grid, {"voices.fill_gaps_ql": 1})
    assert not any(s.staccato for s in wet.symbols)


# ---------------------------------------------------------------- the edges


@pytest.mark.parametrize("part", [PIANO, MELODY])
def test_no_notes(part):
    performance = Performance((), (part,))
    score = notate(performance, grid_of("3/4", beats=3))
    assert_consistent(score, performance)
    assert all(s.whole_measure for s in score.symbols) and len(score.measures) == 1


def test_one_note():
    performance = Performance((Note("a", 1.0, 2.0, 60, 64),), (PIANO,))
    score = notate(performance, grid_of("4/4", beats=8))
    assert_consistent(score, performance)
    assert len(score.measures) == 1


def test_a_part_without_notes():
    grid = grid_of("4/4", beats=8)
    performance = replace(play([(k, 1, p) for k, p in enumerate(SCALE)], grid), parts=(MELODY, PIANO))
    score = notate(performance, grid)
    assert_consistent(score, performance)
    assert {(c.part, c.staff) for c in score.clefs} == {("melody", 1), ("piano", 1), ("piano", 2)}


def test_notes_far_beyond_the_grid():
    grid = grid_of("3/4", beats=2)
    times = [0.1, 1.0, 1.7, 40.0, 200.0]
    performance = Performance(tuple(Note(f"n{i}", t, t + 0.5, 60 + i, 64) for i, t in enumerate(times)), (PIANO,))
    assert_consistent(notate(performance, grid), performance)


def test_stretching_time_changes_nothing_else():
    grid = grid_of("6/8", beats=16)
    melody = [(k / 2, 0.5, 60 + k % 9) for k in range(40)]
    slow = replace(grid, times_s=grid.times_s * 1.25)
    a, b = notate(play(melody, grid), grid), notate(play(melody, slow), slow)
    assert a.symbols == b.symbols and as_written(a) == as_written(b)
    assert a.tempi[0].bpm == pytest.approx(1.25 * b.tempi[0].bpm, rel=0.01)


@pytest.mark.parametrize("jitter_s", [0.0, 0.012])
@pytest.mark.parametrize(("changes", "part", "most"), [
    ({"quantise.finest": 8}, 3 / 4, 1 / 4), ({"quantise.finest": 4}, 3 / 4, 1 / 4),
    ({"quantise.finest": 16}, 7 / 8, 1 / 8), ({"quantise.triplets": "no"}, 2 / 3, 1 / 6), ({}, 3 / 4, 0.0),
])
def test_what_may_not_be_written_goes_to_the_nearest_place_that_may(changes, part, most, jitter_s):
    grid = grid_of("4/4", beats=33, bpm=80.0)
    written = [(float(k) if k % 4 else k + part, 0.25, 60 + k % 5) for k in range(32)]
    made = play(written, grid)
    random = np.random.default_rng(2)
    made = replace(made, notes=tuple(replace(n, onset_s=n.onset_s + random.normal(0.0, jitter_s)) for n in made.notes))
    plain = {"quantise.ornaments": "notes", "quantise.swing": "no"}
    placed = quantise(made, grid, settings=Settings().changed(plain | changes).quantise)
    found = np.array([float(n.onset_ql) for n in sorted(placed.notes, key=lambda n: int(n.id.strip("n")))])
    assert np.abs(found - [w[0] for w in written]).max() <= most + 1e-6


def test_triplets_that_the_user_wants_are_read_where_they_may_be_meant():
    grid = grid_of("4/4", beats=33, bpm=80.0)
    made = play([(b + part, 0.3, 60) for b in range(32) for part in (0.0, 0.61)], grid)
    random = np.random.default_rng(1)
    made = replace(made, notes=tuple(replace(n, onset_s=n.onset_s + random.normal(0.0, 0.02)) for n in made.notes))
    thirds = {}
    for wish in ("no", "auto", "yes"):
        chosen = Settings().changed({"quantise.triplets": wish, "quantise.swing": "no"})
        placed = quantise(made, grid, settings=chosen.quantise)
        thirds[wish] = sum(n.onset_ql % 1 == F(2, 3) for n in placed.notes)
    assert thirds["no"] == 0 and thirds["yes"] >= max(thirds["auto"], 28)
