"""Whether this server can take a job: what `/readyz` asks, where `/healthz` only asks whether it lives."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from .history import History

BROKER_WAIT_S = 2.0


def readiness(history: History, folder: Path) -> dict[str, str]:
    """"ok" or what is wrong, in a word, of the history, the local folder, and the broker where there is one."""
    checks: dict[str, Callable[[], object]] = {"history": history.standing, "store": lambda: _write(folder)}
    if os.environ.get("RESCORED_BROKER_URL", "").startswith(("redis", "valkey")):
        checks["broker"] = _ping
    found = {}
    for name, check in checks.items():
        try:
            check()
            found[name] = "ok"
        except Exception as error:  # whatever it is: the load balancer must hear of it, the reader gets its kind
            found[name] = type(error).__name__
    return found


def _write(folder: Path) -> None:
    probe = folder / f".ready-{secrets.token_hex(4)}"
    probe.write_bytes(b"ready")
    probe.unlink()


def _ping() -> None:
    import redis

    url = os.environ["RESCORED_BROKER_URL"]
    with redis.Redis.from_url(url, socket_timeout=BROKER_WAIT_S, socket_connect_timeout=BROKER_WAIT_S) as broker:
        broker.ping()
