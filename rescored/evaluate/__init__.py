"""The field's metrics for every stage, on any two of MusicXML, MIDI and rescored's JSON.

`evaluate("song.musicxml", "reference.musicxml")` gives the figures by name; `FIGURES` says what each
means. `reading` turns files into one small model, `notes`, `scores` and `mv2h` measure.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from pathlib import Path

from .notes import beat_figures, chord_figures, note_figures
from .reading import CLUTTER, Piece, Written, read
from .scores import score_figures

Source = str | Path | Iterable[str | Path] | Piece

__all__ = ["FIGURES", "Piece", "as_csv", "as_html", "compare", "evaluate", "main_rows", "read", "table"]

FIGURES: dict[str, str] = {
    "onset_f1": "notes: F1 of pitch and onset, 50 ms",
    "offset_f1": "notes: F1 of pitch, onset and offset",
    "onset_f1_lag": "onset_f1 after taking away one constant lag",
    "offset_f1_lag": "offset_f1 after taking away one constant lag",
    "beat_f1": "beats: F1, 70 ms",
    "downbeat_f1": "downbeats: F1, 70 ms",
    "chords": "chords: share of the time with the right root and major or minor (mir_eval's majmin)",
    "chords_sevenths": "of those that are a triad or seventh chord: all of it right (mir_eval's sevenths)",
    "mv2h": "mean of the five that follow (McLeod & Steedman 2018)",
    "mv2h_multi_pitch": "notes at their place, F1",
    "mv2h_voice": "links from note to note within voices, F1",
    "mv2h_metre": "bars, beats and sub-beats, F1",
    "mv2h_value": "note values",
    "mv2h_harmony": "key signature",
    "time_signature": "main time signature right (1) or wrong (0)",
    "key": "main key signature right (1) or wrong (0)",
    "measures": "number of measures / reference",
    "matched": "share of the reference's notes that are found",
    "matched_precision": "share of the notes that are in the reference",
    "ioi": "of those: right interval to the note before",
    "duration": "of those: right written length",
    "staff": "of those: on the right staff",
    "spelling": "of those: right letter and accidental",
    "voices": "voices a staff / reference",
    "clutter": "printed signs a note / reference: ties, rests, dots, tuplets, accidentals",
    "ties": "ties a note / reference",
    "rests": "rests a note / reference",
    "dots": "dots a note / reference",
    "tuplets": "tuplet notes a note / reference",
    "accidentals": "accidentals a note / reference",
}

_NOTES = tuple(name for name in FIGURES if "onset" in name or "offset" in name)
_BEATS = ("beat_f1", "downbeat_f1")
_CHORDS = ("chords", "chords_sevenths")
_SCORE = tuple(name for name in FIGURES if name not in (*_NOTES, *_BEATS, *_CHORDS))
_PRINTED = ("voices", "clutter", *CLUTTER)


def evaluate(estimate: Source, reference: Source) -> dict[str, float]:
    """Figures of one file (or several of one piece) against another, by name, in the order of `FIGURES`.

    Only what both kinds of file can say is compared: MusicXML has no seconds, MIDI no note names.
    A perfect estimate has 1.0 everywhere. Raises InputError where a file cannot be read. Either may be
    a `Piece` instead (see `pieces`).
    """
    piece, true = (source if isinstance(source, Piece) else read(source) for source in (estimate, reference))
    return compare(piece, Piece(
        true.written if piece.written else None, true.played if piece.played else None,
        true.beats if piece.beats else None, true.chords if piece.chords else None))


def compare(estimate: Piece, reference: Piece) -> dict[str, float]:
    """Figures for all that the reference knows; what the estimate lacks counts as 0."""
    figures: dict[str, float] = {}
    if reference.played:
        figures |= note_figures(estimate.played, reference.played) if estimate.played else dict.fromkeys(_NOTES, 0.0)
    if reference.beats:
        figures |= beat_figures(estimate.beats, reference.beats) if estimate.beats else dict.fromkeys(_BEATS, 0.0)
    if reference.chords:
        figures |= chord_figures(estimate.chords, reference.chords) if estimate.chords else dict.fromkeys(_CHORDS, 0.0)
    if reference.written:
        if estimate.written and estimate.written.notes:
            figures |= score_figures(estimate.written, reference.written)
        else:
            figures |= dict.fromkeys(_SCORE, 0.0)
        for name in _not_applicable(estimate.written, reference.written):
            figures.pop(name, None)
    return {name: figures[name] for name in FIGURES if name in figures}


def _not_applicable(estimate: Written | None, reference: Written) -> Iterator[str]:
    if not all(any(n.step for n in score.notes) for score in (reference, estimate or reference)):
        yield "spelling"
    if len({n.staff for n in reference.notes}) < 2:
        yield "staff"
    if reference.key is None:
        yield from ("key", "mv2h_harmony")
    if reference.time_signature is None:
        yield "time_signature"
    if reference.printed is None:
        yield from _PRINTED


def main_rows(figures: Mapping[str, float]) -> list[tuple[str, str, str]]:
    """(name, value, meaning) of every figure, as text."""
    return [(name, f"{value:.3f}", FIGURES[name]) for name, value in figures.items()]


def table(figures: Mapping[str, float]) -> str:
    """The figures one a line, for a terminal."""
    return "\n".join(f"{name:<18}{value:>7}  {meaning}" for name, value, meaning in main_rows(figures))


def as_csv(figures: Mapping[str, float]) -> str:
    """The figures as comma-separated values under a line of names, unrounded."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(("figure", "value", "meaning"))
    rows.writerows((name, value, FIGURES[name]) for name, value in figures.items())
    return out.getvalue()


def as_html(figures: Mapping[str, float]) -> str:
    """The figures as an HTML table."""
    rows = "\n".join(f"<tr><td>{name}</td><td>{value}</td><td>{escape(meaning)}</td></tr>"
                     for name, value, meaning in main_rows(figures))
    return f"<table>\n<tr><th>figure</th><th>value</th><th>meaning</th></tr>\n{rows}\n</table>\n"
