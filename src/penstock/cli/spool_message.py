"""``penstock spool cat``: one message out of the spool, its octets or what is known of it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from contextlib import closing
from typing import Final, TypeVar

import msgspec

from penstock.cli.quantities import rfc3339
from penstock.cli.spool_list import held_from, sender_of
from penstock.cli.spool_progress import Progress
from penstock.mail.dsn import EnvelopeDsn
from penstock.mail.ports import SpoolError
from penstock.mail.records import MetaValue, Reception
from penstock.mail.reply import EnhancedCode, Reply
from penstock.mail.schedule import Schedule
from penstock.spool.frame import Place
from penstock.spool.inspection.findings import shown
from penstock.spool.inspection.read_only import ReadOnlyFiles
from penstock.spool.inspection.search import Fate, fates, find_id
from penstock.spool.inspection.stored import Gone, Stored, StoredReader
from penstock.spool.inspection.view import View, look
from penstock.spool.names import body_path

_PLACE: Final = re.compile(r"([0-9]{1,10}):([0-9]{1,10}):([0-9]{1,5})", re.ASCII)
#: How often the message is looked for again because it was copied to another segment meanwhile.
_TRIES: Final = 4
_T = TypeVar("_T")


class ShownReply(msgspec.Struct, frozen=True):
    """A reply as events have it."""

    code: int
    enhanced_code: EnhancedCode | None
    content: str
    command: str | None


class ShownRecipient(msgspec.Struct, frozen=True, omit_defaults=True):
    """One recipient and what became of it. ``outcome`` is left out where the spool has no record, or none any more; see Fate."""

    recipient: str
    state: str
    outcome: str | None = None
    time: str | None = None
    num_attempts: int | None = None
    site: str | None = None
    egress_source: str | None = None
    peer_address: dict[str, str] | None = None
    response: ShownReply | None = None
    is_uncertain: bool = False
    lane: str | None = None


class ShownEnvelope(msgspec.Struct, frozen=True):
    """A message without its content, in JSON. ``is_queued``: a recipient waits. ``size`` is in octets, as it is sent.

    ``queue`` is the one that it is in, whatever queue it was accepted for. ``held_from``: it came from that lane, which may still have it; None if it
    is not held. ``schedule`` is when its sender wants it delivered; a day is 0 for Monday.

    ``body_file`` is relative to the spool's directory, None where the content is in the segment. ``due_time`` None: as soon as may be, or never.
    """

    id: str
    queue: str
    tenant: str | None
    campaign: str | None
    sender: str
    recipients: tuple[ShownRecipient, ...]
    is_queued: bool
    size: int
    created_time: str | None
    num_attempts: int
    due_time: str | None
    eight_bit: bool
    smtputf8: bool
    reception: Reception
    dsn: EnvelopeDsn | None
    meta: dict[str, MetaValue]
    place: str
    segment: str
    body_file: str | None
    held_from: str | None
    schedule: Schedule | None


def parse_place(text: str) -> Place:
    """The place that ``SEGMENT:OFFSET:PART`` names, decimal; ValueError if it is none."""
    match = _PLACE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r:.60} is no place; write SEGMENT:OFFSET:PART, as 3:64:0")
    return Place(int(match[1]), int(match[2]), int(match[3]))


def show_message(
    files: ReadOnlyFiles, message_id: str, place: Place | None, progress: Progress, *, envelope: bool
) -> None:
    """Write the message with this id, or at ``place``, to stdout. SpoolError if there is none, or it is damaged."""

    def show(view: View, reader: StoredReader) -> None:
        found = _find(view, reader, message_id, place, progress)
        progress.close()
        if envelope:
            shown_envelope = _envelope(files, reader, view, found)
            encoded = msgspec.json.format(msgspec.json.encode(shown_envelope), indent=2)
            sys.stdout.buffer.write(encoded + b"\n")
        else:
            for piece in reader.pieces(found):
                sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        _say_if_settled(view, found)

    _while_it_moves(files, progress, show)


def _while_it_moves(files: ReadOnlyFiles, progress: Progress, act: Callable[[View, StoredReader], _T]) -> _T:
    """Do something with what a look has seen; look again if it was gone before it could be read. SpoolError if it always is."""
    gone: Gone | None = None
    for _ in range(_TRIES):
        view = look(files, progress.segments)
        with closing(
            StoredReader(files, {item.identity.number: item.identity for item in view.segments})
        ) as reader:
            try:
                return act(view, reader)
            except Gone as error:
                gone = error
    raise SpoolError(f"it was there and could not be read: {gone}")


def _find(
    view: View, reader: StoredReader, message_id: str, place: Place | None, progress: Progress
) -> Place:
    """Where the message lies now. SpoolError."""
    if place is None:
        found = find_id(reader, view, message_id, progress.frames)
        if found is None:
            raise SpoolError(
                f"no message {message_id!r:.80} is in the spool: it was never here, or what became of it is in the events alone "
                "(penstock events tail --all --id)"
            )
        return found
    row = view.find(place)
    if row is None:
        raise SpoolError(
            f"no message is at {shown(place)}: it was settled, and its segment is gone, or it never was there"
        )
    return view.queued.place(row)


def _say_if_settled(view: View, place: Place) -> None:
    row = view.find(place)
    if row is None or not view.queued.waiting[row]:
        sys.stderr.write(
            "penstock spool cat: this message is not queued any more; its segment is still there\n"
        )


def _envelope(files: ReadOnlyFiles, reader: StoredReader, view: View, place: Place) -> ShownEnvelope:
    stored = reader.envelope(place)
    record = stored.record
    row = view.find(place)
    seen = view.queued.message(row) if row is not None else None
    queue = seen.queue if seen is not None else record.queue
    segment = view.segment(place.segment)
    return ShownEnvelope(
        record.id,
        str(queue),
        queue.tenant,
        queue.campaign,
        sender_of(record.reverse_path),
        _recipients(stored, fates(files, reader, view, stored)),
        seen is not None and bool(seen.waiting),
        seen.size if seen is not None else 0,
        rfc3339(seen.created if seen is not None else record.created),
        seen.attempts if seen is not None else 0,
        rfc3339(seen.due) if seen is not None and seen.due is not None else None,
        record.eight_bit,
        record.smtputf8,
        record.reception,
        record.dsn,
        record.meta,
        shown(place),
        segment.path if segment is not None else "",
        body_path(stored.body.name) if stored.body is not None else None,
        held_from(stored) if seen is not None and seen.is_held else None,
        record.schedule,
    )


def _recipients(stored: Stored, fate: list[Fate]) -> tuple[ShownRecipient, ...]:
    pairs = zip(stored.record.recipients, fate, strict=True)
    return tuple([_recipient(str(address), item) for address, item in pairs])


def _recipient(address: str, fate: Fate) -> ShownRecipient:
    peer = fate.peer
    return ShownRecipient(
        address,
        fate.state,
        fate.outcome,
        rfc3339(fate.time) if fate.time is not None else None,
        fate.attempts,
        fate.site,
        fate.source,
        {"name": peer.name, "addr": f"{peer.address}:{peer.port}"} if peer is not None else None,
        _reply(fate.reply, fate.command) if fate.reply is not None else None,
        fate.is_uncertain,
        fate.lane,
    )


def _reply(reply: Reply, command: str | None) -> ShownReply:
    return ShownReply(reply.code, reply.enhanced, reply.text, command)
