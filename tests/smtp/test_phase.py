"""The server's state table, each phase with each verb, against the session that follows it."""

from __future__ import annotations

from itertools import product

import msgspec
import pytest

from penstock.smtp import extension
from penstock.smtp.phase import EXPECTED, TRANSITIONS, Phase, Verb

from .driver import ENVELOPE, WIDE, Drive

#: RFC 5321 4.1.4, 3030 2, 3207 4 and 4954 4, written out: rows are phases, columns verbs; ``-`` is 503.
TABLE = """
         HELO  EHLO  MAIL  RCPT  DATA  BDAT   STARTTLS AUTH  XCLIENT RSET  NOOP   VRFY   HELP   QUIT
START    READY READY -     -     -     -      -        -     -       START START  START  START  CLOSED
READY    READY READY MAIL  -     -     -      TLS      READY START   READY READY  READY  READY  CLOSED
MAIL     READY READY -     RCPT  -     -      -        -     -       READY MAIL   MAIL   MAIL   CLOSED
RCPT     READY READY -     RCPT  DATA  CHUNKS -        -     -       READY RCPT   RCPT   RCPT   CLOSED
CHUNKS   READY READY -     -     -     CHUNKS -        -     -       READY CHUNKS CHUNKS CHUNKS CLOSED
"""
HEAD, *ROWS = [line.split() for line in TABLE.strip().splitlines()]
CELLS = [
    (Phase[row[0]], Verb[verb], target) for row in ROWS for verb, target in zip(HEAD, row[1:], strict=True)
]

#: How to come to a phase, and a well-formed line for each verb.
WAYS = {
    Phase.START: [],
    Phase.READY: [b"EHLO client.example\r\n"],
    Phase.MAIL: [b"EHLO client.example\r\n", b"MAIL FROM:<a@b.example>\r\n"],
    Phase.RCPT: [b"EHLO client.example\r\n", b"MAIL FROM:<a@b.example>\r\n", b"RCPT TO:<c@d.example>\r\n"],
}
WAYS[Phase.CHUNKS] = [*WAYS[Phase.RCPT], b"BDAT 3\r\none"]
#: A server that offers all it could.
ALL = msgspec.structs.replace(WIDE, extensions=frozenset(extension.ORDER), auth_needs_tls=False)
LINES = {
    Verb.HELO: b"HELO client.example",
    Verb.EHLO: b"EHLO client.example",
    Verb.MAIL: b"MAIL FROM:<a@b.example>",
    Verb.RCPT: b"RCPT TO:<c@d.example>",
    Verb.DATA: b"DATA",
    Verb.BDAT: b"BDAT 0",
    Verb.STARTTLS: b"STARTTLS",
    Verb.AUTH: b"AUTH PLAIN AHVzZXIAc2VjcmV0",
    Verb.XCLIENT: b"XCLIENT ADDR=192.0.2.1",
    Verb.RSET: b"RSET",
    Verb.NOOP: b"NOOP",
    Verb.VRFY: b"VRFY somebody",
    Verb.HELP: b"HELP",
    Verb.QUIT: b"QUIT",
}
POSITIVE = {
    Verb.DATA: b"354",
    Verb.VRFY: b"252",
    Verb.HELP: b"214",
    Verb.QUIT: b"221",
    Verb.STARTTLS: b"220",
    Verb.AUTH: b"235",
    Verb.XCLIENT: b"220",
}


def probe(drive: Drive) -> Phase:
    """The phase that a session behaves like, by what it says to RCPT, MAIL and DATA."""
    if drive.session.is_closed:
        return Phase.CLOSED
    if drive.session.is_starting_tls:
        return Phase.TLS
    if drive.session.is_receiving_data:
        return Phase.CHUNKS if drive.feed(b"BDAT 0\r\n").startswith(b"250") else Phase.DATA
    if drive.feed(b"DATA\r\n").startswith(b"354"):
        return Phase.RCPT
    if drive.feed(b"RCPT TO:<x@y.example>\r\n").startswith(b"250"):
        return Phase.MAIL
    return Phase.READY if drive.feed(b"MAIL FROM:<>\r\n").startswith(b"250") else Phase.START


def test_the_table_is_that_of_the_rfc() -> None:
    """Every pair of a phase in which commands are read and a verb is in the table here, and says the same there."""
    assert {(phase, verb) for phase, verb, _ in CELLS} == set(product(WAYS, Verb))
    for phase, verb, target in CELLS:
        found = TRANSITIONS[phase].get(verb)
        assert (found.name if found else "-") == target, (phase, verb)
    assert {phase for phase in Phase if not TRANSITIONS[phase]} == set(Phase) - set(WAYS)
    assert set(TRANSITIONS) == set(Phase)
    assert set(EXPECTED) == set(WAYS)


@pytest.mark.parametrize(
    ("phase", "verb", "target"), CELLS, ids=[f"{phase.name} {verb.name}" for phase, verb, _ in CELLS]
)
def test_a_session_follows_the_table(phase: Phase, verb: Verb, target: str) -> None:
    """A permitted command leads where the table says; any other is answered 503 5.5.1 and changes nothing."""
    drive = Drive(ALL)
    for line in WAYS[phase]:
        drive.feed(line)
    said = drive.feed(LINES[verb] + b"\r\n")
    if (phase, verb) == (Phase.START, Verb.BDAT):
        # nothing was offered yet, and octets follow it
        assert said.startswith(b"502 5.5.1 ")
        assert drive.session.is_closed
    elif target == "-":
        assert said.startswith(b"503 5.5.1 ")
        assert probe(drive) is phase
    else:
        assert said.startswith(POSITIVE.get(verb, b"250"))
        assert probe(drive) is Phase[target]


def lowered(line: bytes) -> bytes:
    """The line with its verb in lower case."""
    verb, space, argument = line.partition(b" ")
    return verb.lower() + space + argument


def swapped(line: bytes) -> bytes:
    """The line with every other letter of its verb in lower case."""
    verb, space, argument = line.partition(b" ")
    return bytes(octet | 0x20 if place % 2 else octet for place, octet in enumerate(verb)) + space + argument


@pytest.mark.parametrize("verb", list(Verb), ids=lambda verb: verb.name)
def test_verbs_are_read_in_any_case(verb: Verb) -> None:
    """RFC 5321 2.4."""
    phase = next(
        phase
        for phase in WAYS
        if (verb in TRANSITIONS[phase] and phase is not Phase.START) or verb is Verb.QUIT
    )
    said = []
    for line in (LINES[verb], lowered(LINES[verb]), swapped(LINES[verb])):
        drive = Drive(ALL)
        for way in WAYS[phase]:
            drive.feed(way)
        said.append(drive.feed(line + b"\r\n"))
    assert said[0] == said[1] == said[2]
    assert said[0][:1] in b"23"


@pytest.mark.parametrize("verb", [Verb.EHLO, Verb.HELO, Verb.RSET], ids=lambda verb: verb.name)
def test_an_open_transaction_is_forgotten(verb: Verb) -> None:
    """RFC 5321 4.1.4: recipients of before are no recipients of the next message."""
    drive = Drive(ALL)
    drive.feed(b"EHLO client.example\r\nMAIL FROM:<old@b.example>\r\nRCPT TO:<old@d.example>\r\n")
    drive.feed(LINES[verb] + b"\r\nMAIL FROM:<new@b.example>\r\nRCPT TO:<new@d.example>\r\nDATA\r\n")
    drive.feed(b"text\r\n.\r\n")
    (message,) = drive.seen.messages
    assert str(message.mail.reverse_path) == "new@b.example"
    assert [str(path) for path in message.forward_paths] == ["new@d.example"]


def test_a_refused_hello_leaves_the_session_as_it_was() -> None:
    """RFC 5321 4.1.4: the state is that of before the command."""
    drive = Drive(ALL)
    drive.feed(b"EHLO client.example\r\nMAIL FROM:<a@b.example>\r\n")
    assert drive.feed(b"EHLO\r\n").startswith(b"501")
    assert probe(drive) is Phase.MAIL


def test_a_message_ends_its_transaction_whatever_becomes_of_it() -> None:
    """RFC 5321 4.1.1.4: after the reply to mail data, the session is ready for MAIL again."""
    for text in (b"text", b"spam", b"bare\n"):
        drive = Drive(ALL)
        drive.feed(ENVELOPE)
        drive.feed(text + b"\r\n.\r\n")
        assert probe(drive) is Phase.READY
