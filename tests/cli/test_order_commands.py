"""Commands about queued mail, as they are typed, with a server that a test speaks for."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock.api.app import control_app
from penstock.api.control import ControlSocket
from penstock.api.server import HttpServer
from penstock.cli.app import program
from penstock.mail.control import (
    ControlRefused,
    DirectiveRequest,
    Listing,
    MessageRequest,
    SurveyRequest,
    SweepRequest,
    WrittenCriteria,
)
from penstock.mail.directive import Action, Criteria, Progress, Rebinding, SweepAction
from penstock.mail.duration import Seconds, WallTime
from penstock.mail.queue_name import QueueName
from penstock.mail.survey import Group, Grouping
from tests.api.fake_desk import CONTENT, DIRECTIVE, ID, MESSAGE, NOW, SWEPT, FakeDesk
from tests.api.fake_server import FakeServer

Command = Callable[..., int]
WHO = pwd.getpwuid(os.getuid()).pw_name
ACME = WrittenCriteria(tenant="acme")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with a data directory of its own."""
    path = tmp_path / "penstock.toml"
    path.write_text(
        f'[node]\nhostname = "mta.example"\ndata_dir = "{tmp_path}/data"\n[[listener.smtp]]\nlisten = ["127.0.0.1:2525"]\n'
    )
    return path


@pytest.fixture
def desk(tmp_path: Path, config: Path) -> Iterator[FakeDesk]:
    """A server for it, in a thread, because a command has a loop of its own."""
    made = FakeDesk()
    ready, over = threading.Event(), threading.Event()

    async def serve() -> None:
        control = ControlSocket(tmp_path / "data")
        server = HttpServer(control_app(FakeServer(), made), [control.socket])
        await server.start()
        ready.set()
        await asyncio.to_thread(over.wait)
        await server.stop(5.0)
        control.remove()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(30)
        yield made
    finally:
        over.set()
        thread.join()


@pytest.fixture
def command(config: Path) -> Command:
    """Runs a command with that configuration; gives its exit status."""

    def run(*arguments: str) -> int:
        with pytest.raises(SystemExit) as ended:
            raise SystemExit(
                program(arguments)([*arguments, "-c", str(config)], result_action="return_value")
            )
        assert isinstance(ended.value.code, int)
        return ended.value.code

    return run


Out = pytest.CaptureFixture[str]


def test_queues_are_shown_by_what_is_asked(command: Command, desk: FakeDesk, capsys: Out) -> None:
    """The largest first, with what holds them."""
    assert command("queues", "--by", "tenant", "--domain", "A.test", "-n", "2") == 0
    assert desk.asked == [("survey", SurveyRequest(WrittenCriteria(domain="A.test"), Grouping.TENANT, 2), "")]
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[1][:3] == ["tenant", "queues", "messages"]
    assert rows[2] == ["acme", "3", "70", "7", "KiB", "60", "10", "0", "12.3", "1h", "0m", "suspension", "60"]
    assert rows[3][:4] == ["(no", "tenant)", "1", "5"]
    assert rows[4][:3] == ["all", "4", "75"]
    assert command("queues", "--json") == 0
    assert json.loads(capsys.readouterr().out)["survey"]["total"]["messages"] == 75


def test_a_lane_that_is_silent_is_named(command: Command, desk: FakeDesk, capsys: Out) -> None:
    """And the exit status says that something is missing."""
    desk.silent = ("1",)
    assert command("queues") == 3
    assert "No answer of lane 1" in capsys.readouterr().out
    assert command("explain", "acme@a.test") == 3
    assert command("suspend", "--tenant", "acme") == 3
    assert "lane 1 has not said within 2 s that it goes by it" in capsys.readouterr().err
    assert command("suspend", "--tenant", "acme", "--dry-run") == 3
    assert command("directives", "cancel", ID) == 3


def test_reasons_are_shown_in_their_order(command: Command, desk: FakeDesk, capsys: Out) -> None:
    """What holds first of all is said first, and until when."""
    assert command("explain", "c:acme@a.test!b.test") == 0
    assert desk.asked[-1][:2] == ("explain_queue", "c:acme@a.test!b.test")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "c:acme@a.test!b.test: 60 messages are ready"
    assert lines[1] == "Held by suspension: suspended by ann, until 2023-11-14 22:14:50Z (in 1m 30s)."
    gates = [line.split()[:2] for line in lines if re.match(r"\S+ +(holds|open)", line)]
    assert gates == [["expiry", "open"], ["suspension", "holds"], ["connection", "holds"]]
    assert command("explain", MESSAGE) == 0
    assert desk.asked[-1][:2] == ("explain_message", MESSAGE)
    assert "queue acme@a.test in lane 1: waiting" in capsys.readouterr().out


def test_a_suspension_is_given_and_undone(command: Command, desk: FakeDesk, capsys: Out) -> None:
    """By the user whom the kernel names; it is found again by what it is about."""
    assert command("suspend", "--tenant", "acme", "--duration", "3 hours", "--reason", "complaints") == 0
    asked = DirectiveRequest(Action.SUSPEND, ACME, reason="complaints", duration=Seconds(10800.0))
    assert desk.asked == [("give", asked, WHO), ("survey", SurveyRequest(ACME, None, 1), "")]
    much = "75 messages in 4 queues"
    assert capsys.readouterr().out == f"{ID}: tenant acme is suspended until 2023-11-15 01:13:20Z; {much}.\n"
    assert command("unsuspend", "--tenant", "acme") == 0
    assert desk.asked[-1] == ("cancel", ID, WHO)
    assert capsys.readouterr().out == f"{ID}: the suspend of tenant acme is cancelled.\n"
    assert command("unsuspend", "--tenant", "other") == 1
    assert f"no suspension is about tenant other; there are: tenant acme ({ID})" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["suspend", "bounce", "flush", "unsuspend"])
def test_what_nothing_narrows_has_to_be_meant(
    command: Command, desk: FakeDesk, capsys: Out, name: str
) -> None:
    """--everything says so, and goes with nothing else."""
    assert command(name) == 2
    assert "or say --everything" in capsys.readouterr().err
    assert command(name, "--everything", "--tenant", "acme") == 2
    assert desk.asked == []
    desk.listed = Listing(NOW, (msgspec.structs.replace(DIRECTIVE, criteria=Criteria()),))
    assert command(name, "--everything") == 0


def test_a_rebind_is_guarded_too(command: Command, desk: FakeDesk, capsys: Out) -> None:
    """And has to change something."""
    assert command("rebind", "--set-tenant", "x") == 2
    assert command("rebind", "--tenant", "acme") == 2
    assert "what becomes otherwise" in capsys.readouterr().err
    assert command("rebind", "--tenant", "acme", "--set-tenant", "x", "--set-campaign", "") == 0
    asked = SweepRequest(SweepAction.REBIND, ACME, "", Rebinding("x", ""))
    assert desk.asked == [("survey", SurveyRequest(ACME, None, 1), ""), ("sweep", asked, WHO)]
    much = "75 messages in 4 queues"
    assert f"tenant acme is being rebound: {much}; penstock directives" in capsys.readouterr().out


def test_paths_and_sources_are_suspended_by_their_names(
    command: Command, desk: FakeDesk, capsys: Out
) -> None:
    """They stand alone."""
    path = "ip-1->mx.a.test@smtp_client"
    assert command("suspend", "--path", path) == 0
    assert command("suspend", "--source", "ip-1", "--expires", "2033-01-01T00:00:00Z") == 0
    assert [asked for what, asked, _ in desk.asked if what == "give"] == [
        DirectiveRequest(Action.SUSPEND_PATH, subject=path),
        DirectiveRequest(Action.SUSPEND_SOURCE, subject="ip-1", expires=WallTime(1_988_150_400.0)),
    ]
    assert command("suspend", "--path", path, "--tenant", "acme") == 2
    assert command("suspend", "--path", path, "--source", "ip-1") == 2
    assert command("suspend", "--source", "ip-1", "--everything") == 2
    capsys.readouterr()
    assert command("suspend", "--path", "unspecified->acme@smtp_client", "--dry-run") == 0
    assert "70 messages in 3 queues would be suspended" in capsys.readouterr().out
    assert command("suspend", "--path", "unspecified->mx.z.test@smtp_client") == 0
    assert "Z; no such mail now.\n" in capsys.readouterr().out


def test_a_source_that_is_none_is_told(command: Command, desk: FakeDesk, capsys: Out) -> None:
    """It has no mail; the one that there is has all of it."""
    for about in (("--source", "ip-1"), ("--path", "ip-1->acme")):
        assert command("suspend", *about, "--dry-run") == 0
        out = capsys.readouterr().out
        assert "there is no such source; this version has the one source unspecified. No mail would be" in out
        assert command("suspend", *about) == 0
        assert (
            "there is no such source; this version has the one source unspecified.\n"
            in capsys.readouterr().out
        )
        assert command("suspend", *about, "--dry-run", "--json") == 0
        assert json.loads(capsys.readouterr().out)["survey"]["total"]["messages"] == 0
    assert command("suspend", "--source", "unspecified", "--dry-run") == 0
    assert capsys.readouterr().out == "unspecified: 75 messages in 4 queues would be suspended.\n"


ORDERS = [
    ("suspend", "--tenant", "acme"),
    ("bounce", "--tenant", "acme"),
    ("flush", "--tenant", "acme"),
    ("rebind", "--tenant", "acme", "--set-tenant", "x"),
]


@pytest.mark.parametrize("arguments", ORDERS, ids=lambda words: words[0])
def test_an_order_says_how_much_mail_there_is_of_it(
    command: Command, desk: FakeDesk, capsys: Out, arguments: tuple[str, ...]
) -> None:
    """None, which is how a slip of the pen shows; and one that cannot be counted is given all the same."""
    assert command(*arguments) == 0
    assert "75 messages in 4 queues" in capsys.readouterr().out
    assert command(*arguments, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["id"], answer["messages"], answer["queues"]) == (ID, 75, 4)
    assert "matched" not in answer
    desk.total = Group("")
    assert command(*arguments) == 0
    assert "no such mail now" in capsys.readouterr().out
    desk.total = None
    assert command(*arguments) == 0
    assert "could not be counted" in capsys.readouterr().out
    assert command(*arguments, "--json") == 0
    assert json.loads(capsys.readouterr().out)["messages"] is None


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--duration", "soon"), "'soon' is no duration"),
        (("--expires", "soon"), "'soon' is no time"),
        (("--expires", "2033-01-01T00:00:00Z", "--duration", "5m"), "not both"),
        (("--campaign", "a:b"), "'a:b' is no campaign"),
        (("--queue", "a.test"), "not both"),
        (("--reason", "x" * 1001), "at most 1000"),
    ],
)
def test_a_command_line_that_is_wrong_asks_nothing(
    command: Command, desk: FakeDesk, capsys: Out, arguments: tuple[str, ...], told: str
) -> None:
    """2, and what is wrong with it."""
    assert command("suspend", "--tenant", "acme", *arguments) == 2
    assert told in capsys.readouterr().err
    assert desk.asked == []


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["", "dry run"])
def test_a_path_that_is_none_is_a_wrong_command_line(
    command: Command, desk: FakeDesk, capsys: Out, dry: tuple[str, ...]
) -> None:
    """As every other value."""
    assert command("suspend", "--path", "foo", *dry) == 2
    assert "'foo' is no path; write source->site@smtp_client" in capsys.readouterr().err
    assert desk.asked == []


@pytest.mark.parametrize(
    "arguments", [("suspend",), ("bounce",), ("flush",), ("rebind", "--set-tenant", "x")], ids=" ".join
)
def test_a_dry_run_counts(command: Command, desk: FakeDesk, capsys: Out, arguments: tuple[str, ...]) -> None:
    """And gives nothing."""
    assert command(*arguments, "--queue", "acme@a.test", "--dry-run") == 0
    assert "queue acme@a.test: 75 messages in 4 queues would be" in capsys.readouterr().out
    criteria = WrittenCriteria(queue_names=("acme@a.test",))
    rebinding = Rebinding("x") if arguments[0] == "rebind" else Rebinding()
    assert desk.asked == [("survey", SurveyRequest(criteria, None, 1, rebinding), "")]


def test_directives_and_sweeps_are_listed(command: Command, desk: FakeDesk, capsys: Out) -> None:
    """Who gave them, until when, and how far they are."""
    assert command("directives") == 0
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if line.startswith(ID))
    assert "suspend" in row and "tenant acme" in row and "ann" in row and "too many complaints" in row
    assert "2023-11-14 22:17:20Z (in 4m 0s)" in row
    row = next(line for line in out.splitlines() if line.startswith(SWEPT.sweep.order.id))
    assert row.split()[1:5] == ["flush", "everything", "9", "15"] and "under way in lane 0" in row
    desk.listed = Listing(NOW)
    assert command("directives") == 0
    assert capsys.readouterr().out == "No directive is in force.\n"


def test_the_list_may_be_asked_for_by_that_name(command: Command, desk: FakeDesk, capsys: Out) -> None:
    """It is what is shown without a word."""
    assert command("directives") == 0
    first = capsys.readouterr().out
    assert command("directives", "list") == 0
    assert capsys.readouterr().out == first


def test_a_name_without_an_option_is_told_what_would_be_right(
    command: Command, desk: FakeDesk, capsys: Out
) -> None:
    """Each option that it may have meant."""
    assert command("queues", "acme@a.test") == 2
    err = capsys.readouterr().err
    for words in ("penstock queues: 'acme@a.test'", "--queue NAME", "--tenant", "penstock explain NAME"):
        assert words in err
    assert desk.asked == []


def test_queues_near_one_without_mail_are_named(command: Command, desk: FakeDesk, capsys: Out) -> None:
    """Of the same tenant and domain: with a routing domain, or a campaign."""
    desk.missing = True
    assert command("explain", "acme@a.test") == 1
    near = "; of the same tenant and domain there is acme@a.test!b.test, c:acme@a.test and 3 more"
    assert capsys.readouterr().err == f"penstock explain: there is no queue with mail acme@a.test{near}\n"
    criteria = WrittenCriteria(tenant="acme", domain="a.test")
    assert desk.asked[-1] == ("survey", SurveyRequest(criteria, Grouping.QUEUE, 5), "")
    assert command("explain", "a.test") == 1
    assert desk.asked[-1][1] == SurveyRequest(WrittenCriteria(tenant="", domain="a.test"), Grouping.QUEUE, 5)
    desk.total = Group("")
    capsys.readouterr()
    assert command("explain", "acme@a.test") == 1
    assert capsys.readouterr().err == "penstock explain: there is no queue with mail acme@a.test\n"


def test_what_is_cancelled_has_to_be_there(command: Command, desk: FakeDesk, capsys: Out) -> None:
    """A sweep that is under way can be stopped, too."""
    assert command("directives", "cancel", "x/y") == 1
    assert "has the id x/y" in capsys.readouterr().err
    assert command("directives", "cancel", SWEPT.sweep.order.id, "--dry-run") == 0
    assert "the flush of everything would be cancelled" in capsys.readouterr().out
    assert command("directives", "cancel", SWEPT.sweep.order.id) == 0
    assert [what for what, _, _ in desk.asked] == ["orders", "orders", "orders", "cancel"]


def test_waiting_ends_when_the_sweep_is_finished(
    command: Command, desk: FakeDesk, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How far it is, is said meanwhile; one that is cancelled by another is told as that."""
    state = msgspec.structs.replace(
        SWEPT,
        sweep=msgspec.structs.replace(SWEPT.sweep, order=msgspec.structs.replace(SWEPT.sweep.order, id=ID)),
    )
    over = msgspec.structs.replace(state, lanes={"0": Progress(15, 15, True)}, finished=NOW)
    desk.listed = Listing(NOW, (), (state,))

    def sleep(seconds: float) -> None:
        desk.listed = Listing(NOW, (), (over,))

    monkeypatch.setattr("penstock.cli.directives.time.sleep", sleep)
    assert command("bounce", "--tenant", "acme", "--wait") == 0
    err = capsys.readouterr().err
    assert err == f"{ID}: 9 of 15 messages so far\n{ID}: 15 messages, finished\n"
    assert command("flush", "--tenant", "acme", "--wait", "--json") == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert (answer["matched"], answer["done"], answer["messages"], err) == (15, 15, 75, "")
    desk.listed = Listing(NOW, (), (msgspec.structs.replace(state, lanes={}),))
    assert command("flush", "--tenant", "acme", "--wait") == 0
    assert capsys.readouterr().err == f"{ID}: 15 messages, finished\n"
    desk.listed = Listing(NOW)
    assert command("flush", "--tenant", "acme", "--wait") == 1
    assert "was cancelled, or replaced" in capsys.readouterr().err
    assert command("flush", "--tenant", "acme", "--wait", "--json") == 1
    assert json.loads(capsys.readouterr().out)["id"] == ID


def test_one_message_is_shown_and_ordered(command: Command, desk: FakeDesk, capsys: Out) -> None:
    """By its id; a dry run shows it only."""
    assert command("message", "show", MESSAGE) == 0
    out = capsys.readouterr().out
    for words in ("acme@a.test", "s@from.test", "r@a.test", "1 of 2 waiting", "meta shape", "round"):
        assert words in out
    assert command("message", "delete", MESSAGE, "--dry-run") == 0
    delete = MessageRequest(MESSAGE, SweepAction.DELETE, dry_run=True)
    assert desk.asked[-1] == ("order", delete, WHO)
    assert all(what == "message" for what, _, _ in desk.asked[:-1])
    desk.asked.clear()
    assert command("message", "retry", MESSAGE, "--reason", "now") == 0
    assert command("message", "delete", MESSAGE) == 0
    assert command("message", "delete", MESSAGE, "--bounce") == 0
    assert command("message", "rebind", MESSAGE, "--set-routing-domain", "b.test") == 0
    assert [asked for _, asked, _ in desk.asked] == [
        MessageRequest(MESSAGE, SweepAction.FLUSH, "now"),
        MessageRequest(MESSAGE, SweepAction.DELETE),
        MessageRequest(MESSAGE, SweepAction.BOUNCE),
        MessageRequest(MESSAGE, SweepAction.REBIND, "", Rebinding(routing_domain="b.test")),
    ]
    capsys.readouterr()
    assert command("message", "rebind", MESSAGE) == 2
    assert capsys.readouterr().err.startswith("penstock message rebind: a rebind says what")
    for name in ("show", "export"):
        assert command("message", name, ID) == 1
        assert f"penstock message {name}: there is no queued message {ID}" in capsys.readouterr().err
    for name in ("retry", "delete"):
        assert command("message", name, ID, "--dry-run") == 1
        assert capsys.readouterr().err.startswith(f"penstock message {name}: ")


def test_a_message_is_exported_octet_for_octet(
    command: Command, desk: FakeDesk, capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    """In pieces; a file that is there is not written over."""
    file = tmp_path / "message.eml"
    assert command("message", "export", MESSAGE, str(file)) == 0
    assert file.read_bytes() == CONTENT
    assert file.stat().st_mode & 0o777 == 0o600
    assert command("message", "export", MESSAGE, str(file)) == 1
    capfdbinary.readouterr()
    assert command("message", "export", MESSAGE) == 0
    assert capfdbinary.readouterr().out == CONTENT


def test_what_the_server_refuses_is_told(command: Command, desk: FakeDesk, capsys: Out) -> None:
    """In its own words."""
    desk.refusal = ControlRefused("10000 directives are in force")
    assert command("suspend", "--tenant", "acme") == 1
    assert capsys.readouterr().err == "penstock suspend: 10000 directives are in force\n"


def test_no_server_is_told(command: Command, capsys: Out) -> None:
    """And which one was meant."""
    for arguments in (("queues",), ("directives",), ("suspend", "--tenant", "acme"), ("message", "show", ID)):
        assert command(*arguments) == 1
        assert "no server is running for data_dir" in capsys.readouterr().err


def test_json_is_what_the_server_says(command: Command, desk: FakeDesk, capsys: Out) -> None:
    """For programs."""
    answers: list[dict[str, Any]] = []
    for arguments in (
        ("suspend", "--tenant", "acme", "--json"),
        ("directives", "--json"),
        ("explain", "acme@a.test", "--json"),
        ("message", "show", MESSAGE, "--json"),
    ):
        assert command(*arguments) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0]["id"] == ID
    assert answers[1]["directives"][0]["criteria"]["tenant"] == "acme"
    assert answers[2]["lanes"][0]["reasons"][1]["is_holding"] is True
    assert answers[3]["queue"] == "acme@a.test"


def test_exact_queues_are_named_as_often_as_needed(command: Command, desk: FakeDesk) -> None:
    """One option for each."""
    assert command("suspend", "--queue", "a.test", "--queue", "x@b.test") == 0
    (_, asked, _), *_ = desk.asked
    assert isinstance(asked, DirectiveRequest)
    names = asked.directive("", "", NOW).criteria.queue_names
    assert names == {QueueName("a.test"), QueueName("b.test", "x")}
