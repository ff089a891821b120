"""The spool in memory: what every spool must do, and the room it takes."""

from __future__ import annotations

import msgspec
import pytest

from penstock.mail.records import SpoolRecord, Verdict
from penstock.spool.memory import MemorySpool
from tests.spool.conformance import CHECKS, Check, attempt, message


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_is_a_spool(check: Check) -> None:
    """Conformance to the port."""
    shown: list[SpoolRecord] = []
    check(MemorySpool(shown.append), shown)


def test_it_knows_how_much_it_holds() -> None:
    """A content counts from the first message that shares it to the last, each message for itself."""
    spool = MemorySpool(lambda record: None)
    content = b"x" * 1_000_000
    records = [msgspec.structs.replace(message(number), content=content) for number in range(3)]
    positions = [spool.append(record) for record in records]
    assert 1_000_000 < spool.held_bytes < 1_010_000
    for number, (position, record) in enumerate(zip(positions, records, strict=True)):
        spool.record_attempt(position, attempt(record, 1, (0, Verdict.DEFERRED)))
        before = spool.held_bytes
        spool.record_attempt(position, attempt(record, 2, (0, Verdict.FAILED)))
        assert before - spool.held_bytes > (1_000_000 if number == 2 else 0)
    assert spool.held_bytes == 0
