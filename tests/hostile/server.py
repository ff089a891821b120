"""A whole server for rows to be played on: one listener, a next hop that takes everything, and a policy that knows one user."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Final

import msgspec

from penstock.cli.checking import checked, endpoints
from penstock.mail.configuration import Configuration, Endpoint, Network, SmtpListenerConfig
from penstock.mail.duration import ByteCount, Seconds
from penstock.mail.rate import Rate
from penstock.net.clock import SystemClock
from penstock.net.listening import bind_all, endpoint_of
from penstock.policy import Policy, load
from penstock.sim.sink.message import SinkMessage
from penstock.sim.sink.options import SinkOptions
from penstock.sim.sink.script import Script
from penstock.sim.sink.server import Sink
from penstock.worker.worker import Worker
from tests.events.told import Told
from tests.hostile.case import PASSWORD, USER, Proxy, Setup
from tests.system.harness import DESCRIPTORS, QUEUES, ROOT, SHAPING, until

_US: Final[tuple[Network, ...]] = (IPv4Network("127.0.0.1/32"), IPv6Network("::1/128"))
_NOBODY: Final[tuple[Network, ...]] = (IPv4Network("203.0.113.0/24"),)
#: A client that plays a thousand rows must not be turned away for the first hundred.
_NO_LIMIT: Final = Rate(1_000_000, Seconds(1.0), 1_000_000)

_POLICY: Final = f"""
from penstock.policy import inline

@inline
def on_auth(session, credentials):
    return credentials.authentication_id == {USER!r} and credentials.is_password({PASSWORD!r})
"""


class Server:
    """What a row needs of a running server."""

    def __init__(self, worker: Worker, endpoint: Endpoint, got: list[SinkMessage]) -> None:
        self.worker = worker
        self.endpoint = endpoint
        self.told = Told(worker.spool)
        self._got = got

    @property
    def received(self) -> int:
        """Recipients of messages stored so far."""
        return self.worker.tally.total.received

    async def settled(self) -> None:
        """Wait until nothing is queued."""
        total = self.worker.tally.total
        await until(lambda: not total.queued, "nothing is queued")

    def take_delivered(self) -> list[SinkMessage]:
        """What the next hop took since the last call."""
        got, self._got[:] = list(self._got), []
        return got

    async def tried(self, recipients: int) -> None:
        """Wait until delivery to so many recipients has come to an end, or has been put off."""
        total = self.worker.tally.total
        await until(
            lambda: total.delivered + total.failed + total.deferred >= recipients, f"{recipients} were tried"
        )

    def events_of(self, kind: str) -> list[dict[str, Any]]:
        """The events of a kind so far."""
        return [event for event in self.told.events() if event["type"] == kind]


def listener_for(setup: Setup, config: SmtpListenerConfig) -> SmtpListenerConfig:
    """A listener set up so, without the limits on one client that rows are not about."""
    return msgspec.structs.replace(
        config,
        max_message_size=ByteCount(setup.max_message_size),
        line_length_hard_limit=setup.line_length_hard_limit,
        max_recipients_per_message=setup.max_recipients_per_message,
        max_messages_per_connection=setup.max_messages_per_connection,
        invalid_line_endings=setup.invalid_line_endings,
        tls=setup.tls,
        relay_hosts=_US if setup.may_relay else _NOBODY,
        allow_auth_without_tls=setup.allow_auth_without_tls,
        allow_xclient=_US if setup.may_xclient else (),
        allow_proxy=_US if setup.proxy is not Proxy.NONE else (),
        require_proxy_protocol=setup.proxy is Proxy.REQUIRED,
        discard_ehlo_keywords=frozenset(setup.discard_ehlo_keywords),
        max_failures_per_client=_NO_LIMIT,
        max_auth_failures=_NO_LIMIT,
        max_connections_per_client=10_000,
        auth_failure_delay=Seconds(0.0),
    )


def configuration_at(place: Path, port: int) -> Configuration:
    """The tests' configuration, delivering to a port of this machine."""
    (place / "penstock.toml").write_text(ROOT.format(node="", listener="", dns=""))
    (place / "queues.toml").write_text(QUEUES.format(retry_interval="20 minutes", max_age="7 days"))
    (place / "shaping.toml").write_text(SHAPING.format(port=port, prohibited="", path=""))
    return checked(place / "penstock.toml")


def _policy_at(place: Path, text: str) -> Policy:
    (place / "policy.py").write_text(text)
    return load(place / "policy.py")


@asynccontextmanager
async def serving(
    place: Path,
    setup: Setup,
    *,
    sink_options: SinkOptions | None = None,
    script: Script | None = None,
    policy: str = "",
    **changes: object,
) -> AsyncIterator[Server]:
    """A running server. ``policy`` is a policy file's text; ``changes`` are more of the listener's options, by field name."""
    got: list[SinkMessage] = []
    sink = Sink(sink_options, script=script, on_message=got.append)
    (sink_at,) = await sink.start()
    try:
        configuration = configuration_at(place, sink_at.port)
        (listener,) = configuration.smtp_listeners
        changed = msgspec.structs.replace(listener_for(setup, listener), **changes)
        configuration = msgspec.structs.replace(configuration, smtp_listeners=(changed,))
        sockets = bind_all(endpoints(configuration))
        text = policy or (_POLICY if setup.has_auth else "")
        loaded = _policy_at(place, text) if text else None
        worker = Worker(configuration, [sockets], SystemClock(), DESCRIPTORS, loaded)
        await worker.start()
        try:
            yield Server(worker, endpoint_of(sockets[0]), got)
        finally:
            await worker.stop(1.0)
    finally:
        await sink.stop()
