"""Which lanes settled sites live in: found by lanes, told to all of them, and kept for the next start."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from penstock.supervisor.state import State, StateError

LOG = logging.getLogger(__name__)

#: Homes of sites that are remembered; a site more is found anew by each lane.
TABLE_LIMIT: Final = 65_536


class SettledHomes:
    """``table`` has lanes by site. ``aside`` makes a call that blocks; ``tell`` is told of each new table."""

    def __init__(
        self,
        state: State,
        lanes: frozenset[str],
        aside: Callable[[Callable[[], None]], Awaitable[None]],
        tell: Callable[[dict[str, str]], None],
    ) -> None:
        self._state = state
        self._lanes = lanes
        self._aside = aside
        self._tell = tell
        self._writing: asyncio.Task[None] | None = None
        self._is_stale = False
        self.table = {site: lane for site, lane in state.placement().items() if lane in lanes}

    def found(self, site: str, lane: str) -> None:
        """A site goes with a domain that was given to this dedicated lane."""
        if lane not in self._lanes or self.table.get(site) == lane:
            return
        if len(self.table) >= TABLE_LIMIT:
            LOG.warning("site %s: %d homes of sites are remembered at most", site, TABLE_LIMIT)
            return
        self.table = {**self.table, site: lane}
        self._tell(self.table)
        self._is_stale = True
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name="keep homes of sites")

    async def close(self) -> None:
        """Wait until what was found is kept."""
        if self._writing is not None:
            await self._writing

    async def _write(self) -> None:
        while self._is_stale:
            self._is_stale = False
            try:
                await self._aside(partial(self._state.keep_placement, self.table))
            except StateError as error:
                LOG.error("homes of sites are not kept, and will be found again: %s", error)
