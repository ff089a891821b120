"""A spool with a great many queued messages, written at once: for starts and drains that are to be measured.

The messages go into segments as the server would have written them, sealed, but for the last one, which is as a crash leaves it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from penstock.mail.address import Address
from penstock.mail.duration import WallTime
from penstock.mail.ids import IdSource, SessionId
from penstock.mail.queue_name import QueueName
from penstock.mail.records import AttemptRecord, MessageRecord, Outcome, Peer, Reception, Verdict
from penstock.mail.reply import reply
from penstock.spool.codec import encode_attempt, encode_transaction
from penstock.spool.frame import Identity, Place
from penstock.spool.os_files import OsFiles
from penstock.spool.recovery import prepare
from penstock.spool.segment import SEGMENT_SIZE, SegmentWriter

_RECEPTION: Final = Reception(
    "ESMTP", "192.0.2.1", 4711, "client.test", "127.0.0.1:2525", "mta.test", SessionId("1" * 32)
)
_PEER: Final = Peer("mx.test", "192.0.2.9", 25, "192.0.2.2", SessionId("2" * 32))
_LATER: Final = reply(451, "4.3.2", "try again later")
#: Frames that are written at once.
_BATCH: Final = 256


def one_of(domains: int, campaigns: int) -> Callable[[int], QueueName]:
    """The queue of each message: of so many domains, ``d1.test`` and on, and so many campaigns of tenant ``acme``, in turn."""
    names = [
        QueueName(f"d{domain + 1}.test", "acme", f"c{campaign}")
        for campaign in range(campaigns)
        for domain in range(domains)
    ]
    return lambda number: names[number % len(names)]


def write(
    folder: Path,
    messages: int,
    queue: Callable[[int], QueueName],
    *,
    size: int,
    now: float,
    due: float | None = None,
    seed: int = 1,
) -> int:
    """Write a spool with so many messages of ``size`` octets, received within the hour before ``now``; its size in octets.

    With ``due`` each has been tried once, and is due within the hour after that. Spools with another ``seed`` have other ids and recipients.
    """
    files = OsFiles(folder)
    prepare(files)
    rng = random.Random(seed)
    local_part = "user" if seed == 1 else f"user-{seed}-"
    ids = IdSource(rng.getrandbits(42))
    line = b"The quick brown fox jumps over the lazy dog, as it does each day.\r\n"
    content = (b"Subject: a message\r\n\r\n" + line * (size // len(line) + 1))[: size - 2] + b"\r\n"
    template = MessageRecord(
        ids.next(WallTime(now)), queue(0), Address("bounces", "acme.test"), (), b"", content, WallTime(now), _RECEPTION,
        is_canonical=True,
    )  # fmt: skip
    total, number = 0, 0
    writer = SegmentWriter.create(files, Identity(1, rng.getrandbits(32)), WallTime(now), SEGMENT_SIZE)
    for number in range(messages):
        created = WallTime(now - 3600 + 3600 * number / messages)
        name = queue(number)
        record = msgspec.structs.replace(
            template,
            id=ids.next(created),
            queue=name,
            recipients=(Address(f"{local_part}{number}", name.domain),),
            added_header=b"Received: from client.test (192.0.2.1) by mta.test with ESMTP; now\r\n",
            created=created,
        )
        payload = encode_transaction([record])
        if not writer.has_room(payload):
            total += _finish(writer)
            identity = Identity(writer.identity.number + 1, rng.getrandbits(32))
            writer = SegmentWriter.create(files, identity, WallTime(now), SEGMENT_SIZE)
        place = Place(writer.identity.number, writer.append(payload), 0)
        if due is not None:
            outcome = Outcome(0, Verdict.DEFERRED, _LATER, "DATA")
            until = WallTime(due + 3600 * rng.random())
            attempt = AttemptRecord(record, created, 1, "mx.test", "unspecified", _PEER, (outcome,), until)
            payload = encode_attempt(attempt, place)
            if writer.has_room(payload):
                writer.append(payload)
        if number % _BATCH == 0:
            writer.flush()
            # as if it had been synced: all but the last frames of a spool say of those before them that they were
            writer.mark_synced(writer.written)
    writer.flush()
    total += writer.end
    writer.file.close()
    files.close()
    return total


def _finish(writer: SegmentWriter) -> int:
    writer.seal()
    writer.file.close()
    return writer.size


def drop_from_memory(folder: Path) -> None:
    """Have the system forget what it holds of the files of a folder, as after a long time: they are read from the disk again."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)
