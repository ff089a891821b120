"""``penstock policy test`` as it is typed."""

from __future__ import annotations

import inspect
import io
import json
from pathlib import Path

import pytest

from penstock.cli.app import program
from penstock.cli.policy import try_message
from penstock.ingress.terms import overridden, terms
from penstock.mail.configuration import SmtpListenerConfig
from tests.policy.test_policy_documentation import examples
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
    assert shown["outcome"] == "accepted"
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


def test_the_queues_of_a_message_are_shown_with_what_the_policy_says_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And when it may go; a hook that fails for a queue is told at it, and refuses nothing."""
    (tmp_path / "queues.toml").write_text(
        '[tenant.acme]\n[queue."b.example"]\nrouting_domain = "hub.example"\n'
    )
    (tmp_path / "penstock.toml").write_text(
        '[[listener.smtp]]\nlisten = ["127.0.0.1:0"]\n[files]\nqueues = "queues.toml"\n'
    )
    policy = (
        "async def on_message(message):\n"
        "    message.tenant, message.schedule = 'acme', {'first_attempt': '2026-12-01T08:00:00Z'}\n"
        "async def queue_config(name):\n"
        "    return {'max_age': 1 / (name.domain != 'c.example')}\n"
    )
    words = ["-c", str(tmp_path / "penstock.toml")]
    for domain in "abc":
        words += ["--recipient", f"x@{domain}.example"]
    assert run(tmp_path, *words, policy=policy) == 0
    shown = capsys.readouterr().out
    assert 'schedule: {"first_attempt":1796112000.0,' in shown
    assert "queue: acme@a.example\n    max_age = 1s   (policy: queue_config)\n" in shown
    assert "queue: acme@b.example!hub.example\n" in shown
    assert "queue_config failed: ZeroDivisionError" in shown


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
        (("--listener", "mail"), "", "--listener: 'mail' is no address and port; write 127.0.0.1:2526"),
        (("--peer", "nonsense"), "", "--peer: 'nonsense' is no IP address; write one such as 192.0.2.7"),
        (("--timeout", "soon"), "", "is no duration"),
        (("--tenant", "a b"), "", "--tenant: 'a b' is no tenant"),
        (("--tenants", "a,,b"), "", "--tenants: '' is no tenant"),
        (("--meta", "plan"), "", "--meta: 'plan' has no value; write NAME=VALUE"),
        (("--meta", "a b=c"), "", "--meta: a name in meta is"),
        (("-c", "/nonexistent.toml"), "", "/nonexistent.toml: "),
        (
            ("--auth", "joe"),
            "",
            "--auth: there is no terminal to ask for the password on; give it in $PENSTOCK_",
        ),
    ],
)
def test_a_wrong_policy_or_command_is_exit_code_2(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    policy: str,
    said: str,
) -> None:
    """In words."""
    monkeypatch.delenv("PENSTOCK_AUTH_PASSWORD", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert run(tmp_path, *arguments, policy=policy) == 2
    assert said in capsys.readouterr().err


def test_files_that_are_missing_are_told_with_what_is_to_be_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The policy, and the message; no configuration has named them."""
    path = tmp_path / "policy.py"
    path.touch()
    for command, said in (
        ([str(path), str(tmp_path)], f"penstock policy test: {tmp_path}: cannot be read: is a directory; "),
        (
            [str(path), "none.eml"],
            "penstock policy test: none.eml: does not exist; give the path of a message",
        ),
        (["none.py", str(path)], "penstock: none.py: does not exist; give the right path\n"),
    ):
        command = ["policy", "test", *command]
        assert program(command)(command, exit_on_error=False, result_action="return_value") == 2
        assert capsys.readouterr().err.startswith(said)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ('tls="off"', "tls cannot be changed for a session; these can: banner, client_timeout"),
        ('baner="x"', "baner cannot be changed for a session"),
        ('banner=""', "banner is 1 to 200 characters of printable ASCII"),
        ("max_message_size='1MiB'", "max_message_size is a number of at least 1, not '1MiB'"),
    ],
)
def test_an_override_that_the_server_refuses_is_refused_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: str, said: str
) -> None:
    """It would be a 451 for every client."""
    policy = f"async def on_connect(session):\n    session.override({options})\n"
    assert run(tmp_path, policy=policy) == 1
    shown = capsys.readouterr().out
    assert shown.startswith("on_connect ")
    assert said in shown
    assert "the message would be deferred\n" in shown


def refusing(code: int) -> str:
    """A policy that refuses every recipient."""
    return (
        "from penstock.policy import Reject\ndef on_rcpt(session, transaction, recipient):\n"
        f"    if recipient.address.local_part != 'other': raise Reject({code}, '{code // 100}.7.1', 'no')\n"
    )


@pytest.mark.parametrize(
    ("policy", "outcome"),
    [
        (refusing(450), "deferred"),
        (refusing(550), "refused"),
        (refusing(450).replace("'other'", "'b'") + "    raise Reject(550, '5.7.1', 'no')\n", "deferred"),
        ("def on_message(message): 1 / 0", "deferred"),
        ("def on_mail(session, transaction): 1 / 0\ndef on_reply(session, reply): return type(reply)(554, None, 'never')", "refused"),
    ],
    ids=["4yz", "5yz", "both", "a fault", "a fault in other words"],
)  # fmt: skip
def test_what_the_client_is_told_last_says_whether_it_comes_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], policy: str, outcome: str
) -> None:
    """A recipient that is deferred makes the client come again, whatever became of the others."""
    assert (
        run(tmp_path, "--recipient", "bad@d.example", "--recipient", "b@d.example", "--json", policy=policy)
        == 1
    )
    assert json.loads(capsys.readouterr().out)["outcome"] == outcome


def test_a_session_begins_as_a_listener_or_a_login_would_have_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its tenant and its metadata."""
    policy = "def on_mail(session, transaction):\n    assert session.meta['entrance'] == 'front=1'\n"
    assert run(tmp_path, "--tenant", "acme", "--meta", "entrance=front=1", "--meta", "x=", policy=policy) == 0
    assert "tenant: acme   campaign: -\n" in (shown := capsys.readouterr().out)
    assert "meta entrance: 'front=1'\nmeta x: ''\n" in shown


CONFIGURATION = """
[[listener.smtp]]
listen = ["127.0.0.1:0"]
[files]
queues = "queues.toml"
"""
QUEUES = "tenant_header = 'X-Tenant'\n[tenant.acme]\n"


def test_a_tenant_that_does_not_exist_is_refused_as_the_server_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a list, or by a configuration, whose header field is looked at too; without either, any tenant exists."""
    (tmp_path / "penstock.toml").write_text(CONFIGURATION)
    (tmp_path / "queues.toml").write_text(QUEUES)
    config = ("-c", str(tmp_path / "penstock.toml"))
    assert run(tmp_path, "--tenant", "other", policy="") == 0
    for given in (("--tenants", "acme,third"), config):
        assert run(tmp_path, "--tenant", "acme", *given, policy="") == 0
        capsys.readouterr()
        assert run(tmp_path, "--tenant", "other", *given, policy="") == 1
        assert "  550 5.7.1 unknown tenant other\nthe message would be refused\n" in capsys.readouterr().out
    named = f"X-Tenant: acme\n{MESSAGE}"
    assert run(tmp_path, *config, policy="", message=named) == 0
    assert "tenant: acme " in (shown := capsys.readouterr().out)
    assert "    -X-Tenant: acme\n" in shown
    assert run(tmp_path, *config, "--tenant", "other", policy="", message=named) == 1
    assert "550 5.7.1 this session sends for other only" in capsys.readouterr().out


def test_columns_stand_under_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """However long an address is."""
    long = f"{'a' * 60}@dest.example"
    assert run(tmp_path, "--recipient", long, "--recipient", "nobody@d.example") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if " ms  " in line]
    assert len({line.index(" ms  ") for line in lines}) == 1


def test_help_shows_defaults_as_they_are_typed(capsys: pytest.CaptureFixture[str]) -> None:
    """Not as Python writes them."""
    app = program(["policy", "test", "--help"])
    app(["policy", "test", "--help"], exit_on_error=False, result_action="return_value")
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "Default: recipient@example.net." in shown
    for python in ("('", "True", "False", "None"):
        assert python not in shown


@pytest.mark.parametrize(
    ("heading", "arguments", "said"),
    [
        ("Tenant by login", ("--auth", "joe@acme.example", "--tls"), "tenant: acme "),
        ("Tenant by header", (), "tenant: acme "),
        ("A banner for each brand", ("--listener", "192.0.2.10:25"), "option banner: 'Acme Mail'"),
        ("A sandbox", ("--tenant", "staging"), "from: <>   to: sandbox@example.com"),
        ("Asking a service", ("--tenant", "acme"), "HttpError: 127.0.0.1: "),
        ("Clients that lie about their name", ("--ehlo", "pc.local", "--no-may-relay"), "550 5.7.1 say who"),
        ("Other words", ("--no-may-relay",), "not permitted; see https://postmaster.example.com/"),
        ("Plus addressing", ("--recipient", "joe+shop@example.com"), "meta tag: 'shop'"),
        ("Sender domains of a tenant", ("--tenant", "acme"), "553 5.7.1 the From field names a domain"),
    ],
)
def test_the_examples_of_the_page_can_be_tried(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    heading: str,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    """What they do for some, and not for everybody, is seen with options."""
    monkeypatch.setenv("PENSTOCK_AUTH_PASSWORD", "correct horse")
    policy = examples()[heading].replace("https://accounts.example.com", "http://127.0.0.1:1")
    run(tmp_path, *arguments, policy=policy, message=f"X-Customer: acme\n{MESSAGE}")
    assert said in capsys.readouterr().out


def test_every_option_is_documented() -> None:
    """And every option that ``override`` takes."""
    page = (Path(__file__).parents[2] / "docs" / "policy.md").read_text()
    for name, parameter in inspect.signature(try_message).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            option = "no-may-relay" if name == "may_relay" else name.replace("_", "-")
            assert f"`--{option}" in page, option
    assert "`$PENSTOCK_AUTH_PASSWORD`" in page
    before = terms(
        SmtpListenerConfig((), "mx.example.com"), "", has_auth=False, reviews_replies=False, is_proxy=False
    )
    with pytest.raises(ValueError, match="these can") as caught:
        overridden(before, {"": 0})
    for option in str(caught.value).partition("these can: ")[2].split(", "):
        assert f"\n| `{option}` | " in page, option
