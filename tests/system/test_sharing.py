"""What lanes share, between real processes: counts at the door, and rates by the broker."""

from __future__ import annotations

import contextlib
import smtplib
from pathlib import Path

import pytest

from benchmarks.processes import wait_until
from benchmarks.processes_6 import RATES, ahead, kill, scene
from penstock.mail.rate import parse_rate
from tests.system.test_program import PATIENCE, running
from tests.system.test_supervisor import port, two_workers

pytestmark = pytest.mark.system


def test_a_client_is_counted_over_all_workers(tmp_path: Path) -> None:
    """Whichever workers have its connections, the one beyond the limit is closed with 421; when some have gone, it comes in."""
    root = two_workers(tmp_path)
    text = root.read_text()
    listener = "[[listener.smtp]]\n"
    assert listener in text
    root.write_text(
        text.replace(listener, listener + "relay_hosts = []\nmax_connections_per_client = 8\n", 1)
    )
    with running(root) as server, contextlib.ExitStack() as clients:
        where = port(server)
        held = [come(where) for _ in range(8)]
        for client in held:
            assert client is not None
            clients.callback(client.close)
        # what others count is known a moment later
        wait_until(lambda: not is_let_in(where), PATIENCE, "a refusal", interval=0.05)
        assert held[0] is not None
        held[0].quit()
        wait_until(lambda: is_let_in(where), PATIENCE, "room for another connection", interval=0.05)
        assert server.stop() == 0


def come(where: int) -> smtplib.SMTP | None:
    """A connection that was greeted; None if it was refused."""
    try:
        return smtplib.SMTP("127.0.0.1", where, timeout=PATIENCE)
    except smtplib.SMTPConnectError as refused:
        if refused.smtp_code == 421:
            return None
        raise


def is_let_in(where: int) -> bool:
    """Whether another connection is greeted; it goes at once."""
    client = come(where)
    if client is None:
        return False
    client.quit()
    return True


def test_rates_over_lanes_that_die_are_never_exceeded() -> None:
    """Four lanes and a broker, all of them killed in between (a short ``make show K=processes-6``)."""
    with scene() as made:
        wait_until(lambda: len(made.events()[0]) > 150, PATIENCE, "events")
        kill(made.lanes[0])
        kill(made.broker)
        made.start_broker()
        made.start_lane(0)
        before = len(made.events()[0])
        wait_until(lambda: len(made.events()[0]) > before + 20, PATIENCE, "lanes that go on")
        events = made.events()
    for rate, instants in zip(map(parse_rate, RATES), events, strict=True):
        assert instants
        assert ahead(instants, rate) <= 1e-3
