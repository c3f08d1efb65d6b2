"""How fast, and with how much memory, against a plain path: segment_anything's own forward and Mask-to-Matte as it
trains, over the whole square.

Every measurement is a process of its own (`python -m matting_anything_core.benchmark`, a job as JSON in, numbers as
JSON out), so that the peak of its memory is its own; the two paths take turns. Of each stage's times the smallest
counts, since other work on the machine can only add to it.

The mask that Mask-to-Matte gets is an ellipse inside the prompt's box in both paths: how much of the picture matters
then depends on the box and not on what (possibly random) weights make of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .errors import MattingError

if TYPE_CHECKING:
    from torch import Tensor

    from .geometry import Fit
    from .image import Image

Way = Literal["plain", "exact"]
WAYS: tuple[Way, ...] = ("plain", "exact")
STAGES = ("load", "encode", "decode", "alpha", "foreground")
"""alpha: the alpha head, and the merging of its scales."""
FIRST = ("encode", "decode", "alpha")
SECOND = ("decode", "alpha")


@dataclass(frozen=True)
class Job:
    """One process: a model's file or name, the way through it, a picture and a box x0, y0, x1, y1 in its pixels."""

    weights: str
    way: Way
    picture: str
    box: tuple[float, float, float, float]
    threads: int | None = None
    cpu_time: bool = False
    """Count the CPU's seconds (of all threads together) and not the wall clock's."""


@dataclass(frozen=True)
class Measured:
    """Seconds by stage of the first and of a second prompt on the same picture; peak memory in bytes, if known."""

    first: dict[str, float]
    second: dict[str, float]
    peak: int | None

    def total(self, stages: Sequence[str], second: bool = False) -> float:
        """Seconds of several stages."""
        return sum((self.second if second else self.first).get(stage, 0.0) for stage in stages)

    def better(self, other: Measured) -> Measured:
        """The smaller time of each stage, and the smaller peak."""
        peak = None if self.peak is None or other.peak is None else min(self.peak, other.peak)
        return Measured(
            {stage: min(value, other.first[stage]) for stage, value in self.first.items()},
            {stage: min(value, other.second[stage]) for stage, value in self.second.items()},
            peak,
        )


class _Clock:
    """Adds up seconds by stage."""

    def __init__(self, job: Job) -> None:
        self.seconds: dict[str, float] = {}
        self._now = time.process_time if job.cpu_time else time.perf_counter

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = self._now()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + self._now() - start

    def take(self) -> dict[str, float]:
        seconds, self.seconds = self.seconds, {}
        return seconds


def write_random_model(architecture: str, path: str | Path) -> None:
    """A model file with fresh weights of SAM and the bundled model's Mask-to-Matte, for timing only.

    Raises WeightsError for an unknown architecture.
    """
    import torch

    from .networks.sam import build_sam
    from .weights import open_checkpoint
    from .weights.convert import write_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sam = build_sam(architecture)
    metadata = {"architecture": architecture, "square": str(sam.square), "matte_square": str(sam.square),
                "licence": "CC0-1.0", "source": "random numbers"}
    write_model(path, sam=sam.state_dict(), m2m=open_checkpoint("lite").m2m, metadata=metadata, dtype=torch.float32)


def measure(job: Job) -> Measured:
    """Run a job in a process of its own.

    Raises MattingError with the process's last line when it fails.
    """
    command = [sys.executable, "-m", "matting_anything_core.benchmark", json.dumps(asdict(job))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise MattingError(f"measuring {job.weights} ({job.way}) failed: {reason}")
    return Measured(**json.loads(done.stdout.strip().splitlines()[-1]))


def compare(
    job: Job, rounds: int = 2, report: Callable[[str], None] = lambda _text: None
) -> tuple[Measured, Measured]:
    """Both paths through a job's model in turns: (plain, exact)."""
    best: dict[Way, Measured] = {}
    for turn in range(rounds):
        for way in WAYS:
            report(f"{Path(job.weights).stem}: {way}, round {turn + 1} of {rounds}")
            measured = measure(replace(job, way=way))
            best[way] = measured.better(best[way]) if way in best else measured
    return best["plain"], best["exact"]


def table(name: str, plain: Measured, exact: Measured) -> list[str]:
    """Lines of text: stages, prompts and memory of both paths, and their ratio."""
    lines = [f"{name:<34}{'plain':>10}{'exact':>10}{'ratio':>8}"]

    def line(label: str, before: float | None, after: float | None, unit: str) -> None:
        cells = [f"{value:.2f} {unit}" if value is not None else "-" for value in (before, after)]
        ratio = f"{after / before:.2f}x" if before and after is not None else "-"
        lines.append(f"  {label:<32}{cells[0]:>10}{cells[1]:>10}{ratio:>8}")

    for stage in STAGES:
        line(stage, plain.first.get(stage), exact.first.get(stage), "s")
    line("first prompt", plain.total(FIRST), exact.total(FIRST), "s")
    line("second prompt, embedding kept", plain.total(SECOND, True), exact.total(SECOND, True), "s")
    line("whole matte(), first prompt", None, exact.first.get("matte"), "s")
    line("whole matte(), second prompt", None, exact.second.get("matte"), "s")
    gigabytes = [None if measured.peak is None else measured.peak / 1e9 for measured in (plain, exact)]
    line("peak memory", gigabytes[0], gigabytes[1], "GB")
    return lines


# --- inside the measuring process ------------------------------------------------------------------------------------


def subject_logits(box: tuple[float, float, float, float], fit: Fit) -> Tensor:
    """An ellipse inside a box of the picture, as low-resolution logits 1×S/4×S/4 (±10)."""
    import torch

    side = fit.square // 4
    x0, y0, x1, y1 = (value / 4 for value in fit.box(box))
    place = torch.arange(side) + 0.5
    across = (place - (x0 + x1) / 2) / ((x1 - x0) / 2)
    down = (place - (y0 + y1) / 2) / ((y1 - y0) / 2)
    inside = across[None, :] ** 2 + down[:, None] ** 2 < 1
    return (inside.float() * 20 - 10)[None]


def _peak() -> int | None:
    """Peak of this process's resident memory in bytes; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _exact(job: Job, image: Image) -> Measured:
    """The model's own steps, with the subject's mask in the place of the decoder's; and the whole of `matte`."""
    from .api import load_model
    from .geometry import Fit
    from .options import MatteOptions
    from .pipeline.masks import MaskLogits
    from .pipeline.prompting import DecoderPrompt

    clock = _Clock(job)
    with clock.stage("load"):
        model = load_model(job.weights, device="cpu")
    options = model.decided(MatteOptions(guidance="mask", sides="one", detail=False))
    mask = MaskLogits(subject_logits(job.box, Fit(image.height, image.width, model.square)), 1.0)
    with clock.stage("encode"):
        embedding = model.embed(image)
        view = model.view(embedding)
    times, peaks = [], []
    for _ in range(2):
        with clock.stage("decode"):
            model.segment(view, [DecoderPrompt(job.box)])
        with clock.stage("alpha"):
            model.predict_alpha(embedding, view, mask, options)
        peaks.append(_peak())  # before what the plain path does not have
        times.append(clock.take())
    fresh = None
    for seconds in times:
        with clock.stage("matte"):  # as a user calls it: mask refinement, crop and upsampling included
            fresh = model.embed(image) if fresh is None else fresh
            [matte] = model.matte(fresh, job.box)
        with clock.stage("foreground"):
            _ = matte.foreground
        seconds.update(clock.take())
    return Measured(times[0], times[1], peaks[0])


def _plain(job: Job, image: Image) -> Measured:
    """segment_anything's own modules and Mask-to-Matte as it trains, everything over the whole square."""
    import torch
    from torch.nn import functional as F

    from .geometry import Fit, to_square
    from .networks.backbone import SteppedEncoder
    from .networks.m2m import MaskToMatte
    from .networks.sam import Sam, build_sam
    from .pipeline.merging import merge
    from .weights import open_checkpoint

    clock, times, peaks = _Clock(job), [], []
    size = image.height, image.width
    with clock.stage("load"):
        checkpoint = open_checkpoint(job.weights)
        sam, m2m = build_sam(checkpoint.architecture, checkpoint.square), MaskToMatte().eval()
        if type(sam) is not Sam or isinstance(sam.image_encoder, SteppedEncoder) or not checkpoint.m2m:
            raise MattingError(f"this compares with segment_anything and Mask-to-Matte, and {checkpoint.architecture} "
                               "is something else; benchmarks/segmenters.py in the repository compares it with its "
                               "own published code")
        sam.load_state_dict(checkpoint.sam)
        m2m.load_state_dict(checkpoint.m2m)
    fit, fine = Fit(*size, sam.square), Fit(*size, checkpoint.matte_square)
    logits = subject_logits(job.box, fit)
    with torch.no_grad():
        with clock.stage("encode"):
            features = sam.image_encoder(to_square(image.rgb8(), fit, sam.mean, sam.std))
            pixels = to_square(image.rgb8(), fine, sam.mean, sam.std)
        for _ in range(2):
            with clock.stage("decode"):
                sparse, dense = sam.prompt_encoder(None, torch.tensor([fit.box(job.box)]), None)
                sam.mask_decoder(features, sam.prompt_encoder.get_dense_pe(), sparse, dense, True)
            with clock.stage("alpha"):
                grid = fine.square // 16
                large = features if features.shape[-1] == grid else F.interpolate(
                    features, (grid, grid), mode="bilinear", align_corners=False)
                alphas = m2m(large, pixels, (logits > 0).float()[None])
            with clock.stage("alpha"):
                mask = _resized(logits[None], fit, fit.square) > 0
                merge(mask, *(_resized(alpha, fine, fine.square) for alpha in alphas))
            times.append(clock.take())
            peaks.append(_peak())
    return Measured(times[0], times[1], peaks[0])


def _resized(values: Tensor, fit: Fit, side: int) -> Tensor:
    """From the square to the picture's pixels, all of it."""
    from torch.nn import functional as F

    square = F.interpolate(values, (side, side), mode="bilinear", align_corners=False)
    height, width = fit.scaled
    return F.interpolate(square[..., :height, :width], (fit.height, fit.width), mode="bilinear", align_corners=False)


def main(text: str) -> int:
    """Measure one job, given and answered as JSON."""
    import torch

    from .image import read_image

    values = json.loads(text)
    job = Job(**{**values, "box": tuple(values["box"])})
    if job.threads:
        torch.set_num_threads(job.threads)
    image = read_image(job.picture)
    measured = _plain(job, image) if job.way == "plain" else _exact(job, image)
    print(json.dumps(asdict(measured)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
