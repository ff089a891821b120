"""What a parser says about a value that it cannot take, in words for an operator: what was expected, what was found, what would be right."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Final

import msgspec

#: How much of a value is quoted back, in characters.
_QUOTED: Final = 60
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\"}


class Fault(msgspec.Struct, frozen=True):
    """One thing wrong with a value; ``at`` is where inside it (``"[1]"``, ``""`` for all of it)."""

    what: str
    hint: str = ""
    at: str = ""


class Refused(ValueError):
    """A value that cannot be taken, with everything that is wrong with it."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(fault.what for fault in self.faults))


def refused(what: str, hint: str = "") -> Refused:
    """The exception for a value with one thing wrong."""
    return Refused([Fault(what, hint)])


def unexpected(expected: str, value: object, hint: str = "") -> Refused:
    """The exception for a value of the wrong type; ``expected`` has its article."""
    return refused(f"expected {expected}, found {describe(value)}", hint)


def quote(text: str) -> str:
    """``text`` in double quotes, on one line whatever it holds, its tail cut if it is long."""
    shown = text if len(text) <= _QUOTED else text[:_QUOTED] + "…"
    return '"' + "".join(_ESCAPES.get(char) or printable(char) for char in shown) + '"'


def printable(text: str) -> str:
    """``text`` with what a terminal would act on, or not show, as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def describe(value: object) -> str:
    """The TOML type of a value, and the value where it is short: ``an integer (5)``."""
    match value:
        case bool():
            return f"a boolean ({'true' if value else 'false'})"
        case int():
            # decimal text of an integer beyond 64 bits costs time, and beyond 4300 digits Python refuses to make it
            return f"an integer ({value})" if value.bit_length() <= 64 else "a very large integer"
        case float():
            return f"a float ({value})"
        case str():
            return f"a string ({quote(value)})"
        case list():
            return "an array"
        case dict():
            return "a table"
        case dt.datetime():
            return "a date-time"
        case dt.date():
            return "a date"
        case dt.time():
            return "a time"
    return "something else"
