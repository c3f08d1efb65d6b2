"""One run: for each layer send the picture, ask for its matte and fetch it; then put all of them into the image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import client
import outcome
import pixels
import service
from arguments import Asked
from progress import Bar, Share, counted
from subject import Selected, Standing, check, check_found, enough, prompts_of
from translation import _

STAGES = {"load": (_("Loading the model…"), 0.0, 0.0), "encode": (_("Looking at the picture…"), 0.0, 0.6),
          "matte": (_("Matting…"), 0.6, 1.0),
          "words": (_("Looking for the words…"), 0.6, 0.6), "memory": (_("Waiting for memory…"), 0.0, 0.0)}
"""What the service is doing: how that is called, and its share of the whole."""


def matte_layers(image: Any, layers: list[Any], asked: Asked) -> list[str]:
    """Do all of it; the image is touched only at the end, when every matte is there. Raises ClientError.

    Returns what the user should know of the result, a sentence each.
    """
    check(layers, asked)
    jobs = [Job(Standing.of(layer), prompts_of(image, layer, asked), _limits(image, layer, asked)) for layer in layers]
    bar = Bar(_("Matte Selection"))
    bar.say(_("Waiting for the matting service…"))
    running = service.find(bar.pulse)
    mattes: list[outcome.Found] = []
    warnings: list[str] = []
    for index, job in enumerate(jobs):
        job.standing.check()
        span = index / len(layers), (index + 1) / len(layers)
        mattes += _mattes(running, job, asked, Progress(bar, *span), warnings)
    for job in jobs:
        job.standing.check()
    outcome.put(image, mattes, asked)
    bar.end()
    return warnings


@dataclass(frozen=True)
class Job:
    """What is asked for one layer. limits: a buffer of shares by which the result is multiplied, or None."""

    standing: Standing
    prompts: list[dict[str, Any]]
    limits: Any


@dataclass(frozen=True)
class Progress:
    """A layer's part of the bar."""

    bar: Bar
    start: float
    stop: float

    def part(self, start: float, stop: float) -> Share:
        """What moves the bar through a share of this part."""
        width = self.stop - self.start
        return self.bar.part(self.start + width * start, self.start + width * stop)


def _limits(image: Any, layer: Any, asked: Asked) -> Any:
    """The selection as it is now: it may change while the matte is made."""
    selected = Selected.of(image) if asked.confine else None
    return None if selected is None else selected.share(layer)


def _mattes(
    running: client.Service, job: Job, asked: Asked, progress: Progress, warnings: list[str]
) -> list[outcome.Found]:
    """A layer's mattes: one, or one for each object. Raises Problem when there is next to nothing in any of them."""
    layer, bar = job.standing.layer, progress.bar
    bar.say(_("Sending “{name}”…").format(name=job.standing.name))
    picture = _send(running, layer, progress.part(0.0, 0.15))
    everything = asked.separate and bool(asked.words)
    described = running.mattes(picture, job.prompts, _telling(bar, progress.part(0.15, 0.85)), model=asked.model,
                               **({"all_matches": True} if everything else {}))
    warnings += _doubts(job, described)
    if len(described) > 1 and not asked.separate:
        together = running.combined(picture, [str(one["matte"]) for one in described])
        for one in described:
            running.forget(str(one["matte"]))
        described = [{"matte": together}]
    bar.say(_("Fetching the matte…"))
    found, most = [], 0
    for number, one in enumerate(described):
        matte = str(one["matte"])
        move = progress.part(0.85 + 0.15 * number / len(described), 0.85 + 0.15 * (number + 1) / len(described))
        share, count = _fetch(running, matte, job.standing, bar, move)
        prompt = job.prompts[number] if len(described) == len(job.prompts) else job.prompts[0]
        most = max(most, count)
        if enough(prompt, count):
            colours = _clean(running, matte, job.standing, bar) if asked.output == "layer" else None
            if job.limits is not None:
                share = pixels.combine("gegl:multiply", share, job.limits, *job.standing.size)
            found.append(outcome.Found(layer, share, _title(job, asked, one, number, len(described)), colours))
        running.forget(matte)
    if not found:
        check_found(layer, job.prompts[0], most)
        raise AssertionError("a result with enough pixels was left out")
    if len(found) < len(described):
        warnings.append(_("{count} of {all} objects in “{name}” were left out, since next to nothing was found there.")
                        .format(count=len(described) - len(found), all=len(described), name=job.standing.name))
    return found


def _send(running: client.Service, layer: Any, move: Share) -> str:
    """Bring a layer's pixels to the service; the picture's id there."""
    width, height = layer.get_width(), layer.get_height()
    form, channels = pixels.picture_format(layer)
    strips = pixels.strips(layer.get_buffer(), 0, 0, width, height, form)
    return running.upload_pixels(counted(strips, width * height * pixels.BYTES[form], move), width, height, channels,
                                 pixels.dtype(form))


def _fetch(running: client.Service, matte: str, standing: Standing, bar: Bar, move: Share) -> tuple[Any, int]:
    """The subject's share in what a layer shows, a buffer of "Y u16", and the number of pixels where it can be seen."""
    width, height = standing.size
    counts: list[int] = []
    rows = counted(running.rows(matte, "alpha", "u16", (width, height, 1), bar.pulse), 2 * width * height, move)
    share = pixels.kept(width, height, "Y u16", pixels.seen(rows, counts))
    standing.check()
    if pixels.has_holes(standing.layer):
        # The matte of a picture with transparent pixels holds its alpha; a layer's own is multiplied with it once more.
        share = pixels.combine("gegl:divide", share, pixels.own_alpha(standing.layer), width, height)
    return share, counts[0]


def _clean(running: client.Service, matte: str, standing: Standing, bar: Bar) -> Any:
    """The clean colours of a matte as a buffer."""
    width, height = standing.size
    bar.say(_("Cleaning the colours…"))
    form = f"R'G'B' {pixels.depth(standing.image)}"
    rows = running.rows(matte, "foreground", pixels.dtype(form), (width, height, 3), bar.pulse)
    return pixels.kept(width, height, form, rows)


def _telling(bar: Bar, move: Share) -> Callable[[dict[str, Any]], None]:
    """What shows the service's events in the bar."""
    def told(event: dict[str, Any]) -> None:
        if event.get("event") == "queued":
            bar.say(_("Waiting for other pictures…"))
        elif event.get("event") == "progress":
            text, start, stop = STAGES.get(str(event.get("stage")), (_("Starting…"), 0.0, 0.0))
            bar.say(text)
            move(start + (stop - start) * float(event.get("share") or 0.0))
        else:
            bar.pulse()

    return told


def _doubts(job: Job, described: list[dict[str, Any]]) -> list[str]:
    """What the service says of its results beside them."""
    texts = [str(text) for one in described for text in one.get("warnings") or []]
    sure = [text for text in texts if not ("subject" in job.prompts[0] and "subject" in text)]
    told = [f"“{job.standing.name}”: {text}." for text in dict.fromkeys(sure)]
    if len(sure) < len(texts):
        told.insert(0, _("It is not certain that what was found in “{name}” is its subject. If it is not, undo it, "
                         "select around the subject and try again.").format(name=job.standing.name))
    return told


def _title(job: Job, asked: Asked, one: dict[str, Any], number: int, count: int) -> str:
    """What a new layer or channel is called."""
    name = job.standing.name
    if count > 1 and one.get("phrase"):
        return _("{phrase} in {name}").format(phrase=one["phrase"], name=name)
    if count > 1:
        return _("{name} (matte {number})").format(name=name, number=number + 1)
    return (_("{name} (matte)") if asked.output == "layer" else _("Matte of {name}")).format(name=name)
