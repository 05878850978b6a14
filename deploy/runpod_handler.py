"""RunPod serverless: the pipeline behind an endpoint's queue, on a GPU that is paid for while it works.

    docker build --tag OWNER/rescored-runpod --file deploy/Dockerfile.runpod . && docker push OWNER/rescored-runpod

Make a serverless endpoint of that image with a network volume (models and results stay on it) and one
active worker if nobody shall wait for a cold start. Then `POST https://api.runpod.ai/v2/ENDPOINT/run` with
`{"input": {"file": base64, "name": "song.mp3", "preset": "solo-piano"}}` (or "link") gives `{"files": {...}}`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

VOLUME = Path("/runpod-volume")  # where RunPod mounts an endpoint's network volume
if VOLUME.is_dir():
    os.environ.setdefault("RESCORED_STORE", str(VOLUME / "rescored"))
    os.environ.setdefault("HF_HOME", str(VOLUME / "huggingface"))
    os.environ.setdefault("TORCH_HOME", str(VOLUME / "torch"))
os.environ.setdefault("RESCORED_IDLE_S", "0")  # models stay as long as the worker does

from rescored.service import telemetry  # noqa: E402
from rescored.service.remote import answer  # noqa: E402
from rescored.service.warm import transient, warm  # noqa: E402
from rescored.store import Store  # noqa: E402

TRIES = 3

store = Store()


def handler(job: Mapping[str, Any]) -> dict[str, Any]:
    """Answer one request; what may well go right a second time is tried again, from the last finished stage.

    A bug is raised, so that RunPod marks the job as failed; what the caller can put right is in "error".
    """
    for attempt in range(1, TRIES + 1):
        try:
            return answer(job["input"], store=store, report=lambda text: tell(job, text))
        except Exception as error:
            if attempt == TRIES or not transient(error):
                raise
            time.sleep(2**attempt)
    raise AssertionError("unreachable")


def tell(job: Mapping[str, Any], text: str) -> None:
    """Progress for `GET /status`."""
    import runpod

    runpod.serverless.progress_update(dict(job), text)


if __name__ == "__main__":
    import runpod

    telemetry.set_up()
    warm(os.environ.get("RESCORED_WARM", "solo-piano,full-band"))
    runpod.serverless.start({"handler": handler})
