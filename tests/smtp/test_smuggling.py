"""SMTP smuggling, inbound (CVE-2023-51764 and its kin): whole, octet by octet, and split at every offset, with positive controls."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from penstock.mail.configuration import LineEndings
from penstock.sim.smuggling import SEQUENCES, UNIVERSAL_NEWLINES, attack_stream
from penstock.smtp import intake
from penstock.smtp.data import DataReader
from penstock.smtp.server import ServerLimits

from .driver import ENVELOPE, LIMITS, Seen, cuts, no_data, serve

#: The sequences without a bare CR or LF in them: their message may be accepted, as one.
HARMLESS = {name for name, octets in SEQUENCES.items() if not {13, 10} & set(octets.replace(b"\r\n", b""))}
END = b"\r\n.\r\n"


def attack(
    sequence: bytes, limits: ServerLimits = LIMITS, *, before: bytes = b""
) -> Iterator[tuple[str, Seen]]:
    """What comes of an attack, for each way of cutting its octets; ``before`` goes at the beginning of the first message."""
    for cut, segments in cuts(before + attack_stream(sequence)):
        yield cut, serve([ENVELOPE, *segments, b"NOOP\r\n"], limits)


@pytest.mark.parametrize("name", SEQUENCES)
def test_a1_no_sequence_ends_mail_data(name: str) -> None:
    """One message at most; a bare CR or LF in it is refused after the true end; then the session goes on."""
    for cut, seen in attack(SEQUENCES[name]):
        first, reply_to_data, after = seen.output.rpartition(b"354 ")[2].split(b"\r\n")[:3]
        assert first.startswith(b"send mail data"), cut
        if name in HARMLESS:
            assert len(seen.messages) == 1, cut
            assert b"MAIL FROM:<smuggled" in seen.messages[0].content, cut
            assert reply_to_data == b"250 2.0.0 OK ids=1", cut
        else:
            assert not seen.messages, cut
            assert reply_to_data.startswith(b"550 5.5.2 "), cut
        assert after == b"250 2.0.0 ok", cut
        assert not seen.is_closed, cut


@pytest.mark.parametrize("mode", [LineEndings.FIX, LineEndings.ALLOW])
@pytest.mark.parametrize("name", SEQUENCES)
def test_a1_in_the_lenient_modes_there_is_one_message_that_cannot_smuggle(
    name: str, mode: LineEndings
) -> None:
    """What bare line ends turn into is never taken for canonical: on its way out, every dot at a line's beginning is doubled."""
    limits = msgspec.structs.replace(LIMITS, invalid_line_endings=mode)
    for cut, seen in attack(SEQUENCES[name], limits):
        (message,) = seen.messages
        content = message.content
        assert b"MAIL FROM:<smuggled" in content, cut
        if mode is LineEndings.FIX:
            assert not {13, 10} & set(content.replace(b"\r\n", b"")), cut
        elif name not in HARMLESS:
            assert not message.is_canonical, cut
        if message.is_canonical:
            assert not content.startswith(b"."), cut
            assert b"\r\n." not in content, cut


FILLINGS = {
    "size": (b"x" * 90 + b"\r\n") * 12,
    "line length": b"x" * 200 + b"\r\n",
    "a bare LF": b"bare\n",
    "a message that policy refuses": b"spam\r\n",
}


@pytest.mark.parametrize("filling", FILLINGS.values(), ids=FILLINGS.keys())
@pytest.mark.parametrize("name", SEQUENCES)
def test_a2_a_message_that_is_already_refused_is_read_to_its_true_end(name: str, filling: bytes) -> None:
    """Whatever is wrong with it: one refusal, nothing of what follows is a command."""
    for cut, seen in attack(SEQUENCES[name], before=filling):
        lines = seen.output.rpartition(b"354 ")[2].split(b"\r\n")
        assert lines[1][:3] in (b"552", b"550", b"500"), cut
        assert lines[2:] == [b"250 2.0.0 ok", b""], cut


def a3_streams(name: str) -> dict[str, bytes]:
    """Envelopes whose DATA is refused, each with the attack behind it, sent without waiting."""
    head = b"EHLO client.example\r\nMAIL FROM:<a@b.example>\r\n"
    body = attack_stream(SEQUENCES[name])
    return {
        "no recipient given": head + b"DATA\r\n" + body,
        "no valid recipient": head + b"RCPT TO:<unknown@d.example>\r\nDATA\r\n" + body,
        "no transaction": b"EHLO client.example\r\nDATA\r\n" + body,
        "an argument": head + b"RCPT TO:<c@d.example>\r\nDATA now\r\n" + body,
    }


@pytest.mark.parametrize("name", SEQUENCES)
def test_a3_mail_data_behind_a_refused_data_is_no_commands(name: str) -> None:
    """The first line that is no command ends the session; nothing is stored, nothing of it is even asked."""
    for what, stream in a3_streams(name).items():
        for cut, seen in cuts_of(stream):
            assert seen.is_closed, (what, cut)
            assert not seen.messages, (what, cut)
            assert b"smuggled" not in repr(seen.events).encode(), (what, cut)


@pytest.mark.parametrize("name", SEQUENCES)
def test_a3_also_where_policy_refused_data(name: str) -> None:
    """A 4yz to DATA is no less a refusal."""
    for cut, segments in cuts(attack_stream(SEQUENCES[name])):
        seen = serve([ENVELOPE, *segments], decide=no_data)
        assert seen.is_closed, cut
        assert not seen.messages, cut


def cuts_of(stream: bytes) -> Iterator[tuple[str, Seen]]:
    """What comes of a stream for each way of cutting it."""
    for cut, segments in cuts(stream):
        yield cut, serve(segments)


def test_a3_twenty_errors_end_a_session_anyway() -> None:
    """Where mail data begins with lines that happen to be commands, the error limit is what is left."""
    stream = b"EHLO c\r\nDATA\r\nNOOP\r\n" + b"Subject: x\r\n" * 30
    for cut, seen in cuts_of(stream):
        assert seen.is_closed, cut
        assert seen.codes.count(500) <= 20, cut
        assert seen.codes[-1] == 421, cut


@pytest.mark.parametrize(
    ("sent", "content"),
    [
        (b".\r\n", b""),
        (b"..\r\n.\r\n", b".\r\n"),
        (b".x\r\n.\r\n", b"x\r\n"),
        (b"\r\n.\r\n", b"\r\n"),
        (b"...\r\n.\r\n", b"..\r\n"),
        (b"x\r\n..\r\n.\r\n", b"x\r\n.\r\n"),
        (b".\r.\r\n.\r\n", None),
        (b"..\r\n..\r\n..\r\n.\r\n", b".\r\n.\r\n.\r\n"),
        (b"x\r\n.y\r\n.\r\n", b"x\r\ny\r\n"),
        (b"x\r\n.\r\n", b"x\r\n"),
        (b" .\r\n.\r\n", b" .\r\n"),
    ],
)
def test_a4_transparency(sent: bytes, content: bytes | None) -> None:
    """RFC 5321 4.5.2: one dot is taken from the beginning of a line; mail data may be empty; the state is clean after it."""
    for cut, segments in cuts(sent):
        seen = serve([ENVELOPE, *segments, b"NOOP\r\n"])
        assert [message.content for message in seen.messages] == ([content] if content is not None else []), (
            cut
        )
        assert seen.codes[-2:] == [250 if content is not None else 550, 250], cut
        if seen.messages:
            (message,) = seen.messages
            assert message.is_canonical is not (
                message.content.startswith(b".") or b"\r\n." in message.content
            ), cut


@pytest.mark.parametrize(
    "line",
    [
        b"MAIL FROM:<a@b.example>\nRCPT TO:<c@d.example>\nDATA\n",
        b"MAIL FROM:<a@b.example>\rRCPT TO:<c@d.example>\rDATA\r\r\n",
        b"NOOP\nMAIL FROM:<a@b.example>\r\n",
        b"NOOP\rMAIL FROM:<a@b.example>\r\n",
        b"MAIL FROM:<a@b.example>\r\r\n",
        b"\nMAIL FROM:<a@b.example>\r\n",
        b"MAIL FROM:<a\rb@b.example>\r\n",
        b'MAIL FROM:<"a\nb"@b.example>\r\n',
    ],
)
def test_a5_a_command_with_a_bare_cr_or_lf_is_none(line: bytes) -> None:
    """One 501, no command in it is carried out, and the session reads on behind the next CRLF."""
    for cut, segments in cuts(line):
        seen = serve([b"EHLO c\r\n", *segments, b"\r\n" if line.endswith(b"DATA\n") else b"", b"HELP\r\n"])
        assert seen.codes == [250, 501, 214], cut
        assert len(seen.events) == 1, cut


def test_a6_exims_final_script_is_one_message() -> None:
    """A dot line with a bare LF, a transaction, and BDAT behind it, all in mail data."""
    body = (
        b"Subject: test\r\n\r\nfoo\r\n.\nmail from:<z@y.example>\r\nrcpt to:<x@w.example>\r\nbdat 86 last\r\n"
        b"From: <z@y.example>\r\nSubject: smuggled\r\n\r\nbar\r\n.\r\n"
    )
    for cut, segments in cuts(body):
        seen = serve([ENVELOPE, *segments, b"NOOP\r\n"])
        assert not seen.messages, cut
        assert seen.codes[-3:] == [354, 550, 250], cut


def test_a7_mail_data_before_it_was_asked_for_ends_the_session() -> None:
    """RFC 2920 3.1: DATA is the last command of a group. Whoever says more with it does not wait for replies."""
    body = attack_stream(SEQUENCES["LF . LF"])
    for end in range(1, len(body)):
        seen = serve([ENVELOPE + body[:end], body[end:]])
        assert seen.codes[-1] == 554
        assert seen.is_closed
        assert not seen.messages
        assert seen.refusals[-1].command == "DATA"


class Gullible(DataReader):
    """A reader that takes LF "." LF for the end of mail data too: the bug that this file is to find."""

    __slots__ = ()

    def feed(self, data: bytes) -> int:
        place = data.find(b"\n.\n")
        if place < 0:
            return super().feed(data)
        super().feed(data[: place + 1] + b"\r\n.\r\n")
        return place + 3


def test_positive_control_a_gullible_reader_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the bug put in, the same attack stores a second message or is not refused, and these tests would fail."""
    monkeypatch.setattr(intake, "DataReader", Gullible)
    seen = dict(attack(SEQUENCES["LF . LF"]))["whole"]
    assert b"550 5.5.2" in seen.output
    assert len([event for event in seen.events if "smuggled" in repr(event)]) > 0
    with pytest.raises(AssertionError):
        test_a1_no_sequence_ends_mail_data("LF . LF")


def test_positive_control_universal_newlines_are_among_what_is_refused() -> None:
    """The eleven sequences that get through the vulnerable server are all refused here as bare line ends."""
    assert not UNIVERSAL_NEWLINES & HARMLESS
    assert set(SEQUENCES) == UNIVERSAL_NEWLINES | HARMLESS
    assert all(END not in octets for octets in SEQUENCES.values())
