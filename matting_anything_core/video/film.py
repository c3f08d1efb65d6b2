"""From a film, or a folder of frames, to a film or a folder: reading, computing and writing go on at the same time."""

from __future__ import annotations

import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from ..api import Words
from ..errors import ImageError, MattingError
from ..options import MatteOptions
from .api import matte_video
from .marks import Prompts, marks_of
from .reading import FilmClip
from .smoothing import STRENGTH, SteadyColours
from .source import open_clip
from .store import LOCK
from .tracker import WORDS
from .writing import Look, Timing, Writer, writer_for

if TYPE_CHECKING:
    import torch

    from ..model import MattingAnything
    from ..result import Matte
    from ..types import ProgressCallback

CUTOUT = Look()
WAITING = 2
"""Frames that may wait to be written."""
RATE = Fraction(25)
"""Frames a second for a folder of images, unless another is asked for."""


@dataclass(frozen=True)
class Done:
    """What was made. outs: the files or folders, one an object. frames: how many. seconds: it took. said: what is said
    of which frame of which object, (object, frame, text)."""

    outs: tuple[Path, ...]
    frames: int
    seconds: float
    said: tuple[tuple[int, int, str], ...] = field(default=())


def matte_film(
    source: str | os.PathLike[str],
    prompts: Prompts | Sequence[Prompts],
    out: str | os.PathLike[str],
    options: MatteOptions | None = None,
    *,
    look: Look = CUTOUT,
    model: str | os.PathLike[str] | MattingAnything = "lite",
    device: str | torch.device = "auto",
    words: Words = WORDS,
    steady: float = STRENGTH,
    rate: Fraction | None = None,
    sound: bool = True,
    work: str | os.PathLike[str] | None = None,
    progress: ProgressCallback | None = None,
) -> Done:
    """Matte a film and write the result as a film or as images, with the times and the sound of the source.

    What is computed is noted in a folder beside the result until that is whole. The same call after a crash goes on
    there and gives the very same frames.

    Parameters
    ----------
    source
        A film, or a folder of images.
    prompts, options, model, device, words, steady, progress
        As for `matte_video`. Several objects are written as NAME-1, NAME-2 …
    out
        A .mov, .webm, .mp4 or .mkv; a folder, or a name such as matte-%06d.tif, for images (see writing.py).
    look : Look
        What is written of each matte.
    rate : Fraction, optional
        Frames a second of a folder of images, 25 unless given; a film has its own.
    sound : bool
        Whether sound is taken along.
    work
        The folder for what is computed; left out, OUT.matting.

    Raises
    ------
    MattingError
        As `matte_video` and `writer_for`; also when another process works on the same result.
    """
    from filelock import FileLock, Timeout

    started = time.monotonic()
    source, target = Path(source), Path(out)
    if target.suffix and target.exists() and source.exists() and target.samefile(source):
        raise ImageError(f"{os.fspath(out)!r} is the film itself; choose another name for the result")
    marks, _ = marks_of(prompts)
    clip = open_clip(source)
    film = clip.film if isinstance(clip, FilmClip) else None
    frequency = film.rate if film is not None else RATE if rate is None else rate
    timing = Timing(film.time_base if film is not None else 1 / frequency, frequency,
                    source if film is not None and sound else None, film)
    outs = tuple(_numbered(target, index, len(marks)) for index in range(len(marks)))
    folder = Path(work) if work is not None else target.with_name(target.name.replace("%", "") + ".matting")
    said: list[tuple[int, int, str]] = []
    with ExitStack() as stack:
        stack.callback(clip.close)
        writers = [writer_for(path, look, timing) for path in outs]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(folder / LOCK, timeout=0))
        except Timeout:
            raise MattingError(f"another process is at work on {os.fspath(out)!r}; wait for it, or choose another "
                               "result") from None
        except OSError as error:
            raise ImageError(f"the folder {str(folder)!r} cannot be made: {error.strerror or error}") from None
        frames = matte_video(clip, list(marks), options, model=model, device=device, words=words, steady=steady,
                             folder=folder, progress=progress)
        stack.callback(frames.close)
        count = 0
        shown = [SteadyColours(0 if look.output == "alpha" else steady) for _ in writers]
        with _Writing(writers, shown) as writing:
            for count, mattes in enumerate(frames, 1):
                moment = clip.time(count - 1) if isinstance(clip, FilmClip) else count - 1
                writing.add(count - 1, moment, mattes)
                said += [(number, count - 1, text) for number, matte in enumerate(mattes) for text in matte.warnings]
    shutil.rmtree(folder, ignore_errors=True)
    return Done(outs, count, time.monotonic() - started, tuple(said))


def _numbered(path: Path, index: int, count: int) -> Path:
    if count == 1:
        return path
    if "%" in path.name:
        return path.with_name(f"{index + 1}-{path.name}")
    return path.with_name(f"{path.stem}-{index + 1}{path.suffix}")


def _written(writer: Writer, shown: Callable[[Matte], Matte], index: int, moment: int, matte: Matte) -> None:
    writer.write(index, moment, shown(matte))


class _Writing:
    """Writes behind the work, a few frames at most; films are finished at the end, or left aside after an error."""

    def __init__(self, writers: Sequence[Writer], shown: Sequence[Callable[[Matte], Matte]]) -> None:
        """shown: what is done to each object's mattes before."""
        self._writers, self._shown = writers, shown
        self._pool = ThreadPoolExecutor(1, "matting-write")
        self._pending: deque[Future[None]] = deque()

    def __enter__(self) -> _Writing:
        return self

    def add(self, index: int, moment: int, mattes: Sequence[Matte]) -> None:
        """One frame of every object. Raises what went wrong with an earlier one."""
        for writer, shown, matte in zip(self._writers, self._shown, mattes, strict=True):
            self._pending.append(self._pool.submit(_written, writer, shown, index, moment, matte))
        while len(self._pending) > WAITING * len(self._writers):
            self._pending.popleft().result()

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                while self._pending:
                    self._pending.popleft().result()
        except BaseException:
            kind = True
            raise
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
            for writer in self._writers if kind is not None else ():
                writer.abort()
        if kind is None:
            for writer in self._writers:
                writer.close()
