"""Facts of the machine that the environment gives as numbers."""

from __future__ import annotations

import math
import os

from .errors import SettingsError


def number(name: str, default: float, *, least: float = 0) -> float:
    """The value of an environment variable, or `default` where it is unset or empty; raises SettingsError."""
    given = os.environ.get(name) or default
    try:
        value = float(given)
    except ValueError:
        value = math.nan
    if not least <= value < math.inf:
        raise SettingsError(f"{name} is {given!r}, which is no number from {least:g} on.", "Correct or unset it.")
    return value
