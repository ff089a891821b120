"""One transaction of a client session, from its envelope to the reply that decided about each recipient.

With PIPELINING, RSET where one is needed, MAIL, every RCPT and DATA leave as one group (RFC 2920); without, one by one.

Mail data goes as one chunk (RFC 3030), in place of DATA, where that is safe. DATA has its 354, which no other command has, and which shows that
replies and commands are still in step: a reply too many from before would be met there. BDAT has nothing like it, so it takes other
evidence: the peer gives enhanced status codes, those of its positive replies to MAIL and RCPT are about addresses, and the one to the chunk
is not. Where the envelope's are not, DATA follows after all; where the chunk's is, nothing was confirmed. So a chunk leaves only
once every RCPT has its reply, and somebody is left to send it to (docs/decisions/0009-client-session.md).

With LMTP (RFC 2033 4.2), mail data has one reply for each recipient that was accepted, in their order.

Every recipient gets the reply that decided about it: its own RCPT's, else MAIL's, DATA's, or the one to mail data.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from penstock.mail.dsn import NOTHING_ASKED
from penstock.mail.reply import Reply
from penstock.smtp.capabilities import Capabilities
from penstock.smtp.client_dialogue import Dialogue
from penstock.smtp.client_events import Result, Stage
from penstock.smtp.client_options import SessionOptions
from penstock.smtp.reply_reader import ProtocolViolation
from penstock.smtp.transmission import (
    Transmission,
    Unwritable,
    chunk,
    mail_command,
    mail_data,
    rcpt_command,
    unsendable,
    unsendable_recipient,
)

#: Said to a connection and to QUIT only; within a transaction they answer something else, or nothing of ours.
_OUT_OF_PLACE: Final = frozenset({220, 221})
#: Subjects of enhanced status codes: about an address (RFC 3463 3.2), about the protocol (3.6).
_ADDRESS_STATUS: Final = 1
_PROTOCOL_STATUS: Final = 5


def _is_about_address(answer: Reply) -> bool:
    return answer.enhanced is not None and answer.enhanced.subject == _ADDRESS_STATUS


class Envelope(msgspec.Struct, frozen=True):
    """A message's commands for one peer: ``mail``, and ``rcpt`` for each of ``recipients`` (indices).

    ``refused`` are the recipients that this peer cannot be given.
    """

    mail: bytes
    rcpt: list[bytes]
    recipients: list[int]
    refused: dict[int, Result]


def envelope(
    message: Transmission, peer: Capabilities, options: SessionOptions
) -> Envelope:  # hot: micro_smtp
    """Write the commands, as far as this peer can be given them."""
    why = unsendable(message, peer, ignore_8bit_checks=options.ignore_8bit_checks)
    mail = b""
    if why is None:
        try:
            mail = mail_command(message, peer)
        except Unwritable as error:
            why = error.reply
    dsn = message.dsn.recipients if message.dsn is not None and peer.dsn else ()
    refused: dict[int, Result] = {}
    recipients: list[int] = []
    lines: list[bytes] = []
    for index, recipient in enumerate(message.recipients):
        refusal = why or unsendable_recipient(recipient, peer)
        if refusal is None:
            try:
                lines.append(rcpt_command(recipient, dsn[index] if dsn else NOTHING_ASKED))
                recipients.append(index)
                continue
            except Unwritable as error:
                refusal = error.reply
        refused[index] = Result(index, refusal, None)
    return Envelope(mail, lines, recipients, refused)


class ClientTransaction:
    """A transaction under way. ``is_over``: every recipient has its result, and the peer owes no reply.

    ``is_answered``: the peer has answered a command of its envelope. ``is_open``: the peer may still hold it open, and has to be told RSET
    before the next. ``is_out_of_step``: the session cannot be trusted with another.
    """

    __slots__ = (
        "_data_command",
        "_dialogue",
        "_is_lmtp",
        "_mail_reply",
        "_message",
        "_peer",
        "_pending",
        "_results",
        "_unasked",
        "is_answered",
        "is_open",
        "is_out_of_step",
        "is_over",
    )

    def __init__(
        self,
        dialogue: Dialogue,
        message: Transmission,
        written: Envelope,
        peer: Capabilities,
        *,
        is_lmtp: bool,
        needs_rset: bool,
    ) -> None:
        self._dialogue = dialogue
        self._message = message
        self._peer = peer
        self._is_lmtp = is_lmtp
        self._results = written.refused
        self._pending = written.recipients  # recipients that have no result yet
        self._mail_reply: Reply | None = None
        self._data_command = "BDAT" if peer.chunking and peer.enhanced else "DATA"
        #: commands of the envelope that have not been sent; without PIPELINING only
        self._unasked: deque[tuple[bytes, Stage, int]] = deque()
        self.is_answered = False
        self.is_open = False
        self.is_out_of_step = False
        self.is_over = False
        self._begin(written.mail, written.rcpt, needs_rset=needs_rset)

    def _begin(self, mail: bytes, rcpt: list[bytes], *, needs_rset: bool) -> None:  # hot: micro_smtp
        """Ask for RSET, where one is needed, and the envelope."""
        commands = [(Stage.RCPT, index) for index in self._pending]
        commands.insert(0, (Stage.MAIL, -1))
        lines = [mail, *rcpt]
        if needs_rset:
            commands.insert(0, (Stage.RSET, -1))
            lines.insert(0, b"RSET\r\n")
        if self._peer.pipelining:
            if self._data_command == "DATA":
                commands.append((Stage.DATA, -1))
                lines.append(b"DATA\r\n")
            self._dialogue.ask_all(b"".join(lines), commands)
        else:
            self._unasked.extend([(line, *command) for line, command in zip(lines, commands, strict=True)])
            self._dialogue.ask(*self._unasked.popleft())

    @property
    def results(self) -> tuple[Result, ...]:
        """A result for each recipient, in their order; once it is over."""
        results = self._results
        return tuple([results[index] for index in sorted(results)])

    def command(self, stage: Stage) -> str:
        """The command that ``stage`` waits for the answer of, as results name it."""
        return self._data_command if stage is Stage.DOT else stage.name

    # -- replies

    def on_reply(self, answer: Reply) -> None:  # hot: micro_smtp
        """Take the next reply; 421 is not for here. ProtocolViolation if it is none that its command can have."""
        awaited = self._dialogue.awaited
        stage, index = awaited[0]
        if answer.code in _OUT_OF_PLACE or (answer.is_intermediate and stage is not Stage.DATA):
            raise ProtocolViolation(f"{self.command(stage)} was answered with {str(answer)[:200]}")
        if stage is Stage.DOT:
            self._on_data_reply(index, answer)
        elif stage is Stage.DATA:
            self._on_data(answer)
        elif stage is Stage.RSET:
            self._on_rset(answer)
        else:
            awaited.popleft()
            self.is_answered = True
            if not answer.is_positive:
                self._on_refusal(stage, index, answer)
            elif self._data_command == "BDAT" and not _is_about_address(answer):
                self._data_command = "DATA"  # its 354 will show whether replies are in step
            if not awaited:
                self._step()

    def _on_rset(self, answer: Reply) -> None:
        """RSET is not a word about this transaction."""
        if not answer.is_positive:
            raise ProtocolViolation(f"RSET was answered with {str(answer)[:200]}")
        self._dialogue.awaited.popleft()
        if not self._dialogue.awaited:
            self._step()

    def _on_refusal(self, stage: Stage, index: int, answer: Reply) -> None:
        """Note a 4yz or 5yz to a command of the envelope."""
        if stage is Stage.MAIL:
            self._mail_reply = answer
        else:
            # the recipient of a transaction that was refused is refused for that, whatever is said about it
            command = "RCPT" if self._mail_reply is None else "MAIL"
            self._results[index] = Result(index, self._mail_reply or answer, command)
            self._pending.remove(index)

    def _step(self) -> None:
        """The next command, once the last has its reply: of the envelope, or of mail data."""
        if self._mail_reply is None and self._unasked:
            self._dialogue.ask(*self._unasked.popleft())
        elif self._mail_reply is None and self._pending:
            if self._data_command == "BDAT":
                self._send(chunk(self._message))
            else:
                self._dialogue.ask(b"DATA\r\n", Stage.DATA)
        else:
            self.is_open = self._mail_reply is None
            self._unasked.clear()
            self._settle_mail()
            self.is_over = True

    def _on_data(self, answer: Reply) -> None:  # hot: micro_smtp
        # RFC 2033 4.2: with no recipient DATA MUST be refused; after a 354, nobody knows how many replies are to follow
        if answer.is_positive or (answer.is_intermediate and self._is_lmtp and not self._pending):
            raise ProtocolViolation(f"DATA was answered with {str(answer)[:200]}")
        self._dialogue.awaited.popleft()
        self._settle_mail()
        if not answer.is_intermediate:
            self.is_open = True
            self._settle(answer, "DATA")
            self.is_over = True
        elif self._pending:
            self._send(mail_data(self._message))
        else:
            # with nobody to send it to, mail data that was asked for all the same is empty, and its reply means nothing
            self._dialogue.ask(b".\r\n", Stage.DOT)

    def _send(self, octets: bytes) -> None:
        """Send mail data."""
        if self._is_lmtp:
            self._dialogue.ask_all(octets, [(Stage.DOT, index) for index in self._pending])
        else:
            self._dialogue.ask(octets, Stage.DOT)

    def _on_data_reply(self, index: int, answer: Reply) -> None:  # hot: micro_smtp
        if self._data_command == "BDAT":
            self._check_chunk_reply(answer)
        self._dialogue.awaited.popleft()
        if index < 0:
            self._settle(answer, self._data_command)
        else:
            self._results[index] = Result(index, answer, self._data_command)
            self._pending.remove(index)
        if not self._dialogue.awaited:
            self.is_over = True

    def _check_chunk_reply(self, answer: Reply) -> None:
        """See that a reply to a chunk is one. A chunk that was refused leaves the transaction open (RFC 3030 2)."""
        if not answer.is_positive:
            self.is_open = True
            # x0z is about syntax and commands (RFC 5321 4.2.1), x.5.z about the protocol (RFC 3463 3.6): the chunk may have been read as
            # commands, and have more replies to come
            is_about_protocol = answer.enhanced is None or answer.enhanced.subject == _PROTOCOL_STATUS
            self.is_out_of_step = 500 <= answer.code < 510 and is_about_protocol
        elif _is_about_address(answer):
            raise ProtocolViolation(f"BDAT was answered as if it were RCPT: {str(answer)[:200]}")

    # -- results

    def _settle_mail(self) -> None:
        if self._mail_reply is not None:
            self._settle(self._mail_reply, "MAIL")

    def _settle(self, answer: Reply, command: str | None, *, is_uncertain: bool = False) -> None:
        for index in self._pending:
            self._results[index] = Result(index, answer, command, is_uncertain)
        self._pending = []

    def lose(self, answer: Reply, *, is_reply: bool) -> None:
        """The session ends here: ``answer`` is for the recipients that have none, the peer's (``is_reply``) or ours.

        Those whose mail data was sent are uncertain, unless this answers it: the peer may have the message.
        """
        stage, index = self._dialogue.awaited[0]
        command = self.command(stage) if is_reply else None
        self._settle_mail()
        if is_reply and index >= 0 and stage is Stage.DOT:
            self._results[index] = Result(index, answer, command)
            self._pending.remove(index)
        is_uncertain = stage is Stage.DOT and not self._dialogue.output
        self._settle(answer, command, is_uncertain=is_uncertain and not (is_reply and index < 0))
        self.is_over = True
