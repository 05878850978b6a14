"""Every stem to notes: one-voice lines, drums, and what becomes of stems in which little or nothing plays."""

import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import bench_bands as bands

from rescored.hearing.assemble import assemble
from rescored.hearing.transcribe import detect_notes, drums, heard_beside
from rescored.hearing.transcribe.drums import which_toms
from rescored.music import Audio, Heard, Note, Part, Performance, Pulse, Stems
from rescored.output.sound import render
from rescored.settings import Settings

RATE_HZ = 22050
BAND = Settings.preset("full-band").notes
NO_PULSE = Pulse(50.0, np.zeros(10), np.zeros(10), "none")


def sung(pitch, loud=1.0):
    """A tone of eight harmonics; `pitch` in semitones and `loud` per sample."""
    phase = 2 * np.pi * np.cumsum(440 * 2 ** ((pitch - 69) / 12)) / RATE_HZ
    wave = 0.1 * loud * sum(np.sin(k * phase) / k for k in range(1, 9))
    return Audio(wave[None].astype(np.float32), RATE_HZ)


@pytest.mark.slow
def test_vibrato_and_glides_make_no_notes():
    t = np.arange(6 * RATE_HZ) / RATE_HZ
    steps = np.interp(t, [0, 1.9, 2.1, 3.9, 4.1, 6], [60, 60, 64, 64, 67, 67])  # glides of 0.2 s
    vibrato = 0.45 * np.sin(2 * np.pi * 5.5 * t)
    heard = detect_notes(sung(steps + vibrato), "vocals", settings=BAND).notes
    assert [n.pitch for n in heard] == [60, 64, 67]
    assert np.allclose([n.onset_s for n in heard], [0, 2, 4], atol=0.15)


@pytest.mark.slow
def test_a_line_has_one_voice_within_its_range():
    t = np.arange(4 * RATE_HZ) / RATE_HZ
    plucked = np.exp(-4 * (t % 0.5))
    low = sung(np.where(t < 2, 33.0, 40.0), plucked)
    above = sung(np.full(len(t), 76.0), 0.3)
    heard = detect_notes(Audio(low.samples + above.samples, RATE_HZ), "bass", settings=BAND).notes
    assert [n.pitch for n in heard] == [33] * 4 + [40] * 4
    assert all(a.offset_s <= b.onset_s + 1e-6 for a, b in pairwise(heard))
    assert np.allclose([n.onset_s for n in heard], 0.5 * np.arange(8), atol=0.06)


@pytest.mark.slow
def test_a_band_is_heard_part_by_part():
    truth = bands.play(bands.BANDS[1], measures=4)
    heard = bands.hear_band(bands.true_stems(truth))
    assert [p.id for p in heard.parts] == [p.id for p in truth.parts], "a silent stem is no part"
    for drum in ((36,), (38,), (42, 46)):
        assert bands.onset_f1(truth, heard, "drums", drum) >= 0.9
    assert bands.onset_f1(truth, heard, "vocals") >= 0.85
    assert bands.onset_f1(truth, heard, "bass") >= 0.9
    pitched = [n for n in heard.notes if n.part != "drums"]
    twice = [(a, b) for a in pitched for b in pitched
             if a.part < b.part and a.pitch == b.pitch and abs(a.onset_s - b.onset_s) <= 0.05]
    assert not twice


def test_silence_has_no_drums():
    assert detect_notes(Audio(np.zeros((1, 4410)), 44100), "drums", settings=BAND).notes == ()


# ---------------------------------------------------------------- instruments that flicker in and out


def heard(*notes, pitch=60):
    """`Heard` from (onset_s, offset_s), of one pitch each so that nothing counts as leaked."""
    return Heard(tuple(Note(f"n{i}", a, b, pitch, 80) for i, (a, b) in enumerate(notes)))


def parts_of(**stems):
    audio = Audio(np.zeros((1, 60 * 100)), 100)
    result = assemble(audio, (), stems, NO_PULSE, settings=BAND)
    return {p.id: sum(n.part == p.id for n in result.notes) for p in result.parts}


def test_an_accompaniment_that_strays_between_stems_is_one_part():
    piano, guitar = heard(*((t, t + 0.9) for t in range(50))), heard((3, 4), (9, 10), pitch=65)
    same = Note("n9", 7.02, 7.5, 60, 80)  # which both have
    guitar = replace(guitar, notes=(*guitar.notes, same))
    assert parts_of(piano=piano, guitar=guitar, vocals=heard((0, 20), pitch=72)) == {"piano": 52, "vocals": 1}


def test_two_accompanists_stay_two():
    piano, guitar = heard(*((t, t + 0.9) for t in range(50))), heard(*((t, t + 0.9) for t in range(9)), pitch=65)
    assert parts_of(piano=piano, guitar=guitar) == {"piano": 50, "guitar": 9}


def test_scraps_are_no_part_unless_nothing_else_is_there():
    scrap = heard((5.0, 5.3), pitch=80)
    assert parts_of(vocals=scrap, bass=heard((0, 30), pitch=40)) == {"bass": 1}
    assert parts_of(vocals=scrap) == {"vocals": 1}


def test_a_stem_that_only_leaked_leaves_no_part_and_no_near_misses():
    loud, faint = Note("n0", 1.0, 30.0, 60, 90), Note("n0", 1.0, 30.0, 60, 40)
    near = Note("c0", 9.0, 12.0, 64, 50)
    stems = {"vocals": Heard((loud,)), "other": Heard((faint,), candidates=(near,))}
    result = assemble(Audio(np.zeros((1, 60 * 100)), 100), (), stems, NO_PULSE, settings=BAND)
    assert [p.id for p in result.parts] == ["vocals"] and result.candidates == ()


def test_drums_leak_into_no_pitch():
    bass, drums = heard((0, 30), (31, 40), pitch=36), heard((0, 0.5), (31, 31.5), pitch=36)
    assert parts_of(bass=bass, drums=drums) == {"bass": 2, "drums": 2}


@pytest.mark.slow
def test_fills_over_the_toms_and_crashes_are_heard():
    kick, snare, hat, crash = 36, 38, 42, 49
    measures = [[(0, crash), (0, kick), *((e / 2, hat) for e in range(1, 8)), (1, snare), (2, kick), (3, snare)],
                [(0, kick), *((e / 2, hat) for e in range(4)), (1, snare),
                 *((2 + e / 4, tom) for e, tom in enumerate((50, 50, 50, 47, 47, 47, 43, 43)))]]
    strokes = [(0.5 + 0.55 * (4 * m + beat), drum) for m in range(6) for beat, drum in measures[m % 2]]
    kit = Part("drums", "Drums", percussion=True)
    played = Performance(tuple(Note(f"d{i}", at, at + 0.1, drum, 100, part="drums")
                               for i, (at, drum) in enumerate(strokes)), (kit,))
    found = detect_notes(render(played), "drums", settings=BAND).notes
    for drum, written in ((50, 48), (47, 45), (43, 41), (crash, crash)):
        true = [(at, 0) for at, d in strokes if d == drum]
        assert bands.matched_f1(true, [(n.onset_s, 0) for n in found if n.pitch == written]) >= 0.8, drum


def test_toms_are_told_apart_by_their_pitch():
    assert which_toms(np.log2([140, 139, 95, 141, 94, 70, 71, 138])) == [48, 48, 45, 48, 45, 41, 41, 48]
    assert which_toms(np.log2([140, 75, 76, 141])) == [48, 41, 41, 48]
    assert which_toms(np.log2([75.0])) == [41] and which_toms(np.log2([108, 109, 107])) == [45] * 3
    assert which_toms(np.array([])) == []


@pytest.mark.parametrize("n", [1, 50, 1100, 2300])
@pytest.mark.parametrize(("ear", "sounds"), [(drums.CLEAN, 1), (drums.ROUGH, 2)], ids=["clean", "rough"])
def test_drums_are_heard_in_blocks_as_in_one(n, ear, sounds, monkeypatch):
    spectrum = np.random.default_rng(n).uniform(0, 3, (n, sounds * drums.BANDS)).astype(np.float32)
    in_blocks = drums.odds(spectrum, ear.weights)
    monkeypatch.setattr(drums, "BLOCK", 5000)
    np.testing.assert_allclose(drums.odds(spectrum, ear.weights), in_blocks, atol=1e-5)
    assert in_blocks.shape == (n, len(drums.DRUMS))


@pytest.mark.slow
def test_a_rough_stem_has_drums_where_some_play_and_none_where_none_do():
    """The separator that ships takes a mix apart: kick, snare and hi-hat are heard; of a drumless one, none."""
    truth = bands.play(bands.BANDS[1], measures=4)
    stems = bands.true_stems(truth).audio
    for missing, played in (("", True), ("drums", False)):
        mix = bands.mixed(Stems({name: sound for name, sound in stems.items() if name != missing}, "the truth"))
        rough = bands.taken_apart(mix)
        heard = detect_notes(rough.audio["drums"], "drums", heard_beside(rough, mix), settings=BAND)
        assert bool(heard.notes) == bool(heard.warnings) == played
        for kind, least in (("KD", 0.8), ("SD", 0.7), ("HH", 0.8)) if played else ():
            true = [(n.onset_s, 0) for n in truth.notes if n.part == "drums" and n.pitch in bands.DRUM_CLASSES[kind]]
            found = [(n.onset_s, 0) for n in heard.notes if n.pitch in bands.DRUM_CLASSES[kind]]
            assert bands.matched_f1(true, found) >= least, kind


def test_one_cymbal_keeps_time_through_a_section():
    """Strokes that look like the ride cymbal's between many of the hi-hat's are the hi-hat's, and the other way."""
    likely = np.zeros((2000, len(drums.DRUMS)), np.float32)
    closed, ride = (drums.DRUMS.index(d) for d in (drums.CLOSED, drums.RIDE))
    for k, frame in enumerate(range(20, 2000, 25)):
        one, other = (closed, ride) if frame < 1000 else (ride, closed)
        likely[frame, one], likely[frame, other] = (0.8, 0.1) if k % 5 else (0.3, 0.6)
    notes = drums.strokes(np.ones((2000, drums.BANDS), np.float32), likely, np.full(len(drums.DRUMS), 0.4, np.float32))
    assert len(notes) == 80
    assert {n.pitch for n in notes if n.onset_s < 8.5} == {42} and {n.pitch for n in notes if n.onset_s > 11.5} == {51}


def test_no_drum_is_struck_twice_at_once_nor_two_cymbals_that_keep_time():
    chance = np.random.default_rng(0)
    likely = chance.random((4000, len(drums.DRUMS))).astype(np.float32) ** 3
    notes = drums.strokes(np.ones((4000, drums.BANDS), np.float32), likely, np.full(len(drums.DRUMS), 0.2, np.float32))
    for group in ({36}, {38}, {49}, {42, 46, 51}):
        times = np.sort([n.onset_s for n in notes if n.pitch in group])
        assert len(times) > 100 and np.diff(times).min() >= 0.05 - 1e-9


def test_drums_that_are_heard_badly_are_not_written(monkeypatch):
    """An open hi-hat that is not told apart becomes a closed one; what is not heard well enough is left out."""
    truth = bands.play(bands.BANDS[1], measures=2)
    sound = bands.true_stems(truth).audio["drums"]
    f1 = dict.fromkeys(drums.CLEAN.f1, 1.0)
    for worse, left in (((36,), {38, 42, 46}), ((38, 46), {36, 42})):
        monkeypatch.setattr(drums, "CLEAN", drums.Ear(drums.CLEAN.weights, f1 | dict.fromkeys(worse, 0.1)))
        heard = {n.pitch for n in detect_notes(sound, "drums", settings=BAND).notes}
        assert not heard & set(worse) and heard & left
