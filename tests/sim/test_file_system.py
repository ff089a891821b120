"""What a power cut may leave on a simulated disk, and how its operations fail."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from penstock.sim.file_system import (
    FailedSync,
    Fault,
    Operation,
    PowerCut,
    SimulatedDisk,
    SimulatedFile,
    SimulatedFiles,
    SimulatedSyncer,
    Step,
    Switches,
)
from penstock.spool.files import File, FileError

#: More than any of these scenes can leave.
ALL = 5000


def content(disk: SimulatedDisk, path: str) -> bytes | None:
    """What is in a file of a disk; None if it is not there."""
    files = disk.process()
    try:
        file = files.open(path)
    except FileError:
        return None
    return file.read(file.size(), 0)


def contents(disk: SimulatedDisk, path: str, limit: int = ALL) -> set[bytes | None]:
    """All that may be in a file after a power cut; None if it may be gone."""
    return {content(state, path) for state in disk.crash_states(limit)}


def name_sets(disk: SimulatedDisk, folder: str = "") -> set[tuple[str, ...]]:
    """All sets of names that a folder may have after a power cut."""
    return {tuple(state.process().names(folder)) for state in disk.crash_states(ALL)}


def synced_file(files: SimulatedFiles, path: str, data: bytes = b"") -> SimulatedFile:
    """A file that no power cut takes away."""
    file = files.create(path)
    file.write([data], 0)
    file.sync()
    files.sync_folder()
    return file


def test_what_was_synced_is_there() -> None:
    """With its name: there is one state only."""
    disk = SimulatedDisk()
    synced_file(disk.process(), "a", b"safe")
    assert contents(disk, "a") == {b"safe"}
    assert len(list(disk.crash_states())) == 1


def test_a_synced_file_without_its_folder_may_have_no_name() -> None:
    """Where most servers lose mail; and a synced name may lead to nothing."""
    disk = SimulatedDisk()
    files = disk.process()
    file = files.create("a")
    file.write([b"mail"], 0)
    file.sync()
    assert contents(disk, "a") == {None, b"mail"}
    other = files.create("b")
    files.sync_folder()
    other.write([b"mail"], 0)
    assert {b"", b"mail", b"\0\0\0\0"} <= contents(disk, "b")
    assert None not in contents(disk, "b")


def test_a_new_folder_needs_the_one_above() -> None:
    """Whatever is synced in it."""
    disk = SimulatedDisk()
    files = disk.process()
    files.make_folder("lane")
    files.create("lane/a").sync()
    files.sync_folder("lane")
    assert name_sets(disk) == {(), ("lane",)}
    files.sync_folder()
    assert name_sets(disk) == {("lane",)}
    assert name_sets(disk, "lane") == {("a",)}


def test_changes_to_different_names_come_in_any_combination() -> None:
    """A later one without an earlier one too; those to one name keep their order."""
    disk = SimulatedDisk()
    files = disk.process()
    files.create("a")
    files.create("b")
    assert name_sets(disk) == {(), ("a",), ("b",), ("a", "b")}
    files.sync_folder()
    files.remove("a")
    files.create("c")
    assert name_sets(disk) == {("a", "b"), ("b",), ("a", "b", "c"), ("b", "c")}
    files.sync_folder()
    assert name_sets(disk) == {("b", "c")}


def test_a_rename_is_there_or_not() -> None:
    """Never both names, never none; what it replaces is there until it is not."""
    disk = SimulatedDisk()
    files = disk.process()
    synced_file(files, "old", b"1")
    synced_file(files, "new", b"2")
    files.rename("old", "new")
    found = {(content(state, "old"), content(state, "new")) for state in disk.crash_states(ALL)}
    assert found == {(b"1", b"2"), (None, b"1")}


def test_a_rename_to_another_folder_needs_both_synced() -> None:
    """One of them is not enough."""
    disk = SimulatedDisk()
    files = disk.process()
    files.make_folder("lane")
    synced_file(files, "a", b"1")
    files.rename("a", "lane/a")
    for folder in ("", "lane"):
        assert {content(state, "lane/a") for state in disk.crash_states(ALL)} == {None, b"1"}
        files.sync_folder(folder)
    assert contents(disk, "lane/a") == {b"1"}


def test_a_name_used_again_does_not_take_the_file_that_had_it() -> None:
    """The new file cannot be there while the rename of the old one is not."""
    disk = SimulatedDisk()
    files = disk.process()
    synced_file(files, "a", b"old")
    files.rename("a", "b")
    files.create("a")
    found = {(content(state, "a"), content(state, "b")) for state in disk.crash_states(ALL)}
    assert found == {(b"old", None), (None, b"old"), (b"", b"old")}


def test_what_is_settled_takes_what_was_before_it_along() -> None:
    """A removal that is on stable storage is not undone by the rename before it, though that waits for another folder."""
    disk = SimulatedDisk()
    files = disk.process()
    files.make_folder("lane")
    synced_file(files, "a", b"1")
    files.rename("a", "lane/a")
    files.remove("lane/a")
    files.sync_folder("lane")
    assert name_sets(disk) == {("lane",)}
    assert name_sets(disk, "lane") == {()}


def test_sectors_land_in_any_combination() -> None:
    """The second without the first, and torn in the middle."""
    disk = SimulatedDisk()
    file = synced_file(disk.process(), "a", b"-" * 1024)
    file.write([b"x" * 1024], 0)
    old, new = b"-" * 512, b"x" * 512
    torn = b"x" * 256 + b"-" * 256
    assert contents(disk, "a") == {one + two for one in (old, new, torn) for two in (old, new, torn)}


def test_each_version_of_a_sector_may_be_the_one() -> None:
    """A sector that was written twice may have been written back in between."""
    disk = SimulatedDisk()
    file = synced_file(disk.process(), "a", b"00")
    file.write([b"1"], 0)
    file.write([b"2"], 1)
    assert contents(disk, "a") == {b"00", b"10", b"12"}


def test_what_was_synced_in_a_sector_survives_what_is_written_to_it() -> None:
    """However the write ends."""
    disk = SimulatedDisk()
    file = synced_file(disk.process(), "a", b"s" * 700)
    file.write([b"n" * 600], 700)
    found = contents(disk, "a")
    assert all(octets is not None and octets.startswith(b"s" * 700) for octets in found)
    assert {len(octets) for octets in found if octets is not None} == {700, 1300}


def test_a_file_that_grew_may_show_what_others_have_left() -> None:
    """Stale octets of a removed file, zeros, or the old size; where room was allocated before: zeros or what was written."""
    disk = SimulatedDisk()
    files = disk.process()
    synced_file(files, "dead", b"d" * 512).close()
    files.remove("dead")
    file = synced_file(files, "a")
    file.write([b"n" * 512], 0)
    assert {b"", b"d" * 512, bytes(512), b"n" * 512} <= contents(disk, "a")
    file.truncate(0)
    file.allocate(512)
    file.sync()
    file.write([b"n" * 512], 0)
    assert contents(disk, "a") == {bytes(512), b"n" * 512, b"n" * 256 + bytes(256)}


def test_a_cut_may_not_have_happened() -> None:
    """Until it is synced; what was cut off comes back with the size only."""
    disk = SimulatedDisk()
    file = synced_file(disk.process(), "a", b"x" * 1024)
    file.truncate(512)
    assert {b"x" * 512, b"x" * 1024} <= contents(disk, "a")
    file.sync()
    assert contents(disk, "a") == {b"x" * 512}


def test_what_lies_behind_the_end_does_not_come_back() -> None:
    """When a file whose size got lost grows again."""
    disk = SimulatedDisk()
    file = synced_file(disk.process(), "a", b"1")
    file.write([b"2"], 600)
    shortest = min(disk.crash_states(), key=lambda state: len(content(state, "a") or b""))
    recovered = shortest.process().open("a", writable=True)
    assert recovered.size() == 1
    recovered.truncate(700)
    assert recovered.read(700, 0) == b"1" + bytes(699)


def test_many_states_are_sampled_with_a_seed() -> None:
    """As many as asked for, no two alike, the same for the same seed; what is likely to show a mistake is among them."""
    disk = SimulatedDisk()
    files = disk.process()
    file = synced_file(files, "a", b"-" * 512 * 60)
    for sector in range(60):
        file.write([b"x" * 512], sector * 512)
    for number in range(20):
        files.create(f"b{number}")

    def states(seed: int) -> list[tuple[bytes | None, tuple[str, ...]]]:
        return [(content(s, "a"), tuple(s.process().names())) for s in disk.crash_states(200, seed)]

    first = states(1)
    assert len(set(first)) == len(first) == 200
    assert states(1) == first != states(2)
    octets = {found for found, _ in first if found is not None}
    assert {b"-" * 30720, b"x" * 30720} <= octets
    landed = {found.count(b"x" * 512) for found in octets}
    assert {1, 59} <= landed and len(landed) > 20
    assert len({len(names) for _, names in first}) > 5


def test_a_state_is_a_disk_of_its_own() -> None:
    """It can be written, cut again and locked, and neither the first disk nor another state notices."""
    disk = SimulatedDisk()
    file = synced_file(disk.process(), "a", b"1")
    file.write([b"2"], 0)
    for state in disk.crash_states():
        files = state.process()
        files.lock()
        recovered = files.open("a", writable=True)
        before = recovered.read(1, 0)
        recovered.write([b"3"], 0)
        assert contents(state, "a") == {before, b"3"}
        recovered.sync()
        files.remove("a")
        assert contents(state, "a") == {b"3", None}
    assert contents(disk, "a") == {b"1", b"2"}


def test_a_state_tells_what_was_lost() -> None:
    """So that a failing campaign can be understood."""
    disk = SimulatedDisk()
    files = disk.process()
    file = synced_file(files, "a", b"1" * 1024)
    file.write([b"2" * 512], 0)
    files.create("b")
    stories = {state.story for state in disk.crash_states()}
    assert (
        "the power was cut after step 6\n  lost: name 'b' (step 6)\n  a: 1024 octets of 1024, sector 0 new"
        in stories
    )
    assert any("sector 0 torn" in story for story in stories)
    assert any("sector 0 as of the last sync" in story for story in stories)


def test_the_power_can_be_cut_in_a_step() -> None:
    """The program sees no more of it than that it ends; what the step did may be there in part."""
    disk = SimulatedDisk(cut_at=5)
    files = disk.process()
    file = synced_file(files, "a", b"1")
    with pytest.raises(PowerCut):
        file.write([b"2"], 0)
    with pytest.raises(PowerCut):
        files.names()
    assert contents(disk, "a") == {b"1", b"2"}
    assert not issubclass(PowerCut, Exception)


def test_a_sync_that_was_cut_has_promised_nothing() -> None:
    """The states are those before it."""
    disk = SimulatedDisk(cut_at=3)
    file = disk.process().create("a")
    file.write([b"1"], 0)
    with pytest.raises(PowerCut):
        file.sync()
    assert {None, b"", b"1"} <= contents(disk, "a")


def test_a_kill_loses_nothing_and_syncs_nothing() -> None:
    """What was written is readable, and still at the mercy of the power."""
    disk = SimulatedDisk()
    files = disk.process()
    files.lock()
    file = synced_file(files, "a", b"1")
    file.write([b"2"], 0)
    files.create("b")
    killed = disk.after_kill()
    assert content(killed, "a") == b"2"
    assert contents(killed, "a") == {b"1", b"2"}
    assert name_sets(killed) == {("a", "lock"), ("a", "b", "lock")}
    killed.process().open("a", writable=True).sync()
    assert contents(killed, "a") == {b"2"}
    assert contents(disk, "a") == {b"1", b"2"}


def test_steps_are_told_when_they_are_done_or_have_failed() -> None:
    """In order; looking changes nothing."""
    steps: list[Step] = []
    disk = SimulatedDisk(on_step=steps.append)
    files = disk.process()
    with pytest.raises(FileError):
        files.open("a")
    files.create("a").write([b"1"], 0)
    files.names()
    assert [(step.number, step.operation, step.is_change) for step in steps] == [
        (1, Operation.OPEN, False),
        (2, Operation.CREATE, True),
        (3, Operation.WRITE, True),
        (4, Operation.LIST, False),
    ]
    assert disk.steps == 4


@pytest.mark.parametrize(
    ("how", "readable", "possible"),
    [
        (FailedSync.MARKED_CLEAN, b"2", {b"1", b"2"}),
        (FailedSync.DROPPED, b"1", {b"1"}),
        (FailedSync.KEPT, b"2", {b"2"}),
    ],
)
def test_a_sync_after_a_failed_one_lies(how: FailedSync, readable: bytes, possible: set[bytes]) -> None:
    """It succeeds, and what was written before the first one is on the disk or is not."""
    disk = SimulatedDisk(failed_sync=how)
    file = synced_file(disk.process(), "a", b"1")
    file.write([b"2"], 0)
    disk.faults.add(Fault(Operation.SYNC, errno.EIO))
    with pytest.raises(FileError, match="EIO"):
        file.sync()
    file.sync()
    assert content(disk, "a") == readable
    assert contents(disk, "a") == possible
    file.write([b"3"], 0)
    file.sync()
    assert contents(disk, "a") == {b"3"}


def test_a_size_whose_sync_failed_stays_in_doubt() -> None:
    """Until it changes and is synced again."""
    disk = SimulatedDisk()
    file = synced_file(disk.process(), "a", b"1")
    file.write([b"2"], 1)
    disk.faults.add(Fault(Operation.SYNC, errno.EIO))
    with pytest.raises(FileError):
        file.sync()
    file.sync()
    assert contents(disk, "a") == {b"1", b"1\0", b"12"}
    file.truncate(0)
    file.sync()
    file.truncate(2)
    file.sync()
    assert contents(disk, "a") == {b"\0\0"}


def test_a_fault_is_met_at_its_call() -> None:
    """The k-th of its kind on paths that match, so many times, in part or in whole before it is told."""
    disk = SimulatedDisk()
    files = disk.process()
    first, second = files.create("seg-1"), files.create("body-1")
    disk.faults.add(Fault(Operation.WRITE, errno.ENOSPC, at=2, times=2, path="seg-*", written=3))

    def outcome(file: File) -> str:
        try:
            file.write([b"abcdef"], 0)
        except FileError as error:
            return errno.errorcode[error.errno]
        return "ok"

    assert [outcome(file) for file in (first, second, first, first, first)] == [
        "ok",
        "ok",
        "ENOSPC",
        "ENOSPC",
        "ok",
    ]
    disk.faults.clear()
    disk.faults.add(Fault(Operation.REMOVE, errno.EIO, takes_effect=True, times=None))
    with pytest.raises(FileError):
        files.remove("seg-1")
    assert files.names() == ["body-1"]


def test_a_short_write_leaves_its_first_octets() -> None:
    """As a disk that becomes full in its middle."""
    disk = SimulatedDisk()
    file = disk.process().create("a")
    disk.faults.add(Fault(Operation.WRITE, errno.ENOSPC, written=3))
    with pytest.raises(FileError, match=r"cannot write a: no space left on device \(ENOSPC\); free space"):
        file.write([b"ab", b"cdef"], 0)
    assert (file.size(), file.read(9, 0)) == (3, b"abc")


def test_a_disk_becomes_full_and_has_room_again() -> None:
    """Files take blocks; what was allocated can be written; a file that is open keeps its room when it is removed."""
    disk = SimulatedDisk(capacity=3 * 4096)
    files = disk.process()
    reserved = files.create("reserved")
    reserved.allocate(8000)
    file = files.create("a")
    with pytest.raises(FileError, match="ENOSPC"):
        file.write([b"x" * 5000], 0)
    assert file.size() == 4096
    assert files.free()[:2] == (0, 3 * 4096)
    reserved.write([b"y" * 8000], 0)
    with pytest.raises(FileError, match="ENOSPC"):
        reserved.allocate(9000)
    files.remove("reserved")
    assert files.free()[0] == 0
    reserved.close()
    assert files.free()[0] == 2 * 4096
    file.truncate(0)
    assert files.free()[0] == 3 * 4096
    assert {state.process().free()[1] for state in disk.crash_states()} == {3 * 4096}


def test_inodes_run_out() -> None:
    """For files and folders alike."""
    disk = SimulatedDisk(inodes=2)
    files = disk.process()
    files.make_folder("lane")
    files.create("a").close()
    for attempt in (lambda: files.create("b"), lambda: files.make_folder("c")):
        with pytest.raises(FileError, match="inodes"):
            attempt()
    assert files.free()[2:] == (0, 2)
    files.remove("a")
    files.create("b")


def scene(switches: Switches) -> set[bytes | None]:
    """What may be left of a file once everything has been done to have it."""
    disk = SimulatedDisk(switches=switches)
    files = disk.process()
    other, file = files.create("other"), files.create("a")
    file.write([b"mail"], 0)
    syncer = SimulatedSyncer(switches)
    syncer.start()
    found: set[bytes | None] = set()
    files.sync_folder()
    syncer.sync([other, file, other], lambda _: found.update(contents(disk, "a")))
    syncer.complete()
    return found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ignores_sync", True),
        ("ignores_folder_sync", True),
        ("ignores_sync_of", ("a*",)),
        ("ignores_folder_sync_of", ("",)),
        ("sync_only_first_file", True),
        ("sync_only_last_file", True),
        ("answers_before_sync", True),
    ],
)
def test_each_switch_loses_what_was_promised(name: str, value: object) -> None:
    """Without any, nothing is lost."""
    assert scene(Switches()) == {b"mail"}
    assert len(scene(Switches(**{name: value}))) > 1


def test_switches_that_hide_something() -> None:
    """A failed sync, a cut, a removal."""
    disk = SimulatedDisk(
        switches=Switches(hides_failed_sync=True, ignores_truncate=True, ignores_remove=True)
    )
    files = disk.process()
    file = synced_file(files, "a", b"1")
    file.write([b"2"], 0)
    disk.faults.add(Fault(Operation.SYNC, errno.EIO))
    disk.faults.add(Fault(Operation.SYNC_FOLDER, errno.EIO))
    file.sync()
    files.sync_folder()
    file.truncate(0)
    files.remove("a")
    assert contents(disk, "a") == {b"1", b"2"}


def test_a_spoiled_octet_is_another_one_everywhere() -> None:
    """What is read, what was synced, and what was written since."""
    disk = SimulatedDisk()
    file = synced_file(disk.process(), "a", b"safe")
    file.write([b"new"], 0)
    disk.spoil("a", 1)
    assert file.read(4, 0) == b"n0we"
    assert contents(disk, "a") >= {b"s4fe", b"n0we"}
    assert all(octets is not None and octets[1:2] in b"40" for octets in contents(disk, "a"))
    for path, offset in (("a", 4), ("b", 0), ("a/b", 0)):
        with pytest.raises(ValueError, match=path):
            disk.spoil(path, offset)


def test_the_syncer_syncs_when_it_is_told() -> None:
    """One at a time, each answered by itself; what is asked for in an answer is next."""
    disk = SimulatedDisk()
    files = disk.process()
    one, two = files.create("one"), files.create("two")
    syncer = SimulatedSyncer()
    answers: list[FileError | None] = []

    def ask(file: File, then: Callable[[], None] = lambda: None) -> None:
        def done(error: FileError | None) -> None:
            answers.append(error)
            then()

        syncer.sync([file], done)

    with pytest.raises(RuntimeError, match="not started"):
        ask(one)
    syncer.start()
    ask(one, lambda: ask(two))
    with pytest.raises(RuntimeError, match="under way"):
        ask(two)
    assert (answers, syncer.is_waiting) == ([], True)
    syncer.complete_all()
    assert (answers, syncer.is_waiting) == ([None, None], False)
    disk.faults.add(Fault(Operation.SYNC, errno.EIO))
    ask(one)
    syncer.complete()
    ask(two)
    syncer.die()
    assert [type(answer) for answer in answers[2:]] == [FileError, FileError]
    with pytest.raises(RuntimeError, match="no sync was asked for"):
        syncer.complete()
