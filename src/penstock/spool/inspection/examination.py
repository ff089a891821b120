"""Everything in a spool read and held against everything else: what ``penstock spool check`` does. Nothing is changed, whatever is found.

It begins with a look (``view``), which reads segments without an index whole. Then the frames of the sealed ones are read, which a look does not
do, and body files. A server may be at work meanwhile: what came after the look is not examined, what went is passed over, and what only looks
wrong because the spool has moved on is found out by a second look.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec

from penstock.spool.files import File, FileError
from penstock.spool.frame import (
    FOOTER_SIZE,
    FRAME_HEADER_SIZE,
    Damaged,
    FrameType,
    Identity,
    parse_footer,
    parse_frame_header,
)
from penstock.spool.index import Index
from penstock.spool.inspection import findings
from penstock.spool.inspection.access import examine_access, names_if_any
from penstock.spool.inspection.comparison import differences
from penstock.spool.inspection.doubts import settle_doubts
from penstock.spool.inspection.findings import Finding
from penstock.spool.inspection.quarantine_folder import reason_of
from penstock.spool.inspection.read_only import ReadOnlyFiles
from penstock.spool.inspection.stored import Gone, StoredReader, body_fault
from penstock.spool.inspection.view import SeenSegment, View, look, scan_beside_a_writer
from penstock.spool.names import BODIES, QUARANTINE, body_name, body_path, quarantine_path
from penstock.spool.scan import Damage
from penstock.spool.segment import SegmentReader

#: Findings of one kind that are told; the others are counted.
FINDINGS_LIMIT: Final = 200
_QUEUES_NAMED: Final = 5

#: Told what is being read, octets read so far, and octets in all as far as they are known.
Progress = Callable[[str, int, int], None]


class Examination(msgspec.Struct, frozen=True):
    """What was found. ``untold`` counts findings past the limit, by kind. ``is_complete`` False: something could not be read.

    ``segments``, ``bodies`` and ``octets`` were read; ``messages`` are queued, for ``recipients``.
    """

    findings: tuple[Finding, ...]
    untold: dict[str, int]
    is_complete: bool
    segments: int
    bodies: int
    octets: int
    messages: int

    @property
    def is_damaged(self) -> bool:
        """Whether anything that was found is damage."""
        return any(finding.is_damage for finding in self.findings)


def examine(files: ReadOnlyFiles, progress: Progress) -> Examination:
    """Read a spool whole. NewerFormat; FileError if its folders cannot be read; SpoolError as ``look``."""
    return _Examiner(files, progress).run()


class _Examiner:
    def __init__(self, files: ReadOnlyFiles, progress: Progress) -> None:
        self._files = files
        self._progress = progress
        self._found: list[Finding] = []
        self._counts: Counter[str] = Counter()
        self._is_complete = True
        self._octets = 0
        self._total = 0
        self._bodies_read = 0
        self._saved: set[str] = set()

    def run(self) -> Examination:
        """Everything."""
        for finding in examine_access(self._files):
            self._tell(finding)
        body_files = self._files.names(BODIES)
        self._saved = set(names_if_any(self._files, QUARANTINE))
        view = look(self._files, lambda path, _done, _known: self._progress(path, self._octets, self._total))
        self._total = sum(segment.size for segment in view.segments)
        self._names_and_numbers(view)
        for segment in view.segments:
            self._segment(view, segment)
        self._bodies(view, body_files)
        for finding in settle_doubts(self._files, view):
            self._tell(finding)
        self._quarantine()
        untold = {
            kind: number - FINDINGS_LIMIT for kind, number in self._counts.items() if number > FINDINGS_LIMIT
        }
        return Examination(
            tuple(self._found), untold, self._is_complete, len(view.segments), self._bodies_read, self._octets, view.queued.live
        )  # fmt: skip

    def _tell(self, finding: Finding) -> None:
        self._counts[finding.kind] += 1
        if self._counts[finding.kind] <= FINDINGS_LIMIT:
            self._found.append(finding)

    def _names_and_numbers(self, view: View) -> None:
        """What a look has found on its way."""
        for path, called in view.renamed:
            self._tell(findings.renamed_segment(path, called))
        for path, fault in view.unusable:
            self._tell(findings.unusable_segment(path, fault))
        for path in view.unfinished:
            self._tell(findings.unfinished(path))
        for path in view.foreign:
            self._tell(findings.foreign(path))
        numbers: dict[int, str] = {}
        for segment in view.segments:
            other = numbers.setdefault(segment.identity.number, segment.path)
            if other != segment.path:
                self._tell(findings.same_number(segment.path, other))

    # -- segments

    def _segment(self, view: View, segment: SeenSegment) -> None:
        self._progress(segment.path, self._octets, self._total)
        self._octets += segment.size
        if segment.fault is not None:
            self._tell(findings.damaged_header(segment.path, segment.fault))
        if segment.abandoned_at is not None:
            self._tell(findings.abandoned(segment.path, segment.abandoned_at))
        try:
            file = self._files.open(segment.path)
        except FileError as error:
            if error.errno != errno.ENOENT:
                self._unreadable(segment.path, error)
            return
        try:
            if segment.is_sealed:
                self._sealed(view, segment, file)
            else:
                self._unsealed(segment, file, is_newest=segment is view.segments[-1])
        except FileError as error:
            self._unreadable(segment.path, error)
        finally:
            file.close()

    def _unreadable(self, path: str, error: FileError) -> None:
        self._is_complete = False
        self._tell(findings.unreadable(path, str(error)))

    def _unsealed(self, segment: SeenSegment, file: File, *, is_newest: bool) -> None:
        """The look has read all of it."""
        identity, path = segment.identity, segment.path
        for damage in segment.damages:
            kind = _frame_type(file, identity, damage.offset)
            self._tell(findings.damaged_frame(path, damage, kind, self._copy_of(identity, damage.offset)))
        if segment.abandoned_at is not None:
            return
        if _was_sealed(file, identity, segment.end):
            if SegmentReader(file, identity, path).index() is None:
                self._tell(findings.unreadable_index(path, segment.end))
        elif segment.torn:
            self._tell(findings.torn_tail(path, segment.end, segment.torn, is_newest=is_newest))
        elif not is_newest:
            self._tell(findings.unsealed(path))

    def _sealed(self, view: View, segment: SeenSegment, file: File) -> None:
        """Its frames, and its index against them."""
        identity, path = segment.identity, segment.path
        indexed = SegmentReader(file, identity, path).index(segment.end)
        if indexed is None:
            return  # it was whole a moment ago, and is not read twice in vain: the next check will see it
        index = indexed[0]
        scanned = scan_beside_a_writer(file, identity, path, segment.end)
        damages = list(scanned.damages)
        if scanned.end < segment.end:
            reason = _reason(file, identity, path, scanned.end)
            damages.append(Damage(scanned.end, segment.end - scanned.end, reason, was_stored=True))
        for damage in damages:
            if damage.offset in index.messages.offset or damage.offset in index.changes.offset:
                self._tell(self._sealed_damage(view, path, damage, index))
            else:
                # the index was made after the damage, by a start: it does not know what lay here
                kind = _frame_type(file, identity, damage.offset)
                self._tell(findings.damaged_frame(path, damage, kind, self._copy_of(identity, damage.offset)))
        spans = [(damage.offset, damage.offset + damage.size) for damage in damages]
        fault = differences(index, scanned.index, spans)
        if fault is not None:
            self._tell(findings.damaged_index(path, fault))

    def _sealed_damage(self, view: View, path: str, damage: Damage, index: Index) -> Finding:
        """What a damaged frame has cost, as the index and all later frames have it."""
        queued, messages, recipients = view.queued, 0, 0
        names: set[str] = set()
        for offset in sorted(set(index.messages.offset)):
            if damage.offset <= offset < damage.offset + damage.size:
                for row in queued.live_at(index.number, offset):
                    messages += 1
                    recipients += len(queued.waiting_recipients(row))
                    names.add(str(queued.message(row).queue))
        shown = sorted(names)[:_QUEUES_NAMED]
        if len(names) > _QUEUES_NAMED:
            shown.append(f"and {len(names) - _QUEUES_NAMED} more queues")
        return findings.damaged_sealed_frame(path, damage, messages, recipients, shown)

    def _copy_of(self, identity: Identity, offset: int) -> str | None:
        """The copy of damaged octets in quarantine, told with them and not again."""
        path = quarantine_path(identity, offset)
        name = path.rpartition("/")[2]
        if name not in self._saved:
            return None
        self._saved.discard(name)
        return path

    # -- body files

    def _bodies(self, view: View, body_files: list[str]) -> None:
        """Those of queued messages against their checksums; the others are named."""
        used: dict[str, list[tuple[int, int]]] = {}
        for frame, name in view.bodies.items():
            used.setdefault(name, []).append(frame)
        bad: dict[str, Finding] = {}
        segments = {item.identity.number: item.identity for item in view.segments}
        reader = StoredReader(self._files, segments)
        try:
            for name, frames in used.items():
                messages = sum(len(view.queued.live_at(*frame)) for frame in frames)
                finding = self._body(reader, name, frames[0], messages)
                if finding is not None:
                    bad[name] = finding
        finally:
            reader.close()
        orphans = []
        for file_name in body_files:
            known = body_name(file_name)
            if known is None:
                self._tell(findings.foreign(f"{BODIES}/{file_name}"))
            elif known not in used:
                orphans.append(known)
        if bad or orphans:
            self._settle_bodies(bad, orphans)

    def _body(self, reader: StoredReader, name: str, frame: tuple[int, int], messages: int) -> Finding | None:
        path = body_path(name)
        self._progress(path, self._octets, self._total)
        try:
            body = reader.body(*frame)
            file = self._files.open(path)
        except (Gone, Damaged):
            return None  # the frame is gone, or damaged itself, and told
        except FileError as error:
            if error.errno == errno.ENOENT:
                return findings.bad_body(path, "the file is missing", messages, is_missing=True)
            self._unreadable(path, error)
            return None
        try:
            fault = body_fault(file, body) if body is not None else None
            self._octets += file.size()
            self._bodies_read += 1
        except FileError as error:
            self._unreadable(path, error)
            return None
        finally:
            file.close()
        return findings.bad_body(path, fault, messages, is_missing=False) if fault is not None else None

    def _settle_bodies(self, bad: dict[str, Finding], orphans: list[str]) -> None:
        """A second look: what was delivered meanwhile needs no body, and what came meanwhile has one."""
        used = set(look(self._files).bodies.values())
        for name, finding in bad.items():
            if name in used:
                self._tell(finding)
        for name in orphans:
            if name not in used:
                try:
                    size = self._files.attributes(body_path(name)).size
                except FileError:
                    continue
                self._tell(findings.orphan(body_path(name), size))

    # -- quarantine

    def _quarantine(self) -> None:
        """What was found damaged before, and is not told already."""
        for name in sorted(self._saved):
            path = f"{QUARANTINE}/{name}"
            try:
                reason, size = reason_of(self._files, name)
            except FileError as error:
                if error.errno != errno.ENOENT:
                    self._unreadable(path, error)
                continue
            if reason is None:
                self._tell(findings.foreign(path))
            else:
                self._tell(findings.quarantined(path, reason, size))


def _frame_type(file: File, identity: Identity, offset: int) -> int | None:
    """The type of a damaged frame, if its header is right."""
    try:
        return parse_frame_header(file.read(FRAME_HEADER_SIZE, offset), identity, offset).type
    except Damaged:
        return None


def _reason(file: File, identity: Identity, path: str, offset: int) -> str:
    try:
        SegmentReader(file, identity, path).frame(offset)
    except Damaged as damage:
        return str(damage)
    return "what is here goes on past where the index begins"


def _was_sealed(file: File, identity: Identity, end: int) -> bool:
    """Whether a segment that is read without its index once had one that was written to its end."""
    size = file.size()
    at = size - FOOTER_SIZE
    if at >= end and parse_footer(file.read(FOOTER_SIZE, at), identity, at) is not None:
        return True
    try:
        head = parse_frame_header(file.read(FRAME_HEADER_SIZE, end), identity, end)
    except Damaged:
        return False
    return head.type == FrameType.SEAL and end + head.size + FOOTER_SIZE == size
