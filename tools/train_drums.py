"""Fit rescored/hearing/transcribe/drums.npz on grooves that are made here; see `--help`.

    python tools/train_drums.py [--soundfont FluidR3_GM.sf2] [--grooves 160]

Kits are those of the soundfonts (the one in pretty_midi's wheel, and any that are named) and drums
made from scratch: swept sines, noise, metallic partials. Grooves are patterns of chance, with swing,
ghost notes, fills and strokes at random; the studio adds rattling snares, rooms, tone, compression,
noise and what separation leaves of other instruments. Kits of the grooves held out are in no other.
Prints the F1 of each drum on those, and the thresholds that were best for them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pretty_midi
import tinysoundfont
import torch
from scipy.signal import butter, fftconvolve, sosfilt

sys.path.insert(0, str(Path(__file__).parents[1]))

from rescored.hearing.transcribe import drums

RATE_HZ, SECONDS = drums.RATE_HZ, 6.0
RINGS = int(1.1 * RATE_HZ)  # samples of a stroke
BANK = 128  # of percussion
KITS = (0, 1, 8, 16, 24, 25, 32, 40)
# General MIDI keys that sound each drum; others, which are no note of the score, teach what is none
KEYS = {
    drums.KICK: (35, 36), drums.SNARE: (38, 40), drums.CLOSED: (42, 44), drums.OPEN: (46,), drums.LOW_TOM: (41, 43),
    drums.MIDDLE_TOM: (45, 47), drums.HIGH_TOM: (48, 50), drums.RIDE: (51, 53, 59), drums.CRASH: (49, 57, 55),
}
OTHERS = (37, 39, 54, 56, 70, 75)
Chance = np.random.Generator
Kit = dict[int, list[np.ndarray]]  # key in General MIDI (or drum) -> ways it sounds, soft to loud


# ---------------------------------------------------------------- kits


def sampled(synth: tinysoundfont.Synth, font: int, preset: int) -> Kit:
    """The strokes of a kit in a soundfont at two strengths."""
    synth.program_select(9, font, BANK, preset, True)
    kit: Kit = {}
    for drum, keys in (*KEYS.items(), *((k, (k,)) for k in OTHERS)):
        for key in keys:
            for velocity in (60, 115):
                synth.noteon(9, key, velocity)
                sound = np.frombuffer(synth.generate(RINGS), dtype=np.float32).reshape(-1, 2).mean(axis=1)
                synth.sounds_off(9)
                synth.generate(RATE_HZ // 20)
                if np.abs(sound).max() > 1e-4:
                    kit.setdefault(drum, []).append(sound)
    return kit


def made(chance: Chance) -> Kit:
    """A kit from scratch."""
    n = RINGS
    t = np.arange(n) / RATE_HZ

    def fall(seconds: float) -> np.ndarray:
        return np.exp(-6.9 * t / seconds)

    def swept(hz: float, from_hz: float, seconds: float) -> np.ndarray:
        glide = hz + (from_hz - hz) * np.exp(-t / chance.uniform(0.01, 0.04))
        return np.sin(2 * np.pi * np.cumsum(glide) / RATE_HZ + chance.uniform(0, 6)) * fall(seconds)

    def noise(low_hz: float, high_hz: float, seconds: float) -> np.ndarray:
        sos = butter(2, [low_hz, min(high_hz, 20000)], "bandpass", fs=RATE_HZ, output="sos")
        sound = sosfilt(sos, chance.normal(size=n))
        return sound / (np.abs(sound).max() + 1e-9) * fall(seconds)

    def metal(low_hz: float, high_hz: float, count: int, seconds: float) -> np.ndarray:
        hz = np.exp(chance.uniform(np.log(low_hz), np.log(high_hz), count))
        ringing = sum(np.sin(2 * np.pi * f * t + chance.uniform(0, 6)) for f in hz)
        return np.asarray(ringing) / count * fall(seconds)

    u = chance.uniform
    plate, bright = u(4000, 7500), u(11000, 18000)
    tom = u(65, 110)
    kit: Kit = {}
    for strength in (0.5, 1.0):
        def add(drum: int, sound: np.ndarray, strength: float = strength) -> None:
            kit.setdefault(drum, []).append((strength * sound / (np.abs(sound).max() + 1e-9)).astype(np.float32))

        base = u(42, 75)
        add(drums.KICK, swept(base, base * u(2, 6), u(0.15, 0.6))
            + u(0.05, 0.5) * noise(800, u(3000, 9000), u(0.01, 0.04)))
        shell = u(150, 260)
        add(drums.SNARE, u(0.3, 1) * swept(shell, shell * u(1.1, 1.6), u(0.08, 0.25))
            + u(0.2, 0.6) * swept(shell * u(1.5, 1.9), shell * 2, u(0.06, 0.15))
            + u(0.4, 1.2) * noise(u(500, 2500), u(8000, 16000), u(0.1, 0.4)))
        for drum, times in ((drums.LOW_TOM, 1.0), (drums.MIDDLE_TOM, u(1.25, 1.5)), (drums.HIGH_TOM, u(1.7, 2.2))):
            add(drum, swept(tom * times, tom * times * u(1.2, 2), u(0.25, 0.9))
                + u(0.05, 0.4) * noise(500, u(3000, 8000), u(0.02, 0.08)))
        for drum, seconds in ((drums.CLOSED, u(0.04, 0.2)), (drums.OPEN, u(0.5, 1.5))):
            add(drum, noise(plate, bright, seconds) + u(0, 1) * metal(plate * 0.6, 14000, 14, seconds))
        add(drums.RIDE, metal(u(2000, 4000), 13000, 24, u(0.8, 2.5)) + u(0.1, 0.5) * noise(5000, 15000, u(0.4, 1.5))
            + u(0.1, 0.8) * metal(2500, 6000, 4, u(0.2, 0.8)))
        add(drums.CRASH, (noise(u(400, 2500), 17000, u(1.0, 3.0)) + u(0, 1) * metal(500, 12000, 40, u(1, 3)))
            * (1 - np.exp(-t / u(0.001, 0.008))))
        add(37, noise(u(800, 1500), u(2500, 5000), u(0.02, 0.06)))
        add(39, noise(900, 4000, u(0.05, 0.2)) * (1 + (np.sin(2 * np.pi * 90 * t) > 0) * (t < 0.03)))
        add(54, metal(5000, 14000, 10, u(0.1, 0.3)))
    return kit


# ---------------------------------------------------------------- grooves

Stroke = tuple[float, int, float]  # time_s, drum, strength 0..1


def groove(chance: Chance) -> list[Stroke]:
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
    other = int(chance.choice(OTHERS))
    density[other] = chance.choice([0, 0, 0.1, 0.4])
    pattern = {drum: chance.random(steps) < p for drum, p in density.items()}
    if chance.random() < 0.5:  # every second or fourth step, as time keepers do
        keeper = drums.CLOSED if chance.random() < 0.75 else drums.RIDE
        pattern[keeper] = np.arange(steps) % chance.choice([1, 2, 4]) == 0
    if chance.random() < 0.5:  # a backbeat
        pattern[drums.SNARE] = np.arange(steps) % max(steps // 2, 1) == steps // 4
    accents = chance.uniform(0.35, 1, (steps, 1))
    swing, loose_s = chance.choice([0, 0, 0.2, 0.33]) * step_s, chance.uniform(0, 0.012)
    strokes: list[Stroke] = []
    for k in range(int((SECONDS - 0.3) / step_s)):
        s, fill = k % steps, chance.random() < 0.06
        for drum, hits in pattern.items():
            struck = hits[s] != (chance.random() < 0.04 * (density[drum] > 0))
            if fill and drum in (drums.LOW_TOM, drums.MIDDLE_TOM, drums.HIGH_TOM, drums.SNARE):
                struck = chance.random() < 0.4
            if struck:
                ghost = 0.3 if drum == drums.SNARE and not hits[s] else 1.0
                at = 0.1 + k * step_s + swing * (s % 2) + chance.normal(0, loose_s)
                strokes.append((max(at, 0.02), drum, float(accents[s, 0] * chance.uniform(0.7, 1) * ghost)))
    return sorted(strokes)


def record(strokes: list[Stroke], kit: Kit, chance: Chance) -> np.ndarray:
    """The groove on a kit, through the studio: mono samples."""
    n = int(SECONDS * RATE_HZ)
    tracks: dict[int, np.ndarray] = {}
    level = {drum: 10 ** (chance.normal(0, 5) / 20) for drum in (*drums.DRUMS, *OTHERS)}
    for drum in (drums.CLOSED, drums.OPEN, drums.RIDE):
        level[drum] *= 10 ** (chance.uniform(-14, 0) / 20)
    tuning = {drum: chance.uniform(0.85, 1.18) for drum in level}
    hats = [at for at, drum, _ in strokes if drum == drums.CLOSED]
    for at, drum, strength in strokes:
        ways = kit.get(drum)
        if not ways:
            continue
        way = ways[int(np.clip(chance.normal(strength * len(ways), 0.7), 0, len(ways) - 1))]
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


def example(kit: Kit, chance: Chance) -> tuple[np.ndarray, np.ndarray, list[Stroke]]:
    """Bands, how much each drum is struck in each frame (0..1), and the strokes."""
    strokes = [s for s in groove(chance) if s[1] in kit]
    spectrum = drums.bands(record(strokes, kit, chance))
    target = np.zeros((len(spectrum), len(drums.DRUMS)), dtype=np.float32)
    for at, drum, _ in strokes:
        if drum in drums.DRUMS:
            frame, column = at * RATE_HZ / drums.HOP, drums.DRUMS.index(drum)
            for t in range(int(frame) - 2, int(frame) + 4):
                target[t, column] = max(target[t, column], np.clip(1.35 - 0.55 * abs(t - frame), 0, 1))
    return spectrum, target, strokes


def fit(made_of: list[tuple[np.ndarray, np.ndarray, list[Stroke]]], passes: int) -> dict[str, np.ndarray]:
    """The weights of the network, as drums.py reads them."""
    torch.manual_seed(0)
    x = torch.from_numpy(np.concatenate([drums.in_context(s) for s, *_ in made_of]).astype(np.float16))
    y = torch.from_numpy(np.concatenate([t for _, t, _ in made_of]))
    layers = [torch.nn.Linear(x.shape[1], 96), torch.nn.Linear(96, 64), torch.nn.Linear(64, y.shape[1])]
    parameters = [p for layer in layers for p in layer.parameters()]
    steps = passes * (len(x) // 512 + 1)
    learn = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=1e-2)
    slower = torch.optim.lr_scheduler.OneCycleLR(learn, 4e-3, total_steps=steps)
    for number in range(passes):
        total = 0.0
        for rows in torch.randperm(len(x)).split(512):
            h = x[rows].float()
            h = h + 0.25 * torch.randn(len(h), 1)  # as loud or soft as any
            h = torch.nn.functional.dropout(torch.relu(layers[0](h)), 0.1)
            out = layers[2](torch.nn.functional.dropout(torch.relu(layers[1](h)), 0.1))
            loss = torch.nn.functional.binary_cross_entropy_with_logits(out, y[rows])
            learn.zero_grad()
            loss.backward()
            learn.step()
            slower.step()
            total += loss.item() * len(rows)
        print(f"pass {number + 1}: {total / len(x):.4f}", flush=True)
    return {f"{name}.{kind}": getattr(layer, kind).detach().numpy().T.astype(np.float16)
            for name, layer in zip(("first", "second", "last"), layers, strict=True) for kind in ("weight", "bias")}


def onset_f1(truth: list[float], found: np.ndarray) -> tuple[int, int, int]:
    """Matched within 50 ms, in truth, found."""
    free, hits = sorted(found.tolist()), 0
    for t in truth:
        near = [f for f in free if abs(f - t) <= 0.05]
        if near:
            free.remove(min(near, key=lambda f: abs(f - t)))
            hits += 1
    return hits, len(truth), len(found)


def main() -> None:
    """Make grooves, fit, choose thresholds on kits held out, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--soundfont", type=Path, nargs="*", default=[], help="more kits than the wheel's")
    parser.add_argument("--grooves", type=int, default=160)
    parser.add_argument("--passes", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(1)
    chance = np.random.default_rng(0)
    fonts = [Path(pretty_midi.__file__).parent / "TimGM6mb.sf2", *options.soundfont]
    kits = []
    for path in fonts:
        synth = tinysoundfont.Synth(samplerate=RATE_HZ, gain=0)
        font = synth.sfload(str(path))
        kits += [kit for preset in KITS if len(kit := sampled(synth, font, preset)) > 9]
    kits += [made(chance) for _ in range(options.grooves // 4)]
    kits = [kits[i] for i in chance.permutation(len(kits))]
    print(len(kits), "kits", flush=True)
    kept = len(kits) * 7 // 8
    examples = [example(kits[chance.integers(kept)], chance) for _ in range(options.grooves)]
    print("made", flush=True)
    weights = fit(examples, options.passes)
    drums.WEIGHTS.unlink(missing_ok=True)
    np.savez_compressed(drums.WEIGHTS, **weights, threshold=np.full(len(drums.DRUMS), 0.5, np.float16))
    held = [example(kits[chance.integers(kept, len(kits))], chance) for _ in range(options.grooves // 5)]
    threshold = np.zeros(len(drums.DRUMS), dtype=np.float16)
    likely = [drums.odds(spectrum) for spectrum, *_ in held]
    for k, drum in enumerate(drums.DRUMS):
        scores = []
        for level in np.arange(0.15, 0.8, 0.05):
            counts = [onset_f1([at for at, d, _ in strokes if d == drum],
                               drums.peaks(p[:, k], level) * drums.HOP / RATE_HZ)
                      for p, (_, _, strokes) in zip(likely, held, strict=True)]
            hits, true, found = np.sum(counts, axis=0)
            scores.append((2 * hits / max(true + found, 1), level))
        best, threshold[k] = max(scores)
        print(f"drum {drum}: F1 {best:.3f} at {threshold[k]:.2f}")
    np.savez_compressed(drums.WEIGHTS, **weights, threshold=threshold)
    print(drums.WEIGHTS.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
