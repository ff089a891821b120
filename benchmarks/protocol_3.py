"""protocol-3: Postfix, Exim and OpenSMTPD of Debian, before Penstock and behind it; openssl and swaks."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers.dialogues import CASES, Dialogues
from benchmarks.peers.kinds import KINDS
from benchmarks.peers.letters import Letter, few_letters, more_letters
from benchmarks.peers.peer import Patterns, Peer, Use
from benchmarks.peers.presence import check_peers
from benchmarks.peers.way import (
    CLEAR,
    DELIVERED,
    RECEIVED,
    Found,
    refused,
    through_peer,
    through_penstock,
)
from benchmarks.report import Report

#: A way that letters go.
Way = Callable[..., Found]


def check(report: Report, arguments: Sequence[str]) -> None:
    """Postfix, Exim and OpenSMTPD as Penstock's client and behind it, openssl and swaks: every message arrives intact."""
    check_peers()
    letters = [*few_letters(), *more_letters()]
    for kind in KINDS:
        fitting = [letter for letter in letters if letter.needs is not Use.UTF8 or Use.UTF8 in kind.takes]
        report.heading(f"{kind.name}, Penstock's client")
        _claim_way(report, through_peer, kind, fitting, kind.gives, kind.outgoing, RECEIVED)
        report.heading(f"{kind.name}, the server behind Penstock")
        _claim_way(report, through_penstock, kind, fitting, kind.takes, kind.incoming, DELIVERED)
        for letter in letters:
            if letter not in fitting:
                with _folder() as folder:
                    codes = refused(kind, folder, letter)
                report.claim(
                    f"{letter.name}, which it cannot take, is bounced", codes == ["5.6.7"], ", ".join(codes)
                )
    report.heading("openssl s_client and swaks")
    with _folder() as folder, Dialogues(folder) as dialogues:
        for case in CASES:
            fault = dialogues.fault(case)
            report.claim(f"{case.program}: {case.name}", not fault, fault)


def _claim_way(
    report: Report,
    way: Way,
    kind: type[Peer],
    letters: Sequence[Letter],
    able: frozenset[Use],
    logs: Patterns,
    protocol: str,
) -> None:
    """Claims about a way with TLS and AUTH, and about the same in the clear: intact, and everything used that both can."""
    began = time.monotonic()
    with _folder() as folder:
        found = way(kind, folder, letters, secure=True)
    report.claim(
        "with TLS and AUTH, every message is intact", not found.faults, _verdict(letters, found, began)
    )
    wanted = able & logs.keys()
    report.claim("as its log has it", wanted <= found.logged, _words(found.logged))
    report.claim("as Penstock's events have it", found.events == {protocol}, ", ".join(sorted(found.events)))
    began = time.monotonic()
    with _folder() as folder:
        found = way(kind, folder, letters, secure=False)
    report.claim("in the clear, every message is intact", not found.faults, _verdict(letters, found, began))
    report.claim("as the wire has it", found.tapped == able & CLEAR, _words(found.tapped))


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="penstock-protocol-3-") as name:
        yield Path(name)


def _verdict(letters: Sequence[Letter], found: Found, began: float) -> str:
    octets = sum(len(letter.message) for letter in letters)
    figures = f"{len(letters)} messages, {octets:,} octets, {time.monotonic() - began:.1f} s"
    return "; ".join(found.faults[:3]) or figures


def _words(uses: Iterable[Use]) -> str:
    return ", ".join(sorted(use.value for use in uses)) or "nothing"
