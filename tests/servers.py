"""Real servers for tests of the service, on free ports and with folders that are thrown away."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PATIENCE_S = 180.0  # a worker that begins on a busy machine
POSTGRES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/nowhere"))

# A plugin that writes down, in the file that SPY names, the key of every stage result that is stored.
SPY = '''
import os
from rescored.store import Store
put = Store.put
def spied(self, key, value, kind):
    result = put(self, key, value, kind)
    with open(os.environ["SPY"], "a") as file:
        file.write(key + "\\n")
    return result
Store.put = spied
'''


def missing() -> str:
    """Why the service cannot be tested here; "" if it can."""
    if not shutil.which("redis-server"):
        return "no redis-server"
    if not (POSTGRES / "initdb").is_file():
        return "no PostgreSQL server"
    return ""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def until(true: Callable[[], object], what: str = "it", patience_s: float = PATIENCE_S) -> None:
    end = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < end, f"{what} did not happen within {patience_s:g} s"
        time.sleep(0.02)


class Redis:
    """A Redis that writes every change to its append-only file."""

    def __init__(self, folder: Path):
        self.folder, self.port = folder, free_port()
        folder.mkdir()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "",
             "--appendonly", "yes"], stdout=subprocess.DEVNULL)
        until(self._answers, "Redis")

    def _answers(self) -> bool:
        with socket.socket() as client:
            client.settimeout(1)
            try:
                client.connect(("127.0.0.1", self.port))
                client.sendall(b"PING\r\n")
                return client.recv(7) == b"+PONG\r\n"
            except OSError:
                return False

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


class Postgres:
    """A PostgreSQL with one empty database."""

    def __init__(self, folder: Path):
        self.user = "postgres" if os.getuid() == 0 else None  # it refuses to run as root
        folder.mkdir()
        if self.user:
            for path in (folder, *folder.parents):
                if path == Path(path.anchor) or path == Path("/tmp"):
                    break
                path.chmod(path.stat().st_mode | 0o011)  # let it find its folder
            shutil.chown(folder, self.user)
        self.port = free_port()
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "user": self.user, "cwd": "/"}
        subprocess.run([POSTGRES / "initdb", "-D", folder / "db", "-U", "postgres", "--auth=trust", "--no-sync",
                        "--no-locale", "--encoding=UTF8"], check=True, **quiet)
        self.process = subprocess.Popen(
            [POSTGRES / "postgres", "-D", folder / "db", "-p", str(self.port), "-k", folder, "-h", "127.0.0.1",
             "-c", "fsync=off"], **quiet)
        until(lambda: subprocess.run([POSTGRES / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)],
                                     check=False).returncode == 0, "PostgreSQL")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)  # its fast shutdown
        self.process.wait(20)


class Worker:
    """`rescored worker` in a session of its own."""

    def __init__(self, queues: str, env: dict[str, str], log: Path, *options: str):
        self.log = log
        with log.open("a") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "import sys; from rescored.cli import main; sys.exit(main())", "worker",
                 "--queues", queues, *options], env=env, stdout=out, stderr=out, start_new_session=True)

    def children(self) -> list[int]:
        try:
            listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        except OSError:
            return []
        return [int(pid) for pid in listed.split()]

    def kill(self) -> None:
        """All of it, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
