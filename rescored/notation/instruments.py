"""Instruments: names, families in score order, ranges, clefs and transpositions.

Ranges are what a good player reaches, as sounding MIDI pitches (Adler, "The Study of Orchestration",
4th ed. 2016, appendix). `transpose` is how far below its written note the instrument sounds, octaves that
a clef shows apart: -2 for one in B flat.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from ..errors import SettingsError
from ..music import Part

FAMILIES = ("woodwind", "brass", "mallets", "voice", "plucked", "keyboard", "strings", "bass", "drums")  # score order


@dataclass(frozen=True)
class Instrument:
    """What notation knows of an instrument; `program` as in General MIDI, 0-based; `clef` as in `Part`."""

    name: str
    abbreviation: str
    family: str
    program: int
    lowest: int
    highest: int
    clef: str = "G2"
    transpose: int = 0
    staves: int = 1
    aliases: tuple[str, ...] = ()
    strings: tuple[int, ...] = ()  # open, from the lowest up, where it may have tablature


GUITAR_STRINGS, BASS_STRINGS = (40, 45, 50, 55, 59, 64), (28, 33, 38, 43)
INSTRUMENTS = (  # in score order
    Instrument("Piccolo", "Picc.", "woodwind", 72, 74, 102, "G2+8"),
    Instrument("Flute", "Fl.", "woodwind", 73, 60, 96),
    Instrument("Recorder", "Rec.", "woodwind", 74, 72, 98, "G2+8"),
    Instrument("Pan Flute", "Pan Fl.", "woodwind", 75, 67, 96),
    Instrument("Oboe", "Ob.", "woodwind", 68, 58, 91),
    Instrument("English Horn", "E. Hn.", "woodwind", 69, 52, 81, transpose=-7, aliases=("cor anglais",)),
    Instrument("Clarinet in E♭", "E♭ Cl.", "woodwind", 71, 55, 97, transpose=3),
    Instrument("Clarinet in B♭", "Cl.", "woodwind", 71, 50, 94, transpose=-2, aliases=("clarinet",)),
    Instrument("Clarinet in A", "A Cl.", "woodwind", 71, 49, 93, transpose=-3),
    Instrument("Bass Clarinet", "B. Cl.", "woodwind", 71, 37, 77, transpose=-14),
    Instrument("Bassoon", "Bsn.", "woodwind", 70, 34, 75, "F4"),
    Instrument("Soprano Saxophone", "S. Sax.", "woodwind", 64, 56, 87, transpose=-2, aliases=("soprano sax",)),
    Instrument("Alto Saxophone", "A. Sax.", "woodwind", 65, 49, 80, transpose=-9,
               aliases=("alto sax", "saxophone", "sax")),
    Instrument("Tenor Saxophone", "T. Sax.", "woodwind", 66, 44, 75, transpose=-14, aliases=("tenor sax",)),
    Instrument("Baritone Saxophone", "B. Sax.", "woodwind", 67, 36, 68, transpose=-21, aliases=("baritone sax",)),
    Instrument("Horn in F", "Hn.", "brass", 60, 35, 77, transpose=-7, aliases=("horn", "french horn")),
    Instrument("Trumpet in B♭", "Tpt.", "brass", 56, 52, 84, transpose=-2, aliases=("trumpet",)),
    Instrument("Trumpet in C", "C Tpt.", "brass", 56, 54, 86),
    Instrument("Flugelhorn", "Flghn.", "brass", 56, 52, 82, transpose=-2),
    Instrument("Trombone", "Tbn.", "brass", 57, 40, 72, "F4"),
    Instrument("Tuba", "Tba.", "brass", 58, 26, 60, "F4"),
    Instrument("Glockenspiel", "Glock.", "mallets", 9, 79, 108, "G2+15"),
    Instrument("Xylophone", "Xyl.", "mallets", 13, 65, 108, "G2+8"),
    Instrument("Vibraphone", "Vib.", "mallets", 11, 53, 89),
    Instrument("Marimba", "Mar.", "mallets", 12, 45, 96),
    Instrument("Voice", "V.", "voice", 52, 40, 88, "", aliases=("vocals", "singer", "song")),
    Instrument("Soprano", "S.", "voice", 52, 59, 86),
    Instrument("Alto", "A.", "voice", 52, 53, 77),
    Instrument("Tenor", "T.", "voice", 52, 47, 72, "G2-8"),
    Instrument("Baritone", "Bar.", "voice", 52, 43, 67, "F4"),
    Instrument("Bass Voice", "B.", "voice", 52, 38, 64, "F4"),
    Instrument("Harp", "Hp.", "plucked", 46, 24, 103, staves=2),
    Instrument("Banjo", "Bj.", "plucked", 105, 48, 86, "G2-8"),
    Instrument("Mandolin", "Mdn.", "plucked", 25, 55, 93, strings=(55, 62, 69, 76)),
    Instrument("Ukulele", "Uke.", "plucked", 24, 60, 81, strings=(67, 60, 64, 69)),
    Instrument("Guitar", "Gtr.", "plucked", 25, 40, 84, "G2-8", aliases=("acoustic guitar", "electric guitar"),
               strings=GUITAR_STRINGS),
    Instrument("Classical Guitar", "Gtr.", "plucked", 24, 40, 83, "G2-8", aliases=("nylon guitar",),
               strings=GUITAR_STRINGS),
    Instrument("Accordion", "Acc.", "keyboard", 21, 41, 93, staves=2),
    Instrument("Celesta", "Cel.", "keyboard", 8, 60, 108, "G2+8", staves=2),
    Instrument("Harpsichord", "Hpschd.", "keyboard", 6, 29, 89, staves=2),
    Instrument("Piano", "Pno.", "keyboard", 0, 21, 108, staves=2),
    Instrument("Electric Piano", "E. Pno.", "keyboard", 4, 28, 103, staves=2),
    Instrument("Organ", "Org.", "keyboard", 19, 36, 96, staves=2),
    Instrument("Violin", "Vln.", "strings", 40, 55, 103, aliases=("fiddle",)),
    Instrument("Viola", "Vla.", "strings", 41, 48, 91, "C3"),
    Instrument("Cello", "Vc.", "strings", 42, 36, 84, "F4", aliases=("violoncello",)),
    Instrument("Double Bass", "Db.", "strings", 43, 28, 67, "F4-8", aliases=("contrabass", "upright bass")),
    Instrument("Bass", "B.", "bass", 33, 28, 63, "F4-8", aliases=("bass guitar", "electric bass"),
               strings=BASS_STRINGS),
)
_PROGRAM_FAMILIES = (  # first program of each run of General MIDI
    (0, "keyboard"), (9, "mallets"), (16, "keyboard"), (24, "plucked"), (32, "bass"), (40, "strings"), (46, "plucked"),
    (47, "mallets"), (48, "strings"), (52, "voice"), (55, "strings"), (56, "brass"), (64, "woodwind"), (80, "keyboard"),
    (104, "plucked"), (109, "woodwind"), (110, "strings"), (111, "woodwind"), (112, "mallets"))


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name.replace("♭", "b").lower()).strip()


_BY_NAME = {_plain(name): i for i in INSTRUMENTS for name in (i.name, *i.aliases)}


def find_instrument(name: str) -> Instrument:
    """The instrument of this name, whatever its case; raises SettingsError with the nearest one."""
    if found := _BY_NAME.get(_plain(name)):
        return found
    near = difflib.get_close_matches(_plain(name), _BY_NAME, 1)
    remedy = f"Did you mean {_BY_NAME[near[0]].name}?" if near else \
        "There are " + ", ".join(i.name for i in INSTRUMENTS) + "."
    raise SettingsError(f"There is no instrument {name.strip()!r}.", remedy)


def instrument_of(part: Part) -> Instrument | None:
    """What a part as it was heard is played on, by its name, numbered or not; any guitar and bass is one."""
    if part.percussion:
        return None
    if found := _BY_NAME.get(_plain(re.sub(r"\s+\d+$", "", part.name))):
        return found
    return _BY_NAME["guitar" if part.program < 32 else "bass"] if 24 <= part.program < 40 else None


def family_of(part: Part) -> str:
    """One of `FAMILIES`."""
    if part.percussion:
        return "drums"
    if found := instrument_of(part):
        return found.family
    return [family for first, family in _PROGRAM_FAMILIES if first <= part.program][-1]


def abbreviation_of(part: Part) -> str:
    """What stands before the later systems."""
    if part.percussion:
        return "Dr."
    number = re.search(r"\s+\d+$", part.name)
    if found := instrument_of(part):
        return found.abbreviation + (number[0] if number else "")
    words = part.name.split()
    return part.name if len(part.name) <= 5 else " ".join(w[:3] + "." if len(w) > 4 else w for w in words)
