"""Many runs: all that they met, and whether a mistake is found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from penstock.sim.file_system import Switches
from tests.spool.campaign.model import Violation
from tests.spool.campaign.mutations import Mutation
from tests.spool.campaign.run import Run
from tests.spool.campaign.world import small_world

#: Actions of a run.
ACTIONS: Final = 120


class Outcome(NamedTuple):
    """What came of a run: states that were judged, how often what happened, and the violation, if there was one."""

    seed: int
    states: int
    kinds: Counter[str]
    violation: Violation | None


def one_run(seed: int, *, switches: Switches = Switches(), actions: int = ACTIONS) -> Outcome:  # noqa: B008 -- it is frozen
    """A run by chance. What the spool raises is a violation too."""
    run = Run(seed, switches=switches)
    violation = None
    with small_world():
        try:
            run.go(actions)
        except Violation as found:
            violation = found
        except Exception as error:  # whatever else a mistake makes of the spool
            violation = Violation("the spool raises nothing", repr(error))
            violation.__cause__ = error
    return Outcome(seed, run.oracle.states, run.kinds + run.oracle.kinds, violation)


def hunt(mutation: Mutation, seeds: Iterable[int]) -> Iterator[Outcome]:
    """Runs with a mistake, up to the first that finds it."""
    with mutation.patch():
        for seed in seeds:
            outcome = one_run(seed, switches=mutation.switches)
            yield outcome
            if outcome.violation is not None:
                return
