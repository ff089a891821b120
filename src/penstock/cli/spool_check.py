"""What ``penstock spool check`` prints: damage first, then what is only worth knowing, then a line about all of it."""

from __future__ import annotations

from typing import TextIO

import msgspec

from penstock.cli.quantities import shown_size
from penstock.events.text import displayed
from penstock.spool.inspection.examination import Examination
from penstock.spool.inspection.findings import Finding


def verdict(found: Examination) -> int:
    """The exit status: 0 nothing is damaged, 1 something is, 2 not everything could be read."""
    if not found.is_complete:
        return 2
    return 1 if found.is_damaged else 0


def report(found: Examination, file: TextIO, *, json: bool) -> None:
    """Write down what was found."""
    if json:
        file.write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
        return
    damage = [finding for finding in found.findings if finding.is_damage]
    others = [finding for finding in found.findings if not finding.is_damage]
    for finding in damage:
        _write(finding, "damage", file)
    for finding in others:
        _write(finding, "note", file)
    for kind, count in found.untold.items():
        file.write(f"and {count} more of the kind {kind}\n")
    file.write(_summary(found, len(damage)))


def _write(finding: Finding, word: str, file: TextIO) -> None:
    where = f"{finding.path} at {finding.offset}" if finding.offset is not None else finding.path
    for line in (
        f"{word}: {where}: {finding.what}",
        f"    for mail: {finding.mail}",
        f"    to do: {finding.todo}",
    ):
        file.write(displayed(line) + "\n")


def _summary(found: Examination, damaged: int) -> str:
    read = f"{found.segments} segments and {found.bodies} body files were read, {shown_size(found.octets)}"
    queued = f"{found.messages} messages are queued"
    if not found.is_complete:
        state = "Not everything could be read"
    elif found.is_damaged:
        state = f"{damaged + sum(found.untold.values())} findings of damage"
    else:
        state = "Nothing is damaged"
    return f"{state}. {read}; {queued}.\n"
