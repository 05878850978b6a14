"""On which of given beats measures begin, as a network says: what runs is what was trained, and it knows dances."""

from __future__ import annotations

import numpy as np
import pytest

from rescored.notation import measure_net
from rescored.notation.measure_net import WIDTH, hear_beats, likely_downbeats, log_odds

TONICS = (48, 53, 55, 48, 57, 50, 55, 48)  # a bass a measure
TUNES = ((0,), (0, 1 / 2), (0, 3 / 4))  # where in a beat the melody strikes


def dance(beats: int, first: int, beat_s: float, random: np.random.Generator) -> tuple[list[np.ndarray], np.ndarray]:
    """Notes of eight measures, three times: a bass, chords after it and a tune, and the times of the beats."""
    rows = [(k, k + 0.5, 84 + k, 66) for k in range(first)]  # a pickup
    for measure in range(3 * len(TONICS)):
        bass = TONICS[measure % len(TONICS)]
        for beat in range(beats):
            at = first + measure * beats + beat
            low = [bass] if beat == 0 else [bass + 12, bass + 16, bass + 19]
            rows += [(at, at + 0.8, p, 56 + 8 * (beat == 0)) for p in low]
            rows += [(at + part, at + part + 0.4, bass + 24 + int(random.integers(0, 3)) * 4, 72)
                     for part in TUNES[(measure + beat) % len(TUNES)]]
    onset, offset, pitch, velocity = (np.array(x) for x in zip(*sorted(rows), strict=True))
    late = random.normal(0.0, 0.01, len(onset))
    count = np.arange(first + 3 * len(TONICS) * beats + 1)
    return [onset * beat_s + late + 1.0, offset * beat_s + late + 1.0, pitch, velocity], count * beat_s + 1.0


@pytest.mark.slow
def test_what_runs_is_the_net_that_was_trained(tmp_path, use_weights):
    torch = pytest.importorskip("torch")
    import train_measures

    torch.manual_seed(0)
    net = train_measures.Net(torch.zeros(WIDTH), torch.ones(WIDTH)).eval()
    for conv in net.convs:
        torch.nn.init.normal_(conv.weight, std=0.05)  # which a new net does not use
    net.export(tmp_path / "net.npz")
    what = np.random.default_rng(0).normal(size=(300, WIDTH)).astype(np.float32)
    use_weights(measure_net, tmp_path / "net.npz")
    with torch.no_grad():
        expected = net(torch.from_numpy(what)[None], torch.ones(1, 300, dtype=torch.bool))[0, :, 0]
    assert np.abs(log_odds(what) - expected.numpy()).max() < 0.02


@pytest.mark.parametrize("beat_s", [0.3, 0.5, 0.9])
@pytest.mark.parametrize(("beats", "first"), [(3, 0), (3, 1), (3, 2), (4, 0), (4, 1), (4, 2), (4, 3), (2, 0), (2, 1)])
def test_measures_of_dances_are_known_from_their_beats(beats, first, beat_s):
    notes, beats_s = dance(beats, first, beat_s, np.random.default_rng(0))
    down = (np.arange(len(beats_s)) - first) % beats == 0
    heard = hear_beats(*notes, beats_s)
    said = log_odds(heard)[:-1] > 0
    two_by_two = 0.45 if beats == 2 else 0.95  # which may as well be in four
    assert not said[~down[:-1]].any() and said[down[:-1]].mean() > two_by_two
    odds = likely_downbeats(heard)[:-1]
    assert odds[down[:-1]].mean() > 1 and odds[~down[:-1]].mean() < -1


@pytest.mark.parametrize("semitones", [-12, 12])
def test_an_octave_does_not_matter(semitones):
    notes, beats_s = dance(3, 1, 0.5, np.random.default_rng(1))
    onset, offset, pitch, velocity = notes
    one, other = (hear_beats(onset, offset, p, velocity, beats_s) for p in (pitch, pitch + semitones))
    change = 3 * measure_net.SLOTS + 2 * 12 + 2 * 5 * len(measure_net.LAGS)  # of harmony, which knows high from low
    assert np.allclose(np.delete(one, [change, -1], axis=1), np.delete(other, [change, -1], axis=1), atol=1e-4)
    assert ((likely_downbeats(one) > 0) == (likely_downbeats(other) > 0)).all()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_next_to_nothing_says_something_finite(count):
    notes = [np.full(count, 1.0), np.full(count, 1.5), np.full(count, 60), np.full(count, 64)]
    for beats_s in (np.array([0.5, 1.0]), np.arange(40.0)):
        assert np.isfinite(likely_downbeats(hear_beats(*notes, beats_s))).all()


def test_beats_on_which_nothing_is_struck_have_no_say():
    notes, beats_s = dance(3, 0, 0.5, np.random.default_rng(2))
    early = notes[0] < beats_s[24]
    odds = likely_downbeats(hear_beats(*(x[early] for x in notes), beats_s))
    assert np.abs(odds[:24]).min() > 0.1 and (odds[25:] == 0).all()
