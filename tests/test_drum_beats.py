"""One grid for all parts: drums and bass say where the measures begin."""

import numpy as np
import pytest

from rescored.music import Note, Part, Performance
from rescored.notation.drum_beats import hear_drums
from rescored.notation.metre import find_metre
from rescored.settings import MetreSettings

PIANO, DRUMS = Part("piano", "Piano", staves=2), Part("drums", "Drums", percussion=True)
KICK, SNARE, HAT, CRASH = 36, 38, 42, 49
BEAT_S = 0.5


def groove(first, *, drums=True):
    """The same chord on every beat for eight measures of four; a rock beat whose measures begin at beat `first`."""
    notes = [Note(f"p{i}-{k}", 1 + i * BEAT_S, 1 + i * BEAT_S + 0.45, pitch, 70, part="piano")
             for i in range(36) for k, pitch in enumerate((52, 60, 64, 67))]
    if drums:
        for i in range(36):
            place, at = (i - first) % 4, 1 + i * BEAT_S
            struck = [KICK if place % 2 == 0 else SNARE, HAT] + ([CRASH] if place == 0 else [])
            notes += [Note(f"d{i}-{d}", at, at + 0.1, d, 90, part="drums") for d in struck]
            notes.append(Note(f"h{i}", at + BEAT_S / 2, at + BEAT_S / 2 + 0.1, HAT, 60, part="drums"))
    return Performance(tuple(notes), (PIANO, DRUMS), duration_s=20.0)


@pytest.mark.parametrize("first", [0, 1, 2, 3])
def test_where_all_beats_sound_alike_the_drums_say_which_is_one(first):
    grid = find_metre(groove(first), settings=MetreSettings(time_signature="4/4"))
    downbeats = grid.times_s[grid.beat == 1]
    expected = 1 + BEAT_S * np.arange(first, 36, 4)
    assert np.allclose(np.diff(grid.times_s), BEAT_S, atol=0.02)
    assert all(np.abs(downbeats - at).min() < 0.03 for at in expected[1:-1])


def test_drums_alone_keep_the_beat_where_nobody_else_plays():
    played = groove(0)
    rest = tuple(n for n in played.notes if n.part == "drums" or not 5 < n.onset_s < 9)  # two measures of drums
    grid = find_metre(Performance(rest, played.parts, duration_s=20.0), settings=MetreSettings())
    inside = grid.times_s[(grid.times_s > 5) & (grid.times_s < 9)]
    assert len(inside) >= 7 and all(abs((t - 1) / BEAT_S - round((t - 1) / BEAT_S)) < 0.1 for t in inside)


def test_strokes_at_once_are_one_and_hats_say_nothing():
    heard = hear_drums(groove(0))
    assert len(heard.times_s) == 36
    assert heard.downbeat[0] > heard.downbeat[2] > heard.downbeat[1]
    assert (heard.beat > 0).all()


def test_without_drums_nothing_changes():
    assert not len(hear_drums(groove(0, drums=False)).times_s)
