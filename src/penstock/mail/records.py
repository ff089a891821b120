"""What the spool writes down: a message accepted, the outcome of an attempt, an expiry, what was done by an order, and notes about things that
are no message.

These records are the truth. Each carries all that its events need, so that events can be derived from records alone, at any time, with
the same ids. Outcomes are of one recipient in one attempt: Accepted, Deferred or Failed. The message of a record has the queue that it was in
then, whatever queue it was accepted for.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

import msgspec

from penstock.mail.address import Address, ReversePath
from penstock.mail.directive import Action, Order
from penstock.mail.dsn import EnvelopeDsn
from penstock.mail.duration import WallTime
from penstock.mail.ids import MessageId, SessionId
from penstock.mail.queue_name import QueueName
from penstock.mail.reply import Reply
from penstock.mail.schedule import Schedule
from penstock.mail.tls import TlsFacts

#: The beginning of every reply text that is ours and not a peer's; rules recognise it.
INTERNAL: Final = "Penstock internal: "


class Reception(msgspec.Struct, frozen=True, gc=False):
    """How a message came in. One record serves all messages of a session.

    ``protocol`` is ``SMTP``, ``ESMTP``, ``ESMTPS``, ``ESMTPA`` or ``ESMTPSA`` (RFC 3848); ``listener`` is ours as ``address:port``.
    ``authentication_id`` and ``authorization_id`` are of AUTH (RFC 4954), "" without one. ``proxy_address`` is the host that passed the
    connection on (XCLIENT, PROXY), "" for none: the peer is then as that host says.
    """

    protocol: str
    peer_address: str
    peer_port: int
    ehlo_domain: str
    listener: str
    hostname: str
    session_id: SessionId
    tls: TlsFacts | None = None
    authentication_id: str = ""
    authorization_id: str = ""
    proxy_address: str = ""


#: Where no session has asked.
NO_SESSION: Final = Reception("", "", 0, "", "", "", SessionId(""))

#: What a policy may keep with a message, by name.
MetaValue = str | int | float | bool | None


class MessageRecord(msgspec.Struct, frozen=True, gc=False):
    """One message of a transaction: the recipients of one domain (a part), with what it needs to be sent.

    ``recipients`` keep their places for good: outcomes name them by index. ``added_header`` goes before ``content``, which parts of one
    transaction share. ``eight_bit`` is whether the content has octets above 127; ``smtputf8`` whether it
    needs SMTPUTF8. ``is_canonical``: every line of the content ends with CRLF and none begins with a dot, so it can go on a wire as it is.
    ``dsn`` None: nothing was asked about notifications (RFC 3461). ``meta`` is the policy's own. ``schedule`` is when it may be delivered, as
    its sender wants it; None is at any time.
    """

    id: MessageId
    queue: QueueName
    reverse_path: ReversePath
    recipients: tuple[Address, ...]
    added_header: bytes
    content: bytes
    created: WallTime
    reception: Reception
    eight_bit: bool = False
    smtputf8: bool = False
    is_canonical: bool = False
    dsn: EnvelopeDsn | None = None
    meta: dict[str, MetaValue] = {}
    schedule: Schedule | None = None

    @property
    def size(self) -> int:
        """Octets of the message as it is sent, before dot transparency."""
        return len(self.added_header) + len(self.content)


class Verdict(Enum):
    """What an attempt meant for one recipient."""

    ACCEPTED = "Accepted"
    DEFERRED = "Deferred"
    FAILED = "Failed"


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The outcome of one recipient in one attempt.

    ``recipient`` is its index in the message; ``reply`` the peer's, or ours beginning with INTERNAL; ``command`` what it answered, None
    where nothing was asked; ``is_uncertain`` says that the peer may have taken the message although the verdict is Deferred (the
    connection ended between the final dot and its reply).
    """

    recipient: int
    verdict: Verdict
    reply: Reply
    command: str | None = None
    is_uncertain: bool = False


class Peer(msgspec.Struct, frozen=True, gc=False):
    """The other side of a delivery: its host name as the MX plan has it, its address and port, our address, and the session's id.

    ``protocol`` is ``LMTP``, ``ESMTP``, or ``SMTP`` where EHLO was not known; the first two with S for TLS and A for AUTH (RFC 3848).
    """

    name: str
    address: str
    port: int
    source_address: str
    session_id: SessionId
    tls: TlsFacts | None = None
    protocol: str = "ESMTP"


class AttemptRecord(msgspec.Struct, frozen=True, gc=False):
    """What became of an attempt for each recipient that it was made for.

    ``attempts`` counts the attempts spent so far, this one included; a failure before any transaction (no such domain) spends none.
    ``peer`` is None where there was no session. ``due`` is when the next attempt may begin, None if there will be none.
    """

    message: MessageRecord
    time: WallTime
    attempts: int
    site: str
    source: str
    peer: Peer | None
    outcomes: tuple[Outcome, ...]
    due: WallTime | None = None


class ExpirationRecord(msgspec.Struct, frozen=True, gc=False):
    """Recipients given up because the message's time is over; ``site`` is "" if none was known."""

    message: MessageRecord
    time: WallTime
    attempts: int
    site: str
    recipients: tuple[int, ...]
    reply: Reply


class RemovalRecord(msgspec.Struct, frozen=True, gc=False):
    """Recipients taken out of the queue by an order: bounced, or deleted, as ``order.action`` says; ``site`` is "" if none was known.

    ``reply`` is what the events tell. With ``order.suppress_logging`` no event is made, and the totals have it all the same.
    """

    message: MessageRecord
    time: WallTime
    attempts: int
    site: str
    recipients: tuple[int, ...]
    reply: Reply
    order: Order


class RebindRecord(msgspec.Struct, frozen=True, gc=False):
    """A message goes from its queue, which ``message`` has, into ``queue``, by an order. ``recipients`` were waiting.

    ``due`` is when it may be tried from now on, None if that stays as it was; attempts and age do.
    """

    message: MessageRecord
    time: WallTime
    attempts: int
    recipients: tuple[int, ...]
    queue: QueueName
    due: WallTime | None
    order: Order


class FlushRecord(msgspec.Struct, frozen=True, gc=False):
    """A message that waited is due at ``due``, by an order. ``recipients`` were waiting."""

    message: MessageRecord
    time: WallTime
    attempts: int
    recipients: tuple[int, ...]
    due: WallTime
    order: Order


class RejectionRecord(msgspec.Struct, frozen=True, gc=False):
    """A 4yz or 5yz that we gave to a client: a note, for there is no message. Addresses are as far as the transaction had come.

    ``tenant`` is whom the session or the transaction was for, None where nobody had said.
    """

    id: MessageId
    time: WallTime
    reception: Reception
    reply: Reply
    command: str
    reverse_path: str
    recipient: str
    tenant: str | None = None


#: Characters of a policy's error, traceback and all.
POLICY_ERROR_LIMIT: Final = 8192


class PolicyErrorRecord(msgspec.Struct, frozen=True, gc=False):
    """A hook of the policy that raised, was late, or returned nonsense: a note.

    ``error`` says what, with the traceback where there is one, in POLICY_ERROR_LIMIT characters. ``reply`` is what the client was told for it, None
    where nothing was refused.
    """

    id: MessageId
    time: WallTime
    reception: Reception
    hook: str
    error: str
    reply: Reply | None = None


class SpoolHealthRecord(msgspec.Struct, frozen=True, gc=False):
    """The spool fell ill or is well again: a note. ``text`` says what is wrong, or what was.

    ``is_refusing``: new mail is refused. ``is_paused``: nothing is delivered, for no outcome can be recorded.
    """

    id: MessageId
    time: WallTime
    is_refusing: bool
    is_paused: bool
    text: str


class DirectiveChange(Enum):
    """What became of a directive."""

    GIVEN = "given"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class DirectiveRecord(msgspec.Struct, frozen=True, gc=False):
    """A directive was given, or is over: a note, made once for a server.

    ``directive`` is its id, ``about`` what it is about, in words (``tenant acme``), and ``tenant`` whose mail alone, where that is given.
    ``author`` is who made the change, "" where nobody did, and ``expires`` when it is over by itself. ``messages`` is how many that were queued it
    was about then.
    """

    id: MessageId
    time: WallTime
    change: DirectiveChange
    directive: str
    action: Action
    about: str
    reason: str
    author: str
    expires: WallTime
    messages: int
    tenant: str | None = None


class QuarantineRecord(msgspec.Struct, frozen=True, gc=False):
    """A stored message that cannot be read any more: ``recipients`` of it were waiting, and are settled by this.

    ``id`` is of this record, for the message's own cannot be read. ``place`` says where it was, ``reason`` what is wrong with it, and where
    its octets are kept.
    """

    id: MessageId
    time: WallTime
    queue: QueueName
    recipients: int
    size: int
    place: str
    reason: str


class Move(NamedTuple):
    """One message on its way from lane to lane: the other lane, the id of the move, and which of its messages this is, from 0 on.

    A move is one offer of messages of one transaction; a message that is offered again is another move.
    """

    lane: str
    id: MessageId
    part: int


class MovedRecord(msgspec.Struct, frozen=True, gc=False):
    """A message is another lane's from now on, or has come from one: ``is_in``.

    ``recipients`` were waiting; 0 if the other lane has kept it after all.

    No event is made of it: over all lanes of a node what was moved out and in is the same, and the message's other events tell the rest.
    """

    queue: QueueName
    time: WallTime
    move: Move
    recipients: int
    is_in: bool


#: What is no message.
NoteRecord = RejectionRecord | PolicyErrorRecord | SpoolHealthRecord | DirectiveRecord
#: What an order has done to a message.
OrderRecord = RemovalRecord | RebindRecord | FlushRecord
SpoolRecord = (
    MessageRecord
    | AttemptRecord
    | ExpirationRecord
    | OrderRecord
    | QuarantineRecord
    | MovedRecord
    | NoteRecord
)


class QueuedMessage(msgspec.Struct, frozen=True, gc=False):
    """A message that was queued before the start: what the scheduler needs of it. ``recipients`` are those waiting; ``due`` None: at once.

    Its times are as this run of the server counts them: where the system's clock has jumped, the message is as old as it was. Those of its
    ``schedule`` are the sender's, and ``due`` None is as soon as that allows.
    ``is_held``: it has come from another lane, which may still have it, and is not to be delivered before it is released.
    """

    position: int
    queue: QueueName
    created: WallTime
    size: int
    recipients: int
    attempts: int
    due: WallTime | None
    is_held: bool = False
    schedule: Schedule | None = None


class StoredMessage(msgspec.Struct, frozen=True, gc=False):
    """A message as the spool gives it back: the record, the recipients still waiting (indices), and the attempts spent."""

    record: MessageRecord
    waiting: tuple[int, ...]
    attempts: int
