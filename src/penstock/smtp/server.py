"""A server session: fed octets, it gives events; told the answers, it gives octets.

The shell asks for ``next_event`` until there is none. An event waits for its answer, ``accept`` or ``refuse``, and nothing further is read
until it has one, so replies keep the order of commands however they are pipelined (RFC 2920). What the session refuses by itself (syntax,
order, limits) it collects in ``refusals``, for a rejection is to be recorded whoever decided it.

Commands go check, policy, apply: ``command`` checks, the shell is the policy, ``accept`` applies.
"""

from __future__ import annotations

from typing import Final

import msgspec

from penstock.mail.address import Address
from penstock.mail.configuration import LineEndings
from penstock.mail.reply import Reply, reply
from penstock.smtp import command
from penstock.smtp.command import MailCommand, Refusal
from penstock.smtp.data import DataReader, judge
from penstock.smtp.phase import EXPECTED, TRANSITIONS, Phase, Verb

#: Errors of syntax or order after which a client is sent away; a good message resets the count.
ERROR_LIMIT: Final = 20

_MAIL_OK: Final = reply(250, "2.1.0", "sender ok").to_bytes()
_RCPT_OK: Final = reply(250, "2.1.5", "recipient ok").to_bytes()
_DATA_GO: Final = b"354 send mail data; end with <CRLF>.<CRLF>\r\n"
_RSET_OK: Final = reply(250, "2.0.0", "flushed").to_bytes()
_NOOP_OK: Final = reply(250, "2.0.0", "ok").to_bytes()
_VRFY: Final = reply(252, "2.5.0", "not verified here; send a message and see (RFC 5321 3.5.3)").to_bytes()
_HELP: Final = reply(
    214, "2.0.0", "commands: EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT\nsee RFC 5321"
).to_bytes()
_TOO_BIG: Final = "the message is larger than the {} octets that are accepted here"
_TOO_MANY_ERRORS: Final = reply(421, "4.7.0", "too many errors; closing connection")
_TOO_MANY_MESSAGES: Final = reply(421, "4.7.0", "enough messages for one connection; connect again")
_TALKS_EARLY: Final = reply(
    554, "5.5.0", "mail data before it was asked for (RFC 2920 3.1); closing connection"
)


class ServerLimits(msgspec.Struct, frozen=True):
    """What a session allows, by the names of the listener's options; sizes in octets."""

    hostname: str
    banner: str
    max_message_size: int
    max_messages_per_connection: int
    max_recipients_per_message: int
    line_length_hard_limit: int
    invalid_line_endings: LineEndings


class Hello(msgspec.Struct, frozen=True):
    """EHLO or HELO with the client's name."""

    name: str
    is_extended: bool


class MailGiven(msgspec.Struct, frozen=True):
    """MAIL: a transaction is to begin."""

    command: MailCommand


class RecipientGiven(msgspec.Struct, frozen=True):
    """RCPT: a forward-path is to be added."""

    forward_path: Address


class DataAsked(msgspec.Struct, frozen=True):
    """DATA: mail data is to come."""


class MessageGiven(msgspec.Struct, frozen=True):
    """The end of mail data: the transaction is complete; ``accept`` takes the reply with its ids.

    ``content`` is the mail data without transparency; its line ends are as the listener wants them. ``is_canonical``: every line ends with
    CRLF and none begins with a dot.
    """

    mail: MailCommand
    forward_paths: tuple[Address, ...]
    content: bytes
    is_canonical: bool


ServerEvent = Hello | MailGiven | RecipientGiven | DataAsked | MessageGiven


class Refused(msgspec.Struct, frozen=True):
    """A negative reply as it was given: to which command, and how far the transaction had come."""

    reply: Reply
    command: str
    reverse_path: str
    recipient: str


class ServerSession:
    """One session, from the banner to its end."""

    __slots__ = (
        "_buffer",
        "_errors",
        "_event",
        "_extended",
        "_limits",
        "_mail",
        "_messages",
        "_output",
        "_phase",
        "_position",
        "_reader",
        "_recipients",
        "_skipping",
        "refusals",
    )

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self._phase = Phase.START
        self._buffer = b""
        self._position = 0  # up to here the buffer has been read
        self._skipping = False
        self._output: list[bytes] = []
        self._event: ServerEvent | None = None
        self._extended = False
        self._mail: MailCommand | None = None
        self._recipients: list[Address] = []
        self._reader: DataReader | None = None
        self._errors = 0
        self._messages = 0
        self.refusals: list[Refused] = []

    @property
    def is_closed(self) -> bool:
        """Whether the connection is to be closed once the output is written."""
        return self._phase is Phase.CLOSED

    @property
    def is_receiving_data(self) -> bool:
        """Whether mail data is being read."""
        return self._reader is not None

    @property
    def is_waiting(self) -> bool:
        """Whether an event has not been answered yet."""
        return self._event is not None

    @property
    def buffered(self) -> int:
        """Octets held in memory: input not yet read, and the mail data so far."""
        return len(self._buffer) - self._position + (self._reader.size if self._reader is not None else 0)

    def greet(self) -> None:
        """Say the banner (RFC 5321 3.1)."""
        self._output.append(f"220 {self._limits.hostname} {self._limits.banner}\r\n".encode())

    def close(self, farewell: Reply) -> None:
        """End the session with a reply, 421 as a rule (RFC 5321 3.8)."""
        if self._phase is not Phase.CLOSED:
            self._output.append(farewell.to_bytes())
            self._shut()

    def _shut(self) -> None:
        self._phase = Phase.CLOSED
        self._take_rest()
        self._event = None
        self._reset()

    def _reset(self) -> None:
        self._reader = None
        self._mail = None
        if self._recipients:
            self._recipients = []

    def take_output(self) -> bytes:
        """The octets to write since the last call."""
        output = self._output
        if not output:
            return b""
        octets = output[0] if len(output) == 1 else b"".join(output)
        output.clear()
        return octets

    def feed(self, data: bytes) -> None:
        """Give it octets from the client."""
        if self._phase is not Phase.CLOSED:
            rest = self._take_rest()
            self._buffer = rest + data if rest else data

    def _take_rest(self) -> bytes:
        """Empty the buffer, and give what of it has not been read."""
        buffer, position = self._buffer, self._position
        self._buffer, self._position = b"", 0
        return buffer[position:] if position else buffer

    def drop_data(self) -> None:
        """Keep nothing of the mail data that is coming in; its end will be answered 452 4.3.1."""
        if self._reader is not None:
            self._reader.drop()
            self._reader.is_starved = True

    def next_event(self, budget: int = 100) -> ServerEvent | None:  # hot: throughput
        """The next event, or None: more octets are needed, or an answer, or ``budget`` commands were handled without an event.

        ``has_work`` tells the last case from the others.
        """
        if self.is_waiting:
            return None
        for _ in range(budget):
            if self._reader is not None:
                if not self._read_data():
                    return None
            elif not self._read_command():
                return None
            event = self._event
            if event is not None:
                return event
        return None

    @property
    def has_work(self) -> bool:
        """Whether ``next_event`` could go on at once."""
        if self._event is not None or self._phase is Phase.CLOSED:
            return False
        if self._reader is not None:
            return self._position < len(self._buffer)
        return self._buffer.find(b"\r\n", self._position) >= 0

    # -- commands

    def _read_command(self) -> bool:
        """Handle one command line; False if there is none yet."""
        buffer, start = self._buffer, self._position
        end = buffer.find(b"\r\n", start)
        if end < 0:
            self._bound_line()
            return False
        self._position = end + 2
        if self._skipping:
            self._skipping = False
            return True
        if end - start > command.COMMAND_LINE_LIMIT - 2:
            self._violate(command.LINE_TOO_LONG, "")
            return True
        line = buffer[start:end]
        try:
            verb, argument = command.parse_line(line)
            if verb not in TRANSITIONS[self._phase]:
                self._violate(reply(503, "5.5.1", f"not now: {EXPECTED[self._phase]}"), verb.name)
                return True
            self._handle(verb, argument)
        except Refusal as refusal:
            self._violate(refusal.reply, line[:4].decode("ascii", "replace").upper())
        return True

    def _bound_line(self) -> None:
        """Keep a line whose end has not come within its limit; what is beyond is dropped, and refused once."""
        buffer = self._take_rest()
        if self._skipping or len(buffer) > command.COMMAND_LINE_LIMIT:
            if not self._skipping:
                self._skipping = True
                self._violate(command.LINE_TOO_LONG, "")
            buffer = b"\r" if buffer.endswith(b"\r") else b""
        self._buffer = buffer

    def _handle(self, verb: Verb, argument: bytes) -> None:
        if verb is Verb.MAIL:
            self._on_mail(argument)
        elif verb is Verb.RCPT:
            assert self._mail is not None  # noqa: S101 -- the table lets RCPT in after MAIL only
            path = command.parse_rcpt(argument, smtputf8=self._mail.smtputf8, hostname=self._limits.hostname)
            if len(self._recipients) >= self._limits.max_recipients_per_message:
                self._refuse(reply(452, "4.5.3", "too many recipients"), "RCPT", str(path))
            else:
                self._event = RecipientGiven(path)
        elif verb is Verb.DATA:
            if argument:
                raise Refusal(command.SYNTAX)
            self._event = DataAsked()
        elif verb is Verb.EHLO or verb is Verb.HELO:
            self._event = Hello(command.parse_hello(argument), verb is Verb.EHLO)
        else:
            self._on_simple(verb, argument)

    def _on_mail(self, argument: bytes) -> None:
        limits = self._limits
        if self._messages >= limits.max_messages_per_connection:
            self._refuse(_TOO_MANY_MESSAGES, "MAIL", "")
            self._shut()
            return
        mail = command.parse_mail(argument, is_extended=self._extended)
        if mail.size > limits.max_message_size:
            self._refuse(reply(552, "5.3.4", _TOO_BIG.format(limits.max_message_size)), "MAIL", "")
            return
        self._event = MailGiven(mail)

    def _on_simple(self, verb: Verb, argument: bytes) -> None:
        if verb in (Verb.RSET, Verb.QUIT) and argument:
            raise Refusal(command.SYNTAX)
        if verb is Verb.RSET:
            self._reset()
            self._output.append(_RSET_OK)
        elif verb is Verb.NOOP:
            self._output.append(_NOOP_OK)
        elif verb is Verb.VRFY:
            if not argument:
                raise Refusal(command.SYNTAX)
            self._output.append(_VRFY)
        elif verb is Verb.HELP:
            self._output.append(_HELP)
        elif verb is Verb.QUIT:
            self._output.append(reply(221, "2.0.0", f"{self._limits.hostname} closing connection").to_bytes())
            self._shut()
            return
        self._phase = TRANSITIONS[self._phase][verb]

    # -- mail data

    def _read_data(self) -> bool:
        """Handle mail data; False if its end has not come yet."""
        reader = self._reader
        assert reader is not None  # noqa: S101 -- called while reading data only
        buffer = self._take_rest()
        if not buffer:
            return False
        used = reader.feed(buffer)
        if used < 0:
            return False
        self._buffer, self._position = buffer, used
        self._end_of_data(reader)
        return True

    def _end_of_data(self, reader: DataReader) -> None:
        self._reader = None
        assert self._mail is not None  # noqa: S101 -- mail data comes after MAIL only
        refusal: Reply
        if reader.is_starved:
            refusal = reply(452, "4.3.1", "not enough memory for this message now; try again later")
        elif reader.is_over:
            refusal = reply(552, "5.3.4", _TOO_BIG.format(self._limits.max_message_size))
        else:
            content, has_dots = reader.content()
            kept = judge(content, self._limits.invalid_line_endings, self._limits.line_length_hard_limit)
            if isinstance(kept, tuple):
                is_canonical = kept[1] and not has_dots
                self._event = MessageGiven(self._mail, tuple(self._recipients), kept[0], is_canonical)
                return
            refusal = kept
        self._refuse(refusal, "DATA", "")
        self._reset()
        self._phase = Phase.READY

    # -- answers

    def accept(self, positive: Reply | None = None) -> None:  # hot: throughput
        """Answer the event positively and apply it. ``positive`` is needed for MessageGiven alone: the reply with its ids."""
        event, self._event = self._event, None
        if event is None:
            raise RuntimeError("there is no event to answer")
        if isinstance(event, MailGiven):
            self._mail = event.command
            self._phase = Phase.MAIL
            self._output.append(_MAIL_OK)
        elif isinstance(event, RecipientGiven):
            self._recipients.append(event.forward_path)
            self._phase = Phase.RCPT
            self._output.append(_RCPT_OK)
        elif isinstance(event, DataAsked):
            self._begin_data()
        elif isinstance(event, MessageGiven):
            self._output.append((positive or reply(250, "2.0.0", "OK")).to_bytes())
            self._messages += 1
            self._errors = 0
            self._reset()
            self._phase = Phase.READY
        else:
            self._extended = event.is_extended
            self._reset()
            self._phase = Phase.READY
            self._output.append(self._hello_reply(event))

    def _begin_data(self) -> None:
        if self._position < len(self._buffer):
            self._refuse(_TALKS_EARLY, "DATA", "")
            self._shut()
            return
        self._phase = Phase.DATA
        self._reader = DataReader(self._limits.max_message_size)
        self._output.append(_DATA_GO)

    def _hello_reply(self, event: Hello) -> bytes:
        if not event.is_extended:
            return f"250 {self._limits.hostname}\r\n".encode()
        keywords = (
            "PIPELINING",
            f"SIZE {self._limits.max_message_size}",
            "8BITMIME",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
            "HELP",
        )
        return Reply(250, None, "\n".join((self._limits.hostname, *keywords))).to_bytes()

    def refuse(self, negative: Reply) -> None:
        """Answer the event with a 4yz or 5yz; 421 closes the session after it."""
        event, self._event = self._event, None
        if event is None:
            raise RuntimeError("there is no event to answer")
        recipient = ""
        name = "EHLO"
        if isinstance(event, RecipientGiven):
            name, recipient = "RCPT", str(event.forward_path)
        elif isinstance(event, MailGiven):
            name, self._mail = "MAIL", event.command
        elif isinstance(event, DataAsked | MessageGiven):
            name = "DATA"
        self._refuse(negative, name, recipient)
        if isinstance(event, MailGiven):
            self._mail = None
        elif isinstance(event, MessageGiven):
            self._reset()
            self._phase = Phase.READY
        if negative.code == 421:
            self._shut()

    def _refuse(self, negative: Reply, command_name: str, recipient: str) -> None:
        self._output.append(negative.to_bytes())
        mail = self._mail
        sender = str(mail.reverse_path or "") if mail is not None else ""
        self.refusals.append(Refused(negative, command_name, sender, recipient))

    def _violate(self, negative: Reply, command_name: str) -> None:
        """Refuse what is wrong by itself, and count it."""
        self._refuse(negative, command_name if command_name.isalpha() else "", "")
        self._errors += 1
        if self._errors >= ERROR_LIMIT:
            self._refuse(_TOO_MANY_ERRORS, "", "")
            self._shut()
