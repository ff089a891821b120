"""Lanes tell what is taken of them, and are told what is taken of the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from penstock.ingress.doors import Doors, Visit
from penstock.ipc.door_words import LaneDoorsTell, SupervisorDoorsTell, Takings
from penstock.ipc.words import BUS
from penstock.mail.configuration import (
    Configuration,
    Endpoint,
    NodeConfig,
    QueuesConfig,
    SmtpListenerConfig,
    TenantConfig,
)
from penstock.mail.duration import ByteCount, Seconds
from penstock.shaping.shares import TOLD_LIMIT, worth_telling
from penstock.sim.clock import FakeClock
from penstock.supervisor.doors import DoorSums, total
from penstock.worker.doors import INTERVAL, DoorTelling

LISTENER = SmtpListenerConfig((Endpoint("127.0.0.1", 25),), "mta.test", max_connections_per_client=40)


class Server:
    """Lanes and the supervisor's sums, on a clock that a test moves."""

    def __init__(self, lanes: int, **limits: int) -> None:
        self.clock = FakeClock()
        later: Callable[..., Any] = self.clock.call_later
        self.sums = DoorSums(later)
        options = {"t": TenantConfig(**{name: ByteCount(value) for name, value in limits.items()})}
        configuration = Configuration(
            node=NodeConfig(hostname="mta.test", data_dir="/nowhere"),
            smtp_listeners=(LISTENER,),
            queues=QueuesConfig(tenants=frozenset({"t", "u"}), tenant_options=options),
        )
        self.queued: list[dict[str | None, int]] = [{} for _ in range(lanes)]
        self.doors = [Doors(lambda place=place: self.queued[place]) for place in range(lanes)]  # type: ignore[misc]
        self.words = 0
        self.tellings = []
        for place, doors in enumerate(self.doors):

            def tell(word: msgspec.Struct, place: int = place) -> None:
                self.words += 1
                word = BUS.decode(*BUS.encode(word))
                assert isinstance(word, SupervisorDoorsTell)
                self.sums.hear(str(place), word.here)

            self.tellings.append(DoorTelling(doors, lanes, lambda: configuration, tell, self.clock, later))
            self.sums.join(str(place), self._tell_lane(place))
            self.tellings[-1].start()

    def _tell_lane(self, place: int) -> Callable[[msgspec.Struct], None]:
        def tell(word: msgspec.Struct) -> None:
            word = BUS.decode(*BUS.encode(word))
            assert isinstance(word, LaneDoorsTell)
            self.tellings[place].hear(word)

        return tell


def test_a_lane_knows_of_the_others_within_a_fifth_of_a_second() -> None:
    """Sums of what they count, its own left out; what was taken and is not any more, too."""
    server = Server(3, max_queued_bytes=24_000)
    for place, doors in enumerate(server.doors):
        doors.client_connections.add("192.0.2.1", 10 + place)
        doors.client_octets.add("192.0.2.1", 50_000_000)
        doors.tenant_connections.add("t", 1000)
        doors.tenant_octets.add("u", 100_000_000 + place)
        server.queued[place] = {"t": 2_000 * place, None: 10**12}
    server.clock.advance(Seconds(0.2))
    first = server.doors[0]
    assert first.client_connections.of("192.0.2.1") == 33
    assert first.client_connections.elsewhere == {"192.0.2.1": 23}
    assert first.client_octets.of("192.0.2.1") == 150_000_000
    assert first.tenant_connections.of("t") == 3000
    assert first.tenant_octets.of("u") == 300_000_003
    assert [doors.queued("t") for doors in server.doors] == [6_000] * 3
    server.doors[2].client_connections.add("192.0.2.1", -12)
    server.sums.leave("1")
    server.clock.advance(Seconds(0.2))
    assert first.client_connections.of("192.0.2.1") == 10


def test_nothing_is_said_while_nothing_changes() -> None:
    """Nor of those who take little; and a lane alone says nothing."""
    server = Server(2)
    server.doors[0].client_connections.add("192.0.2.1", 1)
    server.doors[0].client_connections.add("192.0.2.2", 20)
    server.clock.advance(Seconds(10 * INTERVAL))
    assert server.words == 1
    assert server.doors[1].client_connections.elsewhere == {"192.0.2.2": 20}
    alone = Server(1)
    alone.doors[0].client_connections.add("192.0.2.1", 39)
    alone.clock.advance(Seconds(10 * INTERVAL))
    assert alone.words == 0


def test_a_lane_at_rest_looks_once_a_second_until_a_connection_comes() -> None:
    """What a connection takes is known elsewhere as soon as ever."""
    server = Server(2)
    server.clock.advance(Seconds(5.0))
    server.doors[0].client_connections.add("192.0.2.1", 30)
    server.clock.advance(Seconds(INTERVAL))
    assert server.words == 0
    Visit(server.doors[0]).enter("192.0.2.7")
    server.clock.advance(Seconds(0.2))
    assert server.doors[1].client_connections.elsewhere == {"192.0.2.1": 30}
    server.clock.advance(Seconds(5.0))
    server.queued[0] = {"t": 20_000_000_000}
    server.clock.advance(Seconds(1.2))
    assert server.doors[1].queued("t") == 20_000_000_000


def test_a_lane_that_stops_says_nothing_more() -> None:
    """It may be counted on for a while by the supervisor, until its process has left."""
    server = Server(2)
    server.tellings[0].stop()
    server.doors[0].client_connections.add("192.0.2.1", 39)
    server.clock.advance(Seconds(10 * INTERVAL))
    assert server.words == 0


def test_who_is_not_there_is_not_heard() -> None:
    """A word that was under way when its lane left changes nothing."""
    server = Server(2)
    server.sums.leave("0")
    server.sums.hear("0", Takings({"192.0.2.1": 9}))
    server.clock.advance(Seconds(1.0))
    assert server.doors[1].client_connections.elsewhere == {}


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(1, 10)), max_size=4))
def test_sums(parts: list[dict[str, int]]) -> None:
    """By name, whatever is in which part."""
    found = total([Takings(queued=part) for part in parts]).queued
    assert found == {
        name: sum(part.get(name, 0) for part in parts)
        for name in "abc"
        if any(name in part for part in parts)
    }


def test_what_is_told_is_bounded() -> None:
    """Those that take the most."""
    found = worth_telling({str(number): number for number in range(TOLD_LIMIT + 50)}, {}, 1)
    assert len(found) == TOLD_LIMIT
    assert min(found.values()) == 50
