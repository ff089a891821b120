"""The event log's writer: rotation, privacy, and a disk that fails."""

from __future__ import annotations

import errno
import re
import shutil
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from penstock.events.files import file_name, file_time, log_files
from penstock.events.log import FLUSH_AT, EventLog
from penstock.events.tail import Position, Reader
from penstock.mail.duration import ByteCount, Seconds
from penstock.sim.clock import FakeClock

from .faulty_files import FaultyFiles

MEBIBYTE = 1024 * 1024


class Setup:
    """A log in a directory of its own, with its clock and its disk."""

    def __init__(
        self,
        directory: Path,
        max_file_size: int = MEBIBYTE,
        buffer_limit: int = 16 * MEBIBYTE,
        unsettled_limit: int = 64 * MEBIBYTE,
    ) -> None:
        self.directory = directory
        self.clock = FakeClock()
        self.files = FaultyFiles()
        self.log = EventLog(
            directory,
            clock=self.clock,
            max_file_size=ByteCount(max_file_size),
            max_segment_duration=Seconds(3600.0),
            buffer_limit=buffer_limit,
            unsettled_limit=unsettled_limit,
            files=self.files,
        )

    def written(self) -> list[bytes]:
        """What each file has, oldest first."""
        return [path.read_bytes() for path in log_files(self.directory)]

    def lines(self) -> list[bytes]:
        """The lines that a reader of the whole log gets."""
        return read_all(self.directory)


def read_all(directory: Path) -> list[bytes]:
    """Every line, from the beginning to the end as it is now."""
    found: list[bytes] = []
    with Reader(directory, Position()) as reader:
        for batch in reader.batches():
            if not batch:
                return found
            found += batch
    return found


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    """A log that rotates at a mebibyte or an hour."""
    return Setup(tmp_path / "data" / "events")


def mode(path: Path) -> int:
    """Permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def test_lines_are_written_at_the_flush(setup: Setup) -> None:
    """What is appended waits for the flush, and is written in one go."""
    setup.log.append(b"one\n")
    setup.log.append(b"two\nthree\n")
    assert not setup.directory.exists()
    setup.log.flush()
    assert setup.written() == [b"one\ntwo\nthree\n"]
    assert setup.files.writes == 1
    assert (setup.log.counts.lines, setup.log.counts.bytes, setup.log.counts.waiting) == (3, 14, 0)
    assert sum(setup.log.counts.flushes.counts) == 1


def test_much_does_not_wait_for_the_flush(setup: Setup) -> None:
    """256 KiB are written as they come."""
    setup.log.append(b"x" * (FLUSH_AT - 1) + b"\n")
    assert setup.log.counts.lines == 1


def test_flush_of_nothing_does_nothing(setup: Setup) -> None:
    """No file is begun before there is a line for it."""
    setup.log.open()
    setup.log.flush()
    setup.log.close()
    assert setup.written() == []
    assert sum(setup.log.counts.flushes.counts) == 0


def test_files_are_private_and_finished_ones_read_only(setup: Setup) -> None:
    """Directory 0700, the active file 0600, finished files 0440."""
    setup.log.append(b"one\n")
    setup.log.flush()
    [path] = log_files(setup.directory)
    assert (mode(setup.directory), mode(path)) == (0o700, 0o600)
    setup.log.close()
    assert mode(path) == 0o440


def test_directory_that_others_could_read_is_closed_to_them(setup: Setup) -> None:
    """A directory somebody made beforehand becomes private."""
    setup.directory.mkdir(parents=True, mode=0o755)
    setup.log.open()
    assert mode(setup.directory) == 0o700


def test_name_is_the_time_the_file_was_begun(setup: Setup) -> None:
    """``YYYYMMDD-HHMMSS.<fraction>`` in UTC."""
    setup.log.append(b"one\n")
    setup.log.flush()
    [path] = log_files(setup.directory)
    assert re.fullmatch(r"20231114-221320\.[0-9]{6}", path.name)
    assert file_time(path.name) == int(setup.clock.wall() * 1_000_000)


OTHER_NAMES = [
    "",
    "x",
    "20231114-221320",
    "20231114-221320.1",
    "20239914-221320.000000",
    "20231114-221320.000000.zst.new",
    "2023111٤-221320.000000",
]


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_other_names_are_no_event_files(name: str) -> None:
    """Files that merely lie in the directory are left alone."""
    assert file_time(name) is None


def test_name_gives_its_time_back() -> None:
    """Names and times are the same thing, so order by name is order by time."""
    for moment in (0, 999_999, 1_763_668_800_000_001, 4_000_000_000_000_000):
        assert file_time(file_name(moment)) == moment


def test_full_file_is_followed_by_another(tmp_path: Path) -> None:
    """No file grows past its limit, no line is split, and finished files are read-only."""
    setup = Setup(tmp_path, max_file_size=100)
    lines = [b"%03d " % number + b"x" * (number % 40) for number in range(200)]
    for line in lines:
        setup.log.append(line + b"\n")
        if line.startswith(b"%03d" % 50):
            setup.log.flush()
    setup.log.flush()
    assert setup.lines() == lines
    assert all(0 < len(octets) <= 100 and octets.endswith(b"\n") for octets in setup.written())
    assert [mode(path) for path in log_files(tmp_path)[:-1]] == [0o440] * (setup.log.counts.files - 1)


def test_line_longer_than_a_file_has_one_of_its_own(tmp_path: Path) -> None:
    """A line is never split, whatever the limit."""
    setup = Setup(tmp_path, max_file_size=10)
    setup.log.append(b"a\n" + b"b" * 50 + b"\nc\n")
    setup.log.flush()
    assert setup.written() == [b"a\n", b"b" * 50 + b"\n", b"c\n"]


def test_octets_without_a_newline_do_no_harm(tmp_path: Path) -> None:
    """A caller that breaks the contract gets a long line, not a loop."""
    setup = Setup(tmp_path, max_file_size=10)
    setup.log.append(b"x" * 50)
    setup.log.flush()
    assert setup.written() == [b"x" * 50 + b"\n"]


def test_old_file_is_finished_although_nothing_comes(setup: Setup) -> None:
    """After ``max_segment_duration`` the file is done; the next begins with the next line."""
    setup.log.append(b"one\n")
    setup.log.flush()
    setup.clock.advance(Seconds(3599.0))
    setup.log.flush()
    [path] = log_files(setup.directory)
    assert mode(path) == 0o600
    setup.clock.advance(Seconds(1.0))
    setup.log.flush()
    assert mode(path) == 0o440
    setup.log.append(b"two\n")
    setup.log.flush()
    assert setup.written() == [b"one\n", b"two\n"]


def test_names_go_up_although_the_clock_goes_back(tmp_path: Path) -> None:
    """A file begun later sorts later: within one microsecond, after the clock was set back, and after a restart."""
    first = Setup(tmp_path, max_file_size=2)
    first.log.append(b"1\n2\n")
    first.log.flush()
    first.clock.step_wall(Seconds(-86400.0))
    first.log.append(b"3\n")
    first.log.flush()
    second = Setup(tmp_path)
    second.clock.step_wall(Seconds(-86400.0))
    second.log.open()
    second.log.append(b"4\n")
    second.log.flush()
    assert second.lines() == [b"1", b"2", b"3", b"4"]


def test_start_after_a_crash_begins_a_new_file(setup: Setup) -> None:
    """What was torn stays as it was, read-only, and readers skip it."""
    setup.directory.mkdir(parents=True)
    torn = setup.directory / "20231114-221319.000000"
    torn.write_bytes(b"whole\nto")
    setup.log.open()
    setup.log.append(b"new\n")
    setup.log.flush()
    assert mode(torn) == 0o440
    assert setup.written() == [b"whole\nto", b"new\n"]
    assert setup.lines() == [b"whole", b"new"]


def test_start_says_that_the_directory_cannot_be_used(setup: Setup) -> None:
    """``open`` raises: it is called before mail moves."""
    setup.directory.parent.mkdir(parents=True)
    setup.directory.write_bytes(b"")
    with pytest.raises(FileExistsError):
        setup.log.open()


def test_full_disk_keeps_lines_until_there_is_room(setup: Setup) -> None:
    """ENOSPC in the middle of a line: it is completed where it was begun, and nothing is written twice."""
    setup.files.room = 6
    setup.log.append(b"one\ntwo\nthree\n")
    setup.log.flush()
    assert setup.written() == [b"one\ntw"]
    assert setup.log.fault is not None
    assert "No space left" in setup.log.fault
    assert setup.log.counts.waiting == 10
    setup.files.room = None
    setup.clock.advance(Seconds(1.0))
    setup.log.flush()
    assert setup.written() == [b"one\ntwo\nthree\n"]
    assert setup.log.fault is None
    assert (setup.log.counts.lines, setup.log.counts.dropped) == (3, 0)


def test_broken_file_is_left_and_the_torn_line_written_again(setup: Setup) -> None:
    """EIO in the middle of a line: the next file has it whole, and readers skip what is torn."""
    setup.log.append(b"none\n")
    setup.log.flush()
    setup.files.broken, setup.files.grace = errno.EIO, 6
    setup.log.append(b"one\ntwo\nthree\n")
    setup.log.flush()
    assert setup.log.fault is not None
    setup.files.broken = None
    setup.clock.advance(Seconds(1.0))
    setup.log.flush()
    assert setup.written() == [b"none\none\ntw", b"two\nthree\n"]
    assert setup.lines() == [b"none", b"one", b"two", b"three"]


def test_file_that_is_full_of_age_during_a_fault_leaves_its_torn_line(setup: Setup) -> None:
    """Rotation in the middle of a line writes the line again."""
    setup.files.room = 6
    setup.log.append(b"one\ntwo\n")
    setup.log.flush()
    setup.files.room = None
    setup.clock.advance(Seconds(3600.0))
    setup.log.flush()
    assert setup.written() == [b"one\ntw", b"two\n"]


def test_fault_is_tried_again_once_a_second(setup: Setup) -> None:
    """A broken disk does not cost a system call for every flush."""
    setup.files.room = 0
    setup.log.append(b"one\n")
    for _ in range(10):
        setup.log.flush()
    assert setup.files.writes == 1
    setup.clock.advance(Seconds(1.0))
    setup.log.flush()
    assert setup.files.writes == 2


def test_full_buffer_says_so(tmp_path: Path) -> None:
    """There is no room while the disk takes nothing; what was appended is kept, and there is room again once it is written."""
    setup = Setup(tmp_path, buffer_limit=10)
    setup.files.room = 0
    setup.log.append(b"1234\n")
    assert setup.log.has_room
    setup.log.append(b"5678\n")
    assert not setup.log.has_room
    assert setup.log.end is None
    setup.log.flush()
    setup.files.room = None
    setup.clock.advance(Seconds(1.0))
    setup.log.flush()
    assert setup.log.has_room
    assert setup.lines() == [b"1234", b"5678"]


def test_file_that_was_removed_is_not_written_to(setup: Setup) -> None:
    """An administrator's ``rm`` costs what was in the file, not what comes."""
    setup.log.append(b"one\n")
    setup.log.flush()
    log_files(setup.directory)[0].unlink()
    setup.log.append(b"two\n")
    setup.log.flush()
    assert setup.lines() == [b"two"]


def test_directory_that_was_removed_is_made_again(setup: Setup) -> None:
    """The log recovers from the loss of its directory by itself."""
    setup.log.append(b"one\n")
    setup.log.flush()
    shutil.rmtree(setup.directory)
    setup.log.append(b"two\n")
    setup.log.flush()
    assert setup.log.fault is not None
    setup.clock.advance(Seconds(1.0))
    setup.log.flush()
    assert setup.lines() == [b"two"]
    assert mode(setup.directory) == 0o700


def test_close_writes_what_the_disk_takes(setup: Setup) -> None:
    """The rest is not lost: it is derived from the spool at the next start. Every file is for reading only then."""
    setup.log.append(b"one\n")
    setup.log.flush()
    setup.files.room = 4
    setup.log.append(b"two\nthree\n")
    setup.log.close()
    setup.log.close()
    assert setup.lines() == [b"one", b"two"]
    assert (setup.log.counts.lines, setup.log.counts.dropped, setup.log.counts.waiting) == (2, 0, 0)
    assert [mode(path) for path in log_files(setup.directory)] == [0o440]


def opened(tmp_path: Path, max_file_size: int = 60) -> Setup:
    """A log whose files open with the octets that wait."""
    setup = Setup(tmp_path, max_file_size=max_file_size)
    setup.log.opening = lambda name, begun, waiting: b"waiting: %d\n" % len(waiting)
    return setup


def test_each_file_opens_with_its_own_line(tmp_path: Path) -> None:
    """It is made when the file is begun, from what is not written before it."""
    setup = opened(tmp_path)
    setup.log.append(b"".join(b"%019d\n" % number for number in range(5)))
    setup.log.flush()
    assert [content.split(b"\n")[0] for content in setup.written()] == [
        b"waiting: 100",
        b"waiting: 60",
        b"waiting: 20",
    ]
    assert all(len(content) <= 60 for content in setup.written())


def test_opening_that_is_not_whole_is_completed(tmp_path: Path) -> None:
    """On a full disk, as any line; on a broken one the next file has its own."""
    setup = opened(tmp_path)
    setup.files.room = 5
    setup.log.append(b"one\n")
    setup.log.flush()
    assert setup.written() == [b"waiti"]
    setup.files.room = None
    setup.clock.advance(Seconds(1.0))
    setup.log.flush()
    assert setup.written() == [b"waiting: 4\none\n"]


def test_opening_on_a_broken_disk(tmp_path: Path) -> None:
    """The file with the torn opening is left; the next one has its own, and the line."""
    setup = opened(tmp_path)
    setup.log.open()
    setup.files.grace, setup.files.breaking = 5, errno.EIO
    setup.log.append(b"one\n")
    setup.log.flush()
    setup.files.broken = None
    setup.clock.advance(Seconds(1.0))
    setup.log.flush()
    assert setup.written() == [b"waiti", b"waiting: 4\none\n"]


def test_end_is_behind_what_is_written(setup: Setup) -> None:
    """In the newest file; None while something waits; at a start behind what an earlier run has written."""
    setup.log.open()
    assert setup.log.end == Position()
    setup.log.append(b"one\n")
    assert setup.log.end is None
    setup.log.flush()
    [path] = log_files(setup.directory)
    assert setup.log.end == Position(path, 4)
    again = Setup(setup.directory)
    again.log.open()
    assert again.log.end == Position(path, 4)


def test_files_stay_open_until_they_are_settled(tmp_path: Path) -> None:
    """What is to be synced are all that were written since, and the directory for those that are new."""
    setup = Setup(tmp_path, max_file_size=10)
    setup.log.append(b"1234567\n" * 3)
    setup.log.flush()
    syncing = setup.log.syncing()
    assert sorted(syncing.sizes.values()) == [8, 8, 8]
    assert syncing.has_new_files
    setup.log.append(b"12\n1234567\n")
    setup.log.flush()
    setup.log.settle(syncing)
    later = setup.log.syncing()
    assert sorted(later.sizes.values()) == [3, 8]
    setup.log.settle(later)
    last = setup.log.syncing()
    assert list(last.sizes.values()) == [8]
    assert not last.has_new_files


def test_much_that_is_not_settled_leaves_no_room(tmp_path: Path) -> None:
    """A start would have to read all of it: a quarter of the limit asks for a sync, and the limit holds."""
    setup = Setup(tmp_path, unsettled_limit=400)
    setup.log.append(b"x" * 99 + b"\n")
    setup.log.flush()
    assert setup.log.has_room
    assert setup.log.needs_sync
    setup.log.append(b"x" * 299 + b"\n")
    setup.log.flush()
    assert not setup.log.has_room
    setup.log.settle(setup.log.syncing())
    assert setup.log.has_room
    assert not setup.log.needs_sync


def test_many_files_that_are_not_settled_leave_no_room(tmp_path: Path) -> None:
    """Each has a descriptor open."""
    setup = Setup(tmp_path, max_file_size=100)
    while setup.log.has_room:
        assert len(setup.log.syncing().sizes) < 100
        setup.log.append(b"x" * 99 + b"\n")
        setup.log.flush()
    assert setup.log.needs_sync
    setup.log.settle(setup.log.syncing())
    assert setup.log.has_room
    assert not setup.log.needs_sync


def test_rewind_takes_away_what_is_behind(tmp_path: Path) -> None:
    """In the file where the place is, and in all later ones; what comes goes to another file."""
    setup = Setup(tmp_path, max_file_size=10)
    setup.log.append(b"1\n")
    setup.log.flush()
    settled = setup.log.syncing()
    setup.log.settle(settled)
    setup.log.append(b"2\n1234567\n1234567\n")
    setup.log.flush()
    setup.log.append(b"waits\n")
    setup.log.rewind(settled.end)
    assert [content for content in setup.written() if content] == [b"1\n"]
    assert setup.log.end == settled.end
    setup.log.append(b"3\n")
    setup.log.flush()
    assert setup.lines() == [b"1", b"3"]
    assert setup.written()[-1] == b"3\n"


class LogMachine(RuleBasedStateMachine):
    """Whatever the disk does and whenever it does it, a reader gets every line that was not taken away, once, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="penstock-events-"))
        self.setup = Setup(self.directory / "events", max_file_size=60, buffer_limit=200)
        self.setup.log.open()
        self.accepted: list[bytes] = []
        self.settled = 0
        self.settled_end = Position()
        self.number = 0

    def teardown(self) -> None:
        """End with a disk that works."""
        self.setup.files.room = self.setup.files.broken = None
        self.setup.log.close()
        assert self.setup.lines() == self.accepted
        assert self.setup.log.fault is None
        shutil.rmtree(self.directory)

    @rule(length=st.integers(0, 70))
    def append(self, length: int) -> None:
        """One line, numbered, if there is room."""
        if self.setup.log.has_room:
            self.number += 1
            line = b"%d:" % self.number + b"x" * length
            self.setup.log.append(line + b"\n")
            self.accepted.append(line)

    @rule()
    def settle(self) -> None:
        """All that was written is synced, and a checkpoint names it."""
        if self.setup.log.end is not None:
            self.setup.log.settle(self.setup.log.syncing())
            self.settled = len(self.accepted)
            self.settled_end = self.setup.log.end

    @rule()
    def rewind(self) -> None:
        """Nothing but that counts."""
        self.setup.log.rewind(self.settled_end)
        del self.accepted[self.settled :]

    @rule()
    def flush(self) -> None:
        """A tick of the shell."""
        self.setup.log.flush()

    @rule(seconds=st.sampled_from([0.05, 1.0, 4000.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.setup.clock.advance(Seconds(seconds))

    @rule(room=st.none() | st.integers(0, 80))
    def fill_disk(self, room: int | None) -> None:
        """The disk fills, or is given room."""
        self.setup.files.room = room

    @rule(broken=st.sampled_from([None, errno.EIO, errno.EROFS]), grace=st.integers(0, 40))
    def break_disk(self, broken: int | None, grace: int) -> None:
        """The disk breaks, perhaps in the middle of a write, or is mended."""
        self.setup.files.broken, self.setup.files.grace = broken, grace

    @invariant()
    def is_bounded(self) -> None:
        """Never more waits than the buffer holds, but for the last line that found room."""
        assert self.setup.log.counts.waiting <= 200 + 75


LogMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestLogMachine = LogMachine.TestCase
