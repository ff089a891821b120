"""What time it was: so that a clock that has jumped while the server was down makes no mail a year older, nor lets it wait for a year.

The spool notes about once a minute what time it is. At the start, the time since the last note is how long the server was down; if that is
less than nothing, or more than a day, then the clock is not believed: the times of the mail that is there are shifted, so that no time has
passed for it. (Where the server really was down for longer, its mail lives longer by as much.) Shifts are kept, with the number of the
segment from which on none is needed, in the file ``clock``.

The file is replaced, never written to, and put on stable storage before it takes the place of the one before: after a power cut there is a
note, that one or this one, and it is then that clocks have most often lost their time.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from itertools import accumulate
from typing import Final
from zlib import crc32

import msgspec

from penstock.mail.duration import Seconds, WallTime
from penstock.spool.files import File, FileError, Files

CLOCK_NAME: Final = "clock"
_NEW_NAME: Final = "clock.new"
#: The longest that a server is believed to have been down.
LONGEST_PAUSE: Final = Seconds(86_400.0)
#: Less is no jump: notes are a minute apart, and clocks are set.
_TOLERANCE: Final = 120.0
_SIZE_LIMIT: Final = 1024 * 1024
#: Jumps that are remembered, also when no segment is left that was written before them: ids of mail have the time of then.
_KEPT: Final = 64


class Shift(msgspec.Struct, frozen=True):
    """Times in segments with lower numbers are ``seconds`` too early."""

    before: int
    seconds: float


class Note(msgspec.Struct, frozen=True):
    """The content of the file, as JSON, behind its CRC-32 in eight hexadecimal digits and a space."""

    time: float
    shifts: tuple[Shift, ...] = ()


class Times:
    """The notes of one spool."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._shifts: tuple[Shift, ...] = ()
        self._is_noting = False

    def begin(self, now: WallTime, segment: int) -> Seconds:
        """Read the note, and note the time; ``segment`` is the first that will be written now.

        How far the clock has jumped. Blocks. FileError if the note cannot be read; one that is damaged, or missing, counts for nothing. FileError too
        if the clock has jumped and that cannot be noted: the next start would find it again, and shift mail that came after it.
        """
        last = self._read()
        jump = 0.0
        if last is not None:
            self._shifts = last.shifts[-_KEPT:]
            passed = now - last.time
            if passed > LONGEST_PAUSE or passed < -_TOLERANCE:
                jump = passed
                self._shifts = (*self._shifts, Shift(segment, jump))
        if jump:
            self._note(now)
            self._files.sync_folder()
            return Seconds(jump)
        with suppress(FileError):
            self._note(now)
            self._files.sync_folder()
        return Seconds(0.0)

    def shift(self, segment: int) -> Seconds:
        """What is to be added to times in a segment."""
        return Seconds(sum([shift.seconds for shift in self._shifts if segment < shift.before]))

    @property
    def offsets(self) -> list[Seconds]:
        """By how much the times of queued mail may be later than they were when it was accepted: not at all, or by the last jumps together."""
        return [
            Seconds(total) for total in accumulate([0.0, *[item.seconds for item in reversed(self._shifts)]])
        ]

    def note(self, now: WallTime) -> None:
        """It is now; blocks. An error does no harm but to the next start, and is passed over: what is wrong with the disk others will find."""
        with suppress(FileError):
            self._note(now)

    def _note(self, now: WallTime) -> None:
        file = self._write(now)
        try:
            file.sync()
        finally:
            file.close()
        self._files.rename(_NEW_NAME, CLOCK_NAME)

    def note_soon(self, now: WallTime, sync: Callable[[File, Callable[[bool], None]], None]) -> None:
        """As ``note``, but the syncing is left to ``sync``, which says whether it went well. Nothing, if that is still to come for the last one."""
        if self._is_noting:
            return
        try:
            file = self._write(now)
        except FileError:
            return

        def synced(is_synced: bool) -> None:
            self._is_noting = False
            file.close()
            if is_synced:
                with suppress(FileError):
                    self._files.rename(_NEW_NAME, CLOCK_NAME)

        self._is_noting = True
        sync(file, synced)

    def _write(self, now: WallTime) -> File:
        if _NEW_NAME in self._files.names():
            self._files.remove(_NEW_NAME)
        file = self._files.create(_NEW_NAME)
        try:
            note = msgspec.json.encode(Note(now, self._shifts))
            file.write([b"%08x " % crc32(note), note], 0)
        except FileError:
            file.close()
            raise
        return file

    def _read(self) -> Note | None:
        try:
            file = self._files.open(CLOCK_NAME)
        except FileError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        try:
            checksum, _, note = file.read(_SIZE_LIMIT, 0).partition(b" ")
            return msgspec.json.decode(note, type=Note) if checksum == b"%08x" % crc32(note) else None
        except (msgspec.MsgspecError, ValueError):
            return None
        finally:
            file.close()
