"""What is known of a piece, from elsewhere than one file: a performance, an example, a folder of reference data."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from .. import examples
from ..errors import InputError
from ..music import BeatGrid, Performance, Transcription, WrittenNote
from .reading import Beats, Measures, Piece, ScoreNote, Written, played, read

_SCORES = ("score.musicxml", "score.mxl", "timed.json")  # as written, and as written with times


def of_performance(performance: Performance, grid: BeatGrid | None = None) -> Piece:
    """Notes as played, drums left out, and the beats of a grid."""
    drums = {part.id for part in performance.parts if part.percussion}
    rows = [(n.onset_s, n.offset_s, n.pitch) for n in performance.notes if n.part not in drums]
    beats = Beats(grid.times_s, grid.times_s[grid.beat == 1]) if grid else None
    return Piece(played=played(np.array(rows, dtype=np.float64).reshape(-1, 3)), beats=beats)


def of_transcription(transcription: Transcription) -> Piece:
    """A transcription as its files have it, so that a figure covers the writing, too."""
    from ..output.contract import to_json
    from ..output.musicxml import to_musicxml

    with tempfile.TemporaryDirectory(prefix="rescored-") as folder:
        files = Path(folder, "song.musicxml"), Path(folder, "song.json")
        files[0].write_text(to_musicxml(transcription.score), encoding="utf-8")
        files[1].write_text(json.dumps(to_json(transcription)), encoding="utf-8")
        return read(files)


def of_example(name: str) -> Piece:
    """Everything about an example that ships, drums left out; raises KeyError for an unknown name."""
    example, performance = examples.EXAMPLES[name], examples.performance(name)
    drums = {part.id for part in example.parts if part.percussion}
    written = [n for n in examples.score_notes(name) if n.part not in drums]
    staves = {part.id: 10 * i for i, part in enumerate(example.parts)}
    notes = tuple(
        ScoreNote(float(n.onset_ql), float(n.duration_ql), n.pitch, n.step, n.alter, staves[n.part] + n.staff,
                  str(n.voice)) for n in written)
    end_ql, bar_ql, pickup_ql = max(n.end_ql for n in notes), float(example.measure_ql), float(example.pickup_ql)
    bars = [*([-pickup_ql] if pickup_ql else []), *np.arange(0.0, end_ql, bar_ql).tolist()]
    edges = [*bars[1:], max(end_ql, bars[-1] + bar_ql)]
    measures = tuple((a, b - a) for a, b in zip(bars, edges, strict=True))
    metre = ((bars[0], example.numerator, example.denominator),)
    return replace(
        of_performance(performance), beats=_beats(performance, written, example),
        written=Written(notes, Measures(measures, metre), ((bars[0], example.fifths),)))


def _beats(performance: Performance, written: list[WrittenNote], example: examples.Example) -> Beats:
    """Where its beats are played: with the notes on them, or between those of its neighbours."""
    onset_s = {n.id: n.onset_s for n in performance.notes}
    struck: dict[Fraction, list[float]] = {}
    for note in written:
        struck.setdefault(note.onset_ql, []).append(onset_s[note.id])
    places = sorted(struck)
    beats_ql = np.arange(0.0, float(places[-1]) + 1e-6, example.beat_ql)
    times_s = np.interp(beats_ql, [float(ql) for ql in places], [float(np.median(struck[ql])) for ql in places])
    return Beats(times_s, times_s[beats_ql % float(example.measure_ql) < 1e-6])


def of_folder(folder: str | Path) -> Piece:
    """What the reference files of a piece say; without any, a Piece of nothing. Raises InputError for bad ones.

    `score.musicxml` or `.mxl` and `timed.json` (rescored's JSON without its own fields), `notes.csv` (onset_s,
    offset_s, pitch), `beats.csv` (time_s, bar, beat). An `index.json` of the set beside the folder may say
    that its keys are not to be trusted: `{"key": false}`.
    """
    folder = Path(folder)
    piece = read(path for name in _SCORES if (path := folder / name).exists())
    if (rows := _table(folder / "notes.csv")) is not None:
        piece = replace(piece, played=played(rows[:, :3]))
    if (rows := _table(folder / "beats.csv")) is not None:
        piece = replace(piece, beats=Beats(rows[:, 0], rows[rows[:, 2] == 1, 0]))
    index = folder.parent / "index.json"
    if piece.written and index.exists() and not json.loads(index.read_text(encoding="utf-8")).get("key", True):
        piece = replace(piece, written=replace(piece.written, keys=()))
    return piece


def _table(path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.float64]] | None:
    if not path.exists():
        return None
    try:
        return np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
    except ValueError as error:
        remedy = "It must be numbers under a line of names."
        raise InputError(f"{path.name} could not be read: {error}", remedy) from error
