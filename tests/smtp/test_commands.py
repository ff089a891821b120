"""Command lines: paths, parameters and names as the grammar has them, and refusals that repeat nothing of what came."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.mail.address import Address
from penstock.mail.reply import Reply
from penstock.smtp import extension
from penstock.smtp.chunk import parse_bdat
from penstock.smtp.command import (
    ERROR_LIMIT,
    MailCommand,
    Refusal,
    check_vrfy,
    parse_hello,
    parse_line,
    parse_mail,
    parse_rcpt,
)
from penstock.smtp.phase import Verb

A_B = Address("a", "b")
ALL = frozenset(extension.ORDER)


def mail(argument: bytes, *, is_extended: bool = True) -> MailCommand | Reply:
    """What MAIL with this argument is, or the refusal."""
    try:
        return parse_mail(argument, ALL if is_extended else frozenset())
    except Refusal as refusal:
        return refusal.reply


def rcpt(argument: bytes, *, smtputf8: bool = False) -> Address | Reply:
    """What RCPT with this argument is, or the refusal."""
    try:
        return parse_rcpt(argument, ALL, smtputf8=smtputf8, hostname="mta.example").forward_path
    except Refusal as refusal:
        return refusal.reply


def code(answer: object) -> str:
    """``501 5.1.7`` of a refusal, ``accepted`` otherwise."""
    return f"{answer.code} {answer.enhanced}" if isinstance(answer, Reply) else "accepted"


@pytest.mark.parametrize(
    ("argument", "command"),
    [
        (b"FROM:<a@b>", MailCommand(A_B)),
        (b"FROM:<>", MailCommand(None)),
        (b"from:<a@b>", MailCommand(A_B)),
        (b"FROM: <a@b>", MailCommand(A_B)),
        (b"FROM:<a@b> SIZE=0", MailCommand(A_B)),
        (b"FROM:<a@b> size=12", MailCommand(A_B, 12)),
        (b"FROM:<a@b> SIZE=00000000000000000012", MailCommand(A_B, 12)),
        (b"FROM:<a@b>  SIZE=12   BODY=7BIT", MailCommand(A_B, 12)),
        (b"FROM:<a@b> BODY=8BITMIME", MailCommand(A_B, eight_bit=True)),
        (b"FROM:<a@b> body=8bitmime", MailCommand(A_B, eight_bit=True)),
        (b"FROM:<a@b> SMTPUTF8", MailCommand(A_B, smtputf8=True)),
        (b"FROM:<> SMTPUTF8", MailCommand(None, smtputf8=True)),
        ("FROM:<é@b> SMTPUTF8 SIZE=3".encode(), MailCommand(Address("é", "b"), 3, smtputf8=True)),
        (b'FROM:<"a b"@c>', MailCommand(Address('"a b"', "c"))),
        (b'FROM:<"a> SIZE=1"@c> SIZE=2', MailCommand(Address('"a> SIZE=1"', "c"), 2)),
        (b'FROM:<"a\\"b"@c>', MailCommand(Address('"a\\"b"', "c"))),
    ],
)
def test_mail_takes_a_reverse_path_and_parameters(argument: bytes, command: MailCommand) -> None:
    """RFC 5321 4.1.1.2, RFC 1870, RFC 6152, RFC 6531; keywords in any case, quoted strings hold brackets."""
    assert mail(argument) == command


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (b"", "501 5.5.4"),
        (b"FROM:", "501 5.5.4"),
        (b"FROM", "501 5.5.4"),
        (b"FROM:a@b", "501 5.5.4"),
        (b"FROM:<a@b", "501 5.5.4"),
        (b"FROM:a@b>", "501 5.5.4"),
        (b"FROM:<<a@b>>", "501 5.5.4"),
        (b"FROM:<a@b>junk", "501 5.5.4"),
        (b"FROM:<a@b>SIZE=1", "501 5.5.4"),
        (b"FROM:  <a@b>", "501 5.5.4"),
        (b"FROM :<a@b>", "501 5.5.4"),
        (b"TO:<a@b>", "501 5.5.4"),
        (b'FROM:<"">@c>', "501 5.5.4"),
        (b'FROM:<"a@c>', "501 5.5.4"),
        (b"FROM:<a..b@c>", "501 5.1.7"),
        (b"FROM:<a@-b>", "501 5.1.7"),
        (b"FROM:<a@b c>", "501 5.1.7"),
        (b"FROM:< >", "501 5.1.7"),
        (b"FROM:<a>", "501 5.1.7"),
        (b"FROM:<@x,@y:a@b>", "501 5.1.7"),
        ("FROM:<é@b>".encode(), "553 5.6.7"),
        ("FROM:<a@é>".encode(), "553 5.6.7"),
        (b"FROM:<\xff@b>", "553 5.6.7"),
        (b"FROM:<\xff@b> SMTPUTF8", "501 5.1.7"),
        (b"FROM:<\xc0\xaf@b> SMTPUTF8", "501 5.1.7"),
        (b"FROM:<\xed\xa0\x80@b> SMTPUTF8", "501 5.1.7"),
        (b"FROM:<a@b> SIZE", "501 5.5.4"),
        (b"FROM:<a@b> SIZE=", "501 5.5.4"),
        (b"FROM:<a@b> SIZE=-1", "501 5.5.4"),
        (b"FROM:<a@b> SIZE=+1", "501 5.5.4"),
        (b"FROM:<a@b> SIZE=1_0", "501 5.5.4"),
        (b"FROM:<a@b> SIZE=0x10", "501 5.5.4"),
        (b"FROM:<a@b> SIZE=1.0", "501 5.5.4"),
        ("FROM:<a@b> SIZE=٣".encode(), "501 5.5.4"),
        ("FROM:<a@b> SIZE=１０".encode(), "501 5.5.4"),
        (b"FROM:<a@b> SIZE=" + b"9" * 21, "501 5.5.4"),
        (b"FROM:<a@b> SIZE=" + b"9" * 400, "501 5.5.4"),
        (b"FROM:<a@b> SIZE=1 SIZE=1", "501 5.5.4"),
        (b"FROM:<a@b> SIZE=1 size=2", "501 5.5.4"),
        (b"FROM:<a@b> SIZE==1", "501 5.5.4"),
        (b"FROM:<a@b> BODY", "501 5.5.4"),
        (b"FROM:<a@b> BODY=FOO", "501 5.5.4"),
        (b"FROM:<a@b> BODY=BINARYMIME", "501 5.5.4"),
        (b"FROM:<a@b> BODY=8BITMIME BODY=8BITMIME", "501 5.5.4"),
        (b"FROM:<a@b> SMTPUTF8=1", "501 5.5.4"),
        (b"FROM:<a@b> =1", "501 5.5.4"),
        (b"FROM:<a@b> -X=1", "501 5.5.4"),
        (b"FROM:<a@b> X_Y=1", "501 5.5.4"),
        (b"FROM:<a@b> RET=SOME", "501 5.5.4"),
        (b"FROM:<a@b> ENVID=a+0D+0ARCPT", "501 5.5.4"),
        (b"FROM:<a@b> ENVID=+ZZ", "501 5.5.4"),
        (b"FROM:<a@b> ENVID=a+4", "501 5.5.4"),
        (b"FROM:<a@b> ENVID=" + b"x" * 101, "501 5.5.4"),
        (b"FROM:<a@b> AUTH=a+0Ab", "501 5.5.4"),
        (b"FROM:<a@b> AUTH", "501 5.5.4"),
        (b"FROM:<a@b> XYZZY", "555 5.5.4"),
    ],
)
def test_mail_is_refused_by_what_is_wrong_with_it(argument: bytes, expected: str) -> None:
    """501 for syntax, 553 for UTF-8 without SMTPUTF8, 555 for parameters that are not offered (RFC 5321 4.1.1.11)."""
    assert code(mail(argument)) == expected


def test_mail_has_no_parameters_after_helo() -> None:
    """RFC 5321 4.1.1.1: there is no extension without EHLO."""
    assert mail(b"FROM:<a@b>", is_extended=False) == MailCommand(A_B)
    assert code(mail(b"FROM:<a@b> SIZE=1", is_extended=False)) == "555 5.5.4"


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (b"TO:<a@b>", "a@b"),
        (b"to: <a@B>", "a@b"),
        (b"TO:<a@b>  ", "a@b"),
        (b"TO:<Postmaster>", "Postmaster@mta.example"),
        (b"TO:<POSTMASTER>", "POSTMASTER@mta.example"),
        (b'TO:<"ext@ext"@local>', '"ext@ext"@local'),
        (b"TO:<u@[127.0.0.1]>", "u@[127.0.0.1]"),
        (b"TO:<>", "501 5.1.3"),
        (b"TO:<a>", "501 5.1.3"),
        (b"TO:<@local:ext@ext>", "501 5.1.3"),
        (b"TO:<u@ext@local>", "501 5.1.3"),
        (b"TO:<u@local.>", "501 5.1.3"),
        (b"TO:<u@local:2025>", "501 5.1.3"),
        (b"TO:a@b", "501 5.5.4"),
        (b"FROM:<a@b>", "501 5.5.4"),
        (b"TO:<a@b> SIZE=1", "555 5.5.4"),
        (b"TO:<a@b> ORCPT=rfc822;x+0Ay", "501 5.5.4"),
        (b"TO:<a@b> ORCPT=x", "501 5.5.4"),
        (b"TO:<a@b> ORCPT=rfc822;x ORCPT=rfc822;y", "501 5.5.4"),
        (b"TO:<a@b> NOTIFY=", "501 5.5.4"),
        (b"TO:<a@b> NOTIFY=SUCCESS,SUCCESS", "501 5.5.4"),
        (b"TO:<a@b> NOTIFY=NEVER,SUCCESS", "501 5.5.4"),
        (b"TO:<a@b> =", "501 5.5.4"),
        ("TO:<é@b>".encode(), "553 5.6.7"),
        ("TO:<a@bücher.example>".encode(), "553 5.6.7"),
    ],
)
def test_rcpt_takes_a_forward_path(argument: bytes, expected: str) -> None:
    """RFC 5321 4.1.1.3; the postmaster alone needs no domain."""
    answer = rcpt(argument)
    assert (code(answer) if isinstance(answer, Reply) else str(answer)) == expected


def test_rcpt_takes_utf8_where_mail_said_so() -> None:
    """RFC 6531 3.3."""
    assert rcpt("TO:<é@bücher.example>".encode(), smtputf8=True) == Address("é", "xn--bcher-kva.example")
    assert code(rcpt(b"TO:<\xff@b>", smtputf8=True)) == "501 5.1.3"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"NOOP", (Verb.NOOP, b"")),
        (b"noop", (Verb.NOOP, b"")),
        (b"MAIL FROM:<a@b>  ", (Verb.MAIL, b"FROM:<a@b>")),
        (b"EHLO  x", (Verb.EHLO, b" x")),
        (b"NOOP \xff", (Verb.NOOP, b"\xff")),
        (b"", "500 5.5.1"),
        (b" NOOP", "500 5.5.1"),
        (b"NOOPE", "500 5.5.1"),
        (b"\xffNOOP", "501 5.5.2"),
        (b"NOOP\x00", "501 5.5.2"),
        (b"NOOP\tx", "501 5.5.2"),
        (b"NOOP \x7f", "501 5.5.2"),
        (b"MAIL\rFROM", "501 5.5.2"),
        (b"BDAT 5 LAST", (Verb.BDAT, b"5 LAST")),
        (b"bdat", (Verb.BDAT, b"")),
        (b"GET / HTTP/1.1", "500 5.5.1"),
        (b"CONNECT mta.example:25 HTTP/1.1", "500 5.5.1"),
    ],
)
def test_a_line_is_a_verb_and_its_argument(line: bytes, expected: object) -> None:
    """RFC 5321 2.4: verbs in any case, white space at the end is nothing."""
    try:
        found: object = parse_line(line)
    except Refusal as refusal:
        found = code(refusal.reply)
    assert found == expected


@pytest.mark.parametrize(
    ("line", "errors"),
    [
        (b"XYZZY", 1),
        (b"MAIL FROM:<a@b> SIZE=x", 1),
        (b"MAIL FROM:a@b", 1),
        (b"MAIL FROM:<a..b@c>", 0),
        (b"MAIL FROM:<\xff@c>", 0),
        (b"RCPT TO:<a..b@c>", 0),
        (b"RCPT TO:<\xc3\xa9@c>", 0),
        (b"BDAT -1", ERROR_LIMIT),
        (b"POST / HTTP/1.0", ERROR_LIMIT),
    ],
)
def test_errors_count_by_what_they_say_about_the_client(line: bytes, errors: int) -> None:
    """A bad address in a list says nothing about it; mail data or a browser's request must not be read on as commands."""
    with pytest.raises(Refusal) as refusal:
        verb, argument = parse_line(line)
        if verb is Verb.MAIL:
            parse_mail(argument, ALL)
        elif verb is Verb.BDAT:
            parse_bdat(argument)
        else:
            parse_rcpt(argument, ALL, smtputf8=False, hostname="mta.example")
    assert refusal.value.errors == errors


@pytest.mark.parametrize(
    "name",
    ["client.example", "[192.0.2.1]", "[IPv6:::1]", "localhost", "my_host", "a" * 255, "é" * 127, "x:y@z,w"],
)
def test_a_client_may_call_itself_almost_anything(name: str) -> None:
    """RFC 5321 4.1.4: the name is not verified, only written down."""
    assert parse_hello(name.encode()) == name


@pytest.mark.parametrize(
    "argument",
    [b"", b" ", b"two words", b"a" * 256, "é".encode() * 128, b"\xff", b"a(b)", b"<a>", b'a"b', b"a\\b", b"a;b", b"\xc2\x85", b"\xe2\x80\xa8"],
)  # fmt: skip
def test_a_name_that_could_be_read_as_something_else_is_refused(argument: bytes) -> None:
    """It goes into a Received field: no comment, string or date may begin in it, and no line end hide."""
    with pytest.raises(Refusal) as refusal:
        parse_hello(argument)
    assert refusal.value.reply.code == 501


def test_vrfy_of_an_internationalised_name_needs_its_parameter() -> None:
    """RFC 6531 3.7.4.2, and the crash of a server that had not thought of it."""
    check_vrfy(b"somebody")
    check_vrfy("<é@b> smtputf8".encode())
    for argument, expected in ((b"", 501), ("<é@b>".encode(), 553), (b"\xff", 553)):
        with pytest.raises(Refusal) as refusal:
            check_vrfy(argument)
        assert refusal.value.reply.code == expected


WORDS = st.sampled_from([
    b"MAIL", b"RCPT", b"EHLO", b" ", b"FROM:", b"TO:", b"<", b">", b"a@b", b'"', b"\\", b"SIZE=", b"1", b"BODY=8BITMIME",
    b"SMTPUTF8", b"@x:", b"\xff", b"\xc3\xa9", b"\x00", b"\n", b"=", b"postmaster",
])  # fmt: skip


@given(st.one_of(st.binary(), st.lists(WORDS, max_size=12).map(b"".join)))
@example(b'MAIL FROM:<"' + b'""' * 500)
@example(b"MAIL FROM:<" + b'"\\' * 500)
@example(b"RCPT TO:<" + b"a" * 2000)
@example(b"RCPT TO:<a@" + b"a." * 1000 + b">")
def test_any_line_is_a_command_or_a_refusal_that_repeats_nothing(line: bytes) -> None:
    """Never another exception; a 5yz whose text is one short line of ours."""
    refusal = None
    try:
        verb, argument = parse_line(line)
        if verb is Verb.MAIL:
            parse_mail(argument, ALL)
        elif verb is Verb.RCPT:
            parse_rcpt(argument, ALL, smtputf8=True, hostname="mta.example")
        elif verb is Verb.EHLO:
            parse_hello(argument)
    except Refusal as caught:
        refusal = caught.reply
    if refusal is not None:
        assert refusal.is_permanent
        assert refusal.text.isascii()
        assert refusal.text.isprintable()
        assert len(refusal.text) < 100
