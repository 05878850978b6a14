"""Run the notebooks and keep their outputs, small and free of this machine.

    python tools/refresh_notebooks.py [NAME...]

Players of sound stay (a few seconds of MP3), widgets do not: they are alive only where a kernel is. What
a figure looks like without one is in the cell before.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import papermill

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"


def cleaned(notebook: Any) -> Any:
    """Without what differs from run to run or tells of the machine."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    for cell in notebook.cells:
        cell.metadata = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
        if cell.cell_type != "code":
            continue
        outputs = [o for o in cell.outputs if not (o.output_type == "stream" and o.name == "stderr")]
        for output in outputs:
            if output.output_type == "stream":  # torch says where it keeps what it fetches
                output.text = re.sub(r"^Downloading: .*\n", "", output.text, flags=re.MULTILINE)
            data = output.get("data", {})
            data.pop(WIDGET, None)
            if "text/plain" in data:  # of objects without words of their own
                data["text/plain"] = re.sub(r"<(?:\w+\.)*(\w+)(?: object)?(?: at 0x[0-9a-f]+| size .*)?>", r"\1",
                                            data["text/plain"])
        cell.outputs = outputs
    return notebook


def main(names: list[str]) -> None:
    """Run them in a folder and with a store of their own: nothing stale comes in, nothing is left behind."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RESCORED_STORE"] = str(Path(folder, "store"))
        for path in sorted(NOTEBOOKS.glob("*.ipynb")):
            if names and not any(name in path.stem for name in names):
                continue
            made = Path(folder, path.name)
            papermill.execute_notebook(str(path), str(made), cwd=folder, progress_bar=False)
            nbformat.write(cleaned(nbformat.read(made, as_version=4)), path)
            print(f"{path.stem}: {path.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
