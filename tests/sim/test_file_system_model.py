"""The simulated file system against a model that is too naive to be wrong: octet by octet, name by name, in any order of operations."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from penstock.sim.file_system import Fault, Operation, SimulatedDisk, SimulatedFile, Switches
from penstock.spool.files import FileError

SECTOR = 512
NAMES = ("a", "b", "c")
MOST = 1600
#: States looked at after each step.
LIMIT = 12

names = st.sampled_from(NAMES)
offsets = st.one_of(st.sampled_from([0, 1, 500, 512, 1000, 1024]), st.integers(0, 1200))
sizes = st.one_of(st.sampled_from([0, 1, 12, 511, 512, 513, 1024]), st.integers(0, MOST))


class ModelFile:
    """What a file holds, and for each octet all that it may be after a power cut."""

    def __init__(self, file: SimulatedFile) -> None:
        self.file = file
        self.data = bytearray()
        self.may_be: list[set[int]] = [{0} for _ in range(2 * MOST)]
        self.sizes = {0}
        #: sectors with something that is not on stable storage, and those of them that a failed sync has marked clean
        self.dirty: set[int] = set()
        self.stuck: set[int] = set()
        self.is_size_stuck = False
        #: how far it reached before the last operation
        self.covered = 0
        #: sectors that may show what a removed file had there
        self.stale: set[int] = set()

    def write(self, data: bytes, offset: int) -> None:
        end = offset + len(data)
        self.resize(max(len(self.data), end))
        self.data[offset:end] = data
        for position, octet in enumerate(data, offset):
            self.may_be[position].add(octet)
        touched = {position // SECTOR for position in range(offset, end)}
        self.stale |= {sector for sector in touched - self.dirty if sector * SECTOR >= self.covered}
        self.touch(touched)

    def resize(self, size: int) -> None:
        self.covered = len(self.data)
        if size == len(self.data):
            return
        for position in range(size, len(self.data)):
            self.may_be[position].add(0)
        if size < len(self.data):
            self.touch({position // SECTOR for position in range(size, len(self.data))})
        self.data = self.data[:size].ljust(size, b"\0")
        self.sizes.add(size)
        self.is_size_stuck = False

    def touch(self, sectors: set[int]) -> None:
        self.dirty |= sectors
        self.stuck -= sectors

    def sync(self) -> None:
        for position in range(2 * MOST):
            if position // SECTOR not in self.stuck:
                self.may_be[position] = {self.data[position] if position < len(self.data) else 0}
        self.dirty = set(self.stuck)
        self.stale &= self.stuck
        if not self.is_size_stuck:
            self.sizes = {len(self.data)}

    def fail_sync(self) -> None:
        self.stuck = set(self.dirty)
        self.is_size_stuck = len(self.sizes) > 1

    def allows(self, found: bytes) -> bool:
        return len(found) in self.sizes and all(
            octet in self.may_be[position]
            or (octet == 0 and position >= min(self.sizes))
            or position // SECTOR in self.stale
            for position, octet in enumerate(found)
        )


class FileSystemMachine(RuleBasedStateMachine):
    """Operations in any order; after each, what a power cut may leave."""

    def __init__(self, switches: Switches = Switches()) -> None:  # noqa: B008 - it is frozen
        super().__init__()
        self.disk = SimulatedDisk(switches=switches)
        self.files = self.disk.process()
        self.present: dict[str, ModelFile] = {}
        #: name -> what it may lead to after a power cut
        self.may_lead: dict[str, list[ModelFile | None]] = {name: [None] for name in NAMES}
        self.octet = 0

    def lead(self, name: str, file: ModelFile | None) -> None:
        self.may_lead[name].append(file)
        if file is None:
            del self.present[name]
        else:
            self.present[name] = file

    @rule(name=names)
    def create(self, name: str) -> None:
        if name in self.present:
            with pytest.raises(FileError):
                self.files.create(name)
        else:
            self.lead(name, ModelFile(self.files.create(name)))

    @precondition(lambda self: self.present)
    @rule(name=names, offset=offsets, size=st.integers(1, 400))
    def write(self, name: str, offset: int, size: int) -> None:
        file = self.present.get(name)
        if file is not None:
            self.octet = self.octet % 250 + 1
            file.file.write([bytes([self.octet]) * size], offset)
            file.write(bytes([self.octet]) * size, offset)

    @precondition(lambda self: self.present)
    @rule(name=names, size=sizes, is_allocated=st.booleans())
    def resize(self, name: str, size: int, is_allocated: bool) -> None:
        file = self.present.get(name)
        if file is not None and is_allocated:
            file.file.allocate(size)
            file.resize(max(size, len(file.data)))
        elif file is not None:
            file.file.truncate(size)
            file.resize(size)

    @precondition(lambda self: self.present)
    @rule(name=names)
    def sync(self, name: str) -> None:
        file = self.present.get(name)
        if file is not None:
            file.file.sync()
            file.sync()

    @precondition(lambda self: self.present)
    @rule(name=names)
    def fail_sync(self, name: str) -> None:
        file = self.present.get(name)
        if file is not None:
            self.disk.faults.add(Fault(Operation.SYNC, errno.EIO))
            with pytest.raises(FileError):
                file.file.sync()
            file.fail_sync()

    @rule()
    def sync_folder(self) -> None:
        self.files.sync_folder()
        self.may_lead = {name: [self.present.get(name)] for name in NAMES}

    @precondition(lambda self: self.present)
    @rule(old=names, new=names)
    def rename(self, old: str, new: str) -> None:
        file = self.present.get(old)
        if file is not None and old != new:
            self.files.rename(old, new)
            self.lead(old, None)
            self.lead(new, file)

    @precondition(lambda self: self.present)
    @rule(name=names)
    def remove(self, name: str) -> None:
        if name in self.present:
            self.files.remove(name)
            self.lead(name, None)

    @rule()
    def kill(self) -> None:
        self.disk = self.disk.after_kill()
        self.files = self.disk.process()
        for name, file in self.present.items():
            file.file = self.files.open(name, writable=True)

    @invariant()
    def what_is_seen_is_what_was_written(self) -> None:
        assert self.files.names() == sorted(self.present)
        for file in self.present.values():
            assert file.file.read(2 * MOST, 0) == file.data

    @invariant()
    def a_power_cut_leaves_only_what_it_may(self) -> None:
        for state in self.disk.crash_states(LIMIT):
            found = dict(contents(state))
            for name in NAMES:
                assert any(
                    name not in found if file is None else name in found and file.allows(found[name])
                    for file in self.may_lead[name]
                ), state.story


def contents(disk: SimulatedDisk) -> Iterator[tuple[str, bytes]]:
    """Names and what is in the files."""
    files = disk.process()
    for name in files.names():
        file = files.open(name)
        yield name, file.read(2 * MOST, 0)


EFFORT = settings(
    max_examples=40, stateful_step_count=30, suppress_health_check=list(HealthCheck), print_blob=False
)


def test_no_state_has_what_it_may_not() -> None:
    """What was synced is in every state, what was not is old, new, zero or stale; whatever was done before."""
    run_state_machine_as_test(FileSystemMachine, settings=EFFORT)


@pytest.mark.parametrize("switch", ["ignores_sync", "ignores_folder_sync"])
def test_the_model_notices_a_disk_that_lies(switch: str) -> None:
    """Or it would prove nothing."""
    unshrunk = settings(EFFORT, database=None, phases=[Phase.generate], max_examples=200)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(lambda: FileSystemMachine(Switches(**{switch: True})), settings=unshrunk)
