"""Mailboxes by the grammar of RFC 5321 4.1.2 and RFC 6531 3.3: what passes, what does not, and that nothing else ever happens."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.mail.address import Address, AddressError, parse_address, parse_domain, parse_path

LABEL_63 = "l" * 63
#: Four labels, 253 octets: the longest name that DNS can hold.
DOMAIN_253 = f"{LABEL_63}.{LABEL_63}.{LABEL_63}.{'l' * 61}"

#: Wire octets of a path's inside, and the mailbox it is.
VALID: dict[str, tuple[str, str]] = {
    "4.1.2 dot-string": ("user@example.com", "user@example.com"),
    "4.1.2 dots between atoms": ("first.last@example.com", "first.last@example.com"),
    "4.1.2 every atext": ("!#$%&'*+-/=?^_`{|}~@example.com", "!#$%&'*+-/=?^_`{|}~@example.com"),
    "4.1.2 digits only": ("1@2.example", "1@2.example"),
    "4.1.2 local part keeps its case": ("MiXed@EXAMPLE.Com", "MiXed@example.com"),
    "4.1.2 one label": ("user@localhost", "user@localhost"),
    "4.1.2 one letter": ("a@b", "a@b"),
    "4.1.2 label ends in a digit": ("a@b.c3", "a@b.c3"),
    "4.1.2 hyphens inside": ("a@b--c.d-e", "a@b--c.d-e"),
    "underscore, as in names that resolve": ("a@_dmarc.b_c.example", "a@_dmarc.b_c.example"),
    "4.1.2 quoted string": ('"a b"@c.example', '"a b"@c.example'),
    "4.1.2 quoted pair": (r'"a\"b\\"@c.example', r'"a\"b\\"@c.example'),
    "4.1.2 empty quoted string": ('""@c.example', '""@c.example'),
    "4.1.2 quoted at sign": ('"ext@ext"@local.example', '"ext@ext"@local.example'),
    "4.1.2 quoted angle bracket": ('"a>b"@c.example', '"a>b"@c.example'),
    "percent hack is a local part": ("ext%ext@local.example", "ext%ext@local.example"),
    "bang path is a local part": ("ext!user@local.example", "ext!user@local.example"),
    "4.1.3 IPv4 literal": ("a@[192.0.2.1]", "a@[192.0.2.1]"),
    "4.1.3 IPv6 literal": ("a@[IPv6:2001:DB8:0::1]", "a@[IPv6:2001:db8::1]"),
    "4.1.3 IPv6 tag in any case": ("a@[ipv6:::1]", "a@[IPv6:::1]"),
    "4.5.3.1.1 local part of 64": ("l" * 64 + "@b.example", "l" * 64 + "@b.example"),
    "4.5.3.1.2 label of 63": (f"a@{LABEL_63}.example", f"a@{LABEL_63}.example"),
    "4.5.3.1.3 path of 256": ("a" + f"@{DOMAIN_253[:252]}", "a" + f"@{DOMAIN_253[:252]}"),
    "6531 3.3 local part": ("δοκιμή@example.com", "δοκιμή@example.com"),
    "6531 3.3 quoted": ('"δ ο"@example.com', '"δ ο"@example.com'),
    "6531 3.3 not normalised, composed": ("\u00e9@example.com", "\u00e9@example.com"),
    "6531 3.3 not normalised, decomposed": ("e\u0301@example.com", "e\u0301@example.com"),
    "5891 U-label": ("a@bücher.example", "a@xn--bcher-kva.example"),
    "5891 U-label in capitals": ("a@BÜCHER.example", "a@xn--bcher-kva.example"),
    "5891 A-label": ("a@XN--bcher-KVA.example", "a@xn--bcher-kva.example"),
    "5891 sharp s is a letter of its own": ("a@straße.example", "a@xn--strae-oqa.example"),
    "5895 small Roman numeral": ("a@ⅰ.example", "a@i.example"),
    "5895 ideographic full stop": ("a@b。example", "a@b.example"),
    "5895 Kelvin sign": ("a@\u212a.example", "a@k.example"),
    "5891 5.3 A-label that IDNA 2008 would not make": ("a@xn--i-7iq.ws", "a@xn--i-7iq.ws"),
    "zero-width joiner where its script has it": ("a@क्\u200dष.example", "a@xn--11b2ezcw70k.example"),
}

INVALID: dict[str, str] = {
    "empty": "",
    "4.1.2 two dots": "a..b@c",
    "4.1.2 leading dot": ".a@b",
    "4.1.2 trailing dot": "a.@b",
    "4.1.2 no local part": "@b",
    "4.1.2 no domain": "a@",
    "4.1.2 no at": "a",
    "4.1.2 only at": "@",
    "4.1.2 two at": "u@ext@local",
    "4.1.2 space in local part": "a b@c",
    "4.1.2 space in domain": "a@b c",
    "4.1.2 space around": " a@b ",
    "4.1.2 angle brackets": "<a@b>",
    "4.1.2 parenthesis": "a(c)@b",
    "4.1.2 comma": "a,b@c",
    "4.1.2 colon": "a:b@c",
    "4.1.2 semicolon": "a;b@c",
    "4.1.2 backslash": "a\\b@c",
    "4.1.2 label begins with hyphen": "a@-b",
    "4.1.2 label ends with hyphen": "a@b-",
    "4.1.2 empty label": "a@b..c",
    "4.1.2 domain begins with dot": "a@.b",
    "2.3.5 trailing dot of the domain": "a@b.",
    "4.1.2 port": "u@local:2025",
    "4.1.2 all digits": "a@1.2",
    "4.1.3 address without brackets": "a@192.0.2.1",
    "4.1.2 quote not closed": '"a@b',
    "4.1.2 quote in the middle": 'a"b"@c',
    "4.1.2 text behind the quote": '"a"b@c',
    "4.1.2 quoted pair at the end": '"a\\"@b',
    "4.1.2 quote and bracket": '"">@c',
    "4.1.2 NUL": "a\x00@b",
    "4.1.2 NUL behind the domain": "u@local\x00.ext",
    "4.1.2 CR LF": "a@b>\r\nRCPT TO:<evil@x",
    "4.1.2 LF": "a\n@b",
    "4.1.2 LF at the end": "a@b\n",
    "4.1.2 tab": "a\t@b",
    "4.1.2 DEL": "a\x7f@b",
    "4.1.2 quoted LF": '"a\n"@b',
    "4.1.2 quoted DEL": '"\x7f"@b',
    "C1 control": "a\x85@b",
    "line separator": "a\u2028@b",
    "paragraph separator in the domain": "a@b\u2029",
    "lone surrogate": "\ud800@b",
    "lone surrogate in the domain": "a@\udcff",
    "4.1.3 not closed": "a@[192.0.2.1",
    "4.1.3 empty": "a@[]",
    "4.1.3 leading zero": "a@[192.0.2.01]",
    "4.1.3 three numbers": "a@[192.0.2]",
    "4.1.3 too large": "a@[192.0.2.256]",
    "4.1.3 other digits": "a@[١٩٢.0.2.1]",
    "4.1.3 IPv6 without its tag": "a@[::1]",
    "4.1.3 zone": "a@[IPv6:fe80::1%eth0]",
    "4.1.3 text behind it": "a@[192.0.2.1].example",
    "4.1.3 general literal": "a@[x-tag:content]",
    "4.5.3.1.1 local part of 65": "l" * 65 + "@b",
    "4.5.3.1.1 local part of 65 octets in 33 letters": "é" * 33 + "@b",
    "4.5.3.1.2 label of 64": "a@" + "l" * 64,
    "4.5.3.1.2 domain of 254": f"a@{DOMAIN_253}l",
    "4.5.3.1.2 domain of 256": "a@" + "l." * 127 + "ll",
    "4.5.3.1.3 path of 257": f"aa@{DOMAIN_253[:252]}",
    "4.1.1.3 source route": "@hosta.int:userc@d.bar.org",
    "4.1.1.3 longer source route": "@hosta.int,@jkl.org:userc@d.bar.org",
    "5891 empty A-label": "a@xn--",
    "5891 A-label of a hyphen": "a@xn---",
    "3492 6.4 A-label that overflows": "a@xn--99999999999.example",
    "3492 A-label with other digits": "a@xn--zca-\u0663.example",
    "5891 zero-width joiner elsewhere": "a@b\u200dc.example",
    "5891 emoji": "a@\U0001f4a9.example",
    "5891 hyphens in the third and fourth place": "a@ab--é.example",
    "5891 full-width at": "a\uff20b",
    "5891 full stop at the end": "a@b。",
    "3986 percent": "a@b%2e",
}


@pytest.mark.parametrize(("wire", "written"), VALID.values(), ids=VALID.keys())
def test_a_mailbox_of_the_grammar_is_read(wire: str, written: str) -> None:
    """Its domain comes as lower-case A-labels, its local part octet for octet."""
    address = parse_path(wire.encode())
    assert str(address) == written
    assert parse_address(wire) == address


@pytest.mark.parametrize("text", INVALID.values(), ids=INVALID.keys())
def test_what_is_no_mailbox_is_refused(text: str) -> None:
    """With words fit for a peer: one printable line that repeats nothing of what came."""
    with pytest.raises(AddressError) as refusal:
        parse_address(text)
    said = str(refusal.value)
    assert said.isprintable()
    assert said.isascii()
    assert len(said) < 100
    with pytest.raises(AddressError):
        parse_path(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    "wire",
    [b"\xff@b", b"\xc0\xaf@b", b"\xed\xa0\x80@b", b"a@\xff", b'"\xff"@b', b"a\xc3@b", b"\xf5\x80\x80\x80@b"],
)
def test_octets_that_are_no_utf8_are_refused(wire: bytes) -> None:
    """RFC 6531 3.3: stray octets, overlong forms and surrogates are no UTF8-non-ascii."""
    with pytest.raises(AddressError, match="UTF-8"):
        parse_path(wire)


def test_u_labels_and_a_labels_are_one_domain() -> None:
    """Mail for either form waits in one queue (RFC 5890 2.3.2.1)."""
    assert parse_domain("Bücher.example") == parse_domain("xn--BCHER-kva.EXAMPLE") == "xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("text", "is_ascii", "is_literal"),
    [
        ("a@bücher.example", True, False),
        ("é@b.example", False, False),
        ("a@[192.0.2.1]", True, True),
        ("a@b.example", True, False),
    ],
)
def test_an_address_knows_how_it_can_travel(text: str, is_ascii: bool, is_literal: bool) -> None:
    """Only the local part can need SMTPUTF8: the domain has become A-labels."""
    address = parse_address(text)
    assert address.is_ascii is is_ascii
    assert address.is_literal is is_literal


def test_a_long_domain_is_refused_before_work_is_spent_on_it() -> None:
    """A megabyte of letters that need mapping costs nothing."""
    with pytest.raises(AddressError, match="longer"):
        parse_domain("é" * 1_000_000)


ATEXT = "abcXYZ019!#$%&'*+-/=?^_`{|}~éδ中\U0001f600"
ATOMS = st.text(ATEXT, min_size=1, max_size=6)
DOT_STRINGS = st.lists(ATOMS, min_size=1, max_size=3).map(".".join)
QUOTED = st.lists(
    st.one_of(st.sampled_from("a @<>.,:;()é"), st.sampled_from('\\" a').map(lambda sign: "\\" + sign)),
    max_size=8,
).map(lambda parts: '"' + "".join(parts) + '"')
LABELS = st.from_regex(r"[A-Za-z](?:[A-Za-z0-9-]{0,8}[A-Za-z0-9])?", fullmatch=True).filter(
    lambda label: label[2:4] != "--"
)
DOMAINS = st.one_of(
    st.lists(LABELS, min_size=1, max_size=3).map(".".join),
    st.ip_addresses(v=4).map(lambda address: f"[{address}]"),
    st.ip_addresses(v=6).map(lambda address: f"[IPv6:{address}]"),
    st.sampled_from(["bücher.example", "日本語.example", "faß.example"]),
)


@given(st.one_of(DOT_STRINGS, QUOTED), DOMAINS)
def test_what_is_written_is_read_again_as_the_same(local_part: str, domain: str) -> None:
    """Parse, write, parse: every mailbox of the grammar survives, and so does its local part, octet for octet."""
    address = parse_address(f"{local_part}@{domain}")
    assert address.local_part == local_part
    assert parse_address(str(address)) == address
    assert parse_path(str(address).encode()) == address


@given(st.one_of(st.text(), st.text('ab.@<>"\\[]:,-_ xn\u3002é\u200d\ud800\r\n\x00'), DOMAINS))
@example("a@xn--\ud800")
@example("a@" + "\u0660" * 3 + ".٣")
@example("a@\u00ad")
@example("a@xn--" + "9" * 59)
def test_any_text_is_a_mailbox_or_an_address_error(text: str) -> None:
    """Nothing else is ever raised, and what passes has no octet that could end a path or a line."""
    for parse in (parse_address, parse_domain, lambda text: parse_address(f"a@{text}")):
        try:
            parsed = str(parse(text))
        except AddressError:
            continue
        assert not set(parsed) & set("\r\n\x00")


@given(st.one_of(st.binary(), st.text('ab.@"\\[]:,-_ é\r\n\x00').map(str.encode)))
def test_any_octets_are_a_mailbox_or_an_address_error(wire: bytes) -> None:
    """The short way through ``parse_path`` and the long one agree."""
    try:
        address: Address | None = parse_path(wire)
    except AddressError:
        address = None
    try:
        expected: Address | None = parse_address(wire.decode("utf-8"))
    except (AddressError, UnicodeDecodeError):
        expected = None
    assert address == expected
