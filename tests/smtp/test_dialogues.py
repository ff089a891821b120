"""Dialogues that an administrator can read, run against a server session.

``dialogues/*.txt``: ``C:`` is what the client sends, ``S:`` what the server answers, both without their CRLF; ``--`` says that the server has
closed the connection; ``#`` is a comment. In client lines ``\\r``, ``\\n``, ``\\0`` and ``\\xNN`` stand for octets, and a final ``\\c`` for
no CRLF. Client lines without an answer between them are one segment. The server is that of ``driver``: small limits, a plain policy. It
offers what every listener does, and what a line ``% offers`` names; ``= TLS`` says that the handshake was made here.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from penstock.smtp import extension

from .driver import LIMITS, Drive

FOLDER = Path(__file__).parent / "dialogues"
DIALOGUES = sorted(FOLDER.glob("*.txt"))
ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|([rn0]))")
OFFERS = "% offers "
SECURED = "= TLS"
PLAIN = {"r": "\r", "n": "\n", "0": "\0"}


def octets(line: str) -> bytes:
    """What a client's line sends."""
    has_end = not line.endswith(r"\c")
    text = ESCAPE.sub(
        lambda match: PLAIN[match[2]] if match[2] else chr(int(match[1], 16)), line.removesuffix(r"\c")
    )
    return text.encode("latin-1") + (b"\r\n" if has_end else b"")


def turns(path: Path) -> list[tuple[bytes, list[str], bool]]:
    """Segments of the client, the lines that answer each, and whether the connection is closed then."""
    found: list[tuple[bytes, list[str], bool]] = [(b"", [], False)]
    for line in path.read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        sent, answers, is_closed = found[-1]
        if line.startswith("C:"):
            if answers or is_closed:
                found.append((octets(line[3:]), [], False))
            else:
                found[-1] = (sent + octets(line[3:]), [], False)
        elif line.startswith("S:"):
            answers.append(line[3:])
        elif line == SECURED:
            found += [(line.encode(), [], False), (b"", [], False)]
        elif line.startswith(OFFERS):
            continue
        else:
            assert line.startswith("--"), line
            found[-1] = (sent, answers, True)
    return found


def offered(path: Path) -> frozenset[str]:
    """The extensions of the server in a dialogue."""
    words = [
        line.removeprefix(OFFERS) for line in path.read_text("utf-8").splitlines() if line.startswith(OFFERS)
    ]
    return extension.STANDARD | frozenset(word for line in words for word in line.split())


@pytest.mark.parametrize("is_whole", [True, False], ids=["whole", "octet by octet"])
@pytest.mark.parametrize("path", DIALOGUES, ids=lambda path: path.stem)
def test_a_dialogue_goes_as_it_is_written(path: Path, is_whole: bool) -> None:
    """Line for line, however the client's octets arrive."""
    drive = Drive(msgspec.structs.replace(LIMITS, extensions=offered(path)))
    for number, (sent, answers, is_closed) in enumerate(turns(path)):
        said = b""
        if sent == SECURED.encode():
            assert drive.session.is_starting_tls
            drive.session.secured()
            continue
        for segment in [sent] if is_whole else [sent[place : place + 1] for place in range(len(sent))]:
            said += drive.feed(segment)
        if number == 0:
            said = drive.output
        assert said.decode().split("\r\n")[:-1] == answers, f"turn {number}: {sent!r}"
        assert drive.session.is_closed is is_closed, f"turn {number}: {sent!r}"


def test_there_are_dialogues() -> None:
    """And each of them says something to each of ours."""
    assert len(DIALOGUES) >= 10
    assert all(len(turns(path)) > 1 for path in DIALOGUES)
