"""What is asked of the library: the Prompt, and the types of its inputs. Prompts are frozen, so they can be kept and
shared between threads.

Coordinates are pixels of the picture as it is seen (after EXIF orientation): x to the right, y down, (0, 0) the top
left corner of the top left pixel. A box is (x0, y0, x1, y1) with x0 < x1 and y0 < y1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from .boxes import boxes_of, corners
from .boxes import number as _number
from .errors import PromptError
from .strokes import Stroke, draw

if TYPE_CHECKING:
    import numpy as np

    from .result import Matte

PromptInput: TypeAlias = "Prompt | str | Sequence[float] | np.ndarray[Any, Any] | Mapping[str, Any]"
Box: TypeAlias = tuple[float, float, float, float]
Strokes: TypeAlias = "tuple[Stroke, ...] | np.ndarray[Any, Any]"
"""Strokes as lines, or as a mask H×W bool."""
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


def _array(value: Any, name: str) -> np.ndarray[Any, Any]:
    """An array H×W of finite numbers or bools."""
    import numpy as np

    try:
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except (TypeError, ValueError) as error:
        raise PromptError(f"the {name} cannot be read as an array: {error}") from None
    if array.ndim == 3 and 1 in (array.shape[0], array.shape[2]):
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    if array.ndim != 2:
        raise PromptError(f"the {name} has the shape {array.shape}; expected height x width, as the image's")
    if array.dtype.kind not in "biuf":
        raise PromptError(f"the {name} holds {array.dtype}; expected bool, an integer type or floats")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise PromptError(f"the {name} holds NaN or infinite values")
    return array


def _binary(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Above half of its range: bool, read-only."""
    import numpy as np

    # Half of the type's range is the threshold: 0.5 for bool and floats, 127 for uint8, 32767 for uint16.
    # Other integers hold labels (0, 1, …): there everything but zero belongs to the object.
    top = 255 if array.dtype == np.uint8 and array.max(initial=0) > 1 else 65535 if array.dtype == np.uint16 else 1
    result = array if array.dtype == bool else array > (0 if array.dtype.kind == "i" else top / 2)
    result = np.array(result)
    result.setflags(write=False)
    return result


def _mask(value: Any) -> np.ndarray[Any, Any]:
    result = _binary(_array(value, "mask"))
    if not result.any():
        raise PromptError("the mask is empty: nothing in it is above half; expected a rough mask of the object")
    return result


def _strokes(value: Any, name: str) -> tuple[Stroke, ...] | np.ndarray[Any, Any] | None:
    """Strokes as a tuple, or a mask of them; None when there are none."""
    if value is None:
        return None
    if isinstance(value, (Stroke, Mapping)):
        value = [value]
    if hasattr(value, "ndim") and hasattr(value, "shape"):
        if value.ndim == 2 and value.shape[1] == 2 and getattr(value.dtype, "kind", "f") in "if":
            return (Stroke.of(value.tolist()),)  # N×2 signed numbers: the points of one stroke
        mask = _array(value, name)
        return _binary(mask) if mask.any() else None
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        raise PromptError(f"{name} was given as {value!r:.80}; expected strokes [Stroke(points=…, width=5), …] "
                          "or a mask of the image's size")
    return tuple(Stroke.of(item) for item in value) or None


def _trimap(value: Any) -> np.ndarray[Any, Any]:
    """0, 128 or 255 for each pixel: uint8."""
    import numpy as np

    trimap = _array(value, "trimap")
    top = 65535 if trimap.dtype == np.uint16 else 255 if trimap.max(initial=0) > 1 else 1
    if trimap.min(initial=0) < 0 or trimap.max(initial=0) > top:
        raise PromptError(f"the trimap holds values from {trimap.min():g} to {trimap.max():g}; expected 0 (not the "
                          "object), 128 (unknown) and 255 (the object), or 0, 0.5 and 1")
    share = trimap.astype(np.float32) / top
    result = np.full(trimap.shape, 128, np.uint8)
    result[share <= CERTAIN] = 0
    result[share >= 1 - CERTAIN] = 255
    if not (result > 0).any():
        raise PromptError("the trimap is 0 everywhere; expected 255 on the object and 128 where it is unknown")
    result.setflags(write=False)
    return result


@dataclass(frozen=True, eq=False)
class Former:
    """What a prompt corrects, checked: alpha H×W float32 in 0..1, read-only."""

    alpha: np.ndarray[Any, Any]


def _switch(value: Any, name: str) -> bool:
    """A bool, NumPy's as well."""
    if not isinstance(value, bool):
        import numpy as np

        if not isinstance(value, np.bool_):
            raise PromptError(f"{name} was given as {value!r:.80}; expected True or False")
    return bool(value)


def _previous(value: Any) -> Former:
    """A matte, or an array as masks are given; the alpha of our own mattes is taken as it is."""
    import numpy as np

    if isinstance(value, Former):
        return value
    if getattr(value, "source", None) is not None:
        return Former(value.alpha)
    alpha = _array(getattr(value, "alpha", value), "previous")
    top = {"b": 1, "u": 255 if alpha.dtype == np.uint8 else 65535}.get(alpha.dtype.kind, 1)
    result: np.ndarray[Any, Any] = np.clip(alpha.astype(np.float32) / np.float32(top), 0, 1)
    result.setflags(write=False)
    return Former(result)


CERTAIN = 0.02
"""A trimap's values nearer than this to 0 and 1 (of its range) are certain."""


FIELDS = ("box", "points", "labels", "mask", "text", "keep", "drop", "trimap", "previous", "subject")
"""The fields of a prompt."""


@dataclass(frozen=True, eq=False)
class Prompt:
    """What to matte: any mixture of marks, words and masks for ONE object.

    Coordinates are pixels of the image as seen. Arrays have the image's height x width.

    Parameters
    ----------
    box : (x0, y0, x1, y1), optional
        Around the object; parts outside of the image are cut off.
    points : sequence of (x, y), optional
        On the object, or beside it; see labels. What a point says holds in the alpha.
    labels : sequence of int, optional
        One for each point, 1 = on the object (the default), 0 = not on it.
    mask : ndarray, optional
        H×W, bool or any number type, a rough mask of the object; above half of its range is the object.
    text : str, optional
        Words such as "the dog on the left"; needs the extra `text`.
    keep, drop : sequence of Stroke, or ndarray, optional
        Strokes over what belongs to the object and over what does not, as lines (see `Stroke`) or as a mask H×W. What
        they say holds in the alpha, pixel by pixel.
    trimap : ndarray, optional
        H×W: 0 = surely not the object, 1 (255 for uint8) = surely the object, in between = to be solved.
    previous : Matte or ndarray, optional
        The matte that this prompt corrects, or its alpha H×W: it stays as it is but for what the points and strokes
        change.
    subject : bool
        The one clear subject of the image, wherever it is; points and strokes correct it. How sure its place is stands
        in `Matte.subject_score`.

    Raises
    ------
    PromptError
        For what can mean nothing: NaN, reversed corners, labels without points, an empty mask … What depends on the
        image (a box outside of it, a mask of another size) is checked when both are known.
    """

    box: Box | None = None
    points: Sequence[tuple[float, float]] | None = None
    labels: Sequence[int] | None = None
    mask: np.ndarray[Any, Any] | None = field(default=None, repr=False)
    text: str | None = None
    keep: Sequence[Stroke] | np.ndarray[Any, Any] | None = field(default=None, repr=False)
    drop: Sequence[Stroke] | np.ndarray[Any, Any] | None = field(default=None, repr=False)
    trimap: np.ndarray[Any, Any] | None = field(default=None, repr=False)
    previous: Matte | Former | np.ndarray[Any, Any] | None = field(default=None, repr=False)
    subject: bool = False

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
        put("keep", _strokes(self.keep, "keep"))
        put("drop", _strokes(self.drop, "drop"))
        if self.trimap is not None:
            put("trimap", _trimap(self.trimap))
        if self.previous is not None:
            put("previous", _previous(self.previous))
        put("subject", _switch(self.subject, "subject"))
        self._check_meaning()

    def _check_meaning(self) -> None:
        """Refuse what says of no place that it belongs to the object."""
        if not self.subject and all(getattr(self, name) is None for name in FIELDS if name != "subject"):
            raise PromptError("the prompt is empty; give a box, points, a mask, strokes, a trimap or text, or "
                              "subject=True for the one clear subject of the image")
        marked = self.points is not None or self.keep is not None or self.drop is not None
        starts = [name for name in ("box", "mask", "text", "trimap", "previous") if getattr(self, name) is not None]
        if self.subject and starts:
            raise PromptError(f"the prompt asks for the subject of the image and gives its {starts[0]} as well; "
                              "expected one of them")
        if starts == ["previous"] and not marked:
            raise PromptError("the prompt has a previous matte and nothing to correct in it; "
                              "give points, or strokes to keep or drop")
        if not (starts or self.subject) and self.keep is None and 1 not in (self.labels or ()):
            raise PromptError("all points are negative (label 0); give at least one point on the object, or a box"
                              if self.points is not None else
                              "all strokes are to be dropped; give at least one on the object, or a box")

    def __eq__(self, other: object) -> bool:
        """Whether another prompt says the same, arrays pixel by pixel."""
        if not isinstance(other, Prompt):
            return NotImplemented
        return self is other or all(_same(getattr(self, name), getattr(other, name)) for name in FIELDS)

    def __hash__(self) -> int:
        return hash((self.box, self.points, self.labels, self.text, self.subject))

    def _repr_png_(self) -> bytes:
        """What a notebook shows: the marks where they lie."""
        from .prompt_picture import picture_of

        return picture_of(self)

    @property
    def former(self) -> np.ndarray[Any, Any] | None:
        """The alpha of the previous matte as it is used: H×W float32 in 0..1."""
        return self.previous.alpha if isinstance(self.previous, Former) else None

    @property
    def kept(self) -> Strokes | None:
        """The strokes to keep as they are used: lines, or a mask."""
        return cast("Strokes | None", self.keep)

    @property
    def dropped(self) -> Strokes | None:
        """The strokes to drop, likewise."""
        return cast("Strokes | None", self.drop)

    @classmethod
    def of(cls, value: PromptInput) -> Prompt:
        """Read one prompt generously: a Prompt, four numbers (a box), an array (a mask, or four numbers), a dict with
        Prompt's fields, or a string (words).

        Raises
        ------
        PromptError
            When the value is none of these.
        """
        if isinstance(value, Prompt):
            return value
        if isinstance(value, str):
            return cls(text=value)
        if isinstance(value, Mapping):
            unknown = sorted(str(key) for key in value if key not in FIELDS)
            if unknown:
                raise PromptError(f"the prompt has the unknown fields {', '.join(unknown)}; "
                                  f"expected {', '.join(FIELDS)}")
            return cls(**{str(key): item for key, item in value.items()})
        if hasattr(value, "ndim") and hasattr(value, "shape"):
            array: Any = value
            return cls(box=array) if array.ndim == 1 or boxes_of(array) is not None else cls(mask=array)
        if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
            return cls(box=value)  # type: ignore[arg-type]
        raise PromptError(f"a prompt was given as {type(value).__name__}; expected a box (x0, y0, x1, y1), "
                          "a mask array, words, or Prompt(box=…, points=…, labels=…, mask=…, text=…)")


def _same(one: Any, other: Any) -> bool:
    """Whether two values of a prompt's field are equal."""
    if one is other:
        return True
    if isinstance(one, Former) and isinstance(other, Former):
        one, other = one.alpha, other.alpha
    if hasattr(one, "shape") and hasattr(other, "shape"):
        return bool(one.shape == other.shape and (one == other).all())
    return type(one) is type(other) and not hasattr(one, "shape") and bool(one == other)


def continued(
    matte: Matte,
    *,
    points: Sequence[tuple[float, float]] | None = None,
    labels: Sequence[int] | None = None,
    keep: Sequence[Stroke] | np.ndarray[Any, Any] | None = None,
    drop: Sequence[Stroke] | np.ndarray[Any, Any] | None = None,
) -> Prompt:
    """The prompt that corrects a matte: what was said before, and what is said now.

    Raises
    ------
    PromptError
        When nothing is said now, and as for `Prompt`.
    """
    new, old = Prompt(points=points, labels=labels, keep=keep, drop=drop, previous=matte), matte.prompt
    said = list(zip(old.points or (), old.labels or (), strict=True))
    kept, dropped = old.kept, old.dropped
    if new.kept is not None or new.dropped is not None:  # new strokes overrule what was said before in their place
        keeping, dropping = (None if one is None else _mask_of(one, matte) for one in (new.kept, new.dropped))
        said = [((x, y), label) for (x, y), label in said if not _covers(dropping if label else keeping, x, y)]
        kept, dropped = _without(kept, dropping, matte), _without(dropped, keeping, matte)
    said += zip(new.points or (), new.labels or (), strict=True)
    return replace(
        old, previous=matte, text=None, points=[point for point, _ in said] or None,
        labels=[label for _, label in said] or None, keep=_joined(kept, new.kept), drop=_joined(dropped, new.dropped),
    )


def _mask_of(strokes: Strokes, matte: Matte) -> np.ndarray[Any, Any]:
    return draw(strokes, *matte.alpha.shape) if isinstance(strokes, tuple) else strokes


def _covers(mask: np.ndarray[Any, Any] | None, x: float, y: float) -> bool:
    return mask is not None and bool(mask[min(int(y), mask.shape[0] - 1), min(int(x), mask.shape[1] - 1)])


def _without(strokes: Strokes | None, other: np.ndarray[Any, Any] | None, matte: Matte) -> Strokes | None:
    """Strokes but for what others overrule; as lines where that is nothing."""
    if strokes is None or other is None:
        return strokes
    mask = _mask_of(strokes, matte)
    rest = mask & ~other
    return strokes if (rest == mask).all() else rest if rest.any() else None


def _joined(old: Any, new: Any) -> Any:
    """Strokes of before and of now: lines are added to lines, and everything else becomes a mask."""
    if old is None or new is None:
        return old if new is None else new
    if isinstance(old, tuple) and isinstance(new, tuple):
        return (*old, *new)
    shape = new.shape if isinstance(old, tuple) else old.shape
    old, new = (draw(part, *shape) if isinstance(part, tuple) else part for part in (old, new))
    result: np.ndarray[Any, Any] = old | new
    return result


def prompts_of(value: PromptInput | Sequence[PromptInput] | None) -> tuple[list[Prompt], bool]:
    """One prompt or a list of them -> (prompts, whether it was a single one).

    A list or tuple of four plain numbers is one box; any other list holds prompts. None is the subject.
    """
    if value is None:
        return [Prompt(subject=True)], True
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
