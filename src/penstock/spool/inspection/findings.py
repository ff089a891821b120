"""What ``penstock spool check`` can find, in words: what it is, what it means for mail, and what to do.

One function for each kind of finding. ``docs/spool.md`` has a row for each.
"""

from __future__ import annotations

from typing import Final

import msgspec

from penstock.spool.frame import FrameType, Place
from penstock.spool.scan import Damage

_DISK: Final = "look into the kernel's log (dmesg) for errors of the disk"
_LEAVE: Final = "nothing: the server removes it by itself"
_NO_MAIL: Final = "no mail is concerned"


class Finding(msgspec.Struct, frozen=True):
    """One finding. ``is_damage`` False: it is worth knowing, and nothing is wrong.

    ``path`` is relative to the spool's directory; ``offset`` and ``size`` are octets of that file, None for all of it.
    """

    kind: str
    is_damage: bool
    path: str
    what: str
    mail: str
    todo: str
    offset: int | None = None
    size: int | None = None

    def __str__(self) -> str:
        where = f"{self.path} at {self.offset}" if self.offset is not None else self.path
        return f"{where}: {self.what}. Mail: {self.mail}. To do: {self.todo}."


#: kind -> what it means for mail, of a damaged frame whose type is known, in a segment without an index
_LOST: Final = {
    FrameType.TRANSACTION: "a message that was accepted is lost",
    FrameType.COPY: "a queued message is lost, unless its older segment is still there",
    FrameType.MOVED: "a message that came from another lane is lost, unless that lane still has it",
    FrameType.FORGET: "a message that another lane has may be sent from here too",
    FrameType.RELEASE: "a message that came from another lane waits until that lane says again that it may go",
    FrameType.ATTEMPT: "the outcome of an attempt is lost: its recipients may get the message again",
    FrameType.EXPIRATION: "recipients that were given up may be tried again",
    FrameType.REMOVAL: "recipients that an order took out are queued again",
    FrameType.REBIND: "a message is in the queue that it was in before an order put it into another",
    FrameType.FLUSH: "a message that an order had tried at once waits for its time",
    FrameType.QUARANTINE: "a message that cannot be read may be tried, and quarantined, again",
    FrameType.NOTE: "none is lost; an event may be missing",
    FrameType.ABANDON: "mail that was refused may be sent",
}


def damaged_frame(path: str, damage: Damage, kind: int | None, saved: str | None) -> Finding:
    """Octets that are no frame, in a segment without an index. ``kind`` is the frame's type, where its header is right; ``saved`` their copy."""
    known = next((item for item in _LOST if item == kind), None)
    mail = "messages that were accepted, or outcomes, are lost: which cannot be told"
    if known is not None:
        mail = _LOST[known]
    if not damage.was_stored:
        mail = f"none, if a power cut left this: nobody had been told of it yet. Otherwise {mail}"
    named = f" ({known.name})" if known is not None else ""
    copy = f"; a copy is in {saved}" if saved is not None else ""
    return Finding(
        "damaged-frame",
        True,
        path,
        f"{damage.size} octets are not what was written{named}: {damage.reason}{copy}",
        mail,
        f"{_DISK}; put a whole copy of the file in its place, if there is one, while the server is stopped",
        damage.offset,
        damage.size,
    )


def damaged_sealed_frame(
    path: str, damage: Damage, messages: int, recipients: int, queues: list[str]
) -> Finding:
    """Octets that are no frame, in a segment whose index tells what was there: so many queued messages with so many recipients waiting."""
    if messages:
        names = f", of {', '.join(queues)}" if queues else ""
        mail = f"{messages} queued messages with {recipients} waiting recipients{names} cannot be sent"
        todo = (
            f"{_DISK}; put a whole copy of the file in its place, if there is one, while the server is stopped; otherwise the server puts "
            "each message into quarantine, with an event, when its turn comes"
        )
    else:
        mail = "none is lost: nothing that lies here is queued"
        todo = f"{_DISK}; the file goes by itself"
    return Finding(
        "damaged-frame",
        True,
        path,
        f"{damage.size} octets are not what was written: {damage.reason}",
        mail,
        todo,
        damage.offset,
        damage.size,
    )


def damaged_header(path: str, fault: str) -> Finding:
    """A segment's first octets are damaged, and its frames can be read."""
    return Finding(
        "damaged-header", True, path, f"its header is damaged: {fault}; its frames can be read",
        "none is lost", _DISK, 0, 64,
    )  # fmt: skip


def unusable_segment(path: str, fault: str) -> Finding:
    """A segment of which nothing can be read."""
    return Finding(
        "unusable-segment", True, path, fault, "whatever was queued in it is lost",
        f"{_DISK}; put a whole copy of the file in its place, if there is one, while the server is stopped",
    )  # fmt: skip


def renamed_segment(path: str, called: str) -> Finding:
    """A file whose octets are another segment's."""
    return Finding(
        "renamed-segment", True, path, f"by what it holds it is {called}, and somebody has renamed it",
        "what is queued in it is not sent", f"stop the server, and rename it to {called}, if no file is called so",
    )  # fmt: skip


def same_number(path: str, other: str) -> Finding:
    """Two segments with one number."""
    return Finding(
        "same-number", True, path, f"it has the number of {other}, and no number is used twice",
        "messages may be sent twice, or not at all",
        "two spools have been mixed: stop the server, and give each a data_dir of its own",
    )  # fmt: skip


def missing_segment(number: int, frames: int, example: str) -> Finding:
    """A segment that later frames name, and older ones than it are there."""
    return Finding(
        "missing-segment", True, "segments",
        f"segment {number} is missing though an older one, or none, is there, and {frames} later records name messages in it, the first in {example}",
        "what was queued in it is lost",
        "find out who removed the file; put a copy back, if there is one, while the server is stopped",
    )  # fmt: skip


def missing_message(path: str, offset: int, place: Place, *, is_copy: bool, others: int) -> Finding:
    """A record about a message that is not there."""
    what = "is a copy of" if is_copy else "is about"
    more = f", and {others} more like it" if others else ""
    return Finding(
        "missing-message", True, path, f"a record {what} a message at {shown(place)}, and none is there{more}",
        "none is lost by this; if the message had been there it is lost",
        "keep a copy of the spool's directory, and report it: this is a mistake of the program, or of whoever changed its files",
        offset,
    )  # fmt: skip


def damaged_index(path: str, fault: str) -> Finding:
    """A sealed segment's index and its frames are not of one mind."""
    return Finding(
        "damaged-index", True, path, f"its index does not agree with its frames: {fault}",
        "the server goes by the index: messages may be passed over, or sent again",
        "keep a copy of the spool's directory, and report it: this is a mistake of the program, or of whoever changed its files",
    )  # fmt: skip


def unreadable_index(path: str, offset: int) -> Finding:
    """A segment that was sealed, and whose index or footer is damaged."""
    return Finding(
        "damaged-index", True, path, "its index, or the footer behind it, is damaged (a power cut while it was sealed can do that too)",
        "none is lost: its frames are right", "nothing if a power cut came before; the next start reads it whole. Else "
        + _DISK, offset,
    )  # fmt: skip


def unsealed(path: str) -> Finding:
    """A segment that is not the newest and has no index."""
    return Finding(
        "unsealed-segment", False, path, "it has no index, though it is not the newest", "none is lost",
        "nothing: the next start reads it whole",
    )  # fmt: skip


def torn_tail(path: str, offset: int, octets: int, *, is_newest: bool) -> Finding:
    """Octets behind the last whole frame."""
    what = "which is being written, or was when the server stopped" if is_newest else "left by a crash"
    return Finding(
        "torn-tail", False, path, f"{octets} octets of a frame that is not whole, {what}",
        "none is lost: nobody has been told of it", "nothing", offset, octets,
    )  # fmt: skip


def unfinished(path: str) -> Finding:
    """A segment whose creation did not come to an end."""
    return Finding(
        "unfinished-segment", False, path, "it is being created, or was when the server stopped", _NO_MAIL, _LEAVE
    )  # fmt: skip


def abandoned(path: str, offset: int) -> Finding:
    """A segment that counts up to an offset only."""
    return Finding(
        "abandoned-segment", False, path, "a write or a sync failed here: what is behind does not count",
        "none is lost: nobody was told that it was stored", _DISK, offset,
    )  # fmt: skip


def bad_body(path: str, fault: str, messages: int, *, is_missing: bool) -> Finding:
    """A body file of queued messages that is missing, or not what was written."""
    return Finding(
        "missing-body" if is_missing else "damaged-body", True, path, fault,
        f"{messages} queued messages cannot be sent",
        f"{_DISK}; put a whole copy of the file in its place, if there is one; otherwise the server puts each message into quarantine, "
        "with an event, when its turn comes",
    )  # fmt: skip


def orphan(path: str, size: int) -> Finding:
    """A body file that no queued message names."""
    return Finding(
        "orphan-body", False, path, f"{size} octets that no queued message needs, or whose message is just being received",
        _NO_MAIL, _LEAVE, None, size,
    )  # fmt: skip


def foreign(path: str) -> Finding:
    """A name that is none of a spool's."""
    return Finding(
        "foreign-file", False, path, "it is no file of a spool", _NO_MAIL, "take it away, if nobody needs it"
    )


def quarantined(path: str, reason: str, size: int) -> Finding:
    """Octets that were damaged, kept to be looked at."""
    return Finding(
        "quarantined", True, path, f"{size} octets that were found damaged: {reason}",
        "what was in them is lost, unless it is told otherwise for their segment",
        "see what can be saved of it, then remove the file", None, size,
    )  # fmt: skip


def wrong_access(path: str, fault: str, *, is_damage: bool) -> Finding:
    """A file or folder that the server cannot use, or others can."""
    mail = "what is in it cannot be sent" if is_damage else "others than the server may read it"
    todo = "give it to the user that Penstock runs as, a folder with mode 0700, a file with 0600"
    return Finding("wrong-access", is_damage, path, fault, mail, todo)


def unreadable(path: str, fault: str) -> Finding:
    """A file that could not be read now."""
    return Finding("unreadable", True, path, fault, "what is in it cannot be sent while that is so", _DISK)


def shown(place: Place) -> str:
    """A place as the commands write it, and ``cat --place`` takes it."""
    return f"{place.segment}:{place.offset}:{place.part}"
