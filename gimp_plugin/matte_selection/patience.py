"""Waiting for what blocks, while the bar or the window goes on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")


def patiently(work: Callable[[], T], meanwhile: Callable[[], None]) -> T:
    """The result of `work`, done in a thread; `meanwhile` is called every 50 ms until it is there."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        while not wait([future], timeout=0.05).done:
            meanwhile()
        return future.result()
