"""protocol-4: hooks that sleep, loop, raise, return nonsense or ask what does not answer; and what hooks cost."""

from __future__ import annotations

import argparse
import contextlib
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks.bench import Bench, Leg, Load, Server
from benchmarks.capture import Capture
from benchmarks.dialogue import END_OF_DATA, Dialogue
from benchmarks.processes import LOOPBACK
from benchmarks.product import Penstock, Settings
from benchmarks.report import Report, spread

#: The bars of the acceptance check, in seconds.
COROUTINE_P99: Final = 0.020
#: What a looping plain function may cost others: it shares the interpreter with them (docs/decisions/0010-policy.md has the figures).
LOOP_P99: Final = 0.100
HOOK_SECONDS: Final = 1.0
#: Clients in trouble at a time, and messages of the client that is watched.
TROUBLED: Final = 20
LOOPING: Final = 3
WATCHED: Final = 300

COROUTINES: Final = """
import asyncio
from penstock.policy import http
async def on_rcpt(session, transaction, recipient):
    match recipient.address.local_part:
        case "sleep":
            await asyncio.sleep(3600)
        case "raise":
            raise RuntimeError("a hook raises")
        case "nonsense":
            return 42
        case "dead":
            await http.get("http://127.0.0.1:{port}/", timeout=3600)
"""
PLAIN: Final = """
def on_mail(session, transaction):
    if transaction.reverse_path is not None and transaction.reverse_path.local_part == "loop":
        while True:
            pass
"""
#: Policies whose cost is measured, by what they are.
COSTS: Final = {
    "no policy": None,
    "an empty coroutine": "async def on_message(message):\n    pass\n",
    "an empty inline function": "from penstock.policy import inline\n@inline\ndef on_message(message):\n    pass\n",
    "an empty plain function": "def on_message(message):\n    pass\n",
    "a coroutine that assigns a tenant": (
        "async def on_message(message):\n"
        "    message.tenant = 'acme' if message.headers.get('From') else 'globex'\n"
        "    message.campaign = 'spring'\n"
    ),
}


def check(report: Report, arguments: Sequence[str]) -> None:
    """Hooks in trouble: their mail is deferred with 451, others keep their latency; and the CPU time of hooks per message."""
    options = _options(arguments)
    with _deaf_server() as port:
        _coroutines(report, COROUTINES.format(port=port))
    _loops(report)
    _costs(report, options)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="protocol-4", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7, help="measured legs of each policy")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long a leg lasts")
    return parser.parse_args(arguments)


@contextlib.contextmanager
def _deaf_server() -> Iterator[int]:
    """A port where connections are made and nothing is ever answered."""
    with socket.create_server((LOOPBACK, 0), backlog=64) as sock:
        yield sock.getsockname()[1]


@contextlib.contextmanager
def _serving(source: str) -> Iterator[Penstock]:
    """Penstock with a policy, in front of a sink."""
    with tempfile.TemporaryDirectory(prefix="penstock-protocol-4-") as name, Capture() as capture:
        folder = Path(name) / "penstock"
        folder.mkdir()
        (folder / "policy.py").write_text(source)
        node = f'policy = "policy.py"\npolicy_timeout = "{HOOK_SECONDS:g}s"\n'
        with Penstock(folder, capture.port, settings=Settings(node=node)) as penstock:
            yield penstock


def _coroutines(report: Report, source: str) -> None:
    report.heading(
        f"Coroutines: {TROUBLED} clients whose hook is in trouble, again and again, beside one that sends {WATCHED} messages"
    )
    with _serving(source) as penstock:
        quiet = _watch(penstock.port)
        report.figure(f"nobody in trouble: {_latency(quiet)}")
        for trouble in ("raise", "nonsense", "sleep", "dead"):
            begin = f"MAIL FROM:<a@from.test>\r\nRCPT TO:<{trouble}@d1.test>\r\n".encode()
            _beside(report, penstock, trouble, [begin] * TROUBLED, COROUTINE_P99)
        _end(report, penstock)


def _loops(report: Report) -> None:
    report.heading(f"A plain function that loops for ever: {LOOPING} of 4 threads held, again and again")
    with _serving(PLAIN) as penstock:
        quiet = _watch(penstock.port)
        report.figure(f"nobody in trouble: {_latency(quiet)}")
        _beside(report, penstock, "loop", [b"MAIL FROM:<loop@from.test>\r\n"] * LOOPING, LOOP_P99)
        _end(report, penstock)


def _beside(report: Report, penstock: Penstock, trouble: str, begins: Sequence[bytes], bar: float) -> None:
    """Watch one client while others run into trouble."""
    stopping = threading.Event()
    answers: list[str] = []
    threads = [
        threading.Thread(target=_run_into, args=(penstock.port, begin, stopping, answers)) for begin in begins
    ]
    for thread in threads:
        thread.start()
    while not answers:
        time.sleep(0.01)
    try:
        latencies = _watch(penstock.port)
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
    wrong = [answer for answer in answers if not answer.startswith("451 4.3.0 ")]
    report.claim(
        f"{trouble}: every such command is answered 451 4.3.0",
        not wrong,
        f"{len(answers)} answers{', such as ' + wrong[0] if wrong else ''}",
    )
    p99 = _p99(latencies)
    report.claim(
        f"{trouble}: p99 of the others' replies within {bar * 1000:.0f} ms", p99 <= bar, _latency(latencies)
    )


def _run_into(port: int, begin: bytes, stopping: threading.Event, answers: list[str]) -> None:
    commands = begin.count(b"\r\n")
    while not stopping.is_set():
        with Dialogue(port) as client:
            client.command(b"EHLO trouble.test", 250)
            client.send(begin)
            replies = [client.reply() for _ in range(commands)]
            answers.append(str(replies[-1]))


def _watch(port: int) -> list[float]:
    """Seconds that each reply took, of a client that sends one message after the other."""
    latencies: list[float] = []
    message = b"Subject: watched\r\n\r\n" + b"x" * 70 + b"\r\n"
    with Dialogue(port) as client:
        client.command(b"EHLO watched.test", 250)
        for _ in range(WATCHED):
            for line in (
                b"MAIL FROM:<a@from.test>\r\n",
                b"RCPT TO:<b@d2.test>\r\n",
                b"DATA\r\n",
                message + END_OF_DATA.removeprefix(b"\r\n"),
            ):
                began = time.monotonic()
                client.send(line)
                answer = client.reply()
                latencies.append(time.monotonic() - began)
                if answer.code not in (250, 354):
                    raise AssertionError(f"the client that is watched was told {answer}")
    return latencies


def _p99(latencies: Sequence[float]) -> float:
    return sorted(latencies)[int(len(latencies) * 0.99)]


def _latency(latencies: Sequence[float]) -> str:
    median = statistics.median(latencies) * 1000
    return f"median {median:.2f} ms, p99 {_p99(latencies) * 1000:.2f} ms, most {max(latencies) * 1000:.2f} ms"


def _end(report: Report, penstock: Penstock) -> None:
    events = penstock.event_recipients("PolicyError")
    status = penstock.stop()
    report.claim(
        "each fault is an event; the server lives and stops with status 0",
        status == 0 and events > 0 and "Traceback" not in penstock.log(),
        f"status {status}, {events} PolicyError events",
    )


def _costs(report: Report, options: argparse.Namespace) -> None:
    report.heading(f"CPU time of the server per message of 10 KB, {options.rounds} rounds in turn")
    with Bench.open(Load()) as bench, contextlib.ExitStack() as context:
        servers: list[Server] = []
        for number, (name, source) in enumerate(COSTS.items()):
            folder = bench.folder / f"penstock-{number}"
            folder.mkdir()
            (folder / "policy.py").write_text(source or "")
            node = 'policy = "policy.py"\n' if source else ""
            penstock = context.enter_context(Penstock(folder, bench.sink.port, settings=Settings(node=node)))
            servers.append(Server(name, penstock.port, penstock.clock))
        count = bench.messages_for(servers[0], options.seconds)
        for server in servers[1:]:
            bench.leg(server, count // 4)
        legs: dict[str, list[Leg]] = {server.name: [] for server in servers}
        for round_ in range(options.rounds):
            first = round_ % len(servers)
            for server in [*servers[first:], *servers[:first]]:
                legs[server.name].append(bench.leg(server, count))
    plain = statistics.median(leg.microseconds for leg in legs["no policy"])
    for name, rounds in legs.items():
        microseconds = [leg.microseconds for leg in rounds]
        more = statistics.median(microseconds) - plain
        report.figure(f"{name}: {spread(microseconds)} us, {more:+.0f}")
    report.figure(f"{count:,} messages a leg")
