"""Figures of a spool: what is queued, for whom, and what it takes on the disk. From what a look has seen; no file is read for it."""

from __future__ import annotations

import errno
import math
from array import array
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from penstock.mail.queue_name import QueueName
from penstock.spool.files import FileError
from penstock.spool.inspection.read_only import ReadOnlyFiles
from penstock.spool.inspection.view import SeenSegment, View
from penstock.spool.names import BODIES, body_name
from penstock.spool.queued import Queued

#: Recipients that the bits of a row stand for (``penstock.spool.queued``).
_BITS: Final = 64


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
    """The figures of a spool. ``held`` messages came from other lanes, which may still have them.

    Names are tenants and campaigns (None for mail without one), domains, and queues as they are written.
    """

    total: Share
    tenants: dict[str | None, Share]
    campaigns: dict[str | None, Share]
    domains: dict[str | None, Share]
    queues: int
    held: int
    segments: tuple[SegmentFigures, ...]


def survey(view: View) -> Survey:
    """The figures of what was seen."""
    tenants: dict[str | None, Share] = {}
    campaigns: dict[str | None, Share] = {}
    domains: dict[str | None, Share] = {}
    total = Share()
    queues = 0
    for name, share in _by_queue(view.queued):
        queues += 1
        total.add(share)
        for shares, key in ((tenants, name.tenant), (campaigns, _campaign(name)), (domains, name.domain)):
            known = shares.get(key)
            if known is None:
                known = shares[key] = Share()
            known.add(share)
    segments = tuple([_figures(view.queued, segment) for segment in view.segments])
    return Survey(total, tenants, campaigns, domains, queues, len(view.queued.held), segments)


def _campaign(name: QueueName) -> str | None:
    """A campaign is its tenant's own: two tenants may use one word."""
    return f"{name.campaign}:{name.tenant or ''}" if name.campaign is not None else None


def _by_queue(queued: Queued) -> Iterator[tuple[QueueName, Share]]:
    """What is in each queue, counted in columns: there may be as many queues as messages."""
    count = len(queued.queue_names)
    messages, recipients, octets = (
        array("I", bytes(4 * count)),
        array("Q", bytes(8 * count)),
        array("Q", bytes(8 * count)),
    )
    oldest = array("d", [math.inf]) * count
    columns = zip(queued.waiting, queued.recipients, queued.queue, queued.size, queued.created, strict=True)
    for row, (bits, number, queue, size, created) in enumerate(columns):
        if bits:
            messages[queue] += 1
            recipients[queue] += bits.bit_count() if number <= _BITS else len(queued.waiting_recipients(row))
            octets[queue] += size
            if created < oldest[queue]:
                oldest[queue] = created
    for queue, name in enumerate(queued.queue_names):
        if messages[queue] and name is not None:
            yield name, Share(messages[queue], recipients[queue], octets[queue], oldest[queue])


def _figures(queued: Queued, segment: SeenSegment) -> SegmentFigures:
    number, offsets = segment.identity.number, segment.offsets
    # a frame ends at the latest where the next one begins: notes behind it are counted with it
    ends = dict(zip(offsets, [*offsets[1:], segment.end], strict=True)) if offsets else {}
    waiting, places, keys = queued.waiting, queued.segment, queued.key
    live, messages, last = 0, 0, -1
    rows = queued.segments.get(number)
    for key, row in zip(rows.keys, rows.rows, strict=True) if rows is not None else ():
        if waiting[row] and places[row] == number and keys[row] == key:
            messages += 1
            if key >> 16 != last:
                last = key >> 16
                live += ends[last] - last
    return SegmentFigures(number, segment.path, segment.size, segment.end, live, messages, segment.is_sealed)


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
