"""The only way in for the page and the API: submit, watch, cancel, result.

A job outlives the page that asked for it and the process that runs it. Its order and last snapshot
are rows of an SQLite file, what it made lies in a folder of its own, and every stage's result is in
the store, so a job that a restart cut short goes on at its last finished stage. Jobs run in worker
threads, as many as there are slots for heavy work, and their owners take turns; who holds a job's id,
which cannot be guessed, may watch and fetch it.
"""

from __future__ import annotations

import fcntl
import logging
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import Cancelled, InputError, RescoredError
from ..hearing.links import is_link
from .fair import FairQueue
from .history import History, Order, Snapshot
from .limits import UNLIMITED, Ask, Limits
from .sounds import Sounds

log = logging.getLogger(__name__)


class Desk:
    """What the work of one job is done at: its order and folder, and how it says how it stands."""

    def __init__(self, jobs: Jobs, order: Order, folder: Path):
        self.order, self.folder, self.history = order, folder, jobs.history
        self.cancelled = threading.Event()
        self._jobs = jobs

    def tell(self, **changes: Any) -> None:
        """Change the job's snapshot; raises Cancelled when the job is not wanted any more."""
        if self.cancelled.is_set():
            raise Cancelled
        self._jobs._change(self.order.job, **changes)

    def made(self, thing: str) -> None:
        """Say that a thing can be fetched, or fetched again."""
        made = dict(self._jobs.snapshot(self.order.job).made)
        self.tell(made={**made, thing: made.get(thing, 0) + 1})


Work = Callable[[Desk], None]


class Jobs:
    """Jobs of one machine, in `folder`; `work` does one, `slots` of them at once."""

    def __init__(self, folder: Path, work: Work, *, slots: int = 1, keep_days: float = 30.0,
                 limits: Limits | None = None):
        self.folder = folder
        self.limits = limits or Limits(UNLIMITED)
        self.history = History(folder / "history.sqlite")
        self.keep_days = keep_days
        self._sounds = Sounds(folder / "sounds")
        self._work, self._slots = work, slots
        self._live: dict[str, Snapshot] = {}  # of the jobs that wait or run here
        self._desks: dict[str, Desk] = {}
        self._waiting = FairQueue()
        self._workers: list[threading.Thread] = []
        self._changed = threading.Condition(threading.RLock())
        if self._first_here():
            for job in self.history.unfinished():
                self._enqueue(job)

    # ------------------------------------------------------------ the four calls

    def submit(self, source: Path | str, settings: Mapping[str, Any], *, title: str = "", owner: str = "",
               address: str = "", ask: Ask = "new") -> str:
        """Ask for a transcription of a file, which is copied, or of a link; returns the job's id.

        `address`: of the network that the owner asks from. Raises LimitReached where that is too much (limits.py).
        """
        upload_bytes = source.stat().st_size if isinstance(source, Path) and ask == "new" else 0
        with self.limits.entry(ask, owner, address, upload_bytes=upload_bytes, waiting=lambda: len(self._waiting),
                               unfinished=lambda: self.history.unfinished_of(owner)):
            return self._submit(source, self.limits.bounded(settings), title, owner)

    def _submit(self, source: Path | str, settings: Mapping[str, Any], title: str, owner: str) -> str:
        job = secrets.token_urlsafe(18)
        folder = self.job_folder(job)
        folder.mkdir(parents=True)
        if isinstance(source, Path):
            suffix = re.sub(r"[^a-z0-9]", "", source.suffix.lower())[:5]
            name = f"source.{suffix}" if suffix else "source"  # the user's own name never reaches the disk
            shutil.copyfile(source, folder / name)
        else:
            name = source
        order = Order(job, owner, title, name, settings, time.time())
        self.history.add(order, Snapshot(job, title))
        self._enqueue(job)
        self._sweep()
        return job

    def again(self, job: str, settings: Mapping[str, Any], *, owner: str = "", address: str = "") -> str:
        """Ask for the same recording with other settings; only what they touch is done anew."""
        order = self.order(job)
        source = order.source if is_link(order.source) else self.job_folder(job) / order.source
        if isinstance(source, Path) and not source.is_file():
            raise InputError("The recording is not here any more.", "Upload it again.")
        ask: Ask = "again" if _of_hearing(order.settings) == _of_hearing(settings) else "new"
        return self.submit(source, settings, title=order.title, owner=owner, address=address, ask=ask)

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
                self._change(job, state="cancelled", place=0)
                self._live.pop(job, None)
                self._renumber()
            elif job in self._desks:
                self._desks[job].cancelled.set()

    def result(self, job: str) -> Path:
        """Waits for the job's end and gives the folder of what it made; raises what made it fail."""
        *_, last = self.watch(job)
        if last.state == "failed":
            raise RescoredError(last.problem, last.remedy)
        if last.state == "cancelled":
            raise Cancelled
        return self.job_folder(job)

    # ------------------------------------------------------------ looking things up

    def snapshot(self, job: str) -> Snapshot:
        """How the job stands; raises InputError if there is none."""
        snapshot = self._live.get(job) or self.history.snapshot(job)
        if snapshot is None:
            raise _unknown()
        return snapshot

    def order(self, job: str) -> Order:
        """What was asked for; raises InputError if there is no such job."""
        order = self.history.order(job)
        if order is None:
            raise _unknown()
        return order

    def job_folder(self, job: str) -> Path:
        """Where a job's source and everything it makes lie."""
        if not re.fullmatch(r"[\w-]{24}", job):
            raise _unknown()
        return self.folder / job

    def delete(self, job: str) -> None:
        """Remove a job and all that lies in its folder, at once; a running one is stopped."""
        folder = self.job_folder(job)
        self.cancel(job)
        self.history.forget(job)
        with self._changed:
            running = job in self._desks  # its worker clears the folder when it stops
            if not running:
                self._live.pop(job, None)
        if not running:
            self._clear(folder)

    # ------------------------------------------------------------ inside

    def _first_here(self) -> bool:
        """Whether no other process serves this folder: if one does, unfinished jobs are its own."""
        self._lock_file = (self.folder / "lock").open("w")
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
            self._waiting.append(job, order.owner if order else "")
            self._change(job, state="queued")
            self._renumber()
            if len(self._workers) < self._slots:
                worker = threading.Thread(target=self._serve, name=f"rescored-{len(self._workers)}", daemon=True)
                self._workers.append(worker)
                worker.start()

    def _serve(self) -> None:
        """A worker: takes the next job, for ever."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting))
                job = self._waiting.pop()
                order = self.history.order(job)
                if order is None:
                    self._live.pop(job, None)
                    continue
                desk = self._desks[job] = Desk(self, order, self.job_folder(job))
                self._change(job, state="running", place=0)
                self._renumber()
            ending = self._do(desk)
            with self._changed:
                self._change(job, **ending)
                del self._desks[job]
                del self._live[job]
                if self.history.order(job) is None:  # it was deleted meanwhile
                    self._clear(desk.folder)

    def _do(self, desk: Desk) -> dict[str, Any]:
        try:
            self._work(desk)
        except Cancelled:
            return {"state": "cancelled"}
        except RescoredError as error:
            return {"state": "failed", "problem": error.problem, "remedy": error.remedy}
        except Exception:  # a bug: the log has it, the user hears that it is not their fault
            log.exception("job failed in stage %s", self.snapshot(desk.order.job).stage)
            return {"state": "failed", "problem": "rescored made a mistake and had to stop.",
                    "remedy": "What was finished is kept; other settings may get further."}
        return {"state": "done", "fraction": 1.0, "left_s": 0.0, "text": ""}

    def _clear(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self._sounds.drop_unheld()

    def _change(self, job: str, **changes: Any) -> None:
        with self._changed:
            before = self._live[job]
            after = self._live[job] = replace(before, number=before.number + 1, **changes)
            if (before.state, before.made, before.title) != (after.state, after.made, after.title):
                self.history.update(after)
            self._changed.notify_all()

    def _renumber(self) -> None:
        for place, job in enumerate(self._waiting, 1):
            if self._live[job].place != place:
                self._change(job, place=place)

    def _sweep(self) -> None:
        for job in self.history.older_than(self.keep_days * 86400):
            self.delete(job)


def _of_hearing(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings on which the costly stages depend."""
    return {name: value for name, value in settings.items()
            if name.split(".")[0] in ("audio", "separate", "notes", "pulse")}


def _unknown() -> InputError:
    return InputError("There is no such transcription.", "It may have been deleted; upload the recording again.")
