"""The messages of a blast: number ``n`` is the same for the same seed, but for its id and the time it is sent.

Fields that a sink reads back: ``X-Blast-Id`` (``RUN-NUMBER``, unique), ``X-Blast-Sent`` (seconds since 1970), ``X-Blast-Body`` (CRC-32 of
the body, in hexadecimal). No line begins with a dot, so the content needs no transparency (RFC 5321 4.5.2).
"""

from __future__ import annotations

import email.utils
import zlib
from typing import Final, NamedTuple

from penstock.mail.duration import WallTime
from penstock.sim.blast.options import BlastOptions
from penstock.sim.draw import WeightedChoice, seeded_draw

_LINE: Final = 78
#: Bodies kept for their next use, in octets. Sizes from a range rarely come twice; a fixed size has a handful of body lengths.
_CACHE_LIMIT: Final = 16 * 1024**2
#: More recipients than this do not stand in To.
_SHOWN: Final = 20


class Mail(NamedTuple):
    """One message to send: its number, its tenant's place in the options (0 where there is none), the commands that announce it, its content."""

    number: int
    tenant: int
    mail: bytes
    recipients: list[bytes]
    content: bytes

    def rcpt(self, index: int) -> bytes:
        """The RCPT command of a recipient."""
        return b"RCPT TO:<%b>\r\n" % self.recipients[index]

    def group(self) -> bytes:
        """MAIL, RCPT and DATA as one pipelined group (RFC 2920 3.1)."""
        if len(self.recipients) == 1:
            return b"%bRCPT TO:<%b>\r\nDATA\r\n" % (self.mail, self.recipients[0])
        return self.mail + b"".join(self.rcpt(index) for index in range(len(self.recipients))) + b"DATA\r\n"


class MailMaker:
    """Makes the messages of one run. ``run`` is 32 bits that no other run shares."""

    def __init__(self, options: BlastOptions, run: int, seed: int) -> None:
        self._options = options
        self._run = run
        self._draw = seeded_draw(seed)
        self.tenants = tuple(options.tenants) or ("",)
        self._tenant = WeightedChoice(dict(enumerate(options.tenants.values())) or {0: 1.0})
        self._campaign = WeightedChoice(options.campaigns or {"": 1.0})
        self._domain = WeightedChoice(options.domains)
        self._local_part = WeightedChoice(options.local_parts)
        self._bodies: dict[int, tuple[bytes, bytes]] = {}
        self._cached = 0
        self._date = (0, "")
        self._block = _block(min(options.size[1], 1024**2))

    def make(self, number: int, now: WallTime) -> Mail:  # hot: throughput
        """Message ``number``, sent at ``now``. Called for each number once, in their order: the draws are one sequence."""
        options, draw = self._options, self._draw
        tenant_index = self._tenant(draw)
        tenant = self.tenants[tenant_index]
        sender = options.sender.format(n=number, r=0, tenant=tenant)
        recipients = [
            f"{self._local_part(draw).format(n=number, r=index, tenant=tenant)}@{self._domain(draw)}"
            for index in range(self._between(options.recipients))
        ]
        shown = ", ".join(recipients) if len(recipients) <= _SHOWN else "undisclosed-recipients:;"
        fields = ""
        if tenant:
            fields = f"{options.tenant_header}: {tenant}\r\n"
        campaign = self._campaign(draw)
        if campaign:
            fields += f"{options.campaign_header}: {campaign}\r\n"
        header = (
            f"From: {sender or 'mailer-daemon@blast.test'}\r\nTo: {shown}\r\nSubject: Blast {number}\r\nDate: {self._date_of(now)}\r\n"
            f"Message-ID: <{self._run:08x}-{number}@blast.test>\r\n"
            f"X-Blast-Id: {self._run:08x}-{number}\r\nX-Blast-Sent: {now:.6f}\r\n{fields}X-Blast-Body: "
        ).encode()
        size = self._between(options.size)
        # eight hexadecimal digits, the end of their line, the empty line
        body, digest = self._body(max(size - len(header) - 12, 2))
        content = b"".join((header, digest, b"\r\n\r\n", body, b".\r\n"))
        return Mail(
            number,
            tenant_index,
            b"MAIL FROM:<%b>\r\n" % sender.encode(),
            [r.encode() for r in recipients],
            content,
        )

    def _between(self, bounds: tuple[int, int]) -> int:
        low, high = bounds
        return low if low == high else low + int(self._draw() * (high - low + 1))

    def _date_of(self, now: WallTime) -> str:
        second = int(now)
        if self._date[0] != second:
            self._date = (second, email.utils.formatdate(second, usegmt=True).replace("GMT", "+0000"))
        return self._date[1]

    def _body(self, size: int) -> tuple[bytes, bytes]:
        cached = self._bodies.get(size)
        if cached is None:
            body = _body(self._block, size)
            cached = body, b"%08x" % zlib.crc32(body)
            if self._cached + size <= _CACHE_LIMIT:
                self._cached += size
                self._bodies[size] = cached
        return cached


def _block(size: int) -> bytes:
    """Lines of printable ASCII, at least ``size`` octets of them, no two alike for long."""
    letters = "the quick brown fox jumps over the lazy dog and waits for the gate to be opened "
    lines = (f"{number:08d} {letters}"[: _LINE - 2] + "\r\n" for number in range(size // _LINE + 2))
    return "".join(lines).encode()


def _body(block: bytes, size: int) -> bytes:
    """``size`` octets of whole lines, the last one ending in CRLF; at least 2."""
    if size + _LINE > len(block):
        block *= -(-(size + _LINE) // len(block))
    if (size - 2) % _LINE == _LINE - 1:
        # the cut falls between CR and LF of a line
        return block[: size - 3] + b".\r\n"
    return block[: size - 2] + b"\r\n"
