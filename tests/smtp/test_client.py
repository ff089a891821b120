"""A client session with peers that keep to the protocol: what it says, and what becomes of each recipient."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.mail.address import Address
from penstock.smtp.client import (
    Broken,
    Finished,
    Introduced,
    NotBegun,
    SessionOptions,
    SessionRefused,
    Stage,
)

from .peer import (
    ALL_KEYWORDS,
    CLOSE,
    MESSAGE,
    Peer,
    changed,
    converse,
    ehlo,
    introduced,
    new_session,
    results,
    transact,
)

PIPELINING = [ALL_KEYWORDS, ALL_KEYWORDS[1:]]
IDS = ["pipelined", "lock-step"]
TAKEN = (250, "DATA", False)


def test_a_session_begins_with_banner_and_ehlo() -> None:
    """Nothing is said before the banner, EHLO after it, nothing more before its reply."""
    session = new_session()
    assert session.take_output() == b""
    assert session.stage is Stage.BANNER
    assert session.receive(b"220-d.example ESMTP\r\n220 welcome\r\n") == []
    assert session.greeting == "d.example"
    assert session.take_output() == b"EHLO mta.example\r\n"
    assert session.stage is Stage.EHLO
    assert session.receive(ehlo(*ALL_KEYWORDS)) == [Introduced()]
    assert session.stage is Stage.IDLE
    assert session.take_output() == b""


@pytest.mark.parametrize("code", [500, 502, 504])
def test_a_peer_that_does_not_know_ehlo_is_asked_in_the_old_way(code: int) -> None:
    """RFC 5321 3.2; it offers nothing then."""
    session = new_session()
    session.receive(b"220 d.example\r\n")
    session.take_output()
    assert session.receive(b"%d what?\r\n" % code) == []
    assert session.take_output() == b"HELO mta.example\r\n"
    assert session.receive(b"250-d.example\r\n250 PIPELINING\r\n") == [Introduced()]
    session.send(MESSAGE)
    assert session.take_output() == b"MAIL FROM:<a@b.example>\r\n"


def test_with_pipelining_the_envelope_leaves_as_one_group() -> None:
    """RFC 2920 3.1: MAIL, every RCPT, and DATA as the last."""
    session = introduced(*ALL_KEYWORDS)
    session.send(MESSAGE)
    assert session.take_output() == (
        b"MAIL FROM:<a@b.example> SIZE=33\r\nRCPT TO:<one@d.example>\r\nRCPT TO:<two@d.example>\r\n"
        b"RCPT TO:<three@d.example>\r\nDATA\r\n"
    )
    assert session.receive(b"250 a\r\n250 b\r\n250 c\r\n250 d\r\n354 e\r\n") == []
    assert session.take_output() == b"Received: x\r\nSubject: y\r\n\r\nbody\r\n.\r\n"
    (finished,) = session.receive(b"250 taken\r\n")
    assert isinstance(finished, Finished)
    assert session.is_idle


def test_without_pipelining_each_command_waits_for_the_reply_before() -> None:
    """RFC 5321 4.3.1: lock-step."""
    session, peer = introduced(), Peer()
    session.send(MESSAGE)
    said = []
    while output := session.take_output():
        said.append(output.partition(b"\r\n")[0])
        session.receive(peer.take(output))
    assert said == [
        b"MAIL FROM:<a@b.example>",
        b"RCPT TO:<one@d.example>",
        b"RCPT TO:<two@d.example>",
        b"RCPT TO:<three@d.example>",
        b"DATA",
        b"Received: x",
    ]


T, P = (450, "RCPT", False), (550, "RCPT", False)
#: What the peer says; what that means for three recipients, and whether the session can be used again.
VERDICTS: dict[str, tuple[dict[str, str], list[tuple[int, str | None, bool]], bool]] = {
    "all taken": ({}, [TAKEN] * 3, True),
    "another 2yz": ({".": "251 later"}, [(251, "DATA", False)] * 3, True),
    "MAIL 4yz": ({"MAIL": "451 no"}, [(451, "MAIL", False)] * 3, True),
    "MAIL 5yz": ({"MAIL": "550 no"}, [(550, "MAIL", False)] * 3, True),
    "MAIL 5yz, RCPT 250, DATA 354": (
        {"MAIL": "550 no", "RCPT without MAIL": "250 ok", "DATA without MAIL": "354 go"},
        [(550, "MAIL", False)] * 3,
        True,
    ),
    "MAIL 4yz, RCPT 550": ({"MAIL": "451 no", "RCPT without MAIL": "550 no"}, [(451, "MAIL", False)] * 3, True),
    "MAIL 503": ({"MAIL": "503 no"}, [(503, "MAIL", False)] * 3, True),
    "one RCPT 4yz": ({"RCPT 1": "450 no"}, [TAKEN, T, TAKEN], True),
    "one RCPT 5yz": ({"RCPT 0": "550 no"}, [P, TAKEN, TAKEN], True),
    "RCPT 552": ({"RCPT 2": "552 too many"}, [TAKEN, TAKEN, (552, "RCPT", False)], True),
    "RCPT 251": ({"RCPT 2": "251 will forward"}, [TAKEN] * 3, True),
    "each RCPT another": ({"RCPT 0": "450 no", "RCPT 1": "550 no"}, [T, P, TAKEN], True),
    "all RCPT 5yz, DATA 503": ({"RCPT": "550 no", "DATA": "503 no"}, [P] * 3, True),
    "all RCPT 5yz, DATA 554": ({"RCPT": "550 no", "DATA": "554 no"}, [P] * 3, True),
    "all RCPT 5yz, DATA 354, then 250": ({"RCPT": "550 no"}, [P] * 3, True),
    "all RCPT 4yz, DATA 354, then 554": ({"RCPT": "450 no", ".": "554 nobody"}, [T] * 3, True),
    "DATA 4yz": ({"DATA": "451 no"}, [(451, "DATA", False)] * 3, True),
    "DATA 5yz": ({"DATA": "554 no"}, [(554, "DATA", False)] * 3, True),
    "DATA 5yz after one RCPT 4yz": ({"RCPT 0": "450 no", "DATA": "554 no"}, [T, (554, "DATA", False), (554, "DATA", False)], True),
    "dot 4yz": ({".": "451 no"}, [(451, "DATA", False)] * 3, True),
    "dot 5yz": ({".": "554 no"}, [(554, "DATA", False)] * 3, True),
    "dot 5yz after one RCPT 5yz": ({"RCPT 1": "550 no", ".": "554 x"}, [(554, "DATA", False), P, (554, "DATA", False)], True),
    "421 to MAIL": ({"MAIL": "421 bye"}, [(421, "MAIL", False)] * 3, False),
    "421 to the second RCPT": ({"RCPT 1": "421 bye"}, [(421, "RCPT", False)] * 3, False),
    "421 to the second RCPT, the first refused": (
        {"RCPT 0": "550 no", "RCPT 1": "421 bye"}, [P, (421, "RCPT", False), (421, "RCPT", False)], False,
    ),
    "421 to DATA": ({"DATA": "421 bye"}, [(421, "DATA", False)] * 3, False),
    "421 to the dot": ({".": "421 bye"}, [(421, "DATA", False)] * 3, False),
    "closed at MAIL": ({"MAIL": CLOSE}, [(451, None, False)] * 3, False),
    "closed at the second RCPT": ({"RCPT 1": CLOSE}, [(451, None, False)] * 3, False),
    "closed at the second RCPT, the first refused": (
        {"RCPT 0": "550 no", "RCPT 1": CLOSE}, [P, (451, None, False), (451, None, False)], False,
    ),
    "closed at DATA": ({"DATA": CLOSE}, [(451, None, False)] * 3, False),
    "closed after the dot": ({".": CLOSE}, [(451, None, True)] * 3, False),
    "closed after the dot, one RCPT refused": ({"RCPT 1": "550 no", ".": CLOSE}, [(451, None, True), P, (451, None, True)], False),
}  # fmt: skip


@pytest.mark.parametrize("keywords", PIPELINING, ids=IDS)
@pytest.mark.parametrize(("script", "expected", "is_reusable"), VERDICTS.values(), ids=VERDICTS.keys())
def test_every_recipient_gets_the_reply_that_decided_about_it(
    script: dict[str, str],
    expected: list[tuple[int, str | None, bool]],
    is_reusable: bool,
    keywords: tuple[str, ...],
) -> None:
    """The table of verdicts: at each stage 4yz, 5yz, 421, and an end without a word."""
    session = introduced(*keywords)
    finished = transact(session, Peer(script))
    assert results(finished) == expected
    assert session.is_idle is is_reusable
    assert session.is_closed is not is_reusable


@pytest.mark.parametrize("keywords", PIPELINING, ids=IDS)
@pytest.mark.parametrize("script", [script for script, _, _ in VERDICTS.values()], ids=VERDICTS.keys())
def test_replies_that_come_octet_by_octet_mean_the_same(
    script: dict[str, str], keywords: tuple[str, ...]
) -> None:
    """A reply is one however it is cut."""
    whole, cut = introduced(*keywords), introduced(*keywords)
    whole.send(MESSAGE)
    cut.send(MESSAGE)
    assert converse(cut, Peer(script), octet_by_octet=True) == converse(whole, Peer(script))


@pytest.mark.parametrize("keywords", PIPELINING, ids=IDS)
def test_mail_data_is_sent_to_nobody_only_as_an_empty_message(keywords: tuple[str, ...]) -> None:
    """RFC 2920 3.1: all RCPT refused and 354 nevertheless: a lone dot, and its 250 delivers nothing."""
    peer = Peer({"RCPT": "550 no"})
    transact(introduced(*keywords), peer)
    assert peer.data == ([b""] if "PIPELINING" in keywords else [])
    closing = Peer({"RCPT": "550 no", ".": CLOSE})
    assert results(transact(introduced(*keywords), closing)) == [P] * 3


@pytest.mark.parametrize("keywords", PIPELINING, ids=IDS)
@pytest.mark.parametrize(
    ("script", "has_rset"),
    [
        ({}, False),
        ({".": "554 no"}, False),
        ({"DATA": "451 no"}, True),
        ({"RCPT": "550 no", "DATA": "503 no"}, True),
        ({"RCPT 0": "550 no"}, False),
    ],
)
def test_a_transaction_that_is_still_open_is_reset_before_the_next(
    script: dict[str, str], has_rset: bool, keywords: tuple[str, ...]
) -> None:
    """RFC 5321 4.1.1.5: the peer would answer MAIL with 503."""
    session, peer = introduced(*keywords), Peer(script)
    transact(session, peer)
    peer.script = dict(Peer().script)
    peer.log.clear()
    assert results(transact(session, peer)) == [TAKEN] * 3
    assert ("RSET" in peer.log) is has_rset
    assert peer.log.index(next(line for line in peer.log if line.startswith("MAIL"))) == has_rset
    peer.log.clear()
    assert results(transact(session, peer)) == [TAKEN] * 3
    assert "RSET" not in peer.log


@pytest.mark.parametrize("keywords", PIPELINING, ids=IDS)
@pytest.mark.parametrize("answer", ["500 no", "451 no", "354 go", "221 bye"])
def test_a_refused_rset_ends_the_session(answer: str, keywords: tuple[str, ...]) -> None:
    """Nobody knows what transaction is open then; this one has not begun."""
    session, peer = introduced(*keywords), Peer({"DATA": "451 no"})
    transact(session, peer)
    peer.script = {**Peer().script, "RSET": answer}
    session.send(MESSAGE)
    events = converse(session, peer)
    assert isinstance(events[0], NotBegun)
    assert not [event for event in events if isinstance(event, Finished)]
    assert session.is_closed
    assert peer.data == []


@pytest.mark.parametrize("keywords", PIPELINING, ids=IDS)
def test_many_messages_go_over_one_session(keywords: tuple[str, ...]) -> None:
    """And then QUIT, alone."""
    session, peer = introduced(*keywords), Peer()
    for number in range(50):
        assert results(transact(session, peer, changed(content=b"%d\r\n" % number))) == [TAKEN] * 3
    assert peer.data == [b"Received: x\r\n%d\r\n" % number for number in range(50)]
    assert session.transactions == 50
    session.quit()
    assert session.take_output() == b"QUIT\r\n"
    assert session.stage is Stage.QUIT
    assert session.receive(b"221 bye\r\n") == []
    assert session.is_closed


@pytest.mark.parametrize(
    "octets", [b"221 bye\r\n", b"250 ok\r\n", b"500 what\r\n", b"421 bye\r\n", b"bogus\r\n"]
)
def test_whatever_is_said_to_quit_the_session_is_over(octets: bytes) -> None:
    """Errors of QUIT change nothing."""
    session = introduced()
    session.quit()
    assert not [event for event in session.receive(octets) if isinstance(event, Finished)]
    assert session.is_closed


def test_quit_waits_for_a_transaction() -> None:
    """It is never sent behind mail data: its 221 could be taken for the answer to the dot."""
    session = introduced(*ALL_KEYWORDS)
    session.send(MESSAGE)
    session.take_output()
    session.quit()
    session.receive(b"250 a\r\n250 b\r\n250 c\r\n250 d\r\n354 e\r\n")
    session.quit()
    assert session.take_output().endswith(b"\r\n.\r\n")
    session.receive(b"250 taken\r\n")
    session.quit()
    assert session.take_output() == b"QUIT\r\n"


@pytest.mark.parametrize(
    ("fields", "keywords", "code", "enhanced"),
    [
        ({"eight_bit": True}, ("PIPELINING",), 554, "5.6.3"),
        ({"smtputf8": True}, ("PIPELINING", "8BITMIME"), 554, "5.6.7"),
        ({"reverse_path": Address("é", "b")}, ("PIPELINING",), 554, "5.6.7"),
        ({"content": b"x" * 2000}, ("PIPELINING", "SIZE 1000"), 552, "5.3.4"),
        ({"header": b"A: b\n"}, (), 554, "5.6.0"),
        ({"reverse_path": Address("a", "b>\r\nRCPT TO:<evil@x")}, (), 553, "5.1.7"),
    ],
)
def test_what_a_peer_cannot_take_is_finished_without_a_word(
    fields: dict[str, object], keywords: tuple[str, ...], code: int, enhanced: str
) -> None:
    """F1, F2, B4: permanent, for all recipients, and the session can be used for the next message."""
    session = introduced(*keywords)
    finished = session.send(changed(**fields))
    assert finished is not None
    assert session.is_idle
    assert [result.recipient for result in finished.results] == [0, 1, 2]
    for result in finished.results:
        assert (result.reply.code, str(result.reply.enhanced), result.command) == (code, enhanced, None)
        assert result.reply.text.startswith("Penstock internal: ")
    assert session.take_output() == b""
    assert session.transactions == 0
    assert results(transact(session, Peer())) == [TAKEN] * 3


@pytest.mark.parametrize("keywords", [("PIPELINING",), ()], ids=IDS)
def test_recipients_that_a_peer_cannot_take_do_not_hold_up_the_others(keywords: tuple[str, ...]) -> None:
    """F2 and B4 for each recipient; the others are sent to, and every one is named once."""
    recipients = (
        Address("é", "d"),
        Address("ok", "d"),
        Address("x", "y>\r\nDATA"),
        Address("no", "d"),
        Address("\ud800", "d"),
    )
    session, peer = introduced(*keywords), Peer({"RCPT 1": "550 no"})
    finished = transact(session, peer, changed(recipients=recipients))
    assert [(result.reply.code, result.command) for result in finished.results] == [
        (554, None),
        (250, "DATA"),
        (553, None),
        (550, "RCPT"),
        (554, None),
    ]
    assert [line for line in peer.log if line.startswith("RCPT")] == ["RCPT TO:<ok@d>", "RCPT TO:<no@d>"]
    only = session.send(changed(recipients=recipients[:1]))
    assert only is not None
    assert [(result.recipient, result.reply.code) for result in only.results] == [(0, 554)]


def test_a_message_for_nobody_is_finished() -> None:
    """There is nothing to say."""
    assert introduced().send(changed(recipients=())) == Finished(())


@pytest.mark.parametrize("name", ["", "a b", "a\r\nMAIL FROM:<>", "é", "x" * 300])
def test_a_name_of_ours_that_is_more_than_a_word_is_a_mistake(name: str) -> None:
    """EHLO is a command too."""
    with pytest.raises(ValueError, match="name"):
        SessionOptions(name)


def test_a_transaction_cannot_begin_within_another() -> None:
    """A mistake of ours, and so is one before the introduction."""
    with pytest.raises(RuntimeError):
        new_session().send(MESSAGE)
    session = introduced()
    session.send(MESSAGE)
    with pytest.raises(RuntimeError):
        session.send(MESSAGE)


#: What may come in place of the first word about a transaction, on a session that had served another.
ENDS: dict[str, bytes | None] = {
    "an end": None,
    "421": b"421 idle too long\r\n",
    "two lines of 421": b"421-busy\r\n421 bye\r\n",
    "garbage": b"bogus\r\n",
    "221": b"221 bye\r\n",
}


@pytest.mark.parametrize("keywords", PIPELINING, ids=IDS)
@pytest.mark.parametrize("octets", ENDS.values(), ids=ENDS.keys())
def test_a_session_that_ended_before_a_transaction_has_tried_nothing(
    octets: bytes | None, keywords: tuple[str, ...]
) -> None:
    """On a session that had served others, and before the peer said a word to this one; but a first transaction has begun."""
    session = introduced(*keywords)
    transact(session, Peer())
    session.send(MESSAGE)
    session.take_output()
    events = session.receive(octets) if octets is not None else session.lost("the peer closed the connection")
    assert events[0] == NotBegun()
    assert not [event for event in events if isinstance(event, Finished)]
    assert session.is_closed

    first = introduced(*keywords)
    first.send(MESSAGE)
    first.take_output()
    events = first.receive(octets) if octets is not None else first.lost("the peer closed the connection")
    assert isinstance(events[0], Finished)


@pytest.mark.parametrize("keywords", PIPELINING, ids=IDS)
def test_a_word_about_the_transaction_and_a_deadline_are_a_beginning(keywords: tuple[str, ...]) -> None:
    """A reply to RSET is none, one to MAIL is; and a peer that lets the deadline pass was there."""
    for said, end, begun in (
        (b"250 reset\r\n", "421 bye", False),
        (b"250 reset\r\n250 ok\r\n", "421 bye", True),
        (b"", "", True),
    ):
        session = introduced(*keywords)
        transact(session, Peer({"DATA": "451 no"}))
        session.send(MESSAGE)
        for line in said.splitlines(keepends=True):
            session.take_output()
            assert session.receive(line) == []
        session.take_output()
        events = session.receive(end.encode() + b"\r\n") if end else session.late()
        assert isinstance(events[0], Finished if begun else NotBegun)
        assert session.is_closed


@pytest.mark.parametrize("keywords", PIPELINING, ids=IDS)
def test_without_rset_a_session_with_an_open_transaction_takes_leave(keywords: tuple[str, ...]) -> None:
    """``enable_rset = false`` is for peers that do not take it well."""
    session, peer = introduced(*keywords, enable_rset=False), Peer({"DATA": "451 no"})
    session.send(MESSAGE)
    events = converse(session, peer)
    assert [type(event) for event in events] == [Finished]
    assert peer.log[-1] == "QUIT"
    assert session.is_closed
    clean, peer = introduced(*keywords, enable_rset=False), Peer()
    transact(clean, peer)
    assert clean.is_idle


def test_without_pipelining_of_ours_a_peer_that_offers_it_is_asked_step_by_step() -> None:
    """``enable_pipelining = false``."""
    session = introduced(*ALL_KEYWORDS, enable_pipelining=False)
    session.send(MESSAGE)
    assert session.take_output().count(b"\r\n") == 1


def test_without_8bit_checks_what_is_8bit_goes_as_it_is() -> None:
    """``ignore_8bit_checks``: no BODY is said, for it was not offered."""
    session, peer = introduced("PIPELINING", ignore_8bit_checks=True), Peer()
    finished = transact(session, peer, changed(content=b"\xe9\r\n", eight_bit=True))
    assert results(finished) == [TAKEN] * 3
    assert peer.log[0] == "MAIL FROM:<a@b.example>"
    assert peer.data[0].endswith(b"\xe9\r\n")


def test_an_end_while_idle_breaks_the_session_and_nothing_else() -> None:
    """No result; a second end says nothing more."""
    session = introduced()
    assert session.lost("the peer closed the connection") == [
        Broken("the peer closed the connection", Stage.IDLE)
    ]
    assert session.lost("again") == []
    assert session.receive(b"250 ok\r\n") == []
    assert session.is_closed


@pytest.mark.parametrize(
    ("octets", "stage"),
    [(b"421 busy\r\n", Stage.BANNER), (b"554 no\r\n", Stage.BANNER), (b"521 no mail\r\n", Stage.BANNER), (b"250 odd\r\n", Stage.BANNER)],
)  # fmt: skip
def test_a_banner_that_is_no_220_refuses_the_session(octets: bytes, stage: Stage) -> None:
    """RFC 5321 3.1, RFC 7504; what that means for mail is not this session's to say."""
    session = new_session()
    (event,) = session.receive(octets)
    assert isinstance(event, SessionRefused)
    assert event.stage is stage
    assert event.reply.code == int(octets[:3])
    assert session.is_closed
    assert session.take_output() == b""


SCRIPTS = st.dictionaries(
    st.sampled_from([
        "MAIL", "RCPT 0", "RCPT 1", "RCPT 2", "RCPT", "DATA", ".", "RSET", "RCPT without MAIL", "DATA without MAIL",
    ]),
    st.sampled_from([
        "250 ok", "251 ok", "354 go", "450 later", "550 no", "503 order", "421 bye", CLOSE, "221 bye", "bogus",
        "250-a\r\n500 b", "250 a\r\n250 b",
    ]),
)  # fmt: skip


@given(st.lists(SCRIPTS, min_size=1, max_size=3), st.sampled_from(PIPELINING), st.booleans())
def test_whatever_a_peer_says_each_transaction_names_each_recipient_once(
    scripts: list[dict[str, str]], keywords: tuple[str, ...], octet_by_octet: bool
) -> None:
    """And only one that the peer took at the dot is a success; what may have been taken is uncertain."""
    session, peer = introduced(*keywords), Peer()
    for script in scripts:
        if session.is_closed:
            break
        peer.script = {**Peer().script, **script}
        session.send(MESSAGE)
        events = converse(session, peer, octet_by_octet=octet_by_octet)
        if any(isinstance(event, NotBegun) for event in events):
            assert session.is_closed
            assert session.transactions > 1
            return
        (finished,) = [event for event in events if isinstance(event, Finished)]
        assert [result.recipient for result in finished.results] == [0, 1, 2]
        assert session.is_idle or session.is_closed
        for result in finished.results:
            if result.reply.is_positive:
                assert result.command == "DATA"
                assert len(peer.data) >= 1
                assert script.get(".", "250").startswith(("250", "251"))
            if result.is_uncertain:
                assert result.reply.is_temporary
                assert peer.data[-1] != b""
