"""Many images: reading the next one, matting this one and writing the last one go on at the same time.

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
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from .api import Words, load_model, matte
from .boxes import concern
from .errors import ImageError, MattingError
from .folders import Found, images_in, path_given
from .image import MAX_PIXELS, Image, readable_suffixes
from .journal import INTENDED, Entry, Journal, file_state, fingerprint
from .model import MattingAnything
from .naming import distinct, key
from .options import OPTION_HELP, USUAL, MatteOptions, OptionKeywords
from .output import OutputKeywords, OutputOptions, write_output
from .shrink import Picture, read_picture, scaled_prompt
from .times import Times
from .types import Prompt

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from .image import ImageInput
    from .pipeline.embedding import Embedding
    from .result import Matte
    from .types import PromptInput

PromptRule: TypeAlias = "Callable[[Image], PromptInput]"
"""Makes the prompt of a picture that has been read, for example a box in shares of its size."""
Status: TypeAlias = Literal["done", "unsure", "empty", "skipped", "failed"]

WORDS = Words()
AHEAD = 2
"""Images that are read ahead, and mattes that may wait to be written."""
WRITERS = 2
SUFFIXES = readable_suffixes()
"""Files that count as images in a folder."""


@dataclass(frozen=True, eq=False)
class Item:
    """One object in one picture. image: a path, or anything else `read_image` takes. prompt: as for `matte`, or a rule
    that makes it. out: the file to write, None for none. Raises MattingError for an `out` that is no path."""

    image: ImageInput
    prompt: PromptInput | PromptRule
    out: Path | None = None

    def __post_init__(self) -> None:
        out: Any = self.out  # whatever the annotation says
        if out is not None and not isinstance(out, Path):
            object.__setattr__(self, "out", path_given(out, "the file to write"))


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of an item. matte: None when it was skipped or failed. error: why it failed.

    status: `done`, `unsure` (done, but it is doubtful that this is the image's subject), `empty` (done, but the matte
    is empty), `skipped` (its file was there) or `failed`.
    seconds: from the beginning of its matting until it was written.
    warnings: what is doubtful about it, in words. remark: why it was made anew, or skipped although something has
    changed. known: what the journal knows of a result. made: it was matted now, in another process, which kept the
    matte.
    """

    item: Item
    matte: Matte | None = field(default=None, repr=False)
    error: MattingError | None = None
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    remark: str = ""
    known: Entry | None = field(default=None, repr=False)
    made: bool = False

    @property
    def status(self) -> Status:
        """How it ended, in a word."""
        if self.error is not None:
            return "failed"
        if self.matte is not None:
            return ended(not self.matte.alpha.any(), self.matte.unsure)
        if not self.made:
            return "skipped"
        return "done" if self.known is None else ended(self.known.empty, self.known.unsure)

    @property
    def message(self) -> str:
        """Why it failed, a remark, or nothing."""
        return self.remark if self.error is None else str(self.error)

    @property
    def score(self) -> float | None:
        """The network's own estimate of the mask's IoU with the object, about 0..1; None where it is not known."""
        return self.matte.score if self.matte is not None else self.known.score if self.known is not None else None

    @property
    def box(self) -> tuple[float, ...] | None:
        """The box that was used, x0, y0, x1, y1 in pixels; None where there was none or it is not known."""
        return self.matte.box if self.matte is not None else self.known.box if self.known is not None else None


def clear_subject(image: Image) -> PromptInput:
    """The rule for the one clear subject of each image, and the default of a batch."""
    return Prompt(subject=True)


whole_picture = clear_subject
"""The former name."""


def ended(empty: bool, unsure: bool) -> Status:
    """What became of a matte that was made."""
    return "empty" if empty else "unsure" if unsure else "done"


@dataclass(frozen=True)
class InShares:
    """The rule for a box in shares of the image's width and height; text: words besides, or None."""

    x0: float
    y0: float
    x1: float
    y1: float
    text: str | None = None

    def __call__(self, image: Image) -> PromptInput:
        """The prompt for an image."""
        box = self.x0 * image.width, self.y0 * image.height, self.x1 * image.width, self.y1 * image.height
        return box if self.text is None else Prompt(box=box, text=self.text)


def in_shares(x0: float, y0: float, x1: float, y1: float) -> PromptRule:
    """The rule for a box in shares 0..1 of the image's width and height."""
    return InShares(x0, y0, x1, y1)


def items_in(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    prompt: PromptInput | PromptRule = clear_subject,
    *,
    suffix: str = ".png",
) -> list[Item]:
    """The images in a folder and its subfolders, by name, to be written below `out` in the same subfolders.

    prompt: for all of them. suffix: of the files to write, which says their format. Images that differ only in their
    suffix (a.jpg, a.png) keep it in the name of what is written (a.jpg.png). Files below `out` are left aside, hidden
    ones too; linked folders are followed once (see folders.images_in).
    Raises ImageError when there is no such folder or no image in it, and when the results would lie among the images.
    """
    return items_of(images_in(folder, out, SUFFIXES), folder, out, prompt, suffix=suffix)


def items_of(
    found: Found,
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    prompt: PromptInput | PromptRule = clear_subject,
    *,
    suffix: str = ".png",
) -> list[Item]:
    """The same for images that have been found already."""
    root, target = Path(folder), Path(out)
    paths = found.images
    if not paths:
        raise ImageError(f"there is no picture in {os.fspath(folder)!r}"
                         + (f", only {found.left_out_in_words()}" if found.left_out else "")
                         + f"; known are {', '.join(SUFFIXES)}")
    stems: dict[Path, int] = {}
    for path in paths:
        stems[path.with_suffix("")] = stems.get(path.with_suffix(""), 0) + 1
    names = distinct([_named(path, stems[path.with_suffix("")] > 1, suffix).relative_to(root) for path in paths])
    inside, results = os.path.realpath(root), os.path.realpath(target)
    if results == inside or not _below(results, inside):
        for name in names:
            if _below(os.path.realpath(target / name), inside):
                raise ImageError(
                    f"the results would lie among the images ({target / name}), and the next run would matte them as "
                    f"well; choose another folder, for example {os.fspath(folder).rstrip('/') or '.'}-mattes")
    return [Item(path, prompt, target / name) for path, name in zip(paths, names, strict=True)]


def _below(path: str, folder: str) -> bool:
    try:
        return os.path.commonpath([key(path), key(folder)]) == key(folder)
    except ValueError:  # on another drive
        return False


def _named(path: Path, ambiguous: bool, suffix: str) -> Path:
    return path.with_name(path.name + suffix) if ambiguous else path.with_suffix(suffix)


class BatchKeywords(OutputKeywords, OptionKeywords, total=False):
    """The fields of `BatchOptions`, and those of `MatteOptions`, as keywords."""

    words: Words
    max_pixels: int | None
    max_side: int | None


@dataclass(frozen=True)
class BatchOptions(OutputOptions):
    """What is made of each image of a batch: what is written (see `OutputOptions`), and how it is matted.

    Parameters
    ----------
    matte : MatteOptions
        How it is matted.
    words : Words
        How text is found, see `matte`.
    max_pixels : int, optional
        As for `read_image`.
    max_side : int, optional
        Larger images are scaled before they are matted, so that their longer side has so many pixels, and so have their
        results; prompts stay in pixels of the whole image, but for rules of one's own, which see the scaled one.
    """

    matte: MatteOptions = USUAL
    words: Words = WORDS
    max_pixels: int | None = MAX_PIXELS
    max_side: int | None = None

    def __post_init__(self) -> None:
        side = self.max_side
        if side is not None and (isinstance(side, bool) or not isinstance(side, int) or side < 16):
            raise ImageError(f"max_side was given as {side!r}; expected a whole number of pixels from 16, or None")

    @classmethod
    def of(cls, options: BatchOptions | None, keywords: BatchKeywords) -> BatchOptions:
        """Options with keywords in the place of their fields. Raises MattingError for unknown ones."""
        own = {one.name for one in fields(cls)} - {"matte"}
        if unknown := sorted(keywords.keys() - own - OPTION_HELP.keys()):
            raise MattingError(f"unknown option {', '.join(unknown)}; expected {', '.join(sorted(own))}, or one of "
                               f"MatteOptions: {', '.join(OPTION_HELP)}")
        base = options or cls()
        given: dict[str, Any] = {name: value for name, value in keywords.items() if name in own}
        how = cast(OptionKeywords, {name: value for name, value in keywords.items() if name not in own})
        return replace(base, **given, matte=MatteOptions.of(base.matte, how))

    def fingerprint(self, network: MattingAnything, model: object) -> str:
        """A text that changes when results would. model: the file of the network, if it was given as one."""
        ground = Path(self.background) if isinstance(self.background, str) and os.path.isfile(self.background) \
            else self.background
        source = file_state(model) if isinstance(model, (str, os.PathLike)) and os.path.isfile(model) else ""
        return fingerprint(network.fingerprint, network.defaults, source, self.output, self.bits, self.quality,
                           self.strip, self.srgb, self.adjustment, self.matte,
                           self.words if isinstance(self.words.grounding, str) else "",
                           ground if self.output == "composite" else "",
                           *([] if self.max_side is None else [self.max_side]))


OPTIONS = BatchOptions()


@dataclass(frozen=True)
class Ledger:
    """Which items are to be made, by what is there and what the journal knows.

    journal: None when nothing is noted. settings: the fingerprint of all that is equal for all items.
    """

    journal: Journal | None
    settings: str
    overwrite: bool = False

    def mark(self, item: Item) -> str:
        """The fingerprint of an item; nothing when there is no journal."""
        if self.journal is None:
            return ""
        image = Path(item.image) if isinstance(item.image, str) else item.image
        return fingerprint(self.settings, item.prompt, image)

    def known(self, item: Item) -> Outcome | str:
        """The outcome of an item that is not to be matted, else why it is matted although its file is there."""
        try:
            if item.out is None or self.overwrite or not os.path.lexists(item.out):
                return ""
        except (OSError, ValueError):
            return ""  # writing it will tell
        entry = None if self.journal is None else self.journal.entry(item.out)
        if entry is None:
            return Outcome(item, remark="" if self.journal is None else "was there before, made elsewhere")
        if entry.fingerprint == self.mark(item):
            return Outcome(item, known=entry, warnings=entry.warnings)
        if entry.fingerprint == INTENDED or entry.untouched(item.out):
            return "made anew: the image, the prompt or the settings have changed"
        return Outcome(item, known=entry, warnings=entry.warnings,
                       remark="kept: its file was changed by hand, though image, prompt or settings have changed as "
                              "well; --overwrite makes it anew")


class Work:
    """The steps of an item's way: read, compute, write. Each may go on in a thread of its own; one computes at a time.

    network: the loaded model. ledger: whose journal notes what is written. times: counts the seconds of each step.
    """

    def __init__(self, network: MattingAnything, options: BatchOptions, ledger: Ledger, *,
                 device: str | torch.device = "auto", times: Times | None = None) -> None:
        self._network = network
        self._options = options
        self._ledger = ledger
        self._device = device
        self._times = times or Times()
        self._kept: tuple[Image, Embedding] | None = None

    def read(self, source: ImageInput, name: str = "the picture given as bytes") -> Picture:
        """Read and decode an image, scaled where the options say so. name: of bytes, for errors. Raises ImageError."""
        return read_picture(source, self._options.max_pixels, self._options.max_side, self._times, name=name)

    def compute(self, item: Item, picture: Picture) -> Matte:
        """Matte an image. The last one's embedding is kept, so that items of the same one share it."""
        options, image = self._options, picture.image
        if not callable(item.prompt):
            prompt = scaled_prompt(item.prompt, picture)
        elif getattr(item.prompt, "in_pixels", False):  # it asks for the size only, and speaks of the whole picture
            prompt = scaled_prompt(item.prompt(cast(Image, picture)), picture)
        else:
            prompt = item.prompt(image)
        with self._times.matting() as progress:
            if self._kept is None or self._kept[0] is not image:
                self._kept = image, self._network.embed(image, progress=progress)
            return matte(self._kept[1], [prompt], model=self._network, device=self._device, options=options.matte,
                         words=options.words, progress=progress)[0]

    def write(self, item: Item, found: Matte, started: float, remark: str = "") -> Outcome:
        """Write and note a result. What goes wrong is in the outcome."""
        given = found.prompt.mask is None and found.subject_score is None
        doubt = concern(found.box, found.image.width, found.image.height) if given else None
        doubts, known = (*(() if doubt is None else (doubt,)), *found.warnings), None
        try:
            if item.out is not None:
                item.out.parent.mkdir(parents=True, exist_ok=True)
                write_output(item.out, found, self._options, times=self._times)
                if self._ledger.journal is not None:
                    known = self._ledger.journal.note(
                        item.out, self._ledger.mark(item), score=round(found.score, 6), box=found.box,
                        warnings=doubts, empty=not found.alpha.any(),
                        unsure=found.unsure)
        except Exception as error:
            return Outcome(item, error=as_error(error, f"{item.out} cannot be written"),
                           seconds=time.perf_counter() - started)
        return Outcome(item, found, seconds=time.perf_counter() - started, warnings=doubts, remark=remark, known=known)


def matte_batch(
    items: Iterable[Item],
    *,
    model: str | os.PathLike[str] | MattingAnything = "lite",
    device: str | torch.device = "auto",
    options: BatchOptions | None = None,
    overwrite: bool = False,
    journal: Journal | None = None,
    ordered: bool = True,
    times: Times | None = None,
    named: str | os.PathLike[str] | None = None,
    **keywords: Unpack[BatchKeywords],
) -> Generator[Outcome, None, None]:
    """Matte many images and yield what became of each.

    items: may be endless; a few are taken ahead. Items of the same image that follow each other share its embedding.
    options: what is made of each and how; its fields, and those of `MatteOptions`, may be given as keywords as well
    (`output="alpha"`). overwrite: also where the file is there already. journal: notes how each result was
    made; one whose image, prompt or settings have changed is then made anew, unless its file was changed by somebody
    else. ordered: yield them in the items' order, else as they are done. times: where seconds are counted, by stage.
    named: what a loaded model was loaded from, so that the journal is the one of processes that load it by themselves.
    Other arguments as for `matte`. Closing the iterator (or an exception where it is used, such as KeyboardInterrupt)
    waits for files that are being written, and leaves nothing half. Several processes: `workers.matte_in_processes`.

    Raises WeightsError and DeviceError when the model cannot be loaded; everything else that goes wrong with an item,
    its rule included, is in its outcome.
    """
    how = BatchOptions.of(options, keywords)
    network = model if isinstance(model, MattingAnything) else load_model(model, device=device)
    ledger = Ledger(journal, "" if journal is None else how.fingerprint(network, named or model), overwrite)
    work = Work(network, how, ledger, device=device, times=times)
    with _Reading(items, ledger.known, work.read) as reading, ThreadPoolExecutor(WRITERS, "matting-write") as writers:
        pending: deque[Future[Outcome]] = deque()
        for item, read in reading:
            started = time.perf_counter()
            if isinstance(read, Outcome):
                pending.append(_ready(read))
            else:
                try:
                    found = work.compute(item, read.image.result())
                except Exception as error:
                    wrong = as_error(error, "the image cannot be matted")
                    pending.append(_ready(Outcome(item, error=wrong, seconds=time.perf_counter() - started)))
                else:
                    pending.append(writers.submit(work.write, item, found, started, read.remark))
                    del found  # a matte that waits here would be one more in memory
            if not ordered:  # those that are done first, the others in their order
                pending = deque(sorted(pending, key=lambda one: not one.done()))
            while len(pending) > AHEAD or (pending and pending[0].done()):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def as_error(error: Exception, what: str) -> MattingError:
    """Any error as one of this library: a rule, a decoder or a full disk must not end a batch."""
    if isinstance(error, MattingError):
        return error
    reason = getattr(error, "strerror", None) or str(error) or "no reason given"
    if isinstance(error, OSError):
        return ImageError(f"{what}: {reason}")
    wrong = MattingError(f"{what}: {type(error).__name__}: {reason}")
    wrong.__cause__ = error
    return wrong


@dataclass(frozen=True)
class _Read:
    """An image that is being read. remark: why it is matted although its file is there."""

    image: Future[Picture]
    remark: str = ""


class _Reading:
    """Items with the futures of their images, read ahead in a thread; the outcome of those that need no work."""

    def __init__(self, items: Iterable[Item], known: Callable[[Item], Outcome | str],
                 read: Callable[[ImageInput], Picture]) -> None:
        self._items = iter(items)
        self._known = known
        self._read = read
        self._pool = ThreadPoolExecutor(1, "matting-read")

    def __enter__(self) -> Iterator[tuple[Item, _Read | Outcome]]:
        return self._ahead()

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _ahead(self) -> Iterator[tuple[Item, _Read | Outcome]]:
        waiting: deque[tuple[Item, _Read | Outcome]] = deque()
        last: tuple[object, Future[Picture]] | None = None
        taken: dict[str, Item] = {}
        for item in self._items:
            found = twice(item, taken) or self._known(item)
            if isinstance(found, Outcome):
                waiting.append((item, found))
            else:
                if last is None or not same_image(last[0], item.image):
                    last = item.image, self._pool.submit(self._read, item.image)
                waiting.append((item, _Read(last[1], found)))
            while waiting and (isinstance(waiting[0][1], Outcome)
                               or sum(isinstance(read, _Read) for _, read in waiting) > AHEAD):
                yield waiting.popleft()
        yield from waiting


def twice(item: Item, taken: dict[str, Item]) -> Outcome | None:
    """The failure of an item whose file an earlier one has, or whose file is its own image."""
    if item.out is None:
        return None
    try:
        name = key(os.path.realpath(item.out))
        own = isinstance(item.image, (str, os.PathLike)) and key(os.path.realpath(item.image)) == name
    except (OSError, ValueError):  # a name that cannot be; writing it will tell
        return None
    if own:
        return Outcome(item, error=ImageError(f"{item.out} is the image itself; give the result another name"))
    if name in taken:
        return Outcome(item, error=ImageError(f"{item.out} would be written twice, of {taken[name].image!s:.200} and "
                                              f"of {item.image!s:.200}; give each its own name"))
    taken[name] = item
    return None


def same_image(one: object, other: object) -> bool:
    """The same picture: the same object, or the same path."""
    return one is other or (isinstance(one, (str, os.PathLike)) and isinstance(other, (str, os.PathLike))
                            and os.fspath(one) == os.fspath(other))


def _ready(outcome: Outcome) -> Future[Outcome]:
    future: Future[Outcome] = Future()
    future.set_result(outcome)
    return future


def check_outputs(items: Sequence[Item]) -> None:
    """Raise ImageError when a result would replace one of the images."""
    images = {key(os.path.realpath(item.image)) for item in items
              if isinstance(item.image, (str, os.PathLike)) and "\0" not in os.fspath(item.image)}
    for item in items:
        if item.out is not None and "\0" not in str(item.out) and key(os.path.realpath(item.out)) in images:
            raise ImageError(f"the result {str(item.out)!r} would replace one of the images; choose another folder for "
                             "the results")
