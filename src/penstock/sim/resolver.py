"""A resolver whose answers are a script: the fake of ``routing.ports.Resolver`` for tests and trial runs. No network, no time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import Enum
from ipaddress import ip_address
from typing import Final, TypeVar

from penstock.mail.duration import Seconds
from penstock.routing.answer import AddressAnswer, AddressResult, Exchange, MxAnswer, MxResult, NoSuchDomain

A = TypeVar("A")

TTL: Final = Seconds(300.0)


class Silence(Enum):
    """In the place of an answer: none ever comes, and the question ends when its asker gives up."""

    SILENCE = "no answer"


SILENCE: Final = Silence.SILENCE
EVERY: Final = "*"


class FakeResolver:
    """Answers as told, and counts.

    ``mx`` and ``addresses`` give each name an answer, ``SILENCE``, or a list of these: one for each question in turn, the last for all that
    follow. A name that is in neither does not exist; one that is only in the other has no such records by the caller's own word, so give it
    ``NoData()``. ``questions`` counts by ``("mx" or "addresses", name)``; ``under_way`` is how many wait, ``most_under_way`` the most at once.
    """

    def __init__(
        self,
        mx: Mapping[str, MxResult | Silence | Sequence[MxResult | Silence]] | None = None,
        addresses: Mapping[str, AddressResult | Silence | Sequence[AddressResult | Silence]] | None = None,
    ) -> None:
        self.questions: Counter[tuple[str, str]] = Counter()
        self.under_way = 0
        self.most_under_way = 0
        self._mx = {
            name: list(script) if isinstance(script, Sequence) else [script]
            for name, script in (mx or {}).items()
        }
        self._addresses = {
            name: list(script) if isinstance(script, Sequence) else [script]
            for name, script in (addresses or {}).items()
        }
        self._gates: dict[str, asyncio.Event] = {}

    def hold(self, name: str = EVERY) -> None:
        """Let questions about ``name``, or all of them, wait until ``release``."""
        self._gates.setdefault(name, asyncio.Event())

    def release(self, name: str = EVERY) -> None:
        """Answer what waits by the same ``hold``, and what comes."""
        gate = self._gates.pop(name, None)
        if gate is not None:
            gate.set()

    async def mx(self, name: str) -> MxResult:
        """The scripted MX answer."""
        place = await self._asked("mx", name)
        script = self._mx.get(name, [NoSuchDomain()])
        return await _spoken(script[min(place, len(script) - 1)])

    async def addresses(self, name: str) -> AddressResult:
        """The scripted address answer."""
        place = await self._asked("addresses", name)
        script = self._addresses.get(name, [NoSuchDomain()])
        return await _spoken(script[min(place, len(script) - 1)])

    async def _asked(self, kind: str, name: str) -> int:
        """Count the question, wait while held, and return how many of its kind and name were before it."""
        place = self.questions[kind, name]
        self.questions[kind, name] += 1
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            for gate in (self._gates.get(EVERY), self._gates.get(name)):
                if gate is not None:
                    await gate.wait()
        finally:
            self.under_way -= 1
        return place


async def _spoken(answer: A | Silence) -> A:
    if isinstance(answer, Silence):
        await asyncio.Event().wait()
        raise AssertionError("silence was broken")
    return answer


def mx(*records: str, ttl: float = TTL) -> MxAnswer:
    """An MX answer of records written as zone files do: ``mx("10 mx1.example", "20 mx2.example")``."""
    pairs = (record.partition(" ") for record in records)
    return MxAnswer(tuple(Exchange(int(preference), host) for preference, _, host in pairs), Seconds(ttl))


def addresses(*texts: str, ttl: float = TTL) -> AddressAnswer:
    """An address answer: ``addresses("192.0.2.1", "2001:db8::1")``."""
    return AddressAnswer(tuple(ip_address(text) for text in texts), Seconds(ttl))
