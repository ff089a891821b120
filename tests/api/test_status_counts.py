"""Counting mail: sums that hold, bounds that lose nothing, rates over a minute."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.mail.address import Address
from penstock.mail.duration import MonotonicTime, WallTime
from penstock.mail.ids import MessageId, SessionId
from penstock.mail.queue_name import QueueName
from penstock.mail.records import (
    AttemptRecord,
    ExpirationRecord,
    MessageRecord,
    Outcome,
    Reception,
    RejectionRecord,
    Verdict,
)
from penstock.mail.reply import reply
from penstock.mail.status import OTHER, Histogram, MailCounts, Rates, RateWindow, Tally, TenantRates

CAME = Reception("ESMTP", "192.0.2.1", 1, "client.example", "192.0.2.2:25", "mta.example", SessionId("s"))
NOW = WallTime(1_700_000_000.0)
ANSWER = reply(450, None, "whatever")


def message(tenant: str | None, recipients: int) -> MessageRecord:
    """A message of a tenant."""
    addresses = tuple(Address(f"r{place}", "dest.example") for place in range(recipients))
    queue = QueueName("dest.example", tenant)
    return MessageRecord(MessageId("m"), queue, None, addresses, b"", b"", NOW, CAME)


def attempt(of: MessageRecord, *verdicts: Verdict) -> AttemptRecord:
    """An attempt with these outcomes for the first recipients."""
    outcomes = tuple(Outcome(place, verdict, ANSWER) for place, verdict in enumerate(verdicts))
    return AttemptRecord(of, NOW, 1, "site", "source", None, outcomes)


def test_each_record_is_counted_for_all_and_for_its_tenant() -> None:
    """Recipients, not messages; a rejection is nobody's."""
    tally = Tally()
    mail = message("acme", 4)
    tally.add(mail)
    tally.add(attempt(mail, Verdict.ACCEPTED, Verdict.DEFERRED, Verdict.FAILED, Verdict.DEFERRED))
    tally.add(ExpirationRecord(mail, NOW, 2, "site", (1,), ANSWER))
    tally.add(RejectionRecord(MessageId("r"), NOW, CAME, ANSWER, "RCPT", "", ""))
    of_acme = MailCounts(queued=1, received=4, delivered=1, deferred=2, failed=1, expired=1)
    assert tally.tenants["acme"] == of_acme
    assert tally.tenants[None] == MailCounts(rejected=1)
    of_acme.rejected = 1
    assert tally.total == of_acme


def test_restored_mail_is_queued_but_not_received() -> None:
    """What the spool had before the start was counted when it came."""
    tally = Tally()
    tally.restore("acme", 3)
    assert tally.total == tally.tenants["acme"] == MailCounts(queued=3)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([None, "a", "b", "c", "d", "e"]), st.integers(1, 3), st.sampled_from(Verdict)
        )
    )
)
def test_books_balance_overall_and_by_tenant(mail: list[tuple[str | None, int, Verdict]]) -> None:
    """Queued = received - delivered - failed - expired; tenants past the limit share one account, and the sum of all is the total."""
    tally = Tally(limit=3)
    for tenant, recipients, verdict in mail:
        came = message(tenant, recipients)
        tally.add(came)
        tally.add(attempt(came, verdict))
    assert len(tally.tenants) <= 4
    for counts in (tally.total, *tally.tenants.values()):
        assert counts.queued == counts.received - counts.delivered - counts.failed - counts.expired
    assert sum(counts.received for counts in tally.tenants.values()) == tally.total.received
    assert len({tenant for tenant, _, _ in mail}) <= 3 or OTHER in tally.tenants


def test_rates_are_over_the_last_minute() -> None:
    """What was before does not count, and a start is not diluted."""
    window, counts = RateWindow(), MailCounts()
    assert window.rates() == Rates()
    for second in range(200):
        counts.received += 100 if second < 100 else 5
        counts.delivered += 2
        window.sample(MonotonicTime(float(second)), counts)
        if second == 10:
            assert window.rates() == Rates(received=100.0, delivered=2.0)
    assert window.rates() == Rates(received=5.0, delivered=2.0)


def test_samples_in_quick_succession_are_one() -> None:
    """However often it is asked, the window holds about a sample a second."""
    window, counts = RateWindow(), MailCounts()
    for step in range(1000):
        window.sample(MonotonicTime(1.0 + step / 10_000), counts)
    assert window.rates() == Rates()


@pytest.mark.parametrize(("value", "place"), [(0.5, 0), (1.0, 0), (1.1, 1), (2.0, 1), (2.1, 2)])
def test_histogram_bounds_are_inclusive(value: float, place: int) -> None:
    """As Prometheus' ``le``."""
    histogram = Histogram.of(1.0, 2.0)
    histogram.observe(value)
    assert histogram.counts[place] == 1
    assert sum(histogram.counts) == 1
    assert histogram.sum == value


def test_rates_of_tenants_are_over_the_last_minute() -> None:
    """From samples every ten seconds; a tenant that is counted with others has none."""
    rates, tenants = TenantRates(), {"a": MailCounts(), None: MailCounts()}
    assert rates.rate("a", MonotonicTime(0.0), tenants) is None
    for second in range(201):
        now = MonotonicTime(float(second))
        tenants["a"].delivered = 2 * second
        tenants[None].delivered = second if second < 100 else 100
        rates.sample(now, tenants)
    assert rates.rate("a", now, tenants) == 2.0
    assert rates.rate(None, now, tenants) == 0.0
    assert rates.rate("b", now, tenants) is None
    assert len(rates._samples) <= 8
