"""What the layout promises: imports point downward, and opening the package loads no framework."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rescored

ROOT = Path(rescored.__file__).parent
LEVEL = {  # a module may import what has a lower number; rooms of one number never import each other
    "errors": 0, "room": 1, "environment": 1, "settings": 1, "music": 2, "codec": 3, "bucket": 3, "store": 4,
    "stage": 5, "models": 5, "plugins": 6, "edits": 6, "expressive": 7, "hearing": 7, "notation": 7, "output": 7,
    "pipeline": 8, "examples": 9, "service": 10, "evaluate": 10, "display": 11, "ui": 11, "notebook": 12, "sweep": 12,
    "cli": 13,
}

def imports_of(path):
    package = ("rescored", *path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                base = (*package[: len(package) - node.level + 1], *(node.module or "").split("."))
            else:
                base = tuple((node.module or "").split("."))
            base = tuple(p for p in base if p)
            if base[:1] == ("rescored",):
                if len(base) > 1:
                    yield base[1]
                else:
                    yield from (alias.name for alias in node.names if alias.name in LEVEL)
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("rescored."))


MODULES = [p for p in ROOT.rglob("*.py") if p != ROOT / "__init__.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downward(path):
    mine = path.relative_to(ROOT).with_suffix("").parts[0]
    for other in imports_of(path):
        assert other == mine or LEVEL[other] < LEVEL[mine], f"{mine} imports {other}"


def test_hearing_and_notation_are_strangers():
    assert LEVEL["hearing"] == LEVEL["notation"] == LEVEL["output"]


def test_opening_the_package_loads_no_framework():
    heavy = ("torch", "gradio", "music21", "librosa", "numba", "scipy", "pretty_midi", "numpy", "sqlalchemy", "fsspec")
    code = f"import sys, rescored; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
