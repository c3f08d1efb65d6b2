"""`matting-anything demo`: matte a picture that comes with the package, without any download."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from ..errors import ImageError

EXAMPLES = """\
examples:
  matting-anything demo
  matting-anything demo --out somewhere/else --model vit_b
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    from .options import add_model_arguments

    parser = subparsers.add_parser(
        "demo", help="matte a picture that comes with the package", epilog=EXAMPLES,
        description="Matte a picture that comes with the package and say where the results are.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", default="matting-anything-demo", metavar="FOLDER",
                        help="folder for the results (default: matting-anything-demo)")
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Matte the demo picture into a folder."""
    from ..api import load_model
    from ..assets import DEMO_BOX, demo_picture
    from ..image import read_image, write_image
    from ..sheet import draw_sheet
    from ..types import Prompt
    from .options import matte_options
    from .progress import progress_bar

    folder = Path(args.out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(f"the folder {args.out!r} cannot be made: {error.strerror}; choose another with --out") \
            from None
    image = read_image(demo_picture())
    started = time.perf_counter()
    model = load_model(args.model, device=args.device)
    loaded = time.perf_counter()
    with progress_bar() as progress:
        [result] = model.matte(model.embed(image, progress=progress), [Prompt(box=DEMO_BOX)],
                               matte_options(args), progress=progress)
    done = time.perf_counter()
    image.save(folder / "picture.png")
    write_image(folder / "alpha.png", result.alpha)
    result.cutout().save(folder / "cutout.png")
    result.composite((32, 160, 96)).save(folder / "composite.png")
    write_image(folder / "sheet.png", draw_sheet([result]))
    box = ",".join(f"{value:g}" for value in DEMO_BOX)
    print(f"""\
Matted a picture of {image.width} x {image.height} pixels with {args.model!r} on {model.device}: \
{done - loaded:.1f} s after {loaded - started:.1f} s of loading.
In {folder.resolve()}:
  sheet.png      everything side by side: look at this one
  cutout.png     the cut-out: transparent background, clean edge colours
  alpha.png      the matte
  composite.png  the cut-out on green
  picture.png    the picture it was made of
The same by hand:
  matting-anything matte {folder / 'picture.png'} --box {box} -o cutout.png""")
    return 0
