"""`matting-anything batch --engine ray`: the same batch with actors of Ray, here or on a cluster."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import PromptError
from .batch import (
    SUMMARY,
    Summary,
    asked_rule,
    check_folder,
    chosen,
    follow,
    in_numbers,
    items_asked,
    noted_interrupt,
    row_of,
)
from .heard import warnings_heard
from .streams import shown

if TYPE_CHECKING:
    from ..batch import BatchOptions, Item, Outcome

ELSEWHERE = Path(os.path.abspath(os.sep), "matting-anything-results")
"""Stands for a folder of results that is not on this machine; nothing is written there."""
FORMS = {"png": "png", "webp": "webp", "tif": "tiff", "jpg": "jpeg", "psd": "psd", "ora": "ora", "parquet": "png"}


def run_on_ray(args: argparse.Namespace, options: BatchOptions, workers: int | None, shard: tuple[int, int]) -> int:
    """Matte all of it on Ray, say what became of it; the statuses of the command `batch`."""
    from ..journal import Journal, at_work
    from ..ray_batch import Job, cluster, items_at, matte_on_ray, matte_parquet_on_ray
    from ..ray_data import load_ray
    from ..stores import is_address, open_store
    from ..weights.store import files_behind

    load_ray()
    files_behind(args.model)
    if args.profile:
        raise PromptError("--profile is for --engine local; Ray's own dashboard shows where the time goes on a cluster")
    rows_of_parquet = args.source.partition("?")[0].rstrip("/").endswith((".parquet", ".pq"))
    local = not is_address(args.out)
    root = Path(args.out) if local else ELSEWHERE
    rule = asked_rule(args)
    items: list[Item] | None = None
    if rows_of_parquet:
        if args.shuffle or shard != (1, 1):
            raise PromptError("--shuffle and --shard are for pictures that are listed; give each process other files "
                              "of Parquet")
    else:
        found = items_at(args.source, root, rule, suffix=".png" if args.format == "parquet" else f".{args.format}") \
            if is_address(args.source) else items_asked(args, root, rule)
        items = chosen(found, shuffle=args.shuffle, shard=shard, limit=args.limit)
    part = "" if shard == (1, 1) else f"{shard[0]}-of-{shard[1]}"
    name = f"summary-{part}.csv" if part else SUMMARY
    counts: Counter[str] = Counter()
    interrupted, started = False, time.monotonic()
    with ExitStack() as stack:
        journal = None
        if local:
            summary = root / name
            check_folder(root, summary)
            stack.enter_context(at_work(root, part))
            if args.format != "parquet":
                journal = stack.enter_context(Journal(root, f"results-{part}" if part else "results"))
        else:
            summary = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="matting-"))) / name
        out = replace(open_store(args.out), token=secrets.token_hex(6))
        out.sweep(older_than=3600)
        job = Job(out, options, parquet=args.format == "parquet", form=FORMS[args.format],  # type: ignore[arg-type]
                  model=args.model, device=args.device, prompt=rule, workers=workers, cpus=args.cpus, gpus=args.gpus,
                  overwrite=args.overwrite, journal=journal)
        ray = stack.enter_context(cluster(args.address, workers))
        doubts = stack.enter_context(warnings_heard())
        batch = matte_parquet_on_ray(ray, job, args.source, root, limit=args.limit) if items is None else \
            matte_on_ray(ray, job, items, root)
        with Summary(summary) as table:

            def take(outcome: Outcome) -> None:
                row = row_of(args, outcome, doubts)
                if not local:
                    row["out"] = os.path.relpath(row["out"], root).replace(os.sep, "/")
                counts[outcome.status] += 1
                table.add(row)
                if args.json:
                    print(json.dumps(row), flush=True)

            try:
                with noted_interrupt() as check:
                    follow(args, batch, None if items is None else len(items), take, check)
            except KeyboardInterrupt:
                interrupted = True
            finally:
                batch.close()
        out.sweep()
        if not local:
            out.put(name, summary.read_bytes())
    if not (args.quiet or args.json):
        where = shown(summary) if local else f"{args.out.partition('?')[0].rstrip('/')}/{name}"
        count = sum(counts.values()) if items is None else len(items)
        print(f"{in_numbers(counts)} of {count} in {time.monotonic() - started:.0f} s; {where} has the details")
    if interrupted:
        print("matting-anything: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 1 if counts["failed"] else 0
