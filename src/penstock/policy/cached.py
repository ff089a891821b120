"""Remembers what a function returned: for a time, for so many arguments, with one call under way for each.

For coroutine functions and for plain ones, whose cache threads may share. The least recently used result goes when there are too many.
Exceptions are never remembered; with ``stale`` an older result serves in their place for that long.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
#: Seconds between two looks whether another thread's call is over: a late hook can be stopped between them only.
_LOOK: Final = 0.05


class _Entry:
    __slots__ = ("made", "value")

    def __init__(self, value: object, made: float) -> None:
        self.value = value
        self.made = made


class _Results:
    """Results by key, the least recently used first. Its methods are short and hold no lock while anything else runs."""

    def __init__(self, ttl: float, size: int, stale: float, clock: Callable[[], float]) -> None:
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._lock = threading.Lock()
        self._ttl = ttl
        self._size = size
        self._stale = stale
        self._clock = clock

    def fresh(self, key: Hashable) -> _Entry | None:
        """The result of this key, if it is no older than its time."""
        return self._younger(key, self._ttl)

    def usable(self, key: Hashable) -> _Entry | None:
        """One that serves where the function fails."""
        return self._younger(key, self._ttl + self._stale) if self._stale else None

    def _younger(self, key: Hashable, age: float) -> _Entry | None:
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or self._clock() - entry.made >= age:
                return None
            self._entries.move_to_end(key)
            return entry

    def keep(self, key: Hashable, value: object) -> None:
        """Remember a result from now on."""
        with self._lock:
            self._entries[key] = _Entry(value, self._clock())
            self._entries.move_to_end(key)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)


def cached(
    ttl: float | None = None,
    size: int = 10_000,
    stale: float = 0.0,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorate a function so that its results are remembered for ``ttl`` seconds, ``size`` of them.

    ``ttl`` has to be given: TypeError says how. Arguments must be hashable: TypeError at the call otherwise. While a call for the same
    arguments is under way, others wait for its result and do not call again. Where the function raises an Exception, a result that is at
    most ``stale`` seconds past its time serves instead.
    ``clock`` is for tests.
    """
    if ttl is None or callable(ttl):
        raise TypeError("cached has to be told for how many seconds: write @cached(ttl=60)")
    if not all(isinstance(number, int | float) for number in (ttl, size, stale)):
        raise TypeError("cached takes numbers: write @cached(ttl=60, size=10_000, stale=0)")
    if not ttl > 0 or size < 1 or stale < 0:
        raise ValueError("cached takes a ttl above 0, a size of 1 or more, and a stale of 0 or more")

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        results = _Results(ttl, size, stale, clock)
        if inspect.iscoroutinefunction(function):
            return _for_coroutines(function, results)
        return _for_threads(function, results)

    return decorate


class _Flight:
    """A call under way on an event loop, and how many wait for it."""

    __slots__ = ("task", "waiting")

    def __init__(self, task: asyncio.Task[object]) -> None:
        self.task = task
        self.waiting = 0


def _key(arguments: tuple[object, ...], named: dict[str, object]) -> Hashable:
    return (arguments, tuple(sorted(named.items()))) if named else arguments


def _for_coroutines(function: Callable[..., Any], results: _Results) -> Callable[..., Any]:
    flights: dict[Hashable, _Flight] = {}

    async def fly(key: Hashable, arguments: tuple[object, ...], named: dict[str, object]) -> object:
        try:
            value = await function(*arguments, **named)
        except Exception:
            if (entry := results.usable(key)) is not None:
                return entry.value
            raise
        except (SystemExit, KeyboardInterrupt) as error:
            # out of a task they would end the event loop, and the server with it
            raise RuntimeError(f"{function.__name__} raised {type(error).__name__}") from error
        results.keep(key, value)
        return value

    @functools.wraps(function)
    async def call(*arguments: object, **named: object) -> object:
        key = _key(arguments, named)
        if (entry := results.fresh(key)) is not None:
            return entry.value
        # a loop of its own for each test: a call of another loop is not waited for
        owned = (asyncio.get_running_loop(), key)
        flight = flights.get(owned)
        if flight is None:
            flight = _Flight(
                asyncio.create_task(fly(key, arguments, named), name=f"policy {function.__name__}")
            )
            flights[owned] = flight
            flight.task.add_done_callback(lambda _: flights.pop(owned, None))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                flights.pop(owned, None)
                flight.task.cancel()

    return call


class _Call:
    """A call under way in a thread."""

    __slots__ = ("error", "over", "value")

    def __init__(self) -> None:
        self.over = threading.Event()
        self.value: object = None
        self.error: BaseException | None = None


def _for_threads(function: Callable[..., Any], results: _Results) -> Callable[..., Any]:
    calls: dict[Hashable, _Call] = {}
    lock = threading.Lock()

    def lead(key: Hashable, own: _Call, arguments: tuple[object, ...], named: dict[str, object]) -> object:
        try:
            own.value = function(*arguments, **named)
            results.keep(key, own.value)
        except Exception as error:
            entry = results.usable(key)
            if entry is None:
                own.error = error
                raise
            own.value = entry.value
        except BaseException:
            own.error = TimeoutError("the call that was waited for was stopped")
            raise
        finally:
            with lock:
                calls.pop(key, None)
            own.over.set()
        return own.value

    @functools.wraps(function)
    def call(*arguments: object, **named: object) -> object:
        key = _key(arguments, named)
        if (entry := results.fresh(key)) is not None:
            return entry.value
        own = _Call()
        with lock:
            other = calls.setdefault(key, own)
        if other is own:
            return lead(key, own, arguments, named)
        while not other.over.wait(_LOOK):
            pass
        if other.error is not None:
            raise other.error
        return other.value

    return call
