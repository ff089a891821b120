"""``queues.toml``, as KumoMTA's queue helper reads it: who the tenants are, how mail names them, and how long it is tried.

Several files may be given; a later one is laid over an earlier one, key by key.
"""

from __future__ import annotations

from typing import Final

from penstock.config.kinds import BOOLEAN
from penstock.config.numbers import RATE, duration, integer, number, size
from penstock.config.schema import Named, Option, Section, Table
from penstock.config.texts import FIELD_NAME, LABEL, POOL

#: Bounds of what a tenant may take, in octets: below a mebibyte it is a slip.
_LEAST: Final = 1024**2
_MOST: Final = 1024**5
#: Options of a scheduled queue that KumoMTA has, and this version does not.
_QUEUE_LATER: Final = frozenset({
    "protocol", "refresh_interval", "refresh_strategy", "strategy",
    "timerwheel_tick_interval", "shrink_policy", "provider_name", "routing_domain",
})  # fmt: skip

QUEUE_DEFAULT: Final = Table(
    (
        Option("retry_interval", duration(), "How long after the first attempt the second comes; after that the wait doubles.",
               example='"5 mins"', default='"20m"'),
        Option("max_retry_interval", duration(), "The longest wait between attempts.", example='"4 hours"', otherwise="no longest"),
        Option("max_age", duration(), "Mail that is older is given up, whatever it is waiting for.", example='"24 hours"', default='"7 days"'),
        Option("max_message_rate", RATE, "How many messages of one scheduled queue may be tried; more wait, without an attempt being spent.",
               example='"1,000/h"', otherwise="no limit"),
        Option("egress_pool", POOL, "The pool of sources that mail goes out from.", example="'pool-1'", default="'unspecified'"),
        Option("reap_interval", duration(), "How long an empty scheduled queue is remembered.", example='"20m"', default='"10m"'),
    ),
    later=_QUEUE_LATER,
)  # fmt: skip

TENANT: Final = Table(
    (
        Option("max_queued_bytes", size(_LEAST, _MOST), "Octets that the tenant may have queued; mail beyond is refused with 452 4.3.1, "
               "until some has been delivered.",
               example='"50GiB"', default='"10GiB"'),
        Option("max_connections", integer(1), "Connections of clients that the policy has named the tenant for; one beyond is closed with 421 4.7.0.",
               example="500", default="2_000"),
        Option("max_bytes_in_flight", size(_LEAST, _MOST), "Octets of mail that are coming in or being stored; with more, mail is refused with "
               "452 4.3.1. One message at a time always may come in.",
               example='"64MiB"', default='"256MiB"'),
        Option("share", number(0.01, 10_000), "The tenant's weight where several tenants' mail waits for the same path: with 2, it gets twice what a "
               "tenant with 1 gets.",
               example="2.5", default="1"),
    ),
    later=_QUEUE_LATER
    | set(QUEUE_DEFAULT.names())
    | {"require_authz", "overall_max_message_rate", "campaigns"},
)  # fmt: skip


def is_domain_like(name: str) -> bool:
    """Whether a table's name must be a domain: it has a dot, a wildcard or a bracket, which no key has."""
    return not {".", "*", "["}.isdisjoint(name)


QUEUES_FILE: Final = Table(
    (
        Option("tenant_header", FIELD_NAME, "The header field that names the tenant of a message.", example='"X-Tenant"', otherwise="none"),
        Option("remove_tenant_header", BOOLEAN, "Whether that field is taken out before the mail is sent on.", example="false", default="true"),
        Option("campaign_header", FIELD_NAME, "The header field that names the campaign of a message.", example='"X-Campaign"', otherwise="none"),
        Option("remove_campaign_header", BOOLEAN, "Whether that field is taken out before the mail is sent on.", example="false", default="true"),
        Option("default_tenant", LABEL, "The tenant of mail that names none; one of the tenants below.", example="'mytenant'", otherwise="none"),
        Named("tenant", LABEL, TENANT),
        Section("queue", Table((Section("default", QUEUE_DEFAULT),), is_later=is_domain_like)),
    ),
    later=frozenset({"scheduling_header"}),
)  # fmt: skip
