"""Mail data as it comes in: kept in few pieces, counted, and let go where there is too much of it."""

from __future__ import annotations

from typing import Final

#: Segments below this are put together: as objects of their own, octets that come one by one would take forty times their room.
_SMALL: Final = 4096


class Pieces:
    """The octets of one transaction. ``size`` is how many it holds, ``received`` how many came.

    ``is_over``: there were more than whoever collects them allows. ``is_starved`` is for whoever calls ``drop`` to say that it was for want of
    memory.
    """

    __slots__ = ("_is_dropping", "_pieces", "is_over", "is_starved", "received", "size")

    def __init__(self) -> None:
        self._pieces: list[bytes | bytearray] = []
        self._is_dropping = False
        self.is_over = False
        self.is_starved = False
        self.received = 0
        self.size = 0

    def take(self, data: bytes) -> None:  # hot: micro_smtp
        """Count octets, and keep them unless everything is dropped."""
        count = len(data)
        self.received += count
        if self._is_dropping:
            return
        self.size += count
        pieces = self._pieces
        if count >= _SMALL or not pieces:
            pieces.append(data)
        else:
            last = pieces[-1]
            if isinstance(last, bytearray):
                last += data
            else:
                pieces.append(bytearray(data))

    def overflow(self) -> None:
        """There are too many: none are kept."""
        self.is_over = True
        self.drop()

    def drop(self) -> None:
        """Keep nothing of this transaction any more; what comes is still counted."""
        self._is_dropping = True
        self._pieces.clear()
        self.size = 0

    def joined(self) -> bytes:  # hot: micro_smtp
        """All that was kept, in one."""
        pieces = self._pieces
        return bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)
