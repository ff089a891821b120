"""Sites whose home is another lane: their mail is not delivered here, but asked to be moved there, with no stall and nothing forgotten."""

from __future__ import annotations

from penstock.mail.configuration import PathConfig, QueueConfig
from penstock.mail.duration import MonotonicTime, Seconds, WallTime
from penstock.mail.queue_name import QueueName
from penstock.queueing.effects import Connect, Effect, Expire, Move, Offer, Resolve
from penstock.queueing.queues import Path
from penstock.queueing.scheduler import Scheduler
from penstock.routing.answer import Exchange
from penstock.routing.plan import Route

NOW = WallTime(1_763_668_800.0)
LIMIT = 4


def later(seconds: float) -> WallTime:
    """So much later than at first."""
    return WallTime(NOW + seconds)


class World:
    """A scheduler, where sites have their homes, and where domains are routed to."""

    def __init__(self) -> None:
        self.homes: dict[str, str] = {"away.test": "2"}
        self.routes: dict[str, str] = {}
        queue = QueueConfig(Seconds(60.0), Seconds(600.0), Seconds(1000.0))
        self.scheduler = Scheduler(
            lambda _: queue, lambda _: PathConfig(connection_limit=LIMIT), home=self.home
        )
        self.positions = iter(range(1, 1 << 30))

    def home(self, _domain: str, site: str) -> str | None:
        """The lane that a site has its home in."""
        return self.homes.get(site)

    def add(self, domain: str = "a.test", now: WallTime = NOW, site: str = "away.test") -> int:
        """A message, whose domain is routed to ``site``."""
        self.routes.setdefault(domain, site)
        return self.scheduler.add(QueueName(domain), next(self.positions), 100, created=now, now=now)

    def work(self, now: WallTime = NOW, seconds: float = 60.0) -> list[Effect]:
        """Answer what is asked about routes; all other effects."""
        effects: list[Effect] = []
        while self.scheduler.has_effects or self.scheduler.is_behind:
            for effect in self.scheduler.take_effects():
                if isinstance(effect, Resolve):
                    self.answer(effect, self.routes[effect.hop.name], now, seconds)
                else:
                    effects.append(effect)
            self.scheduler.tick(now)
        return effects

    def answer(self, effect: Resolve, site: str, now: WallTime, seconds: float) -> None:
        """A domain is routed to a site, for so long."""
        route = Route(site, (Exchange(10, site),), MonotonicTime(0.0))
        self.scheduler.route_found(effect.hop, route, WallTime(now + seconds), now)

    def path(self, site: str = "away.test") -> Path:
        """The path to a site."""
        return self.scheduler.paths[site]

    def next(self, now: WallTime = NOW, site: str = "away.test", lane: str = "2") -> int:
        """The next row to be moved."""
        return self.scheduler.leaving.next(self.path(site), lane, now)


def test_mail_whose_home_is_elsewhere_is_asked_to_be_moved_once() -> None:
    """No connection is asked for; whoever moves it takes it one by one; later mail is asked for anew."""
    world = World()
    rows = [world.add(), world.add("b.test"), world.add()]
    assert world.work() == [Move(world.path())]
    assert world.scheduler.pull(world.path(), NOW) == -1
    assert [world.next() for _ in range(3)] == rows
    path = world.path()
    assert world.next() == -1
    for row in rows:
        world.scheduler.leaving.moved(path, row, NOW)
    assert not len(world.scheduler) and not world.scheduler.paths
    world.add()
    assert world.work() == [Move(world.path())]


def test_mail_whose_home_is_here_goes_out_from_here() -> None:
    """Beside the other."""
    world = World()
    world.add("c.test", site="here.test")
    world.add()
    assert [type(effect) for effect in world.work()] == [Connect, Move]


def test_what_comes_while_it_is_moved_is_not_asked_for_again() -> None:
    """It is taken with the rest; what comes after the last is."""
    world = World()
    world.add()
    world.work()
    world.next()
    world.add()
    assert world.work() == []
    world.next()
    assert world.next() == -1
    world.add()
    assert world.work() == [Move(world.path())]


def test_what_is_put_back_is_the_first_again() -> None:
    """In its old place, and asked for."""
    world = World()
    first, second = world.add(), world.add()
    world.work()
    taken = [world.next(), world.next(), world.next()]
    assert taken == [first, second, -1]
    path = world.path()
    world.scheduler.leaving.put_back(path, second, NOW)
    world.scheduler.leaving.put_back(path, first, NOW)
    assert world.work() == [Move(path)]
    assert [world.next(), world.next()] == [first, second]


def test_what_is_put_off_waits_and_has_spent_nothing() -> None:
    """Until then; no attempt is counted."""
    world = World()
    row = world.add()
    world.work()
    path = world.path()
    world.next()
    world.next()
    world.scheduler.leaving.put_off(path, row, later(30.0))
    assert not world.scheduler.paths
    assert world.scheduler.next_wake() == later(30.0)
    world.scheduler.tick(later(30.0))
    assert world.work(later(30.0)) == [Move(world.path())]
    assert world.scheduler.rows.attempts[row] == 0


def test_a_lane_that_is_away_is_a_gate_with_a_reason() -> None:
    """Nothing is given meanwhile, and nothing asks again until it is back."""
    world = World()
    row = world.add()
    world.work()
    leaving, path = world.scheduler.leaving, world.path()
    leaving.hold(path, "2", "lane 2 is away", NOW, None)
    hold = world.scheduler.queue_of(row).hold
    assert hold is not None and (hold.gate, hold.reason) == ("lane", "lane 2 is away")
    world.add()
    assert world.work() == []
    leaving.release(path, "2")
    assert world.scheduler.queue_of(row).hold is None
    assert world.next() == row


def test_a_lane_that_does_not_take_it_is_asked_again_later() -> None:
    """At the instant that was said, by a timer."""
    world = World()
    world.add()
    world.work()
    world.scheduler.leaving.hold(world.path(), "2", "full", NOW, later(2.0))
    assert world.next() == -1
    assert world.scheduler.next_wake() == later(2.0)
    world.scheduler.tick(later(2.0))
    assert world.work(later(2.0)) == [Move(world.path())]


def test_mail_that_is_to_be_moved_expires_like_any_other() -> None:
    """While its lane is away."""
    world = World()
    world.add()
    world.work()
    world.scheduler.leaving.hold(world.path(), "2", "lane 2 is away", NOW, None)
    world.scheduler.tick(later(1000.0))
    assert isinstance(world.scheduler.take_end(), Expire)


def test_a_home_that_changes_takes_all_mail_of_the_site_with_it() -> None:
    """To another lane, and here; in slices, and whoever moved it before gets no more."""
    world = World()
    for number in range(200):
        world.add(f"{number}.test", site=f"site-{number}.test")
        world.homes[f"site-{number}.test"] = "2"
    world.work()
    for number in range(100):
        world.homes[f"site-{number}.test"] = "3"
    for number in range(100, 200):
        del world.homes[f"site-{number}.test"]
    world.scheduler.rehome(world.home, NOW)
    effects = world.work()
    assert sum(isinstance(effect, Move) for effect in effects) == 100
    assert sum(isinstance(effect, Connect) for effect in effects) == 100
    assert world.next(site="site-0.test", lane="2") == -1
    assert world.next(site="site-0.test", lane="3") >= 0


def test_a_path_whose_home_is_elsewhere_now_lets_its_connections_go() -> None:
    """What is in flight ends here; an idle connection is offered nothing."""
    world = World()
    world.add("c.test", site="here.test")
    world.work()
    path = world.path("here.test")
    world.scheduler.connected(path, NOW)
    row = world.scheduler.pull(path, NOW)
    world.homes["here.test"] = "2"
    world.scheduler.rehome(world.home, NOW)
    world.add("c.test", site="here.test")
    assert world.work() == [Move(path)]
    world.scheduler.settled(path, row, NOW)
    assert world.scheduler.pull(path, NOW) == -1
    world.scheduler.idle_began(path)
    assert not [effect for effect in world.work() if isinstance(effect, Offer)]


def test_a_site_that_was_dead_is_moved_without_delay() -> None:
    """What held the path back held back connections of this lane."""
    world = World()
    world.add("c.test", site="here.test")
    world.work()
    path = world.path("here.test")
    world.scheduler.connect_failed(path, "refused", NOW, 0.5)
    assert path.hold is not None
    world.homes["here.test"] = "2"
    world.scheduler.rehome(world.home, NOW)
    assert world.work() == [Move(path)]


def test_mail_does_not_move_for_one_answer_about_its_site() -> None:
    """Another lane's site counts when it is answered again, once the first answer is not believed any more; answers that change never count."""
    world = World()
    world.homes["other.test"] = "3"
    world.add()
    world.work(seconds=10.0)
    world.routes["a.test"] = "other.test"
    world.add(now=later(11.0))
    assert world.work(later(11.0), seconds=10.0) == []
    assert world.path().ready == 2
    world.routes["a.test"] = "away.test"
    world.add(now=later(22.0))
    world.work(later(22.0), seconds=10.0)
    world.routes["a.test"] = "other.test"
    world.add(now=later(33.0))
    world.work(later(33.0), seconds=10.0)
    assert world.path().ready == 4
    world.add(now=later(44.0))
    effects = world.work(later(44.0), seconds=10.0)
    assert Move(world.path("other.test")) in effects
    assert world.path("other.test").ready == 5


def test_mail_moves_at_once_to_another_site_of_the_same_home() -> None:
    """Nothing crosses between lanes for it."""
    world = World()
    world.homes["other.test"] = "2"
    world.add()
    world.work(seconds=10.0)
    world.routes["a.test"] = "other.test"
    world.add(now=later(11.0))
    effects = world.work(later(11.0))
    assert Move(world.path("other.test")) in effects
    assert world.path("other.test").ready == 2


def test_nothing_is_moved_while_all_is_held() -> None:
    """And it is asked for when it goes on."""
    world = World()
    world.scheduler.pause("spool", "ill", NOW)
    world.add()
    assert world.work() == []
    world.scheduler.resume(NOW)
    assert world.work() == [Move(world.path())]
    world.scheduler.pause("spool", "ill", NOW)
    assert world.next() == -1
    world.scheduler.resume(NOW)
    assert world.work() == [Move(world.path())]
