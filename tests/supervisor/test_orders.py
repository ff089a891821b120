"""Orders, wired by hand to lanes that answer when a test says so: kept first, told to all, answered at last."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path

import apsw
import msgspec
import pytest

from penstock.ipc.bus import BusEnded, BusFault, Done
from penstock.ipc.order_words import (
    LaneDirectiveGive,
    LaneOrdersCancel,
    LaneOrdersNote,
    LaneOrdersUse,
    LaneSweepGive,
    SupervisorSweepsTell,
)
from penstock.ipc.words import BUS
from penstock.mail.control import ControlMissing, Given
from penstock.mail.directive import Action, Criteria, Directive, Order, Progress, Sweep, SweepAction
from penstock.mail.duration import Seconds, WallTime
from penstock.mail.ids import IdSource
from penstock.sim.clock import FakeClock
from penstock.supervisor.order_state import FORMAT, OrderState
from penstock.supervisor.orders import Orders
from penstock.supervisor.state import State, StateError

from .test_broker import Disk


class FakeBus:
    """A lane that hears, and answers when it is told to."""

    def __init__(self) -> None:
        self.heard: list[msgspec.Struct] = []
        self.answers: list[asyncio.Future[msgspec.Struct]] = []
        self.is_prompt = True
        self.fault: Exception | None = None

    async def ask(self, request: msgspec.Struct, timeout: float) -> msgspec.Struct:
        """Hear a word; its answer comes when the test has it."""
        self.tell(request)
        if self.fault is not None:
            raise self.fault
        if not self.is_prompt:
            self.answers.append(asyncio.get_running_loop().create_future())
            return await self.answers[-1]
        return Done()

    def tell(self, note: msgspec.Struct) -> None:
        """Hear a word; one that can be said."""
        assert BUS.decode(*BUS.encode(note)) == note
        self.heard.append(note)

    def answer(self) -> None:
        """Answer all that was asked."""
        for answer in self.answers:
            answer.set_result(Done())
        self.answers.clear()

    def of(self, kind: type) -> list[msgspec.Struct]:
        """The words of this type."""
        return [word for word in self.heard if isinstance(word, kind)]


class Server:
    """Orders with a disk and a clock of the test's."""

    def __init__(self, folder: Path, lanes: str = "01") -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.lanes = lanes
        self.offset = self.clock.wall() - self.clock.monotonic()

    async def start(self) -> Orders:
        """Another run of the server."""
        self.disk = Disk()
        self.state = State(self.folder)
        self.orders = Orders(
            self.state, self.disk, self.clock, self.lanes, IdSource(7), self.count, self.clock.call_later
        )
        await self.orders.open()
        return self.orders

    def come(self, lane: str, *, begins: bool = True) -> FakeBus:
        """A lane's process."""
        bus = FakeBus()
        self.orders.join(lane, bus)
        if begins:
            self.orders.begins(lane)
            self.orders.begun(lane)
        return bus

    def directive(
        self, identity: str, action: Action = Action.SUSPEND, *, tenant: str = "acme", seconds: float = 300
    ) -> Directive:
        """A directive that is given now."""
        now = self.clock.wall()
        end = WallTime(now + seconds)
        return Directive(identity, action, "why", now, end, Criteria(tenant=tenant), author="ann")

    def sweep(self, identity: str) -> Sweep:
        """A sweep that is given now."""
        order = Order(identity, SweepAction.BOUNCE, "why", "ann")
        return Sweep(order, Criteria(tenant="acme"), self.clock.wall())

    async def count(self, directive: Directive) -> int:
        """How many messages it is about."""
        return len(directive.id)


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """One with two lanes."""
    return Server(tmp_path)


async def quiet() -> None:
    """Let everything happen that is under way."""
    for _ in range(20):
        await asyncio.sleep(0)


def run(work: Coroutine[object, object, None]) -> None:
    """In a loop of its own."""
    asyncio.run(work)


def test_an_answer_waits_for_every_lane_that_may_start_mail(server: Server) -> None:
    """It is kept before anybody is told, and a lane that comes later is told before it begins."""

    async def scene() -> None:
        orders = await server.start()
        slow, prompt = server.come("0"), server.come("1")
        slow.is_prompt = False
        server.disk.is_held = True
        giving = asyncio.create_task(orders.give(server.directive("a"), None))
        await quiet()
        assert not slow.of(LaneDirectiveGive) and not prompt.of(LaneDirectiveGive)
        server.disk.go()
        await quiet()
        assert prompt.of(LaneDirectiveGive) == [LaneDirectiveGive(server.offset, server.directive("a"))]
        assert not giving.done()
        slow.answer()
        assert await giving == Given("a", server.directive("a").expires)
        orders.left("1")
        assert server.come("1").heard[0] == LaneOrdersUse(server.offset, (server.directive("a"),))
        await orders.close()

    run(scene())


def test_a_silent_lane_is_named_after_two_seconds(server: Server) -> None:
    """The others go by it, and it does when it hears."""

    async def scene() -> None:
        orders = await server.start()
        server.come("0").is_prompt = False
        server.come("1")
        giving = asyncio.create_task(orders.give(server.directive("a"), None))
        await quiet()
        server.clock.advance(Seconds(1.9))
        await quiet()
        assert not giving.done()
        server.clock.advance(Seconds(0.2))
        assert (await giving).silent == ("0",)
        await orders.close()

    run(scene())


def test_a_lane_that_dies_is_waited_for_until_it_is_gone(server: Server) -> None:
    """The end of its bus is not yet the end of its process."""

    async def scene() -> None:
        orders = await server.start()
        server.come("0").fault = BusEnded("gone")
        giving = asyncio.create_task(orders.give(server.directive("a"), None))
        await quiet()
        orders.bus_ended("0")
        await quiet()
        assert not giving.done()
        orders.left("0")
        assert (await giving).silent == ()
        await orders.close()

    run(scene())


def test_a_lane_that_could_not_do_it_is_named(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """And the log says why."""

    async def scene() -> None:
        orders = await server.start()
        server.come("0").fault = BusFault("internal error")
        giving = asyncio.create_task(orders.give(server.directive("a"), None))
        await quiet()
        server.clock.advance(Seconds(2.1))
        assert (await giving).silent == ("0",)
        await orders.close()

    run(scene())
    assert "lane 0: LaneDirectiveGive was not done: internal error" in caplog.text


def test_what_is_not_kept_has_not_happened(server: Server) -> None:
    """No lane hears of it."""

    async def scene() -> None:
        orders = await server.start()
        bus = server.come("0")
        server.state.connection.execute("DROP TABLE directive")
        with pytest.raises(StateError):
            await orders.give(server.directive("a"), server.sweep("a"))
        assert bus.heard == [LaneOrdersUse(server.offset)]
        assert orders.listing().directives == () and orders.listing().sweeps == ()
        await orders.close()

    run(scene())


def test_orders_outlive_the_server(server: Server) -> None:
    """Those that have expired meanwhile do not; how far sweeps were is kept."""

    async def scene() -> None:
        orders = await server.start()
        server.come("0")
        await orders.give(server.directive("a", Action.BOUNCE, seconds=60), server.sweep("a"))
        long = server.directive("b", tenant="other", seconds=900)
        await orders.give(long, None)
        tell = orders.handlers(lambda: "0")[SupervisorSweepsTell]
        tell(SupervisorSweepsTell({"a": Progress(10, 4)}))
        await orders.close()
        sweep = server.sweep("a")
        server.clock.advance(Seconds(100.0))
        orders = await server.start()
        assert server.come("0").heard[0] == LaneOrdersUse(server.offset, (long,), (sweep,))
        (state,) = orders.listing().sweeps
        assert (state.matched, state.done) == (4, 4)
        await quiet()
        await orders.close()
        left = OrderState(State(server.folder).connection).begin()
        assert [item.id for item in left.directives] == ["b"]
        assert [item.sweep.order.id for item in left.sweeps] == ["a"]

    run(scene())


def test_a_directive_is_undone_by_its_id(server: Server) -> None:
    """With its sweep; an id that is not known is refused."""

    async def scene() -> None:
        orders = await server.start()
        bus = server.come("0")
        await orders.give(server.directive("a", Action.BOUNCE), server.sweep("a"))
        assert await orders.cancel("a", "bob") == Given("a")
        assert bus.of(LaneOrdersCancel) == [LaneOrdersCancel(("a",), ("a",))]
        with pytest.raises(ControlMissing, match="penstock directives"):
            await orders.cancel("a", "bob")
        await orders.close()
        assert OrderState(State(server.folder).connection).begin() == ((), ())

    run(scene())


def test_the_same_criteria_replace_and_the_old_sweep_ends(server: Server) -> None:
    """The new one begins with a sweep of its own."""

    async def scene() -> None:
        orders = await server.start()
        bus = server.come("0")
        await orders.give(server.directive("a", Action.BOUNCE), server.sweep("a"))
        assert (await orders.give(server.directive("b", Action.BOUNCE), server.sweep("b"))).replaced == "a"
        assert bus.of(LaneOrdersCancel) == [LaneOrdersCancel(sweeps=("a",))]
        await orders.close()
        kept = OrderState(State(server.folder).connection).begin()
        assert [item.id for item in kept.directives] == ["b"]
        assert [item.sweep.order.id for item in kept.sweeps] == ["b"]

    run(scene())


def test_a_sweep_that_is_finished_is_forgotten_in_time(server: Server) -> None:
    """It is given once more, and lanes are told after a minute; it is shown for an hour, over restarts too. Its directive goes on."""

    async def scene() -> None:
        orders = await server.start()
        buses = [server.come("0"), server.come("1")]
        sweep = server.sweep("a")
        await orders.give(server.directive("a", Action.BOUNCE, seconds=9000), server.sweep("a"))
        await orders.give(None, server.sweep("b"))
        assert buses[0].of(LaneSweepGive) == [LaneSweepGive(server.offset, server.sweep("b"))]
        for lane in "01":
            tell = orders.handlers(lambda lane=lane: lane)[SupervisorSweepsTell]  # type: ignore[misc]
            tell(SupervisorSweepsTell({"a": Progress(2, 2, True), "b": Progress(0, 0, lane == "0")}))
        assert [state.finished is not None for state in orders.listing().sweeps] == [True, False]
        server.clock.advance(Seconds(5.0))
        await quiet()
        assert buses[1].of(LaneSweepGive)[-1] == LaneSweepGive(server.offset, sweep)
        server.clock.advance(Seconds(56.0))
        await quiet()
        assert buses[1].of(LaneOrdersCancel) == [LaneOrdersCancel(sweeps=("a",))]
        assert [state.done for state in orders.listing().sweeps] == [4, 0]
        await orders.close()
        orders = await server.start()
        assert [state.done for state in orders.listing().sweeps] == [4, 0]
        server.clock.advance(Seconds(3600.0))
        await quiet()
        assert [state.sweep.order.id for state in orders.listing().sweeps] == ["b"]
        assert [item.id for item in orders.listing().directives] == ["a"]
        await orders.close()

    run(scene())


def test_what_becomes_of_a_directive_is_noted_once(server: Server) -> None:
    """In the log of a lane that has begun; until there is one, the note waits."""

    async def scene() -> None:
        orders = await server.start()
        early = server.come("0", begins=False)
        await orders.give(server.directive("a", seconds=60), None)
        await orders.give(server.directive("b", tenant="other"), None)
        await orders.cancel("b", "bob")
        assert early.of(LaneOrdersNote) == []
        server.clock.advance(Seconds(61.0))
        orders.begins("0")
        orders.begun("0")
        server.come("1")
        await quiet()
        notes = [word.record for word in early.of(LaneOrdersNote) if isinstance(word, LaneOrdersNote)]
        assert [(note.directive, note.change.value, note.author, note.about) for note in notes] == [
            ("a", "given", "ann", "tenant acme"),
            ("b", "given", "ann", "tenant other"),
            ("b", "cancelled", "bob", "tenant other"),
            ("a", "expired", "", "tenant acme"),
        ]
        assert {note.messages for note in notes} == {1}
        assert len({note.id for note in notes}) == 4
        await orders.close()

    run(scene())


def test_a_bounce_is_counted_before_it_has_taken_anything(server: Server) -> None:
    """What is suspended stays to be counted afterwards, and nobody waits for that."""

    async def scene() -> None:
        orders = await server.start()
        bus = server.come("0")
        counted: list[int] = []

        async def count(directive: Directive) -> int:
            counted.append(len(bus.of(LaneDirectiveGive)))
            return 7

        orders._count = count
        await orders.give(server.directive("a", Action.BOUNCE), server.sweep("a"))
        await orders.give(server.directive("b", tenant="other"), None)
        await quiet()
        assert counted == [0, 2]
        notes = [word.record for word in bus.of(LaneOrdersNote) if isinstance(word, LaneOrdersNote)]
        assert [note.messages for note in notes] == [7, 7]
        await orders.close()

    run(scene())


def test_a_count_that_fails_is_logged_and_costs_no_event(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """What became of the directive is written down without it; the next is counted again."""

    async def scene() -> None:
        orders = await server.start()
        bus = server.come("0")
        kept = orders._count

        async def count(directive: Directive) -> int:
            if directive.id == "a":
                raise RuntimeError("nobody can count")
            return await kept(directive)

        orders._count = count
        for identity, tenant in (("a", "acme"), ("bb", "other")):
            await orders.give(server.directive(identity, tenant=tenant), None)
            await quiet()
        notes = [word.record for word in bus.of(LaneOrdersNote) if isinstance(word, LaneOrdersNote)]
        assert [(note.directive, note.messages) for note in notes] == [("a", 0), ("bb", 2)]
        await orders.close()

    run(scene())
    assert "nobody can count" in caplog.text


def test_lanes_of_an_earlier_program_are_named_until_they_are_gone(server: Server) -> None:
    """They go on without a bus, and start mail."""

    async def scene() -> None:
        server.disk = Disk()
        server.state = State(server.folder)
        orders = Orders(
            server.state, server.disk, server.clock, "01", IdSource(7), server.count, server.clock.call_later
        )
        orders.unguided("1")
        await orders.open()
        giving = asyncio.create_task(orders.give(server.directive("a"), None))
        await quiet()
        server.clock.advance(Seconds(2.1))
        assert (await giving).silent == ("1",)
        giving = asyncio.create_task(orders.give(server.directive("b"), None))
        await quiet()
        orders.left("1")
        assert (await giving).silent == ()
        server.orders = orders
        assert server.come("1").heard[0] == LaneOrdersUse(server.offset, (server.directive("b"),))
        await orders.close()

    run(scene())


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    """What it says would not be done."""
    connection = State(tmp_path).connection
    OrderState(connection).begin()
    connection.execute("UPDATE order_format SET number = ?", (FORMAT + 1,))
    with pytest.raises(StateError, match=f"of format {FORMAT + 1}.*run the newer one"):
        OrderState(connection).begin()


def test_a_record_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """A suspension that is left out would let mail go."""
    connection: apsw.Connection = State(tmp_path).connection
    OrderState(connection).begin()
    connection.execute("INSERT INTO directive VALUES ('a', ?)", (b"{}",))
    with pytest.raises(StateError, match=r"state\.db"):
        OrderState(connection).begin()
