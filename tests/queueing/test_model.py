"""The scheduler against a naive account of it, whatever happens in whatever order."""

from __future__ import annotations

import os

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.queueing.gated_machine import GatedMachine
from tests.queueing.machine import SchedulerMachine


def test_the_scheduler_does_what_the_account_says() -> None:
    """Nothing is lost or doubled, order and counts are kept, nothing wakes early or late, nothing is held without a gate, nothing is left behind."""
    examples = int(os.environ.get("PENSTOCK_EXAMPLES", "150"))
    run_state_machine_as_test(
        SchedulerMachine, settings=settings(max_examples=examples, stateful_step_count=60, deadline=None)
    )


def test_the_scheduler_holds_and_lets_go_what_the_account_says() -> None:
    """No limit is exceeded in any window, nothing that a directive holds begins, nothing is held without a gate, nothing wakes early or late."""
    examples = int(os.environ.get("PENSTOCK_EXAMPLES", "100"))
    run_state_machine_as_test(
        GatedMachine, settings=settings(max_examples=examples, stateful_step_count=60, deadline=None)
    )
