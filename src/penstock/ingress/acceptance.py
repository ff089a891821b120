"""What becomes of a transaction: its tenant and campaign, and the messages that it is split into.

Plain decisions: nothing here waits or writes. A message that arrives with fields naming a tenant or a campaign is assigned by them, and the
fields are cut out; the transaction is then split by domain, each part with an id and a Received field of its own, all with one content.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from penstock.mail.address import Address, ReversePath
from penstock.mail.configuration import QueuesConfig
from penstock.mail.dsn import NOTHING_ASKED, EnvelopeDsn
from penstock.mail.duration import WallTime
from penstock.mail.ids import IdSource
from penstock.mail.message import Field, field_value, find_fields, header_end, without_fields
from penstock.mail.queue_name import QueueName, is_label
from penstock.mail.records import MessageRecord, MetaValue, Reception
from penstock.mail.reply import Reply, reply
from penstock.mail.trace import received_field, received_prefix
from penstock.policy import Decision
from penstock.smtp import extension
from penstock.smtp.data import has_bare_line_end, has_dot_line, with_crlf
from penstock.smtp.server_events import MessageGiven

RELAYING_DENIED: Final = reply(550, "5.7.1", "relaying not permitted")
NEEDS_AUTH: Final = reply(550, "5.7.1", "relaying not permitted without authentication")
_NO_HEADER: Final = reply(
    550, "5.6.0", "the message begins with white space, which would go on with the field before it"
)
_LOOPS: Final = reply(554, "5.4.6", "the message has been through too many hosts; it loops")
_MAY_NOT_NAME: Final = reply(550, "5.7.1", "this client may not name a tenant")
_RECEIVED: Final = b"received"
#: Ids in one line of the reply: the line keeps within 512 octets (RFC 5321 4.5.3.1.5).
_IDS_IN_LINE: Final = 13


def in_lines(given: MessageGiven) -> bytes:  # hot: throughput
    """The content with CRLF for every line end, as it will be sent: no field hides behind another kind of line end."""
    content = given.content
    return with_crlf(content) if not given.is_canonical and has_bare_line_end(content) else content


class Assignment(msgspec.Struct, frozen=True):
    """Whose mail it is, and its content without the fields that said so."""

    tenant: str | None
    campaign: str | None
    content: bytes


def relaying_denied(extensions: frozenset[str], *, is_known: bool) -> Reply:
    """What a client is told that may not relay; ``extensions`` are those that it could use, ``is_known`` says that AUTH was done."""
    return NEEDS_AUTH if extension.AUTH in extensions and not is_known else RELAYING_DENIED


class Authority(msgspec.Struct, frozen=True):
    """What a client may say about whose mail it is: ``tenant`` if that is settled; else any, if it ``is_trusted`` to name one."""

    is_trusted: bool = True
    tenant: str | None = None


def assign(
    content: bytes, queues: QueuesConfig, authority: Authority, max_received: int
) -> Assignment | Reply:  # hot: throughput
    """The tenant and campaign that the header fields name; or the reply that refuses the message: it loops, names what it may not, or begins
    in the middle of a field.
    """
    if content.startswith((b" ", b"\t")):
        return _NO_HEADER  # our Received field goes before it
    headers = [name.encode("ascii") for name in (queues.tenant_header, queues.campaign_header) if name]
    found = find_fields(content, [_RECEIVED, *headers])
    if len(found.pop(_RECEIVED, ())) > max_received:
        return _LOOPS
    if not found:
        return Assignment(authority.tenant or queues.default_tenant, None, content)
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
    named, campaign = labels
    if named is not None and named != authority.tenant:
        if authority.tenant is not None:
            return reply(550, "5.7.1", f"this session sends for {authority.tenant} only")
        if not authority.is_trusted:
            return _MAY_NOT_NAME
    tenant = authority.tenant or named or queues.default_tenant
    return Assignment(tenant, campaign, without_fields(content, unwanted) if unwanted else content)


def unknown_tenant(tenant: str | None, queues: QueuesConfig) -> Reply | None:
    """The reply that refuses mail of a tenant that does not exist."""
    if tenant is None or tenant in queues.tenants:
        return None
    return reply(550, "5.7.1", f"unknown tenant {tenant}")


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


class Envelope(msgspec.Struct, frozen=True):
    """A message about to be stored, whole: what the client gave, as the policy has it."""

    reverse_path: ReversePath
    recipients: tuple[Address, ...]
    content: bytes
    tenant: str | None
    campaign: str | None
    is_canonical: bool
    smtputf8: bool
    dsn: EnvelopeDsn | None = None
    meta: dict[str, MetaValue] = {}


def envelope(given: MessageGiven, assignment: Assignment) -> Envelope:  # hot: throughput
    """What the client gave, assigned."""
    return Envelope(
        given.mail.reverse_path,
        given.forward_paths,
        assignment.content,
        assignment.tenant,
        assignment.campaign,
        given.is_canonical,
        given.mail.smtputf8,
        given.dsn,
    )


def decided(before: Envelope, decision: Decision) -> Envelope:
    """The envelope as the policy has decided about it."""
    dsn = before.dsn
    asked = tuple([asked for _, asked in decision.recipients])
    if dsn is not None or any(item != NOTHING_ASKED for item in asked):
        dsn = EnvelopeDsn(dsn.ret if dsn else "", dsn.envelope_id if dsn else "", asked)
    content = decision.content
    return Envelope(
        decision.reverse_path,
        tuple([address for address, _ in decision.recipients]),
        content,
        decision.tenant,
        decision.campaign,
        # lines end with CRLF still; a field that was added may begin with a dot
        before.is_canonical and (content is before.content or not has_dot_line(content)),
        before.smtputf8,
        dsn,
        decision.meta,
    )


def messages(
    whole: Envelope,
    reception: Reception,
    ids: IdSource,
    now: WallTime,
) -> list[MessageRecord]:  # hot: throughput
    """The messages that a transaction is split into, ready to be stored."""
    content = whole.content
    is_eight_bit = not content.isascii()
    smtputf8 = whole.smtputf8 and is_eight_bit and not content[: header_end(content)].isascii()
    prefix = received_prefix(reception, smtputf8=smtputf8)
    records: list[MessageRecord] = []
    for domain, recipients in split(whole.recipients).items():
        message = ids.next(now)
        records.append(
            MessageRecord(
                id=message,
                queue=QueueName(domain, whole.tenant, whole.campaign),
                reverse_path=whole.reverse_path,
                recipients=recipients,
                added_header=received_field(prefix, message, now),
                content=content,
                created=now,
                reception=reception,
                eight_bit=is_eight_bit,
                smtputf8=smtputf8,
                is_canonical=whole.is_canonical,
                dsn=_dsn_of(whole, recipients) if whole.dsn is not None else None,
                meta=whole.meta,
            )
        )
    return records


def _dsn_of(whole: Envelope, part: Sequence[Address]) -> EnvelopeDsn | None:
    """What was asked about notifications for a part; of a recipient named twice, what was asked first."""
    dsn = whole.dsn
    if dsn is None or not dsn.recipients:
        return dsn
    asked = dict(zip(reversed(whole.recipients), reversed(dsn.recipients), strict=True))
    return EnvelopeDsn(
        dsn.ret, dsn.envelope_id, tuple([asked.get(recipient, NOTHING_ASKED) for recipient in part])
    )


def accepted(records: Sequence[MessageRecord]) -> Reply:
    """The reply that says a transaction is stored, with the ids of its messages: ``250 2.0.0 OK ids=<id>[,<id>...]``."""
    if len(records) == 1:
        return reply(250, "2.0.0", f"OK ids={records[0].id}")
    ids = [record.id for record in records]
    lines = [",".join(ids[start : start + _IDS_IN_LINE]) for start in range(0, len(ids), _IDS_IN_LINE)]
    return reply(250, "2.0.0", "\n".join([f"OK ids={lines[0]}", *(f"ids={line}" for line in lines[1:])]))
