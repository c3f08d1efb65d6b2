"""Which device and number type to compute with, and what to do when its memory runs out.

`auto` is CUDA, then MPS, then the CPU. On CUDA `auto` computes in bfloat16 where the card does so natively, else in
float16; on MPS and the CPU in float32: MPS gains little from half precision and loses accuracy in the soft parts of
an alpha matte, CPUs mostly emulate it. Half precision is autocast, so weights and normalisations stay float32.
No global flag of torch is changed anywhere in this library, and none that a program sets changes its numbers:
`working` and `on_its_device` are where the three modules below (isolation, memory, threads) come together.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from .errors import DeviceError
from .isolation import isolated
from .memory import is_out_of_memory, memory_errors
from .threads import at_most

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
P = ParamSpec("P")


class OnDevice(Protocol):
    """What computes on a device with so many threads."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    @property
    def threads(self) -> int | None:
        """As for `threads.at_most`."""


Worker = TypeVar("Worker", bound=OnDevice)


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """The torch device for "auto", "cpu", "cuda", "cuda:1", "mps" or a torch.device.

    A torch.device of another kind (a host's own) is taken as it is. Raises DeviceError for an unknown name and for a
    device that this machine, or this build of torch, does not have.
    """
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            with forked_cuda():
                return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    wanted = device
    if isinstance(device, str):
        try:
            wanted = torch.device(device)
        except RuntimeError:
            wanted = device
        if isinstance(wanted, str) or wanted.type not in ("cpu", "cuda", "mps"):
            raise DeviceError(f"there is no device {device[:40]!r}; known are auto, cpu, cuda, cuda:0 …, mps")
    if not isinstance(wanted, torch.device):
        raise DeviceError(f"a device was given as {type(device).__name__}; expected its name or a torch.device")
    if wanted.type == "cuda":
        return _cuda(wanted)
    if wanted.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("mps was asked for, but it is only there on macOS with Apple's chips; use device='auto'")
    return wanted


def _cuda(wanted: torch.device) -> torch.device:
    import torch

    if not torch.cuda.is_available():
        build = "this build of torch is for the CPU only; install one with CUDA (pytorch.org)" \
            if torch.version.cuda is None and torch.version.hip is None else "no usable card or driver is found"
        raise DeviceError(f"{wanted} was asked for, but {build}, or use device='auto'")
    count = torch.cuda.device_count()
    with forked_cuda():
        index = torch.cuda.current_device() if wanted.index is None else wanted.index
    if index >= count:
        raise DeviceError(f"{wanted} was asked for, but there are {count} CUDA devices, numbered from 0")
    return torch.device("cuda", index)


def resolve_dtype(dtype: str | torch.dtype = "auto", device: torch.device | None = None) -> torch.dtype:
    """The number type to compute in on `device` (the CPU when left out); see the module's text for "auto".

    Raises DeviceError for an unknown type and for one the device does not compute in.
    """
    import torch

    kind = "cpu" if device is None else device.type
    if dtype == "auto":
        if kind != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    known = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    chosen = known.get(dtype) if isinstance(dtype, str) else dtype
    if chosen is None or chosen not in known.values():
        raise DeviceError(f"{dtype} cannot be computed in; known are auto, {', '.join(known)}")
    if kind == "cpu" and chosen == torch.float16:
        raise DeviceError("float16 is emulated on the CPU, slower than float32; use float32 or bfloat16 there")
    if kind == "mps" and chosen == torch.bfloat16:
        raise DeviceError("bfloat16 is not computed everywhere on MPS; use float32 or float16 there")
    return chosen


def autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager[Any]:
    """The context to compute in: autocast to `dtype`, or for float32 none, even inside a host's own autocast."""
    import torch

    if dtype != torch.float32:
        return torch.autocast(device.type, dtype=dtype)
    if device.type in ("cpu", "cuda"):
        return torch.autocast(device.type, enabled=False)
    return contextlib.nullcontext()


@contextlib.contextmanager
def working(device: torch.device, what: str, *, threads: int | None = None) -> Iterator[None]:
    """Compute on `device` in someone else's program.

    Its default type and device, its autocast and numpy's error settings do not count here; memory that runs out and
    CUDA in a forked process end in a DeviceError; `threads` are as for `threads.at_most`.

    Parameters
    ----------
    device : torch.device
        Where the work is done.
    what : str
        The work, for the error: "matting".
    """
    import torch

    memory = "" if device.type == "cpu" else str(device)
    advice = "" if device.type == "cpu" else "close other programs that use it, take a smaller image or a smaller " \
        "model (lite, vit_b), or device='cpu'"
    with contextlib.ExitStack() as stack:
        stack.enter_context(memory_errors(what, advice=advice, memory=memory))
        stack.enter_context(forked_cuda())
        stack.enter_context(at_most(threads))
        stack.enter_context(isolated())
        for kind in dict.fromkeys(("cpu", device.type)):
            stack.enter_context(autocast(torch.device(kind), torch.float32))
        yield


def on_its_device(
    what: str,
) -> Callable[[Callable[Concatenate[Worker, P], T]], Callable[Concatenate[Worker, P], T]]:
    """For methods of what has a device: see `working`, whose `what` it takes."""
    def decorate(method: Callable[Concatenate[Worker, P], T]) -> Callable[Concatenate[Worker, P], T]:
        @functools.wraps(method)
        def guarded(self: Worker, /, *args: P.args, **keywords: P.kwargs) -> T:
            with working(self.device, what, threads=self.threads):
                return method(self, *args, **keywords)

        return guarded

    return decorate


@contextlib.contextmanager
def forked_cuda() -> Iterator[None]:
    """Work that ends in a DeviceError, with what to do, when this process was forked from one that used CUDA."""
    try:
        yield
    except RuntimeError as error:
        if "forked subprocess" not in str(error):
            raise
        raise DeviceError(
            "CUDA was used before this process was forked, and it cannot be used in it now; start workers with "
            "multiprocessing.get_context('spawn'), load the model in each worker and not before (gunicorn without "
            "--preload, Celery with --pool threads or solo), or compute with device='cpu'") from error


def in_chunks(
    function: Callable[[int, int], T], count: int, chunk: int, *, device: torch.device, what: str = "prompts"
) -> Iterator[T]:
    """Yield function(start, stop) over 0..count in steps of `chunk`, halving it whenever memory runs out.

    function: must do nothing that calling it again would double. what: of which there are `count`, for the error.
    A smaller chunk stays for the rest. Raises DeviceError when even one at a time does not fit; other errors pass.
    """
    if chunk < 1:
        raise ValueError(f"chunk is {chunk}; expected at least 1")
    start = 0
    while start < count:
        stop = min(count, start + chunk)
        try:
            result = function(start, stop)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if stop - start == 1:
                raise DeviceError(_too_little(device, what)) from error
            chunk = (stop - start) // 2
        else:
            yield result
            start = stop
            continue
        # Outside of the handler: there the error's frames would still hold the tensors that are to be freed.
        _free(device)


def _free(device: torch.device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def _too_little(device: torch.device, what: str) -> str:
    memory = "the machine's memory" if device.type == "cpu" else f"the memory of {device}"
    others = "" if device.type == "cpu" else ", device='cpu'"
    return (f"{memory} does not suffice even when {what} are taken one at a time; close other programs that use it, or "
            f"use a smaller model (lite, vit_b){others}, or a smaller picture")
