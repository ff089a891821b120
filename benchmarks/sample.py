"""Runs a child of Penstock's supervisor in this process and samples where a worker's CPU time goes: ``python -m benchmarks.sample FILE worker ...``.

It is what ``benchmarks.children`` starts children by. ``stages.TOGGLE`` is to be sent to the worker that has the lane; those who are never
told write nothing.

The kernel's profiling timer (ITIMER_PROF: it runs with the process's CPU time) raises a signal; its handler notes the stack. Nothing is
traced, nothing is added to the product, and between samples the program runs at its own speed. ``stages.TOGGLE`` begins sampling; again, it
ends it and writes the file that ``stages`` reads.

A Python handler runs when C code has returned to Python. So a sample taken inside a C function is seen at the call of it, and one taken in
the event loop's own C code at the first instruction of the next callback: such samples are marked ``entered``, and are the loop's.
"""

from __future__ import annotations

import dis
import functools
import json
import linecache
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

from benchmarks import stages

INTERVAL_SECONDS = 0.001
MAX_DEPTH = 40
RESUME = dis.opmap["RESUME"]


class Sampler:
    """Counts stacks while it is on."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._is_on = False
        self._stacks: Counter[tuple[bool, int, tuple[tuple[CodeType, str], ...]]] = Counter()
        self._before = os.times()

    def install(self) -> None:
        """Take over the two signals."""
        signal.signal(signal.SIGPROF, self._sample)
        signal.signal(stages.TOGGLE, self._toggle)

    def _toggle(self, number: int, frame: FrameType | None) -> None:
        self._is_on = not self._is_on
        interval = INTERVAL_SECONDS if self._is_on else 0.0
        signal.setitimer(signal.ITIMER_PROF, interval, interval)
        if self._is_on:
            self._before = os.times()
        else:
            self._write()

    def _sample(self, number: int, frame: FrameType | None) -> None:
        if frame is None or not self._is_on:
            return
        entered = frame.f_lasti <= _first_instruction(frame.f_code)
        line = frame.f_lineno or 0  # None where a line has no number
        stack: list[tuple[CodeType, str]] = []
        at: FrameType | None = frame
        while at is not None and len(stack) < MAX_DEPTH:
            stack.append((at.f_code, at.f_globals.get("__name__", "?")))
            at = at.f_back
        self._stacks[entered, line, tuple(stack)] += 1

    def _write(self) -> None:
        after = os.times()
        stacks = [
            stages.Stack(
                hits=count,
                entered=entered,
                line=line,
                source=linecache.getline(stack[0][0].co_filename, line).strip(),
                frames=[(module, code.co_qualname) for code, module in stack],
            )._asdict()
            for (entered, line, stack), count in self._stacks.items()
        ]
        content = {
            "user": after.user - self._before.user,
            "system": after.system - self._before.system,
            "stacks": stacks,
        }
        partial = self._file.with_suffix(".partial")
        partial.write_text(json.dumps(content))
        partial.rename(self._file)


@functools.cache
def _first_instruction(code: CodeType) -> int:
    """The offset of RESUME, where the interpreter looks for signals when a function begins."""
    return next((index for index in range(0, len(code.co_code), 2) if code.co_code[index] == RESUME), 0)


def main() -> int:
    """Install the sampler, in a worker, and become ``penstock``."""
    from penstock.cli.app import (
        main as penstock,
    )  # here: the sampler is installed before the product is loaded

    file, *arguments = sys.argv[1:]
    if arguments[:1] == ["worker"]:
        Sampler(Path(file)).install()
    sys.argv = ["penstock", *arguments]
    return penstock()


if __name__ == "__main__":
    sys.exit(main())
