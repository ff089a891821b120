"""Connections of clients: deadlines, limits by address, proxies and TLS, without a socket and without waiting."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

from penstock.mail.configuration import ListenerOverride, TlsMode
from penstock.mail.rate import parse_rate
from penstock.net.tls import TlsChannel
from penstock.policy import PolicyRunner, load

from .room import EHLO, Client, Room, in_room
from .tls import client_channel, shake, speak

EVERYBODY = (ip_network("0.0.0.0/0"),)
ENVELOPE = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n"


async def quiet(client: Client) -> bool:
    """Whether the client was told nothing, and is still connected."""
    return await client.heard() == b"" and not client.is_closed


# -- deadlines


def test_a_command_has_to_come_whole_in_time() -> None:
    """An octet now and then does not help (slowloris)."""

    async def test(room: Room) -> None:
        client = await room.greeted()
        for octet in b"NOOP":
            await room.advance(12.0)
            assert await client.say(bytes([octet])) == b""
        await room.advance(11.9)
        assert await quiet(client)
        await room.advance(0.2)
        assert (await client.heard()).startswith(b"421 4.4.2 ")
        assert client.is_closed

    in_room(test)


def test_a_whole_command_begins_the_time_anew() -> None:
    """A client that does something every 50 seconds may stay."""

    async def test(room: Room) -> None:
        client = await room.greeted()
        for _ in range(10):
            await room.advance(50.0)
            assert await client.say(b"NOOP\r\n") == b"250 2.0.0 ok\r\n"

    in_room(test)


def test_a_client_that_never_brings_mail_is_sent_away() -> None:
    """Whatever else it says: session_timeout is the end."""

    async def test(room: Room) -> None:
        client = await room.greeted()
        for _ in range(71):
            await room.advance(50.0)
            assert await client.say(b"NOOP\r\n") == b"250 2.0.0 ok\r\n"
        await room.advance(51.0)
        assert await client.heard() == b"421 4.4.2 no message for too long; closing connection\r\n"
        assert client.is_closed

    in_room(test)


def test_a_client_that_brings_mail_may_stay() -> None:
    """An accepted message begins session_timeout anew."""

    async def test(room: Room) -> None:
        client = await room.greeted()
        for _ in range(5):
            for _ in range(60):
                await room.advance(50.0)
                assert await client.say(b"NOOP\r\n") == b"250 2.0.0 ok\r\n"
            await client.say(ENVELOPE + b"DATA\r\n")
            assert (await client.say(b"x\r\n.\r\n")).startswith(b"250 ")
        assert len(room.submitted) == 5

    in_room(test, relay_hosts=EVERYBODY)


def test_mail_data_has_to_come_at_a_pace() -> None:
    """Postfix's smtpd_min_data_rate: each 500 octets are worth a second, beside client_timeout."""

    async def test(room: Room) -> None:
        client = await room.greeted()
        await client.say(ENVELOPE + b"DATA\r\n")
        for _ in range(2):
            await room.advance(30.0)
            assert await client.say(b"x" * 498 + b"\r\n") == b""
        await room.advance(1.9)
        assert await quiet(client)
        await room.advance(0.2)
        assert await client.heard() == b"421 4.4.2 the mail data came too slowly; closing connection\r\n"
        assert client.is_closed
        assert room.submitted == []

    in_room(test, relay_hosts=EVERYBODY)


def test_mail_data_at_the_least_pace_gets_through() -> None:
    """15,000 octets every 30 seconds, for half an hour; silence ends it all the same, with what came dropped."""

    async def test(room: Room) -> None:
        client = await room.greeted()
        await client.say(ENVELOPE + b"DATA\r\n")
        for _ in range(60):
            await room.advance(30.0)
            assert await client.say((b"x" * 498 + b"\r\n") * 30) == b""
        assert not client.is_closed
        await room.advance(59.0)
        assert await quiet(client)
        await room.advance(2.0)
        assert (await client.heard()).startswith(b"421 4.4.2 ")
        assert client.is_closed
        assert room.submitted == []

    in_room(test, relay_hosts=EVERYBODY)


def test_a_handshake_that_does_not_come_is_cut_off() -> None:
    """On a listener with TLS from the first octet, nothing is said in the clear."""

    async def test(room: Room) -> None:
        client = room.client()
        await room.advance(61.0)
        assert client.transport.was_aborted
        assert await client.heard() == b""

    in_room(test, tls=TlsMode.IMPLICIT)


# -- limits by address


def test_one_address_has_so_many_connections() -> None:
    """An IPv6 client is its /64; one that left makes room; trusted clients are not counted."""

    async def test(room: Room) -> None:
        clients = [room.client(f"2001:db8:1:2::{number}") for number in range(3)]
        assert (await clients[2].heard()).startswith(b"421 4.7.0 too many connections")
        assert clients[2].is_closed
        assert (await room.client("2001:db8:1:3::1").heard()).startswith(b"220")
        await clients[0].heard()
        await clients[0].say(b"QUIT\r\n")
        assert (await room.client("2001:db8:1:2::9").heard()).startswith(b"220")
        trusted = [room.client("10.0.0.1") for _ in range(10)]
        assert all([(await client.heard()).startswith(b"220") for client in trusted])

    in_room(test, max_connections_per_client=2, relay_hosts=(ip_network("10.0.0.0/8"),))


def test_too_many_refusals_cost_the_connection_and_the_next_ones() -> None:
    """max_failures_per_client, until its rate allows more; so rejections in the event log are bounded too."""

    async def test(room: Room) -> None:
        client = await room.greeted()
        said = await client.say(b"MAIL FROM:<a@b.test>\r\n" + b"RCPT TO:<c@d.test>\r\n" * 100)
        assert said.endswith(b"421 4.7.0 too many refused commands from your address; try again later\r\n")
        assert client.is_closed
        assert len(room.refusals) <= 100
        assert (await room.client().heard()).startswith(b"421 4.7.0 ")
        assert (await room.client("192.0.2.2").heard()).startswith(b"220")
        await room.advance(3600.0)
        assert (await room.client().heard()).startswith(b"220")

    in_room(test, max_failures_per_client=parse_rate("10/minute"))


# -- proxies


def test_a_trusted_proxy_says_who_the_client_is() -> None:
    """The header, and nothing else, decides about relaying and limits; the greeting waits for it."""

    async def test(room: Room) -> None:
        client = room.client("10.0.0.1")
        assert await client.heard() == b""
        await client.say(b"PROXY TCP4 203.0.113.9 198.51.100.25 5")
        assert (await client.say(b"000 25\r\n")).startswith(b"220 ")
        await client.say(EHLO)
        assert b"250 2.1.5" in await client.say(ENVELOPE)
        await client.say(b"DATA\r\n")
        await client.say(b"x\r\n.\r\n")
        reception = room.submitted[0].reception
        assert (reception.peer_address, reception.peer_port) == ("203.0.113.9", 5000)
        assert reception.proxy_address == "10.0.0.1"

    in_room(test, allow_proxy=(ip_network("10.0.0.1/32"),), relay_hosts=(ip_network("203.0.113.0/24"),))


def test_a_proxy_without_a_header_is_closed_without_a_word() -> None:
    """And so is everybody else, where the listener is for proxies only."""

    async def test(room: Room) -> None:
        proxy = room.client("10.0.0.1")
        assert await proxy.say(EHLO) == b""
        assert proxy.is_closed
        stranger = room.client("192.0.2.1")
        assert await stranger.heard() == b""
        assert stranger.is_closed

    in_room(test, allow_proxy=(ip_network("10.0.0.1/32"),), require_proxy_protocol=True)


def test_a_header_from_a_stranger_is_a_bad_command() -> None:
    """It cannot say who it is."""

    async def test(room: Room) -> None:
        client = room.client()
        await client.heard()
        assert (await client.say(b"PROXY TCP4 10.0.0.1 198.51.100.25 1 25\r\n")).startswith(b"500 ")
        await client.say(EHLO)
        assert (await client.say(ENVELOPE)).endswith(b"550 5.7.1 relaying not permitted\r\n")

    in_room(test, relay_hosts=(ip_network("10.0.0.0/8"),))


def test_commands_behind_a_proxy_header_come_before_the_greeting() -> None:
    """And are told so."""

    async def test(room: Room) -> None:
        client = room.client("10.0.0.1")
        said = await client.say(b"PROXY TCP4 203.0.113.9 198.51.100.25 5000 25\r\n" + EHLO)
        assert said.startswith(b"554 5.5.0 ")
        assert client.is_closed

    in_room(test, allow_proxy=(ip_network("10.0.0.1/32"),))


def test_xclient_changes_who_the_client_is() -> None:
    """Its right to relay with it; the proxy may say so again for the next one."""

    async def test(room: Room) -> None:
        client = await room.greeted("10.0.0.1")
        assert (await client.say(b"XCLIENT ADDR=203.0.113.9 PORT=7\r\n")).startswith(b"220 ")
        assert b"XCLIENT ADDR" in await client.say(EHLO)
        assert b"250 2.1.5" in await client.say(ENVELOPE)
        await client.say(b"RSET\r\nXCLIENT ADDR=192.0.2.9\r\n")
        await client.say(EHLO)
        assert b"550 5.7.1" in await client.say(ENVELOPE)

    in_room(test, allow_xclient=(ip_network("10.0.0.1/32"),), relay_hosts=(ip_network("203.0.113.0/24"),))


# -- options by address


def test_options_are_those_of_the_addresses() -> None:
    """``peer`` over ``via`` over the listener's own."""

    async def test(room: Room) -> None:
        assert (await room.client("192.0.2.1").heard()) == b"220 mta.test plain\r\n"
        assert (await room.client("192.0.2.1", local="10.9.9.9").heard()) == b"220 mta.test inside\r\n"
        assert (await room.client("203.0.113.1", local="10.9.9.9").heard()) == b"220 mta.test partner\r\n"

    in_room(
        test,
        banner="plain",
        via=(ListenerOverride(ip_network("10.0.0.0/8"), {"banner": "inside"}),),
        peer=(ListenerOverride(ip_network("203.0.113.0/24"), {"banner": "partner"}),),
    )


def test_extensions_can_be_taken_away() -> None:
    """``discard_ehlo_keywords``: neither said nor accepted."""

    async def test(room: Room) -> None:
        client = room.client()
        await client.heard()
        said = await client.say(EHLO)
        assert b"CHUNKING" not in said
        assert b"STARTTLS" not in said
        await client.say(b"STARTTLS\r\n")
        assert (await client.say(ENVELOPE + b"BDAT 1\r\nx")).endswith(
            b"421 4.7.0 too many errors; closing connection\r\n"
        )

    in_room(test, discard_ehlo_keywords=frozenset({"CHUNKING", "STARTTLS"}), relay_hosts=EVERYBODY)


# -- TLS


def test_starttls_makes_the_rest_of_the_session_secret() -> None:
    """And begins it anew."""

    async def test(room: Room) -> None:
        client = await room.greeted()
        assert await client.say(b"STARTTLS\r\n") == b"220 2.0.0 begin the handshake\r\n"
        channel = client_channel()
        assert await shake(client, channel) == b""
        assert (await speak(client, channel, b"MAIL FROM:<a@b.test>\r\n")).startswith(b"503 ")
        assert b"STARTTLS" not in await speak(client, channel, EHLO)
        await speak(client, channel, ENVELOPE + b"DATA\r\n")
        assert (await speak(client, channel, b"x\r\n.\r\n")).startswith(b"250 2.0.0 OK")
        reception = room.submitted[0].reception
        assert reception.protocol == "ESMTPS"
        assert reception.tls is not None
        assert reception.tls.version == "TLSv1.3"
        assert (await speak(client, channel, b"QUIT\r\n")).startswith(b"221 ")
        assert channel.has_ended
        assert client.is_closed
        assert room.desk.handshakes == 1

    in_room(test, relay_hosts=EVERYBODY)


def test_tls_from_the_first_octet_greets_within() -> None:
    """RFC 8314."""

    async def test(room: Room) -> None:
        client = room.client()
        channel = client_channel()
        said = await shake(client, channel)
        assert said.startswith(b"220 mta.test ")
        assert (await speak(client, channel, EHLO)).startswith(b"250-")

    in_room(test, tls=TlsMode.IMPLICIT)


def test_plain_text_instead_of_a_handshake_is_never_read() -> None:
    """The connection is closed; no command of it is answered in the clear (RFC 3207 6)."""

    async def test(room: Room) -> None:
        client = await room.greeted()
        await client.say(b"STARTTLS\r\n")
        said = await client.say(b"EHLO client.test\r\nMAIL FROM:<a@b.test>\r\n")
        assert b"250" not in said
        assert client.is_closed
        assert room.desk.handshakes_failed == 1

    in_room(test)


def test_plain_text_after_the_end_of_tls_is_never_read() -> None:
    """CVE-2026-45185: a chunk is open, the client ends TLS, and one octet follows in the clear."""

    async def test(room: Room) -> None:
        client = await room.greeted()
        await client.say(b"STARTTLS\r\n")
        channel = client_channel()
        await shake(client, channel)
        await speak(client, channel, EHLO)
        await speak(client, channel, ENVELOPE)
        await speak(client, channel, b"BDAT 100 LAST\r\n0123456789")
        channel.close()
        await client.say(channel.take_output() + b"\n")
        assert client.is_closed
        assert room.submitted == []

    in_room(test, relay_hosts=EVERYBODY)


# -- policy

POLICY = """
from penstock.policy import Disconnect, Granted, Reject
async def on_connect(session):
    if session.peer_address == "192.0.2.66":
        raise Disconnect(554, "5.7.1", "not you")
    session.meta["from"] = session.peer_address
async def on_auth(session, credentials):
    if credentials.is_password("secret"):
        return Granted(tenant="acme") if credentials.authentication_id == "user" else True
    return False
async def on_rcpt(session, transaction, recipient):
    if recipient.address.local_part == "nobody":
        raise Reject(550, "5.1.1", "no such user")
    if recipient.address.local_part == "broken":
        raise ZeroDivisionError("oh")
    recipient.address = recipient.address.local_part + "@other.test"
async def on_message(message):
    message.headers.add("X-Tenant-Was", message.tenant or "none")
"""


def runner(folder: Path) -> PolicyRunner:
    """The policy above, running."""
    (folder / "policy.py").write_text(POLICY)
    return PolicyRunner(load(folder / "policy.py"))


async def secure(room: Room) -> tuple[Client, TlsChannel]:
    """A client that has made the handshake and said EHLO again."""
    client = await room.greeted()
    await client.say(b"STARTTLS\r\n")
    channel = client_channel()
    await shake(client, channel)
    await speak(client, channel, EHLO)
    return client, channel


def test_a_policy_turns_a_client_away(tmp_path: Path) -> None:
    """Instead of the greeting, and the connection with it."""

    async def test(room: Room) -> None:
        client = room.client("192.0.2.66")
        assert await client.heard() == b"554 5.7.1 not you\r\n"
        assert client.is_closed

    in_room(test, lambda: runner(tmp_path))


def test_a_policy_decides_about_credentials_recipients_and_messages(tmp_path: Path) -> None:
    """AUTH is offered because a hook answers it, and what the hooks say is what is stored."""

    async def test(room: Room) -> None:
        room.desk.queues = type(room.desk.queues)(tenants=frozenset({"acme"}))
        client, channel = await secure(room)
        assert (await speak(client, channel, ENVELOPE)).endswith(b"without authentication\r\n")
        await speak(client, channel, b"RSET\r\n")
        assert (await speak(client, channel, b"AUTH PLAIN AHVzZXIAc2VjcmV0\r\n")).startswith(b"235 ")
        said = await speak(
            client, channel, ENVELOPE + b"RCPT TO:<nobody@d.test>\r\nRCPT TO:<broken@d.test>\r\n"
        )
        assert [line[:9] for line in said.splitlines()] == [
            b"250 2.1.0",
            b"250 2.1.5",
            b"550 5.1.1",
            b"451 4.3.0",
        ]
        await speak(client, channel, b"DATA\r\n")
        assert (await speak(client, channel, b"Subject: x\r\n\r\nx\r\n.\r\n")).startswith(b"250 ")
        (record,) = room.submitted
        assert str(record.queue) == "acme@other.test"
        assert record.content == b"Subject: x\r\nX-Tenant-Was: acme\r\n\r\nx\r\n"
        assert record.meta == {"from": "192.0.2.1"}
        assert record.reception.protocol == "ESMTPSA"
        assert record.reception.authentication_id == "user"
        (fault,) = [note for note in room.notes if hasattr(note, "hook")]
        assert (fault.hook, "ZeroDivisionError: oh" in fault.error) == ("on_rcpt", True)

    in_room(test, lambda: runner(tmp_path))


def test_a_client_acts_for_whom_the_policy_says_and_nobody_else(tmp_path: Path) -> None:
    """An authorization identity that a hook did not grant is refused (RFC 4954 4)."""

    async def test(room: Room) -> None:
        client, channel = await secure(room)
        # admin\0user\0secret
        await speak(client, channel, b"AUTH PLAIN YWRtaW4AdXNlcgBzZWNyZXQ=\r\n")
        await room.advance(1.0)
        assert channel.feed(await client.heard()).startswith(b"535 5.7.8 ")

    in_room(test, lambda: runner(tmp_path))


def test_a_failed_authentication_is_answered_late(tmp_path: Path) -> None:
    """auth_failure_delay; what is pipelined behind it waits too, and the third failure is the last."""

    async def test(room: Room) -> None:
        client, channel = await secure(room)
        for number in range(3):
            assert await speak(client, channel, b"AUTH PLAIN AHVzZXIAZ3Vlc3M=\r\nNOOP\r\n") == b""
            await room.advance(0.9)
            assert channel.feed(await client.heard()) == b""
            await room.advance(0.1)
            said = channel.feed(await client.heard())
            assert said.startswith(
                b"535 5.7.8 authentication failed\r\n" + (b"250 " if number < 2 else b"421 ")
            )
        assert client.is_closed

    in_room(test, lambda: runner(tmp_path))


def test_guesses_are_counted_by_address_and_by_user(tmp_path: Path) -> None:
    """From one address for any user, and for one user from any address."""

    async def test(room: Room) -> None:
        for _ in range(2):
            client, channel = await secure(room)
            await speak(client, channel, b"AUTH PLAIN AHVzZXIAZ3Vlc3M=\r\n")
            assert channel.feed(await client.heard()).startswith(b"")
        client, channel = await secure(room)
        said = await speak(client, channel, b"AUTH PLAIN AG90aGVyAHNlY3JldA==\r\n")
        assert said.startswith(b"454 4.7.0 ")
        await room.advance(60.0)
        client, channel = await secure(room)
        assert (await speak(client, channel, b"AUTH PLAIN AG90aGVyAHNlY3JldA==\r\n")).startswith(b"235 ")

    in_room(test, lambda: runner(tmp_path), max_auth_failures=parse_rate("2/minute"), auth_failure_delay=0.0)


def test_what_was_shown_in_the_clear_is_forgotten_with_the_handshake(tmp_path: Path) -> None:
    """The identity above all (RFC 3207 4.2); what the policy said about the connection stays."""

    async def test(room: Room) -> None:
        client = await room.greeted()
        assert (await client.say(b"AUTH PLAIN AHVzZXIAc2VjcmV0\r\n")).startswith(b"235 ")
        await client.say(b"STARTTLS\r\n")
        channel = client_channel()
        await shake(client, channel)
        await speak(client, channel, EHLO)
        assert (await speak(client, channel, ENVELOPE)).endswith(b"without authentication\r\n")

    in_room(test, lambda: runner(tmp_path), allow_auth_without_tls=True)
