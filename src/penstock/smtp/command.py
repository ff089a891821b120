"""Command lines of RFC 5321 4.1, read strictly: a command is what the grammar says, or a reply that says why not.

Digits are ASCII digits, parameters occur once, and a line with a stray CR, LF or control character is no command at all (5.5.2): what
one program reads as one line, another may read as two. Nothing of what came is repeated in a reply.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from penstock.mail.address import Address, AddressError, ReversePath, parse_path
from penstock.mail.dsn import RecipientDsn, is_envelope_id, is_original_recipient
from penstock.mail.reply import Reply, reply
from penstock.smtp import extension
from penstock.smtp.phase import Verb

VERBS: Final[dict[bytes, Verb]] = {verb.value: verb for verb in Verb}
#: Errors of syntax or order after which a client is sent away; a good message resets the count.
ERROR_LIMIT: Final = 20
#: Room for a path of 256 octets and all parameters; RFC 5321 4.5.3.1.4 asks for 512, extensions add to it.
COMMAND_LINE_LIMIT: Final = 2048

# Anything below space, and DEL: no command holds it.
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
# "FROM:" Reverse-path [SP Mail-parameters]; a space before the path is no part of the grammar, but common. Quoted strings may hold ">".
_PATH_ARGUMENT = rb':[ ]?<((?:[^<>"]++|"(?:[^"\\]|\\.)*+")*+)>(?:[ ]+(.*))?'
_MAIL = re.compile(rb"[Ff][Rr][Oo][Mm]" + _PATH_ARGUMENT)
_RCPT = re.compile(rb"[Tt][Oo]" + _PATH_ARGUMENT)
# esmtp-param = esmtp-keyword ["=" esmtp-value] (RFC 5321 4.1.2)
_PARAMETER = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e\x80-\xff]+))?")
#: Whose parameter it is: refused where that is not offered.
_MAIL_PARAMETERS: Final = {
    b"SIZE": extension.SIZE,
    b"BODY": extension.EIGHT_BIT,
    b"SMTPUTF8": extension.SMTPUTF8,
    b"RET": extension.DSN,
    b"ENVID": extension.DSN,
    b"AUTH": extension.AUTH,
}
_NOTIFY: Final = {"SUCCESS", "FAILURE", "DELAY"}
# AUTH=mailbox as xtext (RFC 4954 5), without an encoded control; "<>" is written plainly
_AUTH_VALUE = re.compile(rb"<>|(?:[!-*,-<>-~]|\+[2-7][0-9A-F]){1,500}")
# size-value = 1*20DIGIT (RFC 1870 4)
_SIZE = re.compile(rb"[0-9]{1,20}")
# Domain or address literal, loosely: clients introduce themselves in many ways, and the name is only written down (in a Received field,
# so it holds nothing that begins or ends anything there).
_HELLO_NAME = re.compile(r'[^\x00-\x20\x7f-\x9f<>()"\\;\u2028\u2029]+')
_HELLO_LIMIT: Final = 255

SYNTAX: Final = reply(501, "5.5.4", "syntax error in parameters")
UNRECOGNISED: Final = reply(500, "5.5.1", "command not recognised")
NOT_A_LINE: Final = reply(501, "5.5.2", "a command is one line of printable text that ends with CRLF")
LINE_TOO_LONG: Final = reply(500, "5.5.2", f"a command line has at most {COMMAND_LINE_LIMIT} octets")
NEEDS_SMTPUTF8: Final = reply(553, "5.6.7", "an address with UTF-8 needs the SMTPUTF8 parameter")
_UNKNOWN_PARAMETER: Final = reply(555, "5.5.4", "parameter not recognised")
_NO_HTTP: Final = reply(500, "5.5.1", "this is no web server")


class MailCommand(msgspec.Struct, frozen=True, gc=False):
    """MAIL: ``size`` is what the client announces (RFC 1870), 0 where it does not; ``eight_bit`` is BODY=8BITMIME (RFC 6152).

    ``ret`` and ``envelope_id`` are RET and ENVID as they came (RFC 3461 4.3, 4.4), "" where not given.
    """

    reverse_path: ReversePath
    size: int = 0
    eight_bit: bool = False
    smtputf8: bool = False
    ret: str = ""
    envelope_id: str = ""


class RcptCommand(msgspec.Struct, frozen=True, gc=False):
    """RCPT: ``dsn`` None where nothing is asked about notifications."""

    forward_path: Address
    dsn: RecipientDsn | None = None


class Refusal(Exception):
    """The command is refused with ``reply``, and counts as so many ``errors``.

    One by default. None where the command is well-formed and an address in it is not: a list of recipients may hold any number of those.
    ERROR_LIMIT where what follows cannot be commands, and reading on would be dangerous. ``recipient`` is the one that it is about.
    """

    def __init__(self, refusal: Reply, errors: int = 1, recipient: str = "") -> None:
        super().__init__(refusal, errors, recipient)
        self.reply = refusal
        self.errors = errors
        self.recipient = recipient


def parse_line(line: bytes) -> tuple[Verb, bytes]:  # hot: micro_smtp
    """The verb and its argument (without the space between) of a line without its CRLF; Refusal if it is no command."""
    word, _, argument = line.partition(b" ")
    verb = VERBS.get(word) or VERBS.get(word.upper())
    if _CONTROL.search(line):
        raise Refusal(NOT_A_LINE, weight(line))
    if verb is None:
        raise _unrecognised(line, word.upper())
    return verb, argument.rstrip(b" ")


def weight(line: bytes) -> int:
    """How many errors a line counts that is no command: mail data follows a BDAT, whatever is wrong with it."""
    return ERROR_LIMIT if line[:4].upper() == b"BDAT" else 1


def _unrecognised(line: bytes, word: bytes) -> Refusal:
    if b" HTTP/" in line:
        return Refusal(_NO_HTTP, ERROR_LIMIT)  # a browser that was talked into carrying somebody's commands
    return Refusal(UNRECOGNISED if line.isascii() else NOT_A_LINE, weight(line))


def _parameters(text: bytes | None) -> dict[bytes, bytes | None]:
    found: dict[bytes, bytes | None] = {}
    for word in text.split(b" ") if text else ():
        if not word:
            continue
        match = _PARAMETER.fullmatch(word)
        if match is None:
            raise Refusal(SYNTAX)
        keyword = match[1].upper()
        if keyword in found:
            raise Refusal(reply(501, "5.5.4", "a parameter is given twice"))
        found[keyword] = match[2]
    return found


def parse_mail(argument: bytes, offered: frozenset[str]) -> MailCommand:  # hot: micro_smtp
    """MAIL's argument; ``offered`` is what this client was offered, nothing without EHLO (RFC 5321 4.1.1.1)."""
    match = _MAIL.fullmatch(argument)
    if match is None:
        raise Refusal(reply(501, "5.5.4", "the syntax is MAIL FROM:<address> [parameters]"))
    parameters = _parameters(match[2]) if match[2] else {}
    if parameters and not offered:
        raise Refusal(reply(555, "5.5.4", "parameters need EHLO"))
    size, eight_bit, smtputf8, ret, envelope_id = 0, False, False, "", ""
    for keyword, value in parameters.items():
        if _MAIL_PARAMETERS.get(keyword) not in offered:
            raise Refusal(_UNKNOWN_PARAMETER)
        if keyword == b"SIZE":
            if value is None or not _SIZE.fullmatch(value):
                raise Refusal(reply(501, "5.5.4", "SIZE is a number of octets"))
            size = int(value)
        elif keyword == b"BODY":
            if value is None or value.upper() not in (b"7BIT", b"8BITMIME"):
                raise Refusal(reply(501, "5.5.4", "BODY is 7BIT or 8BITMIME"))
            eight_bit = value.upper() == b"8BITMIME"
        elif keyword == b"SMTPUTF8":
            if value is not None:
                raise Refusal(reply(501, "5.5.4", "SMTPUTF8 takes no value"))
            smtputf8 = True
        elif keyword == b"RET":
            if value is None or value.upper() not in (b"FULL", b"HDRS"):
                raise Refusal(reply(501, "5.5.4", "RET is FULL or HDRS"))
            ret = value.upper().decode("ascii")
        elif keyword == b"ENVID":
            if value is None or not is_envelope_id(value):
                raise Refusal(
                    reply(501, "5.5.4", "ENVID is at most 100 characters of xtext without controls")
                )
            envelope_id = value.decode("ascii")
        elif value is None or not _AUTH_VALUE.fullmatch(value):
            # checked and not believed: who sends is what AUTH itself has shown (RFC 4954 5)
            raise Refusal(reply(501, "5.5.4", "AUTH is a mailbox as xtext, or <>"))
    path = _path(match[1], "5.1.7", smtputf8=smtputf8) if match[1] else None
    return MailCommand(path, size, eight_bit, smtputf8, ret, envelope_id)


def parse_rcpt(
    argument: bytes, offered: frozenset[str], *, smtputf8: bool, hostname: str
) -> RcptCommand:  # hot: micro_smtp
    """RCPT's argument. ``<postmaster>`` alone is the postmaster of ``hostname`` (RFC 5321 4.1.1.3)."""
    match = _RCPT.fullmatch(argument)
    if match is None:
        raise Refusal(reply(501, "5.5.4", "the syntax is RCPT TO:<address> [parameters]"))
    dsn = _recipient_dsn(_parameters(match[2]), offered) if match[2] else None
    if match[1].lower() == b"postmaster":
        return RcptCommand(Address(match[1].decode("ascii"), hostname), dsn)
    if not match[1]:
        raise Refusal(reply(501, "5.1.3", "a forward-path is not empty"))
    return RcptCommand(_path(match[1], "5.1.3", smtputf8=smtputf8), dsn)


def _recipient_dsn(parameters: dict[bytes, bytes | None], offered: frozenset[str]) -> RecipientDsn | None:
    """NOTIFY and ORCPT (RFC 3461 4.1, 4.2)."""
    notify: tuple[str, ...] = ()
    original = ""
    for keyword, value in parameters.items():
        if keyword not in (b"NOTIFY", b"ORCPT") or extension.DSN not in offered:
            raise Refusal(_UNKNOWN_PARAMETER)
        if keyword == b"NOTIFY":
            notify = tuple((value or b"").decode("ascii", "replace").upper().split(","))
            is_valid = notify == ("NEVER",) or set(notify) <= _NOTIFY
            if not is_valid or len(set(notify)) != len(notify):
                raise Refusal(reply(501, "5.5.4", "NOTIFY is NEVER, or some of SUCCESS,FAILURE,DELAY"))
        elif value is None or not is_original_recipient(value):
            raise Refusal(reply(501, "5.5.4", "ORCPT is type;xtext without controls"))
        else:
            original = value.decode("ascii")
    return RecipientDsn(notify, original) if parameters else None


def _path(wire: bytes, enhanced: str, *, smtputf8: bool) -> Address:
    # by what was sent, not by what it means: a domain of U-labels needs the parameter too (RFC 6531 3.3)
    if not smtputf8 and not wire.isascii():
        raise Refusal(NEEDS_SMTPUTF8, 0)
    try:
        return parse_path(wire)
    except AddressError as error:
        raise Refusal(reply(501, enhanced, str(error)), 0) from error


def parse_hello(argument: bytes) -> str:
    """The name by which a client introduces itself; Refusal if it gives none, or one that is no word of at most 255 octets."""
    try:
        name = argument.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refusal(SYNTAX) from error
    if len(argument) > _HELLO_LIMIT or not _HELLO_NAME.fullmatch(name):
        raise Refusal(reply(501, "5.5.4", "the syntax is EHLO domain, or EHLO [address]"))
    return name


def check_vrfy(argument: bytes) -> None:
    """VRFY takes a user or mailbox, with SMTPUTF8 behind it if that is not ASCII (RFC 5321 3.5.1, RFC 6531 3.7.4.2); Refusal if it is not so."""
    if not argument:
        raise Refusal(SYNTAX)
    if not argument.isascii() and argument.rpartition(b" ")[2].upper() != b"SMTPUTF8":
        raise Refusal(NEEDS_SMTPUTF8)
