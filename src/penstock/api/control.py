"""The control socket of a data directory: ``run/control.sock``, a Unix socket with mode 0600 in a directory with mode 0700.

There is one server per data directory. A socket file that a crash left behind is replaced; one that somebody answers is not touched.
Two servers that start at the same moment are kept apart by a lock on the directory, held until one of them listens.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

#: What fits into sockaddr_un.sun_path with its closing NUL (unix(7)).
_PATH_LIMIT: Final = 107
_BACKLOG: Final = 128


class ControlError(Exception):
    """The control socket cannot be opened or asked; ``str()`` of it says why, and what to do, to the person at the terminal."""


def control_path(data_dir: str | Path) -> Path:
    """Where the control socket of a data directory is. ControlError if that is too long for a socket."""
    path = Path(data_dir).absolute() / "run" / "control.sock"
    if len(os.fsencode(path)) > _PATH_LIMIT:
        raise ControlError(
            f"{path} is too long for a Unix socket: at most {_PATH_LIMIT} octets; choose a shorter data_dir"
        )
    return path


class ControlSocket:
    """The listening socket of a data directory. ControlError if a server answers there already, or the directory cannot be used.

    ``descriptor`` is the socket if an earlier program of this process has opened it.
    """

    def __init__(self, data_dir: str | Path, descriptor: int | None = None) -> None:
        self.path = control_path(data_dir)
        try:
            if descriptor is not None:
                self.socket = socket.socket(fileno=descriptor)
                self._identity = _identity(self.path)
                return
            with _locked(self.path.parent):
                self._remove_stale()
                self.socket = self._listen()
                self._identity = _identity(self.path)
        except OSError as error:
            raise ControlError(f"{self.path}: {error.strerror or error}") from error

    def remove(self) -> None:
        """Remove the file, unless it is another server's by now. The socket itself is closed by whoever serves it."""
        with suppress(OSError), _locked(self.path.parent):
            if _identity(self.path) == self._identity:
                self.path.unlink()

    def _remove_stale(self) -> None:
        try:
            mode = self.path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise ControlError(f"{self.path} is in the way: it is no socket; look what it is, and remove it")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            try:
                probe.connect(str(self.path))
            except ConnectionRefusedError:
                self.path.unlink()
            except BlockingIOError:
                raise self._taken() from None
            else:
                raise self._taken()

    def _taken(self) -> ControlError:
        data_dir = self.path.parent.parent
        return ControlError(f"another server is running for data_dir {data_dir} (it answers on {self.path})")

    def _listen(self) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(str(self.path))
            self.path.chmod(0o600)  # nobody came through meanwhile: the directory is ours alone
            listening.listen(_BACKLOG)
            listening.setblocking(False)
        except BaseException:
            listening.close()
            raise
        return listening


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold a directory's lock; it is made if it is missing, and private."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o700)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_ino, status.st_ctime_ns  # an inode's number alone may be given to the next file
