"""Answers to one kind of question, kept until they expire; callers that ask about one name at one time share one question.

A question is a task of its own, so that a caller who gives up takes it from nobody, and its answer is kept. Questions at once are bounded;
those beyond wait in turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from penstock.mail.duration import MonotonicTime
from penstock.routing.cache import CAPACITY, Cache

V = TypeVar("V")

#: Names being asked about or waiting for it, about 3 KB each. Beyond it ``start`` refuses.
WAITING_LIMIT: Final = 16_384


class Lookups(Generic[V]):
    """Owner of the tasks that ``ask`` about names, ``at_once`` of them at most.

    ``ask`` returns the value and its end, ends within a bounded time, and raises nothing but CancelledError. ``kind`` names the tasks.
    """

    def __init__(
        self,
        kind: str,
        ask: Callable[[str], Awaitable[tuple[V, MonotonicTime]]],
        at_once: int,
        capacity: int = CAPACITY,
    ) -> None:
        self.cache: Final[Cache[V]] = Cache(capacity)
        self._kind = kind
        self._ask = ask
        self._turns = asyncio.Semaphore(at_once)
        self._tasks: dict[str, asyncio.Task[V]] = {}

    def start(self, name: str) -> asyncio.Task[V] | None:
        """The task that asks about ``name``, the one under way if there is one; None if too many are waiting.

        The caller waits with ``asyncio.wait``, which leaves the task alone when the caller is cancelled. A task that ``close`` ended is
        cancelled and has no result.
        """
        task = self._tasks.get(name)
        if task is None and len(self._tasks) < WAITING_LIMIT:
            task = asyncio.create_task(self._run(name), name=f"{self._kind} of {name}")
            self._tasks[name] = task
            task.add_done_callback(lambda _: self._tasks.pop(name, None))
        return task

    async def _run(self, name: str) -> V:
        async with self._turns:
            value, expires = await self._ask(name)
        self.cache.put(name, value, expires)
        return value

    def __len__(self) -> int:
        """How many questions are asked or waiting."""
        return len(self._tasks)

    async def close(self) -> None:
        """Cancel every question and wait until all have ended."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
