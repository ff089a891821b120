"""The sums of events, by tenant, and the line that a file opens with."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from penstock.events.event import Counts, TenantCounts
from penstock.events.files import file_name
from penstock.events.record import derive, encode
from penstock.events.tail import LINE_LIMIT
from penstock.events.totals import TENANT_LIMIT, Totals, opening_line
from penstock.mail.records import SpoolRecord, Verdict
from penstock.mail.status import OTHER

from .samples import (
    CREATED,
    attempt,
    expiration,
    message,
    outcome,
    policy_error,
    quarantine,
    rejection,
    spool_health,
)

RECORDS: list[SpoolRecord] = [
    message("a", "b", "c", "d", "e"),
    message("a", tenant=None, campaign=None),
    attempt(outcome(Verdict.ACCEPTED), outcome(Verdict.DEFERRED, 1), outcome(Verdict.FAILED, 2), of=message("a", "b", "c", "d", "e")),
    expiration(1, of=message("a", "b", "c", "d", "e")),
    quarantine(1),
    rejection(),
    policy_error(),
    spool_health(),
]  # fmt: skip


def counted(*records: SpoolRecord, limit: int = TENANT_LIMIT) -> Totals:
    """The sums of the events of records."""
    totals = Totals(limit=limit)
    for record in records:
        totals.add(derive(record, node="mta.example", epoch=1))
    return totals


def test_recipients_are_counted_by_what_became_of_them() -> None:
    """Over all and by tenant; what settles nobody counts as nothing, and the rest is queued."""
    totals = counted(*RECORDS)
    assert totals.total == Counts(accepted=6, delivered=1, bounced=1, expired=1, quarantined=1, queued=2)
    assert totals.tenants == (
        TenantCounts(tenant="acme", accepted=5, delivered=1, bounced=1, expired=1, quarantined=1, queued=1),
        TenantCounts(tenant=None, accepted=1, queued=1),
    )


def test_tenants_past_the_limit_share_their_sums() -> None:
    """Nothing is left out of what all add up to."""
    totals = counted(*(message(tenant=f"tenant-{number % 5}") for number in range(10)), limit=3)
    assert [(counts.tenant, counts.accepted) for counts in totals.tenants] == [
        ("tenant-0", 2),
        ("tenant-1", 2),
        ("tenant-2", 2),
        (OTHER, 4),
    ]
    assert totals.total.accepted == 10


@given(st.lists(st.sampled_from(RECORDS), max_size=12), st.integers(0, 12))
def test_sums_before_lines_are_those_without_them(records: list[SpoolRecord], first: int) -> None:
    """So a file can open with what was written before it, although what it will hold is counted already."""
    waiting = b"".join(encode(derive(record, node="mta.example", epoch=1)) for record in records[first:])
    before = counted(*records).without(waiting.split(b"\n"))
    expected = counted(*records[:first])
    assert before.total == expected.total
    names = {counts.tenant for counts in expected.tenants}
    assert [counts for counts in before.tenants if counts.tenant in names] == list(expected.tenants)


def test_opening_has_all_fields_of_an_event_and_the_sums() -> None:
    """Readers that look for an event's fields find them; sums of a tenant leave out what is 0."""
    name = file_name(int(CREATED * 1_000_000))
    line = json.loads(opening_line(counted(*RECORDS), name, CREATED, "mta.example", 7))
    event = json.loads(encode(derive(rejection(), node="mta.example", epoch=7)))
    assert set(event) - {"session_id"} <= set(line)
    assert (line["type"], line["id"], line["recipient"], line["config_epoch"]) == ("Totals", "", "", 7)
    assert line["event_id"] == "20251120-200000.250000-Totals"
    assert line["event_time"] == "2025-11-20T20:00:00.250000Z"
    assert line["totals"] == {
        "accepted": 6, "generated": 0, "moved_in": 0, "delivered": 1, "bounced": 1, "expired": 1, "suppressed": 0,
        "dropped": 0, "moved_out": 0, "quarantined": 1, "queued": 2, "unlogged": 0,
    }  # fmt: skip
    assert line["tenant_totals"][1] == {"accepted": 1, "queued": 1, "tenant": None}


def test_opening_of_very_many_tenants_is_a_line_that_readers_take() -> None:
    """With the longest names, and numbers that a decade of full speed does not reach."""
    number = 10**12 - 1
    names = list(Counts.__struct_fields__)
    full = [
        TenantCounts(tenant=f"{index:0128d}", **dict.fromkeys(names, number)) for index in range(TENANT_LIMIT)
    ]
    line = opening_line(Totals(Counts(), full), "x", CREATED, "mta.example", 1)
    assert len(line) < LINE_LIMIT
