"""Key signature and names of the notes.

Names by ps13s1 (Meredith, "The ps13 pitch spelling algorithm", Journal of New Music Research 35,
2006): a note gets the letter that most notes around it give it when each of them is taken as the
tonic. The key fixes the letters of the tonics.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from itertools import groupby

import numpy as np

from ..music import (
    NO_WISHES,
    BeatGrid,
    Floats,
    Ints,
    KeySignature,
    Measure,
    Part,
    Spelled,
    Voiced,
    VoicedNote,
    Wishes,
    WrittenNote,
)
from ..settings import SpellingSettings
from ..stage import Report, silent, stage
from .drums import name_drum
from .key import FIFTHS_OF_MAJOR, Mode, find_key, follow_keys, mode_of
from .measures import lay_measures
from .ticks import to_ticks

LETTERS = "CDEFGAB"
NATURAL = np.array([0, 2, 4, 5, 7, 9, 11])  # pitch classes of the letters
DEGREE = np.array([0, 1, 1, 2, 2, 3, 3, 4, 5, 5, 6, 6])  # letters up from the tonic, by semitones (ps13s1)
LASTING, REMOTE = 8, 3  # measures and accidentals from which on a change of key changes the signature
SIGNATURE_CHANGE, KEY_CHANGE = 45.0, 6.0  # costs, see follow_keys
CONTRADICTED = 0.15  # share of the sound that a stated key leaves out and another would not
CONTRADICTED_C = 0.01  # ... if it is C: programs write that, too, when they know of no key
BEFORE, AFTER = 10, 42  # notes around a note that decide on its letter (ps13s1)


@stage(version=4)
def spell(
    voiced: Voiced, grid: BeatGrid, parts: tuple[Part, ...] = (), wishes: Wishes = NO_WISHES, *,
    settings: SpellingSettings, report: Report = silent,
) -> Spelled:
    """Step, alteration and octave for every note, and the key signatures.

    The key is the one that holds for most measures; the signature changes only for long and remote ones, or as a
    MIDI file states (`BeatGrid.keys`). Names follow the passing keys, written the way that lies nearest to the
    signature on the line of fifths.
    """
    places = [to_ticks(n.onset_ql) for n in voiced.notes]
    measures = lay_measures(grid, min(places, default=0), max(places, default=0) + 1)
    kits = {p.id for p in parts if p.percussion}
    drums = [name_drum(n) for n in voiced.notes if n.part in kits]
    notes = [n for n in voiced.notes if n.part not in kits]  # the others tell nothing of the key
    ticks = [to_ticks(n.onset_ql) for n in notes]
    pitch = np.array([n.pitch for n in notes], dtype=np.int64)
    weight = np.sqrt([float(n.duration_ql) for n in notes])  # that a note sounds is surer than for how long
    starts = np.array([to_ticks(m.ql) for m in measures])
    of_note = np.searchsorted(starts, ticks, side="right") - 1
    heard = np.zeros((len(measures), 12))
    np.add.at(heard, (of_note, pitch % 12), weight)

    if settings.key != "auto":
        fifths = FIFTHS_OF_MAJOR[settings.key]
        home = (fifths, mode_of(fifths, pitch, weight))
        passing = follow_keys(heard, home, KEY_CHANGE)
        signatures = [home] * len(measures)
    elif signatures := _stated(grid.keys, measures, heard):
        passing = follow_keys(heard, signatures[0], KEY_CHANGE)
    else:
        passing = follow_keys(heard, find_key(pitch, weight), KEY_CHANGE)
        home = _longest(passing)
        signatures = _lasting(follow_keys(heard, home, SIGNATURE_CHANGE), home)
    anchor = np.array([_nearest(key[0], sign[0]) for key, sign in zip(passing, signatures, strict=True)])
    letters = _letters(pitch % 12, anchor[of_note])
    for i, note in enumerate(notes):
        if note.id in wishes.spelling:
            letters[i] = LETTERS.index(wishes.spelling[note.id][0])
    changes = [k for k in range(len(measures)) if k == 0 or signatures[k][0] != signatures[k - 1][0]]
    named = [_named(n, letter) for n, letter in zip(notes, letters.tolist(), strict=True)]
    return Spelled(
        tuple(sorted(named + drums, key=lambda n: (n.onset_ql, n.pitch))),
        tuple(KeySignature(measures[k].number, measures[k].ql, *signatures[k]) for k in changes),
        voiced.manner,
    )


def _stated(keys: Sequence[KeySignature], measures: Sequence[Measure], heard: Floats) -> list[tuple[int, Mode]]:
    """The keys of the measures that a file states, unless its notes speak against them: none then. Modes are
    found, since most programs say major."""
    if not keys:
        return []
    starts = [key.ql for key in keys]
    of_measure = [keys[max(bisect_right(starts, m.ql) - 1, 0)].fifths for m in measures]
    scales = {f: [(7 * (f + k)) % 12 for k in range(-1, 6)] for f in range(-7, 8)}
    own = sum(heard[m, scales[f]].sum() for m, f in enumerate(of_measure))
    best = max(heard[:, scale].sum() for scale in scales.values())
    doubt = CONTRADICTED if any(of_measure) else CONTRADICTED_C
    if own < best - doubt * heard.sum():
        return []
    result: list[tuple[int, Mode]] = []
    for fifths, run in groupby(range(len(measures)), key=lambda m: of_measure[m]):
        ms = list(run)
        result += [(fifths, mode_of(fifths, np.arange(12), heard[ms].sum(axis=0)))] * len(ms)
    return result


def _longest(path: list[tuple[int, Mode]]) -> tuple[int, Mode]:
    """The signature that holds for most measures, and the mode that it mostly has."""
    fifths = Counter(f for f, _ in path).most_common(1)[0][0]
    return Counter(key for key in path if key[0] == fifths).most_common(1)[0][0]


def _lasting(path: list[tuple[int, Mode]], home: tuple[int, Mode]) -> list[tuple[int, Mode]]:
    """The keys of the measures, at home where a change is short or takes few accidentals."""
    result: list[tuple[int, Mode]] = []
    for fifths, run in groupby(path, key=lambda key: key[0]):
        keys = list(run)
        stays = len(keys) < LASTING or abs(fifths - home[0]) < REMOTE
        result += [home] * len(keys) if stays else keys
    return result


def _nearest(fifths: int, signature: int) -> int:
    """The key as it is written beside a signature: F sharp rather than G flat among sharps."""
    return min((fifths - 12, fifths, fifths + 12), key=lambda f: abs(f - signature) + 0.5 * abs(f))


def _letters(chroma: Ints, anchor: Ints) -> Ints:
    """Letter (0 = C .. 6 = B) of every note, in order of onset; `anchor`: the major key (fifths) that
    fixes the letters of the tonics around it."""
    total = np.concatenate([np.zeros((1, 12)), np.cumsum(np.eye(12)[chroma], axis=0)])
    i = np.arange(len(chroma))
    count = total[np.minimum(len(chroma), i + AFTER)] - total[np.maximum(0, i - BEFORE)]
    strength = np.zeros((len(chroma), 7))
    for tonic in range(12):
        tonic_letter = 4 * anchor + DEGREE[(tonic - 7 * anchor) % 12]
        letter = (tonic_letter + DEGREE[(chroma - tonic) % 12]) % 7
        strength[i, letter] += count[:, tonic]
    # at most double accidentals
    far = np.abs((chroma[:, None] - NATURAL[None, :] + 6) % 12 - 6) > 2
    return np.asarray(np.where(far, -1.0, strength).argmax(axis=1))


def _named(note: VoicedNote, letter: int) -> WrittenNote:
    alter = int((note.pitch - NATURAL[letter] + 6) % 12 - 6)
    known = {f.name: getattr(note, f.name) for f in fields(note)}
    return WrittenNote(**known, step=LETTERS[letter], alter=alter, octave=(note.pitch - alter) // 12 - 1)
