"""Connections: who says nothing is hung up on, and who has shown the token always finds a place.

Anybody on the machine may connect; only the first request tells who has the token. So connections that have not shown
it are few, and when there are more, the one that has waited longest goes. What goes wrong before a request can be
handled is told as JSON, as every other error.
"""

from __future__ import annotations

import asyncio
import json
import time
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

STRANGERS, TRUSTED = 128, 256
"""Connections without and with the token."""
HEADERS = 10.0
"""Seconds that a request's headers may take, from the start of the connection or the end of the request before."""
SWEEP = 1.0


class Connections:
    """All connections of a service."""

    def __init__(self, strangers: int = STRANGERS, trusted: int = TRUSTED, headers: float = HEADERS) -> None:
        """strangers, trusted: how many. headers: seconds."""
        self._limits = strangers, trusted
        self.headers = headers
        self._open: dict[Any, Connection] = {}
        self._sweeping: asyncio.Task[None] | None = None

    def protocol(self, *arguments: Any, **options: Any) -> Connection:
        """A protocol for a new connection, as uvicorn asks for it."""
        connection = Connection(*arguments, **options)
        connection.all = self
        return connection

    def add(self, connection: Connection) -> None:
        """Count a new connection; another one may go for it."""
        self._open[connection.client or connection] = connection
        self._make_room(False)
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().create_task(self._sweep())

    def remove(self, connection: Connection) -> None:
        """Count a connection no longer."""
        self._open.pop(connection.client or connection, None)

    def trust(self, client: Any) -> None:
        """The connection from this address has shown the token."""
        connection = self._open.get(tuple(client) if client else None)
        if connection is not None and not connection.trusted:
            connection.trusted = True
            self._make_room(True)

    def _make_room(self, trusted: bool) -> None:
        """End the connections that have waited longest, where there are too many."""
        same = [connection for connection in self._open.values() if connection.trusted == trusted]
        excess = len(same) - self._limits[trusted]
        if excess > 0:
            # Those that have a request in work did not only wait; with the token they may stay, and the queue ends.
            waiting = [connection for connection in same if not (trusted and connection.busy)]
            for connection in sorted(waiting, key=lambda one: (one.busy, one.since))[:excess]:
                connection.refuse(503, "TooManyConnections", "too many connections are open and this one has waited "
                                                             "longest; close those that are not used, and try again")

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(SWEEP, self.headers / 4))
            now = time.monotonic()
            for connection in list(self._open.values()):
                if not connection.busy and now - connection.since > self.headers:
                    connection.refuse(408, "TooSlow", f"no whole request has come for {self.headers:g} seconds; "
                                                      "connect again and send it")


class Connection(H11Protocol):  # type: ignore[misc, unused-ignore]
    """uvicorn's connection, with an eye on how long it waits."""

    all: Connections
    trusted = False

    def connection_made(self, transport: Any) -> None:
        """Count it."""
        super().connection_made(transport)
        self.since = time.monotonic()
        self.all.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no longer."""
        self.all.remove(self)
        super().connection_lost(exc)

    @property
    def busy(self) -> bool:
        """Whether a request is in work."""
        return self.cycle is not None and not self.cycle.response_complete

    def on_response_complete(self) -> None:
        """From here on it waits for the next request; one that comes in drops does not put its end off."""
        self.since = time.monotonic()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Something came that is no HTTP."""
        self.refuse(400, "Malformed", "what was sent is no HTTP/1.1 request, or its headers are too long")

    def refuse(self, status: int, kind: str, message: str) -> None:
        """Say why, if that can be said between two requests, and close the connection."""
        if self.transport is None or self.transport.is_closing():
            return
        if not self.busy and self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps({"error": {"kind": kind, "message": message}}).encode()
            head = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "Content-Type: application/json",
                    f"Content-Length: {len(body)}", "Connection: close"]
            self.transport.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        self.transport.close()
