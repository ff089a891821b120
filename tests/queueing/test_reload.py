"""What a new configuration means for a path that is held: what it is held for may be mended."""

from __future__ import annotations

import msgspec
import pytest

from penstock.mail.configuration import EnableTls, PathConfig, QueueConfig
from penstock.mail.duration import MonotonicTime, WallTime
from penstock.mail.queue_name import QueueName
from penstock.queueing.effects import Connect, Resolve
from penstock.queueing.scheduler import Scheduler
from penstock.routing.answer import Exchange
from penstock.routing.plan import Route

BEFORE = PathConfig()
NOW = WallTime(1_800_000_000.0)


def held() -> Scheduler:
    """A scheduler with one message, whose path has failed to connect twice and is held."""
    scheduler = Scheduler(lambda name: QueueConfig(), lambda site: BEFORE)
    scheduler.add(QueueName("a.test"), 1, 100, created=NOW, now=NOW)
    (resolve,) = scheduler.take_effects()
    assert isinstance(resolve, Resolve)
    route = Route("mx.a.test", (Exchange(10, "mx.a.test"),), MonotonicTime(10.0**6))
    scheduler.route_found(resolve.hop, route, WallTime(NOW + 10.0**6), NOW)
    scheduler.tick(NOW)
    (path,) = scheduler.paths.values()
    for seconds in (0.0, 2.0):
        scheduler.tick(WallTime(NOW + seconds))
        assert [type(effect) for effect in scheduler.take_effects()] == [Connect]
        scheduler.connect_failed(path, "no TLS", WallTime(NOW + seconds), 0.0)
    assert scheduler.take_effects() == []
    return scheduler


@pytest.mark.parametrize(
    ("after", "is_tried"),
    [
        (msgspec.structs.replace(BEFORE, enable_tls=EnableTls.DISABLED), True),
        (msgspec.structs.replace(BEFORE, smtp_port=2525), True),
        (msgspec.structs.replace(BEFORE, connection_limit=1), False),
        (BEFORE, False),
    ],
)
def test_a_held_path_is_tried_again_if_connections_are_made_otherwise(
    after: PathConfig, is_tried: bool
) -> None:
    """One attempt, at once; a change that says nothing about how to connect leaves the hold as it is."""
    scheduler = held()
    now = WallTime(NOW + 2.1)
    scheduler.reconfigure(lambda name: QueueConfig(), lambda site: after, now)
    while scheduler.tick(now):
        pass
    assert [type(effect) for effect in scheduler.take_effects()] == [Connect] * is_tried
    (path,) = scheduler.paths.values()
    if is_tried:
        scheduler.connect_failed(path, "no TLS", now, 0.0)
        assert path.hold is not None
        assert path.hold.until > 1_000_000 * now, "the hold begins anew"
