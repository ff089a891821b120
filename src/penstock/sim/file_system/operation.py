"""What is done to a simulated disk, step by step."""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec


class Operation(Enum):
    """The kinds of steps, as messages call them. Closing is none: it changes nothing and cannot fail."""

    CREATE = "create"
    OPEN = "open"
    WRITE = "write"
    READ = "read"
    ALLOCATE = "allocate"
    TRUNCATE = "truncate"
    SYNC = "sync"
    SIZE = "look at"
    LIST = "list"
    MAKE_FOLDER = "make"
    RENAME = "rename"
    REMOVE = "remove"
    SYNC_FOLDER = "sync folder"
    LOCK = "lock"
    FREE = "look at free space of"


#: After these, what a power cut leaves is what it would have left before.
LOOKING: Final = frozenset({Operation.OPEN, Operation.READ, Operation.SIZE, Operation.LIST, Operation.FREE})
SYNCING: Final = frozenset({Operation.SYNC, Operation.SYNC_FOLDER})


class Step(msgspec.Struct, frozen=True):
    """An operation that has been done, or has failed. ``number`` counts from 1."""

    number: int
    operation: Operation
    path: str

    @property
    def is_change(self) -> bool:
        """Whether a power cut after it may leave something else than one before it."""
        return self.operation not in LOOKING


class PowerCut(BaseException):
    """The power is gone; the program that sees this does not exist any more. No Exception, so that nobody handles it."""
