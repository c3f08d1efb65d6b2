"""The service's routes. Each handler reads its request, has the engine do the work as a job, and answers."""

from __future__ import annotations

import asyncio
import contextlib
import html
import io
import logging
import mimetypes
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .. import __version__
from ..errors import MattingError, TooManyPixelsError
from ..image import Image
from ..result import Matte
from ..types import ProgressCallback
from . import one_call, pictures, wire
from .answers import EVENTS, Events, Gone, Pixels, TooSlow, explain, finished, problem
from .connections import Connections
from .endpoint import PROTOCOL
from .engine import Engine, describe
from .form import Form
from .guard import Access, Guard
from .handover import SECONDS, Handover
from .jobs import Job, Jobs, QueueFull, Stopping
from .log import log
from .openapi import document
from .problems import Malformed, NoRoom, TooLarge
from .settings import Settings

if TYPE_CHECKING:
    from .engine import Ground

T = TypeVar("T")
PAGE = Path(__file__).parent / "page"
mimetypes.add_type("text/javascript", ".js")  # what Windows' registry says may differ, and browsers would refuse it
DECODERS = 2
"""Pictures that are read or written at once, besides the job that runs."""
LARGE = 8
"""Reading that takes more than this part of the memory is done one picture at a time."""
PATIENCE = 10.0
"""Seconds that a request waits for memory before it is told that there is none."""
STEP = 1 << 20
"""Bytes of a body for which memory is taken at a time."""
USED_UP = """<!doctype html><title>Matting Anything</title><p>This address works once and for {seconds} seconds, and it
has been used or is too old. Run <code>matting-anything serve --open</code> again."""


class Service:
    """The handlers, and what they share. `stop` is called when a client asks the service to end."""

    def __init__(self, settings: Settings, engine: Engine, stop: Callable[[], None], page_key: str) -> None:
        """engine: with or without a loaded model. page_key: for what the page keeps, see remembered.py."""
        self._page_key = page_key
        self.settings = settings
        self.engine = engine
        self.jobs = Jobs(settings.waiting)
        self.token = ""
        """What `open` hands over; create_app knows it."""
        self.active = 0
        self.last_used = time.monotonic()
        self._stop = stop
        self._handover = Handover()
        self._incoming = 0
        self._large = asyncio.Lock()
        self._threads = anyio.CapacityLimiter(DECODERS)

    async def status(self, _request: Request) -> Response:
        """GET /v1/status"""
        described = await self._aside(self.engine.status)
        return JSONResponse({
            "protocol": PROTOCOL, "version": __version__, "pid": os.getpid(), **described,
            "queue": {"running": self.jobs.running, "waiting": self.jobs.waiting, "limit": self.jobs.limit},
            "formats": {kind: list(suffixes) for kind, suffixes in pictures.FORMATS.items()},
            "limits": {"body_bytes": self.settings.body, "pixels": self.settings.pixels,
                       "prompts": self.settings.prompts},
            "idle_exit_s": self.settings.idle_exit,
        })

    async def upload(self, request: Request) -> Response:
        """POST /v1/images"""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != pictures.RAW and not pictures.is_picture(kind):
            raise HTTPException(415, f"the body is {kind[:80] or 'of no Content-Type'}; expected "
                                     f"{', '.join(pictures.FORMATS)}, or {pictures.RAW} for raw pixels")
        layout = None if kind != pictures.RAW else \
            pictures.layout_of(request.query_params, self.settings.pixels)
        limit = self.settings.body if layout is None else min(layout.nbytes, self.settings.body)
        with contextlib.ExitStack() as held:
            body = await self._body(request, limit, held)
            key, image, known = await self._read(body, layout)
        return JSONResponse(_described(key, image), 200 if known else 201)

    async def _read(self, body: bytes, layout: pictures.Layout | None) -> tuple[str, Image, bool]:
        """The picture in a body, its id, and whether it was kept already; it is kept now.

        What reading it takes is told from its header before it is begun.
        """
        key = await self._aside(partial(pictures.content_id, body, layout))
        image = self.engine.image(key)
        if image is not None:
            return key, image, True
        limit, nbytes, what = self.settings.pixels, 0, "reading the picture"
        if layout is not None:
            nbytes = 8 * layout.width * layout.height
        else:
            header = await self._aside(partial(pictures.header_of, body))
            if header is not None and header.width * header.height > limit:
                raise _too_many(f"the picture has {header}", limit)
            if header is not None:
                nbytes, what = header.peak, f"reading a picture of {header}"
            else:  # a file that is none, as a rule
                limit = min(limit, self.engine.cache.limit // pictures.DEEP)
        large = self._large if nbytes * LARGE > self.engine.cache.limit else contextlib.nullcontext()
        with contextlib.ExitStack() as held:
            async with large:
                await self._reserve(held, nbytes, what)
                try:
                    image = await self._aside(partial(pictures.read_picture, body, layout, limit))
                except TooManyPixelsError as error:
                    raise _too_many(str(error).partition(";")[0], limit) from None
        self.engine.keep_image(key, image)
        return key, image, False

    async def image(self, request: Request) -> Response:
        """GET and DELETE /v1/images/{image}"""
        key, image = self._image(request)
        if request.method != "DELETE":
            return JSONResponse(_described(key, image))
        self.engine.drop("image", key)
        return Response(status_code=204)

    async def mattes(self, request: Request) -> Response:
        """POST /v1/images/{image}/mattes"""
        self._check_json(request)
        key, image = self._image(request)
        with contextlib.ExitStack() as held:
            held.enter_context(self.engine.cache.using(("image", key)))
            body = await self._body(request, self.settings.json, held)
            ask = await self._aside(partial(wire.read_ask, body, image, self.settings, self.engine.cache.room,
                                            self.engine.find))
            job = self._submit(lambda progress: self.engine.mattes(key, image, ask, progress), "image", key)
        return await self._told(job, request)

    async def picture(self, request: Request) -> Response:
        """GET /v1/images/{image}/pixels"""
        form = wire.form_of(request.query_params, wire.PICTURE_FORMATS, "a picture")
        key, image = self._image(request)
        with contextlib.ExitStack() as held:
            held.enter_context(self.engine.cache.using(("image", key)))
            return await self._sent(image.rgb, None, form, held)

    async def pixels(self, request: Request) -> Response:
        """GET /v1/mattes/{matte}/alpha, mask, foreground, cutout, composite"""
        key, output = request.path_params["matte"], request.path_params.get("output", "foreground")
        if output not in wire.OUTPUTS:
            raise HTTPException(404, f"there is no {output[:40]!r} of a matte; known are {', '.join(wire.OUTPUTS)}")
        form = wire.form_of(request.query_params, wire.OUTPUTS[output], output)
        found = self._matte(request)
        window = wire.window_of(wire.is_cropped(request.query_params), found.alpha)
        ground = self._ground(output, request.query_params)
        with contextlib.ExitStack() as held:
            held.enter_context(self.engine.cache.using(("matte", key)))
            work = partial(self.engine.pixels, key, found, output, ground)
            if output in wire.COLOURED:
                colours = await finished(self.jobs, self._submit(work, "matte", key), request)
            else:
                colours = work(_silent)
            return await self._sent(colours[window], found.alpha[window] if output == "cutout" else None, form, held)

    async def colours(self, request: Request) -> Response:
        """POST /v1/mattes/{matte}/foreground; GET is that of all outputs"""
        if request.method != "POST":
            return await self.pixels(request)
        key, found = request.path_params["matte"], self._matte(request)
        job = self._submit(partial(self.engine.colours, key, found), "matte", key)
        return await self._told(job, request)

    async def _told(self, job: Job, request: Request) -> Response:
        """A job's result, with events on the way where they are wanted."""
        if EVENTS in request.headers.get("accept", ""):
            return Events(self.jobs, job)
        return JSONResponse(await finished(self.jobs, job, request))

    async def combined(self, request: Request) -> Response:
        """POST /v1/images/{image}/combined"""
        self._check_json(request)
        key, image = self._image(request)
        with contextlib.ExitStack() as held:
            held.enter_context(self.engine.cache.using(("image", key)))
            body = await self._body(request, self.settings.json, held)
            alphas = await self._aside(partial(wire.read_several, body, image, self.settings, self.engine.cache.room,
                                               self.engine.find))
            job = self._submit(partial(self.engine.combined, key, image, alphas), "image", key)
            return JSONResponse(await finished(self.jobs, job, request), 201)

    @staticmethod
    def _check_json(request: Request) -> None:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise HTTPException(415, "the Content-Type is not application/json")

    async def one_call(self, request: Request) -> Response:
        """POST /v1/matte"""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
            raise HTTPException(415, "the Content-Type is not multipart/form-data; send the picture as `image` with "
                                     "the fields of the prompt, as in curl -F image=@photo.jpg -F box=120,40,560,700")
        with contextlib.ExitStack() as held:
            form = Form(request.headers["content-type"])
            async for piece in self._pieces(request, self.settings.body, held):
                form.feed(piece)
            form.finish()
            asked = one_call.read(form)
            ground = self._ground(asked.output, {"background": asked.background})
            key, image, _ = await self._read(asked.image, None)
            held.enter_context(self.engine.cache.using(("image", key)))
            ask = await self._aside(partial(one_call.ask_of, asked, image, self.engine.cache.room,
                                            self.engine.find))
            job = self._submit(partial(self.engine.at_once, key, image, ask, asked.output, ground), "image", key)
            described, found, colours = await finished(self.jobs, job, request)
            window = wire.window_of(asked.crop, found.alpha)
            answer = await self._sent(colours[window], found.alpha[window] if asked.output == "cutout" else None,
                                      asked.form, held)
        answer.headers.update({"X-Image": key, "X-Matte": described["matte"], "X-Score": f"{described['score']:.4f}",
                               "X-Empty": str(described["empty"]).lower()})
        return answer

    async def _sent(self, colours: Any, alpha: Any, form: wire.Form, held: contextlib.ExitStack) -> Pixels:
        """Pixels, with alpha when they are a cut-out, as an answer, which takes over what is held for them."""
        height, width, *planes = colours.shape
        channels = (planes[0] if planes else 1) + (alpha is not None)
        await self._reserve(held, wire.encoding_bytes(height * width, channels, form), "the answer")

        def encode() -> tuple[Any, dict[str, str]]:
            return wire.encode_pixels(colours if alpha is None else wire.with_alpha(colours, alpha, form), form)

        return Pixels(*await self._aside(encode), held.pop_all())

    def _ground(self, output: str, query: Mapping[str, str]) -> Ground:
        """What a composite is to be on."""
        text = query.get("background") or "#ffffff"
        if output != "composite":
            if query.get("background"):
                raise Malformed(f"a background was given for the output {output}; expected it with composite")
        elif re.fullmatch("[0-9a-f]{64}", text):
            image = self.engine.image(text)
            if image is None:
                raise _unknown("image", text)
            return image
        return wire.colour_of(text)

    def _submit(self, work: Callable[[ProgressCallback], T], kind: str, key: str) -> Job:
        """Queue work with a picture or matte, which is kept until it is done."""
        using = self.engine.cache.using((kind, key))
        job = self.jobs.submit(work)
        using.__enter__()
        job.result.add_done_callback(lambda _: using.__exit__(None, None, None))
        return job

    async def matte(self, request: Request) -> Response:
        """GET and DELETE /v1/mattes/{matte}"""
        found = self._matte(request)
        if request.method != "DELETE":
            return JSONResponse(describe(request.path_params["matte"], found))
        self.engine.drop("matte", request.path_params["matte"])
        return Response(status_code=204)

    async def shutdown(self, _request: Request) -> Response:
        """POST /v1/shutdown"""
        self._stop()
        return JSONResponse({"stopping": True}, 202)

    async def offer(self, _request: Request) -> Response:
        """POST /v1/open"""
        return JSONResponse({"path": f"/open?code={self._handover.code()}", "seconds": SECONDS}, 201)

    async def open(self, request: Request) -> Response:
        """GET /open: the browser, with the code that it was opened with"""
        code = request.query_params.get("code", "")
        if request.method == "GET" and self._handover.take(code, request.scope["client"], request.scope["server"]):
            return RedirectResponse(f"/#token={self.token}", 303)
        return HTMLResponse(USED_UP.format(seconds=html.escape(f"{SECONDS:g}")), 403)

    async def page(self, _request: Request) -> Response:
        """GET /"""
        return FileResponse(PAGE / "index.html", media_type="text/html; charset=utf-8")

    async def key(self, _request: Request) -> Response:
        """GET /v1/page"""
        return JSONResponse({"key": self._page_key})

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

    async def _body(self, request: Request, limit: int, held: contextlib.ExitStack) -> bytes:
        """The whole body of a request; `held` gets what is to be given back when it is no longer needed."""
        body = io.BytesIO()
        async for piece in self._pieces(request, limit, held):
            body.write(piece)
        return body.getvalue()

    async def _pieces(self, request: Request, limit: int, held: contextlib.ExitStack) -> AsyncIterator[bytes]:
        """The body of a request as it comes. Raises TooLarge, TooSlow, Gone, NoRoom, and QueueFull when too much comes
        in at once."""
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > limit:
            raise TooLarge(f"the body has {length[:20]} bytes; expected at most {limit}")
        size = taken = 0
        held.callback(lambda: self._came(-size))
        more = True
        while more:
            try:
                message = await asyncio.wait_for(request.receive(), self.settings.patience)
            except asyncio.TimeoutError:
                raise TooSlow from None
            if message["type"] == "http.disconnect":
                raise Gone
            piece, more = message.get("body", b""), message.get("more_body", False)
            if size + len(piece) > limit:
                raise TooLarge(f"the body has more than {limit} bytes, the most that is accepted")
            if self._incoming + len(piece) > 2 * self.settings.body:
                raise QueueFull
            size += len(piece)
            self._came(len(piece))
            if size > taken:
                step = max(min(STEP, limit - taken), size - taken)
                await self._reserve(held, step, "a body of this size")
                taken += step
            yield piece

    def _came(self, count: int) -> None:
        self._incoming += count

    async def _reserve(self, held: contextlib.ExitStack, nbytes: int, what: str) -> None:
        """Take memory, which goes back with `held`; waits a while for it. Raises TooLarge and NoRoom."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                self.engine.cache.reserve(nbytes, what)
                break
            except NoRoom:
                if time.monotonic() > until:
                    raise
            await asyncio.sleep(0.05)
        held.callback(self.engine.cache.release, nbytes)

    async def _aside(self, work: Callable[[], T]) -> T:
        """Work for some milliseconds or more, outside of the event loop."""
        return await anyio.to_thread.run_sync(work, limiter=self._threads)


def _silent(_stage: str, _share: float) -> None:
    """Progress of what takes no time."""


def _too_many(what: str, limit: int) -> TooLarge:
    return TooLarge(f"{what}, more than this service's limit of {limit / 1e6:.1f} megapixels; make it smaller, or "
                    "start the service with more --memory")


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


def create_app(service: Service, access: Access, connections: Connections) -> ASGIApp:
    """The ASGI application of a service. connections: learns who has shown the token."""
    service.token = access.token

    async def failed(_request: Request, error: Exception) -> Response:
        headers = error.headers if isinstance(error, HTTPException) else None  # 405: Allow
        return problem(*explain(error, service.jobs.stopping), headers)

    routes = [
        Route("/", service.page),
        Route("/open", service.open),
        Route("/openapi.json", service.openapi),
        Route("/v1/status", service.status),
        Route("/v1/shutdown", service.shutdown, methods=["POST"]),
        Route("/v1/page", service.key),
        Route("/v1/open", service.offer, methods=["POST"]),
        Route("/v1/matte", service.one_call, methods=["POST"]),
        Route("/v1/images", service.upload, methods=["POST"]),
        Route("/v1/images/{image}", service.image, methods=["GET", "DELETE"]),
        Route("/v1/images/{image}/pixels", service.picture),
        Route("/v1/images/{image}/mattes", service.mattes, methods=["POST"]),
        Route("/v1/images/{image}/combined", service.combined, methods=["POST"]),
        Route("/v1/mattes/{matte}", service.matte, methods=["GET", "DELETE"]),
        Route("/v1/mattes/{matte}/foreground", service.colours, methods=["GET", "POST"]),
        Route("/v1/mattes/{matte}/{output}", service.pixels),
        Mount("/page", StaticFiles(directory=PAGE)),
    ]
    expected: tuple[type[Exception], ...] = (
        HTTPException, MattingError, Malformed, TooLarge, NoRoom, QueueFull, Stopping, Gone, TooSlow, MemoryError)
    app = Starlette(routes=routes, exception_handlers=dict.fromkeys((*expected, Exception), failed))
    return Guard(_Observed(app, service), access, connections.trust)
