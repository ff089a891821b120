"""Programs that a check starts: found, watched until they are ready, and stopped for sure.

Every program gets a process group of its own and, where ``setpriv`` (util-linux) exists, dies with the process that started it. Orphans of
those programs are adopted (``adopt_orphans``) so that ``end_descendants`` finds and ends whatever is left. Readiness is a condition asked
again and again until a deadline, never a guess in seconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final, TypeVar

LOOPBACK: Final = "127.0.0.1"
#: Where Debian keeps what a plain user's PATH leaves out.
SEARCH_PATH: Final = os.pathsep.join(
    [os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/lib/postfix/sbin"]
)
#: The Debian package of each foreign program.
PACKAGES: Final = {
    "smtp-source": "postfix",
    "smtp-sink": "postfix",
    "postfix": "postfix",
    "swaks": "swaks",
    "openssl": "openssl",
    "git": "git",
    "strace": "strace",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "mount": "mount",
    "umount": "mount",
}
PR_SET_CHILD_SUBREAPER: Final = 36

T = TypeVar("T")


class MissingProgramError(Exception):
    """Something that the check stands on is not on this machine; the text says what, and how to get it."""


class ProgramFaultError(Exception):
    """A program that the check started did not do its part: it ended, failed, or was not ready in time."""


def find_program(name: str) -> str:
    """The path of a program, or MissingProgramError saying which Debian package has it."""
    path = shutil.which(name, path=SEARCH_PATH)
    if path is None:
        package = PACKAGES.get(name)
        remedy = f"; on Debian, run 'apt-get install {package}' as root" if package else ""
        raise MissingProgramError(f"{name} is not installed{remedy}")
    return path


def free_port() -> int:
    """A TCP port of loopback that nothing listens on now, for programs that cannot be told 0."""
    with socket.create_server((LOOPBACK, 0)) as server:
        port: int = server.getsockname()[1]
    return port


def accepts_connections(port: int, address: str = LOOPBACK) -> bool:
    """Whether something listens on this port."""
    try:
        socket.create_connection((address, port), timeout=1.0).close()
    except OSError:
        return False
    return True


def greets(port: int, address: str = LOOPBACK) -> bool:
    """Whether an SMTP server there says 220: it does not only listen, it serves."""
    try:
        with socket.create_connection((address, port), timeout=1.0) as connection:
            return connection.recv(4) == b"220 "
    except OSError:
        return False


def wait_until(
    condition: Callable[[], T | None],
    seconds: float,
    what: str,
    process: subprocess.Popen[bytes] | None = None,
    interval: float = 0.01,
) -> T:
    """The first true answer of ``condition``, asked every ``interval``; ProgramFaultError at the deadline, or when ``process`` ends first."""
    deadline = time.monotonic() + seconds
    while True:
        if answer := condition():
            return answer
        if process is not None and process.poll() is not None:
            raise ProgramFaultError(f"{what}: the program ended first, with status {process.returncode}")
        if time.monotonic() > deadline:
            raise ProgramFaultError(f"{what}: not within {seconds:g} s")
        time.sleep(interval)


@functools.cache
def _setpriv() -> str | None:
    return shutil.which("setpriv", path=SEARCH_PATH)


def start(
    argv: Sequence[str],
    *,
    stdout: IO[bytes] | int = subprocess.DEVNULL,
    stderr: IO[bytes] | int = subprocess.DEVNULL,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    user: str | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program in a process group of its own. ``user`` is who it runs as when we are root (``smtp-sink`` refuses to be root).

    To be called from the main thread: the program is told to die with the thread that started it.
    """
    command = list(argv)
    setpriv = _setpriv()
    if setpriv is not None:
        command = [setpriv, "--pdeathsig", "KILL", *command]
    lesser = user is not None and os.geteuid() == 0
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=None if environment is None else dict(environment),
        cwd=folder,
        start_new_session=True,
        user=user if lesser else None,
        group="nogroup" if lesser else None,
        extra_groups=[] if lesser else None,
    )


def guard(process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    """A guardian that kills the program's group when we are gone, however we went; to be stopped before the program is.

    For programs that change their credentials: the kernel then forgets that they were to die with us (prctl(2), PR_SET_PDEATHSIG).
    """
    shell = find_program("sh")
    # its input ends when we do: nobody else has the other end (file descriptors are close-on-exec)
    return subprocess.Popen(
        [shell, "-c", 'read -r nothing; kill -s KILL -- "-$0"', str(process.pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def stop(process: subprocess.Popen[bytes], grace: float = 5.0, first: signal.Signals = signal.SIGTERM) -> int:
    """End a program and its process group: asked first, after ``grace`` seconds made to. Returns its exit status."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(first)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait(10.0)


def adopt_orphans() -> None:
    """Become the parent of every orphan among our descendants (Linux: child subreaper)."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(root: int) -> list[int]:
    """The living descendants of a process, itself left out."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def end_descendants() -> int:
    """Kill whatever we started that still lives, and its orphans; returns how many there were."""
    ended: set[int] = set()
    for _ in range(50):
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        living = descendants(os.getpid())
        if not living:
            break
        ended.update(living)
        for pid in living:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    return len(ended)
