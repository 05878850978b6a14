"""A band of our own: songs with true stems, for training and for measuring separation.

Harmony and melody are composed by chance or, for some songs, read from public-domain lead sheets;
drums, bass and accompaniment are patterns; the soundfont in pretty_midi's wheel plays them, and the
voice is sung by a source-filter synthesiser (Fant, "Acoustic theory of speech production", 1960).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.signal import fftconvolve

from rescored.music import Note, Part, Performance
from rescored.output.sound import render

RATE_HZ = 44100
STEMS = ("drums", "bass", "other", "vocals")
Chance = np.random.Generator
Samples = np.ndarray  # (2, n) float32

CHORDS = {"": (0, 4, 7), "m": (0, 3, 7), "7": (0, 4, 7, 10), "m7": (0, 3, 7, 10), "maj7": (0, 4, 7, 11),
          "sus": (0, 5, 7)}
PROGRESSIONS = (  # degrees above the tonic, with the chord on each
    ((0, ""), (7, ""), (9, "m"), (5, "")), ((0, ""), (9, "m"), (5, ""), (7, "7")), ((2, "m7"), (7, "7"), (0, "maj7")),
    ((9, "m"), (5, ""), (0, ""), (7, "")), ((0, "m"), (10, ""), (8, ""), (7, "7")),
    ((0, "7"), (5, "7"), (0, "7"), (7, "7")), ((0, "m"), (5, "m"), (7, "7"), (0, "m")),
    ((0, ""), (5, ""), (10, ""), (5, "")), ((0, ""), (0, ""), (5, "sus"), (7, "")),
)
ACCOMPANISTS = (*range(14), *range(16, 24), *range(24, 32), *range(24, 32), *range(40, 52), *range(56, 96),
                104, 105, 108)  # General MIDI, 0-based; guitars twice
# Formants of sung vowels, Hz, and their bandwidths (after Peterson & Barney 1952)
VOWELS = ((730, 1090, 2440, 3400), (570, 840, 2410, 3300), (440, 1020, 2240, 3300), (300, 870, 2240, 3200),
          (530, 1840, 2480, 3500), (390, 1990, 2550, 3600), (270, 2290, 3010, 3700), (660, 1720, 2410, 3400))
BANDWIDTHS = (80, 90, 120, 160)


@dataclass(frozen=True)
class Song:
    """Chords (start_s, end_s, root, intervals) and a melody of (start_s, end_s, pitch)."""

    beat_s: float
    beats_in_bar: int
    chords: tuple[tuple[float, float, int, tuple[int, ...]], ...]
    melody: tuple[tuple[float, float, int], ...]


def compose(chance: Chance, seconds: float) -> Song:
    """A progression in some key, and a melody that walks through its chords."""
    beat_s, beats_in_bar = 60 / chance.uniform(66, 172), int(chance.choice([4, 4, 4, 3]))
    bar_s, tonic = beat_s * beats_in_bar, int(chance.integers(12))
    progression = PROGRESSIONS[chance.integers(len(PROGRESSIONS))]
    chords = []
    for bar in range(int(seconds / bar_s) + 1):
        degree, kind = progression[bar % len(progression)]
        chords.append((bar * bar_s, (bar + 1) * bar_s, (tonic + degree) % 12, CHORDS[kind]))
    melody, now, pitch = [], 0.0, int(chance.integers(55, 72))
    while now < seconds:
        length = beat_s * float(chance.choice([0.5, 0.5, 1, 1, 1.5, 2, 3]))
        chord = chords[min(int(now / bar_s), len(chords) - 1)]
        if chance.random() < 0.82:
            near = [p for p in range(pitch - 7, pitch + 8) if (p - chord[2]) % 12 in chord[3] or chance.random() < 0.15]
            pitch = int(np.clip(chance.choice(near) if near else pitch, 48, 79))
            melody.append((now, now + length * chance.uniform(0.75, 0.98), pitch))
        now += length
    return Song(beat_s, beats_in_bar, tuple(chords), tuple(melody))


def read_lead_sheet(path: Path, chance: Chance, seconds: float) -> Song:
    """A stretch of a lead sheet (MusicXML), at a tempo by chance."""
    from music21 import converter, harmony

    flat = converter.parse(path).flatten()
    beat_s = 60 / chance.uniform(70, 160)
    shift = int(chance.integers(-3, 4))
    marks = [c for c in flat.getElementsByClass(harmony.ChordSymbol) if c.pitches]
    notes = [n for n in flat.notes if not isinstance(n, harmony.ChordSymbol)]
    if not marks or not notes:
        return compose(chance, seconds)
    first = float(chance.choice([float(n.offset) for n in notes[: max(1, len(notes) // 2)]]))
    chords = []
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        start = (float(mark.offset) - first) * beat_s
        end = (float(following.offset) - first) * beat_s if following else start + 8 * beat_s
        if end > 0 and start < seconds and end > start:
            root = mark.root().pitchClass
            intervals = tuple(sorted({(p.pitchClass - root) % 12 for p in mark.pitches}))
            chords.append((max(start, 0.0), end, (root + shift) % 12, intervals))
    melody = [((float(n.offset) - first) * beat_s, (float(n.offset + n.quarterLength) - first) * beat_s - 0.02,
               int(np.clip(max(p.midi for p in n.pitches) + shift - 5, 45, 84))) for n in notes if n.quarterLength > 0]
    melody = [m for m in melody if 0 <= m[0] < seconds and m[1] > m[0] + 0.03]
    if not chords or not melody:
        return compose(chance, seconds)
    metre = flat.getTimeSignatures()[0].numerator if flat.getTimeSignatures() else 4
    return Song(beat_s, 3 if metre in (3, 6, 9) else 4, tuple(chords), tuple(melody))


# ---------------------------------------------------------------- the players


def _played(
    notes: list[tuple[float, float, int, float]], program: int, seconds: float, *, drums: bool = False
) -> Samples:
    part = Part("x", "x", program=program, percussion=drums)
    heard = tuple(
        Note(str(i), max(start, 0.0), max(end, start + 0.02, 0.02), pitch, int(np.clip(velocity, 1, 127)), part="x")
        for i, (start, end, pitch, velocity) in enumerate(notes) if start < seconds)
    n = int(seconds * RATE_HZ)
    if not heard:
        return np.zeros((2, n), dtype=np.float32)
    return render(Performance(heard, (part,), duration_s=seconds), RATE_HZ).samples[:, :n]


def play_drums(song: Song, chance: Chance, seconds: float) -> Samples:
    """A pattern of sixteenths, repeated with variations and fills."""
    step_s, steps = song.beat_s / 4, song.beats_in_bar * 4
    kick, snare = int(chance.choice([35, 36])), int(chance.choice([38, 38, 40, 37, 39]))
    time_keeper = int(chance.choice([42, 42, 44, 51, 59, 46, 70, 54]))
    every = int(chance.choice([1, 2, 2, 2, 4]))
    strong = {0, steps // 2} if chance.random() < 0.7 else {0}
    kicks = chance.random(steps) < np.where(np.isin(np.arange(steps), list(strong)), 0.95, 0.12)
    snares = np.array([(s // 4) % 2 == 1 and s % 4 == 0 for s in range(steps)]) | (chance.random(steps) < 0.05)
    if chance.random() < 0.15:  # one drop: the bass drum falls with the snare
        kicks = snares.copy()
    notes, swing = [], chance.choice([0.0, 0.0, 0.0, 0.33]) * step_s
    for bar in range(int(seconds / (steps * step_s)) + 1):
        fill = chance.random() < 0.2
        for s in range(steps):
            at = (bar * steps + s) * step_s + (swing if s % 2 else 0) + chance.normal(0, 0.004)
            if fill and s >= steps - 4:
                tom = int(chance.choice([41, 43, 45, 47, 48, 50, snare]))
                notes.append((at, at + 0.2, tom, chance.uniform(70, 120)))
                continue
            if kicks[s] != (chance.random() < 0.03):
                notes.append((at, at + 0.2, kick, chance.uniform(85, 125)))
            if snares[s] != (chance.random() < 0.03):
                notes.append((at, at + 0.2, snare, chance.uniform(80, 125) if snares[s] else chance.uniform(25, 60)))
            if s % every == 0:
                opened = time_keeper == 42 and chance.random() < 0.08
                notes.append((at, at + 0.2, 46 if opened else time_keeper, chance.uniform(45, 100)))
        if chance.random() < 0.2:
            at = bar * steps * step_s
            notes.append((at, at + 1, int(chance.choice([49, 57, 55])), chance.uniform(70, 115)))
    return _played(notes, int(chance.choice([0, 0, 8, 16, 24, 25, 32, 40])), seconds, drums=True)


def play_bass(song: Song, chance: Chance, seconds: float) -> Samples:
    """Roots, octaves, a walk through the chord, or syncopation."""
    manner, notes = chance.choice(["roots", "eighths", "walk", "syncopated"]), []
    low = int(chance.integers(28, 36))
    for start, end, root, intervals in song.chords:
        base = low + (root - low) % 12
        step_s = song.beat_s * {"roots": 2, "eighths": 0.5, "walk": 1, "syncopated": 0.5}[manner]
        for k, at in enumerate(np.arange(start, end - 0.02, step_s)):
            if manner == "syncopated" and chance.random() < 0.45 and k:
                continue
            pitch = base + (int(chance.choice(intervals)) if manner == "walk" and k else 0)
            pitch += 12 * (chance.random() < 0.1) + 7 * (manner == "roots" and chance.random() < 0.15)
            notes.append((at, at + step_s * chance.uniform(0.5, 0.98), pitch, chance.uniform(75, 120)))
    return _played(notes, int(chance.integers(32, 40)), seconds)


def play_accompaniment(song: Song, chance: Chance, seconds: float) -> Samples:
    """One to three instruments: held, struck, off the beat or broken chords; sometimes a solo line."""
    sound = np.zeros((2, int(seconds * RATE_HZ)), dtype=np.float32)
    for _ in range(int(chance.choice([1, 1, 2, 2, 3]))):
        manner, notes = chance.choice(["held", "struck", "offbeat", "broken", "line"]), []
        if manner == "line":
            shift = int(chance.choice([0, 7, 12, -12]))
            notes = [(a, b, p + shift, chance.uniform(60, 115)) for a, b, p in song.melody]
        else:
            middle = int(chance.integers(50, 66))
            for start, end, root, intervals in song.chords:
                pitches = [middle + (root + i - middle) % 12 for i in intervals]
                struck = float(chance.choice([0.5, 1, 2]))
                step_s = song.beat_s * {"held": 16, "struck": struck, "offbeat": 1, "broken": 0.5}[manner]
                for k, at in enumerate(np.arange(start, end - 0.02, step_s)):
                    at += song.beat_s / 2 if manner == "offbeat" else 0.0
                    length = min(step_s, end - at) * (0.35 if manner == "offbeat" else chance.uniform(0.6, 1.0))
                    for j, pitch in enumerate([pitches[k % len(pitches)]] if manner == "broken" else pitches):
                        notes.append((at + 0.012 * j, at + max(length, 0.05), pitch, chance.uniform(55, 105)))
        sound += _played(notes, int(chance.choice(ACCOMPANISTS)), seconds) * chance.uniform(0.4, 1.0)
    return sound


def sing(song: Song, chance: Chance, seconds: float) -> Samples:
    """The melody sung: gliding, vibrating harmonics through the formants of changing vowels, with consonants."""
    n = int(seconds * RATE_HZ)
    hop = 441
    frames = n // hop + 2
    shift = int(chance.choice([0, 0, 12, -12])) + int(chance.integers(-2, 3))
    size = chance.uniform(0.9, 1.0) if shift < 6 else chance.uniform(1.05, 1.2)  # of the formants: man or woman
    pitch, loud, breath = np.full(frames, np.nan), np.zeros(frames), np.zeros(frames)
    formants = np.zeros((frames, 4))
    for start, end, note in song.melody:
        a, b = int(start * 100), min(int(end * 100), frames)
        if b - a < 3:
            continue
        vowels = [VOWELS[chance.integers(len(VOWELS))] for _ in range(2)]
        mix = np.clip(np.linspace(-0.5, 1.5, b - a), 0, 1)[:, None]
        formants[a:b] = size * ((1 - mix) * np.array(vowels[0]) + mix * np.array(vowels[1]))
        pitch[a:b] = note + shift + chance.normal(0, 0.12)
        rise = np.minimum(np.arange(b - a) / 5.0, 1) * np.minimum(np.arange(b - a)[::-1] / 8.0, 1)
        loud[a:b] = rise * chance.uniform(0.6, 1.0) * (1 - 0.3 * np.linspace(0, 1, b - a))
        if chance.random() < 0.6:
            breath[max(a - int(chance.integers(4, 12)), 0) : a + 1] = chance.uniform(0.05, 0.4)
    if np.isnan(pitch).all():
        return np.zeros((2, n), dtype=np.float32)
    known = ~np.isnan(pitch)
    pitch = np.interp(np.arange(frames), np.flatnonzero(known), pitch[known])
    pitch = np.convolve(np.pad(pitch, 4, "edge"), np.hanning(9) / np.hanning(9).sum(), "same")[4:-4]
    pitch += chance.uniform(0.1, 0.5) * np.sin(2 * np.pi * chance.uniform(4.8, 6.3) * np.arange(frames) / 100) * loud
    pitch += np.convolve(chance.normal(0, 0.25, frames), np.ones(8) / 8, "same")
    for f in range(4):
        silent = formants[:, f] == 0
        formants[silent, f] = np.interp(np.flatnonzero(silent), np.flatnonzero(~silent), formants[~silent, f])
        formants[:, f] = np.convolve(np.pad(formants[:, f], 4, "edge"), np.ones(9) / 9, "same")[4:-4]
    f0 = 440 * 2 ** ((pitch - 69) / 12)
    at = np.arange(n) / hop
    phase = 2 * np.pi * np.cumsum(np.interp(at, np.arange(frames), f0)) / RATE_HZ
    tilt, voice = chance.uniform(0.7, 1.4), np.zeros(n)
    for k in range(1, min(int(9000 / f0.min()), 60)):
        gain = _formant_gain(k * f0, formants) * k**-tilt * loud * (k * f0 < 12000)
        if gain.max() > 1e-3:
            voice += np.interp(at, np.arange(frames), gain) * np.sin(k * phase)
    hiss = np.diff(chance.normal(size=n + 1))
    voice = voice / (np.abs(voice).max() + 1e-9) + np.interp(at, np.arange(frames), 0.3 * breath + 0.01 * loud) * hiss
    return np.stack([voice, voice]).astype(np.float32)


def _formant_gain(hz: np.ndarray, formants: np.ndarray) -> np.ndarray:
    gain = np.zeros(len(hz))
    for f, width in enumerate(BANDWIDTHS):
        gain += (0.75**f) / (1 + ((hz - formants[:, f]) / width) ** 2)
    return gain + 0.01


def sing_in_choir(song: Song, chance: Chance, seconds: float) -> Samples:
    """General MIDI's choirs, on the melody or on the chords."""
    if chance.random() < 0.5:
        notes = [(a, b, p, chance.uniform(70, 110)) for a, b, p in song.melody]
    else:
        notes = [(a, b - 0.03, 60 + (root + i) % 12, chance.uniform(60, 100))
                 for a, b, root, intervals in song.chords for i in intervals]
    return _played(notes, int(chance.choice([52, 53, 54])), seconds)


# ---------------------------------------------------------------- the studio


def produce(sound: Samples, chance: Chance, *, place: float) -> Samples:
    """Tone, room, drive and place between the speakers."""
    n = sound.shape[1]
    spectrum = np.fft.rfft(sound)
    hz = np.fft.rfftfreq(n, 1 / RATE_HZ)
    for _ in range(2):
        centre, width, gain_db = 2 ** chance.uniform(6, 13.5), chance.uniform(0.5, 2.0), chance.uniform(-6, 6)
        bump = np.exp(-((np.log2(np.maximum(hz, 1) / centre) / width) ** 2))
        spectrum *= 10 ** (gain_db / 20 * bump)
    sound = np.fft.irfft(spectrum, n)
    if chance.random() < 0.6:
        tail_s = chance.uniform(0.15, 1.4)
        t = np.arange(int(tail_s * RATE_HZ)) / RATE_HZ
        room = chance.normal(size=(2, len(t))) * np.exp(-6.9 * t / tail_s)
        room /= np.sqrt((room**2).sum(axis=1, keepdims=True))
        sound = sound + chance.uniform(0.05, 0.4) * fftconvolve(sound, room, axes=1)[:, :n]
    sound = sound / (np.abs(sound).max() + 1e-9)
    if chance.random() < 0.3:
        drive = chance.uniform(1, 4)
        sound = np.tanh(drive * sound) / np.tanh(drive)
    side = chance.normal(0, place)
    left, right = np.cos((side + 1) * np.pi / 4), np.sin((side + 1) * np.pi / 4)
    return np.stack([sound[0] * left, sound[1] * right]).astype(np.float32)


def record(song: Song, chance: Chance, seconds: float) -> np.ndarray:
    """The stems of a song, shape (4, 2, n), in the order of `STEMS`, each at its own level."""
    voice = sing_in_choir if chance.random() < 0.15 else sing
    stems = [
        produce(play_drums(song, chance, seconds), chance, place=0.05),
        produce(play_bass(song, chance, seconds), chance, place=0.02),
        produce(play_accompaniment(song, chance, seconds), chance, place=0.35),
        produce(voice(song, chance, seconds), chance, place=0.05),
    ]
    levels = 10 ** (np.array([-16, -17, -18, -16]) / 20)  # root mean square that each is brought to
    for stem, level in zip(stems, levels, strict=True):
        stem *= level * 10 ** (chance.normal(0, 3) / 20) / (np.sqrt((stem**2).mean()) + 1e-6)
    return np.stack(stems)
