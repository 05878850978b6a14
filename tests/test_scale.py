"""The queue model of docs/scale.md: its formula and a simulation agree, and its tables are what the tool prints."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
from simulate_queue import Queue, main, servers_for, simulate


@pytest.mark.parametrize("queue", [
    Queue(0.5, 1.0, 1), Queue(0.8, 1.0, 1), Queue(2.4, 1.0, 3), Queue(0.09, 100.0, 10), Queue(45.0, 1.0, 50)])
def test_formula_and_simulation_agree(queue):
    waits = simulate(queue, jobs=300_000, seed=1)
    assert np.mean(waits > 0) == pytest.approx(queue.p_wait, rel=0.05)
    assert waits.mean() == pytest.approx(queue.mean_wait_s, rel=0.1)
    assert np.quantile(waits, 0.95) == pytest.approx(queue.wait_s(0.95), rel=0.1, abs=0.02 * queue.service_s)


def test_one_server_waits_as_the_textbook_says():
    queue = Queue(0.5, 1.0, 1)  # M/M/1: P(wait) = load, mean wait = load / (1 - load) services
    assert queue.p_wait == pytest.approx(0.5) and queue.mean_wait_s == pytest.approx(1.0)
    assert queue.wait_s(0.95) == pytest.approx(math.log(0.5 / 0.05) / 0.5)
    assert Queue(2.0, 1.0, 2).wait_s(0.5) == math.inf


def test_evener_services_wait_less_so_that_the_formula_errs_on_the_safe_side():
    queue = Queue(0.8, 1.0, 1)
    even = simulate(queue, jobs=200_000, spread=0.5)
    # Pollaczek-Khinchine, which is exact for one server: (1 + spread^2) / 2 of the exponential's
    assert even.mean() == pytest.approx(queue.mean_wait_s * (1 + 0.25) / 2, rel=0.1)


def test_enough_servers_are_enough_and_one_fewer_are_not():
    servers = servers_for(0.1, 60.0, wait_s=30.0)
    assert Queue(0.1, 60.0, servers).wait_s(0.95) <= 30.0 < Queue(0.1, 60.0, servers - 1).wait_s(0.95)


def test_the_tables_are_what_the_tool_prints(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["simulate_queue.py"])
    main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ") and line[2].isdigit()]
    text = (Path(__file__).parents[1] / "docs" / "scale.md").read_text(encoding="utf-8")
    assert len(rows) == 5 and all(row in text for row in rows), \
        "stale: python tools/simulate_queue.py prints the tables of docs/scale.md"
