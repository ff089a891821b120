"""protocol-1: every attack of ``tests.hostile`` on the core, cut at every offset, and over sockets; and that mistakes put in are found."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import pytest
import uvloop

from benchmarks.hostile import is_fooled
from benchmarks.report import Report
from penstock.sim.smuggling import SEQUENCES, UNIVERSAL_NEWLINES
from tests.hostile import core_driver, socket_driver
from tests.hostile.case import Case, Setup, Where
from tests.hostile.cutting import Extent, cuttings
from tests.hostile.mutations import MUTATIONS, Mutation
from tests.hostile.scene import Scene
from tests.hostile.scenes import SCENES
from tests.hostile.server import serving
from tests.hostile.table import CASES, WAITING

#: The codes of the table, each a kind of attack.
GROUPS: Final[dict[str, str]] = {
    "A1": "twenty sequences in mail data",
    "A2": "the same in a message that is refused",
    "A3": "mail data behind a refused DATA",
    "A4": "empty mail data, and dots",
    "A5": "commands with bare CR or LF",
    "A6": "Exim's script",
    "A7": "talking early",
    "A8": "content changed between reception and the wire",
    "B1": "smuggling outwards",
    "B2": "dots and borders outwards",
    "B3": "chunks outwards",
    "B4": "commands in addresses and names",
    "C1": "plain text behind STARTTLS",
    "C2": "what STARTTLS must forget",
    "C5": "plain text behind close_notify",
    "C6": "other protocols",
    "D1": "AUTH without TLS",
    "D2": "what may be given to AUTH, and how often",
    "D3": "ways around AUTH and addresses",
    "D4": "relaying",
    "D5": "naming tenants",
    "E1": "line lengths",
    "E2": "addresses",
    "E3": "octets that no command holds",
    "E4": "parameters",
    "E5": "floods",
    "E6": "slowness and sudden ends",
    "E7": "UTF-8 without SMTPUTF8",
    "F1": "8-bit content",
    "F2": "UTF-8 addresses",
    "F3": "chunks",
    "M1": "strangers' texts and secrets in records",
    "M3": "work for parsers",
    "M4": "what the source may not use",
}
_SHOWN: Final = 3


class _Tally:
    """Rows, runs and faults by group."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = defaultdict(int)
        self.runs: dict[str, int] = defaultdict(int)
        self.failed: dict[str, list[str]] = defaultdict(list)

    def add(self, row: Case | Scene, runs: int, faults: Sequence[str]) -> None:
        """One row was played so often."""
        self.rows[row.group] += 1
        self.runs[row.group] += runs
        if faults:
            self.failed[row.group].append(f"{row.code}: {'; '.join(faults[:_SHOWN])}")

    def claim(self, report: Report) -> None:
        """One claim for each group, and their sum."""
        for group in sorted(self.rows):
            failed = self.failed[group]
            passed = self.rows[group] - len(failed)
            figures = f"{passed:,} of {self.rows[group]:,} rows as expected, {self.runs[group]:,} runs"
            report.claim(f"{group} {GROUPS.get(group, '')}", not failed, figures)
            for fault in failed[:_SHOWN]:
                report.figure(fault)
        report.figure(f"{sum(self.rows.values()):,} rows, {sum(self.runs.values()):,} runs")


def check(report: Report, arguments: Sequence[str]) -> None:
    """Every row of ``tests.hostile`` holds: on the core, however its octets arrive; over sockets, with real TLS; what waits is listed.

    ``arguments``: beginnings of codes, to play some rows only.
    """
    chosen = tuple(arguments) or ("",)
    cases = [case for case in CASES if case.code.startswith(chosen)]
    scenes = [scene for scene in SCENES if scene.code.startswith(chosen)]
    _on_the_core(report, cases)
    _over_sockets(report, cases)
    _scenes(report, scenes)
    if not arguments:
        _controls(report)
    _waiting(report, chosen)


def _on_the_core(report: Report, cases: Iterable[Case]) -> None:
    report.heading("On the core: whole, octet by octet, and split at every offset")
    tally = _Tally()
    for case in cases:
        if case.where is Where.SOCKETS:
            continue
        runs, found = 0, []
        for name, cutting in cuttings(case, Extent.CAMPAIGN):
            runs += 1
            if faults := core_driver.play(case, cutting):
                found = [f"{name}: {fault}" for fault in faults]
                break
        tally.add(case, runs, found)
    tally.claim(report)


def _over_sockets(report: Report, cases: Iterable[Case]) -> None:
    report.heading("Over sockets: whole, against a running server, with real TLS")
    by_setup: dict[Setup, list[Case]] = defaultdict(list)
    for case in cases:
        if case.where is not Where.CORE:
            by_setup[case.setup].append(case)
    tally = _Tally()
    unfit: list[str] = []

    async def play_all(place: Path, setup: Setup, rows: Sequence[Case]) -> None:
        async with serving(place, setup) as server:
            for case in rows:
                tally.add(case, 1, await socket_driver.play(server, case))
            secrets = sorted({secret for case in rows for secret in case.secrets})
            unfit.extend(socket_driver.record_faults(server, secrets))

    for setup, rows in by_setup.items():
        with tempfile.TemporaryDirectory(prefix="penstock-protocol-1-") as place:
            uvloop.run(play_all(Path(place), setup, rows))
    tally.claim(report)
    report.claim(
        "every event is one line of JSON, bounded and printable, and none has a secret in it",
        not unfit,
        "; ".join(unfit[:_SHOWN]),
    )


def _scenes(report: Report, scenes: Iterable[Scene]) -> None:
    report.heading("Over sockets: what is no dialogue")
    tally = _Tally()

    async def play(scene: Scene, place: Path) -> list[str]:
        return list(await scene.play(place))

    for scene in scenes:
        with tempfile.TemporaryDirectory(prefix="penstock-protocol-1-") as place:
            try:
                faults = uvloop.run(play(scene, Path(place)))
            except (AssertionError, TimeoutError) as error:
                faults = [f"{type(error).__name__}: {error}"]
        tally.add(scene, 1, faults)
    tally.claim(report)


def _controls(report: Report) -> None:
    report.heading("Positive controls: these rows fail where they must")
    fooled = {name for name, octets in SEQUENCES.items() if is_fooled(octets)}
    report.claim(
        "a vulnerable server stores two messages",
        fooled == UNIVERSAL_NEWLINES,
        f"{len(fooled)} of {len(SEQUENCES)} sequences get through it",
    )
    for mutation in MUTATIONS:
        sentence = (mutation.mutate.__doc__ or "").strip().rstrip(".")
        with pytest.MonkeyPatch.context() as patch:
            mutation.mutate(patch)
            code = _first_on_core(mutation) if mutation.is_core else uvloop.run(_first_on_sockets(mutation))
        report.claim(f"put in: {sentence}", bool(code), f"found by {code}" if code else "not found")


def _rows_for(mutation: Mutation) -> list[Case]:
    unwanted = Where.SOCKETS if mutation.is_core else Where.CORE
    return [
        case
        for case in CASES
        if case.code.startswith(mutation.rows) and case.where is not unwanted and not case.is_flood
    ]


def _first_on_core(mutation: Mutation) -> str:
    for case in _rows_for(mutation):
        if any(core_driver.play(case, cutting) for _, cutting in cuttings(case, Extent.SUITE)):
            return case.code
    return ""


async def _first_on_sockets(mutation: Mutation) -> str:
    rows = _rows_for(mutation)
    with tempfile.TemporaryDirectory(prefix="penstock-protocol-1-") as place:
        async with serving(Path(place), rows[0].setup) as server:
            for case in rows:
                if case.setup == rows[0].setup and await socket_driver.play(server, case):
                    return case.code
    return ""


def _waiting(report: Report, chosen: tuple[str, ...]) -> None:
    rows = [row for row in WAITING if row.code.startswith(chosen)]
    report.heading(f"{len(rows)} rows wait, or are played elsewhere")
    for row in rows:
        report.figure(f"{row.code}: {row.what}; waits for {row.waits_for}")
