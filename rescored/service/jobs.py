"""The only way in for the page and the API: submit, watch, cancel, result.

A job outlives the page that asked for it and the process that runs it. Its order and last snapshot
are rows of the history, its upload and what it made lie in the store, and so does every stage's result:
a job that a restart cut short goes on at its last finished stage. `Jobs` does them in worker threads of
this process, as many as there are slots for heavy work, and their owners take turns.
"""

from __future__ import annotations

import fcntl
import json
import logging
import math
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..bucket import Bucket, default_folder, kept_here
from ..errors import Cancelled, InputError, LinkError, RescoredError
from ..hearing.links import is_link
from ..music import Edit
from ..settings import OF_HEARING
from . import changes as kept
from .fair import FairQueue
from .history import ASKED, RETUNED, History, Order, Snapshot
from .limits import UNLIMITED, Ask, Limits
from .sounds import Sounds

log = logging.getLogger(__name__)

EXAMPLES_OWNER = "examples"  # jobs of the shipped examples are everybody's to see and nobody's to change


class Desk:
    """What the work of one job is done at: its order and folder, and how it says how it stands."""

    def __init__(self, jobs: BaseJobs, order: Order, *, limit_s: float = math.inf):
        self.order, self.history, self.sounds = order, jobs.history, jobs.sounds
        self._limit_s, self._began = limit_s, time.monotonic()
        self.folder = jobs.job_folder(order.job)
        with kept_here():
            self.folder.mkdir(parents=True, exist_ok=True)
        self.cancelled = threading.Event()
        self._jobs, self._bucket = jobs, jobs.bucket
        self._published: dict[Path, tuple[int, int]] = {}
        self.fraction = jobs.snapshot(order.job).fraction
        if not self._bucket.folder:
            for name in ("tracks.json", "sounds.json", "notes.json"):  # as far as the job got before
                with suppress(FileNotFoundError):
                    shutil.copyfile(jobs.file(order.job, name), self.folder / name)

    def source(self) -> Path:
        """The upload, as a file on this machine."""
        return self._bucket.local(f"uploads/{self.order.job}/{self.order.source}")

    def edits(self) -> tuple[Edit, ...] | None:
        """The corrections that the job inherited from another one of the same recording; None = it did not."""
        return kept.read(self._bucket, self.order.job).edits

    def tell(self, **changes: Any) -> None:
        """Change the job's snapshot; raises Cancelled when it is not wanted any more, InputError after `limit_s`."""
        if self.cancelled.is_set():
            raise Cancelled
        if time.monotonic() - self._began > self._limit_s:
            raise InputError(*too_long(self._limit_s))
        self._jobs.change(self.order.job, **changes)

    def made(self, thing: str) -> None:
        """Say that a thing can be fetched, or fetched again."""
        self.publish()
        made = dict(self._jobs.snapshot(self.order.job).made)
        self.tell(made={**made, thing: made.get(thing, 0) + 1})

    def publish(self) -> None:
        """Bring what is new in the folder into the store, where they are not the same place."""
        if self._bucket.folder:
            return
        for path in self.folder.rglob("*"):
            if path.is_file() and path.suffix != ".part":
                version = (path.stat().st_mtime_ns, path.stat().st_size)
                if self._published.get(path) != version:
                    name = path.relative_to(self.folder).as_posix()
                    self._bucket.put(f"results/{self.order.job}/{name}", path)
                    self._published[path] = version

    def leave(self) -> None:
        """The work is over here."""
        if not self._bucket.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


Work = Callable[[Desk], None]


class BaseJobs(ABC):
    """Jobs whose files lie in `bucket` and whose rows in `history`; how they get done is left open."""

    def __init__(self, bucket: Bucket | Path, history: History | None = None, *, keep_days: float = 30.0,
                 limits: Limits | None = None):
        self.bucket = bucket if isinstance(bucket, Bucket) else Bucket(bucket)
        self.home = self.bucket.folder or default_folder()  # what this machine keeps for itself
        with kept_here():
            self.home.mkdir(parents=True, exist_ok=True)
        self.history = history or History.of_environment(self.home)
        self.limits = limits or Limits(UNLIMITED)
        self.sounds = Sounds(self.bucket, self.history)
        self.keep_days = keep_days

    @abstractmethod
    def change(self, job: str, **changes: Any) -> None:
        """Make a new snapshot of an unfinished job."""

    @abstractmethod
    def cancel(self, job: str) -> None:
        """Stop a job that waits or runs; what it has made stays. A finished job is left as it is."""

    @abstractmethod
    def watch(self, job: str) -> Iterator[Snapshot]:
        """How the job stands now and after every change, to its end; slow watchers skip some."""

    @abstractmethod
    def waiting(self) -> int:
        """How many jobs wait."""

    def demand(self) -> dict[str, int]:
        """By queue: how many unfinished jobs wait for workers of it, or are with one; nothing without queues."""
        return {}

    @abstractmethod
    def _live_snapshot(self, job: str) -> Snapshot | None:
        """How an unfinished job stands; None if that is not known here."""

    @abstractmethod
    def _enqueue(self, job: str) -> None:
        """Have a job done that is in the history."""

    @abstractmethod
    def _forget_running(self, job: str) -> bool:
        """Forget a deleted job; whether somebody still works at it, who will clear its files."""

    # ------------------------------------------------------------ the four calls

    def submit(self, source: Path | str, settings: Mapping[str, Any], *, title: str = "", owner: str = "",
               address: str = "", ask: Ask = "new", priority: int = ASKED) -> str:
        """Ask for a transcription of a file, which is copied, or of a link; returns the job's id.

        `address`: of the network that the owner asks from. Raises LimitReached where that is too much (limits.py),
        and LinkError for what is no link.
        """
        if isinstance(source, str) and not is_link(source):  # else it would name a file of this machine
            raise LinkError("This is no link.", "Copy it from the browser's address bar, or give the file itself.")
        upload_bytes = source.stat().st_size if isinstance(source, Path) and ask == "new" else 0
        with self._entry(ask, owner, address, upload_bytes):
            job = secrets.token_urlsafe(18)
            name = source
            if isinstance(source, Path):
                suffix = re.sub(r"[^a-z0-9]", "", source.suffix.lower())[:5]
                name = f"source.{suffix}" if suffix else "source"  # the user's own name never reaches the disk
                self.bucket.put(f"uploads/{job}/{name}", source)
            return self._ask(Order(job, owner, title, str(name), settings, time.time(), priority))

    def again(self, job: str, settings: Mapping[str, Any], *, owner: str = "", address: str = "") -> str:
        """Ask for the same recording with other settings; only what they touch is done anew."""
        order = self.order(job)
        heard = _of_hearing(order.settings) == _of_hearing(settings)
        with self._entry("again" if heard else "new", owner, address):
            new = secrets.token_urlsafe(18)
            if not is_link(order.source):
                try:
                    self.bucket.copy(f"uploads/{job}/{order.source}", f"uploads/{new}/{order.source}")
                except FileNotFoundError as error:
                    raise InputError("The recording is not here any more.", "Upload it again.") from error
            kept.carry(self.bucket, job, new)
            self._inherit(job, new)
            return self._ask(Order(new, owner, order.title, order.source, settings, time.time(),
                                   RETUNED if heard else ASKED))

    def _inherit(self, job: str, new: str) -> None:
        """Give a job what a former one found out about the machines that do them."""
        for name in self.bucket.names(f"results/{job}/passing/sure"):
            self.bucket.copy(name, f"results/{new}/{name.removeprefix(f'results/{job}/')}")

    def _entry(self, ask: Ask, owner: str, address: str, upload_bytes: int = 0) -> AbstractContextManager[None]:
        return self.limits.entry(ask, owner, address, upload_bytes=upload_bytes, waiting=self.waiting,
                                 unfinished=lambda: sum(self.history.standing(owner).values()) if owner else 0)

    def _ask(self, order: Order) -> str:
        order = replace(order, settings=self.limits.bounded(order.settings))
        self._sweep()
        self.history.add(order, Snapshot(order.job, order.title))
        try:
            self._enqueue(order.job)
        except RescoredError:  # who asked is told to ask again
            self.history.forget(order.job)
            self.clear(order.job)
            raise
        return order.job

    def result(self, job: str) -> Path:
        """Waits for the job's end and gives the folder of what it made; raises what made it fail."""
        *_, last = self.watch(job)
        if last.state == "failed":
            raise RescoredError(last.problem, last.remedy)
        if last.state == "cancelled":
            raise Cancelled
        return self._gathered(job)

    # ------------------------------------------------------------ looking things up

    def snapshot(self, job: str) -> Snapshot:
        """How the job stands; raises InputError if there is none."""
        snapshot = self._live_snapshot(job) or self.history.snapshot(job)
        if snapshot is None:
            raise _unknown()
        return snapshot

    def order(self, job: str) -> Order:
        """What was asked for; raises InputError if there is no such job."""
        order = self.history.order(job)
        if order is None:
            raise _unknown()
        return order

    def seen_by(self, owner: str, job: str) -> Order:
        """What was asked for, if this owner may see it; else InputError, as if there were no such job."""
        order = self.order(job)
        if order.owner not in ("", EXAMPLES_OWNER, owner):
            raise _unknown()
        return order

    def owned_by(self, owner: str, job: str) -> Order:
        """The same, if it is this owner's to change, stop and delete."""
        order = self.seen_by(owner, job)
        if order.owner != owner:
            raise InputError("This is not your transcription.", "Open one of your own.")
        return order

    def file(self, job: str, name: str) -> Path:
        """A file that a job made or a sound that it needs, on this machine, to be read only; FileNotFoundError."""
        if name.endswith((".ogg", ".zip")):
            held = json.loads(self.file(job, "sounds.json").read_bytes())
            if name not in held:
                raise FileNotFoundError(name)
            return self.bucket.local(held[name])
        return self.bucket.local(f"results/{_checked(job)}/{name}")

    def add_file(self, job: str, name: str, content: bytes) -> None:
        """Put a file beside those that a job made."""
        self.bucket.write(f"results/{_checked(job)}/{name}", content)

    def job_folder(self, job: str) -> Path:
        """Where what a job makes is written: its place in the store, or, for a bucket, a folder until it is there."""
        if self.bucket.folder:
            return self.bucket.folder / "results" / _checked(job)
        return Path(tempfile.gettempdir()) / f"rescored-work-{os.getuid()}" / _checked(job)

    def delete(self, job: str) -> None:
        """Remove a job and all its files, at once; a running one is stopped."""
        _checked(job)
        self.cancel(job)
        self.history.forget(job)
        if not self._forget_running(job):
            self.clear(job)

    def clear(self, job: str) -> None:
        """Remove a job's files."""
        for room in ("results", "uploads"):
            self.bucket.remove_all(f"{room}/{job}")
        self.sounds.release(job)

    # ------------------------------------------------------------ inside

    def _gathered(self, job: str) -> Path:
        """The folder of what a job made, complete on this machine."""
        folder = self.job_folder(job)
        if not self.bucket.folder:
            for name in self.bucket.names(f"results/{job}"):
                (to := folder / name.removeprefix(f"results/{job}/")).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.bucket.local(name), to)
        return folder

    def _sweep(self) -> None:
        for job in self.history.older_than(self.keep_days * 86400):
            self.delete(job)


class Jobs(BaseJobs):
    """Jobs that this process does itself: `work` does one, `slots` of them at once."""

    def __init__(self, bucket: Bucket | Path, work: Work, *, slots: int = 1, keep_days: float = 30.0,
                 limits: Limits | None = None):
        super().__init__(bucket, keep_days=keep_days, limits=limits)
        self._work, self._slots = work, slots
        self._live: dict[str, Snapshot] = {}  # of the jobs that wait or run here
        self._desks: dict[str, Desk] = {}
        self._waiting = FairQueue()
        self._workers: list[threading.Thread] = []
        self._changed = threading.Condition(threading.RLock())
        if self._first_here():
            for job in self.history.unfinished():
                self._enqueue(job)

    def watch(self, job: str) -> Iterator[Snapshot]:
        """How the job stands now and after every change, to its end; slow watchers skip some."""
        snapshot = self.snapshot(job)
        yield snapshot
        while not snapshot.over:
            with self._changed:
                if self.snapshot(job).number == snapshot.number:
                    self._changed.wait(1.0)
                    continue
                snapshot = self.snapshot(job)
            yield snapshot

    def cancel(self, job: str) -> None:
        """Stop a job that waits or runs; what it has made stays. A finished job is left as it is."""
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
                self.change(job, state="cancelled", place=0)
                self._live.pop(job, None)
                self._renumber()
            elif job in self._desks:
                self._desks[job].cancelled.set()

    def waiting(self) -> int:
        """As there."""
        return len(self._waiting)

    def _first_here(self) -> bool:
        """Whether no other process serves this folder: if one does, unfinished jobs are its own."""
        with kept_here():
            self._lock_file = (self.home / "lock").open("w")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _enqueue(self, job: str) -> None:
        with self._changed:
            snapshot = self.history.snapshot(job)
            if snapshot is None:
                return
            self._live[job] = snapshot
            order = self.history.order(job)
            try:
                self.change(job, state="queued")
            except RescoredError:
                del self._live[job]
                raise
            self._waiting.append(job, order.owner if order else "")
            self._renumber()
            if len(self._workers) < self._slots:
                worker = threading.Thread(target=self._serve, name=f"rescored-{len(self._workers)}", daemon=True)
                self._workers.append(worker)
                worker.start()

    def _serve(self) -> None:
        """A worker: takes the next job, for ever, whatever becomes of any."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting))
                job = self._waiting.pop()
                try:
                    desk = self._begin(job)
                except Exception as error:
                    self._end(job, self._failure(job, error))
                    continue
            if desk is None:
                continue
            ending = self._do(desk)
            desk.leave()
            with self._changed:
                self._end(job, ending)

    def _begin(self, job: str) -> Desk | None:
        """The desk for a job that waits no more; None if it was deleted meanwhile."""
        order = self.history.order(job)
        if order is None:
            self._live.pop(job, None)
            return None
        desk = self._desks[job] = Desk(self, order)
        self.change(job, state="running", place=0)
        self._renumber()
        return desk

    def _do(self, desk: Desk) -> dict[str, Any]:
        try:
            self._work(desk)
            desk.publish()
        except Cancelled:
            return {"state": "cancelled"}
        except Exception as error:
            return self._failure(desk.order.job, error)
        return {"state": "done", "fraction": 1.0, "left_s": 0.0, "text": ""}

    def _failure(self, job: str, error: Exception) -> dict[str, Any]:
        """What its user hears of a job that failed; of a bug the log has all, they that it is not their fault."""
        if isinstance(error, RescoredError):
            return {"state": "failed", "problem": error.problem, "remedy": error.remedy}
        log.error("job failed in stage %s", self.snapshot(job).stage, exc_info=error)
        return {"state": "failed", "problem": "rescored made a mistake and had to stop.",
                "remedy": "What was finished is kept; other settings may get further."}

    def _end(self, job: str, ending: dict[str, Any]) -> None:
        self._desks.pop(job, None)
        try:
            self.change(job, **ending)
        except RescoredError as error:  # the history cannot be written: the end stays here for those who watch
            log.error("%s", error)
            return
        del self._live[job]
        if self.history.order(job) is None:  # it was deleted meanwhile
            self.clear(job)

    def change(self, job: str, **changes: Any) -> None:
        with self._changed:
            before = self._live[job]
            after = self._live[job] = replace(before, number=before.number + 1, **changes)
            if (before.state, before.made, before.title) != (after.state, after.made, after.title):
                self.history.update(after)
            self._changed.notify_all()

    def _renumber(self) -> None:
        for place, job in enumerate(self._waiting, 1):
            if self._live[job].place != place:
                self.change(job, place=place)

    def _live_snapshot(self, job: str) -> Snapshot | None:
        return self._live.get(job)

    def _forget_running(self, job: str) -> bool:
        with self._changed:
            running = job in self._desks  # its worker clears the files when it stops
            if not running:
                self._live.pop(job, None)
            return running


def _checked(job: str) -> str:
    """The id, if it can be one: it becomes part of paths."""
    if not re.fullmatch(r"[\w-]{24}", job, re.ASCII):
        raise _unknown()
    return job


def _of_hearing(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings on which the costly stages depend."""
    return {name: value for name, value in settings.items()
            if name.split(".")[0] in OF_HEARING}


def too_long(limit_s: float) -> tuple[str, str]:
    """Problem and remedy of a job that took longer than this."""
    return f"This took longer than {limit_s / 3600:g} hours.", "Choose a shorter passage."


def _unknown() -> InputError:
    return InputError("There is no such transcription.", "It may have been deleted; upload the recording again.")
