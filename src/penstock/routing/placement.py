"""Which lane is the home of a path: one source to one site.

Three answers, the first that there is:

    pins     domains that ``[[lane]]`` gives to a lane of its own; the site that such a domain is routed to goes with it
    table    sites whose home is settled: that of a pinned domain, or a heavy one that is kept apart
    hash     any other: the general lane with the highest digest of its own name, the source and the site (rendezvous hashing)

So every process finds the same home without asking, a lane that comes takes its share of each other lane's paths and nothing else moves, and
one that goes leaves its paths to all others. A table or a pin that names a lane which is not there counts for nothing: the hash answers.

D. G. Thaler, C. V. Ravishankar, Using Name-Based Mappings to Increase Hit Rates, IEEE/ACM Transactions on Networking 6(1), 1998.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Final

import msgspec

#: The source of a path while there are no others.
UNSPECIFIED: Final = "unspecified"
#: A site is heavy from this share of what a lane has on average; sites below it are many, and the hash spreads them.
HEAVY: Final = 0.25
#: A table is proposed only where it takes this share off the fullest lane: moving mail costs more than a little unevenness.
WORTH_IT: Final = 0.1
#: Homes that a process remembers; beyond it all are found anew.
_REMEMBERED: Final = 65_536


class Placement(msgspec.Struct, frozen=True):
    """Where paths live. ``general`` are the lanes that the hash spreads over, at least one; ``dedicated`` those of ``[[lane]]``.

    ``pins`` has lanes by domain; ``*.example.com`` are all names below that one. ``table`` has lanes by site.
    """

    general: tuple[str, ...]
    dedicated: tuple[str, ...] = ()
    pins: dict[str, str] = {}
    table: dict[str, str] = {}

    def home(self, site: str, source: str = UNSPECIFIED) -> str:
        """The lane of the path from ``source`` to ``site``."""
        settled = self.table.get(site)
        if settled is not None and self.has(settled):
            return settled
        return rendezvous(self.general, site, source)

    def pinned(self, domain: str) -> str | None:
        """The lane that ``domain`` is given to by name, by the longest pin that it matches; None if there is none."""
        if not self.pins:
            return None
        lane = self.pins.get(domain)
        rest = domain
        while lane is None and "." in rest:
            rest = rest.partition(".")[2]
            lane = self.pins.get(f"*.{rest}")
        return lane if lane is not None and self.has(lane) else None

    def has(self, lane: str) -> bool:
        """Whether there is such a lane."""
        return lane in self.general or lane in self.dedicated


#: A server of one lane.
ALONE: Final = Placement(("0",))


def rendezvous(lanes: tuple[str, ...], site: str, source: str = UNSPECIFIED) -> str:
    """The lane with the highest digest; ValueError without any."""
    if len(lanes) == 1:
        return lanes[0]
    what = f"\0{source}\0{site}"
    return max(lanes, key=lambda lane: (blake2b(f"{lane}{what}".encode(), digest_size=8).digest(), lane))


class Homes:
    """A process's view of a placement: which lanes are others', remembered. ``own`` is the lane of the process.

    ``found`` is told once of a site that goes with a pinned domain and is not in the table: it is for others to know, too. Here it holds
    from then on.
    """

    __slots__ = ("_by_site", "_found", "_learned", "_pinned", "own", "placement")

    def __init__(
        self, placement: Placement, own: str, found: Callable[[str, str], None] = lambda site, lane: None
    ) -> None:
        self.placement = placement
        self.own = own
        self._found = found
        self._by_site: dict[str, str | None] = {}
        #: by domain, as the placement has it
        self._pinned: dict[str, str | None] = {}
        #: by site, what pinned domains have shown
        self._learned: dict[str, str] = {}

    def use(self, placement: Placement) -> None:
        """Go by another placement from now on."""
        self.placement = placement
        self._by_site.clear()
        self._pinned.clear()
        self._learned = {
            site: lane for site, lane in self._learned.items() if lane in placement.pins.values()
        }

    @property
    def is_alone(self) -> bool:
        """Whether this lane is everybody's home, so that nobody needs to be asked about a domain."""
        placement = self.placement
        return placement.general == (self.own,) and not placement.dedicated

    def elsewhere(self, site: str) -> str | None:  # hot: micro_handover
        """The lane that a site has its home in; None: in ours."""
        try:
            return self._by_site[site]
        except KeyError:
            return self._find(site)

    def routed(self, domain: str, site: str) -> str | None:
        """The same, where ``domain`` is known to be routed to ``site``; "": no domain is at hand."""
        placement = self.placement
        if placement.pins and site not in self._learned:
            lane = self._pin_of(domain)
            # of two lanes that are given domains of one site, the table's has it
            if lane is not None and placement.table.get(site) not in placement.dedicated:
                self._learn(site, lane)
        return self.elsewhere(site)

    def _pin_of(self, domain: str) -> str | None:
        try:
            return self._pinned[domain]
        except KeyError:
            if len(self._pinned) >= _REMEMBERED:
                self._pinned.clear()
            answer = self._pinned[domain] = self.placement.pinned(domain)
            return answer

    def _learn(self, site: str, lane: str) -> None:
        if len(self._learned) >= _REMEMBERED:
            self._learned.clear()
        self._learned[site] = lane
        self._by_site.pop(site, None)
        self._found(site, lane)

    def _find(self, site: str) -> str | None:
        home = self._learned.get(site) or self.placement.home(site)
        if len(self._by_site) >= _REMEMBERED:
            self._by_site.clear()
        answer = self._by_site[site] = home if home != self.own else None
        return answer


def loads(placement: Placement, counts: Mapping[str, float]) -> dict[str, float]:
    """What each general lane has of ``counts``, which are by site, in any unit."""
    found = dict.fromkeys(placement.general, 0.0)
    for site in sorted(counts):
        lane = placement.home(site)
        if lane in found:
            found[lane] += counts[site]
    return found


def propose(placement: Placement, counts: Mapping[str, float]) -> dict[str, str]:
    """The table that keeps heavy sites apart, by what was counted for each site: messages, octets or seconds.

    Heavy sites, the heaviest first, stay where they are while that lane has room for them, and else go to the emptiest; all others stay with
    the hash. The present table, if a new one would not be worth it. Homes in dedicated lanes are kept.
    """
    kept = {site: lane for site, lane in placement.table.items() if lane in placement.dedicated}
    bare = msgspec.structs.replace(placement, table=kept)
    at_present = loads(placement, counts)
    fair = sum(at_present.values()) / len(at_present)
    heavy = sorted(
        (
            site
            for site, count in counts.items()
            if count > 0 and count >= fair * HEAVY and bare.home(site) in at_present
        ),
        key=lambda site: (-counts[site], site),
    )
    filled = loads(bare, {site: count for site, count in counts.items() if site not in set(heavy)})
    table = dict(kept)
    for site in heavy:
        count = counts[site]
        emptiest = min(filled, key=filled.__getitem__)
        present = placement.home(site)
        lane = present if filled[present] + count <= max(fair, filled[emptiest] + count) else emptiest
        filled[lane] += count
        if lane != bare.home(site):
            table[site] = lane
    if max(filled.values()) > max(at_present.values()) * (1 - WORTH_IT):
        return dict(placement.table)
    return table
