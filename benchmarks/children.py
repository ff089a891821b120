"""Runs Penstock in this process, and has the children of its supervisor started by another command.

``python -m benchmarks.children '["strace", ...]' serve -c penstock.toml``: the command gets what a child is told, beginning with its role
(``worker`` or ``scribe``), and is to become ``python -m penstock`` with it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path


def launcher(child: Sequence[str]) -> list[str]:
    """What stands in for the program's name, so that its children are started by ``child``; to be run ``with_repository``."""
    return [sys.executable, "-m", "benchmarks.children", json.dumps(list(child))]


def with_repository() -> dict[str, str]:
    """The environment in which another interpreter finds this package."""
    root = str(Path(__file__).resolve().parent.parent)
    return {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}


def main() -> int:
    """Become ``penstock``, its children started so."""
    from penstock.supervisor import process

    child, *arguments = sys.argv[1:]
    process.CHILD = tuple(json.loads(child))
    # who starts children takes over the name when it is imported: not before it is set
    from penstock.cli.app import main as penstock

    sys.argv = ["penstock", *arguments]
    return penstock()


if __name__ == "__main__":
    sys.exit(main())
