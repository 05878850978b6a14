"""Key signature and names of the notes.

Names by ps13s1 (Meredith, "The ps13 pitch spelling algorithm", Journal of New Music Research 35,
2006): a note gets the letter that most notes around it give it when each of them is taken as the
tonic. The key fixes the letters of the tonics.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from ..music import BeatGrid, Ints, KeySignature, Spelled, Voiced, VoicedNote, WrittenNote
from ..settings import SpellingSettings
from ..stage import Report, silent, stage
from .key import FIFTHS_OF_MAJOR, find_key, mode_of
from .measures import lay_measures
from .ticks import to_ticks

LETTERS = "CDEFGAB"
NATURAL = np.array([0, 2, 4, 5, 7, 9, 11])  # pitch classes of the letters
DEGREE = np.array([0, 1, 1, 2, 2, 3, 3, 4, 5, 5, 6, 6])  # letters up from the tonic, by semitones (ps13s1)
BEFORE, AFTER = 10, 42  # notes around a note that decide on its letter (ps13s1)


@stage(version=1)
def spell(
    voiced: Voiced, grid: BeatGrid, *, settings: SpellingSettings, report: Report = silent
) -> Spelled:
    """Step, alteration and octave for every note, and the key signatures."""
    notes = voiced.notes
    first = lay_measures(grid, to_ticks(notes[0].onset_ql) if notes else 0, 0)[0]
    pitch = np.array([n.pitch for n in notes], dtype=np.int64)
    weight = np.array([min(float(n.duration_ql), 4.0) for n in notes])
    if len(notes):
        onset = np.array([float(n.onset_ql) for n in notes])
        place = (onset - onset[0]) / max(onset[-1] - onset[0], 1.0)
        weight *= np.where((place < 1 / 8) | (place > 7 / 8), 2.0, 1.0)  # begin and end tell the key
    if settings.key != "auto":
        fifths = FIFTHS_OF_MAJOR[settings.key]
        mode = mode_of(fifths, pitch, weight)
    else:
        fifths, mode = find_key(pitch, weight)
    letters = _letters(pitch % 12, fifths)
    written = tuple(_named(n, letter) for n, letter in zip(notes, letters.tolist(), strict=True))
    return Spelled(written, (KeySignature(first.number, first.ql, fifths, mode),))


def _letters(chroma: Ints, fifths: int) -> Ints:
    """Letter (0 = C .. 6 = B) of every note, in order of onset."""
    tonic = np.arange(12)
    # letters of the twelve tonics, by their distance from the key's major tonic
    tonic_letter = (4 * fifths + DEGREE[(tonic - 7 * fifths) % 12]) % 7
    letter_if = (tonic_letter[None, :] + DEGREE[(tonic[:, None] - tonic[None, :]) % 12]) % 7  # (chroma, tonic)
    total = np.concatenate([np.zeros((1, 12)), np.cumsum(np.eye(12)[chroma], axis=0)])
    i = np.arange(len(chroma))
    count = total[np.minimum(len(chroma), i + AFTER)] - total[np.maximum(0, i - BEFORE)]
    strength = np.zeros((len(chroma), 7))
    for t in tonic:
        strength[i, letter_if[chroma, t]] += count[:, t]
    # at most double accidentals
    far = np.abs((chroma[:, None] - NATURAL[None, :] + 6) % 12 - 6) > 2
    return np.asarray(np.where(far, -1.0, strength).argmax(axis=1))


def _named(note: VoicedNote, letter: int) -> WrittenNote:
    alter = int((note.pitch - NATURAL[letter] + 6) % 12 - 6)
    known = {f.name: getattr(note, f.name) for f in fields(note)}
    return WrittenNote(**known, step=LETTERS[letter], alter=alter, octave=(note.pitch - alter) // 12 - 1)
