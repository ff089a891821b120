"""Asking hooks: whatever they do, there is one verdict in time, and nothing of theirs is left behind."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from penstock.mail.duration import Seconds
from penstock.mail.reply import Reply, reply
from penstock.policy import Credentials, Granted, PolicyRunner, Verdict
from penstock.policy.verdict import ALLOWED, BUSY, CLOSED, FAULT, LATE
from penstock.sim.clock import FakeClock
from tests.policy.world import ask, forget_policies, load, message, running, session, transaction, until

OLD = reply(550, "5.1.1", "no such user")


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Leave no policy registered behind."""
    yield
    forget_policies()


@pytest.mark.parametrize("mark", ["async def", "def", "@inline\ndef"])
@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        ("pass", ALLOWED),
        ("raise Reject(550, '5.7.1', 'no')", Verdict(refusal=reply(550, "5.7.1", "no"))),
        ("raise Disconnect()", Verdict(refusal=reply(421, "4.7.0", "closing connection"), is_final=True)),
        ("raise Disconnect(554, '5.7.1', 'bye')", Verdict(refusal=reply(554, "5.7.1", "bye"), is_final=True)),
        ("raise LimitExceeded('too deep')", Verdict(refusal=reply(550, "5.6.0", "the message cannot be examined: too deep"))),
    ],
    ids=["nothing", "reject", "disconnect", "disconnect 554", "limit"],
)  # fmt: skip
def test_a_hook_lets_go_on_or_refuses_wherever_it_runs(
    tmp_path: Path, mark: str, body: str, verdict: Verdict
) -> None:
    """The three ways to run differ in cost alone."""
    loaded = load(tmp_path, f"{mark} on_connect(session):\n    {body}\n")

    async def run() -> None:
        async with running(loaded) as runner:
            assert await ask(runner, "on_connect", session()) == verdict
            counts = runner.counts["on_connect"]
            assert (counts.calls, counts.refusals, counts.faults) == (1, int(verdict.refusal is not None), 0)
            assert counts.seconds > 0

    uvloop.run(run())


@pytest.mark.parametrize("mark", ["async def", "def", "@inline\ndef"])
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("raise asyncio.CancelledError", "CancelledError"),
        ("raise BaseException('all')", "BaseException: all"),
        ("raise StopIteration", "StopIteration"),
        ("raise MemoryError", "MemoryError"),
        ("raise Reject(250, '2.0.0', 'fine')", "a refusal has a code from 400 to 599, not 250"),
        ("raise Reject(550, '4.7.1', 'no')", "the enhanced status code of 550 is written '5.7.1', not '4.7.1'"),
        ("raise Reject(421, '4.7.1', 'no')", "raise Disconnect for that"),
        ("session.tenant = 'a b'", "a tenant is None, or 1 to 128 printable ASCII characters"),
        ("return True", "on_connect: it returned True, and returns nothing; raise Reject to refuse"),
        ("return 'no'", "on_connect: it returned a str, and returns nothing"),
        ("return object()", "on_connect: it returned a object, and returns nothing"),
    ],
)  # fmt: skip
def test_a_hook_that_fails_is_451_and_a_text_for_people(
    tmp_path: Path, mark: str, body: str, said: str
) -> None:
    """What it raises ends nothing but the hook; the traceback begins in the policy."""
    loaded = load(tmp_path, f"{mark} on_connect(session):\n    {body}\n")

    async def run() -> None:
        async with running(loaded) as runner:
            verdict = await ask(runner, "on_connect", session())
            assert verdict.refusal == FAULT
            assert said in verdict.fault
            if "raised" in verdict.fault:
                assert f'{tmp_path}/policy.py", line ' in verdict.fault
                assert "penstock/policy/runner.py" not in verdict.fault
            assert runner.counts["on_connect"].faults == 1
            # and the server is still there
            assert (await ask(runner, "on_connect", session())).refusal == FAULT

    uvloop.run(run())


def test_a_coroutine_that_a_plain_function_returns_is_nonsense(tmp_path: Path) -> None:
    """It would never run; Python's warning about that is not the way to learn it."""
    loaded = load(tmp_path, "async def later(s): pass\ndef on_connect(session): return later(session)\n")

    async def run() -> None:
        async with running(loaded) as runner:
            verdict = await ask(runner, "on_connect", session())
            assert "it returned a coroutine, and returns nothing" in verdict.fault

    uvloop.run(run())
    gc.collect()


def test_on_auth_says_yes_no_or_more(tmp_path: Path) -> None:
    """A hook that forgets to return lets nobody in."""
    text = """
async def on_auth(session, credentials):
    return {"yes": True, "no": False, "more": Granted(tenant="acme")}.get(credentials.password)
"""
    loaded = load(tmp_path, text)

    async def run() -> None:
        async with running(loaded) as runner:
            values = []
            for password in ("yes", "no", "more"):
                verdict = await ask(runner, "on_auth", session(), Credentials("PLAIN", "joe", password))
                assert verdict.refusal is None
                values.append(verdict.value)
            assert values == [Granted(), False, Granted(tenant="acme")]
            verdict = await ask(runner, "on_auth", session(), Credentials("PLAIN", "joe", "other"))
            assert verdict == Verdict(
                refusal=FAULT, fault="on_auth: it returned None, and returns True, False or Granted"
            )

    uvloop.run(run())


def test_no_password_is_in_what_is_written_down_of_on_auth(tmp_path: Path) -> None:
    """Exceptions repeat what they fail on."""
    text = """
async def on_auth(session, credentials):
    try:
        return {}[credentials.password]
    except KeyError as error:
        raise ValueError(f"not {credentials.password} {credentials}") from error
"""
    loaded = load(tmp_path, text)

    async def run() -> None:
        async with running(loaded) as runner:
            given = Credentials("PLAIN", "joe", "hunter2")
            verdict = await ask(runner, "on_auth", session(), given)
            assert "ValueError" in verdict.fault
            assert "line 8" in verdict.fault
            assert "hunter2" not in verdict.fault
            assert "hunter2" not in repr(given)

    uvloop.run(run())


@pytest.mark.parametrize(
    ("new", "value"),
    [
        ("None", None),
        ("Reply(554, EnhancedCode(5, 7, 1), 'other')", reply(554, "5.7.1", "other")),
        ("Reply(450, None, 'later\\n\\x1b[2Jperhaps')", reply(450, None, "later\n?[2Jperhaps")),
    ],
)
def test_on_reply_changes_a_refusal(tmp_path: Path, new: str, value: Reply | None) -> None:
    """To another, in printable words."""
    loaded = load(tmp_path, f"async def on_reply(session, reply): return {new}\n")

    async def run() -> None:
        async with running(loaded) as runner:
            assert await ask(runner, "on_reply", session(), OLD) == Verdict(value)

    uvloop.run(run())


@pytest.mark.parametrize(
    "body",
    ["return Reply(250, None, 'fine')", "return 'no'", "return Reply(421, None, 'bye')", "raise Reject(550, '5.7.1', 'no')", "1 / 0"],
)  # fmt: skip
def test_a_failing_on_reply_leaves_the_reply_as_it_is(tmp_path: Path, body: str) -> None:
    """A message may be stored already: no 451 then."""
    loaded = load(tmp_path, f"async def on_reply(session, reply):\n    {body}\n")

    async def run() -> None:
        async with running(loaded) as runner:
            verdict = await ask(runner, "on_reply", session(), OLD)
            assert verdict.refusal is None
            assert verdict.value is None
            assert verdict.fault.startswith("on_reply")

    uvloop.run(run())


def test_a_message_without_recipients_is_refused(tmp_path: Path) -> None:
    """Accepted and dropped, it would be lost without a word."""
    loaded = load(tmp_path, "async def on_message(message): message.recipients.remove('b@dest.example')\n")

    async def run() -> None:
        async with running(loaded) as runner:
            verdict = await ask(runner, "on_message", message())
            assert verdict.refusal == reply(550, "5.7.1", "the policy leaves the message no recipient")

    uvloop.run(run())


def test_a_coroutine_that_waits_too_long_is_cancelled_at_its_deadline(tmp_path: Path) -> None:
    """On a clock of the test's: not before, and with the place where it was."""
    text = """
ended = []
async def deeper():
    try:
        await asyncio.Event().wait()  # for ever
    finally:
        ended.append(True)
async def on_connect(session):
    await deeper()
"""
    loaded = load(tmp_path, text)
    clock = FakeClock()

    async def run() -> None:
        async with running(loaded, timeout=5.0, timers=clock) as runner:
            verdicts: list[Verdict] = []
            runner.ask("on_connect", (session(),), verdicts.append)
            await asyncio.sleep(0)
            clock.advance(Seconds(4.999))
            assert verdicts == []
            clock.advance(Seconds(0.001))
            (verdict,) = verdicts
            assert verdict.refusal == LATE
            assert verdict.fault.startswith("on_connect took longer than 5 s; it was here:")
            assert "await asyncio.Event().wait()  # for ever" in verdict.fault
            await until(lambda: bool(loaded.module.ended))
            assert runner.counts["on_connect"].late == 1
            clock.advance(Seconds(60.0))
            assert len(verdicts) == 1

    uvloop.run(run())


def test_a_coroutine_that_swallows_its_cancellation_is_abandoned(tmp_path: Path) -> None:
    """After another deadline: it may have something to clear up, and no more."""
    text = """
turns = []
async def on_connect(session):
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            turns.append(1)
"""
    loaded = load(tmp_path, text)
    clock = FakeClock()

    async def run() -> None:
        async with running(loaded, timeout=5.0, timers=clock) as runner:
            answered = asyncio.create_task(ask(runner, "on_connect", session()), name="question")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            clock.advance(Seconds(5.0))
            assert (await answered).refusal == LATE
            await until(lambda: len(loaded.module.turns) == 1)
            clock.advance(Seconds(5.0))
            await until(lambda: len(asyncio.all_tasks()) == 1)
            assert len(loaded.module.turns) == 2

    uvloop.run(run())


@pytest.mark.parametrize("mark", ["async def", "@inline\ndef"])
def test_a_loop_on_the_event_loop_is_ended_by_the_watch(tmp_path: Path, mark: str) -> None:
    """It stalls everything for its deadline, but not for ever. What comes after it is not hit."""
    loaded = load(tmp_path, f"{mark} on_connect(session):\n    while session.tenant:\n        pass\n")

    async def run() -> None:
        async with running(loaded, timeout=0.05) as runner:
            endless = session()
            endless.tenant = "acme"
            for _ in range(3):
                verdict = await ask(runner, "on_connect", endless)
                assert verdict.refusal == LATE
                assert "on_connect took longer than 0.05 s; it was here:" in verdict.fault
                assert "line 5" in verdict.fault or "line 4" in verdict.fault
                assert await ask(runner, "on_connect", session()) == ALLOWED
            assert runner.counts["on_connect"].late == 3

    uvloop.run(run())


def test_a_loop_in_a_thread_is_stopped_and_its_thread_replaced(tmp_path: Path) -> None:
    """Its session is told 451 at the deadline; the next hook has a thread."""
    text = """
def on_connect(session):
    while session.tenant: pass
def on_mail(session, transaction):
    while True:
        try: time.sleep(0.001)
        except Exception: pass
"""
    loaded = load(tmp_path, text)

    async def run() -> None:
        async with running(loaded, timeout=0.05, threads=1) as runner:
            endless = session()
            endless.tenant = "acme"
            for hook, arguments, line in (
                ("on_connect", (endless,), 5),
                ("on_mail", (session(), transaction()), 8),
            ):
                verdict = await ask(runner, hook, *arguments)
                assert verdict.refusal == LATE
                assert f'policy.py", line {line}, in {hook}' in verdict.fault
                assert await ask(runner, "on_connect", session()) == ALLOWED
            await until(lambda: runner.lost_threads == 0)

    uvloop.run(run())


def test_a_thread_that_does_not_stop_is_reminded(tmp_path: Path) -> None:
    """A function that catches everything once, in its own retrying, is stopped the second time."""
    text = """
caught = []
def on_connect(session):
    try:
        while True: time.sleep(0.001)
    except BaseException:
        caught.append(1)
    while True: pass
"""
    loaded = load(tmp_path, text)

    async def run() -> None:
        async with running(loaded, timeout=0.03, threads=1) as runner:
            assert (await ask(runner, "on_connect", session())).refusal == LATE
            await until(lambda: runner.lost_threads == 0)
            assert loaded.module.caught == [1]

    uvloop.run(run())


def test_threads_that_never_come_back_use_up_the_pool_and_no_more(tmp_path: Path) -> None:
    """Four for each thread of the pool; then hooks are refused at once, and when they come back all is well again."""
    text = """
dead = threading.Event()
def on_connect(session):
    if session.tenant:
        dead.wait()  # a database that does not answer
"""
    loaded = load(tmp_path, text)

    async def run() -> None:
        before = threading.active_count()
        async with running(loaded, timeout=0.03, threads=1) as runner:
            stuck = session()
            stuck.tenant = "acme"
            for number in range(4):
                assert (await ask(runner, "on_connect", stuck)).refusal == LATE
                assert runner.lost_threads == number + 1
            assert threading.active_count() == before + 4
            verdict = await ask(runner, "on_connect", session())
            assert verdict.refusal == BUSY
            assert "not called: 0 calls wait, and 4 threads are held by late hooks" in verdict.fault
            loaded.module.dead.set()
            await until(lambda: runner.lost_threads == 0)
            assert await ask(runner, "on_connect", session()) == ALLOWED

    uvloop.run(run())


def test_waiting_for_a_thread_counts_and_is_bounded(tmp_path: Path) -> None:
    """A call that no thread has begun is late like any other, and is then not made at all."""
    text = """
calls = []
gate = threading.Event()
def on_connect(session):
    calls.append(session.peer_address)
    gate.wait()
"""
    loaded = load(tmp_path, text)
    clock = FakeClock()

    async def run() -> None:
        async with running(loaded, timeout=5.0, threads=1, timers=clock) as runner:
            verdicts: list[Verdict] = []
            runner.ask("on_connect", (session("192.0.2.1"),), verdicts.append)
            await until(lambda: loaded.module.calls == ["192.0.2.1"])
            clock.advance(Seconds(3.0))
            runner.ask("on_connect", (session("192.0.2.2"),), verdicts.append)
            for _ in range(999):
                runner.ask("on_connect", (session("192.0.2.3"),), lambda verdict: None)
            assert runner.waiting_calls == 1000
            runner.ask("on_connect", (session("192.0.2.4"),), verdicts.append)
            assert [verdict.refusal for verdict in verdicts] == [BUSY]
            loaded.module.gate.set()
            await until(lambda: len(verdicts) == 3 and runner.waiting_calls == 0)
            assert verdicts[1:] == [ALLOWED, ALLOWED]

            loaded.module.gate.clear()
            runner.ask("on_connect", (session("192.0.2.5"),), verdicts.append)
            await until(lambda: loaded.module.calls[-1] == "192.0.2.5")
            clock.advance(Seconds(1.0))
            runner.ask("on_connect", (session("192.0.2.6"),), verdicts.append)
            clock.advance(Seconds(4.0))
            assert verdicts[3].refusal == LATE
            clock.advance(Seconds(1.0))
            loaded.module.gate.set()
            await until(lambda: len(verdicts) == 5)
            await until(lambda: runner.lost_threads == 0)
            assert "192.0.2.6" in loaded.module.calls or verdicts[4].refusal == LATE

    uvloop.run(run())


def test_other_sessions_go_on_while_hooks_wait(tmp_path: Path) -> None:
    """Coroutines wait side by side."""
    text = """
gate = asyncio.Event()
async def on_connect(session):
    if session.tenant:
        await gate.wait()
"""
    loaded = load(tmp_path, text)

    async def run() -> None:
        async with running(loaded) as runner:
            waiting = session()
            waiting.tenant = "acme"
            slow = asyncio.create_task(ask(runner, "on_connect", waiting), name="slow")
            assert await ask(runner, "on_connect", session()) == ALLOWED
            assert not slow.done()
            loaded.module.gate.set()
            assert await slow == ALLOWED

    uvloop.run(run())


@pytest.mark.parametrize("mark", ["async def", "def"])
def test_a_question_that_is_cancelled_is_not_answered(tmp_path: Path, mark: str) -> None:
    """The client is gone; a coroutine ends with it."""
    wait = "await asyncio.Event().wait()" if mark == "async def" else "gate.wait()"
    loaded = load(tmp_path, f"gate = threading.Event()\n{mark} on_connect(session):\n    {wait}\n")

    async def run() -> None:
        async with running(loaded) as runner:
            verdicts: list[Verdict] = []
            first = runner.ask("on_connect", (session(),), verdicts.append)
            await asyncio.sleep(0)
            at_once = runner.ask("on_connect", (session(),), verdicts.append)
            at_once.cancel()
            first.cancel()
            first.cancel()
            loaded.module.gate.set()
            await runner.retire()
            assert verdicts == []

    uvloop.run(run())


def test_an_inline_hook_is_answered_inside_of_the_question(tmp_path: Path) -> None:
    """And cancelling behind it does nothing."""
    loaded = load(tmp_path, "@inline\ndef on_connect(session): pass\n")

    async def run() -> None:
        async with running(loaded) as runner:
            verdicts: list[Verdict] = []
            asking = runner.ask("on_connect", (session(),), verdicts.append)
            assert verdicts == [ALLOWED]
            asking.cancel()
            assert runner.has("on_connect")
            assert not runner.has("on_mail")
            with pytest.raises(KeyError):
                runner.ask("on_mail", (), verdicts.append)

    uvloop.run(run())


def test_a_runner_that_is_retired_finishes_and_closes(tmp_path: Path) -> None:
    """A reload cuts nobody's hook short."""
    text = """
gate = asyncio.Event()
async def on_connect(session):
    await gate.wait()
@inline
def on_reply(session, reply): return None
"""
    loaded = load(tmp_path, text)

    async def run() -> None:
        async with running(loaded) as runner:
            asked = asyncio.create_task(ask(runner, "on_connect", session()), name="question")
            await asyncio.sleep(0)
            retiring = asyncio.create_task(runner.retire(), name="retiring")
            await asyncio.sleep(0)
            assert not retiring.done()
            loaded.module.gate.set()
            assert await asked == ALLOWED
            await retiring
            assert await ask(runner, "on_connect", session()) == Verdict(refusal=CLOSED)
            assert await ask(runner, "on_reply", session(), OLD) == ALLOWED

    uvloop.run(run())


def test_closing_stops_everything_and_leaves_the_process_as_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Hooks that do not stop are told in the log and left."""
    text = """
dead = threading.Event()
async def on_connect(session):
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
def on_mail(session, transaction):
    while True: pass
def on_rcpt(session, transaction, recipient):
    dead.wait()
"""
    loaded = load(tmp_path, text)

    async def run() -> None:
        runner = PolicyRunner(loaded, Seconds(60.0), 4)
        verdicts: list[Verdict] = []
        given = session(), transaction()
        runner.ask("on_connect", given[:1], verdicts.append)
        runner.ask("on_mail", given, verdicts.append)
        runner.ask("on_rcpt", (*given, given[1].recipients[0]), verdicts.append)
        await asyncio.sleep(0.01)
        assert sys.getswitchinterval() < usual
        await runner.close(0.05)
        await runner.close(0.05)
        assert verdicts == []
        assert sys.getswitchinterval() == usual
        await until(lambda: len(asyncio.all_tasks()) == 1)
        loaded.module.dead.set()

    usual = sys.getswitchinterval()
    uvloop.run(run())
    assert "policy: 2 hooks did not stop when told to" in caplog.text


def test_the_place_of_a_plain_function_that_is_late_is_told_and_long_texts_are_cut(tmp_path: Path) -> None:
    """Eight kilobytes: the beginning and the end."""
    loaded = load(tmp_path, "def on_connect(session):\n    raise ValueError('x' * 100_000 + 'end')\n")

    async def run() -> None:
        async with running(loaded) as runner:
            verdict = await ask(runner, "on_connect", session())
            assert len(verdict.fault) <= 8192
            assert verdict.fault.startswith("on_connect raised ValueError\nTraceback")
            assert verdict.fault.endswith("xend")
            assert "[...]" in verdict.fault

    uvloop.run(run())


def test_wait_lets_a_plain_function_wait_for_a_coroutine_until_it_is_late(tmp_path: Path) -> None:
    """At its deadline both end."""
    text = """
ended = []
async def answer(value, gate=None):
    try:
        if gate: await gate.wait()
    finally:
        ended.append(value)
    return value
def on_connect(session):
    assert wait(answer(5)) == 5
    session.meta["answer"] = 5
def on_mail(session, transaction):
    wait(answer(6, asyncio.Event()))
async def on_rcpt(session, transaction, recipient):
    wait(answer(7))
"""
    loaded = load(tmp_path, text)

    async def run() -> None:
        async with running(loaded, timeout=0.05) as runner:
            given = session()
            assert await ask(runner, "on_connect", given) == ALLOWED
            assert given.meta == {"answer": 5}
            assert (await ask(runner, "on_mail", given, transaction())).refusal == LATE
            await until(lambda: loaded.module.ended == [5, 6] and runner.lost_threads == 0)
            verdict = await ask(runner, "on_rcpt", given, transaction(), transaction().recipients[0])
            assert "in a coroutine write await" in verdict.fault

    uvloop.run(run())
    assert loaded.module.wait(loaded.module.answer(8)) == 8
