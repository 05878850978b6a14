"""Our segment loop against Demucs' own command line: seconds, memory and the difference of the stems.

    python tools/bench_demucs.py [--seconds 60] [--overlap 0.1] [--threads 1]

htdemucs' architecture with random weights, since speed does not depend on them; each system in a
process of its own, from the start of Python to the written stems.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import band
import numpy as np
import soundfile
from bench_gpu import ARCHITECTURE

OURS = """
import sys, soundfile
from pathlib import Path
from rescored.hearing.separate import separate
from rescored.music import Audio
from rescored.settings import SeparateSettings
song, out, overlap = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
samples, rate_hz = soundfile.read(song, dtype="float32", always_2d=True)
settings = SeparateSettings(model="htdemucs", overlap=overlap)
for name, stem in separate(Audio(samples.T, rate_hz), settings=settings).audio.items():
    soundfile.write(out / f"{name}.wav", stem.samples.T, rate_hz, subtype="FLOAT")
"""


def save_random_model(folder: Path) -> None:
    """As published: htdemucs is a bag of one."""
    import torch
    from demucs.htdemucs import HTDemucs
    from demucs.states import save_with_checksum

    torch.manual_seed(0)
    model = HTDemucs(**ARCHITECTURE)
    save_with_checksum({"klass": HTDemucs, "args": (), "kwargs": ARCHITECTURE, "state": model.state_dict()},
                       folder / "random.th")
    (folder / "htdemucs.yaml").write_text("models: ['random']\n", encoding="utf-8")


def measured(command: list[str], environment: dict[str, str]) -> tuple[float, float, float]:
    """Wall seconds, processor seconds and peak GB of a command."""
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command[:4])} failed")
    return time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6


def main() -> None:
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--overlap", type=float, default=0.1)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        save_random_model(folder)
        chance = np.random.default_rng(5)
        song = band.record(band.compose(chance, options.seconds), chance, options.seconds).sum(axis=0)
        soundfile.write(folder / "song.wav", song.T / np.abs(song).max(), band.RATE_HZ, subtype="FLOAT")
        (folder / "ours").mkdir()
        environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "RESCORED_MODELS": str(folder),
                       "RESCORED_DEVICE": "cpu"}
        file, overlap = str(folder / "song.wav"), str(options.overlap)
        theirs = measured([sys.executable, "-m", "demucs.separate", "-n", "htdemucs", "--repo", place,
                           "-d", "cpu", "--shifts", "0", "--overlap", overlap, "--float32", "--clip-mode", "none",
                           "-o", place, file],
                          environment)
        ours = measured([sys.executable, "-c", OURS, file, str(folder / "ours"), overlap], environment)
        print("| | wall s | processor s | peak GB |\n|---|---|---|---|")
        for name, (wall, processor, peak) in {"demucs": theirs, "rescored": ours}.items():
            print(f"| {name} | {wall:.1f} | {processor:.1f} | {peak:.2f} |")
        print(f"as fast: {theirs[0] / ours[0]:.2f} by the clock, {theirs[1] / ours[1]:.2f} in processor time")
        for stem in band.STEMS:
            a, b = (soundfile.read(f, dtype="float32")[0] for f in (folder / "htdemucs/song" / f"{stem}.wav",
                                                                    folder / "ours" / f"{stem}.wav"))
            print(f"{stem}: {10 * np.log10(((a - b) ** 2).sum() / (a**2).sum()):.1f} dB")


if __name__ == "__main__":
    main()
