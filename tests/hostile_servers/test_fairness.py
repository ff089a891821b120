"""Hosts that keep us waiting are in nobody's way."""

from __future__ import annotations

from pathlib import Path

import pytest
import uvloop

from penstock.sim.hostile import Manners, Script
from tests.hostile_servers.cases import LOCK_STEP, Case
from tests.hostile_servers.on_sockets import Outcomes, battery
from tests.system.harness import until

pytestmark = pytest.mark.system

TARPITS = 100
MESSAGES = 40
#: Where a tarpit stops answering.
MOMENTS: list[Script] = [{"banner": ()}, {"EHLO": ()}, {"MAIL": ()}, {"RCPT 1": ()}, {"DATA": ()}, {".": ()}]


def test_tarpits_do_not_keep_mail_from_others(tmp_path: Path) -> None:
    """A hundred hosts that stop answering, each at some moment: all mail of a healthy one is delivered, and none of theirs is given up."""
    healthy = Case("F-healthy", {}, ("AAA",))
    tarpits = [
        Case(
            f"F-tarpit-{number}",
            MOMENTS[number % len(MOMENTS)],
            ("HHH",),
            manners=Manners(keywords=LOCK_STEP),
        )
        for number in range(TARPITS)
    ]

    async def scenario() -> None:
        async with battery(tmp_path, [*tarpits, healthy]) as (here, servers):
            outcomes = Outcomes(here)
            for tarpit in tarpits:
                await here.send([f"one@{tarpit.domain}"])
            await until(
                lambda: all(servers[tarpit.code].sessions for tarpit in tarpits), "all of them were tried"
            )
            for number in range(MESSAGES):
                await here.send([f"{number}@{healthy.domain}"])
            await until(
                lambda: all(outcomes.letter(f"{number}@{healthy.domain}") for number in range(MESSAGES)),
                "the healthy host has its mail",
            )
            assert {outcomes.letter(f"{number}@{healthy.domain}") for number in range(MESSAGES)} == {"A"}
            assert {outcomes.letter(f"one@{tarpit.domain}") for tarpit in tarpits} == {""}
            assert len(here.worker.spool) == TARPITS

    uvloop.run(scenario())
