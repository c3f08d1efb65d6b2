"""What is marked in a clip: prompts by the number of their frame, for one object or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import PromptError
from ..types import Prompt, PromptInput, prompts_of

if TYPE_CHECKING:
    import numpy as np

    from ..strokes import Stroke


@dataclass(frozen=True, eq=False)
class Correction:
    """What is wrong in a frame, for the matte that tracking gives there: points and strokes alone.

    Fields as in `Prompt`; here all of them may say what does not belong to the object.
    """

    points: Sequence[tuple[float, float]] | None = None
    labels: Sequence[int] | None = None
    keep: Sequence[Stroke] | np.ndarray[Any, Any] | None = None
    drop: Sequence[Stroke] | np.ndarray[Any, Any] | None = None

    def of(self, alpha: Any) -> Prompt:
        """The prompt that corrects a frame's alpha. Raises PromptError when nothing is said."""
        return Prompt(points=self.points, labels=self.labels, keep=self.keep, drop=self.drop, previous=alpha)


Mark: TypeAlias = "Prompt | Correction"
Marks: TypeAlias = "dict[int, Mark]"
Prompts: TypeAlias = "PromptInput | Mapping[int, PromptInput | Correction]"
"""The prompts of one object: by the number of their frame from 0, or one alone, for the first frame."""
_CORRECTING = {field.name for field in fields(Correction)}


def marks_of(prompts: Prompts | Sequence[Prompts]) -> tuple[list[Marks], bool]:
    """Prompts -> (the marks of each object by frame, in the order of frames; whether a single object was meant).

    Raises
    ------
    PromptError
        For what is no prompt, and for frames that are no numbers from 0.
    """
    if _by_frame(prompts):
        return [_marks(prompts)], True
    if isinstance(prompts, (list, tuple)) and any(_by_frame(item) for item in prompts):
        return [_marks(item if _by_frame(item) else {0: item}) for item in prompts], False
    found, single = prompts_of(prompts)  # type: ignore[arg-type]
    return [{0: prompt} for prompt in found], single


def _by_frame(value: Any) -> bool:
    return isinstance(value, Mapping) and (not value or not all(isinstance(key, str) for key in value))


def _marks(prompts: Any) -> Marks:
    if not prompts:
        raise PromptError("no frame is marked; give a prompt by its frame, for example {0: (120, 40, 560, 700)}")
    marks: Marks = {}
    for frame in prompts:
        if isinstance(frame, bool) or not hasattr(frame, "__index__") or frame < 0:
            raise PromptError(f"a prompt was given for frame {frame!r}; frames are whole numbers from 0")
    for frame in sorted(prompts, key=int):
        marks[int(frame)] = _mark(prompts[frame])
    first = next(iter(marks))
    if isinstance(marks[first], Correction):
        raise PromptError(f"frame {first} is the first one that is marked, and is only corrected; mark the object in "
                          "it or in an earlier one: a box, points on it, a mask …")
    return marks


def _mark(value: Any) -> Mark:
    """A prompt, or a correction where only points and strokes that are no prompt by themselves are given."""
    if isinstance(value, Correction):
        return value
    if isinstance(value, Mapping) and value and set(value) <= _CORRECTING:
        try:
            return Prompt.of(value)
        except PromptError:
            correction = Correction(**{str(key): item for key, item in value.items()})
            import numpy as np

            correction.of(np.ones((1, 1), np.float32))  # says what is wrong with it
            return correction
    return Prompt.of(value)


def corrects(mark: Mark) -> bool:
    """Whether a mark consists of points and strokes alone, so that it corrects what tracking gives in its frame."""
    if isinstance(mark, Correction):
        return True
    return all(getattr(mark, name) is None for name in ("box", "mask", "text", "trimap", "previous"))


def as_correction(mark: Mark) -> Correction:
    """A mark of points and strokes as a correction."""
    if isinstance(mark, Correction):
        return mark
    return Correction(mark.points, mark.labels, mark.keep, mark.drop)
