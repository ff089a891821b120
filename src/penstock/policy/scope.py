"""What a running policy has opened for its helpers, and closes with the runner: HTTP connections, databases.

A hook finds the scope of its runner in a context variable, which tasks and threads of the runner have. Code that runs without a runner, such
as a test of a policy, has none: helpers then open what they need for one call and close it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from typing import Any, Final, TypeVar

LOG = logging.getLogger(__name__)
T = TypeVar("T")


class Scope:
    """Things by key, each with what closes it. Used on the event loop's thread, but for ``wait``'s part."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._things: dict[object, object] = {}
        self._closers: list[Callable[[], Awaitable[None]]] = []
        #: what threads wait for, by thread
        self._waiting: dict[int, concurrent.futures.Future[Any]] = {}

    def once(self, key: object, make: Callable[[], T], close: Callable[[T], Awaitable[None]]) -> T:
        """The thing of this key, made if there is none yet."""
        found = self._things.get(key)
        if found is None:
            made = make()
            self._things[key] = found = made
            self._closers.append(lambda: close(made))
        return found  # type: ignore[return-value]  # what a key stands for is its owner's business

    async def close(self) -> None:
        """Close everything, the latest first. A thing that fails to close is logged, and the others are closed all the same."""
        while self._closers:
            close = self._closers.pop()
            try:
                await close()
            except Exception:
                LOG.exception("a policy's resource could not be closed")
        self._things.clear()

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run ``coroutine`` on the loop, and wait for it in this thread."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        thread = threading.get_ident()
        self._waiting[thread] = future
        try:
            return future.result()
        finally:
            self._waiting.pop(thread, None)

    def wake(self, thread: int | None) -> None:
        """End what that thread waits for: it is too late for it."""
        future = self._waiting.get(thread) if thread is not None else None
        if future is not None:
            future.cancel()


SCOPE: Final[ContextVar[Scope | None]] = ContextVar("penstock_policy_scope", default=None)


def wait(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, for a plain function that has to wait for it: ``wait(dns.a("example.com"))``.

    For functions that run in the pool of threads; the coroutine runs on the event loop. RuntimeError in a coroutine or an ``inline``
    function, which would wait for itself. Without a server, as in a test, the coroutine has an event loop of its own.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        scope = SCOPE.get()
        return scope.wait(coroutine) if scope is not None else asyncio.run(coroutine)
    coroutine.close()
    raise RuntimeError(
        "wait is for plain functions in a thread; in a coroutine write await, and an inline function cannot wait"
    )
