"""``queues.toml``, as KumoMTA's queue helper reads it: who the tenants are, how mail names them, what they may take, and how mail is tried.

What holds of a queue may be said of all queues, of a domain, a tenant, a campaign, and of them together (``mail.queue_layers``). Several files
may be given; a later one is laid over an earlier one, key by key.
"""

from __future__ import annotations

from typing import Final

from penstock.config.hosts import MAIL_DOMAIN, MAIL_DOMAIN_PATTERN
from penstock.config.kinds import BOOLEAN, set_of
from penstock.config.numbers import RATE, duration, integer, number, size
from penstock.config.schema import Named, Option, Section, Table
from penstock.config.texts import AUTHORIZATION_ID, CAMPAIGN, FIELD_NAME, LABEL, POOL

#: Bounds of what a tenant may take, in octets: below a mebibyte it is a slip.
_LEAST: Final = 1024**2
_MOST: Final = 1024**5
#: Options of a scheduled queue that KumoMTA has, and this version does not.
QUEUE_LATER: Final = frozenset({
    "protocol", "refresh_interval", "refresh_strategy", "strategy", "timerwheel_tick_interval", "shrink_policy", "provider_name",
})  # fmt: skip

#: What may be said of queues in each table that is about some of them.
QUEUE_OPTIONS: Final = (
    Option("retry_interval", duration(), "How long after the first attempt the second comes; after that the wait doubles.",
           example='"5 mins"', default='"20m"'),
    Option("max_retry_interval", duration(), "The longest wait between attempts.", example='"4 hours"', otherwise="no longest"),
    Option("max_age", duration(), "Mail that is older is given up, whatever it is waiting for.", example='"24 hours"', default='"7 days"'),
    Option("max_message_rate", RATE, "How many messages of one scheduled queue may be tried; more wait, without an attempt being spent.",
           example='"1,000/h"', otherwise="no limit"),
    Option("egress_pool", POOL, "The pool of sources that mail goes out from.", example="'pool-1'", default="'unspecified'"),
    Option("reap_interval", duration(), "How long an empty scheduled queue is remembered.", example='"20m"', default='"10m"'),
    Option("routing_domain", MAIL_DOMAIN, "The domain that mail is routed by instead of its own, from when it is accepted.",
           example='"smarthost.example"', otherwise="the domain itself", field=""),
)  # fmt: skip

_OVERALL: Final = "overall_max_message_rate"

QUEUE_DEFAULT: Final = Table(QUEUE_OPTIONS, later=QUEUE_LATER)

QUEUE_OF_CAMPAIGN: Final = Table(QUEUE_OPTIONS, later=QUEUE_LATER)
QUEUE_OF_TENANT: Final = Table(
    QUEUE_OPTIONS, later=QUEUE_LATER, members=Named("campaign", CAMPAIGN, QUEUE_OF_CAMPAIGN)
)
QUEUE_OF_DOMAIN: Final = Table(
    QUEUE_OPTIONS, later=QUEUE_LATER, members=Named("tenant", LABEL, QUEUE_OF_TENANT)
)

TENANT_CAMPAIGN: Final = Table(
    (
        Option(_OVERALL, RATE, "How many messages of all of the campaign's queues together may be tried, by all lanes.",
               example='"50/s"', otherwise="no limit", field=""),
        *QUEUE_OPTIONS,
    ),
    later=QUEUE_LATER,
)  # fmt: skip

TENANT: Final = Table(
    (
        Option("require_authz", set_of(AUTHORIZATION_ID, '["daniel"]'), "Who may send for the tenant: authorization ids of AUTH. With it, "
               "`relay_hosts` are not believed.",
               example='["daniel"]', otherwise="whoever may name tenants"),
        Option(_OVERALL, RATE, "How many messages of all of the tenant's queues together may be tried, by all lanes.",
               example='"100/s"', otherwise="no limit", field=""),
        Option("share", number(0.01, 10_000), "The tenant's weight where several tenants' mail waits for the same path: with 2, it gets twice what a "
               "tenant with 1 gets.",
               example="2.5", default="1"),
        Option("max_queued_bytes", size(_LEAST, _MOST), "Octets that the tenant may have queued; mail beyond is refused with 452 4.3.1, "
               "until some has been delivered.",
               example='"50GiB"', default='"10GiB"'),
        Option("max_connections", integer(1), "Connections of clients that the policy has named the tenant for; one beyond is closed with 421 4.7.0.",
               example="500", default="2_000"),
        Option("max_bytes_in_flight", size(_LEAST, _MOST), "Octets of mail that are coming in or being stored; with more, mail is refused with "
               "452 4.3.1. One message at a time always may come in.",
               example='"64MiB"', default='"256MiB"'),
        *QUEUE_OPTIONS,
        Named("campaigns", CAMPAIGN, TENANT_CAMPAIGN),
    ),
    later=QUEUE_LATER,
)  # fmt: skip


def is_domain_like(name: str) -> bool:
    """Whether a table's name must be a domain: it has a dot, a wildcard or a bracket, which no key has."""
    return not {".", "*", "["}.isdisjoint(name)


QUEUES_FILE: Final = Table(
    (
        Option("scheduling_header", FIELD_NAME, "The header field that says when a message may be delivered. It is always taken out.",
               example='"X-Schedule"', otherwise="none"),
        Option("tenant_header", FIELD_NAME, "The header field that names the tenant of a message.", example='"X-Tenant"', otherwise="none"),
        Option("remove_tenant_header", BOOLEAN, "Whether that field is taken out before the mail is sent on.", example="false", default="true"),
        Option("campaign_header", FIELD_NAME, "The header field that names the campaign of a message.", example='"X-Campaign"', otherwise="none"),
        Option("remove_campaign_header", BOOLEAN, "Whether that field is taken out before the mail is sent on.", example="false", default="true"),
        Option("default_tenant", LABEL, "The tenant of mail that names none; one of the tenants below.", example="'mytenant'", otherwise="none"),
        Named("tenant", LABEL, TENANT),
        Section(
            "queue",
            Table((Section("default", QUEUE_DEFAULT),), members=Named("domain", MAIL_DOMAIN_PATTERN, QUEUE_OF_DOMAIN)),
        ),
    ),
)  # fmt: skip
