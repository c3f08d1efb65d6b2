"""Loading what is heavy (torch, OpenCV) in a process whose memory is limited: it works, or says what it needs.

Under `ulimit -v` a library that finds no room ends in an ImportError or a MemoryError from anywhere inside of it, and
below some hundred megabytes numpy's ends the process.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from .memory import free_memory, memory_errors, shortage

WITH_CUDA = 4_200_000_000
"""Address space for matting a small image with torch's build for CUDA, measured with 2.14; 1 GB of it is in memory."""
WITHOUT_CUDA = 1_700_000_000
"""The same without the libraries that belong to CUDA."""
HOPELESS = 400_000_000
"""With less than this no build of torch is loaded, and numpy's libraries may end the process in trying."""
ADVICE = "raise the limit (ulimit -v unlimited), close other programs, or install torch's smaller build for CPUs"


@contextlib.contextmanager
def loading(what: str) -> Iterator[None]:
    """Import something heavy inside of this. Raises DeviceError when memory does not suffice for it."""
    name = f"loading {what} and matting with it"
    if "torch" not in sys.modules and (room := free_memory()) is not None and room.free < HOPELESS:
        raise shortage(name, needed(), advice=ADVICE)
    with memory_errors(name, least=needed(), advice=ADVICE):
        yield


def needed() -> int:
    """The address space that matting a small image takes with the torch that is installed."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        from importlib.util import find_spec

        spec = find_spec("torch")
        if spec is not None and spec.origin and not any(Path(spec.origin).parent.glob("lib/*torch_cuda*")):
            return WITHOUT_CUDA
    return WITH_CUDA


@contextlib.contextmanager
def command_memory() -> Iterator[None]:
    """Run a whole command inside of this: no error of memory leaves it as anything but a DeviceError."""
    with memory_errors("this command", advice=f"close other programs, take smaller images, or {ADVICE}",
                       least=0 if "torch" in sys.modules else needed()):
        yield
