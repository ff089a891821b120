"""Reading the event log: last lines, from a time on, and following it across files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from penstock.events.files import file_name
from penstock.events.log import EventLog
from penstock.events.tail import LINE_LIMIT, Position, Reader, begin_at, last_lines
from penstock.mail.duration import ByteCount, Seconds
from penstock.sim.clock import FakeClock


def put(directory: Path, second: int, octets: bytes) -> Path:
    """A file of the log, begun at this second."""
    path = directory / file_name(second * 1_000_000)
    path.write_bytes(octets)
    return path


def every(_: bytes) -> bool:
    """Every line is wanted."""
    return True


def available(batches: Iterator[list[bytes]]) -> list[bytes]:
    """Lines until there is nothing more for now."""
    found: list[bytes] = []
    for batch in batches:
        if not batch:
            break
        found += batch
    return found


def test_last_lines_reach_back_over_files(tmp_path: Path) -> None:
    """They come oldest first, from as many files as it takes."""
    put(tmp_path, 1, b"a\nb\n")
    put(tmp_path, 2, b"c\n")
    put(tmp_path, 3, b"")
    last = put(tmp_path, 4, b"d\ne\n")
    assert last_lines(tmp_path, 4, every) == ([b"b", b"c", b"d", b"e"], Position(last, 4))
    assert last_lines(tmp_path, 9, every)[0] == [b"a", b"b", b"c", b"d", b"e"]


def test_last_lines_are_the_last_wanted_ones(tmp_path: Path) -> None:
    """What is not wanted does not count."""
    put(tmp_path, 1, b"x1\ny\nx2\n")
    put(tmp_path, 2, b"y\ny\nx3\ny\n")
    assert last_lines(tmp_path, 2, lambda line: line.startswith(b"x"))[0] == [b"x2", b"x3"]


def test_no_last_lines_is_the_position_now(tmp_path: Path) -> None:
    """``-n 0`` is behind everything that is complete."""
    last = put(tmp_path, 1, b"a\nb\npart")
    assert last_lines(tmp_path, 0, every) == ([], Position(last, 4))


def test_empty_directory_has_no_lines(tmp_path: Path) -> None:
    """A log that has just begun is no error; one that is not there is."""
    assert last_lines(tmp_path, 10, every) == ([], Position())
    with Reader(tmp_path, Position()) as reader:
        assert available(reader.batches()) == []
    with pytest.raises(FileNotFoundError):
        last_lines(tmp_path / "none", 10, every)


def test_other_files_are_not_read(tmp_path: Path) -> None:
    """Only names of the log are its files."""
    put(tmp_path, 1, b"a\n")
    (tmp_path / "notes.txt").write_bytes(b"b\n")
    assert last_lines(tmp_path, 10, every)[0] == [b"a"]


def test_reader_goes_on_where_the_last_lines_ended(tmp_path: Path) -> None:
    """Nothing is shown twice, nothing is left out."""
    path = put(tmp_path, 1, b"a\nb\n")
    _, position = last_lines(tmp_path, 1, every)
    with Reader(tmp_path, position) as reader:
        batches = reader.batches()
        assert available(batches) == []
        with path.open("ab") as file:
            file.write(b"c\n")
        assert available(batches) == [b"c"]


def test_reader_waits_for_the_rest_of_a_line(tmp_path: Path) -> None:
    """A line that is being written is shown when it is whole."""
    path = put(tmp_path, 1, b"a\nhal")
    with Reader(tmp_path, Position()) as reader:
        batches = reader.batches()
        assert available(batches) == [b"a"]
        with path.open("ab") as file:
            file.write(b"f\nb\n")
        assert available(batches) == [b"half", b"b"]


def test_reader_skips_a_torn_line_when_the_file_has_a_successor(tmp_path: Path) -> None:
    """What a crash left is not an event, and is not joined to the next file's first line."""
    put(tmp_path, 1, b"a\nhal")
    with Reader(tmp_path, Position()) as reader:
        batches = reader.batches()
        assert available(batches) == [b"a"]
        put(tmp_path, 2, b"b\n")
        assert available(batches) == [b"b"]


def test_reader_takes_what_was_written_before_the_successor_came(tmp_path: Path) -> None:
    """A file is read to its end after the next was seen, because its last lines may have come between two looks."""
    path = put(tmp_path, 1, b"a\n")
    with Reader(tmp_path, Position()) as reader:
        batches = reader.batches()
        assert available(batches) == [b"a"]
        with path.open("ab") as file:
            file.write(b"b\n")
        put(tmp_path, 2, b"c\n")
        assert available(batches) == [b"b", b"c"]


def test_reader_looks_once_more_after_it_saw_the_successor(tmp_path: Path) -> None:
    """A line that is written, and the file finished, after the reader came to its end and before it asked for the next file."""
    path = put(tmp_path, 1, b"a\n")

    class Overtaken(Reader):
        def _successor(self) -> Path | None:
            if path.read_bytes() == b"a\n" and self._file is not None:
                path.write_bytes(b"a\nb\n")
                put(tmp_path, 2, b"c\n")
            return super()._successor()

    with Overtaken(tmp_path, Position()) as reader:
        assert available(reader.batches()) == [b"a", b"b", b"c"]


def test_reader_goes_on_after_a_file_that_was_removed(tmp_path: Path) -> None:
    """Old files are deleted by their owner; the reader goes to the next there is."""
    first = put(tmp_path, 1, b"a\n")
    put(tmp_path, 2, b"b\n")
    first.unlink()
    with Reader(tmp_path, Position(first, 2)) as reader:
        assert available(reader.batches()) == [b"b"]


def test_endless_line_is_skipped_in_bounded_memory(tmp_path: Path) -> None:
    """A line over the limit is none of ours: forward and backward it is left out, its neighbours are not."""
    put(tmp_path, 1, b"a\n" + b"x" * (3 * LINE_LIMIT) + b"\nb\n")
    with Reader(tmp_path, Position()) as reader:
        assert available(reader.batches()) == [b"a", b"b"]
    assert last_lines(tmp_path, 10, every)[0] == [b"a", b"b"]


def test_beginning_at_a_time_leaves_out_whole_files(tmp_path: Path) -> None:
    """A file is left out when its successor was begun before that time: all that is in it is older."""
    first, second, third = (put(tmp_path, second, b"\n") for second in (100, 200, 300))
    assert begin_at(tmp_path, 50_000_000) == Position(first)
    assert begin_at(tmp_path, 200_000_000) == Position(first)
    assert begin_at(tmp_path, 200_000_001) == Position(second)
    assert begin_at(tmp_path, 999_000_000) == Position(third)


class FollowMachine(RuleBasedStateMachine):
    """A reader beside a writer, looking at any moment, gets every line once and in order."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="penstock-follow-"))
        self.clock = FakeClock()
        self.log = EventLog(
            self.directory,
            clock=self.clock,
            max_file_size=ByteCount(50),
            max_segment_duration=Seconds(10.0),
        )
        self.reader = Reader(self.directory, Position())
        self.batches = self.reader.batches()
        self.written: list[bytes] = []
        self.seen: list[bytes] = []

    def teardown(self) -> None:
        """In the end everything was seen."""
        self.log.close()
        self.look()
        assert self.seen == self.written
        self.reader.close()
        shutil.rmtree(self.directory)

    @rule(length=st.integers(0, 30), count=st.integers(1, 5))
    def write(self, length: int, count: int) -> None:
        """Some lines and a flush."""
        for _ in range(count):
            line = b"%d:" % len(self.written) + b"x" * length
            self.written.append(line)
            self.log.append(line + b"\n")
        self.log.flush()

    @rule()
    def age(self) -> None:
        """The file is over."""
        self.clock.advance(Seconds(11.0))
        self.log.flush()

    @rule()
    def look(self) -> None:
        """Read what there is."""
        self.seen += available(self.batches)


FollowMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestFollowMachine = FollowMachine.TestCase
