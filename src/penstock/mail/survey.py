"""What is queued, counted: over all queues that criteria match, and by tenant, campaign, domain, routing domain, site or queue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from heapq import nlargest
from typing import Final

import msgspec

from penstock.mail.duration import WallTime

#: Groups that are shown by name, unless told otherwise, and at the most; all others are counted together.
GROUPS_SHOWN: Final = 20
GROUPS_LIMIT: Final = 1000


class Grouping(Enum):
    """By what queues are counted together."""

    TENANT = "tenant"
    CAMPAIGN = "campaign"
    DOMAIN = "domain"
    ROUTING_DOMAIN = "routing-domain"
    SITE = "site"
    QUEUE = "queue"


class Group(msgspec.Struct, frozen=True):
    """Queues with their mail. ``messages`` are ``ready`` (due, whatever holds them), ``waiting`` for their time, or ``in_flight``.

    ``held`` are messages by the gate that holds them, in the words of ``penstock.mail.reason``. ``oldest`` is when the oldest message that is
    known of was accepted, None if there is none. ``rate`` is how many recipients a second were delivered over the last minute, where that is counted:
    of all mail, and of a tenant's; None elsewhere.
    """

    name: str
    queues: int = 0
    messages: int = 0
    octets: int = 0
    ready: int = 0
    waiting: int = 0
    in_flight: int = 0
    held: Mapping[str, int] = {}
    oldest: WallTime | None = None
    rate: float | None = None


class Survey(msgspec.Struct, frozen=True):
    """``total`` of all that match; ``groups`` the largest, by messages; ``others`` of those that are not among them, None if there are none."""

    total: Group
    groups: tuple[Group, ...] = ()
    others: Group | None = None


def together(name: str, groups: Iterable[Group]) -> Group:
    """Groups as one of this name."""
    queues = messages = octets = ready = waiting = in_flight = 0
    held: dict[str, int] = {}
    oldest: WallTime | None = None
    rate: float | None = None
    for group in groups:
        queues += group.queues
        messages += group.messages
        octets += group.octets
        ready += group.ready
        waiting += group.waiting
        in_flight += group.in_flight
        for gate, count in group.held.items():
            held[gate] = held.get(gate, 0) + count
        if group.oldest is not None and (oldest is None or group.oldest < oldest):
            oldest = group.oldest
        if group.rate is not None:
            rate = group.rate + (rate or 0.0)
    return Group(name, queues, messages, octets, ready, waiting, in_flight, held, oldest, rate)


def merged(parts: Iterable[Survey], limit: int = GROUPS_SHOWN) -> Survey:
    """Surveys of several lanes as one, with up to ``limit`` groups.

    A group that is among the others of one lane and named by another is short of the first lane's part of it, which stays with the others.
    """
    surveys = list(parts)
    by_name: dict[str, list[Group]] = {}
    for survey in surveys:
        for group in survey.groups:
            by_name.setdefault(group.name, []).append(group)
    groups = [together(name, found) for name, found in by_name.items()]
    shown = nlargest(limit, groups, key=lambda group: (group.messages, group.name))
    names = {group.name for group in shown}
    rest = [group for group in groups if group.name not in names]
    rest += [survey.others for survey in surveys if survey.others is not None]
    return Survey(
        together("", (survey.total for survey in surveys)),
        tuple(shown),
        together("", rest) if rest else None,
    )
