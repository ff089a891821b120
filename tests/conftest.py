"""What all tests share: how tests with Debian's servers are left out, and Hypothesis without a clock."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from benchmarks.peers.presence import check_peers
from benchmarks.processes import MissingProgramError, find_program

#: Programs that a test marked ``servers`` needs, unless the mark names others: ``@pytest.mark.servers("swaks")``. ``peers`` stands for all
#: that ``.ci/peers`` gets, and for the right to run it.
SERVERS = ("smtp-source", "smtp-sink", "swaks", "postfix")
#: Debian keeps servers where a plain user's PATH does not look.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

# A deadline per example measures the machine, not the code.
settings.register_profile("penstock", deadline=None)
settings.load_profile("penstock")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose servers are not installed; with PENSTOCK_REQUIRE_SERVERS=1, as in CI, that is a failure."""
    mark = item.get_closest_marker("servers")
    if mark is None:
        return
    missing = [lack for name in (mark.args or SERVERS) if (lack := _lack(name))]
    if not missing:
        return
    reason = "; ".join(missing)
    if os.environ.get("PENSTOCK_REQUIRE_SERVERS") == "1":
        pytest.fail(f"{reason}; PENSTOCK_REQUIRE_SERVERS=1 makes this a failure", pytrace=False)
    pytest.skip(reason)


def _lack(name: str) -> str:
    """What is missing for a test that needs this, and how to get it; nothing if it is here."""
    if name == "peers":
        try:
            check_peers()
        except MissingProgramError as missing:
            return str(missing)
        return ""
    try:
        find_program(name)
    except MissingProgramError as missing:
        return str(missing)
    return ""
