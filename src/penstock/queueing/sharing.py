"""Who is next on a path: a deficit round robin over tenants, by their weights, and inside a tenant a round robin over its queues.

M. Shreedhar and G. Varghese, "Efficient Fair Queuing Using Deficit Round Robin" (1995), with one difference: a message is charged when it is
taken, and may leave its tenant in debt, which the next rounds pay back. So nobody has to know before what a message costs; a tenant gets at
most one message more than its share, and as much less later.

A tenant gets credit when its turn comes, ``quantum`` of the path's cost unit (messages, recipients or octets) for each unit of its weight, and
has the turn until that is used up. One without mail stands in no round and gets none: what it does not use is the others', at once, and cannot be
saved up. Its debt stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final, Generic, TypeVar

from penstock.queueing.rounds import Round, Standing

#: Tenants without mail whose debt is remembered. Of more, those are forgiven that were forgotten first: what each owes is a message.
_DEBTORS: Final = 1000


class Sharer(Standing):
    """A queue: it stands in its tenant's round while it has mail that may go. ``tenant`` None is a tenant like any other."""

    __slots__ = ()

    @property
    def tenant(self) -> str | None:
        """Whose mail it is."""
        raise NotImplementedError


Q = TypeVar("Q", bound=Sharer)


class Share(Standing, Generic[Q]):
    """A tenant's part of a path. ``credit`` is what it may still use in this turn; below 0, what it owes."""

    __slots__ = ("credit", "has_turn", "queues", "tenant", "weight")

    def __init__(self, tenant: str | None, weight: float) -> None:
        super().__init__()
        self.tenant = tenant
        self.weight = weight
        self.credit = 0.0
        #: it was given the credit of this turn
        self.has_turn = False
        self.queues: Round[Q] = Round()


class Sharing(Generic[Q]):
    """The tenants of a path. ``weight_of`` is above 0, and asked when a tenant's first queue enters; ``quantum`` is in units of cost."""

    __slots__ = ("_debts", "_round", "_shares", "_weight_of", "quantum")

    def __init__(self, weight_of: Callable[[str | None], float], quantum: float = 1.0) -> None:
        self._weight_of = weight_of
        self.quantum = quantum
        #: those with mail, by tenant
        self._shares: dict[str | None, Share[Q]] = {}
        self._round: Round[Share[Q]] = Round()
        #: what tenants without mail owe
        self._debts: dict[str | None, float] = {}

    def __bool__(self) -> bool:
        return bool(self._round)

    def __iter__(self) -> Iterator[Share[Q]]:
        """The tenants with mail, the one whose turn it is first."""
        return iter(self._round)

    def enter(self, queue: Q) -> None:  # hot: micro_queueing
        """A queue has mail that may go."""
        tenant = queue.tenant
        share = self._shares.get(tenant)
        if share is None:
            share = self._shares[tenant] = Share(tenant, self._weight_of(tenant))
            share.credit = -self._debts.pop(tenant, 0.0)
            self._round.add(share)
        share.queues.add(queue)

    def leave(self, queue: Q) -> None:  # hot: micro_queueing
        """A queue has none any more, or none that may go."""
        share = self._shares[queue.tenant]
        share.queues.remove(queue)
        if not share.queues:
            del self._shares[queue.tenant]
            self._round.remove(share)
            if share.credit < 0:
                self._owe(queue.tenant, -share.credit)

    def next(self) -> Q | None:  # hot: micro_queueing
        """The queue whose turn it is: of the tenant whose turn it is, the one that has waited longest. None if nobody has mail."""
        share = self._round.first
        if share is None:
            return None
        if not (share.has_turn and share.credit > 0):
            share = self._next_share(share)
        return share.queues.first

    def _next_share(self, share: Share[Q]) -> Share[Q]:
        """The first tenant from ``share`` on that has credit once its turn has come."""
        begin = None
        while True:
            if not share.has_turn:
                share.has_turn = True
                share.credit += self.quantum * share.weight
            if share.credit > 0:
                return share
            share.has_turn = False
            self._round.advance()
            if share is begin:
                # all are in debt for more than a round: none of the rounds that only pay it back need be gone through
                self._pay_back()
                begin = None
            elif begin is None:
                begin = share
            following = self._round.first
            assert following is not None  # noqa: S101  # nobody has left
            share = following

    def _pay_back(self) -> None:
        """As many rounds as nobody comes out of debt in."""
        rounds = min(math.ceil(-share.credit / (self.quantum * share.weight)) for share in self._round)
        if rounds > 1:
            for share in self._round:
                share.credit += (rounds - 1) * self.quantum * share.weight

    def charge(self, queue: Q, cost: float) -> None:  # hot: micro_queueing
        """A message of a queue was taken: its tenant pays, and another of its queues has the next turn. The queue stands here."""
        share = self._shares[queue.tenant]
        share.credit -= cost
        if share.queues.first is queue:
            share.queues.advance()

    def refund(self, tenant: str | None, cost: float) -> None:
        """A message that was charged has come back unused."""
        share = self._shares.get(tenant)
        if share is not None:
            share.credit += cost
        elif tenant in self._debts:
            self._debts[tenant] = max(0.0, self._debts[tenant] - cost)

    def yield_turn(self, tenant: str | None) -> None:
        """It is the next tenant's turn, if it is this one's; what is left of it comes later."""
        share = self._round.first
        if share is not None and share.tenant == tenant:
            self._round.advance()

    def charge_more(self, tenant: str | None, cost: float) -> None:
        """A message that was taken costs so much more than was thought."""
        share = self._shares.get(tenant)
        if share is not None:
            share.credit -= cost
        else:
            self._owe(tenant, self._debts.get(tenant, 0.0) + cost)

    def _owe(self, tenant: str | None, debt: float) -> None:
        self._debts[tenant] = debt
        if len(self._debts) > _DEBTORS:
            del self._debts[next(iter(self._debts))]

    def count_in(self, quantum: float) -> None:
        """Costs are in other units from now on; what was owed in the old ones is forgiven."""
        if quantum != self.quantum:
            self.quantum = quantum
            self._debts.clear()
            for share in self._round:
                share.credit = 0.0
                share.has_turn = False

    def reweigh(self) -> None:
        """Weights may have changed: they are asked for again."""
        for tenant, share in self._shares.items():
            share.weight = self._weight_of(tenant)
