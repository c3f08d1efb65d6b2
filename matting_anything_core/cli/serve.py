"""`matting-anything serve`: the local service, for GIMP, for the browser, for programs in other languages."""

from __future__ import annotations

import argparse
import re
import sys
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
it by itself. docs/service.md describes the protocol; /openapi.json is its formal description.
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "serve", help="keep a model warm for GIMP, the browser and other programs", epilog=EXAMPLES,
        description="Serve a model over HTTP on this machine: a picture is uploaded once and matted many times.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=0, metavar="N", help="port of 127.0.0.1 (default: any free one)")
    parser.add_argument("--model", default="lite", metavar="NAME",
                        help="lite (bundled, the default), vit_b, vit_l, vit_h, or a .safetensors file")
    parser.add_argument("--device", default="auto", metavar="DEVICE", help="auto (default), cpu, cuda, cuda:1, mps")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument("--idle-exit", type=float, default=0.0, metavar="MINUTES",
                        help="end after so many minutes without a request (default: never)")
    parser.add_argument("--memory", type=_bytes, default=_bytes("2G"), metavar="SIZE",
                        help="for pictures, embeddings and mattes that are kept, e.g. 512M or 4G (default: 2G); also "
                             "bounds the size of pictures")
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
    from ..server.endpoint import stop_running

    if args.stop:
        stopped = stop_running()
        print("no service runs" if stopped is None else f"stopped the service at {stopped.url}")
        return 0
    if not 0 <= args.port < 65536 or not 0 <= args.idle_exit < 1e6 or args.queue < 0:
        raise ServiceError("--port is 0..65535, --idle-exit a number of minutes, --queue a number of jobs")
    from ..server.run import serve
    from ..server.settings import Settings

    def ready(endpoint: Endpoint) -> None:
        address = f"{endpoint.url}/#token={endpoint.token}"
        print(f"Matting Anything serves {args.model} at {endpoint.url}\nIn the browser: {address}\nStop it with Ctrl-C",
              flush=True)
        if args.open:
            import webbrowser

            if not webbrowser.open(address):
                print("matting-anything: no browser could be opened; open the address above", file=sys.stderr)

    settings = Settings(model=args.model, device=args.device, memory=args.memory, waiting=args.queue,
                        idle_exit=60 * args.idle_exit)
    serve(settings, port=args.port, log_to=args.log, force=args.force, ready=ready)
    return 0
