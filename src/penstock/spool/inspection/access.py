"""Whose the files of a spool are. The server runs as the owner of the directory, and nobody else has business in it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Final

from penstock.spool.files import LOCK_NAME, FileError
from penstock.spool.inspection import findings
from penstock.spool.inspection.findings import Finding
from penstock.spool.inspection.read_only import Attributes, ReadOnlyFiles, user_name
from penstock.spool.names import BODIES, QUARANTINE, SEGMENTS
from penstock.spool.times import CLOCK_NAME

_FOLDERS: Final = (SEGMENTS, BODIES, QUARANTINE)
#: Files of the root; the second note of the time is there while the first is replaced.
_OWN_FILES: Final = frozenset({LOCK_NAME, CLOCK_NAME, f"{CLOCK_NAME}.new"})


def names_if_any(files: ReadOnlyFiles, folder: str) -> list[str]:
    """The names in a folder that need not be there. FileError."""
    try:
        return files.names(folder)
    except FileError as error:
        if error.errno != errno.ENOENT:
            raise
        return []


def examine_access(files: ReadOnlyFiles) -> Iterator[Finding]:
    """What the server cannot use, what others can, and what does not belong into the spool's directory. FileError."""
    owner = files.attributes().owner
    yield from _examine(files, "", owner, is_folder=True)
    for name in files.names():
        if name in _FOLDERS:
            yield from _examine(files, name, owner, is_folder=True)
            for below in names_if_any(files, name):
                yield from _examine(files, f"{name}/{below}", owner, is_folder=False)
        elif name in _OWN_FILES:
            yield from _examine(files, name, owner, is_folder=False)
        else:
            yield findings.foreign(name)


def _examine(files: ReadOnlyFiles, path: str, owner: int, *, is_folder: bool) -> Iterator[Finding]:
    try:
        attributes = files.attributes(path)
    except FileError as error:
        if error.errno != errno.ENOENT:
            raise
        return
    fault = _access_fault(attributes, owner, is_folder=is_folder)
    if fault is not None:
        yield findings.wrong_access(path or ".", fault[0], is_damage=fault[1])


def _access_fault(attributes: Attributes, owner: int, *, is_folder: bool) -> tuple[str, bool] | None:
    """What is wrong with a file or folder of the spool, and whether that is in the server's way."""
    wanted = "folder" if is_folder else "file"
    if attributes.kind != wanted:
        return f"it is no {wanted} but a {attributes.kind}", True
    if attributes.owner != owner:
        return f"it belongs to {user_name(attributes.owner)}, and the spool to {user_name(owner)}", True
    needed = 0o700 if is_folder else 0o600
    if attributes.mode & needed != needed:
        return f"its mode is {attributes.mode:04o}, which its owner cannot work with", True
    if not is_folder and attributes.links > 1:
        return "it has a second name (a hard link), so the server refuses it", True
    if attributes.mode & 0o077:
        return f"its mode is {attributes.mode:04o}", False
    return None
