"""A policy in a running server: replaced without a restart, its counts going on."""

from __future__ import annotations

from pathlib import Path

import pytest
import uvloop

from penstock.cli.checking import prepared
from tests.system.harness import world

pytestmark = pytest.mark.system


def _policy(place: Path, header: str) -> None:
    (place / "policy.py").write_text(
        f"async def on_message(message):\n    message.headers.add('X-Policy', '{header}')\n"
    )


async def _through(place: Path) -> None:
    _policy(place, "first")
    async with world(place, node='policy = "policy.py"') as here:
        assert (await here.send(["one@a.test"])).startswith("250 ")
        _policy(place, "second")
        ready = prepared(place / "penstock.toml", 2)
        await here.worker.reconfigure(ready.configuration, ready.policy)
        assert (await here.send(["two@a.test"])).startswith("250 ")
        await here.settled(2)
        got = {message.envelope.recipients[0]: message.wire for message in here.accepted()}
        assert b"X-Policy: first\r\n" in got["one@a.test"]
        assert b"X-Policy: second\r\n" in got["two@a.test"]
        numbers = await here.worker.snapshot()
        assert numbers.policy["on_message"].calls == 2
        assert numbers.epoch == 2


def test_a_reload_brings_another_policy_and_goes_on_counting(tmp_path: Path) -> None:
    """For the very next message; counters never go back."""
    uvloop.run(_through(tmp_path))


async def _asked_about_queues(place: Path) -> None:
    (place / "policy.py").write_text(
        "calls = []\n"
        "async def queue_config(name):\n"
        "    calls.append(str(name))\n"
        "    if len(calls) == 1:\n"
        "        raise ConnectionError('away')\n"
        "    return {'max_age': '2 hours', 'max_message_rate': '100/s'}\n"
    )
    async with world(place, node='policy = "policy.py"') as here:
        assert (await here.send(["one@a.test"])).startswith("250 ")
        await here.settled(1)
        (queue,) = here.worker.lane.scheduler.queues.values()
        assert (queue.config.max_age, str(queue.config.max_message_rate)) == (7200.0, "100/s")
        counts = (await here.worker.snapshot()).policy["queue_config"]
        assert (counts.calls, counts.faults) == (2, 1)


def test_mail_is_taken_and_held_until_the_hook_has_said_how_it_goes(tmp_path: Path) -> None:
    """The hook that fails is asked again, and the mail goes by its answer."""
    uvloop.run(_asked_about_queues(tmp_path))
