"""Connections to hosts that offer TLS, refuse it, or fail at it: which of them mail may go on, and why not on the others."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path as FilePath

import pytest
import uvloop

from penstock.lane.connection import LaneConnection
from penstock.lane.delivery import Delivery
from penstock.lane.opening import NoConnection, Opener
from penstock.lane.turns import Turns
from penstock.mail.configuration import EnableTls, PathConfig, SmtpListenerConfig
from penstock.mail.duration import MonotonicTime, Seconds
from penstock.mail.ids import IdSource
from penstock.net.clock import SystemClock
from penstock.net.router import Router
from penstock.net.tls import ClientContexts, ServerContexts
from penstock.queueing.queues import Path
from penstock.queueing.rows import Rows
from penstock.routing.answer import AddressAnswer, Exchange
from penstock.routing.plan import Route
from penstock.sim.certificates import Authority
from penstock.sim.resolver import FakeResolver
from penstock.smtp.client import Stage

from .host import CLOSE, CUT, FAREWELL, SILENCE, Host, host

PATIENCE = 10.0
AUTHORITY = Authority()
STRANGER = Authority("nobody's")
OPPORTUNISTIC, INSECURE = EnableTls.OPPORTUNISTIC, EnableTls.OPPORTUNISTIC_INSECURE
REQUIRED, REQUIRED_INSECURE = EnableTls.REQUIRED, EnableTls.REQUIRED_INSECURE
TLS, CLEAR = "tls", "clear"


def server_context(folder: FilePath, kind: str) -> ssl.SSLContext:
    """The context of a host with such a certificate."""
    issued = {
        "valid": lambda: AUTHORITY.issue("mx.test"),
        "other name": lambda: AUTHORITY.issue("mx.other.test"),
        "expired": lambda: AUTHORITY.issue("mx.test", is_expired=True),
        "unknown authority": lambda: STRANGER.issue("mx.test"),
        "address": lambda: AUTHORITY.issue("127.0.0.1"),
    }
    if kind == "self-signed":
        certificate = private_key = None
    else:
        certificate, private_key = map(str, issued[kind]().write(folder, kind))
    listener = SmtpListenerConfig((), "mx.test", tls_certificate=certificate, tls_private_key=private_key)
    return ServerContexts(SystemClock()).context_for(listener)


class Owner:
    """Has no mail, and knows which connections have ended."""

    def __init__(self) -> None:
        self.gone: set[LaneConnection] = set()
        self.turns = Turns(SystemClock())

    def pull(self, connection: LaneConnection) -> Delivery | None:
        """Nothing."""
        return None

    def closing_began(self, connection: LaneConnection) -> None:
        """Nothing to do."""

    def ended(self, connection: LaneConnection) -> None:
        """Note it."""
        self.gone.add(connection)

    def work_done(self) -> None:
        """Nothing to do."""


class World:
    """A host, and an opener whose only route leads to it."""

    def __init__(self, there: Host, folder: FilePath, name: str = "mx.test") -> None:
        clock = SystemClock()
        self.host = there
        self.owner = Owner()
        self.route = Route(name, (Exchange(0, name),), MonotonicTime(clock.monotonic() + 1e6))
        authority = folder / "authority.pem"
        authority.write_bytes(AUTHORITY.pem)
        self.router = Router(
            FakeResolver(addresses={name: AddressAnswer((IPv4Address("127.0.0.1"),), Seconds(300.0))}),
            clock,
            lambda: 0.5,
        )
        self.opener = Opener(
            self.owner,
            self.router,
            clock,
            IdSource(1),
            "mta.test",
            ["ourselves.test"],
            ClientContexts(str(authority), clock),
        )

    async def open(self, **options: object) -> LaneConnection | NoConnection:
        """A connection by these options of its path."""
        config = PathConfig(smtp_port=self.host.port, prohibited_hosts=(), **options)  # type: ignore[arg-type]
        async with asyncio.timeout(PATIENCE):
            return await self.opener.open(Path(Rows(), [], "default", self.route, config))

    async def leave(self, connection: LaneConnection) -> None:
        """Take leave, and wait for the end."""
        connection.leave()
        async with asyncio.timeout(PATIENCE):
            while connection not in self.owner.gone:  # noqa: ASYNC110 -- bounded above, and there is one to wait for
                await asyncio.sleep(0)

    @property
    def said(self) -> list[list[str]]:
        """What was said on each connection: the verbs, with where."""
        return [[" ".join(line.split()[:2]) for line in lines] for lines in self.host.heard]


@asynccontextmanager
async def world(
    folder: FilePath, kind: str = "valid", script: Mapping[str, str] | None = None, name: str = "mx.test"
) -> AsyncIterator[World]:
    """A host with such a certificate and script, and a way to it."""
    async with host(server_context(folder, kind), script) as there:
        here = World(there, folder, name)
        try:
            yield here
        finally:
            await here.router.close()


def run(scenario: Callable[[], object]) -> None:
    """Run a scenario on a loop of its own."""
    uvloop.run(scenario())  # type: ignore[arg-type]


NO_STARTTLS = {"EHLO": "250-mx.test\r\n250 PIPELINING"}
WANTING_NAME = "the certificate does not hold: hostname mismatch"
#: The certificate, the script, and what comes of it by each policy: where mail may go, or why nowhere.
CASES: dict[str, tuple[str, dict[str, str], dict[EnableTls, str]]] = {
    "a valid certificate": ("valid", {}, dict.fromkeys([OPPORTUNISTIC, INSECURE, REQUIRED, REQUIRED_INSECURE], TLS)),
    "another's certificate": (
        "other name", {},
        {OPPORTUNISTIC: WANTING_NAME, REQUIRED: WANTING_NAME, INSECURE: TLS, REQUIRED_INSECURE: TLS},
    ),
    "a certificate by nobody known": (
        "unknown authority", {},
        {OPPORTUNISTIC: "the certificate does not hold", REQUIRED: "the certificate does not hold", INSECURE: TLS, REQUIRED_INSECURE: TLS},
    ),
    "a certificate of its own making": (
        "self-signed", {},
        {OPPORTUNISTIC: "self-signed", REQUIRED: "self-signed", INSECURE: TLS, REQUIRED_INSECURE: TLS},
    ),
    "an old certificate": (
        "expired", {},
        {OPPORTUNISTIC: "expired", REQUIRED: "expired", INSECURE: TLS, REQUIRED_INSECURE: TLS},
    ),
    "no STARTTLS": (
        "valid", NO_STARTTLS,
        {OPPORTUNISTIC: CLEAR, INSECURE: CLEAR, REQUIRED: "does not offer STARTTLS", REQUIRED_INSECURE: "does not offer STARTTLS"},
    ),
    "no EHLO": (
        "valid", {"EHLO": "502 what", "HELO": "250 mx.test"},
        {OPPORTUNISTIC: CLEAR, INSECURE: CLEAR, REQUIRED: "does not offer STARTTLS", REQUIRED_INSECURE: "does not offer STARTTLS"},
    ),
    "STARTTLS refused for now": (
        "valid", {"STARTTLS": "454 4.7.0 no entropy"},
        {OPPORTUNISTIC: "454 4.7.0 no entropy", INSECURE: CLEAR, REQUIRED: "454", REQUIRED_INSECURE: "454"},
    ),
    "STARTTLS not known": (
        "valid", {"STARTTLS": "502 what"},
        {OPPORTUNISTIC: "502 what", INSECURE: CLEAR, REQUIRED: "502", REQUIRED_INSECURE: "502"},
    ),
    "421 to STARTTLS": (
        "valid", {"STARTTLS": "421 closing"},
        dict.fromkeys([OPPORTUNISTIC, INSECURE, REQUIRED, REQUIRED_INSECURE], "421 closing"),
    ),
    "an end at STARTTLS": (
        "valid", {"STARTTLS": CLOSE},
        {OPPORTUNISTIC: "while waiting for the reply to STARTTLS", INSECURE: CLEAR, REQUIRED: "STARTTLS", REQUIRED_INSECURE: "STARTTLS"},
    ),
    "220, then an end": (
        "valid", {"handshake": CLOSE},
        {OPPORTUNISTIC: "while waiting for the", INSECURE: CLEAR, REQUIRED: "while waiting for the", REQUIRED_INSECURE: "while waiting for the"},
    ),
    "220, then clear text": (
        "valid", {"STARTTLS": "220 go\r\n250 ok"},
        {OPPORTUNISTIC: "nothing asked for", INSECURE: CLEAR, REQUIRED: "nothing asked for", REQUIRED_INSECURE: "nothing asked for"},
    ),
    "220, then clear text to the ClientHello": (
        "valid", {"handshake": "250 what"},
        {OPPORTUNISTIC: "other than TLS", INSECURE: CLEAR, REQUIRED: "other than TLS", REQUIRED_INSECURE: "other than TLS"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "policy", [OPPORTUNISTIC, INSECURE, REQUIRED, REQUIRED_INSECURE], ids=lambda policy: policy.value
)
@pytest.mark.parametrize(("kind", "script", "expected"), CASES.values(), ids=CASES.keys())
def test_mail_goes_as_the_policy_allows_and_never_with_less(
    tmp_path: FilePath, kind: str, script: dict[str, str], expected: dict[EnableTls, str], policy: EnableTls
) -> None:
    """CVE-2016-0772; in clear only where STARTTLS is not offered, or where the policy says so, and then on a connection of its own."""

    async def scenario() -> None:
        async with world(tmp_path, kind, script) as here:
            opened = await here.open(enable_tls=policy, connect_timeout=Seconds(5.0))
            wanted = expected[policy]
            if wanted in (TLS, CLEAR):
                assert isinstance(opened, LaneConnection), opened
                assert (opened.session.tls is not None) is (wanted == TLS)
                assert opened.session.stage is Stage.IDLE
                await here.leave(opened)
                assert here.said[-1][-1] == f"{wanted} QUIT"
            else:
                assert isinstance(opened, NoConnection)
                assert opened.reply is None
                assert wanted in opened.reason
                assert opened.reason.startswith(f"mx.test [127.0.0.1]:{here.host.port}: ")
                assert len(here.said) == 1
            for lines in here.host.heard:
                asked = [line for line in lines if line.startswith("clear STARTTLS")]
                assert not asked or lines[-1] == asked[0] or not lines[-1].startswith("clear ")

    run(scenario)


def test_what_is_known_of_the_encryption_is_known_of_the_peer(tmp_path: FilePath) -> None:
    """Records and events have it from there."""

    async def scenario() -> None:
        async with world(tmp_path) as here:
            opened = await here.open(enable_tls=REQUIRED)
            assert isinstance(opened, LaneConnection)
            facts = opened._peer.tls
            assert facts is not None
            assert facts.is_verified
            assert facts.version == "TLSv1.3"
            assert facts.peer_names == ("mx.test",)
            await here.leave(opened)

    run(scenario)


def test_an_address_literal_is_verified_by_its_address(tmp_path: FilePath) -> None:
    """A route to ``[127.0.0.1]`` has no other name."""

    async def scenario() -> None:
        async with world(tmp_path, "address", name="[127.0.0.1]") as here:
            opened = await here.open(enable_tls=REQUIRED)
            assert isinstance(opened, LaneConnection), opened
            await here.leave(opened)

    run(scenario)


def test_a_later_connection_resumes_the_session_of_an_earlier_one(tmp_path: FilePath) -> None:
    """Of the same host by the same policy; by another, the handshake is whole."""

    async def scenario() -> None:
        async with world(tmp_path) as here:
            resumed = []
            for policy in (REQUIRED, REQUIRED, OPPORTUNISTIC, REQUIRED_INSECURE):
                opened = await here.open(enable_tls=policy)
                assert isinstance(opened, LaneConnection)
                assert opened.session.tls is not None
                resumed.append((opened.session.tls.is_resumed, opened.session.tls.is_verified))
                await here.leave(opened)
            assert resumed == [(False, True), (True, True), (True, True), (False, False)]

    run(scenario)


def test_both_sides_say_that_they_close(tmp_path: FilePath) -> None:
    """RFC 8446 6.1: close_notify, behind QUIT and its reply."""

    async def scenario() -> None:
        async with world(tmp_path) as here:
            opened = await here.open(enable_tls=REQUIRED)
            assert isinstance(opened, LaneConnection)
            await here.leave(opened)
            async with asyncio.timeout(PATIENCE):
                while not here.host.farewells:  # noqa: ASYNC110 -- the host's task ends in a later round of the loop
                    await asyncio.sleep(0)
            assert here.host.farewells == [True]

    run(scenario)


@pytest.mark.parametrize(
    "words", [CUT, CLOSE, FAREWELL], ids=["within a reply", "without one", "with a farewell, the socket open"]
)
def test_an_end_of_tls_is_an_end(tmp_path: FilePath, words: str) -> None:
    """What was cut off is not taken for whole; and nobody waits for more behind a farewell."""

    async def scenario() -> None:
        async with world(tmp_path, script={"tls EHLO": words}) as here:
            opened = await here.open(enable_tls=REQUIRED)
            assert isinstance(opened, NoConnection)
            assert "while waiting for the reply to EHLO" in opened.reason

    run(scenario)


@pytest.mark.parametrize("policy", [OPPORTUNISTIC, INSECURE], ids=lambda policy: policy.value)
@pytest.mark.parametrize(
    "script",
    [{"STARTTLS": SILENCE}, {"handshake": SILENCE}],
    ids=["no reply", "no handshake"],
)
def test_starttls_has_a_deadline(tmp_path: FilePath, script: dict[str, str], policy: EnableTls) -> None:
    """A handshake that stalls; octets of it win no time."""

    async def scenario() -> None:
        async with world(tmp_path, script=script) as here:
            opened = await here.open(enable_tls=policy, starttls_timeout=Seconds(0.05))
            if policy is INSECURE:
                assert isinstance(opened, LaneConnection)
                await here.leave(opened)
            else:
                assert isinstance(opened, NoConnection)

    run(scenario)


def test_auth_goes_in_tls_only(tmp_path: FilePath) -> None:
    """And mail only behind it; what the session is held for says no more than that."""
    offers = {"tls EHLO": "250-mx.test\r\n250 AUTH PLAIN"}
    login = {"smtp_auth_plain_username": "mta", "smtp_auth_plain_password": "pa55word"}

    async def scenario() -> None:
        async with world(tmp_path, script=offers) as here:
            opened = await here.open(enable_tls=REQUIRED, **login)
            assert isinstance(opened, LaneConnection)
            await here.leave(opened)
            assert here.said[0] == ["clear EHLO", "clear STARTTLS", "tls EHLO", "tls AUTH", "tls QUIT"]
            here.host.script |= NO_STARTTLS
            refused = await here.open(**login)
            assert isinstance(refused, NoConnection)
            assert "AUTH needs TLS" in refused.reason
            here.host.script |= {"EHLO": "250-mx.test\r\n250 STARTTLS", "AUTH": "535 5.7.8 no pa55word"}
            refused = await here.open(**login)
            assert isinstance(refused, NoConnection)
            assert "535 5.7.8" in refused.reason
            assert "pa55word" not in refused.reason

    run(scenario)


@pytest.mark.parametrize("kind", ["valid", "self-signed"])
def test_ourselves_are_known_whatever_our_certificate(tmp_path: FilePath, kind: str) -> None:
    """RFC 5321 5.1: mail that leads here loops; that our own certificate is not valid for us is no reason to wait."""

    async def scenario() -> None:
        async with world(tmp_path, kind, {"": "220 ourselves.test ESMTP"}) as here:
            opened = await here.open(enable_tls=REQUIRED)
            assert isinstance(opened, NoConnection)
            assert opened.reply is not None
            assert str(opened.reply).startswith("554 5.4.6 ")

    run(scenario)


def test_lmtp_is_spoken_where_it_is_to_be(tmp_path: FilePath) -> None:
    """``use_lmtp``."""

    async def scenario() -> None:
        async with world(tmp_path) as here:
            opened = await here.open(use_lmtp=True)
            assert isinstance(opened, LaneConnection)
            await here.leave(opened)
            assert here.said == [["clear LHLO", "clear QUIT"]]

    run(scenario)
