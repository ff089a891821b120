"""Another program under a running server, and a lane that is a service of its own."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.test_program import ENVIRONMENT, PATIENCE, penstock, running, send, write
from tests.system.test_supervisor import lanes, two_workers

pytestmark = pytest.mark.system


def test_an_upgrade_replaces_every_process_and_keeps_sockets_and_mail(tmp_path: Path) -> None:
    """The supervisor keeps its process id; a configuration that the new program cannot use changes nothing."""
    root = two_workers(tmp_path)
    right = root.read_text()
    with running(root) as server:
        send(server, 2)
        before = lanes(root)
        root.write_text(right.replace("[node]", "[node]\ncolour = 1"))
        refused = penstock("upgrade", "-c", str(root))
        assert refused.returncode == 1
        assert "not upgraded" in refused.stderr
        assert "node.colour" in refused.stderr
        server.until("not upgraded: .*node.colour")
        assert {lane["pid"] for lane in lanes(root).values()} == {lane["pid"] for lane in before.values()}
        root.write_text(right)
        assert penstock("upgrade", "-c", str(root), "--patience", "30s").returncode == 0
        after = lanes(root)
        assert all(after[lane]["pid"] != before[lane]["pid"] for lane in before)
        assert server.process.poll() is None
        send(server, 2)
        assert server.stop() == 0
        assert "stopped: 4 messages are in the spool" in server.said


def test_an_upgrade_does_not_begin_what_the_new_program_could_not_end(tmp_path: Path) -> None:
    """An address that somebody else has, another data directory, another user: nothing changes, and the log says why."""
    root = two_workers(tmp_path)
    right = root.read_text()
    with running(root) as server, socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        server.until("recovered: 0 messages")
        before = lanes(root)
        for wrong, said in (
            (right.replace('"127.0.0.1:0"', f'"127.0.0.1:0", "{taken}"', 1), f"{taken} is in use"),
            (re.sub('data_dir = ".*"', 'data_dir = "elsewhere"', right), "node.data_dir: cannot change"),
            (right.replace("[node]", '[node]\nuser = "nobody"', 1), "node.user: "),
        ):
            assert wrong != right
            root.write_text(wrong)
            server.process.send_signal(signal.SIGUSR2)
            server.until(f"not upgraded: .*{said}")
            root.write_text(right)
            assert {lane["pid"] for lane in lanes(root).values()} == {lane["pid"] for lane in before.values()}
        send(server, 2)
        assert server.stop() == 0


def test_a_standalone_lane_joins_the_server_and_goes_with_it(tmp_path: Path) -> None:
    """Until then its mail waits with the others; a lane that is not standalone is refused."""
    root = write(tmp_path)
    root.write_text(
        root.read_text()
        + '\n[[lane]]\nname = "slow"\nstandalone = true\nmatch = { domain = ["slow.test"] }\n'
    )
    with running(root) as server:
        assert lanes(root)["slow"]["phase"] == "not running"
        assert penstock("status", "-c", str(root)).returncode == 1
        other = penstock("serve", "-c", str(root), "--lane", "0")
        assert other.returncode == 1
        assert "standalone" in other.stderr
        command = [sys.executable, "-m", "penstock", "serve", "-c", str(root), "--lane", "slow"]
        with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE) as lane:
            try:
                server.until(f"lane slow: process {lane.pid} has come")
                server.until("lane slow: .*is ready")
                slow = lanes(root)["slow"]
                assert (slow["phase"], slow["pid"], slow["fault"]) == ("ready", lane.pid, None)
                assert penstock("status", "-c", str(root)).returncode == 0
                assert (tmp_path / "data" / "spool" / "slow" / "segments").is_dir()
                assert server.stop() == 0
                # it was told to drain, and had nothing under way
                assert lane.wait(PATIENCE) == 0
            finally:
                lane.kill()
