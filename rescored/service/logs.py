"""What a server says of itself: one JSON object a line, on standard error; on a terminal, for a person to read.

Lines that belong to a job carry its id, a hash of its owner, and the stage. A title, a link, a file name of
a user's or a secret never gets out: what a job is called is struck from every line that its work writes,
links and the values of secret variables from all. Of an error, its kind and where it happened are kept;
its words may quote the input, and are not. `RESCORED_LOG`: json or plain.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sys
import traceback
from collections.abc import MutableMapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import structlog

_LINK = re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s\"'<>]+", re.IGNORECASE)
_SECRET_NAME = re.compile(r"KEY(?!_ID)|SECRET|TOKEN|PASSWORD|DSN|COOKIES|(BROKER|DATABASE)_URL")
_SHORTEST = 3  # shorter titles would strike syllables from every word

_private: ContextVar[tuple[str, ...]] = ContextVar("private", default=())

Line = MutableMapping[str, Any]


def begin(*private: str, **bound: str) -> None:
    """What is logged in this thread from now on belongs to these names; the `private` words are struck from it."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**bound)
    _private.set(())
    keep_private(*private)


def keep_private(*words: str) -> None:
    """Strike these words, too, from what is logged in this thread."""
    _private.set((*_private.get(), *(word for word in words if len(word) >= _SHORTEST)))


def struck(text: str) -> str:
    """The text without links, secrets and what belongs to the present job's user."""
    for word in sorted({*_private.get(), *_secrets()}, key=len, reverse=True):
        text = text.replace(word, "…")
    return _LINK.sub("…", text)


def hashed(name: str) -> str:
    """A user's name or address as counts and logs keep it: the same for the same, and not to be turned back."""
    return hashlib.sha256(f"rescored {name}".encode()).hexdigest()[:12] if name else ""


def _secrets() -> list[str]:
    return [value for name, value in os.environ.items() if len(value) >= 6 and _SECRET_NAME.search(name)]


def _where(_: Any, __: str, line: Line) -> Line:
    """An exception as its kind and its places in the code, with those that led to it."""
    found = line.pop("exc_info", None)
    error = sys.exc_info()[1] if found is True else found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        line["error"] = []
        while error is not None and len(line["error"]) < 8:
            places = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"
                      for frame in traceback.extract_tb(error.__traceback__)]
            line["error"].append({"kind": type(error).__name__, "at": places[-12:]})
            error = error.__cause__ or error.__context__
    return line


def _strike(_: Any, __: str, line: Line) -> Line:
    return {name: value if name.startswith("_") else _cleaned(value) for name, value in line.items()}


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return struck(value)
    if isinstance(value, dict):
        return {name: _cleaned(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(item) for item in value]
    return value if isinstance(value, int | float | None) else struck(str(value))


_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars, structlog.stdlib.add_logger_name, structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    structlog.stdlib.PositionalArgumentsFormatter(), _where, _strike]

structlog.configure(  # until `set_up`, all that is below a warning goes nowhere
    processors=[structlog.stdlib.filter_by_level, *_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
    logger_factory=structlog.stdlib.LoggerFactory(), wrapper_class=structlog.stdlib.BoundLogger)


def set_up() -> None:
    """Send all logging of this process through here, once, at its start."""
    as_json = os.environ.get("RESCORED_LOG", "plain" if sys.stderr.isatty() else "json") == "json"
    renderer: Any = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)  # what libraries say below that quotes addresses and paths
    logging.getLogger("rescored").setLevel(logging.INFO)
    logging.captureWarnings(True)
