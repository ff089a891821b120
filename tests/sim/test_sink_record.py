"""What a sink writes down."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import threading
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from penstock.sim.raw_client import RawClient
from penstock.sim.sink import Sink
from penstock.sim.sink.message import header_fields

from .world import HELLO, run, talk, until

CONTENT = b"Subject: one\r\n two\r\nX-Empty:\r\n\r\n..dot\r\n"
PLAIN = b"Subject: one\r\n two\r\nX-Empty:\r\n\r\n.dot\r\n"


def lines(path: Path) -> list[dict[str, Any]]:
    """The records of a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("sync", [False, True])
def test_a_message_is_recorded_before_it_is_answered(tmp_path: Path, sync: bool) -> None:
    """Envelope, size, digest of the content without its doubled dots, fields, and what was answered."""
    path = tmp_path / "record.jsonl"

    async def scene() -> None:
        async with Sink(record=path, sync=sync) as sink:
            [endpoint] = await sink.start()
            async with RawClient(endpoint) as client:
                await client.expect(b"220")
                await client.ask(HELLO, b"250")
                for number in range(3):
                    assert (await talk(client, "u@a.test", CONTENT)).startswith(b"250")
                    assert len(lines(path)) == number + 1
        (first, *_) = lines(path)
        assert (first["sender"], first["recipients"], first["helo"]) == (
            "s@from.test",
            ["u@a.test"],
            "client.test",
        )
        assert (first["size"], first["sha256"]) == (len(PLAIN), hashlib.sha256(PLAIN).hexdigest())
        assert first["headers"] == [["Subject", "one two"], ["X-Empty", ""]]
        assert (first["reply"], first["irregularities"], first["session"]) == ("250 2.0.0 received", [], 1)

    run(scene())


def test_refused_and_cut_off_messages_are_recorded_as_such(tmp_path: Path) -> None:
    """An oracle needs to know which of them the client may believe delivered: ``reply`` says."""
    path = tmp_path / "record.jsonl"

    async def scene() -> None:
        async with Sink(record=path) as sink:
            [endpoint] = await sink.start()
            for recipient in ("tempfail-dot@a.test", "disconnect-dot@a.test", "tempfail-rcpt@a.test"):
                async with RawClient(endpoint) as client:
                    await client.expect(b"220")
                    await client.ask(HELLO, b"250")
                    await talk(client, recipient)
        assert [line["reply"] for line in lines(path)] == ["451 4.7.1 scripted tempfail at dot", None]

    run(scene())


def test_records_are_appended(tmp_path: Path) -> None:
    """A second run adds to the first one's file, and to its directory."""
    path, dump = tmp_path / "record.jsonl", tmp_path / "mail"

    async def scene() -> None:
        for _ in range(2):
            async with Sink(record=path, dump=dump) as sink:
                [endpoint] = await sink.start()
                async with RawClient(endpoint) as client:
                    await client.expect(b"220")
                    await client.ask(HELLO, b"250")
                    await talk(client, "u@a.test", CONTENT)
        assert [line["dumped"] for line in lines(path)] == ["00000001.eml", "00000002.eml"]
        assert {file.name: file.read_bytes() for file in dump.iterdir()} == {
            "00000001.eml": PLAIN,
            "00000002.eml": PLAIN,
        }

    run(scene())


def test_a_message_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """452 4.3.1, and it counts as refused; the session goes on, and so does the sink once it can write again."""
    dump = tmp_path / "mail"

    async def scene() -> None:
        async with Sink(dump=dump) as sink:
            [endpoint] = await sink.start()
            dump.rmdir()
            async with RawClient(endpoint) as client:
                await client.expect(b"220")
                await client.ask(HELLO, b"250")
                assert (await talk(client, "u@a.test")).startswith(b"452 4.3.1")
                dump.mkdir()
                assert (await talk(client, "u@a.test")).startswith(b"250")
            total = sink.statistics.total
            assert (total.tempfailed, total.accepted) == (1, 1)

    run(scene())


def test_no_reply_before_the_sync_and_one_sync_for_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a sync is under way further messages gather, unanswered, for the next one."""
    may_end, syncs = threading.Event(), []

    def slow_sync(descriptor: int) -> None:
        syncs.append(descriptor)
        may_end.wait(10)

    async def scene() -> None:
        async with Sink(record=tmp_path / "record.jsonl", sync=True) as sink, AsyncExitStack() as stack:
            [endpoint] = await sink.start()
            monkeypatch.setattr(os, "fsync", slow_sync)
            clients = [await stack.enter_async_context(RawClient(endpoint)) for _ in range(5)]
            for client in clients:
                await client.expect(b"220")
                await client.ask(HELLO, b"250")
            talks = [asyncio.create_task(talk(clients[0], "u@a.test"))]
            await until(lambda: len(syncs) == 1)
            talks += [asyncio.create_task(talk(client, "u@a.test")) for client in clients[1:]]
            await until(lambda: len(lines(tmp_path / "record.jsonl")) == 5)
            assert not any(talking.done() for talking in talks)
            may_end.set()
            assert all(reply.startswith(b"250") for reply in await asyncio.gather(*talks))
            assert len(syncs) == 2

    run(scene())


def test_a_failed_sync_refuses_what_waited_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is answered 250 that may not be on the disk."""

    def failing_sync(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    async def scene() -> None:
        async with Sink(record=tmp_path / "record.jsonl", sync=True) as sink:
            [endpoint] = await sink.start()
            monkeypatch.setattr(os, "fsync", failing_sync)
            async with RawClient(endpoint) as client:
                await client.expect(b"220")
                await client.ask(HELLO, b"250")
                assert (await talk(client, "u@a.test")).startswith(b"452")

    run(scene())


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        (b"A: 1\r\nB : 2\r\n\r\nC: 3\r\n", [("A", "1"), ("B", "2")]),
        (b"A: 1\r\n\t2\r\n  3\r\n\r\n", [("A", "1\t2  3")]),
        (b"A: 1\r\nno field\r\nB: 2\r\n\r\n", [("A", "1")]),
        (b"A: 1", [("A", "1")]),
        (b"A: \xff\xc3\xa9\r\n", [("A", r"\xffé")]),
        (b"\r\nA: 1\r\n", []),
        (b" A: 1\r\n", []),
        (b"", []),
    ],
)
def test_header_fields_are_read(content: bytes, fields: list[tuple[str, str]]) -> None:
    """Unfolded, in order, up to the first line that is none (RFC 5322 2.2)."""
    assert header_fields(content) == fields


def test_header_fields_are_bounded() -> None:
    """However many there are, and however long."""
    assert len(header_fields(b"A: 1\r\n" * 5000)) == 1000
    ((_, value),) = header_fields(b"A: " + b"x" * 1_000_000 + b"\r\n")
    assert len(value) == 8192


def test_stop_answers_what_is_being_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that will be on the disk is not left without its reply."""
    may_end = threading.Event()

    def slow_sync(descriptor: int) -> None:
        may_end.wait(10)

    async def scene() -> None:
        sink = Sink(record=tmp_path / "record.jsonl", sync=True)
        [endpoint] = await sink.start()
        monkeypatch.setattr(os, "fsync", slow_sync)
        async with RawClient(endpoint) as client:
            await client.expect(b"220")
            await client.ask(HELLO, b"250")
            talking = asyncio.create_task(talk(client, "u@a.test"))
            await until(lambda: bool(lines(tmp_path / "record.jsonl")))
            stopping = asyncio.create_task(sink.stop())
            may_end.set()
            await stopping
            assert (await talking).startswith(b"250")

    run(scene())
