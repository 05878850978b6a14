"""Pieces performed, with what the metre model shall say about every onset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rescored.expressive import Style, perform
from rescored.notation.clusters import cluster
from rescored.notation.rhythm_features import Onsets, hear_onsets
from rescored.notation.rhythm_net import METRES

from .textures import Piece, bar_ql, beat_ql

Random = np.random.Generator

# how long a beat usually lasts (s) and how much that varies (natural logarithm); general knowledge of the repertoire
BEAT_S = {(2, 4): (0.62, 0.42), (3, 4): (0.56, 0.50), (4, 4): (0.58, 0.42), (2, 2): (0.85, 0.38), (3, 8): (1.15, 0.45),
          (6, 8): (0.85, 0.50), (9, 8): (0.90, 0.45), (12, 8): (0.90, 0.45)}


@dataclass
class Rendition:
    """A performed piece: its onsets and, for every onset, the truth."""

    name: str
    onsets: Onsets
    position: np.ndarray  # 0 = no beat, 1 = beat, 2 = downbeat
    period_s: np.ndarray  # local length of a beat
    metre: np.ndarray  # index into METRES
    beats_s: np.ndarray
    downbeats_s: np.ndarray
    notes: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # onset, offset, pitch, velocity
    onset_ql: np.ndarray  # of every note, as written; nan for what the player adds
    beats_ql: np.ndarray


def beat_length_s(piece: Piece, random: Random) -> float:
    """A natural tempo: what the metre suggests, weighed with how long its fast notes usually last.

    Fast notes last the shorter the shorter they are written, but less than in proportion: about
    0.39 s as quarters, 0.23 s as eighths, 0.14 s as sixteenths, 0.08 s as thirty-seconds.
    """
    bar = piece.bars[len(piece.bars) // 2]
    usual, spread = BEAT_S[bar.numerator, bar.denominator]
    if piece.bpm and random.random() < 0.8:
        return float(np.clip(60.0 / drawn_bpm(piece.bpm, random), 0.18, 4.5))
    if piece.plain:
        return float(np.clip(usual * np.exp(random.normal(0.0, 0.3)), 0.25, 2.5))
    onsets = np.unique(np.round([n[0] for n in piece.notes], 4))
    gaps = np.diff(onsets)
    fast = float(np.quantile(gaps, 0.15)) if len(gaps) else 0.5
    by_speed = np.log(0.23 * (fast / 0.5) ** 0.75 * beat_ql(bar) / fast)
    trust = spread**-2, 0.5**-2
    usual_log = (trust[0] * np.log(usual) + trust[1] * by_speed) / sum(trust)
    unusual = 0.75 if random.random() < 0.3 else 0.38
    length = np.exp(usual_log + random.normal(0.0, unusual))
    shortest = 0.065 * beat_ql(bar) / fast  # no more than 15 notes a second
    return float(np.clip(max(length, shortest), 0.18, 4.5))


def drawn_bpm(natural: tuple[float, float], random: Random) -> float:
    """A tempo between the slowest and the quickest natural one, or a little beyond."""
    low, high = np.log(natural)
    return float(np.exp(random.uniform(low, high) + random.normal(0.0, 0.12)))


def random_style(random: Random) -> Style:
    """From a sight-reader with a metronome to a romantic virtuoso, whose hands and chords are as far apart as those
    of pianists are: melodies some 20 to 40 ms early, basses up to 100 ms (Repp 1996; Goebl 2001)."""
    free = random.beta(0.9, 1.4)
    return Style(
        drift=0.01 + 0.10 * free * random.random(), unsteadiness=0.004 + 0.05 * free * random.random(),
        phrase_ql=float(random.choice([8.0, 16.0, 12.0, 32.0])), phrase_depth=0.25 * free * random.random(),
        ritardando=0.7 * random.random() * (free + 0.2), jitter_ms=3.0 + 15.0 * random.beta(1.5, 2.5),
        spread_ms=2.0 + 22.0 * random.beta(1.2, 2.8), lead_ms=40.0 * random.beta(1, 2.2),
        rolled=0.0 if random.random() < 0.55 else 0.4 * free, roll_ms=random.uniform(20, 80),
        held=random.uniform(0.45, 1.05), held_spread=random.uniform(0.03, 0.25), loudness=random.uniform(48, 80),
        dynamics=random.uniform(0, 24), melody_louder=random.uniform(0, 28), uneven=random.uniform(2, 16),
        accent=0.0 if random.random() < 0.5 else max(random.normal(3, 4), 0.0),  # pianists lean on few downbeats
    )


def bent_time(
    downbeats_s: np.ndarray, onsets_s: np.ndarray, end_s: float, random: Random, freedom: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Freedom that no score shows, as a map of times (from, to): single notes and beats leaned upon or hurried,
    phrases that surge and linger and slow down towards their last beats, breaths before a measure, and now and then
    another tempo from some measure on.

    From steady playing to the rubato of Romantic piano music, where neighbouring beats differ by a fifth and more,
    and notes within a beat as much (Repp 1992, 1998; Grosche, Mueller & Sapp 2010).
    """
    free = freedom * float(random.beta(0.8, 1.0))
    at = np.arange(0.0, end_s + 1.0, 0.02)
    rate = np.zeros(len(at))
    for scale_s, most in ((0.12, 0.6), (0.35, 0.6), (1.0, 0.55), (5.0, 0.4)):
        knots = np.arange(0.0, end_s + 2 * scale_s + 1.0, scale_s)
        kicks = random.standard_t(4, len(knots)) / np.sqrt(2.0)  # most are small, some are large
        rate += np.interp(at, knots, most * free * random.random() * kicks)
    if len(downbeats_s) > 8 and random.random() < 0.2 + 0.6 * free:
        every = int(random.choice([1, 2, 2, 4, 4, 8]))
        depth, length_s = 0.9 * free * random.random(), random.uniform(0.6, 3.0)
        for stop in downbeats_s[int(random.integers(0, every)) :: every]:
            depth_here = depth * random.uniform(0.3, 1.3)
            rate -= np.where(at < stop, depth_here * np.clip(1.0 - (stop - at) / length_s, 0.0, 1.0), 0.0)
    if len(downbeats_s) > 12 and random.random() < 0.2:
        for start in random.choice(downbeats_s[4:-4], int(random.integers(1, 3))):
            rate += np.where(at >= start, random.normal(0.0, 0.22), 0.0)
    step = 0.02 * np.exp(-np.clip(rate, -1.1, 1.1))
    if len(downbeats_s) > 4 and random.random() < 0.5 * free + 0.1:
        _linger(step, downbeats_s - 0.1, random.uniform(0.03, 0.2), 0.12, random)
    if random.random() < 0.7:
        _linger(step, onsets_s, 0.15 * free * random.random(), 0.08 * free, random)
    return at, np.concatenate([[0.0], np.cumsum(step)[:-1]])


def _linger(step: np.ndarray, places_s: np.ndarray, share: float, length_s: float, random: Random) -> None:
    """A share of the places lasts longer, by a gamma distribution of twice this mean; `step` every 20 ms."""
    for place in places_s[random.random(len(places_s)) < share]:
        step[min(int(max(place, 0.0) / 0.02), len(step) - 1)] += random.gamma(2.0, length_s)


def _hands_apart(begin: np.ndarray, ql: np.ndarray, pitch: np.ndarray, random: Random) -> np.ndarray:
    """Basses before what is written with them."""
    share = 0.0 if random.random() < 0.55 else random.uniform(0.0, 0.7)
    _, chord, size = np.unique(np.round(ql * 96), return_inverse=True, return_counts=True)
    lowest = np.full(len(size), 200)
    np.minimum.at(lowest, chord, pitch)
    early = (random.random(len(size)) < share) & (size > 1)
    by = random.gamma(2.0, random.uniform(0.01, 0.035), len(size)) * early
    return np.where(pitch < np.minimum(lowest[chord] + 5, 60), begin - by[chord], begin)


def render(piece: Piece, random: Random) -> Rendition | None:
    """Perform a piece with random tempo, key, manner and mistakes; None if too little is left of it."""
    if len(piece.notes) < 24:
        return None
    onset, length, pitch, melody = (np.array(x) for x in zip(*piece.notes, strict=True))
    pitch = pitch.astype(np.int64) + int(random.integers(-5, 7))
    pitch = np.where(pitch > 107, pitch - 12, np.where(pitch < 22, pitch + 12, pitch))
    middle = piece.bars[len(piece.bars) // 2]
    beat_s = beat_length_s(piece, random)
    style = random_style(random)
    starts = np.array([b.ql for b in piece.bars])
    fermatas = [] if random.random() < 0.75 else [float(x) for x in random.choice(starts, 2) - beat_ql(middle)]
    fermatas += piece.fermatas
    played = perform(onset, length, pitch, bpm=60.0 / beat_s, beat_ql=beat_ql(middle), measures_ql=starts, style=style,
                     seed=int(random.integers(2**31)), melody=melody.astype(bool) if random.random() < 0.8 else None,
                     fermatas_ql=fermatas)
    raw_at, bent = bent_time(played.seconds_at(starts), np.unique(played.onset_s), float(played.offset_s.max()) + 5.0,
                             random, freedom=0.3 if piece.plain else 1.0)

    def seconds_at(places: np.ndarray) -> np.ndarray:
        """Times of places in the score, freedom included."""
        raw = played.seconds_at(places)
        return np.interp(raw, raw_at, bent) + np.minimum(raw, 0.0)

    ql = onset.astype(float)
    begin, end = (np.interp(x, raw_at, bent) for x in (played.onset_s, played.offset_s))
    begin = _hands_apart(begin, ql, pitch, random)
    places_s = np.arange(0.0, begin.max() + 8.0, random.uniform(2.0, 8.0))
    swell = random.normal(0.0, random.uniform(0.0, 20.0), len(places_s))
    velocity = played.velocity + np.interp(begin, places_s, swell)
    ql, begin, end, pitch, velocity = _ornaments(ql, begin, end, pitch, velocity, melody.astype(bool), random)
    ql, begin, end, pitch, velocity = _mistakes(ql, begin, end, pitch, velocity, random)
    if random.random() < 0.12:
        velocity[:] = 70.0
    order = np.lexsort((pitch, begin))
    notes = (begin[order], end[order], pitch[order].astype(np.int64), velocity[order].astype(np.int64))
    beats, is_down, metre_of, period = _beats(piece, seconds_at)
    return label(piece.name, notes, ql[order], beats, is_down, metre_of, period, seconds_at)


def _beats(piece: Piece, seconds_at):  # type: ignore[no-untyped-def]
    """Places (ql), downbeat flags, metres and length (s) of all written beats."""
    places, down, metre, length = [], [], [], []
    for k, bar in enumerate(piece.bars):
        stop = piece.bars[k + 1].ql if k + 1 < len(piece.bars) else piece.end_ql
        beat, short = beat_ql(bar), k == 0 and stop - bar.ql < bar_ql(bar) - 1e-6
        first = stop - np.floor((stop - bar.ql) / beat + 1e-6) * beat if short else bar.ql
        for at in np.arange(first, stop - 1e-6, beat):
            places.append(float(at))
            down.append(abs(at - bar.ql) < 1e-6 and not short)
            metre.append(METRES.index(f"{bar.numerator}/{bar.denominator}"))
            length.append(beat)
    places_ql, step = np.array(places), np.array(length)
    around = (seconds_at(places_ql + 2 * step) - seconds_at(places_ql - 2 * step)) / 4.0
    return places_ql, np.array(down), np.array(metre), around


def struck_at(beats_ql: np.ndarray, onset_ql: np.ndarray, onset_s: np.ndarray) -> list[tuple[int, int]]:
    """Every beat that notes are written on, with the cluster of onsets that is the beat: of those that hold notes of
    one beat (a rolled chord) the one with most of them. `onset_ql` of what a player adds is nan."""
    index = cluster(onset_s)
    near = np.clip(np.searchsorted(beats_ql, np.nan_to_num(onset_ql, nan=-1e9) + 1e-3) - 1, 0, len(beats_ql) - 1)
    on_beat = np.abs(onset_ql - beats_ql[near]) < 2e-3
    return [(int(b), int(np.bincount(index[on_beat & (near == b)]).argmax())) for b in np.unique(near[on_beat])]


def label(name, notes, ql, beats_ql, is_down, metre, period, seconds_at):  # type: ignore[no-untyped-def]
    """The truth for every onset cluster; `ql` of ornaments is nan."""
    onsets = hear_onsets(*notes)
    n = len(onsets.times_s)
    position = np.zeros(n, dtype=np.int8)
    beats_s = seconds_at(beats_ql)
    for beat, best in struck_at(beats_ql, ql, notes[0]):
        position[best] = max(position[best], 2 if is_down[beat] else 1)
    at = np.clip(np.searchsorted(beats_s, onsets.times_s + 0.03) - 1, 0, len(beats_s) - 1)
    return Rendition(name, onsets, position, period[at], metre[at].astype(np.int8), beats_s, beats_s[is_down], notes,
                     ql, beats_ql)


def _ornaments(ql, begin, end, pitch, velocity, melody, random: Random):  # type: ignore[no-untyped-def]
    """Trills, mordents and grace notes on some of the longer notes of the melody."""
    rate = 0.0 if random.random() < 0.55 else random.uniform(0.01, 0.12)
    rows = []
    for i in np.flatnonzero((random.random(len(ql)) < rate) & melody & (end - begin > 0.25)):
        kind, step = random.random(), int(random.choice([1, 2]))
        speed = random.uniform(0.055, 0.095)
        if kind < 0.35 and end[i] - begin[i] > 0.4:
            times = np.arange(begin[i] + speed, end[i] - speed, speed) + 0.0
            rows += [(np.nan, t, t + speed, pitch[i] + (step if k % 2 == 0 else 0), velocity[i] - 6)
                     for k, t in enumerate(times + random.normal(0, 0.006, len(times)))]
            end[i] = begin[i] + speed
        elif kind < 0.6:
            rows += [(np.nan, begin[i] + speed, begin[i] + 2 * speed, pitch[i] + step, velocity[i] - 5),
                     (np.nan, begin[i] + 2 * speed, end[i], pitch[i], velocity[i] - 3)]
            end[i] = begin[i] + speed
        else:
            count = int(random.integers(1, 4))
            rows += [(np.nan, begin[i] - (k + 1) * speed, begin[i] - k * speed,
                      pitch[i] + step * (1 if k % 2 == 0 else -1), velocity[i] - 8) for k in range(count)]
    return _with(rows, ql, begin, end, pitch, velocity)


def _mistakes(ql, begin, end, pitch, velocity, random: Random):  # type: ignore[no-untyped-def]
    """Notes that a transcriber misses, invents or times badly."""
    if random.random() < 0.5:
        keep = random.random(len(ql)) > random.uniform(0.0, 0.06)
        ql, begin, end, pitch, velocity = (x[keep] for x in (ql, begin, end, pitch, velocity))
        rows = []
        for i in np.flatnonzero(random.random(len(ql)) < random.uniform(0.0, 0.03)):
            late = 0.0 if random.random() < 0.5 else random.uniform(0.05, 0.5)
            jump = int(random.choice([12, -12, 0, 7, 19, 1]))
            other = int(np.clip(pitch[i] + jump, 21, 108))
            rows.append((np.nan, begin[i] + late, begin[i] + late + 0.1, other, velocity[i] * 0.6))
        ql, begin, end, pitch, velocity = _with(rows, ql, begin, end, pitch, velocity)
        begin = begin + random.normal(0.0, random.uniform(0.0, 0.008), len(begin))
    begin = np.maximum(begin, 0.0)
    return ql, begin, np.maximum(end, begin + 0.02), pitch, np.clip(velocity, 5, 127)


def _with(rows, *columns):  # type: ignore[no-untyped-def]
    if not rows:
        return columns
    more = [np.array(column, dtype=float) for column in zip(*rows, strict=True)]
    return tuple(np.concatenate(pair) for pair in zip(columns, more, strict=True))
