"""What is damaged: listed, and its octets saved under ``quarantine`` for somebody to look at. Nothing is deleted.

A record that cannot be read back later is listed in the same way by whoever reads it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import msgspec

from penstock.spool.files import File, FileError, Files
from penstock.spool.frame import Identity
from penstock.spool.names import QUARANTINE, quarantine_path

#: Files under ``quarantine`` at most, and octets of each; what is more is listed, and stays in its segment.
SAVED_LIMIT: Final = 1000
SAVED_SIZE_LIMIT: Final = 64 * 1024 * 1024
_PIECE: Final = 1024 * 1024


class Quarantined(msgspec.Struct, frozen=True):
    """Octets that are not what was written. ``path`` is the file that they are in, ``saved`` their copy, None for none.

    ``was_stored``: they were on stable storage once, so a message or an outcome is lost. Otherwise a power cut may have left them.
    """

    reason: str
    path: str
    offset: int
    size: int
    was_stored: bool
    saved: str | None = None

    def __str__(self) -> str:
        kept = f"; a copy is in {self.saved}" if self.saved else ""
        return f"{self.path}, {self.size} octets at {self.offset}: {self.reason}{kept}"


def save(files: Files, file: File, identity: Identity, offset: int, size: int) -> str | None:
    """Copy octets of a segment under ``quarantine``; the copy's path, None if there is no room for one. One that is there already is left."""
    path = quarantine_path(identity, offset)
    name = path.rpartition("/")[2]
    with suppress(FileError):
        files.make_folder(QUARANTINE)
        names = files.names(QUARANTINE)
        if name in names:
            return path
        if len(names) >= SAVED_LIMIT or size > SAVED_SIZE_LIMIT:
            return None
        copy = files.create(path)
        try:
            for start in range(0, size, _PIECE):
                copy.write([file.read(min(_PIECE, size - start), offset + start)], start)
            copy.sync()
        except FileError:
            files.remove(path)
            raise
        finally:
            copy.close()
        files.sync_folder(QUARANTINE)
        return path
    return None
