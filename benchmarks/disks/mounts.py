"""Disks of a check's own: memory of a given size, and images on loop devices that can lose power.

They are mounted in a mount namespace that only this process and what it starts see. When those have ended, however they did, the kernel
unmounts everything and frees the loop devices: nothing is ever left behind but files in a temporary folder.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.processes import MissingProgramError, ProgramFaultError, find_program, wait_until

# <linux/sched.h>, <sys/mount.h>
_CLONE_NEWNS: Final = 0x0002_0000
_CLONE_NEWUSER: Final = 0x1000_0000
_MS_REC: Final = 0x4000
_MS_PRIVATE: Final = 1 << 18
#: EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN are one: _IOR('X', 125, __u32).
_SHUTDOWN: Final = 0x8004_587D
#: EXT4_GOING_FLAGS_NOLOGFLUSH, XFS_FSOP_GOING_FLAGS_NOLOGFLUSH: nothing more goes to the disk, the journal in memory neither.
_NO_LOG_FLUSH: Final = 2
_IMAGE_SIZE: Final = 1024**3
_UNMOUNT_SECONDS: Final = 10.0


class FileSystem(NamedTuple):
    """A kind of file system: how it is made, and the options that it is mounted with."""

    name: str
    make: tuple[str, ...]
    options: str


#: Mounted so that they write nothing of their own accord while a check runs: what is on the disk is there because somebody asked.
FILE_SYSTEMS: Final = (
    FileSystem("ext4", ("mkfs.ext4", "-q", "-F"), "loop,commit=600"),
    FileSystem("xfs", ("mkfs.xfs", "-q", "-f"), "loop"),
)


@functools.cache
def enter_namespace() -> None:
    """Have mounts of our own from here on; to be called while there is one thread. MissingProgramError if that is not allowed.

    Without root, as root of a user namespace of our own: memory can be mounted there, images cannot.
    """
    library = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    flags = _CLONE_NEWNS if user == 0 else _CLONE_NEWNS | _CLONE_NEWUSER
    if library.unshare(flags) != 0:
        why = os.strerror(ctypes.get_errno())
        raise MissingProgramError(
            f"no mounts of our own here ({why}): a container needs the capability SYS_ADMIN"
        )
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    if library.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None) != 0:
        raise MissingProgramError(f"mounts here stay shared with others ({os.strerror(ctypes.get_errno())})")


def check_images(file_systems: tuple[FileSystem, ...]) -> None:
    """MissingProgramError if images cannot be made and mounted here; how to get what is missing is said."""
    if os.geteuid() != 0:
        raise MissingProgramError("file systems in images are mounted by root only: be root")
    for file_system in file_systems:
        find_program(file_system.make[0])
    for program in ("mount", "umount"):
        find_program(program)
    if not Path("/dev/loop-control").exists():
        raise MissingProgramError(
            "there are no loop devices here: a container needs /dev/loop-control and /dev/loop0 to 7"
        )


@contextlib.contextmanager
def memory(place: Path, options: str) -> Iterator[None]:
    """A file system in memory (tmpfs) at ``place``, an empty folder; ``options`` are size and nr_inodes."""
    enter_namespace()
    _mount("-t", "tmpfs", "-o", f"mode=0700,{options}", "tmpfs", str(place))
    try:
        yield
    finally:
        _unmount(place)


class Image:
    """A file system in a sparse file, mounted at ``place`` while in its context."""

    def __init__(self, file_system: FileSystem, file: Path, place: Path) -> None:
        self._file_system = file_system
        self._file = file
        self._place = place

    def __enter__(self) -> Image:
        enter_namespace()
        with self._file.open("xb") as image:
            image.truncate(_IMAGE_SIZE)
        _run(*self._file_system.make, str(self._file))
        self._mount()
        return self

    def __exit__(self, *_: object) -> None:
        _unmount(self._place)

    def lose_power(self) -> None:
        """From here on nothing reaches the disk: every write and sync fails, and what was not synced is gone for good."""
        place = os.open(self._place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(place, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(place)

    def come_back(self) -> None:
        """Mount what the disk has, its journal replayed. All who had files open on it must have ended."""
        _unmount(self._place)
        self._mount()

    def _mount(self) -> None:
        _mount(
            "-t", self._file_system.name, "-o", self._file_system.options, str(self._file), str(self._place)
        )


def _mount(*arguments: str) -> None:
    try:
        _run("mount", *arguments)
    except ProgramFaultError as fault:
        raise MissingProgramError(f"{fault}: a container may need to be privileged") from None


def _unmount(place: Path) -> None:
    """Unmount, as soon as nobody uses it; whatever happens it is out of the way."""
    try:
        wait_until(lambda: _ends_well("umount", str(place)), _UNMOUNT_SECONDS, f"{place} to be unmounted")
    except BaseException:
        _ends_well("umount", "--lazy", str(place))
        raise


def _ends_well(*command: str) -> bool:
    program = find_program(command[0])
    return (
        subprocess.run([program, *command[1:]], capture_output=True, timeout=60, check=False).returncode == 0
    )


def _run(*command: str) -> None:
    done = subprocess.run(
        [find_program(command[0]), *command[1:]], capture_output=True, timeout=60, check=False
    )
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip()
        raise ProgramFaultError(f"{' '.join(command)}: status {done.returncode}: {words}")
