"""Thirty rhythms written by hand, and how a person plays them: what any notation program must get right.

`RHYTHMS` holds them as scores (see scores.compose); `play` performs one with human timing, and
`measures_right` says how much of it came back note for note.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from scores import compose

from rescored.expressive import metrical_strength
from rescored.music import PIANO, BeatGrid, Note, Performance, Score, TimeSignature, WrittenNote

CHORDS = {  # bass, and what is struck above it
    "C": ("C3", "E3", "G3"), "F": ("F2", "A3", "C4"), "G": ("G2", "B3", "D4"), "G7": ("G2", "B3", "F4"),
    "Am": ("A2", "C4", "E4"), "Dm": ("D3", "F3", "A3"), "Em": ("E3", "G3", "B3"), "D": ("D3", "F#3", "A3"),
}
LEFT = {  # a measure by metre and manner; 0 = bass, 1 and 2 above, 3 = both of these
    ("4/4", "held"): "w:0+1+2", ("4/4", "halves"): "h:0 h:3", ("4/4", "quarters"): "q:0 q:3 q:0 q:3",
    ("4/4", "alberti"): "e:0 e:2 e:1 e:2 e:0 e:2 e:1 e:2", ("4/4", "march"): "q:0 q:3 q:3 q:3",
    ("2/4", "quarters"): "q:0 q:3", ("2/4", "eighths"): "e:0 e:3 e:0 e:3", ("2/2", "halves"): "h:0 h:3",
    ("3/4", "waltz"): "q:0 q:3 q:3", ("3/4", "held"): "h.:0+1+2", ("3/4", "eighths"): "e:0 e:1 e:2 e:1 e:2 e:1",
    ("6/8", "rocking"): "e:0 e:3 e:3 e:0 e:3 e:3", ("6/8", "beats"): "q.:0 q.:3", ("6/8", "lilt"): "q:0 e:3 q:0 e:3",
    ("9/8", "rocking"): "e:0 e:3 e:3 e:0 e:3 e:3 e:0 e:3 e:3", ("12/8", "beats"): "q.:0 q.:3 q.:0 q.:3",
    ("12/8", "rocking"): "e:0 e:1 e:2 e:0 e:1 e:2 e:0 e:1 e:2 e:0 e:1 e:2", ("3/8", "waltz"): "e:0 e:3 e:3",
}


@dataclass(frozen=True)
class Rhythm:
    """What is written, and what a player adds to it."""

    score: Score
    swing: float = 0.5  # where an off-beat eighth falls in its beat
    ritardando: float = 0.0  # share of the tempo lost over the last two measures
    trills: frozenset[str] = field(default=frozenset())  # ids of notes that are played as trills


def _left(metres: list[str], chords: str, manner: str) -> str:
    """One chord a measure, broken as the manner says."""
    measures = []
    for metre, chord in zip(metres, chords.split(), strict=True):
        bass, third, fifth = CHORDS[chord]
        pitches = {"0": bass, "1": third, "2": fifth, "3": f"{third}+{fifth}"}
        tokens = (token.split(":") for token in LEFT[metre, manner].split())
        measures.append(" ".join(f"{value}:{'+'.join(pitches[d] for d in what.split('+'))}" for value, what in tokens))
    return " | ".join(measures)


def rhythm(metre: str, bpm: float, right: str, chords: str, manner: str, *, pickup: str = "",
           later: dict[int, str] | None = None, later_manner: str = "", **player: float) -> Rhythm:
    """Right hand in full, left hand as chords; a pickup is the right hand's alone."""
    count = len(right.split("|"))
    metres, now = [], metre
    for number in range(1, count + 1):
        now = (later or {}).get(number, now)
        metres.append(now)
    names = chords.split()
    split = min(later) - 1 if later else count
    left = _left(metres[:split], " ".join(names[:split]), manner)
    if later:
        left += " | " + _left(metres[split:], " ".join(names[split:]), later_manner)
    length = Fraction(0)
    if pickup:
        length = sum((_ql(t) for t in pickup.split()), Fraction(0))
        right, left = f"{pickup} | {right}", f"R | {left}"
    score = compose({("piano", 1, 1): right, ("piano", 2, 1): left}, metre=metre, later=later, pickup=length, bpm=bpm)
    return Rhythm(score, **player)


def _ql(token: str) -> Fraction:
    value, dots = token[0], token.split(":")[0].count(".")
    length = {"h": Fraction(2), "q": Fraction(1), "e": Fraction(1, 2), "s": Fraction(1, 4)}[value]
    return length * (2 - Fraction(1, 2**dots))


PLAIN = "C F G C Am Dm G C"
RHYTHMS: dict[str, Rhythm] = {
    "quarters": rhythm(
        "4/4", 104,
        "q:E5 q:E5 q:F5 q:G5 | q:A5 q:G5 q:F5 q:E5 | q:D5 q:E5 q:F5 q:D5 | h:E5 h:C5 | q:E5 q:D5 q:C5 q:B4 | q:A4 "
        "q:B4 q:C5 q:D5 | q:B4 q:A4 q:B4 q:G4 | w:C5",
        PLAIN, "halves"),
    "eighths": rhythm(
        "4/4", 96,
        "e:C5 e:D5 e:E5 e:F5 q:G5 q:E5 | e:A5 e:G5 e:F5 e:E5 h:D5 | e:B4 e:C5 e:D5 e:E5 q:F5 q:D5 | e:E5 e:F5 "
        "e:E5 e:D5 h:C5 | e:A4 e:B4 e:C5 e:D5 q:E5 q:C5 | e:F5 e:E5 e:D5 e:C5 h:A4 | e:B4 e:A4 e:B4 e:C5 q:D5 "
        "q:B4 | w:C5",
        PLAIN, "quarters"),
    "sixteenths": rhythm(
        "2/4", 84,
        "s:C5 s:D5 s:E5 s:F5 e:G5 e:E5 | s:A5 s:G5 s:F5 s:E5 q:F5 | s:G5 s:F5 s:E5 s:D5 e:B4 e:D5 | q:E5 q:C5 | "
        "s:A4 s:B4 s:C5 s:D5 e:E5 e:C5 | s:F5 s:E5 s:D5 s:C5 q:D5 | s:B4 s:C5 s:D5 s:E5 e:F5 e:D5 | h:C5",
        PLAIN, "eighths"),
    "dotted quarters": rhythm(
        "4/4", 92,
        "q.:E5 e:F5 q:G5 q:E5 | q.:A5 e:G5 q:F5 q:A5 | q.:G5 e:F5 q:E5 q:D5 | q.:E5 e:D5 h:C5 | q.:C5 e:D5 q:E5 "
        "q:C5 | q.:D5 e:E5 q:F5 q:D5 | q.:B4 e:C5 q:D5 q:G4 | w:C5",
        PLAIN, "quarters"),
    "dotted eighths": rhythm(
        "2/4", 76,
        "e.:C5 s:D5 e.:E5 s:C5 | e.:F5 s:G5 q:A5 | e.:G5 s:F5 e.:E5 s:D5 | q:E5 q:C5 | e.:A5 s:G5 e.:E5 s:A5 | "
        "e.:F5 s:E5 q:D5 | e.:D5 s:E5 e.:D5 s:B4 | h:C5",
        PLAIN, "eighths"),
    "double dots and short notes": rhythm(
        "4/4", 66,
        "q.:G4 s:A4 s:B4 q:C5 q:D5 | q.:C5 s:B4 s:A4 h:A4 | q.:B4 s:C5 s:D5 q:D5 q:B4 | w:C5 | q.:E5 s:D5 s:C5 "
        "q:A4 q:C5 | q.:F5 s:E5 s:D5 h:D5 | q.:D5 s:C5 s:B4 q:G4 q:B4 | w:C5",
        PLAIN, "quarters"),
    "syncopation of eighths": rhythm(
        "4/4", 100,
        "e:C5 q:E5 e:G5 q:E5 q:C5 | e:A4 q:C5 e:F5 h:C5 | e:B4 q:D5 e:F5 q:D5 q:B4 | e:C5 q:E5 e:D5 h:C5 | e:A4 "
        "q:C5 e:E5 q:C5 q:A4 | e:D5 q:F5 e:A5 h:F5 | e:G5 q:F5 e:D5 q:B4 q:D5 | w:C5",
        PLAIN, "quarters"),
    "syncopation of quarters": rhythm(
        "4/4", 120,
        "q:C5 h:E5 q:G5 | q:A5 h:F5 q:C5 | q:D5 h:F5 q:B4 | q:C5 h:E5 q:C5 | q:C5 h:A4 q:E5 | q:F5 h:D5 q:A4 | "
        "q:B4 h:D5 q:G4 | w:C5",
        PLAIN, "march"),
    "ties over the bar line": rhythm(
        "4/4", 96,
        "q:E5 q:F5 h:G5~ | q:G5 q:A5 h:F5~ | q:F5 q:E5 h:D5~ | q:D5 q:F5 h:E5 | q:C5 q:D5 h:E5~ | q:E5 q:F5 h:D5~ "
        "| q:D5 q:C5 h:B4 | w:C5",
        PLAIN, "quarters"),
    "tango": rhythm(
        "2/4", 63,
        "e.:A4 s:B4 e:C5 e:E5 | s:D5 e:C5 s:B4 q:A4 | e.:G4 s:A4 e:B4 e:D5 | s:C5 e:B4 s:A4 q:G4 | e.:C5 s:D5 "
        "e:E5 e:A5 | s:F5 e:E5 s:D5 q:C5 | e.:B4 s:C5 e:D5 e:F5 | h:E5",
        "Am Am G G Am F G C", "eighths"),
    "triplets against eighths": rhythm(
        "4/4", 80,
        "(e:C5 e:E5 e:G5) (e:C5 e:E5 e:G5) q:G5 q:E5 | (e:C5 e:F5 e:A5) (e:C5 e:F5 e:A5) h:F5 | (e:B4 e:D5 e:G5) "
        "(e:B4 e:D5 e:F5) q:D5 q:B4 | (e:C5 e:E5 e:G5) (e:E5 e:D5 e:C5) h:C5 | (e:A4 e:C5 e:E5) (e:A4 e:C5 e:E5) "
        "q:E5 q:C5 | (e:D5 e:F5 e:A5) (e:D5 e:F5 e:A5) h:A5 | (e:G5 e:F5 e:D5) (e:B4 e:D5 e:F5) q:G5 q:B4 | w:C5",
        PLAIN, "alberti"),
    "triplets and plain beats": rhythm(
        "4/4", 88,
        "q:C5 (e:D5 e:E5 e:F5) q:G5 q:E5 | q:A5 (e:G5 e:F5 e:E5) h:F5 | q:D5 (e:E5 e:F5 e:G5) q:F5 q:D5 | q:E5 "
        "(e:D5 e:C5 e:D5) h:C5 | q:A4 (e:B4 e:C5 e:D5) q:E5 q:C5 | q:F5 (e:E5 e:D5 e:C5) h:D5 | q:B4 (e:C5 e:D5 "
        "e:E5) q:F5 q:D5 | w:C5",
        PLAIN, "quarters"),
    "eighths and sixteenths": rhythm(
        "4/4", 80,
        "e:C5 s:D5 s:E5 e:F5 e:D5 q:E5 q:C5 | s:F5 s:E5 e:D5 s:C5 s:D5 e:A4 h:C5 | e:B4 s:C5 s:D5 e:E5 e:F5 q:D5 "
        "q:B4 | s:C5 s:D5 e:E5 e:D5 e:B4 h:C5 | e:A4 s:B4 s:C5 e:D5 e:E5 q:C5 q:A4 | s:D5 s:E5 e:F5 s:E5 s:D5 "
        "e:C5 h:D5 | e:B4 s:A4 s:B4 e:C5 e:D5 q:B4 q:G4 | w:C5",
        PLAIN, "quarters"),
    "rests on the beat": rhythm(
        "4/4", 104,
        "e:r e:C5 e:E5 e:G5 q:G5 q:r | e:r e:A5 e:F5 e:C5 q:F5 q:r | e:r e:G5 e:F5 e:D5 q:B4 q:r | e:r e:C5 e:D5 "
        "e:E5 q:C5 q:r | e:r e:E5 e:C5 e:A4 q:E5 q:r | e:r e:F5 e:A5 e:F5 q:D5 q:r | e:r e:B4 e:D5 e:F5 q:G5 q:r "
        "| w:C5",
        PLAIN, "quarters"),
    "waltz": rhythm(
        "3/4", 132,
        "h:E5 q:G5 | h:A5 q:F5 | h:G5 q:D5 | h.:E5 | h:C5 q:E5 | q:F5 q:E5 q:D5 | q:B4 q:C5 q:D5 | h.:C5",
        PLAIN, "waltz"),
    "minuet": rhythm(
        "3/4", 112,
        "q:G5 e:C5 e:D5 e:E5 e:F5 | q:G5 q:C5 q:C5 | q:A5 e:F5 e:G5 e:A5 e:B5 | q:C6 q:C5 q:C5 | q:F5 e:G5 e:F5 "
        "e:E5 e:D5 | q:E5 e:F5 e:E5 e:D5 e:C5 | q:B4 e:C5 e:D5 e:E5 e:C5 | h.:D5",
        "C C F C F C G G", "waltz"),
    "pickup in three": rhythm(
        "3/4", 108,
        "h:G5 e:F5 e:E5 | h:F5 e:E5 e:D5 | q:E5 q:G5 q:C5 | h:D5 e:G4 e:A4 | h:C5 e:D5 e:E5 | h:F5 e:E5 e:D5 | "
        "q:E5 q:D5 q:B4 | h.:C5",
        "C Dm C G C F G C", "waltz", pickup="e:G4 e:C5"),
    "pickup in four": rhythm(
        "4/4", 116,
        "q:C5 q:C5 e:C5 e:D5 q:E5 | q:F5 q:F5 q:A5 q:F5 | q:D5 q:D5 e:D5 e:E5 q:F5 | h:E5 q:r q:E5 | q:E5 q:C5 "
        "q:E5 q:A5 | q:A5 q:F5 q:D5 q:F5 | q:G5 e:F5 e:E5 q:D5 q:B4 | w:C5",
        PLAIN, "march", pickup="q:G4"),
    "six eight": rhythm(
        "6/8", 72,
        "q:C5 e:D5 q:E5 e:G5 | e:F5 e:A5 e:F5 q.:C5 | q:D5 e:B4 q:G4 e:B4 | e:C5 e:D5 e:E5 q.:C5 | q:E5 e:C5 q:A4 "
        "e:C5 | e:D5 e:F5 e:A5 q.:F5 | q:G5 e:F5 q:D5 e:B4 | h.:C5",
        PLAIN, "rocking"),
    "siciliano": rhythm(
        "6/8", 44,
        "e.:E5 s:F5 e:E5 q:G5 e:E5 | e.:F5 s:G5 e:F5 q:A5 e:F5 | e.:D5 s:E5 e:D5 q:F5 e:D5 | e.:E5 s:D5 e:E5 "
        "q.:C5 | e.:A5 s:G5 e:E5 q:C5 e:E5 | e.:F5 s:E5 e:D5 q:A4 e:D5 | e.:B4 s:C5 e:D5 q:G5 e:F5 | h.:E5",
        PLAIN, "lilt"),
    "six eight against three four": rhythm(
        "6/8", 66,
        "q:C5 e:E5 q:G5 e:E5 | q:A5 q:F5 q:C5 | q:D5 e:F5 q:G5 e:F5 | q:E5 q:D5 q:C5 | q:A4 e:C5 q:E5 e:C5 | q:D5 "
        "q:F5 q:A5 | q:G5 e:F5 q:D5 e:B4 | h.:C5",
        PLAIN, "rocking"),
    "nine eight": rhythm(
        "9/8", 76,
        "q.:E5 e:F5 e:G5 e:A5 q.:G5 | q.:F5 e:G5 e:A5 e:B5 q.:A5 | q.:G5 e:F5 e:E5 e:D5 q.:B4 | q.:C5 e:D5 e:E5 "
        "e:D5 q.:C5 | q.:A4 e:C5 e:E5 e:C5 q.:A5 | q.:F5 e:E5 e:D5 e:F5 q.:A5 | q.:G5 e:D5 e:E5 e:F5 q.:B4 | "
        "q.:C5 q.:E5 q.:C5",
        PLAIN, "rocking"),
    "twelve eight": rhythm(
        "12/8", 80,
        "q.:G5 q:E5 e:C5 q.:E5 q.:G5 | q.:A5 q:G5 e:F5 h.:C5 | q.:B4 q:D5 e:F5 q.:D5 q.:B4 | q.:C5 q:D5 e:E5 "
        "h.:C5 | q.:A4 q:C5 e:E5 q.:A5 q.:E5 | q.:F5 q:E5 e:D5 h.:A5 | q.:G5 q:F5 e:D5 q.:B4 q.:D5 | h.:C5 h.:C5",
        PLAIN, "rocking"),
    "cut time": rhythm(
        "2/2", 88,
        "h:C5 q:E5 q:G5 | h:A5 h:F5 | h:D5 q:F5 q:D5 | h:E5 h:C5 | h:A4 q:C5 q:E5 | h:F5 h:D5 | h:B4 q:D5 q:B4 | "
        "w:C5",
        PLAIN, "halves"),
    "three eight": rhythm(
        "3/8", 60,
        "e:C5 e:E5 e:G5 | q:A5 e:F5 | s:G5 s:F5 e:D5 e:B4 | q.:C5 | e:A4 e:C5 e:E5 | q:F5 e:D5 | s:B4 s:C5 e:D5 "
        "e:F5 | q.:E5 | e:C5 e:E5 e:G5 | q:A5 e:F5 | s:G5 s:F5 e:D5 e:B4 | q.:C5",
        f"{PLAIN} C F G C", "waltz"),
    "swing": rhythm(
        "4/4", 126,
        "q:C5 e:E5 e:G5 q:A5 e:G5 e:E5 | e:F5 e:A5 q:C6 e:A5 e:F5 q:C5 | q:D5 e:F5 e:D5 e:B4 e:D5 q:G5 | e:E5 "
        "e:D5 q:C5 e:D5 e:E5 q:G5 | q:A5 e:E5 e:C5 q:A4 e:C5 e:E5 | e:D5 e:F5 q:A5 e:F5 e:D5 q:A4 | q:B4 e:D5 "
        "e:F5 e:G5 e:F5 q:D5 | q:C5 e:E5 e:D5 h:C5",
        PLAIN, "quarters", swing=0.66),
    "grace notes": rhythm(
        "4/4", 92,
        "g:F5 q:E5 q:C5 g:A5 q:G5 q:E5 | q:F5 g:B5 q:A5 h:F5 | g:E5 q:D5 q:B4 q:D5 g:A5 q:G5 | q:E5 q:D5 g:D5 "
        "h:C5 | q:A4 q:C5 g:F5 q:E5 q:C5 | g:G5 q:F5 q:D5 h:A4 | q:B4 g:E5 q:D5 q:F5 q:D5 | w:C5",
        PLAIN, "quarters"),
    "ritardando": rhythm(
        "4/4", 100,
        "q:C5 e:E5 e:G5 q:C6 q:G5 | q:A5 e:C6 e:A5 h:F5 | q:G5 e:F5 e:D5 q:B4 q:D5 | q:E5 e:G5 e:E5 h:C5 | q:A5 "
        "e:E5 e:C5 q:A4 q:E5 | q:F5 e:A5 e:F5 h:D5 | q:B4 e:D5 e:F5 q:G5 q:F5 | q:E5 q:D5 h:C5",
        PLAIN, "quarters", ritardando=0.4),
    "four four to three four": rhythm(
        "4/4", 108,
        "q:C5 q:E5 q:G5 q:E5 | q:A5 q:G5 q:F5 q:C5 | q:D5 q:F5 q:B4 q:D5 | h:E5 h:C5 | q:C5 q:E5 q:G5 q:E5 | q:A5 "
        "q:F5 q:D5 q:F5 | q:G5 q:F5 q:D5 q:B4 | w:C5 | h:E5 q:G5 | h:A5 q:F5 | h:D5 q:F5 | h.:E5 | h:C5 q:E5 | "
        "h:F5 q:D5 | h:B4 q:D5 | h.:C5",
        f"{PLAIN} {PLAIN}", "march", later={9: "3/4"}, later_manner="waltz"),
    "three against two": rhythm(
        "3/4", 84,
        "(q:C5 q:E5 q:G5) q:G5 | (q:A5 q:F5 q:C5) q:F5 | (q:B4 q:D5 q:G5) q:D5 | h:E5 q:C5 | (q:A4 q:C5 q:E5) "
        "q:A5 | (q:D5 q:F5 q:A5) q:F5 | (q:G5 q:D5 q:B4) q:D5 | h.:C5",
        PLAIN, "waltz"),
}


def play(one: Rhythm, seed: int) -> tuple[Performance, BeatGrid]:
    """As a person plays it: onsets 15, 20 or 25 ms off, the tempo wandering by up to 15 %, louder on the beat.

    Also the true beats.
    """
    score, random = one.score, np.random.default_rng([seed, len(one.score.notes), int(one.score.tempi[0].bpm)])
    sigma_s = (0.015, 0.020, 0.025)[seed % 3]
    begin, end = float(score.measures[0].ql), float(score.measures[-1].ql + score.measures[-1].length_ql)
    tempo, beat_ql = score.tempi[0], float(score.tempi[0].beat_ql)
    knots = np.arange(begin, end + 8.0, 0.125)
    wave = sum(a * np.sin(2 * np.pi * (knots / length + random.random())) for a, length in ((0.09, 37.0), (0.06, 16.0)))
    slowing = one.ritardando * np.clip((knots - end + 8.0) / 8.0, 0.0, 1.0) ** 2
    pace = 60.0 / tempo.bpm / beat_ql / (1.0 + wave) / (1.0 - slowing)
    at = 0.6 + np.concatenate([[0.0], np.cumsum(pace[:-1] * 0.125)])

    def seconds(ql: float) -> float:
        beat = np.floor(ql + 1e-9)
        return float(np.interp(beat + _swung(ql - beat, one.swing), knots, at))

    strength = metrical_strength(
        [float(n.onset_ql) for n in score.notes], [float(m.ql) for m in score.measures], beat_ql)
    off: dict[tuple[Fraction, int], float] = defaultdict(lambda: float(random.normal(0.0, sigma_s)))
    notes = []
    for n, accent in zip(score.notes, strength.tolist(), strict=True):
        onset = seconds(float(n.onset_ql)) + off[n.onset_ql, n.staff] + float(random.normal(0.0, 0.004))
        held = float(np.clip(random.normal(0.9, 0.06), 0.6, 1.0))
        until = seconds(float(n.onset_ql) + held * float(n.duration_ql))
        if n.grace:
            onset, until = onset - 0.075, onset
        loud = int(np.clip(62 + 9 * accent + 6 * (n.staff == 1) + random.normal(0, 3), 20, 110))
        notes.append(Note(n.id, max(onset, 0.0), max(until, onset + 0.05), n.pitch, loud))
    places = [(m.ql + k * t.beat_ql, m.number, k + 1 + (t.measure_ql - m.length_ql) // t.beat_ql)
              for m in score.measures for t in [TimeSignature(1, m.ql, m.numerator, m.denominator)]
              for k in range(int(m.length_ql / t.beat_ql))]
    ql, number, beat = (np.array([float(p[i]) for p in places]) for i in range(3))
    grid = BeatGrid(np.array([seconds(x) for x in ql]), ql, number, beat, score.time_signatures)
    return Performance(tuple(notes), (PIANO,), duration_s=max(n.offset_s for n in notes)), grid


def _swung(phase: float, swing: float) -> float:
    return phase * 2 * swing if phase < 0.5 else swing + (phase - 0.5) * 2 * (1 - swing)


def _by_measure(score: Score) -> list[frozenset[tuple[str, Fraction, Fraction, bool]]]:
    """Notes of every measure: id, place in the measure counted from its end, length, whether grace."""
    starts = [m.ql for m in score.measures]
    inside: dict[int, list[WrittenNote]] = defaultdict(list)
    for n in score.notes:
        k = max((i for i, ql in enumerate(starts) if ql <= n.onset_ql), default=0)
        inside[k].append(n)
    return [
        frozenset((n.id, m.ql + m.length_ql - n.onset_ql, n.duration_ql, n.grace) for n in inside[k])
        for k, m in enumerate(score.measures)]


def measures_right(made: Score, true: Score) -> float:
    """Share of the written measures that came back as they were: the same notes, places and lengths."""
    wanted = [m for m in _by_measure(true) if m]
    got = set(_by_measure(made))
    return sum(m in got for m in wanted) / len(wanted)
