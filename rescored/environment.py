"""Facts of the machine that the environment gives as numbers."""

from __future__ import annotations

import os

from .errors import SettingsError


def number(name: str, default: float) -> float:
    """The value of an environment variable, or `default` where it is unset or empty; raises SettingsError."""
    given = os.environ.get(name) or default
    try:
        return float(given)
    except ValueError as error:
        raise SettingsError(f"{name} is {given!r}, which is no number.", "Correct or unset it.") from error
