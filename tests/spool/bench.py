"""A spool on a simulated disk, without time of its own, for tests."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.mail.ids import IdSource
from penstock.mail.ports import LogPosition, SpoolError
from penstock.mail.records import MessageRecord, QueuedMessage, SpoolRecord, StoredMessage
from penstock.sim.file_system import SimulatedDisk, SimulatedSyncer
from penstock.sim.loop import AtOnce, SimulatedLoop
from penstock.spool.log import SpoolLog, SpoolOptions

SMALL = SpoolOptions(memory=4096, segment_size=16 * 1024)


class Bench:
    """One process with a spool: open, and recovered. ``records`` are those that were shown as stored; ``queued`` those restored."""

    def __init__(
        self,
        disk: SimulatedDisk | None = None,
        options: SpoolOptions = SMALL,
        loop: SimulatedLoop | None = None,
        *,
        is_recovered: bool = True,
    ) -> None:
        self.disk = disk or SimulatedDisk()
        self.loop = loop or SimulatedLoop()
        self.syncer = SimulatedSyncer(self.disk.switches)
        self.records: list[SpoolRecord] = []
        self.position = LogPosition(0, 0)
        self.queued: list[QueuedMessage] = []
        #: what ``store`` was answered, by the id of the first message
        self.answers: dict[str, SpoolError | Sequence[int]] = {}
        self._salts = iter(range(1000, 100_000))
        self.files = self.disk.process()
        self.spool = SpoolLog(
            self.files, self.syncer, self.loop, AtOnce(self.loop), self.loop, IdSource(7),
            lambda: next(self._salts), self._on_stored, options,
        )  # fmt: skip
        self.spool.open()
        if is_recovered:
            self.recover()

    def _on_stored(self, records: Sequence[SpoolRecord], position: LogPosition) -> None:
        assert position >= self.position
        self.records += records
        self.position = position

    def recover(self) -> None:
        """Read what was there."""
        for _ in self.spool.restore(self.queued.extend):
            pass

    def store(self, *records: MessageRecord) -> None:
        """Ask for a transaction to be stored."""

        def done(positions: Sequence[int], fault: SpoolError | None) -> None:
            assert records[0].id not in self.answers, "answered twice"
            self.answers[records[0].id] = fault or list(positions)

        try:
            self.spool.store(records, done)
        except SpoolError as fault:
            done((), fault)

    def settle(self) -> None:
        """Let everything that can happen now happen, syncs too."""
        for _ in range(10_000):
            self.loop.run()
            if not self.syncer.is_waiting:
                return
            self.syncer.complete()
        raise AssertionError("it does not settle")

    def position_of(self, record: MessageRecord) -> int:
        """Where a message is that was stored alone."""
        answer = self.answers[record.id]
        assert not isinstance(answer, SpoolError), answer
        return answer[0]

    def read(self, position: int) -> StoredMessage | SpoolError:
        """A message, fetched if need be."""
        found: list[StoredMessage | SpoolError] = []
        try:
            now = self.spool.get(position)
        except SpoolError as fault:
            return fault
        if now is not None:
            return now
        self.spool.fetch(position, found.append)
        self.settle()
        return found[0]

    def restart(self) -> Bench:
        """The spool in a new process, after this one was killed."""
        return Bench(self.disk.after_kill(), loop=self.loop)
