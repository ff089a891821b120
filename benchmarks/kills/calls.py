"""Traces of strace read, the calls in them counted as strace counts for its ``when``, and those chosen that are to go wrong.

A trace is of one process of the server, its threads, and the sync helper of a worker. strace counts each kind of call for itself in each
of them (strace(1), ``-e inject``), reads and writes of anything included, so a call is named by whose it is, its kind and its number. A later
run is not the same to the call: what has the same number may be its neighbour, or not of the same sort, such as a write to a socket.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from benchmarks.roles import SCRIBE, SUPERVISOR, WORKER

#: Whose calls are traced, each in runs of its own.
ROLES: Final = (WORKER, SUPERVISOR, SCRIBE)
#: Calls that change what is on a disk, or put it there.
STORAGE: Final = (
    *(
        "openat",
        "write",
        "writev",
        "pwrite64",
        "pwritev",
        "pwritev2",
        "fallocate",
        "ftruncate",
        "fdatasync",
        "fsync",
    ),
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "link", "linkat", "rmdir"),
)
NETWORK: Final = (
    *(
        "accept4",
        "connect",
        "read",
        "readv",
        "recvfrom",
        "recvmsg",
        "write",
        "writev",
        "sendto",
        "sendmsg",
        "shutdown",
    ),
    *("epoll_wait", "epoll_pwait", "epoll_pwait2"),
)
#: The errors that each kind of call may have (hostile.md D3); "0" is a call that says it wrote nothing, and did not.
_FULL: Final = ("EIO", "ENOSPC", "EDQUOT")
ERRORS: Final[dict[str, tuple[str, ...]]] = {
    "openat": ("EMFILE", "ENOSPC", "EIO", "EDQUOT"),
    **dict.fromkeys(("write", "writev", "pwrite64", "pwritev", "pwritev2"), (*_FULL, "0")),
    **dict.fromkeys(("fallocate", "fdatasync", "fsync", "mkdir", "mkdirat", "link", "linkat"), _FULL),
    **dict.fromkeys(("rename", "renameat", "renameat2"), ("EIO", "ENOSPC")),
    **dict.fromkeys(("ftruncate", "unlink", "unlinkat", "rmdir"), ("EIO",)),
}

# "1234 pwritev2(5</data/x>, [...], 1, 64, 0) = 20"; a call that another process interrupts ends in "<unfinished ...>" and goes on in a
# line of its own, "1234 <... pwritev2 resumed>) = 20"
_ENTRY = re.compile(r"(\d+) +(\w+)\((.*)")
_SOCKET = re.compile(r"\d+<(socket:\[|UNIX|TCP)")
_SYNCS: Final = ("fdatasync", "fsync")


class Call(NamedTuple):
    """A call in a trace: ``number`` counts those of its kind in its process from 1; ``process`` is 0 for the one traced from the start."""

    process: int
    kind: str
    number: int
    arguments: str

    @property
    def was_made(self) -> bool:
        """Whether strace held it and let it go again."""
        return self.arguments.endswith("(DELAYED)")


class Point(NamedTuple):
    """A call that something is to happen to. ``what`` says what it was about in the run in which it was found; ``role`` is whose it is."""

    kind: str
    number: int
    what: str
    role: str = WORKER

    def __str__(self) -> str:
        return f"{self.kind} number {self.number} of the {self.role} ({self.what})"


class Tracer:
    """Reads a trace as it grows."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._rest = ""
        self._has_begun = False
        self._processes: dict[str, int] = {}
        self._counts: dict[tuple[int, str], int] = {}

    def feed(self, text: str) -> None:
        """More of the trace. A call is counted as soon as its line has begun: a call that is held has no end."""
        lines = (self._rest + text).split("\n")
        for line in lines[:-1]:
            self._line(line, is_whole=True)
        self._rest = lines[-1]
        self._line(self._rest, is_whole=False)

    def first(self, kind: str, number: int, is_wanted: Callable[[Call], bool], seen: int = 0) -> Call | None:
        """The first call of this kind with this number or a later one that is wanted; None if there is none yet.

        The first ``seen`` calls are known not to be it.
        """
        for call in itertools.islice(self.calls, seen, None):
            if call.kind == kind and call.number >= number and is_wanted(call):
                return call
        return None

    @classmethod
    def of(cls, text: str) -> Tracer:
        """A trace that is over."""
        tracer = cls()
        tracer.feed(text)
        return tracer

    def _line(self, line: str, *, is_whole: bool) -> None:
        entry = _ENTRY.match(line)
        if entry is not None and self._has_begun:
            self.calls[-1] = self.calls[-1]._replace(arguments=entry[3])
        elif entry is not None:
            self._enter(entry[1], entry[2], entry[3])
        self._has_begun = entry is not None and not is_whole

    def _enter(self, pid: str, kind: str, arguments: str) -> None:
        process = self._processes.setdefault(pid, len(self._processes))
        number = self._counts.get((process, kind), 0) + 1
        self._counts[process, kind] = number
        self.calls.append(Call(process, kind, number, arguments))


def storage_points(calls: Iterable[Call], data: str, role: str = WORKER) -> list[Point]:
    """The calls of a role that change what is under ``data``, or sync anything, in order."""
    return _points(calls, lambda call: is_storage(call, data), lambda call: _place(call, data), role)


def network_points(calls: Iterable[Call], role: str = WORKER) -> list[Point]:
    """The calls of a role on sockets, and the waiting for them, in order."""
    return _points(calls, is_network, lambda call: "a socket", role)


def _points(
    calls: Iterable[Call], is_wanted: Callable[[Call], bool], what: Callable[[Call], str], role: str
) -> list[Point]:
    """Each kind and number once: where two processes have the same, the one that comes first is the one that is met."""
    found: dict[tuple[str, int], Point] = {}
    seen: set[tuple[str, int]] = set()
    for call in calls:
        key = call.kind, call.number
        if key not in seen and is_wanted(call):
            found[key] = Point(call.kind, call.number, what(call), role)
        seen.add(key)
    return list(found.values())


def is_storage(call: Call, data: str) -> bool:
    """Whether a call changes what is under ``data``, or syncs anything."""
    if call.kind in _SYNCS:
        return True
    if call.kind == "openat" and "O_CREAT" not in call.arguments:
        return False
    return call.kind in STORAGE and data in call.arguments


def is_network(call: Call) -> bool:
    """Whether a call is on a socket, or waits for one."""
    if call.kind in ("read", "readv", "write", "writev"):
        return _SOCKET.match(call.arguments) is not None
    return call.kind in NETWORK


def _place(call: Call, data: str) -> str:
    """What a storage call is about: a folder, for names of files are never the same, and who made it: the loop, or a thread or process beside it."""
    who = "its loop" if call.process == 0 else "a helper"
    _, found, below = call.arguments.partition(data + "/")
    if not found:
        return f"a folder above, by {who}"
    path = re.split(r'[>"]', below)[0]
    folder, _, name = path.rpartition("/")
    return f"{folder if folder and '.' in name else path}, by {who}"


def chosen(points: Sequence[Point], count: int) -> list[Point]:
    """``count`` of the points, or all: one of each role, kind and place, and of the rest each n-th, in their order.

    More than ``count`` if there are more kinds and places.
    """
    keys = [[(point.role, point.kind, point.what)] for point in points]
    return [points[index] for index in _spread(keys, count)]


def failures(points: Sequence[Point], count: int | None = None) -> list[tuple[Point, str]]:
    """Calls with the errors that they may have: all, or ``count`` as in ``chosen``: each kind of call with each of its errors and in each place."""
    every = [(point, error) for point in points for error in ERRORS.get(point.kind, ())]
    if count is None:
        return every
    keys = [
        [(point.role, point.kind, point.what), (point.role, point.kind, f"fails with {error}")]
        for point, error in every
    ]
    return [every[index] for index in _spread(keys, count)]


def _spread(keys: Sequence[Sequence[tuple[str, str, str]]], count: int) -> list[int]:
    """Indices of ``keys``: one from the midst of those that share a key, for each key, and of the rest each n-th."""
    groups: dict[tuple[str, str, str], list[int]] = {}
    for index, names in enumerate(keys):
        for name in names:
            groups.setdefault(name, []).append(index)
    taken = {group[len(group) // 2] for group in groups.values()}
    rest = [index for index in range(len(keys)) if index not in taken]
    wanted = min(len(rest), max(0, count - len(taken)))
    return sorted(taken.union(rest[step * len(rest) // wanted] for step in range(wanted)))


def drawn(points: Sequence[Point], count: int, draw: random.Random) -> list[Point]:
    """``count`` points by chance, each kind as likely as the others; none twice."""
    kinds: dict[str, list[Point]] = {}
    for point in points:
        kinds.setdefault(point.kind, []).append(point)
    found: list[Point] = []
    while kinds and len(found) < count:
        kind = draw.choice(sorted(kinds))
        found.append(kinds[kind].pop(draw.randrange(len(kinds[kind]))))
        if not kinds[kind]:
            del kinds[kind]
    return found
