"""How much one user may ask for, and how much may wait: judged in one place, on the way into `Jobs.submit`.

The environment sets each limit; 0 = none:
`RESCORED_JOBS_AN_HOUR`  new recordings a user, in any sixty minutes (default 10)
`RESCORED_JOBS_AT_ONCE`  jobs of a user that wait or run (default 4)
`RESCORED_MAX_QUEUE`     jobs of everybody that wait (default 200)
`RESCORED_MAX_MINUTES`   longest recording, whatever the settings say (default 60)
`RESCORED_MAX_MB`        largest upload (default 500)

Tuning a transcription anew costs next to nothing and is not counted by the hour; nor are the shipped
examples, which all visitors share. An anonymous user could take a new name with every visit, so their
network address has an allowance too: that of `USERS_AN_ADDRESS` users. Counts are kept in memory, or in
Redis where `RESCORED_BROKER_URL` names one, so that all servers of a cluster count together.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Self

from limits import RateLimitItemPerHour
from limits.errors import StorageError
from limits.storage import storage_from_string
from limits.strategies import MovingWindowRateLimiter

from ..environment import number
from ..errors import LimitReached
from .logs import hashed
from .telemetry import LIMITED

log = logging.getLogger(__name__)

Ask = Literal["new", "again", "example"]  # a recording; one that was heard already; one that ships
USERS_AN_ADDRESS = 5
SOON_S = 30.0  # when to try again where nobody can know when there is room


@dataclass(frozen=True)
class Allowance:
    """The limits; 0 = none."""

    jobs_an_hour: int = 10
    jobs_at_once: int = 4
    max_queue: int = 200
    max_minutes: float = 60.0
    max_mb: float = 500.0

    @classmethod
    def from_environment(cls) -> Self:
        """As the module's text says."""
        return cls(
            jobs_an_hour=int(number("RESCORED_JOBS_AN_HOUR", cls.jobs_an_hour)),
            jobs_at_once=int(number("RESCORED_JOBS_AT_ONCE", cls.jobs_at_once)),
            max_queue=int(number("RESCORED_MAX_QUEUE", cls.max_queue)),
            max_minutes=number("RESCORED_MAX_MINUTES", cls.max_minutes),
            max_mb=number("RESCORED_MAX_MB", cls.max_mb))


UNLIMITED = Allowance(0, 0, 0, 0, 0)


class Limits:
    """Judges every job that is asked for. `broker`: URL of a Redis that counts for several servers."""

    def __init__(self, allowance: Allowance | None = None, broker: str = ""):
        self.allowance = allowance or Allowance()
        shared = broker.startswith(("redis", "valkey"))
        self._counts = MovingWindowRateLimiter(
            storage_from_string(broker, wrap_exceptions=True) if shared else storage_from_string("memory://"))
        self._entering: Counter[str] = Counter()  # admitted, but not in the history yet
        self._lock = threading.Lock()

    @classmethod
    def from_environment(cls) -> Self:
        """What this server's environment allows."""
        return cls(Allowance.from_environment(), os.environ.get("RESCORED_BROKER_URL", ""))

    @contextmanager
    def entry(self, ask: Ask, owner: str, address: str, *, upload_bytes: int, waiting: Callable[[], int],
              unfinished: Callable[[], int]) -> Iterator[None]:
        """Within it a job enters the queue; raises LimitReached where it may not.

        `waiting` and `unfinished` count everybody's waiting jobs and the owner's unfinished ones. What has
        entered here and is not among them yet is counted too: of simultaneous requests none slips through.
        """
        user = owner or address
        if ask != "example":
            with self._lock:
                try:
                    self._judge_size(upload_bytes)
                    self._judge_room(waiting() + self._entering.total())
                    self._judge_at_once(unfinished() + self._entering[user])
                    if ask == "new":
                        self._count(owner, address)
                except LimitReached:
                    LIMITED.inc()
                    raise
                self._entering[user] += 1
        try:
            yield
        finally:
            if ask != "example":
                with self._lock:
                    self._entering[user] -= 1
                    if not self._entering[user]:
                        del self._entering[user]

    def bounded(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings with no more minutes than are allowed: decoding and fetching refuse what is longer."""
        longest = self.allowance.max_minutes
        wanted = float(settings.get("audio.max_minutes", longest))
        return dict(settings) if not longest or wanted <= longest else {**settings, "audio.max_minutes": longest}

    def _judge_size(self, upload_bytes: int) -> None:
        allowed = self.allowance.max_mb
        if allowed and upload_bytes > allowed * 1e6:
            raise LimitReached(f"The recording is larger than {allowed:g} MB.",
                               "Cut out the passage that you want, or save it as FLAC or MP3.")

    def _judge_room(self, waiting: int) -> None:
        if self.allowance.max_queue and waiting >= self.allowance.max_queue:
            raise LimitReached(f"{waiting} transcriptions are waiting already; there is no room for another.",
                               f"Try again in {in_words(SOON_S)}.", SOON_S)

    def _judge_at_once(self, unfinished: int) -> None:
        if self.allowance.jobs_at_once and unfinished >= self.allowance.jobs_at_once:
            raise LimitReached(f"{unfinished} of your transcriptions are not finished yet.",
                               "Wait until one is done, or cancel one.", SOON_S)

    def _count(self, owner: str, address: str) -> None:
        """Count a new recording against its user and their address, or against neither."""
        hourly = self.allowance.jobs_an_hour
        if not hourly:
            return
        keys = [(RateLimitItemPerHour(hourly), "owner", hashed(owner))] if owner else []
        if address:
            users = USERS_AN_ADDRESS if owner else 1
            keys.append((RateLimitItemPerHour(hourly * users), "address", hashed(address)))
        try:
            for item, *key in keys:
                if not self._counts.test(item, *key):
                    retry_s = max(self._counts.get_window_stats(item, *key).reset_time - time.time(), 1.0)
                    raise LimitReached(
                        f"You have had the {item.amount} new transcriptions that one user may have in an hour.",
                        f"Try again in {in_words(retry_s)}.", retry_s)
            for item, *key in keys:
                self._counts.hit(item, *key)
        except StorageError:  # rather serve than refuse everybody because the counts cannot be had
            log.warning("limits are not counted: Redis does not answer")


def in_words(seconds: float) -> str:
    """A wait, rounded up: "40 seconds", "12 minutes"."""
    if seconds <= 90:
        return f"{math.ceil(seconds)} second{'s' * (math.ceil(seconds) != 1)}"
    return f"{math.ceil(seconds / 60)} minutes"
