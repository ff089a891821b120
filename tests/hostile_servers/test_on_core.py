"""The table on the client's core: each case whole and octet by octet, and nothing kept of what has no end."""

from __future__ import annotations

import pytest

from tests.hostile_servers.cases import Case, Where
from tests.hostile_servers.checks import check, check_bounds, check_sent, is_short, is_without_end
from tests.hostile_servers.contents import CONTENTS
from tests.hostile_servers.on_core import run_on_core
from tests.hostile_servers.table import CASES, NOT_YET, ROWS

ON_CORE = [case for case in CASES.values() if case.where is not Where.SOCKETS]


def code(case: Case) -> str:
    """A test is named by its case."""
    return case.code


@pytest.mark.parametrize("case", ON_CORE, ids=code)
def test_a_case_on_the_core(case: Case) -> None:
    """The right verdict for each recipient, and no use of a session that cannot be trusted."""
    check(case, run_on_core(case))


@pytest.mark.parametrize("case", [case for case in ON_CORE if is_short(case)], ids=code)
def test_a_case_octet_by_octet(case: Case) -> None:
    """However its octets are cut, the same."""
    check(case, run_on_core(case, octet_by_octet=True))


@pytest.mark.parametrize("case", [case for case in ON_CORE if is_without_end(case)], ids=code)
def test_what_has_no_end_is_given_up_early_and_not_kept(case: Case) -> None:
    """Long before it has all been said, and in memory that does not grow with it."""
    check_bounds(case)


@pytest.mark.parametrize("case", CONTENTS, ids=code)
def test_what_is_sent_can_be_read_in_one_way_only(case: Case) -> None:
    """One message, with its line ends whole and its dots doubled, or counted; and no command behind it but QUIT."""
    check_sent(case)


def test_every_row_has_its_cases() -> None:
    """Codes and domains are unique, rows name cases that exist, every case has a row, and what is left out says why."""
    for beginnings in ROWS.values():
        for beginning in beginnings:
            assert [name for name in CASES if name.startswith(beginning)], beginning
    for name in CASES:
        assert any(name.startswith(beginning) for beginnings in ROWS.values() for beginning in beginnings), (
            name
        )
    assert all(NOT_YET.values())
    assert len({case.domain for case in CASES.values()}) == len(CASES)
