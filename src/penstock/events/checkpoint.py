"""Up to where the event log is written, on stable storage: the file ``checkpoint`` in its directory.

Of each lane: all events of what its spool has before ``position`` are in the event files, on stable storage. No event of what comes later is before
``offset`` in ``file``, but for those that ``known`` names. So a start after a crash reads each spool from its ``position`` on, and leaves out the
events that it finds behind ``offset``, and those of ``known``.

The file is one line of JSON, and its CRC-32 (of zlib, eight hexadecimal digits) on a second. It is replaced in one step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

import msgspec

from penstock.events.event import Counts, TenantCounts
from penstock.events.files import LogFiles
from penstock.mail.duration import WallTime
from penstock.mail.ports import LogPosition

NAME: Final = "checkpoint"
_NEW_NAME: Final = "checkpoint.new"
FORMAT: Final = 2
#: The name of the one lane that there was before format 2.
FIRST_LANE: Final = "0"


class CheckpointError(Exception):
    """There is a checkpoint and it cannot be used; the text says why."""


class Mark(NamedTuple):
    """A place in the event log, and what all events before it add up to. ``file`` is a name, "" before the first file."""

    file: str = ""
    offset: int = 0
    totals: Counts = Counts()
    tenant_totals: tuple[TenantCounts, ...] = ()


class LanePlace(NamedTuple):
    """How far a lane is: the events of all frames before ``position`` are written, and none of a later one unless ``may_repeat``.

    ``salt`` is that of the segment which ``position`` is in, None if it is not known; ``epoch`` that of the frames behind ``position``.
    ``is_guessing``: of what is written only the last events are known; all before the first of them were written too.
    """

    position: LogPosition
    salt: int | None
    epoch: int
    may_repeat: bool = False
    is_guessing: bool = False


class Checkpoint(msgspec.Struct, frozen=True):
    """See the module. The fields of a Mark are those of the place where a start has to look; ``time`` is when it was made.

    ``known`` are fingerprints of event ids (``penstock.scribe.writing``), one behind the other.
    """

    format: int
    lanes: dict[str, LanePlace]
    file: str
    offset: int
    time: WallTime
    totals: Counts
    tenant_totals: tuple[TenantCounts, ...]
    known: bytes = b""

    @property
    def mark(self) -> Mark:
        """Where a start has to look."""
        return Mark(self.file, self.offset, self.totals, self.tenant_totals)


class _First(msgspec.Struct, frozen=True):
    """Format 1: there was one lane, which is called FIRST_LANE since."""

    position: LogPosition
    file: str
    offset: int
    time: WallTime
    config_epoch: int
    totals: Counts
    tenant_totals: tuple[TenantCounts, ...]

    def now(self) -> Checkpoint:
        lane = LanePlace(self.position, None, self.config_epoch)
        return Checkpoint(
            FORMAT, {FIRST_LANE: lane}, self.file, self.offset, self.time, self.totals, self.tenant_totals
        )


class _Format(msgspec.Struct, frozen=True):
    format: int


def encode(checkpoint: Checkpoint) -> bytes:
    """The file's octets."""
    line = msgspec.json.encode(checkpoint)
    return b"%b\n%08x\n" % (line, crc32(line))


def decode(data: bytes) -> Checkpoint:
    """What the octets say. CheckpointError if that is nothing, or has been damaged."""
    line, _, checksum = data.partition(b"\n")
    if checksum != b"%08x\n" % crc32(line):
        raise CheckpointError("its checksum is not right: it is damaged, or not whole")
    try:
        number = msgspec.json.decode(line, type=_Format).format
        if number == FORMAT:
            return msgspec.json.decode(line, type=Checkpoint)
        if number == 1:
            return msgspec.json.decode(line, type=_First).now()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"it cannot be read: {error}") from error
    raise CheckpointError(f"it has format {number}, and this version knows formats 1 and {FORMAT}")


def load(files: LogFiles, directory: Path) -> Checkpoint | None:
    """The checkpoint of a directory, None if there is none yet. CheckpointError if it cannot be used, or not be read."""
    try:
        return decode(files.read(directory / NAME))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CheckpointError(f"it cannot be read: {error.strerror or error}") from error


def save(files: LogFiles, directory: Path, data: bytes) -> None:
    """Put an encoded checkpoint on stable storage in place of the one before. OSError: one of the two is there, nobody knows which."""
    new = directory / _NEW_NAME
    files.remove(new)
    descriptor = files.create(new)
    try:
        with memoryview(data) as view:
            written = 0
            while written < len(data):
                written += files.write(descriptor, view[written:])
        files.sync(descriptor)
    finally:
        files.close(descriptor)
    files.rename(new, directory / NAME)
    files.sync_directory(directory)
