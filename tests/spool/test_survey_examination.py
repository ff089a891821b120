"""Everything that can be wrong with a spool is found by an examination, named, and told from what only looks wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from penstock.mail.duration import WallTime
from penstock.mail.records import Verdict
from penstock.spool.codec import (
    body_of,
    encode_abandon,
    encode_attempt,
    encode_copy,
    encode_expiration,
    encode_note,
    encode_transaction,
)
from penstock.spool.files import FileError
from penstock.spool.frame import MARKER, Identity, NewerFormat, Place, SegmentHeader, parse_frame_header
from penstock.spool.inspection.examination import FINDINGS_LIMIT, Examination, examine
from penstock.spool.inspection.read_only import Attributes, ReadOnlyFiles
from penstock.spool.meaning import Abandoned, State
from penstock.spool.names import body_path, quarantine_path, segment_path
from penstock.spool.recovery import recover
from penstock.spool.segment import SegmentWriter
from tests.spool import samples
from tests.spool.bench import Bench
from tests.spool.files_in_memory import MemoryFiles
from tests.spool.survey_spools import on_disk, put_on_disk
from tests.spool.writing import add, fresh, put, segment


def examined(files: MemoryFiles, root: Path) -> Examination:
    """What is found in a spool on a disk."""
    tree = on_disk(files, root)
    try:
        return examine(tree, lambda *_: None)
    finally:
        tree.close()


class Spool:
    """Segment 1 sealed, segment 2 being written; messages in both, some settled, one with a body file, one copied.

    ``live`` is the offset of a queued message in segment 1, ``settled`` that of one which is not; ``attempt`` that of a later record.
    """

    def __init__(self) -> None:
        self.files = fresh()
        self.one = segment(self.files, 1)
        records = [samples.message(number, 2) for number in range(5)]
        ((_, self.live, _),) = put(self.one, records[0])
        (settled,) = put(self.one, records[1])
        self.settled = settled.offset
        gone = samples.attempt(records[1], 1, (0, Verdict.ACCEPTED), (1, Verdict.FAILED))
        (self.attempt,) = add(self.one, encode_attempt(gone, settled))
        add(self.one, encode_note(samples.REJECTION))
        body = body_of("large", records[2].content)
        add(self.one, encode_transaction([records[2]], body))
        self.body = body_path("large")
        self.files.folders.add("bodies")
        self.files.create(self.body).write([records[2].content], 0)
        (old,) = put(self.one, records[3])
        self.end = self.one.end
        self.one.seal()
        self.two = segment(self.files, 2)
        self.two.mark_synced(64)
        add(self.two, encode_copy([records[3]], [State(old, (1,), 2, 9.0)]))
        (self.late,) = put(self.two, records[4])
        self.last = self.two.end
        add(self.two, encode_expiration(samples.expiration(records[4], 0), self.late))
        self.two.flush()

    def flip(self, path: str, offset: int) -> None:
        """One octet is not what was written."""
        self.files.octets[path][offset] ^= 0xFF

    def extend(self, count: int) -> None:
        """More messages behind, which say that all before them was synced."""
        self.two.mark_synced(self.two.end)
        for number in range(count):
            put(self.two, samples.message(100 + number))
        self.two.flush()


def test_a_whole_spool_has_no_findings(tmp_path: Path) -> None:
    """With everything in it that there can be; what was read is counted, and nothing is changed."""
    spool = Spool()
    put_on_disk(spool.files, tmp_path / "spool")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    times = {path: path.stat() for path in (tmp_path / "spool", *tmp_path.rglob("*"))}
    tree = ReadOnlyFiles(tmp_path / "spool")
    found = examine(tree, lambda *_: None)
    assert found.findings == ()
    assert (found.is_damaged, found.is_complete, found.untold) == (False, True, {})
    assert (found.segments, found.bodies, found.messages) == (2, 1, 4)
    sizes = [len(octets) for octets in spool.files.octets.values()]
    assert found.octets == sum(sizes)
    assert {path: path.read_bytes() for path in before} == before
    for path, status in times.items():
        assert (path.stat().st_mtime_ns, path.stat().st_mode) == (status.st_mtime_ns, status.st_mode)


Damage = Callable[[Spool], None]


def _rename(spool: Spool) -> None:
    spool.files.rename(spool.one.path, segment_path(Identity(9, 9)))


def _unusable(spool: Spool) -> None:
    spool.files.octets[spool.one.path][:] = bytes(200)


def _same_number(spool: Spool) -> None:
    other = SegmentWriter.create(spool.files, Identity(2, 99999), WallTime(1.0), 1024)
    put(other, samples.message(50))
    other.flush()


def _missing_segment(spool: Spool) -> None:
    three = segment(spool.files, 3)
    (place,) = put(three, samples.message(60))
    three.seal()
    four = segment(spool.files, 4)
    add(four, encode_expiration(samples.expiration(samples.message(60), 0), place))
    add(four, encode_copy([samples.message(60)], [State(place, (0,), 0, None)]))
    four.flush()
    spool.files.remove(three.path)


def _missing_message(spool: Spool) -> None:
    for offset in (4096, 8192):
        later = samples.expiration(samples.message(1), 0)
        add(spool.two, encode_expiration(later, Place(1, offset, 0)))
    spool.two.flush()


def _copy_of_nothing(spool: Spool) -> None:
    add(spool.two, encode_copy([samples.message(70)], [State(Place(1, 4096, 0), (0,), 0, None)]))
    spool.two.flush()


def _quarantined(spool: Spool) -> None:
    spool.files.make_folder("quarantine")
    path = quarantine_path(Identity(7, 8), 64)
    spool.files.create(path).write([b"\xf5\x9e" + bytes(30)], 0)


@pytest.mark.parametrize(
    ("damage", "kind", "words"),
    [
        (lambda s: s.flip(s.one.path, s.live + 40), "damaged-frame", "1 queued messages with 2 waiting recipients, of spring:shop@a.test"),
        (lambda s: s.flip(s.one.path, s.settled + 40), "damaged-frame", "nothing that lies here is queued"),
        (lambda s: s.flip(s.one.path, s.attempt + 5), "damaged-frame", "nothing that lies here is queued"),
        (lambda s: s.flip(s.one.path, s.end - 40), "damaged-frame", "does not match its checksum"),
        (lambda s: s.flip(s.one.path, 30), "damaged-header", "its frames can be read"),
        (lambda s: s.flip(s.two.path, 0), "damaged-header", "its frames can be read"),
        (lambda s: s.flip(s.one.path, s.end + 30), "damaged-index", "the footer behind it, is damaged"),
        (lambda s: s.flip(s.one.path, len(s.files.octets[s.one.path]) - 1), "damaged-index", "footer"),
        (lambda s: (s.extend(2), s.flip(s.two.path, s.late.offset + 40)), "damaged-frame", "accepted is lost"),
        (lambda s: (s.extend(2), s.flip(s.two.path, s.last + 40)), "damaged-frame", "tried again"),
        (lambda s: (s.extend(2), s.flip(s.two.path, s.late.offset + 1)), "damaged-frame", "which cannot be told"),
        (lambda s: s.flip(s.two.path, s.late.offset + 40), "damaged-frame", "none, if a power cut left this"),
        (lambda s: s.files.remove(s.body), "missing-body", "1 queued messages cannot be sent"),
        (lambda s: s.flip(s.body, 3), "damaged-body", "do not match their checksum"),
        (lambda s: s.files.open(s.body).truncate(3), "damaged-body", "it has 3 octets, and the message has"),
        (_rename, "renamed-segment", "segments/00000001-00001eef.segment"),
        (_unusable, "unusable-segment", "no frames that can be read"),
        (_same_number, "same-number", "no number is used twice"),
        (_missing_segment, "missing-segment", "segment 3 is missing"),
        (_missing_message, "missing-message", "about a message at 1:4096:0, and none is there, and 1 more"),
        (_copy_of_nothing, "missing-message", "a copy of a message at 1:4096:0"),
        (_quarantined, "quarantined", "they were in segments/00000007-00000008.segment at 64, and a frame's header does not"),
    ],
)  # fmt: skip
def test_damage_is_found(damage: Damage, kind: str, words: str, tmp_path: Path) -> None:
    """One finding for one fault, of its kind, with what it means."""
    spool = Spool()
    damage(spool)
    found = examined(spool.files, tmp_path / "spool")
    finding, *others = [item for item in found.findings if item.is_damage]
    assert (finding.kind, others) == (kind, [])
    assert words in str(finding)
    assert found.is_damaged and found.is_complete


def test_an_index_that_is_of_another_mind_is_found(tmp_path: Path) -> None:
    """A row too many, one too few, or another value, each named with where it is."""
    record = samples.message(1)
    for number, (spoil, words) in enumerate(
        [
            (lambda index: index.messages.size.__setitem__(0, 7), "another message at 64"),
            (lambda index: index.changes.attempts.__setitem__(0, 7), "another later record at"),
            (lambda index: setattr(index, "notes", 5), "counts 5 notes, and there are 0"),
            (lambda index: index.bodies.append((64, "b")), "has a body file at 64 that is not there"),
            (lambda index: index.messages.offset.__setitem__(0, 80), "lacks the message at 64"),
        ]
    ):
        files = fresh()
        writer = segment(files, 1)
        (place,) = put(writer, record)
        add(writer, encode_attempt(samples.attempt(record, 1, (0, Verdict.DEFERRED), due=1.0), place))
        spoil(writer.index)
        writer.seal()
        found = examined(files, tmp_path / str(number))
        (finding,) = [item for item in found.findings if item.kind == "damaged-index"]
        assert words in finding.what


def padding(octets: bytes, writer: SegmentWriter) -> set[int]:
    """The offsets of what is behind the frames' payloads."""
    found: set[int] = set()
    offset = 64
    while octets[offset : offset + 2] == MARKER:
        head = parse_frame_header(octets[offset : offset + 20], writer.identity, offset)
        found.update(range(offset + 20 + head.length, offset + head.size))
        offset += head.size
    return found


@pytest.mark.parametrize("is_sealed", [True, False])
def test_no_flipped_octet_is_missed(is_sealed: bool, tmp_path: Path) -> None:
    """Wherever it is in what was written; but for padding, which no checksum covers, and a last frame, which then is a torn tail."""
    files = fresh()
    writer = segment(files, 1, size=4096)
    record = samples.message(1)
    (place,) = put(writer, record)
    add(writer, encode_expiration(samples.expiration(record, 0), place), encode_note(samples.REJECTION))
    last = writer.end
    put(writer, samples.message(2))
    end = writer.end
    writer.flush()
    if is_sealed:
        writer.seal()
        end = len(files.octets[writer.path])
    tree = on_disk(files, tmp_path / "spool")
    path, octets = tmp_path / "spool" / writer.path, bytes(files.octets[writer.path])
    missed = []
    for offset in range(0, end, 7):
        spoilt = bytearray(octets)
        spoilt[offset] ^= 0x10
        path.write_bytes(spoilt)
        found = examine(tree, lambda *_: None)
        is_last = not is_sealed and offset >= last
        if not found.is_damaged and not (is_last and found.findings):
            missed.append(offset)
    tree.close()
    assert missed
    assert padding(octets, writer).issuperset(missed)


def _torn(spool: Spool) -> None:
    spool.files.octets[spool.two.path][spool.two.end : spool.two.end + 7] = b"\xf5\x9eabcde"


def _unsealed(spool: Spool) -> None:
    segment(spool.files, 3)


def _unsealed_torn(spool: Spool) -> None:
    _torn(spool)
    segment(spool.files, 3)


def _abandoned(spool: Spool) -> None:
    three = segment(spool.files, 3)
    add(three, encode_abandon(Abandoned(2, spool.late.offset)))
    three.flush()
    spool.flip(spool.two.path, spool.late.offset + 40)


@pytest.mark.parametrize(
    ("event", "kind", "words"),
    [
        (_torn, "torn-tail", "7 octets of a frame that is not whole, which is being written"),
        (_unsealed_torn, "torn-tail", "left by a crash"),
        (_unsealed, "unsealed-segment", "has no index"),
        (_abandoned, "abandoned-segment", "what is behind does not count"),
        (lambda s: s.files.create(segment_path(Identity(3, 3))), "unfinished-segment", "being created"),
        (lambda s: s.files.create(body_path("other")), "orphan-body", "no queued message needs"),
        (lambda s: s.files.create("bodies/README"), "foreign-file", "bodies/README"),
        (lambda s: s.files.create("segments/x"), "foreign-file", "segments/x"),
        (lambda s: s.files.create("notes.txt"), "foreign-file", "notes.txt"),
    ],
)
def test_what_is_no_damage_is_told_as_such(event: Damage, kind: str, words: str, tmp_path: Path) -> None:
    """Worth knowing, and the exit status stays 0."""
    spool = Spool()
    event(spool)
    found = examined(spool.files, tmp_path / "spool")
    assert not found.is_damaged
    assert [item.kind for item in found.findings] == [kind]
    assert words in str(found.findings[0])


def test_records_about_what_has_gone_are_no_damage(tmp_path: Path) -> None:
    """The oldest segment was removed; what its messages became is still told behind."""
    spool = Spool()
    add(spool.two, encode_expiration(samples.expiration(samples.message(1), 0), Place(1, spool.settled, 0)))
    spool.two.flush()
    spool.files.remove(spool.one.path)
    spool.files.remove(spool.body)
    assert examined(spool.files, tmp_path / "spool").findings == ()


def test_a_copy_in_quarantine_is_told_with_its_damage(tmp_path: Path) -> None:
    """Once, with the path of the copy that a start has saved."""
    spool = Spool()
    spool.extend(1)
    spool.flip(spool.two.path, spool.late.offset + 40)
    recover(spool.files)
    found = examined(spool.files, tmp_path / "spool")
    (finding,) = [item for item in found.findings if item.is_damage]
    saved = quarantine_path(spool.two.identity, spool.late.offset)
    assert finding.kind == "damaged-frame" and saved in finding.what


def test_a_body_that_was_delivered_meanwhile_is_not_missed(tmp_path: Path) -> None:
    """Its message was queued at the beginning, and is settled when its file is found to be gone."""
    spool = Spool()
    put_on_disk(spool.files, tmp_path / "spool")

    def deliver(path: str, *_: int) -> None:
        if path == spool.body and (tmp_path / "spool" / path).exists():
            (tmp_path / "spool" / path).unlink()
            offset = spool.one.index.bodies[0][0]
            add(
                spool.two,
                encode_expiration(samples.expiration(samples.message(2), 0, 1), Place(1, offset, 0)),
            )
            spool.two.flush()
            (tmp_path / "spool" / spool.two.path).write_bytes(spool.files.octets[spool.two.path])

    tree = ReadOnlyFiles(tmp_path / "spool")
    assert examine(tree, deliver).findings == ()
    tree.close()


def test_a_segment_that_goes_meanwhile_is_passed_over(tmp_path: Path) -> None:
    """Between the look and the reading of its frames."""
    spool = Spool()
    put_on_disk(spool.files, tmp_path / "spool")
    told: list[str] = []

    def reclaim(path: str, *_: int) -> None:
        told.append(path)
        if told.count(spool.one.path) == 2:  # the look has been there before
            (tmp_path / "spool" / path).unlink(missing_ok=True)

    tree = ReadOnlyFiles(tmp_path / "spool")
    assert examine(tree, reclaim).findings == ()
    tree.close()
    assert told.count(spool.one.path) == 2


@pytest.mark.parametrize(
    ("spoil", "is_damage", "words"),
    [
        (lambda path: path.chmod(0o400), True, "its mode is 0400, which its owner cannot work with"),
        (lambda path: path.chmod(0o644), False, "others than the server may read it"),
        (lambda path: os.link(path, path.with_name("00000001-0000000a.segment")), True, "a second name"),
    ],
)
def test_files_that_the_server_cannot_use_are_found(
    spoil: Callable[[Path], None], is_damage: bool, words: str, tmp_path: Path
) -> None:
    """And those that others can."""
    spool = Spool()
    tree = on_disk(spool.files, tmp_path / "spool")
    spoil(tmp_path / "spool" / spool.two.path)
    findings = [item for item in examine(tree, lambda *_: None).findings if item.kind == "wrong-access"]
    tree.close()
    assert findings and all(words in str(item) and item.is_damage is is_damage for item in findings)


def test_symbolic_links_are_not_followed(tmp_path: Path) -> None:
    """One in the place of a body file is found, and what it names is not read."""
    spool = Spool()
    (tmp_path / "secret").write_bytes(spool.files.octets[spool.body])
    tree = on_disk(spool.files, tmp_path / "spool")
    (tmp_path / "spool" / spool.body).unlink()
    (tmp_path / "spool" / spool.body).symlink_to(tmp_path / "secret")
    found = examine(tree, lambda *_: None)
    tree.close()
    assert {item.kind for item in found.findings} == {"wrong-access", "unreadable"}
    assert not found.is_complete


def test_findings_are_bounded(tmp_path: Path) -> None:
    """Of each kind so many are told, the others counted."""
    files = fresh()
    for number in range(FINDINGS_LIMIT + 3):
        files.create(body_path(f"b{number}"))
    found = examined(files, tmp_path / "spool")
    assert len(found.findings) == FINDINGS_LIMIT
    assert found.untold == {"orphan-body": 3}


def test_a_newer_format_ends_it(tmp_path: Path) -> None:
    """Nothing can be said of such a spool."""
    files = fresh()
    identity = Identity(1, 5)
    files.create(segment_path(identity)).write([SegmentHeader(identity, WallTime(1.0), 2).to_bytes()], 0)
    with pytest.raises(NewerFormat):
        examined(files, tmp_path / "spool")


def test_a_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    """It is named, with what was to be done."""
    tree = ReadOnlyFiles(tmp_path)
    with pytest.raises(FileError, match="bodies"):
        examine(tree, lambda *_: None)
    tree.close()


def test_a_file_of_another_user_is_found(tmp_path: Path) -> None:
    """The server runs as the owner of the directory, and cannot use it."""
    spool = Spool()
    put_on_disk(spool.files, tmp_path / "spool")

    class Mixed(ReadOnlyFiles):
        def attributes(self, path: str = "") -> Attributes:
            found = super().attributes(path)
            return msgspec.structs.replace(found, owner=4_000_000) if path == spool.two.path else found

    tree = Mixed(tmp_path / "spool")
    (finding,) = examine(tree, lambda *_: None).findings
    tree.close()
    assert (finding.kind, finding.is_damage, finding.path) == ("wrong-access", True, spool.two.path)
    assert "it belongs to user 4000000, and the spool to" in finding.what


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """One in the place of a body file is refused at once, whoever may write to it one day."""
    spool = Spool()
    tree = on_disk(spool.files, tmp_path / "spool")
    (tmp_path / "spool" / spool.body).unlink()
    os.mkfifo(tmp_path / "spool" / spool.body, 0o600)
    with pytest.raises(FileError, match="is no regular file"):
        tree.open(spool.body)
    found = examine(tree, lambda *_: None)
    tree.close()
    assert {item.kind for item in found.findings} == {"wrong-access", "unreadable"}


def test_damage_that_a_start_has_found_is_still_a_loss(tmp_path: Path) -> None:
    """The start makes an index that knows nothing of the damaged frame: that nothing of it is queued does not mean that nothing is lost."""
    bench = Bench()
    for number in range(3):
        bench.store(samples.message(number))
        bench.settle()
    disk = bench.disk.after_kill()
    files = disk.process()
    file = files.open("segments/" + files.names("segments")[0], writable=True)
    file.write([b"!"], 500)
    Bench(disk)
    saved = disk.process()
    for folder in ("", "segments", "bodies", "quarantine"):
        (tmp_path / folder).mkdir(mode=0o700, exist_ok=True)
        for name in saved.names(folder):
            if folder:
                octets = saved.open(f"{folder}/{name}")
                (tmp_path / folder / name).write_bytes(octets.read(octets.size(), 0))
                (tmp_path / folder / name).chmod(0o600)
    tree = ReadOnlyFiles(tmp_path)
    found = examine(tree, lambda *_: None)
    tree.close()
    (told,) = [item for item in found.findings if item.is_damage]
    assert told.kind == "damaged-frame" and told.mail == "a message that was accepted is lost"
    assert "quarantine/" in str(told)
