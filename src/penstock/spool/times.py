"""What time it was: so that a clock that has jumped while the server was down makes no mail a year older, nor lets it wait for a year.

The spool notes about once a minute what time it is. At the start, the time since the last note is how long the server was down; if that is
less than nothing, or more than a day, then the clock is not believed: the times of the mail that is there are shifted, so that no time has
passed for it. (Where the server really was down for longer, its mail lives longer by as much.) Shifts are kept, with the number of the
segment from which on none is needed, in the file ``clock``.

The file is replaced, never written to, and need not be on stable storage: an older one will do as well.
"""

from __future__ import annotations

import errno
from typing import Final

import msgspec

from penstock.mail.duration import Seconds, WallTime
from penstock.spool.files import FileError, Files

CLOCK_NAME: Final = "clock"
_NEW_NAME: Final = "clock.new"
#: The longest that a server is believed to have been down.
LONGEST_PAUSE: Final = Seconds(86_400.0)
#: Less is no jump: notes are a minute apart, and clocks are set.
_TOLERANCE: Final = 120.0
_SIZE_LIMIT: Final = 1024 * 1024


class Shift(msgspec.Struct, frozen=True):
    """Times in segments with lower numbers are ``seconds`` too early."""

    before: int
    seconds: float


class Note(msgspec.Struct, frozen=True):
    """The content of the file."""

    time: float
    shifts: tuple[Shift, ...] = ()


class Times:
    """The notes of one spool."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._shifts: tuple[Shift, ...] = ()

    def begin(self, now: WallTime, segment: int, oldest: int) -> Seconds:
        """Read the note, and note the time; ``segment`` is the first that will be written now, ``oldest`` the oldest that there is.

        How far the clock has jumped. FileError if the note cannot be read; one that is damaged, or missing, counts for nothing.
        """
        last = self._read()
        jump = 0.0
        if last is not None:
            self._shifts = tuple([shift for shift in last.shifts if shift.before > oldest])
            passed = now - last.time
            if passed > LONGEST_PAUSE or passed < -_TOLERANCE:
                jump = passed
                self._shifts = (*self._shifts, Shift(segment, jump))
        self.note(now)
        return Seconds(jump)

    def shift(self, segment: int) -> Seconds:
        """What is to be added to times in a segment."""
        return Seconds(sum([shift.seconds for shift in self._shifts if segment < shift.before]))

    def note(self, now: WallTime) -> None:
        """It is now. An error does no harm but to the next start, and is passed over: what is wrong with the disk others will find."""
        try:
            if _NEW_NAME in self._files.names():
                self._files.remove(_NEW_NAME)
            file = self._files.create(_NEW_NAME)
            try:
                file.write([msgspec.json.encode(Note(now, self._shifts))], 0)
            finally:
                file.close()
            self._files.rename(_NEW_NAME, CLOCK_NAME)
        except FileError:
            pass

    def _read(self) -> Note | None:
        try:
            file = self._files.open(CLOCK_NAME)
        except FileError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        try:
            return msgspec.json.decode(file.read(_SIZE_LIMIT, 0), type=Note)
        except (msgspec.MsgspecError, ValueError):
            return None
        finally:
            file.close()
