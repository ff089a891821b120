"""A client session: told what to send, it gives octets; fed the peer's replies, it gives events (RFC 5321, RFC 2920).

How a transaction goes. With PIPELINING, RSET where one is needed, MAIL, every RCPT and DATA leave as one group; without, one by one. Each
reply is matched with the command it answers, in order, and counted: a reply that nothing asked for, or one that is malformed, breaks the
session (``Broken``), because from there on no reply can be trusted to mean what it seems to. QUIT is never sent behind mail data.

Every recipient gets the reply that decided about it: its own RCPT's, else MAIL's, DATA's, or the one to the final dot. A connection that
ends leaves those without a reply with one of ours (4yz); if mail data had been sent, they are uncertain: the peer may have the message.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Final

import msgspec

from penstock.mail.records import INTERNAL
from penstock.mail.reply import Reply, reply
from penstock.smtp.reply_reader import ProtocolViolation, ReplyReader
from penstock.smtp.transmission import (
    Capabilities,
    Transmission,
    capabilities,
    mail_command,
    mail_data,
    rcpt_command,
    unsendable,
    unsendable_recipient,
)


class Stage(Enum):
    """What the session waits for."""

    __hash__ = object.__hash__  # hot: throughput; Enum's own is written in Python

    BANNER = "the banner"
    EHLO = "the reply to EHLO"
    HELO = "the reply to HELO"
    IDLE = "something to send"
    RSET = "the reply to RSET"
    MAIL = "the reply to MAIL"
    RCPT = "the reply to RCPT"
    DATA = "the reply to DATA"
    DOT = "the reply to mail data"
    QUIT = "the reply to QUIT"
    CLOSED = "nothing"


#: Stages in which a transaction is under way.
_IN_TRANSACTION: Final = frozenset({Stage.RSET, Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.DOT})


class Introduced(msgspec.Struct, frozen=True):
    """The peer has answered EHLO: transactions may be sent."""


class SessionRefused(msgspec.Struct, frozen=True):
    """The peer does not want this session; it is over."""

    stage: Stage
    reply: Reply


class Result(msgspec.Struct, frozen=True):
    """The reply that decided about a recipient (an index into the transmission's), and the command it answered."""

    recipient: int
    reply: Reply
    command: str | None
    is_uncertain: bool = False


class Finished(msgspec.Struct, frozen=True):
    """The transaction is over, with one result for each of its recipients. ``is_reusable``: another may be sent on this session."""

    results: tuple[Result, ...]
    is_reusable: bool


class Broken(msgspec.Struct, frozen=True):
    """The peer broke the protocol, or closed a session without a transaction; it is over. Results come before it, in Finished."""

    reason: str


ClientEvent = Introduced | SessionRefused | Finished | Broken


class ClientSession:
    """One session of ours with a peer, from its banner on. ``ehlo_name`` is how we introduce ourselves."""

    __slots__ = (
        "_awaited",
        "_ehlo_name",
        "_is_answered",
        "_mail_reply",
        "_message",
        "_needs_rset",
        "_output",
        "_peer",
        "_pending",
        "_reader",
        "_results",
        "_unasked",
        "greeting",
        "transactions",
    )

    def __init__(self, ehlo_name: str) -> None:
        self._ehlo_name = ehlo_name
        self._reader = ReplyReader()
        self._output: list[bytes] = []
        #: commands whose replies are still to come: the stage, and the recipient's index for RCPT
        self._awaited: deque[tuple[Stage, int]] = deque([(Stage.BANNER, -1)])
        self._peer = Capabilities()
        self._message: Transmission | None = None
        self._results: dict[int, Result] = {}
        self._pending: list[int] = []  # recipients that have no result yet
        self._unasked: deque[int] = (
            deque()
        )  # those of them whose RCPT has not been sent; without PIPELINING only
        self._mail_reply: Reply | None = None
        self._needs_rset = False
        self._is_answered = False
        self.greeting = ""
        self.transactions = 0

    @property
    def stage(self) -> Stage:
        """What the session waits for now; a deadline belongs to it."""
        return self._awaited[0][0] if self._awaited else Stage.IDLE

    @property
    def is_closed(self) -> bool:
        """Whether the session is over and its connection is to be closed."""
        return bool(self._awaited) and self._awaited[0][0] is Stage.CLOSED

    @property
    def is_stale(self) -> bool:
        """Whether a transaction is under way that the peer has not said a word to, on a session that had served others before.

        If the connection ends now, it had ended before: nothing was tried.
        """
        return self._message is not None and not self._is_answered and self.transactions > 1

    def take_output(self) -> bytes:
        """The octets to write since the last call."""
        output = self._output
        if not output:
            return b""
        octets = output[0] if len(output) == 1 else b"".join(output)
        output.clear()
        return octets

    # -- sending

    def send(self, message: Transmission) -> Finished | None:  # hot: throughput
        """Begin a transaction; IDLE only. What the peer cannot be given at all is Finished at once, without a word to it."""
        if self._awaited:
            raise RuntimeError(f"a transaction cannot begin while waiting for {self.stage.value}")
        self._results = {}
        self._mail_reply = None
        self._is_answered = False
        self._message = message
        local = unsendable(message, self._peer)
        if local is not None:
            return self._finish_locally(dict.fromkeys(range(len(message.recipients)), local))
        refused = {
            index: why
            for index, recipient in enumerate(message.recipients)
            if (why := unsendable_recipient(recipient, self._peer)) is not None
        }
        if len(refused) == len(message.recipients):
            return self._finish_locally(refused)
        self._results = {index: Result(index, why, None) for index, why in refused.items()}
        self._pending = [index for index in range(len(message.recipients)) if index not in refused]
        try:
            self._begin(message)
        except ValueError as error:
            return self._finish_locally(
                dict.fromkeys(self._pending, reply(553, "5.1.3", f"{INTERNAL}{error}"))
            )
        self.transactions += 1
        return None

    def _begin(self, message: Transmission) -> None:  # hot: throughput
        """Ask for RSET, where one is needed, and the envelope; ValueError, before anything is asked, if it cannot be written."""
        mail = mail_command(message, self._peer)
        recipients = [rcpt_command(message.recipients[index]) for index in self._pending]
        awaited, is_pipelined = self._awaited, self._peer.pipelining
        lines: list[bytes] = []
        if self._needs_rset:
            self._needs_rset = False
            awaited.append((Stage.RSET, -1))
            if not is_pipelined:
                self._output.append(b"RSET\r\n")
                return
            lines.append(b"RSET\r\n")
        lines.append(mail)
        awaited.append((Stage.MAIL, -1))
        if is_pipelined:
            awaited.extend([(Stage.RCPT, index) for index in self._pending])
            awaited.append((Stage.DATA, -1))
            lines += recipients
            lines.append(b"DATA\r\n")
        else:
            self._unasked = deque(self._pending)
        self._output.append(b"".join(lines))

    def _finish_locally(self, replies: dict[int, Reply]) -> Finished:
        self._message = None
        return Finished(tuple(Result(index, why, None) for index, why in replies.items()), is_reusable=True)

    def quit(self) -> None:
        """Take leave; IDLE only, a no-op otherwise."""
        if not self._awaited:
            self._output.append(b"QUIT\r\n")
            self._awaited.append((Stage.QUIT, -1))

    # -- receiving

    def receive(self, data: bytes) -> list[ClientEvent]:  # hot: throughput
        """Take octets from the peer; what they mean."""
        if self.is_closed:
            return []
        events: list[ClientEvent] = []
        try:
            for answer in self._reader.feed(data):
                if not self._awaited:
                    raise ProtocolViolation("a reply that nothing asked for: " + str(answer)[:200])
                if self._on_reply(answer, events):
                    return events
            if not self._reader.is_idle and not self._awaited:
                raise ProtocolViolation("octets that nothing asked for")
        except ProtocolViolation as violation:
            self._break(str(violation), events)
        return events

    def _on_reply(self, answer: Reply, events: list[ClientEvent]) -> bool:
        """Act on a reply; whether the session is over."""
        stage, index = self._awaited.popleft()
        if stage in _IN_TRANSACTION:
            self._is_answered = True
            if answer.code == 421:
                self._lose(answer, stage.name, events, is_reply=True)
            else:
                self._on_transaction_reply(stage, index, answer, events)
        elif stage is Stage.QUIT:
            self._close()
        else:
            self._on_introduction(stage, answer, events)
        return self.is_closed

    def _on_introduction(self, stage: Stage, answer: Reply, events: list[ClientEvent]) -> None:
        if stage is Stage.BANNER and answer.code == 220:
            self.greeting = answer.text.partition(" ")[0].partition("\n")[0]
            self._ask(b"EHLO %b\r\n" % self._ehlo_name.encode("ascii"), Stage.EHLO)
        elif stage is Stage.EHLO and answer.code in (500, 502, 504):
            # RFC 5321 3.2: a server that does not know EHLO is asked in the old way
            self._ask(b"HELO %b\r\n" % self._ehlo_name.encode("ascii"), Stage.HELO)
        elif stage is not Stage.BANNER and answer.is_positive:
            if stage is Stage.EHLO:
                self._peer = capabilities(answer)
            events.append(Introduced())
        else:
            events.append(SessionRefused(stage, answer))
            self._close()

    def _ask(self, line: bytes, stage: Stage) -> None:
        self._output.append(line)
        self._awaited.append((stage, -1))

    def _on_transaction_reply(
        self, stage: Stage, index: int, answer: Reply, events: list[ClientEvent]
    ) -> None:
        if stage is Stage.RCPT:
            self._on_rcpt(index, answer, events)
        elif stage is Stage.MAIL:
            if not answer.is_positive:
                self._mail_reply = answer
            if not self._peer.pipelining:
                self._step(events)
        elif stage is Stage.DATA:
            self._on_data(answer, events)
        elif stage is Stage.DOT:
            self._settle(answer, "DATA")
            self._finish(events)
        elif not answer.is_positive:
            raise ProtocolViolation("RSET was refused: " + str(answer)[:200])
        elif not self._peer.pipelining:
            assert self._message is not None  # noqa: S101 -- RSET is sent for a message
            self._begin(self._message)

    def _on_rcpt(self, index: int, answer: Reply, events: list[ClientEvent]) -> None:
        if not answer.is_positive:
            self._results[index] = Result(
                index, self._mail_reply or answer, "MAIL" if self._mail_reply else "RCPT"
            )
            self._pending.remove(index)
        if not self._peer.pipelining:
            self._step(events)

    def _step(self, events: list[ClientEvent]) -> None:
        """Without PIPELINING: the next command, once the last has its reply."""
        message = self._message
        assert message is not None  # noqa: S101 -- called within a transaction
        if self._mail_reply is None and self._unasked:
            index = self._unasked.popleft()
            self._output.append(rcpt_command(message.recipients[index]))
            self._awaited.append((Stage.RCPT, index))
        elif self._mail_reply is None and self._pending:
            self._ask(b"DATA\r\n", Stage.DATA)
        else:
            self._needs_rset = self._mail_reply is None
            self._settle_mail()
            self._finish(events)

    def _on_data(self, answer: Reply, events: list[ClientEvent]) -> None:
        if answer.is_intermediate:
            self._send_data()
            return
        if answer.is_positive:
            raise ProtocolViolation("DATA was answered with a 2yz: " + str(answer)[:200])
        self._needs_rset = True
        self._settle_mail()
        self._settle(answer, "DATA")
        self._finish(events)

    def _send_data(self) -> None:  # hot: throughput
        message = self._message
        assert message is not None  # noqa: S101 -- DATA is sent for a message
        self._settle_mail()
        # with nobody to send it to, mail data that was asked for all the same is empty, and its reply means nothing
        self._output.append(mail_data(message) if self._pending else b".\r\n")
        self._awaited.append((Stage.DOT, -1))

    # -- results

    def _settle_mail(self) -> None:
        if self._mail_reply is not None:
            self._settle(self._mail_reply, "MAIL")

    def _settle(self, answer: Reply, command: str | None, *, is_uncertain: bool = False) -> None:
        for index in self._pending:
            self._results[index] = Result(index, answer, command, is_uncertain)
        self._pending = []

    def _finish(self, events: list[ClientEvent]) -> None:
        self._message = None
        is_reusable = not self._awaited
        results = tuple([self._results[index] for index in sorted(self._results)])
        events.append(Finished(results, is_reusable))

    def _close(self) -> None:
        self._awaited = deque([(Stage.CLOSED, -1)])

    def _lose(self, answer: Reply, command: str | None, events: list[ClientEvent], *, is_reply: bool) -> None:
        """End the session within a transaction: ``answer`` is for the recipients that have no reply yet."""
        was_sent = (
            bool(self._awaited and self._awaited[0][0] is Stage.DOT) and not is_reply and bool(self._pending)
        )
        self._settle_mail()
        self._settle(answer, command, is_uncertain=was_sent)
        self._close()
        self._finish(events)

    def _break(self, reason: str, events: list[ClientEvent]) -> None:
        if self._message is not None:
            self._lose(reply(451, "4.5.0", INTERNAL + reason), None, events, is_reply=False)
        self._close()
        events.append(Broken(reason))

    def lost(self, reason: str) -> list[ClientEvent]:
        """The connection has ended, or its deadline has passed: ``reason`` says which. What that means for a transaction under way."""
        events: list[ClientEvent] = []
        if self.is_closed:
            return events
        if self._message is not None:
            stage = self.stage
            text = f"{INTERNAL}{reason} while waiting for {stage.value}"
            self._lose(reply(451, "4.4.2", text), None, events, is_reply=False)
        self._close()
        events.append(Broken(reason))
        return events
