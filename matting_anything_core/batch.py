"""Many pictures: reading the next one, matting this one and writing the last one go on at the same time.

    for outcome in matte_batch(items_in("photos", "cut-outs"), model="lite"):
        print(outcome.item.image, outcome.status, outcome.message)

What cannot be read or matted is reported in its outcome and does not end the batch. Files are written whole or not at
all, so what is there is done, and a batch that was interrupted goes on with the same call.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from .api import Words, load_model, matte
from .errors import ImageError, MattingError
from .image import Image, read_image, readable_suffixes
from .model import MattingAnything
from .output import Output, write_output

if TYPE_CHECKING:
    import torch

    from .image import ImageInput
    from .options import Guidance, Sides
    from .pipeline.embedding import Embedding
    from .result import Background, Matte
    from .types import PromptInput

PromptRule: TypeAlias = "Callable[[Image], PromptInput]"
"""Makes the prompt of a picture that has been read, for example a box in shares of its size."""
Status: TypeAlias = Literal["done", "empty", "skipped", "failed"]

WORDS = Words()
AHEAD = 2
"""Pictures that are read ahead, and mattes that may wait to be written."""
WRITERS = 2
SUFFIXES = readable_suffixes()
"""Files that count as pictures in a folder."""


@dataclass(frozen=True, eq=False)
class Item:
    """One object in one picture. image: a path, or anything else `read_image` takes. prompt: as for `matte`, or a rule
    that makes it. out: the file to write, None for none."""

    image: ImageInput
    prompt: PromptInput | PromptRule
    out: Path | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of an item. matte: None when it was skipped or failed. error: why it failed.

    status: `done`, `empty` (done, but the matte is empty), `skipped` (its file was there) or `failed`.
    seconds: from the beginning of its matting until it was written.
    """

    item: Item
    matte: Matte | None = field(default=None, repr=False)
    error: MattingError | None = None
    seconds: float = 0.0

    @property
    def status(self) -> Status:
        """How it ended, in a word."""
        if self.error is not None:
            return "failed"
        if self.matte is None:
            return "skipped"
        return "done" if self.matte.alpha.any() else "empty"

    @property
    def message(self) -> str:
        """Why it failed, or nothing."""
        return "" if self.error is None else str(self.error)


def whole_picture(image: Image) -> PromptInput:
    """The rule for one clear subject: a box around all of the picture."""
    return (0, 0, image.width, image.height)


def in_shares(x0: float, y0: float, x1: float, y1: float) -> PromptRule:
    """The rule for a box in shares 0..1 of the picture's width and height."""
    return lambda image: (x0 * image.width, y0 * image.height, x1 * image.width, y1 * image.height)


def items_in(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    prompt: PromptInput | PromptRule = whole_picture,
    *,
    suffix: str = ".png",
) -> list[Item]:
    """The pictures in a folder and its subfolders, by name, to be written below `out` in the same subfolders.

    prompt: for all of them. suffix: of the files to write, which says their format. Pictures that differ only in their
    suffix (a.jpg, a.png) keep it in the name of what is written (a.jpg.png). Files below `out` are left aside.
    Raises ImageError when there is no such folder or no picture in it.
    """
    root, target = Path(folder), Path(out)
    if not root.is_dir():
        raise ImageError(f"there is no folder {os.fspath(folder)!r}")
    inside = target.resolve()
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
                   and not path.name.startswith(".") and (inside == root.resolve() or inside not in
                                                          path.resolve().parents))
    if not paths:
        raise ImageError(f"there is no picture in {os.fspath(folder)!r}; known are {', '.join(SUFFIXES)}")
    stems: dict[Path, int] = {}
    for path in paths:
        stems[path.with_suffix("")] = stems.get(path.with_suffix(""), 0) + 1
    return [Item(path, prompt, target / _named(path, stems[path.with_suffix("")] > 1, suffix).relative_to(root))
            for path in paths]


def _named(path: Path, ambiguous: bool, suffix: str) -> Path:
    return path.with_name(path.name + suffix) if ambiguous else path.with_suffix(suffix)


def matte_batch(
    items: Iterable[Item],
    *,
    model: str | os.PathLike[str] | MattingAnything = "lite",
    device: str | torch.device = "auto",
    output: Output = "cutout",
    background: Background = (255, 255, 255),
    bits: int | None = None,
    strip: bool = False,
    srgb: bool = False,
    overwrite: bool = False,
    guidance: Guidance | Literal["auto"] = "auto",
    sides: Sides | Literal["auto"] = "auto",
    postprocess: bool = False,
    words: Words = WORDS,
) -> Generator[Outcome, None, None]:
    """Matte many pictures and yield what became of each, in their order.

    items: may be endless; a few are taken ahead. Items of the same picture that follow each other share its embedding.
    output, background, bits, strip, srgb: what is written, see `write_output`.
    overwrite: also where the file is there already.
    Other arguments as for `matte`. Closing the iterator (or an exception where it is used, such as KeyboardInterrupt)
    waits for files that are being written, and leaves nothing half.

    Raises WeightsError and DeviceError when the model cannot be loaded; every other MattingError is in its outcome.
    """
    network = model if isinstance(model, MattingAnything) else load_model(model, device=device)
    kept: tuple[Image, Embedding] | None = None

    def compute(item: Item, image: Image) -> Matte:
        nonlocal kept
        prompt = item.prompt(image) if callable(item.prompt) else item.prompt
        if kept is None or kept[0] is not image:
            kept = image, network.embed(image)
        return matte(kept[1], [prompt], model=network, device=device, guidance=guidance, sides=sides,
                     postprocess=postprocess, words=words)[0]

    def write(item: Item, found: Matte, started: float) -> Outcome:
        try:
            if item.out is not None:
                item.out.parent.mkdir(parents=True, exist_ok=True)
                write_output(item.out, found, output, background=background, bits=bits, strip=strip,
                             srgb=srgb)
        except MattingError as error:
            return Outcome(item, error=error, seconds=time.perf_counter() - started)
        except OSError as error:
            wrong = ImageError(f"{item.out} cannot be written: {error.strerror or error}")
            return Outcome(item, error=wrong, seconds=time.perf_counter() - started)
        return Outcome(item, found, seconds=time.perf_counter() - started)

    with _Reading(items, overwrite) as reading, ThreadPoolExecutor(WRITERS, "matting-write") as writers:
        pending: deque[Future[Outcome]] = deque()
        for item, read in reading:
            started = time.perf_counter()
            if read is None:
                pending.append(_ready(Outcome(item)))
            else:
                try:
                    found = compute(item, read.result())
                except MattingError as error:
                    pending.append(_ready(Outcome(item, error=error, seconds=time.perf_counter() - started)))
                else:
                    pending.append(writers.submit(write, item, found, started))
            while len(pending) > AHEAD or (pending and pending[0].done()):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


class _Reading:
    """Items with the futures of their pictures, read ahead in a thread; None for an item whose file is there."""

    def __init__(self, items: Iterable[Item], overwrite: bool) -> None:
        self._items = iter(items)
        self._overwrite = overwrite
        self._pool = ThreadPoolExecutor(1, "matting-read")

    def __enter__(self) -> Iterator[tuple[Item, Future[Image] | None]]:
        return self._ahead()

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _ahead(self) -> Iterator[tuple[Item, Future[Image] | None]]:
        waiting: deque[tuple[Item, Future[Image] | None]] = deque()
        last: tuple[object, Future[Image]] | None = None
        for item in self._items:
            if not self._overwrite and item.out is not None and item.out.exists():
                waiting.append((item, None))
            else:
                if last is None or not _same(last[0], item.image):
                    last = item.image, self._pool.submit(read_image, item.image)
                waiting.append((item, last[1]))
            while waiting and (waiting[0][1] is None or sum(read is not None for _, read in waiting) > AHEAD):
                yield waiting.popleft()
        yield from waiting


def _same(one: object, other: object) -> bool:
    """The same picture: the same object, or the same path."""
    return one is other or (isinstance(one, (str, os.PathLike)) and isinstance(other, (str, os.PathLike))
                            and os.fspath(one) == os.fspath(other))


def _ready(outcome: Outcome) -> Future[Outcome]:
    future: Future[Outcome] = Future()
    future.set_result(outcome)
    return future


def check_outputs(items: Sequence[Item]) -> None:
    """Raise ImageError when two items would be written to the same file."""
    seen: dict[Path, Item] = {}
    for item in items:
        if item.out is None:
            continue
        if item.out in seen:
            raise ImageError(f"{item.out} would be written twice, of {seen[item.out].image!s:.200} and of "
                             f"{item.image!s:.200}; give each its own name")
        seen[item.out] = item
