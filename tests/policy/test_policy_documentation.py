"""``docs/policy.md`` says what is there, and every example in it is a policy that does what its heading says."""

from __future__ import annotations

import asyncio
import re
import types
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import apsw
import dns.message
import dns.rcode
import pytest
from aiohttp import web

from penstock import policy
from penstock.mail.reply import reply
from penstock.policy import (
    Credentials,
    Extensions,
    Granted,
    PolicyRunner,
    Recipient,
    Session,
    SessionFacts,
    Verdict,
)
from penstock.policy import dns as policy_dns
from penstock.policy.hooks import HOOKS, KINDS
from tests.net.nameserver import answer, nameserver, question
from tests.policy.world import CONTENT, ask, forget_policies, message, running, session, transaction

PAGE = (Path(__file__).parents[2] / "docs" / "policy.md").read_text()
Scenario = Callable[[policy.Policy, PolicyRunner, Path], Awaitable[None]]
SCENARIOS: dict[str, Scenario] = {}


def examples() -> dict[str, str]:
    """The examples of the page by their headings."""
    chapter = PAGE.partition("\n## Examples\n")[2]
    found = {}
    for part in re.split(r"^### ", chapter, flags=re.MULTILINE)[1:]:
        (code,) = re.findall(r"^```python\n(.*?)^```$", part, flags=re.MULTILINE | re.DOTALL)
        found[part.partition("\n")[0]] = code
    return found


def example(heading: str) -> Callable[[Scenario], Scenario]:
    """Says which example a scenario is of."""

    def note(scenario: Scenario) -> Scenario:
        SCENARIOS[heading] = scenario
        return scenario

    return note


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Leave no policy registered behind, and no nameserver."""
    yield
    forget_policies()
    policy_dns.use_nameservers(())


@pytest.mark.parametrize("heading", examples())
def test_an_example_does_what_it_says(tmp_path: Path, heading: str) -> None:
    """The block of the page as it is, but for the places of files."""
    path = tmp_path / "policy.py"
    path.write_text(examples()[heading].replace("/var/lib/penstock", str(tmp_path)))
    loaded = policy.load(path)

    async def run() -> None:
        async with running(loaded) as runner:
            await SCENARIOS[heading](loaded, runner, tmp_path)

    asyncio.run(run())


def test_there_is_a_dozen_examples_and_a_scenario_for_each() -> None:
    """And no scenario for what is no longer there."""
    assert set(SCENARIOS) == set(examples())
    assert len(SCENARIOS) >= 12


def test_every_hook_and_every_public_name_is_described() -> None:
    """With the parameters that it is given."""
    for kind in KINDS:
        assert f"| `{kind.name}({', '.join(kind.parameters)})` |" in PAGE
    for name in (*HOOKS, *policy.__all__):
        if name not in (
            "Asking",
            "Decision",
            "Policy",
            "PolicyRunner",
            "Verdict",
            "checked_reply",
            "load",
        ):
            assert re.search(rf"\b{name}\b", PAGE), name


def test_every_attribute_of_what_hooks_are_given_is_described() -> None:
    """Public ones, but for what is the server's."""
    ours = {"facts", "overrides", "accept", "decision", "given", "dsn", "count", "index"}
    for kind in (
        policy.Session,
        policy.Transaction,
        policy.Recipient,
        policy.Message,
        policy.Part,
        policy.Extensions,
    ):
        for name in dir(kind):
            if not name.startswith("_") and name not in ours:
                assert re.search(rf"\b{name}\b", PAGE), f"{kind.__name__}.{name}"


def test_every_event_of_others_has_a_row() -> None:
    """KumoMTA's names, whether or not there is something like them."""
    for name in (
        "smtp_server_connection_accepted", "smtp_server_get_dynamic_parameters", "smtp_server_ehlo", "smtp_server_auth_plain",
        "smtp_server_mail_from", "get_listener_domain", "smtp_server_rcpt_to", "smtp_server_data", "smtp_server_split_transaction",
        "smtp_server_message_received", "smtp_server_message_deferred_inject", "smtp_server_rewrite_response", "get_queue_config",
    ):  # fmt: skip
        assert f"| `{name}`" in PAGE


def test_the_command_that_makes_a_hash_makes_that_of_the_example(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the password that the page tells."""
    (program,) = re.findall(r"^python3 -c '(.*)'$", PAGE, flags=re.MULTILINE)
    monkeypatch.setattr("getpass.getpass", lambda: "correct horse")
    exec(program, {})
    assert f'"{capsys.readouterr().out.strip()}"' in examples()["Tenant by login"]


def refusal(verdict: Verdict) -> str:
    """A refusal as one line, "" for none."""
    assert not verdict.fault, verdict.fault
    return str(verdict.refusal or "")


# -- one scenario for each example


@example("Tenant by login")
async def _(loaded: policy.Policy, runner: PolicyRunner, folder: Path) -> None:
    for name, password, value in (
        ("joe@acme.example", "correct horse", Granted(tenant="acme")),
        ("joe@acme.example", "wrong", False),
        ("jim@acme.example", "correct horse", False),
        ("", "", False),
    ):
        verdict = await ask(runner, "on_auth", session(), Credentials("PLAIN", name, password))
        assert verdict == Verdict(value)


@example("Tenant by header")
async def _(loaded: policy.Policy, runner: PolicyRunner, folder: Path) -> None:
    def given(fields: bytes, *, may_relay: bool = True, tenant: str | None = None) -> policy.Message:
        of = session()
        of.may_relay, of.tenant = may_relay, tenant
        return message(fields + CONTENT, transaction(of))

    good = given(b"X-CUSTOMER: acme\r\n")
    assert refusal(await ask(runner, "on_message", good)) == ""
    assert good.decision().tenant == "acme"
    assert good.decision().content == CONTENT
    known = given(b"X-Customer: other\r\n", tenant="acme")
    assert refusal(await ask(runner, "on_message", known)) == ""
    assert known.decision().tenant == "acme"
    assert known.decision().content == CONTENT
    for bad in (
        given(b"X-Customer: acme\r\nX-Customer: other\r\n"),
        given(b"X-Customer: acme\r\n", may_relay=False),
    ):
        assert refusal(await ask(runner, "on_message", bad)).startswith("550 5.7.1")
    nonsense = given(b"X-Customer: a b\r\n")
    assert "a tenant is None, or 1 to 128" in (await ask(runner, "on_message", nonsense)).fault


@example("Tenant by sender domain")
async def _(loaded: policy.Policy, runner: PolicyRunner, folder: Path) -> None:
    failed = await ask(runner, "on_mail", session(), transaction())
    assert "DatabaseError: tenants.db: unable to open database file" in failed.fault
    with apsw.Connection(str(folder / "tenants.db")) as connection:
        connection.execute("CREATE TABLE domains (name, tenant)")
        connection.execute("INSERT INTO domains VALUES ('send.example', 'acme')")
    known = transaction(sender="a@SEND.example")
    assert refusal(await ask(runner, "on_mail", session(), known)) == ""
    assert known.tenant == "acme"
    other = transaction(sender="a@other.example")
    assert (
        refusal(await ask(runner, "on_mail", session(), other)) == "553 5.7.1 this sender domain is not ours"
    )
    assert refusal(await ask(runner, "on_mail", session(), transaction(sender=""))) == ""


@example("DNS lists")
async def _(loaded: policy.Policy, runner: PolicyRunner, folder: Path) -> None:
    asked: list[str] = []

    def script(query: dns.message.Message, is_tcp: bool) -> list[bytes]:
        name = question(query)[1]
        asked.append(name)
        if name.startswith("2.2.0.192.zen"):
            return [answer(query, f"{name} 300 IN A 127.0.0.4")]
        if name.startswith("3.2.0.192"):
            return [answer(query, rcode=dns.rcode.SERVFAIL)]
        return [answer(query, rcode=dns.rcode.NXDOMAIN)]

    async with nameserver(script) as endpoint:
        policy_dns.use_nameservers([endpoint])
        verdict = await ask(runner, "on_connect", session("192.0.2.2"))
        assert refusal(verdict) == "554 5.7.1 192.0.2.2 is listed by zen.dnsbl.example"
        assert verdict.is_final
        for _ in range(2):
            assert refusal(await ask(runner, "on_connect", session("192.0.2.1"))) == ""
        assert refusal(await ask(runner, "on_connect", session("192.0.2.3"))) == ""
        assert asked.count("1.2.0.192.bl.dnsbl.example.") == 1


@example("Greylisting")
async def _(loaded: policy.Policy, runner: PolicyRunner, folder: Path) -> None:
    now = 1_700_000_000.0
    loaded.module.__dict__["time"] = types.SimpleNamespace(time=lambda: now)
    known = session(authentication_id="joe")

    async def rcpt(of: Session, to: str) -> str:
        given = transaction(of)
        return refusal(await ask(runner, "on_rcpt", of, given, Recipient(to)))

    assert await rcpt(known, "b@dest.example") == ""
    assert await rcpt(session(), "b@dest.example") == "451 4.7.1 greylisted; try again in five minutes"
    now += 299
    assert (await rcpt(session(), "b@dest.example")).startswith("451")
    now += 1
    assert await rcpt(session(), "b@dest.example") == ""
    assert (await rcpt(session(), "c@dest.example")).startswith("451")
    assert (await rcpt(session("192.0.2.2"), "b@dest.example")).startswith("451")


@example("A banner for each brand")
async def _(loaded: policy.Policy, runner: PolicyRunner, folder: Path) -> None:
    applied: list[object] = []
    branded = Session(SessionFacts(local_address="192.0.2.11"), override=applied.append)
    assert refusal(await ask(runner, "on_connect", branded)) == ""
    assert applied == [{"banner": "Umbrella Post"}]
    assert branded.meta == {"brand": "Umbrella Post"}
    plain = session()
    assert refusal(await ask(runner, "on_connect", plain)) == ""
    assert plain.overrides == {}


@example("No internal fields outside")
async def _(loaded: policy.Policy, runner: PolicyRunner, folder: Path) -> None:
    fields = b"X-Internal-Id: 5\r\nx-internal-b: a\r\n folded\r\nUser-Agent : mutt\r\nX-Originating-IP: [10.0.0.1]\r\n"
    given = message(fields + CONTENT)
    assert refusal(await ask(runner, "on_message", given)) == ""
    assert given.decision().content == CONTENT


@example("Feedback-ID and List-Unsubscribe")
async def _(loaded: policy.Policy, runner: PolicyRunner, folder: Path) -> None:
    of = transaction()
    of.tenant = "acme"
    given = message(b"X-Campaign: spring\r\n" + CONTENT, of)
    assert refusal(await ask(runner, "on_message", given)) == ""
    decision = given.decision()
    assert decision.campaign == "spring"
    assert decision.content == CONTENT.replace(
        b"\r\n\r\n",
        b"\r\nFeedback-ID: spring:acme:penstock\r\n"
        b"List-Unsubscribe: <https://unsubscribe.example.com/?to=b@dest.example>\r\n"
        b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\r\n",
    )


@example("No programs attached")
async def _(loaded: policy.Policy, runner: PolicyRunner, folder: Path) -> None:
    def mail(disposition: bytes, content_type: bytes = b"application/octet-stream") -> bytes:
        part = (
            b"--b\r\nContent-Type: "
            + content_type
            + b"\r\nContent-Disposition: "
            + disposition
            + b"\r\n\r\nx\r\n--b--\r\n"
        )
        return b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n' + part

    assert refusal(await ask(runner, "on_message", message(mail(b"attachment; filename=a.pdf")))) == ""
    for disposition in (
        b"attachment; filename=a.EXE",
        b'attachment; filename="a.exe. "',
        b"attachment; filename*=utf-8''a%2Eexe",
        b"attachment; filename*0=a.e; filename*1=xe",
        b'attachment; filename="=?utf-8?q?a=2Eexe?="',
        b"attachment; filename=a.pdf\r\nContent-Disposition: attachment; filename=a.exe",
    ):
        assert refusal(await ask(runner, "on_message", message(mail(disposition)))).startswith("552 5.7.0"), (
            disposition
        )
    named = mail(b"inline", b"application/x; name=a.exe")
    assert refusal(await ask(runner, "on_message", message(named))).startswith("552 5.7.0")
    inside = b"Content-Type: message/rfc822\r\n\r\n" + mail(b"attachment; filename=a.exe")
    assert refusal(await ask(runner, "on_message", message(inside))).startswith("552 5.7.0")


@example("Plus addressing")
async def _(loaded: policy.Policy, runner: PolicyRunner, folder: Path) -> None:
    for given, becomes in (
        ("joe+shop@example.com", "joe@example.com"),
        ("joe@example.com", "joe@example.com"),
        ("joe+shop@other.example", "joe+shop@other.example"),
        ("+shop@example.com", "+shop@example.com"),
    ):
        recipient = Recipient(given)
        of = transaction()
        assert refusal(await ask(runner, "on_rcpt", session(), of, recipient)) == ""
        assert str(recipient.address) == becomes
        assert str(recipient.given) == given
        assert of.meta == ({"tag": "shop"} if given != becomes else {})


@example("A sandbox")
async def _(loaded: policy.Policy, runner: PolicyRunner, folder: Path) -> None:
    of = transaction(None, "a@send.example", "b@dest.example", "c@dest.example")
    of.tenant = "staging"
    given = message(CONTENT, of)
    assert refusal(await ask(runner, "on_message", given)) == ""
    decision = given.decision()
    assert [str(address) for address, _ in decision.recipients] == ["sandbox@example.com"]
    assert decision.reverse_path is None
    assert b"X-Was-To: b@dest.example\r\nX-Was-To: c@dest.example\r\n\r\nbody" in decision.content
    untouched = message()
    assert refusal(await ask(runner, "on_message", untouched)) == ""
    assert untouched.decision().content is CONTENT


@example("Asking a service")
async def _(loaded: policy.Policy, runner: PolicyRunner, folder: Path) -> None:
    asked: list[str] = []

    async def status(request: web.Request) -> web.Response:
        asked.append(request.query["tenant"])
        return web.json_response({"suspended": request.query["tenant"] == "umbrella", "plan": "gold"})

    application = web.Application()
    application.router.add_get("/status", status)
    serving = web.AppRunner(application)
    await serving.setup()
    site = web.TCPSite(serving, "127.0.0.1", 0)
    await site.start()
    port = serving.addresses[0][1]
    http = loaded.module.http
    loaded.module.__dict__["http"] = types.SimpleNamespace(
        HttpError=http.HttpError,
        get=lambda url, **named: http.get(
            url.replace("https://accounts.example.com", f"http://127.0.0.1:{port}"), **named
        ),
    )
    try:
        of = session()
        of.tenant = "acme"
        for _ in range(2):
            given = transaction(of)
            assert refusal(await ask(runner, "on_mail", of, given)) == ""
            assert given.meta == {"plan": "gold"}
        of.tenant = "umbrella"
        assert (
            refusal(await ask(runner, "on_mail", of, transaction(of)))
            == "450 4.7.1 this account is suspended"
        )
        assert asked == ["acme", "umbrella"]
    finally:
        await serving.cleanup()
    of.tenant = "third"
    verdict = await ask(runner, "on_mail", of, transaction(of))
    assert verdict.refusal == reply(451, "4.3.0", "policy error; try again later")
    assert "HttpError: 127.0.0.1: ClientConnectorError" in verdict.fault


@example("Clients that lie about their name")
async def _(loaded: policy.Policy, runner: PolicyRunner, folder: Path) -> None:
    async def ehlo(name: str, offered: Extensions | None = None) -> str:
        of = session(ehlo_name=name, is_extended=True)
        return refusal(await ask(runner, "on_ehlo", of, Extensions() if offered is None else offered))

    assert await ehlo("client.example") == ""
    assert (await ehlo("MTA1.example.com")).startswith("554 5.7.1")
    for name in ("localhost", "LOCALHOST", "pc.local", "192.0.2.1"):
        assert (await ehlo(name)).startswith("550 5.7.1"), name
    offered = Extensions(["PIPELINING", "chunking"])
    assert await ehlo("x.old-appliance.example", offered) == ""
    assert list(offered) == ["PIPELINING"]


@example("Other words")
async def _(loaded: policy.Policy, runner: PolicyRunner, folder: Path) -> None:
    changed = await ask(runner, "on_reply", session(), reply(550, "5.1.1", "no such user"))
    assert changed.value == reply(550, "5.1.1", "no such user; see https://postmaster.example.com/")
    for kept in (reply(250, "2.0.0", "OK"), reply(421, "4.3.2", "shutting down"), reply(354, None, "go")):
        assert await ask(runner, "on_reply", session(), kept) == Verdict()


@example("Sender domains of a tenant")
async def _(loaded: policy.Policy, runner: PolicyRunner, folder: Path) -> None:
    async def said(fields: bytes) -> str:
        of = transaction()
        of.tenant = "acme"
        return refusal(await ask(runner, "on_message", message(fields + b"\r\nbody\r\n", of)))

    assert await said(b"From: Joe <joe@acme.example>\r\n") == ""
    assert await said(b"From: =?utf-8?q?J=C3=B6?= <joe@NEWS.acme.example>\r\n") == ""
    for fields in (
        b"From: a@theirs.example\r\n",
        b"From: a@acme.example, b@theirs.example\r\n",
        b"From: a@acme.example\r\nFrom: b@theirs.example\r\n",
        b"From: a@acme.example\r\nfrom : b@theirs.example\r\n",
        b"From: =?utf-8?b?PGJAdGhlaXJzLmV4YW1wbGU+?= <a@acme.example>\r\n",
        b" From: a@acme.example\r\nFrom: a@acme.example\r\n",
        b"From: group: a@theirs.example;\r\n",
        b"Subject: none\r\n",
    ):
        assert await said(fields), fields
