"""Where a running service says how to reach it: `server.json` in the runtime folder, readable by this user alone.

One service a folder: it holds the lock `server.lock` as long as it lives, and the system lets go of that when it dies,
however it dies. A `server.json` that nobody answers behind is stale and replaced.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sys
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import ServiceError

PROTOCOL = 1
HOST = "127.0.0.1"


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


def runtime_folder() -> Path:
    """The folder of the endpoint, the log and the locks: MATTING_ANYTHING_RUNTIME, else in the user's cache folder.

    Written literally, not through XDG variables: Flatpak redirects those, and its programs must find it too.
    """
    if chosen := os.environ.get("MATTING_ANYTHING_RUNTIME"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "matting_anything"
    return Path.home() / ".cache" / "matting_anything"


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


def write_endpoint(endpoint: Endpoint) -> None:
    """Write the endpoint for this user alone, whole or not at all."""
    path = endpoint_path()
    temporary = path.with_name(f".server-{secrets.token_hex(6)}.tmp")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(asdict(endpoint), file)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
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


def running() -> Endpoint | None:
    """The service that answers behind the endpoint file; None when the file is missing or stale."""
    endpoint = read_endpoint()
    return endpoint if endpoint is not None and _call(endpoint, "GET", "/v1/status") == 200 else None


def stop_running(patience: float = 20.0) -> Endpoint | None:
    """Ask the running service to stop and wait until it has; None when none runs.

    Raises ServiceError when it still answers after `patience` seconds.
    """
    endpoint = running()
    if endpoint is None:
        return None
    _call(endpoint, "POST", "/v1/shutdown")
    until = time.monotonic() + patience
    while _call(endpoint, "GET", "/v1/status") is not None:
        if time.monotonic() > until:
            raise ServiceError(f"the service with process id {endpoint.pid} at {endpoint.url} does not stop; end that "
                               "process")
        time.sleep(0.05)
    return endpoint


def _call(endpoint: Endpoint, method: str, path: str) -> int | None:
    """The status of the answer; None when nobody answers."""
    import http.client

    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=3)
    try:
        connection.request(method, path, headers={"Authorization": f"Bearer {endpoint.token}"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
