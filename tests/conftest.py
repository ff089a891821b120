"""What all tests share: how tests with Debian's servers are left out, and Hypothesis without a clock."""

from __future__ import annotations

import os
import shutil

import pytest
from hypothesis import settings

#: Programs that a test marked ``servers`` needs, unless the mark names others: ``@pytest.mark.servers("swaks")``.
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
    missing = [name for name in (mark.args or SERVERS) if shutil.which(name, path=SEARCH_PATH) is None]
    if not missing:
        return
    reason = f"not installed: {', '.join(missing)} (Debian: apt-get install postfix swaks)"
    if os.environ.get("PENSTOCK_REQUIRE_SERVERS") == "1":
        pytest.fail(f"{reason}; PENSTOCK_REQUIRE_SERVERS=1 makes this a failure", pytrace=False)
    pytest.skip(reason)
