"""``penstock spool``: look into the spool. Reads files only; the server may be at work, or stopped, and a copy will do."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cyclopts import App, Parameter

from penstock.cli.checking import data_dir_of
from penstock.cli.spool_check import report, verdict
from penstock.cli.spool_list import Selection, SelectionError, list_messages
from penstock.cli.spool_message import parse_place, show_message
from penstock.cli.spool_progress import Progress
from penstock.cli.spool_stats import figures, render
from penstock.config import find_config
from penstock.mail.ports import SpoolError
from penstock.mail.problem import ConfigError
from penstock.spool.files import FileError
from penstock.spool.inspection.examination import examine
from penstock.spool.inspection.read_only import ReadOnlyFiles
from penstock.spool.inspection.view import look
from penstock.spool.names import SEGMENTS
from penstock.spool.places import spools

app = App(name="spool", help="Look into the spool: what is queued, a message, damage, figures.")

_Config = Annotated[str | None, Parameter(name=["--config", "-c"])]
_Flag = Annotated[bool, Parameter(negative="")]
_INTERRUPTED: Final = 130


@app.command(name="ls")
def ls(
    *,
    config: _Config = None,
    spool: Path | None = None,
    lane: str | None = None,
    queue: tuple[str, ...] = (),
    tenant: tuple[str, ...] = (),
    campaign: tuple[str, ...] = (),
    domain: tuple[str, ...] = (),
    limit: int = 100,
    json: _Flag = False,
) -> int:
    """List queued messages, oldest first.

    An option that selects may be given more than once: any of its values will do, and all options must agree.
    Exit status: 0 done, 1 the spool cannot be read, 2 the command line or the configuration is wrong.

    Parameters
    ----------
    config
        The configuration that names the data directory; else $PENSTOCK_CONFIG, else /etc/penstock/penstock.toml.
    spool
        Look into the spool, or the copy of one, in this directory, whatever the configuration says.
    lane
        Look into this lane's spool alone. Without it, into one after the other.
    queue
        Messages of this queue, campaign:tenant@domain!routing_domain.
    tenant
        Messages of this tenant; "" is mail without one.
    campaign
        Messages of this campaign; "" is mail without one.
    domain
        Messages to this domain.
    limit
        List so many at most, and say how many more there are; 0 for all.
    json
        Show each message as a line of JSON.
    """
    if limit < 0:
        return _complain("ls", "--limit cannot be negative", 2)
    try:
        wanted = Selection.of(queue, tenant, campaign, domain)
    except SelectionError as error:
        return _complain("ls", str(error), 2)

    def run(files: ReadOnlyFiles) -> int:
        with closing(Progress(sys.stderr, time.monotonic)) as progress:
            list_messages(files, wanted, limit or None, time.time(), progress, json=json)
        return 0

    return _run("ls", _Spools(config, spool, lane), run, is_plain=not json)


@app.command(name="cat")
def cat(
    message: str | None = None,
    /,
    *,
    config: _Config = None,
    spool: Path | None = None,
    lane: str | None = None,
    place: str | None = None,
    envelope: _Flag = False,
) -> int:
    """Show a message as it would be sent, octet for octet.

    A message that is not queued any more is shown as long as its segment is there; that is said on stderr.
    Exit status: 0 done, 1 there is no such message, or it cannot be read, 2 the command line or the configuration is wrong.

    Parameters
    ----------
    message
        Its id.
    config
        The configuration that names the data directory; else $PENSTOCK_CONFIG, else /etc/penstock/penstock.toml.
    spool
        Look into the spool, or the copy of one, in this directory, whatever the configuration says.
    lane
        Look into this lane's spool alone. Without it, into one after the other.
    place
        Where it lies instead of its id, SEGMENT:OFFSET:PART, as ls --json and check have it.
    envelope
        Show as JSON what is known of the message, and what became of each recipient, instead of its content.
    """
    if (message is None) == (place is None):
        return _complain("cat", "name one message, by its id or with --place", 2)

    try:
        named = parse_place(place) if place is not None else None
    except ValueError as error:
        return _complain("cat", str(error), 2)

    def run(files: ReadOnlyFiles) -> int:
        with closing(Progress(sys.stderr, time.monotonic)) as progress:
            show_message(files, message or "", named, progress, envelope=envelope)
        return 0

    return _run("cat", _Spools(config, spool, lane), run, first_will_do=True)


@app.command(name="check")
def check(
    *, config: _Config = None, spool: Path | None = None, lane: str | None = None, json: _Flag = False
) -> int:
    """Read everything in the spool, and say what is damaged, what that means for mail, and what to do. Changes nothing.

    Exit status: 0 nothing is damaged, 1 something is, 2 the spool could not be read, or not all of it, or the command line is wrong.

    Parameters
    ----------
    config
        The configuration that names the data directory; else $PENSTOCK_CONFIG, else /etc/penstock/penstock.toml.
    spool
        Look into the spool, or the copy of one, in this directory, whatever the configuration says.
    lane
        Look into this lane's spool alone. Without it, into one after the other.
    json
        Show everything as JSON.
    """

    def run(files: ReadOnlyFiles) -> int:
        with closing(Progress(sys.stderr, time.monotonic)) as progress:
            found = examine(files, progress.octets)
        report(found, sys.stdout, json=json)
        return verdict(found)

    return _run("check", _Spools(config, spool, lane), run, unreadable=2, is_plain=not json)


@app.command(name="stats")
def stats(
    *,
    config: _Config = None,
    spool: Path | None = None,
    lane: str | None = None,
    limit: int = 20,
    json: _Flag = False,
) -> int:
    """Show what is queued by tenant, campaign and domain, and what it takes on the disk.

    Exit status: 0 done, 1 the spool cannot be read, 2 the command line or the configuration is wrong.

    Parameters
    ----------
    config
        The configuration that names the data directory; else $PENSTOCK_CONFIG, else /etc/penstock/penstock.toml.
    spool
        Look into the spool, or the copy of one, in this directory, whatever the configuration says.
    lane
        Look into this lane's spool alone. Without it, into one after the other.
    limit
        Show so many names of each kind, those with the most messages; 0 for all.
    json
        Show everything as JSON.
    """
    if limit < 0:
        return _complain("stats", "--limit cannot be negative", 2)

    def run(files: ReadOnlyFiles) -> int:
        with closing(Progress(sys.stderr, time.monotonic)) as progress:
            view = look(files, progress.segments)
        found = figures(files, view, limit or None)
        if json:
            sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
        else:
            render(found, time.time(), sys.stdout)
        return 0

    return _run("stats", _Spools(config, spool, lane), run, is_plain=not json)


class _Spools(msgspec.Struct):
    """Which spools a command is about. ``spool`` is one by its directory; else those of the configuration's data directory, or one ``lane``'s."""

    config: str | None
    spool: Path | None
    lane: str | None

    def found(self) -> dict[str, Path]:
        """Directories by lane. ConfigError; SpoolError if there is none."""
        if self.spool is not None:
            return {"": self.spool}
        data_dir = data_dir_of(find_config(self.config, os.environ))
        try:
            there = spools(data_dir)
        except OSError as error:
            raise SpoolError(f"{data_dir}: {error.strerror or error}") from error
        if self.lane is not None:
            if self.lane not in there:
                known = f"; there are {', '.join(there)}" if there else ""
                raise SpoolError(f"{data_dir} holds no spool of lane {self.lane}{known}")
            return {self.lane: there[self.lane]}
        return there or {"": data_dir / "spool"}


def _run(
    name: str,
    which: _Spools,
    command: Callable[[ReadOnlyFiles], int],
    *,
    unreadable: int = 1,
    is_plain: bool = False,
    first_will_do: bool = False,
) -> int:
    """Do something with each spool; the exit status is the worst, ``unreadable`` if one cannot be read.

    ``is_plain``: people read it, so several lanes have headings. ``first_will_do``: the command looks for something, and one spool has it.
    """
    worst, faults = 0, []
    try:
        there = which.found()
        for lane, root in there.items():
            if is_plain and len(there) > 1:
                sys.stdout.write(f"lane {lane}:\n")
            try:
                with _opened(root) as files:
                    worst = max(worst, command(files))
                    sys.stdout.flush()
            except (FileError, SpoolError) as error:
                faults.append(str(error) if not lane or len(there) == 1 else f"lane {lane}: {error}")
            else:
                if first_will_do:
                    return worst
    except ConfigError as error:
        return _complain(name, str(error), 2)
    except BrokenPipeError:
        # what reads us has seen enough; nothing may be flushed into the pipe at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _INTERRUPTED
    except SpoolError as error:
        return _complain(name, str(error), unreadable)
    for fault in faults:
        worst = _complain(name, fault, unreadable)
    return worst


@contextmanager
def _opened(root: Path) -> Iterator[ReadOnlyFiles]:
    with closing(ReadOnlyFiles(root)) as files:
        if SEGMENTS not in files.names():
            raise SpoolError(
                f"{root} holds no spool, for there is no folder {SEGMENTS} in it; has the server run with this configuration?"
            )
        yield files


def _complain(name: str, text: str, status: int) -> int:
    sys.stderr.write(f"penstock spool {name}: {text}\n")
    return status
