"""How all workers come to one epoch: a change is prepared by all, then kept on stable storage, then committed by all.

    propose ─▶ Prepare to each ─▶ all have prepared it ─▶ Keep ─▶ kept ─▶ Commit to each ─▶ all have committed it ─▶ Committed
                    │ a problem, or no answer in time                  │ no answer in time
                    └─▶ Refused; nothing has changed                   └─▶ Expel: it comes back, and joins in the epoch that is kept

What is kept decides: before, a change can be refused, and no worker has begun to go by it; after, it stands, and whoever does not follow is
expelled. A worker that joins, or comes back, in an older epoch is given the one that is kept by itself (Prepare, Commit). A worker that leaves
is waited for by nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from penstock.mail.duration import MonotonicTime, Seconds
from penstock.mail.problem import Problem

#: A policy may take ten seconds to load, and certificates have to be read.
PATIENCE: Final = Seconds(20.0)
#: One that has just been started has its program to load as well, on a machine that may be busy with as many others.
CATCHING_UP: Final = Seconds(60.0)


class Prepare(msgspec.Struct, frozen=True):
    """The worker is to read the epoch and say what is wrong with it."""

    worker: str
    number: int


class Keep(msgspec.Struct, frozen=True):
    """The epoch is to be put on stable storage as the one in force."""

    number: int


class Commit(msgspec.Struct, frozen=True):
    """The worker is to go by the epoch that it has prepared, from now on."""

    worker: str
    number: int


class Expel(msgspec.Struct, frozen=True):
    """The worker did not follow, and is to be ended."""

    worker: str
    reason: str


class Committed(msgspec.Struct, frozen=True):
    """The change is through: all workers go by it."""

    number: int


class Refused(msgspec.Struct, frozen=True):
    """The change was given up, and has changed nothing."""

    number: int
    problems: tuple[Problem, ...]


Effect = Prepare | Keep | Commit | Expel | Committed | Refused


class Agreement:
    """The epoch in force, and the change under way, if any. ``kept`` is the number of the first."""

    def __init__(self, kept: int) -> None:
        self.kept = kept
        #: the epoch that each worker goes by; 0 before its first
        self.workers: dict[str, int] = {}
        #: the number of the change under way; None if there is none
        self.proposed: int | None = None
        self._is_kept = True
        #: who has not prepared the change, or not committed it, yet; and who has prepared it
        self._missing: set[str] = set()
        self._prepared: set[str] = set()
        #: who is given the epoch that is kept by itself, and by when it must have it
        self._catching_up: dict[str, MonotonicTime] = {}
        #: of those, who was told to commit it, and may go by it already
        self._beginning: set[str] = set()
        self._deadline = MonotonicTime(0.0)

    # -- workers come and go

    def joined(self, worker: str, now: MonotonicTime, epoch: int = 0) -> list[Effect]:
        """A worker is there; it goes by ``epoch``, 0 by none yet."""
        self.workers[worker] = epoch
        if epoch == self.kept:
            return []
        self._catching_up[worker] = MonotonicTime(now + CATCHING_UP)
        return [Prepare(worker, self.kept)]

    def left(self, worker: str) -> list[Effect]:
        """A worker is gone."""
        self.workers.pop(worker, None)
        self._catching_up.pop(worker, None)
        self._beginning.discard(worker)
        self._prepared.discard(worker)
        return self._answered(worker)

    # -- a change

    def propose(self, number: int, now: MonotonicTime) -> list[Effect]:
        """Make this epoch, read whole and right by itself, the one in force. Only while no other change is under way."""
        if self.proposed is not None or number <= self.kept:
            raise ValueError(
                f"epoch {number} cannot be proposed: {self.kept} is kept, {self.proposed} under way"
            )
        self.proposed = number
        self._is_kept = False
        self._prepared.clear()
        self._deadline = MonotonicTime(now + PATIENCE)
        # one that catches up is not at work yet, and is given this one when it has the other
        self._missing = set(self.workers) - self._catching_up.keys()
        if not self._missing:
            return [Keep(number)]
        return [Prepare(worker, number) for worker in sorted(self._missing)]

    def prepared(self, worker: str, number: int, problems: Sequence[Problem]) -> list[Effect]:
        """A worker's answer to Prepare."""
        if worker in self._catching_up:
            if problems:
                return [Expel(worker, f"it cannot use epoch {number}: {problems[0]}")]
            if number < self.kept:
                # what was kept has changed meanwhile
                return [Prepare(worker, self.kept)]
            self._beginning.add(worker)
            return [Commit(worker, number)]
        if number != self.proposed or self._is_kept or worker not in self._missing:
            return []
        if problems:
            return self._refuse(problems)
        self._prepared.add(worker)
        return self._answered(worker)

    def kept_it(self, now: MonotonicTime) -> list[Effect]:
        """The answer to Keep: it is on stable storage."""
        assert self.proposed is not None  # noqa: S101  # only a change is kept
        self._is_kept = True
        self.kept = number = self.proposed
        self._deadline = MonotonicTime(now + PATIENCE)
        self._missing = {
            worker for worker, epoch in self.workers.items() if epoch or worker in self._beginning
        }
        effects: list[Effect] = []
        for worker in sorted(self._missing - self._catching_up.keys()):
            if worker in self._prepared:
                effects.append(Commit(worker, number))
            else:
                # it has joined after the change was proposed
                self._catching_up[worker] = self._deadline
                effects.append(Prepare(worker, number))
        return effects if self._missing else self._over()

    def not_kept(self, problem: Problem) -> list[Effect]:
        """The answer to Keep: it cannot be stored."""
        return self._refuse([problem])

    def committed(self, worker: str, number: int, now: MonotonicTime) -> list[Effect]:
        """A worker's answer to Commit."""
        if worker not in self.workers:
            return []
        self.workers[worker] = number
        self._beginning.discard(worker)
        if worker in self._catching_up:
            if number < self.kept:
                self._catching_up[worker] = MonotonicTime(now + CATCHING_UP)
                return [Prepare(worker, self.kept)]
            del self._catching_up[worker]
        return self._answered(worker) if number == self.proposed else []

    def due(self, now: MonotonicTime) -> list[Effect]:
        """What is to be done because somebody has not answered in time."""
        effects: list[Effect] = [
            Expel(worker, f"it has not taken epoch {self.kept} within {CATCHING_UP:g} s")
            for worker, deadline in self._catching_up.items()
            if now >= deadline
        ]
        if self.proposed is None or now < self._deadline or not self._missing:
            return effects
        late = sorted(self._missing - self._catching_up.keys())
        if self._is_kept:
            self._deadline = MonotonicTime(now + PATIENCE)
            return effects + [
                Expel(worker, f"it has not gone over to epoch {self.proposed} within {PATIENCE:g} s")
                for worker in late
            ]
        what = f"lane {', '.join(late)} did not say within {PATIENCE:g} s whether it can go by it"
        return effects + self._refuse([Problem("", "", what, "try again, or restart that worker")])

    def _answered(self, worker: str) -> list[Effect]:
        """Nothing is to be awaited of a worker any more."""
        if worker not in self._missing:
            return []
        self._missing.remove(worker)
        if self._missing or self.proposed is None:
            return []
        return self._over() if self._is_kept else [Keep(self.proposed)]

    def _over(self) -> list[Effect]:
        number, self.proposed = self.proposed, None
        assert number is not None  # noqa: S101  # a change is under way
        return [Committed(number)]

    def _refuse(self, problems: Sequence[Problem]) -> list[Effect]:
        number, self.proposed = self.proposed, None
        assert number is not None  # noqa: S101  # a change is under way
        self._missing.clear()
        self._is_kept = True
        return [Refused(number, tuple(problems))]
