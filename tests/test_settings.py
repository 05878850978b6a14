"""The settings tree: every value that gets in is in range; every mistake is named."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescored.errors import SettingsError
from rescored.settings import PRESETS, Settings


def test_every_setting_says_what_it_means_and_its_default_is_in_range():
    for name, value, item in Settings().leaves():
        meta = item.metadata
        assert len(meta["help"]) > 10, name
        if meta["of"] is not None:
            assert value in meta["of"], name
        elif not isinstance(value, bool | str):
            assert meta["lo"] <= value <= meta["hi"], name


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_made_of_existing_settings(name):
    assert Settings.preset(name).as_dict() | PRESETS[name] == Settings.preset(name).as_dict()


def test_text_from_a_command_line_becomes_the_right_type():
    changed = Settings().changed({"quantise.finest": "8", "voices.staccato": "no", "metre.beat_one_s": "1.5"})
    assert (changed.quantise.finest, changed.voices.staccato, changed.metre.beat_one_s) == (8, False, 1.5)


@pytest.mark.parametrize(("name", "value", "says"), [
    ("quantise.finest", 7, "one of 4, 8, 16, 32"),
    ("notes.onset_threshold", 2, "0.05 to 0.95"),
    ("notes.onset_threshold", "loud", "0.05 to 0.95"),
    ("notes.onset_threshold", float("nan"), "0.05 to 0.95"),
    ("notes.onset_treshold", 0.5, "Did you mean notes.onset_threshold"),
    ("voices.staccato", "maybe", "true or false"),
    ("quantise.finest", True, "one of"),
])
def test_a_wrong_setting_is_refused_and_the_message_helps(name, value, says):
    with pytest.raises(SettingsError, match=says):
        Settings().changed({name: value})


def test_a_preset_travels_as_a_json_file(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"metre.time_signature": "6/8"}))
    assert Settings.preset(str(file)).metre.time_signature == "6/8"
    file.write_text("[1, 2]")
    with pytest.raises(SettingsError, match="no preset"):
        Settings.preset(str(file))
    with pytest.raises(SettingsError, match="solo-piano"):
        Settings.preset("violni")


def test_tuned_settings_are_saved_as_a_preset(tmp_path):
    tuned = Settings.preset("melody").changed({"notes.onset_threshold": 0.45, "voices.staccato": False})
    file = tuned.save(tmp_path / "mine.json")
    assert Settings.preset(str(file)) == tuned
    assert json.loads(file.read_text()) == {"notes.instruments": "melody", "notes.min_length_ms": 80.0,
                                            "notes.onset_threshold": 0.45, "voices.staccato": False}


def test_text_loses_what_no_file_can_hold_and_nothing_else():
    title = Settings().changed({"score.title": "\x00Für\x0b \udc80Élise\uffff 🎹 م\u200cن"}).score.title
    assert title == "Für Élise 🎹 م\u200cن"


LEAVES = [(name, item) for name, _, item in Settings().leaves()]


@given(st.sampled_from(LEAVES), st.one_of(st.floats(), st.integers(), st.text(max_size=9)))
def test_a_value_is_taken_as_it_is_or_refused_with_a_remedy(leaf, value):
    name, item = leaf
    try:
        taken = Settings().changed({name: value}).as_dict()[name]
    except SettingsError as error:
        assert error.remedy
    else:
        assert type(taken) is type(item.default)
        if item.metadata["of"] is not None:
            assert taken in item.metadata["of"]


def test_what_is_said_of_one_recording_does_not_hold_for_the_next():
    tuning = pytest.importorskip("rescored.ui.tuning")
    free = Settings().as_dict()
    chosen = {**free, "metre.time_signature": "2/2", "metre.tempo_bpm": 73.0, "metre.beat_one_s": 4.5}
    assert tuning.for_another(chosen, chosen) == free
    assert tuning.for_another(chosen, free) == chosen  # said for the new one
    waltzes = {**free, "metre.time_signature": "3/4", "quantise.finest": 16}
    assert tuning.for_another(waltzes, waltzes) == waltzes
