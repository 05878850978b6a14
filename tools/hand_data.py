"""Music for two hands of which it is known what each hand plays: what `train_hands.py` learns from.

Pieces that were written for two hands (`metre_data.studies`), and what is made of the scores in
`metre_data.corpus`: melodies over accompaniments (and under them), parts of quartets and chorales given to
two hands, runs, octaves, figures within a hand, hands that rest or wander.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np
from metre_data.corpus import Sheet
from metre_data.textures import Harmony, Piece, excerpt, infer_chords, left_hand, song, usable

Random = np.random.Generator
REACH = 16  # semitones of a chord in one hand
DISTURBANCES = {"rest": 0.15, "run": 0.15, "octaves": 0.14, "both": 0.14, "move": 0.14, "solo": 0.14, "close": 0.11,
                "passed": 0.03}  # and how often each comes
BRIEF_QL = 0.5  # octaves that follow sooner take both hands


@dataclass
class Hands:
    """Notes, arrays of one length; `left` says whose they are."""

    onset_ql: np.ndarray
    length_ql: np.ndarray
    pitch: np.ndarray
    left: np.ndarray

    def __len__(self) -> int:
        return len(self.pitch)

    def where(self, keep: np.ndarray) -> Hands:
        """Some of the notes."""
        return Hands(self.onset_ql[keep], self.length_ql[keep], self.pitch[keep], self.left[keep])


def of_rows(rows: list[tuple[float, float, int, bool]]) -> Hands:
    """From (onset_ql, length_ql, pitch, left)."""
    onset, length, pitch, left = (np.array(column) for column in zip(*rows, strict=True))
    return Hands(onset.astype(float), length.astype(float), pitch.astype(int), left.astype(bool))


def joined(*hands: Hands) -> Hands:
    """Several together; where two strike one key at once, the first does."""
    rows: dict[tuple[int, int], tuple[float, float, int, bool]] = {}
    for h in hands:
        for row in zip(h.onset_ql.tolist(), h.length_ql.tolist(), h.pitch.tolist(), h.left.tolist(), strict=True):
            rows.setdefault((round(row[0] * 96), row[2]), row)
    return of_rows(sorted(rows.values(), key=lambda row: (round(row[0] * 96), row[2])))


def playable(hands: Hands, random: Random) -> Hands:
    """Without the notes of chords that a hand cannot reach from its outer note."""
    keep = np.ones(len(hands), dtype=bool)
    chords: defaultdict[tuple[int, bool], list[int]] = defaultdict(list)
    for i, (at, left) in enumerate(zip(np.round(hands.onset_ql * 96).astype(int), hands.left, strict=True)):
        chords[int(at), bool(left)].append(i)
    for (_, left), members in chords.items():
        outer = min(hands.pitch[members]) if left else max(hands.pitch[members])
        far = [i for i in members if abs(hands.pitch[i] - outer) > REACH]
        keep[far] = False
        near = [i for i in members if keep[i]]
        while len(near) > 5:
            dropped = near.pop(int(random.integers(1, len(near) - 1)))
            keep[dropped] = False
    return hands.where(keep & (hands.pitch >= 21) & (hands.pitch <= 108))


# ---------------------------------------------------------------- studies


def of_study(sheet: Sheet) -> Hands:
    """A study's notes: of its four voices the lower two are the left hand's. Unisons of the hands are one note."""
    rows = zip(sheet.onset_ql.tolist(), sheet.duration_ql.tolist(), sheet.pitch.tolist(), sheet.part >= 2, strict=True)
    return joined(of_rows([(o, d, p, bool(left)) for o, d, p, left in rows]))


def shaken(hands: Hands, random: Random) -> Hands:
    """Some of the longer notes trilled, or with grace notes before them, by the hand that plays them."""
    rows, keep = [], np.ones(len(hands), dtype=bool)
    share = random.uniform(0.0, 0.05)
    for i in np.flatnonzero((random.random(len(hands)) < share) & (hands.length_ql >= 0.5)):
        onset, length, pitch, left = (x[i] for x in (hands.onset_ql, hands.length_ql, hands.pitch, hands.left))
        step = int(random.choice([-2, -1, 1, 2]))
        if random.random() < 0.5:
            keep[i] = False
            rows += [(onset + k / 8, 0.125, pitch + step * (k % 2), left) for k in range(int(min(length, 4.0) * 8))]
        else:
            rows += [(onset - k / 12, 1 / 12, pitch + step * k, left) for k in range(1, int(random.integers(2, 5)))]
    return joined(hands.where(keep), of_rows(rows)) if rows else hands


# ---------------------------------------------------------------- one hand


def melody_of(sheet: Sheet) -> list[tuple[float, float, int]]:
    """The top part, one note at a time."""
    top = sheet.part == np.unique(sheet.part)[0]
    best: dict[float, tuple[float, float, int]] = {}
    for o, d, p in zip(sheet.onset_ql[top], sheet.duration_ql[top], sheet.pitch[top], strict=True):
        if o not in best or best[o][2] < p:
            best[float(o)] = (float(o), float(d), int(p))
    return [best[o] for o in sorted(best)]


def dressed(line: list[tuple[float, float, int]], harmony: Harmony, random: Random, below: bool = True
            ) -> list[tuple[float, float, int]]:
    """A line as one hand plays it: alone, in octaves, thirds, sixths, chords, or over a figure of its own."""
    kind = str(random.choice(["plain", "plain", "octave", "third", "sixth", "chord", "mixed", "figure", "pedal"],
                             p=[0.2, 0.2, 0.08, 0.08, 0.06, 0.12, 0.1, 0.1, 0.06]))
    side = -1 if below else 1
    notes = list(line)
    least = float(random.choice([0.5, 1.0]))

    def tones(o: float, p: int, reach: int) -> list[int]:
        low = p - reach if below else p + 2
        return [q for q in harmony.above(o, low, 8) if (q < p - 2 if below else q <= p + reach)]

    unit = float(random.choice([0.25, 0.25, 0.5, 1 / 3]))
    last_figure = -1.0
    for k, (o, d, p) in enumerate(line):
        now = kind if kind != "mixed" else str(random.choice(["plain", "octave", "chord", "sixth"]))
        if now == "octave":
            notes.append((o, d, p + 12 * side))
            if random.random() < 0.15:
                notes += [(o, d, q) for q in tones(o, p, 11)[:1]]
        elif now in ("third", "sixth") and d >= 0.25:
            reach = 5 if now == "third" else 10
            notes += [(o, d, q) for q in tones(o, p, reach)[-1 if now == "third" else 0:][:1]]
        elif now == "chord" and d >= least:
            found = tones(o, p, 12)
            count = min(len(found), int(random.integers(1, 4)))
            notes += [(o, d, int(q)) for q in random.choice(found, count, replace=False)] if count else []
        elif now == "figure" and d >= unit:
            stop = line[k + 1][0] if k + 1 < len(line) else o + d
            at = max(o + (unit if random.random() < 0.8 else 0.0), last_figure + unit)
            found = tones(o, p, 14)
            n = int(random.integers(0, 3))
            while found and at < min(stop, o + d + 2.0) - 1e-6:
                notes.append((at, unit, found[(n * 2 + (n // 2)) % len(found)]))
                last_figure, at, n = at, at + unit, n + 1
        elif now == "pedal" and d >= 1.0:
            found = tones(o, p, 9)
            if found:
                q = found[int(random.integers(0, len(found)))]
                notes += [(o + k * 0.5, 0.5, q) for k in range(1, min(int(d / 0.5), 8))]
    return notes


def run(begin: float, stop: float, pitch: int, unit: float, random: Random) -> list[tuple[float, float, int]]:
    """A scale or a broken chord up or down, turning at the ends or at random."""
    steps = [int(x) for x in random.choice([-1, 1, 2, 2, 3, 4, 5], int(random.integers(1, 5)))]
    if random.random() < 0.4:
        steps = [2, 2, 1, 2, 2, 2, 1]
    way, turn = int(random.choice([-1, 1])), float(random.choice([0.02, 0.08, 0.2]))
    notes = []
    for k in range(max(round((stop - begin) / unit), 1)):
        notes.append((begin + k * unit, unit, pitch))
        pitch += way * steps[k % len(steps)]
        if random.random() < turn or not 26 < pitch < 103:
            way = 1 if pitch < 40 else -1 if pitch > 90 else -way
    return notes


def passed(begin: float, stop: float, random: Random) -> list[tuple[float, float, int, bool]]:
    """A broken chord up or down, time and again, that one hand passes to the other."""
    unit = float(random.choice([0.25, 0.25, 0.125, 1 / 3, 0.5, 1 / 6]))
    steps = [int(x) for x in random.choice([1, 2, 3, 3, 4, 4, 5, 5, 7], int(random.integers(2, 5)))]
    count, low = int(random.choice([4, 6, 8, 8, 12, 16])), int(random.integers(33, 60))
    shape = random.choice(["up", "down", "both"])
    rows = []
    for k in range(max(round((stop - begin) / unit), 1)):
        group, i = divmod(k, count)
        up = shape == "up" or (shape == "both" and group % 2 == 0)
        place = i if up else count - 1 - i
        pitch = low + sum(steps[j % len(steps)] for j in range(place)) * min(1.0, 48 / (4 * count))
        rows.append((begin + k * unit, unit, int(pitch), place < count // 2))
    return rows


# ---------------------------------------------------------------- two hands


def moved_apart(
    right: list[tuple[float, float, int]], left: list[tuple[float, float, int]], random: Random
) -> Hands:
    """Both hands, each moved by octaves to where hands often are."""
    rows = []
    for hand, is_left, usual, spread in ((right, False, 70.0, 5.5), (left, True, 52.0, 5.5)):
        wanted = random.normal(usual, spread)
        shift = 12 * round((wanted - float(np.median([p for *_, p in hand]))) / 12)
        rows += [(o, d, p + shift, is_left) for o, d, p in hand]
    return of_rows(rows)


def accompanied(sheet: Sheet, random: Random) -> Hands:
    """A melody and an accompaniment, the melody mostly above."""
    sheet = excerpt(sheet, random, 300)
    line = melody_of(sheet)
    harmony = Harmony(sheet.chords if len(sheet.chords) > 3 else infer_chords(sheet, random))
    other = [(o, d, p) for o, d, p, _ in left_hand(harmony, sheet.bars, sheet.end_ql, random)]
    if not other:
        other = [(line[0][0], 1.0, 48)]
    if random.random() < 0.2:  # the melody in the left hand, what accompanies above
        tune = dressed(line, harmony, random, below=False)
        return moved_apart(other, tune, random)
    return moved_apart(dressed(line, harmony, random), other, random)


def made_up(sheet: Sheet, metre: tuple[int, int], random: Random) -> Hands:
    """A song of `textures`, whose melody is dressed."""
    chords = sheet.chords if len(sheet.chords) > 8 else infer_chords(sheet, random)
    piece: Piece = song(chords, metre, random)
    line = sorted((o, d, p) for o, d, p, melody in piece.notes if melody)
    octaves = {(o, p - 12) for o, _, p in line}
    other = [(o, d, p) for o, d, p, melody in piece.notes if not melody and (o, p) not in octaves]
    if not other:
        other = [(line[0][0], 1.0, 48)]
    return moved_apart(dressed(line, Harmony(chords), random), other, random)


def shared_out(sheet: Sheet, random: Random) -> Hands:
    """Parts of a chorale or a quartet in two hands."""
    sheet = excerpt(sheet, random, 500)
    parts = np.unique(sheet.part).tolist()
    if len(parts) < 2:
        return accompanied(sheet, random)
    cut = len(parts) // 2
    upper, lower = parts[:cut], parts[cut:]
    roll = random.random()
    if roll < 0.3:  # two parts
        upper, lower = [upper[0]], [lower[-1]]
    elif roll < 0.5 and len(parts) > 3:
        upper, lower = (parts[:2], [parts[-1]]) if random.random() < 0.5 else ([parts[0]], parts[-2:])
    elif roll < 0.6 and len(parts) > 3:
        upper, lower = parts[:3], parts[3:]
    rows = [(float(o), float(d), int(p), bool(k in lower)) for o, d, p, k in
            zip(sheet.onset_ql, sheet.duration_ql, sheet.pitch, sheet.part, strict=True) if k in upper or k in lower]
    made = of_rows(rows)
    if not made.left.any() or made.left.all():
        return accompanied(sheet, random)
    if random.random() < 0.25:
        made.pitch = made.pitch - 12 * made.left * (random.random() < 0.5)
        if random.random() < 0.4:  # the bass in octaves
            bass = made.where(made.left)
            made = joined(made, replace(bass, pitch=bass.pitch - 12))
    return made


# ---------------------------------------------------------------- what happens in pieces


def slow(hands: Hands) -> np.ndarray:
    """Which notes are followed late enough in their hand for one hand to take them in octaves."""
    gap = np.full(len(hands), np.inf)
    for side in (False, True):
        own = np.flatnonzero(hands.left == side)
        onset = hands.onset_ql[own]
        later = np.append(np.unique(onset), np.inf)
        gap[own] = later[np.searchsorted(later, onset + 1e-3)] - onset
    return gap > BRIEF_QL - 1e-3


def disturbed(hands: Hands, random: Random) -> Hands:
    """In some stretches a hand rests, runs, is doubled, or both go elsewhere."""
    begin, end = float(hands.onset_ql.min()), float(hands.onset_ql.max()) + 1.0
    at = begin
    share = float(random.choice([0.0, 0.3, 0.6]))
    while at < end:
        stop = at + float(random.choice([2, 4, 4, 8, 16]))
        inside = (hands.onset_ql >= at - 1e-6) & (hands.onset_ql < stop - 1e-6)
        kind = str(random.choice(list(DISTURBANCES), p=list(DISTURBANCES.values())))
        if random.random() < share and inside.any():
            side = bool(random.random() < 0.5)
            own = inside & (hands.left == side)
            if kind in ("rest", "solo"):
                hands = hands.where(~own)
                rest = (hands.onset_ql >= at - 1e-6) & (hands.onset_ql < stop - 1e-6)
                if kind == "solo":  # the other hand goes where both were, or beyond
                    hands.pitch[rest] += int(random.choice([-12, -5, 0, 5, 7, 12])) * (-1 if side else 1)
            elif kind == "run" and own.any():
                other = inside & ~own
                unit = float(random.choice([0.25, 0.25, 1 / 3, 0.5, 1 / 6]))
                made = run(at, stop, int(np.median(hands.pitch[own])), unit, random)
                rows = [(o, d, p, side) for o, d, p in made]
                if random.random() < 0.2 and unit >= BRIEF_QL:  # in octaves by one hand
                    rows += [(o, d, p + (-12 if not side else 12), side) for o, d, p in made]
                elif random.random() < 0.25:  # by both hands
                    far = int(random.choice([12, 12, 24, 15, 16])) * (-1 if not side else 1)
                    rows += [(o, d, p + far, not side) for o, d, p in made]
                    hands = hands.where(~other)
                    own = own[~other]
                hands = joined(hands.where(~own), of_rows(rows))
            elif kind == "octaves" and (own := own & slow(hands)).any():
                mine = hands.where(own)
                hands = joined(hands, replace(mine, pitch=mine.pitch + (-12 if side else 12)))
            elif kind == "both" and own.any():  # both hands play the same line
                mine = hands.where(own)
                doubled = replace(mine, pitch=mine.pitch + 12 * int(random.choice([1, 1, 2])) * (1 if side else -1),
                                  left=~mine.left)
                hands = joined(hands.where(~(inside & ~own)), doubled)
            elif kind == "close":
                hands = drawn_together(hands, random, inside)
            elif kind == "passed":
                hands = joined(hands.where(~inside), of_rows(passed(at, stop, random)))
            elif kind == "move":
                hands.pitch[inside] += int(random.choice([-12, 12, -7, 7, 5, -5]))
        at = stop
    return hands


def drawn_together(hands: Hands, random: Random, where: np.ndarray | None = None) -> Hands:
    """Hands that are as near each other as in most piano music, all the time or at some places.

    What is made here, and the studies, has them far apart: where both strike at once, the median of the gap is
    17 and 23 semitones, its lowest twentieth begins at 7 and 13; in real scores for two hands it is 9 and 1.
    """
    where = np.ones(len(hands), dtype=bool) if where is None else where
    gaps = [min(right) - max(left) for right, left in _chords(hands.where(where)).values() if right and left]
    if not gaps:
        return hands
    room = float(np.quantile(gaps, 0.1)) - random.normal(2.5, 3.5)
    step = 12 * round(room / 12) if random.random() < 0.6 else int(room)
    up = step if (roll := random.random()) < 0.5 else 0 if roll < 0.75 else step // 2
    if step <= 0:
        return hands
    moved = np.where(hands.left, up, up - step) * where
    return joined(replace(hands, pitch=np.clip(hands.pitch + moved, 21, 108)))


def _chords(hands: Hands) -> dict[int, tuple[list[int], list[int]]]:
    """Pitches of the right and the left hand at every place."""
    chords: defaultdict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for at, p, left in zip(np.round(hands.onset_ql * 96).astype(int), hands.pitch, hands.left, strict=True):
        chords[int(at)][int(left)].append(int(p))
    return chords


def crossed(hands: Hands) -> float:
    """Share of the chords in which the hands overlap."""
    both = [right and left and min(right) <= max(left) for right, left in _chords(hands).values()]
    return float(np.mean([bool(x) for x in both])) if both else 1.0


def mirrored(hands: Hands) -> Hands:
    """Pitches upside down, hands exchanged: hands are mirror images of each other."""
    turned = replace(hands, pitch=np.clip(2 * 62 - hands.pitch, 21, 108), left=~hands.left)
    order = np.lexsort((turned.pitch, np.round(turned.onset_ql * 96)))
    return turned.where(order)


def two_hands(sheets: list[Sheet], random: Random) -> Hands | None:
    """One piece; None where what came out is no music for two hands."""
    sheet = sheets[int(random.integers(0, len(sheets)))]
    if not usable(sheet) or len(sheet.pitch) < 24:
        return None
    roll = random.random()
    several = len(np.unique(sheet.part)) > 1
    if several and roll < 0.75:
        hands = shared_out(sheet, random)
    elif roll < 0.85:
        hands = accompanied(sheet, random)
    else:
        hands = made_up(sheet, [(2, 4), (3, 4), (4, 4), (6, 8)][int(random.integers(0, 4))], random)
    hands = joined(hands)
    if random.random() < 0.6:
        hands = drawn_together(hands, random)
    hands = playable(disturbed(hands, random), random)
    if len(hands) < 24 or crossed(hands) > 0.08:
        return None
    if random.random() < 0.25:
        hands = mirrored(hands)
    hands.pitch = np.clip(hands.pitch + int(random.integers(-6, 7)), 21, 108)
    return joined(hands)
