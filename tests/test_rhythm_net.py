"""The reading of onsets: what runs is what was trained."""

from __future__ import annotations

import numpy as np
import pytest

from rescored.notation import rhythm_net
from rescored.notation.rhythm_features import WIDTH

pytestmark = pytest.mark.slow


def test_what_runs_is_the_net_that_was_trained(tmp_path, use_weights):
    torch = pytest.importorskip("torch")
    import train_metre

    torch.manual_seed(0)
    net = train_metre.Net(torch.zeros(WIDTH), torch.ones(WIDTH)).eval()
    for layer in (*net.convs.values(), *net.mixes.values(), *net.tells.values()):
        torch.nn.init.normal_(layer.weight, std=0.05)  # which a new net does not use
    net.export(tmp_path / "net.npz")
    random = np.random.default_rng(0)
    times = np.cumsum(random.uniform(0.05, 0.5, 1000))  # more than one block of attention
    features = random.normal(size=(1000, WIDTH)).astype(np.float32)
    use_weights(rhythm_net, tmp_path / "net.npz", "FREE")
    reading = rhythm_net.read_rhythm(times, features)
    with torch.no_grad():
        out = net(torch.from_numpy(features)[None], torch.from_numpy(times.astype(np.float32))[None],
                  torch.tensor([1000]))
    expected = torch.log_softmax(out[0, :, :3], -1).numpy()
    assert np.abs(reading.position - expected).max() < 0.02
