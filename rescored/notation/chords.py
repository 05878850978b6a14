"""Chord symbols, beat by beat, from the notes that sound and the lowest of them.

A hidden Markov model after Sheh & Ellis, "Chord segmentation and recognition using EM-trained hidden
Markov models" (ISMIR 2003), over notes in place of sound: the states are twelve roots times the kinds
of `KINDS`, and no chord. How well a state agrees with a beat says a small network that sees the beat,
its neighbours and its measure as heard from the root, the same for all roots; how chords follow each
other, and where in a measure they change, was counted. tools/train_chords.py fits both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..music import BeatGrid, Chords, ChordSymbol, Floats, Ints, KeySignature, Part, Spelled, WrittenNote
from ..stage import Report, silent, stage
from .measures import lay_measures
from .ticks import PER_QUARTER, beat_ticks, to_ql, to_ticks

KINDS = {  # suffix of the symbol -> semitones and letters above the root
    "": ((0, 0), (4, 2), (7, 4)), "m": ((0, 0), (3, 2), (7, 4)),
    "7": ((0, 0), (4, 2), (7, 4), (10, 6)), "maj7": ((0, 0), (4, 2), (7, 4), (11, 6)),
    "m7": ((0, 0), (3, 2), (7, 4), (10, 6)), "dim": ((0, 0), (3, 2), (6, 4)),
    "m7b5": ((0, 0), (3, 2), (6, 4), (10, 6)), "aug": ((0, 0), (4, 2), (8, 4)),
    "sus4": ((0, 0), (5, 3), (7, 4)), "sus2": ((0, 0), (2, 1), (7, 4)),
}
SUFFIXES = tuple(KINDS)
STATES = 12 * len(KINDS) + 1  # root * len(KINDS) + kind; the last: no chord
NONE = STATES - 1
NO_CHORD = "N.C."
MIDDLE_C = 60
SHORTEST_QL = 1 / 24
HELD_QL = 0.25  # a tone that ends sooner only rings on
INVERTED, ROOTED = 0.6, 0.2  # least share of another bass for a slash, and most of the root's
WITHIN = 4  # beats, counted from each of so many, that stand for a measure where none is known
USUAL_CHANGE = 0.35  # share of the beats with which the harmony changes
PLACES = 3  # where a beat is in its measure: the first, the third, another
BASSES = {"": ((10, 6), (11, 6)), "m": ((10, 6),)}  # beside the chord's own tones
NATURAL = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
MODEL = Path(__file__).with_name("chord_net.npz")


@stage(version=2)
def find_chords(
    spelled: Spelled, grid: BeatGrid, parts: tuple[Part, ...] = (), *, report: Report = silent
) -> Chords:
    """The chord symbols of the piece; chords change on beats, and none is repeated.

    Another bass than the root is written after a slash where it lies below for most of a measure. A measure
    or more without a chord is "N.C."; where a single tone sounds, the chord before goes on. Roots have the names
    that the notes have.
    """
    kits = {p.id for p in parts if p.percussion}
    notes = [n for n in spelled.notes if n.part not in kits and not n.grace]
    if not notes:
        return Chords(())
    notes.sort(key=lambda n: n.onset_ql)
    onset = np.array([float(n.onset_ql) for n in notes])
    pitch = np.array([n.pitch for n in notes])
    end = max(float(n.onset_ql + n.duration_ql) for n in notes)  # what rings on beyond is not written
    offset = np.maximum(np.minimum([n.release_ql for n in notes], end), onset + SHORTEST_QL)
    edges, measure = _beats(grid, onset.min(), float(offset.max()))
    report(0.2, "hearing the harmony")
    heard = hear(onset, offset, pitch, edges / PER_QUARTER, measure)
    states = decode(heard, places(measure), _model())
    written: list[ChordSymbol] = []
    for begin, end in _runs(states, measure):
        at = to_ql(int(edges[begin]))
        a, b = np.searchsorted(onset, edges[[begin, end]] / PER_QUARTER)
        if states[begin] == NONE:
            symbol = NO_CHORD if written and measure[end - 1] > measure[begin] else ""
        elif len(np.union1d(pitch[a:b] % 12, pitch[:a][offset[:a] > float(at) + HELD_QL] % 12)) < 2:
            continue  # a single tone says too little
        else:
            symbol = _symbol(int(states[begin]), heard[begin:end, 0].sum(axis=0), notes[a:b], _key_at(spelled.keys, at))
        if at == 0 and [c.symbol for c in written] == [symbol]:
            written = []  # a pickup needs no symbol of its own
        if symbol and not (written and written[-1].symbol == symbol):
            written.append(ChordSymbol(at, symbol))
    return Chords(tuple(written))



def _beats(grid: BeatGrid, begin_ql: float, end_ql: float) -> tuple[Ints, Ints]:
    """Edges of the beats that the notes lie in, in ticks, and the measure of every beat."""
    ticks = beat_ticks(grid)
    first, last = int(ticks[1] - ticks[0]), int(ticks[-1] - ticks[-2])
    before = max(int(np.ceil((ticks[0] - begin_ql * PER_QUARTER) / first)), 0)
    after = max(int(np.ceil((end_ql * PER_QUARTER - ticks[-1]) / last)), 0)
    edges = np.concatenate([
        ticks[0] - first * np.arange(before, 0, -1), ticks, ticks[-1] + last * np.arange(1, after + 1)])
    starts = np.array([to_ticks(m.ql) for m in lay_measures(grid, int(edges[0]), int(edges[-1]))])
    return edges, np.maximum(np.searchsorted(starts, edges[:-1], side="right") - 1, 0)


def _runs(states: Ints, measure: Ints) -> Iterator[tuple[int, int]]:
    """Stretches of one chord, parted at barlines so that each can have its bass; no chord is not parted."""
    changes = (np.diff(states) != 0) | ((np.diff(measure) != 0) & (states[1:] != NONE))
    bounds = [0, *(np.flatnonzero(changes) + 1).tolist(), len(states)]
    yield from pairwise(bounds)


def _symbol(state: int, bass: Floats, notes: Sequence[WrittenNote], key: KeySignature) -> str:
    """A chord's symbol. `bass`: how much each pitch class is the lowest; `notes`: whose names it takes."""
    root, kind = divmod(state, len(KINDS))
    suffix = SUFFIXES[kind]
    names = Counter((n.step, n.alter) for n in notes if n.pitch % 12 == root and abs(n.alter) < 2)
    step, alter = names.most_common(1)[0][0] if names else _name_in_key(root, suffix, key)
    share = bass / max(bass.sum(), 1e-9)
    symbol = _text(step, alter) + suffix
    for semitones, letters in (*KINDS[suffix][1:], *BASSES.get(suffix, ())):
        at = (root + semitones) % 12
        if share[at] > INVERTED and share[root] < ROOTED:
            letter = "CDEFGAB"[("CDEFGAB".index(step) + letters) % 7]
            return f"{symbol}/{_text(letter, (at - NATURAL[letter] + 6) % 12 - 6)}"
    return symbol


def _text(step: str, alter: int) -> str:
    return step + ("#" * alter if alter > 0 else "b" * -alter)


def _name_in_key(root: int, suffix: str, key: KeySignature) -> tuple[str, int]:
    """Letter and alteration of a root that no note has, near to the key on the line of fifths."""
    lowest = key.fifths - (5 if key.mode == "major" else 3) + (3 if suffix in ("dim", "m7b5") else 0)
    place = lowest + (7 * root - lowest) % 12 + 1
    return "FCGDAEB"[place % 7], place // 7


def _key_at(keys: Sequence[KeySignature], ql: Fraction) -> KeySignature:
    return next((key for key in reversed(keys) if key.ql <= ql), keys[0])


@cache
def _model() -> dict[str, Floats]:
    with np.load(MODEL) as arrays:
        return {name: arrays[name].astype(np.float64) for name in arrays.files}



class _Sounding(NamedTuple):
    """How much of every pitch class there is in every beat, each (beats, 12)."""

    bass: Floats  # for how long it is the lowest
    low: Floats  # for how long it sounds below middle C
    high: Floats
    struck: Floats


def hear(onset: Floats, offset: Floats, pitch: Ints, edges: Floats, measure: Ints) -> Floats:
    """What sounds in every beat: shape (beats, groups, 12), pitch classes from C up.

    `onset`, `offset`, `edges` in one unit, edges one more than beats; `measure`: the measure of every
    beat. Groups: lowest tones, tones below and above middle C, tones struck; then the lowest and all
    of the beat before, of the one after, and of the whole measure. Each sums to 1 at most.
    """
    return _shares(_sounding(onset, offset, pitch, edges), measure)


def _sounding(onset: Floats, offset: Floats, pitch: Ints, edges: Floats) -> _Sounding:
    beats, lengths, tone = len(edges) - 1, np.maximum(np.diff(edges), 1e-9), pitch % 12
    first = np.clip(np.searchsorted(edges, onset, side="right") - 1, 0, beats - 1)
    last = np.clip(np.searchsorted(edges, offset, side="left") - 1, first, beats - 1)
    share_first, share_last = (
        np.maximum((np.minimum(edges[k + 1], offset) - np.maximum(edges[k], onset)) / lengths[k], 0.02)
        for k in (first, last))
    longer = last > first

    def summed(notes: NDArray[np.bool_]) -> Floats:
        """What the notes share of every beat: of the first, of the last, and the whole of those between."""
        total, whole = np.zeros((beats, 12)), np.zeros((beats + 1, 12))
        more = notes & longer
        np.add.at(total, (first[notes], tone[notes]), share_first[notes])
        np.add.at(total, (last[more], tone[more]), share_last[more])
        np.add.at(whole, (first[more] + 1, tone[more]), 1.0)
        np.add.at(whole, (last[more], tone[more]), -1.0)
        return np.asarray(total + np.cumsum(whole[:-1], axis=0))

    struck = np.zeros((beats, 12))
    np.add.at(struck, (first, tone), 1.0)
    deep = pitch < MIDDLE_C
    return _Sounding(_lowest(onset, offset, pitch, edges), summed(deep), summed(~deep), struck)


def _shares(sounding: _Sounding, measure: Ints) -> Floats:
    bass, low, high, struck = sounding
    beats, everything = len(bass), low + high
    per_measure = np.zeros((2, int(measure.max()) + 1, 12)) if beats else np.zeros((2, 0, 12))
    for group, of in zip(per_measure, (bass, everything), strict=True):
        np.add.at(group, measure, of)
    before, after = np.maximum(np.arange(beats) - 1, 0), np.minimum(np.arange(beats) + 1, beats - 1)
    groups = (bass, low, high, struck, bass[before], everything[before], bass[after], everything[after],
              per_measure[0][measure], per_measure[1][measure])
    return np.stack([g / np.maximum(g.sum(axis=1, keepdims=True), 1e-9) for g in groups], axis=1)


def _lowest(onset: Floats, offset: Floats, pitch: Ints, edges: Floats) -> Floats:
    """For how long each pitch class is the lowest that sounds, in every beat."""
    result = np.zeros((len(edges) - 1, 12))
    bounds = np.unique(np.concatenate([onset, offset, edges]))
    lowest = np.full(len(bounds), 128)
    begin, end = np.searchsorted(bounds, onset), np.searchsorted(bounds, offset)
    for a, b, p in zip(begin, end, pitch, strict=True):
        np.minimum(lowest[a:b], p, out=lowest[a:b])
    lengths = np.diff(bounds, append=bounds[-1:])
    beat = np.searchsorted(edges, bounds, side="right") - 1
    known = (lowest < 128) & (beat >= 0) & (beat < len(edges) - 1)
    np.add.at(result, (beat[known], lowest[known] % 12), lengths[known])
    return result


def likely_changes(onset: Floats, offset: Floats, pitch: Ints, edges: Floats) -> Floats:
    """How likely the harmony changes with each beat, 0..1, shape (beats,), where measures are not known.

    Arguments as of `hear`. Chords change mostly with measures, so this tells downbeats (Papadopoulos & Peeters, "Joint
    estimation of chords and downbeats", IEEE TASLP 19, 2011). Forward and backward through the model of `decode`, in
    which all beats are alike.
    """
    model = _model()
    beat = np.arange(len(edges) - 1)
    sounding = _sounding(onset, offset, pitch, edges)
    odds = np.mean([_log_odds(_shares(sounding, (beat + k) // WITHIN), model) for k in range(WITHIN)], axis=0)
    evidence, motion = model["weights"]
    heard = np.exp(evidence * (odds - odds.max(axis=1, keepdims=True)))
    moves = np.exp(motion * _following(model))
    np.fill_diagonal(moves, 0.0)
    moves *= USUAL_CHANGE / moves.sum(axis=1, keepdims=True)
    forward = np.empty_like(heard)
    forward[0] = heard[0] / heard[0].sum()
    for k in beat[1:]:
        reached = (forward[k - 1] @ moves + (1.0 - USUAL_CHANGE) * forward[k - 1]) * heard[k]
        forward[k] = reached / reached.sum()
    backward = np.ones(STATES)
    result = np.full(len(beat), USUAL_CHANGE)
    for k in beat[:0:-1]:
        ahead = heard[k] * backward
        moved, stayed = moves @ ahead, (1.0 - USUAL_CHANGE) * ahead
        result[k] = forward[k - 1] @ moved / (forward[k - 1] @ (moved + stayed))
        backward = moved + stayed
        backward /= backward.sum()
    return result


def places(measure: Ints) -> Ints:
    """Where each beat is in its measure, 0 .. `PLACES` - 1, from the measure of every beat."""
    first = np.flatnonzero(np.diff(measure, prepend=measure[:1] - 1))
    inside = np.arange(len(measure)) - np.repeat(first, np.diff(first, append=len(measure)))
    return np.where(inside == 0, 0, np.where(inside == 2, 1, 2))


def decode(heard: Floats, place: Ints, model: Mapping[str, Floats]) -> Ints:
    """The likeliest state of every beat (Viterbi)."""
    if not len(heard):
        return np.zeros(0, dtype=np.int64)
    evidence, motion = model["weights"]
    gain = evidence * _log_odds(heard, model)
    follows = motion * _following(model)
    change, stay = np.log(model["change"])[place], np.log(1 - model["change"])[place]
    total = gain[0]
    back = np.zeros(gain.shape, dtype=np.int64)
    here = np.arange(STATES)
    for k in range(1, len(gain)):
        moved = total[:, None] + follows
        moved[here, here] = -np.inf
        best = moved.argmax(axis=0)
        changed, stayed = moved[best, here] + change[k], total + stay[k]
        back[k] = np.where(changed > stayed, best, here)
        total = np.maximum(changed, stayed) + gain[k]
    path = [int(total.argmax())]
    for k in range(len(gain) - 1, 0, -1):
        path.append(int(back[k, path[-1]]))
    return np.array(path[::-1])


def _log_odds(heard: Floats, model: Mapping[str, Floats]) -> Floats:
    """Log probability of every state for every beat, shape (beats, STATES)."""
    from_roots = np.stack([np.roll(heard, -root, axis=2) for root in range(12)], axis=1).reshape(len(heard), 12, -1)
    hidden = np.maximum(from_roots @ model["w1"] + model["b1"], 0.0)
    of_chords = (hidden @ model["w2"] + model["b2"]).reshape(len(heard), -1)
    of_none = model["none"][0] + heard.sum(axis=2) @ model["none"][1:]
    odds = np.concatenate([of_chords, of_none[:, None]], axis=1)
    odds -= odds.max(axis=1, keepdims=True)
    return np.asarray(odds - np.log(np.exp(odds).sum(axis=1, keepdims=True)))


def _following(model: Mapping[str, Floats]) -> Floats:
    """Log probability of every state after every other one, where there is a change."""
    kinds = len(KINDS)
    result = np.empty((STATES, STATES))
    for state in range(NONE):
        root, kind = divmod(state, kinds)
        result[state, :NONE] = np.roll(model["next"][kind, :-1], root * kinds)
        result[state, NONE] = model["next"][kind, -1]
    result[NONE] = np.append(np.tile(model["after_none"], 12), 0.0)
    return result
