"""``penstock events``: look into the event log. Reads files only; the server need not run."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, NamedTuple, get_args

from cyclopts import App, Parameter

from penstock.cli.checking import data_dir_of
from penstock.config import find_config
from penstock.events.event import EventType
from penstock.events.files import log_files
from penstock.events.packing import PackedError
from penstock.events.tail import Position, Reader, begin_at, last_lines
from penstock.events.view import Filter, pieces
from penstock.mail.duration import QuantityError, parse_duration
from penstock.mail.problem import ConfigError

_POLL_SECONDS: Final = 0.2
_TIME: Final = "%Y-%m-%dT%H:%M:%S.%fZ"

app = App(name="events", help="Look into the event log.")

Print = Callable[[Iterable[bytes]], None]
Values = tuple[str, ...]


@Parameter(name="*")
@dataclass(frozen=True)
class Wanted:
    """What selects events. An option may be given more than once: any of its values will do, and all options must agree."""

    since: str | None = None
    """Begin at a time, "2026-11-20T21:54:00Z", or so long ago, "10m"."""
    until: str | None = None
    """Events before a time, as above."""
    event_type: Annotated[Values, Parameter(name=["--type", "-t"])] = ()
    """Reception, Delivery, TransientFailure, Bounce, Expiration, AdminBounce, AdminDelete, AdminRebind, AdminFlush, Directive, Rejection,
    PolicyError, Quarantine, SpoolHealth, or Totals, which are shown only if they are asked for."""
    tenant: Values = ()
    """Events of this tenant; "" is mail without one."""
    campaign: Values = ()
    """Events of this campaign."""
    domain: Values = ()
    """Events with a recipient in this domain."""
    recipient: Values = ()
    """Events with this recipient, whole address."""
    sender: Values = ()
    """Events of mail from this reverse-path; "" is the null one."""
    message: Annotated[Values, Parameter(name="--id")] = ()
    """Events of the message with this id."""
    queue: Values = ()
    """Events of this scheduled queue: campaign:tenant@domain!routing_domain."""
    site: Values = ()
    """Events at this site, or of this ready queue: source->site@smtp_client."""


class _Asked(NamedTuple):
    """Where to look, for what, and from when on."""

    place: Path
    wanted: Filter
    begin: datetime | None


NOTHING_SPECIAL = Wanted()


@app.command
def tail(
    *,
    config: Annotated[str | None, Parameter(name=["--config", "-c"])] = None,
    directory: Path | None = None,
    lines: Annotated[int, Parameter(name=["--lines", "-n"])] = 10,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"], negative="")] = False,
    everything: Annotated[bool, Parameter(name="--all", negative="")] = False,
    wanted: Wanted = NOTHING_SPECIAL,
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
    json
        Show the lines as they are in the file.
    """
    if lines < 0:
        return _complain("--lines cannot be negative", 2)
    asked = _asked(config, directory, wanted)
    if isinstance(asked, int):
        return asked
    count = None if everything or asked.begin else lines
    return _guarded(asked.place, lambda: _show(asked, count, follow, _printer(json)))


@app.command
def query(
    *,
    config: Annotated[str | None, Parameter(name=["--config", "-c"])] = None,
    directory: Path | None = None,
    limit: int | None = None,
    wanted: Wanted = NOTHING_SPECIAL,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Show all events that agree with the options, oldest first.

    An option that selects may be given more than once: any of its values will do, and all options must agree.
    Exit status: 0 done, 1 the event log cannot be read, 2 the command line or the configuration is wrong.

    Parameters
    ----------
    config
        The configuration that names the data directory; else $PENSTOCK_CONFIG, else /etc/penstock/penstock.toml.
    directory
        Read the event files in this directory, whatever the configuration says.
    limit
        Stop after so many.
    json
        Show the lines as they are in the file.
    """
    if limit is not None and limit < 0:
        return _complain("--limit cannot be negative", 2)
    asked = _asked(config, directory, wanted)
    if isinstance(asked, int):
        return asked
    return _guarded(asked.place, lambda: _query(asked, limit, _printer(json)))


def _asked(config: str | None, directory: Path | None, wanted: Wanted) -> _Asked | int:
    """What is asked for; an exit status, once it was said what is wrong with it."""
    try:
        now = time.time()
        begin = _moment(wanted.since, now) if wanted.since is not None else None
        end = _moment(wanted.until, now) if wanted.until is not None else None
    except QuantityError as error:
        return _complain(str(error), 2)
    try:
        place = directory if directory is not None else _events_directory(config)
    except ConfigError as error:
        return _complain(str(error), 2)
    known = {name.lower(): name for name in get_args(EventType)}
    if unknown := [name for name in wanted.event_type if name.lower() not in known]:
        return _complain(f"{unknown[0]} is no type of event; they are {', '.join(known.values())}", 2)
    selected = Filter(
        types=frozenset(known[name.lower()] for name in wanted.event_type),
        tenants=frozenset(wanted.tenant),
        campaigns=frozenset(wanted.campaign),
        domains=frozenset(name.lower() for name in wanted.domain),
        ids=frozenset(wanted.message),
        recipients=frozenset(name.lower() for name in wanted.recipient),
        senders=frozenset("" if name == "<>" else name.lower() for name in wanted.sender),
        queues=frozenset(wanted.queue),
        sites=frozenset(wanted.site),
        since=begin.strftime(_TIME) if begin is not None else "",
        until=end.strftime(_TIME) if end is not None else "",
    )
    return _Asked(place, selected, begin)


def _guarded(place: Path, work: Callable[[], None]) -> int:
    """Do it; the exit status."""
    try:
        work()
        sys.stdout.flush()
    except BrokenPipeError:
        # what reads us has seen enough; nothing may be flushed into the pipe at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        pass
    except PackedError as error:
        return _complain(str(error), 1)
    except OSError as error:
        return _complain(
            f"{place}: {error.strerror or error}; has the server run with this configuration?", 1
        )
    return 0


def _begin_of(asked: _Asked) -> Position:
    """The first place behind which there is something that is wanted."""
    if asked.begin is None:
        log_files(asked.place)  # OSError, which a reader does not raise for what may come to be
        return Position()
    return begin_at(asked.place, int(asked.begin.timestamp() * 1_000_000))


def _query(asked: _Asked, limit: int | None, show: Print) -> None:
    left = limit
    with Reader(asked.place, _begin_of(asked)) as reader:
        for batch in lines_of(reader.batches(), None):
            found = [line for line in batch if asked.wanted.is_wanted(line)]
            if left is not None:
                found = found[:left]
                left -= len(found)
            show(found)
            if left == 0:
                return


def _show(asked: _Asked, count: int | None, follow: bool, show: Print) -> None:
    """Print ``count`` last lines, or all from where is asked for on (None), and then those that come, if ``follow``."""
    wanted, place = asked.wanted, asked.place
    if count is not None:
        found, position = last_lines(place, count, wanted.is_wanted)
        show(found)
        if not follow:
            return
    else:
        position = _begin_of(asked)
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


def _moment(text: str, now: float) -> datetime:
    """The moment that ``--since`` or ``--until`` names; QuantityError if it names none."""
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
