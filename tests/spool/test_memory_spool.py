"""The spool in memory: what every spool must do, and the room it takes."""

from __future__ import annotations

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
    """Contents count from append to the last recipient."""
    spool = MemorySpool(lambda record: None)
    record = message(1)
    position = spool.append(record)
    assert spool.content_bytes == len(record.content)
    spool.record_attempt(position, attempt(record, 1, (0, Verdict.DEFERRED)))
    assert spool.content_bytes == len(record.content)
    spool.record_attempt(position, attempt(record, 2, (0, Verdict.FAILED)))
    assert spool.content_bytes == 0
