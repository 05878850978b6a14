"""SDR per stem of the separator that ships, beside a classical baseline and the mix itself.

    python tools/bench_separation.py --data ../shared/data [--weights FOLDER] [--soundfont FILE.sf3]

On the true stems of `mdb` and on songs of tools/band.py that training never saw, played by another
soundfont where one is given. The mix is the sum of its stems. SDR = energy of the stem over energy
of the error, in dB (as in the Music Demixing Challenge, Mitsufuji et al. 2021); SI-SDR leaves the
level out (Le Roux et al. 2019). Silent stems count in no mean.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import band
import numpy as np
import soundfile
import torch

import rescored.output.sound
from rescored.hearing.network import Network, network
from rescored.hearing.separate import separate
from rescored.hearing.small import SmallDemucs, masks_by_rule
from rescored.hearing.weights import load_folder
from rescored.models import load_once
from rescored.music import Audio, Separator
from rescored.settings import SeparateSettings

KINDS = {"drum": "drums", "bass": "bass", "singer": "vocals", "vocal": "vocals"}
HELD_OUT = range(10_000, 10_004)  # seeds; training takes them from 0 up


def recordings(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """(name, stems (4, 2, n)) of a set with `stem_NN_<instrument>.ogg`."""
    for piece in json.loads((folder / "index.json").read_text())["pieces"]:
        stems: dict[str, np.ndarray] = {}
        for file in sorted((folder / piece["name"]).glob("stem_*.ogg")):
            kind = next((k for word, k in KINDS.items() if word in file.stem), "other")
            samples = soundfile.read(file, dtype="float32", always_2d=True)[0].T
            stems[kind] = stems.get(kind, 0) + samples
        silence = np.zeros_like(next(iter(stems.values())))
        yield piece["name"], np.stack([stems.get(k, silence) for k in band.STEMS])


def renderings(soundfont: Path | None) -> Iterator[tuple[str, np.ndarray]]:
    """(name, stems) of songs of our own."""
    if soundfont:
        rescored.output.sound._soundfont = lambda: soundfont
    for seed in HELD_OUT:
        chance = np.random.default_rng(seed)
        yield "renderings", band.record(band.compose(chance, 12.0), chance, 12.0)


def by_rule(mix: np.ndarray) -> np.ndarray:
    """The classical baseline: masks by rule alone."""
    model = SmallDemucs()
    z = model._spec(torch.from_numpy(mix)[None])
    masks = masks_by_rule(z, band.RATE_HZ / model.nfft)
    return model._ispec(masks[:, :, None] * z[:, None], mix.shape[1])[0].numpy()


def by_network(name: str, mix: np.ndarray) -> np.ndarray:
    """The stems that the product makes."""
    stems = separate(Audio(mix, band.RATE_HZ), Separator(name), settings=SeparateSettings(model="htdemucs"))
    return np.stack([stems.audio[stem].samples for stem in band.STEMS])


def sdr(true: np.ndarray, found: np.ndarray) -> float:
    """In dB."""
    return float(10 * np.log10((true**2).sum() / (((true - found) ** 2).sum() + 1e-12)))


def si_sdr(true: np.ndarray, found: np.ndarray) -> float:
    """In dB, after the found stem was scaled for the best fit."""
    true, found = true.ravel(), found.ravel()
    target = (found @ true) / (true @ true) * true
    return float(10 * np.log10((target @ target) / (((found - target) ** 2).sum() + 1e-12)))


def main() -> None:
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with `mdb`")
    parser.add_argument("--weights", type=Path, help="folder with rescored-small.yaml; default: what ships")
    parser.add_argument("--soundfont", type=Path, help="another soundfont, for the renderings")
    options = parser.parse_args()
    name = "rescored-small"
    if options.weights:
        load_once(f"demucs {name}", lambda: Network(load_folder(name, options.weights)))
    network(name)
    separators = {"the mix itself": lambda mix: np.stack([mix] * 4), "masks by rule": by_rule,
                  name: lambda mix: by_network(name, mix)}
    scores: dict[tuple[str, str], list[list[tuple[float, float]]]] = defaultdict(lambda: [[] for _ in band.STEMS])
    pieces = [*(recordings(options.data / "mdb") if options.data else ()), *renderings(options.soundfont)]
    for piece, stems in pieces:
        mix = stems.sum(axis=0)
        for separator, function in separators.items():
            for row, true, found in zip(scores[piece, separator], stems, function(mix), strict=True):
                if (true**2).mean() > 1e-7:
                    row.append((sdr(true, found), si_sdr(true, found)))
    print("## Separation: SDR / SI-SDR in dB\n\n| | separator |", " | ".join(band.STEMS), "| mean SDR |\n|", "---|" * 7)
    for (piece, separator), rows in scores.items():
        means = [np.mean(row, axis=0) for row in rows]
        cells = " | ".join(f"{a:.1f} / {b:.1f}" for a, b in means)
        print(f"| {piece} | {separator} | {cells} | {np.mean([m[0] for m in means]):.2f} |")


if __name__ == "__main__":
    main()
