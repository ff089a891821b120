"""What asking a hook costs, and what misbehaving hooks cost everybody else.

Run: ``python -m benchmarks.micro_policy``. CPU is of the whole process, microseconds for each call, medians over rounds in which the cases take
turns. "transaction" is what a message with one recipient costs when the policy has ``on_mail``, ``on_rcpt`` and ``on_message``, the objects that they
are given included. Below it: how late a timer of 1 ms on the same loop (uvloop) is while other sessions' hooks sleep, or loop in all threads of the
pool, at several switch intervals of the interpreter.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

import uvloop

from benchmarks.micro_smtp import CONTENT
from penstock.mail.address import parse_address
from penstock.mail.duration import Seconds
from penstock.policy import (
    Message,
    PolicyRunner,
    Recipient,
    Session,
    SessionFacts,
    Transaction,
    Verdict,
    load,
    threads,
)

_CALLS = 1_000
_ROUNDS = 9
_TICKS = 500
_MARKS = {"coroutine": "async def", "inline": "@inline\ndef", "plain, in the pool": "def"}
_IMPORTS = "import asyncio\nfrom penstock.policy import Reject, inline\n"
_EMPTY = "{mark} on_mail(session, transaction):\n    pass\n"
_TENANT = """
{mark} on_message(message):
    message.tenant = message.headers.get("X-Tenant")
    message.campaign = message.headers.get("X-Campaign")
    message.headers.remove("X-Tenant", "X-Campaign")
"""
_ALL = "{mark} on_mail(session, transaction): pass\n{mark} on_rcpt(session, transaction, recipient): pass\n{mark} on_message(message): pass\n"
_MISBEHAVING = """
async def on_connect(session):
    await asyncio.sleep(3600)
def on_mail(session, transaction):
    while True: pass
"""
SENDER, RECIPIENT = parse_address("sender@send.example"), parse_address("recipient@dest.example")

Case = Callable[[int], Awaitable[None]]


def _runner(folder: Path, text: str, timeout: float = 30.0, count: int = 4) -> PolicyRunner:
    path = folder / "policy.py"
    path.write_text(_IMPORTS + text)
    return PolicyRunner(load(path), Seconds(timeout), count)


async def _ask(runner: PolicyRunner, hook: str, *arguments: object) -> None:
    answered: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
    runner.ask(hook, arguments, answered.set_result)
    verdict = answered.result() if answered.done() else await answered
    assert verdict.refusal is None, verdict


def _transaction(session: Session) -> Transaction:
    made = Transaction(session, SENDER)
    made.accept(Recipient(RECIPIENT))
    return made


def _cases(folder: Path) -> tuple[dict[str, Case], list[PolicyRunner]]:
    session = Session(SessionFacts())
    cases: dict[str, Case] = {}
    runners: list[PolicyRunner] = []

    def case(name: str, text: str, work: Callable[[PolicyRunner], Awaitable[None]]) -> None:
        runner = _runner(folder, text)
        runners.append(runner)

        async def repeat(count: int) -> None:
            for _ in range(count):
                await work(runner)

        cases[name] = repeat

    async def empty(runner: PolicyRunner) -> None:
        await _ask(runner, "on_mail", session, None)

    async def tenant(runner: PolicyRunner) -> None:
        message = Message(_transaction(session), CONTENT)
        await _ask(runner, "on_message", message)
        assert message.decision().tenant == "acme"

    async def whole(runner: PolicyRunner) -> None:
        transaction = Transaction(session, SENDER)
        await _ask(runner, "on_mail", session, transaction)
        recipient = Recipient(RECIPIENT)
        await _ask(runner, "on_rcpt", session, transaction, recipient)
        transaction.accept(recipient)
        message = Message(transaction, CONTENT)
        await _ask(runner, "on_message", message)
        message.decision()

    async def objects(runner: PolicyRunner) -> None:
        Message(_transaction(session), CONTENT).decision()

    for name, mark in _MARKS.items():
        case(f"empty hook, {name}", _EMPTY.format(mark=mark), empty)
        case(f"on_message that assigns, {name}", _TENANT.format(mark=mark), tenant)
        case(f"transaction of three empty hooks, {name}", _ALL.format(mark=mark), whole)
    case("part: the objects alone", "", objects)
    return cases, runners


async def _costs(folder: Path) -> dict[str, float]:
    """Microseconds of CPU for each case."""
    cases, runners = _cases(folder)
    found: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(_ROUNDS + 1):
        for name, case in cases.items():
            begin = time.process_time()
            await case(_CALLS)
            if number:
                found[name].append((time.process_time() - begin) / _CALLS * 1e6)
    for runner in runners:
        await runner.close()
    return {name: median(values) for name, values in found.items()}


async def _lateness(folder: Path, interval: float | None, sleeping: int, looping: int) -> tuple[float, float]:
    """Milliseconds by which a timer is late, p50 and p99."""
    threads.SWITCH_INTERVAL = interval or 0.005  # type: ignore[misc]
    runner = _runner(folder, _MISBEHAVING, count=max(looping, 1))
    session = Session(SessionFacts())
    for _ in range(sleeping):
        runner.ask("on_connect", (session,), lambda verdict: None)
    for _ in range(looping):
        runner.ask("on_mail", (session, None), lambda verdict: None)
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    late: list[float] = []

    def tick(due: float) -> None:
        now = time.perf_counter()
        late.append(now - due)
        if len(late) == _TICKS:
            over.set_result(None)
        else:
            loop.call_later(0.001, tick, now + 0.001)

    loop.call_later(0.05, tick, time.perf_counter() + 0.05)
    await over
    await runner.close()
    late.sort()
    return late[_TICKS // 2] * 1000, late[_TICKS * 99 // 100] * 1000


def main() -> None:
    """Print both tables."""
    chosen = threads.SWITCH_INTERVAL
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{'10 KB message':<52}{'µs of CPU':>10}")
        for case, cost in uvloop.run(_costs(folder)).items():
            print(f"{case:<52}{cost:>10.1f}")
        print(f"\n{'a timer of 1 ms is late by':<52}{'p50 ms':>10}{'p99 ms':>10}")
        for case, interval, sleeping, looping in (
            ("no hook runs", None, 0, 0),
            ("1000 coroutines sleep", None, 1000, 0),
            *(
                (f"4 threads loop, switch interval {value * 1000:g} ms", value, 0, 4)
                for value in (0.005, 0.001, 0.0005, chosen, 0.0001)
            ),
        ):
            p50, p99 = uvloop.run(_lateness(folder, interval, sleeping, looping))
            print(f"{case:<52}{p50:>10.2f}{p99:>10.2f}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
