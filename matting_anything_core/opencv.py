"""OpenCV, for everything in this package that needs it: `from .opencv import cv2`.

opencv-python is a build for desktops: it links libGL and other libraries that servers and slim containers lack, and
then cannot be imported. That is said here, in one line, with what to install; `load_model` and the commands import this
before any work is done.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from .errors import MissingExtraError
from .memory import is_out_of_memory

T = TypeVar("T")


def _advice(error: ImportError) -> str:
    """What to do about an import of cv2 that failed, by what its error says."""
    text = str(error)
    if isinstance(error, ModuleNotFoundError) and error.name == "cv2":
        return "install it: pip install opencv-python (or opencv-python-headless on a server)"
    if "numpy" in text or "multiarray" in text or "_ARRAY_API" in text:
        return "it was built for another numpy than the one installed: pip install --upgrade opencv-python numpy"
    if ".so" in text or "shared object" in text or "DLL" in text:
        return ("install the system's libraries (Debian, Ubuntu: apt-get install libgl1 libglib2.0-0; Fedora: dnf "
                "install mesa-libGL glib2), or OpenCV's build for servers, which needs none: pip uninstall -y "
                "opencv-python && pip install opencv-python-headless")
    return "install it again: pip install --force-reinstall opencv-python"


try:
    import cv2
except ImportError as _error:
    if is_out_of_memory(_error):
        raise
    _first = (str(_error).strip().splitlines() or ["no reason given"])[0][:200]
    raise MissingExtraError(f"OpenCV (cv2) cannot be loaded here: {_first}. What to do: {_advice(_error)}") from _error
except AttributeError as _error:  # of numpy, when cv2 was built for another one
    raise MissingExtraError(
        f"OpenCV (cv2) cannot be loaded here: {_error}. It was built for another numpy than the one installed: "
        "pip install --upgrade opencv-python numpy") from _error

__all__ = ["cv2", "seeded"]


def seeded(work: Callable[[], T]) -> T:
    """Do work that draws from OpenCV's random numbers (k-means, GrabCut): the same result every time.

    Each thread has a generator of its own, so the work is done in a fresh one, and the caller's goes on as it was.
    """
    def begin() -> T:
        cv2.setRNGSeed(0)
        return work()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(begin).result()
