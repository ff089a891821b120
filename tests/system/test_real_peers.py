"""Postfix, Exim and OpenSMTPD before Penstock and behind it, and what openssl and swaks make of it; each a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.peers.dialogues import CASES, Case, Dialogues
from benchmarks.peers.kinds import KINDS
from benchmarks.peers.letters import Letter, few_letters
from benchmarks.peers.peer import Peer, Use
from benchmarks.peers.way import DELIVERED, RECEIVED, refused, through_peer, through_penstock

pytestmark = [pytest.mark.system, pytest.mark.servers("peers")]

each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that servers with users of their own can get to, which pytest's are not."""
    with tempfile.TemporaryDirectory(prefix="penstock-peers-") as name:
        place = Path(name)
        place.chmod(0o755)
        yield place


@pytest.fixture
def folder(place: Path) -> Path:
    """A part of it for one test."""
    return Path(tempfile.mkdtemp(dir=place))


@pytest.fixture(scope="module")
def dialogues(place: Path) -> Iterator[Dialogues]:
    """One Penstock for all dialogues."""
    with Dialogues(Path(tempfile.mkdtemp(dir=place))) as running:
        yield running


def letters_for(kind: type[Peer]) -> list[Letter]:
    """The letters that a peer can take."""
    return [letter for letter in few_letters() if letter.needs is not Use.UTF8 or Use.UTF8 in kind.takes]


@each_kind
def test_what_a_peer_sends_on_comes_through(kind: type[Peer], folder: Path) -> None:
    """It verifies our certificate, authenticates, uses all that it can, and every message arrives intact."""
    found = through_peer(kind, folder, letters_for(kind), secure=True)
    assert found.faults == []
    assert kind.gives & kind.outgoing.keys() <= found.logged
    assert found.events == {RECEIVED}


@each_kind
def test_what_is_sent_to_a_peer_comes_through(kind: type[Peer], folder: Path) -> None:
    """We verify its certificate, authenticate, use all that it offers, and every message arrives intact."""
    found = through_penstock(kind, folder, letters_for(kind), secure=True)
    assert found.faults == []
    assert kind.takes & kind.incoming.keys() <= found.logged
    assert found.events == {DELIVERED}


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if Use.UTF8 not in kind.takes], ids=lambda kind: kind.name
)
def test_what_a_peer_cannot_take_is_bounced(kind: type[Peer], folder: Path) -> None:
    """An address that needs SMTPUTF8 does not go to a server without it (RFC 6531 3.2)."""
    (letter,) = [letter for letter in few_letters() if letter.needs is Use.UTF8]
    assert refused(kind, folder, letter) == ["5.6.7"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.program}: {case.name}")
def test_dialogues_of_others_go_as_they_should(case: Case, dialogues: Dialogues) -> None:
    """What the program has to say, and what has to arrive."""
    assert dialogues.fault(case) == ""
