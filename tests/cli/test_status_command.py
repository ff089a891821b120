"""``penstock status`` as it is typed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from cyclopts import App

from penstock.api.app import control_app
from penstock.api.control import ControlSocket
from penstock.api.server import HttpServer
from penstock.cli.status import status
from penstock.mail.duration import ByteCount, Seconds, WallTime
from penstock.mail.status import (
    EventLogCounts,
    ListenerStatus,
    MailCounts,
    PathStatus,
    QueueStatus,
    Rates,
    SpoolCounts,
    Status,
    TenantStatus,
)

Command = Callable[..., int]

BUSY = Status(
    version="0.1.0",
    pid=4242,
    node="mta.example",
    started=WallTime(1_700_000_000.0),
    now=WallTime(1_700_012_345.0),
    epoch=3,
    spool=SpoolCounts(),
    mail=MailCounts(queued=41, received=42, delivered=43, deferred=44, failed=45, expired=46, rejected=47),
    rates=Rates(1.5, 1.25, 0.5, 0.25),
    event_log=EventLogCounts(dropped=8, fault="/data/events: No space left on device"),
    connections_in=11,
    connections_out=12,
    directives=6,
    sweeps=7,
    messages=16,
    scheduled_queues=18,
    loop_lag=Seconds(0.0021),
    memory=ByteCount(300 * 1024 * 1024),
    memory_limit=ByteCount(4 * 1024**3),
    listeners=(ListenerStatus("smtp", "127.0.0.1:2525", 11), ListenerStatus("http", "127.0.0.1:8000")),
    tenants=(TenantStatus("acme", MailCounts(queued=51)), TenantStatus(None, MailCounts(queued=61))),
    queues=(
        QueueStatus(
            "spring:acme@dest.example",
            9,
            WallTime(1_700_012_000.0),
            "retry_interval",
            WallTime(1_700_012_405.0),
        ),
    ),
    paths=(PathStatus("ip-1->\x1b[2Jmx.dest.example", 5, 2, "connection_limit"),),
)


class Fixed:
    """A status source that always says the same."""

    def __init__(self, now: Status) -> None:
        self._now = now

    async def status(self) -> Status:
        """See StatusSource."""
        return self._now

    def fault(self) -> str | None:
        """See StatusSource."""
        return self._now.fault


@contextmanager
def running(data_dir: Path, now: Status) -> Iterator[None]:
    """A server for ``data_dir`` in a thread of its own, because the command has a loop of its own."""
    ready, over = threading.Event(), threading.Event()

    async def serve() -> None:
        control = ControlSocket(data_dir)
        server = HttpServer(control_app(Fixed(now)), [control.socket])
        await server.start()
        ready.set()
        await asyncio.to_thread(over.wait)
        await server.stop(5.0)
        control.remove()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(30)
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Runs the command with a configuration whose data directory is ``tmp_path / "data"``; gives its exit status."""
    config = tmp_path / "penstock.toml"
    config.write_text(
        f'[node]\nhostname = "mta.example"\ndata_dir = "{tmp_path}/data"\n[[listener.smtp]]\nlisten = ["127.0.0.1:2525"]\n'
    )
    app = App()
    app.command(status)

    def run(*arguments: str) -> int:
        result = app(["status", "-c", str(config), *arguments], result_action="return_value")
        assert isinstance(result, int)
        return result

    return run


def test_tables_show_what_matters(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything an administrator asks first, and nothing that drives the terminal."""
    with running(tmp_path / "data", BUSY):
        assert command() == 0
    out = capsys.readouterr().out
    for words in (
        "Penstock 0.1.0 on mta.example: running, pid 4242, for 3h 25m, configuration 3",
        "The spool is in memory: 16 messages are lost if the server stops.",
        "The event log cannot be written: /data/events: No space left on device",
        "8 events were lost.",
        "smtp on 127.0.0.1:2525, 11 connections",
        "11 in, 12 out",
        "6 directives in force, 7 sweeps under way (penstock directives)",
        "1.5/s received, 1.2/s delivered, 0.5/s deferred, 0.2/s failed",
        "300 MiB of 4.0 GiB; loop lag 2.1 ms",
        "(no tenant)",
        "2023-11-15 01:40:05Z (in 1m 0s)",
        "ip-1->?[2Jmx.dest.example",
    ):
        assert words in out
    rows = [line.split() for line in out.splitlines()]
    assert ["all", "41", "42", "43", "44", "45", "46", "47"] in rows
    assert ["acme", "51", "0", "0", "0", "0", "0", "0"] in rows
    assert "\x1b" not in out


def test_what_is_not_there_is_not_shown(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A quiet server has a short status."""
    quiet = msgspec.structs.replace(
        BUSY,
        spool=SpoolCounts(durability="fsync"),
        event_log=EventLogCounts(),
        queues=(),
        paths=(),
        tenants=(),
    )
    with running(tmp_path / "data", quiet):
        assert command() == 0
    out = capsys.readouterr().out
    for words in (
        "in memory",
        "event log",
        "lost",
        "Scheduled queues",
        "Paths",
        "synced",
        "refused",
        "damaged",
    ):
        assert words not in out


def test_what_the_spool_does_is_a_line_and_what_is_wrong_with_it_is_said_first(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """How sure a 250 is, why nothing is delivered, why nothing is taken, and what is damaged."""
    spool = SpoolCounts(
        durability="os",
        fault="cannot sync: \x1b[2Jinput/output error",
        refusing="the disk is full",
        is_recovering=True,
        segments=3,
        bytes=192 << 20,
        live_bytes=10 << 20,
        stored=50,
        quarantined=2,
        free_bytes=5 << 30,
    )
    spool.syncs.observe(0.002)
    spool.syncs.observe(0.004)
    with running(tmp_path / "data", msgspec.structs.replace(BUSY, spool=spool)):
        assert command() == 0
    out = capsys.readouterr().out
    for words in (
        'The spool is not synced (durability = "os"): accepted mail is lost if the power fails.',
        "The spool cannot be written, so nothing is delivered: cannot sync: ?[2Jinput/output error",
        "New mail is refused: the disk is full",
        "2 damaged records were found in the spool; penstock spool check says where.",
        "Mail from before the start is still being read.",
        "3 segments, 192 MiB, of that 10 MiB queued; 25.0 messages a sync of 3.0 ms; 5.0 GiB free",
    ):
        assert words in out


def test_json_can_be_read_back(command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole status, for programs."""
    with running(tmp_path / "data", BUSY):
        assert command("--json") == 0
    assert msgspec.json.decode(capsys.readouterr().out, type=Status) == BUSY


def test_server_that_is_not_live_is_status_1(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It answers, and says what is wrong."""
    with running(tmp_path / "data", msgspec.structs.replace(BUSY, fault="draining")):
        assert command() == 1
    assert "mta.example: draining" in capsys.readouterr().out


def test_no_server_is_status_1(command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In words, on stderr."""
    assert command() == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"penstock status: no server is running for data_dir {tmp_path}/data")


def test_wrong_configuration_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    """The file's problems, as ``check`` would tell them."""
    assert status(config="/nonexistent/penstock.toml") == 2
    assert capsys.readouterr().err.startswith("penstock status: /nonexistent/penstock.toml")
