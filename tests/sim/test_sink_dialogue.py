"""Dialogues with a sink: its protocol, its limits, what it notices."""

from __future__ import annotations

import asyncio

import pytest

from penstock.mail.configuration import Endpoint
from penstock.mail.duration import ByteCount, Seconds
from penstock.sim.raw_client import RawClient
from penstock.sim.sink import Extension, Sink, SinkOptions
from penstock.sim.sink.options import ALL_EXTENSIONS

from .world import HELLO, place, run, talk, until, without

GROUP = b"MAIL FROM:<s@from.test>\r\nRCPT TO:<u@a.test>\r\nDATA\r\n"


def test_a_message_is_taken_octet_for_octet() -> None:
    """Envelope, parameters, name and content are as the client gave them; doubled dots are single again (RFC 5321 4.5.2)."""

    async def scene() -> None:
        async with place() as here, here.client() as client:
            await client.ask(b"MAIL FROM:<s@from.test> BODY=8BITMIME SIZE=50\r\n", b"250 2.1.0")
            await client.ask(b"RCPT TO:<u@A.test>\r\n", b"250 2.1.5")
            await client.ask(b'rcpt to:<"v w"@b.test>\r\n', b"250")
            await client.ask(b"DATA\r\n", b"354")
            await client.ask(b"Subject: \xc3\xa9\r\n\r\n..\r\n...x\r\ny.\r\n.\r\n", b"250 2.0.0")
            await client.ask(b"QUIT\r\n", b"221 2.0.0")
            assert await client.until_closed() == b""
            (message,) = here.got
            assert message.content == b"Subject: \xc3\xa9\r\n\r\n.\r\n..x\r\ny.\r\n"
            assert message.envelope.sender == "s@from.test"
            assert message.envelope.recipients == ("u@A.test", '"v w"@b.test')
            assert message.envelope.parameters == ("BODY=8BITMIME", "SIZE=50")
            assert (message.helo, message.reply, message.irregularities) == (
                "client.test",
                "250 2.0.0 received",
                (),
            )
            figures = here.sink.statistics
            assert (figures.total.messages, figures.total.accepted, figures.total.connections) == (1, 2, 1)
            assert list(figures.domains) == ["a.test", "b.test"]
            assert figures.domains["a.test"].bytes == figures.total.bytes == len(message.wire)

    run(scene())


DIALOGUE = HELLO + GROUP + b".\r\n" + GROUP + b"Subject: x\r\n\r\n..dot\r\n.\r\n" + b"QUIT\r\n"


def test_a_dialogue_is_the_same_octet_by_octet() -> None:
    """However the octets are cut, replies and messages are the same: an empty message, and one with a dot."""

    async def scene() -> None:
        async with place() as here, here.client(hello=False) as client:
            await client.expect(b"220")
            for part, replies in (
                (HELLO, (b"250",)),
                (GROUP, (b"250", b"250", b"354")),
                (b".\r\n", (b"250",)),
                (GROUP, (b"250", b"250", b"354")),
                (b"Subject: x\r\n\r\n..dot\r\n.\r\n", (b"250",)),
                (b"QUIT\r\n", (b"221",)),
            ):
                await client.send_each_octet(part)
                await client.expect(*replies)
            assert [message.content for message in here.got] == [b"", b"Subject: x\r\n\r\n.dot\r\n"]

    run(scene())


def test_mail_data_may_be_cut_anywhere() -> None:
    """The end of data is found across any border, and nothing before it is taken for it."""
    content = b"a\r\n..\r\n\r\n.x\r\n\r\n.\r\n"

    async def scene() -> None:
        async with place() as here, here.client() as client:
            for offset in range(len(content)):
                await client.ask(GROUP, b"250", b"250", b"354")
                await client.send_split(content, offset)
                await client.expect(b"250")
            assert {message.content for message in here.got} == {b"a\r\n.\r\n\r\nx\r\n\r\n"}
            assert len(here.got) == len(content)

    run(scene())


def test_transactions_may_follow_each_other_in_one_write() -> None:
    """Mail data is the first of the next group (RFC 2920 3.1)."""

    async def scene() -> None:
        async with place() as here, here.client() as client:
            await client.ask(GROUP, b"250", b"250", b"354")
            for number in range(20):
                await client.ask(b"%d\r\n.\r\n" % number + GROUP, b"250", b"250", b"250", b"354")
            await client.ask(b"last\r\n.\r\nNOOP\r\nRSET\r\nQUIT\r\n", b"250", b"250", b"250", b"221")
            assert [message.content for message in here.got][-2:] == [b"19\r\n", b"last\r\n"]
            assert here.sink.statistics.total.messages_per_connection == 21.0

    run(scene())


@pytest.mark.parametrize("extension", list(Extension))
def test_each_extension_can_be_left_out(extension: Extension) -> None:
    """It is not in the reply to EHLO, and its parameters are not known (555)."""
    parameters = {
        Extension.EIGHT_BIT: b"BODY=8BITMIME",
        Extension.SMTPUTF8: b"SMTPUTF8",
        Extension.SIZE: b"SIZE=5",
    }

    async def scene() -> None:
        for options in (SinkOptions(), without(extension)):
            async with place(options) as here, here.client(hello=False) as client:
                await client.expect(b"220")
                (offered,) = await client.ask(HELLO, b"250")
                is_offered = extension in options.extensions
                assert (extension.value.encode() in offered) is is_offered
                assert offered.count(b"\r\n") == 1 + len(options.extensions)
                if extension in parameters:
                    command = b"MAIL FROM:<s@from.test> " + parameters[extension] + b"\r\n"
                    await client.ask(command, b"250" if is_offered else b"555")

    run(scene())


def test_without_enhanced_status_codes_replies_have_none() -> None:
    """RFC 2034 3: only who has been offered them gets them; HELO offers nothing."""

    async def scene() -> None:
        async with place(without(Extension.ENHANCED)) as here, here.client() as client:
            await client.ask(b"MAIL FROM:<s@from.test>\r\n", b"250 sender ok")
            await client.ask(b"RCPT TO:<permfail@a.test>\r\n", b"550 scripted")
        async with place() as here, here.client(hello=False) as client:
            await client.expect(b"220")
            await client.ask(b"HELO client.test\r\n", b"250 sink.test")
            await client.ask(b"NOOP\r\n", b"250 ok")

    run(scene())


def test_pipelining_that_was_not_offered_ends_the_session() -> None:
    """A client that guesses is told so, and cut off."""

    async def scene() -> None:
        async with place(without(Extension.PIPELINING)) as here, here.client() as client:
            await client.ask(GROUP, b"554 5.5.0")
            assert await client.until_closed() == b""
            assert here.sink.statistics.protocol_errors == 1

    run(scene())


def test_mail_data_before_354_ends_the_session() -> None:
    """DATA is the last of its group (RFC 2920 3.1): who sends content with it has not waited."""

    async def scene() -> None:
        async with place() as here, here.client() as client:
            await client.ask(GROUP + b"early\r\n.\r\n", b"250", b"250", b"354", b"554 5.5.0")
            assert await client.until_closed() == b""
            assert not here.got
            assert here.sink.statistics.total.permfailed == 1

    run(scene())


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        (b"MAIL FROM:<s@from.test>", b"503"),
        (b"RCPT TO:<u@a.test>", b"503"),
        (b"DATA", b"503"),
        (b"EHLO", b"501"),
        (b"EHLO a b", b"501"),
        (b"BOGUS", b"500"),
        (b"", b"500"),
        (b"NOOP\nNOOP", b"250"),
        (b"QUIT now", b"501"),
        (b"RSET now", b"501"),
        (b"VRFY u", b"252"),
        (b"HELP", b"214"),
        (b"STARTTLS", b"500"),
    ],
)
def test_commands_out_of_place_are_refused(command: bytes, reply: bytes) -> None:
    """Before EHLO; the session goes on."""

    async def scene() -> None:
        async with place() as here, here.client(hello=False) as client:
            await client.expect(b"220")
            await client.ask(command + b"\r\n", reply)
            await client.ask(HELLO, b"250")

    run(scene())


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        (b"MAIL FROM:<>", b"250"),
        (b"MAIL FROM: <a@b>", b"501"),
        (b"MAIL FROM:a@b", b"501"),
        (b"MAIL FROM:<a@b", b"501"),
        (b"MAIL FROM:<a@b>x", b"501"),
        (b"MAIL FROM:<a b@c>", b"501"),
        (b"MAIL FROM:<@r:a@b>", b"501"),
        (b"MAIL FROM:<a@b>\nRCPT TO:<c@d>", b"501"),
        (b"MAIL FROM:<a\x00@b>", b"501"),
        (b"MAIL FROM:<a@b> SIZE=1_0", b"501"),
        (b"MAIL FROM:<a@b> SIZE=+1", b"501"),
        (b"MAIL FROM:<a@b> SIZE=\xd9\xa3", b"501"),
        (b"MAIL FROM:<a@b> SIZE=99999999999", b"552 5.3.4"),
        (b"MAIL FROM:<a@b> SIZE=1 SIZE=1", b"501"),
        (b"MAIL FROM:<a@b>  SIZE=1", b"501"),
        (b"MAIL FROM:<a@b> BODY=BINARYMIME", b"501"),
        (b"MAIL FROM:<a@b> SMTPUTF8=1", b"501"),
        (b"MAIL FROM:<a@b> RET=HDRS ENVID=a+2Bb", b"250"),
        (b"MAIL FROM:<a@b> RET=BOTH", b"501"),
        (b"MAIL FROM:<a@b> RET", b"501"),
        (b"MAIL FROM:<a@b> ENVID=a+2", b"501"),
        (b"MAIL FROM:<a@b> ENVID=" + b"x" * 101, b"501"),
        (b"MAIL FROM:<a@b> NOTIFY=NEVER", b"555"),
        (b"MAIL FROM:<a@b> AUTH=<>", b"555"),
        ("MAIL FROM:<é@b>".encode(), b"553 5.6.7"),
        ("MAIL FROM:<é@b> SMTPUTF8".encode(), b"250"),
    ],
)
def test_mail_is_read_strictly(command: bytes, reply: bytes) -> None:
    """RFC 5321 4.1.1.2, RFC 1870, RFC 6152, RFC 6531."""

    async def scene() -> None:
        async with place() as here, here.client() as client:
            await client.ask(command + b"\r\n", reply)

    run(scene())


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        (b"RCPT TO:<postmaster>", b"250"),
        (b'RCPT TO:<"a>b\\" "@c.test>', b"250"),
        (b"RCPT TO:<u@[127.0.0.1]>", b"250"),
        (b"RCPT TO:<>", b"501"),
        (b"RCPT TO:<u>", b"501"),
        (b"RCPT TO:u@a.test", b"501"),
        (b"RCPT TO:<u@a.test> NOTIFY=NEVER ORCPT=rfc822;u+2Bv@a.test", b"250"),
        (b"RCPT TO:<u@a.test> NOTIFY=SUCCESS,delay", b"250"),
        (b"RCPT TO:<u@a.test> NOTIFY=NEVER,SUCCESS", b"501"),
        (b"RCPT TO:<u@a.test> NOTIFY=", b"501"),
        (b"RCPT TO:<u@a.test> ORCPT=u@a.test", b"501"),
        (b"RCPT TO:<u@a.test> ORCPT=rfc822;a+0a", b"501"),
        (b"RCPT TO:<u@a.test> SIZE=5", b"555"),
        ("RCPT TO:<ü@a.test>".encode(), b"553 5.6.7"),
        (b"RCPT TO:<tempfail-550@a.test>", b"553 5.1.3 tempfail takes a code of 400 to 499"),
    ],
)
def test_rcpt_is_read_strictly(command: bytes, reply: bytes) -> None:
    """RFC 5321 4.1.1.3, RFC 3461 4."""

    async def scene() -> None:
        async with place() as here, here.client() as client:
            await client.ask(b"MAIL FROM:<s@from.test>\r\n", b"250")
            await client.ask(command + b"\r\n", reply)

    run(scene())


def test_data_without_recipients_is_refused() -> None:
    """RFC 5321 3.3; and RSET forgets them."""

    async def scene() -> None:
        async with place() as here, here.client() as client:
            await client.ask(b"MAIL FROM:<s@from.test>\r\n", b"250")
            await client.ask(b"DATA\r\n", b"554 5.5.1")
            await client.ask(
                b"RCPT TO:<u@a.test>\r\nDATA x\r\nRSET\r\nDATA\r\n", b"250", b"501", b"250", b"503"
            )
            await client.ask(GROUP, b"250", b"250", b"354")

    run(scene())


def test_long_lines_are_refused_and_endless_ones_cut_off() -> None:
    """A line above the limit is a 500; one that never ends is not waited for."""

    async def scene() -> None:
        async with place(SinkOptions(max_command_length=600)) as here:
            async with here.client() as client:
                await client.ask(b"NOOP " + b"x" * 595 + b"\r\n", b"250")
                await client.ask(b"NOOP " + b"x" * 596 + b"\r\n", b"500 5.5.2")
                await client.ask(b"NOOP\r\n", b"250")
            async with here.client() as client:
                await client.ask(b"N" * 5000, b"500 5.5.2")
                assert await client.until_closed() == b""

    run(scene())


def test_a_message_above_the_limit_is_read_to_its_end_and_refused() -> None:
    """552 behind the end of data, not before; smuggled commands in the rest are data (chasquid's case)."""

    async def scene() -> None:
        async with place(SinkOptions(max_message_size=ByteCount(1000))) as here, here.client() as client:
            await client.ask(GROUP, b"250", b"250", b"354")
            await client.ask(b"x" * 1000 + b"\r\n\n.\n" + GROUP + b"\r\n.\r\n", b"552 5.3.4")
            await client.ask(GROUP, b"250", b"250", b"354")
            await client.ask(b"y" * 998 + b"\r\n.\r\n", b"250")
            assert here.got[0].reply == "552 5.3.4 message too big"
            assert here.got[0].wire == b""
            assert here.sink.statistics.domains["a.test"].permfailed == 1

    run(scene())


def test_recipients_are_limited() -> None:
    """452 4.5.3 for those beyond (RFC 5321 4.5.3.1.10)."""

    async def scene() -> None:
        async with place(SinkOptions(max_recipients=2)) as here, here.client() as client:
            await client.ask(b"MAIL FROM:<s@from.test>\r\n", b"250")
            commands = b"".join(b"RCPT TO:<u%d@a.test>\r\n" % number for number in range(3))
            await client.ask(commands, b"250", b"250", b"452 4.5.3")
            await client.ask(b"DATA\r\n", b"354")
            await client.ask(b".\r\n", b"250")
            figures = here.sink.statistics.domains["a.test"]
            assert (figures.accepted, figures.tempfailed, figures.messages) == (2, 1, 1)

    run(scene())


def test_connections_are_limited() -> None:
    """The one above the limit is turned away with 421; a place that becomes free can be had again."""

    async def scene() -> None:
        async with place(SinkOptions(max_connections=1)) as here:
            async with here.client(), here.client(hello=False) as second:
                assert (await second.until_closed()).startswith(b"421")
            await until(lambda: here.sink.connections == 0)
            async with here.client() as third:
                await third.ask(b"NOOP\r\n", b"250")
            assert here.sink.statistics.refused_connections == 1

    run(scene())


def test_idle_clients_are_sent_away() -> None:
    """421 once nothing was said for the idle timeout (RFC 5321 4.5.3.2.7), and not before."""

    async def scene() -> None:
        async with place(SinkOptions(idle_timeout=Seconds(300.0))) as here, here.client() as idle:
            here.clock.advance(Seconds(200))
            async with here.client() as busy:
                here.clock.advance(Seconds(200))
                assert (await idle.until_closed()).startswith(b"421")
                await busy.ask(b"NOOP\r\n", b"250")

    run(scene())


def test_too_many_errors_end_the_session() -> None:
    """A hundred mistakes are no client."""

    async def scene() -> None:
        async with place() as here, here.client() as client:
            await client.send(b"BOGUS\r\n" * 150)
            replies = await client.until_closed()
            assert (replies.count(b"500 "), replies.count(b"421 ")) == (99, 1)

    run(scene())


def test_replies_that_are_never_read_do_not_pile_up() -> None:
    """A client that only writes is no longer read from, and what waits for it is bounded; once it reads, every reply comes."""
    total = 400_000

    async def scene() -> None:
        async with place() as here, here.client() as client:
            sending = asyncio.create_task(client.send(b"HELP\r\n" * total + b"QUIT\r\n"))
            (session,) = here.sink._state.sessions
            await until(lambda: session._paused)
            assert session.transport.get_write_buffer_size() < 4 * 1024**2
            replies = await client.until_closed()
            await sending
            assert (replies.count(b"214 "), replies.count(b"221 ")) == (total, 1)

    run(scene())


def test_a_count_of_messages_ends_the_sink() -> None:
    """Exactly so many are accepted; a client that goes on gets 421."""

    async def scene() -> None:
        async with place(SinkOptions(count=2)) as here, here.client() as first, here.client() as second:
            await second.ask(GROUP, b"250", b"250", b"354")
            assert (await talk(first, "u@a.test")).startswith(b"250")
            assert (await talk(first, "u@a.test")).startswith(b"250")
            await here.sink.wait_full()
            await second.ask(b"late\r\n.\r\n", b"421")
            await first.ask(b"MAIL FROM:<s@from.test>\r\n", b"421")
            assert here.sink.statistics.total.messages == 2

    run(scene())


def test_stop_ends_every_session() -> None:
    """Clients see the end of the connection, and nobody listens any more."""

    async def scene() -> None:
        sink = Sink(SinkOptions(extensions=ALL_EXTENSIONS))
        [endpoint] = await sink.start()
        async with RawClient(endpoint) as client:
            await client.expect(b"220")
            await sink.stop()
            assert await client.until_closed() == b""
        with pytest.raises(ConnectionRefusedError):
            await RawClient(endpoint).connect()

    run(scene())


def test_a_port_in_use_is_an_error_and_nothing_stays_open() -> None:
    """Either all endpoints or none."""

    async def scene() -> None:
        async with place() as here:
            other = Sink()
            with pytest.raises(OSError, match="in use"):
                await other.start([Endpoint("127.0.0.1", 0), here.endpoint])

    run(scene())


@pytest.mark.parametrize(
    ("wire", "found"),
    [
        (b"a\nb\r\n", ("bare LF",)),
        (b"a\rb\r\n", ("bare CR",)),
        (b".x\r\n", ("dot not doubled",)),
        (b"a\r\n.x\r\n", ("dot not doubled",)),
        (b"x" * 998 + b"\r\n", ()),
        (b"." + b"." * 998 + b"\r\n", ()),
        (b"x" * 999 + b"\r\n", ("line over 998 octets",)),
        (b"ok\r\n" + b"x" * 1001 + b"\r\nok\r\n", ("line over 998 octets",)),
        (b"a\0b\r\n", ("NUL",)),
        (b"\xff\r\n", ("8-bit data not declared",)),
        (b"", ()),
    ],
)
def test_what_no_conforming_client_sends_is_noticed(wire: bytes, found: tuple[str, ...]) -> None:
    """The oracle of outbound checks: bare line ends, dots, long lines, undeclared octets."""

    async def scene() -> None:
        async with place() as here, here.client() as client:
            await client.ask(GROUP, b"250", b"250", b"354")
            await client.ask(wire + b".\r\n" if wire.endswith(b"\r\n") or not wire else wire, b"250")
            assert here.got[0].irregularities == found
            assert here.got[0].wire == wire

    run(scene())
