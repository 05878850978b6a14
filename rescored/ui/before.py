"""What is said of a chosen recording before it is transcribed; its view is `static/before.js`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import RescoredError
from ..hearing.audio import clock
from ..service.glance import first_glance, pace, second_glance
from ..service.jobs import BaseJobs
from ..settings import Settings

Value = dict[str, Any]
NOTHING: Value = {}


def look_at(jobs: BaseJobs, file: str | None, settings: Settings) -> Iterator[Value]:
    """The view's values for a file: what it says of itself at once, then how it sounds; `NOTHING` without one, and
    for a saved song, which is opened at once.

    A file that cannot be used gives a value with a `problem`.
    """
    if not file or file.lower().endswith(".json"):
        yield NOTHING
        return
    path = Path(file)
    try:
        glance = first_glance(path)
        value = {**asdict(glance), "file": f"{path.parent.name}/{path.name}", **expect(jobs, glance.kind, settings)}
        yield value
        if glance.kind == "audio":
            yield {**value, **asdict(second_glance(path))}
    except RescoredError as error:
        yield {"problem": str(error)}


def expect(jobs: BaseJobs, kind: str, settings: Settings) -> Value:
    """How long a minute of sound takes with these settings, who waits, and what may be transcribed at most."""
    return {"pace": pace(settings, kind, jobs.history), "waiting": jobs.waiting(),
            "longest_s": settings.audio.max_minutes * 60}


def passage_of(value: Mapping[str, Any] | None) -> Value:
    """The settings that the passage in a view's value changes."""
    start_s, end_s = (value or {}).get("passage") or (0.0, 0.0)
    return {"audio.start_s": start_s, "audio.end_s": end_s} if value and value.get("kind") else {}


def quick_title(title: str, start_s: float, end_s: float) -> str:
    """What the result of a quick look is called."""
    return f"Quick look: {title}, {clock(start_s)} to {clock(end_s)}"
