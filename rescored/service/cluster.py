"""Jobs that workers on any machine do: Celery carries their ids, Redis how they stand, the store everything else.

A task does what its queue is for ("gpu": separation and whatever neural networks hear; "cpu": the rest)
and sends the next task of the chain, which finds all in the store. Nothing is lost with a worker: it says
every few seconds that it lives, and whoever finds a job whose worker does not puts it into the queue
again, where it goes on at its last finished stage. A message that comes twice, or late, is no harm, for
only the latest attempt at a job can claim it.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from ..bucket import Bucket
from ..errors import Cancelled, RescoredError, SettingsError
from .board import Board
from .history import Order, Snapshot
from .jobs import BaseJobs
from .limits import Limits
from .work import HEAVY, QUEUES

log = logging.getLogger(__name__)

LEVELS = 3  # of priority within RETUNED, ASKED and SENT: an owner's second and third job go after others' first
SEND_ANEW_S = 5.0  # a job of which Redis knows nothing is older than this, or it is just being asked for
MOST_LOST = 10  # workers that may die of one job
WRITE_EVERY_S, WATCH_EVERY_S = 0.1, 0.2

Send = Callable[[str, int, int, str, int], None]  # job, attempt, hop, queue, priority


class ClusterJobs(BaseJobs):
    """Jobs behind one Redis; `send` puts a task into a queue. Pages and workers each have one of these."""

    def __init__(self, bucket: Bucket | Path, board: Board, send: Send, *, keep_days: float = 30.0,
                 limits: Limits | None = None):
        super().__init__(bucket, keep_days=keep_days, limits=limits)
        if not self.bucket.folder and not os.environ.get("RESCORED_DATABASE_URL"):
            raise SettingsError("RESCORED_STORE is a bucket, but the history would be a file of this machine.",
                                "Set RESCORED_DATABASE_URL to a database that all machines reach.")
        self.board, self.send = board, send
        self.name = f"{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(3)}"
        self._claims: dict[str, _Claim] = {}  # of the jobs that this process is at
        self._stopped = threading.Event()

    # ------------------------------------------------------------ as Jobs does

    def watch(self, job: str) -> Iterator[Snapshot]:
        """As there."""
        snapshot = self.snapshot(job)
        yield snapshot
        while not snapshot.over:
            time.sleep(WATCH_EVERY_S)
            if (now := self.snapshot(job)) != snapshot:
                snapshot = now
                yield snapshot

    def cancel(self, job: str) -> None:
        """As there."""
        if self.board.cancel(job):
            self._end(self.snapshot(job), state="cancelled")

    def waiting(self) -> int:
        """As there."""
        with _reached():
            return self.board.waiting()

    def demand(self) -> dict[str, int]:
        """As there: a job that was handed on already stands at the stage that it waits for."""
        standing = self.board.snapshots(self.history.unfinished())
        gpu = sum(s.state == "running" and s.stage.partition(":")[0] in HEAVY for s in standing)
        return {"gpu": gpu, "cpu": len(standing) - gpu}

    def change(self, job: str, **changes: Any) -> None:
        """As there, by the worker that has claimed the job. Raises `Lost` and `Cancelled`."""
        claim = self._claims[job]
        before = claim.snapshot
        after = claim.snapshot = replace(before, number=before.number + 1, **changes)
        lasting = (before.state, before.made, before.title) != (after.state, after.made, after.title)
        if not lasting and after.stage == before.stage and time.monotonic() - claim.written_at < WRITE_EVERY_S:
            return
        wanted = self.board.write(claim.id, after)
        claim.written_at = time.monotonic()
        if lasting:
            self.history.update(after)
        if not wanted and not after.over:
            raise Cancelled

    def _live_snapshot(self, job: str) -> Snapshot | None:
        if job in self._claims:
            return self._claims[job].snapshot
        return self.board.snapshot(job)

    def _enqueue(self, job: str, *, lost: bool = False) -> None:
        order = self.history.order(job)
        if order is None:
            return
        others = sum(self.history.standing(order.owner).values()) - 1 if order.owner else 0
        priority = LEVELS * order.priority + min(max(others, 0), LEVELS - 1)
        with _reached():
            snapshot = self.snapshot(job)
            later = snapshot.number + 1000  # than anything that a lost worker may have said since
            snapshot = replace(snapshot, state="queued", number=later)
            attempt = self.board.enqueue(snapshot, priority * 1e11 + order.asked_at, lost=lost)
            self.send(job, attempt, 0, "cpu", priority)

    def _forget_running(self, job: str) -> bool:
        standing = self.board.standing(job)
        if standing and standing.attended and not standing.snapshot.over:
            return True
        self.board.forget(job)
        return False

    def _end(self, snapshot: Snapshot, **changes: Any) -> None:
        """The end of a job that nobody is at."""
        snapshot = replace(snapshot, number=snapshot.number + 1, place=0, **changes)
        self.board.end(snapshot)
        self.history.update(snapshot)

    # ------------------------------------------------------------ as a worker

    def claim(self, job: str, attempt: int, hop: int) -> Order | None:
        """Take a job on; None if there is nothing to be done for it, here and now."""
        claim = f"{self.name}/{secrets.token_hex(6)}"
        self.board.beat(self.name)
        answer = self.board.claim(job, attempt, hop, claim)
        order = self.history.order(job)
        if answer == "no":
            return None
        if order is None:
            self.board.forget(job)
            self.clear(job)
            return None
        if answer == "cancelled":
            self._end(self.snapshot(job), state="cancelled")
            return None
        self._claims[job] = _Claim(claim, self.snapshot(job))
        self.change(job, state="running", place=0)
        return order

    def hand_on(self, job: str, attempt: int, hop: int, queue: str, priority: int) -> None:
        """Send the next task of a claimed job's chain."""
        claim = self._claims[job]
        self.board.write(claim.id, claim.snapshot)
        self.send(job, attempt, hop, queue, priority)
        self.board.hand_over(job, claim.id)

    def leave(self, job: str, *, returns: bool = False) -> None:
        """This process is at the job no more; `returns`: but a message to try again is under way."""
        claim = self._claims.pop(job, None)
        if claim and not returns:
            self.board.release(job, claim.id)
        if self.history.order(job) is None:  # it was deleted meanwhile
            self.board.forget(job)
            self.clear(job)

    # ------------------------------------------------------------ so that nothing is lost

    def live(self, *, works: bool) -> None:
        """From now on say that this process lives, if it works, and look after jobs whose worker does not."""
        if works:
            self.board.beat(self.name)

        def go_on() -> None:
            while not self._stopped.wait(self.board.lost_s / 3):
                try:
                    if works:
                        self.board.beat(self.name)
                    if self.board.first_in("look-after", self.board.lost_s / 3):
                        self.look_after()
                except Exception:  # Redis or the database restarts; the next round may reach them
                    log.warning("cannot look after the jobs", exc_info=True)

        threading.Thread(target=go_on, name="rescored-lives", daemon=True).start()

    def stop(self) -> None:
        """End what `live` began."""
        self._stopped.set()

    def look_after(self) -> None:
        """Put what was lost with a worker, or with Redis, into the queue again."""
        for job in self.history.unfinished():
            standing, order = self.board.standing(job), self.history.order(job)
            if order is None:
                continue
            if standing is None:
                if time.time() - order.asked_at > SEND_ANEW_S:
                    self._enqueue(job)
            elif standing.snapshot.over:  # whoever ended it could not tell the history
                self.history.update(standing.snapshot)
            elif standing.snapshot.state == "running" and not standing.attended:
                if standing.lost >= MOST_LOST:
                    self._end(standing.snapshot, state="failed", problem="rescored had to stop again and again.",
                              remedy="A shorter passage may get through.")
                else:
                    log.warning("a worker was lost; its job goes on")
                    self._enqueue(job, lost=True)
        missed = self.board.without_message(lists_of_queues())
        for job in self.board.missed_before(missed):  # twice, so that none was just on its way
            log.warning("a message was lost; its job goes on")
            self._enqueue(job)


@contextmanager
def _reached() -> Iterator[None]:
    """Who asks for a job hears in words that the queue is out of reach."""
    try:
        yield
    except (OSError, RedisError, OperationalError) as error:
        raise RescoredError("The queue cannot be reached.", "Try again in a minute.") from error


class _Claim:
    """What a worker knows of a job that it is at."""

    def __init__(self, id: str, snapshot: Snapshot):
        self.id, self.snapshot, self.written_at = id, snapshot, 0.0


def lists_of_queues() -> list[str]:
    """The names of the Redis lists that are Celery's queues: one a priority."""
    return [queue if not step else f"{queue}\x06\x16{step}" for queue in QUEUES for step in range(3 * LEVELS)]


