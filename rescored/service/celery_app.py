"""Celery as rescored uses it: `rescored worker` runs its worker, the page sends its tasks.

`RESCORED_BROKER_URL`  the Redis that carries tasks and says how jobs stand (`redis://host:6379/0`)
`RESCORED_LOST_S`      after how long a silent worker is taken for dead (default 15)
`RESCORED_LIMIT_S`     how long one task may take (default 7200)
`RESCORED_WARM`        presets whose models a "gpu" worker loads before it takes a job (default: all; none)
"""

from __future__ import annotations

import logging
import os
import random
import secrets
import threading
from typing import Any

from celery import Celery, Task, signals
from celery.exceptions import SoftTimeLimitExceeded
from kombu import Exchange, Queue

from ..environment import number
from ..errors import Cancelled, RescoredError, SettingsError
from ..store import Store
from . import telemetry, warm
from .board import Board, Lost
from .cluster import LEVELS, ClusterJobs
from .jobs import Desk, too_long
from .limits import Limits
from .work import QUEUES, Elsewhere, work

log = logging.getLogger(__name__)

MOST_HOPS = 24  # of one chain, retries counted; were a result not to stay in the store, it would never end
MOST_RETRIES = 5


TASK_LIMIT_S = number("RESCORED_LIMIT_S", 7200)
BROKER_URL = os.environ.get("RESCORED_BROKER_URL", "")

app = Celery("rescored", broker=BROKER_URL)
app.conf.update(
    task_queues=[Queue(name, Exchange(name), routing_key=name) for name in QUEUES],
    task_default_queue="cpu",
    task_ignore_result=True,  # how a job stands is on the board, what it made in the store
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    task_soft_time_limit=TASK_LIMIT_S,
    task_time_limit=TASK_LIMIT_S + 60,
    broker_transport_options={
        "visibility_timeout": int(2 * TASK_LIMIT_S + 600),  # longer than any task, or it would be given out twice
        "priority_steps": list(range(3 * LEVELS)), "queue_order_strategy": "priority",
        "socket_keepalive": True, "health_check_interval": 30},
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    task_publish_retry_policy={"max_retries": 20, "interval_start": 0.1, "interval_step": 0.3, "interval_max": 2.0},
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
)


def open_cluster(store: Store, *, limits: Limits | None = None) -> ClusterJobs:
    """The jobs behind `RESCORED_BROKER_URL`."""
    return ClusterJobs(store.bucket, Board(BROKER_URL, lost_s=number("RESCORED_LOST_S", 15.0)), _send,
                       keep_days=store.lifetimes.days, limits=limits)


def _send(job: str, attempt: int, hop: int, queue: str, priority: int) -> None:
    advance.apply_async((job, attempt, hop), queue=queue, priority=priority)


@app.task(bind=True, name="rescored.advance", max_retries=None)  # type: ignore[untyped-decorator]
def advance(task: Task, job: str, attempt: int, hop: int) -> None:
    """Take a job as far as this queue's workers do, and hand it on."""
    here, returns = _here(), False
    where = task.request.delivery_info or {}
    queue, priority = str(where.get("routing_key", "cpu")), int(where.get("priority") or 0)
    try:
        order = here.jobs.claim(job, attempt, hop)
        if order is None:
            return
        telemetry.begin_job(order)
        desk = Desk(here.jobs, order, limit_s=TASK_LIMIT_S)  # in a pool of threads Celery sets none
        try:
            work(desk, here.store, queue if hop < MOST_HOPS else "")
            desk.publish()
        finally:
            desk.leave()
        here.end(job, "done", state="done", fraction=1.0, left_s=0.0, text="")
    except Elsewhere as elsewhere:
        here.jobs.hand_on(job, attempt, hop + 1, elsewhere.queue, priority)
    except Lost:
        log.info("another worker has this job now")
    except Cancelled:
        here.end(job, "cancelled", state="cancelled")
    except RescoredError as error:
        here.end(job, telemetry.outcome_of(error), state="failed", problem=error.problem, remedy=error.remedy)
    except SoftTimeLimitExceeded:
        problem, remedy = too_long(TASK_LIMIT_S)
        here.end(job, "refused", state="failed", problem=problem, remedy=remedy)
    except Exception as error:
        if transient(error) and task.request.retries < MOST_RETRIES:
            log.warning("%s; it is tried again", type(error).__name__)
            countdown = min(2.0 ** task.request.retries, 30.0) * random.uniform(0.5, 1.5)
            returns = True
            raise task.retry(args=(job, attempt, hop + 1), countdown=countdown, exc=error) from error
        log.exception("job failed in stage %s", here.jobs.snapshot(job).stage)
        here.end(job, "failed", state="failed", problem="rescored made a mistake and had to stop.",
                 remedy="What was finished is kept; other settings may get further.")
    finally:
        here.jobs.leave(job, returns=returns)


def transient(error: BaseException) -> bool:
    """Whether the same may well go right in a while: as `warm.py` says, or Redis or the database out of reach."""
    import redis.exceptions
    import sqlalchemy.exc

    return warm.transient(error) or isinstance(
        error, redis.exceptions.ConnectionError | redis.exceptions.TimeoutError | sqlalchemy.exc.OperationalError
        | sqlalchemy.exc.InterfaceError)


class _Here:
    """What one process that does tasks has: a store and the jobs."""

    def __init__(self) -> None:
        self.store = Store()
        self.jobs = open_cluster(self.store)
        self.jobs.live(works=True)

    def end(self, job: str, outcome: str, **ending: Any) -> None:
        """The end of a job that this process is at; `outcome` is what telemetry counts it as."""
        try:
            self.jobs.change(job, **ending)
            telemetry.end_job(outcome, self.jobs.history.seconds(job))
        except Lost:
            log.info("another worker has this job now")


_known: list[_Here] = []
_lock = threading.Lock()


def _here() -> _Here:
    with _lock:
        if not _known:
            _known.append(_Here())
        return _known[0]


@signals.worker_process_init.connect  # type: ignore[untyped-decorator]
def _begin(**_: Any) -> None:
    """A process of the pool has begun: let it be known, and have its models where they are wanted."""
    from .. import plugins

    os.environ.setdefault("RESCORED_IDLE_S", "0")  # models stay
    plugins.load()
    _known.clear()
    _here()
    if "gpu" in app.amqp.queues.consume_from:
        warm.warm(os.environ.get("RESCORED_WARM", "all"))


@signals.worker_init.connect  # type: ignore[untyped-decorator]
def _begin_alone(sender: Any, **_: Any) -> None:
    """The same where the pool is this process itself."""
    if "prefork" not in str(getattr(sender, "pool_cls", "")):
        _begin()


def run_worker(queues: list[str], concurrency: int, pool: str) -> None:
    """Celery's own worker, until it is stopped. Raises SettingsError where it cannot begin."""
    if not BROKER_URL.startswith(("redis://", "rediss://")):
        raise SettingsError("A worker needs a Redis.", "Set RESCORED_BROKER_URL to its URL, redis://host:6379/0.")
    if unknown := set(queues) - set(QUEUES):
        raise SettingsError(f"There is no queue {min(unknown)}.", f"The queues are {', '.join(QUEUES)}.")
    telemetry.set_up()
    telemetry.serve_worker()
    app.worker_main([
        "--quiet", "worker", "--queues", ",".join(queues), "--concurrency", str(concurrency), "--pool", pool,
        "--without-gossip", "--without-mingle", "--loglevel", "WARNING",
        "--hostname", f"rescored-{secrets.token_hex(3)}@%h"])
