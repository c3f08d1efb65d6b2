"""One run: for each layer send the picture, ask for its matte and fetch it; then put all of them into the image."""

from __future__ import annotations

from typing import Any

import client
import outcome
import pixels
import service
from arguments import Asked
from progress import Bar, counted
from subject import check, prompt_of
from translation import _

STAGES = {"load": (_("Loading the model…"), 0.0, 0.0), "encode": (_("Looking at the picture…"), 0.0, 0.6),
          "matte": (_("Matting…"), 0.6, 1.0)}
"""What the service is doing: how that is called, and its share of the whole."""


def matte_layers(image: Any, layers: list[Any], asked: Asked) -> None:
    """Do all of it; the image is touched only at the end, when every matte is there. Raises ClientError."""
    check(layers, asked)
    prompts = [prompt_of(image, layer, asked) for layer in layers]
    bar = Bar(_("Matte Selection"))
    bar.say(_("Waiting for the matting service…"))
    running = service.find(bar.pulse)
    mattes = []
    for index, (layer, prompt) in enumerate(zip(layers, prompts, strict=True)):
        span = index / len(layers), (index + 1) / len(layers)
        mattes.append((layer, _matte(running, layer, prompt, asked, bar, span)))
    outcome.put(image, mattes, asked)
    bar.end()


def _matte(
    running: client.Service, layer: Any, prompt: dict[str, Any], asked: Asked, bar: Bar, span: tuple[float, float]
) -> Any:
    """A layer's matte as a buffer: its colours and alpha for a new layer, else the share of the subject."""
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
    what, form, channels = "alpha", "Y u16", 1
    if asked.output == "layer":
        what, form, channels = "cutout", pixels.CUTOUT[pixels.depth(layer.get_image())], 4
    rows = running.rows(matte, what, pixels.dtype(form), (width, height, channels), bar.pulse)
    size = width * height * pixels.BYTES[form]
    result = pixels.kept(width, height, form, counted(rows, size, bar.part(done, span[1])))
    running.forget(matte)
    if what == "alpha" and pixels.has_holes(layer):
        # The matte of a picture with transparent pixels holds its alpha; a mask is multiplied with it once more.
        result = pixels.combine("gegl:divide", result, pixels.own_alpha(layer), width, height)
    return result
