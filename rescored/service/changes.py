"""What a user changed about a finished transcription: corrections, and settings of notation.

`changes.json` beside what the job made: {"revision", "edits", "settings"}; the revision counts up. The song as the
job made it is kept as `heard.json`; `song.*` and the score's pages are then made from the two (renotate.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..bucket import Bucket
from ..music import Edit
from ..output.contract import edits_from_json, edits_to_json
from ..settings import Value
from .history import Order

NAME = "changes.json"


@dataclass(frozen=True)
class Changes:
    """`edits` are all there are, those that the transcription began with included; `settings` by `section.name`."""

    revision: int = 0
    edits: tuple[Edit, ...] | None = None  # None = nothing was changed yet
    settings: Mapping[str, Value] = field(default_factory=dict)


def read(bucket: Bucket, job: str) -> Changes:
    """What was changed about a job's result."""
    try:
        data = json.loads(bucket.read(f"results/{job}/{NAME}"))
    except FileNotFoundError:
        return Changes()
    return Changes(data["revision"], edits_from_json(data["edits"]), data["settings"])


def in_force(bucket: Bucket, order: Order) -> dict[str, Value]:
    """The settings that a job's score is written with now."""
    return {**order.settings, **read(bucket, order.job).settings}


def write(bucket: Bucket, job: str, changes: Changes) -> None:
    """Keep what was changed."""
    data = {"revision": changes.revision, "edits": edits_to_json(changes.edits or ()),
            "settings": dict(changes.settings)}
    bucket.write(f"results/{job}/{NAME}", json.dumps(data).encode())


def carry(bucket: Bucket, job: str, new: str) -> None:
    """Give a job the corrections of another one of the same recording; its settings are its own."""
    edits = read(bucket, job).edits
    if edits:
        write(bucket, new, Changes(0, edits))
