"""Any octets, cut anyhow: the same replies and the same events, and never an exception."""

from __future__ import annotations

import re
from itertools import pairwise

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from penstock.mail.configuration import LineEndings
from penstock.sim.smuggling import SEQUENCES

from .driver import LIMITS, Seen, in_pieces, octet_by_octet, serve

# A client waits for the reply to DATA (RFC 2920 3.1); one that does not is sent away, if it is noticed. So every stream is cut there.
WAITS = re.compile(rb"(?<=\n)(?i:data) *\r\n")

PIECES = st.one_of(
    st.sampled_from([
        b"EHLO client.example\r\n", b"HELO x\r\n", b"MAIL FROM:<a@b.example>\r\n", b"MAIL FROM:<> SIZE=5\r\n", b"RCPT TO:<c@d.example>\r\n",
        b"RCPT TO:<unknown@d.example>\r\n", b"RCPT TO:<later@d.example>\r\n", b"RCPT TO:<a..b@c>\r\n", b"\r\nDATA\r\n", b"DATA\r\n",
        b"data  \r\n", b"DATA x\r\n", b".\r\n", b"\r\n.\r\n", b"..\r\n", b"RSET\r\n", b"NOOP\r\n", b"QUIT\r\n", b"VRFY x\r\n", b"HELP\r\n",
        b"BDAT 3 LAST\r\n", b"GET / HTTP/1.1\r\n", b"spam\r\n", b"text\r\n", b"\r", b"\n", b"\r\n", b"\x00", b"\xff", b" ", b"x" * 101,
        b"x" * 2045, b"x" * 1000 + b"\n", b"MAIL FROM:<\xc3\xa9@b> SMTPUTF8\r\n", b"X-Tenant: a\r\n",
    ]),
    st.sampled_from(sorted(SEQUENCES.values())),
    st.binary(max_size=5),
)  # fmt: skip
STREAMS = st.lists(PIECES, max_size=25).map(b"".join)
ENVELOPE = b"EHLO client.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n"


def parts(stream: bytes) -> list[bytes]:
    """The stream cut behind every line DATA."""
    places = [0, *[match.end() for match in WAITS.finditer(b"\n" + stream)], len(stream) + 1]
    whole = b"\n" + stream
    found = [whole[start:end] for start, end in pairwise(places)]
    return [found[0][1:], *found[1:]]


def said(seen: Seen) -> tuple[object, ...]:
    """What must not depend on how the octets are cut."""
    return seen.output, seen.events, seen.refusals, seen.is_closed


@settings(max_examples=300)
@given(STREAMS, st.lists(st.integers(1, 60)), st.sampled_from(list(LineEndings)))
@example(ENVELOPE + b"a\r\n..\r\nb\r\n.\r\n", [4, 1, 1, 1, 1, 1], LineEndings.DENY)
@example(ENVELOPE + b"a\n.\nb\r\n.\r\nNOOP\r\n", [3] * 60, LineEndings.FIX)
@example(
    b"MA\nIL FROM:<a@b>\r\n" + b"x" * 2047 + b"\n" + b"\r\n" + b"x" * 2048 + b"\n\r\nNOOP\r\n",
    [],
    LineEndings.DENY,
)
@example(b"NOOP\r\n" * 100 + b"x" * 3000, [600], LineEndings.DENY)
@example(b"NOOP\r\n" * 100 + b"x\n", [600], LineEndings.DENY)
def test_replies_and_events_do_not_depend_on_how_octets_are_cut(
    stream: bytes, sizes: list[int], mode: LineEndings
) -> None:
    """Whole, in random pieces, octet by octet."""
    limits = msgspec.structs.replace(LIMITS, invalid_line_endings=mode)
    whole = parts(stream)
    expected = said(serve(whole, limits))
    assert said(serve([piece for part in whole for piece in in_pieces(part, sizes)], limits)) == expected
    assert said(serve([octet for part in whole for octet in octet_by_octet(part)], limits)) == expected


@given(STREAMS)
def test_every_line_that_a_server_writes_is_a_reply_and_repeats_nothing(stream: bytes) -> None:
    """RFC 5321 4.2: a code, a separator, printable ASCII, 512 octets at most; no octet of the client's in it."""
    for line in serve([stream]).output.split(b"\r\n")[:-1]:
        assert re.fullmatch(rb"[2-5][0-9][0-9][ -][ -~]{0,506}", line)
        assert b"example:" not in line
        assert b"X-Tenant" not in line


@given(STREAMS)
def test_what_a_message_holds_is_what_its_envelope_was_accepted_with(stream: bytes) -> None:
    """Every recipient of a message was accepted behind its MAIL; every message is whole lines within the limits."""
    seen = serve(parts(stream))
    for message in seen.messages:
        assert 1 <= len(message.forward_paths) <= LIMITS.max_recipients_per_message
        assert not {path.local_part for path in message.forward_paths} & {"unknown", "later"}
        assert len(message.content) <= LIMITS.max_message_size
        assert not message.content or message.content.endswith(b"\r\n")
        assert max(map(len, message.content.split(b"\r\n"))) <= LIMITS.line_length_hard_limit
