"""Every row on a running server over loopback, with real TLS; and what no dialogue can say."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
import uvloop

from tests.hostile.case import Case, Setup, Where
from tests.hostile.scene import Scene
from tests.hostile.scenes import SCENES
from tests.hostile.server import serving
from tests.hostile.socket_driver import play, record_faults
from tests.hostile.table import CASES

pytestmark = pytest.mark.system

BY_SETUP: dict[Setup, list[Case]] = defaultdict(list)
for each in CASES:
    if each.where is not Where.CORE and not each.is_flood:
        BY_SETUP[each.setup].append(each)


def named(setup: Setup) -> str:
    """A listener's options that are not as usual."""
    usual = Setup()
    changed = [
        f"{name}={getattr(value, 'value', value)}"
        for name in Setup.__struct_fields__
        if (value := getattr(setup, name)) != getattr(usual, name)
    ]
    return " ".join(changed) or "plain"


@pytest.mark.parametrize("setup", BY_SETUP, ids=named)
def test_hostile_dialogues_over_sockets(setup: Setup, tmp_path: Path) -> None:
    """All rows of one listener, one after the other; then its events are one fit JSON object a line, without a secret."""
    rows = BY_SETUP[setup]

    async def scenario() -> dict[str, list[str]]:
        async with serving(tmp_path, setup) as server:
            found = {case.code: faults for case in rows if (faults := await play(server, case))}
            secrets = sorted({secret for case in rows for secret in case.secrets})
            if faults := record_faults(server, secrets):
                found["events"] = faults
            return found

    assert uvloop.run(scenario()) == {}


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.code)
def test_a_hostile_scene(scene: Scene, tmp_path: Path) -> None:
    """As the row says."""

    async def scenario() -> list[str]:
        return list(await scene.play(tmp_path))

    assert uvloop.run(scenario()) == [], scene.what
