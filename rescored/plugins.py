"""Transcribers and separators of one's own: a Python file each, named in `RESCORED_PLUGINS` (docs/adding.md).

The name is part of the results' identity in the store: give another one to what gives other results.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from .errors import SettingsError
from .music import Audio, Heard
from .settings import NoteSettings, SeparateSettings, offer
from .stage import Report

Transcriber = Callable[[Audio, NoteSettings, Report], Heard]
SeparatorFunction = Callable[[Audio, SeparateSettings, Report], Mapping[str, Audio]]

transcribers: dict[str, Transcriber] = {}
separators: dict[str, SeparatorFunction] = {}


def transcriber(name: str) -> Callable[[Transcriber], Transcriber]:
    """Offer a function as a value of `notes.transcriber`: one stem's sound to its notes, ids left empty."""

    def register(function: Transcriber) -> Transcriber:
        offer(NoteSettings, "transcriber", name)
        transcribers[name] = function
        return function

    return register


def separator(name: str) -> Callable[[SeparatorFunction], SeparatorFunction]:
    """Offer a function as a value of `separate.model`: a sound to stems of its length, rate and channels.

    Stems that become parts are called vocals, guitar, piano, other, bass and drums.
    """

    def register(function: SeparatorFunction) -> SeparatorFunction:
        offer(SeparateSettings, "model", name)
        separators[name] = function
        return function

    return register


def load() -> None:
    """Run the files that `RESCORED_PLUGINS` names (separated as in PATH), each once; raises SettingsError."""
    for place in filter(None, os.environ.get("RESCORED_PLUGINS", "").split(os.pathsep)):
        path = Path(place).expanduser().resolve()
        name = f"rescored_plugin_{path.stem}"
        if name in sys.modules:
            continue
        spec = importlib.util.spec_from_file_location(name, path) if path.is_file() else None
        if spec is None or spec.loader is None:
            raise SettingsError(f"RESCORED_PLUGINS names {path.name}, which is no Python file.", "Correct or unset it.")
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
