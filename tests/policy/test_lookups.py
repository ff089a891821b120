"""What hooks look things up with: results that are remembered, DNS, HTTP, SQLite. All on loopback."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import dns.message
import dns.rcode
import pytest
from aiohttp import web

from penstock.policy import cached, http, sqlite, wait
from penstock.policy import dns as lookup
from penstock.policy.scope import SCOPE, Scope
from tests.net.nameserver import answer, nameserver, question
from tests.policy.world import ask, forget_policies, load, running, session, until


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Leave no policy registered behind, and no nameserver."""
    yield
    forget_policies()
    lookup.use_nameservers(())


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


# -- cached


def test_a_result_is_remembered_for_its_time_and_for_its_arguments() -> None:
    """Of plain functions and of coroutines."""
    clock, calls = Clock(), []

    @cached(ttl=10, clock=clock)
    def plain(value: int, *, more: int = 0) -> int:
        calls.append(value)
        return value + more

    @cached(ttl=10, clock=clock)
    async def coroutine(value: int) -> int:
        calls.append(value)
        return value

    assert [plain(1), plain(1), plain(2), plain(1, more=1)] == [1, 1, 2, 2]
    assert [asyncio.run(coroutine(value)) for value in (3, 3, 4)] == [3, 3, 4]
    assert calls == [1, 2, 1, 3, 4]
    clock.now = 9.99
    assert plain(1) == asyncio.run(coroutine(3)) - 2
    assert len(calls) == 5
    clock.now = 10.0
    assert plain(1) == asyncio.run(coroutine(3)) - 2
    assert len(calls) == 7
    with pytest.raises(TypeError, match="unhashable"):
        plain([])  # type: ignore[arg-type]


def test_the_least_recently_used_result_goes_first() -> None:
    """When there are more than size."""
    calls: list[int] = []

    @cached(ttl=10, size=2)
    def function(value: int) -> None:
        calls.append(value)

    for value in (1, 2, 1, 3, 1, 2):
        function(value)
    assert calls == [1, 2, 3, 2]


@pytest.mark.parametrize(
    "arguments",
    [{"ttl": 0}, {"ttl": -1}, {"ttl": float("nan")}, {"ttl": 1, "size": 0}, {"ttl": 1, "stale": -1}],
)
def test_a_cache_without_bounds_is_refused(arguments: dict[str, float]) -> None:
    """While the policy is loaded."""
    with pytest.raises(ValueError, match="cached takes a ttl above 0"):
        cached(**arguments)  # type: ignore[arg-type]


def test_errors_are_not_remembered_and_an_older_result_serves_for_a_time() -> None:
    """If that was asked for; and not when a call is stopped from outside."""
    clock = Clock()
    fails: list[type[BaseException]] = []

    def answer_or_fail() -> str:
        if fails:
            raise fails[0]("no")
        return f"at {clock.now:g}"

    @cached(ttl=10, stale=100, clock=clock)
    async def coroutine() -> str:
        return answer_or_fail()

    plain = cached(ttl=10, stale=100, clock=clock)(answer_or_fail)
    strict = cached(ttl=10, clock=clock)(answer_or_fail)
    for function in (lambda: asyncio.run(coroutine()), plain, strict):
        clock.now = 0.0
        fails[:] = [OSError]
        with pytest.raises(OSError, match="no"):
            function()
        fails.clear()
        assert function() == "at 0"
        clock.now = 50.0
        fails[:] = [OSError]
        if function is strict:
            with pytest.raises(OSError, match="no"):
                function()
            continue
        assert function() == "at 0"
        clock.now = 110.0
        with pytest.raises(OSError, match="no"):
            function()
    clock.now = 50.0
    fails[:] = [KeyboardInterrupt]
    with pytest.raises(RuntimeError, match="raised KeyboardInterrupt"):
        asyncio.run(coroutine())


def test_one_call_is_under_way_for_many_that_ask() -> None:
    """One that asks and goes away takes nothing from the others; when all have gone, the call is stopped."""
    calls: list[str] = []

    async def run() -> None:
        gate = asyncio.Event()

        @cached(ttl=10)
        async def function(name: str) -> str:
            calls.append(name)
            try:
                await gate.wait()
            except asyncio.CancelledError:
                calls.append("stopped")
                raise
            return name

        first, *others = [asyncio.create_task(function("a"), name=f"{number}") for number in range(5)]
        other = asyncio.create_task(function("b"), name="b")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert calls == ["a", "b"]
        first.cancel()
        other.cancel()
        await asyncio.wait([first, other])
        await asyncio.sleep(0)
        assert calls == ["a", "b", "stopped"]
        gate.set()
        assert await asyncio.gather(*others) == ["a"] * 4
        assert await function("b") == "b"
        assert calls == ["a", "b", "stopped", "b"]

    asyncio.run(run())


def test_threads_wait_for_one_call_too() -> None:
    """And have its result, or its error."""
    began, gate = threading.Event(), threading.Event()
    calls: list[int] = []

    @cached(ttl=10)
    def function(value: int) -> int:
        calls.append(value)
        began.set()
        gate.wait(10)
        return 10 // value

    for value, results in ((1, [10, 10, 10]), (0, [])):
        began.clear()
        gate.clear()
        found: list[int] = []
        errors: list[type[Exception]] = []

        def ask_for(number: int, found: list[int] = found, errors: list[type[Exception]] = errors) -> None:
            try:
                found.append(function(number))
            except ZeroDivisionError as error:
                errors.append(type(error))

        threads = [threading.Thread(target=ask_for, args=(value,)) for _ in range(3)]
        threads[0].start()
        assert began.wait(10)
        for thread in threads[1:]:
            thread.start()
        gate.set()
        for thread in threads:
            thread.join(10)
        assert found == results
        assert len(errors) == 3 - len(results)
    assert calls[0] == 1
    assert calls.count(1) == 1


# -- DNS

ZONE = {
    ("A", "a.example."): ["a.example. 300 IN A 192.0.2.1", "a.example. 300 IN A 192.0.2.2"],
    ("A", "alias.example."): ["alias.example. 300 IN CNAME a.example.", "a.example. 300 IN A 192.0.2.1"],
    ("AAAA", "a.example."): ["a.example. 300 IN AAAA 2001:db8::1"],
    ("MX", "a.example."): ["a.example. 300 IN MX 20 MX2.example.", "a.example. 300 IN MX 10 mx1.example."],
    ("MX", "null.example."): ["null.example. 300 IN MX 0 ."],
    ("TXT", "a.example."): ['a.example. 300 IN TXT "v=spf1 " "-all"'],
    ("PTR", "1.2.0.192.in-addr.arpa."): ["1.2.0.192.in-addr.arpa. 300 IN PTR A.example."],
    ("A", "2.2.0.192.bl.example."): ["2.2.0.192.bl.example. 300 IN A 127.0.0.2", "2.2.0.192.bl.example. 300 IN A 127.0.0.10"],
    ("A", f"{'1' + '.0' * 23}.8.b.d.0.1.0.0.2.bl.example."): [f"{'1' + '.0' * 23}.8.b.d.0.1.0.0.2.bl.example. 300 IN A 127.0.0.3"],
    ("A", "3.2.0.192.bl.example."): ["3.2.0.192.bl.example. 300 IN A 192.0.2.80"],
    ("A", "4.2.0.192.bl.example."): ["4.2.0.192.bl.example. 300 IN A 127.255.255.254"],
}  # fmt: skip


def zone(query: dns.message.Message, is_tcp: bool) -> list[bytes]:
    """Answers of ZONE; SERVFAIL for ``broken``, nothing of that type for ``empty``."""
    kind, name = question(query)
    if name.startswith(("broken", "5.2.0.192")):
        return [answer(query, rcode=dns.rcode.SERVFAIL)]
    if name.startswith("empty"):
        return [answer(query)]
    records = ZONE.get((kind, name.lower()))
    return [answer(query, *records) if records else answer(query, rcode=dns.rcode.NXDOMAIN)]


def test_dns_gives_records_nothing_or_an_error() -> None:
    """The three are never mixed up."""

    async def run() -> None:
        async with nameserver(zone) as endpoint:
            lookup.use_nameservers([str(endpoint)])
            assert sorted(await lookup.a("a.example")) == ["192.0.2.1", "192.0.2.2"]
            assert await lookup.a("alias.example.") == ("192.0.2.1",)
            assert await lookup.aaaa("a.example") == ("2001:db8::1",)
            assert await lookup.mx("a.example") == ((10, "mx1.example"), (20, "mx2.example"))
            assert await lookup.mx("null.example") == ((0, ""),)
            assert await lookup.txt("a.example") == ("v=spf1 -all",)
            assert await lookup.ptr("192.0.2.1") == ("a.example",)
            for nothing in ("missing.example", "empty.example"):
                assert await lookup.a(nothing) == ()
            for name in ("broken.example", "a..example", "a" * 64 + ".example", "ü" * 200):
                with pytest.raises(lookup.LookupFailed):
                    await lookup.a(name)
            with pytest.raises(ValueError, match="does not appear to be an IPv4"):
                await lookup.ptr("a.example")

    asyncio.run(run())


def test_a_list_says_its_codes_or_none_or_fails() -> None:
    """A list that has been given up answers everybody with an address of the new owner's; that is no code."""

    async def run() -> None:
        async with nameserver(zone) as endpoint:
            lookup.use_nameservers([endpoint])
            assert await lookup.rbl("192.0.2.1", "bl.example") is None
            assert sorted(await lookup.rbl("192.0.2.2", "bl.example.") or ()) == ["127.0.0.10", "127.0.0.2"]
            assert await lookup.rbl("::ffff:192.0.2.2", "bl.example") is not None
            assert await lookup.rbl("2001:db8::1", "bl.example") == ("127.0.0.3",)
            for address, said in (
                ("192.0.2.3", "no code of a list"),
                ("192.0.2.4", "does not answer questions"),
                ("192.0.2.5", "A of "),
            ):
                with pytest.raises(lookup.LookupFailed, match=said):
                    await lookup.rbl(address, "bl.example")

    asyncio.run(run())


@pytest.mark.parametrize(
    "text", ["", "192.0.2.1", "192.0.2.1:0", "192.0.2.1:70000", "192.0.2.1:+5", "ns.example:53", "[::1]"]
)
def test_a_nameserver_is_an_address_and_a_port(text: str) -> None:
    """A name would have to be looked up."""
    with pytest.raises(ValueError, match="a nameserver is written"):
        lookup.use_nameservers([text])


# -- HTTP


@asynccontextmanager
async def web_server() -> AsyncIterator[str]:
    """A server on loopback; where it is."""
    over = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        match request.path:
            case "/echo":
                body = (await request.read()).decode()
                return web.json_response(
                    {
                        "q": dict(request.query),
                        "m": request.method,
                        "b": body,
                        "h": request.headers.get("X-A"),
                        "t": request.content_type,
                    }
                )
            case "/missing":
                return web.Response(status=404, text="no ü")
            case "/large" | "/limit":
                return web.Response(body=b"x" * (http.BODY_LIMIT + (request.path == "/large")))
            case "/bomb":
                response = web.Response(body=b"x" * (16 * http.BODY_LIMIT))
                response.enable_compression(web.ContentCoding.gzip)
                return response
            case "/near":
                return web.Response(status=302, headers={"Location": "/echo?x=1"})
            case "/elsewhere":
                return web.Response(
                    status=302, headers={"Location": f"http://localhost:{request.url.port}/echo"}
                )
            case "/round":
                return web.Response(status=307, headers={"Location": "/round"})
            case "/slow":
                await over.wait()
        return web.Response(status=500)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        over.set()
        await runner.cleanup()


def test_http_asks_and_answers() -> None:
    """A status that is no success is an answer."""

    async def run() -> None:
        async with web_server() as base:
            got = await http.get(f"{base}/echo?b=2", query={"a": "1&=ü"}, headers={"X-A": "x"})
            assert got.json() == {
                "q": {"b": "2", "a": "1&=ü"},
                "m": "GET",
                "b": "",
                "h": "x",
                "t": "application/octet-stream",
            }
            posted = await http.post(f"{base}/echo", json={"a": 1})
            assert posted.json() == {"q": {}, "m": "POST", "b": '{"a":1}', "h": None, "t": "application/json"}
            missing = await http.get(f"{base}/missing")
            assert (missing.status, missing.is_success, missing.text) == (404, False, "no ü")
            assert missing.headers["content-type"].startswith("text/plain")
            with pytest.raises(http.HttpError, match="no JSON"):
                missing.json()
            assert (await http.get(f"{base}/near")).json()["q"] == {"x": "1"}  # type: ignore[index]
            assert len((await http.get(f"{base}/limit")).body) == http.BODY_LIMIT

    asyncio.run(run())


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/large", "has more than 1048576 octets"), ("/bomb", "has more than 1048576 octets"), ("/elsewhere", "redirects to another host"),
        ("/round", "redirects more than 3 times"), ("/slow", "did not answer within 0.05 s"),
    ],
)  # fmt: skip
def test_http_is_bounded_and_names_the_host_alone(path: str, said: str) -> None:
    """Addresses hold tokens."""

    async def run() -> None:
        async with web_server() as base:
            with pytest.raises(http.HttpError, match=said) as caught:
                await http.get(f"{base}{path}?token=secret", timeout=0.05 if path == "/slow" else 5)
            assert "secret" not in str(caught.value)
            assert caught.value.__cause__ is None
        with pytest.raises(http.HttpError, match="ClientConnectorError") as caught:
            await http.get(f"{base}{path}?token=secret")
        assert "secret" not in str(caught.value)

    asyncio.run(run())


@pytest.mark.parametrize(
    "url", ["", "ftp://a.example", "file:///etc/passwd", "/path", "http://", "http://[", "//a.example/"]
)
def test_what_is_no_address_for_http_is_refused(url: str) -> None:
    """Before anything is asked."""
    with pytest.raises(ValueError, match="an address for HTTP is written"):
        asyncio.run(http.get(url))


def test_connections_are_kept_while_a_policy_runs_and_closed_with_it(tmp_path: Path) -> None:
    """Without one, as above, each call has its own."""
    text = """
from penstock.policy import http
sessions = set()
async def on_connect(session):
    await http.get(session.ehlo_name)
    from penstock.policy.scope import SCOPE
    sessions.add(SCOPE.get()._things["penstock.policy.http"])
def on_ehlo(session, extensions):
    assert wait(http.get(session.ehlo_name)).is_success
"""
    loaded = load(tmp_path, text)

    async def run() -> None:
        async with web_server() as base:
            async with running(loaded) as runner:
                for hook, arguments in (("on_connect", ()), ("on_connect", ()), ("on_ehlo", (None,))):
                    verdict = await ask(runner, hook, session(ehlo_name=f"{base}/echo"), *arguments)
                    assert verdict.fault == ""
                (kept,) = loaded.module.sessions
                assert not kept.closed
            assert kept.closed

    asyncio.run(run())


def test_a_resource_that_fails_to_close_keeps_no_other_open(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged."""
    closed: list[str] = []

    async def close(name: str) -> None:
        if name == "bad":
            raise OSError("cannot")
        closed.append(name)

    async def run() -> None:
        scope = Scope(asyncio.get_running_loop())
        for name in ("one", "bad", "two", "one"):
            assert scope.once(name, lambda name=name: name, close) == name  # type: ignore[misc]
        await scope.close()

    asyncio.run(run())
    assert closed == ["two", "one"]
    assert "could not be closed" in caplog.text


# -- SQLite


def database(act: Callable[[sqlite.Database], Awaitable[None]], path: Path, **options: object) -> None:
    """Run ``act`` with a database, closed in the end."""

    async def run() -> None:
        opened = sqlite.Database(path, **options)  # type: ignore[arg-type]
        try:
            await act(opened)
        finally:
            await opened.close()

    asyncio.run(run())


def test_a_database_is_written_and_read(tmp_path: Path) -> None:
    """With parameters, whatever is in them."""

    async def act(db: sqlite.Database) -> None:
        assert await db.change("CREATE TABLE t (name, value)") == 0
        assert (
            await db.change("INSERT INTO t VALUES (?, ?), (?, ?)", "a'; DROP TABLE t; --", 1, "b", None) == 2
        )
        assert await db.rows("SELECT * FROM t ORDER BY name") == [("a'; DROP TABLE t; --", 1), ("b", None)]
        assert await db.row("SELECT value FROM t WHERE name = ?", "a'; DROP TABLE t; --") == (1,)
        assert await db.row("SELECT value FROM t WHERE name = ?", "c") is None
        await db.close()
        assert await db.row("SELECT count(*) FROM t") == (2,)

    database(act, tmp_path / "new.db", writable=True)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("SELEKT", "near \"SELEKT\": syntax error"), ("SELECT * FROM missing", "no such table"), ("SELECT ?", "(?i)bindings"),
        ("INSERT INTO t VALUES (1)", "readonly database"), ("BEGIN", "leaves none open"),
        ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n", "more than 10000 rows"),
    ],
)  # fmt: skip
def test_a_statement_that_fails_says_why_and_the_next_one_works(
    tmp_path: Path, statement: str, said: str
) -> None:
    """Each is a transaction of its own."""
    with apsw.Connection(str(tmp_path / "old.db")) as connection:
        connection.execute("CREATE TABLE t (name)")

    async def act(db: sqlite.Database) -> None:
        with pytest.raises(sqlite.DatabaseError, match=said):
            await db.rows(statement)
        assert await db.rows("SELECT * FROM t") == []

    database(act, tmp_path / "old.db")


def test_a_database_that_is_not_there_may_come_later(tmp_path: Path) -> None:
    """Read only: it is not made by looking for it."""

    async def act(db: sqlite.Database) -> None:
        with pytest.raises(sqlite.DatabaseError, match=r"late\.db: unable to open database file"):
            await db.rows("SELECT 1")
        assert not (tmp_path / "late.db").exists()
        with apsw.Connection(str(tmp_path / "late.db")) as connection:
            connection.execute("CREATE TABLE t (name)")
        assert await db.rows("SELECT 1") == [(1,)]

    database(act, tmp_path / "late.db")


def test_a_locked_database_is_an_error_after_a_time(tmp_path: Path) -> None:
    """Not a hook that waits for ever."""
    connection = apsw.Connection(str(tmp_path / "busy.db"))
    connection.execute("CREATE TABLE t (name); BEGIN EXCLUSIVE")

    async def act(db: sqlite.Database) -> None:
        with pytest.raises(sqlite.DatabaseError, match="database is locked"):
            await db.rows("SELECT * FROM t")

    database(act, tmp_path / "busy.db", busy_timeout=0.02)
    connection.close()


def test_a_hook_that_is_stopped_stops_its_statement(tmp_path: Path) -> None:
    """Or the next ones would wait for it."""
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"

    async def act(db: sqlite.Database) -> None:
        asked = asyncio.create_task(db.rows(endless), name="endless")
        behind = asyncio.create_task(db.rows("SELECT 2"), name="behind")
        await until(lambda: db._running is not None)
        asked.cancel()
        behind.cancel()
        await asyncio.wait([asked, behind])
        assert await db.rows("SELECT 3") == [(3,)]

    database(act, tmp_path / "new.db", writable=True)


def test_a_database_is_closed_with_the_policy_and_waited_for_in_plain_functions(tmp_path: Path) -> None:
    """It is opened at the first use."""
    text = f"""
from penstock.policy import sqlite
db = sqlite.Database({str(tmp_path / "new.db")!r}, writable=True)
def on_connect(session):
    session.meta["answer"], = wait(db.row("SELECT 42"))
"""
    loaded = load(tmp_path, text)

    async def run() -> None:
        async with running(loaded) as runner:
            assert loaded.module.db._connection is None
            of = session()
            assert (await ask(runner, "on_connect", of)).fault == ""
            assert of.meta == {"answer": 42}
            assert loaded.module.db._connection is not None
        assert loaded.module.db._connection is None

    asyncio.run(run())
    assert SCOPE.get() is None

    async def alone() -> int:
        return 5

    assert wait(alone()) == 5
