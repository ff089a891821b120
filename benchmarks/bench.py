"""The measuring of relay-2: a sink, servers before it, and legs of mail through one server at a time.

A leg lasts from the start of the first smtp-source process until smtp-sink has counted the last message's final dot. CPU time is read before,
and again when the server has come to rest, so work that it puts off (a log, a queue file to remove) counts too.
"""

from __future__ import annotations

import contextlib
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.cpu import TICK, TreeClock, settled
from benchmarks.postfix import Postfix
from benchmarks.postfix_tools import Sink, finish_sources, source_command, start_sources, streams
from benchmarks.processes import ProgramFaultError, wait_until
from benchmarks.product import Penstock

#: Messages of the leg that warms a server up and tells how many a measured leg needs.
WARM_UP: Final = 2000
LEAST_MESSAGES: Final = 800
LEG_LIMIT_SECONDS: Final = 120.0
MEMORY_FOLDER: Final = Path("/dev/shm")


class Load(NamedTuple):
    """The mail of a leg: octets of a body, sessions in all, and whether a session carries more than one message; one smtp-source for each domain.

    With ``files``, messages to send as they are, the sources take them in turn.
    """

    size: int = 10_240
    sessions: int = 20
    reuse: bool = True
    domains: int = 8
    files: tuple[Path, ...] = ()

    def commands(self, port: int, messages: int) -> list[list[str]]:
        """The smtp-source commands that send so many messages to a port."""
        found = []
        for number, part in enumerate(streams(messages, self.sessions, self.domains)):
            file = self.files[number % len(self.files)] if self.files else None
            found.append(source_command(port, part, size=self.size, file=file, reuse=self.reuse))
        return found


class Server(NamedTuple):
    """What a leg is sent to."""

    name: str
    port: int
    clock: TreeClock


class Leg(NamedTuple):
    """One measurement: CPU seconds of the server, the sink and the smtp-source processes, and of everything else on the machine."""

    messages: int
    seconds: float
    server_cpu: float
    sink_cpu: float
    source_cpu: float
    foreign_cpu: float

    @property
    def rate(self) -> float:
        """Messages per second."""
        return self.messages / self.seconds

    @property
    def microseconds(self) -> float:
        """CPU time of the server per message."""
        return self.server_cpu / self.messages * 1e6


class Bench:
    """A sink, a folder, and the servers between the two, all stopped when the context ends."""

    def __init__(self, folder: Path, sink: Sink, load: Load) -> None:
        self.folder = folder
        self.sink = sink
        self._load = load
        self._log = folder / "smtp-source.log"

    @classmethod
    @contextlib.contextmanager
    def open(cls, load: Load) -> Iterator[Bench]:
        """A bench in a temporary folder."""
        with tempfile.TemporaryDirectory(prefix="penstock-relay-2-") as name:
            folder = Path(name)
            folder.chmod(0o755)  # smtp-sink runs as nobody, Postfix's processes as postfix
            with Sink(folder) as sink:
                yield cls(folder, sink, load)

    def use(self, load: Load) -> None:
        """Send this mail from now on."""
        self._load = load

    def servers(self, context: contextlib.ExitStack) -> list[Server]:
        """Start everything that is compared: no server at all, Penstock, Postfix as it comes, and Postfix with nothing to sync."""
        penstock = context.enter_context(Penstock(self.folder / "penstock", self.sink.port))
        servers = [
            Server("straight", self.sink.port, self.sink.clock),
            Server("penstock", penstock.port, penstock.clock),
        ]
        folder = self.folder / "postfix"
        folder.mkdir()
        postfix = context.enter_context(Postfix(folder, self.sink.port))
        servers.append(Server("postfix", postfix.port, postfix.clock))
        if MEMORY_FOLDER.is_dir():
            name = context.enter_context(
                tempfile.TemporaryDirectory(prefix="penstock-relay-2-", dir=MEMORY_FOLDER)
            )
            postfix = context.enter_context(Postfix(Path(name), self.sink.port))
            servers.append(Server("postfix-mem", postfix.port, postfix.clock))
        return servers

    def messages_for(self, server: Server, seconds: float) -> int:
        """How many messages last so long; warms the server up to find out."""
        return max(LEAST_MESSAGES, int(self.leg(server, WARM_UP).rate * seconds))

    def leg(self, server: Server, messages: int) -> Leg:
        """Send messages through a server and measure. ProgramFaultError if one is lost, late, or comes twice."""
        commands = self._load.commands(server.port, messages)
        before = self.sink.count()
        clocks = _Clocks(server.clock, self.sink.clock)
        began = time.monotonic()
        try:
            sources = start_sources(commands, self._log)
            try:
                ended = self.sink.wait_for(before + messages, LEG_LIMIT_SECONDS, lambda: _failure(sources))
            finally:
                finish_sources(sources, self._log, 20.0)
            settled(server.clock)
            wait_until(lambda: self.sink.count() == before + messages, 1.0, "every message once")
        except ProgramFaultError as fault:
            raise ProgramFaultError(f"{messages} messages through {server.name}: {fault}") from fault
        return Leg(messages, ended - began, *clocks.since())


class _Clocks:
    """CPU seconds of all sides, from when this is made."""

    def __init__(self, server: TreeClock, sink: TreeClock) -> None:
        self._server = server
        self._sink = sink
        self._before = self._read()

    def since(self) -> tuple[float, float, float, float]:
        """Seconds of the server, the sink, the smtp-source processes, and everything else (if the server is the sink, it counts once)."""
        server, sink, source, own, machine = (
            now - before for now, before in zip(self._read(), self._before, strict=True)
        )
        known = server + source + own + (sink if self._sink is not self._server else 0.0)
        return server, sink, source, max(0.0, machine - known)

    def _read(self) -> tuple[float, float, float, float, float]:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        with Path("/proc/stat").open() as stat:
            # user, nice, system, idle, iowait, irq, softirq, steal (proc(5)); what is neither idle nor stolen is work
            ticks = [int(field) for field in stat.readline().split()[1:9]]
        machine = (sum(ticks) - ticks[3] - ticks[4] - ticks[7]) * TICK
        return (
            self._server.used(),
            self._sink.used(),
            children.ru_utime + children.ru_stime,
            time.process_time(),
            machine,
        )


def file_system(folder: Path) -> str:
    """The type of the file system that a folder is on."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    below = [(len(point), kind) for _, point, kind, *_ in mounts if folder.is_relative_to(point)]
    return max(below)[1]


def _failure(sources: Sequence[subprocess.Popen[bytes]]) -> str | None:
    failed = [source for source in sources if source.poll()]
    return f"{len(failed)} smtp-source processes failed" if failed else None
