"""Train the metre model (rescored/notation/rhythm_net.py) from scores that may ship; see `--help`.

    python tools/train_metre.py --data FOLDER --cache FOLDER [--pieces 6000] [--steps 3000]

FOLDER of `--data` holds `openewld` and `pop909`; music21 brings its own corpus. The steps: read the
scores, make piano textures of them, perform them (`tools/metre_data`), train on one core, print the
accuracy on composers, tunes and songs that were held out, write the weights beside the module.

The weights that ship were trained in stages with `--resume`, about 24,000 steps on 28,000 renditions
in all, while the textures grew richer and the tempi more natural; the last 5,500 steps were on the newest.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from metre_data.corpus import read_all  # noqa: E402
from metre_data.sampling import Sampler, pop909  # noqa: E402
from metre_data.simulate import Rendition  # noqa: E402

from rescored.notation.rhythm_features import WIDTH  # noqa: E402
from rescored.notation.rhythm_net import (  # noqa: E402
    CONTEXT,
    CONTEXT_AFTER,
    DILATIONS,
    HIDDEN,
    METRES,
    PERIODS_S,
    WEIGHTS,
)

CHUNK, BATCH = 384, 6
POP_HELD_OUT = 48


def pop_songs(data: Path) -> tuple[list[Path], list[Path]]:
    """Songs to learn from, and songs that are held out."""
    songs = sorted(f for f in (data / "pop909").iterdir() if f.is_dir())
    return songs[POP_HELD_OUT:], songs[:POP_HELD_OUT]


class Data:
    """Renditions end to end in memory maps: features, position, log period, metre."""

    def __init__(self, folder: Path):
        self.starts = np.load(folder / "starts.npy")
        self.x = np.load(folder / "x.npy", mmap_mode="r")
        self.y = np.load(folder / "y.npy")

    @staticmethod
    def write(folder: Path, renditions: list[Rendition]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "x.npy", np.concatenate([r.onsets.features.astype(np.float16) for r in renditions]))
        np.save(folder / "y.npy", np.concatenate(
            [np.stack([r.position, np.log2(r.period_s), r.metre], axis=1).astype(np.float32) for r in renditions]))
        np.save(folder / "starts.npy", np.concatenate([[0], np.cumsum([len(r.position) for r in renditions])]))

    def chunk(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A stretch of a random rendition."""
        k = int(random.integers(0, len(self.starts) - 1))
        a, b = int(self.starts[k]), int(self.starts[k + 1])
        if b - a > CHUNK:
            a += int(random.integers(0, b - a - CHUNK + 1))
            b = a + CHUNK
        return self.x[a:b], self.y[a:b]


def build(args: argparse.Namespace) -> None:
    """Make and keep the training and validation data."""
    sheets = read_all(args.cache / "sheets.pkl", args.data / "openewld")
    learn, held = pop_songs(args.data)
    for name, is_held, count, songs in (("train", False, args.pieces, learn), ("held", True, 300, held)):
        folder = args.cache / name
        if (folder / "starts.npy").exists():
            continue
        sampler = Sampler(sheets, is_held)
        made = [r for s in range(count) if (r := sampler.rendition(s + 1_000_000 * is_held)) is not None]
        made += [r for song in songs if (r := pop909(song)) is not None] * (1 if is_held else 2)
        Data.write(folder, made)
        print(name, len(made), "renditions,", sum(len(r.position) for r in made), "onsets", flush=True)


class Net(nn.Module):
    """The same as `rhythm_net.read_rhythm`, for training."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(WIDTH, HIDDEN)
        self.norms = nn.ModuleList(nn.LayerNorm(HIDDEN) for _ in DILATIONS)
        self.convs = nn.ModuleList(nn.Conv1d(HIDDEN, HIDDEN, 3, dilation=d, padding=d) for d in DILATIONS)
        self.contexts = nn.ModuleList(nn.Linear(HIDDEN, HIDDEN) for _ in CONTEXT_AFTER)
        self.spreads = nn.ModuleList(nn.Linear(HIDDEN, HIDDEN, bias=False) for _ in CONTEXT_AFTER)
        self.norm = nn.LayerNorm(HIDDEN)
        self.leave = nn.Linear(HIDDEN, 3 + len(METRES) * len(PERIODS_S))
        self.drop = nn.Dropout(0.1)  # of features, so that no piece is known by heart

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """`x` (batch, n, WIDTH) normalised; `mask` (batch, n, 1), 0 beyond the end."""
        x = self.enter(self.drop(x)) * mask
        c = 0
        for k, (norm, conv) in enumerate(zip(self.norms, self.convs, strict=True)):
            h = torch.relu(norm(x)) * mask
            x = (x + conv(h.transpose(1, 2)).transpose(1, 2)) * mask
            if k in CONTEXT_AFTER:
                x = (x + self.spreads[c](torch.relu(self.contexts[c](around(x, mask))))) * mask
                c += 1
        return self.leave(torch.relu(self.norm(x)))

    def export(self, mean: np.ndarray, scale: np.ndarray, path: Path) -> None:
        """Weights as `rhythm_net` reads them, in half precision."""
        out = {"mean": mean, "scale": scale}

        def put(name: str, layer: nn.Module) -> None:
            weight = layer.weight.detach().numpy()
            if weight.ndim == 3:  # (out, in, tap) -> (tap * in, out)
                weight = weight.transpose(2, 1, 0).reshape(-1, weight.shape[0])
            elif weight.ndim == 2:
                weight = weight.T
            out[f"{name}.weight"] = weight
            if layer.bias is not None:
                out[f"{name}.bias"] = layer.bias.detach().numpy()

        put("in", self.enter)
        for k in range(len(DILATIONS)):
            put(f"norm{k}", self.norms[k])
            put(f"conv{k}", self.convs[k])
        for k in range(len(CONTEXT_AFTER)):
            put(f"context{k}", self.contexts[k])
            put(f"spread{k}", self.spreads[k])
        put("norm", self.norm)
        put("out", self.leave)
        np.savez_compressed(path, **{k: v.astype(np.float16) for k, v in out.items()})


def around(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over up to CONTEXT places to either side."""
    n = x.shape[1]
    total = torch.cat([torch.zeros_like(x[:, :1]), torch.cumsum(x, dim=1)], dim=1)
    count = torch.cat([torch.zeros_like(mask[:, :1]), torch.cumsum(mask, dim=1)], dim=1)
    at = torch.arange(n)
    lo, hi = (at - CONTEXT).clamp(min=0), (at + CONTEXT + 1).clamp(max=n)
    return (total[:, hi] - total[:, lo]) / (count[:, hi] - count[:, lo]).clamp(min=1)


def batch_of(chunks: list[tuple[np.ndarray, np.ndarray]], mean: np.ndarray, scale: np.ndarray):  # type: ignore[no-untyped-def]
    """Tensors of padded chunks: features, mask, position, joint metre-and-period target."""
    n = max(len(y) for _, y in chunks)
    x = np.zeros((len(chunks), n, WIDTH), dtype=np.float32)
    mask = np.zeros((len(chunks), n, 1), dtype=np.float32)
    position = np.zeros((len(chunks), n), dtype=np.int64)
    joint = np.zeros((len(chunks), n, len(METRES) * len(PERIODS_S)), dtype=np.float32)
    for k, (features, y) in enumerate(chunks):
        m = len(y)
        x[k, :m] = np.clip((features.astype(np.float32) - mean) / scale, -5.0, 5.0)
        mask[k, :m] = 1.0
        position[k, :m] = y[:, 0]
        place = np.clip((y[:, 1] - np.log2(PERIODS_S[0])) * 4.0, 0.0, len(PERIODS_S) - 1.001)
        low = place.astype(np.int64)
        column = y[:, 2].astype(np.int64) * len(PERIODS_S) + low
        rows = np.arange(m)
        joint[k, rows, column] = 1.0 - (place - low)
        joint[k, rows, column + 1] = place - low
    return torch.from_numpy(x), torch.from_numpy(mask), torch.from_numpy(position), torch.from_numpy(joint)


def losses(net: Net, batch) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[no-untyped-def]
    """Mean cross entropies of position and of metre with tempo."""
    x, mask, position, joint = batch
    y = net(x, mask)
    m = mask[..., 0]
    y = y.float()
    where = -torch.log_softmax(y[..., :3], -1).gather(-1, position[..., None])[..., 0]
    tempo = -(torch.log_softmax(y[..., 3:], -1) * joint).sum(-1)
    return (where * m).sum() / m.sum(), (tempo * m).sum() / m.sum()


def validate(net: Net, data: Data, mean: np.ndarray, scale: np.ndarray) -> str:
    """Losses and accuracies on what was held out, a line."""
    net.eval()
    sums = np.zeros(6)
    with torch.no_grad():
        for k in range(0, len(data.starts) - 1, 2):
            a = int(data.starts[k])
            b = min(int(data.starts[k + 1]), a + 600)
            batch = batch_of([(data.x[a:b], data.y[a:b])], mean, scale)
            where, tempo = losses(net, batch)
            y = net(batch[0], batch[1])[0]
            joint = torch.log_softmax(y[:, 3:], -1).mean(0).reshape(len(METRES), len(PERIODS_S)).exp()
            truth = int(np.median(data.y[a:b, 2]))
            mass = torch.logsumexp(torch.log_softmax(y[:, 3:], -1).reshape(-1, len(METRES), len(PERIODS_S)), 2).mean(0)
            period = np.argmax(joint.sum(0).numpy())
            true_period = (np.median(data.y[a:b, 1]) - np.log2(PERIODS_S[0])) * 4
            sums += [1, where, tempo, float((y[:, :3].argmax(-1) == batch[2][0]).float().mean()),
                     float(int(mass.argmax()) == truth), float(abs(period - true_period) < 1.6)]
    net.train()
    s = sums / sums[0]
    return (f"held out: position {s[1]:.3f}, tempo {s[2]:.3f}; "
            f"right: position {s[3]:.3f}, metre {s[4]:.3f}, beat length {s[5]:.3f}")


def train(args: argparse.Namespace) -> None:
    """One cycle of Adam under a falling step size."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    random = np.random.default_rng(args.seed)
    data, held = Data(args.cache / "train"), Data(args.cache / "held")
    some = np.asarray(data.x[:: max(len(data.x) // 40000, 1)], dtype=np.float32)
    mean, scale = some.mean(0), some.std(0) + 0.05
    net = Net()
    print(sum(p.numel() for p in net.parameters()), "weights", flush=True)
    if args.resume:
        net.load_state_dict(torch.load(args.cache / "net.pt"))
    best = torch.optim.AdamW(net.parameters(), lr=args.rate, weight_decay=0.02)
    began, step, shown = time.time(), 0, time.time()
    smooth = Net()  # with the mean of the last hundred steps' weights
    average = [p.detach().clone() for p in net.parameters()]
    running = np.zeros(3)
    for step in range(args.steps):
        share = step / args.steps
        for group in best.param_groups:
            group["lr"] = args.rate * min(1.0, step / 200) * 0.5 * (1 + np.cos(np.pi * share)) + 1e-6
        batch = batch_of([data.chunk(random) for _ in range(BATCH)], mean, scale)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            where, tempo = losses(net, batch)
        best.zero_grad()
        (where + 0.4 * tempo).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        best.step()
        with torch.no_grad():
            for slow, fast in zip(average, net.parameters(), strict=True):
                slow.lerp_(fast, 0.01)
        running += [1, float(where.detach()), float(tempo.detach())]
        if time.time() - shown > 120 or step == args.steps - 1:
            shown = time.time()
            with torch.no_grad():
                for slow, fast in zip(average, smooth.parameters(), strict=True):
                    fast.copy_(slow)
            print(f"{step + 1} steps, {shown - began:.0f} s, train {running[1] / running[0]:.3f} "
                  f"{running[2] / running[0]:.3f}; {validate(smooth, held, mean, scale)}", flush=True)
            running[:] = 0
            torch.save(smooth.state_dict(), args.cache / "net.pt")
            smooth.export(mean, scale, args.out)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with openewld and pop909")
    parser.add_argument("--cache", type=Path, required=True, help="folder for what is made on the way")
    parser.add_argument("--pieces", type=int, default=6000, help="renditions to learn from")
    parser.add_argument("--steps", type=int, default=3000, help="steps of training, about 3 a second on one core")
    parser.add_argument("--rate", type=float, default=2e-3, help="step size")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume", action="store_true", help="go on from the net in the cache")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="where the weights go")
    args = parser.parse_args()
    build(args)
    train(args)


if __name__ == "__main__":
    main()
