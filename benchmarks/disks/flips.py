"""Spools in memory with one bit flipped, given to recovery and read back: what is damaged is told, and nothing is other than it was stored."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final, NamedTuple

from penstock.mail.records import MessageRecord, Verdict
from penstock.spool.codec import body_of, encode_attempt, encode_expiration, encode_note, encode_transaction
from penstock.spool.frame import Damaged, Place
from penstock.spool.names import body_path
from penstock.spool.recovery import Recovered, recover
from penstock.spool.segment import SegmentReader, SegmentWriter, read_body
from tests.spool import samples
from tests.spool.files_in_memory import MemoryFiles
from tests.spool.writing import add, fresh, put, segment

#: The distance of flips in a file.
STEP: Final = 512
_MESSAGES: Final = 24
_BODY_SIZE: Final = 300 * 1024
_SEGMENT_SIZE: Final = 1024 * 1024


class Stored(NamedTuple):
    """A spool as it was left: files, the messages with the recipients that wait, and how far each file has something in it."""

    files: MemoryFiles
    messages: dict[Place, tuple[MessageRecord, tuple[int, ...]]]
    ends: dict[str, int]


class Flipped(NamedTuple):
    """What one flip came to. ``missing`` messages cannot be read, ``again`` wait for recipients that were settled; ``faults`` must not be."""

    missing: int
    again: int
    is_told: bool
    faults: list[str]


def store(seed: int) -> Stored:
    """A sealed segment and an active one, mail in all states, some with their content in a body file."""
    chance = random.Random(seed)
    files = fresh()
    messages: dict[Place, tuple[MessageRecord, tuple[int, ...]]] = {}
    ends: dict[str, int] = {}
    for number in (1, 2):
        writer = segment(files, number, _SEGMENT_SIZE)
        for index in range(_MESSAGES):
            content = b"Subject: x\r\n\r\n" + chance.randbytes(chance.choice((20, 400, 3000, 20_000)))
            record = samples.message(number * 100 + index, 3, content)
            (place,) = put(writer, record)
            waiting: tuple[int, ...] = (0, 1, 2)
            if index % 3 == 1:
                add(
                    writer,
                    encode_attempt(
                        samples.attempt(record, 1, (0, Verdict.DEFERRED), (1, Verdict.ACCEPTED)), place
                    ),
                )
                waiting = (0, 2)
            elif index % 3 == 2:
                add(
                    writer,
                    encode_expiration(samples.expiration(record, 2), place),
                    encode_note(samples.REJECTION),
                )
                waiting = (0, 1)
            messages[place] = (record, waiting)
        place, record = _put_body(files, writer, number, chance)
        messages[place] = (record, (0,))
        ends[body_path(f"b-{number}")] = _BODY_SIZE
        writer.flush()
        if number == 1:
            writer.seal()
        ends[writer.path] = min(len(files.octets[writer.path]), writer.end + 4 * STEP)
    return Stored(files, messages, ends)


def _put_body(
    files: MemoryFiles, writer: SegmentWriter, number: int, chance: random.Random
) -> tuple[Place, MessageRecord]:
    content = chance.randbytes(_BODY_SIZE)
    name = f"b-{number}"
    files.create(body_path(name)).write([content], 0)
    record = samples.message(number * 100 + 99, 1, content)
    offset = writer.append(encode_transaction([record], body_of(name, content)))
    return Place(number, offset, 0), record


def flips(stored: Stored, seed: int, step: int = STEP) -> Iterator[tuple[str, int, int]]:
    """Path, offset and bit of every flip: one in each ``step`` octets of what is in the files."""
    chance = random.Random(seed)
    for path, end in sorted(stored.ends.items()):
        for start in range(0, end, step):
            yield path, min(end - 1, start + chance.randrange(step)), 1 << chance.randrange(8)


def flip(stored: Stored, path: str, offset: int, bit: int) -> Flipped:
    """Recover a copy of the spool with that bit changed, and read everything that is live."""
    files = MemoryFiles()
    files.folders |= stored.files.folders
    files.octets |= {name: bytearray(octets) for name, octets in stored.files.octets.items()}
    files.octets[path][offset] ^= bit
    return _look(stored, files, recover(files))


def _look(stored: Stored, files: MemoryFiles, recovered: Recovered) -> Flipped:
    queued = recovered.queued
    found: dict[Place, tuple[int, ...]] = {}
    faults: list[str] = []
    damaged = 0
    for row in queued:
        item = queued.message(row)
        place = item.place
        if place not in stored.messages:
            faults.append(f"a message at {place}, where none was stored")
            continue
        record, waiting = stored.messages[place]
        try:
            if _read(files, recovered, place) != record:
                faults.append(f"another message at {place} than was stored")
        except Damaged:
            damaged += 1
            continue
        found[place] = item.waiting
        if not set(waiting) <= set(item.waiting):
            faults.append(f"the message at {place} is not for {set(waiting) - set(item.waiting)} any more")
    missing = len(stored.messages) - len(found)
    again = sum(set(waiting) > set(stored.messages[place][1]) for place, waiting in found.items())
    # a last record that is damaged cannot be told from one that was being written when the power went: it is told as that
    torn = any(item.torn for item in recovered.segments)
    is_told = damaged > 0 or torn or bool(recovered.quarantined)
    if missing + again > 1:
        faults.append(f"{missing} messages are missing and {again} have recipients again")
    if missing + again and not is_told:
        faults.append("a message is missing, or has recipients again, and nothing tells of it")
    return Flipped(missing, again, is_told, faults)


def _read(files: MemoryFiles, recovered: Recovered, place: Place) -> MessageRecord:
    """The message at ``place``, as delivery reads it; Damaged."""
    ((path, identity),) = [
        (item.path, item.identity) for item in recovered.segments if item.identity.number == place.segment
    ]
    transaction = SegmentReader(files.open(path), identity, path).transaction(place.offset)
    body = transaction.body
    return transaction.message(
        place.part, read_body(files, body.name, body.size) if body is not None else None
    )
