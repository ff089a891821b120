"""Lanes that come by themselves: each is started by a service of its own, and says at ``run/supervisor.sock`` who it is."""

from __future__ import annotations

from pathlib import Path

from penstock.ipc.bus import Bus, BusFault
from penstock.ipc.channel import ListeningServer, listen
from penstock.ipc.words import BUS, SupervisorJoin
from penstock.supervisor.members import Member
from penstock.supervisor.supervisor import Supervisor


def supervisor_socket(data_dir: str | Path) -> Path:
    """Where the supervisor of a data directory is to be had."""
    return Path(data_dir) / "run" / "supervisor.sock"


async def receive(supervisor: Supervisor, data_dir: str | Path) -> ListeningServer:
    """Let lanes of services of their own in. ChannelError if that cannot be."""
    return await listen(supervisor_socket(data_dir), lambda: _Visitor(supervisor).bus.channel)


class _Visitor:
    """Somebody who has connected, and may say which lane it is."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._member: Member | None = None
        self.bus = Bus(BUS, {SupervisorJoin: self._join, **supervisor.handlers(self._whose)}, self._ended)

    def _join(self, word: SupervisorJoin) -> None:
        self._member = self._supervisor.join(self.bus, word)

    def _whose(self) -> Member:
        if self._member is None:
            raise BusFault("say first which lane you are")
        return self._member

    def _ended(self, reason: str | None) -> None:
        if self._member is not None:
            self._supervisor.bus_ended(self._member, self.bus, reason)
