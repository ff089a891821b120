"""``penstock queues config``, and what ``penstock check`` tells about queues: as docs/queues.md has them."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from penstock.cli.checking import check
from penstock.cli.queue_config import Resolved, config

PAGE = (Path(__file__).parents[2] / "docs" / "queues.md").read_text()
ROOT = '[node]\nhostname = "mta.example"\ndata_dir = "data"\n[[listener.smtp]]\nlisten = ["127.0.0.1:2525"]\n[files]\nqueues = "queues.toml"\n'


def blocks(language: str) -> list[str]:
    """The page's blocks in a language."""
    found = re.findall(r"^```([a-z]*)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's configuration, in which commands are run."""
    (tmp_path / "queues.toml").write_text(blocks("toml")[0])
    (tmp_path / "penstock.toml").write_text(ROOT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PENSTOCK_CONFIG", "penstock.toml")
    return tmp_path


def shown(text: str) -> list[list[str]]:
    """Lines as words, but for the white space that a table pads with."""
    return [re.split(r" {2,}", line.strip()) for line in text.splitlines() if line.strip()]


COMMANDS = [block for block in blocks("") if block.startswith("$ penstock")]


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("block", COMMANDS, ids=lambda block: block.splitlines()[0])
def test_the_page_shows_what_its_commands_say(block: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every line of every example."""
    command, _, expected = block.partition("\n")
    words = command.removeprefix("$ penstock ").split()
    code = check() if words == ["check"] else config(words[-1])
    assert code == 0
    assert shown(capsys.readouterr().out) == shown(expected)


def test_the_command_is_found_by_its_name(place: Path) -> None:
    """As a word behind penstock queues."""
    done = subprocess.run(
        [sys.executable, "-m", "penstock", "queues", "config", "mytenant@example.org", "--json"],
        cwd=place,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    resolved = msgspec.json.decode(done.stdout, type=Resolved)
    values = {held.option: held.value for held in resolved.options}
    assert (values["max_age"], values["max_message_rate"], values["share"]) == ("1d", "5/minute", "2")


def with_policy(place: Path, source: str) -> None:
    """Give the configuration a policy."""
    (place / "policy.py").write_text(source)
    (place / "penstock.toml").write_text(ROOT.replace("[node]\n", '[node]\npolicy = "policy.py"\n'))


def test_what_the_policy_says_is_shown_as_its(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unless nobody wants to hear it."""
    with_policy(place, "async def queue_config(name):\n    return {'max_age': name.domain.count('.')}\n")
    assert config("a.b.example", json=True) == 0
    resolved = msgspec.json.decode(capsys.readouterr().out, type=Resolved)
    assert {held.option: (held.value, held.origin) for held in resolved.options}["max_age"] == (
        "2s",
        "policy: queue_config",
    )
    assert config("a.b.example", policy=False, json=True) == 0
    resolved = msgspec.json.decode(capsys.readouterr().out, type=Resolved)
    assert {held.option: held.value for held in resolved.options}["max_age"] == "1d"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("return {'max_agee': 5}", "did you mean 'max_age'?"),
        ("raise ConnectionError('away')", "ConnectionError: away"),
        ("return 5", "returns a dict of options, or None for none"),
    ],
)
def test_a_hook_that_fails_is_told_with_what_it_means(
    place: Path, capsys: pytest.CaptureFixture[str], line: str, said: str
) -> None:
    """The files' options are shown, the mail would be held, and a script notices."""
    with_policy(place, f"async def queue_config(name):\n    {line}\n")
    assert config("example.org") == 1
    out, err = capsys.readouterr()
    assert "max_age" in out
    assert "mail of this queue is held" in err
    assert said in err


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("a b@x", 2, "is no queue name; write campaign:tenant@domain!routing_domain"),
        ("nobody@x.test", 0, "there is no tenant nobody; its mail is refused"),
    ],
)
@pytest.mark.usefixtures("place")
def test_a_name_that_no_mail_can_have_is_told(
    capsys: pytest.CaptureFixture[str], name: str, code: int, said: str
) -> None:
    """Wrong, or merely refused."""
    assert config(name) == code
    assert said in capsys.readouterr().err


def test_a_configuration_with_mistakes_is_not_shown(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All mistakes are told, as by penstock check."""
    (place / "queues.toml").write_text("[queue.default]\nmax_age = 'x'\n")
    assert config("x.test") == 2
    assert "queues.toml: queue.default.max_age: " in capsys.readouterr().err


def test_pools_without_sources_are_warned_of(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The mail would go out from an address that nobody meant."""
    (place / "queues.toml").write_text(
        "[tenant.a]\negress_pool = 'p2'\n[queue.'x.test']\negress_pool = 'p1'\n"
    )
    assert check() == 0
    assert "Warning: sources are not yet supported" in (out := capsys.readouterr().out)
    assert "the egress pools p1, p2 goes out" in out


def test_of_many_tenants_the_first_are_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rest is a number."""
    (place / "queues.toml").write_text("".join(f"[tenant.t{number:03}]\nshare = 2\n" for number in range(50)))
    assert check() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "Tenant t000: share 2."
    assert lines[-1] == "And 30 more tenants with options of their own."


def test_the_page_has_commands_to_try() -> None:
    """None is skipped because it is written otherwise."""
    assert len(COMMANDS) == PAGE.count("$ penstock") >= 3


def test_the_example_of_a_database_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    """The page's policy, with a table as it expects it."""
    with sqlite3.connect(tmp_path / "tenants.db") as database:
        database.execute("CREATE TABLE tenants (name TEXT, rate TEXT)")
        database.execute("INSERT INTO tenants VALUES ('mytenant', '7/h')")
    with_policy(place, blocks("python")[0].replace("/var/lib/penstock", str(tmp_path)))
    for name, rate in (("mytenant@x.test", "7/h"), ("default-tenant@x.test", None), ("x.test", None)):
        assert config(name, json=True) == 0
        resolved = msgspec.json.decode(capsys.readouterr().out, type=Resolved)
        assert {held.option: held.value for held in resolved.options}["max_message_rate"] == rate
