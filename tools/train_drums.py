"""Fit rescored/hearing/transcribe/drums.npz on grooves that are made here; see `--help`.

    python tools/train_drums.py [--soundfont FluidR3_GM.sf2 ...] [--kit FOLDER ...] [--held-out FOLDER ...]
    python tools/train_drums.py --in-mix ...

Kits are those of the soundfonts (the one in pretty_midi's wheel, and any that are named), folders of
samples, and drums made from scratch: swept sines, noise, metallic partials. Every source counts the
same, however many kits it has: those of a soundfont are much alike. Grooves are what drummers play (a
time keeper, a backbeat, fills over the toms into a crash), or patterns of chance, with swing, ghost notes
and strokes at random; the studio adds rattling snares, rooms, tone, compression, noise and what separation
leaves of other instruments. `--in-mix` fits drums_in_mix.npz instead: a band plays along (tools/drum_mixes.py),
some of it without drums, and what is heard is the drum stem that the separator that ships makes of the mix, beside
the mix; it goes on from drums.npz, three times, and takes the mean of the weights (Wortsman et al., "Model soups",
ICML 2022). Those that ship came from 520, 670 and 770 grooves. Prints precision, recall and F1 of each drum on what
drummers play, on the kits held out, which are in no other, with thresholds that were best for other grooves on them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pretty_midi
import torch
from drum_kits import OTHERS, RATE_HZ, Chance, Kit, in_folder, in_soundfont, made
from drum_mixes import Backing, backing, drum_stem, mixed
from scipy.signal import butter, fftconvolve, sosfilt

sys.path.insert(0, str(Path(__file__).parents[1]))

from rescored.hearing.transcribe import drums

SECONDS = 6.0
BEGIN_S = 0.1  # of the groove
NO_DRUMS = 0.1  # share of the songs

# ---------------------------------------------------------------- grooves

Stroke = tuple[float, int, float]  # time_s, drum, strength 0..1


DOWN = drums.TOMS[::-1]  # a fill goes down the toms
KIT = (*drums.DRUMS, drums.LOW_TOM, drums.HIGH_TOM, *OTHERS)


def played(chance: Chance, beat_s: float = 0.0) -> list[Stroke]:
    """What drummers play: measures of sixteen steps, the last of them, and others now and then, with a fill.

    `beat_s`: of the song that it belongs to; 0 = any.
    """
    step_s = (beat_s or 60 / chance.uniform(80, 165)) / 4
    measures = max(int((SECONDS - 0.8) / (16 * step_s)), 1)
    keeper = chance.choice([drums.CLOSED, drums.CLOSED, drums.RIDE])
    every = int(chance.choice([2, 4] if keeper == drums.RIDE else [1, 2, 2, 2, 4]))
    kick = (chance.random(16) < 0.25) & (np.arange(16) % 2 == 0)
    kick[0] = True
    backbeat = drums.STICK if chance.random() < 0.15 else drums.SNARE
    opened = int(chance.choice([-1, -1, 6, 7, 14, 15]))
    loose_s = chance.uniform(0.001, 0.006)
    strokes: list[Stroke] = []
    for k in range(measures * 16):
        measure, s = divmod(k, 16)
        at = BEGIN_S + k * step_s

        def strike(drum: int, strength: float, at: float = at) -> None:
            strokes.append((max(at + chance.normal(0, loose_s), 0.02), int(drum), strength))

        if s == 0:
            fill_from = int(chance.choice([4, 8, 12])) if measure == measures - 1 or chance.random() < 0.15 else 16
            crash = chance.random() < (0.7 if measure == 0 else 0.3)
            if crash:
                strike(drums.CRASH if chance.random() < 0.9 else drums.OPEN, 0.95)
        strength = chance.uniform(0.8, 1) if s % 4 == 0 else chance.uniform(0.5, 0.9)
        if s >= fill_from:  # down the toms
            if chance.random() < 0.75:
                place = int((s - fill_from) / (16 - fill_from) * 3 + chance.uniform(-0.5, 0.8))
                strike(DOWN[min(max(place, 0), 2)] if chance.random() < 0.75 else drums.SNARE, strength)
            if s % 4 == 0 and chance.random() < 0.5:
                strike(drums.KICK, strength)
            continue
        if kick[s] != (chance.random() < 0.04):
            strike(drums.KICK, strength)
        if s in (4, 12):
            strike(backbeat, 0.9)
        elif chance.random() < 0.05:
            strike(drums.SNARE, 0.3)
        if s % every == 0 and not (s == 0 and crash):
            strike(drums.OPEN if s == opened and keeper == drums.CLOSED else keeper, 0.8 * strength)
        if chance.random() < 0.01:
            strike(int(chance.choice(OTHERS)), strength)
    return sorted(strokes)


def by_chance(chance: Chance) -> list[Stroke]:
    """A pattern of some metre, repeated with variations, or strokes at random."""
    step_s = 60 / chance.uniform(62, 190) / chance.choice([2, 4, 4, 4, 3])
    steps = int(chance.choice([8, 12, 16, 16, 16]))
    density = {
        drums.KICK: chance.uniform(0.1, 0.45), drums.SNARE: chance.uniform(0.05, 0.35),
        drums.CLOSED: chance.choice([0, 0.3, 0.6, 0.9, 1]), drums.OPEN: chance.choice([0, 0, 0.1, 0.3, 0.6]),
        drums.RIDE: chance.choice([0, 0, 0, 0.4, 0.8]), drums.CRASH: chance.choice([0, 0.03, 0.08]),
        drums.LOW_TOM: chance.choice([0, 0.03, 0.2]), drums.MIDDLE_TOM: chance.choice([0, 0.03, 0.2]),
        drums.HIGH_TOM: chance.choice([0, 0.03, 0.2]),
    }
    density[drums.STICK] = chance.choice([0, 0, 0.1, 0.25])
    other = int(chance.choice(OTHERS))
    density[other] = chance.choice([0, 0, 0.1, 0.4])
    pattern = {drum: chance.random(steps) < p for drum, p in density.items()}
    if chance.random() < 0.5:  # every second or fourth step, as time keepers do
        keeper = drums.CLOSED if chance.random() < 0.75 else drums.RIDE
        pattern[keeper] = np.arange(steps) % chance.choice([1, 2, 4]) == 0
    if chance.random() < 0.5:  # a backbeat
        backbeat = drums.SNARE if chance.random() < 0.8 else drums.STICK
        pattern[backbeat] = np.arange(steps) % max(steps // 2, 1) == steps // 4
        if chance.random() < 0.15:  # one drop: the bass drum falls on it
            pattern[drums.KICK] = pattern[backbeat].copy()
    accents = chance.uniform(0.35, 1, (steps, 1))
    swing, loose_s = chance.choice([0, 0, 0.2, 0.33]) * step_s, chance.uniform(0, 0.012)
    strokes: list[Stroke] = []
    for k in range(int((SECONDS - 0.3) / step_s)):
        s, fill = k % steps, chance.random() < 0.06
        for drum, hits in pattern.items():
            struck = hits[s] != (chance.random() < 0.04 * (density[drum] > 0))
            if fill and drum in (*drums.TOMS, drums.SNARE):
                struck = chance.random() < 0.4
            if struck:
                ghost = 0.3 if drum == drums.SNARE and not hits[s] else 1.0
                at = BEGIN_S + k * step_s + swing * (s % 2) + chance.normal(0, loose_s)
                strokes.append((max(at, 0.02), drum, float(accents[s, 0] * chance.uniform(0.7, 1) * ghost)))
    return sorted(strokes)


def set_up(sources: list[list[Kit]], chance: Chance, own_share: float) -> dict[int, list[np.ndarray]]:
    """One instrument for every drum, most from one kit."""
    def one() -> Kit:
        kits = sources[chance.integers(len(sources))]
        return kits[chance.integers(len(kits))]

    own = one()
    result = {}
    for drum in KIT:
        kit = own if drum in own and chance.random() < own_share else one()
        if drum in kit:
            result[drum] = kit[drum][chance.integers(len(kit[drum]))]
    return result


def record(strokes: list[Stroke], kit: dict[int, list[np.ndarray]], chance: Chance, uneven_db: float) -> np.ndarray:
    """The groove on a kit, through the studio: mono samples. `uneven_db`: how much drums differ in level."""
    n = int(SECONDS * RATE_HZ)
    tracks: dict[int, np.ndarray] = {}
    level = {drum: 10 ** (chance.normal(0, uneven_db) / 20) for drum in KIT}
    for drum in (drums.CLOSED, drums.OPEN, drums.RIDE):
        level[drum] *= 10 ** (chance.uniform(-14, 0) / 20)
    tuning = {drum: chance.uniform(0.85, 1.18) for drum in level}
    tuning[drums.SNARE] = chance.uniform(0.8, 1.5)  # up to a piccolo's
    toms = chance.uniform(0.8, 1.3)
    tuning |= {drum: toms * chance.uniform(0.95, 1.05) for drum in drums.TOMS}
    hats = [at for at, drum, _ in strokes if drum == drums.CLOSED]
    for at, drum, strength in strokes:
        ways = kit.get(drum)
        if not ways:
            continue
        way = ways[int(np.clip(chance.normal(strength * len(ways) - 0.5, 0.7), 0, len(ways) - 1))]
        sound = np.interp(np.arange(0, len(way), tuning[drum]), np.arange(len(way)), way)
        sound *= strength * level[drum] / (np.abs(way).max() + 1e-9)
        if drum == drums.OPEN and (after := [h for h in hats if h > at]):  # the pedal closes it
            sound[int((after[0] - at) * RATE_HZ) :] *= 0.02
        begin = round(at * RATE_HZ)
        track = tracks.setdefault(drum, np.zeros(n))
        track[begin : begin + len(sound)] += sound[: n - begin]
    mix = np.asarray(sum(tracks.values(), np.zeros(n)))
    if chance.random() < 0.6 and drums.KICK in tracks:  # the snare rattles with the others
        envelope = sosfilt(butter(1, 12, fs=RATE_HZ, output="sos"), np.abs(mix - tracks.get(drums.SNARE, 0)))
        mix = mix + chance.uniform(0.02, 0.2) * envelope * sosfilt(
            butter(2, [1500, 9000], "bandpass", fs=RATE_HZ, output="sos"), chance.normal(size=n))
    if chance.random() < 0.8:
        tail_s = chance.uniform(0.1, 1.2)
        t = np.arange(int(tail_s * RATE_HZ)) / RATE_HZ
        room = chance.normal(size=len(t)) * np.exp(-6.9 * t / tail_s)
        room = sosfilt(butter(1, chance.uniform(2500, 12000), fs=RATE_HZ, output="sos"), room)
        mix = mix + chance.uniform(0.03, 0.5) * fftconvolve(mix, room / np.linalg.norm(room))[:n]
    spectrum, hz = np.fft.rfft(mix), np.fft.rfftfreq(n, 1 / RATE_HZ)
    for _ in range(3):
        centre, width, gain_db = 2 ** chance.uniform(5.5, 13.8), chance.uniform(0.5, 2.5), chance.uniform(-9, 9)
        spectrum *= 10 ** (gain_db / 20 * np.exp(-((np.log2(np.maximum(hz, 1) / centre) / width) ** 2)))
    if chance.random() < 0.4:  # as lossy codecs do
        spectrum[hz > chance.uniform(11000, 17000)] = 0
    mix = np.fft.irfft(spectrum, n)
    mix /= np.abs(mix).max() + 1e-9
    if chance.random() < 0.6:
        envelope = sosfilt(butter(1, chance.uniform(4, 40), fs=RATE_HZ, output="sos"), np.abs(mix))
        mix = mix / (np.maximum(envelope, 0) + chance.uniform(0.03, 0.3)) ** chance.uniform(0.2, 0.7)
        mix /= np.abs(mix).max() + 1e-9
    if chance.random() < 0.4:
        drive = chance.uniform(1, 5)
        mix = np.tanh(drive * mix) / np.tanh(drive)
    if chance.random() < 0.5:  # what separation leaves of the others
        mix = mix + 10 ** (chance.uniform(-40, -18) / 20) * others(n, chance)
    return (mix + 10 ** (chance.uniform(-85, -50) / 20) * chance.normal(size=n)).astype(np.float32)


def others(n: int, chance: Chance) -> np.ndarray:
    """Tones that come and go."""
    t, sound = np.arange(n) / RATE_HZ, np.zeros(n)
    for _ in range(20):
        begin, length, hz = chance.uniform(0, SECONDS), chance.uniform(0.2, 1.5), 2 ** chance.uniform(5.5, 10)
        a, b = int(begin * RATE_HZ), min(int((begin + length) * RATE_HZ), n)
        for k in range(1, 7):
            sound[a:b] += np.sin(2 * np.pi * k * hz * t[a:b]) / k * np.exp(-2 * (t[a:b] - begin))
    return sound / (np.abs(sound).max() + 1e-9)


# ---------------------------------------------------------------- fitting


Example = tuple[np.ndarray, np.ndarray, list[Stroke]]


def kind_of(drum: int) -> int:
    """What the network calls it: every tom is one."""
    return drums.MIDDLE_TOM if drum in drums.TOMS else drum


def example(
    sources: list[list[Kit]], chance: Chance, drummers: float = 0.6, songs: Sequence[Backing] = ()
) -> Example:
    """Bands, how much each drum is struck in each frame (0..1), and the strokes.

    `drummers`: the share of what drummers play, on their own kits, against patterns of chance on any drums.
    `songs`: of which one sounds along; the bands are those of the drum stem made of the mix, and of the mix.
    """
    real = chance.random() < drummers
    kit = set_up(sources, chance, 1.0 if drummers == 1 else 0.9 if real else 0.7)
    song = songs[chance.integers(len(songs))] if songs else None
    beat_s = song.beat_s if song and chance.random() < 0.8 else 0.0
    strokes = [s for s in (played(chance, beat_s) if real else by_chance(chance)) if s[1] in kit]
    sound = record(strokes, kit, chance, 2.5 if real else 5.0)
    if song:
        if chance.random() < NO_DRUMS:
            strokes, sound = [], np.zeros_like(sound)
        mix = mixed(sound, song.cut(SECONDS, BEGIN_S, chance), chance)
        spectrum = np.concatenate([drums.bands(drum_stem(mix)), drums.bands(mix.mean(axis=0))], axis=1)
    else:
        spectrum = drums.bands(sound)
    target = np.zeros((len(spectrum), len(drums.DRUMS)), dtype=np.float32)
    for at, drum, _ in strokes:
        if (drum := kind_of(drum)) in drums.DRUMS:
            frame, column = at * RATE_HZ / drums.HOP, drums.DRUMS.index(drum)
            for t in range(int(frame) - 2, min(int(frame) + 4, len(target))):
                target[t, column] = max(target[t, column], np.clip(1.35 - 0.55 * abs(t - frame), 0, 1))
    return spectrum, target, strokes


SELDOM = (drums.MIDDLE_TOM, drums.RIDE, drums.CRASH, drums.OPEN, drums.STICK)  # strokes that count three times


class Net(torch.nn.Module):
    """The network that drums.py computes, of so many facts a frame."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        width = drums.WIDTH
        self.first = torch.nn.Conv1d(inputs, width, 5, padding=2)
        self.later = torch.nn.ModuleList(
            torch.nn.Conv1d(width, width, 3, padding=d, dilation=d) for d in drums.DILATIONS)
        self.mix = torch.nn.Conv1d(width, width, 1)
        self.last = torch.nn.Conv1d(width, len(drums.DRUMS), 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Log-odds (batch, drums, frames) of facts (batch, facts, frames)."""
        x = torch.relu(self.first(x))
        for layer in self.later:
            x = x + torch.relu(layer(torch.nn.functional.dropout(x, 0.05, self.training)))
        return self.last(torch.relu(self.mix(x)))


def seen_anew(x: torch.Tensor) -> torch.Tensor:
    """Facts (batch, facts, frames) as other tones, levels and sizes of the drums would give them."""
    all_bands = x.unflatten(1, (-1, drums.BANDS))
    if shift := int(torch.randint(-1, 2, ())):
        padded = torch.nn.functional.pad(all_bands, (0, 0, 1, 1), mode="replicate")
        all_bands = padded[:, :, 1 - shift :][:, :, : drums.BANDS]
    octaves = torch.linspace(-1, 1, drums.BANDS)[:, None]
    tone = torch.randn(3, len(x), 1, 1, 1)
    levels, below_peak = all_bands.chunk(2, dim=1)
    levels = levels + 0.15 * tone[0] + 0.12 * tone[1] * octaves + 0.1 * tone[2] * octaves**2
    return torch.cat([levels, below_peak], dim=1).flatten(1, 2)


def fit(
    examples: list[Example], passes: int, start: dict[str, np.ndarray] | None = None, seed: int = 0, batch: int = 16,
    frames: int = 301,
) -> dict[str, np.ndarray]:
    """The weights of the network, as drums.py reads them; `start`: those of a net that hears true stems, to go on from.

    What that saw of the stem, a net for rough ones at first sees of the stem and the mix alike.
    """
    torch.manual_seed(seed)
    shortest = min(len(s) for s, *_ in examples)
    x = torch.from_numpy(np.stack([drums.facts(s)[:shortest].T for s, *_ in examples]))
    y = torch.from_numpy(np.stack([t[:shortest].T for _, t, _ in examples]))
    seldom = [drums.DRUMS.index(drum) for drum in SELDOM]
    net, a_pass = Net(x.shape[1]), 2 * len(x) // batch
    if start:
        tensors = {name: torch.from_numpy(value.astype(np.float32)) for name, value in start.items()}
        first = tensors["first.weight"].unflatten(1, (2, 1, drums.BANDS)) / 2
        tensors["first.weight"] = first.expand(-1, -1, 2, -1, -1).flatten(1, 3)
        net.load_state_dict({name: value.permute(2, 1, 0) if value.dim() == 3 else value
                             for name, value in tensors.items() if name != "threshold"})
    learn = torch.optim.AdamW(net.parameters(), weight_decay=1e-2)
    slower = torch.optim.lr_scheduler.OneCycleLR(
        learn, 2e-3 if start else 5e-3, total_steps=passes * a_pass, pct_start=0.2)
    for number in range(passes):
        total = 0.0
        for rows in torch.cat([torch.randperm(len(x)) for _ in range(2)])[: a_pass * batch].split(batch):
            begin = int(torch.randint(0, shortest - frames + 1, ()))
            truth = y[rows, :, begin : begin + frames]
            out = net(seen_anew(x[rows, :, begin : begin + frames]))
            wrong = torch.nn.functional.binary_cross_entropy_with_logits(out, truth, reduction="none")
            loss = (wrong * (1 + 2 * truth[:, seldom].amax(1, keepdim=True))).mean()
            learn.zero_grad()
            loss.backward()
            learn.step()
            slower.step()
            total += loss.item()
        print(f"pass {number + 1}: {total / a_pass:.4f}", flush=True)
    return {name: (value.permute(2, 1, 0) if value.dim() == 3 else value).numpy().astype(np.float16)
            for name, value in net.state_dict().items()}


def onset_f1(truth: list[float], found: np.ndarray) -> tuple[int, int, int]:
    """Matched within 50 ms, in truth, found."""
    free, hits = sorted(found.tolist()), 0
    for t in truth:
        near = [f for f in free if abs(f - t) <= 0.05]
        if near:
            free.remove(min(near, key=lambda f: abs(f - t)))
            hits += 1
    return hits, len(truth), len(found)


def sources_of(paths: list[Path]) -> list[list[Kit]]:
    """The kits of soundfonts and folders."""
    return [list(in_soundfont(path)) or list(in_soundfont(path, 0)) if path.is_file() else [in_folder(path)]
            for path in paths]


def choose_thresholds(held: list[Example], ear: drums.Ear) -> np.ndarray:
    """The threshold of every drum with the best F1; the closed hi-hat's is that of what keeps time."""
    threshold = np.zeros(len(drums.DRUMS), dtype=np.float16)
    likely = [drums.odds(spectrum, ear.weights) for spectrum, *_ in held]
    for k, drum in enumerate(drums.DRUMS):
        scores, wanted = [], (drums.CLOSED, drums.RIDE) if drum == drums.CLOSED else (drum,)
        columns = [drums.DRUMS.index(d) for d in wanted]
        for level in np.arange(0.1, 0.9, 0.05):
            counts = [onset_f1([at for at, d, _ in strokes if kind_of(d) in wanted],
                               drums.peaks(drums.any_of(p[:, columns]), level) * drums.HOP / RATE_HZ)
                      for p, (_, _, strokes) in zip(likely, held, strict=True)]
            hits, true, found = np.sum(counts, axis=0)
            scores.append((2 * hits / max(true + found, 1), level))
        _, threshold[k] = max(scores)
    print("thresholds", dict(zip(drums.DRUMS, np.round(threshold, 2).tolist(), strict=True)), flush=True)
    return threshold


def measure(held: list[Example], ear: drums.Ear) -> None:
    """Print precision, recall and F1 of every drum, toms apart and together."""
    threshold = drums.weights(ear.weights)["threshold"]
    heard = [drums.strokes(spectrum, drums.odds(spectrum, ear.weights), threshold) for spectrum, *_ in held]
    names = {**{str(d): (d,) for d in sorted({*drums.DRUMS, *drums.TOMS})}, "toms": drums.TOMS,
             "hi-hats": (drums.CLOSED, drums.OPEN), "keepers": drums.KEEPERS}
    for name, wanted in names.items():
        counts = [onset_f1([at for at, d, _ in strokes if d in wanted],
                           np.array([n.onset_s for n in notes if n.pitch in wanted]))
                  for notes, (_, _, strokes) in zip(heard, held, strict=True)]
        hits, true, found = np.sum(counts, axis=0)
        print(f"{name:>7}: {true:4} struck, {found:4} heard, precision {hits / max(found, 1):.3f}, "
              f"recall {hits / max(true, 1):.3f}, F1 {2 * hits / max(true + found, 1):.3f}", flush=True)


def main() -> None:
    """Make grooves, fit, choose thresholds on kits held out, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--soundfont", type=Path, nargs="*", default=[], help="more kits than the wheel's")
    parser.add_argument("--kit", type=Path, nargs="*", default=[], help="folders of samples, one kit each")
    parser.add_argument("--held-out", type=Path, nargs="*", default=[], help="kits to choose thresholds with")
    parser.add_argument("--measured-on", type=Path, nargs="*", default=[], help="kits to measure with, in no training")
    parser.add_argument("--measure", action="store_true", help="only measure the weights that are there")
    parser.add_argument("--in-mix", action="store_true", help="in whole songs that were taken apart")
    parser.add_argument("--band", type=Path, nargs="*", default=[], help="soundfonts that the band plays on, too")
    parser.add_argument("--band-held-out", type=Path, help="the soundfont of the songs to measure with")
    parser.add_argument("--grooves", type=int, default=1500)
    parser.add_argument("--passes", type=int, default=12)
    options = parser.parse_args()
    torch.set_num_threads(1)
    ear, chance = drums.ROUGH if options.in_mix else drums.CLEAN, np.random.default_rng(1)

    def songs(count: int, *soundfonts: Path | None) -> list[Backing]:
        return [backing(chance, soundfonts[k % len(soundfonts)]) for k in range(count if options.in_mix else 0)]

    other_songs = songs(24, options.band_held_out)
    choosing = sources_of(options.held_out) or [[made(chance)] for _ in range(20)]
    measuring = sources_of(options.measured_on) or choosing
    if not options.measure:
        wheel = Path(pretty_midi.__file__).parent / "TimGM6mb.sf2"
        sources = [*sources_of([wheel, *options.soundfont, *options.kit]), [made(chance) for _ in range(12)]]
        own_songs = songs(options.grooves // 12, None, *options.band)
        print(f"{len(sources)} sources, {len(choosing)} held out", flush=True)
        examples = [example(sources, chance, songs=own_songs) for _ in range(options.grooves)]
        held = [example(choosing, chance, 1.0 if options.in_mix else 0.6, other_songs) for _ in range(120)]
        print("made", flush=True)
        start = dict(drums.weights(drums.CLEAN.weights)) if options.in_mix else None
        fits = [fit(examples, options.passes, start, seed) for seed in range(3 if options.in_mix else 1)]
        weights = {name: np.mean([f[name] for f in fits], axis=0, dtype=np.float32).astype(np.float16)
                   for name in fits[0]}
        file = Path(drums.__file__).with_name(ear.weights)
        np.savez_compressed(file, **weights, threshold=np.full(len(drums.DRUMS), 0.5, np.float16))
        drums.weights.cache_clear()
        np.savez_compressed(file, **weights, threshold=choose_thresholds(held, ear))
        drums.weights.cache_clear()
        print(file.stat().st_size, "bytes")
    measure([example(measuring, chance, 1.0, other_songs) for _ in range(90)], ear)  # grooves that chose nothing


if __name__ == "__main__":
    main()
