"""Many runs: all that they met, and whether a mistake is found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from penstock.sim.file_system import Switches
from tests.spool.campaign.model import Violation
from tests.spool.campaign.mutations import Mutation
from tests.spool.campaign.processes import SIZES
from tests.spool.campaign.run import Run
from tests.spool.campaign.scripts import SCRIPTS, Script
from tests.spool.campaign.world import small_world

#: Actions of a run.
ACTIONS: Final = 120
#: Runs of its script that a mistake may survive, before others are tried.
STORIES: Final = 6
#: States that are judged after each step of a script.
STATES: Final = 3

#: What has to happen in a campaign of any length that deserves the name: none of it never.
KINDS: Final = (
    "transactions",
    "transactions of several messages",
    "large contents",
    "retries",
    "partial outcomes",
    "expirations",
    "notes",
    "outcomes while nothing can be written",
    "refused",
    "uncertain",
    "faults of the disk",
    "deaths of the helper",
    "syncs that failed",
    "segments abandoned",
    "octets copied forward",
    "segments removed",
    "messages read back",
    "histories read",
    "kills",
    "power cuts that the run went on from",
    "stops",
    "stops in peace",
    "jumps of the clock",
    "ended before it was recovered",
    "starts that failed",
    "recoveries that failed",
    "messages restored",
    "octets spoiled",
    "messages found spoiled",
    "cut again during the recovery",
    "gone on with, and cut once more",
    "compared with the independent reader",
    "messages from other lanes",
    "held messages released",
    "held messages dropped",
    "messages gone to other lanes",
    "messages with a schedule",
    "messages rebound",
    "messages flushed",
    "recipients removed",
)


class Outcome(NamedTuple):
    """What came of a run: states that were judged, how often what happened, and the violation, if there was one."""

    seed: int
    states: int
    kinds: Counter[str]
    violation: Violation | None


def told(
    story: str,
    seed: int,
    *,
    switches: Switches = Switches(),  # noqa: B008 -- it is frozen
    looks: float = 1.0,
) -> Outcome:
    """A run as the script of this name has it; ``seed`` chooses the states that are looked at, ``looks`` the share of the steps."""
    run = Run(seed, switches=switches, looks=looks, states=STATES, size=SIZES[0])
    run.bad_starts = 0.0
    return _gone(run, lambda: SCRIPTS[story](Script(run)))


def drawn(seed: int, *, switches: Switches = Switches(), actions: int = ACTIONS) -> Outcome:  # noqa: B008 -- it is frozen
    """A run by chance."""
    run = Run(seed, switches=switches)
    return _gone(run, lambda: run.go(actions))


def _gone(run: Run, course: Callable[[], None]) -> Outcome:
    """What comes of a run. What the spool raises is a violation too."""
    violation = None
    with small_world():
        try:
            course()
        except Violation as found:
            violation = found
        except Exception as error:  # noqa: BLE001 -- whatever a mistake makes of the spool
            violation = Violation("the spool raises nothing", repr(error))
            violation.__cause__ = error
    return Outcome(run.seed, run.oracle.states, run.kinds + run.oracle.kinds, violation)


def hunt(mutation: Mutation, seeds: Iterable[int]) -> Iterator[Outcome]:
    """Runs with a mistake, up to the first that finds it: its own story, then runs by chance."""
    with mutation.patch():
        for index, seed in enumerate(seeds):
            if index < STORIES and mutation.story:
                outcome = told(mutation.story, seed, switches=mutation.switches)
            else:
                outcome = drawn(seed, switches=mutation.switches)
            yield outcome
            if outcome.violation is not None:
                return
