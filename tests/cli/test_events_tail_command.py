"""``penstock events tail`` and ``query`` as they are typed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from penstock.cli.events import app, lines_of
from penstock.events.files import SystemFiles, file_name, log_files
from penstock.events.packing import pack

Tail = Callable[..., int]


def event(number: int, kind: str = "Delivery", tenant: str | None = "acme", second: int = 0) -> bytes:
    """A line of the log, as short as it can be."""
    fields = {
        "type": kind,
        "id": f"{number:032x}",
        "sender": "a@send.example",
        "recipient": f"r{number}@d{number % 2}.example",
        "event_time": f"2025-11-20T20:00:{second:02d}.000000Z",
        "tenant": tenant,
        "campaign": None,
        "queue": f"{tenant or ''}@d{number % 2}.example",
        "site": f"ip-{number % 3}->mx.d{number % 2}.example@smtp_client",
    }
    return json.dumps(fields).encode()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data directory with 30 events in two files, and a configuration that names it."""
    events = tmp_path / "data" / "events"
    events.mkdir(parents=True)
    for part in (0, 1):
        kinds = ("Bounce", "Delivery", "Delivery")
        lines = [
            event(n, kinds[n % 3], "acme" if n % 5 else None, n) for n in range(part * 15, part * 15 + 15)
        ]
        start = 1_763_668_800 + part * 15
        (events / file_name(start * 1_000_000)).write_bytes(b"".join(line + b"\n" for line in lines))
    (tmp_path / "penstock.toml").write_text(
        f'[node]\nhostname = "mta.example"\ndata_dir = "{tmp_path}/data"\n[[listener.smtp]]\nlisten = ["127.0.0.1:2525"]\n'
    )
    return tmp_path / "data"


@pytest.fixture
def tail(data_dir: Path) -> Tail:
    """Runs the command with the configuration of ``data_dir``; gives its exit status."""

    def run(*arguments: str) -> int:
        config = str(data_dir.parent / "penstock.toml")
        status = app(["tail", "-c", config, *arguments], result_action="return_value")
        assert isinstance(status, int)
        return status

    return run


def shown(capfdbinary: pytest.CaptureFixture[bytes]) -> list[int]:
    """The numbers of the events printed as JSON."""
    return [int(json.loads(line)["id"], 16) for line in capfdbinary.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "numbers"),
    [
        ([], [*range(20, 30)]),
        (["-n", "3"], [27, 28, 29]),
        (["-n", "0"], []),
        (["--all"], [*range(30)]),
        (["--lines", "2", "--type", "Bounce"], [24, 27]),
        (["--all", "-t", "Bounce", "--tenant", ""], [0, 15]),
        (["--all", "--tenant", "nobody"], []),
        (["-n", "3", "--domain", "D1.example"], [25, 27, 29]),
        (["--all", "--id", f"{7:032x}", "--id", f"{29:032x}"], [7, 29]),
        (["--all", "--campaign", "x"], []),
        (["--since", "2025-11-20T20:00:28Z"], [28, 29]),
        (["--since", "2025-11-20T21:00:28+01:00"], [28, 29]),
        (["--since", "2025-11-20T20:00:14"], [*range(14, 30)]),
        (["--since", "36500 days"], [*range(30)]),
        (["--since", "2025-11-20T20:00:14", "--until", "2025-11-20T20:00:17"], [14, 15, 16]),
        (["--all", "--recipient", "R3@d1.example", "--recipient", "r4@d0.example"], [3, 4]),
        (["-n", "1", "--sender", "A@send.example"], [29]),
        (["--all", "--sender", ""], []),
        (["--all", "--queue", "acme@d1.example", "--until", "2025-11-20T20:00:09Z"], [1, 3, 7]),
        (["-n", "2", "--site", "mx.d0.example"], [26, 28]),
        (["-n", "2", "--site", "ip-1->mx.d0.example@smtp_client"], [22, 28]),
    ],
    ids=str,
)
def test_options_select_events(
    tail: Tail, capfdbinary: pytest.CaptureFixture[bytes], arguments: list[str], numbers: list[int]
) -> None:
    """Each option does what docs/events.md says."""
    assert tail("--json", *arguments) == 0
    assert shown(capfdbinary) == numbers


@pytest.mark.parametrize("is_packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize(
    ("arguments", "numbers"),
    [
        ([], [*range(30)]),
        (["--limit", "3"], [0, 1, 2]),
        (["--limit", "0"], []),
        (["--type", "Bounce", "--since", "2025-11-20T20:00:12", "--limit", "2"], [12, 15]),
        (["--id", f"{16:032x}"], [16]),
        (["--recipient", "r16@d0.example", "--until", "2025-11-20T20:00:16"], []),
    ],
    ids=str,
)
def test_query_shows_all_that_agree(
    data_dir: Path,
    capfdbinary: pytest.CaptureFixture[bytes],
    arguments: list[str],
    numbers: list[int],
    is_packed: bool,
) -> None:
    """Oldest first, from packed files too."""
    if is_packed:
        pack(SystemFiles(), log_files(data_dir / "events")[0], 3)
    command = ["query", "-c", str(data_dir.parent / "penstock.toml"), "--json", *arguments]
    assert app(command, result_action="return_value") == 0
    assert shown(capfdbinary) == numbers


@pytest.mark.parametrize("command", ["tail", "query"])
def test_damaged_file_is_status_1(data_dir: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    """It is named."""
    first, second = log_files(data_dir / "events")
    pack(SystemFiles(), first, 3)
    second.unlink()
    [path] = log_files(data_dir / "events")
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:40] + b"nonsense")
    assert app([command, "--directory", str(path.parent)], result_action="return_value") == 1
    assert f"{path} is damaged" in capsys.readouterr().err


def test_query_of_no_log_is_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is no empty answer."""
    assert app(["query", "--directory", str(tmp_path / "none")], result_action="return_value") == 1
    assert "has the server run" in capsys.readouterr().err


def test_lines_for_a_person(tail: Tail, capsys: pytest.CaptureFixture[str]) -> None:
    """One line each, without colour where there is no terminal."""
    assert tail("-n", "1") == 0
    out = capsys.readouterr().out
    assert out.startswith("2025-11-20 20:00:29.000  Delivery          acme  a@send.example -> r29@d1.example")
    assert out.count("\n") == 1
    assert "\x1b" not in out


def test_json_is_the_line_itself(tail: Tail, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Octet for octet."""
    tail("-n", "1", "--json")
    assert capfdbinary.readouterr().out == event(29, "Delivery", "acme", 29) + b"\n"


def test_directory_needs_no_configuration(data_dir: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Files that were copied from elsewhere can be read, too."""
    arguments = ["tail", "--directory", str(data_dir / "events"), "--json", "-n", "1"]
    assert app(arguments, result_action="return_value") == 0
    assert shown(capfdbinary) == [29]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--since", "yesterday"], "'yesterday' is no duration"),
        (["-n", "-1"], "cannot be negative"),
    ],
)
def test_mistakes_are_status_2(
    tail: Tail, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    """What was typed is wrong, and it is said in words."""
    assert tail(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("penstock events: ")
    assert words in captured.err


def test_configuration_can_be_in_the_environment(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """$PENSTOCK_CONFIG is where it is looked for without -c; a file that is not there is status 2."""
    monkeypatch.setenv("PENSTOCK_CONFIG", str(data_dir.parent / "penstock.toml"))
    assert app(["tail", "--json", "-n", "1"], result_action="return_value") == 0
    assert shown(capfdbinary) == [29]
    monkeypatch.setenv("PENSTOCK_CONFIG", "/nonexistent/penstock.toml")
    assert app(["tail"], result_action="return_value") == 2
    assert b"penstock events: /nonexistent/penstock.toml" in capfdbinary.readouterr().err


def test_log_that_is_not_there_is_status_1(
    tail: Tail, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server has never run here, or elsewhere."""
    (data_dir / "events").rename(data_dir / "moved")
    assert tail() == 1
    assert "No such file or directory" in capsys.readouterr().err


def test_following_waits_between_looks() -> None:
    """When there is nothing more, it waits and looks again; without following it ends there."""
    looks: Iterator[list[bytes]] = iter([[b"a"], [], [], [b"b", b"c"], []])
    waits: list[None] = []
    assert list(lines_of(looks, lambda: waits.append(None))) == [[b"a"], [b"b", b"c"]]
    assert len(waits) == 3
    assert list(lines_of(iter([[b"a"], [], [b"b"]]), None)) == [[b"a"]]


def program(data_dir: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """The command as a process of its own."""
    # whoever runs the tests in the background may have SIGINT ignored, and that is inherited
    source = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from penstock.cli.events import app; app(sys.argv[1:])"
    )
    command = [sys.executable, "-c", source, "tail", "--directory", str(data_dir / "events"), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_followed_events_come_and_an_interrupt_ends_it_quietly(data_dir: Path) -> None:
    """What is written after the start is shown; SIGINT is the usual end, and no error."""
    with program(data_dir, "-f", "-n", "1", "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == event(29, "Delivery", "acme", 29) + b"\n"
        with sorted((data_dir / "events").iterdir())[-1].open("ab") as file:
            file.write(event(30) + b"\n")
        assert process.stdout.readline() == event(30) + b"\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stderr.read() == b""


def test_closed_pipe_ends_it_quietly(data_dir: Path) -> None:
    """``penstock events tail --all | head -1`` leaves no traceback."""
    path = sorted((data_dir / "events").iterdir())[-1]
    with path.open("ab") as file:
        for number in range(5000):
            file.write(event(number) + b"\n")
    with program(data_dir, "--all") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 0
        assert process.stderr.read() == b""
