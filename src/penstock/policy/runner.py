"""Asks the hooks of one policy, each with a deadline, and answers with a verdict whatever they do.

A coroutine is a task of its own, a plain function a job of the pool (``threads``), an ``inline`` one a call. A hook that raises, is late or
returns nonsense is a fault: the client is told 451, and what happened is in the verdict for an event and in ``counts`` for metrics. What is
late is told to stop; a coroutine that does not is abandoned after another deadline, a thread is reminded. What computes on the loop without
end is ended by a ``watch``.

Verdicts are given exactly once, on the event loop: inside ``ask`` for inline hooks and where nothing can be asked, later otherwise; never
after ``Asking.cancel``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import types
from collections.abc import Callable, Collection, Coroutine, Generator
from contextvars import Context, copy_context
from typing import Any, Final, Protocol

from penstock.mail.duration import MonotonicTime, Seconds
from penstock.mail.status import PolicyCounts
from penstock.policy import fault
from penstock.policy.hooks import Hook, Runs
from penstock.policy.loading import Policy
from penstock.policy.scope import SCOPE, Scope
from penstock.policy.threads import Interrupted, Job, Threads
from penstock.policy.verdict import BUSY, CLOSED, LATE, Verdict, failed, judged
from penstock.policy.watch import Watch

LOG = logging.getLogger(__name__)

#: ``node.policy_timeout``, unless it says otherwise.
TIMEOUT: Final = Seconds(5.0)
#: Seconds that hooks have to end when the runner is closed.
GRACE: Final = 1.0


class Timer(Protocol):
    """A call that will be made later."""

    def cancel(self) -> None:
        """Do not make it."""


class Timers(Protocol):
    """Time, and calls to come: the event loop's own, or a test's."""

    def monotonic(self) -> MonotonicTime:
        """Seconds that only go forward."""

    def call_later(self, delay: Seconds, callback: Callable[[], None], /) -> Timer:
        """Call back on the event loop, ``delay`` seconds from now."""


class _LoopTimers:
    __slots__ = ("call_later", "monotonic")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # uvloop's own reading is of whole milliseconds; the clock is the same
        self.monotonic: Callable[[], MonotonicTime] = time.monotonic  # type: ignore[assignment]
        self.call_later = loop.call_later


class Asking:
    """One question to a hook, and whom its verdict is for."""

    __slots__ = (
        "_runner",
        "arguments",
        "began",
        "coroutine",
        "done",
        "hook",
        "is_abandoned",
        "job",
        "task",
        "timer",
    )

    def __init__(
        self,
        runner: PolicyRunner,
        hook: str,
        arguments: tuple[object, ...],
        done: Callable[[Verdict], None],
        began: float,
    ) -> None:
        self._runner = runner
        self.hook = hook
        self.arguments = arguments
        self.done: Callable[[Verdict], None] | None = done
        self.began = began
        self.timer: Timer | None = None
        self.coroutine: Coroutine[Any, Any, object] | None = None
        self.task: asyncio.Task[None] | None = None
        self.job: Job | None = None
        #: a coroutine that did not end when it was cancelled is left where it is
        self.is_abandoned = False

    def cancel(self) -> None:
        """Nobody waits for the verdict any more: it is not given. The hook is told to stop; nothing happens if it has ended."""
        if self.done is not None:
            self.done = None
            self._runner.forget(self)


class PolicyRunner:
    """Runs the hooks of ``policy`` on the running event loop, each for ``timeout`` seconds at most, plain functions on ``threads`` threads.

    ``timers`` None is the event loop's own time. ``counts`` are those of a policy before, to be gone on with.
    """

    def __init__(
        self,
        policy: Policy,
        timeout: Seconds = TIMEOUT,
        threads: int = 4,
        *,
        timers: Timers | None = None,
        counts: dict[str, PolicyCounts] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._hooks = policy.hooks
        self._timeout = timeout
        self._timers: Timers = timers if timers is not None else _LoopTimers(self._loop)
        #: by hook
        self.counts = counts if counts is not None else {}
        for name in policy.hooks:
            self.counts.setdefault(name, PolicyCounts())
        self._scope = Scope(self._loop)
        self._context: Context = copy_context()
        self._context.run(SCOPE.set, self._scope)
        needs_threads = any(hook.runs is Runs.POOL for hook in policy.hooks.values())
        self._threads = Threads(threads) if needs_threads else None
        needs_watch = any(hook.runs is not Runs.POOL for hook in policy.hooks.values())
        self._watch = Watch(timeout) if needs_watch else None
        self._waiting: set[Asking] = set()
        self._tasks: dict[asyncio.Task[None], Asking] = {}
        self._lingering: set[asyncio.Task[None]] = set()
        self._reminder: Timer | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_closed = False

    def has(self, hook: str) -> bool:
        """Whether the policy has this hook."""
        return hook in self._hooks

    @property
    def lost_threads(self) -> int:
        """Threads whose function was late and has not ended."""
        return self._threads.lost if self._threads is not None else 0

    @property
    def waiting_calls(self) -> int:
        """Plain functions that wait for a thread."""
        return self._threads.waiting if self._threads is not None else 0

    def ask(  # hot: policy
        self, hook: str, arguments: tuple[object, ...], done: Callable[[Verdict], None]
    ) -> Asking:
        """Call a hook that the policy has (KeyError otherwise) with ``arguments``, and ``done`` with the verdict."""
        found = self._hooks[hook]
        self.counts[hook].calls += 1
        asking = Asking(self, hook, arguments, done, self._timers.monotonic())
        if self._is_closed:
            self._give(asking, Verdict(refusal=None if hook == "on_reply" else CLOSED))
        elif found.runs is Runs.INLINE:
            self._call(asking, found)
        elif found.runs is Runs.LOOP:
            self._begin_task(asking, found)
        else:
            self._begin_job(asking, found)
        return asking

    # -- the three ways to run

    def _call(self, asking: Asking, hook: Hook) -> None:
        assert self._watch is not None  # noqa: S101 -- there is a watch where hooks run on the loop
        value, error = self._watch.step(hook.function, *asking.arguments)
        self._settle(asking, value, error)

    def _begin_task(self, asking: Asking, hook: Hook) -> None:
        self._await(asking)
        task = self._loop.create_task(
            self._drive(asking, hook), name=f"policy {asking.hook}", context=self._context.copy()
        )
        asking.task = task
        self._tasks[task] = asking
        task.add_done_callback(self._forget_task)

    async def _drive(self, asking: Asking, hook: Hook) -> None:
        try:
            asking.coroutine = hook.function(*asking.arguments)  # type: ignore[assignment]  # a coroutine function
            value = await self._steps(asking)
        except (asyncio.CancelledError, GeneratorExit) as error:
            if asking.done is not None:
                self._settle(asking, None, error)
            raise
        except BaseException as error:  # noqa: BLE001 - as for inline hooks; SystemExit would end the loop
            self._settle(asking, None, error)
        else:
            self._settle(asking, value, None)

    @types.coroutine
    def _steps(self, asking: Asking) -> Generator[object, None, object]:
        """Await a hook's coroutine, each step of it watched; one that is abandoned is not gone on with."""
        assert self._watch is not None  # noqa: S101 -- as above
        assert asking.coroutine is not None  # noqa: S101 -- _drive has made it
        watch, coroutine = self._watch, asking.coroutine
        go_on: Callable[..., object] = coroutine.send
        argument: object = None
        while True:
            future, error = watch.step(go_on, argument)
            if isinstance(error, StopIteration):
                return error.value
            if error is not None:
                raise error
            if asking.is_abandoned:
                with contextlib.suppress(RuntimeError):  # it ignores GeneratorExit too
                    coroutine.close()
                raise asyncio.CancelledError
            try:
                yield future
            except BaseException as thrown:  # noqa: BLE001 - it is the coroutine's to see
                go_on, argument = coroutine.throw, thrown
            else:
                go_on, argument = coroutine.send, None

    def _forget_task(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        self._lingering.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            LOG.error("internal error behind a hook's verdict", exc_info=error)

    def _begin_job(self, asking: Asking, hook: Hook) -> None:
        assert self._threads is not None  # noqa: S101 -- there is a pool where there are hooks for it
        asking.job = Job(
            hook.function,
            asking.arguments,
            self._context.copy(),
            lambda value, error: self._settle(asking, value, error),
        )
        if self._threads.submit(asking.job):
            self._await(asking)
        else:
            self._refuse_busy(
                asking,
                f"{self._threads.waiting} calls wait, and {self._threads.lost} threads are held by late hooks",
            )

    # -- verdicts

    def _await(self, asking: Asking) -> None:
        """A verdict will come later, at the deadline at the latest."""
        self._waiting.add(asking)
        self._idle.clear()
        asking.timer = self._timers.call_later(self._timeout, lambda: self._on_deadline(asking))

    def _settle(self, asking: Asking, value: object, error: BaseException | None) -> None:  # hot: policy
        """A hook has ended. Nobody hears of it if it was late or nobody waits."""
        if asking.done is not None:
            if asking.timer is not None:
                asking.timer.cancel()
            self._give(asking, self._verdict(asking, value, error))
        elif asking.timer is not None:
            asking.timer.cancel()

    def _verdict(self, asking: Asking, value: object, error: BaseException | None) -> Verdict:
        hook = asking.hook
        if isinstance(error, Interrupted) and self._watch is not None:
            self.counts[hook].late += 1
            frames = self._watch.take_frames()
            return failed(hook, LATE, fault.of_lateness(hook, self._timeout, frames))
        return judged(self._hooks[hook].kind, asking.arguments, value, error)

    def _refuse_busy(self, asking: Asking, why: str) -> None:
        self._give(asking, failed(asking.hook, BUSY, fault.of_nonsense(asking.hook, f"not called: {why}")))

    def _give(self, asking: Asking, verdict: Verdict) -> None:
        done, asking.done = asking.done, None
        counts = self.counts[asking.hook]
        counts.seconds += self._timers.monotonic() - asking.began
        if verdict.fault:
            counts.faults += 1
        elif verdict.refusal is not None:
            counts.refusals += 1
        self._leave(asking)
        if done is not None:
            done(verdict)

    def _leave(self, asking: Asking) -> None:
        if asking in self._waiting:
            self._waiting.discard(asking)
            if not self._waiting:
                self._idle.set()

    # -- lateness

    def _on_deadline(self, asking: Asking) -> None:
        frames = self._stop(asking)
        if asking.done is not None:
            self.counts[asking.hook].late += 1
            self._give(
                asking, failed(asking.hook, LATE, fault.of_lateness(asking.hook, self._timeout, frames))
            )

    def _stop(self, asking: Asking) -> list[Any]:
        """Tell a hook to stop, and where it was."""
        if asking.job is not None and self._threads is not None:
            thread, frames = self._threads.give_up(asking.job)
            self._scope.wake(thread)
        else:
            frames = fault.frames_of_coroutine(asking.coroutine)
            task = asking.task
            if task is not None and not task.done():
                task.cancel()
                self._lingering.add(task)
        self._remind_later()
        return frames

    def _remind_later(self) -> None:
        if self._reminder is None and not self._is_closed and (self._lingering or self.lost_threads):
            self._reminder = self._timers.call_later(self._timeout, self._remind)

    def _remind(self) -> None:
        self._reminder = None
        self._abandon(self._lingering)
        if self._threads is not None:
            self._threads.interrupt_again()
        self._remind_later()

    def _abandon(self, tasks: Collection[asyncio.Task[None]]) -> None:
        """End tasks whose hooks were cancelled and have not ended, whatever the hooks do."""
        for task in tuple(tasks):
            self._tasks[task].is_abandoned = True
            task.cancel()

    def forget(self, asking: Asking) -> None:
        """For ``Asking.cancel``: a coroutine ends now, a plain function that has begun may go on until its deadline."""
        self._leave(asking)
        if asking.job is not None and asking.job.worker is not None:
            return
        if asking.timer is not None:
            asking.timer.cancel()
        self._stop(asking)

    # -- the end

    async def retire(self) -> None:
        """Wait for the hooks that are running, none longer than its deadline, and close."""
        await self._idle.wait()
        await self.close()

    async def close(self, grace: float = GRACE) -> None:
        """Stop every hook without a verdict, and close what helpers have opened. What has not ended after ``grace`` seconds is logged and left."""
        if self._is_closed:
            return
        self._is_closed = True
        for asking in tuple(self._waiting):
            asking.cancel()
            if asking.timer is not None:
                asking.timer.cancel()
        for task in tuple(self._tasks):
            task.cancel()
        left = 0
        if self._tasks:
            _, pending = await asyncio.wait(tuple(self._tasks), timeout=grace)
            left = len(pending)
            self._abandon(pending)
        if self._threads is not None:
            left += await self._threads.close(grace)
        if self._reminder is not None:
            self._reminder.cancel()
            self._reminder = None
        if self._watch is not None:
            self._watch.close()
        if left:
            LOG.warning("policy: %d hook%s did not stop when told to", left, "s" if left > 1 else "")
        await self._scope.close()
