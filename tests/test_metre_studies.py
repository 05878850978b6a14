"""The pieces that the metre model learns from: written down rightly, and read as written."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from metre_data.studies import pieces_of, read_studies

WALTZ = """= Waltz
metre 3/4
bpm 150-190
form A A B
[pickup]
R: e5:8 g#5
L: r:4
[A]
R: c6:4. b5:8 a5:4 | e5:2.~ | e5
L: a2:4 c4+e4 c4+e4 | %-2 | r:2.
[B 6/8]
R: {3:2 c5:8 d5 e5} f5:4. r:8
L: c3:2.
"""


@pytest.fixture
def waltz(tmp_path: Path) -> Path:
    """A file with one piece."""
    path = tmp_path / "waltz.txt"
    path.write_text(WALTZ)
    return path


def test_a_piece_is_read_as_written(waltz: Path) -> None:
    (sheet,) = pieces_of(waltz)
    assert [(b.ql, b.numerator, b.denominator) for b in sheet.bars] == [
        (0.0, 3, 4), (1.0, 3, 4), (4.0, 3, 4), (7.0, 3, 4), (10.0, 3, 4), (13.0, 3, 4), (16.0, 3, 4), (19.0, 6, 8)]
    notes = list(zip(sheet.onset_ql, sheet.duration_ql, sheet.pitch, sheet.part, strict=True))
    assert (4.0, 6.0, 76, 0) in notes, "a tie over the bar line is one note"
    assert {(o, p) for o, _, p, part in notes if part == 3 and 4.0 <= o < 7.0} == {
        (4.0, 43), (5.0, 58), (5.0, 62), (6.0, 58), (6.0, 62)}, "the measure before, two semitones lower"
    triplet = [(round(o - 19.0, 3), p) for o, _, p, part in notes if part == 0 and o >= 19.0]
    assert triplet == [(0.0, 72), (0.333, 74), (0.667, 76), (1.0, 77)]
    assert sheet.end_ql == 22.0 and sheet.bpm == (150.0, 190.0)


@pytest.mark.parametrize("right, wrong, said", [
    ("b5:8 a5:4", "b5:8 a5:2", "measure 1 lasts 4 quarters, not 3"),
    ("c6:4.", "h6:4.", "'h6' is no pitch"),
    ("form A A B", "form A C", "a section 'C' that is not there"),
    ("| e5\n", "\n", "different numbers of measures"),
    ("metre 3/4", "metre 5/4", "the metre 5/4"),
], ids=["length", "pitch", "form", "voices", "metre"])
def test_a_mistake_is_named(waltz: Path, right: str, wrong: str, said: str) -> None:
    waltz.write_text(WALTZ.replace(right, wrong, 1))
    with pytest.raises(ValueError, match=said):
        pieces_of(waltz)


def test_every_piece_that_ships_can_be_read() -> None:
    sheets = read_studies()
    names = [s.name for s in sheets]
    assert len(sheets) > 200 and len(set(names)) == len(names)
    for sheet in sheets:
        assert sheet.bpm is not None and 12 <= sheet.bpm[0] <= sheet.bpm[1] <= 330, sheet.name
        assert len(sheet.bars) > 7 and len(sheet.pitch) >= 24, sheet.name
