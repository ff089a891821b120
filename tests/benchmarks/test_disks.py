"""What the checks of the spool stand on: journals, mail that can be told apart, a judge that misses nothing, and spoiled spools."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.disks import flips
from benchmarks.disks.damage import Spot, sample
from benchmarks.disks.destination import Destination
from benchmarks.disks.letters import SMALL, behaviour_of, letter, number_of
from benchmarks.disks.oracle import Cut, Findings, event_faults, judge
from benchmarks.disks.source import Source
from benchmarks.journals import Arrived, Journal, Sent
from benchmarks.processes import free_port

GOOD = "ok-1-0@d1.test"
LATER = "later-1-1@d2.test"
NEVER = "never-1-2@d1.test"
#: A power cut from second 10 to the next start at 12.
CUT = Cut(10.0, 12.0)


def sent(code: int = 250, number: int = 1, recipients: Sequence[str] = (GOOD, LATER, NEVER)) -> Sent:
    """A message to three recipients."""
    return Sent(
        number, tuple(recipients), (f"ok-{number}-9@d1.test",), "digest", code, "end of data", "", 1.0
    )


def arrived(*recipients: str, at: float = 2.0, digest: str = "digest") -> Arrived:
    """It, at its destination."""
    return Arrived(recipients, digest, at)


WHOLE = [arrived(GOOD), arrived(LATER)]


def test_mail_that_came_or_was_given_up_is_no_fault() -> None:
    """Two recipients delivered, one bounced."""
    findings = judge([sent()], WHOLE, [NEVER])
    assert findings.faults == []
    assert (findings.messages, findings.accepted, findings.delivered, findings.given_up) == (1, 3, 2, 1)


@pytest.mark.parametrize(
    ("field", "entries", "arrivals", "given_up"),
    [
        ("lost", [sent()], [arrived(GOOD)], [NEVER]),
        ("lost", [sent()], WHOLE, []),
        ("ghosts", [sent(451)], [arrived(GOOD)], []),
        ("ghosts", [sent(552)], [], [NEVER]),
        ("ghosts", [sent()], [*WHOLE, arrived("ok-1-9@d1.test")], [NEVER]),
        ("ghosts", [sent()], [*WHOLE, arrived("ok-7-0@d1.test")], [NEVER]),
        ("ghosts", [sent()], [*WHOLE, arrived("root@d1.test")], [NEVER]),
        ("mutated", [sent()], [arrived(GOOD), arrived(LATER, digest="other")], [NEVER]),
        ("halves", [sent(0)], [arrived(GOOD)], []),
        ("doubles", [sent()], [*WHOLE, arrived(GOOD, at=3.0)], [NEVER]),
    ],
    ids=[
        "not delivered", "no bounce", "refused and delivered", "refused and bounced", "refused at RCPT", "never sent", "not ours",
        "changed", "half stored", "twice",
    ],
)  # fmt: skip
def test_a_fault_is_found(
    field: str, entries: list[Sent], arrivals: list[Arrived], given_up: list[str]
) -> None:
    """Each under its name, and under no other."""
    findings = judge(entries, arrivals, given_up)
    assert getattr(findings, field)
    assert findings.faults == getattr(findings, field)


@pytest.mark.parametrize("arrivals", [[], [arrived(GOOD, LATER)]])
def test_what_had_no_answer_may_be_there_or_not(arrivals: list[Arrived]) -> None:
    """But as a whole."""
    findings = judge([sent(0, recipients=(GOOD, LATER))], arrivals, [])
    assert findings.faults == []
    assert (findings.messages, findings.unknown) == (0, 1)


@pytest.mark.parametrize(
    ("first", "second", "is_explained"),
    [
        (9.7, 12.5, True),  # its outcome was not on the disk yet
        (11.0, 12.5, True),  # the server did not know yet that the disk was gone
        (8.5, 12.5, False),  # its outcome was long on the disk
        (9.7, 9.8, False),  # twice before the cut
        (9.7, 11.0, False),  # twice before the start
        (12.5, 13.0, False),  # twice behind it
    ],
)
def test_a_second_delivery_needs_a_cut(first: float, second: float, is_explained: bool) -> None:
    """The first one shortly before the power went, the next one after the start."""
    arrivals = [arrived(GOOD, at=first), arrived(GOOD, at=second), arrived(LATER)]
    findings = judge([sent()], arrivals, [NEVER], [CUT])
    assert (findings.doubles == []) is is_explained
    assert findings.repeated == is_explained
    if is_explained:
        assert findings.reach == max(0.0, CUT.at - first)


def event(kind: str, recipient: str | list[str], attempts: int = 1) -> dict[str, Any]:
    """An event as the log has it."""
    return {"type": kind, "recipient": recipient, "event_id": f"{kind}-{recipient}-{attempts}"}


ALL_EVENTS = [
    event("Reception", [GOOD, NEVER]),
    event("Reception", LATER),
    event("Delivery", GOOD),
    event("TransientFailure", LATER),
    event("Delivery", LATER, 2),
    event("Bounce", NEVER),
]


def test_events_may_come_twice_but_not_in_two_ways() -> None:
    """A repetition has the id of what it repeats."""
    assert event_faults([*ALL_EVENTS, event("Delivery", GOOD)], [sent()], WHOLE) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda events: events[1:],
        lambda events: events[:-1],
        lambda events: [*events, event("Delivery", GOOD, 2)],
        lambda events: [*events, event("Expiration", NEVER, 2)],
        lambda events: [*events[:-1], event("Delivery", NEVER)],
        lambda events: [*events[:2], event("Bounce", GOOD), *events[3:]],
    ],
    ids=["no reception", "no end", "delivered twice", "two ends", "delivered to nobody", "bounced what came"],
)
def test_events_that_do_not_add_up_are_found(
    change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]],
) -> None:
    """Missing, too many, and other than the destination has it."""
    assert event_faults(change(ALL_EVENTS), [sent()], WHOLE)


def test_events_of_what_had_no_answer_are_held_against_each_other() -> None:
    """None at all, or all of them."""
    assert event_faults([], [sent(0)], []) == []
    assert event_faults(ALL_EVENTS, [sent(0)], WHOLE) == []
    assert event_faults(ALL_EVENTS[:2], [sent(0)], WHOLE)


def test_a_letter_follows_from_its_number() -> None:
    """Octets, recipients and digest; every recipient says whose it is and what becomes of it."""
    for number in range(1, 40):
        it = letter(7, number)
        assert it == letter(7, number) != letter(8, number)
        assert {number_of(recipient) for recipient in it.recipients} == {number}
        assert {behaviour_of(recipient) for recipient in it.recipients} <= {"ok", "later", "never"}
        assert it.message.endswith(b"\r\n")
    sizes = [len(letter(7, number).message) for number in range(1, 200)]
    assert min(sizes) < 4096
    assert max(sizes) > 256 * 1024


@pytest.mark.parametrize("address", ["root@d1.test", "ok-x-1@d1.test", "other-1-1@d1.test", "ok-1@d1.test"])
def test_addresses_that_are_none_of_ours_have_no_number(address: str) -> None:
    """A bounce's, say."""
    assert number_of(address) is None


def test_a_journal_has_what_counts_in_its_file(tmp_path: Path) -> None:
    """An entry that counts is a line of the file; a note counts when it is asked for."""
    path = tmp_path / "journal"
    journal: Journal[Sent] = Journal(path)
    with journal:
        journal.write(sent())
        assert len(journal) == 1
        assert json.loads(path.read_text())["recipients"] == [GOOD, LATER, NEVER]
        for number in range(2, 50):
            journal.note(sent(number=number))
        assert [entry.number for entry in journal.entries(10)] == list(range(11, 50))
        assert len(path.read_text().splitlines()) == 49


def test_a_journal_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    """To whoever writes, and to whoever reads afterwards."""
    journal: Journal[Sent] = Journal(tmp_path / "journal")
    with journal, Path("/dev/full").open("wb") as full:
        os.dup2(full.fileno(), journal._file)
        with pytest.raises(OSError, match="No space left"):
            journal.write(sent())
        with pytest.raises(OSError, match="No space left"):
            journal.entries()


def played(tmp_path: Path, count: int) -> tuple[Findings, list[Sent]]:
    """A source that sends straight to a destination, and the judgement on it; the recipients that are refused are so at RCPT."""
    sent_journal: Journal[Sent] = Journal(tmp_path / "sent")
    arrived_journal: Journal[Arrived] = Journal(tmp_path / "arrived")
    with sent_journal, arrived_journal, Destination(arrived_journal) as destination:
        with Source(
            destination.port, sent_journal, 5, itertools.count(1), sizes=SMALL, limit=count
        ) as source:
            source.finish()
        return judge(sent_journal.entries(), arrived_journal.entries(), []), sent_journal.entries()


def test_source_and_destination_understand_each_other(tmp_path: Path) -> None:
    """All that is accepted arrives; who comes later or never is refused; that nobody took the tenant's field out is seen."""
    findings, entries = played(tmp_path, 60)
    assert findings.ghosts == findings.lost == findings.doubles == []
    labelled = {
        entry.number for entry in entries if letter(5, entry.number, SMALL).message.startswith(b"X-Tenant")
    }
    mutated = {number_of(fault.partition(":")[0]) for fault in findings.mutated}
    assert mutated == {entry.number for entry in entries if entry.is_accepted} & labelled
    assert mutated
    assert sorted(entry.number for entry in entries) == list(range(1, 61))
    assert all(behaviour_of(recipient) == "ok" for entry in entries for recipient in entry.recipients)
    assert any(entry.refused for entry in entries)


def test_a_source_without_a_server_goes_on_trying(tmp_path: Path) -> None:
    """Connections that cannot be made are counted, and nothing is written down as sent."""
    journal: Journal[Sent] = Journal(tmp_path / "sent")
    with journal, Source(free_port(), journal, 5, itertools.count(1)) as source:
        while not source.broken:
            pass
    assert len(journal) == 0


def test_a_flipped_bit_is_told_of() -> None:
    """A few of those that spool-4 tries: whatever is missing is told of."""
    stored = flips.store(3)
    found = [flips.flip(stored, *where) for where in itertools.islice(flips.flips(stored, 3), 0, None, 100)]
    assert [flipped.faults for flipped in found if flipped.faults] == []
    assert any(flipped.missing for flipped in found)


def test_a_sample_of_spots_has_every_file() -> None:
    """However small it is beside others."""
    spots = [Spot("large", offset, 1) for offset in range(500)] + [Spot("small", 0, 1)]
    chosen = sample(spots, 10)
    assert len(set(chosen)) == 10
    assert {spot.path for spot in chosen} == {"large", "small"}
