"""Settings against reference data: every combination of values on every piece, in parallel, through the store.

Since each stage's result is kept by content and settings, a sweep over one stage's settings runs the
stages before it once, and a sweep that was broken off goes on where it was.
"""

from __future__ import annotations

import csv
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import plugins
from .errors import InputError, RescoredError, SettingsError
from .evaluate import FIGURES, Piece, compare, evaluate, pieces
from .settings import Settings, Value

Row = dict[str, Any]  # "piece", the value of every setting that is swept, every figure, "problem" (else "")

MAIN = ("onset_f1", "offset_f1", "beat_f1", "downbeat_f1", "mv2h", "ioi", "duration", "key", "time_signature")
PLOTTED = ("onset_f1", "beat_f1", "mv2h")
_SOUNDS = ("audio.*", "mix.*", "performance.mid")  # what goes in: the first of these that a piece's folder has
_MOST = 10_000  # values of one setting


@dataclass(frozen=True)
class Subject:
    """A piece to try settings on: the file that goes in, and what is known of it."""

    name: str
    source: Path
    reference: Piece


def subjects(data: str | Path) -> list[Subject]:
    """The pieces under a folder: every folder with a recording (`audio.*`, `mix.*`, `performance.mid`) and a reference.

    What a reference is: `evaluate.pieces.of_folder`. Raises InputError if there is none.
    """
    data = Path(data)
    found = []
    for folder in sorted({data, *(path for path in data.glob("**/") if path.is_dir())}):
        source = next((file for pattern in _SOUNDS for file in sorted(folder.glob(pattern))), None)
        reference = pieces.of_folder(folder) if source else Piece()
        if source and reference != Piece():
            name = folder.relative_to(data).as_posix()
            found.append(Subject(folder.name if name == "." else name, source, reference))
    if not found:
        remedy = "A piece is a folder with audio.* or performance.mid, and notes.csv, beats.csv or score.musicxml."
        raise InputError(f"There are no pieces in {data.name or data}.", remedy)
    return found


def values_of(name: str, text: str) -> list[Value]:
    """The values that `0.3:0.7:0.05` (both ends included) or `auto,3/4,4/4` means; raises SettingsError."""
    parts = text.split(":")
    if len(parts) == 3:
        try:
            low, high, step = map(float, parts)
        except ValueError:
            low, high, step = 0.0, 0.0, 0.0
        if not (step > 0 and low <= high and (high - low) / step <= _MOST):
            raise SettingsError(f"{name}={text} is no range.", "Write it as from:to:step, such as 0.3:0.7:0.05.")
        given: list[Any] = [round(low + k * step, 9) for k in range(int((high - low) / step + 1e-6) + 1)]
    else:
        given = [value.strip() for value in text.split(",")]
    return [Settings().changed({name: value}).as_dict()[name] for value in given]


def sweep(
    pieces: Sequence[Subject], axes: Mapping[str, Sequence[Value]], settings: Settings | None = None, *,
    store: Path | None = None, jobs: int | None = None, report: Callable[[int, int], None] = lambda done, of: None,
) -> list[Row]:
    """A row for every piece and combination of the values on `axes`, in that order.

    What fails counts as 0 and its row says why. `store`: folder of the shared store (None = the default one);
    `jobs`: processes at once (None = half the processors); `report(done, of)` is called after each.
    """
    from joblib import Parallel, delayed

    combinations = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    tried = [(settings or Settings()).changed(combination) for combination in combinations]
    jobs = jobs or max((os.cpu_count() or 2) // 2, 1)
    # Of every piece one run first: the rest then finds the stages that do not depend on the settings.
    first, rest = ([(i, k) for k in ks for i in range(len(pieces))] for ks in (range(1), range(1, len(tried))))
    rows: dict[tuple[int, int], Row] = {}
    for batch in (first, rest):
        made = Parallel(n_jobs=min(jobs, max(len(batch), 1)), return_as="generator")(
            delayed(_measure)(pieces[i], tried[k], store) for i, k in batch)
        for (i, k), (figures, problem) in zip(batch, made, strict=True):
            rows[k, i] = {"piece": pieces[i].name, **combinations[k], **figures, "problem": problem}
            report(len(rows), len(tried) * len(pieces))
    return [rows[key] for key in sorted(rows)]


def _measure(subject: Subject, settings: Settings, folder: Path | None) -> tuple[dict[str, float], str]:
    from .evaluate.pieces import of_transcription
    from .pipeline import transcribe
    from .store import Store

    plugins.load()  # in the process that runs this
    try:
        result = transcribe(subject.source, settings, store=Store(folder))
        return evaluate(of_transcription(result), subject.reference), ""
    except RescoredError as error:
        return compare(Piece(), subject.reference), str(error)


def means(rows: Sequence[Row], axes: Sequence[str]) -> list[Row]:
    """A row for every combination of settings: its figures' means over the pieces that have them."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in axes), []).append(row)
    return [
        {**dict(zip(axes, key, strict=True)),
         **{name: sum(known) / len(known) for name in FIGURES if (known := [r[name] for r in group if name in r])}}
        for key, group in groups.items()
    ]


def save(rows: Sequence[Row], axes: Sequence[str], folder: str | Path) -> tuple[Path, Path]:
    """Write `sweep.csv` and `sweep.png` (`display.sweep` of the main figures); returns their paths."""
    from . import display

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    columns = ["piece", *axes, *(name for name in FIGURES if any(name in row for row in rows)), "problem"]
    table, plot = folder / "sweep.csv", folder / "sweep.png"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    plotted = [name for name in PLOTTED if any(name in row for row in rows)]
    plot.write_bytes(display.png(display.sweep(rows, axes, plotted)))
    return table, plot
