"""A message as octets: its header section, its body, and edits that leave every octet they do not mean as it was.

Nothing is decoded, folded or written anew: a field is a slice of the octets that came, so removing one cuts it out and prepending one
puts octets in front. Line ends are CRLF (the SMTP session sees to that). Source: RFC 5322 2.1, 2.2, 3.5.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

# field-name = 1*ftext (RFC 5322 2.2), with the white space before the colon that 4.5 (obsolete syntax) still lets in
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")
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
        stop = position
        while True:
            stop = content.find(b"\r\n", stop, end)
            if stop < 0:
                stop = end
                break
            stop += 2
            if content[stop : stop + 1] not in (b" ", b"\t") or stop >= end:
                break
        yield Field(match[1], position, match.end(), stop)
        position = stop


def field_value(content: bytes, field: Field) -> bytes:
    """A field's value unfolded (RFC 5322 2.2.3), without the white space around it."""
    return _FOLD.sub(rb"\1", content[field.value_start : field.end]).strip(b" \t\r\n")


def find_fields(content: bytes, names: Collection[bytes]) -> dict[bytes, list[Field]]:  # hot: throughput
    """The fields called one of ``names`` (lower case), by lower-case name; names that do not occur are absent."""
    end = header_end(content)
    header = content[:end].lower()
    if not any(name in header for name in names):
        return {}
    found: dict[bytes, list[Field]] = {}
    for field in fields(content, end):
        name = field.name.lower()
        if name in names:
            found.setdefault(name, []).append(field)
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
