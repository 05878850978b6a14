"""A small model of expressive performance: written notes in, what a player might play out.

Tempo curve with phrase arches, drift and final ritardando (Todd 1992: phrases as parabolas), hands
that are never quite together, melody lead and melody louder (Goebl 2001), metrical accent,
articulation and syncopated pedal. Used to sound the examples that ship and to perform the scores
that the metre model learns from. Deterministic for a seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .music import Floats, Ints, Span


@dataclass(frozen=True)
class Style:
    """How it is played; the defaults are a moderately expressive pianist."""

    drift: float = 0.05  # slow wandering of the log tempo, standard deviation
    unsteadiness: float = 0.02  # change of the log tempo from beat to beat, standard deviation
    phrase_ql: float = 16.0  # length of a phrase; 0 = none
    phrase_depth: float = 0.08  # log tempo lost at the phrase's ends against its middle
    ritardando: float = 0.4  # log tempo lost by the last note
    jitter_ms: float = 8.0  # of every onset
    spread_ms: float = 6.0  # of the notes of a chord, in addition
    lead_ms: float = 8.0  # how much the melody comes before its accompaniment
    rolled: float = 0.0  # share of the chords of three notes and more that are rolled upwards
    roll_ms: float = 35.0  # from note to note of a rolled chord
    held: float = 0.92  # share of the written length for which the key is held down
    held_spread: float = 0.12  # its variation
    loudness: float = 64.0  # mean velocity
    dynamics: float = 9.0  # rise and fall over phrases, velocity
    accent: float = 7.0  # downbeat against off-beat, velocity
    melody_louder: float = 9.0  # velocity
    uneven: float = 4.0  # velocity, standard deviation
    pedal: bool = False  # changed with every measure


STEADY = Style(drift=0.0, unsteadiness=0.0, phrase_depth=0.0, ritardando=0.0, jitter_ms=0.0, spread_ms=0.0,
               lead_ms=0.0, held_spread=0.0, uneven=0.0)


@dataclass(frozen=True, eq=False)
class Played:
    """A performance of written notes, in their order, and the time map behind it."""

    onset_s: Floats
    offset_s: Floats
    velocity: Ints
    pedal: tuple[Span, ...]
    knots_ql: Floats  # shape (k,), increasing
    knots_s: Floats  # shape (k,)

    def seconds_at(self, ql: ArrayLike) -> Floats:
        """When a place of the score is reached; straight on beyond the ends."""
        x = np.asarray(ql, dtype=np.float64)
        k = np.clip(np.searchsorted(self.knots_ql, x, side="right") - 1, 0, len(self.knots_ql) - 2)
        slope = (self.knots_s[k + 1] - self.knots_s[k]) / (self.knots_ql[k + 1] - self.knots_ql[k])
        return np.asarray(self.knots_s[k] + (x - self.knots_ql[k]) * slope)


def metrical_strength(onset_ql: ArrayLike, measures_ql: ArrayLike, beat_ql: float) -> Floats:
    """1 on a downbeat, 0.6 on another beat, 0.25 on a half of a beat, else 0; shape of `onset_ql`."""
    onset, measures = np.asarray(onset_ql, dtype=np.float64), np.asarray(measures_ql, dtype=np.float64)
    within = onset - measures[np.clip(np.searchsorted(measures, onset + 1e-6, side="right") - 1, 0, None)]
    phase = np.mod(within / beat_ql + 1e-6, 1.0)
    strength = np.where(phase < 2e-3, 0.6, np.where(np.abs(phase - 0.5) < 2e-3, 0.25, 0.0))
    return np.where(np.abs(within) < 2e-3, 1.0, strength)


def perform(
    onset_ql: ArrayLike,
    duration_ql: ArrayLike,
    pitch: ArrayLike,
    *,
    bpm: float,
    measures_ql: ArrayLike = (0.0,),
    beat_ql: float = 1.0,
    style: Style = Style(),
    seed: int = 0,
    melody: ArrayLike | None = None,
    fermatas_ql: ArrayLike = (),
    start_s: float = 0.5,
) -> Played:
    """Play written notes.

    `onset_ql`, `duration_ql`, `pitch`: shape (n,), in any order. `bpm`: beats (of `beat_ql` quarter
    lengths) per minute. `measures_ql`: where measures begin. `melody`: which notes stand out, shape
    (n,); the highest of every chord unless given. `fermatas_ql`: places that are held for twice their
    time. `start_s`: when the first note sounds. Raises ValueError where there is no note.
    """
    onset = np.asarray(onset_ql, dtype=np.float64)
    length = np.asarray(duration_ql, dtype=np.float64)
    keys = np.asarray(pitch, dtype=np.int64)
    if not len(onset):
        raise ValueError("there is nothing to perform")
    random = np.random.default_rng(seed)
    measures = np.unique(np.asarray(measures_ql, dtype=np.float64))
    fermatas = np.asarray(fermatas_ql, dtype=np.float64)
    first, last = float(onset.min()), float((onset + length).max())
    knots, at = _time_map(first, last, float(onset.max()), bpm, beat_ql, style, random, fermatas)
    at += start_s - at[0]
    played = Played(onset, onset, keys, (), knots, at)

    chord, size, rank, top = _chords(onset, keys)
    lead = top if melody is None else np.asarray(melody, dtype=bool)
    delay = random.normal(0.0, style.jitter_ms, len(onset))
    delay[size > 1] += random.normal(0.0, style.spread_ms, int((size > 1).sum()))
    delay -= np.where(lead & (size > 1), style.lead_ms, 0.0)
    rolled = (random.random(int(chord.max()) + 1) < style.rolled)[chord] & (size > 2)
    delay += np.where(rolled, (rank - size + 1) * style.roll_ms * random.uniform(0.7, 1.3), 0.0)
    begins = np.maximum(played.seconds_at(onset) + delay / 1000.0, 0.0)

    held = np.clip(style.held + random.normal(0.0, style.held_spread, len(onset)), 0.15, 1.1)
    ends = np.maximum(played.seconds_at(onset + length * held), begins + 0.03)
    ends = _until_struck_again(begins, ends, keys)

    strength = metrical_strength(onset, measures, beat_ql)
    arch = np.sin(np.pi * _phrase(onset, first, style.phrase_ql)) if style.phrase_ql > 0 else np.zeros(len(onset))
    loud = style.loudness + style.dynamics * (arch - 0.5) + style.accent * (strength - 0.3)
    loud += style.melody_louder * (lead - 0.3) + random.normal(0.0, style.uneven, len(onset))
    velocity = np.clip(np.round(loud), 8, 124).astype(np.int64)

    pedal: tuple[Span, ...] = ()
    if style.pedal:
        marks = played.seconds_at(np.append(measures[(measures >= first) & (measures < last)], last))
        pedal = tuple(Span(float(a) + 0.06, float(b)) for a, b in pairwise(marks) if b - a > 0.1)
    return Played(begins, ends, velocity, pedal, knots, at)


def _phrase(ql: Floats, first: float, phrase_ql: float) -> Floats:
    """Place within the phrase, 0..1."""
    return np.asarray(np.mod((ql - first) / phrase_ql, 1.0))


def _time_map(
    first: float, last: float, last_onset: float, bpm: float, beat_ql: float, style: Style,
    random: np.random.Generator, fermatas: Floats,
) -> tuple[Floats, Floats]:
    """Knots (ql, s), four a beat, of the integrated tempo curve."""
    step = beat_ql / 4.0
    knots = np.asarray(first + step * np.arange(int(np.ceil((last - first) / step)) + 2))
    middle = np.asarray(knots[:-1] + step / 2.0)
    beats = len(middle) // 4 + 3
    slow = np.zeros(beats)
    for k, kick in enumerate(random.normal(0.0, 1.0, beats)):  # a walk that is pulled back: an AR(1) process
        slow[k] = 0.94 * slow[k - 1] + np.sqrt(1 - 0.94**2) * kick
    curve = style.drift * slow + style.unsteadiness * random.normal(0.0, 1.0, beats)
    log_tempo = np.interp(np.arange(len(middle)) / 4.0, np.arange(beats), curve)
    if style.phrase_ql > 0:
        log_tempo -= style.phrase_depth * ((2.0 * _phrase(middle, first, style.phrase_ql) - 1.0) ** 2 - 0.33)
    left = np.clip((last_onset - middle) / (4.0 * beat_ql), 0.0, 1.0)  # the ritardando takes four beats
    log_tempo -= style.ritardando * (1.0 - left) ** 2
    pace = 60.0 / bpm / beat_ql * np.exp(-log_tempo)
    for place in fermatas:
        pace[(middle >= place) & (middle < place + beat_ql)] *= 2.0
    return knots, np.concatenate([[0.0], np.cumsum(pace * step)])


def _chords(onset: Floats, keys: Ints) -> tuple[Ints, Ints, Ints, NDArray[np.bool_]]:
    """Of every note: its chord's number and size, its place from below, and whether it is the highest."""
    _, chord = np.unique(np.round(onset * 96).astype(np.int64), return_inverse=True)
    size = np.bincount(chord)[chord]
    order = np.lexsort((keys, chord))
    starts = np.concatenate([[0], np.cumsum(np.bincount(chord))])[:-1]
    rank = np.empty(len(onset), dtype=np.int64)
    rank[order] = np.arange(len(onset)) - starts[chord[order]]
    return chord, size, rank, rank == size - 1


def _until_struck_again(begins: Floats, ends: Floats, keys: Ints) -> Floats:
    """Ends cut where the same key is struck anew."""
    order = np.lexsort((begins, keys))
    cut = ends.copy()
    same = keys[order[1:]] == keys[order[:-1]]
    gap = begins[order[1:]] - begins[order[:-1]]
    this, following = order[:-1][same & (gap > 0.03)], order[1:][same & (gap > 0.03)]
    cut[this] = np.minimum(cut[this], begins[following] - 0.005)
    return np.asarray(np.maximum(cut, begins + 0.02))
