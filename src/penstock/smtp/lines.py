"""A client's octets as lines that end with CRLF, each bounded; whatever else needs octets takes them from here.

A line that is too long, or holds a bare LF, is refused once and skipped to its CRLF, however it was cut into segments.
"""

from __future__ import annotations


class BadLine(Exception):
    """What came can be no line; it is skipped. ``is_too_long``, else it holds a bare LF; ``start`` is its first octets."""

    def __init__(self, start: bytes, *, is_too_long: bool) -> None:
        super().__init__(is_too_long)
        self.start = start
        self.is_too_long = is_too_long


class LineBuffer:
    """Octets that came and have not been read. ``len()`` is how many; ``octets`` is empty if there are none."""

    __slots__ = ("_is_skipping", "_position", "octets")

    def __init__(self) -> None:
        self.octets = b""
        self._position = 0  # up to here the buffer has been read
        self._is_skipping = False

    def __len__(self) -> int:
        return len(self.octets) - self._position

    def feed(self, data: bytes) -> None:
        """More octets."""
        self.octets = self.take() + data if self.octets else data

    def take(self) -> bytes:
        """All octets, as they came."""
        buffer, position = self.octets, self._position
        self.octets, self._position = b"", 0
        return buffer[position:] if position else buffer

    def put_back(self, data: bytes, position: int) -> None:
        """What ``take`` gave, of which only the octets before ``position`` were wanted."""
        if position < len(data):
            self.octets, self._position = data, position

    def has_line(self, limit: int) -> bool:
        """Whether ``line`` would give or refuse one."""
        return self.octets.find(b"\n", self._position) >= 0 or len(self) > limit

    def line(self, limit: int) -> bytes | None:  # hot: micro_smtp
        """The next line of at most ``limit`` octets, CRLF included in that but not in the result; None if its end has not come. BadLine."""
        buffer, start = self.octets, self._position
        if not buffer:
            return None
        end = buffer.find(b"\r\n", start)
        if end < 0:
            self._bound(limit)
            return None
        if end + 2 == len(buffer):
            self.octets, self._position = b"", 0
        else:
            self._position = end + 2
        if self._is_skipping:
            self._is_skipping = False
            return self.line(limit)
        line = buffer[start:end]
        if end - start > limit - 2:
            raise self._bad(line, limit)
        return line

    def _bound(self, limit: int) -> None:
        """Keep a line whose end has not come, within its limit; what can be no line any more is dropped."""
        line = self.take()
        is_bad = not self._is_skipping and (len(line) > limit or b"\n" in line)
        self._is_skipping = self._is_skipping or is_bad
        if self._is_skipping:
            self.octets = b"\r" if line.endswith(b"\r") else b""
        else:
            self.octets = line
        if is_bad:
            raise self._bad(line, limit)

    @staticmethod
    def _bad(line: bytes, limit: int) -> BadLine:
        """Which fault is known first: a bare LF within the limit, or the length."""
        return BadLine(line[:16], is_too_long=line.find(b"\n", 0, limit) < 0)
