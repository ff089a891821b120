"""The rows, by the sections of the list of attacks."""

from __future__ import annotations

from typing import Final

from tests.hostile.case import Case, Waiting
from tests.hostile.table import (
    addresses,
    authentication,
    bypass,
    chunks,
    commands,
    extensions,
    logs,
    outbound,
    parameters,
    relaying,
    smuggling,
    starttls,
)

_SECTIONS: Final = (
    smuggling,
    outbound,
    starttls,
    authentication,
    bypass,
    relaying,
    commands,
    addresses,
    parameters,
    extensions,
    chunks,
    logs,
)

CASES: Final[tuple[Case, ...]] = tuple(case for section in _SECTIONS for case in section.CASES)
WAITING: Final[tuple[Waiting, ...]] = tuple(row for section in _SECTIONS for row in section.WAITING)
