"""Chord symbols: the right chords at the right beats, by the names that a musician would write."""

from dataclasses import fields, replace

import mir_eval
import numpy as np
import pytest
from scores import MELODY, compose, pickup, transcription

from rescored.evaluate.reading import harte, read_json
from rescored.music import Part, Spelled, Voiced, VoicedNote
from rescored.notation.chords import KINDS, find_chords, likely_changes
from rescored.notation.spelling import spell
from rescored.output.contract import from_json, to_json
from rescored.output.musicxml import to_musicxml
from rescored.settings import SpellingSettings


def chords_of(score):
    found = find_chords(Spelled(score.notes, score.keys), transcription(score).grid, score.parts)
    return [(float(c.ql), c.symbol) for c in found.symbols]


def piano(right, left, **more):
    return compose({("piano", 1, 1): right, ("piano", 2, 1): left}, **more)


def test_a_cadence_is_named_with_its_seventh_and_no_symbol_is_repeated():
    score = piano("w:E4+G4+C5 | w:E4+G4+C5 | w:F4+A4+C5 | w:F4+G4+B4+D5 | w:E4+G4+C5",
                  "w:C3 | w:C3 | w:F2 | w:G2 | w:C3")
    assert chords_of(score) == [(0, "C"), (8, "F"), (12, "G7"), (16, "C")]


def test_broken_chords_are_chords_and_may_change_within_a_measure():
    score = piano("h:E5 h:D5 | h:C5 h:D5 | w:C5",
                  "e:C3 e:G3 e:E4 e:G3 e:G2 e:D3 e:B3 e:D3 | e:A2 e:E3 e:C4 e:E3 e:G2 e:D3 e:B3 e:D3 | "
                  "e:C3 e:G3 e:E4 e:G3 e:C3 e:G3 e:E4 e:G3")
    assert chords_of(score) == [(0, "C"), (2, "G"), (4, "Am"), (6, "G"), (8, "C")]


def test_another_bass_than_the_root_stands_after_a_slash():
    score = piano("w:G4+C5+E5 | w:F4+A4+C5 | w:G4+B4+D5 | w:E4+G4+C5", "w:E3 | w:A2 | w:B2 | w:C3")
    assert [symbol for _, symbol in chords_of(score)] == ["C/E", "F/A", "G/B", "C"]


@pytest.mark.parametrize(("fifths", "lines", "names"), [
    (-4, ("w:Ab4+C5+Eb5 | w:Ab4+Db5+F5 | w:G4+Bb4+Db5+Eb5 | w:Ab4+C5+Eb5", "w:Ab2 | w:Db3 | w:Eb3 | w:Ab2"),
     ["Ab", "Db", "Eb7", "Ab"]),
    (4, ("w:G#4+B4+E5 | w:G#4+C#5+E5 | w:F#4+A4+B4+D#5 | w:E4+G#4+B4", "w:E3 | w:C#3 | w:B2 | w:E3"),
     ["E", "C#m", "B7", "E"]),
])
def test_roots_are_spelled_as_the_key_has_them(fifths, lines, names):
    assert [symbol for _, symbol in chords_of(piano(*lines, fifths=fifths))] == names


def test_transposing_the_music_transposes_the_chords():
    score = piano("q:E4+G4+C5 q:F4+A4+C5 h:F4+G4+B4 | w:E4+G4+C5", "q:C3 q:F2 h:G2 | w:C3")
    roots = {"C": 0, "F": 5, "G7": 7}
    assert [symbol for _, symbol in chords_of(score)] == ["C", "F", "G7", "C"]
    for up in range(1, 12):
        grid = transcription(score).grid
        known = [{f.name: getattr(n, f.name) for f in fields(VoicedNote)} for n in score.notes]
        higher = tuple(VoicedNote(**{**note, "pitch": note["pitch"] + up}) for note in known)
        spelled = spell(Voiced(higher), grid, settings=SpellingSettings())
        found = find_chords(spelled, grid).symbols
        labels = [mir_eval.chord.encode(harte(c.symbol))[0] for c in found]
        assert labels == [(roots[s] + up) % 12 for s in ("C", "F", "G7", "C")]


def test_a_lonely_tone_is_no_new_chord():
    score = piano("w:E4+G4+C5 | w:F4+A4+C5 | w:D5", "w:C3 | w:F2 | R")
    assert chords_of(score) == [(0, "C"), (4, "F")]


def test_drums_and_silence_are_no_chords():
    drums = Part("drums", "Drums", percussion=True)
    assert chords_of(compose({("drums", 1, 1): "q:F4 q:C5 q:F4 q:C5 | w:F4"}, parts=(drums,))) == []
    gap = piano("w:E4+G4+C5 | R | R | w:E4+G4+C5", "w:C3 | R | R | w:C3")
    assert chords_of(gap) in ([(0, "C"), (4, "N.C."), (12, "C")], [(0, "C")])
    assert chords_of(compose({("melody", 1, 1): "R | R"}, parts=(MELODY,))) == []


def test_every_symbol_is_one_that_musicxml_and_the_evaluation_know():
    for kind in KINDS:
        mir_eval.chord.encode(harte(f"F#{kind}/A#"))
    assert [harte(s) for s in ("N.C.", "C13")] == ["N", "X"]


def test_symbols_that_are_not_shown_stay_in_the_json_and_are_timed():
    result = transcription(replace(pickup(), shows_chords=False))
    assert "<harmony" in to_musicxml(pickup()) and "<harmony" not in to_musicxml(result.score)
    assert from_json(to_json(result)).score == result.score
    import json

    harmony = read_json(json.dumps(to_json(result)).encode()).chords
    assert harmony.labels == ("G:maj", "D:7", "E:hdim7")
    assert (harmony.intervals_s[:-1, 1] == harmony.intervals_s[1:, 0]).all()


@pytest.mark.parametrize(("every", "first"), [(4, 0), (4, 3), (3, 1), (2, 1)])
def test_the_beats_with_which_the_harmony_changes_are_known_before_the_measures(every, first):
    chords = ((48, 60, 64, 67), (53, 60, 65, 69), (55, 62, 67, 71), (45, 60, 64, 69))
    beats = np.arange(8 * every)
    rows = [(k, k + 0.9, p) for k in beats for p in chords[(k - first) // every % 4]]
    changes = likely_changes(*map(np.array, zip(*rows, strict=True)), np.arange(len(beats) + 1.0))
    new = (beats - first) % every == 0
    assert changes[1:][new[1:]].min() > 0.6 and changes[1:][~new[1:]].max() < 0.3
