"""``penstock directives``: what is in force, how far sweeps are, and how to undo them."""

from __future__ import annotations

import sys
import time
from typing import Final

from cyclopts import App

from penstock.cli.queues_view import orders, render
from penstock.cli.server import DONE, FAILED, PARTLY, AsJson, Config, DryRun, Server, complain, put_json, run
from penstock.mail.control import Given, Listing, SweepState
from penstock.mail.directive import Directive

#: Seconds between two looks at a sweep.
_LOOK: Final = 0.5

app = App(name="directives", help="Show directives in force and how far sweeps are; cancel them.")


@app.default
def show(*, config: Config = None, json: AsJson = False) -> int:
    """Show the directives that are in force, and how far sweeps are.

    Exit status: 0 done, 1 the server does not run, 2 the command line or the configuration is wrong.

    Parameters
    ----------
    json
        Show everything as JSON.
    """

    def work(server: Server) -> int:
        listing = server.ask(Listing, "GET", "/control/directives/v1")
        if json:
            put_json(listing)
        else:
            render(orders(listing), sys.stdout)
        return DONE

    return run("directives", config, work)


app.command(show, name="list", show=False)


@app.command
def cancel(identity: str, /, *, config: Config = None, dry_run: DryRun = False, json: AsJson = False) -> int:
    """Undo a directive, or stop a sweep, by its id. What has been done to mail stays done.

    Exit status: 0 done, 1 there is none with this id, or the server does not run, 2 the command line or the configuration is wrong,
    3 done, but a lane has not said that it goes by it.

    Parameters
    ----------
    identity
        Its id, as penstock directives shows it.
    dry_run
        Only say what it would be.
    json
        Show the answer as JSON.
    """

    def work(server: Server) -> int:
        listing = server.ask(Listing, "GET", "/control/directives/v1")
        directive = next((item for item in listing.directives if item.id == identity), None)
        sweeps = (state for state in listing.sweeps if state.finished is None)
        sweep = next((state for state in sweeps if state.sweep.order.id == identity), None)
        if directive is not None:
            return undo(server, directive, dry_run=dry_run, json=json)
        if sweep is None:
            what = f"no directive in force, and no sweep that is not finished, has the id {identity}"
            return complain("directives cancel", f"{what}; see penstock directives", FAILED)
        what = f"the {sweep.sweep.order.action.value} of {sweep.sweep.criteria}"
        return undo_id(server, identity, what, dry_run=dry_run, json=json)

    return run("directives cancel", config, work)


def undo(server: Server, directive: Directive, *, dry_run: bool, json: bool) -> int:
    """Cancel a directive; the exit status."""
    what = f"the {directive.action.value} of {directive.subject or directive.criteria}"
    return undo_id(server, directive.id, what, dry_run=dry_run, json=json)


def undo_id(server: Server, identity: str, what: str, *, dry_run: bool, json: bool) -> int:
    """Cancel what has this id, which is ``what``; the exit status."""
    if dry_run:
        print(f"{identity}: {what} would be cancelled.")
        return DONE
    given = server.ask(Given, "DELETE", f"/control/directives/v1/{identity}")
    if json:
        put_json(given)
    else:
        print(f"{identity}: {what} is cancelled.")
    return told(given)


def told(given: Given) -> int:
    """The exit status of what was given, or undone; lanes that may not go by it are named."""
    if not given.silent:
        return DONE
    lanes = ", ".join(given.silent)
    text = f"{given.id} is kept, but lane {lanes} has not said within 2 s that it goes by it; penstock status shows how it is"
    return complain("partly done", text, PARTLY)


def wait_for(server: Server, identity: str, *, json: bool) -> tuple[int, SweepState | None]:
    """Look at a sweep until it is finished; the exit status, and how it was at the end, None if it is gone.

    It says on stderr how far it is, where it is not for a program.
    """
    said = ""
    while True:
        listing = server.ask(Listing, "GET", "/control/directives/v1")
        state = next((item for item in listing.sweeps if item.sweep.order.id == identity), None)
        if state is None:
            text = f"{identity} is not done any more: it was cancelled, or replaced"
            return complain("wait", text, FAILED), None
        text = f"{state.done} of {state.matched} messages so far"
        if state.finished is not None:
            text = f"{state.done} messages, finished"
        has_begun = state.matched > 0 or state.finished is not None
        if text != said and has_begun and not json:
            sys.stderr.write(f"{identity}: {text}\n")
            said = text
        if state.finished is not None:
            return DONE, state
        time.sleep(_LOOK)
