"""A server of several lanes under load, while something is done to it again and again: what clients, mail and lanes have to say of that."""

from __future__ import annotations

import contextlib
import functools
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.dialogue import Dialogue, DialogueError
from benchmarks.gauges import status
from benchmarks.kills.client import PATIENCE_SECONDS, Client, Unreachable
from benchmarks.kills.journal import Journal
from benchmarks.kills.letters import crowd_letters
from benchmarks.kills.server import Server
from benchmarks.kills.sink import Sink
from benchmarks.processes import ProgramFaultError, wait_until
from penstock.mail.status import LaneStatus, Status

CLIENTS: Final = 4
#: From the sink's 250 to a durable outcome, on a machine with more to do than it can.
WINDOW_SECONDS: Final = 2.0
#: Who has waited for so long to be greeted was in the queue of connections, not in the hands of a process.
WAITING_SECONDS: Final = 0.25
_DRAIN_SECONDS: Final = 120.0
_POLL: Final = 0.05


class Doorbell:
    """A client that connects, is greeted and leaves, all the time: ``refused`` and ``reset`` say when that went wrong."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.rings = 0
        self.refused: list[str] = []
        #: connections that ended before the greeting after they had waited
        self.reset: list[str] = []
        #: those that ended at once: a process had taken them, and was killed
        self.cut = 0
        self.longest = 0.0

    def ring(self) -> None:
        """Once."""
        began = time.monotonic()
        try:
            Dialogue(self._port, PATIENCE_SECONDS).socket.close()
        except DialogueError as error:
            waited = time.monotonic() - began
            if waited > WAITING_SECONDS:
                self.reset.append(f"after {waited:.2f} s: {error}")
            else:
                self.cut += 1
        except OSError as error:
            self.refused.append(str(error))
        self.rings += 1
        self.longest = max(self.longest, time.monotonic() - began)


class Lanes:
    """A server with several workers, as a context, with clients that do not end until ``drain``."""

    def __init__(self, folder: Path, seed: int, *, workers: int = 2, node: str = "") -> None:
        self.journal = Journal(WINDOW_SECONDS)
        self._sink = Sink(self.journal)
        self._folder = folder
        self._node = f"workers = {workers}\n{node}"
        self._draw = random.Random(seed)
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self.doorbell = Doorbell(0)

    def __enter__(self) -> Lanes:
        self._sink.__enter__()
        self._sink.take_all()
        self.server = Server(self._folder, self._sink.port, self._node)
        self.doorbell = Doorbell(self.server.port)
        self.server.start()
        self.server.wait_until_it_greets()
        for number in range(CLIENTS):
            self._start(functools.partial(self._give, number, self._draw.randrange(1 << 32)))
        self._start(self._ring)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self.server.kill()
        self._sink.__exit__(None, None, None)

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work)
        self._threads.append(thread)
        thread.start()

    def _give(self, number: int, seed: int) -> None:
        with Client(self.server.port, self.journal) as client:
            for item in crowd_letters(f"c{number}", random.Random(seed)):
                if self._over.is_set():
                    return
                with contextlib.suppress(Unreachable):
                    client.give(item)

    def _ring(self) -> None:
        while not self._over.wait(0.02):
            self.doorbell.ring()

    def status(self) -> Status | None:
        """What the server says of itself; None while it says nothing."""
        return status(self.server.data)

    def lane(self, name: str) -> LaneStatus | None:
        """What is known of a lane."""
        status = self.status()
        return None if status is None else next((lane for lane in status.lanes if lane.lane == name), None)

    def until_another_is_ready(self, name: str, pid: int | None) -> float:
        """Wait until the lane has another process that is ready; the seconds it took. ProgramFaultError."""
        began = time.monotonic()

        def is_back() -> bool:
            lane = self.lane(name)
            return lane is not None and lane.phase == "ready" and lane.pid not in (None, pid)

        wait_until(is_back, 30.0, f"lane {name} to be back", self.server.process, _POLL)
        return time.monotonic() - began

    def drain(self) -> int:
        """Let clients end and all mail leave; how many recipients are left. ProgramFaultError."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        deadline = time.monotonic() + _DRAIN_SECONDS
        while (queued := self.server.queued()) != 0 or self.journal.waiting():
            if self.server.has_ended() or time.monotonic() > deadline:
                raise ProgramFaultError(f"{queued} recipients are still queued: {self.server.last_words()}")
            time.sleep(_POLL)
        return queued
