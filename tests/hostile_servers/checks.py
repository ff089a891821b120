"""What must hold of a case on the core."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

from penstock.sim.hostile import Act, Drip, Endless
from penstock.sim.hostile.acts import acts_of
from tests.hostile_servers.cases import Case
from tests.hostile_servers.contents import faults
from tests.hostile_servers.on_core import ENDLESS, Seen, is_right, run_on_core

#: What the client says with AUTH PLAIN, and no log may have.
SECRET = "AGFubmEAc2VjcmV0"
#: Octets that a session may hold of what a peer says: a reply's limit, with what Python needs to look at it.
MEMORY = 1024**2


def _acts(case: Case) -> Iterator[Act]:
    """All that the server's script has in it."""
    for scripted in case.script.values():
        yield from acts_of(scripted)


def is_short(case: Case) -> bool:
    """Whether what is said has an end, and soon."""
    return all(
        len(act) < 20_000 if isinstance(act, bytes) else not isinstance(act, Endless) for act in _acts(case)
    )


def is_without_end(case: Case) -> bool:
    """Whether what is said has no end."""
    return any(isinstance(act, Endless | Drip) for act in _acts(case))


def check(case: Case, seen: Seen) -> None:
    """The right verdict for each recipient, and no use of a session that cannot be trusted."""
    assert is_right(seen.verdicts, case.verdicts), seen.verdicts
    assert seen.is_over is case.is_over
    # nothing is believed delivered that the server has not been given whole
    accepted = sum("A" in verdict for verdict in seen.verdicts)
    assert len(seen.peer.data) >= accepted
    for text in seen.texts:
        assert text.replace("\n", "").isprintable()
        assert len(text) <= 65_536
        assert SECRET not in text
    for word in case.never:
        assert not [line for line in seen.peer.commands if word.removeprefix("clear ") in line]


def check_bounds(case: Case) -> None:
    """What has no end is given up long before it has all been said, and in memory that does not grow with it."""
    tracemalloc.start()
    try:
        seen = run_on_core(case)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seen.fed < ENDLESS / 8
    assert peak < MEMORY


def check_sent(case: Case) -> None:
    """One message, with its line ends whole and its dots doubled, or counted; and no command behind it but QUIT."""
    seen = run_on_core(case)
    (wire,) = seen.peer.data
    assert faults(wire, case.content, is_chunk="-bdat" in case.code) == []
    assert [line.partition(" ")[0] for line in seen.peer.commands[1:]] in (
        ["MAIL", "RCPT", "RCPT", "RCPT", "DATA", "QUIT"],
        ["MAIL", "RCPT", "RCPT", "RCPT", "BDAT", "QUIT"],
    )
