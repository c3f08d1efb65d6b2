"""What goes back: errors as JSON, pixels in pieces, and the stream of a job's events."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from ..errors import CancelledError, MattingError
from .jobs import Job, Jobs, QueueFull, Stopping
from .log import log
from .problems import Malformed, NoRoom, TooLarge

ALIVE = 1.5
"""Seconds of silence after which a stream says that it is alive."""
PIECE = 1 << 20
EVENTS = "application/x-ndjson"
CLIENT_GONE = 499
"""Nobody reads this status: the client closed the connection. The log shows it."""


class Gone(Exception):
    """The client went away in the middle of its request."""


class TooSlow(Exception):
    """The client was silent for too long in the middle of its request: 408."""


def explain(error: BaseException, stopping: bool) -> tuple[int, str, str]:
    """Status, kind and message for what a handler or a job raised."""
    kind = type(error).__name__
    if isinstance(error, Malformed):
        return 400, kind, str(error)
    if isinstance(error, TooSlow):
        return 408, kind, "the request did not come to its end; send it again"
    if isinstance(error, TooLarge):
        return 413, kind, str(error)
    if isinstance(error, QueueFull):
        return 429, kind, "the service is busy and its queue is full; try again in a moment"
    if isinstance(error, NoRoom):
        return 503, kind, str(error)
    if isinstance(error, Stopping) or (isinstance(error, CancelledError) and stopping):
        return 503, "Stopping", "the service is stopping; start it again"
    if isinstance(error, (CancelledError, Gone)):
        return CLIENT_GONE, kind, "the client closed the connection"
    if isinstance(error, MattingError):
        return 422, kind, str(error)
    if isinstance(error, HTTPException):
        return error.status_code, "NotFound" if error.status_code == 404 else "BadRequest", str(error.detail)
    if isinstance(error, MemoryError):
        return 503, "NoRoom", "the machine has no memory left; close other programs, or make the picture smaller"
    return 500, "InternalError", f"the service failed ({kind}); its log says more"


def problem(status: int, kind: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error as the protocol has it."""
    usual = {429: {"Retry-After": "1"}, 503: {"Retry-After": "1"}, 401: {"WWW-Authenticate": "Bearer"}}.get(status)
    return JSONResponse({"error": {"kind": kind, "message": message}}, status, headers or usual)


class Pixels(Response):
    """A body of perhaps hundreds of megabytes, sent in pieces without another copy of it."""

    def __init__(self, pixels: Any, headers: dict[str, str], held: contextlib.ExitStack | None = None) -> None:
        """pixels: bytes or a contiguous array. held: what is given back once all is sent: the memory it takes."""
        super().__init__(headers=headers)
        self._held = held or contextlib.ExitStack()
        self._bytes = memoryview(pixels).cast("B")
        self.headers["content-length"] = str(len(self._bytes))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        with self._held:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            pieces = range(0, 0 if scope["method"] == "HEAD" else len(self._bytes), PIECE)
            for start in pieces:
                await send({"type": "http.response.body", "body": bytes(self._bytes[start:start + PIECE]),
                            "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


@contextlib.asynccontextmanager
async def cancelled_when_gone(jobs: Jobs, job: Job, receive: Receive) -> AsyncIterator[None]:
    """Cancel the job as soon as the client closes the connection, or when the handler ends before it."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        jobs.cancel(job)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        if not job.result.done():
            jobs.cancel(job)


async def finished(jobs: Jobs, job: Job, request: Request) -> Any:
    """A job's result. Raises what it raised, CancelledError when the client went away."""
    async with cancelled_when_gone(jobs, job, request.receive):
        return await asyncio.shield(job.result)


class Events(Response):
    """A job as a stream of lines: queued, progress, alive, and at last done or error."""

    media_type = EVENTS

    def __init__(self, jobs: Jobs, job: Job) -> None:
        """job: one that is in the queue of `jobs`."""
        super().__init__()
        self._jobs = jobs
        self._job = job
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events as they come."""

        async def line(event: dict[str, Any]) -> None:
            body = json.dumps(event, separators=(",", ":")).encode() + b"\n"
            await send({"type": "http.response.body", "body": body, "more_body": True})

        job = self._job
        async with cancelled_when_gone(self._jobs, job, receive):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for event in self._news():
                if event:
                    await line(event)
                job.changed.clear()
                try:
                    await asyncio.wait_for(job.changed.wait(), ALIVE)
                except asyncio.TimeoutError:
                    await line({"event": "alive"})
        error = job.result.exception()
        if error is None:
            await line({"event": "done", **job.result.result()})
        else:
            status, kind, message = explain(error, self._jobs.stopping)
            if status == 500:
                log("failed", logging.ERROR, exc_info=error)
            await line({"event": "error", "kind": kind, "message": message})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _news(self) -> Iterator[dict[str, Any]]:
        """What has changed since the last time it was asked, perhaps nothing, until the job is done."""
        job, last = self._job, None
        while not job.result.done():
            event = {"event": "queued", "position": self._jobs.position(job)} if job.stage is None else \
                {"event": "progress", "stage": job.stage, "share": round(job.share, 4)}
            yield {} if event == last else event
            last = event
