"""Drives a server session as a shell does, with a policy that is plain to see in a dialogue; cuts octets in every way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec

from penstock.mail.configuration import LineEndings
from penstock.mail.reply import Reply, reply
from penstock.smtp.server import (
    AuthGiven,
    DataAsked,
    MailGiven,
    MessageGiven,
    RecipientGiven,
    Refused,
    Replying,
    ServerEvent,
    ServerLimits,
    ServerSession,
)

LIMITS = ServerLimits(
    hostname="mta.example",
    banner="Penstock ESMTP",
    max_message_size=1000,
    max_messages_per_connection=3,
    max_recipients_per_message=3,
    line_length_hard_limit=100,
    invalid_line_endings=LineEndings.DENY,
)
#: Limits that no test comes near by accident.
WIDE = msgspec.structs.replace(
    LIMITS,
    max_message_size=20 * 1024 * 1024,
    max_messages_per_connection=1_000_000,
    max_recipients_per_message=1_000_000,
    line_length_hard_limit=998,
)

#: A session up to the reply 354.
ENVELOPE = b"EHLO client.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n"

Decide = Callable[[ServerEvent], Reply | None]


def policy(event: ServerEvent) -> Reply | None:
    """What the tests' server says: None to accept. Addresses and content name what is to happen to them."""
    if isinstance(event, MailGiven) and str(event.command.reverse_path).startswith("banned@"):
        return reply(550, "5.7.1", "not you")
    if isinstance(event, RecipientGiven):
        return {
            "unknown": reply(550, "5.1.1", "no such user"),
            "later": reply(450, "4.2.1", "not now"),
            "full": reply(421, "4.3.2", "closing"),
        }.get(event.forward_path.local_part)
    if isinstance(event, AuthGiven):
        known = event.credentials is not None and event.credentials.password == "secret"
        return None if known else reply(535, "5.7.8", "authentication failed")
    if isinstance(event, MessageGiven) and b"spam" in event.content:
        return reply(550, "5.7.1", "no spam")
    return None


def no_data(event: ServerEvent) -> Reply | None:
    """Refuses every DATA."""
    return reply(451, "4.3.0", "no mail data now") if isinstance(event, DataAsked) else None


class Seen(NamedTuple):
    """What came of a session: all octets it wrote, its events in order, what it refused, and whether it is over."""

    output: bytes
    events: list[ServerEvent]
    refusals: list[Refused]
    is_closed: bool

    @property
    def messages(self) -> list[MessageGiven]:
        """The messages that were given."""
        return [event for event in self.events if isinstance(event, MessageGiven)]

    @property
    def codes(self) -> list[int]:
        """The codes of the replies, the banner left out."""
        return [int(line[:3]) for line in self.output.split(b"\r\n")[1:-1] if line[3:4] == b" "]


class Drive:
    """A session on which octets are fed and every event is answered by ``decide``; messages are accepted with their number."""

    def __init__(self, limits: ServerLimits = LIMITS, decide: Decide = policy) -> None:
        self.session = ServerSession(limits)
        self.session.greet()
        self.events: list[ServerEvent] = []
        self.output = self.session.take_output()
        self._decide = decide

    def feed(self, octets: bytes) -> bytes:
        """Feed octets, answer what comes of them, go on until there is nothing to do; what the session said to it."""
        session = self.session
        session.feed(octets)
        said = b""
        while True:
            event = session.next_event()
            if event is not None:
                self._answer(event)
            elif not session.has_work:
                break
        said += session.take_output()
        self.output += said
        return said

    def _answer(self, event: ServerEvent) -> None:
        self.events.append(event)
        refusal = self._decide(event)
        if refusal is not None:
            self.session.refuse(refusal)
        elif isinstance(event, MessageGiven):
            number = sum(isinstance(each, MessageGiven) for each in self.events)
            self.session.accept(reply(250, "2.0.0", f"OK ids={number}"))
        elif isinstance(event, Replying):
            self.session.say(event.reply)
        else:
            self.session.accept()

    @property
    def seen(self) -> Seen:
        """What has come of it so far."""
        return Seen(self.output, self.events, self.session.refusals, self.session.is_closed)


def serve(segments: Iterable[bytes], limits: ServerLimits = LIMITS, decide: Decide = policy) -> Seen:
    """What comes of a session that is fed these segments."""
    drive = Drive(limits, decide)
    for segment in segments:
        drive.feed(segment)
    return drive.seen


def octet_by_octet(octets: bytes) -> list[bytes]:
    """One segment for each octet."""
    return [octets[place : place + 1] for place in range(len(octets))]


def cuts(octets: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """The three ways in which octets arrive: whole, octet by octet, and split in two at every offset; each with its name."""
    yield "whole", [octets]
    yield "octet by octet", octet_by_octet(octets)
    for offset in range(1, len(octets)):
        yield f"split at {offset}", [octets[:offset], octets[offset:]]


def in_pieces(octets: bytes, sizes: Iterable[int]) -> list[bytes]:
    """Segments of these sizes, one by one; what is left is the last."""
    pieces = []
    for size in sizes:
        if not octets:
            break
        pieces.append(octets[:size])
        octets = octets[size:]
    return [*pieces, octets] if octets else pieces
