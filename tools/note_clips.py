"""Clips of music with known notes, to teach and to measure note_odds.py: written, performed, sounded, recorded.

Written: fiddle tunes, chorales and quartets of music21's corpus, lead sheets (openewld), piano arrangements
(pop909). Single lines get what strings do: double stops, drones, broken chords, a pulse below the tune;
slurs, repeated bows. They are sounded by the instruments of bowed.py, which are new every time, and by
soundfonts; then put into a room, detuned, tilted and given some noise. A quarter of the pieces are held out
by name; so are bowed.py's `waveguide` and a soundfont of one's own choice.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pretty_midi
import scipy.signal
import soxr
import tinysoundfont
from bowed import RATE_HZ, Tone, additive, waveguide
from music21 import converter, corpus

from rescored.expressive import Style, perform

SOUND_HZ = 44100
CLIP_S = 22.0
LINES = (40, 40, 40, 41, 42, 110, 73, 65, 71, 68, 56, 53)  # violins, viola, cello, fiddle, winds, voice
CHORDAL = (24, 25, 24, 25, 26, 27, 0, 4, 11, 16, 46, 48)  # guitars, keyboards, harp, string ensemble
VIOLIN = (55, 96)
FEWEST = 15  # notes of a clip
LARGEST_FILE = 150_000  # bytes of a score that is read: larger ones take minutes
Rows = list[tuple[float, float, int]]  # onset and duration in quarter lengths, pitch


@dataclass(frozen=True)
class Written:
    """A piece's parts; kind is tune, sheet, chorale or quartet."""

    kind: str
    name: str
    parts: list[Rows]

    @property
    def held_out(self) -> bool:
        """A quarter of all pieces, the same ones always."""
        return hashlib.md5(self.name.encode()).digest()[0] % 4 == 0


@dataclass(frozen=True)
class Clip:
    """What is heard, at 22.05 kHz, and the notes in it."""

    kind: str
    samples: np.ndarray
    onset_s: np.ndarray
    pitch: np.ndarray


# ---------------------------------------------------------------- written


def library(data: Path, folder: Path) -> list[Written]:
    """Every piece; kept in the folder, for music21 reads slowly."""
    kept = folder / "written.pkl"
    if not kept.exists():
        kept.write_bytes(pickle.dumps(list(_read(data))))
    return pickle.loads(kept.read_bytes())


def _read(data: Path) -> Iterator[Written]:
    chance = np.random.default_rng(1)
    paths = sorted(map(str, corpus.getPaths()))
    several = [p for p in paths if any(f"/{who}/" in p for who in ("haydn", "mozart", "beethoven", "corelli"))]
    groups = {
        "tune": (160, [p for p in paths if "ryansMammoth" in p]),
        "sheet": (150, sorted(map(str, (data / "openewld").rglob("*.mxl")))),
        "chorale": (50, [p for p in paths if "/bach/bwv" in p and p.endswith(".mxl")]),
        "quartet": (99, [p for p in several if Path(p).stat().st_size <= LARGEST_FILE]),
    }
    for kind, (count, files) in groups.items():
        for path in chance.permutation(files)[:count]:
            score = converter.parse(path)
            parts = [_notes(part) for part in score.parts[: 4 if kind in ("chorale", "quartet") else 1]]
            if parts and all(parts):
                yield Written(kind, "/".join(Path(path).with_suffix("").parts[-3:]), parts)


def _notes(part) -> Rows:
    return [
        (float(n.offset), float(n.quarterLength), p.midi)
        for n in part.flatten().stripTies().notes
        if "Symbol" not in type(n).__name__ and not n.duration.isGrace
        for p in n.pitches
    ]


def fitted(notes: Rows, low: int, high: int) -> Rows:
    """By octaves into a range."""
    up = 12 * round(((low + high) / 2 - 5 - np.median([p for *_, p in notes])) / 12)
    return [(a, d, int(low + (p + up - low) % 12 if not low <= p + up <= high else p + up)) for a, d, p in notes]


def texture(piece: Written, chance: np.random.Generator) -> Rows:
    """What one instrument plays of a piece."""
    if piece.kind == "chorale":
        parts, up = piece.parts, int(chance.choice([0, 5, 7, 12]))
        count = int(chance.choice([1, 2, 2, 3, 4]))
        if count == 1:
            return fitted(parts[int(chance.integers(len(parts)))], *VIOLIN)
        chosen = parts[:count] if chance.random() < 0.6 else parts[-count:]
        return [(a, d, p + up if p + up >= VIOLIN[0] else p + up + 12) for part in chosen for a, d, p in part]
    if piece.kind == "quartet":
        count = int(chance.choice([1, 1, 1, 2]))
        first = int(chance.integers(max(len(piece.parts) - count, 1)))
        notes = [n for part in piece.parts[first : first + count] for n in part]
        begin = chance.uniform(0, max(max(a for a, *_ in notes) - 60, 1))
        notes = [(a - begin, d, p) for a, d, p in notes if a >= begin]
        return notes if count > 1 or not notes else fitted(notes, *VIOLIN)
    tune = fitted(sorted(piece.parts[0]), *(VIOLIN if chance.random() < 0.7 else (43, 80)))
    taken = {(a, p) for a, _, p in tune}
    return tune + [n for n in _below(tune, chance) if (n[0], n[2]) not in taken]


def _below(tune: Rows, chance: np.random.Generator) -> Rows:
    """What a fiddler adds below a tune, if anything."""
    way = chance.choice(["nothing", "nothing", "nothing", "stops", "drone", "chords", "pulse"])
    if way == "stops":
        return [(a, d, p - int(chance.choice([3, 4, 5, 8, 9]))) for a, d, p in tune if chance.random() < 0.4]
    if way == "drone":
        near = [(a, d, [s for s in (55, 62, 69, 76) if 2 < abs(s - p) < 15]) for a, d, p in tune]
        return [(a, d * int(chance.choice([1, 1, 2])), int(chance.choice(s)))
                for a, d, s in near if s and chance.random() < 0.35]
    if way == "chords":
        return [(a, d, p - int(down)) for a, d, p in tune if d >= 0.5 and chance.random() < 0.3
                for down in np.cumsum(chance.choice([3, 4, 5, 7, 8, 9], int(chance.integers(1, 4)))) if p - down >= 50]
    if way == "pulse":
        step, pitch, rows = float(chance.choice([0.5, 0.5, 1])), tune[0][2] - int(chance.choice([5, 8, 9, 12])), []
        for a in np.arange(tune[0][0], tune[0][0] + 40, step):
            if chance.random() < 0.15:
                pitch = int(np.clip(pitch + chance.choice([-5, -2, -1, 1, 2, 5]), 50, 75))
            rows.append((float(a), step, pitch))
        return rows
    return []


# ---------------------------------------------------------------- performed


def played(rows: Rows, chance: np.random.Generator) -> list[Tone]:
    """The first `CLIP_S`, in order of time; chords are broken as strings break them."""
    rows = sorted(set(rows))
    rows = [(a - rows[0][0], d, p) for a, d, p in rows if a - rows[0][0] < 90]
    onset_ql, duration_ql, pitch = (np.array(column) for column in zip(*rows, strict=True))
    bpm = min(float(np.exp(chance.uniform(np.log(55), np.log(170)))), 600 * float(np.median(duration_ql)))
    style = Style(
        drift=chance.uniform(0.02, 0.08), unsteadiness=chance.uniform(0, 0.04), jitter_ms=chance.uniform(2, 15),
        spread_ms=chance.uniform(2, 12), lead_ms=0.0, held=chance.choice([0.75, 0.9, 1.0, 1.05]),
        held_spread=chance.uniform(0.02, 0.1), loudness=80, dynamics=chance.uniform(0, 25),
        uneven=chance.uniform(2, 10), accent=chance.uniform(0, 10),
    )
    way = perform(onset_ql, duration_ql, pitch, bpm=bpm, style=style, seed=int(chance.integers(1 << 30)),
                  start_s=chance.uniform(0.1, 0.8))
    onset_s, offset_s = _broken(onset_ql, pitch, way.onset_s.copy(), way.offset_s.copy(), chance)
    tones = [Tone(a, max(b, a + 0.05), int(p), float(np.clip(v / 110, 0.15, 1.1)))
             for a, b, p, v in zip(onset_s, offset_s, pitch, way.velocity, strict=True)]
    return repeated(sorted(tones, key=lambda t: t.onset_s))


def _broken(onset_ql: np.ndarray, pitch: np.ndarray, onset_s: np.ndarray, offset_s: np.ndarray,
            chance: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Chords of three and four: the lower two first, the upper two after them; or note by note; or at once."""
    spread_s, way = chance.uniform(0.03, 0.16), chance.random()
    for at in np.unique(onset_ql):
        chord = np.flatnonzero(onset_ql == at)
        if len(chord) < 3 or way > 0.8:
            continue
        later_s = spread_s * chance.uniform(0.6, 1.4)
        for rank, i in enumerate(chord[np.argsort(pitch[chord])]):
            upper = rank >= len(chord) - 2
            onset_s[i] += later_s * (float(upper) if way < 0.6 else rank / (len(chord) - 1))
            if not upper and chance.random() < 0.7:
                offset_s[i] = min(offset_s[i], onset_s[i] + later_s + chance.uniform(0, 0.15))
    return onset_s, offset_s


def repeated(tones: list[Tone]) -> list[Tone]:
    """A key that is struck again ends first, and is not struck twice at a time; what lies in the clip."""
    last: dict[int, int] = {}
    kept: list[Tone] = []
    for tone in tones:
        if tone.onset_s >= CLIP_S:
            continue
        if tone.pitch in last:
            before = kept[last[tone.pitch]]
            if tone.onset_s - before.onset_s < 0.07:
                continue
            kept[last[tone.pitch]] = replace(before, offset_s=min(before.offset_s, tone.onset_s))
        last[tone.pitch] = len(kept)
        kept.append(tone)
    return kept


def strings(tones: list[Tone], chance: np.random.Generator) -> list[list[Tone]]:
    """On which string each tone is played, and which are slurred to the one before."""
    slurs, hops, legato = chance.choice([0, 0.3, 0.6, 0.85]), chance.choice([0, 0.1, 0.4]), chance.random() < 0.7
    lines: list[list[Tone]] = []
    for tone in tones:
        free = [i for i, line in enumerate(lines)
                if line[-1].offset_s <= tone.onset_s + 0.06 and line[-1].onset_s < tone.onset_s - 0.04]
        distance = [20 * abs(lines[i][-1].offset_s - tone.onset_s) + 0.3 * abs(lines[i][-1].pitch - tone.pitch)
                    + 9 * (chance.random() < hops) for i in free]
        nearest = lines[free[int(np.argmin(distance))]] if free else None
        hop = nearest is not None and nearest[-1].pitch != tone.pitch and chance.random() < hops and len(lines) < 5
        if nearest is None or hop:
            lines.append([tone])
            continue
        before = nearest[-1]
        gap_s = tone.onset_s - before.offset_s
        joined = gap_s < (0.12 if legato else 0)
        if joined:
            nearest[-1] = replace(before, offset_s=tone.onset_s)
        slurred = joined and 0 < abs(before.pitch - tone.pitch) <= 12 and chance.random() < slurs
        nearest.append(replace(tone, slurred=bool(slurred)))
    return lines


# ---------------------------------------------------------------- sounded


def soundfont(lines: list[list[Tone]], program: int, font: Path, chance: np.random.Generator, *,
              bowed: bool) -> np.ndarray:
    """Every note on a channel of its own; bowed ones swell, glide and may have vibrato. At `RATE_HZ`."""
    synth = tinysoundfont.Synth(samplerate=SOUND_HZ, gain=0)
    loaded = synth.sfload(str(font))
    free = {c: 0.0 for c in range(16) if c != 9}
    for channel in free:
        synth.program_select(channel, loaded, 0, program, False)
    swell_s, vibrato = (float(chance.choice([0, 0.03, 0.08, 0.15])), chance.random() < 0.7) if bowed else (0.0, False)
    events: list[tuple[float, int, int, int, int]] = []
    for line in lines:
        for before, tone in zip([None, *line], line, strict=False):
            channel = min(free, key=lambda c: free[c])
            begin = tone.onset_s
            end = max(tone.offset_s - 0.005 * (not tone.slurred), begin + 0.03)
            free[channel] = end + 0.4
            events += [(begin, 2, channel, tone.pitch, int(np.clip(95 * tone.loud, 20, 124))),
                       (end, 0, channel, tone.pitch, 0), (end + 0.2, 3, channel, 8192, 0)]
            if swell_s:
                attack_s = swell_s * chance.uniform(0.5, 1.5) if not tone.slurred else 0.02
                events += [(begin - 1e-4 + attack_s * x, 1, channel, 11, round(40 + 87 * x))
                           for x in np.linspace(0, 1, 12)]
            if tone.slurred and bowed and before and abs(before.pitch - tone.pitch) <= 2:
                glide_s, bend = chance.uniform(0.01, 0.06), 4000 * (before.pitch - tone.pitch)
                events += [(begin - 1e-4 + glide_s * x, 3, channel, round(8192 + bend * (1 - x)), 0)
                           for x in np.linspace(0, 1, 8)]
            if vibrato and end - begin > 0.25:
                depth, hz = chance.uniform(400, 1800), chance.uniform(4.5, 7)
                events += [(t, 3, channel, round(8192 + depth * np.sin(2 * np.pi * hz * (t - begin))), 0)
                           for t in np.arange(begin + 0.12, end, 0.012)]
    chunks, now = [], 0
    for time_s, kind, channel, a, b in [*sorted(events), (_length_s(lines), 0, 0, 0, 0)]:
        if (frame := round(time_s * SOUND_HZ)) > now:
            chunks.append(np.frombuffer(synth.generate(frame - now), dtype=np.float32))
            now = frame
        call = (synth.noteoff, synth.control_change, synth.noteon, synth.pitchbend)[kind]
        call(*((channel, a) if kind in (0, 3) else (channel, a, b)))
    return np.asarray(soxr.resample(np.concatenate(chunks).reshape(-1, 2).mean(axis=1), SOUND_HZ, RATE_HZ))


def _length_s(lines: list[list[Tone]]) -> float:
    return min(max(tone.offset_s for line in lines for tone in line) + 1, CLIP_S + 2)


def recorded(dry: np.ndarray, chance: np.random.Generator) -> tuple[np.ndarray, float]:
    """In a room, with noise, some tone control, and out of tune: samples, and by how much they run faster."""
    echo = np.exp(-6.9 * np.linspace(0, 1, round(chance.uniform(0.3, 2.8) * RATE_HZ)))
    echo = scipy.signal.lfilter(*scipy.signal.butter(1, chance.uniform(2000, 8000), fs=RATE_HZ),
                                echo * chance.normal(size=len(echo)))
    wet = scipy.signal.fftconvolve(dry, echo / np.linalg.norm(echo))[: len(dry)]
    samples = (dry + max(chance.uniform(-0.2, 0.9), 0) * wet) / (np.abs(dry).max() + 1e-9)
    hiss = chance.normal(0, 1, len(samples))
    if chance.random() < 0.5:
        hiss = scipy.signal.lfilter([0.2], [1, -0.9], hiss)
    samples = samples + hiss * 10 ** (chance.uniform(-75, -42) / 20)
    samples = scipy.signal.lfilter([1, chance.uniform(-0.5, 0.5)], [1], samples)
    samples = samples / np.abs(samples).max() * 10 ** (chance.uniform(-12, -1) / 20)
    faster = 2 ** (chance.uniform(-30, 30) / 1200)
    return soxr.resample(samples, RATE_HZ * faster, RATE_HZ).astype(np.float32), faster


# ---------------------------------------------------------------- clips


@dataclass(frozen=True)
class Clips:
    """Some number of clips, each made when it is asked for. To teach: of every ten, six by bowed.py's `additive`,
    two lines by soundfonts, two of chords; to measure: four by `waveguide`, three, three."""

    data: Path  # with openewld and pop909
    folder: Path  # where what was read is kept
    fonts: tuple[Path, ...]
    teach: bool

    def made(self, i: int) -> Clip | None:
        """Number i, always the same; none where there is too little in it."""
        chance = np.random.default_rng((i, self.teach))
        way = ("mmlmmclmmc" if self.teach else "mlcmlcmlcm")[i % 10]
        tones = (self._arrangement(chance) if way == "c" and chance.random() < 0.5
                 else played(self._drawn(chance), chance))
        if len(tones) < FEWEST:
            return None
        lines = strings(tones, chance) if way != "c" else [[tone] for tone in tones]
        if way == "m":
            kind, dry = "made", (additive if self.teach else waveguide)(lines, chance, _length_s(lines))
        else:
            kind, programs = ("line", LINES) if way == "l" else ("chords", CHORDAL)
            font = self.fonts[int(chance.integers(len(self.fonts)))]
            dry = soundfont(lines, int(chance.choice(programs)), font, chance, bowed=way == "l")
        samples, faster = recorded(dry, chance)
        return Clip(kind, samples, np.array([t.onset_s for t in tones]) / faster, np.array([t.pitch for t in tones]))

    @cached_property
    def _pieces(self) -> list[Written]:
        return [piece for piece in library(self.data, self.folder) if piece.held_out != self.teach]

    def _drawn(self, chance: np.random.Generator) -> Rows:
        kind = chance.choice(["tune", "sheet", "chorale", "quartet"], p=[0.3, 0.25, 0.15, 0.3])
        some = [piece for piece in self._pieces if piece.kind == kind]
        return texture(some[int(chance.integers(len(some)))], chance)

    def _arrangement(self, chance: np.random.Generator) -> list[Tone]:
        """A passage as a pianist played it; of the songs a quarter is held out."""
        songs = sorted((self.data / "pop909").rglob("performance.mid"))
        songs = [song for i, song in enumerate(songs) if (i % 4 == 0) != self.teach]
        midi = pretty_midi.PrettyMIDI(str(songs[int(chance.integers(len(songs)))]))
        begin = chance.uniform(10, 90)
        return repeated(sorted((
            Tone(n.start - begin + 0.3, n.end - begin + 0.3, n.pitch, n.velocity / 95)
            for part in midi.instruments for n in part.notes if n.start > begin
        ), key=lambda t: t.onset_s))
