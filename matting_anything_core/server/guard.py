"""Who is let in: requests to this host name, from no other web page, with the token of this user's endpoint file.

A page of another site can make a browser send requests to 127.0.0.1, under that name or, by DNS rebinding, under its
own. Host and Origin tell both, and the token is what such a page cannot know.
"""

from __future__ import annotations

import hmac

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


class Guard:
    """The outermost layer of the service: refuses before anything of a request's body is read."""

    def __init__(self, app: ASGIApp, *, port: int, token: str) -> None:
        """port: the one that is listened on. token: what `Authorization: Bearer` must carry."""
        self._app = app
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with 401 or 403."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *SECURITY]
            await send(message)

        refusal = self._refusal(scope["path"], Headers(scope=scope))
        await (refusal or self._app)(scope, receive, secured)

    def _refusal(self, path: str, headers: Headers) -> Response | None:
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return problem(403, "Forbidden", f"the Host is {', '.join(hosts)[:80]!r}; expected one of "
                                             f"{', '.join(sorted(self._hosts))}")
        if any(origin.lower() not in {f"http://{host}" for host in self._hosts} for origin in origins):
            return problem(403, "Forbidden", f"the Origin is {', '.join(origins)[:80]!r}; other sites may not use this "
                                             "service")
        if path == "/" or path.startswith("/page/"):
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._token):
            return problem(401, "Unauthorized", "the token is missing or wrong; expected Authorization: Bearer with "
                                                "the token of server.json")
        return None
