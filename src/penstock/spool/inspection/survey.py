"""Figures of a spool: what is queued, for whom, and what it takes on the disk. From what a look has seen; no file is read for it."""

from __future__ import annotations

import errno
from bisect import bisect_left
from collections.abc import Iterable

import msgspec

from penstock.mail.queue_name import QueueName
from penstock.spool.files import FileError
from penstock.spool.inspection.read_only import ReadOnlyFiles
from penstock.spool.inspection.view import SeenSegment, View
from penstock.spool.names import BODIES, body_name
from penstock.spool.queued import Queued


class Share(msgspec.Struct):
    """What is queued under one name. ``octets`` are those of the messages as they are sent; ``oldest`` is None for nothing."""

    messages: int = 0
    recipients: int = 0
    octets: int = 0
    oldest: float | None = None

    def add(self, other: Share) -> None:
        """Count ``other`` in."""
        self.messages += other.messages
        self.recipients += other.recipients
        self.octets += other.octets
        if other.oldest is not None:
            self.oldest = other.oldest if self.oldest is None else min(self.oldest, other.oldest)


class SegmentFigures(msgspec.Struct, frozen=True):
    """One segment. ``used`` octets are header and frames, ``live`` those of frames with a live message."""

    number: int
    path: str
    size: int
    used: int
    live: int
    messages: int
    is_sealed: bool


class Survey(msgspec.Struct, frozen=True):
    """The figures of a spool. Names are tenants and campaigns (None for mail without one), domains, and queues as they are written."""

    total: Share
    tenants: dict[str | None, Share]
    campaigns: dict[str | None, Share]
    domains: dict[str | None, Share]
    queues: int
    segments: tuple[SegmentFigures, ...]


def survey(view: View) -> Survey:
    """The figures of what was seen."""
    shares = _by_queue(view.queued)
    tenants: dict[str | None, Share] = {}
    campaigns: dict[str | None, Share] = {}
    domains: dict[str | None, Share] = {}
    total = Share()
    for name, share in shares:
        total.add(share)
        for shares_by, key in ((tenants, name.tenant), (campaigns, _campaign(name)), (domains, name.domain)):
            shares_by.setdefault(key, Share()).add(share)
    segments = tuple([_figures(view.queued, segment) for segment in view.segments])
    return Survey(total, tenants, campaigns, domains, len(shares), segments)


def _campaign(name: QueueName) -> str | None:
    """A campaign is its tenant's own: two tenants may use one word."""
    return f"{name.campaign}:{name.tenant or ''}" if name.campaign is not None else None


def _by_queue(queued: Queued) -> list[tuple[QueueName, Share]]:
    shares = [Share() for _ in queued.queue_names]
    columns = zip(queued.waiting, queued.recipients, queued.queue, queued.size, queued.created, strict=True)
    for row, (bits, recipients, queue, size, created) in enumerate(columns):
        if bits:
            share = shares[queue]
            share.messages += 1
            share.recipients += bits.bit_count() if recipients <= 64 else len(queued.waiting_recipients(row))
            share.octets += size
            if share.oldest is None or created < share.oldest:
                share.oldest = created
    named = zip(queued.queue_names, shares, strict=True)
    return [(name, share) for name, share in named if name is not None and share.messages]


def _figures(queued: Queued, segment: SeenSegment) -> SegmentFigures:
    number = segment.identity.number
    live, messages, last = 0, 0, -1
    rows = queued.segments.get(number)
    for key, row in zip(rows.keys, rows.rows, strict=True) if rows is not None else ():
        if queued.waiting[row] and queued.segment[row] == number and queued.key[row] == key:
            messages += 1
            if key >> 16 != last:
                last = key >> 16
                live += _frame_end(segment, last) - last
    return SegmentFigures(number, segment.path, segment.size, segment.end, live, messages, segment.is_sealed)


def _frame_end(segment: SeenSegment, offset: int) -> int:
    """Where the frame at ``offset`` ends at the latest: notes behind it are counted with it."""
    offsets = segment.offsets
    at = bisect_left(offsets, offset) + 1
    return offsets[at] if at < len(offsets) else segment.end


def largest(shares: dict[str | None, Share], limit: int) -> tuple[list[tuple[str | None, Share]], Share, int]:
    """The ``limit`` names with the most messages, what all others are together, and how many these are."""
    ordered = sorted(shares.items(), key=lambda item: (-item[1].messages, item[0] or ""))
    return ordered[:limit], _sum(share for _, share in ordered[limit:]), max(0, len(ordered) - limit)


def _sum(shares: Iterable[Share]) -> Share:
    total = Share()
    for share in shares:
        total.add(share)
    return total


def body_figures(files: ReadOnlyFiles) -> tuple[int, int]:
    """How many body files there are, and their octets. FileError."""
    count, octets = 0, 0
    for name in files.names(BODIES):
        if body_name(name) is None:
            continue
        try:
            octets += files.attributes(f"{BODIES}/{name}").size
        except FileError as error:
            if error.errno != errno.ENOENT:  # delivered meanwhile
                raise
        else:
            count += 1
    return count, octets
