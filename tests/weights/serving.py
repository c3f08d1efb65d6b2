"""A real HTTP server on this machine, and the ways in which it answers."""

from __future__ import annotations

import contextlib
import http.server
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

BODY = bytes(range(256)) * 4096  # 1 MiB


@dataclass
class Server:
    """What the next requests get: one answer each, then the last one again. Requests are kept with their headers."""

    url: str = ""
    answers: list[Callable] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def will(self, *answers):
        self.answers[:] = answers


def whole(handler, body=BODY, *, status=200, length=None, send=None, tag='"one"', **headers):
    """Send `body`, claiming `length`; only `send` bytes of it when given."""
    handler.send_response(status)
    if tag:
        handler.send_header("ETag", tag)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body[: len(body) if send is None else send])
    handler.wfile.flush()


def ranged(handler, body=BODY, *, tag='"one"', send=None):
    """A server that does it right: the rest when asked for it and unchanged, else the whole."""
    match = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    start = int(match[1]) if match else 0
    if not match or handler.headers.get("If-Range") not in (None, tag):
        whole(handler, body, tag=tag, send=send)
    elif start >= len(body):
        handler.send_error(416)
    else:
        whole(handler, body[start:], status=206, tag=tag, send=send,
              Content_Range=f"bytes {start}-{len(body) - 1}/{len(body)}")


def cut(handler):
    """The connection ends after 300 kB."""
    ranged(handler, send=300_000)


def stalls(handler):
    """Nothing more after 300 kB, but the connection stays."""
    ranged(handler, send=300_000)
    time.sleep(0.8)


def trickles(handler):
    """A byte every now and then: never silent long enough to be called a stall."""
    whole(handler, send=0)
    for byte in BODY[:20]:
        handler.wfile.write(bytes([byte]))
        time.sleep(0.05)


def status(code):
    return lambda handler: handler.send_error(code)


def to(location):
    def answer(handler):
        handler.send_response(302)
        handler.send_header("Location", location)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def chunked(body):
    def answer(handler):
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for start in range(0, len(body), 100_000):
            piece = body[start:start + 100_000]
            handler.wfile.write(b"%x\r\n" % len(piece) + piece + b"\r\n")
        handler.wfile.write(b"0\r\n\r\n")

    return answer


@contextlib.contextmanager
def serve():
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            state.requests.append((self.path, dict(self.headers)))
            answer = state.answers.pop(0) if len(state.answers) > 1 else state.answers[0]
            with contextlib.suppress(ConnectionError):
                answer(self)
            self.close_connection = True

        def log_message(self, *_):
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.daemon_threads = True
    running.block_on_close = False
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{running.server_port}/weights.pth"
    yield state
    running.shutdown()
    running.server_close()
    thread.join()
