"""Train the metre model (rescored/notation/rhythm_net.py) from scores that may ship; see `--help`.

    python tools/train_metre.py --data FOLDER --cache FOLDER [--minutes 7] [--workers 14]

FOLDER of `--data` holds `openewld` and `pop909`; music21 brings its own corpus. Worker processes make
piano textures of the scores and perform them (`tools/metre_data`) for as long as the training lasts, so
that hardly a rendition is seen twice by many passes; the rest of this process trains on the GPU where
there is one, prints the accuracy on composers, tunes and songs that were held out, and writes the
weights beside the module. `--prepare` only reads the scores into the cache, which is all that a
machine without them needs.

The weights that ship, those of rhythm_net.npz, came about in stages on 2026-11-26. On an H200: 7.4 minutes with
`--workers 14 --batch 128 --pool 80000 --rate 1.4e-3`; 3.1 minutes from there with `--workers 15 --batch 96 --pool
60000 --rate 8e-4 --seed 2`, after tempi were drawn more widely and downbeats struck less reliably; then, from the
mean of both, 40 minutes on one core with `--batch 8 --pool 3000 --rate 5e-4`, with more and more of the plain pieces.
On 2026-11-27, from there, 66 minutes on one core with `--batch 24 --rate 5e-4 --warm-up 60 --seed 12`, with all
tunes, measures that repeats cut made whole, quartets arranged and wider rubato; then .3 of the weights before, .3 of
those after 22 minutes and .4 of those at the end. From there, with the studies (metre_data/studies), 92 minutes on
one core with `--batch 24` and rates of 5e-4 and 6e-4, (what came out of these is rhythm_net_plain.npz), and 25 more
when simulated players had become as free as real ones. Then, with 1,462 studies, left hands crossed with other right
hands and half as many layers again, on an H200: 10 minutes with `--workers 15 --batch 160 --pool 120000 --rate 1.2e-3
--warm-up 200 --seed 21` (a tenth of the pieces pop, .24 plain; stretches came in more slowly then than now) and 1.8
minutes with `--rate 4e-4 --warm-up 60 --seed 22`; last, with the shares that stand here, 16 of 32 minutes on one core
with `--batch 24 --rate 5e-4 --warm-up 40 --seed 23`, after which the held-out figures were best. Held out,
performed as freely as real players play, before and after (F of beats, F of downbeats, metre right): studies .760
.642 .482 -> .790 .723 .588; made-up pieces .679 .569 .536 -> .697 .617 .645; plain ones .925 .897 .860 -> .939 .892
.860; 16 scores by others .640 .478 .391 -> .672 .490 .484; POP909 .856 .736 -> .875 .743.
From there 54 minutes on one core with all studies, the long ones of scherzi, allegros, fugues and rhapsodies too
(`--batch 24 --pool 6000 --rate 5e-4 --warm-up 40 --seed 31`). Held out, networks mixed as in `rhythm_net`, before
and after: long studies .657 .531 .532 -> .667 .552 .516; other studies .854 .813 .601 -> .860 .824 .611; made-up pieces
.746 .653 .609 -> .753 .658 .664; plain ones .928 .883 .880, equal; scores by others .706 .569 .516 -> .689 .557 .500;
POP909 .876 .744 -> .881 .720; rhythms .942 .977 .800, equal.
From there, with layers that work on every onset alone and 555 long pieces more, 13.1 minutes on an H200 (`--workers 11
--batch 160 --pool 120000 --rate 1.2e-3 --warm-up 300 --seed 41`); then .75 of these weights and .25 of those before
(after Wortsman et al., "Robust fine-tuning", CVPR 2022), which reads scores by others and played songs better than
either. Held out, before, after the loan and mixed: the long studies .667 .552 .516 -> .757 .680 .742 -> .728 .643 .661;
other studies .860 .824 .611 -> .893 .888 .702 -> .882 .872 .663; made-up pieces .753 .658 .664 -> .790 .713 .718 ->
.784 .711 .709; scores by others .689 .557 .500 -> .700 .588 .484 -> .714 .582 .547; POP909 .881 .720 -> .885 .729 ->
.882 .746; plain ones .928 .884 .880 -> .931 .895 .880 -> .933 .892 .880; rhythms .942 .977 .800, equal.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import pickle
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from mmap import mmap
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event as EventType
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from metre_data.corpus import Sheet, read_all  # noqa: E402
from metre_data.sampling import Sampler, Song, pop909  # noqa: E402
from metre_data.simulate import Rendition  # noqa: E402
from metre_data.studies import read_studies  # noqa: E402
from net_files import load, save, shifted, step_size  # noqa: E402

from rescored.notation.rhythm_features import WIDTH  # noqa: E402
from rescored.notation.rhythm_net import (  # noqa: E402
    FREE,
    HEADS,
    HIDDEN,
    LAYERS,
    LOOK,
    METRES,
    PERIODS_S,
    REACH,
    THINK,
    THOUGHT,
    WAVES_S,
)

CHUNK = 512  # onsets
TOGETHER = 32  # stretches that a worker sends at once
FORGET = 0.05  # share of what a layer says that is dropped in training
POP_SHARE = 0.16  # of the renditions
HELD_PIECES = 80


# ------------------------------------------------------------------ data


def prepare(args: argparse.Namespace) -> tuple[list[Sheet], list[Song]]:
    """Scores and songs, read once and kept in the cache."""
    sheets = read_all(args.cache / "sheets.pkl", args.data / "openewld")
    kept = args.cache / "songs.pkl"
    if not kept.exists():
        folders = sorted(f for f in (args.data / "pop909").iterdir() if f.is_dir())
        kept.write_bytes(pickle.dumps([song for f in folders if (song := pop909(f)) is not None]))
    return sheets + read_studies(), pickle.loads(kept.read_bytes())


def held_songs() -> set[str]:
    """Names of the songs that are held out."""
    return set((Path(__file__).parent / "pop909_held_out.txt").read_text().split())


class Renditions:
    """Draws performances; `held` from what is held out."""

    def __init__(self, sheets: list[Sheet], songs: list[Song], held: bool):
        out = held_songs()
        self.songs = [s for s in songs if (s.name in out) == held]
        self.sampler = Sampler(sheets, held)

    def draw(self, seed: int) -> Rendition | None:
        """The same for the same seed."""
        random = np.random.default_rng(seed)
        if random.random() < POP_SHARE:
            return self.songs[int(random.integers(0, len(self.songs)))].rendition(random)
        return self.sampler.rendition(seed)


def packed(r: Rendition) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features in half precision; times; position, log period and metre."""
    truth = np.stack([r.position, np.log2(r.period_s), r.metre], axis=1).astype(np.float32)
    return r.onsets.features.astype(np.float16), r.onsets.times_s.astype(np.float32), truth


fork = multiprocessing.get_context("fork")  # by which memory is shared


@dataclass
class Desk:
    """Memory that a worker shares with the trainer: features, times, truth and lengths of `TOGETHER` stretches."""

    arrays: tuple[np.ndarray, ...] = field(default_factory=lambda: tuple(
        np.frombuffer(mmap(-1, int(np.prod(shape)) * np.dtype(kind).itemsize), dtype=kind).reshape(shape)
        for shape, kind in (((TOGETHER, CHUNK, WIDTH), np.float16), ((TOGETHER, CHUNK), np.float32),
                            ((TOGETHER, CHUNK, 3), np.float32), ((TOGETHER,), np.int64))))
    cleared: EventType = field(default_factory=fork.Event)

    def put(self, row: int, *stretch: np.ndarray) -> None:
        """Features, times and truth of a stretch into a row."""
        for array, part in zip(self.arrays[:3], stretch, strict=True):
            array[row, : len(part)] = part
            array[row, len(part) :] = 0
        self.arrays[3][row] = len(stretch[1])


def make_forever(renditions: Renditions, first: int, every: int, desks: dict[int, Desk], out: SimpleQueue[int]) -> None:
    """A worker: fills its desks with stretches of renditions, one after the other."""
    random = np.random.default_rng(first)
    stretches = (stretch for seed in itertools.count(first, every) for stretch in cut(renditions.draw(seed), random))
    for number, desk in itertools.cycle(desks.items()):
        desk.cleared.wait()
        desk.cleared.clear()
        for row in range(TOGETHER):
            desk.put(row, *next(stretches))
        out.put(number)


def cut(r: Rendition | None, random: np.random.Generator) -> Iterator[tuple[np.ndarray, ...]]:
    """Features, times and truth of stretches of a rendition."""
    if r is None:
        return
    x, t, y = packed(r)
    a = 0
    while a == 0 or a + CHUNK // 2 < len(t):
        start = min(a, max(len(t) - CHUNK, 0))
        if a == 0 and len(t) > CHUNK:
            start = int(random.integers(0, len(t) - CHUNK + 1)) % CHUNK
        b = min(start + CHUNK, len(t))
        yield x[start:b], t[start:b] - t[start], y[start:b]
        a = start + CHUNK


# ------------------------------------------------------------------ the net


Pair = tuple[torch.Tensor, torch.Tensor | None]  # weight and bias


def pair(layer: nn.Linear | nn.LayerNorm) -> Pair:
    """Of a layer."""
    return layer.weight, layer.bias


# Layers are compiled each kind by itself, which takes seconds, where the whole net takes minutes.
quick = torch.compile(dynamic=True, disable=not torch.cuda.is_available())


@quick
def convolved(x: torch.Tensor, mask: torch.Tensor, norm: Pair, conv: Pair, forget: float,
              dilation: int) -> torch.Tensor:
    """`x` (batch, n, HIDDEN) after a layer that sees every onset and those `dilation` before and after."""
    h = torch.relu(F.layer_norm(x, (HIDDEN,), *norm) * mask)
    return (x + F.dropout(F.linear(shifted(h, dilation), *conv), forget)) * mask


@quick
def thought(x: torch.Tensor, mask: torch.Tensor, norm: Pair, think: Pair, tell: Pair, forget: float) -> torch.Tensor:
    """`x` (batch, n, HIDDEN) after a layer that works on every onset alone."""
    h = F.linear(F.layer_norm(x, (HIDDEN,), *norm) * mask, *think)
    return (x + F.dropout(F.linear(torch.relu(h), *tell), forget)) * mask


@quick
def looked(x: torch.Tensor, mask: torch.Tensor, norm: Pair, look: Pair, mix: Pair, forget: float,
           turn: tuple[torch.Tensor, torch.Tensor], unseen: torch.Tensor) -> torch.Tensor:
    """`x` (batch, n, HIDDEN) after attention; `unseen` (batch, 1, n, n) is added, `turn` as in `turned`."""
    h = F.linear(F.layer_norm(x, (HIDDEN,), *norm) * mask, *look)
    q, key, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in h.chunk(3, dim=-1))
    q, key = (turned(part, turn).to(v.dtype) for part in (q, key))
    more = F.scaled_dot_product_attention(q, key, v, attn_mask=unseen.to(v.dtype)).transpose(1, 2).flatten(2)
    return (x + F.dropout(F.linear(more, *mix), forget)) * mask


def turned(x: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Halves of the last axis as real and imaginary parts, turned by each onset's time (cosine, sine)."""
    real, imaginary = x.float().chunk(2, dim=-1)
    cos, sin = turn
    return torch.cat([real * cos - imaginary * sin, real * sin + imaginary * cos], dim=-1)


class Net(nn.Module):
    """The same as `rhythm_net.read_rhythm`, for training."""

    def __init__(self, mean: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.enter = nn.Linear(WIDTH, HIDDEN)
        self.norms = nn.ModuleList(nn.LayerNorm(HIDDEN) for _ in LAYERS)

        def layers(kind: Callable[[int], bool], wide: int, out: int, bias: bool = True) -> nn.ModuleDict:
            return nn.ModuleDict({str(k): nn.Linear(wide, out, bias) for k, d in enumerate(LAYERS) if kind(d)})

        self.convs = layers(lambda d: d not in (LOOK, THINK), 3 * HIDDEN, HIDDEN)
        self.looks = layers(lambda d: d == LOOK, HIDDEN, 3 * HIDDEN, bias=False)
        self.mixes = layers(lambda d: d == LOOK, HIDDEN, HIDDEN, bias=False)
        self.thinks = layers(lambda d: d == THINK, HIDDEN, THOUGHT)
        self.tells = layers(lambda d: d == THINK, THOUGHT, HIDDEN)
        for layer in (*self.convs.values(), *self.mixes.values(), *self.tells.values()):
            for tensor in layer.parameters():
                nn.init.zeros_(tensor)  # a new layer changes nothing at first, so that a net can go on deeper
        self.norm = nn.LayerNorm(HIDDEN)
        self.leave = nn.Linear(HIDDEN, 3 + len(METRES) * len(PERIODS_S))
        self.drop = nn.Dropout(0.1)  # of features, so that no piece is known by heart

    def forward(self, x: torch.Tensor, times: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        """`x` (batch, n, WIDTH), `times` (batch, n) seconds, `length` (batch,) without padding."""
        n = x.shape[1]
        at = torch.arange(n, device=x.device)
        inside = at < length[:, None]
        mask = inside[..., None]
        x = ((x.float() - self.mean) / self.scale).clamp(-5.0, 5.0)
        x = self.enter(self.drop(x)) * mask
        waves = torch.as_tensor(WAVES_S, device=x.device)
        angle = (2 * np.pi * (times[..., None].double() / waves % 1.0)).float()[:, None]
        turn = angle.cos(), angle.sin()
        seen = ((at[:, None] - at).abs() <= REACH) & inside[:, None, :] | (at[:, None] == at)
        unseen = torch.zeros(seen.shape, dtype=torch.bfloat16, device=x.device).masked_fill(~seen, -torch.inf)[:, None]
        for k, dilation in enumerate(LAYERS):
            norm, forget = self.norms[k], FORGET if self.training else 0.0
            if dilation == THINK:
                x = thought(x, mask, pair(norm), pair(self.thinks[str(k)]), pair(self.tells[str(k)]), forget)
            elif dilation == LOOK:
                x = looked(x, mask, pair(norm), pair(self.looks[str(k)]), pair(self.mixes[str(k)]), forget,
                           turn, unseen)
            else:
                x = convolved(x, mask, pair(norm), pair(self.convs[str(k)]), forget, dilation)
        return self.leave(torch.relu(self.norm(x)))

    def layers(self) -> dict[str, nn.Module]:
        """By their names in the file of weights."""
        layers = {"in": self.enter, "norm": self.norm, "out": self.leave}
        layers |= {f"norm{k}": layer for k, layer in enumerate(self.norms)}
        groups = {"conv": self.convs, "look": self.looks, "mix": self.mixes, "think": self.thinks, "tell": self.tells}
        return layers | {f"{name}{k}": layer for name, group in groups.items() for k, layer in group.items()}

    def export(self, path: Path) -> None:
        """Weights as `rhythm_net` reads them, in half precision."""
        save(path, self.mean, self.scale, self.layers())


def losses(y: torch.Tensor, truth: torch.Tensor, length: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean cross entropies of position and of metre with tempo."""
    y = y.float()
    inside = (torch.arange(y.shape[1], device=y.device) < length[:, None]).float()
    where = -torch.log_softmax(y[..., :3], -1).gather(-1, truth[..., :1].long())[..., 0]
    place = ((truth[..., 1] - float(np.log2(PERIODS_S[0]))) * 4.0).clamp(0.0, len(PERIODS_S) - 1.001)
    low = place.long()
    column = truth[..., 2].long() * len(PERIODS_S) + low
    log = torch.log_softmax(y[..., 3:], -1)
    lower, higher = (log.gather(-1, (column + up)[..., None])[..., 0] for up in (0, 1))
    tempo = -(lower * (1 - (place - low)) + higher * (place - low))
    return (where * inside).sum() / inside.sum(), (tempo * inside).sum() / inside.sum()


def lesson(net: Net, x: torch.Tensor, t: torch.Tensor, truth: torch.Tensor,
           length: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`losses` of a batch in mixed precision."""
    with torch.autocast(x.device.type, dtype=torch.bfloat16):
        y = net(x, t, length)
    return losses(y, truth, length)


@torch.no_grad()
@torch.compiler.set_stance("force_eager")
def validate(net: Net, held: list[tuple[np.ndarray, np.ndarray, np.ndarray]], device: torch.device) -> str:
    """Losses and accuracies on what was held out, a line."""
    net.eval()
    sums = np.zeros(6)
    for x, t, truth in held:
        y = net(*(torch.as_tensor(a[None], device=device) for a in (x, t)), torch.tensor([len(t)], device=device))
        where, tempo = losses(y, torch.as_tensor(truth[None], device=device), torch.tensor([len(t)], device=device))
        log = torch.log_softmax(y[0, :, 3:].float(), -1).reshape(-1, len(METRES), len(PERIODS_S))
        metre = int(torch.logsumexp(log, 2).mean(0).argmax())
        period = int(log.mean(0).exp().sum(0).argmax())
        true_period = (np.median(truth[:, 1]) - np.log2(PERIODS_S[0])) * 4
        right = (y[0, :, :3].argmax(-1).cpu().numpy() == truth[:, 0]).mean()
        sums += [1, float(where), float(tempo), right, metre == int(np.median(truth[:, 2])),
                 abs(period - true_period) < 1.6]
    net.train()
    s = sums / sums[0]
    return (f"position {s[1]:.3f}, tempo {s[2]:.3f}; "
            f"right: position {s[3]:.3f}, metre {s[4]:.3f}, beat length {s[5]:.3f}")


# ------------------------------------------------------------------ training


def train(args: argparse.Namespace) -> None:
    """One cycle of Adam under a falling step size, for so many minutes."""
    sheets, songs = prepare(args)
    if args.prepare:
        return
    began = time.time()
    learn, out = Renditions(sheets, songs, held=False), Renditions(sheets, songs, held=True)
    learn.draw(0)  # compiles what the workers share
    desks = {k: Desk() for k in range(2 * args.workers)}
    filled_desks: SimpleQueue[int] = fork.SimpleQueue()
    for k in range(args.workers):
        own = {number: desk for number, desk in desks.items() if number % args.workers == k}
        for desk in own.values():
            desk.cleared.set()
        given = (learn, args.seed * 10_000_000 + k, args.workers, own, filled_desks)
        fork.Process(target=make_forever, args=given, daemon=True).start()
    simulated = [packed(r) for s in range(HELD_PIECES) if (r := out.sampler.rendition(9_000_000_000 + s)) is not None]
    played = [packed(r) for song in out.songs if (r := song.rendition()) is not None]
    simulated, played = ([tuple(a[:1200] for a in p) for p in pieces] for pieces in (simulated, played))
    print(f"{time.time() - began:.0f} s: {len(simulated)} pieces, {len(played)} songs held out", flush=True)

    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(1)
    arrived: queue.Queue[tuple[torch.Tensor, ...]] = queue.Queue(maxsize=64)

    def receive() -> None:
        while True:
            desk = desks[filled_desks.get()]
            tensors = tuple(torch.as_tensor(a) for a in desk.arrays)
            arrived.put(tuple(a.pin_memory() if device.type == "cuda" else a.clone() for a in tensors))
            desk.cleared.set()

    threading.Thread(target=receive, daemon=True).start()
    first = arrived.get()
    some = first[0][torch.arange(CHUNK) < first[3][:, None]].float()
    net = Net(some.mean(0), some.std(0) + 0.05)
    if args.resume:
        load(args.resume, net.mean, net.scale, net.layers())
    net = net.to(device)
    smooth = Net(net.mean, net.scale).to(device)
    smooth.load_state_dict(net.state_dict())
    print(sum(p.numel() for p in net.parameters()), "weights on", device, flush=True)
    adam = torch.optim.AdamW(net.parameters(), lr=args.rate, weight_decay=0.02, fused=device.type == "cuda")
    pool = [torch.zeros((args.pool, *a.shape[1:]), dtype=a.dtype, device=device) for a in first[:3]]
    lengths = np.zeros(args.pool, dtype=np.int64)
    filled, total = 0, 0

    def keep(arrays: tuple[torch.Tensor, ...]) -> None:
        nonlocal filled, total
        at = (total + np.arange(len(arrays[0]))) % args.pool
        lengths[at] = arrays[3].numpy()
        place = torch.as_tensor(at).to(device)
        for store, array in zip(pool, arrays, strict=False):
            store[place] = array.to(device, non_blocking=True)
        total += len(at)
        filled = min(total, args.pool)

    keep(first)
    random = np.random.default_rng(args.seed)
    started, shown, step = time.time(), time.time(), 0
    running = torch.zeros(3, device=device)
    budget = args.minutes * 60
    while (share := (time.time() - started) / budget) < 1.0:
        for _ in range(8):
            try:
                keep(arrived.get_nowait())
            except queue.Empty:
                break
        for group in adam.param_groups:
            group["lr"] = step_size(args.rate, step, share, args.warm_up)
        if step % 50 == 0:
            order = np.argsort(lengths[:filled], kind="stable")
        place = int(random.integers(0, len(order)))  # neighbours in length, so that little is padding
        longest = min(-(-int(lengths[order[place]]) // 64) * 64, CHUNK)
        chosen = order[max(place + 1 - args.batch * CHUNK // longest, 0) : place + 1]
        pick, length = (torch.as_tensor(a).to(device) for a in (chosen, lengths[chosen]))
        where, tempo = lesson(net, *(store[pick, :longest] for store in pool), length)
        adam.zero_grad()
        (where + 0.4 * tempo).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        adam.step()
        step += 1
        with torch.no_grad():
            torch._foreach_lerp_(list(smooth.parameters()), list(net.parameters()), max(0.002, 1.0 / (step + 1)))
            running += torch.stack([torch.ones((), device=device), where, tempo])
        if time.time() - shown > args.show_s or time.time() - started >= budget:
            shown = time.time()
            mean = (running / running[0]).tolist()
            print(f"{shown - started:.0f} s, {step} steps, {total} stretches, train {mean[1]:.3f} {mean[2]:.3f}\n"
                  f"   simulated: {validate(smooth, simulated, device)}\n"
                  f"   played: {validate(smooth, played, device)}", flush=True)
            running.zero_()
            smooth.export(args.out)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with openewld and pop909")
    parser.add_argument("--cache", type=Path, required=True, help="folder for the scores once they are read")
    parser.add_argument("--prepare", action="store_true", help="only read the scores into the cache")
    parser.add_argument("--minutes", type=float, default=7.0, help="of training")
    parser.add_argument("--workers", type=int, default=1, help="processes that perform")
    parser.add_argument("--batch", type=int, default=64, help="stretches a step")
    parser.add_argument("--pool", type=int, default=2000, help="newest stretches to draw from")
    parser.add_argument("--rate", type=float, default=1.2e-3, help="step size")
    parser.add_argument("--resume", type=Path, help="weights to go on from")
    parser.add_argument("--warm-up", type=int, default=300, help="steps until the step size is reached")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show-s", type=float, default=60.0, help="how often to validate")
    parser.add_argument("--out", type=Path, default=FREE, help="where the weights go")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
