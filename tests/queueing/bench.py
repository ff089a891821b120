"""A scheduler with own rates, and a lane that delivers at once whatever may go: for what limits and directives do."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable

from penstock.mail.configuration import Limit, PathConfig, QueueConfig
from penstock.mail.directive import Action, Criteria, Directive
from penstock.mail.duration import MonotonicTime, WallTime
from penstock.mail.queue_name import QueueName
from penstock.mail.rate import parse_rate
from penstock.queueing.effects import Connect, Drop, Offer, Resolve
from penstock.queueing.queues import Hop, Path
from penstock.queueing.scheduler import Scheduler
from penstock.routing.answer import Exchange
from penstock.routing.plan import Route
from penstock.shaping.own import OwnRates

BEGIN = 1_763_668_800.0
NEVER = WallTime(BEGIN + 1e9)


class Bench:
    """A scheduler, its rates, and a lane that delivers at once whatever may go. ``site_of`` says where a domain's mail goes."""

    def __init__(
        self,
        configs: dict[str, QueueConfig] | None = None,
        path: PathConfig | None = None,
        *,
        site_of: Callable[[str], str] = lambda domain: "mx.example",
        weights: dict[str | None, float] | None = None,
        home: Callable[[str, str], str | None] = lambda domain, site: None,
        rates: OwnRates | None = None,
    ) -> None:
        self.configs = configs or {}
        self.path_config = path or PathConfig()
        self.rates = OwnRates() if rates is None else rates
        weights = weights or {}
        self.scheduler = Scheduler(
            self._config,
            lambda site: self.path_config,
            weight_of=lambda tenant: weights.get(tenant, 1.0),
            rates=self.rates,
            zone_of=lambda name: dt.UTC if name == "UTC" else None,
            home=home,
        )
        self.now = BEGIN
        self.site_of = site_of
        self.connects = 0
        #: sites that cannot be reached
        self.dead: set[str] = set()
        self.delivered: list[tuple[float, str]] = []
        self.dropped: list[Drop] = []
        self.wakes = 0
        self._position = 0
        self._given = 0

    def _config(self, name: QueueName) -> QueueConfig:
        return self.configs.get(str(name)) or self.configs.get(name.tenant or "") or QueueConfig()

    @property
    def wall(self) -> WallTime:
        return WallTime(self.now)

    def add(self, name: str, count: int = 1) -> None:
        """Messages come in."""
        tenant, _, domain = name.rpartition("@")
        for _ in range(count):
            self._position += 1
            self.scheduler.add(
                QueueName(domain, tenant or None), self._position, 1000, created=self.wall, now=self.wall
            )

    def settle(self) -> None:
        """The lane carries out what is asked for, until there is no more."""
        scheduler = self.scheduler
        while True:
            for effect in scheduler.take_effects():
                if isinstance(effect, Connect):
                    self.connects += 1
                    self._connect(effect.path)
                elif isinstance(effect, Resolve):
                    self.found(effect.hop)
                elif isinstance(effect, Offer):
                    scheduler.idle_ended(effect.path)
                    self.pull(effect.path)
            while (end := scheduler.take_end()) is not None:
                assert isinstance(end, Drop)
                self.dropped.append(end)
                scheduler.end_recorded(end, self.wall)
            if scheduler.is_behind:
                scheduler.tick(self.wall)
            elif not scheduler.has_effects:
                return

    def found(self, hop: Hop) -> None:
        """A route is found."""
        site = self.site_of(hop.name)
        route = Route(site, (Exchange(10, site),), MonotonicTime(0.0))
        self.scheduler.route_found(hop, route, NEVER, self.wall)

    def _connect(self, path: Path) -> None:
        if path.site in self.dead:
            self.scheduler.connect_failed(path, "refused", self.wall, 0.0)
            return
        self.scheduler.connected(path, self.wall)
        self.pull(path)

    def pull(self, path: Path) -> None:
        """A connection delivers what it gets, and is idle."""
        scheduler = self.scheduler
        while (row := scheduler.pull(path, self.wall)) >= 0:
            self.delivered.append((self.now, str(scheduler.queue_of(row).name)))
            scheduler.settled(path, row, self.wall)
        scheduler.idle_began(path)

    def pass_time(self, seconds: float) -> None:
        """Time goes on; everybody is woken at the instants that they named."""
        end = self.now + seconds
        self.settle()
        for _ in range(1_000_000):
            wake = self.scheduler.next_wake()
            first = min(wake if wake is not None else math.inf, self.rates.next_wake())
            if first > end:
                break
            self.wakes += 1
            self.now = max(self.now, math.ceil(first * 1e6) / 1e6)
            self.wake()
            self.scheduler.tick(self.wall)
            self.settle()
        else:
            raise AssertionError("time does not pass")
        self.now = end

    def wake(self) -> None:
        """Those are told who wait for what has opened."""
        self.rates.wake(self.now)
        opened, self.rates.opened = self.rates.opened, []
        for key in opened:
            self.scheduler.opened(key, self.wall)

    def suspend(
        self, *, seconds: float = 3600.0, action: Action = Action.SUSPEND, subject: str = "", **criteria: str
    ) -> str:
        """A directive is given; its id."""
        self._given += 1
        identity = f"d{self._given}"
        expires = WallTime(self.now + seconds)
        self.scheduler.direct(
            Directive(identity, action, "maintenance", self.wall, expires, Criteria(**criteria), subject),
            self.wall,
        )
        return identity

    def hold_of(self, name: str) -> str:
        """The gate that holds a queue, "" for none."""
        tenant, _, domain = name.rpartition("@")
        hold = self.scheduler.queues[QueueName(domain, tenant or None)].hold
        return hold.gate if hold is not None else ""


def own(rate: str) -> QueueConfig:
    """A queue with a rate of its own."""
    return QueueConfig(max_message_rate=parse_rate(rate))


def of_tenant(tenant: str, rate: str, queue_rate: str | None = None) -> QueueConfig:
    """A queue of a tenant with a rate."""
    limit = Limit("tenant-rate", f"tenant:{tenant}", parse_rate(rate))
    return QueueConfig(max_message_rate=parse_rate(queue_rate) if queue_rate else None, overall=(limit,))
