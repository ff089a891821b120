"""Running a mail server that is not installed: unpacked by ``.ci/peers``, in a view of the file system that has what it expects.

Programs of Debian's packages look for their users in ``/etc/passwd`` and for their folders in ``/var`` and ``/run``, as built. An *enclosure*
is a mount namespace and a process namespace of its own (unshare(1)): in it, those places are a temporary folder's. Outside nothing changes,
and when the enclosure's first process dies, however it does, the kernel ends all others.
"""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Self

from benchmarks.peers.peer import Door, NextHop
from benchmarks.peers.presence import NAMESPACES, check_privilege, unpacked
from benchmarks.processes import (
    ProgramFaultError,
    find_program,
    free_port,
    greets,
    start,
    stop,
    wait_until,
)

#: Where a package's files are, seen from within.
INSIDE: Final = Path("/var/lib/peer")
#: What is a server's own: folders beside its configuration, and where it sees them.
PLACES: Final = {"spool": "/var/spool", "lib": "/var/lib", "run": "/run", "certs": "/etc/ssl/certs"}
#: User and group numbers for an enclosure's users: the end of those that Debian allots package by package (its policy, 9.2.2).
FIRST_NUMBER: Final = 64_900
#: The enclosure's first process: pairs of folder and place up to "--", then the program. It stays, so that its end is everybody's end.
BIND: Final = (
    'while [ "$1" != -- ]; do mount --bind "$1" "$2" || exit 125; shift 2; done; shift; "$@"; exit $?'
)


def enclosed(folder: Path, package: str, users: Sequence[str], argv: Sequence[str]) -> list[str]:
    """The command that runs ``argv`` with ``package`` at INSIDE, and folders of ``folder`` at PLACES.

    ``users`` exist within, each with a group of the same name. To be stopped with SIGKILL: unshare(1) ignores SIGTERM.
    """
    check_privilege()
    mounts: list[str] = []
    for name, place in PLACES.items():
        (folder / name).mkdir(exist_ok=True)
        mounts += [str(folder / name), place]
    (folder / "lib" / INSIDE.name).mkdir()
    mounts += [str(unpacked(package)), str(INSIDE)]
    for name, line in (("passwd", "{0}:x:{1}:{1}::/nonexistent:/usr/sbin/nologin"), ("group", "{0}:x:{1}:")):
        known = (Path("/etc") / name).read_text()
        added = "".join(line.format(user, number) + "\n" for number, user in enumerate(users, FIRST_NUMBER))
        (folder / name).write_text(added + known)
        (folder / name).chmod(0o644)
        mounts += [str(folder / name), f"/etc/{name}"]
    return [find_program("unshare"), *NAMESPACES, "sh", "-c", BIND, "sh", *mounts, "--", *argv]


def number_of(users: Sequence[str], user: str) -> int:
    """The user and group number of one of an enclosure's users."""
    return FIRST_NUMBER + users.index(user)


class EnclosedPeer(ABC):
    """What peers in enclosures share, as ``peer.Peer`` has it: their start, end and output. ``folder`` must be empty."""

    name: ClassVar[str]
    package: ClassVar[str]
    users: ClassVar[tuple[str, ...]]

    def __init__(self, folder: Path, door: Door, hop: NextHop) -> None:
        self.port = free_port()
        self._folder = folder
        self._door = door
        self._hop = hop

    def __enter__(self) -> Self:
        command = enclosed(self._folder, self.package, self.users, self._prepare())
        with (self._folder / "output").open("wb") as output:
            self._process = start(command, stdout=output, stderr=output)
        try:
            wait_until(lambda: greets(self.port), 20.0, f"{self.name} to greet", self._process)
        except BaseException as error:
            self._stop()
            if isinstance(error, ProgramFaultError):
                raise ProgramFaultError(f"{error}\n{self.whole_log()[-2000:]}") from None
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def whole_log(self) -> str:
        """What it has said on its standard output and error."""
        return (self._folder / "output").read_text(errors="replace")

    @abstractmethod
    def _prepare(self) -> list[str]:
        """Write what is to be at PLACES; the program and its arguments, as seen from within."""

    def _stop(self) -> None:
        stop(self._process, first=signal.SIGKILL)
