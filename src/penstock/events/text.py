"""Text of strangers, made fit for a log line and for a terminal.

A log is read by programs and by people. So nothing in it may end a line, drive a terminal, or be no Unicode at all, and nothing may be
longer than its place: control characters of both sets, U+2028, U+2029 and lone surrogates become ``?``, and what is cut ends in ``…``.
"""

from __future__ import annotations

import re
from typing import Final

from penstock.mail.reply import printable

_CUT: Final = "…"
# Marks that reorder what stands around them, so that a line can look like another (Unicode 15, UAX 9): kept in the log, where they are
# part of an address, but not shown.
_REORDERING: Final = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def clean(text: str, limit: int) -> str:  # hot: benchmarks/events_encode.py
    """``text`` in one printable line of at most ``limit`` characters; lines that were parted by ``\\n`` are joined by a space."""
    if len(text) > limit:
        text = text[: limit - 1] + _CUT
    if text.isprintable():
        return text
    return printable(text.replace("\n", " "))


def displayed(text: str) -> str:
    """``text`` as it may be shown on a terminal, whoever wrote the file it comes from."""
    return _REORDERING.sub("?", printable(text.replace("\n", " ")))
