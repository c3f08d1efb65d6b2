"""One run: for each layer send the picture, ask for its matte and fetch it; then put all of them into the image."""

from __future__ import annotations

from typing import Any

import client
import outcome
import pixels
import service
from arguments import Asked
from progress import Bar, counted
from subject import Standing, check, check_found, prompt_of
from translation import _

STAGES = {"load": (_("Loading the model…"), 0.0, 0.0), "encode": (_("Looking at the picture…"), 0.0, 0.6),
          "matte": (_("Matting…"), 0.6, 1.0)}
"""What the service is doing: how that is called, and its share of the whole."""


def matte_layers(image: Any, layers: list[Any], asked: Asked) -> None:
    """Do all of it; the image is touched only at the end, when every matte is there. Raises ClientError."""
    check(layers, asked)
    prompts = [prompt_of(image, layer, asked) for layer in layers]
    standings = [Standing.of(layer) for layer in layers]
    bar = Bar(_("Matte Selection"))
    bar.say(_("Waiting for the matting service…"))
    running = service.find(bar.pulse)
    mattes = []
    for index, (layer, prompt) in enumerate(zip(layers, prompts, strict=True)):
        span = index / len(layers), (index + 1) / len(layers)
        standings[index].check(image)
        mattes.append(_matte(running, layer, prompt, asked, bar, span))
    for standing in standings:
        standing.check(image)
    outcome.put(image, mattes, asked)
    bar.end()


def _matte(
    running: client.Service, layer: Any, prompt: dict[str, Any], asked: Asked, bar: Bar, span: tuple[float, float]
) -> outcome.Found:
    """A layer's matte: the share of the subject in each pixel, and its clean colours for a new layer."""
    width, height = layer.get_width(), layer.get_height()
    sent, done = (span[0] + (span[1] - span[0]) * share for share in (0.15, 0.85))
    form, channels = pixels.picture_format(layer)
    bar.say(_("Sending “{name}”…").format(name=layer.get_name()))
    strips = pixels.strips(layer.get_buffer(), 0, 0, width, height, form)
    size = width * height * pixels.BYTES[form]
    picture = running.upload_pixels(counted(strips, size, bar.part(span[0], sent)), width, height, channels,
                             pixels.dtype(form))

    move = bar.part(sent, done)

    def told(event: dict[str, Any]) -> None:
        if event.get("event") == "queued":
            bar.say(_("Waiting for other pictures…"))
        elif event.get("event") == "progress":
            text, start, stop = STAGES.get(str(event.get("stage")), (_("Starting…"), 0.0, 0.0))
            bar.say(text)
            move(start + (stop - start) * float(event.get("share") or 0.0))
        else:
            bar.pulse()

    matte = str(running.matte(picture, prompt, told, model=asked.model)["matte"])
    bar.say(_("Fetching the matte…"))
    counts: list[int] = []
    rows = running.rows(matte, "alpha", "u16", (width, height, 1), bar.pulse)
    rows = pixels.seen(counted(rows, 2 * width * height, bar.part(done, span[1])), counts)
    share = pixels.kept(width, height, "Y u16", rows)
    check_found(layer, prompt, counts[0])
    colours = None
    if asked.output == "layer":
        bar.say(_("Cleaning the colours…"))
        form = f"R'G'B' {pixels.depth(layer.get_image())}"
        rows = running.rows(matte, "foreground", pixels.dtype(form), (width, height, 3), bar.pulse)
        colours = pixels.kept(width, height, form, rows)
    running.forget(matte)
    if channels == 4:
        # The matte of a picture with transparent pixels holds its alpha; a layer's own is multiplied with it once more.
        share = pixels.combine("gegl:divide", share, pixels.own_alpha(layer), width, height)
    return outcome.Found(layer, share, colours)
