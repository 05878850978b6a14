"""How a note's id is written as an XML id, and read back: a click in the score finds the sound.

An xs:ID is unique in its document, begins with a letter and has no spaces or slashes. Most note ids
are valid as they are and stay as they are. A note split by a barline has several noteheads: the
second is "<id>-t2", the third "<id>-t3" ...
"""

from __future__ import annotations

import re

_PLAIN = re.compile(r"(?!id-|measure-|part-|instrument-)[A-Za-z][A-Za-z0-9-]*(?:[._][A-Za-z0-9-]+)*(?<!-)", re.ASCII)
_PIECE = re.compile(r"-t\d+$", re.ASCII)


def element_id(note_id: str, piece: int = 1) -> str:
    """The XML id of a notehead: of the `piece`-th one of this note, counted from 1."""
    plain = _PLAIN.fullmatch(note_id) and not _PIECE.search(note_id)
    base = note_id if plain else "id-" + re.sub(r"[^A-Za-z0-9]", lambda c: f"_{ord(c[0]):x}_", note_id)
    return base if piece == 1 else f"{base}-t{piece}"


def note_id_of(element: str) -> str:
    """The note's id from the id of any of its noteheads; inverse of `element_id`."""
    base = _PIECE.sub("", element)
    if not base.startswith("id-"):
        return base
    return re.sub(r"_([0-9a-f]+)_", lambda c: chr(int(c[1], 16)), base[3:])


def measure_id(number: int, part_index: int = 0) -> str:
    """The XML id of a measure: "measure-12", in the second part "measure-12-part-2"."""
    return f"measure-{number}" + (f"-part-{part_index + 1}" if part_index else "")
