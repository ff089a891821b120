"""The last Penstock whose spool was in memory, to hold the durable one against: taken from the repository's history.

It was one process, which wrote its events itself; what it costs besides the spool is what Penstock costs without one.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Final

from benchmarks.processes import MissingProgramError, find_program

#: The commit before the spool became durable.
COMMIT: Final = "33f8f4f85a1bce724b9095d05e0893481b6e00df"
#: How it is started, with its source as PYTHONPATH.
LAUNCHER: Final = (
    sys.executable,
    "-c",
    "import sys; from penstock.cli.app import main; sys.argv[0] = 'penstock'; main()",
)


def source(folder: Path) -> Path:
    """Its source, put in ``folder``. MissingProgramError where the repository has no history."""
    repository = Path(__file__).resolve().parent.parent
    command = [find_program("git"), "-C", str(repository), "archive", COMMIT, "src"]
    ran = subprocess.run(command, capture_output=True, check=False)
    if ran.returncode:
        raise MissingProgramError(
            f"the version with its spool in memory is commit {COMMIT[:7]}, and this checkout has no history: "
            f"{ran.stderr.decode().strip()[:200]}; use a full clone"
        )
    with tarfile.open(fileobj=io.BytesIO(ran.stdout)) as archive:
        archive.extractall(folder)
    return folder / "src"
