"""The value that a picture is in this library: pixels, colour space, and what its file told besides."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from ..errors import ImageError
from .arrays import Array, quantise
from .icc import profile_name, rgb_to_srgb, srgb_to_rgb
from .memory import memory_for
from .metadata import PLAIN, Metadata

if TYPE_CHECKING:
    import PIL.Image

    from .encode import Format

_SHOWN = 800  # pixels on the longer side of what a notebook shows


@dataclass(frozen=True, eq=False, repr=False)
class Image:
    """A picture as it is seen: upright, in its own colour space.

    Parameters
    ----------
    rgb
        H×W×3, uint8 or uint16 (pictures with 16 bits, and floats): red, green, blue.
    alpha
        H×W of the same dtype, or None when the source has no alpha; colours are straight, not multiplied by it.
    profile
        The ICC profile of `rgb`; None for sRGB. `rgb8()` and `rgb_float()` are sRGB whatever it is.
    metadata
        Resolution, EXIF, XMP; written with the picture unless it is `stripped()`.

    Arrays are this picture's own memory; treat them as constants. `np.asarray(image)` is H×W×3 or, with alpha, H×W×4.
    """

    rgb: Array
    alpha: Array | None = None
    profile: bytes | None = None
    metadata: Metadata = PLAIN

    def __post_init__(self) -> None:
        rgb, alpha = self.rgb, self.alpha
        if not isinstance(rgb, np.ndarray) or rgb.ndim != 3 or rgb.shape[2] != 3 or \
                rgb.dtype not in (np.uint8, np.uint16):
            given = f"{rgb.dtype} {rgb.shape}" if isinstance(rgb, np.ndarray) else type(rgb).__name__
            raise ImageError(f"rgb was given as {given}; expected an array height x width x 3 of uint8 or uint16 "
                             "(read_image takes nearly anything)")
        if alpha is not None and (not isinstance(alpha, np.ndarray) or alpha.shape != rgb.shape[:2]
                                  or alpha.dtype != rgb.dtype):
            given = f"{alpha.dtype} {alpha.shape}" if isinstance(alpha, np.ndarray) else type(alpha).__name__
            raise ImageError(f"alpha was given as {given}; expected {rgb.dtype} {rgb.shape[:2]}, as the colours")

    def __repr__(self) -> str:
        parts = [f"{self.width} x {self.height}", f"{self.bits} bits"]
        if self.alpha is not None:
            parts.append("alpha")
        if self.profile is not None:
            parts.append(profile_name(self.profile))
        return f"Image({', '.join(parts)})"

    @property
    def height(self) -> int:
        return int(self.rgb.shape[0])

    @property
    def width(self) -> int:
        return int(self.rgb.shape[1])

    @property
    def bits(self) -> int:
        """Bits a channel: 8 or 16."""
        return 8 * self.rgb.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes it occupies, what it keeps in sRGB included."""
        return self.rgb.nbytes * (1 if self.profile is None else 2) + (0 if self.alpha is None else self.alpha.nbytes)

    def rgb8(self) -> Array:
        """The colours in sRGB as uint8 H×W×3; `rgb` itself when it is that already. Treat it as a constant."""
        if self.profile is not None:
            return self._srgb8
        return self.rgb if self.rgb.dtype == np.uint8 else quantise(self.rgb, 8)

    @cached_property
    def _srgb8(self) -> Array:
        """What rgb8 gives when there is a profile, kept: it is asked for often."""
        assert self.profile is not None
        with memory_for(f"converting {self.width} x {self.height} pixels to sRGB", self.rgb.nbytes):
            return rgb_to_srgb(quantise(self.rgb, 8) if self.bits == 16 else self.rgb, self.profile)

    def rgb_float(self) -> Array:
        """The colours in sRGB as a new float32 array H×W×3 in 0..1, all bits kept."""
        if self.profile is not None:
            return _as_float(rgb_to_srgb(self.rgb, self.profile))
        return _as_float(self.rgb)

    def own_float(self) -> Array:
        """The colours in the picture's own space as a new float32 array H×W×3 in 0..1."""
        return _as_float(self.rgb)

    def alpha_float(self) -> Array | None:
        """The alpha as a new float32 array H×W in 0..1; None when there is none."""
        return None if self.alpha is None else _as_float(self.alpha)

    def to_srgb(self) -> Image:
        """The same in sRGB; itself when it is that already. Colours that sRGB lacks are clipped."""
        if self.profile is None:
            return self
        return replace(self, rgb=rgb_to_srgb(self.rgb, self.profile), profile=None)

    def in_space_of(self, other: Image) -> Array | None:
        """The colours as float32 H×W×3 in 0..1 in the space of another picture; None when no way leads there."""
        if self.profile == other.profile:
            return self.own_float()
        return self.rgb_float() if other.profile is None else srgb_to_rgb(self.rgb_float(), other.profile)

    def stripped(self) -> Image:
        """The same without metadata: only pixels, and the profile that says what colours they are."""
        return replace(self, metadata=PLAIN) if self.metadata else self

    def part(self, rows: slice, columns: slice) -> Image:
        """A copy of a part of it, in the same colour space."""
        cut = rows, columns
        return replace(self, rgb=self.rgb[cut].copy(), alpha=None if self.alpha is None else self.alpha[cut].copy())

    def pixels(self) -> Array:
        """H×W×3, or H×W×4 with straight alpha, in the picture's own space and dtype; treat it as a constant."""
        return self.rgb if self.alpha is None else self._stacked

    @cached_property
    def _stacked(self) -> Array:
        """Kept, since an array interface must stand on memory that lasts."""
        assert self.alpha is not None
        return np.dstack([self.rgb, self.alpha])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = self.pixels()
        if dtype is not None and np.dtype(dtype) != array.dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """What numpy.asarray and PIL.Image.fromarray look for."""
        array = np.ascontiguousarray(self.pixels())
        return {"shape": array.shape, "typestr": array.dtype.str, "data": array, "strides": array.strides, "version": 3}

    def tobytes(self) -> bytes:
        """The bytes of `pixels()`, row by row."""
        return self.pixels().tobytes()

    def to_pil(self) -> PIL.Image.Image:
        """A Pillow picture, RGB or RGBA of 8 bits (Pillow has no colours of 16), with profile and resolution."""
        import PIL.Image

        picture = PIL.Image.fromarray(quantise(self.pixels(), 8))
        if self.profile is not None:
            picture.info["icc_profile"] = self.profile
        if self.metadata.dpi is not None:
            picture.info["dpi"] = self.metadata.dpi
        return picture

    def encode(self, form: Format = "png", *, bits: int | None = None, quality: int | None = None) -> bytes:
        """The bytes of a picture file; see `encode_image`."""
        from .write import encode_image

        return encode_image(self, form, bits=bits, quality=quality)

    def save(
        self, target: str | os.PathLike[str] | IO[bytes], *, bits: int | None = None, quality: int | None = None,
        form: Format | None = None,
    ) -> None:
        """Write a picture file, with alpha when there is one; see `write_image`.

        target: a path, or a file object opened for writing bytes. bits: 8 or 16; unless given those of the picture, or
        8 where the format holds no more. form: the format, for file objects and names without a suffix.
        """
        from .write import write_image

        write_image(target, self, bits=bits, quality=quality, form=form)

    def _repr_png_(self) -> bytes:
        """What a notebook shows: at most 800 pixels on a side, sRGB."""
        from .encode import encode_pixels

        picture = self.to_srgb().to_pil()
        picture.thumbnail((_SHOWN, _SHOWN))
        return encode_pixels(np.asarray(picture), "png")


def _as_float(array: Array) -> Array:
    return np.multiply(array, np.float32(1 / 255 if array.dtype == np.uint8 else 1 / 65535), dtype=np.float32)
