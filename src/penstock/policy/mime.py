"""The parts of a message (RFC 2045, RFC 2046), found without copying and within bounds, to be looked at and not changed.

The structure is found by delimiter lines in the octets; the standard library's ``email`` reads what one bounded Content-Type or
Content-Disposition field says. Bounds hold whatever a message is made of: octets, parts, depth, the header section of a part, the length
of a field. Beyond them is LimitExceeded, which refuses the message unless the hook catches it.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from email.errors import MessageError
from email.message import Message as _EmailMessage
from typing import Final

from penstock.mail.reply import printable
from penstock.policy.field_text import decoded_octets, decoded_value
from penstock.policy.headers import ReadOnlyHeaders
from penstock.policy.refusal import LimitExceeded

SIZE_LIMIT: Final = 64 * 1024 * 1024
PARTS_LIMIT: Final = 200
#: A forwarded message in a forwarded message in a signed one has about 10.
DEPTH_LIMIT: Final = 20
#: Octets of a part's header section.
PART_HEADER_LIMIT: Final = 64 * 1024
#: Octets of a Content-Type or Content-Disposition field: reading parameters takes quadratic time.
PARAMETERS_LIMIT: Final = 4096
#: Octets of a part that ``text`` decodes.
TEXT_LIMIT: Final = 1024 * 1024
#: RFC 2046 5.1.1 has 70 characters.
_BOUNDARY_LIMIT: Final = 200
_FILENAME_LIMIT: Final = 255
#: Lines that begin like a delimiter of the multipart they are in, whether or not they are one.
DELIMITERS_LIMIT: Final = 2000
# What follows the boundary in a delimiter line: "--" in the closing one, and white space (RFC 2046 5.1.1)
_DELIMITER_REST: Final = re.compile(rb"(--)?[ \t]*+(?=\r\n|\Z)")
# type "/" subtype (RFC 2045 5.1), both tokens
_TYPE: Final = re.compile(r"[!#$%&'*+.^_`|~a-z0-9-]{1,127}/[!#$%&'*+.^_`|~a-z0-9-]{1,127}")


class Part:
    """One part of a message, or the message itself: a range of its octets."""

    __slots__ = (
        "_body",
        "_disposition",
        "_end",
        "_octets",
        "_start",
        "_type",
        "content_type",
        "headers",
        "parts",
    )

    def __init__(self, octets: bytes, start: int, end: int, default_type: str) -> None:
        self._octets = octets
        self._start = start
        self._end = end
        header_end = _header_end(octets, start, end)
        #: its fields, to be read
        self.headers = ReadOnlyHeaders(octets[start:header_end])
        self._body = header_end + 2 if octets.startswith(b"\r\n", header_end, end) else header_end
        self._type = _parameters(self.headers, "Content-Type")
        self._disposition = _parameters(self.headers, "Content-Disposition")
        #: lower case, ``text/plain`` where none or a wrong one is given
        self.content_type = _content_type(self._type, default_type)
        #: the parts of a multipart, and the message in a ``message/rfc822``
        self.parts: tuple[Part, ...] = ()

    @property
    def content(self) -> bytes:
        """Its octets as they came, its header section included."""
        return self._octets[self._start : self._end]

    def walk(self) -> Iterator[Part]:
        """This part and all below it, in the order of the message."""
        yield self
        for part in self.parts:
            yield from part.walk()

    @property
    def is_multipart(self) -> bool:
        """Whether it is made of others."""
        return bool(self.parts)

    @property
    def disposition(self) -> str:
        """``attachment``, ``inline`` or what else Content-Disposition says (RFC 2183), lower case; "" without one."""
        return _text(self._disposition.get_content_disposition() or "")

    @property
    def filename(self) -> str | None:
        """The file name that most readers show, decoded; None if the part has none. It is a stranger's: never a path to open."""
        names = self.filenames
        return names[0] if names else None

    @property
    def filenames(self) -> tuple[str, ...]:
        """Every name that some reader might take: of Content-Disposition first, then of Content-Type."""
        names: dict[str, None] = {}
        for message, field, key in (
            (self._disposition, "content-disposition", "filename"),
            (self._type, "content-type", "name"),
        ):
            for name in _all_parameters(message, field, key):
                names.setdefault(name)
        return tuple(names)

    @property
    def charset(self) -> str:
        """The character set that Content-Type names, lower case; ``us-ascii`` where it names none."""
        try:
            return self._type.get_content_charset("us-ascii")
        except (MessageError, ValueError, LookupError):
            return "us-ascii"

    @property
    def body(self) -> bytes:
        """The octets behind the header section, as they came."""
        return self._octets[self._body : self._end]

    @property
    def decoded(self) -> bytes:
        """The body without its transfer encoding (base64, quoted-printable); as it came where that is none or a wrong one."""
        return _unpacked(self.body, self._encoding)

    @property
    def _encoding(self) -> str:
        return (self.headers.get("Content-Transfer-Encoding") or "").strip().lower()

    @property
    def text(self) -> str:
        """The body as text, by its transfer encoding and character set; LimitExceeded beyond a mebibyte."""
        if self._end - self._body > TEXT_LIMIT:
            raise LimitExceeded(f"a part is longer than {TEXT_LIMIT} octets")
        return decoded_octets(self.decoded, self.charset)

    def __repr__(self) -> str:
        return f"<Part {self.content_type} of {self._end - self._start} octets>"


def parse(content: bytes) -> Part:
    """The structure of a message; LimitExceeded if it has too much of it."""
    if len(content) > SIZE_LIMIT:
        raise LimitExceeded(f"the message is longer than {SIZE_LIMIT} octets")
    return _Parsing(content).root


class _Parsing:
    """The work on one message, and how much of it was done."""

    def __init__(self, content: bytes) -> None:
        self._parts = 1
        self._delimiters = 0
        self._decoded = 0
        self._size = len(content)
        self.root = Part(content, 0, len(content), "text/plain")
        waiting = [(self.root, 0)]
        while waiting:
            part, depth = waiting.pop()
            part.parts = tuple(self._inside(part, depth))
            waiting += [(inner, depth + 1) for inner in part.parts]

    def _inside(self, part: Part, depth: int) -> Iterator[Part]:
        """What a part is made of."""
        boundary = _boundary(part)
        if boundary is not None:
            default_type = "message/rfc822" if part.content_type == "multipart/digest" else "text/plain"
            octets, body, end = part._octets, part._body, part._end  # noqa: SLF001 - the tree is made here and nowhere else
            for start, stop in self._between_delimiters(octets, body, end, b"--" + boundary):
                yield self._part(octets, start, stop, default_type, depth)
        elif part.content_type in ("message/rfc822", "message/global") and part._body < part._end:  # noqa: SLF001 - as above
            octets, body, end = part._octets, part._body, part._end  # noqa: SLF001 - as above
            if part._encoding in ("base64", "quoted-printable"):  # noqa: SLF001 - as above
                # no message has a transfer encoding by RFC 2046 5.2.1, but readers decode it all the same
                self._decoded += end - body
                if self._decoded > self._size:
                    raise LimitExceeded("encoded messages are in encoded messages")
                octets = part.decoded
                body, end = 0, len(octets)
            yield self._part(octets, body, end, "text/plain", depth)

    def _part(self, octets: bytes, start: int, end: int, default_type: str, depth: int) -> Part:
        self._parts += 1
        if self._parts > PARTS_LIMIT:
            raise LimitExceeded(f"there are more than {PARTS_LIMIT} parts")
        if depth >= DEPTH_LIMIT:
            raise LimitExceeded(f"parts are nested more than {DEPTH_LIMIT} deep")
        if _header_end(octets, start, end) - start > PART_HEADER_LIMIT:
            raise LimitExceeded(f"a part has a header section longer than {PART_HEADER_LIMIT} octets")
        return Part(octets, start, end, default_type)

    def _between_delimiters(
        self, octets: bytes, start: int, end: int, delimiter: bytes
    ) -> Iterator[tuple[int, int]]:
        """Where parts begin and end. What is before the first delimiter line and behind the closing one is no part (RFC 2046 5.1.1)."""
        begin = -1
        # a delimiter line begins with the line end before it, which is no part's; the first may be at the very beginning
        position = (
            start - 2
            if octets.startswith(delimiter, start, end)
            else octets.find(b"\r\n" + delimiter, start, end)
        )
        while position >= 0:
            self._delimiters += 1
            if self._delimiters > DELIMITERS_LIMIT:
                raise LimitExceeded(f"more than {DELIMITERS_LIMIT} lines begin as delimiters do")
            match = _DELIMITER_REST.match(octets, position + 2 + len(delimiter), end)
            if match is None:
                position = octets.find(b"\r\n" + delimiter, position + 2, end)
                continue
            if begin >= 0:
                yield begin, max(begin, position)
            begin = min(match.end() + 2, end)
            if match[1] is not None:
                return
            position = octets.find(b"\r\n" + delimiter, match.end(), end)
        if begin >= 0:
            yield begin, end


def _header_end(octets: bytes, start: int, end: int) -> int:
    """As ``penstock.mail.message.header_end``, of a part."""
    if octets.startswith(b"\r\n", start, end):
        return start
    empty_line = octets.find(b"\r\n\r\n", start, end)
    return end if empty_line < 0 else empty_line + 2


def _boundary(part: Part) -> bytes | None:
    """What parts a multipart, if it says."""
    if not part.content_type.startswith("multipart/"):
        return None
    try:
        boundary = part._type.get_boundary()  # noqa: SLF001 - as above
    except (MessageError, ValueError, LookupError):
        return None
    octets = (boundary or "").encode("utf-8", "replace")
    return octets if 0 < len(octets) <= _BOUNDARY_LIMIT else None


def _parameters(headers: ReadOnlyHeaders, name: str) -> _EmailMessage:
    """A message of the standard library's with this field alone, for what it knows about parameters; LimitExceeded if the field is too long."""
    message = _EmailMessage()
    for value in headers.raw(name)[:2]:
        if len(value) > PARAMETERS_LIMIT:
            raise LimitExceeded(f"a {name} field is longer than {PARAMETERS_LIMIT} octets")
        message[name] = value.decode("utf-8", "replace")
    return message


def _content_type(message: _EmailMessage, default_type: str) -> str:
    values = message.get_all("content-type", [])
    if not values:
        return default_type
    name = str(values[0]).partition(";")[0].strip().lower()
    return name if _TYPE.fullmatch(name) else "text/plain"


def _all_parameters(message: _EmailMessage, field: str, key: str) -> Iterator[str]:
    """What every field of this name gives for a parameter, decoded by RFC 2231 and, as much software does, by RFC 2047."""
    for value in message.get_all(field, []):
        single = _EmailMessage()
        single[field] = value
        try:
            found = single.get_param(key, header=field)
        except (MessageError, ValueError, LookupError):
            continue
        if isinstance(found, tuple):
            found = decoded_octets(found[2].encode("latin-1", "replace"), found[0] or "utf-8")
        if found:
            yield _text(decoded_value(found.encode("utf-8", "replace")))


def _text(name: str) -> str:
    return printable(name)[:_FILENAME_LIMIT]


def _unpacked(body: bytes, encoding: str) -> bytes:
    if encoding == "base64":
        try:
            return binascii.a2b_base64(body)
        except binascii.Error:
            return body
    return binascii.a2b_qp(body) if encoding == "quoted-printable" else body
