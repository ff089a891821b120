"""The processes of a run, one after the other on one disk, and the look at what each power cut would leave.

A process ends when the power fails: then the next one finds one of the states that may be left. Or it is killed, or stopped, and the next one
finds the disk as it is.
"""

from __future__ import annotations

import errno
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from penstock.mail.ports import LogPosition
from penstock.mail.records import MessageRecord, SpoolRecord
from penstock.sim.file_system import FailedSync, Fault, Operation, SimulatedDisk, Step, Switches
from penstock.spool.files import FileError
from tests.spool.campaign.life import Life
from tests.spool.campaign.model import Model, Violation
from tests.spool.campaign.oracle import Oracle, inspect, judge_found

#: Octets of a segment.
SIZES: Final = (3 * 1024, 6 * 1024, 12 * 1024)
#: Of the steps that change something, the share at which the power may fail, and states of each.
LOOKS: Final = 0.2
STATES: Final = 3
#: Of the samples of states, the share that begins with the corners.
_CORNERS: Final = 0.2
#: States of which one is left when the power fails in earnest.
_CUTS: Final = 12
#: Starts that are tried before something must be wrong with the spool.
_STARTS: Final = 6
#: Seconds between two processes.
_PAUSES: Final = (0.0, 1.0, 500.0)
_DAY: Final = 86_400.0
#: Seconds that a process may be old, and so its note of the time.
_LONGEST_LIFE: Final = 10_000.0

SEGMENT: Final = "segments/*"
#: What goes wrong with the disk.
FAULTS: Final[tuple[Fault, ...]] = (
    Fault(Operation.SYNC, errno.EIO, path=SEGMENT),
    Fault(Operation.SYNC, errno.EIO, times=3, path=SEGMENT),
    Fault(Operation.SYNC, errno.EIO, path=SEGMENT, takes_effect=True),
    Fault(Operation.SYNC, errno.EIO, path="bodies/*"),
    Fault(Operation.SYNC_FOLDER, errno.EIO, path="segments"),
    Fault(Operation.SYNC_FOLDER, errno.EIO, path="bodies"),
    Fault(Operation.WRITE, errno.ENOSPC, path=SEGMENT),
    Fault(Operation.WRITE, errno.EIO, path=SEGMENT, written=700),
    Fault(Operation.WRITE, errno.EIO, path=SEGMENT, takes_effect=True),
    Fault(Operation.WRITE, errno.ENOSPC, path="bodies/*", written=100),
    Fault(Operation.CREATE, errno.ENOSPC, times=2, path=SEGMENT),
    Fault(Operation.CREATE, errno.EMFILE, path="bodies/*"),
    Fault(Operation.ALLOCATE, errno.ENOSPC, times=2, path=SEGMENT),
    Fault(Operation.TRUNCATE, errno.EIO, path=SEGMENT),
    Fault(Operation.RENAME, errno.EIO),
    Fault(Operation.REMOVE, errno.EIO, path=SEGMENT),
    Fault(Operation.REMOVE, errno.EIO, path="bodies/*"),
    Fault(Operation.REMOVE, errno.EIO, path=SEGMENT, takes_effect=True),
    Fault(Operation.READ, errno.EIO, path=SEGMENT),
    Fault(Operation.OPEN, errno.EMFILE, path=SEGMENT),
)


class Processes:
    """See the module. ``kinds`` counts what has happened; ``known`` has the ids of messages that the server knows, by position.

    ``held`` has those that came from another lane and are not released.
    """

    def __init__(
        self,
        seed: int,
        *,
        switches: Switches = Switches(),  # noqa: B008 -- it is frozen
        looks: float = LOOKS,
        states: int = STATES,
        size: int | None = None,
    ) -> None:
        self.seed = seed
        self.draw = random.Random(seed)
        self.model = Model()
        self.size = size or self.draw.choice(SIZES)
        self.oracle = Oracle(self.model, random.Random(seed + 1), self.size)
        self.kinds: Counter[str] = Counter()
        self.disk = SimulatedDisk(switches=switches, failed_sync=self.draw.choice(list(FailedSync)))
        self.life: Life
        self.now = 1_700_000_000.0
        self.known: dict[int, str] = {}
        self.held: dict[int, str] = {}
        self.violation: Violation | None = None
        #: share of the starts in which something is wrong with the disk
        self.bad_starts = 0.0
        #: that are judged at each look
        self.states = states
        self._looks = looks
        self._look_draw = random.Random(seed + 2)
        self._recovery: Iterator[None] = iter(())

    # -- looking

    def look(self, step: Step) -> None:
        """After each step of the disk."""
        if not step.is_change or self.violation is not None or self._look_draw.random() >= self._looks:
            return
        seed, corners = self._look_draw.getrandbits(30), self._look_draw.random() < _CORNERS
        states = self.disk.crash_states(self.states, seed, corners=corners)
        try:
            for state in states:
                story = state.story
                self.oracle.judge(state, self.life.loop.wall() + 1.0)
        except Violation as violation:
            violation.add_note(story)
            self.violation = violation

    def check(self) -> None:
        """Say what was found."""
        if self.violation is not None:
            raise self.violation

    # -- the beginning of a process

    def begin(self) -> None:
        """A process is started on the disk; if it cannot, it is tried again, in the end without faults."""
        for attempt in range(_STARTS):
            self.disk.on_step = self.look
            if self.draw.random() < self.bad_starts:
                self.disk.faults.add(self.draw.choice(FAULTS))
            if attempt == _STARTS - 1:
                self.disk.faults.clear()
            self.life = Life(self.disk, self.draw, self.now, self.size, self._on_stored)
            self.known.clear()
            self.held.clear()
            self.model.begin()
            try:
                self.life.spool.open()
            except FileError:
                self.kinds["starts that failed"] += 1
                self._end_process()
                continue
            self._recovery = self.life.start()
            if not self.model.position < self.life.spool.synced:
                raise Violation("D9 positions go up", f"{self.life.spool.synced} after {self.model.position}")
            return
        raise Violation("D5 a start succeeds", "not without faults either")

    def _end_process(self) -> None:
        """Nothing of the process is left; the disk is as it is."""
        self.now = float(self.life.loop.wall()) + self.draw.choice(_PAUSES)
        self.disk.on_step = None
        self.disk = self.disk.after_kill()

    def recover(self, steps: int = 1_000_000) -> None:
        """Go on with the recovery; when it is done compare all with what is known, and take it as it is from then on."""
        life = self.life
        if life.is_recovered:
            return
        for _ in range(steps):
            try:
                next(self._recovery)
            except StopIteration:
                break
            except FileError:
                self.kinds["recoveries that failed"] += 1
                self._end_process()
                self.begin()
                return
        else:
            return
        self.check()
        self.disk.faults.clear()
        self._take_over()

    def _take_over(self) -> None:
        life, model = self.life, self.model
        if life.spool.counts.quarantined and not model.is_spoiled:
            raise Violation(
                "D5 a power cut damages nothing that was stored", f"{life.spool.counts.quarantined} damaged"
            )
        found = inspect(life, model)
        history = life.history(model.events)
        judge_found(model, model.old, found, history)
        for name, item in found.items():
            model.found(name, item.state, item.shift, is_held=item.is_held)
            (self.held if item.is_held else self.known)[item.position] = name
        model.started(set(found), history)
        self.kinds["messages restored"] += len(found)

    def _on_stored(self, records: Sequence[SpoolRecord], position: LogPosition) -> None:
        try:
            self.model.told(records, position)
        except Violation as violation:
            self.violation = self.violation or violation

    # -- its end

    def cut(self) -> None:
        """The power fails, and the run goes on from what is left."""
        self._count_end()
        states = self.disk.crash_states(_CUTS, self.draw.getrandbits(30))
        self.disk = self.draw.choice(list(states))
        self.now = float(self.life.loop.wall()) + self.draw.choice(_PAUSES)
        self.kinds["power cuts that the run went on from"] += 1
        self.begin()

    def kill(self) -> None:
        """The process is killed, and another one begins."""
        self._count_end()
        self._end_process()
        self.kinds["kills"] += 1
        self.begin()

    def jump_by(self, days: float) -> None:
        """The process ends, the clock jumps by so many days, and another process begins."""
        self._count_end()
        self.life.stop()
        self._end_process()
        jump = days * _DAY
        self.now += jump
        # the last note of the time may be as old as the process
        self.model.jumped(jump - 1.0, jump + _LONGEST_LIFE)
        self.kinds["jumps of the clock"] += 1
        self.begin()

    def spoil(self, record: MessageRecord) -> None:
        """Change an octet of a message's content, wherever it lies: of all messages with this content."""
        model = self.model
        model.is_spoiled = True
        for name in model.messages[record.id].transaction:
            model.messages[name].is_spoiled = True
        files = self.life.files
        for path in [f"{folder}/{name}" for folder in ("segments", "bodies") for name in files.names(folder)]:
            file = files.open(path)
            at = file.read(file.size(), 0).find(record.content)
            file.close()
            if at >= 0:
                self.disk.spoil(path, at + len(record.content) // 2)
                self.kinds["octets spoiled"] += 1

    def _count_end(self) -> None:
        counts = self.life.spool.counts
        self.kinds["segments abandoned"] += counts.abandoned
        self.kinds["segments removed"] += counts.removed_segments
        self.kinds["octets copied forward"] += counts.copied
        self.kinds["syncs that failed"] += counts.failed_syncs
        self.kinds["ended before it was recovered"] += not self.life.is_recovered
