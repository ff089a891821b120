"""How a client session begins: EHLO and its fallback, STARTTLS by every policy, AUTH, and what is never said in clear."""

from __future__ import annotations

from base64 import b64encode

import pytest

from penstock.mail.configuration import EnableTls
from penstock.mail.tls import TlsFacts
from penstock.smtp.client import (
    Broken,
    ClientEvent,
    ClientSession,
    Credentials,
    Introduced,
    SessionRefused,
    Stage,
    TlsGranted,
)

from .driver import cuts
from .peer import MESSAGE, ehlo, new_session

VERIFIED = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", is_verified=True)
UNVERIFIED = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384")
BANNER = b"220 d.example ESMTP\r\n"
EHLO = b"EHLO mta.example\r\n"
STARTTLS = b"STARTTLS\r\n"
OFFERS = ehlo("PIPELINING", "STARTTLS")
WANTED = [each for each in EnableTls if each is not EnableTls.DISABLED]
REQUIRED = [EnableTls.REQUIRED, EnableTls.REQUIRED_INSECURE]


def talk(session: ClientSession, *turns: tuple[bytes, bytes]) -> list[ClientEvent]:
    """Each turn: what the peer says, and what we are to say to it; the events."""
    events: list[ClientEvent] = []
    for said, expected in turns:
        events += session.receive(said)
        assert session.take_output() == expected
    return events


def encrypted(*keywords: str, facts: TlsFacts = VERIFIED, **options: object) -> ClientSession:
    """A session in TLS whose peer has answered the second EHLO."""
    session = new_session(**options)
    talk(session, (BANNER, EHLO), (OFFERS, STARTTLS), (b"220 go\r\n", b""))
    assert session.secured(facts) == []
    assert session.take_output() == EHLO
    return session


# -- STARTTLS


@pytest.mark.parametrize("policy", WANTED)
def test_where_starttls_is_offered_it_is_used(policy: EnableTls) -> None:
    """RFC 3207: after the handshake the session begins anew."""
    session = new_session(enable_tls=policy)
    assert talk(session, (BANNER, EHLO), (OFFERS, STARTTLS)) == []
    assert session.stage is Stage.STARTTLS
    assert session.receive(b"220 go\r\n") == [TlsGranted()]
    assert session.stage is Stage.TLS
    assert session.take_output() == b""
    assert not session.is_idle
    assert session.secured(VERIFIED) == []
    assert session.tls == VERIFIED
    assert session.take_output() == EHLO
    assert session.receive(ehlo("SIZE 5")) == [Introduced()]
    assert session.is_idle


def test_what_was_offered_in_clear_is_forgotten() -> None:
    """Capabilities come from the EHLO behind the handshake alone (CVE-2021-38371)."""
    session = encrypted()
    assert not session.peer.pipelining
    assert session.receive(ehlo("STARTTLS", "DSN")) == [Introduced()]
    assert session.peer.dsn
    assert not session.peer.pipelining
    assert session.take_output() == b""


@pytest.mark.parametrize("policy", EnableTls)
def test_where_starttls_is_not_offered_only_what_is_required_stops(policy: EnableTls) -> None:
    """The site is not ours to serve then; nothing was tried."""
    session = new_session(enable_tls=policy)
    events = talk(session, (BANNER, EHLO), (ehlo("PIPELINING"), b""))
    if policy in REQUIRED:
        (refused,) = events
        assert isinstance(refused, SessionRefused)
        assert str(refused.reply) == (
            "454 4.7.10 Penstock internal: TLS is required, and the next hop does not offer STARTTLS"
        )
        assert session.is_closed
    else:
        assert events == [Introduced()]


@pytest.mark.parametrize("policy", REQUIRED)
def test_a_peer_without_ehlo_is_not_spoken_to_where_tls_is_required(policy: EnableTls) -> None:
    """HELO offers nothing."""
    session = new_session(enable_tls=policy)
    events = talk(session, (BANNER, EHLO), (b"502 what\r\n", b"HELO mta.example\r\n"), (b"250 d\r\n", b""))
    assert [type(event) for event in events] == [SessionRefused]
    assert session.is_closed


def test_disabled_is_disabled() -> None:
    """Not even where it is offered."""
    session = new_session(enable_tls=EnableTls.DISABLED)
    assert talk(session, (BANNER, EHLO), (OFFERS, b"")) == [Introduced()]


@pytest.mark.parametrize("policy", WANTED)
@pytest.mark.parametrize("answer", [b"454 not now\r\n", b"502 what\r\n", b"421 bye\r\n", b"250 ok\r\n", b"354 go\r\n", b"221 bye\r\n"])  # fmt: skip
def test_whatever_is_no_220_refuses_the_session(answer: bytes, policy: EnableTls) -> None:
    """On this connection nothing goes in clear (CVE-2016-0772)."""
    session = new_session(enable_tls=policy)
    (event,) = talk(session, (BANNER, EHLO), (OFFERS, STARTTLS), (answer, b""))
    assert isinstance(event, SessionRefused)
    assert event.stage is Stage.STARTTLS
    assert session.is_closed


INJECTIONS = [
    b"250-evil\r\n250 AUTH PLAIN\r\n",
    b"250 ok\r\n",
    b"2",
    b"\x00",
    b"220 again\r\n",
    b"\x16\x03\x01",
]


@pytest.mark.parametrize("go", [b"220 go\r\n", b"220-one\r\n220 go\r\n"])
@pytest.mark.parametrize("behind", INJECTIONS, ids=repr)
def test_what_comes_in_clear_behind_the_220_breaks_the_session(go: bytes, behind: bytes) -> None:
    """RFC 3207 6: in the same segment or a later one; no handshake is begun, or it is not to go on."""
    for cut, segments in cuts(go + behind):
        session = new_session()
        talk(session, (BANNER, EHLO), (OFFERS, STARTTLS))
        events = [event for segment in segments for event in session.receive(segment)]
        assert isinstance(events[-1], Broken), cut
        assert events[-1].stage is Stage.TLS, cut
        assert session.is_closed, cut
        assert len(segments) > 1 or events == [events[-1]], cut


@pytest.mark.parametrize("go", [b"220 go\r\n", b"220-one\r\n220 go\r\n", b"220\r\n"])
def test_a_220_may_come_in_pieces_and_lines(go: bytes) -> None:
    """RFC 5321 4.2.1: it is one reply, and the handshake begins once, when it is whole."""
    for cut, segments in cuts(go):
        session = new_session()
        talk(session, (BANNER, EHLO), (OFFERS, STARTTLS))
        events = [event for segment in segments for event in session.receive(segment)]
        assert events == [TlsGranted()], cut


@pytest.mark.parametrize("policy", WANTED)
def test_a_certificate_that_was_not_verified_is_enough_only_where_it_need_not_be(policy: EnableTls) -> None:
    """The shell's context sees to it first; the session looks again."""
    session = new_session(enable_tls=policy)
    talk(session, (BANNER, EHLO), (OFFERS, STARTTLS), (b"220 go\r\n", b""))
    events = session.secured(UNVERIFIED)
    if policy.is_verified:
        assert [type(event) for event in events] == [SessionRefused]
        assert session.take_output() == b""
        assert session.is_closed
    else:
        assert events == []
        assert session.take_output() == EHLO


def test_a_handshake_that_fails_breaks_the_session() -> None:
    """The shell says why."""
    session = new_session()
    talk(session, (BANNER, EHLO), (OFFERS, STARTTLS), (b"220 go\r\n", b""))
    assert session.lost("TLS handshake failed: x") == [Broken("TLS handshake failed: x", Stage.TLS)]


def test_securing_what_was_not_granted_is_a_mistake() -> None:
    """A mistake of ours."""
    with pytest.raises(RuntimeError):
        new_session().secured(VERIFIED)


def test_plain_text_that_comes_with_the_end_of_the_handshake_breaks_the_session() -> None:
    """It came before our EHLO was sent, so it answers nothing."""
    session = new_session()
    talk(session, (BANNER, EHLO), (OFFERS, STARTTLS), (b"220 go\r\n", b""))
    session.secured(VERIFIED)
    (event,) = session.receive(ehlo("PIPELINING"))
    assert isinstance(event, Broken)


# -- what is spoken


@pytest.mark.parametrize(
    ("first", "is_lmtp", "expected"),
    [(ehlo("SIZE"), False, "ESMTP"), (ehlo("SIZE"), True, "LMTP"), (b"502 what\r\n", False, "SMTP")],
)
def test_the_protocol_is_named_as_it_went(first: bytes, is_lmtp: bool, expected: str) -> None:
    """RFC 3848: by what the peer knew."""
    session = new_session(is_lmtp=is_lmtp)
    session.receive(BANNER)
    session.take_output()
    session.receive(first)
    if expected == "SMTP":
        assert session.take_output() == b"HELO mta.example\r\n"
        session.receive(b"250 d.example\r\n")
    assert session.is_idle
    assert session.protocol == expected


@pytest.mark.parametrize("is_lmtp", [False, True])
def test_the_protocol_says_tls_and_auth(is_lmtp: bool) -> None:
    """RFC 3848: S for TLS and A for AUTH, once there is either."""
    name = "LMTP" if is_lmtp else "ESMTP"
    hello = b"LHLO mta.example\r\n" if is_lmtp else EHLO
    session = new_session(credentials=ME, is_lmtp=is_lmtp)
    talk(session, (BANNER, hello), (OFFERS, STARTTLS), (b"220 go\r\n", b""))
    session.secured(VERIFIED)
    talk(session, (b"", hello), (ehlo("AUTH PLAIN"), PLAIN))
    assert session.protocol == f"{name}S"
    session.receive(b"235 2.7.0 yes\r\n")
    assert session.protocol == f"{name}SA"


# -- AUTH

ME = Credentials("mta", "pa55word")
PLAIN = b"AUTH PLAIN " + b64encode(b"\0mta\0pa55word") + b"\r\n"
NAME, PASSWORD = b64encode(b"mta") + b"\r\n", b64encode(b"pa55word") + b"\r\n"


@pytest.mark.parametrize("keyword", ["AUTH PLAIN", "AUTH LOGIN PLAIN", "auth plain login"])
def test_plain_goes_with_its_command(keyword: str) -> None:
    """RFC 4954 4, RFC 4616: an initial response saves a round trip."""
    session = encrypted(credentials=ME)
    events = talk(session, (ehlo(keyword), PLAIN), (b"235 2.7.0 yes\r\n", b""))
    assert events == [Introduced()]
    assert session.is_idle


def test_login_is_spoken_where_only_that_is_offered() -> None:
    """Name and password, each after a 334, whatever that says."""
    session = encrypted(credentials=ME)
    events = talk(
        session,
        (ehlo("AUTH LOGIN GSSAPI"), b"AUTH LOGIN\r\n"),
        (b"334 VXNlcm5hbWU6\r\n", NAME),
        (b"334 UGFzc3dvcmQ6\r\n", PASSWORD),
        (b"235 yes\r\n", b""),
    )
    assert events == [Introduced()]


def test_a_response_too_long_for_a_command_line_waits_for_a_334() -> None:
    """RFC 4954 4: the line with the command keeps to the limit of command lines."""
    password = "x" * 500
    session = encrypted(credentials=Credentials("mta", password))
    events = talk(
        session,
        (ehlo("AUTH PLAIN"), b"AUTH PLAIN\r\n"),
        (b"334\r\n", b64encode(f"\0mta\0{password}".encode()) + b"\r\n"),
        (b"235 yes\r\n", b""),
    )
    assert events == [Introduced()]


@pytest.mark.parametrize("keyword", ["AUTH PLAIN", "AUTH LOGIN"])
@pytest.mark.parametrize(
    "answer", [b"535 5.7.8 no\r\n", b"454 4.7.0 not now\r\n", b"504 what\r\n", b"421 bye\r\n", b"530 TLS\r\n"]
)
def test_a_refused_auth_refuses_the_session(answer: bytes, keyword: str) -> None:
    """Never mail without it."""
    session = encrypted(credentials=ME)
    talk(session, (ehlo(keyword), PLAIN if "PLAIN" in keyword else b"AUTH LOGIN\r\n"))
    (event,) = session.receive(answer)
    assert isinstance(event, SessionRefused)
    assert event.stage is Stage.AUTH
    assert event.reply.code == int(answer[:3])
    assert session.is_closed
    with pytest.raises(RuntimeError):
        session.send(MESSAGE)


OUT_OF_TURN: dict[str, tuple[str, list[bytes]]] = {
    "334 to a whole PLAIN": ("PLAIN", [b"334 more\r\n"]),
    "235 before the name": ("LOGIN", [b"235 yes\r\n"]),
    "235 before the password": ("LOGIN", [b"334 name\r\n", b"235 yes\r\n"]),
    "a third 334": ("LOGIN", [b"334 name\r\n", b"334 password\r\n", b"334 more\r\n"]),
    "250": ("PLAIN", [b"250 ok\r\n"]),
    "354": ("PLAIN", [b"354 go\r\n"]),
    "220": ("PLAIN", [b"220 hello\r\n"]),
    "two replies": ("PLAIN", [b"235 yes\r\n250 ok\r\n"]),
    "two 334 at once": ("LOGIN", [b"334 a\r\n334 b\r\n"]),
    "garbage": ("PLAIN", [b"yes\r\n"]),
}


@pytest.mark.parametrize(("mechanism", "answers"), OUT_OF_TURN.values(), ids=OUT_OF_TURN.keys())
def test_an_answer_out_of_turn_breaks_the_session(mechanism: str, answers: list[bytes]) -> None:
    """Each 334 takes what is due, and there is an end of them."""
    session = encrypted(credentials=ME)
    session.receive(ehlo(f"AUTH {mechanism}"))
    events: list[ClientEvent] = []
    for answer in answers:
        session.take_output()
        events += session.receive(answer)
    assert isinstance(events[-1], Broken)
    assert session.is_closed
    assert session.take_output() == b""


WITHOUT: dict[str, tuple[dict[str, object], TlsFacts | None, str, bool]] = {
    "in clear": ({}, None, "AUTH PLAIN", False),
    "in clear, a certificate not needed": ({"allow_auth_without_valid_certificate": True}, None, "AUTH PLAIN", False),
    "in clear, allowed": ({"allow_auth_without_tls": True}, None, "AUTH PLAIN", True),
    "unverified": ({}, UNVERIFIED, "AUTH PLAIN", False),
    "unverified, clear would be allowed": ({"allow_auth_without_tls": True}, UNVERIFIED, "AUTH PLAIN", False),
    "unverified, allowed": ({"allow_auth_without_valid_certificate": True}, UNVERIFIED, "AUTH PLAIN", True),
    "verified": ({}, VERIFIED, "AUTH PLAIN", True),
    "not offered": ({}, VERIFIED, "PIPELINING", False),
    "others offered": ({}, VERIFIED, "AUTH GSSAPI CRAM-MD5 SCRAM-SHA-256 XOAUTH2", False),
    "offered in the old way": ({}, VERIFIED, "AUTH=PLAIN LOGIN", False),
    "a NUL in the password": ({"credentials": Credentials("mta", "x\0y")}, VERIFIED, "AUTH PLAIN", False),
}  # fmt: skip


@pytest.mark.parametrize(("options", "facts", "keyword", "is_sent"), WITHOUT.values(), ids=WITHOUT.keys())
def test_credentials_go_only_where_they_may(
    options: dict[str, object], facts: TlsFacts | None, keyword: str, is_sent: bool
) -> None:
    """RFC 4954 4, from the client's side; without AUTH there is no mail either."""
    options = {"enable_tls": EnableTls.OPPORTUNISTIC_INSECURE, "credentials": ME, **options}
    if facts is None:
        session = new_session(**options)
        talk(session, (BANNER, EHLO))
    else:
        session = encrypted(facts=facts, **options)
    events = session.receive(ehlo(keyword))
    assert (session.take_output() == PLAIN) is is_sent
    if not is_sent:
        assert [type(event) for event in events] == [SessionRefused]
        assert session.is_closed


def test_without_ehlo_there_is_no_auth() -> None:
    """So there is no mail."""
    session = new_session(credentials=ME, allow_auth_without_tls=True)
    talk(session, (BANNER, EHLO), (b"500 what\r\n", b"HELO mta.example\r\n"))
    (event,) = session.receive(b"250 d\r\n")
    assert isinstance(event, SessionRefused)
    assert "AUTH" in event.reply.text


@pytest.mark.parametrize(
    "secret", ["pa55word", *(each.decode().strip() for each in (PASSWORD, NAME, PLAIN.split()[2]))]
)
def test_a_reply_that_repeats_credentials_is_not_passed_on(secret: str) -> None:
    """A reply's text goes into logs and events."""
    session = encrypted(credentials=ME)
    talk(session, (ehlo("AUTH PLAIN"), PLAIN))
    (event,) = session.receive(f"535-5.7.8 no\r\n535 5.7.8 what is <{secret}>?\r\n".encode())
    assert isinstance(event, SessionRefused)
    assert secret not in str(event)
    assert str(event.reply) == "535 5.7.8 the text of this reply repeats credentials, and is left out"


def test_credentials_do_not_show() -> None:
    """Not in the repr of what holds them either."""
    session = new_session(credentials=ME)
    for shown in (repr(ME), str(ME), f"{ME}", repr(session), repr(session._options)):
        assert "pa55word" not in shown
        assert "mta'" not in shown.replace("'mta.example'", "")


# -- LMTP


def test_lmtp_begins_with_lhlo() -> None:
    """RFC 2033 4.1; and again after a handshake."""
    session = new_session(is_lmtp=True)
    events = talk(session, (BANNER, b"LHLO mta.example\r\n"), (OFFERS, STARTTLS), (b"220 go\r\n", b""))
    assert events == [TlsGranted()]
    session.secured(VERIFIED)
    assert session.take_output() == b"LHLO mta.example\r\n"
    assert session.stage is Stage.LHLO
    assert session.receive(ehlo("PIPELINING")) == [Introduced()]


@pytest.mark.parametrize("code", [500, 502, 504])
def test_lmtp_knows_no_helo(code: int) -> None:
    """RFC 2033 4.1: HELO and EHLO must not be used."""
    session = new_session(is_lmtp=True)
    talk(session, (BANNER, b"LHLO mta.example\r\n"))
    (event,) = session.receive(b"%d what\r\n" % code)
    assert isinstance(event, SessionRefused)
    assert event.stage is Stage.LHLO
    assert session.take_output() == b""
