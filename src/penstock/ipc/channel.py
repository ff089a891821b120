"""A connection that carries frames between two processes of one server, on a Unix stream socket.

Only processes of our own user, or of root, are talked to (SO_PEERCRED, unix(7)); the socket's file is for our user alone. What is sent
never waits: it is kept until the kernel takes it, ``backlog`` says how much that is, and whoever sends in bulk stops at a mark of its own and
goes on when ``writable`` is called. A channel whose other side takes nothing is ended before what is kept has no bound.

uvloop gathers what is sent in one turn of the loop into one system call.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

from penstock.ipc.frames import HEAD_LIMIT, TAIL_LIMIT, Frame, FrameReader, ProtocolError, encode

LOG = logging.getLogger(__name__)

#: ``writable`` is called when the backlog has been over the first and falls to the second.
HIGH_MARK: Final = 256 * 1024
LOW_MARK: Final = 64 * 1024
#: Octets that the other side has not taken; with more it is given up.
BACKLOG_LIMIT: Final = 64 * 1024 * 1024
#: Seconds that the other side has to take the rest, once the channel is closed.
_PARTING: Final = 5.0
#: What fits into sockaddr_un.sun_path with its closing NUL (unix(7)).
_PATH_LIMIT: Final = 107
_WAITING_CONNECTIONS: Final = 128
_CREDENTIALS: Final = struct.Struct("=iII")  # pid, uid, gid
_NOBODY_MORE: Final = "a channel is used once"

Received = Callable[[Frame], None]
Ended = Callable[[str | None], None]


class ChannelError(Exception):
    """No channel comes about. ``str()`` of it says why, and what to do about it."""


class Channel(asyncio.BufferedProtocol):
    """One end of a connection, for one connection only. Give it to ``connect``, ``over`` or ``listen``.

    ``received`` is told each frame in order. It may raise ProtocolError: the channel ends with its text. ``ended`` is told once if it was ever
    connected, with None if one of the two sides closed it, else with what was wrong; nothing is received after it. ``writable``: see the
    module.
    """

    def __init__(
        self,
        received: Received,
        ended: Ended,
        writable: Callable[[], None] = lambda: None,
        *,
        head_limit: int = HEAD_LIMIT,
        tail_limit: int = TAIL_LIMIT,
        backlog_limit: int = BACKLOG_LIMIT,
    ) -> None:
        self._received = received
        self._ended = ended
        self._writable = writable
        self._head_limit = head_limit
        self._tail_limit = tail_limit
        self._backlog_limit = backlog_limit
        self._reader = FrameReader(head_limit=head_limit, tail_limit=tail_limit)
        self._transport: asyncio.Transport | None = None
        self._is_open = False
        self._is_over = False
        self._was_used = False
        self._is_held = False
        self._reason: str | None = None
        self._parting: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether frames can be sent: it is connected, and neither side has closed it."""
        return self._is_open

    @property
    def backlog(self) -> int:
        """Octets that were sent, and that the kernel has not taken yet."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def send(
        self, kind: int, number: int, head: bytes = b"", tail: Sequence[bytes | memoryview] = ()
    ) -> None:
        """Send a frame; see ``frames.encode``. What is in the tail must not change any more.

        On a channel that is not open, nothing is sent: ``ended`` has been, or is about to be called.
        """
        if not self._is_open:
            return
        transport = cast(asyncio.Transport, self._transport)
        transport.writelines(
            encode(kind, number, head, tail, head_limit=self._head_limit, tail_limit=self._tail_limit)
        )
        if transport.get_write_buffer_size() > self._backlog_limit:
            self._end(f"the other process has not taken {self._backlog_limit} octets")

    async def use(self, sock: socket.socket) -> None:
        """See ``over``."""
        # uvloop takes charge of a socket a turn after connection_made; if the connection ended before, its descriptor would be closed twice.
        self._is_held = True
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=sock)
        if self._transport is not None:
            self._begin(self._transport)
            self._give_out()  # what was read before
            self.resume()

    def pause(self) -> None:
        """Receive no more for now, but what has been read already: some 256 KiB. The other side's backlog grows."""
        if self._is_open:
            cast(asyncio.Transport, self._transport).pause_reading()

    def resume(self) -> None:
        """Receive again."""
        if self._is_open:
            cast(asyncio.Transport, self._transport).resume_reading()

    def close(self) -> None:
        """Receive no more, and close when the other side has taken what was sent, or has had 5 s for it."""
        self._is_over = True
        if self._is_open:
            self._is_open = False
            transport = cast(asyncio.Transport, self._transport)
            transport.close()
            self._parting = asyncio.get_running_loop().call_later(_PARTING, transport.abort)

    def abort(self) -> None:
        """Close at once; what the kernel has not taken is lost."""
        self._is_over = True
        self._is_open = False
        if self._transport is not None:
            self._transport.abort()

    def _end(self, reason: str) -> None:
        if self._reason is None:
            self._reason = reason
        self.abort()

    # -- asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, if the other process may be talked to and ``use`` does not hold it."""
        if self._was_used:
            cast(asyncio.Transport, transport).abort()
            raise RuntimeError(_NOBODY_MORE)
        self._was_used = True
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=HIGH_MARK, low=LOW_MARK)
        if self._is_held:
            self._transport.pause_reading()
        else:
            self._begin(self._transport)

    def _begin(self, transport: asyncio.Transport) -> None:
        uid = _uid_of(transport.get_extra_info("socket"))
        if self._is_over:
            self.abort()
        elif may_talk(uid, os.geteuid()):
            self._is_open = True
        else:
            self._end(f"the other process is of user {uid}, which is neither ours nor root")

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next octets go."""
        return self._reader.space()

    def buffer_updated(self, nbytes: int) -> None:
        """Give out the frames that are whole."""
        self._reader.received(nbytes)
        self._give_out()

    def _give_out(self) -> None:
        try:
            while self._is_open and (frame := self._reader.take()) is not None:
                self._received(frame)
        except ProtocolError as error:
            self._end(str(error))
        except Exception:  # the border: a bug in what handles frames must not go on with half of them
            LOG.exception("a frame could not be handled")
            self._end("a frame could not be handled; the log says why")

    def eof_received(self) -> None:
        """The other side closed it, or died."""
        if self._is_open and not self._reader.is_between():
            self._end("the other process ended in the middle of a frame")
        self._is_open = False

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._is_open = False
        self._transport = None
        if self._parting is not None:
            self._parting.cancel()
        if self._reason is None and exc is not None and not isinstance(exc, ConnectionError):
            self._reason = f"the connection to the other process failed: {exc}"
        self._ended(self._reason)

    def resume_writing(self) -> None:
        """The backlog fell to its low mark."""
        if self._is_open:
            self._writable()


class ListeningServer:
    """Takes connections at a path until it is closed."""

    def __init__(self, path: Path, server: asyncio.AbstractServer) -> None:
        self._path = path
        self._server = server
        self._identity = _identity(path)

    def close(self) -> None:
        """Take no more; the channels that are there stay. The file goes, unless it is another's by now."""
        self._server.close()
        with suppress(OSError):
            if _identity(self._path) == self._identity:
                self._path.unlink()


async def connect(path: str | os.PathLike[str], channel: Channel) -> None:
    """Connect ``channel`` to whoever listens at ``path``. ChannelError if nobody does, for one."""
    _check_length(Path(path))
    try:
        await asyncio.get_running_loop().create_unix_connection(lambda: channel, os.fspath(path))
    except OSError as error:
        raise ChannelError(f"cannot connect to {path}: {(error.strerror or str(error)).lower()}") from error


async def over(sock: socket.socket, channel: Channel) -> None:
    """Let ``channel`` use a connected Unix stream socket, which is its own from now on. ChannelError if it is none."""
    if sock.family != socket.AF_UNIX or sock.type != socket.SOCK_STREAM:
        raise ChannelError(f"descriptor {sock.fileno()} is no Unix stream socket")
    try:
        sock.setblocking(False)
        await channel.use(sock)
    except OSError as error:
        raise ChannelError(f"the socket cannot be used: {(error.strerror or str(error)).lower()}") from error


async def listen(path: str | os.PathLike[str], make: Callable[[], Channel]) -> ListeningServer:
    """Take connections at ``path``, each with a channel from ``make``.

    The folder must be there, and be ours alone. A socket file that a dead process left is replaced; ChannelError if somebody answers there,
    or something else is in the way.
    """
    where = Path(path)
    _check_length(where)
    try:
        _remove_dead(where)
        listening = _bind(where)
    except OSError as error:
        raise ChannelError(f"cannot listen at {where}: {(error.strerror or str(error)).lower()}") from error
    return ListeningServer(where, await asyncio.get_running_loop().create_unix_server(make, sock=listening))


def may_talk(uid: int, own: int) -> bool:
    """Whether a process of user ``uid`` may talk to one of user ``own``."""
    return uid in (own, 0)


def _uid_of(connected: socket.socket) -> int:
    found = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(found)[1])


def _check_length(path: Path) -> None:
    if len(os.fsencode(path)) > _PATH_LIMIT:
        raise ChannelError(
            f"{path} is too long for a Unix socket: at most {_PATH_LIMIT} octets; choose a shorter data_dir"
        )


def _remove_dead(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ChannelError(f"{path} is in the way: it is no socket; look what it is, and remove it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        with suppress(BlockingIOError):
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
                return
    raise ChannelError(f"another process answers at {path}")


def _bind(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(str(path))
        path.chmod(0o600)  # nobody came through meanwhile: it does not listen yet
        listening.listen(_WAITING_CONNECTIONS)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_ino, status.st_ctime_ns  # an inode's number alone may be given to the next file
