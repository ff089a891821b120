"""The program ``penstock``: its commands, each in a module of its own, loaded when it is called."""

from __future__ import annotations

import sys

from cyclopts import App

import penstock

app = App(
    name="penstock",
    help="A tenant-aware mail transfer agent. Every command has --help.",
    version=f"penstock {penstock.__version__}",
    version_flags=["--version", "-V"],
)
app.command("penstock.cli.serve:serve", name="serve")
app.command("penstock.cli.checking:check", name="check")
app.command("penstock.cli.events:app", name="events")
app.command("penstock.cli.status:status", name="status")
app.command("penstock.cli.demo:demo", name="demo")
app.command("penstock.cli.sink:sink", name="sink")
app.command("penstock.cli.blast:blast", name="blast")


def main() -> int:
    """Run a command; its exit code. 2 where the command line is wrong."""
    result = app()
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
