"""The fuzzer, for a moment; and that it finds what there is to find."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from benchmarks import fuzz
from benchmarks.fuzz_corpus import CLIENTS, STREAM_LIMIT, mutated, pieces
from penstock.smtp import command, reply_reader
from penstock.smtp.client_dialogue import Dialogue

RUNS = 600


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_found_in_a_moment(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    """A few hundred streams; ``make fuzz`` goes on for ten minutes."""
    failure = fuzz.fuzz(seed, 60.0, runs=RUNS)
    assert failure is None, f"{failure.replay_line()}\n{failure.traceback}"
    assert "server" in capsys.readouterr().out


@pytest.mark.parametrize("name", list(fuzz.TARGETS))
def test_what_never_ends_takes_little_memory(name: str) -> None:
    """Two megabytes of a word, said to each."""
    for word in (b"x", b"\n", b"250-", b"250 x\r\n", b"BDAT 1\r\n", b"PROXY "):
        assert fuzz.look_at_memory(name, word, 1) is None
    assert not tracemalloc.is_tracing()


def test_an_exception_in_the_server_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as a stream gets there; the line it prints replays it."""
    original = command.parse_line

    def careless(line: bytes) -> object:
        line.decode("ascii")
        return original(line)

    monkeypatch.setattr(command, "parse_line", careless)
    failure = fuzz.fuzz(3, 60.0, runs=5000)
    assert failure is not None
    assert failure.target == "server"
    assert "UnicodeDecodeError" in failure.traceback
    assert fuzz.main(["--replay", failure.replay_line()]) == 1
    monkeypatch.undo()
    assert fuzz.main(["--replay", failure.replay_line()]) == 0


def test_a_lost_transaction_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that goes on behind its end counts wrong."""

    def forgetful(self: Dialogue) -> None:
        self.awaited.clear()

    monkeypatch.setattr(Dialogue, "close", forgetful)
    failure = fuzz.fuzz(3, 60.0, runs=5000)
    assert failure is not None
    assert failure.target == "client"


def test_a_reply_without_a_limit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is kept for as long as it goes on."""
    monkeypatch.setattr(reply_reader, "REPLY_LINE_LIMIT", 100_000_000)
    failure = fuzz.look_at_memory("client", b"2", 1)
    assert failure is not None
    assert "octets of memory" in failure.traceback


def test_streams_are_spoiled_within_bounds() -> None:
    """All of it follows from the seed; pieces are the whole."""
    chance, again = random.Random(5), random.Random(5)
    for stream in CLIENTS * 20:
        spoiled = mutated(stream, list(CLIENTS), chance)
        assert spoiled == mutated(stream, list(CLIENTS), again)
        assert len(spoiled) <= STREAM_LIMIT
        assert b"".join(pieces(spoiled, chance)) == b"".join(pieces(spoiled, again)) == spoiled
