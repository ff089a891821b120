"""What every implementation of the spool's files does: the operating system's, and the simulated one."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.sim.file_system import SimulatedDisk
from penstock.spool.files import FileError, Files
from penstock.spool.os_files import OsFiles


@pytest.fixture(params=["system", "simulated"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Files]:
    """An empty tree."""
    if request.param == "simulated":
        yield SimulatedDisk().process()
        return
    system = OsFiles(tmp_path / "spool")
    yield system
    system.close()


def failure(caught: pytest.ExceptionInfo[FileError]) -> tuple[str, str]:
    """The operation that failed, and the name of its errno."""
    return caught.value.operation, errno.errorcode[caught.value.errno]


def test_what_is_written_can_be_read(files: Files) -> None:
    """Buffers land one after the other; empty ones are nothing; a hole reads as zeros."""
    file = files.create("a")
    file.write([b"one", b"", b"two"], 4)
    assert (file.read(100, 0), file.size()) == (b"\0\0\0\0onetwo", 10)
    file.write([b"ONE"], 4)
    file.write([], 50)
    assert (file.read(4, 3), file.read(5, 8), file.read(5, 10), file.size()) == (b"\0ONE", b"wo", b"", 10)
    file.sync()
    file.close()


def test_very_many_buffers_are_written_at_once(files: Files) -> None:
    """More than the system takes in one call."""
    file = files.create("a")
    buffers = [b"%06d" % number for number in range(2500)]
    file.write(buffers, 0)
    assert file.read(20_000, 0) == b"".join(buffers)
    file.close()


def test_a_file_can_be_cut_and_continued(files: Files) -> None:
    """What was cut off does not come back when the file grows again."""
    file = files.create("a")
    file.write([b"x" * 1000], 0)
    file.truncate(600)
    assert (file.size(), file.read(2000, 0)) == (600, b"x" * 600)
    file.truncate(700)
    assert file.read(2000, 590) == b"x" * 10 + bytes(100)
    file.close()


def test_allocation_gives_the_size_and_keeps_the_content(files: Files) -> None:
    """Zeros where nothing was written; a file that is bigger is left alone."""
    file = files.create("a")
    file.write([b"abc"], 0)
    file.allocate(100_000)
    assert (file.size(), file.read(5, 0), file.read(2, 99_998)) == (100_000, b"abc\0\0", b"\0\0")
    file.allocate(10)
    assert file.size() == 100_000
    file.close()


def test_names_are_listed_sorted(files: Files) -> None:
    """Files and folders alike, each folder its own."""
    files.make_folder("lane")
    files.make_folder("lane")
    for path in ("b", "a", "lane/c"):
        files.create(path).close()
    assert files.names() == ["a", "b", "lane"]
    assert files.names("lane") == ["c"]
    files.sync_folder()
    files.sync_folder("lane")


def test_a_renamed_file_replaces_another(files: Files) -> None:
    """Who has either open goes on with what it has open."""
    files.make_folder("lane")
    old, new = files.create("old"), files.create("lane/new")
    old.write([b"old"], 0)
    new.write([b"new"], 0)
    files.rename("old", "lane/new")
    assert (files.names(), files.names("lane")) == (["lane"], ["new"])
    found = files.open("lane/new")
    assert (found.read(9, 0), old.read(9, 0), new.read(9, 0)) == (b"old", b"old", b"new")
    for file in (found, old, new):
        file.close()


def test_a_removed_file_is_there_for_who_has_it_open(files: Files) -> None:
    """Its name can be used again."""
    file = files.create("a")
    file.write([b"still here"], 0)
    files.remove("a")
    files.create("a").close()
    assert file.read(100, 0) == b"still here"
    file.close()


def test_what_is_there_is_not_created_again(files: Files) -> None:
    """A segment's name is never given twice by mistake."""
    files.create("a").close()
    with pytest.raises(FileError) as caught:
        files.create("a")
    assert failure(caught) == ("create", "EEXIST")
    assert "cannot create" in str(caught.value) and "file exists (EEXIST)" in str(caught.value)


@pytest.mark.parametrize("path", ["missing", "missing/file"])
def test_what_is_not_there_is_said_so(files: Files, path: str) -> None:
    """Opened, removed or renamed."""
    for operation, attempt in (
        ("open", lambda: files.open(path)),
        ("remove", lambda: files.remove(path)),
        ("rename", lambda: files.rename(path, "x")),
    ):
        with pytest.raises(FileError) as caught:
            attempt()
        assert failure(caught) == (operation, "ENOENT")


def test_a_folder_is_no_file_and_a_file_no_folder(files: Files) -> None:
    """Each refused, with the reason."""
    files.make_folder("lane")
    files.create("a").close()
    with pytest.raises(FileError):
        files.open("lane", writable=True)
    with pytest.raises(FileError, match="no regular file"):
        files.open("lane")
    for attempt in (lambda: files.make_folder("a"), lambda: files.names("a"), lambda: files.create("a/b")):
        with pytest.raises(FileError) as caught:
            attempt()
        assert failure(caught)[1] == "ENOTDIR"


def test_a_file_opened_for_reading_is_not_written(files: Files) -> None:
    """Nor is one that has been closed, twice even."""
    files.create("a").close()
    reader = files.open("a")
    with pytest.raises(FileError):
        reader.write([b"x"], 0)
    reader.close()
    reader.close()
    assert reader.fileno() == -1
    for attempt in (lambda: reader.read(1, 0), reader.sync, reader.size):
        with pytest.raises(FileError) as caught:
            attempt()
        assert failure(caught)[1] == "EBADF"


def test_a_path_stays_inside_the_tree(files: Files) -> None:
    """No name that the program makes leads out of it; one that did would be a mistake of ours."""
    for path in ("..", "lane/../x", "/etc/passwd", "a//b", ""):
        with pytest.raises((ValueError, FileError)):
            files.create(path)
    assert files.names() == []


def test_the_lock_is_a_file_that_stays(files: Files) -> None:
    """Whoever lists the root sees it."""
    files.lock()
    with pytest.raises(FileError, match="in use by process"):
        files.lock()
    assert files.names() == ["lock"]


def test_one_process_has_the_tree() -> None:
    """The second is told who has it; when that one has ended, it may."""
    disk = SimulatedDisk()
    disk.process().lock()
    with pytest.raises(FileError, match="in use by process 101"):
        disk.process().lock()
    disk.after_kill().process().lock()
    next(disk.crash_states()).process().lock()


def test_room_is_told(files: Files) -> None:
    """Octets and inodes, free and in all."""
    free, total, free_inodes, inodes = files.free()
    assert 0 < free <= total
    assert 0 <= free_inodes <= inodes
