"""The accounting of the event log: whether every recipient that was accepted is settled once, or queued.

``accepted + generated + moved_in = delivered + bounced + expired + suppressed + dropped + moved_out + quarantined + queued``, in
recipients, over all and by tenant, from the event files alone. The first file's opening says what was counted in files that are gone; every
other opening is held against what comes before it. ``queued`` is counted by recipient: those that were accepted and not settled, and what is
left of those that were queued before the first file, less what was taken out by orders whose events were not wanted: only sums tell of that.

Memory goes with what is queued, not with the log: a message is remembered, as a mask of its waiting recipients, until the last is settled.
What is settled without being remembered is looked for in a second reading: either it was settled before, or it was accepted in a file that is
gone, or never. Events of one message may be in any order, as a crash can leave them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from penstock.events.event import Counts, TenantCounts
from penstock.events.files import log_files
from penstock.events.packing import opened_with_progress
from penstock.events.tail import LINE_LIMIT
from penstock.events.totals import INCOMING, OUTGOING, Totals, recipients_of

#: Ids that are named with a finding, and kinds of findings by tenant or file that are kept apart.
EXAMPLES: Final = 10
_FINDING_LIMIT: Final = 1000
#: Messages that were settled and are not known, which are remembered; of more, only the numbers are told.
_UNKNOWN_LIMIT: Final = 1_000_000
_CHUNK: Final = 1024 * 1024
_RECEPTION: Final = b'{"type":"Reception","id":"'
_SETTLING: Final = frozenset({"Delivery", "Bounce", "Expiration", "AdminBounce", "AdminDelete"})
#: What orders change of which there is no event.
_UNLOGGED: Final = frozenset({"dropped", "moved_in", "moved_out"})

_NOTHING: Final = Counts()
C = TypeVar("C", bound=Counts)
_Gap = dict[tuple[str | msgspec.UnsetType | None, str], int]

#: Told how many octets were read, and of how many.
Progress = Callable[[int, int], None]


class Finding(msgspec.Struct):
    """Something that does not hold: what, how often, of which tenant (absent: of all), and some ids of messages or names of files."""

    what: str
    count: int = 0
    tenant: str | msgspec.UnsetType | None = msgspec.UNSET
    examples: list[str] = []


class Report(msgspec.Struct):
    """What was found. ``since`` is the time of the first event, "" if there is none; ``unreadable`` lines are no events."""

    files: int
    events: int
    unreadable: int
    since: str
    totals: Counts
    tenants: list[TenantCounts]
    findings: list[Finding]

    @property
    def holds(self) -> bool:
        """Whether nothing was found that does not hold."""
        return not self.findings


class _Entry(msgspec.Struct, gc=False):
    """The fields of a line that are looked at."""

    type: str = ""
    id: str = ""
    event_id: str = ""
    event_time: str = ""
    tenant: str | None = None
    recipient: str | list[str] = ""
    num_recipients: int = 0
    previous_tenant: str | None = None
    totals: Counts | None = None
    tenant_totals: tuple[TenantCounts, ...] = ()


_decode = msgspec.json.Decoder(_Entry).decode


class Ledger:
    """Reads a log once. ``report`` says what it adds up to."""

    def __init__(self, directory: Path, progress: Progress = lambda done, size: None) -> None:
        self._files = log_files(directory)
        self._progress = progress
        self._totals = Totals()
        #: by tenant: recipients that were queued before the first opening, and of those that were accepted since, the ones that wait
        self._carried: Counter[str | None] = Counter()
        self._waiting: Counter[str | None] = Counter()
        self._quarantined: Counter[str | None] = Counter()
        #: the first opening, and the recipients that were queued less than its events say
        self._first = Totals()
        self._unlogged_before: Counter[str | None] = Counter()
        #: by message: the mask of recipients that wait
        self._open: dict[bytes, int] = {}
        #: settled and not accepted so far: the mask of recipients, and the tenant
        self._unknown: dict[bytes, tuple[int, str | None]] = {}
        self._findings: dict[tuple[str, str | msgspec.UnsetType | None], Finding] = {}
        #: files whose openings are not what comes before them, and how far they are from that
        self._doubts: list[tuple[str, _Gap]] = []
        self._file = ""
        self._events = self._unreadable = self._openings = 0
        self._since = ""

    def report(self) -> Report:
        """Read everything, and say what was found. OSError if a file cannot be read."""
        for line in self._lines():
            entry = _entry(line)
            if entry is None:
                self._unreadable += 1
            else:
                self._add(entry)
        self._look_again()
        self._balance()
        tenants = [self._with_queue(counts) for counts in self._totals.tenants]
        total = msgspec.structs.replace(
            self._totals.total, queued=sum(self._queued(counts.tenant) for counts in tenants)
        )
        return Report(
            len(self._files),
            self._events,
            self._unreadable,
            self._since,
            total,
            tenants,
            list(self._findings.values()),
        )

    def _with_queue(self, counts: TenantCounts) -> TenantCounts:
        return msgspec.structs.replace(counts, queued=self._queued(counts.tenant))

    # -- reading

    def _lines(self) -> Iterator[bytes]:
        sizes = [_size(path) for path in self._files]
        size, before = sum(sizes), 0
        for path, own_size in zip(self._files, sizes, strict=True):
            self._file = path.name
            rest = b""
            with opened_with_progress(path) as (source, done):
                while chunk := source.read(_CHUNK):
                    *lines, rest = (rest + chunk).split(b"\n")
                    yield from lines
                    if len(rest) > LINE_LIMIT:  # no line of ours: it counts as one that is no event
                        yield b""
                        rest = b""
                    self._progress(before + done(), size)
            before += own_size

    def _add(self, entry: _Entry) -> None:
        kind = entry.type
        if kind == "Totals":
            self._opening(entry)
            return
        self._events += 1
        if not self._since:
            self._since = entry.event_time
        self._totals.add((entry,))
        if kind == "Reception":
            self._accept(entry)
        elif kind in _SETTLING:
            self._settle(entry)
        elif kind == "AdminRebind":
            self._rebind(entry)
        elif kind == "Quarantine":
            self._quarantined[self._totals.name_of(entry.tenant)] += entry.num_recipients

    def _accept(self, entry: _Entry) -> None:
        key, tenant = _key(entry.id), self._totals.name_of(entry.tenant)
        mask = (1 << recipients_of(entry)) - 1
        if key in self._open:
            self._find("accepted twice", tenant, entry.id)
            return
        settled, other = self._unknown.pop(key, (0, None))
        waiting = mask & ~settled
        self._waiting[tenant] += mask.bit_count()
        if settled:
            self._waiting[other] -= (mask & settled).bit_count()
        if waiting:
            self._open[key] = waiting

    def _settle(self, entry: _Entry) -> None:
        key, tenant = _key(entry.id), self._totals.name_of(entry.tenant)
        place = entry.event_id[len(entry.id) + 1 :].partition("-")[0]
        bit = 1 << int(place) if place.isascii() and place.isdigit() and len(place) < 6 else 1
        waiting = self._open.get(key)
        if waiting is None:
            known, before = self._unknown.get(key, (0, tenant))
            if known & bit:
                self._find("settled twice", tenant, entry.id)
            elif known or len(self._unknown) < _UNKNOWN_LIMIT:
                self._unknown[key] = (known | bit, before)
                self._waiting[tenant] -= 1
                self._waiting[before] += 1
        elif not waiting & bit:
            self._find("settled twice", tenant, entry.id)
        else:
            self._waiting[tenant] -= 1
            if waiting == bit:
                del self._open[key]
            else:
                self._open[key] = waiting ^ bit

    def _rebind(self, entry: _Entry) -> None:
        """Recipients wait for another tenant now. Those of messages that are not known were queued before the first file, or come later."""
        before = self._totals.name_of(entry.previous_tenant)
        after = self._totals.name_of(entry.tenant)
        counts = self._waiting if _key(entry.id) in self._open else self._carried
        counts[before] -= entry.num_recipients
        counts[after] += entry.num_recipients

    # -- openings

    def _opening(self, entry: _Entry) -> None:
        """Hold sums, what a file says of those before it or what comes later in it, against what was counted.

        A power cut takes lines that were not synced, perhaps not those of a later file; they are made again in the next run's file. So
        a file is wrong only if no later one is right.
        """
        total, tenants = entry.totals or Counts(), entry.tenant_totals
        for counts in (total, *tenants):
            if not _is_balanced(counts):
                self._find("sums that are not equal in themselves", msgspec.UNSET, self._file)
        said = Totals(total, tenants)
        is_first = not self._openings and not self._events
        self._openings += 1
        if is_first:
            self._totals = said
            self._first = Totals(said.total, said.tenants)
            self._carried.update({counts.tenant: counts.queued for counts in said.tenants})
            self._unlogged_before.update({counts.tenant: counts.unlogged for counts in said.tenants})
            return
        gap = _gap(said, self._totals)
        if gap and (_is_of_orders(gap, said, self._totals) or self._forgets_first(said)):
            self._totals, gap = said, {}
        if not gap:
            self._doubts.clear()
        elif (not self._doubts or self._doubts[-1][1] != gap) and len(self._doubts) < _FINDING_LIMIT:
            self._doubts.append((self._file, gap))

    def _forgets_first(self, said: Totals) -> bool:
        """Whether the file that was before the first was lost in a power cut, and all that its successor opened with has been made again."""
        first = self._first
        alone = _without(self._totals, first)
        gap = _gap(said, alone)
        if not first.total.accepted or (gap and not _is_of_orders(gap, said, alone)):
            return False
        for counts in first.tenants:
            self._carried[counts.tenant] -= counts.queued
        self._unlogged_before.clear()
        self._first = Totals()
        return True

    # -- the end

    def _look_again(self) -> None:
        """Look whether what is settled and not known was accepted and settled before, and whether what waits was accepted twice."""
        if not self._open and not self._unknown:
            return
        accepted: Counter[bytes] = Counter()
        for line in self._lines():
            if line.startswith(_RECEPTION):
                key = _key(line[len(_RECEPTION) : len(_RECEPTION) + 32].decode("ascii", "replace"))
                if (key in self._unknown or key in self._open) and _entry(line) is not None:
                    accepted[key] += 1
        for key, times in accepted.items():
            if key in self._unknown:
                _, tenant = self._unknown.pop(key)
                self._find("settled twice", tenant, _name(key))
            elif times > 1:
                self._find("accepted twice", msgspec.UNSET, _name(key))

    def _balance(self) -> None:
        """What was accepted in files that are gone may be settled, and no more than that."""
        for file, gap in self._doubts:
            what = f"the sums that a file opens with are not those of the files before it ({_told(gap)})"
            self._find(what, msgspec.UNSET, file)
        settled: Counter[str | None] = Counter()
        examples: dict[str | None, list[str]] = {}
        for key, (mask, tenant) in self._unknown.items():
            settled[tenant] += mask.bit_count()
            if len(names := examples.setdefault(tenant, [])) < EXAMPLES:
                names.append(_name(key))
        for tenant, count in settled.items():
            too_many = count - max(0, self._carried[tenant])
            if too_many > 0:
                self._find("settled without being accepted", tenant, *examples[tenant], count=too_many)
            self._carried[tenant] -= count
        for counts in self._totals.tenants:
            if difference := abs(counts.queued - self._queued(counts.tenant)):
                self._find("too many or too few for both sides to be equal", counts.tenant, count=difference)

    def _queued(self, tenant: str | None) -> int:
        unlogged = self._totals.unlogged_of(tenant) - self._unlogged_before[tenant]
        return self._carried[tenant] + self._waiting[tenant] - self._quarantined[tenant] - unlogged

    def _find(
        self, what: str, tenant: str | msgspec.UnsetType | None, *examples: str, count: int = 1
    ) -> None:
        key = (what, tenant)
        found = self._findings.get(key)
        if found is None:
            if len(self._findings) >= _FINDING_LIMIT:
                key = ("more than can be told apart", msgspec.UNSET)
            found = self._findings.setdefault(key, Finding(key[0], tenant=key[1]))
        found.count += count
        found.examples += examples[: EXAMPLES - len(found.examples)]


def _size(path: Path) -> int:
    """Octets on the disk, about; of a file that is gone, or packed, by now, 0."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _entry(line: bytes) -> _Entry | None:
    try:
        return _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _key(identifier: str) -> bytes:
    """A message's id in half of the memory."""
    try:
        return bytes.fromhex(identifier)
    except ValueError:  # not one of ours
        return identifier.encode("utf-8", "replace")


def _name(key: bytes) -> str:
    """The id that it is the key of."""
    return key.hex() if len(key) == 16 else key.decode("utf-8", "replace")


def _is_balanced(counts: Counts) -> bool:
    incoming: int = sum(getattr(counts, name) for name in INCOMING)
    outgoing: int = sum(getattr(counts, name) for name in OUTGOING)
    return incoming == outgoing + counts.queued


def _without(counted: Totals, before: Totals) -> Totals:
    """Sums of what was counted since ``before``."""
    known = {counts.tenant: counts for counts in before.tenants}
    tenants = [_less(counts, known.get(counts.tenant, _NOTHING)) for counts in counted.tenants]
    return Totals(_less(counted.total, before.total), tenants)


def _less(counts: C, before: Counts) -> C:
    names = Counts.__struct_fields__
    return msgspec.structs.replace(
        counts, **{name: getattr(counts, name) - getattr(before, name) for name in names}
    )


def _gap(said: Totals, counted: Totals) -> _Gap:
    """What a file says that was not counted, where they differ: numbers by tenant and name; those over all have the tenant UNSET."""
    before = {counts.tenant: counts for counts in counted.tenants}
    pairs: list[tuple[str | msgspec.UnsetType | None, Counts, Counts]] = [
        (msgspec.UNSET, said.total, counted.total)
    ]
    pairs += [(counts.tenant, counts, before.pop(counts.tenant, _NOTHING)) for counts in said.tenants]
    pairs += [(tenant, _NOTHING, counts) for tenant, counts in before.items()]
    return {
        (tenant, name): difference
        for tenant, after, now in pairs
        for name in (*INCOMING, *OUTGOING)
        if (difference := getattr(after, name) - getattr(now, name))
    }


def _is_of_orders(gap: _Gap, said: Totals, counted: Totals) -> bool:
    """Whether a gap is what orders have left of which no events were wanted: as many are not queued any more as the sums say of those."""
    if not {name for _, name in gap} <= _UNLOGGED:
        return False
    fewer: Counter[str | msgspec.UnsetType | None] = Counter()
    for (tenant, name), difference in gap.items():
        fewer[tenant] += -difference if name in INCOMING else difference
    return all(
        number
        == (
            said.total.unlogged - counted.total.unlogged
            if isinstance(tenant, msgspec.UnsetType)
            else said.unlogged_of(tenant) - counted.unlogged_of(tenant)
        )
        for tenant, number in fewer.items()
    )


def _told(gap: _Gap) -> str:
    """A gap in words."""
    over_all = [f"{name} {number:+d}" for (tenant, name), number in gap.items() if tenant is msgspec.UNSET]
    words = over_all or [
        f"{name} of {tenant or 'no tenant'} {number:+d}" for (tenant, name), number in gap.items()
    ]
    return ", ".join(words[:EXAMPLES])
