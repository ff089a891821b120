"""Transactions between lanes: encoded once, by whoever took them in, and written as they are by the lane that is their home. And queued messages,
with what has become of them so far.

What is checked of one that comes is what a lane relies on: that it can be read, and that no message of it is one that could be queued but
never settled. It comes from a process of our own, whose mistakes must not become ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Final

from penstock.mail.duration import WallTime
from penstock.mail.ids import MessageId
from penstock.mail.records import MessageRecord, Move
from penstock.spool.arrivals import Arrival
from penstock.spool.codec import Body, encode_copy, encode_transaction
from penstock.spool.decoding import Transaction, read_transaction
from penstock.spool.frame import SECOND, VERSION, Damaged

_VERSIONS: Final = (VERSION, SECOND)


def encoded(records: Sequence[MessageRecord], body: Body | None = None) -> tuple[bytes, ...]:
    """The payload of a TRANSACTION, in pieces; ``body`` as of ``codec.encode_transaction``."""
    return encode_transaction(records, body).buffers


def taken_over(octets: bytes | memoryview, version: int) -> Transaction:  # hot: micro_handover
    """What a payload of this version holds; Damaged if it is none that may be written here."""
    if version not in _VERSIONS:
        raise Damaged(f"a transaction of version {version}, where {SECOND} is the newest")
    transaction = read_transaction(octets)
    if transaction.states:
        raise Damaged("a copy is not handed over")
    return transaction


def messages(
    transaction: Transaction, content: bytes | None = None
) -> list[MessageRecord]:  # hot: micro_handover
    """Its messages; ``content`` is that of its body file. Damaged if one of them could never be settled, or the content is another."""
    first = transaction.message(0, content)
    # the content has been looked at
    records = [first, *[transaction.sized(part, first.content) for part in range(1, len(transaction))]]
    for record in records:
        if not record.recipients or not isfinite(record.created):
            raise Damaged("a message without recipients, or created at no time")
    return records


def encoded_offer(arrivals: Sequence[Arrival], body: Body | None = None) -> tuple[bytes, ...]:
    """The payload of a MOVED, in pieces: messages of one frame, as the lane that gives them has them."""
    return encode_copy([item.record for item in arrivals], [item.state for item in arrivals], body).buffers


def offered(octets: bytes | memoryview, version: int, lane: str, offer: MessageId) -> Transaction:
    """What ``lane`` offers by this id; Damaged if it is not that, or could not be settled here."""
    if version not in _VERSIONS:
        raise Damaged(f"an offer of version {version}, where {SECOND} is the newest")
    transaction = read_transaction(octets)
    moves = [state.held for state in transaction.states]
    if not moves or moves != [Move(lane, offer, part) for part in range(len(transaction))]:
        raise Damaged("what is offered is not what its frame says")
    return transaction


def arrivals(transaction: Transaction, records: Sequence[MessageRecord]) -> list[Arrival]:
    """What was ``offered``, its messages being these. Damaged if one of them could never be settled."""
    found: list[Arrival] = []
    for record, state in zip(records, transaction.states, strict=True):
        is_timely = isfinite(state.shift) and (state.due is None or isfinite(state.due))
        if (
            state.held is None
            or not is_timely
            or not state.waiting
            or max(state.waiting) >= len(record.recipients)
        ):
            raise Damaged("a message whose state cannot be")
        due = WallTime(state.due) if state.due is not None else None
        found.append(Arrival(record, state.held, state.waiting, state.attempts, due, state.shift))
    return found
