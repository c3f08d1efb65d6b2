"""Rebuilds the photographs with hard masks from snapshots of their repositories.

    python docs/lite/data/masked.py SNAPSHOTS OUT [FOLDER ...]      # all of them if no folder is named
    python docs/lite/data/masked.py SNAPSHOTS OUT --list            # how to get the snapshots

SNAPSHOTS holds OWNER+NAME.git for each repository, as `git clone --bare https://github.com/OWNER/NAME
SNAPSHOTS/OWNER+NAME.git` makes it (OWNER+NAME/repo will do, too). OUT is what the recipe calls $LITE_DATA. Of each
source the named commit is read where the snapshot has it, else the newest one.

Of exports with polygons (COCO's JSON, YOLO's text) a picture is taken when its largest instance has 25 or more corners,
covers 5 % of the picture and touches no other instance (their boxes do not overlap); its polygon, filled, is the mask.
Of an original that an export holds several times (NAME.rf.HASH.jpg), the first that does is looked at. The longer side
is at most 800 px. These rules, and the table's restrictions, give the numbers of pictures that docs/lite tells.
Written are OUT/train/masked/FOLDER/image/NAME.jpg and .../mask/NAME.png, NAME being the file's name in the repository
without its ending; cut-outs as OUT/train/cutouts/FOLDER/NAME.png. A folder that is there is replaced.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from snapshot import Snapshot, arguments, opened, ready, replaced, save, sheet

CORNERS, SHARE, LONGEST = 25, 0.05, 800
NOISE = 0.001  # share of lone pixels from which on a picture counts as noisy
PICTURES = (".jpg", ".jpeg", ".png")

Array: TypeAlias = NDArray[Any]
Pair: TypeAlias = "tuple[str, Array, Array | None]"  # name, picture (BGR or BGRA), mask
Instances: TypeAlias = "list[list[Array]]"  # each a list of polygons, in pixels
Labelled: TypeAlias = "Iterator[tuple[str, Callable[[int, int], Instances]]]"  # path; instances of a height and width


@dataclass(frozen=True)
class Source:
    folder: str
    repository: str
    commit: str
    read: Callable[[Snapshot, Source], Iterator[Pair]]
    below: str = ""
    match: str = ""  # a regular expression that the file's name begins with
    splits: str = ""  # a regular expression for the export's parts; Roboflow augments `train` alone
    clean: bool = False  # leave out pictures with salt and pepper
    upright: bool = False  # leave out pictures that were turned or sheared: with a black corner
    most: int = 0  # at most so many, evenly spread over the names

    @property
    def target(self) -> str:
        return f"train/{'cutouts' if self.read is cutouts else 'masked'}/{self.folder}"


def stem(path: str) -> str:
    return PurePosixPath(path).stem


def original(path: str) -> str:
    """The name that a picture had before Roboflow added its hash."""
    return re.sub(r"\.rf\.[0-9A-Za-z]+$", "", stem(path))


def decoded(snapshot: Snapshot, path: str, flags: int = cv2.IMREAD_COLOR) -> Array:
    picture = cv2.imdecode(np.frombuffer(snapshot.read(path), np.uint8), flags)
    if picture is None:
        raise OSError(f"{path}: not a picture")
    return picture


def filled(polygon: Array, shape: tuple[int, int]) -> Array:
    """Drawn with 4 bits of subpixels, pixel centres at whole numbers."""
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.round((polygon - 0.5) * 16).astype(np.int32)], (255,), shift=4)
    return mask


def chosen(instances: Instances, shape: tuple[int, int]) -> Array | None:
    """The largest instance's mask, if the rule takes it."""
    masks = []
    for polygons in instances:
        mask = np.zeros(shape, np.uint8)
        for polygon in polygons:
            mask |= filled(polygon, shape)
        masks.append(mask)
    if not masks:
        return None
    largest = int(np.argmax([np.count_nonzero(mask) for mask in masks]))
    mask = masks[largest]
    if max(len(polygon) for polygon in instances[largest]) < CORNERS or np.count_nonzero(mask) < SHARE * mask.size:
        return None
    bounds = [(np.vstack(polygons).min(axis=0), np.vstack(polygons).max(axis=0)) for polygons in instances]
    low, high = bounds.pop(largest)
    if any((low < other[1]).all() and (other[0] < high).all() for other in bounds):
        return None
    return mask


def box(x: float, y: float, w: float, h: float) -> Array:
    return np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]], np.float32)


def noisy(picture: Array) -> bool:
    """Whether many pixels are much lighter or darker than those about them."""
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    return float((cv2.absdiff(grey, cv2.medianBlur(grey, 3)) > 60).mean()) > NOISE


def turned(picture: Array) -> bool:
    return any(picture[y, x].max() < 6 for y in (0, -1) for x in (0, -1))


def select(snapshot: Snapshot, source: Source, labelled: Labelled) -> Iterator[Pair]:
    """The pictures of an export that the rules take."""
    taken: dict[str, Pair | None] = {}
    for path, instances in labelled:
        if (original(path) in taken or not re.match(source.match, PurePosixPath(path).name)
                or not re.search(source.splits, path)):
            continue
        try:
            picture = decoded(snapshot, path)
        except OSError as error:
            print(error)
            continue
        if source.upright and turned(picture):
            continue
        height, width = picture.shape[:2]
        mask = chosen(instances(height, width), (height, width))
        if mask is not None:
            taken[original(path)] = None if source.clean and noisy(picture) else (stem(path), picture, mask)
    pairs = sorted((pair for pair in taken.values() if pair), key=lambda pair: pair[0])
    if source.most and len(pairs) > source.most:
        pairs = [pairs[i] for i in np.linspace(0, len(pairs) - 1, source.most).round().astype(int)]
    yield from pairs


def scaled(instances: Instances, size: tuple[int, int], height: int, width: int) -> Instances:
    scale = np.array([width, height], np.float32) / np.array(size, np.float32)
    return [[polygon * scale for polygon in polygons] for polygons in instances]


def coco(snapshot: Snapshot, source: Source) -> Iterator[Pair]:
    """Roboflow's COCO export: one _annotations.coco.json in each split's folder."""

    def labelled() -> Labelled:
        for path in snapshot.below(source.below, ("_annotations.coco.json",)):
            table = json.loads(snapshot.read(path))
            of: dict[int, Instances] = {}
            for note in table["annotations"]:
                polygons = [np.array(p, np.float32).reshape(-1, 2) for p in note["segmentation"] if len(p) >= 6]
                of.setdefault(note["image_id"], []).append(polygons or [box(*note["bbox"])])
            for image in sorted(table["images"], key=lambda image: str(image["file_name"])):
                file = str(PurePosixPath(path).parent / image["file_name"])
                if file in snapshot:
                    yield file, partial(scaled, of.get(image["id"], []), (image["width"], image["height"]))

    return select(snapshot, source, labelled())


def lines(text: bytes, height: int, width: int) -> Instances:
    """The instances of one of YOLO's files."""
    found = []
    size = np.array([width, height], np.float32)
    for line in text.decode().splitlines():
        numbers = np.array(line.split()[1:], np.float32)
        if len(numbers) == 4:  # a box: centre and size
            found.append([box(*((numbers[:2] - numbers[2:] / 2) * size), *(numbers[2:] * size))])
        elif len(numbers) >= 6:
            found.append([numbers.reshape(-1, 2) * size])
    return found


def yolo(snapshot: Snapshot, source: Source) -> Iterator[Pair]:
    """YOLO's segmentation export: images*/NAME.jpg beside labels*/NAME.txt, a line an instance."""

    def labelled() -> Labelled:
        for path in sorted(snapshot.below(source.below, PICTURES), key=stem):
            text = str(PurePosixPath(re.sub(r"/images([^/]*/)", r"/labels\1", f"/{path}")[1:]).with_suffix(".txt"))
            if text in snapshot:
                yield path, partial(lines, snapshot.read(text))

    return select(snapshot, source, labelled())


def beside(snapshot: Snapshot, source: Source) -> Iterator[Pair]:
    """NAME.jpg with its mask NAME.png; what is not black there is the object."""
    for path in snapshot.below(source.below, (".jpg",)):
        mask = str(PurePosixPath(path).with_suffix(".png"))
        if mask in snapshot:
            yield stem(path), decoded(snapshot, path), decoded(snapshot, mask).max(axis=2)


def folders(snapshot: Snapshot, source: Source) -> Iterator[Pair]:
    """NAME/image.png with NAME/mask.png, both padded to a square with black, which is cut off."""
    for path in snapshot.below(source.below, ("/image.png",)):
        parent = PurePosixPath(path).parent
        mask = decoded(snapshot, str(parent / "mask.png"), cv2.IMREAD_UNCHANGED)
        if mask.ndim == 3:
            mask = mask[..., :3].max(axis=2)
        picture = decoded(snapshot, path)
        lit = picture.max(axis=2) > 4
        inside = tuple(slice(used[0], used[-1] + 1) for used in (np.nonzero(lit.any(axis=i))[0] for i in (1, 0)))
        yield parent.name, picture[inside], mask[inside]


def cutouts(snapshot: Snapshot, source: Source) -> Iterator[Pair]:
    """NAME/rgba.png."""
    for path in snapshot.below(source.below, ("/rgba.png",)):
        yield PurePosixPath(path).parent.name, decoded(snapshot, path, cv2.IMREAD_UNCHANGED), None


SOURCES = [
    Source("feral_cats", "pcashman21/feral-cat-segmentation-dataset-and-model", "c7cdfa43", yolo,
           "feral-cat-segmentation.v1i.yolov8", clean=True),
    Source("wild_animals", "KomaHomu/Applying-Mask-RCNN-in-endangered-animals-detection", "609dc555", coco, "dataset",
           match=r"[0-9a-f]{16}"),
    Source("dogs_cats", "ElAchker02/Instance-segmentation", "61cd1c55", yolo, "dataset"),
    Source("iot_boards", "DoNguyenAnhTuan/IoTKITs-dataset", "00c3faf9", coco, splits="valid/", upright=True, most=32),
    Source("fruit_veg", "tuntpavee/leaf_data", "9ea73fae", yolo, "fruit", match=r"IMG_7\d{3}",
           splits="valid/|test/", upright=True, most=32),
    Source("trash", "Jchen26-US/TRASH-E", "b1dda9da", yolo, "Dataset", splits="valid/|test/", upright=True, most=32),
    Source("kuih_sweets", "Alobster49/KuihCaloriesEstimation", "f2823188", yolo, splits="valid/|test/", upright=True,
           most=32),
    Source("perseg_examples", "ZrrSkywalker/Personalize-SAM", "a7e87245", beside, "examples"),
    Source("realfusion_pairs", "lukemelas/realfusion", "3ec69d05", folders, "examples/natural-images"),
    Source("realfusion_rgba", "lukemelas/realfusion", "3ec69d05", cutouts, "examples/natural-images"),
]


def smaller(picture: Array) -> Array:
    scale = LONGEST / max(picture.shape[:2])
    if scale >= 1:
        return picture
    h, w = (max(1, round(side * scale)) for side in picture.shape[:2])
    if picture.ndim == 3 and picture.shape[2] == 4:  # colours of what is transparent do not bleed
        alpha: Array = picture[..., 3:].astype(np.float32) / 255
        colour = cv2.resize(picture[..., :3] * alpha, (w, h), interpolation=cv2.INTER_AREA)
        alpha = cv2.resize(alpha, (w, h), interpolation=cv2.INTER_AREA)[..., None]
        return np.dstack([colour / np.maximum(alpha, 1e-4), alpha * 255]).round().clip(0, 255).astype(np.uint8)
    return cv2.resize(picture, (w, h), interpolation=cv2.INTER_AREA)


def write(source: Source, snapshots: Path, out: Path) -> int:
    """Writes a source's folder and returns the number of its pictures."""
    snapshot, count = opened(snapshots, source.repository, source.commit), 0
    parts = [""] if source.read is cutouts else ["/image", "/mask"]
    with replaced(out, *(source.target + part for part in parts)) as made:
        folder = made / source.target
        for name, picture, mask in source.read(snapshot, source):
            count += 1
            if mask is None:
                save(folder / f"{name}.png", smaller(picture))
                continue
            if mask.shape != picture.shape[:2]:
                mask = cv2.resize(mask, picture.shape[1::-1])
            save(folder / "image" / f"{name}.jpg", smaller(picture))
            save(folder / "mask" / f"{name}.png", np.where(smaller(mask) >= 128, 255, 0).astype(np.uint8))
    return count


def main() -> None:
    parser = arguments(__doc__, "FOLDER", [source.folder for source in SOURCES])
    options = parser.parse_args()
    snapshots, out, names = ready(parser, options, {source.folder: {source.repository} for source in SOURCES})
    for source in SOURCES:
        if source.folder in names:
            print(f"{source.target}: {write(source, snapshots, out)}", flush=True)
            if options.sheet:
                sheet(out / source.target, options.sheet)


if __name__ == "__main__":
    main()
