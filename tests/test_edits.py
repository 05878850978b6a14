"""Edits: a list that gives the same result whenever it is replayed, also on what was heard anew."""

import json
from dataclasses import replace
from fractions import Fraction as F

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media import scale
from test_notation import assert_consistent, grid_of

from rescored.edits import replay
from rescored.errors import InputError
from rescored.music import (
    PIANO,
    Accept,
    Add,
    Check,
    Delete,
    Merge,
    Move,
    Note,
    NoteRef,
    Part,
    Performance,
    Resize,
    Respell,
    SetDuration,
    SetPart,
    SetStaff,
    Split,
)
from rescored.notation.hands import split_hands
from rescored.notation.quantise import quantise
from rescored.notation.score import write_score
from rescored.notation.spelling import spell
from rescored.notation.voices import find_voices
from rescored.output.contract import edits_from_json, edits_to_json
from rescored.output.files import load, save
from rescored.pipeline import renotate, saved_settings, transcribe
from rescored.settings import Settings
from rescored.stage import Runner
from rescored.store import Store

BASS = Part("bass", "Bass", program=33)
LENGTHS = [F(1, 8), F(1, 6), F(1, 4), F(1, 3), F(1, 2), F(2, 3), F(3, 4), F(1), F(3, 2), F(2), F(4), F(8)]


def ref(note: Note) -> NoteRef:
    return NoteRef(note.id, note.onset_s, note.pitch, note.part)


@st.composite
def performances(draw):
    """Notes of one pitch lie apart, as keys that are struck do: there is no doubt which is which."""
    struck = draw(st.lists(st.tuples(st.integers(0, 60), st.integers(40, 88)), min_size=3, max_size=25, unique=True))
    lengths = draw(st.lists(st.floats(0.05, 2.0), min_size=len(struck), max_size=len(struck)))
    notes = [Note(f"n{i}", k / 2, k / 2 + d, pitch, 64, 0.5) for i, ((k, pitch), d) in
             enumerate(zip(struck, lengths, strict=True))]
    kept = draw(st.integers(2, len(notes)))
    return Performance(tuple(notes[:kept]), (PIANO, BASS), candidates=tuple(notes[kept:]), duration_s=35.0)


@st.composite
def edited(draw):
    """A performance and edits of its notes, some of which name notes that are not there."""
    heard = draw(performances())
    note = st.sampled_from([*map(ref, heard.notes), NoteRef("n1", 900.0, 60), NoteRef("gone", 1.0, 20)])
    notes = st.lists(note, min_size=1, max_size=3).map(tuple)
    seconds = st.floats(-3.0, 3.0)
    added = st.builds(
        lambda id, at, length, pitch: Note(id, at, at + length, pitch, 80),
        st.sampled_from(["e1", "e2", "n1", ""]), st.floats(0, 30.0), st.floats(0.05, 2), st.integers(40, 90))
    candidates = st.sampled_from([*map(ref, heard.candidates), NoteRef("gone", 1.0, 20)])
    edit = st.one_of(
        st.builds(Add, added), st.builds(Accept, st.lists(candidates, min_size=1, max_size=2).map(tuple)),
        st.builds(Delete, notes), st.builds(Move, notes, seconds, st.integers(-30, 30)),
        st.builds(Resize, notes, seconds),
        st.builds(Split, note, st.floats(0, 33), st.sampled_from(["e1", "e8", "n0"])),
        st.builds(Merge, notes), st.builds(SetPart, notes, st.sampled_from(["bass", "piano", "kazoo"])),
        st.builds(SetStaff, notes, st.integers(0, 3)),
        st.builds(Respell, note, st.sampled_from("ABCDEFGH"), st.integers(-3, 3)),
        st.builds(SetDuration, notes, st.sampled_from([*LENGTHS, F(0), F(1, 5040), F(10**6)])),
        st.builds(Check, st.floats(0, 30), st.floats(0, 30)))
    return heard, tuple(draw(st.lists(edit, max_size=12)))


def notated(result, grid, max_voices=2):
    performance, wishes, chosen = result.performance, result.wishes, Settings()
    placed = quantise(performance, grid, settings=chosen.quantise)
    staved = split_hands(placed, performance, wishes, settings=chosen.hands)
    voiced = find_voices(staved, grid, performance, wishes, settings=replace(chosen.voices, max_voices=max_voices))
    spelled = spell(voiced, grid, performance.parts, wishes, settings=chosen.spelling)
    return write_score(spelled, grid, performance, "", settings=chosen.score)


# ---------------------------------------------------------------- properties


@settings(max_examples=25, deadline=None)
@given(edited(), st.sampled_from(["4/4", "3/4", "6/8"]))
def test_whatever_is_edited_a_consistent_score_comes_out(case, metre):
    heard, edits = case
    result = replay(heard, edits)
    assert replay(heard, edits) == result
    score = notated(result, grid_of(metre, beats=60))
    assert_consistent(score, result.performance)
    for id, (step, alter) in result.wishes.spelling.items():
        assert (score.note[id].step, score.note[id].alter) == (step, alter)
    for n in score.notes:
        if n.id in result.wishes.staff and not n.grace and n.part == PIANO.id:
            assert n.staff == result.wishes.staff[n.id]


@settings(max_examples=30, deadline=None)
@given(edited())
def test_edits_come_back_from_the_file(case):
    _, edits = case
    assert edits_from_json(json.loads(json.dumps(edits_to_json(edits)))) == edits


@settings(max_examples=30, deadline=None)
@given(edited(), st.randoms(use_true_random=False), st.floats(-0.03, 0.03))
def test_edits_survive_what_is_heard_anew(case, random, later_s):
    """Other ids, every note a little later, some new ones: the same corrections are made."""
    heard, edits = case
    edits = tuple(e for e in edits if not isinstance(e, Add | Merge | Split))  # these tell of times, not of shifts
    ids = [f"n{i}" for i in range(len(heard.notes) + len(heard.candidates))]
    random.shuffle(ids)
    new = iter(ids)

    def anew(notes):
        return tuple(replace(n, id=next(new), onset_s=n.onset_s + abs(later_s), offset_s=n.offset_s + abs(later_s))
                     for n in notes)

    again = replace(heard, notes=anew(heard.notes), candidates=anew(heard.candidates))
    before, after = replay(heard, edits), replay(again, edits)

    def content(result, by_s):
        return sorted((n.pitch, n.part, round(n.onset_s - by_s, 6), round(n.offset_s - by_s, 6), n.confidence)
                      for n in result.performance.notes if n.onset_s > 0.1)

    assert content(after, abs(later_s)) == content(before, 0.0)
    assert len(before.performance.warnings) == len(after.performance.warnings)
    assert sorted(before.wishes.staff.values()) == sorted(after.wishes.staff.values())
    assert sorted(before.wishes.duration_ql.values()) == sorted(after.wishes.duration_ql.values())


# ---------------------------------------------------------------- known examples

HEARD = Performance(
    tuple(Note(f"n{k}", 1 + k / 2, 1.4 + k / 2, 60 + k, 64, 0.4) for k in range(8)), (PIANO,),
    candidates=(Note("c1", 2.0, 2.3, 72, 40, 0.2),), duration_s=6.0)


def by_id(*edits):
    return {n.id: n for n in replay(HEARD, edits).performance.notes}


def test_every_kind_of_edit_does_what_it_says():
    n = {note.id: ref(note) for note in HEARD.notes}
    assert by_id(Add(Note("e1", 3.1, 3.2, 50, 70)))["e1"].pitch == 50
    assert by_id(Accept((ref(HEARD.candidates[0]),)))["c1"].confidence == 1
    assert "n3" not in by_id(Delete((n["n3"],)))
    moved = by_id(Move((n["n1"], n["n2"]), 0.25, -12))
    assert (moved["n1"].onset_s, moved["n1"].pitch, moved["n2"].pitch) == (1.75, 49, 50)
    assert by_id(Resize((n["n1"],), 0.5))["n1"].offset_s == pytest.approx(2.4)
    halves = by_id(Split(n["n1"], 1.7, "e1"))
    assert (halves["n1"].offset_s, halves["e1"].onset_s, halves["e1"].offset_s) == (1.7, 1.7, 1.9)
    joined = by_id(Split(n["n1"], 1.7, "e1"), Merge((n["n1"], NoteRef("e1", 1.7, 61))))
    assert joined["n1"].offset_s == 1.9 and "e1" not in joined
    assert by_id(Move((n["n1"],), 0.0, 200)) == by_id()
    assert replay(HEARD, (Delete((n["n3"],)), Check(0, 2))[:0]).performance.notes == HEARD.notes


def test_an_edit_finds_what_an_earlier_one_moved():
    there = by_id(Move((ref(HEARD.notes[0]),), 3.0, 7), Move((NoteRef("n0", 4.0, 67),), 0.0, 1))
    assert (there["n0"].onset_s, there["n0"].pitch) == (4.0, 68)


def test_what_no_longer_finds_its_note_is_told_and_not_raised():
    lost = (Delete((NoteRef("n3", 100.0, 63),)), SetStaff((NoteRef("x", 1.0, 30),), 2))
    [warning] = replay(HEARD, lost).performance.warnings
    assert warning.startswith("2 corrections") and "deleting a note" in warning
    assert replay(HEARD, lost).performance.notes == HEARD.notes


def test_hand_name_and_length_are_what_the_user_said():
    grid = grid_of("4/4", beats=16, bpm=120)
    first, second = ref(HEARD.notes[0]), ref(HEARD.notes[1])
    before = notated(replay(HEARD, ()), grid)
    assert before.note["n1"].step == "C"
    other = 3 - before.note["n0"].staff
    after = notated(replay(HEARD, (
        Respell(second, "D", -1), SetStaff((first,), other), SetDuration((first,), F(2)))), grid)
    assert (after.note["n1"].step, after.note["n1"].alter, after.note["n1"].octave) == ("D", -1, 4)
    assert after.note["n0"].staff == other and after.note["n0"].duration_ql == 2
    assert {n.id: n.onset_ql for n in after.notes} == {n.id: n.onset_ql for n in before.notes}


def test_all_notes_may_be_deleted():
    empty = replay(HEARD, (Delete(tuple(map(ref, HEARD.notes))),))
    score = notated(empty, grid_of("4/4", beats=16))
    assert score.notes == () and len(score.measures) >= 1


# ---------------------------------------------------------------- kept, and opened again


@pytest.fixture
def song(tmp_path):
    path = tmp_path / "song.mid"
    path.write_bytes(scale())
    return path


def test_a_saved_transcription_opens_again_with_its_edits(song, tmp_path):
    store = Store(tmp_path / "store")
    heard = transcribe(song, store=store)
    first = heard.performance.notes[0]
    edits = (Move((ref(first),), 0.0, 12), Check(0.0, 1.0))
    made = transcribe(song, Settings().changed({"metre.time_signature": "3/4"}), edits=edits, store=store)
    assert made.score.note[first.id].pitch == first.pitch + 12
    paths = save(made, tmp_path, "made")
    again = transcribe(paths["json"], store=store)
    assert again.score == made.score and again.edits == edits and again.settings == made.settings
    assert again.heard == made.heard and made.heard.notes == heard.performance.notes
    undone = renotate(again, saved_settings(again).changed({"metre.time_signature": "auto"}), (), Runner(store))
    assert undone.score == heard.score and undone.heard is None


def test_edits_move_no_bar_lines(song, tmp_path):
    heard = transcribe(song)
    edits = (Delete(tuple(map(ref, heard.performance.notes[:5]))),)
    made = renotate(heard, Settings(), edits, Runner())
    assert np.array_equal(made.grid.times_s, heard.grid.times_s)
    kept = {n.id: n.onset_ql for n in made.score.notes}
    assert kept == {n.id: n.onset_ql for n in heard.score.notes if n.id in kept} and len(kept) > 0


@pytest.mark.parametrize("hostile", [
    "no list", [{"edit": "explode"}], [{"edit": "delete", "notes": "n1"}], [{"edit": "move", "notes": [], "dt_s": "1"}],
    [{"edit": "move", "notes": [], "dt_s": float("nan")}], [{"notes": []}], [7], [{"edit": ["delete"], "notes": []}],
    [{"edit": "add", "note": {"id": "x", "onset_s": 2, "offset_s": 1, "pitch": 60, "velocity": 64}}]])
def test_what_are_no_edits_is_refused(hostile):
    with pytest.raises(InputError):
        edits_from_json(hostile)


@pytest.mark.parametrize("change", [
    lambda d: d["performance"]["parts"][0].update(id="../../etc"), lambda d: d["performance"].update(duration_s=1e12),
    lambda d: d["performance"]["parts"][0].update(staves=10**9), lambda d: d["notes"][0].update(offset_s=1e9),
    lambda d: d.update(heard=[])])
def test_a_saved_transcription_that_cannot_be_is_refused(song, tmp_path, change):
    path = save(transcribe(song), tmp_path, "made")["json"]
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(InputError):
        load(path)
        transcribe(path)
