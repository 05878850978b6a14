"""Limits on the way in, and whose turn it is: no user takes more than their share, and all are told what to do."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradio as gr
import pytest
from starlette.testclient import TestClient

from rescored.errors import LimitReached, SettingsError
from rescored.service.fair import FairQueue
from rescored.service.jobs import Desk, Jobs
from rescored.service.limits import UNLIMITED, USERS_AN_ADDRESS, Allowance, Limits, in_words
from rescored.settings import Settings
from rescored.ui import server
from rescored.ui.server import create_app


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    path.write_bytes(b"x" * 2000)
    return path


@pytest.fixture
def held(tmp_path: Path) -> Callable[..., Jobs]:
    """Jobs whose work never ends before the test does."""
    end = threading.Event()

    def work(desk: Desk) -> None:
        while not end.wait(0.02):
            desk.tell()

    def make(**allowance: float) -> Jobs:
        limits = Limits(Allowance(**({**vars(UNLIMITED), **allowance})))  # type: ignore[arg-type]
        return Jobs(tmp_path / "jobs", work, limits=limits)

    yield make
    end.set()


def test_a_user_has_so_many_new_recordings_an_hour_and_hears_when_the_next_may_come(held, recording, monkeypatch):
    now = [1e6]
    monkeypatch.setattr("time.time", lambda: now[0])
    jobs = held(jobs_an_hour=3)
    for _ in range(3):
        jobs.submit(recording, {}, owner="anna", address="1.2.3.4")
        now[0] += 600
    with pytest.raises(LimitReached) as refused:
        jobs.submit(recording, {}, owner="anna", address="1.2.3.4")
    assert refused.value.retry_s == pytest.approx(1800, abs=2)
    assert "30 minutes" in str(refused.value) and "3 new transcriptions" in str(refused.value)
    jobs.submit(recording, {}, owner="bert", address="1.2.3.4")
    now[0] += refused.value.retry_s + 1
    jobs.submit(recording, {}, owner="anna", address="1.2.3.4")


def test_a_new_name_with_every_visit_gets_no_more_than_an_address_may(held, recording):
    jobs = held(jobs_an_hour=1)
    for user in range(USERS_AN_ADDRESS):
        jobs.submit(recording, {}, owner=f"visitor {user}", address="1.2.3.4")
    with pytest.raises(LimitReached):
        jobs.submit(recording, {}, owner="one more", address="1.2.3.4")
    jobs.submit(recording, {}, owner="one more", address="5.6.7.8")


def test_who_has_no_name_is_counted_by_address(held, recording):
    jobs = held(jobs_an_hour=1)
    jobs.submit(recording, {}, address="1.2.3.4")
    with pytest.raises(LimitReached):
        jobs.submit(recording, {}, address="1.2.3.4")


def test_tuning_anew_and_examples_are_not_counted_by_the_hour_but_hearing_anew_is(held, recording):
    jobs = held(jobs_an_hour=1)
    settings = Settings().as_dict()
    job = jobs.submit(recording, settings, owner="anna")
    for metre in ("3/4", "6/8"):
        jobs.again(job, {**settings, "metre.time_signature": metre}, owner="anna")
    for _ in range(3):
        jobs.submit(recording, settings, owner="examples", ask="example")
    with pytest.raises(LimitReached):
        jobs.again(job, {**settings, "notes.transcriber": "basic-pitch"}, owner="anna")


def test_unfinished_jobs_of_one_user_are_bounded_until_one_is_cancelled(held, recording):
    jobs = held(jobs_at_once=2)
    first, second = (jobs.submit(recording, {}, owner="anna") for _ in range(2))
    with pytest.raises(LimitReached, match="cancel one"):
        jobs.again(first, {}, owner="anna")
    jobs.submit(recording, {}, owner="bert")
    jobs.cancel(second)
    jobs.submit(recording, {}, owner="anna")


def test_of_simultaneous_requests_none_slips_through(held, recording):
    jobs = held(jobs_at_once=3, max_queue=50)

    def ask(_: int) -> bool:
        try:
            jobs.submit(recording, {}, owner="anna")
        except LimitReached:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        granted = sum(pool.map(ask, range(32)))
    assert 1 <= granted <= 3  # while one enters, another may be told to wait although there is room
    while ask(0):
        granted += 1
    assert granted == len(jobs.history.of_owner("anna")) == 3


def test_a_full_queue_takes_no_more(held, recording):
    jobs = held(max_queue=2)
    for owner in ("a", "b", "c"):
        jobs.submit(recording, {}, owner=owner)
        if owner == "a":  # taken from the queue: it runs
            next(s for s in jobs.watch(jobs.history.of_owner("a")[0][0].job) if s.state == "running")
    with pytest.raises(LimitReached, match="no room") as refused:
        jobs.submit(recording, {}, owner="d")
    assert refused.value.retry_s


def test_too_large_and_too_long_are_refused_whatever_the_settings(held, recording):
    jobs = held(max_mb=0.001, max_minutes=5)
    with pytest.raises(LimitReached, match=r"larger than 0\.001 MB") as refused:
        jobs.submit(recording, {})
    assert refused.value.retry_s is None
    job = jobs.submit("https://youtu.be/jNQXAC9IVRw", {"audio.max_minutes": 240.0})
    assert jobs.order(job).settings["audio.max_minutes"] == 5


def test_the_environment_sets_the_limits(monkeypatch):
    for name, value in {"JOBS_AN_HOUR": "7", "JOBS_AT_ONCE": "2", "MAX_QUEUE": "", "MAX_MINUTES": "1.5"}.items():
        monkeypatch.setenv(f"RESCORED_{name}", value)
    monkeypatch.delenv("RESCORED_MAX_MB", raising=False)
    assert Allowance.from_environment() == Allowance(7, 2, 200, 1.5, 500)
    assert Allowance().jobs_an_hour == 10


@pytest.mark.parametrize("given", ["ten", "nan", "inf", "-1"])
def test_what_is_no_number_is_refused_in_words(given, monkeypatch):
    monkeypatch.setenv("RESCORED_MAX_MB", given)
    with pytest.raises(SettingsError, match="RESCORED_MAX_MB"):
        Allowance.from_environment()


@pytest.mark.parametrize(("name", "given"), [("RESCORED_STORE", __file__), ("RESCORED_SLOTS", "0"), ("PORT", "http")])
def test_a_server_that_cannot_begin_says_why(name, given, monkeypatch, tmp_path):
    monkeypatch.setattr(server.telemetry, "set_up", lambda: None)
    monkeypatch.setenv("RESCORED_STORE", str(tmp_path))
    monkeypatch.setenv(name, given)
    with pytest.raises(SystemExit, match=f"rescored: .*{name}"):
        server.main()


def test_counts_that_cannot_be_had_refuse_nobody(recording, tmp_path):
    strict = Limits(Allowance(jobs_an_hour=1), broker="redis://127.0.0.1:1/0")
    jobs = Jobs(tmp_path / "jobs", lambda desk: None, limits=strict)
    for _ in range(3):
        jobs.result(jobs.submit(recording, {}, owner="anna"))


def test_page_and_routes_say_it_in_words(held, recording, monkeypatch):
    jobs = held(jobs_an_hour=1)
    app = create_app(jobs)
    jobs.submit(recording, {}, owner="", address="testclient")

    @app.get("/ask")
    def ask() -> None:
        jobs.submit(recording, {}, address="testclient")

    app.router.routes.insert(0, app.router.routes.pop())  # before Gradio, which answers at /
    answer = TestClient(app).get("/ask")
    assert answer.status_code == 429 and 3590 < int(answer.headers["Retry-After"]) <= 3600
    assert "60 minutes" in answer.json()["remedy"]

    from rescored.ui.page import spoken

    with pytest.raises(gr.Error, match="Try again in 60 minutes"), spoken():
        jobs.submit(recording, {}, address="testclient")


def test_the_error_travels_between_processes_whole():
    error = pickle.loads(pickle.dumps(LimitReached("Too much.", "Wait.", 7.0)))
    assert (error.problem, error.remedy, error.retry_s) == ("Too much.", "Wait.", 7.0)
    assert [in_words(s) for s in (0.2, 61, 90, 91, 1800)] == [
        "1 second", "61 seconds", "90 seconds", "2 minutes", "30 minutes"]


def test_owners_take_turns_and_each_owner_s_jobs_keep_their_order():
    queue = FairQueue()
    for job in ("a1", "a2", "a3", "b1", "c1", "b2"):
        queue.append(job, job[0])
    queue.append("a1", "a")
    expected = ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert list(queue) == expected and len(queue) == 6
    queue.remove("c1")
    assert [queue.pop() for _ in range(5)] == [job for job in expected if job != "c1"]
    with pytest.raises(KeyError):
        queue.pop()
