"""The process that syncs files for another one, which must not wait for a disk.

It is run as a program of its own, needs nothing but the standard library, and is told the descriptor of a SOCK_SEQPACKET socket. A
request is one or more messages, each of a number, how many files it brings, whether more follow, and the files' descriptors (SCM_RIGHTS,
unix(7)). They share the open file with the process that sent them, so an error of writing that the kernel has to tell is told here. The
answer is sent once all are synced, in the order in which they came: the number, an errno or 0, and which file it was about, counted from
0. After an error the rest of the request is not synced.

The files of a message stay open until another brings files, or one of them could not be synced. A message that brings none is about those: a
log syncs the same file over and over, and handing it over costs more than what is said about it.

It ends when the socket does, and when the process that started it dies (prctl(2), PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import socket
import stat
import struct
import sys
from typing import Final

#: Number, files that this message brings (0: those of the last message again), 1 if more messages of this request follow.
REQUEST: Final = struct.Struct("=QIB")
#: Number, errno or 0, index of the file that it is about.
ANSWER: Final = struct.Struct("=QiI")
#: Descriptors in one message: below SCM_MAX_FD of Linux, 253.
FILES_AT_ONCE: Final = 250
_PR_SET_PDEATHSIG: Final = 1
_PARENT_GONE: Final = 1


def serve(connection: socket.socket) -> None:
    """Answer requests until the other side closes."""
    done, failure = 0, (0, 0)
    kept: list[int] = []
    while True:
        try:
            message, descriptors, _, _ = socket.recv_fds(connection, REQUEST.size, FILES_AT_ONCE)
        except ConnectionError:
            return
        if not message:
            return
        number, count, has_more = REQUEST.unpack(message)
        if count:
            _close(kept)
            kept = descriptors
        if not failure[0]:
            failure = _sync_all(kept, done)
        if not failure[0] and count and len(kept) != count:
            # the kernel leaves out what is over the limit of open files, and says so in a flag only
            failure = errno.EMFILE, done + len(kept)
        if not kept and not failure[0]:
            failure = errno.EBADF, done
        done += len(kept)
        if has_more:
            continue
        try:
            connection.send(ANSWER.pack(number, *failure))
        except ConnectionError:
            return
        if failure[0]:
            _close(kept)
            kept = []
        done, failure = 0, (0, 0)


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _sync_all(descriptors: list[int], first: int) -> tuple[int, int]:
    """An errno and the index of the file it is about; 0 and 0 if all are on stable storage."""
    for index, descriptor in enumerate(descriptors, first):
        try:
            is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
            (os.fsync if is_folder else os.fdatasync)(descriptor)
        except OSError as error:
            return error.errno or errno.EIO, index
    return 0, 0


def _die_with(parent: int) -> bool:
    """Have the kernel end this process when ``parent`` ends; False if it has already."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == parent


def main() -> int:
    """``sync_helper.py DESCRIPTOR PARENT``."""
    # Ctrl-C goes to the whole group; the parent decides when it needs no more syncs, and closes the socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        if not _die_with(int(sys.argv[2])):
            return _PARENT_GONE
        serve(connection)
    return 0


if __name__ == "__main__":
    sys.exit(main())
