"""An upgrade of the program: the supervisor becomes the new one by exec(2), with its process id, its sockets and its children.

What the new program needs to know of the old one is in an environment variable, for its descriptors are the same numbers.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from penstock.cli.rehearsal import Running, command
from penstock.supervisor.process import CHILD

_VARIABLE: Final = "PENSTOCK_SUCCESSION"
#: A configuration is checked within this, a policy's deadline included.
_CHECK_PATIENCE: Final = 60.0
#: Signals that would end a process before it says what they mean to it.
_NOT_NOW: Final = (signal.SIGHUP, signal.SIGUSR2)


class Succession(msgspec.Struct, frozen=True):
    """Descriptors of the control socket, and of the sockets at each address as configured; process ids by lane."""

    control: int
    doors: dict[str, list[int]]
    children: dict[str, int]

    def sockets(self) -> dict[str, list[socket.socket]]:
        """The sockets by address, ours."""
        return {
            address: [socket.socket(fileno=each) for each in group] for address, group in self.doors.items()
        }


def inherited(environment: MutableMapping[str, str]) -> Succession | None:
    """What an earlier program has left us; None if we are the first. Nobody after us sees it."""
    text = environment.pop(_VARIABLE, None)
    if text is None:
        return None
    found = msgspec.json.decode(text, type=Succession)
    for descriptor in (found.control, *(each for group in found.doors.values() for each in group)):
        os.set_inheritable(descriptor, False)
    return found


async def objection(config: Path, running: Running) -> str | None:
    """Why the program as it is now on the disk cannot take over with this configuration; None if nothing is known against it."""
    process = await asyncio.create_subprocess_exec(
        *CHILD,
        *command(config, running),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_CHECK_PATIENCE):
            said, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return f"the check of the configuration takes longer than {_CHECK_PATIENCE:g} s"
    return None if process.returncode == 0 else said.decode(errors="replace").strip()


def succeed(succession: Succession, arguments: Sequence[str]) -> None:
    """Become the new program. OSError; nothing has changed then."""
    kept = (succession.control, *(each for group in succession.doors.values() for each in group))
    for descriptor in kept:
        os.set_inheritable(descriptor, True)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _NOT_NOW}
    environment = {**os.environ, _VARIABLE: msgspec.json.encode(succession).decode()}
    try:
        # S606: it is our own program
        os.execve(sys.executable, [*CHILD, *arguments], environment)  # noqa: S606
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for descriptor in kept:
            os.set_inheritable(descriptor, False)
