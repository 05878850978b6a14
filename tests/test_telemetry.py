"""What a server tells of itself: enough to run it by, and nothing of what its users gave it."""

from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import brotli
import media
import pynvml
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from rescored import models
from rescored.errors import Cancelled, InputError, RescoredError
from rescored.service import telemetry
from rescored.service.jobs import Desk, Jobs
from rescored.service.work import work
from rescored.settings import Settings
from rescored.stage import Event, silent
from rescored.store import Store
from rescored.ui.server import create_app

TITLE, OWNER, SECRET, LINK = "Geheime Sonate", "anna-at-home", "hunter2hunter2", "https://example.org/private?x=1"
SCRIPT = """
import logging, sys
from functools import partial
from pathlib import Path
from rescored.service import telemetry
from rescored.service.jobs import Jobs
from rescored.service.work import work
from rescored.settings import Settings
from rescored.store import Store

folder, midi, title, owner, link = Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]
telemetry.set_up()

def some(desk):
    if desk.order.source.endswith(".mid"):
        logging.getLogger("somebody.else").warning("cannot tune %s of %s", desk.order.title, midi)
        return work(desk, Store(folder / "store"))
    raise ValueError(f"{desk.order.title} at {link} with hunter2hunter2")

jobs = Jobs(folder / "jobs", telemetry.observed(some))
job = jobs.submit(midi, Settings().as_dict(), title=title, owner=owner)
jobs.result(job)
try:
    jobs.result(jobs.submit(link, Settings().as_dict(), title=title, owner=owner))
except Exception:
    pass
logging.getLogger("httpx").warning("GET %s?token=hunter2hunter2", link)
if telemetry._tracer:
    import sentry_sdk
    sentry_sdk.flush()
    telemetry._tracer.span_processor.force_flush()
print(job)
"""


class Collector(ThreadingHTTPServer):
    """Takes in what Sentry's and OpenTelemetry's clients send."""

    def __init__(self) -> None:
        bodies = self.bodies = {}

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                unpack = {"gzip": gzip.decompress, "br": brotli.decompress}.get(self.headers["Content-Encoding"], bytes)
                bodies[self.path] = bodies.get(self.path, b"") + unpack(body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Answer)


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    path = tmp_path_factory.mktemp("song") / f"{TITLE}.mid"
    path.write_bytes(media.scale())
    return path


@pytest.fixture(scope="module")
def told(tmp_path_factory, song):
    """The log lines, and what went to Sentry and to the tracer, of one real job and one that breaks."""
    collector = Collector()
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    at = f"127.0.0.1:{collector.server_address[1]}"
    env = {**os.environ, "RESCORED_LOG": "json", "MY_API_TOKEN": SECRET, "MY_KEY_ID": "rescored",
           "SENTRY_DSN": f"http://public@{at}/1",
           "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{at}"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path_factory.mktemp("told")), str(song), TITLE, OWNER, LINK],
        capture_output=True, text=True, env=env)
    collector.shutdown()
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    return SimpleNamespace(job=done.stdout.strip(), text=done.stderr, lines=lines, sent=collector.bodies)


def test_a_job_can_be_followed_in_the_log(told):
    mine = [line for line in told.lines if line.get("job") == told.job]
    assert [mine[0]["event"], mine[-1]["event"]] == ["job begins", "job ends"]
    assert mine[-1]["outcome"] == "done" and mine[-1]["gpu_s"] == 0
    stages = [line["stage"] for line in mine if line["event"] == "stage done"]
    assert {"read_midi", "find_metre", "quantise", "split_hands", "find_voices", "spell", "write_score"} <= set(stages)
    assert len({line["owner"] for line in mine}) == 1 and mine[0]["owner"]
    assert all({"at", "level", "logger"} <= set(line) for line in told.lines)


def test_no_title_link_file_owner_or_secret_is_logged_reported_or_traced(told):
    everything = told.text.encode() + b"".join(told.sent.values())
    for word in (TITLE, TITLE.split()[1], OWNER, SECRET, LINK, "example.org"):
        assert word.encode() not in everything, word
    assert "rescored.service" in told.text  # a key's id is no secret
    assert "cannot tune" in told.text  # struck from the line, not the line from the log


def test_a_bug_is_logged_and_reported_by_kind_and_place(told):
    [line] = [line for line in told.lines if "error" in line]
    assert line["level"] == "error" and line["job"] != told.job
    assert line["error"][0]["kind"] == "ValueError" and line["error"][0]["at"][-1].endswith("some")
    [report] = [body for path, body in told.sent.items() if path.startswith("/api/1/")]
    assert b"ValueError" in report and line["job"].encode() in report


def test_stages_are_spans_of_their_job(told):
    traces = told.sent["/v1/traces"]
    assert b"find_metre" in traces and told.job.encode() in traces


@pytest.fixture
def server(tmp_path, song, monkeypatch):
    monkeypatch.delenv("RESCORED_BROKER_URL", raising=False)
    store = Store(tmp_path)
    jobs = Jobs(tmp_path / "jobs", telemetry.observed(partial(work, store=store)))
    client = TestClient(create_app(jobs))

    def figures() -> dict[str, float]:
        answer = client.get("/metrics")
        assert answer.status_code == 200
        return {sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
                for family in text_string_to_metric_families(answer.text) for sample in family.samples}

    return SimpleNamespace(jobs=jobs, client=client, figures=figures, song=song)


def test_metrics_count_requests_jobs_and_stages(server, monkeypatch):
    before = server.figures()
    server.jobs.result(server.jobs.submit(server.song, Settings().as_dict()))
    bad = server.song.with_suffix(".wav")
    bad.write_bytes(b"no sound")
    with pytest.raises(RescoredError):
        server.jobs.result(server.jobs.submit(bad, Settings().as_dict()))
    assert server.client.get("/jobs/unknown/events").status_code == 404
    monkeypatch.setattr(telemetry.Standing, "STORE_EVERY_S", 0.0)
    after = server.figures()

    def grew(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert (grew("rescored_jobs_total done"), grew("rescored_jobs_total refused")) == (1, 1)
    assert grew("rescored_job_seconds_count done") == 1
    assert grew("rescored_stage_seconds_count false find_metre") == 1
    assert grew("rescored_requests_total GET /jobs/{job}/events 404") == 1
    assert after["rescored_queue_jobs queued"] == after["rescored_queue_jobs running"] == 0
    assert after["rescored_store_bytes"] > 10_000


def test_a_figure_never_has_names_that_others_choose(server):
    job = server.jobs.submit(server.song, Settings().as_dict())
    server.jobs.result(job)
    server.client.get(f"/media/{job}/song.json")
    server.client.get("/nothing/like/this")
    server.client.request("EVERY1", "/healthz")
    shown = server.client.get("/metrics").text
    assert job not in shown and "EVERY1" not in shown


def test_the_queue_is_seen_while_jobs_wait(tmp_path, song):
    go = threading.Event()
    jobs = Jobs(tmp_path / "jobs", lambda desk: go.wait(30))
    client = TestClient(create_app(jobs))
    three = [jobs.submit(song, {}) for _ in range(3)]
    next(s for s in jobs.watch(three[0]) if s.state == "running")
    text = client.get("/metrics").text
    assert 'rescored_queue_jobs{state="queued"} 2.0' in text and 'rescored_queue_jobs{state="running"} 1.0' in text
    assert "rescored_queue_demand{" not in text, "it has no queues"
    go.set()
    jobs.result(three[2])


def test_metrics_ask_for_their_token(server, monkeypatch):
    monkeypatch.setenv("RESCORED_METRICS_TOKEN", "s3cret")
    assert server.client.get("/metrics").status_code == 403
    assert server.client.get("/metrics", headers={"Authorization": "Bearer s3cret"}).status_code == 200


def test_ready_says_what_is_wrong(server, monkeypatch):
    assert server.client.get("/readyz").json() == {"history": "ok", "store": "ok"}
    monkeypatch.setenv("RESCORED_BROKER_URL", "redis://127.0.0.1:1/0")
    answer = server.client.get("/readyz")
    assert answer.status_code == 503 and answer.json()["broker"] == "ConnectionError"
    assert server.client.get("/healthz").status_code == 200


def test_outcomes_tell_the_input_s_fault_from_ours():
    def outcome_of(error: BaseException | None) -> dict[str, float]:
        def some(desk: Desk) -> None:
            if error:
                raise error

        names = ("done", "cancelled", "refused", "failed")
        before = {name: telemetry.JOBS.labels(name)._value.get() for name in names}
        order = SimpleNamespace(job="j", owner="o", title="some title", source="source.wav")
        try:
            telemetry.observed(some)(SimpleNamespace(order=order))
        except BaseException as raised:
            assert raised is error
        return {name for name in names if telemetry.JOBS.labels(name)._value.get() > before[name]}

    assert outcome_of(None) == {"done"}
    assert outcome_of(Cancelled()) == {"cancelled"}
    assert outcome_of(InputError("Silent.", "Record again.")) == {"refused"}
    assert outcome_of(ZeroDivisionError()) == {"failed"}


def test_gpu_seconds_are_those_of_stages_that_ran_there(monkeypatch):
    def spent() -> float:
        return telemetry.GPU_S.labels("track_pulse")._value.get()

    for where in ("cuda", "cpu"):
        before = spent()
        monkeypatch.setattr(models, "device", lambda where=where: where)
        with models.turn_at_gpu(silent):
            time.sleep(0.01)
        telemetry.stage(Event("track_pulse", "done", seconds=9.0))
        after = spent()
        telemetry.stage(Event("track_pulse", "done", seconds=9.0, cached=True))  # nothing was computed since
        assert spent() == after and (after > before) is (where == "cuda")


def test_the_driver_s_figures_of_each_gpu(monkeypatch):
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 1)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda i: i)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", lambda _: SimpleNamespace(used=2e9, total=16e9))
    monkeypatch.setattr(pynvml, "nvmlDeviceGetUtilizationRates", lambda _: SimpleNamespace(gpu=75))
    text = telemetry.exposition().decode()
    assert 'rescored_gpu_use_ratio{gpu="0"} 0.75' in text
    assert 'rescored_gpu_memory_bytes{gpu="0",kind="used"} 2e+09' in text


def test_a_model_that_loads_is_counted_once(monkeypatch):
    monkeypatch.setattr(models, "on_load", [telemetry._loaded])
    for _ in range(2):
        models.load_once("test model", lambda: "weights")
    assert telemetry.LOADS.labels("test model")._value.get() == 1


def test_processes_of_one_worker_add_their_figures_up(tmp_path):
    code = ("from rescored.service import telemetry; telemetry.JOBS.labels('done').inc(); "
            "print(telemetry.exposition().decode())")
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "figures")}
    for _ in range(2):
        shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout
    assert 'rescored_jobs_total{outcome="done"} 2.0' in shown


def test_a_worker_shows_its_figures_where_it_is_told_to(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("RESCORED_METRICS_PORT", str(port))
    monkeypatch.setenv("RESCORED_METRICS_TOKEN", "s3cret")
    telemetry.serve_worker()
    url = f"http://127.0.0.1:{port}/metrics"
    assert urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz").status == 200
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(url)
    request = urllib.request.Request(url, headers={"Authorization": "Bearer s3cret"})
    assert b"rescored_jobs" in urllib.request.urlopen(request).read()
