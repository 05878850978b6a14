"""What an operator of several machines sees and relies on, with a real Redis, a real PostgreSQL and a real worker."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import media
import pytest
from servers import Postgres, Redis, Worker, free_port, missing, until

from rescored.errors import LimitReached
from rescored.service.history import History, Order, Snapshot
from rescored.service.limits import Allowance, Limits
from rescored.settings import Settings
from rescored.store import Store

pytestmark = [pytest.mark.service, pytest.mark.skipif(bool(missing()), reason=missing())]

BACKUP = Path(__file__).parents[1] / "deploy" / "backup"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(tmp_path / "redis")
    yield server
    server.stop()


def client(server: Redis) -> Any:
    import redis

    return redis.Redis.from_url(server.url)


def test_a_worker_s_figures_and_log(redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rescored.service import celery_app

    port = free_port()
    env = {"RESCORED_BROKER_URL": redis.url, "RESCORED_STORE": str(tmp_path / "store"), "RESCORED_WARM": "none",
           "RESCORED_METRICS_PORT": str(port), "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "figures"),
           "RESCORED_DEVICE": "cpu", "OMP_NUM_THREADS": "1"}
    for name, value in env.items():
        if name != "PROMETHEUS_MULTIPROC_DIR":  # which this process has begun without
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(celery_app, "BROKER_URL", redis.url)
    celery_app.app.conf.broker_url = redis.url
    worker = Worker("gpu,cpu", {**os.environ, **env}, tmp_path / "log")
    jobs = celery_app.open_cluster(Store())
    jobs.live(works=False)
    try:
        (song := tmp_path / "Geheime Sonate.mid").write_bytes(media.scale())
        job = jobs.submit(song, Settings().as_dict(), title="Geheime Sonate", owner="anna-at-home")
        jobs.result(job)

        def figures() -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                return str(answer.read(), "utf-8")

        until(lambda: 'rescored_jobs_total{outcome="done"} 1.0' in figures(), "the job's figure")
        assert 'rescored_stage_seconds_count{cached="false",stage="find_metre"} 1.0' in figures()
    finally:
        jobs.stop()
        worker.kill()
    text = (tmp_path / "log").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert {"job begins", "stage done", "job ends"} <= {line["event"] for line in lines if line.get("job") == job}
    assert "Sonate" not in text and "anna-at-home" not in text


def test_servers_behind_one_redis_count_together(redis: Redis) -> None:
    one, other = (Limits(Allowance(jobs_an_hour=3), broker=redis.url) for _ in range(2))

    def ask(limits: Limits) -> None:
        with limits.entry("new", "anna", "", upload_bytes=0, waiting=lambda: 0, unfinished=lambda: 0):
            pass

    for limits in (one, other, one):
        ask(limits)
    with pytest.raises(LimitReached) as refused:
        ask(other)
    assert 3590 < refused.value.retry_s <= 3600


def test_redis_comes_back_from_its_backup_with_an_append_only_file(redis: Redis, tmp_path: Path) -> None:
    client(redis).hset("job:1", mapping={"state": "queued"})
    client(redis).lpush("gpu", *range(1000))
    made = backed_up(tmp_path, RESCORED_BROKER_URL=redis.url)
    client(redis).lpush("gpu", "after the backup")
    for _ in range(2):  # a second restore replaces the first
        redis.stop()
        restore("redis", made, str(redis.folder))
        redis.start()
        assert client(redis).hget("job:1", "state") == b"queued" and client(redis).llen("gpu") == 1000
        client(redis).lpush("gpu", "after the restore")
    redis.stop()
    redis.start()
    assert client(redis).llen("gpu") == 1001  # the append-only file goes on from what was restored


def test_postgres_comes_back_from_its_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Postgres(tmp_path / "postgres")
    try:
        history = History(server.url)
        first, second = "a" * 24, "b" * 24
        history.add(Order(first, "anna", "Étude", "source.wav", {"notes.lowest": 30}, 1.0), Snapshot(first, "Étude"))
        made = backed_up(tmp_path, RESCORED_DATABASE_URL=server.url)
        history.forget(first)
        history.add(Order(second, "bert", "later", "source.wav", {}, 2.0), Snapshot(second, "later"))
        history.close()
        monkeypatch.setenv("RESCORED_DATABASE_URL", server.url)
        restore("postgres", made)
        again = History(server.url)
        assert again.order(first).settings == {"notes.lowest": 30} and again.order(second) is None
        again.close()
    finally:
        server.stop()


def backed_up(folder: Path, **environment: str) -> str:
    """The folder that backup.sh made."""
    done = subprocess.run([BACKUP / "backup.sh", folder], capture_output=True, text=True, check=True,
                          env={"PATH": os.environ["PATH"], **environment})
    return done.stdout.strip()


def restore(*arguments: str) -> None:
    done = subprocess.run([BACKUP / "restore.sh", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
