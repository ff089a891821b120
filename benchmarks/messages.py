"""Messages that a relay gets wrong when it gets anything wrong, each with what must arrive; and the comparison of what did."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from benchmarks.dialogue import stuffed

#: Sizes of buffers that programs read and write by (the last is uvloop's read buffer).
BORDERS: Final = (4096, 8192, 16_384, 65_536, 131_072, 262_144)
#: Distances from a border at which a line begins with a dot: the CRLF before it is on one side, on both, or on the other.
AROUND: Final = (-2, -1, 0, 1, 2)
LABELS: Final = b"X-Tenant: acme\r\nX-Campaign: spring\r\n"
MIB: Final = 1024 * 1024

# A field called X-Tenant or X-Campaign with its folded lines (RFC 5322 2.2.3)
_LABEL_FIELD = re.compile(
    rb"^X-(?:Tenant|Campaign)[ \t]*:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*", re.IGNORECASE | re.MULTILINE
)
_RECEIVED_FIELD = re.compile(rb"Received:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*")

#: How the octets of a message are cut into segments; None sends them in one piece.
Cut = Callable[[bytes], Iterable[bytes]]


class Case(NamedTuple):
    """A message to be sent, as its client means it (before dot transparency), and how."""

    name: str
    message: bytes
    reverse_path: bytes = b"sender@source.test"
    forward_paths: Sequence[bytes] = (b"user@d1.test",)
    parameters: bytes = b""
    cut: Cut | None = None


def expected(message: bytes) -> bytes:
    """What must arrive behind the one new Received field: the message without its tenant and campaign fields."""
    if message.startswith(b"\r\n"):
        return message
    empty_line = message.find(b"\r\n\r\n")
    end = len(message) if empty_line < 0 else empty_line + 2
    return _LABEL_FIELD.sub(b"", message[:end]) + message[end:]


def without_received(message: bytes) -> tuple[bytes, bytes]:
    """A message that arrived, as the Received field at its very beginning (empty if there is none) and the rest."""
    match = _RECEIVED_FIELD.match(message)
    end = match.end() if match else 0
    return message[:end], message[end:]


def difference(wanted: bytes, found: bytes) -> str:
    """Where two messages part, for a report; empty if they do not."""
    if wanted == found:
        return ""
    at = next(
        (index for index, (a, b) in enumerate(zip(wanted, found, strict=False)) if a != b),
        min(len(wanted), len(found)),
    )
    return f"differs at octet {at} of {len(wanted)} ({wanted[at : at + 24]!r} became {found[at : at + 24]!r}, {len(found)} octets)"


def padded(length: int, header: bytes = b"Subject: dots\r\n" + LABELS) -> bytes:
    """The beginning of a message, exactly ``length`` octets of whole lines."""
    start = header + b"\r\n"
    lines, last = divmod(length - len(start), 80)
    if last == 1:  # too short for a CRLF: the line before takes it
        lines, last = lines - 1, 81
    return start + (b"x" * 78 + b"\r\n") * lines + (b"y" * (last - 2) + b"\r\n" if last else b"")


def simple_cases() -> Iterator[Case]:
    """One message for each thing that mail may contain."""
    header = b"Subject: a message\r\n" + LABELS
    yield Case("an ordinary message", header + b"From: <a@source.test>\r\n\r\nHello.\r\n")
    yield Case("no tenant, no campaign", b"Subject: nobody's\r\n\r\nHello.\r\n")
    yield Case(
        "tenant and campaign in other cases, folded",
        b"x-TENANT:\r\n acme\r\nSubject: s\r\nX-cAMPAIGN:\r\n\tspring\r\n\r\nHello.\r\n",
    )
    yield Case(
        "fields and text that only look like them",
        b"X-Tenant-Id: kept\r\nX-Campaigns: kept\r\n"
        + header
        + b"Comments: X-Tenant: kept\r\n X-Campaign: kept\r\n\r\nX-Tenant: kept\r\n",
    )
    yield Case(
        "fields as they came: case, folding, white space",
        header + b"sUBJECT:x \r\nTo:\t<a@b.test>,\r\n  <c@d.test> \t\r\nX-Empty:\r\n\r\n \r\n\tz \r\n",
    )
    yield Case(
        "Received fields of earlier hops",
        b"Received: from a by b;\r\n now\r\nReceived: from c by a; then\r\n" + header + b"\r\nHello.\r\n",
    )
    yield Case("no body", header)
    yield Case("an empty body", header + b"\r\n")
    yield Case("no header section", b"\r\nHello.\r\n")
    yield Case("nothing at all", b"")
    yield Case("a line of 998 octets", header + b"\r\n" + b"l" * 998 + b"\r\n.\r\n")
    eight_bit = b"".join(
        bytes(octet for octet in range(low, low + 32) if octet not in (0, 10, 13)) + b"\r\n"
        for low in range(0, 256, 32)
    )
    yield Case(
        "every octet but NUL, CR and LF (8BITMIME)",
        header + b"\r\n" + eight_bit * 3,
        parameters=b" BODY=8BITMIME",
    )
    yield Case(
        "SMTPUTF8",
        "Subject: Grüße\r\nX-Tenant: acme\r\nFrom: Jürgen <jürgen@quelle.test>\r\n\r\nπάντα ῥεῖ\r\n".encode(),
        reverse_path="jürgen@quelle.test".encode(),
        forward_paths=["δοκιμή@bücher.test".encode()],
        parameters=b" SMTPUTF8 BODY=8BITMIME",
    )
    yield Case(
        "SMTPUTF8, needed by the addresses alone",
        header + b"\r\nASCII.\r\n",
        reverse_path="jürgen@quelle.test".encode(),
        forward_paths=["δοκιμή@d1.test".encode()],
        parameters=b" SMTPUTF8",
    )
    draw = random.Random(20)
    line = bytes(draw.choice(b"abcdefghijklmnopqrstuvwxyz .") for _ in range(998)) + b"\r\n"
    yield Case("20,000,000 octets", padded(2000) + line * 19_998)
    yield Case("20 MiB, the limit, to the octet", padded(20 * MIB))
    yield Case(
        "1,000 recipients in 8 domains",
        header + b"\r\nHello, all.\r\n",
        forward_paths=[b"user%d@d%d.test" % (number, number % 8 + 1) for number in range(1000)],
    )


def dot_cases() -> Iterator[Case]:
    """Dots at line starts: alone, in rows, at the ends, a megabyte of them, and cut into segments of one octet."""
    header = b"Subject: dots\r\n" + LABELS
    bodies = {
        "a dot line first": b".\r\nx\r\n",
        "a dot line last": b"x\r\n.\r\n",
        "only a dot line": b".\r\n",
        "only dots": b".\r\n..\r\n...\r\n....\r\n",
        "dots before text": b".x\r\n..x\r\n. .\r\n.\t\r\nx.\r\n",
        "empty lines around dot lines": b"\r\n\r\n.\r\n\r\n.\r\n\r\n",
    }
    for name, body in bodies.items():
        yield Case(f"{name}", header + b"\r\n" + body)
        yield Case(f"{name}, octet by octet", header + b"\r\n" + body, cut=_octets)
    yield Case("a header line that begins with a dot", header + b".field: x\r\n\r\nx\r\n")
    yield Case("1 MB of dot lines", header + b"\r\n" + b".\r\n" * (MIB // 3))


def border_cases(added: int) -> Iterator[Case]:
    """A dot line around every border: of what is read, in one piece and cut right there, and of what is sent.

    ``added`` is how much longer a message goes out than it comes in (Received gained, tenant and campaign lost).
    """
    for offset in border_offsets():
        message = padded(offset) + b".\r\n.x\r\n..\r\nend\r\n.\r\n"
        yield Case(f"a dot at {offset} of what is read", message)
        yield Case(f"a dot at {offset} of what is read, cut there", message, cut=_cut_at(offset))
        yield Case(f"a dot at {offset} of what is sent", padded(offset - added) + b".\r\n..\r\nend\r\n.\r\n")


def border_offsets() -> list[int]:
    """Every offset of a dot that matters."""
    return [border + distance for border in BORDERS for distance in AROUND]


def wire(case: Case) -> Iterable[bytes]:
    """The mail data of a case in the segments in which it is sent."""
    octets = stuffed(case.message)
    return [octets] if case.cut is None else case.cut(octets)


def _octets(octets: bytes) -> Iterable[bytes]:
    return (octets[index : index + 1] for index in range(len(octets)))


def _cut_at(offset: int) -> Cut:
    return lambda octets: (octets[:offset], octets[offset:])
