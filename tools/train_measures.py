"""Train the network that says on which beats measures begin (rescored/notation/measure_net.py).

    python tools/train_measures.py --data FOLDER --cache FOLDER [--minutes 30]

FOLDER of `--data` holds `openewld` and `pop909`. Pieces of `metre_data` are played by its simulated players, songs in
other keys and manners, and heard in their beats: where these are struck, not quite struck, at another level of the
metre, or half a beat late for a while. Prints log loss and F of the downbeats of pieces, and of songs on the beats of
their annotators, that are held out.

What ships came about in three stages, each from the weights of the one before: 12 minutes without songs (`--rate 3e-3
--seed 3`), 24 (`--workers 2 --seed 4`), both with a pickup's first beat as a downbeat, which review found, and, since
then, 21 (`--workers 2 --seed 5`), two cores. Of 149 held-out studies, a third of them on misread beats, F of downbeats
.931; of 68 made-up pieces .929. All songs are in four, and some are annotated a beat or two off (189, 194), so that
their F, .77, says little; with .04 and more of them learned the search's measures of held-out songs became worse.
Downbeats that the search finds on true beats, of eight sets of held-out music in the mean, .854 with changes of harmony
alone, .904 with this; of asap_dev, on which nothing was fitted, .673 and .795.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from metre_data.corpus import Sheet
from metre_data.readings import grid_of, level
from metre_data.sampling import Sampler, Song, held_pieces
from metre_data.simulate import render
from metre_data.textures import Piece
from net_files import IGNORED, Convolved, Example, arguments, learn, load, stretches, together
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset
from train_metre import held_songs, prepare

from rescored.notation.measure_net import DILATIONS, EARLY_S, HIDDEN, WEIGHTS, hear_beats

CHUNK = 384  # beats
FEWEST = 16  # beats of an example
STUDIES = 0.5  # share of the played pieces that are studies as they stand
SONGS = 0.015  # share of the readings that are of songs; of more it learns these songs by heart, and knows others less
BEGUN, LATEST = 0.4, 13  # share of the pieces that begin later, as a recording may, by fewer beats than this
SLIPS = 0.15  # share of the pieces whose beats are half a beat late for a while
DROP = 0.15  # of what is known of a stretch, and
FORGET = 0.1  # of what a layer says
STEADY = 0.998  # of a step, that the weights which are kept follow the others
LENGTHS = 5  # beats in a measure, or more, that are told apart
ASIDE = 0.3  # weight of that
Random = np.random.Generator


def truth(down: np.ndarray) -> np.ndarray:
    """Whether beats are downbeats, and the class of the length of the measure that each is in: (m, 2)."""
    lengths = np.full(len(down), IGNORED)
    for a, b in itertools.pairwise(np.flatnonzero(down == 1)):
        if (down[a:b] != IGNORED).all():
            lengths[a:b] = min(b - a, LENGTHS) - 1
    return np.stack([down, lengths], axis=1)


def example(piece: Piece, random: Random) -> Example | None:
    """A piece on beats that are told."""
    r = render(piece, random)
    found = None if r is None else grid_of(r, level(piece, r, random), random)
    if r is None or found is None or len(found[1]) < 2 * FEWEST:
        return None
    beats_s, down = found[0].times_s, (found[0].beat == 1).astype(np.int64)
    later = min(int(random.integers(LATEST)), len(down) - 2 * FEWEST) if random.random() < BEGUN else 0
    beats_s, down = beats_s[later:], down[later:]
    notes = tuple(x[r.notes[0] >= beats_s[0] - EARLY_S] for x in r.notes) if later else r.notes
    if random.random() < SLIPS:
        a = int(random.integers(4, len(beats_s) - FEWEST))
        b = min(a + int(random.integers(6, 60)), len(beats_s) - 4)
        late, skip = (beats_s[a:b] + beats_s[a + 1 : b + 1]) / 2, int(random.integers(2))  # a beat less, or one more
        beats_s = np.concatenate([beats_s[: a + 1 - skip], late, beats_s[b + skip :]])
        down = np.concatenate([down[: a + 1 - skip], np.full(b - a, IGNORED), down[b + skip :]])
    return hear_beats(*notes, beats_s), truth(down)


def song_example(song: Song, random: Random | None = None) -> Example | None:
    """A song, or with `random` a stretch of it, on its annotated beats."""
    r = song.rendition(random)
    if r is None:
        return None
    return hear_beats(*r.notes, r.beats_s), truth(np.isin(r.beats_s, r.downbeats_s).astype(np.int64))


class Readings(IterableDataset):  # type: ignore[type-arg]
    """Stretches of performances on their beats, without end."""

    def __init__(self, sheets: list[Sheet], songs: list[Song], seed: int) -> None:
        self.sampler, self.songs, self.seed = Sampler(sheets, held=False), songs, seed

    def draw(self, random: Random) -> Example | None:
        if random.random() < SONGS:
            return song_example(self.songs[int(random.integers(len(self.songs)))], random)
        piece = self.sampler.draw_study(random) if random.random() < STUDIES else self.sampler.draw(random)
        return example(piece, random) if piece.notes and piece.bars else None

    def __iter__(self) -> Iterator[Example]:
        return stretches(self.draw, self.seed, CHUNK)


class Throughout(nn.Dropout1d):
    """Drops some of what is known for a whole stretch (batch, m, WIDTH)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class Net(Convolved):
    """The network of `measure_net`, to be trained; aside it learns how long measures are."""

    def __init__(self, mean: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__(mean, scale, HIDDEN, DILATIONS, 1, Throughout(DROP), FORGET)
        self.aside = nn.Linear(HIDDEN, LENGTHS)


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
            odds, told = net(torch.as_tensor(x)[None], torch.ones(1, len(y), dtype=torch.bool))[0, :, 0], y[:, 0]
            down, said = told == 1, (odds > 0).numpy() & (told != IGNORED)
            both = 2 * (down & said).sum() / max(down.sum() + said.sum(), 1)
            rows.append((log_loss(odds, torch.as_tensor(told)), both))
    loss, f = np.mean(rows, axis=0)
    return round(float(loss), 4), round(float(f), 4)


def main() -> None:
    args = arguments(__doc__, WEIGHTS, batch=32).parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    sheets, songs = prepare(args)
    held = {name: [e for k, p in enumerate(some) if (e := example(p, np.random.default_rng([k, 7]))) is not None]
            for name, some in held_pieces(sheets, made=80).items()}
    held["songs"] = [e for s in songs if s.name in held_songs() and (e := song_example(s)) is not None]
    readings = Readings(sheets, [s for s in songs if s.name not in held_songs()], args.seed)
    stream = iter(DataLoader(readings, args.batch, collate_fn=together, num_workers=args.workers, prefetch_factor=8))
    some, _ = next(stream)
    inside = some[(some != 0).any(-1)]
    net = Net(inside.mean(0), inside.std(0) + 0.05)
    if args.resume:
        load(args.resume, net.mean, net.scale, net.layers())
    kept = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(STEADY))
    counts = {name: len(v) for name, v in held.items()}
    print(counts, sum(p.numel() for p in net.parameters()), "weights", flush=True)

    def loss_of_next() -> torch.Tensor:
        x, y = next(stream)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = net.hidden(x, (x != 0).any(-1))
            odds, of_lengths = net.leave(hidden)[..., 0], net.aside(hidden)
        aside = F.cross_entropy(of_lengths.float().flatten(0, 1), y[..., 1].flatten(), ignore_index=IGNORED)
        return log_loss(odds.float(), y[..., 0]) + ASIDE * aside

    def show() -> dict[str, tuple[float, float]]:
        kept.module.export(args.out)
        return {name: right(kept.module, v) for name, v in held.items()}

    learn(net, loss_of_next, show, args.rate, args.minutes, weight_decay=0.02, show_s=120.0,
          follow=lambda: kept.update_parameters(net))


if __name__ == "__main__":
    main()
