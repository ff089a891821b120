"""The judge: holds what a client was told against what arrived, and both against the server's events.

Of every message that was accepted, each recipient must have arrived, or be given up with an event (LOSS otherwise). Nobody gets what was refused,
or was never sent (GHOST). What arrives is what was sent, octet by octet (MUTATED). A message whose client got no answer is there as a
whole or not at all (HALF). Who gets it twice was in flight when the server was cut off: the first one came shortly before the cut, the
next after it (DOUBLE otherwise).
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from benchmarks.disks.letters import number_of
from benchmarks.journals import Arrived, Sent

#: How long before a cut the outcome of a delivery may not have been on disk yet, at most: it is synced with the next message, or within
#: 50 ms by itself (docs/decisions/0012), on a disk and with a processor that others use too.
WINDOW_SECONDS: Final = 1.0
#: Events after which a recipient waits no more.
GIVEN_UP: Final = ("Bounce", "Expiration")
TERMINAL: Final = ("Delivery", *GIVEN_UP)


class Cut(NamedTuple):
    """When a server was cut off from its disk, and when it was started again (monotonic times)."""

    at: float
    over: float


class Findings(NamedTuple):
    """What the journals say. Numbers are of recipients but for ``messages``, accepted ones, and ``unknown``, those without an answer.

    The lists are faults, in words. ``repeated`` are second deliveries that a cut explains, ``reach`` is how long before a cut the first of
    such two came, at most.
    """

    messages: int
    unknown: int
    refusals: int
    accepted: int
    delivered: int
    given_up: int
    repeated: int
    reach: float
    lost: list[str]
    ghosts: list[str]
    mutated: list[str]
    halves: list[str]
    doubles: list[str]

    @property
    def faults(self) -> list[str]:
        """All of them."""
        return [*self.lost, *self.ghosts, *self.mutated, *self.halves, *self.doubles]

    def figures(self) -> str:
        """For people."""
        return (
            f"{self.messages:,} messages accepted, {self.unknown:,} without an answer, {self.refusals:,} refused; "
            f"{self.accepted:,} recipients: {self.delivered:,} delivered, {self.given_up:,} bounced; "
            f"LOSS {len(self.lost)}, GHOST {len(self.ghosts)}, MUTATED {len(self.mutated)}, HALF {len(self.halves)}, "
            f"DOUBLE {len(self.doubles)}; {self.repeated} delivered again after a cut"
            + (f", first {self.reach * 1000:.0f} ms before it at most" if self.repeated else "")
        )


def judge(
    sent: Iterable[Sent], arrived: Iterable[Arrived], given_up: Collection[str], cuts: Sequence[Cut] = ()
) -> Findings:
    """Hold the journals of a trial in which nothing is queued any more against each other.

    ``given_up`` are recipients with an event of GIVEN_UP.
    """
    by_number = {entry.number: entry for entry in sent}
    times: dict[str, list[float]] = defaultdict(list)
    mutated: list[str] = []
    for arrival in arrived:
        for recipient in arrival.recipients:
            times[recipient].append(arrival.at)
            source = _source_of(recipient, by_number)
            if source is not None and source.digest != arrival.digest:
                mutated.append(f"{recipient}: what arrived is not what was sent")
    settled = times.keys() | set(given_up)
    accepted = [entry for entry in by_number.values() if entry.is_accepted]
    wanted = {recipient for entry in accepted for recipient in entry.recipients}
    repeated, reach, doubles = _repeats(times, cuts)
    return Findings(
        messages=len(accepted),
        unknown=sum(entry.is_unknown for entry in by_number.values()),
        refusals=sum(not entry.is_accepted and not entry.is_unknown for entry in by_number.values()),
        accepted=len(wanted),
        delivered=len(wanted & times.keys()),
        given_up=len(wanted & set(given_up)),
        repeated=repeated,
        reach=reach,
        lost=[
            f"{recipient}: accepted, and neither delivered nor given up"
            for recipient in sorted(wanted - settled)
        ],
        ghosts=list(_ghosts(settled, by_number)),
        mutated=mutated,
        halves=list(_halves(settled, by_number.values())),
        doubles=doubles,
    )


def _source_of(recipient: str, by_number: Mapping[int, Sent]) -> Sent | None:
    number = number_of(recipient)
    return None if number is None else by_number.get(number)


def _ghosts(settled: Iterable[str], by_number: Mapping[int, Sent]) -> Iterable[str]:
    for recipient in sorted(settled):
        source = _source_of(recipient, by_number)
        if source is None:
            yield f"{recipient}: nobody sent anything to it"
        elif recipient not in source.recipients:
            yield f"{recipient}: was refused at RCPT"
        elif not (source.is_accepted or source.is_unknown):
            yield f"{recipient}: the message was refused with {source.code} to {source.stage}"


def _halves(settled: Collection[str], sent: Iterable[Sent]) -> Iterable[str]:
    for entry in sent:
        found = [recipient for recipient in entry.recipients if recipient in settled]
        if entry.is_unknown and found and len(found) < len(entry.recipients):
            yield f"message {entry.number}: {len(found)} of {len(entry.recipients)} recipients were stored"


def _repeats(times: Mapping[str, Sequence[float]], cuts: Sequence[Cut]) -> tuple[int, float, list[str]]:
    """Second deliveries that a cut explains, how far the first of two was from it, and those that none explains."""
    repeated, reach = 0, 0.0
    doubles: list[str] = []
    for recipient, moments in times.items():
        ordered = sorted(moments)
        for first, second in itertools.pairwise(ordered):
            explained = [
                cut for cut in cuts if cut.at - WINDOW_SECONDS <= first < cut.over and cut.over <= second
            ]
            if explained:
                repeated += 1
                reach = max(reach, explained[-1].at - first)
            else:
                doubles.append(
                    f"{recipient}: delivered again {second - first:.3f} s later, without a cut between"
                )
    return repeated, reach, doubles


def event_faults(
    events: Iterable[Mapping[str, Any]], sent: Iterable[Sent], arrived: Iterable[Arrived]
) -> list[str]:
    """What is wrong with the whole event log of a trial in which nothing is queued any more.

    Every recipient of an accepted message has a Reception and exactly one end, and that is as the destination has it; repetitions
    have the id of what they repeat.
    """
    received: set[str] = set()
    ends: dict[str, dict[str, str]] = defaultdict(dict)
    for event in events:
        kind, recipient = event["type"], event["recipient"]
        recipients = recipient if isinstance(recipient, list) else [recipient]
        if kind == "Reception":
            received.update(recipients)
        elif kind in TERMINAL:
            for each in recipients:
                ends[each][event["event_id"]] = kind
    there = {recipient for arrival in arrived for recipient in arrival.recipients}
    faults: list[str] = []
    for entry in sent:
        for recipient in entry.recipients:
            kinds = list(ends.get(recipient, {}).values())
            if not entry.is_accepted and recipient not in received and not kinds:
                continue
            if recipient not in received:
                faults.append(f"{recipient}: no Reception")
            if len(kinds) != 1:
                faults.append(f"{recipient}: ends with {' and '.join(kinds) or 'no event'}")
            elif (kinds[0] == "Delivery") != (recipient in there):
                faults.append(f"{recipient}: {kinds[0]}, and the destination knows better")
    return faults
