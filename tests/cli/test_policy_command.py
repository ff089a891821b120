"""``penstock policy test`` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from penstock.cli.app import program
from tests.policy.world import forget_policies

MESSAGE = "From: a@send.example\nX-Internal-Id: 5\nSubject: hello\n\nbody\n"
POLICY = """
from penstock.policy import Granted, Reject, inline

async def on_connect(session):
    session.override(banner="Acme Mail")

async def on_auth(session, credentials):
    return Granted(tenant="acme") if credentials.is_password("right") else False

async def on_rcpt(session, transaction, recipient):
    if recipient.address.local_part == "nobody":
        raise Reject(550, "5.1.1", "no such user")

def on_message(message):
    if message.headers.get("Subject") == "loop":
        1 / 0
    message.campaign = "spring"
    message.meta["plan"] = "gold"
    message.headers.remove("X-Internal-*")
    message.headers.add("X-New", "new")

@inline
def on_reply(session, reply):
    return type(reply)(reply.code, reply.enhanced, reply.text + "!")
"""


def run(folder: Path, *arguments: str, policy: str = POLICY, message: str = MESSAGE) -> int:
    """The exit code of the command."""
    (folder / "policy.py").write_text(policy)
    (folder / "message.eml").write_text(message)
    command = ["policy", "test", str(folder / "policy.py"), str(folder / "message.eml"), *arguments]
    try:
        result = program(command)(command, exit_on_error=False, result_action="return_value")
    finally:
        forget_policies()
    assert isinstance(result, int)
    return result


def test_a_message_that_would_be_accepted_is_shown_as_it_would_go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What each hook did, and what became of the message."""
    assert run(tmp_path) == 0
    shown = capsys.readouterr().out
    assert "on_connect " in shown
    assert "the message would be accepted\ntenant: -   campaign: spring\n" in shown
    assert "from: <sender@example.com>   to: recipient@example.net\n" in shown
    assert "meta plan: 'gold'\noption banner: 'Acme Mail'\n" in shown
    assert shown.endswith("header:\n    -X-Internal-Id: 5\n    +X-New: new\n")


def test_json_has_it_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For programs; with a login, over TLS, to several, one of them refused, without a reverse-path."""
    monkeypatch.setenv("PENSTOCK_AUTH_PASSWORD", "right")
    arguments = [
        "--auth",
        "joe",
        "--tls",
        "--sender",
        "",
        "--recipient",
        "b@dest.example",
        "--recipient",
        "nobody@dest.example",
        "--json",
    ]
    assert run(tmp_path, *arguments) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["is_accepted"] is True
    assert (shown["tenant"], shown["campaign"], shown["reverse_path"]) == ("acme", "spring", "")
    assert shown["recipients"] == ["b@dest.example"]
    assert [(tried["hook"], tried["about"], tried["reply"]) for tried in shown["hooks"]] == [
        ("on_connect", "", None),
        ("on_auth", "", None),
        ("on_rcpt", "b@dest.example", None),
        ("on_rcpt", "nobody@dest.example", "550 5.1.1 no such user"),
        ("on_reply", "nobody@dest.example", "550 5.1.1 no such user!"),
        ("on_message", "", None),
    ]


def test_a_message_that_would_be_refused_or_deferred_is_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong password, no recipient left, relaying, and a hook that fails, with its traceback."""
    assert run(tmp_path, message=MESSAGE.replace("hello", "loop")) == 1
    shown = capsys.readouterr().out
    assert "451 4.3.0 policy error; try again later" in shown
    assert "    ZeroDivisionError: division by zero" in shown
    assert run(tmp_path, "--recipient", "nobody@dest.example") == 1
    assert "550 5.1.1 no such user!" in capsys.readouterr().out
    assert run(tmp_path, "--no-may-relay") == 1
    assert "550 5.7.1 relaying not permitted" in capsys.readouterr().out
    monkeypatch.setenv("PENSTOCK_AUTH_PASSWORD", "wrong")
    assert run(tmp_path, "--auth", "joe") == 1
    assert "535 5.7.8 authentication failed!" in capsys.readouterr().out
    assert run(tmp_path, "--auth", "joe", policy="") == 1
    assert "AUTH is not offered" in capsys.readouterr().out


def test_a_policy_without_hooks_accepts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One begins with it."""
    assert run(tmp_path, policy="") == 0
    assert capsys.readouterr().out.startswith("the message would be accepted\n")


@pytest.mark.parametrize(
    ("arguments", "policy", "said"),
    [
        ((), "def on_mail(): pass", "hook on_mail cannot be called"),
        (("--sender", "a b"), "", "the local part is not valid"),
        (("--recipient", "a"), "", "the address has no domain"),
        (("--listener", "mail"), "", "a listener is written"),
        (("--timeout", "soon"), "", "is no duration"),
    ],
)
def test_a_wrong_policy_or_command_is_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], policy: str, said: str
) -> None:
    """In words."""
    assert run(tmp_path, *arguments, policy=policy) == 2
    assert said in capsys.readouterr().err
