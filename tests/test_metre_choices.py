"""Other ways to count: what was found comes first, what was written soon after, and each can be had."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st
from media import scale
from test_metre import performance, piece

from rescored.hearing.midi import read_midi
from rescored.hearing.sources import open_source
from rescored.music import StatedMetre
from rescored.notation.beat_search import search
from rescored.notation.metre import find_metre
from rescored.notation.metre_choices import ALIKE_OCTAVES, MOST, taken, unasked, weigh_metres
from rescored.notation.rhythm import hear_rhythm
from rescored.notation.rhythm_net import METRES
from rescored.settings import MetreSettings, NoteSettings

FREE = MetreSettings()


def counted(made, settings):
    """Time signature of most measures, and beats a minute."""
    grid = find_metre(made, settings=settings)
    signature = max(grid.time_signatures, key=lambda s: np.isin(grid.measure, s.measure).sum())
    return f"{signature.numerator}/{signature.denominator}", 60.0 / np.median(np.diff(grid.times_s))


@pytest.mark.parametrize("metre", ["2/4", "3/4", "4/4", "6/8", "9/8", "12/8"])  # that `piece` makes plain
def test_what_was_written_is_among_the_first_three(metre):
    made, _, _ = piece(metre, bpm=92)
    choices = weigh_metres(made, settings=FREE)
    assert metre in [s for c in choices[:3] for s in c.time_signatures]


@pytest.mark.parametrize("metre", ["3/4", "6/8", "4/4"])
def test_a_choice_that_is_taken_is_how_it_is_counted(metre):
    made, _, _ = piece(metre, bpm=100)
    choices = weigh_metres(made, settings=FREE)
    assert 2 <= len(choices) <= MOST and [c.found for c in choices] == [True] + [False] * (len(choices) - 1)
    for choice in choices:
        signature, bpm = counted(made, taken(FREE, choice))
        assert signature in choice.time_signatures
        assert choice.found or choice.time_signatures == (signature,)
        assert abs(np.log2(bpm / choice.bpm)) < 0.2
    for k, one in enumerate(choices):
        for other in choices[:k]:
            assert one.time_signatures != other.time_signatures or abs(np.log2(one.bpm / other.bpm)) > ALIKE_OCTAVES


@pytest.mark.parametrize(("metre", "tapped"), [("4/4", 12), ("3/4", 48), ("6/8", 20)])
def test_choices_are_the_same_whichever_is_taken_and_heed_what_else_the_user_says(metre, tapped):
    made, beats_s, _ = piece(metre, bpm=100)
    said = replace(FREE, taps_s=" ".join(f"{t:.3f}" for t in beats_s[:tapped]), sound_weight=0.5)
    choices = weigh_metres(made, settings=said)
    for choice in choices:
        assert unasked(taken(said, choice)) == said
    assert all(abs(np.log2(c.bpm / 100)) < 0.15 for c in choices)  # the beats were tapped


@pytest.mark.parametrize("metre", ["2/4", "3/4", "6/8"])
def test_no_metre_alone_is_likelier_than_all_together(metre):
    evidence = hear_rhythm(piece(metre)[0], FREE).evidence
    best = search(evidence, METRES, 0.2, 3.0).score
    alone = {m: search(evidence, (m,), 0.2, 3.0).score for m in METRES}
    assert max(alone.values()) <= best + 1e-3 * abs(best)
    assert max(alone.values()) > best - 1.0  # which has one metre, too
    assert min(alone.values()) < best - 100.0


def test_a_choice_that_is_taken_overrules_the_file():
    """A program's file whose quarters are not the beats: by ear it is in six eighths."""
    played, beats_s, _ = piece("6/8", bpm=60)
    eighths = np.round(3 * np.interp(played.onsets_s, beats_s, np.arange(len(beats_s))))
    stated = StatedMetre((0.0, 100.0), (0.0, 150.0), 480)
    made = performance(eighths / 3, eighths / 3 + 0.3, played.pitches, played.velocities, stated=stated)
    choices = weigh_metres(made, settings=FREE)
    assert not find_metre(made, settings=FREE).stated and len(choices) > 1
    for choice in choices[1:]:
        signature, bpm = counted(made, taken(FREE, choice))
        assert signature == choice.time_signatures[0] and abs(np.log2(bpm / choice.bpm)) < 0.2


def test_no_choice_where_a_files_own_beats_hold(tmp_path):
    path = tmp_path / "scale.mid"
    path.write_bytes(scale())
    made = read_midi(open_source(str(path), max_minutes=5), settings=NoteSettings())
    assert find_metre(made, settings=FREE).stated and weigh_metres(made, settings=FREE) == ()
    for overruled in ({"file_beats": "never"}, {"fastest_bpm": 100.0}):  # its beats are 120 a minute
        assert weigh_metres(made, settings=unasked(replace(FREE, **overruled)))


@trying(max_examples=15, deadline=None)
@given(gaps=st.lists(st.floats(0.0, 3.0), min_size=0, max_size=40))
def test_any_notes_have_choices_or_none(gaps):
    onsets = np.cumsum(gaps)
    made = performance(onsets, onsets + 0.3, 40 + (np.arange(len(gaps)) * 7) % 50, np.full(len(gaps), 64))
    choices = weigh_metres(made, settings=FREE)
    assert len(choices) <= MOST
    assert all(set(c.time_signatures) <= set(METRES) and np.isfinite(c.bpm) for c in choices)
    for choice in choices:
        find_metre(made, settings=taken(FREE, choice))
