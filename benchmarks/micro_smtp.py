"""What the SMTP core costs, without sockets: microseconds of one core per 10 KB message, on the server's side and on the client's.

Run: ``python -m benchmarks.micro_smtp``. A message is one transaction on a session that stays open: envelope, mail data, replies. Lock-step
is a peer without PIPELINING, one command in each segment; pipelined is MAIL, RCPT and DATA in one. The parts below the line are measured
alone. Figures are of the best round: noise only ever adds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from penstock.mail.address import Address, parse_path
from penstock.mail.configuration import LineEndings
from penstock.mail.message import find_fields
from penstock.mail.reply import reply
from penstock.smtp.client import ClientSession, Finished, Introduced, SessionOptions
from penstock.smtp.data import has_bare_line_end, longest_line_exceeds
from penstock.smtp.reply_reader import ReplyReader
from penstock.smtp.server import MessageGiven, ServerLimits, ServerSession
from penstock.smtp.transmission import Transmission, mail_data

_MESSAGES = 1_000
_ROUNDS = 15
_LINE = b"The quick brown fox jumps over the lazy dog, and nobody is any the wiser.\r\n"
_HEADER = (
    b"From: Sender <sender@send.example>\r\nTo: Recipient <recipient@dest.example>\r\n"
    b"Subject: ten kilobytes\r\nDate: Fri, 20 Nov 2026 21:54:00 +0000\r\nMessage-ID: <1@send.example>\r\n"
    b"X-Tenant: acme\r\nX-Campaign: spring\r\n\r\n"
)
_RECEIVED = (
    b"Received: from client.example ([192.0.2.10])\r\n\tby mta.example with ESMTP id "
    b"0193f5c0a1b27abc8abcdef012345678;\r\n\tFri, 20 Nov 2026 21:54:00 +0000\r\n"
)
_LIMITS = ServerLimits(
    hostname="mta.example",
    banner="Penstock ESMTP",
    max_message_size=20 * 1024 * 1024,
    max_messages_per_connection=1_000_000_000,
    max_recipients_per_message=1024,
    line_length_hard_limit=998,
    invalid_line_endings=LineEndings.DENY,
)
_STORED = reply(250, "2.0.0", "OK ids=0193f5c0a1b27abc8abcdef012345678")


def _content(size: int) -> bytes:
    body = _LINE * ((size - len(_HEADER)) // len(_LINE))
    return _HEADER + body


CONTENT = _content(10_240)


def _best(work: Callable[[int], None]) -> float:
    """Microseconds per message of ``work``, which handles as many messages as it is told."""
    work(_MESSAGES // 10)
    best = float("inf")
    for _ in range(_ROUNDS):
        begin = time.process_time()
        work(_MESSAGES)
        best = min(best, time.process_time() - begin)
    return best / _MESSAGES * 1e6


def _drive(session: ServerSession, octets: bytes) -> int:
    """Feed a segment, accept everything that comes of it, and take the replies, as a shell does; the messages that were given."""
    given = 0
    session.feed(octets)
    while (event := session.next_event()) is not None:
        if isinstance(event, MessageGiven):
            given += 1
            session.accept(_STORED)
        else:
            session.accept()
    session.take_output()
    return given


def _server(segments: list[bytes]) -> Callable[[int], None]:
    session = ServerSession(_LIMITS)
    session.greet()
    _drive(session, b"EHLO client.example\r\n")

    def work(count: int) -> None:
        given = 0
        for _ in range(count):
            for segment in segments:
                given += _drive(session, segment)
        assert given == count

    return work


def _client(*, is_pipelining: bool, is_chunking: bool = False) -> Callable[[int], None]:
    session = ClientSession(SessionOptions("mta.example"))
    session.receive(b"220 dest.example ESMTP\r\n")
    session.take_output()
    keywords = b"250-PIPELINING\r\n" if is_pipelining else b""
    if is_chunking:
        keywords += b"250-CHUNKING\r\n250-ENHANCEDSTATUSCODES\r\n"
    events = session.receive(b"250-dest.example\r\n" + keywords + b"250-SIZE 20971520\r\n250 8BITMIME\r\n")
    assert isinstance(events[0], Introduced)
    session.take_output()
    envelope = [b"250 2.1.0 Ok\r\n", b"250 2.1.5 Ok\r\n", b"354 End data with <CR><LF>.<CR><LF>\r\n"]
    if is_chunking:
        del envelope[-1]
    segments = [b"".join(envelope)] if is_pipelining else envelope
    message = Transmission(
        Address("sender", "send.example"),
        (Address("recipient", "dest.example"),),
        _RECEIVED,
        CONTENT,
        eight_bit=False,
        smtputf8=False,
        is_canonical=True,
    )

    def work(count: int) -> None:
        for number in range(count):
            session.send(message)
            session.take_output()
            for segment in segments:
                session.receive(segment)
                session.take_output()
            last = session.receive(b"250 2.0.0 Ok: queued as %08X\r\n" % number)[0]
            assert isinstance(last, Finished)

    return work


def _repeat(part: Callable[[], object]) -> Callable[[int], None]:
    def work(count: int) -> None:
        for _ in range(count):
            part()

    return work


def main() -> None:
    """Print a table: each side by its peer's manner, then the parts."""
    mail = b"MAIL FROM:<sender@send.example> SIZE=10240\r\n"
    rcpt = b"RCPT TO:<recipient@dest.example>\r\n"
    data = CONTENT + b".\r\n"
    replies = b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n"
    reader = ReplyReader()
    message = Transmission(None, (), _RECEIVED, CONTENT, False, False, is_canonical=True)
    cases: dict[str, Callable[[int], None]] = {
        "server, lock-step": _server([mail, rcpt, b"DATA\r\n", data]),
        "server, pipelined": _server([mail + rcpt + b"DATA\r\n", data]),
        "server, mail data in 1 KB segments": _server(
            [mail + rcpt + b"DATA\r\n", *(data[start : start + 1024] for start in range(0, len(data), 1024))]
        ),
        "client, lock-step": _client(is_pipelining=False),
        "client, pipelined": _client(is_pipelining=True),
        "client, pipelined, in a chunk": _client(is_pipelining=True, is_chunking=True),
        "part: has_bare_line_end": _repeat(lambda: has_bare_line_end(CONTENT)),
        "part: longest_line_exceeds": _repeat(lambda: longest_line_exceeds(CONTENT, 998)),
        "part: find_fields": _repeat(lambda: find_fields(CONTENT, [b"x-tenant", b"x-campaign"])),
        "part: parse_path": _repeat(lambda: parse_path(b"recipient@dest.example")),
        "part: three replies read": _repeat(lambda: reader.feed(replies)),
        "part: mail_data": _repeat(lambda: mail_data(message)),
    }
    print(f"{'10 KB message':<38}{'µs':>8}")
    for name, work in cases.items():
        print(f"{name:<38}{_best(work):>8.2f}")


if __name__ == "__main__":
    main()
