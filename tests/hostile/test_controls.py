"""Positive controls: mistakes that are put in are found, and a vulnerable server looks vulnerable."""

from __future__ import annotations

from pathlib import Path

import pytest
import uvloop

from penstock.sim.smuggling import SEQUENCES, UNIVERSAL_NEWLINES
from penstock.sim.vulnerable import VulnerableServer
from tests.hostile.case import Where
from tests.hostile.core_driver import play as play_on_core
from tests.hostile.cutting import Extent, cuttings
from tests.hostile.mutations import MUTATIONS, Mutation
from tests.hostile.server import serving
from tests.hostile.socket_driver import Dialogue, event_faults, play
from tests.hostile.table import CASES
from tests.hostile.wire import Wire


def rows_of(mutation: Mutation, where: Where) -> list[str]:
    """The codes of the rows that a mutation names."""
    return [
        case.code
        for case in CASES
        if case.code.startswith(mutation.rows) and case.where in (Where.BOTH, where) and not case.is_flood
    ]


@pytest.mark.parametrize(
    "mutation", [each for each in MUTATIONS if each.is_core], ids=lambda mutation: mutation.mutate.__name__
)
def test_the_table_finds_a_mistake_in_the_core(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the mistake in, one of these rows fails at least, in one of its cuttings."""
    mutation.mutate(monkeypatch)
    codes = set(rows_of(mutation, Where.CORE))
    assert codes
    assert any(
        play_on_core(case, cutting)
        for case in CASES
        if case.code in codes
        for _, cutting in cuttings(case, Extent.SUITE)
    )


@pytest.mark.system
@pytest.mark.parametrize(
    "mutation",
    [each for each in MUTATIONS if not each.is_core],
    ids=lambda mutation: mutation.mutate.__name__,
)
def test_the_table_finds_a_mistake_around_the_core(
    mutation: Mutation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The same on a running server."""
    mutation.mutate(monkeypatch)
    codes = set(rows_of(mutation, Where.SOCKETS))
    cases = [case for case in CASES if case.code in codes]

    async def scenario() -> bool:
        async with serving(tmp_path, cases[0].setup) as server:
            for case in cases:
                if case.setup == cases[0].setup and await play(server, case):
                    return True
        return False

    assert uvloop.run(scenario())


@pytest.mark.parametrize(
    "line",
    [
        b"x",
        b'{"type":"Delivery"',
        b'["Delivery"]',
        b'{"type":"Fake"}',
        b'{"type":"Delivery","sender":"a\\u000ab"}',
        b'{"type":"Delivery","response":{"content":"\\u001b[2J"}}',
        b'{"type":"Delivery","sender":"\xff"}',
        '{"type":"Delivery","meta":{"a\u2028b":"x"}}'.encode(),
        b'{"type":"Delivery","recipient":["' + b"x" * 3000 + b'"]}',
    ],
)
def test_a_line_that_is_not_fit_for_a_log_is_found(line: bytes) -> None:
    """No JSON, no event, or one with a control, a separator, or a value without a bound."""
    assert event_faults(line)


def test_a_vulnerable_server_is_found_to_be_one() -> None:
    """Eleven of the twenty sequences make it store two messages; none of those rows is content with it."""

    async def scenario() -> set[str]:
        through = set()
        for number, name in enumerate(SEQUENCES, 1):
            (case,) = [each for each in CASES if each.code == f"A1-{number:02}"]
            async with VulnerableServer() as server:
                async with Wire(await server.start()) as wire:
                    dialogue = Dialogue(case, wire)
                    await dialogue.play()
                if dialogue.faults and len(server.messages) > 1:
                    through.add(name)
        return through

    assert uvloop.run(scenario()) == UNIVERSAL_NEWLINES
