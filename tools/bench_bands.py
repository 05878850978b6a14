"""Measure the parts of bands whose stems are known: pieces that are rendered here, and `mdb`'s drums.

    python tools/bench_bands.py [--data FOLDER]

The true stems stand in for separation's: what is measured is how each is heard, and how the parts go together.
Then the same from the mix, taken apart by the separator that ships: what a machine without Demucs' weights hears.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from rescored.hearing.assemble import assemble
from rescored.hearing.pulse import find_tracker, track_pulse
from rescored.hearing.separate import separate
from rescored.hearing.transcribe import detect_notes, heard_beside, stems_to_hear
from rescored.hearing.transcribe.monophonic import RANGES
from rescored.hearing.weights import BUILT_IN
from rescored.music import PIANO, Audio, Note, Part, Performance, Separator, Stems
from rescored.output.sound import render
from rescored.settings import Settings

SAME_S = 0.05
VOICE, FLUTE = Part("vocals", "Voice", program=53), Part("vocals", "Flute", program=73)
GUITAR, BASS = Part("guitar", "Guitar", program=25), Part("bass", "Bass", program=33)
DRUMS = Part("drums", "Drums", percussion=True)
DRUM_CLASSES = {"KD": (35, 36), "SD": (38, 40), "HH": (42, 44, 46)}


@dataclass(frozen=True)
class Band:
    """A song: chords (root, intervals), one a measure; tempo; who plays, and how."""

    name: str
    bpm: float
    tonic: int
    chords: tuple[tuple[int, tuple[int, ...]], ...]
    melody: Part
    accompaniment: tuple[Part, ...]
    beats: int = 4


MAJOR, MINOR = (0, 4, 7), (0, 3, 7)
BANDS = (
    Band("ballad", 76, 0, ((0, MAJOR), (7, MAJOR), (9, MINOR), (5, MAJOR)), VOICE, (PIANO,)),
    Band("rock", 128, 9, ((0, MINOR), (8, MAJOR), (3, MAJOR), (10, MAJOR)), VOICE, (GUITAR,)),
    Band("waltz", 140, 7, ((0, MAJOR), (9, MINOR), (2, MINOR), (7, MAJOR)), FLUTE, (PIANO, GUITAR), 3),
    Band("latin", 104, 2, ((0, MINOR), (5, MINOR), (10, MAJOR), (7, MAJOR)), FLUTE, (PIANO,)),
)


def play(band: Band, measures: int = 8) -> Performance:
    """Every part of the song, performed with a little unsteadiness."""
    chance = np.random.default_rng(len(band.name))
    beat_s, notes = 60 / band.bpm, []

    def add(part: Part, beat: float, length: float, pitch: int, velocity: float) -> None:
        onset_s = 0.5 + beat * beat_s + chance.normal(0, 0.004)
        notes.append(Note(f"{part.id}{len(notes)}", onset_s, onset_s + 0.92 * length * beat_s, pitch,
                          int(np.clip(velocity + chance.normal(0, 5), 20, 120)), part=part.id))

    pitch = 67 + band.tonic % 5
    for measure in range(measures):
        degree, intervals = band.chords[measure % len(band.chords)]
        root, at = (band.tonic + degree) % 12, measure * band.beats
        while at < (measure + 1) * band.beats:
            length = min(float(chance.choice([0.5, 1, 1, 2])), (measure + 1) * band.beats - at)
            near = [p for p in range(pitch - 5, pitch + 6) if (p - root) % 12 in intervals and 60 <= p <= 81]
            pitch = int(chance.choice(near))
            add(band.melody, at, length, pitch, 95)
            at += length
        for beat in range(band.beats):
            low = 28 + (root - 28) % 12
            add(BASS, measure * band.beats + beat, 1, low + (7 if beat == 2 else 0), 95)
            for part in band.accompaniment:
                base = 52 if part is PIANO else 57
                for i in intervals:
                    add(part, measure * band.beats + beat, 1, base + (root + i - base) % 12, 70)
            for half in (0, 0.5):
                add(DRUMS, measure * band.beats + beat + half, 0.2, 42, 75)
            add(DRUMS, measure * band.beats + beat, 0.2, 36 if beat % 2 == 0 else 38, 100)
    parts = (band.melody, *band.accompaniment, BASS, DRUMS)
    return Performance(tuple(notes), parts, duration_s=0.5 + measures * band.beats * beat_s + 1.0)


def true_stems(performance: Performance) -> Stems:
    """Each part rendered by itself; a stem of silence beside them if no guitar plays."""
    audio = {}
    for part in performance.parts:
        own = tuple(n for n in performance.notes if n.part == part.id)
        alone = render(Performance(own, (part,), duration_s=performance.duration_s))
        audio[part.id] = Audio(alone.samples[:, : int(performance.duration_s * alone.rate_hz)], alone.rate_hz)
    audio.setdefault("guitar", Audio(np.zeros_like(audio["bass"].samples), audio["bass"].rate_hz))
    return Stems(audio, "the truth")


def mixed(stems: Stems) -> Audio:
    """The sum of the stems."""
    return Audio(np.sum([a.samples for a in stems.audio.values()], axis=0), next(iter(stems.audio.values())).rate_hz)


def taken_apart(mix: Audio) -> Stems:
    """The stems that the separator that ships makes of a mix."""
    return separate(mix, Separator(BUILT_IN), settings=Settings.preset("full-band").separate)


def hear_band(stems: Stems) -> Performance:
    """What the pipeline hears after separation."""
    settings = Settings.preset("full-band").changed({"pulse.tracker": "onset-strength"})
    mix = mixed(stems)
    heard = {stem: detect_notes(sound, stem, heard_beside(stems, mix), settings=settings.notes)
             for stem, sound in stems_to_hear(stems, settings.notes).items()}
    pulse = track_pulse(mix, find_tracker(settings=settings.pulse), settings=settings.pulse)
    return assemble(mix, (), heard, pulse, settings=settings.notes)


def hear_mix(stems: Stems) -> tuple[Note, ...]:
    """What Basic Pitch hears without separation."""
    return detect_notes(mixed(stems), "mix", settings=Settings.preset("full-band").notes).notes


def onset_f1(truth: Performance, heard: Performance, part: str, drums: tuple[int, ...] = ()) -> float:
    """Onsets within 50 ms, and the same pitch (or one of these drums)."""

    def rows(performance: Performance) -> list[tuple[float, int]]:
        own = [n for n in performance.notes if n.part == part]
        return [(n.onset_s, 0 if drums else n.pitch) for n in own if not drums or n.pitch in drums]

    return matched_f1(rows(truth), rows(heard))


def matched_f1(truth: list[tuple[float, int]], found: list[tuple[float, int]]) -> float:
    """F1 of (onset_s, pitch), each matched at most once within 50 ms."""
    free, hits = sorted(found), 0
    for onset_s, pitch in sorted(truth):
        near = [f for f in free if f[1] == pitch and abs(f[0] - onset_s) <= SAME_S]
        if near:
            free.remove(min(near, key=lambda f: abs(f[0] - onset_s)))
            hits += 1
    return 2 * hits / max(len(truth) + len(found), 1)


def measure_mdb(data: Path) -> None:
    """Drum onsets by class on the true drum stems, and on those made of the published mixes."""
    import soundfile

    print("\n## mdb: onset F1 (50 ms) of drums\n\n| | stem | " + " | ".join(DRUM_CLASSES) + " |\n|---|---|--:|--:|--:|")
    settings = Settings.preset("full-band").notes
    for folder in sorted((data / "mdb").iterdir()):
        if not folder.is_dir():
            continue

        def read(name: str, folder: Path = folder) -> Audio:
            samples, rate_hz = soundfile.read(folder / name, dtype="float32", always_2d=True)
            return Audio(samples.T, rate_hz)

        truth: dict[str, list[tuple[float, int]]] = defaultdict(list)
        for line in (folder / "drums.csv").read_text().splitlines()[1:]:
            time_s, kind = line.split(",")
            truth[kind].append((float(time_s), 0))
        mix = read("mix.ogg")
        rough = taken_apart(mix)
        for name, heard in (
            ("true", detect_notes(read("stem_01_drum_set.ogg"), "drums", settings=settings)),
            (BUILT_IN, detect_notes(rough.audio["drums"], "drums", heard_beside(rough, mix), settings=settings)),
        ):
            cells = [matched_f1(truth[kind], [(n.onset_s, 0) for n in heard.notes if n.pitch in drums])
                     if truth[kind] else None for kind, drums in DRUM_CLASSES.items()]
            print(f"| {folder.name} | {name} | " + " | ".join("" if c is None else f"{c:.3f}" for c in cells) + " |",
                  flush=True)


def measure_rough() -> None:
    """The same bands from their mixes alone; of piano and guitar the separator makes one stem."""
    print(f"\n## Bands of our own, their mixes taken apart by {BUILT_IN}: onset F1 (50 ms)\n\n"
          "| | melody | bass | accompaniment | kick | snare | hi-hat | parts |\n|---|" + "--:|" * 6 + "---|")
    for band in BANDS:
        truth = play(band)
        heard = hear_band(taken_apart(mixed(true_stems(truth))))
        together = replace(
            truth, parts=(*truth.parts, Part("other", "Accompaniment")),
            notes=tuple(replace(n, part="other") if n.part in ("piano", "guitar") else n for n in truth.notes))
        cells = [onset_f1(together, heard, part) for part in ("vocals", "bass", "other")]
        cells += [onset_f1(truth, heard, "drums", DRUM_CLASSES[kind]) for kind in ("KD", "SD", "HH")]
        print(f"| {band.name} | " + " | ".join(f"{c:.3f}" for c in cells) + " | "
              + ", ".join(p.name for p in heard.parts) + " |", flush=True)


def main(data: Path | None = None) -> None:
    """Print the tables."""
    print("\n## Bands of our own, true stems: onset F1 (50 ms)\n\nBeside them, what Basic Pitch hears of them in the "
          "mix, notes out of their range left out.\n\n| | melody | in the mix | bass | in the mix | piano | guitar "
          "| kick | snare | hi-hat | parts |\n|---|" + "--:|" * 9 + "---|")
    for band in BANDS:
        truth = play(band)
        stems = true_stems(truth)
        heard = hear_band(stems)
        here = {p.id for p in truth.parts}
        mixed = hear_mix(stems)
        cells = []
        for part in ("vocals", "bass", "piano", "guitar"):
            cells.append(f"{onset_f1(truth, heard, part):.3f}" if part in here else "")
            if part in RANGES:
                low, high = RANGES[part]
                own = tuple(replace(n, part=part) for n in mixed if low <= n.pitch <= high)
                cells.append(f"{onset_f1(truth, replace(truth, notes=own), part):.3f}")
        cells += [f"{onset_f1(truth, heard, 'drums', DRUM_CLASSES[kind]):.3f}" for kind in ("KD", "SD", "HH")]
        cells.append(", ".join(p.name for p in heard.parts))
        print(f"| {band.name} | " + " | ".join(cells) + " |", flush=True)
    measure_rough()
    if data:
        measure_mdb(data)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    main(parser.parse_args().data)
