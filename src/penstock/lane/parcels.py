"""Large contents on their way from lane to lane: each is a file in a folder that all lanes have, and its name travels.

The file carries, and keeps nothing safe: the lane that takes a transaction over reads the content, removes the file, and stores it as it stores any
other. So nothing is synced twice, and a file that is left behind by a lane that died means nothing; its next life removes it.

Everything here blocks, and is for threads.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from penstock.mail.ports import SpoolError
from penstock.mail.records import MessageRecord
from penstock.spool import passing
from penstock.spool.codec import Body, body_of
from penstock.spool.decoding import Transaction

_SUFFIX: Final = ".parcel"
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def path_of(folder: Path, name: str) -> Path:
    """The file of a parcel."""
    return folder / (name + _SUFFIX)


def pack(folder: Path, name: str, content: bytes) -> Body:
    """Put ``content`` into a new file. OSError if that cannot be; nothing is left then."""
    path = path_of(folder, name)
    body = body_of(name, content)
    descriptor = os.open(path, _NEW, 0o600)
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            rest = memoryview(content)
            while rest:
                rest = rest[file.write(rest) :]
    except BaseException:
        remove(folder, name)
        raise
    return body


def unpack(folder: Path, transaction: Transaction) -> list[MessageRecord]:
    """The messages of a transaction whose content is in a parcel, which is gone then. SpoolError if it is not there, or not what was packed."""
    body = transaction.body
    if body is None:
        raise SpoolError("there is no parcel to this transaction")
    try:
        content = _read(path_of(folder, body.name), body.size)
    except OSError as error:
        raise SpoolError(f"the parcel {body.name} cannot be read: {error.strerror}") from error
    finally:
        remove(folder, body.name)
    return passing.messages(transaction, content)


def _read(path: Path, size: int) -> bytes:
    descriptor = os.open(path, _OLD)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            raise SpoolError(f"the parcel {path.stem} is not what was packed")
        return file.read(size)


def remove(folder: Path, name: str) -> None:
    """Remove a parcel, if it is there."""
    with suppress(OSError):
        path_of(folder, name).unlink()


def clear(folder: Path, lane: str) -> None:
    """Make the folder, and remove what an earlier life of ``lane`` left there. OSError if it cannot be made."""
    for each in (folder.parent, folder):
        each.mkdir(mode=0o700, exist_ok=True)
    own = re.compile(rf"{re.escape(lane)}--[0-9a-f]+-[0-9a-f]+{re.escape(_SUFFIX)}")
    for path in folder.iterdir():
        if own.fullmatch(path.name):
            with suppress(OSError):
                path.unlink()


def name_of(lane: str, life: int, number: int) -> str:
    """The name of a parcel; ``life`` tells one run of the lane from the next."""
    return f"{lane}--{life:x}-{number:x}"
