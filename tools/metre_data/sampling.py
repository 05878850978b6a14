"""Which pieces the model learns from, in which proportion, and which are held out."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rescored.notation.rhythm_net import METRES

from . import textures
from .corpus import Chord, Sheet
from .simulate import Rendition, bent_time, label, render
from .textures import Piece

Random = np.random.Generator

# how often each metre is written in the piano repertoire, roughly; general knowledge, fitted to nothing
SHARE = {"2/4": 0.16, "3/4": 0.25, "4/4": 0.34, "2/2": 0.06, "3/8": 0.03, "6/8": 0.11, "9/8": 0.02, "12/8": 0.03}
KINDS = {"study": 0.56, "written": 0.16, "arranged": 0.08, "chorale": 0.02, "accompanied": 0.06, "prelude": 0.05,
         "song": 0.03, "counterpoint": 0.04}
PLAIN = 0.34  # share of the pieces that are as simple as most music that is learnt first
PLAIN_SHARE = {"2/4": 0.16, "3/4": 0.30, "4/4": 0.38, "2/2": 0.02, "3/8": 0.01, "6/8": 0.11, "9/8": 0.01, "12/8": 0.01}
CROSSED = 0.28  # share of the studies that take the left hand of another
MEDLEYS = 0.38  # share of the pieces that change their texture
GROUPS = {"chorale": "chorale", "tune": "tune", "lead": "tune", "study": "study"}
HELD_OUT_COMPOSERS = ("joplin", "chopin", "schumann_robert", "cpebach", "weber")


def held_out(name: str) -> bool:
    """Whether a sheet serves for measuring only: some composers, and a tenth of all else."""
    if name.startswith(HELD_OUT_COMPOSERS):
        return True
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10 == 0


class Sampler:
    """Draws pieces; `held` chooses the sheets that are held out instead of the others."""

    def __init__(self, sheets: list[Sheet], held: bool):
        self.by_metre: dict[tuple[str, str], list[Sheet]] = defaultdict(list)
        self.progressions: list[list[Chord]] = []
        for sheet in sheets:
            if held_out(sheet.name) != held:
                continue
            if sheet.style == "chorale":
                self.progressions.append(textures.chorale_chords(sheet))
            elif len(sheet.chords) > 12:
                self.progressions.append(sheet.chords)
            if not textures.usable(sheet):
                continue
            bar = sheet.bars[len(sheet.bars) // 2]
            group = GROUPS.get(sheet.style, "written")
            self.by_metre[group, f"{bar.numerator}/{bar.denominator}"].append(sheet)
            # lead sheets are as rare as they are good, and long scores hold many excerpts: they count several times
            long = {"written": 2500, "study": 500}.get(group)
            more = 8 if sheet.style == "lead" else len(sheet.onset_ql) // long if long else 0
            self.by_metre[group, f"{bar.numerator}/{bar.denominator}"] += [sheet] * more
        self.progressions = [p for p in self.progressions if len(p) > 12]
        self.studies = [s for m in METRES for s in self.by_metre["study", m]]

    def draw_study(self, random: Random) -> Piece:
        """A study as it stands."""
        return textures.as_written(self.studies[int(random.integers(len(self.studies)))], random)

    def draw(self, random: Random) -> Piece:
        """A piece of a random kind, or of several, in a random metre."""
        if random.random() < PLAIN:
            return self._plain(str(random.choice(METRES, p=[PLAIN_SHARE[m] for m in METRES])), random)
        metre = str(random.choice(METRES, p=[SHARE[m] for m in METRES]))
        if random.random() < MEDLEYS:
            sections = [self._one(metre, random) for _ in range(int(random.integers(2, 5)))]
            piece = textures.medley([s for s in sections if _in_metre(s, metre)] or sections[:1], random)
        else:
            piece = self._one(metre, random)
        if random.random() < 0.35:
            piece = textures.with_passages(piece, random)
        if random.random() < 0.3:
            piece = textures.varied(piece, random)
        if random.random() < 0.35:
            piece = textures.thickened(piece, random)
        return textures.articulated(piece, random) if random.random() < 0.7 else piece

    def _plain(self, metre: str, random: Random) -> Piece:
        pool = self.by_metre["tune", metre]
        signature = (int(metre.split("/")[0]), int(metre.split("/")[1]))
        kind = random.random()
        if pool and kind < 0.6:
            sheet = textures.excerpt(pool[int(random.integers(0, len(pool)))], random, 300)
            chords = sheet.chords if len(sheet.chords) > 3 else textures.infer_chords(sheet, random)
            lines = zip(sheet.onset_ql, sheet.duration_ql, sheet.pitch, sheet.part, strict=True)
            melody = [(float(o), float(d), int(p), True) for o, d, p, k in lines if k == sheet.part.min()]
            return textures.plain(Piece(sheet.name, melody, sheet.bars, sheet.end_ql), chords, random)
        progression = self.progressions[int(random.integers(0, len(self.progressions)))]
        tune = textures.song(progression, signature, random) if kind < 0.8 else textures.exercise(signature, random)
        rows = [np.array(x) for x in zip(*((o, d, p, 0) for o, d, p, melody in tune.notes if melody), strict=True)]
        sheet = Sheet("song", "lead", *rows, tune.bars, tune.end_ql)
        return textures.plain(tune, textures.infer_chords(sheet, random), random)

    def _one(self, metre: str, random: Random) -> Piece:
        kind = str(random.choice(list(KINDS), p=list(KINDS.values())))
        signature = (int(metre.split("/")[0]), int(metre.split("/")[1]))
        group = {"accompanied": "tune", "arranged": "written"}.get(kind, kind)
        if kind in ("study", "written", "arranged", "chorale", "accompanied"):
            pool = self.by_metre[group, metre]
            if kind == "arranged" and random.random() < 0.3:
                pool = self.by_metre[str(random.choice(["chorale", "study"])), metre] or pool
            if group == "written" and random.random() < 0.35:  # composers count alike, however many files they have
                pool = [s for m in METRES for s in self.by_metre[group, m]]
            if kind == "chorale" and not pool:
                pool = self.by_metre[group, "4/4"]
            if pool:
                sheet = pool[int(random.integers(0, len(pool)))]
                if kind == "study" and random.random() < CROSSED and (other := _alike(sheet, pool, random)) is not None:
                    return textures.crossed(sheet, other, random)
                lay = {"accompanied": textures.with_accompaniment, "arranged": textures.arranged}
                piece = lay.get(kind, textures.as_written)(sheet, random)
                return piece if kind == "study" else textures.renotated(piece, random)
            kind = "song"
        chords = self.progressions[int(random.integers(0, len(self.progressions)))]
        make = {"prelude": textures.prelude, "song": textures.song, "counterpoint": textures.counterpoint}[kind]
        return make(chords, signature, random)

    def rendition(self, seed: int) -> Rendition | None:
        """A performed piece, the same for the same seed."""
        random = np.random.default_rng(seed)
        piece = self.draw(random)
        if not piece.notes or not piece.bars:
            return None
        return render(piece, random)


def held_pieces(sheets: list[Sheet], made: int) -> dict[str, list[Piece]]:
    """Every other study that is held out, and so many pieces drawn from what is."""
    unseen = [s for s in sheets if s.style == "study" and held_out(s.name)]
    sampler = Sampler(sheets, held=True)
    pieces = {"studies": [textures.as_written(s, np.random.default_rng(k)) for k, s in enumerate(unseen[::2])],
              "made": [sampler.draw(np.random.default_rng(k)) for k in range(made)]}
    return {name: [p for p in some if p.notes and p.bars] for name, some in pieces.items()}


def _alike(sheet: Sheet, pool: list[Sheet], random: Random) -> Sheet | None:
    """Another study whose tempo suits, if one of a few is such; both stay in one metre."""
    for k in random.integers(0, len(pool), 4):
        other = pool[int(k)]
        slow, quick = max(sheet.bpm[0], other.bpm[0]), min(sheet.bpm[1], other.bpm[1])
        if other is not sheet and slow < 1.1 * quick and all(len({(b.numerator, b.denominator) for b in s.bars}) == 1
                                                             for s in (sheet, other)):
            return other
    return None


def _in_metre(piece: Piece, metre: str) -> bool:
    return len(piece.bars) > 8 and all(f"{b.numerator}/{b.denominator}" == metre for b in piece.bars)


def read_midi(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Onsets, offsets, pitches and velocities of all notes but drums, sorted."""
    import pretty_midi

    midi = pretty_midi.PrettyMIDI(str(path))
    rows = sorted((n.start, n.pitch, max(n.end, n.start + 0.02), n.velocity)
                  for part in midi.instruments if not part.is_drum for n in part.notes)
    table = np.array(rows, dtype=float)
    return table[:, 0], table[:, 2], table[:, 1].astype(np.int64), table[:, 3].astype(np.int64)


def pop909(folder: Path) -> Song | None:
    """A song of POP909 with its annotated beats; None where they are neither in fours nor in threes."""
    table = np.loadtxt(folder / "beat_midi.txt")
    beats, half, down = table[:, 0], table[:, 1] > 0.5, table[:, 2] > 0.5
    steps = np.diff(np.flatnonzero(down)) if down.sum() > 8 else np.diff(np.flatnonzero(half))
    if len(steps) < 8:
        return None
    per_bar = int(np.bincount(steps).argmax())
    if (steps == per_bar).mean() < 0.8 or per_bar not in (3, 4):
        return None
    return Song(folder.name, *read_midi(folder / "performance.mid"), beats, down if down.sum() > 8 else half, per_bar)


@dataclass
class Song:
    """A played song and where its beats fall: notes of shape (n,), beats of shape (b,)."""

    name: str
    onset_s: np.ndarray
    offset_s: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    beats_s: np.ndarray
    down: np.ndarray
    per_bar: int

    def rendition(self, random: Random | None = None) -> Rendition | None:
        """As it was played, or with `random` a stretch of it in another key, tempo and manner."""
        beats, down = self.beats_s, self.down
        a, b = 0, len(beats) - 1
        if random is not None and len(beats) > 80:
            a = int(random.integers(0, len(beats) - 64))
            b = min(a + int(random.integers(64, 240)), len(beats) - 1)
        keep = (self.onset_s >= beats[a] - 0.1) & (self.onset_s < beats[b] - 0.02)
        if keep.sum() < 24:
            return None
        begin, end, pitch, velocity = (x[keep] for x in (self.onset_s, self.offset_s, self.pitch, self.velocity))
        beats, down = beats[a : b + 1], down[a : b + 1]
        count = np.arange(len(beats), dtype=float)
        place = np.interp(begin, beats, count)  # an onset near a beat is on it
        ql = np.where(np.abs(place - np.round(place)) * 0.6 < 0.06, np.round(place), place)
        if random is not None:
            start = min(begin.min(), beats[0])
            stretch = float(np.exp(random.normal(0.0, 0.15)))
            begin, end, beats = ((x - start) * stretch for x in (begin, end, beats))
            at, bent = bent_time(beats[down], np.unique(begin), float(end.max()) + 5.0, random, freedom=0.4)
            begin, end, beats = (np.interp(x, at, bent) for x in (begin, end, beats))
            begin = begin + random.normal(0.0, 0.001 * random.uniform(0.0, 15.0), len(begin))
            kept = random.random(len(begin)) > (random.uniform(0.0, 0.1) if random.random() < 0.5 else 0.0)
            begin, end, pitch, velocity, ql = (x[kept] for x in (begin, end, pitch, velocity, ql))
            pitch = np.clip(pitch + int(random.integers(-6, 7)), 21, 108)
            louder = random.normal(0.0, random.uniform(0.0, 8.0), len(begin))
            velocity = np.clip(velocity + louder, 5, 127).astype(np.int64)
            begin = np.maximum(begin, 0.0)
            end = np.maximum(end, begin + 0.02)
        order = np.lexsort((pitch, begin))
        notes = tuple(x[order] for x in (begin, end, pitch, velocity))

        def seconds_at(places: np.ndarray) -> np.ndarray:
            return np.interp(places, count, beats)

        metre = np.full(len(beats), METRES.index(f"{self.per_bar}/4"))
        return label(self.name, notes, ql[order], count, down, metre, np.gradient(beats), seconds_at)
