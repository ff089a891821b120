"""Orders about queued mail, given by a person or by automation.

A *directive* holds from when it is given until it expires or is cancelled, for mail that comes later too: suspend, bounce. A *sweep* is done
once, to all that matches and was there when it was given: what a directive that bounces begins with, and rebind, flush and delete.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec

from penstock.mail.duration import WallTime
from penstock.mail.queue_name import QueueName


class Action(Enum):
    """What a directive does to what it is about: hold its mail, or end it; of a path or a source, hold all mail that would go by it."""

    SUSPEND = "suspend"
    BOUNCE = "bounce"
    SUSPEND_PATH = "suspend-path"
    SUSPEND_SOURCE = "suspend-source"


class Criteria(msgspec.Struct, frozen=True):
    """Which queues: those that agree with everything that is given; or exactly those named; nothing given is every queue.

    "" is a value: ``tenant=""`` is mail without a tenant, and likewise for the others. With ``queue_names`` nothing else is given.
    """

    campaign: str | None = None
    tenant: str | None = None
    domain: str | None = None
    routing_domain: str | None = None
    queue_names: frozenset[QueueName] = frozenset()

    @property
    def is_everything(self) -> bool:
        """Whether nothing narrows it."""
        return not self.queue_names and all(value is None for value in self.values())

    def values(self) -> tuple[str | None, str | None, str | None, str | None]:
        """What is given, in the order of ``values_of``; None is any."""
        return self.campaign, self.tenant, self.domain, self.routing_domain

    def matches(self, name: QueueName) -> bool:
        """Whether a queue is one of them."""
        if self.queue_names:
            return name in self.queue_names
        return all(
            wanted is None or wanted == value
            for wanted, value in zip(self.values(), values_of(name), strict=True)
        )

    def __str__(self) -> str:
        """For people: ``tenant acme, domain example.com``."""
        if self.queue_names:
            names = sorted(map(str, self.queue_names))
            return f"queue {names[0]}" if len(names) == 1 else f"{len(names)} queues: {', '.join(names[:3])}"
        words = [
            f"{what} {value or '(none)'}"
            for what, value in zip(_WORDS, self.values(), strict=True)
            if value is not None
        ]
        return ", ".join(words) or "everything"


_WORDS: Final = ("campaign", "tenant", "domain", "routing domain")


def values_of(name: QueueName) -> tuple[str, str, str, str]:  # hot: micro_queueing
    """Campaign, tenant, domain and routing domain of a queue, "" for what it has not."""
    return name.campaign or "", name.tenant or "", name.domain, name.routing_domain or ""


class Directive(msgspec.Struct, frozen=True):
    """``criteria`` for SUSPEND and BOUNCE; for the others ``subject``, the name of a path (as a ready queue's) or of a source.

    ``author`` is who gave it, as far as that is known; ``given`` and ``expires`` are when, and when it is over.
    """

    id: str
    action: Action
    reason: str
    given: WallTime
    expires: WallTime
    criteria: Criteria = Criteria()
    subject: str = ""
    author: str = ""
    suppress_logging: bool = False


class SweepAction(Enum):
    """What is done to each message: end it with a reply, end it in silence, put it into another queue, or have it due now."""

    BOUNCE = "bounce"
    DELETE = "delete"
    REBIND = "rebind"
    FLUSH = "flush"


class Rebinding(msgspec.Struct, frozen=True):
    """What of a message's queue becomes otherwise. None: as it is; "": none from now on."""

    tenant: str | None = None
    campaign: str | None = None
    routing_domain: str | None = None

    def of(self, name: QueueName) -> QueueName:
        """The queue that mail of ``name`` goes into."""
        return QueueName(
            name.domain,
            _changed(name.tenant, self.tenant),
            _changed(name.campaign, self.campaign),
            _changed(name.routing_domain, self.routing_domain),
        )


def _changed(before: str | None, after: str | None) -> str | None:
    return before if after is None else after or None


class Order(msgspec.Struct, frozen=True):
    """What is done once, and why: the part of a sweep that a message's event tells of. ``id`` is the directive's where one has given it."""

    id: str
    action: SweepAction
    reason: str
    author: str = ""
    rebinding: Rebinding = Rebinding()
    suppress_logging: bool = False


class Sweep(msgspec.Struct, frozen=True):
    """An order about all mail of these queues that was accepted up to ``given``."""

    order: Order
    criteria: Criteria
    given: WallTime


class Progress(msgspec.Struct, frozen=True):
    """How far a sweep is in one lane: ``matched`` messages were found so far, of these ``done``. ``is_over``: there are no more.

    While it is under way ``matched`` may count some that are delivered before it comes to them.
    """

    matched: int = 0
    done: int = 0
    is_over: bool = False
