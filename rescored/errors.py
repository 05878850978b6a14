"""What users can get wrong, said in their words. Anything else is a bug and keeps its traceback."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

_FULL = (errno.ENOSPC, errno.EDQUOT)
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)


class RescoredError(Exception):
    """Base of all errors that a user can act on: what happened, then what to do about it."""

    def __init__(self, problem: str, remedy: str):
        super().__init__(problem, remedy)  # both in args, so it pickles and re-raises intact

    @property
    def problem(self) -> str:
        """What happened, one sentence."""
        return str(self.args[0])

    @property
    def remedy(self) -> str:
        """What the user can do, one sentence."""
        return str(self.args[1])

    def __str__(self) -> str:
        return f"{self.problem} {self.remedy}"


class InputError(RescoredError):
    """The recording, MIDI file or saved transcription cannot be used as it is."""


class LinkError(RescoredError):
    """A link that cannot be fetched: private, removed, blocked, not allowed, no network ..."""


class SettingsError(RescoredError):
    """A setting that does not exist, or a value that it cannot take."""


class ModelUnavailable(RescoredError):
    """A model's weights are neither here nor to be had; the pipeline can mostly go on without."""


class LimitReached(RescoredError):
    """More was asked for than this server gives one user, or has room for; `retry_s`: when to ask again, if ever."""

    def __init__(self, problem: str, remedy: str, retry_s: float | None = None):
        super().__init__(problem, remedy)
        self.args = (problem, remedy, retry_s)

    @property
    def retry_s(self) -> float | None:
        """Seconds after which the same request may be granted; None = it never will."""
        return self.args[2]  # type: ignore[no-any-return]


@contextmanager
def on_disk(what: str, elsewhere: str) -> Iterator[None]:
    """A disk that is full, or a folder where nothing may be written, is said to be so.

    `what` was to be written; `elsewhere` says how to have it written in another place. Other errors go through.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            problem = f"There is no room on the disk for {what} ({error.strerror})."
            raise RescoredError(problem, f"Free some space, or {elsewhere}.") from error
        if error.errno in _CLOSED:
            problem = f"The folder for {what} cannot be used ({error.strerror})."
            raise RescoredError(problem, f"{elsewhere[0].upper()}{elsewhere[1:]}.") from error
        raise


class Cancelled(Exception):
    """Raised inside a stage when its job was cancelled; nothing is stored, nothing is wrong."""
