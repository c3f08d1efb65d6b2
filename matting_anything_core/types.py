"""The values that go into the library: what is asked (Prompt) and what is known of a picture (Embedding). What comes
out, the Matte, stands in result.py. All are frozen: nothing is hidden in a model, so they can be kept and shared
between threads.

Coordinates are pixels of the picture as it is seen (after EXIF orientation): x to the right, y down, (0, 0) the top
left corner of the top left pixel. A box is (x0, y0, x1, y1) with x0 < x1 and y0 < y1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from .boxes import boxes_of, corners
from .boxes import number as _number
from .errors import PromptError

if TYPE_CHECKING:
    import os

    import numpy as np
    import PIL.Image
    import torch

    from .image import Image

ImageInput: TypeAlias = (
    "str | os.PathLike[str] | bytes | PIL.Image.Image | np.ndarray[Any, Any] | torch.Tensor | Image"
)
PromptInput: TypeAlias = "Prompt | str | Sequence[float] | np.ndarray[Any, Any] | Mapping[str, Any]"
Box: TypeAlias = tuple[float, float, float, float]
Guidance: TypeAlias = Literal["mask", "alpha"]
Sides: TypeAlias = Literal["one", "two"]
ProgressCallback: TypeAlias = Callable[[str, float], None]
"""Called with the name of the stage and the share done (0..1). It may raise to cancel; nothing is caught."""


def _items(value: Any, what: str) -> list[Any]:
    if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__iter__"):
        raise PromptError(f"{what} was given as {value!r}; expected a sequence of numbers")
    try:
        return list(value)
    except TypeError:  # a zero-dimensional array iterates in name only
        raise PromptError(f"{what} was given as {value!r}; expected a sequence of numbers") from None


def _box(value: Any) -> Box:
    several = boxes_of(value)
    if several is None:
        return corners(_items(value, "the box"))
    if len(several) > 1:
        raise PromptError(f"{len(several)} boxes were given where one belongs; give them to matte as they are, or one "
                          "prompt for each")
    return several[0]


def _points(value: Any) -> tuple[tuple[float, float], ...]:
    points = []
    for item in _items(value, "points"):
        pair = _items(item, "points")
        if len(pair) != 2:
            raise PromptError(f"a point has {len(pair)} values; points are pairs [(x, y), …] in pixels")
        points.append((_number(pair[0], "points"), _number(pair[1], "points")))
    if not points:
        raise PromptError("points is empty; give at least one (x, y), or leave points out")
    return tuple(points)


def _labels(value: Any) -> tuple[int, ...]:
    labels = []
    for item in _items(value, "labels"):
        number = _number(item, "labels")
        if number not in (0.0, 1.0):
            raise PromptError(f"labels holds {item!r}; a label is 1 (belongs to the object) or 0 (does not)")
        labels.append(int(number))
    return tuple(labels)


def _mask(value: Any) -> np.ndarray[Any, Any]:
    import numpy as np

    try:
        mask = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except (TypeError, ValueError) as error:
        raise PromptError(f"the mask cannot be read as an array: {error}") from None
    if mask.ndim == 3 and 1 in (mask.shape[0], mask.shape[2]):
        mask = mask[0] if mask.shape[0] == 1 else mask[..., 0]
    if mask.ndim != 2:
        raise PromptError(f"the mask has the shape {mask.shape}; expected height x width, as the picture's")
    if mask.dtype.kind not in "biuf":
        raise PromptError(f"the mask holds {mask.dtype}; expected bool, an integer type or floats")
    if mask.dtype.kind == "f" and not np.isfinite(mask).all():
        raise PromptError("the mask holds NaN or infinite values")
    # Half of the type's range is the threshold: 0.5 for bool and floats, 127 for uint8, 32767 for uint16.
    # Other integers hold labels (0, 1, …): there everything but zero belongs to the object.
    top = 255 if mask.dtype == np.uint8 and mask.max(initial=0) > 1 else 65535 if mask.dtype == np.uint16 else 1
    result = mask if mask.dtype == bool else mask > (0 if mask.dtype.kind == "i" else top / 2)
    if not result.any():
        raise PromptError("the mask is empty: nothing in it is above half; expected a rough mask of the object")
    result = np.array(result)
    result.setflags(write=False)
    return result


@dataclass(frozen=True, eq=False)
class Prompt:
    """What to matte: any mixture of a box, points, a mask and words for ONE object.

    box: x0, y0, x1, y1 around the object, in pixels of the picture as seen; parts outside of it are cut off.
    points: [(x, y), …]; labels: one for each point, 1 = on the object (the default), 0 = not on it.
    mask: height x width, bool or any number type, a rough mask of the object; above half of its range is the object.
    text: words such as "the dog on the left"; needs the extra `text`.

    Raises PromptError for what can mean nothing: NaN, reversed corners, labels without points, an empty mask …
    What depends on the picture (a box outside of it, a mask of another size) is checked when both are known.
    """

    box: Box | None = None
    points: Sequence[tuple[float, float]] | None = None
    labels: Sequence[int] | None = None
    mask: np.ndarray[Any, Any] | None = field(default=None, repr=False)
    text: str | None = None

    def __post_init__(self) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        if self.box is not None:
            put("box", _box(self.box))
        if self.points is not None:
            points = _points(self.points)
            labels = (1,) * len(points) if self.labels is None else _labels(self.labels)
            if len(labels) != len(points):
                raise PromptError(f"there are {len(points)} points but {len(labels)} labels; give one label a point")
            put("points", points)
            put("labels", labels)
        elif self.labels is not None:
            raise PromptError("labels were given without points; give points=[(x, y), …] along with them")
        if self.mask is not None:
            put("mask", _mask(self.mask))
        if self.text is not None:
            if not isinstance(self.text, str) or not self.text.strip():
                raise PromptError(f"text was given as {self.text!r}; expected words that name the object")
            put("text", self.text.strip())
        if self.box is None and self.points is None and self.mask is None and self.text is None:
            raise PromptError("the prompt is empty; give a box, points, a mask or text")
        if self.labels is not None and 1 not in self.labels and self.box is None and self.mask is None \
                and self.text is None:
            raise PromptError("all points are negative (label 0); give at least one point on the object, or a box")

    @classmethod
    def of(cls, value: PromptInput) -> Prompt:
        """Read one prompt generously: a Prompt, four numbers (a box), an array (a mask, or four numbers), a dict with
        Prompt's fields, or a string (words).

        Raises PromptError when the value is none of these.
        """
        if isinstance(value, Prompt):
            return value
        if isinstance(value, str):
            return cls(text=value)
        if isinstance(value, Mapping):
            unknown = sorted(str(key) for key in value if key not in ("box", "points", "labels", "mask", "text"))
            if unknown:
                raise PromptError(f"the prompt has the unknown fields {', '.join(unknown)}; "
                                  "known are box, points, labels, mask and text")
            return cls(**{str(key): item for key, item in value.items()})
        if hasattr(value, "ndim") and hasattr(value, "shape"):
            array: Any = value
            return cls(box=array) if array.ndim == 1 or boxes_of(array) is not None else cls(mask=array)
        if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
            return cls(box=value)  # type: ignore[arg-type]
        raise PromptError(f"a prompt was given as {type(value).__name__}; expected a box (x0, y0, x1, y1), "
                          "a mask array, words, or Prompt(box=…, points=…, labels=…, mask=…, text=…)")


def prompts_of(value: PromptInput | Sequence[PromptInput]) -> tuple[list[Prompt], bool]:
    """One prompt or a list of them -> (prompts, whether it was a single one).

    A list or tuple of four plain numbers is one box; any other list holds prompts.
    """
    if isinstance(value, (list, tuple)) and not (value and all(_plain_number(item) for item in value)):
        if not value:
            raise PromptError("the list of prompts is empty; give at least one box, point, mask or text")
        return [Prompt.of(item) for item in value], False
    boxes = None if isinstance(value, (Prompt, str)) else boxes_of(value)
    if boxes is not None:
        return [Prompt(box=box) for box in boxes], False
    return [Prompt.of(value)], True  # type: ignore[arg-type]


def _plain_number(value: Any) -> bool:
    return not isinstance(value, str) and not hasattr(value, "__len__") and hasattr(value, "__float__")


@dataclass(frozen=True, eq=False)
class Embedding:
    """What a model knows of one picture, made once by `MattingAnything.embed` and used for any number of prompts.

    image: the picture it was made of. features: 1×256×h×w, the encoder's output, on the model's device.
    pixels: 1×3×S×S float32, the normalised, padded square that Mask-to-Matte looks at.
    model: which model made it; another one refuses it. It holds no more state than this and may be kept or dropped.
    """

    image: Image
    features: torch.Tensor = field(repr=False)
    pixels: torch.Tensor = field(repr=False)
    model: str

    def to(self, device: str | torch.device) -> Embedding:
        """The same on another device; nothing is copied when it is there already."""
        return replace(self, features=self.features.to(device), pixels=self.pixels.to(device))

    @property
    def nbytes(self) -> int:
        """Bytes it occupies, the picture's included (for caches that are bounded by memory)."""
        alpha = 0 if self.image.alpha is None else self.image.alpha.nbytes
        tensors = self.features.nelement() * self.features.element_size()
        tensors += self.pixels.nelement() * self.pixels.element_size()
        return int(self.image.rgb.nbytes + alpha + tensors)
