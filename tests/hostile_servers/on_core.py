"""A case on a client session without I/O: what the server says in one piece, or octet by octet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from penstock.feedback.outcome import outcome
from penstock.lane.opening import session_options
from penstock.mail.address import Address
from penstock.mail.configuration import PathConfig
from penstock.mail.records import Outcome, Verdict
from penstock.mail.tls import TlsFacts
from penstock.sim.hostile import Act, Drip, Endless, HostilePeer, Move
from penstock.smtp.client import (
    ClientEvent,
    ClientSession,
    Finished,
    Introduced,
    NotBegun,
    SessionOptions,
    SessionRefused,
    TlsGranted,
)
from penstock.smtp.transmission import Transmission
from tests.hostile_servers.cases import RECIPIENTS, Case

#: Octets that are said of what has no end, and of what drips, before the deadline.
ENDLESS = 8 * 1024**2
DRIPPED = 500
_FACTS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384")
_LETTERS = {Verdict.ACCEPTED: "A", Verdict.DEFERRED: "D", Verdict.FAILED: "F"}


class Seen(msgspec.Struct):
    """What came of a case: the verdicts, a word for each message; whether the session is over; what the server heard; every reply's text."""

    verdicts: list[str]
    is_over: bool
    peer: HostilePeer
    texts: list[str]
    fed: int


def message_of(case: Case) -> Transmission:
    """The transaction that a case makes."""
    recipients = tuple(Address(name, case.domain) for name in RECIPIENTS)
    return Transmission(
        Address("a", "b.example"),
        recipients,
        b"Received: x\r\n",
        case.content,
        eight_bit=False,
        smtputf8=False,
    )


def options_of(case: Case) -> SessionOptions:
    """The session's options, as the lane makes them of a path's."""
    path = msgspec.structs.replace(PathConfig(), **case.path)
    return session_options(path, "mta.example", path.enable_tls)


def run_on_core(case: Case, *, octet_by_octet: bool = False) -> Seen:
    """Carry octets between the two until neither has any."""
    run = _Run(case, octet_by_octet=octet_by_octet)
    run.carry_on()
    return run.seen


class _Run:
    def __init__(self, case: Case, *, octet_by_octet: bool) -> None:
        self._session = ClientSession(options_of(case))
        self._peer = HostilePeer(case.script, case.manners)
        self._message = message_of(case)
        self._left = len(case.verdicts)
        self._size = 1 if octet_by_octet else 0
        self._is_introduced = False
        self.seen = Seen([], is_over=True, peer=self._peer, texts=[], fed=0)

    def carry_on(self) -> None:
        session, peer = self._session, self._peer
        acts = peer.greet()
        while not session.is_closed:
            self._do(acts)
            if session.is_closed:
                break
            self._begin()
            output = session.take_output()
            if not output and self._is_introduced and session.is_idle:
                self.seen.is_over = False
                session.quit()
                output = session.take_output()
            if not output:
                self._handle(session.late())
                break
            acts = peer.hear(output)
        self.seen.verdicts += ["HHH"] * self._left

    def _begin(self) -> None:
        """Send the next message, if one is left and may be sent."""
        while self._left and self._is_introduced and self._session.is_idle:
            self._left -= 1
            finished = self._session.send(self._message)
            if finished is None:
                return
            self._handle([finished])

    def _do(self, acts: Iterable[Act]) -> None:
        gathered = b""
        for act in acts:
            if isinstance(act, bytes):
                gathered += act
                continue
            self._feed(gathered)
            gathered = b""
            self._do_other(act)
        self._feed(gathered)

    def _do_other(self, act: Move | Endless | Drip) -> None:
        session = self._session
        if isinstance(act, Endless):
            gulp = act.octets * max(1, 65_536 // len(act.octets))
            for _ in range(ENDLESS // len(gulp)):
                self._feed(gulp)
        elif isinstance(act, Drip):
            for count in range(DRIPPED):
                self._feed(act.octets[count % len(act.octets) :][:1])
            self._handle(session.late())
        elif act is Move.SECURE:
            self._peer.secured()
            if not session.is_closed:
                self._handle(session.secured(_FACTS))
        elif act is Move.DEAF:
            self._handle(session.late())
        else:
            self._handle(session.lost("the peer closed the connection"))

    def _feed(self, octets: bytes) -> None:
        for piece in _pieces(octets, self._size):
            if self._session.is_closed:
                return
            self.seen.fed += len(piece)
            self._handle(self._session.receive(piece))

    def _handle(self, events: list[ClientEvent]) -> None:
        for event in events:
            if isinstance(event, Introduced):
                self._is_introduced = True
            elif isinstance(event, SessionRefused):
                self.seen.texts.append(event.reply.text)
            elif isinstance(event, NotBegun):
                self.seen.verdicts.append("NNN")
            elif isinstance(event, Finished):
                outcomes = [outcome(result, result.recipient) for result in event.results]
                assert [each.recipient for each in outcomes] == [0, 1, 2]
                self.seen.verdicts.append("".join(_letter(each) for each in outcomes))
                self.seen.texts += [each.reply.text for each in outcomes]
            else:
                assert not isinstance(event, TlsGranted) or not self._session.is_closed


def _letter(each: Outcome) -> str:
    return "U" if each.is_uncertain and each.verdict is Verdict.DEFERRED else _LETTERS[each.verdict]


def _pieces(octets: bytes, size: int) -> Iterator[bytes]:
    if not size:
        yield from (octets,) if octets else ()
        return
    for start in range(0, len(octets), size):
        yield octets[start : start + size]


def is_right(verdicts: list[str], expected: tuple[str, ...]) -> bool:
    """Whether each message came to one of the verdicts that are right for it."""
    return len(verdicts) == len(expected) and all(
        verdict in words.split("|") for verdict, words in zip(verdicts, expected, strict=True)
    )
