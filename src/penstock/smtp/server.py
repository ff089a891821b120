"""A server session: fed octets, it gives events; told the answers, it gives octets.

The shell asks for ``next_event`` until there is none. An event waits for its answer, ``accept`` or ``refuse``, and nothing further is read
until it has one, so replies keep the order of commands however they are pipelined (RFC 2920). What the session refuses by itself (syntax,
order, limits) it collects in ``refusals``, for a rejection is to be recorded whoever decided it.

Commands go check, policy, apply: ``check`` checks, the shell is the policy, ``accept`` applies. Encryption is the shell's: a session has
plain octets in and out, and is told by ``secured`` that from there on they come through TLS.
"""

from __future__ import annotations

from typing import Final

from penstock.mail.reply import Reply, reply
from penstock.smtp import auth, chunk, command, extension, replies
from penstock.smtp.apply import apply, refused
from penstock.smtp.check import Standing, begin_auth, check
from penstock.smtp.command import COMMAND_LINE_LIMIT, ERROR_LIMIT, Refusal
from penstock.smtp.intake import Intake, Read
from penstock.smtp.lines import BadLine, LineBuffer
from penstock.smtp.outbox import Outbox
from penstock.smtp.phase import EXPECTED, TRANSITIONS, Phase, Verb
from penstock.smtp.server_events import (
    AuthGiven,
    DataAsked,
    Hello,
    MailGiven,
    MessageGiven,
    RecipientGiven,
    Refused,
    Replying,
    ServerEvent,
    ServerLimits,
    TlsAsked,
    XclientGiven,
)
from penstock.smtp.transaction import Transaction

__all__ = [
    "AuthGiven",
    "DataAsked",
    "Hello",
    "MailGiven",
    "MessageGiven",
    "RecipientGiven",
    "Refused",
    "Replying",
    "ServerEvent",
    "ServerLimits",
    "ServerSession",
    "TlsAsked",
    "XclientGiven",
]

#: Failed authentications of one session; RFC 4954 4 leaves the number to the server.
AUTH_FAILURES: Final = 3

_NO_EVENT: Final = "there is no event to answer"


class ServerSession:
    """One session, from the banner to its end. ``is_secure``: its octets come through TLS from the first one on (RFC 8314)."""

    __slots__ = (
        "_auth_failures",
        "_errors",
        "_event",
        "_exchange",
        "_intake",
        "_is_data_refused",
        "_lines",
        "_outbox",
        "_phase",
        "_standing",
        "progress",
    )

    def __init__(self, limits: ServerLimits, *, is_secure: bool = False) -> None:
        self._standing = Standing(limits, is_secure=is_secure)
        self._outbox = Outbox(is_reviewed=limits.reviews_replies)
        self._lines = LineBuffer()
        self._phase = Phase.CONNECTED
        self._event: ServerEvent | None = None
        self._intake = Intake()
        self._exchange: auth.Exchange | None = None
        self._auth_failures = 0
        self._errors = 0
        #: whether the last command was a DATA and was refused: a client that did not wait for the reply goes on with mail data
        self._is_data_refused = False
        #: goes up with every line, message and chunk that has come whole
        self.progress = 0

    # -- what it says of itself

    @property
    def is_secure(self) -> bool:
        """Whether its octets come through TLS."""
        return self._standing.is_secure

    @property
    def is_closed(self) -> bool:
        """Whether the connection is to be closed once the output is written."""
        return self._phase is Phase.CLOSED and not self._outbox.waiting

    @property
    def is_greeted(self) -> bool:
        """Whether the client was told something, be it that it is not welcome."""
        return self._phase is not Phase.CONNECTED

    @property
    def is_starting_tls(self) -> bool:
        """Whether the handshake is to follow once the output is written."""
        return self._phase is Phase.TLS and not self._outbox.waiting

    @property
    def is_receiving_data(self) -> bool:
        """Whether mail data is being read."""
        return self._phase is Phase.DATA or self._phase is Phase.CHUNKS

    @property
    def messages(self) -> int:
        """Messages accepted so far."""
        return self._standing.messages

    @property
    def received(self) -> int:
        """Octets so far of the mail data that is being read."""
        return self._intake.received(self._standing.transaction)

    @property
    def is_waiting(self) -> bool:
        """Whether an event has not been answered yet."""
        return self._event is not None

    @property
    def has_input(self) -> bool:  # hot: throughput
        """Whether there are octets that have not been read."""
        return bool(self._lines.octets)

    @property
    def takes_input(self) -> bool:  # hot: throughput
        """Whether octets can be acted on now: the client was greeted, and no event waits for its answer."""
        return self._event is None and self._phase is not Phase.CONNECTED

    @property
    def holds_octets(self) -> bool:  # hot: throughput
        """Whether ``buffered`` may be other than 0."""
        return bool(self._lines.octets) or self._event is not None or self.is_receiving_data

    @property
    def is_turning(self) -> bool:  # hot: throughput
        """Whether the connection is to be closed or the handshake to begin: a quick look, ``is_closed`` and ``is_starting_tls`` say which."""
        return self._phase is Phase.CLOSED or self._phase is Phase.TLS

    @property
    def has_more(self) -> bool:  # hot: throughput
        """Whether ``next_event`` may have something without further octets: a quick look, ``has_work`` is the exact one."""
        return bool(self._lines.octets or self._outbox.waiting)

    @property
    def buffered(self) -> int:
        """Octets held in memory: input not yet read, the mail data so far, and a message that waits for its answer."""
        transaction, event = self._standing.transaction, self._event
        held = len(self._lines) + (transaction.held if transaction is not None else 0)
        return held + len(event.content) if isinstance(event, MessageGiven) else held

    @property
    def has_work(self) -> bool:
        """Whether ``next_event`` could go on at once."""
        if self._event is not None:
            return False
        if self._outbox.waiting:
            return True
        if self._phase is Phase.DATA or self._intake.is_within_chunk(self._standing.transaction):
            return self.has_input
        return bool(TRANSITIONS[self._phase]) and self._lines.has_line(self._line_limit)

    @property
    def _line_limit(self) -> int:
        return COMMAND_LINE_LIMIT if self._exchange is None else auth.RESPONSE_LIMIT

    @property
    def refusals(self) -> list[Refused]:
        """The negative replies that were said and not yet taken."""
        return self._outbox.refusals

    def take_refusals(self) -> list[Refused]:
        """The negative replies since the last call."""
        refusals, self._outbox.refusals = self._outbox.refusals, []
        return refusals

    def take_output(self) -> bytes:
        """The octets to write since the last call."""
        return self._outbox.take()

    # -- from the shell

    def greet(self) -> None:
        """Say the banner (RFC 5321 3.1)."""
        if self._phase is not Phase.CONNECTED:
            return
        if self.has_input:
            self.turn_away(replies.TALKS_FIRST)
        else:
            self._phase = Phase.START
            self._outbox.say(replies.banner(self._standing.limits), "")

    def turn_away(self, negative: Reply) -> None:
        """Refuse the whole session instead of greeting (RFC 5321 3.1: 554, or 421), and end it."""
        if self._phase is Phase.CLOSED:
            return
        self._refuse(negative, "")
        self._shut()

    def use(self, limits: ServerLimits) -> None:
        """Other limits from now on; what was offered stays offered until the next EHLO."""
        self._standing.limits = limits
        self._outbox.is_reviewed = limits.reviews_replies

    def secured(self) -> None:
        """The handshake is done: nothing of what was said before counts any more (RFC 3207 4.2)."""
        self._lines = LineBuffer()
        self._standing.is_secure = True
        self._standing.begin_anew()
        self._phase = Phase.START

    def close(self, farewell: Reply) -> None:
        """End the session with a reply, 421 as a rule (RFC 5321 3.8)."""
        if self._phase is not Phase.CLOSED:
            self._event = None
            self._outbox.close(farewell)
            self._shut()

    def _shut(self) -> None:
        self._phase = Phase.CLOSED
        self._lines.take()
        self._event = None
        self._standing.transaction = self._exchange = None
        self._intake.stop()

    def feed(self, data: bytes) -> None:
        """Give it octets from the client."""
        if self._phase is Phase.TLS:
            # in the clear, and before the client can have read our 220: as in apply
            self.close(replies.TALKS_BEHIND_STARTTLS)
        elif self._phase is not Phase.CLOSED:
            self._lines.feed(data)

    def drop_data(self) -> None:
        """Keep nothing of the mail data that is coming in; its end will be answered 452 4.3.1."""
        if self._standing.transaction is not None:
            self._standing.transaction.drop()

    def next_event(self, budget: int = 100) -> ServerEvent | None:  # hot: micro_smtp
        """The next event, or None: more octets are needed, or an answer, or ``budget`` commands were handled without an event.

        ``has_work`` tells the last case from the others.
        """
        if self._event is not None:
            return None
        outbox, intake = self._outbox, self._intake
        for _ in range(budget):
            if outbox.waiting:
                self._event = outbox.replying()
            elif self._phase is Phase.DATA:
                if not self._read_data():
                    return None
            elif (self._phase is Phase.CHUNKS or intake.late is not None) and intake.is_within_chunk(
                self._standing.transaction
            ):
                if not self._read_chunk():
                    return None
            elif not TRANSITIONS[self._phase] or not self._read_line():
                return None
            if self._event is not None:
                return self._event
        return None

    # -- lines

    def _read_line(self) -> bool:  # hot: micro_smtp
        """Handle one line; False if there is none yet."""
        try:
            line = self._lines.line(COMMAND_LINE_LIMIT if self._exchange is None else auth.RESPONSE_LIMIT)
        except BadLine as bad:
            verb = Verb.AUTH if self._exchange is not None else None
            too_long = auth.TOO_LONG if verb else command.LINE_TOO_LONG
            self._exchange = None
            answer = too_long if bad.is_too_long else command.NOT_A_LINE
            self._violate(Refusal(answer, command.weight(bad.start)), verb)
            return True
        if line is None:
            return False
        self.progress += 1
        verb = None
        try:
            if self._exchange is not None:
                verb = Verb.AUTH
                self._on_response(line)
                return True
            verb, argument = command.parse_line(line)
            if verb is Verb.BDAT:
                self._on_bdat(argument)
            elif verb not in TRANSITIONS[self._phase]:
                raise self._out_of_order(verb)
            elif verb is Verb.AUTH:
                self._on_auth(argument)
            else:
                self._event = check(verb, argument, self._standing)
                if self._event is None:
                    self._do(verb)
            self._is_data_refused = False
        except Refusal as refusal:
            self._exchange = None
            self._violate(refusal, verb)
        return True

    def _on_auth(self, argument: bytes) -> None:
        self._exchange, initial = begin_auth(argument, self._standing)
        if initial is not None:
            self._on_response(initial)
        else:
            self._outbox.say(self._exchange.challenge(), "AUTH")

    def _out_of_order(self, verb: Verb) -> Refusal:
        # pipelined behind a MAIL or RCPT that was refused, these are no errors (RFC 2920 3.1)
        errors = 0 if verb in (Verb.RCPT, Verb.DATA, Verb.BDAT) else 1
        return Refusal(reply(503, "5.5.1", f"not now: {EXPECTED[self._phase]}"), errors)

    def _on_response(self, response: bytes) -> None:
        """A line of an authentication exchange (RFC 4954 4)."""
        exchange = self._exchange
        assert exchange is not None  # noqa: S101 -- a response is read within an exchange only
        exchange.take(response)
        if exchange.is_complete:
            self._exchange = None
            self._event = AuthGiven(exchange.credentials())
        else:
            self._outbox.say(exchange.challenge(), "AUTH")

    def _do(self, verb: Verb) -> None:
        """Carry out a command that needs nobody's consent."""
        if verb is Verb.QUIT:
            hostname = self._standing.limits.hostname
            self._outbox.say(reply(221, "2.0.0", f"{hostname} closing connection"), "QUIT")
            self._shut()
            return
        if verb is Verb.RSET:
            self._standing.transaction = None
        self._outbox.say_ready(replies.SIMPLE[verb], verb.name)
        self._move(verb)

    # -- mail data

    def _read_data(self) -> bool:
        """Handle mail data; False if its end has not come yet."""
        transaction = self._standing.transaction
        assert transaction is not None  # noqa: S101 -- mail data comes in a transaction only
        if self._intake.read_data(transaction, self._lines) is Read.MORE:
            return False
        self._end_of_data(transaction, "DATA")
        return True

    def _end_of_data(self, transaction: Transaction, name: str) -> None:
        self.progress += 1
        given = transaction.given(self._standing.limits)
        transaction.data = transaction.chunks = None
        self._phase = Phase.READY
        if isinstance(given, MessageGiven):
            self._event = given
        else:
            self._refuse(given, name)
            self._standing.transaction = None

    def _on_bdat(self, argument: bytes) -> None:
        """A chunk is to come, and is read whatever is said to it: what cannot be told from commands ends the session."""
        standing = self._standing
        if extension.CHUNKING not in standing.offered:
            raise Refusal(chunk.NOT_OFFERED, ERROR_LIMIT)
        given = chunk.parse_bdat(argument)
        if Verb.BDAT in TRANSITIONS[self._phase]:
            self._intake.begin_chunk(standing.transaction, given, standing.limits)
            self._move(Verb.BDAT)
        else:
            self._intake.begin_chunk(None, given, standing.limits)

    def _read_chunk(self) -> bool:
        """Handle octets of a chunk; False if its end has not come yet."""
        transaction = self._standing.transaction
        read = self._intake.read_chunk(transaction, self._lines)
        if read is Read.MORE:
            return False
        if read is Read.MESSAGE and transaction is not None:
            self._end_of_data(transaction, "BDAT")
            return True
        self.progress += 1
        if read is Read.LATE_CHUNK:
            self._violate(self._out_of_order(Verb.BDAT), Verb.BDAT)
        elif transaction is not None and (refusal := transaction.refusal(self._standing.limits)) is not None:
            self._refuse(refusal, "BDAT")
        else:
            self._outbox.say(replies.chunk_received(self._intake.chunk.size), "BDAT")
        return True

    def _move(self, verb: Verb) -> None:
        """To the phase after a positive reply."""
        self._phase = TRANSITIONS[self._phase][verb]

    # -- answers

    def accept(self, positive: Reply | None = None) -> None:  # hot: micro_smtp
        """Answer the event positively and apply it. ``positive`` is needed for MessageGiven alone: the reply with its ids."""
        event, self._event = self._event, None
        if event is None:
            raise RuntimeError(_NO_EVENT)
        has_input = bool(self._lines.octets)
        said, name, verb, is_final = apply(event, self._standing, positive, has_input=has_input)
        if is_final:
            self._refuse(said.reply, name)
            self._shut()
            return
        if verb is not None:
            self._phase = TRANSITIONS[self._phase][verb]
            if verb is Verb.DATA:
                self._intake.begin_data(self._standing.transaction, self._standing.limits)
        else:
            self._errors = 0  # a message
        outbox = self._outbox
        if outbox.is_reviewed:
            outbox.say_ready(said, name)
        else:
            outbox.output.append(said.octets)

    def accept_as(self, event: Hello | MailGiven | RecipientGiven) -> None:
        """Answer an event with another of its kind in its place: what the policy has made of it."""
        if type(event) is not type(self._event):
            raise TypeError(f"there is no such event to answer, but {self._event}")
        self._event = event
        self.accept()

    def refuse(self, negative: Reply, *, is_final: bool = False) -> None:
        """Answer the event with a 4yz or 5yz; 421 closes the session after it, any other if it ``is_final``."""
        if not (negative.is_temporary or negative.is_permanent):
            raise ValueError(f"a refusal is a 4yz or a 5yz, not {negative}")
        event, self._event = self._event, None
        if event is None:
            raise RuntimeError(_NO_EVENT)
        self._is_data_refused = isinstance(event, DataAsked)
        self._outbox.refuse(refused(event, negative, self._standing))
        if isinstance(event, MessageGiven):
            self._standing.transaction = None
        elif isinstance(event, AuthGiven) and negative.is_permanent:
            self._auth_failures += 1
            if self._auth_failures >= AUTH_FAILURES:
                self._refuse(replies.TOO_MANY_FAILURES, "AUTH")
                self._shut()
        if negative.code == 421 or is_final:
            self._shut()

    def say(self, answer: Reply) -> None:
        """Answer Replying: the reply as it is to be said."""
        if not isinstance(self._event, Replying):
            raise TypeError(f"no reply waits to be said, but {self._event}")
        self._event = None
        self._outbox.seen(answer)

    def _refuse(self, negative: Reply, name: str, recipient: str = "") -> None:
        self._outbox.refuse(Refused(negative, name, self._standing.sender(), recipient))

    def _violate(self, refusal: Refusal, verb: Verb | None) -> None:
        """Refuse what is wrong by itself, and count it. What is no command, right behind a DATA that was refused, is mail data: the end.

        What is no known verb is not named: behind a refused AUTH it may be a password.
        """
        self._refuse(refusal.reply, verb.name if verb is not None else "", refusal.recipient)
        self._errors += ERROR_LIMIT if self._is_data_refused and verb is None else refusal.errors
        self._is_data_refused = verb is Verb.DATA
        if refusal.reply.code == 421:
            self._shut()
        elif self._errors >= ERROR_LIMIT:
            self._refuse(replies.TOO_MANY_ERRORS, "")
            self._shut()
