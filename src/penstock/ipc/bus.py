"""Requests, answers and notes between two processes, over one channel.

A frame with number 0 is a note. One with a number is a request, and its answer has the same number with the top bit set: a record, nothing
(``Done``), or a fault as text. Both sides ask, each with numbers of its own. What arrives is handled in order; a handler that must wait is a
task, and what comes later does not wait for it.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from penstock.ipc.channel import Channel, Ended
from penstock.ipc.frames import Frame, ProtocolError
from penstock.ipc.vocabulary import Vocabulary

LOG = logging.getLogger(__name__)

#: Handlers of one bus that wait at a time. A request more is answered with a fault, a note more ends the bus.
WAITING_LIMIT: Final = 1000

_ANSWER: Final = 1 << 63
_DONE_KIND: Final = 254
_FAULT_KIND: Final = 255
_FAULT_SIZE: Final = 4000

Handler = Callable[[Any], Awaitable[msgspec.Struct | None] | msgspec.Struct | None]


class BusFault(Exception):
    """The other side could not do what it was asked; ``str()`` of it is its reason. Handlers raise it with a text for who asked."""


class BusEnded(Exception):
    """There is no other side any more. Nobody knows whether it did what it was asked."""


class Done(msgspec.Struct, frozen=True):
    """The answer to a request that has no other."""


class Bus:
    """One end. Its ``channel`` is to be connected; then both sides may ask and tell.

    ``handlers`` say for each type that the other side may send what is to be done, and the answer; None is ``Done()``. What a handler of a
    note answers is dropped. ``ended`` is called once, as that of a Channel, when all who asked have BusEnded and waiting handlers are cancelled.
    """

    def __init__(self, vocabulary: Vocabulary, handlers: Mapping[type, Handler], ended: Ended) -> None:
        self.channel = Channel(self._received, self._ended)
        self._vocabulary = vocabulary
        self._handlers = dict(handlers)
        self._on_ended = ended
        self._asked: dict[int, asyncio.Future[msgspec.Struct | Exception]] = {}
        self._last_number = 0
        self._waiting: set[asyncio.Task[None]] = set()
        self._why_ended: str | None = None
        #: Notes and requests whose handler failed by a mistake of ours.
        self.mistakes = 0

    @property
    def is_open(self) -> bool:
        """Whether there is somebody to talk to."""
        return self.channel.is_open

    async def ask(self, request: msgspec.Struct, timeout: float) -> msgspec.Struct:
        """The answer to ``request``. BusFault, BusEnded, or TimeoutError after ``timeout`` seconds: it may be done all the same."""
        if not self.channel.is_open:
            raise BusEnded(self._why_ended or "the other process is not connected")
        kind, head = self._vocabulary.encode(request)
        self._last_number += 1
        number = self._last_number
        answer: asyncio.Future[msgspec.Struct | Exception] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            self.channel.send(kind, number, head)
            async with asyncio.timeout(timeout):
                found = await answer
        finally:
            del self._asked[number]
        if isinstance(found, Exception):
            raise found
        return found

    def tell(self, note: msgspec.Struct) -> None:
        """Send ``note``; on a bus that is over, nothing happens."""
        kind, head = self._vocabulary.encode(note)
        self.channel.send(kind, 0, head)

    def close(self) -> None:
        """Close it when the other side has taken what was said."""
        self.channel.close()

    # -- what the other side says

    def _received(self, frame: Frame) -> None:
        if frame.tail:
            raise ProtocolError("the other process sent a tail on a bus")
        if frame.number & _ANSWER:
            self._take_answer(frame.number ^ _ANSWER, frame)
            return
        item = self._vocabulary.decode(frame.kind, frame.head)
        handler = self._handlers.get(type(item))
        if handler is None:
            self._fail(frame.number, f"{type(item).__name__} is nothing that this process can be told")
            return
        try:
            answer = handler(item)
        except Exception as error:  # noqa: BLE001 - the border: one bad request is answered, counted, and spares the others
            self._failed(frame.number, item, error)
            return
        if inspect.isawaitable(answer):
            self._wait(frame.number, item, answer)
        else:
            self._answer(frame.number, item, answer)

    def _take_answer(self, number: int, frame: Frame) -> None:
        if number > self._last_number:
            raise ProtocolError("the other process answered what it was not asked")
        asked = self._asked.get(number)
        if asked is None or asked.done():
            return  # too late
        if frame.kind == _FAULT_KIND:
            asked.set_result(BusFault(frame.head.decode("utf-8", "replace")))
        elif frame.kind == _DONE_KIND:
            asked.set_result(Done())
        else:
            asked.set_result(self._vocabulary.decode(frame.kind, frame.head))

    def _wait(self, number: int, item: msgspec.Struct, answer: Awaitable[msgspec.Struct | None]) -> None:
        if len(self._waiting) >= WAITING_LIMIT:
            if inspect.iscoroutine(answer):
                answer.close()
            if number == 0:
                raise ProtocolError(f"the other process told more than {WAITING_LIMIT} things at a time")
            self._fail(number, f"more than {WAITING_LIMIT} requests wait for their answers")
            return
        task = asyncio.create_task(self._finish(number, item, answer), name=f"bus: {type(item).__name__}")
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _finish(
        self, number: int, item: msgspec.Struct, answer: Awaitable[msgspec.Struct | None]
    ) -> None:
        try:
            found = await answer
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(number, item, error)
        else:
            self._answer(number, item, found)

    def _answer(self, number: int, item: msgspec.Struct, answer: msgspec.Struct | None) -> None:
        if number == 0:
            return
        if answer is None:
            self.channel.send(_DONE_KIND, number | _ANSWER)
            return
        try:
            kind, head = self._vocabulary.encode(answer)
            self.channel.send(kind, number | _ANSWER, head)
        except ValueError as error:
            self._failed(number, item, error)

    def _failed(self, number: int, item: msgspec.Struct, error: Exception) -> None:
        if isinstance(error, BusFault):
            self._fail(number, str(error))
            return
        self.mistakes += 1
        LOG.error("bus: %s could not be handled", type(item).__name__, exc_info=error)
        self._fail(number, f"{type(item).__name__} could not be handled; the log of the process says why")

    def _fail(self, number: int, reason: str) -> None:
        if number:
            self.channel.send(_FAULT_KIND, number | _ANSWER, reason.encode()[:_FAULT_SIZE])

    def _ended(self, reason: str | None) -> None:
        self._why_ended = reason or "the other process closed the connection"
        for asked in self._asked.values():
            if not asked.done():
                asked.set_result(BusEnded(self._why_ended))
        for task in self._waiting:
            task.cancel()
        self._on_ended(reason)
