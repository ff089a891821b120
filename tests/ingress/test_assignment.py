"""Who may send for whom, when mail may go, and which queue it comes into."""

from __future__ import annotations

import msgspec
import pytest

from penstock.ingress.acceptance import Envelope, messages
from penstock.ingress.assignment import Assignment, Authority, assign
from penstock.mail.address import Address
from penstock.mail.configuration import QueuesConfig, TenantConfig
from penstock.mail.duration import WallTime
from penstock.mail.ids import IdSource, SessionId
from penstock.mail.queue_layers import QueueLayer, QueueLayers
from penstock.mail.records import Reception
from penstock.mail.reply import Reply
from penstock.mail.schedule import Schedule

RECEPTION = Reception("ESMTP", "192.0.2.7", 4711, "client.test", "127.0.0.1:25", "mta.test", SessionId("s"))
QUEUES = QueuesConfig(
    scheduling_header="x-schedule",
    tenant_header="x-tenant",
    tenants=frozenset({"acme", "open"}),
    tenant_options={"acme": TenantConfig(require_authz=frozenset({"daniel", "dora"}))},
)
BODY = b"\r\nX-Schedule: in the body\r\n"


def outcome(header: str, authority: Authority, queues: QueuesConfig = QUEUES) -> str | None:
    """The tenant, or the reply."""
    found = assign(header.encode() + BODY, queues, authority, 100)
    return str(found) if isinstance(found, Reply) else found.tenant


@pytest.mark.parametrize(
    ("named", "authority", "expected"),
    [
        ("acme", Authority(is_trusted=True), "550 5.7.1 this client may not send for acme"),
        ("acme", Authority(True, None, "eve"), "550 5.7.1 this client may not send for acme"),
        ("acme", Authority(True, None, "Daniel"), "550 5.7.1 this client may not send for acme"),
        ("acme", Authority(False, None, "daniel"), "acme"),
        ("acme", Authority(True, None, "dora"), "acme"),
        ("open", Authority(is_trusted=True), "open"),
        ("open", Authority(False, None, "daniel"), "550 5.7.1 this client may not name a tenant"),
        ("acme", Authority(False, "acme", "eve"), "acme"),
        ("", Authority(False, "acme", "eve"), "acme"),
        ("acme", Authority(True, "open", "daniel"), "550 5.7.1 this session sends for open only"),
    ],
)
def test_a_tenant_may_say_who_sends_for_it(named: str, authority: Authority, expected: str) -> None:
    """Then nobody is believed by address, and who is on the list by name alone; what the policy has settled stays."""
    assert outcome(f"X-Tenant: {named}\r\n" if named else "", authority) == expected


@pytest.mark.parametrize(
    ("user", "expected"), [("", "550 5.7.1 this client may not send for acme"), ("dora", "acme")]
)
def test_a_default_tenant_that_is_not_for_everybody_is_not_the_default_of_others(
    user: str, expected: str
) -> None:
    """To name no tenant is no way around the list."""
    queues = msgspec.structs.replace(QUEUES, default_tenant="acme")
    assert outcome("", Authority(True, None, user), queues) == expected
    assert outcome("Subject: x\r\n", Authority(True, None, user), queues) == expected


def test_nobody_may_send_for_a_tenant_with_an_empty_list() -> None:
    """But the policy's word."""
    closed = {"acme": TenantConfig(require_authz=frozenset())}
    queues = msgspec.structs.replace(QUEUES, tenant_options=closed)
    assert str(outcome("X-Tenant: acme\r\n", Authority(True), queues)).startswith("550 5.7.1")
    assert outcome("X-Tenant: acme\r\n", Authority(False, "acme"), queues) == "acme"


@pytest.mark.parametrize(
    "header",
    [
        'X-Schedule: {"first_attempt": "2026-12-01T08:00:00Z"}\r\n',
        'x-schedule:\r\n {"first_attempt":\r\n\t"2026-12-01T00:00:00-08:00"}\r\n',
        'X-Schedule: {"first_attempt": "2026-12-01T08:00:00Z"}\r\nX-Schedule:\r\n',
    ],
)
def test_a_schedule_is_read_and_its_field_goes(header: str) -> None:
    """Folded, in any case, with an empty one beside it; always taken out."""
    found = assign(b"A: b\r\n" + header.encode() + BODY, QUEUES, Authority(), 100)
    assert found == Assignment(None, None, b"A: b\r\n" + BODY, Schedule(WallTime(1_796_112_000.0)))


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("X-Schedule: tomorrow\r\n", "550 5.6.0 the message's schedule is wrong: a schedule is JSON such as"),
        ('X-Schedule: {"first_atempt": "2026-12-01T08:00:00Z"}\r\n', "550 5.6.0 the message's schedule is wrong: "),
        ('X-Schedule: {"first_attempt": "2026-12-01T08:00:00"}\r\n', "has no offset from UTC; write 2026-12-01T08:00:00Z"),
        ('X-Schedule: {"dow": "Mon", "tz": "Mars/Olympus", "start": "09:00:00", "end": "17:00:00"}\r\n', "write one such as Europe/Vienna"),
        ('X-Schedule: {}\r\nX-Schedule: {"expires": "2026-12-01T08:00:00Z"}\r\n', "550 5.6.0 the message has more than one schedule"),
        ('X-Schedule: {"first_attempt": "2026-12-01T08:00:00Z", "expires": "2026-12-01T08:00:00Z"}\r\n', "expires comes before first_attempt"),
    ],
)  # fmt: skip
def test_a_schedule_that_is_none_is_refused_with_what_would_be_right(header: str, said: str) -> None:
    """The sender hears it at once, and not when the mail has gone at the wrong time."""
    found = assign(header.encode() + BODY, QUEUES, Authority(), 100)
    assert isinstance(found, Reply)
    assert str(found).startswith("550 5.6.0 ")
    assert said in str(found)


def test_without_the_option_a_schedule_is_a_field_like_any_other() -> None:
    """It is neither read nor removed."""
    content = b"X-Schedule: tomorrow\r\n" + BODY
    assert assign(content, QueuesConfig(), Authority(), 100) == Assignment(None, None, content)


LAYERS = QueueLayers(
    {
        (None, "acme", None): QueueLayer(routing_domain="hub.example"),
        ("a.test", "acme", None): QueueLayer(routing_domain="a.test"),
        ("b.test", "acme", "sale"): QueueLayer(routing_domain="sale.example"),
    },
    frozenset({"a.test", "b.test"}),
    True,
)


@pytest.mark.parametrize(
    ("tenant", "campaign", "set_by_policy", "expected"),
    [
        (None, None, None, ["a.test", "b.test"]),
        ("acme", None, None, ["acme@a.test", "acme@b.test!hub.example"]),
        ("acme", "sale", None, ["sale:acme@a.test", "sale:acme@b.test!sale.example"]),
        ("acme", None, "b.test", ["acme@a.test!b.test", "acme@b.test"]),
    ],
)
def test_each_part_gets_the_queue_that_its_tables_say(
    tenant: str | None, campaign: str | None, set_by_policy: str | None, expected: list[str]
) -> None:
    """A routing domain by domain, tenant and campaign; the policy's for all parts; none where it is the domain itself."""
    schedule = Schedule(expires=WallTime(2e9))
    recipients = (Address("x", "a.test"), Address("y", "b.test"))
    whole = Envelope(
        None,
        recipients,
        b"\r\n",
        tenant,
        campaign,
        True,
        False,
        schedule=schedule,
        routing_domain=set_by_policy,
    )
    records = messages(whole, RECEPTION, IdSource(7), WallTime(1e9), LAYERS)
    assert [str(record.queue) for record in records] == expected
    assert all(record.schedule is schedule for record in records)
