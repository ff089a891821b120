"""STARTTLS, AUTH and BDAT on a session of the sink, and how it refuses what is no SMTP."""

from __future__ import annotations

from typing import Final

from penstock.sim.sink.acting import Verdict
from penstock.sim.sink.authentication import Exchange
from penstock.sim.sink.behaviour import Action, Stage
from penstock.sim.sink.lmtp import LmtpWire
from penstock.sim.sink.options import Extension
from penstock.sim.sink.state import SinkState
from penstock.sim.sink.syntax import AUTH, BDAT
from penstock.sim.sink.transaction import TOO_BIG
from penstock.sim.sink.wire import Cut

#: Commands answered 5yz for their form or order before the sink hangs up.
_ERROR_LIMIT: Final = 100
_READY: Final = b"220 2.0.0 go ahead\r\n"


class ExtendedWire(LmtpWire):
    """A wire with the extensions that are commands."""

    __slots__ = ("_errors", "_exchange", "_greeted", "_is_last_chunk", "_pipelining")

    def __init__(self, state: SinkState) -> None:
        super().__init__(state)
        self._greeted = self._pipelining = self._is_last_chunk = False
        self._errors = 0
        self._exchange: Exchange | None = None

    def _error(self, reply: bytes) -> None:
        self._errors += 1
        self._state.statistics.protocol_errors += 1
        if self._errors >= _ERROR_LIMIT:
            self.say(b"421 4.7.0 too many errors\r\n")
            self.cut(Cut.CLOSE)
        else:
            self.say(reply)

    def _violation(self, reply: bytes) -> None:
        self._error(reply)
        self._end_transaction(Verdict.PERMFAILED)
        self.cut(Cut.CLOSE)

    # STARTTLS (RFC 3207)

    def take_starttls(self, data: bytes, start: int, end: int) -> None:
        """Answer STARTTLS; TLS begins behind a 220."""
        tls = self._state.tls
        is_offered = tls is not None and not self._state.is_tls_implicit
        if tls is None or not is_offered or data[start : start + 8].upper() != b"STARTTLS":
            self._error(b"500 5.5.2 command unknown\r\n")
        elif end - start != 8:
            self._error(b"501 5.5.4 STARTTLS takes no argument\r\n")
        elif self.secured is not None or not self._greeted or self._sender is not None:
            self._error(b"503 5.5.1 STARTTLS is out of place\r\n")
        elif end + 2 < len(data):
            self._violation(b"554 5.5.0 octets came behind STARTTLS\r\n")
        elif self.carry_out(self.rule(Stage.STARTTLS), _READY) is Verdict.ACCEPTED and not self.is_cut:
            self._forget_client()
            self.begin_tls(tls)

    def _forget_client(self) -> None:
        """What was said before TLS does not hold within it (RFC 3207 4.2)."""
        self._reset_transaction()
        self._greeted = self._pipelining = self._enhanced = False
        self._helo = self._identity = ""

    def tls_failed(self) -> None:
        """No handshake, or a broken one: an error, and no mail."""
        self._state.statistics.protocol_errors += 1
        self._end_transaction(Verdict.DISCONNECTED)

    def begin_implicit_tls(self) -> None:
        """Encrypt from the first octet on (RFC 8314), if the sink does."""
        if self._state.is_tls_implicit and self._state.tls is not None:
            self.begin_tls(self._state.tls)
            self.flush()

    # AUTH (RFC 4954)

    def take_auth(self, data: bytes, start: int, end: int) -> None:
        """Answer AUTH, or ask for more of it."""
        state = self._state
        match = AUTH.fullmatch(data, start, end)
        if state.options.login is None:
            self._error(b"502 5.5.1 AUTH is not offered\r\n")
        elif state.tls is not None and self.secured is None:
            self._error(b"538 5.7.11 AUTH is offered under TLS\r\n")
        elif not self._greeted or self._identity or self._sender is not None:
            self._error(b"503 5.5.1 AUTH is out of place\r\n")
        elif match is None:
            self._error(b"501 5.5.4 not AUTH mechanism\r\n")
        elif end + 2 < len(data):
            self._violation(b"554 5.5.0 octets came behind AUTH\r\n")
        else:
            self._exchange = Exchange(state.options.login, match[1], match[2])
            self._go_on_with_auth(self._exchange)

    def _answer_challenge(self, line: bytes) -> None:
        exchange = self._exchange
        assert exchange is not None  # noqa: S101 -- asked by the caller
        exchange.take(line)
        self._go_on_with_auth(exchange)

    def _go_on_with_auth(self, exchange: Exchange) -> None:
        if not exchange.is_over:
            self.say(exchange.reply)
            return
        self._exchange = None
        if not exchange.identity:
            self._error(exchange.reply)
        elif self.carry_out(self.rule(Stage.AUTH), exchange.reply) is Verdict.ACCEPTED:
            self._identity = exchange.identity

    # BDAT (RFC 3030)

    def take_bdat(self, data: bytes, start: int, end: int) -> None:
        """Take the announcement of a chunk. Whatever is to be said about it is said behind its octets."""
        match = BDAT.fullmatch(data, start, end)
        if Extension.CHUNKING not in self._state.options.extensions:
            self._violation(b"502 5.5.1 BDAT is not offered\r\n")
        elif match is None:
            self._violation(b"501 5.5.4 not BDAT size [LAST]: what follows cannot be told from commands\r\n")
        else:
            self._chunk_refusal = self._reason_against_chunk()
            is_first = not self._chunks
            self._chunks += not self._chunk_refusal
            self._is_last_chunk = match[2] is not None
            size = int(match[1])
            self.expect_chunk(size, is_first=is_first)
            if not size:
                self.leave_chunk(is_followed=end + 2 < len(data))

    def _reason_against_chunk(self) -> bytes:
        if self._recipients:
            return b""
        if self._sender is None and self._refused is None:
            return b"503 5.5.1 MAIL first\r\n"
        return b"554 5.5.1 no valid recipients\r\n"

    def end_of_chunk(self, *, is_followed: bool) -> None:
        """Answer a chunk; the last one is the end of the message."""
        refusal, self._chunk_refusal = self._chunk_refusal, b""
        if is_followed and not self._pipelining:
            self._violation(b"554 5.5.0 commands came together, and PIPELINING was not offered\r\n")
        elif refusal:
            self.take_data()
            self._error(refusal)
        elif self.data_size > self._state.options.max_message_size and not self._is_last_chunk:
            self.say(TOO_BIG)
            self._end_transaction(Verdict.PERMFAILED)
        else:
            self._accept_chunk()

    def _accept_chunk(self) -> None:
        positive = b"" if self._is_last_chunk else b"250 2.0.0 %d octets\r\n" % self.data_size
        action: Action | None = None
        if self._is_scripted and self._chunks == 1:
            action = self.decide(Stage.DATA)
        verdict = Verdict.ACCEPTED if action is None and not positive else self.carry_out(action, positive)
        if verdict is not Verdict.ACCEPTED:
            self._end_transaction(verdict)
        elif self._is_last_chunk:
            self.end_of_data()
