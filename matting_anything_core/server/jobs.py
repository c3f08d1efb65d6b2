"""One job at a time: a bounded queue in front of one thread, with progress, and cancelling at any moment.

Handlers live in the event loop, the work in the thread. A job that is cancelled while it waits never starts; one that
runs is ended by its next progress call (CancelledError), which the model makes before every block of the encoder and
between the scales of every matte.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any

from ..errors import CancelledError
from ..types import ProgressCallback


class QueueFull(Exception):
    """As many jobs wait as may."""


class Stopping(Exception):
    """The service takes no more jobs, or has given up this one, because it stops."""


class Job:
    """Work that waits, runs or is done. `result` is awaited for its outcome; `changed` is set at each step on the way.

    stage, share: the newest progress, None and 0 while it waits.
    """

    def __init__(self, work: Callable[[ProgressCallback], Any], loop: asyncio.AbstractEventLoop) -> None:
        self.result: asyncio.Future[Any] = loop.create_future()
        self.changed = asyncio.Event()
        self.stage: str | None = None
        self.share = 0.0
        self._work = work
        self._loop = loop
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        """Whether somebody has asked it to end."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Ask it to end; `result` raises CancelledError once it has."""
        self._cancelled.set()

    def report(self, stage: str, share: float) -> None:
        """Take progress from the work, in the thread. Raises CancelledError when the job is to end."""
        if self.cancelled:
            raise CancelledError("the job was cancelled")
        self.stage, self.share = stage, share
        self._tell(self.changed.set)

    def run(self) -> None:
        """Do the work, in the thread."""
        outcome: Any
        try:
            self.report("start", 0.0)
            outcome = self._work(self.report)
        except BaseException as error:  # whatever it is, it goes to the one who waits
            outcome = error
        self._tell(self._settle, outcome)

    def _tell(self, callback: Callable[..., object], *arguments: object) -> None:
        """Have the loop call this; one that is closed has nobody left who waits."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _settle(self, outcome: Any) -> None:
        if self.result.done():
            return
        if isinstance(outcome, BaseException):
            self.result.set_exception(outcome)
            self.result.exception()  # nobody may be waiting any more; that is no fault to warn of
        else:
            self.result.set_result(outcome)
        self.changed.set()


class Jobs:
    """The queue and its thread."""

    def __init__(self, waiting: int) -> None:
        """waiting: how many jobs may wait behind the one that runs."""
        self.limit = waiting
        self.stopping = False
        self._active: list[Job] = []  # the running one, then those that wait
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="matting-jobs", daemon=True)
        self._thread.start()

    @property
    def running(self) -> int:
        """1 while a job runs, else 0."""
        return min(len(self._active), 1)

    @property
    def waiting(self) -> int:
        """Jobs behind the one that runs."""
        return max(len(self._active) - 1, 0)

    def position(self, job: Job) -> int:
        """How many jobs are before this one."""
        return self._active.index(job) if job in self._active else 0

    def submit(self, work: Callable[[ProgressCallback], Any]) -> Job:
        """Queue work, which is called with a progress callback. Raises QueueFull and Stopping. Event loop only."""
        if self.stopping:
            raise Stopping
        if self.waiting >= self.limit:
            raise QueueFull
        job = Job(work, asyncio.get_running_loop())
        self._active.append(job)
        job.result.add_done_callback(lambda _: self._active.remove(job))
        self._queue.put(job)
        return job

    def cancel(self, job: Job) -> None:
        """End a job; one that waits leaves the queue at once. Event loop only."""
        job.cancel()
        if job in self._active[1:] and not job.result.done():
            job._settle(CancelledError("the job was cancelled"))

    async def stop(self, grace: float, patience: float) -> bool:
        """Take no more jobs, end those that wait, let the running one go on for `grace` seconds, then cancel it.

        Returns whether it has ended `patience` seconds after that. Event loop only.
        """
        self.stopping = True
        for job in self._active[1:]:
            job.cancel()
            job._settle(Stopping())
        running = [job.result for job in self._active]
        if running:
            await asyncio.wait(running, timeout=grace)
            for job in self._active:
                job.cancel()
            await asyncio.wait(running, timeout=patience)
            for job in self._active:
                job._settle(Stopping())
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join, patience)
        return not self._thread.is_alive()

    def _serve(self) -> None:
        while (job := self._queue.get()) is not None:
            job.run()
            del job  # its result, perhaps of hundreds of megabytes, must not live until the next job
