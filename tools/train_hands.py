"""Train rescored/notation/hand_net.npz: which hand plays each note of piano music.

    python tools/train_hands.py --sheets build/sheets.pkl --data ../shared/data [--steps 6000] [--real even]

Learns from studies (`metre_data.studies`, but for the tenth that is held out), drawn together, disturbed and
performed; from `hand_data.two_hands`; and with --real from the two-staff scores of music21's corpus, too
(tools/oracle.py): of every other composer, the others being measured, or of all, for what ships. Nothing is
fitted on asap_dev. One core, about .3 s of it a step. --begin takes the weights of a smaller network, too.

What ships came about in stages, the first ones in a network of half the width and four layers. Without studies:
1600 steps with --real even, 1000 more at --rate 2e-3, 2000 more with --real all --share 0.4. Then with them and
--real all: 500 steps whose hands were where the writers had put them (--rate 1.2e-3 --share 0.25 --studies 0.55),
1500 drawn together (--rate 2e-3), 700 in which hands seldom pass a line to each other (--rate 1.2e-3 --share 0.4).
Then, widened to what it is, 4500 with more studies (--rate 1.5e-3 --share 0.4 --studies 0.65 --seed 11).
Notes right before -> after that last stage, network alone and with the search: 157 held-out studies .991 -> .992,
.991 -> .991; drawn together .921 -> .933, .915 -> .921; disturbed, too, .914 -> .925, .901 -> .909. (With the
search, `hands.Weights.likely` at 5 says .930 and .922 of the last two, and less of real performances: not taken.)
Real pieces are all learned from; from nothing, 300 steps with studies and --real even say .882 of the notes of nine
pieces of other composers, and .920 without Schoenberg, where 2600 without studies said .867 and .935.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from hand_data import Hands, disturbed, drawn_together, mirrored, of_rows, of_study, playable, shaken, two_hands
from metre_data.corpus import Sheet, read_all
from metre_data.sampling import held_out
from metre_data.simulate import bent_time, drawn_bpm, random_style
from metre_data.studies import read_studies
from metre_data.textures import beat_ql
from oracle import piano_scores
from torch import nn

from rescored.evaluate.reading import Written
from rescored.expressive import perform
from rescored.notation import hand_net
from rescored.notation.hand_net import HEADS, HIDDEN, LAYERS, PITCHES, REACH, TIMES, WIDTH
from rescored.notation.hands import struck_at_once

LENGTH, BATCH = 128, 16
NOT_PIANO = ("opus41no1", "bach/")  # quartets, and chorales on two staves, among the corpus' scores


class Reader(nn.Module):
    """The network of `hand_net`, to be trained."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Linear(WIDTH, HIDDEN)
        self.norm1 = nn.ModuleList(nn.LayerNorm(HIDDEN) for _ in range(LAYERS))
        self.norm2 = nn.ModuleList(nn.LayerNorm(HIDDEN) for _ in range(LAYERS))
        self.look = nn.ModuleList(nn.Linear(HIDDEN, 3 * HIDDEN, bias=False) for _ in range(LAYERS))
        self.mix = nn.ModuleList(nn.Linear(HIDDEN, HIDDEN, bias=False) for _ in range(LAYERS))
        self.up = nn.ModuleList(nn.Linear(HIDDEN, 2 * HIDDEN) for _ in range(LAYERS))
        self.down = nn.ModuleList(nn.Linear(2 * HIDDEN, HIDDEN) for _ in range(LAYERS))
        self.place = nn.ParameterList(nn.Parameter(torch.zeros(HEADS, PITCHES * TIMES)) for _ in range(LAYERS))
        self.held = nn.ParameterList(nn.Parameter(torch.zeros(HEADS)) for _ in range(LAYERS))
        self.nobody = nn.ParameterList(nn.Parameter(torch.zeros(HEADS)) for _ in range(LAYERS))
        self.norm, self.out = nn.LayerNorm(HIDDEN), nn.Linear(HIDDEN, 1)
        self.drop = nn.Dropout(0.05)

    def forward(self, x, place, sounds, hidden):  # type: ignore[no-untyped-def]
        x = self.inside(x)
        b, n, _ = x.shape
        for k in range(LAYERS):
            qkv = self.look[k](self.norm1[k](x)).view(b, n, 3, HEADS, HIDDEN // HEADS).permute(2, 0, 3, 1, 4)
            score = qkv[0] @ qkv[1].transpose(2, 3) / (HIDDEN // HEADS) ** 0.5
            score = score + self.place[k][:, place].transpose(0, 1) + self.held[k][:, None, None] * sounds[:, None]
            score = score.masked_fill(hidden[:, None], -1e9)
            nobody = self.nobody[k].view(1, HEADS, 1, 1).expand(b, HEADS, n, 1)
            share = torch.softmax(torch.cat([score, nobody], dim=3), dim=3)[..., :-1]
            x = x + self.drop(self.mix[k]((share @ qkv[2]).transpose(1, 2).reshape(b, n, HIDDEN)))
            x = x + self.drop(self.down[k](torch.relu(self.up[k](self.norm2[k](x)))))
        return self.out(self.norm(x))[..., 0]

    def weights(self) -> dict[str, np.ndarray]:
        """As `hand_net` reads them."""
        return {name: value.detach().numpy() for name, value in self._named().items()}

    def load(self, path: Path) -> None:
        """Go on from weights that were kept; those of a narrower and lower network say the same in this one."""
        with np.load(path) as stored:
            kept = {name: stored[name].astype(np.float32) for name in stored}
        times = HIDDEN // len(kept["norm.bias"])
        with torch.no_grad():
            for name, value in self._named().items():
                if name not in kept:  # of a layer that adds nothing yet
                    value.mul_(float(not name.startswith(("mix", "down"))))
                    continue
                wide = widened(name, kept[name], times)
                uneven = 0.02 * (times > 1) * wide.std() * np.random.default_rng(1).standard_normal(wide.shape)
                value.copy_(torch.from_numpy(wide + uneven))

    def _named(self) -> dict[str, torch.Tensor]:
        out = {"in.weight": self.inside.weight.T, "in.bias": self.inside.bias, "out.weight": self.out.weight.T,
               "out.bias": self.out.bias, "norm.weight": self.norm.weight, "norm.bias": self.norm.bias}
        for k in range(LAYERS):
            for name, norm in (("norm", self.norm1[k]), ("inner", self.norm2[k])):
                out |= {f"{name}{k}.weight": norm.weight, f"{name}{k}.bias": norm.bias}
            for name, layer in (("look", self.look[k]), ("mix", self.mix[k]), ("up", self.up[k]),
                                ("down", self.down[k])):
                out[f"{name}{k}.weight"] = layer.weight.T
                if layer.bias is not None:
                    out[f"{name}{k}.bias"] = layer.bias
            out |= {f"place{k}": self.place[k], f"held{k}": self.held[k], f"nobody{k}": self.nobody[k]}
        return out


def widened(name: str, value: np.ndarray, times: int) -> np.ndarray:
    """Weights for `times` copies of every hidden number and every head, which give what one gave (Chen, Goodfellow
    & Shlens, "Net2Net", ICLR 2016)."""
    if name.startswith(("place", "held", "nobody")) or value.ndim == 1:
        return np.tile(value, (times, *[1] * (value.ndim - 1))) if name != "out.bias" else value
    if name.startswith("look"):  # queries, keys and values side by side
        value = np.concatenate([np.tile(part, (1, times)) for part in np.split(value, 3, axis=1)], axis=1)
    elif name != "out.weight":
        value = np.tile(value, (1, times))
    return value if name == "in.weight" else np.tile(value, (times, 1)) / times


# ---------------------------------------------------------------- examples


def seconds(hands: Hands, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Onsets (chords at once), offsets, pitches and labels, in some tempo and articulation, sorted."""
    pace = 60.0 / float(np.exp(random.uniform(np.log(50), np.log(180))))
    places = np.unique(np.round(hands.onset_ql * 96).astype(int))
    k = np.searchsorted(places, np.round(hands.onset_ql * 96).astype(int))
    drift = np.exp(np.cumsum(random.normal(0.0, 0.02, len(places))))
    times_s = np.concatenate([[0.0], np.cumsum(np.diff(places) / 96 * pace * drift[:-1])])
    held = np.where(hands.left, random.uniform(0.4, 1.1), random.uniform(0.4, 1.1))
    held = np.clip(held + random.normal(0.0, 0.15, len(hands)), 0.1, 1.5)
    onset_s = times_s[k]
    offset_s = onset_s + np.maximum(hands.length_ql * pace * drift[k] * held, 0.03)
    keep = random.random(len(hands)) > (0.0 if random.random() < 0.6 else 0.03)
    order = np.lexsort((hands.pitch, onset_s))
    order = order[keep[order]]
    return onset_s[order], offset_s[order], hands.pitch[order], hands.left[order]


def example(columns: tuple[np.ndarray, ...], random: np.random.Generator) -> tuple[np.ndarray, ...] | None:
    """A stretch of a piece, padded to LENGTH: features, relations, whether they hold on, hidden pairs, labels."""
    onset_s, offset_s, pitch, left = columns
    n = len(pitch)
    a = int(random.integers(0, max(n - LENGTH, 0) + 1))
    onset_s, offset_s, pitch, left = (c[a:a + LENGTH] for c in columns)
    n = len(pitch)
    if n < 16:
        return None
    x = np.zeros((LENGTH, WIDTH), dtype=np.float32)
    x[:n] = hand_net.describe(onset_s, offset_s, pitch)
    i = np.arange(LENGTH)
    hidden = (np.abs(i[:, None] - i) > REACH) | (i >= n)[None, :]
    place, sounds = np.zeros((LENGTH, LENGTH), dtype=np.int64), np.zeros((LENGTH, LENGTH), dtype=np.float32)
    place[:n, :n], sounds[:n, :n] = hand_net.relations(onset_s, offset_s, pitch, i[:n, None], i[None, :n])
    label = np.full(LENGTH, -1.0, dtype=np.float32)
    label[:n] = left
    return x, place, sounds, hidden, label


def performed(
    hands: Hands, sheet: Sheet, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """As `seconds`, of a study that a pianist plays: rubato, rolled chords, notes taken for the next chord's."""
    bar = sheet.bars[len(sheet.bars) // 2]
    bpm = drawn_bpm(sheet.bpm or (60.0, 120.0), random)
    starts_ql = np.array([b.ql for b in sheet.bars])
    played = perform(hands.onset_ql, hands.length_ql, hands.pitch, bpm=bpm, beat_ql=beat_ql(bar),
                     measures_ql=starts_ql, style=random_style(random), seed=int(random.integers(2**31)))
    end_s = float(played.offset_s.max()) + 5.0
    at, bent = bent_time(played.seconds_at(starts_ql), np.unique(played.onset_s), end_s, random)
    onset_s, offset_s = (np.interp(x, at, bent) for x in (played.onset_s, played.offset_s))
    offset_s = onset_s + (offset_s - onset_s) * np.where(hands.left, random.uniform(0.6, 1.1), random.uniform(0.6, 1.1))
    _, chord = np.unique(np.round(hands.onset_ql * 96).astype(int), return_inverse=True)
    if random.random() < 0.5:
        astray = random.random(len(hands)) < random.uniform(0.0, 0.03)
        chord = np.clip(chord + astray * random.choice([-1, 1], len(hands)), 0, chord.max())
        keep = random.random(len(hands)) > random.uniform(0.0, 0.04)
    else:
        keep = np.ones(len(hands), dtype=bool)
    order = np.lexsort((hands.pitch, chord))
    order = order[keep[order]]
    starts = np.flatnonzero(np.append(np.diff(chord[order], prepend=-1) != 0, True))
    times_s = struck_at_once(onset_s[order], starts)
    return times_s, np.maximum(offset_s[order], times_s + 0.02), hands.pitch[order], hands.left[order]


def varied(hands: Hands, random: np.random.Generator) -> Hands:
    """A piece in another key; in half of the cases with disturbances, in some upside down."""
    hands = replace(hands, pitch=hands.pitch + int(random.integers(-6, 7)))
    if random.random() < 0.5:
        hands = playable(disturbed(hands, random), random)
    return mirrored(hands) if random.random() < 0.15 else hands


def of_studies(studies: list[tuple[Hands, Sheet]], random: np.random.Generator) -> list[tuple[np.ndarray, ...]]:
    """Examples of a study, played out or plainly."""
    hands, sheet = studies[int(random.integers(0, len(studies)))]
    if random.random() < 0.6:
        hands = drawn_together(hands, random)
    hands = varied(shaken(hands, random) if random.random() < 0.3 else hands, random)
    played = performed(hands, sheet, random) if random.random() < 0.6 else seconds(hands, random)
    return [e for _ in range(3) if (e := example(played, random))]


def of_scores(
    pieces: list[Hands], few: list[Sheet], many: list[Sheet], random: np.random.Generator
) -> list[tuple[np.ndarray, ...]]:
    """Examples of one of these pieces, if any, or else of what is made of sheets of one or of several parts."""
    if pieces:
        hands: Hands | None = varied(pieces[int(random.integers(0, len(pieces)))], random)
    else:
        hands = two_hands(many if random.random() < 0.45 else few, random)
    if hands is None:
        return []
    played = seconds(hands, random)
    return [e for _ in range(2 if pieces else 3) if (e := example(played, random))]


def real_pieces(cache: Path) -> list[tuple[str, Hands]]:
    """Two-staff scores of music21's corpus, by name."""
    result = []
    for name, score in piano_scores(cache):
        if not any(word in name for word in NOT_PIANO):
            result.append((name, of_score(score)))
    return result


def of_score(score: Written) -> Hands:
    """A two-staff score's notes, the lower staff the left hand's."""
    low = max(n.staff for n in score.notes)
    return of_rows([(n.onset_ql, n.duration_ql, n.pitch, n.staff == low) for n in score.notes])


def composer(name: str) -> str:
    """Who wrote a piece of `real_pieces`."""
    folder = name.split("/")[0]
    return {"k545": "mozart", "opus17": "schumann_clara", "opus19": "schoenberg"}.get(folder, folder)


def measured(net: dict[str, np.ndarray], pieces: list[tuple[str, tuple[np.ndarray, ...]]]) -> list[float]:
    """Share of the notes of every piece whose hand is right, by the network alone."""
    hand_net._weights = lambda: net
    result = []
    for _, (onset_s, offset_s, pitch, left) in pieces:
        result.append(float(np.mean((hand_net.left_odds(onset_s, offset_s, pitch) > 0) == left)))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sheets", type=Path, default=Path("build/sheets.pkl"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, default=Path("build/piano_scores.pkl"))
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--real", choices=("none", "even", "odd", "all"), default="none",
                        help="which composers' two-staff scores are learned from; the others are measured")
    parser.add_argument("--share", type=float, default=0.3, help="of the examples that come from them")
    parser.add_argument("--studies", type=float, default=0.5, help="share of the examples that come from studies")
    parser.add_argument("--begin", type=Path, help="weights to go on from")
    parser.add_argument("--rate", type=float, default=3e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=7, help="another one to go on with other examples")
    parser.add_argument("--out", type=Path, default=Path("build/hand_net.npz"))
    args = parser.parse_args()
    random = np.random.default_rng(args.seed)
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    sheets: list[Sheet] = read_all(args.sheets, args.data / "openewld")
    few = [s for s in sheets if len(np.unique(s.part)) < 2]
    many = [s for s in sheets if len(np.unique(s.part)) > 1 and not _keyboard(s.name)]
    pieces = real_pieces(args.cache)
    composers = sorted({composer(name) for name, _ in pieces})
    chosen = {"none": [], "even": composers[::2], "odd": composers[1::2], "all": composers}[args.real]
    known = [h for name, h in pieces if composer(name) in chosen]
    studies = read_studies()
    held = [(name, seconds(h, np.random.default_rng(1))) for name, h in pieces if composer(name) not in chosen]
    unseen = [(s.name, performed(of_study(s), s, np.random.default_rng(1))) for s in studies if held_out(s.name)]
    harder = [(s.name, performed(varied(drawn_together(of_study(s), random), random), s, random))
              for s in studies if held_out(s.name)]
    learned = [(of_study(s), s) for s in studies if not held_out(s.name)]
    print(len(few), "tunes,", len(many), "scores,", len(known), "piano pieces,", len(learned), "studies; measured on",
          len(held), "pieces,", len(unseen), "studies", flush=True)

    net = Reader()
    if args.begin:
        net.load(args.begin)
    print(sum(p.numel() for p in net.parameters()), "weights")
    optimiser = torch.optim.AdamW(net.parameters(), lr=args.rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, args.rate, total_steps=args.steps, pct_start=0.05)
    pool: list[tuple[np.ndarray, ...]] = []
    began, losses = time.time(), []
    for step in range(1, args.steps + 1):
        while len(pool) < 16 * BATCH:
            if random.random() < args.studies:
                pool += of_studies(learned, random)
            else:
                pool += of_scores(known if random.random() < args.share else [], few, many, random)
        picked = [pool.pop(int(random.integers(0, len(pool)))) for _ in range(BATCH)]
        x, place, sounds, hidden, label = (torch.from_numpy(np.stack(c)) for c in zip(*picked, strict=True))
        odds = net(x, place, sounds, hidden)
        mask = label >= 0
        loss = nn.functional.binary_cross_entropy_with_logits(odds[mask], label[mask] * 0.98 + 0.01)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if step == 1 or step % 250 == 0 or step == args.steps:
            net.eval()
            right = [measured(net.weights(), pieces) for pieces in (unseen, harder, held)]
            net.train()
            print(f"{step} loss {np.mean(losses[-300:]):.3f} studies {np.mean(right[0]):.4f} disturbed "
                  f"{np.mean(right[1]):.4f} pieces {[round(r, 3) for r in right[2]]} {time.time() - began:.0f} s",
                  flush=True)
            args.out.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(args.out, **{k: v.astype(np.float16) for k, v in net.weights().items()})


def _keyboard(name: str) -> bool:
    """Whether a sheet is one of the scores that are measured on, in another form."""
    return any(word in name for word in (
        "k545", "mazurka", "maple", "h186", "polonaise", "opus17/", "dichterliebe", "opus48", "Lindenbaum", "prayer",
        "lift_every", "weber"))


if __name__ == "__main__":
    main()
