"""A client session: told what to send, it gives octets; fed the peer's replies, it gives events (RFC 5321, RFC 2920).

``introduction`` is its beginning, ``client_transaction`` what it is for, ``client_dialogue`` what the two share. Each reply is matched with the
command it answers, in order, and counted. A reply that nothing asked for, one that came before its command was sent, one that no such
command has (3yz but to DATA, 220 and 221 within a transaction), or one that is malformed, breaks the session (``Broken``), because from
there on no reply can be trusted to mean what it seems to. QUIT is never sent behind mail data.

A connection that ends leaves recipients without a reply with one of ours (4yz); if mail data had been sent, they are uncertain: the peer may
have the message. A session that had served others and ends before the peer took notice of a transaction leaves it ``NotBegun``.

Encryption is the shell's: a session has plain octets in and out, says ``TlsGranted`` where the handshake is due, and is told by ``secured``
that from there on its octets come through TLS.
"""

from __future__ import annotations

from penstock.mail.records import INTERNAL
from penstock.mail.reply import Reply, reply
from penstock.mail.tls import TlsFacts
from penstock.smtp.capabilities import Capabilities
from penstock.smtp.client_dialogue import Dialogue
from penstock.smtp.client_events import (
    Broken,
    ClientEvent,
    Finished,
    Introduced,
    NotBegun,
    Result,
    SessionRefused,
    Stage,
    TlsGranted,
)
from penstock.smtp.client_options import Credentials, SessionOptions
from penstock.smtp.client_transaction import ClientTransaction, envelope
from penstock.smtp.introduction import Introduction
from penstock.smtp.reply_reader import ProtocolViolation, ReplyReader
from penstock.smtp.transmission import Transmission

__all__ = [
    "Broken",
    "ClientEvent",
    "ClientSession",
    "Credentials",
    "Finished",
    "Introduced",
    "NotBegun",
    "Result",
    "SessionOptions",
    "SessionRefused",
    "Stage",
    "TlsGranted",
]


class ClientSession:
    """One session of ours with a peer, from its banner on."""

    __slots__ = (
        "_dialogue",
        "_introduction",
        "_needs_rset",
        "_options",
        "_reader",
        "_transaction",
        "replies",
        "transactions",
    )

    def __init__(self, options: SessionOptions) -> None:
        self._options = options
        self._reader = ReplyReader()
        self._dialogue = Dialogue()
        self._introduction = Introduction(self._dialogue, options)
        self._transaction: ClientTransaction | None = None
        self._needs_rset = False
        self.transactions = 0
        #: whole replies that have come
        self.replies = 0

    # -- what it says of itself

    @property
    def stage(self) -> Stage:
        """What the session waits for now; a deadline belongs to it."""
        return self._dialogue.stage

    @property
    def is_idle(self) -> bool:
        """Whether a transaction may be sent: introduced, and nothing is awaited."""
        return not self._dialogue.awaited

    @property
    def is_closed(self) -> bool:
        """Whether the session is over and its connection is to be closed."""
        return self._dialogue.is_closed

    @property
    def greeting(self) -> str:
        """The name that the peer's banner gave, "" if it has given none."""
        return self._introduction.greeting

    @property
    def peer(self) -> Capabilities:
        """What the peer offers, by its last EHLO."""
        return self._introduction.peer

    @property
    def protocol(self) -> str:
        """What is spoken once it is introduced, as RFC 3848 has it: ``ESMTPS``, ``LMTP``."""
        return self._introduction.protocol

    @property
    def tls(self) -> TlsFacts | None:
        """What is known of the encryption; None in clear."""
        return self._introduction.tls

    def take_output(self) -> bytes:  # hot: micro_smtp
        """The octets to write since the last call."""
        return self._dialogue.take_output()

    # -- sending

    def send(self, message: Transmission) -> Finished | None:  # hot: micro_smtp
        """Begin a transaction; idle only. What the peer cannot be given at all is Finished at once, without a word to it."""
        dialogue, options, peer = self._dialogue, self._options, self._introduction.peer
        if dialogue.awaited:
            raise RuntimeError(f"a transaction cannot begin while waiting for {self.stage.value}")
        written = envelope(message, peer, options)
        if not written.recipients:
            return Finished(tuple(written.refused.values()))
        self._transaction = ClientTransaction(
            dialogue, message, written, peer, is_lmtp=options.is_lmtp, needs_rset=self._needs_rset
        )
        self._needs_rset = False
        self.transactions += 1
        return None

    def quit(self) -> None:
        """Take leave; idle only, a no-op otherwise."""
        if not self._dialogue.awaited:
            self._dialogue.ask(b"QUIT\r\n", Stage.QUIT)

    def secured(self, facts: TlsFacts) -> list[ClientEvent]:
        """The handshake that TlsGranted asked for is done: begin again. What that means, if it is not enough."""
        if self.stage is not Stage.TLS:
            raise RuntimeError(f"no handshake is due while waiting for {self.stage.value}")
        event = self._introduction.secured(facts)
        return [event] if event is not None else []

    # -- receiving

    def receive(self, data: bytes) -> list[ClientEvent]:  # hot: micro_smtp
        """Take octets from the peer; what they mean. They can answer only what ``take_output`` has given out before."""
        events: list[ClientEvent] = []
        dialogue, reader = self._dialogue, self._reader
        if dialogue.is_closed:
            return events
        awaited = dialogue.awaited
        try:
            for answer in reader.feed(data):
                if len(awaited) <= dialogue.unsent:
                    raise ProtocolViolation(f"a reply that nothing asked for: {str(answer)[:200]}")
                self.replies += 1
                transaction = self._transaction
                if transaction is None or answer.code == 421:
                    self._on_other_reply(transaction, answer, events)
                else:
                    transaction.on_reply(answer)
                    if transaction.is_over:
                        self._finish(transaction, events)
                if self.is_closed:
                    return events
            if reader.violation is not None:
                raise reader.violation
            if len(awaited) <= dialogue.unsent and not reader.is_idle:
                raise ProtocolViolation("octets that nothing asked for")
        except ProtocolViolation as violation:
            self._end(str(violation), "4.5.0", str(violation), events)
        return events

    def _on_other_reply(
        self, transaction: ClientTransaction | None, answer: Reply, events: list[ClientEvent]
    ) -> None:
        """A reply that a transaction does not take: 421, which ends it, or one that comes outside of any."""
        if transaction is not None:
            self._abandon(transaction, answer, events, is_reply=True)
            self._dialogue.close()
            return
        stage, _ = self._dialogue.awaited.popleft()
        if stage is Stage.QUIT:
            self._dialogue.close()
            return
        event = self._introduction.on_reply(stage, answer)
        if event is not None:
            events.append(event)

    def _finish(self, transaction: ClientTransaction, events: list[ClientEvent]) -> None:  # hot: micro_smtp
        self._transaction = None
        self._needs_rset = transaction.is_open
        events.append(Finished(transaction.results))
        if transaction.is_out_of_step:
            self._dialogue.close()
        elif transaction.is_open and not self._options.enable_rset:
            self.quit()

    # -- the end

    def _abandon(
        self, transaction: ClientTransaction, answer: Reply, events: list[ClientEvent], *, is_reply: bool
    ) -> None:
        """The session ends within a transaction."""
        self._transaction = None
        if self.transactions > 1 and not transaction.is_answered:
            events.append(NotBegun())
        else:
            transaction.lose(answer, is_reply=is_reply)
            events.append(Finished(transaction.results))

    def _end(self, reason: str, enhanced: str, text: str, events: list[ClientEvent]) -> None:
        """End a session that cannot go on: ``text`` is for the recipients of a transaction under way."""
        stage, transaction = self.stage, self._transaction
        if transaction is not None:
            self._abandon(transaction, reply(451, enhanced, INTERNAL + text), events, is_reply=False)
        elif stage is Stage.TLS:
            events.clear()  # a handshake that was granted is not to begin
        self._dialogue.close()
        events.append(Broken(reason, stage))

    def lost(self, reason: str) -> list[ClientEvent]:
        """The connection has ended: ``reason`` says how. What that means for a transaction under way."""
        events: list[ClientEvent] = []
        if not self.is_closed:
            self._end(reason, "4.4.2", f"{reason} while waiting for {self.stage.value}", events)
        return events

    def late(self) -> list[ClientEvent]:
        """The deadline of the stage has passed: as ``lost``, but a transaction has begun, for the peer was there and kept us waiting."""
        if self._transaction is not None:
            self._transaction.is_answered = True
        return self.lost("the deadline passed")
