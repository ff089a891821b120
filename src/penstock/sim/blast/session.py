"""One SMTP connection of a blast: introduces itself, then carries one message after another for as long as it is given any.

With PIPELINING, MAIL, RCPT and DATA go out as one group and the content follows 354 (RFC 2920 3.1). Without it each command waits for its
reply. A reply that is none, or more than its limits, ends the connection: what the server says after that cannot be matched any more.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Final, Protocol, cast

from penstock.sim.blast.mail import Mail

_LINE_LIMIT: Final = 8192
_LINES_LIMIT: Final = 200


class Job:
    """A message on its way: ``scheduled`` is when it was due, ``begun`` when a connection took it; ``accepted`` its recipients so far."""

    __slots__ = ("accepted", "begun", "mail", "refusal", "scheduled", "was_content_sent")

    def __init__(self, mail: Mail, scheduled: float, begun: float) -> None:
        self.mail = mail
        self.scheduled = scheduled
        self.begun = begun
        self.accepted: list[bytes] = []
        self.refusal = b""
        self.was_content_sent = False


class Conductor(Protocol):
    """Whoever gives a session its messages and hears what became of them."""

    def ready(self, session: BlastSession) -> None:
        """The session can take a message: call ``begin`` or ``quit``, now or later."""

    def content_sent(self, job: Job) -> None:
        """The content of the job's message is being sent, to ``job.accepted``."""

    def replied(self, job: Job, reply: bytes) -> None:
        """The server accepted the message (a 2yz behind its content) or refused it; ``reply`` is the line that decided."""

    def broken(self, job: Job | None, why: str) -> None:
        """The connection ended without being asked to, in the middle of a job or (None) of nothing."""


class _Phase(Enum):
    GREETING = "waiting for the greeting"
    EHLO = "waiting for the reply to EHLO"
    HELO = "waiting for the reply to HELO"
    IDLE = "nothing asked"
    MAIL = "waiting for the reply to MAIL"
    RCPT = "waiting for the reply to a RCPT"
    DATA = "waiting for the reply to DATA"
    DOT = "waiting for the reply to the content"
    RSET = "waiting for the reply to RSET"
    QUIT = "waiting for the end"


class BlastSession(asyncio.Protocol):
    """One connection. ``closed`` is set once it is gone; ``was_ready`` tells whether the server ever took it."""

    __slots__ = (
        "_conductor",
        "_index",
        "_job",
        "_lines",
        "_phase",
        "_pipelining",
        "_rest",
        "_transport",
        "_wants_pipelining",
        "asked_at",
        "carried",
        "closed",
        "was_ready",
    )

    def __init__(self, conductor: Conductor, closed: asyncio.Event, *, pipelining: bool) -> None:
        self.closed = closed
        self.was_ready = False
        self.carried = 0
        self.asked_at = 0.0
        self._conductor = conductor
        self._wants_pipelining = pipelining
        self._pipelining = False
        self._phase = _Phase.GREETING
        self._job: Job | None = None
        self._index = 0
        self._lines = 0
        self._rest = b""

    @property
    def is_waiting(self) -> bool:
        """Whether the server owes a reply."""
        return self._phase is not _Phase.IDLE

    @property
    def is_quitting(self) -> bool:
        """Whether it has said goodbye."""
        return self._phase is _Phase.QUIT

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the greeting."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell, unless it was meant to end."""
        job, self._job = self._job, None
        if job is not None and job.refusal.startswith(b"421") and not job.was_content_sent:
            self._conductor.replied(job, job.refusal)
        elif self._phase is not _Phase.QUIT:
            self._conductor.broken(job, f"connection lost while {self._phase.value}")
        self._phase = _Phase.QUIT
        self.closed.set()

    def begin(self, job: Job) -> None:  # hot: throughput
        """Send a message. Only for a session that is ``ready``."""
        self._job = job
        self._index = 0
        self.carried += 1
        self.asked_at = job.begun
        self._phase = _Phase.MAIL
        self._transport.write(job.mail.group() if self._pipelining else job.mail.mail)

    def quit(self) -> None:
        """Say goodbye; only for a session that is ``ready``, or not yet that."""
        if self._phase is _Phase.QUIT or self._transport.is_closing():
            return
        self._phase = _Phase.QUIT
        self._transport.write(b"QUIT\r\n")

    def fail(self, why: str) -> None:
        """End the connection at once: the server owes what it does not give."""
        if self._phase is _Phase.QUIT:
            self._transport.abort()
            return
        job, self._job = self._job, None
        self._phase = _Phase.QUIT
        self._conductor.broken(job, why)
        self._transport.abort()

    def data_received(self, data: bytes) -> None:  # hot: throughput
        """Replies: all their lines, however they are cut."""
        if self._rest:
            data = self._rest + data
            self._rest = b""
        position = 0
        while (end := data.find(b"\r\n", position)) >= 0:
            separator = data[position + 3 : position + 4]
            if not data[position : position + 3].isdigit() or separator not in (b" ", b"-", b"\r"):
                self.fail(f"not a reply, {self._phase.value}")
                return
            self._lines += 1
            if separator == b"-" and self._lines < _LINES_LIMIT:
                if self._phase is _Phase.EHLO:
                    self._keyword(data[position + 4 : end])
            elif separator == b"-":
                self.fail(f"endless reply, {self._phase.value}")
                return
            else:
                self._lines = 0
                self._reply(data[position:end])
            position = end + 2
        if position < len(data):
            self._rest = data[position:]
            if len(self._rest) > _LINE_LIMIT:
                self.fail(f"endless reply line, {self._phase.value}")

    def _keyword(self, line: bytes) -> None:
        if line.split(b" ")[0].upper() == b"PIPELINING":
            self._pipelining = self._wants_pipelining

    def _reply(self, line: bytes) -> None:  # hot: throughput
        phase = self._phase
        if phase is _Phase.QUIT:
            self._transport.close()
        elif phase is _Phase.DOT:
            self._settle(line)
        elif self._job is not None:
            self._transaction_reply(self._job, line)
        elif phase is _Phase.IDLE:
            self.fail("421 between messages" if line.startswith(b"421") else "a reply that nobody asked for")
        else:
            self._opening_reply(line)

    def _opening_reply(self, line: bytes) -> None:
        positive = line.startswith(b"2")
        if self._phase is _Phase.EHLO and positive:
            self._keyword(line[4:])
        if self._phase is _Phase.GREETING and positive:
            self._phase = _Phase.EHLO
            self._transport.write(b"EHLO blast.test\r\n")
        elif positive:
            self.was_ready = True
            self._become_ready()
        elif self._phase is _Phase.EHLO and line.startswith(b"5"):
            self._phase = _Phase.HELO
            self._transport.write(b"HELO blast.test\r\n")
        else:
            self.fail(f"{line[:60].decode('ascii', 'replace')}, {self._phase.value}")

    def _transaction_reply(self, job: Job, line: bytes) -> None:  # hot: throughput
        positive = line.startswith(b"2")
        if self._phase is _Phase.MAIL:
            if not positive:
                job.refusal = line
            self._phase = _Phase.RCPT
            if not self._pipelining:
                self._next_command(job)
        elif self._phase is _Phase.RCPT:
            recipients = job.mail.recipients
            if positive:
                job.accepted.append(recipients[self._index])
            elif not job.refusal:
                job.refusal = line
            self._index += 1
            if self._index == len(recipients):
                self._phase = _Phase.DATA
            if not self._pipelining:
                self._next_command(job)
        elif self._phase is _Phase.DATA:
            self._data_reply(job, line)
        else:
            self._finish(job)

    def _next_command(self, job: Job) -> None:
        """Without pipelining: the next command, or none if the transaction has come to nothing."""
        if self._phase is _Phase.RCPT and (self._index or not job.refusal):
            self._transport.write(job.mail.rcpt(self._index))
        elif self._phase is _Phase.DATA and job.accepted:
            self._transport.write(b"DATA\r\n")
        else:
            self._abandon()

    def _data_reply(self, job: Job, line: bytes) -> None:  # hot: throughput
        if not line.startswith(b"3"):
            job.refusal = job.refusal or line
            self._abandon()
            return
        self._phase = _Phase.DOT
        if job.accepted:
            job.was_content_sent = True
            self._conductor.content_sent(job)
            self._transport.write(job.mail.content)
        else:
            # The group has asked for it although no recipient was accepted (RFC 2920 3.1): an empty message, which must be refused.
            self._transport.write(b".\r\n")

    def _abandon(self) -> None:
        self._phase = _Phase.RSET
        self._transport.write(b"RSET\r\n")

    def _settle(self, line: bytes) -> None:  # hot: throughput
        job = self._job
        if job is None:
            self.fail("a reply that nobody asked for")
        else:
            if job.was_content_sent:
                job.refusal = line
            self._finish(job)

    def _finish(self, job: Job) -> None:  # hot: throughput
        self._job = None
        self._conductor.replied(job, job.refusal)
        if job.refusal.startswith(b"421"):
            self._phase = _Phase.QUIT
            self._transport.close()
        elif self._phase is not _Phase.QUIT:
            self._become_ready()

    def _become_ready(self) -> None:  # hot: throughput
        self._phase = _Phase.IDLE
        self._conductor.ready(self)
