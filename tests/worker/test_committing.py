"""Where a transaction is stored: in the lane that is its home, in ours, or wherever it can be; and what whoever waits is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from penstock.ipc.lane_words import HAND_OVER, socket_of
from penstock.lane.doorway import Doorway
from penstock.lane.neighbours import Neighbours
from penstock.lane.taking_over import Intake
from penstock.mail.duration import MonotonicTime, Seconds
from penstock.mail.ports import SpoolError, SpoolUncertain
from penstock.mail.records import MessageRecord
from penstock.mail.reply import reply
from penstock.queueing.handover import Fate
from penstock.routing.answer import Exchange
from penstock.routing.placement import Homes, Placement
from penstock.routing.plan import Route, Unroutable
from penstock.sim.clock import FakeClock
from penstock.spool.codec import INLINE_LIMIT
from penstock.worker.committing import PATIENCE, Committer
from tests.ingress.room import FakeTimeLoop
from tests.lane.lanes import settle, until
from tests.spool import samples
from tests.spool.told import ToldSpool

LANES = ("0", "1", "2")
#: domain ``a<lane>.test`` is routed to site ``mx<lane>.test``, whose home is that lane.
TABLE = {f"mx{lane}.test": lane for lane in LANES}
LARGE = b"0123456789abcdef" * (INLINE_LIMIT // 16 + 1)
FAULT = SpoolError("no space left on device")


def mail(*domains: str, content: bytes = b"Subject: x\r\n\r\nbody\r\n") -> list[MessageRecord]:
    """The messages of a transaction, one for each domain."""
    return [samples.message(part, content=content, domain=domain) for part, domain in enumerate(domains)]


class Routes:
    """What is known of domains, and what was asked. ``answer`` has a question answered."""

    def __init__(self) -> None:
        self.known: dict[str, Route | Unroutable] = {}
        self.asked: dict[str, asyncio.Future[None]] = {}
        self.is_full = False

    def route_cached(self, domain: str, now: MonotonicTime) -> Route | Unroutable | None:
        return self.known.get(domain)

    def expect(self, domain: str) -> asyncio.Task[Route | Unroutable] | None:
        if self.is_full:
            return None
        future = self.asked.setdefault(domain, asyncio.get_running_loop().create_future())
        return asyncio.ensure_future(self._wait(domain, future))

    async def _wait(self, domain: str, future: asyncio.Future[None]) -> Route | Unroutable:
        await future
        return self.known[domain]

    def know(self, domain: str, lane: str) -> None:
        site = f"mx{lane}.test"
        self.known[domain] = Route(site, (Exchange(1, site),), MonotonicTime(1e9))
        if domain in self.asked:
            self.asked[domain].set_result(None)


class Process:
    """One lane with both roles."""

    def __init__(self, lane: str, run: Path, clock: FakeClock) -> None:
        self.delivered: list[MessageRecord] = []
        self.spool = ToldSpool(lambda records, position: None)
        self.routes = Routes()
        self.homes = Homes(Placement(LANES, table=TABLE), lane)
        self.neighbours = Neighbours(lane, run, clock)
        self.intake = Intake(self.spool, self._deliver, clock, run)
        self.doorway = Doorway(socket_of(run, lane), {HAND_OVER: self.intake.session})
        self.committer = Committer(
            spool=self.spool,
            deliver=self._deliver,
            homes=self.homes,
            routes=self.routes,
            neighbours=self.neighbours,
            clock=clock,
            folder=run,
            life=7,
        )
        for number in LANES:
            self.routes.know(f"a{number}.test", number)

    def _deliver(self, stored: Sequence[tuple[int, MessageRecord]]) -> None:
        self.delivered += [record for _, record in stored]


class Server:
    """Three lanes; mail comes in at lane 0."""

    def __init__(self, run: Path, clock: FakeClock) -> None:
        self.clock = clock
        self.run = run
        self.lanes = {lane: Process(lane, run, clock) for lane in LANES}
        self.here = self.lanes["0"]
        self.told: list[SpoolError | None] = []

    async def start(self) -> None:
        for process in self.lanes.values():
            await process.doorway.open()
        for process in self.lanes.values():
            process.committer.use_placement()
        for lane in ("1", "2"):
            await until(lambda lane=lane: self.neighbour(lane).is_taking)  # type: ignore[misc]

    def neighbour(self, lane: str) -> Any:
        neighbour = self.here.neighbours.get(lane)
        assert neighbour is not None
        return neighbour

    async def kill(self, lane: str) -> None:
        """The lane's process is gone."""
        await self.lanes[lane].doorway.close(0.0)
        await until(lambda: not self.neighbour(lane).is_taking)
        await settle()

    def commit(self, records: list[MessageRecord]) -> None:
        self.here.committer.commit(records, self.told.append)

    async def committed(self, records: list[MessageRecord]) -> SpoolError | None:
        """Have it committed; what is told."""
        self.told.clear()
        self.commit(records)
        await until(lambda: self.told)
        await settle()
        assert len(self.told) == 1
        return self.told[0]

    def where(self, records: list[MessageRecord]) -> list[str]:
        """The lanes that deliver a transaction; whole, or not at all."""
        found = [lane for lane, process in self.lanes.items() if records[0] in process.delivered]
        for lane in found:
            assert [item for item in self.lanes[lane].delivered if item in records] == records
        return found

    async def advance(self, seconds: float) -> None:
        self.clock.advance(Seconds(seconds))
        await settle()

    async def stop(self) -> None:
        for process in self.lanes.values():
            await process.committer.close()
            await process.doorway.close(0.0)
        await settle()


@pytest.fixture
def serve(tmp_path: Path) -> Callable[[Callable[[Server], Coroutine[Any, Any, None]]], None]:
    """Runs a scene on a loop whose time moves only when told to."""

    def run(scene: Callable[[Server], Coroutine[Any, Any, None]]) -> None:
        async def play() -> None:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, FakeTimeLoop)
            server = Server(tmp_path, loop.clock)
            await server.start()
            try:
                await scene(server)
            finally:
                await server.stop()

        with asyncio.Runner(loop_factory=FakeTimeLoop) as runner:
            runner.run(play())

    return run


Serve = Callable[[Callable[[Server], Coroutine[Any, Any, None]]], None]


@pytest.mark.parametrize(
    ("domains", "lanes"),
    [
        (["a0.test"], ["0"]),
        (["a1.test"], ["1"]),
        (["a2.test"], ["2"]),
        (["a1.test", "b1.test"], ["1"]),
        (["a0.test", "a1.test"], ["0"]),
        (["a1.test", "a2.test"], ["0"]),
        (["a1.test", "a2.test", "a0.test"], ["0"]),
        (["gone.test"], ["0"]),
        (["a1.test", "gone.test"], ["0"]),
    ],
    ids=" ".join,
)
def test_a_transaction_is_stored_whole_in_one_lane(
    serve: Serve, domains: list[str], lanes: list[str]
) -> None:
    """Where all of it is at home; in ours if there is no such lane, or a domain has no route."""

    async def scene(server: Server) -> None:
        server.here.routes.know("b1.test", "1")
        refusal = reply(550, "5.1.2", "domain does not exist")
        server.here.routes.known["gone.test"] = Unroutable(refusal, True, MonotonicTime(1e9))
        given = mail(*domains)
        assert await server.committed(given) is None
        assert server.where(given) == lanes
        assert not server.here.routes.asked

    serve(scene)


def test_what_is_at_home_here_is_stored_by_call(serve: Serve) -> None:
    """Nothing goes over any socket, and nobody waits for another turn of the loop."""

    async def scene(server: Server) -> None:
        server.commit(mail("a0.test"))
        assert server.told == [None]

    serve(scene)


def test_a_site_that_becomes_known_in_time_is_waited_for(serve: Serve) -> None:
    """RCPT has begun to ask; the message waits a little."""

    async def scene(server: Server) -> None:
        committer, routes = server.here.committer, server.here.routes
        committer.expect("new.test")
        committer.expect("a1.test")
        assert list(routes.asked) == ["new.test"]
        given = mail("a1.test", "new.test")
        server.commit(given)
        await server.advance(PATIENCE - 0.01)
        assert not server.told
        routes.know("new.test", "1")
        await until(lambda: server.told)
        assert server.where(given) == ["1"]

    serve(scene)


@pytest.mark.parametrize("is_full", [False, True], ids=["slow", "too many questions"])
def test_a_site_that_is_not_known_in_time_is_ours(serve: Serve, *, is_full: bool) -> None:
    """For now: it moves when it is known."""

    async def scene(server: Server) -> None:
        server.here.routes.is_full = is_full
        given = mail("new.test", "newer.test")
        server.commit(given)
        await settle()
        assert bool(server.told) is is_full
        await server.advance(PATIENCE + 0.01)
        await until(lambda: server.told)
        assert server.told == [None]
        assert server.where(given) == ["0"]

    serve(scene)


def test_nobody_waits_for_a_site_that_makes_no_difference(serve: Serve) -> None:
    """With a part that is at home here, or parts of two other lanes, it is ours whatever the answer."""

    async def scene(server: Server) -> None:
        for domains in (["new.test", "a0.test"], ["a1.test", "new.test", "a2.test"]):
            server.told.clear()
            server.commit(mail(*domains))
            assert server.told == [None]

    serve(scene)


def test_a_home_that_is_away_is_not_waited_for(serve: Serve) -> None:
    """Ours is the anchor at once; when the lane is back it gets its mail again."""

    async def scene(server: Server) -> None:
        await server.kill("1")
        given = mail("a1.test")
        server.commit(given)
        assert server.told == [None]
        assert server.where(given) == ["0"]

    serve(scene)


def test_a_home_that_refuses_leaves_it_to_us(serve: Serve) -> None:
    """It says that nothing is stored, so it can be stored here."""

    async def scene(server: Server) -> None:
        server.lanes["1"].spool.broken = FAULT
        given = mail("a1.test")
        assert await server.committed(given) is None
        assert server.where(given) == ["0"]
        assert server.neighbour("1").fates[Fate.NOT_STORED] == 1

    serve(scene)


def test_of_what_may_be_stored_elsewhere_nothing_is_said(serve: Serve) -> None:
    """And it is not stored a second time."""

    async def scene(server: Server) -> None:
        server.lanes["1"].spool.is_slow = True
        given = mail("a1.test")
        server.commit(given)
        await until(lambda: server.lanes["1"].spool.stores)
        await server.kill("1")
        assert isinstance(server.told[0], SpoolUncertain)
        assert server.where(given) == []
        server.lanes["1"].spool.answer_store()
        await settle()
        assert server.where(given) == ["1"]
        assert len(server.told) == 1

    serve(scene)


@pytest.mark.parametrize("domain", ["a0.test", "a2.test", "new.test"])
def test_where_ours_is_ill_another_is_the_anchor(serve: Serve, domain: str) -> None:
    """As long as there is one, transactions begin."""

    async def scene(server: Server) -> None:
        server.here.spool.become(has_room=False)
        server.here.spool.broken = FAULT
        await server.kill("2")
        assert server.here.committer.has_room()
        given = mail(domain)
        server.commit(given)
        await settle()
        await server.advance(PATIENCE + 0.01)
        await until(lambda: server.told)
        assert server.told == [None]
        assert server.where(given) == ["1"]

    serve(scene)


def test_a_dedicated_lane_is_no_anchor(serve: Serve) -> None:
    """It is for its own mail, and its storms are to be nobody else's."""

    async def scene(server: Server) -> None:
        server.here.homes.use(Placement(("0",), ("1", "2"), table=TABLE))
        server.here.committer.use_placement()
        server.here.spool.become(has_room=False)
        assert not server.here.committer.has_room()
        given = mail("a0.test")
        assert await server.committed(given) is None
        assert server.where(given) == ["0"]

    serve(scene)


def test_where_all_are_ill_it_is_refused(serve: Serve) -> None:
    """No transaction begins; one that is under way is told that nothing is stored."""

    async def scene(server: Server) -> None:
        for process in server.lanes.values():
            process.spool.become(has_room=False)
            process.spool.broken = FAULT
        await until(lambda: not any(server.neighbour(lane).is_taking for lane in ("1", "2")))
        assert not server.here.committer.has_room()
        for domain in ("a0.test", "a1.test"):
            fault = await server.committed(mail(domain))
            assert fault is FAULT

    serve(scene)


def test_a_fault_of_the_anchor_comes_back_to_us(serve: Serve) -> None:
    """The other lane refuses too; ours is asked for the last word, whatever it is."""

    async def scene(server: Server) -> None:
        server.here.spool.become(has_room=False)
        for lane in ("1", "2"):
            server.lanes[lane].spool.broken = FAULT
        given = mail("a0.test")
        assert await server.committed(given) is None
        assert server.where(given) == ["0"]

    serve(scene)


@pytest.mark.parametrize("parts", [1, 3])
def test_a_large_content_is_handed_over_as_a_file(serve: Serve, parts: int) -> None:
    """It arrives whole, and nothing is left behind; no frame has it."""

    async def scene(server: Server) -> None:
        given = mail(*["a1.test"] * parts, content=LARGE)
        assert await server.committed(given) is None
        assert server.where(given) == ["1"]
        assert not list(server.run.glob("*.parcel"))
        assert server.here.committer.held_bytes == 0

    serve(scene)


def test_a_large_content_that_is_refused_is_stored_here(serve: Serve) -> None:
    """And its file goes."""

    async def scene(server: Server) -> None:
        server.lanes["1"].spool.broken = FAULT
        given = mail("a1.test", content=LARGE)
        assert await server.committed(given) is None
        assert server.where(given) == ["0"]
        await until(lambda: not list(server.run.glob("*.parcel")))

    serve(scene)


def test_a_large_content_that_cannot_be_packed_is_stored_here(serve: Serve) -> None:
    """The folder may be gone, or full."""

    async def scene(server: Server) -> None:
        (server.run / "0--7-1.parcel").mkdir()
        given = mail("a1.test", content=LARGE)
        assert await server.committed(given) is None
        assert server.where(given) == ["0"]

    serve(scene)


def test_what_is_under_way_counts_as_memory(serve: Serve) -> None:
    """Until it is answered; the limit for mail coming in holds for it as for what is stored."""

    async def scene(server: Server) -> None:
        server.lanes["1"].spool.is_slow = True
        server.commit(mail("a1.test", content=b"x" * 10_000))
        assert server.here.committer.held_bytes > 10_000
        await until(lambda: server.lanes["1"].spool.stores)
        server.lanes["1"].spool.answer_store()
        await until(lambda: server.told)
        assert server.here.committer.held_bytes == 0

    serve(scene)


def test_a_placement_changes_where_new_mail_goes(serve: Serve) -> None:
    """At once; what is under way has its answer."""

    async def scene(server: Server) -> None:
        server.lanes["1"].spool.is_slow = True
        before = mail("a1.test")
        server.commit(before)
        server.here.homes.use(Placement(LANES, table={**TABLE, "mx1.test": "2"}))
        server.here.committer.use_placement()
        after = mail("a1.test", content=b"Subject: y\r\n\r\n")
        server.commit(after)
        await until(lambda: server.told)
        assert server.where(after) == ["2"]
        await until(lambda: server.lanes["1"].spool.stores)
        server.lanes["1"].spool.answer_store()
        await until(lambda: len(server.told) == 2)
        assert server.where(before) == ["1"]

    serve(scene)


def test_a_lane_that_is_taken_away_is_left(serve: Serve) -> None:
    """The connection ends; with no other lane nothing is asked any more."""

    async def scene(server: Server) -> None:
        server.here.homes.use(Placement(("0",)))
        server.here.committer.use_placement()
        await settle()
        assert server.here.neighbours.get("1") is None
        server.here.committer.expect("new.test")
        assert not server.here.routes.asked
        given = mail("new.test")
        server.commit(given)
        assert server.told == [None]
        assert server.where(given) == ["0"]

    serve(scene)
