"""``penstock message``: one queued message, by its id."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import msgspec
from cyclopts import App, Parameter

from penstock.api.control import ControlError
from penstock.cli.queues_view import message as message_view
from penstock.cli.queues_view import render
from penstock.cli.server import DONE, FAILED, AsJson, Config, DryRun, Server, complain, put_json, run
from penstock.mail.control import MessageRequest, ShownMessage, rebinding_of
from penstock.mail.directive import Rebinding, SweepAction

app = App(name="message", help="Look at one queued message, by its id, or do something to it.")


@app.command
def show(identity: str, /, *, config: Config = None, json: AsJson = False) -> int:
    """Show a queued message: its envelope, its queue, how it stands. ``penstock explain`` says why it does not move.

    Exit status: 0 done, 1 there is no such message, or the server does not run, 2 the command line or the configuration is wrong.

    Parameters
    ----------
    identity
        The message's id, as the client was told and the events have it.
    json
        Show everything as JSON.
    """

    def work(server: Server) -> int:
        _show(server.ask(ShownMessage, "GET", _path(identity)), json=json)
        return DONE

    return run("message show", config, work)


@app.command
def retry(
    identity: str,
    /,
    *,
    config: Config = None,
    reason: str = "",
    dry_run: DryRun = False,
    json: AsJson = False,
) -> int:
    """Have a message that waits for its retry due now.

    Exit status: 0 done, 1 there is no such message, or the server does not run, 2 the command line or the configuration is wrong.

    Parameters
    ----------
    identity
        The message's id.
    reason
        Why; it is in the event.
    dry_run
        Only show the message.
    json
        Show the message as JSON.
    """
    request = MessageRequest(identity, SweepAction.FLUSH, reason)
    return _order(
        "retry", config, request, "is tried as soon as its gates let it go", dry_run=dry_run, json=json
    )


@app.command
def delete(
    identity: str,
    /,
    *,
    config: Config = None,
    reason: str = "",
    bounce: Annotated[bool, Parameter(negative="")] = False,
    dry_run: DryRun = False,
    json: AsJson = False,
) -> int:
    """Take a message out of the queue for good.

    Exit status: 0 done, 1 there is no such message, or the server does not run, 2 the command line or the configuration is wrong.

    Parameters
    ----------
    identity
        The message's id.
    reason
        Why; it is in the event.
    bounce
        As ``penstock bounce`` does it: the event is an AdminBounce.
    dry_run
        Only show the message.
    json
        Show the message as JSON.
    """
    action = SweepAction.BOUNCE if bounce else SweepAction.DELETE
    request = MessageRequest(identity, action, reason)
    return _order("delete", config, request, "is taken out of the queue", dry_run=dry_run, json=json)


@app.command
def rebind(
    identity: str,
    /,
    *,
    config: Config = None,
    set_tenant: str | None = None,
    set_campaign: str | None = None,
    set_routing_domain: str | None = None,
    reason: str = "",
    dry_run: DryRun = False,
    json: AsJson = False,
) -> int:
    """Put a message into another queue: of another tenant, campaign or routing domain.

    Exit status: 0 done, 1 there is no such message, or the server does not run, 2 the command line or the configuration is wrong.

    Parameters
    ----------
    identity
        The message's id.
    set_tenant
        The tenant from now on; "" is none.
    set_campaign
        The campaign from now on; "" is none.
    set_routing_domain
        The routing domain from now on; "" is none.
    reason
        Why; it is in the event.
    dry_run
        Only show the message.
    json
        Show the message as JSON.
    """
    rebinding = Rebinding(set_tenant, set_campaign, set_routing_domain)
    request = MessageRequest(identity, SweepAction.REBIND, reason, rebinding)
    return _order("rebind", config, request, "goes into its new queue", dry_run=dry_run, json=json)


@app.command
def export(identity: str, file: Path | None = None, /, *, config: Config = None) -> int:
    """Write a message as it would be sent, octet for octet, to a file, or to stdout. It stays queued.

    Exit status: 0 done, 1 there is no such message, the file is there already, or the server does not run, 2 the command line or the
    configuration is wrong.

    Parameters
    ----------
    identity
        The message's id.
    file
        A file that is not there yet; it is for its owner's eyes alone.
    """

    def work(server: Server) -> int:
        content = _content(server, identity)
        if file is None:
            sys.stdout.buffer.write(content)
            return DONE
        try:
            file.touch(0o600, exist_ok=False)
            file.write_bytes(content)
        except OSError as error:
            return complain("message export", f"{file}: {error.strerror or error}", FAILED)
        print(f"{identity}: {len(content)} octets in {file}")
        return DONE

    return run("message export", config, work)


def _path(identity: str) -> str:
    return f"/control/messages/v1/{quote(identity, safe='')}"


def _content(server: Server, identity: str) -> bytes:
    size = server.ask(ShownMessage, "GET", _path(identity)).size
    content = bytearray()
    while len(content) < size:
        piece = server.read("GET", f"{_path(identity)}/content?offset={len(content)}")
        if not piece:
            raise ControlError(f"the message has {size} octets, and only {len(content)} were to be had")
        content += piece
    return bytes(content)


def _order(
    command: str, config: str | None, request: MessageRequest, done: str, *, dry_run: bool, json: bool
) -> int:
    def work(server: Server) -> int:
        if request.action is SweepAction.REBIND:
            rebinding_of(request.rebinding)
        if dry_run:
            asked = msgspec.structs.replace(request, dry_run=True)
            _show(server.ask(ShownMessage, "POST", "/control/messages/v1", asked), json=json)
            return DONE
        shown = server.ask(ShownMessage, "POST", "/control/messages/v1", request)
        if json:
            put_json(shown)
        else:
            print(f"{shown.id}: {done}. It was {shown.state}, in queue {shown.queue}.")
        return DONE

    return run(f"message {command}", config, work)


def _show(shown: ShownMessage, *, json: bool) -> None:
    if json:
        put_json(shown)
    else:
        render(message_view(shown, time.time()), sys.stdout)
