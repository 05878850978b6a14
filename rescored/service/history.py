"""Which jobs there are and how each stands, in one SQLite file that outlives the process."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

State = Literal["queued", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class Snapshot:
    """How a job stands. Every change makes a new one with a higher `number`.

    `made` counts, for each thing that can be fetched already ("sound", "notes", "score", "files"), how
    often it was made: a page fetches again what has grown.
    """

    job: str
    title: str
    state: State = "queued"
    number: int = 0
    place: int = 0  # in the queue, 1 = next; 0 = not waiting
    stage: str = ""
    text: str = ""  # what is being done, in a musician's words
    fraction: float = 0.0  # of the whole
    left_s: float | None = None
    made: Mapping[str, int] = field(default_factory=dict)
    problem: str = ""
    remedy: str = ""

    @property
    def over(self) -> bool:
        """Nothing more will happen by itself."""
        return self.state in ("done", "failed", "cancelled")


@dataclass(frozen=True)
class Order:
    """What was asked for: a file in the job's folder or a link, and the settings."""

    job: str
    owner: str
    title: str
    source: str  # a file name within the job's folder, or a link
    settings: Mapping[str, Any]
    asked_at: float


class History:
    """Orders and their last snapshots; and how long each stage takes on this machine."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.executescript(
            """
            CREATE TABLE IF NOT EXISTS jobs (
                job TEXT PRIMARY KEY, owner TEXT, title TEXT, source TEXT, settings TEXT,
                asked_at REAL, state TEXT, snapshot TEXT);
            CREATE INDEX IF NOT EXISTS jobs_of_owner ON jobs (owner, asked_at);
            CREATE TABLE IF NOT EXISTS pace (stage TEXT PRIMARY KEY, seconds_a_minute REAL);
            """)

    def add(self, order: Order, snapshot: Snapshot) -> None:
        """Keep a new order."""
        self._run("INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", order.job, order.owner, order.title,
                  order.source, json.dumps(dict(order.settings)), order.asked_at, snapshot.state,
                  json.dumps(asdict(snapshot)))

    def update(self, snapshot: Snapshot) -> None:
        """Keep how a job stands now."""
        self._run("UPDATE jobs SET state = ?, title = ?, snapshot = ? WHERE job = ?", snapshot.state,
                  snapshot.title, json.dumps(asdict(snapshot)), snapshot.job)

    def snapshot(self, job: str) -> Snapshot | None:
        """How a job stood when it was last kept; None if there is no such job."""
        rows = self._run("SELECT snapshot FROM jobs WHERE job = ?", job)
        return Snapshot(**json.loads(rows[0][0])) if rows else None

    def order(self, job: str) -> Order | None:
        """What was asked for; None if there is no such job."""
        rows = self._run("SELECT job, owner, title, source, settings, asked_at FROM jobs WHERE job = ?", job)
        return _order(rows[0]) if rows else None

    def of_owner(self, owner: str, limit: int = 30) -> list[tuple[Order, Snapshot]]:
        """An owner's jobs, newest first; nobody ("") owns none."""
        rows = self._run(
            "SELECT job, owner, title, source, settings, asked_at, snapshot FROM jobs "
            "WHERE owner = ? AND owner != '' ORDER BY asked_at DESC LIMIT ?", owner, limit)
        return [(_order(row[:6]), Snapshot(**json.loads(row[6]))) for row in rows]

    def unfinished(self) -> list[str]:
        """Jobs that were queued or running when they were last kept, in the order asked."""
        rows = self._run("SELECT job FROM jobs WHERE state IN ('queued', 'running') ORDER BY asked_at")
        return [row[0] for row in rows]

    def unfinished_of(self, owner: str) -> int:
        """How many jobs of an owner were queued or running when they were last kept; nobody ("") owns none."""
        rows = self._run("SELECT count(*) FROM jobs WHERE owner = ? AND owner != '' "
                         "AND state IN ('queued', 'running')", owner)
        return int(rows[0][0])

    def older_than(self, seconds: float) -> list[str]:
        """Finished jobs that were asked for longer ago than this."""
        rows = self._run("SELECT job FROM jobs WHERE asked_at < ? AND state NOT IN ('queued', 'running')",
                         time.time() - seconds)
        return [row[0] for row in rows]

    def forget(self, job: str) -> None:
        """Remove a job's row."""
        self._run("DELETE FROM jobs WHERE job = ?", job)

    def pace(self) -> dict[str, float]:
        """Measured seconds of work for a minute of sound, by stage."""
        return dict(self._run("SELECT stage, seconds_a_minute FROM pace"))

    def set_pace(self, stage: str, seconds_a_minute: float) -> None:
        """Keep a stage's figure."""
        self._run("INSERT OR REPLACE INTO pace VALUES (?, ?)", stage, seconds_a_minute)

    def _run(self, sql: str, *values: Any) -> list[Any]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()


def _order(row: Any) -> Order:
    job, owner, title, source, settings, asked_at = row
    return Order(job, owner, title, source, json.loads(settings), asked_at)
