"""relay-4: every mistake in the configuration is told, and nothing has listened."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.mistakes import MISTAKES, ROOT, Mistake, root, write
from benchmarks.processes import descendants
from benchmarks.product import penstock_command
from benchmarks.report import Report
from benchmarks.surroundings import SITUATIONS

AT_LEAST: Final = 40
LIMIT_SECONDS: Final = 20.0
WATCH_SECONDS: Final = 0.001
#: How /proc/net/tcp writes the state LISTEN (include/net/tcp_states.h).
LISTEN: Final = "0A"


class Ran(NamedTuple):
    """What a command did. ``status`` is None if it did not end and was killed; ``listened`` has what it listened on at any time."""

    status: int | None
    output: str
    listened: list[str]


def check(report: Report, arguments: Sequence[str]) -> None:
    """At least 40 configuration mistakes, by check and by serve: each told clearly, a non-zero exit, and nothing ever listened.

    ``arguments``: words, to try of the mistakes in files only those with one of them in their names.
    """
    mistakes = [
        mistake for mistake in MISTAKES if not arguments or any(word in mistake.name for word in arguments)
    ]
    report.heading(
        f"{len(mistakes)} mistakes in files, each given to 'penstock check' and to 'penstock serve'"
    )
    began = time.monotonic()
    _claim_controls(report)
    with ThreadPoolExecutor(os.cpu_count()) as several:
        tries = zip(
            mistakes, several.map(lambda mistake: _try(mistake, ("check", "serve")), mistakes), strict=True
        )
        faults = [f"{mistake.name}: {fault}" for mistake, found in tries for fault in found]
    figures = f"{len(mistakes)} mistakes, {2 * len(mistakes)} runs, {time.monotonic() - began:.0f} s"
    report.claim("each told as expected, status not 0, no traceback, nothing listened", not faults, figures)
    for fault in faults:
        report.figure(fault)
    report.heading("Mistakes that show only beside other programs, or on this host")
    tried = len(mistakes)
    for situation in SITUATIONS:
        with situation() as surroundings:
            if isinstance(surroundings, str):
                report.figure(f"left out: {surroundings}")
                continue
            mistake, commands, prefix = surroundings
            faults = _try(mistake, commands, prefix)
            report.claim(f"{mistake.name} ({', '.join(commands)})", not faults, "; ".join(faults))
            tried += 1
    if not arguments:
        report.claim(f"at least {AT_LEAST} mistakes were tried", tried >= AT_LEAST, str(tried))


def _claim_controls(report: Report) -> None:
    """What holds of a configuration without a mistake: otherwise a program that refuses everything would pass."""
    with tempfile.TemporaryDirectory(prefix="penstock-relay-4-") as name:
        right = write(Mistake("none", {ROOT: root()}, ()), Path(name))
        checked = _run([*penstock_command(), "check", "-c", str(right)], Path(name))
        report.claim(
            "control: 'check' finds nothing wrong with a right configuration",
            checked.status == 0,
            checked.output.strip()[:200],
        )
        served = _run([*penstock_command(), "serve", "-c", str(right)], Path(name), is_over=bool)
        report.claim(
            "control: 'serve' is seen to listen on it", bool(served.listened), ", ".join(served.listened)
        )


def _try(mistake: Mistake, commands: Sequence[str], prefix: Sequence[str] = ()) -> list[str]:
    """What is wrong with how each of the commands takes a mistake."""
    faults: list[str] = []
    for command in commands:
        with tempfile.TemporaryDirectory(prefix="penstock-relay-4-") as name:
            folder = Path(name) / "configuration"
            folder.mkdir()
            configuration = write(mistake, folder)
            ran = _run([*prefix, *penstock_command(), command, "-c", str(configuration)], Path(name))
            faults += [f"{command}: {fault}" for fault in _judge(mistake, ran)]
    return faults


def _judge(mistake: Mistake, ran: Ran) -> Iterator[str]:
    if ran.status is None:
        yield f"did not end within {LIMIT_SECONDS:g} s"
    elif ran.status <= 0:
        yield f"status {ran.status}"
    if "Traceback" in ran.output:
        yield f"a traceback: {ran.output[-300:]}"
    if ran.listened:
        yield f"listened on {', '.join(ran.listened)}"
    lines = ran.output.splitlines()
    for fragments in mistake.problems:
        if not any(all(fragment in line for fragment in fragments) for line in lines):
            yield f"no line with {' and '.join(map(repr, fragments))}, but {ran.output[-400:]!r}"


def _run(
    command: Sequence[str], folder: Path, is_over: Callable[[set[str]], bool] = lambda listened: False
) -> Ran:
    """Run a command to its end, or until it has listened enough, and watch where any of its processes listens meanwhile."""
    with (folder / "output").open("w+b") as output:
        before = _listening_sockets().keys()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            start_new_session=True,
        )
        try:
            listened = _watch(process, set(before), is_over)
            status = process.poll()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(LIMIT_SECONDS)
        output.seek(0)
        return Ran(status, output.read().decode("utf-8", "replace"), sorted(listened))


def _watch(
    process: subprocess.Popen[bytes], known: set[str], is_over: Callable[[set[str]], bool]
) -> set[str]:
    """Until the process has ended (or its time is up): the addresses that it, or a process of its, listened on."""
    found: set[str] = set()
    deadline = time.monotonic() + LIMIT_SECONDS
    while process.poll() is None and time.monotonic() < deadline and not is_over(found):
        sockets = _listening_sockets()
        found.update(sockets[inode] for inode in sockets.keys() - known if _has_socket(process.pid, inode))
        known |= sockets.keys()
        time.sleep(WATCH_SECONDS)
    return found


def _listening_sockets() -> dict[str, str]:
    """Inode and address of every TCP socket that listens."""
    sockets: dict[str, str] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(FileNotFoundError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTEN:
                    sockets[fields[9]] = _endpoint(fields[1])
    return sockets


def _endpoint(written: str) -> str:
    """An address and port as people write them, from the kernel's hexadecimal in 32-bit words of the machine's byte order."""
    address, _, port = written.partition(":")
    words = [
        int(address[place : place + 8], 16).to_bytes(4, sys.byteorder) for place in range(0, len(address), 8)
    ]
    return f"{ip_address(b''.join(words))} port {int(port, 16)}"


def _has_socket(pid: int, inode: str) -> bool:
    """Whether a process, or one below it, has this socket open."""
    for member in [pid, *descendants(pid)]:
        with contextlib.suppress(OSError):
            if any(
                str(descriptor.readlink()) == f"socket:[{inode}]"
                for descriptor in Path(f"/proc/{member}/fd").iterdir()
            ):
                return True
    return False
