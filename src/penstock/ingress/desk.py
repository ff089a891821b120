"""What the connections of a process share: spool, lane, ids, time, memory, policy, certificates, and the configuration of queues."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from penstock.ingress.budget import OVER_LIMIT, Budget
from penstock.ingress.clients import Clients
from penstock.mail.configuration import QueuesConfig
from penstock.mail.ids import IdSource
from penstock.mail.ports import Clock, Spool
from penstock.mail.records import MessageRecord
from penstock.mail.reply import Reply, reply
from penstock.net.tls import ServerContexts
from penstock.policy import PolicyRunner

_NO_ROOM: Final = reply(452, "4.3.1", "mail cannot be stored now; try again later")


class Deliverer(Protocol):
    """Who takes over messages once they are stored: the lane."""

    def submit(self, stored: Sequence[tuple[int, MessageRecord]]) -> None:
        """Deliver these messages, given with their positions in the spool."""


class Desk:
    """See the module. ``connection_limit`` bounds the connections of all listeners together, by the descriptors that the process has.

    ``policy`` None: nobody is asked.
    """

    __slots__ = (
        "auth_failures",
        "budget",
        "clients",
        "clock",
        "connection_limit",
        "connections",
        "contexts",
        "handshakes",
        "handshakes_failed",
        "headers_failed",
        "ids",
        "lane",
        "policy",
        "queues",
        "spool",
    )

    def __init__(
        self,
        spool: Spool,
        lane: Deliverer,
        ids: IdSource,
        clock: Clock,
        budget: Budget,
        queues: QueuesConfig,
        contexts: ServerContexts,
        policy: PolicyRunner | None,
        connection_limit: int,
    ) -> None:
        self.spool = spool
        self.lane = lane
        self.ids = ids
        self.clock = clock
        self.budget = budget
        self.queues = queues
        self.contexts = contexts
        self.policy = policy
        self.clients = Clients(clock)
        self.connections = 0
        self.connection_limit = connection_limit
        #: TLS sessions that were made, and those that failed
        self.handshakes = 0
        self.handshakes_failed = 0
        #: AUTH commands with credentials that were wrong
        self.auth_failures = 0
        #: connections that were closed for want of a right PROXY header
        self.headers_failed = 0

    def asks(self, hook: str) -> bool:
        """Whether the policy has this hook."""
        return self.policy is not None and self.policy.has(hook)

    def fullness(self) -> Reply | None:
        """Why no transaction may begin now; None if one may."""
        if not self.budget.has_room():
            return OVER_LIMIT
        return None if self.spool.has_room() else _NO_ROOM
