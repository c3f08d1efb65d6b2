"""A client of the local service: find it or start it, send a picture, ask for a matte, fetch the result.

The service answers on 127.0.0.1 only. Its port and the token that opens it are in `server.json`, readable for this user
alone. Closing a connection cancels what was asked on it; that is how GIMP's Cancel, which ends this process, works.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import launch
from patience import patiently
from places import INSTALL, runtime_folder
from problem import Problem
from translation import _

PROTOCOL = 1
QUICK, SLOW, PATIENT = 10.0, 60.0, 1800.0
"""Seconds without a byte until the service counts as hung: for its status; while it mattes, when it says every 2 s that
it is alive; while it makes clean colours, when it says nothing."""
STRIP = 4 << 20
"""Bytes of pixels that are handled at a time."""


@dataclass(frozen=True)
class Service:
    """A running service: where it is, and what it said about itself (`status`)."""

    port: int
    token: str = field(repr=False)
    status: dict[str, Any] = field(repr=False)

    def upload(self, strips: Iterable[bytes], width: int, height: int, channels: int, dtype: str) -> str:
        """Send a picture as raw pixels, row by row; returns its name at the service. dtype: "u8" or "u16"."""
        self._check_size(width, height, channels * int(dtype[1:]) // 8)
        length = width * height * channels * int(dtype[1:]) // 8
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(length)}
        path = f"/v1/images?width={width}&height={height}&channels={channels}&dtype={dtype}"
        with self._answer("POST", path, strips, headers) as answer:
            return str(_json(answer)["image"])

    def _check_size(self, width: int, height: int, pixel_bytes: int) -> None:
        limits = self.status.get("limits") or {}
        pixels, size = width * height, width * height * pixel_bytes
        if pixels > limits.get("pixels", pixels) or size > limits.get("body_bytes", size):
            raise Problem(_("The layer has {width} × {height} pixels ({size} MB); the service takes up to {pixels} "
                            "megapixels and {limit} MB. Scale it or crop it to what you need.").format(
                                width=width, height=height, size=size // 1_000_000,
                                pixels=limits.get("pixels", 0) // 1_000_000,
                                limit=limits.get("body_bytes", 0) // 1_000_000))

    def matte(self, image: str, prompt: dict[str, Any], model: str, told: Callable[[dict[str, Any]], None]) -> str:
        """Matte one object; returns the matte's name at the service. `told` gets every event while it works."""
        body = json.dumps({"prompts": [prompt], "model": model}).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/x-ndjson"}
        with self._answer("POST", f"/v1/images/{image}/mattes", body, headers) as answer:
            for line in answer:
                event = json.loads(line)
                if event.get("event") == "error":
                    raise _refused(event)
                if event.get("event") == "done":
                    return str(event["mattes"][0]["matte"])
                told(event)
        raise self._lost(None)

    def fetch(
        self, matte: str, what: str, dtype: str, size: tuple[int, int, int], meanwhile: launch.Wait
    ) -> Iterator[bytes]:
        """A matte's "alpha" or "cutout" in strips of whole rows, top to bottom. size: width, height, channels.

        `meanwhile` is called until the first row is there.
        """
        width, height, channels = size
        row = width * channels * int(dtype[1:]) // 8
        with self._answer("GET", f"/v1/mattes/{matte}/{what}?format={dtype}", None, {}, meanwhile) as answer:
            said = answer.getheader("X-Width"), answer.getheader("X-Height"), answer.getheader("X-Channels")
            if said != (str(width), str(height), str(channels)):
                raise Problem(_("The service sent a picture of another size ({said}). Run “{command}” so that both are "
                                "of the same version.").format(said=" × ".join(map(str, said)), command=INSTALL))
            rows = max(1, STRIP // row)
            for top in range(0, height, rows):
                wanted = row * min(rows, height - top)
                data = answer.read(wanted)
                if len(data) != wanted:
                    raise self._lost(None)
                yield data

    def forget(self, matte: str) -> None:
        """Let the service free a matte's memory, unless it has done so."""
        with suppress(Problem), self._answer("DELETE", f"/v1/mattes/{matte}", None, {}):
            pass

    @contextmanager
    def _answer(
        self, method: str, path: str, body: bytes | Iterable[bytes] | None, headers: dict[str, str],
        meanwhile: launch.Wait | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer to one request on a connection of its own, which closes at the end. Raises Problem."""
        timeout = SLOW if meanwhile is None else PATIENT
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout, blocksize=STRIP)
        headers = {"Authorization": f"Bearer {self.token}", **headers}
        try:
            # It may refuse before the end of the body; then it has said why.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, body, headers)
            answer = connection.getresponse() if meanwhile is None else patiently(connection.getresponse, meanwhile)
            if answer.status >= 400:
                raise _refused(_json(answer).get("error") or {"message": answer.reason}, answer.status)
            yield answer
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            raise self._lost(error, timeout) from error
        finally:
            connection.close()

    def _lost(self, error: Exception | None, timeout: float = SLOW) -> Problem:
        if isinstance(error, TimeoutError):
            return Problem(_("The service has not answered for {seconds} seconds. End it with “{command}” and try "
                             "again.").format(seconds=int(timeout), command="matting-anything serve --stop"))
        detail = f" ({type(error).__name__}: {error})" if error else ""
        return Problem(_("The service ended in the middle of its work{detail}. Try again: it is started anew. If that "
                         "repeats, look into {log}.").format(detail=detail, log=runtime_folder() / "server.log"))


def _json(answer: http.client.HTTPResponse) -> dict[str, Any]:
    try:
        value = json.loads(answer.read(1 << 20))
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {}


def _refused(error: dict[str, Any], status: int = 0) -> Problem:
    """What the service says about a request it does not take, with the remedy where its text has none."""
    kind, message = str(error.get("kind", "")), str(error.get("message", ""))
    if status == 429:
        message = _("The service is busy with other pictures. Try again in a moment.")
    elif status == 503:
        message = _("The service is just ending. Try again: it is started anew.")
    elif status == 404:
        message = _("The service could not keep the picture: others took its memory. Try again.")
    elif kind == "NothingFoundError":
        message = _("Nothing was found: {message}. Use other words, or select a box around the subject.") \
            .format(message=message.rstrip("."))
    message = message or _("The service refused (status {status}).").format(status=status)
    return Problem(message[:1].upper() + message[1:], kind)


def find(wait: launch.Wait) -> Service:
    """The running service, or one that is started now. Raises Problem with the remedy."""
    return running() or launch.start(running, wait)


def running() -> Service | None:
    """The service that has left its address, if it answers; a leftover of one that is gone counts for nothing.

    Raises Problem when it speaks another version of the protocol, or does not take the token that it has left.
    """
    try:
        endpoint = json.loads((runtime_folder() / "server.json").read_text(encoding="utf-8"))
        port, token = int(endpoint["port"]), str(endpoint["token"])
        status = _status(port, token)
        process = endpoint.get("pid")
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
        return None
    if status is None:
        return None
    if (status.get("error") or {}).get("kind") == "Unauthorized":
        raise Problem(_("The running service does not take the token of {file}. End the process {process}, delete that "
                        "file and try again.").format(file=runtime_folder() / "server.json", process=process))
    if status.get("protocol") != PROTOCOL:
        raise Problem(_("The running service speaks version {theirs} of the protocol, this plug-in version {ours}. "
                        "End it with “{stop}”, then run “{command}”.").format(
                            theirs=status.get("protocol"), ours=PROTOCOL, stop="matting-anything serve --stop",
                            command=INSTALL))
    return Service(port, token, status)


def _status(port: int, token: str) -> dict[str, Any] | None:
    """What the service says about itself, or the error it answers with; None when that is no service."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=QUICK)
    try:
        connection.request("GET", "/v1/status", headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return _json(answer) or None if answer.status in (200, 401) else None
    finally:
        connection.close()
