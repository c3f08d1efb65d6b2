"""`matting-anything video`: mark an object in a frame or a few, matte the whole clip."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import PromptError
from .heard import warnings_heard
from .streams import note, shown

if TYPE_CHECKING:
    from ..image import Image
    from ..video.marks import Marks
    from ..video.source import Clip

DESCRIPTION = """\
Cut an object out of a clip: mark it in one frame, or a few, and get the matte of every frame.

The object is followed forward and backward from each frame that is marked; between two of them both directions are
blended. --at N says which frame (from 0) the marks after it are for; what comes before any --at is for frame 0. Points
and strokes alone, in a later frame than the first mark, correct what tracking gives there, and are carried on both
ways. Where the object is gone, or cannot be found, the matte is empty, and that is said.
"""
EXAMPLES = """\
examples:
  matting-anything video clip.mp4 --box 120,40,560,700 --preview look.png
      look at a few frames first: the marked one, and some after it
  matting-anything video clip.mp4 --box 120,40,560,700 -o clip.mov
      ProRes 4444 with straight alpha and clean edge colours, with the sound, for an editor
  matting-anything video clip.mp4 --box 120,40,560,700 --at 120 --point 300,200,0 -o clip.mov
      in frame 120 that place is not part of it; the frames around it follow
  matting-anything video clip.mp4 --at 60 --box 120,40,560,700 --point 300,200 -o clip.webm
      marked in frame 60, for all before and after it; VP9 with alpha for browsers
  matting-anything video clip.mp4 --box 120,40,560,700 --output alpha -o matte.mp4
      the matte alone, white on black, as H.264 (--codec hevc for HEVC)
  matting-anything video clip.mp4 --box 120,40,560,700 --bits 16 -o frames/matte-%06d.tif
      one image a frame (a folder alone: frames/000000.png …)
  matting-anything video frames/ --rate 24 --box 120,40,560,700 -o clip.mov
      a folder of images as frames
  matting-anything video clip.mp4 --marks marks.json -o clip.mov
      {"0": {"box": [120, 40, 560, 700]}, "120": {"points": [[300, 200]], "labels": [0]}}; a list of such for several
      objects, which are written as clip-1.mov, clip-2.mov …

Alpha is noted in OUT.matting as it is computed. The same command after a crash or Ctrl-C goes on there, with exactly
the same result; other marks begin anew. The folder is deleted when the result is whole.
"""
_FILES = ("mask", "keep", "drop", "trimap", "previous")
AFTER = (1, 4, 12)
"""Frames after a marked one that a preview shows."""


class _Mark(argparse.Action):
    """Notes an option that marks something, with the frame that the last --at gave."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
                 option_string: str | None = None) -> None:
        noted = list(getattr(namespace, "noted", None) or [])
        if self.dest == "at":
            try:
                frame = int(values)
            except ValueError:
                frame = -1
            if frame < 0:
                raise argparse.ArgumentError(self, f"{values!r} is no frame; expected a whole number from 0")
            namespace.frame = frame
        else:
            noted.append((getattr(namespace, "frame", None) or 0, self.dest, values))
        namespace.noted = noted


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    from .options import add_model_arguments

    parser = subparsers.add_parser("video", help="cut an object out of a clip, marked once", description=DESCRIPTION,
                                   epilog=EXAMPLES)
    parser.add_argument("clip", metavar="CLIP", help="a film (what ffmpeg reads; extra: video), or a folder of images")
    group = parser.add_argument_group("what to matte (marks, each for the frame that the last --at before it says)")
    group.add_argument("--at", action=_Mark, metavar="N", help="the marks that follow are for frame N (from 0)")
    group.add_argument("--box", action=_Mark, metavar="X0,Y0,X1,Y1",
                       help="box around the object, in pixels or each with %%; several in the only frame that is "
                            "marked are several objects")
    group.add_argument("--point", action=_Mark, metavar="X,Y[,0]",
                       help="point on the object, or with ,0 one that is not; repeatable")
    group.add_argument("--mask", action=_Mark, metavar="FILE", help="image of a rough mask, white = object")
    group.add_argument("--keep", action=_Mark, metavar="FILE", help="image of strokes, white = surely on the object")
    group.add_argument("--drop", action=_Mark, metavar="FILE", help="image of strokes, white = surely not on it")
    group.add_argument("--trimap", action=_Mark, metavar="FILE",
                       help="image of a trimap: black = not the object, white = the object, gray = solve it")
    group.add_argument("--previous", action=_Mark, metavar="FILE",
                       help="a matte of that frame, which points and strokes correct")
    group.add_argument("--text", action=_Mark, metavar="WORDS", help="words that name the object (extra: text)")
    group.add_argument("--marks", metavar="FILE", help="marks from a JSON file instead, see the examples")
    group = parser.add_argument_group("what to write")
    group.add_argument("-o", "--out", metavar="OUT",
                       help=".mov (ProRes 4444), .webm (VP9 with alpha), .mp4 or .mkv (no alpha), a folder, or "
                            "NAME-%%06d.png, .tif for images")
    group.add_argument("--preview", metavar="FILE",
                       help="write an image of the marked frames and some after them with mask, alpha and cut-out side "
                            "by side, and nothing else")
    group.add_argument("--output", choices=("cutout", "alpha", "foreground", "composite"), default="cutout",
                       help="cutout: the object with transparency (default); alpha: the matte in gray; foreground: the "
                            "object's colours, opaque; composite: on --background")
    group.add_argument("--background", metavar="COLOUR|FILE", help="for composite: a colour or an image")
    group.add_argument("--codec", choices=("auto", "prores", "vp9", "h264", "hevc"), default="auto",
                       help="of a film (default: what suits its suffix)")
    group.add_argument("--quality", type=int, metavar="N",
                       help="of VP9, H.264 and HEVC: 0 (best) to 51 (default: visually lossless); of JPEG and WebP "
                            "images 1 to 100")
    group.add_argument("--bits", type=int, choices=(8, 16), default=None, help="bits a channel of images")
    group.add_argument("--rate", metavar="N", help="frames a second of a folder of images, such as 24 or 30000/1001 "
                                                   "(default 25)")
    group.add_argument("--no-sound", action="store_true", help="leave the sound out")
    group.add_argument("--json", action="store_true", help="what was made, and what is said of which frame, as JSON")
    add_model_arguments(parser)
    group = parser.add_argument_group("over time")
    group.add_argument("--steady", type=float, default=None, metavar="SHARE",
                       help="0 to 1: how much alpha is blended with the frame before where nothing but noise changes "
                            "(default 0.7; 0: not at all)")
    group.add_argument("--work", metavar="FOLDER", help="where progress is noted (default: OUT.matting)")
    parser.set_defaults(run=run, noted=(), frame=0)


@dataclass(frozen=True)
class _Said:
    """One option that marks something: for which frame, which one, and what it says."""

    frame: int
    kind: str
    value: str


def marks_for(args: argparse.Namespace, first: Image) -> list[Marks]:
    """The marks of each object; `first` is a frame, for its size.

    Raises
    ------
    PromptError
        When nothing is marked, or it is not clear which object something is for.
    """
    from ..boxes import read_box
    from ..types import Prompt

    said = [_Said(*one) for one in args.noted]
    if args.marks is not None:
        if said:
            raise PromptError("--marks was given with other marks; give all of them in the file")
        return read_marks(args.marks)
    if not said:
        raise PromptError("nothing says what to matte; give --box, --point, --mask, --trimap, --text or --marks")
    frames = sorted({one.frame for one in said})
    boxes = [one for one in said if one.kind == "box"]
    if len(frames) == 1 and len(boxes) > 1:
        if len(boxes) < len(said):
            raise PromptError(f"{len(boxes)} boxes were given together with other marks, so it is not clear which "
                              "object those belong to; give one --box with them, or --marks FILE")
        return [{one.frame: Prompt(box=read_box(one.value).on(first.width, first.height))} for one in boxes]
    return [{frame: _mark([one for one in said if one.frame == frame], first) for frame in frames}]


def _mark(said: Sequence[_Said], first: Image) -> Any:
    """The mark of one frame."""
    from ..boxes import read_box, read_point
    from ..video.marks import _mark as as_mark
    from .asked import _mask

    fields: dict[str, Any] = {}
    for one in said:
        if one.kind == "point":
            point = read_point(one.value)
            fields.setdefault("points", []).append(point.on(first.width, first.height))
            fields.setdefault("labels", []).append(point.label)
            continue
        if one.kind in fields:
            raise PromptError(f"--{one.kind} was given twice for frame {one.frame}; expected once a frame")
        fields[one.kind] = read_box(one.value).on(first.width, first.height) if one.kind == "box" else \
            one.value if one.kind == "text" else _mask(one.value)
    return as_mark(fields)


def read_marks(file: str) -> list[Marks]:
    """Marks from a JSON file; masks and strokes in it are names of images, seen from the file's folder.

    Raises
    ------
    PromptError
        For what is no such file.
    """
    from ..video.marks import marks_of
    from .asked import _mask

    try:
        read = json.loads(Path(file).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PromptError(f"the marks in {file!r} cannot be read: {reason}") from None
    objects = read if isinstance(read, list) else [read]
    result = []
    for one in objects:
        if not isinstance(one, dict) or not one or not all(isinstance(value, dict) for value in one.values()):
            raise PromptError(f'the marks in {file!r} are not understood; expected {{"0": {{"box": [x0, y0, x1, y1]}}, '
                              '"120": {"points": [[x, y]], "labels": [0]}}, or a list of such for several objects')
        marks: dict[int, Any] = {}
        for frame, fields in one.items():
            if not frame.isascii() or not frame.isdigit():
                raise PromptError(f"the marks in {file!r} have the frame {frame!r}; expected a whole number from 0")
            marks[int(frame)] = {
                name: _mask(str(Path(file).parent / value)) if name in _FILES and isinstance(value, str) else value
                for name, value in fields.items()}
        result.append(marks)
    return marks_of(result)[0]


def run(args: argparse.Namespace) -> int:
    """Matte the clip, say what is to be said; 0, or 130 when interrupted."""
    from ..video.smoothing import STRENGTH
    from ..video.source import open_clip
    from .options import matte_options

    if (args.out is None) == (args.preview is None):
        raise PromptError("give -o OUT, or --preview FILE to look at a few frames first")
    if args.background is not None and args.output != "composite":
        raise PromptError(f"--background was given with --output {args.output}; it needs --output composite")
    steady = STRENGTH if args.steady is None else args.steady
    rate = _rate(args.rate)
    clip = open_clip(args.clip)
    try:
        objects = marks_for(args, clip.read(0))
        options = matte_options(args)
        if args.preview is not None:
            return _preview(args, clip, objects, options)
    finally:
        clip.close()
    return _whole(args, objects, options, steady, rate)


def _whole(args: argparse.Namespace, objects: Sequence[Marks], options: Any, steady: float,
           rate: Fraction | None) -> int:
    from ..video.film import matte_film
    from ..video.writing import Look
    from .batch import noted_interrupt
    from .progress import progress_bar

    look = Look(args.output, args.background or "white", args.codec, args.quality, args.bits)
    with warnings_heard(), progress_bar(quiet=args.quiet) as progress, noted_interrupt() as check:

        def report(stage: str, share: float) -> None:
            check()
            progress(stage, share)

        try:
            done = matte_film(args.clip, list(objects), args.out, options, look=look, model=args.model,
                              device=args.device, steady=steady, rate=rate, sound=not args.no_sound, work=args.work,
                              progress=report)
        except KeyboardInterrupt:
            print("matting-anything: interrupted; the same command goes on from here", file=sys.stderr)
            return 130
    said = [{"object": number + 1, "frame": frame, "text": text} for number, frame, text in done.said]
    if args.json:
        print(json.dumps({"out": [str(path) for path in done.outs], "frames": done.frames,
                          "seconds": round(done.seconds, 2), "said": said}))
        return 0
    for one in said if not args.quiet else ():
        which = f" of object {one['object']}" if len(objects) > 1 else ""
        note(f"frame {one['frame']}{which}: {one['text']}")
    if not args.quiet:
        for path in done.outs:
            print(f"{shown(path)}: {done.frames} frames in {done.seconds:.0f} s")
    return 0


def _rate(text: str | None) -> Fraction | None:
    if text is None:
        return None
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise PromptError(f"--rate was given as {text!r}; expected frames a second, such as 24 or 30000/1001")
    return rate


def _preview(args: argparse.Namespace, clip: Clip, objects: Sequence[Marks], options: Any) -> int:
    """A sheet of each object's marked frames and some after them."""
    from ..api import load_model
    from ..image import write_image
    from ..sheet import draw_sheet
    from ..video.preview import previewed
    from .progress import progress_bar

    model = load_model(args.model, device=args.device)
    with warnings_heard(), progress_bar(quiet=args.quiet) as progress:
        mattes = [matte for marks in objects
                  for matte in previewed(clip, marks, AFTER, model, options, progress=progress)]
    write_image(args.preview, draw_sheet(mattes))
    if not args.quiet:
        print(shown(args.preview))
    return 0
