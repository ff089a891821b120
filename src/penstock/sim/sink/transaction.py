"""One mail transaction after another on a session of the sink: its recipients, its mail data, and how all of it is counted."""

from __future__ import annotations

from functools import partial
from typing import Final

from penstock.sim.sink.acting import ActingWire, Verdict, count
from penstock.sim.sink.behaviour import Action, Kind, Stage
from penstock.sim.sink.message import SinkEnvelope, SinkMessage, text_of
from penstock.sim.sink.state import SinkState
from penstock.sim.sink.statistics import DomainStatistics
from penstock.sim.sink.wire import Cut

_DOT_OK: Final = b"250 2.0.0 received\r\n"
_TOO_BIG: Final = b"552 5.3.4 message too big\r\n"
_NOT_STORED: Final = b"452 4.3.1 could not be written down\r\n"
STOPPING: Final = b"421 4.3.2 no more mail\r\n"


class TransactionWire(ActingWire):
    """A wire that knows its transaction."""

    __slots__ = ("_domains", "_looked_ahead", "_number", "_parameters", "_refused", "_smtputf8")

    def __init__(self, state: SinkState) -> None:
        super().__init__(state)
        self._number = state.next_number()
        self._reset_transaction()

    def _reset_transaction(self) -> None:
        self._sender = None
        self._parameters: tuple[str, ...] = ()
        self._smtputf8 = self._looked_ahead = False
        self._refused: Verdict | None = None
        self._recipients = []
        self._domains: list[DomainStatistics] = []
        if self._scripted:
            self._scripted = []

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
        if not self._is_scripted:
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
        positive = _DOT_OK
        action = self.decide(Stage.DOT) if self._is_scripted else None
        if self.data_size > state.options.max_message_size:
            positive, action = _TOO_BIG, None
        elif state.stopping:
            positive, action = STOPPING, None
        if state.keeps_messages:
            self.hold_for_store()
            reply = self.reply_of(action, positive)
            state.store(self._message(reply), partial(self._stored, action, positive))
        else:
            self._answer_message(action, positive)

    def _message(self, reply: bytes | None) -> SinkMessage:
        recipients = tuple(text_of(recipient) for recipient in self._recipients)
        return SinkMessage(
            at=self.clock.wall(),
            received=self.clock.monotonic(),
            listener=self._listener,
            peer=self._peer,
            helo=self._helo,
            session=self._number,
            envelope=SinkEnvelope(text_of(self._sender or b""), recipients, self._parameters),
            wire=self.take_data(),
            reply=None if reply is None else text_of(reply.rstrip()),
        )

    def _stored(self, action: Action | None, positive: bytes, fault: OSError | None) -> None:
        if fault is not None and positive == _DOT_OK:
            action, positive = None, _NOT_STORED
        self._answer_message(action, positive)
        self.stored()

    def _answer_message(self, action: Action | None, positive: bytes) -> None:  # hot: throughput
        verdict = self.carry_out(action, positive)
        if positive is not _DOT_OK:
            verdict = Verdict.PERMFAILED if positive is _TOO_BIG else Verdict.TEMPFAILED
            if positive is STOPPING:
                self.cut(Cut.CLOSE)
        if verdict is not Verdict.ACCEPTED:
            self._end_transaction(verdict)
            return
        size, domains = self.data_size, self._domains
        total = self._state.statistics.total
        total.messages += 1
        total.bytes += size
        total.accepted += len(domains)
        for counters in domains:
            counters.accepted += 1
        for counters in domains if len(domains) == 1 else set(domains):
            counters.messages += 1
            counters.bytes += size
        self._domains = []
        self._end_transaction(verdict)
        self._state.message_accepted()
