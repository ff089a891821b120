"""Octets of one connection to the sink: commands, mail data and chunks cut out of what comes, replies gathered into few writes.

A connection can be *held*: nothing more is read or answered until what holds it lets go. Three things hold it, each with its own bit:
a scripted delay, a message being written down, and a peer that does not read its replies (so they are never more than one read's worth).
The end of mail data is CRLF "." CRLF and nothing else (RFC 5321 4.1.1.4); the last four octets wait until that is settled. A chunk (RFC 3030)
has as many octets as were announced, whatever they are.

From ``begin_tls`` on, what comes is decrypted before anything else looks at it, and what is said is encrypted (``tls``). Octets that came
in plain text behind the command are never read: they could be anybody's (CVE-2011-0411).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from abc import ABC, abstractmethod
from enum import Enum
from typing import Final, cast

from penstock.mail.duration import Seconds
from penstock.sim.clock import TimedClock, Timer
from penstock.sim.tls import SecureTransport, ServerTls

_DELAY: Final = 1
_STORE: Final = 2
_PEER: Final = 4
_SILENT: Final = _DELAY | _STORE
_END: Final = b"\r\n.\r\n"
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Cut(Enum):
    """How a connection ends once what was said before has been written."""

    CLOSE = "FIN"
    RESET = "RST"


class Wire(asyncio.Protocol, ABC):
    """The octets of one connection. A subclass answers ``command``, ``data_begins`` and ``end_of_data`` with ``say``."""

    __slots__ = (
        "_begun",
        "_chunk_left",
        "_command_limit",
        "_cut",
        "_data_limit",
        "_fresh",
        "_holds",
        "_in_data",
        "_out",
        "_paused",
        "_pieces",
        "_rest",
        "_running",
        "_secure",
        "_securing",
        "_timer",
        "clock",
        "data_size",
        "keeps_data",
        "last_heard",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, clock: TimedClock, command_limit: int, data_limit: int, *, keeps_data: bool) -> None:
        self.clock = clock
        self.keeps_data = keeps_data
        self.last_heard = clock.monotonic()
        self.data_size = 0
        self._command_limit = command_limit
        self._data_limit = data_limit
        self._rest = b""
        self._out: list[bytes] = []
        self._pieces: list[bytes] = []
        self._holds = 0
        self._in_data = False
        self._begun = False
        self._fresh = False  # DATA was answered in this very read
        self._running = False
        self._paused = False
        self._cut: Cut | None = None
        self._timer: Timer | None = None
        self._chunk_left = -1  # octets of a chunk that are still to come; -1 outside of chunks
        self._securing: ServerTls | None = None
        self._secure: SecureTransport | None = None

    @abstractmethod
    def command(self, data: bytes, start: int, end: int) -> None:
        """A line without its CRLF is ``data[start:end]``; what else has come follows behind ``end + 2``."""

    @abstractmethod
    def data_begins(self) -> None:
        """The first octets of mail data have come; they have not been looked at."""

    @abstractmethod
    def end_of_data(self) -> None:
        """Mail data came to its end. ``data_size`` octets of it; ``take_data`` gives them."""

    @abstractmethod
    def end_of_chunk(self, *, is_followed: bool) -> None:
        """A chunk came to its end; ``is_followed``: more has come with it. ``data_size`` is that of all chunks so far."""

    @abstractmethod
    def tls_failed(self) -> None:
        """The client broke TLS, or sent plain text where a handshake was due; the connection ends."""

    @abstractmethod
    def line_too_long(self) -> None:
        """A command line is longer than the limit, and was thrown away as far as it has come."""

    @abstractmethod
    def early_data(self) -> None:
        """Octets came behind DATA before it was answered."""

    # What the subclass says.

    def say(self, reply: bytes) -> None:  # hot: throughput
        """Reply, with the others of this read."""
        self._out.append(reply)

    def cut(self, how: Cut) -> None:
        """Write what has been said, then end the connection. Whatever else comes is not read."""
        self._cut = how
        if not self._running:
            self.flush()

    @property
    def is_cut(self) -> bool:
        """Whether the connection is to end once what was said is written."""
        return self._cut is not None

    def expect_data(self) -> None:
        """What follows is mail data."""
        self._in_data = self._fresh = True
        self._begun = False
        self.data_size = 0
        self._pieces.clear()

    def expect_chunk(self, size: int, *, is_first: bool) -> None:
        """What follows are ``size`` octets of a chunk; of the first one of a message, or of another."""
        self._in_data = True
        self._chunk_left = size
        if is_first:
            self._begun = False
            self.data_size = 0
            self._pieces.clear()

    def begin_tls(self, tls: ServerTls) -> None:
        """Encrypt from here on, once what was said has been written."""
        self._securing = tls

    @property
    def secured(self) -> SecureTransport | None:
        """The encrypted connection; None in plain text."""
        return self._secure

    def take_data(self) -> bytes:
        """The mail data as it came, if ``keeps_data``; without its last "." line. Data above the limit was thrown away."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data

    def wait(self, delay: Seconds) -> None:
        """Say and read nothing more for ``delay`` seconds; what was said before goes out now."""
        self.flush()
        self._hold(_DELAY)
        self._timer = self.clock.call_later(delay, self._delay_over)

    def hold_for_store(self) -> None:
        """Say and read nothing until ``stored``."""
        self._hold(_STORE)

    def stored(self) -> None:
        """Go on."""
        self._release(_STORE)

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        if self._timer is not None:
            self._timer.cancel()
        self._out.clear()
        self._pieces.clear()
        self._rest = b""

    def pause_writing(self) -> None:
        """The peer does not read its replies."""
        self._hold(_PEER)

    def resume_writing(self) -> None:
        """It does again."""
        self._release(_PEER)

    def data_received(self, data: bytes) -> None:  # hot: throughput
        """Octets from the client."""
        self.last_heard = self.clock.monotonic()
        if self._cut is not None:
            return
        if self._secure is not None:
            data = self._decrypted(data)
        if self._rest:
            data = self._rest + data
            self._rest = b""
        if self._holds:
            self._rest = data
        else:
            self._run(data)

    def _decrypted(self, data: bytes) -> bytes:
        secure = self._secure
        assert secure is not None  # noqa: S101 -- asked by the caller
        try:
            return secure.feed(data)
        except ssl.SSLError:
            self.tls_failed()
            self._cut = Cut.CLOSE
            secure.give_up()
            return b""

    def _run(self, data: bytes) -> None:  # hot: throughput
        self._running = True
        position, size = 0, len(data)
        while position < size and not self._holds and self._cut is None:
            if self._in_data:
                taken = (self._take if self._chunk_left < 0 else self._take_chunk)(data, position)
                if taken == position:
                    break
                position = taken
                continue
            end = data.find(b"\r\n", position)
            if end < 0:
                if size - position > self._command_limit:
                    self.line_too_long()
                    self._cut = Cut.CLOSE
                break
            if end - position > self._command_limit:
                self.line_too_long()
            else:
                self.command(data, position, end)
            position = end + 2
        self._running = self._fresh = False
        if position < size and self._cut is None:
            self._rest = data[position:]
        if self._holds:
            self._pause()
        self.flush()

    def _take(self, data: bytes, position: int) -> int:  # hot: throughput
        """Take mail data from ``position``; the position behind what was taken, ``position`` itself if more must come first."""
        if not self._begun:
            if self._fresh:
                self.early_data()
                return position
            self._begun = True
            self.data_begins()
            if self._holds or self._cut is not None:
                return position
        if not self.data_size:
            if data.startswith(b".\r\n", position):
                self._in_data = False
                self.end_of_data()
                return position + 3
            if len(data) - position < 3 and b".\r\n".startswith(data[position:]):
                return position
        end = data.find(_END, position)
        if end >= 0:
            self._keep(data, position, end + 2)
            self._in_data = False
            self.end_of_data()
            return end + 5
        settled = max(len(data) - 4, position)
        self._keep(data, position, settled)
        return settled

    def _take_chunk(self, data: bytes, position: int) -> int:
        """Take octets of a chunk from ``position``; the position behind them, ``position`` itself if the connection is held or cut."""
        if not self._begun:
            self._begun = True
            self.data_begins()
            if self._holds or self._cut is not None:
                return position
        end = min(position + self._chunk_left, len(data))
        self._chunk_left -= end - position
        self._keep(data, position, end)
        if not self._chunk_left:
            self.leave_chunk(is_followed=end < len(data))
        return end

    def leave_chunk(self, *, is_followed: bool) -> None:
        """The chunk has all its octets; an empty one has them at once."""
        self._in_data = False
        self._chunk_left = -1
        self.end_of_chunk(is_followed=is_followed)

    def _keep(self, data: bytes, start: int, end: int) -> None:
        self.data_size += end - start
        if self.keeps_data:
            if self.data_size <= self._data_limit:
                self._pieces.append(data[start:end])
            else:
                self._pieces.clear()

    def flush(self) -> None:  # hot: throughput
        """Write what was said, and end the connection if it was cut; nothing while the connection is held."""
        if self._holds & _SILENT:
            return
        if self._out and not self.transport.is_closing():
            self.transport.write(self._out[0] if len(self._out) == 1 else b"".join(self._out))
        self._out.clear()
        if self._securing is not None:
            self._switch_to_tls(self._securing)
        if self._cut is Cut.CLOSE:
            self.transport.close()
        elif self._cut is Cut.RESET:
            self._reset()

    def _switch_to_tls(self, tls: ServerTls) -> None:
        self._securing = None
        if self._rest:
            self._rest = b""
            self.tls_failed()
            self._cut = Cut.CLOSE
            return
        self._secure = SecureTransport(self.transport, tls)
        self.transport = self._secure

    def _reset(self) -> None:
        connected = self.transport.get_extra_info("socket")
        if connected is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()

    def _hold(self, reason: int) -> None:
        self._holds |= reason
        if not self._running:
            self._pause()

    def _pause(self) -> None:
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def _delay_over(self) -> None:
        self._timer = None
        self._release(_DELAY)

    def _release(self, reason: int) -> None:
        self._holds &= ~reason
        if self._running:
            return
        if self.transport.is_closing():
            self._out.clear()
            return
        self.flush()
        if self._holds or self._cut is not None:
            return
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        rest, self._rest = self._rest, b""
        if rest:
            self._run(rest)
