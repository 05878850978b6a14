"""Fit the chord finder's network and its transitions: `python tools/train_chords.py --data FOLDER --cache FOLDER`.

FOLDER of `--data` holds `pop909` (songs with chords beat by beat) and `openewld` (lead sheets, under which
accompaniments are laid as metre_data/textures.py makes them). What weighs how much is chosen on songs
that are kept from the fit; the songs of pop909_held_out.txt are only measured, at the end.
"""

from __future__ import annotations

import argparse
import pickle
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from metre_data.corpus import Sheet, sheet_of
from metre_data.textures import beat_ql, with_accompaniment

from rescored.evaluate.reading import PITCH_CLASS
from rescored.hearing.midi import read_midi
from rescored.music import Recording
from rescored.notation import chords
from rescored.notation.chords import KINDS, STATES, SUFFIXES
from rescored.settings import Settings

Song = tuple[np.ndarray, np.ndarray, np.ndarray]  # what is heard, state and place in the measure of every beat
HIDDEN, EPOCHS, BATCH = 40, 15, 512
NONE = STATES - 1
OF_POP909 = {
    "maj": "", "maj6": "", "min": "m", "min6": "m", "minmaj7": "m", "7": "7", "maj7": "maj7", "min7": "m7",
    "dim": "dim", "dim7": "dim", "hdim7": "m7b5", "aug": "aug", "sus4": "sus4", "sus4(b7)": "sus4", "sus2": "sus2"}
OF_MUSIC21 = {
    "major": "", "major-sixth": "", "minor": "m", "minor-sixth": "m", "dominant-seventh": "7", "dominant-ninth": "7",
    "dominant-11th": "7", "dominant-13th": "7", "augmented-seventh": "7", "major-seventh": "maj7",
    "major-ninth": "maj7", "minor-seventh": "m7", "minor-ninth": "m7", "minor-major-seventh": "m", "diminished": "dim",
    "diminished-seventh": "dim", "half-diminished-seventh": "m7b5", "augmented": "aug", "suspended-fourth": "sus4",
    "suspended-second": "sus2", "power": ""}


def state_of(root: int, suffix: str) -> int:
    """The state of a chord."""
    return root % 12 * len(SUFFIXES) + SUFFIXES.index(suffix)


def read_label(label: str) -> int:
    """The state of a chord as pop909 writes it: "Bb:min7/b7", "N"."""
    if label == "N":
        return NONE
    root, _, kind = label.partition(":")
    pitch_class = PITCH_CLASS[root[0]] + root.count("#") - root[1:].count("b")
    return state_of(pitch_class, OF_POP909[kind.partition("/")[0]])


def beats_of(labels: list[tuple[float, float, int]], edges: np.ndarray) -> np.ndarray:
    """The state that lasts longest in every beat."""
    states, most = np.full(len(edges) - 1, NONE), np.zeros(len(edges) - 1)
    for begin, end, state in labels:
        for k in range(max(np.searchsorted(edges, begin, side="right") - 1, 0),
                       min(np.searchsorted(edges, end, side="left"), len(states))):
            lasting = min(end, edges[k + 1]) - max(begin, edges[k])
            if lasting > most[k]:
                most[k], states[k] = lasting, state
    return states


def pop_song(folder: Path) -> Song:
    """A song of pop909 on its annotated beats."""
    played = read_midi(Recording(str(folder / "performance.mid"), folder.name, "midi", ""), settings=Settings().notes)
    rows = np.loadtxt(folder / "beat_midi.txt")
    down = rows[:, 2] > 0.5 if (rows[:, 2] > 0.5).sum() > 8 else rows[:, 1] > 0.5
    times = rows[:, 0]
    inside = (played.onsets_s >= times[0]) & (played.offsets_s < times[-1])
    onset, offset = (np.interp(x[inside], times, np.arange(len(times)))
                     for x in (played.onsets_s, played.offsets_s))
    onset = np.round(onset * 24) / 24  # as if written
    labels = [(float(a), float(b), read_label(label)) for a, b, label in
              (line.split() for line in (folder / "chord_midi.txt").read_text().splitlines())]
    measure = np.cumsum(down)[:-1]
    heard = chords.hear(onset, np.maximum(offset, onset + 1 / 24), played.pitches[inside],
                        np.arange(len(times), dtype=float), measure)
    return heard, beats_of(labels, times), chords.places(measure)


def read_sheets(folder: Path, cache: Path) -> list[tuple[Sheet, list[tuple[float, int]]]]:
    """Lead sheets with their chords as (onset_ql, state); read once and kept in `cache`."""
    import music21 as m21

    if cache.exists():
        return list(pickle.loads(cache.read_bytes()))
    result = []
    for path in sorted(folder.glob("*.mxl")):
        try:
            score = m21.converter.parse(path, forceSource=True)
            sheet = sheet_of(score, path.stem, "lead")
            symbols = [(float(c.offset), state_of(c.root().pitchClass, OF_MUSIC21[c.chordKind]))
                       for c in score.flatten().getElementsByClass(m21.harmony.ChordSymbol)
                       if c.chordKind in OF_MUSIC21]
        except Exception as error:  # a corpus has files that its reader cannot read; they are left out
            print(f"{path.stem}: {error!r}"[:150], file=sys.stderr)
            continue
        if sheet and len(sheet.chords) > 3 and symbols:
            result.append((sheet, symbols))
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_bytes(pickle.dumps(result))
    return result


def sheet_song(sheet: Sheet, symbols: list[tuple[float, int]], chance: np.random.Generator) -> Song:
    """A lead sheet under an accompaniment."""
    piece = with_accompaniment(sheet, chance)
    onset, length, pitch = (np.array([n[i] for n in piece.notes], dtype=float) for i in range(3))
    step = beat_ql(piece.bars[0])
    edges = np.arange(piece.bars[0].ql, max(piece.end_ql, piece.bars[0].ql + 2 * step), step)
    starts = np.array([bar.ql for bar in piece.bars])
    measure = np.maximum(np.searchsorted(starts, edges[:-1] + 1e-6, side="right") - 1, 0)
    ends = [*(at for at, _ in symbols[1:]), piece.end_ql]
    labels = [(at, end, state) for (at, state), end in zip(symbols, ends, strict=True)]
    inside = (onset >= edges[0]) & (onset < edges[-1])
    heard = chords.hear(onset[inside], (onset + length)[inside], pitch[inside].astype(int), edges, measure)
    return heard, beats_of(labels, edges), chords.places(measure)


def fit(songs: list[Song]) -> dict[str, np.ndarray]:
    """The network, by maximum likelihood of each beat's state."""
    heard = torch.tensor(np.concatenate([s[0] for s in songs]).astype(np.float32))
    truth = torch.tensor(np.concatenate([s[1] for s in songs]))
    groups = heard.shape[1]
    sizes = {"w1": (12 * groups, HIDDEN), "b1": (HIDDEN,), "w2": (HIDDEN, len(KINDS)), "b2": (len(KINDS),),
             "none": (groups + 1,)}
    net = {name: (0.1 * torch.randn(size) * (len(size) > 1)).requires_grad_() for name, size in sizes.items()}
    optimiser = torch.optim.Adam(net.values(), weight_decay=1e-5)
    steps = EPOCHS * (len(truth) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=steps)
    for step in range(steps):
        chosen = torch.randint(len(truth), (BATCH,))
        from_roots = torch.stack([torch.roll(heard[chosen], -root, 2) for root in range(12)], 1).flatten(2)
        of_chords = (torch.relu(from_roots @ net["w1"] + net["b1"]) @ net["w2"] + net["b2"]).flatten(1)
        of_none = heard[chosen].sum(2) @ net["none"][1:] + net["none"][0]
        loss = torch.nn.functional.cross_entropy(torch.cat([of_chords, of_none[:, None]], 1), truth[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 200 == 0:
            print(f"step {step} of {steps}: {loss.item():.3f}", flush=True)
    return {name: value.detach().numpy() for name, value in net.items()}


def count(songs: list[Song]) -> dict[str, np.ndarray]:
    """How often chords change at each place of the measure, and to what: the next chord as seen from the root."""
    changes = np.ones((chords.PLACES, 2))
    following = np.full((len(KINDS), 12 * len(KINDS) + 1), 0.5)
    after_none = np.full(len(KINDS), 0.5)
    for _, states, places in songs:
        for before, now, place in zip(states[:-1], states[1:], places[1:], strict=True):
            changes[place, int(now != before)] += 1
            root, kind = divmod(before, len(KINDS))
            if now == before:
                continue
            if before == NONE:
                after_none[now % len(KINDS)] += 1
            elif now == NONE:
                following[kind, -1] += 1
            else:
                following[kind, (now - root * len(KINDS)) % (12 * len(KINDS))] += 1
    return {"change": changes[:, 1] / changes.sum(axis=1),
            "next": np.log(following / following.sum(axis=1, keepdims=True)),
            "after_none": np.log(after_none / after_none.sum() / 12)}


def right(model: dict[str, np.ndarray], songs: list[Song]) -> tuple[float, float]:
    """Mean share of beats whose state, and whose major or minor triad, is right."""
    triad = np.array([0, 1, 0, 0, 1, *[2] * (len(KINDS) - 5)])
    exact, triads = [], []
    for heard, states, places in songs:
        found = chords.decode(heard, places, model)
        same = found == states
        known = (states == NONE) | (triad[states % len(KINDS)] < 2)
        both = same | ((found < NONE) & (states < NONE) & (found // len(KINDS) == states // len(KINDS))
                       & (triad[found % len(KINDS)] == triad[states % len(KINDS)]))
        exact.append(same.mean())
        triads.append(both[known].mean())
    return float(np.mean(exact)), float(np.mean(triads))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    held_out = (Path(__file__).parent / "pop909_held_out.txt").read_text().split()
    folders = sorted(f for f in (args.data / "pop909").iterdir() if f.is_dir())
    learn = [pop_song(f) for f in folders if f.name not in held_out]
    sheets = read_sheets(args.data / "openewld", args.cache / "openewld-chords.pickle")
    chance = np.random.default_rng(0)
    made = [sheet_song(sheet, symbols, chance) for sheet, symbols in sheets]
    fitted = [*(s for i, s in enumerate(learn) if i % 8), *(s for i, s in enumerate(made) if i % 8)]
    judged = {"songs": learn[::8], "lead sheets": made[::8]}
    print(f"{len(learn)} songs, {len(made)} lead sheets; an eighth of them chooses the weights")
    model = fit(fitted) | count(fitted)
    best = 0.0
    for evidence in (0.5, 0.75, 1.0):  # beats that see each other say nothing twice
        for motion in (0.0, 0.3, 0.6, 1.0):
            tried = model | {"weights": np.array([evidence, motion])}
            found = {name: right(tried, songs) for name, songs in judged.items()}
            print(evidence, motion, found, flush=True)
            if (mean := float(np.mean(list(found.values())))) > best:
                best, chosen = mean, tried
    print("chosen", chosen["weights"])
    np.savez_compressed(chords.MODEL, **{name: value.astype(np.float32) for name, value in chosen.items()})
    print("held out, on true beats:", right(chosen, [pop_song(args.data / "pop909" / name) for name in held_out]))


if __name__ == "__main__":
    main()
