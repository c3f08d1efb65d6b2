"""Proof and figures on a GPU, in one command and about four minutes:

    python benchmarks/gpu.py --out gpu_figures
    python benchmarks/gpu.py --dry-run                     every step on the CPU, small, in a minute

It needs torch, torchvision, timm, numpy, opencv, pillow, safetensors and segment_anything (`--segment-anything` takes a
wheel or a folder), and for the tests pytest and hypothesis; no network, no data. docs/gpu.md says what each part is.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PARTS = ("goldens", "stages", "waits", "profile", "variants", "tests")
MODELS = ("vit_b", "lite", "vit_l", "vit_h")
TF32 = "float32, TF32 in convolutions"
"""As torch computes float32 where nobody says otherwise."""
FIRST_SHARE, SECOND_SHARE, HALF_OFF = 0.5, 0.25, 5e-3
"""What is asked of vit_b: of the plain path's time at most these shares for a first and a second prompt of one image;
and of float16, that its alpha is this near float32's on average."""


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command's arguments, with a dry run's smaller values filled in."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu_figures"), metavar="FOLDER",
                        help="for figures.json, figures.md and profile.txt (default: gpu_figures)")
    parser.add_argument("--device", default="auto", help="cuda, cuda:1, cpu …; auto is CUDA, which must be there")
    parser.add_argument("--parts", default=None, metavar="A,B", help=f"some of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--models", default=None, metavar="A,B", help=f"default: {','.join(MODELS)}")
    parser.add_argument("--images", default=None, metavar="N,M", help="numbers of images at once (default: 1,4,16)")
    parser.add_argument("--types", default=None, metavar="A,B", help="default: float32,float16,bfloat16")
    parser.add_argument("--size", default=None, metavar="WxH", help="of the pictures (default: 1500x1000)")
    parser.add_argument("--seconds", type=float, default=None, help="for each timing, at least (default: 0.6)")
    parser.add_argument("--minutes", type=float, default=None,
                        help="no new measurement begins after so many (default: 4; in a dry run 60)")
    parser.add_argument("--segment-anything", type=Path, default=None, metavar="PATH",
                        help="a wheel of segment_anything, or the folder that holds it, where it is not installed")
    parser.add_argument("--dry-run", action="store_true",
                        help="on the CPU, with a tiny ViT, `lite` and small pictures: every step, no figures to quote")
    given = parser.parse_args(argv)
    dry = given.dry_run
    small = {"models": "vit_tiny_test,lite", "images": "1,2", "types": "float32,bfloat16", "size": "300x200"}
    full = {"models": ",".join(MODELS), "images": "1,4,16", "types": "float32,float16,bfloat16", "size": "1500x1000"}
    for name, value in (small if dry else full).items():
        if getattr(given, name) is None:
            setattr(given, name, value)
    given.parts = tuple((given.parts or ",".join(PARTS)).split(","))
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"--parts has {', '.join(sorted(unknown))}; expected some of {', '.join(PARTS)}")
    given.models, given.types = given.models.split(","), given.types.split(",")
    given.images = [int(number) for number in given.images.split(",")]
    given.size = tuple(int(number) for number in given.size.lower().split("x"))
    given.seconds = (0.0 if dry else 0.6) if given.seconds is None else given.seconds
    given.minutes = (60.0 if dry else 4.0) if given.minutes is None else given.minutes
    if dry and given.device == "auto":
        given.device = "cpu"
    return given


class Figures:
    """What was found so far, on the disk after every part, so that nothing is lost when the time ends."""

    def __init__(self, folder: Path, minutes: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.found = folder, dict[str, Any]()
        self.until = time.monotonic() + 60 * minutes
        self.skipped: list[str] = []

    def time_left(self, what: str) -> bool:
        """Whether a measurement may still begin; else it is noted as left out."""
        if time.monotonic() < self.until:
            return True
        self.skipped.append(what)
        return False

    def keep(self, **parts: Any) -> None:
        """Add parts and write the files."""
        self.found |= parts
        self.found["left_out_for_time"] = self.skipped
        _write(self.folder / "figures.json", json.dumps(self.found, indent=1))
        _write(self.folder / "figures.md", markdown(self.found))


def _write(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def say(text: str) -> None:
    """To whoever watches."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def machine(device: Any) -> dict[str, Any]:
    """Card and versions, without which no figure means anything."""
    import timm
    import torch

    found: dict[str, Any] = {
        "device": str(device), "python": platform.python_version(), "torch": torch.__version__,
        "timm": timm.__version__, "processor": platform.processor() or platform.machine(), "cores": os.cpu_count(),
        "threads": torch.get_num_threads(), "matmul_precision": torch.get_float32_matmul_precision(),
        "tf32_in_convolutions": torch.backends.cudnn.allow_tf32,
    }
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        found |= {"card": card.name, "memory_gb": round(card.total_memory / 1e9, 1),
                  "capability": f"{card.major}.{card.minor}", "cuda": torch.version.cuda or torch.version.hip,
                  "cudnn": torch.backends.cudnn.version(), "driver": _driver()}
    return found


def _driver() -> str:
    try:
        done = subprocess.run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
                              capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return "not known"
    return done.stdout.split("\n")[0].strip()


# --- the parts --------------------------------------------------------------------------------------------------------


def goldens(given: argparse.Namespace, figures: Figures, device: Any) -> None:
    """The authors' released program's numbers, in every number type."""
    import torch
    from gpu_goldens import CASES, PICTURES, differences, summary
    from gpu_models import build

    networks = build("vit_b", device, golden=True)
    found = {}
    kinds = ["float32"] if given.dry_run else list(given.types)
    if device.type == "cuda" and "float32" in kinds:
        kinds.append(TF32)
    before = torch.backends.cudnn.allow_tf32
    for name in kinds:
        if figures.time_left(f"goldens in {name}"):
            pictures, cases = (PICTURES[:1], CASES[:1]) if given.dry_run else (PICTURES, CASES)
            torch.backends.cudnn.allow_tf32 = name == TF32
            try:
                dtype = getattr(torch, name.split(",")[0])
                found[name] = summary(differences(networks, dtype, pictures, cases))
            finally:
                torch.backends.cudnn.allow_tf32 = before
            worst = {stage: f"{one['largest']:.1e}" for stage, one in found[name].items()}
            say(f"goldens, {name}: {worst}")
            figures.keep(goldens=found)


def stages(given: argparse.Namespace, figures: Figures, device: Any) -> None:
    """Both ways through every model."""
    import gc

    import torch
    from gpu_models import build, scenes
    from gpu_stages import Effort, api_times, measure

    rows, api = [], []
    effort = Effort(given.seconds, *((1, 0) if given.dry_run else (3, 2)))
    for name in given.models:
        if not figures.time_left(f"stages of {name}"):
            continue
        networks = build(name, device)
        for count in given.images[:1] if given.dry_run and name == "lite" else given.images:
            shown = scenes(count, *given.size)
            truth, api_truth = None, None
            for kind in dict.fromkeys(["float32", *given.types]):
                dtype = getattr(torch, kind)
                for plain in (False, True):
                    if not figures.time_left(f"{name}, {count} images, {kind}, {'plain' if plain else 'ours'}"):
                        continue
                    row, alphas = measure(networks, dtype, shown, plain=plain, effort=effort, truth=truth)
                    truth = alphas if truth is None and alphas else truth
                    rows.append(row.as_json())
                    say(_told(rows[-1]))
                if figures.time_left(f"{name}, {count} images, {kind}, embed and matte"):
                    model = networks.model.to(device, dtype)
                    times, mattes = api_times(model, shown, effort)
                    alphas = [torch.from_numpy(matte.alpha.copy()) for matte in mattes]
                    api_truth = alphas if api_truth is None else api_truth
                    off = torch.stack([(a - b).abs().mean() for a, b in zip(alphas, api_truth, strict=True)])
                    api.append({"model": name, "dtype": kind, "images": count, **times, "off": float(off.mean())})
                figures.keep(stages=rows, api=api, asked=asked(rows))
        del networks
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def asked(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What this benchmark is to show, and whether it does; for the first model that is a ViT."""
    def find(way: str, kind: str) -> dict[str, Any] | None:
        fitting = (row for row in rows if row["images"] == 1 and row["way"] == way and row["dtype"] == kind
                   and row["model"].startswith("vit") and row["first_total"])
        return next(fitting, None)

    found = []
    plain = find("plain", "float32")
    for kind in ("float16", "bfloat16", "float32"):
        own, like = find("ours", kind), find("plain", kind)
        for which, limit in (("first", FIRST_SHARE), ("second", SECOND_SHARE)):
            if own and plain:
                share = own[f"{which}_total"] / plain[f"{which}_total"]
                alike = own[f"{which}_total"] / like[f"{which}_total"] if like else None
                found.append({"what": f"{own['model']}, {which} prompt, {kind} of plain float32", "value": share,
                              "limit": limit, "holds": share <= limit, "of_plain_in_the_same_type": alike})
        if own and own["off"] and kind != "float32":
            found.append({"what": f"{own['model']}, alpha in {kind} off float32 on average", "value": own["off"][0],
                          "limit": HALF_OFF, "holds": own["off"][0] <= HALF_OFF})
    return found


def shown_models(given: argparse.Namespace) -> list[str]:
    """Those that are looked into more closely: the first two, vit_b and lite where nothing else is asked for."""
    return list(given.models[:2])


def waits(given: argparse.Namespace, figures: Figures, device: Any) -> None:
    """Where the host waits: on a card as torch reports it, elsewhere on a pretended one."""
    from gpu_models import build, scenes
    from gpu_waits import waits_of

    found: list[dict[str, Any]] = []
    for name in shown_models(given):
        if figures.time_left(f"waits of {name}"):
            [scene] = scenes(1, *given.size)
            found += [{"model": name, **one} for one in waits_of(build(name, device).model, scene.image, scene.box)]
            told = (f"{one['step']} {one['waits']}" for one in found if one["model"] == name)
            say(f"waits, {name}: {', '.join(told)}")
    figures.keep(waits=found)


def profile(given: argparse.Namespace, figures: Figures, device: Any) -> None:
    """Where the time goes, by torch's profiler; the whole tables go to profile.txt."""
    from gpu_models import build, scenes
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    cuda = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    by = "self_cuda_time_total" if cuda else "self_cpu_time_total"
    texts, tops = [], []
    for name in shown_models(given):
        if not figures.time_left(f"profile of {name}"):
            continue
        model = build(name, device).model.to(device, "auto")
        [scene] = scenes(1, *given.size)
        model.matte(model.embed(scene.image), scene.box)
        for step in ("first prompt", "second prompt"):
            embedding = None if step == "first prompt" else model.embed(scene.image)
            with profiler(activities=activities) as taken:
                model.matte(embedding or model.embed(scene.image), scene.box)
            events = taken.key_averages()
            texts.append(f"## {name}, {step}\n\n{events.table(sort_by=by, row_limit=30, max_name_column_width=70)}")
            spent = "self_device_time_total" if cuda else "self_cpu_time_total"
            ranked = sorted(events, key=lambda one: -float(getattr(one, spent, 0)))[:8]
            tops += [{"model": name, "step": step, "operation": one.key[:80], "calls": one.count,
                      "ms": float(getattr(one, spent, 0)) / 1000} for one in ranked]
    _write(figures.folder / "profile.txt", "\n\n".join(texts))
    figures.keep(profile=tops)
    say(f"profile: {figures.folder / 'profile.txt'}")


def variants(given: argparse.Namespace, figures: Figures, device: Any) -> None:
    """What else could be done, timed."""
    import torch
    from gpu_models import build
    from gpu_variants import attention, graphs

    found: dict[str, list[dict[str, Any]]] = {"attention": [], "graphs": []}
    half = "bfloat16" if given.dry_run else "float16"
    for name in shown_models(given):
        if figures.time_left(f"variants of {name}"):
            networks = build(name, device)
            for kind in ("float32", half):
                dtype = getattr(torch, kind)
                if name != "lite":
                    found["attention"] += attention(networks, dtype, given.seconds / 2)
                found["graphs"] += graphs(networks, dtype, given.seconds / 2)
            figures.keep(variants=found)
    say(f"variants: {len(found['attention'])} of attention, {len(found['graphs'])} of graphs")


def tests(given: argparse.Namespace, figures: Figures, device: Any) -> None:
    """The tests marked gpu, in a process of their own; in a dry run their code on the CPU."""
    environment = dict(os.environ)
    if device.type == "cpu":
        environment["MATTING_ANYTHING_GPU_TESTS_ON"] = "cpu"
    paths = [str(HERE.parent), *([str(given.segment_anything)] if given.segment_anything else []),
             *environment.get("PYTHONPATH", "").split(os.pathsep)]
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu" + (" and not slow" if given.dry_run else ""),
               "-p", "no:cacheprovider", str(HERE.parent / "tests" / "gpu")]
    limit = max(60.0, figures.until - time.monotonic() + 60)
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit, check=False)
        lines, status = done.stdout.strip().splitlines() or done.stderr.strip().splitlines(), done.returncode
    except subprocess.TimeoutExpired:
        lines, status = [f"not done after {limit:.0f} s"], -1
    _write(figures.folder / "tests.txt", "\n".join(lines))
    last = lines[-1] if lines else "no output"
    figures.keep(tests={"status": status, "summary": last})
    say(f"tests: {last}")


# --- the report -------------------------------------------------------------------------------------------------------


def _told(row: dict[str, Any]) -> str:
    if row["failed"]:
        return f"{row['model']}, {row['images']} images, {row['way']} {row['dtype']}: {row['failed']}"
    return (f"{row['model']}, {row['images']} images, {row['way']} {row['dtype']}: "
            f"first {row['first_total']:.1f} ms, second {row['second_total']:.1f} ms")


def _table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> list[str]:
    head = list(head)
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head),
            *("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows), ""]


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if isinstance(value, float):
        return f"{value:.1e}" if value and abs(value) < 1e-2 else f"{value:.2f}"
    return "" if value is None else str(value)


def markdown(found: dict[str, Any]) -> str:
    """The figures as tables."""
    lines = ["# Figures", ""]
    if found.get("dry_run"):
        lines += ["**A dry run on a CPU, with tiny networks: it shows that every step works, and no figure in it says "
                  "anything of a GPU.**", ""]
    lines += _table(("", ""), found.get("machine", {}).items())
    if "asked" in found:
        lines += ["## What is asked", "", *_table(
            ("", "value", "limit", "holds", "of plain in the same type"),
            ((one["what"], one["value"], one["limit"], one["holds"], one.get("of_plain_in_the_same_type"))
             for one in found["asked"]))]
    if "goldens" in found:
        lines += ["## Against the authors' released program", "", "Largest and mean absolute differences.", "", *_table(
            ("type", "stage", "largest", "mean", "as near as float32 is to be"),
            ((kind, stage, one["largest"], one["mean"], one["kept"])
             for kind, stage_rows in found["goldens"].items() for stage, one in stage_rows.items()))]
    if "stages" in found:
        names = ("prepare", "encode", "decode", "alpha", "result")
        lines += ["## Stages", "", "Milliseconds for all images together, medians. Peak: GB of the card's memory.", "",
                  *_table(("model", "images", "way", "type", *names, "first", "second", "peak", "alpha off"), (
                      (row["model"], row["images"], row["way"], row["dtype"],
                       *(row["failed"] or row["first"].get(name) for name in names), row["first_total"],
                       row["second_total"], None if row["peak"] is None else row["peak"] / 1e9,
                       row["off"][0] if row["off"] else None) for row in found["stages"]))]
    if "api" in found:
        lines += ["## embed and matte, one image after the other", "", *_table(
            ("model", "images", "type", "first prompt, ms", "second, ms", "alpha off float32"),
            ((one["model"], one["images"], one["dtype"], one["first"], one["second"], one["off"])
             for one in found["api"]))]
    if "waits" in found:
        lines += ["## Where the host waits for the device", "", *_table(
            ("model", "step", "waits", "where"),
            ((one["model"], one["step"], one["waits"], "; ".join(one["places"])) for one in found["waits"]))]
    if "profile" in found:
        lines += ["## Where the time goes", "", *_table(
            ("model", "step", "operation", "calls", "ms"),
            ((one["model"], one["step"], f"`{one['operation']}`", one["calls"], one["ms"])
             for one in found["profile"]))]
    for name, head in (("attention", ("block", "way", "kernel", "dtype", "ms", "off", "failed")),
                       ("graphs", ("stage", "dtype", "eager_ms", "graph_ms", "failed"))):
        if rows := found.get("variants", {}).get(name):
            lines += [f"## Variants: {name}", "",
                      *_table(("model", *head), ((row["model"], *(row.get(key) for key in head)) for row in rows))]
    if "tests" in found:
        lines += ["## Tests marked gpu", "", f"`{found['tests']['summary']}`", ""]
    if found.get("failed_parts"):
        lines += ["## Failed", "", *(f"- {part}: {error}" for part, error in found["failed_parts"].items()), ""]
    if found.get("left_out_for_time"):
        lines += ["## Left out for lack of time", "", *(f"- {one}" for one in found["left_out_for_time"]), ""]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run the parts; 1 when one of them failed or a test did."""
    given = arguments(argv)
    if given.segment_anything is not None:
        sys.path.insert(0, str(given.segment_anything))
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    import torch

    from matting_anything_core.device import resolve_device

    device = resolve_device("cuda" if given.device == "auto" else given.device)
    figures = Figures(given.out, given.minutes)
    figures.keep(machine=machine(device), dry_run=given.dry_run)
    say(f"{figures.found['machine'].get('card', device)}, torch {torch.__version__}")
    works: dict[str, Callable[..., None]] = {
        "goldens": goldens, "stages": stages, "waits": waits, "profile": profile, "variants": variants, "tests": tests}
    failed: dict[str, str] = {}
    begun = time.monotonic()
    for name in given.parts:
        if not figures.time_left(name):
            continue
        start = time.monotonic()
        try:
            works[name](given, figures, device)
        except Exception as error:  # the others are still worth their time on a card
            import traceback

            traceback.print_exc()
            failed[name] = f"{type(error).__name__}: {error}"[:300]
        say(f"{name} took {time.monotonic() - start:.1f} s")
        figures.keep(failed_parts=failed, seconds=round(time.monotonic() - begun, 1))
    figures.keep()
    say(f"{given.out / 'figures.md'} and {given.out / 'figures.json'}")
    return 1 if failed or figures.found.get("tests", {}).get("status", 0) else 0


if __name__ == "__main__":
    sys.exit(main())
