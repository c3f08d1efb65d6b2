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
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, cast

import filelock
import uvicorn

from .. import __version__
from ..errors import MattingError, ServiceError
from . import endpoint as endpoints
from .app import Service, create_app
from .connections import Connections
from .endpoint import HOST, PROTOCOL, Endpoint
from .engine import Engine
from .guard import Access
from .log import log, open_log
from .remembered import Remembered, recall, remember
from .settings import Settings

if TYPE_CHECKING:
    from ..model import MattingAnything

STOP_PATIENCE = 10.0
"""Seconds after which a job that does not let itself be cancelled is left behind, with the process."""
LOCK_PATIENCE = 20.0
"""Seconds that another service has to answer or to let go of the lock: it may be just starting or stopping."""
BACKLOG = 128
"""Connections that wait to be taken; they are all taken at once, and each needs a file of the process."""
SHORTEST_TOKEN = 16


def serve(
    settings: Settings,
    *,
    model: MattingAnything | None = None,
    port: int = 0,
    host: str | None = None,
    names: Collection[str] = (),
    token: str | None = None,
    log_to: str | None = None,
    force: bool = False,
    ready: Callable[[Endpoint], None] | None = None,
) -> None:
    """Serve until a signal, a client or idleness ends it.

    model: a loaded one to begin with, instead of settings.model. port: 0 for the last service's, or any free one.
    log_to: a file, "-" for standard error, None for `server.log` in the runtime folder. force: stop a service that runs
    already and take its place. ready: called once with the endpoint.

    host: an address to listen on besides 127.0.0.1, such as 0.0.0.0, for other machines; they need the token as well.
    names: under which names they may ask for it there, besides addresses of digits. token: what requests must show, at
    least 16 printable characters; a new one unless given.

    Raises ServiceError: one runs already, the port is taken; WeightsError and DeviceError when the model cannot be
    loaded. Then nothing is left behind.
    """
    folder = endpoints.prepare_folder()
    token = secrets.token_urlsafe(32) if token is None else _checked(token)
    with _lock(force), _listening_again(port, host) as (listeners, page):
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
        mine = Endpoint(protocol=PROTOCOL, version=__version__, host=HOST, port=listeners[0].getsockname()[1],
                        token=token, pid=os.getpid(), started=round(time.time(), 3))
        others = frozenset(name.lower() for name in names) | {socket.gethostname().lower(), str(host).lower()}
        access = Access(token, mine.port, None if host is None else others)
        remember(Remembered(mine.port, page.key))
        clean = asyncio.run(_serve(settings, engine, listeners, mine, access, page.key, ready))
    if not clean:
        # The job thread sits in a computation that takes no orders; waiting for it would be for ever.
        log("left a job behind", logging.ERROR)
        sys.stdout.flush()
        os._exit(1)


def _checked(token: str) -> str:
    if len(token) < SHORTEST_TOKEN or not all("!" <= sign <= "~" for sign in token):
        raise ServiceError(f"the token given has {len(token)} characters, or some that no header may hold; expected "
                           f"at least {SHORTEST_TOKEN} printable ones without spaces, as of `openssl rand -hex 32`")
    return token


@contextlib.contextmanager
def _lock(force: bool) -> Iterator[None]:
    """Be the one service of this folder. Raises ServiceError that names the one that is."""
    lock = filelock.FileLock(endpoints.lock_path())
    until = time.monotonic() + LOCK_PATIENCE
    if force:
        endpoints.stop_running()
    while True:
        try:
            lock.acquire(timeout=0.2)
            break
        except filelock.Timeout:
            pass
        # Held, and nobody answers: one that is just starting, or just stopping, or hangs.
        other = endpoints.running()
        if other is not None and force:
            endpoints.stop_running()
        elif other is not None:
            raise ServiceError(f"a service runs already at {other.url} (process id {other.pid}); use that one, stop it "
                               "with `matting-anything serve --stop`, or take its place with --force")
        if time.monotonic() > until:
            raise ServiceError(endpoints.unanswering(endpoints.read_endpoint()))
    with endpoints.locked(lock):
        yield


@contextlib.contextmanager
def _listening_again(port: int, host: str | None) -> Iterator[tuple[list[socket.socket], Remembered]]:
    """As `_listening`, at the last service's port where none is asked for and that is free; and what that one left."""
    page = recall()
    with contextlib.ExitStack() as stack:
        try:
            listeners = stack.enter_context(_listening(port or page.port, host))
        except ServiceError:
            if port:
                raise
            listeners = stack.enter_context(_listening(0, host))
        yield listeners, page


@contextlib.contextmanager
def _listening(port: int, host: str | None = None) -> Iterator[list[socket.socket]]:
    """Sockets bound to the port of 127.0.0.1, and of another address where one is given.

    Raises ServiceError when the port is taken, or the address is none of this machine's.
    """
    with contextlib.ExitStack() as stack:
        if host is None or _is_local(host):
            yield [stack.enter_context(_bound(HOST, port))]
            return
        first = stack.enter_context(_bound(host, port))
        if _is_every(host):  # 127.0.0.1 is among them
            yield [first]
            return
        yield [stack.enter_context(_bound(HOST, first.getsockname()[1])), first]


def _is_local(host: str) -> bool:
    return host in (HOST, "localhost")


def _is_every(host: str) -> bool:
    return host in ("0.0.0.0", "::")


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, kind, _protocol, _name, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ServiceError(f"the host {host!r} is no address of this machine ({reason}); expected one such as 0.0.0.0 "
                           "(all of them) or 192.168.1.20") from None
    # asyncio turns Nagle's algorithm off only where TCP is named; with it, answers would wait for 40 ms.
    listener = socket.socket(family, kind, socket.IPPROTO_TCP)
    try:
        if sys.platform == "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and host == "::":
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ServiceError(f"the port {port} of {host} cannot be used ({error.strerror or error}); give another "
                           "--port, or leave it out for a free one") from None
    return listener


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `_serve`: uvicorn would raise them once more when it is done."""
        yield


async def _serve(settings: Settings, engine: Engine, listeners: list[socket.socket], mine: Endpoint, access: Access,
                 page_key: str, ready: Callable[[Endpoint], None] | None) -> bool:
    """Serve until told to stop. Returns whether no job was left behind."""
    stop = asyncio.Event()
    service = Service(settings, engine, stop.set, page_key)
    connections = Connections(settings.strangers, headers=settings.headers)
    server = _Server(uvicorn.Config(
        create_app(service, access, connections), http=cast("type[asyncio.Protocol]", connections.protocol),
        lifespan="off", ws="none", log_config=None, access_log=False, server_header=False, backlog=BACKLOG,
        proxy_headers=False, timeout_graceful_shutdown=5,
    ))
    with _signals(stop.set):
        serving = asyncio.create_task(server.serve(listeners))
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
