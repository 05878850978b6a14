"""Demucs' weights: where they are, how they are fetched within bounds, and loaded by Demucs' own code."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

from ..errors import ModelUnavailable
from ..models import weights_folder
from ..stage import Report, silent

BUILT_IN = "rescored-small"  # ships beside this module; trained by tools/train_separator.py
NO_ANSWER_S = 12.0  # without a first byte for this long, there is no network
STALLED_S = 60.0  # without a further one, the download has stopped (the Hub's client writes 10 MB at a time)

_fetches: dict[str, Future[Any]] = {}


def load(name: str, report: Report = silent) -> Any:
    """The Demucs model of this name; raises ModelUnavailable where its weights cannot be had.

    From the folder `RESCORED_MODELS` (`name.yaml` beside `signature-checksum.th`, as Demucs has it,
    or `signature.safetensors`), else from the Hub's cache, else from the Hub.
    """
    if name == BUILT_IN:
        return load_folder(name, Path(__file__).parent)
    return _from_folder(name) or _from_hub(name, report)


def _from_folder(name: str) -> Any | None:
    folder = weights_folder()
    if folder is None or not (folder / f"{name}.yaml").is_file():
        return None
    try:
        return load_folder(name, folder)
    except (Exception, SystemExit) as error:  # whatever a wrong or damaged file makes a loader do
        raise ModelUnavailable(
            f"The weights of {name} in the folder of RESCORED_MODELS cannot be read ({error}).",
            "Copy them there again.",
        ) from error


def load_folder(name: str, folder: Path) -> Any:
    """A bag of models that lies in a folder, as Torch packages or as safetensors."""
    import yaml
    from demucs.apply import BagOfModels
    from demucs.hf import load_safetensors_model
    from demucs.pretrained import get_model

    bag = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
    files = [folder / f"{signature}.safetensors" for signature in bag["models"]]
    if not all(file.is_file() for file in files):
        return get_model(name, repo=folder)
    models = [load_safetensors_model(file) for file in files]
    return BagOfModels(models, bag.get("weights"), bag.get("segment")).eval()


def _from_hub(name: str, report: Report) -> Any:
    """Fetch in a thread, since nothing in Demucs, the Hub's client or Torch bounds the whole of it.

    A fetch that was given up goes on in the background, and the next call takes what it got.
    """
    fetch = _fetches.get(name)
    if fetch is None or (fetch.done() and fetch.exception()):
        fetch = _fetches[name] = Future()
        threading.Thread(target=_fetch, args=(name, fetch), name=f"fetch {name}", daemon=True).start()
    before = size = _downloaded_bytes(name)
    last_growth = time.monotonic()
    while not fetch.done() and time.monotonic() - last_growth < (NO_ANSWER_S if size == before else STALLED_S):
        wait([fetch], timeout=0.25)
        if (now := _downloaded_bytes(name)) != size:
            size, last_growth = now, time.monotonic()
        report(0.0, f"fetching {name}, {(size - before) / 1e6:.0f} MB")
    if fetch.done() and not fetch.exception():
        return _fetches.pop(name).result()
    raise ModelUnavailable(
        f"The weights of {name} could not be fetched.",
        "Connect to the internet, or put them into a folder and set RESCORED_MODELS to it.",
    ) from (fetch.exception() if fetch.done() else TimeoutError("no answer"))


def _fetch(name: str, result: Future[Any]) -> None:
    try:
        from demucs.pretrained import get_model

        quiet_hub()
        result.set_result(get_model(name))
    except BaseException as error:  # Demucs leaves by SystemExit for some failures
        result.set_exception(error)


def quiet_hub() -> None:
    """No bar and no line for each try from the Hub's client: our progress and our one warning say it."""
    from huggingface_hub.utils.logging import set_verbosity
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    set_verbosity(logging.ERROR)  # its own call, since the client sets its level anew when it is imported


def _downloaded_bytes(name: str) -> int:
    """Size of what lies in the two caches that Demucs fetches into."""
    import torch
    from demucs.hf import DEFAULT_NAMESPACE, hf_repo_name
    from huggingface_hub.constants import HF_HUB_CACHE

    folders = (
        Path(HF_HUB_CACHE) / f"models--{DEFAULT_NAMESPACE}--{hf_repo_name(name)}" / "blobs",
        Path(torch.hub.get_dir()) / "checkpoints",
    )
    total = 0
    for folder in folders:
        for file in folder.glob("*"):
            try:
                total += file.stat().st_size
            except FileNotFoundError:  # renamed: a download was completed
                continue
    return total
