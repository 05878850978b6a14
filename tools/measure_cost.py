"""What a minute of sound costs: processor seconds a stage, GPU seconds, bytes in the store.

    python tools/measure_cost.py [--preset solo-piano] [--random-weights] RECORDING

Processor time, that of child processes included, does not depend on what else the machine does. On a GPU,
the seconds of stages that run there are those for which they hold it. `--random-weights`: where Demucs'
weights cannot be fetched, its true architecture with others, as costly.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from rescored import Settings
from rescored.hearing.sources import open_source
from rescored.models import counted_gpu_s, device
from rescored.output.files import save
from rescored.pipeline import transcribe
from rescored.service.telemetry import bytes_in
from rescored.stage import Event
from rescored.store import Store


def processor_s() -> float:
    """Of this process, its threads and its ended children."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def main() -> None:
    """Print a table; the first run, which loads and compiles, is not counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--preset", default="solo-piano")
    parser.add_argument("--random-weights", action="store_true")
    options = parser.parse_args()
    settings = Settings.preset(options.preset)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.random_weights:
            from bench_demucs import save_random_model

            (folder / "models").mkdir()
            save_random_model(folder / "models")
            os.environ["RESCORED_MODELS"] = str(folder / "models")
        recording = open_source(options.recording, max_minutes=60)
        transcribe(recording, settings)
        spent, held, began = dict[str, float](), 0.0, 0.0

        def listen(event: Event) -> None:
            nonlocal held, began
            stage = event.stage.partition(":")[0]
            if event.state == "running" and not event.fraction:
                began = processor_s()
            elif event.state == "done":
                spent[stage] = spent.get(stage, 0.0) + processor_s() - began
                held += counted_gpu_s()

        wall = time.perf_counter()
        result = transcribe(recording, settings, store=Store(folder / "store"), listen=listen)
        began = processor_s()
        save(result, folder / "out", "song")
        spent["files"] = processor_s() - began
        wall = time.perf_counter() - wall
        minutes = result.source.duration_s / 60
        print(f"{options.preset}, {minutes:.2f} min, {result.source.separator}, "
              f"{', '.join(result.source.transcribers)}, {device()}: {wall / minutes:.1f} s a minute on the clock\n")
        print("| stage | processor seconds a minute |\n|---|--:|")
        for stage, seconds in spent.items():
            print(f"| {stage} | {seconds / minutes:.2f} |")
        print(f"| all | {sum(spent.values()) / minutes:.1f} |\n")
        kept, made = bytes_in(folder / "store") / 1e6, bytes_in(folder / "out") / 1e6
        print(f"GPU held for {held / minutes:.2f} s a minute; store {kept / minutes:.1f} MB a minute, "
              f"files {made:.2f} MB")


if __name__ == "__main__":
    main()
