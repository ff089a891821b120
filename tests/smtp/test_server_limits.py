"""What a server session withstands: lines without end, floods, lists of bad addresses; in bounded memory and linear time."""

from __future__ import annotations

import sys
import time

import pytest

from penstock.mail.reply import Reply, reply
from penstock.smtp.server import MessageGiven, RecipientGiven, ServerSession

from .driver import ENVELOPE, LIMITS, WIDE, Drive, cuts, in_pieces, octet_by_octet, serve

EHLO = b"EHLO client.example\r\n"


@pytest.mark.parametrize(
    "length",
    [510, 512, 998, 999, 1000, 1001, 2045, 2046, 2047, 2048, 2049, 4096, 65_535, 65_536, 65_537, 1_000_000],
)
@pytest.mark.parametrize("size", [1, 7, 1000, 65_536, 10_000_000])
def test_a_command_line_of_any_length_is_one_command_or_one_error(length: int, size: int) -> None:
    """2048 octets with the CRLF; beyond, one 500 5.5.2, and the session goes on behind the line's end."""
    if size < 1000 and length > 70_000:
        return
    line = b"NOOP " + b"x" * (length - 5) + b"\r\n"
    seen = serve([EHLO, *in_pieces(line, [size] * (len(line) // size)), b"HELP\r\n"])
    assert seen.codes == [250, 250 if length + 2 <= 2048 else 500, 214]


@pytest.mark.parametrize("segment", [1000, 65_536])
def test_a_line_without_end_takes_no_memory(segment: int) -> None:
    """Ten megabytes without a line end: one error, at most 2048 octets held, nothing of it a command."""
    drive = Drive()
    drive.feed(EHLO)
    held = 0
    for _ in range(10_000_000 // segment):
        drive.feed(b"x" * segment)
        held = max(held, drive.session.buffered)
    drive.feed(b"\r")
    drive.feed(b"\n")
    drive.feed(b"HELP\r\n")
    assert held <= 2048
    assert drive.seen.codes == [250, 500, 214]


def test_mail_data_without_a_line_end_is_held_up_to_the_size_limit_only() -> None:
    """Ten megabytes of one line on a listener that takes a thousand octets."""
    drive = Drive()
    drive.feed(ENVELOPE)
    for _ in range(1000):
        drive.feed(b"x" * 10_000)
        assert drive.session.buffered <= 1000
    assert drive.feed(b"\r\n.\r\n").startswith(b"552 5.3.4 ")


def test_a_session_that_has_read_everything_holds_nothing() -> None:
    """Between commands, and once a message has been answered."""
    drive = Drive(WIDE)
    drive.feed(ENVELOPE)
    session = drive.session
    assert session.buffered == 0
    session.feed(b"0123456\r\n" * 1000)
    assert session.next_event() is None
    assert session.buffered == 9000
    session.feed(b"\r\n.\r\n")
    assert isinstance(session.next_event(), MessageGiven)
    assert session.buffered == 9002
    assert not session.has_input
    session.accept()
    assert session.buffered == 0


def test_a_segment_is_let_go_as_soon_as_it_has_been_read() -> None:
    """A message that is being stored is not held twice, nor is the last command of an idle client."""
    session = Drive(WIDE).session
    for text in (ENVELOPE.removesuffix(b"DATA\r\n"), b"DATA\r\n", b"0123456\r\n" * 1000 + b".\r\n"):
        segment = bytes(bytearray(text))
        before = sys.getrefcount(segment)
        session.feed(segment)
        while not isinstance(event := session.next_event(), MessageGiven | None):
            session.accept()
        assert sys.getrefcount(segment) == before
    assert event is not None


def test_a_million_noops_are_handled_in_slices_and_in_linear_time() -> None:
    """Each call handles its budget and no more; what is left waits without being copied."""
    session = ServerSession(WIDE)
    session.greet()
    session.take_output()
    session.feed(b"NOOP\r\n" * 1_000_000)
    begin = time.process_time()
    slices, most = 0, 0
    while session.has_work:
        assert session.next_event() is None
        most = max(most, len(session.take_output()))
        slices += 1
    assert slices == 10_000
    assert most == 100 * len(b"250 2.0.0 ok\r\n")
    assert time.process_time() - begin < 10
    assert session.buffered == 0


@pytest.mark.parametrize(
    ("flood", "reply_codes"),
    [
        (b"RSET\r\n", {250}),
        (b"EHLO client.example\r\n", {250}),
        (b"MAIL FROM:<a@b.example>\r\nRSET\r\n", {250}),
        (b"VRFY x\r\n", {252}),
        (b"RCPT TO:<x@y.example>\r\n", {503}),
        (b"DATA\r\n", {503}),
    ],
)
def test_floods_of_harmless_commands_leave_nothing_behind(flood: bytes, reply_codes: set[int]) -> None:
    """A hundred thousand of each: answered one by one, no memory, no error limit."""
    drive = Drive(WIDE)
    drive.feed(EHLO)
    for _ in range(100):
        said = drive.feed(flood * 1000)
        assert {int(line[:3]) for line in said.split(b"\r\n")[:-1]} == reply_codes
        assert drive.session.buffered == 0
        drive.session.refusals.clear()
        drive.events.clear()
        drive.output = b""
    assert not drive.session.is_closed


def test_recipients_beyond_the_limit_are_refused_one_by_one() -> None:
    """RFC 5321 4.5.3.1.10: 452 for those, and the transaction goes on with the others."""
    drive = Drive(LIMITS)
    drive.feed(EHLO + b"MAIL FROM:<a@b.example>\r\n")
    said = drive.feed(b"".join(b"RCPT TO:<%d@d.example>\r\n" % number for number in range(10_000)))
    assert said.count(b"250 2.1.5 ") == 3
    assert said.count(b"452 4.5.3 ") == 9997
    drive.feed(b"DATA\r\n")
    drive.feed(b"text\r\n.\r\n")
    assert [str(path) for path in drive.seen.messages[0].forward_paths] == [
        f"{number}@d.example" for number in range(3)
    ]


@pytest.mark.parametrize(
    "line", [b"XYZZY\r\n", b"\r\n", b"MAIL FROM:a@b\r\n", b"\x00\r\n", b"x" * 3000 + b"\r\n"]
)
def test_twenty_errors_end_a_session(line: bytes) -> None:
    """The twentieth is answered, then 421; nothing after it is read."""
    for cut, segments in [
        ("whole", [EHLO + line * 30 + b"NOOP\r\n"]),
        ("octets", octet_by_octet(EHLO + line * 30)),
    ]:
        seen = serve(segments)
        assert len(seen.codes) == 22, cut
        assert seen.codes[-1] == 421, cut
        assert seen.is_closed, cut
        assert seen.refusals[-1].reply == reply(421, "4.7.0", "too many errors; closing connection"), cut


def test_a_good_message_begins_the_count_of_errors_anew() -> None:
    """A long session of a client with an odd habit is not cut off."""
    drive = Drive(WIDE)
    drive.feed(EHLO)
    for _ in range(10):
        drive.feed(b"XYZZY\r\n" * 19)
        drive.feed(b"MAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n")
        drive.feed(b"text\r\n.\r\n")
    assert not drive.session.is_closed
    assert len(drive.seen.messages) == 10


def test_a_list_with_bad_addresses_is_no_reason_to_hang_up() -> None:
    """A client with a thousand recipients, a hundred of them malformed or unknown, must be able to get rid of the others."""
    drive = Drive(WIDE)
    lines = [b"RCPT TO:<ok%d@d.example>\r\n" % number for number in range(900)]
    lines[100:100] = [b"RCPT TO:<a..b@d.example>\r\n"] * 50
    lines[500:500] = [b"RCPT TO:<unknown@d.example>\r\n"] * 50
    lines[700:700] = [b"RCPT TO:<\xc3\xa9@d.example>\r\n"] * 50
    drive.feed(EHLO + b"MAIL FROM:<a@b.example>\r\n" + b"".join(lines) + b"DATA\r\n")
    drive.feed(b"text\r\n.\r\n")
    assert len(drive.seen.messages[0].forward_paths) == 900
    assert len(drive.session.refusals) == 150


def test_a_group_behind_a_refused_mail_is_no_reason_to_hang_up() -> None:
    """RFC 2920 3.1: what was pipelined behind it is answered 503, every line of it."""
    drive = Drive(WIDE)
    drive.feed(EHLO)
    for _ in range(5):
        said = drive.feed(
            b"MAIL FROM:<banned@b.example>\r\n" + b"RCPT TO:<c@d.example>\r\n" * 100 + b"DATA\r\n"
        )
        assert said.count(b"503 5.5.1 ") == 101
    assert drive.feed(b"NOOP\r\n") == b"250 2.0.0 ok\r\n"


def test_mail_data_that_memory_has_no_room_for_is_dropped_and_refused_at_its_end() -> None:
    """452 4.3.1 at the true end, nothing held until then, and the next message may come."""
    for _, segments in cuts(b"a\n.\nb\r\n.\r\n"):
        drive = Drive(WIDE)
        drive.feed(ENVELOPE)
        drive.feed(b"begun\r\n")
        drive.session.drop_data()
        assert drive.session.buffered == 0
        said = b"".join(drive.feed(segment) for segment in segments)
        assert said.startswith(b"452 4.3.1 ")
        assert not drive.seen.messages
        drive.feed(b"MAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n")
        assert drive.feed(b"x\r\n.\r\n").startswith(b"250")


def test_refusals_say_what_was_refused_and_how_far_the_transaction_had_come() -> None:
    """Each becomes a Rejection event."""
    seen = serve(
        [
            EHLO,
            b"RCPT TO:<x@y.example>\r\n",
            b"MAIL FROM:<banned@b.example>\r\n",
            b"MAIL FROM:<a@b.example>\r\n",
            b"RCPT TO:<unknown@d.example>\r\n",
            b"RCPT TO:<a..b@d.example>\r\n",
            b"RCPT TO:<c@d.example>\r\nDATA\r\n",
            b"spam\r\n.\r\n",
            b"xyzzy\r\n",
            b"MAIL FROM:<a@b.example> SIZE=99999\r\n",
        ]
    )
    assert [(each.reply.code, each.command, each.reverse_path, each.recipient) for each in seen.refusals] == [
        (503, "RCPT", "", ""),
        (550, "MAIL", "banned@b.example", ""),
        (550, "RCPT", "a@b.example", "unknown@d.example"),
        (501, "RCPT", "a@b.example", ""),
        (550, "DATA", "a@b.example", ""),
        (500, "", "", ""),
        (552, "MAIL", "", ""),
    ]


def test_a_421_of_policy_ends_the_session() -> None:
    """RFC 5321 3.8."""
    seen = serve([EHLO + b"MAIL FROM:<a@b.example>\r\nRCPT TO:<full@d.example>\r\nRCPT TO:<c@d.example>\r\n"])
    assert seen.codes == [250, 250, 421]
    assert seen.is_closed


def test_closing_says_so_once_and_reads_no_more() -> None:
    """Whatever is under way is forgotten."""
    drive = Drive()
    drive.feed(ENVELOPE)
    drive.feed(b"text")
    drive.session.close(reply(421, "4.3.2", "shutting down"))
    drive.session.close(reply(421, "4.3.2", "shutting down"))
    assert drive.feed(b"\r\n.\r\nNOOP\r\n") == b"421 4.3.2 shutting down\r\n"
    assert drive.session.is_closed
    assert not drive.session.has_work
    assert drive.session.buffered == 0


def test_nothing_is_read_while_an_event_waits_for_its_answer() -> None:
    """Replies keep the order of commands, however long an answer takes (RFC 2920 3.2)."""
    session = ServerSession(LIMITS)
    session.greet()
    session.feed(EHLO + b"MAIL FROM:<a@b.example>\r\nNOOP\r\n")
    session.next_event()
    session.accept()
    assert session.next_event() is not None
    session.take_output()
    for _ in range(3):
        session.feed(b"NOOP\r\n")
        assert session.next_event() is None
        assert not session.has_work
        assert session.take_output() == b""
    session.accept()
    assert session.next_event() is None
    assert session.take_output().split(b"\r\n") == [b"250 2.1.0 sender ok", *[b"250 2.0.0 ok"] * 4, b""]


@pytest.mark.parametrize("answer", ["accept", "refuse"])
def test_an_answer_without_an_event_is_a_mistake_of_ours(answer: str) -> None:
    """And so is a positive refusal: it would be believed."""
    session = ServerSession(LIMITS)
    session.greet()
    with pytest.raises(RuntimeError):
        session.accept() if answer == "accept" else session.refuse(reply(550, None, "no"))
    session.feed(EHLO)
    session.next_event()
    with pytest.raises(ValueError, match="refusal"):
        session.refuse(Reply(250, None, "yes"))


@pytest.mark.parametrize("size", [1, 3, 1000, 65_536])
def test_octets_of_a_binary_flood_are_errors_until_the_limit(size: int) -> None:
    """Every octet there is, line ends among them: never an exception, always the end."""
    octets = (bytes(range(256)) + b"\r\n") * 400
    seen = serve(in_pieces(octets, [size] * (len(octets) // size)))
    assert seen.is_closed
    assert not [event for event in seen.events if isinstance(event, MessageGiven | RecipientGiven)]
