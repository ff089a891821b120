"""Blasts against sinks, against a relay that loses and changes mail, and against servers that refuse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from penstock.mail.configuration import Endpoint
from penstock.mail.duration import Seconds
from penstock.mail.rate import parse_rate
from penstock.sim.blast import AttachedSinkError, Blast, BlastOptions, BlastReport, run_blast
from penstock.sim.clock import FakeClock
from penstock.sim.raw_client import RawClient
from penstock.sim.sink import Extension, Kind, Sink, SinkMessage, SinkOptions, Stage

from .world import place, rule, run, until, without

ANY = Endpoint("127.0.0.1", 0)


def options(server: Endpoint | None, **keys: object) -> BlastOptions:
    """A small blast."""
    return BlastOptions(
        **{"to_server": server, "count": 50, "connections": 3, "size": (600, 900), "seed": 1, **keys}
    )  # type: ignore[arg-type]


async def finished(chosen: BlastOptions, clock: FakeClock) -> BlastReport:
    """The report of a blast whose pauses pass at once."""
    running = asyncio.create_task(Blast(chosen, clock=clock).run())
    while not running.done():
        clock.advance(Seconds(0.01))
        await asyncio.sleep(0)
    return await running


@pytest.mark.parametrize("offers_pipelining", [True, False])
@pytest.mark.parametrize("wants_pipelining", [True, False])
def test_every_message_is_sent_once_and_conforms(offers_pipelining: bool, wants_pipelining: bool) -> None:
    """With and without pipelining: numbers without a gap, recipients as the report counts them, nothing irregular on the wire."""

    async def scene() -> None:
        async with place(SinkOptions() if offers_pipelining else without(Extension.PIPELINING)) as here:
            report = await run_blast(
                options(
                    here.endpoint,
                    recipients=(1, 4),
                    domains={"a.test": 1.0, "b.test": 1.0},
                    pipelining=wants_pipelining,
                )
            )
            assert report.is_clean
            assert (report.begun, report.accepted, report.ended_by, report.replies["2yz"]) == (
                50,
                50,
                "count",
                50,
            )
            numbers = sorted(int(_field(message, b"X-Blast-Id").split(b"-")[1]) for message in here.got)
            assert numbers == list(range(50))
            assert not any(message.irregularities for message in here.got)
            assert report.recipients_accepted == sum(len(message.envelope.recipients) for message in here.got)
            assert report.bytes == sum(len(message.content) for message in here.got)
            assert report.acceptance.count == 50
            total = here.sink.statistics
            assert (total.protocol_errors, total.total.connections, report.connections) == (0, 3, 3)

    run(scene())


def _field(message: SinkMessage, name: bytes) -> bytes:
    value = message.content.partition(name + b": ")[2]
    return value.partition(b"\r\n")[0]


def test_connections_are_replaced_after_their_messages() -> None:
    """``messages_per_connection``: none carries more."""

    async def scene() -> None:
        async with place() as here:
            report = await run_blast(options(here.endpoint, messages_per_connection=4))
            assert report.is_clean
            carried: dict[int, int] = {}
            for message in here.got:
                carried[message.session] = carried.get(message.session, 0) + 1
            assert max(carried.values()) == 4
            assert report.connections >= len(carried) >= 13

    run(scene())


@pytest.mark.parametrize(
    ("local_parts", "temporarily", "permanently"),
    [
        ({"tempfail-rcpt+{n}": 1.0}, 50, 0),
        ({"tempfail-mail+{n}": 1.0}, 50, 0),
        ({"permfail-552-data+{n}": 1.0}, 0, 50),
        ({"permfail-dot+{n}": 1.0}, 0, 50),
        ({"tempfail-421-rcpt+{n}": 1.0}, 50, 0),
    ],
)
@pytest.mark.parametrize("pipelining", [True, False])
def test_refusals_are_counted_by_class(
    local_parts: dict[str, float], temporarily: int, permanently: int, pipelining: bool
) -> None:
    """At whatever stage, by the reply that decided; the blast goes on, by new connections where the server hangs up."""

    async def scene() -> None:
        async with place() as here:
            report = await run_blast(options(here.endpoint, local_parts=local_parts, pipelining=pipelining))
            assert not report.is_clean
            counts = (
                report.refused_temporarily,
                report.refused_permanently,
                report.accepted,
                report.failed,
                report.unknown,
            )
            assert counts == (temporarily, permanently, 0, 0, 0)
            assert report.replies["4yz"] == temporarily
            (text,) = report.errors
            assert "scripted" in text or "MAIL was refused" in text

    run(scene())


def test_some_recipients_may_be_refused() -> None:
    """The message is accepted for the others, and the report says for how many it was not."""

    async def scene() -> None:
        async with place() as here:
            local_parts = {"user-{n}-{r}": 1.0, "permfail+{n}-{r}": 1.0}
            report = await run_blast(options(here.endpoint, recipients=(4, 4), local_parts=local_parts))
            assert report.accepted == len(here.got)
            assert report.accepted + report.refused_permanently == 50
            assert report.recipients_accepted + report.recipients_refused == 4 * report.accepted
            assert report.recipients_refused > 0
            assert not report.is_clean

    run(scene())


@pytest.mark.parametrize(
    ("local_part", "failed", "unknown"),
    [("disconnect-data+{n}", 50, 0), ("disconnect-dot+{n}", 0, 50), ("reset-body+{n}", 0, 50)],
)
def test_connections_that_break_are_counted_by_what_that_means(
    local_part: str, failed: int, unknown: int
) -> None:
    """Before the content nothing was handed over; behind it the server may have the message."""

    async def scene() -> None:
        async with place() as here:
            report = await run_blast(options(here.endpoint, local_parts={local_part: 1.0}))
            assert (report.failed, report.unknown, report.accepted) == (failed, unknown, 0)
            assert sum(report.errors.values()) == 50

    run(scene())


def test_a_server_that_is_not_there_ends_the_blast() -> None:
    """After some attempts; nothing was sent, and that is not clean."""

    async def scene() -> None:
        async with place() as here:
            gone = here.endpoint
        report = await finished(options(gone, connections=1), FakeClock())
        assert (report.ended_by, report.begun, report.connections_failed) == ("no connection", 0, 8)
        assert not report.is_clean
        assert list(report.errors) == [f"connect to {gone}: Connection refused"]

    run(scene())


@pytest.mark.parametrize(
    ("stage", "octets", "said"),
    [
        (Stage.BANNER, b"bogus\r\n", "not a reply"),
        (Stage.BANNER, b"2" * 10_000, "endless reply line"),
        (Stage.EHLO, b"250-x\r\n" * 300, "endless reply"),
        (Stage.BANNER, b"521 no\r\n", "521 no"),
        (Stage.DOT, b"250 ok\r\n25\r\n", "not a reply"),
    ],
)
def test_a_server_that_talks_nonsense_is_left(stage: Stage, octets: bytes, said: str) -> None:
    """Replies are bounded and must be replies; the report names what came."""

    async def scene() -> None:
        async with place(rules=[rule(Kind.RAW, stage, octets=octets)]) as here:
            report = await finished(options(here.endpoint, connections=1, count=5), here.clock)
            assert any(said in text for text in report.errors)
            assert not report.is_clean

    run(scene())


def test_a_server_that_says_nothing_is_given_up_on() -> None:
    """Once the timeout is over, on the clock; what was under way is unknown."""

    async def scene() -> None:
        async with place() as here:
            blast = Blast(
                options(here.endpoint, connections=1, count=1, local_parts={"slow-1000-dot": 1.0}),
                clock=here.clock,
            )
            running = asyncio.create_task(blast.run())
            await until(lambda: (here.clock.next_timer() or 0) <= 1.0 and bool(here.got))
            for _ in range(62):
                here.clock.advance(Seconds(1))
            report = await running
            assert (report.unknown, report.ended_by) == (1, "count")
            assert list(report.errors) == ["no reply in time"]

    run(scene())


def test_a_rate_is_kept_on_the_clock() -> None:
    """Message k goes out k intervals after the start, however the clock moves on."""

    async def scene() -> None:
        async with place() as here:
            blast = Blast(options(here.endpoint, rate=parse_rate("10/s"), count=20), clock=here.clock)
            running = asyncio.create_task(blast.run())
            for expected in range(1, 21):
                await until(lambda expected=expected: blast.progress.accepted == expected)  # type: ignore[misc]
                here.clock.advance(Seconds(0.1))
            report = await running
            assert report.is_clean
            assert report.lag is not None
            assert report.lag.max == pytest.approx(0.0, abs=1e-6)
            assert report.duration == pytest.approx(1.9)

    run(scene())


def test_latency_counts_from_when_a_message_was_due() -> None:
    """A server that stalls for three seconds is charged with the messages that became due meanwhile: no coordinated omission."""

    async def scene() -> None:
        async with place(rules=[rule(Kind.SLOW, Stage.DOT, delay=3.0, first=1)]) as here:
            blast = Blast(
                options(here.endpoint, rate=parse_rate("1/s"), count=4, connections=1), clock=here.clock
            )
            running = asyncio.create_task(blast.run())
            await until(lambda: bool(here.got))
            here.clock.advance(Seconds(3))
            report = await running
            # due at 0, 1, 2, 3; all accepted at 3
            assert (report.acceptance.max, report.acceptance.min) == (3.0, 0.0)
            assert report.acceptance.mean == pytest.approx(1.5)
            assert report.lag is not None
            assert report.lag.max == 2.0

    run(scene())


def test_a_duration_ends_the_blast_and_tells_what_was_not_sent() -> None:
    """At 10/s for two seconds through a connection that stalls, 19 of 20 are never begun."""

    async def scene() -> None:
        async with place(rules=[rule(Kind.SLOW, Stage.DOT, delay=5.0)]) as here:
            keys = {"rate": parse_rate("10/s"), "count": 0, "duration": Seconds(2.0), "connections": 1}
            blast = Blast(options(here.endpoint, **keys), clock=here.clock)
            running = asyncio.create_task(blast.run())
            await until(lambda: bool(here.got))
            here.clock.advance(Seconds(5))
            report = await running
            assert (report.ended_by, report.begun, report.accepted, report.unsent) == ("duration", 1, 1, 19)

    run(scene())


def test_stop_finishes_what_is_under_way() -> None:
    """One interrupt: the message under way is waited for. Two: it is not, and is unknown."""

    async def scene(stops: int) -> BlastReport:
        async with place(rules=[rule(Kind.SLOW, Stage.DOT, delay=5.0)]) as here:
            blast = Blast(options(here.endpoint, connections=1), clock=here.clock)
            running = asyncio.create_task(blast.run())
            await until(lambda: bool(here.got))
            for _ in range(stops):
                blast.stop()
            if stops == 1:
                here.clock.advance(Seconds(5))
            return await running

    async def both() -> None:
        patient, hasty = await scene(1), await scene(2)
        assert (patient.ended_by, patient.accepted, patient.unknown) == ("interrupt", 1, 0)
        assert (hasty.ended_by, hasty.accepted, hasty.unknown) == ("interrupt", 0, 1)

    run(both())


Change = Callable[[int, bytes], list[bytes]]


@asynccontextmanager
async def relay(change: Change) -> AsyncIterator[tuple[Endpoint, list[Endpoint]]]:
    """A store and forward server: what it took as its ``k``-th message goes on as ``change(k, content)`` says, to the endpoint it is given."""
    to: list[Endpoint] = []
    taken: asyncio.Queue[SinkMessage] = asyncio.Queue()

    async def forward() -> None:
        number = 0
        while True:
            message = await taken.get()
            for content in change(number, message.wire):
                async with RawClient(to[0]) as client:
                    await client.expect(b"220")
                    commands = [b"HELO relay.test", b"MAIL FROM:<s@from.test>"]
                    commands += [
                        f"RCPT TO:<{recipient}>".encode() for recipient in message.envelope.recipients
                    ]
                    for command in commands:
                        await client.ask(command + b"\r\n", b"250")
                    await client.ask(b"DATA\r\n", b"354")
                    await client.ask(content + b".\r\n", b"250")
            number += 1

    async with Sink(on_message=taken.put_nowait) as sink:
        forwarding = asyncio.create_task(forward())
        yield (await sink.start())[0], to
        forwarding.cancel()


async def through(change: Change, **keys: object) -> BlastReport:
    """A blast of ten messages through a relay to an attached sink."""
    async with relay(change) as (server, to):
        return await run_blast(
            options(server, count=10, sink=(ANY,), grace=Seconds(10.0), tenants={"a": 1.0, "b": 1.0}, **keys),
            on_sink=to.extend,
        )


def test_what_a_relay_delivers_is_accounted_for() -> None:
    """Everything arrives: latencies of every message, by tenant too."""

    async def scene() -> None:
        report = await through(lambda number, content: [content], recipients=(1, 3))
        assert report.is_clean
        assert report.sink is not None
        assert (report.sink.received, report.sink.lost) == (report.recipients_accepted, 0)
        assert report.sink.messages == report.sink.delivery.count == 10
        assert report.sink.delivery.max > 0.0
        tenants = report.tenants.values()
        assert sum(figures.received for figures in tenants) == report.recipients_accepted
        assert sum(figures.accepted for figures in tenants) == 10

    run(scene())


@pytest.mark.parametrize(
    ("change", "figures"),
    [
        (lambda number, content: [] if number == 3 else [content], (1, 0, 0)),
        (lambda number, content: [content] * (2 if number == 3 else 1), (0, 1, 0)),
        (
            lambda number, content: [content.replace(b"quick", b"quack")] if number == 3 else [content],
            (0, 0, 1),
        ),
    ],
    ids=["lost", "doubled", "changed"],
)
def test_what_a_relay_does_wrong_is_found(change: Change, figures: tuple[int, int, int]) -> None:
    """A message lost, doubled or changed is counted as that, and the blast is not clean."""

    async def scene() -> None:
        async with relay(change) as (server, to):
            clock = FakeClock()
            blast = Blast(options(server, count=10, sink=(ANY,)), clock=clock)
            running = asyncio.create_task(blast.run(to.extend))
            if figures[0]:
                await until(lambda: (blast.progress.accepted, blast.progress.received) == (10, 9))
                await until(lambda: clock.next_timer() == 30.0)
                clock.advance(Seconds(30.0))
            report = await running
        assert report.sink is not None
        assert (report.sink.lost, report.sink.duplicates, report.sink.changed) == figures
        assert report.accepted == 10
        assert not report.is_clean

    run(scene())


def test_a_blast_straight_into_its_sink_is_the_control() -> None:
    """No server between: everything arrives before it is accepted."""

    async def scene() -> None:
        report = await run_blast(options(None, sink=(ANY, ANY), count=200, recipients=(1, 3)))
        assert report.is_clean
        assert report.sink is not None
        assert len(report.sink.endpoints) == 2
        assert report.sink.received == report.recipients_accepted

    run(scene())


def test_a_sink_that_cannot_listen_is_told() -> None:
    """Its port is taken; nothing is sent."""

    async def scene() -> None:
        async with place() as here:
            with pytest.raises(AttachedSinkError, match="in use"):
                await run_blast(options(here.endpoint, sink=(here.endpoint,)))
            assert not here.got

    run(scene())


def test_a_clock_of_its_own_is_not_needed() -> None:
    """Without one, the system's."""

    async def scene() -> None:
        async with place() as here:
            assert isinstance(here.clock, FakeClock)
            report = await run_blast(options(here.endpoint, rate=parse_rate("1000/s")))
            assert report.is_clean
            assert report.duration > 0.0

    run(scene())
