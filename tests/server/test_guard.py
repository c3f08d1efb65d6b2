"""Who is let in: the token, the host's name, the origin; and that nothing of a refused body is read."""

from __future__ import annotations

import http.client
import json
import os
import stat
import sys

import pytest

from .service import Client

PATHS = ("/v1/status", "/openapi.json", "/v1/images/x", "/v1/nothing")


def call(client: Client, path: str, **headers: str | None) -> tuple[int, str]:
    """A request with exactly these headers (names with _ for -); Host unless it is given as None."""
    connection = http.client.HTTPConnection(client.endpoint.host, client.endpoint.port, timeout=30)
    connection.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
    given = {"Host": f"127.0.0.1:{client.endpoint.port}", "Authorization": f"Bearer {client.endpoint.token}",
             **{name.replace("_", "-"): value for name, value in headers.items()}}
    for name, value in given.items():
        if value is not None:
            connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic TOKEN", "TOKEN",
                                   "Bearer TOKENx", "Bearer xTOKEN", "Bearer \u00e4"])
def test_no_one_without_the_token(client: Client, path: str, token: str | None) -> None:
    given = token if token is None else token.replace("TOKEN", client.endpoint.token)
    status, text = call(client, path, Authorization=given)
    assert status == 401
    assert json.loads(text)["error"]["kind"] == "Unauthorized"


def test_the_token_is_long_and_in_a_file_for_this_user_alone(client: Client) -> None:
    assert len(client.endpoint.token) >= 40
    if sys.platform != "win32":
        assert stat.S_IMODE((client.runtime / "server.json").stat().st_mode) == 0o600
        assert stat.S_IMODE(client.runtime.stat().st_mode) == 0o700
    assert client.endpoint.pid == os.getpid()
    assert client.endpoint.token not in (client.runtime / "server.log").read_text()


@pytest.mark.parametrize("path", [*PATHS, "/", "/page/page.js"])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:PORT", "127.0.0.1", "localhost", "127.0.0.1:1", "",
                                  "127.0.0.1:PORT.evil.example", "0.0.0.0:PORT", "[::1]:PORT"])
def test_no_other_host_name(client: Client, path: str, host: str) -> None:
    """DNS rebinding: the browser of this user, at a name that now leads here, with that name in Host."""
    assert call(client, path, Host=host.replace("PORT", str(client.endpoint.port)))[0] == 403


def test_the_host_must_be_there(client: Client) -> None:
    assert call(client, "/v1/status", Host=None)[0] == 400  # HTTP/1.1 wants one, and so uvicorn


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "http://127.0.0.1", "http://localhost:1",
                                    "https://127.0.0.1:PORT", "http://127.0.0.1:PORT.evil.example", "file://"])
def test_no_other_origin(client: Client, origin: str) -> None:
    origin = origin.replace("PORT", str(client.endpoint.port))
    for path in (*PATHS, "/"):
        assert call(client, path, Origin=origin)[0] == 403


@pytest.mark.parametrize("host", ["127.0.0.1:PORT", "localhost:PORT", "LOCALHOST:PORT"])
def test_its_own_names_and_origins(client: Client, host: str) -> None:
    host = host.replace("PORT", str(client.endpoint.port))
    assert call(client, "/v1/status", Host=host)[0] == 200
    assert call(client, "/v1/status", Host=host, Origin=f"http://{host}")[0] == 200
    assert call(client, "/v1/status", Host=host, Authorization=f"bearer {client.endpoint.token}")[0] == 200


def test_the_page_needs_no_token(client: Client) -> None:
    assert call(client, "/", Authorization=None)[0] == 200


def test_a_refused_body_is_not_read(client: Client) -> None:
    connection = client.half_a_request("POST", "/v1/images", bytes(1 << 20), "Content-Type: image/png",
                                       "Origin: https://evil.example", sent=100)
    with connection:
        assert connection.recv(12) == b"HTTP/1.1 403"


def test_preflights_are_refused(client: Client) -> None:
    answer = client("OPTIONS", "/v1/images", headers={"Origin": "https://evil.example",
                                                      "Access-Control-Request-Method": "POST"})
    assert answer.status_code == 403
    assert "Access-Control-Allow-Origin" not in answer.headers
