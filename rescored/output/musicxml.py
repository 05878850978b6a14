"""MusicXML 4.0: notes, rests, voices, staves and attributes by music21, the rest added to its XML.

Every note carries its id (ids.py), every measure one too. music21 decides nothing: symbols are
written as they stand in the Score; beams.py and accidentals.py complete them; directions.py adds
tempo, dynamics, pedal, octave and chord marks, which music21 would place per measure and slowly.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import groupby
from typing import Any
from xml.etree import ElementTree

from music21 import (
    articulations,
    beam,
    chord,
    clef,
    duration,
    expressions,
    instrument,
    key,
    layout,
    metadata,
    meter,
    note,
    percussion,
    pitch,
    stream,
    tie,
)
from music21.musicxml.m21ToXml import ScoreExporter

from .. import __version__
from ..music import Clef, Measure, Part, Score, Symbol, WrittenNote
from .accidentals import Accidentals
from .beams import beam_groups, beams
from .directions import add_directions
from .ids import element_id, measure_id, note_id_of
from .midi import channels
from .tabs import add_tablature

SETTINGS_FIELD = "rescored-settings"
_HEADER = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE score-partwise PUBLIC '
    '"-//Recordare//DTD MusicXML 4.0 Partwise//EN" "http://www.musicxml.org/dtds/partwise.dtd">\n'
)
_CONTAINER = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<container><rootfiles><rootfile full-path="score.musicxml" '
    'media-type="application/vnd.recordare.musicxml+xml"/></rootfiles></container>\n'
)
UNPLAYABLE = "#C00000"  # colour of notes beyond their instrument's range
_PLAIN_TYPES = {Fraction(4): "whole", Fraction(2): "half", Fraction(1): "quarter", Fraction(1, 2): "eighth",
                Fraction(1, 4): "16th", Fraction(1, 8): "32nd", Fraction(1, 16): "64th"}
BRACKETED = frozenset({"woodwind", "brass", "mallets", "voice", "strings"})  # families of `Part`
_ORNAMENTS = {"trill": expressions.Trill, "mordent": expressions.Mordent, "turn": expressions.Turn,
              "inverted-mordent": expressions.InvertedMordent}
_TIES = {(False, True): "start", (True, True): "continue", (True, False): "stop"}


def to_musicxml(score: Score, settings: Mapping[str, Any] | None = None, *, part_name: bool = False) -> str:
    """The score as a MusicXML 4.0 document; `settings` are kept in it as a `miscellaneous-field`.

    `part_name`: it is for one player, whose instrument stands at the top left instead of before every system;
    silent measures are drawn together.
    """
    root = ScoreExporter(_Writer(score).write(), makeNotation=False).parse()
    _complete_header(root, score, settings)
    for index, part in enumerate(root.findall("part")):
        for measure, element in zip(score.measures, part.findall("measure"), strict=True):
            element.set("id", measure_id(measure.number, index))
        _add_transposition(part, score.parts[index])
        add_directions(part, index, score)
        if score.parts[index].strings:
            add_tablature(part, score.parts[index], {f.note: f for f in score.frets})
        if score.parts[index].percussion:
            _add_drums(root, part, index, score)
    _bracket_families(root, score)
    if part_name:
        _for_one_player(root, score)
    for parent in root.iter():
        for child in [c for c in parent if c.tag is ElementTree.Comment]:
            parent.remove(child)
    ElementTree.indent(root, " ")
    return _HEADER + ElementTree.tostring(root, encoding="unicode") + "\n"


def to_mxl(musicxml: str) -> bytes:
    """The document compressed as `.mxl` (MusicXML 4.0, "Compressed MXL files")."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in (("META-INF/container.xml", _CONTAINER), ("score.musicxml", musicxml)):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))  # no clock: equal scores are equal bytes
            archive.writestr(entry, text.encode(), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _complete_header(root: ElementTree.Element, score: Score, settings: Mapping[str, Any] | None) -> None:
    """What music21 leaves out of the header or fills in with its own name."""
    for element in [*root.findall("movement-title"), *(root.findall("work") if not score.title else ())]:
        root.remove(element)
    identification = root.find("identification")
    assert identification is not None
    for element in [*identification.findall("creator"), *identification.findall("miscellaneous")]:
        identification.remove(element)
    if score.composer:
        creator = ElementTree.Element("creator", type="composer")
        creator.text = score.composer
        identification.insert(0, creator)
    encoding = identification.find("encoding")
    assert encoding is not None
    encoding.remove(encoding[0])  # the date: equal scores are equal bytes
    software = ElementTree.Element("software")
    software.text = f"rescored {__version__}"
    encoding.insert(0, software)
    for supports in [s for s in encoding.findall("supports") if s.get("element") == "stem"]:
        encoding.remove(supports)
    if settings is not None:
        field = ElementTree.SubElement(
            ElementTree.SubElement(identification, "miscellaneous"), "miscellaneous-field", name=SETTINGS_FIELD)
        field.text = json.dumps(dict(settings), ensure_ascii=False)
    part_list = root.find("part-list")
    assert part_list is not None
    for kind, justify, valign, text in (("title", "center", "top", score.title),
                                        ("composer", "right", "bottom", score.composer)):
        if text:
            credit = ElementTree.Element("credit", page="1")
            root.insert(list(root).index(part_list), credit)
            ElementTree.SubElement(credit, "credit-type").text = kind
            words = ElementTree.SubElement(credit, "credit-words", justify=justify, halign=justify, valign=valign)
            words.text = text
    described = zip(score.parts, channels(score.parts), part_list.findall("score-part"), strict=True)
    for index, (part, channel, element) in enumerate(described):
        element[:] = []
        identity = f"instrument-{index + 1}"
        ElementTree.SubElement(element, "part-name").text = part.name
        if part.abbreviation:
            ElementTree.SubElement(element, "part-abbreviation").text = part.abbreviation
        instrument_ = ElementTree.SubElement(element, "score-instrument", id=identity)
        ElementTree.SubElement(instrument_, "instrument-name").text = part.name
        midi = ElementTree.SubElement(element, "midi-instrument", id=identity)
        ElementTree.SubElement(midi, "midi-channel").text = str(channel + 1)
        ElementTree.SubElement(midi, "midi-program").text = str(part.program + 1)


def _add_transposition(part: ElementTree.Element, written: Part) -> None:
    if not written.transpose:
        return
    octaves = abs(written.transpose) // 12 * (1 if written.transpose > 0 else -1)
    chromatic = written.transpose - 12 * octaves
    letters = (-7 * chromatic + 5) % 12 - 5  # fifths from the sounding to the written note; a fifth is four letters
    attributes = part.find("measure/attributes")
    assert attributes is not None
    transpose = ElementTree.SubElement(attributes, "transpose")
    ElementTree.SubElement(transpose, "diatonic").text = str(-(4 * letters % 7) if chromatic < 0 else -4 * letters % 7)
    ElementTree.SubElement(transpose, "chromatic").text = str(chromatic)
    if octaves:
        ElementTree.SubElement(transpose, "octave-change").text = str(octaves)


def _bracket_families(root: ElementTree.Element, score: Score) -> None:
    """A bracket around neighbouring parts of one family of the orchestra."""
    part_list = root.find("part-list")
    assert part_list is not None
    described = part_list.findall("score-part")
    number = 0
    for family, members in groupby(range(len(score.parts)), lambda i: score.parts[i].family):
        run = list(members)
        if family not in BRACKETED or len(run) < 2:
            continue
        number += 1
        start = ElementTree.Element("part-group", type="start", number=str(number))
        ElementTree.SubElement(start, "group-symbol").text = "bracket"
        ElementTree.SubElement(start, "group-barline").text = "yes"
        part_list.insert(list(part_list).index(described[run[0]]), start)
        stop = ElementTree.Element("part-group", type="stop", number=str(number))
        part_list.insert(list(part_list).index(described[run[-1]]) + 1, stop)


def _for_one_player(root: ElementTree.Element, score: Score) -> None:
    part_list = root.find("part-list")
    assert part_list is not None
    credit = ElementTree.Element("credit", page="1")
    ElementTree.SubElement(credit, "credit-type").text = "part name"
    words = ElementTree.SubElement(credit, "credit-words", justify="left", halign="left", valign="top")
    words.text = score.parts[0].name
    root.insert(list(root).index(part_list), credit)
    for tag in ("part-name", "part-abbreviation"):
        for name in part_list.findall(f"score-part/{tag}"):
            name.set("print-object", "no")
    measures = root.findall("part/measure")
    for k, length in _silences(measures):
        attributes = measures[k].find("attributes")
        if attributes is None:
            attributes = ElementTree.Element("attributes")
            measures[k].insert(0, attributes)
        style = ElementTree.SubElement(attributes, "measure-style")
        ElementTree.SubElement(style, "multiple-rest").text = str(length)


def _silences(measures: list[ElementTree.Element]) -> Iterator[tuple[int, int]]:
    """(first, how many) of measures in a row in which nothing happens; none is short, or of another metre."""

    def is_silent(measure: ElementTree.Element) -> bool:
        return all(note.find("rest") is not None for note in measure.iter("note")) \
            and measure.get("implicit") != "yes" and not any(True for _ in measure.iter("harmony"))

    def begins_something(measure: ElementTree.Element) -> bool:
        return measure.find("attributes") is not None or measure.find("direction") is not None

    k = 0
    while k < len(measures):
        n = 0
        while k + n < len(measures) and is_silent(measures[k + n]) and not (n and begins_something(measures[k + n])):
            n += 1
        if n > 1:
            yield k, n
        k += max(n, 1)


def _add_drums(root: ElementTree.Element, part: ElementTree.Element, index: int, score: Score) -> None:
    """A kit's drums as instruments of their own: an unpitched note says where it stands, not which drum it is."""
    from pretty_midi import note_number_to_drum_name

    described = root.findall("part-list/score-part")[index]
    whole_kit = described.findall("score-instrument") + described.findall("midi-instrument")
    channel = described.findtext("midi-instrument/midi-channel")
    for element in whole_kit:
        described.remove(element)
    drums = {n.id: n.pitch for n in score.notes if n.part == score.parts[index].id}
    pitches = sorted(set(drums.values()))
    for pitch_ in pitches:
        one = ElementTree.SubElement(described, "score-instrument", id=f"instrument-{index + 1}-{pitch_}")
        ElementTree.SubElement(one, "instrument-name").text = note_number_to_drum_name(pitch_) or f"Drum {pitch_}"
    for pitch_ in pitches:
        one = ElementTree.SubElement(described, "midi-instrument", id=f"instrument-{index + 1}-{pitch_}")
        ElementTree.SubElement(one, "midi-channel").text = channel
        ElementTree.SubElement(one, "midi-unpitched").text = str(pitch_ + 1)
    for element in part.iter("note"):
        if (identity := element.get("id")) is not None:
            voice = element.find("voice")
            assert voice is not None
            drum = ElementTree.Element("instrument", id=f"instrument-{index + 1}-{drums[note_id_of(identity)]}")
            element.insert(list(element).index(voice), drum)


class _Writer:
    """A Score as a music21 stream: measure by measure, nothing left for music21 to work out."""

    def __init__(self, score: Score):
        self.score = score
        self.symbols: dict[tuple[str, int, int], list[Symbol]] = defaultdict(list)
        for symbol in score.symbols:
            self.symbols[symbol.part, symbol.staff, symbol.measure].append(symbol)
        self.keys = {k.measure: k for k in score.keys}
        self.unplayable = frozenset(score.unplayable)
        self.pieces: dict[str, int] = defaultdict(int)  # noteheads so far, by note id

    def write(self) -> stream.Score:
        result = stream.Score()
        result.insert(0, metadata.Metadata(title=self.score.title))
        for index, part in enumerate(self.score.parts):
            played_by = instrument.Instrument(part.name)
            played_by.partId = f"part-{index + 1}"
            played_by.midiChannel = index % 16  # of no consequence: `_complete_header` says which; music21 has but 15
            kind = stream.PartStaff if part.staves > 1 else stream.Part
            staves = [kind(self._measures(part, staff)) for staff in range(1, part.staves + 1)]
            staves[0].insert(0, played_by)
            for staff in staves:
                result.insert(0, staff)
            if part.staves > 1:
                result.insert(0, layout.StaffGroup(staves, symbol="brace"))
        return result

    def _measures(self, part: Part, staff: int) -> list[stream.Measure]:
        accidentals, fifths = Accidentals(), 0
        clefs = [c for c in self.score.clefs if (c.part, c.staff) == (part.id, staff)]
        metre: tuple[int, int] | None = None
        result: list[stream.Measure] = []
        for measure in self.score.measures:
            written = stream.Measure(number=measure.number)
            if measure.number == 0:
                written.showNumber = stream.enums.ShowNumber.NEVER
            if measure.number in self.keys and not part.percussion:
                fifths = part.key_of(self.keys[measure.number].fifths)
                written.insert(0, key.KeySignature(fifths).asKey(self.keys[measure.number].mode))
            if (measure.numerator, measure.denominator) != metre:
                metre = (measure.numerator, measure.denominator)
                written.insert(0, meter.TimeSignature(f"{metre[0]}/{metre[1]}"))
            for change in clefs:
                at = change.ql - measure.ql  # one that holds from a barline on stands before the barline
                if 0 < at <= measure.length_ql or (at <= 0 and not result):
                    written.insert(max(at, 0), _clef(change))
            accidentals.begin_measure(fifths)
            for voice in self._voices(part, staff, measure, accidentals):
                written.insert(0, voice)
            result.append(written)
        result[-1].rightBarline = "final"
        return result

    def _voices(self, part: Part, staff: int, measure: Measure, accidentals: Accidentals) -> Iterator[stream.Voice]:
        symbols = self.symbols[part.id, staff, measure.number]
        is_short = measure.length_ql < measure.signature.measure_ql
        printed: dict[int, list[bool]] = {}  # a reader takes in all voices, in time order
        for i in sorted(range(len(symbols)), key=lambda i: (symbols[i].onset_ql, not symbols[i].grace)):
            printed[i] = accidentals.printed(symbols[i], [self.score.note[n] for n in symbols[i].notes])
        numbered = sorted(enumerate(symbols), key=lambda x: (x[1].voice, x[1].onset_ql, not x[1].grace))
        for number, members in groupby(numbered, lambda x: x[1].voice):
            indices, line = zip(*members, strict=True)
            voice = stream.Voice(id=str(4 * (staff - 1) + number))
            groups = beam_groups(line, measure)
            elements = [self._element(s, part, printed[i], is_short=is_short)
                        for i, s in zip(indices, line, strict=True)]
            _set_tuplets(line, elements, groups)
            for group in groups:
                for i, kinds in zip(group, beams([line[i] for i in group]), strict=True):
                    elements[i].beams = beam.Beams()
                    for kind in kinds:
                        elements[i].beams.append(*kind.split("-"))
            for symbol, element in zip(line, elements, strict=True):
                voice.coreInsert(symbol.onset_ql - measure.ql, element)
            voice.coreElementsChanged()
            yield voice

    def _element(self, symbol: Symbol, part: Part, printed: list[bool], *, is_short: bool) -> note.GeneralNote:
        length = duration.GraceDuration if symbol.grace else duration.Duration
        if symbol.whole_measure:
            rest = note.Rest(symbol.duration_ql)
            # In a pickup readers would take a rest for the whole measure as a full one.
            rest.fullMeasure = not is_short or rest.duration.type == "complex"
            return rest
        lasting = length(type=symbol.type, dots=symbol.dots)
        if not symbol.notes:
            rest = note.Rest(duration=lasting)
            rest.fullMeasure = False
            rest.style.hideObjectOnPrint = symbol.hidden
            return rest
        heads = [self._head(self.score.note[n], part, symbol, shown)
                 for n, shown in zip(symbol.notes, printed, strict=True)]
        element = heads[0]
        if len(heads) > 1:
            element = percussion.PercussionChord(heads) if part.percussion else chord.Chord(heads)
            element.sortAscending = lambda: None  # they are; music21 would copy every chord to sort it
        if part.percussion:  # hands and feet, also where the others rest
            element.stemDirection = "up" if symbol.voice == 1 else "down"
        element.duration = lasting
        if symbol.staccato:
            element.articulations.append(articulations.Staccato())
        if symbol.ornament:
            element.expressions.append(_ORNAMENTS[symbol.ornament]())
        if symbol.arpeggio:
            element.expressions.append(expressions.ArpeggioMark())
        if symbol.accent:
            element.articulations.append(articulations.Accent())
        if symbol.fermata:
            sign = expressions.Fermata()
            sign.type = "upright"
            element.expressions.append(sign)
        return element

    def _head(self, written: WrittenNote, part: Part, symbol: Symbol, printed: bool) -> note.NotRest:
        head: note.NotRest
        if part.percussion:
            head = note.Unpitched(displayName=f"{written.step}{written.octave}")
            head.notehead = written.head
        else:
            at = pitch.Pitch(step=written.step, octave=written.octave)
            if written.alter or printed:
                at.accidental = pitch.Accidental(written.alter)
                at.accidental.displayStatus = printed
            head = note.Note(at)
            if written.id in self.unplayable:
                head.style.color = UNPLAYABLE
        self.pieces[written.id] += 1
        head.id = element_id(written.id, self.pieces[written.id])
        if symbol.tie_from or symbol.tie_to:
            head.tie = tie.Tie(_TIES[symbol.tie_from, symbol.tie_to])
        return head


def _clef(change: Clef) -> clef.Clef:
    if change.sign == "percussion":
        return clef.PercussionClef()
    return clef.clefFromString(f"{change.sign}{change.line}", change.octave)


def _set_tuplets(line: tuple[Symbol, ...], elements: list[note.GeneralNote], groups: list[list[int]]) -> None:
    """Ratios and brackets; no bracket where one beam says which notes belong together."""
    beamed = {(group[0], group[-1]) for group in groups}
    run: list[int] = []
    for i, symbol in enumerate(line):
        if symbol.tuplet is None or symbol.grace:
            continue
        run.append(i)
        if symbol.tuplet.edge not in ("stop", "alone"):
            continue
        ratio = symbol.tuplet
        unit = _PLAIN_TYPES.get(sum((line[j].duration_ql for j in run), Fraction(0)) / ratio.normal)
        for j in run:
            tuplet = duration.Tuplet(ratio.actual, ratio.normal, bracket=(run[0], run[-1]) not in beamed)
            if unit:
                tuplet.setDurationType(unit)
            edges = ("start" if j == run[0] else "") + ("stop" if j == run[-1] else "")
            tuplet.placement = None  # left to the engraver, as stems are
            tuplet.type = {"startstop": "startStop", "": None}.get(edges, edges)
            elements[j].duration.appendTuplet(tuplet)
        run = []
