"""``penstock`` with its spool in memory, to hold the durable one against: ``python -m benchmarks.in_memory serve -c FILE``.

It stands in for ``penstock.spool.durable``; the rest of the program is what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from penstock.cli.app import main
from penstock.mail.configuration import Reserve
from penstock.mail.duration import Seconds
from penstock.mail.ids import IdSource
from penstock.mail.ports import Clock, LogPosition, OnStored
from penstock.mail.records import QueuedMessage, SpoolRecord
from penstock.spool.log import SpoolOptions
from penstock.spool.memory import MemorySpool
from penstock.worker import worker


class Log(MemorySpool):
    """What the worker asks of a durable spool besides; nothing is ever there at a start."""

    synced = LogPosition(0, 0)

    async def recover(self, restored: Callable[[Sequence[QueuedMessage]], None]) -> None:
        """Nothing to recover."""

    def history(self, start: LogPosition) -> Iterator[tuple[SpoolRecord | None, LogPosition]]:
        """Nothing is kept."""
        return iter(())

    def events_written(self, position: LogPosition) -> None:
        """Nothing waits for that."""

    def use_reserve(self, reserve: Reserve) -> None:
        """No disk."""


class Durable:
    """``DurableSpool``, not durable."""

    def __init__(
        self, root: Path, clock: Clock, ids: IdSource, on_stored: OnStored, options: SpoolOptions
    ) -> None:
        self.log = Log(on_stored)

    def open(self) -> None:
        """Nothing to open."""

    async def close(self, grace: Seconds) -> None:
        """Nothing to close."""


if __name__ == "__main__":
    worker.DurableSpool = Durable  # type: ignore[assignment, misc, attr-defined]
    main()
