"""Mattes -> films and sequences of images, written whole or not at all.

    .mov    ProRes 4444 with straight alpha, 10 bits and 16 of alpha, for editors; ProRes 422 HQ without alpha
    .webm   VP9, with alpha for browsers
    .mp4 .mkv   H.264 or HEVC, no alpha: for the matte itself (gray), composites and colours
    NAME-%06d.png .tif, or a folder   one image a frame, 8 or 16 bits
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from ..errors import ImageError
from ..image.write import check_writable
from ..output import Output, OutputOptions, write_output
from .reading import Film, _reason, pyav, swscale_matrix

if TYPE_CHECKING:
    from ..result import Background, Matte

    Array = np.ndarray[Any, Any]

Codec = Literal["auto", "prores", "vp9", "h264", "hevc"]
SUFFIXES = {".mov": "prores", ".webm": "vp9", ".mp4": "h264", ".m4v": "h264", ".mkv": "h264"}
"""The codec of a film by its suffix."""
IMAGES = (".png", ".tif", ".tiff", ".webp", ".jpg", ".jpeg")
_AUDIO = {".webm": ("libopus", ("opus", "vorbis")), ".mp4": ("aac", ("aac", "mp3", "ac3", "eac3", "alac", "opus")),
          ".m4v": ("aac", ("aac", "mp3", "ac3", "eac3", "alac")),
          ".mov": ("aac", ("aac", "mp3", "ac3", "alac", "pcm_s16le", "pcm_s24le", "pcm_s16be", "pcm_s24be"))}
"""For a container what sound is encoded with, and which codecs are copied as they are; any in a .mkv."""


@dataclass(frozen=True)
class Look:
    """What is written of each matte; see `write_output`. quality: 0 (best) to 51 for H.264, HEVC and VP9."""

    output: Output = "cutout"
    background: Background = (255, 255, 255)
    codec: Codec = "auto"
    quality: int | None = None
    bits: int | None = None


@dataclass(frozen=True)
class Timing:
    """When the frames are shown. time_base: the unit of their times in seconds. rate: frames a second, a mean. source:
    a film whose sound is taken along, and what it says of its colours."""

    time_base: Fraction
    rate: Fraction
    source: Path | None = None
    film: Film | None = None


class Writer(Protocol):
    """Takes mattes in order."""

    def write(self, index: int, time: int, matte: Matte) -> None:
        """One frame, shown at a time in units of the time base."""

    def close(self) -> None:
        """Finish: what was asked for is there now."""

    def abort(self) -> None:
        """Leave nothing half."""


def writer_for(out: str | os.PathLike[str], look: Look, timing: Timing) -> Writer:
    """The writer for a path, by its suffix; a path without one, or a folder, is for PNG files in it.

    Raises
    ------
    ImageError
        For what cannot be written there: alpha in an .mp4, an unknown suffix, a folder that is not there.
    MissingExtraError
        For a film without the extra `video`.
    """
    path = Path(out)
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        codec = SUFFIXES[suffix] if look.codec == "auto" else look.codec
        _check(path, suffix, codec, look)
        return FilmWriter(path, codec, look, timing)
    if suffix in IMAGES and "%" in path.name:
        return SequenceWriter(path, look)
    if suffix in IMAGES:
        raise ImageError(f"{os.fspath(out)!r} is one image; for a sequence give a folder, or a name with the frame's "
                         f"number in it: {path.stem}-%06d{path.suffix}")
    if suffix and not path.is_dir():
        raise ImageError(f"{os.fspath(out)!r} has the suffix {path.suffix}; known are {', '.join(SUFFIXES)}, a folder, "
                         "or NAME-%06d.png and NAME-%06d.tif for a sequence of images")
    return SequenceWriter(path / "%06d.png", look)


def _check(path: Path, suffix: str, codec: str, look: Look) -> None:
    fits = {"prores": (".mov", ".mkv"), "vp9": (".webm", ".mkv", ".mp4"), "h264": (".mp4", ".m4v", ".mkv", ".mov"),
            "hevc": (".mp4", ".m4v", ".mkv", ".mov")}[codec]
    if suffix not in fits:
        raise ImageError(f"{codec} cannot be written into {suffix}; expected {' or '.join(fits)}")
    if look.output == "cutout" and not (codec == "prores" or (codec == "vp9" and suffix != ".mp4")):
        raise ImageError(f"{path.name} would hold {codec}, which has no transparency: write a .mov (ProRes 4444) or "
                         ".webm (VP9), or the alpha alone (output alpha), or a composite")
    if look.quality is not None and not 0 <= look.quality <= 51:
        raise ImageError(f"the quality was given as {look.quality}; for films expected 0 (best) to 51")
    check_writable(path)


class SequenceWriter:
    """One image a frame."""

    def __init__(self, pattern: Path, look: Look) -> None:
        """pattern: a path whose name has the frame's number as %d or %06d."""
        if len(re.findall(r"%(?:0\d+)?d", pattern.name)) != 1 or pattern.name.count("%") != 1:
            raise ImageError(f"{pattern.name!r} names no sequence; expected the frame's number once, as in "
                             "matte-%06d.png")
        from ..image import output_format

        output_format(pattern, bits=look.bits or 8, alpha=look.output == "cutout")
        self.pattern = pattern
        self._written = OutputOptions(look.output, look.background, bits=look.bits, quality=look.quality)
        try:
            pattern.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImageError(f"the folder {str(pattern.parent)!r} cannot be made: {error.strerror or error}") from None

    def path(self, index: int) -> Path:
        """The file of a frame."""
        return self.pattern.with_name(self.pattern.name % index)

    def write(self, index: int, time: int, matte: Matte) -> None:
        """One frame; see `Writer.write`."""
        write_output(self.path(index), matte, self._written)

    def close(self) -> None:
        """Every file is whole already."""

    def abort(self) -> None:
        """Every file is whole already."""


class FilmWriter:
    """A film, under a temporary name until it is whole."""

    def __init__(self, path: Path, codec: str, look: Look, timing: Timing) -> None:
        """Nothing is opened before the first frame, which says the size."""
        self._av = pyav()
        self._path, self._codec, self._look, self._timing = path, codec, look, timing
        target = os.path.realpath(path)
        # Always the same name: what a run that was killed has left is written over by the next one.
        self._temporary = os.path.join(os.path.dirname(target), f".{path.stem}.matting.tmp{path.suffix}")
        self._target = target
        self._container: Any = None
        self._sound: _Sound | None = None

    def write(self, index: int, time: int, matte: Matte) -> None:
        """One frame; see `Writer.write`."""
        try:
            pixels, form = self._pixels(matte)
            if self._container is None:
                self._open(pixels.shape[0], pixels.shape[1])
            if pixels.shape[:2] != self._size:
                raise ImageError(f"frame {index} is {pixels.shape[1]} x {pixels.shape[0]} pixels, the first one "
                                 f"{self._size[1]} x {self._size[0]}; a film has one size")
            frame = self._av.VideoFrame.from_ndarray(pixels, format=form)
            frame = frame.reformat(
                format=self._stream.codec_context.pix_fmt, dst_colorspace=swscale_matrix(self._matrix),
                src_color_range=2, dst_color_range=1)
            frame.pts, frame.time_base = time, self._timing.time_base
            for name, value in self._tags.items():
                if hasattr(frame, name):  # not all of them in older versions of PyAV
                    setattr(frame, name, value)
            self._container.mux(self._stream.encode(frame))
            if self._sound is not None:
                self._sound.up_to(float(time * self._timing.time_base) + 1)
        except (self._av.error.FFmpegError, OSError, ValueError) as error:
            raise ImageError(f"{os.fspath(self._path)!r} cannot be written: {_reason(error)}") from error

    def _pixels(self, matte: Matte) -> tuple[Array, str]:
        """A matte as pixels, and ffmpeg's name of their layout."""
        look, deep = self._look, self._codec == "prores" or matte.image.bits == 16
        if look.output == "alpha":
            values = np.rint(matte.alpha * 65535).astype(np.uint16)
            return np.repeat(values[..., None], 3, 2), "rgb48le"
        if look.output == "cutout":
            rgb = matte.foreground
            alpha = matte.alpha[..., None]
            both = np.concatenate([rgb, alpha], 2)
            return (np.rint(both * 65535).astype(np.uint16), "rgba64le") if deep else \
                (np.rint(both * 255).astype(np.uint8), "rgba")
        picture = matte.opaque() if look.output == "foreground" else matte.composite(look.background)
        return picture.rgb, "rgb48le" if picture.bits == 16 else "rgb24"

    def _open(self, height: int, width: int) -> None:
        cutout, codec, timing = self._look.output == "cutout", self._codec, self._timing
        self._size = height, width
        options = {"movflags": "+faststart"} if self._path.suffix.lower() in (".mp4", ".m4v", ".mov") else {}
        self._container = self._av.open(self._temporary, "w", container_options=options)
        odd = height % 2 or width % 2
        name, layout, settings = {
            "prores": ("prores_ks", "yuva444p10le" if cutout else "yuv422p10le",
                       {"profile": "4444" if cutout else "hq", "vendor": "apl0", "alpha_bits": "16"}),
            "vp9": ("libvpx-vp9", "yuva420p" if cutout else "yuv444p" if odd else "yuv420p",
                    {"crf": str(20 if self._look.quality is None else self._look.quality), "b": "0",
                     "auto-alt-ref": "0", "row-mt": "1", "cpu-used": "4", "deadline": "good"}),
            "h264": ("libx264", "yuv444p" if odd else "yuv420p",
                     {"crf": str(14 if self._look.quality is None else self._look.quality)}),
            "hevc": ("libx265", "yuv444p" if odd else "yuv420p",
                     {"crf": str(16 if self._look.quality is None else self._look.quality), "x265-params":
                      "log-level=error"}),
        }[codec]
        film = timing.film
        self._stream = stream = self._container.add_stream(name, rate=timing.rate, options=settings)
        context = stream.codec_context
        stream.width, stream.height, stream.pix_fmt = width, height, layout
        context.time_base = timing.time_base
        stream.time_base = timing.time_base
        if film is not None and film.shape != 1:
            context.sample_aspect_ratio = film.shape
        self._matrix = film.matrix if film is not None else 1 if height >= 720 else 6
        self._tags = {"colorspace": self._matrix, "color_range": 1,
                      "color_primaries": film.primaries if film is not None else self._matrix,
                      "color_trc": film.transfer if film is not None else self._matrix}
        for tag, value in self._tags.items():
            setattr(context, tag, value)
        if codec == "hevc":
            context.codec_tag = "hvc1"  # what QuickTime looks for
        if codec == "vp9" and cutout:
            stream.metadata["alpha_mode"] = "1"
        if timing.source is not None and film is not None and film.audio:
            self._sound = _Sound(self._av, timing.source, self._container, self._path.suffix.lower())

    def close(self) -> None:
        """Finish the film and give it its name."""
        if self._container is None:
            raise ImageError("there is no frame to write")
        try:
            self._container.mux(self._stream.encode(None))
            if self._sound is not None:
                self._sound.up_to(None)
                self._sound.close()
            self._container.close()
            os.replace(self._temporary, self._target)
        except (self._av.error.FFmpegError, OSError, ValueError) as error:
            self.abort()
            raise ImageError(f"{os.fspath(self._path)!r} cannot be written: {_reason(error)}") from error

    def abort(self) -> None:
        """Delete what was written."""
        with contextlib.suppress(Exception):
            if self._sound is not None:
                self._sound.close()
            if self._container is not None:
                self._container.close()
        with contextlib.suppress(OSError):
            os.unlink(self._temporary)


class _Sound:
    """The sound tracks of a film, taken along: copied where the container holds their codec, else encoded anew."""

    def __init__(self, av: Any, source: Path, container: Any, suffix: str) -> None:
        self._container, self._av = container, av
        self._input = av.open(os.fspath(source))
        encoder, copied = _AUDIO.get(suffix, ("aac", None))
        self._tracks: dict[int, tuple[Any, bool]] = {}
        for stream in self._input.streams.audio:
            if copied is None or stream.codec_context.name in copied:
                self._tracks[stream.index] = container.add_stream_from_template(stream), True
            else:
                rate = 48000 if encoder == "libopus" else stream.rate
                made = container.add_stream(encoder, rate=rate)
                made.codec_context.layout = stream.codec_context.layout.name
                self._tracks[stream.index] = made, False
        self._resamplers = {index: av.AudioResampler(made.codec_context.format, made.codec_context.layout,
                                                     made.codec_context.rate)
                            for index, (made, copy) in self._tracks.items() if not copy}
        self._packets = self._input.demux([self._input.streams[index] for index in self._tracks])
        self._waiting: Any = None
        self._done = False

    def up_to(self, seconds: float | None) -> None:
        """Write what is heard before a time; None for all the rest."""
        while not self._done:
            packet = self._waiting if self._waiting is not None else next(self._packets, None)
            self._waiting = None
            if packet is None:
                break
            if packet.dts is None:
                continue
            if seconds is not None and float(packet.dts * packet.time_base) > seconds:
                self._waiting = packet
                return
            made, copy = self._tracks[packet.stream.index]
            if copy:
                packet.stream = made
                self._container.mux(packet)
                continue
            for frame in packet.decode():
                self._encode(packet.stream.index, frame)
        if seconds is None and not self._done:
            self._done = True
            for index, (made, copy) in self._tracks.items():
                if not copy:
                    for frame in self._input.streams[index].decode(None):
                        self._encode(index, frame)
                    self._encode(index, None)
                    self._container.mux(made.encode(None))

    def _encode(self, index: int, frame: Any) -> None:
        made, _ = self._tracks[index]
        for part in self._resamplers[index].resample(frame):
            self._container.mux(made.encode(part))

    def close(self) -> None:
        """Close the source."""
        self._input.close()
