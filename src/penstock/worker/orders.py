"""The orders that a lane goes by: it is told of them by the supervisor, knows them before its first delivery, and tells how far its sweeps are.

What it is told before its mail is there waits for that. Instants come as of the supervisor's wall clock, and are made this process's.

A sweep that cannot begin, for there are too many, waits until others are over. How far sweeps are is told twice a second while any is under way, and
not at all while none is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import msgspec

from penstock.ipc.order_words import (
    LaneDirectiveGive,
    LaneOrdersCancel,
    LaneOrdersUse,
    LaneSweepGive,
    SupervisorSweepsTell,
)
from penstock.mail.directive import Directive, Progress, Sweep
from penstock.mail.duration import WallTime
from penstock.mail.ports import Clock

LOG = logging.getLogger(__name__)

#: Seconds between two tellings of how far sweeps are.
TELLING: Final = 0.5


class Ordered(Protocol):
    """What takes orders: the lane's scheduler."""

    def direct(self, directive: Directive, now: WallTime) -> Directive | None:
        """Put a directive in force."""

    def cancel(self, identity: str, now: WallTime) -> Directive | None:
        """A directive is over."""

    def sweep(self, sweep: Sweep) -> None:
        """Begin a sweep, again if it is over; ValueError if too many are under way."""

    def cancel_sweep(self, identity: str) -> bool:
        """Stop a sweep."""

    @property
    def sweeps(self) -> Mapping[str, Progress]:
        """How far each is, by id."""


CallLater = Callable[[float, Callable[[], None]], object]


class LaneOrders:
    """See the module. ``tell`` tells the supervisor. Made on a running loop, or with ``call_later`` of something else."""

    def __init__(
        self, clock: Clock, tell: Callable[[msgspec.Struct], None], call_later: CallLater | None = None
    ) -> None:
        self._clock = clock
        self._tell = tell
        self._call_later = call_later or asyncio.get_running_loop().call_later
        self._directives: dict[str, Directive] = {}
        self._sweeps: dict[str, Sweep] = {}
        self._mail: Ordered | None = None
        self._work_done: Callable[[], None] = lambda: None
        #: what the supervisor knows of each sweep
        self._told: dict[str, Progress] = {}
        #: sweeps that wait for others
        self._waiting: dict[str, Sweep] = {}
        self._is_telling = False

    def begin(self, mail: Ordered, work_done: Callable[[], None]) -> None:
        """Here is the mail, of which nothing has begun yet; ``work_done`` is to be called when something was done to it."""
        self._mail, self._work_done = mail, work_done
        now = self._clock.wall()
        for directive in self._directives.values():
            if directive.expires > now:
                mail.direct(directive, now)
        for sweep in self._sweeps.values():
            self._begin(mail, sweep)
        self._directives.clear()
        work_done()

    # -- what it is told

    def use(self, word: LaneOrdersUse) -> None:
        """See LaneOrdersUse; told once, before the mail is there."""
        for directive in word.directives:
            self._directives[directive.id] = self._ours(directive, word.offset)
        for sweep in word.sweeps:
            self._sweeps[sweep.order.id] = self._our_sweep(sweep, word.offset)

    def give(self, word: LaneDirectiveGive) -> None:
        """See LaneDirectiveGive."""
        directive, mail = self._ours(word.directive, word.offset), self._mail
        if mail is None:
            self._replace(directive)
        elif directive.expires > self._clock.wall():
            mail.direct(directive, self._clock.wall())
        if word.sweep is not None:
            self._add(self._our_sweep(word.sweep, word.offset))
        self._work_done()

    def _replace(self, directive: Directive) -> None:
        """As it will be in the end: of two with the same criteria, the later one."""
        key = (directive.action, directive.criteria, directive.subject)
        for other in list(self._directives.values()):
            if (other.action, other.criteria, other.subject) == key:
                del self._directives[other.id]
        self._directives[directive.id] = directive

    def give_sweep(self, word: LaneSweepGive) -> None:
        """See LaneSweepGive."""
        self._add(self._our_sweep(word.sweep, word.offset))
        self._work_done()

    def cancel(self, word: LaneOrdersCancel) -> None:
        """See LaneOrdersCancel."""
        mail = self._mail
        for identity in word.directives:
            self._directives.pop(identity, None)
            if mail is not None:
                mail.cancel(identity, self._clock.wall())
        for identity in word.sweeps:
            self._sweeps.pop(identity, None)
            self._waiting.pop(identity, None)
            self._told.pop(identity, None)
            if mail is not None:
                mail.cancel_sweep(identity)
        self._work_done()

    def _add(self, sweep: Sweep) -> None:
        self._sweeps[sweep.order.id] = sweep
        if self._mail is not None:
            self._begin(self._mail, sweep)

    def _begin(self, mail: Ordered, sweep: Sweep) -> None:
        self._told.pop(sweep.order.id, None)
        try:
            mail.sweep(sweep)
        except ValueError as error:
            LOG.info("sweep %s waits: %s", sweep.order.id, error)
            self._waiting[sweep.order.id] = sweep
        self._tell_soon()

    # -- clocks

    def _ours(self, directive: Directive, offset: float) -> Directive:
        ahead = self._ahead(offset)
        return msgspec.structs.replace(
            directive,
            given=WallTime(directive.given + ahead),
            expires=WallTime(directive.expires + ahead),
        )

    def _our_sweep(self, sweep: Sweep, offset: float) -> Sweep:
        return msgspec.structs.replace(sweep, given=WallTime(sweep.given + self._ahead(offset)))

    def _ahead(self, offset: float) -> float:
        """How far this process's wall clock is ahead of the supervisor's."""
        return self._clock.wall() - self._clock.monotonic() - offset

    # -- how far it is

    def _tell_soon(self) -> None:
        if not self._is_telling:
            self._is_telling = True
            self._call_later(TELLING, self._tell_progress)

    def _tell_progress(self) -> None:
        self._is_telling = False
        mail = self._mail
        if mail is None:
            return
        for sweep in list(self._waiting.values()):
            del self._waiting[sweep.order.id]
            self._begin(mail, sweep)
            if sweep.order.id in self._waiting:
                break
        found = mail.sweeps
        known = {identity: found[identity] for identity in self._sweeps if identity in found}
        changed = {
            identity: progress for identity, progress in known.items() if self._told.get(identity) != progress
        }
        if changed:
            self._told |= changed
            self._tell(SupervisorSweepsTell(changed))
        if self._waiting or not all(progress.is_over for progress in known.values()):
            self._tell_soon()
