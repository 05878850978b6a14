"""The page as a server: Gradio at `/`, its own routes for what the page fetches, and a health check.

`GRADIO_SERVER_NAME` and `GRADIO_SERVER_PORT` (or `PORT`) say where, `RESCORED_SLOTS` how many jobs run at
once (default: on a GPU, which separates them together, four; else one), `RESCORED_STORE` where everything is kept
(bucket.py) and `RESCORED_KEEP_DAYS` how long (store.py); service/limits.py names the limits.
`FORWARDED_ALLOW_IPS` names a proxy before it, so that users are told apart by address. No request leaves the
machine: the browser is told so by a content policy.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import os
import re
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported

import gradio as gr
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from starlette.staticfiles import StaticFiles

from .. import plugins
from ..environment import number
from ..errors import InputError, LimitReached, RescoredError
from ..models import has_gpu
from ..output.files import load, safe_name, zip_parts
from ..service import telemetry
from ..service.health import readiness
from ..service.jobs import EXAMPLES_OWNER, BaseJobs, Jobs
from ..service.limits import Limits
from ..service.owners import COOKIE, NotSignedIn, Owners, new_cookie
from ..service.renotate import Renotator
from ..service.shelf import SONG, put_pages
from ..service.work import work
from ..store import Store
from .changing import add_routes
from .page import LANDING, build, example_job
from .panel import STATIC, STATIC_URL
from .theme import theme

EVENTS_EVERY_S = 0.2
SLOTS_ON_GPU = 4
OPEN = ("/healthz", "/readyz", "/metrics")  # nobody's, and with tokens of their own
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'"
)
HEAD = "".join(f'<link rel="stylesheet" href="{STATIC_URL}/{name}.css">' for name in ("workbench", "Leipzig"))
_SERVED = re.compile(
    rf"(tracks|notes)\.json|[\w-]+\.ogg|score(-narrow)?/(index\.json|\d+\.svg)|{SONG}\.[\w.]+|stems\.zip")


def create_app(jobs: BaseJobs, *, slots: int = 1) -> FastAPI:
    """The server's routes over these jobs; what a job made is its owner's alone."""
    owners = Owners.of_environment()
    renotator = Renotator(jobs)
    app = FastAPI(title="rescored", docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def know_the_owner(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.url.path not in OPEN:
            try:
                request.state.owner = await run_in_threadpool(owners.of, request.headers, request.cookies)
            except NotSignedIn as error:
                return JSONResponse({"problem": error.problem, "remedy": error.remedy}, 401)
        response = await go_on(request)
        if request.url.path == "/" and COOKIE not in request.cookies:
            response.headers.append("Set-Cookie", new_cookie(https=request.url.scheme == "https"))
        return response

    @app.middleware("http")
    async def keep_requests_here(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await go_on(request)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    app.add_middleware(telemetry.Requests)

    @app.exception_handler(LimitReached)
    def too_much(request: Request, error: LimitReached) -> JSONResponse:
        when = {"Retry-After": str(math.ceil(error.retry_s))} if error.retry_s else {}
        return JSONResponse({"problem": error.problem, "remedy": error.remedy}, 429, when)

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    def readyz() -> JSONResponse:
        found = readiness(jobs.history, jobs.home)
        return JSONResponse(found, 200 if set(found.values()) == {"ok"} else 503)

    standing = telemetry.Standing(jobs.history, partial(telemetry.bytes_in, jobs.home), jobs.demand)

    @app.get("/metrics")
    def metrics(request: Request) -> Response:
        if not telemetry.may_scrape(request.headers.get("Authorization", "")):
            raise HTTPException(403)
        return Response(telemetry.exposition(standing), media_type="text/plain; version=0.0.4")

    @app.get("/jobs/{job}/events")
    def events(job: str, request: Request) -> StreamingResponse:
        found(job, request)
        return StreamingResponse(stream(jobs, job), media_type="text/event-stream",
                                 headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})

    @app.get("/media/{job}/{path:path}")
    def media(job: str, path: str, request: Request) -> Response:
        found(job, request)
        if not _SERVED.fullmatch(path):
            raise HTTPException(404)
        try:
            if path == f"{SONG}.parts.zip":
                return FileResponse(parts_of(jobs, job, stored(job, f"{SONG}.json")), media_type="application/zip",
                                    filename=f"{safe_name(jobs.snapshot(job).title)}.parts.zip")
            if path == "tracks.json":
                return Response(json.dumps(heard_still(jobs, job)), media_type="application/json")
        except FileNotFoundError as error:
            raise HTTPException(404) from error
        file = stored(job, path)
        name = None
        if "download" in request.query_params:
            title = safe_name(jobs.snapshot(job).title)
            name = title + path.removeprefix(SONG) if path.startswith(SONG) else f"{title}.{path}"
        if path.endswith(".json") and name is None:  # may be replaced while it is read: so, at once
            return Response(file.read_bytes(), media_type="application/json")
        return FileResponse(file, filename=name, headers={"Cache-Control": "private, no-cache"})

    def stored(job: str, path: str) -> Path:
        try:
            return jobs.file(job, path)
        except FileNotFoundError as error:
            return made(job, path, error)

    def made(job: str, path: str, missing: FileNotFoundError) -> Path:
        """What is made only when it is asked for."""
        try:
            return renotator.make(job, path)
        except (FileNotFoundError, InputError):
            if path != "score-narrow/index.json" or not jobs.snapshot(job).made.get("score"):
                raise HTTPException(404) from missing
            return engrave_narrow(jobs, job)

    def found(job: str, request: Request) -> None:
        try:
            jobs.seen_by(request.state.owner, job)
        except InputError as error:
            raise HTTPException(404, str(error)) from error

    def protected(job: str) -> bool:
        return jobs.order(job).owner == EXAMPLES_OWNER

    add_routes(app, renotator, found, protected)

    @app.get(f"/{STATIC_URL}/Leipzig.css")
    def music_font() -> FileResponse:
        """The font of what is text in a score: metronome marks, dynamics in words."""
        spec = find_spec("verovio")
        assert spec and spec.origin
        return FileResponse(Path(spec.origin).parent / "data" / "Leipzig.css")

    app.mount(f"/{STATIC_URL}", StaticFiles(directory=STATIC))
    page = build(jobs, owners, slots=slots)
    gr.mount_gradio_app(
        app, page, path="/", theme=theme(), head=HEAD, footer_links=["api"], run_history=False,
        max_file_size=int(jobs.limits.allowance.max_mb * 1e6) or None, allowed_paths=[], show_error=True,
        ssr_mode=False, pwa=False)
    return app


def heard_still(jobs: BaseJobs, job: str) -> dict[str, Any]:
    """A job's tracks.json without the tracks whose sound is not kept any more: stems go before scores."""
    tracks: dict[str, Any] = json.loads(jobs.file(job, "tracks.json").read_bytes())
    held = json.loads(jobs.file(job, "sounds.json").read_bytes())
    tracks["tracks"] = [track for track in tracks["tracks"] if jobs.bucket.exists(held.get(track["file"], ""))]
    return tracks


def parts_of(jobs: BaseJobs, job: str, saved: Path) -> Path:
    """Every part of a job's score, which is in `saved`, for its player, in a ZIP; made when it is asked for."""
    name = f"parts-{hashlib.sha256(saved.read_bytes()).hexdigest()[:16]}"
    try:
        return jobs.file(job, name)
    except FileNotFoundError:
        jobs.add_file(job, name, zip_parts(load(saved).score, jobs.snapshot(job).title))
        return jobs.file(job, name)


def engrave_narrow(jobs: BaseJobs, job: str) -> Path:
    """The score for phones, made when it is first asked for; its index."""
    with tempfile.TemporaryDirectory() as aside:
        shutil.copyfile(jobs.file(job, f"{SONG}.musicxml"), Path(aside) / f"{SONG}.musicxml")
        put_pages(Path(aside), "score-narrow")
        pages = sorted(Path(aside).glob("score-narrow/*"), key=lambda page: page.suffix == ".json")  # the index last
        for page in pages:
            jobs.add_file(job, f"score-narrow/{page.name}", page.read_bytes())
    return jobs.file(job, "score-narrow/index.json")


async def stream(jobs: BaseJobs, job: str) -> AsyncIterator[str]:
    """A job's snapshots as server-sent events, to its end; a browser that loses them asks again by itself."""
    seen = None
    while True:
        try:
            snapshot = await asyncio.to_thread(jobs.snapshot, job)
        except InputError:  # deleted meanwhile
            return
        if snapshot != seen:
            yield f"data: {json.dumps(asdict(snapshot))}\n\n"
        seen = snapshot
        if snapshot.over:
            return
        await asyncio.sleep(EVENTS_EVERY_S)


def open_jobs(slots: int) -> BaseJobs:
    """The jobs of the cluster behind `RESCORED_BROKER_URL`, or else this process's own."""
    store, limits = Store(), Limits.from_environment()
    if not os.environ.get("RESCORED_BROKER_URL"):
        return Jobs(store.bucket, telemetry.observed(partial(work, store=store)), slots=slots,
                    keep_days=store.lifetimes.days, limits=limits)
    from ..service.celery_app import open_cluster

    jobs = open_cluster(store, limits=limits)
    jobs.live(works=False)
    return jobs


def main() -> None:
    """Serve the workbench until it is stopped; what keeps it from beginning is said in words."""
    try:
        serve()
    except RescoredError as error:
        raise SystemExit(f"rescored: {error}") from None


def serve() -> None:
    """The same; raises RescoredError where it cannot begin."""
    telemetry.set_up()
    plugins.load()
    slots = int(number("RESCORED_SLOTS", SLOTS_ON_GPU if has_gpu() else 1, least=1))
    jobs = open_jobs(slots)
    host = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")
    port = int(number("GRADIO_SERVER_PORT", number("PORT", 7860)))
    app = create_app(jobs, slots=slots)
    threading.Thread(target=example_job, args=(jobs, LANDING), daemon=True).start()
    print(f"rescored: http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}", flush=True)
    uvicorn.run(app, host=host, port=port, log_config=None, access_log=False)


if __name__ == "__main__":
    main()
