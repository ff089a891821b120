"""Syncs files without stalling the loop, in a helper process (``penstock.spool.sync_helper``).

A thread would not do: behind a busy loop it waits for the interpreter's lock, and commits a few hundred times a second at most instead
of a thousand. The helper is started by exec, never by fork alone, gets the descriptors of what it is to sync over a socket, and dies
with this process. It is replaced when it dies, at once and then ever more slowly; a sync that was under way counts as failed, for
nobody knows, and is not asked for again. So does one without an answer for too long: the disk, or the helper, hangs. One that hangs in
the kernel cannot be killed, so only so many are left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno as errors
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from penstock.mail.duration import MonotonicTime, Seconds
from penstock.mail.ports import Clock
from penstock.spool.files import File, FileError
from penstock.spool.sync_helper import ANSWER, FILES_AT_ONCE, REQUEST

LOG = logging.getLogger(__name__)

#: The helper's program needs nothing but the standard library: without site and environment (-I -S) it starts in half the time, and
#: whatever lies in the working directory is not imported.
HELPER: Final = (sys.executable, "-I", "-S", str(Path(__file__).with_name("sync_helper.py")))
#: Disks that answer at all answer within this: Linux gives a command of a SCSI disk 30 s before it resets the disk.
PATIENCE: Final = Seconds(30.0)
_FIRST_DELAY: Final = Seconds(0.1)
_LONGEST_DELAY: Final = Seconds(5.0)
#: Helpers that were given up and have not ended yet. With so many the disk hangs for good, and another one would hang too.
_MOST_LEFT_BEHIND: Final = 8
#: How long ``close`` waits for the helper.
_PARTING: Final = Seconds(2.0)

_DIED: Final = "it died"
_STOPPING: Final = "syncing has been stopped"
#: Of the files of a sync of which nobody knows, those that are named.
_PATHS_SHOWN: Final = 3

Done = Callable[[FileError | None], None]


class Syncer(Protocol):
    """Puts files on stable storage, one request at a time."""

    def start(self) -> None:
        """Be ready. Before the first ``sync``."""

    def sync(self, files: Sequence[File], done: Done) -> None:
        """Sync the files (at least one) in this order, and call ``done``, never from inside this call: with None once all of them
        are on stable storage, with the fault if one is not, or may not be. The files must stay open until then.

        ValueError for no file, RuntimeError if a sync is under way: the caller gathers what comes meanwhile into the next one.
        """


class _Request:
    __slots__ = ("begun", "done", "files", "is_sent", "number", "timer")

    def __init__(
        self, number: int, files: Sequence[File], done: Done, begun: MonotonicTime, timer: asyncio.TimerHandle
    ) -> None:
        self.number = number
        self.files = list(files)
        self.done = done
        self.begun = begun
        self.timer = timer
        self.is_sent = False


class HelperSyncer:
    """The Syncer of a running server. ``start`` and all else from the loop.

    ``patience`` is how long a sync may take, with the start of a helper where there is none; ``command`` is the program of the helper,
    to which two numbers are added. ``on_synced`` is told how long each sync took that went well.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        patience: Seconds = PATIENCE,
        command: Sequence[str] = HELPER,
        on_synced: Callable[[Seconds], None] = lambda _seconds: None,
    ) -> None:
        self._clock = clock
        self._patience = patience
        self._command = command
        self._on_synced = on_synced
        self._none_lives = asyncio.Event()
        self._none_lives.set()
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        #: helpers that have not been seen to end, by their pidfd
        self._living: dict[int, subprocess.Popen[bytes]] = {}
        self._request: _Request | None = None
        #: the files that the helper has open, and that a request need not bring
        self._handed: list[File] = []
        self._last_number = 0
        self._failures = 0
        self._restart: asyncio.TimerHandle | None = None
        self._is_closed = False
        #: How many helpers have been started.
        self.starts = 0

    def start(self) -> None:
        """Start the helper. If that fails it is tried again later, and syncs wait for it."""
        self._loop = asyncio.get_running_loop()
        self._start_helper()

    def sync(self, files: Sequence[File], done: Done) -> None:
        """See Syncer."""
        if self._request is not None:
            raise RuntimeError("a sync is under way")
        if not files:
            raise ValueError("a sync is of one file at least")
        self._last_number += 1
        timer = self._loop.call_later(self._patience, self._give_up)
        self._request = _Request(self._last_number, files, done, self._clock.monotonic(), timer)
        if self._is_closed:
            self._fail(self._request, errors.ECANCELED, _STOPPING)
        elif self._socket is not None:
            self._send(self._socket, self._request)

    def waiting(self) -> Seconds:
        """How long the sync that is under way has taken so far; 0 if there is none."""
        return Seconds(self._clock.monotonic() - self._request.begun) if self._request else Seconds(0.0)

    async def close(self) -> None:
        """End the helper. A sync that is under way fails."""
        self._is_closed = True
        if self._restart is not None:
            self._restart.cancel()
        if self._request is not None:
            self._fail(self._request, errors.ECANCELED, _STOPPING)
        self._disconnect()
        if not await self._have_ended():
            for process in self._living.values():
                process.kill()
            if not await self._have_ended():
                LOG.error("spool: a sync helper hangs in the kernel, and is left behind")

    async def _have_ended(self) -> bool:
        """Whether all helpers ended in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PARTING):
                await self._none_lives.wait()
        return not self._living

    # -- the helper's life

    def _start_helper(self) -> None:
        self._restart = None
        try:
            if len(self._living) >= _MOST_LEFT_BEHIND:
                raise OSError(errors.EAGAIN, "those that were given up hang in the kernel")
            self._socket, self._process = self._new_helper()
        except OSError as error:
            LOG.error("spool: no sync helper can be started: %s", error.strerror or error)
            self._start_later()
            return
        self.starts += 1
        self._loop.add_reader(self._socket.fileno(), self._on_readable)
        if self._request is not None and not self._request.is_sent:
            self._send(self._socket, self._request)

    def _new_helper(self) -> tuple[socket.socket, subprocess.Popen[bytes]]:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            try:
                ours.setblocking(False)
                process = subprocess.Popen(  # noqa: S603 - a command of our own
                    [*self._command, str(its.fileno()), str(os.getpid())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[its.fileno()],
                    cwd="/",
                )
                self._watch(process)
            except BaseException:
                ours.close()
                raise
        return ours, process

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Learn of its end."""
        try:
            descriptor = os.pidfd_open(process.pid)
        except OSError:
            process.kill()
            process.wait()
            raise
        self._living[descriptor] = process
        self._none_lives.clear()
        self._loop.add_reader(descriptor, self._on_ended, descriptor)

    def _on_ended(self, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)
        os.close(descriptor)
        self._living.pop(descriptor).wait()
        if not self._living:
            self._none_lives.set()

    def _disconnect(self) -> None:
        """Say goodbye to the helper, which ends when it has nothing under way."""
        self._handed = []
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _replace(self, why: str, number: int = errors.EIO) -> None:
        """Give up the helper, fail what it was at, and start another: at once the first time, later if that did not help."""
        LOG.error("spool: the sync helper is replaced: %s", why)
        self._disconnect()
        if self._process is not None:
            self._process.kill()
        if self._request is not None and self._request.is_sent:
            self._fail(self._request, number, why)
        if self._failures:
            self._start_later()
        else:
            self._failures = 1
            self._restart = self._loop.call_later(0, self._start_helper)

    def _start_later(self) -> None:
        delay = min(_FIRST_DELAY * 2 ** min(self._failures, 10), _LONGEST_DELAY)
        self._failures += 1
        self._restart = self._loop.call_later(delay, self._start_helper)

    # -- a request

    def _send(self, connection: socket.socket, request: _Request) -> None:  # hot: throughput
        try:
            if request.files == self._handed:
                connection.send(REQUEST.pack(request.number, 0, False))
                request.is_sent = True
            else:
                self._hand_over(connection, request)
        except ConnectionError:
            # it has died: a request that it did not get at all goes to the next one
            self._replace(_DIED)
        except OSError as error:
            request.is_sent = True
            self._replace(f"a request could not be sent: {(error.strerror or str(error)).lower()}")

    def _hand_over(self, connection: socket.socket, request: _Request) -> None:
        """Send it with its files. OSError."""
        files = request.files
        self._handed = []
        groups = [files[start : start + FILES_AT_ONCE] for start in range(0, len(files), FILES_AT_ONCE)]
        for left, group in zip(range(len(groups) - 1, -1, -1), groups, strict=True):
            message = REQUEST.pack(request.number, len(group), left > 0)
            socket.send_fds(connection, [message], [file.fileno() for file in group])
            request.is_sent = True
        if len(groups) == 1:
            self._handed = files

    def _on_readable(self) -> None:  # hot: throughput
        request = self._request
        try:
            answer = self._socket.recv(ANSWER.size + 1) if self._socket is not None else b""
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            answer = b""
        if not answer:
            self._replace(_DIED)
            return
        number, fault, index = ANSWER.unpack(answer) if len(answer) == ANSWER.size else (0, 0, 0)
        if request is None or number != request.number or index >= len(request.files):
            self._replace("it answered what it was not asked")
            return
        self._failures = 0
        if fault:
            self._handed = []
            self._finish(request, FileError("sync", request.files[index].path, fault))
        else:
            self._on_synced(Seconds(self._clock.monotonic() - request.begun))
            self._finish(request, None)

    def _give_up(self) -> None:
        request = self._request
        if request is None:
            return
        if request.is_sent:
            self._replace(f"no answer for {self._patience:g} s", errors.ETIMEDOUT)
        else:
            self._fail(request, errors.ETIMEDOUT, "no sync helper could be started")

    def _fail(self, request: _Request, number: int, why: str) -> None:
        """Let it fail soon, but not inside a call of whoever asked."""
        request.timer.cancel()
        paths = ", ".join(file.path for file in request.files[:_PATHS_SHOWN])
        request.is_sent = True
        self._loop.call_soon(self._finish, request, FileError("sync", paths, number, reason=why))

    def _finish(self, request: _Request, error: FileError | None) -> None:
        if request is self._request:
            request.timer.cancel()
            self._request = None
            request.done(error)
