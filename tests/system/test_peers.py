"""Clients and servers that we did not write: Debian's smtp-source, smtp-sink and swaks."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from pathlib import Path

import pytest
import uvloop

from tests.conftest import SEARCH_PATH
from tests.system.harness import PATIENCE, until, world

pytestmark = pytest.mark.system


async def run(program: str, *arguments: str) -> str:
    """Run a program to its end; what it printed. It must succeed."""
    path = shutil.which(program, path=SEARCH_PATH)
    assert path is not None
    process = await asyncio.create_subprocess_exec(
        path, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(PATIENCE):
        printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    return printed.decode()


@pytest.mark.servers("smtp-source")
@pytest.mark.parametrize("reuse", [["-d"], []], ids=["one session for many", "a session for each"])
def test_mail_of_smtp_source_arrives_once(tmp_path: Path, reuse: list[str]) -> None:
    """A hundred messages from ten sessions: each is delivered, none twice."""

    async def scenario() -> None:
        async with world(tmp_path) as here:
            await run(
                "smtp-source", *reuse, "-s", "10", "-m", "100", "-l", "5000", "-N",
                "-t", "to@a.test", "-f", "from@b.test", str(here.smtp),
            )  # fmt: skip
            await here.settled(100)
            assert len(here.accepted()) == 100
            assert len({message.envelope.recipients for message in here.accepted()}) == 100
            assert not any(message.irregularities for message in here.accepted())

    uvloop.run(scenario())


@pytest.mark.servers("swaks")
def test_mail_of_swaks_is_assigned_and_delivered(tmp_path: Path) -> None:
    """The tenant's field is obeyed and removed, two domains get a message each."""

    async def scenario() -> None:
        async with world(tmp_path) as here:
            printed = await run(
                "swaks", "--server", str(here.smtp), "--from", "s@from.test", "--to", "one@a.test,two@c.test",
                "--header", "X-Tenant: bluebird", "--ehlo", "swaks.test",
            )  # fmt: skip
            assert "250 2.0.0 OK ids=" in printed
            await here.settled(2)
            assert sorted(event["queue"] for event in here.events("Delivery")) == [
                "bluebird@a.test",
                "bluebird@c.test",
            ]
            assert all(b"X-Tenant" not in message.content for message in here.accepted())

    uvloop.run(scenario())


@pytest.mark.servers("smtp-sink")
@pytest.mark.parametrize("options", [[], ["-p"], ["-e", "-p"]], ids=["ESMTP", "no pipelining", "no ESMTP"])
def test_smtp_sink_takes_our_mail(tmp_path: Path, options: list[str]) -> None:
    """With PIPELINING, without it, and without EHLO at all (RFC 5321 3.2)."""

    async def scenario() -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        path = shutil.which("smtp-sink", path=SEARCH_PATH)
        assert path is not None
        user = ["-u", "root"] if os.geteuid() == 0 else []
        sink = await asyncio.create_subprocess_exec(path, *user, *options, f"127.0.0.1:{port}", "100")
        try:
            async with world(tmp_path, port=port) as here:
                for number in range(3):
                    await here.send([f"{number}@a.test", f"other-{number}@b.test"])
                # until smtp-sink listens, the site is a dead one: held, and tried again
                await here.settled(6)
                assert len(here.events("Delivery")) == 6
                await until(lambda: len(here.worker.spool) == 0, "nothing is left")
        finally:
            sink.terminate()
            await sink.wait()

    uvloop.run(scenario())
