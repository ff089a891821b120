"""The verdict on a run finds what is wrong and nothing else; traces are read, and calls counted and chosen, as strace does."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

from benchmarks.kills.accounts import Accounts, Event, EventReader
from benchmarks.kills.calls import Point, Tracer, chosen, drawn, failures, network_points, storage_points
from benchmarks.kills.journal import Fate, Journal
from benchmarks.kills.letters import PLAIN, SHAPES, Letter, Manner, letter, letters, manner_of
from benchmarks.kills.server import first_traceback
from benchmarks.kills.sink import Sink
from benchmarks.messages import without_received
from penstock.events.files import file_name

DATA = "/tmp/p/data"
TRACE = """\
10 openat(AT_FDCWD</>, "/lib/x.py", O_RDONLY|O_CLOEXEC) = 3</lib/x.py>
10 openat(5</tmp/p/data/spool/segments>, "00000001-0a.segment", O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC, 0600) = 6</tmp/p/data>
10 fsync(7</tmp>) = 0
10 pwritev2(6</tmp/p/data/spool/segments/00000001-0a.segment>, [...], 1, 0, 0) = 64
11 fdatasync(4</tmp/p/data/spool/segments/00000001-0a.segment> <unfinished ...>
10 read(8<socket:[99]>, ""..., 131072) = 20
10 write(9</tmp/p/log>, ""..., 10) = 10
11 <... fdatasync resumed>) = 0
10 write(8<socket:[99]>, ""..., 4) = 4
10 --- SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=1, si_uid=0} ---
10 write(12</tmp/p/data/events/20261121-155440.077273>, ""..., 900) = -1 ENOSPC (No space left on device) (INJECTED)
11 +++ exited with 0 +++
"""


@pytest.fixture
def journal() -> Journal:
    """A journal in which an outcome is durable within a second."""
    return Journal(window=1.0)


def a_letter(name: str = "a", *manners: Manner) -> Letter:
    """A letter to recipients in one domain."""
    return letter(name, (tuple((manner, 1) for manner in manners or (Manner.TAKEN,)), False), "acme")


def take(journal: Journal, item: Letter, at: float = 10.0) -> None:
    """The sink takes a letter as it is, for all its recipients."""
    journal.took(item.recipients, item.reverse_path, item.digest, at)


def test_what_was_accepted_and_arrived_is_no_fault(journal: Journal) -> None:
    """Delivered, turned away, refused and not there: all as it should be."""
    there, away, refused = a_letter("a"), a_letter("b", Manner.NEVER), a_letter("c")
    journal.sent(there, Fate.ACCEPTED)
    journal.sent(away, Fate.ACCEPTED)
    journal.sent(refused, Fate.REFUSED)
    take(journal, there)
    journal.turned_away(*away.recipients)
    assert not any(journal.verdict().faults().values())
    assert journal.waiting() == 0


def test_what_was_accepted_and_did_not_arrive_is_lost(journal: Journal) -> None:
    """Also one recipient of several."""
    item = a_letter("a", Manner.TAKEN, Manner.TAKEN)
    journal.sent(item, Fate.ACCEPTED)
    journal.took(item.recipients[:1], item.reverse_path, item.digest, 10.0)
    (loss,) = journal.verdict().losses
    assert item.recipients[1] in loss


def test_what_nobody_knows_of_may_arrive_whole_or_not_at_all(journal: Journal) -> None:
    """A connection that ended before the reply says nothing; but a transaction is stored whole."""
    item = a_letter("a", Manner.TAKEN, Manner.TAKEN)
    journal.sent(item, Fate.UNKNOWN)
    assert not any(journal.verdict().faults().values())
    journal.took(item.recipients[:1], item.reverse_path, item.digest, 10.0)
    assert len(journal.verdict().losses) == 1
    journal.took(item.recipients[1:], item.reverse_path, item.digest, 10.0)
    assert not any(journal.verdict().faults().values())


@pytest.mark.parametrize("is_sent", [True, False])
def test_what_was_refused_or_never_given_is_a_ghost_when_it_arrives(journal: Journal, is_sent: bool) -> None:
    """Nothing that was refused is ever delivered."""
    item = a_letter()
    if is_sent:
        journal.sent(item, Fate.REFUSED)
    take(journal, item)
    assert len(journal.verdict().ghosts) == 1


def test_another_content_or_sender_is_a_mutation(journal: Journal) -> None:
    """Each copy is compared."""
    item = a_letter()
    journal.sent(item, Fate.ACCEPTED)
    journal.took(item.recipients, item.reverse_path, b"another digest", 10.0)
    assert len(journal.verdict().mutated) == 1
    journal.took(item.recipients, "other@source.test", item.digest, 10.0)
    assert len(journal.verdict().mutated) == 2


def test_a_second_copy_behind_a_kill_that_came_at_once_is_explained(journal: Journal) -> None:
    """The outcome was not durable yet."""
    item = a_letter()
    journal.sent(item, Fate.ACCEPTED)
    take(journal, item, 10.0)
    journal.killed(10.9)
    journal.told(item.recipients)
    take(journal, item, 12.0)
    verdict = journal.verdict()
    assert len(verdict.duplicates) == 1
    assert verdict.unexplained == []


@pytest.mark.parametrize("why", ["no kill", "too late", "told", "a third"])
def test_a_second_copy_without_an_excuse_is_a_fault(journal: Journal, why: str) -> None:
    """Nobody was killed in between, or long after, or the event log had it already; and one kill excuses one copy."""
    item = a_letter()
    journal.sent(item, Fate.ACCEPTED)
    take(journal, item, 10.0)
    if why == "told":
        journal.told(item.recipients)
    if why != "no kill":
        journal.killed(11.5 if why == "too late" else 10.5)
    take(journal, item, 12.0)
    if why == "a third":
        take(journal, item, 12.1)
    assert len(journal.verdict().unexplained) == 1


def test_a_journal_that_is_continued_knows_what_was_before(journal: Journal) -> None:
    """And the one that it continues learns nothing of it."""
    item = a_letter()
    journal.sent(item, Fate.ACCEPTED)
    journal.killed(5.0)
    other = journal.continued(1.0)
    assert (other.life, other.waiting()) == (2, 1)
    take(other, item)
    assert (journal.waiting(), other.waiting()) == (1, 0)


def event(kind: str, item: Letter, recipient: object, number: int = 0, tenant: str | None = "acme") -> Event:
    """An event of a letter, as the log has it."""
    return {
        "type": kind,
        "recipient": recipient,
        "tenant": tenant,
        "event_id": f"{item.name}-{number}-{kind}",
    }


def test_accounts_that_tell_of_all_are_right_also_with_repetitions(journal: Journal) -> None:
    """A repeated event has the same id, and counts once."""
    item = a_letter("a", Manner.TAKEN, Manner.NEVER)
    first, second = item.recipients
    journal.sent(item, Fate.ACCEPTED)
    journal.took([first], item.reverse_path, item.digest, 10.0)
    journal.turned_away(second)
    accounts = Accounts()
    for _ in range(2):
        accounts.add(
            [
                event("Reception", item, [first, second]),
                event("Delivery", item, first),
                event("Bounce", item, second),
            ]
        )
    assert accounts.faults(journal) == []


def test_accounts_that_miss_or_invent_something_are_wrong(journal: Journal) -> None:
    """Each kind of fault is found: missing, twice, of what was refused, of nobody's, not as the sink has it, of another tenant."""
    names = ("missing", "twice", "refused", "undelivered", "misattributed")
    items = {name: a_letter(name) for name in names}
    accounts = Accounts()
    for name, item in items.items():
        journal.sent(item, Fate.REFUSED if name == "refused" else Fate.ACCEPTED)
        if name != "undelivered":
            take(journal, item)
        (recipient,) = item.recipients
        if name != "missing":
            tenant = "globex" if name == "misattributed" else "acme"
            accounts.add(
                [
                    event("Reception", item, recipient, tenant=tenant),
                    event("Delivery", item, recipient, tenant=tenant),
                ]
            )
    (twice,) = items["twice"].recipients
    accounts.add([event("Delivery", items["twice"], twice, 1)])
    accounts.add([event("Reception", a_letter("stranger"), "taken.stranger.0@d1.test")])
    faults = accounts.faults(journal)
    assert [fault.split(".")[1] for fault in faults] == ["stranger", "missing", "missing", *names[1:]]


def test_events_are_read_once_and_torn_lines_left_out(tmp_path: Path) -> None:
    """A line that was cut by a crash is never completed; the next file has it whole."""
    reader = EventReader(tmp_path)
    first, second = (tmp_path / file_name(number) for number in (1, 2))
    first.write_text('{"a": 1}\n{"a": 2}\n{"a": ')
    assert list(reader.read()) == [{"a": 1}, {"a": 2}]
    second.write_text('{"a": 3}\n')
    assert list(reader.read()) == [{"a": 3}]
    assert list(reader.read()) == []


def test_calls_are_counted_in_each_process_for_itself() -> None:
    """As strace counts for its ``when``."""
    calls = Tracer.of(TRACE).calls
    assert [(call.process, call.kind, call.number) for call in calls] == [
        (0, "openat", 1),
        (0, "openat", 2),
        (0, "fsync", 1),
        (0, "pwritev2", 1),
        (1, "fdatasync", 1),
        (0, "read", 1),
        (0, "write", 1),
        (0, "write", 2),
        (0, "write", 3),
    ]


@pytest.mark.parametrize("size", [1, 7, 64])
def test_a_trace_may_come_in_pieces(size: int) -> None:
    """No call is missed or counted twice, wherever a piece ends."""
    tracer = Tracer()
    for start in range(0, len(TRACE), size):
        tracer.feed(TRACE[start : start + size])
    assert [call[:3] for call in tracer.calls] == [call[:3] for call in Tracer.of(TRACE).calls]


def test_a_call_that_is_held_is_seen_before_its_line_ends() -> None:
    """That is when the server is to be killed."""
    tracer = Tracer()
    tracer.feed("10 pwritev2(6</x>, [...], 1, 0, 0) = 64\n10 pwritev2(6</x>, [...], 1, 64, 0")
    assert tracer.first("pwritev2", 2, lambda call: True) is not None
    assert tracer.first("pwritev2", 3, lambda call: True) is None


def test_storage_calls_are_those_that_change_the_data_directory_or_sync() -> None:
    """Not the reading ones, not the log, not sockets; each says what it is about, and who made it."""
    assert storage_points(Tracer.of(TRACE).calls, DATA) == [
        Point("openat", 2, "spool/segments, by its loop"),
        Point("fsync", 1, "a folder above, by its loop"),
        Point("pwritev2", 1, "spool/segments, by its loop"),
        Point("fdatasync", 1, "spool/segments, by a helper"),
        Point("write", 3, "events, by its loop"),
    ]


def test_network_calls_are_those_on_sockets() -> None:
    """Reads and writes of files are not."""
    points = network_points(Tracer.of(TRACE).calls)
    assert [(point.kind, point.number) for point in points] == [("read", 1), ("write", 2)]


def test_choosing_spreads_and_leaves_no_kind_out() -> None:
    """The rare ones are the interesting ones."""
    points = [Point("write", number, "log") for number in range(1, 101)]
    points[50] = Point("rename", 1, "log")
    some = chosen(points, 11)
    assert len(some) == 11
    assert points[50] in some
    numbers = [point.number for point in some if point.kind == "write"]
    assert max(after - before for before, after in itertools.pairwise(numbers)) <= 12
    assert chosen(points, 1000) == points


def test_failures_have_each_error_of_each_kind_and_each_place() -> None:
    """However few are asked for."""
    points = [Point("pwritev2", number, "log") for number in range(1, 41)]
    points += [Point("pwritev2", 41, "body"), Point("unlinkat", 1, "log"), Point("link", 1, "log")]
    some = failures(points, 1)
    assert {(point.kind, error) for point, error in some} == {
        *(("pwritev2", error) for error in ("EIO", "ENOSPC", "EDQUOT", "0")),
        *(("link", error) for error in ("EIO", "ENOSPC", "EDQUOT")),
        ("unlinkat", "EIO"),
    }
    assert {point.what for point, _ in some if point.kind == "pwritev2"} == {"log", "body"}
    assert len(failures(points, 20)) == 20
    assert len(failures(points)) == 41 * 4 + 1 + 3


def test_drawing_is_repeated_by_its_seed() -> None:
    """And takes none twice, all kinds in turn of chance."""
    points = [
        Point(kind, number, "") for kind, count in (("read", 50), ("accept4", 2)) for number in range(count)
    ]
    first, second = (drawn(points, 20, random.Random(7)) for _ in range(2))
    assert first == second
    assert len(set(first)) == 20
    assert sum(point.kind == "accept4" for point in first) == 2
    assert set(drawn(points, 1000, random.Random(7))) == set(points)


def test_letters_have_all_manners_a_large_one_and_names_of_their_own() -> None:
    """A recipient is used once, in one run only."""
    mail = [*letters("r1", SHAPES, 20), *letters("r2", SHAPES, 20)]
    recipients = [recipient for item in mail for recipient in item.recipients]
    assert len(set(recipients)) == len(recipients)
    assert {manner_of(recipient) for recipient in recipients} == set(Manner)
    assert any(len(item.message) > 256 * 1024 for item in mail)


def test_the_sink_treats_recipients_as_their_names_say(journal: Journal) -> None:
    """Once deferred, taken the second time; later, taken when told; never, refused; and what is taken is written down."""
    sink = Sink(journal)
    item = a_letter("a", Manner.RCPT_ONCE, Manner.LATER, Manner.NEVER, Manner.DATA_ONCE, Manner.DATA_ONCE)
    answers = [[sink.answer_to_recipient(recipient)[:3] for recipient in item.recipients] for _ in range(2)]
    assert answers == [[b"451", b"451", b"550", b"250", b"250"], [b"250", b"451", b"550", b"250", b"250"]]
    sink.take_all()
    assert sink.answer_to_recipient(item.recipients[1]).startswith(b"250")
    arrived = b"Received: x\r\n" + item.message.replace(b"X-Tenant: acme\r\n", b"")
    assert without_received(arrived)[0]
    journal.sent(item, Fate.ACCEPTED)
    answers_to_data = [
        sink.answer_to_data(item.reverse_path, list(item.recipients), arrived)[:3] for _ in range(2)
    ]
    assert answers_to_data == [b"451", b"250"]
    assert not any(journal.verdict().faults().values())


def test_a_traceback_is_found_in_a_log_but_for_those_of_logging() -> None:
    """An error that was injected into the write of the log itself makes logging complain."""
    trace = 'Traceback (most recent call last):\n  File "x.py", line 1, in f\n    f()\nOSError: no\nmore\n'
    assert first_traceback(f"fine\n{trace}") == 'OSError: no, at File "x.py", line 1, in f'
    assert first_traceback(f"--- Logging error ---\n{trace}") == ""
    assert first_traceback("nothing of that sort\n") == ""


def test_a_plain_letter_is_for_one_who_takes_it() -> None:
    """Probes must not be deferred."""
    (recipient,) = letter("probe", PLAIN, None).recipients
    assert manner_of(recipient) is Manner.TAKEN
