"""Hostile clients: one that never reads, one that smuggles, and the control that shows the smuggler at work."""

from __future__ import annotations

import asyncio
import resource
import socket
import threading
from typing import Final

from benchmarks.dialogue import Dialogue
from benchmarks.processes import LOOPBACK, MissingProgramError
from penstock.sim.smuggling import attack_stream, count_stored
from penstock.sim.vulnerable import VulnerableServer

ATTACKER: Final = b"attacker@b.test"
VICTIM: Final = b"user@d1.test"


class Flood:
    """A client that sends and never reads, in a thread: until everything is sent, the connection ends, or nothing moves for a while."""

    STALL_SECONDS: Final = 2.0
    LIMIT_SECONDS: Final = 30.0

    def __init__(self, port: int, octets: bytes) -> None:
        self.sent = 0
        self.was_closed = False
        self._octets = memoryview(octets)
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.connect((LOOPBACK, port))
        self._thread = threading.Thread(target=self._run, name="flood", daemon=True)

    def __enter__(self) -> Flood:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._thread.join(self.LIMIT_SECONDS)

    def __len__(self) -> int:
        return len(self._octets)

    def wait(self) -> None:
        """Until nothing moves any more."""
        self._thread.join(self.LIMIT_SECONDS)

    def _run(self) -> None:
        self._socket.settimeout(self.STALL_SECONDS)
        try:
            while self.sent < len(self._octets):
                self.sent += self._socket.send(self._octets[self.sent : self.sent + 65_536])
        except TimeoutError:
            return
        except OSError:
            self.was_closed = True


def is_fooled(sequence: bytes) -> bool:
    """Whether the deliberately vulnerable server takes an attack for two messages; our client and count, its parser."""

    async def attack() -> bool:
        async with VulnerableServer() as server:
            endpoint = await server.start()
            replies = await asyncio.to_thread(_attack_blindly, endpoint.port, sequence)
            return len(server.messages) > 1 and count_stored(replies) > 1

    return asyncio.run(attack())


def _attack_blindly(port: int, sequence: bytes) -> bytes:
    with Dialogue(port, seconds=5.0) as client:
        client.command(b"EHLO attacker.test", 250)
        client.command(b"MAIL FROM:<" + ATTACKER + b">", 250)
        client.command(b"RCPT TO:<" + VICTIM + b">", 250)
        client.command(b"DATA", 354)
        client.send(attack_stream(sequence) + b"QUIT\r\n")
        return b"354 \r\n" + client.rest(2.0)


def allow_open_files(count: int) -> None:
    """Raise our own limit on open files; the server has raised its own, or has not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count:
        raise MissingProgramError(f"the hard limit of open files is {hard}, {count} are needed (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
