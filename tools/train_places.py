"""Train the network that says where in its beat an onset is written (rescored/notation/place_net.py).

    python tools/train_places.py --data FOLDER --cache FOLDER [--minutes 30]

Pieces of `metre_data` are played by its simulated players, and read on beats that lie where the search for the metre
would put them: where they are struck, between these elsewhere, and sometimes at another level of the metre. Prints the
share of onsets whose likeliest place is right, on pieces that are held out.

What ships: 11.3 minutes with 4 workers beside an H200 (`--batch 24 --rate 2e-3`), 13 more on one core when beats were
no longer always where they are struck (`--batch 24 --rate 6e-4 --seed 3`), and an hour more on one that was shared
(`--seed 8`: studies .972 -> .975, made-up pieces .969 -> .971). Of the onsets of 90 held-out studies, freely played and
read on the true beats, .96 came out where they are written even before that hour; deviations weighed by hand said .915.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from metre_data.corpus import Sheet, read_all
from metre_data.readings import grid_of, level
from metre_data.sampling import Sampler, held_pieces
from metre_data.simulate import render
from metre_data.studies import read_studies
from metre_data.textures import Piece
from net_files import IGNORED, Convolved, Example, arguments, learn, load, stretches, together
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset

from rescored.music import PIANO, Note, Performance, Span
from rescored.notation.place_net import DILATIONS, FINEST, HIDDEN, PLACES, WEIGHTS, hear_places
from rescored.notation.quantise import lay, unadorned
from rescored.settings import QuantiseSettings

CHUNK = 512  # onsets
NONE = len(PLACES)  # the class of what has no place
NEAR = 0.012  # of a beat: so near a place is that place
STUDIES = 0.55  # share of the pieces that are studies as they stand
DROP = 0.1  # of what is known of an onset
Random = np.random.Generator


def example(piece: Piece, random: Random) -> Example | None:
    """Features of onsets, (n, WIDTH), and their places, (n,)."""
    r = render(piece, random)
    found = None if r is None else grid_of(r, level(piece, r, random), random)
    if r is None or found is None:
        return None
    grid, ql = found
    columns = zip(*(x.tolist() for x in r.notes), strict=True)
    notes = tuple(Note(str(k), a, max(b, a + 0.02), p, v) for k, (a, b, p, v) in enumerate(columns))
    played = Performance(notes, (PIANO,), (Span(0.0, 1.0),), duration_s=float(r.notes[1].max()))
    played, *_ = unadorned(played, grid, QuantiseSettings())
    if len(played.notes) < 16:
        return None
    laid = lay(played, grid)
    first = int(np.searchsorted(laid.beats_s, grid.times_s[0] - 1e-9))
    step = ql[1] - ql[0], ql[-1] - ql[-2]
    beat_ql = np.concatenate([ql[0] - step[0] * np.arange(first, 0, -1), ql,
                              ql[-1] + step[1] * np.arange(1, len(laid.ticks) - first - len(ql) + 1)])
    written = r.onset_ql[[int(n.id) for n in played.notes]]
    at = np.full(len(laid.times_s), np.nan)
    for k in range(len(at)):
        known = np.sort(written[laid.of_note == k])
        known = known[~np.isnan(known)]
        at[k] = known[len(known) // 2] if len(known) else np.nan
    part = (at - beat_ql[laid.beat]) / (beat_ql[laid.beat + 1] - beat_ql[laid.beat])
    place = np.abs(np.nan_to_num(part, nan=9.0)[:, None] - PLACES / FINEST)
    where = np.where(place.min(axis=1) < NEAR, place.argmin(axis=1), IGNORED)
    return hear_places(played, laid, grid), np.where(np.isnan(at), NONE, where)


class Pieces(IterableDataset):  # type: ignore[type-arg]
    """Stretches of performed pieces without end."""

    def __init__(self, sheets: list[Sheet], seed: int) -> None:
        self.sampler, self.seed = Sampler(sheets, held=False), seed

    def draw(self, random: Random) -> Example | None:
        piece = self.sampler.draw_study(random) if random.random() < STUDIES else self.sampler.draw(random)
        return example(piece, random) if piece.notes and piece.bars else None

    def __iter__(self) -> Iterator[Example]:
        return stretches(self.draw, self.seed, CHUNK)


class Net(Convolved):
    """The network of `place_net`, to be trained."""

    def __init__(self, mean: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__(mean, scale, HIDDEN, DILATIONS, NONE + 1, nn.Dropout(DROP))


def right(net: Net, held: list[Example]) -> float:
    """Share of the onsets of pieces whose likeliest place is the written one."""
    net.eval()
    shares = []
    with torch.no_grad():
        for x, y in held:
            x = torch.as_tensor(x, device=net.mean.device)
            best = net(x[None], torch.ones(1, len(y), dtype=torch.bool, device=x.device))[0].argmax(-1).cpu().numpy()
            shares.append((best == y)[y != IGNORED].mean())
    net.train()
    return float(np.mean(shares))


def main() -> None:
    args = arguments(__doc__, WEIGHTS, batch=16).parse_args()
    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(1)
    sheets = read_all(args.cache / "sheets.pkl", args.data / "openewld") + read_studies()
    held = {name: [e for k, p in enumerate(some) if (e := example(p, np.random.default_rng([k, 7]))) is not None]
            for name, some in held_pieces(sheets, made=100).items()}
    stream = iter(DataLoader(Pieces(sheets, args.seed), args.batch, collate_fn=together, num_workers=args.workers,
                             prefetch_factor=8))
    some, places = next(stream)
    inside = some[places != IGNORED]
    net = Net(inside.mean(0), inside.std(0) + 0.05).to(device)
    if args.resume:
        load(args.resume, net.mean, net.scale, net.layers())
    print({name: len(v) for name, v in held.items()}, sum(p.numel() for p in net.parameters()), "weights", flush=True)

    def loss_of_next() -> torch.Tensor:
        x, y = (part.to(device) for part in next(stream))
        with torch.autocast(device.type, dtype=torch.bfloat16):
            logits = net(x, (x != 0).any(-1))
        return F.cross_entropy(logits.float().flatten(0, 1), y.flatten(), ignore_index=IGNORED)

    def show() -> dict[str, float]:
        net.export(args.out)
        return {name: round(right(net, v), 4) for name, v in held.items()}

    learn(net, loss_of_next, show, args.rate, args.minutes, weight_decay=0.01, show_s=60.0)


if __name__ == "__main__":
    main()
