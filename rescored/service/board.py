"""How the jobs of a cluster stand right now, in Redis: where workers write and every page reads.

Of each unfinished job a hash: `snapshot` (JSON), `attempt` (how often it was put into the queue), `lost` (how
often its worker died), `hop` (how far its chain of tasks has come), `claim` (worker and run that are at it) and
`cancel`. Two sorted sets: jobs that wait for their first task, and those `handed` on to their next. Whatever
two processes could do at once is one script. The history keeps what lasts; were Redis emptied, jobs would
start again at their last finished stage.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import Any, Literal

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError, TimeoutError
from redis.retry import Retry

from .history import Snapshot

Claimed = Literal["mine", "no", "cancelled"]
OVER_S = 3600  # how long the end of a job stays here for those who watch it
RETRIES = 12  # of a command while Redis restarts, up to 2 s apart

# KEYS: the job's hash, the waiting, the handed. ARGV: attempt, hop, claim, prefix of workers' keys, job.
_CLAIM = """
if redis.call('HGET', KEYS[1], 'attempt') ~= ARGV[1] then return 'no' end
if redis.call('HGET', KEYS[1], 'over') then return 'no' end
if redis.call('HGET', KEYS[1], 'cancel') then return 'cancelled' end
local claim = redis.call('HGET', KEYS[1], 'claim')
local hop = tonumber(redis.call('HGET', KEYS[1], 'hop') or '0')
if claim and tonumber(ARGV[2]) <= hop then
  local worker = string.match(claim, '^[^/]+')
  if redis.call('EXISTS', ARGV[4] .. worker) == 1 then return 'no' end
end
redis.call('HSET', KEYS[1], 'claim', ARGV[3], 'hop', ARGV[2])
redis.call('ZREM', KEYS[2], ARGV[5])
redis.call('ZREM', KEYS[3], ARGV[5])
return 'mine'
"""
# KEYS: the job's hash. ARGV: claim, snapshot, seconds to keep it if the job is over.
_WRITE = """
if redis.call('HGET', KEYS[1], 'claim') ~= ARGV[1] then return 'lost' end
redis.call('HSET', KEYS[1], 'snapshot', ARGV[2])
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[1], 'over', '1')
  redis.call('EXPIRE', KEYS[1], ARGV[3])
end
return redis.call('HGET', KEYS[1], 'cancel') or ''
"""
# KEYS: the job's hash, the handed. ARGV: claim, job, time.
_HAND_OVER = """
if redis.call('HGET', KEYS[1], 'claim') == ARGV[1] then redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2]) end
"""
# KEYS: the job's hash, the handed. ARGV: claim, job.
_RELEASE = """
if redis.call('HGET', KEYS[1], 'claim') == ARGV[1] and not redis.call('ZSCORE', KEYS[2], ARGV[2]) then
  redis.call('HDEL', KEYS[1], 'claim')
end
"""
# KEYS: the job's hash, the waiting, the handed. ARGV: job. Whether nobody is at it, so that who asks can end it.
_CANCEL = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'cancel', '1')
return redis.call('ZREM', KEYS[2], ARGV[1]) + redis.call('ZREM', KEYS[3], ARGV[1])
"""


class Lost(Exception):
    """The job is another's now, or was forgotten: what is still done for it is in vain."""


@dataclass(frozen=True)
class Standing:
    """What is known of a job: its snapshot, and whether a living worker is at it."""

    snapshot: Snapshot
    attempt: int
    lost: int
    attended: bool


class Board:
    """One Redis, named by its URL. `lost_s`: after how long a silent worker is taken for dead."""

    def __init__(self, url: str, *, lost_s: float = 15.0, prefix: str = "rescored:"):
        retry = Retry(ExponentialBackoff(cap=2.0, base=0.1), RETRIES)
        self.redis: Any = Redis.from_url(url, decode_responses=True, retry=retry,
                                         retry_on_error=[ConnectionError, TimeoutError], health_check_interval=30)
        self.lost_s, self._prefix, self._waiting = lost_s, prefix, f"{prefix}waiting"
        self._handed = f"{prefix}handed"
        self._claim = self.redis.register_script(_CLAIM)
        self._write = self.redis.register_script(_WRITE)
        self._release = self.redis.register_script(_RELEASE)
        self._hand_over = self.redis.register_script(_HAND_OVER)
        self._cancel = self.redis.register_script(_CANCEL)

    # ------------------------------------------------------------ who asks

    def enqueue(self, snapshot: Snapshot, rank: float, *, lost: bool) -> int:
        """Let a job wait, in order of `rank`; its number of attempts, this one counted. `lost`: its worker died."""
        key = self._job(snapshot.job)
        with self.redis.pipeline() as all_at_once:
            all_at_once.hincrby(key, "attempt", 1)
            all_at_once.hincrby(key, "lost", int(lost))
            all_at_once.hset(key, "snapshot", json.dumps(asdict(snapshot)))
            all_at_once.hdel(key, "claim", "hop", "over")
            all_at_once.persist(key)
            all_at_once.zrem(self._handed, snapshot.job)
            all_at_once.zadd(self._waiting, {snapshot.job: rank})
            return int(all_at_once.execute()[0])

    def standing(self, job: str) -> Standing | None:
        """How a job stands; None if nothing is known of it here."""
        text, attempt, lost, claim = self.redis.hmget(self._job(job), "snapshot", "attempt", "lost", "claim")
        if text is None:
            return None
        attended = bool(claim) and bool(self.redis.exists(f"{self._prefix}worker:{claim.partition('/')[0]}"))
        return Standing(Snapshot(**json.loads(text)), int(attempt or 0), int(lost or 0), attended)

    def snapshot(self, job: str) -> Snapshot | None:
        """A job's snapshot, with its place in the queue."""
        with self.redis.pipeline(transaction=False) as both:
            both.hget(self._job(job), "snapshot")
            both.zrank(self._waiting, job)
            text, place = both.execute()
        if text is None:
            return None
        values = json.loads(text)
        if values["state"] == "queued" and place is not None:
            values["place"] = place + 1
        return Snapshot(**values)

    def snapshots(self, jobs: list[str]) -> list[Snapshot]:
        """Of those of these jobs of which something is known here, without their places in the queue."""
        with self.redis.pipeline(transaction=False) as all_at_once:
            for job in jobs:
                all_at_once.hget(self._job(job), "snapshot")
            return [Snapshot(**json.loads(text)) for text in all_at_once.execute() if text]

    def cancel(self, job: str) -> bool:
        """Ask for a job's end; whether it waits and nobody is at it, so that nobody else will end it."""
        return bool(self._cancel(keys=[self._job(job), self._waiting, self._handed], args=[job]))

    def end(self, snapshot: Snapshot) -> None:
        """Write the end of a job that nobody is at."""
        key = self._job(snapshot.job)
        with self.redis.pipeline() as all_at_once:
            all_at_once.hset(key, mapping={"snapshot": json.dumps(asdict(snapshot)), "over": "1"})
            all_at_once.zrem(self._waiting, snapshot.job)
            all_at_once.zrem(self._handed, snapshot.job)
            all_at_once.expire(key, OVER_S)
            all_at_once.execute()

    def forget(self, job: str) -> None:
        """Know nothing of a job any more."""
        self.redis.delete(self._job(job))
        self.redis.zrem(self._waiting, job)
        self.redis.zrem(self._handed, job)

    def waiting(self) -> int:
        """How many jobs wait."""
        return int(self.redis.zcard(self._waiting))

    # ------------------------------------------------------------ who works

    def beat(self, worker: str) -> None:
        """Say that a worker lives."""
        self.redis.set(f"{self._prefix}worker:{worker}", str(time.time()), px=int(self.lost_s * 1000))

    def claim(self, job: str, attempt: int, hop: int, claim: str) -> Claimed:
        """Take a job on: not if this attempt is not the latest, or another living worker is at this hop."""
        answer: Claimed = self._claim(keys=[self._job(job), self._waiting, self._handed],
                             args=[attempt, hop, claim, f"{self._prefix}worker:", job])
        return answer

    def write(self, claim: str, snapshot: Snapshot) -> bool:
        """Say how a claimed job stands; whether it is still wanted. Raises `Lost`."""
        answer = self._write(keys=[self._job(snapshot.job)],
                             args=[claim, json.dumps(asdict(snapshot)), OVER_S if snapshot.over else ""])
        if answer == "lost":
            raise Lost
        return bool(answer == "")

    def hand_over(self, job: str, claim: str) -> None:
        """Say that a claimed job's next task is on its way, unless that was taken already."""
        self._hand_over(keys=[self._job(job), self._handed], args=[claim, job, time.time()])

    def release(self, job: str, claim: str) -> None:
        """Say that nobody is at a claimed job any more, unless it was handed on."""
        self._release(keys=[self._job(job), self._handed], args=[claim, job])

    def first_in(self, task: str, seconds: float) -> bool:
        """Whether nobody else in the cluster has done this within the last seconds."""
        return bool(self.redis.set(f"{self._prefix}once:{task}", "1", nx=True, px=int(seconds * 1000)))

    def missed_before(self, jobs: set[str]) -> set[str]:
        """Remember these jobs for whoever asks next; those of them that were remembered by who asked last."""
        key = f"{self._prefix}missed"
        with self.redis.pipeline() as all_at_once:
            all_at_once.smembers(key)
            all_at_once.delete(key)
            if jobs:
                all_at_once.sadd(key, *jobs)
            before: set[str] = all_at_once.execute()[0]
        return jobs & before

    def without_message(self, queues: list[str]) -> set[str]:
        """The jobs that wait or were handed on, but have no message in these lists of Celery's.

        A worker took theirs (and will claim them at once), or took it and died.
        """
        with self.redis.pipeline(transaction=False) as all_at_once:
            for name in (self._waiting, self._handed):
                all_at_once.zrange(name, 0, -1)
            for name in queues:
                all_at_once.llen(name)
            waiting, handed, *lengths = all_at_once.execute()
        expected = {*waiting, *handed}
        if sum(lengths) >= len(expected):
            return set()
        messages = "".join(text for name in queues for text in self.redis.lrange(name, 0, -1))
        return {job for job in expected if job not in messages}  # their arguments are in the messages' heads, too

    def _job(self, job: str) -> str:
        return f"{self._prefix}job:{job}"
