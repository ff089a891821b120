"""Ten million octets without a line end, in segments as they come: the session holds next to nothing of them, and knows where it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.hostile.case import Setup
from tests.hostile.core_driver import CoreDriver
from tests.hostile.scene import Play, Scene, unless

_OCTETS: Final = 10_000_000
_SEGMENT: Final = 65_536
_ENVELOPE: Final = b"MAIL FROM:<a@from.test>\r\nRCPT TO:<c@a.test>\r\n"


def _endless(before: bytes, begin: bytes, end: bytes, code: bytes, *, held: int = _SEGMENT) -> Play:
    """``begin``, and ten million ``x``; then ``end``, which one reply must answer, and the next command the next."""

    async def play(place: Path) -> list[str]:
        driver = CoreDriver(Setup())
        driver.begin()
        driver.feed(b"EHLO client.test\r\n")
        driver.feed(before)
        said = driver.feed(begin)
        segment = b"x" * _SEGMENT
        for _ in range(_OCTETS // _SEGMENT):
            said += driver.feed(segment)
        said += driver.feed(end)
        after = driver.feed(b"NOOP\r\n")
        return [
            *unless(said.startswith(code) and said.count(b"\r\n") == 1, f"it was told {said[:100]!r}"),
            *unless(after.startswith(b"250"), f"then NOOP was told {after[:100]!r}"),
            *unless(driver.held <= held, f"{driver.held} octets were held"),
            *unless(not driver.messages, "something was stored"),
        ]

    return play


SCENES: Final = (
    Scene(
        "E1-ten-million-command",
        "a command line of ten million octets",
        _endless(b"", b"NOOP ", b"\r\n", b"500 5.5.2", held=2048),
    ),
    Scene(
        "E1-ten-million-header",
        "a header line of ten million octets",
        _endless(_ENVELOPE + b"DATA\r\n", b"Subject: ", b"\r\n\r\nx\r\n.\r\n", b"500 5.2.3"),
    ),
    Scene(
        "E1-ten-million-body",
        "a body line of ten million octets",
        _endless(_ENVELOPE + b"DATA\r\n", b"Subject: x\r\n\r\n", b"\r\n.\r\n", b"500 5.2.3"),
    ),
    Scene(
        "E1-ten-million-chunk",
        "a chunk of ten million octets, out of order",
        _endless(b"", b"BDAT 9961472 LAST\r\n", b"", b"503", held=_SEGMENT),
    ),
)
