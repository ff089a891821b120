"""The program as an operator runs it: started, asked, told to reload and to stop, by its command line and signals."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import smtplib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

PATIENCE = 30.0
SOURCE = Path(__file__).parents[2] / "src"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SOURCE), "COLUMNS": "200"}

ROOT = """
[node]
hostname = "mta.test"
data_dir = "data"
workers = 1
[[listener.smtp]]
listen = ["127.0.0.1:0"]
{listener}
[[listener.http]]
listen = ["127.0.0.1:0"]
[files]
queues = "queues.toml"
shaping = "shaping.toml"
[dns.static]
"a.test" = {{ mx = ["mx.a.test"] }}
"mx.a.test" = {{ a = ["127.0.0.77"] }}
"""


def penstock(*arguments: str, check: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "penstock", *arguments],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=check,
    )


def write(place: Path, listener: str = "", queues: str = "[tenant.'acme']\n") -> Path:
    """A configuration whose only destination answers nothing, so that mail stays."""
    (place / "penstock.toml").write_text(ROOT.format(listener=listener))
    (place / "queues.toml").write_text(f'tenant_header = "X-Tenant"\n{queues}')
    (place / "shaping.toml").write_text('["default"]\nsmtp_port = 9\nprohibited_hosts = []\n')
    return place / "penstock.toml"


class Server:
    """``penstock serve`` as a process, and what it has said so far."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.said = ""

    def until(self, pattern: str) -> re.Match[str]:
        """Read what it says until ``pattern`` is in it."""
        assert self.process.stderr is not None
        deadline = time.monotonic() + PATIENCE
        while (match := re.search(pattern, self.said)) is None:
            ready, _, _ = select.select([self.process.stderr], [], [], max(0.0, deadline - time.monotonic()))
            more = os.read(self.process.stderr.fileno(), 65536) if ready else b""
            assert more, f"{pattern!r} was never said: {self.said}"
            self.said += more.decode()
        return match

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        self.process.send_signal(signal.SIGTERM)
        self.until("stopped: .*\n")
        return self.process.wait(PATIENCE)


@contextmanager
def running(root: Path) -> Iterator[Server]:
    """A server that takes mail; killed at the end if it has not been stopped."""
    command = [sys.executable, "-m", "penstock", "serve", "-c", str(root)]
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE) as process:
        try:
            server = Server(process)
            server.until(r"http: listening on .*\n")
            yield server
        finally:
            process.kill()


def send(server: Server, count: int = 1) -> None:
    """Send mail with the standard library's client."""
    port = int(server.until(r"smtp: listening on 127\.0\.0\.1:(\d+)")[1])
    with smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE) as client:
        for number in range(count):
            client.sendmail("s@from.test", [f"{number}@a.test"], b"Subject: x\r\nX-Tenant: acme\r\n\r\nx\r\n")


def get(server: Server, path: str) -> tuple[int, str]:
    """An HTTP answer of the server."""
    port = server.until(r"http: listening on 127\.0\.0\.1:(\d+)")[1]
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_what_was_accepted_is_there_after_a_restart(tmp_path: Path) -> None:
    """Three messages that nobody takes: SIGTERM ends the server with 0, and the next one has them; killed, so has the one after that."""
    root = write(tmp_path)
    with running(root) as server:
        send(server, 3)
        assert server.stop() == 0
        assert "stopped: 3 messages are in the spool" in server.said
    for _ in range(2):
        with running(root) as server:
            server.until("recovered: 3 messages from before the start are queued")
            server.process.kill()


def test_a_spool_that_is_not_synced_is_said_loudly(tmp_path: Path) -> None:
    """``durability = "os"`` loses mail in a power cut, and says so at the start."""
    root = write(tmp_path)
    root.write_text(root.read_text() + '\n[spool]\ndurability = "os"\n')
    with running(root) as server:
        server.until("LOST")
        assert 'DURABILITY IS "os"' in server.said


def test_status_metrics_and_liveness_tell_the_same(tmp_path: Path) -> None:
    """Liveness is 200, metrics and ``penstock status`` count what was received."""
    root = write(tmp_path)
    with running(root) as server:
        send(server, 2)
        assert get(server, "/api/check-liveness/v1") == (200, '{"status":"ok"}')
        assert re.search(r"^total_messages_received\S* 2(\.0)?$", get(server, "/metrics")[1], re.MULTILINE)
        assert get(server, "/nothing")[0] == 404
        status = json.loads(penstock("status", "-c", str(root), "--json", check=True).stdout)
        assert status["mail"]["received"] == 2
        assert status["spool"]["durability"] == "fsync"
        shown = penstock("status", "-c", str(root))
        assert shown.returncode == 0
        assert "acme@a.test" in shown.stdout
    down = penstock("status", "-c", str(root))
    assert down.returncode == 1
    assert "no server is running" in down.stderr + down.stdout


def test_a_server_at_rest_stays_alive(tmp_path: Path) -> None:
    """The supervisor's silence would be taken for its absence after 5 s: liveness is 200 at every look, for longer than that."""
    with running(write(tmp_path)) as server:
        server.until(r"recovered: .* are queued\n")
        began = time.monotonic()
        while time.monotonic() - began < 7.0:
            assert get(server, "/api/check-liveness/v1") == (200, '{"status":"ok"}')
            time.sleep(0.5)


def test_events_tail_shows_what_happened(tmp_path: Path) -> None:
    """One JSON line for each event, chosen by type and tenant."""
    root = write(tmp_path)
    with running(root) as server:
        send(server, 2)
        server.stop()
    lines = penstock("events", "tail", "-c", str(root), "--json", "-n", "10", check=True).stdout.splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["Reception", "Reception"]
    assert penstock("events", "tail", "-c", str(root), "-n", "10", "--tenant", "nobody").stdout == ""


def test_sighup_takes_a_right_configuration_and_keeps_off_a_wrong_one(tmp_path: Path) -> None:
    """A mistake is logged and changes nothing; a right file takes effect with the next epoch, on the same sockets."""
    root = write(tmp_path)
    with running(root) as server:
        send(server)
        write(tmp_path, queues="[tenant.'acme']\nretry_intervall = 3\n")
        server.process.send_signal(signal.SIGHUP)
        server.until("not reloaded: .*queues.toml.*retry_intervall")
        write(tmp_path, listener='hostname = "new.test"', queues="[tenant.'other']\n")
        server.process.send_signal(signal.SIGHUP)
        server.until("reloaded: configuration epoch 2")
        port = int(server.until(r"smtp: listening on 127\.0\.0\.1:(\d+)")[1])
        with smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE) as client:
            assert client.ehlo()[1].startswith(b"new.test")
            with pytest.raises(smtplib.SMTPDataError, match="unknown tenant acme"):
                client.sendmail("s@from.test", ["1@a.test"], b"X-Tenant: acme\r\n\r\nx\r\n")
        write(tmp_path, queues="[tenant.'other']\n")
        root.write_text(root.read_text().replace("mta.test", "renamed.test"))
        server.process.send_signal(signal.SIGHUP)
        server.until(r"not reloaded: .*node.hostname.*restart the server")
        assert server.stop() == 0


def test_a_second_server_for_the_same_data_does_not_start(tmp_path: Path) -> None:
    """One server a data directory: the second says so, exits with 1, and the first goes on."""
    root = write(tmp_path)
    with running(root) as server:
        second = penstock("serve", "-c", str(root))
        assert second.returncode == 1
        assert "another server is running" in second.stderr
        send(server)


def test_an_address_in_use_stops_the_start_even_if_it_is_shared(tmp_path: Path) -> None:
    """Another process that listens with SO_REUSEPORT does not hide that the port is taken: exit code 2, and why."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        root = write(tmp_path)
        root.write_text(
            root.read_text().replace('listen = ["127.0.0.1:0"]', f'listen = ["127.0.0.1:{port}"]', 1)
        )
        outcome = penstock("serve", "-c", str(root))
        assert outcome.returncode == 2
        assert f"127.0.0.1:{port} is in use" in outcome.stderr
        assert "Traceback" not in outcome.stderr


def test_check_says_everything_at_once_and_its_code_says_whether(tmp_path: Path) -> None:
    """0 with a line on stdout, 2 with every problem on stderr."""
    root = write(tmp_path)
    good = penstock("check", "-c", str(root))
    assert (good.returncode, good.stderr) == (0, "")
    root.write_text(
        root.read_text().replace("127.0.0.1:0", "192.0.2.1:25", 1).replace("[node]", "[node]\ncolour = 1")
    )
    (tmp_path / "policy.py").write_text("import nothing_of_the_kind\n")
    root.write_text(root.read_text().replace("colour = 1", 'colour = 1\npolicy = "policy.py"'))
    bad = penstock("check", "-c", str(root))
    assert bad.returncode == 2
    assert "192.0.2.1 is no address of this host" in bad.stderr
    assert "nothing_of_the_kind" in bad.stderr
    assert "node.colour" in bad.stderr
    assert "3 problems found" in bad.stderr


def test_the_demonstration_ends_by_itself() -> None:
    """``penstock demo --once`` deals with the mail of three tenants, says what happened to it, and exits with 0."""
    outcome = penstock("demo", "--once", "--smtp-port", "0", "--http-port", "0")
    assert outcome.returncode == 0, outcome.stderr
    for word in (
        "acme",
        "bluebird",
        "citadel",
        "Delivery",
        "TransientFailure",
        "Bounce",
        "nothing leaves loopback",
    ):
        assert word in outcome.stdout


def test_the_program_tells_its_version_and_its_commands() -> None:
    """--version and --help, and 1 or 2 for what it does not know."""
    assert re.fullmatch(r"penstock \d+\.\d+\.\d+\n", penstock("--version").stdout)
    listed = penstock("--help").stdout
    for command in ("serve", "check", "events", "status", "sink", "blast", "demo"):
        assert command in listed
    assert penstock("no-such-command").returncode != 0


@pytest.mark.parametrize("name", ["worker", "scribe"])
def test_what_the_server_starts_itself_is_no_command_for_people(name: str) -> None:
    """It says what to run."""
    for arguments in ((name,), (name, "--help")):
        ran = penstock(*arguments)
        assert ran.returncode == 2
        assert ran.stderr == f"penstock {name}: the server starts this itself; run penstock serve\n"
