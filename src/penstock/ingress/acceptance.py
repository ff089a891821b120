"""What becomes of a transaction: its tenant and campaign, and the messages that it is split into.

Plain decisions: nothing here waits or writes. A message that arrives with fields naming a tenant or a campaign is assigned by them, and the
fields are cut out; the transaction is then split by domain, each part with an id and a Received field of its own, all with one content.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

import msgspec

from penstock.mail.address import Address
from penstock.mail.configuration import Network, QueuesConfig
from penstock.mail.duration import WallTime
from penstock.mail.ids import IdSource
from penstock.mail.message import Field, field_value, find_fields, header_end, without_fields
from penstock.mail.queue_name import QueueName, is_label
from penstock.mail.records import MessageRecord, Reception
from penstock.mail.reply import Reply, reply
from penstock.mail.trace import received_field, received_prefix
from penstock.smtp.server import MessageGiven

RELAYING_DENIED: Final = reply(550, "5.7.1", "relaying not permitted")
#: Ids in one line of the reply: the line keeps within 512 octets (RFC 5321 4.5.3.1.5).
_IDS_IN_LINE: Final = 13


class Assignment(msgspec.Struct, frozen=True):
    """Whose mail it is, and its content without the fields that said so."""

    tenant: str | None
    campaign: str | None
    content: bytes


def may_relay(peer_address: str, relay_hosts: Sequence[Network]) -> bool:
    """Whether a client at this address may send mail to anywhere. IPv4 in IPv6 counts as IPv4."""
    address = ip_address(peer_address.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None) or address
    return any(mapped.version == network.version and mapped in network for network in relay_hosts)


def assign(content: bytes, queues: QueuesConfig) -> Assignment | Reply:
    """The tenant and campaign that the header fields name; the reply that refuses a message whose fields name none that exists."""
    headers = [name.encode("ascii") for name in (queues.tenant_header, queues.campaign_header) if name]
    found = find_fields(content, headers) if headers else {}
    if not found:
        return Assignment(queues.default_tenant, None, content)
    unwanted: list[Field] = []
    labels: list[str | None] = []
    for what, header, is_removed in (
        ("tenant", queues.tenant_header, queues.remove_tenant_header),
        ("campaign", queues.campaign_header, queues.remove_campaign_header),
    ):
        occurrences = found.get(header.encode("ascii"), []) if header else []
        label = _label(content, occurrences, what)
        if isinstance(label, Reply):
            return label
        labels.append(label)
        if is_removed:
            unwanted += occurrences
    tenant = labels[0] or queues.default_tenant
    if tenant is not None and tenant not in queues.tenants:
        return reply(550, "5.7.1", f"unknown tenant {tenant}")
    return Assignment(tenant, labels[1], without_fields(content, unwanted) if unwanted else content)


def _label(content: bytes, occurrences: list[Field], what: str) -> str | Reply | None:
    values = {field_value(content, field) for field in occurrences}
    if len(values) > 1:
        return reply(550, "5.6.0", f"the message names more than one {what}")
    value = values.pop() if values else b""
    if not value:
        return None
    label = value.decode("utf-8", "replace")
    if not is_label(label):
        return reply(
            550, "5.6.0", f"a {what} is 1 to 128 printable ASCII characters, without spaces and : @ !"
        )
    return label


def split(recipients: Sequence[Address]) -> dict[str, tuple[Address, ...]]:
    """The recipients by domain, in the order in which domains and recipients came; one named twice counts once."""
    if len(recipients) == 1:
        return {recipients[0].domain: tuple(recipients)}
    parts: dict[str, dict[Address, None]] = {}
    for recipient in recipients:
        parts.setdefault(recipient.domain, {})[recipient] = None
    return {domain: tuple(part) for domain, part in parts.items()}


def messages(
    given: MessageGiven,
    assignment: Assignment,
    reception: Reception,
    ids: IdSource,
    now: WallTime,
) -> list[MessageRecord]:  # hot: throughput
    """The messages that a transaction is split into, ready to be stored."""
    content = assignment.content
    is_eight_bit = not content.isascii()
    smtputf8 = given.mail.smtputf8 and is_eight_bit and not content[: header_end(content)].isascii()
    prefix = received_prefix(reception, smtputf8=smtputf8)
    records: list[MessageRecord] = []
    for domain, recipients in split(given.forward_paths).items():
        message = ids.next(now)
        records.append(
            MessageRecord(
                id=message,
                queue=QueueName(domain, assignment.tenant, assignment.campaign),
                reverse_path=given.mail.reverse_path,
                recipients=recipients,
                added_header=received_field(prefix, message, now),
                content=content,
                created=now,
                reception=reception,
                eight_bit=is_eight_bit,
                smtputf8=smtputf8,
                is_canonical=given.is_canonical,
            )
        )
    return records


def accepted(records: Sequence[MessageRecord]) -> Reply:
    """The reply that says a transaction is stored, with the ids of its messages: ``250 2.0.0 OK ids=<id>[,<id>...]``."""
    if len(records) == 1:
        return reply(250, "2.0.0", f"OK ids={records[0].id}")
    ids = [record.id for record in records]
    lines = [",".join(ids[start : start + _IDS_IN_LINE]) for start in range(0, len(ids), _IDS_IN_LINE)]
    return reply(250, "2.0.0", "\n".join([f"OK ids={lines[0]}", *(f"ids={line}" for line in lines[1:])]))
