"""Seconds and peak memory of separation and of transkun on a GPU, as Markdown.

    PYTHONPATH=.:WHEELS python tools/bench_gpu.py [--budget 150]

Needs torch, numpy and einops of the machine, and in WHEELS what `pip install --no-deps --target WHEELS
demucs transkun` puts there: no network, no other package. htdemucs has its true shape and random
weights, since speed does not depend on them; the way through the recording is the product's own
(`separate`), from samples in memory to stems in memory; of several songs at once too (`--songs`: only that).
Rows that no longer fit the budget of seconds are left out. `--tiny` tries the script itself, on a small model
and short sounds.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from importlib.machinery import ModuleSpec
from typing import Any

import numpy as np

# ruff: noqa: E402
for absent in ("soxr", "julius", "tqdm", "pretty_midi", "mir_eval"):  # imported by what is measured, but not used
    try:
        __import__(absent)
    except ImportError:
        sys.modules[absent] = types.ModuleType(absent)
        sys.modules[absent].__spec__ = ModuleSpec(absent, None)

import torch
from demucs.htdemucs import HTDemucs

from rescored.hearing import network
from rescored.hearing.separate import separate
from rescored.hearing.transcribe.transkun import hear_piano
from rescored.models import device, let_go_all, load_once
from rescored.music import Audio, Separator
from rescored.settings import SeparateSettings
from rescored.stage import silent

RATE_HZ = 44100
ARCHITECTURE = {  # of htdemucs as published
    "sources": ["drums", "bass", "other", "vocals"], "channels": 48, "bottom_channels": 512, "dconv_mode": 3,
    "segment": Fraction(39, 5),
}
TINY = {**ARCHITECTURE, "channels": 8, "bottom_channels": 32, "t_layers": 1,
        "segment": Fraction(1)}
BATCHES = (1, 4, 16)
COMPILE_S = 60  # what compiling may take: it is tried only while so much of the budget is left


@dataclass
class Row:
    """One way to run one task."""

    task: str
    how: str
    first_s: float  # of the first run, which warms up, compiles ...
    seconds: float
    peak_gb: float
    error_db: float | None = None  # of the stems against those in 32 bits, the worst of them


def sound(seconds: float) -> Audio:
    """Stereo: tones that decay, over noise."""
    chance = np.random.default_rng(0)
    n = int(seconds * RATE_HZ)
    samples = 0.05 * chance.standard_normal((2, n), dtype=np.float32)
    for begin in np.arange(0.0, seconds, 0.25):
        a, b = int(begin * RATE_HZ), min(int((begin + 1.5) * RATE_HZ), n)
        t = np.arange(b - a) / RATE_HZ
        for pitch in chance.integers(40, 84, 3):
            hz = 440 * 2 ** ((pitch - 69) / 12)
            samples[:, a:b] += (0.1 * np.exp(-3 * t) * sum(np.sin(2 * np.pi * k * hz * t) / k for k in (1, 2, 3)))
    return Audio(samples, RATE_HZ)


def measured(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds, peak GB of the GPU (0 on a CPU), and the result."""
    cuda = device().startswith("cuda")
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    result = work()
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began, torch.cuda.max_memory_allocated() / 1e9 if cuda else 0.0, result


def compiled(model: torch.nn.Module) -> torch.nn.Module:
    """The layers compiled; the Fourier transforms around them stay as they are."""
    for name in ("encoder", "decoder", "tencoder", "tdecoder"):
        layers = getattr(model, name)
        for i, layer in enumerate(layers):
            layers[i] = torch.compile(layer)
    model.crosstransformer = torch.compile(model.crosstransformer)
    return model


def separations(shape: dict[str, Any], songs: dict[str, Audio], left: Callable[[], float]) -> Iterator[Row]:
    """Every precision and batch on the first song, and what the product chooses by itself on all."""
    short, first = next(iter(songs.items()))
    settings = SeparateSettings(model="htdemucs")
    truth: dict[str, Audio] = {}

    def run(how: str, dtype: torch.dtype | str | None, batch: int, task: str, song: Audio, fast: bool = False) -> Row:
        let_go_all()
        torch.manual_seed(0)
        model = HTDemucs(**shape).eval()
        net = network.Network(compiled(model) if fast else model)
        if dtype != "auto":
            net._dtypes[device()] = dtype
        network.LARGEST_BATCH = batch
        load_once("demucs htdemucs", lambda: net)
        begin_s, _, _ = measured(lambda: separate(Audio(song.samples[:, : 3 * net.segment], RATE_HZ),
                                                  Separator("htdemucs"), settings=settings))
        seconds, peak_gb, stems = measured(lambda: separate(song, Separator("htdemucs"), settings=settings))
        if song is first and not truth:
            truth.update(stems.audio)
        error_db = max(_error_db(truth[s].samples, stems.audio[s].samples) for s in truth) if song is first else None
        if dtype == "auto":
            how = f"{how}: {str(net._dtypes.get(device()) or 'float32').removeprefix('torch.')}, batch {net.batch}"
        return Row(task, how, begin_s, seconds, peak_gb, error_db)

    cuda = device().startswith("cuda")
    names = {"fp32": None, "bf16": torch.bfloat16, **({"fp16": torch.float16} if cuda else {})}
    for name, dtype in names.items():
        for batch in BATCHES if cuda else (1,):
            if left() > 0:
                yield run(f"{name}, batch {batch}", dtype, batch, short, first)
    for task, song in songs.items():
        if left() > 0:
            yield run("as the product chooses", "auto", 16, task, song)
    for name, dtype in list(names.items())[::-1]:
        if left() > (COMPILE_S if cuda else 0):
            try:
                yield run(f"{name}, batch {BATCHES[1]}, compiled", dtype, BATCHES[1], short, first, fast=True)
            except Exception as error:  # a machine without a compiler: the other rows are worth having
                print(f"compiled {name}: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr)
                return


def songs_at_once(shape: dict[str, Any], seconds: float, left: Callable[[], float]) -> Iterator[Row]:
    """Several short songs, one after the other and at the same time, as the product separates them."""
    settings, song = SeparateSettings(model="htdemucs"), sound(seconds)
    network.LARGEST_BATCH = 16

    def apart() -> None:
        separate(song, Separator("htdemucs"), settings=settings)

    def run(count: int, together: bool) -> Row:
        let_go_all()
        torch.manual_seed(0)
        net, sizes = network.Network(HTDemucs(**shape).eval()), list[int]()
        compute = net.compute
        net.compute = lambda windows, wanted: (sizes.append(len(windows)), compute(windows, wanted))[1]
        load_once("demucs htdemucs", lambda: net)

        def work() -> None:
            threads = [threading.Thread(target=apart) for _ in range(count)]
            for thread in threads:
                thread.start()
                if not together:
                    thread.join()
            for thread in threads:
                thread.join()

        begin_s, _, _ = measured(apart)
        sizes.clear()
        took_s, peak_gb, _ = measured(work)
        how = f"{'together' if together else 'one by one'}: {len(sizes)} calls of {np.mean(sizes):.1f} segments"
        return Row(f"{count} songs of {seconds:g} s", how, begin_s, took_s, peak_gb)

    for count in (4, 8):
        for together in (False, True):
            if left() > 0:
                yield run(count, together)


def _error_db(true: np.ndarray, found: np.ndarray) -> float:
    return float(10 * np.log10(((true - found) ** 2).sum() / ((true**2).sum() + 1e-12) + 1e-20))


def piano(song: Audio, task: str) -> Row:
    """Transkun with its own weights, which decide how much there is to decode."""
    brief = Audio(song.samples[:, : 20 * RATE_HZ], RATE_HZ)
    begin_s, _, _ = measured(lambda: hear_piano(brief, silent))
    seconds, peak_gb, heard = measured(lambda: hear_piano(song, silent))
    return Row(task, f"transkun, {len(heard.notes)} notes", begin_s, seconds, peak_gb)


def main() -> None:
    """Print the table row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=150.0, help="seconds")
    parser.add_argument("--songs", action="store_true", help="only several songs at once")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    began = time.perf_counter()

    def left() -> float:
        return options.budget - (time.perf_counter() - began)

    lengths = {"3 s": 3, "6 s": 6} if options.tiny else {"3 min": 180, "10 min": 600}
    card = torch.cuda.get_device_name() if device().startswith("cuda") else "CPU"
    print(f"{card}, torch {torch.__version__}, htdemucs with random weights, overlap 0.1\n")
    print("| sound | how | first run, s | s | peak GB | against fp32, dB |\n|---|---|--:|--:|--:|--:|", flush=True)

    def show(row: Row) -> None:
        error = "" if row.error_db is None else f"{row.error_db:.0f}"
        print(f"| {row.task} | {row.how} | {row.first_s:.2f} | {row.seconds:.2f} | {row.peak_gb:.2f} | {error} |",
              flush=True)

    if not options.songs:
        songs = {name: sound(seconds) for name, seconds in lengths.items()}
        task, song = next(iter(songs.items()))
        try:
            show(piano(song, task))
        except Exception as error:  # without the wheel or its weights: the other rows are worth having
            print(f"transkun: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr)
        for row in separations(TINY if options.tiny else ARCHITECTURE, songs, left):
            show(row)
    for row in songs_at_once(TINY if options.tiny else ARCHITECTURE, 3 if options.tiny else 20, left):
        show(row)
    print(f"\n{time.perf_counter() - began:.0f} s in all")


if __name__ == "__main__":
    main()
