"""Time zones by name, from the system's files, or else from the ``tzdata`` package: a server has the same zones wherever it runs."""

from __future__ import annotations

import datetime as dt
import re
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

#: There are some 600 names. Whoever gives others has them looked for again and again, in two places.
_REMEMBERED: Final = 1024
# names of the IANA database: letters, digits, "_", "-" and "+", in one to three parts
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,31}(?:/[A-Za-z0-9_+-]{1,31}){0,2}", re.ASCII)


@lru_cache(maxsize=_REMEMBERED)
def zone_of(name: str) -> dt.tzinfo | None:
    """The zone of a name such as ``Europe/Vienna``; None if there is none."""
    if not _NAME.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not there; no zone; a folder of zones
        return None
