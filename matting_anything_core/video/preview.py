"""A few frames of a clip, before all of it is matted: those that are marked, and some after each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..types import Prompt
from .marks import Marks, corrects
from .tracker import begin, follow

if TYPE_CHECKING:
    from ..model import MattingAnything
    from ..options import MatteOptions
    from ..result import Matte
    from ..types import ProgressCallback
    from .source import Clip


def previewed(
    clip: Clip, marks: Marks, after: Sequence[int], model: MattingAnything, options: MatteOptions | None = None, *,
    progress: ProgressCallback | None = None,
) -> Iterator[Matte]:
    """The mattes of the marked frames, and of those so many frames after each as `after` says, as far as there are any.

    Marks that only correct are shown where the preview of an earlier mark reaches them.

    Raises
    ------
    MattingError
        As `matte_video`.
    """
    track = None
    wanted = {frame: {frame, *(frame + step for step in after)} for frame in marks}
    for number, (frame, mark) in enumerate(marks.items()):
        if corrects(mark) and track is not None:
            continue  # what it corrects is known only when all frames before it are
        later = [other for other in marks if other > frame]
        try:
            for index in range(frame, min(max(wanted[frame]) + 1, *later) if later else max(wanted[frame]) + 1):
                if progress is not None:
                    progress(f"frame {index}", number / len(marks))
                image = clip.read(index)
                if index == frame:
                    assert isinstance(mark, Prompt)  # the first mark is no correction, and later ones are left out
                    track, matte = begin(model, image, mark, options)
                else:
                    assert track is not None
                    track, matte = follow(model, track, image, options)
                if index in wanted[frame]:
                    yield matte
        except IndexError:
            continue
