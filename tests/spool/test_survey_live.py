"""A look at a spool in which the server is at work: mail that waits all the while is seen once, mail that was settled before is not."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest

from penstock.mail.duration import Seconds
from penstock.mail.ids import IdSource
from penstock.mail.records import MessageRecord, Verdict
from penstock.net.clock import SystemClock
from penstock.spool.codec import INLINE_LIMIT
from penstock.spool.durable import DurableSpool
from penstock.spool.files import File
from penstock.spool.inspection.access import examine_access
from penstock.spool.inspection.examination import examine
from penstock.spool.inspection.read_only import ReadOnlyFiles, Tree
from penstock.spool.inspection.stored import Gone, StoredReader
from penstock.spool.inspection.view import View, look
from penstock.spool.log import SpoolOptions
from tests.spool import samples
from tests.spool.bench import Bench


class Server:
    """A server that takes mail, delivers some, defers some, and goes on whenever its files are touched by others."""

    def __init__(self, seed: int) -> None:
        self.bench = Bench()
        self._random = random.Random(seed)
        self._number = 0
        self.waiting: dict[str, MessageRecord] = {}
        self.settled: set[str] = set()

    def work(self) -> None:
        """One thing happens, and is on the disk."""
        draw = self._random.random()
        if len(self.waiting) < 6 or (draw < 0.5 and len(self.waiting) < 20):
            self._number += 1
            size = INLINE_LIMIT + 1 if draw < 0.02 else self._random.randrange(3000)
            record = samples.message(self._number, content=b"x" * size)
            self.bench.store(record)
            self.bench.settle()
            self.waiting[record.id] = record
        else:
            # the first of them stay, and have to be copied forward again and again; a large one goes at once, for while it waits the log
            # may grow by twice its size, and nothing is copied
            large = [item for item in self.waiting.values() if len(item.content) > INLINE_LIMIT]
            record = self._random.choice(large or list(self.waiting.values())[5:])
            is_last = draw < 0.95
            verdict = Verdict.ACCEPTED if is_last else Verdict.DEFERRED
            due = None if is_last else 2e9
            attempt = samples.attempt(record, 1, (0, verdict), due=due)
            self.bench.spool.record_attempt(self.bench.position_of(record), attempt)
            if is_last:
                del self.waiting[record.id]
                self.settled.add(record.id)
            self.bench.loop.advance(0.1)
            self.bench.settle()
        self.bench.spool.events_written(self.bench.position)
        self.bench.settle()


class Working:
    """The server's files; with each look at one the server goes on."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def open(self, path: str) -> File:
        """See Tree."""
        self._server.work()
        return self._server.bench.files.open(path)

    def names(self, folder: str = "") -> list[str]:
        """See Tree."""
        self._server.work()
        return self._server.bench.files.names(folder)


def ids(tree: Tree, view: View) -> Counter[str]:
    """How often each message was seen; those whose segment has gone since are looked for again."""
    found: Counter[str] = Counter()
    reader = StoredReader(tree, {item.identity.number: item.identity for item in view.segments})
    for row in view.queued:
        try:
            found[reader.envelope(view.queued.place(row)).record.id] += 1
        except Gone:
            again = look(tree)
            place = again.find(view.queued.place(row))
            if place is not None and again.queued.waiting[place]:
                with_it = StoredReader(tree, {item.identity.number: item.identity for item in again.segments})
                found[with_it.envelope(again.queued.place(place)).record.id] += 1
                with_it.close()
    reader.close()
    return found


@pytest.mark.parametrize("seed", range(8))
def test_what_waits_all_the_while_is_seen_once(seed: int) -> None:
    """While segments are filled, sealed, copied from and removed between any two calls."""
    server = Server(seed)
    for _ in range(150):
        server.work()
    tree = Working(server)
    for _ in range(5):
        before, settled = set(server.waiting), set(server.settled)
        view = look(tree)
        after = set(server.waiting)
        seen = ids(server.bench.files, view)
        assert before & after <= set(seen)
        assert max(seen.values()) == 1
        assert not settled & set(seen)
    assert server.bench.spool.counts.removed_segments > 10


def test_a_spool_at_work_is_whole(tmp_path: Path) -> None:
    """An examination of copies of it, made between any two events, finds no damage."""
    server = Server(99)
    for number in range(30):
        for _ in range(8):
            server.work()
        root = tmp_path / str(number)
        _save(server, root)
        tree = ReadOnlyFiles(root)
        found = examine(tree, lambda *_: None)
        tree.close()
        assert [item for item in found.findings if item.is_damage] == []
        assert found.is_complete
        assert found.messages == len(server.waiting)
    assert server.bench.spool.counts.removed_segments > 5


def _save(server: Server, root: Path) -> None:
    files = server.bench.files
    root.mkdir(mode=0o700)
    for folder in ("segments", "bodies"):
        (root / folder).mkdir(mode=0o700)
        for name in files.names(folder):
            file = files.open(f"{folder}/{name}")
            (root / folder / name).write_bytes(file.read(file.size(), 0))
            (root / folder / name).chmod(0o600)
            file.close()


def test_nothing_of_a_spool_that_was_served_is_foreign(tmp_path: Path) -> None:
    """What every server leaves, its note of the time too, is the spool's own."""

    async def serve() -> None:
        spool = DurableSpool(
            tmp_path, SystemClock(), IdSource(1), lambda _records, _position: None, SpoolOptions()
        )
        spool.open()
        await spool.log.recover(lambda _: None)
        await spool.close(Seconds(5.0))

    asyncio.run(serve())
    assert (tmp_path / "clock").exists()
    tree = ReadOnlyFiles(tmp_path)
    assert not list(examine_access(tree))
    tree.close()
