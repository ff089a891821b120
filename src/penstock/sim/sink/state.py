"""What the sessions of one sink share: its settings, its judge, its counts, and where messages go."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

from penstock.mail.configuration import TlsMode
from penstock.sim.clock import TimedClock
from penstock.sim.sink.judge import Judge
from penstock.sim.sink.message import SinkMessage
from penstock.sim.sink.options import Extension, SinkOptions
from penstock.sim.sink.record import Done, Recorder
from penstock.sim.sink.statistics import SinkStatistics
from penstock.sim.tls import ServerTls

if TYPE_CHECKING:
    from penstock.sim.sink.session import SinkSession


class SinkState:
    """Shared by all sessions of a sink. ``on_message`` sees every message whose mail data came to its end, before it is answered.

    OSError if the options name a certificate that cannot be used.
    """

    def __init__(
        self,
        options: SinkOptions,
        judge: Judge,
        clock: TimedClock,
        recorder: Recorder | None,
        on_message: Callable[[SinkMessage], None] | None,
        on_full: Callable[[], None],
    ) -> None:
        self.options = options
        self.judge = judge
        self.clock = clock
        self.statistics = SinkStatistics()
        self.sessions: set[SinkSession] = set()
        self.keeps_messages = recorder is not None or on_message is not None
        self.stopping = False
        self._recorder = recorder
        self._on_message = on_message
        self._on_full = on_full
        self._numbers = itertools.count(1)
        self.tls: ServerTls | None = None
        if options.tls is not TlsMode.OFF:
            self.tls = ServerTls(options.hostname, options.tls_certificate, options.tls_private_key)
        self.is_tls_implicit = options.tls is TlsMode.IMPLICIT
        self.ehlo_reply = self._ehlo_reply(is_secure=False)
        self.secure_ehlo_reply = self._ehlo_reply(is_secure=True)

    def next_number(self) -> int:
        """A number for a session, from 1."""
        return next(self._numbers)

    @property
    def is_full(self) -> bool:
        """Whether ``count`` messages have been accepted."""
        return bool(self.options.count) and self.statistics.total.messages >= self.options.count

    def store(self, message: SinkMessage, done: Done) -> None:
        """Write the message down and show it to ``on_message``; then call ``done``, at once or later."""
        if self._on_message is not None:
            self._on_message(message)
        if self._recorder is None:
            done(None)
        else:
            self._recorder.write(message, done)

    def message_accepted(self) -> None:
        """Another message was accepted and counted."""
        if self.is_full and not self.stopping:
            self.stopping = True
            self._on_full()

    def _ehlo_reply(self, *, is_secure: bool) -> bytes:
        options = self.options
        lines = [options.hostname]
        for extension in Extension:
            if extension in options.extensions:
                limit = f" {options.max_message_size}" if extension is Extension.SIZE else ""
                lines.append(extension.value + limit)
        if self.tls is not None and not is_secure:
            lines.append("STARTTLS")
        if options.login is not None and (is_secure or self.tls is None):
            lines.append("AUTH PLAIN LOGIN")
        last = len(lines) - 1
        return b"".join(
            b"250%b%b\r\n" % (b" " if index == last else b"-", line.encode())
            for index, line in enumerate(lines)
        )
