"""Demucs' weights: where they are, how they are fetched within bounds, and loaded by Demucs' own code."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from ..errors import ModelUnavailable
from ..models import weights_folder
from ..stage import Report, silent

GIVE_UP_S = 20.0  # of a download: without a byte for this long, there is no network


def load(name: str, report: Report = silent) -> Any:
    """The Demucs model of this name; raises ModelUnavailable where its weights cannot be had.

    From the folder `RESCORED_MODELS` (`name.yaml` beside `signature-checksum.th`, as Demucs has it,
    or `signature.safetensors`), else from the Hub's cache, else from the Hub.
    """
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
    """Fetch in a thread, since nothing in Demucs, the Hub's client or Torch bounds the whole of it."""
    got: list[Any] = []
    failed: list[BaseException] = []

    def fetch() -> None:
        try:
            from demucs.pretrained import get_model
            from huggingface_hub.utils.tqdm import disable_progress_bars

            disable_progress_bars()
            got.append(get_model(name))
        except BaseException as error:  # Demucs leaves by SystemExit for some failures
            failed.append(error)

    thread = threading.Thread(target=fetch, name=f"fetch {name}", daemon=True)
    thread.start()
    size, last_growth = _downloaded_bytes(name), time.monotonic()
    while thread.is_alive() and time.monotonic() - last_growth < GIVE_UP_S:
        thread.join(0.25)
        if (now := _downloaded_bytes(name)) != size:
            size, last_growth = now, time.monotonic()
        report(0.0, f"fetching {name}" + (f", {size / 1e6:.0f} MB" if size else ""))
    if got:
        return got[0]
    cause = failed[0] if failed else TimeoutError(f"nothing came for {GIVE_UP_S:.0f} s")
    raise ModelUnavailable(
        f"The weights of {name} could not be fetched.",
        "Connect to the internet, or put them into a folder and set RESCORED_MODELS to it.",
    ) from cause


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
