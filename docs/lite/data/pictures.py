"""Makes cut-outs, backgrounds and COCO's pictures with masks from snapshots of repositories.

    python docs/lite/data/pictures.py SNAPSHOTS OUT                     # everything
    python docs/lite/data/pictures.py SNAPSHOTS OUT panoramas coco      # some of: panoramas coco cutouts photographs
    python docs/lite/data/pictures.py SNAPSHOTS OUT --list              # how to get the snapshots

SNAPSHOTS holds OWNER+NAME.git for each repository, as `git clone --bare https://github.com/OWNER/NAME
SNAPSHOTS/OWNER+NAME.git` makes it (OWNER+NAME/repo will do, too). OUT is what the recipe calls $LITE_DATA. Of each
source the named commit is read where the snapshot has it, else the newest one. The folders written, such as
OUT/train/backgrounds/polyhaven_1k, are replaced.
"""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from snapshot import Snapshot, arguments, opened, ready, replaced, save, sheet

Array: TypeAlias = NDArray[Any]
Row: TypeAlias = "dict[str, str]"

TABLE = Path(__file__).resolve().parent.parent / "coco.tsv"
COCO_MASKED = "train/masked/coco"
COCO_CCBY, COCO_MORE = "train/backgrounds/coco_ccby", "train/backgrounds/coco_more"


@dataclass(frozen=True)
class Source:
    """Pictures of one repository: those under `folder` whose file name is in `only` (None: all) and not in `drop`."""

    target: str
    repository: str
    commit: str
    folder: str
    only: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()


PANORAMAS = (
    Source("train/backgrounds/polyhaven_1k", "gkjohnson/3d-demo-data", "a79b5400", "hdri"),
    Source("train/backgrounds/polyhaven_1k", "pmndrs/drei-assets", "456060a2", "hdri"),
)

# drop: a bad alpha, as seen on a contact sheet; good_alpha() finds the worse ones itself.
CUTOUTS = (
    Source("train/cutouts/anydoor_rgba", "ali-vilab/AnyDoor", "44ca2b2a", "examples/TestDreamBooth/FG"),
    Source(
        "train/cutouts/step1x3d_rgba",
        "stepfun-ai/Step1X-3D",
        "20b5de2b",
        "examples/images",
        drop=("002.png", "052.png", "098.png", "104.png"),  # lines at the edges, scraps, a floating tap, rubble
    ),
    Source("train/cutouts/trellis2_rgba", "microsoft/TRELLIS.2", "5565d240", "assets/example_image"),
)

# only: what a file of the repository credits as CC BY, CC0 or public domain (not the share-alike ones, no paintings).
PHOTOGRAPHS = (
    Source("train/backgrounds/budgie_cc0", "BuddiesOfBudgie/budgie-backgrounds", "82067426", "backgrounds"),
    Source(
        "train/backgrounds/azure_samples_mit",
        "Azure-Samples/cognitive-services-sample-data-files",
        "65af3b93",
        "ComputerVision/storage-lab-tutorial/photos",
    ),
    Source(  # credited in docs/marketing/assets-credits.md
        "train/backgrounds/pxhere_cc0",
        "shandutta/homematch-v2",
        "179df3ca",
        "public/images/marketing",
        only=("mock-home-1.jpg", "mock-home-2.jpg", "mock-home-3.jpg"),
    ),
    Source(  # credited in akc/images/index.js
        "train/backgrounds/commons_ccby_misc",
        "bloopletech/akc",
        "1f09b222",
        "akc/images",
        only=(
            "Cathedral_of_Saint_Cecilia_of_Albi_-_7095_-_Altar_and_choir.jpg",  # CC BY 4.0, Pierre-Selim Huard
            "London_street_in_the_rain_(Unsplash).jpg",  # CC0, Anjana Menon
            "Budapest_parlament_interior.jpg",  # public domain, Karelj
            "13-02-27-stadtschlosz-wiesbaden-by-RalfR-08.jpg",  # CC BY 3.0, Ralf Roletschek
            "Moraine_Lake.jpg",  # public domain, Gorgo
            "Neuschwanstein_Castle_print.jpg",  # public domain, a photochrom
            "NYC_Mulberry_Street.jpg",  # public domain, Library of Congress
        ),
    ),
    Source(  # credited in app/credits/page.tsx
        "train/backgrounds/commons_ccby_misc",
        "michaeleboyce/dc-abundance",
        "d759b8fe",
        "public/images",
        only=(
            "u-street-metro.jpg",  # CC0, Alyo
            "arena-stage.jpg",  # public domain, Carol M. Highsmith
            "goddard-space-center.jpg",  # public domain, NASA Goddard/Bill Hrybyk
            "fourth-of-july-fireworks.jpg",  # CC BY 2.0, Anthony Quintano
        ),
    ),
    Source(  # credited in assets/showcase/photos/CREDITS.md
        "train/backgrounds/commons_ccby_misc",
        "anon8597299/smart-tech-innovations",
        "b12cbda7",
        "assets/showcase/photos",
        only=(
            "retail-storefront.jpg",  # CC0, Sioux Quartzite Historian
            "clinic-waiting-room.jpg",  # CC BY 4.0, Harrison Keely
            "accounting-meeting.jpg",  # CC BY 2.0, Senator Stabenow
            "hospitality-venue.jpg",  # CC BY 2.0, Tony Webster
            "consulting-meeting.jpg",  # CC BY 2.0, Senator Stabenow
        ),
    ),
)

# Where polygons of COCO lie: COCO's own json, or a folder of YOLO's polygons (one line an instance: class, then x y ...
# in shares of the sides). COCO's ids are the same everywhere, so any of them serves any picture.
ANNOTATIONS = (
    ("zzowenzz/COCO_Tiny", "annotations/instances_train2017.json"),
    ("zzowenzz/COCO_Tiny", "annotations/instances_val2017.json"),
    ("Obmutescence/COCO-MINI", "annotations/instances_train2017.json"),
    ("Obmutescence/COCO-MINI", "annotations/instances_val2017.json"),
    ("lizhogn/tiny_coco_dataset", "tiny_coco/annotations/instances_train2017.json"),
    ("lizhogn/tiny_coco_dataset", "tiny_coco/annotations/instances_val2017.json"),
    ("enginbozaba/tiny_coco", "annotations/instances_train2017.json"),
    ("enginbozaba/tiny_coco", "annotations/instances_val2017.json"),
    ("mchoccie/DeepDataMiningLearning", "data/annotations/instances_train2017.json"),
    ("mchoccie/DeepDataMiningLearning", "data/annotations/instances_val2017.json"),
    ("lightly-ai/dataset_examples_purple", "coco_subset_128_images/instances_train2017.json"),
    ("developer0hye/COCO128", "annotations/instances_train2017.json"),
    ("developer0hye/COCO128", "annotations/instances_val2017.json"),
    ("minto5z/coco_yolo", "coco/annotations/instances_val2017.json"),
)
YOLO_FOLDERS = (
    ("lightly-ai/coco128_yolo", "instance_segmentation/labels/train2017"),
    ("lightly-ai/coco128_yolo", "instance_segmentation/labels/val2017"),
)
# A dining table's outlines leave it open whether what stands on it belongs to it. COCO's number for it, and YOLO's.
DINING_TABLE, YOLO_TABLE = 67, 60

VIEW = (800, 600)
FIELD = 85.0
YAWS = range(0, 360, 60)
CORNERS, ENOUGH, SHARE, INSTANCES = 25, 12, 0.03, 4
CUTOUT_SIDE, PHOTOGRAPH_SIDE = 800, 1024
ENDINGS = (".jpg", ".jpeg", ".png", ".webp")


def fitted(picture: Image.Image, side: int) -> Image.Image:
    """The picture upright and no longer than `side`; colours of transparent pixels do not bleed."""
    picture = ImageOps.exif_transpose(picture)
    scale = side / max(picture.size)
    if scale >= 1:
        return picture
    width, height = (max(1, round(length * scale)) for length in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)  # Pillow weights RGBA's colours by alpha


def tone_mapped(panorama: Array) -> Array:
    """Linear colours to 0..1: the median about the horizon becomes .22 of white (.5 after gamma), highlights roll
    off, then gamma. With a median of .35 the views looked washed out."""
    light = panorama @ np.array([0.0722, 0.7152, 0.2126], np.float32)  # OpenCV's order is blue, green, red
    rows = len(light)
    middle = max(float(np.median(light[rows // 4 : 3 * rows // 4])), 1e-6)
    # y = x (1 + x / w^2) / (1 + x) with white at w = 4; x = .2767 gives .22
    exposed = np.maximum(panorama, 0) * (0.2767 / middle)
    curved = exposed * (1 + exposed / 16) / (1 + exposed)
    return np.clip(curved, 0, 1) ** (1 / 2.2)


def view(panorama: Array, yaw: float) -> Array:
    """A level perspective view of an equirectangular panorama."""
    width, height = VIEW
    focal = width / 2 / np.tan(np.radians(FIELD) / 2)
    x, y = np.meshgrid(np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2)
    longitude = np.arctan2(x, focal) + np.radians(yaw)
    latitude = np.arctan2(y, np.hypot(x, focal))
    rows, columns = panorama.shape[:2]
    u = (longitude / (2 * np.pi) + 0.5) % 1 * columns - 0.5
    v = (latitude / np.pi + 0.5) * rows - 0.5
    margin = 8  # the two ends meet
    wide = cv2.copyMakeBorder(panorama, 0, 0, margin, margin, cv2.BORDER_WRAP)
    across, down = (u + margin).astype(np.float32), v.astype(np.float32)
    return cv2.remap(wide, across, down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def panoramas(snapshots: Path, out: Path) -> None:
    done = set()
    with replaced(out, *targets(PANORAMAS)) as made:
        for source in PANORAMAS:
            snapshot = opened(snapshots, source.repository, source.commit)
            count = 0
            for path in snapshot.below(source.folder, (".hdr",)):
                name = Path(path).stem
                if name in done:
                    continue
                data = np.frombuffer(snapshot.read(path), np.uint8)
                panorama = cv2.imdecode(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
                if panorama is None:
                    print(f"{path}: not readable")
                    continue
                done.add(name)
                mapped = tone_mapped(panorama.astype(np.float32))
                for yaw in YAWS:
                    picture = (np.clip(view(mapped, yaw), 0, 1) * 255).round().astype(np.uint8)
                    save(made / source.target / f"{name}_{yaw:03d}.jpg", picture, quality=92)
                count += 1
            print(f"{source.target}: {count} panoramas, {count * len(YAWS)} views, of {source.repository}", flush=True)


@dataclass
class Instance:
    category: int
    parts: list[Array]  # corners in shares of the sides

    @property
    def corners(self) -> int:
        return sum(len(part) for part in self.parts)

    def mask(self, width: int, height: int) -> Array:
        mask = np.zeros((height, width), np.uint8)
        for part in self.parts:  # each part for itself, so that overlaps are not cut out
            ring = np.round(part * [width, height] * 16 - 8).astype(np.int32)  # corners lie between pixels: 1/16 px
            cv2.fillPoly(mask, [ring], (255,), shift=4)
        return mask


def outlines(snapshots: Path, commits: dict[str, str]) -> tuple[dict[int, list[Instance]], dict[int, str]]:
    """Instances by COCO's id, of the place that lists most of them; and whether a picture is of train or val."""
    found: dict[int, list[Instance]] = {}
    part_of: dict[int, str] = {}
    for repository, path in ANNOTATIONS:
        content = json.loads(opened(snapshots, repository, commits[repository]).read(path))
        sizes = {}
        for picture in content["images"]:
            sizes[picture["id"]] = picture["width"], picture["height"]
            address = picture.get("coco_url", "")
            part = "val" if "/val2017/" in address else "train" if "/train2017/" in address else ""
            part_of[picture["id"]] = part_of.get(picture["id"]) or part
        here = defaultdict(list)
        for item in content["annotations"]:
            rings = item.get("segmentation")
            if item.get("iscrowd") or not isinstance(rings, list) or item["image_id"] not in sizes:
                continue
            parts = [np.reshape(ring, (-1, 2)) / sizes[item["image_id"]] for ring in rings if len(ring) >= 6]
            if parts:
                here[item["image_id"]].append(Instance(item["category_id"], parts))
        for number, instances in here.items():
            if len(instances) > len(found.get(number, ())):
                found[number] = instances
    for repository, path in YOLO_FOLDERS:
        snapshot = opened(snapshots, repository, commits[repository])
        for label in snapshot.below(path, (".txt",)):
            number = int(Path(label).stem)
            part_of[number] = part_of.get(number) or ("val" if "val2017" in path else "train")
            if number in found:
                continue
            rows = [line.split() for line in snapshot.read(label).decode().splitlines()]
            found[number] = [
                Instance(DINING_TABLE if int(row[0]) == YOLO_TABLE else 0, [np.reshape(np.float64(row[1:]), (-1, 2))])
                for row in rows
                if len(row) >= 7
            ]
    return found, part_of


def chosen(instances: list[Instance], width: int, height: int) -> list[Array]:
    """Masks of the largest instances that are big enough, the finely outlined (CORNERS) first; those with fewer corners
    than ENOUGH only where there is no other."""
    able = []
    for instance in instances:
        if instance.category == DINING_TABLE:
            continue
        mask = instance.mask(width, height)
        if (mask > 0).mean() >= SHARE:
            fineness = (instance.corners >= CORNERS) + (instance.corners >= ENOUGH)
            able.append((fineness, np.count_nonzero(mask), mask))
    able.sort(key=lambda entry: entry[:2], reverse=True)
    picked = [mask for fineness, _, mask in able if fineness][:INSTANCES]
    return picked or [mask for _, _, mask in able[:1]]


def coco(rows: list[Row], snapshots: Path, out: Path) -> None:
    found, part_of = outlines(snapshots, {row["repository"]: row["commit"] for row in rows})
    count: dict[str, int] = defaultdict(int)
    with replaced(out, f"{COCO_MASKED}/image", f"{COCO_MASKED}/mask", COCO_CCBY, COCO_MORE) as made:
        for row in rows:
            number, use = int(row["coco_id"]), row["use"]
            try:
                data = opened(snapshots, row["repository"], row["commit"]).read(row["path"])
                picture = Image.open(io.BytesIO(data))
                picture.load()
            except OSError as error:
                print(f"{row['coco_id']} ({row['repository']}): {error}")
                count["not readable"] += 1
                continue
            if "object" in use:
                picked = chosen(found.get(number, []), *picture.size)
                if not picked:
                    print(f"{row['coco_id']} ({row['repository']}): no polygon that fits")
                count["pictures with objects"] += bool(picked)
                for index, mask in enumerate(picked):
                    name = f"{number:012d}" + (f"_{index}" if index else "")
                    (made / COCO_MASKED / "image" / f"{name}.jpg").write_bytes(data)
                    save(made / COCO_MASKED / "mask" / f"{name}.png", mask)
                    count[COCO_MASKED] += 1
            if "background" in use:
                of_val = (part_of.get(number) or ("val" if "val2017" in row["path"].lower() else "train")) == "val"
                target = COCO_CCBY if of_val and row["licence_id"] == "4" else COCO_MORE
                (made / target / f"{number:012d}.jpg").write_bytes(data)
                count[target] += 1
    print(", ".join(f"{name}: {number}" for name, number in count.items()), flush=True)


def good_alpha(alpha: Array) -> bool:
    """Whether there is a cut-out: a good share of it transparent, some opaque, not much of it between."""
    clear, solid = (alpha < 8).mean(), (alpha > 247).mean()
    return bool(clear >= 0.08 and solid >= 0.05 and 1 - clear - solid <= 0.15)


def targets(sources: tuple[Source, ...]) -> list[str]:
    return sorted({source.target for source in sources})


def listed(source: Source, snapshots: Path) -> tuple[Snapshot, list[str]]:
    """A source's snapshot and the paths of its pictures."""
    snapshot = opened(snapshots, source.repository, source.commit)
    paths = snapshot.below(source.folder, ENDINGS)
    if source.only is not None:
        paths = [path for path in paths if Path(path).name in source.only]
        for name in sorted(set(source.only) - {Path(path).name for path in paths}):
            print(f"{source.repository}: lacks {name}")
    return snapshot, [path for path in paths if Path(path).name not in source.drop]


def cutouts(snapshots: Path, out: Path) -> None:
    with replaced(out, *targets(CUTOUTS)) as made:
        for source in CUTOUTS:
            snapshot, paths = listed(source, snapshots)
            kept = opaque = bad = 0
            for path in paths:
                file = Image.open(io.BytesIO(snapshot.read(path)))
                if "A" not in file.getbands() and "transparency" not in file.info:
                    opaque += 1
                    continue
                picture = fitted(file.convert("RGBA"), CUTOUT_SIDE)
                alpha = np.asarray(picture)[..., 3]
                if good_alpha(alpha):
                    picture.save(made / source.target / f"{Path(path).stem}.png")
                    kept += 1
                elif (alpha > 247).mean() > 0.99:
                    opaque += 1
                else:
                    bad += 1
            left = f"{opaque} opaque, {bad} with a bad alpha, {len(source.drop)} dropped by eye"
            print(f"{source.target}: {kept} of {len(paths)}; {left}", flush=True)


def photographs(snapshots: Path, out: Path) -> None:
    with replaced(out, *targets(PHOTOGRAPHS)) as made:
        for source in PHOTOGRAPHS:
            snapshot, paths = listed(source, snapshots)
            for path in paths:
                picture = fitted(Image.open(io.BytesIO(snapshot.read(path))), PHOTOGRAPH_SIDE).convert("RGB")
                picture.save(made / source.target / f"{Path(path).stem}.jpg", quality=92)
            print(f"{source.target}: {len(paths)} of {source.repository}", flush=True)


def main() -> None:
    sources = {"panoramas": PANORAMAS, "cutouts": CUTOUTS, "photographs": PHOTOGRAPHS}
    parser = arguments(__doc__, "PART", ["coco", *sources])
    parser.add_argument("--table", type=Path, default=TABLE, help="COCO's pictures; without it docs/lite/coco.tsv")
    options = parser.parse_args()
    with options.table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    written = {part: targets(those) for part, those in sources.items()}
    written["coco"] = [COCO_MASKED, COCO_CCBY, COCO_MORE]
    needed = {part: {source.repository for source in those} for part, those in sources.items()}
    needed["coco"] = {row["repository"] for row in rows} | {repository for repository, _ in ANNOTATIONS + YOLO_FOLDERS}
    make: dict[str, Callable[[Path, Path], None]] = {
        "panoramas": panoramas,
        "coco": partial(coco, rows),
        "cutouts": cutouts,
        "photographs": photographs,
    }
    snapshots, out, parts = ready(parser, options, needed)
    for part in parts:
        make[part](snapshots, out)
        if options.sheet:
            for name in written[part]:
                sheet(out / name, options.sheet)


if __name__ == "__main__":
    main()
