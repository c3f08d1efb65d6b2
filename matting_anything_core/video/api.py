"""`matte_video`: mark an object in a frame or a few, get the matte of every frame."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ..api import Words, load_model
from ..errors import PromptError
from ..geometry import mask_bounds
from ..journal import fingerprint
from ..model import MattingAnything
from ..options import MatteOptions, OptionKeywords
from ..pipeline.embedding import Embedding, visible_colours
from ..result import Matte, Source
from ..types import Prompt
from .flow import small
from .marks import Marks, Prompts, marks_of
from .passes import Frame, Work, frames_of
from .smoothing import STRENGTH, steadied
from .source import Ahead, FramesInput, open_clip
from .store import Found, Store, rounded
from .tracker import WORDS

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from ..types import ProgressCallback
    from .source import Clip

    Array = np.ndarray[Any, Any]


@overload
def matte_video(
    frames: FramesInput | Clip, prompts: Sequence[Mapping[int, Any]] | list[Prompt],
    options: MatteOptions | None = ..., *, model: str | os.PathLike[str] | MattingAnything = ...,
    device: str | torch.device = ..., words: Words = ..., steady: float = ...,
    folder: str | os.PathLike[str] | None = ..., progress: ProgressCallback | None = ...,
    **keywords: Unpack[OptionKeywords],
) -> Generator[list[Matte], None, None]: ...


@overload
def matte_video(
    frames: FramesInput | Clip, prompts: Prompts,
    options: MatteOptions | None = ..., *, model: str | os.PathLike[str] | MattingAnything = ...,
    device: str | torch.device = ..., words: Words = ..., steady: float = ...,
    folder: str | os.PathLike[str] | None = ..., progress: ProgressCallback | None = ...,
    **keywords: Unpack[OptionKeywords],
) -> Generator[Matte, None, None]: ...


def matte_video(
    frames: FramesInput | Clip,
    prompts: Prompts | Sequence[Prompts],
    options: MatteOptions | None = None,
    *,
    model: str | os.PathLike[str] | MattingAnything = "lite",
    device: str | torch.device = "auto",
    words: Words = WORDS,
    steady: float = STRENGTH,
    folder: str | os.PathLike[str] | None = None,
    progress: ProgressCallback | None = None,
    **keywords: Unpack[OptionKeywords],
) -> Generator[Matte, None, None] | Generator[list[Matte], None, None]:
    """Cut an object out of a clip: marked in one frame or a few, followed through the others.

    The object is followed forward and backward from every frame that is marked; between two marked ones both directions
    are blended. Memory holds a few frames, whatever the length of the clip. Same input, same output.

    Parameters
    ----------
    frames
        The path of a film (extra `video`) or of a folder of images; T×H×W×C as an array or tensor (uint8, or floats
        0..1); a list or any iterable of what `read_image` takes, which is kept in the system's folder for temporary
        files as far as backward passes need it.
    prompts
        By the number of the frame, from 0: `{0: (120, 40, 560, 700), 60: Correction(points=[(300, 200)], labels=[0])}`.
        Values are what `matte` takes, or a `Correction`; points and strokes alone, in a later frame than the first
        mark, correct what tracking gives there. One prompt without a number is for frame 0. A list is several objects.
    options : MatteOptions, optional
        How the mattes are made; its fields may be given as keywords as well.
    model, device, words
        As for `matte`.
    steady : float
        0..1, how much alpha is blended with the frame before it where nothing but noise has changed; 0 for not at all.
    folder
        Where to keep what is done (alphas, 16 bits; the tracks), so that the same call goes on there after it was
        killed, with exactly the same result. What another clip, prompt or setting has left there is deleted. The
        caller deletes it at last.
    progress : callable, optional
        Called with ("frame 12", share done, 0..1) before each step; what it raises ends the work. Between two marks a
        frame is gone through twice.

    Yields
    ------
    Matte, or a list of one for each object
        A frame after the other, alpha in steps of 1/65535. Its warnings say where the object is lost (the matte is
        empty until it is found again) and where a new scene begins. Closing the generator ends the work.

    Raises
    ------
    MattingError
        PromptError for marks that cannot be, also behind the end of the clip; ImageError for frames that cannot be
        read; WeightsError, DeviceError and MissingExtraError as for `matte`.

    Examples
    --------
    >>> for matte in matte_video("clip.mp4", {0: (120, 40, 560, 700)}):
    ...     matte.cutout()
    """
    marks, single = marks_of(prompts)
    if not 0 <= steady <= 1:
        raise PromptError(f"steady was given as {steady!r}; expected a number from 0 (off) to 1")
    how = MatteOptions.of(options, keywords)
    rewind = any(frame > 0 for one in marks for frame in one)
    clip = open_clip(frames, rewind=rewind)
    count = clip.count
    for one in marks:
        if count is not None and max(one) >= count:
            raise PromptError(f"frame {max(one)} is marked, but the clip has {count} frames, numbered from 0")
    network = model if isinstance(model, MattingAnything) else load_model(model, device=device)
    plan = "" if folder is None else fingerprint(
        network.fingerprint, asdict(how), marks, _state(frames), words if isinstance(words.grounding, str) else "")
    together = _together(Ahead(clip), marks, network, how, words, steady, folder, plan, progress)
    return (mattes[0] for mattes in together) if single else together


def _state(frames: Any) -> Any:
    """What tells a clip from another one without reading it."""
    frames = getattr(frames, "path", None) or frames
    if isinstance(frames, (str, os.PathLike)):
        path = Path(frames)
        if path.is_dir():
            from .source import frames_in

            return frames_in(path)
        return path
    return getattr(frames, "shape", None) and tuple(frames.shape)


def _together(
    clip: Clip, marks: Sequence[Marks], model: MattingAnything, options: MatteOptions, words: Words, steady: float,
    folder: str | os.PathLike[str] | None, plan: str, progress: ProgressCallback | None,
) -> Generator[list[Matte], None, None]:
    """The mattes of all objects, frame by frame."""
    from contextlib import ExitStack

    steps, total = 0, _steps(clip.count, marks)

    def tick(stage: str) -> None:
        nonlocal steps
        if progress is not None:
            progress(stage, min(steps / total, 1.0) if total else 0.0)
        steps += 1

    with ExitStack() as stack:
        stack.callback(clip.close)
        kept = stack.enter_context(tempfile.TemporaryDirectory(prefix="matting-video-")) if folder is None else folder
        work = Work(clip, model, options, words, Store(kept, plan), folder is not None, tick)
        objects = [_steadied(work, frames_of(work, one, f"object{number}"), steady)
                   for number, one in enumerate(marks)]
        for frames in zip(*objects, strict=True):
            yield [_matte(work, frame, marks[number]) for number, frame in enumerate(frames)]
        if progress is not None:
            progress("done", 1.0)


def _steps(count: int | None, marks: Sequence[Marks]) -> int:
    """How many frames are gone through, those between two marks twice; 0 when it is not known."""
    if count is None:
        return 0
    return sum(count + max(one) - min(one) - len(one) + 1 for one in marks)


def _steadied(work: Work, frames: Generator[Frame, None, None] | Any, strength: float) -> Generator[Frame, None, None]:
    """Frames whose alpha is steady; what a hand has marked stays as it is."""
    before: tuple[int, Array, Array] | None = None
    for frame in frames:
        rgb = small(work.embedding(frame.index, frame.image).visible)
        alpha = frame.found.alpha
        if before is not None and strength > 0 and not frame.marked and alpha.any() and before[1].shape == rgb.shape:
            flow = work.flow(before[0], frame.index, before[1], rgb)
            alpha = rounded(steadied(before[2], alpha, flow, strength))
        before = frame.index, rgb, alpha
        yield Frame(frame.index, frame.image, Found(alpha, frame.found.score, frame.found.warnings), frame.marked)


def _matte(work: Work, frame: Frame, marks: Marks) -> Matte:
    """A frame as a Matte, which can be corrected and given as a prompt."""
    solid = frame.found.alpha > 0.5
    solid.setflags(write=False)
    asked = marks.get(frame.index)
    if not isinstance(asked, Prompt):
        box = mask_bounds(solid) if solid.any() else (0.0, 0.0, float(solid.shape[1]), float(solid.shape[0]))
        asked = Prompt(box=box)
    embedding = Embedding(frame.image, visible_colours(frame.image), work.model.fingerprint)
    return Matte(frame.found.alpha, solid, frame.found.score, asked, frame.image, warnings=frame.found.warnings,
                 source=Source(work.model, embedding, work.options))


