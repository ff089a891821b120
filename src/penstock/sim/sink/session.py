"""One SMTP session of the sink: commands in, replies out, counts kept.

A recipient's action for a stage before RCPT is carried out when the sink learns of the recipient: at MAIL if its RCPT has come in the
same read (PIPELINING) and the action is for MAIL, else at RCPT.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar, Final

from penstock.sim.sink.acting import Verdict, count
from penstock.sim.sink.behaviour import Action, BehaviourError, Stage
from penstock.sim.sink.extensions import ExtendedWire
from penstock.sim.sink.judge import acts_early
from penstock.sim.sink.message import text_of
from penstock.sim.sink.options import Extension
from penstock.sim.sink.state import SinkState
from penstock.sim.sink.statistics import DomainStatistics
from penstock.sim.sink.syntax import (
    HELO,
    MAIL,
    PIPELINED_RCPT,
    RCPT,
    ParameterError,
    mail_parameters,
    rcpt_parameters,
)
from penstock.sim.sink.transaction import STOPPING
from penstock.sim.sink.wire import Cut

#: How far behind MAIL its recipients are looked for, in octets.
_LOOK_AHEAD: Final = 1024

_MAIL_OK: Final = b"250 2.1.0 sender ok\r\n"
_RCPT_OK: Final = b"250 2.1.5 recipient ok\r\n"
_DATA_OK: Final = b"354 go ahead\r\n"
_OK: Final = b"250 2.0.0 ok\r\n"


def _name(address: object) -> str:
    if isinstance(address, tuple) and len(address) >= 2:
        return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"
    return "unknown"


class SinkSession(ExtendedWire):
    """One session. Nothing of it is shared with other sessions but ``state``."""

    __slots__ = ("_counted", "_turned_away")

    def __init__(self, state: SinkState) -> None:
        super().__init__(state)
        self._turned_away = False
        self._counted: set[DomainStatistics] = set()

    # The connection.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet, or turn away."""
        super().connection_made(transport)
        self.begin_implicit_tls()
        state = self._state
        hostname = state.options.hostname.encode()
        if len(state.sessions) >= state.options.max_connections or state.stopping:
            state.statistics.refused_connections += 1
            self.say(b"421 %b takes no more connections\r\n" % hostname)
            self.cut(Cut.CLOSE)
            return
        self._listener = _name(transport.get_extra_info("sockname"))
        self._peer = _name(transport.get_extra_info("peername"))
        state.sessions.add(self)
        state.statistics.total.connections += 1
        action = self.rule(Stage.CONNECT) or self.rule(Stage.BANNER)
        banner = b"220 %b %b sink\r\n" % (hostname, b"LMTP" if state.options.lmtp else b"ESMTP")
        if action is not None and action.stage is Stage.BANNER and self.reply_of(action, banner) is None:
            self.say(banner[: len(banner) // 2])
        if self.carry_out(action, banner) is not Verdict.ACCEPTED:
            state.statistics.refused_connections += 1
            self._turned_away = True
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the session."""
        super().connection_lost(exc)
        self._state.sessions.discard(self)

    def end_for_idleness(self) -> None:
        """The client has said nothing for too long (RFC 5321 4.5.3.2.7)."""
        self.say(b"421 4.4.2 idle for too long\r\n")
        self.cut(Cut.CLOSE)

    # What came.

    def command(self, data: bytes, start: int, end: int) -> None:  # hot: throughput
        """Answer one command."""
        verb = data[start : start + 4].upper()
        if self._exchange is not None:
            self._answer_challenge(data[start:end])
        elif not self._pipelining and end + 2 < len(data) and verb != b"BDAT":
            self._violation(b"554 5.5.0 commands came together, and PIPELINING was not offered\r\n")
        elif self._turned_away and verb != b"QUIT":
            self._error(b"503 5.5.1 you were turned away\r\n")
        else:
            self._COMMANDS.get(verb, SinkSession._unknown)(self, data, start, end)

    def line_too_long(self) -> None:
        """Refuse a command above the limit (RFC 5321 4.5.3.1.4)."""
        self._error(b"500 5.5.2 line too long\r\n")

    def early_data(self) -> None:
        """Mail data came before 354: the client has guessed (RFC 2920 3.1: DATA is the last of its group)."""
        self._violation(b"554 5.5.0 mail data came before the reply to DATA\r\n")

    def _unknown(self, data: bytes, start: int, end: int) -> None:
        self._error(b"500 5.5.2 command unknown\r\n")

    def _ehlo(self, data: bytes, start: int, end: int) -> None:
        match = HELO.fullmatch(data, start, end)
        verb = data[start : start + 4].upper()
        if (verb == b"LHLO") is not self._state.options.lmtp:
            self._unknown(data, start, end)
            return
        if match is None:
            self._error(b"501 5.5.4 a host name is needed\r\n")
            return
        self._reset_transaction()
        self._helo = text_of(match[1])
        is_extended = verb != b"HELO"
        self._enhanced = False
        if not is_extended:
            self._greeted, self._pipelining = True, False
            self.say(b"250 %b\r\n" % self._state.options.hostname.encode())
            return
        state = self._state
        reply = state.ehlo_reply if self.secured is None else state.secure_ehlo_reply
        self._greeted = self.carry_out(self.rule(Stage.EHLO), reply) is Verdict.ACCEPTED
        offered = state.options.extensions
        self._pipelining = self._greeted and Extension.PIPELINING in offered
        self._enhanced = self._greeted and Extension.ENHANCED in offered

    def _mail(self, data: bytes, start: int, end: int) -> None:  # hot: throughput
        state = self._state
        if not self._greeted or self._sender is not None:
            self._error(b"503 5.5.1 MAIL is out of place\r\n")
            return
        match = MAIL.fullmatch(data, start, end)
        if match is None:
            self._error(b"501 5.1.7 not MAIL FROM:<path>\r\n")
            return
        if state.options.requires_auth and not self._identity:
            self._error(b"530 5.7.0 AUTH first\r\n")
            return
        if state.stopping:
            self.say(STOPPING)
            self.cut(Cut.CLOSE)
            return
        self._refused, self._looked_ahead = None, False
        sender = match[1]
        if match[2] is not None:
            try:
                self._parameters, self._smtputf8 = mail_parameters(
                    match[2],
                    state.options.extensions,
                    state.options.max_message_size,
                    is_authenticated=bool(self._identity),
                )
            except ParameterError as refusal:
                self._error(refusal.reply)
                return
        else:
            self._parameters, self._smtputf8 = (), False
        if not self._smtputf8 and not sender.isascii():
            self._error(b"553 5.6.7 not without SMTPUTF8\r\n")
            return
        self._sender = sender
        if self._state.keeps_messages:
            self._mail_at = self.clock.wall()
        action, domain = self.rule(Stage.MAIL), None
        if action is None and b"-mail" in data[end : end + _LOOK_AHEAD].lower():
            action, domain = self._look_ahead(data, end)
        verdict = self.carry_out(action, _MAIL_OK)
        if verdict is not Verdict.ACCEPTED:
            self._sender, self._refused = None, verdict
            if self.is_cut and domain is not None:
                count(state.statistics.of_wire(domain), verdict)
                count(state.statistics.total, verdict)

    def _look_ahead(self, data: bytes, position: int) -> tuple[Action | None, bytes | None]:
        """The action for MAIL of the first recipient behind it that has one, and that recipient's domain."""
        judge = self._state.judge
        while match := PIPELINED_RCPT.match(data, position):
            position = match.end()
            try:
                action = judge.behaviour(match[1])
            except BehaviourError:
                continue
            if action is not None and action.stage is Stage.MAIL:
                self._looked_ahead = True
                if judge.take_turn(match[1] + b"@" + match[2], action):
                    return action, match[2]
        return None, None

    def _rcpt(self, data: bytes, start: int, end: int) -> None:  # hot: throughput
        state = self._state
        match = RCPT.fullmatch(data, start, end)
        if match is None:
            self._error(b"501 5.1.3 not RCPT TO:<path>\r\n")
            return
        recipient = match[1]
        local_part, _, domain = recipient.rpartition(b"@")
        counters = state.statistics.of_wire(domain if local_part else b"")
        if counters not in self._counted:
            self._counted.add(counters)
            counters.connections += 1
        if self._sender is None:
            self._rcpt_without_mail(counters)
            return
        if self._chunks:
            self._error(b"503 5.5.1 BDAT has begun\r\n")
            return
        if match[2] is not None:
            try:
                self._rcpt_parameters[len(self._recipients)] = rcpt_parameters(
                    match[2], state.options.extensions
                )
            except ParameterError as refusal:
                self._refuse_recipient(counters, refusal.reply)
                return
        elif self._rcpt_parameters:
            # those of one that was refused
            self._rcpt_parameters.pop(len(self._recipients), None)
        if not self._smtputf8 and not recipient.isascii():
            self._refuse_recipient(counters, b"553 5.6.7 not without SMTPUTF8\r\n")
        elif len(self._recipients) >= state.options.max_recipients:
            self.say(b"452 4.5.3 too many recipients\r\n")
            count(counters, Verdict.TEMPFAILED)
            count(state.statistics.total, Verdict.TEMPFAILED)
        else:
            self._scripted_rcpt(recipient, local_part, counters)

    def _rcpt_without_mail(self, counters: DomainStatistics) -> None:
        if self._refused is None:
            self._error(b"503 5.5.1 MAIL first\r\n")
            return
        self.say(b"503 5.5.1 MAIL was refused\r\n")
        count(counters, self._refused)
        count(self._state.statistics.total, self._refused)

    def _refuse_recipient(self, counters: DomainStatistics, reply: bytes) -> None:
        self._error(reply)
        count(counters, Verdict.PERMFAILED)
        count(self._state.statistics.total, Verdict.PERMFAILED)

    def _scripted_rcpt(
        self, recipient: bytes, local_part: bytes, counters: DomainStatistics
    ) -> None:  # hot: throughput
        state = self._state
        judge = state.judge
        try:
            scripted = judge.behaviour(local_part)
        except BehaviourError as error:
            self._refuse_recipient(counters, b"553 5.1.3 %b\r\n" % str(error).encode())
            return
        action = self.rule(Stage.RCPT, [recipient]) if judge.has_rules else None
        if scripted is not None:
            if not acts_early(scripted):
                if scripted.stage is Stage.QUIT:
                    self._at_quit = scripted
                else:
                    self._scripted.append((recipient, scripted))
            elif action is None and not (self._looked_ahead and scripted.stage is Stage.MAIL):
                action = scripted if judge.take_turn(recipient, scripted) else None
        verdict = self.carry_out(action, _RCPT_OK)
        if verdict is Verdict.ACCEPTED:
            self._recipients.append(recipient)
            self._domains.append(counters)
        else:
            count(counters, verdict)
            count(state.statistics.total, verdict)
            if self.is_cut:
                self._end_transaction(Verdict.DISCONNECTED)

    def _data(self, data: bytes, start: int, end: int) -> None:  # hot: throughput
        if end - start != 4:
            self._error(b"501 5.5.4 DATA takes no argument\r\n")
        elif self._chunks:
            self._error(b"503 5.5.1 BDAT has begun\r\n")
        elif self._recipients:
            verdict = self.carry_out(self.decide(Stage.DATA) if self._is_scripted else None, _DATA_OK)
            if verdict is Verdict.ACCEPTED:
                self.expect_data()
            else:
                self._end_transaction(verdict)
        elif self._sender is None and self._refused is None:
            self._error(b"503 5.5.1 MAIL first\r\n")
        else:
            self.say(b"554 5.5.1 no valid recipients\r\n")

    def _rset(self, data: bytes, start: int, end: int) -> None:
        if end - start != 4:
            self._error(b"501 5.5.4 RSET takes no argument\r\n")
            return
        self._reset_transaction()
        self.say(_OK)

    def _noop(self, data: bytes, start: int, end: int) -> None:
        self.say(_OK)

    def _vrfy(self, data: bytes, start: int, end: int) -> None:
        self.say(b"252 2.1.5 send it, and see\r\n")

    def _help(self, data: bytes, start: int, end: int) -> None:
        self.say(b"214 2.0.0 see penstock sink --help\r\n")

    def _quit(self, data: bytes, start: int, end: int) -> None:
        if end - start != 4:
            self._error(b"501 5.5.4 QUIT takes no argument\r\n")
            return
        self.carry_out(self.decide_quit(), b"221 2.0.0 bye\r\n")
        if not self.is_cut:
            self.cut(Cut.CLOSE)

    _COMMANDS: ClassVar[dict[bytes, Callable[[SinkSession, bytes, int, int], None]]] = {
        b"EHLO": _ehlo,
        b"HELO": _ehlo,
        b"LHLO": _ehlo,
        b"STAR": ExtendedWire.take_starttls,
        b"AUTH": ExtendedWire.take_auth,
        b"BDAT": ExtendedWire.take_bdat,
        b"MAIL": _mail,
        b"RCPT": _rcpt,
        b"DATA": _data,
        b"RSET": _rset,
        b"NOOP": _noop,
        b"VRFY": _vrfy,
        b"HELP": _help,
        b"QUIT": _quit,
    }
