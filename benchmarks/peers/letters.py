"""Messages that go through several servers, and what must arrive: their octets, below nothing but trace fields, once for every recipient."""

from __future__ import annotations

import base64
import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from benchmarks.capture import Capture, Captured
from benchmarks.dialogue import Dialogue, stuffed
from benchmarks.messages import difference
from benchmarks.peers.peer import Use
from benchmarks.product import DOMAINS

#: What servers put on top of a message that they pass on (RFC 5321 4.4), whole and folded.
_TRACE = re.compile(rb"(?:(?:Received|Return-Path):[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)*", re.IGNORECASE)
_NAME = re.compile(rb"^X-Letter: ([^\r\n]*)\r\n", re.MULTILINE)
_PATH = re.compile(rb"(?:TO|FROM):<([^>]*)>", re.IGNORECASE)
#: What parameters of MAIL and RCPT are of.
_PARAMETERS: Final = {
    b"BODY": Use.EIGHT_BIT,
    b"SMTPUTF8": Use.UTF8,
    **dict.fromkeys((b"RET", b"ENVID", b"NOTIFY", b"ORCPT"), Use.DSN),
}
PATIENCE: Final = 20.0
MIB: Final = 1024 * 1024


class Letter(NamedTuple):
    """A message with its envelope. ``mail`` and ``rcpt`` are parameters, each of which must arrive if the way can carry what it is of.

    ``needs`` is what a server must have to take the letter at all.
    """

    name: str
    message: bytes
    forward_paths: Sequence[bytes] = (b"user@d1.test",)
    reverse_path: bytes = b"sender@source.test"
    mail: bytes = b""
    rcpt: bytes = b""
    needs: Use | None = None


def few_letters() -> list[Letter]:
    """One for each thing that a server between may harm."""
    return [
        _letter("plain", b"Hello.\r\n"),
        _letter("lines of 998 octets", (b"l" * 998 + b"\r\n") * 3),
        _letter("dots", b".\r\n..\r\n...\r\n.x\r\n\r\n.\r\n"),
        _letter(
            "8-bit",
            "Grüße aus Ötigheim: 100 €\r\n".encode() + bytes(range(0x80, 0x100)) + b"\r\n",
            mail=b" BODY=8BITMIME",
            needs=Use.EIGHT_BIT,
        ),
        _letter(
            "UTF-8",
            "πάντα ῥεῖ\r\n".encode(),
            header="Subject: Grüße\r\nFrom: Jürgen <jürgen@source.test>\r\n".encode(),
            forward_paths=["δοκιμή@d2.test".encode()],
            reverse_path="jürgen@source.test".encode(),
            mail=b" BODY=8BITMIME SMTPUTF8",
            needs=Use.UTF8,
        ),
        _letter("an empty body", b""),
        _letter("a megabyte in Base64", _base64(MIB)),
        _letter(
            "fifty recipients in five domains",
            b"Hello, all.\r\n",
            forward_paths=[b"user%d@d%d.test" % (number, number % 5 + 1) for number in range(50)],
        ),
        _letter(
            "delivery status asked for",
            b"Hello.\r\n",
            mail=b" RET=HDRS ENVID=QQ+2B314159",
            rcpt=b" NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;first+2Buser@d1.test",
            needs=Use.DSN,
        ),
    ]


def more_letters() -> list[Letter]:
    """What only the check sends besides: header sections that invite repair, sizes around what programs read at once, five megabytes."""
    letters = [
        _letter(
            "header fields as they came",
            b"x\r\n",
            header=b"sUBJECT:x \r\nTo:\t<a@b.test>,\r\n  <c@d.test> \t\r\nX-Empty:\r\nReceived: from a by b; then\r\n",
        ),
        _letter("white space at line ends", b" \r\n\t\r\nx \r\nFrom here\r\n>From there\r\n"),
        _letter("controls", bytes(octet for octet in range(1, 128) if octet not in b"\r\n") + b"\r\n"),
        _letter("many empty lines", b"\r\n" * 5000),
        _letter("a megabyte of dot lines", b".\r\n" * (MIB // 3)),
        _letter("five megabytes in Base64", _base64(5 * MIB)),
        _letter("the null reverse-path", b"Hello.\r\n", reverse_path=b""),
        _letter(
            "delivery status not wanted",
            b"Hello.\r\n",
            rcpt=b" NOTIFY=NEVER",
            needs=Use.DSN,
        ),
    ]
    for border in (4096, 8192, 16_384, 65_536):
        letters += [
            _letter(f"a dot at {border}{distance:+}", _filled(border + distance) + b".\r\n..\r\nend\r\n")
            for distance in (-1, 0, 1)
        ]
    return letters


def post(port: int, letters: Iterable[Letter]) -> None:
    """Send all in one session to a server that takes them in the clear, command by command; it must accept everything."""
    with Dialogue(port) as client:
        client.command(b"EHLO source.test", 250)
        for letter in letters:
            client.command(b"MAIL FROM:<" + letter.reverse_path + b">" + letter.mail, 250)
            for path in letter.forward_paths:
                client.command(b"RCPT TO:<" + path + b">" + letter.rcpt, 250)
            client.command(b"DATA", 354)
            client.send(stuffed(letter.message))
            client.expect(250)
        client.command(b"QUIT", 221)


def arrived(capture: Capture, letters: Sequence[Letter], seconds: float = PATIENCE) -> list[Captured]:
    """What arrived, once it is mail for as many recipients as the letters have."""
    capture.wait_for_recipients(sum(len(letter.forward_paths) for letter in letters), seconds)
    return capture.take()


def faults(letters: Sequence[Letter], found: Sequence[Captured], carried: set[Use]) -> list[str]:
    """What is wrong with what arrived; nothing is the aim. Parameters are looked for if what they are of is ``carried`` by the whole way."""
    by_name: dict[bytes, list[Captured]] = {letter.name.encode(): [] for letter in letters}
    wrong: list[str] = []
    for captured in found:
        match = _NAME.search(captured.message)
        name = match[1] if match else b""
        if name in by_name:
            by_name[name].append(captured)
        else:
            wrong.append(f"a message that nobody sent arrived: {captured.message[:80]!r}")
    for letter in letters:
        wrong += [
            f"{letter.name}: {fault}" for fault in _faults_of(letter, by_name[letter.name.encode()], carried)
        ]
    return wrong


def _faults_of(letter: Letter, found: Sequence[Captured], carried: set[Use]) -> list[str]:
    wrong: list[str] = []
    recipients = Counter(_path(recipient) for captured in found for recipient in captured.recipients)
    if recipients != Counter(letter.forward_paths):
        wrong.append(f"recipients became {sorted(recipients.elements())[:5]}")
    for captured in found:
        trace = _TRACE.match(captured.message)
        kept = captured.message[trace.end() if trace else 0 :]
        wrong += [fault for fault in [difference(letter.message, kept), *captured.wire_faults()] if fault]
        if kept == captured.message:
            wrong.append("no trace field was added")
        if _path(captured.mail) != letter.reverse_path:
            wrong.append(f"the reverse-path became {captured.mail!r}")
        wrong += _missing(letter.mail, captured.mail, carried)
        for recipient in captured.recipients:
            wrong += _missing(letter.rcpt, recipient, carried)
    return wrong


def _missing(parameters: bytes, argument: bytes, carried: set[Use]) -> list[str]:
    """Complaints about parameters that are not in the argument of a command, although the way carries what they are of."""
    there = argument.upper().split()
    return [
        f"{word!r} is not in {argument!r}"
        for word in parameters.split()
        if word.upper() not in there and _PARAMETERS[word.partition(b"=")[0]] in carried
    ]


def _path(argument: bytes) -> bytes:
    match = _PATH.match(argument)
    return match[1] if match else argument


def _letter(
    name: str,
    body: bytes,
    *,
    header: bytes = b"Subject: a letter\r\nFrom: <sender@source.test>\r\n",
    forward_paths: Sequence[bytes] = (b"user@d1.test",),
    reverse_path: bytes = b"sender@source.test",
    mail: bytes = b"",
    rcpt: bytes = b"",
    needs: Use | None = None,
) -> Letter:
    fixed = f"X-Letter: {name}\r\nMessage-ID: <{name.replace(' ', '.')}@source.test>\r\n".encode()
    date = b"Date: Thu, 1 Jan 2026 00:00:00 +0000\r\n"
    message = fixed + date + header + b"\r\n" + body
    return Letter(name, message, forward_paths, reverse_path, mail, rcpt, needs)


def _base64(octets: int) -> bytes:
    """A body of so many octets, more or less, in lines of 76."""
    return base64.encodebytes(random.Random(20).randbytes(octets * 3 // 4)).replace(b"\n", b"\r\n")


def _filled(length: int) -> bytes:
    """A body of whole lines, so many octets."""
    lines, last = divmod(length, 64)
    if last == 1:
        lines, last = lines - 1, 65
    return (b"x" * 62 + b"\r\n") * lines + (b"y" * (last - 2) + b"\r\n" if last else b"")


#: Domains that letters go to, for whoever has to know the way.
LETTER_DOMAINS: Final = DOMAINS[:5]
