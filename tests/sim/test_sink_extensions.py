"""STARTTLS, implicit TLS, AUTH, BDAT, DSN and LMTP of a sink."""

from __future__ import annotations

import base64
import json
import ssl
from pathlib import Path

import pytest

from penstock.mail.configuration import TlsMode
from penstock.mail.duration import ByteCount, Seconds
from penstock.sim.certificates import Authority
from penstock.sim.raw_client import RawClient
from penstock.sim.sink import Extension, Kind, Login, Sink, SinkOptions, Stage
from penstock.sim.sink.options import ALL_EXTENSIONS, DEFAULT_EXTENSIONS

from .world import HELLO, place, rounds, rule, run, talk, until, without

STARTTLS = SinkOptions(tls=TlsMode.STARTTLS)
IMPLICIT = SinkOptions(tls=TlsMode.IMPLICIT)
CHUNKING = SinkOptions(extensions=ALL_EXTENSIONS)
LOGIN = Login("anna", "s3cret:\u00e9")
AUTH = SinkOptions(login=LOGIN, requires_auth=True)
LMTP = SinkOptions(lmtp=True)
ENVELOPE = b"MAIL FROM:<s@from.test>\r\nRCPT TO:<u@a.test>\r\n"


def plain(text: str) -> bytes:
    """A response of PLAIN."""
    return base64.b64encode(text.encode())


# TLS.


def test_mail_goes_within_tls_once_starttls_was_answered() -> None:
    """The record says which TLS it was and what name was asked for; STARTTLS is not offered within it (RFC 3207 4.2)."""

    async def scene() -> None:
        async with place(STARTTLS) as here, here.client(hello=False) as client:
            await client.expect(b"220")
            (offered,) = await client.ask(HELLO, b"250")
            assert b"250 STARTTLS\r\n" in offered
            await client.ask(b"STARTTLS\r\n", b"220 2.0.0")
            await client.secure(server_name="sink.test")
            await client.ask(ENVELOPE[:25], b"503")
            (offered,) = await client.ask(HELLO, b"250")
            assert b"STARTTLS" not in offered
            await client.ask(b"STARTTLS\r\n", b"503")
            assert (await talk(client, "u@a.test")).startswith(b"250")
            (message,) = here.got
            assert message.tls is not None
            assert (message.tls.version, message.tls.server_name) == ("TLSv1.3", "sink.test")

    run(scene())


def test_mail_within_tls_is_the_same_octet_by_octet() -> None:
    """A record for each octet; and a message longer than a record."""
    content = b"x" * 900 + b"\r\n"

    async def scene() -> None:
        async with place(IMPLICIT) as here, RawClient(here.endpoint) as client:
            await client.secure()
            await client.expect(b"220")
            await client.send_each_octet(HELLO)
            await client.expect(b"250")
            await client.ask(ENVELOPE + b"DATA\r\n", b"250", b"250", b"354")
            await client.send_each_octet(b"one\r\n.\r\n")
            await client.expect(b"250")
            assert (await talk(client, "u@a.test", content * 100)).startswith(b"250")
            await client.ask(b"QUIT\r\n", b"221")
            assert await client.until_closed() == b""
            assert [message.content for message in here.got] == [b"one\r\n", content * 100]

    run(scene())


@pytest.mark.parametrize("behind", [b"NOOP\r\n", b"\x16\x03\x01", b"x"])
def test_octets_behind_starttls_end_the_session(behind: bytes) -> None:
    """They could be anybody's (CVE-2011-0411); so is a client judged that sends them."""

    async def scene() -> None:
        async with place(STARTTLS) as here, here.client() as client:
            await client.ask(b"STARTTLS\r\n" + behind, b"554 5.5.0")
            assert await client.until_closed() == b""
            assert here.sink.statistics.protocol_errors == 1

    run(scene())


def test_plain_text_within_tls_ends_the_session() -> None:
    """Instead of a handshake, and after close_notify: nothing of it is read, nothing stored."""

    async def scene() -> None:
        async with place(STARTTLS) as here:
            async with here.client() as client:
                await client.ask(b"STARTTLS\r\n", b"220")
                await client.send_plain(b"EHLO again\r\n" + ENVELOPE)
                assert b"250" not in await client.until_closed()
            async with here.client() as client:
                await client.ask(b"STARTTLS\r\n", b"220")
                await client.secure()
                await client.ask(HELLO + ENVELOPE[:0], b"250")
                await client.ask(ENVELOPE + b"DATA\r\n", b"250", b"250", b"354")
                await client.send(b"half")
                await client.close_notify()
                await client.send_plain(b"\r\n.\r\n")
                await client.until_closed()
            await until(lambda: here.sink.connections == 0)
            assert not here.got

    run(scene())


@pytest.mark.parametrize(
    ("command", "reply"),
    [(b"STARTTLS now", b"501"), (b"STARTLTS", b"500"), (ENVELOPE[:23] + b"\r\nSTARTTLS", b"250")],
)
def test_starttls_out_of_place_is_refused(command: bytes, reply: bytes) -> None:
    """Arguments, other words, and within a transaction (RFC 3207 4)."""

    async def scene() -> None:
        async with place(STARTTLS) as here, here.client() as client:
            await client.ask(command + b"\r\n", reply, *([b"503"] if reply == b"250" else []))

    run(scene())


def test_starttls_can_be_scripted() -> None:
    """Refused with 454 (RFC 3207 4), and put off: TLS begins behind the 220, not before."""

    async def scene() -> None:
        async with (
            place(STARTTLS, rules=[rule(Kind.TEMPFAIL, Stage.STARTTLS)]) as here,
            here.client() as client,
        ):
            await client.ask(b"STARTTLS\r\n", b"454 4.7.0")
            assert (await talk(client, "u@a.test")).startswith(b"250")
        slow = rule(Kind.SLOW, Stage.STARTTLS, delay=Seconds(5.0))
        async with place(STARTTLS, rules=[slow]) as here, here.client() as client:
            await client.send(b"STARTTLS\r\n")
            await until(lambda: here.clock.next_timer() == 5.0)
            here.clock.advance(Seconds(5.0))
            await client.expect(b"220")
            await client.secure()
            await client.ask(HELLO, b"250")

    run(scene())


@pytest.mark.parametrize("is_one_file", [False, True])
def test_a_certificate_of_ones_own_is_presented(tmp_path: Path, is_one_file: bool) -> None:
    """Whoever trusts its authority gets through; a session can be resumed, and the record says so."""
    authority = Authority()
    certificate, private_key = authority.issue("mx.here.test").write(tmp_path)
    context = ssl.create_default_context(cadata=authority.pem.decode())
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    own_key: Path | None = private_key
    if is_one_file:
        certificate.write_bytes(certificate.read_bytes() + private_key.read_bytes())
        own_key = None
    options = SinkOptions(tls=TlsMode.IMPLICIT, tls_certificate=certificate, tls_private_key=own_key)

    async def scene() -> None:
        session = None
        async with place(options) as here:
            for _ in range(2):
                async with RawClient(here.endpoint) as client:
                    channel = await client.secure(context, server_name="mx.here.test", session=session)
                    session = channel.session
                    await client.expect(b"220")
                    await client.ask(HELLO, b"250")
                    await talk(client, "u@a.test")
            assert [message.tls and message.tls.is_resumed for message in here.got] == [False, True]
            async with RawClient(here.endpoint) as client:
                with pytest.raises(ssl.SSLCertVerificationError, match=r"mx\.other\.test"):
                    await client.secure(context, server_name="mx.other.test")

    run(scene())


def test_a_certificate_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    """Before anything listens."""
    certificate, _ = Authority().issue("a.test").write(tmp_path, "a")
    _, private_key = Authority().issue("b.test").write(tmp_path, "b")
    for key in (private_key, tmp_path / "none"):
        with pytest.raises(OSError):
            Sink(SinkOptions(tls=TlsMode.STARTTLS, tls_certificate=certificate, tls_private_key=key))


# AUTH.

INITIAL = plain("\0anna\0s3cret:\u00e9")


@pytest.mark.parametrize(
    ("lines", "replies"),
    [
        ([b"AUTH PLAIN " + INITIAL], [b"235 2.7.0"]),
        ([b"auth plain " + plain("anna\0anna\0s3cret:\u00e9")], [b"235"]),
        ([b"AUTH PLAIN", INITIAL], [b"334 \r\n", b"235"]),
        (
            [b"AUTH LOGIN", plain("anna"), plain("s3cret:\u00e9")],
            [b"334 VXNlcm5hbWU6", b"334 UGFzc3dvcmQ6", b"235"],
        ),
        ([b"AUTH LOGIN " + plain("anna"), plain("s3cret:\u00e9")], [b"334 UGFzc3dvcmQ6", b"235"]),
        ([b"AUTH PLAIN " + plain("\0anna\0wrong")], [b"535 5.7.8"]),
        ([b"AUTH PLAIN " + plain("admin\0anna\0s3cret:\u00e9")], [b"535"]),
        ([b"AUTH PLAIN " + plain("anna\0s3cret:\u00e9")], [b"501"]),
        ([b"AUTH PLAIN ="], [b"501"]),
        ([b"AUTH PLAIN not!base64"], [b"501"]),
        ([b"AUTH PLAIN", b"*"], [b"334", b"501 5.7.0"]),
        ([b"AUTH CRAM-MD5"], [b"504"]),
        ([b"AUTH"], [b"501"]),
    ],
)
def test_auth_is_read_strictly(lines: list[bytes], replies: list[bytes]) -> None:
    """RFC 4954, RFC 4616: mail goes behind a 235 only, and the record says whose it is."""

    async def scene() -> None:
        async with place(AUTH) as here, here.client() as client:
            for line, reply in zip(lines, replies, strict=True):
                await client.ask(line + b"\r\n", reply)
            if replies[-1].startswith(b"235"):
                await client.ask(lines[0] + b"\r\n", b"503")
                await client.ask(b"MAIL FROM:<s@from.test> AUTH=s+40from.test\r\nRSET\r\n", b"250", b"250")
                assert (await talk(client, "u@a.test")).startswith(b"250")
                assert here.got[0].authenticated == "anna"
            else:
                assert (await talk(client, "u@a.test")).startswith(b"530")
                assert not here.got

    run(scene())


def test_auth_is_offered_within_tls_only_where_there_is_tls() -> None:
    """538 outside (RFC 4954 6); without TLS it is offered in plain text."""

    async def scene() -> None:
        async with (
            place(SinkOptions(tls=TlsMode.STARTTLS, login=LOGIN)) as here,
            here.client(hello=False) as client,
        ):
            await client.expect(b"220")
            (offered,) = await client.ask(HELLO, b"250")
            assert b"AUTH" not in offered
            await client.ask(b"AUTH PLAIN " + INITIAL + b"\r\n", b"538")
            await client.ask(b"STARTTLS\r\n", b"220")
            await client.secure()
            (offered,) = await client.ask(HELLO, b"250")
            assert b"250 AUTH PLAIN LOGIN\r\n" in offered
            await client.ask(b"AUTH PLAIN " + INITIAL + b"\r\n", b"235")
        async with place(AUTH) as here, here.client(hello=False) as client:
            await client.expect(b"220")
            (offered,) = await client.ask(HELLO, b"250")
            assert b"250 AUTH PLAIN LOGIN\r\n" in offered
            await client.ask(b"AUTH PLAIN " + INITIAL + b"\r\nNOOP\r\n", b"554 5.5.0")
            assert await client.until_closed() == b""
        async with place() as here, here.client() as client:
            await client.ask(b"AUTH PLAIN " + INITIAL + b"\r\n", b"502")

    run(scene())


def test_auth_can_be_scripted() -> None:
    """Right credentials, refused: 454 for now, 535 for good; nobody is authenticated."""

    async def scene() -> None:
        for kind, code in ((Kind.TEMPFAIL, b"454 4.7.8"), (Kind.PERMFAIL, b"535 5.7.8")):
            async with place(AUTH, rules=[rule(kind, Stage.AUTH)]) as here, here.client() as client:
                await client.ask(b"AUTH PLAIN " + INITIAL + b"\r\n", code)
                assert (await talk(client, "u@a.test")).startswith(b"530")

    run(scene())


def test_a_password_is_in_no_repr() -> None:
    """Options are printed when a test fails."""
    assert "s3cret" not in repr(AUTH)


# BDAT.


def test_chunks_make_a_message_octet_for_octet() -> None:
    """Counts decide, not content: dots, ends of data and commands in a chunk are data, and no dot is taken out (RFC 3030 2)."""
    chunks = [b"Subject: x\r\n\r\n.\r\nMAIL FROM:<x@y>\r\n", b"", b"..a\r", b"\n"]

    async def scene() -> None:
        async with place(CHUNKING) as here, here.client() as client:
            await client.ask(ENVELOPE, b"250", b"250")
            for chunk in chunks:
                await client.ask(b"BDAT %d\r\n" % len(chunk) + chunk, b"250 2.0.0")
            await client.ask(b"BDAT 0 LAST\r\n", b"250 2.0.0 received")
            (message,) = here.got
            assert (message.content, message.via, message.irregularities) == (b"".join(chunks), "BDAT", ())
            await client.ask(ENVELOPE + b"bdat 4 last\r\nab\r\nQUIT\r\n", b"250", b"250", b"250", b"221")
            assert here.got[1].content == b"ab\r\n"
            assert here.sink.statistics.total.messages == 2

    run(scene())


def test_chunks_may_be_cut_anywhere() -> None:
    """Octet by octet, and split at every offset."""
    octets = ENVELOPE + b"BDAT 3\r\na\r\nBDAT 5 LAST\r\n.\r\n\r\n"

    async def scene() -> None:
        async with place(CHUNKING) as here, here.client() as client:
            await client.send_each_octet(octets)
            await client.expect(b"250", b"250", b"250", b"250")
            for offset in range(1, len(octets)):
                await client.send_split(octets, offset)
                await client.expect(b"250", b"250", b"250", b"250")
            assert {message.content for message in here.got} == {b"a\r\n.\r\n\r\n"}

    run(scene())


def test_the_end_of_chunks_is_looked_at() -> None:
    """What does not end with CRLF, and what is no CRLF, is told."""

    async def scene() -> None:
        async with place(CHUNKING) as here, here.client() as client:
            await client.ask(ENVELOPE + b"BDAT 4 LAST\r\na\nb.", b"250", b"250", b"250")
            assert here.got[0].irregularities == ("bare LF", "last line without its end")

    run(scene())


@pytest.mark.parametrize(
    "command", [b"BDAT", b"BDAT x", b"BDAT -1", b"BDAT +5", b"BDAT 1_0", "BDAT \u0663".encode(), b"BDAT 5 LASTX", b"BDAT 5 LAST x", b"BDAT  5"]
)  # fmt: skip
def test_a_chunk_that_cannot_be_counted_ends_the_session(command: bytes) -> None:
    """What follows could be commands, and is data."""

    async def scene() -> None:
        async with place(CHUNKING) as here, here.client() as client:
            await client.ask(ENVELOPE + command + b"\r\nNOOP\r\n", b"250", b"250", b"501 5.5.4")
            assert await client.until_closed() == b""
            assert not here.got

    run(scene())


def test_chunks_out_of_place_are_read_and_refused() -> None:
    """Their octets are data whatever is said about them; DATA, MAIL and RCPT do not mix with them (RFC 3030 2)."""

    async def scene() -> None:
        async with place(CHUNKING) as here, here.client() as client:
            await client.ask(b"BDAT 6 LAST\r\nNOOP\r\n", b"503 5.5.1 MAIL first")
            await client.ask(b"MAIL FROM:<s@from.test>\r\nBDAT 6\r\nQUIT\r\n", b"250", b"554 5.5.1 no valid")
            await client.ask(b"RCPT TO:<u@a.test>\r\nBDAT 2\r\n\r\n", b"250", b"250")
            await client.ask(b"DATA\r\n" + ENVELOPE, b"503", b"503", b"503")
            await client.ask(b"RSET\r\n" + ENVELOPE + b"DATA\r\n", b"250", b"250", b"250", b"354")
            await client.ask(b".\r\n", b"250")
            assert [message.via for message in here.got] == ["DATA"]

    run(scene())


def test_chunks_above_the_limit_are_refused_and_end_the_transaction() -> None:
    """552 behind the chunk that crosses it; the rest is read and refused."""

    async def scene() -> None:
        options = SinkOptions(extensions=ALL_EXTENSIONS, max_message_size=ByteCount(10))
        async with place(options) as here, here.client() as client:
            await client.ask(ENVELOPE + b"BDAT 8\r\n12345678", b"250", b"250", b"250")
            await client.ask(b"BDAT 8\r\n12345678", b"552 5.3.4")
            await client.ask(b"BDAT 4 LAST\r\nab\r\n", b"503")
            await client.ask(ENVELOPE + b"BDAT 12 LAST\r\n1234567890\r\n", b"250", b"250", b"552 5.3.4")
            await client.ask(ENVELOPE + b"BDAT 10 LAST\r\n12345678\r\n", b"250", b"250", b"250")
            assert [message.is_accepted for message in here.got] == [False, True]

    run(scene())


@pytest.mark.parametrize(
    ("local_part", "replies"),
    [
        ("tempfail-data", [b"451", b"503"]),
        ("permfail-dot", [b"250", b"554"]),
        ("permfail-body", [b"554"]),
        ("disconnect-data", []),
        ("disconnect-dot", [b"250"]),
    ],
)
def test_chunks_can_be_scripted(local_part: str, replies: list[bytes]) -> None:
    """``data`` is the reply to the first chunk, ``dot`` that to the last."""

    async def scene() -> None:
        async with place(CHUNKING) as here, here.client() as client:
            await client.ask(ENVELOPE.replace(b"u@", local_part.encode() + b"@"), b"250", b"250")
            chunks = (b"BDAT 2\r\n\r\n", b"BDAT 0 LAST\r\n")
            for chunk, reply in zip(chunks, replies, strict=False):
                await client.ask(chunk, reply)
            if len(replies) < 2:
                await client.send(chunks[len(replies)])
                assert await client.until_closed() == b""
            assert not [message for message in here.got if message.is_accepted]

    run(scene())


def test_without_chunking_bdat_ends_the_session() -> None:
    """502: its octets cannot be told from commands. So does pipelining behind a chunk where that was not offered."""

    async def scene() -> None:
        async with place() as here, here.client() as client:
            await client.ask(ENVELOPE + b"BDAT 6 LAST\r\nNOOP\r\n", b"250", b"250", b"502")
            assert await client.until_closed() == b""
        options = SinkOptions(extensions=ALL_EXTENSIONS - {Extension.PIPELINING})
        async with place(options) as here, here.client() as client:
            await client.ask(ENVELOPE[:25], b"250")
            await client.ask(ENVELOPE[25:], b"250")
            await client.ask(b"BDAT 2\r\n\r\n", b"250")
            await client.ask(b"BDAT 2\r\n\r\nBDAT 0 LAST\r\n", b"554 5.5.0")
            assert await client.until_closed() == b""

    run(scene())


# DSN.


def test_dsn_parameters_are_written_down(tmp_path: Path) -> None:
    """RFC 3461: RET and ENVID of the message, NOTIFY and ORCPT of each recipient that was accepted, and of no other."""
    path = tmp_path / "record.jsonl"

    async def scene() -> None:
        async with Sink(record=path) as sink:
            [endpoint] = await sink.start()
            async with RawClient(endpoint) as client:
                await client.expect(b"220")
                await client.ask(HELLO, b"250")
                await client.ask(b"MAIL FROM:<s@from.test> RET=HDRS ENVID=QQ314159\r\n", b"250")
                await client.ask(b"RCPT TO:<permfail@a.test> NOTIFY=FAILURE\r\n", b"550")
                await client.ask(b"RCPT TO:<one@a.test>\r\n", b"250")
                await client.ask(
                    b"RCPT TO:<two@a.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;two@b.test\r\n", b"250"
                )
                await client.ask(b"DATA\r\n", b"354")
                await client.ask(b".\r\n", b"250")
                assert (await talk(client, "u@a.test")).startswith(b"250")
        first, second = (json.loads(line) for line in path.read_text().splitlines())
        assert first["parameters"] == ["RET=HDRS", "ENVID=QQ314159"]
        assert first["recipients"] == ["one@a.test", "two@a.test"]
        assert first["recipient_parameters"] == [[], ["NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;two@b.test"]]
        assert second["recipient_parameters"] == []
        assert (second["via"], second["tls"], second["authenticated"], second["replies"]) == (
            "DATA",
            None,
            "",
            [],
        )

    run(scene())


def test_without_dsn_its_parameters_are_not_known() -> None:
    """555 (RFC 5321 4.1.1.11)."""

    async def scene() -> None:
        async with place(without(Extension.DSN)) as here, here.client() as client:
            await client.ask(b"MAIL FROM:<s@from.test> RET=HDRS\r\n", b"555")
            await client.ask(ENVELOPE[:25], b"250")
            await client.ask(b"RCPT TO:<u@a.test> NOTIFY=NEVER\r\n", b"555")

    run(scene())
    assert Extension.CHUNKING not in DEFAULT_EXTENSIONS


# LMTP.

GROUP = b"MAIL FROM:<s@from.test>\r\nRCPT TO:<one@a.test>\r\nRCPT TO:<%b@b.test>\r\nRCPT TO:<three@a.test>\r\nDATA\r\n"


@pytest.mark.parametrize("is_stored", [True, False])
def test_lmtp_answers_for_each_recipient(is_stored: bool) -> None:
    """RFC 2033 4.2: in their order, each its own; LHLO is its greeting, and the only one."""

    async def scene() -> None:
        async with place(LMTP, keep=is_stored) as here, RawClient(here.endpoint) as client:
            await client.expect(b"220 sink.test LMTP")
            await client.ask(HELLO, b"500")
            await client.ask(b"LHLO client.test\r\n", b"250")
            await client.ask(GROUP % b"tempfail-dot-1-then-accept", *[b"250"] * 4, b"354")
            await client.ask(b"x\r\n.\r\n", b"250", b"451 4.7.1", b"250")
            await client.ask(GROUP % b"slow-5-dot", *[b"250"] * 4, b"354")
            await client.send(b"x\r\n.\r\n")
            await until(lambda: here.clock.next_timer() == 5.0)
            here.clock.advance(Seconds(5.0))
            await client.expect(b"250", b"250", b"250")
            total = here.sink.statistics.total
            assert (total.messages, total.accepted, total.tempfailed) == (2, 5, 1)
            if is_stored:
                first, second = here.got
                assert first.accepted_recipients == ("one@a.test", "three@a.test")
                assert first.replies == (
                    "250 2.0.0 received",
                    "451 4.7.1 scripted tempfail at dot",
                    "250 2.0.0 received",
                )
                assert (first.reply, len(second.accepted_recipients)) == ("250 2.0.0 received", 3)

    run(scene())


def test_lmtp_may_end_between_its_replies() -> None:
    """Those before the cut were told; the others were not."""

    async def scene() -> None:
        async with place(LMTP) as here, RawClient(here.endpoint) as client:
            await client.expect(b"220")
            await client.ask(b"LHLO client.test\r\n", b"250")
            await client.ask(GROUP % b"disconnect-dot", *[b"250"] * 4, b"354")
            await client.ask(b"x\r\n.\r\n", b"250")
            assert await client.until_closed() == b""
            await rounds()
            total = here.sink.statistics.total
            assert (total.accepted, total.disconnected) == (1, 2)
            assert here.got[0].replies == ("250 2.0.0 received", None, "250 2.0.0 received")

    run(scene())


def test_smtp_knows_no_lhlo() -> None:
    """RFC 2033 4.1."""

    async def scene() -> None:
        async with place() as here, here.client(hello=False) as client:
            await client.expect(b"220")
            await client.ask(b"LHLO client.test\r\n", b"500")

    run(scene())
