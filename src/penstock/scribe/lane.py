"""One lane's log, as far as it has become events.

A lane is *live* while its frames come as they are stored; else it is *behind*, and its log is read back. Which epoch a frame was written in
is known by its place: each change of the configuration is remembered with the place up to which the log was written then.
"""

from __future__ import annotations

import errno
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from penstock.events.checkpoint import LanePlace
from penstock.events.event import Event
from penstock.mail.ports import LogPosition
from penstock.scribe.deriving import Deriver
from penstock.spool.files import FileError
from penstock.spool.frame import Damaged
from penstock.spool.head import Head

LOG = logging.getLogger(__name__)

#: Before every log.
BEGINNING: Final = LogPosition(0, 0)
#: What does not come back by waiting.
_GONE: Final = frozenset({errno.EIO, errno.ENOENT})


class LaneLog(Protocol):
    """The log of a lane whose process is there."""

    @property
    def synced(self) -> LogPosition:
        """The place behind the last frame that is known to be stored."""

    def salt(self, segment: int) -> int | None:
        """The salt of a segment, None if there is none of this number."""

    def heads(self, start: LogPosition) -> Iterator[tuple[Head | None, LogPosition]]:
        """The stored frames behind ``start`` that are still in the log, each with the place behind it, in order; in small steps.

        None is a step without a frame. It ends where the log is synced when it is asked for more. A start before the first segment is
        the beginning of the first. FileError, NewerFormat.
        """

    def head(self, segment: int, offset: int) -> Head:
        """The frame at a place. Damaged, FileError; KeyError if there is no such segment."""

    def events_written(self, position: LogPosition) -> None:
        """The events of all frames before this place are on stable storage: nothing before it will be asked for again."""

    def close(self) -> None:
        """Nothing more will be asked for."""


class Batch(NamedTuple):
    """Frames that were stored one after the other, all that are of events between ``first`` and ``last``."""

    first: LogPosition
    last: LogPosition
    heads: Sequence[Head]


class Lane:
    """A lane by its name. ``log`` is None while its process is not there."""

    __slots__ = (
        "_epochs", "_salt", "batches", "expected", "guessing_from", "is_behind", "is_leaving", "is_saved", "log", "may_repeat", "name", "position",
        "steps", "until", "waiting",
    )  # fmt: skip

    def __init__(self, name: str, place: LanePlace, *, is_saved: bool) -> None:
        self.name = name
        self.log: LaneLog | None = None
        #: a checkpoint knows it. Before that none of its events may be written, for a start would not look for them
        self.is_saved = is_saved
        #: events are known to be written of which a start must find out, up to ``until`` in this log; None before the log is there
        self.may_repeat = place.may_repeat
        self.until: LogPosition | None = None
        #: all events before the first that is known were written, if any that is known is found from here on; None if nothing is to be guessed
        self.guessing_from = place.position if place.is_guessing else None
        self.position = place.position
        self._salt = place.salt
        self._epochs = [(BEGINNING, place.epoch)]
        self.is_behind = True
        #: its process has gone, and some of what it told of is not made into events yet
        self.is_leaving = False
        #: reading that is under way
        self.steps: Iterator[bool] | None = None
        #: frames that have come, how many, and where the next ones begin
        self.batches: deque[Batch] = deque()
        self.waiting = 0
        self.expected = BEGINNING

    # -- its process comes and goes

    def begin(self, log: LaneLog, epochs: Sequence[tuple[LogPosition, int]]) -> bool:
        """Its process is there. ``epochs``: (place, epoch of the frames behind it), of this process. Whether the log is another than it was."""
        is_other = self._is_other(log)
        if is_other:
            self.position, self._salt, self.may_repeat, self.guessing_from = BEGINNING, None, False, None
        if self.log is not None:
            self.log.close()
        self.log = log
        self.is_leaving = False
        if self.until is None:
            # an earlier scribe knew of no more than this
            self.until = log.synced
        self._epochs = [(BEGINNING, self.epoch), *epochs]
        self.fall_behind()
        return is_other

    def _is_other(self, log: LaneLog) -> bool:
        if self.position == BEGINNING:
            return False
        salt = log.salt(self.position.segment)
        return self.position > log.synced or (
            salt is not None and self._salt is not None and salt != self._salt
        )

    def end(self) -> None:
        """Its process has gone. What is not made into events is in its log, and is read when it is back."""
        self.fall_behind()
        self.is_leaving = False
        self._salt = self.place.salt
        if self.log is not None:
            self.log.close()
        self.log = None

    @property
    def place(self) -> LanePlace:
        """How far it is."""
        if self.guessing_from is not None:
            return LanePlace(self.guessing_from, self._salt, self.epoch, self.may_repeat, is_guessing=True)
        salt = self.log.salt(self.position.segment) if self.log is not None else None
        return LanePlace(self.position, salt if salt is not None else self._salt, self.epoch, self.may_repeat)

    def restore(self, place: LanePlace) -> None:
        """Go on from there, as if nothing had been done since."""
        self.position, self._salt, self.may_repeat = place.position, place.salt, place.may_repeat
        self.guessing_from = place.position if place.is_guessing else None
        self.fall_behind()

    def leave_out(self, *, is_partial: bool) -> None:
        """Events of it may be written already; ``is_partial``: more than are known."""
        self.may_repeat = True
        self.guessing_from = self.position if is_partial else None

    # -- epochs

    def use_epoch(self, epoch: int, behind: LogPosition) -> None:
        """Frames behind this place are written in this epoch."""
        self._epochs.append((behind, epoch))

    @property
    def epoch(self) -> int:
        """The epoch of the frames behind ``position``."""
        return self.epoch_behind(self.position)

    def epoch_behind(self, place: LogPosition) -> int:
        """The epoch of the frame that begins at ``place``, or behind it."""
        return next(epoch for since, epoch in reversed(self._epochs) if since <= place)

    def forget_epochs(self, position: LogPosition) -> None:
        """Nothing before this place will be derived again."""
        old = sum(place <= position for place, _ in self._epochs)
        if old > 1:
            self._epochs[:old] = [(BEGINNING, self._epochs[old - 1][1])]

    # -- frames

    def take(self, batch: Batch) -> bool:
        """Frames have come; whether they were expected. If not, they are to be read back."""
        if batch.first != self.expected:
            return False
        self.batches.append(batch)
        self.waiting += len(batch.heads)
        self.expected = batch.last
        return True

    def next_batch(self) -> Batch:
        """The oldest that waits."""
        batch = self.batches.popleft()
        self.waiting -= len(batch.heads)
        return batch

    def fall_behind(self) -> None:
        """Let frames go that wait: they are read back."""
        self.is_behind = True
        self.steps = None
        self.batches.clear()
        self.waiting = 0

    def go_live(self) -> None:
        """All is read that is stored: what comes now comes as it is stored."""
        assert self.log is not None  # noqa: S101  # it was read
        self.is_behind = False
        self.steps = None
        self.expected = self.log.synced

    def events_of(self, head: Head, deriver: Deriver, dropped: Dropped) -> list[Event]:
        """The events of a frame; none, and a count, if they cannot be made. FileError where reading may be tried again."""
        assert self.log is not None  # noqa: S101  # frames come from it
        epoch = self._epochs[-1][1]
        if len(self._epochs) > 1:
            epoch = self.epoch_behind(LogPosition(head.segment, head.offset))
        try:
            return deriver.events(self.name, head, epoch, self.log)
        except (Damaged, KeyError) as error:
            reason = error.args[0] if isinstance(error, Damaged) else "there is no such segment"
            LOG.warning(
                "lane %s: no event is made of offset %d of segment %d: %s",
                self.name,
                head.offset,
                head.segment,
                reason,
            )
        except FileError as error:
            if error.errno not in _GONE:
                raise
            LOG.warning("lane %s: the events of a frame are lost: %s", self.name, error)
        except Exception:
            # a fault of ours in making events must stop neither the mail that they are about nor the events behind them
            LOG.exception("lane %s: the events of a frame of type %d are lost", self.name, head.type)
        dropped()
        return []


class Dropped(Protocol):
    """Counts what no event could be made of."""

    def __call__(self) -> None:
        """One more."""
