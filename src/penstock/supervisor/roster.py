"""Which child processes there are to be, and what is to be done about each: start it, let it drain, kill it.

A state machine that is told what happened and asked, with ``due``, what to do. For each child:

    ABSENT ──Start──▶ STARTING ──ready──▶ READY ──Drain──▶ ENDING
       ▲                 │                  │                │
       └──────────────ended, however it came to it───────────┘

- One that dies at work is started again at once. One that dies before it was ready would most likely do so again: each such death in a row
  doubles the wait, up to half a minute.
- One that has not been heard of for ``SILENCE`` is killed: its loop stands still, and so does its mail. Time in which the supervisor itself
  did not look (a machine that was suspended) counts for nobody.
- Replacing takes one child after the other, and goes on only while all others are ready: a program that cannot start costs one child.
- Once stopped, nothing is started any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final

import msgspec

from penstock.mail.duration import MonotonicTime, Seconds

#: A loop that has not ticked for so long is dead.
SILENCE: Final = Seconds(10.0)
#: Until its first tick a child imports the program and reads its configuration, which a slow disk may make long.
SLOWEST_START: Final = Seconds(60.0)
#: How often ``due`` is to be asked at least.
LOOK_EVERY: Final = Seconds(1.0)
#: The wait after the first, and after many deaths before it was ready.
FIRST_WAIT: Final = Seconds(0.1)
LONGEST_WAIT: Final = Seconds(30.0)
#: What a child may take beyond its grace, to store its last outcomes.
MARGIN: Final = Seconds(8.0)


class Phase(Enum):
    """Where a child is."""

    ABSENT = "not running"
    STARTING = "starting"
    READY = "ready"
    ENDING = "ending"


class Start(msgspec.Struct, frozen=True):
    """Start the child. It counts as started from here on: say ``ended`` if that fails."""

    name: str


class Drain(msgspec.Struct, frozen=True):
    """Tell the child to end, with so many seconds for what is under way."""

    name: str
    grace: Seconds


class Kill(msgspec.Struct, frozen=True):
    """Kill the child, which is told to nobody but the log."""

    name: str
    reason: str


Effect = Start | Drain | Kill


class Child:
    """One child process that is to be there."""

    __slots__ = (
        "deadline",
        "failures",
        "heard",
        "is_mute",
        "is_outdated",
        "is_ticking",
        "name",
        "phase",
        "start_at",
        "starts",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.phase = Phase.ABSENT
        #: how often it was started
        self.starts = 0
        #: deaths in a row before it was ready
        self.failures = 0
        #: when it is started, while it is absent
        self.start_at = MonotonicTime(0.0)
        #: when it was heard of last, or started
        self.heard = MonotonicTime(0.0)
        self.is_ticking = False
        #: when it has to be gone, once it is told to end, or was killed
        self.deadline: MonotonicTime | None = None
        #: whether it runs what is to be replaced
        self.is_outdated = False
        #: whether it does not tick, for it is of an earlier program and nobody hears it
        self.is_mute = False


class Roster:
    """The children by name."""

    def __init__(self, names: Iterable[str], now: MonotonicTime) -> None:
        self.children = {name: Child(name) for name in names}
        self.is_stopping = False
        self._looked = now
        self._grace = Seconds(0.0)
        for child in self.children.values():
            child.start_at = now

    # -- what happened

    def heard(self, name: str, now: MonotonicTime) -> None:
        """The child's loop has ticked."""
        child = self.children[name]
        child.heard = now
        child.is_ticking = True

    def ready(self, name: str, now: MonotonicTime) -> None:
        """The child is at work."""
        self.heard(name, now)
        child = self.children[name]
        if child.phase is Phase.STARTING:
            child.phase = Phase.READY
            child.failures = 0

    def ended(self, name: str, now: MonotonicTime) -> None:
        """The child is gone."""
        child = self.children[name]
        if child.phase is Phase.STARTING:
            child.failures += 1
            wait = min(FIRST_WAIT * 2 ** min(child.failures - 1, 16), LONGEST_WAIT)
            child.start_at = MonotonicTime(now + wait)
        else:
            child.start_at = now
        child.phase = Phase.ABSENT
        child.deadline = None

    def adopted(self, name: str, grace: Seconds) -> None:
        """The child is there and at work: an earlier program started it. It is to be replaced, with ``grace`` for what it has under way."""
        child = self.children[name]
        child.phase = Phase.READY
        child.is_mute = child.is_outdated = True
        child.starts = 1
        self._grace = grace

    def ends(self, name: str, now: MonotonicTime, grace: Seconds) -> None:
        """The child ends by itself: somebody else has told it to."""
        child = self.children[name]
        if child.phase in (Phase.STARTING, Phase.READY):
            child.phase = Phase.ENDING
            child.deadline = MonotonicTime(now + grace + MARGIN)

    # -- what is wanted

    def replace(self, grace: Seconds) -> None:
        """Every child that runs is to be replaced by a new one, with ``grace`` for what it has under way."""
        self._grace = grace
        for child in self.children.values():
            child.is_outdated = child.phase in (Phase.STARTING, Phase.READY)

    def stop(self, now: MonotonicTime, grace: Seconds) -> list[Effect]:
        """No child is to be there any more; what it has under way has ``grace`` seconds from now."""
        self.is_stopping = True
        there = (child for child in self.children.values() if child.phase is not Phase.ABSENT)
        return [self._drain(child, now, grace) for child in there]

    @property
    def is_over(self) -> bool:
        """Whether it is stopping and no child is left."""
        return self.is_stopping and all(child.phase is Phase.ABSENT for child in self.children.values())

    @property
    def are_all_ready(self) -> bool:
        """Whether every child is at work."""
        return all(child.phase is Phase.READY for child in self.children.values())

    # -- what to do

    def due(self, now: MonotonicTime) -> list[Effect]:
        """What is to be done now. To be asked after each event, and ``LOOK_EVERY`` at least."""
        unseen = now - self._looked - LOOK_EVERY
        self._looked = now
        effects: list[Effect] = []
        for child in self.children.values():
            if unseen > LOOK_EVERY:
                child.heard = MonotonicTime(min(now, child.heard + unseen))
            if child.phase is Phase.ABSENT:
                if not self.is_stopping and now >= child.start_at:
                    effects.append(self._start(child, now))
            elif child.deadline is not None and now >= child.deadline:
                effects.append(self._kill(child, now, "it was told to end, and has not"))
            elif (
                child.deadline is None
                and not child.is_mute
                and now - child.heard >= (SILENCE if child.is_ticking else SLOWEST_START)
            ):
                what = (
                    "its loop has not ticked" if child.is_ticking else "it has said nothing since its start"
                )
                effects.append(self._kill(child, now, f"{what} for {now - child.heard:.0f} s"))
        if not self.is_stopping and self.are_all_ready:
            outdated = next((child for child in self.children.values() if child.is_outdated), None)
            if outdated is not None:
                effects.append(self._drain(outdated, now, self._grace))
        return effects

    def next_wake(self) -> MonotonicTime:
        """When ``due`` is to be asked at the latest."""
        wake = MonotonicTime(self._looked + LOOK_EVERY)
        if not self.is_stopping:
            absent = (child.start_at for child in self.children.values() if child.phase is Phase.ABSENT)
            wake = min(wake, min(absent, default=wake))
        return wake

    def _start(self, child: Child, now: MonotonicTime) -> Effect:
        child.phase = Phase.STARTING
        child.heard = now
        child.is_ticking = child.is_outdated = child.is_mute = False
        child.starts += 1
        return Start(child.name)

    @staticmethod
    def _drain(child: Child, now: MonotonicTime, grace: Seconds) -> Effect:
        child.phase = Phase.ENDING
        child.is_outdated = False
        child.deadline = MonotonicTime(now + grace + MARGIN)
        return Drain(child.name, grace)

    @staticmethod
    def _kill(child: Child, now: MonotonicTime, reason: str) -> Effect:
        # one that stays nevertheless waits for a disk, and is told of again
        child.deadline = MonotonicTime(now + SILENCE)
        return Kill(child.name, reason)
