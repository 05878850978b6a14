"""Fit the weights of rescored/hearing/transcribe/note_odds.py on music that is rendered here; see `--help`.

    python tools/train_note_odds.py --data FOLDER [--clips 96]

FOLDER holds `openewld` and `pop909`; music21 brings its own corpus. Tunes, string parts and piano
arrangements are performed (tempo that wanders, rolled chords), played by strings, winds, guitars and
keyboards of the soundfont (swelling attacks, vibrato), put into a room, detuned and given some noise.
Every rise in Basic Pitch's posteriors is then a note's begin or not: a logistic regression, all clips
of equal weight. Prints the F1 on clips that were held out, and the weights to write into the module.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pretty_midi
import scipy.signal
import soxr
import tinysoundfont
from music21 import converter, corpus
from sklearn.linear_model import LogisticRegression

sys.path.insert(0, str(Path(__file__).parents[1]))

from rescored.hearing.transcribe import note_odds
from rescored.hearing.transcribe.basic_pitch import FRAME_S, LOWEST, RATE_HZ, posteriors
from rescored.stage import silent

SOUND_HZ = 44100
CLIP_S = 22.0
SAME_S = 0.06  # a rise this near to a note's onset, after a constant lag, is its begin
SOLO = (40, 73, 65, 53, 42, 71, 56, 68)  # violin, flute, saxophone, voice, cello, clarinet, trumpet, oboe
STRINGS = (40, 40, 40, 41, 42, 73, 65, 22)
CHORDAL = (24, 25, 48, 4, 26, 24, 0, 16)  # guitars, string ensemble, electric piano, piano, organ
PARTS = (
    *(f"bach/bwv{n}" for n in ("1.6", "101.7", "102.7", "103.6", "104.6", "108.6", "11.6", "110.7")),
    "haydn/opus74no1/movement1", "haydn/opus74no1/movement3", "haydn/opus1no1/movement2",
    "mozart/k155/movement1", "mozart/k155/movement2", "mozart/k80/movement1", "mozart/k458/movement1",
    "beethoven/opus18no1/movement1", "beethoven/opus59no1/movement1", "corelli/opus3no1/1grave",
)
Notes = list[tuple[float, float, int, int]]  # onset_s, offset_s, pitch, velocity


def written(score, parts: list[int]) -> list[tuple[float, float, int]]:
    """Notes of some parts in quarter lengths: onset, duration, pitch."""
    return [
        (float(n.offset), float(n.quarterLength), p.midi)
        for i in parts if i < len(score.parts)
        for n in score.parts[i].flatten().stripTies().notes
        if "Symbol" not in type(n).__name__ and not n.duration.isGrace
        for p in n.pitches
    ]


def perform(notes: list[tuple[float, float, int]], rng: np.random.Generator, *, rolled: bool) -> Notes:
    """At a tempo that wanders, ends more or less detached; chords from the lowest note up if rolled."""
    grid = np.arange(0, max(a + d for a, d, _ in notes) + 1, 0.25)
    drift = np.clip(np.exp(np.cumsum(rng.normal(0, 0.009, len(grid)))), 0.75, 1.3)
    seconds = np.concatenate([[0.0], np.cumsum(15 / (rng.uniform(75, 150) * drift))[:-1]])
    held, roll_s = rng.uniform(0.85, 1.03), rng.uniform(0, 0.06) if rolled else 0.0
    played = []
    for onset, duration, pitch in notes:
        below = sum(p < pitch for a, _, p in notes if a == onset)
        begin, end = np.interp([onset, onset + duration * held], grid, seconds)
        begin = max(begin + below * roll_s + rng.normal(0, 0.012), 0.0)
        played.append((begin, max(end, begin + 0.06), pitch, int(np.clip(rng.normal(80, 12), 35, 120))))
    return played


def clip(notes: Notes) -> Notes:
    """The first `CLIP_S`; a key that is struck again ends first."""
    last: dict[int, int] = {}
    kept: Notes = []
    for begin, end, pitch, velocity in sorted(n for n in notes if n[0] < CLIP_S):
        if pitch in last:
            before = kept[last[pitch]]
            if begin - before[0] < 0.08:
                continue
            kept[last[pitch]] = (before[0], min(before[1], begin - 0.005), *before[2:])
        last[pitch] = len(kept)
        kept.append((begin + 0.3, end + 0.3, pitch, velocity))
    return kept


def sound(notes: Notes, program: int, rng: np.random.Generator, *, bowed: bool) -> np.ndarray:
    """Mono at 44.1 kHz, every note on a channel of its own; bowed notes swell and may have vibrato."""
    synth = tinysoundfont.Synth(samplerate=SOUND_HZ, gain=0)
    font = synth.sfload(str(Path(pretty_midi.__file__).parent / "TimGM6mb.sf2"))
    free = {c: 0.0 for c in range(16) if c != 9}
    for channel in free:
        synth.program_select(channel, font, 0, program, False)
    swell_s, vibrato = (float(rng.choice([0, 0.03, 0.08, 0.12])), rng.random() < 0.7) if bowed else (0.0, False)
    events: list[tuple[float, int, int, int, int]] = []
    for begin, end, pitch, velocity in notes:
        channel = min(free, key=lambda c: free[c])
        free[channel] = end + 0.4
        events += [(begin, 2, channel, pitch, velocity), (end, 0, channel, pitch, 0)]
        if swell_s:
            attack_s = swell_s * rng.uniform(0.5, 1.5)
            events += [(begin + attack_s * x, 1, channel, 11, round(40 + 87 * x)) for x in np.linspace(0, 1, 12)]
        if vibrato and end - begin > 0.25:
            depth, hz = rng.uniform(400, 1800), rng.uniform(4.5, 7)
            events += [(t, 3, channel, round(8192 + depth * np.sin(2 * np.pi * hz * (t - begin))), 0)
                       for t in np.arange(begin + 0.12, end, 0.012)]
            events.append((end + 0.2, 3, channel, 8192, 0))
    chunks, now = [], 0
    for time_s, kind, channel, a, b in [*sorted(events), (max(n[1] for n in notes) + 1, 0, 0, 0, 0)]:
        if (frame := round(time_s * SOUND_HZ)) > now:
            chunks.append(np.frombuffer(synth.generate(frame - now), dtype=np.float32))
            now = frame
        call = (synth.noteoff, synth.control_change, synth.noteon, synth.pitchbend)[kind]
        call(*((channel, a) if kind in (0, 3) else (channel, a, b)))
    return np.concatenate(chunks).reshape(-1, 2).mean(axis=1)


def recorded(dry: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """In a room, with noise, and out of tune: samples at `RATE_HZ`, and by how much they run faster."""
    echo = np.exp(-6.9 * np.linspace(0, 1, round(rng.uniform(0.3, 2.5) * SOUND_HZ)))
    echo = scipy.signal.lfilter(*scipy.signal.butter(1, rng.uniform(3000, 8000), fs=SOUND_HZ),
                                echo * rng.normal(size=len(echo)))
    wet = scipy.signal.fftconvolve(dry, echo / np.linalg.norm(echo))[: len(dry)]
    samples = dry / np.abs(dry).max() + max(rng.uniform(-0.2, 0.7), 0) * wet / np.abs(dry).max()
    samples += rng.normal(0, 10 ** (rng.uniform(-70, -45) / 20), len(samples))
    faster = 2 ** (rng.uniform(-30, 30) / 1200)
    return soxr.resample(samples / np.abs(samples).max() / 1.3, SOUND_HZ * faster, RATE_HZ).astype(np.float32), faster


def clips(data: Path, count: int, rng: np.random.Generator) -> Iterator[tuple[Notes, int, bool]]:
    """(notes, program, bowed): tunes, string parts and piano arrangements in turn."""
    tunes = sorted((data / "openewld").rglob("*.mxl"))
    songs = sorted((data / "pop909").rglob("performance.mid"))
    rng.shuffle(tunes)
    rng.shuffle(songs)
    for i in range(count):
        if i % 6 == 0:
            midi = pretty_midi.PrettyMIDI(str(songs[i // 6]))
            played = [(n.start - 30, n.end - 30, n.pitch, n.velocity)
                      for part in midi.instruments for n in part.notes if n.start > 30]
            yield clip(played), CHORDAL[i // 6 % 8], False
        elif i % 2:
            score = corpus.parse(PARTS[i // 2 % len(PARTS)])
            parts = list(range(int(rng.choice([1, 2, 2, 3]))))
            yield clip(perform(written(score, parts), rng, rolled=rng.random() < 0.5)), int(rng.choice(STRINGS)), True
        else:
            program = SOLO[i // 2 % 8]
            up = {42: -12, 73: 12}.get(program, 0)
            tune = [(a, d, p + up) for a, d, p in written(converter.parse(tunes[i]), [0])]
            yield clip(perform(tune, rng, rolled=False)), program, rng.random() < 0.5


def labelled(notes: Notes, samples: np.ndarray, faster: float) -> tuple[np.ndarray, np.ndarray]:
    """Facts of every rise, and whether it begins a note: the strongest rise near each note of its key does."""
    frame, key, facts = note_odds.rises(*posteriors(samples, silent))
    onsets = np.array([n[0] / faster for n in notes])
    pitches = np.array([n[2] for n in notes])
    at = frame * FRAME_S
    sure = np.flatnonzero(facts[:, 0] > 0.4)
    near = [at[i] - t for t, p in zip(onsets, pitches, strict=True) for i in sure
            if key[i] + LOWEST == p and abs(at[i] - t) < 0.15]
    lag = float(np.median(near)) if near else 0.0
    begins = np.zeros(len(at), dtype=bool)
    for t, p in zip(onsets, pitches, strict=True):
        here = np.flatnonzero((key + LOWEST == p) & (np.abs(at - lag - t) < SAME_S))
        if len(here):
            begins[here[facts[here, 0].argmax()]] = True
    return facts, begins


def main() -> None:
    """Make the clips, fit on three quarters and print how the rest is read, then fit on all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=96)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    made = []
    for notes, program, bowed in clips(options.data, options.clips, rng):
        if len(notes) >= 15:
            made.append(labelled(notes, *recorded(sound(notes, program, rng, bowed=bowed), rng)))
            print(f"\r{len(made)} clips", end="", flush=True)

    def fit(some: list[tuple[np.ndarray, np.ndarray]]) -> LogisticRegression:
        weights = np.concatenate([np.full(len(y), 1 / max(y.sum(), 1)) for _, y in some])
        facts, begins = (np.concatenate(column) for column in zip(*some, strict=True))
        return LogisticRegression(C=100.0, max_iter=2000).fit(facts, begins, weights * len(weights) / weights.sum())

    held = made[::4]
    model = fit([clip for i, clip in enumerate(made) if i % 4])
    for threshold in (0.15, 0.2, 0.25, 0.3, 0.4):
        scores = []
        for facts, begins in held:
            taken = model.predict_proba(facts)[:, 1] >= threshold
            scores.append(2 * (taken & begins).sum() / max(taken.sum() + begins.sum(), 1))
        print(f"\nheld out, F1 of begins at {threshold}: {np.mean(scores):.3f}", end="")
    model = fit(made)
    print("\nWEIGHTS =", np.round(model.coef_[0], 3).tolist(), "\nBIAS =", round(float(model.intercept_[0]), 3))


if __name__ == "__main__":
    main()
