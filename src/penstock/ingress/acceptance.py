"""What becomes of a transaction: the messages that it is split into.

Plain decisions: nothing here waits or writes. Once it is known whose mail it is (``assignment``), the transaction is split by domain, each part
with a queue, an id and a Received field of its own, all with one content.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from penstock.ingress.assignment import Assignment
from penstock.mail.address import Address, ReversePath
from penstock.mail.dsn import NOTHING_ASKED, EnvelopeDsn
from penstock.mail.duration import WallTime
from penstock.mail.ids import IdSource
from penstock.mail.message import header_end
from penstock.mail.queue_layers import QueueLayers
from penstock.mail.queue_name import QueueName
from penstock.mail.records import MessageRecord, MetaValue, Reception
from penstock.mail.reply import Reply, reply
from penstock.mail.schedule import Schedule
from penstock.mail.trace import received_field, received_prefix
from penstock.policy import Decision
from penstock.smtp import extension
from penstock.smtp.data import has_bare_line_end, has_dot_line, with_crlf
from penstock.smtp.server_events import MessageGiven

RELAYING_DENIED: Final = reply(550, "5.7.1", "relaying not permitted")
NEEDS_AUTH: Final = reply(550, "5.7.1", "relaying not permitted without authentication")
_NO_LAYERS: Final = QueueLayers()
#: Ids in one line of the reply: the line keeps within 512 octets (RFC 5321 4.5.3.1.5).
_IDS_IN_LINE: Final = 13


def in_lines(given: MessageGiven) -> bytes:  # hot: throughput
    """The content with CRLF for every line end, as it will be sent: no field hides behind another kind of line end."""
    content = given.content
    return with_crlf(content) if not given.is_canonical and has_bare_line_end(content) else content


def relaying_denied(extensions: frozenset[str], *, is_known: bool) -> Reply:
    """What a client is told that may not relay; ``extensions`` are those that it could use, ``is_known`` says that AUTH was done."""
    return NEEDS_AUTH if extension.AUTH in extensions and not is_known else RELAYING_DENIED


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
    schedule: Schedule | None = None
    routing_domain: str | None = None


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
        schedule=assignment.schedule,
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
        decision.schedule,
        decision.routing_domain,
    )


def messages(
    whole: Envelope,
    reception: Reception,
    ids: IdSource,
    now: WallTime,
    layers: QueueLayers = _NO_LAYERS,
) -> list[MessageRecord]:  # hot: throughput
    """The messages that a transaction is split into, ready to be stored. They are routed as the policy says, or else ``layers``."""
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
                queue=queue_of(domain, whole.tenant, whole.campaign, whole.routing_domain, layers),
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
                schedule=whole.schedule,
            )
        )
    return records


def queue_of(
    domain: str, tenant: str | None, campaign: str | None, routing_domain: str | None, layers: QueueLayers
) -> QueueName:  # hot: throughput
    """The queue of mail to a domain. ``routing_domain`` None: as ``layers`` have it."""
    if routing_domain is None:
        routing_domain = layers.routing_domain_of(domain, tenant, campaign)
    return QueueName(domain, tenant, campaign, routing_domain if routing_domain != domain else None)


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
