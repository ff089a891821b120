"""``penstock events``: look into the event log. Reads files only; the server need not run."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, get_args

from cyclopts import App, Parameter

from penstock.cli.checking import data_dir_of
from penstock.config import find_config
from penstock.events.event import EventType
from penstock.events.tail import Position, Reader, begin_at, last_lines
from penstock.events.view import Filter, pieces
from penstock.mail.duration import QuantityError, parse_duration
from penstock.mail.problem import ConfigError

_POLL_SECONDS: Final = 0.2

app = App(name="events", help="Look into the event log.")

Print = Callable[[Iterable[bytes]], None]


@app.command
def tail(
    *,
    config: Annotated[str | None, Parameter(name=["--config", "-c"])] = None,
    directory: Path | None = None,
    lines: Annotated[int, Parameter(name=["--lines", "-n"])] = 10,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"], negative="")] = False,
    everything: Annotated[bool, Parameter(name="--all", negative="")] = False,
    since: str | None = None,
    event_type: Annotated[tuple[str, ...], Parameter(name=["--type", "-t"])] = (),
    tenant: tuple[str, ...] = (),
    campaign: tuple[str, ...] = (),
    domain: tuple[str, ...] = (),
    message: Annotated[tuple[str, ...], Parameter(name="--id")] = (),
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Show the last events, and with -f those that come.

    An option that selects may be given more than once: any of its values will do, and all options must agree.
    Exit status: 0 done, 1 the event log cannot be read, 2 the command line or the configuration is wrong.

    Parameters
    ----------
    config
        The configuration that names the data directory; else $PENSTOCK_CONFIG, else /etc/penstock/penstock.toml.
    directory
        Read the event files in this directory, whatever the configuration says.
    lines
        Show the last so many of the wanted events; 0 for none.
    follow
        Go on with the events that are written from now on, until interrupted.
    everything
        Begin with the oldest event.
    since
        Begin at a time, "2026-11-20T21:54:00Z", or so long ago, "10m".
    event_type
        Reception, Delivery, TransientFailure, Bounce, Expiration, Rejection, PolicyError, Quarantine, SpoolHealth, or Totals, which are
        shown only if they are asked for.
    tenant
        Events of this tenant; "" is mail without one.
    campaign
        Events of this campaign.
    domain
        Events with a recipient in this domain.
    message
        Events of the message with this id.
    json
        Show the lines as they are in the file.
    """
    try:
        begin = _begin(since, time.time()) if since is not None else None
    except QuantityError as error:
        return _complain(str(error), 2)
    if lines < 0:
        return _complain("--lines cannot be negative", 2)
    try:
        place = directory if directory is not None else _events_directory(config)
    except ConfigError as error:
        return _complain(str(error), 2)
    known = {name.lower(): name for name in get_args(EventType)}
    if unknown := [name for name in event_type if name.lower() not in known]:
        return _complain(f"{unknown[0]} is no type of event; they are {', '.join(known.values())}", 2)
    wanted = Filter(
        types=frozenset(known[name.lower()] for name in event_type),
        tenants=frozenset(tenant),
        campaigns=frozenset(campaign),
        domains=frozenset(name.lower() for name in domain),
        ids=frozenset(message),
        since=begin.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if begin is not None else "",
    )
    try:
        _show(place, wanted, None if everything or begin else lines, begin, follow, _printer(json))
        sys.stdout.flush()
    except BrokenPipeError:
        # what reads us has seen enough; nothing may be flushed into the pipe at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        pass
    except OSError as error:
        return _complain(
            f"{place}: {error.strerror or error}; has the server run with this configuration?", 1
        )
    return 0


def _show(
    place: Path, wanted: Filter, count: int | None, begin: datetime | None, follow: bool, show: Print
) -> None:
    """Print ``count`` last lines, or all from ``begin`` on (None: all), and then those that come, if ``follow``."""
    if count is not None:
        found, position = last_lines(place, count, wanted.is_wanted)
        show(found)
        if not follow:
            return
    else:
        position = begin_at(place, int(begin.timestamp() * 1_000_000)) if begin is not None else Position()
    with Reader(place, position) as reader:
        wait = _wait if follow else None
        for batch in lines_of(reader.batches(), wait):
            show([line for line in batch if wanted.is_wanted(line)])


def lines_of(batches: Iterator[list[bytes]], wait: Callable[[], None] | None) -> Iterator[list[bytes]]:
    """The batches that have lines. When there is nothing more for now: ``wait`` and look again, or stop if it is None."""
    for batch in batches:
        if batch:
            yield batch
        elif wait is None:
            return
        else:
            wait()


def _wait() -> None:
    time.sleep(_POLL_SECONDS)


def _printer(json: bool) -> Print:
    if json:
        return _print_raw
    if sys.stdout.isatty():
        return _coloured_printer()
    return _print_plain


def _print_raw(lines: Iterable[bytes]) -> None:
    sys.stdout.buffer.write(b"".join(line + b"\n" for line in lines))
    sys.stdout.buffer.flush()


def _print_plain(lines: Iterable[bytes]) -> None:
    for line in lines:
        sys.stdout.write("".join(text for text, _ in pieces(line)) + "\n")
    sys.stdout.flush()


def _coloured_printer() -> Print:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)

    def show(lines: Iterable[bytes]) -> None:
        for line in lines:
            console.print(Text.assemble(*pieces(line)), soft_wrap=True)

    return show


def _begin(text: str, now: float) -> datetime:
    """The moment that ``--since`` names; QuantityError if it names none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return datetime.fromtimestamp(now - parse_duration(text), UTC)
    return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _events_directory(config: str | None) -> Path:
    return data_dir_of(find_config(config, os.environ)) / "events"


def _complain(text: str, status: int) -> int:
    sys.stderr.write(f"penstock events: {text}\n")
    return status
