"""What a server session does beyond single dialogues: STARTTLS and what stands behind it, replies that are reviewed, extensions taken away."""

from __future__ import annotations

import msgspec
import pytest

from penstock.mail.dsn import EnvelopeDsn, RecipientDsn
from penstock.mail.reply import Reply, reply
from penstock.smtp import extension
from penstock.smtp.server import AuthGiven, Hello, MessageGiven, Replying, ServerSession, XclientGiven

from .driver import ENVELOPE, LIMITS, WIDE, Drive, serve

ALL = msgspec.structs.replace(WIDE, extensions=frozenset(extension.ORDER), auth_needs_tls=False)
EHLO = b"EHLO client.example\r\n"


def test_commands_behind_starttls_end_the_session_before_any_handshake() -> None:
    """CVE-2011-0411: what came in the clear with STARTTLS is neither answered nor kept for after the handshake."""
    drive = Drive(ALL)
    drive.feed(EHLO)
    assert drive.feed(b"STARTTLS\r\nMAIL FROM:<injected@b.example>\r\n").startswith(b"554 5.5.0 ")
    assert drive.session.is_closed
    assert not drive.session.is_starting_tls
    assert not drive.session.has_input


def test_the_handshake_makes_the_session_forget() -> None:
    """RFC 3207 4.2: the name, the offers, the identity and the transaction of before."""
    drive = Drive(ALL)
    drive.feed(EHLO + b"AUTH PLAIN AHVzZXIAc2VjcmV0\r\n")
    drive.feed(b"STARTTLS\r\n")
    drive.session.secured()
    assert drive.feed(b"MAIL FROM:<a@b.example>\r\n").startswith(b"503 ")
    offers = drive.feed(EHLO)
    assert b"AUTH" in offers
    assert b"STARTTLS" not in offers


def test_credentials_are_in_no_repr() -> None:
    """Neither of the event nor of what it holds."""
    drive = Drive(ALL)
    drive.feed(EHLO + b"AUTH PLAIN AHVzZXIAc2VjcmV0\r\n")
    (event,) = [event for event in drive.events if isinstance(event, AuthGiven)]
    assert event.credentials is not None
    assert event.credentials.password == "secret"
    assert "secret" not in repr(event)


def test_what_is_not_offered_cannot_be_used() -> None:
    """A keyword that was taken away takes its commands and parameters with it."""
    limits = msgspec.structs.replace(ALL, extensions=frozenset())
    drive = Drive(limits)
    assert drive.feed(EHLO) == b"250 mta.example\r\n"
    for line in (b"SIZE=1", b"BODY=7BIT", b"SMTPUTF8", b"RET=FULL", b"ENVID=x", b"AUTH=<>"):
        assert drive.feed(b"MAIL FROM:<a@b.example> " + line + b"\r\n").startswith(b"555 "), line
    assert drive.feed(b"STARTTLS\r\n").startswith(b"502 ")
    assert drive.feed(b"AUTH PLAIN =\r\n").startswith(b"502 ")
    assert drive.feed(b"XCLIENT ADDR=192.0.2.1\r\n").startswith(b"550 ")
    drive.feed(b"MAIL FROM:<a@b.example>\r\n")
    assert drive.feed(b"RCPT TO:<c@d.example> NOTIFY=NEVER\r\n").startswith(b"555 ")


def test_ehlo_can_be_answered_with_fewer_keywords() -> None:
    """What the policy leaves out is not accepted either; what it adds is only said."""
    session = ServerSession(ALL)
    session.greet()
    session.feed(EHLO)
    event = session.next_event()
    assert isinstance(event, Hello)
    assert event.offered == extension.ORDER
    session.accept_as(msgspec.structs.replace(event, offered=("PIPELINING", "X-FANCY")))
    assert session.take_output().endswith(b"250-mta.example\r\n250-PIPELINING\r\n250 X-FANCY\r\n")
    session.feed(b"STARTTLS\r\n")
    assert session.next_event() is None
    assert session.take_output().startswith(b"502 ")


def test_every_reply_can_be_reviewed_before_it_is_said() -> None:
    """In order, one at a time; what was said in the end is what is recorded as refused."""
    limits = msgspec.structs.replace(LIMITS, reviews_replies=True)
    session = ServerSession(limits)
    session.greet()
    session.feed(EHLO + b"MAIL FROM:<a@b.example>\r\nXYZZY\r\nQUIT\r\n")
    seen: list[tuple[str, int]] = []
    while not session.is_closed:
        event = session.next_event()
        if isinstance(event, Replying):
            seen.append((event.command, event.reply.code))
            changed = event.reply.code == 500
            session.say(reply(550, "5.7.1", "go away") if changed else event.reply)
        else:
            session.accept()
    assert seen == [("", 220), ("EHLO", 250), ("MAIL", 250), ("", 500), ("QUIT", 221)]
    assert b"550 5.7.1 go away\r\n221 " in session.take_output()
    assert [refused.reply.code for refused in session.refusals] == [550]


def test_a_client_that_talks_before_the_greeting_is_sent_away() -> None:
    """RFC 5321 4.3.1, RFC 2920 3.1."""
    session = ServerSession(LIMITS)
    session.feed(EHLO)
    assert session.next_event() is None
    session.greet()
    assert session.take_output().startswith(b"554 5.5.0 ")
    assert session.is_closed


def test_a_session_can_be_turned_away_instead_of_greeted() -> None:
    """And cannot be greeted any more."""
    session = ServerSession(LIMITS)
    session.turn_away(reply(554, "5.7.1", "not you"))
    session.greet()
    session.turn_away(reply(554, "5.7.1", "not you"))
    assert session.take_output() == b"554 5.7.1 not you\r\n"
    assert session.is_closed


def test_what_a_client_asks_about_notifications_comes_with_the_message() -> None:
    """RFC 3461: RET and ENVID of the message, NOTIFY and ORCPT of each recipient, those that asked nothing among them."""
    seen = serve(
        [
            EHLO + b"MAIL FROM:<a@b.example> ret=full ENVID=q+2B1\r\n"
            b"RCPT TO:<one@d.example>\r\nRCPT TO:<two@d.example> NOTIFY=failure,delay ORCPT=rfc822;t+2Bwo\r\n"
            b"DATA\r\n",
            b"text\r\n.\r\n",
        ],
        WIDE,
    )
    assert seen.messages[0].dsn == EnvelopeDsn(
        "FULL", "q+2B1", (RecipientDsn(), RecipientDsn(("FAILURE", "DELAY"), "rfc822;t+2Bwo"))
    )
    (plain,) = serve([ENVELOPE, b"text\r\n.\r\n"], WIDE).messages
    assert plain.dsn is None


@pytest.mark.parametrize(
    ("content", "is_canonical"),
    [(b"", True), (b"text\r\n", True), (b"text", False), (b".\r\n", False), (b"a\r\n.b\r\n", False)],
)
def test_chunks_are_canonical_only_if_they_can_go_on_a_wire_as_they_are(
    content: bytes, is_canonical: bool
) -> None:
    """A chunk need not end with a line, and may hold lines of one dot."""
    drive = Drive(WIDE)
    drive.feed(ENVELOPE.removesuffix(b"DATA\r\n") + b"BDAT %d LAST\r\n" % len(content) + content)
    (message,) = [event for event in drive.events if isinstance(event, MessageGiven)]
    assert (message.content, message.is_canonical) == (content, is_canonical)


def test_a_hundred_thousand_chunks_of_one_octet_are_one_message() -> None:
    """In memory for the message alone, and in linear time."""
    drive = Drive(WIDE)
    drive.feed(ENVELOPE.removesuffix(b"DATA\r\n"))
    for _ in range(100):
        drive.feed(b"BDAT 1\r\n\rBDAT 1\r\n\n" * 500)
        drive.output = b""
    assert drive.session.buffered == 100_000
    drive.feed(b"BDAT 2 LAST\r\n\r\n")
    assert drive.seen.messages[0].content == b"\r\n" * 50_001


def test_an_xclient_says_who_the_client_is() -> None:
    """Addresses and ports, IPv6 with its prefix; the session begins anew."""
    drive = Drive(ALL)
    drive.feed(
        EHLO + b"XCLIENT ADDR=IPV6:2001:DB8::1 PORT=40000 DESTADDR=192.0.2.25 DESTPORT=[UNAVAILABLE]\r\n"
    )
    (event,) = [event for event in drive.events if isinstance(event, XclientGiven)]
    given = event.client
    assert (given.address, given.port) == ("2001:db8::1", 40000)
    assert (given.destination_address, given.destination_port) == ("192.0.2.25", 0)


def test_a_final_refusal_ends_the_session_whatever_its_code() -> None:
    """The reply is said, nothing after it is read."""
    session = ServerSession(LIMITS)
    session.greet()
    session.feed(EHLO + b"NOOP\r\n")
    session.next_event()
    session.refuse(Reply(550, None, "enough"), is_final=True)
    assert session.next_event() is None
    assert session.take_output().endswith(b"550 enough\r\n")
    assert session.is_closed
