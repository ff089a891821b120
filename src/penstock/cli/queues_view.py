"""Queued mail, orders about it, and reasons, as tables on a terminal. Names from outside are made printable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.text import Text

from penstock.cli.quantities import shown_size, shown_span
from penstock.cli.status_view import table
from penstock.events.text import displayed
from penstock.mail.control import Explained, LaneReasons, Listing, ShownMessage, Surveyed, SweepState
from penstock.mail.directive import Directive
from penstock.mail.reason import Reason
from penstock.mail.survey import Group as Counts
from penstock.mail.survey import Grouping

_WIDTH = 160
_NONE = {
    Grouping.TENANT: "(no tenant)",
    Grouping.CAMPAIGN: "(no campaign)",
    Grouping.ROUTING_DOMAIN: "(no routing domain)",
    Grouping.SITE: "(not known yet)",
}


def render(parts: Iterable[RenderableType], file: TextIO) -> None:
    """Write what is to be shown to ``file``, in colour if it is a terminal."""
    console = Console(file=file, highlight=False, width=None if file.isatty() else _WIDTH)
    console.print(Group(*parts))


def queues(surveyed: Surveyed, by: Grouping) -> Iterable[RenderableType]:
    """What is queued, the largest first."""
    yield from _silent(surveyed.silent)
    survey, now = surveyed.survey, surveyed.now
    if not survey.total.messages:
        yield Text("Nothing is queued.")
        return
    rows = [_counts(group.name or _NONE.get(by, ""), group, now) for group in survey.groups]
    if survey.others is not None:
        rows.append(_counts("(others)", survey.others, now))
    if len(rows) > 1:
        rows.append(_counts("all", survey.total, now))
    header = (
        by.value.replace("-", " "),
        "queues",
        "messages",
        "size",
        "ready",
        "waiting",
        "in flight",
        "out/s",
        "oldest",
        "held by",
    )
    yield table("Queued mail", header, rows, numbers=set(range(1, 9)))


def _counts(name: str, group: Counts, now: float) -> tuple[str, ...]:
    oldest = shown_span(now - group.oldest) if group.oldest is not None else ""
    held = sorted(group.held.items(), key=lambda item: -item[1])
    return (
        name,
        str(group.queues),
        str(group.messages),
        shown_size(group.octets),
        str(group.ready),
        str(group.waiting),
        str(group.in_flight),
        f"{group.rate:.1f}" if group.rate is not None else "",
        oldest,
        ", ".join(f"{gate} {count}" for gate, count in held),
    )


def orders(listing: Listing) -> Iterable[RenderableType]:
    """Directives in force, and sweeps."""
    if not listing.directives and not listing.sweeps:
        yield Text("No directive is in force.")
    if listing.directives:
        rows = [_directive(item, listing.now) for item in listing.directives]
        header = ("id", "does", "to", "until", "given by", "reason")
        yield table("Directives in force", header, rows, numbers=set())
    if listing.sweeps:
        sweeps = [_sweep(state, listing.now) for state in listing.sweeps]
        columns = ("id", "does", "to", "done", "found", "state", "given by", "reason")
        yield table("Sweeps", columns, sweeps, numbers={3, 4})


def _directive(directive: Directive, now: float) -> tuple[str, ...]:
    what = directive.subject or str(directive.criteria)
    until = moment(directive.expires, now)
    return directive.id, directive.action.value, what, until, directive.author, directive.reason


def _sweep(state: SweepState, now: float) -> tuple[str, ...]:
    order = state.sweep.order
    return (
        order.id,
        order.action.value,
        str(state.sweep.criteria),
        str(state.done),
        str(state.matched),
        standing(state, now),
        order.author,
        order.reason,
    )


def standing(state: SweepState, now: float) -> str:
    """How far a sweep is, in words."""
    if state.finished is not None:
        return f"finished {shown_span(now - state.finished)} ago"
    lanes = [lane for lane, part in state.lanes.items() if not part.is_over]
    return f"under way in lane {', '.join(lanes)}" if lanes else "under way"


def reasons(explained: Explained) -> Iterable[RenderableType]:
    """What each gate says, lane by lane."""
    yield from _silent(explained.silent)
    for lane in explained.lanes:
        yield from _lane(lane, explained)


def _lane(lane: LaneReasons, explained: Explained) -> Iterable[RenderableType]:
    where = f" in lane {lane.lane}" if len(explained.lanes) > 1 or lane.lane != "0" else ""
    queue = f", queue {lane.queue}" if lane.queue != explained.subject else ""
    yield Text(displayed(f"{explained.subject}{queue}{where}: {lane.state}"), "bold")
    first = next((reason for reason in lane.reasons if reason.is_holding), None)
    if first is not None:
        until = f", until {moment(first.until, explained.now)}" if first.until is not None else ""
        awaits = f", until {first.awaits}" if first.until is None and first.awaits else ""
        yield Text(displayed(f"Held by {first.gate}: {first.text}{until}{awaits}."), "yellow")
    rows = [_reason(reason, explained.now) for reason in lane.reasons]
    header = ("gate", "", "says", "is", "limit", "since", "until", "set by")
    yield table("", header, rows, numbers=set())


def _reason(reason: Reason, now: float) -> Sequence[str]:
    since = f"{shown_span(now - reason.since)} ago" if reason.since is not None else ""
    until = moment(reason.until, now) if reason.until is not None else reason.awaits
    state = "holds" if reason.is_holding else "open"
    return reason.gate, state, reason.text, reason.value, reason.limit, since, until, reason.origin


def message(shown: ShownMessage, now: float) -> Iterable[RenderableType]:
    """One message."""
    rows = [
        ("id", shown.id),
        ("queue", shown.queue),
        ("lane", shown.lane),
        ("from", shown.sender or "<>"),
        ("to", ", ".join(shown.waiting)),
        ("recipients", f"{len(shown.waiting)} of {shown.recipients} waiting"),
        ("size", shown_size(shown.size)),
        ("accepted", f"{shown_span(now - shown.created)} ago"),
        ("attempts", str(shown.attempts)),
        ("is", shown.state),
    ]
    if shown.due is not None:
        rows.append(("due", moment(shown.due, now)))
    if shown.expires is not None:
        rows.append(("expires", moment(shown.expires, now)))
    rows += [(f"meta {name}", str(value)) for name, value in sorted(shown.meta.items())]
    yield table("Message", ("", ""), rows, numbers=set())


def moment(instant: float, now: float) -> str:
    """An instant, and how long that is from now."""
    try:
        written = f"{datetime.fromtimestamp(instant, UTC):%Y-%m-%d %H:%M:%S}Z"
    except (OverflowError, ValueError, OSError):
        written = "far away"
    return f"{written} (in {shown_span(instant - now)})" if instant > now else written


def _silent(lanes: Sequence[str]) -> Iterable[Text]:
    if lanes:
        named = displayed(", ".join(lanes))
        yield Text(f"No answer of lane {named}: what it has is missing below.", "yellow")
