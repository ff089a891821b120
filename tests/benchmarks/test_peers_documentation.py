"""What is documented of other mail servers is what the checks hold them to."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.peers.kinds import KINDS
from benchmarks.peers.peer import Peer, Use

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_a_peer_uses_is_documented(kind: type[Peer]) -> None:
    """Its row of the table has both sets."""
    (row,) = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| {kind.name} ")]
    as_client, as_server = (
        {Use(word) for word in cell.strip().split(", ")} for cell in row.strip("|").split("|")[1:]
    )
    assert as_client == kind.gives
    assert as_server == kind.takes
