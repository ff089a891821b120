"""Makes a connection of a path: to the first of its targets that answers, introduces itself, and is not ourselves.

What comes of it is a value; the lane tells the scheduler.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

import msgspec

from penstock.lane.connection import LaneConnection, Owner
from penstock.mail.ids import IdSource, SessionId
from penstock.mail.ports import Clock
from penstock.mail.records import INTERNAL
from penstock.mail.reply import Reply, reply
from penstock.net.router import Router
from penstock.queueing.queues import Path
from penstock.routing.plan import Unroutable
from penstock.routing.targets import Target

LOG = logging.getLogger(__name__)

_LOOPS_BACK: Final = reply(554, "5.4.6", INTERNAL + "mail for this domain loops back to this server")


class NoConnection(msgspec.Struct, frozen=True):
    """Why a path got no connection. With a ``reply`` it can never have one, and its mail fails so; None is for this time."""

    reason: str
    reply: Reply | None = None


class Opener:
    """Opens connections for ``owner``. ``ehlo_name`` is how we introduce ourselves, ``own_names`` are how our listeners greet."""

    def __init__(
        self,
        owner: Owner,
        router: Router,
        clock: Clock,
        ids: IdSource,
        ehlo_name: str,
        own_names: Iterable[str],
    ) -> None:
        self.router = router
        self.own_names = frozenset(own_names)
        self._owner = owner
        self._clock = clock
        self._ids = ids
        self._ehlo_name = ehlo_name
        self._loop = asyncio.get_running_loop()

    async def open(self, path: Path) -> LaneConnection | NoConnection:
        """A connection that has been introduced; its session may be over by the time it is used."""
        targets = await self.router.targets(path.route, path.config)
        if isinstance(targets, Unroutable):
            return NoConnection(str(targets.reply), targets.reply if targets.is_permanent else None)
        reason = ""
        for target in targets:
            connection = await self._try(path, target)
            if isinstance(connection, LaneConnection):
                if connection.session.greeting.lower() not in self.own_names:
                    return connection
                connection.abort()
                # RFC 5321 5.1: if better hosts only do not answer now, we are their backup; none behind us may be tried
                return NoConnection(reason) if reason else NoConnection(str(_LOOPS_BACK), _LOOPS_BACK)
            reason = f"{target.host} [{target.address}]:{target.port}: {connection}"
            LOG.info("no session with %s", reason)
        return NoConnection(reason)

    async def _try(self, path: Path, target: Target) -> LaneConnection | str:
        """A connection to one target, introduced; or why there is none."""

        def new() -> LaneConnection:
            session_id = SessionId(self._ids.next(self._clock.wall()))
            return LaneConnection(self._owner, path, target, self._ehlo_name, session_id)

        try:
            async with asyncio.timeout(path.config.connect_timeout):
                _, connection = await self._loop.create_connection(new, target.address, target.port)
        except TimeoutError:
            return f"no connection within {path.config.connect_timeout:g} s"
        except OSError as error:
            return error.strerror or str(error)
        try:
            # bounded by the deadlines of the banner and of EHLO, which the connection keeps
            refusal = await connection.introduced
        except asyncio.CancelledError:
            connection.abort()
            raise
        if refusal is None and connection.session.is_closed:
            # it came and went in one breath: no session is no connection, and the site is held like any that gives none
            refusal = connection.reason or "the session was over as soon as it had begun"
        if refusal is not None:
            connection.abort()
            return refusal
        return connection
