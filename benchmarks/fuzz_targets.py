"""What a fuzzer feeds, and what must hold whatever it feeds: no exception, bounded memory and output, and nothing that was not said.

Each target takes segments and returns what happened, as a text: a stream that makes something new happen is worth changing further.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Final

import msgspec

from penstock.mail.address import Address
from penstock.mail.configuration import EnableTls, LineEndings
from penstock.mail.reply import printable, reply
from penstock.mail.tls import TlsFacts
from penstock.smtp import extension
from penstock.smtp.client import (
    ClientEvent,
    ClientSession,
    Credentials,
    Finished,
    Introduced,
    NotBegun,
    SessionOptions,
    TlsGranted,
)
from penstock.smtp.proxy import ProxyError, ProxyReader
from penstock.smtp.server import (
    Hello,
    MessageGiven,
    Replying,
    ServerEvent,
    ServerLimits,
    ServerSession,
)
from penstock.smtp.transmission import Transmission

#: Takes segments and draws of chance, says what happened; AssertionError if that must not be.
Target = Callable[[list[bytes], random.Random], str]

MESSAGE_LIMIT: Final = 2000
RECIPIENTS: Final = 3
#: Octets beyond mail data that a server session may hold: the longest line it waits for (RFC 4954 4).
LINE_LIMIT: Final = 16_384
#: Octets that a server says to one line of a client; EHLO's reply is the longest.
OUTPUT_EACH: Final = 1024
#: Words that say what happened.
WORDS_LIMIT: Final = 100
_REPLY_LINE: Final = re.compile(rb"[2-5][0-9][0-9][ -][ -~]{0,506}")
_FACTS: Final = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384")


def serve(segments: list[bytes], chance: random.Random) -> str:
    """A server session, its events answered by chance."""
    limits = ServerLimits(
        hostname="mta.example",
        banner="Penstock ESMTP",
        max_message_size=MESSAGE_LIMIT,
        max_messages_per_connection=5,
        max_recipients_per_message=RECIPIENTS,
        line_length_hard_limit=chance.choice((100, 998)),
        invalid_line_endings=chance.choice(list(LineEndings)),
        extensions=frozenset(extension.ORDER) if chance.random() < 0.8 else extension.STANDARD,
        auth_needs_tls=chance.random() < 0.5,
        reviews_replies=chance.random() < 0.2,
    )
    session = ServerSession(limits)
    session.greet()
    happened = Happened()
    for segment in [b"", *segments]:
        was_closed = session.is_closed
        session.feed(segment)
        while (event := session.next_event()) is not None or session.has_work:
            if event is not None:
                happened.note(type(event).__name__)
                _answer(session, event, chance)
        said = session.take_output()
        assert not (was_closed and said), "a session that is over said something"
        _check_output(said, segment, happened)
        if session.is_starting_tls:
            session.secured()
        # what waits for a handshake, or stands behind the end, is the shell's to stop
        assert session.buffered <= MESSAGE_LIMIT + LINE_LIMIT + len(segment), (
            f"{session.buffered} octets are held"
        )
    return str(happened)


class Happened:
    """What happened, whatever the order; the beginning of it, where it is long."""

    def __init__(self) -> None:
        self._words: list[str] = []

    def note(self, word: str) -> None:
        """Something happened."""
        if len(self._words) < WORDS_LIMIT and self._words[-1:] != [word]:
            self._words.append(word)

    def __str__(self) -> str:
        return " ".join(sorted(set(self._words)))


def _check_output(said: bytes, segment: bytes, happened: Happened) -> None:
    lines = said.split(b"\r\n")
    assert lines.pop() == b"", "the output does not end with a line's end"
    for line in lines:
        assert _REPLY_LINE.fullmatch(line), f"{line!r} is no reply"
        happened.note(line[:9].decode("ascii"))
    # what had come before may be the beginning of a line
    assert len(said) <= OUTPUT_EACH * (segment.count(b"\n") + 2), (
        f"{len(said)} octets are said to {len(segment)}"
    )


def _answer(session: ServerSession, event: ServerEvent, chance: random.Random) -> None:
    if isinstance(event, MessageGiven):
        assert 1 <= len(event.forward_paths) <= RECIPIENTS
        # a line end that is mended has one octet more
        assert len(event.content) <= MESSAGE_LIMIT
    if isinstance(event, Replying):
        session.say(event.reply)
    elif chance.random() < 0.15:
        session.refuse(
            reply(*chance.choice(((450, "4.2.1", "later"), (550, "5.7.1", "no"), (421, "4.3.2", "bye"))))
        )
    elif isinstance(event, Hello):
        session.accept()
    elif isinstance(event, MessageGiven):
        session.accept(reply(250, "2.0.0", "OK ids=1"))
    else:
        session.accept()


_MESSAGE: Final = Transmission(
    Address("a", "b.example"),
    tuple(Address(name, "d.example") for name in ("one", "two", "three")),
    b"Received: x\r\n",
    b"Subject: y\r\n\r\nbody\r\n",
    eight_bit=False,
    smtputf8=False,
)


def send(segments: list[bytes], chance: random.Random) -> str:
    """A client session that sends a message as soon as it may, and again."""
    return _Sending(chance).run(segments)


class _Sending:
    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._session = ClientSession(
            SessionOptions(
                "mta.example",
                enable_tls=chance.choice(list(EnableTls)),
                credentials=Credentials("anna", "hidden-word") if chance.random() < 0.3 else None,
                allow_auth_without_tls=chance.random() < 0.5,
                allow_auth_without_valid_certificate=chance.random() < 0.5,
                enable_pipelining=chance.random() < 0.8,
                enable_rset=chance.random() < 0.8,
                is_lmtp=chance.random() < 0.2,
            )
        )
        self._is_introduced = False
        self._begun = self._ended = 0
        self._happened = Happened()

    def run(self, segments: list[bytes]) -> str:
        session = self._session
        # a shell that is slow to write is one that has not been asked yet
        is_slow = self._chance.random() < 0.2
        for segment in segments:
            if not is_slow or self._chance.random() < 0.3:
                session.take_output()
            was_closed = session.is_closed
            events = session.receive(segment)
            assert not (was_closed and events), "a session that is over did something"
            self._handle(events)
        self._handle(session.late() if self._chance.random() < 0.5 else session.lost("closed"))
        assert session.is_closed
        assert session.receive(b"250 ok\r\n") == []
        assert session.take_output() == b"", "a session that is over says something"
        assert self._begun == self._ended, "a transaction was lost"
        return str(self._happened)

    def _handle(self, events: list[ClientEvent]) -> None:
        session = self._session
        for event in events:
            assert "hidden-word" not in repr(event)
            self._happened.note(_name(event))
            if isinstance(event, Introduced):
                self._is_introduced = True
            elif isinstance(event, TlsGranted) and not session.is_closed:
                session.take_output()
                self._handle(
                    session.secured(msgspec.structs.replace(_FACTS, is_verified=self._chance.random() < 0.5))
                )
            elif isinstance(event, Finished):
                self._ended += 1
                assert [result.recipient for result in event.results] == [0, 1, 2]
                for text in [result.reply.text.replace("\n", "") for result in event.results]:
                    assert printable(text) == text
            elif isinstance(event, NotBegun):
                self._ended += 1
        if self._is_introduced and session.is_idle:
            finished = session.send(_MESSAGE)
            self._begun += finished is None


def _name(event: ClientEvent) -> str:
    if isinstance(event, Finished):
        return "Finished " + ",".join(
            f"{result.reply.code}{result.command}{'?' * result.is_uncertain}" for result in event.results
        )
    return type(event).__name__


def pass_on(segments: list[bytes], chance: random.Random) -> str:
    """A PROXY header."""
    reader = ProxyReader()
    fed = b""
    for segment in segments:
        fed += segment
        try:
            header = reader.feed(segment)
        except ProxyError:
            return "error"
        if header is not None:
            assert fed.endswith(reader.rest)
            return f"{header.is_local} {':' in header.source_address}"
        assert len(fed) <= 4096 + 16, "a header has no end"
    return "more"
