"""Where notes end: what a player's touch may do and what it may not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rescored.notation import value_net
from rescored.notation.layout import ruler
from rescored.notation.note_values import PER_QUARTER, WIDTH, likely_ends, possible_ends

BEAT_S = 0.6


def columns(onset_ql, pitch, held_ql, staff=None, heard_ql=None):
    """In 4/4, as `possible_ends` takes them."""
    n = len(onset_ql)
    onset = np.rint(np.array(onset_ql, dtype=float) * PER_QUARTER).astype(np.int64)
    held = np.array(held_ql, dtype=float) * PER_QUARTER
    heard = held if heard_ql is None else np.array(heard_ql, dtype=float) * PER_QUARTER
    spans = np.array(ruler(4, 4).spans)
    return (
        onset, np.array(pitch), np.ones(n, dtype=np.int64) if staff is None else np.array(staff), held, heard,
        onset / PER_QUARTER * BEAT_S, held / PER_QUARTER * BEAT_S, np.full(n, PER_QUARTER),
        np.full(n, PER_QUARTER // 2), np.zeros(n, dtype=np.int64), np.tile(spans, (n, 1)))


def ends_ql(*known):
    return likely_ends(*columns(*known), PER_QUARTER // 2) / PER_QUARTER


@st.composite
def some_notes(draw):
    rows = draw(st.lists(st.tuples(st.integers(0, 96), st.integers(40, 80), st.integers(1, 40), st.integers(1, 2)),
                         min_size=1, max_size=40, unique_by=lambda row: row[:2]))
    onset, pitch, held, staff = zip(*sorted(rows), strict=True)
    return [k / 6 for k in onset], list(pitch), [k / 10 for k in held], list(staff)


@settings(max_examples=60, deadline=None)
@given(some_notes(), st.integers(-12, 12))
@example(([29 / 6, 29 / 6, 6.5], [40, 41, 40], [0.1, 0.4, 0.1], [1, 1, 1]), 0)
@example(([0, 3.5, 3.5], [40, 50, 52], [3600.0, 0.5, 0.4], [2, 1, 1]), 0)
def test_notes_last_and_end_before_their_key_is_struck_again_in_any_key(notes, semitones):
    onset, pitch, held, staff = notes
    ends = ends_ql(*notes)
    assert (ends > np.array(onset)).all()
    for i, (at, key) in enumerate(zip(onset, pitch, strict=True)):
        again = [a for a, p in zip(onset, pitch, strict=True) if p == key and a > at]
        assert ends[i] <= min(again, default=np.inf) + 1e-4
    moved = ends_ql(onset, [p + semitones for p in pitch], held, staff)
    assert np.array_equal(ends, moved)


@pytest.mark.parametrize("held", [0.35, 0.6, 0.85, 1.0, 1.15])
def test_a_scale_is_a_scale_however_long_its_keys_are_held(held):
    pitch = [60, 62, 64, 65, 67, 69, 71, 72] * 3
    ends = ends_ql([k / 2 for k in range(24)], pitch, [held / 2] * 24)
    assert ends[:-1].tolist() == [k / 2 for k in range(1, 24)]


@pytest.mark.parametrize(("held_ql", "next_ql", "length"), [(3.8, 8, 4), (7.9, 12, 8), (15.6, 24, 16), (23.8, 24, 24)])
def test_long_notes_end_where_they_are_let_go_or_with_the_next(held_ql, next_ql, length):
    """A bass under quarters of the other hand."""
    tune = [(k, 72 + (0, 2, 4, 2)[k % 4], 0.95, 1) for k in range(next_ql + 8)]
    bass = [(0, 40, held_ql, 2), (next_ql, 43, 3.8, 2), (next_ql + 4, 36, 3.8, 2)]
    rows = sorted(tune + bass)
    ends = ends_ql(*zip(*rows, strict=True))
    assert ends[rows.index(bass[0])] == length


@pytest.mark.parametrize("touch", [0.8, 1.0])
def test_a_melody_sings_over_what_it_is_accompanied_by(touch):
    """Halves above broken chords of eighths in the same hand."""
    tune = [(2 * k, 76 + (0, 1, 3, 1)[k % 4], 2.0 * touch) for k in range(8)]
    figure = [(k / 2, (60, 64, 67, 64)[k % 4], 0.5 * touch) for k in range(32)]
    rows = sorted(tune + figure, key=lambda row: row[:2])
    ends = ends_ql(*zip(*rows, strict=True))
    assert [e - a for (a, p, _), e in zip(rows, ends, strict=True) if p > 70][:7] == [2.0] * 7
    assert [e - a for (a, p, _), e in zip(rows, ends, strict=True) if p < 70][:31] == [0.5] * 31


@pytest.mark.slow
def test_what_runs_is_the_net_that_was_trained(tmp_path, use_weights):
    torch = pytest.importorskip("torch")
    import train_note_values as training

    torch.manual_seed(0)
    random = np.random.default_rng(0)
    net = training.Judge(random.normal(size=WIDTH).astype(np.float32), np.full(WIDTH, 2.0, dtype=np.float32)).eval()
    for layer in net.convs:
        torch.nn.init.normal_(layer.weight, std=0.05)
    net.export(tmp_path / "net.npz")
    rows = sorted((k // 2 / 2, int(random.integers(50, 80)), 0.4) for k in range(80))
    given = columns(*zip(*rows, strict=True), staff=np.resize([1, 2, 2], 80))
    onset, pitch, staff, held, heard, _, _, beat, _, start, levels = given
    _, first, what, gap, _ = possible_ends(*given)
    order = value_net.by_hand(onset, pitch, staff)
    notes = value_net.describe(onset, pitch, staff, held, heard, gap, beat, start, levels, order)
    use_weights(value_net, tmp_path / "net.npz")
    odds = value_net.odds_of_ends(what, first, notes, order)
    some = training.Example(what, first, notes, order, np.arange(80), first[:-1])
    few = training.Example(what[: first[9]], first[:10], notes[:9],
                           value_net.by_hand(onset[:9], pitch[:9], staff[:9]), np.arange(9), first[:9])
    batch = training.together([few, some])
    with torch.no_grad():
        judges = [x[len(few.what):] for x in net(batch)[:2]]
    note = np.repeat(np.arange(80), np.diff(first))
    expected = sum(np.log([float(torch.softmax(x[note == note[k]], 0)[k - first[note[k]]]) for k in range(len(what))])
                   for x in judges) / 2
    assert np.abs(expected - odds).max() < 0.02
