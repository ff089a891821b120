"""Segments and recovery on a disk that loses power after every step of a run: what was synced comes back, and nothing else is made of the rest."""

from __future__ import annotations

from penstock.mail.duration import WallTime
from penstock.mail.records import MessageRecord, Verdict
from penstock.sim.file_system import SimulatedDisk, Step
from penstock.spool.codec import encode_abandon, encode_attempt, encode_copy, encode_transaction
from penstock.spool.files import Files
from penstock.spool.frame import Identity, Place
from penstock.spool.meaning import Abandoned, State
from penstock.spool.names import SEGMENTS
from penstock.spool.recovery import prepare, recover
from penstock.spool.segment import SegmentReader, SegmentWriter
from tests.spool import samples


class Run:
    """A scripted run, and a look at what each power cut would leave. ``promised``: messages that must be live, by id.

    ``possible``: those that may be live; ``states`` counts what was looked at.
    """

    def __init__(self) -> None:
        self.disk = SimulatedDisk(on_step=self.look)
        self.files: Files = self.disk.process()
        self.promised: set[str] = set()
        self.possible: dict[str, MessageRecord] = {}
        self.is_prepared = False
        self.states = 0

    def look(self, step: Step) -> None:
        """Every state that power cut now may leave, or some."""
        if not self.is_prepared:
            return
        for state in self.disk.crash_states(limit=24):
            self.states += 1
            self.check(state.process(), state.story)

    def check(self, files: Files, story: str) -> None:
        recovered = recover(files)
        found = {}
        for row in recovered.queued:
            place = recovered.queued.place(row)
            path = next(item.path for item in recovered.segments if item.identity.number == place.segment)
            identity = Identity(place.segment, place.segment + 99)
            record = (
                SegmentReader(files.open(path), identity, path).transaction(place.offset).message(place.part)
            )
            assert self.possible[record.id] == record, story
            assert record.id not in found, story
            found[record.id] = place
        assert self.promised <= set(found), story
        assert not [item for item in recovered.quarantined if item.was_stored], story
        assert not recovered.orphans and not recovered.foreign, story

    def segment(self, number: int) -> SegmentWriter:
        """A new segment that is durable."""
        writer = SegmentWriter.create(self.files, Identity(number, number + 99), WallTime(1.0), size=8192)
        writer.make_durable(self.files)
        return writer

    def put(self, writer: SegmentWriter, *records: MessageRecord) -> list[Place]:
        self.possible.update({record.id: record for record in records})
        offset = writer.append(encode_transaction(records))
        return [Place(writer.identity.number, offset, part) for part in range(len(records))]

    def commit(self, writer: SegmentWriter, *records: MessageRecord) -> None:
        """Flush and sync; then these are promised."""
        writer.flush()
        written = writer.written
        writer.file.sync()
        writer.mark_synced(written)
        self.promised.update([record.id for record in records])


def test_what_was_synced_survives_every_power_cut() -> None:
    """Accepted, settled, copied, sealed, abandoned: at each step, whatever the disk makes of what was not synced."""
    run = Run()
    prepare(run.files)
    run.is_prepared = True
    first, second, third, fourth = (samples.message(number, content=b"x" * 700) for number in range(4))
    one = run.segment(1)
    place, settled = run.put(one, first, second)
    run.commit(one, first, second)
    run.promised.discard(second.id)  # from now on it may be settled
    one.append(encode_attempt(samples.attempt(second, 1, (0, Verdict.ACCEPTED)), settled))
    run.commit(one)
    del run.possible[second.id]
    mark = one.end
    run.put(one, third)
    one.flush()  # its sync fails, and nobody is told
    two = run.segment(2)
    two.append(encode_abandon(Abandoned(1, mark)))
    run.commit(two)
    del run.possible[third.id]  # refused: it never comes back
    run.put(two, fourth)
    two.append(encode_copy([first], [State(place, (0,), 1, None)]))
    run.commit(two, fourth)
    two.seal()
    three = run.segment(3)
    run.files.remove(one.path)
    run.files.sync_folder(SEGMENTS)
    two.file.sync()
    run.put(three, samples.message(9))
    three.flush()
    assert run.states > 200
