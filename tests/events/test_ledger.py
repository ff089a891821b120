"""The ledger: a log that is right holds, and each fault that a log can have is found and named."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from penstock.events.event import Counts
from penstock.events.ledger import Finding, Ledger, Report
from penstock.mail.ids import MessageId

from .log_files import Files
from .samples import quarantine, rejection


def sample(directory: Path) -> Files:
    """Three files: messages 1 to 6, of which 2 waits for one recipient, 5 for both, and 4 is quarantined."""
    files = Files(directory)
    files.begin()
    first, second = files.accept("a", "b"), files.accept("a", "b", "c", tenant=None)
    files.settle(first, 0)
    files.settle(second, 0, 1, how="deferred")
    files.write(rejection())
    files.begin()
    third = files.accept("a", tenant="beta")
    files.settle(first, 1, how="bounced")
    files.settle(second, 0)
    files.settle(third, how="expired")
    files.accept("a", "b")
    files.begin()
    files.accept("a", "b", tenant="beta")
    files.settle(second, 2)
    files.settle(files.accept("a"))
    files.write(quarantine(2))
    return files


def report(files: Files) -> Report:
    """What the ledger says of them."""
    return Ledger(files.save()).report()


def told(files: Files) -> dict[str, Finding]:
    """What does not hold, by what it is."""
    return {finding.what: finding for finding in report(files).findings}


def test_log_that_is_right_holds(tmp_path: Path) -> None:
    """The sums of all files, what is queued counted by recipient."""
    found = report(sample(tmp_path))
    assert found.findings == []
    assert found.holds
    assert found.totals == Counts(accepted=11, delivered=4, bounced=1, expired=1, quarantined=2, queued=3)
    assert {counts.tenant: (counts.accepted, counts.queued) for counts in found.tenants} == {
        "acme": (5, 0),
        None: (3, 1),
        "beta": (3, 2),
    }
    assert (found.files, found.unreadable) == (3, 0)
    assert found.since == "2025-11-20T20:00:00.250000Z"


def test_log_holds_although_old_files_are_gone(tmp_path: Path) -> None:
    """The first file that is left says what was before it, and what was queued then may be settled."""
    whole = report(sample(tmp_path / "whole"))
    for kept in (2, 1):
        files = sample(tmp_path / str(kept))
        directory = files.save()
        for path in sorted(directory.iterdir())[:-kept]:
            path.unlink()
        found = Ledger(directory).report()
        assert found.findings == []
        assert found.totals == whole.totals
        assert found.tenants == whole.tenants


def test_empty_log_holds(tmp_path: Path) -> None:
    """Nothing is nothing."""
    found = Ledger(tmp_path).report()
    assert found.holds
    assert found.totals == Counts()


def test_events_of_a_message_may_be_in_any_order(tmp_path: Path) -> None:
    """A power cut takes lines here and there, and those are made again behind."""
    files = sample(tmp_path)
    events = [line for lines in files.files for line in lines[1:]]
    random.Random(1).shuffle(events)
    files.files = [[files.files[0][0], *events]]
    assert report(files).findings == []


def test_lines_that_are_no_events_are_counted(tmp_path: Path) -> None:
    """They are no fault in themselves: a crash leaves such."""
    files = sample(tmp_path)
    files.files[1].insert(1, b"\0" * 300 + b"\n")
    files.files[0].append(b'{"type":"Delivery","id":"torn')
    found = report(files)
    assert found.holds
    assert found.unreadable == 1


def test_openings_between_a_power_cut_and_the_next_start_are_forgiven(tmp_path: Path) -> None:
    """Lines of the first file are lost, the second has counted them; the third begins when they are about to be made again."""
    files = Files(tmp_path)
    files.begin()
    first = files.accept("a")
    files.begin()
    second = files.accept("a")
    [lost] = [files.files[0].pop()]
    files.totals = files.totals.without([lost])
    files.begin()
    files.write(first)
    files.settle(first)
    files.settle(second)
    assert report(files).holds


def drop(index: int, line: int) -> Callable[[Files], None]:
    """A line is missing."""

    def change(files: Files) -> None:
        del files.files[index][line]

    return change


def repeat(index: int, line: int) -> Callable[[Files], None]:
    """A line is there twice, the second time at the end."""

    def change(files: Files) -> None:
        files.files[-1].append(files.files[index][line])

    return change


OPENING = "the sums that a file opens with are not those of the files before it"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (drop(0, 1), [f"{OPENING} (accepted +2)", "settled without being accepted"]),
        (drop(0, 3), [f"{OPENING} (delivered +1)"]),
        (drop(2, 3), ["settled without being accepted"]),
        (repeat(2, 1), ["accepted twice", "too many or too few for both sides to be equal"]),
        (repeat(2, 3), ["accepted twice"]),
        (repeat(0, 3), ["settled twice", "too many or too few for both sides to be equal"]),
        (repeat(1, 3), ["settled twice", "too many or too few for both sides to be equal"]),
        (
            lambda files: files.files.pop(1),
            [f"{OPENING} (accepted +3, delivered +1, bounced +1, expired +1)"],
        ),
    ],
    ids=[
        "a Reception is missing",
        "a Delivery is missing",
        "the last Reception is missing",
        "a Reception of what waits twice",
        "a Reception of what is settled twice",
        "a Delivery twice",
        "a Delivery of what waits in part twice",
        "a file is missing",
    ],
)
def test_faults_are_found(tmp_path: Path, change: Callable[[Files], None], expected: list[str]) -> None:
    """Each by its name."""
    files = sample(tmp_path)
    change(files)
    assert [what for what in expected if what not in told(files)] == []
    assert not report(files).holds


def test_messages_are_named(tmp_path: Path) -> None:
    """Some of them, with how many there are, and of which tenant."""
    files = Files(tmp_path)
    files.begin()
    for _ in range(30):
        sent = files.accept("a")
        files.settle(sent)
        files.settle(sent)
    finding = told(files)["settled twice"]
    assert (finding.count, finding.tenant) == (30, "acme")
    assert finding.examples == [f"{number:032x}" for number in range(1, 11)]


def test_what_nobody_accepted_is_settled(tmp_path: Path) -> None:
    """More of a tenant than was queued before the first file."""
    files = Files(tmp_path)
    files.begin()
    old = [files.accept("a"), files.accept("a"), files.accept("a", tenant="beta")]
    files.begin()
    for sent in old:
        files.settle(sent)
    ghost = msgspec.structs.replace(old[0], id=MessageId("f" * 32))
    files.settle(ghost)
    del files.files[0]
    finding = told(files)["settled without being accepted"]
    assert (finding.count, finding.tenant) == (1, "acme")
    assert "f" * 32 in finding.examples


def test_opening_that_contradicts_itself(tmp_path: Path) -> None:
    """Both sides of what a file opens with must be equal."""
    files = sample(tmp_path)
    files.files[2][0] = files.files[2][0].replace(b'"queued":4,', b'"queued":5,', 1)
    finding = told(files)["sums that are not equal in themselves"]
    assert len(finding.examples) == 1


def test_sums_of_one_tenant_are_held_against_its_own(tmp_path: Path) -> None:
    """Although those over all are right."""
    files = sample(tmp_path)
    assert b'"tenant":"acme"' in files.files[2][0]
    files.files[2][0] = files.files[2][0].replace(b'"tenant":"acme"', b'"tenant":"evil"', 1)
    assert [what for what in told(files) if what.startswith(OPENING)]


def test_memory_goes_with_what_is_queued(tmp_path: Path) -> None:
    """Not with what was settled."""
    files = Files(tmp_path)
    files.begin()
    for _ in range(300):
        files.settle(files.accept("a", "b"))
    files.accept("a")
    ledger = Ledger(files.save())
    assert ledger.report().holds
    assert len(ledger._open) == 1
    assert len(ledger._unknown) == 0


def test_progress_is_told(tmp_path: Path) -> None:
    """In octets, up to all of them."""
    files = sample(tmp_path)
    size = sum(len(line) for lines in files.files for line in lines)
    steps: list[tuple[int, int]] = []
    Ledger(files.save(), lambda done, of: steps.append((done, of))).report()
    assert steps[-1] == (size, size)
