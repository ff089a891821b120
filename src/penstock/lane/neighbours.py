"""The other lanes of the server, by name."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from penstock.ipc.lane_words import socket_of
from penstock.lane.handing_over import Neighbour
from penstock.mail.ports import Clock
from penstock.queueing.handover import Fate


class Neighbours:
    """The other lanes of the server. ``run`` is the folder of their sockets."""

    def __init__(self, own: str, run: Path, clock: Clock) -> None:
        self._own = own
        self._run = run
        self._clock = clock
        self._by_name: dict[str, Neighbour] = {}
        #: lanes that take any mail
        self._anchors: list[str] = []
        self._closing: set[asyncio.Task[None]] = set()

    def use(self, general: Sequence[str], dedicated: Sequence[str] = ()) -> None:
        """Be connected to these, and to no others. A dedicated lane is no anchor: it has nobody else's mail."""
        self._anchors = [lane for lane in general if lane != self._own]
        wanted = [*self._anchors, *(lane for lane in dedicated if lane != self._own)]
        for lane in [lane for lane in self._by_name if lane not in wanted]:
            closing = asyncio.get_running_loop().create_task(
                self._by_name.pop(lane).close(), name=f"leave lane {lane}"
            )
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        for lane in wanted:
            if lane not in self._by_name:
                neighbour = self._by_name[lane] = Neighbour(
                    self._own, socket_of(self._run, lane), self._clock
                )
                neighbour.start()

    def get(self, lane: str) -> Neighbour | None:
        """A lane, if it is one of them."""
        return self._by_name.get(lane)

    def anchor(self) -> Neighbour | None:
        """One that takes mail that is not its own: the first that takes any; None if there is none."""
        return next((self._by_name[lane] for lane in self._anchors if self._by_name[lane].is_taking), None)

    @property
    def octets(self) -> int:
        """Of what is under way to all of them."""
        return sum(neighbour.octets for neighbour in self._by_name.values())

    def fates(self) -> dict[Fate, int]:
        """How many transactions that were offered to other lanes have come to what end."""
        return {fate: sum(neighbour.fates[fate] for neighbour in self._by_name.values()) for fate in Fate}

    async def close(self) -> None:
        """Leave all of them."""
        self.use(())
        if self._closing:
            await asyncio.wait(tuple(self._closing))
