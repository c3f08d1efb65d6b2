"""Who is let in: requests to this host name, from no other web page, with the token of this user's endpoint file.

A page of another site can make a browser send requests to 127.0.0.1, under that name or, by DNS rebinding, under its
own. Host and Origin tell both, and the token is what such a page cannot know.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .answers import problem

SECURITY = (
    (b"content-security-policy", b"default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
                                 b"form-action 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"), (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"),
)
"""Headers of every answer."""


@dataclass(frozen=True)
class Access:
    """What lets a request in.

    token: what `Authorization: Bearer` must carry. port: the one that is listened on. names: under which names others
    may ask as well, where the service listens for other machines (None: it does not). There the port may be another
    one, since containers and proxies have their own, and addresses of digits are let in: no rebinding leads to those.
    """

    token: str = field(repr=False)
    port: int
    names: frozenset[str] | None = None

    def host(self, host: str) -> bool:
        """Whether a Host is this service's own."""
        if host.lower() in self.own():
            return True
        if self.names is None:
            return False
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        name = name.lower()
        try:
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return name == "localhost" or name in self.names
        return True

    def origin(self, origin: str, host: str) -> bool:
        """Whether an Origin is a page of this service itself."""
        origin = origin.lower()
        if self.names is None:
            return origin in {f"http://{own}" for own in self.own()}
        return origin in (f"http://{host.lower()}", f"https://{host.lower()}")  # https: behind a proxy

    def own(self) -> set[str]:
        """The names under which it is asked on this machine."""
        return {f"127.0.0.1:{self.port}", f"localhost:{self.port}"}


class Guard:
    """The outermost layer of the service: refuses before anything of a request's body is read."""

    def __init__(self, app: ASGIApp, access: Access, trust: Callable[[Any], None]) -> None:
        """trust: called with the address of a client that has shown the token."""
        self._app = app
        self._access = access
        self._token = access.token.encode()
        self._trust = trust

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with 401 or 403."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *SECURITY]
            await send(message)

        refusal = self._refusal(scope["path"], Headers(scope=scope), scope.get("client"))
        await (refusal or self._app)(scope, receive, secured)

    def _refusal(self, path: str, headers: Headers, client: Any) -> Response | None:
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not self._access.host(hosts[0]):
            more = "" if self._access.names is None else "; other names are let in with --allow-host"
            return problem(403, "Forbidden", f"the Host is {', '.join(hosts)[:80]!r}; expected one of "
                                             f"{', '.join(sorted(self._access.own()))}{more}")
        if not all(self._access.origin(origin, hosts[0]) for origin in origins):
            return problem(403, "Forbidden", f"the Origin is {', '.join(origins)[:80]!r}; other sites may not use this "
                                             "service")
        if path in ("/", "/open") or path.startswith("/page/"):
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._token):
            return problem(401, "Unauthorized", "the token is missing or wrong; expected Authorization: Bearer with "
                                                "the token of server.json")
        self._trust(client)
        return None
