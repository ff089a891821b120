"""Several lanes as processes: mail is stored in the lane that is its home, whichever process took it in, and nobody is refused while one is away."""

from __future__ import annotations

import os
import signal
import smtplib
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.processes import wait_until
from penstock.spool.inspection.read_only import ReadOnlyFiles
from penstock.spool.inspection.view import look
from penstock.spool.places import spool_of
from tests.system.test_program import PATIENCE, Server, penstock, running, write
from tests.system.test_supervisor import lanes, port

pytestmark = pytest.mark.system

DOMAINS = tuple(f"d{number}.test" for number in range(10))
STORM = "a.test"
LARGE = b"x" * 70 + b"\r\n"


def three_lanes(place: Path) -> Path:
    """Two workers, and a lane of its own for a destination; nobody answers anywhere, so mail stays."""
    root = write(place)
    static = "".join(
        f'"{domain}" = {{ mx = ["mx.{domain}"] }}\n"mx.{domain}" = {{ a = ["127.0.0.78"] }}\n'
        for domain in DOMAINS
    )
    lane = f'[[lane]]\nname = "storm"\nmatch = {{ domain = ["{STORM}"] }}\n'
    text = root.read_text().replace("workers = 1", "workers = 2", 1)
    root.write_text(f"{text}{static}{lane}")
    return root


def queued(root: Path, lane: str) -> Counter[str]:
    """How many messages a lane's spool has for each domain; the server may be at work on it."""
    files = ReadOnlyFiles(spool_of(root.parent / "data", lane))
    found = look(files).queued
    files.close()
    rows = zip(found.waiting, found.queue, strict=True)
    return Counter(found.queue_names[queue].domain for waiting, queue in rows if waiting)


def send(server: Server, recipients: list[list[str]], body: bytes = b"x\r\n") -> int:
    """A message to each of these, each on a connection of its own: the system chooses which process takes it.

    A client that is left without an answer asks again, as clients do; how many did.
    """
    unanswered = 0
    waiting = list(recipients)
    while waiting:
        try:
            with smtplib.SMTP("127.0.0.1", port(server), timeout=PATIENCE) as client:
                refused = client.sendmail("s@from.test", waiting[0], b"X-Tenant: acme\r\n\r\n" + body)
        except smtplib.SMTPServerDisconnected:
            unanswered += 1
        else:
            assert not refused
            waiting.pop(0)
    return unanswered


def test_mail_is_stored_where_its_path_lives_whichever_process_took_it_in(tmp_path: Path) -> None:
    """Small and large, also to the lane of its own; and while a lane is away its mail is taken all the same."""
    root = three_lanes(tmp_path)
    with running(root) as server:
        # each with each
        server.until(r"(?s:.*connected to lane-\w+\.sock){6}")
        assert send(server, [[f"{domain[:2]}@{domain}"] for domain in DOMAINS] * 2) == 0
        assert send(server, [[f"x@{STORM}", f"y@{STORM}"]] * 6) == 0
        assert send(server, [[f"x@{STORM}"]] * 4, LARGE * 5000) == 0
        general = [queued(root, lane) for lane in ("0", "1")]
        assert queued(root, "storm") == {STORM: 10}
        assert not general[0].keys() & general[1].keys()
        assert general[0] + general[1] == dict.fromkeys(DOMAINS, 2)
        assert not list((tmp_path / "data" / "run" / "parcels").iterdir())
        before = lanes(root)["storm"]["pid"]
        assert isinstance(before, int)
        os.kill(before, signal.SIGKILL)
        # what was on its way to the lane when it died, and no more
        assert send(server, [[f"x@{STORM}"]] * 8) <= 2
        server.until(rf"lane storm: process {before} has ended(?s:.*)recovered: 10 messages")
        server.until(r"(?s:.*connected to lane-\w+\.sock){10}")
        assert send(server, [[f"x@{STORM}"]] * 2) == 0
        # what other lanes took for it meanwhile is in two spools while it moves
        whole = {STORM: 20, **dict.fromkeys(DOMAINS, 2)}
        wait_until(
            lambda: sum((queued(root, lane) for lane in ("0", "1", "storm")), Counter()) == whole,
            PATIENCE,
            "all mail in one lane each",
        )
        assert server.stop() == 0
        assert "stopped: 40 messages are in the spool" in server.said
    assert penstock("spool", "check", "-c", str(root)).returncode == 0
