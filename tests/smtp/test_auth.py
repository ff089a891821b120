"""AUTH exchanges: credentials as RFC 4616 and the habit of LOGIN write them, and all that is none."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.smtp.auth import Credentials, begin
from penstock.smtp.command import Refusal


def plain(text: bytes) -> Credentials | str | None:
    """What AUTH PLAIN with this initial response comes to: credentials, None for nobody's, or the refusal."""
    try:
        exchange, initial = begin(b"PLAIN " + (b64encode(text) or b"="))
        assert initial is not None
        exchange.take(initial)
    except Refusal as refusal:
        return f"{refusal.reply.code} {refusal.reply.enhanced}"
    assert exchange.is_complete
    return exchange.credentials()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"\0user\0secret", Credentials("PLAIN", "", "user", "secret")),
        (b"admin\0user\0secret", Credentials("PLAIN", "admin", "user", "secret")),
        ("\0jürgen\0pässword".encode(), Credentials("PLAIN", "", "jürgen", "pässword")),
        (b"\0user\0 s e\tcret ", Credentials("PLAIN", "", "user", " s e\tcret ")),
        (b"", "501 5.5.2"),
        (b"user\0secret", "501 5.5.2"),
        (b"\0user\0sec\0ret", "501 5.5.2"),
        (b"\0\0secret", None),
        (b"\0user\0", None),
        (b"\0us\ner\0secret", None),
        (b"ad\x7fmin\0user\0secret", None),
        (b"\0\xff\0secret", None),
        (b"\0" + b"u" * 255 + b"\0secret", Credentials("PLAIN", "", "u" * 255, "secret")),
        (b"\0" + b"u" * 256 + b"\0secret", None),
        (b"\0user\0" + b"s" * 256, None),
    ],
)
def test_plain_is_two_names_and_a_password(text: bytes, expected: object) -> None:
    """RFC 4616 2: exactly two NULs; what could be nobody's is told from what is malformed."""
    assert plain(text) == expected


def test_login_asks_for_a_name_and_a_password() -> None:
    """With and without the name as initial response."""
    for argument, left in ((b"login", [b"user", b"secret"]), (b"LOGIN " + b64encode(b"user"), [b"secret"])):
        exchange, initial = begin(argument)
        if initial is not None:
            exchange.take(initial)
        for response in left:
            assert exchange.challenge().code == 334
            exchange.take(b64encode(response))
        assert exchange.credentials() == Credentials("LOGIN", "", "user", "secret")


def test_a_nul_in_a_login_is_nobodys() -> None:
    """It could cut a name short for whoever looks it up."""
    exchange, _ = begin(b"LOGIN")
    exchange.take(b64encode(b"user\0x"))
    exchange.take(b64encode(b"secret"))
    assert exchange.credentials() is None


@pytest.mark.parametrize(
    "response",
    [b"*", b"%%%", b"abc", b"ab=c", b"YQ==\n", b" YQ==", b"YQ", b"Y Q=", b"YQ===", b"\xff\xff\xff\xff"],
)
def test_what_is_no_base64_ends_the_exchange(response: bytes) -> None:
    """RFC 4954 4, RFC 4648 3.3; a star gives up."""
    exchange, _ = begin(b"PLAIN")
    with pytest.raises(Refusal) as refusal:
        exchange.take(response)
    assert refusal.value.reply.code == 501


def test_the_password_shows_nowhere() -> None:
    """Not in repr, and so in no traceback or log."""
    credentials = plain(b"\0user\0secret")
    assert "secret" not in repr(credentials)
    assert "user" in repr(credentials)


@given(st.binary(max_size=100))
def test_any_response_is_credentials_or_a_refusal(response: bytes) -> None:
    """Nothing else happens."""
    exchange, _ = begin(b"PLAIN")
    try:
        exchange.take(response)
    except Refusal:
        return
    assert exchange.is_complete
    exchange.credentials()
