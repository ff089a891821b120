"""Scripted behaviour: every kind of action at every stage."""

from __future__ import annotations

import asyncio

import pytest

from penstock.mail.duration import Seconds
from penstock.sim.raw_client import RawClient
from penstock.sim.sink import Kind, Stage

from .world import HELLO, Place, place, rounds, rule, run, talk, until

BEHIND_RCPT = (Stage.RCPT, Stage.DATA, Stage.BODY, Stage.DOT)
GROUP = b"MAIL FROM:<s@from.test>\r\nRCPT TO:<%b>\r\nDATA\r\n"


async def stage_reached(client: RawClient, recipient: str) -> tuple[str, bytes]:
    """Talk until the server does not say what is hoped for: the stage at which that was, and what came (b"" for the end)."""
    steps: list[tuple[str, bytes, bytes]] = [
        ("banner", b"", b"220"),
        ("ehlo", HELLO, b"250"),
        ("mail", b"MAIL FROM:<s@from.test>\r\n", b"250"),
        ("rcpt", f"RCPT TO:<{recipient}>\r\n".encode(), b"250"),
        ("data", b"DATA\r\n", b"354"),
    ]
    for name, command, hoped in steps:
        try:
            await client.send(command)
            reply = await client.reply()
        except ConnectionError:
            return name, b""
        if not reply.startswith(hoped):
            return name, reply
    try:
        await client.send(b"Subject: x\r\n\r\n")
        await rounds()
        await client.send(b"body\r\n.\r\n")
        reply = await client.reply()
    except ConnectionError:
        return "dot", b""
    return ("done", reply) if reply.startswith(b"250") else ("dot", reply)


@pytest.mark.parametrize("stage", BEHIND_RCPT)
@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        ("tempfail", b"4"),
        ("permfail", b"5"),
        ("tempfail-499", b"499"),
        ("permfail-521", b"521"),
        ("disconnect", b""),
        ("reset", b""),
    ],
)
def test_a_recipient_acts_at_its_stage(name: str, beginning: bytes, stage: Stage) -> None:
    """A refusal has its code, a cut says nothing; and the recipient is counted accordingly."""

    async def scene() -> None:
        async with place() as here, here.client(hello=False) as client:
            reached, reply = await stage_reached(client, f"{name}-{stage.value}+tag@a.test")
            assert reached == ("dot" if stage is Stage.BODY else stage.value)
            assert reply.startswith(beginning)
            assert bool(reply) is bool(beginning)
            figures = here.sink.statistics.domains["a.test"]
            counts = (figures.accepted, figures.tempfailed, figures.permfailed, figures.disconnected)
            assert counts == tuple(int(beginning[:1] == digit) for digit in (b"2", b"4", b"5", b""))
            assert here.sink.statistics.total.messages == 0
            assert len(here.got) == (stage is Stage.DOT)
            assert not any(message.is_accepted for message in here.got)

    run(scene())


@pytest.mark.parametrize("stage", [Stage.CONNECT, Stage.BANNER, Stage.EHLO, Stage.MAIL])
def test_a_stage_that_is_over_acts_at_rcpt(stage: Stage) -> None:
    """The sink learns of a recipient at RCPT, so that is where it acts."""

    async def scene() -> None:
        async with place() as here, here.client(hello=False) as client:
            assert await stage_reached(client, f"disconnect-{stage.value}@a.test") == ("rcpt", b"")
        async with place() as here, here.client(hello=False) as client:
            reached, reply = await stage_reached(client, f"tempfail-452-{stage.value}@a.test")
            assert (reached, reply[:3]) == ("rcpt", b"452")

    run(scene())


def test_a_pipelined_recipient_acts_at_mail() -> None:
    """RCPT has come with MAIL, so the sink can know: MAIL is refused, RCPT and DATA fall with it, and the recipient is counted."""

    async def scene() -> None:
        async with place() as here, here.client() as client:
            await client.ask(GROUP % b"tempfail-450-mail@a.test", b"450", b"503", b"554")
            assert here.sink.statistics.domains["a.test"].tempfailed == 1
            await client.ask(b"RSET\r\n" + GROUP % b"u@a.test", b"250", b"250", b"250", b"354")

        async with place() as here, here.client() as client:
            await client.send(GROUP % b"disconnect-mail@a.test")
            assert await client.until_closed() == b""
            assert here.sink.statistics.domains["a.test"].disconnected == 1

    run(scene())


def test_a_refused_recipient_does_not_touch_the_others() -> None:
    """Only what was accepted counts as delivered, by domain."""

    async def scene() -> None:
        async with place() as here, here.client() as client:
            await client.ask(b"MAIL FROM:<s@from.test>\r\n", b"250")
            for recipient, reply in (
                (b"permfail@a.test", b"550"),
                (b"u@a.test", b"250"),
                (b"tempfail@b.test", b"451"),
            ):
                await client.ask(b"RCPT TO:<%b>\r\n" % recipient, reply)
            await client.ask(b"DATA\r\n", b"354")
            await client.ask(b"x\r\n.\r\n", b"250")
            assert here.got[0].envelope.recipients == ("u@a.test",)
            domains = here.sink.statistics.domains
            assert (domains["a.test"].accepted, domains["a.test"].permfailed, domains["a.test"].messages) == (
                1,
                1,
                1,
            )
            assert (domains["b.test"].tempfailed, domains["b.test"].messages) == (1, 0)

    run(scene())


@pytest.mark.parametrize("stage", BEHIND_RCPT[:2] + BEHIND_RCPT[3:])
def test_tempfail_then_accept_counts_attempts_of_one_recipient(stage: Stage) -> None:
    """Suffix and domain make another recipient, with a count of its own."""
    local_part = f"tempfail-{stage.value}-2-then-accept"

    async def scene() -> None:
        async with place() as here, here.client() as client:
            verdicts = []
            for recipient in (f"{local_part}@a.test", f"{local_part}+x@a.test", f"{local_part}@b.test"):
                for _ in range(4):
                    verdicts.append((await talk(client, recipient))[:1])
                    await client.ask(b"RSET\r\n", b"250")
            assert verdicts == [b"4", b"4", b"2", b"2"] * 3

    run(scene())


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.DOT])
def test_a_slow_recipient_delays_the_reply(stage: Stage) -> None:
    """The reply comes once the time has passed, and not before; then the session goes on."""

    async def scene() -> None:
        async with place() as here, here.client() as client:
            talking = asyncio.create_task(talk(client, f"slow-30-{stage.value}@a.test"))
            await until(lambda: here.clock.next_timer() == 30.0)
            here.clock.advance(Seconds(29.9))
            await rounds()
            assert not talking.done()
            here.clock.advance(Seconds(0.1))
            assert (await talking).startswith(b"250")
            assert (await talk(client, "u@a.test")).startswith(b"250")

    run(scene())


def test_replies_before_a_slow_one_are_not_held_back() -> None:
    """In a pipelined group the replies up to the delay go out at once, those behind it wait."""

    async def scene() -> None:
        async with place() as here, here.client() as client:
            await client.send(b"NOOP\r\n" + GROUP % b"slow-30@a.test")
            await client.expect(b"250", b"250")
            behind = asyncio.create_task(client.expect(b"250", b"354"))
            await rounds()
            assert not behind.done()
            here.clock.advance(Seconds(30))
            await behind

    run(scene())


def test_a_slow_body_is_not_read() -> None:
    """The sink stops reading in the middle of the mail data: the client's writes block, as with a full window."""

    async def scene() -> None:
        async with place() as here, here.client() as client:
            await client.ask(GROUP % b"slow-30-body@a.test", b"250", b"250", b"354")
            sending = asyncio.create_task(client.send(b"x" * 70 + b"\r\n" * 12_000_000 + b".\r\n"))
            await until(lambda: here.clock.next_timer() == 30.0)
            await rounds()
            assert not sending.done()
            here.clock.advance(Seconds(30))
            await sending
            await client.expect(b"250")

    run(scene())


def test_the_longest_delay_of_several_recipients_counts() -> None:
    """And a refusal goes before a delay."""

    async def scene() -> None:
        async with place() as here, here.client() as client:
            for recipients, reply in (
                ((b"slow-5-dot@a.test", b"slow-30-dot@a.test"), b"250"),
                ((b"slow-5-dot@a.test", b"tempfail-dot@a.test"), b"451"),
            ):
                await client.ask(b"MAIL FROM:<s@from.test>\r\n", b"250")
                for recipient in recipients:
                    await client.ask(b"RCPT TO:<%b>\r\n" % recipient, b"250")
                await client.ask(b"DATA\r\n", b"354")
                await client.send(b"x\r\n.\r\n")
                if reply == b"250":
                    await until(lambda: here.clock.next_timer() == 30.0)
                    here.clock.advance(Seconds(30))
                await client.expect(reply)

    run(scene())


@pytest.mark.parametrize(
    ("behaviour", "beginning"), [("tempfail-quit", b"451"), ("disconnect-quit", b""), ("reset-quit", b"")]
)
def test_quit_can_fail(behaviour: str, beginning: bytes) -> None:
    """After an accepted message; it changes nothing about that."""

    async def scene() -> None:
        async with place() as here, here.client() as client:
            assert (await talk(client, f"{behaviour}@a.test")).startswith(b"250")
            await client.send(b"QUIT\r\n")
            assert (await client.until_closed()).startswith(beginning)
            assert here.sink.statistics.total.accepted == 1

    run(scene())


def test_local_parts_can_be_left_alone() -> None:
    """With ``local_parts = false`` only rules act."""

    async def scene() -> None:
        async with place(local_parts=False) as here, here.client() as client:
            assert (await talk(client, "permfail@a.test")).startswith(b"250")

    run(scene())


async def _ends_at_once(here: Place) -> bytes:
    async with here.client(hello=False) as client:
        return await client.until_closed()


@pytest.mark.parametrize(
    ("kind", "stage", "said"),
    [
        (Kind.DISCONNECT, Stage.CONNECT, b""),
        (Kind.RESET, Stage.CONNECT, b""),
        (Kind.DISCONNECT, Stage.BANNER, b"220 sink.test"),
        (Kind.TEMPFAIL, Stage.CONNECT, b"421 scripted tempfail at connect\r\n"),
    ],
)
def test_rules_end_a_connection_at_its_beginning(kind: Kind, stage: Stage, said: bytes) -> None:
    """Nothing, half of a greeting, or 421."""

    async def scene() -> None:
        async with place(rules=[rule(kind, stage)]) as here:
            assert await _ends_at_once(here) == said
            assert here.sink.statistics.refused_connections == 1

    run(scene())


def test_a_refused_greeting_leaves_only_quit() -> None:
    """554, then 503 to everything (RFC 5321 3.1)."""

    async def scene() -> None:
        async with (
            place(rules=[rule(Kind.PERMFAIL, Stage.BANNER, text="go away")]) as here,
            here.client(hello=False) as client,
        ):
            await client.expect(b"554 go away")
            await client.ask(HELLO, b"503")
            await client.ask(b"QUIT\r\n", b"221")

    run(scene())


def test_connections_are_refused_by_count_and_by_odds() -> None:
    """Every third; or by chance, the same ones for the same seed."""

    async def verdicts(**keys: float) -> list[bool]:
        async with place(rules=[rule(Kind.DISCONNECT, Stage.CONNECT, **keys)], seed=5) as here:
            return [bool(await _first_octets(here)) for _ in range(12)]

    async def _first_octets(here: Place) -> bytes:
        async with here.client(hello=False) as client:
            try:
                return await client.reply()
            except ConnectionError:
                return b""

    async def scene() -> None:
        assert await verdicts(every=3) == [True, True, False] * 4
        by_chance = await verdicts(odds=0.5)
        assert by_chance == await verdicts(odds=0.5)
        assert 0 < sum(by_chance) < 12

    run(scene())


def test_a_rule_acts_at_ehlo_and_helo_still_works() -> None:
    """A client may fall back (RFC 5321 3.2)."""

    async def scene() -> None:
        async with (
            place(rules=[rule(Kind.PERMFAIL, Stage.EHLO, code=502, helo=("client.*",))]) as here,
            here.client(hello=False) as client,
        ):
            await client.expect(b"220")
            await client.ask(HELLO, b"502")
            await client.ask(b"MAIL FROM:<s@from.test>\r\n", b"503")
            await client.ask(b"HELO client.test\r\n", b"250")
            assert (await talk(client, "u@a.test")).startswith(b"250")

    run(scene())


def test_rules_match_sender_and_domain_and_go_before_local_parts() -> None:
    """The rule's reply is given, not the local part's; ACCEPT is a decision too."""
    rules = [
        rule(Kind.ACCEPT, Stage.RCPT, recipient=("permfail@good.test",)),
        rule(
            Kind.TEMPFAIL,
            Stage.RCPT,
            sender=("*@from.test",),
            domain=("*.test",),
            code=452,
            enhanced="4.2.2",
            text="full",
        ),
    ]

    async def scene() -> None:
        async with place(rules=rules) as here, here.client() as client:
            assert await talk(client, "permfail@a.test") == b"452 4.2.2 full\r\n"
            await client.ask(b"RSET\r\n", b"250")
            assert (await talk(client, "permfail@a.test", sender="x@other.test")).startswith(b"550")
            await client.ask(b"RSET\r\n", b"250")
            assert (await talk(client, "permfail@good.test")).startswith(b"250")

    run(scene())


def test_a_rule_at_dot_sees_every_recipient() -> None:
    """One that matches is enough for the whole message."""

    async def scene() -> None:
        async with (
            place(rules=[rule(Kind.PERMFAIL, Stage.DOT, domain=("b.test",), text="no")]) as here,
            here.client() as client,
        ):
            assert (await talk(client, "u@a.test")).startswith(b"250")
            await client.ask(
                b"MAIL FROM:<>\r\nRCPT TO:<u@a.test>\r\nRCPT TO:<u@b.test>\r\n", b"250", b"250", b"250"
            )
            await client.ask(b"DATA\r\n", b"354")
            await client.ask(b".\r\n", b"554 5.7.1 no")
            assert here.sink.statistics.total.permfailed == 2

    run(scene())


def test_a_rule_at_quit_knows_the_last_transaction() -> None:
    """By its recipients."""

    async def scene() -> None:
        async with place(rules=[rule(Kind.PERMFAIL, Stage.QUIT, domain=("b.test",))]) as here:
            for domain, reply in ((b"a.test", b"221"), (b"b.test", b"550")):
                async with here.client() as client:
                    await talk(client, f"u@{domain.decode()}")
                    await client.ask(b"QUIT\r\n", reply)

    run(scene())


@pytest.mark.parametrize(
    ("stage", "octets", "replies"),
    [
        (Stage.EHLO, b"250-a\r\n500 b\r\n", b"250-a\r\n500 b\r\n"),
        (Stage.RCPT, b"2 50 ok\r\n", b"250 2.1.0 sender ok\r\n2 50 ok\r\n"),
        (Stage.DOT, b"250 ok\r\n250 stray\r\n", b"250 ok\r\n250 stray\r\n"),
    ],
)
def test_raw_octets_are_sent_as_they_are(stage: Stage, octets: bytes, replies: bytes) -> None:
    """Whatever they are: replies that are none, and too many of them."""

    async def scene() -> None:
        async with (
            place(rules=[rule(Kind.RAW, stage, octets=octets)]) as here,
            here.client(hello=stage is not Stage.EHLO) as client,
        ):
            if stage is Stage.EHLO:
                await client.expect(b"220")
                assert (await client.ask(HELLO, b"250-")) == [replies]
                return
            if stage is Stage.RCPT:
                await client.send(b"MAIL FROM:<s@from.test>\r\nRCPT TO:<u@a.test>\r\n")
            else:
                await client.ask(GROUP % b"u@a.test", b"250", b"250", b"354")
                await client.send(b"x\r\n.\r\n")
            await client.send(b"QUIT\r\n")
            assert (await client.until_closed()).startswith(replies)

    run(scene())


def test_a_rule_may_delay_and_then_refuse_or_cut() -> None:
    """``delay`` goes with every action."""

    async def scene() -> None:
        rules = [
            rule(Kind.DISCONNECT, Stage.DOT, delay=20.0),
            rule(Kind.TEMPFAIL, Stage.CONNECT, delay=10.0, skip=1),
        ]
        async with place(rules=rules) as here, here.client() as client:
            await client.ask(GROUP % b"u@a.test", b"250", b"250", b"354")
            await client.send(b"x\r\n.\r\n")
            await until(lambda: here.clock.next_timer() == 20.0)
            async with here.client(hello=False) as second:
                await until(lambda: here.clock.next_timer() == 10.0)
                here.clock.advance(Seconds(10))
                assert (await second.until_closed()).startswith(b"421")
            here.clock.advance(Seconds(10))
            assert await client.until_closed() == b""
            assert here.got[0].reply is None

    run(scene())
