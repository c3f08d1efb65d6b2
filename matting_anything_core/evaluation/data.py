"""Readers for the six benchmarks in the layouts in which they are published, and for a folder of one's own pictures.

Reading a benchmark lists it, and says everything that is missing at once; pictures are read when they are needed.

PPM-100         image/NAME.jpg               matte/NAME.jpg                            Ke et al. 2022 (MODNet)
AM-2K           validation/original/…        validation/mask, validation/trimap        Li et al. 2022 (GFM)
PM-10K          validation/P3M-500-NP/original_image, mask, trimap                     Li et al. 2021 (P3M-10k; the
                paper's "PM-10K" is measured on the 500 portraits whose faces are not blurred)
RWP-636         image/NAME.jpg               alpha/NAME.png                            Yu et al. 2021 (MGMatting)
HIM2K           images/{natural,comp}/NAME   alphas/{natural,comp}/NAME/00.png, …      Sun et al. 2022 (InstMatt)
RefMatte-RW100  image_all/NAME               mask/NAME.png, refmatte_rw100_label.json, eval_index_expression.json
                                                                                       Li et al. 2023 (RIM)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import MattingError
from ..folders import filled_in, path_given

Benchmark = Literal["ppm100", "am2k", "pm10k", "rwp636", "him2k", "him2k_comp", "refmatte_rw100", "folder"]
BENCHMARKS: tuple[Benchmark, ...] = (
    "ppm100", "am2k", "pm10k", "rwp636", "him2k", "him2k_comp", "refmatte_rw100", "folder",
)
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")


class DataError(MattingError):
    """Evaluation data that is missing or cannot be read; the message says which files and what is wanted."""


@dataclass(frozen=True)
class Layout:
    """Where a benchmark keeps what, relative to its root. The first of several names that is there counts.

    roots: folders to look for below the given one, "" being that folder itself.
    nested: a true matte is a folder of instances. texts: the label files of RefMatte-RW100, or of a plain folder.
    published: how many pictures the published set has, None where the sources leave that open.
    """

    title: str
    roots: tuple[str, ...]
    images: tuple[str, ...]
    alphas: tuple[str, ...]
    trimaps: tuple[str, ...] = ()
    nested: bool = False
    published: int | None = None


LAYOUTS: dict[Benchmark, Layout] = {
    "ppm100": Layout("PPM-100", ("", "PPM-100"), ("image",), ("matte",), published=100),
    "am2k": Layout("AM-2K", ("", "AM-2k", "AM-2K", "AM2k", "AM2K"), ("validation/original",), ("validation/mask",),
                   ("validation/trimap",), published=200),
    "pm10k": Layout("PM-10K (P3M-500-NP)", ("", "P3M-10k", "P3M-10K", "PM-10K"),
                    ("validation/P3M-500-NP/original_image", "P3M-500-NP/original_image"),
                    ("validation/P3M-500-NP/mask", "P3M-500-NP/mask"),
                    ("validation/P3M-500-NP/trimap", "P3M-500-NP/trimap"), published=500),
    "rwp636": Layout("RWP-636", ("", "RealWorldPortrait-636"), ("image",), ("alpha",), published=636),
    "him2k": Layout("HIM2K natural", ("", "HIM2K", "IHM2K"), ("images/natural",), ("alphas/natural",), nested=True,
                    published=320),
    "him2k_comp": Layout("HIM2K composed", ("", "HIM2K", "IHM2K"), ("images/comp",), ("alphas/comp",), nested=True,
                         published=1680),
    "refmatte_rw100": Layout("RefMatte-RW100", ("", "RefMatte_RW_100", "RefMatte-RW100"), ("image_all",), ("mask",)),
    "folder": Layout("folder", ("",), ("images", "image", "original", "merged"),
                     ("alphas", "alpha", "mattes", "matte", "mask", "masks", "gt"), ("trimaps", "trimap")),
}


@dataclass(frozen=True)
class Sample:
    """One picture to be evaluated, not read yet.

    name: unique in its set, without suffix. alphas: a file for each instance. texts: words, one for each instance,
    where the data has words.
    """

    name: str
    image: Path
    alphas: tuple[Path, ...]
    trimap: Path | None = None
    texts: tuple[str, ...] | None = None


@dataclass(frozen=True)
class DataSet:
    """What was found. problems: one line for each thing that is missing or unusable; these pictures are left out."""

    benchmark: Benchmark
    title: str
    root: Path
    samples: tuple[Sample, ...]
    published: int | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Picture:
    """A sample's arrays: image H×W×3 uint8 sRGB, alphas float32 H×W in 0..1, trimap uint8 H×W (0, 128, 255) or None.
    """

    image: npt.NDArray[np.uint8]
    alphas: tuple[npt.NDArray[np.float32], ...]
    trimap: npt.NDArray[np.uint8] | None = field(default=None)


def read_benchmark(benchmark: Benchmark, data: Path) -> DataSet:
    """List a benchmark below `data` (its own folder, or the one that holds it).

    Raises DataError when the layout is not there at all; single missing files are listed in DataSet.problems.
    """
    layout = LAYOUTS.get(benchmark)
    if layout is None:
        raise DataError(f"the benchmark was given as {benchmark!r}; expected one of {', '.join(LAYOUTS)}")
    root, images, alphas = _find_root(layout, path_given(data, "the folder of the benchmark"))
    trimaps = next((root / name for name in layout.trimaps if (root / name).is_dir()), None)
    texts, problems = _read_texts(benchmark, root)
    by_stem, duplicates = _pictures_by_stem(images)
    problems += [f"{path}: a second picture of the same name; it is left out" for path in duplicates]
    samples = []
    for stem, image in by_stem.items():
        truth = _truth_of(alphas, stem, nested=layout.nested or benchmark == "folder")
        if not truth:
            wanted = f"{alphas / stem}/*.png" if layout.nested else f"{alphas / stem}.png"
            problems.append(f"{image}: no true matte; expected {wanted}")
            continue
        trimap = None if trimaps is None else _same_stem(trimaps, stem)
        if trimaps is not None and trimap is None:
            problems.append(f"{image}: no trimap; expected {trimaps / stem}.png")
            continue
        words = None if texts is None else texts.get(stem)
        if words is not None and len(words) != len(truth):
            problems.append(f"{image}: {len(words)} texts for {len(truth)} mattes")
            continue
        samples.append(Sample(stem, image, truth, trimap, words))
    if not samples:
        raise DataError(_report(f"{layout.title} in {root} has no picture that can be evaluated", problems))
    return DataSet(benchmark, layout.title, root, tuple(samples), layout.published, tuple(problems))


def _report(headline: str, problems: Sequence[str]) -> str:
    more = len(problems) - 10
    return "\n  ".join([headline, *problems[:10], *([f"… and {more} more"] if more > 0 else [])])


def _find_root(layout: Layout, data: Path) -> tuple[Path, Path, Path]:
    """The root, and its folders of pictures and of true mattes."""
    if not data.is_dir():
        filled_in(str(data), "the folder")  # tells of a variable that the shell has left
        raise DataError(f"{data} is no folder; expected the folder that holds {layout.title}")
    half = ""
    for name in layout.roots:
        root = data / name
        images = next((root / folder for folder in layout.images if (root / folder).is_dir()), None)
        alphas = next((root / folder for folder in layout.alphas if (root / folder).is_dir()), None)
        if images is not None and alphas is not None:
            return root, images, alphas
        if images is not None or alphas is not None:
            half = f" ({images or alphas} is there, but not the other one)"
    places = ", ".join(str(data / root) if root else str(data) for root in layout.roots)
    raise DataError(
        f"{layout.title} was not found{half}: expected the folders {' or '.join(layout.images)} (pictures) and "
        f"{' or '.join(layout.alphas)} (true mattes) in {places}"
    )


def _pictures_by_stem(folder: Path) -> tuple[dict[str, Path], list[Path]]:
    found: dict[str, Path] = {}
    duplicates = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in PICTURE_SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in found:
            duplicates.append(path)
        else:
            found[path.stem] = path
    return found, duplicates


def _same_stem(folder: Path, stem: str) -> Path | None:
    for suffix in (".png", *PICTURE_SUFFIXES):
        for candidate in (folder / f"{stem}{suffix}", folder / f"{stem}{suffix.upper()}"):
            if candidate.is_file():
                return candidate
    return None


def _truth_of(alphas: Path, stem: str, *, nested: bool) -> tuple[Path, ...]:
    """The files of the true mattes of one picture: instances in a folder of its name, or one file."""
    if nested and (alphas / stem).is_dir():
        return tuple(_pictures_by_stem(alphas / stem)[0].values())
    single = _same_stem(alphas, stem)
    return () if single is None else (single,)


def _load_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(content, dict):
        raise DataError(f"{path} holds a {type(content).__name__}; expected an object with a key for each picture")
    return content


def _read_texts(benchmark: Benchmark, root: Path) -> tuple[dict[str, tuple[str, ...]] | None, list[str]]:
    """Words by the picture's stem, and what is wrong with them; None where the data has no words."""
    if benchmark == "refmatte_rw100":
        return _refmatte_texts(root)
    path = root / "texts.json"
    if benchmark != "folder" or not path.is_file():
        return None, []
    texts: dict[str, tuple[str, ...]] = {}
    problems = []
    for stem, words in _load_json(path).items():
        items = [words] if isinstance(words, str) else words
        if isinstance(items, list) and items and all(isinstance(item, str) and item.strip() for item in items):
            texts[stem] = tuple(items)
        else:
            problems.append(f"{path}: the text of {stem} is {words!r}; expected a string, or a list of strings")
    return texts, problems


def _refmatte_texts(root: Path) -> tuple[dict[str, tuple[str, ...]] | None, list[str]]:
    """RefMatte-RW100: label[STEM] = {image_name, expressions}; index[image_name] says which expression is measured."""
    label_path, index_path = root / "refmatte_rw100_label.json", root / "eval_index_expression.json"
    if not label_path.is_file():
        return None, [f"{label_path} is missing; it is needed for --prompt text only"]
    labels = _load_json(label_path)
    indices = _load_json(index_path) if index_path.is_file() else {}
    problems = [] if indices else [f"{index_path} is missing; the first expression of every picture is taken"]
    texts: dict[str, tuple[str, ...]] = {}
    for stem, label in labels.items():
        try:
            expressions = label["expressions"]
            index = indices.get(label.get("image_name", stem), 0)
            text = expressions[index] if isinstance(expressions, list) else _keyed(expressions, index)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            problems.append(f"{label_path}: the entry {stem} has no usable expression ({error!r})")
            continue
        texts[stem] = (str(text),)
    return texts, problems


def _keyed(expressions: dict[str, Any], index: Any) -> Any:
    """JSON keys are strings whatever the index is; without an index the first expression counts."""
    return expressions[str(index)] if str(index) in expressions else expressions[sorted(expressions)[int(index)]]


def read_picture(sample: Sample) -> Picture:
    """Read a sample's files. Raises DataError when one is damaged or the sizes do not fit together."""
    from ..image import read_image

    try:
        image = read_image(sample.image).rgb8()
    except (MattingError, OSError) as error:
        raise DataError(f"{sample.image} cannot be read: {error}") from error
    alphas = tuple(read_alpha(path) for path in sample.alphas)
    trimap = None if sample.trimap is None else _snap(read_alpha(sample.trimap))
    for path, array in zip((*sample.alphas, sample.trimap), (*alphas, trimap), strict=True):
        if array is not None and array.shape != image.shape[:2]:
            raise DataError(f"{path} is {array.shape[1]}x{array.shape[0]} pixels, but the picture {sample.image} is "
                            f"{image.shape[1]}x{image.shape[0]}")
    return Picture(image, alphas, trimap)


def read_alpha(path: Path) -> npt.NDArray[np.float32]:
    """A matte file as float32 H×W in 0..1: gray of 8 or 16 bits, the alpha channel of RGBA (where it is not opaque
    everywhere), or RGB taken as gray. Raises DataError."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            picture: Image.Image = ImageOps.exif_transpose(opened)
            if picture.mode in ("P", "PA"):
                picture = picture.convert("RGBA")
            if picture.mode in ("LA", "RGBA", "La", "RGBa"):
                channel = picture.getchannel("A")
                opaque = channel.getextrema() == (255, 255)
                picture = picture.convert("RGB").convert("L") if opaque else channel
            array = np.asarray(picture if picture.mode.startswith(("I", "F", "L", "1")) else picture.convert("L"))
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as a matte: {error}") from None
    if array.dtype == np.bool_:
        return array.astype(np.float32)
    if array.dtype.kind == "f":
        clipped: npt.NDArray[np.float32] = np.clip(array, 0, 1).astype(np.float32)
        return clipped
    # Pillow reads 16-bit gray as uint16, or as int32 that holds 16 bits.
    scale = np.float32(255 if array.dtype == np.uint8 else 65535)
    alpha: npt.NDArray[np.float32] = array.astype(np.float32) / scale
    return alpha


def _snap(trimap: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """A trimap file as 0, 128 and 255: near black, near white, and what lies between."""
    result = np.full(trimap.shape, 128, np.uint8)
    result[trimap < 0.05] = 0
    result[trimap > 0.95] = 255
    return result
