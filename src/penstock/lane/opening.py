"""Makes a connection of a path: to the first of its targets that answers, introduces itself, and is not ourselves.

Where TLS is welcome but not needed (``OpportunisticInsecure``), a target whose STARTTLS fails is tried once more, in clear, on a connection of its
own. What comes of it all is a value; the lane tells the scheduler.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

import msgspec

from penstock.lane.connection import LaneConnection, Owner, Refusal
from penstock.mail.configuration import EnableTls, PathConfig
from penstock.mail.ids import IdSource, SessionId
from penstock.mail.ports import Clock
from penstock.mail.records import INTERNAL
from penstock.mail.reply import Reply, reply
from penstock.net.router import Router
from penstock.net.tls import ClientContexts
from penstock.queueing.queues import Path
from penstock.routing.plan import Unroutable
from penstock.routing.targets import Target
from penstock.smtp.client import Credentials, SessionOptions

LOG = logging.getLogger(__name__)

_LOOPS_BACK: Final = reply(554, "5.4.6", INTERNAL + "mail for this domain loops back to this server")
_OURSELVES: Final = Refusal(_LOOPS_BACK.text)


class NoConnection(msgspec.Struct, frozen=True):
    """Why a path got no connection. With a ``reply`` it can never have one, and its mail fails so; None is for this time."""

    reason: str
    reply: Reply | None = None


def session_options(config: PathConfig, ehlo_name: str, enable_tls: EnableTls) -> SessionOptions:
    """What a session of a path is to heed, with another choice about encryption if need be."""
    username, password = config.smtp_auth_plain_username, config.smtp_auth_plain_password
    return SessionOptions(
        ehlo_name=ehlo_name,
        enable_tls=enable_tls,
        credentials=Credentials(username, password or "") if username is not None else None,
        allow_auth_without_tls=config.allow_smtp_auth_plain_without_tls,
        allow_auth_without_valid_certificate=config.allow_smtp_auth_plain_without_valid_certificate,
        enable_pipelining=config.enable_pipelining,
        enable_rset=config.enable_rset,
        ignore_8bit_checks=config.ignore_8bit_checks,
        is_lmtp=config.use_lmtp,
    )


class Opener:
    """Opens connections for ``owner``. ``ehlo_name`` is how we introduce ourselves, ``own_names`` are how our listeners greet.

    ``contexts`` are those that hosts' certificates are verified by.
    """

    def __init__(
        self,
        owner: Owner,
        router: Router,
        clock: Clock,
        ids: IdSource,
        ehlo_name: str,
        own_names: Iterable[str],
        contexts: ClientContexts,
    ) -> None:
        self.router = router
        self.contexts = contexts
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
            connection = await self._open_target(path, target)
            if isinstance(connection, LaneConnection):
                return connection
            if connection is _OURSELVES:
                # RFC 5321 5.1: if better hosts only do not answer now, we are their backup; none behind us may be tried
                return NoConnection(reason) if reason else NoConnection(str(_LOOPS_BACK), _LOOPS_BACK)
            reason = f"{_name(target)}: {connection.reason}"
            LOG.info("no session with %s", reason)
        return NoConnection(reason)

    async def _open_target(self, path: Path, target: Target) -> LaneConnection | Refusal:
        """A connection to one target, introduced; or why there is none."""
        enable_tls = path.config.enable_tls
        connection = await self._try(path, target, enable_tls)
        if (
            isinstance(connection, Refusal)
            and connection.is_about_tls
            and enable_tls is EnableTls.OPPORTUNISTIC_INSECURE
        ):
            LOG.info("no encryption with %s, going on in clear: %s", _name(target), connection.reason)
            return await self._try(path, target, EnableTls.DISABLED)
        return connection

    async def _try(self, path: Path, target: Target, enable_tls: EnableTls) -> LaneConnection | Refusal:
        options = session_options(path.config, self._ehlo_name, enable_tls)

        def new() -> LaneConnection:
            session_id = SessionId(self._ids.next(self._clock.wall()))
            return LaneConnection(self._owner, path, target, options, session_id, self.contexts)

        try:
            async with asyncio.timeout(path.config.connect_timeout):
                _, connection = await self._loop.create_connection(new, target.address, target.port)
        except TimeoutError:
            return Refusal(f"no connection within {path.config.connect_timeout:g} s")
        except OSError as error:
            return Refusal(error.strerror or str(error))
        try:
            # bounded by the deadlines of the introduction's stages, which the connection keeps
            refusal = await connection.introduced
        except asyncio.CancelledError:
            connection.abort()
            raise
        if connection.session.greeting.lower() in self.own_names:
            refusal = _OURSELVES  # whatever came of it: our own certificate need not be valid for us
        elif refusal is None and connection.session.is_closed:
            # it came and went in one breath: no session is no connection, and the site is held like any that gives none
            refusal = Refusal(connection.reason or "the session was over as soon as it had begun")
        if refusal is not None:
            connection.abort()
            return refusal
        return connection


def _name(target: Target) -> str:
    return f"{target.host} [{target.address}]:{target.port}"
