"""Mail on its way in: who may send, what becomes of it, and what a session may cost."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import uvloop

from tests.system.harness import until, world

pytestmark = pytest.mark.system

CONTENT = b"From: a@from.test\r\nX-Tenant: acme\r\nSubject: =?x?=\r\n folded\r\nx-campaign : spring\r\n\r\n.dot\r\n..\r\n\r\nend\r\n"
KEPT = b"From: a@from.test\r\nSubject: =?x?=\r\n folded\r\n\r\n.dot\r\n..\r\n\r\nend\r\n"


def test_a_message_goes_through_with_one_field_added_and_its_labels_removed(tmp_path: Path) -> None:
    """What leaves is what came, octet for octet, behind one Received field and without the fields that assign it."""

    async def scenario() -> None:
        async with world(tmp_path) as here:
            reply = await here.send(["one@a.test"], CONTENT)
            await here.settled(1)
            (message,) = here.accepted()
            received, _, rest = message.content.partition(b"From: ")
            assert b"From: " + rest == KEPT
            assert received.startswith(
                b"Received: from client.test ([127.0.0.1])\r\n\tby mta.test with ESMTP id "
            )
            assert received.endswith(b" +0000\r\n")
            assert received.count(b"\r\n") == 3
            identifier = reply.strip().rpartition("=")[2]
            assert identifier.encode() in received
            reception, delivery = here.events()
            assert (reception["type"], delivery["type"]) == ("Reception", "Delivery")
            assert {event["id"] for event in (reception, delivery)} == {identifier}
            assert delivery["tenant"] == "acme"
            assert delivery["campaign"] == "spring"
            assert delivery["queue"] == "spring:acme@a.test"
            assert delivery["site"] == "unspecified->mx.here.test@smtp_client"

    uvloop.run(scenario())


def test_a_transaction_is_split_by_domain_and_every_part_has_an_id(tmp_path: Path) -> None:
    """One id for each domain in the reply, one message for each at the destinations, no recipient twice."""

    async def scenario() -> None:
        async with world(tmp_path) as here:
            reply = await here.send(["1@a.test", "2@b.test", "3@a.test", "1@a.test", "4@c.test"])
            await here.settled(4)
            assert reply.startswith("250 2.0.0 OK ids=")
            assert len(reply.strip().rpartition("=")[2].split(",")) == 3
            envelopes = sorted(message.envelope.recipients for message in here.accepted())
            assert envelopes == [("1@a.test", "3@a.test"), ("2@b.test",), ("4@c.test",)]

    uvloop.run(scenario())


def test_many_domains_are_answered_in_lines_that_keep_their_limit(tmp_path: Path) -> None:
    """The ids of a hundred parts come in a reply of several lines, none over 512 octets (RFC 5321 4.5.3.1.5)."""

    async def scenario() -> None:
        domains = [f"d{number}.test" for number in range(100)]
        static = "\n".join(f'"{domain}" = {{ mx = ["mx.here.test"] }}' for domain in domains)
        async with world(tmp_path, dns=static) as here:
            reply = await here.send([f"x@{domain}" for domain in domains])
            await here.settled(100)
            lines = reply.splitlines(keepends=True)
            assert len(lines) > 1
            assert max(map(len, lines)) <= 512
            ids = [item for line in lines for item in line.strip().rpartition("=")[2].split(",")]
            assert len(set(ids)) == 100

    uvloop.run(scenario())


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"X-Tenant: nobody\r\n\r\n\r\n", "550 5.7.1 unknown tenant nobody"),
        (
            b"X-Tenant: acme\r\nX-Tenant: bluebird\r\n\r\n\r\n",
            "550 5.6.0 the message names more than one tenant",
        ),
        (b"X-Tenant: a b\r\n\r\n\r\n", "550 5.6.0 a tenant is"),
        (b"X-Campaign: a@b\r\n\r\n\r\n", "550 5.6.0 a campaign is"),
    ],
)
def test_a_label_that_is_not_right_refuses_the_message(tmp_path: Path, content: bytes, expected: str) -> None:
    """Nothing is stored, the client is told why, and a Rejection says so."""

    async def scenario() -> None:
        async with world(tmp_path) as here:
            assert (await here.send(["one@a.test"], content)).startswith(expected)
            assert len(here.worker.spool) == 0
            await until(here.events, "the refusal is noted")
            (event,) = here.events()
            assert event["type"] == "Rejection"
            assert event["response"]["code"] == 550

    uvloop.run(scenario())


def test_nobody_else_may_relay(tmp_path: Path) -> None:
    """A client that is not among relay_hosts is refused at RCPT, whatever it writes, and nothing is queued."""

    async def scenario() -> None:
        async with (
            world(tmp_path, listener='relay_hosts = ["192.0.2.0/24"]') as here,
            here.client() as client,
        ):
            await client.expect(b"220")
            await client.ask(b"EHLO x\r\n", b"250")
            await client.ask(b"MAIL FROM:<>\r\n", b"250")
            for recipient in (
                b"a@a.test",
                b'"a@a.test"@b.test',
                b"a%a.test@b.test",
                b"a@[127.0.0.1]",
                b"postmaster",
            ):
                await client.ask(b"RCPT TO:<%b>\r\n" % recipient, b"550 5.7.1 relaying not permitted")
            await client.ask(b"DATA\r\n", b"503")
            assert len(here.worker.spool) == 0
            await until(lambda: here.events("Rejection"), "the refusals are noted")
            assert len(here.events("Rejection")) == 6

    uvloop.run(scenario())


def test_connections_over_the_limit_are_told_so(tmp_path: Path) -> None:
    """The one too many gets 421 4.3.2; when another has gone there is room again."""

    async def scenario() -> None:
        async with world(tmp_path, listener="max_connections = 2") as here:
            async with here.client() as one, here.client() as two:
                await one.expect(b"220")
                await two.expect(b"220")
                async with here.client() as three:
                    await three.expect(b"421 4.3.2")
                    assert await three.until_closed() == b""
                assert here.worker.listeners[0].denied == 1
            await until(lambda: not len(here.worker.listeners[0]), "the connections are gone")
            async with here.client() as four:
                await four.expect(b"220")

    uvloop.run(scenario())


@pytest.mark.parametrize(
    "beginning", [b"", b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@a.test>\r\nDATA\r\nhalf a mess"]
)
def test_a_silent_client_is_sent_away(tmp_path: Path, beginning: bytes) -> None:
    """After client_timeout without an octet comes 421 4.4.2, in commands and in mail data, and nothing is stored."""

    async def scenario() -> None:
        async with world(tmp_path, listener='client_timeout = "150ms"') as here, here.client() as client:
            await client.expect(b"220")
            for line in beginning.splitlines(keepends=True):
                await client.send(line)
                if line.endswith(b"\n"):
                    await client.expect(b"354" if line == b"DATA\r\n" else b"250")
            said = await client.until_closed()
            assert b"421 4.4.2" in said
            assert len(here.worker.spool) == 0

    uvloop.run(scenario())


def test_a_client_that_has_sent_everything_and_half_closed_gets_its_replies(tmp_path: Path) -> None:
    """Commands that came before the end of input are answered, and then the connection is closed."""

    async def scenario() -> None:
        async with world(tmp_path) as here, here.client() as client:
            await client.expect(b"220")
            await client.send(b"EHLO x\r\nNOOP\r\nMAIL FROM:<>\r\n")
            client.end_output()
            said = await client.until_closed()
            assert said.endswith(b"250 2.1.0 sender ok\r\n")

    uvloop.run(scenario())


def test_replies_that_are_never_read_stop_the_reading(tmp_path: Path) -> None:
    """A flood of commands whose replies stay unread is not read on: memory stays where it is, and others are served."""

    async def scenario() -> None:
        async with world(tmp_path) as here, here.client() as flood:
            await flood.expect(b"220")
            budget = here.worker.desk.budget
            sent = 0
            flood.within = 0.3
            with pytest.raises(TimeoutError):
                for _ in range(1000):
                    await flood.send(b"NOOP\r\n" * 10_000)
                    sent += 60_000
            assert sent < 60_000_000
            assert budget.used < 1_000_000
            assert (await here.send(["one@a.test"])).startswith("250")
            await here.settled(1)

    uvloop.run(scenario())


def test_too_much_mail_in_memory_is_refused_and_taken_again_later(tmp_path: Path) -> None:
    """Over the limit MAIL gets 452 4.3.1, mail data under way is dropped, and when there is room again mail is taken."""

    async def scenario() -> None:
        async with world(tmp_path, node='memory_limit = "16MiB"') as here:
            async with here.client() as big, here.client() as other:
                await big.expect(b"220")
                await other.expect(b"220")
                await other.ask(b"EHLO x\r\n", b"250")
                await big.ask(b"EHLO x\r\n", b"250")
                await big.ask(b"MAIL FROM:<>\r\n", b"250")
                await big.ask(b"RCPT TO:<a@a.test>\r\n", b"250")
                await big.ask(b"DATA\r\n", b"354")
                line = b"x" * 78 + b"\r\n"
                await big.send(line * 175_000)
                budget = here.worker.desk.budget
                await until(lambda: budget.used > 13_500_000, "the mail data is in")
                await other.ask(b"MAIL FROM:<>\r\n", b"452 4.3.1")
                await big.send(line * 50_000)
                await until(lambda: budget.used < 100_000, "the mail data was dropped")
                await other.ask(b"MAIL FROM:<>\r\n", b"250")
                await big.ask(b".\r\n", b"452 4.3.1")
                await big.ask(b"RSET\r\n", b"250")
            assert len(here.worker.spool) == 0
            await until(lambda: budget.used == 0, "nothing is held")

    uvloop.run(scenario())


def test_limits_of_a_listener_are_the_configured_ones(tmp_path: Path) -> None:
    """Messages, recipients, sizes and lines are counted against the listener's options."""
    listener = """
max_message_size = "2KiB"
max_recipients_per_message = 2
max_messages_per_connection = 1
line_length_hard_limit = 100
banner = "Hello"
"""

    async def scenario() -> None:
        async with world(tmp_path, listener=listener) as here, here.client() as client:
            assert await client.expect(b"220 mta.test Hello")
            (ehlo,) = await client.ask(b"EHLO x\r\n", b"250")
            assert b"SIZE 2048" in ehlo
            await client.ask(b"MAIL FROM:<> SIZE=2049\r\n", b"552 5.3.4")
            await client.ask(b"MAIL FROM:<> SIZE=2048\r\n", b"250")
            await client.ask(b"RCPT TO:<1@a.test>\r\n", b"250")
            await client.ask(b"RCPT TO:<2@a.test>\r\n", b"250")
            await client.ask(b"RCPT TO:<3@a.test>\r\n", b"452 4.5.3")
            await client.ask(b"DATA\r\n", b"354")
            await client.ask(b"x" * 101 + b"\r\n.\r\n", b"500 5.2.3")
            for content, expected in ((b"x\r\n" * 1000, b"552 5.3.4"), (b"x" * 100 + b"\r\n", b"250")):
                await client.ask(b"MAIL FROM:<>\r\nRCPT TO:<1@a.test>\r\nDATA\r\n", b"250", b"250", b"354")
                await client.ask(content + b".\r\n", expected)
            await client.ask(b"MAIL FROM:<>\r\n", b"421")
            assert await client.until_closed() == b""

    uvloop.run(scenario())


@pytest.mark.parametrize(
    ("mode", "reply", "kept"),
    [
        ("Deny", b"550 5.5.2", None),
        ("Fix", b"250", b"a\r\nb\r\nc\r\n"),
        ("Allow", b"250", b"a\r\nb\r\nc\r\n"),
    ],
)
def test_bare_line_ends_are_refused_or_repaired_and_never_leave(
    tmp_path: Path, mode: str, reply: bytes, kept: bytes | None
) -> None:
    """Deny refuses; Fix and Allow take the message, and what leaves has CRLF at every line's end (RFC 5321 2.3.8)."""

    async def scenario() -> None:
        async with world(tmp_path, listener=f'invalid_line_endings = "{mode}"') as here:
            async with here.client() as client:
                await client.expect(b"220")
                await client.ask(b"EHLO x\r\n", b"250")
                await client.ask(b"MAIL FROM:<>\r\nRCPT TO:<1@a.test>\r\nDATA\r\n", b"250", b"250", b"354")
                await client.ask(b"Subject: x\r\n\r\na\nb\rc\r\n.\r\n", reply)
            if kept is not None:
                await here.settled(1)
                assert here.accepted()[0].content.endswith(b"Subject: x\r\n\r\n" + kept)
                assert not here.accepted()[0].irregularities
            else:
                assert not here.got

    uvloop.run(scenario())


def test_clients_leave_descriptors_for_delivery(tmp_path: Path) -> None:
    """However many connections a listener may have, those of a process keep to its share of descriptors: the next gets 421, and mail goes out."""

    async def scenario() -> None:
        async with world(tmp_path, descriptors=100) as here, contextlib.AsyncExitStack() as stack:
            limit = here.worker.desk.connection_limit
            assert 5 < limit < 50
            for _ in range(limit - 1):
                client = await stack.enter_async_context(here.client())
                await client.expect(b"220")
            await here.send(["one@a.test"])
            await here.settled(1)
            last = await stack.enter_async_context(here.client())
            await last.expect(b"220")
            over = await stack.enter_async_context(here.client())
            await over.expect(b"421 4.3.2")

    uvloop.run(scenario())
