"""The event log held against the journals: no event is missing, none is of what did not happen, and repetitions have the same id."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.event_files import EventFiles
from benchmarks.kills.journal import Fate, Journal
from benchmarks.kills.letters import Letter

OF_MESSAGES: Final = ("Reception", "Delivery", "Bounce")


Event = dict[str, Any]


class EventReader:
    """Reads the events of a folder as they come, whole lines only; the torn last line of a file is passed over once there is a newer file."""

    def __init__(self, folder: Path) -> None:
        self._files = EventFiles(folder)

    def read(self) -> Iterator[Event]:
        """The events since the last call, oldest first. ValueError for a line that is no JSON."""
        yield from map(json.loads, self._files.lines())


def recipients_of(event: Event) -> list[str]:
    """The recipients that an event names."""
    recipient = event["recipient"]
    return recipient if isinstance(recipient, list) else [recipient]


def delivered(events: Iterable[Event]) -> Iterator[str]:
    """The recipients that events say were delivered."""
    for event in events:
        if event["type"] == "Delivery":
            yield from recipients_of(event)


class Accounts:
    """What the events said, by recipient: the ids of each type's events."""

    def __init__(self) -> None:
        self._ids: dict[str, dict[str, set[str]]] = {kind: {} for kind in OF_MESSAGES}
        self._tenants: dict[str, str | None] = {}

    def add(self, events: Iterable[Event]) -> None:
        """Note events; repetitions too."""
        for event in events:
            ids = self._ids.get(event["type"])
            if ids is None:
                continue
            for recipient in recipients_of(event):
                ids.setdefault(recipient, set()).add(event["event_id"])
                self._tenants[recipient] = event["tenant"]

    def faults(self, journal: Journal) -> list[str]:
        """What is missing and what contradicts the journals, once all mail is settled and its events are written."""
        letters = journal.letters
        strangers = set(self._tenants) - letters.keys()
        found = [f"{recipient}: an event about what nobody sent" for recipient in sorted(strangers)]
        for recipient, (letter, fate, _) in letters.items():
            found += [f"{recipient}: {fault}" for fault in self._faults_of(recipient, letter, fate, journal)]
        return found

    def _faults_of(self, recipient: str, letter: Letter, fate: Fate, journal: Journal) -> Iterator[str]:
        receptions, deliveries, bounces = (len(self._ids[kind].get(recipient, ())) for kind in OF_MESSAGES)
        if fate is Fate.REFUSED:
            if receptions + deliveries + bounces:
                yield "refused, and yet there are events of it"
            return
        was_there = fate is Fate.ACCEPTED or receptions > 0 or journal.has_copy(recipient)
        if receptions != was_there:
            yield f"{receptions} receptions"
        if deliveries + bounces != was_there:
            yield f"{deliveries} deliveries and {bounces} bounces"
        if deliveries and not journal.has_copy(recipient):
            yield "an event says delivered, and the sink knows nothing of it"
        if bounces and not journal.is_turned_away(recipient):
            yield "an event says bounced, and the sink did not refuse it"
        if receptions and self._tenants[recipient] != letter.tenant:
            yield f"of tenant {letter.tenant}, and the events say {self._tenants[recipient]}"
