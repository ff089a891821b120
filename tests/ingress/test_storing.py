"""What a client is told about its message, and when, whatever the spool does: stored, not stored, or nobody knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from ipaddress import ip_network
from typing import Any

import pytest

from penstock.mail.ports import SpoolError, SpoolUncertain

from .room import Client, Room, in_room

ENVELOPE = b"MAIL FROM:<a@from.test>\r\nRCPT TO:<b@to.test>\r\nRCPT TO:<c@other.test>\r\n"
CONTENT = b"Subject: x\r\n\r\nbody\r\n"
FAULT = SpoolError("no space left on device")
UNCERTAIN = SpoolUncertain("the disk does not answer")
STORED = b"250 2.0.0 OK ids="
NOT_STORED = b"451 4.3.0 the message could not be stored; try again later\r\n"
GOODBYE = b"421 4.3.2 shutting down; try again later\r\n"


def run(test: Callable[[Room], Coroutine[Any, Any, None]]) -> None:
    """Run ``test`` in a room whose clients may relay."""
    in_room(test, relay_hosts=(ip_network("0.0.0.0/0"),))


async def given(room: Room, *, behind: bytes = b"") -> Client:
    """A client whose message, and what comes ``behind`` it in the same segment, have just come."""
    client = await room.greeted()
    assert b"354" in await client.say(ENVELOPE + b"DATA\r\n")
    client.transport.written = await client.say(CONTENT + b".\r\n" + behind)
    return client


def test_a_message_is_accepted_when_it_is_stored_and_not_before() -> None:
    """D1; what comes behind it waits, and is answered behind it."""

    async def test(room: Room) -> None:
        room.spool.is_slow = True
        client = await given(room, behind=b"NOOP\r\n")
        assert await client.heard() == b""
        assert not room.submitted
        room.spool.answer_store()
        first, second = (await client.heard()).splitlines()
        assert first.startswith(STORED)
        assert second == b"250 2.0.0 ok"
        assert [record.queue.domain for record in room.submitted] == ["to.test", "other.test"]
        assert first.removeprefix(STORED).decode() == ",".join(record.id for record in room.submitted)

    run(test)


@pytest.mark.parametrize("is_slow", [False, True], ids=["at once", "later"])
def test_a_message_that_is_not_stored_is_refused_for_now(*, is_slow: bool) -> None:
    """D3: all of it, with a reply that is recorded; the session goes on."""

    async def test(room: Room) -> None:
        room.spool.is_slow = is_slow
        room.spool.broken = None if is_slow else FAULT
        client = await given(room, behind=b"NOOP\r\n")
        if is_slow:
            room.spool.answer_store(FAULT)
        assert await client.heard() == NOT_STORED + b"250 2.0.0 ok\r\n"
        assert room.refusals == [NOT_STORED.decode().strip()]
        assert not room.submitted
        assert not client.is_closed

    run(test)


@pytest.mark.parametrize("is_slow", [False, True], ids=["at once", "later"])
def test_of_a_message_that_may_be_stored_or_not_nothing_is_said(*, is_slow: bool) -> None:
    """Neither 250 nor 451 would be true: the connection ends, nothing behind it is answered, and no event says that it was refused."""

    async def test(room: Room) -> None:
        room.spool.is_slow = is_slow
        room.spool.broken = None if is_slow else UNCERTAIN
        client = await given(room, behind=b"NOOP\r\n" + ENVELOPE)
        if is_slow:
            room.spool.answer_store(UNCERTAIN)
        assert await client.heard() == b""
        assert client.is_closed
        assert not client.transport.was_aborted
        assert room.refusals == []
        assert not room.submitted
        assert len(room.listener) == 0

    run(test)


def test_what_was_said_before_a_message_of_which_nothing_is_known_is_still_said() -> None:
    """The message before it was accepted, and its client must not send it again."""

    async def test(room: Room) -> None:
        client = await room.greeted()
        bdat = ENVELOPE + b"BDAT 20 LAST\r\n" + CONTENT
        room.spool.broken = None
        first = await client.say(bdat)
        assert STORED in first
        room.spool.broken = UNCERTAIN
        second = await client.say(b"NOOP\r\n" + bdat)
        assert second.startswith(b"250 2.0.0 ok\r\n250 2.1.0 ")
        assert STORED not in second
        assert second.count(b"\r\n") == 4
        assert client.is_closed

    run(test)


@pytest.mark.parametrize("fault", [None, FAULT, UNCERTAIN], ids=["stored", "not stored", "nobody knows"])
def test_a_client_that_is_gone_changes_nothing(fault: SpoolError | None) -> None:
    """What is stored is delivered; nobody is told."""

    async def test(room: Room) -> None:
        room.spool.is_slow = True
        client = await given(room)
        client.transport.close()
        await room.settle()
        room.spool.answer_store(fault)
        assert await client.heard() == b""
        assert len(room.submitted) == (2 if fault is None else 0)
        assert room.desk.budget.used == 0

    run(test)


def test_no_transaction_begins_while_there_is_no_room() -> None:
    """D7: 452 at MAIL; what is under way is left to the spool, and everything goes on when there is room again."""

    async def test(room: Room) -> None:
        client, other = await room.greeted(), await room.greeted()
        await other.say(ENVELOPE)
        room.spool.become(has_room=False)
        assert await client.say(b"MAIL FROM:<a@from.test>\r\n") == (
            b"452 4.3.1 mail cannot be stored now; try again later\r\n"
        )
        assert room.refusals == ["452 4.3.1 mail cannot be stored now; try again later"]
        assert b"354" in await other.say(b"DATA\r\n")
        assert (await other.say(CONTENT + b".\r\n")).startswith(STORED)
        room.spool.become()
        assert b"250 2.1.0" in await client.say(ENVELOPE)

    run(test)


@pytest.mark.parametrize("fault", [None, FAULT], ids=["stored", "not stored"])
def test_a_stop_waits_for_a_message_that_is_being_stored(fault: SpoolError | None) -> None:
    """D11: it is answered within the grace, and then there is the farewell."""

    async def test(room: Room) -> None:
        room.spool.is_slow = True
        client = await given(room, behind=b"NOOP\r\n")
        stopping = asyncio.ensure_future(room.listener.stop(5.0))
        await room.advance(4.0)
        assert await client.heard() == b""
        assert not client.is_closed
        room.spool.answer_store(fault)
        said = await client.heard()
        assert said.startswith(STORED if fault is None else NOT_STORED)
        assert said.endswith(GOODBYE)
        assert len(room.submitted) == (2 if fault is None else 0)
        await stopping

    run(test)


def test_a_message_that_outlasts_the_grace_is_answered_by_nobody() -> None:
    """D11: the connection ends without a word, for both words could be wrong; if it is stored after all, it is delivered."""

    async def test(room: Room) -> None:
        room.spool.is_slow = True
        client = await given(room)
        stopping = asyncio.ensure_future(room.listener.stop(5.0))
        for _ in range(4):
            await room.advance(3.0)
        await stopping
        assert client.transport.was_aborted
        room.spool.answer_store()
        assert await client.heard() == b""
        assert len(room.submitted) == 2
        assert room.refusals == []

    run(test)
