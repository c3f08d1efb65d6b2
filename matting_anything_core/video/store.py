"""What is kept on the disk while a clip is matted: alphas, and the track every now and then.

A pass from the later of two marks backward needs what the pass from the earlier one has made, and a run that was killed
goes on from here. Alphas are PNG files of 16 bits, written whole or not at all; tracks are .npz files of plain arrays.

    FOLDER/plan.json              of what and how: another clip, prompt or setting makes everything anew
    FOLDER/NAME-00000042.png      the alpha of frame 42 in a pass
    FOLDER/NAME-00000042.json     what was said of it
    FOLDER/NAME.npz               the track after a frame of that pass
"""

from __future__ import annotations

import io
import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ImageError
from ..image.write import write_bytes
from .memory import Memory
from .tracker import Track

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

EVERY = 24
"""A track is written after so many frames, and each goes on from there."""
TOP = np.float32(65535)
LOCK = "lock"
"""A file in the folder that a process may hold while it works there."""


def rounded(alpha: Array) -> Array:
    """Alpha in steps of 1/65535, as it is kept: what is read again is exactly what was given out."""
    result: Array = (alpha * TOP + np.float32(0.5)).astype(np.uint16).astype(np.float32) / TOP
    result.setflags(write=False)
    return result


@dataclass(frozen=True, eq=False)
class Found:
    """One frame of a pass: alpha H×W float32 in 0..1, in steps of 1/65535; the score; what is said of it."""

    alpha: Array
    score: float
    warnings: tuple[str, ...] = ()


class Store:
    """A folder of alphas and tracks."""

    def __init__(self, folder: str | os.PathLike[str], plan: str = "") -> None:
        """Open or make it; what was kept for another plan is deleted. Raises ImageError when it cannot be written."""
        self.folder = Path(folder)
        note = self.folder / "plan.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            known = note.read_text(encoding="utf-8") if note.exists() else None
            if known != json.dumps({"plan": plan}):
                if known is None and any(file.name != LOCK for file in self.folder.iterdir()):
                    raise ImageError(f"the folder {os.fspath(folder)!r} holds other files; expected an empty one, or "
                                     "one of an earlier run")
                self.clear()
                write_bytes(note, json.dumps({"plan": plan}).encode())
        except OSError as error:
            raise ImageError(f"the folder {os.fspath(folder)!r} cannot be used: {error.strerror or error}") from None

    def clear(self) -> None:
        """Delete all that is kept."""
        for file in self.folder.iterdir():
            if file.suffix in (".png", ".json", ".npz", ".tmp"):
                file.unlink()

    def _file(self, name: str, index: int, suffix: str = ".png") -> Path:
        return self.folder / f"{name}-{index:08d}{suffix}"

    def put(self, name: str, index: int, found: Found) -> None:
        """Keep one frame of a pass."""
        from ..opencv import cv2

        note = {"score": found.score, "warnings": list(found.warnings)}
        write_bytes(self._file(name, index, ".json"), json.dumps(note).encode())
        values = np.ascontiguousarray((found.alpha * TOP + np.float32(0.5)).astype(np.uint16))
        good, data = cv2.imencode(".png", values, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        if not good:
            raise ImageError(f"the alpha of frame {index} cannot be encoded")
        write_bytes(self._file(name, index), data.tobytes())

    def get(self, name: str, index: int) -> Found | None:
        """One frame of a pass; None when it is not there."""
        from ..opencv import cv2

        try:
            data = np.frombuffer(self._file(name, index).read_bytes(), np.uint8)
            note = json.loads(self._file(name, index, ".json").read_text(encoding="utf-8"))
            score, warnings = float(note["score"]), tuple(map(str, note["warnings"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        values = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
        if values is None or values.ndim != 2 or values.dtype != np.uint16:
            return None
        alpha = values.astype(np.float32) / TOP
        alpha.setflags(write=False)
        return Found(alpha, score, warnings)

    def has(self, name: str, index: int) -> bool:
        """Whether a frame of a pass is there."""
        return self._file(name, index).exists()

    def needed(self, name: str, index: int) -> Found:
        """One frame of a pass. Raises ImageError when it is not there, or damaged."""
        found = self.get(name, index)
        if found is None:
            raise ImageError(f"{self._file(name, index)} is missing or damaged; delete {self.folder} and begin anew")
        return found

    def drop(self, name: str, index: int) -> None:
        """Delete one frame of a pass."""
        for suffix in (".png", ".json"):
            self._file(name, index, suffix).unlink(missing_ok=True)

    def put_track(self, name: str, index: int, track: Track) -> None:
        """Keep the track after a frame of a pass, in the place of an earlier one."""
        write_bytes(self.folder / f"{name}.npz", packed(track, index))

    def get_track(self, name: str) -> tuple[int, Track] | None:
        """The frame after which the track of a pass was kept, and the track; None when there is none."""
        try:
            return unpacked((self.folder / f"{name}.npz").read_bytes())
        except (OSError, ImageError):
            return None


def packed(track: Track, index: int = 0) -> bytes:
    """A track, and the number of its frame, as bytes that `unpacked` reads."""
    memory, arrays = track.memory, {}
    for kind in ("marked", "recent"):
        for number, pair in enumerate(getattr(memory, kind)):
            arrays[f"{kind}{number}a"], arrays[f"{kind}{number}b"] = pair
    file = io.BytesIO()
    np.savez(file, rgb=track.rgb, alpha=track.alpha, object=memory.object_, around=memory.around,
             lately=memory.lately, lately_around=memory.lately_around,
             numbers=np.array([track.area, track.lost, track.age, index], np.float64), **arrays)
    data = file.getvalue()
    return zlib.crc32(data).to_bytes(4, "big") + data


def unpacked(data: bytes) -> tuple[int, Track]:
    """The number of a frame and the track after it.

    Raises
    ------
    ImageError
        When it is damaged, or something else.
    """
    try:
        if zlib.crc32(data[4:]) != int.from_bytes(data[:4], "big"):
            raise ValueError("its end is missing")
        with np.load(io.BytesIO(data[4:]), allow_pickle=False) as arrays:
            pairs = {kind: tuple((arrays[f"{kind}{number}a"], arrays[f"{kind}{number}b"])
                                 for number in range(len(arrays.files)) if f"{kind}{number}a" in arrays.files)
                     for kind in ("marked", "recent")}
            area, lost, age, index = arrays["numbers"].tolist()
            memory = Memory(arrays["object"], arrays["around"], arrays["lately"], arrays["lately_around"],
                            pairs["marked"], pairs["recent"])
            return int(index), Track(arrays["rgb"], arrays["alpha"], memory, float(area), int(lost), int(age))
    except (ValueError, KeyError, OSError, EOFError) as error:
        raise ImageError(f"this is no track of a clip, or a damaged one: {error}") from None
