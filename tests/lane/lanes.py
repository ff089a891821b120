"""Lanes of one server in one process, connected by real sockets, with a clock that stands still until it is told."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import msgspec

from penstock.ipc.channel import Channel, over
from penstock.ipc.frames import Frame
from penstock.ipc.lane_words import HAND_OVER
from penstock.lane.doorway import Doorway
from penstock.lane.handing_over import Neighbour, Transfer
from penstock.lane.taking_over import CREDIT, Intake
from penstock.mail.ports import SpoolError
from penstock.mail.records import MessageRecord, SpoolRecord
from penstock.queueing.handover import Credit, Fate
from penstock.sim.clock import FakeClock
from penstock.spool import passing
from tests.spool import samples
from tests.spool.told import ToldSpool


def records(
    number: int, content: bytes = b"Subject: x\r\n\r\nbody\r\n", parts: int = 1
) -> list[MessageRecord]:
    """The messages of a transaction."""
    return [
        samples.message(10 * number + part, recipients=1 + part, content=content, domain=f"{part}.test")
        for part in range(parts)
    ]


class HomeLane:
    """A lane that others hand over to: its spool, what it delivers, and its door."""

    def __init__(self, clock: FakeClock, folder: Path, credit: Credit = CREDIT) -> None:
        self.clock = clock
        self.shown: list[SpoolRecord] = []
        self.delivered: list[MessageRecord] = []
        self.spool = ToldSpool(lambda records, position: self.shown.extend(records))
        self.intake = Intake(self.spool, self._deliver, clock, folder, credit)
        self.doorway = Doorway(folder / "lane.sock", {HAND_OVER: self.intake.session})

    def _deliver(self, stored: Sequence[tuple[int, MessageRecord]]) -> None:
        assert len(self.spool) >= len(stored)
        self.delivered += [record for _, record in stored]


class Sender:
    """A lane that hands over to one other, and what it was told."""

    def __init__(self, clock: FakeClock, name: str = "0") -> None:
        self.clock = clock
        self.neighbour = Neighbour(name, Path("lane-1.sock"), clock)
        self.told: dict[str, Fate] = {}
        self.taken: dict[str, bool] = {}

    def hand_over(self, messages: Sequence[MessageRecord]) -> str:
        """Hand these over; the id of the first."""
        name = messages[0].id

        def told(fate: Fate) -> None:
            assert name not in self.told, "told twice"
            self.told[name] = fate

        transfer = Transfer(passing.encoded(messages), len(messages), 0, told)
        self.taken[name] = self.neighbour.hand_over(transfer)
        return name

    def fate(self, messages: Sequence[MessageRecord]) -> Fate | None:
        """What it was told of these."""
        return self.told.get(messages[0].id)


async def link(sender: Sender, lane: HomeLane) -> None:
    """Connect them."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    channel = sender.neighbour.new_channel()
    await over(its, lane.doorway.visit())
    await over(ours, channel)
    sender.neighbour.connected(channel)
    await until(lambda: sender.neighbour.is_taking or not lane.spool.has_room())


async def settle(turns: int = 50) -> None:
    """Let everything happen that can."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def until(is_so: Callable[[], object]) -> None:
    """Wait for it, a bounded number of the loop's turns."""
    for _ in range(100_000):
        if is_so():
            return
        await asyncio.sleep(0)
    raise AssertionError("it does not come")


class Stranger:
    """The other end of a lane's connection, or of a sender's, in the hands of the test."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.is_over = False
        self.channel = Channel(self.frames.append, self._ended)

    def _ended(self, reason: str | None) -> None:
        self.is_over = True

    async def visit(self, lane: HomeLane) -> None:
        """Connect to a lane."""
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        await over(its, lane.doorway.visit())
        await over(ours, self.channel)

    async def receive(self, sender: Sender) -> None:
        """Be connected to by a sender."""
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        channel = sender.neighbour.new_channel()
        await over(ours, self.channel)
        await over(its, channel)
        sender.neighbour.connected(channel)
        await until(lambda: self.frames)


def play(scene: Callable[[FakeClock], Coroutine[Any, Any, None]]) -> None:
    """Run a scene."""

    async def run() -> None:
        async with asyncio.timeout(20):
            await scene(FakeClock())

    asyncio.run(run())


class Slow:
    """A spool that stores when it is told to, in whatever order."""

    def __init__(self, lane: HomeLane) -> None:
        self._spool = lane.spool
        lane.spool.is_slow = True

    def answer(self, index: int, fault: SpoolError | None = None) -> None:
        """The transaction at this place of those that wait is stored, or is not."""
        self._spool.stores.insert(0, self._spool.stores.pop(index))
        self._spool.answer_store(fault)

    def __len__(self) -> int:
        return len(self._spool.stores)


def changed(record: MessageRecord, **changes: Any) -> MessageRecord:
    """A message with other fields."""
    return msgspec.structs.replace(record, **changes)
