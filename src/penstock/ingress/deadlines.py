"""By when a client must have done what it has to do, whatever it sends meanwhile.

A whole command is due within ``client_timeout``; mail data at ``min_data_rate``, and never silent for ``client_timeout``; a message accepted
within ``session_timeout``. Activity only notes its time, so that it costs nothing; one timer of the connection looks whether a deadline has
passed.
"""

from __future__ import annotations

from typing import Final

from penstock.mail.configuration import SmtpListenerConfig
from penstock.mail.reply import Reply, reply
from penstock.smtp.server import ServerSession

_TIMED_OUT: Final = reply(421, "4.4.2", "nothing came for too long; closing connection")
_TOO_SLOW: Final = reply(421, "4.4.2", "the mail data came too slowly; closing connection")
_NO_MAIL: Final = reply(421, "4.4.2", "no message for too long; closing connection")


class Deadlines:
    """Times of the event loop's clock: when the client last did a whole thing, when octets came, and when a message was accepted."""

    __slots__ = ("_messages", "_progress", "active_at", "received_at", "useful_at")

    def __init__(self, now: float) -> None:
        self.active_at = self.received_at = self.useful_at = now
        self._progress = 0
        self._messages = 0

    def restart(self, now: float) -> None:
        """Everything begins anew."""
        self.active_at = self.received_at = self.useful_at = now

    def follow(self, session: ServerSession) -> None:  # hot: throughput
        """Note whether the client has done something whole with the octets that came last."""
        if session.progress != self._progress:
            self._progress = session.progress
            self.active_at = self.received_at
        if session.messages != self._messages:
            self._messages = session.messages
            self.useful_at = self.received_at

    def due(self, session: ServerSession, config: SmtpListenerConfig) -> tuple[float, Reply]:
        """When time is up, and what the client is told then. While an event waits, the time is ours, and the reply not to be said."""
        if session.is_waiting:
            return self.active_at + config.data_processing_timeout, _TIMED_OUT
        useless = self.useful_at + config.session_timeout
        if session.is_receiving_data:
            idle = self.received_at + config.client_timeout
            slow = self.active_at + config.client_timeout + session.received / config.min_data_rate
            if slow < min(idle, useless):
                return slow, _TOO_SLOW
        else:
            idle = self.active_at + config.client_timeout
        return (idle, _TIMED_OUT) if idle <= useless else (useless, _NO_MAIL)
