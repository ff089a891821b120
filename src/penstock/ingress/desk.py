"""What the connections of a process share: where mail is stored, ids, time, memory, policy, certificates, and the configuration of queues."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from penstock.ingress.budget import OVER_LIMIT, Budget
from penstock.ingress.clients import Clients
from penstock.ingress.doors import Doors
from penstock.mail.configuration import QueuesConfig
from penstock.mail.ids import IdSource
from penstock.mail.ports import Clock, Spool, SpoolError
from penstock.mail.records import MessageRecord
from penstock.mail.reply import Reply, reply
from penstock.net.tls import ServerContexts
from penstock.policy import PolicyRunner

_NO_ROOM: Final = reply(452, "4.3.1", "mail cannot be stored now; try again later")


class Committer(Protocol):
    """Who has transactions stored, in whichever lane, and delivered from there."""

    def has_room(self) -> bool:
        """Whether a transaction may begin: False while new mail would not be stored."""

    def expect(self, domain: str) -> None:
        """There is a recipient of ``domain``: what has to be known of it when its transaction is committed can be asked now."""

    def commit(self, records: Sequence[MessageRecord], done: Callable[[SpoolError | None], None]) -> None:
        """Have the messages of a transaction stored, all or none.

        ``done`` is called once, from inside or later: with None when they are stored, SpoolError when they are not and never will be, or
        SpoolUncertain.
        """


class Desk:
    """See the module. ``spool`` is for notes.

    ``connection_limit`` bounds the connections of all listeners together, by the descriptors that the process has.

    ``policy`` None: nobody is asked. ``queued`` says how many octets are queued here by tenant.
    """

    __slots__ = (
        "auth_failures",
        "budget",
        "clients",
        "clock",
        "committer",
        "connection_limit",
        "connections",
        "contexts",
        "doors",
        "handshakes",
        "handshakes_failed",
        "headers_failed",
        "ids",
        "policy",
        "queues",
        "spool",
    )

    def __init__(
        self,
        spool: Spool,
        committer: Committer,
        ids: IdSource,
        clock: Clock,
        budget: Budget,
        queues: QueuesConfig,
        contexts: ServerContexts,
        policy: PolicyRunner | None,
        connection_limit: int,
        queued: Callable[[], Mapping[str | None, int]] = dict,
    ) -> None:
        self.spool = spool
        self.committer = committer
        self.ids = ids
        self.clock = clock
        self.budget = budget
        self.queues = queues
        self.contexts = contexts
        self.policy = policy
        self.clients = Clients(clock)
        self.doors = Doors(queued)
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
        return None if self.committer.has_room() else _NO_ROOM
