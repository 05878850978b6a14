"""Train the network that says on which beats measures begin (rescored/notation/measure_net.py).

    python tools/train_measures.py --data FOLDER --cache FOLDER [--minutes 30]

FOLDER of `--data` holds `openewld` and `pop909`. Pieces of `metre_data` are played by its simulated players, songs in
other keys and manners, and heard in their beats: where these are struck, not quite struck, at another level of the
metre, or half a beat late for a while. Prints log loss and F of the downbeats of pieces, and of songs on the beats of
their annotators, that are held out.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from metre_data import textures
from metre_data.corpus import Sheet
from metre_data.readings import grid_of, level
from metre_data.sampling import Sampler, Song, held_out
from metre_data.simulate import render
from metre_data.textures import Piece
from net_files import convolutions, load, save, shifted
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset
from train_metre import held_songs, prepare

from rescored.notation.measure_net import DILATIONS, EARLY_S, HIDDEN, WEIGHTS, WIDTH, hear_beats
from rescored.notation.rhythm_net import METRES

CHUNK = 384  # beats
FEWEST = 16  # beats of an example
STUDIES = 0.5  # share of the played pieces that are studies as they stand
SONGS = 0.015  # share of the readings that are of songs; of more it learns these songs by heart, and knows others less
BEGUN, LATEST = 0.4, 13  # share of the pieces that begin some beats later, fewer than this
SLIPS = 0.15  # share of the others that are half a beat late for a while
DROP = 0.15  # of what is known of a stretch, and
FORGET = 0.1  # of what a layer says
STEADY = 0.998  # of a step, that the weights which are kept follow the others
LENGTHS = 5  # beats in a measure, or more, that are told apart
ASIDE = 0.3  # weight of that
IGNORED = -100
Random = np.random.Generator
Example = tuple[np.ndarray, np.ndarray]  # features of beats (m, WIDTH); whether they are downbeats (m,)


def example(piece: Piece, random: Random) -> Example | None:
    """A piece on beats that are told."""
    r = render(piece, random)
    found = None if r is None else grid_of(r, level(piece, r, random), random)
    if r is None or found is None or len(found[1]) < 2 * FEWEST:
        return None
    beats_s, down = found[0].times_s, (found[0].beat == 1).astype(np.int64)
    later = int(random.integers(0, LATEST)) if random.random() < BEGUN else 0  # as what is cut from a recording
    beats_s, down = beats_s[later:], down[later:]
    notes = tuple(x[r.notes[0] >= beats_s[0] - EARLY_S] for x in r.notes) if later else r.notes
    if random.random() < SLIPS:
        a = int(random.integers(4, len(beats_s) - FEWEST))
        b = min(a + int(random.integers(6, 60)), len(beats_s) - 4)
        late, skip = (beats_s[a:b] + beats_s[a + 1 : b + 1]) / 2, int(random.integers(2))  # a beat less, or one more
        beats_s = np.concatenate([beats_s[: a + 1 - skip], late, beats_s[b + skip :]])
        down = np.concatenate([down[: a + 1 - skip], np.full(b - a, IGNORED), down[b + skip :]])
    return hear_beats(*notes, beats_s), down


def song_example(song: Song, random: Random | None = None) -> Example | None:
    """A song, or with `random` a stretch of it, on its annotated beats."""
    r = song.rendition(random)
    if r is None:
        return None
    return hear_beats(*r.notes, r.beats_s), np.isin(r.beats_s, r.downbeats_s).astype(np.int64)


class Readings(IterableDataset):  # type: ignore[type-arg]
    """Stretches of performances on their beats, without end."""

    def __init__(self, sheets: list[Sheet], songs: list[Song], seed: int) -> None:
        self.sampler, self.songs, self.seed = Sampler(sheets, held=False), songs, seed
        self.studies = [s for m in METRES for s in self.sampler.by_metre["study", m]]

    def draw(self, random: Random) -> Example | None:
        if random.random() < SONGS:
            return song_example(self.songs[int(random.integers(len(self.songs)))], random)
        if random.random() < STUDIES:
            piece = textures.as_written(self.studies[int(random.integers(len(self.studies)))], random)
        else:
            piece = self.sampler.draw(random)
        return example(piece, random) if piece.notes and piece.bars else None

    def __iter__(self) -> Iterator[Example]:
        worker = torch.utils.data.get_worker_info()
        random = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            made = self.draw(random)
            if made is not None:
                what, down = made
                start = int(random.integers(0, min(CHUNK, max(len(down) - CHUNK, 0) + 1)))
                for a in range(start, max(len(down) - CHUNK // 2, start + 1), CHUNK):
                    yield what[a : a + CHUNK], down[a : a + CHUNK]


def lengths(down: np.ndarray) -> np.ndarray:
    """The class of the length of the measure that each beat is in, (m,)."""
    result = np.full(len(down), IGNORED)
    for a, b in itertools.pairwise(np.flatnonzero(down == 1)):
        if (down[a:b] != IGNORED).all():
            result[a:b] = min(b - a, LENGTHS) - 1
    return result


def together(stretches: list[Example]) -> tuple[torch.Tensor, torch.Tensor]:
    """Padded to one length: (batch, m, WIDTH) and (batch, m, 2)."""
    truth = [np.stack([down, lengths(down)], axis=1) for _, down in stretches]
    x = nn.utils.rnn.pad_sequence([torch.as_tensor(x) for x, _ in stretches], batch_first=True)
    return x, nn.utils.rnn.pad_sequence([torch.as_tensor(y) for y in truth], batch_first=True, padding_value=IGNORED)


class Net(nn.Module):
    """The network of `measure_net`, to be trained; aside it learns how long measures are."""

    def __init__(self, mean: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.enter = nn.Linear(WIDTH, HIDDEN)
        self.norms, self.convs = convolutions(len(DILATIONS), HIDDEN)
        self.norm = nn.LayerNorm(HIDDEN)
        self.leave, self.aside = nn.Linear(HIDDEN, 1), nn.Linear(HIDDEN, LENGTHS)
        self.forget = nn.Dropout(FORGET)

    def forward(self, x: torch.Tensor, inside: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`x` (batch, m, WIDTH); `inside` (batch, m): what is no padding. Log odds (batch, m) and logits of lengths."""
        mask = inside[..., None]
        x = ((x - self.mean) / self.scale).clamp(-5.0, 5.0).transpose(1, 2)
        x = self.enter(F.dropout1d(x, DROP, self.training).transpose(1, 2)) * mask
        for dilation, norm, conv in zip(DILATIONS, self.norms, self.convs, strict=True):
            h = torch.relu(norm(x)) * mask
            x = (x + self.forget(conv(shifted(h, dilation)))) * mask
        h = torch.relu(self.norm(x))
        return self.leave(h)[..., 0], self.aside(h)

    def layers(self) -> dict[str, nn.Linear | nn.LayerNorm]:
        """By their names in the file of weights."""
        layers = {"in": self.enter, "norm": self.norm, "out": self.leave}
        layers |= {f"norm{k}": norm for k, norm in enumerate(self.norms)}
        return layers | {f"conv{k}": conv for k, conv in enumerate(self.convs)}

    def export(self, path: Path) -> None:
        """Weights as `measure_net` reads them."""
        save(path, self.mean, self.scale, self.layers())


def log_loss(odds: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """Of what is told."""
    told = down != IGNORED
    return F.binary_cross_entropy_with_logits(odds[told], down[told].float())


def right(net: Net, held: list[Example]) -> tuple[float, float]:
    """Mean log loss and F of the downbeats of pieces."""
    net.eval()
    rows = []
    with torch.no_grad():
        for x, y in held:
            odds = net(torch.as_tensor(x)[None], torch.ones(1, len(y), dtype=torch.bool))[0][0].float()
            down, said = y == 1, (odds > 0).numpy() & (y != IGNORED)
            rows.append((log_loss(odds, torch.as_tensor(y)), 2 * (down & said).sum() / max(down.sum() + said.sum(), 1)))
    loss, f = np.mean(rows, axis=0)
    return round(float(loss), 4), round(float(f), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with openewld and pop909")
    parser.add_argument("--cache", type=Path, required=True, help="folder for the scores and songs once they are read")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--workers", type=int, default=1, help="processes that perform")
    parser.add_argument("--batch", type=int, default=32, help="stretches a step")
    parser.add_argument("--rate", type=float, default=2e-3, help="step size")
    parser.add_argument("--resume", type=Path, help="weights to go on from")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    sheets, songs = prepare(args)
    unseen = [s for s in sheets if s.style == "study" and held_out(s.name)]
    sampler = Sampler(sheets, held=True)
    sets = {"studies": [textures.as_written(s, np.random.default_rng(k)) for k, s in enumerate(unseen[::2])],
            "made": [sampler.draw(np.random.default_rng(k)) for k in range(80)]}
    held = {name: [e for k, p in enumerate(pieces) if p.notes and p.bars
                   and (e := example(p, np.random.default_rng([k, 7]))) is not None] for name, pieces in sets.items()}
    held["songs"] = [e for s in songs if s.name in held_songs() and (e := song_example(s)) is not None]
    readings = Readings(sheets, [s for s in songs if s.name not in held_songs()], args.seed)
    stream = iter(DataLoader(readings, args.batch, collate_fn=together, num_workers=args.workers, prefetch_factor=8))
    some, _ = next(stream)
    inside = some[(some != 0).any(-1)]
    net = Net(inside.mean(0), inside.std(0) + 0.05)
    if args.resume:
        load(args.resume, net.mean, net.scale, net.layers())
    kept = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(STEADY))
    adam = torch.optim.AdamW(net.parameters(), lr=args.rate, weight_decay=0.02)
    counts = {name: len(v) for name, v in held.items()}
    print(counts, sum(p.numel() for p in net.parameters()), "weights", flush=True)
    began, shown, running = time.time(), time.time(), []
    for step in itertools.count():
        share = (time.time() - began) / (60 * args.minutes)
        if share >= 1.0:
            break
        for group in adam.param_groups:
            group["lr"] = args.rate * min(1.0, (step + 1) / 100) * (0.5 * (1 + np.cos(np.pi * share)) + 1e-3)
        x, y = next(stream)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            odds, of_lengths = net(x, (x != 0).any(-1))
        aside = F.cross_entropy(of_lengths.float().flatten(0, 1), y[..., 1].flatten(), ignore_index=IGNORED)
        loss = log_loss(odds.float(), y[..., 0]) + ASIDE * aside
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        adam.step()
        kept.update_parameters(net)
        running.append(loss.detach())
        if time.time() - shown > 120:
            shown = time.time()
            rights = {name: right(kept.module, v) for name, v in held.items()}
            loss_now = torch.stack(running[-100:]).mean()
            print(f"{shown - began:.0f} s, {step} steps, loss {loss_now:.4f}; loss, F {rights}", flush=True)
            kept.module.export(args.out)
    print({name: right(kept.module, v) for name, v in held.items()})
    kept.module.export(args.out)


if __name__ == "__main__":
    main()
