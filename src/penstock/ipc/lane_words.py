"""What lanes say to each other, on the socket that each lane listens on.

Who connects says first which lane it is and what for; all that follows on that connection is about that. A word is named after who is told,
and what. New words go to the end, for a kind is a place in the vocabulary.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from penstock.ipc.vocabulary import Vocabulary
from penstock.mail.ids import MessageId
from penstock.queueing.handover import Fate
from penstock.queueing.moving import (
    GiverOfferAccept,
    GiverOfferRefuse,
    GiverPartsAsk,
    GiverPartsConfirm,
    TakerPartsDrop,
    TakerPartsRelease,
)

#: What a connection is for.
HAND_OVER: Final = "hand over"
#: From the lane that gives; what is said then is of ``queueing.moving``.
MOVE: Final = "move"


class LaneSessionOpen(msgspec.Struct, frozen=True):
    """``lane`` is who connects, ``purpose`` what for."""

    lane: str
    purpose: str


class SenderCreditGrant(msgspec.Struct, frozen=True):
    """The answer to ``LaneSessionOpen`` with HAND_OVER: how much may be unanswered (``queueing.handover``), and whether new mail is taken."""

    octets: int
    messages: int
    is_taking: bool


class SenderIntakeChange(msgspec.Struct, frozen=True):
    """Whether new mail is taken from now on. What is under way is not meant."""

    is_taking: bool


class SenderLeave(msgspec.Struct, frozen=True):
    """Send nothing more, and close the connection when all that was sent is answered: the lane is about to end."""


class LaneTransactionStore(msgspec.Struct, frozen=True, array_like=True):
    """Store the transaction in the frame's tail, by this instant of the machine's monotonic clock or not at all, and answer with its number.

    The tail is a spool's payload of this ``version`` (``spool.passing``), with so many ``messages``. ``body_octets`` are those of the body file that
    it names, 0 if it has the content itself.
    """

    commit_by: float
    messages: int
    version: int
    body_octets: int = 0


class SenderTransactionsConfirm(msgspec.Struct, frozen=True, array_like=True):
    """The transactions with these numbers are on stable storage: what one sync has brought."""

    numbers: tuple[int, ...]


class SenderTransactionSettle(msgspec.Struct, frozen=True, array_like=True):
    """Why the transaction with this frame's number is not stored, or nobody knows whether it is."""

    fate: Fate
    reason: str = ""


class TakerOfferHold(msgspec.Struct, frozen=True, array_like=True):
    """Hold the messages in the frame's tail, and say so: an offer of ``queueing.moving``.

    The tail is a spool's payload of this ``version``, a MOVED, with so many ``messages``. ``body_octets`` as of ``LaneTransactionStore``.
    """

    offer: MessageId
    messages: int
    version: int
    body_octets: int = 0


LANE: Final = Vocabulary(
    LaneSessionOpen,
    SenderCreditGrant,
    SenderIntakeChange,
    LaneTransactionStore,
    SenderTransactionsConfirm,
    SenderTransactionSettle,
    SenderLeave,
    TakerOfferHold,
    GiverOfferAccept,
    GiverOfferRefuse,
    GiverPartsAsk,
    TakerPartsRelease,
    TakerPartsDrop,
    GiverPartsConfirm,
)


def socket_of(run: Path, lane: str) -> Path:
    """Where a lane listens, ``run`` being the folder of the server's sockets."""
    return run / f"lane-{lane}.sock"
