"""How mail data goes: in a chunk where CHUNKING is offered, and with LMTP, which answers for each recipient; what DSN asks goes with it."""

from __future__ import annotations

import pytest

from penstock.mail.address import Address
from penstock.mail.dsn import EnvelopeDsn, RecipientDsn
from penstock.smtp.client import Broken, ClientEvent, ClientSession, Finished

from .driver import cuts, octet_by_octet
from .peer import CHUNKING, CLOSE, MESSAGE, Peer, changed, converse, introduced, results, transact

CHUNKED = [("PIPELINING", *CHUNKING), CHUNKING]
PLAIN = [("PIPELINING",), ()]
IDS = ["pipelined", "lock-step"]
ENVELOPE = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<one@d.example>\r\nRCPT TO:<two@d.example>\r\nRCPT TO:<three@d.example>\r\n"
OK = b"250 2.1.5 ok\r\n"
TAKEN = (250, "BDAT", False)
LOST, UNCERTAIN = (451, None, False), (451, None, True)


# -- CHUNKING


def test_a_chunk_goes_once_every_recipient_has_its_reply() -> None:
    """RFC 3030 2: the envelope as one group, then BDAT with the message, in place of DATA."""
    session = introduced("PIPELINING", *CHUNKING)
    session.send(MESSAGE)
    assert session.take_output() == ENVELOPE
    assert session.receive(OK * 3) == []
    assert session.take_output() == b""
    assert session.receive(OK) == []
    assert session.take_output() == b"BDAT 33 LAST\r\nReceived: x\r\nSubject: y\r\n\r\nbody\r\n"
    (finished,) = session.receive(b"250 33 octets\r\n")
    assert isinstance(finished, Finished)
    assert results(finished) == [TAKEN] * 3
    assert session.is_idle


P, T = (550, "RCPT", False), (450, "RCPT", False)
VERDICTS: dict[str, tuple[dict[str, str], list[tuple[int, str | None, bool]], bool]] = {
    "taken": ({}, [TAKEN] * 3, True),
    "one refused": ({"RCPT 1": "550 no"}, [TAKEN, P, TAKEN], True),
    "all refused": ({"RCPT": "550 no"}, [P] * 3, True),
    "MAIL refused": ({"MAIL": "451 no"}, [(451, "MAIL", False)] * 3, True),
    "MAIL refused, RCPT 250": ({"MAIL": "550 no", "RCPT without MAIL": "250 ok"}, [(550, "MAIL", False)] * 3, True),
    "4yz": ({"BDAT": "452 full"}, [(452, "BDAT", False)] * 3, True),
    "5yz": ({"BDAT": "554 no"}, [(554, "BDAT", False)] * 3, True),
    "5yz about the message": ({"BDAT": "500 5.2.3 a line is too long"}, [(500, "BDAT", False)] * 3, True),
    "not known": ({"BDAT": "502 what"}, [(502, "BDAT", False)] * 3, False),
    "out of order": ({"BDAT": "503 5.5.1 order"}, [(503, "BDAT", False)] * 3, False),
    "421": ({"BDAT": "421 bye"}, [(421, "BDAT", False)] * 3, False),
    "an end": ({"BDAT": CLOSE}, [UNCERTAIN] * 3, False),
    "an end, one refused": ({"RCPT 0": "450 no", "BDAT": CLOSE}, [T, UNCERTAIN, UNCERTAIN], False),
    "221": ({"BDAT": "221 bye"}, [UNCERTAIN] * 3, False),
    "354": ({"BDAT": "354 go"}, [UNCERTAIN] * 3, False),
    "the reply to RCPT": ({"BDAT": "250 2.1.5 recipient ok"}, [UNCERTAIN] * 3, False),
    "an enhanced code": ({"BDAT": "250 2.6.0 queued"}, [TAKEN] * 3, True),
}  # fmt: skip


@pytest.mark.parametrize("keywords", CHUNKED, ids=IDS)
@pytest.mark.parametrize("octet_by_octet", [False, True], ids=["whole", "octet by octet"])
@pytest.mark.parametrize(("script", "expected", "is_reusable"), VERDICTS.values(), ids=VERDICTS.keys())
def test_every_recipient_gets_the_reply_that_decided_about_it(
    script: dict[str, str],
    expected: list[tuple[int, str | None, bool]],
    is_reusable: bool,
    octet_by_octet: bool,
    keywords: tuple[str, ...],
) -> None:
    """As with DATA; nothing is sent to nobody, and a reply to a recipient is none to the message."""
    session, peer = introduced(*keywords), Peer(script)
    session.send(MESSAGE)
    events = converse(session, peer, octet_by_octet=octet_by_octet)
    assert isinstance(events[0], Finished)
    assert results(events[0]) == expected
    assert session.is_idle is is_reusable
    assert bool(peer.data) is any(command == "BDAT" or uncertain for _, command, uncertain in expected)


@pytest.mark.parametrize("keywords", CHUNKED, ids=IDS)
@pytest.mark.parametrize(
    ("script", "has_rset"),
    [({}, False), ({"RCPT": "550 no"}, True), ({"BDAT": "554 no"}, True), ({"MAIL": "550 no"}, False)],
)
def test_a_transaction_that_is_still_open_is_reset_before_the_next(
    script: dict[str, str], has_rset: bool, keywords: tuple[str, ...]
) -> None:
    """RFC 3030 2: after a chunk that was refused, too."""
    session, peer = introduced(*keywords), Peer(script)
    transact(session, peer)
    peer.script = dict(Peer().script)
    peer.log.clear()
    assert results(transact(session, peer)) == [TAKEN] * 3
    assert ("RSET" in peer.log) is has_rset


@pytest.mark.parametrize("stray", [b"250 ok\r\n", b"250 2.0.0 ok\r\n", b"250 2.1.5 ok\r\n"])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("keywords", CHUNKED, ids=IDS)
def test_stray_replies_confirm_nothing(keywords: tuple[str, ...], count: int, stray: bytes) -> None:
    """Where replies have been shifted, what comes for the chunk is the reply to a recipient, and says so.

    Strays that are not like replies to an envelope have DATA asked for instead, and meet its 354.
    """
    session = introduced(*keywords)
    session.send(MESSAGE)
    peer = Peer({"MAIL": "250 2.1.0 ok", "RCPT": "250 2.1.5 ok", "BDAT": "550 5.7.1 no"})
    rest = stray * count
    events: list[ClientEvent] = []
    output = session.take_output()
    while output and not session.is_closed:
        replies, rest, output = rest + peer.take(output), b"", b""
        for octet in octet_by_octet(replies):
            events += session.receive(octet)
            output += (
                session.take_output()
            )  # each reply has its segment, so what it asks for has left before the next comes
    events += session.lost("the peer closed the connection")
    for event in events:
        if isinstance(event, Finished):
            assert not [result for result in event.results if result.reply.is_positive]


def test_replies_that_come_before_the_chunk_left_are_none_to_it() -> None:
    """Nothing is sent then, so nothing is uncertain."""
    session = introduced("PIPELINING", *CHUNKING)
    session.send(MESSAGE)
    session.take_output()
    finished, broken = session.receive(OK * 5)
    assert isinstance(finished, Finished)
    assert isinstance(broken, Broken)
    assert results(finished) == [LOST] * 3
    assert session.take_output() == b""


@pytest.mark.parametrize("keywords", CHUNKED, ids=IDS)
@pytest.mark.parametrize(
    "script",
    [{"MAIL": "250 ok"}, {"MAIL": "250 2.0.0 ok"}, {"RCPT 1": "250 ok"}, {"RCPT": "250 2.6.0 ok"}, {"RCPT 0": "251 forwarded"}],
)  # fmt: skip
def test_without_evidence_that_replies_are_in_step_data_is_asked_for(
    script: dict[str, str], keywords: tuple[str, ...]
) -> None:
    """Its 354 is the evidence then."""
    peer = Peer(script)
    finished = transact(introduced(*keywords), peer)
    assert results(finished) == [(250, "DATA", False)] * 3
    assert peer.log[-1] == "DATA"


def test_a_reply_to_rset_needs_no_address() -> None:
    """It is none of the envelope's."""
    session, peer = introduced("PIPELINING", *CHUNKING), Peer({"BDAT": "451 4.3.0 no"})
    transact(session, peer)
    peer.script |= {"RSET": "250 2.0.0 ok", "BDAT": "250 2.6.0 ok"}
    assert results(transact(session, peer)) == [TAKEN] * 3


def test_without_enhanced_codes_the_envelope_ends_with_data() -> None:
    """One group, as where CHUNKING is not offered."""
    session = introduced("PIPELINING", "CHUNKING")
    session.send(MESSAGE)
    assert session.take_output() == ENVELOPE + b"DATA\r\n"


@pytest.mark.parametrize(
    "content",
    [b"", b".\r\n", b".\r\n" * 1000, b"a\r\n.\r\nMAIL FROM:<x@y>\r\n", b"no end", b"bare\nfeed", b"bare\rreturn", b"\r", b"x" * 100_000],
)  # fmt: skip
def test_a_chunk_has_just_the_octets_that_it_says(content: bytes) -> None:
    """RFC 3030 2: no dots are added, line ends are mended as for DATA, and the number is right."""
    peer = Peer()
    transact(introduced(*CHUNKING), peer, changed(content=content))
    (command,) = [line for line in peer.log if line.startswith("BDAT")]
    (data,) = peer.data
    assert command == f"BDAT {len(data)} LAST"
    mended = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    if mended and not mended.endswith(b"\r\n"):
        mended += b"\r\n"
    assert data == MESSAGE.header + mended


# -- LMTP


def lmtp(*keywords: str) -> ClientSession:
    """A session by RFC 2033, introduced."""
    return introduced(*keywords, is_lmtp=True)


D = "DATA"
LMTP: dict[str, tuple[dict[str, str], list[tuple[int, str | None, bool]], bool]] = {
    "all taken": ({}, [(250, D, False)] * 3, True),
    "each its own": ({". 0": "450 later", ". 1": "550 no"}, [(450, D, False), (550, D, False), (250, D, False)], True),
    "one refused before": ({"RCPT 1": "550 no", ". 2": "452 full"}, [(250, D, False), P, (452, D, False)], True),
    "all refused, DATA 503": ({"RCPT": "550 no", "DATA": "503 nobody"}, [P] * 3, True),
    "all refused, DATA 354": ({"RCPT": "550 no"}, [P] * 3, False),
    "an end after the first": ({". 1": CLOSE}, [(250, D, False), UNCERTAIN, UNCERTAIN], False),
    "an end before the first": ({". 0": CLOSE}, [UNCERTAIN] * 3, False),
    "421 for the second": ({". 1": "421 bye"}, [(250, D, False), (421, D, False), (421, D, True)], False),
    "garbage for the third": ({". 2": "what"}, [(250, D, False), (250, D, False), UNCERTAIN], False),
    "221 for the second": ({". 1": "221 bye"}, [(250, D, False), UNCERTAIN, UNCERTAIN], False),
    "DATA 4yz": ({"DATA": "451 no"}, [(451, D, False)] * 3, True),
    "Cyrus's codes": ({".": "250 2.1.5 ok"}, [(250, D, False)] * 3, True),
}  # fmt: skip


@pytest.mark.parametrize("keywords", PLAIN, ids=IDS)
@pytest.mark.parametrize("octet_by_octet", [False, True], ids=["whole", "octet by octet"])
@pytest.mark.parametrize(("script", "expected", "is_reusable"), LMTP.values(), ids=LMTP.keys())
def test_lmtp_answers_for_each_recipient_that_was_accepted(
    script: dict[str, str],
    expected: list[tuple[int, str | None, bool]],
    is_reusable: bool,
    octet_by_octet: bool,
    keywords: tuple[str, ...],
) -> None:
    """RFC 2033 4.2: in their order; those that have no reply when the session ends are uncertain, and they alone."""
    if not keywords and script.get("DATA", "354 go") == "354 go" and script.get("RCPT") == "550 no":
        is_reusable = True  # DATA is not asked for
    session, peer = lmtp(*keywords), Peer(script, is_lmtp=True)
    session.send(MESSAGE)
    events = converse(session, peer, octet_by_octet=octet_by_octet)
    assert isinstance(events[0], Finished)
    assert results(events[0]) == expected
    assert session.is_idle is is_reusable


@pytest.mark.parametrize("keywords", CHUNKED, ids=IDS)
def test_lmtp_answers_a_chunk_for_each_recipient_too(keywords: tuple[str, ...]) -> None:
    """RFC 2033 4.3."""
    session = lmtp(*keywords)
    peer = Peer({"RCPT 0": "550 no", "BDAT 1": "250 2.0.0 ok", "BDAT 2": "452 full"}, is_lmtp=True)
    assert results(transact(session, peer)) == [P, TAKEN, (452, "BDAT", False)]
    assert results(transact(session, Peer(is_lmtp=True))) == [TAKEN] * 3


def test_lmtp_counts_replies_exactly() -> None:
    """One more than there are recipients breaks the session, and changes no result."""
    session = lmtp("PIPELINING")
    session.send(MESSAGE)
    session.take_output()
    session.receive(OK * 4 + b"354 go\r\n")
    session.take_output()
    for cut, segments in cuts(b"250 a\r\n550 b\r\n250 c\r\n250 d\r\n"):
        again = lmtp("PIPELINING")
        again.send(MESSAGE)
        again.take_output()
        again.receive(OK * 4 + b"354 go\r\n")
        again.take_output()
        events = [event for segment in segments for event in again.receive(segment)]
        assert [type(event) for event in events] == [Finished, Broken], cut
        assert isinstance(events[0], Finished)
        assert results(events[0]) == [(250, D, False), (550, D, False), (250, D, False)], cut


def test_lmtp_answers_twice_for_a_recipient_that_was_given_twice() -> None:
    """RFC 2033 4.2: even with the same forward-path."""
    twice = changed(recipients=(Address("a", "b"), Address("a", "b")))
    finished = transact(lmtp(), Peer({". 1": "450 later"}, is_lmtp=True), twice)
    assert results(finished) == [(250, D, False), (450, D, False)]


# -- DSN

ASKED = changed(
    dsn=EnvelopeDsn(
        "HDRS",
        "QQ314159",
        (
            RecipientDsn(("SUCCESS", "FAILURE"), "rfc822;One+40d.example"),
            RecipientDsn(),
            RecipientDsn(("NEVER",)),
        ),
    )
)


def test_what_is_asked_about_notifications_is_passed_on() -> None:
    """RFC 3461 5.2.1: as it came, and to the recipient it came with."""
    peer = Peer()
    transact(introduced("PIPELINING", "SIZE", "DSN"), peer, ASKED)
    assert peer.log[:4] == [
        "MAIL FROM:<a@b.example> SIZE=33 RET=HDRS ENVID=QQ314159",
        "RCPT TO:<one@d.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;One+40d.example",
        "RCPT TO:<two@d.example>",
        "RCPT TO:<three@d.example> NOTIFY=NEVER",
    ]


def test_where_dsn_is_not_offered_nothing_of_it_is_said() -> None:
    """RFC 3461 5.2.2 (a)."""
    peer = Peer()
    transact(introduced("PIPELINING"), peer, ASKED)
    assert not [line for line in peer.log if "=" in line]


def test_a_parameter_that_could_be_read_as_more_fails_whom_it_is_of() -> None:
    """Nothing above makes such a one; the last place before the wire looks again."""
    bad = EnvelopeDsn(
        "",
        "",
        (RecipientDsn(original="rfc822;x\r\nDATA"), RecipientDsn(), RecipientDsn(("NEVER", "SUCCESS"))),
    )
    peer = Peer()
    finished = transact(introduced("DSN"), peer, changed(dsn=bad))
    assert [result.reply.code for result in finished.results] == [501, 250, 501]
    assert [line for line in peer.log if line.startswith("RCPT")] == ["RCPT TO:<two@d.example>"]
    whole = introduced("DSN").send(changed(dsn=EnvelopeDsn("", "a b")))
    assert whole is not None
    assert [str(result.reply.enhanced) for result in whole.results] == ["5.5.4"] * 3
