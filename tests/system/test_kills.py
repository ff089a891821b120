"""The server killed before some of its storage calls, and failed by some: the short version of ``make show K=spool-3``."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.kills.calls import Point, Tracer
from benchmarks.kills.cycle import Finding, Laboratory, Sort
from benchmarks.kills.server import HOLD_MILLISECONDS, held
from benchmarks.processes import find_program, wait_until

pytestmark = [pytest.mark.system, pytest.mark.servers("strace")]

#: Makes five folders, one after the other.
MAKER = "import os, sys\nfor name in 'abcde': os.mkdir(f'{sys.argv[1]}/{name}')"
#: Both in the midst of a run: starting takes fewer of each.
SYNC = Point("fdatasync", 8, "by a helper")
WRITE = Point("pwritev2", 12, "by the loop")
#: A cycle that did not come to its call is run again, so many in all.
_CYCLES = 4


def _until_met(cycle: Callable[[], Finding]) -> Finding:
    """The first of some cycles that came to its call: one may be over before, and on a slow machine the kill comes when the hold is over."""
    finding = cycle()
    for _ in range(_CYCLES - 1):
        if finding.met or finding.lines():
            break
        finding = cycle()
    return finding


@pytest.fixture(scope="module")
def findings() -> Iterator[dict[str, Finding]]:
    """What came of three cycles, run beside each other: each waits for a server to start more than for anything else."""
    with tempfile.TemporaryDirectory(prefix="penstock-kills-") as name, ThreadPoolExecutor(3) as several:
        laboratory = Laboratory(Path(name).resolve())
        laboratory.prepare()
        under_way = {
            "kill": several.submit(_until_met, lambda: laboratory.kill(SYNC, Sort.STORAGE)),
            "error": several.submit(_until_met, lambda: laboratory.fail(WRITE, "EIO")),
            "control": several.submit(laboratory.lose_segment),
        }
        yield {cycle: finding.result() for cycle, finding in under_way.items()}


def test_strace_holds_a_call_before_it_is_made(tmp_path: Path) -> None:
    """And whoever is killed meanwhile has never made it: what the whole check stands on."""
    trace, place = tmp_path / "trace", tmp_path / "place"
    place.mkdir()
    trace.write_text("")
    options = ["-f", "--seccomp-bpf", "-q", "-o", str(trace), *held("mkdir", 3)]
    command = [find_program("strace"), *options, sys.executable, "-I", "-S", "-c", MAKER, str(place)]
    with subprocess.Popen(command) as strace:

        def held_at() -> bool:
            return Tracer.of(trace.read_text()).first("mkdir", 3, lambda call: True) is not None

        wait_until(held_at, 20.0, "the third call to be held", strace, interval=HOLD_MILLISECONDS / 30_000)
        children = Path(f"/proc/{strace.pid}/task/{strace.pid}/children").read_text().split()
        subprocess.run(["kill", "-9", *children], check=True)
    assert sorted(path.name for path in place.iterdir()) == ["a", "b"]


def test_a_kill_before_a_storage_call_loses_nothing(findings: dict[str, Finding]) -> None:
    """Whatever was answered 250 is delivered by the next life, once or explained, unchanged, with its events."""
    finding = findings["kill"]
    assert finding.met
    assert finding.lines() == []


def test_an_error_of_a_storage_call_is_no_250(findings: dict[str, Finding]) -> None:
    """What was answered 250 is there after a kill, what was not is not, and the server had taken mail again by itself."""
    finding = findings["error"]
    assert finding.met
    assert finding.lines() == []


def test_a_loss_is_found_out(findings: dict[str, Finding]) -> None:
    """The control: what was in a segment that is taken away between two lives."""
    finding = findings["control"]
    assert finding.met
    assert finding.verdict.losses
