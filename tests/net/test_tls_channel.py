"""One connection's TLS: whatever way its octets are cut, whatever else a peer sends instead."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.mail.configuration import Endpoint, SmtpListenerConfig
from penstock.net.tls import ClientContexts, ServerContexts, TlsChannel, TlsError
from penstock.sim.clock import FakeClock
from tests.net.certificates import authority, pair

HOST = "mx.example.test"
VERSIONS = pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLSv1.2", "TLSv1.3"]
)
CERTIFICATE_REFUSED = "the certificate does not hold"


@pytest.fixture(scope="module")
def server() -> Iterator[ssl.SSLContext]:
    """A listener's context, with a certificate of the tests' authority."""
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = pair(HOST, "other.example.test").write(Path(folder))
        config = SmtpListenerConfig(
            (Endpoint("127.0.0.1", 0),), HOST, tls_certificate=certificate, tls_private_key=key
        )
        yield ServerContexts(FakeClock()).context_for(config)


@pytest.fixture(scope="module")
def contexts() -> Iterator[ClientContexts]:
    """A client that trusts the tests' authority."""
    with tempfile.TemporaryDirectory() as folder:
        yield ClientContexts(authority().write(Path(folder)), FakeClock())


def trusting(**attributes: object) -> ssl.SSLContext:
    """A client's context that takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for name, value in attributes.items():
        setattr(context, name, value)
    return context


class Wire:
    """A client and a server, and what was sent by each; ``cut`` says how a transmission is cut into pieces."""

    def __init__(
        self,
        server: ssl.SSLContext,
        client: ssl.SSLContext | None = None,
        *,
        name: str = HOST,
        session: ssl.SSLSession | None = None,
        cut: Callable[[bytes], list[bytes]] = lambda data: [data],
    ) -> None:
        self.server = TlsChannel(server, server_side=True)
        self.client = TlsChannel(client or trusting(), server_side=False, server_name=name, session=session)
        self._cut = cut

    def to_server(self) -> bytes:
        """Carry what the client has to send; the plain text that the server makes of it."""
        return b"".join(self.server.feed(piece) for piece in self._cut(self.client.take_output()))

    def to_client(self) -> bytes:
        """Carry what the server has to send; the plain text that the client makes of it."""
        return b"".join(self.client.feed(piece) for piece in self._cut(self.server.take_output()))

    def shake_hands(self) -> Wire:
        """Until both are ready; in a TLS 1.3 handshake the server's tickets come on top."""
        for _ in range(3):
            assert self.to_server() == b""
            assert self.to_client() == b""
        assert self.server.is_ready
        assert self.client.is_ready
        return self


def pieces(size: int) -> Callable[[bytes], list[bytes]]:
    """Cuts into pieces of a size."""
    return lambda data: [data[start : start + size] for start in range(0, len(data), size)]


def in_two(offset: int) -> Callable[[bytes], list[bytes]]:
    """Cuts once."""
    return lambda data: [data[:offset], data[offset:]]


@VERSIONS
@pytest.mark.parametrize("size", [1, 2, 5, 7, 1000, 1 << 20])
def test_mail_arrives_however_it_is_cut(server: ssl.SSLContext, version: ssl.TLSVersion, size: int) -> None:
    """Handshake, records of all sizes, and the end: octet by octet as well as whole."""
    wire = Wire(server, trusting(maximum_version=version), cut=pieces(size)).shake_hands()
    for text in (b"x", b"EHLO a\r\n" * 10, bytes(16_384), bytes(40_000 if size > 5 else 17_000)):
        wire.client.write(text)
        assert wire.to_server() == text
        wire.server.write(text)
        assert wire.to_client() == text
    wire.client.close()
    assert wire.to_server() == b""
    assert wire.server.has_ended
    assert not wire.client.has_ended


@VERSIONS
def test_a_handshake_survives_a_cut_at_every_offset(server: ssl.SSLContext, version: ssl.TLSVersion) -> None:
    """Both flights of each side, in two pieces; the plain text that follows is whole."""
    length = 1500
    for offset in [*range(1, 300), *range(300, length, 37)]:
        wire = Wire(server, trusting(maximum_version=version), cut=in_two(offset))
        wire.shake_hands()
        wire.client.write(b"NOOP\r\n")
        assert wire.to_server() == b"NOOP\r\n", offset


def test_many_records_in_one_segment_are_all_read(server: ssl.SSLContext) -> None:
    """A megabyte fed at once: nothing of it is left over for a later call."""
    wire = Wire(server).shake_hands()
    text = bytes(range(256)) * 4096
    wire.client.write(text)
    wire.client.write(b"")
    wire.client.write(bytearray(b"QUIT\r\n"))
    assert wire.to_server() == text + b"QUIT\r\n"


def test_plain_text_may_come_with_the_end_of_the_handshake(server: ssl.SSLContext) -> None:
    """RFC 8446 4.4.4: a client sends its first command right behind its Finished."""
    wire = Wire(server)
    wire.to_server()
    wire.to_client()
    assert wire.client.is_ready
    wire.client.write(b"EHLO a\r\n")
    assert wire.to_server() == b"EHLO a\r\n"
    assert wire.server.is_ready


@VERSIONS
@pytest.mark.parametrize("apart", [False, True], ids=["one segment", "two segments"])
def test_nothing_after_close_notify_is_plain_text(
    server: ssl.SSLContext, version: ssl.TLSVersion, apart: bool
) -> None:
    """CVE-2026-45185: what stood before it counts, what comes after it is passed over, be it plain text, records or garbage."""
    for after in (b"\n", b"RCPT TO:<a@b>\r\n", bytes.fromhex("170303000568656c6c6f"), b"\x16" * 500):
        wire = Wire(server, trusting(maximum_version=version)).shake_hands()
        wire.client.write(b"BDAT 100\r\n0123456789")
        wire.client.close()
        sent = wire.client.take_output()
        received = [wire.server.feed(part) for part in ([sent, after] if apart else [sent + after])]
        assert b"".join(received) == b"BDAT 100\r\n0123456789"
        assert wire.server.has_ended
        assert wire.server.feed(b"NOOP\r\n") == b""


def test_a_reply_can_still_be_given_to_a_peer_that_has_ended(server: ssl.SSLContext) -> None:
    """RFC 8446 6.1: close_notify ends one direction."""
    wire = Wire(server).shake_hands()
    wire.client.close()
    wire.to_server()
    wire.server.write(b"221 bye\r\n")
    wire.server.close()
    wire.server.close()
    assert wire.server.take_output()
    with pytest.raises(TlsError, match="closed"):
        wire.server.write(b"250 ok\r\n")


def test_nothing_is_read_after_our_own_close(server: ssl.SSLContext) -> None:
    """The session is over; what the peer had under way is of no use."""
    wire = Wire(server).shake_hands()
    wire.client.write(b"MAIL FROM:<>\r\n")
    wire.server.close()
    assert wire.to_server() == b""
    assert wire.to_client() == b""
    assert wire.client.has_ended


def test_a_connection_that_ends_without_close_notify_was_cut_off(server: ssl.SSLContext) -> None:
    """Half a record is no plain text, and ``has_ended`` says that something is missing."""
    wire = Wire(server).shake_hands()
    wire.client.write(b"MAIL FROM:<a@b>\r\n")
    assert wire.server.feed(wire.client.take_output()[:-1]) == b""
    assert not wire.server.has_ended
    wire.server.close()
    assert wire.server.take_output()


@pytest.mark.parametrize(
    "sent",
    [b"NOOP injected\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01" + bytes(200), bytes(64), b"\xff" * 64,
     b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(40), b"\x15\x03\x03\x00\x02\x02\x28", b"\x17\x03\x03\x00\x05hello"],
    ids=["a command", "HTTP", "a broken ClientHello", "NUL", "0xFF", "SSLv2", "an alert", "a record"],
)  # fmt: skip
def test_anything_but_a_handshake_ends_it(server: ssl.SSLContext, sent: bytes) -> None:
    """There is no way back to plain text; and once it is over, it stays over."""
    for cut in (pieces(1), pieces(len(sent))):
        channel = TlsChannel(server, server_side=True)
        with pytest.raises(TlsError, match=r"^TLS handshake failed: \S") as caught:
            for piece in cut(sent):
                assert channel.feed(piece) == b""
        assert "\n" not in str(caught.value)
        channel.take_output()
        with pytest.raises(TlsError):
            channel.feed(b"NOOP\r\n")
        assert not channel.is_ready
        channel.close()
        assert channel.take_output() == b""


def test_a_server_that_answers_in_plain_text_is_not_believed() -> None:
    """RFC 3207 4: ``220 go`` and then ``250 ok``."""
    channel = TlsChannel(trusting(), server_side=False, server_name=HOST)
    with pytest.raises(TlsError, match="the peer sends something other than TLS"):
        channel.feed(b"250 ok\r\n")


def test_a_changed_record_ends_it_with_an_alert(server: ssl.SSLContext) -> None:
    """And what came with it is dropped."""
    wire = Wire(server).shake_hands()
    wire.client.write(b"NOOP\r\n")
    sent = bytearray(wire.client.take_output())
    sent[-1] ^= 1
    with pytest.raises(TlsError, match="a record was changed on the way"):
        wire.server.feed(bytes(sent))
    assert wire.server.take_output()
    with pytest.raises(TlsError):
        wire.server.write(b"250 ok\r\n")


def test_plain_text_before_the_handshake_is_our_own_mistake(server: ssl.SSLContext) -> None:
    """No shell may send the greeting of implicit TLS too early."""
    with pytest.raises(RuntimeError):
        TlsChannel(server, server_side=True).write(b"220 hello\r\n")


@pytest.mark.parametrize("offered", [[], ["smtp"], ["esmtp"], ["http/1.1", "smtp"]])
def test_a_client_that_offers_smtp_or_nothing_is_served(server: ssl.SSLContext, offered: list[str]) -> None:
    """RFC 7301; most mail servers offer nothing."""
    context = trusting()
    if offered:
        context.set_alpn_protocols(offered)
    Wire(server, context, cut=pieces(9)).shake_hands()


@VERSIONS
@pytest.mark.parametrize("size", [1, 100, 4096])
def test_a_client_that_wants_another_protocol_is_refused(
    server: ssl.SSLContext, version: ssl.TLSVersion, size: int
) -> None:
    """RFC 7301 3.2, ALPACA: a browser that was led here learns so from an alert, before it can say anything."""
    context = trusting(maximum_version=version)
    context.set_alpn_protocols(["h2", "http/1.1"])
    wire = Wire(server, context, cut=pieces(size))
    with pytest.raises(TlsError, match="another protocol than SMTP"):
        wire.to_server()
    # RFC 8446 6.2: no_application_protocol
    assert wire.server.take_output() == bytes.fromhex("15 03 03 0002 02 78")


def test_a_client_understands_that_its_protocol_is_refused(server: ssl.SSLContext) -> None:
    """The alert that is written by hand is one."""
    context = trusting()
    context.set_alpn_protocols(["h2"])
    wire = Wire(server, context)
    with pytest.raises(TlsError):
        wire.to_server()
    with pytest.raises(TlsError):
        wire.to_client()
    assert not wire.client.is_ready


def test_old_versions_are_refused(server: ssl.SSLContext) -> None:
    """RFC 8996; TLS 1.2 is the least."""
    context = trusting()
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    wire = Wire(server, context)
    with pytest.raises(TlsError, match=r"no version in common: TLS 1\.2 or later is needed"):
        wire.to_server()


def test_an_endless_handshake_is_ended(server: ssl.SSLContext) -> None:
    """A ClientHello that says it is long, in records without end, is no way to fill our memory."""
    channel = TlsChannel(server, server_side=True)
    record = b"\x16\x03\x01\x40\x00" + (b"\x01\x01\xff\xff" + bytes(16_380))
    fed = 0
    with pytest.raises(TlsError):
        while fed < 1 << 20:
            channel.feed(record)
            fed += len(record)
            record = b"\x16\x03\x01\x40\x00" + bytes(16_384)
    assert fed < 300_000


def test_records_without_plain_text_are_ended(server: ssl.SSLContext) -> None:
    """What OpenSSL itself does not bound: a peer that only ever renews its tickets gets nowhere."""
    before, server.num_tickets = server.num_tickets, 1000
    try:
        wire = Wire(server)
        wire.to_server()
        wire.to_client()
        wire.to_server()
        with pytest.raises(TlsError, match="the peer sends much that is no mail"):
            wire.to_client()
    finally:
        server.num_tickets = before


def test_renegotiation_gets_nowhere(server: ssl.SSLContext) -> None:
    """TLS 1.2 (RFC 5246 7.4.1.1): a ClientHello within a session is answered with a warning, and changes nothing."""
    assert server.options & ssl.OP_NO_RENEGOTIATION
    assert ClientContexts(None, FakeClock()).context(False).options & ssl.OP_NO_RENEGOTIATION
    assert server.options & ssl.OP_NO_COMPRESSION


@VERSIONS
def test_facts_are_those_of_the_connection(
    server: ssl.SSLContext, contexts: ClientContexts, version: ssl.TLSVersion
) -> None:
    """The client sees the server's certificate, the server sees none."""
    unverified = Wire(server, trusting(maximum_version=version)).shake_hands()
    ours, theirs = unverified.server.facts(), unverified.client.facts()
    assert ours.version == theirs.version == f"TLSv1.{version - ssl.TLSVersion.TLSv1}"
    assert ours.cipher == theirs.cipher != ""
    assert (ours.peer_subject, ours.peer_names, ours.is_verified) == ("", (), False)
    assert theirs.peer_subject == f"CN={HOST}"
    assert theirs.peer_names == (HOST, "other.example.test")
    assert not theirs.is_verified
    assert not theirs.is_resumed
    assert Wire(server, contexts.context(True)).shake_hands().client.facts().is_verified


def test_a_certificate_has_to_hold_for_the_name_that_was_asked_for(
    server: ssl.SSLContext, contexts: ClientContexts
) -> None:
    """The server is told why."""
    wire = Wire(server, contexts.context(True), name="mx.example.com")
    wire.to_server()
    with pytest.raises(TlsError, match=f"{CERTIFICATE_REFUSED}: hostname mismatch"):
        wire.to_client()
    with pytest.raises(TlsError, match="the peer refuses: "):
        wire.to_server()


def test_a_certificate_of_an_unknown_authority_holds_only_where_any_does(server: ssl.SSLContext) -> None:
    """The system's authorities do not know ours."""
    contexts = ClientContexts(None, FakeClock())
    wire = Wire(server, contexts.context(True))
    wire.to_server()
    with pytest.raises(TlsError, match=CERTIFICATE_REFUSED):
        wire.to_client()
    Wire(server, contexts.context(False)).shake_hands()


@pytest.mark.parametrize("name", ["." * 300, "a" * 64 + ".example", ".example.test", "a..b", "a\0b.example"])
def test_a_name_that_tls_cannot_carry_is_refused(contexts: ClientContexts, name: str) -> None:
    """Names come from MX records of strangers."""
    with pytest.raises(TlsError, match="TLS cannot begin"):
        TlsChannel(contexts.context(True), server_side=False, server_name=name)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_a_peer_sends_is_plain_text_or_the_end(server: ssl.SSLContext, data: st.DataObject) -> None:
    """Any octets at any time: nothing else is raised, nothing comes out that was not sent, and nothing after the end."""
    wire = Wire(server, cut=pieces(data.draw(st.integers(1, 600))))
    if data.draw(st.booleans()):
        wire.shake_hands()
        wire.client.write(b"NOOP\r\n")
    octets = bytearray(wire.client.take_output())
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(octets) - 1))
        octets[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=8))
    is_over = False
    for piece in pieces(data.draw(st.integers(1, 600)))(bytes(octets)):
        try:
            text = wire.server.feed(piece)
        except TlsError:
            is_over = True
        else:
            assert not (is_over and text)
            assert text in (b"", b"NOOP\r\n")
        wire.server.take_output()
