"""Where the policy, the protocol and a client's timing meet: what a hook decides late, what it leaves behind, and what a client does meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import pytest

from penstock.mail.configuration import LineEndings, ListenerOverride, QueuesConfig, TenantConfig
from penstock.mail.duration import WallTime
from penstock.mail.rate import parse_rate
from penstock.mail.records import PolicyErrorRecord
from penstock.mail.schedule import Schedule
from penstock.policy import PolicyRunner, load

from .room import EHLO, Room, in_room
from .tls import client_channel, shake, speak

EVERYBODY = (ip_network("0.0.0.0/0"),)
PROXY = (ip_network("10.0.0.1/32"),)
ENVELOPE = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n"


def policy(folder: Path, source: str, name: str = "policy.py") -> Callable[[], PolicyRunner]:
    """A runner of this source; ``gate`` in it is an event that the test sets."""
    (folder / name).write_text(source)
    return lambda: PolicyRunner(load(folder / name))


GATED = "import asyncio\ngate = asyncio.Event()\n"


def open_gate(room: Room) -> None:
    """Let the hooks that wait go on."""
    sys.modules["_penstock_policy"].gate.set()


# -- STARTTLS


def test_nothing_gets_between_starttls_and_its_reply(tmp_path: Path) -> None:
    """While a hook looks at the 220, octets in the clear end the session: they are not for after the handshake (CVE-2011-0411)."""

    async def test(room: Room) -> None:
        client = room.client()
        await client.heard()
        await client.say(EHLO)
        assert await client.say(b"STARTTLS\r\n") == b""
        said = await client.say(b"EHLO evil.test\r\nMAIL FROM:<injected@x.test>\r\n")
        assert said.startswith(b"554 5.5.0 ")
        open_gate(room)
        assert b"220" not in await client.heard()
        assert client.is_closed

    source = GATED + (
        "async def on_reply(session, reply):\n"
        "    if reply.code == 220 and 'handshake' in reply.text:\n"
        "        await gate.wait()\n"
    )
    in_room(test, policy(tmp_path, source))


def test_a_stranger_behind_a_proxy_gains_nothing_by_the_handshake(tmp_path: Path) -> None:
    """The proxy may relay, the client that it speaks for may not: neither in the clear nor after STARTTLS."""

    async def test(room: Room) -> None:
        client = room.client("10.0.0.1")
        await client.heard()
        await client.say(EHLO)
        await client.say(b"XCLIENT ADDR=203.0.113.9\r\n")
        await client.say(EHLO)
        assert b"550 5.7.1" in await client.say(ENVELOPE)
        await client.say(b"RSET\r\nSTARTTLS\r\n")
        channel = client_channel()
        await shake(client, channel)
        await speak(client, channel, EHLO)
        assert b"550 5.7.1" in await speak(client, channel, ENVELOPE)

    source = "from penstock.policy import inline\n@inline\ndef on_ehlo(session, extensions):\n    pass\n"
    in_room(test, policy(tmp_path, source), allow_xclient=PROXY, relay_hosts=PROXY)


def test_a_client_that_its_proxy_does_not_know_has_no_rights() -> None:
    """``ADDR=[UNAVAILABLE]`` is not the proxy's own address, nor is none at all."""

    async def test(room: Room) -> None:
        for line in (b"XCLIENT ADDR=[UNAVAILABLE]\r\n", b"XCLIENT PORT=7\r\n"):
            client = await room.greeted("10.0.0.1")
            await client.say(line)
            await client.say(EHLO)
            assert b"550 5.7.1" in await client.say(ENVELOPE)

    in_room(
        test,
        allow_xclient=PROXY,
        relay_hosts=PROXY,
        peer=(ListenerOverride(ip_network("10.0.0.0/8"), {"banner": "inside"}),),
    )


def test_the_listeners_own_words_outlive_the_handshake(tmp_path: Path) -> None:
    """``meta`` is the listener's; what a hook has set by what the client said in the clear is not."""

    async def test(room: Room) -> None:
        client = room.client()
        await client.heard()
        await client.say(b"EHLO evil.test\r\nSTARTTLS\r\n")
        channel = client_channel()
        await shake(client, channel)
        assert b"SIZE 20971520" in await speak(client, channel, EHLO)
        await speak(client, channel, ENVELOPE + b"DATA\r\n")
        await speak(client, channel, b"x\r\n.\r\n")
        assert room.submitted[0].meta == {"entrance": "front"}

    source = (
        "from penstock.policy import inline\n@inline\ndef on_ehlo(session, extensions):\n"
        "    if session.ehlo_name == 'evil.test':\n"
        "        session.override(max_message_size=7)\n        session.meta['said'] = 'evil'\n"
    )
    in_room(test, policy(tmp_path, source), meta={"entrance": "front"}, relay_hosts=EVERYBODY)


# -- the beginning


def test_a_policy_of_replies_alone_greets(tmp_path: Path) -> None:
    """The greeting is a reply like any other."""

    async def test(room: Room) -> None:
        client = room.client()
        assert await client.heard() == b"220 well met\r\n"

    source = (
        "from penstock.policy import Reply\n"
        "async def on_reply(session, reply):\n"
        "    return Reply(220, None, 'well met') if reply.code == 220 else None\n"
    )
    in_room(test, policy(tmp_path, source))


def test_octets_before_the_greeting_are_bounded_and_refused(tmp_path: Path) -> None:
    """One read of them, however long a hook takes; then 554 (RFC 5321 4.3.1)."""

    async def test(room: Room) -> None:
        client = room.client()
        assert await client.say(b"NOOP\r\n" * 1000) == b""
        assert not client.transport.is_reading
        open_gate(room)
        assert (await client.heard()).startswith(b"554 5.5.0 ")
        assert client.is_closed

    in_room(test, policy(tmp_path, GATED + "async def on_connect(session):\n    await gate.wait()\n"))


def test_a_connection_that_was_reset_at_once_is_counted_off() -> None:
    """Its addresses are not known any more, and nothing of it is left."""

    async def test(room: Room) -> None:
        for _ in range(5):
            client = room.client(known=False)
            await room.settle()
            assert client.is_closed
        assert room.desk.connections == 0
        assert len(room.listener) == 0

    in_room(test, peer=(ListenerOverride(ip_network("10.0.0.0/8"), {"banner": "inside"}),))


def test_a_client_that_is_not_welcome_behind_its_proxy_is_sent_away(tmp_path: Path) -> None:
    """With the connection: nothing of the client before is left to go on with."""

    async def test(room: Room) -> None:
        client = await room.greeted("10.0.0.1")
        assert await client.say(b"XCLIENT ADDR=192.0.2.66\r\n") == b"554 5.7.1 not you\r\n"
        assert client.is_closed

    source = (
        "from penstock.policy import Reject, inline\n@inline\ndef on_connect(session):\n"
        "    if session.peer_address == '192.0.2.66':\n        raise Reject(554, '5.7.1', 'not you')\n"
    )
    in_room(test, policy(tmp_path, source), allow_xclient=PROXY)


# -- deadlines that become shorter


@pytest.mark.parametrize("waits", [False, True])
def test_a_shorter_time_holds_from_when_it_is_set(tmp_path: Path, waits: bool) -> None:
    """By a hook, at once or later."""

    async def test(room: Room) -> None:
        client = room.client()
        assert (await client.heard()).startswith(b"220")
        await room.advance(9.9)
        assert await client.heard() == b""
        await room.advance(0.2)
        assert (await client.heard()).startswith(b"421 4.4.2 ")

    wait = "    await asyncio.sleep(0)\n" if waits else ""
    source = (
        f"import asyncio\nasync def on_connect(session):\n{wait}    session.override(client_timeout=10)\n"
    )
    in_room(test, policy(tmp_path, source))


def test_the_time_of_the_client_behind_a_proxy_holds() -> None:
    """Not the proxy's own."""

    async def test(room: Room) -> None:
        client = room.client("10.0.0.1")
        await client.say(b"PROXY TCP4 203.0.113.9 198.51.100.25 5000 25\r\n")
        await room.advance(10.1)
        assert (await client.heard()).startswith(b"421 4.4.2 ")

    short = ListenerOverride(ip_network("203.0.113.0/24"), {"client_timeout": 10.0})
    in_room(test, allow_proxy=PROXY, peer=(short,))


# -- transactions


def test_a_transaction_is_never_finished_with_the_envelope_of_another(tmp_path: Path) -> None:
    """However policies come and go within it."""

    async def test(room: Room) -> None:
        client = await room.greeted()
        first, room.desk.policy = room.desk.policy, None
        await client.say(b"MAIL FROM:<bob@b.test>\r\nRCPT TO:<secret@b.test>\r\n")
        room.desk.policy = first
        assert (await client.say(b"RCPT TO:<other@b.test>\r\n")).startswith(b"451 4.3.2 ")
        await client.say(b"DATA\r\n")
        assert (await client.say(b"x\r\n.\r\n")).startswith(b"451 4.3.2 ")
        await client.say(ENVELOPE + b"DATA\r\n")
        assert (await client.say(b"x\r\n.\r\n")).startswith(b"250 ")
        (record,) = room.submitted
        assert [str(address) for address in record.recipients] == ["c@d.test"]

    source = "async def on_message(message):\n    pass\n"
    in_room(test, policy(tmp_path, source), relay_hosts=EVERYBODY)


def test_a_message_that_a_hook_looks_at_counts_as_memory(tmp_path: Path) -> None:
    """Until it is answered."""

    async def test(room: Room) -> None:
        client = await room.greeted()
        await client.say(ENVELOPE + b"DATA\r\n")
        await client.say((b"x" * 98 + b"\r\n") * 1000 + b".\r\n")
        assert 100_000 <= room.desk.budget.used < 110_000
        open_gate(room)
        assert (await client.heard()).startswith(b"250 ")
        assert room.desk.budget.used == 0

    source = GATED + "async def on_message(message):\n    await gate.wait()\n"
    in_room(test, policy(tmp_path, source), relay_hosts=EVERYBODY)


@pytest.mark.parametrize(
    ("hook", "line"),
    [
        ("on_mail(session, transaction)", "transaction.reverse_path = 'no address'"),
        ("on_mail(session, transaction)", "transaction.meta = {}"),
        ("on_message(message)", "message.recipients = []"),
        ("on_message(message)", "message.tenant = 'a b'"),
        ("on_ehlo(session, extensions)", "session.meta = {}"),
    ],
)
@pytest.mark.parametrize("is_inline", [False, True])
def test_what_a_hook_may_not_set_is_its_fault(tmp_path: Path, hook: str, line: str, is_inline: bool) -> None:
    """The client is told 451, and there is an event; nothing hangs and nothing is stored."""

    async def test(room: Room) -> None:
        client = room.client()
        await client.heard()
        said = await client.say(EHLO)
        if not said.startswith(b"451"):
            said = await client.say(ENVELOPE)
        if not said.startswith(b"451"):
            await client.say(b"DATA\r\n")
            said = await client.say(b"x\r\n.\r\n")
        assert said.startswith(b"451 4.3.0 ")
        assert not room.submitted
        assert [note for note in room.notes if isinstance(note, PolicyErrorRecord)]

    head = "from penstock.policy import inline\n@inline\ndef" if is_inline else "async def"
    in_room(test, policy(tmp_path, f"{head} {hook}:\n    {line}\n"), relay_hosts=EVERYBODY)


def test_a_reverse_path_given_as_text_is_an_address(tmp_path: Path) -> None:
    """As the policy's documentation says."""

    async def test(room: Room) -> None:
        client = await room.greeted()
        await client.say(ENVELOPE + b"DATA\r\n")
        assert (await client.say(b"x\r\n.\r\n")).startswith(b"250 ")
        assert str(room.submitted[0].reverse_path) == "bounce@x.test"

    source = "async def on_mail(session, transaction):\n    transaction.reverse_path = 'bounce@x.test'\n"
    in_room(test, policy(tmp_path, source), relay_hosts=EVERYBODY)


def test_a_hook_that_refuses_a_password_itself_is_no_way_around_the_limit(tmp_path: Path) -> None:
    """Its reply is said as late, and counts as much, as ours."""

    async def test(room: Room) -> None:
        codes = []
        for _ in range(4):
            client = await room.greeted()
            said = await client.say(b"AUTH PLAIN AHVzZXIAZ3Vlc3M=\r\n")
            if not said:
                await room.advance(1.0)
                said = await client.heard()
            codes.append(said[:9])
        assert codes == [b"535 5.7.8", b"535 5.7.8", b"454 4.7.0", b"454 4.7.0"]

    source = (
        "from penstock.policy import Reject\n"
        "async def on_auth(session, credentials):\n    raise Reject(535, '5.7.8', 'unheard of')\n"
    )
    in_room(
        test,
        policy(tmp_path, source),
        allow_auth_without_tls=True,
        max_auth_failures=parse_rate("2/minute"),
    )


def test_no_field_hides_behind_a_bare_line_feed() -> None:
    """Where bare line feeds are kept, they become line ends on the wire; so they are line ends for who reads fields here."""

    async def test(room: Room) -> None:
        room.desk.queues = QueuesConfig(tenant_header="x-tenant", tenants=frozenset({"acme"}))
        client = await room.greeted()
        await client.say(ENVELOPE + b"DATA\r\n")
        assert (await client.say(b"A: b\nX-Tenant: acme\r\n\r\nx\n.y\r\n.\r\n")).startswith(b"250 ")
        (record,) = room.submitted
        assert record.queue.tenant == "acme"
        assert record.content == b"A: b\r\n\r\nx\r\n.y\r\n"
        assert not record.is_canonical

    in_room(test, relay_hosts=EVERYBODY, invalid_line_endings=LineEndings.ALLOW)


def test_a_tenant_that_says_who_sends_for_it_is_had_by_login_alone(tmp_path: Path) -> None:
    """The client may relay by its address; for this tenant it has to be somebody."""

    async def test(room: Room) -> None:
        room.desk.queues = QueuesConfig(
            tenant_header="x-tenant",
            scheduling_header="x-schedule",
            tenants=frozenset({"acme"}),
            tenant_options={"acme": TenantConfig(require_authz=frozenset({"user"}))},
        )
        mail = ENVELOPE + b"DATA\r\n"
        content = b'X-Tenant: acme\r\nX-Schedule: {"expires": "2026-12-01T08:00:00Z"}\r\n\r\nx\r\n.\r\n'
        client = await room.greeted()
        await client.say(mail)
        assert (await client.say(content)).startswith(b"550 5.7.1 this client may not send for acme")
        assert (await client.say(b"AUTH PLAIN AHVzZXIAZ3Vlc3M=\r\n")).startswith(b"235 ")
        await client.say(mail)
        assert (await client.say(content)).startswith(b"250 ")
        (record,) = room.submitted
        assert record.queue.tenant == "acme"
        assert record.content == b"\r\nx\r\n"
        assert record.schedule == Schedule(expires=WallTime(1_796_112_000.0))

    source = "async def on_auth(session, credentials):\n    return True\n"
    in_room(test, policy(tmp_path, source), relay_hosts=EVERYBODY, allow_auth_without_tls=True)


@pytest.mark.parametrize("by", ["header", "policy", "queue_config"])
def test_mail_that_could_never_be_tried_is_refused(tmp_path: Path, by: str) -> None:
    """Whoever says when it may go; where the policy says how long mail is kept, only what cannot be whatever it says."""

    async def test(room: Room) -> None:
        room.desk.queues = QueuesConfig(scheduling_header="x-schedule")
        written = {
            '{"first_attempt": "2099-12-01T08:00:00Z"}': b"the max_age of its queue ends at ",
            '{"expires": "2001-12-01T08:00:00Z"}': b"expires is past",
            '{"first_attempt": "2099-12-01T08:00:00Z", "expires": "2099-12-02T08:00:00Z"}': b"",
        }
        for schedule, told in written.items():
            client = await room.greeted()
            await client.say(ENVELOPE + b"DATA\r\n")
            field = "Policy" if by == "policy" else "X-Schedule"
            said = await client.say(f"{field}: {schedule}\r\n\r\nx\r\n.\r\n".encode())
            if told and not (by == "queue_config" and b"max_age" in told):
                assert said.startswith(b"550 5.6.0 the message's schedule is wrong: ") and told in said
            else:
                assert said.startswith(b"250 ")
        assert len(room.submitted) == (2 if by == "queue_config" else 1)

    source = {
        "header": "",
        "policy": "async def on_message(message):\n    message.schedule = message.headers.get('policy')\n",
        "queue_config": "async def queue_config(name):\n    return None\n",
    }[by]
    in_room(test, policy(tmp_path, source), relay_hosts=EVERYBODY)


def test_a_message_does_not_begin_in_the_middle_of_a_field() -> None:
    """It would go on with the Received field that we put before it."""

    async def test(room: Room) -> None:
        client = await room.greeted()
        await client.say(ENVELOPE + b"DATA\r\n")
        assert (await client.say(b" From: x@y.test\r\n\r\nx\r\n.\r\n")).startswith(b"550 5.6.0 ")

    in_room(test, relay_hosts=EVERYBODY)


def test_a_listener_is_where_the_connection_came_to(tmp_path: Path) -> None:
    """Whatever address a proxy says the client had connected to."""

    async def test(room: Room) -> None:
        client = room.client("10.0.0.1")
        await client.say(b"PROXY TCP4 203.0.113.9 192.0.2.99 5000 2500\r\n")
        await client.say(EHLO)
        await client.say(b"XYZZY\r\n")
        (note,) = room.notes
        assert note.reception.listener == "198.51.100.25:25"
        assert note.reception.peer_address == "203.0.113.9"

    in_room(test, allow_proxy=PROXY)
