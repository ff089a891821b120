"""Whether the lanes of a configuration can stand beside each other: a path has one lane, and a lane one name."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.config.refusal import quote
from penstock.config.tree import Place, Tree
from penstock.mail.problem import Problem


def check_lanes(root: Tree) -> Iterator[Problem]:
    """Every problem between two lanes of the root file."""
    names: dict[str, Place] = {}
    domains: dict[str, tuple[str, Place]] = {}
    for lane in root.arrays["lane"]:
        name = lane.given.get("name")
        if name is not None:
            if name.value in names:
                what = f"there is a lane {quote(name.value)} already"
                yield name.place.problem(what, f"{names[name.value].key} is it; give this one another name")
            names.setdefault(name.value, name.place)
        own = "this lane" if name is None else f"lane {quote(name.value)}"
        yield from _domains(lane, own, domains)


def _domains(lane: Tree, own: str, taken: dict[str, tuple[str, Place]]) -> Iterator[Problem]:
    """What of a lane's domains is another's; they are ``taken`` then."""
    given = lane.tables["match"].given.get("domain")
    if given is None:
        return
    for domain in given.value:
        rival = next((pattern for pattern in taken if _overlap(domain, pattern)), None)
        if rival is not None:
            other, place = taken[rival]
            what = f"{own} and {other} would both have the mail to {quote(max(domain, rival, key=_depth))}"
            yield given.place.problem(what, f"{place.key} has it too; leave it out of one of them")
    taken.update((domain, (own, given.place)) for domain in given.value)


def _overlap(one: str, other: str) -> bool:
    """Whether there is a name that both patterns are for."""
    return one == other or _covers(one, other) or _covers(other, one)


def _covers(pattern: str, name: str) -> bool:
    """Whether a pattern ``*.x`` is for a name, or for all that another pattern is for."""
    return pattern.startswith("*.") and name.removeprefix("*").endswith(pattern[1:])


def _depth(name: str) -> tuple[int, bool]:
    """The more special of two that overlap has more labels, or no asterisk."""
    return name.count("."), not name.startswith("*")
