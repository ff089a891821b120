"""``python -m benchmarks.show NAME``: one acceptance check, with its figures. ``list`` names them all.

Exit status: 0 all claims hold; 1 one does not, or a program did not do its part; 2 no such check; 3 something that the check needs is not
on this machine, or may not run here, which says nothing about Penstock.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Final, NoReturn

from benchmarks import (
    processes_1,
    processes_2,
    processes_3,
    processes_4,
    processes_5,
    processes_6,
    protocol_1,
    protocol_2,
    protocol_3,
    protocol_4,
    protocol_5,
    queues_1,
    queues_2,
    queues_3,
    queues_4,
    queues_5,
    queues_6,
    queues_7,
    relay_1,
    relay_2,
    relay_3,
    relay_4,
    relay_5,
    spool_1,
    spool_2,
    spool_3,
    spool_4,
    spool_5,
    spool_6,
)
from benchmarks.processes import MissingProgramError, ProgramFaultError, adopt_orphans, end_descendants
from benchmarks.report import Report

#: A check: says its claims to the report; gets the words that followed its name.
Check = Callable[[Report, Sequence[str]], None]

CHECKS: Final[dict[str, Check]] = {
    "relay-1": relay_1.check,
    "relay-2": relay_2.check,
    "relay-2-profile": relay_2.profile,
    "relay-3": relay_3.check,
    "relay-4": relay_4.check,
    "relay-5": relay_5.check,
    "protocol-1": protocol_1.check,
    "protocol-2": protocol_2.check,
    "protocol-3": protocol_3.check,
    "protocol-4": protocol_4.check,
    "protocol-5": protocol_5.check,
    "spool-1": spool_1.check,
    "spool-2": spool_2.check,
    "spool-3": spool_3.check,
    "spool-4": spool_4.check,
    "spool-5": spool_5.check,
    "spool-6": spool_6.check,
    "processes-1": processes_1.check,
    "processes-2": processes_2.check,
    "processes-3": processes_3.check,
    "processes-4": processes_4.check,
    "processes-5": processes_5.check,
    "processes-6": processes_6.check,
    "queues-1": queues_1.check,
    "queues-2": queues_2.check,
    "queues-3": queues_3.check,
    "queues-4": queues_4.check,
    "queues-5": queues_5.check,
    "queues-6": queues_6.check,
    "queues-7": queues_7.check,
}


def summary(check: Check) -> str:
    """The first line of a check's docstring."""
    return (check.__doc__ or "").strip().partition("\n")[0]


def run(name: str, check: Check, arguments: Sequence[str]) -> int:
    """Run one check and return the exit status."""
    report = Report(name)
    print(f"{name}: {summary(check)}")
    try:
        check(report, arguments)
    except MissingProgramError as missing:
        print(f"\n{name}: cannot run here: {missing}", file=sys.stderr)
        return 3
    except ProgramFaultError as fault:
        report.claim("every program did its part", holds=False, detail=str(fault))
        for note in getattr(fault, "__notes__", []):
            report.figure(note)
    return 0 if report.verdict() else 1


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    match arguments:
        case ["list" | "--list"]:
            for name, check in CHECKS.items():
                print(f"{name:16} {summary(check)}")
            return 0
        case [name, *rest] if name in CHECKS:
            signal.signal(signal.SIGTERM, end)
            adopt_orphans()
            try:
                return run(name, CHECKS[name], rest)
            finally:
                end_descendants()
        case _:
            print("usage: python -m benchmarks.show NAME, or: make show K=NAME", file=sys.stderr)
            print(f"where NAME is list, {', '.join(CHECKS)}", file=sys.stderr)
            return 2


def end(number: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM ends like Ctrl-C does: through every context, so that nothing keeps running."""
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
