"""Mail on its way out: connections, replies, retries and the end of each message's time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from penstock.cli.checking import checked
from penstock.sim.sink.options import DEFAULT_EXTENSIONS, Extension, SinkOptions
from penstock.sim.sink.script import Script, parse_script
from penstock.sim.sink.server import Sink
from tests.system.harness import until, world

pytestmark = pytest.mark.system


def script(*rules: dict[str, object]) -> Script:
    """The sink's script with these rules."""
    return parse_script({"rule": list(rules)}, "script.toml")


def test_one_connection_serves_message_after_message(tmp_path: Path) -> None:
    """Mail for two domains of one site goes over the connection that is there."""

    async def scenario() -> None:
        async with world(tmp_path) as here:
            for number in range(10):
                await here.send([f"{number}@{'a' if number % 2 else 'b'}.test"])
                await here.settled(number + 1)
            assert here.sink.statistics.total.connections == 1
            assert len({event["session_id"] for event in here.events("Delivery")}) == 1

    uvloop.run(scenario())


def test_an_idle_connection_is_closed_with_quit(tmp_path: Path) -> None:
    """After idle_timeout the connection goes, and its path with it."""

    async def scenario() -> None:
        async with world(tmp_path, path='idle_timeout = "50ms"') as here:
            await here.send(["one@a.test"])
            await here.settled(1)
            await until(lambda: not here.worker.lane.connections, "the connection is closed")
            await until(lambda: not here.sink.connections, "the sink sees it")
            assert not here.worker.lane.scheduler.paths
            await here.send(["two@a.test"])
            await here.settled(2)

    uvloop.run(scenario())


def test_a_deferred_recipient_is_tried_again_and_the_others_are_not(tmp_path: Path) -> None:
    """Of one message's three recipients one is accepted, one fails, one is deferred and accepted at the second attempt."""

    async def scenario() -> None:
        async with world(tmp_path, retry_interval="50ms") as here:
            await here.send(["ok@a.test", "permfail@a.test", "tempfail-1-then-accept@a.test"])
            await here.settled(3)
            kinds = [
                (event["type"], event["recipient"].partition("@")[0], event["num_attempts"])
                for event in here.events()[1:]
            ]
            assert sorted(kinds) == [
                ("Bounce", "permfail", 1),
                ("Delivery", "ok", 1),
                ("Delivery", "tempfail-1-then-accept", 2),
                ("TransientFailure", "tempfail-1-then-accept", 1),
            ]
            assert [message.envelope.recipients for message in here.accepted()] == [
                ("ok@a.test",),
                ("tempfail-1-then-accept@a.test",),
            ]
            assert len(here.worker.spool) == 0
            assert len(here.worker.lane.scheduler) == 0

    uvloop.run(scenario())


@pytest.mark.parametrize(
    ("local_part", "kind"),
    [
        ("permfail-mail", "Bounce"),
        ("permfail-rcpt", "Bounce"),
        ("permfail-data", "Bounce"),
        ("permfail-dot", "Bounce"),
        ("tempfail-rcpt", "TransientFailure"),
        ("tempfail-data", "TransientFailure"),
        ("tempfail-dot", "TransientFailure"),
        ("disconnect-rcpt", "TransientFailure"),
        ("disconnect-data", "TransientFailure"),
        ("disconnect-body", "TransientFailure"),
        ("disconnect-dot", "TransientFailure"),
    ],
)
@pytest.mark.parametrize("is_pipelined", [True, False], ids=["pipelined", "one-by-one"])
def test_what_the_peer_says_at_each_stage_decides(
    tmp_path: Path, local_part: str, kind: str, is_pipelined: bool
) -> None:
    """A 5yz fails, a 4yz or a lost connection defers, with PIPELINING and without; it is uncertain once mail data was sent."""

    async def scenario() -> None:
        extensions = DEFAULT_EXTENSIONS if is_pipelined else frozenset()
        async with world(tmp_path, options=SinkOptions(extensions=extensions)) as here:
            await here.send([f"{local_part}@a.test"])
            await until(lambda: here.events(kind), f"there is a {kind}")
            (event,) = here.events(kind)
            assert event["num_attempts"] == 1
            assert event.get("is_uncertain", False) is (local_part in ("disconnect-body", "disconnect-dot"))

    uvloop.run(scenario())


def test_a_message_is_given_up_when_its_next_attempt_would_be_too_late(tmp_path: Path) -> None:
    """Deferred, and max_age over before the retry: TransientFailure, then Expiration 551 5.4.7 with the last reply."""

    async def scenario() -> None:
        async with world(tmp_path, retry_interval="1h", max_age="30 minutes") as here:
            await here.send(["tempfail@a.test"])
            await here.settled(1)
            first, second = here.events()[1:]
            assert (first["type"], second["type"]) == ("TransientFailure", "Expiration")
            assert second["response"]["code"] == 551
            assert "450" in second["response"]["content"] or "451" in second["response"]["content"]
            assert len(here.worker.spool) == 0

    uvloop.run(scenario())


def test_a_message_for_a_dead_site_expires_in_time_without_an_attempt(tmp_path: Path) -> None:
    """A site that cannot be reached holds its mail; max_age holds there too, and no attempt was spent."""

    async def scenario() -> None:
        async with world(tmp_path, max_age="300ms") as here:
            await here.send(["one@dead.test"])
            await here.settled(1)
            (event,) = here.events("Expiration")
            assert event["num_attempts"] == 0
            assert "refused" in event["response"]["content"]
            assert not here.events("TransientFailure")

    uvloop.run(scenario())


def test_the_next_host_is_tried_when_the_first_is_dead(tmp_path: Path) -> None:
    """The MX host of the lower preference value does not answer; the mail goes to the other one (RFC 5321 5.1)."""

    async def scenario() -> None:
        async with world(tmp_path) as here:
            await here.send(["one@fallback.test"])
            await here.settled(1)
            (event,) = here.events("Delivery")
            assert event["peer_address"]["name"] == "mx.here.test"

    uvloop.run(scenario())


@pytest.mark.parametrize(
    ("domain", "prohibited", "expected"),
    [
        ("null.test", "", (556, "5.1.10")),
        ("a.test", '"127.0.0.0/8"', (550, "5.4.4")),
        ("[127.0.0.1]", '"127.0.0.1"', (550, "5.4.4")),
    ],
)
def test_what_can_never_be_delivered_fails_at_once(
    tmp_path: Path, domain: str, prohibited: str, expected: tuple[int, str]
) -> None:
    """A null MX and prohibited hosts give a Bounce with the code of RFC 7505 and formats, and no attempt is spent."""

    async def scenario() -> None:
        async with world(tmp_path, prohibited=prohibited) as here:
            await here.send([f"one@{domain}"])
            await here.settled(1)
            (event,) = here.events("Bounce")
            code = event["response"]["enhanced_code"]
            assert (
                event["response"]["code"],
                f"{code['class']}.{code['subject']}.{code['detail']}",
            ) == expected
            assert event["num_attempts"] == 0
            assert not here.got

    uvloop.run(scenario())


def test_mail_that_would_come_back_to_us_fails(tmp_path: Path) -> None:
    """A destination whose MX greets with our own name is ourselves: 554 5.4.6, not an endless loop."""

    async def scenario() -> None:
        async with world(tmp_path, options=SinkOptions(hostname="MTA.test")) as here:
            await here.send(["one@a.test"])
            await here.settled(1)
            (event,) = here.events("Bounce")
            assert event["response"]["code"] == 554
            assert event["response"]["enhanced_code"]["detail"] == 6

    uvloop.run(scenario())


def test_a_backup_of_hosts_that_do_not_answer_waits_for_them(tmp_path: Path) -> None:
    """The better MX host is dead and the worse one greets with our name: the mail waits, it does not fail (RFC 5321 5.1)."""

    async def scenario() -> None:
        async with world(tmp_path, options=SinkOptions(hostname="mta.test")) as here:
            await here.send(["one@fallback.test"])
            paths = here.worker.lane.scheduler.paths
            await until(lambda: any(path.hold is not None for path in paths.values()), "the path is held")
            assert len(here.worker.spool) == 1
            assert not here.events("Bounce")

    uvloop.run(scenario())


def test_connections_stay_within_their_limit(tmp_path: Path) -> None:
    """With a hundred messages for a slow site there are never more than connection_limit connections, and that many are used."""

    async def scenario() -> None:
        async with world(tmp_path, path="connection_limit = 3") as here:
            most = 0
            for number in range(5):
                await here.send(
                    [f"slow-0.02-dot+{number}-{item}@{'abc'[item % 2]}.test" for item in range(20)]
                )
            total = here.worker.tally.total

            def done() -> bool:
                nonlocal most
                most = max(most, here.sink.connections)
                return total.delivered >= 100

            await until(done, "all is delivered")
            assert most <= 3

    uvloop.run(scenario())


def test_a_connection_that_the_peer_has_closed_costs_no_attempt(tmp_path: Path) -> None:
    """A reused connection that turns out to be gone is replaced: the message goes out at its first attempt."""

    async def scenario() -> None:
        async with world(
            tmp_path, script=script({"stage": "mail", "action": "disconnect", "every": 2})
        ) as here:
            await here.send(["one@a.test"])
            await here.settled(1)
            await here.send(["two@a.test"])
            await here.settled(2)
            assert [event["num_attempts"] for event in here.events("Delivery")] == [1, 1]
            assert not here.events("TransientFailure")

    uvloop.run(scenario())


def test_more_recipients_than_a_transaction_takes_go_in_several(tmp_path: Path) -> None:
    """A message to 250 recipients of one domain leaves in three transactions, everybody once."""

    async def scenario() -> None:
        async with world(tmp_path) as here:
            await here.send([f"{number}@a.test" for number in range(250)])
            await here.settled(250)
            sizes = [len(message.envelope.recipients) for message in here.accepted()]
            assert sizes == [100, 100, 50]
            assert len(here.events("Delivery")) == 250

    uvloop.run(scenario())


def test_eight_bit_content_needs_a_hop_that_takes_it(tmp_path: Path) -> None:
    """Without 8BITMIME at the next hop 8-bit mail fails with 554 5.6.3, plain mail goes (RFC 6152)."""

    async def scenario() -> None:
        options = SinkOptions(extensions=frozenset({Extension.PIPELINING}))
        async with world(tmp_path, options=options) as here:
            await here.send(
                ["one@a.test"], "Subject: x\r\n\r\ngrün\r\n".encode(), parameters=" BODY=8BITMIME"
            )
            await here.send(["two@a.test"])
            await here.settled(2)
            (bounce,) = here.events("Bounce")
            assert (bounce["recipient"], bounce["response"]["code"]) == ("one@a.test", 554)
            assert [event["recipient"] for event in here.events("Delivery")] == ["two@a.test"]

    uvloop.run(scenario())


def test_internationalised_addresses_go_where_they_are_understood(tmp_path: Path) -> None:
    """With SMTPUTF8 at the hop the address arrives as it was; without, that recipient alone fails with 554 5.6.7 (RFC 6531)."""

    async def scenario(extensions: frozenset[Extension], expected: list[tuple[str, str]]) -> None:
        async with world(tmp_path, options=SinkOptions(extensions=extensions)) as here:
            await here.send(["grün@a.test", "plain@a.test"], parameters=" SMTPUTF8")
            await here.settled(2)
            found = [(event["type"], event["recipient"]) for event in here.events("Delivery", "Bounce")]
            assert sorted(found) == sorted(expected)

    for number, (extensions, kind) in enumerate(
        [(frozenset(Extension), "Delivery"), (frozenset({Extension.EIGHT_BIT}), "Bounce")]
    ):
        place = tmp_path / str(number)
        place.mkdir()
        tmp_path = place
        uvloop.run(scenario(extensions, [(kind, "grün@a.test"), ("Delivery", "plain@a.test")]))


def test_stopping_finishes_what_is_on_a_connection(tmp_path: Path) -> None:
    """What is under way when the server stops is delivered; what waits for its retry is counted as left."""

    async def scenario() -> None:
        async with world(tmp_path) as here:
            await here.send(["slow-0.2-dot@a.test"])
            await here.send(["tempfail@a.test"])
            await until(lambda: here.events("TransientFailure"), "one is deferred")
            assert await here.worker.stop(5.0) == 1
            assert here.worker.tally.total.delivered == 1
            assert len(here.accepted()) == 1

    uvloop.run(scenario())


def test_a_site_that_comes_back_gets_its_mail(tmp_path: Path) -> None:
    """Mail for a site that refuses sessions waits, no attempt spent, and goes when the site takes sessions again."""

    async def scenario() -> None:
        rules = script({"stage": "banner", "action": "tempfail", "code": 421, "first": 1})
        async with world(tmp_path, script=rules) as here:
            await here.send(["one@a.test"])
            await here.settled(1)
            (event,) = here.events("Delivery")
            assert event["num_attempts"] == 1
            assert not here.events("TransientFailure")

    uvloop.run(scenario())


async def peer(
    answer: Callable[[bytes, asyncio.StreamWriter], Awaitable[bool]],
) -> tuple[asyncio.Server, int]:
    """A server whose banner and replies are the test's: ``answer`` writes them for each line, and says whether to go on."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        go_on = await answer(b"", writer)
        while go_on and (line := await reader.readline()):
            go_on = await answer(line, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


def test_a_deferred_batch_is_not_forgotten_when_the_next_finds_the_connection_gone(tmp_path: Path) -> None:
    """150 recipients, the first hundred deferred, then the peer hangs up: one attempt, and everybody waits for the retry."""
    connections = 0

    async def answer(line: bytes, writer: asyncio.StreamWriter) -> bool:
        nonlocal connections
        if not line:
            connections += 1
            writer.write(b"220 peer\r\n")
        elif line.startswith(b"EHLO"):
            writer.write(b"250-peer\r\n250 PIPELINING\r\n")
        elif line.startswith(b"RCPT"):
            writer.write(b"451 4.7.1 later\r\n")
        elif line.startswith(b"DATA"):
            writer.write(b"554 5.5.1 nobody\r\n")
            return False
        else:
            writer.write(b"250 ok\r\n")
        return True

    async def scenario() -> None:
        server, port = await peer(answer)
        async with server, world(tmp_path, port=port) as here:
            await here.send([f"{number}@a.test" for number in range(150)])
            scheduler = here.worker.lane.scheduler
            await until(lambda: any(queue.waiting for queue in scheduler.queues.values()), "it waits")
            assert connections == 1
            await until(lambda: here.events("TransientFailure"), "their outcomes are stored")
            events = here.events("TransientFailure")
            assert len(events) == 100
            assert {event["num_attempts"] for event in events} == {1}
            assert not here.events("Delivery", "Bounce")

    uvloop.run(scenario())


def test_a_session_that_ends_as_it_begins_is_a_failed_connection(tmp_path: Path) -> None:
    """250 to EHLO and 421 in one breath: the site is held with that reason, not connected to again at once."""
    connections = 0

    async def answer(line: bytes, writer: asyncio.StreamWriter) -> bool:
        nonlocal connections
        if line:
            writer.write(b"250 peer\r\n421 4.3.2 overloaded\r\n")
            return False
        connections += 1
        writer.write(b"220 peer\r\n")
        return True

    async def scenario() -> None:
        server, port = await peer(answer)
        async with server, world(tmp_path, port=port) as here:
            await here.send(["one@a.test"])
            paths = here.worker.lane.scheduler.paths
            await until(lambda: any(path.hold is not None for path in paths.values()), "the path is held")
            assert connections == 1
            (held,) = [path.hold for path in paths.values()]
            assert held is not None
            assert "overloaded" in held.reason

    uvloop.run(scenario())


def test_a_peer_that_drips_is_a_peer_that_does_not_answer(tmp_path: Path) -> None:
    """Octets of a reply win no time: the deadline of MAIL passes although something comes all the while."""

    async def scenario() -> None:
        is_over = asyncio.Event()

        async def answer(line: bytes, writer: asyncio.StreamWriter) -> bool:
            if not line:
                writer.write(b"220 peer\r\n")
            elif line.startswith(b"EHLO"):
                writer.write(b"250 peer\r\n")
            else:
                writer.write(b"250-")
                while not is_over.is_set():
                    writer.write(b"x")
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(is_over.wait(), 0.01)
                return False
            return True

        server, port = await peer(answer)
        async with server:
            async with world(tmp_path, port=port, path='mail_from_timeout = "200ms"') as here:
                await here.send(["one@a.test"])
                await until(lambda: here.events("TransientFailure"), "the attempt is over")
                (event,) = here.events("TransientFailure")
                assert "deadline" in event["response"]["content"]
            is_over.set()
            await asyncio.sleep(0)

    uvloop.run(scenario())


def test_a_connection_made_by_an_old_configuration_is_not_used_for_new_mail(tmp_path: Path) -> None:
    """After a reload that changes the port, the next message goes to the new one although the old connection is there."""

    async def scenario() -> None:
        async with world(tmp_path) as here:
            await here.send(["one@a.test"])
            await here.settled(1)
            async with Sink() as other:
                (moved,) = await other.start()
                shaping = here.place / "shaping.toml"
                shaping.write_text(shaping.read_text().replace(str(here.sink_at.port), str(moved.port)))
                await here.worker.reconfigure(checked(here.place / "penstock.toml", 2))
                await here.send(["two@a.test"])
                await here.settled(2)
                assert other.statistics.total.accepted == 1
                assert len(here.accepted()) == 1

    uvloop.run(scenario())
