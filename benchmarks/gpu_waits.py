"""Where the host waits for a card: found on a CPU, with a card that is only pretended.

A tensor on the pretended card is a CPU tensor in a wrapper whose device is another one. All work on it is done, with
the same numbers, and each place is noted in which the host would stand still until a real card has caught up: reading
a value, fetching a result, uploading without `non_blocking`, indexing with a mask (whose count the host must know).

    with PretendedCard() as card:
        model = load_model("lite", device=card.device)
        model.matte(...)
    card.waits     # [Wait(kind="read", where="model.py:360 _decode", …), …]

It is the same code that runs on CUDA: whatever asks "is this the CPU?" takes the other branch here, too.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

PRETENDED = torch.device("meta")
"""A kind of device that torch knows the name of and no build has: nothing can be on it by mistake."""
_PACKAGE = Path(__file__).parents[1] / "matting_anything_core"
_COUNTING = ("aten.nonzero.", "aten.masked_select.", "aten._unique", "aten.unique", "aten.bincount.")
"""Operations whose result has a size that depends on values."""


@dataclass(frozen=True)
class Wait:
    """kind: read (a value), fetch (to the CPU), upload (blocking), count (a size that depends on values)."""

    kind: str
    where: str
    nbytes: int = 0


@dataclass
class Notes:
    """What happened on the card since it was last asked."""

    waits: list[Wait] = field(default_factory=list)
    launches: int = 0
    """Operations on the card, of which each is at least one kernel unless it only makes a view."""

    def by_place(self) -> list[tuple[Wait, int]]:
        """Each place once, with how often the host waits there; in the order in which they came first."""
        counted = Counter((wait.kind, wait.where) for wait in self.waits)
        first: dict[tuple[str, str], Wait] = {}
        for wait in self.waits:
            first.setdefault((wait.kind, wait.where), wait)
        return [(wait, counted[key]) for key, wait in first.items()]


class _OnCard(torch.Tensor):
    """A tensor of the pretended card; `inner` is where its numbers are."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> _OnCard:
        made: _OnCard = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, inner.size(), strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            device=PRETENDED)
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError("a tensor of the pretended card is used outside of its `with` block")


class PretendedCard:
    """See the module's text. `device` is what to hand to `load_model` and `.to`."""

    device = PRETENDED

    def __init__(self) -> None:
        self.notes = Notes()
        self._stack = contextlib.ExitStack()

    @property
    def waits(self) -> list[Wait]:
        """Where the host waited so far."""
        return self.notes.waits

    def taken(self) -> Notes:
        """What happened since this was last called."""
        notes, self.notes = self.notes, Notes()
        return notes

    def __enter__(self) -> PretendedCard:
        self._stack.enter_context(torch.no_grad())
        # Wrappers and inference mode do not go together; without gradients it makes no other numbers.
        self._stack.enter_context(patch.object(torch.inference_mode, "__enter__", lambda _self: None))
        self._stack.enter_context(patch.object(torch.inference_mode, "__exit__", lambda _self, *_error: None))
        self._stack.enter_context(_Python())
        self._stack.enter_context(_Card(self))
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()


class _Python(TorchFunctionMode):
    """What torch does in C++ before it asks the mode below: making tensors of Python's numbers (on the CPU, and then
    uploaded, as for CUDA), and the other way round."""

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor):
            here = args[0] if func is torch.Tensor.new_tensor else None
            place = named.pop("device", None) or (None if here is None else here.device)
            if here is not None:
                func, args, named = torch.tensor, args[1:], {"dtype": here.dtype, **named}
            made = func(*args, **named)
            return made.to(place) if place is not None and torch.device(place).type == PRETENDED.type else made
        if func is torch.Tensor.tolist and isinstance(args[0], _OnCard):
            return args[0].cpu().tolist()
        return func(*args, **named)


class _Card(TorchDispatchMode):
    """Does the work, and notes."""

    def __init__(self, card: PretendedCard) -> None:
        super().__init__()
        self.card = card

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named, name = dict(kwargs or {}), str(func)
        tensors = list(_tensors((args, named)))
        ours = [tensor for tensor in tensors if isinstance(tensor, _OnCard)]
        target = named.get("device")
        made_there = target is not None and torch.device(target).type == PRETENDED.type
        if not ours and not made_there:
            return func(*args, **named)
        there = bool(ours) if target is None else made_there
        if made_there:
            named["device"] = torch.device("cpu")
        self.note(self.card, name, args, named, there)
        plain_args, plain_named = tree_map(_inner, (args, named))
        result = func(*plain_args, **plain_named)
        if func._schema.is_mutable:  # in place, or into `out`: what was handed in is what comes back
            changed = named.get("out", args[0] if args else None)
            if result is None or isinstance(changed, (list, tuple)):
                return result
            if name.startswith("aten.copy_") and not isinstance(changed, _OnCard):
                return changed
            return changed
        return tree_map(_wrapped, result) if there else result

    @staticmethod
    def note(card: PretendedCard, name: str, args: Any, named: dict[str, Any], there: bool) -> None:
        """Note an operation, and whether the host waits for it."""
        notes = card.notes
        notes.launches += 1
        size = max((tensor.nelement() * tensor.element_size() for tensor in _tensors((args, named))), default=0)
        if name.startswith("aten._local_scalar_dense"):
            notes.waits.append(Wait("read", _place(), size))
        elif name.startswith("aten._to_copy"):
            source_there = isinstance(args[0], _OnCard)
            if source_there and not there:
                notes.waits.append(Wait("fetch", _place(), size))
            elif there and not source_there and not named.get("non_blocking"):
                notes.waits.append(Wait("upload", _place(), size))
        elif name.startswith("aten.copy_"):
            into, source = args[:2]
            blocking = not (named.get("non_blocking") or (len(args) > 2 and args[2]))
            if isinstance(source, _OnCard) and not isinstance(into, _OnCard):
                notes.waits.append(Wait("fetch", _place(), size))
            elif isinstance(into, _OnCard) and not isinstance(source, _OnCard) and source.ndim and blocking:
                notes.waits.append(Wait("upload", _place(), size))
        elif name.startswith(_COUNTING) or (name.startswith(("aten.index.", "aten.index_put")) and _masked(args)):
            notes.waits.append(Wait("count", _place(), size))


def _masked(args: Any) -> bool:
    """Whether an index is a mask, and what is put there is not a single number (which torch fills without counting)."""
    masks = any(isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8) for index in args[1])
    return masks and not (len(args) > 2 and isinstance(args[2], torch.Tensor) and args[2].nelement() == 1)


def _tensors(values: Any) -> Iterable[torch.Tensor]:
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, dict):
        for value in values.values():
            yield from _tensors(value)
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _tensors(value)


def _inner(value: Any) -> Any:
    return value.inner if isinstance(value, _OnCard) else value


def _wrapped(value: Any) -> Any:
    return _OnCard(value) if isinstance(value, torch.Tensor) and not isinstance(value, _OnCard) else value


def _place() -> str:
    """The innermost line of the package (or of what called it) that this happens in."""
    frame = sys._getframe(1)
    outside = ""
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(_PACKAGE):
            return f"{path.relative_to(_PACKAGE)}:{frame.f_lineno} {frame.f_code.co_name}{outside}"
        if not outside and path.parent.name == "modeling":
            outside = f" < {path.name}:{frame.f_lineno} {frame.f_code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]
    return "elsewhere"


def waits_of(model: Any, image: Any, box: tuple[float, float, float, float]) -> list[dict[str, Any]]:
    """Where the host waits while an image is embedded, in a first and in a second prompt: by step, how often and where.

    On CUDA as torch reports it, elsewhere on a pretended card.
    """
    found = []
    if model.device.type == "cuda":
        model = model.to(model.device, "auto")
        model.matte(model.embed(image), box)  # compiles and picks kernels
        for step, work in _steps(model, image, box):
            places = _reported(work)
            found.append({"step": step, "waits": sum(places.values()),
                          "places": [f"{count} × {place}" for place, count in places.items()]})
        return found
    with PretendedCard() as card:
        place = model.device
        there = model.to(card.device)
        card.taken()
        for step, work in _steps(there, image, box):
            work()
            notes = card.taken()
            found.append({"step": step, "waits": len(notes.waits), "operations": notes.launches,
                          "places": [f"{count} × {wait.kind}, {wait.where}" for wait, count in notes.by_place()]})
        del there
        model.to(place)
    return found


def _steps(model: Any, image: Any, box: tuple[float, float, float, float]) -> Iterator[tuple[str, Callable[[], Any]]]:
    embedding = []
    yield "embed", lambda: embedding.append(model.embed(image))
    yield "first prompt", lambda: model.matte(embedding[0], box)
    yield "second prompt", lambda: model.matte(embedding[0], box)


def _reported(work: Callable[[], Any]) -> Counter[str]:
    """The places that torch's synchronization debug mode warns of."""
    places: Counter[str] = Counter()

    def note(*_warning: Any, **_named: Any) -> None:
        places[_place()] += 1

    torch.cuda.synchronize()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return places
