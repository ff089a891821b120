"""The header section of a message, to be read and edited by a policy.

Fields that are not edited keep every octet. Reading and editing is bounded: a header section of more than a mebibyte is nothing that a
policy looks into (LimitExceeded), and a policy makes so many edits and no more. Names are compared without regard to case.
"""

from __future__ import annotations

import re
from typing import Final

from penstock.mail.message import Field, field_value, fields, find_fields, header_end, without_fields
from penstock.policy.field_text import decoded_value, field_octets
from penstock.policy.refusal import LimitExceeded

HEADER_LIMIT: Final = 1024 * 1024
#: Fields that are told one by one; real messages have less than a hundred.
FIELDS_LIMIT: Final = 5000
EDITS_LIMIT: Final = 200
#: Octets that edits may add.
ADDED_LIMIT: Final = 256 * 1024
# field-name = 1*ftext (RFC 5322 2.2); ours begin with a letter or digit, so that no line of a message begins with a dot
_NAME: Final = re.compile(r"[A-Za-z0-9][!-9;-~]{0,75}")
# A line that neither begins a field nor goes on with one: the header section is over, whatever comes. The first goes on with none.
_BEGINS: Final = rb"[!-9;-~]++[ \t]*+:"
_NO_FIELD: Final = re.compile(rb"\A(?!" + _BEGINS + rb")|\r\n(?![ \t]|" + _BEGINS + rb")")


def checked_name(name: object) -> str:
    """``name`` as that of a field; ValueError if it can be none."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{name!r:.80} is no name of a header field")
    return name


class ReadOnlyHeaders:
    """The header section of ``content``, to be read."""

    __slots__ = ("_header",)

    def __init__(self, content: bytes) -> None:
        end = header_end(content)
        if end > HEADER_LIMIT:
            raise LimitExceeded(f"the header section is longer than {HEADER_LIMIT} octets")
        header = content[:end]
        stop = _NO_FIELD.search(header)
        if stop is not None and stop.start() + 2 < end:
            header = header[: stop.start() + 2 if stop.group() else 0]
        self._header = header

    def get(self, name: str) -> str | None:
        """What the first field of this name says, decoded (RFC 2047) and on one line; None if there is none."""
        found = self._find(name)
        return decoded_value(field_value(self._header, found[0])) if found else None

    def get_all(self, name: str) -> list[str]:
        """What every field of this name says, decoded, in their order."""
        return [decoded_value(value) for value in self.raw(name)]

    def raw(self, name: str) -> list[bytes]:
        """The values of every field of this name as they came, unfolded and not decoded."""
        return [field_value(self._header, field) for field in self._find(name)]

    def names(self) -> list[str]:
        """The name of every field in order, as written; LimitExceeded if there are more than FIELDS_LIMIT."""
        return [field.name.decode("ascii") for field in self._fields()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self._find(name))

    def _find(self, name: str) -> list[Field]:
        key = checked_name(name).lower().encode("ascii")
        return find_fields(self._header, [key]).get(key, [])

    def _fields(self) -> list[Field]:
        found: list[Field] = []
        for field in fields(self._header, len(self._header)):
            if len(found) >= FIELDS_LIMIT:
                raise LimitExceeded(f"there are more than {FIELDS_LIMIT} header fields")
            found.append(field)
        return found


class Headers(ReadOnlyHeaders):
    """The header section of a message, to be read and edited. ``utf8``: what is written need not be ASCII (RFC 6532).

    A value is text of one line: a line end or control character in it is a ValueError. It is folded at 78 columns, and its words beyond
    ASCII are encoded (RFC 2047). An edit is seen by what is read afterwards.
    """

    __slots__ = ("_added", "_content", "_edits", "_end", "_utf8")

    def __init__(self, content: bytes, *, utf8: bool = False) -> None:
        super().__init__(content)
        self._content = content
        self._end = len(self._header)
        self._utf8 = utf8
        self._edits = 0
        self._added = 0

    def add(self, name: str, value: str) -> None:
        """Put a field behind all others."""
        field = self._field(name, value)
        if self._header and not self._header.endswith(b"\r\n"):
            field = b"\r\n" + field
        self._header += field

    def prepend(self, name: str, value: str) -> None:
        """Put a field before all others."""
        self._header = self._field(name, value) + self._header

    def replace(self, name: str, value: str) -> None:
        """Put a field in the place of the first of this name, without any other of it; behind all others if there was none."""
        found = self._find(name)
        if not found:
            self.add(name, value)
            return
        field, first = self._field(name, value), found[0]
        rest = without_fields(self._header, found[1:])
        self._header = rest[: first.start] + field + rest[first.end :]

    def remove(self, *names: str) -> int:
        """Take out every field of these names, and say how many; a name that ends in ``*`` stands for all that begin so."""
        self._count(b"")
        exact: set[bytes] = set()
        prefixes: tuple[bytes, ...] = ()
        for name in names:
            key = checked_name(name[:-1] if str(name).endswith("*") else name).lower().encode("ascii")
            if name.endswith("*"):
                prefixes += (key,)
            else:
                exact.add(key)
        unwanted = (
            [field for found in find_fields(self._header, exact).values() for field in found] if exact else []
        )
        if prefixes:
            unwanted += [
                field
                for field in self._fields()
                if field.name.lower().startswith(prefixes) and field.name.lower() not in exact
            ]
        if unwanted:
            self._header = without_fields(self._header, unwanted)
        return len(unwanted)

    @property
    def is_edited(self) -> bool:
        """Whether anything was."""
        return self._edits > 0

    def content(self) -> bytes:
        """The message as it is now."""
        return b"".join((self._header, memoryview(self._content)[self._end :]))

    def _field(self, name: str, value: str) -> bytes:
        if not self._header and self._content.startswith((b" ", b"\t"), self._end):
            raise LimitExceeded(
                "its first line begins with white space, and would go on with any field before it"
            )
        octets = field_octets(checked_name(name), value, utf8=self._utf8)
        self._count(octets)
        return octets

    def _count(self, octets: bytes) -> None:
        if self._edits >= EDITS_LIMIT or self._added + len(octets) > ADDED_LIMIT:
            raise ValueError(
                f"a policy makes at most {EDITS_LIMIT} edits to a header section, and adds at most {ADDED_LIMIT} octets"
            )
        self._edits += 1
        self._added += len(octets)
