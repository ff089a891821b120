"""What people, and automation, ask of queued mail: the scheduler's face towards them.

Directives and sweeps hold from when they are given; what concerns many queues or messages is done as ``tick`` comes to it.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from penstock.mail.directive import Action, Criteria, Directive, Order, Progress, Sweep
from penstock.mail.duration import WallTime
from penstock.mail.reason import Reason
from penstock.mail.survey import GROUPS_SHOWN, Grouping
from penstock.queueing.backlog import TURN, Backlog
from penstock.queueing.directives import Directives
from penstock.queueing.explaining import Explaining
from penstock.queueing.finding import Finding
from penstock.queueing.instants import instant_of, time_of
from penstock.queueing.places import Places
from penstock.queueing.queues import ScheduledQueue
from penstock.queueing.surveys import Surveying
from penstock.queueing.sweeping import Sweeping
from penstock.queueing.turnstile import Turnstile


class Orders:
    """See the module."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._turnstile = Turnstile(places)
        self._backlog = Backlog(places, self._turnstile)
        self._sweeping = Sweeping(places)
        self._explaining = Explaining(places)

    # -- counting, and asking why

    def survey(self, criteria: Criteria, by: Grouping | None = None, limit: int = GROUPS_SHOWN) -> Surveying:
        """Begin to count the mail of all queues that match, with the ``limit`` largest groups; None: the total alone."""
        places = self._places
        return Surveying(places.postings.walk(criteria), places.rows, places.supply, by, limit)

    def find(self, position: int) -> Finding:
        """Begin to look for the message that is stored at ``position``."""
        return Finding(self._places.rows, position)

    def explain_queue(self, queue: ScheduledQueue, now: WallTime) -> tuple[Reason, ...]:
        """What every gate says of a queue, in their order, whether it holds mail or not."""
        return self._explaining.of_queue(queue, instant_of(now))

    def explain_row(self, row: int, now: WallTime) -> tuple[Reason, ...]:
        """What every gate says of a queued message, in their order."""
        return self._explaining.of_row(row, instant_of(now))

    # -- directives

    @property
    def directives(self) -> Directives:
        """Those in force; changed by ``direct`` and ``cancel`` alone."""
        return self._places.gates.directives

    def direct(self, directive: Directive, now: WallTime) -> Directive | None:
        """Put a directive in force, until it expires: from now on no message that it holds begins. The one whose place it takes, if there is one.

        ValueError for an id that is in force.
        """
        gates = self._places.gates
        # so that it ends neither before nor after the instant at which its end is looked at
        directive = msgspec.structs.replace(directive, expires=time_of(instant_of(directive.expires)))
        replaced = self.directives.add(directive)
        gates.generation += 1
        # what is pulled before ``tick`` comes to it is looked at then
        if directive.action in (Action.SUSPEND, Action.BOUNCE):
            self._backlog.review(directive.criteria)
        else:
            self._backlog.look_at(list(self._places.paths.values()), instant_of(now), TURN)
        if replaced is not None:
            gates.lift(replaced)
        return replaced

    def cancel(self, identity: str, now: WallTime) -> Directive | None:
        """A directive is over: what it held goes on, all of it at once, as ``tick`` comes to it. None if there is none with this id."""
        directive = self.directives.remove(identity)
        if directive is not None:
            self.over(directive, instant_of(now))
        return directive

    def over(self, directive: Directive, now: int) -> None:
        """One is over, and in force no more."""
        self._places.gates.lift(directive)
        if directive.action in (Action.SUSPEND_PATH, Action.SUSPEND_SOURCE):
            self._backlog.look_at(list(self._places.paths.values()), now, TURN)

    # -- sweeps

    @property
    def sweeps(self) -> Mapping[str, Progress]:
        """How far each sweep is, by its id, and each order about one message: those under way, and the last ones that are over."""
        return self._sweeping.progress

    def sweep(self, sweep: Sweep) -> None:
        """Begin to do something to all mail that matches and was accepted up to ``sweep.given``: ``tick`` goes on with it.

        What is in flight gets it when it comes back; mail that comes in, if it was accepted by then, while the sweep is under way. One that is under
        way goes on as it is, whoever gives it again. ValueError if too many are.
        """
        self._sweeping.begin(sweep)

    def order(self, row: int, order: Order) -> None:
        """Begin to do something to one message; it is told of in ``sweeps``. ValueError if too much is under way."""
        self._sweeping.begin_one(row, order)

    def cancel_sweep(self, identity: str) -> bool:
        """Have a sweep do nothing more; it is over when what it has taken is recorded. False if none of this id is under way."""
        return self._sweeping.cancel(identity)

    def filling_began(self) -> None:
        """Mail from before the start is being added: what sweeps are about may still come, and none is over before ``filled``."""
        self._sweeping.is_filling = True

    def filled(self) -> None:
        """All of it is here."""
        self._sweeping.filled()
