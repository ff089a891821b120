"""What lanes share, as the supervisor sees it: the broker, and the sums of what is taken at the doors. For each lane that is there, both know it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any

import msgspec

from penstock.ipc.door_words import SupervisorDoorsTell
from penstock.mail.ports import Clock
from penstock.supervisor.broker import WORDS, Broker
from penstock.supervisor.doors import DoorSums
from penstock.supervisor.quota_state import QuotaState, boot_id
from penstock.supervisor.state import State

Tell = Callable[[msgspec.Struct], None]


class Sharing:
    """See the module. ``disk`` is the one thread that uses ``state``. Made on a running loop. Lanes may join before it is open; nothing is lent
    to them yet.
    """

    def __init__(self, state: State, disk: Executor, clock: Clock) -> None:
        self._state = QuotaState(state.connection, clock, boot_id())
        self._disk = disk
        self._clock = clock
        self._doors = DoorSums()
        self._broker: Broker | None = None
        self._closing = asyncio.Lock()
        self._numbers = itertools.count(1)
        #: what the broker calls the process of each lane
        self._holders: dict[str, str] = {}
        self._tells: dict[str, Tell] = {}

    async def open(self) -> None:
        """Read what was kept. StateError if that cannot be."""
        found = await asyncio.get_running_loop().run_in_executor(self._disk, self._state.begin)
        self._broker = Broker(self._state, found, self._disk, self._clock)
        for lane, holder in self._holders.items():
            self._broker.join(holder, self._tells[lane])

    async def close(self) -> None:
        """End, when all lanes have left. Called again, it ends when that is done."""
        async with self._closing:
            broker, self._broker = self._broker, None
            if broker is not None:
                await broker.close()

    def handlers(self, lane: Callable[[], str]) -> Mapping[type, Callable[[Any], None]]:
        """What is done about the words of a lane's process; ``lane`` says which."""
        return {
            **dict.fromkeys(WORDS, lambda word: self._hear(lane(), word)),
            SupervisorDoorsTell: lambda word: self._doors.hear(lane(), word.here),
        }

    def _hear(self, lane: str, word: msgspec.Struct) -> None:
        if self._broker is not None:
            self._broker.hear(self._holders.get(lane, ""), word)

    def join(self, lane: str, tell: Tell) -> None:
        """The process of a lane is there; ``tell`` tells it something."""
        self.leave(lane)
        holder = self._holders[lane] = f"{lane} {next(self._numbers)}"
        self._tells[lane] = tell
        if self._broker is not None:
            self._broker.join(holder, tell)
        self._doors.join(lane, tell)

    def leave(self, lane: str) -> None:
        """It is gone, after all that it has said."""
        holder = self._holders.pop(lane, None)
        if holder is None:
            return
        del self._tells[lane]
        if self._broker is not None:
            self._broker.leave(holder)
        self._doors.leave(lane)
