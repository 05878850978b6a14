"""Who plays what: score order, transposing instruments, other instruments, other keys."""

from dataclasses import replace
from fractions import Fraction
from xml.etree import ElementTree

import pytest
from lxml import etree
from scores import compose, transcription

from rescored import Settings, SettingsError
from rescored.music import PIANO, KeySignature, Note, Part, Performance, Spelled, renamed
from rescored.notation.arrange import arrange
from rescored.notation.clefs import CLEFS
from rescored.notation.instruments import FAMILIES, INSTRUMENTS
from rescored.output.contract import from_json, to_json
from rescored.output.extract import extract
from rescored.output.midi import written_midi
from rescored.output.musicxml import to_musicxml
from rescored.pipeline import notate
from rescored.stage import Runner

VOICE, BASS = Part("vocals", "Voice", program=52), Part("bass", "Bass", program=33)
DRUMS = Part("drums", "Drums", percussion=True)


def band(*parts, low=60):
    """A scale in quarters at 120 a minute by every part, its first note C (drums: kicks)."""
    notes = [
        Note(f"{part.id}{i}", 0.5 * i, 0.5 * i + 0.48, 36 if part.percussion else low + step, 80, part=part.id)
        for part in parts for i, step in enumerate((0, 2, 4, 5, 7, 9, 11, 12) * 2)]
    return Performance(tuple(notes), parts, duration_s=9.0)


def score_of(performance, **changes):
    settings = Settings().changed({"metre.time_signature": "4/4", "spelling.key": "C"} | {
        f"score.{name}": value for name, value in changes.items()})
    return notate(performance, settings, Runner())[1]


def test_parts_come_in_score_order_with_names_and_abbreviations():
    parts = (DRUMS, BASS, PIANO, Part("violin", "Violin", program=40), VOICE, Part("flute", "Flute", program=73))
    score = score_of(band(*parts))
    assert [p.id for p in score.parts] == ["flute", "vocals", "piano", "violin", "bass", "drums"]
    root = ElementTree.fromstring(to_musicxml(score))
    assert [(p.findtext("part-name"), p.findtext("part-abbreviation")) for p in root.iter("score-part")] == [
        ("Flute", "Fl."), ("Voice", "V."), ("Piano", "Pno."), ("Violin", "Vln."), ("Bass", "B."), ("Drums", "Dr.")]


def test_any_guitar_or_bass_is_abbreviated_and_clefed_as_one_and_numbers_stay():
    parts = [Part("a", "Acoustic Bass", program=32), Part("b", "Distortion Guitar", program=30),
             Part("c", "Flute 2", program=73), Part("d", "Shakuhachi", program=77)]
    arranged = {p.id: p for p in arrange(band(*parts), settings=Settings().score).parts}
    assert [(arranged[i].abbreviation, arranged[i].clef) for i in "abcd"] == [
        ("B.", "F4-8"), ("Gtr.", "G2-8"), ("Fl. 2", "G2"), ("Sha.", "")]


def test_neighbours_of_one_family_share_a_bracket(musicxml_4):
    strings = [Part(name.lower(), name, program=40 + i) for i, name in enumerate(("Violin", "Viola", "Cello"))]
    score = score_of(band(Part("flute", "Flute", program=73), *strings))
    musicxml_4.assertValid(etree.fromstring(to_musicxml(score).encode()))
    order = [(e.tag, e.get("type")) for e in ElementTree.fromstring(to_musicxml(score)).find("part-list")]
    assert order == [("score-part", None), ("part-group", "start"), *[("score-part", None)] * 3, ("part-group", "stop")]
    assert [c.sign for c in score.clefs] == ["G", "G", "C", "F"]


@pytest.mark.parametrize(("instrument", "first", "fifths", "transpose"), [
    ("clarinet", "D4", 2, ("-1", "-2", None)), ("alto sax", "A4", 3, ("-5", "-9", None)),
    ("tenor saxophone", "D5", 2, ("-1", "-2", "-1")), ("horn", "G4", 1, ("-4", "-7", None)),
    ("Clarinet in E♭", "A3", 3, ("2", "3", None)), ("flute", "C4", 0, None),
])
def test_transposing_instruments_read_other_notes_in_another_key_and_sound_right(
    instrument, first, fifths, transpose, musicxml_4
):
    score = score_of(band(VOICE), instruments=f"vocals={instrument}")
    musicxml_4.assertValid(etree.fromstring(to_musicxml(score).encode()))
    root = ElementTree.fromstring(to_musicxml(score))
    pitch = root.find(".//pitch")
    assert pitch.findtext("step") + pitch.findtext("octave") == first
    assert int(root.findtext(".//key/fifths")) == fifths
    found = root.find(".//attributes/transpose")
    tags = ("diatonic", "chromatic", "octave-change")
    assert (found if found is None else tuple(found.findtext(tag) for tag in tags)) == transpose
    from music21 import converter

    sounding = converter.parse(to_musicxml(score), format="musicxml", forceSource=True).toSoundingPitch()
    assert [p.midi for p in sounding.pitches] == [n.pitch for n in score.notes] == [60, 62, 64, 65, 67, 69, 71, 72] * 2


def test_chord_symbols_stand_where_all_read_them_as_they_sound():
    score = replace(score_of(band(VOICE, PIANO), instruments="vocals=trumpet"), shows_chords=True)
    assert score.parts[0].name == "Trumpet in B♭" and score.chords
    part = ElementTree.fromstring(to_musicxml(score)).findall("part")
    assert [bool(list(p.iter("harmony"))) for p in part] == [False, True]
    alone = ElementTree.fromstring(to_musicxml(extract(score, score.parts[0])))
    roots = [renamed(c.symbol[0], 0, 2)[0] for c in score.chords if len(c.symbol) == 1]
    assert [h.findtext("root/root-step") for h in alone.iter("harmony") if h.findtext("kind") == "major"] == roots


def test_in_concert_pitch_all_is_written_as_it_sounds():
    score = score_of(band(VOICE), instruments="vocals=clarinet", pitch="concert")
    root = ElementTree.fromstring(to_musicxml(score))
    assert root.findtext(".//pitch/step") == "C" and root.find(".//transpose") is None
    assert score.parts[0].name == "Clarinet in B♭"


def test_a_line_moves_by_octaves_into_the_range_and_what_stays_beyond_is_marked():
    high = score_of(band(VOICE, low=84), instruments="vocals=cello")
    assert {n.pitch - 84 for n in high.notes if n.id == "vocals0"} == {-12} and not high.unplayable
    assert (high.parts[0].name, high.parts[0].program) == ("Cello", 42)
    wide = band(VOICE, low=55)
    wide = replace(wide, notes=(*wide.notes[:-1], replace(wide.notes[-1], pitch=108)))
    score = score_of(wide, instruments="vocals=oboe")
    assert score.unplayable and set(score.unplayable) < {n.id for n in score.notes}
    marked = [n.get("id") for n in ElementTree.fromstring(to_musicxml(score)).iter("note")
              if n.find("notehead") is not None and n.find("notehead").get("color")]
    assert marked == list(score.unplayable)


def test_transposing_moves_every_pitched_part_and_the_key_but_no_drum():
    played = band(PIANO, DRUMS)
    settings = Settings().changed({"score.transpose": 3})
    _, score = notate(played, settings, Runner())
    at = {n.id: n.pitch for n in played.notes}
    assert {(n.part, n.pitch - at[n.id]) for n in score.notes} == {("piano", 3), ("drums", 0)}
    assert score.keys[0].fifths == notate(played, Settings(), Runner())[1].keys[0].fifths - 3
    assert written_midi(score) != written_midi(notate(played, Settings(), Runner())[1])


def test_what_was_heard_stays_as_it_was_heard():
    played = band(VOICE, BASS)
    score = score_of(played, transpose=2, instruments="vocals=flute")
    result = replace(transcription(score), performance=played)
    data = to_json(result)
    assert {n["written_pitch"] - n["pitch"] for n in data["notes"] if n["part"] == "bass"} == {2}
    again = from_json(data)
    assert again.score == score and again.performance.notes == played.notes
    assert sorted(n["pitch"] for n in data["notes"]) == sorted(n.pitch for n in played.notes)


@pytest.mark.parametrize(("text", "problem"), [
    ("vocals", "gives no part"), ("tuba=vocals", "no part 'tuba'"), ("vocals=flutte", "no instrument 'flutte'"),
    ("drums=flute", "Drums cannot"), ("vocals=", "gives no part"),
])
def test_what_cannot_be_arranged_is_said(text, problem):
    with pytest.raises(SettingsError, match=problem) as caught:
        arrange(band(VOICE, DRUMS), settings=Settings().changed({"score.instruments": text}).score)
    assert caught.value.remedy


@pytest.mark.parametrize("instrument", ["", "piano=glockenspiel", "piano=baritone sax", "piano=clarinet in Eb"])
@pytest.mark.parametrize("transpose", [-24, 0, 24])
def test_any_pitch_can_be_written(instrument, transpose, musicxml_4):
    notes = tuple(Note(f"n{p}", p / 4, p / 4 + 0.2, p, 64, part="piano") for p in range(128))
    score = score_of(Performance(notes, (PIANO,)), transpose=transpose, instruments=instrument)
    musicxml_4.assertValid(etree.fromstring(to_musicxml(score).encode()))
    assert all((n.pitch - int(n.id[1:]) - transpose) % 12 == 0 for n in score.notes)
    if not instrument and not transpose:
        assert {int(n.id[1:]) for n in score.notes if n.pitch != int(n.id[1:])} == set(range(14))


def test_without_wishes_nothing_is_moved():
    played = band(VOICE, PIANO)
    arranged = arrange(played, settings=Settings().score)
    assert arranged.notes == played.notes and {p.id for p in arranged.parts} == {p.id for p in played.parts}


@pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda i: i.name)
def test_instruments_are_consistent(instrument):
    assert instrument.family in FAMILIES and instrument.lowest < instrument.highest
    assert instrument.clef in {*CLEFS, ""} and 0 <= instrument.program < 128
    part = Part("x", instrument.name, transpose=instrument.transpose)
    for fifths in range(-6, 7):
        assert abs(part.key_of(fifths)) <= 6
        assert (part.key_of(fifths) - fifths + 7 * instrument.transpose) % 12 == 0


def test_a_shifted_name_is_the_same_pitch_class():
    natural = dict(zip("CDEFGAB", (0, 2, 4, 5, 7, 9, 11), strict=True))
    for fifths in range(-7, 8):
        step, alter = renamed("B", -1, fifths)
        assert (natural[step] + alter - 10 - 7 * fifths) % 12 == 0 and abs(alter) <= 2


def test_a_change_of_key_is_transposed_too():
    score = compose({("clarinet", 1, 1): "w:D4 | w:Eb4"}, parts=(Part("clarinet", "Clarinet", transpose=-2),),
                    keys=(KeySignature(2, Fraction(4), -3, "major"),))
    root = ElementTree.fromstring(to_musicxml(score))
    assert [k.text for k in root.iter("fifths")] == ["2", "-1"]
    assert Spelled(score.notes, score.keys).keys[1].fifths == -3
