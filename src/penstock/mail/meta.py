"""What may be kept with a message by name, whoever says so: it is stored with every message and is in each of its events."""

from __future__ import annotations

import re
from typing import Final

NAMES_LIMIT: Final = 64
#: Octets of all names and values together.
SIZE_LIMIT: Final = 4096
_NAME: Final = re.compile(r"[!-~]{1,64}")
NAME_EXPECTED: Final = "1 to 64 printable ASCII characters without spaces"


def is_name(text: str) -> bool:
    """Whether ``text`` can name a value."""
    return _NAME.fullmatch(text) is not None
