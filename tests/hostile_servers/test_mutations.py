"""The table can fail: every mistake of ``mutations`` is found by the cases that are there for it."""

from __future__ import annotations

import pytest

from tests.hostile_servers.checks import check, check_bounds, check_sent, is_without_end
from tests.hostile_servers.mutations import MUTATIONS, Patch
from tests.hostile_servers.on_core import run_on_core
from tests.hostile_servers.table import CASES


def finds_nothing(code: str) -> None:
    """Put a case to all that is checked of it on the core; AssertionError, or whatever else happens, if something is found."""
    case = CASES[code]
    check(case, run_on_core(case))
    if is_without_end(case):
        check_bounds(case)
    if code.startswith("B"):
        check_sent(case)


@pytest.mark.parametrize(
    ("mutation", "code"),
    [(mutation, code) for mutation, codes in MUTATIONS.items() for code in codes],
    ids=lambda each: each if isinstance(each, str) else each.__name__,
)
def test_a_mistake_is_found(mutation: Patch, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The case holds without it, and does not with it."""
    finds_nothing(code)
    mutation(monkeypatch)
    with pytest.raises((AssertionError, RuntimeError)):
        finds_nothing(code)
