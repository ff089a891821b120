"""The campaign of power cuts, in short: ``make show K=spool-1`` is the whole of it."""

from __future__ import annotations

from typing import Final

import pytest

from tests.spool.campaign.campaign import KINDS, Outcome, drawn, hunt, told
from tests.spool.campaign.mutations import MUTATIONS, Mutation
from tests.spool.campaign.scripts import SCRIPTS

#: Of the steps of a script, the share that is looked at here.
LOOKS: Final = 0.12
#: Mistakes that are found within a moment: one of each kind.
QUICK: Final = (
    "names of segments are not synced",
    "answers before the sync",
    "outcomes of a failed sync are not repeated",
    "a transaction is written in several frames",
    "a segment is removed before its records are events",
    "a damaged frame hides what the next one says of an abandoned segment",
    "what a failed sync has left is synced at the start, and believed",
)


def agrees(outcome: Outcome) -> None:
    """Show the violation, and with it how the disk came to be as it is."""
    if outcome.violation is not None:
        raise outcome.violation
    assert outcome.states


@pytest.mark.parametrize("story", SCRIPTS)
def test_no_power_cut_breaks_the_contract_in_a_script(story: str) -> None:
    """Some steps of it."""
    agrees(told(story, 1, looks=LOOKS))


def test_no_power_cut_breaks_the_contract_by_chance() -> None:
    """A short run."""
    agrees(drawn(3, actions=60))


@pytest.mark.parametrize(
    "mutation", [item for item in MUTATIONS if item.name in QUICK], ids=lambda item: item.name
)
def test_a_mistake_is_found(mutation: Mutation) -> None:
    """One of each kind."""
    assert list(hunt(mutation, range(3)))[-1].violation is not None


def test_mistakes_have_names_of_their_own_and_stories_that_exist() -> None:
    """And the quick ones are there."""
    names = [item.name for item in MUTATIONS]
    assert len(names) == len(set(names))
    assert set(QUICK) <= set(names)
    assert {item.story for item in MUTATIONS} <= {"", *SCRIPTS}


@pytest.mark.campaign
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda item: item.name)
def test_every_mistake_is_found(mutation: Mutation) -> None:
    """All of them, each by its script or by runs that chance makes."""
    assert list(hunt(mutation, range(60)))[-1].violation is not None


@pytest.mark.campaign
def test_runs_by_chance_meet_everything() -> None:
    """All but what only a script does, in fifty runs without a violation."""
    outcomes = [drawn(seed) for seed in range(50)]
    for outcome in outcomes:
        agrees(outcome)
    met = {kind for outcome in outcomes for kind, count in outcome.kinds.items() if count}
    assert set(KINDS) - met <= {"octets spoiled", "messages found spoiled", "recoveries that failed"}
