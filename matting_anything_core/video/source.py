"""Where frames come from: a film file, a folder of images, a batch of arrays, or any iterable, all read by number.

Frames are wanted forward and, from a mark, backward. What can be read again is; an iterable, which cannot, is kept on
the disk as far as a backward pass may need it.
"""

from __future__ import annotations

import os
import tempfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from ..errors import ImageError
from ..image import Image, read_image

if TYPE_CHECKING:
    from ..image import ImageInput

FramesInput: TypeAlias = "str | os.PathLike[str] | np.ndarray[Any, Any] | Sequence[ImageInput] | Iterable[ImageInput]"
"""A film or a folder by path; T×H×W×C as an array or tensor; images in a sequence, or in any iterable."""

KEPT = 4
"""Frames that were read last and are kept, for several objects that ask for the same."""


class Clip(Protocol):
    """Frames by number."""

    @property
    def count(self) -> int | None:
        """How many there are, where that is known before the last one was read."""

    def read(self, index: int) -> Image:
        """One frame. Raises IndexError after the last one, ImageError for one that cannot be read."""

    def release(self, before: int) -> None:
        """Frames before this one are not wanted again."""

    def close(self) -> None:
        """Let go of files."""


class SequenceClip:
    """Images in a sequence, a folder's files, or an array or tensor T×H×W×C."""

    def __init__(self, images: Sequence[ImageInput], path: Path | None = None) -> None:
        """path: the folder that they come from."""
        self._images, self.path = images, path

    @property
    def count(self) -> int | None:
        """How many there are."""
        return len(self._images)

    def read(self, index: int) -> Image:
        """One frame; see `Clip.read`."""
        if not 0 <= index < len(self._images):
            raise IndexError(index)
        return read_image(self._images[index])

    def release(self, before: int) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing is open."""


class IterableClip:
    """Images that come once, in order. rewind: whether earlier ones may be asked for again; then those that are not
    released are kept on the disk."""

    def __init__(self, images: Iterable[ImageInput], *, rewind: bool) -> None:
        self._images: Iterator[ImageInput] = iter(images)
        self._taken, self._released, self._end = 0, 0, False
        self._last: tuple[int, Image] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="matting-frames-") if rewind else None

    @property
    def count(self) -> int | None:
        """Known when the last one was taken."""
        return self._taken if self._end else None

    def read(self, index: int) -> Image:
        """One frame; see `Clip.read`."""
        while self._taken <= index:
            try:
                image = read_image(next(self._images))
            except StopIteration:
                self._end = True
                raise IndexError(index) from None
            self._last = self._taken, image
            if self._folder is not None:
                np.save(self._file(self._taken), image.pixels(), allow_pickle=False)
            self._taken += 1
        if self._last is not None and self._last[0] == index:
            return self._last[1]
        if self._folder is None or index < self._released:
            raise ImageError(f"frame {index} was asked for again, but the frames come from an iterator; give a list, a "
                             "folder or a file")
        return read_image(np.load(self._file(index), allow_pickle=False))

    def _file(self, index: int) -> str:
        assert self._folder is not None
        return os.path.join(self._folder.name, f"{index:08d}.npy")

    def release(self, before: int) -> None:
        """Delete what is kept of earlier frames."""
        if self._folder is None:
            return
        for index in range(self._released, min(before, self._taken)):
            os.unlink(self._file(index))
        self._released = max(self._released, min(before, self._taken))

    def close(self) -> None:
        """Delete what is kept."""
        if self._folder is not None:
            self._folder.cleanup()


class Ahead:
    """A clip whose next frame is read while the last one is worked on, and whose last few frames are kept."""

    def __init__(self, clip: Clip) -> None:
        self._clip = clip
        self._pool = ThreadPoolExecutor(1, "matting-frames")
        self._kept: OrderedDict[int, Future[Image]] = OrderedDict()
        self._last = -1

    @property
    def count(self) -> int | None:
        """As the clip's."""
        return self._clip.count

    def read(self, index: int) -> Image:
        """One frame; see `Clip.read`."""
        image = self._asked(index).result()
        following = index - 1 if index == self._last - 1 else index + 1
        self._last = index
        if following >= 0:
            self._asked(following)
        return image

    def _asked(self, index: int) -> Future[Image]:
        future = self._kept.get(index)
        if future is None:
            future = self._kept[index] = self._pool.submit(self._clip.read, index)
        self._kept.move_to_end(index)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return future

    def release(self, before: int) -> None:
        """As the clip's, when what is being read is there."""
        self._pool.submit(self._clip.release, before)

    def close(self) -> None:
        """Wait for what is being read, and let go of files."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._clip.close()


def open_clip(frames: FramesInput | Clip, *, rewind: bool = True) -> Clip:
    """Frames as a Clip.

    Parameters
    ----------
    frames
        The path of a film (extra `video`) or of a folder of images, which are taken by name (numbers as numbers); an
        array or tensor T×H×W×C; a sequence or another iterable of what `read_image` takes; or a Clip.
    rewind : bool
        Whether earlier frames may be asked for again.

    Raises
    ------
    ImageError
        For what holds no frames.
    MissingExtraError
        For a film without the extra `video`.
    """
    if isinstance(frames, (str, os.PathLike)):
        path = Path(frames)
        if path.is_dir():
            return SequenceClip(frames_in(path), path)
        from .reading import FilmClip

        return FilmClip(path)
    if hasattr(frames, "read") and hasattr(frames, "release"):
        return frames  # type: ignore[return-value]
    if hasattr(frames, "shape"):
        shape = tuple(frames.shape)
        if len(shape) != 4 or not shape[0]:
            raise ImageError(f"frames were given as an array of shape {shape}; expected frames x height x width x "
                             "channels, at least one frame")
        return SequenceClip(frames)  # type: ignore[arg-type]
    given: Any = frames
    if isinstance(given, (bytes, bytearray)):
        given = None
    if isinstance(given, Sequence):
        if not given:
            raise ImageError("the list of frames is empty; expected at least one image")
        return SequenceClip(given)
    if isinstance(given, Iterable):
        return IterableClip(given, rewind=rewind)
    raise ImageError(f"frames were given as {type(frames).__name__}; expected the path of a film or a folder, an array "
                     "frames x height x width x channels, or images in a list or iterator")


def frames_in(folder: str | os.PathLike[str]) -> list[Path]:
    """The images in a folder (not in its subfolders) in the order of the numbers in their names.

    Raises
    ------
    ImageError
        When there are none.
    """
    import re

    from ..folders import images_in
    from ..image import readable_suffixes

    found = [path for path in images_in(folder, None, readable_suffixes()).images if path.parent == Path(folder)]
    if not found:
        raise ImageError(f"there is no image in {os.fspath(folder)!r}; expected a folder of frames such as 0001.png")

    def order(path: Path) -> list[tuple[int, str]]:
        return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]

    return sorted(found, key=order)
