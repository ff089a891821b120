"""What a service manager gives and is told: sockets (sd_listen_fds(3)) and states (sd_notify(3)). Without one, nothing happens."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import Final

from penstock.mail.duration import Seconds

#: SD_LISTEN_FDS_START
_FIRST: Final = 3
#: No service has more sockets than this; a number beyond is a mistake.
_MOST: Final = 1000


def given_sockets(environment: MutableMapping[str, str], pid: int) -> list[socket.socket]:
    """The listening sockets that were passed to this process; the variables that say so are taken away, for they are not for its children."""
    count, whose = environment.pop("LISTEN_FDS", ""), environment.pop("LISTEN_PID", "")
    environment.pop("LISTEN_FDNAMES", None)
    if whose != str(pid) or not (count.isascii() and count.isdigit()):
        return []
    found = []
    for descriptor in range(_FIRST, _FIRST + min(int(count), _MOST)):
        os.set_inheritable(descriptor, False)
        given = socket.socket(fileno=descriptor)
        given.setblocking(False)
        found.append(given)
    return found


class ServiceManager:
    """Where states are told: the socket that ``environment`` names."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        self._path = f"\0{path[1:]}" if path.startswith("@") else path
        told = environment.get("WATCHDOG_USEC", "")
        whose = environment.get("WATCHDOG_PID", str(os.getpid()))
        is_ours = told.isascii() and told.isdigit() and whose == str(os.getpid())
        #: how often it wants to hear of us; None if it does not care
        self.watchdog = Seconds(int(told) / 2_000_000) if self._path and is_ours and int(told) else None

    def ready(self) -> None:
        """We are at work, after a start or a reload."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """The configuration is read again."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """We are about to end."""
        self._tell("STOPPING=1")

    def alive(self) -> None:
        """The loop goes round."""
        self._tell("WATCHDOG=1")

    def status(self, text: str) -> None:
        """A line for ``systemctl status``."""
        self._tell(f"STATUS={text}")

    def _tell(self, what: str) -> None:
        if not self._path:
            return
        # a service manager that is not there any more is no reason to fail
        with (
            suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as told,
        ):
            told.setblocking(False)
            told.sendto(what.encode(), self._path)
