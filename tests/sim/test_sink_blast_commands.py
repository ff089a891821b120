"""The commands ``penstock sink`` and ``penstock blast``."""

from __future__ import annotations

import json
import re
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from cryptography.hazmat.primitives import serialization
from cyclopts import App

from penstock.cli.blast import blast
from penstock.cli.sink import sink
from penstock.sim.certificates import Authority
from penstock.sim.endpoint import parse_endpoint
from penstock.sim.sink.behaviour import Kind, Stage
from penstock.sim.sink.script import load_script

PATIENCE = 30.0
DOCUMENT = Path(__file__).parents[2] / "docs" / "sink-and-blast.md"


def call(command: Callable[..., int], *arguments: str) -> int:
    """What a command line returns; for usage errors, which are found before anything starts."""
    app = App(name="penstock", result_action="return_value")
    app.command(command)
    result = app([command.__name__, *arguments], exit_on_error=False)
    assert isinstance(result, int)
    return result


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command in a process of its own, killed at the end if it has not ended."""
    command = [sys.executable, "-m", "penstock", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        killer = threading.Timer(PATIENCE, process.kill)
        killer.start()
        try:
            yield process
        finally:
            killer.cancel()
            process.kill()


def line_of(stream: IO[str] | None) -> str:
    """The next line, within the patience of these tests."""
    assert stream is not None
    assert select.select([stream], [], [], PATIENCE)[0]
    return stream.readline()


def listening(process: subprocess.Popen[str]) -> str:
    """The endpoint a sink tells."""
    match = re.fullmatch(r"(?:listening|sink) on (\S+)\n", line_of(process.stderr))
    assert match is not None
    return match[1]


@pytest.mark.parametrize(
    ("command", "arguments", "said"),
    [
        (sink, ["--listen", "192.0.2.1:25"], "--allow-remote"),
        (sink, ["--listen", "nonsense"], "write 127.0.0.1:2526"),
        (sink, ["--max-message-size", "big"], "no size"),
        (sink, ["--max-command-length", "5"], "at least 512"),
        (sink, ["--idle-timeout", "soon"], "no duration"),
        (sink, ["--count", "-1"], "at least 0"),
        (sink, ["--hostname", "a b"], "no host name"),
        (sink, ["--sync"], "--record or --dump"),
        (sink, ["--require-auth"], "--auth USER:PASSWORD"),
        (sink, ["--auth", "anna"], "write USER:PASSWORD"),
        (sink, ["--tls", "implicit", "--tls-private-key", "a.pem"], "needs --tls-certificate"),
        (sink, ["--tls-certificate", "a.pem", "--tls-private-key", "a.key"], "--tls starttls"),
        (sink, ["--script", "/nonexistent.toml"], "cannot be read"),
        (blast, ["--to-server", "192.0.2.1:25"], "--allow-remote"),
        (blast, ["--to-server", "sink"], "--sink"),
        (blast, ["--rate", "fast"], "no rate"),
        (blast, ["--duration", "x"], "no duration"),
        (blast, ["--count", "0"], "at least 1"),
        (blast, ["--size", "1k-x"], "--size"),
        (blast, ["--tenants", "a="], "--tenants"),
        (blast, ["--recipients", "1-2", "--local-part", "u"], "{r}"),
    ],
)
def test_wrong_options_are_told_and_end_with_2(
    command: Callable[..., int], arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error, by the command's name; nothing is started."""
    assert call(command, *arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(f"penstock {command.__name__}: ")
    assert said in output.err


def test_every_problem_of_a_script_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line each, with file and key."""
    path = tmp_path / "s.toml"
    path.write_text('sed = 1\n[[rule]]\nstage = "rcpt"\n')
    assert call(sink, "--script", str(path)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[2] for line in lines] == ["sed", "rule[0].action"]


def test_a_record_that_cannot_be_opened_ends_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is not the command line's fault."""
    assert call(sink, "--record", str(tmp_path / "none" / "record")) == 1
    assert "No such file" in capsys.readouterr().err


def test_a_certificate_that_cannot_be_used_ends_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing file, and one that is none."""
    for name in ("none.pem", "empty.pem"):
        path = str(tmp_path / name)
        (tmp_path / "empty.pem").touch()
        assert call(sink, "--tls", "starttls", "--tls-certificate", path, "--tls-private-key", path) == 1
        assert capsys.readouterr().err.startswith("penstock sink: ")


def test_a_certificate_without_a_key_in_its_file_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what would be right; an encrypted key is asked nobody about."""
    certificate, key = Authority().issue("mx.here.test").write(tmp_path)
    assert call(sink, "--tls", "starttls", "--tls-certificate", str(certificate)) == 1
    assert "or the key's as --tls-private-key" in capsys.readouterr().err
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    encrypted = serialization.BestAvailableEncryption(b"secret")
    key.write_bytes(
        loaded.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encrypted)
    )
    arguments = ["--tls-certificate", str(certificate), "--tls-private-key", str(key)]
    assert call(sink, "--tls", "starttls", *arguments) == 1
    assert "cannot be used" in capsys.readouterr().err


@pytest.mark.system
def test_a_blast_into_a_sink(tmp_path: Path) -> None:
    """Both as programs: the sink tells its port, stops after its count, and prints what the blast says it sent."""
    record = tmp_path / "record.jsonl"
    with started(
        "sink", "--listen", "127.0.0.1:0", "--count", "40", "--record", str(record), "--sync", "--json"
    ) as receiving:
        arguments = ("--count", "40", "--domains", "a.test=1,b.test=1", "--tenants", "x=1,y=2", "--json")
        with started("blast", "--to-server", listening(receiving), *arguments) as sending:
            output, errors = sending.communicate(timeout=PATIENCE)
            assert (sending.returncode, errors) == (0, "")
        report = json.loads(output)
        figures = json.loads(receiving.communicate(timeout=PATIENCE)[0])
        assert receiving.returncode == 0
    assert report["accepted"] == figures["total"]["messages"] == 40
    assert set(figures["domains"]) == {"a.test", "b.test"}
    tenants = [dict(json.loads(line)["headers"])["X-Tenant"] for line in record.read_text().splitlines()]
    assert {name: tenants.count(name) for name in "xy"} == {
        name: report["tenants"][name]["accepted"] for name in "xy"
    }


@pytest.mark.system
def test_a_sink_prints_statistics_on_usr1_and_at_the_end() -> None:
    """And ends cleanly on SIGTERM; a table where JSON was not asked for."""
    with started("sink", "--listen", "127.0.0.1:0", "--json") as process:
        listening(process)
        process.send_signal(signal.SIGUSR1)
        assert json.loads(line_of(process.stdout))["total"]["messages"] == 0
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=PATIENCE)
        assert (process.returncode, json.loads(output)["domains"]) == (0, {})
    with started("sink", "--listen", "127.0.0.1:0") as process:
        listening(process)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=PATIENCE)
        assert (process.returncode, "messages" in output) == (0, True)


@pytest.mark.system
def test_a_port_in_use_ends_a_sink_with_1() -> None:
    """And says which."""
    with started("sink", "--listen", "127.0.0.1:0") as first:
        endpoint = listening(first)
        with started("sink", "--listen", endpoint) as second:
            _, errors = second.communicate(timeout=PATIENCE)
            assert second.returncode == 1
            assert f"cannot listen on {endpoint}" in errors
        with started("blast", "--to-server", "127.0.0.1:1", "--sink", endpoint) as third:
            _, errors = third.communicate(timeout=PATIENCE)
            assert third.returncode == 1
            assert f"cannot listen on {endpoint}" in errors


@pytest.mark.system
def test_an_interrupted_blast_reports() -> None:
    """Straight into its own sink, without an end: SIGINT gives the table, and 0 because all of it arrived."""
    with started(
        "blast", "--to-server", "sink", "--sink", "127.0.0.1:0", "--duration", "1h", "--tenants", "a"
    ) as process:
        assert parse_endpoint(listening(process)).port
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=PATIENCE)
        assert "interrupt" in output
        assert process.returncode in (0, 1)


@pytest.mark.system
def test_a_refusing_server_makes_a_blast_end_with_1() -> None:
    """With the server's words in the table."""
    arguments = (
        "--to-server",
        "sink",
        "--sink",
        "127.0.0.1:0",
        "--count",
        "5",
        "--local-part",
        "permfail+{n}",
    )
    with started("blast", *arguments) as process:
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1
        assert "scripted permfail at rcpt" in output


def test_every_option_stage_and_action_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    """The page names all of them."""
    document = DOCUMENT.read_text()
    for command in (sink, blast):
        app = App(name="penstock", result_action="return_value")
        app.command(command)
        app([command.__name__, "--help"])
        options = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
        assert len(options) > 10
        missing = [option for option in sorted(options) if f"`{option}" not in document]
        assert not missing
    for word in (*(stage.value for stage in Stage), *(kind.value for kind in Kind)):
        assert f"`{word}" in document


def test_the_documented_script_is_one(tmp_path: Path) -> None:
    """The page's example is read without a problem."""
    match = re.search(r"```toml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert match is not None
    path = tmp_path / "script.toml"
    path.write_text(match[1])
    assert len(load_script(path).rules) >= 4
