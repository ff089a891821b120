"""Spools written for tests: segments in files in memory, and what is known of them."""

from __future__ import annotations

import datetime as dt
from typing import Any

from penstock.mail.duration import WallTime
from penstock.mail.records import MessageRecord
from penstock.mail.schedule import Schedule
from penstock.spool.codec import Payload, encode_transaction
from penstock.spool.frame import Identity, Place
from penstock.spool.queued import Queued
from penstock.spool.recovery import Recovered, prepare
from penstock.spool.segment import SegmentWriter
from tests.spool.files_in_memory import MemoryFiles

SIZE = 64 * 1024


def fresh() -> MemoryFiles:
    """Files with the folders of a spool."""
    files = MemoryFiles()
    prepare(files)
    return files


def segment(files: MemoryFiles, number: int, size: int = SIZE) -> SegmentWriter:
    """A new segment; salts differ from numbers."""
    return SegmentWriter.create(files, Identity(number, number * 7919 & 0xFFFFFFFF), WallTime(1.0), size)


def put(writer: SegmentWriter, *records: MessageRecord) -> list[Place]:
    """Append a transaction; the places of its messages."""
    offset = writer.append(encode_transaction(records))
    return [Place(writer.identity.number, offset, part) for part in range(len(records))]


def stored(writer: SegmentWriter) -> None:
    """All that was appended is on stable storage."""
    writer.flush()
    writer.mark_synced(writer.written)


def add(writer: SegmentWriter, *payloads: Payload) -> list[int]:
    """Append frames; their offsets."""
    return [writer.append(payload) for payload in payloads]


def as_written(schedule: Schedule | None) -> list[Any] | None:
    """A schedule as the format has it."""
    if schedule is None:
        return None
    window = schedule.window
    hours = (
        [sorted(window.days), window.zone, _microseconds(window.start), _microseconds(window.end)]
        if window is not None
        else None
    )
    return [schedule.first_attempt, hours, schedule.expires]


def _microseconds(time: dt.time) -> int:
    seconds = dt.timedelta(hours=time.hour, minutes=time.minute, seconds=time.second)
    return seconds // dt.timedelta(microseconds=1) + time.microsecond


def live(recovered: Recovered) -> dict[tuple[int, int, int], dict[str, Any]]:
    """What is live, as ``tests.spool.reader`` has it."""
    return live_of(recovered.queued)


def live_of(queued: Queued) -> dict[tuple[int, int, int], dict[str, Any]]:
    """As ``live``."""
    found: dict[tuple[int, int, int], dict[str, Any]] = {}
    for row in queued:
        item = queued.message(row)
        name = item.queue
        found[tuple(item.place)] = {
            "queue": [name.domain, name.tenant, name.campaign, name.routing_domain],
            "created": item.created,
            "size": item.size,
            "waiting": set(item.waiting),
            "attempts": item.attempts,
            "due": item.due,
            "held": item.is_held,
            "schedule": as_written(queued.schedules.get(row)),
        }
    assert len(found) == queued.live
    return found
