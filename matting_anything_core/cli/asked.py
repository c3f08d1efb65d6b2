"""What to matte, as it was typed: boxes, points, a mask, words; prompts once the image is known."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..boxes import BoxText, PointText, read_box, read_point
from ..errors import PromptError

if TYPE_CHECKING:
    from ..image import Image
    from ..types import Prompt


@dataclass(frozen=True)
class Asked:
    """The prompts of the command line. Several boxes are several objects; points, mask and words belong to the one
    object there is."""

    boxes: tuple[BoxText, ...] = ()
    points: tuple[PointText, ...] = ()
    mask: Any = None
    text: str | None = None
    keep: Any = None
    drop: Any = None
    trimap: Any = None
    previous: Any = None
    subject: bool = False

    def on(self, image: Image) -> list[Prompt]:
        """The prompts for an image."""
        from ..types import Prompt

        boxes = [box.on(image.width, image.height) for box in self.boxes]
        if len(boxes) > 1:
            return [Prompt(box=box) for box in boxes]
        return [Prompt(
            box=boxes[0] if boxes else None,
            points=[point.on(image.width, image.height) for point in self.points] or None,
            labels=[point.label for point in self.points] or None,  # type: ignore[misc]
            mask=self.mask, text=self.text, keep=self.keep, drop=self.drop, trimap=self.trimap, previous=self.previous,
            subject=self.subject,
        )]


def asked(args: argparse.Namespace) -> Asked:
    """What --box, --point, --mask, --text and their like ask for; what can be told without the image is checked."""
    from .streams import note

    boxes = tuple(read_box(text) for text in args.box)
    points = tuple(read_point(text) for text in args.point)
    files = {name: getattr(args, name, None) for name in ("mask", "keep", "drop", "trimap", "previous")}
    given = points or args.text or any(files.values())
    subject = args.subject or not (boxes or given)
    if subject and (boxes or args.text or files["mask"] or files["trimap"] or files["previous"]):
        raise PromptError("--subject finds by itself what to matte; it goes with --point, --keep and --drop only")
    if len(boxes) > 1 and given:
        raise PromptError(
            f"{len(boxes)} boxes were given together with points, strokes, a mask or text, so it is not clear which "
            "object those belong to; give one --box with them, or call once for each object"
        )
    everything: list[BoxText | PointText] = [*boxes, *points]
    for text, typed in zip([*args.box, *args.point], everything, strict=True):
        if typed.guessed and not args.quiet:
            note(f"{text} was read as shares of width and height; per cent say so: {_per_cent(text)}")
    return Asked(boxes, points, text=args.text, subject=subject, **{name: _mask(file) for name, file in files.items()})


def _per_cent(text: str) -> str:
    parts = text.replace(";", ",").split(",")
    shares = parts[:4] if len(parts) == 4 else parts[:2]
    return ",".join([*(f"{100 * float(part):.6g}%" for part in shares), *parts[len(shares):]])


def _mask(file: str | None) -> Any:
    from ..image import read_image
    from ..pipeline.prompting import as_mask

    if not file:
        return None
    return as_mask(read_image(standard_input() if file == "-" else file))


def standard_input() -> bytes:
    """The bytes of a picture from standard input. Raises PromptError where a person would have to type them."""
    if sys.stdin is None or sys.stdin.isatty():
        raise PromptError("`-` reads an image from standard input, but that is the keyboard; pipe one in, "
                          "for example: matting-anything matte - -o out.png < photo.jpg")
    return sys.stdin.buffer.read()
