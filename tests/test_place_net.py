"""Where in their beats onsets are written, as a network says: what runs is what was trained, and it knows figures."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from rescored.music import PIANO, BeatGrid, Note, Performance, Span, TimeSignature
from rescored.notation import place_net
from rescored.notation.place_net import FINEST, PLACES, WIDTH, hear_places, likely_places
from rescored.notation.quantise import lay

pytestmark = pytest.mark.slow


def test_what_runs_is_the_net_that_was_trained(tmp_path, use_weights):
    torch = pytest.importorskip("torch")
    import train_places

    torch.manual_seed(0)
    net = train_places.Net(torch.zeros(WIDTH), torch.ones(WIDTH)).eval()
    for conv in net.convs:
        torch.nn.init.normal_(conv.weight, std=0.05)  # which a new net does not use
    net.export(tmp_path / "net.npz")
    what = np.random.default_rng(0).normal(size=(300, WIDTH)).astype(np.float32)
    use_weights(place_net, tmp_path / "net.npz")
    likely = likely_places(what)
    with torch.no_grad():
        expected = torch.log_softmax(net(torch.from_numpy(what)[None], torch.ones(1, 300, dtype=torch.bool))[0], -1)
    assert np.abs(likely - expected.numpy()).max() < 0.02


@pytest.mark.parametrize("parts", [(0, 2 / 3), (0, 1 / 3, 2 / 3), (0, 1 / 4, 1 / 2, 3 / 4), (0, 3 / 4), (0, 1 / 2)])
@pytest.mark.parametrize("beat_s", [0.4, 0.7, 1.1])
def test_figures_that_a_steady_player_repeats_are_known(parts, beat_s):
    random = np.random.default_rng(0)
    written = np.array([b + part for b in range(24) for part in parts])
    times_s = 1.0 + written * beat_s + random.normal(0.0, 0.012, len(written))
    notes = tuple(Note(str(k), float(t), float(t + 0.8 * beat_s / len(parts)), 60 + k % 5, 70)
                  for k, t in enumerate(times_s))
    beats = np.arange(25.0)
    grid = BeatGrid(1.0 + beats * beat_s, beats, np.arange(25) // 4 + 1, np.arange(25) % 4 + 1,
                    (TimeSignature(1, Fraction(0), 4, 4),))
    performance = Performance(notes, (PIANO,), (Span(0.0, 1.0),), duration_s=30.0)
    laid = lay(performance, grid)
    likely = likely_places(hear_places(performance, laid, grid))[:, : len(PLACES)]
    found = laid.beat + PLACES[likely.argmax(axis=1)] / FINEST
    assert (np.abs(found - written) < 0.01).mean() > 0.95
