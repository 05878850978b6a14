"""What people take away: MusicXML that others read without loss, MIDI, pages, sound, JSON, files."""

import io
import json
import re
import shutil
import subprocess
import threading
import warnings
import zipfile
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pretty_midi
import pytest
import scores
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from scores import MELODY, compose, transcription

from rescored import InputError
from rescored.music import Audio, BeatGrid, Mark, Note, Part, Performance, Pulse, Span, Stems, TimeSignature
from rescored.output.accidentals import Accidentals
from rescored.output.beams import beam_groups, beams
from rescored.output.contract import from_json, to_json
from rescored.output.engraving import Engraving, to_pdf
from rescored.output.files import load, safe_name, save, zip_stems
from rescored.output.ids import element_id, measure_id, note_id_of
from rescored.output.midi import performed_midi, written_midi
from rescored.output.musicxml import to_musicxml, to_mxl
from rescored.output.sound import render

every_score = pytest.mark.parametrize("name", scores.ALL)
pitches = st.sampled_from(["C4", "D4", "F#4", "Bb4", "B4", "E5", "G5+B5", "C#5", "Cb5+E5", "D4+F4+A4"])


@st.composite
def bars(draw):
    """A measure of 4/4 beat by beat: all note values, dots, triplets, rests, ties, graces, staccato."""
    beats = draw(st.lists(st.sampled_from(
        ["q:{}", "e:{} e:{}", "e.:{} s:{}", "s:{} s:{} e:{}", "(e:{} e:{} e:{})", "(q:{} e:r)", "q:r", "s:{} e:{} s:{}",
         "e:{}' e:r", "g:{} q:{}", "g:{} g:{} e:{} e:{}", "t:{} t:{} s:{} e:{}", "e:r s:{} s:{}"],
    ), min_size=2, max_size=2))
    half = draw(st.sampled_from(["h:{}", "q.:{} e:{}", "e:{} q:{} e:{}", "h:r", "e:{} e:{} e:{} e:{}"]))
    tokens = [*beats, half] if draw(st.booleans()) else [half, *beats]
    return re.sub(r"\{\}", lambda _: draw(pitches), " ".join(tokens))


@st.composite
def any_score(draw):
    """A piano score of one to three measures with one or two voices a staff."""
    count = draw(st.integers(1, 3))
    line = st.lists(bars(), min_size=count, max_size=count).map(" | ".join)
    lines = {("piano", 1, 1): draw(line), ("piano", 2, 1): draw(line)}
    if draw(st.booleans()):
        lines["piano", 1, 2] = draw(line)
    return compose(lines, fifths=draw(st.integers(-7, 7)), bpm=draw(st.floats(30, 200)))


def parse(musicxml):
    return ElementTree.fromstring(musicxml)


# ---------------------------------------------------------------- MusicXML


@every_score
def test_musicxml_follows_the_schema(name, musicxml_4):
    musicxml = to_musicxml(scores.ALL[name](), {"metre.time_signature": "auto"})
    musicxml_4.assertValid(etree.fromstring(musicxml.encode()))
    broken = musicxml.replace("<duration>", "<duration>x", 1)
    assert not musicxml_4.validate(etree.fromstring(broken.encode()))


def noteheads(score):
    """(measure, pitch, onset in the measure) of every notehead."""
    begin = {m.number: m.ql for m in score.measures}
    return Counter((s.measure, score.note[n].pitch, round(float(s.onset_ql - begin[s.measure]), 3))
                   for s in score.symbols for n in s.notes)


def heads_read_by_music21(musicxml):
    from music21 import converter

    found = Counter()
    read = converter.parse(musicxml, format="musicxml", forceSource=True)
    for measure in read.recurse().getElementsByClass("Measure"):
        for element in measure.recurse().notes:
            if "ChordSymbol" not in element.classes:
                at = round(float(element.getOffsetInHierarchy(measure)), 3)
                found.update((measure.number, pitch.midi, at) for pitch in element.pitches)
    return found


def notes_read_by_partitura(musicxml, tmp_path):
    import partitura

    (tmp_path / "score.musicxml").write_text(musicxml, encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = partitura.load_musicxml(str(tmp_path / "score.musicxml"))
        notes = partitura.utils.music.ensure_notearray(read)
    return Counter((int(n["pitch"]), round(float(n["onset_div"] / n["divs_pq"]), 3),
                    round(float(n["duration_div"] / n["divs_pq"]), 3)) for n in notes)


def written(score):
    begin = score.measures[0].ql
    return Counter((n.pitch, round(float(n.onset_ql - begin), 3), round(float(n.duration_ql), 3)) for n in score.notes)


@pytest.mark.parametrize("name", [n for n in scores.ALL if n != "band"])
def test_no_note_is_lost_on_the_way_through_music21_and_partitura(name, tmp_path):
    score = scores.ALL[name]()
    musicxml = to_musicxml(score)
    assert heads_read_by_music21(musicxml) == noteheads(score)
    assert notes_read_by_partitura(musicxml, tmp_path) == written(score)


@settings(max_examples=25, deadline=None)
@given(any_score())
def test_any_score_is_valid_and_loses_no_note(musicxml_4, tmp_path_factory, score):
    musicxml = to_musicxml(score)
    musicxml_4.assertValid(etree.fromstring(musicxml.encode()))
    assert heads_read_by_music21(musicxml) == noteheads(score)
    assert notes_read_by_partitura(musicxml, tmp_path_factory.mktemp("score")) == written(score)


@every_score
def test_every_notehead_and_measure_carries_its_id(name):
    score = scores.ALL[name]()
    root = parse(to_musicxml(score))
    heads = [n for n in root.iter("note") if n.find("rest") is None]
    assert Counter(note_id_of(n.get("id")) for n in heads) == Counter(n for s in score.symbols for n in s.notes)
    assert [m.get("id") for m in root.find("part")] == [measure_id(m.number) for m in score.measures]
    ids = [e.get("id") for e in root.iter() if e.get("id") and not e.tag.startswith(("midi-", "instrument"))]
    parts = {p.get("id") for p in root.findall("part")}
    assert max((c for i, c in Counter(ids).items() if i not in parts), default=1) == 1


@given(st.text(min_size=1), st.integers(1, 30))
def test_any_note_id_survives_as_an_xml_id(note_id, piece):
    element = element_id(note_id, piece)
    assert note_id_of(element) == note_id
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9._-]*", element)


def test_plain_ids_stay_as_they_are():
    assert element_id("piano-12") == "piano-12"
    assert element_id("n7", 2) == "n7-t2"
    assert element_id("n7-t2") != "n7-t2"  # a note of that name is not the second piece of n7


def test_a_tie_over_the_barline_joins_two_heads_of_one_note():
    root = parse(to_musicxml(compose({("melody", 1, 1): "h:C4 h:D4~ | h:D4 h:E4"}, parts=(MELODY,))))
    heads = [(n.get("id"), [t.get("type") for t in n.findall("tie")]) for n in root.iter("note")]
    assert heads == [("n0", []), ("n1", ["start"]), ("n1-t2", ["stop"]), ("n2", [])]
    assert Engraving(to_musicxml(scores.two_hands())).svg(1).count('class="tie"') == 4


def accidentals(root):
    return [(n.get("id"), n.findtext("accidental")) for n in root.iter("note") if n.find("accidental") is not None]


@pytest.mark.parametrize(("fifths", "line", "printed"), [
    (0, "q:F#4 q:F#4 q:F4 q:F4 | w:F4", ["sharp", None, "natural", None, None]),
    (1, "q:F#4 q:F4 q:F#4 q:G4 | w:F#4", [None, "natural", "sharp", None, None]),
    (-3, "q:Bb4 q:Eb5 q:E5 q:Eb5 | w:E5", [None, None, "natural", "flat", "natural"]),
    (0, "w:C#5 | h:C5 h:C5 | w:C5", ["sharp", "natural", None, None]),  # a reminder in the next measure
    (0, "h:C#5 h:C4 | w:C4", ["sharp", "natural", None]),  # a reminder in another octave
    (0, "w:C#5~ | q:C#5 q:C5 h:C#5 | w:D5", ["sharp", None, "natural", "sharp", None]),  # ties need no repeat
    (0, "w:F##4 | w:F#4 | w:F4", ["double-sharp", "sharp", "natural"]),
])
def test_accidentals_are_printed_where_a_reader_needs_them(fifths, line, printed):
    root = parse(to_musicxml(compose({("melody", 1, 1): line}, parts=(MELODY,), fifths=fifths)))
    assert [n.findtext("accidental") for n in root.iter("note")] == printed


def test_a_second_voice_sees_the_accidentals_of_the_first():
    score = compose({("piano", 1, 1): "h:C#5 h:E5", ("piano", 1, 2): "h:A4 h:C#5", ("piano", 2, 1): "h:C#3 h:C3"})
    assert [kind for _, kind in accidentals(parse(to_musicxml(score)))] == ["sharp", "sharp", "natural"]


def test_accidentals_forget_at_the_barline():
    score = compose({("melody", 1, 1): "w:F#4 | w:F#4"}, parts=(MELODY,))
    reader = Accidentals()
    for symbol in score.symbols:
        reader.begin_measure(0)
        assert reader.printed(symbol, [score.note[n] for n in symbol.notes]) == [True]


@pytest.mark.parametrize(("metre", "line", "groups"), [
    ("4/4", "e:C4 e:D4 e:E4 e:F4 e:C4 e:D4 e:E4 e:F4", [[0, 1, 2, 3], [4, 5, 6, 7]]),
    ("4/4", "e:C4 e:D4 s:E4 s:F4 e:G4 e:C4 e:r e:E4 e:F4", [[0, 1], [2, 3, 4], [7, 8]]),
    ("3/4", "e:C4 e:D4 e:E4 e:F4 e:G4 e:A4", [[0, 1, 2, 3, 4, 5]]),
    ("3/4", "q:C4 e:D4 e:E4 e:F4 e:G4", [[1, 2], [3, 4]]),
    ("6/8", "e:C4 e:D4 e:E4 e:F4 e:G4 e:A4", [[0, 1, 2], [3, 4, 5]]),
    ("6/8", "e.:C4 s:D4 e:E4 q:F4 e:G4", [[0, 1, 2]]),
    ("3/8", "e:C4 s:D4 s:D4 e:E4", [[0, 1, 2, 3]]),
    ("2/4", "(e:C4 e:D4 e:E4) e:F4 e:G4", [[0, 1, 2], [3, 4]]),
    ("2/4", "e:C4 q:D4 e:E4", []),  # a beam does not cross another note
    ("2/4", "g:C4 e:D4 g:C4 e:E4 q:D4", [[1, 3]]),  # nor is it broken by a grace note
    ("2/4", "g:B3 g:C4 h:D4", [[0, 1]]),
    ("7/8", "e:C4 e:D4 e:E4 e:F4 e:C4 e:D4 e:E4", [[0, 1], [2, 3], [4, 5]]),
])
def test_beams_show_the_beats(metre, line, groups):
    score = compose({("melody", 1, 1): line}, parts=(MELODY,), metre=metre)
    assert beam_groups(score.symbols, score.measures[0]) == groups


def test_a_pickup_is_beamed_as_the_end_of_its_measure():
    score = compose({("melody", 1, 1): "e:C4 e:D4 e:E4 | h.:F4"}, parts=(MELODY,), metre="3/4", pickup=Fraction(3, 2))
    assert beam_groups([s for s in score.symbols if s.measure == 0], score.measures[0]) == [[1, 2]]


@pytest.mark.parametrize(("line", "second"), [
    ("e.:C4 s:D4", [[], ["partial-left"]]), ("s:C4 e.:D4", [["partial-right"], []]),
    ("s:C4 e:D4 s:E4", [["partial-right"], [], ["partial-left"]]),
    ("e:C4 s:D4 s:E4", [[], ["start"], ["stop"]]),
    ("s:C4 s:D4 s:E4 s:F4", [["start"], ["continue"], ["continue"], ["stop"]]),
])
def test_short_beams_point_into_the_beat(line, second):
    score = compose({("melody", 1, 1): f"{line} q:r h:r"}, parts=(MELODY,))
    group = [s for s in score.symbols if s.notes]
    assert [b[1:] for b in beams(group)] == second


def test_triplets_have_a_ratio_and_a_bracket_where_no_beam_shows_them():
    root = parse(to_musicxml(compose({("melody", 1, 1): "(e:C4 e:D4 e:E4) (q:C4 e:D4) h:r"}, parts=(MELODY,))))
    notes = [n for n in root.iter("note") if n.find("rest") is None]
    assert all(n.findtext("time-modification/actual-notes") == "3" for n in notes)
    assert [t.get("bracket") for t in root.iter("tuplet") if t.get("type") == "start"] == ["no", "yes"]
    assert [t.get("type") for t in root.iter("tuplet")] == ["start", "stop"] * 2
    divisions = int(root.findtext("part/measure/attributes/divisions"))
    assert sum(int(n.findtext("duration")) for n in notes) == 2 * divisions


def test_a_pickup_is_an_implicit_measure_0():
    root = parse(to_musicxml(scores.pickup()))
    first, second = root.findall("part/measure")[:2]
    assert (first.get("number"), first.get("implicit")) == ("0", "yes")
    assert (second.get("number"), second.get("implicit")) == ("1", "no")


def test_marks_stand_where_they_belong():
    root = parse(to_musicxml(scores.two_hands()))
    first, second, third = root.findall("part/measure")
    assert first.find(".//dynamics/mf") is not None
    assert (first.findtext(".//beat-unit"), first.findtext(".//per-minute")) == ("quarter", "72")
    assert float(first.find(".//sound").get("tempo")) == 72
    assert [p.get("type") for p in first.iter("pedal")] == ["start", "stop"]
    assert second.findtext(".//words") == "dolce"
    children = list(second)
    words = next(i for i, c in enumerate(children) if c.find(".//words") is not None)
    assert children[words + 1].findtext("pitch/step") == "C" and children[words - 1].findtext("duration") is not None
    assert [(o.get("type"), o.get("size")) for o in third.iter("octave-shift")] == [("down", "8"), ("stop", "8")]
    tempo = parse(to_musicxml(scores.compound())).find(".//metronome")
    assert [e.tag for e in tempo] == ["beat-unit", "beat-unit-dot", "per-minute"]


def test_a_line_that_begins_before_the_last_one_ends_in_the_text_is_told_apart():
    marks = [Mark("ottava", "piano", 1, Fraction(0), "8va", Fraction(2)),
             Mark("ottava", "piano", 1, Fraction(3), "8va", Fraction(4))]
    score = scores.compose(
        {("piano", 1, 1): "h.:C6 q:C6", ("piano", 1, 2): "q:E5 q:E5 h:E5", ("piano", 2, 1): "R"}, marks=marks)
    shifts = [(s.get("number"), s.get("type")) for s in parse(to_musicxml(score)).iter("octave-shift")]
    assert sorted(shifts) == [("1", "down"), ("1", "stop"), ("2", "down"), ("2", "stop")]
    assert shifts.index(("2", "down")) < shifts.index(("1", "stop")), "else there was nothing to tell apart"


def test_metre_key_and_clef_change_where_the_score_says(musicxml_4):
    first, second, third, fourth = parse(to_musicxml(scores.changes())).findall("part/measure")
    assert [m.findtext("attributes/time/beats") for m in (first, second, third, fourth)] == ["4", "3", "6", "4"]
    assert [m.findtext("attributes/key/fifths") for m in (first, second, third, fourth)] == ["0", None, None, "-3"]
    assert fourth.findtext("attributes/key/mode") == "minor"
    inside = [(c.get("number"), c.findtext("sign")) for c in first.iter("clef")]
    assert inside == [("1", "G"), ("2", "F"), ("2", "G")]
    assert [(c.get("number"), c.findtext("sign")) for c in second.iter("clef")] == [("2", "F")]  # before the barline
    assert third.find(".//clef") is None
    assert [w.text for w in second.iter("words")] == ["rit."] and second.find(".//metronome") is None
    assert float(second.find(".//sound").get("tempo")) == 80
    assert [w.text.strip() for w in third.iter("words")] == ["Andante"] and third.findtext(".//per-minute") == "50"


def test_chord_symbols_say_root_kind_and_bass():
    harmonies = list(parse(to_musicxml(scores.pickup())).iter("harmony"))
    assert [h.findtext("root/root-step") for h in harmonies] == ["G", "D", "E"]
    assert [h.findtext("kind") for h in harmonies] == ["major", "dominant", "half-diminished"]
    assert [harmonies[1].findtext(f"bass/bass-{x}") for x in ("step", "alter")] == ["F", "1"]


def test_the_header_says_who_what_and_how():
    root = parse(to_musicxml(scores.two_hands(), {"notes.instruments": "piano", "metre.beat_one_s": 1.5}))
    assert root.get("version") == "4.0"
    assert root.findtext("work/work-title") == "Two Hands"
    assert root.find("identification/creator").attrib == {"type": "composer"}
    field = root.find("identification/miscellaneous/miscellaneous-field")
    assert field.get("name") == "rescored-settings"
    assert json.loads(field.text) == {"notes.instruments": "piano", "metre.beat_one_s": 1.5}
    assert "Music21" not in [c.text for c in parse(to_musicxml(scores.scale())).iter("creator")]


def test_parts_have_names_sounds_staves_and_clefs():
    root = parse(to_musicxml(scores.band()))
    described = root.findall("part-list/score-part")
    assert [p.findtext("part-name") for p in described] == ["Guitar", "Piano", "Drums"]
    assert [p.findtext("midi-instrument/midi-program") for p in described] == ["25", "1", None]
    assert [p.findtext("midi-instrument/midi-channel") for p in described] == ["1", "2", "10"]
    assert {m.text for m in described[2].iter("midi-unpitched")} == {"37", "39", "43"}
    guitar, piano, drums = (p.find("measure/attributes") for p in root.findall("part"))
    assert guitar.findtext("clef/clef-octave-change") == "-1"
    assert piano.findtext("staves") == "2" and [c.findtext("sign") for c in piano.findall("clef")] == ["G", "F"]
    assert drums.findtext("clef/sign") == "percussion"
    assert len(root.findall(".//unpitched")) == 9


def test_equal_scores_are_equal_bytes_and_many_parts_fit():
    assert to_musicxml(scores.band()) == to_musicxml(scores.band())
    musicxml = to_musicxml(scores.scale())
    assert to_mxl(musicxml) == to_mxl(musicxml)
    parts = tuple(Part(f"p{i}", f"Voice {i}") for i in range(20))
    crowd = compose({(p.id, 1, 1): "w:C4" for p in parts}, parts=parts)
    channels = [int(c.text) for c in parse(to_musicxml(crowd)).iter("midi-channel")]
    assert len(channels) == 20 and 10 not in channels and max(channels) <= 16


def test_mxl_is_the_same_document_compressed():
    musicxml = to_musicxml(scores.two_hands())
    with zipfile.ZipFile(io.BytesIO(to_mxl(musicxml))) as archive:
        container = ElementTree.fromstring(archive.read("META-INF/container.xml"))
        inside = archive.read(container.find(".//rootfile").get("full-path")).decode()
    assert inside == musicxml


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("musescore3"), reason="needs MuseScore 3")
@pytest.mark.parametrize("name", [n for n in scores.ALL if n != "band"])
def test_musescore_reads_every_note_and_finds_nothing_corrupt(name, tmp_path, monkeypatch):
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    score = scores.ALL[name]()
    (tmp_path / "a.musicxml").write_text(to_musicxml(score), encoding="utf-8")
    for source, target in (("a.musicxml", "b.mscz"), ("b.mscz", "c.musicxml")):  # reading .mscz checks the measures
        done = subprocess.run(["musescore3", "-o", tmp_path / target, tmp_path / source], capture_output=True,
                              text=True, timeout=240)
        assert done.returncode == 0 and "corrupt" not in (done.stdout + done.stderr).lower()
    assert notes_read_by_partitura((tmp_path / "c.musicxml").read_text(), tmp_path) == written(score)


# ---------------------------------------------------------------- MIDI


def read_midi(data):
    return pretty_midi.PrettyMIDI(io.BytesIO(data))


@every_score
def test_performed_midi_keeps_times_and_its_bars_are_the_measures(name):
    result = transcription(scores.ALL[name]())
    midi = read_midi(performed_midi(result.performance, result.grid))
    for part, track in zip(result.performance.parts, midi.instruments, strict=True):
        played = sorted((n.onset_s, n.pitch, n.velocity) for n in result.performance.notes if n.part == part.id)
        found = sorted((n.start, n.pitch, n.velocity) for n in track.notes)
        assert [n[1:] for n in found] == [n[1:] for n in played]
        assert np.allclose([n[0] for n in found], [n[0] for n in played], atol=1e-3)
        assert (track.name, track.program, track.is_drum) == (part.name, part.program, part.percussion)
    bars = midi.get_downbeats()
    inside = result.grid.times_s[(result.grid.beat == 1) & (result.grid.times_s <= bars[-1] + 1e-3)]
    assert len(inside) and all(np.abs(bars - t).min() < 1e-3 for t in inside)


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 20), st.lists(st.floats(0.15, 2.0), min_size=2, max_size=40), st.integers(0, 3),
       st.lists(st.tuples(st.floats(0, 60), st.floats(0.02, 3), st.integers(21, 108)), max_size=30))
def test_performed_midi_is_exact_to_a_millisecond_in_any_tempo(first_s, beats_s, pickup, played):
    times = first_s + np.cumsum(beats_s)
    counted = np.arange(len(times)) - pickup
    grid = BeatGrid(times, counted.astype(float), counted // 4 + 1, counted % 4 + 1,
                    (TimeSignature(0 if pickup else 1, Fraction(-pickup), 4, 4),))
    struck = {(round(at * 20), pitch): (at, length) for at, length, pitch in played}  # one key, one stroke
    notes = tuple(Note(str(i), at, at + length, pitch, 64)
                  for i, ((_, pitch), (at, length)) in enumerate(struck.items()))
    midi = read_midi(performed_midi(Performance(notes, (Part("piano", "Piano"),)), grid))
    found = sorted((n.pitch, n.start) for track in midi.instruments for n in track.notes)
    expected = sorted((n.pitch, n.onset_s) for n in notes)
    assert [p for p, _ in found] == [p for p, _ in expected]
    assert np.allclose([t for _, t in found], [t for _, t in expected], atol=1e-3)


def test_pedal_is_controller_64_of_the_keyboard():
    result = transcription(scores.band())
    guitar, piano, _ = read_midi(performed_midi(result.performance, result.grid)).instruments
    assert not guitar.control_changes
    changes = [(c.number, c.value, c.time) for c in piano.control_changes]
    assert [(n, v) for n, v, _ in changes] == [(64, 127), (64, 0), (64, 127), (64, 0)]
    assert np.allclose([t for *_, t in changes], [0.5, 1.2, 1.5, 2.25], atol=1e-3)


def test_a_key_struck_again_ends_the_note_before():
    notes = (Note("a", 0.5, 3.0, 60, 80), Note("b", 1.0, 2.0, 60, 90))
    result = transcription(scores.two_hands())
    midi = read_midi(performed_midi(Performance(notes, (Part("piano", "Piano"),)), result.grid))
    assert np.allclose([(n.start, n.end) for n in midi.instruments[0].notes], [(0.5, 1.0), (1.0, 2.0)], atol=1e-3)


def test_written_midi_is_the_score_in_its_tempo():
    midi = read_midi(written_midi(scores.pickup()))  # 120 quarters a minute, pickup of one
    notes = sorted((n.start, n.pitch, n.end) for hand in midi.instruments for n in hand.notes)
    assert np.allclose([t for t, *_ in notes[:3]], [0, 1 / 6, 2 / 6], atol=1e-3)
    assert [len(hand.notes) for hand in midi.instruments] == [
        sum(n.staff == staff for n in scores.pickup().notes) for staff in (1, 2)]
    assert [(s.numerator, s.denominator) for s in midi.time_signature_changes] == [(1, 4), (3, 4)]
    assert np.allclose(midi.get_downbeats()[:3], [0, 0.5, 2.0], atol=1e-3)
    tied = read_midi(written_midi(scores.two_hands())).instruments[0].notes
    assert any(n.pitch == 73 and n.end - n.start == pytest.approx(2 * 60 / 72, abs=1e-3) for n in tied)


# ---------------------------------------------------------------- pages


@every_score
def test_the_pages_show_every_notehead_by_its_id(name):
    score = scores.ALL[name]()
    engraving = Engraving(to_musicxml(score))
    svg = "".join(engraving.svg(n + 1) for n in range(engraving.pages))
    shown = set(re.findall(r'<g id="([^"]+)" class="note', svg))
    assert {note_id_of(i) for i in shown} >= {n.id for n in score.notes}
    assert f'id="{measure_id(score.measures[-1].number)}"' in svg


def test_long_scores_fill_several_pages_and_threads_may_share_them():
    score = compose({("melody", 1, 1): " | ".join(["e:C4 e:D4 e:E4 e:F4 e:G4 e:A4 e:B4 e:C5"] * 80)}, parts=(MELODY,))
    pages = []

    def engrave():
        engraving = Engraving(to_musicxml(score))
        pages.extend(engraving.svg(n + 1) for n in range(engraving.pages))

    threads = [threading.Thread(target=engrave) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pages) >= 4 and len(pages) % 2 == 0
    assert all("<svg" in page for page in pages)


def test_what_is_no_musicxml_is_not_engraved():
    with pytest.raises(ValueError, match="cannot read"):
        Engraving("<html/>")


@pytest.mark.slow
@pytest.mark.parametrize("title", ["Two Hands", "Времена года", "東京物語", "🎹 #panic() \"<b>\" \\ ]", "x" * 300, ""])
def test_pdf_has_its_title_whatever_that_is(title, tmp_path):
    pdf = to_pdf(to_musicxml(replace(scores.two_hands(), title=title)))
    assert pdf.startswith(b"%PDF")
    (tmp_path / "a.pdf").write_bytes(pdf)
    if shutil.which("pdftotext"):
        text = subprocess.run(["pdftotext", tmp_path / "a.pdf", "-"], capture_output=True, text=True, check=True).stdout
        assert "A. Nonymous" in text and (title[:9] in text or "🎹" in title or "東" in title)


# ---------------------------------------------------------------- sound


def test_a4_sounds_at_440_hz():
    audio = render(Performance((Note("a", 0.2, 1.2, 69, 90, part="f"),), (Part("f", "Flute", program=73),)), 22050)
    assert (audio.rate_hz, audio.samples.shape[0]) == (22050, 2)
    tone = audio.mono[int(0.4 * 22050):int(1.0 * 22050)]
    peak_hz = np.argmax(np.abs(np.fft.rfft(tone * np.hanning(len(tone))))) * 22050 / len(tone)
    assert abs(peak_hz - 440) < 4
    assert np.abs(audio.mono[:int(0.19 * 22050)]).max() < 1e-3 < np.abs(tone).max()


def test_pedal_holds_the_sound_and_nothing_exceeds_full_scale():
    chord = tuple(Note(str(p), 0.1, 0.3, p, 127) for p in range(40, 90, 2))
    piano = (Part("piano", "Piano"),)
    dry, wet = (render(Performance(chord, piano, pedal=p, duration_s=3.0)) for p in ((), (Span(0.0, 2.5),)))
    assert max(np.abs(a.samples).max() for a in (dry, wet)) <= 1.0
    late = slice(int(1.5 * 44100), int(2.0 * 44100))
    assert np.abs(wet.mono[late]).mean() > 5 * np.abs(dry.mono[late]).mean()


def test_any_number_of_parts_sounds_and_no_note_is_silence():
    parts = (*(Part(f"p{i}", f"P{i}", program=4 * i) for i in range(20)), Part("d", "Drums", percussion=True))
    audio = render(Performance(tuple(Note(p.id, 0.1, 0.5, 60, 80, part=p.id) for p in parts), parts))
    assert np.abs(audio.samples).max() > 0.01
    empty = render(Performance((), parts, duration_s=1.0))
    assert empty.duration_s >= 1.0 and not empty.samples.any()


# ---------------------------------------------------------------- JSON


def through_text(result):
    return from_json(json.loads(json.dumps(to_json(result))))


def same(a, b):
    """Equal but for arrays, which `==` does not compare."""
    arrays = ("times_s", "ql", "measure", "beat", "confidence")
    grids = [[getattr(x.grid, name).tolist() for name in arrays] for x in (a, b)]
    pulse = replace(a.performance, pulse=None), replace(b.performance, pulse=None)
    return (a.score, a.source, dict(a.settings), a.warnings) == (b.score, b.source, dict(b.settings), b.warnings) \
        and pulse[0] == pulse[1] and grids[0] == grids[1] and a.grid.time_signatures == b.grid.time_signatures


@settings(max_examples=40, deadline=None)
@given(any_score())
def test_json_brings_back_the_whole_transcription(score):
    result = transcription(score)
    again = through_text(result)
    assert same(result, again)
    assert to_musicxml(again.score) == to_musicxml(score)


@every_score
def test_json_has_the_documented_fields(name):
    score = scores.ALL[name]()
    data = to_json(transcription(score))
    assert all(note.keys() >= {
        "id", "part", "onset_s", "offset_s", "pitch", "velocity", "confidence", "measure", "onset_ql", "duration_ql",
        "staff", "voice", "step", "alter", "octave"} for note in data["notes"])
    first = data["notes"][0]
    assert first["onset_ql"] == float(score.measures[0].ql) and isinstance(first["onset_ql"], float)
    assert first["measure"] == score.measures[0].number
    assert {"time_s", "ql", "measure", "bar", "beat"} <= data["beats"][0].keys()
    assert {"measure", "ql", "numerator", "denominator"} <= data["time_signatures"][0].keys()
    assert {"measure", "ql", "fifths", "mode"} <= data["keys"][0].keys()
    assert {"ql", "bpm"} <= data["tempi"][0].keys()
    assert all({"ql", "symbol"} <= c.keys() for c in data["chords"])
    assert data["warnings"] == ["A part was hard to hear."]
    assert isinstance(data["rescored"], str) and data["source"]["title"] == score.title


def test_json_keeps_unwritten_notes_and_the_pulse():
    result = transcription(scores.scale())
    extra = Note("ghost", 0.7, 0.8, 80, 20, 0.1, "melody")
    pulse = Pulse(50.0, np.linspace(0, 1, 30), np.zeros(30), "onset-strength")
    result = replace(result, performance=replace(
        result.performance, notes=(*result.performance.notes, extra), pulse=pulse))
    again = through_text(result)
    assert same(result, again) and extra in again.performance.notes
    assert again.performance.pulse.tracker == "onset-strength"
    assert np.allclose(again.performance.pulse.beat, pulse.beat, atol=1e-4)


def damaged(change):
    data = json.loads(json.dumps(to_json(transcription(scores.two_hands()))))
    change(data)
    return data


@pytest.mark.parametrize("change", [
    lambda d: d.clear(), lambda d: d.pop("notes"), lambda d: d.pop("format"), lambda d: d.update(format="1"),
    lambda d: d.update(notes=3), lambda d: d["notes"][0].pop("pitch"), lambda d: d["notes"][0].update(pitch="C4"),
    lambda d: d["notes"][0].update(pitch=300), lambda d: d["notes"][0].update(onset_s=float("nan")),
    lambda d: d["notes"][0].update(part="nobody"), lambda d: d["notes"][0].update(id=d["notes"][1]["id"]),
    lambda d: d["beats"].clear(), lambda d: d["beats"].reverse(), lambda d: d["keys"][0].update(mode="lydian"),
    lambda d: d["score"]["symbols"][0].update(notes=["nothing"]), lambda d: d["score"].update(parts=None),
    lambda d: d["score"]["symbols"][0].update(measure=99), lambda d: d.update(settings=[]),
    lambda d: d["notes"][0].update(step="H"), lambda d: d["score"]["symbols"][0].update(type="long"),
    lambda d: d["score"]["clefs"][0].update(line=9), lambda d: d["score"]["measures"][0].update(denominator=0),
    lambda d: d["tempi"][0].update(beat_ql=7), lambda d: d["keys"][0].update(fifths=2**70),
    lambda d: d["score"]["parts"][0].update(staves=-1), lambda d: d["score"]["symbols"][0].update(onset_ql=1e308),
    lambda d: d["time_signatures"].clear(), lambda d: d["tempi"][0].update(ql=True),
])
def test_damaged_json_is_refused_in_words(change):
    with pytest.raises(InputError, match="no transcription saved by rescored"):
        from_json(damaged(change))


@pytest.mark.parametrize("data", [None, 3, "x", [], {}, [[]], {"format": 1}])
def test_other_json_is_refused_in_words(data):
    with pytest.raises(InputError, match="no transcription"):
        from_json(data)


def test_a_newer_format_says_update():
    with pytest.raises(InputError, match="newer"):
        from_json(damaged(lambda d: d.update(format=99)))


def test_text_that_no_file_can_hold_is_left_out():
    read = from_json(damaged(lambda d: d["score"].update(title="Two\x00 \ud800Hands", composer="\x1b[31mA")))
    assert (read.score.title, read.score.composer) == ("Two Hands", "[31mA")


def test_unknown_and_absent_optional_fields_do_not_matter():
    def change(data):
        data["future"] = 1
        data["notes"][0]["colour"] = "red"
        del data["score"]["marks"], data["performance"]["pulse"]

    assert from_json(damaged(change)).score == replace(scores.two_hands(), marks=())


# ---------------------------------------------------------------- files


@pytest.mark.slow
def test_save_writes_every_file_side_by_side_and_nothing_else(tmp_path):
    tone = Audio(np.sin(np.arange(22050) / 20)[None].astype(np.float32), 22050)
    result = replace(transcription(scores.two_hands()), stems=Stems({"piano": tone, "vocals": tone}, "htdemucs"))
    paths = save(result, tmp_path / "new" / "folder", "song", stems=True)
    folder = tmp_path / "new" / "folder"
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} == {
        "song.musicxml", "song.mxl", "song.mid", "song.score.mid", "song.pdf", "song.json",
        "song.stems/piano.flac", "song.stems/vocals.flac"}
    assert set(paths) == {"musicxml", "mxl", "midi", "score_midi", "pdf", "json", "stems"}
    assert same(load(paths["json"]), result)
    assert save(result, folder, "song")["pdf"] == paths["pdf"]  # again, over the old ones
    zip_stems(result.stems, "song", zipped := io.BytesIO())
    with zipfile.ZipFile(zipped) as archive:
        assert archive.namelist() == ["song.stems/piano.flac", "song.stems/vocals.flac"]
        assert archive.read("song.stems/piano.flac")[:4] == b"fLaC"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"{}"])
def test_a_file_that_is_no_transcription_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError):
        load(tmp_path / "a.json")
    with pytest.raises(InputError):
        load(tmp_path / "absent.json")


@given(st.text(max_size=400))
def test_any_name_becomes_a_safe_one(name):
    safe = safe_name(name)
    assert safe and len(safe.encode()) <= 121
    assert not set(safe) & set('/\\:*?"<>|\0\n') and safe not in (".", "..") and not safe.startswith((".", "-"))
    assert Path("x", safe).parent == Path("x")
    assert safe_name(safe) == safe


@pytest.mark.parametrize(("name", "safe"), [
    ("Für Elise", "Für Elise"), ("東京物語", "東京物語"), ("song__take-2 (live).v3", "song__take-2 (live).v3"),
    ("../../etc/passwd", "_.._etc_passwd"), ('He said "hi"/there', "He said _hi_there"), ("🎹", "untitled"),
    ("", "untitled"), ("...", "untitled"), ("CON", "_CON"), ("a" * 300, "a" * 120),
])
def test_names_stay_readable(name, safe):
    assert safe_name(name) == safe
