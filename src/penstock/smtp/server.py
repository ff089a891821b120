"""A server session: fed octets, it gives events; told the answers, it gives octets.

The shell asks for ``next_event`` until there is none. An event waits for its answer, ``accept`` or ``refuse``, and nothing further is read
until it has one, so replies keep the order of commands however they are pipelined (RFC 2920). What the session refuses by itself (syntax,
order, limits) it collects in ``refusals``, for a rejection is to be recorded whoever decided it.

Commands go check, policy, apply: ``command`` checks, the shell is the policy, ``accept`` applies.
"""

from __future__ import annotations

from penstock.mail.address import Address
from penstock.mail.reply import Reply, reply
from penstock.smtp import command, replies
from penstock.smtp.command import COMMAND_LINE_LIMIT, ERROR_LIMIT, MailCommand, Refusal
from penstock.smtp.data import DataReader, judge, line_too_long
from penstock.smtp.phase import EXPECTED, TRANSITIONS, Phase, Verb
from penstock.smtp.server_events import (
    DataAsked,
    Hello,
    MailGiven,
    MessageGiven,
    RecipientGiven,
    Refused,
    ServerEvent,
    ServerLimits,
)

__all__ = [
    "DataAsked",
    "Hello",
    "MailGiven",
    "MessageGiven",
    "RecipientGiven",
    "Refused",
    "ServerEvent",
    "ServerLimits",
    "ServerSession",
]


class ServerSession:
    """One session, from the banner to its end."""

    __slots__ = (
        "_buffer",
        "_errors",
        "_event",
        "_extended",
        "_is_data_refused",
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
        #: whether the last command was a DATA and was refused: a client that did not wait for the reply goes on with mail data
        self._is_data_refused = False
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
    def has_input(self) -> bool:
        """Whether there are octets that have not been read."""
        return self._position < len(self._buffer)

    @property
    def buffered(self) -> int:
        """Octets held in memory: input not yet read, and the mail data so far."""
        return len(self._buffer) - self._position + (self._reader.size if self._reader is not None else 0)

    def greet(self) -> None:
        """Say the banner (RFC 5321 3.1)."""
        self._output.append(Reply(220, None, f"{self._limits.hostname} {self._limits.banner}").to_bytes())

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
            self._buffer = self._take_rest() + data if self._buffer else data

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

    def next_event(self, budget: int = 100) -> ServerEvent | None:  # hot: micro_smtp
        """The next event, or None: more octets are needed, or an answer, or ``budget`` commands were handled without an event.

        ``has_work`` tells the last case from the others.
        """
        event = self._event
        if event is not None:
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
        unread = len(self._buffer) - self._position
        if self._reader is not None:
            return unread > 0
        return self._buffer.find(b"\n", self._position) >= 0 or unread > COMMAND_LINE_LIMIT

    # -- commands

    def _read_command(self) -> bool:  # hot: micro_smtp
        """Handle one command line; False if there is none yet."""
        buffer, start = self._buffer, self._position
        if not buffer:
            return False
        end = buffer.find(b"\r\n", start)
        if end < 0:
            self._bound_line()
            return False
        if end + 2 == len(buffer):
            self._buffer, self._position = b"", 0
        else:
            self._position = end + 2
        if self._skipping:
            self._skipping = False
            return True
        line = buffer[start:end]
        if end - start > COMMAND_LINE_LIMIT - 2:
            self._refuse_line(line)
            return True
        verb = None
        try:
            verb, argument = command.parse_line(line)
            if verb in TRANSITIONS[self._phase]:
                self._handle(verb, argument)
                self._is_data_refused = False
            else:
                # pipelined behind a MAIL or RCPT that was refused, these two are no errors (RFC 2920 3.1)
                errors = 0 if verb is Verb.RCPT or verb is Verb.DATA else 1
                self._violate(reply(503, "5.5.1", f"not now: {EXPECTED[self._phase]}"), verb, line, errors)
        except Refusal as refusal:
            self._violate(refusal.reply, verb, line, refusal.errors)
        return True

    def _bound_line(self) -> None:
        """Keep a line whose end has not come, within its limit. What can be no command any more is refused once, the rest of it dropped."""
        line = self._take_rest()
        if not self._skipping and (len(line) > COMMAND_LINE_LIMIT or b"\n" in line):
            self._skipping = True
            self._refuse_line(line)
        if self._skipping:
            line = b"\r" if line.endswith(b"\r") else b""
        if self._phase is not Phase.CLOSED:
            self._buffer = line

    def _refuse_line(self, line: bytes) -> None:
        """Refuse a line that is too long, or holds a bare LF within the limit: whichever is known first, however the line was cut."""
        has_line_feed = line.find(b"\n", 0, COMMAND_LINE_LIMIT) >= 0
        self._violate(command.NOT_A_LINE if has_line_feed else command.LINE_TOO_LONG, None, line)

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
            self._refuse(replies.TOO_MANY_MESSAGES, "MAIL", "")
            self._shut()
            return
        mail = command.parse_mail(argument, is_extended=self._extended)
        if mail.size > limits.max_message_size:
            self._refuse(replies.too_big(limits), "MAIL", "")
            return
        self._event = MailGiven(mail)

    def _on_simple(self, verb: Verb, argument: bytes) -> None:
        if verb in (Verb.RSET, Verb.QUIT) and argument:
            raise Refusal(command.SYNTAX)
        if verb is Verb.QUIT:
            self._output.append(reply(221, "2.0.0", f"{self._limits.hostname} closing connection").to_bytes())
            self._shut()
            return
        if verb is Verb.VRFY:
            command.check_vrfy(argument)
        elif verb is Verb.RSET:
            self._reset()
        self._output.append(replies.SIMPLE[verb])
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
        if used < len(buffer):
            self._buffer, self._position = buffer, used
        self._end_of_data(reader)
        return True

    def _end_of_data(self, reader: DataReader) -> None:
        self._reader = None
        assert self._mail is not None  # noqa: S101 -- mail data comes after MAIL only
        refusal: Reply
        if reader.is_starved:
            refusal = replies.STARVED
        elif reader.is_over:
            refusal = replies.too_big(self._limits)
        elif reader.is_endless:
            refusal = line_too_long(self._limits.line_length_hard_limit)
        else:
            mode, longest = self._limits.invalid_line_endings, self._limits.line_length_hard_limit
            kept = judge(reader.content(), mode, longest, has_dots=reader.has_dots)
            if isinstance(kept, tuple):
                self._event = MessageGiven(self._mail, tuple(self._recipients), *kept)
                return
            refusal = kept
        self._refuse(refusal, "DATA", "")
        self._reset()
        self._phase = Phase.READY

    # -- answers

    def accept(self, positive: Reply | None = None) -> None:  # hot: micro_smtp
        """Answer the event positively and apply it. ``positive`` is needed for MessageGiven alone: the reply with its ids."""
        event, self._event = self._event, None
        if event is None:
            raise RuntimeError("there is no event to answer")
        if isinstance(event, MailGiven):
            self._mail = event.command
            self._phase = Phase.MAIL
            self._output.append(replies.MAIL_OK)
        elif isinstance(event, RecipientGiven):
            self._recipients.append(event.forward_path)
            self._phase = Phase.RCPT
            self._output.append(replies.RCPT_OK)
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
            self._output.append(replies.hello(self._limits, is_extended=event.is_extended))

    def _begin_data(self) -> None:
        if self._position < len(self._buffer):
            self._refuse(replies.TALKS_EARLY, "DATA", "")
            self._shut()
            return
        self._phase = Phase.DATA
        self._reader = DataReader(self._limits.max_message_size, self._limits.line_length_hard_limit)
        self._output.append(replies.DATA_GO)

    def refuse(self, negative: Reply) -> None:
        """Answer the event with a 4yz or 5yz; 421 closes the session after it."""
        event, self._event = self._event, None
        if event is None:
            raise RuntimeError("there is no event to answer")
        if not (negative.is_temporary or negative.is_permanent):
            raise ValueError(f"a refusal is a 4yz or a 5yz, not {negative}")
        recipient = ""
        name = "EHLO" if isinstance(event, Hello) and event.is_extended else "HELO"
        if isinstance(event, RecipientGiven):
            name, recipient = "RCPT", str(event.forward_path)
        elif isinstance(event, MailGiven):
            name, self._mail = "MAIL", event.command
        elif isinstance(event, DataAsked | MessageGiven):
            name = "DATA"
        self._is_data_refused = isinstance(event, DataAsked)
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

    def _violate(self, negative: Reply, verb: Verb | None, line: bytes, errors: int = 1) -> None:
        """Refuse what is wrong by itself, and count it. What is no command, right behind a DATA that was refused, is mail data: the end."""
        word = line[:4].decode("ascii", "replace")
        name = verb.name if verb is not None else word.upper() if word.isalpha() else ""
        self._refuse(negative, name, "")
        self._errors += ERROR_LIMIT if self._is_data_refused and verb is None else errors
        self._is_data_refused = verb is Verb.DATA
        if self._errors >= ERROR_LIMIT:
            self._refuse(replies.TOO_MANY_ERRORS, "", "")
            self._shut()
