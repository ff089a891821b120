"""The scheduler's limits by a lane's quotas: two clocks, one instant."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from penstock.ipc.broker_words import BrokerTokensAsk
from penstock.mail.configuration import Limit, PathConfig, QueueConfig
from penstock.mail.duration import MonotonicTime, Seconds, WallTime
from penstock.mail.queue_name import QueueName
from penstock.mail.rate import parse_rate
from penstock.queueing.effects import Connect, Offer, Resolve
from penstock.queueing.scheduler import Scheduler
from penstock.routing.answer import Exchange
from penstock.routing.plan import Route
from penstock.sim.clock import FakeClock
from penstock.worker.pace import Pace
from penstock.worker.quotas import Quotas

ROUTE = Route("mx.example", (Exchange(10, "mx.example"),), MonotonicTime(0.0))


class Sender:
    """A lane whose connections deliver at once, on a clock of its own."""

    def __init__(self, rate: str, clock: FakeClock) -> None:
        self.clock = clock
        quotas = Quotas(clock, self._opened, lambda key: None, is_alone=True, call_later=clock.call_later)
        config = QueueConfig(max_message_rate=parse_rate(rate))
        self.pace = Pace(quotas, clock)
        self.scheduler = Scheduler(lambda name: config, lambda site: PathConfig(), rates=self.pace)
        self.sent: list[float] = []

    def add(self, count: int) -> None:
        """Mail comes in."""
        for position in range(count):
            now = self.clock.wall()
            self.scheduler.add(QueueName("a.example"), position, 100, created=now, now=now)
        self._work()

    def _opened(self, key: str) -> None:
        self.scheduler.opened(key, self.clock.wall())
        self._work()

    def _work(self) -> None:
        scheduler, now = self.scheduler, self.clock.wall()
        while scheduler.has_effects or scheduler.is_behind:
            for effect in scheduler.take_effects():
                if isinstance(effect, Resolve):
                    scheduler.route_found(effect.hop, ROUTE, WallTime(now + 1e6), now)
                    continue
                assert isinstance(effect, Connect | Offer)
                if isinstance(effect, Connect):
                    scheduler.connected(effect.path, now)
                else:
                    scheduler.idle_ended(effect.path)
                while (row := scheduler.pull(effect.path, now)) >= 0:
                    self.sent.append(self.clock.monotonic())
                    scheduler.settled(effect.path, row, now)
                scheduler.idle_began(effect.path)
            scheduler.tick(now)


@pytest.mark.parametrize("rate", ["5/minute", "3/s,max_burst=1", "7/s"])
@pytest.mark.parametrize("begin", [1000.0, 1234.567891234, 98_765.4321])
def test_mail_goes_when_its_token_is_there(rate: str, begin: float) -> None:
    """At the next millisecond of the loop's timers, and not before; nothing goes round in circles."""
    asyncio.run(_mail_goes(rate, begin))


async def _mail_goes(rate: str, begin: float) -> None:
    clock = FakeClock(wall=1_763_668_800.123456, monotonic=begin)
    sender = Sender(rate, clock)
    sender.add(30)
    clock.advance(Seconds(400.0))
    parsed = parse_rate(rate)
    interval = parsed.period / parsed.count
    assert len(sender.sent) == 30
    for number, instant in enumerate(sender.sent):
        due = begin + max(0, number - parsed.burst + 1) * interval
        assert -2e-6 <= instant - due <= 0.0011 * (number + 1)


def test_what_is_given_back_can_be_taken_again() -> None:
    """By its instant, as the scheduler has it."""
    asyncio.run(_given_back())


async def _given_back() -> None:
    clock = FakeClock(wall=1_763_668_800.123456, monotonic=1234.567891234)
    pace = Sender("1/h", clock).pace
    limit = Limit("queue-rate", "key", parse_rate("1/h"))
    taken = round(clock.wall() * 1e6) / 1e6
    assert pace.take_all([limit], taken) is None and pace.room(limit, taken) == 0
    clock.advance(Seconds(5.0))
    held = pace.take("key", limit.rate, clock.wall())
    assert held is not None and held.until == pytest.approx(taken + 3600.0, abs=1e-3)
    pace.give_back(limit, taken, clock.wall())
    assert pace.check([limit], clock.wall()) is None and pace.room(limit, clock.wall()) == 1


def test_tokens_that_are_used_together_are_asked_for_together() -> None:
    """One would not wait for the other: tokens of slow rates go back soon, and a broker that writes them down may be slower."""
    asyncio.run(_asked_together())


async def _asked_together() -> None:
    clock, words = FakeClock(), list[msgspec.Struct]()
    quotas = Quotas(clock, lambda key: None, lambda key: None, call_later=clock.call_later)
    quotas.connected(words.append)
    limits = [Limit("queue-rate", "one", parse_rate("1/h")), Limit("tenant-rate", "two", parse_rate("5/h"))]
    refused = quotas.take_all(limits, clock.monotonic())
    assert refused is not None and refused[0] == 0
    assert {word.key for word in words if isinstance(word, BrokerTokensAsk)} == {"one", "two"}
    quotas.close()
