"""``penstock blast``: a load generator."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
import uvloop
from cyclopts import Parameter
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from penstock.mail.configuration import Endpoint
from penstock.mail.duration import QuantityError, parse_duration
from penstock.mail.rate import parse_rate
from penstock.sim.blast import AttachedSinkError, Blast, BlastOptions, BlastReport, OptionError
from penstock.sim.blast.histogram import LatencySummary
from penstock.sim.blast.options import parse_count_range, parse_size_range, parse_weights
from penstock.sim.endpoint import EndpointError, parse_endpoint

_PROGRESS_INTERVAL: Final = 0.2
_DEFAULT_COUNT: Final = 1000
_SHOWN: Final = 40

Repeated = Parameter(negative="", consume_multiple=False, show_default=False)
Flag = Parameter(negative="")


def blast(
    *,
    to_server: str = "127.0.0.1:2525",
    connections: int = 10,
    rate: str | None = None,
    count: int | None = None,
    duration: str | None = None,
    size: str = "10KiB",
    tenants: str | None = None,
    tenant_header: str = "X-Tenant",
    campaigns: str | None = None,
    campaign_header: str = "X-Campaign",
    domains: str = "blast.test",
    recipients: str = "1",
    local_part: str = "user-{n}-{r}",
    sender: str = "sender@blast.test",
    seed: int | None = None,
    pipelining: bool = True,
    messages_per_connection: int = 0,
    sink: Annotated[tuple[str, ...], Repeated] = (),
    grace: str = "30s",
    timeout: str = "60s",
    json: Annotated[bool, Flag] = False,
    quiet: Annotated[bool, Flag] = False,
    allow_remote: Annotated[bool, Flag] = False,
) -> int:
    """Send many messages by SMTP, and measure.

    With `--rate` the load is an open loop: each message has a time at which it is due, whatever the server does, and its acceptance latency
    is measured from then, so that a server that stalls is charged for all the time it made others wait. Without, each connection sends as
    fast as it is answered, and the latency is from the beginning of the transaction.

    With `--sink` a sink is started in a process of its own, to which the server under test must deliver. Latencies from acceptance
    (our receipt of 250) to arrival at the sink are measured, every message is accounted for, and its body compared.

    A single SIGINT sends no more, waits for what is under way and reports; a second one reports at once.
    Exit status: 0 everything accepted (and arrived, with a sink), 1 something refused, lost, changed or doubled, 2 an option cannot be used.

    Parameters
    ----------
    to_server
        Server to load. The word `sink` sends straight into the attached sink: what this machine can do without a server.
    connections
        Connections kept open.
    rate
        Messages per period, such as `500/s`; as fast as possible if not given.
    count
        Messages to send; 1000 if neither this nor a duration is given.
    duration
        How long to send, such as `30s`.
    size
        Size of a message with its header, or a range: `1KiB-1MiB`.
    tenants
        Tenants by weight, such as `a=3,b=1`.
    tenant_header
        Field that names the tenant.
    campaigns
        Campaigns by weight.
    campaign_header
        Field that names the campaign.
    domains
        Recipient domains by weight, such as `a.test=1,b.test=2`.
    recipients
        Recipients of a message, or a range: `1-5`.
    local_part
        Local parts by weight. `{n}` is the message's number, `{r}` the recipient's, `{tenant}` the tenant.
    sender
        Reverse-path, with the same placeholders. Empty is the null reverse-path.
    seed
        The same seed chooses the same messages.
    pipelining
        Use PIPELINING where the server offers it.
    messages_per_connection
        Messages after which a connection is replaced; 0 never.
    sink
        Start a sink here, such as `127.0.0.1:2526`; may be repeated.
    grace
        How long to wait at the end for what was accepted and has not arrived.
    timeout
        How long a message may be on its connection.
    json
        Print the report as JSON.
    quiet
        Show no progress.
    allow_remote
        Allow addresses that are not loopback.
    """
    try:
        if count is not None and count < 1:
            raise OptionError(f"--count: {count} is too small; use at least 1")
        options = BlastOptions(
            to_server=None if to_server == "sink" else parse_endpoint(to_server, allow_remote=allow_remote),
            connections=connections,
            rate=parse_rate(rate) if rate is not None else None,
            count=count or (0 if duration is not None else _DEFAULT_COUNT),
            duration=parse_duration(duration) if duration is not None else None,
            size=parse_size_range("--size", size),
            tenants=parse_weights("--tenants", tenants) if tenants else {},
            tenant_header=tenant_header,
            campaigns=parse_weights("--campaigns", campaigns) if campaigns else {},
            campaign_header=campaign_header,
            domains=parse_weights("--domains", domains),
            recipients=parse_count_range("--recipients", recipients),
            local_parts=parse_weights("--local-part", local_part),
            sender=sender,
            seed=seed,
            pipelining=pipelining,
            messages_per_connection=messages_per_connection,
            sink=tuple(parse_endpoint(text, allow_remote=allow_remote) for text in sink),
            grace=parse_duration(grace),
            timeout=parse_duration(timeout),
        )
        options.check()
    except (OptionError, EndpointError, QuantityError) as error:
        return _complain(str(error), 2)
    try:
        report = uvloop.run(_run(options, is_quiet=quiet))
    except AttachedSinkError as error:
        return _complain(str(error), 1)
    if json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        _print(report)
    return 0 if report.is_clean else 1


def _complain(what: str, status: int) -> int:
    sys.stderr.write(f"penstock blast: {what}\n")
    return status


async def _run(options: BlastOptions, *, is_quiet: bool) -> BlastReport:
    running = Blast(options)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, running.stop)
    progress = asyncio.create_task(_show_progress(running, is_quiet=is_quiet), name="blast progress")
    try:
        return await running.run(_announce_sink)
    finally:
        progress.cancel()


def _announce_sink(endpoints: Sequence[Endpoint]) -> None:
    for endpoint in endpoints:
        sys.stderr.write(f"sink on {endpoint}\n")
    sys.stderr.flush()


async def _show_progress(running: Blast, *, is_quiet: bool) -> None:
    terminal = Console(file=sys.stderr)
    if is_quiet or not terminal.is_terminal:
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=terminal, transient=True) as progress:
        task = progress.add_task("sending", total=None, figures="")
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                now = running.progress
                figures = f"{now.accepted:,} accepted, {now.refused:,} refused"
                if running.options.sink:
                    figures += f", {now.awaited:,} under way"
                total = None if now.fraction is None else 1.0
                progress.update(task, total=total, completed=now.fraction or 0.0, figures=figures)
                await asyncio.sleep(_PROGRESS_INTERVAL)


def _print(report: BlastReport) -> None:
    output = Console(file=sys.stdout)
    output.print(_messages(report))
    output.print(_latencies(report))
    if report.tenants:
        output.print(_tenants(report))
    if report.errors:
        table = Table("times", "refusal or error", box=SIMPLE, title="Errors")
        for text, times in report.errors.items():
            table.add_row(f"{times:,}", Text(text))
        output.print(table)


def _messages(report: BlastReport) -> Table:
    table = Table(
        box=SIMPLE, title=f"Blast (seed {report.seed}, ended by: {report.ended_by})", show_header=False
    )
    rate = f"{report.messages_per_second:,.0f} messages/s, {report.bytes_per_second / 1e6:,.1f} MB/s, {report.duration:.2f} s"
    rows = [
        ("messages begun", f"{report.begun:,}"),
        ("accepted", f"{report.accepted:,}"),
        ("refused 4yz, 5yz", f"{report.refused_temporarily:,}, {report.refused_permanently:,}"),
        ("cut off before, after the content", f"{report.failed:,}, {report.unknown:,}"),
        ("due and never begun", f"{report.unsent:,}"),
        ("recipients accepted, refused", f"{report.recipients_accepted:,}, {report.recipients_refused:,}"),
        ("connections made, failed", f"{report.connections:,}, {report.connections_failed:,}"),
        ("throughput", rate),
    ]
    if report.sink is not None:
        figures = report.sink
        wrong = (figures.duplicates, figures.unaccepted, figures.misdelivered, figures.changed)
        rows += [
            ("recipients arrived, lost", f"{figures.received:,}, {figures.lost:,}"),
            ("doubled, unaccepted, misdelivered, changed", ", ".join(f"{count:,}" for count in wrong)),
        ]
        if figures.has_died:
            rows.append(("sink", "ended too early"))
    for name, value in rows:
        table.add_row(name, value)
    return table


def _latencies(report: BlastReport) -> Table:
    table = Table(box=SIMPLE, title="Latency, milliseconds")
    table.add_column("from, to")
    for column in ("count", "mean", "p50", "p90", "p99", "p99.9", "max"):
        table.add_column(column, justify="right")
    start = "due" if report.lag is not None else "begun"
    table.add_row(f"{start}, accepted", *_cells(report.acceptance))
    if report.lag is not None:
        table.add_row("due, begun", *_cells(report.lag))
    if report.sink is not None:
        table.add_row("accepted, at the sink", *_cells(report.sink.delivery))
    return table


def _tenants(report: BlastReport) -> Table:
    table = Table(box=SIMPLE, title="Tenants")
    table.add_column("tenant", overflow="fold")
    for column in ("accepted", "refused", "failed", "arrived", "p50 ms", "p99 ms"):
        table.add_column(column, justify="right")
    for name, figures in list(report.tenants.items())[:_SHOWN]:
        delivery = figures.delivery
        latency = ("", "") if delivery is None else (_milliseconds(delivery.p50), _milliseconds(delivery.p99))
        counts = (figures.accepted, figures.refused, figures.failed, figures.received)
        table.add_row(Text(name), *(f"{count:,}" for count in counts), *latency)
    if len(report.tenants) > _SHOWN:
        table.add_row(f"... and {len(report.tenants) - _SHOWN} more")
    return table


def _cells(latency: LatencySummary) -> list[str]:
    values = (latency.mean, latency.p50, latency.p90, latency.p99, latency.p999, latency.max)
    return [f"{latency.count:,}", *(_milliseconds(value) for value in values)]


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.2f}"
