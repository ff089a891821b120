"""``penstock suspend``, ``unsuspend``, ``bounce``, ``rebind``, ``flush``: orders about queued mail."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Final

from cyclopts import Parameter

from penstock.cli.directives import told, undo, wait_for
from penstock.cli.quantities import counted
from penstock.cli.server import (
    DONE,
    FAILED,
    PARTLY,
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
    SurveyRequest,
    SweepRequest,
    WrittenCriteria,
    criteria_of,
    rebinding_of,
)
from penstock.mail.directive import Action, Rebinding, SweepAction
from penstock.mail.duration import QuantityError, Seconds, WallTime, parse_duration
from penstock.mail.path_name import site_of_path
from penstock.mail.survey import Grouping

Wait = Annotated[
    bool, Parameter(name="--wait", negative="", help="Return when it is done to all mail that is there.")
]
Quiet = Annotated[bool, Parameter(name="--suppress-logging", negative="", help="Make no events of it.")]

_SUSPENSIONS: Final = (Action.SUSPEND, Action.SUSPEND_PATH, Action.SUSPEND_SOURCE)
#: Nothing of a queue's name becomes otherwise.
_UNCHANGED: Final = Rebinding()


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
    if dry_run:
        return _count(server, request.criteria, what, verb, json=json, subject=asked.subject)
    given = server.ask(Given, "POST", "/control/directives/v1", request)
    if json:
        put_json(given)
    else:
        until = datetime.fromtimestamp(given.expires or 0.0, UTC)
        instead = f" It takes the place of {given.replaced}." if given.replaced is not None else ""
        print(f"{given.id}: {what} is {verb} until {until:%Y-%m-%d %H:%M:%S}Z.{instead}")
    return told(given) if not wait else max(wait_for(server, given.id, json=json), told(given))


def _sweep(server: Server, request: SweepRequest, *, dry_run: bool, json: bool, wait: bool) -> int:
    what = str(criteria_of(request.criteria))
    verb = {SweepAction.REBIND: "rebound", SweepAction.FLUSH: "flushed"}[request.action]
    if dry_run:
        return _count(server, request.criteria, what, verb, json=json, rebinding=request.rebinding)
    given = server.ask(Given, "POST", "/control/sweeps/v1", request)
    if json:
        put_json(given)
    else:
        print(f"{given.id}: {what} is being {verb}; penstock directives shows how far that is.")
    return told(given) if not wait else max(wait_for(server, given.id, json=json), told(given))


def _count(
    server: Server,
    criteria: WrittenCriteria,
    what: str,
    verb: str,
    *,
    json: bool,
    subject: str = "",
    rebinding: Rebinding = _UNCHANGED,
) -> int:
    """Say how much it would be about."""
    by, limit = (Grouping.SITE, 1000) if subject else (None, 1)
    request = SurveyRequest(criteria, by, limit, rebinding)
    surveyed = server.ask(Surveyed, "POST", "/control/survey/v1", request)
    if json:
        put_json(surveyed)
        return PARTLY if surveyed.silent else DONE
    total = surveyed.survey.total
    messages, queues = total.messages, total.queues
    if "->" in subject:
        site = site_of_path(subject)
        groups = [group for group in surveyed.survey.groups if group.name == site]
        messages, queues = sum(group.messages for group in groups), sum(group.queues for group in groups)
    print(f"{what}: {counted(messages, 'message')} in {counted(queues, 'queue')} would be {verb}.")
    if surveyed.silent:
        return complain("dry run", f"no answer of lane {', '.join(surveyed.silent)}", PARTLY)
    return DONE
