"""The spool in memory: what every spool must do, and the room it takes."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from penstock.mail.records import Verdict
from penstock.spool.memory import MemorySpool
from tests.spool.conformance import CHECKS, Check, Trial, attempt, message


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_is_a_spool(check: Check) -> None:
    """Conformance to the port."""

    async def run() -> None:
        await check(Trial(MemorySpool))

    asyncio.run(run())


def test_it_knows_how_much_it_holds() -> None:
    """A content counts from the first message that shares it to the last, each message for itself."""
    spool = MemorySpool(lambda records, position: None)
    content = b"x" * 1_000_000
    records = [msgspec.structs.replace(message(number), content=content) for number in range(3)]
    positions: list[int] = []
    spool.store(records, lambda stored, fault: positions.extend(stored))
    assert 1_000_000 < spool.held_bytes < 1_010_000
    assert spool.counts.live_bytes == spool.held_bytes
    for number, (position, record) in enumerate(zip(positions, records, strict=True)):
        spool.record_attempt(position, attempt(record, 1, (0, Verdict.DEFERRED)))
        before = spool.held_bytes
        spool.record_attempt(position, attempt(record, 2, (0, Verdict.FAILED)))
        assert before - spool.held_bytes > (1_000_000 if number == 2 else 0)
    assert spool.held_bytes == spool.counts.live_bytes == 0


def test_it_says_that_it_is_no_durable_one() -> None:
    """A 250 means that the message is in memory; what was stored is counted."""
    spool = MemorySpool(lambda records, position: None)
    spool.store([message(1), message(2)], lambda stored, fault: None)
    assert spool.counts.durability == "memory"
    assert spool.counts.stored == 2
    assert spool.counts.segments == 0
