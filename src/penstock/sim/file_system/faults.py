"""Errors that are injected into operations, and switches that make the disk lie about what it stored."""

from __future__ import annotations

from enum import Enum
from fnmatch import fnmatchcase

import msgspec

from penstock.sim.file_system.operation import Operation


class FailedSync(Enum):
    """What has become of what was written once a sync has failed."""

    MARKED_CLEAN = "readable, but never stored: a later sync succeeds without it (ext4)"
    DROPPED = "gone at once: reading gives what is on the disk"
    KEPT = "a later sync stores it"


class Fault(msgspec.Struct, frozen=True):
    """Make operations of a kind fail, on paths that match the pattern: from the ``at``-th on (counted from when this is added, from 1), so
    many ``times`` (None: for ever).

    Of a write, the first ``written`` octets go in before. With ``takes_effect`` all is done, and the error told afterwards.
    """

    operation: Operation
    errno: int
    at: int = 1
    times: int | None = 1
    path: str = "*"
    written: int = 0
    takes_effect: bool = False


class Faults:
    """Those that have been asked for, and how often each has been met."""

    def __init__(self) -> None:
        self._met: list[tuple[Fault, list[int]]] = []

    def add(self, fault: Fault) -> None:
        """From now on."""
        self._met.append((fault, [0]))

    def clear(self) -> None:
        """No faults any more."""
        self._met.clear()

    def due(self, operation: Operation, path: str) -> Fault | None:
        """The fault that this operation meets; None if it goes well. Each operation is asked about once."""
        found = None
        for fault, count in self._met:
            if fault.operation is operation and fnmatchcase(path, fault.path):
                count[0] += 1
                is_due = count[0] >= fault.at and (fault.times is None or count[0] < fault.at + fault.times)
                found = found or (fault if is_due else None)
        return found


class Switches(msgspec.Struct, frozen=True):
    """Named lies, each as if the program had left something out: a campaign that stays green under one of them has not tested it.

    Patterns are of paths, as a shell's; a folder's is ``""`` for the root.
    """

    #: no sync of a file does anything
    ignores_sync: bool = False
    #: no sync of a folder does anything
    ignores_folder_sync: bool = False
    #: syncs of files whose paths match do nothing
    ignores_sync_of: tuple[str, ...] = ()
    #: syncs of folders whose paths match do nothing
    ignores_folder_sync_of: tuple[str, ...] = ()
    #: the syncer syncs only the first of the files that it is given
    sync_only_first_file: bool = False
    #: the syncer syncs only the last of the files that it is given
    sync_only_last_file: bool = False
    #: the syncer answers before it syncs
    answers_before_sync: bool = False
    #: a sync that failed is told as one that succeeded
    hides_failed_sync: bool = False
    #: truncating does nothing, and says that it did
    ignores_truncate: bool = False
    #: nothing is ever removed, though it says so: names of old are there again after a power cut
    ignores_remove: bool = False

    def is_ignored(self, operation: Operation, path: str) -> bool:
        """Whether this operation is to do nothing and succeed."""
        if operation is Operation.SYNC:
            return self.ignores_sync or any(fnmatchcase(path, pattern) for pattern in self.ignores_sync_of)
        if operation is Operation.SYNC_FOLDER:
            patterns = self.ignores_folder_sync_of
            return self.ignores_folder_sync or any(fnmatchcase(path, pattern) for pattern in patterns)
        return (operation is Operation.TRUNCATE and self.ignores_truncate) or (
            operation is Operation.REMOVE and self.ignores_remove
        )
