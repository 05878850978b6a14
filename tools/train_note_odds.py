"""Fit rescored/hearing/transcribe/note_odds.npz on music that is performed and rendered here; see `--help`.

    python tools/train_note_odds.py --data FOLDER --work FOLDER --held-out MuseScore_General_Lite.sf3
                                    [--soundfont FluidR3_GM.sf2 ...] [--clips 262]

What the music is and how it sounds: note_clips.py. DATA holds `openewld` and `pop909`; WORK keeps what was
made between runs. Prints F1, recall and precision of onsets (50 ms, after one constant lag a clip) on clips
whose pieces and sounds were held out: made by a bowed string's physical model, lines and chords by another
soundfont; and how often a begin of each probability is one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pretty_midi
import torch
from note_clips import Clips

sys.path.insert(0, str(Path(__file__).parents[1]))

from rescored.hearing.transcribe import note_odds
from rescored.hearing.transcribe.basic_pitch import posteriors
from rescored.hearing.transcribe.note_odds import FRAME_S, LOWEST, Begins, Posteriors
from rescored.stage import silent

HIDDEN = (64, 32)
EPOCHS, BATCH, RATE = 12, 1024, 4e-3
NOISE = 0.15  # standard deviation of what is added to every fact in training
IDLE = 0.35  # share of the places without a begin that are learned from
SAME_S, LAG_S = 0.05, 0.15


@dataclass(frozen=True)
class Example:
    """A clip as Basic Pitch hears it, and its notes."""

    kind: str
    heard: Posteriors
    samples: np.ndarray
    onset_s: np.ndarray
    pitch: np.ndarray

    def target(self) -> np.ndarray:
        """1 at the frames of begins, less beside them, shape (frames, 88).

        Where a soundfont's samples swell, the tone begins later than its note by no one knows what: such
        clips are shifted to where Basic Pitch hears their begins.
        """
        result = np.zeros(self.heard.frames.shape, dtype=np.float32)
        later_s = 0.0 if self.kind == "made" else self._lag_s()
        for at, key in zip((self.onset_s + later_s) / FRAME_S, self.pitch - LOWEST, strict=True):
            near = np.arange(max(round(at) - 4, 0), min(round(at) + 5, len(result)))
            result[near, key] = np.maximum(result[near, key], np.clip(1.75 - np.abs(near - at) / 2, 0, 1))
        return result

    def _lag_s(self) -> float:
        lags = []
        for at, key in zip(self.onset_s / FRAME_S, self.pitch - LOWEST, strict=True):
            first = max(round(at) - 8, 0)
            course = self.heard.onsets[first : round(at) + 9, key]
            if course.max(initial=0) > 0.4:
                lags.append((first + course.argmax() - at) * FRAME_S)
        return float(np.median(lags)) if lags else 0.0


def examples(made: Clips, folder: Path, count: int) -> Iterator[Example]:
    """Of clips, which are kept in the folder."""
    folder.mkdir(exist_ok=True)
    for i in range(count):
        kept = folder / f"{i}.npz"
        if not kept.exists():
            clip = made.made(i)
            if clip is None:
                continue
            heard = posteriors(clip.samples, silent)
            small = {name: getattr(heard, name).astype(np.float16) for name in ("frames", "onsets", "contours")}
            np.savez(kept, kind=clip.kind, samples=clip.samples, onset_s=clip.onset_s, pitch=clip.pitch, **small)
            print(f"\r{folder.name} {i}", end="", flush=True)
        with np.load(kept) as file:
            heard = Posteriors(*(file[name].astype(np.float32) for name in ("frames", "onsets", "contours")))
            yield Example(str(file["kind"]), heard, file["samples"], file["onset_s"], file["pitch"])


def scores(example: Example, found: Begins) -> tuple[float, float, float]:
    """F1, recall and precision."""
    at, pitch = found.frame * FRAME_S, found.key + LOWEST
    lags = [t - a for a, p in zip(example.onset_s, example.pitch, strict=True)
            for t in at[pitch == p] if abs(t - a) < LAG_S]
    at = at - (np.median(lags) if lags else 0)
    hits = 0
    for p in np.unique(example.pitch):
        free = sorted(at[pitch == p])
        for a in sorted(example.onset_s[example.pitch == p]):
            near = next((t for t in free if abs(t - a) <= SAME_S), None)
            if near is not None:
                free.remove(near)
                hits += 1
    recall, precision = hits / len(example.pitch), hits / max(len(at), 1)
    return 2 * hits / (len(example.pitch) + max(len(at), 1)), recall, precision


class Network(torch.nn.Module):
    """Facts, made comparable, to the log odds of a begin."""

    def __init__(self, rows: torch.Tensor):
        super().__init__()
        some = rows[::10].float()
        self.mean, self.spread = some.mean(dim=0), some.std(dim=0) + 0.02
        sizes = (rows.shape[1], *HIDDEN, 1)
        self.layers = torch.nn.ModuleList(torch.nn.Linear(a, b) for a, b in pairwise(sizes))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        rows = (rows.float() - self.mean) / self.spread
        rows = rows + NOISE * torch.randn_like(rows)
        for layer in self.layers[:-1]:
            rows = torch.relu(layer(rows))
        return self.layers[-1](rows)[:, 0]

    def save(self, path: Path) -> None:
        """As note_odds.py reads it: the scale of the facts is taken into the first layer."""
        arrays = {}
        for i, layer in enumerate(self.layers):
            weights, biases = layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy()
            if not i:
                weights /= self.spread.numpy()[:, None]
                biases = biases - self.mean.numpy() @ weights
            arrays |= {f"weights{i}": weights.astype(np.float32), f"biases{i}": biases.astype(np.float32)}
        np.savez(path, **arrays)


def fit(teach: Iterator[Example], seed: int = 0) -> Network:
    """All clips of equal weight."""
    chance = np.random.default_rng(seed)
    torch.manual_seed(seed)
    columns: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for example in teach:
        place = note_odds.places(example.heard)
        target = example.target()[place]
        taken = (target > 0) | (chance.random(len(target)) < IDLE)
        level = note_odds.levels(example.samples)
        rows = note_odds.facts(example.heard, level, place[0][taken], place[1][taken])
        weight = np.where(target > 0, 1, 1 / IDLE)[taken] / max((target > 0).sum(), 50)
        columns.append((rows.astype(np.float16), target[taken], weight.astype(np.float32)))
    rows, target, weight = (torch.from_numpy(np.concatenate(column)) for column in zip(*columns, strict=True))
    weight /= weight.mean()
    network = Network(rows)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-3)
    steps = len(rows) // BATCH
    pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=EPOCHS * steps)
    for epoch in range(EPOCHS):
        losses = 0.0
        for some in torch.randperm(len(rows))[: steps * BATCH].split(BATCH):
            wrong = torch.nn.functional.binary_cross_entropy_with_logits(
                network(rows[some]), target[some], weight[some])
            optimiser.zero_grad()
            wrong.backward()
            optimiser.step()
            pace.step()
            losses += wrong.item()
        print(f"epoch {epoch}: {losses / steps:.4f}", flush=True)
    return network


def measure(held: Iterator[Example]) -> None:
    """Print how the clips are read with the weights that are there."""
    found = [(example, note_odds.begins(example.heard, example.samples)) for example in held]
    for kind in sorted({example.kind for example, _ in found}):
        some = [(e, b) for e, b in found if e.kind == kind]
        print(f"\n{kind}, {len(some)} clips: F1, recall, precision at each threshold")
        for threshold in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7):
            rows = [scores(e, b.taken(b.probability >= threshold)) for e, b in some]
            print(f"  {threshold}: " + " ".join(f"{x:.3f}" for x in np.mean(rows, axis=0)))


def main() -> None:
    """Make the clips, fit, write the weights, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--soundfont", type=Path, nargs="*", default=[], help="more than the wheel's, to teach")
    parser.add_argument("--held-out", type=Path, required=True, help="a soundfont to measure with")
    parser.add_argument("--clips", type=int, default=262, help="to teach with; 262 made the weights that ship")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.work.mkdir(exist_ok=True)
    fonts = (Path(pretty_midi.__file__).parent / "TimGM6mb.sf2", *options.soundfont)
    teach = Clips(options.data, options.work, fonts, teach=True)
    held = Clips(options.data, options.work, (options.held_out,), teach=False)
    measured = list(examples(held, options.work / "held", options.clips // 4))
    fit(examples(teach, options.work / "teach", options.clips)).save(Path(note_odds.__file__).with_suffix(".npz"))
    measure(iter(measured))


if __name__ == "__main__":
    main()
