"""A profile of Penstock by stage of a message's life: which package the CPU was working for, from the samples of ``sample``."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

#: Begins and ends sampling, sent to a worker. None that the server's processes know: SIGUSR2 is an upgrade.
TOGGLE: Final = signal.SIGUSR1

LOOP: Final = "loop"
WRITES: Final = "socket writes"
OTHER: Final = "other"
#: module -> stage; the longest name that a module begins with decides. What is not here works for its caller (``penstock.mail``).
STAGES: Final = {
    "penstock.ingress": "receive",
    "penstock.smtp.server": "parse",
    "penstock.smtp.command": "parse",
    "penstock.smtp.phase": "parse",
    "penstock.smtp.data": "parse",
    "penstock.policy": "policy, split",
    "penstock.ingress.acceptance": "policy, split",
    "penstock.ingress.budget": "policy, split",
    "penstock.spool": "spool",
    "penstock.queueing": "queue",
    "penstock.shaping": "queue",
    "penstock.routing": "route",
    "penstock.net": "route",
    "penstock.events": "events",
    "penstock.feedback": "send",
    "penstock.lane": "send",
    "penstock.ipc": "between processes",
    "penstock.scribe": "events",
    "penstock.smtp.client": "send",
    "penstock.smtp.reply_reader": "send",
    "penstock.smtp.transmission": "send",
    "penstock.api": "HTTP",
    "penstock.config": "process",
    "penstock.worker": "process",
    "penstock.supervisor": "process",
    "penstock.cli": "process",
}
ORDER: Final = (
    "receive",
    "parse",
    "policy, split",
    "spool",
    "queue",
    "route",
    "send",
    "events",
    "between processes",
    "HTTP",
    "process",
    WRITES,
    LOOP,
    OTHER,
)
HOT_LINES: Final = 25
# the call of a transport's write: C code, and in it the system call
_TRANSPORT_WRITE = re.compile(r"transport\.(write|writelines|sendto)\(")


class Stack(NamedTuple):
    """How often (``hits``) the CPU was here. ``frames`` are (module, function), innermost first; ``source`` is the innermost frame's line.

    ``entered``: the innermost function had only just begun, so the time went by before it, in whatever C code called it.
    """

    hits: int
    entered: bool
    line: int
    source: str
    frames: list[tuple[str, str]]

    @property
    def stage(self) -> str:
        """The stage that this sample belongs to."""
        frames = self.frames[1:] if self.entered else self.frames
        if not self.entered and _TRANSPORT_WRITE.search(self.source):
            return WRITES
        for module, _ in frames:
            if (stage := _stage_of(module)) and stage != "process":
                return stage
        return LOOP if any(_stage_of(module) == "process" for module, _ in frames) or not frames else OTHER


class Profile(NamedTuple):
    """The samples of one run, and its CPU seconds as the kernel counted them."""

    user: float
    system: float
    stacks: list[Stack]

    @property
    def samples(self) -> int:
        """How many there are."""
        return sum(stack.hits for stack in self.stacks)

    def by_stage(self) -> Counter[str]:
        """Samples of each stage."""
        counts: Counter[str] = Counter()
        for stack in self.stacks:
            counts[stack.stage] += stack.hits
        return counts

    def by_line(self) -> Counter[str]:
        """Samples of each line, innermost frames only."""
        counts: Counter[str] = Counter()
        for stack in self.stacks:
            module, function = stack.frames[0]
            where = "(before) " if stack.entered else ""
            counts[
                f"{where}{module}:{stack.line} {function}: {'' if stack.entered else stack.source}"[:130]
            ] += stack.hits
        return counts

    def share_of_known_stages(self) -> float:
        """The share of samples that are not ``other``."""
        return 1 - self.by_stage()[OTHER] / max(self.samples, 1)


def read_profile(file: Path) -> Profile:
    """The profile that ``sample`` wrote to a file."""
    content = json.loads(file.read_text())
    stacks = [
        Stack(**{**stack, "frames": [(module, name) for module, name in stack["frames"]]})
        for stack in content["stacks"]
    ]
    return Profile(content["user"], content["system"], stacks)


def table(profile: Profile, microseconds: float) -> Iterator[str]:
    """Lines for people: the stages, the kernel's share, the lines that cost most. ``microseconds`` is the CPU time of a message in all."""
    samples = max(profile.samples, 1)
    kernel = profile.system / max(profile.user + profile.system, 1e-9)
    yield f"{samples} samples; {kernel:.0%} of the CPU time is the kernel's ({microseconds * kernel:.0f} us per message)"
    stages = profile.by_stage()
    for stage in [*ORDER, *sorted(stages.keys() - set(ORDER))]:
        share = stages[stage] / samples
        if stages[stage]:
            yield f"{stage:14} {share * microseconds:6.1f} us per message  {share:6.1%}  {'#' * round(share * 60)}"
    yield ""
    yield "the lines that cost most (us per message):"
    for line, count in profile.by_line().most_common(HOT_LINES):
        yield f"{count / samples * microseconds:6.1f}  {line}"


def _stage_of(module: str) -> str | None:
    while module:
        if module in STAGES:
            return STAGES[module]
        module = module.rpartition(".")[0]
    return None
