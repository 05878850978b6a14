"""The drum kit: how it is written. What is heard of it: test_band.py."""

from fractions import Fraction
from xml.etree import ElementTree

import numpy as np
import pytest

from rescored.music import PIANO, BeatGrid, Note, Part, Performance, TimeSignature
from rescored.notation.hands import split_hands
from rescored.notation.quantise import quantise
from rescored.notation.score import write_score
from rescored.notation.spelling import spell
from rescored.notation.voices import find_voices
from rescored.output.midi import written_midi
from rescored.output.musicxml import to_musicxml
from rescored.settings import Settings

KIT = Part("drums", "Drums", percussion=True)
KICK, SNARE, CLOSED, PEDAL, OPEN, CRASH = 36, 38, 42, 44, 46, 49
QUARTER_S = 0.5
COMMON = TimeSignature(1, Fraction(0), 4, 4)


def grid(measures=4, signature=COMMON):
    beats = int(signature.measure_ql / signature.beat_ql)
    k = np.arange(measures * beats + 1)
    ql = k * float(signature.beat_ql)
    return BeatGrid(ql * QUARTER_S, ql, k // beats + 1, k % beats + 1, (signature,))


def played(*strokes, parts=(KIT,), others=()):
    """A performance of (onset_ql, drum)."""
    notes = [Note(f"d{i}", q * QUARTER_S, q * QUARTER_S + 0.1, drum, 90, part="drums")
             for i, (q, drum) in enumerate(strokes)]
    return Performance((*notes, *others), parts, duration_s=8.0)


def written(performance, on=None):
    on, chosen = on or grid(), Settings()
    placed = quantise(performance, on, settings=chosen.quantise)
    voiced = find_voices(split_hands(placed, performance, settings=chosen.hands), on, performance,
                         settings=chosen.voices)
    spelled = spell(voiced, on, performance.parts, settings=chosen.spelling)
    return write_score(spelled, on, performance, "", settings=chosen.score)


ROCK = [(bar * 4 + q, drum) for bar in range(2) for q, drum in (
    *((e / 2, CLOSED) for e in range(7)), (3.5, OPEN), (0, KICK), (2, KICK), (1, SNARE), (3, SNARE))]


def test_every_drum_has_its_place_and_head():
    score = written(played(*ROCK, (8, CRASH), (9, PEDAL), (10, 45), (11, 75)))
    known = {n.pitch: (n.step, n.octave, n.head) for n in score.notes}
    assert known == {
        KICK: ("F", 4, "normal"), SNARE: ("C", 5, "normal"), CLOSED: ("G", 5, "x"), OPEN: ("G", 5, "circle-x"),
        CRASH: ("A", 5, "x"), PEDAL: ("D", 4, "x"), 45: ("D", 5, "normal"), 75: ("B", 4, "x"),
    }


def test_hands_and_feet_are_two_voices():
    score = written(played(*ROCK))
    assert {n.pitch for n in score.notes if n.voice == 2} == {KICK}
    assert all(s.hidden for s in score.symbols if s.voice == 2 and not s.notes)
    assert len(score.notes) == len(ROCK)


def test_a_stroke_is_written_up_to_the_next_one_or_the_next_beat():
    score = written(played((0, SNARE), (2, SNARE), (2.5, SNARE), (3, SNARE), (3.25, SNARE)))
    assert [(n.onset_ql, n.duration_ql) for n in score.notes] == [
        (0, 1), (2, Fraction(1, 2)), (Fraction(5, 2), Fraction(1, 2)), (3, Fraction(1, 4)),
        (Fraction(13, 4), Fraction(3, 4))]
    compound = written(played((0, SNARE), (1, SNARE), (1.5, SNARE)), grid(2, TimeSignature(1, Fraction(0), 6, 8)))
    assert [n.duration_ql for n in compound.notes] == [1, Fraction(1, 2), Fraction(3, 2)]


def test_drums_do_not_sway_the_key_of_the_others():
    tune = [Note(f"p{i}", i * QUARTER_S, (i + 0.9) * QUARTER_S, p, 80) for i, p in
            enumerate((63, 65, 67, 68, 70, 72, 74, 75, 63, 67, 70, 75))]  # E flat major
    alone = written(Performance(tuple(tune), (PIANO,), duration_s=8.0))
    beside = written(played(*[(q / 4, drum) for q in range(48) for drum in (KICK, SNARE, CLOSED)],
                            parts=(PIANO, KIT), others=tuple(tune)))
    assert [k.fifths for k in beside.keys] == [k.fifths for k in alone.keys] == [-3]
    names = {n.id: (n.step, n.alter, n.octave) for n in beside.notes if n.part == "piano"}
    assert names == {n.id: (n.step, n.alter, n.octave) for n in alone.notes}


def test_a_drum_is_no_ornament_of_another():
    """A stroke just ahead of another on its slot, and one just ahead of another part's note."""
    piano = Note("p0", 1.03, 1.9, 60, 80)
    score = written(played((0, KICK), (1.95, KICK), (2.05, SNARE), (3, SNARE), parts=(PIANO, KIT), others=(piano,)))
    assert not any(n.grace for n in score.notes) and len(score.notes) == 5


def test_a_note_adorns_only_its_own_part():
    """A short bass note just ahead of the piano on one slot has nothing to adorn in its own part."""
    bass = Part("bass", "Bass", program=33)
    notes = [Note(f"b{i}", i * QUARTER_S, i * QUARTER_S + 0.03, 40, 80, part="bass") for i in range(8)]
    notes += [Note(f"p{i}", i * QUARTER_S + 0.05, i * QUARTER_S + 0.4, 72, 80) for i in range(8)]
    score = written(Performance(tuple(notes), (PIANO, bass), duration_s=5.0))
    assert len(score.notes) == 16 and not any(n.grace for n in score.notes)


def test_the_file_says_which_drum_and_which_head():
    root = ElementTree.fromstring(to_musicxml(written(played(*ROCK))))
    instruments = {i.get("id"): int(i.findtext("midi-unpitched")) - 1 for i in root.iter("midi-instrument")}
    read = [(instruments[n.find("instrument").get("id")], n.findtext("unpitched/display-step"), n.findtext("notehead"))
            for n in root.iter("note") if n.find("unpitched") is not None]
    assert sorted(drum for drum, *_ in read) == sorted(drum for _, drum in ROCK)
    assert {r for r in read if r[0] != KICK} == {(SNARE, "C", None), (CLOSED, "G", "x"), (OPEN, "G", "circle-x")}


def test_a_kit_has_no_key():
    score = written(played(*ROCK))
    assert [k.fifths for k in score.keys] == [0]
    tune = tuple(Note(f"p{i}", i * QUARTER_S, (i + 0.9) * QUARTER_S, p, 80) for i, p in
                 enumerate((63, 65, 67, 68, 70, 72, 74, 75)))  # E flat major
    both = ElementTree.fromstring(to_musicxml(written(played(*ROCK, parts=(PIANO, KIT), others=tune))))
    piano, kit = both.findall("part")
    assert {k.text for k in piano.iter("fifths")} == {"-3"} and not list(kit.iter("key"))


def test_stems_of_hands_go_up_and_of_feet_down_also_where_the_others_rest():
    root = ElementTree.fromstring(to_musicxml(written(played(*ROCK))))
    struck = [n for n in root.iter("note") if n.find("unpitched") is not None and n.find("chord") is None]
    stems = {(n.findtext("voice"), n.findtext("stem")) for n in struck}
    assert stems == {("1", "up"), ("2", "down")}


def test_written_drums_sound_on_channel_ten():
    import io

    import mido

    midi = mido.MidiFile(file=io.BytesIO(written_midi(written(played(*ROCK)))))
    struck = [m for track in midi.tracks for m in track if m.type == "note_on"]
    assert {m.channel for m in struck} == {9}
    assert sorted(m.note for m in struck) == sorted(drum for _, drum in ROCK)


@pytest.mark.parametrize("triplets", [False, True])
def test_every_stroke_is_drawn_once(triplets):
    chance = np.random.default_rng(int(triplets))
    step = 1 / 3 if triplets else 1 / 4
    strokes = {(k * step, int(drum)) for k in range(48) for drum in chance.choice([36, 38, 42, 45, 49], 2)}
    score = written(played(*sorted(strokes)))
    drawn = [n for s in score.symbols if not s.tie_from for n in s.notes]
    assert sorted(drawn) == sorted(f"d{i}" for i in range(len(strokes)))
