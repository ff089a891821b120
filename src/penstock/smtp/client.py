"""A client session: told what to send, it gives octets; fed the peer's replies, it gives events (RFC 5321, RFC 2920).

How a transaction goes. With PIPELINING, RSET where one is needed, MAIL, every RCPT and DATA leave as one group; without, one by one. Each
reply is matched with the command it answers, in order, and counted. A reply that nothing asked for, one that came before its command was
sent, one that no such command has (3yz but to DATA, 220 and 221 within a transaction), or one that is malformed, breaks the session
(``Broken``), because from there on no reply can be trusted to mean what it seems to. QUIT is never sent behind mail data.

Every recipient gets the reply that decided about it: its own RCPT's, else MAIL's, DATA's, or the one to the final dot. A connection that
ends leaves those without a reply with one of ours (4yz); if mail data had been sent, they are uncertain: the peer may have the message.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from penstock.mail.records import INTERNAL
from penstock.mail.reply import Reply, reply
from penstock.smtp.client_events import (
    Broken,
    ClientEvent,
    Finished,
    Introduced,
    Result,
    SessionRefused,
    Stage,
)
from penstock.smtp.reply_reader import ProtocolViolation, ReplyReader
from penstock.smtp.transmission import (
    Capabilities,
    Transmission,
    capabilities,
    is_printable_word,
    mail_command,
    mail_data,
    rcpt_command,
    unsendable,
    unsendable_recipient,
)

__all__ = [
    "Broken",
    "ClientEvent",
    "ClientSession",
    "Finished",
    "Introduced",
    "Result",
    "SessionRefused",
    "Stage",
]

#: Stages in which a transaction is under way, and the command that each waits for, as events name it.
_IN_TRANSACTION: Final[dict[Stage, str]] = {
    Stage.RSET: "RSET",
    Stage.MAIL: "MAIL",
    Stage.RCPT: "RCPT",
    Stage.DATA: "DATA",
    Stage.DOT: "DATA",
}
#: EHLO is not known: the peer is asked in the old way (RFC 5321 3.2).
_NO_EHLO: Final = frozenset({500, 502, 504})
#: Said to a connection and to QUIT only; within a transaction they answer something else, or nothing of ours.
_OUT_OF_PLACE: Final = frozenset({220, 221})

_UNWRITABLE_SENDER: Final = reply(553, "5.1.7", INTERNAL + "the reverse-path cannot be written as a path")
_UNWRITABLE_RECIPIENT: Final = reply(553, "5.1.3", INTERNAL + "the address cannot be written as a path")


class ClientSession:
    """One session of ours with a peer, from its banner on. ``ehlo_name`` is how we introduce ourselves: one word of printable ASCII."""

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
        "_unsent",
        "greeting",
        "replies",
        "transactions",
    )

    def __init__(self, ehlo_name: str) -> None:
        if not is_printable_word(ehlo_name):
            raise ValueError(f"{ehlo_name!r} is no name to introduce oneself with")
        self._ehlo_name = ehlo_name.encode("ascii")
        self._reader = ReplyReader()
        self._output: list[bytes] = []
        #: commands whose replies are still to come: the stage, and the recipient's index for RCPT
        self._awaited: deque[tuple[Stage, int]] = deque([(Stage.BANNER, -1)])
        #: commands of the envelope that have not been sent, with the same; without PIPELINING only
        self._unasked: deque[tuple[bytes, Stage, int]] = deque()
        self._unsent = 0  # how many of those awaited are still in the output
        self._peer = Capabilities()
        self._message: Transmission | None = None
        self._results: dict[int, Result] = {}
        self._pending: list[int] = []  # recipients that have no result yet
        self._mail_reply: Reply | None = None
        self._needs_rset = False
        self._is_answered = False
        self.greeting = ""
        self.transactions = 0
        #: whole replies that have come
        self.replies = 0

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

    def take_output(self) -> bytes:  # hot: micro_smtp
        """The octets to write since the last call."""
        output = self._output
        if not output:
            return b""
        octets = output[0] if len(output) == 1 else b"".join(output)
        output.clear()
        self._unsent = 0
        return octets

    # -- sending

    def send(self, message: Transmission) -> Finished | None:  # hot: micro_smtp
        """Begin a transaction; IDLE only. What the peer cannot be given at all is Finished at once, without a word to it."""
        if self._awaited:
            raise RuntimeError(f"a transaction cannot begin while waiting for {self.stage.value}")
        peer = self._peer
        refused = unsendable(message, peer)
        mail = b""
        if refused is None:
            try:
                mail = mail_command(message, peer)
            except ValueError:
                refused = _UNWRITABLE_SENDER
        results: dict[int, Result] = {}
        pending: list[int] = []
        lines: list[bytes] = []
        for index, recipient in enumerate(message.recipients):
            why = refused or unsendable_recipient(recipient, peer)
            if why is None:
                try:
                    lines.append(rcpt_command(recipient))
                    pending.append(index)
                    continue
                except ValueError:
                    why = _UNWRITABLE_RECIPIENT
            results[index] = Result(index, why, None)
        if not pending:
            return Finished(tuple(results.values()), is_reusable=True)
        self._message, self._results, self._pending = message, results, pending
        self._mail_reply = None
        self._is_answered = False
        self.transactions += 1
        self._begin(mail, lines)
        return None

    def _begin(self, mail: bytes, recipients: list[bytes]) -> None:  # hot: micro_smtp
        """Ask for RSET, where one is needed, and the envelope."""
        commands = [(Stage.RCPT, index) for index in self._pending]
        commands.insert(0, (Stage.MAIL, -1))
        lines = [mail, *recipients]
        if self._needs_rset:
            self._needs_rset = False
            commands.insert(0, (Stage.RSET, -1))
            lines.insert(0, b"RSET\r\n")
        if self._peer.pipelining:
            commands.append((Stage.DATA, -1))
            lines.append(b"DATA\r\n")
            self._awaited.extend(commands)
            self._unsent += len(commands)
            self._output.append(b"".join(lines))
        else:
            self._unasked.extend([(line, *command) for line, command in zip(lines, commands, strict=True)])
            self._ask(*self._unasked.popleft())

    def _ask(self, line: bytes, stage: Stage, index: int = -1) -> None:
        self._output.append(line)
        self._awaited.append((stage, index))
        self._unsent += 1

    def quit(self) -> None:
        """Take leave; IDLE only, a no-op otherwise."""
        if not self._awaited:
            self._ask(b"QUIT\r\n", Stage.QUIT)

    # -- receiving

    def receive(self, data: bytes) -> list[ClientEvent]:  # hot: micro_smtp
        """Take octets from the peer; what they mean. They can answer only what ``take_output`` has given out before."""
        events: list[ClientEvent] = []
        if self.is_closed:
            return events
        reader = self._reader
        try:
            for answer in reader.feed(data):
                if len(self._awaited) <= self._unsent:
                    raise ProtocolViolation(f"a reply that nothing asked for: {str(answer)[:200]}")
                self.replies += 1
                self._on_reply(answer, events)
                if self.stage is Stage.CLOSED:
                    return events
            if reader.violation is not None:
                raise reader.violation
            if len(self._awaited) <= self._unsent and not reader.is_idle:
                raise ProtocolViolation("octets that nothing asked for")
        except ProtocolViolation as violation:
            self._break(str(violation), events)
        return events

    def _on_reply(self, answer: Reply, events: list[ClientEvent]) -> None:
        stage, index = self._awaited[0]
        command = _IN_TRANSACTION.get(stage)
        if command is None:
            self._on_introduction(stage, answer, events)
            return
        self._is_answered = True
        if answer.code in _OUT_OF_PLACE or (answer.is_intermediate and stage is not Stage.DATA):
            raise ProtocolViolation(f"{command} was answered with {str(answer)[:200]}")
        self._awaited.popleft()
        if answer.code == 421:
            self._lose(answer, command, events)
        else:
            self._on_transaction_reply(stage, index, answer, events)

    def _on_introduction(self, stage: Stage, answer: Reply, events: list[ClientEvent]) -> None:
        self._awaited.popleft()
        if stage is Stage.QUIT:
            self._close()
        elif stage is Stage.BANNER and answer.code == 220:
            self.greeting = answer.text.partition("\n")[0].partition(" ")[0]
            self._ask(b"EHLO %b\r\n" % self._ehlo_name, Stage.EHLO)
        elif stage is Stage.EHLO and answer.code in _NO_EHLO:
            self._ask(b"HELO %b\r\n" % self._ehlo_name, Stage.HELO)
        elif stage is not Stage.BANNER and answer.code == 250:
            if stage is Stage.EHLO:
                self._peer = capabilities(answer)
            events.append(Introduced())
        else:
            self._close()
            events.append(SessionRefused(stage, answer))

    def _on_transaction_reply(
        self, stage: Stage, index: int, answer: Reply, events: list[ClientEvent]
    ) -> None:
        if stage is Stage.DOT:
            self._settle(answer, "DATA")
            self._finish(events)
        elif stage is Stage.DATA:
            self._on_data(answer, events)
        else:
            if not answer.is_positive:
                self._on_refusal(stage, index, answer)
            if not self._peer.pipelining:
                self._step(events)

    def _on_refusal(self, stage: Stage, index: int, answer: Reply) -> None:
        """Note a 4yz or 5yz to a command of the envelope."""
        if stage is Stage.MAIL:
            self._mail_reply = answer
        elif stage is Stage.RCPT:
            # the recipient of a transaction that was refused is refused for that, whatever is said about it
            command = "RCPT" if self._mail_reply is None else "MAIL"
            self._results[index] = Result(index, self._mail_reply or answer, command)
            self._pending.remove(index)
        else:
            raise ProtocolViolation(f"RSET was answered with {str(answer)[:200]}")

    def _step(self, events: list[ClientEvent]) -> None:
        """Without PIPELINING: the next command, once the last has its reply."""
        if self._mail_reply is None and self._unasked:
            self._ask(*self._unasked.popleft())
        elif self._mail_reply is None and self._pending:
            self._ask(b"DATA\r\n", Stage.DATA)
        else:
            self._needs_rset = self._mail_reply is None
            self._unasked.clear()
            self._settle_mail()
            self._finish(events)

    def _on_data(self, answer: Reply, events: list[ClientEvent]) -> None:  # hot: micro_smtp
        if answer.is_positive:
            raise ProtocolViolation(f"DATA was answered with {str(answer)[:200]}")
        self._settle_mail()
        if answer.is_intermediate:
            message = self._message
            assert message is not None  # noqa: S101 -- DATA is sent for a message
            # with nobody to send it to, mail data that was asked for all the same is empty, and its reply means nothing
            self._ask(mail_data(message) if self._pending else b".\r\n", Stage.DOT)
        else:
            self._needs_rset = True
            self._settle(answer, "DATA")
            self._finish(events)

    # -- results

    def _settle_mail(self) -> None:
        if self._mail_reply is not None:
            self._settle(self._mail_reply, "MAIL")

    def _settle(self, answer: Reply, command: str | None, *, is_uncertain: bool = False) -> None:
        for index in self._pending:
            self._results[index] = Result(index, answer, command, is_uncertain)
        self._pending = []

    def _finish(self, events: list[ClientEvent]) -> None:
        results, self._results, self._message = self._results, {}, None
        ordered = tuple([results[index] for index in sorted(results)])
        events.append(Finished(ordered, is_reusable=not self._awaited))

    # -- the end

    def _close(self) -> None:
        self._awaited = deque([(Stage.CLOSED, -1)])
        self._unasked.clear()
        self._unsent = 0
        # what was not sent yet is not to be sent: the peer would do it, and we would not hear of it
        self._output.clear()

    def _lose(
        self, answer: Reply, command: str | None, events: list[ClientEvent], *, is_uncertain: bool = False
    ) -> None:
        """End the session within a transaction: ``answer`` is for the recipients that have no reply yet."""
        self._close()
        self._settle_mail()
        self._settle(answer, command, is_uncertain=is_uncertain)
        self._finish(events)

    @property
    def _is_data_sent(self) -> bool:
        """Whether mail data has been sent and not been answered."""
        return self.stage is Stage.DOT and not self._output

    def _break(self, reason: str, events: list[ClientEvent]) -> None:
        """End a session that cannot be trusted."""
        events[:] = [
            msgspec.structs.replace(event, is_reusable=False) if isinstance(event, Finished) else event
            for event in events
        ]
        if self._message is not None:
            self._lose(reply(451, "4.5.0", INTERNAL + reason), None, events, is_uncertain=self._is_data_sent)
        self._close()
        events.append(Broken(reason))

    def lost(self, reason: str) -> list[ClientEvent]:
        """The connection has ended, or its deadline has passed: ``reason`` says which. What that means for a transaction under way."""
        events: list[ClientEvent] = []
        if self.is_closed:
            return events
        if self._message is not None:
            text = f"{INTERNAL}{reason} while waiting for {self.stage.value}"
            self._lose(reply(451, "4.4.2", text), None, events, is_uncertain=self._is_data_sent)
        self._close()
        events.append(Broken(reason))
        return events
