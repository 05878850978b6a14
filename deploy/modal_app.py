"""Modal: the pipeline as functions on rented GPUs, paid for while they work.

    pip install modal && modal setup
    modal run deploy/modal_app.py --source song.mp3 --out scores      # once, from here
    modal deploy deploy/modal_app.py                                 # then, from any program:
    modal.Function.from_name("rescored", "transcribe").remote(content, name="song.mp3", preset="full-band")
    modal.Function.from_name("rescored", "health").remote()          # what it runs on

Models and results lie on volumes; `RESCORED_WARM_CONTAINERS=1 modal deploy ...` keeps a container ready.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import modal

ROOT = Path(__file__).parents[1]
GPU = os.environ.get("RESCORED_GPU", "T4")
WARM = int(os.environ.get("RESCORED_WARM_CONTAINERS", "0"))

app = modal.App("rescored")
models = modal.Volume.from_name("rescored-models", create_if_missing=True)
results = modal.Volume.from_name("rescored-results", create_if_missing=True)
image = modal.Image.from_dockerfile(
    ROOT / "Dockerfile", context_dir=ROOT, build_args={"DEMUCS": ""},  # weights come once, onto their volume
).entrypoint([]).env({
    "HF_HOME": "/models/huggingface", "TORCH_HOME": "/models/torch", "RESCORED_STORE": "/results",
    "RESCORED_IDLE_S": "0", "RESCORED_LOG": "json",
    "PYTHONPATH": "/home/user/.local/lib/python3.11/site-packages"})  # whoever Modal lets it run as
rented: dict[str, Any] = {
    "image": image, "gpu": GPU, "volumes": {"/models": models, "/results": results}, "timeout": 3600, "memory": 8192}


@app.function(
    **rented, min_containers=WARM, max_containers=20, scaledown_window=300,
    retries=modal.Retries(max_retries=3, initial_delay=2.0, backoff_coefficient=2.0))
def transcribe(content: bytes = b"", name: str = "", link: str = "", preset: str = "solo-piano",
               settings: dict[str, Any] | None = None) -> dict[str, bytes]:
    """The files of a recording's transcription, by name; {"error.txt": ...} for what the caller can put right.

    A container that dies, or whatever else goes wrong, is tried again by Modal and goes on at the last
    finished stage: bad input is therefore an answer, not an exception.
    """
    from rescored import RescoredError
    from rescored.service.remote import transcribe_file
    from rescored.store import Store

    try:
        return transcribe_file(content, name, link=link, preset=preset, settings=settings, store=Store())
    except RescoredError as error:
        return {"error.txt": str(error).encode()}


@app.function(**rented, schedule=modal.Period(days=7))
def prewarm() -> str:
    """Bring the models onto their volume: weekly, and at first by `modal run deploy/modal_app.py::prewarm`."""
    from rescored.service.warm import warm

    warm("all")
    return health.local()["device"]


@app.function(**rented)
def health() -> dict[str, str]:
    """What it runs on."""
    from rescored import __version__
    from rescored.models import device

    return {"rescored": __version__, "device": device()}


@app.local_entrypoint()
def main(source: str, out: str = ".", preset: str = "solo-piano") -> None:
    """Transcribe a file of this machine, or a link."""
    file = Path(source)
    given = {"link": source} if "://" in source else {"content": file.read_bytes(), "name": file.name}
    files = transcribe.remote(preset=preset, **given)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
        print(folder / name)
