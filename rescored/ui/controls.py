"""The settings of notation as the page's own panel draws them, generated from the settings tree."""

from __future__ import annotations

from typing import Any

from ..notation.instruments import INSTRUMENTS
from ..service.renotate import OF_NOTATION
from ..settings import Settings
from .tuning import label_of


def controls() -> list[dict[str, Any]]:
    """One object a setting that takes effect without a model: name, label, help, kind, of, lo, hi, unit, default."""
    return [
        {"name": name, "label": label_of(item), "kind": type(value).__name__, "default": value,
         **{key: item.metadata[key] for key in ("help", "of", "lo", "hi", "unit")},
         **({"instruments": [i.name for i in INSTRUMENTS]} if name == "score.instruments" else {})}
        for name, value, item in Settings().leaves() if name.split(".")[0] in OF_NOTATION
    ]
