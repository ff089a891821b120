"""A blast as it runs: keeps its connections, gives them messages when those are due, waits for what comes out at the other end."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Final

from penstock.mail.configuration import Endpoint
from penstock.mail.duration import Seconds
from penstock.sim.blast.attached_sink import AttachedSink
from penstock.sim.blast.ledger import Ledger
from penstock.sim.blast.mail import MailMaker
from penstock.sim.blast.options import BlastOptions
from penstock.sim.blast.pace import Pace
from penstock.sim.blast.receipt import Receipt, check_of
from penstock.sim.blast.report import BlastProgress, BlastReport
from penstock.sim.blast.session import BlastSession, Job
from penstock.sim.blast.tally import Tally, sink_figures
from penstock.sim.clock import LoopClock, TimedClock, Timer

#: Connections that fail in a row, on one slot, before it gives up: four seconds with these pauses.
_ATTEMPTS: Final = 8
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
#: A timer of uvloop has this resolution; asking for less would spin.
_TICK: Final = 0.001
_SWEEP: Final = Seconds(1.0)
_CONNECT_LIMIT: Final = 10.0
_QUIT_LIMIT: Final = 1.0


class Blast:
    """One run of ``options``, which have been checked. ``run`` is awaited once; ``stop`` ends it early."""

    def __init__(self, options: BlastOptions, *, clock: TimedClock | None = None) -> None:
        self.options = options
        self.seed = random.getrandbits(32) if options.seed is None else options.seed
        self.run_number = random.SystemRandom().getrandbits(32)
        self._clock = clock or LoopClock()
        self._maker = MailMaker(options, self.run_number, self.seed)
        self._tally = Tally(self._maker.tenants, has_rate=options.rate is not None)
        self._ledger = Ledger(len(self._maker.tenants)) if options.sink else None
        self._pace = Pace(options.rate, options.count, 0.0, None)
        self._server = options.to_server
        self._sessions: set[BlastSession] = set()
        self._idle: deque[BlastSession] = deque()
        self._wake: Timer | None = None
        self._ended_by = ""
        self._pauses: set[asyncio.Event] = set()
        self._all_received = asyncio.Event()
        self._unsent = 0
        self._sink_died = False
        self._started_at = 0.0

    async def run(self, on_sink: Callable[[list[Endpoint]], None] | None = None) -> BlastReport:
        """Send everything, wait for it, report. ``on_sink`` is told where the attached sink listens, before the first connection.

        AttachedSinkError if that cannot be started.
        """
        sink = AttachedSink(self.run_number, self._received, self._sink_lost) if self.options.sink else None
        endpoints: list[Endpoint] = []
        try:
            if sink is not None:
                endpoints = await sink.start(self.options.sink)
                self._server = self._server or endpoints[0]
                if on_sink is not None:
                    on_sink(endpoints)
            await self._send_all()
            if sink is not None:
                await self._await_receipts()
        finally:
            if sink is not None:
                await sink.stop()
        figures = None
        if self._ledger is not None:
            names = tuple(str(endpoint) for endpoint in endpoints)
            figures = sink_figures(self._ledger, names, has_died=self._sink_died)
        return self._tally.report(
            seed=self.seed,
            ended_by=self._ended_by,
            unsent=self._unsent,
            ledger=self._ledger,
            sink=figures,
        )

    def stop(self) -> None:
        """Begin no more messages, finish those under way, report. A second call waits for nothing any more."""
        if not self._ended_by:
            self._end("interrupt")
            return
        self._all_received.set()
        for session in list(self._sessions):
            session.fail("given up")

    @property
    def progress(self) -> BlastProgress:
        """Where the blast stands."""
        now = self._clock.monotonic()
        return BlastProgress(
            elapsed=now - self._started_at if self._started_at else 0.0,
            begun=self._tally.begun,
            accepted=self._tally.accepted,
            refused=self._tally.refused,
            received=self._ledger.received if self._ledger else 0,
            awaited=self._ledger.awaited if self._ledger else 0,
            total=self.options.count,
            fraction=self._pace.fraction(now),
        )

    # The run.

    async def _send_all(self) -> None:
        options, now = self.options, self._clock.monotonic()
        self._started_at = now
        end = None if options.duration is None else now + options.duration
        self._pace = Pace(options.rate, options.count, now, end)
        timers = [self._clock.call_later(_SWEEP, self._sweep)]
        if options.duration is not None:
            timers.append(self._clock.call_later(options.duration, lambda: self._end("duration")))
        async with asyncio.TaskGroup() as group:
            for number in range(options.connections):
                group.create_task(self._keep_connection(), name=f"blast connection {number}")
        self._end("no connection")
        for timer in timers:
            timer.cancel()

    async def _keep_connection(self) -> None:
        """Keep one connection to the server until the blast ends; give up if it cannot be had."""
        server = self._server
        if server is None:
            raise ValueError("without a sink there must be a server")
        failures = 0
        while not self._ended_by and failures < _ATTEMPTS:
            session = BlastSession(self, asyncio.Event(), pipelining=self.options.pipelining)
            session.asked_at = self._clock.monotonic()
            try:
                await self._connect(session, server)
            except OSError as error:
                self._tally.connections_failed += 1
                self._tally.error(f"connect to {server}: {error.strerror or 'timeout'}")
            else:
                self._tally.connections += 1
                self._sessions.add(session)
                await session.closed.wait()
                self._sessions.discard(session)
            failures = 0 if session.was_ready else failures + 1
            if failures and not self._ended_by:
                await self._pause(Seconds(min(_FIRST_PAUSE * 2**failures, _LONGEST_PAUSE)))

    async def _connect(self, session: BlastSession, server: Endpoint) -> None:
        async with asyncio.timeout(min(self.options.timeout, _CONNECT_LIMIT)):
            await asyncio.get_running_loop().create_connection(lambda: session, server.address, server.port)

    async def _pause(self, seconds: Seconds) -> None:
        """Wait, but not beyond the end of the blast."""
        over = asyncio.Event()
        self._pauses.add(over)
        timer = self._clock.call_later(seconds, over.set)
        await over.wait()
        timer.cancel()
        self._pauses.discard(over)

    async def _await_receipts(self) -> None:
        if self._ledger is None or self._ledger.awaited <= 0:
            return
        timer = self._clock.call_later(self.options.grace, self._all_received.set)
        await self._all_received.wait()
        timer.cancel()

    def _end(self, reason: str) -> None:
        """Begin nothing more; every connection says goodbye once it has nothing under way."""
        if self._ended_by:
            return
        self._ended_by = reason
        self._unsent = self._pace.unsent(self._clock.monotonic())
        if self._wake is not None:
            self._wake.cancel()
        for session in self._idle:
            self._dismiss(session)
        self._idle.clear()
        for pause in self._pauses:
            pause.set()

    def _dismiss(self, session: BlastSession) -> None:
        session.asked_at = self._clock.monotonic()
        session.quit()

    def _sweep(self) -> None:
        """Give up connections that owe a reply for too long. Goes on until the last one is gone."""
        now = self._clock.monotonic()
        for session in list(self._sessions):
            patience = _QUIT_LIMIT if session.is_quitting else self.options.timeout
            if session.is_waiting and now - session.asked_at > patience:
                session.fail("no reply in time")
        if self._sessions or not self._ended_by:
            self._clock.call_later(_SWEEP, self._sweep)

    # Pacing.

    def ready(self, session: BlastSession) -> None:  # hot: throughput
        """Give the session the next message, if one is due; else let it wait, or go."""
        limit = self.options.messages_per_connection
        if self._ended_by or (limit and session.carried >= limit):
            self._dismiss(session)
            return
        now = self._clock.monotonic()
        if self._must_end(now):
            self._dismiss(session)
            return
        due = self._pace.due(now)
        if due <= now:
            self._begin(session, due, now)
        else:
            self._idle.append(session)
            self._wake_in(due - now)

    def _must_end(self, now: float) -> bool:
        if self._pace.is_over(now):
            self._end("count" if self._pace.is_complete else "duration")
        elif self._ledger is not None and self._ledger.is_full:
            self._end("too many outstanding")
        return bool(self._ended_by)

    def _wake_in(self, delay: float) -> None:
        if self._wake is None:
            self._wake = self._clock.call_later(Seconds(max(delay, _TICK)), self._dispatch)

    def _dispatch(self) -> None:  # hot: throughput
        """Give what is due to those that wait."""
        self._wake = None
        while self._idle:
            now = self._clock.monotonic()
            if self._must_end(now):
                return
            due = self._pace.due(now)
            if due > now:
                self._wake_in(due - now)
                return
            session = self._idle.popleft()
            if not session.closed.is_set():
                self._begin(session, due, now)

    def _begin(self, session: BlastSession, due: float, now: float) -> None:  # hot: throughput
        number = self._pace.next_number
        self._pace.next_number = number + 1
        job = Job(self._maker.make(number, self._clock.wall()), due, now)
        self._tally.begin(job)
        session.begin(job)

    # What became of it.

    def content_sent(self, job: Job) -> None:  # hot: throughput
        """Expect the message at the sink."""
        if self._ledger is not None:
            recipients = job.accepted
            self._ledger.sent(job.mail.number, job.mail.tenant, len(recipients), check_of(recipients))

    def replied(self, job: Job, reply: bytes) -> None:  # hot: throughput
        """Count what the server decided."""
        now = self._clock.monotonic()
        number = job.mail.number
        if job.was_content_sent and reply.startswith(b"2"):
            self._tally.accept(job, now)
            if self._ledger is not None:
                self._ledger.accepted(number, now)
            return
        self._tally.refuse(job, reply, now)
        if self._ledger is not None:
            self._ledger.refused(number)

    def broken(self, job: Job | None, why: str) -> None:
        """Count a connection that ended early. After the end of the blast nobody minds, if it carried nothing."""
        if job is None and self._ended_by:
            return
        self._tally.break_off(job, why, self._clock.monotonic())
        if job is None or self._ledger is None:
            return
        if job.was_content_sent:
            self._ledger.unknown(job.mail.number)
        else:
            self._ledger.refused(job.mail.number)

    def _received(self, receipt: Receipt) -> None:  # hot: throughput
        ledger = self._ledger
        if ledger is not None:
            ledger.receive(receipt)
            if self._ended_by and ledger.awaited <= 0:
                self._all_received.set()

    def _sink_lost(self) -> None:
        self._sink_died = True
        self._tally.error("the attached sink has ended")
        self._all_received.set()
        self._end("sink lost")


async def run_blast(
    options: BlastOptions,
    *,
    clock: TimedClock | None = None,
    on_sink: Callable[[list[Endpoint]], None] | None = None,
) -> BlastReport:
    """Send what ``options`` say and report what came of it; see ``Blast.run``. OptionError if they cannot be."""
    options.check()
    return await Blast(options, clock=clock).run(on_sink)
