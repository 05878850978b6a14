"""song.json: the documented, versioned form of a transcription, written and read back.

    rescored         version that wrote it; "format" is the version of this layout, now 1
    source settings  where it came from (no paths), and the flat settings tree; "warnings" in words
    notes            one object a written note: id part onset_s offset_s pitch velocity confidence (as played),
                     measure onset_ql duration_ql staff voice step alter octave grace staccato release_ql (as written);
                     written_pitch: what sounds where the score is played, after transposing and arranging
    unwritten        notes that were heard and not written, as played (an ornament's: see score.ornaments)
    readability      printed signs a written note: ties rests dots tuplets accidentals, signs = their sum; and
                     voices a staff
    edits            what the user corrected, in order: {"edit": "move", "notes": [{id onset_s pitch part}], ...}, with
                     the fields of `rescored.music.Move` and so on; "notes" and "performance" are after the edits,
    heard            and this is before them, where there are any: notes candidates duration_s warnings
    beats            time_s ql measure beat, and "bar", the same as measure
    time_signatures  measure ql numerator denominator; keys: measure ql fifths mode
    tempi            ql bpm beat_ql text; chords: ql symbol
    performance      parts pedal pulse candidates duration_s warnings; hands: staff by note id, where a MIDI file's
                     tracks tell it; stated: what a MIDI file says of its metre, its tempo map as times_s and ql from
                     the file's begin; grid: confidence of each beat, whether they are the stated ones, and the keys
                     that are stated with them
    lead_sheet       whether song.lead.musicxml is beside it
    score            title composer parts measures symbols clefs marks time_signatures: all that is drawn

Field names are those of `rescored.music`. Positions are floats: seconds from the start of the
recording, quarter lengths from the start of measure 1 (a pickup lies before, negative). Fractions
are recovered exactly, since no denominator of a score exceeds 5040. Stems and the lead sheet are not in it.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from .. import __version__
from ..errors import InputError
from ..music import (
    SYMBOL_TYPES,
    Accept,
    Add,
    BeatGrid,
    Check,
    Delete,
    Edit,
    KeySignature,
    Merge,
    Move,
    Note,
    Performance,
    Resize,
    Respell,
    Score,
    SetDuration,
    SetPart,
    SetStaff,
    Source,
    Split,
    TimeSignature,
    Transcription,
)
from ..settings import UNWRITABLE
from .readability import readability

EDITS: dict[str, type[Edit]] = {
    "add": Add, "accept": Accept, "delete": Delete, "move": Move, "resize": Resize, "split": Split, "merge": Merge,
    "part": SetPart, "staff": SetStaff, "respell": Respell, "duration": SetDuration, "check": Check,
}
_NAMES = {kind: name for name, kind in EDITS.items()}
FORMAT = 1  # raised whenever an older reader would misunderstand what is written
_FINEST = 5040
_SAME = ("parts", "pedal", "pulse", "stated", "hands")  # of a performance, before and after corrections
MAX_NOTES, MAX_S, MAX_QL, MAX_PARTS = 400_000, 5 * 3600.0, 500_000, 200  # of a file that is read
_BEATS = tuple(Fraction(2**k) * dots for k in range(-2, 3) for dots in (1, Fraction(3, 2)))


def to_json(transcription: Transcription) -> dict[str, Any]:
    """The transcription as plain JSON values (dict, list, str, int, float, bool, None)."""
    performance, grid, score = transcription.performance, transcription.grid, transcription.score
    heard = transcription.heard
    played = {n.id: n for n in performance.notes}
    starts = [m.ql for m in score.measures]
    return {
        "rescored": __version__,
        "format": FORMAT,
        "source": _plain(transcription.source),
        "settings": dict(transcription.settings),
        "warnings": list(transcription.warnings),
        "notes": [
            {**_plain(n), "written_pitch": n.pitch, **_plain(played[n.id]),
             "measure": score.measures[max(bisect_right(starts, n.onset_ql) - 1, 0)].number}
            for n in score.notes
        ],
        "readability": readability(score).as_dict(),
        "unwritten": [_plain(n) for n in performance.notes if n.id not in score.note],
        "edits": edits_to_json(transcription.edits),
        "heard": None if heard is None else _plain(heard, but=_SAME),
        "beats": [
            {"time_s": time_s, "ql": ql, "measure": measure, "bar": measure, "beat": beat}
            for time_s, ql, measure, beat in zip(
                grid.times_s.tolist(), grid.ql.tolist(), grid.measure.tolist(), grid.beat.tolist(), strict=True)
        ],
        "time_signatures": _plain(grid.time_signatures),
        "keys": _plain(score.keys),
        "tempi": _plain(score.tempi),
        "chords": _plain(score.chords),
        "lead_sheet": transcription.lead is not None,
        "performance": _plain(performance, but=("notes",)),
        "grid": {"confidence": grid.confidence.tolist(), "stated": grid.stated, "keys": _plain(grid.keys)},
        "score": _plain(score, but=("notes", "keys", "tempi", "chords")),
    }


def from_json(data: Any) -> Transcription:
    """The transcription that `to_json` wrote; raises InputError for anything else."""
    try:
        newer = _typed(data["format"], int) > FORMAT
        result = None if newer else _transcription(data)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(
            "This is no transcription saved by rescored, or it is damaged.", "Choose a .json file that rescored wrote."
        ) from error
    if result is None:
        raise InputError("This transcription was saved by a newer rescored.", "Update rescored, then open it again.")
    return result


def _transcription(data: Mapping[str, Any]) -> Transcription:
    beats = {name: np.array([_typed(b[name], float) for b in data["beats"]])
             for name in ("time_s", "ql", "measure", "beat")}
    grid = BeatGrid(
        beats["time_s"], beats["ql"], beats["measure"], beats["beat"],
        _typed(data["time_signatures"], tuple[TimeSignature, ...]),
        np.array(_typed(data["grid"]["confidence"], tuple[float, ...])),
        _typed(data["grid"].get("stated", False), bool), _typed(data["grid"].get("keys", []), tuple[KeySignature, ...]))
    notes = _typed(data["notes"], tuple[Note, ...]) + _typed(data["unwritten"], tuple[Note, ...])
    performance = dataclasses.replace(_typed({**data["performance"], "notes": []}, Performance), notes=notes)
    heard = data.get("heard")
    if heard is not None:
        same = {name: data["performance"][name] for name in _SAME if name in data["performance"]}
        heard = _typed({**heard, **same}, Performance)
    written = [{**n, "pitch": n.get("written_pitch", n["pitch"])} for n in data["notes"]]
    score = _typed({**data["score"], "notes": written, "keys": data["keys"], "tempi": data["tempi"],
                    "chords": data["chords"]}, Score)
    known = {"part": {p.id for p in score.parts}, "measure": {m.number for m in score.measures}}
    for symbol in score.symbols:
        if symbol.part not in known["part"] or symbol.measure not in known["measure"] \
                or not score.note.keys() >= set(symbol.notes):
            raise ValueError(f"a symbol of an unknown part, measure or note: {symbol}")
    _check(heard or performance)
    _check_drawn(score)
    return Transcription(
        source=_typed(data["source"], Source), settings=_typed(data["settings"], Mapping[str, Any]),
        performance=performance, grid=grid, score=score, warnings=_typed(data["warnings"], tuple[str, ...]),
        edits=edits_from_json(data.get("edits", [])), heard=heard)


def _check(performance: Performance) -> None:
    """Raises ValueError for what no recording can be: the file may come from anywhere, and is notated again."""
    pulse, notes = performance.pulse, (*performance.notes, *performance.candidates)
    sane = len(notes) <= MAX_NOTES and 0 <= performance.duration_s <= MAX_S
    sane &= all(n.onset_s >= 0 and n.offset_s <= MAX_S and 0 <= n.confidence <= 1 for n in notes)
    sane &= all(0 <= s.start_s <= s.end_s <= MAX_S for s in performance.pedal)
    sane &= pulse is None or (0 < pulse.rate_hz <= 1000 and len(pulse.beat) <= MAX_S * pulse.rate_hz)
    sane &= all(hand in (1, 2) for hand in performance.hands.values())
    if stated := performance.stated:
        sane &= len(stated.ql) <= MAX_NOTES and max(map(abs, (*stated.ql, *stated.times_s))) <= MAX_QL
        sane &= all(0 <= s.ql <= MAX_QL and s.numerator <= MAX_PARTS for s in stated.time_signatures)
        sane &= all(0 <= k.ql <= MAX_QL and abs(k.fifths) <= 7 for k in stated.keys)
    sane &= len({p.id for p in performance.parts}) == len(performance.parts) <= MAX_PARTS
    sane &= all(re.fullmatch(r"[\w-]{1,60}", p.id) and p.staves in (1, 2) and 0 <= p.program <= 127
                for p in performance.parts)
    if not sane:
        raise ValueError("no such performance")


def _check_drawn(score: Score) -> None:
    """Raises ValueError for what no score that is drawn can hold."""
    sane = all(n.step in tuple("ABCDEFG") and abs(n.alter) <= 2 and -1 <= n.octave <= 10 and n.staff in (1, 2)
               and 0 <= n.duration_ql <= MAX_QL for n in score.notes)
    sane &= all(abs(x.ql) <= MAX_QL for xs in (score.keys, score.clefs, score.tempi, score.marks, score.chords)
                for x in xs)
    sane &= all(abs(k.fifths) <= 7 for k in score.keys) and all(1 <= c.line <= 5 for c in score.clefs)
    sane &= all(0 < t.bpm < 10_000 and t.beat_ql in _BEATS for t in score.tempi)
    sane &= all(p.staves in (1, 2) and 0 <= p.program <= 127 and abs(p.transpose) <= 48 for p in score.parts)
    sane &= all(s.type in SYMBOL_TYPES and 0 <= s.dots <= 3 and abs(s.onset_ql) <= MAX_QL
                and 0 <= s.duration_ql <= MAX_QL for s in score.symbols)
    if not sane or len({m.number for m in score.measures}) < len(score.measures):
        raise ValueError("no such score")
    for m in score.measures:
        full_ql = m.signature.measure_ql
        if full_ql > MAX_QL or not 0 < m.length_ql <= MAX_QL or abs(m.ql) > MAX_QL:
            raise ValueError(f"no such measure: {m}")


def edits_to_json(edits: Iterable[Edit]) -> list[dict[str, Any]]:
    """Edits as plain JSON values."""
    return [{"edit": _NAMES[type(edit)], **_plain(edit)} for edit in edits]


def edits_from_json(data: Any) -> tuple[Edit, ...]:
    """The edits that `edits_to_json` wrote; raises InputError for anything else."""
    try:
        if not isinstance(data, list):
            raise TypeError(f"not a list: {data!r:.100}")
        return tuple(_typed(edit, EDITS[_typed(edit["edit"], str)]) for edit in data)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        remedy = "Reload the page, or update rescored."
        raise InputError("These are no corrections that rescored knows.", remedy) from error


def _plain(value: Any, but: Iterable[str] = ()) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.name not in but}
    if isinstance(value, Fraction):
        return float(value)
    if isinstance(value, np.ndarray):
        return value.round(4).tolist()  # activation curves, which need no more
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value


def _typed(value: Any, kind: Any) -> Any:
    """The value as this type; raises TypeError, ValueError or KeyError where it is none.

    A field that is absent takes its default, one that is unknown is ignored: so that a file of one
    version can be read by its neighbours.
    """
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = _hints(kind)
        return kind(**{
            f.name: _typed(value[f.name], hints[f.name]) for f in dataclasses.fields(kind)
            if f.name in value or (f.default is f.default_factory is dataclasses.MISSING)})
    if origin is tuple:
        if not isinstance(value, list):
            raise TypeError(f"not a list: {value!r:.100}")
        return tuple(_typed(v, args[0]) for v in value)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _typed(value, next(a for a in args if a is not type(None)))
    if origin is typing.Literal:
        if value not in args:
            raise ValueError(f"not one of {args}: {value!r:.100}")
        return value
    if origin is np.ndarray:
        return np.array(_typed(value, tuple[float, ...]))
    if origin is not None:  # Mapping[str, Any]
        if not isinstance(value, dict):
            raise TypeError(f"not an object: {value!r:.100}")
        return value
    if kind in (float, Fraction):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise TypeError(f"not a number: {value!r:.100}")
        return float(value) if kind is float else Fraction(value).limit_denominator(_FINEST)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"not {kind.__name__}: {value!r:.100}")
    return UNWRITABLE.sub("", value) if kind is str else value


_known_hints: dict[type, dict[str, Any]] = {}


def _hints(kind: type) -> dict[str, Any]:
    if kind not in _known_hints:
        _known_hints[kind] = typing.get_type_hints(kind)
    return _known_hints[kind]
