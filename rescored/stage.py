"""Stages, and the only place where they are run.

A stage is a pure function `(inputs, *, settings, report) -> output` with a version: no files, no
globals, no printing. `Runner` runs a stage once for the same content and the settings that this
stage reads, keeps what it made in a `Store`, and tells a listener how it goes. Four properties
follow: turning one knob re-runs only what depends on it, a killed job resumes at its last finished
stage, the same recording costs nothing the second time, and any worker can continue another's work.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar, cast, get_type_hints

from . import codec
from .store import Store

T = TypeVar("T")
Report = Callable[[float, str], None]  # (fraction 0..1, what is being done); may raise Cancelled


@dataclass(frozen=True)
class Event:
    """How a job goes: a stage began, got on, or is done (with its result, fresh or from the store)."""

    stage: str
    state: Literal["running", "done"]
    fraction: float = 0.0
    text: str = ""
    result: Any = None
    cached: bool = False
    seconds: float = 0.0


Listener = Callable[[Event], None]


def silent(fraction: float, text: str = "") -> None:
    """A report that goes nowhere."""


def unheard(event: Event) -> None:
    """A listener that ignores everything."""


class Stage(Protocol):
    """A function made a stage by `@stage`; its result is never None."""

    __name__: str
    version: int
    kept: bool


class Keeping(Protocol):
    """Keeps results by key, as `Store` does."""

    def get(self, key: str, kind: Any) -> Any | None:
        """The value, or None."""

    def put(self, key: str, value: Any, kind: Any) -> Any:
        """Keep a value; returns it as it will be read back."""


F = TypeVar("F", bound=Callable[..., Any])


def stage(*, version: int, kept: bool = True) -> Callable[[F], F]:
    """Mark a function as a stage; raise `version` whenever its result changes for the same input.

    `kept=False`: its result depends on this machine at this moment, and is never stored.
    """

    def mark(function: F) -> F:
        function.version = version  # type: ignore[attr-defined]
        function.kept = kept  # type: ignore[attr-defined]
        return function

    return mark


class Runner:
    """Runs stages through a store; made anew for every job.

    `store`: where results are kept, or None to keep nothing. `listen`: gets every `Event` and may
    raise `Cancelled`. `passing`: where the results of stages that are not kept are remembered, for this
    job alone, so that all machines that work at it go by the same ones. `before` is told which stage is about
    to be made, as nothing is kept of it, and may stop the run by raising.
    """

    def __init__(self, store: Store | None = None, listen: Listener = unheard, *,
                 passing: Keeping | None = None, before: Callable[[str], None] = lambda stage: None):
        self.store, self.passing = store, passing
        self.listen, self.before = listen, before
        self.seconds: dict[str, float] = {}

    def __call__(self, function: Callable[..., T], *inputs: Any, settings: Any = None, label: str = "") -> T:
        """The stage's result for these inputs, from the store where it is there.

        `label` names the event where one stage runs several times (once a stem).
        """
        name = f"{function.__name__}:{label}" if label else function.__name__
        began = time.perf_counter()
        self.listen(Event(name, "running"))
        key = codec.key(function.__name__, cast(Stage, function).version, inputs, settings)
        kind = get_type_hints(function)["return"]
        store: Keeping | None = self.store if cast(Stage, function).kept else self.passing
        result = store.get(key, kind) if store else None
        cached = result is not None
        if result is None:
            self.before(function.__name__)

            def report(fraction: float, text: str = "") -> None:
                self.listen(Event(name, "running", min(max(fraction, 0.0), 1.0), text))

            extra = {} if settings is None else {"settings": settings}
            result = function(*inputs, **extra, report=report)
            if store:
                result = store.put(key, result, kind)
        seconds = time.perf_counter() - began
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self.listen(Event(name, "done", 1.0, result=result, cached=cached, seconds=seconds))
        return cast(T, result)
