"""rescored turns a recording into sheet music that a musician can put on the stand and play.

`rescored.transcribe("song.mp3", rescored.Settings.preset("solo-piano"))` is the whole way; the
stages in `rescored.pipeline` are the steps. Importing this package loads no model and no framework.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from .errors import Cancelled, InputError, LinkError, ModelUnavailable, RescoredError, SettingsError
from .settings import PRESETS, READABILITY, Settings

# Threads of torch that spin while they wait take the cores from whatever works beside them (measured:
# twice the time); OpenMP reads this when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from .music import Performance, Recording, Score, Transcription
    from .output.files import save
    from .pipeline import hear, notate, transcribe
    from .store import Store

__version__ = version("rescored")
__all__ = [
    "PRESETS", "READABILITY", "Cancelled", "InputError", "LinkError", "ModelUnavailable", "Performance", "Recording",
    "RescoredError", "Score", "Settings", "SettingsError", "Store", "Transcription", "hear", "notate",
    "save", "transcribe",
]

_LAZY = {
    "Performance": "music", "Recording": "music", "Score": "music", "Transcription": "music",
    "hear": "pipeline", "notate": "pipeline", "transcribe": "pipeline",
    "Store": "store", "save": "output.files",
}


def __getattr__(name: str) -> Any:
    """Load on first use: the command line answers at once, and `import rescored` stays light."""
    if name not in _LAZY:
        raise AttributeError(f"module 'rescored' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_LAZY[name]}", __name__), name)
