"""The rows that are no dialogue."""

from __future__ import annotations

from typing import Final

from tests.hostile.scene import Scene
from tests.hostile.scenes import encryption, endings, guessing, leaving, length, records, slowness

SCENES: Final[tuple[Scene, ...]] = (
    *encryption.SCENES,
    *endings.SCENES,
    *guessing.SCENES,
    *leaving.SCENES,
    *length.SCENES,
    *records.SCENES,
    *slowness.SCENES,
)
