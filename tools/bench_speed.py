"""How long people wait: the command line on a recording and on a MIDI file, a changed setting, an import.

    python tools/bench_speed.py --data ../shared/data
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT_MB = 3000


def main(data: Path) -> None:
    """Print a table of what was measured and what it should be."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [_recording(data, Path(folder)), _midi(data, Path(folder)), *_again(data, Path(folder)),
                *_setting(data, Path(folder)), _import()]
    print("\n## Speed\n\n| | measured | target |\n|---|--:|--:|")
    for what, measured, target in rows:
        print(f"| {what} | {measured} | {target} |")


def _performance(data: Path, seconds: float) -> Path:
    """The piano performance whose length is nearest."""
    pieces = json.loads((data / "asap_dev/index.json").read_text())["pieces"]
    name: str = min(pieces, key=lambda piece: abs(piece["duration_s"] - seconds))["name"]
    return data / "asap_dev" / name / "performance.mid"


def _command(source: Path, folder: Path, *options: str) -> str:
    """Wall-clock time and peak memory of the whole command, from the start of Python to all files."""
    environment = {**os.environ, "RESCORED_STORE": str(folder / "store")}
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", "from rescored.cli import main; raise SystemExit(main())",
         "transcribe", str(source), "--out", str(folder / "out"), *options],
        env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    failed = f"FAILED ({process.returncode}), " if process.returncode else ""
    return f"{failed}{seconds:.1f} s, {usage.ru_maxrss / (1024 if sys.platform == 'linux' else 1024**2):.0f} MB"


def _recording(data: Path, folder: Path) -> tuple[str, str, str]:
    import soundfile

    from rescored.hearing.midi import read_midi
    from rescored.hearing.sources import open_source
    from rescored.output.sound import render
    from rescored.settings import NoteSettings

    audio = render(read_midi(open_source(_performance(data, 64), max_minutes=15), settings=NoteSettings()))
    path = folder / "minute.flac"
    soundfile.write(path, audio.samples.T[: 60 * audio.rate_hz], audio.rate_hz)
    return "60 s of solo piano, sound to all files", _command(path, folder), f"75 s, {LIMIT_MB} MB"


def _midi(data: Path, folder: Path) -> tuple[str, str, str]:
    return "4 minutes of piano, MIDI to all files", _command(_performance(data, 240), folder), f"10 s, {LIMIT_MB} MB"


def _again(data: Path, folder: Path) -> list[tuple[str, str, str]]:
    """The command line once more, with a setting changed."""
    source = _performance(data, 180)
    _command(source, folder)
    return [(f"3 minutes of piano once more, {change}, MIDI to all files",
             _command(source, folder, "--set", change), "3 s") for change in ("spelling.key=C", "quantise.finest=8")]


def _setting(data: Path, folder: Path) -> list[tuple[str, str, str]]:
    """In one process with a store, as in the page; the files too, though the page makes only those it shows."""
    from rescored import Settings, Store, save, transcribe

    source, store = _performance(data, 180), Store(folder / "settings-store")
    transcribe(source, store=store)
    rows = []
    changes = {"metre.tempo_factor": "2", "quantise.finest": 8, "spelling.key": "C", "score.title": "Another"}
    for name, value in changes.items():
        began = time.perf_counter()
        done = transcribe(source, Settings().changed({name: value}), store=store)
        score_s = time.perf_counter() - began
        save(done, folder / "changed", "song")
        files_s = time.perf_counter() - began
        measured = f"{score_s:.1f} s (with all files {files_s:.1f} s)"
        rows.append((f"3 minutes of piano, only {name} changed", measured, "3 s"))
    return rows


def _import() -> tuple[str, str, str]:
    code = "import time; t = time.perf_counter(); import rescored; print(time.perf_counter() - t)"
    runs = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(5)]
    return "import rescored, median of 5", f"{statistics.median(runs):.2f} s", "0.3 s"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with `asap_dev`")
    main(parser.parse_args().data)
