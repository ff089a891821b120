"""What becomes of a transaction, decided without a socket."""

from __future__ import annotations

from ipaddress import ip_network

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.ingress.acceptance import Envelope, accepted, decided, envelope, messages, split
from penstock.ingress.assignment import Assignment, Authority, assign, unknown_tenant
from penstock.ingress.budget import Budget
from penstock.ingress.terms import is_within
from penstock.mail.address import Address
from penstock.mail.configuration import QueuesConfig
from penstock.mail.dsn import NOTHING_ASKED, EnvelopeDsn, RecipientDsn
from penstock.mail.duration import WallTime
from penstock.mail.ids import IdSource, SessionId
from penstock.mail.records import Reception
from penstock.mail.reply import Reply
from penstock.policy import Decision
from penstock.smtp.command import MailCommand
from penstock.smtp.server import MessageGiven

QUEUES = QueuesConfig(
    tenant_header="x-tenant", campaign_header="x-campaign", tenants=frozenset({"acme", "bluebird"})
)
#: A client that is trusted to name a tenant.
ANYBODY = Authority()
RECEPTION = Reception("ESMTP", "192.0.2.7", 4711, "client.test", "127.0.0.1:25", "mta.test", SessionId("s"))


@pytest.mark.parametrize(
    ("peer", "networks", "expected"),
    [
        ("127.0.0.1", ["127.0.0.1/32", "::1/128"], True),
        ("::ffff:127.0.0.1", ["127.0.0.1/32"], True),
        ("::1", ["127.0.0.1/32", "::1/128"], True),
        ("fe80::1%lo", ["fe80::/10"], True),
        ("10.0.1.1", ["10.0.0.0/24"], False),
        ("10.0.0.255", ["10.0.0.0/24"], True),
        ("192.0.2.1", [], False),
        ("::a00:1", ["10.0.0.0/8"], False),
    ],
)
def test_relaying_is_by_the_peer_address_alone(peer: str, networks: list[str], expected: bool) -> None:
    """Families do not mix, but for IPv4 written as IPv6."""
    assert is_within(peer, [ip_network(network) for network in networks]) is expected


@pytest.mark.parametrize(
    ("header", "tenant", "campaign", "kept"),
    [
        (b"Subject: x\r\n", None, None, b"Subject: x\r\n"),
        (b"X-Tenant: acme\r\nSubject: x\r\n", "acme", None, b"Subject: x\r\n"),
        (b"Subject: x\r\nx-TENANT:\r\n acme\r\n", "acme", None, b"Subject: x\r\n"),
        (b"X-Tenant : bluebird\r\nX-Campaign: spring-24\r\n", "bluebird", "spring-24", b""),
        (b"X-Tenant: acme\r\nA: b\r\nX-Tenant: acme\r\n", "acme", None, b"A: b\r\n"),
        (b"X-Tenant:\r\nA: b\r\n", None, None, b"A: b\r\n"),
        (b"X-Tenants: acme\r\n", None, None, b"X-Tenants: acme\r\n"),
    ],
)
def test_labels_come_from_their_fields_which_are_cut_out(
    header: bytes, tenant: str | None, campaign: str | None, kept: bytes
) -> None:
    """Folded, in any case, doubled, with space before the colon; what is not meant stays octet for octet."""
    body = b"\r\nX-Tenant: in the body\r\n"
    assert assign(header + body, QUEUES, ANYBODY, 100) == Assignment(tenant, campaign, kept + body)


def test_fields_stay_where_the_configuration_says_so() -> None:
    """remove_tenant_header = false leaves the field in the message."""
    content = b"X-Tenant: acme\r\n\r\nx\r\n"
    queues = QueuesConfig(tenant_header="x-tenant", tenants=frozenset({"acme"}), remove_tenant_header=False)
    assert assign(content, queues, ANYBODY, 100) == Assignment("acme", None, content)


def test_mail_that_names_no_tenant_is_the_default_ones() -> None:
    """Where there is a default tenant; else it has none."""
    queues = QueuesConfig(tenant_header="x-tenant", tenants=frozenset({"acme"}), default_tenant="acme")
    assert assign(b"\r\nx\r\n", queues, ANYBODY, 100) == Assignment("acme", None, b"\r\nx\r\n")
    assert assign(b"X-Tenant: \r\n\r\n", queues, ANYBODY, 100) == Assignment("acme", None, b"\r\n")


@pytest.mark.parametrize(
    ("named", "authority", "outcome"),
    [
        ("acme", Authority(is_trusted=True), "acme"),
        ("acme", Authority(is_trusted=False), "550 5.7.1 this client may not name a tenant"),
        ("", Authority(is_trusted=False), "default"),
        ("acme", Authority(is_trusted=False, tenant="acme"), "acme"),
        (
            "acme",
            Authority(is_trusted=True, tenant="bluebird"),
            "550 5.7.1 this session sends for bluebird only",
        ),
        ("", Authority(is_trusted=False, tenant="bluebird"), "bluebird"),
    ],
)
def test_a_tenant_that_is_settled_is_the_only_one(named: str, authority: Authority, outcome: str) -> None:
    """A field says whose mail it is only where its client is trusted, and never against the session."""
    queues = msgspec.structs.replace(QUEUES, default_tenant="default")
    content = (f"X-Tenant: {named}\r\n" if named else "").encode() + b"\r\nx\r\n"
    found = assign(content, queues, authority, 100)
    assert (found.tenant if isinstance(found, Assignment) else str(found)) == outcome


def test_an_unknown_tenant_is_refused() -> None:
    """Whoever named it."""
    assert unknown_tenant(None, QUEUES) is None
    assert unknown_tenant("acme", QUEUES) is None
    assert str(unknown_tenant("nobody", QUEUES)) == "550 5.7.1 unknown tenant nobody"


@pytest.mark.parametrize(("count", "is_refused"), [(0, False), (99, False), (100, False), (101, True)])
def test_a_message_that_has_been_everywhere_is_refused(count: int, is_refused: bool) -> None:
    """RFC 5321 6.3: at least a hundred Received fields before a loop is assumed."""
    content = b"received: from x by y\r\n" * count + b"Subject: x\r\n\r\nReceived: body\r\n"
    outcome = assign(content, QUEUES, ANYBODY, 100)
    assert isinstance(outcome, Reply) is is_refused
    if isinstance(outcome, Reply):
        assert str(outcome).startswith("554 5.4.6 ")


def test_what_was_asked_about_notifications_stays_with_its_recipient() -> None:
    """In each part, in its order; of a recipient named twice, what was asked first."""
    asked = {name: RecipientDsn(("FAILURE",), f"rfc822;{name}") for name in "abcd"}
    whole = Envelope(
        None,
        (
            Address("a", "one.test"),
            Address("b", "two.test"),
            Address("a", "one.test"),
            Address("c", "one.test"),
        ),
        b"\r\n",
        None,
        None,
        is_canonical=True,
        smtputf8=False,
        dsn=EnvelopeDsn("HDRS", "id", (asked["a"], NOTHING_ASKED, asked["d"], asked["c"])),
    )
    one, two = messages(whole, RECEPTION, IdSource(1), WallTime(0.0))
    assert one.dsn == EnvelopeDsn("HDRS", "id", (asked["a"], asked["c"]))
    assert two.dsn == EnvelopeDsn("HDRS", "id", (NOTHING_ASKED,))


def test_a_decision_takes_the_place_of_what_came() -> None:
    """All of it; content that was changed is canonical only if it still can go on a wire as it is."""
    before = Envelope(
        None, (Address("a", "one.test"),), b"\r\nx\r\n", None, None, is_canonical=True, smtputf8=False
    )
    recipients = ((Address("b", "two.test"), RecipientDsn(("NEVER",))),)
    decision = Decision(Address("s", "x.test"), recipients, "acme", "spring", {"k": 1}, before.content)
    after = decided(before, decision)
    assert after.recipients == (Address("b", "two.test"),)
    assert after.dsn == EnvelopeDsn("", "", (RecipientDsn(("NEVER",)),))
    assert (after.tenant, after.campaign, after.meta, after.is_canonical) == (
        "acme",
        "spring",
        {"k": 1},
        True,
    )
    dotted = decided(before, msgspec.structs.replace(decision, content=b".X: y\r\n\r\nx\r\n"))
    assert not dotted.is_canonical


@given(st.binary(max_size=200))
def test_no_content_breaks_the_assignment(content: bytes) -> None:
    """Any octets are assigned or refused, and what is kept is what came without whole fields."""
    outcome = assign(content, QUEUES, ANYBODY, 100)
    if isinstance(outcome, Assignment):
        assert len(outcome.content) <= len(content)
    else:
        assert isinstance(outcome, Reply)
        assert outcome.is_permanent


addresses = st.builds(Address, st.sampled_from("abcd"), st.sampled_from(["a.test", "b.test", "c.test"]))


@given(st.lists(addresses, min_size=1, max_size=20))
def test_splitting_keeps_everybody_once_and_in_order(recipients: list[Address]) -> None:
    """The parts are the recipients by domain, without repetitions."""
    parts = split(recipients)
    assert list(parts) == list(dict.fromkeys(address.domain for address in recipients))
    for domain, part in parts.items():
        assert list(part) == list(
            dict.fromkeys(address for address in recipients if address.domain == domain)
        )


def test_parts_share_their_content_and_nothing_else() -> None:
    """Ids, queues and Received fields are each part's own; octets of the content are there once."""
    content = b"Subject: x\r\n\r\n" + b"x" * 1000
    given_message = MessageGiven(
        MailCommand(None), (Address("1", "a.test"), Address("2", "b.test")), content, is_canonical=True
    )
    one, two = messages(
        envelope(given_message, Assignment("acme", "spring", content)),
        RECEPTION,
        IdSource(1),
        WallTime(1_800_000_000.0),
    )
    assert one.content is two.content is content
    assert one.id != two.id
    assert [str(part.queue) for part in (one, two)] == ["spring:acme@a.test", "spring:acme@b.test"]
    assert one.id.encode() in one.added_header
    assert two.id.encode() in two.added_header
    assert b"\r\n\tFri, 15 Jan 2027 08:00:00 +0000\r\n" in one.added_header


def test_a_name_beyond_ascii_does_not_make_plain_mail_internationalised() -> None:
    """The client's name is written with question marks unless the message itself needs SMTPUTF8 (RFC 6531 3.7.3)."""
    reception = Reception("ESMTP", "2001:db8::1", 1, "grün.test", "127.0.0.1:25", "mta.test", SessionId("s"))
    for declared, header, name in (
        (False, b"", b"gr?n.test"),
        (True, "Subject: ü\r\n".encode(), "grün.test".encode()),
    ):
        content = header + b"\r\nx\r\n"
        given_message = MessageGiven(
            MailCommand(None, smtputf8=declared), (Address("1", "a.test"),), content, is_canonical=True
        )
        (record,) = messages(
            envelope(given_message, Assignment(None, None, content)), reception, IdSource(1), WallTime(0.0)
        )
        assert record.added_header.startswith(b"Received: from " + name + b" ([IPv6:2001:db8::1])")
        assert record.smtputf8 is declared


def test_every_id_is_in_the_reply() -> None:
    """One line for few, more for many, each within 512 octets (RFC 5321 4.5.3.1.5)."""
    recipients = tuple(Address("x", f"d{number}.test") for number in range(500))
    given_message = MessageGiven(MailCommand(None), recipients, b"\r\n", is_canonical=True)
    records = messages(
        envelope(given_message, Assignment(None, None, b"\r\n")), RECEPTION, IdSource(1), WallTime(0.0)
    )
    wire = accepted(records).to_bytes()
    assert all(record.id.encode() in wire for record in records)
    assert max(map(len, wire.splitlines(keepends=True))) <= 512


def test_the_budget_counts_what_is_stored_too() -> None:
    """New transactions end at four fifths of the limit, what is coming in is dropped above it."""
    stored = 0
    budget = Budget(1000, lambda: stored)
    assert budget.has_room()
    budget.used = 500
    stored = 300
    assert not budget.has_room()
    assert not budget.is_exceeded()
    stored = 501
    assert budget.is_exceeded()
