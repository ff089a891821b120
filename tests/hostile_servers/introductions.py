"""J: banner and EHLO; C3 and C4: STARTTLS."""

from __future__ import annotations

from penstock.mail.configuration import EnableTls
from penstock.sim.hostile import Act, Drip, Endless, Manners, Move, Script
from penstock.sim.hostile.peer import KEYWORDS
from tests.hostile_servers.cases import Case

HELD = ("HHH",)
ACCEPTED = ("AAA",)


def banner(
    name: str, *acts: str | Act, verdicts: tuple[str, ...] = HELD, needs_deadline: bool = False
) -> Case:
    """A case of what is said, or done, instead of a banner."""
    return Case(
        f"J-banner-{name}",
        {"banner": acts},
        verdicts,
        is_over=verdicts != ACCEPTED,
        needs_deadline=needs_deadline,
    )


BANNERS = [
    banner("none", needs_deadline=True),
    banner("dripping", Drip(b"2"), needs_deadline=True),
    banner("close", Move.CLOSE),
    banner("half-close", Move.END_OUTPUT),
    banner("reset", Move.RESET),
    banner("bogus", "bogus"),
    banner("four-digits", "2200 x"),
    banner("code-only", "220", verdicts=ACCEPTED),
    banner("multi-line", "220-d.example", "220 ESMTP", verdicts=ACCEPTED),
    banner("endless", Endless(b"220-x\r\n")),
    banner("endless-line", Endless(b"220 x")),
    banner("64-kb", b"220 " + b"x" * 65_536 + b"\r\n"),
    banner("8-bit", b"220 d\xff\xe9.example\r\n", verdicts=ACCEPTED),
    banner("nul", b"220 d\x00.example\r\n", verdicts=ACCEPTED),
    banner("lf-only", b"220 d.example\n"),
    banner("two", "220 a", "220 b"),
    banner("ehlo-answered-early", "220 a", "250-d", "250 PIPELINING"),
    banner("web-server", "HTTP/1.1 400 Bad Request", "Connection: close", ""),
    banner("binary", b"\x16\x03\x01\x00\x02\x02\x28", needs_deadline=True),
    banner("421", "421 4.3.2 busy", Move.CLOSE),
    banner("521", "521 5.3.2 no mail here"),
    banner("554", "554 5.7.1 not you"),
    banner("354", "354 go ahead"),
]


def ehlo(name: str, *acts: str | Act, verdicts: tuple[str, ...] = HELD, needs_deadline: bool = False) -> Case:
    """A case of what EHLO is answered with."""
    return Case(
        f"J-ehlo-{name}",
        {"EHLO": acts},
        verdicts,
        is_over=verdicts != ACCEPTED,
        needs_deadline=needs_deadline,
    )


def offered(name: str, *keywords: str, **fields: object) -> Case:
    """A case of what is offered."""
    made = Case(f"J-ehlo-{name}", {}, ACCEPTED, is_over=False, manners=Manners(keywords=keywords))
    return made if not fields else Case(**{**{f: getattr(made, f) for f in made.__struct_fields__}, **fields})


EHLOS = [
    ehlo("none", needs_deadline=True),
    ehlo("close", Move.CLOSE),
    ehlo("reset", Move.RESET),
    ehlo("other-codes", "250-a", "500 b"),
    ehlo("other-positive-codes", "250-a", "251 b"),
    ehlo("endless", Endless(b"250-x\r\n")),
    ehlo("10000-keywords", b"".join(b"250-X%d\r\n" % number for number in range(10_000)) + b"250 OK\r\n"),
    ehlo("not-finished", "250-a", "250-b", needs_deadline=True),
    ehlo("missing-separator", "250-a", "250PIPELINING", "250 OK"),
    ehlo("421", "421 4.3.2 busy", Move.CLOSE),
    ehlo("550", "550 5.7.1 no"),
    ehlo("220", "220 d.example once more"),
    ehlo("221", "221 bye"),
    ehlo("354", "354 go ahead"),
    ehlo("two-replies", "250 d", "250 e"),
    ehlo("helo-answered-early", "502 what", "250 d"),
    # whether the end is seen before MAIL is written is a matter of microseconds
    ehlo("250-then-close", "250 d.example", Move.CLOSE, verdicts=("HHH|DDD",)),
    ehlo("500", "500 5.5.2 unknown", verdicts=ACCEPTED),
    ehlo("502", "502 5.5.1 not implemented", verdicts=ACCEPTED),
    ehlo("504", "504 5.5.4 no parameter", verdicts=ACCEPTED),
    ehlo("name-only", "250 d.example", verdicts=ACCEPTED),
    ehlo("code-only", "250", verdicts=ACCEPTED),
    Case("J-helo-refused", {"EHLO": "502 what", "HELO": "550 no"}, HELD),
    offered("duplicate-keywords", "SIZE 10", "SIZE 1000000", "PIPELINING", "PIPELINING"),
    offered("size-garbage", "SIZE x", "PIPELINING"),
    offered("size-negative", "SIZE -1", "PIPELINING"),
    offered("size-unicode", "SIZE \u0661", "PIPELINING"),
    offered("size-enormous", "SIZE " + "9" * 400, "PIPELINING"),
    offered("old-auth", "AUTH=LOGIN PLAIN", "PIPELINING", never=("AUTH",)),
    offered("keyword-case", "pipelining", "SiZe 1000000"),
    offered("size-too-small", "SIZE 5", verdicts=("FFF",), never=("MAIL",)),
]

OFFERING = Manners(keywords=("STARTTLS", *KEYWORDS))
REQUIRED: dict[str, object] = {"enable_tls": EnableTls.REQUIRED_INSECURE}
OPPORTUNISTIC: dict[str, object] = {"enable_tls": EnableTls.OPPORTUNISTIC_INSECURE}


def starttls(
    name: str, script: Script, verdicts: tuple[str, ...] = HELD, *, needs_deadline: bool = False
) -> Case:
    """A case of STARTTLS, on a path that requires it: nothing may go in clear."""
    never = () if verdicts == ACCEPTED else ("clear MAIL",)
    return Case(
        name, script, verdicts, manners=OFFERING, path=REQUIRED, never=never, needs_deadline=needs_deadline, is_over=verdicts != ACCEPTED
    )  # fmt: skip


STARTTLS = [
    starttls("C3-injected", {"STARTTLS": ("220 go", b"250-evil\r\n250 AUTH PLAIN\r\n", Move.SECURE)}),
    starttls("C3-injected-octet", {"STARTTLS": ("220 go", b"2", Move.SECURE)}),
    starttls("C3-injected-before", {"tls EHLO": "250 d", "EHLO": ("250-d", "250 STARTTLS", "220 early")}),
    starttls("C3-multi-line", {"STARTTLS": ("220-multi", "220 go", Move.SECURE)}, ACCEPTED),
    Case(
        "C3-capabilities-forgotten", {}, ACCEPTED, is_over=False, path=REQUIRED,
        manners=Manners(keywords=("STARTTLS", *KEYWORDS), tls_keywords=()), never=("SIZE=",),
    ),
    starttls("C3-good", {}, ACCEPTED),
    starttls("C4-454", {"STARTTLS": "454 4.7.0 not now"}),
    starttls("C4-502", {"STARTTLS": "502 5.5.1 no"}),
    starttls("C4-421", {"STARTTLS": ("421 4.3.2 bye", Move.CLOSE)}),
    starttls("C4-250", {"STARTTLS": "250 ok"}),
    starttls("C4-close", {"STARTTLS": Move.CLOSE}),
    starttls("C4-reset", {"STARTTLS": ("220 go", Move.RESET)}),
    starttls("C4-plaintext", {"STARTTLS": "220 go", "handshake": "250 ok"}),
    starttls("C4-no-handshake", {"STARTTLS": "220 go"}, needs_deadline=True),
    starttls("C4-close-in-handshake", {"STARTTLS": "220 go", "handshake": Move.CLOSE}),
    starttls("C4-alert", {"STARTTLS": "220 go", "handshake": b"\x15\x03\x03\x00\x02\x02\x28"}),
    starttls("C4-endless-handshake", {"STARTTLS": "220 go", "handshake": Endless(b"\x16\x03\x03\x00\x00")}),
    starttls("C4-garbage-within", {"tls EHLO": "bogus"}),
    Case("C4-not-offered", {}, HELD, path=REQUIRED, never=("MAIL",)),
    Case(
        "C4-opportunistic-not-offered", {}, ACCEPTED, is_over=False, path=OPPORTUNISTIC,
    ),
    # in clear only where the path's option says so, and never on the same connection
    Case("C4-opportunistic-454", {"STARTTLS": "454 not now"}, ("HHH",), manners=OFFERING, path=OPPORTUNISTIC, on_sockets=("AAA",)),
    Case("C4-verified-self-signed", {}, HELD, manners=OFFERING, path={"enable_tls": EnableTls.OPPORTUNISTIC}, never=("MAIL",)),
    Case("C4-reset-within-data", {"tls body": Move.RESET}, ("UUU",), manners=OFFERING, path=REQUIRED),
    Case("C4-close-after-dot", {"tls .": Move.CLOSE}, ("UUU",), manners=OFFERING, path=REQUIRED),
    Case("C4-garbage-mail", {"tls MAIL": "oops"}, ("DDD",), manners=OFFERING, path=REQUIRED),
]  # fmt: skip

_LOGIN: dict[str, object] = {
    "smtp_auth_plain_username": "anna", "smtp_auth_plain_password": "secret", "allow_smtp_auth_plain_without_tls": True,
}  # fmt: skip
_AUTH_OFFERED = Manners(keywords=("AUTH PLAIN LOGIN", *KEYWORDS))


def auth(name: str, *acts: str | Act, verdicts: tuple[str, ...] = HELD, needs_deadline: bool = False) -> Case:
    """A case of what AUTH is answered with, on a path that has a name and a password: nothing goes without it."""
    never = () if verdicts == ACCEPTED else ("MAIL",)
    return Case(
        f"J-auth-{name}", {"AUTH": acts}, verdicts, manners=_AUTH_OFFERED, path=_LOGIN, never=never, needs_deadline=needs_deadline,
        is_over=verdicts != ACCEPTED,
    )  # fmt: skip


AUTH = [
    auth("good", "235 2.7.0 welcome", verdicts=ACCEPTED),
    auth("535", "535 5.7.8 no"),
    auth("454", "454 4.7.0 later"),
    auth("421", "421 4.3.2 bye", Move.CLOSE),
    auth("250", "250 ok but not 235"),
    auth("334", "334 more", needs_deadline=True),
    auth("endless-334", Endless(b"334 \r\n")),
    auth("garbage", "oops"),
    auth("two-replies", "235 a", "235 b"),
    auth("silence", needs_deadline=True),
    auth("close", Move.CLOSE),
    auth("repeats-secret", "535 AGFubmEAc2VjcmV0 is wrong"),
    Case("J-auth-not-offered", {}, HELD, path=_LOGIN, never=("AUTH", "MAIL")),
    Case(
        "J-auth-in-clear-only", {}, HELD, manners=_AUTH_OFFERED, never=("AUTH", "MAIL"),
        path={**_LOGIN, "allow_smtp_auth_plain_without_tls": False},
    ),
    Case(
        "J-auth-login", {"AUTH": "334 VXNlcm5hbWU6", "YW5UYQ==": "334 UGFzc3dvcmQ6", "C2VJCMV0": "235 ok"}, ACCEPTED, is_over=False,
        manners=Manners(keywords=("AUTH LOGIN",)), path=_LOGIN,
    ),
]  # fmt: skip
