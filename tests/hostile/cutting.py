"""In what pieces the octets of a row arrive: whole, octet by octet, and split in two at every offset.

Only one turn is split at a time. Beyond two thousand octets, it is split at both ends and where buffers have their borders. The suite has
the time for the offsets beside an octet that a reader looks for, such as CR, LF and dot; the campaign, and the show, take every offset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Final

from tests.hostile.case import Case, Turn

#: The list of attacks asks for every offset up to here.
EVERY_OFFSET: Final = 2048
_ENDS: Final = 64
_AROUND: Final = 2
_BORDERS: Final = (998, 1000, 2046, 2048, 4096, 8192, 12_288, 65_536)
#: What readers look for.
_SEAMS: Final = frozenset(b"\r\n\x00.")
#: Seams of one turn that the suite looks at; of more, every second, every third and so on.
_SEAMS_LIMIT: Final = 40
#: Octet by octet, where the whole row is not longer.
_OCTETS: Final = 8192
#: Octets that all splits of one turn may come to: the longer it is, the fewer.
_WORK: Final = 4_000_000

#: Segments by the number of the step.
Cutting = Mapping[int, list[bytes]]


class Extent(Enum):
    """How much there is time for."""

    WHOLE = "in one piece"
    SUITE = "whole, octet by octet, and at the seams"
    CAMPAIGN = "whole, octet by octet, and at every offset"


def cuttings(case: Case, extent: Extent) -> Iterator[tuple[str, Cutting]]:
    """Each way in which this row's octets are to arrive, with a name. Steps that a cutting does not name are sent whole."""
    yield "whole", {}
    if extent is Extent.WHOLE or case.is_flood:
        return
    turns = {
        number: step
        for number, step in enumerate(case.steps)
        if isinstance(step, Turn) and not step.is_common and len(step.sent) > 1
    }
    if turns and sum(len(turn.sent) for turn in turns.values()) <= _OCTETS:
        yield "octet by octet", {number: octet_by_octet(turn) for number, turn in turns.items()}
    for number, turn in turns.items():
        sent = turn.sent
        places = [place for place in offsets(len(sent)) if place not in turn.together]
        if extent is Extent.SUITE:
            seams = [place for place in places if not _SEAMS.isdisjoint(sent[place - 1 : place + 1])]
            places = seams[:: 1 + len(seams) // _SEAMS_LIMIT]
        for offset in places[:: 1 + len(places) * len(sent) // _WORK]:
            yield f"step {number} split at {offset}", {number: [sent[:offset], sent[offset:]]}


def octet_by_octet(turn: Turn) -> list[bytes]:
    """One segment for each octet, those that belong together excepted."""
    pieces: list[bytes] = []
    for place in range(len(turn.sent)):
        octet = turn.sent[place : place + 1]
        if place in turn.together:
            pieces[-1] += octet
        else:
            pieces.append(octet)
    return pieces


def offsets(size: int) -> list[int]:
    """Where ``size`` octets are split: everywhere up to ``EVERY_OFFSET``, else at both ends and around the borders of buffers."""
    if size <= EVERY_OFFSET:
        return list(range(1, size))
    found = {*range(1, _ENDS + 1), *range(size - _ENDS, size)}
    for border in _BORDERS:
        found.update(
            place + step
            for place in range(border, min(size, 8 * border), border)
            for step in range(-_AROUND, _AROUND + 1)
        )
    return sorted(offset for offset in found if 0 < offset < size)
