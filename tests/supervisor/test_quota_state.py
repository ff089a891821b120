"""How far ahead of time slow rates are, over restarts, reboots, and clocks that jump."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.mail.duration import Seconds
from penstock.sim.clock import FakeClock
from penstock.supervisor.quota_state import QuotaState, boot_id
from penstock.supervisor.state import State, StateError


def test_what_was_kept_is_there_in_the_same_boot(tmp_path: Path) -> None:
    """As it is, whatever the wall clock says; what is past is forgotten; the end was not in order."""
    clock = FakeClock(wall=1e9, monotonic=1000.0)
    state = QuotaState(State(tmp_path).connection, clock, "boot")
    assert state.begin() == ({}, True)
    state.keep({"a": 1060.0, "b": 1010.0})
    state.keep({"a": 1072.0})
    later = QuotaState(State(tmp_path).connection, FakeClock(wall=5e8, monotonic=1020.0), "boot")
    assert later.begin() == ({"a": 1072.0}, False)
    assert later.begin() == ({"a": 1072.0}, False)


@pytest.mark.parametrize(("passed", "ahead"), [(30.0, 30.0), (-400.0, 60.0), (61.0, None), (0.0, 60.0)])
def test_in_another_boot_the_wall_clock_says_what_has_passed(
    tmp_path: Path, passed: float, ahead: float | None
) -> None:
    """If it went back, nothing has."""
    state = QuotaState(State(tmp_path).connection, FakeClock(wall=1e9, monotonic=1000.0), "boot")
    state.begin()
    state.keep({"a": 1060.0})
    later = QuotaState(State(tmp_path).connection, FakeClock(wall=1e9 + passed, monotonic=7.0), "another")
    found = later.begin().arrivals
    assert found == ({} if ahead is None else {"a": pytest.approx(7.0 + ahead)})


def test_an_end_in_order_is_known_once(tmp_path: Path) -> None:
    """What is lent after it needs another."""
    clock = FakeClock()
    state = QuotaState(State(tmp_path).connection, clock, "boot")
    state.begin()
    state.end({"a": clock.monotonic() + 5})
    assert state.begin() == ({"a": clock.monotonic() + 5}, True)
    assert state.begin().is_clean is False


def test_what_is_past_can_be_forgotten_meanwhile(tmp_path: Path) -> None:
    """A server that runs for years does not fill its table."""
    clock = FakeClock()
    connection = State(tmp_path).connection
    state = QuotaState(connection, clock, "boot")
    state.begin()
    state.keep({"a": clock.monotonic() + 5, "b": clock.monotonic() + 50})
    clock.advance(Seconds(10.0))
    state.forget()
    assert [row[0] for row in connection.execute("SELECT key FROM rate")] == ["b"]


def test_faults_are_state_errors(tmp_path: Path) -> None:
    """With what to do."""
    connection = State(tmp_path).connection
    state = QuotaState(connection, FakeClock(), "boot")
    state.begin()
    connection.execute("DROP TABLE rate")
    for call in (lambda: state.keep({"a": 1.0}), lambda: state.end({"a": 1.0}), state.forget):
        with pytest.raises(StateError, match=r"state\.db.*move it away"):
            call()
    connection.execute("DROP TABLE broker")
    connection.execute("CREATE TABLE broker (other)")
    with pytest.raises(StateError, match=r"state\.db"):
        state.begin()


def test_this_boot_has_an_id() -> None:
    """The kernel's."""
    assert len(boot_id()) == 36
