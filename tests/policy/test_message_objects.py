"""What hooks are given: what can be read, what can be set, and what is refused before it does harm."""

from __future__ import annotations

import contextlib
import datetime as dt
import email
import email.header
import email.policy
import time
from typing import Any

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from penstock.mail.dsn import RecipientDsn
from penstock.mail.duration import WallTime
from penstock.mail.message import field_value, fields, find_fields, header_end
from penstock.mail.schedule import Schedule
from penstock.policy import (
    Address,
    Credentials,
    Extensions,
    Granted,
    LimitExceeded,
    Message,
    Recipient,
    Recipients,
    Reject,
    Session,
    SessionFacts,
    Transaction,
)
from penstock.policy.headers import Headers
from penstock.policy.meta import Meta
from penstock.policy.mime import parse
from tests.policy.world import CONTENT, message, session, transaction

# -- sessions, transactions, recipients


def test_facts_cannot_be_set_and_decisions_can() -> None:
    """A hook that sets the client's address has misunderstood."""
    of = session(peer="2001:db8::1", ehlo_name="client.example")
    assert (of.peer_address, of.ehlo_name, of.tls, of.tenant) == ("2001:db8::1", "client.example", None, None)
    with pytest.raises(AttributeError):
        of.peer_address = "192.0.2.9"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        of.tennant = "acme"  # type: ignore[attr-defined]
    of.tenant, of.may_relay = "acme", True
    assert (of.tenant, of.may_relay) == ("acme", True)


@pytest.mark.parametrize("name", ["", "a b", "a@b", "a:b", "a!b", "ü", "a" * 129, "a\n", 5, b"acme"])
def test_a_tenant_or_campaign_that_cannot_be_one_is_refused(name: object) -> None:
    """Wherever it is set."""
    of = transaction()
    for thing, attribute in (
        (of.session, "tenant"), (of, "tenant"), (of, "campaign"), (message(of=of), "tenant"), (message(of=of), "campaign"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="is None, or 1 to 128 printable ASCII characters"):
            setattr(thing, attribute, name)
    with pytest.raises(ValueError, match="a tenant is None"):
        Granted(tenant=name)  # type: ignore[arg-type]


def test_tenants_come_down_from_the_session_unless_said_otherwise() -> None:
    """Session, transaction, message."""
    of = transaction()
    of.session.tenant = "acme"
    assert message(of=of).tenant == "acme"
    of.tenant, of.campaign = "umbrella", "spring"
    assert (message(of=of).tenant, message(of=of).campaign) == ("umbrella", "spring")
    assert of.session.tenant == "acme"


def test_overrides_are_applied_by_the_server_which_may_refuse() -> None:
    """What was refused is not remembered."""

    def apply(options: object) -> None:
        if options != {"banner": "x"}:
            raise ValueError("no such option")

    of = Session(SessionFacts(), override=apply)
    of.override(banner="x")
    with pytest.raises(ValueError, match="no such option"):
        of.override(banners="x")
    assert of.overrides == {"banner": "x"}


def test_passwords_are_compared_and_not_shown() -> None:
    """Whatever characters they have."""
    given = Credentials("PLAIN", "joe", "hünter2", "jim")
    assert given.is_password("hünter2")
    assert not given.is_password("hunter2")
    assert "nter" not in repr(given)
    assert "nter" not in f"{given}"


def test_extensions_can_be_taken_away_only() -> None:
    """In any case of letters."""
    offered = Extensions(["PIPELINING", "size"])
    assert "SIZE" in offered
    assert len(offered) == 2
    offered.discard("Size", "NOTHING")
    assert list(offered) == ["PIPELINING"]
    assert not hasattr(offered, "add")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a",
        "a@",
        "a@b\r\nRCPT TO:<c@d>",
        "<a@b>",
        "a b@c",
        "a@b c",
        Address("a b", "c"),
        Address("a", "b\r\n"),
        5,
    ],
)
def test_what_is_no_address_is_refused(address: object) -> None:
    """An Address that a hook has put together is looked at again."""
    recipients = Recipients([Recipient("b@dest.example")])
    recipient = Recipient("b@dest.example")
    with pytest.raises(ValueError, match="address"):
        recipients.add(address)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="address"):
        recipients.replace(address)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="address"):
        recipient.address = address  # type: ignore[assignment]
    if address:
        with pytest.raises(ValueError, match="address"):
            message().reverse_path = address  # type: ignore[assignment]
    assert address not in recipients
    assert str(recipient.address) == "b@dest.example"


def test_recipients_are_added_removed_and_replaced_without_repetition() -> None:
    """What was asked about notifications stays with those that stay."""
    asked = RecipientDsn(("NEVER",), "rfc822;b@dest.example")
    of = Transaction(session(), None)
    of.accept(Recipient("b@dest.example", asked))
    of.accept(Recipient("c@dest.example"))
    given = message(of=of)
    given.recipients.add("d@DEST.example", "b@dest.example")
    assert [str(address) for address in given.recipients.addresses] == [
        "b@dest.example",
        "c@dest.example",
        "d@dest.example",
    ]
    given.recipients.remove("c@dest.example")
    with pytest.raises(ValueError, match=r"c@dest\.example is no recipient of the message"):
        given.recipients.remove("c@dest.example")
    assert "c@dest.example" not in given.recipients
    given.recipients.replace("e@dest.example", "b@dest.example", "e@dest.example")
    for recipient in given.recipients:
        if str(recipient.address) == "e@dest.example":
            recipient.address = Address("b", "dest.example")
    assert len(given.recipients) == 1
    assert len(given.decision().recipients) == 1
    assert given.recipients.addresses == (Address("b", "dest.example"),)
    with pytest.raises(ValueError, match="at most 10000 recipients"):
        given.recipients.replace(*(f"{number}@dest.example" for number in range(10_001)))
    assert of.recipients[0].notify == ("NEVER",)
    assert of.recipients[0].original == "rfc822;b@dest.example"


def test_a_decision_without_changes_is_what_came() -> None:
    """The very octets."""
    decision = message().decision()
    assert decision.content is CONTENT
    assert str(decision.reverse_path) == "a@send.example"
    assert (decision.tenant, decision.campaign, decision.meta) == (None, None, {})
    reading = message()
    assert reading.headers.get("subject") == "hello"
    assert reading.mime.text == "body\r\n"
    assert reading.decision().content is CONTENT


@pytest.mark.parametrize(
    "value",
    [
        {"first_attempt": "2026-12-01T08:00:00Z"},
        {"first_attempt": dt.datetime(2026, 12, 1, 9, tzinfo=dt.timezone(dt.timedelta(hours=1)))},
        '{"first_attempt": "2026-12-01T08:00:00Z"}',
        Schedule(WallTime(1_796_112_000.0)),
    ],
)
def test_a_schedule_is_set_as_the_header_field_writes_it(value: Any) -> None:
    """Or with times of Python's, or as one that was read."""
    of = message()
    of.schedule = value
    assert of.decision().schedule == Schedule(WallTime(1_796_112_000.0))
    of.schedule = None
    assert of.decision().schedule is None


@pytest.mark.parametrize(
    "value",
    [
        "tomorrow", {"first": "2026-12-01T08:00:00Z"}, {"first_attempt": "2026-12-01T08:00:00"}, 5, b"{}", {"first_attempt": object()},
        {"dow": "Mon", "tz": "Mars/Olympus", "start": "09:00:00", "end": "10:00:00"},
    ],
)  # fmt: skip
def test_what_is_no_schedule_is_refused(value: Any) -> None:
    """Where it is set, so that the policy's line is in the event."""
    of = Message(transaction(), CONTENT, zone_of=lambda name: None)
    with pytest.raises(ValueError, match=r"schedule|first_attempt|time zone"):
        of.schedule = value


def test_a_routing_domain_is_a_domain() -> None:
    """In lower case, as all are; or none."""
    of = message()
    of.routing_domain = "Hub.Example"
    assert of.decision().routing_domain == "hub.example"
    for value in ("no domain", 5, ""):
        with pytest.raises(ValueError, match=r"domain"):
            of.routing_domain = value  # type: ignore[assignment]
    of.routing_domain = None
    assert of.decision().routing_domain is None


# -- meta


def test_meta_is_a_mapping_of_plain_values() -> None:
    """That a transaction has a copy of."""
    of = session()
    of.meta.update({"a": 1, "b": "text", "c": None, "d": 0.5, "e": True})
    under = transaction(of)
    under.meta["a"] = 2
    del under.meta["b"]
    assert of.meta == {"a": 1, "b": "text", "c": None, "d": 0.5, "e": True}
    assert message(of=under).decision().meta == {"a": 2, "c": None, "d": 0.5, "e": True}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("", 1, "a name in meta is"), ("a b", 1, "a name in meta is"), ("ü", 1, "a name in meta is"), ("a" * 65, 1, "a name in meta is"),
        ("a", [], "is a str, int, float, bool or None, not list"), ("a", b"x", "not bytes"), ("a", "\ud800", "lone surrogate"),
        ("a", float("nan"), "no finite number"), ("a", 2**63, "no finite number"), ("a", "x" * 4096, "at most 4096 octets"),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_in_meta_is_refused(name: str, value: object, said: str) -> None:
    """And changes nothing."""
    meta = Meta({"b": 1})
    with pytest.raises(ValueError, match=said):
        meta[name] = value  # type: ignore[assignment]
    assert meta == {"b": 1}


@examples(
    st.lists(
        st.tuples(st.sampled_from("abcdefgh"), st.none() | st.text(max_size=2000) | st.integers()),
        max_size=40,
    )
)
def test_meta_never_grows_beyond_its_bounds(writes: list[tuple[str, str | int | None]]) -> None:
    """Whatever is written, overwritten and deleted."""
    meta = Meta()
    for name, value in writes:
        try:
            meta[name] = value
        except ValueError:
            meta.pop(name, None)
    assert sum(len(name) + len(str(value).encode()) for name, value in meta.items()) <= 4096
    full = Meta()
    with pytest.raises(ValueError, match="at most 64 names"):
        full.update({str(number): None for number in range(65)})


# -- headers

LONG = "word " * 40


def test_headers_are_read_decoded_on_one_line() -> None:
    """RFC 2047 in all its ways, and UTF-8 as it is."""
    headers = Headers(
        b"Subject: =?utf-8?q?J=C3=B6rg?= =?UTF-8?B?w7Y=?=\r\n =?iso-8859-1?q?_=FC?= plain =?bad?x?y?= end\r\n"
        b"X-Raw: gr\xc3\xbc\xc3\x9fe \xff\r\nX-Raw :\tsecond\r\n\r\nX-Raw: body\r\n"
    )
    assert headers.get("SUBJECT") == "Jörgö ü plain =?bad?x?y?= end"
    assert headers.get_all("x-raw") == ["grüße \ufffd", "second"]
    assert headers.raw("X-Raw") == [b"gr\xc3\xbc\xc3\x9fe \xff", b"second"]
    assert headers.names() == ["Subject", "X-Raw", "X-Raw"]
    assert headers.get("Date") is None
    assert "X-RAW" in headers
    assert "Date" not in headers


@pytest.mark.parametrize(
    "word",
    ["=?utf-8?q?a=0D=0ABcc:_v?=", "=?utf-8?b?YQ0KQmNjOiB2?=", "=?utf-8?q?a=00b?=", "=?utf-8?q?a=E2=80=A8b?="],
)
def test_what_is_read_has_no_line_ends_and_controls(word: str) -> None:
    """So it can be put into another field."""
    text = Headers(f"Subject: {word}\r\n\r\n".encode()).get("Subject")
    assert text is not None
    assert text.isprintable()
    headers = Headers(CONTENT)
    headers.add("X-Copy", text)
    assert b"Bcc:" not in headers.content().replace(b"?Bcc: v", b"").replace(b"??Bcc: v", b"")


@pytest.mark.parametrize(
    "codec", ["idna", "punycode", "rot13", "zlib", "unicode_escape", "utf-7", "x" * 40, "utf-16"]
)
def test_codecs_that_are_no_character_sets_are_not_used(codec: str) -> None:
    """Some take quadratic time, some are no text."""
    value = b"=?" + codec.encode() + b"?q?" + b"a-" * 30_000 + b"?="
    began = time.process_time()
    assert Headers(b"Subject: " + value + b"\r\n\r\n").get("Subject") is not None
    assert time.process_time() - began < 1.0


def test_every_edit_keeps_all_other_octets() -> None:
    """Odd ones included."""
    odd = b"X-Odd :\t a\r\n\t b \r\nX-Eight: \xff\r\n"
    body = b"\r\nbody \xff\r\n"
    headers = Headers(b"X-A: 1\r\n" + odd + b"x-a: 2\r\nX-B: 3\r\n" + body)
    headers.replace("X-A", "new")
    assert headers.content() == b"X-A: new\r\n" + odd + b"X-B: 3\r\n" + body
    assert headers.remove("X-B", "Missing") == 1
    headers.prepend("X-First", "0")
    headers.add("X-Last", "9")
    assert headers.content() == b"X-First: 0\r\nX-A: new\r\n" + odd + b"X-Last: 9\r\n" + body
    assert headers.remove("X-*") == 5
    assert headers.content() == body
    headers.replace("X-New", "1")
    assert headers.content() == b"X-New: 1\r\n" + body


@pytest.mark.parametrize(
    ("content", "becomes"),
    [
        (b"", b"A: 1\r\n"),
        (b"\r\nbody\r\n", b"A: 1\r\n\r\nbody\r\n"),
        (b"B: 2\r\n", b"B: 2\r\nA: 1\r\n"),
        (b"B: 2", b"B: 2\r\nA: 1\r\n"),
        (b"B: 2\r\nno field\r\nC: 3\r\n\r\n", b"B: 2\r\nA: 1\r\nno field\r\nC: 3\r\n\r\n"),
        (b"no field\r\nC: 3\r\n\r\n", b"A: 1\r\nno field\r\nC: 3\r\n\r\n"),
        (b" B: 2\r\nC: 3\r\n\r\n", b"A: 1\r\n B: 2\r\nC: 3\r\n\r\n"),
    ],
)
def test_a_field_is_added_where_the_header_section_ends(content: bytes, becomes: bytes) -> None:
    """Wherever that is by the reading of the rest of Penstock; but never before a line that would go on with it."""
    headers = Headers(content)
    if content.startswith(b" "):
        with pytest.raises(LimitExceeded, match="begins with white space"):
            headers.add("A", "1")
        return
    headers.add("A", "1")
    assert headers.content() == becomes
    assert headers.get("A") == "1"


@pytest.mark.parametrize(
    "char",
    [
        "\r\n",
        "\n",
        "\r",
        "\0",
        "\x0b",
        "\x0c",
        "\x1c",
        "\x1d",
        "\x1e",
        "\x85",
        "\u2028",
        "\u2029",
        "\x7f",
        "\ud800",
    ],
)
def test_a_value_with_a_line_end_is_refused(char: str) -> None:
    """It would be another field, or another message."""
    headers = Headers(CONTENT)
    for edit in (headers.add, headers.prepend, headers.replace):
        with pytest.raises(ValueError, match="line end or control character"):
            edit("X-A", f"a{char}Bcc: v@x.example")
    assert headers.content() == CONTENT


@pytest.mark.parametrize("name", ["", "X Y", "X:", "é", "X\r\nBcc", "X\0", "a" * 77, ".X", "-X", 5])
def test_a_name_that_is_none_is_refused(name: object) -> None:
    """And so it is where it is only looked for: it is a slip."""
    headers = Headers(CONTENT)
    for use in (lambda: headers.add(name, "x"), lambda: headers.remove(name), lambda: headers.get(name)):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="is no name of a header field"):
            use()


TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029"), max_size=300
)


@examples(TEXT)
def test_what_is_written_is_read_again(value: str) -> None:
    """By us and by the standard library; in lines of at most 998 octets that are no fields of their own and begin with no dot."""
    for utf8 in (False, True):
        headers = Headers(CONTENT, utf8=utf8)
        try:
            headers.add("X-Text", value)
        except ValueError:
            assert max(map(len, value.split())) > 200  # a word too long for a line
            continue
        content = headers.content()
        lines = content[: header_end(content)].split(b"\r\n")
        assert all(len(line) <= 998 and not line.startswith(b".") for line in lines)
        assert [field.name for field in fields(content)] == [b"From", b"To", b"Subject", b"X-Text"]
        expected = " ".join(value.strip(" \t").split("\t")) if "=?" not in value else None
        if expected is not None:
            assert headers.get("X-Text") == expected
        if not utf8:
            assert content.isascii()
            read = email.message_from_bytes(content)["X-Text"]
            if expected is not None:
                decoded = str(email.header.make_header(email.header.decode_header(read)))
                assert "".join(decoded.split()) == "".join(expected.split())


def test_long_values_are_folded_and_addresses_are_not_encoded() -> None:
    """At 78 columns; only words beyond ASCII become encoded words."""
    headers = Headers(CONTENT)
    headers.add("X-Long", LONG)
    headers.add("Reply-To", '"Jörg Müller" <joerg@send.example>')
    content = headers.content()
    assert all(len(line) <= 78 for line in content.split(b"\r\n"))
    assert headers.get("X-Long") == LONG.strip()
    assert b"<joerg@send.example>" in content
    assert headers.get("Reply-To") == '"Jörg Müller" <joerg@send.example>'
    with pytest.raises(ValueError, match="a word too long for a line of 998 octets"):
        headers.add("X-Word", "w" * 999)


def test_edits_are_bounded() -> None:
    """In number and in octets."""
    headers = Headers(CONTENT)
    for _ in range(200):
        headers.add("X-A", "1")
    with pytest.raises(ValueError, match="at most 200 edits"):
        headers.remove("X-A")
    large = Headers(CONTENT)
    for _ in range(4):
        large.add("X-A", "word " * 12_000)
    with pytest.raises(ValueError, match="adds at most 262144 octets"):
        large.add("X-A", "word " * 12_000)


# -- hostile messages


def multipart(boundary: str, *parts: bytes) -> bytes:
    """A multipart entity of these parts."""
    delimiter = b"--" + boundary.encode()
    inside = b"".join(delimiter + b"\r\n" + part + b"\r\n" for part in parts)
    return (
        f'Content-Type: multipart/mixed; boundary="{boundary}"\r\n\r\n'.encode()
        + inside
        + delimiter
        + b"--\r\n"
    )


def nested(depth: int) -> bytes:
    """Multiparts in multiparts."""
    opening = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (level, level)
        for level in range(depth)
    )
    return opening + b"\r\ntext\r\n"


HOSTILE = {
    "nested multiparts": nested(10_000),
    "nested messages": b"Content-Type: message/rfc822\r\n\r\n" * 10_000,
    "a million parts": multipart("b", *[b""] * 200_000),
    "a million header fields": b"a:\r\n" * 1_000_000 + b"\r\n",
    "a million header fields of a part": multipart("b", b"a:\r\n" * 500_000),
    "lines that are nearly delimiters": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    + b"--bx\r\n--b x\r\n" * 200_000,
    "messages encoded in messages": b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    * 10_000,
    "a long field": b"Content-Type: text/plain;" + b" a=b;" * 100_000 + b"\r\n\r\n",
    "a long field of quotes": b'Content-Type: text/plain; a="' + b'\\"' * 100_000 + b"\r\n\r\n",
}
BENIGN = {
    "RFC 2231 bomb": b"Content-Disposition: attachment"
    + b"".join(b"; f*%d=x" % n for n in range(400))
    + b"\r\n\r\n",
    "RFC 2231 number": b"Content-Disposition: a; filename*" + b"9" * 3900 + b"*=x\r\n\r\n",
    "RFC 2231 charset": b"Content-Disposition: a; filename*=idna''" + b"a-" * 1500 + b"\r\n\r\n",
    "quotes": b"Content-Type: text/plain; name=" + b'"' * 3900 + b"\r\n\r\n",
    "backslashes": b'Content-Type: text/plain; name="' + b'\\"' * 1900 + b"\r\n\r\n",
    "semicolons": b"Content-Type: text/plain" + b";" * 3900 + b"\r\n\r\n",
    "encoded words": b"Subject: " + b"=?utf-8?q?" * 6000 + b"\r\n\r\n",
    "empty boundary": b'Content-Type: multipart/mixed; boundary=""\r\n\r\n--\r\n--\r\n',
    "boundary of a regular expression": b'Content-Type: multipart/mixed; boundary="(a+)+$"\r\n\r\n--(a+)+$\r\n\r\nx\r\n',
    "boundary with eight bits": b'Content-Type: multipart/mixed; boundary="\xff"\r\n\r\n--\xff\r\n\r\nx\r\n',
    "white space behind a delimiter": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b"
    + b" " * 1_000_000
    + b"x\r\n",
    "base64 of nothing": b"Content-Transfer-Encoding: base64\r\n\r\n" + b"=" * 1_000_000,
    "no header": b"\r\n\r\n",
    "nothing": b"",
    "junk": bytes(range(256)) * 1000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_message_that_is_too_much_is_refused_and_costs_little(name: str) -> None:
    """However it is looked at, and by a Reject, not a fault."""
    began = time.process_time()
    with pytest.raises(LimitExceeded) as caught:
        look_at(HOSTILE[name])
    assert time.process_time() - began < 1.0
    assert isinstance(caught.value, Reject)
    assert str(caught.value).startswith("550 5.6.0 the message cannot be examined: ")


@pytest.mark.parametrize("name", BENIGN)
def test_an_odd_message_is_looked_at_in_little_time(name: str) -> None:
    """Whatever it is."""
    began = time.process_time()
    look_at(BENIGN[name])
    assert time.process_time() - began < 1.0


def look_at(content: bytes) -> None:
    """Everything that a hook can look at."""
    given = message(content)
    for part in given.mime.walk():
        assert part.content_type
        assert len(part.filename or "") <= 255
        assert all(name.isprintable() for name in part.filenames)
        assert isinstance(part.disposition + part.charset, str)
        assert isinstance(part.headers.names(), list)
        part.headers.get("Subject")
        assert len(part.body) <= len(part.content)
        if len(part.content) < 1024 * 1024:
            assert isinstance(part.text, str)
    given.headers.names()
    given.headers.get("Subject")
    given.headers.remove("X-*")


@examples(
    st.binary(max_size=400)
    | st.lists(
        st.sampled_from(
            [
                b"--b",
                b"--",
                b"\r\n",
                b"Content-Type: multipart/mixed; boundary=b",
                b"a: b",
                b" ",
                b"message/rfc822",
                b"x",
            ]
        ),
        max_size=40,
    ).map(b"".join)
)
def test_any_octets_have_parts_or_too_many(content: bytes) -> None:
    """And nothing else is raised."""
    with contextlib.suppress(LimitExceeded):
        look_at(content)


def test_the_structure_is_the_one_that_the_standard_library_sees() -> None:
    """For a message as mail programs make them."""
    inner = multipart(
        "in-ner",
        b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ngr=FC=DFe",
        b"Content-Type: TEXT/HTML\r\n\r\n<p>",
    )
    attached = (
        b"Content-Type: application/pdf; name=a.pdf\r\n"
        b"Content-Disposition: ATTACHMENT;\r\n filename*=utf-8''gr%C3%BC%C3%9Fe.pdf\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\naGVs\r\nbG8="
    )
    forwarded = b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nforwarded"
    content = b"MIME-Version: 1.0\r\n" + multipart("outer", inner.removesuffix(b"\r\n"), attached, forwarded)
    root = parse(content)
    assert [part.content_type for part in root.walk()] == [
        part.get_content_type() for part in email.message_from_bytes(content, policy=email.policy.SMTP).walk()
    ]
    assert root.is_multipart
    text, html = root.parts[0].parts
    assert (text.text, text.charset, html.text) == ("grüße", "iso-8859-1", "<p>")
    pdf, message_part = root.parts[1:]
    assert (pdf.filename, pdf.filenames, pdf.disposition) == (
        "grüße.pdf",
        ("grüße.pdf", "a.pdf"),
        "attachment",
    )
    assert pdf.decoded == b"hello"
    assert message_part.parts[0].headers.get("Subject") == "inner"
    assert message_part.parts[0].body == b"forwarded"
    assert field_value(content, find_fields(content, [b"mime-version"])[b"mime-version"][0]) == b"1.0"
