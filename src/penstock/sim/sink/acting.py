"""How actions are decided for a session, and carried out on its wire.

Order of decisions at a stage: the script file's first rule for it, then the local part of each recipient in the order they were given;
of several delays the longest.
"""

from __future__ import annotations

import re
from enum import Enum

from penstock.sim.sink.behaviour import Action, Kind, Stage
from penstock.sim.sink.message import text_of
from penstock.sim.sink.rules import Moment
from penstock.sim.sink.state import SinkState
from penstock.sim.sink.statistics import DomainStatistics
from penstock.sim.sink.wire import Cut, Wire

_ENHANCED_CODE = re.compile(rb"(?m)^([245][0-9]{2}[ -])[245]\.[0-9]{1,3}\.[0-9]{1,3} ")


class Verdict(Enum):
    """What a reply means to what it answers."""

    ACCEPTED = "as hoped for"
    TEMPFAILED = "4yz, or anything that is no answer"
    PERMFAILED = "5yz"
    DISCONNECTED = "none"


def count(counters: DomainStatistics, verdict: Verdict, recipients: int = 1) -> None:
    """Count recipients that were not accepted."""
    if verdict is Verdict.TEMPFAILED:
        counters.tempfailed += recipients
    elif verdict is Verdict.PERMFAILED:
        counters.permfailed += recipients
    elif verdict is Verdict.DISCONNECTED:
        counters.disconnected += recipients


class ActingWire(Wire):
    """A wire that knows its session's part of the script: where it is, who is talking, and what the recipients so far ask for."""

    __slots__ = (
        "_at_quit",
        "_enhanced",
        "_helo",
        "_last",
        "_listener",
        "_peer",
        "_recipients",
        "_scripted",
        "_sender",
        "_state",
    )

    def __init__(self, state: SinkState) -> None:
        options = state.options
        super().__init__(
            state.clock, options.max_command_length, options.max_message_size, keeps_data=state.keeps_messages
        )
        self._state = state
        self._listener = self._peer = self._helo = ""
        self._enhanced = False
        self._sender: bytes | None = None
        self._recipients: list[bytes] = []
        self._scripted: list[tuple[bytes, Action]] = []
        self._at_quit: Action | None = None
        self._last: tuple[bytes, list[bytes]] = (b"", [])

    def say(self, reply: bytes) -> None:  # hot: throughput
        """Reply; without the enhanced status code where none was offered (RFC 2034 3)."""
        self._out.append(reply if self._enhanced else _ENHANCED_CODE.sub(rb"\1", reply))

    def rule(self, stage: Stage, recipients: list[bytes] | None = None) -> Action | None:  # hot: throughput
        """What the script file says at ``stage``, about ``recipients`` where given, else about those of the transaction."""
        judge = self._state.judge
        if not judge.has_rules or not judge.has_rule_for(stage):
            return None
        names = tuple(
            text_of(recipient) for recipient in (self._recipients if recipients is None else recipients)
        )
        sender = text_of(self._sender or b"")
        return judge.rule(Moment(stage, self._listener, self._peer, self._helo, sender, names))

    def decide(self, stage: Stage) -> Action | None:  # hot: throughput
        """The action at a stage behind RCPT, None for a positive reply."""
        action = self.rule(stage)
        if action is not None or not self._scripted:
            return action
        judge = self._state.judge
        for recipient, scripted in self._scripted:
            if scripted.stage is stage and judge.take_turn(recipient, scripted):
                if scripted.kind is not Kind.SLOW:
                    return scripted
                if action is None or scripted.delay > action.delay:
                    action = scripted
        return action

    def decide_quit(self) -> Action | None:
        """The action at QUIT: of a rule, about the last transaction, or of the last recipient that had one."""
        self._sender, recipients = self._last
        return self.rule(Stage.QUIT, recipients) or self._at_quit

    def reply_of(self, action: Action | None, positive: bytes) -> bytes | None:
        """What is to be said: ``positive``, or as scripted; None if the connection is cut instead."""
        if action is None or action.kind in (Kind.ACCEPT, Kind.SLOW):
            return positive
        if action.kind is Kind.RAW:
            return action.octets
        return (
            None
            if action.kind in (Kind.DISCONNECT, Kind.RESET)
            else action.reply(with_enhanced=self._enhanced)
        )

    def carry_out(self, action: Action | None, positive: bytes) -> Verdict:  # hot: throughput
        """Say ``positive``, or do what is scripted instead. A reply of 421 ends the connection (RFC 5321 3.8)."""
        if action is None:
            self.say(positive)
            return Verdict.ACCEPTED
        reply = self.reply_of(action, positive)
        if action.delay:
            self.wait(action.delay)
        if reply is None:
            self.cut(Cut.RESET if action.kind is Kind.RESET else Cut.CLOSE)
            return Verdict.DISCONNECTED
        if action.kind is Kind.RAW:
            self._out.append(reply)
        else:
            self.say(reply)
        if reply.startswith(b"421"):
            self.cut(Cut.CLOSE)
        if reply[:1] == positive[:1]:
            return Verdict.ACCEPTED
        return Verdict.PERMFAILED if reply[:1] == b"5" else Verdict.TEMPFAILED
