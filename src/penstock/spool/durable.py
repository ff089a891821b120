"""The spool of a running server: the log on the operating system's files, with a helper that syncs and threads that read."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from penstock.mail.duration import Seconds
from penstock.mail.ids import IdSource
from penstock.mail.ports import Clock, OnStored
from penstock.spool.files import File
from penstock.spool.log import SpoolLog, SpoolOptions
from penstock.spool.os_files import OsFiles
from penstock.spool.reading import Threads
from penstock.spool.segment import SEGMENT_SIZE
from penstock.spool.syncer import Done, HelperSyncer

#: A file system has room for so many segments at least: on a small one they are smaller.
_SEGMENTS_THAT_FIT: Final = 64
_SMALLEST_SEGMENT: Final = 1024 * 1024


class NoSyncer:
    """The Syncer of ``durability = "os"``: what the system has been given counts as stored. A power cut loses it, a crash of ours does not."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        """See Syncer."""

    def sync(self, files: Sequence[File], done: Done) -> None:
        """See Syncer."""
        self._loop.call_soon(done, None)

    async def close(self) -> None:
        """Nothing is under way."""


class DurableSpool:
    """``log`` is the spool. Made on a running loop; the folder ``root`` is made if it is missing. FileError if it cannot be."""

    def __init__(
        self, root: Path, clock: Clock, ids: IdSource, on_stored: OnStored, options: SpoolOptions
    ) -> None:
        self._files = OsFiles(root)
        self._syncer = NoSyncer() if options.durability == "os" else HelperSyncer(clock)
        _, size, _, _ = self._files.free()
        fitting = min(SEGMENT_SIZE, max(_SMALLEST_SEGMENT, size // _SEGMENTS_THAT_FIT))
        self.log = SpoolLog(
            self._files,
            self._syncer,
            asyncio.get_running_loop(),
            Threads(),
            clock,
            ids,
            lambda: secrets.randbits(32),
            on_stored,
            msgspec.structs.replace(options, segment_size=min(options.segment_size, fitting)),
        )

    def open(self) -> None:
        """Take the spool: new mail can be stored from now on. FileError, NewerFormat; the spool is closed then."""
        try:
            self.log.open()
        except BaseException:
            self._files.close()
            raise

    async def close(self, grace: Seconds) -> None:
        """Wait until everything is stored, within ``grace`` seconds, then end, and let others have the spool."""
        await self.log.close(grace)
        await self._syncer.close()
        self._files.close()
