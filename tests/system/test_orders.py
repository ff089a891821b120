"""Orders about queued mail as people give them: to a server of several processes, over restarts and deaths, with a sink that counts."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import pwd
import signal
import smtplib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.processes import wait_until
from penstock.cli.app import program
from penstock.sim.sink.message import SinkMessage
from penstock.sim.sink.server import Sink
from tests.system.test_program import PATIENCE, Server, running, write
from tests.system.test_supervisor import port, two_workers

pytestmark = pytest.mark.system

Configure = Callable[..., Path]


@contextlib.contextmanager
def sink(got: list[SinkMessage]) -> Iterator[int]:
    """A sink in a thread; its port."""
    ready, over = threading.Event(), threading.Event()
    ports: list[int] = []

    async def serve() -> None:
        made = Sink(on_message=got.append)
        (where,) = await made.start()
        ports.append(where.port)
        ready.set()
        await asyncio.to_thread(over.wait)
        await made.stop()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        yield ports[0]
    finally:
        over.set()
        thread.join()


class World:
    """A configuration, and what its sink got; without one, nobody answers."""

    def __init__(
        self, place: Path, sink_port: int | None, got: list[SinkMessage], configure: Configure = two_workers
    ) -> None:
        self.root = configure(
            place,
            queues="[tenant.'acme']\n[tenant.'bluebird']\n[tenant.'carol']\n[tenant.'dora']\n[tenant.'emil']\n",
        )
        self.got = got
        text = self.root.read_text()
        destination = '"mx.a.test" = { a = ["127.0.0.77"] }'
        assert destination in text
        domains = "".join(f'"{name}.test" = {{ mx = ["mx.{name}.test"] }}\n' for name in "bcdefgh")
        address = "127.0.0.1" if sink_port is not None else "127.0.0.77"
        hosts = "".join(f'"mx.{name}.test" = {{ a = ["{address}"] }}\n' for name in "abcd")
        hosts += "".join(f'"mx.{name}.test" = {{ a = ["127.0.0.77"] }}\n' for name in "efgh")
        self.root.write_text(text.replace(destination, domains + hosts))
        if sink_port is not None:
            (place / "shaping.toml").write_text(
                f'["default"]\nsmtp_port = {sink_port}\nprohibited_hosts = []\n'
            )

    def run(self, *arguments: str, status: int = 0) -> str:
        """What a command says, which ends with this status; run here, for a program takes most of a second to start."""
        said, words = io.TextIOWrapper(io.BytesIO()), [*arguments, "-c", str(self.root)]
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            result = program(words)(words, result_action="return_value")
        said.seek(0)
        text = said.read()
        assert result == status, (arguments, text)
        return text

    def ask(self, *arguments: str) -> Any:
        """What a command says to a program."""
        return json.loads(self.run(*arguments, "--json"))

    def came(self) -> Counter[str]:
        """How often the sink accepted mail for each recipient."""
        return Counter(
            recipient
            for message in self.got
            if message.is_accepted
            for recipient in message.envelope.recipients
        )

    def messages(self, tenant: str, campaign: str | None = None) -> int:
        """How many messages of a tenant, or of a campaign of its, are queued."""
        narrowed = ["--tenant", tenant] + (["--campaign", campaign] if campaign is not None else [])
        return int(self.ask("queues", *narrowed)["survey"]["total"]["messages"])

    def lane_pid(self, name: str) -> int:
        """The process of a lane."""
        (pid,) = (lane["pid"] for lane in self.ask("status")["lanes"] if lane["lane"] == name)
        assert isinstance(pid, int)
        return pid

    def events(self, kind: str) -> list[Any]:
        """The events of this type."""
        said = self.run("events", "query", "--type", kind, "--json")
        return [json.loads(line) for line in said.splitlines()]


def send(server: Server, tenant: str, count: int, prefix: str = "x", domains: str = "abcd") -> list[str]:
    """Mail of a tenant, to four domains by turns, of which e to h never answer; its recipients."""
    recipients = [f"{prefix}{number}.{tenant}@{domains[number % 4]}.test" for number in range(count)]
    with smtplib.SMTP("127.0.0.1", port(server), timeout=PATIENCE) as client:
        for recipient in recipients:
            content = f"Subject: x\r\nX-Tenant: {tenant}\r\n\r\nx\r\n".encode()
            client.sendmail("s@from.test", [recipient], content)
    return recipients


def test_orders_hold_over_deaths(tmp_path: Path) -> None:
    """A lane is killed, then all processes, in the middle of a sweep: what is suspended waits, what is rebound stays, what is bounced ends once."""
    got: list[SinkMessage] = []
    with sink(got) as sink_port:
        world = World(tmp_path, sink_port, got)
        with running(world.root) as server:
            bounce_all(world, server)
            handle_one_by_one(world, server)
            for tenant in ("acme", "carol"):
                given = world.ask("suspend", "--tenant", tenant, "--duration", "1h", "--reason", "too many")
                assert given["silent"] == []
            held, free = send(server, "acme", 8), send(server, "bluebird", 8)
            wait_until(lambda: len(world.came()) == 8, PATIENCE, "the other tenant's mail")
            pid = world.lane_pid("0")
            os.kill(pid, signal.SIGKILL)
            server.until(
                rf"lane 0: process {pid} has ended: killed by SIGKILL\n(?s:.*)recovered: \d+ messages"
            )
            held += send(server, "acme", 4, "y")
            free += send(server, "bluebird", 4, "y")
            wait_until(lambda: len(world.came()) == 12, PATIENCE, "mail after a death")
            total = world.ask("queues", "--tenant", "acme")["survey"]["total"]
            assert (total["messages"], total["held"]) == (12, {"suspension": 12})
            world.run("rebind", "--tenant", "acme", "--domain", "a.test", "--set-campaign", "news")
            wait_until(lambda: world.messages("acme", "news") == 3, PATIENCE, "an end of the rebind")
            bounced = send(server, "carol", 100)
            world.run("bounce", "--tenant", "carol", "--duration", "1s")
            server.process.kill()
            server.process.wait(PATIENCE)
        with running(world.root) as server:
            server.until(r"[23] directives are in force")
            server.until(r"(?s)(recovered: \d+ messages from before the start are queued.*){2}")
            wait_until(lambda: not world.messages("carol"), PATIENCE, "an end of the sweep")
            free += send(server, "bluebird", 4, "z")
            wait_until(lambda: len(world.came()) == 16, PATIENCE, "mail after a restart")
            assert set(world.came()) == set(free)
            assert (world.messages("acme"), world.messages("acme", "news")) == (12, 3)
            world.run("unsuspend", "--tenant", "acme")
            wait_until(lambda: len(world.came()) == 28, PATIENCE, "what was held")
            # mail that was in flight when a process was killed may come twice; what was held may not
            assert set(world.came()) == {*free, *held}
            assert all(world.came()[recipient] == 1 for recipient in held)
            assert (world.messages("dora"), world.messages("emil", "news")) == (5, 1)
            assert server.stop() == 0
    attempts = {event["recipient"]: event["num_attempts"] for event in world.events("Delivery")}
    assert {attempts[recipient] for recipient in held} in ({0}, {1})
    ended = Counter(event["recipient"] for event in world.events("AdminBounce"))
    assert {name: times for name, times in ended.items() if ".carol@" in name} == Counter(bounced)
    judge_events(world)
    world.run("ledger")


def bounce_all(world: World, server: Server) -> None:
    """A bounce empties the queue, and takes what comes later, until it is cancelled."""
    send(server, "dora", 30, "x", "efgh")
    send(server, "emil", 5, "x", "efgh")
    said = world.run("bounce", "--tenant", "dora", "--dry-run")
    assert said == "tenant dora: 30 messages in 4 queues would be bounced.\n"
    world.run("bounce", "--tenant", "dora", "--reason", "left us", "--duration", "1h", "--wait")
    assert world.messages("dora") == 0
    (sweep,) = world.ask("directives")["sweeps"]
    assert sum(part["done"] for part in sweep["lanes"].values()) == 30
    send(server, "dora", 10, "late", "efgh")
    wait_until(lambda: world.messages("dora") == 0, PATIENCE, "an end of what came later")
    assert world.messages("emil") == 5
    world.run("directives", "cancel", world.ask("directives")["directives"][0]["id"])


def handle_one_by_one(world: World, server: Server) -> None:
    """Mail is rebound, flushed, shown, deleted; with an event for each."""
    send(server, "dora", 8, "kept", "efgh")
    world.run("rebind", "--tenant", "dora", "--domain", "f.test", "--set-tenant", "emil")
    wait_until(lambda: world.messages("dora") == 6, PATIENCE, "an end of the rebind")
    assert world.messages("emil") == 7
    world.run("flush", "--everything")
    wait_until(lambda: len(world.events("Reception")) == 53, PATIENCE, "events")
    by_recipient = {event["recipient"]: event["id"] for event in world.events("Reception")}
    one, two = by_recipient["kept2.dora@g.test"], by_recipient["kept1.dora@f.test"]
    shown = world.ask("message", "show", one)
    assert (shown["queue"], shown["waiting"]) == ("dora@g.test", ["kept2.dora@g.test"])
    assert "Received: " in world.run("message", "export", one)
    assert "Held by connection" in world.run("explain", one)
    world.run("message", "delete", one, "--reason", "spam")
    world.run("message", "rebind", two, "--set-campaign", "news")
    world.run("message", "retry", two)
    wait_until(lambda: world.messages("dora") == 5, PATIENCE, "that it is gone")
    world.run("message", "show", one, status=1)
    wait_until(lambda: world.messages("emil", "news") == 1, PATIENCE, "that it is elsewhere")
    assert world.ask("message", "show", two)["queue"] == "news:emil@f.test"


def judge_events(world: World) -> None:
    """What became of mail of dora and emil has an event for each message, with the reason."""
    bounced = [event for event in world.events("AdminBounce") if ".dora@" in event["recipient"]]
    assert len({event["recipient"] for event in bounced}) == len(bounced) == 40
    assert {event["response"]["code"] for event in bounced} == {551}
    assert all("left us" in event["response"]["content"] for event in bounced)
    given = [event["response"]["content"] for event in world.events("Directive")]
    assert any("tenant dora; 30 messages queued" in content for content in given)
    rebound = Counter(event["queue"] for event in world.events("AdminRebind"))
    assert (rebound["emil@f.test"], rebound["news:emil@f.test"]) == (2, 1)
    (deleted,) = world.events("AdminDelete")
    assert "spam" in deleted["response"]["content"]


@pytest.mark.campaign
def test_a_suspension_holds_over_restarts_and_deaths_and_costs_nothing(tmp_path: Path) -> None:
    """Nothing of that tenant begins, whoever is killed or started again; the other one's goes. Undone, all is due at once, in its first attempt."""
    got: list[SinkMessage] = []
    with sink(got) as sink_port:
        world = World(tmp_path, sink_port, got)
        with running(world.root) as server:
            given = world.ask("suspend", "--tenant", "acme", "--duration", "1h", "--reason", "too many")
            assert given["silent"] == []
            held = send(server, "acme", 8)
            free = send(server, "bluebird", 8)
            wait_until(lambda: len(world.came()) == 8, PATIENCE, "the other tenant's mail")
            assert set(world.came()) == set(free)
            total = world.ask("queues", "--tenant", "acme")["survey"]["total"]
            assert (total["messages"], total["held"]) == (8, {"suspension": 8})
            (directive,) = world.ask("directives")["directives"]
            assert directive["author"] == pwd.getpwuid(os.getuid()).pw_name
            pid = world.lane_pid("0")
            os.kill(pid, signal.SIGKILL)
            server.until(
                rf"lane 0: process {pid} has ended: killed by SIGKILL\n(?s:.*)recovered: \d+ messages"
            )
            free += send(server, "bluebird", 4, "y")
            held += send(server, "acme", 4, "y")
            wait_until(lambda: len(world.came()) == 12, PATIENCE, "mail after a death")
            assert server.stop() == 0
        with running(world.root) as server:
            server.until("1 directives are in force")
            free += send(server, "bluebird", 4, "z")
            wait_until(lambda: len(world.came()) == 16, PATIENCE, "mail after a restart")
            assert set(world.came()) == set(free)
            assert world.messages("acme") == 12
            world.run("unsuspend", "--tenant", "acme")
            wait_until(lambda: len(world.came()) == 28, PATIENCE, "what was held")
            assert set(world.came()) == {*free, *held}
            assert all(world.came()[recipient] == 1 for recipient in held)
            assert server.stop() == 0
    attempts = [event["num_attempts"] for event in world.events("Delivery")]
    assert Counter(attempts) == {0: 28} or Counter(attempts) == {1: 28}


@pytest.mark.campaign
def test_a_sweep_goes_on_after_all_processes_were_killed(tmp_path: Path) -> None:
    """In the middle of it: each message has its event once, none is left, and none of another tenant is missing."""
    world = World(tmp_path, None, [])
    with running(world.root) as server:
        recipients = send(server, "acme", 300)
        send(server, "bluebird", 5)
        given = world.ask("bounce", "--tenant", "acme", "--duration", "1s")
        assert given["silent"] == []
        server.process.kill()
        server.process.wait(PATIENCE)
    with running(world.root) as server:
        wait_until(lambda: not world.messages("acme"), PATIENCE, "an end of the sweep")
        wait_until(lambda: world.ask("directives")["sweeps"][0]["finished"], PATIENCE, "all lanes to say so")
        assert world.messages("bluebird") == 5
        assert server.stop() == 0
    bounced = Counter(event["recipient"] for event in world.events("AdminBounce"))
    assert bounced == Counter(recipients)
    world.run("ledger")


@pytest.mark.campaign
def test_mail_that_was_put_elsewhere_stays_there_over_a_restart(tmp_path: Path) -> None:
    """And what was deleted stays away."""
    world = World(tmp_path, None, [], write)
    with running(world.root) as server:
        send(server, "acme", 8)
        world.run("rebind", "--tenant", "acme", "--domain", "a.test", "--set-tenant", "bluebird", "--wait")
        assert (world.messages("acme"), world.messages("bluebird")) == (6, 2)
        world.run("flush", "--everything", "--wait")
        wait_until(lambda: len(world.events("Reception")) == 8, PATIENCE, "events")
        by_recipient = {event["recipient"]: event["id"] for event in world.events("Reception")}
        one, two = by_recipient["x1.acme@b.test"], by_recipient["x0.acme@a.test"]
        shown = world.ask("message", "show", one)
        assert (shown["queue"], shown["waiting"]) == ("acme@b.test", ["x1.acme@b.test"])
        assert "Received: " in world.run("message", "export", one)
        assert "Held by connection" in world.run("explain", one)
        world.run("message", "delete", one, "--reason", "spam")
        world.run("message", "rebind", two, "--set-campaign", "news")
        world.run("message", "retry", two)
        wait_until(lambda: world.messages("acme") == 5, PATIENCE, "that it is gone")
        world.run("message", "show", one, status=1)
        assert server.stop() == 0
    with running(world.root) as server:
        server.until("recovered: 7 messages from before the start are queued")
        assert (world.messages("acme"), world.messages("bluebird")) == (5, 2)
        assert world.ask("message", "show", two)["queue"] == "news:bluebird@a.test"
        assert server.stop() == 0
    assert Counter(event["queue"] for event in world.events("AdminRebind")) == {
        "bluebird@a.test": 2,
        "news:bluebird@a.test": 1,
    }
    (deleted,) = world.events("AdminDelete")
    assert deleted["id"] == one and "spam" in deleted["response"]["content"]
    world.run("ledger")
