"""Our client against our server: what was sent is what arrives, octet for octet, however the octets are cut on their way."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.mail.address import Address, ReversePath, parse_address
from penstock.mail.configuration import EnableTls, LineEndings
from penstock.mail.dsn import EnvelopeDsn, RecipientDsn
from penstock.mail.tls import TlsFacts
from penstock.sim.smuggling import SEQUENCES
from penstock.smtp import extension
from penstock.smtp.client import (
    ClientEvent,
    ClientSession,
    Credentials,
    Finished,
    Introduced,
    SessionOptions,
    SessionRefused,
    Stage,
)
from penstock.smtp.data import with_crlf
from penstock.smtp.server import MessageGiven, ServerLimits
from penstock.smtp.transmission import Transmission

from .driver import WIDE, Drive

HEADER = b"Received: from x\r\n\tby y;\r\n\tFri, 20 Nov 2026 21:54:00 +0000\r\n"


OPTIONS = SessionOptions("client.example")
#: A server that takes DATA alone, and one that takes chunks.
BY_DATA = msgspec.structs.replace(WIDE, extensions=extension.STANDARD - {extension.CHUNKING})
BY_CHUNK = WIDE
WAYS = st.sampled_from([BY_DATA, BY_CHUNK])


class Wire:
    """A client and a server, with a wire between them that cuts octets into segments of the given sizes, over and over."""

    def __init__(
        self, sizes: list[int], limits: ServerLimits = WIDE, options: SessionOptions = OPTIONS
    ) -> None:
        self.client = ClientSession(options)
        self.drive = Drive(limits)
        self._sizes = sizes
        self.events: list[ClientEvent] = []
        self._say(self.drive.output)
        self.run()

    def _cut(self, octets: bytes) -> Iterator[bytes]:
        sizes = cycle(self._sizes or [len(octets) or 1])
        start = 0
        while start < len(octets):
            end = start + next(sizes)
            yield octets[start:end]
            start = end

    def _say(self, octets: bytes) -> None:
        for piece in self._cut(octets):
            self.events += self.client.receive(piece)

    def run(self) -> None:
        """Carry octets until neither side has any."""
        while output := self.client.take_output():
            for piece in self._cut(output):
                self._say(self.drive.feed(piece))

    def send(self, message: Transmission) -> Finished:
        """One transaction."""
        self.events.clear()
        finished = self.client.send(message)
        if finished is None:
            self.run()
            (event,) = self.events
            assert isinstance(event, Finished)
            finished = event
        return finished

    @property
    def arrived(self) -> list[MessageGiven]:
        """The messages that the server was given."""
        return self.drive.seen.messages


ADDRESSES = st.sampled_from([
    "a@b.example", '"a b"@c.example', r'"q\"x>"@d.example', "é@b.example", "x@[192.0.2.1]", "y@[IPv6:2001:db8::1]", "A.b+c@bücher.example",
    "l" * 64 + "@e.example", "\U0001f600@f.example", "o'neil@g.example", '""@h.example',
]).map(parse_address)  # fmt: skip
CONTENT = st.one_of(
    st.lists(
        st.sampled_from([b"\r\n", b"\r\n", b".", b"..", b".\r\n", b"a", b"\x00", b"\xff", b"Subject: x\r\n\r\n", b"QUIT\r\n", b"x" * 900])
    ).map(b"".join),
    st.binary().map(with_crlf),
).map(lambda content: content if not content or content.endswith(b"\r\n") else content + b"\r\n")  # fmt: skip
SIZES = st.lists(st.integers(1, 50), max_size=5)


def transmission(
    sender: ReversePath, recipients: list[Address], content: bytes, *, is_canonical: bool = False
) -> Transmission:
    """A message from ``sender``; 8-bit if its content is."""
    return Transmission(
        sender,
        tuple(recipients),
        HEADER,
        content,
        not content.isascii(),
        smtputf8=False,
        is_canonical=is_canonical,
    )


@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), ADDRESSES), st.lists(ADDRESSES, min_size=1, max_size=4, unique=True), CONTENT
        ),
        min_size=1,
        max_size=3,
    ),
    SIZES,
    WAYS,
)
@example([(None, [Address("a", "b")], b"." * 50 + b"\r\n" + b".\r\n" * 20)], [1], BY_DATA)
@example([(None, [Address("a", "b")], b"." * 50 + b"\r\n" + b".\r\n" * 20)], [1], BY_CHUNK)
@example([(None, [Address("a", "b")], b"")], [3], BY_DATA)
@example([(None, [Address("a", "b")], b"")], [3], BY_CHUNK)
def test_messages_and_envelopes_arrive_as_they_were_sent(
    sent: list[tuple[ReversePath, list[Address], bytes]], sizes: list[int], limits: ServerLimits
) -> None:
    """Several on one session, with every kind of address, and any octets in lines of at most 998; by DATA and in chunks."""
    wire = Wire(sizes, limits)
    for number, (sender, recipients, content) in enumerate(sent):
        finished = wire.send(transmission(sender, recipients, content))
        longest = max(map(len, content.split(b"\r\n")))
        assert {result.reply.code for result in finished.results} == {250 if longest <= 998 else 500}
        assert [result.recipient for result in finished.results] == list(range(len(recipients)))
        assert wire.client.is_idle
        if longest > 998:
            return
        arrived = wire.arrived[number]
        assert arrived.mail.reverse_path == sender
        assert list(arrived.forward_paths) == recipients
        assert arrived.content == HEADER + content
        assert arrived.mail.size == len(arrived.content)


@given(CONTENT, SIZES, WAYS, WAYS)
def test_what_a_server_called_canonical_can_be_sent_on_as_it_is(
    content: bytes, sizes: list[int], one_way: ServerLimits, other_way: ServerLimits
) -> None:
    """The next server gets the same octets, although the client did not look at them again."""
    first = Wire(sizes, one_way)
    first.send(transmission(None, [Address("a", "b")], content))
    for given_message in first.arrived:
        second = Wire(sizes, other_way)
        second.send(
            transmission(
                None, [Address("a", "b")], given_message.content, is_canonical=given_message.is_canonical
            )
        )
        assert [message.content for message in second.arrived] == [HEADER + given_message.content]


@pytest.mark.parametrize("way", [BY_DATA, BY_CHUNK], ids=["by DATA", "by chunk"])
@pytest.mark.parametrize("mode", [LineEndings.FIX, LineEndings.ALLOW])
@pytest.mark.parametrize("name", SEQUENCES)
def test_no_sequence_smuggles_through_a_lenient_listener_and_our_client(
    name: str, mode: LineEndings, way: ServerLimits
) -> None:
    """Smuggling through us: in by Fix or Allow, out by our client, and the next server has one message."""
    drive = Drive(msgspec.structs.replace(WIDE, invalid_line_endings=mode))
    drive.feed(b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
    drive.feed(b"x" + SEQUENCES[name] + b"MAIL FROM:<smuggled@b>\r\nRCPT TO:<c@d>\r\nDATA\r\ny\r\n.\r\n")
    (message,) = drive.seen.messages
    wire = Wire([], way)
    finished = wire.send(
        transmission(None, [Address("c", "d")], message.content, is_canonical=message.is_canonical)
    )
    assert finished.results[0].reply.code == 250
    (arrived,) = wire.arrived
    assert arrived.content == HEADER + with_crlf(message.content)
    assert "smuggled" not in repr(arrived.mail)


@pytest.mark.parametrize("way", [BY_DATA, BY_CHUNK], ids=["by DATA", "by chunk"])
@pytest.mark.parametrize("size", [1024, 4096, 65_536, 262_144])
def test_twenty_megabytes_arrive(size: int, way: ServerLimits) -> None:
    """Dots at the beginning of lines at every border of a segment among them."""
    line = b"." + b"x" * 61 + b"\r\n"
    content = line * (20_000_000 // len(line))
    wire = Wire([size], msgspec.structs.replace(way, max_message_size=30_000_000))
    finished = wire.send(transmission(None, [Address("a", "b")], content))
    assert finished.results[0].reply.code == 250
    assert wire.arrived[0].content == HEADER + content


def test_a_message_of_the_very_size_that_is_offered_is_taken_dots_and_all() -> None:
    """RFC 1870 6.1: SIZE counts the message; a server must not refuse for the dots that transparency adds."""
    content = b".\r\n" * 1000
    limit = len(HEADER) + len(content)
    for limits, code in ((limit, 250), (limit - 1, 552)):
        wire = Wire([100], msgspec.structs.replace(WIDE, max_message_size=limits))
        finished = wire.send(transmission(None, [Address("a", "b")], content))
        assert finished.results[0].reply.code == code
        assert (finished.results[0].command is None) is (code == 552)


def test_a_thousand_recipients_in_one_transaction() -> None:
    """Every thousandth of them is answered for."""
    recipients = [Address(f"user{number}", "d.example") for number in range(999)] + [
        Address("unknown", "d.example")
    ]
    wire = Wire([1000])
    finished = wire.send(transmission(None, recipients, b"x\r\n"))
    assert [result.reply.code for result in finished.results] == [250] * 999 + [550]
    assert len(wire.arrived[0].forward_paths) == 999


@pytest.mark.parametrize("password", ["secret", "wrong"])
@pytest.mark.parametrize("sizes", [[], [1]], ids=["whole", "octet by octet"])
def test_tls_and_auth_are_agreed_upon(sizes: list[int], password: str) -> None:
    """STARTTLS, EHLO again, AUTH PLAIN; without the right password nothing follows."""
    limits = msgspec.structs.replace(
        WIDE, extensions=extension.STANDARD | {extension.STARTTLS, extension.AUTH}
    )
    options = SessionOptions(
        "client.example", enable_tls=EnableTls.REQUIRED, credentials=Credentials("mta", password)
    )
    wire = Wire(sizes, limits, options)
    assert wire.client.stage is Stage.TLS
    wire.drive.session.secured()
    assert wire.client.secured(TlsFacts("TLSv1.3", "x", is_verified=True)) == []
    wire.events.clear()
    wire.run()
    if password == "secret":
        assert wire.events == [Introduced()]
        finished = wire.send(transmission(None, [Address("a", "b")], b"x\r\n"))
        assert finished.results[0].reply.code == 250
    else:
        (refused,) = wire.events
        assert isinstance(refused, SessionRefused)
        assert refused.reply.code == 535


def test_what_is_asked_about_notifications_arrives() -> None:
    """RFC 3461: as it was, each with its recipient."""
    asked = EnvelopeDsn(
        "FULL",
        "a+20b",
        (RecipientDsn(("NEVER",)), RecipientDsn(("SUCCESS", "DELAY"), "rfc822;x+2By@z.example")),
    )
    wire = Wire([1])
    message = msgspec.structs.replace(
        transmission(None, [Address("a", "b"), Address("c", "d")], b"x\r\n"), dsn=asked
    )
    wire.send(message)
    assert wire.arrived[0].dsn == asked
