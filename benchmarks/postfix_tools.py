"""Postfix's test programs: ``smtp-source`` makes mail, ``smtp-sink`` takes it and counts.

How mail is counted: ``smtp-sink -c`` writes its counters at every final dot that it has received; they go to a file, of which the last line
is read every few milliseconds. So the time of "the sink has all messages" is exact to that interval, costs every server under measurement
the same, and does not wait for sessions to end.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple

from benchmarks.cpu import TreeClock
from benchmarks.processes import (
    LOOPBACK,
    ProgramFaultError,
    accepts_connections,
    find_program,
    free_port,
    start,
    stop,
    wait_until,
)

#: What smtp-sink prints with -c, each time over the last.
COUNTERS: Final = re.compile(rb"sess=(\d+) quit=(\d+) mesg=(\d+)\r")
POLL_SECONDS: Final = 0.005
SENDER: Final = "sender@source.test"


class Stream(NamedTuple):
    """What one smtp-source process sends: to one domain, in so many sessions at once."""

    domain: str
    sessions: int
    messages: int


def streams(messages: int, sessions: int = 20, domains: int = 8) -> list[Stream]:
    """Share messages and sessions out over d1.test, d2.test ...: each domain gets its part, the first ones one more where it does not divide."""
    return [
        Stream(
            domain=f"d{index + 1}.test",
            sessions=sessions // domains + (index < sessions % domains),
            messages=messages // domains + (index < messages % domains),
        )
        for index in range(domains)
    ]


def source_command(
    port: int,
    stream: Stream,
    *,
    size: int = 10_240,
    file: Path | None = None,
    reuse: bool = True,
    numbered: bool = False,
) -> list[str]:
    """The smtp-source command of a stream: mail of ``size`` octets, or of a ``file``'s lines; ``numbered`` gives each its own recipient."""
    command = [find_program("smtp-source"), "-4", "-s", str(stream.sessions), "-m", str(stream.messages)]
    command += ["-f", SENDER, "-t", f"user@{stream.domain}", "-M", "source.test"]
    command += ["-F", str(file)] if file else ["-l", str(size)]
    command += ["-d"] if reuse else []
    command += ["-N"] if numbered else []
    return [*command, f"{LOOPBACK}:{port}"]


def start_sources(commands: Iterable[Sequence[str]], log: Path) -> list[subprocess.Popen[bytes]]:
    """Start smtp-source processes side by side; what they complain about goes to ``log``."""
    with log.open("ab") as stderr:
        return [start(command, stderr=stderr) for command in commands]


def finish_sources(sources: Sequence[subprocess.Popen[bytes]], log: Path, seconds: float) -> None:
    """Wait until all have ended; ProgramFaultError, with their own words, if one failed (smtp-source stops at any negative reply)."""
    deadline = time.monotonic() + seconds
    try:
        for source in sources:
            source.wait(max(deadline - time.monotonic(), 0.01))
    except subprocess.TimeoutExpired as late:
        raise ProgramFaultError(
            f"smtp-source did not finish within {seconds:g} s\n{log.read_text()}"
        ) from late
    finally:
        for source in sources:
            stop(source)
    if failed := [source.returncode for source in sources if source.returncode]:
        raise ProgramFaultError(
            f"smtp-source failed ({len(failed)} of {len(sources)}): {log.read_text().strip()[-500:]}"
        )


class Sink:
    """A running smtp-sink, as a context. With ``dump`` it writes every message to a file of its own in that folder.

    ``folder`` is where it may leave its counters; it must be a folder that an unprivileged user may enter, for smtp-sink refuses to be root.
    """

    def __init__(self, folder: Path, *, dump: Path | None = None, options: Sequence[str] = ()) -> None:
        self.port = free_port()
        self._counters = folder / f"smtp-sink-{self.port}.counters"
        self._dump = dump
        self._options = list(options)

    def __enter__(self) -> Sink:
        command = [find_program("smtp-sink"), "-4", "-c", "-m", "2000", "-h", "sink.test", *self._options]
        if self._dump is not None:
            self._dump.mkdir(exist_ok=True)
            self._dump.chmod(0o777)
            command += ["-d", f"{self._dump}/message."]
        command += [f"{LOOPBACK}:{self.port}", "1024"]
        with self._counters.open("wb") as counters:
            self._process = start(command, stdout=counters, user="nobody")
        try:
            wait_until(lambda: accepts_connections(self.port), 10.0, "smtp-sink to listen", self._process)
        except BaseException:
            stop(self._process)
            raise
        self._file = self._counters.open("rb")
        self.clock = TreeClock(self._process.pid)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stop(self._process)
        self._file.close()
        self._counters.unlink(missing_ok=True)

    def count(self) -> int:
        """How many final dots have arrived since the sink began."""
        end = self._file.seek(0, 2)
        self._file.seek(max(0, end - 256))
        counters = COUNTERS.findall(self._file.read())
        return int(counters[-1][2]) if counters else 0

    def wait_for(
        self, count: int, seconds: float, is_hopeless: Callable[[], str | None] = lambda: None
    ) -> float:
        """When ``count`` messages have arrived, on the monotonic clock; ProgramFaultError at the deadline or when told why it is hopeless."""
        deadline = time.monotonic() + seconds
        while True:
            arrived = self.count()
            now = time.monotonic()
            if arrived >= count:
                return now
            if reason := is_hopeless():
                raise ProgramFaultError(f"{count - arrived} of the awaited messages never came: {reason}")
            if now > deadline:
                raise ProgramFaultError(
                    f"{count - arrived} of the awaited messages did not come within {seconds:g} s"
                )
            time.sleep(POLL_SECONDS)


class Dumped(NamedTuple):
    """A message as smtp-sink wrote it down: the client's words, and the message with line ends as LF."""

    helo: str
    mail: str
    recipients: tuple[str, ...]
    message: bytes


def read_dump(folder: Path) -> list[Dumped]:
    """Every message of a dump folder. Its headers and the empty line at the end are the sink's own (smtp-sink(1), DUMP FILE FORMAT)."""
    return [_parse_dump(path.read_bytes()) for path in sorted(folder.iterdir())]


def _parse_dump(dump: bytes) -> Dumped:
    head, received, rest = dump.partition(b"Received: from ")
    values: dict[str, list[str]] = {}
    for line in head.decode().splitlines():
        name, _, value = line.partition(": ")
        values.setdefault(name, []).append(value)
    if not received or rest.count(b"\n") < 4:
        raise ProgramFaultError(f"smtp-sink wrote a dump that is none: {dump[:200]!r}")
    message = rest.split(b"\n", 3)[3].removesuffix(b"\n")
    return Dumped(
        helo=values.get("X-Helo-Args", [""])[0],
        mail=values["X-Mail-Args"][0],
        recipients=tuple(values.get("X-Rcpt-Args", [])),
        message=message,
    )
