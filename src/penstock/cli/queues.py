"""``penstock queues`` and ``penstock explain``: what is queued, and why it does not move."""

from __future__ import annotations

import sys
from typing import Annotated, Final
from urllib.parse import quote

from cyclopts import App, Parameter

from penstock.api.client import ControlRefusal
from penstock.cli.queue_config import config as show_config
from penstock.cli.queues_view import queues as queues_view
from penstock.cli.queues_view import reasons, render
from penstock.cli.server import (
    DONE,
    FAILED,
    PARTLY,
    AsJson,
    CommandError,
    Config,
    Server,
    complain,
    put_json,
    run,
)
from penstock.cli.which import ALL, Which
from penstock.mail.control import Explained, Surveyed, SurveyRequest, WrittenCriteria, queue_of
from penstock.mail.survey import GROUPS_SHOWN, Grouping

app = App(name="queues", help="Show what is queued, and what holds for a queue.")
app.command(show_config, name="config")
_NOT_FOUND: Final = 404
_NEAR_SHOWN: Final = 5
_ID_DIGITS: Final = frozenset("0123456789abcdef")


@app.default
def queues(
    *names: Annotated[str, Parameter(show=False)],
    config: Config = None,
    by: Grouping = Grouping.QUEUE,
    limit: Annotated[int, Parameter(name=["--limit", "-n"])] = GROUPS_SHOWN,
    which: Which = ALL,
    json: AsJson = False,
) -> int:
    """Show what is queued, the largest first: how much, since when, and what holds it.

    ``ready`` is mail that is due, whatever holds it; ``waiting`` has a time of its own; ``in flight`` is being delivered;
    ``out/s`` is how many recipients a second were delivered over the last minute, of tenants and of all.
    Exit status: 0 done, 1 the server does not run, 2 the command line or the configuration is wrong, 3 a lane did not answer.

    Parameters
    ----------
    by
        Count mail together by tenant, campaign, domain, routing-domain, site (of the mail hosts), or queue.
    limit
        How many to show; all others are counted together.
    json
        Show everything as JSON.
    """

    def work(server: Server) -> int:
        if names:
            raise CommandError(
                f"{names[0]!r} is said without an option; write --queue NAME for exactly this queue, --tenant, --campaign, --domain or "
                "--routing-domain NAME for some, and penstock explain NAME for what holds it"
            )
        which.criteria()
        request = SurveyRequest(which.written, by, limit)
        surveyed = server.ask(Surveyed, "POST", "/control/survey/v1", request)
        if json:
            put_json(surveyed)
        else:
            render(queues_view(surveyed, by), sys.stdout)
        return PARTLY if surveyed.silent else DONE

    return run("queues", config, work)


def explain(what: str, /, *, config: Config = None, json: AsJson = False) -> int:
    """Say why a queue, or a message, does not move: what each gate says, in the order in which they are asked.

    Exit status: 0 done, 1 there is no such queue or message, or the server does not run, 2 the command line or the configuration is wrong,
    3 a lane did not answer.

    Parameters
    ----------
    what
        A queue, campaign:tenant@domain!routing_domain, or the id of a message.
    json
        Show everything as JSON.
    """

    def work(server: Server) -> int:
        of_queue = f"/control/explain/v1?queue={quote(what, safe='')}"
        of_message = f"/control/messages/v1/{what}/explain"
        if is_message_id(what):
            explained = server.ask(Explained, "GET", of_message)
        else:
            try:
                explained = server.ask(Explained, "GET", of_queue)
            except ControlRefusal as refusal:
                near = _near(server, what) if refusal.status == _NOT_FOUND else ""
                return complain("explain", f"{refusal.reason}{near}", FAILED)
        if json:
            put_json(explained)
        else:
            render(reasons(explained), sys.stdout)
        return PARTLY if explained.silent else DONE

    return run("explain", config, work)


def _near(server: Server, what: str) -> str:
    """Queues with mail of the same tenant and domain, in words; "" if there are none."""
    name = queue_of(what)
    criteria = WrittenCriteria(tenant=name.tenant or "", domain=name.domain)
    request = SurveyRequest(criteria, Grouping.QUEUE, _NEAR_SHOWN)
    survey = server.ask(Surveyed, "POST", "/control/survey/v1", request).survey
    named = [group.name for group in survey.groups]
    more = survey.others.queues if survey.others is not None else 0
    if not named:
        return ""
    rest = f" and {more} more" if more else ""
    return f"; of the same tenant and domain there is {', '.join(named)}{rest}"


def is_message_id(text: str) -> bool:
    """Whether this is an id of a message: 32 digits, no queue has a name like that."""
    return len(text) == 32 and _ID_DIGITS.issuperset(text)
