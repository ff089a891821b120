"""Which orders there are, and which lanes go by them: the decisions of the supervisor about directives and sweeps, without I/O.

Every change of the book has a version, one more than the last. A lane that comes is told the whole book before it begins; a lane that is there is
told each change. What it is told it takes in order, so a lane that has answered a change goes by all before it; and what it was told before it was
told to begin, it knows when it begins. So ``lacking`` names the lanes that may start mail and are not known to go by a version:

    joined ──▶ (told the book; starts no mail) ──begins──▶ (may start mail: sure of what it was told) ──applied──▶ sure of more ──▶ left

A lane of an earlier program, which goes on without a bus, may start mail and is sure of nothing (``unguided``), until it has left.

A sweep is given to each lane that comes, as long as it is live. It is finished when each lane of the server has said that it has done it. Mail that
was between lanes meanwhile may have come to one that had done it already: so it is given to all lanes AGAIN a little later, and is live for LINGER;
it is shown for SHOWN. A lane that begins it anew does what is left: what it had done before is kept in mind.

A flush is given no more once it is finished: nothing of a message says that it has been flushed, so what has failed meanwhile would be tried again.
Nor is a rebind that a later one, about the same mail or all, has corrected: it would put mail back to where it was taken from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from penstock.mail.control import ControlRefused, Listing, SweepState
from penstock.mail.directive import Directive, Progress, Sweep, SweepAction
from penstock.mail.duration import Seconds, WallTime
from penstock.queueing.directives import Directives

#: Directives in force, and sweeps that are not finished.
DIRECTIVES_LIMIT: Final = 10_000
SWEEPS_LIMIT: Final = 1000
#: When a finished sweep is given once more, how long it is given to lanes that come, and how long it is shown; and how many that are finished are.
AGAIN: Final = Seconds(5.0)
LINGER: Final = Seconds(60.0)
SHOWN: Final = Seconds(3600.0)
FINISHED_SHOWN: Final = 100


class _Lane:
    """A lane's process. ``told``: the version of its last word; ``sure``: up to which it goes by all."""

    __slots__ = ("may_start", "sure", "told")

    def __init__(self, told: int, *, may_start: bool) -> None:
        self.told = told
        self.sure = -1
        self.may_start = may_start


class _Swept:
    """A sweep: what each lane has done of it with processes that are gone, and what it says now."""

    __slots__ = ("before", "finished", "is_again", "is_live", "lanes", "sweep")

    def __init__(self, state: SweepState) -> None:
        self.sweep = state.sweep
        self.before = dict(state.lanes)
        self.lanes: dict[str, Progress] = {}
        self.finished = state.finished
        #: given to lanes
        self.is_live = state.finished is None
        #: given once more
        self.is_again = False

    @property
    def linger(self) -> Seconds:
        """How long it is live after it is finished."""
        return Seconds(0.0) if self.sweep.order.action is SweepAction.FLUSH else LINGER

    def progress(self, lane: str) -> Progress:
        before, now = self.before.get(lane, Progress()), self.lanes.get(lane)
        if now is None:
            return before
        # what was matched and not done before is matched again
        return Progress(before.done + now.matched, before.done + now.done, now.is_over)

    def begins_anew(self, lane: str) -> None:
        """The lane's process is another one."""
        done = self.progress(lane)
        self.lanes.pop(lane, None)
        self.before[lane] = Progress(done.done, done.done)

    def state(self, lanes: Iterable[str]) -> SweepState:
        names = dict.fromkeys((*self.before, *lanes))
        return SweepState(self.sweep, {lane: self.progress(lane) for lane in names}, self.finished)


class Due(NamedTuple):
    """What time has brought: directives that are ``over``; sweeps to be given ``again``, that have ``ended`` for lanes, that are ``forgotten``."""

    over: list[Directive]
    again: list[Sweep]
    ended: list[str]
    forgotten: list[str]


class OrderBook:
    """See the module. ``lanes`` are those of the server; directives and sweeps are what was kept."""

    def __init__(
        self,
        lanes: Iterable[str],
        directives: Iterable[Directive] = (),
        sweeps: Iterable[SweepState] = (),
    ) -> None:
        self.version = 0
        self.directives = Directives()
        self._lanes = tuple(sorted(lanes))
        self._there: dict[str, _Lane] = {}
        self._sweeps: dict[str, _Swept] = {state.sweep.order.id: _Swept(state) for state in sweeps}
        for directive in directives:
            self.directives.add(directive)

    # -- what is in it

    def listing(self, now: WallTime) -> Listing:
        """All of it, for people."""
        directives = tuple(item for item in self.directives if item.expires > now)
        return Listing(now, directives, tuple(self.sweeps()))

    def sweeps(self) -> Iterator[SweepState]:
        """The sweeps that are shown."""
        return (swept.state(self._lanes) for swept in self._sweeps.values())

    def sweep(self, identity: str) -> SweepState | None:
        """How far a sweep is."""
        swept = self._sweeps.get(identity)
        return swept.state(self._lanes) if swept is not None else None

    def given(self) -> tuple[tuple[Directive, ...], tuple[Sweep, ...]]:
        """What a lane that comes is told."""
        sweeps = tuple(
            swept.sweep
            for swept in self._sweeps.values()
            if swept.is_live and not (swept.finished is not None and self._has_successor(swept.sweep))
        )
        return tuple(self.directives), sweeps

    # -- changes: check first, keep it, then make it, and tell the lanes that are there

    def check(self, directive: Directive | None, sweep: Sweep | None) -> None:
        """ControlRefused if these cannot be taken in as well."""
        if directive is not None and len(self.directives) >= DIRECTIVES_LIMIT:
            raise ControlRefused(
                f"{DIRECTIVES_LIMIT} directives are in force; cancel some with penstock directives cancel"
            )
        unfinished = sum(swept.finished is None for swept in self._sweeps.values())
        if sweep is not None and unfinished >= SWEEPS_LIMIT:
            raise ControlRefused(f"{SWEEPS_LIMIT} sweeps are not finished; wait, or cancel some")

    def give(self, directive: Directive | None, sweep: Sweep | None) -> str | None:
        """Take these in; the id of the directive that was replaced. Its sweep, if it was not finished, is covered by the new one's."""
        self._change()
        replaced = None
        if directive is not None:
            replaced = self.directives.add(directive)
            if replaced is not None:
                self._sweeps.pop(replaced.id, None)
        if sweep is not None:
            self._sweeps[sweep.order.id] = _Swept(SweepState(sweep, {}))
        return replaced.id if replaced is not None else None

    def has(self, identity: str) -> bool:
        """Whether there is anything of this id that can be cancelled."""
        swept = self._sweeps.get(identity)
        return self.directives.get(identity) is not None or (swept is not None and swept.finished is None)

    def cancel(self, identity: str) -> Directive | None:
        """Let the directive go, and the sweep, that have this id; the directive."""
        self._change()
        self._sweeps.pop(identity, None)
        return self.directives.remove(identity)

    def _change(self) -> None:
        self.version += 1
        for lane in self._there.values():
            lane.told = self.version

    # -- lanes

    def joined(self, lane: str) -> None:
        """A lane's process is there, and is told what is ``given``; it starts no mail yet."""
        self._there[lane] = _Lane(self.version, may_start=False)
        for swept in self._sweeps.values():
            if swept.is_live:
                swept.begins_anew(lane)

    def unguided(self, lane: str) -> None:
        """A lane's process is there, starts mail, and cannot be told anything."""
        self._there[lane] = _Lane(-1, may_start=True)

    def begins(self, lane: str) -> None:
        """A lane's process is told to begin."""
        there = self._there.get(lane)
        if there is not None and not there.may_start:
            there.may_start = True
            there.sure = there.told

    def applied(self, lane: str, version: int) -> None:
        """A lane's process has answered what it was told with this version."""
        there = self._there.get(lane)
        if there is not None:
            there.sure = max(there.sure, version)

    def left(self, lane: str) -> None:
        """A lane's process is gone."""
        self._there.pop(lane, None)

    def lacking(self, version: int) -> tuple[str, ...]:
        """The lanes that may start mail and may not go by this version."""
        return tuple(
            sorted(name for name, lane in self._there.items() if lane.may_start and lane.sure < version)
        )

    # -- sweeps

    def progressed(self, lane: str, progress: Mapping[str, Progress], now: WallTime) -> list[str]:
        """A lane tells how far it is; the ids of sweeps that are finished by that."""
        finished = []
        for identity, part in progress.items():
            swept = self._sweeps.get(identity)
            if swept is None or not swept.is_live or lane not in self._there:
                continue
            swept.lanes[lane] = part
            if swept.finished is None and all(swept.progress(name).is_over for name in self._lanes):
                swept.finished = now
                finished.append(identity)
        return finished

    # -- time

    def next_wake(self) -> WallTime | None:
        """When ``expire`` has something to do."""
        wakes = [
            WallTime(swept.finished + self._next_step(swept))
            for swept in self._sweeps.values()
            if swept.finished is not None
        ]
        expiry = self.directives.next_expiry()
        if expiry is not None:
            wakes.append(expiry)
        return min(wakes, default=None)

    def _next_step(self, swept: _Swept) -> Seconds:
        if not swept.is_live:
            return SHOWN
        return min(AGAIN, swept.linger) if len(self._lanes) > 1 and not swept.is_again else swept.linger

    def expire(self, now: WallTime) -> Due:
        """Do what time brings."""
        over = self.directives.expire(now)
        again: list[Sweep] = []
        ended: list[str] = []
        for identity, swept in self._sweeps.items():
            if swept.finished is None or not swept.is_live:
                continue
            if swept.finished + swept.linger <= now:
                swept.is_live = False
                ended.append(identity)
            elif swept.finished + self._next_step(swept) <= now:
                swept.is_again = True
                if self._has_successor(swept.sweep):
                    continue
                again.append(swept.sweep)
                for lane in self._there:
                    swept.begins_anew(lane)
        if over or ended or again:
            self._change()
        return Due(over, again, ended, self._forget(now))

    def _has_successor(self, sweep: Sweep) -> bool:
        """Whether a later rebind is about all mail that this one, a rebind, is about. Given once more, this one would undo what that one has done."""
        if sweep.order.action is not SweepAction.REBIND:
            return False
        sweeps = [swept.sweep for swept in self._sweeps.values()]
        return any(
            later.order.action is SweepAction.REBIND
            and (later.criteria.is_everything or later.criteria == sweep.criteria)
            for later in sweeps[sweeps.index(sweep) + 1 :]
        )

    def _forget(self, now: WallTime) -> list[str]:
        finished = [
            (swept.finished, identity)
            for identity, swept in self._sweeps.items()
            if swept.finished is not None and not swept.is_live
        ]
        finished.sort()
        count = max(0, len(finished) - FINISHED_SHOWN)
        forgotten = [
            identity
            for place, (when, identity) in enumerate(finished)
            if place < count or when + SHOWN <= now
        ]
        for identity in forgotten:
            del self._sweeps[identity]
        return forgotten


def kept(state: SweepState) -> SweepState:
    """A sweep as it is kept: what is matched and not done is matched again after a restart."""
    lanes = {lane: Progress(part.done, part.done, part.is_over) for lane, part in state.lanes.items()}
    return msgspec.structs.replace(state, lanes=lanes)
