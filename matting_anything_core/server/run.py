"""The life of a service: lock, model, port, endpoint file, requests, and a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import filelock
import uvicorn

from .. import __version__
from ..errors import MattingError, ServiceError
from . import endpoint as endpoints
from .app import Service, create_app
from .endpoint import HOST, PROTOCOL, Endpoint
from .engine import Engine
from .log import log, open_log
from .settings import Settings

if TYPE_CHECKING:
    from ..model import MattingAnything

STOP_PATIENCE = 10.0
"""Seconds after which a job that does not let itself be cancelled is left behind, with the process."""
CONNECTIONS = 256


def serve(
    settings: Settings,
    *,
    model: MattingAnything | None = None,
    port: int = 0,
    log_to: str | None = None,
    force: bool = False,
    ready: Callable[[Endpoint], None] | None = None,
) -> None:
    """Serve until a signal, a client or idleness ends it.

    model: a loaded one to begin with, instead of settings.model. port: 0 for any free one. log_to: a file, "-" for
    standard error, None for `server.log` in the runtime folder. force: stop a service that runs already and take its
    place. ready: called once with the endpoint.

    Raises ServiceError: one runs already, the port is taken; WeightsError and DeviceError when the model cannot be
    loaded. Then nothing is left behind.
    """
    folder = endpoints.prepare_folder()
    with _lock(folder, force), _listening(port) as listener:
        try:
            open_log(None if log_to == "-" else folder / "server.log" if log_to is None else Path(log_to))
        except OSError as error:
            raise ServiceError(f"the log {log_to!r} cannot be written: {error.strerror or error}") from None
        try:
            engine = Engine(settings, model)
            engine.load()
        except MattingError as error:
            log("cannot start", logging.ERROR, kind=type(error).__name__, message=str(error))
            raise
        mine = Endpoint(protocol=PROTOCOL, version=__version__, host=HOST, port=listener.getsockname()[1],
                        token=secrets.token_urlsafe(32), pid=os.getpid(), started=round(time.time(), 3))
        clean = asyncio.run(_serve(settings, engine, listener, mine, ready))
    if not clean:
        # The job thread sits in a computation that takes no orders; waiting for it would be for ever.
        log("left a job behind", logging.ERROR)
        sys.stdout.flush()
        os._exit(1)


@contextlib.contextmanager
def _lock(folder: Path, force: bool) -> Iterator[None]:
    """Be the one service of this folder. Raises ServiceError that names the one that is."""
    lock = filelock.FileLock(folder / "server.lock")
    until = time.monotonic() + 20
    if force:
        endpoints.stop_running()
    while True:
        try:
            lock.acquire(timeout=0.2)
            break
        except filelock.Timeout:
            pass
        # Held, and nobody answers: one that is just starting, or just stopping.
        other = endpoints.running()
        if other is not None and force:
            endpoints.stop_running()
        elif other is not None:
            raise ServiceError(f"a service runs already at {other.url} (process id {other.pid}); use that one, stop it "
                               "with `matting-anything serve --stop`, or take its place with --force")
        if time.monotonic() > until:
            raise ServiceError(f"another service holds {folder / 'server.lock'} but does not answer; end its process, "
                               "or set MATTING_ANYTHING_RUNTIME to another folder")
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    """A socket bound to the port of 127.0.0.1. Raises ServiceError when it is taken."""
    # asyncio turns Nagle's algorithm off only where TCP is named; with it, answers would wait for 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform == "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            raise ServiceError(f"the port {port} of {HOST} cannot be used ({error.strerror or error}); give another "
                               "--port, or leave it out for a free one") from None
        yield listener
    finally:
        listener.close()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `_serve`: uvicorn would raise them once more when it is done."""
        yield


async def _serve(settings: Settings, engine: Engine, listener: socket.socket, mine: Endpoint,
                 ready: Callable[[Endpoint], None] | None) -> bool:
    """Serve until told to stop. Returns whether no job was left behind."""
    stop = asyncio.Event()
    service = Service(settings, engine, stop.set)
    server = _Server(uvicorn.Config(
        create_app(service, port=mine.port, token=mine.token), lifespan="off", ws="none", log_config=None,
        access_log=False, limit_concurrency=CONNECTIONS, server_header=False, timeout_graceful_shutdown=5,
    ))
    with _signals(stop.set):
        serving = asyncio.create_task(server.serve([listener]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.005)
        endpoints.write_endpoint(mine)
        try:
            log("started", version=__version__, port=mine.port, pid=mine.pid, model=settings.model,
                device=engine.status()["device"])
            if ready is not None:
                ready(mine)
            await _until_stopped(stop, service, serving)
        finally:
            endpoints.remove_endpoint(mine)
        log("stopping", running=service.jobs.running, waiting=service.jobs.waiting)
        clean = await service.jobs.stop(settings.grace, STOP_PATIENCE)
        server.should_exit = True
        await serving
    log("stopped")
    return clean


async def _until_stopped(stop: asyncio.Event, service: Service, serving: asyncio.Task[None]) -> None:
    """Wait for the event, for idleness, or for a server that ended by itself."""
    idle = service.settings.idle_exit
    step = 1.0 if not idle else min(1.0, idle / 4)
    while not stop.is_set() and not serving.done():
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(stop.wait(), step)
        if idle and not service.active and time.monotonic() - service.last_used > idle:
            log("idle", seconds=idle)
            return


@contextlib.contextmanager
def _signals(stop: Callable[[], object]) -> Iterator[None]:
    """SIGINT, SIGTERM and a closed console stop the service; the second time SIGINT ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()

    def handler(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_IGN)
        loop.call_soon_threadsafe(stop)

    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    before = {number: signal.signal(number, handler)
              for number in (getattr(signal, name, None) for name in names) if number is not None}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
