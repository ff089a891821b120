"""The server as several processes: what becomes of clients, and of mail, when one of them is killed or goes over to another epoch."""

from __future__ import annotations

import json
import os
import signal
import smtplib
from pathlib import Path

import pytest

from tests.system.test_program import PATIENCE, Server, penstock, running, send, write

pytestmark = pytest.mark.system


def two_workers(place: Path, **more: str) -> Path:
    """A configuration with two workers whose only destination answers nothing."""
    root = write(place, **more)
    root.write_text(root.read_text().replace("workers = 1", "workers = 2", 1))
    return root


def lanes(root: Path) -> dict[str, dict[str, object]]:
    """What ``penstock status`` says of each lane."""
    status = json.loads(penstock("status", "-c", str(root), "--json").stdout)
    return {lane["lane"]: lane for lane in status["lanes"]}


def port(server: Server) -> int:
    """Where it takes mail."""
    return int(server.until(r"smtp: listening on 127\.0\.0\.1:(\d+)")[1])


def test_a_worker_that_is_killed_is_back_with_its_mail_and_nobody_is_refused(tmp_path: Path) -> None:
    """While it is away, clients wait in its queue of connections and are then served; the other worker never notices."""
    root = two_workers(tmp_path)
    with running(root) as server:
        send(server, 4)
        server.until(
            r"recovered: 0 messages from before the start are queued\n(.*\n)*.*supervisor.*recovered"
        )
        before = lanes(root)
        assert [lane["phase"] for lane in before.values()] == ["ready", "ready"]
        pid = before["0"]["pid"]
        assert isinstance(pid, int)
        os.kill(pid, signal.SIGKILL)
        for _ in range(8):
            with smtplib.SMTP("127.0.0.1", port(server), timeout=PATIENCE) as client:
                client.sendmail("s@from.test", ["x@a.test"], b"X-Tenant: acme\r\n\r\nx\r\n")
        server.until(rf"lane 0: process {pid} has ended: killed by SIGKILL\n(?s:.*)recovered: \d+ messages")
        after = lanes(root)
        assert (after["0"]["starts"], after["1"]["starts"]) == (2, 1)
        assert after["1"]["pid"] == before["1"]["pid"]
        assert server.stop() == 0
        assert "stopped: 12 messages are in the spool" in server.said
    assert penstock("spool", "check", "-c", str(root)).returncode == 0
    listed = penstock("spool", "ls", "-c", str(root), "--json", check=True).stdout.splitlines()
    assert len(listed) == 12


def test_workers_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    """The next server has their spools, and all mail."""
    root = two_workers(tmp_path)
    with running(root) as server:
        send(server, 3)
        server.process.kill()
        server.process.wait(PATIENCE)
    with running(root) as server:
        server.until("recovered: 3 messages from before the start are queued")
        assert server.stop() == 0


def test_the_spool_of_an_earlier_version_becomes_that_of_lane_0(tmp_path: Path) -> None:
    """It was in the folder in which the lanes' are now; ``penstock spool`` finds it in both places."""
    root = write(tmp_path)
    with running(root) as server:
        send(server, 2)
        assert server.stop() == 0
    data = tmp_path / "data"
    (data / "spool" / "0").rename(data / "earlier")
    (data / "spool").rmdir()
    (data / "earlier").rename(data / "spool")
    assert len(penstock("spool", "ls", "-c", str(root), "--json", check=True).stdout.splitlines()) == 2
    with running(root) as server:
        server.until("recovered: 2 messages from before the start are queued")
        assert server.stop() == 0
    assert len(penstock("spool", "ls", "-c", str(root), "--json", check=True).stdout.splitlines()) == 2


def test_a_policy_that_no_worker_can_load_is_no_epoch(tmp_path: Path) -> None:
    """At the start the server does not begin; at a reload nothing changes, and the log says why; the right one is every worker's."""
    root = two_workers(tmp_path)
    root.write_text(root.read_text().replace("[node]", '[node]\npolicy = "policy.py"', 1))
    policy = tmp_path / "policy.py"
    policy.write_text("raise ValueError('not today')\n")
    outcome = penstock("serve", "-c", str(root))
    assert outcome.returncode == 2
    assert "not today" in outcome.stderr
    policy.write_text("")
    with running(root) as server:
        first = lanes(root)["0"]["epoch"]
        policy.write_text("raise ValueError('nor tomorrow')\n")
        server.process.send_signal(signal.SIGHUP)
        server.until("not reloaded: .*nor tomorrow")
        assert {lane["epoch"] for lane in lanes(root).values()} == {first}
        policy.write_text("def on_mail(sender, session):\n    raise Reject(550, 'no mail at all')\n")
        server.process.send_signal(signal.SIGHUP)
        server.until("reloaded: configuration epoch")
        (epoch,) = {lane["epoch"] for lane in lanes(root).values()}
        assert isinstance(epoch, int)
        assert isinstance(first, int)
        assert epoch > first
        assert server.stop() == 0
