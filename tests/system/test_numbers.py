"""What a worker says of itself while it has a great many queues."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import uvloop

from penstock.mail.duration import WallTime
from penstock.mail.queue_name import QueueName
from tests.system.harness import world

pytestmark = pytest.mark.system

QUEUES = 3000


async def _turns_meanwhile(place: Path) -> tuple[int, int]:
    async with world(place) as here:
        scheduler, now = here.worker.lane.scheduler, here.worker.clock.wall()
        for number in range(QUEUES):
            name = QueueName(f"d{number % 7}.test", f"t{number}")
            scheduler.add(name, 10**9 + number, 1, created=now, now=now, due=WallTime(now + 3600))
        turns = 0
        loop = asyncio.get_running_loop()

        def turn() -> None:
            nonlocal turns
            turns += 1
            loop.call_soon(turn)

        loop.call_soon(turn)
        numbers = await here.worker.snapshot()
        assert (numbers.scheduled, numbers.scheduled_queues) == (QUEUES, QUEUES)
        assert numbers.scheduled_by_domain["d0.test"] == QUEUES // 7 + 1
        gathered, turns = turns, 0
        status = await here.worker.status()
        assert [queue.messages for queue in status.queues] == [1] * 20
        return gathered, turns


def test_the_loop_has_its_turns_while_many_queues_are_counted(tmp_path: Path) -> None:
    """For numbers and for a status alike: neither holds mail up."""
    assert min(uvloop.run(_turns_meanwhile(tmp_path))) >= 5
