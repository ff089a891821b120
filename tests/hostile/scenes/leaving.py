"""What leaves, by other ways than mail data from one next hop to us: in chunks, to a hop that offers less, through a policy that adds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from penstock.mail.address import Address
from penstock.mail.configuration import LineEndings
from penstock.sim.sink.options import ALL_EXTENSIONS, Extension, SinkOptions
from penstock.sim.smuggling import SEQUENCES, attack_stream
from penstock.smtp.capabilities import Capabilities
from penstock.smtp.client import SessionOptions
from penstock.smtp.transmission import Transmission, mail_command, rcpt_command
from tests.hostile.case import PLAIN, Setup
from tests.hostile.outgoing import with_crlf
from tests.hostile.scene import Play, Scene, unless
from tests.hostile.server import Server, serving
from tests.hostile.wire import Wire

_ALLOW: Final = Setup(invalid_line_endings=LineEndings.ALLOW)


async def _give(
    server: Server, content: bytes, *, mail: bytes = b"", recipients: tuple[bytes, ...] = (b"c@a.test",)
) -> bytes:
    """Bring a message in as one chunk; the last reply."""
    async with Wire(server.endpoint) as wire:
        await wire.replies(1)
        rcpt = b"".join(b"RCPT TO:<%b>\r\n" % recipient for recipient in recipients)
        await wire.send(b"EHLO client.test\r\nMAIL FROM:<a@from.test>" + mail + b"\r\n" + rcpt)
        await wire.replies(2 + len(recipients))
        await wire.send(b"BDAT %d LAST\r\n%b" % (len(content), content))
        return await wire.replies(1)


async def _in_chunks(place: Path) -> list[str]:
    """To a hop that offers CHUNKING: octets counted exactly, no dot doubled, no bare line end, one message each."""
    contents = [
        b".\r\n..\r\n.x\r\n",
        b"x: y\r\n\r\n" + b".\r\n" * 30_000,
        b"",
        b"x",
        *map(attack_stream, SEQUENCES.values()),
    ]
    faults = []
    async with serving(place, _ALLOW, sink_options=SinkOptions(extensions=ALL_EXTENSIONS)) as server:
        for content in contents:
            said = await _give(server, content)
            await server.settled()
            got = server.take_delivered()
            expected = with_crlf(content)
            sent = [message.wire.partition(b" +0000\r\n")[2].removesuffix(b"\r\n") for message in got]
            faults += unless(said.startswith(b"250"), f"{content[:30]!r} was told {said!r}")
            faults += unless(sent == [expected.removesuffix(b"\r\n")], f"{content[:30]!r} left as {sent}")
            faults += unless(all(message.via == "BDAT" for message in got), f"{content[:30]!r} left by DATA")
            faults += [
                f"{content[:30]!r} left with {word}"
                for message in got
                for word in message.irregularities
                if word.startswith("bare")
            ]
    return faults


_ADDING: Final = """
from penstock.policy import inline

@inline
def on_message(message):
    message.headers.prepend("X-Added", "first")
    message.headers.add("X-Last", "last")
"""


async def _with_fields_added(place: Path) -> list[str]:
    """Content with every sequence, and a policy that adds fields: what leaves is looked at again at the last place."""
    faults = []
    async with serving(place, _ALLOW, policy=_ADDING) as server:
        for name, sequence in SEQUENCES.items():
            await _give(server, b"Subject: x\r\n\r\n" + attack_stream(sequence))
            await server.settled()
            got = server.take_delivered()
            faults += unless(
                len(got) == 1 and b"X-Added: first\r\n" in got[0].wire, f"{name}: {len(got)} messages left"
            )
            faults += [
                f"{name}: left with {word}"
                for message in got
                for word in message.irregularities
                if "bare" in word or "dot" in word
            ]
    return faults


def _without(*missing: Extension) -> SinkOptions:
    return SinkOptions(extensions=ALL_EXTENSIONS - set(missing) - {Extension.CHUNKING})


def _status(event: dict[str, Any]) -> str:
    response = event["response"]
    return f"{response['code']} {'.'.join(str(number) for number in response['enhanced_code'].values())}"


async def _no_eight_bit(place: Path) -> list[str]:
    """A hop without 8BITMIME never gets 8-bit content: a bounce that says 5.6.3."""
    async with serving(place, PLAIN, sink_options=_without(Extension.EIGHT_BIT)) as server:
        await _give(server, "Subject: x\r\n\r\nblåbär\r\n".encode(), mail=b" BODY=8BITMIME")
        await server.settled()
        (bounce,) = server.events_of("Bounce")
        return [
            *unless(_status(bounce) == "554 5.6.3", f"bounced with {bounce['response']}"),
            *unless(not server.take_delivered(), "it left"),
        ]


async def _no_smtputf8(place: Path) -> list[str]:
    """A hop without SMTPUTF8: the recipient in UTF-8 bounces with 5.6.7, the other one gets the message."""
    async with serving(place, PLAIN, sink_options=_without(Extension.SMTPUTF8)) as server:
        await _give(
            server,
            b"Subject: x\r\n\r\nx\r\n",
            mail=b" SMTPUTF8",
            recipients=("é@a.test".encode(), b"c@a.test"),
        )
        await server.settled()
        (bounce,) = server.events_of("Bounce")
        (delivery,) = server.events_of("Delivery")
        return [
            *unless(_status(bounce) == "554 5.6.7", f"bounced with {bounce['response']}"),
            *unless(bounce["recipient"] == "é@a.test", f"{bounce['recipient']} bounced"),
            *unless(delivery["recipient"] == "c@a.test", f"{delivery['recipient']} was delivered"),
        ]


async def _one_queue(place: Path) -> list[str]:
    """A U-label and its A-label are one domain, and one queue."""
    async with serving(place, PLAIN) as server:
        await _give(
            server,
            b"x: y\r\n",
            mail=b" SMTPUTF8",
            recipients=("c@bücher.test".encode(), b"d@XN--BCHER-KVA.test"),
        )
        queues = {event["queue"] for event in server.events_of("Reception")}
        return unless(queues == {"xn--bcher-kva.test"}, f"queues: {queues}")


_INJECTIONS: Final = (
    "a>\r\nRCPT TO:<evil",
    "a\nb",
    "a\rb",
    "a\0b",
    "a b",
    "a>b",
    "a<b",
    '"a\nb"',
    '"a\\\nb"',
    '"a',
    "a\ud800",
)


#: Of them, those that are more than one word.
_NO_WORDS: Final = tuple(text for text in _INJECTIONS if not text.isprintable() or " " in text)


def _refuses(write: Callable[[str], object], texts: tuple[str, ...] = _INJECTIONS) -> Play:
    """Writing a command with each of these in it is refused, whoever has let it come so far."""

    async def play(place: Path) -> list[str]:
        faults = []
        for text in texts:
            try:
                written = write(text)
            except ValueError:
                continue
            faults.append(f"{text!r} was written as {written!r}")
        return faults

    return play


def _message(text: str) -> Transmission:
    return Transmission(Address(text, "b.test"), (), b"", b"", eight_bit=False, smtputf8=False)


SCENES: Final = (
    Scene(
        "A8-policy-adds-fields",
        "content with each sequence, and a policy that adds header fields",
        _with_fields_added,
    ),
    Scene("B3-chunks", "contents that are dangerous in mail data leave in chunks as they are", _in_chunks),
    Scene(
        "B4-write-mail",
        "a reverse-path that is more than one path is never written",
        _refuses(lambda text: mail_command(_message(text), Capabilities())),
    ),
    Scene(
        "B4-write-rcpt",
        "a forward-path that is more than one path is never written",
        _refuses(lambda text: rcpt_command(Address(text, "b.test"))),
    ),
    Scene(
        "B4-write-domain",
        "a domain that is more than one word is never written",
        _refuses(lambda text: rcpt_command(Address("a", f"b.test{text}"))),
    ),
    Scene(
        "B4-write-ehlo",
        "a name for EHLO that is more than one word is never written",
        _refuses(SessionOptions, _NO_WORDS),
    ),
    Scene("F1-hop-without-8bitmime", "8-bit content for a hop that does not offer 8BITMIME", _no_eight_bit),
    Scene(
        "F2-hop-without-smtputf8",
        "a recipient in UTF-8 and one in ASCII for a hop that does not offer SMTPUTF8",
        _no_smtputf8,
    ),
    Scene("F2-one-queue", "U-labels and A-labels of one domain", _one_queue),
)
