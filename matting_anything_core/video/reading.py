"""Films: what ffmpeg reads, through PyAV (extra `video`), upright and as RGB, frame by frame and backward too."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ImageError, MissingExtraError
from ..image import Image

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

CHUNK = 32
"""Frames that are decoded at once when a clip is gone through backward …"""
MOST_BYTES = 256 << 20
"""… as long as they take no more memory than this."""
UNSPECIFIED = 2
"""What ffmpeg calls a matrix, primaries or transfer of which the file says nothing."""
HIGH_DEFINITION = 720
"""From this height on a film that does not say so is taken for BT.709, and below for BT.601."""


def pyav() -> Any:
    """The module `av`. Raises MissingExtraError without the extra `video`."""
    try:
        import av
    except ImportError as error:
        raise MissingExtraError(f"films need PyAV ({error}); install it with "
                                "pip install 'matting-anything-core[video]'") from None
    return av


@dataclass(frozen=True)
class Film:
    """What a film's file says of its pictures.

    width, height: as seen, after rotation. rate: frames a second, the mean one where it varies. time_base: the unit of
    the frames' times, in seconds. count: how many frames, None where the file does not say. matrix, primaries,
    transfer, colour_range: ffmpeg's numbers. shape: of a pixel, width to height. audio: how many sound tracks. alpha:
    whether the frames have some.
    """

    width: int
    height: int
    rate: Fraction
    time_base: Fraction
    count: int | None
    matrix: int
    primaries: int
    transfer: int
    colour_range: int
    shape: Fraction
    audio: int
    alpha: bool


class FilmClip:
    """The frames of a film by number; see `source.Clip`. For one thread at a time."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open a film. Raises ImageError for what is none, MissingExtraError without PyAV."""
        self.path = Path(path)
        self._av = pyav()
        if not self.path.exists():
            raise ImageError(f"there is no file or folder {os.fspath(path)!r}")
        self._open()
        self._times: list[int] = []
        """The times of the frames decoded so far; the same numbers find them again."""
        self._buffer: OrderedDict[int, Image] = OrderedDict()
        first = self.read(0)
        frame = self._first
        stream = self._stream
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate or Fraction(25)
        shape = stream.sample_aspect_ratio
        if not shape or shape <= 0:
            shape = Fraction(1)
        turned = frame.rotation % 180 != 0
        self.film = Film(
            first.width, first.height, Fraction(rate), Fraction(stream.time_base), stream.frames or None,
            _matrix(frame), self._tag("color_primaries"), self._tag("color_trc"), _range(frame),
            1 / shape if turned else shape, len(self._container.streams.audio), first.alpha is not None)

    def _open(self) -> None:
        error_kind = self._av.error.FFmpegError
        try:
            self._container = self._av.open(os.fspath(self.path))
            if not self._container.streams.video:
                raise ImageError(f"{os.fspath(self.path)!r} has no pictures")
            self._stream = self._container.streams.video[0]
            self._stream.thread_type = "AUTO"
        except (error_kind, OSError, ValueError) as error:
            raise ImageError(f"{os.fspath(self.path)!r} cannot be read as a film: {_reason(error)}") from None
        self._frames: Iterator[Any] = self._container.decode(self._stream)
        self._next = 0

    def _tag(self, name: str) -> int:
        """What the file says of its colours; older versions of PyAV know it of the stream alone."""
        context = self._stream.codec_context
        return int(getattr(self._first, name, getattr(context, name, UNSPECIFIED)))

    @property
    def count(self) -> int | None:
        """How many frames the file says it has."""
        return self.film.count

    def time(self, index: int) -> int:
        """The time of a frame that was read, in units of the film's time base."""
        return self._times[index]

    def read(self, index: int) -> Image:
        """One frame, upright: RGB of 8 bits, or 16 where the film has more than 8; see `Clip.read`."""
        if index in self._buffer:
            return self._buffer[index]
        if index < self._next:
            return self._backward(index)
        while True:
            frame = self._decoded()
            if frame is None:
                raise IndexError(index)
            self._next += 1
            if self._next > index:
                return _picture(frame)

    def _decoded(self) -> Any:
        """The next frame that can be decoded; None at the end."""
        errors = 0
        while True:
            try:
                frame = next(self._frames)
            except StopIteration:
                return None
            except (self._av.error.FFmpegError, ValueError, MemoryError) as error:
                errors += 1
                if not self._times:
                    raise ImageError(f"{os.fspath(self.path)!r} cannot be decoded: {_reason(error)}") from None
                if errors > 20:
                    return None  # a file that is cut off
                self._frames = self._container.decode(self._stream)
                continue
            if self._next == len(self._times):
                if not self._times:
                    self._first = frame
                unit = self._stream.average_rate or Fraction(25)
                step = max(round(1 / (Fraction(unit) * Fraction(self._stream.time_base))), 1)
                last = self._times[-1] if self._times else None
                time = frame.pts if frame.pts is not None else 0 if last is None else last + step
                self._times.append(time if last is None or time > last else last + 1)
            return frame

    def _backward(self, index: int) -> Image:
        """A frame that was passed: it and those before it are decoded at once."""
        size = self.film.width * self.film.height * 6
        start = max(0, index - min(CHUNK, max(MOST_BYTES // size, 1)) + 1)
        self._seek(start)
        self._buffer.clear()
        for number in range(start, index + 1):
            frame = self._decoded()
            if frame is None:
                raise ImageError(f"frame {number} of {os.fspath(self.path)!r} cannot be read a second time")
            self._next += 1
            self._buffer[number] = _picture(frame)
        return self._buffer[index]

    def _seek(self, index: int) -> None:
        """Go to where a frame comes next: by its time, or else from the beginning."""
        wanted = self._times[index]
        try:
            self._container.seek(wanted, stream=self._stream, backward=True)
            self._frames = self._container.decode(self._stream)
            for frame in self._frames:
                if frame.pts == wanted:
                    self._frames = _with_first(frame, self._frames)
                    self._next = index
                    return
                if frame.pts is None or frame.pts > wanted:
                    break
        except (self._av.error.FFmpegError, ValueError, OSError):
            pass
        self._container.close()
        self._open()
        for _ in range(index):
            if self._decoded() is None:
                return
            self._next += 1

    def release(self, before: int) -> None:
        """Forget frames that are kept from going backward."""
        for number in [number for number in self._buffer if number < before]:
            del self._buffer[number]

    def close(self) -> None:
        """Close the file."""
        self._container.close()


def _with_first(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error).strip() or type(error).__name__


def _matrix(frame: Any) -> int:
    """A frame's matrix as ffmpeg's number, decided by its height where the file says nothing."""
    matrix = int(frame.colorspace)
    if matrix in (0, UNSPECIFIED, 3):
        return 1 if max(frame.height, 0) >= HIGH_DEFINITION else 6
    return matrix


def _range(frame: Any) -> int:
    """1 for limited, 2 for full range, decided by the pixel format where the file says nothing."""
    known = int(frame.color_range)
    return known if known in (1, 2) else 2 if frame.format.name.startswith("yuvj") or frame.format.is_rgb else 1


def swscale_matrix(matrix: int) -> int:
    """ffmpeg's number of a matrix as swscale's."""
    return {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}.get(matrix, 5)


def _picture(frame: Any) -> Image:
    """A decoded frame as an upright Image."""
    name = frame.format.name
    deep = max(component.bits for component in frame.format.components) > 8
    alpha = any(part in name for part in ("yuva", "rgba", "bgra", "argb", "abgr", "gbrap", "ya8", "ya16"))
    wanted = ("rgba64le" if deep else "rgba") if alpha else ("rgb48le" if deep else "rgb24")
    if name != wanted:
        keywords: dict[str, Any] = {"format": wanted}
        if not frame.format.is_rgb:
            keywords |= {"src_colorspace": swscale_matrix(_matrix(frame)), "src_color_range": _range(frame),
                         "dst_color_range": 2}
        rotation = frame.rotation
        frame = frame.reformat(**keywords)
    else:
        rotation = frame.rotation
    pixels = frame.to_ndarray()
    turns = round(rotation / 90) % 4
    pixels = np.ascontiguousarray(np.rot90(pixels, turns) if turns else pixels)
    if not alpha:
        return Image(pixels)
    return Image(np.ascontiguousarray(pixels[..., :3]), np.ascontiguousarray(pixels[..., 3]))
