"""Packed files of the event log: the same lines as before, at each moment, for whoever reads."""

from __future__ import annotations

import errno
from contextlib import closing
from pathlib import Path

import pytest
import zstandard

from penstock.events.files import SystemFiles, file_name, log_files
from penstock.events.ledger import Ledger
from penstock.events.packing import PackedError, opened, pack
from penstock.events.retention import Kept, may_go, to_pack
from penstock.events.tail import Position, Reader, last_lines
from penstock.mail.duration import ByteCount, Seconds, WallTime

from .faulty_files import FaultyFiles
from .log_files import Files

LINES = b"".join(b'{"number":%d,"text":"%s"}\n' % (number, b"x" * 300) for number in range(5000))


def put(directory: Path, second: int, octets: bytes = LINES) -> Path:
    """A file of the log, begun at this second."""
    path = directory / file_name(second * 1_000_000)
    path.write_bytes(octets)
    return path


def read(path: Path, offset: int = 0) -> bytes:
    """All octets of a file from an offset on."""
    octets = b""
    with closing(opened(path, offset)) as source:
        while chunk := source.read(10_000):
            octets += chunk
    return octets


def packed(path: Path) -> Path:
    """Pack a file; what it is called then."""
    pack(SystemFiles(), path, 3)
    return path.with_name(path.name + ".zst")


def test_packed_file_has_the_same_lines(tmp_path: Path) -> None:
    """In less room, for its owner's eyes only, and any tool that knows Zstandard reads it."""
    path = put(tmp_path, 1)
    new = packed(path)
    assert list(tmp_path.iterdir()) == [new]
    assert new.stat().st_size < len(LINES) / 10
    assert new.stat().st_mode & 0o777 == 0o440
    assert read(new) == LINES
    with new.open("rb") as file:
        assert zstandard.ZstdDecompressor().stream_reader(file).read() == LINES


@pytest.mark.parametrize("offset", [0, 1, 9999, 1_500_000, len(LINES), len(LINES) + 5])
def test_offsets_are_those_of_the_lines(tmp_path: Path, offset: int) -> None:
    """So a place in the log is the same before and after."""
    assert read(packed(put(tmp_path, 1)), offset) == LINES[offset:]


def test_who_looks_for_the_plain_file_finds_the_packed_one(tmp_path: Path) -> None:
    """It was packed between a look at the directory and a look at the file."""
    path = put(tmp_path, 1)
    packed(path)
    assert read(path) == LINES


def test_plain_file_counts_where_both_are(tmp_path: Path) -> None:
    """The process was stopped before it went."""
    path = put(tmp_path, 1)
    packed(path)
    path.write_bytes(LINES)
    last = put(tmp_path, 2)
    assert log_files(tmp_path) == [path, last]
    packed(path)
    assert [item.suffix for item in log_files(tmp_path)] == [".zst", last.suffix]


def test_damaged_file_is_told_and_not_guessed(tmp_path: Path) -> None:
    """An octet of it is another."""
    new = packed(put(tmp_path, 1))
    octets = bytearray(new.read_bytes())
    octets[len(octets) // 2] ^= 1
    new.chmod(0o600)
    new.write_bytes(octets)
    with pytest.raises(PackedError, match=r"zst is damaged"):
        read(new)


@pytest.mark.parametrize("fault", ["room", "sync"])
def test_disk_that_does_not_take_it_leaves_the_plain_one(tmp_path: Path, fault: str) -> None:
    """And nothing else."""
    path = put(tmp_path, 1)
    files = FaultyFiles()
    if fault == "room":
        files.room = 1000
    else:
        files.failing = errno.EIO
    with pytest.raises(OSError, match=r"No space|error"):
        pack(files, path, 3)
    assert list(tmp_path.iterdir()) == [path]
    assert read(path) == LINES


def test_reader_goes_through_packed_and_plain_files(tmp_path: Path) -> None:
    """From any place on, and on to the file that is being written."""
    for second in (1, 2, 3, 4):
        put(tmp_path, second, b"%d\n" % second * 3)
    for path in log_files(tmp_path)[:3]:
        packed(path)
    found: list[bytes] = []
    with Reader(tmp_path, Position(tmp_path / file_name(2_000_000), 2)) as reader:
        for lines in reader.batches():
            if not lines:
                break
            found += lines
    assert found == [b"2", b"2", b"3", b"3", b"3", b"4", b"4", b"4"]


def test_reader_is_not_disturbed_by_packing(tmp_path: Path) -> None:
    """It has the file open, and goes on with the next."""
    first = put(tmp_path, 1)
    put(tmp_path, 2, b"last\n")
    with Reader(tmp_path, Position()) as reader:
        batches = reader.batches()
        found = next(batches)
        packed(first)
        for lines in batches:
            if not lines:
                break
            found += lines
    assert b"\n".join(found) + b"\n" == LINES + b"last\n"


def test_last_lines_reach_back_into_packed_files(tmp_path: Path) -> None:
    """Oldest first, and no more than were asked for."""
    packed(put(tmp_path, 1, b"a\nb\n"))
    packed(put(tmp_path, 2, b"c\nno\nd\n"))
    last = put(tmp_path, 3, b"e\n")
    wanted = last_lines(tmp_path, 4, lambda line: line != b"no")
    assert wanted == ([b"b", b"c", b"d", b"e"], Position(last, 2))


def test_accounting_goes_over_packed_files(tmp_path: Path) -> None:
    """As if they were plain."""
    files = Files(tmp_path / "events")
    for _ in range(4):
        files.begin()
        sent = files.accept("a", "b")
        files.settle(sent, 0)
    directory = files.save()
    before = Ledger(directory).report()
    for path in log_files(directory)[:3]:
        packed(path)
    progress: list[tuple[int, int]] = []
    after = Ledger(directory, lambda done, size: progress.append((done, size))).report()
    assert after == before
    assert after.holds
    assert all(done <= size for done, size in progress)


def kept(*sizes: int) -> list[Kept]:
    """Files begun at seconds 1, 2 and so on."""
    return [Kept(Path(file_name(1_000_000 * second)), size) for second, size in enumerate(sizes, 1)]


def gone(files: list[Kept], until: int, now: float, age: float | None, total: int | None) -> int:
    """How many go."""
    limit = ByteCount(total) if total is not None else None
    span = Seconds(age) if age is not None else None
    return len(may_go(files, file_name(1_000_000 * until), WallTime(now), span, limit))


def test_files_go_when_their_youngest_event_is_too_old() -> None:
    """That is older than the beginning of the next file."""
    files = kept(1, 1, 1, 1)
    assert gone(files, 4, 100.0, 98.5, None) == 0
    assert gone(files, 4, 100.0, 97.5, None) == 1
    assert gone(files, 4, 100.0, 0.0, None) == 3


def test_files_go_when_there_is_too_much() -> None:
    """The oldest, and no more of them than it takes."""
    files = kept(10, 20, 30, 40)
    assert [gone(files, 9, 4.0, None, total) for total in (100, 99, 90, 89, 70, 40, 1)] == [
        0,
        1,
        1,
        2,
        2,
        3,
        3,
    ]


def test_what_a_start_needs_stays() -> None:
    """However old it is: the file that the checkpoint names, all behind it, and the newest."""
    assert gone(kept(1, 1, 1), 2, 1e9, 0.0, 0) == 1
    assert gone(kept(1, 1, 1), 1, 1e9, 0.0, 0) == 0
    assert gone(kept(1), 9, 1e9, 0.0, 0) == 0
    assert gone([], 9, 1e9, 0.0, 0) == 0


def test_oldest_plain_file_is_packed_first_and_what_a_start_needs_is_not() -> None:
    """One after the other."""
    files = kept(1, 1, 1, 1)
    assert to_pack(files, file_name(3_000_000)) == files[0].path
    files[0] = Kept(Path(files[0].path.name + ".zst"), 1)
    assert to_pack(files, file_name(3_000_000)) == files[1].path
    files[1] = Kept(Path(files[1].path.name + ".zst"), 1)
    assert to_pack(files, file_name(3_000_000)) is None
    assert to_pack(files, file_name(9_000_000)) == files[2].path
    assert to_pack(files[3:], file_name(9_000_000)) is None
