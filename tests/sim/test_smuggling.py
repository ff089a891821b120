"""The smuggling sequences, and their positive control."""

from __future__ import annotations

import pytest

from penstock.sim.smuggling import (
    SEQUENCES,
    UNIVERSAL_NEWLINES,
    Attempt,
    Sending,
    attack_stream,
    attempt,
    count_stored,
)
from penstock.sim.vulnerable import VulnerableServer

from .world import place, run


def test_there_are_twenty_sequences_and_none_is_an_end_of_data() -> None:
    """Each is another, and CRLF "." CRLF is not among them."""
    assert len(set(SEQUENCES.values())) == 20
    assert all(b"\r\n.\r\n" not in sequence for sequence in SEQUENCES.values())
    assert all(attack_stream(sequence).count(b"\r\n.\r\n") == 1 for sequence in SEQUENCES.values())
    assert len(UNIVERSAL_NEWLINES) == 11


@pytest.mark.parametrize("sending", list(Sending))
def test_eleven_of_twenty_get_through_the_vulnerable_server(sending: Sending) -> None:
    """The positive control: it stores two messages, and its replies say so, however the octets are cut."""

    async def scene() -> None:
        async with VulnerableServer() as server:
            endpoint = await server.start()
            through = set()
            for name, sequence in SEQUENCES.items():
                server.messages.clear()
                result = await attempt(endpoint, sequence, sending=sending, offset=24)
                assert result.stored == len(server.messages)
                if result.stored == 2:
                    assert server.messages[1].startswith(b"Subject: two")
                    through.add(name)
            assert through == UNIVERSAL_NEWLINES

    run(scene())


@pytest.mark.parametrize("name", SEQUENCES)
def test_nothing_gets_through_the_sink(name: str) -> None:
    """Whole, octet by octet, and cut at every place in and around the sequence: one message, octet for octet."""
    sequence = SEQUENCES[name]
    stream = attack_stream(sequence, sender="a@b.test")
    begin = stream.index(sequence)

    async def scene() -> None:
        async with place() as here:
            ways = [(Sending.WHOLE, 0), (Sending.EACH_OCTET, 0)]
            ways += [(Sending.SPLIT, offset) for offset in range(begin, begin + len(sequence) + 2)]
            results = [
                await attempt(here.endpoint, sequence, sending=sending, offset=offset)
                for sending, offset in ways
            ]
            assert all(isinstance(result, Attempt) and result.stored == 1 for result in results)
            assert {message.wire for message in here.got} == {stream.removesuffix(b".\r\n")}

    run(scene())


@pytest.mark.parametrize(
    ("replies", "stored"),
    [
        (b"354 go\r\n250 ok\r\n221 bye\r\n", 1),
        (b"354 go\r\n550 5.5.2 bare LF\r\n221 bye\r\n", 0),
        (b"354 go\r\n250 ok\r\n500 what\r\n250 ok\r\n250 ok\r\n354 go\r\n250-two\r\n250 lines\r\n", 2),
        (b"354 go\r\n421 no\r\n", 0),
        (b"354 go\r\n", 0),
        (b"", 0),
    ],
)
def test_stored_messages_are_counted_by_replies(replies: bytes, stored: int) -> None:
    """A 2yz that comes next after a 354."""
    assert count_stored(replies) == stored
