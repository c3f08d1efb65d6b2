"""`matting-anything serve`: the local service, for GIMP, for the browser, for programs in other languages."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import sys
import threading
from typing import TYPE_CHECKING

from ..errors import ServiceError

if TYPE_CHECKING:
    from ..server.endpoint import Endpoint

EXAMPLES = """\
examples:
  matting-anything serve --open                 matte in the browser
  matting-anything serve --model vit_b --device cuda
  matting-anything serve --idle-exit 15         end after 15 minutes without a request
  matting-anything serve --stop                 stop the one that runs

The service listens on this machine only (127.0.0.1) and lets in who has the token that it writes, for your user alone,
into server.json in its runtime folder (~/.cache/matting_anything, or MATTING_ANYTHING_RUNTIME). GIMP's plug-in starts
it by itself. With --host other machines reach it too: they need the token, and what passes is not encrypted.
MATTING_ANYTHING_TOKEN sets the token, for containers. docs/service.md describes the protocol and has a recipe for a
container; /openapi.json is the formal description.
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "serve", help="keep a model warm for GIMP, the browser and other programs", epilog=EXAMPLES,
        description="Serve a model over HTTP on this machine: a picture is uploaded once and matted many times.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=0, metavar="N", help="port of 127.0.0.1 (default: any free one)")
    parser.add_argument("--host", metavar="ADDRESS",
                        help="listen for other machines as well, at this address of the machine, or at all (0.0.0.0)")
    parser.add_argument("--allow-host", action="append", default=[], metavar="NAME",
                        help="with --host: a name under which others reach this machine; may be repeated")
    parser.add_argument("--model", default="lite", metavar="NAME",
                        help="lite (bundled, the default), vit_b, mobile_sam, sam2.1_s …, or a file of weights")
    parser.add_argument("--device", default="auto", metavar="DEVICE", help="auto (default), cpu, cuda, cuda:1, mps")
    parser.add_argument("--open", action="store_true",
                        help="open the page in the browser; that of the service that runs already, if one does")
    parser.add_argument("--idle-exit", type=float, default=0.0, metavar="MINUTES",
                        help="end after so many minutes without a request (default: never)")
    parser.add_argument("--memory", type=_bytes, default=_bytes("2G"), metavar="SIZE",
                        help="for pictures that come in and for pictures, embeddings and mattes that are kept, e.g. "
                             "512M or 4G (default: 2G); also bounds the size of pictures")
    parser.add_argument("--queue", type=int, default=16, metavar="N", help="jobs that may wait (default: 16)")
    parser.add_argument("--log", metavar="FILE", help="log file (default: server.log in the runtime folder); - for "
                                                      "standard error")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--force", action="store_true", help="stop a service that runs already and take its place")
    group.add_argument("--stop", action="store_true", help="stop the service that runs, and no more")
    parser.set_defaults(run=run)


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)I?B?", text.strip(), re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; expected a number with K, M or G, for example 2G")
    size = int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))
    if size < 64 << 20:
        raise argparse.ArgumentTypeError(f"{text!r} is too little; expected at least 64M")
    return size


def run(args: argparse.Namespace) -> int:
    """Serve until stopped; or stop the one that runs."""
    from ..server import endpoint as endpoints

    if args.stop:
        stopped = endpoints.stop_running()
        if stopped is None:
            print("no service runs")
        else:
            where = "a service that was starting" if stopped.url is None else f"the service at {stopped.url}"
            how = "" if stopped.asked else f"; it did not answer, so its process {stopped.pid} was ended"
            print(f"stopped {where}{how}")
        return 0
    if not 0 <= args.port < 65536 or not 0 <= args.idle_exit < 1e6 or args.queue < 0:
        raise ServiceError("--port is 0..65535, --idle-exit a number of minutes, --queue a number of jobs")
    if args.allow_host and args.host is None:
        raise ServiceError("--allow-host goes with --host; without it only this machine is let in")
    if args.open and not args.force and (other := endpoints.running()) is not None:
        print(f"a service runs already at {other.url} (process id {other.pid}); opening its page. Its own settings "
              "hold; to take its place use --force")
        _open(other)
        return 0
    from ..server.run import serve
    from ..server.settings import Settings

    token = os.environ.get("MATTING_ANYTHING_TOKEN") or None

    def ready(endpoint: Endpoint) -> None:
        print(f"Matting Anything serves {args.model} at {endpoint.url}", flush=True)
        if token is None:  # one that was given is known, and perhaps not to who reads this
            print(f"In the browser: {endpoint.url}/#token={endpoint.token}", flush=True)
        print("Stop it with Ctrl-C", flush=True)
        if args.host is not None:
            print(f"matting-anything: warning: other machines can reach this service at {args.host}, port "
                  f"{endpoint.port}. Who has the token can use it, and what passes is not encrypted: keep it in a "
                  "network you trust, or behind a proxy with TLS", file=sys.stderr, flush=True)
        if args.open:
            # In a thread: the service must go on while a browser runs in the foreground, as it may.
            threading.Thread(target=_open, args=(endpoint,), daemon=True).start()

    settings = Settings(model=args.model, device=args.device, memory=args.memory, waiting=args.queue,
                        idle_exit=60 * args.idle_exit)
    serve(settings, port=args.port, host=args.host, names=args.allow_host, token=token, log_to=args.log,
          force=args.force, ready=ready)
    return 0


def _open(endpoint: Endpoint) -> None:
    """Open the page in the browser, at an address that holds no token: others can read a browser's command line."""
    import webbrowser

    try:
        path = _offer(endpoint)
    except (OSError, ValueError, KeyError) as error:
        print(f"matting-anything: the service cannot be asked for the page's address ({error})", file=sys.stderr)
        return
    if not webbrowser.open(endpoint.url + path):
        print("matting-anything: no browser could be opened; open the address that the service has printed",
              file=sys.stderr)


def _offer(endpoint: Endpoint) -> str:
    """The path of the page with a code that works once and for seconds."""
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=60)
    try:
        connection.request("POST", "/v1/open", headers={"Authorization": f"Bearer {endpoint.token}"})
        return str(json.loads(connection.getresponse().read())["path"])
    except http.client.HTTPException as error:
        raise OSError(str(error)) from None
    finally:
        connection.close()
