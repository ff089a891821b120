"""Where the spools of a data directory are: one for each lane, in ``spool/<lane>``.

An earlier version had one spool, in ``spool`` itself. ``settle`` makes it that of lane 0; until then, those who only read find it where it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path
from typing import Final

from penstock.spool.files import LOCK_NAME
from penstock.spool.names import SEGMENTS

#: The lane that has the spool of an earlier version.
FIRST_LANE: Final = "0"
#: The folder's name while it is moved.
_MOVING: Final = "spool.moving"
#: What the name of a spool's folder ends with while it is removed. No lane is called so.
_GOING: Final = ".gone"


def spool_of(data_dir: str | Path, lane: str) -> Path:
    """The folder of a lane's spool."""
    return Path(data_dir) / "spool" / lane


def spools(data_dir: str | Path) -> dict[str, Path]:
    """The folders of all spools that are there, by lane, general lanes first. OSError if that cannot be read."""
    root = Path(data_dir) / "spool"
    if (root / SEGMENTS).is_dir():
        return {FIRST_LANE: root}
    try:
        found = [path for path in root.iterdir() if path.suffix != _GOING and (path / SEGMENTS).is_dir()]
    except FileNotFoundError:
        return {}
    return {path.name: path for path in sorted(found, key=lambda path: (len(path.name), path.name))}


def settle(data_dir: str | Path) -> bool:
    """Make the spool of an earlier version that of lane 0; whether there was one. OSError; nothing is half done then, or goes on at the next call.

    Nobody else may use the data directory meanwhile.
    """
    root, moving = Path(data_dir) / "spool", Path(data_dir) / _MOVING
    if (root / SEGMENTS).is_dir() and not moving.exists():
        root.rename(moving)
        _sync(root.parent)
    if not moving.exists():
        return False
    root.mkdir(mode=0o700, exist_ok=True)
    moving.rename(root / FIRST_LANE)
    _sync(root)
    _sync(root.parent)
    return True


def is_there(root: Path) -> bool:
    """Whether there is a spool in this folder."""
    return (root / SEGMENTS).is_dir()


def is_in_use(root: Path) -> bool:
    """Whether a process has this spool. It is not taken by asking."""
    try:
        descriptor = os.open(root / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    with contextlib.closing(os.fdopen(descriptor, "rb")) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def remove(root: Path) -> None:
    """Remove a spool in which nothing is queued, in one step for whoever looks for spools. OSError."""
    going = root.with_name(root.name + _GOING)
    shutil.rmtree(going, ignore_errors=True)
    root.rename(going)
    _sync(root.parent)
    shutil.rmtree(going, ignore_errors=True)


def clear_up(data_dir: str | Path) -> None:
    """Remove what is left of spools that were being removed when a process ended."""
    with contextlib.suppress(FileNotFoundError):
        for path in (Path(data_dir) / "spool").iterdir():
            if path.suffix == _GOING:
                shutil.rmtree(path, ignore_errors=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
