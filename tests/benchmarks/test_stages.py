"""The profile of relay-2 puts each sample where it belongs."""

from __future__ import annotations

import json
import pkgutil
from pathlib import Path

import pytest

import penstock
from benchmarks.stages import LOOP, OTHER, STAGES, WRITES, Profile, Stack, read_profile, table

#: Packages whose work is somebody else's: the vocabulary, and what the server never runs.
NO_STAGE = {"mail", "sim"}


def stack(*modules: str, entered: bool = False, source: str = "x = 1", hits: int = 1) -> Stack:
    """A sample in these modules, innermost first."""
    return Stack(hits, entered, 1, source, [(module, "f") for module in modules])


@pytest.mark.parametrize(
    ("sample", "stage"),
    [
        (stack("penstock.smtp.server", "penstock.ingress.connection", "penstock.cli.serve"), "parse"),
        (stack("penstock.ingress.connection", "penstock.cli.serve"), "receive"),
        (stack("penstock.mail.message", "penstock.ingress.acceptance"), "policy, split"),
        (stack("penstock.mail.reply", "penstock.smtp.client", "penstock.lane.connection"), "send"),
        (stack("json.encoder", "penstock.events.record", "penstock.scribe.scribe"), "events"),
        (stack("penstock.spool.memory", "penstock.ingress.connection"), "spool"),
        (stack("penstock.queueing.scheduler", "penstock.lane.lane"), "queue"),
        (stack("asyncio.base_events", "penstock.cli.serve"), LOOP),
        (stack("penstock.ingress.connection", "penstock.cli.serve", entered=True), LOOP),
        (stack("penstock.mail.reply", "penstock.lane.connection", entered=True), "send"),
        (stack("penstock.lane.connection", source="self._transport.write(output)"), WRITES),
        (stack("penstock.events.files", source="return os.write(descriptor, data)"), "events"),
        (stack("somewhere.else"), OTHER),
    ],
)
def test_a_sample_belongs_to_the_innermost_package_with_a_stage(sample: Stack, stage: str) -> None:
    """Shared code works for its caller; a function just entered stands for what went on before it."""
    assert sample.stage == stage


def test_every_package_of_the_server_has_a_stage() -> None:
    """A package that is added must be given one, or its cost would be hidden under ``other``."""
    packages = {module.name for module in pkgutil.iter_modules(penstock.__path__) if module.ispkg} - NO_STAGE
    staged = {name.split(".")[1] for name in STAGES} | {"smtp"}
    assert packages <= staged


def test_every_staged_module_exists() -> None:
    """A module that is renamed must be renamed here as well."""
    package = Path(penstock.__path__[0]).parent
    for name in STAGES:
        path = package / name.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), name


def test_the_table_shares_the_cost_of_a_message_out(tmp_path: Path) -> None:
    """Stages add up to what a message costs; what the sampler wrote is what is read."""
    samples = [stack("penstock.smtp.server", hits=3), stack("penstock.spool.memory", hits=1)]
    profile = Profile(user=3.0, system=1.0, stacks=samples)
    file = tmp_path / "samples.json"
    file.write_text(
        json.dumps({"user": 3.0, "system": 1.0, "stacks": [sample._asdict() for sample in samples]})
    )
    assert read_profile(file) == profile
    lines = list(table(profile, 200.0))
    assert "25% of the CPU time is the kernel's (50 us per message)" in lines[0]
    assert any(line.startswith("parse ") and "150.0 us" in line for line in lines)
    assert any(line.startswith("spool ") and "50.0 us" in line for line in lines)
    assert profile.share_of_known_stages() == 1.0
