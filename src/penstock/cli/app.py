"""The program ``penstock``: its commands, each in a module of its own, loaded when it is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from cyclopts import App

import penstock

#: Name, place, and what it does; in the order in which they are listed.
COMMANDS: Final = (
    ("serve", "penstock.cli.serve:serve", "Run the server in the foreground."),
    ("check", "penstock.cli.checking:check", "Say everything that is wrong with a configuration."),
    (
        "upgrade",
        "penstock.cli.upgrade:upgrade",
        "Let the running server go over to a new version of the program.",
    ),
    ("status", "penstock.cli.status:status", "Show how the running server is."),
    ("queues", "penstock.cli.queues:app", "Show what is queued, and what holds it."),
    ("explain", "penstock.cli.queues:explain", "Say why a queue, or a message, does not move."),
    ("suspend", "penstock.cli.directing:suspend", "Hold mail back for a while."),
    ("unsuspend", "penstock.cli.directing:unsuspend", "Undo a suspension."),
    ("bounce", "penstock.cli.directing:bounce", "Take mail out of the queue for good."),
    ("rebind", "penstock.cli.directing:rebind", "Put mail into another queue."),
    ("flush", "penstock.cli.directing:flush", "Have mail that waits for its retry due now."),
    (
        "message",
        "penstock.cli.message:app",
        "Look at one queued message: message show, retry, delete, rebind, export.",
    ),
    (
        "directives",
        "penstock.cli.directives:app",
        "Show directives in force and how far sweeps are: directives, directives cancel.",
    ),
    ("events", "penstock.cli.events:app", "Show what happened to messages: events tail, query."),
    ("spool", "penstock.cli.spool:app", "Look into the spool: spool ls, cat, check, stats."),
    (
        "ledger",
        "penstock.cli.ledger:ledger",
        "Check that every accepted recipient is settled once, or queued.",
    ),
    ("policy", "penstock.cli.policy:app", "Try a policy on a message: policy test."),
    ("demo", "penstock.cli.demo:demo", "Show the whole server on an example, on this machine alone."),
    ("sink", "penstock.cli.sink:sink", "An SMTP server that answers as it is told, for trials."),
    ("blast", "penstock.cli.blast:blast", "A load generator, for trials."),
)


def program(arguments: Sequence[str]) -> App:
    """The application for these arguments: a command that they name has its own, long help; otherwise all have a line in the list."""
    app = App(
        name="penstock",
        help="A tenant-aware mail transfer agent. Every command has --help.",
        version=f"penstock {penstock.__version__}",
        version_flags=["--version", "-V"],
    )
    named = arguments[0] if arguments else None
    for number, (name, place, does) in enumerate(COMMANDS):
        app.command(place, name=name, help=None if name == named else does, sort_key=number)
    return app


def main() -> int:
    """Run a command; its exit code. 2 where the command line is wrong."""
    if sys.argv[1:2] in (["worker"], ["scribe"]) and "--fd" not in sys.argv:
        sys.stderr.write(f"penstock {sys.argv[1]}: the server starts this itself; run penstock serve\n")
        return 2
    if sys.argv[1:2] == ["worker"]:
        # started by the supervisor, which waits for it
        from penstock.cli.worker import worker

        return worker(sys.argv[2:])
    if sys.argv[1:2] == ["scribe"]:
        from penstock.cli.scribe import scribe

        return scribe(sys.argv[2:])
    if sys.argv[1:2] == ["rehearse"]:
        from penstock.cli.rehearsal import rehearse

        return rehearse(sys.argv[2:])
    result = program(sys.argv[1:])()
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
