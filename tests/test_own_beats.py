"""Beats, measures, keys and tempi that a MIDI file states: they hold where its notes keep to them, and only there."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import scores
from media import midi, notes_track, track
from rhythms import RHYTHMS, play
from scores import compose

from rescored.errors import InputError
from rescored.expressive import STEADY, perform
from rescored.hearing.midi import read_midi
from rescored.hearing.sources import open_source
from rescored.music import (
    PIANO,
    KeySignature,
    Measure,
    Note,
    Performance,
    StatedMetre,
    TempoMark,
    TimeSignature,
    Transcription,
)
from rescored.notation.metre import find_metre
from rescored.output.contract import from_json, to_json
from rescored.output.midi import performed_midi, written_midi
from rescored.pipeline import notate
from rescored.settings import MetreSettings, NoteSettings, Settings
from rescored.stage import Runner

FIVE = "q:C5 e:D5 e:E5 q:G5 q:E5 q:C5"
SEVEN = "e:C5 e:D5 q:E5 q:G5 e:E5"
PLAIN = "q:C5 q:D5 e:E5 e:F5 q:G5"
TIMES = compose({("piano", 1, 1): " | ".join([PLAIN] * 12), ("piano", 2, 1): " | ".join(["h:C3 h:G2"] * 12)})
WRITTEN = {  # scores that come back from their MIDI file
    **{name: make() for name, make in scores.ALL.items()},
    **{name: RHYTHMS[name].score for name in (
        "triplets against eighths", "three against two", "pickup in three", "siciliano", "cut time", "twelve eight",
        "double dots and short notes", "four four to three four")},
    "5/4": compose({("piano", 1, 1): " | ".join([FIVE] * 6), ("piano", 2, 1): " | ".join(["h.:C3 h:G2"] * 6)},
                   metre="5/4"),
    "7/8": compose({("piano", 1, 1): " | ".join([SEVEN] * 6), ("piano", 2, 1): " | ".join(["q:C3 q:E3 q.:G2"] * 6)},
                   metre="7/8", bpm=320, fifths=1),
    "a metre for every measure": compose(
        {("piano", 1, 1): "q:C5 q:D5 q:E5 | e:C5 e:D5 q:E5 e:G5 | q:A5 q:G5 q:C5 q:D5 | q.:A4 q.:C5 | "
                          "e:C5 e:D5 e:E5 e:G5 e:A5 e:G5 e:C5 | h:C5",
         ("piano", 2, 1): "h.:C3 | q.:C3 q:G2 | h:C3 h:G2 | h.:C3 | q.:C3 h:G2 | h:C3"},
        metre="3/4", later={2: "5/8", 3: "4/4", 4: "6/8", 5: "7/8", 6: "2/4"}),
    "an eighth before the first measure": compose(
        {("piano", 1, 1): "e:G4 | q:C5 q:D5 q:E5 e:F5 e:G5 | w:C5", ("piano", 2, 1): "e:r | h:C3 h:G2 | w:C3"},
        pickup=Fraction(1, 2)),
    "tempi, one from the middle of a measure on": replace(TIMES, tempi=(*TIMES.tempi, TempoMark(
        Fraction(16), 60.0, Fraction(1)), TempoMark(Fraction(20), 96.0, Fraction(1)), TempoMark(
        Fraction(65, 2), 140.0, Fraction(1)))),
}


@pytest.fixture
def read(tmp_path):
    def read(data, **settings):
        path = tmp_path / "song.mid"
        path.write_bytes(data)
        settings = NoteSettings(**{"instruments": "band", "lowest": 0, "highest": 127} | settings)
        return read_midi(open_source(path, max_minutes=1), settings=settings)

    return read


def bars(grid):
    """Metres by the time at which each begins, pickups apart."""
    return [(f"{s.numerator}/{s.denominator}", s.measure) for s in grid.time_signatures]


def found(performance, **settings):
    return find_metre(performance, settings=MetreSettings(**settings))


# ---------------------------------------------------------------- files that programs write


@pytest.mark.parametrize("name", WRITTEN)
def test_a_score_comes_back_from_its_midi_file(read, name):
    score = replace(WRITTEN[name], notes=tuple(n for n in WRITTEN[name].notes if not n.grace))
    grid, again = notate(read(written_midi(score)), Settings(), Runner())
    places = [sorted((n.onset_ql, n.pitch) for n in s.notes) for s in (again, score)]
    assert places[0] == places[1]
    assert [(m.number, m.ql, m.length_ql) for m in again.measures] == [(m.number, m.ql, m.length_ql)
                                                                       for m in score.measures]
    assert bars(again) == bars(score)
    assert [(k.measure, k.fifths) for k in again.keys] == [(k.measure, k.fifths) for k in score.keys]
    if name != "changes":  # whose marks stand closer than a measure
        assert [(t.ql, t.bpm) for t in again.tempi] == [(t.ql, pytest.approx(t.bpm, abs=0.1)) for t in score.tempi]
    assert grid.stated


@pytest.mark.parametrize("name", ["siciliano", "twelve eight", "three against two"])
def test_hands_come_back_with_a_score(read, name):
    score = RHYTHMS[name].score
    _, again = notate(read(written_midi(score)), Settings(), Runner())
    places = [sorted((n.onset_ql, n.pitch, n.staff) for n in s.notes) for s in (again, score)]
    assert places[0] == places[1]


@pytest.mark.parametrize("name", ["corelli/opus3no1/1grave", "schoenberg/opus19/movement2"])
def test_scores_by_others_come_back_from_files_that_another_program_writes(read, tmp_path, name):
    import music21

    parsed = music21.corpus.parse(name)
    parsed.write("midi", fp=tmp_path / "theirs.mid")
    _, again = notate(read((tmp_path / "theirs.mid").read_bytes(), instruments="piano"), Settings(), Runner())
    theirs = set()
    for part in parsed.parts:
        for chord in part.stripTies().recurse().notes:
            if not chord.duration.isGrace:
                at = Fraction(chord.getOffsetInHierarchy(part)).limit_denominator(48)
                theirs |= {(at, pitch.midi) for pitch in chord.pitches}
    own = {(n.onset_ql, n.pitch) for n in again.notes}
    assert len(theirs & own) > 0.97 * max(len(theirs), len(own))
    measures = parsed.parts[0].getElementsByClass("Measure")
    assert [float(m.ql) for m in again.measures] == [float(m.offset) for m in measures][: len(again.measures)]


@pytest.mark.parametrize("name", ["quarters", "six eight", "pickup in three"])
def test_the_played_notes_come_back_with_their_measures(read, name):
    result = scores.transcription(RHYTHMS[name].score)  # every other beat is late
    grid = found(read(performed_midi(result.performance, result.grid)))
    assert grid.stated and bars(grid) == bars(result.grid)
    assert np.allclose(grid.times_s[: len(result.grid.times_s)], result.grid.times_s, atol=2e-3)


def four(start=0, count=32):
    """A scale in quarters, whose time is 480 ticks a quarter."""
    return [(start + 480 * k, 400, 60 + (0, 4, 7, 12)[k % 4], 64) for k in range(count)]


def test_measures_of_rest_before_the_music_are_left_out(read):
    grid = found(read(midi(track((0, 0xFF, 0x58, 4, 3, 2, 24, 8)), notes_track(four(3 * 3 * 480)))))
    assert grid.stated and grid.times_s[0] == pytest.approx(4.5) and (grid.measure[0], grid.beat[0]) == (1, 1)
    assert bars(grid) == [("3/4", 1)]


def test_a_measure_that_rests_for_its_first_half_is_a_pickup(read):
    late, early = (found(read(midi(track((0, 0xFF, 0x58, 4, 4, 2, 24, 8)), notes_track(four(start)))))
                   for start in (1440, 480))
    assert (late.measure[0], late.beat[0], late.ql[0]) == (0, 4, -1)
    assert (early.measure[0], early.beat[0], early.ql[0]) == (1, 1, 0), "a rest, then"


def test_a_pickup_that_the_file_does_not_tell_of_is_found(read):
    score = RHYTHMS["pickup in four"].score
    data = written_midi(replace(score, measures=(replace(score.measures[0], number=1), *score.measures[1:])))
    grid = found(read(data))  # 4/4 from the pickup's beginning on
    assert grid.stated and (grid.measure[0], grid.beat[0], grid.ql[0]) == (0, 4, -1)


@pytest.mark.parametrize(("metre", "groups"), [("7/8", (2, 2, 3)), ("13/16", (4, 4, 5)), ("7/32", (4, 3))])
def test_a_metre_that_no_program_has_by_default_is_believed(read, metre, groups):
    numerator, denominator = map(int, metre.split("/"))
    unit, scale, notes = 1920 // denominator, (60, 62, 64, 65, 67, 69, 71, 72, 74, 76), []
    for m in range(12):
        at, bass = m * numerator * unit, (48, 53, 55, 48)[m % 4]
        notes.append((at, numerator * unit - 20, bass, 80))
        for k, length in enumerate(groups):
            notes.append((at, length * unit - 20, scale[(3 * m + 2 * k) % 10], 60))
            notes += [(at + j * unit, unit - 20, bass + (12, 16, 19)[j % 3], 55) for j in range(length)]
            at += length * unit
    signature = track((0, 0xFF, 0x58, 4, numerator, denominator.bit_length() - 1, 24, 8),
                      (0, 0xFF, 0x51, 3, 9, 39, 192))
    grid = found(read(midi(signature, notes_track(sorted(notes)))))
    assert grid.stated and bars(grid) == [(metre, 1)] and grid.measure[-1] >= 12


def as_four_four(name):
    """The bytes of a file by a program that writes 4/4 whatever the metre is."""
    score = RHYTHMS[name].score
    measures, ql = [], score.measures[0].ql
    while ql < score.measures[-1].ql:
        measures.append(Measure(len(measures) + 1, ql, Fraction(4), 4, 4))
        ql += 4
    return written_midi(replace(score, measures=tuple(measures)))


@pytest.mark.parametrize(("name", "metre"), [
    ("waltz", "3/4"), ("minuet", "3/4"), ("six eight", "6/8"), ("eighths", "4/4"), ("syncopation of quarters", "4/4")])
def test_a_program_that_knows_no_metre_but_four_four_is_not_believed_of_a_waltz(read, name, metre):
    data = as_four_four(name)
    assert b"\xff\x58\x04\x04\x02" in data
    assert bars(found(read(data)))[0][0] == metre


@pytest.mark.parametrize("name", ["eighths", "waltz", "minuet"])
def test_a_tempo_that_no_one_set_is_not_believed_because_notes_lie_on_its_thirds(read, name):
    """Music at 90 in a file that says nothing, which means 120."""
    notes = [(round(640 * n.onset_ql), round(600 * n.duration_ql), n.pitch, 64) for n in RHYTHMS[name].score.notes]
    grid = found(read(midi(notes_track(sorted(notes)))))
    assert np.median(np.diff(grid.times_s)) == pytest.approx(2 / 3, rel=0.01) and not grid.stated


def test_a_jig_without_a_time_signature_is_in_eighths(read):
    pitches = (67, 71, 74, 76, 74, 71)
    jig = [(240 * k, 200, pitches[k % 6], 90 if k % 3 == 0 else 60) for k in range(72)]
    bass = [(720 * k, 700, (43, 50)[k % 2], 70) for k in range(24)]
    grid = found(read(midi(track((0, 0xFF, 0x51, 3, 5, 0, 0)), notes_track(sorted(jig + bass)))))
    assert grid.time_signatures[0].compound and np.median(np.diff(grid.times_s)) == pytest.approx(0.49152, abs=1e-3)


def test_mere_beats_leave_the_measures_to_the_music(read):
    """A file whose measures are beats, as some programs write, states a tempo and no metre."""
    score = RHYTHMS["waltz"].score
    stated = replace(score, measures=tuple(replace(m, numerator=1) for m in score.measures))
    assert bars(found(read(written_midi(stated)))) == [("3/4", 1)]


@pytest.mark.parametrize("first", range(4))
def test_on_mere_beats_measures_begin_where_the_harmony_changes(read, first):
    """Repeated chords, louder on the back beats, from any beat of the measure on."""
    chords = ((48, 60, 64, 67), (53, 60, 65, 69), (55, 62, 67, 71), (45, 60, 64, 69))
    notes = [(480 * k, 440, p, 65 + 20 * ((k - first) % 2)) for k in range(40) for p in chords[(k - first) // 4 % 4]]
    metre = (0, 0xFF, 0x58, 4, 1, 2, 24, 8)
    grid = found(read(midi(track((0, 0xFF, 0x51, 3, 8, 0, 0), metre), notes_track(notes))))
    downbeats = np.flatnonzero(grid.beat == 1)
    assert set(np.diff(downbeats)) == {4} and (downbeats[0] - first) % 4 == 0


# ---------------------------------------------------------------- players


def against_a_click(name, seed, later_s=0.0, jitter_ms=14.0):
    """A rhythm played to its score's own tempo, which the file has, and its measures; also the true beats."""
    score = RHYTHMS[name].score
    bpm = score.tempi[0].bpm * float(score.tempi[0].beat_ql)
    played = perform(
        [float(n.onset_ql) for n in score.notes], [float(n.duration_ql) for n in score.notes],
        [n.pitch for n in score.notes], bpm=bpm, seed=seed, start_s=later_s,
        style=replace(STEADY, ritardando=0.0, jitter_ms=jitter_ms, spread_ms=5.0))
    notes = tuple(Note(n.id, float(a), float(b), n.pitch, int(v)) for n, a, b, v in zip(
        score.notes, played.onset_s, played.offset_s, played.velocity, strict=True))
    end_s = max(n.offset_s for n in notes)
    signature = replace(score.time_signatures[0], measure=1, ql=Fraction(0))
    stated = StatedMetre((0.0, end_s), (0.0, end_s * bpm / 60.0), 480, (signature,))
    return Performance(notes, (PIANO,), duration_s=end_s, stated=stated), 60.0 / bpm


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", [
    "eighths", "waltz", "triplets against eighths", "syncopation of eighths", "six eight", "nine eight"])
def test_a_player_of_the_click_keeps_to_it(name, seed):
    performance, quarter_s = against_a_click(name, seed)
    grid = found(performance)
    metre = performance.stated.time_signatures[0]
    assert grid.stated and bars(grid) == [(f"{metre.numerator}/{metre.denominator}", 1)]
    beat_s = quarter_s * float(metre.beat_ql)
    assert np.allclose(np.diff(grid.times_s), beat_s), "the file's tempo, without the player's deviations"
    assert grid.times_s[0] == pytest.approx(0.0, abs=0.05)


def test_who_is_late_in_a_metre_that_no_program_has_by_default_keeps_it(read):
    """7/8 at 110, played to the click 40 ms late."""
    rng, notes = np.random.default_rng(0), []
    for m in range(14):
        for k, pitch in enumerate((60, 64, 67, 64, 62, 65, 69)):
            chord = (pitch - 12, pitch) if k in (0, 2, 4) else (pitch,)
            notes += [(1680 * m + 240 * k, 200, p, 40 + 25 * len(chord)) for p in chord]
    late = [(max(round(at + rng.normal(35, 8)), 0), *rest) for at, *rest in notes]
    conductor = track((0, 0xFF, 0x58, 4, 7, 3, 24, 8), (0, 0xFF, 0x51, 3, 8, 83, 0))
    grid = found(read(midi(conductor, notes_track(sorted(late)))))
    assert grid.stated and bars(grid) == [("7/8", 1)] and grid.times_s[0] == pytest.approx(0.04, abs=0.01)


def test_a_passage_has_the_tempo_of_its_end_and_none_that_comes_after_it(read):
    tempi = track((0, 0xFF, 0x51, 3, 9, 39, 192), (16 * 480, 0xFF, 0x51, 3, 6, 138, 27),
                  (8 * 480, 0xFF, 0x51, 3, 9, 39, 192))
    performance = read(midi(tempi, notes_track(four(count=40))))
    _, score = notate(replace(performance, notes=performance.notes[:18]), Settings(), Runner())
    assert [(t.ql, t.bpm, t.text) for t in score.tempi] == [(0, 100, ""), (16, pytest.approx(140, abs=0.1), "")]


@pytest.mark.parametrize("late_s", [-0.02, 0.035])
def test_who_is_always_late_has_his_beats_where_he_plays_them(late_s):
    performance, quarter_s = against_a_click("eighths", 0)
    late = tuple(replace(n, onset_s=max(n.onset_s + late_s, 0.0), offset_s=n.offset_s + late_s)
                 for n in performance.notes)
    grid, score = notate(replace(performance, notes=late), Settings(), Runner())
    assert grid.stated and np.allclose(np.diff(grid.times_s), quarter_s) and bars(grid) == [("4/4", 1)]
    assert grid.times_s[0] == pytest.approx(late_s, abs=0.01)
    assert [t.text for t in score.tempi] == [""]


def test_what_was_cut_out_of_a_recording_has_the_tempo_and_not_the_phase():
    performance, quarter_s = against_a_click("eighths", 0, later_s=3.37)
    grid = found(performance)
    off = np.mod((grid.times_s - 3.37) / quarter_s + 0.5, 1.0) - 0.5
    assert grid.stated and np.allclose(np.diff(grid.times_s), quarter_s) and np.abs(off).max() < 0.05


@pytest.mark.parametrize("later_s", [1.9, 3.37])
@pytest.mark.parametrize("name", ["six eight", "siciliano", "nine eight"])
def test_what_was_cut_out_of_a_recording_in_eighths_keeps_its_tempo_too(name, later_s):
    performance, quarter_s = against_a_click(name, 0, later_s=later_s)
    grid = found(performance)
    metre = performance.stated.time_signatures[0]
    off = np.mod((grid.times_s - later_s) / quarter_s / 1.5 + 0.5, 1.0) - 0.5
    assert grid.stated and bars(grid) == [(f"{metre.numerator}/8", 1)] and np.abs(off).max() < 0.05


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["eighths", "waltz", "six eight", "dotted eighths"])
def test_a_performance_in_a_program_that_was_not_set_is_heard(name, seed):
    performance, _ = play(RHYTHMS[name], seed)
    end_s = performance.duration_s
    stated = StatedMetre((0.0, end_s), (0.0, end_s * 2.0), 480, (TimeSignature(1, Fraction(0), 4, 4),))
    grid = found(replace(performance, stated=stated))
    assert not grid.stated and np.array_equal(grid.times_s, found(performance).times_s)


# ---------------------------------------------------------------- the user


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "song.mid"
    path.write_bytes(written_midi(TIMES))  # 4/4 at 96
    return read_midi(open_source(path, max_minutes=1), settings=NoteSettings())


def test_the_user_sets_another_metre_on_the_same_beats(written):
    grid = found(written, time_signature="3/4")
    assert grid.stated and bars(grid) == [("3/4", 1)] and np.allclose(np.diff(grid.times_s), 0.625)


def test_the_user_says_where_a_measure_begins(written):
    grid = found(written, beat_one_s=2 * 0.625)
    assert grid.stated and 1.25 in grid.times_s[grid.beat == 1] and (grid.measure[0], grid.ql[0]) == (0, -2)


@pytest.mark.parametrize("place_ql", [2.5, 7.0])
def test_a_measure_begins_at_the_note_that_the_user_points_at_between_beats_too(written, place_ql):
    grid = found(written, beat_one_s=place_ql * 0.625 + 0.03)
    assert grid.stated and np.abs(grid.times_s[grid.beat == 1] - place_ql * 0.625).min() < 1e-3
    assert np.allclose(np.diff(grid.ql[grid.beat == 1]), 4.0)


@pytest.mark.parametrize(("factor", "step_s"), [("2", 0.3125), ("1/2", 1.25)])
def test_the_user_doubles_and_halves_the_tempo(written, factor, step_s):
    grid = found(written, tempo_factor=factor)
    assert grid.stated and bars(grid) == [("4/4", 1)] and np.allclose(np.diff(grid.times_s), step_s)


@pytest.mark.parametrize("settings", [
    {"file_beats": "never"}, {"slowest_bpm": 110.0}, {"fastest_bpm": 60.0}, {"taps_s": "0 0.625 1.25 1.875"}], ids=str)
def test_the_user_does_without_the_file(written, settings):
    assert not found(written, **settings).stated


# ---------------------------------------------------------------- keys


def key(fifths, minor=0):
    return track((0, 0xFF, 0x59, 2, fifths % 256, minor))


@pytest.mark.parametrize(("stated", "transposed", "expected"), [
    (-3, 0, [-3]), (3, 0, [0]), (-3, 2, [-1]), (0, 0, [0])])
def test_a_stated_key_holds_unless_the_notes_speak_against_it(read, stated, transposed, expected):
    flat = [(480 * k, 460, p, 64) for k, p in enumerate([60, 63, 67, 68, 65, 63, 62, 60] * 4)]
    sharp = [(480 * k, 460, p, 64) for k, p in enumerate([60, 64, 67, 69, 65, 64, 62, 60] * 4)]
    data = midi(key(stated), notes_track(flat if stated < 0 else sharp))
    _, score = notate(read(data), Settings().changed({"score.transpose": transposed}), Runner())
    assert [k.fifths for k in score.keys] == expected


def test_keys_change_where_the_file_says(read):
    pitches = [60, 64, 67, 69, 65, 64, 62, 60] * 2 + [61, 65, 68, 70, 66, 65, 63, 61] * 2
    keys = track((0, 0xFF, 0x59, 2, 0, 0), (16 * 480, 0xFF, 0x59, 2, 251, 0))
    _, score = notate(read(midi(keys, notes_track([(480 * k, 460, p, 64) for k, p in enumerate(pitches)]))),
                      Settings(), Runner())
    assert [(k.measure, k.fifths) for k in score.keys] == [(1, 0), (5, -5)]


# ---------------------------------------------------------------- damage and malice

SCALE = notes_track(four())


@pytest.mark.parametrize("conductor", [
    track((0, 0xFF, 0x51, 3, 0, 0, 0)),
    track(*[(1, 0xFF, 0x51, 3, 7, k >> 8 & 0xFF, k & 0xFF) for k in range(25_000)]),
    track((0, 0xFF, 0x51, 3, 0, 0, 1)), track((4800, 0xFF, 0x51, 3, 0, 0, 1)),
    track((0, 0xFF, 0x58, 4, 0, 2, 24, 8)), track((0, 0xFF, 0x58, 4, 4, 255, 24, 8)),
    track((0, 0xFF, 0x58, 4, 255, 0, 24, 8)), track((0, 0xFF, 0x58, 4, 1, 5, 24, 8)),
    track(*[(7, 0xFF, 0x58, 4, 1 + k % 200, k % 9, 24, 8) for k in range(3_000)]),
    track((0, 0xFF, 0x59, 2, 99, 7)), track((0, 0xFF, 0x58, 1, 4), (0, 0xFF, 0x59, 0)),
], ids=["no time", "tempi without end", "a quarter a microsecond", "... later on", "no beats", "beats of nothing",
        "beats of an hour", "a 32nd a measure", "metres without end", "99 sharps", "cut short"])
def test_absurd_metres_do_no_harm(read, conductor):
    performance = read(midi(conductor, SCALE))
    grid, score = notate(performance, Settings(), Runner())
    assert {n.id for n in score.notes} == {n.id for n in performance.notes}
    assert grid.times_s[0] <= performance.onsets_s[0] + 0.05 and grid.times_s[-1] >= performance.onsets_s[-1]


def test_a_file_of_hours_at_a_mad_tempo_is_read_or_refused(read):
    far = notes_track([(0, 10, 60, 64), (10_000_000, 10, 64, 64), (200_000_000, 10, 67, 64)])
    try:
        performance = read(midi(track((0, 0xFF, 0x51, 3, 0, 0, 9)), far, division=24))
    except InputError:
        return
    assert not found(performance).stated


def as_json(performance):
    settings = Settings()
    grid, score = notate(performance, settings, Runner())
    source = scores.transcription(TIMES).source
    return json.loads(json.dumps(to_json(Transcription(source, settings.as_dict(), performance, grid, score))))


@pytest.mark.parametrize("damage", [
    {"division": 2**70}, {"times_s": [30.0, 31.0]}, {"ql": [0.0, float("nan")]}, {"ql": [1e308, -1e308]},
    {"time_signatures": [{"measure": k, "ql": ql, "numerator": 3, "denominator": 4} for k, ql in ((9, 50), (1, 0))]},
    {"time_signatures": [{"measure": 1, "ql": k / 480, "numerator": 7, "denominator": 8} for k in range(100)]},
], ids=["clock", "begin", "no number", "backwards", "order", "places"])
def test_a_saved_song_whose_metre_was_damaged_is_refused(written, damage):
    data = as_json(written)
    data["performance"]["stated"] |= damage
    with pytest.raises(InputError):
        from_json(data)


def test_what_the_file_states_is_saved_with_the_song(written):
    settings = Settings()
    grid, score = notate(written, settings, Runner())
    saved = from_json(as_json(written))
    assert saved.performance.stated == written.stated and saved.grid.stated and saved.grid.keys == grid.keys
    assert notate(saved.performance, settings, Runner())[1] == score
    assert written.stated.keys == (KeySignature(1, Fraction(0), 0, "major"),)
