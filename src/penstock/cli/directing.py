"""``penstock suspend``, ``unsuspend``, ``bounce``, ``rebind``, ``flush``: orders about queued mail."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter

from penstock.cli import amount
from penstock.cli.amount import About
from penstock.cli.directives import told, undo, wait_for
from penstock.cli.server import (
    DONE,
    FAILED,
    AsJson,
    CommandError,
    Config,
    DryRun,
    Server,
    complain,
    put_json,
    run,
)
from penstock.cli.which import ALL, Which
from penstock.mail.control import (
    DirectiveRequest,
    Given,
    Listing,
    Surveyed,
    SweepRequest,
    WrittenCriteria,
    criteria_of,
    rebinding_of,
)
from penstock.mail.directive import Action, Rebinding, SweepAction
from penstock.mail.duration import QuantityError, Seconds, WallTime, parse_duration

Wait = Annotated[
    bool, Parameter(name="--wait", negative="", help="Return when it is done to all mail that is there.")
]
Quiet = Annotated[bool, Parameter(name="--suppress-logging", negative="", help="Make no events of it.")]

_SUSPENSIONS: Final = (Action.SUSPEND, Action.SUSPEND_PATH, Action.SUSPEND_SOURCE)


class Answer(Given, frozen=True):
    """For programs: what was given, and how much mail there was of it, None if that could not be counted; after a wait, to how much it was done."""

    messages: int | None = None
    queues: int | None = None
    matched: int | msgspec.UnsetType = msgspec.UNSET
    done: int | msgspec.UnsetType = msgspec.UNSET


def suspend(
    *,
    config: Config = None,
    which: Which = ALL,
    path: str | None = None,
    source: str | None = None,
    reason: str = "",
    duration: str | None = None,
    expires: str | None = None,
    dry_run: DryRun = False,
    json: AsJson = False,
) -> int:
    """Hold mail back, also what comes later, until it is unsuspended or the time is over. It costs no attempt, and is due at once afterwards.

    When this returns 0, no message of that mail begins to be delivered; what is being delivered is not cut off.
    Exit status: 0 done, 1 refused, or the server does not run, 2 the command line or the configuration is wrong, 3 done, but a lane has
    not said that it goes by it.

    Parameters
    ----------
    path
        Instead of mail that agrees with something: all that would go by this path, source->site@smtp_client.
    source
        The same of an egress source.
    reason
        Why; it is shown by explain, and with the events.
    duration
        For how long; 5 minutes if nothing is said.
    expires
        Until when instead: 2026-11-30T08:00:00Z.
    dry_run
        Only count what it would be about.
    json
        Show the answer as JSON.
    """

    def work(server: Server) -> int:
        action, criteria, subject = _about(which, path, source)
        request = DirectiveRequest(action, criteria, subject, reason, *_time(duration, expires))
        return _give(server, request, dry_run=dry_run, json=json, verb="suspended")

    return run("suspend", config, work)


def unsuspend(
    *,
    config: Config = None,
    which: Which = ALL,
    path: str | None = None,
    source: str | None = None,
    dry_run: DryRun = False,
    json: AsJson = False,
) -> int:
    """Undo a suspension: the one about exactly what is given.

    Exit status: 0 done, 1 there is no such suspension, or the server does not run, 2 the command line or the configuration is wrong,
    3 done, but a lane has not said that it goes by it.

    Parameters
    ----------
    path
        The suspension of this path.
    source
        The suspension of this egress source.
    dry_run
        Only say which it would be.
    json
        Show the answer as JSON.
    """

    def work(server: Server) -> int:
        action, _, subject = _about(which, path, source)
        criteria = which.criteria()
        listing = server.ask(Listing, "GET", "/control/directives/v1")
        for item in listing.directives:
            if (item.action, item.criteria, item.subject) == (action, criteria, subject):
                return undo(server, item, dry_run=dry_run, json=json)
        there = [item for item in listing.directives if item.action in _SUSPENSIONS]
        named = "; ".join(f"{item.subject or item.criteria} ({item.id})" for item in there[:5])
        hint = f"there are: {named}" if there else "nothing is suspended"
        return complain("unsuspend", f"no suspension is about {subject or criteria}; {hint}", FAILED)

    return run("unsuspend", config, work)


def bounce(
    *,
    config: Config = None,
    which: Which = ALL,
    reason: str = "",
    duration: str | None = None,
    expires: str | None = None,
    suppress_logging: Quiet = False,
    wait: Wait = False,
    dry_run: DryRun = False,
    json: AsJson = False,
) -> int:
    """Take mail out of the queue for good, with an event for each message; also what comes later, until it is cancelled or the time is over.

    It holds at once; the mail that is there is removed piece by piece: ``penstock directives`` shows how far that is.
    Exit status: 0 done, 1 refused, or the server does not run, 2 the command line or the configuration is wrong, 3 done, but a lane has
    not said that it goes by it.

    Parameters
    ----------
    reason
        Why; it is in the events.
    duration
        For how long mail that comes is bounced too; 5 minutes if nothing is said.
    expires
        Until when instead: 2026-11-30T08:00:00Z.
    dry_run
        Only count what it would be about.
    json
        Show the answer as JSON.
    """

    def work(server: Server) -> int:
        criteria = which.guarded()
        request = DirectiveRequest(
            Action.BOUNCE, criteria, "", reason, *_time(duration, expires), suppress_logging
        )
        return _give(server, request, dry_run=dry_run, json=json, verb="bounced", wait=wait)

    return run("bounce", config, work)


def rebind(
    *,
    config: Config = None,
    which: Which = ALL,
    set_tenant: str | None = None,
    set_campaign: str | None = None,
    set_routing_domain: str | None = None,
    reason: str = "",
    suppress_logging: Quiet = False,
    wait: Wait = False,
    dry_run: DryRun = False,
    json: AsJson = False,
) -> int:
    """Put mail that is there into another queue: of another tenant, campaign or routing domain. It keeps its age and its attempts.

    Exit status: 0 done, 1 refused, or the server does not run, 2 the command line or the configuration is wrong, 3 done, but a lane has
    not said that it knows.

    Parameters
    ----------
    set_tenant
        The tenant from now on; "" is none.
    set_campaign
        The campaign from now on; "" is none.
    set_routing_domain
        The routing domain from now on; "" is none.
    reason
        Why; it is in the events.
    dry_run
        Only count what it would be about.
    json
        Show the answer as JSON.
    """

    def work(server: Server) -> int:
        rebinding = rebinding_of(Rebinding(set_tenant, set_campaign, set_routing_domain))
        request = SweepRequest(SweepAction.REBIND, which.guarded(), reason, rebinding, suppress_logging)
        return _sweep(server, request, dry_run=dry_run, json=json, wait=wait)

    return run("rebind", config, work)


def flush(
    *,
    config: Config = None,
    which: Which = ALL,
    reason: str = "",
    suppress_logging: Quiet = False,
    wait: Wait = False,
    dry_run: DryRun = False,
    json: AsJson = False,
) -> int:
    """Have mail that waits for its retry due now.

    Exit status: 0 done, 1 refused, or the server does not run, 2 the command line or the configuration is wrong, 3 done, but a lane has
    not said that it knows.

    Parameters
    ----------
    reason
        Why; it is in the events.
    dry_run
        Only count what it would be about.
    json
        Show the answer as JSON.
    """

    def work(server: Server) -> int:
        request = SweepRequest(SweepAction.FLUSH, which.guarded(), reason, suppress_logging=suppress_logging)
        return _sweep(server, request, dry_run=dry_run, json=json, wait=wait)

    return run("flush", config, work)


# -- what they have in common


def _about(which: Which, path: str | None, source: str | None) -> tuple[Action, WrittenCriteria, str]:
    if path is None and source is None:
        return Action.SUSPEND, which.guarded(), ""
    if (path is not None and source is not None) or which != ALL:
        raise CommandError("--path and --source stand alone: give one of them, or what the mail agrees with")
    return (
        (Action.SUSPEND_PATH, WrittenCriteria(), path)
        if path is not None
        else (Action.SUSPEND_SOURCE, WrittenCriteria(), source or "")
    )


def _time(duration: str | None, expires: str | None) -> tuple[Seconds | None, WallTime | None]:
    if duration is not None and expires is not None:
        raise CommandError("give --duration or --expires, not both")
    if expires is None:
        return (parse_duration(duration) if duration is not None else None), None
    try:
        moment = datetime.fromisoformat(expires)
    except ValueError:
        raise QuantityError(f"--expires {expires!r} is no time; write 2026-11-30T08:00:00Z") from None
    return None, WallTime((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp())


def _give(
    server: Server, request: DirectiveRequest, *, dry_run: bool, json: bool, verb: str, wait: bool = False
) -> int:
    asked = request.directive("", "", WallTime(time.time()))
    what = asked.subject or str(asked.criteria)
    about = About(request.criteria, asked.subject)
    if dry_run:
        return amount.dry_run(server, about, what, verb, json=json)
    # what is suspended stays, so the order comes first; what is bounced is soon gone
    surveyed = amount.survey_if_it_can_be(server, about) if request.action is Action.BOUNCE else None
    given = server.ask(Given, "POST", "/control/directives/v1", request)
    if request.action is not Action.BOUNCE:
        surveyed = amount.survey_if_it_can_be(server, about)
    if not json:
        until = datetime.fromtimestamp(given.expires or 0.0, UTC)
        instead = f" It takes the place of {given.replaced}." if given.replaced is not None else ""
        much = amount.in_words(surveyed, about)
        print(f"{given.id}: {what} is {verb} until {until:%Y-%m-%d %H:%M:%S}Z; {much}.{instead}")
    return _ended(server, given, surveyed, json=json, wait=wait)


def _sweep(server: Server, request: SweepRequest, *, dry_run: bool, json: bool, wait: bool) -> int:
    what = str(criteria_of(request.criteria))
    verb = {SweepAction.REBIND: "rebound", SweepAction.FLUSH: "flushed"}[request.action]
    about = About(request.criteria)
    if dry_run:
        about = msgspec.structs.replace(about, rebinding=request.rebinding)
        return amount.dry_run(server, about, what, verb, json=json)
    surveyed = amount.survey_if_it_can_be(server, about)
    given = server.ask(Given, "POST", "/control/sweeps/v1", request)
    if not json:
        much = amount.in_words(surveyed, about)
        print(f"{given.id}: {what} is being {verb}: {much}; penstock directives shows how far that is.")
    return _ended(server, given, surveyed, json=json, wait=wait)


def _ended(server: Server, given: Given, surveyed: Surveyed | None, *, json: bool, wait: bool) -> int:
    """Wait for what was given, if that is wanted, and show it to a program; the exit status."""
    answer = Answer(given.id, given.expires, given.replaced, given.silent)
    if surveyed is not None:
        total = surveyed.survey.total
        answer = msgspec.structs.replace(answer, messages=total.messages, queues=total.queues)
    status = DONE
    try:
        if wait:
            # what is printed is to be seen before the wait, also through a pipe
            sys.stdout.flush()
            status, state = wait_for(server, given.id, json=json)
            if state is not None:
                answer = msgspec.structs.replace(answer, matched=state.matched, done=state.done)
    finally:
        if json:
            put_json(answer)
    return max(status, told(given))
