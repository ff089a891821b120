"""The table through a whole server on loopback: all cases of a group at once, each with a hostile server of its own."""

from __future__ import annotations

import pytest
import uvloop

from tests.hostile_servers.cases import Case, Where
from tests.hostile_servers.on_sockets import Seen, run_on_sockets
from tests.hostile_servers.table import GROUPS

pytestmark = pytest.mark.system

#: Seconds in which every case must come to its verdicts, on a machine that has other things to do.
LIMIT = 15.0
ON_SOCKETS = {
    name: [case for case in cases if case.where is not Where.CORE and not case.is_large]
    for name, cases in GROUPS.items()
}


@pytest.fixture(scope="module")
def batteries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Seen]]:
    """What came of the groups that have been run."""
    return {}


@pytest.mark.parametrize(
    ("group", "case"),
    [(name, case) for name, cases in ON_SOCKETS.items() for case in cases],
    ids=[case.code for cases in ON_SOCKETS.values() for case in cases],
)
def test_a_case_on_sockets(
    group: str, case: Case, batteries: dict[str, dict[str, Seen]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The right verdict for each recipient, in time; no session used again that cannot be trusted; and of the group, nothing lost."""
    if group not in batteries:
        place = tmp_path_factory.mktemp("battery")
        batteries[group] = uvloop.run(run_on_sockets(place, ON_SOCKETS[group]))
    seen = batteries[group][case.code]
    assert seen.is_right(case), f"{seen.verdicts}, not {case.verdicts_on_sockets}; {seen.faults}"
    assert seen.seconds < LIMIT
