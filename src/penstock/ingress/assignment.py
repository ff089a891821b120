"""Whose mail a message is, and when it may go, as its header fields say.

Plain decisions: nothing here waits or writes. The fields that name a tenant or a campaign, or say when the message may go, are read, and cut out
of it. Who may name which tenant is decided by the client's address, or by its authorization id where the tenant says who may send for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from penstock.mail.configuration import QueuesConfig
from penstock.mail.duration import WallTime
from penstock.mail.message import Field, field_value, find_fields, without_fields
from penstock.mail.queue_name import QueueName, is_label
from penstock.mail.reply import Reply, reply
from penstock.mail.schedule import Schedule, ScheduleError, never_tried, parse_schedule
from penstock.net.zones import zone_of

_NO_HEADER: Final = reply(
    550, "5.6.0", "the message begins with white space, which would go on with the field before it"
)
_LOOPS: Final = reply(554, "5.4.6", "the message has been through too many hosts; it loops")
_MAY_NOT_NAME: Final = reply(550, "5.7.1", "this client may not name a tenant")
_MANY_SCHEDULES: Final = reply(550, "5.6.0", "the message has more than one schedule")
_RECEIVED: Final = b"received"


class Assignment(msgspec.Struct, frozen=True):
    """Whose mail it is, when it may go, and its content without the fields that said so."""

    tenant: str | None
    campaign: str | None
    content: bytes
    schedule: Schedule | None = None


class Authority(msgspec.Struct, frozen=True):
    """What a client may say about whose mail it is: ``tenant`` if that is settled; else any, if it ``is_trusted`` to name one.

    Not so those tenants that say who may send for them: that is decided by ``authorization_id``, "" without AUTH.
    """

    is_trusted: bool = True
    tenant: str | None = None
    authorization_id: str = ""


def assign(
    content: bytes, queues: QueuesConfig, authority: Authority, max_received: int
) -> Assignment | Reply:  # hot: throughput
    """The tenant, campaign and schedule that the header fields say; or the reply that refuses the message: it loops, names what it may not, has a
    schedule that is none, or begins in the middle of a field.
    """
    if content.startswith((b" ", b"\t")):
        return _NO_HEADER  # our Received field goes before it
    given = (queues.tenant_header, queues.campaign_header, queues.scheduling_header)
    headers = [name.encode("ascii") for name in given if name]
    found = find_fields(content, [_RECEIVED, *headers])
    if len(found.pop(_RECEIVED, ())) > max_received:
        return _LOOPS
    if not found and (authority.tenant is not None or queues.default_tenant is None):
        return Assignment(authority.tenant, None, content)
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
    schedule: Schedule | None = None
    if queues.scheduling_header is not None:
        occurrences = found.get(queues.scheduling_header.encode("ascii"), [])
        unwanted += occurrences
        scheduled = _schedule(content, occurrences)
        if isinstance(scheduled, Reply):
            return scheduled
        schedule = scheduled
    named, campaign = labels
    refusal = _may_not_send(named, queues, authority)
    if refusal is not None:
        return refusal
    tenant = authority.tenant or named or queues.default_tenant
    return Assignment(tenant, campaign, without_fields(content, unwanted) if unwanted else content, schedule)


def _may_not_send(named: str | None, queues: QueuesConfig, authority: Authority) -> Reply | None:
    """The reply for who names a tenant without being one who may, or names none where the default one is not for everybody."""
    if authority.tenant is not None:
        if named in (None, authority.tenant):
            return None
        return reply(550, "5.7.1", f"this session sends for {authority.tenant} only")
    tenant = named or queues.default_tenant
    allowed = queues.options_of(tenant).require_authz if tenant is not None else None
    if allowed is None:
        return None if named is None or authority.is_trusted else _MAY_NOT_NAME
    if authority.authorization_id in allowed:
        return None
    return reply(550, "5.7.1", f"this client may not send for {tenant}")


def _schedule(content: bytes, occurrences: list[Field]) -> Schedule | Reply | None:
    """What the fields say about when the message may go; an empty one says nothing."""
    values = {field_value(content, field) for field in occurrences} - {b""}
    if not values:
        return None
    if len(values) > 1:
        return _MANY_SCHEDULES
    try:
        return parse_schedule(values.pop(), zone_of)
    except ScheduleError as error:
        return reply(550, "5.6.0", f"the message's schedule is wrong: {error}")


def unknown_tenant(tenant: str | None, queues: QueuesConfig) -> Reply | None:
    """The reply that refuses mail of a tenant that does not exist."""
    if tenant is None or tenant in queues.tenants:
        return None
    return reply(550, "5.7.1", f"unknown tenant {tenant}")


def untimely(
    schedule: Schedule | None,
    names: Iterable[QueueName],
    queues: QueuesConfig,
    now: WallTime,
    *,
    is_max_age_known: bool,
) -> Reply | None:
    """The reply that refuses a message of which a part, in the queues ``names``, would expire before its schedule lets it be tried.

    Not ``is_max_age_known``: a policy may say another ``max_age`` than ``queues``, which is asked when the message is queued.
    """
    if schedule is None:
        return None
    for name in names:
        max_age = queues.resolve(name).max_age if is_max_age_known else None
        why = never_tried(schedule, max_age, now, zone_of)
        if why is not None:
            return reply(550, "5.6.0", f"the message's schedule is wrong: {why}")
    return None


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
