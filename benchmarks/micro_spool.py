"""What the spool takes of the processor: messages stored and settled, synced and on a disk, without SMTP. ``python -m benchmarks.micro_spool``."""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import secrets
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from penstock.mail.address import Address
from penstock.mail.duration import Seconds
from penstock.mail.ids import IdSource, MessageId
from penstock.mail.ports import LogPosition, SpoolError
from penstock.mail.queue_name import QueueName
from penstock.mail.records import AttemptRecord, MessageRecord, Outcome, Peer, Reception, SpoolRecord, Verdict
from penstock.mail.reply import reply
from penstock.net.clock import SystemClock
from penstock.spool.durable import DurableSpool
from penstock.spool.log import SpoolOptions

_CONTENT = os.urandom(7500).hex().encode()[:10_000]
_OK = reply(250, "2.0.0", "OK queued as 1234")


async def run(root: Path, messages: int, window: int) -> float:
    """Store and settle; microseconds of this process per message."""
    clock = SystemClock()
    ids = IdSource(secrets.randbits(42))
    stored = 0

    def on_stored(_records: Sequence[SpoolRecord], position: LogPosition) -> None:
        spool.events_written(position)

    durable = DurableSpool(root, clock, ids, on_stored, SpoolOptions())
    spool = durable.log
    durable.open()
    await spool.recover(lambda _: None)
    reception = Reception(
        "ESMTP", "192.0.2.1", 4711, "client.test", "127.0.0.1:2525", "mx.test", MessageId("1" * 32)
    )
    peer = Peer("mx.example.test", "192.0.2.9", 25, "192.0.2.2", MessageId("2" * 32))
    finished = asyncio.Event()
    sent = 0

    def store() -> None:
        nonlocal sent
        sent += 1
        now = clock.wall()
        record = MessageRecord(
            ids.next(now), QueueName(f"d{sent % 50}.test", "tenant", "campaign"), Address("a", "b.test"),
            (Address("c", f"d{sent % 50}.test"),), b"Received: from x by y\r\n" * 4, _CONTENT, now, reception,
        )  # fmt: skip

        def done(positions: Sequence[int], fault: SpoolError | None) -> None:
            nonlocal stored
            assert fault is None, fault
            attempt = AttemptRecord(
                record, clock.wall(), 1, "mx.example.test", "unspecified", peer,
                (Outcome(0, Verdict.ACCEPTED, _OK, "."),),
            )  # fmt: skip
            spool.get(positions[0])
            spool.record_attempt(positions[0], attempt)
            stored += 1
            if sent < messages:
                store()
            elif stored == messages:
                finished.set()

        spool.store([record], done)

    before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    for _ in range(window):
        store()
    await finished.wait()
    after, took = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - begun
    syncs = sum(spool.counts.syncs.counts)
    await durable.close(Seconds(5.0))
    own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"  {messages / took:8,.0f} msg/s, {own / messages * 1e6:6.1f} us/msg, {messages / max(1, syncs):5.1f} per sync"
    )
    return own / messages * 1e6


def main() -> None:
    """Some rounds, and their median."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--window", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    arguments = parser.parse_args()
    found = []
    for _ in range(arguments.rounds):
        root = Path(tempfile.mkdtemp(dir=arguments.folder))
        try:
            found.append(uvloop.run(run(root, arguments.messages, arguments.window)))
        finally:
            shutil.rmtree(root)
    helper = resource.getrusage(resource.RUSAGE_CHILDREN)
    per = (helper.ru_utime + helper.ru_stime) / (arguments.messages * arguments.rounds) * 1e6
    print(f"median {statistics.median(found):.1f} us/msg; the sync helper {per:.1f}")


if __name__ == "__main__":
    main()
