"""Drum kits to train on and to measure with: soundfonts, folders of samples, and drums made from scratch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import soundfile
import tinysoundfont
from scipy.signal import butter, sosfilt

sys.path.insert(0, str(Path(__file__).parents[1]))

from rescored.hearing.resample import resample
from rescored.hearing.transcribe import drums

RATE_HZ = drums.RATE_HZ
RINGS = int(1.1 * RATE_HZ)  # samples of a stroke
BANK = 128  # of percussion
KITS = (*range(20), 24, 25, *range(32, 37), 40, 41, 42)
STRENGTHS = (30, 60, 90, 120)  # velocities that soundfonts are struck with
# General MIDI keys that sound each drum; others, which are no note of the score, teach what is none
KEYS = {
    drums.KICK: (35, 36), drums.STICK: (37,), drums.SNARE: (38, 40), drums.CLOSED: (42, 44), drums.OPEN: (46,),
    drums.LOW_TOM: (41, 43), drums.MIDDLE_TOM: (45, 47), drums.HIGH_TOM: (48, 50), drums.RIDE: (51, 53, 59),
    drums.CRASH: (49, 57, 55),
}
OTHERS = (39, 54, 56, 70, 75)
# Words in the names that makers of kits give their drums; the first that fits counts
WORDS = (
    (drums.STICK, ("stick", "rim click", "side")), (39, ("clap",)), (54, ("tambourine",)), (56, ("cowbell", "agogo")),
    (drums.CRASH, ("crash", "splash", "china")), (drums.RIDE, ("ride",)),
    (drums.KICK, ("kick", "bass drum", "bassdrum", "drum_bass", "bd_")), (drums.SNARE, ("snare", "sn_")),
    (drums.OPEN, ("open", "cymbal_open")), (drums.CLOSED, ("closed", "hh", "hi-hat", "hat", "pedal")),
    (drums.LOW_TOM, ("floor", "tom low", "low tom", "tom_lo", "tom 3")),
    (drums.MIDDLE_TOM, ("tom mid", "middle tom", "tom_mid", "tom 2")), (drums.HIGH_TOM, ("tom",)),
)
Chance = np.random.Generator
Kit = dict[int, list[list[np.ndarray]]]  # drum (or other key in General MIDI) -> instruments -> strokes, soft to loud


def in_soundfont(path: Path, bank: int = BANK) -> Iterator[Kit]:
    """The kits of a soundfont, each drum struck at `STRENGTHS`; none twice."""
    synth = tinysoundfont.Synth(samplerate=RATE_HZ, gain=0)
    font = synth.sfload(str(path))
    seen = set()
    for preset in KITS:
        try:
            synth.program_select(9, font, bank, preset, bank == BANK)
        except RuntimeError:  # there is no such preset
            continue
        kit: Kit = {}
        for drum, keys in (*KEYS.items(), *((k, (k,)) for k in OTHERS)):
            for key in keys:
                strokes = [_struck(synth, key, velocity) for velocity in STRENGTHS]
                if np.abs(strokes[-1]).max() > 1e-4:
                    kit.setdefault(drum, []).append(strokes)
        same = tuple(round(float(np.abs(ways[0][-1]).sum()), 1) for ways in kit.values())
        if len(kit) > 6 and same not in seen:
            seen.add(same)
            yield kit


def _struck(synth: tinysoundfont.Synth, key: int, velocity: int) -> np.ndarray:
    synth.noteon(9, key, velocity)
    sound = np.frombuffer(synth.generate(RINGS), dtype=np.float32).reshape(-1, 2).mean(axis=1)
    synth.sounds_off(9)
    synth.generate(RATE_HZ // 20)
    return sound


def in_folder(folder: Path) -> Kit:
    """A kit of sound files, one a stroke: described by Hydrogen's drumkit.xml, or named after their drums."""
    kit: Kit = {}
    for name, files in _instruments(folder):
        drum = next((drum for drum, words in WORDS if any(w in name.lower() for w in words)), None)
        strokes = [sound for file in files if (sound := _read(file)) is not None] if drum is not None else []
        if drum is not None and strokes:
            kit.setdefault(drum, []).append(sorted(strokes, key=lambda sound: float(np.abs(sound).max())))
    return kit


def _instruments(folder: Path) -> Iterator[tuple[str, list[Path]]]:
    if not (folder / "drumkit.xml").is_file():
        yield from ((file.stem, [file]) for file in sorted(folder.iterdir()))
        return
    kit = ElementTree.parse(folder / "drumkit.xml").getroot()
    for element in kit.iter():
        element.tag = element.tag.rpartition("}")[2]  # with a namespace or without
    for instrument in kit.iter("instrument"):
        yield instrument.findtext("name") or "", [folder / (file.text or "") for file in instrument.iter("filename")]


def _read(file: Path) -> np.ndarray | None:
    """Mono samples from the stroke on; None if there is none."""
    if not file.is_file():
        return None
    samples, rate_hz = soundfile.read(file, dtype="float32", always_2d=True)
    sound = resample(samples.mean(axis=1), rate_hz, RATE_HZ)
    heard = np.flatnonzero(np.abs(sound) > 0.02 * np.abs(sound).max(initial=1e-4))
    if len(heard) < RATE_HZ // 100:
        return None
    sound = sound[max(heard[0] - 40, 0) :][:RINGS]
    return np.pad(sound, (0, RINGS - len(sound)))


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
            stroke = (strength * sound / (np.abs(sound).max() + 1e-9)).astype(np.float32)
            kit.setdefault(drum, [[]])[0].append(stroke)

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
