"""The window's requests to the service, in a thread: the newest one counts, and what it overtakes is cancelled.

Nothing here knows of GIMP or GTK. What comes back is handed to `later`, which calls it in the window's own thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import client
from client import ClientError
from editing import Result, State, packed

AGAIN = ("Forgotten", "Lost", "Stopping", "NotFound")
"""Kinds of errors after which everything is brought anew, once."""
T = TypeVar("T")


class Overtaken(Exception):
    """A newer request is there; raised in what the client calls meanwhile, it ends the older one."""


@dataclass(frozen=True)
class Pixels:
    """The picture as the service gets it; `strips` may be called in any thread, and again."""

    strips: Callable[[], Iterable[bytes]]
    width: int
    height: int
    channels: int
    dtype: str


class Asker:
    """One picture at the service. All calls but `ask` and `stop` are the thread's own."""

    def __init__(self, find: Callable[[client.Wait], client.Service], pixels: Pixels,
                 later: Callable[..., object], found: Callable[[client.Service], None]) -> None:
        """found: hears of a service that was found or started."""
        self._find, self._pixels, self._later, self._found = find, pixels, later, found
        self._service: client.Service | None = None
        self._picture = ""
        self._wanted: Callable[[], None] | None = None
        self._running: Callable[[], None] | None = None
        self._stopped = False
        self._change = threading.Condition()
        threading.Thread(target=self._work, daemon=True).start()

    def ask(self, state: State, model: str, told: Callable[[dict[str, Any]], None],
            done: Callable[[State, Result | ClientError], None]) -> None:
        """Have the matte of a state made; what was asked for before is cancelled."""
        def hear(event: dict[str, Any]) -> None:
            self._later(told, event)

        def work() -> None:
            self._answer(lambda: self.matte(state, model, hear), lambda result: done(state, result))

        self._want(work)

    def colours(self, result: Result, dtype: str, done: Callable[[list[bytes] | ClientError], None]) -> None:
        """Have the clean colours of a matte made: RGB in strips of rows."""
        self._want(lambda: self._answer(lambda: self.clean(result, dtype), done))

    def warm(self, done: Callable[[client.Service | ClientError], None]) -> None:
        """Find or start the service and bring the picture there, unless something else is asked for, which does so."""
        self._want(lambda: self._answer(self._connected, done))

    def cancel(self) -> None:
        """What is asked for is not wanted any more."""
        with self._change:
            self._wanted = _nothing
            self._change.notify()

    def stop(self) -> None:
        """End the thread; nothing comes back from now on."""
        with self._change:
            self._stopped, self._wanted = True, _nothing
            self._change.notify()

    @property
    def busy(self) -> bool:
        """Whether something is asked for."""
        return self._running is not None or self._wanted is not None

    def _want(self, work: Callable[[], None]) -> None:
        with self._change:
            self._wanted = work
            self._change.notify()

    def _work(self) -> None:
        while True:
            with self._change:
                self._running = None
                while self._wanted is None:
                    self._change.wait()
                if self._stopped:
                    return
                self._running, self._wanted = self._wanted, None
            self._running()

    def _answer(self, work: Callable[[], T], done: Callable[[T | ClientError], None]) -> None:
        try:
            result: T | ClientError = work()
        except Overtaken:
            return
        except ClientError as error:
            result = error
        except Exception as error:  # it must come to the user, not end the thread
            result = ClientError(f"{type(error).__name__}: {error}")
        if not self._stopped:
            self._later(done, result)

    def _pause(self) -> None:
        if self._wanted is not None:
            raise Overtaken

    def _connected(self) -> client.Service:
        if self._service is None:
            self._service = self._find(self._alive)  # a start that is broken off would be begun twice
            self._later(self._found, self._service)
        if not self._picture:
            self._picture = self._service.upload_pixels(
                self._watched(self._pixels.strips(), needed=True), self._pixels.width, self._pixels.height,
                self._pixels.channels, self._pixels.dtype)
        return self._service

    def _alive(self) -> None:
        if self._stopped:
            raise Overtaken

    def _watched(self, strips: Iterable[bytes], *, needed: bool = False) -> Iterable[bytes]:
        for strip in strips:
            self._alive() if needed else self._pause()
            yield strip

    def _patiently(self, work: Callable[[bool], T]) -> T:
        """`work` is told whether all must be brought anew; it is called again when the service has lost something."""
        try:
            return work(False)
        except ClientError as error:
            if error.kind not in AGAIN:
                raise
        self._service, self._picture = None, ""
        return work(True)

    def matte(self, state: State, model: str, told: Callable[[dict[str, Any]], None]) -> Result:
        """The matte of a state. Raises ClientError, Overtaken."""
        prompt = state.prompt()
        assert prompt is not None, "there is nothing to ask for"

        def listen(event: dict[str, Any]) -> None:
            self._pause()
            told(event)

        def work(anew: bool) -> Result:
            service = self._connected()
            asked: Mapping[str, Any] = prompt
            if state.base is not None:
                known = state.base.matte and not anew
                asked = {**prompt, "previous": state.base.matte if known else state.base.as_mask()}
            found = service.matte(self._picture, asked, listen, model=model)
            size = self._pixels.width, self._pixels.height
            rows = service.rows(str(found["matte"]), "alpha", "u16", (*size, 1), self._pause)
            data, visible = packed(self._watched(rows))
            box = found.get("box") or (state.base.box if state.base is not None else None)
            return Result(str(found["matte"]), data, size, None if box is None else tuple(box),
                          tuple(str(text) for text in found.get("warnings") or ()), visible)

        return self._patiently(work)

    def clean(self, result: Result, dtype: str) -> list[bytes]:
        """The clean colours of an alpha. Raises ClientError, Overtaken."""
        def work(_anew: bool) -> list[bytes]:
            service = self._connected()
            matte = service.combined(self._picture, [result.as_mask()])
            strips = service.rows(matte, "foreground", dtype, (*result.size, 3), self._pause)
            colours = list(self._watched(strips))
            service.forget(matte)
            return colours

        return self._patiently(work)


def _nothing() -> None:
    """Takes the place of what is not wanted any more."""
