"""How batches scale on one machine: a plain loop, the batch, several processes and Ray; and what if they are killed.

    python benchmarks/scale.py compare --pictures 500            # pictures a second, memory, the same bits?
    python benchmarks/scale.py kills --pictures 100 --kills 20   # nothing lost, nothing double
    python benchmarks/scale.py flat --pictures 2000              # memory while it works
    python benchmarks/scale.py stages                            # CPU time of each stage, by the size of the image

Each way runs in processes of its own, one after another, and again in the opposite order (--rounds): on a machine that
does other things as well the ratios mean more than the numbers, and the seconds of CPU more than those of the clock.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

WAYS = ("loop", "batch", "workers", "ray")
BAD = 10


def make_pictures(folder: Path, count: int, largest: int, seed: int = 1) -> None:
    """Pictures of mixed sizes and formats out of the demo's, and ten that are none."""
    import numpy as np

    from matting_anything_core import read_image, write_image
    from matting_anything_core.assets import demo_picture
    from matting_anything_core.opencv import cv2

    folder.mkdir(parents=True, exist_ok=True)
    base, generator = read_image(demo_picture()).rgb, np.random.default_rng(seed)
    for index in range(count):
        width = int(generator.integers(largest // 4, largest))
        height = max(32, int(width * generator.uniform(0.6, 1.4)))
        image = cv2.resize(base, (width, height), interpolation=cv2.INTER_CUBIC)
        image = np.clip(image.astype(np.int16) + generator.integers(-6, 7, image.shape), 0, 255).astype(np.uint8)
        kind = index % 10
        suffix = ".png" if kind in (0, 1) else ".webp" if kind == 2 else ".tif" if kind == 3 else ".jpg"
        deep = image.astype(np.uint16) * 257 if kind == 1 else image
        write_image(folder / f"{index:05}{suffix}", deep, bits=16 if kind == 1 else None, png_level=1)
    bad = (b"", b"no picture", b"\x89PNG\r\n\x1a\nbroken", b"\xff\xd8\xff\xe0", b"<html>404</html>", b"%PDF-1.4",
           b"II*\0\x08\0\0\0", b"RIFF\0\0\0\0WEBPVP8 ", b"GIF89a", b"PK\x03\x04")
    for index, data in enumerate(bad[:BAD]):
        (folder / f"bad-{index}.jpg").write_bytes(data)


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for one in found:
        try:
            for task in os.listdir(f"/proc/{one}/task"):
                with open(f"/proc/{one}/task/{task}/children", encoding="ascii") as file:
                    found += [int(child) for child in file.read().split()]
        except OSError:
            continue
    return found


def memory_of(pids: list[int]) -> int:
    """Bytes that processes hold; what they share counts once (PSS)."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                total += sum(1024 * int(line.split()[1]) for line in file if line.startswith("Pss:"))
        except OSError:
            continue
    return total


def plain_loop(folder: Path, out: Path) -> None:
    """What a program without the batch does."""
    from matting_anything_core import MattingError, load_model, matte
    from matting_anything_core.folders import images_in
    from matting_anything_core.image import read_image, readable_suffixes
    from matting_anything_core.output import write_output

    model = load_model("lite")
    out.mkdir(parents=True, exist_ok=True)
    for path in images_in(folder, None, readable_suffixes()).images:
        try:
            image = read_image(path)
            found = matte(image, (0, 0, image.width, image.height), model=model)
            write_output(out / f"{path.stem}.png", found)
        except MattingError as error:
            print(f"{path.name}: {error}", file=sys.stderr)


def command(way: str, folder: Path, out: Path, workers: int) -> list[str]:
    """The command of a way."""
    if way == "loop":
        return [sys.executable, __file__, "loop", str(folder), str(out)]
    own = [sys.executable, "-m", "matting_anything_core", "--quiet", "batch", str(folder), "-o", str(out)]
    return own + {"batch": [], "workers": ["--workers", str(workers)],
                  "ray": ["--engine", "ray", "--workers", str(workers)]}[way]


def first_and_last(out: Path) -> tuple[float, float, int]:
    """When the first and the last result were written, and how many there are."""
    times = sorted(path.stat().st_mtime for path in out.glob("*.png"))
    return (times[0], times[-1], len(times)) if times else (0.0, 0.0, 0)


def run_way(way: str, folder: Path, out: Path, workers: int, threads: int) -> dict[str, float]:
    """Run a way once; what it took."""
    shutil.rmtree(out, ignore_errors=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    process = subprocess.Popen(command(way, folder, out, workers), env=environment, stderr=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL)
    peak = 0

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            begun = time.monotonic()
            peak = max(peak, memory_of(tree(process.pid)))
            # Counting shared pages takes time, more the more processes there are: at most a fiftieth of a core.
            time.sleep(max(0.5, 50 * (time.monotonic() - begun)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    process.wait()
    watcher.join()
    wall = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    first, last, count = first_and_last(out)
    return {
        "wall": wall, "steady": (count - 1) / max(1e-9, last - first), "count": count, "peak": peak,
        # Ray's processes are not this one's children, so their time is not counted.
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    }


def digest(out: Path) -> dict[str, str]:
    """Each result's content."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.glob("*.png"))}


def compare(args: argparse.Namespace) -> None:
    """All ways side by side."""
    with tempfile.TemporaryDirectory(prefix="scale-") as place:
        folder = Path(place, "in")
        make_pictures(folder, args.pictures, args.largest)
        ways = [way for way in WAYS if way in args.ways]
        found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        bits: dict[str, dict[str, str]] = {}
        for number in range(args.rounds):
            for way in ways if number % 2 == 0 else reversed(ways):
                # The workers of one machine divide its cores; the ways with one process have all of them, unless told.
                found[way].append(run_way(way, folder, Path(place, way), args.workers, args.threads))
                bits[way] = digest(Path(place, way))
                print(f"round {number + 1}, {way}: {json.dumps(found[way][-1])}", flush=True)
        print(f"\n{args.pictures} pictures up to {args.largest} pixels and {BAD} bad ones, {args.rounds} rounds, "
              f"{args.threads} thread(s) each, {args.workers} workers, {os.cpu_count()} cores, load "
              f"{os.getloadavg()[0]:.1f}\n")
        print(f"{'way':<9}{'done':>6}{'images/s':>10}{'of loop':>9}{'with start':>12}{'CPU s/image':>13}{'peak MB':>9}"
              "  bits")
        for way in ways:
            rate = statistics.median(one["steady"] for one in found[way])
            ratio = statistics.median(one["steady"] / other["steady"]
                                      for one, other in zip(found[way], found[ways[0]], strict=True))
            whole = statistics.median(one["count"] / one["wall"] for one in found[way])
            cpu = statistics.median(one["cpu"] / max(1, one["count"]) for one in found[way])
            peak = max(one["peak"] for one in found[way])
            same = sum(bits[way].get(name) == value for name, value in bits[ways[0]].items())
            print(f"{way:<9}{found[way][0]['count']:>6.0f}{rate:>10.2f}{ratio:>9.2f}{whole:>12.2f}"
                  f"{'-' if way == 'ray' else f'{cpu:.2f}':>13}{peak / 1e6:>9.0f}  {same} of {len(bits[ways[0]])}")


def kills(args: argparse.Namespace) -> None:
    """Kill workers, and now and then all of it, at random moments; then count."""
    generator = random.Random(args.seed)
    with tempfile.TemporaryDirectory(prefix="scale-") as place:
        folder, out = Path(place, "in"), Path(place, "out")
        make_pictures(folder, args.pictures, args.largest)
        reference = Path(place, "reference")
        run_way("batch", folder, reference, 1, args.threads)
        killed, started_anew = Counter[str](), 0
        environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
        process = None
        rows: list[dict[str, str]] = []
        while process is None or process.poll() is None or killed.total() < args.kills:
            if process is None or process.poll() is not None:
                if process is not None and process.returncode in (0, 1):
                    break
                process = subprocess.Popen(command("workers", folder, out, args.workers), env=environment,
                                           stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
                started_anew += 1
            time.sleep(generator.uniform(0.2, args.every))
            if killed.total() >= args.kills:
                process.wait()
                continue
            workers = [pid for pid in tree(process.pid)[1:] if is_worker(pid)]
            whole = killed.total() % 5 == 4
            if not whole and not workers:
                continue
            victim = process.pid if whole else generator.choice(workers)
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                continue
            killed["driver" if whole else "worker"] += 1
            done = sum(1 for _ in out.glob("*.png"))
            print(f"kill {killed.total()}: {'driver' if whole else 'worker'}, {done} results are there", flush=True)
            if whole:
                process.wait()
        with open(out / "summary.csv", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        names = Counter(Path(row["image"]).name for row in rows)
        wanted = {path.name for path in folder.iterdir()}
        statuses = Counter(row["status"] for row in rows)
        unlike = [name for name, value in digest(out).items() if digest(reference).get(name) != value]
        left = [path.name for path in out.rglob(".matting-*.tmp")]
        print(f"{killed['worker']} workers and {killed['driver']} drivers killed; {started_anew} starts; "
              f"{dict(statuses)}")
        print(f"lost: {sorted(wanted - set(names))}; named twice: {[name for name, n in names.items() if n > 1]}; "
              f"other bits than undisturbed: {unlike}; left half: {left}")
        for row in rows:
            if row["status"] == "failed":
                print(f"  failed: {Path(row['image']).name}: {row['message'][:100]}")


def is_worker(pid: int) -> bool:
    """Whether a process is one that was spawned to work."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"spawn_main" in file.read()
    except OSError:
        return False


def flat(args: argparse.Namespace) -> None:
    """Memory of a long batch, at each tenth of it."""
    with tempfile.TemporaryDirectory(prefix="scale-") as place:
        folder, out = Path(place, "in"), Path(place, "out")
        make_pictures(folder, args.pictures, args.largest)
        way = "workers" if args.workers > 1 else "batch"
        process = subprocess.Popen(command(way, folder, out, args.workers), stderr=subprocess.DEVNULL,
                                   env={**os.environ, "OMP_NUM_THREADS": str(args.threads)}, stdout=subprocess.DEVNULL)
        points: list[tuple[int, int]] = []
        while process.poll() is None:
            done = sum(1 for _ in out.glob("*.png")) if out.exists() else 0
            points.append((done, memory_of(tree(process.pid))))
            time.sleep(0.5)
        print(f"{way}, {args.pictures} pictures up to {args.largest} pixels")
        for tenth in range(10):
            part = [size for done, size in points if tenth <= 10 * done / args.pictures < tenth + 1 and done > 5]
            if part:
                print(f"{10 * tenth:>3} % to {10 * tenth + 10:>3} %: median {statistics.median(part) / 1e6:.0f} MB, "
                      f"highest {max(part) / 1e6:.0f} MB")


def stages(args: argparse.Namespace) -> None:
    """CPU time that an image takes in each stage, by its size; with one thread, whatever else the machine does."""
    import types

    import torch

    from matting_anything_core import load_model, matte, times
    from matting_anything_core.batch import BatchOptions, Item, Ledger, Work, clear_subject
    from matting_anything_core.image import encode_image
    from matting_anything_core.opencv import cv2

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    # One thread does it all here, so its own clock counts nobody else's work.
    times.time = types.SimpleNamespace(perf_counter=time.thread_time)  # type: ignore[attr-defined]
    model = load_model("lite")
    print(f"{'':<26}" + "".join(f"{stage:>15}" for stage in times.STAGES) + f"{'together':>10}")
    with tempfile.TemporaryDirectory(prefix="scale-") as place:
        for side, options, name in (
                *((side, BatchOptions(), f"{side} px") for side in args.sides),
                *((args.sides[-1], BatchOptions(max_side=side), f"{args.sides[-1]} px, --max-side {side}")
                  for side in args.sides[:-1])):
            folder = Path(place, str(side))
            if not folder.exists():
                make_jpegs(folder, args.pictures, side)
            counted = times.Times()
            work = Work(model, options, Ledger(None, ""), times=counted)
            photos = sorted(folder.glob("*.jpg"))
            for index, path in enumerate([photos[0], *photos]):
                if index == 1:  # the first one warms up
                    counted = times.Times()
                    work._times = counted
                item = Item(path, clear_subject, Path(place, "out.png"))
                work.write(item, work.compute(item, work.read(path)), 0.0)
            found = counted.seconds()
            print(f"{name:<26}" + "".join(f"{1000 * found[stage] / len(photos):>12.1f} ms" for stage in times.STAGES)
                  + f"{1000 * sum(found.values()) / len(photos):>7.0f} ms", flush=True)
        cut = matte(photos[0], (0, 0, side, 3 * side // 4), model=model).cutout()
    for level in (0, 1, 2, 4, 6, 9):
        began = time.thread_time()
        size = len(encode_image(cut, png_level=level))
        print(f"PNG level {level}: {1000 * (time.thread_time() - began):.0f} ms, {size / 1e6:.2f} MB")


def make_jpegs(folder: Path, count: int, width: int) -> None:
    """JPEGs of one size out of the demo's picture."""
    from matting_anything_core import read_image, write_image
    from matting_anything_core.assets import demo_picture
    from matting_anything_core.opencv import cv2

    folder.mkdir()
    base = read_image(demo_picture()).rgb
    for index in range(count):
        image = cv2.resize(base[index:], (width, 3 * width // 4), interpolation=cv2.INTER_CUBIC)
        write_image(folder / f"{index}.jpg", image, quality=90)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, function, count in (("compare", compare, 500), ("kills", kills, 100), ("flat", flat, 2000)):
        one = commands.add_parser(name)
        one.add_argument("--pictures", type=int, default=count)
        one.add_argument("--largest", type=int, default=1600, help="longest width in pixels")
        one.add_argument("--workers", type=int, default=2)
        one.add_argument("--threads", type=int, default=1, help="that each process computes with")
        one.set_defaults(function=function)
        if name == "compare":
            one.add_argument("--rounds", type=int, default=2)
            one.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
        if name == "kills":
            one.add_argument("--kills", type=int, default=20)
            one.add_argument("--every", type=float, default=4.0, help="most seconds between two")
            one.add_argument("--seed", type=int, default=1)
    one = commands.add_parser("stages")
    one.add_argument("--pictures", type=int, default=3)
    one.add_argument("--sides", type=int, nargs="+", default=[500, 1000, 2000, 4000])
    one.set_defaults(function=stages)
    loop = commands.add_parser("loop")
    loop.add_argument("folder", type=Path)
    loop.add_argument("out", type=Path)
    loop.set_defaults(function=lambda args: plain_loop(args.folder, args.out))
    args = parser.parse_args()
    args.function(args)


if __name__ == "__main__":
    main()
