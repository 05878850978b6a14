"""The lead sheet, and the parts for their players."""

from dataclasses import replace
from fractions import Fraction
from xml.etree import ElementTree

import pytest
import scores
from lxml import etree
from scores import MELODY, compose, transcription

from rescored.music import PIANO, ChordSymbol, Part
from rescored.notation.lead import melody_part, wants_lead_sheet, write_lead_sheet
from rescored.output.extract import extract
from rescored.output.files import load, save, zip_parts
from rescored.output.musicxml import to_musicxml
from rescored.settings import Settings

VOICE = Part("vocals", "Voice", program=52, family="voice")
BASS = Part("bass", "Bass", program=33, family="bass")
DRUMS = Part("drums", "Drums", percussion=True, family="drums")
CHORDS = (ChordSymbol(Fraction(0), "C"), ChordSymbol(Fraction(4), "G7"))


def song():
    return compose({
        ("vocals", 1, 1): "h:C4 h:D4 | w:E4", ("piano", 1, 1): "w:E5+G5 | w:D5+F5", ("piano", 2, 1): "w:C3 | w:G2",
        ("bass", 1, 1): "w:C2 | w:G1", ("drums", 1, 1): "q:F4 q:C5 q:F4 q:C5 | w:F4",
    }, parts=(VOICE, PIANO, BASS, DRUMS), chords=CHORDS, title="Song")


def lead_of(score):
    return write_lead_sheet(score, transcription(score).performance)


def line(lead):
    return [(float(n.onset_ql), n.pitch, float(n.duration_ql)) for n in lead.notes]


def test_the_singer_has_the_melody():
    lead = lead_of(song())
    assert line(lead) == [(0, 60, 2), (2, 62, 2), (4, 64, 4)]
    assert [p.name for p in lead.parts] == ["Voice"] and lead.chords == CHORDS and lead.shows_chords
    root = ElementTree.fromstring(to_musicxml(lead, part_name=True))
    assert len(root.findall("part")) == 1 and len(list(root.iter("harmony"))) == 2


def test_of_a_piano_the_highest_line_is_the_melody():
    score = compose({
        ("piano", 1, 1): "q:E4+G4+C5 q:D5 e:G3+E5 e:G4 q:D5 | h:E4+C5 h:r",
        ("piano", 1, 2): "h:x h:G4 | R", ("piano", 2, 1): "w:C3 | w:C3"})
    assert line(lead_of(score)) == [(0, 72, 1), (1, 74, 1), (2, 76, 0.5), (2.5, 67, 0.5), (3, 74, 1), (4, 72, 2)]


def test_tones_far_below_and_under_the_melody_are_not_of_it():
    score = compose({("piano", 1, 1): "h:C5+E4 h:D5 | q:E5 q:C4 q:E5 q:D5", ("piano", 1, 2): "q:x q:G4 h:x | R",
                     ("piano", 2, 1): "w:C3 | w:C3"})
    assert [pitch for _, pitch, _ in line(lead_of(score))] == [72, 74, 76, 76, 74]


@pytest.mark.parametrize(("asked", "shown", "wanted"), [
    ("auto", True, True), ("auto", False, False), ("yes", False, True), ("no", True, False)])
def test_there_is_a_lead_sheet_where_one_is_wanted(asked, shown, wanted):
    settings = Settings().changed({"score.lead_sheet": asked}).score
    assert wants_lead_sheet(replace(song(), shows_chords=shown), settings) is wanted


def test_drums_and_bass_alone_have_no_melody():
    score = compose({("bass", 1, 1): "w:C2", ("drums", 1, 1): "w:F4"}, parts=(BASS, DRUMS))
    assert melody_part(score) is None
    assert not wants_lead_sheet(score, Settings().changed({"score.lead_sheet": "yes"}).score)


def test_a_part_holds_what_its_player_needs_and_no_more(musicxml_4):
    score = scores.two_hands()
    assert extract(score, score.parts[0]) == score
    for part in song().parts:
        alone = extract(song(), part)
        assert alone.parts == (part,) and {n.part for n in alone.notes} == {part.id}
        assert len(alone.symbols) == sum(s.part == part.id for s in song().symbols)
        root = etree.fromstring(to_musicxml(alone, part_name=True).encode())
        musicxml_4.assertValid(root)
        assert bool(list(root.iter("harmony"))) is not part.percussion
        assert root.find(".//metronome") is not None
        assert [c.findtext("credit-words") for c in root.iter("credit") if c.findtext("credit-type") == "part name"] \
            == [part.name]


def test_silent_measures_of_a_part_are_drawn_together(musicxml_4):
    score = compose({("melody", 1, 1): "w:C4 | R | R | R | w:C4 | R | R"}, parts=(MELODY,), later={6: "3/4"})
    root = etree.fromstring(to_musicxml(score, part_name=True).encode())
    musicxml_4.assertValid(root)
    found = [(m.get("number"), m.findtext(".//multiple-rest")) for m in root.iter("measure")
             if m.find(".//multiple-rest") is not None]
    assert found == [("2", "3"), ("6", "2")]
    assert "multiple-rest" not in to_musicxml(score)


def test_files_of_lead_sheet_and_parts(tmp_path):
    score = song()
    result = replace(transcription(score), lead=lead_of(score))
    paths = save(result, tmp_path, "song", parts=True)
    assert paths["lead"].name == "song.lead.musicxml" and paths["lead_pdf"].read_bytes()[:4] == b"%PDF"
    assert sorted(p.name for p in paths["parts"].iterdir()) == sorted(
        f"{name}.{kind}" for name in ("01-Voice", "02-Piano", "03-Bass", "04-Drums") for kind in ("musicxml", "pdf"))
    assert all(p.read_bytes()[:4] == b"%PDF" for p in paths["parts"].glob("*.pdf"))
    assert load(paths["json"]).score == score
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(zip_parts(extract(score, VOICE), "My/song"))) as archive:
        assert archive.namelist() == ["My_song.parts/01-Voice.musicxml", "My_song.parts/01-Voice.pdf"]
