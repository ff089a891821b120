"""The bounded pool of threads for plain functions.

Unlike an executor's, a thread that is busy for too long can be given up: the function is told to stop by an exception raised in it
(``PyThreadState_SetAsyncExc``), and another thread takes its place meanwhile. A loop in Python ends so at once; a call that waits in C ends
when it comes back to Python. A thread that was given up takes no other job, so the exception can never hit a job that it is not meant for.
The number of threads that are given up and have not ended is bounded; beyond it the pool shrinks, at last to nothing, and refuses.

Threads with loops in Python keep the interpreter's lock for as long as ``sys.getswitchinterval()``, and the event loop waits that long each
time that it wants to go on. While pools exist the interval is shorter (docs/decisions/0010-policy.md has the figures).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context
from types import FrameType
from typing import Final

from penstock.policy.fault import frames_of_stack

#: Jobs that wait for a thread. With a deadline on each, more would mostly be late.
WAITING_LIMIT: Final = 1000
#: Threads given up that have not ended, for each thread of the pool.
LOST_FACTOR: Final = 4
#: Seconds that a thread may run before another has its turn, while there are pools; Python's own is 0.005.
SWITCH_INTERVAL: Final = 0.0002

#: What a job came to: a value and None, or None and what it raised.
Ended = Callable[[object, BaseException | None], None]


class Interrupted(BaseException):
    """Raised in a plain function that is late. No Exception, so that a loop that tries again whatever happens ends too."""


class Job:
    """One call of a function. ``ended`` is called on the event loop when it returned or raised."""

    __slots__ = ("arguments", "context", "ended", "function", "worker")

    def __init__(
        self, function: Callable[..., object], arguments: tuple[object, ...], context: Context, ended: Ended
    ) -> None:
        self.function = function
        self.arguments = arguments
        self.context = context
        self.ended = ended
        self.worker: _Worker | None = None


class _Worker:
    """One thread of the pool; ``is_lost`` once it was given up."""

    __slots__ = ("is_lost", "job", "thread")

    def __init__(self) -> None:
        self.thread: threading.Thread | None = None
        self.job: Job | None = None
        self.is_lost = False


class Threads:
    """At most ``count`` threads that do jobs, begun as they are needed. Its methods belong to the event loop's thread."""

    def __init__(
        self, count: int, *, waiting_limit: int = WAITING_LIMIT, lost_limit: int | None = None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._count = count
        self._waiting_limit = waiting_limit
        self._lost_limit = LOST_FACTOR * count if lost_limit is None else lost_limit
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._jobs: deque[Job] = deque()
        self._workers: set[_Worker] = set()
        self._lost: set[_Worker] = set()
        self._idle = 0
        self._is_closing = False
        self._all_ended = asyncio.Event()
        _hurry(+1)

    @property
    def lost(self) -> int:
        """Threads that were given up and have not ended."""
        return len(self._lost)

    @property
    def waiting(self) -> int:
        """Jobs that no thread has begun."""
        return len(self._jobs)

    def submit(self, job: Job) -> bool:
        """Have a job done, in its turn; False if too many wait, or there is no thread and can be none."""
        with self._lock:
            if self._is_closing or len(self._jobs) >= self._waiting_limit:
                return False
            if self._idle <= len(self._jobs):
                self._begin_thread()
            if not self._workers:
                return False
            self._jobs.append(job)
            self._work.notify()
        return True

    def give_up(self, job: Job) -> tuple[int | None, list[FrameType]]:
        """A job is too late: forget it if it has not begun, else tell it to stop.

        The thread that has it (None if none has), and where it is.
        """
        with self._lock:
            worker = job.worker
            if worker is None:
                if job in self._jobs:
                    self._jobs.remove(job)
                return None, []
            if worker.job is not job or worker.thread is None:
                return None, []
            thread = worker.thread.ident
            frames = frames_of_thread(thread, "_perform")
            if not worker.is_lost:
                worker.is_lost = True
                self._workers.discard(worker)
                self._lost.add(worker)
                if self._jobs:
                    self._begin_thread()
            interrupt(thread)
        return thread, frames

    def interrupt_again(self) -> None:
        """Tell the threads that were given up once more: a function may have caught the exception and gone on."""
        with self._lock:
            for worker in self._lost:
                if worker.job is not None and worker.thread is not None:
                    interrupt(worker.thread.ident)

    async def close(self, grace: float) -> int:
        """End the threads, those that are busy by interruption; how many have not ended after ``grace`` seconds, and are left behind."""
        with self._lock:
            if self._is_closing:
                return len(self._lost)
            self._is_closing = True
            self._jobs.clear()
            self._work.notify_all()
            busy = [worker.job for worker in self._workers if worker.job is not None]
        for job in busy:
            self.give_up(job)
        _hurry(-1)
        self._check_end()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._all_ended.wait()
        return len(self._lost)

    def _check_end(self) -> None:
        if self._is_closing and not self._workers and not self._lost:
            self._all_ended.set()

    def _begin_thread(self) -> None:
        """Another thread, if there may be one."""
        if len(self._workers) >= self._count or len(self._lost) >= self._lost_limit:
            return
        worker = _Worker()
        # daemon: a function that never returns must not keep the process from ending
        worker.thread = threading.Thread(target=self._run, args=(worker,), name="policy", daemon=True)
        self._workers.add(worker)
        worker.thread.start()

    # -- in the threads

    def _run(self, worker: _Worker) -> None:
        while True:
            try:
                job = self._next(worker)
                if job is None:
                    break
                self._perform(job)
                with self._lock:
                    worker.job = None
            except Interrupted:
                pass
            if worker.is_lost:
                break
        self._absorb(worker)
        with self._lock:
            self._workers.discard(worker)
            self._lost.discard(worker)
            if self._jobs and not self._is_closing:
                self._begin_thread()
        self._tell(self._check_end)

    def _next(self, worker: _Worker) -> Job | None:
        """Wait for a job; None when the pool is closing."""
        with self._work:
            self._idle += 1
            try:
                while not self._jobs and not self._is_closing:
                    self._work.wait()
            finally:
                self._idle -= 1
            if not self._jobs:
                return None
            job = self._jobs.popleft()
            job.worker, worker.job = worker, job
            return job

    def _perform(self, job: Job) -> None:
        try:
            value = job.context.run(job.function, *job.arguments)
        except Interrupted:
            return
        except BaseException as error:  # noqa: BLE001 - whatever a hook raises is its outcome, told on the loop
            self._tell(job.ended, None, error)
        else:
            self._tell(job.ended, value, None)

    def _tell(self, callback: Callable[..., object], *arguments: object) -> None:
        # the loop may be closed: then nobody waits any more
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _absorb(self, worker: _Worker) -> None:
        """From here on no interruption is sent; one that is on its way comes here."""
        while True:
            try:
                with self._lock:
                    worker.job = None
                for _ in range(100):
                    pass
            except Interrupted:
                continue
            return


def interrupt(thread: int | None) -> None:
    """Have ``Interrupted`` raised in a thread as soon as it runs Python code. It must be known to be inside of a hook, and to stay there."""
    if thread is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(Interrupted))


def frames_of_thread(thread: int | None, outermost: str) -> list[FrameType]:
    """Where a thread is, inside of the function called ``outermost``."""
    frame = sys._current_frames().get(thread) if thread is not None else None  # noqa: SLF001 - it has no other name
    return frames_of_stack(frame, outermost)


class _Hurry:
    """How many pools there are, and the interval before the first."""

    pools = 0
    usual = 0.005


def _hurry(change: int) -> None:
    """A pool begins (+1) or ends (-1)."""
    if _Hurry.pools == 0:
        _Hurry.usual = sys.getswitchinterval()
    _Hurry.pools += change
    sys.setswitchinterval(min(SWITCH_INTERVAL, _Hurry.usual) if _Hurry.pools else _Hurry.usual)
