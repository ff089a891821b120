"""Reads the octets of a file, once, without waiting for it and without more of them than a configuration has."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

from penstock.config.refusal import refused

#: Far beyond any configuration written by hand or made by a program; below what would hurt the host.
SIZE_LIMIT: Final = 16 * 1024 * 1024
_SAID: Final = {
    errno.ENOENT: "does not exist",
    errno.ENOTDIR: "does not exist: a part of its path is no directory",
    errno.ELOOP: "is a symbolic link that leads back to itself",
    errno.ENAMETOOLONG: "has a path that is too long",
    errno.EACCES: "cannot be read: permission denied",
}


def read_file(path: Path) -> bytes:
    """The octets of a regular file; ``Refused`` says why there are none."""
    try:
        # O_NONBLOCK: a pipe without a writer would be waited for; what is not a regular file is refused below
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise refused(_reason(error)) from error
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise refused("is a directory", "name a file")
        if not stat.S_ISREG(mode):
            raise refused("is no regular file", "name a file")
        return _read(descriptor)
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> bytes:
    octets = bytearray()
    while len(octets) <= SIZE_LIMIT:
        try:
            chunk = os.read(descriptor, SIZE_LIMIT + 1 - len(octets))
        except OSError as error:
            raise refused(_reason(error)) from error
        if not chunk:
            return bytes(octets)
        octets += chunk
    raise refused("is too big for a configuration", f"a file has at most {SIZE_LIMIT >> 20} MiB")


def _reason(error: OSError) -> str:
    return _SAID.get(error.errno or 0) or f"cannot be read: {(error.strerror or str(error)).lower()}"
