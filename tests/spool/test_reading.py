"""Reading back from the operating system's files, at once and in the background."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from penstock.mail.duration import Seconds
from penstock.mail.ids import IdSource
from penstock.mail.ports import LogPosition, SpoolError
from penstock.mail.records import MessageRecord, SpoolRecord, StoredMessage
from penstock.net.clock import SystemClock
from penstock.spool.codec import INLINE_LIMIT
from penstock.spool.durable import DurableSpool
from penstock.spool.log import SpoolOptions
from penstock.spool.os_files import OsFile, OsFiles
from tests.spool import samples


def test_what_is_in_memory_is_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``read`` gives it, also at the end of the file; what would be waited for is None; where the system cannot say, it is read."""
    files = OsFiles(tmp_path / "spool")
    file = files.create("a")
    file.write([b"0123456789"], 0)
    file.prefetch(10, 0)
    assert file.read_now(4, 3) == b"3456"
    assert file.read_now(40, 8) == b"89"
    assert file.read_now(4, 100) == b""

    def refuse(number: int) -> None:
        def fail(*_: object) -> int:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("penstock.spool.os_files.os.preadv", fail)

    refuse(errno.EAGAIN)
    assert file.read_now(4, 3) is None
    refuse(errno.EOPNOTSUPP)
    assert file.read_now(4, 3) == b"3456"
    file.close()
    files.close()


def test_mail_is_fetched_while_the_loop_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the next process nothing is in memory: small and large messages come back from a real disk, through the thread."""
    small = samples.message(1, content=b"s" * 5000)
    large = samples.message(2, content=b"l" * (INLINE_LIMIT + 5))

    def opened() -> DurableSpool:
        def on_stored(_records: Sequence[SpoolRecord], position: LogPosition) -> None:
            spool.log.events_written(position)

        spool = DurableSpool(tmp_path / "spool", SystemClock(), IdSource(1), on_stored, SpoolOptions())
        spool.open()
        return spool

    async def store() -> None:
        spool = opened()
        await spool.log.recover(lambda _: None)
        stored: list[asyncio.Future[Sequence[int]]] = []
        for record in (small, large):
            future: asyncio.Future[Sequence[int]] = asyncio.get_running_loop().create_future()

            def done(
                positions: Sequence[int],
                fault: SpoolError | None,
                future: asyncio.Future[Sequence[int]] = future,
            ) -> None:
                assert fault is None
                future.set_result(positions)

            spool.log.store([record], done)
            stored.append(future)
        await asyncio.gather(*stored)
        await spool.close(Seconds(5.0))

    async def fetch() -> list[StoredMessage | SpoolError]:
        spool = opened()
        positions: list[int] = []
        await spool.log.recover(lambda queued: positions.extend([item.position for item in queued]))
        monkeypatch.setattr(OsFile, "read_now", lambda *_: None)
        found: list[asyncio.Future[StoredMessage | SpoolError]] = []
        for position in positions:
            assert spool.log.get(position) is None
            future: asyncio.Future[StoredMessage | SpoolError] = asyncio.get_running_loop().create_future()
            spool.log.fetch(position, future.set_result)
            found.append(future)
        messages = await asyncio.gather(*found)
        await spool.close(Seconds(5.0))
        return list(messages)

    asyncio.run(store())
    expected: list[MessageRecord] = [small, large]
    assert asyncio.run(fetch()) == [StoredMessage(record, (0,), 0) for record in expected]
