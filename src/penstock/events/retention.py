"""Which files of the event log may go, and which are to be packed: decided from their names and sizes alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from penstock.events.files import PACKED, file_time, plain_name
from penstock.mail.duration import ByteCount, Seconds, WallTime


class Kept(NamedTuple):
    """A file that there is, and the octets that it takes on the disk."""

    path: Path
    size: int


def may_go(
    files: Sequence[Kept], until: str, now: WallTime, age: Seconds | None, total: ByteCount | None
) -> list[Path]:
    """The files that are to be removed, oldest first. ``files`` are all there are, oldest first.

    Those go whose youngest event is older than ``age``, and as many of the oldest as are too many for all together to take no more than ``total``
    octets; None keeps all. The file called ``until``, and those behind it, stay, and so does the newest: a start needs them.
    """
    left = sum(file.size for file in files)
    gone: list[Path] = []
    for file, following in pairwise(files):
        if plain_name(file.path.name) >= until:
            break
        # whatever is in a file was written before the next one was begun
        ended = (file_time(following.path.name) or 0) / 1_000_000
        is_old = age is not None and ended < now - age
        if not is_old and (total is None or left <= total):
            break
        left -= file.size
        gone.append(file.path)
    return gone


def to_pack(files: Sequence[Kept], until: str) -> Path | None:
    """The oldest file that is to be packed, None if there is none. The file called ``until``, those behind it, and the newest are not."""
    for file in files[:-1]:
        if plain_name(file.path.name) >= until:
            return None
        if file.path.suffix != PACKED:
            return file.path
    return None
