"""Tablature in MusicXML: strings and frets at the notes, on a staff of lines that are strings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from xml.etree.ElementTree import Element, SubElement

from ..music import Fret, Part
from .ids import element_id, note_id_of

_NAMES = (("C", 0), ("C", 1), ("D", 0), ("E", -1), ("E", 0), ("F", 0), ("F", 1), ("G", 0), ("A", -1), ("A", 0),
          ("B", -1), ("B", 0))
_LEFT_OUT = ("accidental", "beam", "notations", "stem", "notehead", "staff")


def add_tablature(part: Element, written: Part, frets: Mapping[str, Fret]) -> None:
    """Turn a part's only staff into tablature, or add one below it."""
    measures = part.findall("measure")
    if written.tablature_only:
        for clef in [(a, c) for a in part.iter("attributes") for c in a.findall("clef")]:
            clef[0].remove(clef[1])
        _describe(measures[0], written, 1)
        for note in part.iter("note"):
            _finger(note, frets)
        return
    pieces: dict[str, int] = {}
    for note in part.iter("note"):
        if (identity := note.get("id")) is not None:
            pieces[note_id_of(identity)] = pieces.get(note_id_of(identity), 0) + 1

    def next_id(identity: str) -> str:
        name = note_id_of(identity)
        pieces[name] += 1
        return element_id(name, pieces[name])

    for measure in measures:
        _add_staff(measure, frets, next_id)
    _describe(measures[0], written, 2)


def _describe(measure: Element, written: Part, staff: int) -> None:
    """The clef and the strings of a tablature, which is the `staff`-th of its part."""
    attributes = measure.find("attributes")
    assert attributes is not None
    for clef in attributes.findall("clef"):
        clef.set("number", "1")
    place = 1 + max(i for i, e in enumerate(attributes) if e.tag in ("divisions", "key", "time", "staves", "clef"))
    if staff == 2:
        first_clef = next(i for i, e in enumerate(attributes) if e.tag == "clef")
        staves = Element("staves")
        staves.text = "2"
        attributes.insert(first_clef, staves)
        symbol = Element("part-symbol")
        symbol.text = "bracket"
        attributes.insert(first_clef + 1, symbol)
        place += 2
    numbered = {"number": str(staff)} if staff > 1 else {}
    clef = Element("clef", numbered)
    SubElement(clef, "sign").text = "TAB"
    SubElement(clef, "line").text = "5"
    details = Element("staff-details", numbered)
    SubElement(details, "staff-lines").text = str(len(written.strings))
    for line, pitch in enumerate(written.strings, 1):
        tuning = SubElement(details, "staff-tuning", line=str(line))
        step, alter = _NAMES[pitch % 12]
        SubElement(tuning, "tuning-step").text = step
        if alter:
            SubElement(tuning, "tuning-alter").text = str(alter)
        SubElement(tuning, "tuning-octave").text = str(pitch // 12 - 1)
    attributes.insert(place, clef)
    attributes.insert(place + 1, details)


def _add_staff(measure: Element, frets: Mapping[str, Fret], next_id: Callable[[str], str]) -> None:
    """The measure's notes once more, as numbers on strings."""
    timed = [e for e in measure if e.tag in ("note", "backup", "forward")]
    length = 0
    copies: list[Element] = []
    for element in timed:
        copy = deepcopy(element)
        copies.append(copy)
        if element.tag != "note":
            length += int(element.findtext("duration") or 0) * (-1 if element.tag == "backup" else 1)
            continue
        if element.find("chord") is None:
            length += int(element.findtext("duration") or 0)
        _put_staff(element, 1)
        for tag in _LEFT_OUT:
            for child in copy.findall(tag):
                copy.remove(child)
        voice = copy.find("voice")
        assert voice is not None
        voice.text = str(int(voice.text or 1) + 4)
        if identity := element.get("id"):
            copy.set("id", next_id(identity))
        if copy.find("rest") is not None or (element.get("id") and note_id_of(element.get("id", "")) not in frets):
            copy.set("print-object", "no")
        if copy.find("rest") is None:
            _put_stem(copy)
        _put_staff(copy, 2)
        _finger(copy, frets)
    end = list(measure).index(timed[-1]) + 1 if timed else len(measure)
    backup = Element("backup")
    SubElement(backup, "duration").text = str(length)
    for i, element in enumerate([backup, *copies]):
        measure.insert(end + i, element)


def _put_stem(note: Element) -> None:
    """No stem: the staff above says how long notes are."""
    stem = Element("stem")
    stem.text = "none"
    later = [i for i, e in enumerate(note) if e.tag in ("voice", "type", "dot", "time-modification", "accidental")]
    note.insert(later[-1] + 1, stem)


def _put_staff(note: Element, number: int) -> None:
    """A note's staff: it comes after its time, stem and notehead, before beams and notations."""
    for old in note.findall("staff"):
        note.remove(old)
    staff = Element("staff")
    staff.text = str(number)
    later = [i for i, e in enumerate(note) if e.tag in ("beam", "notations", "lyric", "play")]
    note.insert(later[0] if later else len(note), staff)


def _finger(note: Element, frets: Mapping[str, Fret]) -> None:
    fret = frets.get(note_id_of(note.get("id", "")))
    if fret is None:
        return
    notations = note.find("notations")
    if notations is None:
        notations = SubElement(note, "notations")
    technical = SubElement(notations, "technical")
    SubElement(technical, "string").text = str(fret.string)
    SubElement(technical, "fret").text = str(fret.fret)
