"""What one client address may take of a server besides room: refusals, and attempts at passwords.

An IPv6 client is counted by its /64, which one host may have whole. The table of rates is bounded: when it is full, those that hold nobody
back are forgotten, then the oldest.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address
from typing import Final

from penstock.mail.network import parse_ip
from penstock.mail.ports import Clock
from penstock.mail.rate import Rate
from penstock.mail.reply import reply
from penstock.shaping import gcra

TOO_MANY_FAILURES: Final = reply(421, "4.7.0", "too many refused commands from your address; try again later")
AUTH_CLOSED: Final = reply(454, "4.7.0", "too many failed authentications; try again later")
#: Addresses and names whose rate is remembered.
_TABLE_LIMIT: Final = 65_536
_PREFIX: Final = 64


@lru_cache(maxsize=4096)
def client_key(address: str) -> str:
    """Who is counted as one: an IPv4 address, or an IPv6 /64."""
    try:
        parsed = parse_ip(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    return str(IPv6Address(int(parsed) >> _PREFIX << _PREFIX)) + "/64"


class _Rates:
    """Theoretical arrival times by name."""

    __slots__ = ("_arrivals", "_clock")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._arrivals: dict[str, float] = {}

    def is_open(self, name: str, rate: Rate) -> bool:
        return gcra.is_open(self._arrivals.get(name, 0.0), self._clock.monotonic(), rate)

    def charge(self, name: str, rate: Rate) -> None:
        now = self._clock.monotonic()
        arrivals = self._arrivals
        if name not in arrivals and len(arrivals) >= _TABLE_LIMIT:
            self._forget(now)
        # no further ahead than a whole period: what is refused anyway does not add up to a ban without end
        latest = now + rate.period * max(1.0, rate.burst / rate.count)
        arrivals[name] = min(gcra.charged(arrivals.pop(name, 0.0), now, rate), latest)

    def _forget(self, now: float) -> None:
        arrivals = self._arrivals
        for name in [name for name, arrival in arrivals.items() if arrival <= now]:
            del arrivals[name]
        for name in list(arrivals)[: len(arrivals) - _TABLE_LIMIT * 3 // 4]:
            del arrivals[name]


class Clients:
    """The clients of a process, over all its listeners."""

    __slots__ = ("_auth", "_failures")

    def __init__(self, clock: Clock) -> None:
        self._failures = _Rates(clock)
        self._auth = _Rates(clock)

    def may_fail(self, address: str, rate: Rate) -> bool:
        """Whether this client has not been refused too often."""
        return self._failures.is_open(client_key(address), rate)

    def failed(self, address: str, rate: Rate) -> None:
        """It was refused something."""
        self._failures.charge(client_key(address), rate)

    def may_authenticate(self, address: str, user: str, rate: Rate) -> bool:
        """Whether neither this client nor this user, from wherever, has failed too often."""
        return self._auth.is_open(client_key(address), rate) and self._auth.is_open(f"user {user}", rate)

    def auth_failed(self, address: str, user: str, rate: Rate) -> None:
        """An authentication has failed; ``user`` "" is nobody's name."""
        self._auth.charge(client_key(address), rate)
        if user:
            self._auth.charge(f"user {user}", rate)
