"""The checkpoint: what is saved is loaded, and nothing else is believed."""

from __future__ import annotations

import errno
from pathlib import Path
from zlib import crc32

import msgspec
import pytest

from penstock.events.checkpoint import (
    FORMAT,
    NAME,
    Checkpoint,
    CheckpointError,
    LanePlace,
    decode,
    encode,
    load,
    save,
)
from penstock.events.event import Counts, TenantCounts
from penstock.events.files import SystemFiles, log_files
from penstock.mail.duration import WallTime
from penstock.mail.ports import LogPosition

from .faulty_files import FaultyFiles

SAMPLE = Checkpoint(
    FORMAT,
    {
        "0": LanePlace(LogPosition(7, 4096), 0xFFFFFFFF, 3),
        "bulk": LanePlace(LogPosition(0, 0), None, 2, may_repeat=True, is_guessing=True),
    },
    "20251120-200000.000000",
    123,
    WallTime(1_763_668_800.25),
    Counts(accepted=5, delivered=3, queued=2),
    (TenantCounts(tenant=None, accepted=5, delivered=3, queued=2),),
    bytes(range(256)),
)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """It replaces the one before, and is no event file."""
    save(SystemFiles(), tmp_path, encode(msgspec.structs.replace(SAMPLE, offset=1)))
    save(SystemFiles(), tmp_path, encode(SAMPLE))
    assert load(SystemFiles(), tmp_path) == SAMPLE
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert log_files(tmp_path) == []


def test_one_of_the_first_format_is_of_the_one_lane_that_there_was() -> None:
    """Called 0 since."""
    line = (
        b'{"format":1,"position":[7,4096],"file":"20251120-200000.000000","offset":123,"time":1763668800.25,'
        b'"config_epoch":3,"totals":{"accepted":5,"queued":5},"tenant_totals":[]}'
    )
    found = decode(b"%b\n%08x\n" % (line, crc32(line)))
    assert found.lanes == {"0": LanePlace(LogPosition(7, 4096), None, 3)}
    assert (found.file, found.offset, found.totals.accepted) == ("20251120-200000.000000", 123, 5)


def test_none_is_none(tmp_path: Path) -> None:
    """Before the first one there is nothing to load."""
    assert load(SystemFiles(), tmp_path) is None


def test_leftover_of_a_crash_is_no_obstacle(tmp_path: Path) -> None:
    """A new one that was not finished is begun again."""
    (tmp_path / f"{NAME}.new").write_bytes(b"half")
    save(SystemFiles(), tmp_path, encode(SAMPLE))
    assert load(SystemFiles(), tmp_path) == SAMPLE


def test_any_damage_is_noticed() -> None:
    """Each octet changed, and each shorter piece."""
    data = encode(SAMPLE)
    for place in range(len(data)):
        for damaged in (data[:place], data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]):
            with pytest.raises(CheckpointError):
                decode(damaged)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{}", "cannot be read"),
        (b"\xff", "cannot be read"),
        (msgspec.json.encode(msgspec.structs.replace(SAMPLE, format=3)), "format 3"),
    ],
)
def test_what_is_not_ours_is_refused_with_a_reason(line: bytes, reason: str) -> None:
    """Its checksum right."""
    with pytest.raises(CheckpointError, match=reason):
        decode(b"%b\n%08x\n" % (line, crc32(line)))


def test_one_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    """It is a fault, and no missing file."""
    (tmp_path / NAME).mkdir()
    with pytest.raises(CheckpointError, match="directory"):
        load(SystemFiles(), tmp_path)


def test_one_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    """On a full disk, and when the sync fails."""
    files = FaultyFiles()
    save(files, tmp_path, encode(SAMPLE))
    files.room = 10
    with pytest.raises(OSError, match="No space"):
        save(files, tmp_path, encode(msgspec.structs.replace(SAMPLE, offset=1)))
    files.room, files.failing = None, errno.EIO
    with pytest.raises(OSError, match="error"):
        save(files, tmp_path, encode(msgspec.structs.replace(SAMPLE, offset=2)))
    assert load(files, tmp_path) == SAMPLE
