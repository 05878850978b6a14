"""Two hundred at once: none lost, owners in turn, the server answers meanwhile, and its memory stays as it is."""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import media
import pytest
from servers import free_port, until

OWNERS, EACH, AT_ONCE = 20, 10, 2
LIMIT_S = 0.3
LATE_S = LIMIT_S / 10  # a bare server on a machine that has time for it answers in 1 ms
BARE = """
import asyncio, sys

async def answer(reader, writer):
    while (await reader.readline()).strip():
        pass
    writer.write(b"HTTP/1.0 200 OK\\r\\n\\r\\nok\\n")
    await writer.drain()
    writer.close()

async def serve():
    await (await asyncio.start_server(answer, "127.0.0.1", int(sys.argv[1]))).serve_forever()

asyncio.run(serve())
"""
SERVER = """
import json, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import psutil, uvicorn
from rescored.errors import LimitReached
from rescored.hearing.midi import read_midi
from rescored.hearing.sources import open_source
from rescored.service import telemetry
from rescored.service.jobs import Jobs
from rescored.service.limits import Allowance, Limits
from rescored.settings import NoteSettings
from rescored.ui.server import create_app

folder, midi, port, owners, each, at_once = Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:])
go, begun = threading.Event(), []

def work(desk):
    begun.append(desk.order.owner)
    go.wait()
    read_midi(open_source(midi, max_minutes=1), settings=NoteSettings())
    for step in range(5):
        desk.tell(fraction=step / 5, text="Reading")
    (desk.folder / "notes.json").write_text("[]")
    desk.made("notes")

telemetry.set_up()
jobs = Jobs(folder, telemetry.observed(work), slots=at_once,
            limits=Limits(Allowance(jobs_an_hour=each, jobs_at_once=0, max_queue=10_000)))
server = uvicorn.Server(uvicorn.Config(create_app(jobs), port=port, log_config=None))
threading.Thread(target=server.run, daemon=True).start()
while not server.started:
    time.sleep(0.05)

def submit(owner):
    try:
        return jobs.submit(midi, {}, title="song", owner=owner)
    except LimitReached as error:
        assert error.retry_s > 3000
        return None

for line in sys.stdin:
    go.clear()
    begun.clear()
    print(jobs.submit(midi, {}, title="song", owner="examples", ask="example"), flush=True)
    names = [f"{line.strip()} {n % owners}" for n in range(owners * (each + 1))]
    with ThreadPoolExecutor(len(names)) as pool:
        asked = list(pool.map(submit, names))
    mine = [job for job in asked if job]
    go.set()
    for job in mine:
        jobs.result(job)
    states = [jobs.history.snapshot(job).state for job in mine]
    print(json.dumps({"states": states, "refused": len(asked) - len(mine), "begun": list(begun),
                      "threads": threading.active_count(), "memory": psutil.Process().memory_info().rss}), flush=True)
"""


class Waits:
    """How long answers took: the server's, and meanwhile those of a process that does nothing but answer."""

    def __init__(self) -> None:
        self.server: list[float] = []
        self.bare: list[float] = []

    def too_long(self) -> bool:
        return p95(self.server) >= LIMIT_S

    def machine_is_late(self) -> bool:
        """Whether even who has nothing to do waits for a processor: then the figures are not the server's."""
        return p95(self.bare) > LATE_S


def p95(waits: list[float]) -> float:
    assert len(waits) > 50
    return statistics.quantiles(waits, n=20)[-1]


def timed(waits: list[float], url: str) -> None:
    began = time.perf_counter()
    with urllib.request.urlopen(url, timeout=30) as answer:
        answer.readline()
    waits.append(time.perf_counter() - began)


@pytest.mark.service
def test_two_hundred_at_once(tmp_path: Path) -> None:
    (midi := tmp_path / "song.mid").write_bytes(media.scale())
    port, bare_port = free_port(), free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path / "jobs"), str(midi), *map(str, (port, OWNERS, EACH, AT_ONCE))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=(tmp_path / "log").open("w"), text=True)
    bare = subprocess.Popen([sys.executable, "-c", BARE, str(bare_port)])
    try:
        until(lambda: socket.socket().connect_ex(("127.0.0.1", bare_port)) == 0, "the bare server")
        waits = Waits()
        rounds = [one_round(process, port, bare_port, f"round {n}", waits) for n in range(3)]
        if waits.too_long() and waits.machine_is_late():  # measured once more, by the same limit
            waits = Waits()
            rounds += [one_round(process, port, bare_port, f"round {n}", waits) for n in range(3, 6)]
    finally:
        for each in (process, bare):
            each.kill()
            each.wait()

    for result in rounds:
        assert result["states"] == ["done"] * OWNERS * EACH and result["refused"] == OWNERS
        assert len(result["begun"]) == OWNERS * EACH + 1
        result["begun"].remove("examples")
        served = Counter(dict.fromkeys(result["begun"], 0))
        for owner in result["begun"]:
            served[owner] += 1
            assert max(served.values()) - min(served.values()) <= 1 + AT_ONCE, "somebody was served out of turn"
    assert not waits.too_long(), f"p95 {p95(waits.server):.3f} s, of a bare server {p95(waits.bare):.3f} s"
    assert rounds[2]["memory"] - rounds[1]["memory"] < 20e6
    assert rounds[2]["threads"] <= rounds[1]["threads"] + 2


def one_round(process: subprocess.Popen[str], port: int, bare_port: int, name: str, waits: Waits) -> dict[str, Any]:
    """What became of two hundred jobs; adds how long calls that ask how one stands took meanwhile."""
    answered: list[str] = []
    print(name, file=process.stdin, flush=True)
    job = process.stdout.readline().strip()
    reader = threading.Thread(target=lambda: answered.append(process.stdout.readline()))
    reader.start()
    while reader.is_alive():
        for path in (f"jobs/{job}/events", "readyz"):
            timed(waits.server, f"http://127.0.0.1:{port}/{path}")
        timed(waits.bare, f"http://127.0.0.1:{bare_port}/")
    return json.loads(answered[0])
