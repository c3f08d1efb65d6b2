"""The service's routes. Each handler reads its request, has the engine do the work as a job, and answers."""

from __future__ import annotations

import asyncio
import logging
import mimetypes
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .. import __version__
from ..errors import MattingError, TooManyPixelsError
from ..image import Image
from ..result import Matte
from ..types import ProgressCallback
from . import wire
from .answers import EVENTS, Events, Gone, Pixels, TooSlow, explain, finished, problem
from .endpoint import PROTOCOL
from .engine import Engine
from .guard import Guard
from .jobs import Jobs, QueueFull, Stopping
from .log import log
from .openapi import document
from .settings import Settings

T = TypeVar("T")
PAGE = Path(__file__).parent / "page"
mimetypes.add_type("text/javascript", ".js")  # what Windows' registry says may differ, and browsers would refuse it
DECODERS = 2
"""Pictures that are read or written at once, besides the job that runs."""


class Service:
    """The handlers, and what they share. `stop` is called when a client asks the service to end."""

    def __init__(self, settings: Settings, engine: Engine, stop: Callable[[], None]) -> None:
        """engine: with or without a loaded model."""
        self.settings = settings
        self.engine = engine
        self.jobs = Jobs(settings.waiting)
        self.active = 0
        self.last_used = time.monotonic()
        self._stop = stop
        self._incoming = 0
        self._threads = anyio.CapacityLimiter(DECODERS)

    async def status(self, _request: Request) -> Response:
        """GET /v1/status"""
        described = await self._aside(self.engine.status)
        return JSONResponse({
            "protocol": PROTOCOL, "version": __version__, "pid": os.getpid(), **described,
            "queue": {"running": self.jobs.running, "waiting": self.jobs.waiting, "limit": self.jobs.limit},
            "limits": {"body_bytes": self.settings.body, "pixels": self.settings.pixels,
                       "prompts": self.settings.prompts},
            "idle_exit_s": self.settings.idle_exit,
        })

    async def upload(self, request: Request) -> Response:
        """POST /v1/images"""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in (*wire.ENCODED, wire.RAW):
            raise HTTPException(415, f"the body is {kind[:80] or 'of no Content-Type'}; expected "
                                     f"{', '.join(wire.ENCODED)}, or {wire.RAW} for raw pixels")
        layout = wire.layout_of(request.query_params, self.settings.pixels) if kind == wire.RAW else None
        limit = self.settings.body if layout is None else min(layout.nbytes, self.settings.body)
        body = await self._body(request, limit)
        key = await self._aside(partial(wire.content_id, body, layout))
        image = self.engine.image(key)
        known = image is not None
        if image is None:
            try:
                image = await self._aside(partial(wire.read_picture, body, layout, self.settings.pixels))
            except TooManyPixelsError as error:
                raise wire.TooLarge(f"{str(error).partition(';')[0]}; make it smaller, or start the service with more "
                                    "--memory") from None
            self.engine.keep_image(key, image)
        return JSONResponse(_described(key, image), 200 if known else 201)

    async def image(self, request: Request) -> Response:
        """GET and DELETE /v1/images/{image}"""
        key, image = self._image(request)
        if request.method != "DELETE":
            return JSONResponse(_described(key, image))
        self.engine.drop("image", key)
        return Response(status_code=204)

    async def mattes(self, request: Request) -> Response:
        """POST /v1/images/{image}/mattes"""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise HTTPException(415, "the Content-Type is not application/json")
        key, image = self._image(request)
        body = await self._body(request, self.settings.json)
        ask = await self._aside(partial(wire.read_ask, body, image, self.settings))
        job = self.jobs.submit(lambda progress: self.engine.mattes(key, image, ask, progress))
        if EVENTS in request.headers.get("accept", ""):
            return Events(self.jobs, job)
        return JSONResponse(await finished(self.jobs, job, request))

    async def pixels(self, request: Request) -> Response:
        """GET /v1/mattes/{matte}/alpha, mask, foreground, cutout"""
        key, output = request.path_params["matte"], request.path_params["output"]
        if output not in wire.OUTPUTS:
            raise HTTPException(404, f"there is no {output[:40]!r} of a matte; known are {', '.join(wire.OUTPUTS)}")
        form = request.query_params.get("format", wire.OUTPUTS[output][0])
        if form not in wire.OUTPUTS[output]:
            raise wire.Malformed(f"format is {form[:40]!r}; {output} comes as {', '.join(wire.OUTPUTS[output])}")
        found = self._matte(request)
        if output in ("foreground", "cutout"):
            job = self.jobs.submit(partial(self._coloured, key, found, output, form))
            return Pixels(*await finished(self.jobs, job, request))
        source = found.alpha if output == "alpha" else found.mask
        return Pixels(*await self._aside(partial(wire.encode_pixels, source, form)))

    async def forget(self, request: Request) -> Response:
        """DELETE /v1/mattes/{matte}"""
        self._matte(request)
        self.engine.drop("matte", request.path_params["matte"])
        return Response(status_code=204)

    async def shutdown(self, _request: Request) -> Response:
        """POST /v1/shutdown"""
        self._stop()
        return JSONResponse({"stopping": True}, 202)

    async def page(self, _request: Request) -> Response:
        """GET /"""
        return FileResponse(PAGE / "index.html", media_type="text/html; charset=utf-8")

    async def openapi(self, _request: Request) -> Response:
        """GET /openapi.json"""
        return JSONResponse(document())

    def _image(self, request: Request) -> tuple[str, Image]:
        key = request.path_params["image"]
        image = self.engine.image(key)
        if image is None:
            raise _unknown("image", key)
        return key, image

    def _matte(self, request: Request) -> Matte:
        key = request.path_params["matte"]
        found = self.engine.find(key)
        if found is None:
            raise _unknown("matte", key)
        return found

    def _coloured(self, key: str, found: Matte, output: str, form: str, _progress: ProgressCallback) -> Any:
        colours = self.engine.foreground(key, found)
        return wire.encode_pixels(colours if output == "foreground" else wire.with_alpha(colours, found.alpha, form),
                                  form)

    async def _body(self, request: Request, limit: int) -> bytearray:
        """The body of a request. Raises TooLarge, TooSlow, Gone, and QueueFull when too much comes in at once."""
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > limit:
            raise wire.TooLarge(f"the body has {length[:20]} bytes; expected at most {limit}")
        body = bytearray()
        try:
            while True:
                message = await asyncio.wait_for(request.receive(), self.settings.patience)
                if message["type"] == "http.disconnect":
                    raise Gone
                piece = message.get("body", b"")
                if len(body) + len(piece) > limit:
                    raise wire.TooLarge(f"the body has more than {limit} bytes, the most that is accepted")
                if self._incoming + len(piece) > 2 * self.settings.body:
                    raise QueueFull
                body += piece
                self._incoming += len(piece)
                if not message.get("more_body", False):
                    return body
        except asyncio.TimeoutError:
            raise TooSlow from None
        finally:
            self._incoming -= len(body)

    async def _aside(self, work: Callable[[], T]) -> T:
        """Work for some milliseconds or more, outside of the event loop."""
        return await anyio.to_thread.run_sync(work, limiter=self._threads)


def _described(key: str, image: Image) -> dict[str, Any]:
    return {"image": key, "width": image.width, "height": image.height}


def _unknown(kind: str, key: str) -> HTTPException:
    again = "upload the picture again" if kind == "image" else "ask for it again"
    return HTTPException(404, f"there is no {kind} {key[:80]!r} here, or no longer; {again}")


class _Observed:
    """Counts and logs requests; answers with 503 once the service stops, and with 500 when a handler fails."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        service, started = self._service, time.monotonic()
        sent = {"status": 0, "bytes": 0}

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent["status"] = message["status"]
            else:
                sent["bytes"] += len(message.get("body", b""))
            await send(message)

        service.active += 1
        try:
            if service.jobs.stopping:
                await problem(*explain(Stopping(), True))(scope, receive, counted)
            else:
                await self._app(scope, receive, counted)
        except Exception as error:  # answered with 500 already; nothing may end the service
            log("failed", logging.ERROR, exc_info=error)
        finally:
            service.active -= 1
            service.last_used = time.monotonic()
            log("request", method=scope["method"], path=scope["path"][:200], status=sent["status"],
                bytes=sent["bytes"], ms=round(1000 * (time.monotonic() - started), 1))


def create_app(service: Service, *, port: int, token: str) -> ASGIApp:
    """The ASGI application of a service that listens on `port` of 127.0.0.1."""

    async def failed(_request: Request, error: Exception) -> Response:
        headers = error.headers if isinstance(error, HTTPException) else None  # 405: Allow
        return problem(*explain(error, service.jobs.stopping), headers)

    routes = [
        Route("/", service.page),
        Route("/openapi.json", service.openapi),
        Route("/v1/status", service.status),
        Route("/v1/shutdown", service.shutdown, methods=["POST"]),
        Route("/v1/images", service.upload, methods=["POST"]),
        Route("/v1/images/{image}", service.image, methods=["GET", "DELETE"]),
        Route("/v1/images/{image}/mattes", service.mattes, methods=["POST"]),
        Route("/v1/mattes/{matte}", service.forget, methods=["DELETE"]),
        Route("/v1/mattes/{matte}/{output}", service.pixels),
        Mount("/page", StaticFiles(directory=PAGE)),
    ]
    expected: tuple[type[Exception], ...] = (
        HTTPException, MattingError, wire.Malformed, wire.TooLarge, QueueFull, Stopping, Gone, TooSlow)
    app = Starlette(routes=routes, exception_handlers=dict.fromkeys((*expected, Exception), failed))
    return Guard(_Observed(app, service), port=port, token=token)
