"""The number of workers changes: the mail of lanes that there are no more goes to others, and none of it is lost or there twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.system.test_program import penstock, running, send, write

pytestmark = pytest.mark.system


def listed(root: Path) -> list[dict[str, object]]:
    """What is queued, as ``penstock spool ls`` says."""
    out = penstock("spool", "ls", "-c", str(root), "--json", check=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def with_workers(root: Path, count: int) -> None:
    """Have so many workers from the next start on."""
    lines = [line for line in root.read_text().splitlines() if not line.startswith("workers = ")]
    lines.insert(lines.index("[node]") + 1, f"workers = {count}")
    root.write_text("\n".join(lines) + "\n")


def test_mail_of_lanes_that_are_no_more_goes_to_those_that_are(tmp_path: Path) -> None:
    """Three workers, then one, then two: the folders of the others are gone, and every message is there once."""
    root = write(tmp_path)
    with_workers(root, 3)
    with running(root) as server:
        send(server, 12)
        assert server.stop() == 0
    before = sorted(str(item["id"]) for item in listed(root))
    assert len(before) == 12
    spools = tmp_path / "data" / "spool"
    assert {path.name for path in spools.iterdir()} == {"0", "1", "2"}
    with_workers(root, 1)
    with running(root) as server:
        for lane in ("1", "2"):
            server.until(f"lane {lane}, which there is no more, is empty, and its spool is removed")
        assert server.stop() == 0
        assert "stopped: 12 messages are in the spool" in server.said
    assert {path.name for path in spools.iterdir()} == {"0"}
    found = listed(root)
    assert sorted(str(item["id"]) for item in found) == before
    assert not any(item["is_held"] for item in found)
    with_workers(root, 2)
    with running(root) as server:
        server.until("recovered: 12 messages from before the start are queued")
        server.until("no session with mx.a.test")  # whichever lane that is, it has mail
        assert server.stop() == 0
    found = listed(root)
    assert {str(item["id"]) for item in found} == set(before)
    there = [str(item["id"]) for item in found if not item["is_held"]]
    assert len(there) == len(set(there))
    assert penstock("spool", "check", "-c", str(root)).returncode == 0
