"""The pieces that ship: complete, the same every time, and transcribed to what was written down."""

import re
from fractions import Fraction

import numpy as np
import pretty_midi
import pytest
import soundfile

from rescored import PRESETS, Settings, examples
from rescored.codec import fingerprint
from rescored.examples import EXAMPLES

NAMES = sorted(EXAMPLES)
RANGES = {"piano": (21, 108), "flute": (60, 96), "violin": (55, 103), "bass": (28, 67), "drums": (35, 81)}


@pytest.mark.parametrize("name", NAMES)
def test_every_part_plays_within_its_range_to_the_end(name):
    example, notes = EXAMPLES[name], examples.score_notes(name)
    assert example.preset in PRESETS
    assert {n.part for n in notes} == {part.id for part in example.parts}
    for part in example.parts:
        mine = [n for n in notes if n.part == part.id]
        low, high = RANGES[part.id]
        assert all(low <= n.pitch <= high for n in mine), part
        assert {n.staff for n in mine} == set(range(1, part.staves + 1))
    end = max(n.onset_ql + n.duration_ql for n in notes)
    assert end % example.measure_ql == 0 and min(n.onset_ql for n in notes) == -example.pickup_ql


@pytest.mark.parametrize("name", NAMES)
def test_names_fit_pitches_and_mostly_the_key(name):
    scale = {(7 * (EXAMPLES[name].fifths + k)) % 12 for k in range(-1, 6)}
    pitched = [n for n in examples.score_notes(name) if n.part != "drums"]
    natural = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
    assert all(n.pitch == 12 * (n.octave + 1) + natural[n.step] + n.alter for n in pitched)
    assert np.mean([n.pitch % 12 in scale for n in pitched]) > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_the_performance_is_the_score_played_expressively(name):
    played, written = examples.performance(name), {n.id: n for n in examples.score_notes(name)}
    assert {n.id: n.pitch for n in played.notes} == {i: n.pitch for i, n in written.items()}
    seconds = np.array([n.onset_s for n in played.notes])
    quarters = np.array([float(written[n.id].onset_ql) for n in played.notes])
    straight = np.polynomial.Polynomial.fit(quarters, seconds, 1)
    assert 0.01 < np.abs(seconds - straight(quarters)).mean() < 1  # tempo lives, but keeps to its measure
    assert len({n.velocity for n in played.notes}) > 10


@pytest.mark.parametrize("name", NAMES)
def test_the_sound_is_made_once_and_always_the_same(name, tmp_path):
    file = examples.path(name, tmp_path / "one")
    assert file.stem == EXAMPLES[name].title
    written_at = file.stat().st_mtime_ns
    assert examples.path(name, tmp_path / "one") == file and file.stat().st_mtime_ns == written_at
    examples._made.cache_clear()
    assert examples.path(name, tmp_path / "two").read_bytes() == file.read_bytes()
    assert list(file.parent.iterdir()) == [file]  # nothing left aside

    samples, rate_hz = soundfile.read(file)
    stated_s = int(re.search(r"(\d+) seconds", EXAMPLES[name].description)[1])
    assert len(samples) / rate_hz == pytest.approx(stated_s, rel=0.1)
    assert 0.1 < np.abs(samples).max() <= 1
    second_by_second = np.abs(samples[: len(samples) // rate_hz * rate_hz]).reshape(-1, rate_hz * 2).max(axis=1)
    assert (second_by_second[:-2] > 0.01).all()  # it plays throughout


def test_changed_music_gets_a_new_file(tmp_path, monkeypatch):
    before = examples.path("ode", tmp_path)
    played = examples.performance("ode")
    changed = type(played)(played.notes[:-1], played.parts)
    monkeypatch.setattr(examples, "performance", lambda name: changed)
    assert examples.path("ode", tmp_path) != before
    assert fingerprint(changed) != fingerprint(played)


def test_a_slip_in_the_text_is_found():
    with pytest.raises(ValueError, match="does not fill"):
        list(examples._read("F4q G4q A4q", EXAMPLES["ode"]))
    with pytest.raises(ValueError, match="H4q"):
        list(examples._read("H4q", EXAMPLES["ode"]))
    with pytest.raises(KeyError):
        examples.score_notes("no such piece")


@pytest.mark.slow
def test_the_minuet_as_midi_comes_back_as_it_was_written(tmp_path):
    from rescored.pipeline import transcribe

    example, played = EXAMPLES["minuet"], examples.performance("minuet")
    midi = pretty_midi.PrettyMIDI(resolution=960)
    midi.instruments = [pretty_midi.Instrument(0)]
    midi.instruments[0].notes = [pretty_midi.Note(n.velocity, n.pitch, n.onset_s, n.offset_s) for n in played.notes]
    midi.write(str(tmp_path / "minuet.mid"))
    score = transcribe(tmp_path / "minuet.mid", Settings.preset(example.preset)).score

    assert [(t.numerator, t.denominator) for t in score.time_signatures] == [(3, 4)]
    assert [k.fifths for k in score.keys] == [example.fifths]
    assert len(score.measures) == 32
    found = {(n.pitch, n.onset_ql): n for n in score.notes}
    truth = examples.score_notes("minuet")
    placed = [(n, found[n.pitch, n.onset_ql]) for n in truth if (n.pitch, n.onset_ql) in found]
    assert len(placed) >= 0.9 * len(truth)
    assert np.mean([mine.duration_ql == true.duration_ql for true, mine in placed]) >= 0.8
    assert np.mean([mine.staff == true.staff for true, mine in placed]) >= 0.9
    assert all((mine.step, mine.alter) == (true.step, true.alter) for true, mine in placed)
    assert all(isinstance(n.onset_ql, Fraction) for n in score.notes)
