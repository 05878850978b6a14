"""Measure rescored: `make bench DATA=../shared/data`, or a part of it, `make bench ONLY="asap_dev speed"`.

Prints Markdown, section by section: the sets of reference data, each beside two baselines (bench_data.py); how
long people wait (bench_speed.py); the thirty rhythms (bench_rhythms.py); the parts of bands (bench_bands.py); the
separator (bench_separation.py); memory by length (bench_memory.py); the page (bench_page.py, needs Chromium). Every
piece runs in a process of its own, so that time and peak memory are its own; what fails counts as 0. What the
figures mean: `rescored.evaluate.FIGURES`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

from bench_baselines import librosa_beats, music21_quantiser
from bench_data import SETS, Task

import rescored
from rescored.evaluate import Piece, compare, read

COLUMNS = {
    "onset_f1": "onset F1", "offset_f1": "+offset", "onset_f1_lag": "onset, lag off", "beat_f1": "beat F",
    "downbeat_f1": "downbeat F", "chords": "chords", "chords_sevenths": "sevenths", "time_signature": "metre",
    "key": "key", "mv2h": "MV2H", "measures": "bars",
    "ioi": "ioi", "duration": "dur", "staff": "staff", "spelling": "spell", "voices": "voices", "clutter": "clutter",
    "seconds": "s", "peak_mb": "MB",
}
SECTIONS = (*SETS, "speed", "rhythms", "bands", "separation", "memory", "page")
TIMEOUT_S = 1200


def rescored_itself(task: Task, folder: Path) -> tuple[Piece, dict[str, float]]:
    """The files that a user gets, read back; and the seconds of every stage."""
    from rescored.output.files import save
    from rescored.pipeline import transcribe
    from rescored.stage import Event

    seconds: dict[str, float] = defaultdict(float)

    def listen(event: Event) -> None:
        seconds[event.stage.partition(":")[0]] += event.seconds

    done = transcribe(task.source, rescored.Settings.preset(task.preset), listen=listen)
    began = time.perf_counter()
    files = save(done, folder, "song")
    seconds["save"] = time.perf_counter() - began
    return read([files["musicxml"], files["json"]]), seconds


System = Callable[[Task, Path], tuple[Piece, dict[str, float]]]
SYSTEMS: dict[str, System] = {
    "rescored": rescored_itself,
    "music21": lambda task, folder: (music21_quantiser(task.source, folder), {}),
    "librosa": lambda task, folder: (librosa_beats(task.source, folder), {}),
}
TITLES = {
    "rescored": "rescored",
    "music21": "baseline: basic-pitch's MIDI (or the notes that go in) through music21's quantiser",
    "librosa": "baseline: the same notes rounded to sixteenths of librosa's beats",
}


def measure(task: Task, system: str) -> dict[str, Any]:
    """Run one system on one piece, in this process."""
    stages: dict[str, float] = {}
    problem = ""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        try:
            piece, stages = SYSTEMS[system](task, Path(folder))
        except Exception as error:
            piece, problem = Piece(), f"{type(error).__name__}: {error}"
            traceback.print_exc()
    seconds = time.perf_counter() - began
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)
    figures = compare(piece, SETS[task.set].reference(task.source.parent))
    return {"figures": figures | {"seconds": seconds, "peak_mb": peak_mb}, "stages": stages, "problem": problem}


def measure_apart(task: Task, system: str, data: Path) -> dict[str, Any]:
    """The same in a process of its own; one that dies or takes too long gives zeros."""
    command = [sys.executable, __file__, "--data", str(data), "--one", task.set, task.name, system]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
        return dict(json.loads(done.stdout.splitlines()[-1]))
    except (subprocess.SubprocessError, ValueError, IndexError) as error:
        figures = compare(Piece(), SETS[task.set].reference(task.source.parent))
        return {"figures": figures, "stages": {}, "problem": f"the process failed: {error}"}


def mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Column by column, over the rows that have it."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: sum(v) / len(v) for name in names if (v := [row[name] for row in rows if name in row])}


def markdown(rows: dict[str, dict[str, float]], columns: dict[str, str]) -> str:
    """A table with a row a name."""
    shown = [name for name in columns if any(name in row for row in rows.values())]
    lines = ["| | " + " | ".join(columns[name] for name in shown) + " |", "|---|" + "--:|" * len(shown)]
    for label, row in rows.items():
        lines.append(f"| {label} | " + " | ".join(_cell(name, row.get(name)) for name in shown) + " |")
    return "\n".join(lines)


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if name == "peak_mb" else f"{value:.1f}" if name == "seconds" else f"{value:.3f}"


def run_set(name: str, data: Path, systems: Sequence[str], pieces: int, jobs: int) -> None:
    """Measure a set and print its tables."""
    tasks = SETS[name].tasks(data, name)[: pieces or None]
    work = [(task, system) for system in systems for task in tasks]
    with ThreadPoolExecutor(jobs) as pool:
        results = dict(zip(work, pool.map(lambda pair: measure_apart(pair[0], pair[1], data), work), strict=True))
    print(f"\n## {name}: {len(tasks)} pieces, {SETS[name].source}, preset {SETS[name].preset}")
    for system in systems:
        rows = {task.name: results[task, system]["figures"] for task in tasks}
        rows["**mean**"] = mean(list(rows.values()))
        print(f"\n### {name}, {TITLES[system]}\n\n{markdown(rows, COLUMNS)}")
        for task in tasks:
            if problem := results[task, system]["problem"]:
                print(f"\nFailed: {task.name}: {problem}")
    stages = mean([results[task, "rescored"]["stages"] for task in tasks])
    listed = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in stages.items())
    print(f"\nSeconds a stage, mean: {listed}", flush=True)


def run_section(name: str, data: Path) -> None:
    """One that measures something else than pieces; each is a script, too, with options of its own."""
    command = [sys.executable, str(Path(__file__).with_name(f"bench_{name}.py"))]
    if name != "rhythms" and name != "page":
        command += ["--data", str(data)]
    print(flush=True)
    if code := subprocess.run(command).returncode:
        print(f"\nFailed: {name} ended with {code}.", flush=True)


def machine() -> str:
    """Processor, cores and Python."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    return f"{model}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the reference sets")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, metavar="SECTION",
                        help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--pieces", type=int, default=0, help="only the first so many of each set")
    parser.add_argument("--no-baselines", action="store_true")
    parser.add_argument("--jobs", type=int, default=1, help="pieces at once; times are only meant for 1")
    parser.add_argument("--one", nargs=3, metavar=("SET", "PIECE", "SYSTEM"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, piece, system = options.one
        task = next(task for task in SETS[name].tasks(options.data, name) if task.name == piece)
        print("\n" + json.dumps(measure(task, system)))
        return
    print(f"# rescored {rescored.__version__}, {date.today()}\n\n{machine()}")
    systems = ["rescored"] if options.no_baselines else list(SYSTEMS)
    for name in options.only:
        if name in SETS:
            run_set(name, options.data, systems, options.pieces, options.jobs)
        else:
            run_section(name, options.data)


if __name__ == "__main__":
    main()
