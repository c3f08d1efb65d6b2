"""The pictures that samples are made of: read when they are drawn, kept in memory when the recipe says so."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..errors import MattingError
from ..opencv import cv2
from .augment import Array, Rng
from .layouts import Record, list_records
from .recipe import Source

Bytes: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Photo:
    """rgb: H×W×3 uint8; alpha: H×W uint8 of its subject, None for a background; hard: a mask's edge, not a matte's."""

    rgb: Bytes
    alpha: Bytes | None = None
    hard: bool = False


class Pool:
    """Records to draw from, each with its weight."""

    def __init__(self, records: Iterable[tuple[Record, float]] = ()) -> None:
        listed = list(records)
        self.records = [record for record, _ in listed]
        self._edges = np.cumsum([weight for _, weight in listed])

    def __len__(self) -> int:
        return len(self.records)

    def draw(self, rng: Rng) -> Record:
        """One of them, as likely as its weight says."""
        index = int(np.searchsorted(self._edges, rng.random() * self._edges[-1], side="right"))
        return self.records[min(index, len(self) - 1)]


class Library:
    """Photographs with the alpha of their subject, backgrounds, and cut-outs by source.

    A source's weight is that of each of its photographs or backgrounds beside others, or that of all of its cut-outs.

    unreadable: a file to which the path of every picture that cannot be read is appended, once a process; drawing goes
    on with another picture. The same seed draws the same pictures, whether or not they are kept in memory.
    """

    def __init__(self, sources: list[tuple[Source, list[Record]]], *, cache: bool, unreadable: Path | None) -> None:
        every = [(record, source.weight) for source, records in sources for record in records]
        self.photos = Pool(pair for pair in every if pair[0].role == "picture")
        self.backgrounds = Pool(pair for pair in every if pair[0].role == "background")
        self.cutouts: list[Pool] = []
        self.weights: list[float] = []
        for source, records in sources:
            cut = [record for record in records if record.role == "foreground"]
            if cut:
                self.cutouts.append(Pool((record, 1.0) for record in cut))
                self.weights.append(source.weight)
        self.unreadable = unreadable
        self._kept: dict[Record, Photo] | None = {} if cache else None
        self._bad: set[Record] = set()

    def read(self, record: Record) -> Photo | None:
        """One picture, or None when it cannot be read, which is noted."""
        if record in self._bad:
            return None
        if self._kept is not None and record in self._kept:
            return self._kept[record]
        try:
            photo = read_photo(record)
        except (ValueError, OSError, cv2.error):
            self._bad.add(record)
            if self.unreadable is not None:
                with self.unreadable.open("a", encoding="utf-8") as file:
                    file.write(f"{record.rgb}\n")
            return None
        if self._kept is not None:
            self._kept[record] = photo
        return photo

    def preload(self) -> int:
        """Read everything that is to be kept; so that workers, which are forked, share it. Returns how many."""
        pools = self.photos, self.backgrounds, *self.cutouts
        return sum(self.read(record) is not None for pool in pools for record in pool.records)

    def draw(self, rng: Rng, pool: Pool) -> Photo:
        """One of these at random. Raises MattingError when a hundred in a row cannot be read."""
        for _ in range(100):
            record = pool.draw(rng)
            photo = self.read(record)
            if photo is not None:
                return photo
        raise MattingError(f"a hundred pictures in a row cannot be read, the last one {record.rgb}")

    def texture(self, rng: Rng) -> Array:
        """Some photograph for a surface, float32 in 0..1."""
        pool = self.backgrounds if self.backgrounds and (not self.photos or rng.random() < 0.3) else self.photos
        if not pool:
            return rng.random((8, 8, 3), dtype=np.float32)
        return self.draw(rng, pool).rgb.astype(np.float32) / np.float32(255)


def open_library(sources: tuple[Source, ...], root: Path, *, cache: bool = False,
                 unreadable: str | os.PathLike[str] | None = None) -> Library:
    """List all sources. Raises MattingError when one of them is not there."""
    listed = [(source, list_records(source, root)) for source in sources]
    return Library(listed, cache=cache, unreadable=None if unreadable is None else Path(unreadable))


def read_photo(record: Record) -> Photo:
    """Read a record's picture as bytes. Raises ValueError when a file is no picture, lacks alpha, or sizes differ."""
    if record.rgba:
        rgba = _decoded(record.rgb, cv2.IMREAD_UNCHANGED)
        if rgba.ndim != 3 or rgba.shape[2] != 4:
            raise ValueError(f"{record.rgb} has no alpha")
        return Photo(np.ascontiguousarray(rgba[..., 2::-1]), np.ascontiguousarray(rgba[..., 3]), record.hard)
    rgb = np.ascontiguousarray(_decoded(record.rgb, cv2.IMREAD_COLOR)[..., ::-1])
    if record.alpha is None:
        return Photo(rgb)
    alpha = _decoded(record.alpha, cv2.IMREAD_GRAYSCALE)
    if alpha.shape != rgb.shape[:2]:
        raise ValueError(f"{record.alpha} is {alpha.shape[1]}x{alpha.shape[0]}, not {rgb.shape[1]}x{rgb.shape[0]}")
    if record.hard:
        alpha = ((alpha > 127) * np.uint8(255)).astype(np.uint8)
    return Photo(rgb, alpha, record.hard)


def _decoded(path: Path, how: int) -> Bytes:
    data = np.frombuffer(path.read_bytes(), np.uint8)
    picture = cv2.imdecode(data, how) if len(data) else None
    if picture is None:
        raise ValueError(f"{path} cannot be read as a picture")
    if picture.dtype == np.uint16:
        return (picture // 257).astype(np.uint8)
    return picture.astype(np.uint8, copy=False)


def softened(mask: Bytes, radius: float = 1.0) -> Bytes:
    """A hard mask H×W uint8 with an edge as soft as a camera's, moved inwards so that no background shows."""
    inner = cv2.erode(mask, np.ones((3, 3), np.uint8))
    return cv2.GaussianBlur(inner, (0, 0), radius).astype(np.uint8, copy=False)


def cut_from(photo: Photo) -> Bytes:
    """The subject of a photograph, or a cut-out, as H×W×4 uint8."""
    if photo.alpha is None:
        raise ValueError("a background has nothing to cut out")
    return np.dstack([photo.rgb, softened(photo.alpha) if photo.hard else photo.alpha])
