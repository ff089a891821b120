"""What is said about routes, and what that means for the mail of a hop.

A site whose home is another lane counts when it is answered a second time, when the first answer is not believed any more: mail would go to and fro
with a domain whose MX hosts change with every answer.
"""

from __future__ import annotations

from penstock.mail.reply import Reply
from penstock.queueing.backlog import Backlog
from penstock.queueing.holds import Hold
from penstock.queueing.instants import SECOND
from penstock.queueing.places import Places
from penstock.queueing.queues import Hop
from penstock.routing.plan import Route


class Routes:
    """See the module."""

    __slots__ = ("_backlog", "_places")

    def __init__(self, places: Places, backlog: Backlog) -> None:
        self._places = places
        self._backlog = backlog

    def found(self, hop: Hop, route: Route, until: int, now: int) -> None:
        """The hop's mail goes by ``route``, which is known until ``until``."""
        hop.is_resolving = False
        hop.hold = None
        self._places.timers.cancel(hop)
        hop.until = max(until, now + 1)
        lane = self._places.home(hop.name, route.site)
        path = self._places.paths.get(route.site)
        if path is not None:
            path.route = route
            if path.lane != lane:
                self._places.supply.use_lane(path, lane, now)
                self._places.gates.test(path, now)
                self._places.supply.serve(path, now)
        if self._is_doubtful(hop, route, lane, now):
            return
        hop.route = route
        hop.cursor = hop.first
        if hop.cursor is not None:
            self._backlog.add(hop)

    def _is_doubtful(self, hop: Hop, route: Route, lane: str | None, now: int) -> bool:
        """Whether the hop's mail stays on its old route until the new one is answered again."""
        old = hop.route
        if (
            old is None
            or old.site == route.site
            or lane == self._places.home(hop.name, old.site)
            or (hop.candidate == route.site and now >= hop.confirm_at)
        ):
            hop.candidate = ""
            return False
        if hop.candidate != route.site:
            hop.candidate = route.site
            hop.confirm_at = hop.until
        return True

    def failed(self, hop: Hop, reply: Reply, until: int, now: int, *, is_permanent: bool) -> None:
        """The hop has no route, ever or until ``until``: its mail fails with ``reply``, or is held until then where it stands on no path."""
        hop.is_resolving = False
        if is_permanent:
            hop.hold = None
            self._places.timers.cancel(hop)
            hop.route = hop.cursor = None
            hop.until = 0
            if hop.first is not None:
                hop.doom = reply
                self._backlog.add(hop)
        elif hop.users:
            release = max(until, now + SECOND)
            hop.hold = Hold("route", str(reply), hop.hold.since if hop.hold is not None else now, release)
            self._places.timers.set(hop, release)
