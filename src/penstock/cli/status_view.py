"""A status as tables on a terminal. What is not there is not shown; names from outside are made printable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TextIO

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from penstock.cli.quantities import counted, shown_size, shown_span
from penstock.events.text import displayed
from penstock.mail.status import MailCounts, SpoolCounts, Status

_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def render(status: Status, file: TextIO) -> None:
    """Write the tables to ``file``, in colour if it is a terminal."""
    console = Console(file=file, highlight=False, width=None if file.isatty() else 140)
    console.print(Group(*_parts(status)))


def _parts(status: Status) -> Iterable[Text | Table]:
    yield _headline(status)
    yield from _warnings(status.spool, status.messages)
    if status.event_log.fault is not None:
        yield Text(f"The event log cannot be written: {displayed(status.event_log.fault)}", "red")
    if status.event_log.dropped:
        yield Text(f"{status.event_log.dropped} events were lost.", "red")
    if status.silent:
        named = ", ".join(status.silent)
        yield Text(f"No answer of lane {displayed(named)}: its figures are missing below.", "yellow")
    yield _facts(status)
    if len(status.lanes) > 1:
        yield _lanes(status)
    yield _mail(status)
    if status.queues:
        rows = [
            (
                queue.queue,
                str(queue.messages),
                _age(queue.oldest, status),
                *_held(queue.held_by, queue.until, status),
            )
            for queue in status.queues
        ]
        yield table(
            "Scheduled queues", ("queue", "messages", "oldest", "held by", "until"), rows, numbers={1, 2}
        )
    if status.paths:
        rows = [
            (path.path, str(path.ready), str(path.connections), *_held(path.held_by, path.until, status))
            for path in status.paths
        ]
        yield table("Paths", ("path", "ready", "connections", "held by", "until"), rows, numbers={1, 2})


def _headline(status: Status) -> Text:
    state = (
        Text("running", "bold green") if status.fault is None else Text(displayed(status.fault), "bold red")
    )
    return Text.assemble(
        ("Penstock ", "bold"),
        f"{displayed(status.version)} on {displayed(status.node)}: ",
        state,
        f", pid {status.pid}, for {shown_span(status.now - status.started)}, configuration {status.epoch}",
    )


def _warnings(spool: SpoolCounts, messages: int) -> Iterable[Text]:
    """What is wrong with the spool, or less safe than it could be."""
    if spool.durability == "memory":
        yield Text(f"The spool is in memory: {messages} messages are lost if the server stops.", "yellow")
    elif spool.durability == "os":
        yield Text(
            'The spool is not synced (durability = "os"): accepted mail is lost if the power fails.', "yellow"
        )
    if spool.fault is not None:
        what = f"The spool cannot be written, so nothing is delivered: {displayed(spool.fault)}"
        yield Text(what, "red")
    if spool.refusing is not None and spool.refusing != spool.fault:
        yield Text(f"New mail is refused: {displayed(spool.refusing)}", "red")
    if spool.quarantined:
        yield Text(
            f"{spool.quarantined} damaged records were found in the spool; penstock spool check says where.",
            "red",
        )
    if spool.is_recovering:
        yield Text("Mail from before the start is still being read.", "yellow")


def _spool(spool: SpoolCounts) -> str:
    """What the spool holds, and what it has done."""
    syncs = sum(spool.syncs.counts)
    words = [
        f"{spool.segments} segments, {shown_size(spool.bytes)}, of that {shown_size(spool.live_bytes)} queued"
    ]
    if syncs:
        mean = spool.syncs.sum / syncs
        words.append(f"{spool.stored / syncs:.1f} messages a sync of {mean * 1000:.1f} ms")
    words.append(f"{shown_size(spool.free_bytes)} free")
    return "; ".join(words)


def _facts(status: Status) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    for listener in status.listeners:
        where = f"{listener.protocol} on {displayed(listener.address)}"
        table.add_row("listens", f"{where}, {listener.connections} connections")
    table.add_row("connections", f"{status.connections_in} in, {status.connections_out} out")
    table.add_row(
        "stored", f"{status.messages} messages in {status.scheduled_queues} scheduled queues and on their way"
    )
    if status.spool.durability != "memory":
        table.add_row("spool", _spool(status.spool))
    if status.directives or status.sweeps:
        table.add_row(
            "orders",
            f"{counted(status.directives, 'directive')} in force, {counted(status.sweeps, 'sweep')} under way (penstock directives)",
        )
    rates = status.rates
    table.add_row(
        "last minute",
        f"{rates.received:.1f}/s received, {rates.delivered:.1f}/s delivered, {rates.deferred:.1f}/s deferred, "
        f"{rates.failed:.1f}/s failed",
    )
    limit = f" of {shown_size(status.memory_limit)}" if status.memory_limit is not None else ""
    table.add_row("memory", f"{shown_size(status.memory)}{limit}; loop lag {status.loop_lag * 1000:.1f} ms")
    return table


def _lanes(status: Status) -> Table:
    header = (
        "lane",
        "is",
        "pid",
        "starts",
        "epoch",
        "messages",
        "in/s",
        "out/s",
        "sync",
        "lag",
        "memory",
        "takes no mail",
    )
    rows = [
        (
            lane.lane,
            lane.phase,
            _shown(lane.pid),
            str(lane.starts) if lane.starts else "",
            _shown(lane.epoch),
            _shown(lane.messages),
            f"{lane.rates.received:.1f}" if lane.rates is not None else "",
            f"{lane.rates.delivered:.1f}" if lane.rates is not None else "",
            f"{lane.sync * 1000:.1f} ms" if lane.sync is not None else "",
            f"{lane.loop_lag * 1000:.1f} ms" if lane.loop_lag is not None else "",
            shown_size(lane.memory) if lane.memory is not None else "",
            lane.fault or "",
        )
        for lane in status.lanes
    ]
    return table("Lanes", header, rows, numbers=set(range(2, len(header) - 1)))


def _shown(number: int | None) -> str:
    return "" if number is None else str(number)


def _mail(status: Status) -> Table:
    rows = [("all", *_counts(status.mail))]
    rows += [(tenant.tenant or "(no tenant)", *_counts(tenant.mail)) for tenant in status.tenants]
    header = ("tenant", "queued", "received", "delivered", "deferred", "failed", "expired", "rejected")
    return table("Recipients", header, rows, numbers=set(range(1, len(header))))


def _counts(mail: MailCounts) -> tuple[str, ...]:
    counts = (
        mail.queued,
        mail.received,
        mail.delivered,
        mail.deferred,
        mail.failed,
        mail.expired,
        mail.rejected,
    )
    return tuple(map(str, counts))


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]], numbers: set[int]) -> Table:
    """A table; the columns at ``numbers`` are to the right. What is in the rows is made printable."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for place, name in enumerate(header):
        made.add_column(
            name, justify="right" if place in numbers else "left", header_style="dim", overflow="fold"
        )
    for row in rows:
        made.add_row(*(Text(displayed(cell)) for cell in row))
    return made


def _age(moment: float | None, status: Status) -> str:
    return "" if moment is None else shown_span(status.now - moment)


def _held(by: str | None, until: float | None, status: Status) -> tuple[str, str]:
    if by is None:
        return "", ""
    if until is None:
        return by, ""
    moment = datetime.fromtimestamp(until, UTC)
    return by, f"{moment:%Y-%m-%d %H:%M:%S}Z (in {shown_span(until - status.now)})"
