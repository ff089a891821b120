"""Every row on a server session: whole, octet by octet, and split in two; in the campaign at every offset, and the floods."""

from __future__ import annotations

import pytest

from tests.hostile.case import Case, Where
from tests.hostile.core_driver import play
from tests.hostile.cutting import Extent, cuttings
from tests.hostile.table import CASES

ROWS = [case for case in CASES if case.where is not Where.SOCKETS]
QUICK = [case for case in ROWS if not case.is_flood]


def faults_in(case: Case, extent: Extent) -> list[str]:
    """What goes wrong with a row in the first cutting in which something does."""
    for name, cutting in cuttings(case, extent):
        if faults := play(case, cutting):
            return [f"{name}: {fault}" for fault in faults]
    return []


@pytest.mark.parametrize("case", QUICK, ids=lambda case: case.code)
def test_a_hostile_dialogue_on_the_core(case: Case) -> None:
    """As the row says, however its octets arrive."""
    assert faults_in(case, Extent.SUITE) == [], case.what


@pytest.mark.campaign
@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.code)
def test_a_hostile_dialogue_on_the_core_at_every_offset(case: Case) -> None:
    """The same, split everywhere; a hundred thousand commands too."""
    assert faults_in(case, Extent.CAMPAIGN) == [], case.what
