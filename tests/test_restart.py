"""The app killed in mid-job and started again: what was asked for is finished, and nothing is done twice."""

from __future__ import annotations

import json
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served import START_S, Server
from servers import SPY
from test_service import alone

from rescored import examples
from rescored.settings import Settings

pytestmark = [pytest.mark.service, pytest.mark.timeout(600)]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "spy.py").write_text(SPY)
    server = Server(tmp_path, RESCORED_PLUGINS=str(tmp_path / "spy.py"), SPY=str(tmp_path / "stored.txt"),
                    RESCORED_SLOTS="2", RESCORED_MODELS=str(tmp_path / "none"))
    server.start()
    yield server
    server.stop()


def ask(client: Any, recording: Path, preset: str, settings: dict[str, Any]) -> str:
    """A job's id, asked for as a program does."""
    from gradio_client import handle_file

    asked = client.submit(recording=handle_file(recording), preset=preset, settings=settings, api_name="/transcribe")
    end = time.monotonic() + START_S
    while not (told := asked.outputs()):
        assert time.monotonic() < end, "no answer"
        time.sleep(0.05)
    return str(told[0][0]["job"])


def snapshots(app: Server, job: str) -> Iterator[dict[str, Any]]:
    """How a job stands, until it is over."""
    with urllib.request.urlopen(f"{app.url}jobs/{job}/events", timeout=START_S) as events:
        for line in events:
            if line.startswith(b"data: "):
                yield json.loads(line[6:])


def test_a_killed_app_goes_on_where_it_was(app: Server) -> None:
    from gradio_client import Client

    wanted = {
        "solo-piano": (examples.path("minuet"), {"audio.end_s": 20.0, "pulse.tracker": "onset-strength"}),
        "melody": (examples.path("ode"), {"audio.end_s": 2.0, "pulse.tracker": "onset-strength"})}
    client = Client(app.url, verbose=False, analytics_enabled=False)
    jobs = {preset: ask(client, recording, preset, changes) for preset, (recording, changes) in wanted.items()}
    next(now for now in snapshots(app, jobs["solo-piano"]) if now["stage"].startswith("detect_notes"))
    app.stop()
    stored_before = Path(app.env["SPY"]).read_text().split()
    app.start()
    for preset, (recording, changes) in wanted.items():
        *_, last = snapshots(app, jobs[preset])
        assert last["state"] == "done", last
        made = app.get(f"media/{jobs[preset]}/song.musicxml").decode()
        assert made == alone(recording, last["title"], Settings.preset(preset).changed(changes).as_dict())
    stored = Path(app.env["SPY"]).read_text().split()
    assert 0 < len(stored_before) < len(stored), "it was killed in the midst"
    assert not [key for key, times in Counter(stored).items() if times > 1], "what was stored was made again"
