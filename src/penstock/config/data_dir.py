"""Whether the server can live in its data directory. Looks only; nothing is made, written or locked."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from penstock.mail.problem import Problem

#: What the server keeps in its data directory.
DIRECTORIES: Final = ("spool", "events", "run")


def is_writable(directory: Path) -> bool:
    """Whether this process may make files in a directory that is there (a file system that is read-only says no)."""
    return os.access(directory, os.R_OK | os.W_OK | os.X_OK, effective_ids=True)


def check_data_dir(
    data_dir: str | Path,
    root: str | Path = "penstock.toml",
    may_write: Callable[[Path], bool] = is_writable,
) -> list[Problem]:
    """What keeps ``node.data_dir`` from being used: it, and what is in it, must be writable directories, or be such that they can be made.

    ``root`` is the file that names it, for the problems' sake.
    """
    directory = Path(data_dir)
    found = [_blocked(directory, may_write)]
    if not found[0]:
        found += [_blocked(directory / name, may_write) for name in DIRECTORIES]
    return [Problem(str(root), "node.data_dir", what, hint) for what, hint in filter(None, found)]


def _blocked(directory: Path, may_write: Callable[[Path], bool]) -> tuple[str, str] | None:
    """Why the server could not write in ``directory``, and what to do; None if it could."""
    try:
        directory.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        return (
            f"{directory} cannot be used: {(error.strerror or str(error)).lower()}",
            "name another directory",
        )
    # the first that is there, going up, decides whether the rest can be made
    there = next(path for path in (directory, *directory.parents) if os.path.lexists(path))
    if not there.is_dir():
        return f"{there} is no directory", "name a directory, or a path where one can be made"
    if not may_write(there):
        if there == directory:
            return f"{there} is not writable", "give it to the user that Penstock runs as"
        return (
            f"{directory} cannot be made: {there} is not writable",
            "make it, for the user that Penstock runs as",
        )
    return None
