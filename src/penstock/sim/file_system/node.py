"""A file and a folder: what they hold now, and what they may hold after a power cut.

A file's ``content`` is what a reader sees, without the zeros at its end, so a file that is allocated but not written costs nothing. For
each sector that was written since the last sync, ``versions`` has all that it has held since, the synced one first.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from penstock.sim.file_system.faults import FailedSync

SECTOR: Final = 512
BLOCK: Final = 4096


class Version(NamedTuple):
    """What a sector held from a step on; the step changed the octets from ``start`` to ``end``. Short where the file ended in it."""

    step: int
    octets: bytes
    start: int
    end: int


class FileNode:
    """A file, by whatever names."""

    __slots__ = (
        "clean",
        "content",
        "is_linked",
        "is_size_lost",
        "opened",
        "reserved",
        "size",
        "sizes",
        "versions",
    )

    def __init__(self, content: bytes | bytearray = b"", size: int = 0) -> None:
        self.content = content
        self.size = size
        #: sector -> what it has held since the last sync
        self.versions: dict[int, list[Version]] = {}
        #: step -> size from then on; the synced one first, by step 0
        self.sizes: list[tuple[int, int]] = [(0, size)]
        #: sectors that a failed sync has marked clean
        self.clean: set[int] = set()
        self.is_size_lost = False
        self.reserved = blocks(size)
        self.is_linked = True
        self.opened = 0

    @property
    def is_settled(self) -> bool:
        """Whether a power cut changes nothing."""
        return not self.versions and len(self.sizes) == 1

    def frozen(self) -> bytes:
        """The content, not to be changed any more in place: the next write makes a copy."""
        if isinstance(self.content, bytearray):
            self.content = bytes(self.content)
        return self.content

    def read(self, size: int, offset: int) -> bytes:
        """As File.read."""
        size = max(0, min(size, self.size - offset))
        return bytes(self.content[offset : offset + size]).ljust(size, b"\0")

    def write(self, step: int, data: bytes, offset: int) -> None:
        """Write, and remember what was there."""
        if not data:
            return
        end = offset + len(data)
        first, last = offset // SECTOR, (end - 1) // SECTOR
        self._remember(range(first, last + 1))
        content = self._own()
        if len(content) < offset:
            content.extend(bytes(offset - len(content)))
        content[offset:end] = data
        if end > self.size:
            self._resize(step, end)
        for sector in range(first, last + 1):
            base = sector * SECTOR
            start, stop = max(offset - base, 0), min(end - base, SECTOR)
            self.versions[sector].append(Version(step, self._sector(sector), start, stop))
        if self.clean:
            self.clean.difference_update(range(first, last + 1))

    def truncate(self, step: int, size: int) -> None:
        """Cut, or continue with zeros."""
        if size < len(self.content):
            touched = range(size // SECTOR, (len(self.content) - 1) // SECTOR + 1)
            self._remember(touched)
            del self._own()[size:]
            self._resize(step, size)
            for sector in touched:
                octets = self._sector(sector)
                self.versions[sector].append(Version(step, octets, len(octets), SECTOR))
            self.clean.difference_update(touched)
        elif size != self.size:
            self._resize(step, size)

    def sync(self) -> None:
        """All is on stable storage but what a failed sync has marked clean."""
        self.versions = {sector: self.versions[sector] for sector in self.clean}
        if not self.is_size_lost:
            self.sizes = [(0, self.size)]

    def fail_sync(self, how: FailedSync) -> None:
        """See FailedSync."""
        if how is FailedSync.MARKED_CLEAN:
            self.clean = set(self.versions)
            self.is_size_lost = len(self.sizes) > 1
        elif how is FailedSync.DROPPED:
            content = self._own()
            patch(content, {sector: held[0].octets for sector, held in self.versions.items()})
            del content[self.size :]
            self.versions, self.clean = {}, set()

    def spoil(self, offset: int) -> None:
        """Another octet is at ``offset``, wherever that is held: now, and after a power cut."""
        sector, place = divmod(offset, SECTOR)
        if sector in self.versions:
            self.versions[sector] = [
                version._replace(octets=_spoiled(version.octets, place))
                if place < len(version.octets)
                else version
                for version in self.versions[sector]
            ]
        if offset < len(self.content):
            self.content = bytearray(_spoiled(self.content, offset))

    def copy(self) -> FileNode:
        """Another file in the same state, which nobody has open."""
        other = FileNode(self.frozen(), self.size)
        other.versions = {sector: list(held) for sector, held in self.versions.items()}
        other.sizes = list(self.sizes)
        other.clean = set(self.clean)
        other.is_size_lost = self.is_size_lost
        other.reserved = self.reserved
        other.is_linked = self.is_linked
        return other

    def _own(self) -> bytearray:
        if not isinstance(self.content, bytearray):
            self.content = bytearray(self.content)
        return self.content

    def _resize(self, step: int, size: int) -> None:
        self.size = size
        self.sizes.append((step, size))
        self.is_size_lost = False

    def _remember(self, sectors: range) -> None:
        for sector in sectors:
            if sector not in self.versions:
                self.versions[sector] = [Version(0, self._sector(sector), 0, 0)]

    def _sector(self, sector: int) -> bytes:
        base = sector * SECTOR
        length = max(0, min(SECTOR, self.size - base))
        return bytes(self.content[base : base + length]).ljust(length, b"\0")


class FolderNode:
    """A folder: the names in it now, and those on stable storage."""

    __slots__ = ("entries", "settled")

    def __init__(self) -> None:
        self.entries: dict[str, Node] = {}
        self.settled: dict[str, Node] = {}


Node = FileNode | FolderNode


def patch(content: bytearray, sectors: dict[int, bytes]) -> None:
    """Put these sectors into the content, which is continued with zeros where it is too short."""
    for sector, octets in sectors.items():
        base = sector * SECTOR
        if octets and len(content) < base:
            content.extend(bytes(base - len(content)))
        if octets or base < len(content):
            content[base : base + SECTOR] = octets.ljust(SECTOR, b"\0")


def _spoiled(octets: bytes | bytearray, at: int) -> bytes:
    return bytes(octets[:at]) + bytes([octets[at] ^ 0x55]) + bytes(octets[at + 1 :])


def blocks(size: int) -> int:
    """How many blocks so many octets take."""
    return -(-size // BLOCK)
