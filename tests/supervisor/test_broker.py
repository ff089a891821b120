"""The broker with lanes' quotas, wired by hand: grants, what they rest on, and who comes and goes."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock.ipc.vocabulary import Vocabulary
from penstock.ipc.words import BUS
from penstock.mail.duration import Seconds
from penstock.mail.rate import parse_rate
from penstock.shaping.ports import Held, HeldBy
from penstock.sim.clock import FakeClock
from penstock.supervisor.broker import WORDS, Broker
from penstock.supervisor.quota_state import QuotaState
from penstock.supervisor.state import State
from penstock.worker.quotas import Quotas

FAST, SLOW = parse_rate("100/s"), parse_rate("5/minute")


class Disk(Executor):
    """A disk that is as quick as a test lets it be."""

    def __init__(self) -> None:
        self.is_held = False
        self._calls: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._calls.append((future, lambda: fn(*args, **kwargs)))
        if not self.is_held:
            self.go()
        return future

    def go(self) -> None:
        """Do what was asked for."""
        self.is_held = False
        calls, self._calls = self._calls, []
        for future, call in calls:
            try:
                future.set_result(call())
            except Exception as error:  # noqa: BLE001 - as an executor does
                future.set_exception(error)


class Host:
    """A broker, and the lanes that know it."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.clock = clock
        self.disk = Disk()
        self.folder = folder
        self.lanes: list[Lane] = []
        self.start()

    def start(self) -> None:
        """Another broker."""
        self.connection = State(self.folder).connection
        state = QuotaState(self.connection, self.clock, "boot")
        self.broker = Broker(state, state.begin(), self.disk, self.clock, self.clock.call_later)

    def lane(self, *, is_alone: bool = False) -> Lane:
        """One more lane; it has to connect."""
        self.lanes.append(Lane(self, is_alone))
        return self.lanes[-1]

    async def quiet(self) -> None:
        """Let everything arrive that is under way."""
        for _ in range(20):
            await asyncio.sleep(0)


class Lane:
    """A lane's quotas, and what it was told."""

    names = 0

    def __init__(self, host: Host, is_alone: bool) -> None:
        self._host = host
        self.opened: list[str] = []
        self.lost: list[str] = []
        self.quotas = Quotas(
            host.clock, self.opened.append, self.lost.append, epoch=1, is_alone=is_alone,
            call_later=host.clock.call_later,
        )  # fmt: skip

    def connect(self) -> None:
        """Be connected, all words through their octets."""
        Lane.names += 1
        self.name, broker = f"holder {Lane.names}", self._host.broker
        broker.join(self.name, self._wire(BUS, self.quotas.handlers()))
        self.quotas.connected(self._wire(BUS, dict.fromkeys(WORDS, partial(broker.hear, self.name))))

    def leave(self) -> None:
        """Be cut off."""
        self._host.broker.leave(self.name)
        self.quotas.disconnected()

    @staticmethod
    def _wire(words: Vocabulary, handlers: Any) -> Callable[[msgspec.Struct], None]:
        loop = asyncio.get_running_loop()

        def tell(word: msgspec.Struct) -> None:
            item = words.decode(*words.encode(word))
            loop.call_soon(handlers[type(item)], item)

        return tell

    def take(self, key: str = "key", rate: Any = FAST) -> Any:
        return self.quotas.take(key, rate, self._host.clock.monotonic())

    def acquire(self, limit: int, key: str = "number") -> Any:
        return self.quotas.acquire(key, limit, self._host.clock.monotonic())


@contextlib.asynccontextmanager
async def host(folder: Path) -> AsyncIterator[Host]:
    """A host, and an end of its broker."""
    made = Host(folder, FakeClock())
    yield made
    await made.broker.close()


def run(scene: Coroutine[Any, Any, None]) -> None:
    """Run it."""
    asyncio.run(scene)


def test_a_token_is_asked_for_and_given(tmp_path: Path) -> None:
    """Who was refused is told when it may be tried again; what is in hand goes back at the end."""

    async def scene() -> None:
        async with host(tmp_path) as made:
            lane = made.lane()
            lane.connect()
            held = lane.take()
            assert held is not None and held.by is HeldBy.RATE
            await made.quiet()
            assert lane.opened == ["key"]
            assert lane.take() is None
            await made.quiet()
            assert lane.take() is None
            lane.quotas.close()
            await made.quiet()
            assert made.broker._lending.to_keep() == {}

    run(scene())


def test_what_a_slow_grant_rests_on_is_written_first(tmp_path: Path) -> None:
    """While the disk is busy nothing is given out, and what comes meanwhile is written together."""

    async def scene() -> None:
        async with host(tmp_path) as made:
            one, other = made.lane(), made.lane()
            one.connect()
            other.connect()
            made.disk.is_held = True
            assert one.take(rate=SLOW) is not None
            assert other.take(rate=SLOW) is not None
            assert other.take("another", SLOW) is not None
            await made.quiet()
            assert one.opened == other.opened == []
            made.disk.go()
            await made.quiet()
            assert one.opened == ["key"] and other.opened == ["key", "another"]
            kept = dict(made.connection.execute("SELECT key, arrival FROM rate"))
            now = made.clock.monotonic()
            assert kept == {"key": pytest.approx(now + 25.0), "another": pytest.approx(now + 13.0)}

    run(scene())


def test_a_fault_of_the_disk_holds_slow_rates_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is said once; a second later it is tried again, and when it works that is said too."""

    async def scene() -> None:
        async with host(tmp_path) as made:
            lane = made.lane()
            lane.connect()
            made.connection.execute("ALTER TABLE rate RENAME TO elsewhere")
            assert lane.take(rate=SLOW) is not None
            await made.quiet()
            made.clock.advance(Seconds(1.0))
            await made.quiet()
            assert lane.opened == []
            assert lane.take("fast") is not None
            await made.quiet()
            assert lane.opened == ["fast"]
            made.connection.execute("ALTER TABLE elsewhere RENAME TO rate")
            made.clock.advance(Seconds(1.0))
            await made.quiet()
            assert lane.opened == ["fast", "key"]

    run(scene())
    assert [record.getMessage().split(":")[:2] for record in caplog.records] == [
        ["broker", " mail waits for the rates that cannot be kept"],
        ["broker", " slow rates are kept again"],
    ]


def test_a_wait_ends_at_its_instant(tmp_path: Path) -> None:
    """It is told how long it is, and neither asked about nor polled."""

    async def scene() -> None:
        async with host(tmp_path) as made:
            lane = made.lane()
            lane.connect()
            for _ in range(5):
                assert lane.take(rate=SLOW) is not None
                await made.quiet()
                assert lane.take(rate=SLOW) is None
                await made.quiet()
            lane.opened.clear()
            begun = made.clock.monotonic()
            lane.take(rate=SLOW)
            await made.quiet()
            held = lane.take(rate=SLOW)
            assert held is not None and held.until == pytest.approx(begun + 12.0)
            made.clock.advance(Seconds(11.99))
            await made.quiet()
            assert lane.opened == []
            made.clock.advance(Seconds(0.02))
            await made.quiet()
            assert lane.opened == ["key"]

    run(scene())


def test_without_a_broker(tmp_path: Path) -> None:
    """What is in hand is used, the rest is held by ``broker``, and asked for when it is back. Slow rates go on where they were."""

    async def scene() -> None:
        async with host(tmp_path) as made:
            lane = made.lane()
            held = lane.take()
            assert held is not None and held.by is HeldBy.BROKER
            lane.connect()
            await made.quiet()
            assert lane.opened == ["key"]
            for _ in range(5):
                lane.take(rate=SLOW, key="slow")
                await made.quiet()
                assert lane.take(rate=SLOW, key="slow") is None
                await made.quiet()
            lane.leave()
            found = list(iter(lane.take, Held(HeldBy.BROKER, math.inf)))
            assert found and set(found) == {None}
            lane.take(rate=SLOW, key="slow")
            lane.opened.clear()
            made.start()
            lane.connect()
            await made.quiet()
            assert lane.opened == []
            made.clock.advance(Seconds(1.1))
            await made.quiet()
            assert lane.opened == ["key"]
            made.clock.advance(Seconds(12.0))
            await made.quiet()
            assert lane.opened == ["key", "slow"]

    run(scene())


def test_after_an_end_in_order_nothing_has_to_be_waited_for(tmp_path: Path) -> None:
    """Unless something was lent."""

    async def scene() -> None:
        made = Host(tmp_path, FakeClock())
        lane = made.lane()
        lane.connect()
        lane.take()
        await made.quiet()
        lane.quotas.close()
        await made.quiet()
        lane.leave()
        await made.broker.close()
        made.start()
        lane = made.lane()
        lane.connect()
        lane.take()
        await made.quiet()
        assert lane.opened == ["key"]
        lane.leave()
        await made.broker.close()
        made.start()
        lane = made.lane()
        lane.connect()
        lane.take()
        await made.quiet()
        assert lane.opened == []
        await made.broker.close()

    run(scene())


def test_units_are_lent_released_and_lost(tmp_path: Path) -> None:
    """One lane's release is another's turn; without a broker they run out."""

    async def scene() -> None:
        async with host(tmp_path) as made:
            one, other = made.lane(), made.lane()
            one.connect()
            other.connect()
            one.acquire(1)
            await made.quiet()
            assert one.acquire(1) is None
            held = other.acquire(1)
            assert held is not None and held.by is HeldBy.COUNT
            await made.quiet()
            assert other.opened == []
            for _ in range(10):
                made.clock.advance(Seconds(5.0))
                await made.quiet()
            one.quotas.release("number")
            await made.quiet()
            assert other.opened == ["number"]
            assert other.acquire(1) is None
            other.leave()
            made.clock.advance(Seconds(16.0))
            assert other.lost == ["number"]
            other.quotas.release("number")

    run(scene())


def test_a_lane_alone_decides_by_itself(tmp_path: Path) -> None:
    """By the same port: with exact instants, and no broker. A ``local`` rate is always its own."""

    async def scene() -> None:
        async with host(tmp_path) as made:
            lane = made.lane(is_alone=True)
            assert [lane.take(rate=SLOW) for _ in range(5)] == [None] * 5
            held = lane.take(rate=SLOW)
            assert held is not None and held.until == pytest.approx(made.clock.monotonic() + 12.0)
            made.clock.advance(Seconds(12.01))
            assert lane.opened == ["key"]
            assert lane.take(rate=SLOW) is None
            assert lane.acquire(1) is None
            held = lane.acquire(1)
            assert held is not None and held.by is HeldBy.COUNT
            lane.quotas.release("number")
            await made.quiet()
            assert lane.opened == ["key", "number"]
            shared = made.lane()
            assert shared.take(rate=parse_rate("local:1/s")) is None

    run(scene())
