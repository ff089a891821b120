"""Mail through a whole server to a sink that wants TLS, AUTH or LMTP: what was sent is what arrives, and events say how."""

from __future__ import annotations

from pathlib import Path

import pytest
import uvloop

from penstock.mail.configuration import TlsMode
from penstock.sim.certificates import Authority
from penstock.sim.sink.options import ALL_EXTENSIONS, DEFAULT_EXTENSIONS, Login, SinkOptions
from tests.system.harness import World, until, world

pytestmark = pytest.mark.system

CONTENTS = [
    b"Subject: one\r\n\r\nbody\r\n",
    b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n" + b".\r\n" * 50,
    b"Subject: large\r\n\r\n" + (b"y" * 76 + b"\r\n") * 20_000,
]


async def send_all(here: World, domain: str = "a.test") -> None:
    """Each of the contents, and wait until they have arrived."""
    for content in CONTENTS:
        await here.send([f"to@{domain}"], content)
    await here.settled(len(CONTENTS))
    assert len(here.events("Delivery")) == len(CONTENTS)
    arrived = sorted(message.content.partition(b"Subject:")[2] for message in here.accepted())
    assert arrived == sorted(content.partition(b"Subject:")[2] for content in CONTENTS)


WAYS = {"BDAT": ALL_EXTENSIONS, "DATA": DEFAULT_EXTENSIONS}


@pytest.mark.parametrize("via", WAYS)
def test_mail_goes_encrypted_and_authenticated(tmp_path: Path, via: str) -> None:
    """Verified by ``tls_ca_file``; the event names the version and the cipher, and nothing has the password."""
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    certificate, private_key = authority.issue("mx.here.test").write(tmp_path)
    options = SinkOptions(
        extensions=WAYS[via],
        tls=TlsMode.STARTTLS,
        tls_certificate=certificate,
        tls_private_key=private_key,
        login=Login("mta", "pa55word"),
        requires_auth=True,
    )

    async def scenario() -> None:
        async with world(
            tmp_path,
            options=options,
            node='tls_ca_file = "ca.pem"',
            path='enable_tls = "Required"\nsmtp_auth_plain_username = "mta"\nsmtp_auth_plain_password = "pa55word"',
        ) as here:
            await send_all(here)
            for message in here.accepted():
                assert message.tls is not None
                assert message.authenticated == "mta"
                assert message.via == via
                assert not message.irregularities
            for event in here.events("Delivery"):
                assert event["tls_protocol_version"] == "TLSv1.3"
                assert event["delivery_protocol"] == "ESMTPSA"
                assert "pa55word" not in str(event)

    uvloop.run(scenario())


def test_a_site_whose_certificate_does_not_hold_keeps_its_mail(tmp_path: Path) -> None:
    """Nothing goes in clear, no attempt is spent, and the hold says why."""

    async def scenario() -> None:
        async with world(
            tmp_path, options=SinkOptions(tls=TlsMode.STARTTLS), path='enable_tls = "Opportunistic"'
        ) as here:
            await here.send(["to@a.test"])
            paths = here.worker.lane.scheduler.paths
            await until(lambda: any(path.hold is not None for path in paths.values()), "the site is held")
            (reason,) = [path.hold.reason for path in paths.values() if path.hold is not None]
            assert "TLS handshake failed: the certificate does not hold" in reason
            assert not here.got
            assert not here.events("TransientFailure")

    uvloop.run(scenario())


@pytest.mark.parametrize("via", WAYS)
def test_lmtp_is_delivery_too(tmp_path: Path, via: str) -> None:
    """RFC 2033, with a reply for each recipient."""

    async def scenario() -> None:
        options = SinkOptions(lmtp=True, extensions=WAYS[via])
        async with world(tmp_path, options=options, path="use_lmtp = true") as here:
            await here.send(["one@a.test", "two@a.test", "three@a.test"], CONTENTS[1])
            await here.settled(3)
            (message,) = here.accepted()
            assert message.via == via
            assert len(message.replies) == 3
            assert [event["delivery_protocol"] for event in here.events("Delivery")] == ["LMTP"] * 3

    uvloop.run(scenario())
