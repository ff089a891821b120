"""Which directives are in force, and which of them holds a queue, a path or a source.

There is a table for each shape of criteria that is in use (tenant alone, tenant and domain, ...), keyed by what is given. So a queue is looked up
once for each shape, at most sixteen times however many directives there are, and nobody walks queues when one is given. A directive with the same
criteria as another takes its place. One that has expired holds nothing, whether it was removed yet or not.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Final

from penstock.mail.directive import Action, Criteria, Directive, values_of
from penstock.mail.duration import WallTime
from penstock.mail.queue_name import QueueName

#: Of criteria, the places of what is given.
_Shape = tuple[int, ...]
_Key = tuple[str, ...]
_OF_QUEUES: Final = frozenset({Action.SUSPEND, Action.BOUNCE})
#: Dead entries that are not worth clearing.
_GRACE: Final = 64


class _Table:
    """The directives of one action about queues."""

    __slots__ = ("named", "shapes")

    def __init__(self) -> None:
        self.shapes: dict[_Shape, dict[_Key, Directive]] = {}
        self.named: dict[QueueName, list[Directive]] = {}

    def same(self, criteria: Criteria) -> Directive | None:
        """The directive with these criteria."""
        if criteria.queue_names:
            first = next(iter(criteria.queue_names))
            return next((item for item in self.named.get(first, ()) if item.criteria == criteria), None)
        shape, key = _shape(criteria)
        return self.shapes.get(shape, {}).get(key)

    def add(self, directive: Directive) -> None:
        criteria = directive.criteria
        for name in criteria.queue_names:
            self.named.setdefault(name, []).append(directive)
        if not criteria.queue_names:
            shape, key = _shape(criteria)
            self.shapes.setdefault(shape, {})[key] = directive

    def remove(self, directive: Directive) -> None:
        criteria = directive.criteria
        for name in criteria.queue_names:
            self.named[name].remove(directive)
            if not self.named[name]:
                del self.named[name]
        if not criteria.queue_names:
            shape, key = _shape(criteria)
            del self.shapes[shape][key]
            if not self.shapes[shape]:
                del self.shapes[shape]

    def find(self, name: QueueName, now: WallTime) -> Directive | None:  # hot: micro_queueing
        """Of those that match, the one that lasts longest."""
        found: Directive | None = None
        if self.shapes:
            values = values_of(name)
            for shape, table in self.shapes.items():
                directive = table.get(tuple([values[place] for place in shape]))
                if directive is not None and (found is None or directive.expires > found.expires):
                    found = directive
        for directive in self.named.get(name, ()) if self.named else ():
            if found is None or directive.expires > found.expires:
                found = directive
        return found if found is not None and found.expires > now else None


def _shape(criteria: Criteria) -> tuple[_Shape, _Key]:
    given = [(place, value) for place, value in enumerate(criteria.values()) if value is not None]
    return tuple([place for place, _ in given]), tuple([value for _, value in given])


class Directives:
    """See the module."""

    __slots__ = ("_by_id", "_expiries", "_subjects", "_tables")

    def __init__(self) -> None:
        self._by_id: dict[str, Directive] = {}
        self._tables = {action: _Table() for action in _OF_QUEUES}
        self._subjects: dict[tuple[Action, str], Directive] = {}
        #: a heap; one that was removed or replaced meanwhile is passed over, and all of those go when they are more than the rest
        self._expiries: list[tuple[WallTime, str]] = []

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Directive]:
        """All of them, oldest first."""
        return iter(self._by_id.values())

    def get(self, identity: str) -> Directive | None:
        """The one with this id."""
        return self._by_id.get(identity)

    def add(self, directive: Directive) -> Directive | None:
        """Put one in force; the one with the same criteria whose place it takes, if there is one. ValueError for an id that is in force."""
        if directive.id in self._by_id:
            raise ValueError(f"the directive {directive.id} is in force already")
        replaced = self.same(directive)
        if replaced is not None:
            self.remove(replaced.id)
        self._by_id[directive.id] = directive
        if len(self._expiries) > 2 * len(self._by_id) + _GRACE:
            self._expiries = [entry for entry in self._expiries if self._is_due(*entry)]
            heapq.heapify(self._expiries)
        heapq.heappush(self._expiries, (directive.expires, directive.id))
        if directive.action in _OF_QUEUES:
            self._tables[directive.action].add(directive)
        else:
            self._subjects[directive.action, directive.subject] = directive
        return replaced

    def same(self, directive: Directive) -> Directive | None:
        """The one whose place this one would take."""
        if directive.action in _OF_QUEUES:
            return self._tables[directive.action].same(directive.criteria)
        return self._subjects.get((directive.action, directive.subject))

    def remove(self, identity: str) -> Directive | None:
        """Cancel one; None if there is none with this id."""
        directive = self._by_id.pop(identity, None)
        if directive is None:
            return None
        if directive.action in _OF_QUEUES:
            self._tables[directive.action].remove(directive)
        else:
            del self._subjects[directive.action, directive.subject]
        return directive

    # -- what holds something

    def of_queue(
        self, action: Action, name: QueueName, now: WallTime
    ) -> Directive | None:  # hot: micro_queueing
        """The directive of this action, SUSPEND or BOUNCE, that a queue is under; of several, the one that lasts longest."""
        return self._tables[action].find(name, now)

    def of_subject(
        self, action: Action, subject: str, now: WallTime
    ) -> Directive | None:  # hot: micro_queueing
        """The directive that a path or a source is under."""
        directive = self._subjects.get((action, subject))
        return directive if directive is not None and directive.expires > now else None

    # -- time

    def next_expiry(self) -> WallTime | None:
        """When ``expire`` has something to do."""
        while self._expiries and not self._is_due(*self._expiries[0]):
            heapq.heappop(self._expiries)
        return self._expiries[0][0] if self._expiries else None

    def expire(self, now: WallTime) -> list[Directive]:
        """Remove what is over."""
        over: list[Directive] = []
        while self._expiries and self._expiries[0][0] <= now:
            expires, identity = heapq.heappop(self._expiries)
            if self._is_due(expires, identity) and (directive := self.remove(identity)) is not None:
                over.append(directive)
        return over

    def _is_due(self, expires: WallTime, identity: str) -> bool:
        directive = self._by_id.get(identity)
        return directive is not None and directive.expires == expires
