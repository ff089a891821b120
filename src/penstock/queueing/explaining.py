"""Why mail does not move, or could: every gate asked, in the order of ``mail.reason``. Nothing is used up by asking, and nobody is woken by it.

What is said of a queue is of all its mail alike; what is said of a message besides, is its own time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from penstock.mail.configuration import Limit
from penstock.mail.directive import Action, Directive
from penstock.mail.duration import WallTime
from penstock.mail.reason import Reason
from penstock.mail.schedule import may_go_at
from penstock.queueing.holds import Hold
from penstock.queueing.instants import SECOND, instant_of, time_of
from penstock.queueing.places import Places
from penstock.queueing.queues import Path, ScheduledQueue
from penstock.queueing.rows import WAITING
from penstock.shaping.ports import HeldBy

_UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_RATES: Final = {
    "queue-rate": "the queue",
    "campaign-rate": "the campaign",
    "tenant-rate": "the tenant",
    "path-rate": "the path",
}
_NONE: Final = {
    "bounce": "nobody has its mail bounced",
    "suspension": "nobody has suspended it",
    "source": "nobody has suspended the source",
    "path": "nobody has suspended the path",
}


def _span(seconds: float) -> str:
    """A duration as the operator writes it, in its two largest units: ``17m``, ``1m 30s``."""
    rest = round(seconds)
    words: list[str] = []
    for unit, name in _UNITS:
        count, rest = divmod(rest, unit)
        if count:
            words.append(f"{count}{name}")
    return " ".join(words[:2]) or "0s"


def _when(instant: int) -> WallTime | None:
    return time_of(instant) if instant else None


class Explaining:
    """See the module."""

    __slots__ = ("_places",)

    def __init__(self, places: Places) -> None:
        self._places = places

    def of_queue(self, queue: ScheduledQueue, now: int) -> tuple[Reason, ...]:
        """What the gates say of a queue's mail."""
        return (
            *self._directed(queue, now),
            self._waits(queue),
            *self._limited(queue, now),
            *self._placed(queue, now),
        )

    def of_row(self, row: int, now: int) -> tuple[Reason, ...]:
        """What the gates say of a message that is queued."""
        queue = self._places.queue_of(row)
        return (
            self._expires(queue, row, now),
            *self._directed(queue, now),
            self._hours(row, now),
            self._waits_for(queue, row, now),
            *self._limited(queue, now),
            *self._placed(queue, now),
        )

    # -- time

    def _expires(self, queue: ScheduledQueue, row: int, now: int) -> Reason:
        rows, schedule = self._places.rows, self._places.schedules.get(row)
        is_over = rows.expires[row] <= now
        config = self._places.config_of(queue)
        origin = "the sender's schedule"
        if schedule is None or schedule.expires is None:
            origin = config.origins.get("max_age", "")
        limit = _span((rows.expires[row] - rows.created[row]) / SECOND)
        text = f"its time of {limit} {'is over' if is_over else 'is not over'}"
        value = _span(max(0, now - rows.created[row]) / SECOND)
        return Reason("expiry", is_over, text, value, limit, _when(rows.created[row]), origin=origin)

    def _hours(self, row: int, now: int) -> Reason:
        places, schedule = self._places, self._places.schedules.get(row)
        if schedule is None:
            return Reason("schedule", is_holding=False, text="its sender has named no hours")
        opens = instant_of(may_go_at(schedule, time_of(now), places.zone_of))
        if opens <= now:
            return Reason("schedule", is_holding=False, text="these are hours that its sender has named")
        return Reason("schedule", is_holding=True, text="its sender wants it later", until=time_of(opens))

    def _waits_for(self, queue: ScheduledQueue, row: int, now: int) -> Reason:
        rows, config = self._places.rows, self._places.config_of(queue)
        attempts, wake = rows.attempts[row], rows.wake[row]
        is_waiting = rows.state[row] == WAITING and wake > now
        text = f"attempt {attempts + 1} is to come" if is_waiting else f"attempt {attempts + 1} is due"
        return Reason(
            "retry", is_waiting, text, str(attempts), _span(config.retry_interval),
            until=_when(wake) if is_waiting else None, origin=config.origins.get("retry_interval", ""),
        )  # fmt: skip

    def _waits(self, queue: ScheduledQueue) -> Reason:
        config = self._places.config_of(queue)
        origin, limit = config.origins.get("retry_interval", ""), _span(config.retry_interval)
        text = (
            f"{queue.ready} due, {queue.waiting} waiting for {'its' if queue.waiting == 1 else 'their'} time"
        )
        is_waiting = bool(queue.waiting) and not queue.ready
        wake = queue.next_wake(self._places.rows) if is_waiting else 0
        return Reason("retry", is_waiting, text, str(queue.waiting), limit, until=_when(wake), origin=origin)

    # -- directives

    def _directed(self, queue: ScheduledQueue, now: int) -> Iterator[Reason]:
        directives, time = self._places.gates.directives, time_of(now)
        for gate, action, verb in (
            ("bounce", Action.BOUNCE, "is bounced"),
            ("suspension", Action.SUSPEND, "is suspended"),
        ):
            yield _of_directive(gate, verb, directives.of_queue(action, queue.name, time))

    # -- limits

    def _limited(self, queue: ScheduledQueue, now: int) -> Iterator[Reason]:
        self._places.config_of(queue)
        for limit in queue.limits:
            if not limit.rate.count:
                # a gate of its own: nothing goes until the limit is another
                yield Reason(limit.gate, is_holding=True, text=limit.origin, awaits="an answer")
        for gate in ("queue-rate", "campaign-rate", "tenant-rate"):
            found = next((limit for limit in queue.limits if limit.gate == gate), None)
            yield self._of_limit(gate, found, queue, now)

    def _of_limit(self, gate: str, limit: Limit | None, queue: ScheduledQueue | None, now: int) -> Reason:
        if limit is None:
            return Reason(gate, is_holding=False, text=f"{_RATES[gate]} has no rate")
        room = self._places.gates.rates.room(limit, time_of(now))
        parking = self._places.gates.parkings.get(limit.key)
        is_parked = queue is not None and parking is not None and queue.parking is parking
        tokens = f"{room} of {limit.rate.burst}"
        if room <= 0 and parking is None and self._places.gates.rates.is_lent(limit):
            text = f"nothing waits for {_RATES[gate]}'s {limit.rate}"
            return Reason(gate, is_holding=False, text=text, limit=str(limit.rate), origin=limit.origin)
        if room > 0 and not is_parked:
            return Reason(
                gate,
                False,
                f"{_RATES[gate]} may go on at {limit.rate}",
                tokens,
                str(limit.rate),
                origin=limit.origin,
            )
        held = parking.held if parking is not None else None
        is_away = held is not None and held.by is HeldBy.BROKER
        text = f"{_RATES[gate]} has used up its {limit.rate}"
        if is_away:
            text = f"{_RATES[gate]} shares its {limit.rate} with other lanes, and the broker is away"
        until = parking.hold(queue).until if is_parked and parking is not None and queue is not None else 0
        return Reason(
            gate, True, text, tokens, str(limit.rate),
            since=_when(queue.parked) if is_parked and queue is not None else None,
            until=_when(until), awaits="" if until else ("the broker" if is_away else "a token"), origin=limit.origin,
        )  # fmt: skip

    # -- where it goes

    def _placed(self, queue: ScheduledQueue, now: int) -> Iterator[Reason]:
        yield _of_hold("spool", self._places.supply.hold, "outcomes can be recorded", awaits="the spool")
        yield self._route(queue)
        route = queue.hop.route
        path = queue.path or (self._places.paths.get(route.site) if route is not None else None)
        yield from self._path(path, now)

    @staticmethod
    def _route(queue: ScheduledQueue) -> Reason:
        hop = queue.hop
        if hop.hold is not None:
            return _of_hold("route", hop.hold, "", awaits="an answer")
        if hop.route is not None:
            return Reason("route", is_holding=False, text=f"{hop.name} is routed to {hop.route.site}")
        return Reason(
            "route",
            is_holding=hop.is_resolving,
            text=f"the route of {hop.name} is not known",
            awaits="an answer",
        )

    def _path(self, path: Path | None, now: int) -> Iterator[Reason]:
        directives, time = self._places.gates.directives, time_of(now)
        name = path.source if path is not None else self._places.source
        source = directives.of_subject(Action.SUSPEND_SOURCE, name, time)
        yield _of_directive("source", f"of source {name} is suspended", source)
        if path is None:
            for gate in ("path", "path-rate", "connection", "lane"):
                yield Reason(gate, is_holding=False, text="no mail is on the path now")
            return
        directive = directives.of_subject(Action.SUSPEND_PATH, path.name, time)
        yield _of_directive("path", "of this path is suspended", directive)
        yield self._path_rate(path, now)
        yield _connection(path)
        yield _lane(path)

    def _path_rate(self, path: Path, now: int) -> Reason:
        reason = self._of_limit("path-rate", path.limits[0] if path.limits else None, None, now)
        gate = path.gate
        if gate is None or gate.gate != "path-rate":
            return reason
        awaits = "" if gate.until else "a token"
        return msgspec.structs.replace(
            reason, is_holding=True, since=_when(gate.since), until=_when(gate.until), awaits=awaits
        )


def _of_directive(gate: str, verb: str, directive: Directive | None) -> Reason:
    if directive is None:
        return Reason(gate, is_holding=False, text=_NONE[gate])
    why = f": {directive.reason}" if directive.reason else ""
    who = f" by {directive.author}" if directive.author else ""
    return Reason(
        gate,
        True,
        f"mail {verb}{who}{why}",
        since=directive.given,
        until=directive.expires,
        origin=f"directive {directive.id}",
    )


def _of_hold(gate: str, hold: Hold | None, otherwise: str, awaits: str) -> Reason:
    if hold is None:
        return Reason(gate, is_holding=False, text=otherwise)
    return Reason(
        gate,
        True,
        hold.reason,
        since=_when(hold.since),
        until=_when(hold.until),
        awaits="" if hold.until else awaits,
    )


def _connection(path: Path) -> Reason:
    limit, origin = path.config.connection_limit, path.config.origins.get("connection_limit", "")
    value = str(path.connections)
    hold = path.hold
    if hold is not None and hold.gate == "connection":
        return Reason(
            "connection",
            True,
            hold.reason,
            value,
            str(limit),
            _when(hold.since),
            _when(hold.until),
            origin=origin,
        )
    is_full = path.connections - path.idle >= limit
    text = (
        f"all {limit} connections are at work" if is_full else f"the path has {value} of {limit} connections"
    )
    return Reason(
        "connection",
        is_full,
        text,
        value,
        str(limit),
        awaits="a connection" if is_full else "",
        origin=origin,
    )


def _lane(path: Path) -> Reason:
    if path.lane is None:
        return Reason("lane", is_holding=False, text="this lane is the path's home")
    hold = path.hold
    text = f"its home is lane {path.lane}; it is moved there"
    if hold is None:
        return Reason("lane", is_holding=True, text=text, awaits=f"lane {path.lane}")
    return Reason(
        "lane",
        True,
        f"{text}: {hold.reason}",
        since=_when(hold.since),
        until=_when(hold.until),
        awaits=f"lane {path.lane}",
    )
