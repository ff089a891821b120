"""Lanes that move messages between them, on simulated disks and connections: spools, schedulers and moves are the real ones.

A lane is killed, or loses its power, at any step; connections end, and what is on the way is lost; sites change their homes. Every message is for one
recipient, and a delivery is one that is on stable storage, so each must be delivered once.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from penstock.ipc.frames import Frame, ProtocolError
from penstock.ipc.lane_words import LANE, LaneSessionOpen
from penstock.lane.giving import Giver, Place
from penstock.lane.leaving import ScheduledSource
from penstock.lane.moves import Moves
from penstock.lane.wandering import Wanderers
from penstock.mail.configuration import PathConfig, QueueConfig
from penstock.mail.duration import MonotonicTime, Seconds, WallTime
from penstock.mail.ids import IdSource
from penstock.mail.ports import LogPosition, SpoolError
from penstock.mail.queue_name import QueueName
from penstock.mail.records import MessageRecord, QueuedMessage, SpoolRecord, Verdict
from penstock.mail.status import Tally
from penstock.queueing.effects import Move, Resolve
from penstock.queueing.queues import Path as DeliveryPath
from penstock.queueing.rows import READY, WAITING
from penstock.queueing.scheduler import Scheduler
from penstock.routing.answer import Exchange
from penstock.routing.plan import Route
from penstock.sim.file_system import SimulatedDisk, SimulatedSyncer
from penstock.sim.loop import AtOnce, SimulatedLoop
from penstock.spool.log import SpoolLog, SpoolOptions
from tests.spool import samples

DOMAINS: Final = ("a.test", "b.test", "c.test", "d.test", "e.test")
#: Octets of a segment: small, so that some are reclaimed in a short run.
_SEGMENT: Final = 6 * 1024
#: Turns after which there must be an end.
_PATIENCE: Final = 400
#: States of which one is left when the power fails.
_CUTS: Final = 4
_QUEUE: Final = QueueConfig(Seconds(600.0), Seconds(2000.0), Seconds(864_000.0))


class Link:
    """One end of a connection: what is sent to the other end waits there."""

    def __init__(self) -> None:
        self.sent: deque[Frame] = deque()
        self.is_open = True

    def send(
        self, kind: int, number: int, head: bytes = b"", tail: Sequence[bytes | memoryview] = ()
    ) -> None:
        if self.is_open:
            self.sent.append(Frame(kind, number, head, b"".join(tail)))

    def abort(self) -> None:
        self.is_open = False


class NoStay:
    """Connections are the world's to make."""

    def __init__(self, path: Path, giver: Giver) -> None:
        """Nothing is kept up."""

    def start(self) -> None:
        """Nothing."""

    async def close(self) -> None:
        """Nothing."""


class Lane:
    """One life of a lane."""

    def __init__(self, world: World, name: str, disk: SimulatedDisk, now: float) -> None:
        self.world = world
        self.name = name
        self.disk = disk
        self.loop = SimulatedLoop(now)
        self.syncer = SimulatedSyncer(disk.switches)
        draw = world.draw
        self.ids = IdSource(draw.getrandbits(42))
        background = AtOnce(self.loop)
        self.tally = Tally()
        self.spool = SpoolLog(
            disk.process(), self.syncer, self.loop, background, self.loop, self.ids, lambda: draw.getrandbits(32),
            self._on_stored, SpoolOptions(memory=4096, segment_size=_SEGMENT),
        )  # fmt: skip
        self.scheduler = Scheduler(lambda _: _QUEUE, lambda _: PathConfig(), home=self._home)
        self._sources: dict[str, ScheduledSource] = {}
        place = Place(
            name, self.spool, self.loop, self.ids, self.loop, background, Wanderers(self.loop), Path("/nowhere"),
            draw.getrandbits(32), itertools.count(1),
        )  # fmt: skip
        self.moves = Moves(place, Path("/nowhere"), self._source, self.restore, NoStay)
        self.spool.open()
        for _ in self.spool.restore(self._restored):
            pass
        self.moves.recovered()

    def _on_stored(self, records: Sequence[SpoolRecord], position: LogPosition) -> None:
        for record in records:
            self.tally.add(record)
        self.spool.events_written(position)

    def _home(self, _domain: str, site: str) -> str | None:
        home = self.world.homes[site.removeprefix("mx.")]
        return home if home != self.name else None

    def _source(self, lane: str) -> ScheduledSource:
        source = self._sources[lane] = ScheduledSource(self.scheduler, lane, self.loop, lambda: None)
        return source

    def _restored(self, messages: Sequence[QueuedMessage]) -> None:
        for message in messages:
            if not message.is_held:
                self.tally.restore(message.queue.tenant, message.recipients)
        self.restore(messages)

    def restore(self, messages: Sequence[QueuedMessage]) -> None:
        """Take messages over, as ``lane.Lane`` does."""
        for message in messages:
            if not message.is_held:
                self.scheduler.add(
                    message.queue, message.position, message.size, created=message.created,
                    now=self.loop.wall(), attempts=message.attempts, due=message.due,
                )  # fmt: skip
        self.work()

    def work(self) -> None:
        """Carry out what the scheduler asks for. Connections are the world's: it pulls when it likes."""
        now = self.loop.wall()
        while self.scheduler.is_busy:
            for effect in self.scheduler.take_effects():
                if isinstance(effect, Resolve):
                    site = f"mx.{effect.hop.name}"
                    route = Route(site, (Exchange(10, site),), MonotonicTime(0.0))
                    self.scheduler.route_found(effect.hop, route, WallTime(now + 60.0), now)
                elif isinstance(effect, Move) and effect.path.lane is not None:
                    self.moves.giver(effect.path.lane)
                    self._sources[effect.path.lane].add(effect.path)
                    self.loop.call_soon(self.moves.giver(effect.path.lane).pump)
            if not self.scheduler.tick(now):
                break

    def turn(self) -> None:
        """Everything that happens at once, but for syncs."""
        self.loop.run()
        self.scheduler.tick(self.loop.wall())
        self.work()
        self.loop.run()

    def sync(self) -> None:
        """A sync comes to its end."""
        self.loop.advance(0.06)
        if self.syncer.is_waiting:
            self.syncer.complete()
        self.turn()

    def settle(self) -> None:
        """Everything is stored."""
        for _ in range(_PATIENCE):
            self.loop.advance(0.06)
            if not self.syncer.is_waiting:
                return
            self.syncer.complete()
        raise AssertionError("a lane does not come to rest")

    def read(self, position: int) -> MessageRecord:
        """A message of this lane."""
        stored = self.spool.get(position)
        if stored is None:
            found: list[object] = []
            self.spool.fetch(position, found.append)
            self.loop.run()
            (stored,) = found  # type: ignore[assignment]
        assert stored is not None and not isinstance(stored, SpoolError)
        return stored.record

    def deliverable(self) -> list[str]:
        """The ids of the messages that wait, or are ready."""
        rows = self.scheduler.rows
        return [
            self.read(rows.position[row]).id
            for row, state in enumerate(rows.state)
            if state in (READY, WAITING)
        ]

    def own_paths(self) -> list[DeliveryPath]:
        """Paths that have their home here, with ready mail."""
        return [path for path in self.scheduler.paths.values() if path.lane is None and path.ready]


class World:
    """Lanes by name, and the connections between them: by giving lane and taking lane, the giver's end and the taker's."""

    def __init__(self, seed: int, names: str = "012") -> None:
        self.draw = random.Random(seed)
        self.names = names
        self.homes = {domain: self.draw.choice(names) for domain in DOMAINS}
        self.now = 1_700_000_000.0
        self.links: dict[tuple[str, str], tuple[Link, Link]] = {}
        self.accepted: set[str] = set()
        self.delivered: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self._numbers = itertools.count(1)
        self.lanes: dict[str, Lane] = {}
        for name in names:
            self.lanes[name] = Lane(self, name, SimulatedDisk(), self.now)
        self.rehome()

    # -- connections

    def connect(self, one: str, other: str) -> None:
        """``one`` connects to ``other`` to give."""
        ours, theirs = self.links[(one, other)] = (Link(), Link())
        self.lanes[one].moves.giver(other).connected(ours)
        first = ours.sent.popleft()
        assert LANE.decode(first.kind, first.head) == LaneSessionOpen(one, "move")
        self.lanes[other].moves.taker(one).connected(theirs)

    def disconnect(self, one: str, other: str) -> None:
        """What is on the way is lost."""
        ours, theirs = self.links.pop((one, other))
        ours.abort()
        theirs.abort()
        self.lanes[one].moves.giver(other).ended(ours, "it was cut")
        self.lanes[other].moves.taker(one).ended(theirs)
        self.kinds["connections that ended"] += 1

    def pass_on(self, one: str, other: str, *, back: bool) -> bool:
        """A frame comes; whether there was one."""
        ours, theirs = self.links[(one, other)]
        try:
            if back and theirs.sent:
                self.lanes[one].moves.giver(other).received(theirs.sent.popleft())
            elif not back and ours.sent:
                self.lanes[other].moves.taker(one).received(theirs, ours.sent.popleft())
            else:
                return False
        except ProtocolError as error:
            raise AssertionError(f"a lane broke the protocol: {error}") from error
        self.kinds["frames"] += 1
        for lane in (one, other):
            self.lanes[lane].turn()
        return True

    # -- what happens

    def accept(self) -> None:
        """A transaction of some messages, in some lane, and its answer."""
        lane = self.lanes[self.draw.choice(self.names)]
        number = next(self._numbers)
        content = b"%d:" % number + self.draw.randbytes(self.draw.choice((20, 200)))
        domains = self.draw.sample(DOMAINS, self.draw.choice((1, 2, 4)))
        records = []
        for part, domain in enumerate(domains):
            record = samples.message(number * 10 + part, 1, content, domain)
            fields = {name: getattr(record, name) for name in record.__struct_fields__}
            fields |= {"queue": QueueName(domain), "created": lane.loop.wall()}
            records.append(MessageRecord(**fields))

        def done(positions: Sequence[int], fault: SpoolError | None) -> None:
            if fault is None:
                self.accepted.update(record.id for record in records)
                for position, record in zip(positions, records, strict=True):
                    lane.scheduler.add(
                        record.queue, position, record.size, created=record.created, now=lane.loop.wall()
                    )
                lane.work()

        lane.spool.store(records, done)

    def deliver(self, lane: Lane) -> bool:
        """A message goes out, for good; whether there was one."""
        for path in lane.own_paths():
            row = lane.scheduler.pull(path, lane.loop.wall())
            if row < 0:
                continue
            position = lane.scheduler.rows.position[row]
            record = lane.read(position)
            self.delivered[record.id] += 1
            assert self.delivered[record.id] == 1, f"{record.id} is delivered twice"
            lane.spool.record_attempt(position, samples.attempt(record, 1, (0, Verdict.ACCEPTED)))
            lane.scheduler.settled(path, row, lane.loop.wall())
            lane.settle()
            self.kinds["deliveries"] += 1
            return True
        return False

    def defer(self, lane: Lane) -> None:
        """An attempt fails, and is on stable storage."""
        for path in lane.own_paths()[:1]:
            row = lane.scheduler.pull(path, lane.loop.wall())
            if row >= 0:
                position, now = lane.scheduler.rows.position[row], lane.loop.wall()
                record, due = lane.read(position), WallTime(now + 20.0)
                spent = lane.scheduler.rows.attempts[row] + 1
                attempt = samples.attempt(record, spent, (0, Verdict.DEFERRED), due=due)
                lane.spool.record_attempt(position, attempt)
                lane.scheduler.deferred(path, row, due)
                lane.settle()
                self.kinds["deferrals"] += 1

    def die(self, name: str) -> None:
        """A lane is killed, or loses its power, and begins again."""
        lane = self.lanes[name]
        for pair in [pair for pair in self.links if name in pair]:
            ours, theirs = self.links.pop(pair)
            ours.abort()
            theirs.abort()
            if pair[0] == name:
                self.lanes[pair[1]].moves.taker(name).ended(theirs)
            else:
                self.lanes[pair[0]].moves.giver(name).ended(ours, "it died")
        if self.draw.random() < 0.5:
            states = list(itertools.islice(lane.disk.crash_states(_CUTS, self.draw.getrandbits(30)), _CUTS))
            disk = self.draw.choice(states)
            self.kinds["power cuts"] += 1
        else:
            disk = lane.disk.after_kill()
            self.kinds["kills"] += 1
        self.lanes[name] = Lane(self, name, disk, lane.loop.wall() + 1.0)
        assert not self.lanes[name].spool.counts.quarantined
        self.lanes[name].turn()

    def rehome(self) -> None:
        """Some sites have another home from now on."""
        for domain in DOMAINS:
            if self.draw.random() < 0.5:
                self.homes[domain] = self.draw.choice(self.names)
        for lane in self.lanes.values():
            lane.scheduler.rehome(lane._home, lane.loop.wall())
            lane.turn()
        self.kinds["changes of homes"] += 1

    # -- what must be true

    def check(self) -> None:
        """Nothing is deliverable in two lanes, or after it was delivered."""
        where: dict[str, str] = {}
        for name, lane in self.lanes.items():
            for identifier in lane.deliverable():
                assert identifier not in where, (
                    f"{identifier} is deliverable in {where[identifier]} and {name}"
                )
                assert not self.delivered[identifier], f"{identifier} was delivered, and waits in {name}"
                where[identifier] = name

    def come_to_rest(self) -> None:
        """All are connected, everything is synced, all mail is delivered: each message once, and each lane's accounts are even."""
        pairs = [(one, other) for one in self.names for other in self.names if one != other]
        for _ in range(_PATIENCE):
            for pair in pairs:
                if pair not in self.links:
                    self.connect(*pair)
            is_quiet = True
            for pair in pairs:
                for back in (False, True):
                    while self.pass_on(*pair, back=back):
                        is_quiet = False
            for lane in self.lanes.values():
                lane.loop.advance(2.0)
                lane.settle()
                lane.turn()
                while self.deliver(lane):
                    is_quiet = False
            self.check()
            if is_quiet and not any(len(lane.scheduler) or len(lane.moves) for lane in self.lanes.values()):
                break
        missing = self.accepted - set(self.delivered)
        assert not missing, f"{sorted(missing)} are lost"
        for lane in self.lanes.values():
            assert not len(lane.spool) and not len(lane.spool.departures) and not len(lane.spool.arrivals)
            assert lane.tally.total.queued == 0


def run(seed: int, steps: int = 120) -> World:
    """A run by chance, to its end."""
    world = World(seed)
    draw = world.draw
    actions: tuple[tuple[float, Callable[[], object]], ...] = (
        (8, world.accept),
        (20, lambda: _pass_some(world)),
        (12, lambda: world.lanes[draw.choice(world.names)].sync()),
        (6, lambda: world.deliver(world.lanes[draw.choice(world.names)])),
        (1, lambda: world.defer(world.lanes[draw.choice(world.names)])),
        (3, lambda: world.die(draw.choice(world.names))),
        (2, lambda: world.links and world.disconnect(*draw.choice(sorted(world.links)))),
        (8, lambda: _connect(world)),
        (2, world.rehome),
        (2, lambda: _wait(world)),
    )
    weights = [weight * draw.choice((0.5, 1.0, 2.0)) for weight, _ in actions]
    for _ in range(steps):
        draw.choices([action for _, action in actions], weights)[0]()
        for lane in world.lanes.values():
            lane.turn()
        world.check()
    world.come_to_rest()
    for lane in world.lanes.values():
        world.kinds["messages moved"] += lane.moves.taken
        world.kinds["segments removed"] += lane.spool.counts.removed_segments
    return world


def _pass_some(world: World) -> None:
    for _ in range(world.draw.randint(1, 6)):
        if world.links:
            world.pass_on(*world.draw.choice(sorted(world.links)), back=world.draw.random() < 0.5)


def _connect(world: World) -> None:
    pair = tuple(world.draw.sample(world.names, 2))
    if pair not in world.links:
        world.connect(pair[0], pair[1])


def _wait(world: World) -> None:
    for lane in world.lanes.values():
        lane.loop.advance(world.draw.choice((1.0, 30.0)))


def away_for_long(seed: int = 1) -> World:
    """A lane that has accepted a message is away, before it is told that it may have it, until the segment that says so has gone."""
    world = World(seed, "01")
    world.homes.update(dict.fromkeys(DOMAINS, "1"))
    world.connect("0", "1")
    giving, taking = world.lanes["0"], world.lanes["1"]
    while not world.accepted:
        world.accept()
        giving.settle()
        giving.turn()
    while world.pass_on("0", "1", back=False):
        pass
    taking.settle()
    while world.pass_on("0", "1", back=True):
        pass
    giving.settle()
    world.disconnect("0", "1")
    assert len(taking.spool.arrivals) and len(giving.spool.departures)
    world.homes.update(dict.fromkeys(DOMAINS, "0"))
    for lane in world.lanes.values():
        lane.scheduler.rehome(lane._home, lane.loop.wall())
    for _ in range(60):
        world.accept()
        for lane in world.lanes.values():
            lane.settle()
            while world.deliver(lane):
                pass
    assert giving.spool.counts.removed_segments > 1
    world.die("0")
    world.come_to_rest()
    return world
