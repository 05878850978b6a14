"""The command line: `rescored transcribe`, `settings`, `evaluate`, `sweep`, `space`; what is heavy is loaded late."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from . import PRESETS, READABILITY, RescoredError, Settings, SettingsError, __version__
from .settings import OF_HEARING, describe_range

if TYPE_CHECKING:
    from .music import Recording, Transcription
    from .stage import Event, Listener
    from .store import Store

_NUMBERED = 25  # characters of a name that gets a number: `safe_name` keeps 120 bytes, of up to four a character
FAILED, BROKEN, INTERRUPTED = 2, 1, 130  # exit codes: an input is bad; rescored is; Ctrl-C


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 0, 2 if something was wrong with an input or a setting, 1 for a bug."""
    options = _parser().parse_args(argv)
    try:
        _load_plugins()
        code = int(options.run(options))
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `rescored settings | head`: who read has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except RescoredError as error:
        print(f"rescored: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("rescored: interrupted", file=sys.stderr)
        return INTERRUPTED


def _load_plugins() -> None:
    if os.environ.get("RESCORED_PLUGINS"):
        from .plugins import load

        load()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rescored", description="Turns a recording into sheet music.")
    parser.add_argument("--version", action="version", version=f"rescored {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser(
        "transcribe", help="write the score of recordings, MIDI performances, YouTube links or a saved song.json",
        epilog="Each song.wav becomes song.musicxml, song.pdf, song.mid ... in DIR. One bad input does not stop "
               "the others; the exit code is 2 if any failed.")
    command.add_argument("inputs", nargs="+", metavar="INPUT",
                         help="an audio, video or MIDI file, a saved song.json, or a link")
    command.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="folder for the files (default: here)")
    command.add_argument("--preset", metavar="NAME", help=f"what is in the recording: {', '.join(PRESETS)}, or a JSON "
                         "file of settings (default: solo-piano, or what a saved song.json was made with)")
    command.add_argument("--readability", choices=tuple(READABILITY), help="how closely the score follows the "
                         "performance: everything as played, clean (the default), or easy to play")
    command.add_argument("--set", action="append", default=[], metavar="SECTION.NAME=VALUE", dest="changes",
                         help="change a setting (`rescored settings` lists them); may be given several times")
    command.add_argument("--passage", metavar="FROM-TO", help="only this passage, such as 0:30-1:10 or 90-")
    command.add_argument("--stems", action="store_true", help="keep the separated instruments as FLAC files")
    command.add_argument("--parts", action="store_true", help="write every part for itself too, into song.parts")
    command.set_defaults(run=_transcribe)

    command = commands.add_parser(
        "worker", help="do the jobs of a service of several machines (docs/service.md)",
        epilog="RESCORED_BROKER_URL, RESCORED_STORE and RESCORED_DATABASE_URL say where they are found. On a GPU: "
               "--queues gpu --pool threads --concurrency 4, so that songs that wait together share batches.")
    command.add_argument("--queues", default="gpu,cpu", help="gpu: networks; cpu: all else (default: both)")
    command.add_argument("--concurrency", type=int, default=1, metavar="N", help="jobs at once (default: 1)")
    command.add_argument("--pool", default="prefork", choices=("prefork", "solo", "threads"),
                         help="as Celery has them: prefork (the default) survives a crash of what it runs; threads "
                         "share the models, and a GPU's batches")
    command.set_defaults(run=_worker)

    command = commands.add_parser("settings", help="list all settings: name, default, range, meaning")
    command.add_argument("--markdown", action="store_true", help="as docs/settings.md has them")
    command.set_defaults(run=_settings)

    command = commands.add_parser("evaluate", help="compare a transcription with a reference: MusicXML, MIDI or JSON")
    command.add_argument("estimate", metavar="PRED", help="what is to be judged")
    command.add_argument("reference", metavar="REF", help="what is right")
    command.add_argument("--format", choices=("text", "csv", "html"), default="text", help="of the table")
    command.set_defaults(run=_evaluate)

    command = commands.add_parser("sweep", help="try values of settings on recordings whose notes or scores are known")
    command.add_argument("data", type=Path, metavar="DATA", help="folder of pieces: each a folder with a recording "
                         "(audio.*, performance.mid) and its notes.csv, beats.csv or score.musicxml")
    command.add_argument("--set", action="append", required=True, metavar="SECTION.NAME=VALUES", dest="changes",
                         help="from:to:step or value,value ...; of several settings every combination is tried")
    command.add_argument("--preset", default="solo-piano", metavar="NAME", help="where all other settings come from")
    command.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="folder for sweep.csv and sweep.png")
    command.add_argument("--jobs", type=int, metavar="N", help="processes at once (default: half the processors)")
    command.set_defaults(run=_sweep)
    command = commands.add_parser("space", help="put this checkout on a Hugging Face Space")
    actions = command.add_subparsers(required=True, metavar="ACTION")
    command = actions.add_parser("push", help="create the Docker Space OWNER/NAME, or bring it up to date",
                                 epilog="Needs `hf auth login`, or HF_TOKEN; --dry-run needs neither.")
    command.add_argument("space", metavar="OWNER/NAME", help="the Space")
    command.add_argument("--hardware", default="", metavar="NAME", help="such as t4-small, l4x1, cpu-basic (default: "
                         "what README.md suggests)")
    command.add_argument("--sleep", type=int, default=1800, metavar="SECONDS", help="of idleness, until paid hardware "
                         "sleeps (default: 1800)")
    command.add_argument("--private", action="store_true", help="if it is created, only its owner sees it")
    command.add_argument("--variable", action="append", default=[], metavar="NAME=VALUE", dest="variables",
                         help="of the Space's environment; may be given several times")
    command.add_argument("--secret", action="append", default=[], metavar="NAME", dest="secrets",
                         help="a variable that this environment has and nobody may read there; likewise")
    command.add_argument("--folder", type=Path, default=Path(), metavar="DIR", help="of the checkout (default: here)")
    command.add_argument("--dry-run", action="store_true", help="say what would be done; nothing leaves this machine")
    command.set_defaults(run=_space_push)
    return parser


# ---------------------------------------------------------------- transcribe


@dataclass(frozen=True)
class _Outcome:
    """What became of one input."""

    source: str
    state: Literal["done", "failed", "broken"]
    text: str


def _transcribe(options: argparse.Namespace) -> int:
    changes = {**READABILITY.get(options.readability, {}), **_changes(options.changes), **_passage(options.passage)}
    settings = Settings.preset(options.preset or "solo-piano").changed(changes)
    of_saved = None if options.preset else changes
    from .store import Store

    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"The folder {options.out} cannot be made.", "Choose another --out.") from error
    store, taken, outcomes = Store(), set[str](), []
    for source in options.inputs:
        try:
            with _progress(source) as listen:
                text = _one(source, options.out, taken, settings, of_saved, store, listen, stems=options.stems,
                            parts=options.parts)
            outcomes.append(_Outcome(source, "done", text))
        except RescoredError as error:
            outcomes.append(_Outcome(source, "failed", str(error)))
        except Exception as error:
            traceback.print_exc()
            outcomes.append(_Outcome(source, "broken", f"This is a bug in rescored: {type(error).__name__}: {error}"))
    _show(outcomes)
    states = {outcome.state for outcome in outcomes}
    return BROKEN if "broken" in states else FAILED if "failed" in states else 0


def _one(source: str, folder: Path, taken: set[str], settings: Settings, of_saved: Mapping[str, str | float] | None,
         store: Store, listen: Listener, *, stems: bool, parts: bool) -> str:
    """Transcribe one input into the folder; says in a line what came out. `of_saved`: changes of the settings
    that a saved transcription was made with, which then count instead of `settings`."""
    from .hearing.sources import open_source
    from .output.files import load, save
    from .pipeline import saved_settings, transcribe
    from .stage import Event

    def report(fraction: float, text: str = "") -> None:
        listen(Event("open_source", "running", fraction, text))

    recording = open_source(source, max_minutes=settings.audio.max_minutes, report=report)
    if recording.kind == "saved" and of_saved is not None:
        if deaf := [name for name in of_saved if name.split(".")[0] in OF_HEARING]:
            raise SettingsError(f"{deaf[0]} changes nothing about what is saved already.", "Give the recording itself.")
        settings = saved_settings(load(recording.path)).changed(of_saved)
    name = _free_name(source, recording, taken)
    transcription = transcribe(recording, settings, store=store, listen=listen)
    save(transcription, folder, name, stems=stems, parts=parts)
    return f"{folder / name}.musicxml: {_summary(transcription)}"


def _free_name(source: str, recording: Recording, taken: set[str]) -> str:
    """The name of an input's files: its own, numbered where another input of this batch has it."""
    from .output.files import safe_name

    wanted = name = safe_name(recording.title if recording.url else Path(source).stem)
    number = 1
    # Without regard to case, as on macOS; and "song.score" would take the written MIDI of "song".
    while (name_taken := name.casefold().removesuffix(".score")) in taken:
        number += 1
        name = f"{safe_name(wanted[:_NUMBERED])}-{number}"
    taken.add(name_taken)
    return name


def _summary(transcription: Transcription) -> str:
    from .output.readability import readability

    score = transcription.score
    metre, key = score.time_signatures[0], score.keys[0]
    warnings = "".join(f"\n  Note: {warning}" for warning in transcription.warnings)
    return (f"{len(score.measures)} measures, {metre.numerator}/{metre.denominator}, {key.name}; "
            f"{readability(score)}{warnings}")


def _changes(given: list[str]) -> dict[str, str]:
    changes = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise SettingsError(f"--set {text} has no value.", "Write it as section.name=value.")
        changes[name.strip()] = value.strip()
    return changes


def _passage(text: str | None) -> dict[str, float]:
    """`FROM-TO`, each in seconds, m:ss or h:mm:ss, or left out."""
    if text is None:
        return {}
    clock = r"((?:\d+:){0,2}\d+(?:\.\d+)?)?"
    found = re.fullmatch(rf"{clock}\s*[-–]\s*{clock}", text.strip())
    if not found or not any(found.groups()):
        raise SettingsError(f"--passage {text} is no passage.", "Write it as 0:30-1:10, or 0:30- for all after it.")
    start_s, end_s = (
        sum(float(part) * 60**i for i, part in enumerate(reversed((time or "0").split(":"))))
        for time in found.groups())
    if found[2] and end_s <= start_s:
        raise SettingsError(f"--passage {text} ends before it begins.", "Write it as 0:30-1:10.")
    return {"audio.start_s": start_s, "audio.end_s": end_s}


@contextmanager
def _progress(source: str) -> Iterator[Listener]:
    """A listener that draws a bar a stage on a terminal, and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda event: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    from .service.progress import WORDS

    console = Console(stderr=True)
    console.print(source, markup=False, highlight=False)
    columns = TextColumn("  {task.description}", markup=False), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, TaskID] = {}

        def listen(event: Event) -> None:
            stage, _, label = event.stage.partition(":")
            if event.stage not in tasks:
                words = WORDS.get(stage, stage) + (f" ({label})" if label else "")
                tasks[event.stage] = progress.add_task(words, total=1.0)
            progress.update(tasks[event.stage], completed=event.fraction)

        yield listen


def _show(outcomes: list[_Outcome]) -> None:
    """What became of every input: a table on a terminal, else a line each."""
    if not sys.stdout.isatty():
        for outcome in outcomes:
            print(f"{outcome.state}: {outcome.source}: {outcome.text}")
        return
    _table(("input", "", "result"), [(o.source, o.state, o.text) for o in outcomes])


# ---------------------------------------------------------------- settings


def _settings(options: argparse.Namespace) -> int:
    if options.markdown:
        print(_markdown(), end="")
        return 0
    rows = []
    for name, value, item in Settings().leaves():
        shown = str(value).lower() if isinstance(value, bool) else str(value) or '""'
        rows.append((name, shown, describe_range(item), str(item.metadata["help"])))
    if sys.stdout.isatty():
        _table(("setting", "default", "takes", "meaning"), rows)
    else:
        for row in rows:
            print("\t".join(row))
    return 0


def _markdown() -> str:
    """docs/settings.md, which a test compares with this."""
    lines = ["# Settings", "",
             "Written by `rescored settings --markdown`. Change one with `--set section.name=value`,",
             "under *Fine tuning* on the page, or with `Settings().changed({...})`; presets are JSON files of changes."]
    for section in fields(Settings):
        part = getattr(Settings(), section.name)
        lines += ["", f"## {section.name}", "", str(type(part).__doc__), "", "| name | default | takes | meaning |",
                  "|---|---|---|---|"]
        lines += [f"| `{item.name}` | {json.dumps(getattr(part, item.name))} | {describe_range(item)} | "
                  f"{item.metadata['help']} |" for item in fields(part)]
    lines += ["", "## Presets", "", "| name | changes |", "|---|---|"]
    lines += [f"| `{name}` | {', '.join(f'`{key}={value}`' for key, value in changes.items())} |"
              for name, changes in PRESETS.items()]
    lines += ["", "## Readability", "", "| name | changes |", "|---|---|"]
    lines += [f"| `{name}` | {', '.join(f'`{key}={value}`' for key, value in changes.items())} |"
              for name, changes in READABILITY.items()]
    return "\n".join(lines) + "\n"


def _worker(options: argparse.Namespace) -> int:
    try:
        from .service.celery_app import run_worker
    except ImportError as error:
        raise SettingsError("Celery is not installed.", "Install it with `pip install 'rescored[service]'`.") from error
    run_worker([queue.strip() for queue in options.queues.split(",")], options.concurrency, options.pool)
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from .evaluate import as_csv, as_html, evaluate, table

    form = {"text": table, "csv": as_csv, "html": as_html}[options.format]
    print(form(evaluate(options.estimate, options.reference)).rstrip("\n"))
    return 0


def _sweep(options: argparse.Namespace) -> int:
    from .sweep import MAIN, means, save, subjects, sweep, values_of

    axes = {name: values_of(name, text) for name, text in _changes(options.changes).items()}
    pieces = subjects(options.data)
    with _counted("trying settings") as report:
        rows = sweep(pieces, axes, Settings.preset(options.preset), jobs=options.jobs, report=report)
    for row in rows:
        if row["problem"]:
            print(f"{row['piece']}: {row['problem']}", file=sys.stderr)
    shown = [*axes, *(name for name in MAIN if any(name in row for row in rows))]
    cells = [[f"{row[name]:.3f}" if name in MAIN and name in row else str(row.get(name, "")) for name in shown]
             for row in means(rows, list(axes))]
    if sys.stdout.isatty():
        _table(shown, cells)
    else:
        print("\n".join("\t".join(row) for row in [shown, *cells]))
    for path in save(rows, list(axes), options.out):
        print(path)
    return FAILED if any(row["problem"] for row in rows) else 0


def _space_push(options: argparse.Namespace) -> int:
    from .service.space import plan, push

    planned = plan(options.space, options.folder, hardware=options.hardware, sleep_s=options.sleep,
                   private=options.private, variables=options.variables, secrets=options.secrets)
    print(planned)
    if not options.dry_run:
        print(push(planned))
    return 0


@contextmanager
def _counted(text: str) -> Iterator[Callable[[int, int], None]]:
    """A report of (done, of) that draws a bar on a terminal, and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda done, of: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(text)
        yield lambda done, of: progress.update(task, completed=done, total=of)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*heads, box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # as Text: names may hold what rich takes for markup
    Console().print(table)
