"""``penstock spool stats``: figures of the spool, as tables or as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TextIO

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from penstock.cli.quantities import rfc3339, shown_size, shown_span
from penstock.events.text import displayed
from penstock.spool.inspection.read_only import ReadOnlyFiles
from penstock.spool.inspection.survey import Share, body_figures, largest, survey
from penstock.spool.inspection.view import View

#: Segments shown on a terminal: the oldest and the newest so many.
_SEGMENTS_SHOWN: Final = 5


class Amount(msgspec.Struct, frozen=True):
    """What is queued under ``name``, None for mail without; ``octets`` as it is sent."""

    name: str | None
    messages: int
    recipients: int
    octets: int
    oldest_time: str | None
    oldest: float | None


class Others(msgspec.Struct, frozen=True):
    """The names of a kind that have the most messages, and how many names there are besides, with what they have together."""

    shown: tuple[Amount, ...]
    others: int
    rest: Amount


class SegmentAmount(msgspec.Struct, frozen=True):
    """One segment: octets of the file, of its frames, and of those with a live message, which is a ``live_share`` of the file's."""

    number: int
    path: str
    octets: int
    used_octets: int
    live_octets: int
    live_share: float
    messages: int
    is_sealed: bool


class Figures(msgspec.Struct, frozen=True):
    """All figures. ``held`` messages came from other lanes, which may still have them.

    ``disk_octets`` are those of segments and body files, ``amplification`` times the octets queued; None where none are.
    """

    total: Amount
    held: int
    queues: int
    tenants: Others
    campaigns: Others
    domains: Others
    segments: tuple[SegmentAmount, ...]
    body_files: int
    body_octets: int
    segment_octets: int
    disk_octets: int
    amplification: float | None


def figures(files: ReadOnlyFiles, view: View, limit: int | None) -> Figures:
    """The figures of what a look has seen, ``limit`` names of a kind at most (None: all). FileError."""
    found = survey(view)
    bodies, body_octets = body_figures(files)
    segments = tuple(
        [
            SegmentAmount(
                item.number, item.path, item.size, item.used, item.live, item.live / item.size if item.size else 0.0,
                item.messages, item.is_sealed,
            )
            for item in found.segments
        ]
    )  # fmt: skip
    segment_octets = sum(item.octets for item in segments)
    disk = segment_octets + body_octets
    return Figures(
        _amount("", found.total),
        found.held,
        found.queues,
        _others(found.tenants, limit),
        _others(found.campaigns, limit),
        _others(found.domains, limit),
        segments,
        bodies,
        body_octets,
        segment_octets,
        disk,
        disk / found.total.octets if found.total.octets else None,
    )


def _amount(name: str | None, share: Share) -> Amount:
    oldest = rfc3339(share.oldest) if share.oldest is not None else None
    return Amount(name, share.messages, share.recipients, share.octets, oldest, share.oldest)


def _others(shares: dict[str | None, Share], limit: int | None) -> Others:
    top, rest, others = largest(shares, len(shares) if limit is None else limit)
    return Others(tuple([_amount(name, share) for name, share in top]), others, _amount("", rest))


def render(found: Figures, now: float, file: TextIO) -> None:
    """Write the tables to ``file``, in colour if it is a terminal. ``now`` is the time, to tell ages by."""
    console = Console(file=file, highlight=False, width=None if file.isatty() else 140)
    total = found.total
    age = f", the oldest {shown_span(now - total.oldest)} old" if total.oldest is not None else ""
    held = f"; {found.held} of them are held until another lane has forgotten them" if found.held else ""
    console.print(
        Text(
            f"{total.messages} messages in {found.queues} queues, {total.recipients} recipients waiting, {shown_size(total.octets)}{age}{held}"
        )
    )
    for title, unnamed, others in (
        ("Tenants", "(no tenant)", found.tenants),
        ("Campaigns", "(no campaign)", found.campaigns),
        ("Domains", "", found.domains),
    ):
        if others.shown:
            console.print(_shares(title, unnamed, others, now))
    _render_disk(found, console)


def _shares(title: str, unnamed: str, others: Others, now: float) -> Table:
    rows = [_share(item, item.name if item.name is not None else unnamed, now) for item in others.shown]
    if others.others:
        rows.append(_share(others.rest, f"({others.others} others)", now))
    return _table(title, ("name", "messages", "recipients", "size", "oldest"), rows)


def _share(item: Amount, name: str, now: float) -> tuple[str, ...]:
    oldest = shown_span(now - item.oldest) if item.oldest is not None else ""
    return name, str(item.messages), str(item.recipients), shown_size(item.octets), oldest


def _render_disk(found: Figures, console: Console) -> None:
    segments = found.segments
    shown = (
        [*segments]
        if len(segments) <= 2 * _SEGMENTS_SHOWN
        else [*segments[:_SEGMENTS_SHOWN], *segments[-_SEGMENTS_SHOWN:]]
    )
    rows = [
        (item.path, str(item.messages), shown_size(item.octets), f"{item.live_share:.0%}", "" if item.is_sealed else "open")
        for item in shown
    ]  # fmt: skip
    if len(shown) < len(segments):
        rows.insert(_SEGMENTS_SHOWN, (f"({len(segments) - len(shown)} others)", "", "", "", ""))
    if rows:
        console.print(_table("Segments", ("file", "messages", "size", "live", ""), rows))
    times = f", {found.amplification:.1f} for each octet queued" if found.amplification is not None else ""
    console.print(
        Text(
            f"On disk: {shown_size(found.disk_octets)}{times}: {len(segments)} segments with {shown_size(found.segment_octets)}, "
            f"{found.body_files} body files with {shown_size(found.body_octets)}"
        )
    )


def _table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for place, name in enumerate(header):
        table.add_column(
            name, justify="right" if 0 < place < 5 else "left", header_style="dim", overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(displayed(cell)) for cell in row))
    return table
