"""The routes by which the page changes a finished transcription."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from ..errors import RescoredError
from ..output.contract import edits_from_json
from ..service.renotate import Outdated, Renotator

MAX_BYTES = 8 * 2**20  # of a request


def add_routes(
    app: FastAPI, renotator: Renotator, found: Callable[[str, Request], None], protected: Callable[[str], bool]
) -> None:
    """GET and POST `/jobs/{job}/changes`, GET `/jobs/{job}/metres`, POST `/jobs/{job}/sound`; `protected` jobs are
    everybody's to read only."""

    def answer(act: Callable[[], Any]) -> JSONResponse:
        try:
            return JSONResponse(act())
        except Outdated:
            return JSONResponse({"problem": "It was changed in another window.", "remedy": "This is how it is."}, 409)
        except RescoredError as error:
            return JSONResponse({"problem": error.problem, "remedy": error.remedy}, 400)

    @app.get("/jobs/{job}/changes")
    def state(job: str, request: Request) -> JSONResponse:
        found(job, request)
        return answer(lambda: renotator.state(job))

    @app.post("/jobs/{job}/changes")
    async def change(job: str, request: Request) -> JSONResponse:
        await run_in_threadpool(found, job, request)
        if protected(job):
            return JSONResponse({"problem": "This example is everybody's.", "remedy": "Change a copy of it."}, 403)
        data = bytearray()
        async for piece in request.stream():
            data += piece
            if len(data) > MAX_BYTES:
                return JSONResponse({"problem": "That are too many corrections.", "remedy": "Reload the page."}, 413)
        try:
            asked = json.loads(data)
            revision, page, layout = int(asked["revision"]), int(asked["page"]), str(asked["layout"])
            edits, settings = asked["edits"], dict(asked["settings"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
            return JSONResponse({"problem": "This is no change.", "remedy": "Reload the page."}, 400)
        return await run_in_threadpool(answer, lambda: renotator.change(
            job, revision, edits_from_json(edits), settings, layout=layout, page=page))

    @app.get("/jobs/{job}/metres")
    def metres(job: str, request: Request) -> JSONResponse:
        found(job, request)
        return answer(lambda: renotator.metres(job))

    @app.post("/jobs/{job}/sound")
    def sound(job: str, request: Request) -> JSONResponse:
        found(job, request)
        return answer(lambda: renotator.sound(job))
