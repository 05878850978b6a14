"""The service as it runs on many machines: real Redis, PostgreSQL, S3 and worker processes."""

from __future__ import annotations

import logging
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from servers import SPY, Postgres, Redis, Worker, free_port, missing, until

from rescored import examples
from rescored.errors import InputError, RescoredError
from rescored.hearing.sources import open_source
from rescored.output.musicxml import to_musicxml
from rescored.pipeline import transcribe
from rescored.service.history import ASKED, RETUNED, SENT
from rescored.settings import Settings
from rescored.store import Store

pytestmark = [pytest.mark.service, pytest.mark.skipif(bool(missing()), reason=missing()), pytest.mark.timeout(900)]

KILLS = 20
GPU = '''
import os, time
from pathlib import Path
from rescored.hearing.network import Network
run, move = Network._run, Network._move
def spied(self, windows, wanted, dtype):
    while Path(os.environ["HOLD"]).exists():
        Path(os.environ["WAITING"]).write_text(str(sum(bool(song.waiting) for song in self._batches._songs)))
        time.sleep(0.02)
    with open(os.environ["BATCHES"], "a") as file:
        file.write(f"{len(windows)}\\n")
    return run(self, windows, wanted, dtype)
def moved(self, to):
    move(self, to)
    self.batch = 4
Network._run, Network._move = spied, moved
'''
TOGETHER = ("--pool", "threads", "--concurrency", "4")


class World:
    """All servers, the environment that names them, and workers as they are wanted."""

    def __init__(self, folder: Path):
        import boto3
        from moto.server import ThreadedMotoServer

        self.folder = folder
        self.redis, self.postgres = Redis(folder / "redis"), Postgres(folder / "postgres")
        port = free_port()
        self.s3 = ThreadedMotoServer("127.0.0.1", port, verbose=False)
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        self.s3.start()
        (folder / "spy.py").write_text(SPY)
        (folder / "gpu.py").write_text(GPU)
        self.hold, self.waiting, self.batches = folder / "hold", folder / "waiting.txt", folder / "batches.txt"
        self.waiting.touch()
        self.stored = folder / "stored.txt"
        self.stored.touch()
        self.env = {
            "RESCORED_BROKER_URL": self.redis.url, "RESCORED_DATABASE_URL": self.postgres.url,
            "RESCORED_STORE": "s3://scores/rescored", "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
            "RESCORED_WARM": "none", "RESCORED_LOST_S": "4", "RESCORED_DEVICE": "cpu", "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1", "RESCORED_MODELS": str(folder / "none"), "RESCORED_PLUGINS": str(folder / "spy.py"),
            "SPY": str(self.stored), "HOLD": str(self.hold), "BATCHES": str(self.batches),
            "WAITING": str(self.waiting), "XDG_CACHE_HOME": str(folder / "cache")}
        self.s3_client = boto3.client("s3", endpoint_url=self.env["AWS_ENDPOINT_URL"], region_name="us-east-1",
                                      aws_access_key_id="test", aws_secret_access_key="test")
        self.s3_client.create_bucket(Bucket="scores")
        self.workers: dict[str, Worker] = {}

    def work(self, *names: str) -> None:
        """Have these workers, named after their queues, and no others; "gpu-together" fills batches as on a GPU."""
        for name in set(self.workers) - set(names):
            self.workers.pop(name).kill()
        for name in names:
            if name not in self.workers or self.workers[name].process.poll() is not None:
                env, options = {**os.environ, **self.env}, ()
                if name == "gpu-together":
                    options = TOGETHER
                    env["RESCORED_PLUGINS"] += f"{os.pathsep}{self.folder / 'gpu.py'}"
                self.workers[name] = Worker(name.split("-")[0], env, self.folder / "workers.log", *options)

    def names(self, prefix: str = "") -> list[str]:
        pages = self.s3_client.get_paginator("list_objects_v2").paginate(Bucket="scores", Prefix=f"rescored/{prefix}")
        return [found["Key"].removeprefix("rescored/") for page in pages for found in page.get("Contents", ())]

    def stop(self) -> None:
        self.work()
        self.s3.stop()
        self.postgres.stop()
        self.redis.stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("world"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in world.env.items():
            patch.setenv(name, value)
        yield world
        world.stop()


@pytest.fixture
def app(world: World) -> Iterator[Any]:
    jobs = new_app(world)
    yield jobs
    jobs.stop()


def new_app(world: World) -> Any:
    """What a page has; each one is as good as a process of its own, as they share nothing here."""
    from rescored.service import celery_app

    celery_app.app.conf.broker_url = celery_app.BROKER_URL = world.redis.url
    celery_app.app._after_fork()  # forget connections to the Redis of another test
    jobs = celery_app.open_cluster(Store())
    jobs.live(works=False)
    return jobs


@pytest.fixture(scope="module")
def melody() -> Path:
    return examples.path("ode")


def passage(start_s: float, **changes: Any) -> dict[str, Any]:
    """Two seconds of a melody."""
    wanted = {"audio.start_s": start_s, "audio.end_s": start_s + 2.0, "pulse.tracker": "onset-strength", **changes}
    return Settings.preset("melody").changed(wanted).as_dict()


def alone(melody: Path, title: str, settings: dict[str, Any]) -> str:
    """What one process makes of the same, without a service."""
    recording = open_source(melody, title=title, max_minutes=15)
    done = transcribe(recording, Settings().changed(settings))
    return to_musicxml(done.score, done.settings)


def test_a_job_goes_through_two_workers_and_every_page_sees_it(world: World, app: Any, melody: Path) -> None:
    world.work("gpu", "cpu")
    job = app.submit(melody, passage(0), title="Ode", owner="me")
    elsewhere = new_app(world)
    try:
        seen = list(elsewhere.watch(job))
        assert seen[-1].state == "done", seen[-1]
        assert [s.fraction for s in seen] == sorted(s.fraction for s in seen)
        partial = [s for s in seen if s.state == "running" and s.made.get("notes") and not s.made.get("files")]
        assert partial, "notes are there before the score"
        assert elsewhere.order(job).owner == "me" and [o.job for o, _ in elsewhere.history.of_owner("me")] == [job]
        assert {"decode", "detect_notes:mix", "find_metre", "write_score"} <= set(app.history.timings(job))
    finally:
        elsewhere.stop()
    assert app.file(job, "song.musicxml").read_text() == alone(melody, "Ode", passage(0))


def test_everything_lies_where_the_layout_says_and_deleting_leaves_nothing_of_the_job(
    world: World, app: Any, melody: Path,
) -> None:
    world.work("gpu", "cpu")
    job = app.submit(melody, passage(2), owner="me")
    app.result(job)
    rooms = {name.split("/")[0] for name in world.names()}
    assert rooms == {"uploads", "stems", "stages", "sounds", "results"}
    assert app.file(job, "original.ogg").read_bytes().startswith(b"OggS")
    assert world.names(f"uploads/{job}") == [f"uploads/{job}/source.flac"]
    sounds = set(world.names("sounds")) | {name for name in world.names("stems") if not name.endswith(".zip")}
    app.delete(job)
    assert not [name for name in world.names() if job in name]
    assert len(set(world.names()) & sounds) < len(sounds)
    with pytest.raises(InputError):
        app.snapshot(job)


def test_tuning_anew_never_waits_for_a_gpu(world: World, app: Any, melody: Path) -> None:
    world.work("gpu", "cpu")
    job = app.submit(melody, passage(4))
    app.result(job)
    world.work("cpu")  # no worker for what is heard
    again = app.again(job, passage(4, **{"quantise.finest": 8}))
    app.result(again)
    assert not {"decode", "detect_notes:mix", "track_pulse"} & set(app.history.timings(again))


def test_a_waiting_job_is_cancelled_at_once_and_a_running_one_soon(world: World, app: Any, melody: Path) -> None:
    world.work()
    waiting, wanted = (app.submit(melody, passage(s)) for s in (6, 6.5))
    assert [app.snapshot(job).place for job in (waiting, wanted)] == [1, 2] and app.waiting() == 2
    app.cancel(waiting)
    assert app.snapshot(waiting).state == "cancelled" and app.snapshot(wanted).place == 1
    app.cancel(wanted)
    world.work("gpu", "cpu")
    running = app.submit(melody, {**passage(7), "audio.end_s": 30.0})
    until(lambda: app.snapshot(running).stage.startswith("detect_notes"), "hearing")
    app.cancel(running)
    until(lambda: app.snapshot(running).state == "cancelled", "the end", 15)
    after = app.submit(melody, passage(8))
    app.result(after)
    assert app.history.snapshot(waiting).state == app.history.snapshot(running).state == "cancelled"


def test_three_priorities(world: World, app: Any, melody: Path) -> None:
    world.work()
    jobs = {p: app.submit(melody, passage(9 + p / 10), priority=p) for p in (SENT, ASKED, RETUNED)}
    assert [app.snapshot(jobs[p]).place for p in (RETUNED, ASKED, SENT)] == [1, 2, 3]
    world.work("cpu")
    began = {}

    def all_began() -> bool:
        with app.history._engine.connect() as db:
            began.update(db.execute(sa.text("SELECT job, started_at FROM jobs")).all())
        return all(began[job] for job in jobs.values())

    until(all_began, "a begin of all")
    assert began[jobs[RETUNED]] < began[jobs[ASKED]] < began[jobs[SENT]]
    for job in jobs.values():
        app.delete(job)


def test_bad_input_is_not_tried_again(world: World, app: Any, tmp_path: Path) -> None:
    world.work("gpu", "cpu")
    (bad := tmp_path / "bad.wav").write_bytes(b"RIFF this is no sound at all")
    job = app.submit(bad, passage(0))
    with pytest.raises(RescoredError):
        app.result(job)
    assert app.board.standing(job).attempt == 1


def test_a_restart_of_redis_and_of_the_page_loses_nothing(world: World, melody: Path) -> None:
    world.work("gpu", "cpu")
    first = new_app(world)
    jobs = [first.submit(melody, passage(s), owner="restarted") for s in (11, 11.5, 12)]
    until(lambda: first.snapshot(jobs[0]).state == "running", "a begin")
    first.stop()  # the page is gone
    world.redis.stop()
    time.sleep(0.5)
    world.redis.start()
    second = new_app(world)
    try:
        for job in jobs:
            second.result(job)
        world.work()
        lost = second.submit(melody, passage(12.5), owner="restarted")
        second.board.redis.flushall()  # as if there had been no append-only file
        second.stop()
        third = new_app(world)
        world.work("gpu", "cpu")
        third.result(lost)
        third.stop()
        assert len(third.history.of_owner("restarted")) == 4
    finally:
        second.stop()


def test_workers_killed_twenty_times_change_nothing(world: World, app: Any, melody: Path) -> None:
    chance = random.Random(7)
    world.work("gpu", "cpu", "cpu-2")
    world.stored.write_text("")
    passages = (passage(0.3 + k * 0.37) for k in range(30))
    jobs = {app.submit(melody, settings, title="Killed"): settings for settings in islice(passages, 6)}
    for _ in range(KILLS):
        if all(app.snapshot(job).over for job in jobs):
            settings = next(passages)
            jobs[app.submit(melody, settings, title="Killed")] = settings
        until(lambda: any(app.snapshot(job).state == "running" for job in jobs), "work")
        time.sleep(chance.uniform(0.0, 2.5))
        worker = world.workers[chance.choice(sorted(world.workers))]
        if (children := worker.children()) and chance.random() < 0.6:
            with suppress(ProcessLookupError):
                os.kill(chance.choice(children), signal.SIGKILL)  # its parent lives and begins another
        else:
            worker.kill()
            world.work(*world.workers)
    for job, settings in jobs.items():
        app.result(job)
        assert app.file(job, "song.musicxml").read_text() == alone(melody, "Killed", settings)
    twice = [key for key, times in Counter(world.stored.read_text().split()).items() if times > 1]
    assert not twice, "what was stored was made again"


def band(start_s: float) -> dict[str, Any]:
    """A passage that is taken apart, by one segment of the network."""
    wanted = {"audio.start_s": start_s, "audio.end_s": start_s + 1.5, "pulse.tracker": "onset-strength",
              "separate.model": "rescored-small"}
    return Settings.preset("full-band").changed(wanted).as_dict()


def test_songs_share_a_worker_s_batches_and_are_as_safe_there_as_alone(world: World, app: Any, melody: Path) -> None:
    def at_the_network(songs: int) -> None:
        until(lambda: world.waiting.read_text() == str(songs), f"{songs} songs in one process")

    world.hold.touch()
    world.work("gpu-together", "cpu")
    jobs = {app.submit(melody, band(1), title="Band"): band(1)}
    at_the_network(1)
    jobs |= {app.submit(melody, band(start_s), title="Band"): band(start_s) for start_s in (4, 7, 10)}
    at_the_network(4)
    assert app.demand() == {"gpu": 4, "cpu": 0}
    *_, unwanted = jobs
    app.cancel(unwanted)
    until(lambda: app.snapshot(unwanted).state == "cancelled", "the end of one that waits for others' segments", 30)
    del jobs[unwanted]
    world.workers["gpu-together"].kill()
    world.waiting.write_text("")
    world.work("gpu-together", "cpu")
    at_the_network(3)
    world.hold.unlink()
    until(lambda: world.batches.exists() and len(world.batches.read_text().split()) == 2, "batches")
    world.workers["gpu-together"].process.terminate()  # as one that is not needed any more
    until(lambda: all(app.snapshot(job).state == "done" for job in jobs), "the end of what it had, and nobody else can")
    for job, settings in jobs.items():
        assert app.file(job, "song.musicxml").read_text() == alone(melody, "Band", settings)
    assert world.batches.read_text().split() == ["1", "2"]
    world.workers["gpu-together"].process.wait(60)
