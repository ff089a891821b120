"""Runs that go where chance seldom does: each is a story of a few dozen actions, and every step of it is looked at."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from penstock.mail.records import MessageRecord, Verdict
from penstock.sim.file_system import FailedSync, Fault, Operation
from penstock.spool.names import SEGMENTS
from tests.spool import samples
from tests.spool.campaign import orders
from tests.spool.campaign.model import Violation
from tests.spool.campaign.processes import SEGMENT
from tests.spool.campaign.run import Run
from tests.spool.campaign.world import LARGE

#: Messages that fill a segment of the smallest size, and a bit.
_FILL: Final = 7
#: States that are looked at where there are many, and few of them tell.
_CLOSELY: Final = 30


class Script:
    """What the stories are told in."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._number = 1_000_000

    @contextlib.contextmanager
    def looking(self, states: int) -> Iterator[None]:
        """Look at so many states after each step meanwhile."""
        before, self.run.states = self.run.states, states
        yield
        self.run.states = before

    def begin(self) -> None:
        """A process that has read all that was there."""
        self.run.begin()
        self.run.recover()

    def mail(self, *recipients: int, size: int = 20) -> list[MessageRecord]:
        """A transaction: a message for each number of recipients; one of one if none is given."""
        self._number += 10
        content = f"{self._number}:".encode().ljust(size, b"x")
        records = [
            samples.message(self._number + part, count, content)
            for part, count in enumerate(recipients or (1,))
        ]
        self.run.hand_over(records)
        return records

    def deliver(self, record: MessageRecord, *recipients: int, verdict: Verdict = Verdict.ACCEPTED) -> None:
        """An attempt for these recipients; all that wait if none are given."""
        message = self.run.model.messages[record.id]
        self.run.record_attempt(
            self.position(record),
            message,
            [(index, verdict) for index in recipients or sorted(message.waiting)],
        )

    def position(self, record: MessageRecord) -> int:
        """What the server knows a message by."""
        return next(position for position, name in self.run.known.items() if name == record.id)

    def settle(self) -> None:
        """Everything comes to its end, outcomes too."""
        self.run.life.loop.advance(0.1)
        self.run.life.settle()
        self.run.check()

    def fail(self, operation: Operation, path: str = SEGMENT, times: int = 1) -> None:
        """The next operations of a kind fail."""
        self.run.disk.faults.add(Fault(operation, errno.EIO, times=times, path=path))

    def write_events(self) -> None:
        """Events of all that was shown are written."""
        self.run.write_events_up_to(1.0)

    def idle(self, seconds: int = 3) -> None:
        """Nothing comes for some seconds."""
        for _ in range(seconds):
            self.run.life.loop.advance(1.1)
            self.settle()

    def kill(self) -> None:
        """The process is killed; the next one has read all that is there."""
        self.run.kill()
        self.run.recover()
        self.run.check()

    def end(self) -> None:
        """The power fails a last time."""
        self.run.check()
        self.run.cut()
        self.run.recover()
        self.run.check()


def segments_go_in_a_row(script: Script) -> None:
    """What is in each segment is settled in the next; then events are written, and all of them may go at once."""
    script.begin()
    before: list[MessageRecord] = []
    for _ in range(6):
        records = [script.mail(2, size=LARGE - 100)[0] for _ in range(3)]
        script.settle()
        for record in before:
            script.deliver(record)
        before = records
        script.settle()
    script.write_events()
    script.settle()
    script.idle()
    script.write_events()
    script.idle()
    script.end()


def a_segment_in_the_middle_is_dead(script: Script) -> None:
    """The oldest segment is full of live mail, one behind it settles a part of that and has nothing live."""
    script.begin()
    old = [script.mail(2)[0] for _ in range(_FILL)]
    script.settle()
    for _ in range(2):
        records = [script.mail()[0] for _ in range(3)]
        script.settle()
        for record in records:
            script.deliver(record)
        script.deliver(old.pop(), 0)
        script.settle()
    script.write_events()
    script.settle()
    script.mail()
    script.settle()
    script.write_events()
    script.idle(2)
    script.end()


def a_copy_fails(script: Script) -> None:
    """A message is being copied when a sync fails; what becomes of it meanwhile is recorded in the next segment."""
    script.begin()
    old = script.mail(3)[0]
    others = [script.mail()[0] for _ in range(_FILL)]
    script.settle()
    for record in others:
        script.deliver(record)
    script.settle()
    script.run.life.loop.advance(1.1)
    script.run.life.loop.run()
    script.deliver(old, 0)
    script.fail(Operation.SYNC)
    script.run.life.loop.advance(0.1)
    script.run.sync()
    script.deliver(old, 1, verdict=Verdict.FAILED)
    script.settle()
    script.deliver(old, 2, verdict=Verdict.DEFERRED)
    script.settle()
    script.write_events()
    script.idle()
    script.end()


def a_copy_follows_an_outcome(script: Script) -> None:
    """Of messages that are about to be copied some recipients are settled, and nothing of it is synced yet."""
    script.begin()
    old = [script.mail(3, size=300)[0] for _ in range(2)]
    others = [script.mail()[0] for _ in range(_FILL)]
    script.settle()
    for record in others:
        script.deliver(record)
    script.settle()
    loop = script.run.life.loop
    loop.advance(0.98 - loop.monotonic())
    for record in old:
        script.deliver(record, 0)
    loop.advance(0.03)
    with script.looking(_CLOSELY):
        script.settle()
    script.write_events()
    script.idle()
    script.end()


def a_sync_fails(script: Script) -> None:
    """With mail and outcomes on their way; and the one after, so that nobody knows; then all is well again."""
    script.begin()
    for how, times in ((FailedSync.KEPT, 1), (FailedSync.KEPT, 2), (FailedSync.MARKED_CLEAN, 1)):
        script.run.disk.failed_sync = how
        first = script.mail(2, 2)
        script.settle()
        script.deliver(first[0], 0)
        script.mail(2)
        script.fail(Operation.SYNC, times=times)
        script.settle()
        script.deliver(first[1], 1)
        script.idle(4)
        script.run.read_history()
        script.mail(1, 1)
        script.run.come_to_rest()
        script.kill()
        script.mail()
        script.settle()
    script.end()


def large_contents(script: Script) -> None:
    """Shared by several messages, settled one by one, copied, refused, and stored while a start is still reading."""
    script.begin()
    shared = script.mail(1, 2, size=LARGE + 300)
    alone = script.mail(size=LARGE + 1)[0]
    others = [script.mail()[0] for _ in range(_FILL)]
    script.settle()
    script.deliver(shared[0])
    for record in others:
        script.deliver(record)
    script.settle()
    script.idle(2)
    script.deliver(alone)
    script.fail(Operation.SYNC)
    script.settle()
    script.fail(Operation.SYNC, "bodies/*")
    script.mail(size=LARGE + 2)
    script.settle()
    script.idle(2)
    script.run.kill()
    script.run.recover(1)
    script.mail(size=LARGE + 3)
    script.settle()
    script.run.recover()
    script.settle()
    script.deliver(shared[1])
    script.settle()
    script.end()


def mail_of_another_lane(script: Script) -> None:
    """Held, copied forward while it is, released and dropped one by one, delivered; and mail that goes to another lane."""
    run = script.run
    script.begin()
    run.hand_over_held([samples.message(900_000 + part, 2, b"held" * 60) for part in range(3)])
    run.hand_over_held([samples.message(900_010, 1, b"h" * (LARGE + 9))])
    going = script.mail(2)[0]
    others = [script.mail()[0] for _ in range(_FILL)]
    script.settle()
    for record in others:
        script.deliver(record)
    script.settle()
    script.write_events()
    script.idle()
    first, second, *_ = sorted(run.held)
    run.decide_on(first, is_dropped=False)
    with script.looking(_CLOSELY):
        script.settle()
    run.decide_on(second, is_dropped=True)
    run.forget_at(next(position for position, name in run.known.items() if name == going.id))
    with script.looking(_CLOSELY):
        script.settle()
    script.kill()
    for position in sorted(run.held):
        run.decide_on(position, is_dropped=False)
    script.fail(Operation.SYNC)
    script.settle()
    script.idle(4)
    script.write_events()
    script.idle()
    script.end()


def orders_about_queued_mail(script: Script) -> None:
    """Put into other queues, flushed, taken out, with a schedule: in sealed segments, copied forward, while a sync fails, over kills."""
    run = script.run
    script.begin()
    timed = msgspec.structs.replace(samples.message(900_100, 4), schedule=samples.SCHEDULE)
    run.hand_over([timed])
    bound, flushed = script.mail(4)[0], script.mail(3)[0]
    others = [script.mail()[0] for _ in range(_FILL)]
    script.settle()
    script.deliver(flushed, 0, verdict=Verdict.DEFERRED)
    for record in (timed, bound):
        orders.rebind_at(run, script.position(record), "t1", due=True)
    with script.looking(_CLOSELY):
        script.settle()
    script.deliver(bound, 0)
    orders.flush_at(run, script.position(flushed))
    script.settle()
    script.kill()
    for record in others:
        script.deliver(record)
    script.settle()
    script.write_events()
    script.idle()
    run.read_history()
    script.deliver(bound, 1, verdict=Verdict.DEFERRED)
    orders.rebind_at(run, script.position(bound), "t2", due=False)
    orders.remove_at(run, script.position(timed), (1, 2))
    with script.looking(_CLOSELY):
        script.settle()
    script.kill()
    orders.rebind_at(run, script.position(bound), "shop", due=False)
    orders.remove_at(run, script.position(flushed), (1,))
    script.fail(Operation.SYNC)
    script.settle()
    script.deliver(bound, 2)
    script.idle(4)
    run.read_history()
    script.kill()
    script.settle()
    script.write_events()
    script.idle()
    script.end()


def segments_begin_and_no_sync_ends(script: Script) -> None:
    """Segments are filled and sealed while nothing is synced; then the process is killed, and what it left is read."""
    script.begin()
    first = script.mail(2)[0]
    script.settle()
    for turn in range(2 * _FILL):
        script.mail(size=200)
        if turn == _FILL:
            script.deliver(first, 0)
    script.run.life.loop.run()
    script.kill()
    script.mail()
    script.kill()
    script.settle()
    script.end()


def a_sync_fails_and_the_process_is_killed(script: Script) -> None:
    """What the system holds of it is read by the next process, which must not believe that it is on the disk."""
    script.run.disk.failed_sync = FailedSync.MARKED_CLEAN
    script.begin()
    first = script.mail(2)[0]
    script.settle()
    script.mail(1, 1)
    script.deliver(first, 0)
    script.fail(Operation.SYNC)
    script.fail(Operation.CREATE, times=9)
    script.run.life.loop.advance(0.1)
    script.run.sync()
    script.kill()
    script.mail()
    script.settle()
    script.end()


def the_clock_jumps(script: Script) -> None:
    """A year forward, with mail that is due tomorrow, copied and not; and a day back."""
    script.begin()
    old = script.mail(2)[0]
    script.settle()
    script.deliver(old, 0, verdict=Verdict.DEFERRED)
    script.settle()
    for days in (365.0, -1.0):
        script.run.jump_by(days)
        script.mail()
        script.run.recover()
        script.settle()
        script.deliver(old, 0, verdict=Verdict.DEFERRED)
        script.idle(70)
    script.end()


def an_octet_is_spoiled(script: Script) -> None:
    """A disk goes bad: of a message in a sealed segment, of a body file, of the word about an abandoned segment."""
    run = script.run
    run.model.is_spoiled = True
    run.disk.failed_sync = FailedSync.KEPT
    script.begin()
    small, large, sound = script.mail()[0], script.mail(size=LARGE + 9)[0], script.mail()[0]
    script.settle()
    refused = script.mail()[0]
    script.fail(Operation.SYNC)
    script.settle()
    run.disk.spoil(f"{SEGMENTS}/{run.life.files.names(SEGMENTS)[-1]}", 64 + 24)
    script.kill()
    for record in (small, large):
        run.spoil(record)
    script.kill()
    found = run.life.spool.counts.quarantined
    run.kinds["messages found spoiled"] += found
    if found < 2:
        raise Violation("what is spoiled is found, and counted", f"{found} messages were found")
    if {small.id, large.id, refused.id} & set(run.known.values()):
        raise Violation("a spoiled message is never given out", str(run.known))
    if sound.id not in run.known.values():
        raise Violation("D1 what was accepted is there", sound.id)
    script.settle()
    script.end()


#: What they are called in reports, and how they go.
SCRIPTS: Final[dict[str, Callable[[Script], None]]] = {
    story.__name__.replace("_", " "): story
    for story in (
        segments_go_in_a_row,
        a_segment_in_the_middle_is_dead,
        a_copy_fails,
        a_copy_follows_an_outcome,
        a_sync_fails,
        large_contents,
        mail_of_another_lane,
        orders_about_queued_mail,
        segments_begin_and_no_sync_ends,
        a_sync_fails_and_the_process_is_killed,
        the_clock_jumps,
        an_octet_is_spoiled,
    )
}
