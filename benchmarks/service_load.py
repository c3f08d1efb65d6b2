"""Load on the local service: many requests from several clients, a tenth cancelled, a tenth malformed.

    python benchmarks/service_load.py
    python benchmarks/service_load.py --requests 200 --clients 4 --warm-up 100

Starts `matting-anything serve` with the bundled model and a small cache, so that pictures, embeddings and mattes are
pushed out all the time. Every answer is compared with the alpha that `matte()` gives in this process (to 1e-6, since
the two may share out the work over threads differently; as a rule they are the same). At the end the memory of the
service is compared with what it was after the warm-up. Exit status 1: a wrong answer, a hang, an unexpected status, or
memory that grew by more than a tenth.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import requests

from matting_anything_core import MattingAnything, load_model, matte, read_image
from matting_anything_core.assets import demo_picture
from matting_anything_core.server.endpoint import Endpoint, read_endpoint

PICTURES = 24
PATIENCE = 300.0
"""Seconds after which a request counts as one that hangs."""
RAW = "application/octet-stream"
MALFORMED = (
    ("/v1/images?width=9&height=9&channels=3&dtype=u8", RAW, bytes(10), 400),
    ("/v1/images?width=90000&height=90000&channels=3&dtype=u8", RAW, b"", 413),
    ("/v1/images", "image/png", b"\x89PNG\r\n\x1a\nnothing", 422),
    ("/v1/images", "text/plain", b"x", 415),
    ("/v1/images/IMAGE/mattes", "application/json", b'{"prompts": [', 400),
    ("/v1/images/IMAGE/mattes", "application/json", b'{"prompts": [{"box": [9, 9, 1, 1]}]}', 422),
    ("/v1/images/IMAGE/mattes", "application/json", b'{"prompts": [{"box": [900, 900, 999, 999]}]}', 422),
    ("/v1/images/unknown/mattes", "application/json", b'{"prompts": [{"box": [1, 1, 9, 9]}]}', 404),
)


@dataclass
class Case:
    """A picture, a box in it, and the alpha that is right."""

    pixels: np.ndarray
    box: list[float]
    alpha: np.ndarray
    image: str | None = None


@dataclass
class Tally:
    """What happened, added up by all clients."""

    counts: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    exact: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, kind: str, wrong: str | None = None) -> None:
        """Count one request; `wrong` says what was wrong with it."""
        with self.lock:
            self.counts[kind] += 1
            if wrong:
                self.wrong.append(f"{kind}: {wrong}")


def make_cases(count: int, model: MattingAnything) -> list[Case]:
    """Parts of a photograph and boxes in them, with the alphas of `matte()`."""
    photo, dice = read_image(demo_picture()).rgb, random.Random(0)
    cases = []
    for _ in range(count):
        height, width = dice.randint(120, 320), dice.randint(120, 320)
        top, left = dice.randint(0, 512 - height), dice.randint(0, 512 - width)
        pixels = np.ascontiguousarray(photo[top : top + height, left : left + width])
        box = [width * 0.1, height * 0.05, width * 0.9, height * 0.95]
        cases.append(Case(pixels, box, matte(pixels, box, model=model).alpha))
    return cases


class Client:
    """One client with its own connection."""

    def __init__(self, endpoint: Endpoint, tally: Tally, dice: random.Random) -> None:
        self.endpoint, self.tally, self.dice = endpoint, tally, dice
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {endpoint.token}"

    def call(self, method: str, path: str, **options: object) -> requests.Response:
        """A request that waits when the queue is full."""
        while True:
            answer = self.session.request(method, self.endpoint.url + path, timeout=PATIENCE, **options)
            if answer.status_code != 429:
                return answer
            self.tally.note("429, tried again")
            time.sleep(0.05)

    def upload(self, case: Case) -> str:
        """The picture's id; it is uploaded anew, which costs little when it is known."""
        height, width = case.pixels.shape[:2]
        answer = self.call("POST", f"/v1/images?width={width}&height={height}&channels=3&dtype=u8",
                           data=case.pixels.tobytes(), headers={"Content-Type": RAW})
        answer.raise_for_status()
        return str(answer.json()["image"])

    def right(self, case: Case) -> None:
        """Upload, matte, fetch, compare. Once more when the cache has lost something on the way."""
        started = time.perf_counter()
        for _ in range(20):
            image = self.upload(case)
            answer = self.call("POST", f"/v1/images/{image}/mattes", json={"prompts": [{"box": case.box}]})
            if answer.status_code == 200:
                name = answer.json()["mattes"][0]["matte"]
                answer = self.call("GET", f"/v1/mattes/{name}/alpha?format=f32")
            if answer.status_code != 404:
                break
            self.tally.note("pushed out of the cache, tried again")
        if answer.status_code != 200:
            self.tally.note("right", f"status {answer.status_code}: {answer.text[:200]}")
            return
        alpha = np.frombuffer(answer.content, "<f4").reshape(case.alpha.shape)
        worst = float(np.abs(alpha - case.alpha).max())
        self.tally.note("right", f"alpha is off by {worst}" if worst > 1e-6 else None)
        with self.tally.lock:
            self.tally.exact += worst == 0
            self.tally.seconds.append(time.perf_counter() - started)

    def cancelled(self, case: Case) -> None:
        """Ask for a matte and close the connection a moment later."""
        image = self.upload(case)
        body = json.dumps({"prompts": [{"box": case.box}] * 4}).encode()
        head = (f"POST /v1/images/{image}/mattes HTTP/1.1\r\nHost: 127.0.0.1:{self.endpoint.port}\r\n"
                f"Authorization: Bearer {self.endpoint.token}\r\nContent-Type: application/json\r\n"
                f"Accept: {self.dice.choice(('*/*', 'application/x-ndjson'))}\r\nContent-Length: {len(body)}\r\n\r\n")
        with socket.create_connection((self.endpoint.host, self.endpoint.port), timeout=PATIENCE) as connection:
            connection.sendall(head.encode() + body[: self.dice.choice((len(body), len(body) // 2))])
            time.sleep(self.dice.uniform(0, 0.2))
        self.tally.note("cancelled")

    def malformed(self, case: Case) -> None:
        """Something that must be refused, each time with the same status."""
        path, kind, body, status = self.dice.choice(MALFORMED)
        if "IMAGE" in path:
            path = path.replace("IMAGE", self.upload(case))
        answer = self.call("POST", path, data=body, headers={"Content-Type": kind})
        fine = answer.status_code in (status, 404 if "/mattes" in path else status)
        self.tally.note("malformed", None if fine else f"{path}: {answer.status_code}, wanted {status}")


def load(endpoint: Endpoint, cases: list[Case], count: int, clients: int, seed: int) -> Tally:
    """Make `count` requests from so many clients: 8 of 10 right, one cancelled, one malformed."""
    kinds = ["right"] * (count - 2 * (count // 10)) + ["cancelled", "malformed"] * (count // 10)
    random.Random(seed).shuffle(kinds)
    tally, todo = Tally(), iter(kinds)

    def work(number: int) -> None:
        dice = random.Random(1000 * seed + number)
        client = Client(endpoint, tally, dice)
        while True:
            with tally.lock:
                kind = next(todo, None)
            if kind is None:
                return
            try:
                getattr(client, kind)(dice.choice(cases))
            except (requests.RequestException, OSError) as error:
                tally.note(kind, f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tally


def memory(pid: int) -> float:
    """Megabytes that a process has resident."""
    said = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout
    return int(said) / 1024


def settled(endpoint: Endpoint) -> dict[str, object]:
    """The status once nothing runs or waits."""
    until = time.monotonic() + PATIENCE
    while True:
        status = requests.get(endpoint.url + "/v1/status", timeout=PATIENCE,
                              headers={"Authorization": f"Bearer {endpoint.token}"}).json()
        if status["queue"]["running"] == status["queue"]["waiting"] == 0:
            return dict(status)
        if time.monotonic() > until:
            raise SystemExit(f"jobs of clients that are gone still run: {status['queue']}")
        time.sleep(0.1)


def started(runtime: Path, size: str) -> tuple[subprocess.Popen[bytes], Endpoint]:
    """The service, once it is ready."""
    os.environ["MATTING_ANYTHING_RUNTIME"] = str(runtime)
    process = subprocess.Popen([sys.executable, "-m", "matting_anything_core.cli", "serve", "--memory", size],
                               stdout=subprocess.DEVNULL)
    while (endpoint := read_endpoint()) is None:
        if process.poll() is not None:
            raise SystemExit("the service did not start")
        time.sleep(0.05)
    return process, endpoint


def main() -> int:
    """Run it and print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--warm-up", type=int, default=300, help="requests before memory is looked at first")
    parser.add_argument("--memory", default="128M", help="of the service's cache")
    args = parser.parse_args()
    cases = make_cases(PICTURES, load_model("lite", device="cpu"))
    with tempfile.TemporaryDirectory() as folder:
        process, endpoint = started(Path(folder) / "runtime", args.memory)
        try:
            warm = load(endpoint, cases, args.warm_up, args.clients, seed=1)
            settled(endpoint)
            before, begun = memory(process.pid), time.perf_counter()
            tally = load(endpoint, cases, args.requests, args.clients, seed=2)
            seconds = time.perf_counter() - begun
            status, after = settled(endpoint), memory(process.pid)
        finally:
            process.terminate()
            process.wait(60)
    wrong = warm.wrong + tally.wrong
    median, worst = np.percentile(tally.seconds, (50, 100))
    print(f"{args.requests} requests from {args.clients} clients in {seconds:.0f} s: {dict(tally.counts)}")
    print(f"right answers: {len(tally.seconds)}, {tally.exact} of them equal to matte()'s alpha in every bit; "
          f"median {median:.2f} s, longest {worst:.2f} s")
    print(f"wrong: {len(wrong)} {wrong[:5]}")
    print(f"cache: {status['cache']}; the service ended with {process.returncode}")
    print(f"memory of the service: {before:.0f} MB after the warm-up, {after:.0f} MB at the end "
          f"({after / before:.3f} times as much)")
    return int(bool(wrong) or after > 1.1 * before or process.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
