"""The Received field."""

from __future__ import annotations

from email import message_from_bytes
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.mail.duration import WallTime
from penstock.mail.ids import MessageId, SessionId
from penstock.mail.records import Reception
from penstock.mail.trace import address_literal, date_time, received_field, received_prefix
from penstock.smtp.transmission import is_safe_header

ID = MessageId("0193f5c0a1b27abc8abcdef012345678")
NOW = WallTime(1_795_211_640.75)


def reception(name: str = "client.example", address: str = "192.0.2.7", protocol: str = "ESMTP") -> Reception:
    """A session with a client of this name and address."""
    return Reception(protocol, address, 4711, name, "192.0.2.1:25", "mta.example", SessionId("s"))


@pytest.mark.parametrize(
    ("given_reception", "smtputf8", "expected"),
    [
        (reception(), False, b"from client.example ([192.0.2.7])\r\n\tby mta.example with ESMTP id "),
        (reception(protocol="SMTP"), False, b"from client.example ([192.0.2.7])\r\n\tby mta.example with SMTP id "),
        (reception(), True, b"from client.example ([192.0.2.7])\r\n\tby mta.example with UTF8SMTP id "),
        (reception("[192.0.2.7]"), False, b"from [192.0.2.7] ([192.0.2.7])\r\n\tby mta.example with ESMTP id "),
        (reception(""), False, b"from unknown ([192.0.2.7])\r\n\tby mta.example with ESMTP id "),
        (reception("bücher"), False, b"from b?cher ([192.0.2.7])\r\n\tby mta.example with ESMTP id "),
        (reception("bücher"), True, "from bücher ([192.0.2.7])\r\n\tby mta.example with UTF8SMTP id ".encode()),
        (reception(address="2001:db8::7"), False, b"from client.example ([IPv6:2001:db8::7])\r\n\tby mta.example with ESMTP id "),
    ],
)  # fmt: skip
def test_received_says_from_whom_by_whom_and_how(
    given_reception: Reception, smtputf8: bool, expected: bytes
) -> None:
    """RFC 5321 4.4; protocols by RFC 3848 and RFC 6531 4.3; UTF-8 only where the message is internationalised."""
    prefix = received_prefix(given_reception, smtputf8=smtputf8)
    assert prefix == b"Received: " + expected
    field = received_field(prefix, ID, NOW)
    assert field == prefix + ID.encode() + b";\r\n\tFri, 20 Nov 2026 21:54:00 +0000\r\n"


@pytest.mark.parametrize(
    ("address", "literal"),
    [
        ("192.0.2.1", "[192.0.2.1]"),
        ("2001:db8::1", "[IPv6:2001:db8::1]"),
        ("fe80::1%eth0", "[IPv6:fe80::1]"),
    ],
)
def test_an_address_is_written_as_a_literal(address: str, literal: str) -> None:
    """RFC 5321 4.1.3, which knows no zone."""
    assert address_literal(address) == literal


@given(st.integers(0, 4_000_000_000))
def test_a_date_is_read_by_others_as_it_was_meant(seconds: int) -> None:
    """RFC 5322 3.3, in English and UTC; past 2038 too."""
    assert parsedate_to_datetime(date_time(seconds)).timestamp() == seconds


NAMES = st.from_regex(r"[^\x00-\x20\x7f-\x9f<>()\"\\;\u2028\u2029]{1,60}", fullmatch=True)


@given(NAMES, st.booleans())
def test_whatever_name_a_client_gives_the_field_is_whole_lines_within_their_limit(
    name: str, smtputf8: bool
) -> None:
    """Safe to stand before a message, at most 998 octets a line (RFC 5322 2.1.1), and one field to others."""
    name = name.encode("utf-8", "ignore").decode()
    field = received_field(received_prefix(reception(name), smtputf8=smtputf8), ID, NOW)
    assert is_safe_header(field)
    assert max(map(len, field.split(b"\r\n"))) <= 998
    assert message_from_bytes(field + b"\r\n").keys() == ["Received"]
