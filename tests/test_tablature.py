"""Tablature: frets that sound the right pitch, that a hand can reach, on a staff that others read."""

import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from scores import compose

from rescored.music import Part
from rescored.notation.arrange import arrange
from rescored.notation.instruments import BASS_STRINGS, GUITAR_STRINGS
from rescored.notation.tablature import SPAN, find_frets
from rescored.output.engraving import Engraving
from rescored.output.ids import note_id_of
from rescored.output.musicxml import to_musicxml
from rescored.settings import Settings

GUITAR = Part("guitar", "Guitar", program=25, strings=GUITAR_STRINGS, clef="G2-8")
BASS = Part("bass", "Bass", program=33, strings=BASS_STRINGS, clef="F4-8")


def tab(part, line):
    """A score with tablature; as text, string and fret of its notes low to high: "5:3 4:2"."""
    score = compose({(part.id, 1, 1): line}, parts=(part,))
    frets = find_frets(score.notes, part)
    return replace(score, frets=frets), " ".join(f"{f.string}:{f.fret}" for f in frets)


@pytest.mark.parametrize(("chord", "fingering"), [
    ("C3+E3+G3+C4+E4", "5:3 4:2 3:0 2:1 1:0"), ("E2+B2+E3+G#3+B3+E4", "6:0 5:2 4:2 3:1 2:0 1:0"),
    ("D3+A3+D4+F#4", "4:0 3:2 2:3 1:2"), ("A2+E3+A3+C4+E4", "5:0 4:2 3:2 2:1 1:0"),
    ("F2+C3+F3+A3+C4+F4", "6:1 5:3 4:3 3:2 2:1 1:1"),
])
def test_chords_are_fingered_as_guitarists_learn_them(chord, fingering):
    assert tab(GUITAR, f"w:{chord}")[1] == fingering


def test_a_scale_on_the_bass_stays_in_first_position():
    _, frets = tab(BASS, "q:E1 q:F1 q:G1 q:A1 | q:B1 q:C2 q:D2 q:E2 | q:F2 q:G2 h:A2")
    assert frets == "4:0 4:1 4:3 3:0 3:2 3:3 2:0 2:2 2:3 1:0 1:2"


def test_a_fast_high_line_does_not_jump_about():
    _, frets = tab(GUITAR, "s:E5 s:G5 s:E5 s:D5 s:B4 s:D5 s:E5 s:G5 s:E5 s:D5 s:B4 s:A4 s:G4 s:A4 s:B4 s:D5 | w:E5")
    assert frets == "1:12 1:15 1:12 2:15 2:12 2:15 1:12 1:15 1:12 2:15 2:12 3:14 3:12 3:14 2:12 2:15 1:12"


def test_what_no_hand_can_play_has_no_fret():
    score, frets = tab(GUITAR, "w:E2+F2+B3")  # both low ones have the lowest string alone
    assert frets == "6:0 2:0" and len(score.notes) == 3
    assert tab(BASS, "w:C1")[1] == ""


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(40, 84), min_size=1, max_size=7, unique=True), min_size=1, max_size=8))
def test_every_fret_sounds_its_note_within_one_hand(chords):
    part = GUITAR
    score = compose({(part.id, 1, 1): " | ".join(["w:C4"] * len(chords))}, parts=(part,))
    notes = tuple(
        replace(score.notes[0], id=f"n{i}-{k}", pitch=pitch, onset_ql=Fraction(4 * i))
        for i, chord in enumerate(chords) for k, pitch in enumerate(chord))
    frets = {f.note: f for f in find_frets(notes, part)}
    for i in range(len(chords)):
        own = [(n, frets[n.id]) for n in notes if n.onset_ql == 4 * i and n.id in frets]
        assert own, "something of every chord can be played"
        assert all(part.strings[-f.string] + f.fret == n.pitch for n, f in own)
        assert len({f.string for _, f in own}) == len(own)
        pressed = [f.fret for _, f in own if f.fret]
        assert not pressed or max(pressed) - min(pressed) <= SPAN + 1


@pytest.mark.parametrize("only", [False, True])
def test_musicxml_has_the_frets_on_a_staff_of_strings(only, musicxml_4):
    part = replace(GUITAR, tablature_only=only)
    score, _ = tab(part, "q:C3 (e:E3 e:G3 e:C4) h:G3+C4+E4~ | h:G3+C4+E4 g:D4 h:C4'")
    musicxml = to_musicxml(score)
    musicxml_4.assertValid(etree.fromstring(musicxml.encode()))
    root = ElementTree.fromstring(musicxml)
    assert root.findtext(".//staff-details/staff-lines") == "6"
    fingered = [n for n in root.iter("note") if n.find("notations/technical/fret") is not None]
    by_note = {f.note: (f.string, f.fret) for f in score.frets}
    for note in fingered:
        technical = note.find("notations/technical")
        assert (int(technical.findtext("string")), int(technical.findtext("fret"))) == \
            by_note[note_id_of(note.get("id"))]
        assert note.findtext("staff") == (None if only else "2")
    assert {note_id_of(n.get("id")) for n in fingered} == {n.id for n in score.notes}
    ids = Counter(n.get("id") for n in root.iter("note") if n.get("id"))
    assert max(ids.values()) == 1
    for measure in root.iter("measure"):  # both staves last as long
        ends = {}
        at = 0
        for e in measure:
            length = int(e.findtext("duration") or 0) if e.find("chord") is None else 0
            at += -length if e.tag == "backup" else length
            if e.tag == "note":
                ends[e.findtext("staff")] = max(ends.get(e.findtext("staff"), 0), at)
        assert len(set(ends.values())) == 1
    assert 'class="tabGrp"' in Engraving(musicxml).svg(1)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("musescore3"), reason="needs MuseScore 3")
@pytest.mark.parametrize("only", [False, True])
def test_musescore_reads_tablature_and_finds_nothing_corrupt(only, tmp_path, monkeypatch):
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    score, _ = tab(replace(GUITAR, tablature_only=only), "q.:C3 e:E3 h:G3+C4+E4~ | h:G3+C4+E4 h:C4")
    (tmp_path / "a.musicxml").write_text(to_musicxml(score), encoding="utf-8")
    for source, target in (("a.musicxml", "b.mscz"), ("b.mscz", "c.musicxml")):
        done = subprocess.run(["musescore3", "-o", tmp_path / target, tmp_path / source], capture_output=True,
                              text=True, timeout=240)
        said = (done.stdout + done.stderr).lower()
        assert done.returncode == 0 and "corrupt" not in said and "error at line" not in said
    read = ElementTree.parse(tmp_path / "c.musicxml")
    assert read.findtext(".//clef/sign") == ("TAB" if only else "G")
    frets = [int(f.text) for f in read.iter("fret")]
    assert Counter(frets) == Counter(f.fret for f in score.frets for _ in range(2 if f.note in tied(score) else 1))


def tied(score):
    """Ids of the notes with two heads."""
    return {n for s in score.symbols if s.tie_from for n in s.notes}


def test_only_what_has_strings_gets_tablature():
    from test_parts import BASS as HEARD_BASS
    from test_parts import DRUMS, VOICE, band

    guitar = Part("guitar", "Guitar", program=25)
    wanted = Settings().changed({"score.tablature": "below"}).score
    arranged = arrange(band(VOICE, guitar, HEARD_BASS, DRUMS), settings=wanted)
    assert {p.id: len(p.strings) for p in arranged.parts} == {"vocals": 0, "guitar": 6, "bass": 4, "drums": 0}
    assert not any(p.strings for p in arrange(band(guitar), settings=Settings().score).parts)
