"""A message as octets: its header section, its body, and edits that leave every octet they do not mean as it was.

Nothing is decoded, folded or written anew: a field is a slice of the octets that came, so removing one cuts it out and prepending one
puts octets in front. Line ends are CRLF (the SMTP session sees to that). Source: RFC 5322 2.1, 2.2, 3.5.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Final, NamedTuple

# field-name = 1*ftext (RFC 5322 2.2), with the white space before the colon that 4.5 (obsolete syntax) still lets in
_NAME: Final = rb"[!-9;-~]++[ \t]*+:"
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")
# A line that neither begins a field nor goes on with one
_NO_FIELD = re.compile(rb"\r\n(?![ \t]|" + _NAME + rb")")
_FOLD = re.compile(rb"\r\n([ \t])")


class Field(NamedTuple):
    """One header field: its name as written, and where it lies in the message (``end`` is past its last CRLF)."""

    name: bytes
    start: int
    value_start: int
    end: int


def header_end(content: bytes) -> int:
    """Where the header section ends: past the CRLF of its last field, before the empty line; the whole message if there is no body."""
    if content.startswith(b"\r\n"):
        return 0
    empty_line = content.find(b"\r\n\r\n")
    return len(content) if empty_line < 0 else empty_line + 2


def fields(content: bytes, end: int | None = None) -> Iterator[Field]:
    """The header fields in order. A line that is no field ends the header section, as if the empty line had been forgotten."""
    end = header_end(content) if end is None else end
    position = 0
    while position < end:
        match = _FIELD.match(content, position, end)
        if match is None:
            return
        stop = _field_end(content, position, end)
        yield Field(match[1], position, match.end(), stop)
        position = stop


def _field_end(content: bytes, start: int, end: int) -> int:
    """Past the last CRLF of the field that begins at ``start``, in a header section that ends at ``end``."""
    while True:
        line_end = content.find(b"\r\n", start, end)
        if line_end < 0:
            return end
        start = line_end + 2
        if start >= end or content[start] not in b" \t":
            return start


@lru_cache(maxsize=64)
def _begins(names: tuple[bytes, ...]) -> re.Pattern[bytes]:
    """A line end, and what begins a field called one of ``names`` behind it."""
    return re.compile(rb"\r\n(" + b"|".join(map(re.escape, names)) + rb")[ \t]*:", re.IGNORECASE)


def field_value(content: bytes, field: Field) -> bytes:
    """A field's value unfolded (RFC 5322 2.2.3), without the white space around it."""
    return _FOLD.sub(rb"\1", content[field.value_start : field.end]).strip(b" \t\r\n")


def find_fields(content: bytes, names: Collection[bytes]) -> dict[bytes, list[Field]]:  # hot: throughput
    """The fields called one of ``names`` (lower case), by lower-case name; names that do not occur are absent.

    The same fields as ``fields`` gives, without a look at each of the others: a header section may be all of a large message.
    """
    # a line end before the first field too, so that every field has one; places in ``header`` are two past those in ``content``
    header = b"\r\n" + content[: header_end(content)]
    matches = list(_begins(tuple(names)).finditer(header))
    if not matches or content.startswith((b" ", b"\t")):  # the first line goes on with no field
        return {}
    no_field = _NO_FIELD.search(header, 0, matches[-1].start())
    last = no_field.start() if no_field is not None else len(header)
    found: dict[bytes, list[Field]] = {}
    for match in matches:
        start = match.start(1)
        if start > last:
            break
        field = Field(match[1], start - 2, match.end() - 2, _field_end(header, start, len(header)) - 2)
        found.setdefault(match[1].lower(), []).append(field)
    return found


def without_fields(content: bytes, unwanted: Collection[Field]) -> bytes:
    """``content`` with those fields cut out, everything else octet for octet."""
    pieces: list[bytes] = []
    position = 0
    for field in sorted(unwanted, key=lambda field: field.start):
        pieces.append(content[position : field.start])
        position = field.end
    pieces.append(content[position:])
    return b"".join(pieces)
