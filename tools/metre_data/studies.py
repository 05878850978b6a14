"""Short piano pieces of our own, written down in text files, as sheets for the metre model.

Real scores for solo piano that may be used are few, and piano music is written by conventions that
tunes and quartets do not show: which tempo goes with which metre, what a left hand does. The pieces in
`studies/*.txt` were written for this project in the manner of many times and kinds; none is an existing work.

    = Waltz in A minor        a piece begins
    metre 3/4                 its first metre
    bpm 150-190               what the beat of that metre lasts (a dotted note in 6/8, 9/8, 12/8 and 3/8)
    form A A B B              in which order the sections are played; the pickup comes once, before
    [pickup]                  a measure that is shorter
    R: e5:8 g#5
    L: r:4
    [A]                       or `[A 2/4]`, where the metre changes
    R: c6:4. b5:8 a5:4 | e5:2.~ | e5 | r
    L: a2:4 c4+e4 c4+e4 | % | %-2 | a2:2.

A line of a section is a voice: `R` the top, then `R2`, `L2`, `L`. Tokens are `pitch:value`; a chord joins
pitches by `+`; the value stays until another is given; `r` is a rest, `~` ties to the next token,
`{3:2 c5:8 d5 e5}` is a triplet. `%` repeats the measure before, `%-2` two semitones lower.

    python tools/metre_data/studies.py FILE...     says what is wrong, or how much there is
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
from metre_data.corpus import METRES, Bar, Sheet

FOLDER = Path(__file__).parent / "studies"
VOICES = ("R", "R2", "L2", "L")
_PITCH = re.compile(r"([a-g])(##|bb|#|b|)(-?\d)$")
_VALUE = re.compile(r"(1|2|4|8|16|32|64)(\.{0,2})$")
Row = tuple[Fraction, Fraction, int, bool]  # onset, duration, pitch, whether it is tied to the next


def read_studies(folder: Path = FOLDER) -> list[Sheet]:
    """All pieces of a folder, in order; raises ValueError at the first mistake."""
    return [sheet for path in sorted(folder.glob("*.txt")) for sheet in pieces_of(path)]


def pieces_of(path: Path) -> list[Sheet]:
    """The pieces of a file; raises ValueError that names the place of a mistake."""
    sheets, lines = [], path.read_text(encoding="utf-8").splitlines()
    starts = [k for k, line in enumerate(lines) if line.startswith("=")]
    for first, stop in zip(starts, [*starts[1:], len(lines)], strict=True):
        name = lines[first][1:].strip()
        try:
            sheets.append(_piece(f"study/{path.stem}/{name}", lines[first + 1 : stop]))
        except ValueError as error:
            raise ValueError(f"{path.name}, line {first + 1}, {name}: {error}") from error
    return sheets


def _piece(name: str, lines: list[str]) -> Sheet:
    head: dict[str, str] = {}
    sections: dict[str, dict[str, str]] = {}
    now = ""
    for line in (raw.strip() for raw in lines):
        if not line:
            continue
        if line.startswith("["):
            now = line.strip("[]")
            sections[now] = {}
        elif not now:
            key, _, value = line.partition(" ")
            head[key] = value.strip()
        else:
            voice, _, text = line.partition(":")
            if voice not in VOICES:
                raise ValueError(f"no voice is called {voice!r}")
            sections[now][voice] = f"{sections[now].get(voice, '')} | {text}".removeprefix(" | ")
    metre = _metre(head["metre"])
    low, high = (float(x) for x in head["bpm"].split("-"))
    rows: dict[int, list[Row]] = {k: [] for k in range(len(VOICES))}
    bars: list[Bar] = []
    end = Fraction(0)
    names = {title.split()[0]: title for title in sections}
    order = (["pickup"] if "pickup" in sections else []) + head["form"].split()
    for letter in order:
        title = names.get(letter)
        if title is None:
            raise ValueError(f"the form has a section {letter!r} that is not there")
        if " " in title:
            metre = _metre(title.split()[1])
        elif letter != "pickup":
            metre = _metre(head["metre"])
        voices = {VOICES.index(v): [m.strip() for m in text.split("|")] for v, text in sections[title].items()}
        counts = {VOICES[v]: len(m) for v, m in voices.items()}
        if len(set(counts.values())) != 1:
            raise ValueError(f"[{title}] has voices of different numbers of measures: {counts}")
        full = Fraction(4 * metre[0], metre[1])
        start = end
        for voice, measures in voices.items():
            before: list[Row] = []
            value, ends = Fraction(1), start
            for number, text in enumerate(measures, 1):
                try:
                    here, length, value = _measure(text, before, value)
                except ValueError as error:
                    raise ValueError(f"[{title}] {VOICES[voice]}, measure {number}: {error}") from error
                if letter != "pickup" and length != full:
                    raise ValueError(f"[{title}] {VOICES[voice]}, measure {number} lasts {length} quarters, not {full}")
                rows[voice] += [(ends + o, d, p, tied) for o, d, p, tied in here]
                before, ends = here, ends + length
            if end not in (start, ends):
                raise ValueError(f"[{title}] {VOICES[voice]} ends elsewhere than the other voices")
            end = ends
        step = end - start if letter == "pickup" else full
        bars += [Bar(float(start + k * step), *metre) for k in range(int((end - start) / step))]
    table = np.array(sorted({(float(o), float(d), p, v) for v, notes in rows.items() for o, d, p in _joined(notes)}))
    return Sheet(name, "study", table[:, 0], table[:, 1], table[:, 2].astype(int), table[:, 3].astype(int), bars,
                 float(end), bpm=(low, high))


def _metre(text: str) -> tuple[int, int]:
    numerator, denominator = (int(x) for x in text.split("/"))
    if (numerator, denominator) not in METRES:
        raise ValueError(f"the metre {text} is not among those that are learned")
    return numerator, denominator


def _measure(text: str, before: list[Row], value: Fraction) -> tuple[list[Row], Fraction, Fraction]:
    """Notes of a measure, its length, and the value that stays in force."""
    if text.startswith("%"):
        up = int(text[1:] or 0)
        if not before:
            raise ValueError("there is nothing before to repeat")
        last = max(o + d for o, d, _, _ in before)
        return [(o, d, p + up if p else 0, tied) for o, d, p, tied in before], last, value
    now, scale = Fraction(0), Fraction(1)
    rows: list[Row] = []
    for token in re.sub(r"\{(\d+:\d+)", r"{\1 ", text).replace("}", " }").split():
        if token.startswith("{"):
            count, place = (int(x) for x in token[1:].split(":"))
            scale = Fraction(place, count)
            continue
        if token == "}":
            scale = Fraction(1)
            continue
        tied = token.endswith("~")
        what, _, written = token.rstrip("~").partition(":")
        if written:
            match = _VALUE.match(written)
            if not match:
                raise ValueError(f"{token!r} has no value that is known")
            value = Fraction(4, int(match[1])) * (2 - Fraction(1, 2 ** len(match[2])))
        length = value * scale
        # a rest is a note of pitch 0 until the end, so that a repeated measure keeps its length
        rows += [(now, length, 0 if p == "r" else _pitch(p), tied) for p in what.split("+")]
        now += length
    return rows, now, value


def _pitch(text: str) -> int:
    match = _PITCH.match(text)
    if not match:
        raise ValueError(f"{text!r} is no pitch such as c4, f#5 or bb3")
    alter = {"": 0, "#": 1, "b": -1, "##": 2, "bb": -2}[match[2]]
    midi = 12 * (int(match[3]) + 1) + {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}[match[1]] + alter
    if not 21 <= midi <= 108:
        raise ValueError(f"{text!r} is not on the keyboard")
    return midi


def _joined(rows: list[Row]) -> list[tuple[Fraction, Fraction, int]]:
    """Notes with their ties made one, rests left out."""
    out: list[tuple[Fraction, Fraction, int]] = []
    waiting: dict[tuple[Fraction, int], int] = {}  # where a tied note ends, and its pitch -> place in `out`
    for onset, length, pitch, tied in rows:
        if not pitch:
            continue
        k = waiting.pop((onset, pitch), None)
        if k is None:
            k = len(out)
            out.append((onset, length, pitch))
        else:
            out[k] = (out[k][0], out[k][1] + length, pitch)
        if tied:
            waiting[onset + length, pitch] = k
    return out


def _main() -> None:
    for name in sys.argv[1:]:
        try:
            sheets = pieces_of(Path(name))
        except (ValueError, KeyError) as error:
            print(error if isinstance(error, ValueError) else f"{name}: a piece lacks the line {error}")
            continue
        metres = Counter(f"{s.bars[-1].numerator}/{s.bars[-1].denominator}" for s in sheets)
        print(f"{name}: {len(sheets)} pieces, {sum(len(s.bars) for s in sheets)} measures, "
              f"{sum(len(s.pitch) for s in sheets)} notes, {dict(metres)}")


if __name__ == "__main__":
    _main()
