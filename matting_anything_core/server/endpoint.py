"""Where a running service says how to reach it: `server.json` in the runtime folder, readable by this user alone.

One service a folder: it holds the lock `server.lock` as long as it lives, and the system lets go of that when it dies,
however it dies. `server.pid` says which process holds it, from the start on. A `server.json` that nobody answers behind
is stale and replaced.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import filelock

from ..client import PROTOCOL, STOP, runtime_folder
from ..errors import ServiceError
from ..replacing import replace_text

__all__ = ["HOST", "PROTOCOL", "Endpoint", "Stopped", "end_process", "held", "lock_path", "locked", "prepare_folder",
           "process_of", "read_endpoint", "remove_endpoint", "running", "runtime_folder", "state", "stop_running",
           "unanswering", "write_endpoint"]

HOST = "127.0.0.1"
ANSWER = 3.0
"""Seconds in which a service that is well answers."""
ENDING = 15.0
"""Seconds that a service has to end by itself when it is told to by a signal."""


@dataclass(frozen=True)
class Endpoint:
    """How to reach a service. started: seconds since 1970."""

    protocol: int
    version: str
    host: str
    port: int
    token: str
    pid: int
    started: float

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://{self.host}:{self.port}"


@dataclass(frozen=True)
class Stopped:
    """A service that has been stopped. url: None when it had not got as far. asked: whether it did as it was asked;
    else its process was ended."""

    url: str | None
    pid: int
    asked: bool


def prepare_folder() -> Path:
    """The runtime folder, made if needed, closed to other users. Raises ServiceError when that cannot be."""
    folder = runtime_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if sys.platform != "win32":
            if folder.stat().st_uid != os.getuid():
                raise ServiceError(f"the runtime folder {folder} belongs to another user, who could read what passes; "
                                   "set MATTING_ANYTHING_RUNTIME to a folder of your own")
            folder.chmod(0o700)
    except OSError as error:
        raise ServiceError(f"the runtime folder {folder} cannot be made: {error.strerror or error}; set "
                           "MATTING_ANYTHING_RUNTIME to a folder of your own") from None
    return folder


def endpoint_path() -> Path:
    """The file of the endpoint."""
    return runtime_folder() / "server.json"


def lock_path() -> Path:
    """The file whose lock a service holds."""
    return runtime_folder() / "server.lock"


def _process_path() -> Path:
    return runtime_folder() / "server.pid"


def write_endpoint(endpoint: Endpoint) -> None:
    """Write the endpoint for this user alone, whole or not at all."""
    path = endpoint_path()
    try:
        replace_text(path, json.dumps(asdict(endpoint)), private=True)
    except OSError as error:
        raise ServiceError(f"{path} cannot be written: {error.strerror or error}") from None


def read_endpoint() -> Endpoint | None:
    """The endpoint that is written down, whether or not somebody answers there; None when there is none to be read."""
    try:
        content: Any = json.loads(endpoint_path().read_text(encoding="utf-8"))
        endpoint = Endpoint(**{field.name: content[field.name] for field in fields(Endpoint)})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return endpoint if isinstance(endpoint.port, int) and 0 < endpoint.port < 65536 and endpoint.host == HOST else None


def remove_endpoint(mine: Endpoint) -> None:
    """Remove the endpoint, if it is still this one."""
    if read_endpoint() == mine:
        with contextlib.suppress(OSError):
            endpoint_path().unlink()


@contextlib.contextmanager
def locked(lock: filelock.BaseFileLock) -> Iterator[None]:
    """Say which process holds the lock, as long as it does; the lock is released at the end."""
    path = _process_path()
    try:
        with contextlib.suppress(OSError):  # on a full disk it goes without
            path.write_text(f"{os.getpid()}\n", encoding="ascii")
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        lock.release()


def held() -> bool:
    """Whether a service holds the lock of the runtime folder: one lives, whether or not it answers."""
    if not lock_path().exists():
        return False
    lock = filelock.FileLock(lock_path())
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return True
    except OSError:
        return False
    lock.release()
    return False


def process_of(endpoint: Endpoint | None) -> int | None:
    """The process that holds the lock, which somebody does; None when that cannot be told."""
    try:
        number = int(_process_path().read_text(encoding="ascii"))
    except (OSError, ValueError):
        number = 0
    if number > 1:
        return number
    return endpoint.pid if endpoint is not None and isinstance(endpoint.pid, int) and endpoint.pid > 1 else None


def state(endpoint: Endpoint) -> Literal["answers", "silent", "gone"]:
    """Whether a service answers behind an endpoint; silent: something takes the connection but says nothing."""
    found = _call(endpoint, "GET", "/v1/status", ANSWER)
    return "silent" if found == 0 else "answers" if found == 200 else "gone"


def running() -> Endpoint | None:
    """The service that answers behind the endpoint file; None when the file is missing or stale."""
    endpoint = read_endpoint()
    return endpoint if endpoint is not None and state(endpoint) == "answers" else None


def stop_running(patience: float = 20.0) -> Stopped | None:
    """Stop the service of the runtime folder and wait until it has ended; None when none runs.

    One that does not answer, or does not end within `patience` seconds, is ended by its process. Raises ServiceError
    when that cannot be.
    """
    endpoint = read_endpoint()
    found = "gone" if endpoint is None else state(endpoint)
    if endpoint is not None and found == "answers":
        _call(endpoint, "POST", "/v1/shutdown", ANSWER)
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if _call(endpoint, "GET", "/v1/status", ANSWER) is None:
                return Stopped(endpoint.url, endpoint.pid, True)
            time.sleep(0.05)
    elif not held():
        return None
    process = process_of(endpoint)
    if process is None or process == os.getpid():
        raise ServiceError(f"a service holds {lock_path()} but does not answer, and which process it is cannot be "
                           "told; end it, or set MATTING_ANYTHING_RUNTIME to another folder")
    end_process(process)
    if endpoint is not None:
        remove_endpoint(endpoint)
    with contextlib.suppress(OSError):
        _process_path().unlink()
    return Stopped(None if endpoint is None else endpoint.url, process, False)


def end_process(process: int) -> None:
    """End the process that holds the lock: it is told to, and when it does not, it is killed. Raises ServiceError."""
    for name, patience in (("SIGTERM", ENDING), ("SIGKILL", 5.0)):
        number = getattr(signal, name, signal.SIGTERM)  # on Windows SIGTERM kills
        try:
            os.kill(process, number)
            if sys.platform != "win32":
                os.kill(process, signal.SIGCONT)  # one that is stopped hears of nothing else
        except ProcessLookupError:
            pass
        except OSError as error:
            raise ServiceError(f"the service's process {process} cannot be ended: {error.strerror or error}; end it "
                               "yourself") from None
        until = time.monotonic() + patience
        while held():
            if time.monotonic() > until:
                break
            time.sleep(0.05)
        else:
            return
    raise ServiceError(f"the service's process {process} does not end, not even when it is killed; the machine may "
                       "have to be restarted")


def unanswering(endpoint: Endpoint | None) -> str:
    """What to say of a service that holds the lock and does not answer."""
    process = process_of(endpoint)
    who = "a service" if process is None else f"the service with process id {process}"
    where = "" if endpoint is None else f" at {endpoint.url}"
    return (f"{who}{where} holds {lock_path()} but does not answer; end it with `{STOP}`, take its place with --force, "
            "or set MATTING_ANYTHING_RUNTIME to another folder")


def _call(endpoint: Endpoint, method: str, path: str, timeout: float) -> int | None:
    """The status of the answer; 0 when the connection is taken and no answer comes, None when nobody is there."""
    import http.client

    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=timeout)
    try:
        connection.request(method, path, headers={"Authorization": f"Bearer {endpoint.token}"})
        return connection.getresponse().status
    except TimeoutError:
        return 0
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()
