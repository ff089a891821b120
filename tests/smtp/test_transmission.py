"""What goes on the wire: nothing in it can be read as anything else, and what a peer cannot take is not offered to it."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.mail.address import Address, AddressError, parse_path
from penstock.mail.dsn import EnvelopeDsn, RecipientDsn
from penstock.mail.reply import Reply, reply
from penstock.sim.smuggling import SEQUENCES
from penstock.smtp.capabilities import Capabilities, capabilities
from penstock.smtp.client_options import is_printable_word
from penstock.smtp.data import has_bare_line_end, has_dot_line, with_crlf
from penstock.smtp.transmission import (
    Transmission,
    Unwritable,
    chunk,
    is_safe_header,
    mail_command,
    mail_data,
    rcpt_command,
    unsendable,
    unsendable_recipient,
)

EVERYTHING = Capabilities(pipelining=True, eight_bit=True, smtputf8=True, size=1000, has_size=True)
HEADER = b"Received: x\r\n\tby y\r\n"
MESSAGE = Transmission(
    Address("a", "b.example"), (Address("c", "d.example"),), HEADER, b"x\r\n", eight_bit=False, smtputf8=False
)
END = b"\r\n.\r\n"


def changed(**fields: object) -> Transmission:
    """The message with other fields."""
    return msgspec.structs.replace(MESSAGE, **fields)


def received(data: bytes) -> bytes:
    """What a strict server makes of mail data: RFC 5321 4.5.2, written the plain way."""
    assert data.endswith(END) or data == b".\r\n"
    lines = data.split(b"\r\n")[:-2]
    return b"".join(line.removeprefix(b".") + b"\r\n" for line in lines)


CONTENT = st.one_of(
    st.lists(st.sampled_from([b"\r\n", b".", b"\r", b"\n", b"a", b"\x00", b"\xff", *SEQUENCES.values()])).map(b"".join),
    st.binary(),
)  # fmt: skip


@given(CONTENT)
@example(b"")
@example(b".")
@example(b"\r")
@example(b"a\r")
@example(b"\n.\n")
@example(b"." * 100)
@example(b".\r\n" * 100)
@example(b"a\r\n.\r\nMAIL FROM:<x@y>\r\n")
def test_no_content_can_end_mail_data_early(content: bytes) -> None:
    """No bare CR or LF, every dot at a line's beginning doubled, exactly one end; and the message arrives."""
    data = mail_data(changed(content=content))
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", data)
    assert re.findall(rb"(?:\A|(?<=\r\n))\.(?!\.)[^\r]*", data) == [b"."]
    assert data.count(END) == 1
    expected = with_crlf(content)
    if expected and not expected.endswith(b"\r\n"):
        expected += b"\r\n"
    assert received(data) == HEADER + expected


@given(CONTENT)
def test_the_size_that_is_announced_is_the_size_that_is_sent(content: bytes) -> None:
    """RFC 1870 3: with the line ends as they go out, without the dots of transparency."""
    message = changed(content=content)
    announced = re.search(rb" SIZE=([0-9]+)", mail_command(message, EVERYTHING))
    assert announced is not None
    assert int(announced[1]) == len(received(mail_data(message)))


def test_content_that_is_canonical_goes_as_it_is() -> None:
    """What was found to need nothing is not looked at again."""
    content = b"Subject: x\r\n\r\nbody\r\n"
    assert mail_data(changed(content=content, is_canonical=True)) == HEADER + content + b".\r\n"
    assert mail_data(changed(content=content)) == HEADER + content + b".\r\n"


@given(CONTENT)
@example(b"")
@example(b"a\r\n.\r\nMAIL FROM:<x@y>\r\n")
@example(b".\r\n" * 100)
def test_a_chunk_is_counted_and_has_no_transparency(content: bytes) -> None:
    """RFC 3030 2: what arrives is what arrives by DATA."""
    command, _, octets = chunk(changed(content=content)).partition(b"\r\n")
    assert command == b"BDAT %d LAST" % len(octets)
    assert octets == received(mail_data(changed(content=content)))


def test_canonical_content_goes_in_a_chunk_as_it_is() -> None:
    """It is not looked at again."""
    message = changed(content=b"bare\nfeed\r\n", is_canonical=True)
    assert chunk(message).endswith(b"bare\nfeed\r\n")


@pytest.mark.parametrize("border", [4096, 8192, 65_536])
def test_dots_at_every_buffer_border_are_doubled(border: int) -> None:
    """RFC 5321 4.5.2, wherever the octets are cut on their way."""
    for shift in (-1, 0, 1):
        filling = b"x" * (border + shift - 2) + b"\r\n"
        message = changed(header=b"", content=filling + b".\r\n..x\r\n")
        assert mail_data(message) == filling + b"..\r\n...x\r\n.\r\n"


#: Addresses that no parser of ours makes, as a bug above might.
INJECTED = [
    Address("a", "b>\r\nRCPT TO:<evil@x"),
    Address("a@b>\r\nRCPT TO:<evil", "x"),
    Address("a\r\n", "b"),
    Address("a\n", "b"),
    Address("a\x00", "b"),
    Address("a b", "c"),
    Address("a>", "b"),
    Address("<a", "b"),
    Address("a", "b> SIZE=1"),
    Address("a", "b c"),
    Address('"a"@b> X', "c"),
    Address('"a', "b"),
    Address('"a\r\n"', "b"),
    Address('"a\\\n"', "b"),
    Address('"a"b', "c"),
    Address("@x,@y:a", "b"),
    Address("", "b"),
    Address("a", ""),
    Address("a", "b,c"),
    Address("\ud800", "b"),
    Address("a", "\ud800"),
    Address("a", '"b"'),
]


@pytest.mark.parametrize("address", INJECTED, ids=ascii)
def test_an_address_that_could_be_read_as_more_is_not_written(address: Address) -> None:
    """Refused again at the last place before the wire."""
    with pytest.raises(Unwritable):
        rcpt_command(address)
    with pytest.raises(Unwritable):
        mail_command(changed(reverse_path=address), EVERYTHING)


@given(st.one_of(st.text('a.@"\\ é<>,:').map(str.encode), st.binary(max_size=30)))
def test_every_address_that_is_read_can_be_written(wire: bytes) -> None:
    """And is read on the other side as the same."""
    try:
        address = parse_path(wire)
    except AddressError:
        return
    line = rcpt_command(address)
    assert line == b"RCPT TO:<" + str(address).encode() + b">\r\n"
    assert (
        mail_command(changed(reverse_path=address), Capabilities())
        == b"MAIL FROM:<" + str(address).encode() + b">\r\n"
    )


@pytest.mark.parametrize(
    ("message", "peer", "line"),
    [
        (MESSAGE, Capabilities(), b"MAIL FROM:<a@b.example>\r\n"),
        (MESSAGE, EVERYTHING, b"MAIL FROM:<a@b.example> SIZE=23\r\n"),
        (changed(reverse_path=None), Capabilities(), b"MAIL FROM:<>\r\n"),
        (changed(eight_bit=True), EVERYTHING, b"MAIL FROM:<a@b.example> SIZE=23 BODY=8BITMIME\r\n"),
        (changed(smtputf8=True), EVERYTHING, b"MAIL FROM:<a@b.example> SIZE=23 SMTPUTF8\r\n"),
        (changed(reverse_path=Address("é", "b")), EVERYTHING, "MAIL FROM:<é@b> SIZE=23 SMTPUTF8\r\n".encode()),
        (changed(recipients=(Address("c", "d"), Address("é", "d"))), EVERYTHING, b"MAIL FROM:<a@b.example> SIZE=23 SMTPUTF8\r\n"),
        (changed(recipients=(Address("é", "d"),)), Capabilities(), b"MAIL FROM:<a@b.example>\r\n"),
    ],
)  # fmt: skip
def test_mail_has_the_parameters_that_are_needed_and_offered(
    message: Transmission, peer: Capabilities, line: bytes
) -> None:
    """RFC 1870, RFC 6152, RFC 6531 3.4."""
    assert mail_command(message, peer) == line


DSN = Capabilities(dsn=True)


@pytest.mark.parametrize(
    ("dsn", "parameters"),
    [
        (EnvelopeDsn(), b""),
        (EnvelopeDsn("FULL"), b" RET=FULL"),
        (EnvelopeDsn("", "a+20b"), b" ENVID=a+20b"),
        (EnvelopeDsn("HDRS", "x"), b" RET=HDRS ENVID=x"),
        (EnvelopeDsn("full"), None),
        (EnvelopeDsn("FULL X=Y"), None),
        (EnvelopeDsn("", "a b"), None),
        (EnvelopeDsn("", "a\r\nRCPT TO:<x@y>"), None),
        (EnvelopeDsn("", "a+0D+0ARCPT"), None),
        (EnvelopeDsn("", "é"), None),
        (EnvelopeDsn("", "\ud800"), None),
        (EnvelopeDsn("", "x" * 101), None),
    ],
)
def test_mail_asks_what_was_asked_about_notifications(dsn: EnvelopeDsn, parameters: bytes | None) -> None:
    """RFC 3461 4.3, 4.4; CVE-2020-28026: what could be read as more is not written."""
    message = changed(dsn=dsn)
    if parameters is None:
        with pytest.raises(Unwritable):
            mail_command(message, DSN)
    else:
        assert mail_command(message, DSN) == b"MAIL FROM:<a@b.example>%b\r\n" % parameters
    assert mail_command(message, Capabilities()) == b"MAIL FROM:<a@b.example>\r\n"


@pytest.mark.parametrize(
    ("dsn", "parameters"),
    [
        (RecipientDsn(), b""),
        (RecipientDsn(("NEVER",)), b" NOTIFY=NEVER"),
        (RecipientDsn(("DELAY", "SUCCESS", "FAILURE")), b" NOTIFY=DELAY,SUCCESS,FAILURE"),
        (RecipientDsn((), "rfc822;a+2Bb@c"), b" ORCPT=rfc822;a+2Bb@c"),
        (RecipientDsn(("FAILURE",), "rfc822;a@c"), b" NOTIFY=FAILURE ORCPT=rfc822;a@c"),
        (RecipientDsn(("NEVER", "FAILURE")), None),
        (RecipientDsn(("FAILURE", "FAILURE")), None),
        (RecipientDsn(("failure",)), None),
        (RecipientDsn(("FAILURE ORCPT=x",)), None),
        (RecipientDsn((), "rfc822"), None),
        (RecipientDsn((), "rfc822;x\r\nDATA"), None),
        (RecipientDsn((), "rfc822;x+0Ay"), None),
        (RecipientDsn((), "rfc822;é"), None),
    ],
)
def test_rcpt_asks_what_was_asked_about_notifications(dsn: RecipientDsn, parameters: bytes | None) -> None:
    """RFC 3461 4.1, 4.2."""
    if parameters is None:
        with pytest.raises(Unwritable):
            rcpt_command(Address("c", "d"), dsn)
    else:
        assert rcpt_command(Address("c", "d"), dsn) == b"RCPT TO:<c@d>%b\r\n" % parameters


@pytest.mark.parametrize(
    ("message", "peer", "expected"),
    [
        (MESSAGE, Capabilities(), None),
        (changed(eight_bit=True), Capabilities(), "554 5.6.3"),
        (changed(eight_bit=True), Capabilities(eight_bit=True), None),
        (changed(smtputf8=True), Capabilities(eight_bit=True), "554 5.6.7"),
        (changed(reverse_path=Address("é", "b")), Capabilities(), "554 5.6.7"),
        (changed(reverse_path=Address("é", "b")), Capabilities(smtputf8=True), None),
        (MESSAGE, Capabilities(size=22, has_size=True), "552 5.3.4"),
        (MESSAGE, Capabilities(size=23, has_size=True), None),
        (MESSAGE, Capabilities(size=0, has_size=True), None),
        (changed(content=b"\n"), Capabilities(size=21, has_size=True), "552 5.3.4"),
        (changed(header=b"Received: x\n"), EVERYTHING, "554 5.6.0"),
        (changed(header=b""), EVERYTHING, None),
    ],
)
def test_what_a_peer_cannot_take_is_known_before_it_is_asked(
    message: Transmission, peer: Capabilities, expected: str | None
) -> None:
    """F1, F2, and a size beyond the announced: permanent, because the message will not change."""
    found = unsendable(message, peer)
    assert (f"{found.code} {found.enhanced}" if found else None) == expected


def test_a_recipient_that_needs_smtputf8_is_refused_alone() -> None:
    """RFC 6531 3.5: per recipient, not per message."""
    plain, wide = Address("a", "b"), Address("é", "b")
    assert unsendable_recipient(plain, Capabilities()) is None
    assert unsendable_recipient(wide, Capabilities(smtputf8=True)) is None
    refused = unsendable_recipient(wide, Capabilities())
    assert refused is not None
    assert str(refused).startswith("554 5.6.7 ")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], Capabilities()),
        (["PIPELINING", "8BITMIME", "SMTPUTF8"], Capabilities(True, True, True)),
        (["pipelining", "8BitMime"], Capabilities(True, True)),
        (["SIZE"], Capabilities(has_size=True)),
        (["SIZE 0"], Capabilities(has_size=True)),
        (["SIZE 52428800"], Capabilities(size=52_428_800, has_size=True)),
        (["SIZE -1"], Capabilities(has_size=True)),
        (["SIZE 1_0"], Capabilities(has_size=True)),
        (["SIZE ٣"], Capabilities(has_size=True)),
        (["SIZE 1e400"], Capabilities(has_size=True)),
        (["SIZE " + "9" * 400], Capabilities(has_size=True)),
        (["SIZE 10 20"], Capabilities(has_size=True)),
        (["SIZE 10", "SIZE 20"], Capabilities(size=20, has_size=True)),
        (
            ["STARTTLS", "CHUNKING", "DSN", "ENHANCEDSTATUSCODES"],
            Capabilities(starttls=True, chunking=True, dsn=True, enhanced=True),
        ),
        (["AUTH login GSSAPI  plain"], Capabilities(auth=frozenset({"PLAIN", "LOGIN"}))),
        (["AUTH"], Capabilities()),
        (["AUTH=LOGIN", "X" * 400, "", " ", "PIPELININGS"], Capabilities()),
        ([f"X-{number}" for number in range(10_000)], Capabilities()),
    ],
)
def test_what_a_peer_offers_is_what_we_know_of_it(lines: list[str], expected: Capabilities) -> None:
    """RFC 5321 4.1.1.1: keywords in any case; what is garbage in a parameter is no parameter."""
    assert capabilities(Reply(250, None, "\n".join(["d.example PIPELINING", *lines]))) == expected


@pytest.mark.parametrize(
    ("header", "is_safe"),
    [
        (b"A: b\r\n", True),
        (b"A: b\r\n\tc\r\nD: e\r\n", True),
        (b"A: b", False),
        (b"A: b\n", False),
        (b"A: b\r", False),
        (b"A: b\nC: d\r\n", False),
        (b"A: b\r\n\r\nbody\r\n", False),
        (b"\r\nA: b\r\n", False),
        (b".\r\n", False),
        (b"A: b\r\n.\r\n", False),
        (b"A: b\r\n.x: y\r\n", False),
    ],
)
def test_an_added_header_is_whole_fields_and_nothing_else(header: bytes, is_safe: bool) -> None:
    """It goes before the message unchanged, so it must not end a line, the header section or mail data."""
    assert is_safe_header(header) is is_safe
    if is_safe:
        assert not has_bare_line_end(header)
        assert not has_dot_line(header)


@pytest.mark.parametrize(
    ("name", "is_word"),
    [
        ("mta.example", True),
        ("[192.0.2.1]", True),
        ("", False),
        ("a b", False),
        ("a\r\nMAIL", False),
        ("é", False),
        ("x" * 256, False),
    ],
)
def test_the_name_behind_ehlo_is_one_word(name: str, is_word: bool) -> None:
    """Names of our own are checked like anybody's."""
    assert is_printable_word(name) is is_word


def test_replies_of_ours_say_that_they_are() -> None:
    """Rules recognise them by their beginning."""
    for found in (
        unsendable(changed(eight_bit=True), Capabilities()),
        unsendable_recipient(Address("é", "b"), Capabilities()),
    ):
        assert found is not None
        assert found.text.startswith("Penstock internal: ")
    assert reply(250, None, "x").text == "x"
