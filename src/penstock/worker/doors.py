"""Tells the supervisor who takes how much of this lane, and takes in what is taken of the others.

What matters elsewhere is told: of those who take an eighth of their part of a limit, or more. So sums miss at most an eighth of a limit.

While nothing changes it looks once a second only, so that a process at rest is left alone; a connection that comes has it look soon again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from penstock.ingress.doors import Doors
from penstock.ipc.door_words import LaneDoorsTell, SupervisorDoorsTell, Takings
from penstock.mail.configuration import Configuration, TenantConfig
from penstock.mail.duration import to_next_second
from penstock.mail.ports import Clock
from penstock.shaping.shares import worth_telling

#: Seconds between two looks.
INTERVAL: Final = 0.1
#: Looks that find nothing changed, after which the next one is when a connection comes, or in a second.
_QUIET: Final = 10
#: Of its part of a limit, what is worth telling.
_WORTH: Final = 8


def _ignore() -> None:
    """What the doors call when a connection comes, and nobody wants to know."""


class DoorTelling:
    """The doors of one of ``lanes`` lanes. Made on a running loop, or with ``call_later`` of something else; ``tell`` tells the supervisor."""

    def __init__(
        self,
        doors: Doors,
        lanes: int,
        configuration: Callable[[], Configuration],
        tell: Callable[[msgspec.Struct], None],
        clock: Clock,
        call_later: Callable[[float, Callable[[], None]], asyncio.TimerHandle] | None = None,
    ) -> None:
        self._doors = doors
        self._lanes = lanes
        self._configuration = configuration
        self._tell = tell
        self._clock = clock
        self._call_later = call_later or asyncio.get_running_loop().call_later
        self._timer: asyncio.TimerHandle | None = None
        self._told = Takings()
        self._quiet = 0

    def start(self) -> None:
        """Tell from now on; a lane alone has nobody to tell."""
        if self._lanes > 1:
            self._doors.stirred = self._stirred
            self._look()

    def stop(self) -> None:
        """Tell nothing more."""
        self._doors.stirred = _ignore
        if self._timer is not None:
            self._timer.cancel()

    def hear(self, word: LaneDoorsTell) -> None:
        """Go by what is taken elsewhere."""
        doors, elsewhere = self._doors, word.elsewhere
        doors.client_connections.elsewhere = elsewhere.client_connections
        doors.client_octets.elsewhere = elsewhere.client_octets
        doors.tenant_connections.elsewhere = elsewhere.tenant_connections
        doors.tenant_octets.elsewhere = elsewhere.tenant_octets
        doors.queued_elsewhere = elsewhere.queued

    def _look(self) -> None:
        here = self._takings()
        self._quiet += 1
        if here != self._told:
            self._told = here
            self._quiet = 0
            self._tell(SupervisorDoorsTell(here))
        is_quiet = self._quiet >= _QUIET
        delay = to_next_second(self._clock.monotonic()) if is_quiet else INTERVAL
        self._timer = self._call_later(delay, self._look)

    def _stirred(self) -> None:
        """A connection has come: look soon, if that is not so already."""
        if self._quiet >= _QUIET and self._timer is not None:
            self._quiet = 0
            self._timer.cancel()
            self._timer = self._call_later(INTERVAL, self._look)
        self._quiet = 0

    def _takings(self) -> Takings:
        doors, configuration = self._doors, self._configuration()
        listeners, options = configuration.smtp_listeners, configuration.queues.tenant_options
        any_tenant = TenantConfig()

        def of_clients(here: Mapping[str, int], limits: list[int]) -> dict[str, int]:
            return worth_telling(here, {}, self._least(min(limits, default=1)))

        def of_tenants(here: Mapping[str, int], limit: Callable[[TenantConfig], int]) -> dict[str, int]:
            least = {name: self._least(limit(options[name])) for name in here.keys() & options.keys()}
            return worth_telling(here, least, self._least(limit(any_tenant)))

        queued = {tenant: octets for tenant, octets in doors.queued_here().items() if tenant is not None}
        return Takings(
            of_clients(
                doors.client_connections.here(), [each.max_connections_per_client for each in listeners]
            ),
            of_clients(
                doors.client_octets.here(), [each.max_bytes_in_flight_per_client for each in listeners]
            ),
            of_tenants(doors.tenant_connections.here(), lambda limits: limits.max_connections),
            of_tenants(doors.tenant_octets.here(), lambda limits: limits.max_bytes_in_flight),
            of_tenants(queued, lambda limits: limits.max_queued_bytes),
        )

    def _least(self, limit: int) -> int:
        return max(1, limit // (_WORTH * self._lanes))
