"""Which jobs there are, whose they are and how each stands, in a database that outlives the process.

An SQLite file in the store's folder, or what `RESCORED_DATABASE_URL` names (PostgreSQL, say
`postgresql+psycopg://user@host/rescored`). Its tables are brought up to date when it is opened.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from ..bucket import kept_here
from ..errors import RescoredError

State = Literal["queued", "running", "done", "failed", "cancelled"]
UNFINISHED = ("queued", "running")

# Which jobs go first: what was heard already and only needs to be written anew, what somebody waits for at the
# page, and what programs send.
RETUNED, ASKED, SENT = 0, 1, 2


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
        return self.state not in UNFINISHED


@dataclass(frozen=True)
class Order:
    """What was asked for: an upload's name or a link, and the settings."""

    job: str
    owner: str
    title: str
    source: str  # a file name within the job's upload, or a link
    settings: Mapping[str, Any]
    asked_at: float
    priority: int = ASKED


_tables = sa.MetaData()
_jobs = sa.Table(
    "jobs", _tables, sa.Column("job", sa.String, primary_key=True), sa.Column("owner", sa.String),
    sa.Column("title", sa.Text), sa.Column("source", sa.Text), sa.Column("settings", sa.Text),
    sa.Column("priority", sa.Integer), sa.Column("asked_at", sa.Float), sa.Column("started_at", sa.Float),
    sa.Column("ended_at", sa.Float), sa.Column("state", sa.String), sa.Column("snapshot", sa.Text),
    sa.Column("timings", sa.Text))
_held = sa.Table(
    "held_sounds", _tables, sa.Column("job", sa.String, primary_key=True),
    sa.Column("name", sa.String, primary_key=True))
_pace = sa.Table(
    "pace", _tables, sa.Column("stage", sa.String, primary_key=True), sa.Column("seconds_a_minute", sa.Float))

_ORDER = (_jobs.c.job, _jobs.c.owner, _jobs.c.title, _jobs.c.source, _jobs.c.settings, _jobs.c.asked_at,
          _jobs.c.priority)
_UPGRADE_LOCK = 7316  # any number, for PostgreSQL's advisory lock


class History:
    """Orders, their last snapshots and timings; and how long each stage takes on this machine.

    `place` is the file of an SQLite database, or the URL of any. Whatever writes raises RescoredError where the file
    cannot be written.
    """

    def __init__(self, place: Path | str):
        if isinstance(place, Path):
            with kept_here():
                place.parent.mkdir(parents=True, exist_ok=True)
            self._file: Path | None = place
            self._engine = sa.create_engine(f"sqlite:///{place}", connect_args={"timeout": 30})
            sa.event.listen(self._engine, "connect", _prepare_sqlite)
        else:
            self._file = None
            self._engine = sa.create_engine(place, pool_pre_ping=True)
        self._upgrade()

    @classmethod
    def of_environment(cls, folder: Path) -> History:
        """The database that `RESCORED_DATABASE_URL` names, else a file in the folder."""
        return cls(os.environ.get("RESCORED_DATABASE_URL") or folder / "history.sqlite")

    def add(self, order: Order, snapshot: Snapshot) -> None:
        """Keep a new order."""
        self._do(sa.insert(_jobs).values(
            job=order.job, owner=order.owner, title=order.title, source=order.source,
            settings=json.dumps(dict(order.settings)), priority=order.priority, asked_at=order.asked_at,
            state=snapshot.state, snapshot=json.dumps(asdict(snapshot)), timings="{}"))

    def update(self, snapshot: Snapshot) -> None:
        """Keep how a job stands now."""
        times: dict[str, Any] = {}
        if snapshot.state == "running":
            times = {"started_at": sa.func.coalesce(_jobs.c.started_at, time.time()), "ended_at": None}
        elif snapshot.over:
            times = {"ended_at": time.time()}
        self._do(sa.update(_jobs).where(_jobs.c.job == snapshot.job).values(
            state=snapshot.state, title=snapshot.title, snapshot=json.dumps(asdict(snapshot)), **times))

    def add_timing(self, job: str, stage: str, seconds: float) -> None:
        """Keep how long a stage of this job took (summed over its runs)."""
        with self._writing() as db:
            row = db.execute(sa.select(_jobs.c.timings).where(_jobs.c.job == job)).first()
            if row:
                timings = json.loads(row[0])
                timings[stage] = round(timings.get(stage, 0.0) + seconds, 3)
                db.execute(sa.update(_jobs).where(_jobs.c.job == job).values(timings=json.dumps(timings)))

    def timings(self, job: str) -> dict[str, float]:
        """Seconds that the job's stages took; those whose result was there already took none."""
        rows = self._rows(sa.select(_jobs.c.timings).where(_jobs.c.job == job))
        return dict(json.loads(rows[0][0])) if rows else {}

    def seconds(self, job: str) -> float:
        """From the begin of a job's work to its end; 0 if it did not begin or end."""
        rows = self._rows(sa.select(_jobs.c.started_at, _jobs.c.ended_at).where(_jobs.c.job == job))
        began, ended = rows[0] if rows else (None, None)
        return ended - began if began and ended else 0.0

    def snapshot(self, job: str) -> Snapshot | None:
        """How a job stood when it was last kept; None if there is no such job."""
        rows = self._rows(sa.select(_jobs.c.snapshot).where(_jobs.c.job == job))
        return Snapshot(**json.loads(rows[0][0])) if rows else None

    def order(self, job: str) -> Order | None:
        """What was asked for; None if there is no such job."""
        rows = self._rows(sa.select(*_ORDER).where(_jobs.c.job == job))
        return _order(rows[0]) if rows else None

    def of_owner(self, owner: str, limit: int = 30) -> list[tuple[Order, Snapshot]]:
        """An owner's jobs, newest first; nobody ("") owns none."""
        if not owner:
            return []
        rows = self._rows(sa.select(*_ORDER, _jobs.c.snapshot).where(_jobs.c.owner == owner)
                          .order_by(_jobs.c.asked_at.desc()).limit(limit))
        return [(_order(row[:-1]), Snapshot(**json.loads(row[-1]))) for row in rows]

    def unfinished(self) -> list[str]:
        """Jobs that were queued or running when they were last kept, in the order in which they are to be done."""
        rows = self._rows(sa.select(_jobs.c.job).where(_jobs.c.state.in_(UNFINISHED))
                          .order_by(_jobs.c.priority, _jobs.c.asked_at))
        return [row[0] for row in rows]

    def standing(self, owner: str = "") -> dict[str, int]:
        """How many jobs are "queued" and "running": everybody's, or one owner's."""
        counted = sa.select(_jobs.c.state, sa.func.count()).where(_jobs.c.state.in_(UNFINISHED))
        if owner:
            counted = counted.where(_jobs.c.owner == owner)
        return {"queued": 0, "running": 0, **{row[0]: row[1] for row in self._rows(counted.group_by(_jobs.c.state))}}

    def older_than(self, seconds: float) -> list[str]:
        """Finished jobs that were asked for longer ago than this, oldest first."""
        rows = self._rows(sa.select(_jobs.c.job).where(
            _jobs.c.asked_at < time.time() - seconds, _jobs.c.state.not_in(UNFINISHED)).order_by(_jobs.c.asked_at))
        return [row[0] for row in rows]

    def forget(self, job: str) -> None:
        """Remove a job's row."""
        self._do(sa.delete(_jobs).where(_jobs.c.job == job))

    def hold(self, job: str, name: str) -> None:
        """Note that a job needs the sound of this name in the store."""
        with self._writing() as db:
            mine = (_held.c.job == job) & (_held.c.name == name)
            if not db.execute(sa.select(_held).where(mine)).first():
                db.execute(sa.insert(_held).values(job=job, name=name))

    def release(self, job: str) -> list[str]:
        """Forget which sounds a job needs; those that no other job needs either."""
        with self._writing() as db:
            names = [row[0] for row in db.execute(sa.select(_held.c.name).where(_held.c.job == job))]
            db.execute(sa.delete(_held).where(_held.c.job == job))
            still = {row[0] for row in db.execute(sa.select(_held.c.name).where(_held.c.name.in_(names)))}
            return [name for name in names if name not in still]

    def pace(self) -> dict[str, float]:
        """Measured seconds of work for a minute of sound, by stage."""
        rows = self._rows(sa.select(_pace.c.stage, _pace.c.seconds_a_minute))
        return {row[0]: row[1] for row in rows}

    def set_pace(self, stage: str, seconds_a_minute: float) -> None:
        """Keep a stage's figure."""
        with self._writing() as db:
            if not db.execute(sa.update(_pace).where(_pace.c.stage == stage)
                              .values(seconds_a_minute=seconds_a_minute)).rowcount:
                db.execute(sa.insert(_pace).values(stage=stage, seconds_a_minute=seconds_a_minute))

    def close(self) -> None:
        """Let the connections go."""
        self._engine.dispose()

    def _do(self, statement: Any) -> None:
        with self._writing() as db:
            db.execute(statement)

    @contextmanager
    def _writing(self) -> Iterator[Any]:
        """A transaction. Raises RescoredError where the disk of an SQLite file takes nothing."""
        try:
            with self._engine.begin() as db:
                yield db
        except OperationalError as error:
            if self._file is None:
                raise
            raise RescoredError(f"The list of transcriptions cannot be written ({error.orig}).",
                                "Free some space, or let RESCORED_STORE name another folder.") from error

    def _rows(self, statement: Any) -> list[Any]:
        with self._engine.connect() as db:
            return list(db.execute(statement).all())

    def _upgrade(self) -> None:
        """Take the steps of migrations/ that this database lacks; one process at a time."""
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self._alone(), self._writing() as db:
            if db.dialect.name == "postgresql":
                db.execute(sa.text(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})"))
            config.attributes["connection"] = db
            command.upgrade(config, "head")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if self._file is None:
            yield
            return
        with kept_here(), self._file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _prepare_sqlite(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")  # a power cut may cost the last moment, never the file


def _order(row: Iterable[Any]) -> Order:
    job, owner, title, source, settings, asked_at, priority = row
    return Order(job, owner, title, source, json.loads(settings), asked_at, priority)
