"""``penstock ledger``: whether every accepted recipient is settled once, or queued. Reads the event files; the server need not run."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter

from penstock.api.client import control_get
from penstock.api.control import ControlError
from penstock.cli.checking import data_dir_of
from penstock.cli.quantities import counted
from penstock.config import find_config
from penstock.events.event import Counts, TenantCounts
from penstock.events.ledger import Finding, Ledger, Report
from penstock.events.text import displayed
from penstock.events.totals import INCOMING, OUTGOING
from penstock.mail.problem import ConfigError
from penstock.mail.status import Status

_PROGRESS_SECONDS: Final = 0.5
_COLUMNS: Final = (*INCOMING, *OUTGOING, "queued")


class Server(msgspec.Struct):
    """What the running server says. ``queued`` is None where it cannot be compared; ``text`` says why, or that it was."""

    text: str
    queued: int | None = None


class Result(msgspec.Struct):
    """The answer as JSON."""

    holds: bool
    report: Report
    server: Server | None


def ledger(
    *,
    config: Annotated[str | None, Parameter(name=["--config", "-c"])] = None,
    data_dir: Path | None = None,
    tenant: str | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Check that every recipient that was accepted is settled once, or queued.

    From the event files alone: accepted + generated + moved in = delivered + bounced + expired + suppressed + dropped + moved out +
    quarantined + queued, over all and by tenant. A running server is asked how many are queued, and compared with that if it is quiet.
    Exit status: 0 it holds, 1 it does not or the event log cannot be read, 2 the command line or the configuration is wrong.

    Parameters
    ----------
    config
        The configuration that names the data directory; else $PENSTOCK_CONFIG, else /etc/penstock/penstock.toml.
    data_dir
        The data directory, whatever the configuration says.
    tenant
        Show this tenant, and what does not hold for it; "" is mail without one.
    json
        Show everything as JSON.
    """
    try:
        place = data_dir if data_dir is not None else data_dir_of(find_config(config, os.environ))
    except ConfigError as error:
        return _complain(str(error), 2)
    progress = _Progress()
    try:
        before = _status(place)
        report = Ledger(place / "events", progress.show).report()
        server = _compare(report, before, _status(place))
    except OSError as error:
        progress.end()
        return _complain(
            f"{place / 'events'}: {error.strerror or error}; has the server run with this configuration?", 1
        )
    except KeyboardInterrupt:
        progress.end()
        return 130
    progress.end()
    if tenant is not None:
        report = _only(report, tenant or None)
    result = Result(report.holds, report, server)
    if json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(result), indent=2).decode() + "\n")
    else:
        sys.stdout.writelines(line + "\n" for line in _lines(result))
    return 0 if result.holds else 1


# -- the running server


def _status(data_dir: Path) -> Status | str:
    """What the server says of itself, or why it says nothing."""
    try:
        return msgspec.json.decode(asyncio.run(control_get(data_dir, "/control/status/v1")), type=Status)
    except ControlError as error:
        return str(error)
    except msgspec.DecodeError:
        return "the server is of another version of Penstock"


def _compare(report: Report, before: Status | str, after: Status | str) -> Server:
    """Hold what the server has queued against the event log, if nothing has changed while that was read."""
    if isinstance(before, str) or isinstance(after, str):
        return Server(f"not compared: {before if isinstance(before, str) else after}")
    if before.mail != after.mail or before.pid != after.pid:
        return Server("not compared: mail was moving; try again when the server is quiet")
    if after.spool.is_recovering:
        return Server(
            "not compared: the server still reads what was queued before its start; try again later"
        )
    if after.event_log.is_behind or after.event_log.waiting:
        return Server("not compared: events are still being written")
    queued = after.mail.queued
    if queued != report.totals.queued:
        report.findings.append(
            Finding(
                f"the server has {queued} recipients queued, and by the events {report.totals.queued} are",
                abs(queued - report.totals.queued),
            )
        )
        return Server("has another number queued", queued)
    return Server("has as many queued", queued)


# -- what is shown


def _only(report: Report, tenant: str | None) -> Report:
    """What concerns one tenant."""
    tenants = [counts for counts in report.tenants if counts.tenant == tenant]
    return msgspec.structs.replace(
        report,
        totals=_sum(tenants),
        tenants=tenants,
        findings=[item for item in report.findings if item.tenant in (tenant, msgspec.UNSET)],
    )


def _sum(tenants: Iterable[TenantCounts]) -> Counts:
    sums = Counts()
    for counts in tenants:
        for name in _COLUMNS:
            setattr(sums, name, getattr(sums, name) + getattr(counts, name))
    return sums


def _lines(result: Result) -> Iterable[str]:
    report = result.report
    yield f"{counted(report.events, 'event')} since {displayed(report.since) or 'ever'}, in {counted(report.files, 'file')}"
    if report.unreadable:
        yield f"{report.unreadable} lines are no events: a crash can leave such, and their events are made again"
    yield ""
    used = [
        name
        for name in _COLUMNS
        if getattr(report.totals, name) or name in ("accepted", "delivered", "queued")
    ]
    rows = [["tenant", *(name.replace("_", " ") for name in used)]]
    rows.append(
        [
            "all" if len(report.tenants) != 1 else _tenant(report.tenants[0].tenant),
            *_numbers(report.totals, used),
        ]
    )
    if len(report.tenants) > 1:
        rows += [
            [_tenant(counts.tenant), *_numbers(counts, used)]
            for counts in sorted(report.tenants, key=lambda counts: -counts.accepted)
        ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
        )
    yield ""
    if result.server is not None:
        yield f"The server: {displayed(result.server.text)}."
    for item in report.findings:
        yield f"NOT RIGHT: {_told(item)}"
    if result.holds:
        yield "It holds: accepted + generated + moved in = delivered + bounced + expired + suppressed + dropped + moved out + quarantined + queued."


def _numbers(counts: Counts, names: Iterable[str]) -> list[str]:
    return [str(getattr(counts, name)) for name in names]


def _tenant(name: str | None) -> str:
    return "(no tenant)" if name is None else displayed(name)


def _told(item: Finding) -> str:
    of = "" if item.tenant is msgspec.UNSET else f" ({_tenant(item.tenant)})"
    examples = f": {displayed(', '.join(item.examples))}" if item.examples else ""
    more = ", ..." if 0 < len(item.examples) < item.count else ""
    return f"{item.count} times{of}: {displayed(item.what)}{examples}{more}"


class _Progress:
    """A line on the terminal, while reading takes long."""

    def __init__(self) -> None:
        self._shown = time.monotonic()
        self._is_shown = False

    def show(self, done: int, size: int) -> None:
        """So much is read; twice a second it is shown."""
        now = time.monotonic()
        if now - self._shown >= _PROGRESS_SECONDS and sys.stderr.isatty():
            self._shown, self._is_shown = now, True
            sys.stderr.write(f"\rreading events: {done * 100 // max(1, size)}% of {size // 1_000_000} MB ")
            sys.stderr.flush()

    def end(self) -> None:
        """Take the line away."""
        if self._is_shown:
            sys.stderr.write("\r\x1b[K")
            self._is_shown = False


def _complain(text: str, status: int) -> int:
    sys.stderr.write(f"penstock ledger: {text}\n")
    return status
