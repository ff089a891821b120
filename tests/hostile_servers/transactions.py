"""J: reply syntax, the table of verdicts, pipelining, stray replies, LMTP, resources."""

from __future__ import annotations

from penstock.sim.hostile import Act, Drip, Endless, Manners, Move, Script
from tests.hostile_servers.cases import CHUNKING, Case, Where, both_ways

#: What is no reply, wherever it stands.
MALFORMED: dict[str, str | Act | tuple[str | Act, ...]] = {
    "two-digits": "25",
    "underscore": "250_x",
    "space-inside": "2 50",
    "arabic-digits": "\u0662\u0665\u0660 x",
    "999": "999 x",
    "1yz": "150 x",
    "no-text-no-code": "",
    "lf-only": b"250 ok\n",
    "cr-only": b"250 ok\r",
    "cr-inside": b"250 o\rk\r\n",
    "missing-separator": ("250-a", "b", "250 c"),
    "other-code": ("250-a", "251 b"),
    "1-mb-line": b"250 " + b"x" * 1_000_000 + b"\r\n",
    "endless-line": Endless(b"250 x"),
    "endless-lines": Endless(b"250-x\r\n"),
    "nul-only": b"\x00\x00\r\n",
    "221": "221 2.0.0 bye",
    "220": "220 hello",
}
#: Moment -> the verdict if what stands there is no answer to it.
UNANSWERED = {"MAIL": "DDD", "RCPT 2": "DDD", "DATA": "DDD", ".": "UUU"}


def named(moment: str) -> str:
    """A moment as it stands in a code."""
    return {".": "dot"}.get(moment, moment.lower().replace(" ", "-"))


SYNTAX = [
    Case(
        f"J-reply-{name}-at-{named(moment)}", {moment: acts}, (verdict,),
        # a line that is not ended is waited for, no longer than for any reply
        needs_deadline=name == "cr-only",
    )
    for name, acts in MALFORMED.items()
    for moment, verdict in UNANSWERED.items()
] + [
    Case(f"J-reply-354-at-{named(moment)}", {moment: "354 go"}, (UNANSWERED[moment],))
    for moment in ("MAIL", "RCPT 2", ".")
] + [
    Case("J-reply-250-at-data", {"DATA": "250 ok"}, ("DDD",)),
    Case("J-reply-code-only", {"MAIL": "250", "RCPT": "250", "DATA": "354", ".": "250"}, ("AAA",), is_over=False),
    Case("J-reply-enhanced-5yz-in-250", {"RCPT 2": "250 5.1.1 ok", ".": "250 4.0.0 ok"}, ("AAA",), is_over=False),
    Case("J-reply-enhanced-2yz-in-550", {"RCPT 2": "550 2.1.5 no"}, ("AFA",), is_over=False),
    Case("J-reply-nul-inside", {"RCPT 2": b"550 n\x00o\r\n"}, ("AFA",), is_over=False),
    Case("J-reply-8-bit", {"RCPT 2": b"550 n\xff\xe9\r\n"}, ("AFA",), is_over=False),
    Case("J-reply-terminal", {"RCPT 2": b'550 \x1b[31m%s {"a": "\x07"} \xe2\x80\xa8\r\n'}, ("AFA",), is_over=False),
    Case("J-reply-10-kb", {"RCPT 2": tuple(["550-" + "long " * 90] * 22 + ["550 end"])}, ("AFA",), is_over=False),
]  # fmt: skip

ENDINGS: dict[str, str | Act | tuple[str | Act, ...]] = {
    "451": "451 4.3.0 later",
    "550": "550 5.7.1 no",
    "421": ("421 4.3.2 bye", Move.CLOSE),
    "421-open": "421 4.3.2 bye",
    "close": Move.CLOSE,
    "half-close": Move.END_OUTPUT,
    "reset": Move.RESET,
    "silence": (),
}
#: Moment -> ending -> verdict. A session goes on behind 451 and 550 only.
_LOST = dict.fromkeys(("421", "421-open", "close", "half-close", "reset", "silence"), "DDD")
_UNKNOWN = dict.fromkeys(("close", "half-close", "reset", "silence"), "UUU")
VERDICTS: dict[str, dict[str, str]] = {
    "MAIL": {"451": "DDD", "550": "FFF", **_LOST},
    "RCPT 2": {"451": "ADA", "550": "AFA", **_LOST},
    "DATA": {"451": "DDD", "550": "FFF", **_LOST},
    "body": {"451": "DDD", "550": "FFF", **_LOST, **_UNKNOWN},
    ".": {"451": "DDD", "550": "FFF", **_LOST, **_UNKNOWN},
    "QUIT": dict.fromkeys(ENDINGS, "AAA"),
}


def _script(moment: str, ending: str) -> Script:
    acts = ENDINGS[ending]
    # one answer to mail data is enough, wherever it comes
    return {moment: acts, ".": ()} if moment == "body" else {moment: acts}


VERDICT_TABLE = [
    case
    for moment, endings in VERDICTS.items()
    for ending, verdict in endings.items()
    for case in both_ways(
        Case(
            f"J-verdict-{ending}-at-{named(moment)}", _script(moment, ending), (verdict,),
            is_over=moment != "QUIT" and ending not in ("451", "550"), needs_deadline=ending == "silence" or moment == "QUIT",
            path={"idle_timeout": 0.1} if moment == "QUIT" else {},
        )
    )
] + [
    Case("J-verdict-552-at-rcpt", {"RCPT 2": "552 5.3.4 too many"}, ("ADA",), is_over=False),
    Case("J-verdict-503-at-mail", {"MAIL": "503 5.5.1 what"}, ("DDD",), is_over=False),
    Case("J-verdict-550-then-close-at-mail", {"MAIL": ("550 5.7.1 no", Move.CLOSE)}, ("FFF",)),
    Case("J-verdict-550-then-close-at-rcpt", {"RCPT 2": ("550 5.1.1 no", Move.CLOSE)}, ("DFD",)),
    Case("J-verdict-550-then-close-at-dot", {".": ("550 5.7.1 no", Move.CLOSE)}, ("FFF",)),
    Case("J-verdict-changed-mind", {".": ("250 ok", "550 5.7.1 no")}, ("AAA",)),
    Case("J-verdict-garbage-behind-250", {".": ("250 ok", "oops")}, ("AAA",)),
    *both_ways(Case("J-verdict-all-refused", {"RCPT": "550 5.1.1 no", "DATA": "554 5.5.1 nobody"}, ("FFF",), is_over=False)),
    *both_ways(
        Case(
            "J-verdict-each-its-own", {"RCPT 1": "450 a", "RCPT 2": "550 b", "RCPT 3": "250 c", ".": "250 d"}, ("DFA",), is_over=False
        )
    ),
]  # fmt: skip

PIPELINING = [
    Case("J-pipelining-fewer-replies", {"RCPT 3": ()}, ("DDD",)),
    Case("J-pipelining-no-reply-to-data", {"DATA": ()}, ("DDD",), needs_deadline=True),
    Case("J-pipelining-one-more-reply", {"RCPT 1": ("250 a", "250 b")}, ("DDD",)),
    Case("J-pipelining-one-more-refusal", {"RCPT 1": ("550 5.1.1 a", "250 b")}, ("FDD|DDD",)),
    Case("J-pipelining-garbage-at-mail", {"MAIL": ("oops", "250 a")}, ("DDD",)),
    Case(
        "J-pipelining-garbage-shifts",
        {".": ("oops", "250 taken"), "QUIT": "221 bye"},
        ("UUU",),
        never=("QUIT",),
    ),
    Case("J-pipelining-354-to-nobody", {"RCPT": "550 5.1.1 no"}, ("FFF",), is_over=False),
    Case("J-pipelining-mail-refused-rest-accepted", {"MAIL": "550 5.7.1 no"}, ("FFF",), is_over=False),
    Case("J-pipelining-mail-deferred-rest-accepted", {"MAIL": "451 4.7.1 no"}, ("DDD",), is_over=False),
    Case("J-pipelining-dot-answered-early", {"DATA": ("354 go", "250 taken")}, ("DDD",)),
    Case("J-pipelining-all-answered-early", {"MAIL": ("250 a",) * 4 + ("354 b", "250 c")}, ("DDD",)),
    Case("J-pipelining-deaf-and-loud", {"MAIL": (Move.DEAF, Endless(b"250 x\r\n"))}, ("DDD",)),
]

STRAY = [
    Case("J-stray-250-behind-250", {".": ("250 ok", "250 stray")}, ("AAA",)),
    Case("J-stray-lmtp-replies", {".": ("250 one", "250 two", "450 three")}, ("AAA",)),
    Case("J-stray-250-in-second", {"MAIL 2": ("250 a", "250 stray")}, ("AAA", "DDD")),
    Case("J-stray-two-in-second", {"MAIL 2": ("250 a", "250 b", "250 c")}, ("AAA", "DDD")),
    Case("J-stray-close-behind-250", {".": ("250 ok", Move.CLOSE)}, ("AAA", "HHH"), on_sockets=("AAA", "AAA")),
    Case("J-stray-421-behind-250", {".": ("250 ok", "421 idle", Move.CLOSE)}, ("AAA", "HHH"), on_sockets=("AAA", "AAA")),
    Case("J-stray-close-at-second-mail", {"MAIL 2": Move.CLOSE}, ("AAA", "NNN"), on_sockets=("AAA", "AAA")),
    Case("J-stray-silence-at-second-mail", {"MAIL 2": ()}, ("AAA", "DDD"), needs_deadline=True),
    Case(
        "J-stray-rset-refused", {"RCPT": "550 5.1.1 no", "DATA": "554 5.5.1 no", "RSET": "500 what"}, ("FFF", "NNN"), on_sockets=("FFF", "FFF")
    ),
    Case("J-stray-second-accepted", {}, ("AAA", "AAA"), is_over=False),
    Case("J-stray-second-after-refusal", {"RCPT 2": "550 5.1.1 no"}, ("AFA", "AAA"), is_over=False),
]  # fmt: skip

_LMTP = Manners(is_lmtp=True)
_USE_LMTP: dict[str, object] = {"use_lmtp": True}
LMTP = [
    Case(f"J-lmtp-{name}", script, (verdict,), is_over=is_over, manners=_LMTP, path=_USE_LMTP, needs_deadline=needs_deadline)
    for name, script, verdict, is_over, needs_deadline in (
        ("good", {}, "AAA", False, False),
        ("each-its-own", {".": ("250 a", "451 b", "550 c")}, "ADF", False, False),
        ("refused-at-rcpt", {"RCPT 2": "550 no"}, "AFA", False, False),
        ("one-reply", {".": "250 a"}, "AUU", True, True),
        ("two-replies-then-close", {".": ("250 a", "550 b", Move.CLOSE)}, "AFU", True, False),
        ("one-more-reply", {".": ("250 a", "250 b", "250 c", "250 d")}, "AAA", True, False),
        ("garbage-between", {".": ("250 a", "oops", "250 c")}, "AUU", True, False),
        ("no-lhlo", {"LHLO": "500 what"}, "HHH", True, False),
        ("421-at-second", {".": ("250 a", "421 b", Move.CLOSE)}, "ADU", True, False),
    )
]  # fmt: skip

_CHUNKING = Manners(keywords=CHUNKING)
BDAT = [
    Case(f"J-bdat-{name}", script, (verdict,), is_over=is_over, manners=_CHUNKING, needs_deadline=needs_deadline)
    for name, script, verdict, is_over, needs_deadline in (
        ("good", {}, "AAA", False, False),
        ("451", {".": "451 4.3.0 later"}, "DDD", False, False),
        ("554", {".": "554 5.6.0 no"}, "FFF", False, False),
        ("close", {".": Move.CLOSE}, "UUU", True, False),
        ("silence", {".": ()}, "UUU", True, True),
        ("354", {".": "354 go"}, "UUU", True, False),
        ("221", {".": "221 bye"}, "UUU", True, False),
        ("garbage", {".": ("oops", "250 ok")}, "UUU", True, False),
        ("some-refused", {"RCPT 2": "550 5.1.1 no"}, "AFA", False, False),
        ("all-refused", {"RCPT": "550 5.1.1 no"}, "FFF", False, False),
        ("not-known-after-all", {".": "502 what"}, "DDD", True, False),
    )
]  # fmt: skip

#: Octets of mail data that no socket's buffers hold.
LARGE_LINE = b"0123456789abcdef" * 60 + b"\r\n"
LARGE = b"Subject: large\r\n\r\n"
RESOURCES = [
    *[
        Case(f"J-resources-drip-at-{named(moment)}", {moment: Drip(b"250-x\r\n", 0.002)}, (UNANSWERED[moment],), needs_deadline=True)
        for moment in UNANSWERED
    ],
    Case(
        "J-resources-zero-window", {"DATA": ("354 go", Move.DEAF)}, ("DDD|UUU",), needs_deadline=True,
        manners=Manners(keywords=("PIPELINING", "8BITMIME", "SIZE 100000000")), content=LARGE + LARGE_LINE * 10_000, where=Where.SOCKETS,
    ),
    Case(
        "J-resources-zero-window-50-mb", {"DATA": ("354 go", Move.DEAF)}, ("DDD|UUU",), needs_deadline=True,
        manners=Manners(keywords=("PIPELINING", "8BITMIME", "SIZE 100000000")), content=LARGE + LARGE_LINE * 52_000, where=Where.SOCKETS,
        is_large=True,
    ),
    Case("J-resources-drip-at-quit", {"QUIT": Drip(b"2")}, ("AAA",), is_over=False, needs_deadline=True, path={"idle_timeout": 0.1}),
]  # fmt: skip
