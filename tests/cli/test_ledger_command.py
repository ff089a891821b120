"""``penstock ledger`` as it is typed."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
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
from penstock.cli.ledger import ledger
from penstock.mail.duration import WallTime
from penstock.mail.status import EventLogCounts, MailCounts, Rates, SpoolCounts, Status
from tests.events.log_files import Files

Command = Callable[..., int]

QUIET = Status(
    version="0.1.0",
    pid=4242,
    node="mta.example",
    started=WallTime(1_700_000_000.0),
    now=WallTime(1_700_000_100.0),
    epoch=1,
    mail=MailCounts(queued=3, received=6, delivered=3),
    rates=Rates(),
    event_log=EventLogCounts(),
    spool=SpoolCounts(durability="fsync"),
)


class Saying:
    """A status source that says one thing after the other, and then the last for ever."""

    def __init__(self, *answers: Status) -> None:
        self._answers = list(answers)

    async def status(self) -> Status:
        """See StatusSource."""
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def fault(self) -> str | None:
        """See StatusSource."""
        return None


@contextmanager
def running(data_dir: Path, *answers: Status) -> Iterator[None]:
    """A server for ``data_dir`` in a thread of its own, because the command has a loop of its own."""
    ready, over = threading.Event(), threading.Event()

    async def serve() -> None:
        control = ControlSocket(data_dir)
        server = HttpServer(control_app(Saying(*answers)), [control.socket])
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
def data_dir(tmp_path: Path) -> Path:
    """A data directory with a log of six recipients: acme's and one of nobody's wait, half of all is delivered."""
    files = Files(tmp_path / "data" / "events")
    files.begin()
    files.settle(files.accept("a", "b"), 0)
    files.accept("a", tenant=None)
    files.begin()
    files.settle(files.accept("a", "b", tenant="beta"))
    files.accept("a")
    files.save()
    (tmp_path / "penstock.toml").write_text(
        f'[node]\nhostname = "mta.example"\ndata_dir = "{tmp_path}/data"\n[[listener.smtp]]\nlisten = ["127.0.0.1:2525"]\n'
    )
    return tmp_path / "data"


@pytest.fixture
def command(data_dir: Path) -> Command:
    """Runs the command with the configuration of ``data_dir``; gives its exit status."""
    app = App()
    app.command(ledger)

    def run(*arguments: str) -> int:
        config = [] if "--data-dir" in arguments else ["-c", str(data_dir.parent / "penstock.toml")]
        status = app(["ledger", *config, *arguments], result_action="return_value")
        assert isinstance(status, int)
        return status

    return run


def break_log(data_dir: Path) -> None:
    """The first Delivery is there twice."""
    newest = max((data_dir / "events").iterdir())
    oldest = min((data_dir / "events").iterdir())
    newest.write_bytes(newest.read_bytes() + oldest.read_bytes().splitlines(keepends=True)[2])


def test_log_that_holds(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """A table of recipients, over all and by tenant, and that no server was asked."""
    assert command() == 0
    out = capsys.readouterr().out
    rows = [line.split("  ") for line in out.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert ["tenant", "accepted", "delivered", "queued"] in cells
    assert ["all", "6", "3", "3"] in cells
    assert ["acme", "3", "1", "2"] in cells
    assert ["(no tenant)", "1", "0", "1"] in cells
    assert "It holds" in out
    assert "no server is running" in out


def test_log_that_does_not_hold(command: Command, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says in words what, how often, of which tenant, and of which messages."""
    break_log(data_dir)
    assert command() == 1
    out = capsys.readouterr().out
    assert "NOT RIGHT: 1 times (acme): settled twice: " + f"{1:032x}" in out
    assert "It holds" not in out


def test_one_tenant(command: Command, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its row, and only what concerns it."""
    break_log(data_dir)
    assert command("--tenant", "beta") == 0
    out = capsys.readouterr().out
    assert ["beta", "2", "2", "0"] in [line.split() for line in out.splitlines()]
    assert "acme" not in out
    assert command("--tenant", "acme") == 1
    assert command("--tenant", "") == 0
    assert "(no tenant)" in capsys.readouterr().out


def test_json(command: Command, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything, for programs."""
    break_log(data_dir)
    assert command("--json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["holds"] is False
    assert answer["report"]["totals"]["accepted"] == 6
    assert answer["report"]["findings"][0] == {
        "what": "settled twice",
        "count": 1,
        "tenant": "acme",
        "examples": [f"{1:032x}"],
    }
    assert answer["server"]["queued"] is None


def test_quiet_server_has_as_many_queued(
    command: Command, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it says and what its events say are compared."""
    with running(data_dir, QUIET):
        assert command() == 0
    assert "The server: has as many queued." in capsys.readouterr().out


def test_server_that_has_another_number_queued(
    command: Command, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is a finding, of no tenant."""
    other = msgspec.structs.replace(QUIET, mail=msgspec.structs.replace(QUIET.mail, queued=4))
    with running(data_dir, other):
        assert command() == 1
    assert "the server has 4 recipients queued, and by the events 3 are" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mail": MailCounts(queued=4, received=7, delivered=3)}, "mail was moving"),
        ({"pid": 4243}, "mail was moving"),
        ({"event_log": EventLogCounts(is_behind=True)}, "events are still being written"),
        ({"event_log": EventLogCounts(waiting=7)}, "events are still being written"),
        ({"spool": SpoolCounts(is_recovering=True)}, "still reads what was queued"),
    ],
    ids=["mail moves", "it starts again", "events are behind", "events wait", "it recovers"],
)
def test_server_that_cannot_be_compared(
    command: Command,
    data_dir: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, object],
    words: str,
) -> None:
    """The log is judged alone, and it is said why."""
    with running(data_dir, QUIET, msgspec.structs.replace(QUIET, **changes)):
        assert command() == 0
    assert words in capsys.readouterr().out


def test_data_directory_can_be_named(command: Command, data_dir: Path) -> None:
    """Without any configuration."""
    assert command("--data-dir", str(data_dir)) == 0


def test_mistakes_are_told(
    command: Command, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No log is 1, no configuration 2; each with what to do."""
    assert command("--data-dir", str(tmp_path / "nowhere")) == 1
    assert "has the server run" in capsys.readouterr().err
    (data_dir.parent / "penstock.toml").unlink()
    assert command() == 2
    assert "penstock.toml" in capsys.readouterr().err


def test_names_are_shown_harmless(
    command: Command, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever wrote the file."""
    newest = max((data_dir / "events").iterdir())
    line = b'{"type":"Bounce","id":"\\u001b[2J","event_id":"\\u001b[2J-0-1-Bounce","tenant":"\\u001b[31m","recipient":"a@b"}\n'
    newest.write_bytes(newest.read_bytes() + line)
    assert command() == 1
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "?[31m" in out


def test_progress_is_shown_on_a_terminal(data_dir: Path) -> None:
    """On standard error, and taken away at the end; nothing of it where that is no terminal."""
    terminal, inside = pty.openpty()
    code = (
        "import sys, penstock.cli.ledger as module\n"
        "progress = module._Progress()\n"
        "progress._shown -= 10\n"
        "progress.show(50_000_000, 100_000_000)\n"
        "progress.end()\n"
    )
    subprocess.run([sys.executable, "-c", code], stderr=inside, check=True)
    os.close(inside)
    assert os.read(terminal, 1000) == b"\rreading events: 50% of 100 MB \r\x1b[K"
    os.close(terminal)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert result.stderr == b""
