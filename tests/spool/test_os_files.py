"""The operating system's files. What both implementations do is in ``tests/sim/test_file_system_conformance.py``."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.spool import os_files
from penstock.spool.files import FileError
from penstock.spool.os_files import OsFiles

_HOLDER = """
import sys
from pathlib import Path
from penstock.spool.os_files import OsFiles
OsFiles(Path(sys.argv[1])).lock()
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the tree is going to be."""
    return tmp_path / "data" / "spool"


@pytest.fixture
def files(root: Path) -> Iterator[OsFiles]:
    """An empty tree."""
    made = OsFiles(root)
    yield made
    made.close()


def test_only_the_owner_may_look(files: OsFiles, root: Path) -> None:
    """Files 0600, folders 0700, whatever the umask allows others; no descriptor is left to programs started."""
    before = os.umask(0)
    try:
        file = files.create("a")
        files.make_folder("lane")
        files.lock()
    finally:
        os.umask(before)
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert stat.S_IMODE((root / "lane").stat().st_mode) == 0o700
    assert {stat.S_IMODE((root / name).stat().st_mode) for name in ("a", "lock")} == {0o600}
    assert not os.get_inheritable(file.fileno())
    file.close()


def test_what_is_no_file_of_its_own_is_refused(files: OsFiles, root: Path, tmp_path: Path) -> None:
    """A symbolic link, a second name, a pipe, a device: none is followed, waited for or changed."""
    outside = tmp_path / "outside"
    outside.write_bytes(b"not ours")
    (root / "link").symlink_to(outside)
    (root / "hard").hardlink_to(outside)
    os.mkfifo(root / "pipe")
    for name, why in (("link", "ELOOP"), ("hard", "EMLINK"), ("pipe", "EINVAL")):
        for writable in (False, True):
            with pytest.raises(FileError, match=rf"cannot open {root}/{name}: .*\({why}\)"):
                files.open(name, writable=writable)
    (root / "lane").symlink_to(tmp_path)
    for attempt in (
        lambda: files.create("lane/x"),
        lambda: files.names("lane"),
        lambda: files.make_folder("lane"),
    ):
        with pytest.raises(FileError):
            attempt()
    assert outside.read_bytes() == b"not ours"


def test_a_link_is_not_locked_either(files: OsFiles, root: Path, tmp_path: Path) -> None:
    """Nothing is written through it."""
    (root / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileError, match="ELOOP"):
        files.lock()
    assert not (tmp_path / "elsewhere").exists()


def test_the_second_process_is_told_of_the_first(files: OsFiles, root: Path) -> None:
    """By its id, for as long as it lives; its death frees the tree, however it died."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"locked\n"
        with pytest.raises(
            FileError, match=f"cannot lock {root}: in use by process {holder.pid} .*; stop"
        ) as caught:
            files.lock()
        assert caught.value.errno == errno.EWOULDBLOCK
        holder.kill()
    files.lock()
    assert (root / "lock").read_text() == f"{os.getpid()}\n"


def test_a_lock_file_of_anything_is_not_believed(files: OsFiles, root: Path) -> None:
    """What it says is shown only if it looks like a process id; whether it is locked decides."""
    (root / "lock").write_bytes(b"\x1b[2J rubbish")
    first = OsFiles(root)
    first.lock()
    (root / "lock").write_bytes(b"\x1b[2J rubbish")
    with pytest.raises(FileError, match="in use by another process"):
        files.lock()
    first.close()
    files.lock()


def test_short_writes_are_continued(files: OsFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may take any part of what it is given, cut inside of a buffer too."""
    real = os.pwritev

    def few(descriptor: int, buffers: list[bytes], offset: int) -> int:
        return real(descriptor, [b"".join(buffers)[:7]], offset)

    monkeypatch.setattr(os_files.os, "pwritev", few)
    file = files.create("a")
    buffers = [b"12345", b"6", b"789012345678", b"90"]
    file.write(buffers, 3)
    assert file.read(100, 3) == b"".join(buffers)
    file.close()


def test_a_write_that_goes_nowhere_ends(files: OsFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of being tried for ever."""
    monkeypatch.setattr(os_files.os, "pwritev", lambda *_: 0)
    file = files.create("a")
    with pytest.raises(FileError, match="nothing went in"):
        file.write([b"x"], 0)
    file.close()


def test_short_reads_are_continued(files: OsFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the end of the file makes a read short."""
    real = os.pread
    monkeypatch.setattr(
        os_files.os, "pread", lambda descriptor, size, offset: real(descriptor, min(size, 3), offset)
    )
    file = files.create("a")
    file.write([b"0123456789"], 0)
    assert (file.read(8, 1), file.read(8, 5)) == (b"12345678", b"56789")
    file.close()


def test_without_preallocation_the_file_gets_its_size(
    files: OsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On file systems that know none; any other error is one."""
    errors = iter([errno.EOPNOTSUPP, errno.EOPNOTSUPP, errno.ENOSPC])

    def refuse(*_: int) -> None:
        raise OSError(next(errors), "no")

    monkeypatch.setattr(os_files.os, "posix_fallocate", refuse)
    file = files.create("a")
    file.allocate(5000)
    file.allocate(10)
    assert file.size() == 5000
    with pytest.raises(FileError, match="ENOSPC"):
        file.allocate(9000)
    file.close()


def test_a_real_limit_on_size_is_told(files: OsFiles, root: Path) -> None:
    """What fits is in the file, and the message says what to do."""
    file = files.create("a")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(
            FileError, match=rf"cannot write {root}/a: file too large \(EFBIG\); raise the limit"
        ):
            file.write([b"x" * 5000], 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert file.size() == 4096
    file.close()


def test_a_disk_that_is_really_full_is_told() -> None:
    """/dev/full answers as a full disk does."""
    descriptor = os.open("/dev/full", os.O_RDWR)
    file = os_files.OsFile(descriptor, "a", "/spool/a")
    with pytest.raises(
        FileError, match=r"cannot write /spool/a: no space left on device \(ENOSPC\); free space or inodes"
    ):
        file.write([b"x"], 0)
    with pytest.raises(FileError, match=r"cannot sync /spool/a: .*\(EINVAL\)"):
        file.sync()
    file.close()


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EIO, "disk, or the way to it, is failing"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "must belong to the user"),
    ],
)
def test_errors_say_what_to_do(number: int, advice: str) -> None:
    """In one line, the name of the errno with it."""
    text = str(FileError("sync", "lane/7", number))
    assert text.startswith("cannot sync lane/7: ") and advice in text and errno.errorcode[number] in text
    assert "\n" not in text


def test_a_root_that_cannot_be_is_told(tmp_path: Path) -> None:
    """At the start, by its name."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileError, match=f"cannot open {tmp_path}/file/spool: .*ENOTDIR"):
        OsFiles(tmp_path / "file" / "spool")


def _open_places() -> list[Path]:
    """What this process has open, as far as that is still so when it is looked at."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(descriptor.readlink())
    return found


def test_no_descriptor_is_left(root: Path, tmp_path: Path) -> None:
    """Neither by what succeeds nor by what fails."""
    files = OsFiles(root)
    files.make_folder("lane")
    files.create("lane/a").close()
    files.open("lane/a").close()
    files.rename("lane/a", "b")
    files.sync_folder("lane")
    (root / "hard").hardlink_to(root / "b")
    for attempt in (
        lambda: files.open("b"),
        lambda: files.open("no/b"),
        lambda: files.create("b"),
        lambda: files.rename("no", "lane/x"),
        lambda: files.names("b"),
        lambda: files.make_folder("b"),
    ):
        with pytest.raises(FileError):
            attempt()
    files.lock()
    files.close()
    assert not [place for place in _open_places() if place.is_relative_to(tmp_path)]
