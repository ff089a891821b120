"""One mail transaction after another on a session of the sink: its recipients, its mail data, and how all of it is counted."""

from __future__ import annotations

from functools import partial
from typing import Final

from penstock.mail.duration import WallTime
from penstock.sim.sink.acting import ActingWire, Verdict, count
from penstock.sim.sink.behaviour import Action, Kind, Stage
from penstock.sim.sink.message import SinkEnvelope, SinkMessage, text_of
from penstock.sim.sink.state import SinkState
from penstock.sim.sink.statistics import DomainStatistics
from penstock.sim.sink.wire import Cut

DOT_OK: Final = b"250 2.0.0 received\r\n"
TOO_BIG: Final = b"552 5.3.4 message too big\r\n"
NOT_STORED: Final = b"452 4.3.1 could not be written down\r\n"
STOPPING: Final = b"421 4.3.2 no more mail\r\n"


class TransactionWire(ActingWire):
    """A wire that knows its transaction."""

    __slots__ = (
        "_chunk_refusal",
        "_chunks",
        "_domains",
        "_identity",
        "_looked_ahead",
        "_mail_at",
        "_number",
        "_parameters",
        "_rcpt_parameters",
        "_refused",
        "_smtputf8",
    )

    def __init__(self, state: SinkState) -> None:
        super().__init__(state)
        self._number = state.next_number()
        self._identity = ""
        self._chunk_refusal = b""  # what a chunk will be answered whose octets are only thrown away
        self._rcpt_parameters: dict[int, tuple[str, ...]] = {}
        self._reset_transaction()

    def _reset_transaction(self) -> None:
        self._sender = None
        self._mail_at = WallTime(0.0)
        self._parameters: tuple[str, ...] = ()
        self._smtputf8 = self._looked_ahead = False
        self._chunks = 0
        self._refused: Verdict | None = None
        self._recipients = []
        self._domains: list[DomainStatistics] = []
        if self._scripted:
            self._scripted = []
        if self._rcpt_parameters:
            self._rcpt_parameters = {}

    def _end_transaction(self, verdict: Verdict) -> None:
        """Count its recipients, accepted ones apart, and forget them."""
        for counters in self._domains:
            count(counters, verdict)
        count(self._state.statistics.total, verdict, len(self._domains))
        self._last = (self._sender or b"", self._recipients)
        self._reset_transaction()

    @property
    def _is_scripted(self) -> bool:
        return bool(self._scripted) or self._state.judge.has_rules

    def data_begins(self) -> None:  # hot: throughput
        """Carry out what is scripted for the middle of the mail data. A refusal there ends the connection: no reply is due."""
        if not self._is_scripted or self._chunk_refusal:
            return
        action = self.decide(Stage.BODY)
        if action is None or action.kind is Kind.ACCEPT:
            return
        verdict = self.carry_out(action, b"")
        if action.kind not in (Kind.SLOW, Kind.RAW):
            self._end_transaction(verdict)
            if not self.is_cut:
                self.cut(Cut.CLOSE)

    def end_of_data(self) -> None:  # hot: throughput
        """Write the message down where that is asked for, then give it its reply."""
        state = self._state
        positive = self._positive_reply()
        action = self.decide(Stage.DOT) if self._is_scripted and positive is DOT_OK else None
        if state.keeps_messages:
            self.hold_for_store()
            reply = self.reply_of(action, positive)
            state.store(self._message(reply), partial(self._stored, action, positive))
        else:
            self._answer_message(action, positive)

    def _positive_reply(self) -> bytes:
        """What is answered where no script says otherwise; it is positive unless the message cannot be taken."""
        if self.data_size > self._state.options.max_message_size:
            return TOO_BIG
        return STOPPING if self._state.stopping else DOT_OK

    def _message(self, reply: bytes | None, replies: tuple[str | None, ...] = ()) -> SinkMessage:
        recipients = tuple(text_of(recipient) for recipient in self._recipients)
        given = self._rcpt_parameters
        secured = self.secured
        return SinkMessage(
            at=self.clock.wall(),
            received=self.clock.monotonic(),
            listener=self._listener,
            peer=self._peer,
            helo=self._helo,
            session=self._number,
            envelope=SinkEnvelope(
                text_of(self._sender or b""),
                recipients,
                self._parameters,
                tuple(given.get(index, ()) for index in range(len(recipients))) if given else (),
            ),
            wire=self.take_data(),
            reply=None if reply is None else text_of(reply.rstrip()),
            replies=replies,
            via="BDAT" if self._chunks else "DATA",
            tls=None if secured is None else secured.facts,
            authenticated=self._identity,
            begun=self._mail_at,
        )

    def _stored(self, action: Action | None, positive: bytes, fault: OSError | None) -> None:
        if fault is not None and positive == DOT_OK:
            action, positive = None, NOT_STORED
        self._answer_message(action, positive)
        self.stored()

    def _answer_message(self, action: Action | None, positive: bytes) -> None:  # hot: throughput
        verdict = self.carry_out(action, positive)
        if positive is not DOT_OK:
            verdict = self._refused_with(positive)
        if verdict is not Verdict.ACCEPTED:
            self._end_transaction(verdict)
            return
        self._count_accepted(self._domains)
        self._domains = []
        self._end_transaction(verdict)
        self._state.message_accepted()

    def _refused_with(self, reply: bytes) -> Verdict:
        """What a reply that is not ``DOT_OK`` means; the session ends with STOPPING."""
        if reply is STOPPING:
            self.cut(Cut.CLOSE)
        return Verdict.PERMFAILED if reply is TOO_BIG else Verdict.TEMPFAILED

    def _count_accepted(self, domains: list[DomainStatistics]) -> None:  # hot: throughput
        """Count the message once for each of ``domains``, which have an entry for each recipient that it was accepted for."""
        size = self.data_size
        total = self._state.statistics.total
        total.messages += 1
        total.bytes += size
        total.accepted += len(domains)
        for counters in domains:
            counters.accepted += 1
        for counters in domains if len(domains) == 1 else set(domains):
            counters.messages += 1
            counters.bytes += size
