"""A client session with peers that do not keep to the protocol. No crash, no loss, no success that was none."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.mail.configuration import EnableTls
from penstock.mail.tls import TlsFacts
from penstock.smtp.client import (
    Broken,
    ClientEvent,
    ClientSession,
    Credentials,
    Finished,
    Introduced,
    NotBegun,
    SessionOptions,
    SessionRefused,
    Stage,
)

from .driver import cuts, in_pieces, octet_by_octet
from .peer import ALL_KEYWORDS, CHUNKING, MESSAGE, Peer, ehlo, introduced, new_session, results, transact

PIPELINING = [ALL_KEYWORDS, ALL_KEYWORDS[1:]]
IDS = ["pipelined", "lock-step"]
LOST = [(451, None, False)] * 3
UNCERTAIN = [(451, None, True)] * 3

BANNERS: dict[str, tuple[bytes, type[ClientEvent] | None]] = {
    "good": (b"220 d.example ESMTP\r\n", None),
    "only the code": (b"220\r\n", None),
    "8-bit": (b"220 d\xff\xe9.example\r\n", None),
    "NUL": (b"220 d\x00\r\n", None),
    "not yet whole": (b"220-d.example\r\n220-", None),
    "bogus": (b"bogus\r\n", Broken),
    "four digits": (b"2200 x\r\n", Broken),
    "LF only": (b"220 d.example\n", Broken),
    "64 KB without a line end": (b"220 " + b"x" * 65_536, Broken),
    "lines without end": (b"220-x\r\n" * 200, Broken),
    "two banners at once": (b"220 a\r\n220 b\r\n", Broken),
    "EHLO's reply before EHLO": (b"220 a\r\n250-d\r\n250 PIPELINING\r\n", Broken),
    "a web server": (b"HTTP/1.1 400 Bad Request\r\n", Broken),
    "421": (b"421 busy\r\n", SessionRefused),
    "521": (b"521 no\r\n", SessionRefused),
    "554": (b"554 no\r\n", SessionRefused),
    "354": (b"354 go\r\n", SessionRefused),
}


@pytest.mark.parametrize(("octets", "kind"), BANNERS.values(), ids=BANNERS.keys())
def test_a_banner_is_a_220_or_the_end(octets: bytes, kind: type[ClientEvent] | None) -> None:
    """In one segment; octet by octet too, where nothing came before it could have been asked for."""
    session = new_session()
    events = session.receive(octets)
    assert [type(event) for event in events] == ([kind] if kind else [])
    assert session.is_closed is (kind is not None)
    if kind is None:
        assert session.stage in (Stage.BANNER, Stage.EHLO)
    else:
        assert session.take_output() == b""


EHLOS: dict[str, tuple[bytes, type[ClientEvent] | None]] = {
    "good": (b"250-d.example\r\n250 PIPELINING\r\n", Introduced),
    "one line": (b"250 d.example\r\n", Introduced),
    "duplicate keywords": (b"250-d\r\n250-SIZE 1\r\n250-SIZE x\r\n250 SIZE -1\r\n", Introduced),
    "other codes in one reply": (b"250-a\r\n500 b\r\n", Broken),
    "250- without end": (b"250-x\r\n" * 10_000, Broken),
    "550": (b"550 no\r\n", SessionRefused),
    "421": (b"421 no\r\n", SessionRefused),
    "220, a banner once more": (b"220 d.example\r\n", SessionRefused),
    "221": (b"221 bye\r\n", SessionRefused),
    "354": (b"354 go\r\n", SessionRefused),
    "two replies": (b"250 d\r\n250 e\r\n", Broken),
    "the beginning of another": (b"250 d\r\n25", Broken),
    "502, then the reply to HELO before HELO": (b"502 what\r\n250 d\r\n", Broken),
}


@pytest.mark.parametrize(("octets", "kind"), EHLOS.values(), ids=EHLOS.keys())
def test_what_answers_ehlo_is_a_250_or_the_end(octets: bytes, kind: type[ClientEvent] | None) -> None:
    """Bounded, and believed only if it is the only thing that was said."""
    session = new_session()
    session.receive(b"220 d.example\r\n")
    session.take_output()
    events = session.receive(octets)
    assert type(events[-1]) is kind
    assert session.is_closed is (kind is not Introduced)


MALFORMED = [
    b"25\r\n", b"250_x\r\n", b"2 50\r\n", "٢٥٠ x\r\n".encode(), b"999 x\r\n", b"150 x\r\n", b"250 ok\n", b"250 o\rk\r\n", b"\r\n",
    b"250-a\r\n251 b\r\n", b"250-a\r\nb\r\n", b"x" * 5000, b"\x00\xff\r\n", b"250 " + b"x" * 1_000_000 + b"\r\n",
]  # fmt: skip
#: Replies by stage up to which the peer is well-behaved, in the order of the commands.
STAGES = {"MAIL": 0, "RCPT 0": 1, "RCPT 1": 2, "RCPT 2": 3, "DATA": 4, "dot": 5}
REPLIES = [b"250 a\r\n", b"250 b\r\n", b"250 c\r\n", b"250 d\r\n", b"354 e\r\n"]


def at_stage(stage: str, keywords: tuple[str, ...]) -> ClientSession:
    """A session within a transaction whose peer has still to answer ``stage``."""
    session = introduced(*keywords)
    session.send(MESSAGE)
    session.take_output()
    for answer in REPLIES[: STAGES[stage]]:
        assert session.receive(answer) == []
        session.take_output()
    return session


@pytest.mark.parametrize("keywords", PIPELINING, ids=IDS)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("octets", MALFORMED, ids=lambda octets: repr(octets[:12]))
def test_a_malformed_reply_ends_the_session_at_any_stage(
    octets: bytes, stage: str, keywords: tuple[str, ...]
) -> None:
    """Nobody knows which reply answers which command from there on; after the dot, the peer may have the message."""
    session = at_stage(stage, keywords)
    finished, broken = session.receive(octets)
    assert isinstance(finished, Finished)
    assert isinstance(broken, Broken)
    assert results(finished) == (UNCERTAIN if stage == "dot" else LOST)
    assert session.is_closed
    assert session.take_output() == b""
    assert broken.reason.isprintable()
    assert len(broken.reason) < 300
    assert session.receive(b"250 ok\r\n") == []


@pytest.mark.parametrize("keywords", PIPELINING, ids=IDS)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("octets", [b"354 go\r\n", b"220 hello\r\n", b"221 bye\r\n", b"399 x\r\n"])
def test_a_reply_that_no_such_command_has_ends_the_session(
    octets: bytes, stage: str, keywords: tuple[str, ...]
) -> None:
    """354 to MAIL, 221 to the dot: replies have been shifted, and a 2yz among them confirms nothing."""
    session = at_stage(stage, keywords)
    events = session.receive(octets)
    if stage == "DATA" and octets[:1] == b"3":
        assert events == []
        return
    finished = events[0]
    assert isinstance(finished, Finished)
    assert results(finished) == (UNCERTAIN if stage == "dot" else LOST)
    assert isinstance(events[1], Broken)


@pytest.mark.parametrize("keywords", PIPELINING, ids=IDS)
@pytest.mark.parametrize("stage", STAGES)
def test_an_end_or_a_deadline_without_a_reply_is_temporary(stage: str, keywords: tuple[str, ...]) -> None:
    """After the dot: uncertain, and nothing else is."""
    session = at_stage(stage, keywords)
    finished, broken = session.late()
    assert isinstance(finished, Finished)
    assert results(finished) == (UNCERTAIN if stage == "dot" else LOST)
    assert "the deadline passed while waiting for" in finished.results[0].reply.text
    assert str(finished.results[0].reply).startswith("451 4.4.2 Penstock internal: ")
    assert isinstance(broken, Broken)
    assert broken.reason == "the deadline passed"


def test_550_and_then_close_is_permanent() -> None:
    """In a pipelined group, what was said before the end counts, for those it was said about."""
    session = introduced(*ALL_KEYWORDS)
    session.send(MESSAGE)
    session.take_output()
    assert session.receive(b"550 5.7.1 not you\r\n") == []
    finished = session.lost("the peer closed the connection")[0]
    assert isinstance(finished, Finished)
    assert results(finished) == [(550, "MAIL", False)] * 3

    session = introduced(*ALL_KEYWORDS)
    session.send(MESSAGE)
    session.take_output()
    session.receive(b"250 a\r\n550 5.1.1 not him\r\n")
    finished = session.lost("the peer closed the connection")[0]
    assert isinstance(finished, Finished)
    assert results(finished) == [(550, "RCPT", False), *LOST[1:]]


def test_fewer_replies_than_commands_is_an_end_without_a_reply() -> None:
    """The missing reply is never made up: DATA is still unanswered."""
    session = introduced(*ALL_KEYWORDS)
    session.send(MESSAGE)
    session.take_output()
    assert session.receive(b"250 a\r\n250 b\r\n250 c\r\n250 d\r\n") == []
    assert session.stage is Stage.DATA
    finished = session.lost("the deadline passed")[0]
    assert isinstance(finished, Finished)
    assert results(finished) == LOST


@pytest.mark.parametrize(
    "octets",
    [
        b"250 a\r\n250 b\r\n250 c\r\n250 d\r\n250 e\r\n354 go\r\n",
        b"250 a\r\n250 b\r\n250 c\r\n250 d\r\n354 go\r\n250 taken\r\n",
        b"250 a\r\n250 b\r\n250 c\r\n250 d\r\n354 go\r\n25",
        b"250 a\r\nbogus\r\n250 b\r\n250 c\r\n250 d\r\n354 go\r\n",
    ],
)
def test_more_replies_than_commands_end_the_session_and_nothing_is_sent(octets: bytes) -> None:
    """A 250 that is there before mail data was sent is no answer to it; the data stays here, so nothing is uncertain."""
    session = introduced(*ALL_KEYWORDS)
    session.send(MESSAGE)
    session.take_output()
    finished, broken = session.receive(octets)
    assert isinstance(finished, Finished)
    assert isinstance(broken, Broken)
    assert results(finished) == LOST
    assert session.take_output() == b""


def test_garbage_cannot_shift_a_later_reply_to_the_dot() -> None:
    """The loss that Postfix's comment documents. QUIT is not there to be answered, and 221 is no 250."""
    session = introduced(*ALL_KEYWORDS)
    peer = Peer({".": "oops\r\n250 taken\r\n221 bye"})
    assert results(transact(session, peer)) == UNCERTAIN
    session = introduced(*ALL_KEYWORDS)
    assert results(transact(session, Peer({".": "221 bye"}))) == UNCERTAIN


@pytest.mark.parametrize(
    "behind", [b"250 again\r\n", b"bogus\r\n", b"550 changed my mind\r\n", b"421 bye\r\n", b"25", b"\xff"]
)
def test_nothing_said_after_the_250_to_the_dot_changes_it(behind: bytes) -> None:
    """In the same segment or later: the message is delivered, the session is over."""
    for cut, segments in cuts(b"250 taken\r\n" + behind):
        session = at_stage("dot", ALL_KEYWORDS)
        events = [event for segment in segments for event in session.receive(segment)]
        finished = events[0]
        assert isinstance(finished, Finished), cut
        assert results(finished) == [(250, "DATA", False)] * 3, cut
        if behind.endswith(b"\r\n"):
            assert isinstance(events[-1], Broken), cut
        assert session.is_closed, cut


@pytest.mark.parametrize("octets", [b"250 ok\r\n", b"421 idle too long\r\n", b"2", b"\r\n", b"354 go\r\n"])
def test_octets_between_transactions_break_the_session(octets: bytes) -> None:
    """An unsolicited 250 must not confirm the next message (off by one)."""
    session = introduced(*ALL_KEYWORDS)
    transact(session, Peer())
    (broken,) = session.receive(octets)
    assert isinstance(broken, Broken)
    assert session.is_closed


@pytest.mark.parametrize("keywords", PIPELINING, ids=IDS)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_stray_replies_that_come_with_the_next_transaction_confirm_nothing(
    count: int, keywords: tuple[str, ...]
) -> None:
    """However many there are: DATA is answered with a 250 then, and that is never an answer to DATA."""
    session = introduced(*keywords)
    session.send(MESSAGE)
    peer = Peer()
    stray = b"250 stray\r\n" * count
    events: list[ClientEvent] = []
    while not session.is_closed and (output := session.take_output()):
        replies = stray + peer.take(output)
        stray = b""
        for octet in octet_by_octet(replies):
            events += session.receive(octet)
    events += session.lost("the peer closed the connection")
    for event in events:
        if isinstance(event, Finished):
            assert not [result for result in event.results if result.reply.is_positive]
    assert peer.data == []


def test_a_peer_that_answers_each_recipient_after_the_dot_is_no_smtp_server() -> None:
    """LMTP: the first reply is the answer, the others break the session."""
    session = introduced(*ALL_KEYWORDS)
    finished = transact(session, Peer({".": "250 one\r\n250 two\r\n450 three"}))
    assert results(finished) == [(250, "DATA", False)] * 3
    assert session.is_closed


def test_a_reply_before_mail_data_has_all_been_written_is_the_answer() -> None:
    """A peer may refuse in the middle (too large); the session is not confused by it."""
    session = at_stage("dot", ALL_KEYWORDS)
    (finished,) = session.receive(b"552 5.3.4 too large\r\n")
    assert isinstance(finished, Finished)
    assert results(finished) == [(552, "DATA", False)] * 3
    assert session.is_idle


TOKENS = st.one_of(
    st.sampled_from([
        b"220 d.example\r\n", ehlo("PIPELINING", "8BITMIME"), ehlo("SIZE 5"), b"250 ok\r\n", b"354 go\r\n", b"450 no\r\n", b"550 no\r\n",
        b"421 bye\r\n", b"221 bye\r\n", b"502 what\r\n", b"250-", b"250", b"\r\n", b"\n", b"bogus\r\n", b"\xff", b"x" * 5000, b"503 x\r\n",
        ehlo("STARTTLS", "PIPELINING"), ehlo("AUTH PLAIN", *CHUNKING), ehlo("AUTH LOGIN", "PIPELINING", "DSN"), b"334 \r\n", b"235 ok\r\n",
        b"250 2.1.0 ok\r\n", b"250 2.1.5 ok\r\n", b"535 no\r\n", b"454 no\r\n",
    ]),
    st.binary(max_size=4),
)  # fmt: skip
OPTIONS = st.builds(
    SessionOptions,
    ehlo_name=st.just("mta.example"),
    enable_tls=st.sampled_from(EnableTls),
    credentials=st.sampled_from([None, None, Credentials("me", "x"), Credentials("me", "y" * 600)]),
    allow_auth_without_tls=st.booleans(),
    allow_auth_without_valid_certificate=st.booleans(),
    enable_pipelining=st.booleans(),
    enable_rset=st.booleans(),
    is_lmtp=st.booleans(),
)
#: Up to where mail may go, and how much of a transaction's answers: what a peer with good manners says first.
OPENINGS = st.sampled_from([
    [],
    [b"220 d\r\n", ehlo("PIPELINING")],
    [b"220 d\r\n", ehlo("PIPELINING", *CHUNKING), b"250 2.1.0 a\r\n", b"250 2.1.5 b\r\n", b"250 2.1.5 c\r\n", b"250 2.1.5 d\r\n"],
    [b"220 d\r\n", ehlo("PIPELINING", "STARTTLS"), b"220 go\r\n"],
    [b"220 d\r\n", ehlo("PIPELINING", "STARTTLS"), b"220 go\r\n", ehlo("AUTH LOGIN"), b"334 a\r\n"],
    [b"220 d\r\n", ehlo("PIPELINING"), b"250 a\r\n", b"250 b\r\n", b"250 c\r\n", b"250 d\r\n", b"354 e\r\n"],
])  # fmt: skip


@given(
    OPTIONS,
    OPENINGS,
    st.lists(TOKENS, max_size=30),
    st.lists(st.integers(1, 40)),
    st.booleans(),
    st.sampled_from([None, TlsFacts("TLSv1.3", "x", is_verified=True), TlsFacts("TLSv1.2", "x")]),
)
@example(
    SessionOptions("mta.example"),
    [b"220 d\r\n", b"250-d\r\n250 PIPELINING\r\n"],
    [b"250 ok\r\n"] * 30,
    [7, 33, 1],
    True,
    None,
)
def test_any_octets_of_a_peer_are_events_only(
    options: SessionOptions,
    opening: list[bytes],
    tokens: list[bytes],
    sizes: list[int],
    takes_output: bool,
    facts: TlsFacts | None,
) -> None:
    """Never an exception; every transaction that is begun is finished once, with each recipient once, or never was begun; the end is the end."""
    session = ClientSession(options)
    begun = ended = 0
    pieces = [piece for token in tokens for piece in in_pieces(token, sizes)]
    for segment in [*opening, *pieces, None]:
        was_closed = session.is_closed
        events = session.receive(segment) if segment is not None else session.lost("closed")
        assert not (was_closed and events)
        if session.stage is Stage.TLS and facts is not None:
            events += session.secured(facts)
        for event in events:
            if isinstance(event, Finished):
                ended += 1
                assert [result.recipient for result in event.results] == [0, 1, 2]
            elif isinstance(event, NotBegun):
                ended += 1
                assert session.is_closed
                assert session.transactions > 1
        if session.is_idle and session.send(MESSAGE) is None:
            begun += 1
        if takes_output or segment in opening:
            session.take_output()
    assert session.is_closed
    assert begun == ended
