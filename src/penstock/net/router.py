"""Asks the resolver what ``penstock.routing`` needs to decide, and keeps what it decided.

The decisions are plain functions there; here are tasks, deadlines and caches. A domain's MX hosts are looked up a few at a time, the preferred
first. A route is decided as soon as one host has an address: the questions about the others go on, and their answers are kept. Targets wait a
little longer, so that a slow nameserver of a backup host does not hold up mail for the best one, nor the reverse.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from penstock.mail.configuration import Endpoint, PathConfig
from penstock.mail.duration import MonotonicTime, Seconds
from penstock.mail.ports import Clock, Draw
from penstock.net.lookups import Lookups
from penstock.net.ourselves import OwnEndpoints
from penstock.routing import lifetime
from penstock.routing.answer import AddressAnswer, AddressResult, LookupFailed
from penstock.routing.plan import (
    Route,
    Unroutable,
    confirm_route,
    literal_address,
    literal_route,
    lookup_failed,
    plan_route,
)
from penstock.routing.ports import Resolver
from penstock.routing.targets import Target, connection_plan

LOG = logging.getLogger(__name__)

#: Domains looked up at once, and the seconds that one of them may take: KumoMTA's numbers.
DOMAINS_AT_ONCE: Final = 128
LOOKUP_TIMEOUT: Final = Seconds(5.0)
#: Hosts of one domain looked up at once: with the above, at most 2,048 questions (each two sockets) however hostile the domains.
HOSTS_AT_ONCE: Final = 8
#: How much longer targets wait for other hosts once one of the most preferred is known.
GRACE: Final = Seconds(1.0)

_Decision = Route | Unroutable
_Answers = dict[str, AddressResult]


class Router:
    """Routes of domains and targets of routes, both cached. Made on a running loop, and closed on it.

    ``own`` is where we listen, as bound. ``draw`` decides the order of equals. Nothing here raises for what DNS does: a lookup that fails
    is a temporary ``Unroutable``.
    """

    def __init__(
        self,
        resolver: Resolver,
        clock: Clock,
        draw: Draw,
        own: Iterable[Endpoint] = (),
        *,
        lookup_timeout: Seconds = LOOKUP_TIMEOUT,
        grace: Seconds = GRACE,
    ) -> None:
        self._resolver = resolver
        self._clock = clock
        self._draw = draw
        self._is_ourselves = OwnEndpoints(own)
        self._lookup_timeout = lookup_timeout
        self._grace = grace
        self._routes: Lookups[_Decision] = Lookups("route", self._decide, DOMAINS_AT_ONCE)
        self._hosts: Lookups[AddressResult] = Lookups(
            "addresses", self._ask_addresses, DOMAINS_AT_ONCE * HOSTS_AT_ONCE
        )
        self._cached = self._routes.cache.get

    def route_cached(self, domain: str, now: MonotonicTime) -> Route | Unroutable | None:  # hot: throughput
        """What is known of ``domain`` at ``now``; None if it has to be asked (``route``)."""
        return self._cached(domain, now)

    async def route(self, domain: str) -> Route | Unroutable:
        """Where mail for ``domain`` goes. It is a lower-case A-label name or an address literal, as ``parse_domain`` returns them.

        Callers for one domain share one lookup. Cancelling a caller leaves the lookup alone, and its answer is there for the next.
        """
        known = self._cached(domain, self._clock.monotonic())
        if known is not None:
            return known
        task = self._routes.start(domain)
        if task is None:
            return self._failed(domain, "too many lookups are waiting")
        await asyncio.wait((task,))
        return self._failed(domain, "the server is shutting down") if task.cancelled() else task.result()

    def expect(self, domain: str) -> asyncio.Task[Route | Unroutable] | None:
        """Begin to ask about ``domain``, for ``route_cached`` to know it soon; None if too many are waiting.

        Who waits for the task does so with ``asyncio.wait``; at the end of the router it is cancelled.
        """
        return self._routes.start(domain)

    async def targets(self, route: Route, path: PathConfig) -> tuple[Target, ...] | Unroutable:
        """The addresses to connect to for ``route``, at least one, in the order to try them, under the rules of ``path``."""
        known = await self._addresses(route, self._grace)
        return connection_plan(
            route,
            known,
            prohibited=path.prohibited_hosts,
            is_ourselves=self._is_ourselves,
            port=path.smtp_port,
            draw=self._draw,
            now=self._clock.monotonic(),
        )

    @property
    def lookups(self) -> int:
        """How many domains are being looked up or wait for it."""
        return len(self._routes)

    async def close(self) -> None:
        """End every lookup. Those who wait get a temporary ``Unroutable``."""
        await self._routes.close()
        await self._hosts.close()

    async def _decide(self, domain: str) -> tuple[_Decision, MonotonicTime]:
        previous = self._routes.cache.last(domain)
        failures = previous.failures if isinstance(previous, Unroutable) else 0
        try:
            decision = await self._lookup(domain, failures)
        except Exception:
            # A fault of ours about one domain: its mail waits, all other goes on.
            LOG.exception("cannot decide the route of %s", domain)
            decision = self._failed(domain, "internal error", failures)
        return decision, decision.expires if isinstance(decision, Route) else decision.until

    async def _lookup(self, domain: str, failures: int) -> _Decision:
        if literal_address(domain) is not None:
            return literal_route(domain, self._clock.monotonic())
        deadline = _loop_time() + self._lookup_timeout
        try:
            async with asyncio.timeout_at(deadline):
                mx = await self._resolver.mx(domain)
        except TimeoutError:
            mx = LookupFailed("timeout")
        planned = plan_route(domain, mx, self._clock.monotonic(), failures)
        if isinstance(planned, Unroutable):
            return planned
        known = await self._addresses(planned, None, deadline)
        return confirm_route(domain, planned, known, self._clock.monotonic(), failures)

    async def _ask_addresses(self, host: str) -> tuple[AddressResult, MonotonicTime]:
        result: AddressResult
        try:
            async with asyncio.timeout(self._lookup_timeout):
                result = await self._resolver.addresses(host)
        except TimeoutError:
            result = LookupFailed("timeout")
        except Exception:
            LOG.exception("cannot look up the addresses of %s", host)
            result = LookupFailed("internal error")
        match result:
            case AddressAnswer():
                keep = lifetime.positive(result.ttl)
            case LookupFailed():
                keep = lifetime.failure(1)
            case _:
                keep = lifetime.negative(result.ttl)
        return result, MonotonicTime(self._clock.monotonic() + keep)

    async def _addresses(
        self, route: Route, grace: Seconds | None, deadline: float | None = None
    ) -> Mapping[str, AddressResult]:
        """Answers by host. ``grace`` None: until any host has an address; else that long after one of the most preferred has."""
        answers: _Answers = {}
        unknown: deque[str] = deque()
        now = self._clock.monotonic()
        for exchange in route.exchanges:
            cached = self._hosts.cache.get(exchange.host, now)
            if cached is not None:
                answers[exchange.host] = cached
            elif literal_address(exchange.host) is None:
                unknown.append(exchange.host)
        if deadline is None:
            deadline = _loop_time() + self._lookup_timeout
        first = route.exchanges[0].preference
        decisive = [item.host for item in route.exchanges if grace is None or item.preference == first]
        await self._gather(unknown, answers, decisive, deadline, grace or Seconds(0.0))
        return answers

    async def _gather(
        self,
        unknown: deque[str],
        answers: _Answers,
        decisive: Sequence[str],
        deadline: float,
        grace: Seconds,
    ) -> None:
        """Ask about ``unknown`` in turn and put what comes into ``answers``: all of it, or what came until ``grace`` after a decisive one."""
        asked: dict[asyncio.Task[AddressResult], str] = {}
        is_decided = False
        while unknown or asked:
            if not is_decided and any(isinstance(answers.get(host), AddressAnswer) for host in decisive):
                is_decided, deadline = True, min(deadline, _loop_time() + grace)
            while unknown and len(asked) < HOSTS_AT_ONCE:
                host = unknown.popleft()
                task = self._hosts.start(host)
                if task is None:
                    answers[host] = LookupFailed("too many lookups are waiting")
                else:
                    asked[task] = host
            if not asked:
                continue
            done, _ = await asyncio.wait(
                asked, timeout=max(deadline - _loop_time(), 0.0), return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                return
            for task in done:
                host = asked.pop(task)
                answers[host] = LookupFailed("shutting down") if task.cancelled() else task.result()

    def _failed(self, domain: str, reason: str, failures: int = 0) -> Unroutable:
        failed = LookupFailed(reason)
        return lookup_failed(f"MX records of {domain}", failed, self._clock.monotonic(), failures)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
