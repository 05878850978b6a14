"""Tempo, dynamics, pedal, octave lines, words and chord symbols, put into the measures of a part."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from xml.etree.ElementTree import Element, SubElement

from ..music import ChordSymbol, Mark, Score, TempoMark, renamed

_UNITS = {Fraction(4): "whole", Fraction(2): "half", Fraction(1): "quarter", Fraction(1, 2): "eighth",
          Fraction(1, 4): "16th"}
_DYNAMICS = {"pppp", "ppp", "pp", "p", "mp", "mf", "f", "ff", "fff", "ffff", "fp", "sf", "sfz", "fz", "rf", "rfz"}
_OTTAVA = {"8va": ("down", 8), "8vb": ("up", 8), "15ma": ("down", 15), "15mb": ("up", 15)}
MOST_NUMBERS = 6  # that programs tell apart
_GRADUAL = re.compile(r"(rit|rall|accel|string|allarg|smorz|a tempo)", re.IGNORECASE)
_CHORD = re.compile(r"([A-G])([#b]{0,2})([^/]*)(?:/([A-G])([#b]{0,2}))?")
_CHORD_KINDS = {
    "": "major", "m": "minor", "7": "dominant", "maj7": "major-seventh", "m7": "minor-seventh",
    "dim": "diminished", "dim7": "diminished-seventh", "m7b5": "half-diminished", "aug": "augmented",
    "aug7": "augmented-seventh", "6": "major-sixth", "m6": "minor-sixth", "mmaj7": "major-minor",
    "9": "dominant-ninth", "maj9": "major-ninth", "m9": "minor-ninth", "sus2": "suspended-second",
    "sus4": "suspended-fourth", "5": "power",
}


def add_directions(part: Element, index: int, score: Score) -> None:
    """Put the marks of the `index`-th part into its measures; tempo goes to the first part, chord symbols to
    the first whose names are those of what sounds, so that all can read them."""
    measures = part.findall("measure")
    divisions = int(part.findtext("measure/attributes/divisions") or 1)

    def put(element: Element, ql: Fraction, staff: int, *, ends: bool = False) -> None:
        inside = [i for i, m in enumerate(score.measures) if m.ql < ql or (m.ql == ql and not ends)]
        at = inside[-1] if inside else 0
        offset = round((ql - score.measures[at].ql) * divisions)
        _insert(measures[at], element, offset, staff, ends=ends, staves=score.parts[index].staves)

    if index == 0:
        for tempo in score.tempi:
            put(_tempo(tempo), tempo.ql, 1)
    if score.shows_chords and index == _part_with_chords(score):
        for symbol in score.chords:
            put(_harmony(symbol, score.fifths_moved(score.parts[index], symbol.ql)), symbol.ql, 1)
    # A staff's voices stand one after the other, so that a line may begin in the text before the last one ended:
    # by their numbers they are told apart.
    numbers: Counter[str] = Counter()
    for mark in score.marks:
        if mark.part == score.parts[index].id:
            numbers[mark.kind] = numbers[mark.kind] % MOST_NUMBERS + 1
            for element, ql, ends in _mark(mark, str(numbers[mark.kind])):
                put(element, ql, mark.staff, ends=ends)


def _part_with_chords(score: Score) -> int:
    return next((i for i, part in enumerate(score.parts) if not part.transpose and not part.percussion), 0)


def _insert(measure: Element, element: Element, offset: int, staff: int, *, ends: bool, staves: int) -> None:
    """Before the first note of the staff that begins there (`ends`: after one that ends there).

    Where no note does, at the beginning of the measure with an `<offset>`.
    """
    position, place = 0, None
    children = list(measure)
    after_attributes = sum(1 for _ in _leading(children))
    for i, child in enumerate(children):
        here = child.tag == "note" and int(child.findtext("staff") or 1) == staff
        if not ends and here and position == offset and child.find("chord") is None:
            place = i
            break
        if child.tag in ("note", "forward", "backup") and child.find("chord") is None:
            position += int(child.findtext("duration") or 0) * (-1 if child.tag == "backup" else 1)
        if ends and here and position == offset:
            place = i + 1
    if place is None:
        place = after_attributes
        if offset:
            SubElement(element, "offset").text = str(offset)
    if staves > 1:
        SubElement(element, "staff").text = str(staff)
    for sound in element.findall("sound"):  # comes last
        element.remove(sound)
        element.append(sound)
    measure.insert(place, element)


def _leading(children: list[Element]) -> Iterator[Element]:
    for child in children:
        if child.tag not in ("attributes", "print", "direction", "harmony"):
            return
        yield child


def _direction(*kinds: Element, placement: str) -> Element:
    direction = Element("direction", placement=placement)
    for kind in kinds:
        SubElement(direction, "direction-type").append(kind)
    return direction


def _words(text: str, **style: str) -> Element:
    words = Element("words", {name.replace("_", "-"): value for name, value in style.items()})
    words.text = text
    return words


def _tempo(tempo: TempoMark) -> Element:
    gradual = bool(_GRADUAL.match(tempo.text))
    kinds = []
    if tempo.text:
        kinds.append(_words(tempo.text, font_style="italic") if gradual
                     else _words(f"{tempo.text}\N{NO-BREAK SPACE}", font_weight="bold"))
    if not gradual:
        unit, dots = tempo.beat_ql, 0
        if unit not in _UNITS:
            unit, dots = unit / Fraction(3, 2), 1
        metronome = Element("metronome", parentheses="no")
        SubElement(metronome, "beat-unit").text = _UNITS[unit]
        for _ in range(dots):
            SubElement(metronome, "beat-unit-dot")
        SubElement(metronome, "per-minute").text = str(round(tempo.bpm))
        kinds.append(metronome)
    direction = _direction(*kinds, placement="above")
    SubElement(direction, "sound", tempo=f"{tempo.bpm * float(tempo.beat_ql):.2f}")
    return direction


def _mark(mark: Mark, number: str) -> Iterator[tuple[Element, Fraction, bool]]:
    """The elements of a mark, a line's of this number, with where they stand and whether they end something."""
    if mark.kind == "dynamic":
        dynamics = Element("dynamics")
        if mark.text in _DYNAMICS:
            SubElement(dynamics, mark.text)
        else:
            SubElement(dynamics, "other-dynamics").text = mark.text
        yield _direction(dynamics, placement="below"), mark.ql, False
    elif mark.kind == "words":
        yield _direction(_words(mark.text, font_style="italic"), placement="above"), mark.ql, False
    elif mark.end_ql is not None and mark.kind == "hairpin":
        for kind, ql in ((mark.text, mark.ql), ("stop", mark.end_ql)):
            yield _direction(Element("wedge", type=kind, number=number), placement="below"), ql, kind == "stop"
    elif mark.kind == "pedal" and mark.end_ql is None:
        yield _direction(_words(mark.text, font_style="italic"), placement="below"), mark.ql, False
    elif mark.end_ql is not None and mark.kind == "pedal":
        for kind, ql in (("start", mark.ql), ("stop", mark.end_ql)):
            pedal = Element("pedal", type=kind, number=number, line="no", sign="yes")
            yield _direction(pedal, placement="below"), ql, kind == "stop"
    elif mark.end_ql is not None and mark.kind == "ottava":
        shift, size = _OTTAVA[mark.text]
        placement = "above" if shift == "down" else "below"
        for kind, ql in ((shift, mark.ql), ("stop", mark.end_ql)):
            line = Element("octave-shift", type=kind, number=number, size=str(size))
            yield _direction(line, placement=placement), ql, kind == "stop"


def _harmony(chord: ChordSymbol, fifths: int) -> Element:
    """The symbol for a part that reads its notes so many fifths away from what sounds."""
    harmony = Element("harmony")
    match = _CHORD.fullmatch(chord.symbol)
    if match is None:  # "N.C." and what else has no root
        SubElement(SubElement(harmony, "root"), "root-step", text="").text = "C"
        SubElement(harmony, "kind", text=chord.symbol).text = "none"
        return harmony
    step, alter, suffix, bass, bass_alter = match.groups()
    _pitch(SubElement(harmony, "root"), "root", step, alter, fifths)
    SubElement(harmony, "kind", text=suffix).text = _CHORD_KINDS.get(suffix, "other")
    if bass:
        _pitch(SubElement(harmony, "bass"), "bass", bass, bass_alter or "", fifths)
    return harmony


def _pitch(parent: Element, name: str, step: str, accidentals: str, fifths: int) -> None:
    step, alter = renamed(step, accidentals.count("#") - accidentals.count("b"), fifths)
    SubElement(parent, f"{name}-step").text = step
    if alter:
        SubElement(parent, f"{name}-alter").text = str(alter)
