"""LMTP (RFC 2033): mail data is answered once for each recipient that was accepted, in their order."""

from __future__ import annotations

from functools import partial

import msgspec

from penstock.mail.duration import Seconds
from penstock.sim.sink.acting import Verdict, count
from penstock.sim.sink.behaviour import Action, Stage
from penstock.sim.sink.message import text_of
from penstock.sim.sink.statistics import DomainStatistics
from penstock.sim.sink.transaction import DOT_OK, NOT_STORED, TransactionWire


class LmtpWire(TransactionWire):
    """A wire whose transactions end as the sink's protocol says, SMTP or LMTP."""

    __slots__ = ()

    def end_of_data(self) -> None:  # hot: throughput
        """Write the message down where that is asked for, then give it its reply, or its recipients theirs."""
        state = self._state
        if not state.options.lmtp:
            super().end_of_data()
            return
        positive = self._positive_reply()
        actions: list[Action | None] = [None] * len(self._recipients)
        if self._is_scripted and positive is DOT_OK:
            actions = self._actions()
        delay = max((action.delay for action in actions if action is not None), default=0.0)
        if delay:
            self.wait(Seconds(delay))
        if not state.keeps_messages:
            self._answer_each(actions, positive)
            return
        self.hold_for_store()
        replies = tuple(
            None if reply is None else text_of(reply.rstrip())
            for reply in (self.reply_of(action, positive) for action in actions)
        )
        first = next((reply for reply in replies if reply is not None and reply.startswith("2")), replies[0])
        message = self._message(None if first is None else first.encode(), replies)
        state.store(message, partial(self._each_stored, actions, positive))

    def _actions(self) -> list[Action | None]:
        """What is to be done for each recipient: a rule about it, or what its local part asks for."""
        judge = self._state.judge
        scripted = {recipient: action for recipient, action in self._scripted if action.stage is Stage.DOT}
        actions: list[Action | None] = []
        for recipient in self._recipients:
            action = self.rule(Stage.DOT, [recipient])
            if action is None and recipient in scripted and judge.take_turn(recipient, scripted[recipient]):
                action = scripted[recipient]
            actions.append(action)
        return actions

    def _each_stored(self, actions: list[Action | None], positive: bytes, fault: OSError | None) -> None:
        if fault is not None and positive == DOT_OK:
            actions, positive = [None] * len(actions), NOT_STORED
        self._answer_each(actions, positive)
        self.stored()

    def _answer_each(self, actions: list[Action | None], positive: bytes) -> None:
        total = self._state.statistics.total
        accepted: list[DomainStatistics] = []
        for counters, action in zip(self._domains, actions, strict=True):
            verdict = Verdict.DISCONNECTED
            if not self.is_cut:
                # the longest of their delays is being waited for already
                at_once = None if action is None else msgspec.structs.replace(action, delay=Seconds(0.0))
                verdict = self.carry_out(at_once, positive)
                if positive is not DOT_OK:
                    verdict = self._refused_with(positive)
            if verdict is Verdict.ACCEPTED:
                accepted.append(counters)
            else:
                count(counters, verdict)
                count(total, verdict)
        self._domains = []
        if accepted:
            self._count_accepted(accepted)
        self._end_transaction(Verdict.ACCEPTED)
        if accepted:
            self._state.message_accepted()
