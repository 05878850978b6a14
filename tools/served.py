"""A server and a browser of our own, for the page's tests and its bench."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
START_S = 120
APP = Path(__file__).parents[1] / "app.py"


class Server:
    """The workbench over a store in `folder`, which its maker throws away."""

    def __init__(self, folder: Path, **environment: str):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.env = {**os.environ, "RESCORED_STORE": str(folder / "store"), "RESCORED_DEVICE": "cpu",
                    "GRADIO_SERVER_PORT": str(self.port), "OMP_NUM_THREADS": "1",
                    "GRADIO_TEMP_DIR": str(folder / "gradio"), "HF_HUB_OFFLINE": "1",
                    "RESCORED_JOBS_AN_HOUR": "0", "RESCORED_JOBS_AT_ONCE": "0", **environment}
        self.log = folder / "server.log"

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen([sys.executable, str(APP)], env=self.env, stdout=log, stderr=log)
        end = time.monotonic() + START_S
        while not self.healthy():
            assert self.process.poll() is None and time.monotonic() < end, self.log.read_text()
            time.sleep(0.2)

    def healthy(self) -> bool:
        """Whether it answers."""
        try:
            return self.get("healthz") == b'{"status":"ok"}'
        except OSError:
            return False

    def get(self, path: str, **headers: str) -> bytes:
        """What it answers; raises HTTPError."""
        with urllib.request.urlopen(urllib.request.Request(self.url + path, headers=headers), timeout=30) as answer:
            return bytes(answer.read())

    def stop(self) -> None:
        """End it at once, as a crash would."""
        self.process.kill()
        self.process.wait()


def ask(page: Any, expression: str) -> Any:
    """What an expression over the page's modules gives."""
    return page.evaluate(f"""async () => {{
        const [{{session}}, {{player}}, {{edit}}, {{plane, boxOf}}] = await Promise.all(
            ['session', 'player', 'edits', 'roll_plane'].map((name) => import(`./workbench/${{name}}.js`)));
        return {expression}; }}""")


def until(page: Any, expression: str, patience_s: float = START_S) -> None:
    """Wait until such an expression is true: `wait_for_function` takes a promise itself for true."""
    end = time.monotonic() + patience_s
    while not ask(page, expression):
        assert time.monotonic() < end, f"never came true: {expression}"
        page.wait_for_timeout(50)
