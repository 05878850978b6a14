"""The metrics: agreement with published examples, values computed by hand, and what must hold for any music."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pretty_midi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescored import examples
from rescored.cli import main
from rescored.errors import InputError
from rescored.evaluate import FIGURES, Piece, compare, evaluate, pieces, read, table
from rescored.evaluate.mv2h import Music, Note, mv2h
from rescored.evaluate.reading import Beats, Played, played
from rescored.evaluate.separation import sdr_db, sdrs_db
from rescored.examples import EXAMPLES
from rescored.music import Audio

# ---------------------------------------------------------------- MV2H


def music(notes, *, beat_ms=1000, fifths=1, chords=((0, "G"), (6000, "C"), (9000, "G"))):
    """Four measures of three seconds; notes are (pitch, voice, start, end) in half seconds."""
    groupings = [(start, start + length) for length in (3000, beat_ms, 500) for start in range(0, 12000, length)]
    return Music([Note(pitch, 500 * start, 500 * start, 500 * end, voice) for pitch, voice, start, end in notes],
                 groupings, [(0, 7 * fifths % 12, True)], chords)


def line(voice, text):
    """Notes from "pitch:start-end ..."."""
    pairs = [word.split(":") for word in text.split()]
    return [(int(pitch), voice, *map(int, span.split("-"))) for pitch, span in pairs]


TUNE = "74:0-2 67:2-3 69:3-4 71:4-5 72:5-6 74:6-8 67:8-10 67:10-12 76:12-14 72:14-15 74:15-16 76:16-17 77:17-18 "
TRUTH = music(line(0, "55:0-4 57:4-6 59:6-12 60:12-18 59:18-24") + line(1, "59:0-4") + line(2, "62:0-4")
              + line(3, TUNE + "79:18-20 67:20-22 67:22-24"))
FIRST = music(line(0, "55:0-4 57:4-6 59:6-9 60:12-15 59:18-24 67:10-12") + line(1, "59:0-4") + line(2, "62:0-4")
              + line(3, "74:0-3 69:3-4 71:4-5 72:5-6 74:6-8 67:8-12 76:12-15 74:15-16 76:16-17 77:17-18 79:18-20")
              + line(3, "67:20-24"), beat_ms=1500)
SECOND = music(line(0, "64:4-6 59:6-12 60:12-18 47:18-24") + line(1, "59:0-4")
               + line(3, TUNE.replace("67:2-3", "79:2-3") + "71:18-20 67:20-22 67:22-24"),
               fifths=2, chords=((0, "D"), (3000, "G")))


@pytest.mark.parametrize(("estimate", "published"), [
    (FIRST, (0.9302325581395349, 0.8125, 0.7368421052631577, 0.9642857142857143, 1.0, 0.8887720755376813)),
    (SECOND, (0.7727272727272727, 1.0, 1.0, 1.0, 0.5, 0.8545454545454545)),
])
def test_mv2h_agrees_with_the_examples_in_its_authors_readme(estimate, published):
    assert tuple(mv2h(estimate, TRUTH).values()) == pytest.approx(published, abs=5e-4)


def test_mv2h_by_hand():
    # Two voices of two notes; the estimate swaps the upper voice's second note with the lower's.
    notes = [Note(72, 0, 0, 500, 0), Note(74, 500, 500, 1000, 0), Note(60, 0, 0, 500, 1), Note(62, 500, 500, 1000, 1)]
    truth = Music(notes, [(0, 1000), (0, 500), (500, 1000)], [(0, 0, True)])
    swapped = replace(truth, notes=[replace(n, voice=1 - n.voice) if n.onset_ms else n for n in truth.notes])
    scores = mv2h(swapped, truth)
    assert scores["multi_pitch"] == 1 and scores["voice"] == 0  # no link is right
    assert scores["value"] == 1  # only the notes that rightly end their voice are asked
    relative = mv2h(replace(truth, keys=[(0, 9, False)], groupings=[(0, 1000)]), truth)
    assert relative["harmony"] == pytest.approx(0.3)
    assert relative["metre"] == pytest.approx(2 * 1 / (1 + 3))


@st.composite
def random_music(draw):
    pitches = st.tuples(st.integers(48, 72), st.integers(0, 2), st.integers(0, 30), st.integers(1, 6))
    notes = draw(st.lists(pitches, min_size=1, max_size=25, unique_by=lambda n: (n[0], n[2])))
    return music([(pitch, voice, start, start + length) for pitch, voice, start, length in notes])


@given(random_music(), random_music())
def test_mv2h_of_any_music(one, other):
    assert all(0 <= value <= 1 for value in mv2h(one, other).values())
    own = mv2h(one, one)
    assert own["multi_pitch"] == own["metre"] == own["harmony"] == own["value"] == 1
    links = any(a.voice == b.voice and b.start_ms >= a.end_ms for a in one.notes for b in one.notes)
    assert own["voice"] == (1 if links else 0)
    assert mv2h(one, other)["multi_pitch"] == pytest.approx(mv2h(other, one)["multi_pitch"])
    higher = replace(one, notes=[replace(n, pitch=n.pitch + 40) for n in one.notes])
    assert mv2h(higher, one)["multi_pitch"] == 0


# ---------------------------------------------------------------- notes and beats


def heard(*rows):
    return Piece(played=played(np.array(rows, dtype=float)))


def test_a_note_counts_within_50_ms_and_its_end_within_a_fifth_of_its_length():
    truth = heard((1, 2, 60), (2, 3, 62), (3, 4, 64), (4, 5, 65))
    figures = compare(heard((1.04, 2, 60), (2, 2.5, 62), (3.06, 4, 64), (4, 5, 66), (5, 6, 67)), truth)
    assert figures["onset_f1"] == pytest.approx(2 * 2 / (4 + 5))  # 60 and 62
    assert figures["offset_f1"] == pytest.approx(2 * 1 / (4 + 5))  # 62 ends too early


def test_a_constant_lag_is_taken_away():
    truth = heard(*((t, t + 0.5, 60 + t) for t in range(1, 8)))
    late = heard(*((t + 0.08, t + 0.58, 60 + t) for t in range(1, 8)))
    figures = compare(late, truth)
    assert figures["onset_f1"] == 0
    assert figures["onset_f1_lag"] == figures["offset_f1_lag"] == 1


def test_beats_at_half_the_tempo_score_two_thirds():
    beats = np.arange(0.0, 20.0, 0.5)
    truth = Piece(beats=Beats(beats, beats[::4]))
    figures = compare(Piece(beats=Beats(beats[::2], beats[::8])), truth)
    assert figures == pytest.approx({"beat_f1": 2 / 3, "downbeat_f1": 2 / 3})
    assert compare(Piece(beats=Beats(beats + 0.1, beats)), truth)["beat_f1"] == 0


# ---------------------------------------------------------------- scores


def note(pitch, duration, *, staff=1, voice=1, alter=0, more=""):
    """A MusicXML note, duration in 12ths of a quarter; pitch "" is a rest, "+G4" joins the chord before."""
    name = pitch.lstrip("+")
    sounding = "<rest/>" if not name else (
        f"<pitch><step>{name[0]}</step><alter>{alter}</alter><octave>{name[1]}</octave></pitch>")
    ties = "".join(f'<tie type="{kind}"/>' for kind in ("stop", "start") if kind in more)
    signs = ("<dot/>" if "dot" in more else "") + (
        "<time-modification><actual-notes>3</actual-notes><normal-notes>2</normal-notes></time-modification>"
        if "triplet" in more else "")
    return (f"<note>{'<chord/>' if pitch[:1] == '+' else ''}{sounding}<duration>{duration}</duration>{ties}"
            f"<voice>{voice}</voice>{signs}<staff>{staff}</staff></note>")


def left(*notes):
    return "<backup><duration>36</duration></backup>" + "".join(notes)


HEAD = ("<attributes><divisions>12</divisions><key><fifths>1</fifths></key><time><beats>3</beats>"
        "<beat-type>4</beat-type></time><staves>2</staves></attributes>")
MEASURES = [
    note("D5", 12) + note("G4", 6) + note("A4", 6) + note("B4", 6) + note("C5", 6)
    + left(note("G3", 36, staff=2, voice=5), note("+B3", 36, staff=2, voice=5)),
    note("F4", 18, alter=1, more="dot") + note("G4", 6) + note("A4", 12, more="start")
    + left(note("D3", 24, staff=2, voice=5), note("", 12, staff=2, voice=5)),
    note("A4", 12, more="stop") + note("G4", 8, alter=1, more="triplet") + note("A4", 8, more="triplet")
    + note("B4", 8, more="triplet") + left(note("C4", 36, staff=2, voice=5)),
    note("E5", 24) + note("F5", 12, alter=1) + left(note("C4", 24, staff=2, voice=5), note("A3", 12, staff=2, voice=5)),
    note("G5", 36) + left(*(note(pitch, 12, staff=2, voice=5) for pitch in ("G3", "B2", "G2"))),
]


def write_musicxml(path, measures=MEASURES):
    """A piano score of these measures."""
    bars = "".join(
        f'<measure number="{i + 1}">{HEAD if i == 0 else ""}{bar}</measure>' for i, bar in enumerate(measures))
    path.write_text('<score-partwise version="4.0"><part-list><score-part id="P1"><part-name>Piano</part-name>'
                    f'</score-part></part-list><part id="P1">{bars}</part></score-partwise>')
    return path


def write_json(path):
    notes = [
        {"part": "piano", "onset_s": i / 2, "offset_s": i / 2 + 0.4, "pitch": 60 + 2 * i, "velocity": 64, "onset_ql": i,
         "duration_ql": 1, "staff": 1 + i % 2, "voice": 1, "step": "CDEFGAB"[i % 7], "alter": 0, "octave": 4}
        for i in range(12)]
    beats = [{"time_s": i / 2, "ql": i, "measure": i // 3 + 1, "beat": i % 3 + 1} for i in range(12)]
    path.write_text(json.dumps({
        "notes": notes, "beats": beats, "keys": [{"measure": 1, "ql": 0, "fifths": 0, "mode": "major"}],
        "time_signatures": [{"measure": 1, "ql": 0, "numerator": 3, "denominator": 4}],
        "chords": [{"ql": 0, "symbol": "C"}, {"ql": 3, "symbol": "G7/B"}, {"ql": 6, "symbol": "Am"}]}))
    return path


def write_midi(path):
    midi = pretty_midi.PrettyMIDI(initial_tempo=120)
    midi.time_signature_changes.append(pretty_midi.TimeSignature(3, 4, 0.0))
    midi.key_signature_changes.append(pretty_midi.KeySignature(16, 0.0))  # E minor
    for program, lowest in ((0, 60), (32, 36)):
        track = pretty_midi.Instrument(program)
        track.notes = [pretty_midi.Note(80, lowest + i, i / 2, i / 2 + 0.5) for i in range(9)]
        midi.instruments.append(track)
    midi.write(str(path))
    return path


def test_chords_count_for_as_long_as_they_are_right(tmp_path):
    path = write_json(tmp_path / "a.json")
    content = json.loads(path.read_text())
    content["chords"] = [{"ql": 0, "symbol": "C"}, {"ql": 3, "symbol": "G"}, {"ql": 6, "symbol": "Abm"}]
    (tmp_path / "b.json").write_text(json.dumps(content))
    figures = evaluate(tmp_path / "b.json", path)
    assert figures["chords"] == pytest.approx(6 / 11)  # a seventh counts as its triad; eleven beats in all
    assert figures["chords_sevenths"] == pytest.approx(3 / 11)
    del content["chords"]
    (tmp_path / "b.json").write_text(json.dumps(content))
    assert "chords" not in evaluate(tmp_path / "b.json", path)


def test_a_score_against_itself_is_perfect_in_every_figure(tmp_path):
    for name, write in (("a.musicxml", write_musicxml), ("a.json", write_json), ("a.mid", write_midi)):
        path = write(tmp_path / name)
        figures = evaluate(path, path)
        assert set(figures.values()) == {1.0}, (name, figures)
    together = evaluate([tmp_path / "a.musicxml", tmp_path / "a.json"], [tmp_path / "a.musicxml", tmp_path / "a.json"])
    assert set(together) == set(FIGURES) and set(together.values()) == {1.0}


def test_musicxml_is_read_as_printed(tmp_path):
    written = read(write_musicxml(tmp_path / "a.musicxml")).written
    assert len(written.notes) == 23  # the tied A is one
    tied = next(n for n in written.notes if n.pitch == 69 and n.onset_ql == 5)
    assert tied.duration_ql == 2
    assert written.measures.measures == ((0, 3), (3, 3), (6, 3), (9, 3), (12, 3))
    assert (written.time_signature, written.key) == ((3, 4), 1)
    assert written.printed.signs == {"ties": 1, "rests": 1, "dots": 1, "tuplets": 3, "accidentals": 1}  # G sharp only
    assert {n.staff for n in written.notes} == {1, 2} and written.printed.voices == 1


def test_midi_is_read_as_played_and_as_written(tmp_path):
    piece = read(write_midi(tmp_path / "a.mid"))
    assert (piece.written.time_signature, piece.written.key) == ((3, 4), 1)
    assert [n.onset_ql for n in piece.written.notes[:4]] == [0, 0, 1, 1]
    assert piece.played.intervals_s[2].tolist() == pytest.approx([0.5, 1.0])
    assert piece.beats.downbeats_s[:3].tolist() == pytest.approx([0, 1.5, 3])


def test_shuffled_measures_lower_it(tmp_path):
    truth = write_musicxml(tmp_path / "truth.musicxml")
    shuffled = evaluate(write_musicxml(tmp_path / "shuffled.musicxml", [MEASURES[i] for i in (3, 0, 4, 1, 2)]), truth)
    for name in ("mv2h", "mv2h_multi_pitch", "matched", "ioi"):
        assert shuffled[name] < 1, name


@pytest.mark.parametrize(("old", "new", "lowered"), [
    ("<fifths>1</fifths>", "<fifths>2</fifths>", {"key": 0, "mv2h_harmony": 0.5, "accidentals": (4 + 1) / (1 + 1)}),
    ("<beats>3</beats><beat-type>4<", "<beats>6</beats><beat-type>8<", {"time_signature": 0, "mv2h_metre": 70 / 95}),
    ("<step>G</step><alter>1</alter>", "<step>A</step><alter>-1</alter>", {"spelling": 22 / 23}),
    ("<staff>2</staff>", "<staff>1</staff>", {"staff": 14 / 23}),
])
def test_one_mistake_shows_in_its_own_figure(tmp_path, old, new, lowered):
    truth = write_musicxml(tmp_path / "truth.musicxml")
    path = tmp_path / "wrong.musicxml"
    path.write_text(truth.read_text().replace(old, new))
    figures = evaluate(path, truth)
    for name, value in lowered.items():
        assert figures[name] == pytest.approx(value), name
    for name in {"ioi", "duration", "matched", "key", "time_signature", "spelling", "staff"} - set(lowered):
        assert figures[name] == 1, name


def test_other_note_values_throughout_are_one_mistake(tmp_path):
    truth = write_musicxml(tmp_path / "truth.musicxml")
    doubled = tmp_path / "doubled.musicxml"
    doubled.write_text(truth.read_text().replace("<divisions>12<", "<divisions>6<").replace("<beats>3<", "<beats>6<"))
    figures = evaluate(doubled, truth)
    assert figures["ioi"] == figures["duration"] == figures["measures"] == figures["mv2h_multi_pitch"] == 1
    assert figures["time_signature"] == 0


def test_a_pickup_counts_its_beats_but_is_no_bar(tmp_path):
    pickup = note("D5", 12) + "<forward><duration>0</duration></forward>"
    truth = write_musicxml(tmp_path / "truth.musicxml", [pickup, *MEASURES])
    assert evaluate(truth, truth)["mv2h_metre"] == 1
    late = write_musicxml(tmp_path / "late.musicxml", [note("", 24) + note("D5", 12), *MEASURES])
    beats, bars = 2 * 1 + 1 * 1 + 5 * (1 + 3 + 6), 5 * 10 + 10  # the rest adds two beats, four halves and a bar
    assert evaluate(late, truth)["mv2h_metre"] == pytest.approx(2 * beats / (beats + bars), abs=0.02)


def test_clutter_is_signs_a_note_against_the_references(tmp_path):
    truth = write_musicxml(tmp_path / "truth.musicxml")
    tied = MEASURES[0].replace(note("D5", 12), note("D5", 6, more="start") + note("D5", 6, more="stop"))
    figures = evaluate(write_musicxml(tmp_path / "tied.musicxml", [tied, *MEASURES[1:]]), truth)
    assert figures["clutter"] == pytest.approx(8 / 7)
    assert figures["ties"] == pytest.approx((2 + 1) / (1 + 1))
    assert figures["rests"] == 1 and figures["duration"] == 1


# ---------------------------------------------------------------- what can be compared


def test_only_what_both_files_can_say_is_compared(tmp_path):
    musicxml, midi = write_musicxml(tmp_path / "a.musicxml"), write_midi(tmp_path / "a.mid")
    figures = evaluate(midi, musicxml)
    assert "ioi" in figures and not {"onset_f1", "beat_f1", "spelling", "clutter"} & set(figures)
    assert "onset_f1" in evaluate(midi, write_json(tmp_path / "a.json"))


def test_what_failed_counts_as_nothing(tmp_path):
    truth = read([write_musicxml(tmp_path / "a.musicxml"), write_json(tmp_path / "a.json")])
    figures = compare(Piece(), truth)
    assert set(figures) == set(FIGURES) and set(figures.values()) == {0.0}
    silent = replace(truth, played=Played(np.zeros((0, 2)), np.zeros(0)), beats=Beats(np.zeros(0), np.zeros(0)))
    assert compare(silent, truth)["onset_f1"] == compare(silent, truth)["beat_f1"] == 0


@pytest.mark.parametrize(("name", "content"), [
    ("a.musicxml", b"<score-part"), ("a.musicxml", b"<html/>"), ("a.mid", b"MThd"), ("a.mxl", b"PK\x03\x04broken"),
    ("a.json", b"[]"), ("a.json", b"{}"), ("a.txt", b"hello"),
])
def test_a_file_that_cannot_be_compared_is_refused_in_words(tmp_path: Path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        evaluate(tmp_path / name, tmp_path / name)
    for missing in (tmp_path / "missing.json", tmp_path / "missing"):
        with pytest.raises(InputError, match="no file"):
            evaluate(missing, missing)


def test_the_table_says_what_every_figure_means(tmp_path):
    path = write_musicxml(tmp_path / "a.musicxml")
    shown = table(evaluate(path, path)).splitlines()
    assert len(shown) == len(evaluate(path, path))
    assert any(line.startswith("mv2h ") and "1.000" in line and "McLeod" in line for line in shown)


def test_the_command_line_prints_the_table(tmp_path, capsys):
    path = str(write_musicxml(tmp_path / "a.musicxml"))
    assert main(["evaluate", path, path]) == 0
    assert "spelling" in capsys.readouterr().out
    assert main(["evaluate", str(tmp_path / "missing.mid"), path]) == 2
    assert "missing.mid" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["csv", "html"])
def test_the_table_as_csv_and_as_html_has_the_same_figures(tmp_path, capsys, form):
    path = str(write_musicxml(tmp_path / "a.musicxml"))
    assert main(["evaluate", path, path, "--format", form]) == 0
    printed = capsys.readouterr().out
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(printed)))
    else:
        cells = [[cell.text for cell in row] for row in ElementTree.fromstring(printed)]
        rows = [dict(zip(cells[0], row, strict=True)) for row in cells[1:]]
    assert {row["figure"]: float(row["value"]) for row in rows} == evaluate(path, path)


# ---------------------------------------------------------------- stems


def test_sdr_by_hand():
    rng = np.random.default_rng(0)
    stem = rng.normal(size=(2, 30_000)).astype(np.float32)
    stem[:, 10_000:20_000] = 0  # a second of silence does not count
    truth = Audio(stem, 10_000)
    assert sdr_db(Audio(1.1 * stem, 10_000), truth) == pytest.approx(20, abs=1e-4)  # an error of a tenth
    assert sdr_db(Audio(0 * stem + 1, 10_000), Audio(np.full_like(stem, 2), 10_000)) == pytest.approx(10 * np.log10(4))
    assert sdr_db(truth, truth) == np.inf
    # Of three windows with errors of a tenth, a half and all of the stem, the one in the middle is told.
    steps = np.repeat([1.1, 1.5, 2.0], 10_000).astype(np.float32)
    loud = Audio(np.ones((1, 30_000), np.float32), 10_000)
    assert sdr_db(Audio(steps[None], 10_000), loud) == pytest.approx(20 * np.log10(2), abs=1e-4)
    assert np.isnan(sdr_db(truth, Audio(0 * stem, 10_000)))
    with pytest.raises(ValueError, match="rate"):
        sdr_db(truth, loud)
    assert set(sdrs_db({"bass": truth, "drums": truth}, {"bass": truth, "vocals": truth})) == {"bass"}


# ---------------------------------------------------------------- what is known from elsewhere


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_against_itself_is_perfect(name):
    piece = pieces.of_example(name)
    figures = evaluate(piece, piece)
    assert set(figures.values()) == {1.0} and {"onset_f1", "downbeat_f1", "mv2h", "spelling"} <= set(figures)
    played = evaluate(pieces.of_performance(examples.performance(name)), piece)
    assert played == dict.fromkeys(("onset_f1", "offset_f1", "onset_f1_lag", "offset_f1_lag"), 1.0)


def test_an_examples_beats_are_where_its_notes_are_struck():
    piece = pieces.of_example("minuet")
    assert len(piece.beats.beats_s) == 3 * 32 and len(piece.beats.downbeats_s) == 32
    onsets = piece.played.intervals_s[:, 0]
    assert all(np.abs(onsets - beat).min() < 0.05 for beat in piece.beats.downbeats_s)


def test_a_folder_of_references_is_read_by_the_names_of_its_files(tmp_path):
    folder = tmp_path / "piece"
    folder.mkdir()
    assert pieces.of_folder(folder) == Piece()
    write_musicxml(folder / "score.musicxml")
    (folder / "notes.csv").write_text("onset_s,offset_s,pitch,velocity\n1,2,60,64\n0,1,62,64\n")
    (folder / "beats.csv").write_text("time_s,bar,beat\n0,1,1\n0.5,1,2\n1.0,2,1\n")
    piece = pieces.of_folder(folder)
    assert piece.written.key == 1 and piece.played.pitches.tolist() == [62, 60]
    assert piece.beats.downbeats_s.tolist() == [0, 1]
    (tmp_path / "index.json").write_text('{"key": false}')
    assert pieces.of_folder(folder).written.key is None
    (folder / "notes.csv").write_text("onset_s,offset_s,pitch\none,2,60\n")
    with pytest.raises(InputError, match=r"notes\.csv"):
        pieces.of_folder(folder)
