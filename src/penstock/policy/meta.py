"""What a policy keeps with a session or a message: a small mapping whose size is bounded, for it is stored with every message.

A name is 1 to 64 printable ASCII characters without spaces; a value is text, a number, a boolean or None.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Final

from penstock.mail.meta import NAMES_LIMIT, SIZE_LIMIT, is_name
from penstock.mail.records import MetaValue

#: What a number costs of the bound: it is written with at most so many characters.
_NUMBER_SIZE: Final = 24
#: Integers that JSON readers keep whole (RFC 8259 6 has no bound; 64 bits are what stores have).
_LARGEST: Final = 2**63 - 1


class Meta(MutableMapping[str, MetaValue]):
    """Values by name. What is no name or value, or is too much, is a ValueError and changes nothing."""

    __slots__ = ("_size", "_values")

    def __init__(self, values: Mapping[str, MetaValue] | None = None) -> None:
        self._values: dict[str, MetaValue] = {}
        self._size = 0
        if values:
            self.update(values)

    def __getitem__(self, name: str) -> MetaValue:
        return self._values[name]

    def __setitem__(self, name: str, value: MetaValue) -> None:
        if not is_name(name):
            raise ValueError(
                f"a name in meta is 1 to 64 printable ASCII characters without spaces, not {name!r:.80}"
            )
        size = self._size + len(name) + _checked_size(name, value)
        if name in self._values:
            size -= len(name) + _checked_size(name, self._values[name])
        elif len(self._values) >= NAMES_LIMIT:
            raise ValueError(f"meta has at most {NAMES_LIMIT} names")
        if size > SIZE_LIMIT:
            raise ValueError(f"meta has at most {SIZE_LIMIT} octets, names and values together")
        self._values[name] = value
        self._size = size

    def __delitem__(self, name: str) -> None:
        size = len(name) + _checked_size(name, self._values[name])
        del self._values[name]
        self._size -= size

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Meta({self._values!r})"

    def values_now(self) -> dict[str, MetaValue]:
        """All of it as it is now, as a dict of its own."""
        return dict(self._values)


def _checked_size(name: str, value: object) -> int:
    """Octets that a value counts for; ValueError if it is none that can be kept."""
    match value:
        case None | bool():
            return 5
        case str():
            try:
                return len(value.encode())
            except UnicodeEncodeError as error:
                raise ValueError(f"the value of {name} in meta has a lone surrogate") from error
        case int() if -_LARGEST <= value <= _LARGEST:
            return _NUMBER_SIZE
        case float() if math.isfinite(value):
            return _NUMBER_SIZE
        case int() | float():
            raise ValueError(f"the value of {name} in meta is no finite number of 64 bits")
        case _:
            raise ValueError(
                f"the value of {name} in meta is a str, int, float, bool or None, not {type(value).__name__}"
            )
