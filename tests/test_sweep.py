"""Sweeps: every combination on every piece, what fails counts as nothing, the stages before are run once."""

import csv

import pytest
from media import midi, notes_track, scale

from rescored import RescoredError
from rescored.cli import main
from rescored.sweep import means, subjects, sweep, values_of


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("RESCORED_STORE", str(tmp_path / "store"))


def write_piece(folder, performance, beats_s):
    folder.mkdir(parents=True)
    (folder / "performance.mid").write_bytes(performance)
    beats = "".join(f"{time_s},1,{k % 4 + 1}\n" for k, time_s in enumerate(beats_s))
    (folder / "beats.csv").write_text("time_s,bar,beat\n" + beats)
    return folder


@pytest.fixture
def data(tmp_path):
    """A scale in quarters of half a second, and a MIDI file without notes."""
    write_piece(tmp_path / "data" / "scale", scale(), [k / 2 for k in range(32)])
    write_piece(tmp_path / "data" / "silent", midi(notes_track([])), [0.0, 0.5, 1.0])
    (tmp_path / "data" / "no piece").mkdir()
    return tmp_path / "data"


@pytest.mark.parametrize(("text", "values"), [
    ("0.3:0.7:0.2", [0.3, 0.5, 0.7]), ("0.3:0.65:0.2", [0.3, 0.5]), ("0.4", [0.4]), ("0.4,0.2", [0.4, 0.2]),
])
def test_values_are_a_range_or_a_list(text, values):
    assert values_of("notes.onset_threshold", text) == values


@pytest.mark.parametrize(("name", "text"), [
    ("notes.lowest", "3:7:0"), ("notes.onset_threshold", "0.7:0.3:0.1"), ("notes.onset_threshold", "a:b:c"),
    ("notes.onset_threshold", "nan:1:0.1"), ("notes.onset_threshold", "0.5:2:0.5"),
    ("notes.onset_treshold", "0.5"), ("metre.time_signature", "5/17"),
])
def test_what_cannot_be_tried_is_refused(name, text):
    with pytest.raises(RescoredError):
        values_of(name, text)


def test_a_range_of_whole_numbers_stays_whole():
    assert values_of("notes.lowest", "20:24:2") == [20, 22, 24]
    assert all(isinstance(value, int) for value in values_of("notes.lowest", "20:24:2"))


def test_every_combination_is_tried_on_every_piece(data):
    axes = {"metre.tempo_factor": ["1", "2"], "quantise.finest": [8, 16]}
    told = []
    rows = sweep(subjects(data), axes, jobs=1, report=lambda done, of: told.append((done, of)))
    assert told == [(k, 8) for k in range(1, 9)]
    assert [(row["metre.tempo_factor"], row["quantise.finest"], row["piece"]) for row in rows] == [
        (factor, finest, piece) for factor in ("1", "2") for finest in (8, 16) for piece in ("scale", "silent")]
    failed = [row for row in rows if row["piece"] == "silent"]
    assert all(row["problem"] and row["beat_f1"] == 0 for row in failed)
    by_factor = {row["metre.tempo_factor"]: row for row in rows if row["piece"] == "scale"}
    assert not by_factor["1"]["problem"]
    assert by_factor["1"]["beat_f1"] != by_factor["2"]["beat_f1"]  # twice the beats cannot be as right
    table = means(rows, list(axes))
    assert len(table) == 4 and table[0]["beat_f1"] == pytest.approx(by_factor["1"]["beat_f1"] / 2)


@pytest.mark.slow
def test_the_command_line_writes_a_table_and_a_plot(data, tmp_path, capsys):
    command = ["sweep", "--set", "metre.tempo_factor=1,2", "--out", str(tmp_path / "out"), "--jobs", "2", str(data)]
    assert main(command) == 2  # one piece failed, and is named
    printed = capsys.readouterr()
    assert printed.out.startswith("metre.tempo_factor\t") and printed.err.startswith("silent: ")
    with (tmp_path / "out" / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["piece"], row["metre.tempo_factor"]) for row in rows] == [
        ("scale", "1"), ("silent", "1"), ("scale", "2"), ("silent", "2")]
    assert (tmp_path / "out" / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_without_pieces_is_refused(tmp_path, capsys):
    assert main(["sweep", "--set", "quantise.finest=8", str(tmp_path)]) == 2
    assert "no pieces" in capsys.readouterr().err
