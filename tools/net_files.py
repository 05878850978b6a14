"""What trainers of small networks share: files of weights, which NumPy reads in the package, layers,
examples, steps."""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from rescored.models import weights_in

Layers = Mapping[str, nn.Module]  # linear ones and normalisations by their names in the file
Random = np.random.Generator
Example = tuple[np.ndarray, np.ndarray]  # features (n, width), and what is true of each row, (n, ...)
IGNORED = -100  # of which nothing is told


def save(path: Path, mean: torch.Tensor, scale: torch.Tensor, layers: Layers) -> None:
    """Mean and scale of features, and layers, in half precision."""
    out = {"mean": mean, "scale": scale}
    for name, layer in layers.items():
        out[f"{name}.weight"] = layer.weight
        if layer.bias is not None:
            out[f"{name}.bias"] = layer.bias
    np.savez_compressed(path, **{k: v.detach().cpu().numpy().T.astype(np.float16) for k, v in out.items()})


def load(path: Path, mean: torch.Tensor, scale: torch.Tensor, layers: Layers) -> None:
    """The same read into these, to go on from; layers that the file has not stay as they are."""
    weights = {name: torch.as_tensor(array.T) for name, array in weights_in(path).items()}
    with torch.no_grad():
        mean.copy_(weights["mean"])
        scale.copy_(weights["scale"])
        for name, layer in layers.items():
            if f"{name}.weight" in weights:
                layer.weight.copy_(weights[f"{name}.weight"])
                if layer.bias is not None:
                    layer.bias.copy_(weights[f"{name}.bias"])


def convolutions(count: int, width: int) -> tuple[nn.ModuleList, nn.ModuleList]:
    """Normalisations, and layers over `shifted` rows of this width that at first change nothing."""
    norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(count))
    layers = nn.ModuleList(nn.Linear(3 * width, width) for _ in range(count))
    for tensor in layers.parameters():
        nn.init.zeros_(tensor)
    return norms, layers


def shifted(h: torch.Tensor, by: int) -> torch.Tensor:
    """`notation.layers.shifted` of (batch, n, width): every row beside those `by` before and after it."""
    before = F.pad(h, (0, 0, by, 0))[:, : h.shape[1]]
    after = F.pad(h, (0, 0, 0, by))[:, by:]
    return torch.cat([before, h, after], dim=-1)


class Convolved(nn.Module):
    """The network of `notation.layers.convolved`, to be trained."""

    def __init__(self, mean: torch.Tensor, scale: torch.Tensor, hidden: int, dilations: tuple[int, ...], outputs: int,
                 drop: nn.Module, forget: float = 0.0) -> None:
        """`drop`: drops some of what is known in training; `forget`: the share of what a layer says that is dropped."""
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.dilations = dilations
        self.enter = nn.Linear(len(mean), hidden)
        self.norms, self.convs = convolutions(len(dilations), hidden)
        self.norm = nn.LayerNorm(hidden)
        self.leave = nn.Linear(hidden, outputs)
        self.drop, self.forget = drop, nn.Dropout(forget)

    def hidden(self, x: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
        """The last layer but one, (batch, n, hidden), of `x` (batch, n, width); no padding is `inside` (batch, n)."""
        mask = inside[..., None]
        x = self.enter(self.drop(((x - self.mean) / self.scale).clamp(-5.0, 5.0))) * mask
        for dilation, norm, conv in zip(self.dilations, self.norms, self.convs, strict=True):
            h = torch.relu(norm(x)) * mask
            x = (x + self.forget(conv(shifted(h, dilation)))) * mask
        return torch.relu(self.norm(x))

    def forward(self, x: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
        """Outputs (batch, n, outputs) of what `hidden` takes."""
        return self.leave(self.hidden(x, inside))

    def layers(self) -> dict[str, nn.Linear | nn.LayerNorm]:
        """By their names in the file of weights."""
        layers = {"in": self.enter, "norm": self.norm, "out": self.leave}
        layers |= {f"norm{k}": norm for k, norm in enumerate(self.norms)}
        return layers | {f"conv{k}": conv for k, conv in enumerate(self.convs)}

    def export(self, path: Path) -> None:
        """Weights as the package reads them."""
        save(path, self.mean, self.scale, self.layers())


def stretches(draw: Callable[[Random], Example | None], seed: int, longest: int) -> Iterator[Example]:
    """Parts of examples without end, another one in each worker process."""
    worker = torch.utils.data.get_worker_info()
    random = np.random.default_rng([seed, worker.id if worker else 0])
    while True:
        made = draw(random)
        if made is not None:
            x, y = made
            start = int(random.integers(0, min(longest, max(len(y) - longest, 0) + 1)))
            for a in range(start, max(len(y) - longest // 2, start + 1), longest):
                yield x[a : a + longest], y[a : a + longest]


def together(examples: list[Example]) -> tuple[torch.Tensor, torch.Tensor]:
    """Padded to one length."""
    x = nn.utils.rnn.pad_sequence([torch.as_tensor(x) for x, _ in examples], batch_first=True)
    y = nn.utils.rnn.pad_sequence([torch.as_tensor(y) for _, y in examples], batch_first=True, padding_value=IGNORED)
    return x, y


def step_size(most: float, step: int, share: float, warm_up: int = 100) -> float:
    """At a step, after a share of the training: it grows over the first steps, and falls as a cosine does."""
    return float(most * min(1.0, (step + 1) / warm_up) * (0.5 * (1 + np.cos(np.pi * share)) + 1e-3))


def arguments(doc: str | None, out: Path, batch: int) -> argparse.ArgumentParser:
    """The command line of a trainer that says `doc` of itself and writes weights to `out`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with openewld and pop909")
    parser.add_argument("--cache", type=Path, required=True, help="folder for scores and songs once they are read")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--workers", type=int, default=1, help="processes that perform")
    parser.add_argument("--batch", type=int, default=batch, help="stretches a step")
    parser.add_argument("--rate", type=float, default=2e-3, help="step size")
    parser.add_argument("--resume", type=Path, help="weights to go on from")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=out)
    return parser


def learn(net: nn.Module, loss_of_next: Callable[[], torch.Tensor], show: Callable[[], object], rate: float,
          minutes: float, weight_decay: float, show_s: float, follow: Callable[[], object] = lambda: None) -> None:
    """Steps for so many minutes; what `show` keeps and says is printed now and then. `follow` is called each step."""
    adam = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=weight_decay)
    began, shown, running = time.time(), time.time(), []
    for step in itertools.count():
        share = (time.time() - began) / (60 * minutes)
        if share >= 1.0:
            break
        for group in adam.param_groups:
            group["lr"] = step_size(rate, step, share)
        loss = loss_of_next()
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        adam.step()
        follow()
        running.append(loss.detach())
        if time.time() - shown > show_s:
            shown = time.time()
            loss_now = torch.stack(running[-100:]).mean()
            print(f"{shown - began:.0f} s, {step} steps, loss {loss_now:.4f}; {show()}", flush=True)
    print(show())
