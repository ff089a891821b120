"""Names of scheduled queues: ``campaign:tenant@domain!routing_domain``, each part but the domain optional.

Written ``domain``, ``tenant@domain``, ``campaign:tenant@domain`` or ``campaign:@domain``, each with ``!routing_domain`` where set.
A tenant holds none of ``: @ !`` and a campaign no ``:`` (checked where they are assigned), so that the name can be read back.
"""

from __future__ import annotations

import re

import msgspec

# What a tenant's or campaign's name may hold: printable ASCII without the separators of queue names. 1 to 128 octets.
_LABEL = re.compile(r"[!-~]{1,128}", re.ASCII)
_SEPARATORS = frozenset(":@!")


def is_label(text: str) -> bool:
    """Whether ``text`` can name a tenant or a campaign: 1 to 128 printable ASCII characters, no space and none of ``: @ !``."""
    return bool(_LABEL.fullmatch(text)) and _SEPARATORS.isdisjoint(text)


class QueueName(msgspec.Struct, frozen=True, gc=False):
    """The identity of a scheduled queue. ``tenant`` None is the bucket of mail without one; ``routing_domain`` None is the domain itself."""

    domain: str
    tenant: str | None = None
    campaign: str | None = None
    routing_domain: str | None = None

    @property
    def next_hop(self) -> str:
        """The domain that decides where the mail goes."""
        return self.routing_domain or self.domain

    def __str__(self) -> str:
        name = self.domain
        if self.campaign is not None:
            name = f"{self.campaign}:{self.tenant or ''}@{name}"
        elif self.tenant is not None:
            name = f"{self.tenant}@{name}"
        return f"{name}!{self.routing_domain}" if self.routing_domain else name


def parse_queue_name(text: str) -> QueueName:
    """The queue that ``text`` names; ValueError if it names none. ``str()`` of the result is ``text``."""
    owner, at, where = text.rpartition("@")
    domain, bang, routing_domain = where.partition("!")
    campaign, colon, tenant = owner.rpartition(":")
    name = QueueName(domain, tenant or None, campaign if colon else None, routing_domain or None)
    is_whole = bool(domain) and bool(routing_domain) == bool(bang) and bool(owner) == bool(at)
    labels = [label for label in (name.tenant, name.campaign) if label is not None]
    if not is_whole or "!" in routing_domain or not all(is_label(label) for label in labels):
        raise ValueError(
            f"{text!r} is no queue name; write campaign:tenant@domain!routing_domain, the domain at least"
        )
    return name
