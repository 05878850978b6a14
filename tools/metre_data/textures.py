"""Piano textures with known metre, made of the scores in `corpus`: what solo piano music looks like.

Real scores for solo piano that may be used are few. These functions lay accompaniments of many kinds
under melodies, spread the harmonies of chorales and lead sheets into preludes and studies, write
two- and three-part counterpoint, and take quartets and chorales as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from .corpus import METRES, Bar, Chord, Sheet

Random = np.random.Generator
Note = tuple[float, float, int, bool]  # onset_ql, duration_ql, pitch, melody


@dataclass
class Piece:
    """A score ready to be performed."""

    name: str
    notes: list[Note]
    bars: list[Bar]
    end_ql: float
    fermatas: list[float] = field(default_factory=list)
    plain: bool = False  # played in a usual tempo, without much ado
    bpm: tuple[float, float] | None = None  # slowest and quickest natural tempo, where it is known


def bar_ql(bar: Bar) -> float:
    """Length of a full measure."""
    return 4.0 * bar.numerator / bar.denominator


def beat_ql(bar: Bar) -> float:
    """Length of a beat; dotted in compound metres (3/8 is one beat)."""
    return 4.0 / bar.denominator * (3 if is_compound(bar) else 1)


def _without_unisons(notes: list[Note]) -> list[Note]:
    """A key that is struck twice at once is struck once, as the later of the list has it."""
    return list({(round(o, 4), p): (o, d, p, m) for o, d, p, m in notes}.values())


def is_compound(bar: Bar) -> bool:
    """Whether beats divide in three."""
    return bar.denominator >= 8 and bar.numerator % 3 == 0


# ------------------------------------------------------------------ harmony


def _triads() -> list[tuple[int, ...]]:
    out = []
    for root in range(12):
        out += [(root, (root + 4) % 12, (root + 7) % 12), (root, (root + 3) % 12, (root + 7) % 12)]
    return out


TRIADS = _triads()


def infer_chords(sheet: Sheet, random: Random) -> list[Chord]:
    """A plausible triad for every measure (or half of one) of a tune, diatonic to its pitch classes."""
    weights = np.bincount(sheet.pitch % 12, weights=sheet.duration_ql, minlength=12)
    diatonic = [sum(weights[p] for p in t) for t in TRIADS]
    chords: list[Chord] = []
    halves = random.random() < 0.3
    last: tuple[int, ...] = ()
    for k, bar in enumerate(sheet.bars):
        end = sheet.bars[k + 1].ql if k + 1 < len(sheet.bars) else sheet.end_ql
        split = halves and bar.numerator in (4, 6, 12, 2) and end - bar.ql >= 2.0
        for a, b in ((bar.ql, (bar.ql + end) / 2), ((bar.ql + end) / 2, end)) if split else ((bar.ql, end),):
            inside = (sheet.onset_ql < b - 1e-6) & (sheet.onset_ql + sheet.duration_ql > a + 1e-6)
            lasting = np.minimum(sheet.duration_ql[inside], b - a)
            here = np.bincount(sheet.pitch[inside] % 12, weights=lasting, minlength=12)
            scores = [sum(here[p] for p in t) + 0.12 * here[t[0]] + 0.03 * d / (1e-6 + max(diatonic)) * (b - a)
                      + (0.05 if t == last else 0.0) for t, d in zip(TRIADS, diatonic, strict=True)]
            last = TRIADS[int(np.argmax(scores))]
            chords.append(Chord(a, last))
    return chords


def chorale_chords(sheet: Sheet) -> list[Chord]:
    """What sounds on every beat of a chorale, the bass first."""
    chords = []
    for ql in np.arange(np.ceil(sheet.onset_ql.min()), sheet.end_ql, 1.0):
        inside = (sheet.onset_ql <= ql + 1e-6) & (sheet.onset_ql + sheet.duration_ql > ql + 1e-6)
        tones = [int(p) % 12 for p in sorted(sheet.pitch[inside])]
        if len(set(tones)) >= 3:
            chords.append(Chord(float(ql), tuple(dict.fromkeys(tones))))
    return chords


class Harmony:
    """The chord at a place, and its tones in a register."""

    def __init__(self, chords: list[Chord]):
        self.at = np.array([c.ql for c in chords])
        self.chords = chords

    def tones(self, ql: float) -> tuple[int, ...]:
        """Pitch classes, the bass first."""
        return self.chords[max(int(np.searchsorted(self.at, ql + 1e-6, side="right")) - 1, 0)].pitch_classes

    def bass(self, ql: float, around: int) -> int:
        """The bass note nearest to `around`."""
        return nearest(self.tones(ql)[0], around)

    def above(self, ql: float, floor: int, count: int) -> list[int]:
        """The chord's tones from `floor` upwards."""
        tones = set(self.tones(ql))
        out = [p for p in range(floor, floor + 48) if p % 12 in tones]
        return out[:count]


def nearest(pitch_class: int, around: int) -> int:
    """The pitch of this class that is closest to `around`."""
    return around + (pitch_class - around + 6) % 12 - 6


# ------------------------------------------------------------------ accompaniment

SIMPLE = ("block", "half", "beats", "oompah", "stride", "alberti", "arpeggio", "wave", "repeated", "tremolo",
          "walking", "pop", "syncopated", "habanera", "dotted", "bass", "offbeat", "octaves", "ballad")
COMPOUND = ("block", "beats", "siciliano", "arpeggio", "wave", "repeated", "jig", "waltz", "bass", "octaves", "rocking")


def _figure(kind: str, division: int, steps: int) -> list[int]:
    """Indices of chord tones (0 = bass) of a broken chord of `steps` notes."""
    if kind == "alberti":
        return [(0, 2, 1, 2)[k % 4] for k in range(steps)]
    if kind == "wave":
        top = max(2, min(division if division > 2 else 4, 6))
        cycle = [*range(top), *range(top - 2, 0, -1)]
        return [cycle[k % len(cycle)] for k in range(steps)]
    return [k % max(division, 3) for k in range(steps)]


def accompany(
    harmony: Harmony, bars: list[Bar], end: float, kind: str, division: int, low: int, random: Random
) -> list[Note]:
    """A left hand of one kind; `division` is the number of notes a beat in moving figures."""
    notes: list[Note] = []
    floor = low + 9
    rest_first = random.random() < 0.15
    sparse = 0.06 if random.random() < 0.4 else 0.0
    legato = random.choice([0.4, 0.8, 1.0])

    def put(ql: float, length: float, *pitches: int) -> None:
        if ql < end - 1e-6:
            notes.extend((ql, max(length, 0.1), p, False) for p in pitches)

    for index, bar in enumerate(bars):
        stop = bars[index + 1].ql if index + 1 < len(bars) else end
        full, beat = bar_ql(bar), beat_ql(bar)
        if stop - bar.ql < full - 1e-6 and index == 0:
            continue  # nothing under a pickup
        if random.random() < sparse:
            put(bar.ql, full, harmony.bass(bar.ql, low))
            continue
        count = round(full / beat)
        for n in range(count):
            at = bar.ql + n * beat
            if at >= stop - 1e-6:
                break
            chord = harmony.above(at, floor, 3)
            bass = harmony.bass(at, low)
            strong = n == 0 or (count == 4 and n == 2)
            changed = n == 0 or harmony.tones(at) != harmony.tones(at - beat)
            if kind == "block":
                if n == 0:
                    put(at, full, bass, *chord)
                elif changed and random.random() < 0.8:
                    put(at, full - n * beat, bass, *chord)
            elif kind == "half":
                if strong:
                    put(at, beat * 2, bass, *chord)
            elif kind == "beats":
                put(at, beat, bass, *chord) if strong else put(at, beat, *chord)
            elif kind == "bass":
                if strong or changed or random.random() < 0.2:
                    put(at, beat * (2 if count == 4 else 1), bass)
            elif kind == "octaves":
                for k in range(division):
                    put(at + k * beat / division, beat / division * legato, bass - 12 if k % 2 == 0 else bass)
            elif kind == "oompah":
                if n == 0 or (strong and random.random() < 0.9):
                    put(at, beat * legato, bass if n == 0 else nearest(harmony.tones(at)[-1], low))
                else:
                    put(at, beat * 0.6, *chord)
            elif kind == "stride":
                put(at, beat / 2, bass if strong or random.random() < 0.7 else bass - 5)
                put(at + beat / 2, beat / 2, *chord)
            elif kind == "offbeat":
                if strong:
                    put(at, beat / 2, bass)
                put(at + beat / 2, beat / 2 * legato, *chord)
            elif kind == "walking":
                put(at, beat, bass if changed else bass + int(random.choice([-2, 2, 3, 5, 7, -5])))
            elif kind == "pop":
                if n % 2 == 0:
                    put(at, beat * 1.5, bass, bass - 12)
                    put(at + beat * 1.5, beat / 2, *chord)
                else:
                    put(at, beat / 2, *chord)
            elif kind == "ballad":
                if n == 0:
                    put(at, full, bass)
                put(at, beat, *chord)
            elif kind == "syncopated":
                if n == 0:
                    put(at, beat, bass, *chord)
                    put(at + beat / 2, beat, *chord)
                else:
                    put(at + beat / 2, beat, *chord)
            elif kind == "habanera":
                put(at, beat * 0.75, bass)
                put(at + beat * 0.75, beat * 0.25, chord[0])
                if n % 2 == 1:
                    put(at + beat * 0.5, beat / 2, *chord)
            elif kind == "dotted":
                put(at, beat * 0.7, bass, *chord) if strong else put(at, beat * 0.7, *chord)
                put(at + beat * 0.75, beat * 0.25, *chord[:2])
            elif kind == "siciliano":
                put(at, beat / 2, bass)
                put(at + beat / 2, beat / 6, chord[0])
                put(at + beat * 2 / 3, beat / 3, *chord[:2])
            elif kind == "jig":
                put(at, beat * 0.6, bass)
                put(at + beat * 2 / 3, beat / 3, *chord)
            elif kind == "waltz":
                put(at, beat / 3, bass)
                put(at + beat / 3, beat / 3, *chord)
                put(at + beat * 2 / 3, beat / 3, *chord)
            elif kind == "rocking":
                put(at, beat * 2 / 3, bass, chord[0])
                put(at + beat * 2 / 3, beat / 3, chord[1])
            elif kind == "repeated":
                if strong and random.random() < 0.8:
                    put(at, beat, bass)
                for k in range(1 if rest_first else 0, division):
                    put(at + k * beat / division, beat / division * legato, *chord)
            elif kind == "tremolo":
                for k in range(division):
                    put(at + k * beat / division, beat / division, *([bass] if k % 2 == 0 else chord[:2]))
            else:  # alberti, arpeggio, wave
                tones = [bass, *harmony.above(at, bass + 3, 6)]
                whole = kind != "alberti" and count * division <= 8 and random.random() < 0.5
                if whole and n == 0:
                    figure = _figure(kind, count * division, count * division)
                elif not whole:
                    figure = _figure(kind, division, division)
                for k in range(division):
                    step = figure[(n * division + k) % len(figure)] if whole else figure[k]
                    if not (rest_first and k == 0 and n > 0):
                        put(at + k * beat / division, beat / division, tones[step % len(tones)])
    return notes


def left_hand(harmony: Harmony, bars: list[Bar], end: float, random: Random) -> list[Note]:
    """An accompaniment of a random kind that suits the metre; sometimes another kind from some measure on."""
    low = int(random.integers(36, 50))

    def one(part: list[Bar], stop: float) -> list[Note]:
        bar = part[len(part) // 2]
        if is_compound(bar):
            kind, division = str(random.choice(COMPOUND)), int(random.choice([3, 3, 3, 6]))
        else:
            kind = str(random.choice(SIMPLE))
            if bar.numerator == 3 and random.random() < 0.35:
                kind = "oompah"
            division = int(random.choice([2, 2, 2, 2, 4, 4, 3, 6] if bar.denominator == 4 else [2, 4, 4, 4, 8, 3, 6]))
            if kind == "tremolo":
                division = 4 if bar.denominator == 4 else 8
        return accompany(harmony, part, stop, kind, division, low, random)

    if len(bars) > 20 and random.random() < 0.4:
        cut = int(random.integers(8, len(bars) - 6))
        return one(bars[:cut], bars[cut].ql) + one(bars[cut:], end)
    return one(bars, end)


# ------------------------------------------------------------------ pieces


def excerpt(sheet: Sheet, random: Random, most_notes: int = 900) -> Sheet:
    """A stretch of whole measures with at most so many notes, from the beginning or further on."""
    if len(sheet.onset_ql) <= most_notes:
        return sheet
    starts = np.array([b.ql for b in sheet.bars])
    first = 0 if random.random() < 0.3 else int(random.integers(0, max(len(starts) - 12, 1)))
    begin = np.searchsorted(np.sort(sheet.onset_ql), starts[first])
    ordered = np.sort(sheet.onset_ql)
    stop = ordered[min(begin + most_notes, len(ordered) - 1)]
    keep = (sheet.onset_ql >= starts[first] - 1e-6) & (sheet.onset_ql < stop)
    bars = [b for b in sheet.bars[first:] if b.ql < stop]
    end = float((sheet.onset_ql + sheet.duration_ql)[keep].max()) if keep.any() else float(stop)
    return replace(sheet, onset_ql=sheet.onset_ql[keep], duration_ql=sheet.duration_ql[keep], pitch=sheet.pitch[keep],
                   part=sheet.part[keep], bars=bars, end_ql=end)


def as_written(sheet: Sheet, random: Random) -> Piece:
    """A score as it is, played on a keyboard: unisons merged, sometimes without some of its parts."""
    sheet = excerpt(sheet, random)
    parts = np.unique(sheet.part)
    top = parts[0]
    out: set[int] = set()
    if len(parts) > 2 and random.random() < 0.5:
        some = int(random.integers(1, len(parts) - 1))
        out = {int(k) for k in random.choice(parts, some, replace=False)}
    octave = random.random() < 0.25 and len(parts) > 1
    notes: dict[tuple[float, int], Note] = {}
    for o, d, p, k in zip(sheet.onset_ql, sheet.duration_ql, sheet.pitch, sheet.part, strict=True):
        if int(k) in out:
            continue
        key = (round(float(o), 4), int(p))
        if key not in notes or notes[key][1] < d:
            notes[key] = (float(o), float(d), int(p), bool(k == top))
        if octave and k == parts[-1] and p > 40:
            notes[(key[0], int(p) - 12)] = (float(o), float(d), int(p) - 12, False)
    return Piece(sheet.name, list(notes.values()), sheet.bars, sheet.end_ql, bpm=sheet.bpm)


def with_accompaniment(sheet: Sheet, random: Random) -> Piece:
    """A melody over a left hand; the melody sometimes in octaves, thirds or full chords, sometimes alone."""
    sheet = excerpt(sheet, random, 500)
    part = np.unique(sheet.part)[0]
    melody = sheet.part == part
    onset, length, pitch = sheet.onset_ql[melody], sheet.duration_ql[melody], sheet.pitch[melody]
    shift = 12 * int(random.integers(-1, 2)) if 60 < np.median(pitch) < 76 else 0
    notes: list[Note] = [
        (float(o), float(d), int(p) + shift, True) for o, d, p in zip(onset, length, pitch, strict=True)
    ]
    if random.random() < 0.06:
        return Piece(sheet.name, notes, sheet.bars, sheet.end_ql)
    chords = sheet.chords if len(sheet.chords) > 3 else infer_chords(sheet, random)
    harmony = Harmony(chords)
    dress = random.choice(["plain", "plain", "plain", "octave", "chord", "third"])
    for o, d, p, _ in list(notes):
        if dress == "octave":
            notes.append((o, d, p - 12, False))
        elif dress == "third" and d >= 0.5:
            under = [q for q in harmony.above(o, p - 10, 3) if q < p - 2]
            notes += [(o, d, under[-1], False)] if under else []
        elif dress == "chord" and d >= 1.0:
            notes += [(o, d, q, False) for q in harmony.above(o, p - 12, 4) if q < p - 2][:3]
    return Piece(sheet.name, notes + left_hand(harmony, sheet.bars, sheet.end_ql, random), sheet.bars, sheet.end_ql)


def arranged(sheet: Sheet, random: Random) -> Piece:
    """A score for several parts as a pianist might arrange it: one part over a left hand of another texture, or
    with the harmony of the others broken into figures."""
    sheet = excerpt(sheet, random, 700)
    parts = np.unique(sheet.part)
    chosen = parts[0] if random.random() < 0.6 else random.choice(parts)
    tune = sheet.part == chosen
    if tune.sum() < 12:
        return as_written(sheet, random)
    shift = 12 * round((float(random.uniform(64, 79)) - float(np.median(sheet.pitch[tune]))) / 12)
    lines = zip(sheet.onset_ql, sheet.duration_ql, sheet.pitch, strict=True)
    rows = [(float(o), float(d), int(p)) for o, d, p in lines]
    notes: list[Note] = [(o, d, p + shift, True) for (o, d, p), own in zip(rows, tune, strict=True) if own]
    others = [row for row, own in zip(rows, tune, strict=True) if not own]
    if not others or random.random() < 0.5:
        chords = chorale_chords(sheet) if random.random() < 0.4 else infer_chords(sheet, random)
        chords = chords if len(chords) > 3 else infer_chords(sheet, random)
        notes += left_hand(Harmony(chords), sheet.bars, sheet.end_ql, random)
    else:
        notes += _broken(others, sheet.bars, sheet.end_ql, random)
    return Piece(sheet.name, _without_unisons(notes), sheet.bars, sheet.end_ql)


def crossed(tune: Sheet, other: Sheet, random: Random) -> Piece:
    """The right hand of one study over the left hand of another in the same metre, measure by measure, whose notes
    move to the nearest tones of the harmony that the first one has."""
    right, left = tune.part < 2, other.part >= 2
    if right.sum() < 12 or left.sum() < 12:
        return as_written(tune, random)
    harmony = Harmony(infer_chords(tune, random))
    stops = np.append([b.ql for b in other.bars[1:]], other.end_ql)
    whole = [k for k, b in enumerate(other.bars) if stops[k] - b.ql > bar_ql(b) - 1e-6]
    inside = [left & (other.onset_ql > other.bars[k].ql - 1e-6) & (other.onset_ql < stops[k] - 1e-6) for k in whole]
    shift = -12 * max(round((np.median(other.pitch[left]) - np.median(tune.pitch[right]) + 14) / 12), 0)
    first = int(random.integers(0, len(whole)))
    columns = (x[right] for x in (tune.onset_ql, tune.duration_ql, tune.pitch, tune.part))
    notes: list[Note] = [(float(o), float(d), int(p), bool(k == 0)) for o, d, p, k in zip(*columns, strict=True)]
    for k, bar in enumerate(tune.bars):
        stop = tune.bars[k + 1].ql if k + 1 < len(tune.bars) else tune.end_ql
        if stop - bar.ql < bar_ql(bar) - 1e-6:
            continue
        place = (first + k) % len(whole)
        here = inside[place]
        rows = zip(other.onset_ql[here], other.duration_ql[here], other.pitch[here], strict=True)
        for o, d, p in rows:
            at, around = bar.ql + float(o) - other.bars[whole[place]].ql, max(int(p) + shift, 24)
            tones = [nearest(tone, around) for tone in harmony.tones(at)]
            notes.append((at, float(d), min(tones, key=lambda q, goal=around: abs(q - goal)), False))
    return Piece(tune.name, _without_unisons(notes), tune.bars, tune.end_ql, bpm=tune.bpm)


def _broken(rows: list[tuple[float, float, int]], bars: list[Bar], end: float, random: Random) -> list[Note]:
    """What sounds at every beat, one note after the other."""
    bar = bars[len(bars) // 2]
    division = int(random.choice([3, 3, 6] if is_compound(bar) else [2, 2, 4, 4, 3] if bar.denominator == 4 else [4]))
    kind = str(random.choice(["alberti", "wave", "arpeggio"]))
    shift = -12 * int(random.integers(0, 2))
    rows = sorted(rows)
    starts = [r[0] for r in rows]
    notes: list[Note] = []
    for b, stop in zip(bars, [*[x.ql for x in bars[1:]], end], strict=True):
        beat = beat_ql(b)
        for at in np.arange(b.ql, stop - 1e-6, beat):
            near = rows[int(np.searchsorted(starts, at - 8.0)) : int(np.searchsorted(starts, at + 1e-6))]
            tones = sorted({p for o, d, p in near if o + d > at + 1e-6})
            if not tones:
                continue
            figure = _figure(kind, division, division)
            for k in range(division if len(tones) > 1 else 1):
                length = beat / (division if len(tones) > 1 else 1)
                notes.append((float(at) + k * length, length, tones[figure[k] % len(tones)] + shift, False))
    return notes


def varied(piece: Piece, random: Random) -> Piece:
    """The same measures in other rhythms: notes of one hand struck twice, joined, dotted or held back."""
    hand = bool(random.integers(0, 2))
    beat = beat_ql(piece.bars[len(piece.bars) // 2])
    share = float(random.uniform(0.3, 1.0))
    kind = str(random.choice(["twice", "joined", "dotted", "late"]))
    down = np.array([b.ql for b in piece.bars])
    own = sorted(n for n in piece.notes if n[3] == hand)
    notes = [n for n in piece.notes if n[3] != hand]
    usual = float(np.median([d for _, d, _, _ in own])) if own else 1.0
    places = sorted({o for o, _, _, _ in own})
    moved: dict[float, tuple[float, float] | None] = {}  # onset -> new onset and what its length grows by
    for a, b in pairwise(places):
        if a in moved or random.random() > share:
            continue
        place = (a - down[max(int(np.searchsorted(down, a + 1e-6)) - 1, 0)]) / beat
        on_beat = abs(place - round(place)) < 1e-3
        if kind == "joined" and on_beat and b - a <= beat / 2 + 1e-3:
            moved[b] = None
        elif kind == "dotted" and on_beat and abs(b - a - beat / 2) < 1e-3:
            moved[b] = (b + beat / 4, -beat / 4)
        elif kind == "late" and on_beat and random.random() < 0.5:
            moved[a] = None
    for o, d, p, m in own:
        change = moved.get(o, (o, 0.0))
        if change is None:
            continue
        o, d = change[0], max(d + change[1], 0.1)
        if kind == "twice" and d >= max(usual, 0.25) - 1e-3 and random.random() < share:
            other = p + int(random.choice([0, 0, 1, -1, 2, -2, 12 if p < 60 else -12]))
            notes += [(o, d / 2, p, m), (o + d / 2, d / 2, other, m)]
        else:
            notes.append((o, d, p, m))
    return replace(piece, notes=notes)


def exercise(metre: tuple[int, int], random: Random) -> Piece:
    """A melody that runs in even notes and rests at the end of every phrase, as in books for beginners."""
    bars = _regular(metre, 4 * int(random.integers(3, 9)))
    full, beat = bar_ql(bars[0]), beat_ql(bars[0])
    step = beat / (3 if is_compound(bars[0]) else int(random.choice([2, 2, 2, 1, 4])))
    phrase = int(random.choice([2, 4, 4, 8]))
    motif = [int(x) for x in random.choice([-2, -1, -1, 1, 1, 2, 3, -3], 16)]
    scale = [0, 2, 4, 5, 7, 9, 11]
    degree, notes = int(random.integers(0, 7)), []
    for m, bar in enumerate(bars):
        if m % phrase == phrase - 1:
            notes.append((bar.ql, full * float(random.choice([1.0, 1.0, 0.75])), 72 + scale[degree % 7], True))
            degree = int(random.integers(0, 7))
            continue
        for k in range(round(full / step)):
            if random.random() < 0.06:
                continue  # held over, or a rest
            notes.append((bar.ql + k * step, step, 60 + 12 * (degree // 7 + 1) + scale[degree % 7], True))
            degree = int(np.clip(degree + motif[(k + (m % 2) * 5) % 16], -4, 11))
    return Piece("exercise", notes, bars, bars[-1].ql + full)


PLAIN = ("waltz", "waltz", "bass", "bass", "two", "walking", "block", "half", "beats", "oompah", "alberti", "none")


def plain(tune: Piece, chords: list[Chord], random: Random) -> Piece:
    """A melody over the simplest of left hands, as in an album for the young: a bass and chords on the other
    beats, a second voice in long notes or in beats, block chords, a broken chord, or nothing at all."""
    kind = str(random.choice(PLAIN))
    melody = [n for n in tune.notes if n[3]]
    harmony = Harmony(chords)
    low = int(random.integers(40, 54))
    notes: list[Note] = []
    if kind in ("waltz", "two"):
        each = random.random() < 0.5  # a new bass on every strong beat, or one a measure
        held = float(random.choice([0.6, 0.9, 1.0]))
        for index, bar in enumerate(tune.bars):
            stop = tune.bars[index + 1].ql if index + 1 < len(tune.bars) else tune.end_ql
            full, beat = bar_ql(bar), beat_ql(bar)
            if stop - bar.ql < full - 1e-6 and index == 0:
                continue
            step = beat / 3 if is_compound(bar) and random.random() < 0.5 else beat
            count = round(full / step)
            long = random.random() < 0.4
            for n in range(count):
                at = bar.ql + n * step
                if at >= stop - 1e-6:
                    break
                bass = harmony.bass(at, low)
                if kind == "two":  # one voice, in beats, in halves or held for the measure
                    if n == 0 or (not long and random.random() < 0.75):
                        pitch = bass if n == 0 else nearest(int(random.choice(harmony.tones(at))), bass + 4)
                        notes.append((at, (full if long else step) * held, pitch, False))
                elif n == 0 or (each and count == 4 and n == 2):
                    notes.append((at, step * held, bass, False))
                else:
                    chord = harmony.above(at, low + 9, int(random.integers(2, 4)))
                    notes += [(at, step * held, p, False) for p in chord]
    elif kind != "none":
        bar = tune.bars[len(tune.bars) // 2]
        notes = accompany(harmony, tune.bars, tune.end_ql, kind, 3 if is_compound(bar) else 2, low, random)
    return replace(tune, notes=melody + notes, plain=True)


def _regular(metre: tuple[int, int], count: int, pickup_ql: float = 0.0) -> list[Bar]:
    """`count` full measures, and a pickup before them if its length is not 0."""
    full = 4.0 * metre[0] / metre[1]
    bars = [Bar(0.0, *metre)] if pickup_ql else []
    return bars + [Bar(pickup_ql + k * full, *metre) for k in range(count)]


def _spread(chords: list[Chord], bars: list[Bar], random: Random) -> Harmony:
    """A progression laid out afresh, a chord a measure, or half or two measures; phrases come again."""
    start = int(random.integers(0, max(len(chords) - 8, 1)))
    pick = chords[start:start + 64]
    if len(bars) >= 16 and random.random() < 0.5:  # a phrase of eight, repeated with another end
        pick = pick[:8] + pick[:6] + pick[8:10] + pick[10:]
    pace = float(random.choice([0.5, 1.0, 1.0, 1.0, 2.0]))
    out, k = [], 0
    for number, bar in enumerate(bars):
        if pace == 2.0 and number % 2:
            continue
        out.append(Chord(bar.ql, pick[k % len(pick)].pitch_classes))
        k += 1
        if pace == 0.5 and bar.numerator in (2, 4, 6, 12) and random.random() < 0.7:
            out.append(Chord(bar.ql + bar_ql(bar) / 2, pick[k % len(pick)].pitch_classes))
            k += 1
    return Harmony(out)


def prelude(chords: list[Chord], metre: tuple[int, int], random: Random) -> Piece:
    """A study in one figure over both hands: Bach's C major prelude, Chopin's studies, and their like."""
    count = int(random.integers(16, 40))
    bars = _regular(metre, count, float(random.choice([0.0, 0.0, 0.0, 0.5, 1.0])) if metre[1] != 2 else 0.0)
    end = bars[-1].ql + 4.0 * metre[0] / metre[1]
    harmony = _spread(chords, bars, random)
    beat = beat_ql(bars[-1])
    per_bar = round(4.0 * metre[0] / metre[1] / beat)
    division = int(random.choice([3, 6, 6, 4] if is_compound(bars[-1]) else [2, 4, 4, 4, 3, 6, 8]))
    if metre[1] == 2:
        division = int(random.choice([4, 4, 8, 6]))
    steps = per_bar * division
    unit = beat / division
    span = int(random.choice([division, steps, steps // 2 if steps % 2 == 0 else steps]))
    cell = [int(x) for x in np.abs(np.cumsum(random.choice([-2, -1, -1, 1, 1, 1, 2], span)))]
    if random.random() < 0.5:
        cell = [*range(span)]
    if random.random() < 0.4:
        top = int(random.integers(3, 7))
        cell = [c % top for c in cell]
    cells = [cell]
    if random.random() < 0.5:  # other turns of the figure in some measures
        cells += [[int(x) for x in np.abs(np.array(cell) + random.integers(-1, 2, span))] for _ in range(3)]
    if random.random() < 0.3:
        cells += [[int(x) for x in random.integers(0, 6, span)] for _ in range(2)]
    low = int(random.integers(34, 50))
    floor = int(random.integers(50, 64))
    below = random.random() < 0.35  # the figure in the left hand, chords above it
    if below:
        floor = int(random.integers(36, 50))
    melody_rhythm = _rhythm(metre, random, coarse=random.random() < 0.6)
    bass_kind = random.choice(["bar", "bar", "beat", "half", "two", "none", "chord"])
    rest = random.random() < 0.2  # the figure begins after the beat
    if below:
        bass_kind = "none"
    tune = below or random.random() < 0.5
    full_chords = random.random() < 0.4
    last_top = floor + 19
    notes: list[Note] = []
    for number, bar in enumerate(bars):
        stop = bars[number + 1].ql if number + 1 < len(bars) else end
        if number == 0 and stop - bar.ql < bar_ql(bar) - 1e-6:
            n = round((stop - bar.ql) / unit)
            tones = harmony.above(stop, floor, 8)
            notes += [(bar.ql + k * unit, unit, tones[cell[(k - n) % span] % len(tones)], False) for k in range(n)]
            continue
        if number == count - 1 and random.random() < 0.7:  # the last chord
            chord = [harmony.bass(bar.ql, low), *harmony.above(bar.ql, floor, 4)]
            notes += [(bar.ql, bar_ql(bar), p, True) for p in chord]
            continue
        cell = cells[int(random.integers(0, len(cells)))]
        for k in range(steps):
            at = bar.ql + k * unit
            if rest and k % span == 0:
                continue
            tones = harmony.above(at, floor, 8)
            notes.append((at, unit, tones[cell[k % span] % len(tones)], not tune))
        for n in range(per_bar):
            at = bar.ql + n * beat
            if (n == 0 and bass_kind != "none") or bass_kind == "beat" or (bass_kind == "half" and n == per_bar // 2):
                length = bar_ql(bar) if bass_kind in ("bar", "two", "chord") else beat
                bass = harmony.bass(at, low)
                notes.append((at, length, bass, False))
                if bass_kind == "two":
                    later = at + unit * (1 if division > 2 else 0.5)
                    notes.append((later, length - unit, harmony.above(at, bass + 7, 1)[0], False))
                if bass_kind == "chord":
                    notes.append((at, length, bass - 12, False))
        if tune:
            for at, length in melody_rhythm[number % len(melody_rhythm)]:
                tones = harmony.above(bar.ql + at, last_top - 5, 5)
                last_top = int(np.clip(tones[int(random.integers(0, len(tones)))], floor + 14, floor + 28))
                notes.append((bar.ql + at, length, last_top, True))
                if full_chords:
                    under = harmony.above(bar.ql + at, last_top - 12, 3)
                    notes += [(bar.ql + at, length, p, False) for p in under if p < last_top]
    return Piece("prelude", _without_unisons(notes), bars, end)


CELLS = {  # rhythms of a beat, in beats, with their weights
    "simple": [
        ((0,), 4), ((0, 0.5), 5), ((0, 0.25, 0.5, 0.75), 4), ((0, 0.75), 2), ((0, 0.5, 0.75), 2), ((0, 0.25, 0.5), 1.5),
        ((0, 1 / 3, 2 / 3), 1), ((0.5,), 0.5), ((0, 0.25, 0.75), 0.5), ((), 0.6), ((0.5, 0.75), 0.3),
        ((0.25, 0.5, 0.75), 0.3), ((0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875), 0.7), ((0, 0.75, 0.875), 0.7),
        ((0, 0.5, 0.625, 0.75, 0.875), 0.5), ((0, 1 / 6, 1 / 3, 0.5, 2 / 3, 5 / 6), 0.5),
    ],
    "compound": [
        ((0,), 4), ((0, 1 / 3, 2 / 3), 5), ((0, 2 / 3), 4), ((0, 0.5, 2 / 3), 2),
        ((0, 1 / 6, 1 / 3, 0.5, 2 / 3, 5 / 6), 2), ((0, 1 / 3), 0.7), ((1 / 3, 2 / 3), 0.5), ((), 0.5),
        ((0, 1 / 3, 0.5, 2 / 3, 5 / 6), 0.7), ((0, 0.5), 0.3), (tuple(k / 12 for k in range(12)), 0.5),
    ],
}


def _rhythm(metre: tuple[int, int], random: Random, coarse: bool = False) -> list[list[tuple[float, float]]]:
    """Four measures of rhythm that hang together: (onset, length) from the measure's start."""
    bar = Bar(0.0, *metre)
    full, beat = bar_ql(bar), beat_ql(bar)
    count = round(full / beat)
    cells, weights = zip(*CELLS["compound" if is_compound(bar) else "simple"], strict=True)
    favour = np.array(weights) * random.gamma(0.7, 1.0, len(weights))  # every piece likes a few of them
    if random.random() < 0.35:  # plain music: hardly a note shorter than the beat's first division
        favour = favour * np.array([0.05 if len(c) > (3 if is_compound(bar) else 2) else 1.0 for c in cells])
    if coarse:
        favour = favour * np.array([4.0 if len(c) <= 1 else 1.0 if len(c) == 2 else 0.2 for c in cells])
    favour = favour / favour.sum()

    def measure() -> list[tuple[float, float]]:
        places: list[float] = []
        for n in range(count):
            cell = cells[int(random.choice(len(cells), p=favour))]
            if metre[1] == 2 and len(cell) in (1, 2) and random.random() < 0.4:
                cell = tuple(sorted({*cell, 0.5}))
            places += [(n + c) * beat for c in cell]
        if not places:
            places = [0.0]
        return [(a, b - a) for a, b in zip(places, [*places[1:], full], strict=True)]

    a, b, c = measure(), measure(), measure()
    return [[a, b, a, c], [a, a, b, c], [a, b, c, a], [a, b, c, measure()]][int(random.integers(0, 4))]


def song(chords: list[Chord], metre: tuple[int, int], random: Random) -> Piece:
    """A made-up melody in phrases (a a b a and the like) over an accompaniment."""
    full = 4.0 * metre[0] / metre[1]
    beat = beat_ql(Bar(0.0, *metre))
    beats = round(full / beat)
    pickup = 0.0
    if random.random() < 0.4:
        pickup = beat * float(random.choice([1.0, 1.0, 0.5, 2.0 if beats > 2 else 1.0]))
        if is_compound(Bar(0.0, *metre)):
            pickup = beat * float(random.choice([1 / 3, 1 / 3, 2 / 3, 1.0 if beats > 1 else 1 / 3]))
    count = 4 * int(random.integers(4, 9))
    bars = _regular(metre, count, pickup)
    end = bars[-1].ql + full
    harmony = _spread(chords, bars, random)
    themes = [_rhythm(metre, random) for _ in range(2)]
    contours = [random.integers(-3, 4, 64) for _ in range(2)]
    form = [[0, 0, 1, 0], [0, 1], [0, 0, 1, 1], [0]][int(random.integers(0, 4))]
    floor = int(random.integers(62, 74))
    notes: list[Note] = []
    pitch = floor + 5
    for number, bar in enumerate(bars):
        stop = bars[number + 1].ql if number + 1 < len(bars) else end
        if number == 0 and stop - bar.ql < full - 1e-6:
            part = beat / (3 if is_compound(bar) else 2)
            steps = max(1, round((stop - bar.ql) / part)) if random.random() < 0.6 else 1
            each = (stop - bar.ql) / steps
            notes += [(bar.ql + k * each, each, floor + 2 + k * 2, True) for k in range(steps)]
            continue
        m = number - (1 if pickup else 0)
        which = form[(m // 4) % len(form)]
        rhythm, contour = themes[which][m % 4], contours[which]
        if number == len(bars) - 1:
            rhythm = [(0.0, full)]
        elif m % 8 == 7 and random.random() < 0.5:
            rhythm = [(0.0, full * 0.75)]
        for k, (at, length) in enumerate(rhythm):
            tones = harmony.above(bar.ql + at, pitch - 6, 6)
            target = pitch + int(contour[(m % 4 * 8 + k) % 64]) * (2 if at == 0 else 1)
            pitch = min(tones, key=lambda t, goal=target: abs(t - goal)) if at % beat < 1e-6 else target
            pitch = int(np.clip(pitch, floor - 3, floor + 16))
            notes.append((bar.ql + at, length, pitch, True))
    if random.random() < 0.15:
        notes += [(o, d, p - 12, False) for o, d, p, _ in notes]
    return Piece("song", notes + left_hand(harmony, bars, end, random), bars, end)


def counterpoint(chords: list[Chord], metre: tuple[int, int], random: Random) -> Piece:
    """Two or three parts that imitate each other: an invention or the exposition of a fugue."""
    full = 4.0 * metre[0] / metre[1]
    beat = beat_ql(Bar(0.0, *metre))
    compound = is_compound(Bar(0.0, *metre))
    count = int(random.integers(16, 36))
    bars = _regular(metre, count)
    end = bars[-1].ql + full
    harmony = _spread(chords, bars, random)
    voices = int(random.choice([2, 2, 3, 3, 4]))
    registers = [76, 64, 52, 45] if voices == 4 else [74, 62, 48][:voices] if voices == 3 else [72, 52]
    subject = _rhythm(metre, random)[:2]
    counter = _rhythm(metre, random)[:2]
    running = int(random.choice([2, 4, 4] if not compound else [3, 6])) * (2 if metre[1] == 2 else 1)
    run = [[(k * beat / running, beat / running) for k in range(round(full / beat) * running)]] * 2
    slow = _rhythm(metre, random, coarse=True)[:2]
    skip = float(random.choice([0.0, 0.0, 0.5, 0.25])) * beat  # subjects that begin after the beat
    entries = 2 if random.random() < 0.7 else 1
    notes: list[Note] = []
    for voice in range(voices):
        pitch = registers[voice]
        for number in range(count):
            section = number // entries
            if section < voice:  # not entered yet
                continue
            role = (section - voice) % voices if random.random() < 0.85 else int(random.integers(0, 3))
            material = (subject, counter, slow, slow)[min(role, 3)]
            if role == 1 and random.random() < 0.4:
                material = run
            if number == count - 1:
                material = [[(0.0, full)]] * 2
            for k, (at, length) in enumerate(material[number % 2]):
                if role == 0 and number % entries == 0 and at < skip - 1e-6:
                    continue
                ql = bars[number].ql + at
                step = int(random.choice([-2, -1, -1, 1, 1, 2])) if k else 0
                pitch += step if length < beat else 0
                tones = harmony.above(ql, pitch - 5, 5)
                if at % beat < 1e-6 or length >= beat:
                    pitch = min(tones, key=lambda t, goal=pitch: abs(t - goal))
                pitch = int(np.clip(pitch, registers[voice] - 9, registers[voice] + 10))
                notes.append((ql, length, pitch, voice == 0))
    return Piece("counterpoint", _without_unisons(notes), bars, end)


def medley(sections: list[Piece], random: Random) -> Piece:
    """Stretches of several pieces in one metre, one after the other, the first sometimes once more."""
    order = [*sections, sections[0]] if random.random() < 0.3 else sections
    notes: list[Note] = []
    bars: list[Bar] = []
    now = 0.0
    for number, piece in enumerate(order):
        pickup = len(piece.bars) > 1 and piece.bars[1].ql - piece.bars[0].ql < bar_ql(piece.bars[0]) - 1e-6
        first = 1 if pickup and number else 0
        last = min(first + int(random.integers(6, 17)), len(piece.bars) - 1)
        a, b = piece.bars[first].ql, piece.bars[last].ql
        transpose = int(random.choice([0, 0, 5, -5, 7, 3, -3]))
        inside = [n for n in piece.notes if a - 1e-6 <= n[0] < b - 1e-6]
        notes += [(o - a + now, min(d, b - o), p + transpose, m) for o, d, p, m in inside]
        bars += [Bar(x.ql - a + now, x.numerator, x.denominator) for x in piece.bars[first:last]]
        now += b - a
    return Piece("medley", notes, bars, now)


def with_passages(piece: Piece, random: Random) -> Piece:
    """Runs of short notes in the place of the melody of some measures."""
    share = float(random.uniform(0.05, 0.35))
    melody = [n for n in piece.notes if n[3]]
    notes = piece.notes
    for bar, after in zip(piece.bars[:-1], piece.bars[1:], strict=True):
        if random.random() > share:
            continue
        inside = [n for n in melody if bar.ql - 1e-6 <= n[0] < after.ql - 1e-6]
        if not inside:
            continue
        beat = beat_ql(bar)
        divisions = [6, 6, 3, 12] if is_compound(bar) else [4, 4, 4, 8, 6, 3] if bar.denominator == 4 else [8, 4, 6]
        division = int(random.choice(divisions))
        begin = inside[0][0] if random.random() < 0.5 else bar.ql + beat * int(random.integers(0, 2))
        stop = after.ql if random.random() < 0.7 else after.ql - beat
        notes = [n for n in notes if not (n[3] and begin - 1e-6 <= n[0] < stop - 1e-6)]
        pitch, way = inside[0][2], int(random.choice([-1, 1]))
        steps = random.choice([[2, 2, 1, 2], [1, 1, 1, 1], [3, 4, 5, 3], [2, -1, 2, -1], [12, -12, 11, -9]])
        for k, at in enumerate(np.arange(begin, stop - 1e-6, beat / division)):
            notes.append((float(at), beat / division, int(np.clip(pitch, 40, 100)), True))
            pitch += way * int(steps[k % 4])
            if random.random() < 0.08 or not 48 < pitch < 98:
                way = 1 if pitch < 60 else -1 if pitch > 90 else -way
    return replace(piece, notes=notes)


def thickened(piece: Piece, random: Random) -> Piece:
    """Octaves and full chords on some of the longer notes of the melody, octaves in the bass."""
    notes = list(piece.notes)
    low, full, least = random.random() < 0.4, random.random() < 0.4, float(random.choice([0.5, 1.0, 2.0]))
    for o, d, p, m in piece.notes:
        if not m and low and p < 48:
            notes.append((o, d, p - 12, False))
        elif m and full and d >= least:
            under = ((12,), (12, 5), (4, 7, 12), (3, 8, 12))[int(random.integers(0, 4))]
            notes += [(o, d, p - k, False) for k in under]
    return replace(piece, notes=_without_unisons(notes))


def articulated(piece: Piece, random: Random) -> Piece:
    """Hands and passages differ: some legato, some staccato."""
    block = float(random.choice([2, 4, 8])) * bar_ql(piece.bars[-1])
    held = {}
    for hand in (False, True):
        usual = random.uniform(0.5, 1.0)
        for k in range(int(piece.end_ql / block) + 2):
            held[hand, k] = usual if random.random() < 0.6 else random.uniform(0.2, 1.1)
    return replace(piece, notes=[(o, d * held[bool(m), int(max(o, 0) / block)], p, m) for o, d, p, m in piece.notes])


# ------------------------------------------------------------------ other notations of the same music


def renotated(piece: Piece, random: Random) -> Piece:
    """The same music as another composer would write it: 4/4 in quarters as 2/2, 6/8 in pairs as 12/8, ..."""
    metres = {(b.numerator, b.denominator) for b in piece.bars}
    if len(metres) > 1:
        return piece
    metre = metres.pop()
    fast = float(np.quantile([d for _, d, _, _ in piece.notes], 0.2))
    roll = random.random()
    if metre == (4, 4) and fast >= 0.5 and roll < 0.15:
        return replace(piece, bars=[Bar(b.ql, 2, 2) for b in piece.bars])
    if metre == (2, 4) and roll < 0.2:  # in pairs, and values doubled where they are short
        return _paired(piece, (4, 4))
    if metre == (6, 8) and roll < 0.3:
        return _paired(piece, (12, 8))
    if metre == (3, 4) and fast >= 0.5 and roll < 0.05:
        return _scaled(piece, 0.5, (3, 8))
    return piece


def _paired(piece: Piece, metre: tuple[int, int]) -> Piece:
    pickup = len(piece.bars) > 1 and piece.bars[1].ql - piece.bars[0].ql < bar_ql(piece.bars[0]) - 1e-6
    rest = piece.bars[1:] if pickup else piece.bars
    bars = piece.bars[:1] * pickup + rest[::2]
    return replace(piece, bars=[Bar(b.ql, *metre) for b in bars])


def _scaled(piece: Piece, factor: float, metre: tuple[int, int]) -> Piece:
    return replace(piece, notes=[(o * factor, d * factor, p, m) for o, d, p, m in piece.notes],
                   bars=[Bar(b.ql * factor, *metre) for b in piece.bars], end_ql=piece.end_ql * factor)


def usable(sheet: Sheet) -> bool:
    """Whether its metres are among those that are learned and its measures are mostly full."""
    if any((b.numerator, b.denominator) not in METRES for b in sheet.bars):
        return False
    lengths = np.diff([b.ql for b in sheet.bars])
    full = np.array([bar_ql(b) for b in sheet.bars[:-1]])
    return len(lengths) > 6 and float((np.abs(lengths - full) < 1e-3).mean()) > 0.85
