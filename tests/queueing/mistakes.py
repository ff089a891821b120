"""Deliberate mistakes, each of which a model must find: how they are listed, made, and looked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

Mistake = Callable[[pytest.MonkeyPatch], None]
#: What Python says of a call that does not fit: then the mistake was never made, for what it replaces has changed.
_UNFIT = re.compile(r"positional argument|required keyword-only argument|unexpected keyword argument")


class Mistakes(dict[str, Mistake]):
    """Mistakes by the names of their functions. Called with one it lists it: a decorator."""

    def __call__(self, mistake: Mistake) -> Mistake:
        assert mistake.__name__ not in self
        self[mistake.__name__] = mistake
        return mistake

    def cases(self, *, rare: set[str]) -> list[Any]:
        """All as parameters of a test; those that are ``rare`` take too many examples for each run of the tests."""
        return [
            pytest.param(mistake, id=name, marks=[pytest.mark.campaign] if name in rare else [])
            for name, mistake in self.items()
        ]


def wrap(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, wrapper: Callable[..., Any]) -> None:
    """Replace a method by ``wrapper``, which gets the original first."""
    original = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args, **options: wrapper(original, *args, **options))


def search(machine: type[RuleBasedStateMachine], steps: int = 60) -> None:
    """Run a model on as many examples as the rarest mistake needs, always the same ones; raises what it finds."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=1000,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            report_multiple_bugs=False,
        ),
    )


def assert_found(machine: type[RuleBasedStateMachine], steps: int = 60) -> None:
    """A mistake has been made: the model must trip over it, over whatever it is, but not because the mistake does not fit what it replaces."""
    with pytest.raises(Exception) as found:
        search(machine, steps)
    is_unfit = isinstance(found.value, TypeError) and _UNFIT.search(str(found.value))
    assert not is_unfit, f"the mistake does not fit the code any more: {found.value}"
