"""The short form of spool-4: a full disk, a spoiled spool, and what becomes of the mail; each with a program of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.system

PATIENCE = 240.0


def test_full_disks_and_spoiled_files_cost_no_mail() -> None:
    """Refused, never changed, resumed, told. In a process of its own, for it has mounts of its own where it may."""
    shown = subprocess.run(
        [sys.executable, "-m", "benchmarks.show", "spool-4", "--short"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
